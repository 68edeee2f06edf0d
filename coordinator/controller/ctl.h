/* ctl.h: the controller as a pure machine: event in, commands out.
 *
 * It decides who leads each partition, and tells every broker. No I/O, no clock, no randomness of
 * its own, no logging: equal events give equal commands. ctl_driver.c does what it says and reports
 * back.
 *
 * Level, not edge. The machine keeps what it believes ZooKeeper holds, and works out what should be
 * there for every partition that an event may concern; when the two differ it commands the
 * difference. Likewise it keeps, per broker, marks on partitions about which the broker must be
 * told; a request is built from the state at the time it is sent. Losing, repeating or reordering
 * an event is harmless.
 *
 * Every write is conditional on the version of its node and fenced by the controller epoch (the
 * driver adds that check). A write that failed, or whose result is unknown, is followed by reading
 * the node.
 *
 * Life:  IDLE --ELECTED--> LOADING --everything read--> ACTIVE;  any --DEPOSED--> IDLE
 *
 * Threads: one at a time. Ownership: the machine copies what it keeps of an event; commands live in
 * `out` until it is cleared. Source of the rules: Kafka 3.9, kafka.controller. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"
#include "control/control.h"
#include "znode/znode.h"

struct ctl;

struct ctl_config {
    int32_t broker_id;            /* ours */
    bool unclean_default;         /* unclean.leader.election.enable */
    int32_t min_insync_default;   /* min.insync.replicas; 0 counts as 1 */
    bool delete_topics;           /* delete.topic.enable */
    bool auto_rebalance;          /* auto.leader.rebalance.enable */
    int64_t rebalance_check_ms;   /* leader.imbalance.check.interval.seconds */
    int32_t imbalance_percentage; /* leader.imbalance.per.broker.percentage */
    uint64_t seed;                /* for the ids of topics that have none */
};

enum {
    /* A request to a broker that failed is repeated after so long, for ever. */
    CTL_RETRY_MS = 100,
    /* A controlled shutdown is answered when all brokers have heard of it, or after so long. */
    CTL_TELL_MS = 1000,
    /* A topic deletion that ZooKeeper refused is tried again after so long. */
    CTL_DELETE_RETRY_MS = 1000,
    /* The first look at the balance of leaders after an election. */
    CTL_FIRST_REBALANCE_MS = 5000,
    /* More partitions than this go into several requests. */
    CTL_SEND_PARTITIONS_MAX = 5000,
    /* ... except that metadata of one topic goes in one, up to so many (and of all topics that are
     * gone): more would come near the limit of a control message (32 MiB) with many replicas each.
     */
    CTL_SEND_TOPIC_MAX = 50000,
    /* Replicas of one partition, those that come and those that go included. */
    CTL_REPLICAS_MAX = 64,
};

/* ---- Events. `now_ms` is monotonic. */

enum ctl_event_kind {
    CTL_EV_TICK,       /* only the time */
    CTL_EV_ELECTED,    /* u.elected; the machine starts from nothing */
    CTL_EV_DEPOSED,    /* forget everything; requests that wait are answered NOT_CONTROLLER */
    CTL_EV_BROKERS,    /* answers CTL_READ_BROKERS; also whenever the driver saw a change */
    CTL_EV_TOPICS,     /* CTL_READ_TOPICS, likewise */
    CTL_EV_TOPIC,      /* CTL_READ_TOPIC, likewise */
    CTL_EV_STATE,      /* CTL_READ_STATE */
    CTL_EV_DELETIONS,  /* CTL_READ_DELETIONS, likewise */
    CTL_EV_PREFERRED,  /* CTL_READ_PREFERRED, likewise */
    CTL_EV_LOG_DIRS,   /* brokers that announced a failed log directory */
    CTL_EV_WROTE,      /* result of a write command */
    CTL_EV_WROTE_MANY, /* likewise, of several */
    CTL_EV_SENT,       /* result of CTL_SEND */
    CTL_EV_ALTER,      /* a leader's AlterPartition; answered by CTL_REPLY */
    CTL_EV_SHUTDOWN,   /* a broker's ControlledShutdown; answered by CTL_REPLY */
    CTL_EV_ELECT,      /* ElectLeaders; answered in ctl_cmds.elected */
    CTL_EV_UNCLEAN,    /* configuration of unclean elections; in any state, kept over elections */
    CTL_EV_REASSIGN,   /* AlterPartitionReassignments; answered by CTL_REASSIGNED */
    CTL_EV_ORDERS,     /* CTL_READ_ORDERS; also whenever the driver saw a change */
    CTL_EV_MIN_INSYNC, /* min.insync.replicas, like CTL_EV_UNCLEAN */
};

struct ctl_broker_info {
    int32_t id;
    int64_t epoch; /* czxid of the registration */
    const struct znode_endpoint *endpoints;
    int32_t endpoints_count;
    struct str rack;
    bool unclean; /* its logs may lack what it had acknowledged */
};

/* One partition's state znode. */
struct ctl_state_info {
    int32_t partition;
    enum err err; /* ERR_OK, ERR_NOT_FOUND, ERR_MALFORMED */
    struct znode_state state;
    int32_t version;
    int64_t mzxid; /* when it was written; 0: not known */
};

/* One partition of AlterPartitionReassignments. */
struct ctl_reassign {
    struct str topic;
    int32_t partition;
    bool cancel;               /* take back what is under way; `replicas` is not used */
    struct znode_ids replicas; /* the target */
};

struct ctl_wrote {
    uint64_t cmd_id;
    enum err err;    /* ERR_OK, ERR_ZK_BAD_VERSION, ERR_NOT_FOUND, ERR_EXISTS, ... */
    int32_t version; /* of a state node after ERR_OK */
};

struct ctl_event {
    enum ctl_event_kind kind;
    int64_t now_ms;
    union {
        struct {
            int32_t epoch;
        } elected;
        struct {
            const struct ctl_broker_info *items; /* by ascending id */
            int32_t count;
        } brokers;
        struct {
            const struct str *names; /* sorted */
            int32_t count;
        } names; /* TOPICS, DELETIONS */
        struct {
            struct str name;
            /* ERR_OK, ERR_NOT_FOUND, ERR_MALFORMED. ERR_ZK_OTHER: it may not be read at present;
             * another event follows when it may. */
            enum err err;
            struct znode_topic topic;
            int32_t version;
            int64_t czxid;                       /* when the node was made; 0: not known */
            const struct ctl_state_info *states; /* one per partition of `topic`, in its order */
        } topic;
        struct {
            struct str topic;
            struct ctl_state_info info;
        } state;
        struct {
            bool exists;
            struct znode_tps tps; /* empty when the node is malformed */
        } preferred;
        struct {
            const int32_t *ids;
            int32_t count;
        } log_dirs;
        struct ctl_wrote wrote;
        struct {
            const struct ctl_wrote *items;
            int32_t count;
        } wrote_many;
        struct {
            uint64_t cmd_id;
            enum err err;
            const Barnabas__Control__Response *response; /* with ERR_OK */
        } sent;
        struct {
            uint64_t reply_id; /* the driver's, comes back in CTL_REPLY */
            const Barnabas__Control__Request *request;
        } request; /* ALTER, SHUTDOWN */
        struct {
            bool all;
            bool unclean;
            struct znode_tps tps;
        } elect;
        struct {
            uint64_t reply_id; /* the driver's, comes back in CTL_REASSIGNED */
            const struct ctl_reassign *items;
            int32_t count;
        } reassign;
        struct {
            bool exists;
            int32_t version;
            struct znode_tps tps; /* empty when the node is malformed */
        } orders;
        struct {
            struct str topic; /* null: the default */
            int allowed;      /* 0, 1, or -1 for "as the default" */
        } unclean;
        struct {
            struct str topic; /* null: the default */
            int32_t count;    /* 0: as the default */
        } min_insync;
    } u;
};

/* ---- Commands. */

enum ctl_cmd_kind {
    /* Read, with watches, and report with the event of the same name. */
    CTL_READ_BROKERS,
    CTL_READ_TOPICS,
    CTL_READ_TOPIC, /* topic: its node and all its states; `later`: not at once */
    CTL_READ_STATE, /* topic, partition; `later`: not at once */
    CTL_READ_DELETIONS,
    CTL_READ_PREFERRED,
    CTL_READ_LOG_DIRS, /* also removes the notifications it has read */
    CTL_READ_ORDERS,   /* the node of reassignments that are ordered in ZooKeeper; `later` */
    /* Write, and report with CTL_EV_WROTE. */
    CTL_CREATE_STATE,     /* topic, partition, state; parents too */
    CTL_WRITE_STATE,      /* topic, partition, state, version */
    CTL_WRITE_TOPIC,      /* topic, node, version */
    CTL_DELETE_TOPIC,     /* topic: its node with all below, its config, its deletion mark */
    CTL_DELETE_LEFTOVER,  /* topic: its config and its deletion mark; the topic is gone already */
    CTL_DELETE_MARK,      /* topic: the deletion mark only */
    CTL_DELETE_PREFERRED, /* the node of pending preferred elections */
    CTL_WRITE_ORDERS,     /* tps, version; without any left the node is deleted */
    CTL_SETTLE_BROKER,    /* broker_id, broker_epoch: its registration is not unclean any more */
    /* To brokers. */
    CTL_SEND,       /* broker_id, endpoints, request; reports with CTL_EV_SENT */
    CTL_DISCONNECT, /* broker_id */
    /* To whoever asked. */
    CTL_REPLY,      /* reply_id, response */
    CTL_REASSIGNED, /* reply_id, err; without one: reassigned */
    /* A line for people. */
    CTL_NOTE, /* text, level */
    /* Deposed, or sure to be: check, and give up the office. A CTL_EV_DEPOSED follows. */
    CTL_RESIGN,
};

/* What AlterPartitionReassignments is told of one partition, in the order of the request. */
struct ctl_reassigned {
    struct str topic;
    int32_t partition;
    enum err err;
    const char *text; /* NULL: the error speaks for itself */
};

struct ctl_cmd {
    enum ctl_cmd_kind kind;
    uint64_t id; /* of writes and sends: never 0, never used twice */
    struct str topic;
    int32_t partition;
    int32_t version;
    struct znode_state state;
    struct znode_topic node;
    int32_t broker_id;
    int64_t broker_epoch;
    const struct znode_endpoint *endpoints;
    int32_t endpoints_count;
    const Barnabas__Control__Request *request;
    uint64_t reply_id;
    const Barnabas__Control__Response *response;
    struct znode_tps tps;
    enum err err;
    const struct ctl_reassigned *reassigned;
    int32_t reassigned_count;
    bool later;   /* reads */
    bool warning; /* CTL_NOTE: a surprise rather than a change of state */
    const char *text;
};

/* What ElectLeaders is told. */
struct ctl_elected {
    struct str topic;
    int32_t partition;
    enum err err;
};

/* The commands of one step, in order; zero-initialised it is empty. */
struct ctl_cmds {
    struct arena arena; /* holds everything below */
    struct ctl_cmd *items;
    int32_t count;
    int32_t capacity;
    struct ctl_elected *elected;
    int32_t elected_count;
    int64_t wake_ms; /* send a TICK then; INT64_MAX: no need */
};

void ctl_cmds_clear(struct ctl_cmds *cmds);
void ctl_cmds_fini(struct ctl_cmds *cmds);

/* ---- The machine. */

struct ctl *ctl_new(const struct ctl_config *config);
void ctl_free(struct ctl *ctl);

/* Decide. `out` must be clear. Events that the machine's state has no use for are ignored. */
void ctl_step(struct ctl *ctl, const struct ctl_event *event, struct ctl_cmds *out);

/* Asserts every invariant of the machine (listed in ctl_check.c). Called at the end of each step;
 * linear in the number of partitions only when `deep`. */
void ctl_check(const struct ctl *ctl, bool deep);

bool ctl_active(const struct ctl *ctl);
int32_t ctl_epoch(const struct ctl *ctl);

struct ctl_counts {
    int32_t brokers;
    int32_t topics;
    int32_t partitions;
    int32_t offline_partitions; /* without a live leader */
    int32_t preferred_imbalance;
    int32_t topics_deleting;
    int32_t reassigning;       /* partitions that are on the move */
    int64_t unclean_elections; /* since the machine was made */
};
struct ctl_counts ctl_count(const struct ctl *ctl);

/* A reassignment under way; the lists are the machine's, until its next step. */
struct ctl_moving {
    struct str topic;
    int32_t partition;
    struct znode_ids replicas;
    struct znode_ids adding;
    struct znode_ids removing;
};

/* Those of `tps`, or with NULL all, in the order of topics and partitions. In `arena`; the count.
 */
int32_t ctl_list_moving(const struct ctl *ctl, const struct znode_tps *tps, struct arena *arena,
                        const struct ctl_moving **out);

/* Text for golden traces and logs: one line per command. */
void ctl_cmd_print(const struct ctl_cmd *cmd, struct buf *out);
