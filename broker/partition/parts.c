#include "partition/parts.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"

/* The partitions of one topic that live here. Immutable and counted: shared between tables. */
struct parts_topic {
    _Atomic int32_t count;
    struct str name;
    uint64_t hash;
    int32_t parts_count;
    struct part **parts; /* sorted by index */
};

enum { SLOTS_MIN = 16 };

static uint64_t name_hash(struct str name)
{
    return hash_bytes(name.ptr, name.size);
}

static void topic_put(struct parts_topic *topic)
{
    if (!ref_drop(&topic->count)) {
        return;
    }
    for (int32_t i = 0; i < topic->parts_count; i++) {
        part_put(topic->parts[i]);
    }
    mem_free(topic->parts);
    mem_free((void *)(uintptr_t)topic->name.ptr);
    mem_free(topic);
}

static struct parts_topic *topic_hold(struct parts_topic *topic)
{
    ref_hold(&topic->count);
    return topic;
}

static struct parts_table *table_new(int32_t topics_max)
{
    struct parts_table *table = mem_new(struct parts_table);
    atomic_init(&table->count, 1);
    table->slots_count = SLOTS_MIN;
    /* At most half full: probes stay short. */
    while (table->slots_count < (uint32_t)topics_max * 2) {
        table->slots_count *= 2;
    }
    table->by_name = mem_zalloc(table->slots_count, sizeof(*table->by_name));
    return table;
}

static void table_put(struct parts_table *table)
{
    if (table == NULL || !ref_drop(&table->count)) {
        return;
    }
    for (uint32_t i = 0; i < table->slots_count; i++) {
        if (table->by_name[i] != NULL) {
            topic_put(table->by_name[i]);
        }
    }
    mem_free(table->by_name);
    mem_free(table);
}

/* The slot that holds the topic, or the empty one where it belongs. */
static struct parts_topic **table_slot(const struct parts_table *table, struct str name,
                                       uint64_t hash)
{
    uint32_t mask = table->slots_count - 1;
    uint32_t at = (uint32_t)hash & mask;
    while (table->by_name[at] != NULL &&
           (table->by_name[at]->hash != hash || !str_eq(table->by_name[at]->name, name))) {
        at = (at + 1) & mask;
    }
    return &table->by_name[at];
}

static void table_insert(struct parts_table *table, struct parts_topic *topic)
{
    struct parts_topic **slot = table_slot(table, topic->name, topic->hash);
    must(*slot == NULL);
    *slot = topic;
    table->topics_count++;
    must((uint32_t)table->topics_count * 2 <= table->slots_count);
}

/* Position of the partition in its topic, or where it would go. */
static int32_t topic_position(const struct parts_topic *topic, int32_t index, bool *found)
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
    *found = low < topic->parts_count && topic->parts[low]->index == index;
    return low;
}

static struct part *topic_part(const struct parts_topic *topic, int32_t index)
{
    if (index >= 0 && index < topic->parts_count && topic->parts[index]->index == index) {
        return topic->parts[index];
    }
    bool found;
    int32_t at = topic_position(topic, index, &found);
    return found ? topic->parts[at] : NULL;
}

void parts_init(struct parts *parts)
{
    pthread_mutex_init(&parts->lock, NULL);
    parts->current = table_new(0);
    atomic_init(&parts->generation, 1);
}

void parts_fini(struct parts *parts)
{
    table_put(parts->current);
    parts->current = NULL;
    pthread_mutex_destroy(&parts->lock);
}

static struct parts_table *parts_hold(struct parts *parts)
{
    pthread_mutex_lock(&parts->lock);
    struct parts_table *table = parts->current;
    ref_hold(&table->count);
    pthread_mutex_unlock(&parts->lock);
    return table;
}

void parts_reader_init(struct parts_reader *reader, struct parts *parts)
{
    *reader = (struct parts_reader){.parts = parts};
}

void parts_reader_fini(struct parts_reader *reader)
{
    table_put(reader->table);
    reader->table = NULL;
}

static struct part *table_find(const struct parts_table *table, struct str topic, int32_t index)
{
    struct parts_topic **slot = table_slot(table, topic, name_hash(topic));
    return *slot != NULL ? topic_part(*slot, index) : NULL;
}

void parts_reader_refresh(struct parts_reader *reader)
{
    /* Read before the table: an older number only means one refresh too many. */
    uint64_t generation = atomic_load_explicit(&reader->parts->generation, memory_order_acquire);
    if (reader->table == NULL || generation != reader->generation) {
        table_put(reader->table);
        reader->table = parts_hold(reader->parts);
        reader->generation = generation;
    }
}

struct part *parts_find(struct parts_reader *reader, struct str topic, int32_t index)
{
    parts_reader_refresh(reader);
    return table_find(reader->table, topic, index);
}

struct part *parts_lookup(struct parts *parts, struct str topic, int32_t index)
{
    struct parts_table *table = parts_hold(parts);
    struct part *part = table_find(table, topic, index);
    if (part != NULL) {
        part_get(part);
    }
    table_put(table);
    return part;
}

/* A copy of a topic that only the table under construction holds; `old` may be NULL. */
static struct parts_topic *topic_copy(const struct parts_topic *old, struct str name, uint64_t hash)
{
    struct parts_topic *copy = mem_new(struct parts_topic);
    atomic_init(&copy->count, 1);
    copy->name = (struct str){str_dup(name), name.size};
    copy->hash = hash;
    copy->parts_count = old != NULL ? old->parts_count : 0;
    copy->parts = mem_zalloc((size_t)copy->parts_count + 1, sizeof(*copy->parts));
    for (int32_t i = 0; i < copy->parts_count; i++) {
        copy->parts[i] = part_get(old->parts[i]);
    }
    return copy;
}

static void topic_put_part(struct parts_topic *topic, struct part *part)
{
    bool found;
    int32_t at = topic_position(topic, part->index, &found);
    if (found) {
        part_put(topic->parts[at]);
    } else {
        size_t tail = (size_t)(topic->parts_count - at);
        topic->parts = mem_realloc(topic->parts, ((size_t)topic->parts_count + 1) * sizeof(part));
        memmove(&topic->parts[at + 1], &topic->parts[at], tail * sizeof(part));
        topic->parts_count++;
    }
    topic->parts[at] = part;
}

static void topic_remove_part(struct parts_topic *topic, int32_t index)
{
    bool found;
    int32_t at = topic_position(topic, index, &found);
    if (!found) {
        return;
    }
    part_put(topic->parts[at]);
    topic->parts_count--;
    memmove(&topic->parts[at], &topic->parts[at + 1],
            (size_t)(topic->parts_count - at) * sizeof(topic->parts[0]));
}

/* The changed topic's slot in the new table, holding a copy of our own. */
static struct parts_topic *table_own(struct parts_table *table, struct str name)
{
    uint64_t hash = name_hash(name);
    struct parts_topic **slot = table_slot(table, name, hash);
    struct parts_topic *old = *slot;
    if (old != NULL && atomic_load_explicit(&old->count, memory_order_acquire) == 1) {
        return old; /* copied by an earlier change of this edit; the published table holds others */
    }
    struct parts_topic *copy = topic_copy(old, name, hash);
    *slot = copy;
    if (old != NULL) {
        topic_put(old);
    } else {
        table->topics_count++;
    }
    return copy;
}

/* Rebuild without topics that lost their last partition: open addressing cannot erase in place. */
static struct parts_table *table_compact(struct parts_table *table)
{
    struct parts_table *clean = table_new(table->topics_count);
    for (uint32_t i = 0; i < table->slots_count; i++) {
        struct parts_topic *topic = table->by_name[i];
        if (topic != NULL && topic->parts_count > 0) {
            table_insert(clean, topic_hold(topic));
        }
    }
    table_put(table);
    return clean;
}

void parts_edit(struct parts *parts, const struct parts_change *changes, int32_t count)
{
    const struct parts_table *old = parts->current;
    struct parts_table *next = table_new(old->topics_count + count);
    for (uint32_t i = 0; i < old->slots_count; i++) {
        if (old->by_name[i] != NULL) {
            table_insert(next, topic_hold(old->by_name[i]));
        }
    }
    bool removed = false;
    for (int32_t i = 0; i < count; i++) {
        struct parts_topic *topic = table_own(next, changes[i].topic);
        if (changes[i].part != NULL) {
            topic_put_part(topic, changes[i].part);
        } else {
            topic_remove_part(topic, changes[i].index);
            removed = true;
        }
    }
    if (removed) {
        next = table_compact(next);
    }
    pthread_mutex_lock(&parts->lock);
    struct parts_table *before = parts->current;
    parts->current = next;
    atomic_fetch_add_explicit(&parts->generation, 1, memory_order_release);
    pthread_mutex_unlock(&parts->lock);
    table_put(before);
}

static void topic_each(struct parts_topic *topic, void (*fn)(void *arg, struct part *part),
                       void *arg)
{
    for (int32_t i = 0; topic != NULL && i < topic->parts_count; i++) {
        fn(arg, topic->parts[i]);
    }
}

void parts_each(struct parts *parts, void (*fn)(void *arg, struct part *part), void *arg)
{
    struct parts_table *table = parts_hold(parts);
    for (uint32_t i = 0; i < table->slots_count; i++) {
        topic_each(table->by_name[i], fn, arg);
    }
    table_put(table);
}

void parts_each_of(struct parts *parts, struct str topic, void (*fn)(void *arg, struct part *part),
                   void *arg)
{
    struct parts_table *table = parts_hold(parts);
    topic_each(*table_slot(table, topic, name_hash(topic)), fn, arg);
    table_put(table);
}
