/* registration.h: how a broker enters the cluster.
 *
 * In the order of a start: registration_setup() makes the top-level nodes and reads or makes the
 * cluster id; registration_generate_id() for a broker without an id; then a struct registration
 * holds /brokers/ids/<id> for as long as the process lives, over as many sessions as it takes.
 *
 * Registering: /cluster/id is read first; when it is another one than in the session before, we are
 * refused. Then the nodes of all other brokers are read; when one advertises a host:port of
 * ours, we are refused. Then multi[create ephemeral, set data]; the broker epoch is the node's
 * czxid. When the node exists: if it is our session's, that is it (a lost reply). If it is our
 * previous session's, it is removed. Otherwise somebody holds it: usually our own former life,
 * which crashed. Wait, with one line that says so, until it goes; when it is still there after one
 * and a half session timeouts, and REGISTRATION_GRACE_MIN_MS more than one, its owner is alive and
 * we are refused, with the owner's host:port.
 *
 * Threads: the loop. Ownership: the caller owns all of it; callbacks come from the loop, never from
 * inside a call of this module. */
#pragma once

#include "rt/loop.h"
#include "zk/zk.h"
#include "znode/znode.h"

/* ---- Before registering. Both repeat over lost connections until they know, or the session is
 * over (ERR_ZK_SESSION_EXPIRED). Who closes the session first must cancel what has not called back.
 */

struct registration_step;

/* Nothing is called back. NULL is fine. */
void registration_cancel(struct registration_step *step);

typedef void registration_setup_fn(void *arg, enum err err, struct str cluster_id,
                                   const char *text);

/* Make the top-level nodes; read /cluster/id or make it with `proposed_id` (22 characters). `text`
 * explains an error. The caller compares with meta.properties and refuses a wrong cluster. */
struct registration_step *registration_setup(struct loop *loop, struct zk *zk,
                                             struct str proposed_id, registration_setup_fn *fn,
                                             void *arg);

typedef void registration_id_fn(void *arg, enum err err, int32_t broker_id);

/* A fresh broker id above `reserved_max` (reserved.broker.max.id). */
struct registration_step *registration_generate_id(struct loop *loop, struct zk *zk,
                                                   int32_t reserved_max, registration_id_fn *fn,
                                                   void *arg);

/* ---- Being registered. */

/* So much later than it should ZooKeeper may end a session, however short that is: it does so at
 * its ticks, and on a busy machine when it gets round to it. */
enum { REGISTRATION_GRACE_MIN_MS = 5000 };

struct registration;

struct registration_host {
    /* Registered, with this broker epoch. Again, with a larger one, after every new session. */
    void (*registered)(struct registration_host *host, int64_t broker_epoch);
    /* Registered as unclean, and the controller has taken that away: it counts on us for nothing
     * that we may have lost. Later registrations are not unclean. */
    void (*settled)(struct registration_host *host);
    /* One line for people: why it takes longer. Called once per wait. */
    void (*waiting)(struct registration_host *host, const char *line);
    /* For good. ERR_DUPLICATE_BROKER_REGISTRATION: the id is another live broker's. ERR_INVALID: an
     * advertised address is another broker's. ERR_INCONSISTENT_CLUSTER_ID: another cluster. Others:
     * ZooKeeper does not let us. `text` is complete, ready to print. */
    void (*refused)(struct registration_host *host, enum err err, const char *text);
    /* The session lasts, but the node is not there any more, or is another process's: somebody
     * removed it. To be in the cluster again takes a new session. */
    void (*gone)(struct registration_host *host);
};

/* `broker` is copied; its timestamp is set at each registration. */
struct registration *registration_new(struct loop *loop, int32_t broker_id,
                                      const struct znode_broker *broker,
                                      struct registration_host *host);

/* Register in this session: at start, and with every new session after an expiry. The old session
 * must have been told about by registration_session_lost(). */
void registration_start(struct registration *reg, struct zk *zk);

/* The session expired or is about to be closed: nothing is called back until the next start. */
void registration_session_lost(struct registration *reg);

/* Leave the cluster while the session goes on: the node is removed, before anything that is asked
 * of ZooKeeper in this session afterwards. Where we are not registered yet, that is given up. */
void registration_withdraw(struct registration *reg);

/* Every watch event of the session goes here; true when it was for this module. */
bool registration_on_watch(struct registration *reg, enum zk_watch_event event, struct str path);

/* -1 while not registered. */
int64_t registration_epoch(const struct registration *reg);

/* Does not remove the node: closing the session does. */
void registration_free(struct registration *reg);
