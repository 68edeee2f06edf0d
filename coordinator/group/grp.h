/* grp.h: the group coordinator of one __consumer_offsets partition, as a pure machine.
 *
 * It decides everything about the classic group protocol and about committed offsets: event in,
 * decisions out. No I/O, no clock (events carry the time), no randomness of its own (member ids
 * come from a generator that the host seeds), no iteration in hash order: equal inputs give equal
 * outputs.
 *
 *              first join                                  delay ends or all joined
 *   (new) Empty ----------> PreparingRebalance ------------------------------------>
 * CompletingRebalance |     ^                 |   ^        ^ |          | |     +-----------------+
 * |        +---------- join, leave, expiry -------------+          | |         nobody left       |
 * leader's   | |                           +-------- join with change, leave, expiry ---- Stable <-
 * sync ---+
 *     +--> Dead (no offsets left, DeleteGroups; from every state when the partition is lost) stored
 *
 * Replies: a request carries an opaque token; some later step emits exactly one reply with it, also
 * when its client went away: whoever sent it keeps the token until then. Replies point into the
 * step's output and are valid until it is reset.
 *
 * Appends: a step emits batches of records with an operation id. The host appends them and says
 * with GRP_EV_APPENDED when they are committed (acks -1: below the high watermark; acks 0: written)
 * or why not. Replies that depend on an append come out of that later step. Committed offsets
 * become visible only then.
 *
 * Time: one queue of timers lives inside the machine. After each step grp_wake_at_ms() says when it
 * wants GRP_EV_TICK at the latest. A tick that comes early, late or twice is harmless, so none can
 * be stale.
 *
 * Threads:   none of its own; one caller at a time (the partition's actor).
 * Ownership: everything in an event is borrowed for the step; the machine copies what it keeps.
 * Limits:    struct grp_config; beside each stands what happens there.
 * Source:    Kafka 3.9 in ZooKeeper mode, kafka.coordinator.group (GroupCoordinator, GroupMetadata,
 *            GroupMetadataManager) and the message definitions of its requests and records. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

struct grp_coord;

/* What several coordinators hold together: all of a broker's share one. Any thread changes it. */
struct grp_memory {
    _Atomic size_t used_bytes;
    size_t max_bytes; /* 0 is no limit; see memory_bytes_max */
};

struct grp_config {
    int32_t
        session_timeout_min_ms; /* group.min.session.timeout.ms; below: INVALID_SESSION_TIMEOUT */
    int32_t session_timeout_max_ms;     /* group.max.session.timeout.ms; above: the same */
    int32_t group_size_max;             /* group.max.size; a member more: GROUP_MAX_SIZE_REACHED */
    int32_t initial_rebalance_delay_ms; /* group.initial.rebalance.delay.ms; below 0 is none */
    int32_t offset_metadata_max;  /* offset.metadata.max.bytes, counted as Java does, in UTF-16
                                     units; longer: OFFSET_METADATA_TOO_LARGE for that partition */
    int64_t offsets_retention_ms; /* offsets.retention.minutes * 60000 */
    int64_t retention_check_interval_ms; /* offsets.retention.check.interval.ms; 0: only
                                            GRP_EV_EXPIRE */
    int32_t batch_bytes_max;   /* max.message.bytes of the topic: tombstones are split into batches
                                  below it; a larger commit or assignment is refused by the log, see
                                  GRP_EV_APPENDED */
    size_t memory_bytes_max;   /* members, assignments and offsets together; 0 is no limit. Above it
                                  new members, and commits for partitions that have no offset yet,
                                  get COORDINATOR_NOT_AVAILABLE; above twice of it all joins, syncs
                                  and commits do. So the groups that are there go on when others have
                                  filled it. Loading knows no limit: what is in the log counts */
    struct grp_memory *memory; /* the same, of all coordinators that share it; NULL: none */
    size_t group_bytes_max;    /* a group's members with their metadata; 0 is no limit. Above it a
                                  join gets GROUP_MAX_SIZE_REACHED: the leader's answer is made of
                                  all that */
    int16_t commit_acks; /* offsets.commit.required.acks, of commits and of groups' records: -1, or
                            0 for "written is enough" */
    int32_t commit_timeout_ms; /* offsets.commit.timeout.ms: the driver's; see group_driver.h */
    int8_t compression; /* offsets.topic.compression.codec: 0 none ... 4 zstd; the driver's */
};

/* Kafka's defaults; no memory limit. */
void grp_config_default(struct grp_config *config);

enum grp_state { GRP_EMPTY, GRP_PREPARING, GRP_COMPLETING, GRP_STABLE, GRP_DEAD };

/* "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead": as DescribeGroups shows
 * it. */
const char *grp_state_name(enum grp_state state);

/* ---- events ---- */

enum grp_event_kind {
    /* Requests: `token` set, answered by a reply of the same name. */
    GRP_EV_JOIN,
    GRP_EV_SYNC,
    GRP_EV_HEARTBEAT,
    GRP_EV_LEAVE,
    GRP_EV_COMMIT,
    GRP_EV_FETCH,
    GRP_EV_OFFSET_DELETE,
    GRP_EV_DESCRIBE,
    GRP_EV_LIST,
    GRP_EV_DELETE,
    /* What happened. */
    GRP_EV_TICK,          /* time has passed */
    GRP_EV_APPENDED,      /* an append is committed, or failed */
    GRP_EV_EXPIRE,        /* remove expired offsets and empty groups now */
    GRP_EV_TOPIC_DELETED, /* a topic was deleted: forget its offsets */
    GRP_EV_RECORD,        /* one record of the log, while loading */
    GRP_EV_TXN_MARKER,    /* a transaction that committed offsets here ended (also while loading) */
    GRP_EV_LOADED,        /* the log has been read to its end, and all of that is committed */
    GRP_EV_UNLOAD, /* leadership is lost: answer NOT_COORDINATOR to everyone and forget all */
};

struct grp_protocol {
    struct str name;
    struct bytes metadata;
};

struct grp_join {
    int16_t version; /* of the request, 0-9: it decides about member ids (v4) and skip_assignment
                        (v9) */
    struct str group_id;
    struct str member_id;   /* "" for a new member */
    struct str instance_id; /* null: dynamic member */
    struct str client_id;
    struct str client_host; /* as Java prints an address, with a leading slash: "/10.0.0.1" */
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms; /* v0: ignored, the session timeout counts */
    struct str protocol_type;
    const struct grp_protocol *protocols; /* in the member's order of preference */
    size_t protocol_count;
    struct str reason; /* may be null; only shown in a note */
};

struct grp_assignment {
    struct str member_id;
    struct bytes assignment;
};

struct grp_sync {
    int16_t version; /* 0-5; from v5 on protocol type and name must be given */
    struct str group_id;
    struct str member_id;
    struct str instance_id;
    int32_t generation;
    struct str protocol_type; /* null: not checked */
    struct str protocol_name;
    const struct grp_assignment *assignments; /* the leader's; others send none */
    size_t assignment_count;
};

struct grp_heartbeat {
    struct str group_id;
    struct str member_id;
    struct str instance_id;
    int32_t generation;
};

struct grp_leaving {
    struct str member_id;   /* "" with an instance id evicts the static member */
    struct str instance_id; /* null: dynamic */
    struct str reason;
};

struct grp_leave {
    struct str group_id;
    const struct grp_leaving *members; /* versions 0-2: exactly one */
    size_t member_count;
};

struct grp_commit_partition {
    int32_t partition;
    int32_t leader_epoch; /* -1: none */
    int64_t offset;
    int64_t commit_timestamp_ms; /* version 1 only; -1: now */
    struct str metadata;         /* null counts as "" */
};

struct grp_commit_topic {
    struct str topic;
    const struct grp_commit_partition *partitions;
    size_t partition_count;
};

struct grp_commit {
    struct str group_id;
    struct str member_id;
    struct str instance_id;
    int32_t generation;
    int64_t retention_ms; /* versions 2-4; -1: the broker's retention */
    const struct grp_commit_topic *topics;
    size_t topic_count;
};

/* Some partitions of a topic: what OffsetFetch and OffsetDelete ask for. */
struct grp_topic_partitions {
    struct str topic;
    const int32_t *partitions;
    size_t partition_count;
};

struct grp_fetch {
    struct str group_id;
    bool all; /* every committed offset; `topics` is not looked at */
    bool require_stable;
    const struct grp_topic_partitions *topics;
    size_t topic_count;
};

struct grp_offset_delete {
    struct str group_id;
    const struct grp_topic_partitions *topics;
    size_t topic_count;
};

struct grp_list {
    const struct str *states; /* any case; none: all */
    size_t state_count;
    const struct str *types;
    size_t type_count;
};

struct grp_appended {
    uint64_t op;
    enum err err; /* ERR_OK, or the log's error. ERR_REQUEST_TIMED_OUT: not known yet, it is still
                     in the log; ERR_OK may follow when it is committed after all */
    int64_t base_offset; /* of the appended batch, when err is ERR_OK */
};

struct grp_record_event {
    struct bytes key;    /* null: ignored with a note */
    struct bytes value;  /* null: tombstone */
    int64_t base_offset; /* of the batch that it came in */
    int64_t producer_id; /* >= 0 when the batch is transactional, else -1 */
};

struct grp_txn_marker {
    int64_t producer_id;
    bool commit;
};

struct grp_event {
    enum grp_event_kind kind;
    int64_t now_ms;  /* monotonic: timers; never goes back */
    int64_t wall_ms; /* since 1970: time stamps in records, retention */
    void *token;     /* requests; NULL: no reply is wanted */
    union {
        struct grp_join join;
        struct grp_sync sync;
        struct grp_heartbeat heartbeat;
        struct grp_leave leave;
        struct grp_commit commit;
        struct grp_fetch fetch;
        struct grp_offset_delete offset_delete;
        struct str group_id; /* GRP_EV_DESCRIBE, GRP_EV_DELETE (one group each) */
        struct grp_list list;
        struct grp_appended appended;
        struct str topic; /* GRP_EV_TOPIC_DELETED */
        struct grp_record_event record;
        struct grp_txn_marker txn_marker;
    };
};

/* ---- outputs ---- */

struct grp_joined_member {
    struct str member_id;
    struct str instance_id; /* null: dynamic */
    struct bytes metadata;  /* for the chosen protocol */
};

struct grp_reply_join {
    enum err err;
    int32_t generation;       /* -1 on most errors */
    struct str protocol_type; /* null: none. The wire has it from v7 on */
    struct str protocol_name; /* as the request's version wants it: never null below v7, never ""
                                 from there */
    struct str leader;        /* "" on errors */
    bool skip_assignment;
    struct str member_id;
    const struct grp_joined_member *members; /* for the leader; nobody else gets any */
    size_t member_count;
};

struct grp_reply_sync {
    enum err err;
    struct str protocol_type; /* null on errors */
    struct str protocol_name;
    struct bytes assignment; /* never null */
};

struct grp_left_member {
    struct str member_id;
    struct str instance_id;
    enum err err;
};

/* Versions 0-2 have no members: the wire's error is `err`, or members[0].err when that is ERR_OK.
 */
struct grp_reply_leave {
    enum err err;
    const struct grp_left_member *members; /* in the request's order; none when err is set */
    size_t member_count;
};

struct grp_reply_partition {
    int32_t partition;
    enum err err;
    int64_t offset;       /* FETCH: -1 none */
    int32_t leader_epoch; /* FETCH: -1 none */
    struct str metadata;  /* FETCH: never null */
};

struct grp_reply_topic {
    struct str topic;
    const struct grp_reply_partition *partitions;
    size_t partition_count;
};

/* COMMIT, FETCH, OFFSET_DELETE. COMMIT: err stays ERR_OK, errors stand at the partitions, which are
 * the request's in its order. FETCH: err is the group's, then there are no topics; of a missing
 * group or offset the partitions say offset -1 and ERR_OK. OFFSET_DELETE: no topics when err is
 * set. */
struct grp_reply_offsets {
    enum err err;
    const struct grp_reply_topic *topics;
    size_t topic_count;
};

struct grp_described_member {
    struct str member_id;
    struct str instance_id;
    struct str client_id;
    struct str client_host;
    struct bytes metadata;   /* empty unless the group is stable */
    struct bytes assignment; /* likewise */
};

struct grp_reply_describe {
    enum err err;
    struct str group_id;
    struct str state; /* "Dead" for an unknown group, with ERR_OK; "" on errors */
    struct str protocol_type;
    struct str protocol; /* "" unless stable */
    const struct grp_described_member *members;
    size_t member_count;
};

struct grp_listed {
    struct str group_id;
    struct str protocol_type; /* "" if none */
    struct str state;
    struct str type; /* "classic" */
};

struct grp_reply_list {
    enum err err; /* COORDINATOR_LOAD_IN_PROGRESS while loading */
    const struct grp_listed *groups;
    size_t group_count;
};

struct grp_reply {
    struct grp_reply *next;
    void *token;
    enum grp_event_kind kind; /* of the request */
    union {
        struct grp_reply_join join;
        struct grp_reply_sync sync;
        enum err heartbeat;
        struct grp_reply_leave leave;
        struct grp_reply_offsets offsets; /* COMMIT, FETCH, OFFSET_DELETE */
        struct grp_reply_describe describe;
        struct grp_reply_list list;
        enum err deleted; /* DELETE */
    };
};

struct grp_out_record {
    struct bytes key;
    struct bytes value; /* null: tombstone */
};

/* Append one batch with these records, stamped (CreateTime) with the event's wall_ms. */
struct grp_append {
    struct grp_append *next;
    uint64_t op;  /* for GRP_EV_APPENDED */
    int16_t acks; /* -1: committed means below the high watermark; 0: written is enough */
    int64_t timestamp_ms;
    const struct grp_out_record *records;
    size_t record_count;
};

/* Something for the program's log: a rebalance, a member that failed, a record that made no sense.
 */
struct grp_note {
    struct grp_note *next;
    bool warning;
    const char *event; /* static text */
    const char *text;  /* fields, key=value */
};

/* What a step decided, in order. Reusable: grp_out_reset() between steps, grp_out_fini() at the
 * end. Do the appends first, then send the replies. */
struct grp_out {
    struct arena arena;
    struct grp_append *appends, **appends_tail;
    struct grp_reply *replies, **replies_tail;
    struct grp_note *notes, **notes_tail;
};

void grp_out_init(struct grp_out *out);
void grp_out_reset(struct grp_out *out);
void grp_out_fini(struct grp_out *out);

/* ---- the machine ---- */

/* A coordinator that is loading: feed it GRP_EV_RECORD and GRP_EV_TXN_MARKER, then GRP_EV_LOADED.
 */
struct grp_coord *grp_new(const struct grp_config *config, uint64_t seed);
void grp_free(struct grp_coord *coord);

/* Handle one event; `out` was initialised or reset, and gets the decisions. */
void grp_step(struct grp_coord *coord, const struct grp_event *event, struct grp_out *out);

/* When the next GRP_EV_TICK is due, in now_ms's time; -1: nothing waits for time. */
int64_t grp_wake_at_ms(const struct grp_coord *coord);

/* After GRP_EV_UNLOAD: start over as a coordinator that is loading. */
void grp_reload(struct grp_coord *coord);

/* Assert every invariant (must). O(everything): for tests and simulation. */
void grp_check(const struct grp_coord *coord);

/* Memory held for groups, members and offsets, as counted against memory_bytes_max. */
size_t grp_memory_bytes(const struct grp_coord *coord);
size_t grp_group_count(const struct grp_coord *coord);

/* Print a group, or with a null id all of them, with members and committed offsets, sorted by name:
 * equal text is equal state. What does not survive a reload (timers, waiting requests) is left out
 * unless `all`. */
void grp_print(const struct grp_coord *coord, struct str group_id, bool all, struct buf *to);
