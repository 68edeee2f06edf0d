/* part.h: one replica of a partition on this broker: leadership, the log behind it, the high
 * watermark.
 *
 * A partition is an actor: everything that changes runs in it, one message at a time, and what a
 * turn's messages append goes to the log in one write. What readers on other loops need is
 * published in atomics, in this order after an append: the log's bytes and offset_end (plog.h),
 * then offset_hw, then the waiters are woken. Offsets only grow within a leader epoch, except that
 * a follower may truncate, which happens only after the new role has been published.
 *
 * Invariants: P1 log start <= offset_hw <= offset_end. P2 only a leader advances offset_hw by
 * itself, and only over the maximal ISR while that is at least min.insync.replicas (P3). P4 records
 * are appended by clients only while the role says leader, in the epoch that the role says.
 *
 * Replication: a leader keeps in `isr` (isr.h) what its followers have, as their fetches tell
 * (part_follow()); that decides offset_hw and when another ISR is proposed to the controller. A
 * follower takes what the fetcher brings (part_replicate()). Both are in part_replicate.c.
 *
 * Ownership: counted. The table of partitions holds one, each request, wait and message under way
 * one. Threads: as marked. @actor: inside the partition's actor. @any: any loop. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"
#include "base/uuid.h"
#include "config/topic_config.h"
#include "log/plog.h"
#include "log/view.h"
#include "partition/isr.h"
#include "record/batch.h"
#include "rt/actor.h"
#include "wait/wait.h"

enum { PART_REPLICAS_MAX = 64 }; /* replicas of one partition; a larger assignment is refused */

enum part_role { PART_NONE, PART_FOLLOWER, PART_LEADER, PART_OFFLINE };

/* What a reader sees of the role with one load. */
struct part_now {
    enum part_role role;
    int32_t leader_epoch;
};

struct part;

/* Who wants to know when this partition's leadership or high watermark changes: the coordinator
 * that lives in it. Called in the actor. */
struct part_hooks {
    void (*on_leader)(void *arg, int32_t leader_epoch);
    void (*on_not_leader)(void *arg, int32_t leader_epoch);
    void (*on_high_watermark)(void *arg, int64_t offset_hw);
    void (*on_free)(void *arg); /* with the last reference; on any thread */
};

/* Where a leader's wish for another ISR goes. */
struct part_host {
    /* In the actor. `proposal` and the arrays in it are the callee's. Answered by part_altered().
     */
    void (*propose)(struct part_host *host, struct part *part, const struct isr_proposal *proposal);
    /* In the actor. In flush mode: more of a follower's log is on the disk, and no step says so. */
    void (*flushed)(struct part_host *host, struct part *part);
};

/* Of the topic's configuration, what checks on other loops need; each value stands for itself. */
struct part_rules {
    _Atomic int64_t before_max_ms;
    _Atomic int64_t after_max_ms;
    _Atomic int32_t max_message_bytes;
    _Atomic int32_t min_insync_replicas;
    _Atomic int codec; /* as in struct batch_rules */
    _Atomic int32_t level;
    _Atomic bool throttled_leader; /* what it sends to replicas that are not in sync is throttled */
    _Atomic bool throttled_follower; /* what it fetches while it is not in sync, likewise */
    _Atomic bool append_time;
    _Atomic bool keys_required;
    _Atomic bool flush; /* flush mode: part_flush.c */
};

/* A sync that the actor has asked for. */
struct part_sync {
    struct flush_note note;
    struct part *part; /* referenced while busy */
    struct loop *loop; /* of the actor's turn that asked */
    struct loop_msg back;
    struct actor_msg msg;
    bool busy;
};

enum { PART_SYNCS = 2 };

struct part {
    struct actor actor;
    _Atomic int32_t count;
    struct wait_source wait;
    struct text *name; /* of the topic; often the log's */
    struct str topic;  /* that; NUL-terminated */
    struct uuid topic_id;
    int32_t index;
    struct clock *clock;
    struct loop *home; /* frees it */
    struct loop_msg reap;

    /* Published. */
    _Atomic uint64_t now; /* struct part_now, packed */
    _Atomic int64_t offset_hw;
    _Atomic int64_t offset_low;         /* below it no replica serves anything; the leader's */
    _Atomic int64_t offset_epoch_start; /* offset_end when this leader epoch began */
    _Atomic int32_t leading_since;      /* the epoch since which it leads without a break */
    _Atomic bool enough;                /* the ISR has min.insync.replicas members */
    struct part_rules rules;
    struct plog *_Atomic log; /* part_take_log() replaces it; see there who may keep it */

    /* @actor */
    int32_t leader_id;
    int32_t leader_epoch;
    struct isr isr; /* meaningful while leading */
    struct part_host *host;
    struct actor_msg lag_msg; /* part_check_lag() */
    _Atomic bool lag_posted;
    const struct part_hooks *hooks;
    void *hooks_arg;
    struct part_append *gathered; /* appends of this turn, oldest first */
    struct part_append **gathered_end;
    int gathered_count;
    bool hw_moved;               /* and the hooks have not been told */
    bool wake;                   /* something was published in this turn */
    bool deleted;                /* the log is gone; everything is refused */
    struct part_sync *syncs;     /* PART_SYNCS of them, from the first one in flush mode on */
    struct part_replicate *held; /* steps whose records are not on the disk yet */

    int32_t fetched_from; /* the control loop's: whose fetcher has it; -1: none */
    int32_t fetched_by;   /* likewise: which of them */
};

/* There are tens of thousands of them. */
_Static_assert(sizeof(struct part) <= 464, "a partition's own memory");

struct part_options {
    struct str topic;
    struct uuid topic_id;
    int32_t index;
    int loop_count; /* of network loops */
    struct clock *clock;
    struct loop *home;
    int32_t my_id;
    int64_t lag_ms;         /* replica.lag.time.max.ms */
    struct part_host *host; /* NULL: nobody to propose to */
};

/* Holds the log. The caller holds the one reference. `offset_hw` is the one
 * checkpointed; it is brought into the log's range. */
struct part *part_new(const struct part_options *options, struct plog *log, int64_t offset_hw);
struct part *part_get(struct part *part);
void part_put(struct part *part);

/* @any */
static inline struct part_now part_now(const struct part *part)
{
    uint64_t packed = atomic_load_explicit(&part->now, memory_order_acquire);
    return (struct part_now){(enum part_role)(packed & 0xff), (int32_t)(packed >> 32)};
}

/* What has become of records that a leader appended. */
enum part_fate {
    PART_FATE_OPEN,    /* nothing yet */
    PART_FATE_KEPT,    /* what was waited for has passed their end, and they are still there */
    PART_FATE_UNKNOWN, /* it no longer leads without a break: they may have been cut off */
};

/* @any Of those that were appended in `leader_epoch` and end at `offset_end`: by the high
 * watermark; by what this replica itself has (part_offset_durable()). Never KEPT for what others
 * have written at these offsets since. */
enum part_fate part_fate_committed(const struct part *part, int32_t leader_epoch,
                                   int64_t offset_end);
enum part_fate part_fate_durable(const struct part *part, int32_t leader_epoch, int64_t offset_end);

/* @any What a client must be told when it names `current_leader_epoch` (-1: none): ERR_OK,
 * FENCED_LEADER_EPOCH (the client is behind) or UNKNOWN_LEADER_EPOCH (we are). */
enum err part_check_epoch(struct part_now now, int32_t current_leader_epoch);

/* @any Has the ISR min.insync.replicas members? */
bool part_enough_replicas(const struct part *part);

/* @any Is it in flush mode? */
static inline bool part_flushes(const struct part *part)
{
    return atomic_load_explicit(&part->rules.flush, memory_order_acquire);
}

/* @any What this replica has: its log's end; in flush mode the end of what is on its disk. It is
 * what acks=1 waits for. */
int64_t part_offset_durable(const struct part *part);

/* @any Has the high watermark reached what this leader found in its log? Before, an earlier leader
 * may have shown clients more. */
bool part_high_watermark_is_current(const struct part *part);

/* @any Up to where a read_committed consumer may read. There are no transactions yet. */
static inline int64_t part_offset_stable(const struct part *part)
{
    return atomic_load_explicit(&part->offset_hw, memory_order_acquire);
}

/* Something for the actor to do, and its way back. Embedded in what says what; the actor's from the
 * call until done(), which gives it back: on `loop`, or, when that is NULL, inside the actor. It
 * holds a reference to the partition meanwhile. */
struct part_call {
    struct actor_msg msg;
    struct part *part;
    void (*done)(struct part_call *call);
    struct loop *loop;
    struct loop_msg back;
    struct loop_task back_here;
};

/* Records from a client or a coordinator, on their way through the actor. Memory is the sender's.
 */
struct part_append {
    struct part_call call; /* done() when the append has been written or refused */
    struct part_append *next;
    /* In. The bytes of whole batches; base offset and leader epoch are rewritten in place. They
     * must stay until done. */
    struct bytes records;
    struct batch_header header; /* of the first batch, as validated */
    int16_t acks;               /* -1, 0 or 1: -1 asks for min.insync.replicas */
    int32_t expected_epoch;     /* refuse unless the leader epoch is this; -1: any */
    bool coordinator;           /* an append of our own: producer sequences are not checked */
    /* Out. */
    enum err err;
    int64_t base_offset;
    int64_t offset_end;     /* of this append, exclusive: what acks=all waits for */
    int64_t append_time_ms; /* -1 unless the topic stamps (or a duplicate is answered) */
    int64_t log_start_offset;
    int32_t leader_epoch;
};

/* @any Post an append. Takes a reference to the partition until done() has been called. */
void part_append(struct part *part, struct part_append *append);

/* @actor The same for code that already runs in the actor (a coordinator): written before it
 * returns; `done` is not used. */
MUST_USE enum err part_append_here(struct part *part, struct part_append *append);

/* What the controller decided. */
struct part_state {
    int32_t controller_epoch;
    int32_t leader;
    int32_t leader_epoch;
    int32_t partition_epoch;
    const int32_t *isr;
    const int32_t *replicas;
    int32_t isr_count;
    int32_t replicas_count;
    bool frozen; /* isr.h */
};

/* @actor Take over or give up leadership. STALE_CONTROLLER_EPOCH when the epoch is not newer. */
MUST_USE enum err part_apply(struct part *part, const struct part_state *state);

/* ---- replication ---- */

/* To the leader: a follower's fetch. */
struct part_follow {
    struct part_call call;
    int32_t leader_epoch; /* in which the fetch was read; another one by now: it tells nothing */
    struct isr_fetch fetch;
    enum err err; /* out: ERR_NOT_LEADER_OR_FOLLOWER: the broker is no replica */
    bool member;  /* out: it is in the ISR */
};

/* @any Tell the leader. done() follows; until then `follow` is the actor's. */
void part_follow(struct part *part, struct part_follow *follow);

/* To the leader: should a consumer at `offset` rather read from one of these replicas? */
struct part_nearest {
    struct part_call call;
    int64_t offset;
    const int32_t *ids; /* the caller's, until done */
    int32_t ids_count;
    int32_t id; /* out; -1: none of them, or we do not lead any more */
};

/* @any done() follows. */
void part_nearest(struct part *part, struct part_nearest *nearest);

enum part_step {
    PART_STEP_RECORDS,  /* append `records`, and learn the leader's high watermark and log start */
    PART_STEP_DIVERGED, /* the leader's epoch `epoch` ends at `offset`: drop what is not in it */
    PART_STEP_TRUNCATE, /* the leader's log ends at `offset` */
    PART_STEP_RESTART,  /* the leader's log begins at `offset`, behind our end */
};

/* To a follower: what its leader said. */
struct part_replicate {
    struct part_call call;
    enum part_step step;
    int32_t leader_epoch;     /* of the fetch; refused when it is not the one in force */
    int64_t fetch_offset;     /* where the fetch began; refused when that is not our end */
    struct bytes records;     /* the last batch may be cut short */
    int64_t leader_hw;        /* -1: not told */
    int64_t leader_log_start; /* likewise */
    int32_t epoch;
    int64_t offset;
    /* Out. */
    enum err err; /* ERR_FENCED_LEADER_EPOCH: refused. ERR_CORRUPT: fetch again */
    int64_t offset_end;
    int64_t flushed_end; /* of that, on the disk; -1: not in flush mode */
    int32_t last_epoch;  /* of our last record; -1 */
    int64_t log_start;
    struct part_replicate *next; /* the partition's */
};

/* @any done() follows; in flush mode when the records are on the disk. */
void part_replicate(struct part *part, struct part_replicate *replicate);

/* @actor The controller's answer to a proposal made in `leader_epoch`. */
void part_altered(struct part *part, int32_t leader_epoch, enum err err,
                  const struct isr_state *state);

/* @any Look for replicas that have fallen behind, and for a high watermark that may move. */
void part_check_lag(struct part *part);

/* @actor The log or its directory has failed: offline until the broker restarts. */
void part_fail(struct part *part);

/* @actor Another set of topic configs is in force. */
void part_configure(struct part *part, const struct topic_config *config);

/* @any Which of the replication throttles name this replica. */
void part_throttle(struct part *part, bool leader, bool follower);

/* @any */
static inline bool part_throttled_leader(const struct part *part)
{
    return atomic_load_explicit(&part->rules.throttled_leader, memory_order_relaxed);
}

static inline bool part_throttled_follower(const struct part *part)
{
    return atomic_load_explicit(&part->rules.throttled_follower, memory_order_relaxed);
}

/* @actor Delete records below `offset` (-1: the high watermark). Followers do so when they next
 * fetch; offset_low says how far all are. */
MUST_USE enum err part_delete_records(struct part *part, int64_t offset, int64_t *log_start_offset);

/* @actor Drop some of what retention says may go. True: there may be more. */
bool part_retain(struct part *part);

/* @actor The log goes on as `log`, which is equal to it, in another directory. Returns the old one
 * with the partition's hold on it. Readers on other loops may have it until the end of their turn:
 * whoever keeps a log longer, or is a worker, holds it (plog_hold()). */
struct plog *part_take_log(struct part *part, struct plog *log);

/* @actor The replica leaves this broker: readers and writers are refused from now on. */
void part_close(struct part *part);

/* @any Where the largest epoch not above `epoch` ends; both -1 when nobody can tell. */
void part_epoch_end(struct part *part, int32_t epoch, int32_t *found, int64_t *end);

/* @any The leader epoch of the record at `offset`; -1. */
int32_t part_epoch_of(struct part *part, int64_t offset);

/* @any The codec that the topic's records are to have, or BATCH_CODEC_PRODUCER. */
static inline int part_codec(const struct part *part)
{
    return atomic_load_explicit(&part->rules.codec, memory_order_relaxed);
}

/* @any What the topic allows producers to send. */
void part_batch_rules(struct part *part, int64_t now_ms, struct batch_rules *out);

/* @actor */
void part_hook(struct part *part, const struct part_hooks *hooks, void *arg);

/* @any Run `fn` in the actor. `msg` is the caller's until then. */
static inline void part_post(struct part *part, struct actor_msg *msg)
{
    actor_post(&part->actor, msg);
}
