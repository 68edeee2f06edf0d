/* ctl_state.h: what the controller machine remembers. Only for ctl*.c.
 *
 * Brokers are a sorted array; partitions live in numbered slots, and each broker keeps one byte of
 * marks per slot: what it must be told of that partition, and what it is being told just now. */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "base/rng.h"
#include "controller/ctl.h"

enum ctl_phase { CTL_IDLE, CTL_LOADING, CTL_ACTIVE };

/* What a broker must be told of a partition. The same bits, shifted, for what is under way. */
enum ctl_mark {
    CTL_MARK_LEADER = 1, /* LeaderAndIsr */
    CTL_MARK_META = 2,   /* UpdateMetadata */
    CTL_MARK_STOP = 4,   /* StopReplica */
    CTL_MARK_NEW = 8,    /* with LEADER: the replica is new (isNew) */
    CTL_MARK_ALL = 15,
    CTL_MARK_SENT_SHIFT = 4,
};

struct ctl_broker {
    int32_t id;
    int64_t epoch;
    struct arena arena; /* endpoints and rack */
    const struct znode_endpoint *endpoints;
    int32_t endpoints_count;
    struct str rack;
    bool shutting_down;
    uint8_t *marks; /* by slot */
    int32_t marks_capacity;
    int32_t due_leader; /* slots with the mark due */
    int32_t due_meta;
    int32_t due_stop;
    uint32_t told_generation; /* of the list of live brokers; 0: none */
    bool told_all;            /* it has heard of every topic that there was */
    uint64_t sending;         /* command under way, 0: none */
    int sending_kind;
    uint32_t sending_generation;
    bool sending_all;      /* after it, it has */
    int64_t retry_ms;      /* no request before */
    bool unclean;          /* so says its registration, and some partition may still count on it */
    int32_t settled_slots; /* slots below are known not to */
    uint64_t settle_cmd;   /* SETTLE_BROKER under way */
    int64_t settle_retry_ms;
};

enum ctl_replica_flag {
    CTL_REPLICA_OFFLINE_DIR = 1,   /* its broker says the log directory failed */
    CTL_REPLICA_BOUNCED = 2,       /* its broker restarted: not again in the same leader epoch */
    CTL_REPLICA_DELETED = 4,       /* files removed */
    CTL_REPLICA_DELETE_FAILED = 8, /* tried again when its broker comes back */
    CTL_REPLICA_UNCLEAN = 16,      /* counts as complete, and may lack what was committed */
    CTL_REPLICA_RETURNING = 32 /* BOUNCED, and in the state that is being written nevertheless */
};

struct ctl_ids {
    int32_t *ids; /* own memory */
    int32_t count;
};

/* Where a replica's log ends: told by a broker in answer to LeaderAndIsr, while nobody leads. */
struct ctl_log_end {
    int32_t broker_id;
    int32_t last_epoch;
    int64_t broker_epoch; /* of the life that told it */
    int64_t end_offset;
};

/* Content of a state znode, in memory of its own. */
struct ctl_leadership {
    int32_t leader;
    int32_t leader_epoch;
    int32_t controller_epoch;
    bool recovering;
    int32_t *isr;
    int32_t isr_count;
};

/* A partition's line in its topic's node. */
struct ctl_assignment {
    struct znode_ids replicas;
    struct znode_ids adding;
    struct znode_ids removing;
};

/* How a partition's assignment is to change. */
enum ctl_goal {
    CTL_GOAL_MOVE,   /* towards `target` */
    CTL_GOAL_CANCEL, /* back to where it came from */
    CTL_GOAL_FINISH, /* the target is in sync: the others go */
};

/* A change of a partition's assignment that is not in ZooKeeper yet; see reassign.c. */
struct ctl_move {
    enum ctl_goal goal;
    struct znode_ids target;         /* MOVE; own memory */
    struct ctl_reassign_item *asked; /* who waits for it; NULL: nobody */
    bool writing;                    /* the topic's node, with `next` in it */
    bool keep;    /* too few that are complete would be left: they stay, to be removed later */
    bool renewed; /* the goal is another one than that which is being written */
    bool refused; /* ZooKeeper did not take it, and will not: it is given up, unless renewed */
    struct ctl_assignment next; /* own memory */
};

enum ctl_busy { CTL_PART_IDLE, CTL_PART_WRITING, CTL_PART_READING };

struct ctl_part {
    struct ctl_topic *topic;
    int32_t index;
    int32_t slot;
    struct znode_ids replicas; /* own memory, as the next two */
    struct znode_ids adding;
    struct znode_ids removing;
    uint8_t *flags; /* ctl_replica_flag, one per replica */
    int64_t mzxid;  /* when the state was written that was read last; 0: not known */
    bool exists;    /* the state znode does, or did */
    bool missing;   /* it did: somebody removed it, and it is to be made again from `now` */
    bool broken;    /* left alone until its topic is read again */
    bool tombstone; /* its topic is gone; stays until all brokers know */
    bool creating;  /* what is being written, or was written last, is its first state */
    bool fresh;     /* being made, or made, and not all brokers have been sent its metadata */
    bool want_preferred;
    bool want_unclean;
    bool bump; /* the leader epoch must rise: the replicas are to hear of another assignment */
    struct ctl_leadership now; /* as ZooKeeper has it, to our knowledge */
    struct ctl_ids eligible;   /* not in now.isr, but complete: likewise */
    int32_t version;
    enum ctl_busy busy;
    bool refused;               /* READING, since ZooKeeper does not take what was to be written */
    uint64_t cmd_id;            /* while WRITING */
    struct ctl_leadership next; /* being written; kept while READING after an unknown result */
    struct ctl_ids next_eligible;
    int64_t crowned_epoch;    /* of next.leader's broker, when nobody is complete; else 0 */
    struct ctl_log_end *ends; /* while nobody leads; one per broker */
    int32_t ends_count;
    int32_t marked; /* brokers with marks on this slot */
    struct ctl_alter_item
        *alter;               /* the ISR request that this write answers; NULL: our own decision */
    struct ctl_move *move;    /* NULL: the assignment is to stay as it is */
    struct znode_ids dropped; /* replicas no more: to delete their copies, as far as we know; own
                                 memory */
    struct list todo;         /* in ctl.todo: must be looked at */
};

struct ctl_topic {
    UT_hash_handle hh;    /* by name */
    UT_hash_handle hh_id; /* by id, when it has one */
    struct str name;
    struct uuid id;
    bool in_ids;
    struct ctl_part **parts; /* by ascending index; after the topic is gone: NULL */
    int32_t parts_count;
    int32_t slots_held; /* parts that still exist, tombstones too; the last one frees the topic */
    bool loaded;        /* its node has been read */
    bool counted;       /* in ctl.loading_topics */
    bool gone;
    uint64_t picked; /* the last of ctl.picks that has looked at it */
    uint64_t id_cmd; /* WRITE_TOPIC under way */
    bool deleting;   /* marked for deletion, and that is allowed */
    struct list deleting_link;
    uint64_t delete_cmd; /* DELETE_TOPIC under way */
    bool listed; /* in the last list of topics that came meanwhile: maybe made anew already */
    bool marked; /* in a list of marks that came meanwhile: maybe to be deleted anew, too */
    int64_t delete_retry_ms;
    int32_t version;            /* of its node, as read or written last */
    int64_t czxid;              /* when the node was made; 0: not known */
    uint64_t assign_cmd;        /* WRITE_TOPIC under way, for reassignments */
    bool rereading;             /* nobody knows what came of one: its node is being read */
    struct list assigning_link; /* in ctl.assigning: its node is to be written */
};

/* A deletion mark whose topic we do not know (yet). */
struct ctl_stray_mark {
    struct list link;
    struct str name;
    uint64_t seen; /* ctl.topics_events when it was seen */
};

struct ctl_alter_item {
    struct ctl_alter *alter;
    struct ctl_part *part; /* while its write is under way */
    struct str topic;
    struct uuid topic_id;
    int32_t partition;
    enum err err;
    struct ctl_leadership state; /* after success; isr in the alter's arena, as the next */
    int32_t *eligible;
    int32_t eligible_count;
    int32_t version;
};

struct ctl_alter {
    struct list link;
    struct arena arena;
    uint64_t reply_id;
    struct ctl_alter_item *items;
    int32_t items_count;
    int32_t waiting; /* items without a result */
};

struct ctl_shutdown {
    struct list link;
    uint64_t reply_id;
    int32_t broker_id;
    int64_t tell_until_ms; /* everything is written; so long brokers may take to hear of it; or 0 */
};

/* AlterPartitionReassignments that waits for its results. */
struct ctl_reassign_item {
    struct ctl_reassign_op *op;
    struct ctl_reassigned result;
};

struct ctl_reassign_op {
    struct list link;
    struct arena arena;
    uint64_t reply_id;
    struct ctl_reassign_item *items;
    int32_t count;
    int32_t waiting;
};

/* An entry of /admin/reassign_partitions. */
struct ctl_order {
    struct list link;
    struct str topic; /* own memory, as the next */
    struct znode_ids replicas;
    int32_t partition;
    bool listed; /* while the node is compared with what we know */
    bool done;   /* to be taken out of the node */
};

/* unclean.leader.election.enable of one topic. */
struct ctl_unclean {
    UT_hash_handle hh;
    struct str name;
    bool allowed;
};

/* min.insync.replicas of one topic. */
struct ctl_min_insync {
    UT_hash_handle hh;
    struct str name;
    int32_t count;
};

/* What a command id stands for. */
enum ctl_pending_kind {
    CTL_PENDING_STATE,
    CTL_PENDING_ID,
    CTL_PENDING_DELETE,
    CTL_PENDING_ASSIGN,
    CTL_PENDING_ORDERS,
    CTL_PENDING_SETTLE,
    CTL_PENDING_OTHER
};

struct ctl_pending {
    UT_hash_handle hh;
    uint64_t id;
    enum ctl_pending_kind kind;
    struct ctl_part *part;
    struct ctl_topic *topic;
};

struct ctl {
    struct ctl_config config;
    struct rng rng;
    enum ctl_phase phase;
    int32_t epoch;
    int64_t now_ms;
    uint64_t next_cmd_id;
    struct ctl_cmds *out; /* during a step */

    struct ctl_broker **brokers; /* by ascending id */
    int32_t brokers_count;
    uint32_t generation; /* of the list of live brokers; from 1 */

    struct ctl_topic *topics;    /* by name */
    struct ctl_topic *topic_ids; /* by id */
    struct ctl_part **slots;     /* NULL: free */
    int32_t slots_count;         /* in use or below one that was */
    int32_t slots_capacity;
    int32_t *free_slots; /* a stack; as large as slots */
    int32_t free_slots_count;
    struct list todo;     /* partitions to look at */
    struct list deleting; /* topics */
    struct list strays;
    struct ctl_pending *pending;

    bool have_brokers; /* while LOADING */
    bool have_topics;
    bool have_deletions;
    bool have_preferred;
    int32_t loading_topics; /* known, node not read yet */
    uint64_t topics_events;
    bool resigning; /* CTL_RESIGN was commanded in this step */
    bool outdated;  /* it was commanded in this reign: there is another controller */

    uint64_t picks; /* of metadata for a request */
    struct list alters;
    struct list shutdowns;
    bool preferred_node;  /* to be removed once `wants` is 0 */
    bool preferred_again; /* it was read before the partitions were known */
    int32_t wants;        /* partitions with want_preferred */
    int64_t rebalance_ms;

    struct list assigning;  /* topics whose node is to be written */
    struct list reassigns;  /* requests that wait */
    struct list orders;     /* what /admin/reassign_partitions says */
    int32_t orders_version; /* of that node; -1: it is not there, or being read */
    uint64_t orders_cmd;    /* WRITE_ORDERS under way */
    bool orders_look;       /* one of them may have come to its end */

    bool unclean_default;        /* kept over elections, as the next two */
    struct ctl_unclean *unclean; /* by topic */
    int32_t min_insync_default;
    struct ctl_min_insync *min_insync; /* by topic */
    int64_t unclean_elections;
};

/* ---- ctl.c */

struct ctl_cmd *ctl_emit(struct ctl *ctl, enum ctl_cmd_kind kind);
/* The same with a fresh id, remembered as pending. */
struct ctl_cmd *ctl_emit_pending(struct ctl *ctl, enum ctl_cmd_kind kind,
                                 enum ctl_pending_kind pending, struct ctl_part *part,
                                 struct ctl_topic *topic);
void ctl_forget_pending(struct ctl *ctl, uint64_t cmd_id);
void ctl_note(struct ctl *ctl, bool warning, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ask the driver to find out whether we are still the controller. */
void ctl_resign(struct ctl *ctl);

/* ---- ctl_broker.c: who is alive; marks. */

struct ctl_broker *ctl_find_broker(const struct ctl *ctl, int32_t id);
void ctl_brokers_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_brokers_activate(struct ctl *ctl);
void ctl_brokers_free(struct ctl *ctl);
/* Mark one slot at one broker, at all replicas that are registered, or at every broker. */
void ctl_mark(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part, int marks);
void ctl_mark_replicas(struct ctl *ctl, struct ctl_part *part, int marks);
void ctl_mark_everybody(struct ctl *ctl, struct ctl_part *part, int marks);
/* Due marks go away; those under way stay. */
void ctl_unmark(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part, int marks);
/* Due marks become marks under way. */
void ctl_mark_sent(struct ctl_broker *broker, struct ctl_part *part, int marks);
/* None where there has never been a mark: the broker's array may end before the slot. */
static inline int ctl_marks_of(const struct ctl_broker *broker, const struct ctl_part *part)
{
    return part->slot < broker->marks_capacity ? broker->marks[part->slot] : 0;
}
/* To unmark for good: a request under way that fails must not become due again either. */
static inline int ctl_due_and_sent(int marks)
{
    return marks | marks << CTL_MARK_SENT_SHIFT;
}
/* Those under way are done, or due again. */
void ctl_sent_ok(struct ctl *ctl, struct ctl_broker *broker);
void ctl_sent_failed(struct ctl *ctl, struct ctl_broker *broker);

/* ---- ctl_topic.c: topics, slots, deletion. */

struct ctl_topic *ctl_find_topic(const struct ctl *ctl, struct str name);
struct ctl_topic *ctl_find_topic_id(const struct ctl *ctl, struct uuid id);
struct ctl_part *ctl_find_part(const struct ctl_topic *topic, int32_t index);
/* While active: for every partition that there is, or, unless the name is null, those of a topic.
 */
void ctl_parts_each(struct ctl *ctl, struct str name, void (*fn)(struct ctl *, struct ctl_part *));
void ctl_topics_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_topics_activate(struct ctl *ctl);
void ctl_topic_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_topic_wrote(struct ctl *ctl, struct ctl_topic *topic, enum err err);
void ctl_deletions_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_topic_deleted(struct ctl *ctl, struct ctl_topic *topic, enum err err);
/* Replicas of topics that are being deleted on a broker that (re)appeared. */
void ctl_deletion_resume(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part);
/* Command the removal of topics whose replicas are all gone. */
void ctl_deletions_advance(struct ctl *ctl);
void ctl_strays_apply(struct ctl *ctl);
/* Is it to be deleted, now or once its reassignments are done? */
bool ctl_topic_doomed(const struct ctl *ctl, const struct ctl_topic *topic);
void ctl_topics_free(struct ctl *ctl);
/* A tombstone that nobody needs to hear of any more goes. */
void ctl_part_maybe_free(struct ctl *ctl, struct ctl_part *part);

/* ---- ctl_part.c: who leads. */

int32_t ctl_replica_index(const struct ctl_part *part, int32_t broker_id);
bool ctl_in_isr(const struct ctl_leadership *state, int32_t broker_id);
void ctl_leadership_free(struct ctl_leadership *state);
/* Take over what a state znode says. */
/* All brokers and states have been read: which replicas have restarted unseen? */
void ctl_part_find_bounced(struct ctl *ctl, struct ctl_part *part);
void ctl_part_believe(struct ctl *ctl, struct ctl_part *part, const struct ctl_state_info *info);
/* Look at it before the step ends. */
void ctl_part_touch(struct ctl *ctl, struct ctl_part *part);
void ctl_parts_decide(struct ctl *ctl);
void ctl_part_wrote(struct ctl *ctl, struct ctl_part *part, enum err err, int32_t version);
void ctl_state_event(struct ctl *ctl, const struct ctl_event *event);
/* No write is under way any more. */
void ctl_part_idle(struct ctl_part *part);
/* It is not known what its state will be in a moment. One that ZooKeeper does not take is tried
 * again every second: what is there is what counts, and nobody waits for another. */
static inline bool ctl_part_busy(const struct ctl_part *part)
{
    return part->busy != CTL_PART_IDLE && !part->refused;
}
/* Write `next` (taken over); `alter` may be NULL. */
void ctl_part_write(struct ctl *ctl, struct ctl_part *part, struct ctl_leadership next,
                    struct ctl_alter_item *alter);
/* Its leader holds on to a state that others have changed since: only another epoch makes it look
 * at the one that is in force. */
void ctl_part_lead_anew(struct ctl *ctl, struct ctl_part *part);
void ctl_want_preferred(struct ctl *ctl, struct ctl_part *part, bool want);
/* The broker is registered, not leaving, and the replica's directory works. */
bool ctl_replica_live(const struct ctl *ctl, const struct ctl_part *part, int32_t i);
bool ctl_part_has_leader(const struct ctl *ctl, const struct ctl_part *part);
bool ctl_unclean_allowed(const struct ctl *ctl, const struct ctl_topic *topic);

/* ---- ctl_unclean.c: who is complete. */

bool ctl_is_eligible(const struct ctl_part *part, int32_t broker_id);
/* As ctl_replica_live(), also when it may lack committed records. */
bool ctl_replica_usable(const struct ctl *ctl, const struct ctl_part *part, int32_t i);
/* Who is complete, outside of the ISR, once `next` is written. */
struct ctl_ids ctl_eligible_after(const struct ctl *ctl, const struct ctl_part *part,
                                  const struct ctl_leadership *next);
/* A partition that was not known yet: which of its replicas have started uncleanly? */
void ctl_unclean_find(struct ctl *ctl, struct ctl_part *part);
/* Nobody counts on those outside of ISR and eligible: they are like any other that lags. */
void ctl_unclean_settle(struct ctl_part *part);
/* The leader lets it in, and knows it in its present life. */
void ctl_unclean_enters(struct ctl_part *part, int32_t broker_id);
/* All that might be complete are back, and none is sure to be: the one with the longest log, once
 * known; else -1. */
int32_t ctl_unclean_best(const struct ctl *ctl, const struct ctl_part *part);
/* Anybody, with permission; those that were complete once come first. */
int32_t ctl_unclean_any(const struct ctl *ctl, const struct ctl_part *part);
void ctl_unclean_answer(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                        const Barnabas__Control__PartitionError *answer);
/* Is the leader elected for want of anybody who is complete? */
bool ctl_unclean_crowns(const struct ctl_part *part, const struct ctl_leadership *next);
void ctl_unclean_crowned(struct ctl *ctl, struct ctl_part *part);
void ctl_unclean_advance(struct ctl *ctl);
void ctl_broker_settled(struct ctl *ctl, uint64_t cmd_id, enum err err);
int32_t ctl_min_insync(const struct ctl *ctl, const struct ctl_part *part);
void ctl_min_insync_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_min_insync_free(struct ctl *ctl);

/* ---- ctl_send.c: requests to brokers. */

void ctl_send_all(struct ctl *ctl);
void ctl_sent_event(struct ctl *ctl, const struct ctl_event *event);

/* ---- ctl_request.c: requests from brokers and people. */

void ctl_alter_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_alter_done(struct ctl *ctl, struct ctl_alter_item *item, enum err err,
                    const struct ctl_part *part);
void ctl_shutdown_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_shutdowns_advance(struct ctl *ctl);
void ctl_elect_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_preferred_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_preferred_advance(struct ctl *ctl);
void ctl_unclean_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_rebalance(struct ctl *ctl);
/* Everybody who waits is told NOT_CONTROLLER. */
void ctl_requests_abort(struct ctl *ctl);

/* ---- reassign.c: partitions on the move. */

/* Has ZooKeeper got replicas of it that come or go? */
static inline bool ctl_part_moving(const struct ctl_part *part)
{
    return part->adding.count + part->removing.count > 0;
}
/* May the broker lead, and be in sync? Not when it is no replica, or about to be none. */
bool ctl_replica_stays(const struct ctl_part *part, int32_t broker_id);
/* It comes, and has nothing yet. */
bool ctl_replica_is_new(const struct ctl_part *part, int32_t broker_id);
/* Before deciding: is what is to change still right? */
void ctl_reassign_review(struct ctl *ctl, struct ctl_part *part);
/* There is nothing to decide: what may be done next about the assignment. */
void ctl_reassign_settle(struct ctl *ctl, struct ctl_part *part);
/* Set out for a goal; the target is copied. `item` may be NULL. */
void ctl_reassign_start(struct ctl *ctl, struct ctl_part *part, enum ctl_goal goal,
                        struct znode_ids target, struct ctl_reassign_item *item);
/* Nothing will come of what was to change. */
void ctl_reassign_fail(struct ctl *ctl, struct ctl_part *part, enum err err, const char *text);
/* Take over what the topic's node says. */
void ctl_assign(struct ctl *ctl, struct ctl_part *part, const struct ctl_assignment *assignment);
void ctl_reassign_refresh(struct ctl *ctl, struct ctl_part *part,
                          const struct znode_partition *node);
/* What of a node makes sense: lists within the replicas, and a target that is not empty. */
struct ctl_assignment ctl_assignment_of(struct arena *arena, const struct znode_partition *node);
void ctl_move_free(struct ctl *ctl, struct ctl_part *part);

/* The state fits: the topic's node may be written. */
bool ctl_reassign_ready(const struct ctl_part *part);
/* It is being written from now on; what is, until ctl_reassign_written(). */
const struct ctl_assignment *ctl_reassign_begin(struct ctl *ctl, struct ctl_part *part);
void ctl_reassign_written(struct ctl *ctl, struct ctl_part *part);
/* ZooKeeper does not take it; given up when the node, which is read now, has not got it. */
void ctl_reassign_refused(struct ctl_part *part);

/* ---- reassign_write.c: the nodes of topics, written for reassignments; copies that must go. */

void ctl_reassign_queue(struct ctl *ctl, struct ctl_topic *topic);
void ctl_reassign_write(struct ctl *ctl);
void ctl_reassign_wrote(struct ctl *ctl, struct ctl_topic *topic, enum err err, int32_t version);
bool ctl_topic_moving(const struct ctl_topic *topic);
/* The broker was a replica, and is to delete its copy. */
bool ctl_dropped(const struct ctl_part *part, int32_t broker_id);
void ctl_drop(struct ctl *ctl, struct ctl_part *part, int32_t broker_id);
void ctl_undrop(struct ctl *ctl, struct ctl_part *part, int32_t broker_id);
void ctl_dropped_answer(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                        enum err err);
/* Is a broker that is registered being told so? */
bool ctl_dropping(const struct ctl *ctl, const struct ctl_part *part);

/* ---- reassign_request.c: who asks for reassignments. */

void ctl_reassign_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_reassign_item_done(struct ctl *ctl, struct ctl_reassign_item *item, enum err err,
                            const char *text);
void ctl_reassigns_abort(struct ctl *ctl);
void ctl_orders_event(struct ctl *ctl, const struct ctl_event *event);
void ctl_orders_advance(struct ctl *ctl);
void ctl_orders_wrote(struct ctl *ctl, enum err err);
void ctl_orders_free(struct ctl *ctl);
