/* fs_sim_disk.c: images, syncs and crashes of the file system in memory. */
#include "fs/fs_sim_disk.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/must.h"
#include "fs/fs_sim.h"

/* ---- names ---- */

static int32_t find_name(const struct disk_names *names, struct str name)
{
    for (int32_t i = 0; i < names->count; i++) {
        if (str_eq(str_of(names->items[i].name), name)) {
            return i;
        }
    }
    return -1;
}

struct disk_node *disk_lookup(const struct disk_names *names, struct str name)
{
    int32_t at = find_name(names, name);
    return at >= 0 ? names->items[at].node : NULL;
}

static void names_set(struct disk_names *names, const char *name, struct disk_node *node)
{
    int32_t at = find_name(names, str_of(name));
    (void)disk_node_get(node);
    if (at >= 0) {
        disk_node_put(names->items[at].node);
        names->items[at].node = node;
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity > 0 ? names->capacity * 2 : 8;
        names->items = mem_realloc(names->items, (size_t)names->capacity * sizeof(names->items[0]));
    }
    names->items[names->count++] = (struct disk_entry){mem_strdup(name), node};
}

static void names_remove(struct disk_names *names, const char *name, const struct disk_node *node)
{
    int32_t at = find_name(names, str_of(name));
    if (at < 0 || names->items[at].node != node) {
        return;
    }
    mem_free(names->items[at].name);
    disk_node_put(names->items[at].node);
    names->count--;
    memmove(&names->items[at], &names->items[at + 1],
            (size_t)(names->count - at) * sizeof(names->items[0]));
}

static void names_fini(struct disk_names *names)
{
    for (int32_t i = 0; i < names->count; i++) {
        mem_free(names->items[i].name);
        disk_node_put(names->items[i].node);
    }
    mem_free(names->items);
    *names = (struct disk_names){0};
}

static void names_copy(struct disk_names *to, const struct disk_names *from)
{
    names_fini(to);
    for (int32_t i = 0; i < from->count; i++) {
        names_set(to, from->items[i].name, from->items[i].node);
    }
}

/* ---- nodes ---- */

struct disk_node *disk_node_new(bool is_dir)
{
    struct disk_node *node = mem_new(struct disk_node);
    node->count = 1;
    node->is_dir = is_dir;
    return node;
}

struct disk_node *disk_node_get(struct disk_node *node)
{
    must(node->count > 0);
    node->count++;
    return node;
}

void disk_node_put(struct disk_node *node)
{
    if (node == NULL || --node->count > 0) {
        return;
    }
    names_fini(&node->names);
    names_fini(&node->durable_names);
    buf_fini(&node->content);
    buf_fini(&node->durable);
    mem_free(node);
}

/* ---- changes of names ---- */

static struct disk_node *get_or_null(struct disk_node *node)
{
    return node != NULL ? disk_node_get(node) : NULL;
}

static void change_free(struct disk_change *change)
{
    list_remove(&change->link);
    disk_node_put(change->node);
    disk_node_put(change->from_dir);
    disk_node_put(change->to_dir);
    mem_free(change->from_name);
    mem_free(change->to_name);
    mem_free(change);
}

static void apply_durably(const struct disk_change *change)
{
    if (change->from_dir != NULL) {
        names_remove(&change->from_dir->durable_names, change->from_name, change->node);
    }
    if (change->to_dir != NULL) {
        names_set(&change->to_dir->durable_names, change->to_name, change->node);
    }
}

void disk_change_names(struct disk *disk, const struct disk_change *change)
{
    struct disk_change *waiting = mem_new(struct disk_change);
    waiting->node = disk_node_get(change->node);
    waiting->from_dir = get_or_null(change->from_dir);
    waiting->to_dir = get_or_null(change->to_dir);
    waiting->from_name = change->from_name != NULL ? mem_strdup(change->from_name) : NULL;
    waiting->to_name = change->to_name != NULL ? mem_strdup(change->to_name) : NULL;
    list_push_back(&disk->changes, &waiting->link);
    if (waiting->to_dir != NULL) {
        names_set(&waiting->to_dir->names, waiting->to_name, waiting->node);
    }
    if (waiting->from_dir != NULL) {
        names_remove(&waiting->from_dir->names, waiting->from_name, waiting->node);
    }
}

/* A rename ties two directories together: what happened earlier in the other one comes along. At
 * most two directories per change and few changes wait, so a repeated walk is good enough. */
struct dir_set {
    struct disk_node **items;
    int32_t count;
};

static bool set_has(const struct dir_set *set, const struct disk_node *dir)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (set->items[i] == dir) {
            return true;
        }
    }
    return false;
}

static void set_add(struct dir_set *set, struct disk_node *dir)
{
    if (dir != NULL && !set_has(set, dir)) {
        set->items = mem_realloc(set->items, ((size_t)set->count + 1) * sizeof(set->items[0]));
        set->items[set->count++] = dir;
    }
}

void disk_sync_names(struct disk *disk, struct disk_node *dir)
{
    struct dir_set dirs = {0};
    struct list chosen;
    list_init(&chosen);
    set_add(&dirs, dir);
    for (struct list *at = disk->changes.prev, *before; at != &disk->changes; at = before) {
        struct disk_change *change = container_of(at, struct disk_change, link);
        before = at->prev;
        if (set_has(&dirs, change->from_dir) || set_has(&dirs, change->to_dir)) {
            set_add(&dirs, change->from_dir);
            set_add(&dirs, change->to_dir);
            list_remove(at);
            list_push_front(&chosen, at);
        }
    }
    list_for_each_safe (at, &chosen) {
        struct disk_change *change = container_of(at, struct disk_change, link);
        apply_durably(change);
        change_free(change);
    }
    mem_free(dirs.items);
}

/* ---- content ---- */

static void mark_dirty(struct disk_node *node, size_t from, size_t to)
{
    if (from >= to) {
        return;
    }
    bool clean = node->dirty_from >= node->dirty_to;
    node->dirty_from = clean || from < node->dirty_from ? from : node->dirty_from;
    node->dirty_to = clean || to > node->dirty_to ? to : node->dirty_to;
}

/* New bytes are zeros. */
static void resize(struct buf *image, size_t size)
{
    if (size > image->size) {
        size_t more = size - image->size;
        memset(buf_extend(image, more), 0, more);
    }
    image->size = size;
}

void disk_resize(struct disk_node *node, size_t size)
{
    size_t old = node->content.size;
    mark_dirty(node, size < old ? size : old, size < old ? old : size);
    resize(&node->content, size);
}

void disk_write(struct disk_node *node, const void *data, size_t size, size_t offset)
{
    if (size == 0) {
        return;
    }
    if (offset + size > node->content.size) {
        disk_resize(node, offset + size);
    }
    memcpy(node->content.data + offset, data, size);
    mark_dirty(node, offset, offset + size);
}

enum err disk_sync(struct disk *disk, struct disk_node *node)
{
    size_t from = node->dirty_from;
    size_t to = node->dirty_to < node->content.size ? node->dirty_to : node->content.size;
    node->dirty_from = 0;
    node->dirty_to = 0;
    if (disk->sync_failure >= 0 && disk->sync_failure-- == 0) {
        return ERR_IO; /* what was dirty is clean now, and lost */
    }
    resize(&node->durable, node->content.size);
    if (from < to) {
        memcpy(node->durable.data + from, node->content.data + from, to - from);
    }
    return ERR_OK;
}

static enum err sync_tree(struct disk *disk, struct disk_node *node)
{
    enum err err = ERR_OK;
    if (!node->is_dir) {
        /* A clean file has nothing to fail with. */
        bool dirty = node->dirty_from < node->dirty_to || node->durable.size != node->content.size;
        return dirty ? disk_sync(disk, node) : ERR_OK;
    }
    for (int32_t i = 0; i < node->names.count; i++) {
        enum err one = sync_tree(disk, node->names.items[i].node);
        err = err == ERR_OK ? one : err;
    }
    return err;
}

enum err disk_sync_all(struct disk *disk)
{
    enum err err = sync_tree(disk, disk->root);
    list_for_each_safe (at, &disk->changes) {
        struct disk_change *change = container_of(at, struct disk_change, link);
        list_remove(at);
        apply_durably(change);
        change_free(change);
    }
    return err;
}

/* ---- the crash ---- */

static void crash_names(struct disk *disk)
{
    enum { NONE, ALL, PREFIX, SUBSET, MODES };
    uint64_t mode = rng_below(&disk->rng, MODES);
    bool on = mode != NONE;
    list_for_each_safe (at, &disk->changes) {
        struct disk_change *change = container_of(at, struct disk_change, link);
        if (mode == PREFIX && rng_one_in(&disk->rng, 4)) {
            on = false;
        }
        if (mode == SUBSET) {
            on = rng_one_in(&disk->rng, 2);
        }
        if (on) {
            apply_durably(change);
        }
        change_free(change);
    }
}

static size_t crash_size(struct disk *disk, size_t durable, size_t now)
{
    size_t low = durable < now ? durable : now;
    size_t high = durable < now ? now : durable;
    size_t sectors = (high - low) / FS_SIM_SECTOR_BYTES;
    switch (rng_below(&disk->rng, 3)) {
    case 0:
        return durable;
    case 1:
        return now;
    default:
        return low + (size_t)rng_below(&disk->rng, sectors + 1) * FS_SIM_SECTOR_BYTES;
    }
}

/* Some of the unsynced sectors have reached the disk. */
static void crash_sectors(struct disk *disk, struct disk_node *node)
{
    size_t size = crash_size(disk, node->durable.size, node->content.size);
    resize(&node->durable, size);
    size_t end = node->dirty_to < size ? node->dirty_to : size;
    end = end < node->content.size ? end : node->content.size;
    for (size_t at = node->dirty_from; at < end;) {
        size_t next = (at / FS_SIM_SECTOR_BYTES + 1) * FS_SIM_SECTOR_BYTES;
        next = next < end ? next : end;
        if (rng_one_in(&disk->rng, 2)) {
            memcpy(node->durable.data + at, node->content.data + at, next - at);
        }
        at = next;
    }
}

static void crash_content(struct disk *disk, struct disk_node *node)
{
    enum { NONE, ALL, SECTORS, MODES };
    if (node->dirty_from < node->dirty_to) {
        uint64_t mode = rng_below(&disk->rng, MODES);
        if (mode == ALL) {
            int64_t failure = disk->sync_failure;
            disk->sync_failure = -1;
            enum err err = disk_sync(disk, node);
            must(err == ERR_OK);
            disk->sync_failure = failure;
        } else if (mode == SECTORS) {
            crash_sectors(disk, node);
        }
    }
    node->dirty_from = 0;
    node->dirty_to = 0;
    buf_clear(&node->content);
    if (node->durable.size > 0) {
        buf_put(&node->content, node->durable.data, node->durable.size);
    }
}

static void crash_node(struct disk *disk, struct disk_node *node)
{
    node->lock_owner = NULL;
    if (!node->is_dir) {
        crash_content(disk, node);
        return;
    }
    names_copy(&node->names, &node->durable_names);
    for (int32_t i = 0; i < node->names.count; i++) {
        crash_node(disk, node->names.items[i].node);
    }
}

void disk_crash(struct disk *disk)
{
    crash_names(disk);
    crash_node(disk, disk->root);
}

void disk_init(struct disk *disk, uint64_t seed)
{
    *disk = (struct disk){.root = disk_node_new(true), .sync_failure = -1};
    list_init(&disk->changes);
    rng_seed(&disk->rng, seed);
}

void disk_fini(struct disk *disk)
{
    list_for_each_safe (at, &disk->changes) {
        change_free(container_of(at, struct disk_change, link));
    }
    disk_node_put(disk->root);
}

/* ---- walks over the volatile image ---- */

int64_t disk_used_bytes(const struct disk_node *node)
{
    int64_t total = (int64_t)node->content.size;
    for (int32_t i = 0; i < node->names.count; i++) {
        total += disk_used_bytes(node->names.items[i].node);
    }
    return total;
}

bool disk_is_below(const struct disk_node *outer, const struct disk_node *inner)
{
    bool below = outer == inner;
    for (int32_t i = 0; i < outer->names.count && !below; i++) {
        below = disk_is_below(outer->names.items[i].node, inner);
    }
    return below;
}

void disk_drop_locks(struct disk_node *node)
{
    node->lock_owner = NULL;
    for (int32_t i = 0; i < node->names.count; i++) {
        disk_drop_locks(node->names.items[i].node);
    }
}

static int name_order(const void *a, const void *b)
{
    const struct disk_entry *const *left = a;
    const struct disk_entry *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

uint64_t disk_digest(const struct disk_node *node, uint64_t hash)
{
    hash = bytes_hash(&node->is_dir, sizeof(node->is_dir), hash);
    hash = bytes_hash(&node->content.size, sizeof(node->content.size), hash);
    hash = bytes_hash(node->content.data, node->content.size, hash);
    int32_t count = node->names.count;
    const struct disk_entry **sorted = mem_zalloc((size_t)count + 1, sizeof(*sorted));
    for (int32_t i = 0; i < count; i++) {
        sorted[i] = &node->names.items[i];
    }
    qsort(sorted, (size_t)count, sizeof(*sorted), name_order);
    for (int32_t i = 0; i < count; i++) {
        hash = bytes_hash(sorted[i]->name, strlen(sorted[i]->name) + 1, hash);
        hash = disk_digest(sorted[i]->node, hash);
    }
    mem_free(sorted);
    return hash;
}
