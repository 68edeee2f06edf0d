/* session.h: this broker's life in ZooKeeper: one session after another, and what works in each.
 *
 *   open -> connected -> setup: top-level nodes, cluster id -> [the host loads its logs]
 *        -> session_join(): register, then stand for controller and listen for configurations
 *   expired -> everything is told -> open a new session -> register again (a new broker epoch)
 *
 * A disconnection changes nothing: operations wait or report that their outcome is unknown.
 *
 * Threads: the control loop. */
#pragma once

#include "base/err.h"
#include "controller/admin.h"
#include "controller/config_changes.h"
#include "controller/ctl_driver.h"
#include "controller/registration.h"
#include "rt/loop.h"
#include "zk/zk.h"

struct session;

struct session_host {
    /* Connected for the first time, the cluster's id is known: check it, then call session_join().
     */
    void (*identified)(struct session_host *host, struct str cluster_id);
    /* In the cluster, with this broker epoch; again after every lost session. */
    void (*registered)(struct session_host *host, int64_t broker_epoch);
    /* We registered as started uncleanly, and the controller has drawn its conclusions. */
    void (*settled)(struct session_host *host);
    /* The session is over, and with it what we were in the cluster, until `registered` comes. */
    void (*lost)(struct session_host *host);
    /* ZooKeeper hears us, or has not answered for three fifths of the session's time, or the
     * connection is lost. The session may last meanwhile, or not. */
    void (*contact)(struct session_host *host, bool there);
    /* It cannot be: another broker has our id or address, or ZooKeeper refuses us. */
    void (*failed)(struct session_host *host, enum err err, const char *text);
    /* It takes longer; a line for people. */
    void (*waiting)(struct session_host *host, const char *line);
};

struct session_options {
    const char *connect;
    int32_t session_timeout_ms;
    int32_t connection_timeout_ms; /* for the first connection only; then it tries for ever */
    struct str proposed_cluster_id;
};

struct session *session_new(struct loop *loop, struct zk_factory *factory,
                            const struct session_options *options, struct session_host *host);

/* Open the first session. */
void session_start(struct session *session);

/* Take a fresh broker id; before session_join(). When the session ends meanwhile the next one goes
 * on. */
void session_generate_id(struct session *session, int32_t reserved_max, registration_id_fn *fn,
                         void *arg);

/* Register, and run the others in this session and every later one. They stay the caller's. */
void session_join(struct session *session, int32_t broker_id, const struct znode_broker *broker,
                  struct ctl_driver *driver, struct config_changes *changes);

/* For operations on behalf of clients, and for reading configurations before joining. */
struct admin *session_admin(struct session *session);

/* What ZooKeeper granted; 0 before the first connection. */
int32_t session_timeout_granted_ms(const struct session *session);

/* Of such a session, from one sign of life to the next. libzookeeper sends a ping after a third of
 * it without a request; three tenths are just before, so that our question takes its place. */
int32_t session_beat_ms(int32_t timeout_ms);

/* Is the session still there? One question to ZooKeeper: ERR_OK, or ERR_ZK_CONNECTION_LOSS (ask
 * again), ERR_ZK_SESSION_EXPIRED, ERR_CLOSED. One at a time; after session_join(). */
typedef void session_answer_fn(void *arg, enum err err);
void session_ask(struct session *session, session_answer_fn *fn, void *arg);

/* Leave the cluster, for a stop: the registration goes, or does not come, in this session and in
 * every later one; the session goes on. After session_join(). */
void session_withdraw(struct session *session);

/* End the session: the registration goes at once. Before session_free(). */
void session_close(struct session *session);
void session_free(struct session *session);
