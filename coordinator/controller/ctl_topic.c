/* ctl_topic.c: which topics exist, their partitions' slots, and deletion.
 *
 * A topic that is marked for deletion: its partitions are out of the metadata (leader -2), every
 * replica that is reachable is told to remove its files, and when all have confirmed, the topic's
 * nodes go. Replicas on dead brokers make it wait; it goes on when they come back, under whichever
 * controller.
 *
 * A topic that is gone from ZooKeeper leaves its name at once. Its partitions stay as tombstones in
 * their slots until every broker has heard that they are gone. */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Finding. */

struct ctl_topic *ctl_find_topic(const struct ctl *ctl, struct str name)
{
    struct ctl_topic *topic = NULL;
    HASH_FIND(hh, ctl->topics, name.ptr, name.size, topic);
    return topic;
}

struct ctl_topic *ctl_find_topic_id(const struct ctl *ctl, struct uuid id)
{
    struct ctl_topic *topic = NULL;
    HASH_FIND(hh_id, ctl->topic_ids, id.raw, sizeof(id.raw), topic);
    return topic;
}

struct ctl_part *ctl_find_part(const struct ctl_topic *topic, int32_t index)
{
    int32_t low = 0;
    int32_t high = topic->parts_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (topic->parts[middle]->index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < topic->parts_count && topic->parts[low]->index == index ? topic->parts[low] : NULL;
}

void ctl_parts_each(struct ctl *ctl, struct str name, void (*fn)(struct ctl *, struct ctl_part *))
{
    const struct ctl_topic *topic = name.ptr != NULL ? ctl_find_topic(ctl, name) : NULL;
    if (ctl->phase != CTL_ACTIVE) {
        return;
    }
    for (int32_t i = 0; topic != NULL && i < topic->parts_count; i++) {
        fn(ctl, topic->parts[i]);
    }
    for (int32_t s = 0; name.ptr == NULL && s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL && !ctl->slots[s]->tombstone) {
            fn(ctl, ctl->slots[s]);
        }
    }
}

/* ---- Making and freeing. */

static struct ctl_topic *topic_new(struct ctl *ctl, struct str name)
{
    struct ctl_topic *topic = mem_new(struct ctl_topic);
    topic->name = (struct str){str_dup(name), name.size};
    list_init(&topic->deleting_link);
    list_init(&topic->assigning_link);
    HASH_ADD_KEYPTR(hh, ctl->topics, topic->name.ptr, topic->name.size, topic);
    return topic;
}

/* With its last slot, when it is gone. */
static void topic_maybe_free(struct ctl_topic *topic)
{
    if (topic->gone && topic->slots_held == 0) {
        must(topic->parts == NULL && topic->id_cmd == 0 && topic->delete_cmd == 0);
        must(topic->assign_cmd == 0 && !list_linked(&topic->assigning_link));
        mem_free((char *)topic->name.ptr);
        mem_free(topic);
    }
}

/* Of tens of thousands of partitions most are not on the move: empty lists take no memory. */
static struct znode_ids copy_ids(struct znode_ids ids)
{
    if (ids.count == 0) {
        return (struct znode_ids){NULL, 0};
    }
    int32_t *copy = mem_zalloc((size_t)ids.count, sizeof(*copy));
    memcpy(copy, ids.ids, (size_t)ids.count * sizeof(*copy));
    return (struct znode_ids){copy, ids.count};
}

static int32_t take_slot(struct ctl *ctl)
{
    if (ctl->free_slots_count > 0) {
        return ctl->free_slots[--ctl->free_slots_count];
    }
    if (ctl->slots_count == ctl->slots_capacity) {
        ctl->slots_capacity = ctl->slots_capacity > 0 ? ctl->slots_capacity * 2 : 64;
        size_t capacity = (size_t)ctl->slots_capacity;
        ctl->slots = mem_realloc(ctl->slots, capacity * sizeof(struct ctl_part *));
        ctl->free_slots = mem_realloc(ctl->free_slots, capacity * sizeof(int32_t));
    }
    return ctl->slots_count++;
}

static struct ctl_part *part_new(struct ctl *ctl, struct ctl_topic *topic,
                                 const struct znode_partition *partition)
{
    struct ctl_part *part = mem_new(struct ctl_part);
    struct ctl_assignment line = ctl_assignment_of(&ctl->out->arena, partition);
    part->topic = topic;
    part->index = partition->index;
    part->replicas = copy_ids(line.replicas);
    part->adding = copy_ids(line.adding);
    part->removing = copy_ids(line.removing);
    /* The controller before us may not have come to the point of telling the replicas. */
    part->bump = ctl_part_moving(part);
    part->flags = mem_zalloc((size_t)part->replicas.count + 1, 1);
    part->now.leader = -1;
    part->next.leader = -1;
    list_init(&part->todo);
    part->slot = take_slot(ctl);
    ctl->slots[part->slot] = part;
    topic->slots_held++;
    return part;
}

static void part_free(struct ctl *ctl, struct ctl_part *part)
{
    struct ctl_topic *topic = part->topic;
    must(part->marked == 0);
    list_remove(&part->todo);
    ctl_want_preferred(ctl, part, false);
    ctl->slots[part->slot] = NULL;
    ctl->free_slots[ctl->free_slots_count++] = part->slot;
    ctl_leadership_free(&part->now);
    ctl_leadership_free(&part->next);
    mem_free(part->eligible.ids);
    mem_free(part->next_eligible.ids);
    mem_free(part->ends);
    mem_free((int32_t *)part->replicas.ids);
    mem_free((int32_t *)part->adding.ids);
    mem_free((int32_t *)part->removing.ids);
    mem_free((int32_t *)part->dropped.ids);
    ctl_move_free(ctl, part);
    mem_free(part->flags);
    mem_free(part);
    topic->slots_held--;
    topic_maybe_free(topic);
}

void ctl_part_maybe_free(struct ctl *ctl, struct ctl_part *part)
{
    if (part->tombstone && part->marked == 0) {
        part_free(ctl, part);
    }
}

/* ---- A topic that is gone from ZooKeeper. */

static void part_gone(struct ctl *ctl, struct ctl_part *part)
{
    struct ctl_alter_item *alter = part->alter;
    part->alter = NULL;
    if (alter != NULL) {
        ctl_alter_done(ctl, alter, ERR_UNKNOWN_TOPIC_OR_PARTITION, part);
    }
    if (part->cmd_id != 0) {
        ctl_forget_pending(ctl, part->cmd_id);
    }
    ctl_part_idle(part);
    if (part->move != NULL) {
        ctl_reassign_fail(ctl, part, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                          "The partition does not exist.");
    }
    part->tombstone = true;
    list_remove(&part->todo);
    ctl_want_preferred(ctl, part, false);
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        ctl_unmark(ctl, ctl->brokers[i], part,
                   ctl_due_and_sent(CTL_MARK_LEADER | CTL_MARK_STOP | CTL_MARK_NEW));
    }
    if (!part->topic->deleting && ctl->phase == CTL_ACTIVE) {
        ctl_mark_everybody(ctl, part, CTL_MARK_META);
    }
}

/* The end of loading waits for it no longer. */
static void uncount(struct ctl *ctl, struct ctl_topic *topic)
{
    if (topic->counted) {
        topic->counted = false;
        ctl->loading_topics--;
    }
}

static void topic_gone(struct ctl *ctl, struct ctl_topic *topic)
{
    struct ctl_part **parts = topic->parts;
    int32_t count = topic->parts_count;
    HASH_DELETE(hh, ctl->topics, topic);
    if (topic->in_ids) {
        HASH_DELETE(hh_id, ctl->topic_ids, topic);
        topic->in_ids = false;
    }
    uncount(ctl, topic);
    ctl_forget_pending(ctl, topic->id_cmd);
    ctl_forget_pending(ctl, topic->delete_cmd);
    ctl_forget_pending(ctl, topic->assign_cmd);
    topic->id_cmd = 0;
    topic->delete_cmd = 0;
    topic->assign_cmd = 0;
    list_remove(&topic->deleting_link);
    list_remove(&topic->assigning_link);
    topic->parts = NULL;
    topic->parts_count = 0;
    ctl->orders_look = true;
    topic->gone = true;
    topic->slots_held++; /* until we are through */
    for (int32_t i = 0; i < count; i++) {
        part_gone(ctl, parts[i]);
        ctl_part_maybe_free(ctl, parts[i]);
    }
    mem_free(parts);
    topic->slots_held--;
    topic_maybe_free(topic);
}

/* Its node is not there. While we remove its nodes ourselves, the result of that ends it: until
 * then its configuration and its mark may still be there, and have to go. When somebody else
 * removed it, its mark is left for us to see. */
static void topic_vanished(struct ctl *ctl, struct ctl_topic *topic)
{
    bool marked = topic->deleting;
    if (topic->delete_cmd != 0 || topic->delete_retry_ms > 0) {
        return;
    }
    topic_gone(ctl, topic);
    if (marked) {
        ctl_emit(ctl, CTL_READ_DELETIONS);
    }
}

/* The controller before us may not have come to the end of making them. */
static void find_half_made(struct ctl_topic *topic)
{
    bool missing = false;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        missing = missing || !topic->parts[i]->exists;
    }
    for (int32_t i = 0; i < topic->parts_count; i++) {
        topic->parts[i]->fresh = missing;
    }
}

void ctl_topics_activate(struct ctl *ctl)
{
    for (struct ctl_topic *topic = ctl->topics; topic != NULL; topic = topic->hh.next) {
        find_half_made(topic);
    }
}

void ctl_topics_free(struct ctl *ctl)
{
    struct ctl_topic *topic, *next;
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        struct ctl_broker *broker = ctl->brokers[i];
        for (int32_t s = 0; s < ctl->slots_count; s++) {
            if (ctl->slots[s] != NULL) {
                ctl_unmark(ctl, broker, ctl->slots[s], 0xff);
            }
        }
    }
    ctl->phase = CTL_IDLE; /* nothing is to be told any more */
    HASH_ITER (hh, ctl->topics, topic, next) {
        topic_gone(ctl, topic);
    }
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL) { /* tombstones from before */
            part_free(ctl, ctl->slots[s]);
        }
    }
    ctl->slots_count = 0;
    ctl->free_slots_count = 0;
    while (!list_empty(&ctl->strays)) {
        struct ctl_stray_mark *stray = container_of(ctl->strays.next, struct ctl_stray_mark, link);
        list_remove(&stray->link);
        mem_free((char *)stray->name.ptr);
        mem_free(stray);
    }
}

/* ---- The list of topics. */

static void read_topic(struct ctl *ctl, struct ctl_topic *topic)
{
    struct ctl_cmd *cmd = ctl_emit(ctl, CTL_READ_TOPIC);
    cmd->topic = arena_str(&ctl->out->arena, topic->name);
    if (!topic->loaded && !topic->counted && ctl->phase == CTL_LOADING) {
        topic->counted = true;
        ctl->loading_topics++;
    }
}

static bool listed(const struct ctl_event *event, struct str name)
{
    int32_t low = 0;
    int32_t high = event->u.names.count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (str_cmp(event->u.names.names[middle], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < event->u.names.count && str_eq(event->u.names.names[low], name);
}

void ctl_topics_event(struct ctl *ctl, const struct ctl_event *event)
{
    struct ctl_topic *topic, *next;
    ctl->have_topics = true;
    ctl->topics_events++;
    HASH_ITER (hh, ctl->topics, topic, next) {
        topic->listed = topic->delete_cmd != 0 && listed(event, topic->name);
        if (!listed(event, topic->name)) {
            topic_vanished(ctl, topic);
        }
    }
    for (int32_t i = 0; i < event->u.names.count; i++) {
        if (ctl_find_topic(ctl, event->u.names.names[i]) == NULL) {
            read_topic(ctl, topic_new(ctl, event->u.names.names[i]));
        }
    }
    ctl_strays_apply(ctl);
}

/* ---- One topic's node. */

/* Older tools make topics without an id: give it one, then read it again. Those before Kafka 2.8
 * also take it away when they add partitions: then it is still the topic that it was. With another
 * id it would be a new one, and every broker would delete what it has of it. */
static void write_id(struct ctl *ctl, struct ctl_topic *topic, const struct ctl_event *event)
{
    if (topic->id_cmd != 0) {
        return;
    }
    struct ctl_cmd *cmd = ctl_emit_pending(ctl, CTL_WRITE_TOPIC, CTL_PENDING_ID, NULL, topic);
    struct arena *arena = &ctl->out->arena;
    size_t count = (size_t)event->u.topic.topic.partitions_count;
    struct znode_partition *partitions = arena_array(arena, struct znode_partition, count + 1);
    topic->id_cmd = cmd->id;
    cmd->topic = arena_str(arena, topic->name);
    cmd->version = event->u.topic.version;
    cmd->node = event->u.topic.topic;
    cmd->node.id = topic->loaded ? topic->id : uuid_random(&ctl->rng);
    for (size_t i = 0; i < count; i++) {
        const struct znode_partition *from = &event->u.topic.topic.partitions[i];
        const struct znode_ids *lists[] = {&from->replicas, &from->adding, &from->removing};
        struct znode_ids *copies[] = {&partitions[i].replicas, &partitions[i].adding,
                                      &partitions[i].removing};
        partitions[i].index = from->index;
        for (size_t l = 0; l < 3; l++) {
            int32_t *ids = arena_array(arena, int32_t, (size_t)lists[l]->count + 1);
            memcpy(ids, lists[l]->ids != NULL ? lists[l]->ids : ids,
                   (size_t)lists[l]->count * sizeof(int32_t));
            *copies[l] = (struct znode_ids){ids, lists[l]->count};
        }
    }
    cmd->node.partitions = partitions;
}

void ctl_topic_wrote(struct ctl *ctl, struct ctl_topic *topic, enum err err)
{
    topic->id_cmd = 0;
    if (err == ERR_ZK_OTHER) {
        /* Not its version, nor our office: it is not to be written, or would be too large. Again
         * when it has changed. */
        uncount(ctl, topic);
        ctl_note(ctl, true, "ZooKeeper does not let us give a topic its id: topic=%.*s",
                 STR_ARG(topic->name));
    } else if (err != ERR_CONTROLLER_MOVED) {
        read_topic(ctl, topic); /* whatever came of it */
    }
}

static void insert_part(struct ctl_topic *topic, struct ctl_part *part)
{
    int32_t at = topic->parts_count;
    topic->parts =
        mem_realloc(topic->parts, (size_t)(topic->parts_count + 1) * sizeof(struct ctl_part *));
    while (at > 0 && topic->parts[at - 1]->index > part->index) {
        topic->parts[at] = topic->parts[at - 1];
        at--;
    }
    topic->parts[at] = part;
    topic->parts_count++;
}

/* A partition we do not know yet. Partitions added to a topic that is being deleted go with it. */
static void add_part(struct ctl *ctl, struct ctl_topic *topic,
                     const struct znode_partition *partition, const struct ctl_state_info *info)
{
    struct ctl_part *part = part_new(ctl, topic, partition);
    insert_part(topic, part);
    ctl_part_believe(ctl, part, info);
    if (ctl->phase == CTL_ACTIVE) {
        ctl_unclean_find(ctl, part);
        if (part->exists && !topic->deleting) {
            ctl_mark_everybody(ctl, part, CTL_MARK_META);
            ctl_mark_replicas(ctl, part, CTL_MARK_LEADER);
        }
        ctl_part_touch(ctl, part);
    }
}

/* A known partition's state as read along with the topic: newer than what we have, or mended by
 * hand. */
static void refresh_part(struct ctl *ctl, struct ctl_part *part, const struct ctl_state_info *info)
{
    bool newer = info->err == ERR_OK && part->exists && info->version > part->version;
    if (part->busy != CTL_PART_IDLE || (!part->broken && !part->missing && !newer)) {
        return;
    }
    ctl_part_believe(ctl, part, info);
    if (part->exists && !part->topic->deleting && ctl->phase == CTL_ACTIVE) {
        ctl_mark_everybody(ctl, part, CTL_MARK_META);
        ctl_mark_replicas(ctl, part, CTL_MARK_LEADER);
    }
    ctl_part_touch(ctl, part);
}

static void take_node(struct ctl *ctl, struct ctl_topic *topic, const struct ctl_event *event)
{
    const struct znode_topic *node = &event->u.topic.topic;
    bool current = event->u.topic.version >= topic->version && !topic->deleting;
    int32_t added = 0;
    topic->id = node->id;
    topic->czxid = event->u.topic.czxid;
    if (!topic->in_ids && ctl_find_topic_id(ctl, node->id) == NULL) {
        HASH_ADD(hh_id, ctl->topic_ids, id.raw, sizeof(topic->id.raw), topic);
        topic->in_ids = true;
    }
    for (int32_t i = 0; i < node->partitions_count; i++) {
        struct ctl_part *part = ctl_find_part(topic, node->partitions[i].index);
        if (part != NULL) {
            refresh_part(ctl, part, &event->u.topic.states[i]);
            if (current) {
                ctl_reassign_refresh(ctl, part, &node->partitions[i]);
            }
        } else if (!topic->deleting || !topic->loaded) {
            add_part(ctl, topic, &node->partitions[i], &event->u.topic.states[i]);
            added++;
        }
    }
    if (added > 0 && ctl->phase == CTL_ACTIVE && !topic->deleting) {
        ctl_note(ctl, false, "partitions found: topic=%.*s new=%d", STR_ARG(topic->name), added);
    }
    topic->loaded = true;
    if (current) {
        topic->version = event->u.topic.version;
        topic->rereading = false;
    }
}

static void start_deleting(struct ctl *ctl, struct ctl_topic *topic);
static void postpone_deleting(struct ctl *ctl, struct ctl_topic *topic);

void ctl_topic_event(struct ctl *ctl, const struct ctl_event *event)
{
    const struct znode_topic *node = &event->u.topic.topic;
    struct ctl_topic *topic = ctl_find_topic(ctl, event->u.topic.name);
    if (topic == NULL) {
        return;
    }
    if (event->u.topic.err == ERR_NOT_FOUND) {
        topic_vanished(ctl, topic);
        return;
    }
    if (event->u.topic.err == ERR_ZK_OTHER) { /* it is read again; the others do not wait for it */
        uncount(ctl, topic);
        return;
    }
    if (event->u.topic.err == ERR_OK && uuid_is_zero(node->id)) {
        write_id(ctl, topic, event);
        return;
    }
    uncount(ctl, topic);
    if (event->u.topic.err != ERR_OK) {
        ctl_note(ctl, true, "topic cannot be read: topic=%.*s", STR_ARG(topic->name));
        for (int32_t i = 0; i < topic->parts_count; i++) {
            ctl_reassign_fail(ctl, topic->parts[i], ERR_UNKNOWN_SERVER_ERROR,
                              "The topic's node cannot be read.");
        }
        return;
    }
    if (topic->loaded && !uuid_eq(topic->id, node->id)) {
        /* Deleted and made again between two looks. */
        topic_gone(ctl, topic);
        topic = topic_new(ctl, event->u.topic.name);
    }
    bool first = !topic->loaded;
    take_node(ctl, topic, event);
    if (topic->deleting && first) { /* marked before its partitions were known */
        topic->deleting = false;
        list_remove(&topic->deleting_link);
        if (ctl_topic_moving(topic)) {
            postpone_deleting(ctl, topic);
        } else {
            start_deleting(ctl, topic);
        }
    }
}

/* ---- Deletion. */

static void stop_replicas(struct ctl *ctl, struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        struct ctl_broker *broker = ctl_find_broker(ctl, part->replicas.ids[i]);
        part->flags[i] =
            (uint8_t)(part->flags[i] & ~(CTL_REPLICA_DELETED | CTL_REPLICA_DELETE_FAILED));
        if (broker != NULL) {
            ctl_mark(ctl, broker, part, CTL_MARK_STOP);
        }
    }
}

static void start_deleting(struct ctl *ctl, struct ctl_topic *topic)
{
    if (topic->deleting) {
        return;
    }
    topic->deleting = true;
    ctl->orders_look = true;
    list_push_back(&ctl->deleting, &topic->deleting_link);
    if (!topic->loaded) {
        return; /* its node comes, or it is unreadable and stays */
    }
    ctl_note(ctl, false, "deleting topic: topic=%.*s partitions=%d", STR_ARG(topic->name),
             topic->parts_count);
    for (int32_t i = 0; i < topic->parts_count; i++) {
        struct ctl_part *part = topic->parts[i];
        ctl_want_preferred(ctl, part, false);
        for (int32_t b = 0; b < ctl->brokers_count; b++) {
            ctl_unmark(ctl, ctl->brokers[b], part,
                       ctl_due_and_sent(CTL_MARK_LEADER | CTL_MARK_NEW));
        }
        ctl_mark_everybody(ctl, part, CTL_MARK_META);
        stop_replicas(ctl, part);
    }
}

static void add_stray(struct ctl *ctl, struct str name);

/* Not while partitions are on the move: until then it is as any other topic. */
static void postpone_deleting(struct ctl *ctl, struct ctl_topic *topic)
{
    add_stray(ctl, topic->name);
    for (int32_t i = 0; ctl->phase == CTL_ACTIVE && i < topic->parts_count; i++) {
        if (topic->parts[i]->exists) {
            ctl_mark_everybody(ctl, topic->parts[i], CTL_MARK_META);
            ctl_mark_replicas(ctl, topic->parts[i], CTL_MARK_LEADER);
        }
        ctl_part_touch(ctl, topic->parts[i]);
    }
}

void ctl_deletion_resume(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part)
{
    int32_t i = ctl_replica_index(part, broker->id);
    bool left = i >= 0 && (part->flags[i] & CTL_REPLICA_DELETED) == 0;
    if (left || ctl_dropped(part, broker->id)) {
        ctl_mark(ctl, broker, part, CTL_MARK_STOP);
    }
}

static void delete_mark(struct ctl *ctl, enum ctl_cmd_kind kind, struct str name)
{
    struct ctl_cmd *cmd = ctl_emit_pending(ctl, kind, CTL_PENDING_OTHER, NULL, NULL);
    cmd->topic = arena_str(&ctl->out->arena, name);
}

static void add_stray(struct ctl *ctl, struct str name)
{
    list_for_each (link, &ctl->strays) {
        if (str_eq(container_of(link, struct ctl_stray_mark, link)->name, name)) {
            return;
        }
    }
    struct ctl_stray_mark *stray = mem_new(struct ctl_stray_mark);
    stray->name = (struct str){str_dup(name), name.size};
    stray->seen = ctl->topics_events;
    list_push_back(&ctl->strays, &stray->link);
}

/* A mark means its topic, once the list of topics has been read after the mark was seen. If the
 * topic does not exist even then, a controller before us did not come to the end of its deletion:
 * what it left goes. Where deletion is not allowed, only the mark is removed. */
void ctl_strays_apply(struct ctl *ctl)
{
    if (ctl->phase != CTL_ACTIVE) {
        return;
    }
    list_for_each_safe (link, &ctl->strays) {
        struct ctl_stray_mark *stray = container_of(link, struct ctl_stray_mark, link);
        struct ctl_topic *topic = ctl_find_topic(ctl, stray->name);
        if (topic == NULL && stray->seen == ctl->topics_events) {
            continue;
        }
        if (topic != NULL && ctl->config.delete_topics && ctl_topic_moving(topic)) {
            continue; /* first its partitions come to rest */
        }
        if (!ctl->config.delete_topics) {
            delete_mark(ctl, CTL_DELETE_MARK, stray->name);
        } else if (topic == NULL) {
            delete_mark(ctl, CTL_DELETE_LEFTOVER, stray->name);
        } else {
            start_deleting(ctl, topic);
        }
        list_remove(link);
        mem_free((char *)stray->name.ptr);
        mem_free(stray);
    }
}

bool ctl_topic_doomed(const struct ctl *ctl, const struct ctl_topic *topic)
{
    if (topic->deleting) {
        return true;
    }
    list_for_each (link, &ctl->strays) {
        if (str_eq(container_of(link, struct ctl_stray_mark, link)->name, topic->name)) {
            return ctl->config.delete_topics;
        }
    }
    return false;
}

void ctl_deletions_event(struct ctl *ctl, const struct ctl_event *event)
{
    ctl->have_deletions = true;
    for (int32_t i = 0; i < event->u.names.count; i++) {
        struct ctl_topic *topic = ctl_find_topic(ctl, event->u.names.names[i]);
        if (topic != NULL) {
            topic->marked = topic->delete_cmd != 0;
        }
        if (topic == NULL || !topic->deleting) { /* of thousands, most are nothing new */
            add_stray(ctl, event->u.names.names[i]);
        }
    }
    ctl_strays_apply(ctl);
    if (!list_empty(&ctl->strays)) {
        ctl_emit(ctl, CTL_READ_TOPICS);
    }
}

/* All replicas have confirmed it, and those that were replicas before, as far as they live. */
static bool part_deleted(const struct ctl *ctl, const struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if ((part->flags[i] & CTL_REPLICA_DELETED) == 0) {
            return false;
        }
    }
    return part->busy == CTL_PART_IDLE && !ctl_dropping(ctl, part);
}

static bool topic_ready(const struct ctl *ctl, const struct ctl_topic *topic)
{
    if (!topic->loaded || topic->delete_cmd != 0 || ctl->now_ms < topic->delete_retry_ms) {
        return false;
    }
    for (int32_t i = 0; i < topic->parts_count; i++) {
        if (!part_deleted(ctl, topic->parts[i])) {
            return false;
        }
    }
    return true;
}

void ctl_deletions_advance(struct ctl *ctl)
{
    list_for_each (link, &ctl->deleting) {
        struct ctl_topic *topic = container_of(link, struct ctl_topic, deleting_link);
        if (topic_ready(ctl, topic)) {
            struct ctl_cmd *cmd =
                ctl_emit_pending(ctl, CTL_DELETE_TOPIC, CTL_PENDING_DELETE, NULL, topic);
            cmd->topic = arena_str(&ctl->out->arena, topic->name);
            topic->delete_cmd = cmd->id;
            topic->listed = false;
            topic->marked = false;
        }
    }
}

void ctl_topic_deleted(struct ctl *ctl, struct ctl_topic *topic, enum err err)
{
    topic->delete_cmd = 0;
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        ctl_note(ctl, false, "topic deleted: topic=%.*s", STR_ARG(topic->name));
        if (topic->listed) {
            ctl_emit(ctl, CTL_READ_TOPICS);
        }
        if (topic->marked) {
            ctl_emit(ctl, CTL_READ_DELETIONS);
        }
        topic_gone(ctl, topic);
    } else {
        topic->delete_retry_ms = ctl->now_ms + CTL_DELETE_RETRY_MS;
    }
}
