/* ctl_part.c: who leads a partition, and who is in sync.
 *
 * One function says what a partition's state should be, given who is alive; when it differs from
 * what ZooKeeper holds, the difference is written. At most one write per partition is under way:
 *
 *   IDLE --write--> WRITING --ok--> IDLE                       the new state is told to brokers
 *                   WRITING --any other result--> READING --> IDLE  believe what is there, decide
 * again
 *
 * The strategies are Kafka's (kafka.controller.Election): offline, controlled shutdown, preferred.
 */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Small things. */

int32_t ctl_replica_index(const struct ctl_part *part, int32_t broker_id)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (part->replicas.ids[i] == broker_id) {
            return i;
        }
    }
    return -1;
}

bool ctl_in_isr(const struct ctl_leadership *state, int32_t broker_id)
{
    for (int32_t i = 0; i < state->isr_count; i++) {
        if (state->isr[i] == broker_id) {
            return true;
        }
    }
    return false;
}

void ctl_leadership_free(struct ctl_leadership *state)
{
    mem_free(state->isr);
    *state = (struct ctl_leadership){.leader = -1};
}

/* A copy of `from` with an empty ISR that has room for everybody. */
static struct ctl_leadership draft(const struct ctl *ctl, const struct ctl_part *part)
{
    struct ctl_leadership next = part->now;
    size_t room = (size_t)(part->now.isr_count + part->replicas.count) + 1;
    next.isr = mem_zalloc(room, sizeof(int32_t));
    next.isr_count = 0;
    next.controller_epoch = ctl->epoch;
    return next;
}

static void add_isr(struct ctl_leadership *state, int32_t broker_id)
{
    state->isr[state->isr_count++] = broker_id;
}

static bool same_isr(const struct ctl_leadership *a, const struct ctl_leadership *b)
{
    return a->isr_count == b->isr_count &&
           memcmp(a->isr, b->isr, (size_t)a->isr_count * sizeof(int32_t)) == 0;
}

static bool same_ids(const struct ctl_ids *a, const struct ctl_ids *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->ids, b->ids, (size_t)a->count * sizeof(int32_t)) == 0);
}

static bool same_state(const struct ctl_leadership *a, const struct ctl_leadership *b)
{
    return a->leader == b->leader && a->leader_epoch == b->leader_epoch &&
           a->controller_epoch == b->controller_epoch && a->recovering == b->recovering &&
           same_isr(a, b);
}

/* Registered, with a working directory, and as complete as it was; it may be shutting down. */
static bool replica_online(const struct ctl *ctl, const struct ctl_part *part, int32_t i)
{
    int away = CTL_REPLICA_OFFLINE_DIR | CTL_REPLICA_BOUNCED | CTL_REPLICA_UNCLEAN;
    return (part->flags[i] & away) == 0 && ctl_find_broker(ctl, part->replicas.ids[i]) != NULL;
}

bool ctl_replica_live(const struct ctl *ctl, const struct ctl_part *part, int32_t i)
{
    return replica_online(ctl, part, i) &&
           !ctl_find_broker(ctl, part->replicas.ids[i])->shutting_down;
}

/* An ISR member that is no replica (somebody edited ZooKeeper) is judged by its broker alone. It
 * leaves as soon as there is a replica to lead. */
static bool member_online(const struct ctl *ctl, const struct ctl_part *part, int32_t broker_id)
{
    int32_t i = ctl_replica_index(part, broker_id);
    return i >= 0 ? replica_online(ctl, part, i) : ctl_find_broker(ctl, broker_id) != NULL;
}

static bool member_live(const struct ctl *ctl, const struct ctl_part *part, int32_t broker_id)
{
    return member_online(ctl, part, broker_id) && !ctl_find_broker(ctl, broker_id)->shutting_down;
}

bool ctl_part_has_leader(const struct ctl *ctl, const struct ctl_part *part)
{
    return part->exists && part->now.leader >= 0 && member_online(ctl, part, part->now.leader);
}

bool ctl_unclean_allowed(const struct ctl *ctl, const struct ctl_topic *topic)
{
    struct ctl_unclean *entry = NULL;
    HASH_FIND(hh, ctl->unclean, topic->name.ptr, topic->name.size, entry);
    return entry != NULL ? entry->allowed : ctl->unclean_default;
}

void ctl_want_preferred(struct ctl *ctl, struct ctl_part *part, bool want)
{
    ctl->wants += (want ? 1 : 0) - (part->want_preferred ? 1 : 0);
    part->want_preferred = want;
}

void ctl_part_touch(struct ctl *ctl, struct ctl_part *part)
{
    if (!list_linked(&part->todo)) {
        list_push_back(&ctl->todo, &part->todo);
    }
}

void ctl_part_lead_anew(struct ctl *ctl, struct ctl_part *part)
{
    part->bump = true;
    ctl_part_touch(ctl, part);
}

/* ---- What should be. Each returns whether `next` (from draft()) is to be written. */

static bool eligible_changes(const struct ctl *ctl, const struct ctl_part *part,
                             const struct ctl_leadership *next)
{
    struct ctl_ids eligible = ctl_eligible_after(ctl, part, next);
    bool same = same_ids(&eligible, &part->eligible);
    mem_free(eligible.ids);
    return !same;
}

/* Here again after a restart, with all that it had: where nobody else is complete it may lead, in
 * an epoch of its own. */
static bool replica_back(const struct ctl *ctl, const struct ctl_part *part, int32_t i)
{
    int away = CTL_REPLICA_OFFLINE_DIR | CTL_REPLICA_UNCLEAN;
    const struct ctl_broker *broker = ctl_find_broker(ctl, part->replicas.ids[i]);
    return (part->flags[i] & CTL_REPLICA_BOUNCED) != 0 && (part->flags[i] & away) == 0 &&
           broker != NULL && !broker->shutting_down;
}

enum among { AMONG_ALL, AMONG_ISR, AMONG_ELIGIBLE };

static bool is_among(const struct ctl_part *part, enum among among, int32_t id)
{
    return among == AMONG_ALL || (among == AMONG_ISR && ctl_in_isr(&part->now, id)) ||
           (among == AMONG_ELIGIBLE && ctl_is_eligible(part, id));
}

/* The first live replica of the assignment that is one of those; -1. */
static int32_t first_live(const struct ctl *ctl, const struct ctl_part *part, enum among among)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (is_among(part, among, id) && ctl_replica_live(ctl, part, i) &&
            ctl_replica_stays(part, id)) {
            return id;
        }
    }
    return -1;
}

static int32_t first_back(const struct ctl *ctl, const struct ctl_part *part, enum among among)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (is_among(part, among, id) && replica_back(ctl, part, i) &&
            ctl_replica_stays(part, id)) {
            return id;
        }
    }
    return -1;
}

/* A new partition: the first live replica leads, all live replicas are in sync (they are all
 * empty). */
static bool propose_first(const struct ctl *ctl, const struct ctl_part *part,
                          struct ctl_leadership *next)
{
    next->leader = first_live(ctl, part, AMONG_ALL);
    next->leader_epoch = 0;
    next->recovering = false;
    if (next->leader < 0) {
        return false;
    }
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        bool live = ctl_replica_live(ctl, part, i) && ctl_replica_stays(part, id);
        if (id == next->leader || live) {
            add_isr(next, id);
        }
    }
    return true;
}

/* Nobody can lead: say so. Whoever is complete, there or not, stays written down as such: nothing
 * is committed without a leader. Who is no replica any more does not: it may become one again. */
static bool propose_offline(const struct ctl *ctl, const struct ctl_part *part,
                            struct ctl_leadership *next)
{
    next->leader = -1;
    for (int32_t i = 0; i < part->now.isr_count; i++) {
        add_isr(next, part->now.isr[i]);
    }
    bool changed = part->now.leader != -1 || part->missing || eligible_changes(ctl, part, next);
    return changed && next->isr_count > 0;
}

/* The new leader, and of the ISR who is still there. */
static bool propose_leader(const struct ctl *ctl, const struct ctl_part *part, int32_t leader,
                           struct ctl_leadership *next)
{
    next->leader = leader;
    for (int32_t i = 0; i < part->now.isr_count; i++) {
        if (member_live(ctl, part, part->now.isr[i]) && ctl_replica_stays(part, part->now.isr[i])) {
            add_isr(next, part->now.isr[i]);
        }
    }
    if (!ctl_in_isr(next, leader)) {
        add_isr(next, leader);
    }
    return true;
}

/* Nobody else is complete: one that has restarted leads, again or for the first time, and who has
 * restarted as well stays in sync. The new epoch is what sets it apart from its earlier life. */
static bool propose_return(const struct ctl *ctl, const struct ctl_part *part, int32_t leader,
                           struct ctl_leadership *next)
{
    next->leader = leader;
    for (int32_t i = 0; i < part->now.isr_count; i++) {
        int32_t id = part->now.isr[i];
        int32_t replica = ctl_replica_index(part, id);
        bool here = replica >= 0 && replica_back(ctl, part, replica);
        if ((here || member_live(ctl, part, id)) && ctl_replica_stays(part, id)) {
            add_isr(next, id);
        }
    }
    if (!ctl_in_isr(next, leader)) {
        add_isr(next, leader);
    }
    return true;
}

/* The leader is gone: the next one in sync; else one that was when too few were left; else one of
 * those that have restarted. When nobody is complete for sure: with permission anybody, else the
 * best of those that may be. */
static bool propose_election(const struct ctl *ctl, const struct ctl_part *part,
                             struct ctl_leadership *next)
{
    int32_t leader = first_live(ctl, part, AMONG_ISR);
    if (leader < 0) {
        leader = first_live(ctl, part, AMONG_ELIGIBLE);
    }
    if (leader >= 0) {
        return propose_leader(ctl, part, leader, next);
    }
    leader = first_back(ctl, part, AMONG_ISR);
    if (leader < 0) {
        leader = first_back(ctl, part, AMONG_ELIGIBLE);
    }
    if (leader >= 0) {
        return propose_return(ctl, part, leader, next);
    }
    if (part->want_unclean || ctl_unclean_allowed(ctl, part->topic)) {
        leader = ctl_unclean_any(ctl, part);
        next->recovering = next->recovering || leader >= 0;
    } else {
        leader = ctl_unclean_best(ctl, part);
    }
    if (leader >= 0) {
        next->leader = leader;
        add_isr(next, leader);
        return true;
    }
    return propose_offline(ctl, part, next);
}

/* Somebody to lead instead, though the leader is fine: it is leaving, or its copy is, or another
 * one is preferred; -1. */
static int32_t successor(const struct ctl *ctl, const struct ctl_part *part)
{
    int32_t first = part->replicas.count > 0 ? part->replicas.ids[0] : -1;
    if (ctl_find_broker(ctl, part->now.leader)->shutting_down ||
        !ctl_replica_stays(part, part->now.leader)) {
        return first_live(ctl, part, AMONG_ISR);
    }
    bool wanted = part->want_preferred && first >= 0 && ctl_replica_live(ctl, part, 0) &&
                  ctl_in_isr(&part->now, first) && ctl_replica_stays(part, first);
    return wanted ? first : -1;
}

/* The ISR loses who is gone or is to go. */
static bool propose_upkeep(const struct ctl *ctl, const struct ctl_part *part,
                           struct ctl_leadership *next)
{
    int32_t other = successor(ctl, part);
    next->leader = other >= 0 ? other : part->now.leader;
    for (int32_t i = 0; i < part->now.isr_count; i++) {
        int32_t id = part->now.isr[i];
        if (id == next->leader || (member_live(ctl, part, id) && ctl_replica_stays(part, id))) {
            add_isr(next, id);
        }
    }
    if (!ctl_in_isr(next, next->leader)) { /* somebody edited ZooKeeper */
        add_isr(next, next->leader);
    }
    /* A leader that is no replica would not hear of another epoch: it goes on in the one it has. */
    bool bump = part->bump && ctl_replica_index(part, next->leader) >= 0;
    return next->leader != part->now.leader || !same_isr(next, &part->now) ||
           eligible_changes(ctl, part, next) || bump || part->missing;
}

static bool propose(const struct ctl *ctl, const struct ctl_part *part, struct ctl_leadership *next)
{
    if (!part->exists) {
        return propose_first(ctl, part, next);
    }
    next->leader_epoch = part->now.leader_epoch + 1;
    if (ctl_part_has_leader(ctl, part)) {
        return propose_upkeep(ctl, part, next);
    }
    return propose_election(ctl, part, next);
}

/* ---- Deciding. */

/* A restarted replica is out of leadership and ISR now, or it was nowhere: it counts as alive
 * again. Returns true when that may change the decision. */
static bool settle_bounced(struct ctl_part *part)
{
    bool changed = false;
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        bool out = !part->exists || part->now.leader == -1 ||
                   (part->now.leader != id && !ctl_in_isr(&part->now, id));
        if ((part->flags[i] & CTL_REPLICA_BOUNCED) != 0 && out) {
            part->flags[i] = (uint8_t)(part->flags[i] & ~CTL_REPLICA_BOUNCED);
            changed = true;
        }
    }
    return changed;
}

static void part_decide(struct ctl *ctl, struct ctl_part *part)
{
    if (part->broken && part->move != NULL) {
        bool moved = ctl->outdated; /* broken because another controller writes now */
        ctl_reassign_fail(ctl, part, moved ? ERR_NOT_CONTROLLER : ERR_UNKNOWN_SERVER_ERROR,
                          moved ? NULL : "The partition's state cannot be read.");
    }
    if (part->broken) { /* nothing will come of an election: who waits for it does not wait */
        ctl_want_preferred(ctl, part, false);
        part->want_unclean = false;
    }
    if (part->busy != CTL_PART_IDLE || part->broken || part->tombstone || part->topic->deleting) {
        return;
    }
    if (part->exists && part->now.controller_epoch > ctl->epoch) {
        ctl_note(ctl, true, "state was written by a later controller: tp=%.*s-%d epoch=%d ours=%d",
                 STR_ARG(part->topic->name), part->index, part->now.controller_epoch, ctl->epoch);
        part->broken = true;
        ctl_resign(ctl);
        return;
    }
    ctl_reassign_review(ctl, part);
    ctl_unclean_settle(part);
    struct ctl_leadership next = draft(ctl, part);
    if (propose(ctl, part, &next)) {
        ctl_part_write(ctl, part, next, NULL);
        return;
    }
    ctl_leadership_free(&next);
    ctl_want_preferred(ctl, part, false);
    part->want_unclean = false;
    if (settle_bounced(part)) {
        ctl_part_touch(ctl, part);
        return;
    }
    ctl_reassign_settle(ctl, part);
}

void ctl_parts_decide(struct ctl *ctl)
{
    struct list *link;
    while ((link = list_pop_front(&ctl->todo)) != NULL) {
        part_decide(ctl, container_of(link, struct ctl_part, todo));
    }
}

/* ---- Writing, and believing. */

static int32_t *arena_ids(struct arena *arena, const int32_t *ids, int32_t count)
{
    int32_t *copy = arena_array(arena, int32_t, (size_t)count + 1);
    if (count > 0) {
        memcpy(copy, ids, (size_t)count * sizeof(int32_t));
    }
    return copy;
}

/* Which restarted replicas a state that is being written takes in. One that restarts once more
 * meanwhile loses the flag, and stays BOUNCED. */
static void note_returning(struct ctl_part *part, const struct ctl_leadership *next)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        bool in = ctl_in_isr(next, part->replicas.ids[i]);
        if (in && (part->flags[i] & CTL_REPLICA_BOUNCED) != 0) {
            part->flags[i] |= CTL_REPLICA_RETURNING;
        }
    }
}

/* The write is over. `written`: as far as we know for sure. */
static void settle_returning(struct ctl_part *part, bool written)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int over = CTL_REPLICA_RETURNING | (written ? CTL_REPLICA_BOUNCED : 0);
        if ((part->flags[i] & CTL_REPLICA_RETURNING) != 0) {
            part->flags[i] = (uint8_t)(part->flags[i] & ~over);
        }
    }
}

void ctl_part_idle(struct ctl_part *part)
{
    part->busy = CTL_PART_IDLE;
    part->refused = false;
}

void ctl_part_write(struct ctl *ctl, struct ctl_part *part, struct ctl_leadership next,
                    struct ctl_alter_item *alter)
{
    must(part->busy == CTL_PART_IDLE);
    must(!part->tombstone);
    part->busy = CTL_PART_WRITING;
    part->next = next;
    part->next_eligible = ctl_eligible_after(ctl, part, &next);
    part->crowned_epoch = 0;
    if (ctl_unclean_crowns(part, &next)) {
        part->crowned_epoch = ctl_find_broker(ctl, next.leader)->epoch;
    }
    part->creating = !part->exists;
    /* Metadata of a topic's new partitions goes out when all of them are there (ctl_send.c): until
     * then they stay fresh, also one that must be made in a second attempt. */
    part->fresh = part->fresh || part->creating;
    part->alter = alter;
    if (alter == NULL) {
        note_returning(part, &next);
    }
    bool make = part->creating || part->missing;
    struct ctl_cmd *cmd = ctl_emit_pending(ctl, make ? CTL_CREATE_STATE : CTL_WRITE_STATE,
                                           CTL_PENDING_STATE, part, NULL);
    struct arena *arena = &ctl->out->arena;
    int32_t *isr = arena_ids(arena, next.isr, next.isr_count);
    part->cmd_id = cmd->id;
    cmd->topic = arena_str(arena, part->topic->name);
    cmd->partition = part->index;
    cmd->version = part->version;
    cmd->state = (struct znode_state){
        .leader = next.leader,
        .leader_epoch = next.leader_epoch,
        .controller_epoch = next.controller_epoch,
        .isr = {isr, next.isr_count},
        .recovering = next.recovering,
        .eligible = {arena_ids(arena, part->next_eligible.ids, part->next_eligible.count),
                     part->next_eligible.count},
    };
}

static void note_leader(struct ctl *ctl, const struct ctl_part *part, int32_t old_leader,
                        bool was_recovering)
{
    bool unclean = part->now.recovering && !was_recovering;
    if (part->creating || part->now.leader == old_leader) {
        return;
    }
    ctl->unclean_elections += unclean ? 1 : 0;
    ctl_note(ctl, unclean || part->now.leader == -1,
             "leader changed: tp=%.*s-%d old=%d new=%d epoch=%d%s", STR_ARG(part->topic->name),
             part->index, old_leader, part->now.leader, part->now.leader_epoch,
             unclean ? " unclean=true" : "");
}

/* Who is told of a written state: after an ISR request everybody's metadata; after a decision of
 * ours the replicas as well, except those that were told to stop because they leave. */
static void tell(struct ctl *ctl, struct ctl_part *part, int32_t old_leader, bool is_alter)
{
    if (part->topic->deleting) {
        return;
    }
    ctl_mark_everybody(ctl, part, CTL_MARK_META);
    for (int32_t i = 0; !is_alter && i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        struct ctl_broker *broker = ctl_find_broker(ctl, id);
        if (broker != NULL &&
            (!broker->shutting_down || id == old_leader || id == part->now.leader)) {
            bool is_new = part->creating || ctl_replica_is_new(part, id);
            ctl_mark(ctl, broker, part, CTL_MARK_LEADER | (is_new ? CTL_MARK_NEW : 0));
        }
    }
}

static void adopt_next(struct ctl *ctl, struct ctl_part *part, int32_t version)
{
    int32_t old_leader = part->exists ? part->now.leader : -1;
    bool was_recovering = part->exists && part->now.recovering;
    struct ctl_alter_item *alter = part->alter;
    must(!part->exists || part->next.leader_epoch >= part->now.leader_epoch);
    ctl_leadership_free(&part->now);
    part->now = part->next;
    part->next = (struct ctl_leadership){.leader = -1};
    mem_free(part->eligible.ids);
    part->eligible = part->next_eligible;
    part->next_eligible = (struct ctl_ids){0};
    part->version = version;
    part->exists = true;
    part->missing = false;
    ctl_part_idle(part);
    part->alter = NULL;
    part->want_unclean = false;
    part->bump = part->bump && alter != NULL;
    settle_returning(part, true);
    settle_bounced(part);
    ctl_unclean_crowned(ctl, part);
    note_leader(ctl, part, old_leader, was_recovering);
    tell(ctl, part, old_leader, alter != NULL);
    if (alter != NULL) {
        ctl_alter_done(ctl, alter, ERR_OK, part);
    }
    ctl_part_touch(ctl, part);
}

static void forget_next(struct ctl_part *part)
{
    settle_returning(part, false);
    ctl_leadership_free(&part->next);
    mem_free(part->next_eligible.ids);
    part->next_eligible = (struct ctl_ids){0};
}

static void give_up_write(struct ctl *ctl, struct ctl_part *part, enum err alter_err)
{
    struct ctl_alter_item *alter = part->alter;
    ctl_part_idle(part);
    part->broken = true;
    part->alter = NULL;
    ctl_part_touch(ctl, part); /* for whoever waits for it */
    forget_next(part);
    if (alter != NULL) {
        ctl_alter_done(ctl, alter, alter_err, part);
    }
}

void ctl_part_wrote(struct ctl *ctl, struct ctl_part *part, enum err err, int32_t version)
{
    must(part->busy == CTL_PART_WRITING);
    part->cmd_id = 0;
    if (err == ERR_OK) {
        adopt_next(ctl, part, version);
    } else if (err == ERR_CONTROLLER_MOVED) {
        give_up_write(ctl, part, ERR_NOT_CONTROLLER);
    } else if (err == ERR_NOT_FOUND && (part->creating || part->missing)) {
        /* The topic itself is gone: hear of it before trying again. */
        give_up_write(ctl, part, ERR_UNKNOWN_TOPIC_OR_PARTITION);
        ctl_emit(ctl, CTL_READ_TOPICS);
    } else {
        part->busy = CTL_PART_READING;
        struct ctl_cmd *cmd = ctl_emit(ctl, CTL_READ_STATE);
        cmd->topic = arena_str(&ctl->out->arena, part->topic->name);
        cmd->partition = part->index;
        /* Refused for itself, not for its version or our office: most likely it will be again. */
        part->refused = err == ERR_ZK_OTHER;
        cmd->later = part->refused;
        if (part->refused && part->alter != NULL) {
            /* It asks again. With it wait the other partitions of its request, and those that
             * would be in its leader's next one. */
            struct ctl_alter_item *alter = part->alter;
            part->alter = NULL;
            ctl_alter_done(ctl, alter, ERR_REQUEST_TIMED_OUT, part);
        }
    }
}

static struct ctl_leadership copy_state(const struct znode_state *state)
{
    struct ctl_leadership copy = {
        .leader = state->leader,
        .leader_epoch = state->leader_epoch,
        .controller_epoch = state->controller_epoch,
        .recovering = state->recovering,
        .isr = mem_zalloc((size_t)state->isr.count + 1, sizeof(int32_t)),
        .isr_count = state->isr.count,
    };
    if (state->isr.count > 0) {
        memcpy(copy.isr, state->isr.ids, (size_t)state->isr.count * sizeof(int32_t));
    }
    return copy;
}

/* Whoever is named as in sync as well (by hand) is in sync. */
static struct ctl_ids copy_eligible(const struct znode_state *state)
{
    struct ctl_ids copy = {0};
    if (state->eligible.count == 0) {
        return copy;
    }
    copy.ids = mem_zalloc((size_t)state->eligible.count, sizeof(int32_t));
    struct ctl_leadership isr = {.isr = (int32_t *)state->isr.ids, .isr_count = state->isr.count};
    for (int32_t i = 0; i < state->eligible.count; i++) {
        if (!ctl_in_isr(&isr, state->eligible.ids[i])) {
            copy.ids[copy.count++] = state->eligible.ids[i];
        }
    }
    return copy;
}

/* A replica whose broker registered after this state had been written has restarted since, and
 * perhaps no controller has seen it gone: the one before us may have died with it. It leaves
 * leadership and ISR once, as if we had seen it. Otherwise it would lead twice in one epoch, from
 * an older high watermark the second time. */
void ctl_part_find_bounced(struct ctl *ctl, struct ctl_part *part)
{
    bool known = part->exists && part->mzxid > 0;
    for (int32_t i = 0; known && i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        const struct ctl_broker *broker = ctl_find_broker(ctl, id);
        bool involved = part->now.leader == id || ctl_in_isr(&part->now, id);
        if (broker != NULL && broker->epoch > part->mzxid && involved) {
            part->flags[i] |= CTL_REPLICA_BOUNCED;
        }
    }
}

void ctl_part_believe(struct ctl *ctl, struct ctl_part *part, const struct ctl_state_info *info)
{
    must(part->busy == CTL_PART_IDLE);
    part->broken = info->err == ERR_MALFORMED;
    if (part->broken) {
        ctl_note(ctl, true, "state cannot be read: tp=%.*s-%d", STR_ARG(part->topic->name),
                 part->index);
        return;
    }
    part->missing = part->exists && info->err == ERR_NOT_FOUND;
    if (part->missing) { /* who leads and who is complete is known all the same */
        part->version = 0;
        return;
    }
    ctl_leadership_free(&part->now);
    mem_free(part->eligible.ids);
    part->eligible = (struct ctl_ids){0};
    part->exists = info->err == ERR_OK;
    part->version = part->exists ? info->version : 0;
    if (part->exists) {
        part->now = copy_state(&info->state);
        part->eligible = copy_eligible(&info->state);
        part->mzxid = info->mzxid;
        ctl_part_find_bounced(ctl, part);
    }
}

/* What is there after a write whose result was not plain success. */
void ctl_state_event(struct ctl *ctl, const struct ctl_event *event)
{
    struct ctl_topic *topic = ctl_find_topic(ctl, event->u.state.topic);
    struct ctl_part *part =
        topic != NULL ? ctl_find_part(topic, event->u.state.info.partition) : NULL;
    if (part == NULL || part->busy != CTL_PART_READING) {
        return;
    }
    struct ctl_alter_item *alter = part->alter;
    int32_t version = part->version;
    bool refused = part->refused;
    ctl_part_idle(part);
    part->alter = NULL;
    ctl_part_believe(ctl, part, &event->u.state.info);
    bool there = part->exists && !part->broken && !part->missing;
    bool ours = there && same_state(&part->now, &part->next) &&
                same_ids(&part->eligible, &part->next_eligible);
    part->creating = part->creating && ours;
    forget_next(part);
    bool as_told = refused && part->version == version;
    if (part->exists && !part->broken && !topic->deleting && !as_told) {
        /* The replicas hear of it in any case: a leader whose ISR request was overtaken waits for
         * that. */
        tell(ctl, part, part->now.leader, false);
    }
    if (alter != NULL) {
        bool open = part->broken || (part->exists && part->version == version);
        enum err err = ours   ? ERR_OK
                       : open ? ERR_REQUEST_TIMED_OUT /* let it ask again */
                              : ERR_INVALID_UPDATE_VERSION;
        if (err == ERR_INVALID_UPDATE_VERSION) {
            ctl_part_lead_anew(ctl, part);
        }
        ctl_alter_done(ctl, alter, err, part);
    }
    ctl_part_touch(ctl, part);
}
