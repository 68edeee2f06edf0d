/* fs_sim_disk.h: what fs_sim keeps: nodes with two images, and the changes of names between them.
 *
 * A name change is one of: set `to_name` in `to_dir` to `node` (creation), remove `from_name` from
 * `from_dir` if it is `node` (removal), or both (rename). The volatile directories have it at once;
 * it waits in `changes`, in order, until a sync of one of its directories, or a crash, decides
 * about the durable ones.
 *
 * Ownership: nodes are counted: by each entry of either image, each waiting change (its directories
 * too), each open file. Threads: under fs_sim's lock. */
#pragma once

#include "base/bytes.h"
#include "base/list.h"
#include "base/rng.h"
#include "fs/fs.h"

struct disk_entry {
    char *name;
    struct disk_node *node;
};

struct disk_names {
    struct disk_entry *items; /* in order of creation */
    int32_t count;
    int32_t capacity;
};

struct disk_node {
    int32_t count;
    bool is_dir;
    int64_t mtime_ms;
    const void *lock_owner;
    /* A directory's. */
    struct disk_names names;
    struct disk_names durable_names;
    /* A file's. Both images differ at most within [dirty_from, dirty_to), and where a sync failed.
     */
    struct buf content;
    struct buf durable;
    size_t dirty_from;
    size_t dirty_to;
};

struct disk {
    struct disk_node *root;
    struct list changes;
    struct rng rng;
    int64_t sync_failure; /* syncs that pass before the one that fails; -1: none fails */
};

void disk_init(struct disk *disk, uint64_t seed);
void disk_fini(struct disk *disk);

struct disk_node *disk_node_new(bool is_dir);
struct disk_node *disk_node_get(struct disk_node *node);
void disk_node_put(struct disk_node *node);

/* NULL when there is no such name. */
struct disk_node *disk_lookup(const struct disk_names *names, struct str name);

/* What a rename, a creation or a removal does; the unused half is NULL. */
struct disk_change {
    struct list link;
    struct disk_node *node;
    struct disk_node *from_dir;
    char *from_name;
    struct disk_node *to_dir;
    char *to_name;
};

/* Change the volatile image now; the durable one later. The names are copied. */
void disk_change_names(struct disk *disk, const struct disk_change *change);

/* The names in `dir`, and whatever they rest upon, are durable. */
void disk_sync_names(struct disk *disk, struct disk_node *dir);

void disk_write(struct disk_node *node, const void *data, size_t size, size_t offset);
void disk_resize(struct disk_node *node, size_t size);
MUST_USE enum err disk_sync(struct disk *disk, struct disk_node *node);

/* Every file, and all names. The first file that fails is reported; the others are synced. */
MUST_USE enum err disk_sync_all(struct disk *disk);

/* Decide what is left; both images are equal then. */
void disk_crash(struct disk *disk);

/* Of everything below, the node included. */
int64_t disk_used_bytes(const struct disk_node *node);
void disk_drop_locks(struct disk_node *node);
uint64_t disk_digest(const struct disk_node *node, uint64_t hash);

/* Is `inner` `outer` itself or somewhere below it? */
bool disk_is_below(const struct disk_node *outer, const struct disk_node *inner);
