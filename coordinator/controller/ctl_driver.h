/* ctl_driver.h: hosts the controller machine (ctl.h) in a broker.
 *
 * Every broker has one. It watches /controller, stands for election whenever nobody holds it, and
 * while elected runs the machine: executes its ZooKeeper commands, each fenced by the version of
 * /controller_epoch, hands its requests to the host to be sent, and brings results back as events.
 * Not elected, it only knows who is.
 *
 *   - start(zk) -> [watching] --won--> [controller]
 *   - fenced, or /controller is another's: [controller] -> [watching]
 *   - session lost -> [idle] -> start(new zk)
 *
 * Threads: the control loop. The host's functions are called from the loop; they may call back into
 * the driver. Ownership: the host owns the driver, and outlives it. */
#pragma once

#include "control/control.h"
#include "controller/ctl.h"
#include "rt/loop.h"
#include "zk/zk.h"
#include "znode/znode.h"

struct ctl_driver;

struct ctl_host {
    /* Send `request` (a packed control request) to a broker. `endpoints` are all it has registered:
     * the host picks its inter-broker listener. The bytes are borrowed for the call. Exactly one
     * ctl_driver_sent() must follow, unless ctl_host.disconnect is called first; it may come from
     * inside this call. At most one request per broker is under way. The broker may be ourselves.
     */
    void (*send)(struct ctl_host *host, int32_t broker_id, const struct znode_endpoint *endpoints,
                 int32_t endpoints_count, int kind, struct bytes request, uint64_t cmd_id);
    /* The broker is gone or was restarted, or we are not the controller any more: drop the
     * connection and what waits for it. ctl_driver_sent() for what was under way is allowed and
     * ignored. */
    void (*disconnect)(struct ctl_host *host, int32_t broker_id);
    /* Who is the controller now: -1 nobody known. Also tells the epoch when it is us (else -1). */
    void (*controller_changed)(struct ctl_host *host, int32_t controller_id, int32_t epoch);
};

/* `config.broker_id` is ours. */
struct ctl_driver *ctl_driver_new(struct loop *loop, const struct ctl_config *config,
                                  struct ctl_host *host);

/* A connected session in which the broker is registered: watch, and stand for election. */
void ctl_driver_start(struct ctl_driver *driver, struct zk *zk);

/* The session expired: not the controller any more. Requests that wait are answered NOT_CONTROLLER.
 */
void ctl_driver_session_lost(struct ctl_driver *driver);

/* Give up the office, if held, by removing /controller, and do not stand again: for a clean
 * shutdown. `fn` when ZooKeeper has it (or will never). */
void ctl_driver_resign(struct ctl_driver *driver, void (*fn)(void *arg), void *arg);

/* Every watch event of the session goes here; true when it was for the controller. */
bool ctl_driver_on_watch(struct ctl_driver *driver, enum zk_watch_event event, struct str path);

/* Completion of ctl_host.send. `response` is the packed control response when err is ERR_OK. */
void ctl_driver_sent(struct ctl_driver *driver, uint64_t cmd_id, enum err err,
                     struct bytes response);

/* `response` is packed, borrowed for the call. */
typedef void ctl_driver_reply_fn(void *arg, struct bytes response);

/* A request from a broker to the controller: ALTER_PARTITION, CONTROLLED_SHUTDOWN. Exactly one
 * reply, from inside the call or later; an error inside it when we are not the controller. The
 * request is borrowed for the call. */
void ctl_driver_request(struct ctl_driver *driver, const Barnabas__Control__Request *request,
                        ctl_driver_reply_fn *fn, void *arg);

struct ctl_elect_result {
    struct str topic;
    int32_t partition;
    enum err err; /* ERR_OK: started, the metadata will show it */
};

typedef void ctl_driver_elect_fn(void *arg, enum err err, const struct ctl_elect_result *results,
                                 int32_t count);

/* ElectLeaders. `tps` NULL: all partitions, and those that need no election are left out of the
 * results. ERR_NOT_CONTROLLER. One callback, from inside the call. */
void ctl_driver_elect(struct ctl_driver *driver, bool unclean, const struct znode_tps *tps,
                      ctl_driver_elect_fn *fn, void *arg);

/* What became of each partition, in the order of the request; with an error of the whole, none. All
 * is borrowed for the call. */
typedef void ctl_driver_reassign_fn(void *arg, enum err err, const struct ctl_reassigned *results,
                                    int32_t count);

/* AlterPartitionReassignments. One callback, from inside the call or later: when ZooKeeper has the
 * new assignments, or ERR_NOT_CONTROLLER. The items are borrowed for the call. */
void ctl_driver_reassign(struct ctl_driver *driver, const struct ctl_reassign *items, int32_t count,
                         ctl_driver_reassign_fn *fn, void *arg);

/* unclean.leader.election.enable, as configured now: of a topic (-1: not set there), or, with a
 * null topic, the broker's default. May be called at any time, controller or not. */
void ctl_driver_set_unclean(struct ctl_driver *driver, struct str topic, int allowed);

/* min.insync.replicas, likewise; 0: not set there. */
void ctl_driver_set_min_insync(struct ctl_driver *driver, struct str topic, int32_t count);

/* Who is the controller, as far as known; -1. */
int32_t ctl_driver_controller_id(const struct ctl_driver *driver);
/* Elected, and done with reading the cluster's state. */
bool ctl_driver_is_active(const struct ctl_driver *driver);
/* Our epoch when we are the controller, else -1. */
int32_t ctl_driver_epoch(const struct ctl_driver *driver);

/* For metrics and tests; NULL when not the controller. */
const struct ctl *ctl_driver_machine(const struct ctl_driver *driver);

void ctl_driver_free(struct ctl_driver *driver);
