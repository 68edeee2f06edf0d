/* broker.h: what a request handler can reach: the broker's parts, each with its own header.
 *
 * server/ builds this at start-up and takes it apart at shutdown; handlers only read it. Nothing
 * here is process-wide: a test runs several brokers side by side.
 *
 * Threads: fields are set before the first request and never change; what they point to says itself
 * which threads may use it. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "admin/meta_wait.h"
#include "api/balance.h"
#include "api/limits.h"
#include "api/pulse.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "config/config.h"
#include "log/logs.h"
#include "meta/meta.h"
#include "net/net.h"
#include "partition/parts.h"
#include "rt/budget.h"
#include "rt/loop.h"
#include "rt/throttle.h"
#include "rt/trimmer.h"
#include "rt/worker.h"
#include "session/fetch_session.h"

struct admin_service;
struct config_changes;
struct control_apply;
struct ctl_driver;
struct groups;
struct moves;
struct producer_ids;
struct replicator;
struct req;
struct topic_configs;

/* `response` is a packed control message, borrowed for the call. */
typedef void control_reply_fn(void *arg, struct bytes response);

/* What real and simulated brokers are built on. */
struct env {
    struct clock *clock;
    struct fs *fs;
    struct net *net;
    struct zk_factory *zk;
    const char *boot_id;            /* new after each start of the machine; "": not known */
    uint64_t seed;                  /* of every random choice; 0: from the kernel */
    bool threads;                   /* false: loops and workers are driven by hand */
    struct balance_policy *balance; /* which connections move between loops; NULL: api/balance.h */
};

/* A bound listener. */
struct listener {
    char name[64]; /* upper case, for example PLAINTEXT_INTERNAL */
    int16_t security_protocol;
    struct net_listener *handle;
    uint16_t port; /* bound */
    bool internal; /* the inter-broker listener: its own memory class */
    struct broker *broker;
};

enum { NETLOOP_IDLE_CHECK_MS = 10000 };

/* One network loop and what belongs to it. */
struct netloop {
    struct loop *loop;
    struct broker *broker;
    struct list clients;
    int clients_count;
    _Atomic int
        placed; /* connections given to this loop and not yet gone: counted by the accepter */
    struct meta_reader meta;
    struct parts_reader parts;
    struct config_reader config;
    struct fetch_sessions *fetch_sessions;
    struct budget_lease client_memory;
    struct budget_lease internal_memory;
    struct req *spare_requests[CLIENT_SPARE_REQUESTS_MAX]; /* client.c */
    int spare_requests_count;
    struct balance balance; /* connections come and go as loops have more or less to do */
    bool draining; /* the broker stops: connections end here, none leaves for another loop */
    bool closed;   /* they have: whoever comes now is closed */
    struct loop_msg ready_msg; /* the broker is ready: runs what was held */
    _Atomic bool ready_posted;
    struct loop_msg parts_msg; /* partitions have gone: `parts` holds them no longer */
    _Atomic bool parts_posted;
    struct loop_timer idle_timer; /* closes connections after connections.max.idle.ms */
    struct rng rng;
};

/* Look for connections that are idle for too long, from now on. */
static inline void netloop_watch_idle(struct netloop *netloop)
{
    if (!loop_timer_pending(&netloop->idle_timer)) {
        loop_timer_set(netloop->loop, &netloop->idle_timer,
                       loop_now_ms(netloop->loop) + NETLOOP_IDLE_CHECK_MS);
    }
}

/* Flows of bytes between replicas that may be limited while a broker runs. */
struct broker_throttles {
    struct throttle leader;   /* leader.replication.throttled.rate */
    struct throttle follower; /* follower.replication.throttled.rate */
    struct throttle move;     /* replica.alter.log.dirs.io.max.bytes.per.second */
};

struct broker {
    struct env env;
    int32_t id;
    char cluster_id[64];
    struct config_cell *config;
    struct logs *logs;
    struct meta_cell meta;
    struct parts parts;
    struct groups *groups;
    struct admin_service *admin; /* what goes to ZooKeeper, on the control loop */
    struct meta_waits meta_waits;
    struct control_apply *control_apply;
    /* control_apply_request(), set by control_apply_new(): control/ is built on api/, not api/ on
     * control/. */
    void (*control_request)(struct control_apply *apply, struct bytes request,
                            control_reply_fn *reply, void *arg);
    struct ctl_driver *ctl_driver;
    struct producer_ids *producer_ids;
    struct replicator *replicator;
    struct moves *moves; /* the control loop's */
    struct topic_configs *topic_configs;
    struct config_changes *config_changes; /* the control loop's */
    struct loop *control;
    struct worker_pool *workers;
    struct trimmer trimmer; /* the control loop's */
    struct worker_pool
        *readers; /* for what must be read from a disk to answer fetches: may take long */
    struct netloop *netloops;
    int netloops_count;
    struct listener *listeners;
    int listeners_count;
    struct budget client_memory;
    struct budget internal_memory;
    _Atomic int64_t unread_bytes; /* of answers that clients have not taken: CLIENT_UNREAD_MS */
    struct fetch_session_slots fetch_slots;
    struct broker_throttles throttles;
    _Atomic int64_t epoch;         /* of our registration; -1: none yet */
    _Atomic bool ready;            /* clients are served; before, their requests are held */
    struct pulse pulse;            /* nor are they when it is missed */
    _Atomic bool cut_off;          /* from ZooKeeper: others may lead what we think we lead */
    _Atomic int64_t feature_epoch; /* version of /feature, -1: none */
};
