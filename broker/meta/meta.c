#include "meta/meta.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"

/* The brokers of one or more snapshots. */
struct meta_brokers_block {
    _Atomic int32_t count;
    int32_t brokers_count;
    struct meta_broker *brokers;
};

/* The ids of a partition, counted: snapshots share them, so that a copy of a topic with thousands
 * of partitions, of which an update changes a few, is one of plain structs. Partitions with the
 * same ids share them, too. */
struct ids_block {
    _Atomic int32_t count;
    int32_t ids[]; /* replicas, then ISR, then offline ones */
};

enum { ALIKE_LOOKED_AT = 8 };

static char *text_dup(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

/* Strings and arrays are declared const for readers; their owner frees them here. */
static void free_const(const void *ptr)
{
    mem_free((void *)(uintptr_t)ptr);
}

static int32_t *ids_put(int32_t *at, const int32_t *ids, int32_t count)
{
    must(count >= 0);
    if (count > 0) {
        memcpy(at, ids, (size_t)count * sizeof(*at));
    }
    return at + count;
}

static void partition_init(struct meta_partition *to, const struct meta_partition *from)
{
    size_t count = (size_t)(from->replicas_count + from->isr_count + from->offline_count);
    struct ids_block *block = mem_alloc(sizeof(*block) + count * sizeof(block->ids[0]));
    atomic_init(&block->count, 1);
    *to = *from;
    to->replicas = block->ids;
    to->isr = ids_put(block->ids, from->replicas, from->replicas_count);
    to->offline = ids_put(block->ids + from->replicas_count, from->isr, from->isr_count);
    ids_put(block->ids + from->replicas_count + from->isr_count, from->offline,
            from->offline_count);
}

static struct ids_block *block_of(const struct meta_partition *partition)
{
    return container_of((uintptr_t)partition->replicas, struct ids_block, ids);
}

static bool ids_equal(const int32_t *a, int32_t a_count, const int32_t *b, int32_t b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, (size_t)a_count * sizeof(*a)) == 0);
}

static bool ids_alike(const struct meta_partition *a, const struct meta_partition *b)
{
    return ids_equal(a->replicas, a->replicas_count, b->replicas, b->replicas_count) &&
           ids_equal(a->isr, a->isr_count, b->isr, b->isr_count) &&
           ids_equal(a->offline, a->offline_count, b->offline, b->offline_count);
}

static void partition_share(struct meta_partition *to, const struct meta_partition *from)
{
    atomic_fetch_add_explicit(&block_of(from)->count, 1, memory_order_relaxed);
    *to = *from;
}

static void partition_fini(struct meta_partition *partition)
{
    struct ids_block *block = block_of(partition);
    if (ref_drop(&block->count)) {
        mem_free(block);
    }
}

static void topic_empty(struct meta_topic *topic)
{
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        partition_fini(&topic->partitions[i]);
    }
    topic->partitions_count = 0;
}

static void topic_put(struct meta_topic *topic)
{
    if (!ref_drop(&topic->count)) {
        return;
    }
    topic_empty(topic);
    mem_free(topic->partitions);
    free_const(topic->name.ptr);
    mem_free(topic);
}

static struct meta_topic *topic_hold(struct meta_topic *topic)
{
    ref_hold(&topic->count);
    return topic;
}

static struct meta_brokers_block *block_new(const struct meta_broker *brokers, int32_t count)
{
    struct meta_brokers_block *block = mem_new(struct meta_brokers_block);
    atomic_init(&block->count, 1);
    block->brokers_count = count;
    block->brokers = mem_zalloc((size_t)count, sizeof(*block->brokers));
    for (int32_t i = 0; i < count; i++) {
        const struct meta_broker *from = &brokers[i];
        struct meta_endpoint *endpoints =
            mem_zalloc((size_t)from->endpoints_count, sizeof(*endpoints));
        for (int32_t j = 0; j < from->endpoints_count; j++) {
            endpoints[j] = from->endpoints[j];
            endpoints[j].listener = text_dup(from->endpoints[j].listener);
            endpoints[j].host = text_dup(from->endpoints[j].host);
        }
        block->brokers[i] = (struct meta_broker){
            .id = from->id,
            .epoch = from->epoch,
            .rack = text_dup(from->rack),
            .endpoints = endpoints,
            .endpoints_count = from->endpoints_count,
        };
    }
    return block;
}

static void block_put(struct meta_brokers_block *block)
{
    if (!ref_drop(&block->count)) {
        return;
    }
    for (int32_t i = 0; i < block->brokers_count; i++) {
        const struct meta_broker *broker = &block->brokers[i];
        for (int32_t j = 0; j < broker->endpoints_count; j++) {
            free_const(broker->endpoints[j].listener);
            free_const(broker->endpoints[j].host);
        }
        free_const(broker->endpoints);
        free_const(broker->rack);
    }
    mem_free(block->brokers);
    mem_free(block);
}

static int broker_order(const void *a, const void *b)
{
    const struct meta_broker *left = a;
    const struct meta_broker *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static int name_order(const void *key, const void *slot)
{
    const struct str *name = key;
    return str_cmp(*name, (*(struct meta_topic *const *)slot)->name);
}

static int id_order(const void *key, const void *slot)
{
    const struct uuid *id = key;
    return memcmp(id->raw, (*(struct meta_topic *const *)slot)->id.raw, sizeof(id->raw));
}

static int topic_id_order(const void *a, const void *b)
{
    return id_order(&(*(struct meta_topic *const *)a)->id, b);
}

const struct meta_topic *meta_find(const struct meta *meta, struct str name)
{
    struct meta_topic **slot =
        bsearch(&name, meta->by_name, (size_t)meta->topics_count, sizeof(*slot), name_order);
    return slot != NULL ? *slot : NULL;
}

const struct meta_topic *meta_find_id(const struct meta *meta, struct uuid id)
{
    struct meta_topic **slot =
        bsearch(&id, meta->by_id, (size_t)meta->by_id_count, sizeof(*slot), id_order);
    return slot != NULL ? *slot : NULL;
}

/* Where the partition stands, or would be inserted. */
static int32_t partition_place(const struct meta_topic *topic, int32_t index, bool *found)
{
    int32_t low = 0;
    int32_t high = topic->partitions_count;
    /* Nearly always the partitions are 0..n-1, each at its own place. */
    if (index >= 0 && index < high && topic->partitions[index].index == index) {
        low = index;
        high = index;
    }
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (topic->partitions[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < topic->partitions_count && topic->partitions[low].index == index;
    return low;
}

const struct meta_partition *meta_topic_partition(const struct meta_topic *topic, int32_t index)
{
    bool found;
    int32_t at = partition_place(topic, index, &found);
    return found ? &topic->partitions[at] : NULL;
}

const struct meta_broker *meta_find_broker(const struct meta *meta, int32_t id)
{
    struct meta_broker key = {.id = id};
    return bsearch(&key, meta->brokers, (size_t)meta->brokers_count, sizeof(key), broker_order);
}

const struct meta_endpoint *meta_broker_endpoint(const struct meta_broker *broker,
                                                 const char *listener)
{
    for (int32_t i = 0; i < broker->endpoints_count; i++) {
        if (strcmp(broker->endpoints[i].listener, listener) == 0) {
            return &broker->endpoints[i];
        }
    }
    return NULL;
}

static struct meta *meta_empty(void)
{
    struct meta *meta = mem_new(struct meta);
    atomic_init(&meta->count, 1);
    meta->controller_id = -1;
    meta->block = block_new(NULL, 0);
    meta->brokers = meta->block->brokers;
    meta->by_name = mem_alloc(0); /* never NULL: bsearch insists */
    meta->by_id = mem_alloc(0);
    return meta;
}

void meta_put(struct meta *meta)
{
    if (meta == NULL || !ref_drop(&meta->count)) {
        return;
    }
    for (int32_t i = 0; i < meta->topics_count; i++) {
        topic_put(meta->by_name[i]);
    }
    mem_free(meta->by_name);
    mem_free(meta->by_id);
    block_put(meta->block);
    mem_free(meta);
}

struct meta *meta_hold(const struct meta *meta)
{
    struct meta *held = (struct meta *)(uintptr_t)meta;
    ref_hold(&held->count);
    return held;
}

void meta_cell_init(struct meta_cell *cell)
{
    pthread_mutex_init(&cell->lock, NULL);
    cell->current = meta_empty();
    atomic_init(&cell->generation, 1);
}

void meta_cell_fini(struct meta_cell *cell)
{
    meta_put(cell->current);
    cell->current = NULL;
    pthread_mutex_destroy(&cell->lock);
}

struct meta *meta_cell_get(struct meta_cell *cell)
{
    pthread_mutex_lock(&cell->lock);
    struct meta *meta = meta_hold(cell->current);
    pthread_mutex_unlock(&cell->lock);
    return meta;
}

void meta_reader_init(struct meta_reader *reader, struct meta_cell *cell)
{
    *reader = (struct meta_reader){.cell = cell};
}

void meta_reader_fini(struct meta_reader *reader)
{
    meta_put(reader->meta);
    reader->meta = NULL;
}

const struct meta *meta_reader_now(struct meta_reader *reader)
{
    /* Read before the snapshot: an older number only means one refresh too many. */
    uint64_t generation = atomic_load_explicit(&reader->cell->generation, memory_order_acquire);
    if (reader->meta == NULL || generation != reader->generation) {
        meta_put(reader->meta);
        reader->meta = meta_cell_get(reader->cell);
        reader->generation = generation;
    }
    return reader->meta;
}

struct meta_edit {
    struct meta_cell *cell;
    struct meta *next;
    int32_t capacity;
};

struct meta_edit *meta_edit_begin(struct meta_cell *cell)
{
    const struct meta *old = cell->current;
    struct meta_edit *edit = mem_new(struct meta_edit);
    struct meta *next = mem_new(struct meta);
    atomic_init(&next->count, 1);
    next->controller_id = old->controller_id;
    next->block = old->block;
    ref_hold(&next->block->count);
    next->brokers = old->brokers;
    next->brokers_count = old->brokers_count;
    next->topics_count = old->topics_count;
    next->by_name = mem_alloc((size_t)(old->topics_count + 1) * sizeof(*next->by_name));
    for (int32_t i = 0; i < old->topics_count; i++) {
        next->by_name[i] = topic_hold(old->by_name[i]);
    }
    edit->cell = cell;
    edit->next = next;
    edit->capacity = old->topics_count + 1;
    return edit;
}

void meta_edit_controller(struct meta_edit *edit, int32_t controller_id)
{
    edit->next->controller_id = controller_id;
}

void meta_edit_brokers(struct meta_edit *edit, const struct meta_broker *brokers, int32_t count)
{
    block_put(edit->next->block);
    edit->next->block = block_new(brokers, count);
    edit->next->brokers = edit->next->block->brokers;
    edit->next->brokers_count = count;
    if (count > 1) {
        qsort(edit->next->block->brokers, (size_t)count, sizeof(*brokers), broker_order);
    }
}

/* Where the topic stands, or would be inserted. */
static int32_t edit_position(const struct meta *next, struct str name, bool *found)
{
    int32_t low = 0;
    int32_t high = next->topics_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (str_cmp(next->by_name[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = low < next->topics_count && str_eq(next->by_name[low]->name, name);
    return low;
}

static struct meta_topic *topic_new(struct str name, struct uuid id)
{
    struct meta_topic *topic = mem_new(struct meta_topic);
    atomic_init(&topic->count, 1);
    topic->name = (struct str){str_dup(name), name.size};
    topic->id = id;
    return topic;
}

static struct meta_topic *topic_copy(const struct meta_topic *from)
{
    struct meta_topic *topic = topic_new(from->name, from->id);
    topic->partitions_count = from->partitions_count;
    topic->partitions = mem_zalloc((size_t)from->partitions_count, sizeof(*topic->partitions));
    for (int32_t i = 0; i < from->partitions_count; i++) {
        partition_share(&topic->partitions[i], &from->partitions[i]);
    }
    return topic;
}

/* The topic at `at`, as a copy that only this edit holds. */
static struct meta_topic *edit_own(struct meta *next, int32_t at)
{
    struct meta_topic *topic = next->by_name[at];
    /* A topic that only `next` holds was made by this edit: published ones are also held by the
     * cell. */
    if (atomic_load_explicit(&topic->count, memory_order_acquire) > 1) {
        struct meta_topic *copy = topic_copy(topic);
        topic_put(topic);
        next->by_name[at] = copy;
        topic = copy;
    }
    return topic;
}

/* A partition near `at` with the same ids: brokers take turns, so mostly there is one. */
static const struct meta_partition *find_alike(const struct meta_topic *topic, int32_t at,
                                               const struct meta_partition *partition)
{
    for (int32_t i = at - 1; i >= 0 && i >= at - ALIKE_LOOKED_AT; i--) {
        if (ids_alike(&topic->partitions[i], partition)) {
            return &topic->partitions[i];
        }
    }
    return NULL;
}

/* Without ids of its own where another one has them. */
static void topic_fill_partition(struct meta_topic *topic, int32_t at,
                                 const struct meta_partition *partition)
{
    struct meta_partition *to = &topic->partitions[at];
    const struct meta_partition *alike = find_alike(topic, at, partition);
    if (alike == NULL) {
        partition_init(to, partition);
        return;
    }
    struct meta_partition filled = *partition;
    filled.replicas = alike->replicas;
    filled.isr = alike->isr;
    filled.offline = alike->offline;
    partition_share(to, &filled);
}

static void topic_set_partition(struct meta_topic *topic, const struct meta_partition *partition)
{
    bool found;
    int32_t at = partition_place(topic, partition->index, &found);
    if (found) {
        partition_fini(&topic->partitions[at]);
    } else {
        size_t count = (size_t)topic->partitions_count;
        topic->partitions =
            mem_realloc(topic->partitions, (count + 1) * sizeof(*topic->partitions));
        memmove(&topic->partitions[at + 1], &topic->partitions[at],
                (count - (size_t)at) * sizeof(*topic->partitions));
        topic->partitions_count++;
    }
    topic_fill_partition(topic, at, partition);
}

static void edit_insert(struct meta_edit *edit, int32_t at, struct meta_topic *topic)
{
    struct meta *next = edit->next;
    if (next->topics_count == edit->capacity) {
        edit->capacity *= 2;
        next->by_name = mem_realloc(next->by_name, (size_t)edit->capacity * sizeof(*next->by_name));
    }
    memmove(&next->by_name[at + 1], &next->by_name[at],
            (size_t)(next->topics_count - at) * sizeof(*next->by_name));
    next->by_name[at] = topic;
    next->topics_count++;
}

static void edit_erase(struct meta *next, int32_t at)
{
    topic_put(next->by_name[at]);
    next->topics_count--;
    memmove(&next->by_name[at], &next->by_name[at + 1],
            (size_t)(next->topics_count - at) * sizeof(*next->by_name));
}

void meta_edit_partition(struct meta_edit *edit, struct str name, struct uuid id,
                         const struct meta_partition *partition)
{
    bool found;
    int32_t at = edit_position(edit->next, name, &found);
    if (!found) {
        edit_insert(edit, at, topic_new(name, id));
    }
    struct meta_topic *topic = edit_own(edit->next, at);
    if (!uuid_is_zero(id) && !uuid_is_zero(topic->id) && !uuid_eq(id, topic->id)) {
        topic_empty(topic);
    }
    topic->id = uuid_is_zero(id) ? topic->id : id;
    topic_set_partition(topic, partition);
}

void meta_edit_remove(struct meta_edit *edit, struct str name, int32_t partition)
{
    bool found;
    int32_t at = edit_position(edit->next, name, &found);
    if (!found) {
        return;
    }
    struct meta_topic *topic = edit_own(edit->next, at);
    int32_t kept = 0;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        if (topic->partitions[i].index == partition) {
            partition_fini(&topic->partitions[i]);
        } else {
            topic->partitions[kept++] = topic->partitions[i];
        }
    }
    topic->partitions_count = kept;
    if (kept == 0) {
        edit_erase(edit->next, at);
    }
}

static void edit_index_ids(struct meta *next)
{
    next->by_id = mem_alloc((size_t)next->topics_count * sizeof(*next->by_id));
    for (int32_t i = 0; i < next->topics_count; i++) {
        if (!uuid_is_zero(next->by_name[i]->id)) {
            next->by_id[next->by_id_count++] = next->by_name[i];
        }
    }
    if (next->by_id_count > 1) {
        qsort(next->by_id, (size_t)next->by_id_count, sizeof(*next->by_id), topic_id_order);
    }
}

void meta_edit_commit(struct meta_edit *edit)
{
    struct meta_cell *cell = edit->cell;
    edit_index_ids(edit->next);
    pthread_mutex_lock(&cell->lock);
    struct meta *old = cell->current;
    cell->current = edit->next;
    atomic_fetch_add_explicit(&cell->generation, 1, memory_order_release);
    pthread_mutex_unlock(&cell->lock);
    meta_put(old);
    mem_free(edit);
}
