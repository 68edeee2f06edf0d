/* ctl_check.c: what must always hold of the machine.
 *
 *   - I1 Brokers are sorted by id, without repetition; so are the partitions of a topic.
 *   - I2 A partition's slot points back at it; free slots are on the stack exactly once.
 *   - I3 At most one write per partition: WRITING if and only if a command is pending for it.
 *   - I4 What we write has a leader in its ISR, or no leader; its epoch never falls; the ISR is
 *     not empty.
 *   - I5 A tombstone is idle, wants nothing, and somebody has still to be told of it.
 *   - I6 A broker's counts of due marks, and a partition's count of brokers with marks, are right.
 *   - I7 A topic is on the list of deletions if and only if it is being deleted.
 *   - I8 `wants` counts the partitions that want their preferred leader.
 *   - I9 Idle, the machine knows nothing of any reign.
 *   - I10 Who comes and who goes are replicas, nobody both, and somebody stays; what is written to
 *     a topic's node likewise, and its leader and ISR are among its replicas.
 *   - I11 A node is being written for partitions if and only if a command is pending, or its result
 *     is being read.
 *   - I12 A broker that is to delete its copy is no replica.
 *   - I13 What we write to a state names replicas only, unless the state that was there named
 *     nobody else who could lead.
 *   - I14 Who is eligible is not in the ISR.
 *   - I15 A partition whose first state is being written is fresh. */
#include "base/must.h"
#include "controller/ctl_state.h"

static void check_state(const struct ctl_leadership *state)
{
    must(state->leader >= -1);
    must(state->isr_count > 0);
    if (state->leader >= 0) {
        must(ctl_in_isr(state, state->leader)); /* I4 */
    }
}

static bool listed(struct znode_ids list, int32_t id)
{
    for (int32_t i = 0; i < list.count; i++) {
        if (list.ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void check_assignment(const struct ctl_assignment *line) /* I10 */
{
    must(line->adding.count <= line->replicas.count);
    must(line->removing.count < line->replicas.count || line->replicas.count == 0);
    for (int32_t i = 0; i < line->adding.count; i++) {
        must(listed(line->replicas, line->adding.ids[i]));
        must(!listed(line->removing, line->adding.ids[i]));
    }
    for (int32_t i = 0; i < line->removing.count; i++) {
        must(listed(line->replicas, line->removing.ids[i]));
    }
}

static void check_move(const struct ctl_part *part)
{
    const struct ctl_move *move = part->move;
    const struct ctl_assignment line = {part->replicas, part->adding, part->removing};
    check_assignment(&line);
    for (int32_t i = 0; i < part->dropped.count; i++) {
        must(!listed(part->replicas, part->dropped.ids[i])); /* I12 */
    }
    if (move == NULL || !move->writing) {
        return;
    }
    check_assignment(&move->next);
    must(part->topic->assign_cmd != 0 || part->topic->rereading || part->topic->gone); /* I11 */
    for (int32_t i = 0; part->exists && i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (!listed(move->next.replicas, id)) {
            must(part->now.leader != id && !ctl_in_isr(&part->now, id)); /* I10 */
        }
    }
}

/* I13 */
static void check_members(const struct ctl_part *part)
{
    int32_t strangers = 0;
    for (int32_t i = 0; i < part->next.isr_count; i++) {
        strangers += !listed(part->replicas, part->next.isr[i]) ? 1 : 0;
    }
    must(strangers == 0 || strangers == part->next.isr_count || part->next.leader == -1);
}

static void check_part(const struct ctl *ctl, const struct ctl_part *part, int32_t slot)
{
    must(part->slot == slot); /* I2 */
    must(part->topic != NULL && part->topic->slots_held > 0);
    must((part->busy == CTL_PART_WRITING) == (part->cmd_id != 0)); /* I3 */
    if (part->busy != CTL_PART_IDLE) {
        check_state(&part->next);
        check_members(part);
        if (part->exists) {
            must(part->next.leader_epoch >= part->now.leader_epoch); /* I4 */
        }
    } else {
        must(part->alter == NULL);
    }
    check_move(part);
    for (int32_t i = 0; i < part->eligible.count; i++) { /* I10 */
        must(!ctl_in_isr(&part->now, part->eligible.ids[i]));
    }
    if (part->tombstone) { /* I5 */
        must(part->busy == CTL_PART_IDLE && !part->want_preferred && part->topic->gone);
        must(part->marked > 0);
    } else {
        must(ctl_find_part(part->topic, part->index) == part);
    }
    if (ctl->phase == CTL_ACTIVE) {
        must(!list_linked(&part->todo));
    }
}

static int32_t check_slots(const struct ctl *ctl)
{
    int32_t wants = 0;
    int32_t used = 0;
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL) {
            check_part(ctl, ctl->slots[s], s);
            wants += ctl->slots[s]->want_preferred ? 1 : 0;
            used++;
        }
    }
    must(used + ctl->free_slots_count == ctl->slots_count); /* I2 */
    for (int32_t i = 0; i < ctl->free_slots_count; i++) {
        must(ctl->slots[ctl->free_slots[i]] == NULL);
    }
    return wants;
}

static void check_broker_marks(const struct ctl *ctl, const struct ctl_broker *broker)
{
    int32_t leader = 0;
    int32_t meta = 0;
    int32_t stop = 0;
    bool sent = false;
    for (int32_t s = 0; s < broker->marks_capacity; s++) {
        uint8_t marks = broker->marks[s];
        if (marks != 0) {
            must(s < ctl->slots_count && ctl->slots[s] != NULL);
        }
        leader += (marks & CTL_MARK_LEADER) != 0;
        meta += (marks & CTL_MARK_META) != 0;
        stop += (marks & CTL_MARK_STOP) != 0;
        sent = sent || marks > CTL_MARK_ALL;
    }
    must(leader == broker->due_leader && meta == broker->due_meta && stop == broker->due_stop);
    if (sent) {
        must(broker->sending != 0);
    }
}

static void check_marked(const struct ctl *ctl, const struct ctl_part *part)
{
    int32_t marked = 0;
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        const struct ctl_broker *broker = ctl->brokers[i];
        marked += part->slot < broker->marks_capacity && broker->marks[part->slot] != 0;
    }
    must(marked == part->marked); /* I6 */
}

/* I15 */
static void check_making(const struct ctl_topic *topic)
{
    for (int32_t i = 0; i < topic->parts_count; i++) {
        const struct ctl_part *part = topic->parts[i];
        if (part->busy != CTL_PART_IDLE && part->creating && !topic->deleting) {
            must(part->fresh);
        }
    }
}

static void check_topics(const struct ctl *ctl)
{
    for (const struct ctl_topic *t = ctl->topics; t != NULL; t = t->hh.next) {
        must(!t->gone);
        must(!t->deleting || (t->assign_cmd == 0 && !ctl_topic_moving(t)));
        must(t->deleting == list_linked(&t->deleting_link)); /* I7 */
        for (int32_t i = 1; i < t->parts_count; i++) {
            must(t->parts[i - 1]->index < t->parts[i]->index); /* I1 */
        }
        if (t->counted) {
            must(ctl->phase == CTL_LOADING);
        }
        check_making(t);
    }
}

static void check_deep(const struct ctl *ctl)
{
    must(check_slots(ctl) == ctl->wants); /* I8 */
    check_topics(ctl);
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        check_broker_marks(ctl, ctl->brokers[i]);
    }
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL) {
            check_marked(ctl, ctl->slots[s]);
        }
    }
}

void ctl_check(const struct ctl *ctl, bool deep)
{
    for (int32_t i = 1; i < ctl->brokers_count; i++) {
        must(ctl->brokers[i - 1]->id < ctl->brokers[i]->id); /* I1 */
    }
    must(ctl->wants >= 0 && ctl->loading_topics >= 0);
    if (ctl->phase == CTL_IDLE) { /* I9 */
        must(ctl->brokers_count == 0 && ctl->topics == NULL && ctl->slots_count == 0);
        must(ctl->pending == NULL && ctl->epoch == -1);
        must(list_empty(&ctl->alters) && list_empty(&ctl->shutdowns));
        must(list_empty(&ctl->reassigns) && list_empty(&ctl->orders));
    } else {
        must(ctl->epoch > 0);
    }
    if (ctl->phase == CTL_ACTIVE) {
        must(list_empty(&ctl->todo) && ctl->loading_topics == 0);
        must(list_empty(&ctl->assigning));
    }
    if (deep) {
        check_deep(ctl);
    }
}
