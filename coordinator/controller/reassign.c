/* reassign.c: partitions on the move from one set of brokers to another.
 *
 * A topic's node says, for each partition, `replicas`, and of these which are `adding` (they were
 * not there before) and `removing` (they will not be there afterwards). The origin is replicas
 * without adding; the target is replicas without removing.
 *
 *   settled --MOVE--> moving --target in sync: FINISH--> settled
 *                     moving --CANCEL, or another MOVE--> settled, or moving elsewhere
 *
 * Each arrow is one change of the partition's line, a struct ctl_move, in this order:
 *
 *   1. The partition's state is made to fit: leader and ISR among the replicas that stay
 *      (ctl_replica_stays(); propose() in ctl_part.c, and ISR proposals are judged by it).
 *   2. The topic's node is written, on its version (reassign_write.c).
 *   3. It is believed: the leader epoch rises, by which the replicas hear of the new assignment;
 *      those that come are told that they are new; those that went delete their copies.
 *
 * So ZooKeeper never shows a leader, or a member of the ISR, that is no replica, and no copy is
 * deleted while ZooKeeper still counts on it. Whoever takes over in between finds the partition
 * where the last write left it, and goes on from there.
 *
 * R1  What is dropped is never all that is complete (ctl_unclean.c): when nobody who would stay is
 *     alive and complete, those that are stay as replicas to be removed later (`keep`).
 * R2  A FINISH that is not yet being written is given up when the target falls out of sync.
 * R3  What is being written stays as it is until its result is known; a new goal waits for that.
 *
 * Source: Kafka 3.9, kafka.controller.KafkaController, onPartitionReassignment; KIP-455. */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Lists of brokers. */

static bool has(struct znode_ids list, int32_t id)
{
    for (int32_t i = 0; i < list.count; i++) {
        if (list.ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool same(struct znode_ids a, struct znode_ids b)
{
    return a.count == b.count &&
           (a.count == 0 || memcmp(a.ids, b.ids, (size_t)a.count * sizeof(int32_t)) == 0);
}

static bool same_assignment(const struct ctl_assignment *a, const struct ctl_assignment *b)
{
    return same(a->replicas, b->replicas) && same(a->adding, b->adding) &&
           same(a->removing, b->removing);
}

/* A list under construction, each broker once. */
struct set {
    int32_t *ids;
    int32_t count;
};

static struct set set_new(struct arena *arena, int32_t room)
{
    return (struct set){arena_array(arena, int32_t, (size_t)room + 1), 0};
}

static void set_add(struct set *set, int32_t id)
{
    if (!has((struct znode_ids){set->ids, set->count}, id)) {
        set->ids[set->count++] = id;
    }
}

static struct znode_ids set_done(struct set set)
{
    return (struct znode_ids){set.ids, set.count};
}

static struct znode_ids own_copy(struct znode_ids from)
{
    int32_t *ids = mem_zalloc((size_t)from.count + 1, sizeof(*ids));
    if (from.count > 0) {
        memcpy(ids, from.ids, (size_t)from.count * sizeof(*ids));
    }
    return (struct znode_ids){ids, from.count};
}

static void ids_free(struct znode_ids *list)
{
    mem_free((int32_t *)list->ids);
    *list = (struct znode_ids){NULL, 0};
}

static void assignment_free(struct ctl_assignment *assignment)
{
    ids_free(&assignment->replicas);
    ids_free(&assignment->adding);
    ids_free(&assignment->removing);
}

static struct ctl_assignment current(const struct ctl_part *part)
{
    return (struct ctl_assignment){part->replicas, part->adding, part->removing};
}

struct ctl_assignment ctl_assignment_of(struct arena *arena, const struct znode_partition *node)
{
    struct ctl_assignment out = {.replicas = node->replicas};
    struct set adding = set_new(arena, node->replicas.count);
    struct set removing = set_new(arena, node->replicas.count);
    for (int32_t i = 0; i < node->replicas.count; i++) {
        int32_t id = node->replicas.ids[i];
        if (has(node->adding, id)) {
            set_add(&adding, id);
        } else if (has(node->removing, id)) {
            set_add(&removing, id);
        }
    }
    if (removing.count == node->replicas.count) {
        removing.count = 0; /* nobody would be left */
    }
    if (adding.count == node->replicas.count) {
        adding.count = 0; /* nobody would be left by a CANCEL */
    }
    out.adding = set_done(adding);
    out.removing = set_done(removing);
    return out;
}

/* ---- What is wanted. */

/* It has everything that was acknowledged, as far as the state says. */
static bool complete(const struct ctl_part *part, int32_t broker_id)
{
    return ctl_in_isr(&part->now, broker_id) || ctl_is_eligible(part, broker_id);
}

bool ctl_replica_stays(const struct ctl_part *part, int32_t broker_id)
{
    const struct ctl_move *move = part->move;
    if (!has(part->replicas, broker_id)) {
        return false;
    }
    if (move == NULL) {
        return true;
    }
    if (move->writing) {
        return has(move->next.replicas, broker_id);
    }
    if (move->keep && complete(part, broker_id)) {
        return true;
    }
    switch (move->goal) {
    case CTL_GOAL_FINISH:
        return !has(part->removing, broker_id);
    case CTL_GOAL_CANCEL:
        return !has(part->adding, broker_id);
    case CTL_GOAL_MOVE:
        return !has(part->adding, broker_id) || has(move->target, broker_id);
    }
    must_not_get_here();
}

bool ctl_replica_is_new(const struct ctl_part *part, int32_t broker_id)
{
    return has(part->adding, broker_id) && !ctl_in_isr(&part->now, broker_id);
}

/* The target, in its order. */
static struct znode_ids target_of(struct arena *arena, const struct ctl_part *part)
{
    const struct ctl_move *move = part->move;
    struct znode_ids without = move->goal == CTL_GOAL_FINISH ? part->removing : part->adding;
    struct set target = set_new(arena, part->replicas.count);
    if (move->goal == CTL_GOAL_MOVE) {
        return move->target;
    }
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (!has(without, part->replicas.ids[i])) {
            set_add(&target, part->replicas.ids[i]);
        }
    }
    return set_done(target);
}

/* The line that the goal asks for: the target, then everybody else who stays. */
static struct ctl_assignment wanted(struct arena *arena, const struct ctl_part *part)
{
    struct znode_ids target = target_of(arena, part);
    int32_t room = target.count + part->replicas.count;
    struct set replicas = set_new(arena, room);
    struct set adding = set_new(arena, room);
    struct set removing = set_new(arena, room);
    bool finish = part->move->goal == CTL_GOAL_FINISH;
    for (int32_t i = 0; i < target.count; i++) {
        int32_t id = target.ids[i];
        bool was_there = has(part->replicas, id) && !has(part->adding, id);
        set_add(&replicas, id);
        if (!finish && !was_there) {
            set_add(&adding, id);
        }
    }
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (!has(target, id) && ctl_replica_stays(part, id)) {
            set_add(&replicas, id);
            set_add(&removing, id);
        }
    }
    return (struct ctl_assignment){set_done(replicas), set_done(adding), set_done(removing)};
}

/* Is the whole target alive and in sync, so that the rest may go? */
static bool finishable(const struct ctl *ctl, const struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        bool in_sync = ctl_in_isr(&part->now, id) && ctl_replica_live(ctl, part, i);
        if (!has(part->removing, id) && !in_sync) {
            return false;
        }
    }
    return ctl_part_has_leader(ctl, part);
}

/* Are so many alive and complete of those that stay as have to be in sync? One that seems to be
 * alive may have lost its power a moment ago. */
static bool survives(const struct ctl *ctl, const struct ctl_part *part)
{
    int32_t stay = 0;
    int32_t good = 0;
    int32_t wanted = ctl_min_insync(ctl, part);
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        bool stays = ctl_replica_stays(part, id);
        stay += stays ? 1 : 0;
        good += stays && complete(part, id) && ctl_replica_live(ctl, part, i) ? 1 : 0;
    }
    wanted = wanted < stay ? wanted : stay;
    return good > 0 && good >= wanted;
}

/* ---- The life of a change. */

void ctl_move_free(struct ctl *ctl, struct ctl_part *part)
{
    ctl->orders_look = true;
    struct ctl_move *move = part->move;
    if (move != NULL) {
        must(move->asked == NULL);
        ids_free(&move->target);
        assignment_free(&move->next);
        mem_free(move);
        part->move = NULL;
    }
}

static void answer(struct ctl *ctl, struct ctl_part *part, enum err err, const char *text)
{
    struct ctl_reassign_item *item = part->move->asked;
    part->move->asked = NULL;
    if (item != NULL) {
        ctl_reassign_item_done(ctl, item, err, text);
    }
}

void ctl_reassign_start(struct ctl *ctl, struct ctl_part *part, enum ctl_goal goal,
                        struct znode_ids target, struct ctl_reassign_item *item)
{
    if (part->move == NULL) {
        part->move = mem_new(struct ctl_move);
    }
    struct ctl_move *move = part->move;
    answer(ctl, part, ERR_OK, NULL); /* that one is overridden */
    ids_free(&move->target);
    move->goal = goal;
    move->target = own_copy(target);
    move->asked = item;
    move->renewed = move->writing; /* R3 */
    move->refused = false;
    ctl_part_touch(ctl, part);
}

void ctl_reassign_review(struct ctl *ctl, struct ctl_part *part)
{
    struct ctl_move *move = part->move;
    if (move == NULL || move->writing) {
        return;
    }
    move->keep = false;
    if (move->goal != CTL_GOAL_FINISH) {
        move->keep = part->exists && !survives(ctl, part); /* R1 */
    } else if (!finishable(ctl, part)) {
        ctl_move_free(ctl, part); /* R2 */
    }
}

void ctl_reassign_settle(struct ctl *ctl, struct ctl_part *part)
{
    struct ctl_move *move = part->move;
    if (move != NULL && !move->writing) {
        struct ctl_assignment now = current(part);
        struct ctl_assignment next = wanted(&ctl->out->arena, part);
        if (same_assignment(&now, &next)) {
            answer(ctl, part, ERR_OK, NULL);
            ctl_move_free(ctl, part);
        } else {
            ctl_reassign_queue(ctl, part->topic);
        }
    }
    if (part->move == NULL && ctl_part_moving(part) && finishable(ctl, part)) {
        ctl_reassign_start(ctl, part, CTL_GOAL_FINISH, (struct znode_ids){NULL, 0}, NULL);
    }
}

void ctl_reassign_fail(struct ctl *ctl, struct ctl_part *part, enum err err, const char *text)
{
    if (part->move != NULL) {
        answer(ctl, part, err, text);
        if (!part->move->writing) {
            ctl_move_free(ctl, part);
        }
    }
}

/* ---- Writing: called from reassign_write.c. */

/* Leader and ISR are among those that stay. Who is no replica at all is not what this is about. */
static bool fits(const struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        bool involved = part->now.leader == id || ctl_in_isr(&part->now, id);
        if (part->exists && involved && !ctl_replica_stays(part, id)) {
            return false;
        }
    }
    return true;
}

bool ctl_reassign_ready(const struct ctl_part *part)
{
    return part->move != NULL && !part->move->writing && part->busy == CTL_PART_IDLE &&
           !part->broken && fits(part);
}

void ctl_reassign_refused(struct ctl_part *part)
{
    must(part->move->writing);
    part->move->refused = !part->move->renewed && part->move->goal != CTL_GOAL_FINISH;
}

const struct ctl_assignment *ctl_reassign_begin(struct ctl *ctl, struct ctl_part *part)
{
    struct ctl_move *move = part->move;
    struct ctl_assignment next = wanted(&ctl->out->arena, part);
    must(ctl_reassign_ready(part));
    must(next.replicas.count > next.removing.count);
    move->next = (struct ctl_assignment){own_copy(next.replicas), own_copy(next.adding),
                                         own_copy(next.removing)};
    move->writing = true;
    move->renewed = false;
    return &move->next;
}

void ctl_reassign_written(struct ctl *ctl, struct ctl_part *part)
{
    struct ctl_move *move = part->move;
    must(move->writing);
    struct ctl_assignment next = move->next;
    bool more = move->renewed;
    move->next = (struct ctl_assignment){{NULL, 0}, {NULL, 0}, {NULL, 0}};
    move->writing = false;
    move->renewed = false;
    if (!more) {
        answer(ctl, part, ERR_OK, NULL);
        ctl_move_free(ctl, part);
    }
    ctl_assign(ctl, part, &next);
    assignment_free(&next);
}

/* ---- Believing. */

static void note_assignment(struct ctl *ctl, const struct ctl_part *part)
{
    struct buf text = {0};
    const struct znode_ids *lists[] = {&part->replicas, &part->adding, &part->removing};
    static const char *const names[] = {"replicas", "adding", "removing"};
    for (size_t l = 0; l < 3; l++) {
        buf_printf(&text, " %s=[", names[l]);
        for (int32_t i = 0; i < lists[l]->count; i++) {
            buf_printf(&text, i > 0 ? ",%d" : "%d", lists[l]->ids[i]);
        }
        buf_put_byte(&text, ']');
    }
    buf_put_byte(&text, 0);
    ctl_note(ctl, false, "partition %s: tp=%.*s-%d%s",
             ctl_part_moving(part) ? "is being reassigned" : "has its replicas",
             STR_ARG(part->topic->name), part->index, (const char *)text.data);
    buf_fini(&text);
}

/* What is known of each replica stays known. */
static void set_lists(struct ctl_part *part, const struct ctl_assignment *assignment)
{
    struct ctl_assignment old = current(part);
    uint8_t *flags = mem_zalloc((size_t)assignment->replicas.count + 1, 1);
    for (int32_t i = 0; i < assignment->replicas.count; i++) {
        int32_t before = ctl_replica_index(part, assignment->replicas.ids[i]);
        flags[i] = before >= 0 ? part->flags[before] : 0;
    }
    part->replicas = own_copy(assignment->replicas);
    part->adding = own_copy(assignment->adding);
    part->removing = own_copy(assignment->removing);
    mem_free(part->flags);
    part->flags = flags;
    assignment_free(&old);
}

void ctl_assign(struct ctl *ctl, struct ctl_part *part, const struct ctl_assignment *assignment)
{
    struct znode_ids before = own_copy(part->replicas);
    set_lists(part, assignment);
    for (int32_t i = 0; i < before.count; i++) {
        if (!has(part->replicas, before.ids[i])) {
            ctl_drop(ctl, part, before.ids[i]);
        }
    }
    for (int32_t i = 0; i < part->replicas.count; i++) {
        ctl_undrop(ctl, part, part->replicas.ids[i]);
    }
    ids_free(&before);
    note_assignment(ctl, part);
    part->bump = true;
    ctl->orders_look = true;
    if (part->exists && ctl->phase == CTL_ACTIVE) {
        ctl_mark_everybody(ctl, part, CTL_MARK_META);
    }
    ctl_part_touch(ctl, part);
}

void ctl_reassign_refresh(struct ctl *ctl, struct ctl_part *part,
                          const struct znode_partition *node)
{
    struct ctl_assignment read = ctl_assignment_of(&ctl->out->arena, node);
    struct ctl_assignment now = current(part);
    bool resolved = part->move != NULL && part->move->writing && part->topic->assign_cmd == 0;
    if (resolved && same_assignment(&read, &part->move->next)) {
        ctl_reassign_written(ctl, part);
        return;
    }
    if (resolved) {
        assignment_free(&part->move->next);
        part->move->writing = false;
        ctl_part_touch(ctl, part);
    }
    if (resolved && part->move->refused) {
        ctl_note(ctl, true, "reassignment given up, ZooKeeper does not take it: tp=%.*s-%d",
                 STR_ARG(part->topic->name), part->index);
        ctl_reassign_fail(ctl, part, ERR_UNKNOWN_SERVER_ERROR,
                          "ZooKeeper does not take the topic's node with this assignment; most "
                          "likely it is larger than its jute.maxbuffer.");
    }
    if (!same_assignment(&read, &now)) {
        ctl_assign(ctl, part, &read);
    }
    if (part->move != NULL) {
        ctl_part_touch(ctl, part);
    }
}
