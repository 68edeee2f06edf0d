/* grp_offsets.c: committed and pending offsets as data.
 *
 * A commit is pending from its append until the high watermark passes it; several may be under way
 * for one partition, and a transaction's stay pending until its marker. What was appended later
 * wins, in whatever order they end: each knows the log offset of its batch. */
#include "group/grp_internal.h"

int64_t grp_utf16_length(struct str text)
{
    int64_t units = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        units += (byte & 0xC0) != 0x80; /* not a continuation: a character begins */
        units += byte >= 0xF0;          /* beyond U+FFFF: a surrogate pair */
    }
    return units;
}

size_t grp_offset_bytes(struct str metadata)
{
    return sizeof(struct grp_offset) + metadata.size;
}

static size_t pending_bytes(const struct grp_pending *pending)
{
    return sizeof(*pending) + pending->value.metadata.size;
}

static void charge(struct grp_group *group, size_t more)
{
    grp_charge(group->coord, &group->charged_bytes, group->charged_bytes + more);
}

static void discharge(struct grp_group *group, size_t less)
{
    must(group->charged_bytes >= less);
    grp_charge(group->coord, &group->charged_bytes, group->charged_bytes - less);
}

/* ---- slots ---- */

static struct grp_topic *topic_find(struct grp_group *group, struct str name)
{
    struct grp_topic *topic = NULL;
    HASH_FIND(hh, group->topics, name.ptr, name.size, topic);
    return topic;
}

/* Where the partition is, or belongs. */
static size_t slot_index(const struct grp_topic *topic, int32_t partition)
{
    size_t low = 0;
    size_t high = topic->slot_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (topic->slots[middle]->partition < partition) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct grp_offset *grp_offset_find(struct grp_group *group, struct str name, int32_t partition)
{
    struct grp_topic *topic = topic_find(group, name);
    if (topic == NULL) {
        return NULL;
    }
    size_t index = slot_index(topic, partition);
    bool found = index < topic->slot_count && topic->slots[index]->partition == partition;
    return found ? topic->slots[index] : NULL;
}

static struct grp_topic *topic_get(struct grp_group *group, struct str name)
{
    struct grp_topic *topic = topic_find(group, name);
    if (topic == NULL) {
        topic = mem_new(struct grp_topic);
        topic->name = grp_str_own(name);
        HASH_ADD_KEYPTR(hh, group->topics, topic->name.ptr, topic->name.size, topic);
        charge(group, sizeof(*topic) + topic->name.size);
    }
    return topic;
}

struct grp_offset *grp_offset_get(struct grp_group *group, struct str name, int32_t partition)
{
    struct grp_topic *topic = topic_get(group, name);
    size_t index = slot_index(topic, partition);
    if (index < topic->slot_count && topic->slots[index]->partition == partition) {
        return topic->slots[index];
    }
    if (topic->slot_count == topic->slot_capacity) {
        topic->slot_capacity = topic->slot_capacity == 0 ? 4 : 2 * topic->slot_capacity;
        topic->slots =
            mem_realloc(topic->slots, topic->slot_capacity * sizeof(struct grp_offset *));
    }
    struct grp_offset *slot = mem_new(struct grp_offset);
    slot->topic = topic;
    slot->partition = partition;
    list_init(&slot->pending);
    memmove(topic->slots + index + 1, topic->slots + index,
            (topic->slot_count - index) * sizeof(struct grp_offset *));
    topic->slots[index] = slot;
    topic->slot_count++;
    charge(group, sizeof(*slot));
    return slot;
}

static void forget_committed(struct grp_group *group, struct grp_offset *slot)
{
    if (slot->committed) {
        discharge(group, slot->value.metadata.size);
        grp_str_drop(&slot->value.metadata);
        slot->committed = false;
        group->committed_count--;
    }
}

/* I6 */
static void release_if_unused(struct grp_group *group, struct grp_offset *slot)
{
    if (slot->committed || !list_empty(&slot->pending)) {
        return;
    }
    struct grp_topic *topic = slot->topic;
    size_t index = slot_index(topic, slot->partition);
    must(topic->slots[index] == slot);
    topic->slot_count--;
    memmove(topic->slots + index, topic->slots + index + 1,
            (topic->slot_count - index) * sizeof(struct grp_offset *));
    discharge(group, sizeof(*slot));
    mem_free(slot);
    if (topic->slot_count == 0) {
        discharge(group, sizeof(*topic) + topic->name.size);
        HASH_DEL(group->topics, topic);
        grp_str_drop(&topic->name);
        mem_free(topic->slots);
        mem_free(topic);
    }
}

void grp_offset_commit(struct grp_group *group, struct grp_offset *slot,
                       const struct grp_offset_value *value, int64_t log_offset)
{
    if (slot->committed && slot->log_offset > log_offset) {
        return;
    }
    struct str metadata = grp_str_own(value->metadata);
    forget_committed(group, slot);
    slot->committed = true;
    slot->value = *value;
    slot->value.metadata = metadata;
    slot->log_offset = log_offset;
    group->committed_count++;
    charge(group, metadata.size);
}

bool grp_group_has_offsets(const struct grp_group *group)
{
    return group->committed_count > 0 || group->pending_count > 0;
}

/* ---- pending ---- */

void grp_pending_add(struct grp_group *group, struct grp_offset *slot, struct grp_pending *pending,
                     const struct grp_offset_value *value)
{
    *pending =
        (struct grp_pending){.slot = slot, .group = group, .value = *value, .log_offset = -1};
    pending->value.metadata = grp_str_own(value->metadata);
    list_init(&pending->in_producer);
    list_push_back(&slot->pending, &pending->in_slot);
    group->pending_count++;
    charge(group, pending_bytes(pending));
}

static void unlink_from_slot(struct grp_group *group, struct grp_pending *pending)
{
    list_remove(&pending->in_slot);
    pending->slot = NULL;
    must(group->pending_count > 0);
    group->pending_count--;
    discharge(group, pending_bytes(pending));
}

void grp_pending_end(struct grp_group *group, struct grp_pending *pending, bool apply)
{
    struct grp_offset *slot = pending->slot;
    unlink_from_slot(group, pending);
    if (apply) {
        must(pending->log_offset >= 0);
        grp_offset_commit(group, slot, &pending->value, pending->log_offset);
    }
    grp_str_drop(&pending->value.metadata);
    release_if_unused(group, slot);
}

/* ---- transactions ---- */

static void producer_free(struct grp_coord *coord, struct grp_producer *producer)
{
    must(list_empty(&producer->pending));
    HASH_DEL(coord->producers, producer);
    mem_free(producer);
}

static struct grp_producer *producer_find(struct grp_coord *coord, int64_t id)
{
    struct grp_producer *producer = NULL;
    HASH_FIND(hh, coord->producers, &id, sizeof(id), producer);
    return producer;
}

static void transactional_free(struct grp_coord *coord, struct grp_pending *pending)
{
    struct grp_producer *producer = pending->producer;
    list_remove(&pending->in_producer);
    grp_str_drop(&pending->value.metadata);
    mem_free(pending);
    if (list_empty(&producer->pending)) {
        producer_free(coord, producer);
    }
}

void grp_pending_transactional(struct grp_group *group, struct grp_offset *slot,
                               int64_t producer_id, const struct grp_offset_value *value,
                               int64_t log_offset)
{
    struct grp_coord *coord = group->coord;
    struct grp_producer *producer = producer_find(coord, producer_id);
    if (producer == NULL) {
        producer = mem_new(struct grp_producer);
        producer->id = producer_id;
        list_init(&producer->pending);
        HASH_ADD(hh, coord->producers, id, sizeof(producer->id), producer);
    }
    struct grp_pending *pending = mem_new(struct grp_pending);
    grp_pending_add(group, slot, pending, value);
    pending->producer = producer;
    pending->log_offset = log_offset;
    list_push_back(&producer->pending, &pending->in_producer);
}

void grp_pending_withdraw(struct grp_group *group, struct grp_offset *slot, int64_t producer_id)
{
    list_for_each_safe (link, &slot->pending) {
        struct grp_pending *pending = container_of(link, struct grp_pending, in_slot);
        if (pending->producer != NULL && pending->producer->id == producer_id) {
            unlink_from_slot(group, pending);
            transactional_free(group->coord, pending);
        }
    }
    release_if_unused(group, slot);
}

void grp_producer_end(struct grp_coord *coord, int64_t id, bool commit)
{
    struct grp_producer *producer = producer_find(coord, id);
    if (producer == NULL) {
        return;
    }
    list_for_each_safe (link, &producer->pending) {
        struct grp_pending *pending = container_of(link, struct grp_pending, in_producer);
        bool last = link_next == &producer->pending;
        grp_pending_end(pending->group, pending, commit);
        transactional_free(coord, pending); /* the last one takes the producer along */
        if (last) {
            break;
        }
    }
}

void grp_producers_free(struct grp_coord *coord)
{
    must(coord->producers == NULL); /* their offsets went with the groups */
}

/* ---- deletion ---- */

void grp_offset_delete(struct grp_group *group, struct grp_offset *slot)
{
    list_for_each_safe (link, &slot->pending) {
        struct grp_pending *pending = container_of(link, struct grp_pending, in_slot);
        unlink_from_slot(group, pending);
        if (pending->producer != NULL) {
            transactional_free(group->coord, pending);
        }
    }
    grp_offset_forget(group, slot);
}

void grp_offset_forget(struct grp_group *group, struct grp_offset *slot)
{
    forget_committed(group, slot);
    release_if_unused(group, slot);
}

void grp_offsets_free(struct grp_group *group)
{
    struct grp_topic *topic, *next;
    HASH_ITER (hh, group->topics, topic, next) {
        size_t left = topic->slot_count;
        while (left-- > 0) {
            grp_offset_delete(group, topic->slots[left]);
        }
    }
    must(!grp_group_has_offsets(group));
}
