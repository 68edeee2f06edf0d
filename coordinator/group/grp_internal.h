/* grp_internal.h: what the files of the group machine share. Include it only inside
 * coordinator/group and its tests.
 *
 *   grp.c            events in: checks that every request shares, dispatch, timers, describe, list
 *   grp_group.c      groups and members as data: maps, protocols and votes, subscriptions, memory
 *   grp_join.c       JoinGroup
 *   grp_rebalance.c  the state machine: prepare, complete, empty; who is removed when
 *   grp_sync.c       SyncGroup, Heartbeat, LeaveGroup, and what follows a stored assignment
 *   grp_offsets.c    offsets as data: slots, pending commits, transactions
 *   grp_commit.c     OffsetCommit, OffsetFetch
 *   grp_expire.c     OffsetDelete, DeleteGroups, expiry, deleted topics: everything with tombstones
 *   grp_load.c       records in, loaded, unload
 *   grp_out.c        decisions out
 *   grp_check.c      invariants, grp_print()
 *
 * Numbered invariants, asserted by grp_check() and cited in the code:
 *   - I1 awaiting_count is the number of members with a waiting join; sync_missing that of unsynced
 *     members.
 *   - I2 protocols counts, for each name, the members that support it, each member once.
 *   - I3 A group without members is Empty or PreparingRebalance; one with members is not Empty.
 *   - I4 The leader is a member; there is one exactly when there are members (a loaded group may
 *     name a leader that is gone: then the first member becomes it).
 *   - I5 The join timer is set exactly in PreparingRebalance; members wait for a sync only in
 *     CompletingRebalance.
 *   - I6 An offset slot is kept only while it holds a committed or a pending offset; a topic only
 *     while it has slots.
 *   - I7 A member's session timer is set and not later than its deadline, unless it waits for a
 *     join or a sync and is not new: then it cannot expire.
 *   - I8 Memory counted is the sum over what is held, in all and for each group's members. */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/must.h"
#include "group/grp.h"
#include "group/grp_records.h"
#include "group/grp_timers.h"

/* A member that was just let in may take this long to get its answer, however short its session: it
 * does not know its id yet and cannot send heartbeats. Kafka:
 * GroupCoordinator.NewMemberJoinTimeoutMs. */
enum { GRP_NEW_MEMBER_TIMEOUT_MS = 5 * 60 * 1000 };

/* When nobody rejoined but static members hold their places, look again after their rebalance
 * timeout, or this, so that a timeout of zero does not spin. */
enum { GRP_JOIN_RETRY_MIN_MS = 1000 };

/* Topics that a group's members subscribe to, different ones and all that are named (a topic as
 * often as members name it). They are all looked at in one step:
 * where there are more, it is not known what the group subscribes to, and its offsets stay. */
enum { GRP_SUBSCRIBED_MAX = 100000, GRP_SUBSCRIPTIONS_MAX = 2000000 };

/* What a map entry costs beyond its own struct, roughly: for the memory count. */
enum { GRP_GROUP_OVERHEAD = 640 };

enum grp_phase { GRP_PHASE_LOADING, GRP_PHASE_ACTIVE, GRP_PHASE_UNLOADED };

/* Offsets stay in the machine until committed; several commits of one partition may be under way.
 */
struct grp_pending {
    struct list in_slot;     /* of grp_offset.pending; in none once the offset was deleted */
    struct grp_offset *slot; /* NULL once the offset was deleted */
    /* Transactional ones, which are allocated one by one; the others belong to a grp_op. */
    struct grp_producer *producer;
    struct list in_producer;       /* of grp_producer.pending */
    struct grp_group *group;       /* whose slot it is */
    struct grp_offset_value value; /* metadata is owned */
    int64_t log_offset;            /* base offset of its batch; -1: not appended yet */
};

/* One partition's committed offset. */
struct grp_offset {
    struct grp_topic *topic;
    int32_t partition;
    bool committed;                /* `value` and `log_offset` count */
    struct grp_offset_value value; /* metadata is owned */
    int64_t log_offset;            /* base offset of the batch that it came with */
    struct list pending;           /* of grp_pending.in_slot, oldest first */
};

struct grp_topic {
    UT_hash_handle hh; /* of grp_group.topics, by name */
    struct str name;
    struct grp_offset *
        *slots; /* sorted by partition; grows with the partitions that have offsets */
    size_t slot_count;
    size_t slot_capacity;
};

struct grp_member {
    UT_hash_handle hh;        /* of grp_group.members, by id; insertion order is join order */
    UT_hash_handle hh_static; /* of grp_group.static_members, by instance id */
    struct grp_group *group;
    struct str id;          /* owned, as are the next three */
    struct str instance_id; /* null: dynamic */
    struct str client_id;
    struct str client_host;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    struct grp_protocol
        *protocols; /* one owned block; of a loaded member only the chosen protocol */
    size_t protocol_count;
    struct bytes assignment; /* owned; empty unless a leader's sync was taken */
    bool is_new;             /* no rebalance done yet */
    bool awaiting_join;
    int16_t join_version;
    void *join_token; /* NULL: no reply is wanted */
    bool awaiting_sync;
    void *sync_token;
    bool sync_missing; /* has not synced since the join completed */
    int64_t session_deadline_ms;
    struct grp_timer session; /* may fire before the deadline, and is set again then */
    size_t own_bytes; /* of it and its protocols: what it is charged with but for its assignment */
    size_t charged_bytes;
};

/* A member id that was given out (MEMBER_ID_REQUIRED) and has not come back. */
struct grp_candidate {
    UT_hash_handle hh;
    struct grp_group *group;
    struct str id;
    struct grp_timer timer;
};

/* How many members support a protocol. */
struct grp_support {
    UT_hash_handle hh;
    struct str name;
    size_t count;
    uint64_t visit; /* the last member that was counted, so that a name given twice counts once */
    size_t votes;
};

struct grp_subscribed {
    UT_hash_handle hh;
    struct str topic;
};

struct grp_group {
    UT_hash_handle hh; /* of grp_coord.groups, by id */
    struct grp_coord *coord;
    struct str id;
    enum grp_state state;
    int32_t generation;
    int64_t state_timestamp_ms; /* wall clock of the last transition; -1: not known */
    struct str protocol_type;   /* null: none, a group that only commits offsets */
    struct str protocol;        /* null: none chosen */
    struct grp_member *members;
    struct grp_member *static_members;
    struct grp_candidate *candidates;
    struct grp_member *leader;
    size_t awaiting_count;
    size_t sync_missing;
    struct grp_support *protocols;
    uint64_t visit;
    bool subscribed_known; /* false: every topic counts as subscribed */
    struct grp_subscribed *subscribed;
    struct grp_timer join_timer;
    bool join_initial;            /* the timer is the delay of a group's first rebalance */
    bool member_added;            /* during it; it may then be prolonged */
    int64_t initial_delay_ms;     /* the running delay */
    int64_t initial_remaining_ms; /* by which it may be prolonged in all */
    struct grp_timer sync_timer;
    uint64_t sync_op; /* the assignment being stored; 0: none */
    struct grp_topic *topics;
    size_t committed_count;
    size_t pending_count;
    struct list ops;      /* of grp_op.in_group */
    size_t members_bytes; /* of all members, without their assignments */
    size_t subscribed_bytes;
    bool has_record; /* while loading: a group record was read */
    size_t charged_bytes;
};

enum grp_op_kind { GRP_OP_COMMIT, GRP_OP_SYNC, GRP_OP_STATIC };

/* An append whose end changes something. */
struct grp_op {
    UT_hash_handle hh; /* of grp_coord.ops, by id */
    uint64_t id;
    enum grp_op_kind kind;
    struct grp_group *group; /* NULL once it was removed */
    struct list in_group;
    struct arena arena; /* of what follows */
    size_t charged_bytes;
    /* GRP_OP_COMMIT */
    void *token;
    struct grp_pending *pending;
    size_t pending_count;
    struct grp_reply_topic *topics; /* the answer, ERR_OK where the append decides */
    size_t topic_count;
    /* GRP_OP_SYNC, GRP_OP_STATIC */
    int32_t generation;
    /* GRP_OP_STATIC: how the member was before */
    struct grp_member *member; /* NULL once it was removed or replaced again */
    struct str member_id;
    struct str leader_id;
    struct grp_protocol *protocols; /* owned like a member's */
    size_t protocol_count;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
};

/* A transaction that has committed offsets and has not ended. */
struct grp_producer {
    UT_hash_handle hh; /* of grp_coord.producers, by id */
    int64_t id;
    struct list pending; /* of grp_pending.in_producer, oldest first */
};

struct grp_coord {
    struct grp_config config;
    struct rng rng;
    enum grp_phase phase;
    struct grp_group *groups;
    struct grp_op *ops;
    uint64_t next_op;
    struct grp_producer *producers;
    struct grp_timers timers;
    struct grp_timer expire_timer;
    size_t memory_bytes;
    /* Of the step under way. */
    int64_t now_ms;
    int64_t wall_ms;
    struct grp_out *out;
};

/* Configurations and clients may name times that no clock reaches. */
static inline int64_t grp_later_ms(int64_t now_ms, int64_t delay_ms)
{
    int64_t later_ms;
    return __builtin_add_overflow(now_ms, delay_ms, &later_ms) ? INT64_MAX : later_ms;
}

/* ---- grp_group.c ---- */

struct str grp_str_own(struct str s); /* null stays null */
void grp_str_drop(struct str *s);     /* free, becomes null */

struct grp_group *grp_group_find(struct grp_coord *coord, struct str id);
struct grp_group *grp_group_new(struct grp_coord *coord, struct str id);
/* Waiters are not answered: the caller has done that. Operations under way lose their group. */
void grp_group_free(struct grp_group *group);
/* Checked against the table of allowed transitions; stamps the time. */
void grp_group_to(struct grp_group *group, enum grp_state state);

size_t grp_member_count(const struct grp_group *group);
struct grp_member *grp_member_find(struct grp_group *group, struct str id);
struct grp_member *grp_static_find(struct grp_group *group, struct str instance_id);
struct grp_candidate *grp_candidate_find(struct grp_group *group, struct str id);
struct grp_candidate *grp_candidate_new(struct grp_group *group, struct str id);
void grp_candidate_free(struct grp_candidate *candidate);

/* Add a member; the first one becomes leader. Its timers are the caller's to set. */
struct grp_member *grp_member_new(struct grp_group *group, const struct grp_member_record *record,
                                  const struct grp_protocol *protocols, size_t protocol_count);
/* Take a member out and free it; the leadership passes on. It must not wait for anything. */
void grp_member_free(struct grp_member *member);
void grp_member_rename(struct grp_member *member, struct str id);
void grp_member_set_protocols(struct grp_member *member, const struct grp_protocol *protocols,
                              size_t count);
bool grp_member_has_protocols(const struct grp_member *member, const struct grp_protocol *protocols,
                              size_t count);
void grp_member_assign(struct grp_member *member, struct bytes assignment);
/* The member's metadata for the group's protocol; empty if it has none. */
struct bytes grp_member_metadata(const struct grp_member *member);

/* May a member with this type and these protocols join? */
bool grp_group_supports(struct grp_group *group, struct str protocol_type,
                        const struct grp_protocol *protocols, size_t count);
/* The protocol that every member supports and most prefer; the group has members. */
struct str grp_group_vote(struct grp_group *group);
void grp_group_subscribe(struct grp_group *group);
bool grp_group_subscribed(struct grp_group *group, struct str topic);
int32_t grp_group_rebalance_timeout_ms(const struct grp_group *group);
struct str grp_leader_id(const struct grp_group *group); /* null if none */

/* For whom memory is needed: there are two limits. */
enum grp_need { GRP_NEED_NEW, GRP_NEED_KNOWN };

/* Would `more` bytes exceed the limit? */
bool grp_memory_full(const struct grp_coord *coord, size_t more, enum grp_need need);
void grp_charge(struct grp_coord *coord, size_t *charged, size_t now);
size_t grp_protocols_bytes(const struct grp_protocol *protocols, size_t count);
/* With what the group notes of each name (struct grp_support), as if nobody else had it: what
 * counts as memory. */
size_t grp_protocols_charge(const struct grp_protocol *protocols, size_t count);
struct grp_protocol *grp_protocols_own(const struct grp_protocol *protocols, size_t count);

/* ---- grp_join.c, grp_sync.c ---- */

void grp_on_join(struct grp_coord *coord, const struct grp_event *event);
void grp_on_sync(struct grp_coord *coord, const struct grp_event *event);
void grp_on_heartbeat(struct grp_coord *coord, const struct grp_event *event);
void grp_on_leave(struct grp_coord *coord, const struct grp_event *event);

/* ERR_OK, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID. */
enum err grp_validate_member(struct grp_group *group, struct str member_id, struct str instance_id);

void grp_reply_join_error(struct grp_coord *coord, void *token, int16_t version,
                          struct str member_id, enum err err);
void grp_reply_sync_error(struct grp_coord *coord, void *token, enum err err);

/* Answer a member's waiting join or sync; nothing if it does not wait. */
void grp_member_join_fails(struct grp_member *member, struct str member_id, enum err err);
void grp_member_joins(struct grp_member *member, struct str leader, bool skip_assignment,
                      bool with_members);
void grp_member_sync_fails(struct grp_member *member, enum err err);
void grp_member_syncs(struct grp_member *member);
/* The member starts waiting; an older request of it that waits is told to try again. */
void grp_member_await_join(struct grp_member *member, void *token, int16_t version);

void grp_session_start(struct grp_member *member, int64_t timeout_ms);
void grp_session_refresh(struct grp_member *member);
void grp_session_fired(struct grp_member *member);

void grp_sync_appended(struct grp_op *op, enum err err);
void grp_static_appended(struct grp_op *op, enum err err);

/* ---- grp_rebalance.c ---- */

/* PreparingRebalance, from any state that may go there; nothing in others. */
void grp_rebalance(struct grp_group *group, const char *reason);
/* In PreparingRebalance: complete if everyone who must has joined. */
void grp_rebalance_check(struct grp_group *group);
void grp_join_timer_fired(struct grp_group *group);
void grp_sync_timer_fired(struct grp_group *group);
void grp_candidate_fired(struct grp_candidate *candidate);
/* Remove a member that left or failed, and rebalance. */
void grp_member_remove(struct grp_member *member, const char *reason);
void grp_sync_seen(struct grp_member *member);
/* Write the group as it is. Returns the append's id. */
uint64_t grp_store(struct grp_group *group);

/* ---- grp_offsets.c, grp_commit.c, grp_expire.c ---- */

struct grp_offset *grp_offset_find(struct grp_group *group, struct str topic, int32_t partition);
struct grp_offset *grp_offset_get(struct grp_group *group, struct str topic, int32_t partition);
/* Forget the offset, committed and pending; the slot is freed. */
void grp_offset_delete(struct grp_group *group, struct grp_offset *slot);
/* Forget what is committed; the slot is freed unless something is pending. */
void grp_offset_forget(struct grp_group *group, struct grp_offset *slot);
/* A committed value, unless a newer one is there. The metadata is copied. */
void grp_offset_commit(struct grp_group *group, struct grp_offset *slot,
                       const struct grp_offset_value *value, int64_t log_offset);
/* The value is copied; the caller owns the struct. */
void grp_pending_add(struct grp_group *group, struct grp_offset *slot, struct grp_pending *pending,
                     const struct grp_offset_value *value);
/* Apply (or not) and unlink; a slot that holds nothing then is freed. */
void grp_pending_end(struct grp_group *group, struct grp_pending *pending, bool apply);
/* An offset of a transaction that has not ended. */
void grp_pending_transactional(struct grp_group *group, struct grp_offset *slot,
                               int64_t producer_id, const struct grp_offset_value *value,
                               int64_t log_offset);
/* The transaction takes back what it wrote for this offset. */
void grp_pending_withdraw(struct grp_group *group, struct grp_offset *slot, int64_t producer_id);
bool grp_group_has_offsets(const struct grp_group *group);
void grp_offsets_free(struct grp_group *group);
size_t grp_offset_bytes(struct str metadata);
int64_t grp_utf16_length(struct str text);

void grp_producer_end(struct grp_coord *coord, int64_t id, bool commit);
void grp_producers_free(struct grp_coord *coord);

void grp_on_commit(struct grp_coord *coord, const struct grp_event *event);
void grp_on_fetch(struct grp_coord *coord, const struct grp_event *event);
void grp_commit_appended(struct grp_coord *coord, struct grp_op *op, enum err err,
                         int64_t base_offset);
void grp_reply_commit_error(struct grp_coord *coord, const struct grp_event *event, enum err err);

void grp_on_offset_delete(struct grp_coord *coord, const struct grp_event *event);
void grp_on_delete(struct grp_coord *coord, const struct grp_event *event);
void grp_on_topic_deleted(struct grp_coord *coord, struct str topic);
void grp_on_expire(struct grp_coord *coord);

/* ---- grp_load.c ---- */

void grp_on_record(struct grp_coord *coord, const struct grp_record_event *record);
void grp_on_loaded(struct grp_coord *coord);
void grp_on_unload(struct grp_coord *coord);

/* ---- grp_out.c ---- */

/* A reply of the request's kind; with token NULL it goes nowhere. */
struct grp_reply *grp_reply_add(struct grp_coord *coord, void *token, enum grp_event_kind kind);
uint64_t grp_append_add(struct grp_coord *coord, int16_t acks, const struct grp_out_record *records,
                        size_t count);
void grp_note(struct grp_coord *coord, bool warning, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Copies that live as long as the output. */
struct str grp_out_str(struct grp_coord *coord, struct str s);
struct bytes grp_out_bytes(struct grp_coord *coord, struct bytes b);

/* ---- grp.c ---- */

/* What belongs to the operation is there. */
void grp_op_charge(struct grp_coord *coord, struct grp_op *op);
struct grp_op *grp_op_new(struct grp_group *group, enum grp_op_kind kind, uint64_t id);
void grp_op_free(struct grp_coord *coord, struct grp_op *op);
