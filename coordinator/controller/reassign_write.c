/* reassign_write.c: the nodes of topics, written for reassignments; and copies that must go.
 *
 * A topic's node holds the assignment of all its partitions, so there is one write per topic at a
 * time; what becomes ready meanwhile goes into the next one. When the result is not plain success
 * the node is read, and what it says counts.
 *
 * A broker that is a replica no more is told to delete its copy until it has confirmed that, or is
 * gone. Brokers that nobody tells, because they were away or the controller changed, find out by
 * themselves: the metadata names the replicas (broker/control/strays.h). */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Topic nodes. */

bool ctl_topic_moving(const struct ctl_topic *topic)
{
    for (int32_t i = 0; i < topic->parts_count; i++) {
        if (topic->parts[i]->move != NULL || ctl_part_moving(topic->parts[i])) {
            return true;
        }
    }
    return false;
}

void ctl_reassign_queue(struct ctl *ctl, struct ctl_topic *topic)
{
    if (!list_linked(&topic->assigning_link)) {
        list_push_back(&ctl->assigning, &topic->assigning_link);
    }
}

static struct znode_ids arena_copy(struct arena *arena, struct znode_ids from)
{
    int32_t *ids = arena_array(arena, int32_t, (size_t)from.count + 1);
    if (from.count > 0) {
        memcpy(ids, from.ids, (size_t)from.count * sizeof(*ids));
    }
    return (struct znode_ids){ids, from.count};
}

/* All partitions, those that are ready as they are to be. The number of these. */
static int32_t fill(struct ctl *ctl, struct ctl_topic *topic, struct znode_partition *partitions)
{
    struct arena *arena = &ctl->out->arena;
    int32_t changed = 0;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        struct ctl_part *part = topic->parts[i];
        struct ctl_assignment line = {part->replicas, part->adding, part->removing};
        if (ctl_reassign_ready(part)) {
            line = *ctl_reassign_begin(ctl, part);
            changed++;
        }
        partitions[i] = (struct znode_partition){
            .index = part->index,
            .replicas = arena_copy(arena, line.replicas),
            .adding = arena_copy(arena, line.adding),
            .removing = arena_copy(arena, line.removing),
        };
    }
    return changed;
}

static void write_topic(struct ctl *ctl, struct ctl_topic *topic)
{
    struct arena *arena = &ctl->out->arena;
    struct znode_partition *partitions =
        arena_array(arena, struct znode_partition, (size_t)topic->parts_count + 1);
    if (fill(ctl, topic, partitions) == 0) {
        return;
    }
    struct ctl_cmd *cmd = ctl_emit_pending(ctl, CTL_WRITE_TOPIC, CTL_PENDING_ASSIGN, NULL, topic);
    topic->assign_cmd = cmd->id;
    cmd->topic = arena_str(arena, topic->name);
    cmd->version = topic->version;
    cmd->node = (struct znode_topic){topic->id, partitions, topic->parts_count};
}

void ctl_reassign_write(struct ctl *ctl)
{
    struct list *link;
    while ((link = list_pop_front(&ctl->assigning)) != NULL) {
        struct ctl_topic *topic = container_of(link, struct ctl_topic, assigning_link);
        must(!topic->gone);
        if (topic->assign_cmd == 0 && !topic->rereading && !topic->deleting) {
            write_topic(ctl, topic);
        }
    }
}

/* Those that had to wait for the write before theirs. */
static void touch_waiting(struct ctl *ctl, struct ctl_topic *topic)
{
    for (int32_t i = 0; i < topic->parts_count; i++) {
        if (topic->parts[i]->move != NULL) {
            ctl_part_touch(ctl, topic->parts[i]);
        }
    }
}

/* The node's new content is what ZooKeeper refuses, not its version or our office: too large, most
 * likely (zk_calls.h), or we may not write it. What made it so is not tried again. A FINISH is: it
 * makes the node smaller, and nobody would ask for it once more. True: there is one. */
static bool refused(struct ctl_topic *topic)
{
    bool again = false;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        struct ctl_move *move = topic->parts[i]->move;
        if (move != NULL && move->writing) {
            ctl_reassign_refused(topic->parts[i]);
            again = again || !move->refused;
        }
    }
    return again;
}

void ctl_reassign_wrote(struct ctl *ctl, struct ctl_topic *topic, enum err err, int32_t version)
{
    topic->assign_cmd = 0;
    if (err == ERR_OK && version > topic->version) {
        topic->version = version;
        for (int32_t i = 0; i < topic->parts_count; i++) {
            struct ctl_part *part = topic->parts[i];
            if (part->move != NULL && part->move->writing) {
                ctl_reassign_written(ctl, part);
            }
        }
        touch_waiting(ctl, topic);
        return;
    }
    topic->rereading = true;
    bool later = err == ERR_ZK_OTHER && refused(topic);
    if (err != ERR_CONTROLLER_MOVED) {
        struct ctl_cmd *cmd = ctl_emit(ctl, CTL_READ_TOPIC);
        cmd->topic = arena_str(&ctl->out->arena, topic->name);
        cmd->later = later;
    }
}

/* ---- Copies that must go. */

static int32_t dropped_index(const struct ctl_part *part, int32_t broker_id)
{
    for (int32_t i = 0; i < part->dropped.count; i++) {
        if (part->dropped.ids[i] == broker_id) {
            return i;
        }
    }
    return -1;
}

bool ctl_dropped(const struct ctl_part *part, int32_t broker_id)
{
    return dropped_index(part, broker_id) >= 0;
}

static void forget_dropped(struct ctl_part *part, int32_t at)
{
    int32_t *ids = (int32_t *)part->dropped.ids;
    ids[at] = ids[--part->dropped.count];
}

void ctl_drop(struct ctl *ctl, struct ctl_part *part, int32_t broker_id)
{
    struct ctl_broker *broker = ctl->phase == CTL_ACTIVE ? ctl_find_broker(ctl, broker_id) : NULL;
    if (!ctl_dropped(part, broker_id)) {
        int32_t count = part->dropped.count;
        int32_t *ids = mem_realloc((int32_t *)part->dropped.ids,
                                   ((size_t)count + 1) * sizeof(*part->dropped.ids));
        ids[count] = broker_id;
        part->dropped = (struct znode_ids){ids, count + 1};
    }
    if (broker != NULL) {
        ctl_unmark(ctl, broker, part, ctl_due_and_sent(CTL_MARK_LEADER | CTL_MARK_NEW));
        ctl_mark(ctl, broker, part, CTL_MARK_STOP);
    }
}

void ctl_undrop(struct ctl *ctl, struct ctl_part *part, int32_t broker_id)
{
    struct ctl_broker *broker = ctl->phase == CTL_ACTIVE ? ctl_find_broker(ctl, broker_id) : NULL;
    int32_t at = dropped_index(part, broker_id);
    if (at < 0) {
        return;
    }
    forget_dropped(part, at);
    if (broker != NULL) {
        ctl_unmark(ctl, broker, part, ctl_due_and_sent(CTL_MARK_STOP));
    }
}

void ctl_dropped_answer(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                        enum err err)
{
    int32_t at = dropped_index(part, broker->id);
    must(at >= 0);
    if (err == ERR_OK) {
        forget_dropped(part, at);
    } else {
        ctl_note(ctl, true, "copy cannot be deleted: tp=%.*s-%d broker=%d error=%s",
                 STR_ARG(part->topic->name), part->index, broker->id, err_name(err));
    }
}

bool ctl_dropping(const struct ctl *ctl, const struct ctl_part *part)
{
    for (int32_t i = 0; i < part->dropped.count; i++) {
        const struct ctl_broker *broker = ctl_find_broker(ctl, part->dropped.ids[i]);
        int stop = ctl_due_and_sent(CTL_MARK_STOP);
        if (broker != NULL && (ctl_marks_of(broker, part) & stop) != 0) {
            return true;
        }
    }
    return false;
}
