/* fs_sim.c: the table of operations over fs_sim_disk: paths, open files, locks. */
#include "fs/fs_sim.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/must.h"
#include "fs/fs_sim_disk.h"

struct fs_sim {
    struct fs fs; /* first */
    pthread_mutex_t lock;
    struct disk disk;
    uint64_t life; /* files opened in an earlier one are dead */
    int32_t open_files;
    int64_t capacity_bytes;
    int64_t (*now_ms)(void *arg);
    void *now_arg;
    int64_t ticks;
};

struct sim_file {
    struct fs_file file; /* first */
    struct disk_node *node;
    uint64_t life;
    bool writable;
};

static struct fs_sim *enter(struct fs *fs)
{
    struct fs_sim *sim = (struct fs_sim *)(void *)fs;
    pthread_mutex_lock(&sim->lock);
    return sim;
}

static enum err leave(struct fs_sim *sim, enum err err)
{
    pthread_mutex_unlock(&sim->lock);
    return err;
}

static struct sim_file *of(struct fs_file *file)
{
    return (struct sim_file *)(void *)file;
}

static bool dead(const struct fs_sim *sim, struct fs_file *file)
{
    return of(file)->life != sim->life;
}

static void touch(struct fs_sim *sim, struct disk_node *node)
{
    sim->ticks++;
    node->mtime_ms = sim->now_ms != NULL ? sim->now_ms(sim->now_arg) : sim->ticks;
}

/* ---- paths ---- */

/* The first name of `path`, which loses it; empty at the end. */
static struct str take_name(const char **path)
{
    const char *at = *path;
    struct str name;
    do {
        at += strspn(at, "/");
        name = (struct str){at, strcspn(at, "/")};
        at += name.size;
    } while (str_is(name, "."));
    *path = at;
    return name;
}

static struct disk_node *find(const struct fs_sim *sim, const char *path)
{
    struct disk_node *node = sim->disk.root;
    struct str name;
    while (node != NULL && (name = take_name(&path)).size > 0) {
        node = node->is_dir ? disk_lookup(&node->names, name) : NULL;
    }
    return node;
}

/* A path taken apart. */
struct place {
    struct disk_node *dir;
    char *name; /* mem_free */
    struct disk_node *node;
};

/* ERR_NOT_FOUND when there is no such directory; the name itself may be absent. */
static enum err find_place(const struct fs_sim *sim, const char *path, struct place *out)
{
    struct disk_node *dir = sim->disk.root;
    struct str name = take_name(&path);
    for (;;) {
        struct str next = take_name(&path);
        if (next.size == 0) {
            break;
        }
        dir = disk_lookup(&dir->names, name);
        if (dir == NULL || !dir->is_dir) {
            return ERR_NOT_FOUND;
        }
        name = next;
    }
    if (name.size == 0) {
        return ERR_INVALID; /* the root */
    }
    *out = (struct place){dir, str_dup(name), disk_lookup(&dir->names, name)};
    return ERR_OK;
}

static void add_name(struct fs_sim *sim, const struct place *place, struct disk_node *node)
{
    touch(sim, node);
    touch(sim, place->dir);
    disk_change_names(&sim->disk, &(struct disk_change){
                                      .node = node, .to_dir = place->dir, .to_name = place->name});
}

static void remove_name(struct fs_sim *sim, const struct place *place)
{
    touch(sim, place->dir);
    disk_change_names(&sim->disk, &(struct disk_change){.node = place->node,
                                                        .from_dir = place->dir,
                                                        .from_name = place->name});
}

/* ---- space ---- */

/* How far may a file grow? */
static int64_t size_limit(const struct fs_sim *sim, const struct disk_node *node)
{
    if (sim->capacity_bytes == INT64_MAX) {
        return INT64_MAX;
    }
    int64_t room = sim->capacity_bytes - disk_used_bytes(sim->disk.root);
    return (int64_t)node->content.size + (room > 0 ? room : 0);
}

/* ---- files ---- */

static enum err open_node(struct fs_sim *sim, const struct place *place, int flags,
                          struct disk_node **out)
{
    struct disk_node *node = place->node;
    if (node == NULL && (flags & FS_CREATE) == 0) {
        return ERR_NOT_FOUND;
    }
    if (node != NULL && (flags & FS_EXCLUSIVE) != 0) {
        return ERR_EXISTS;
    }
    if (node != NULL && node->is_dir) {
        return ERR_IO;
    }
    if (node == NULL) {
        node = disk_node_new(false);
        add_name(sim, place, node);
    } else {
        (void)disk_node_get(node);
        if ((flags & FS_TRUNCATE) != 0) {
            disk_resize(node, 0);
            touch(sim, node);
        }
    }
    *out = node;
    return ERR_OK;
}

static enum err sim_open(struct fs *fs, const char *path, int flags, struct fs_file **out)
{
    struct fs_sim *sim = enter(fs);
    struct place place;
    struct disk_node *node;
    enum err err = find_place(sim, path, &place);
    if (err != ERR_OK) {
        return leave(sim, err);
    }
    err = open_node(sim, &place, flags, &node);
    mem_free(place.name);
    if (err == ERR_OK) {
        struct sim_file *file = mem_new(struct sim_file);
        file->file.fs = fs;
        file->node = node;
        file->life = sim->life;
        file->writable = (flags & FS_WRITE) != 0;
        sim->open_files++;
        *out = &file->file;
    }
    return leave(sim, err);
}

static void sim_close(struct fs_file *file)
{
    struct fs_sim *sim = enter(file->fs);
    if (of(file)->node->lock_owner == file) {
        of(file)->node->lock_owner = NULL;
    }
    disk_node_put(of(file)->node);
    sim->open_files--;
    mem_free(file);
    (void)leave(sim, ERR_OK);
}

static enum err sim_pread(struct fs_file *file, void *data, size_t size, int64_t offset,
                          size_t *got)
{
    struct fs_sim *sim = enter(file->fs);
    const struct buf *content = &of(file)->node->content;
    *got = 0;
    if (dead(sim, file)) {
        return leave(sim, ERR_IO);
    }
    if (offset < 0) {
        return leave(sim, ERR_INVALID);
    }
    if ((size_t)offset < content->size) {
        size_t rest = content->size - (size_t)offset;
        *got = size < rest ? size : rest;
        memcpy(data, content->data + offset, *got);
    }
    return leave(sim, ERR_OK);
}

static enum err sim_pwritev(struct fs_file *file, const struct iovec *parts, int count,
                            int64_t offset)
{
    struct fs_sim *sim = enter(file->fs);
    struct disk_node *node = of(file)->node;
    enum err err = dead(sim, file) || !of(file)->writable ? ERR_IO : ERR_OK;
    if (err == ERR_OK && offset < 0) {
        err = ERR_INVALID;
    }
    int64_t limit = size_limit(sim, node);
    for (int i = 0; i < count && err == ERR_OK; i++) {
        int64_t room = limit > offset ? limit - offset : 0;
        size_t size = parts[i].iov_len;
        if ((int64_t)size > room) {
            size = (size_t)room;
            err = ERR_NO_SPACE;
        }
        disk_write(node, parts[i].iov_base, size, (size_t)offset);
        touch(sim, node);
        offset += (int64_t)size;
    }
    return leave(sim, err);
}

static enum err sim_size(struct fs_file *file, int64_t *size_bytes)
{
    struct fs_sim *sim = enter(file->fs);
    *size_bytes = (int64_t)of(file)->node->content.size;
    return leave(sim, dead(sim, file) ? ERR_IO : ERR_OK);
}

static enum err sim_sync(struct fs_file *file)
{
    struct fs_sim *sim = enter(file->fs);
    return leave(sim, dead(sim, file) ? ERR_IO : disk_sync(&sim->disk, of(file)->node));
}

static enum err sim_sync_all(struct fs_file *file)
{
    struct fs_sim *sim = enter(file->fs);
    return leave(sim, dead(sim, file) ? ERR_IO : disk_sync_all(&sim->disk));
}

static enum err sim_truncate(struct fs_file *file, int64_t size_bytes)
{
    struct fs_sim *sim = enter(file->fs);
    if (dead(sim, file)) {
        return leave(sim, ERR_IO);
    }
    if (size_bytes < 0 || !of(file)->writable) {
        return leave(sim, ERR_INVALID);
    }
    disk_resize(of(file)->node, (size_t)size_bytes);
    touch(sim, of(file)->node);
    return leave(sim, ERR_OK);
}

static bool sim_cached(struct fs_file *file, int64_t offset, size_t size)
{
    (void)file;
    (void)offset;
    (void)size;
    return true;
}

static int sim_fd(struct fs_file *file)
{
    (void)file;
    return -1;
}

static enum err sim_lock(struct fs_file *file)
{
    struct fs_sim *sim = enter(file->fs);
    struct disk_node *node = of(file)->node;
    if (dead(sim, file)) {
        return leave(sim, ERR_IO);
    }
    if (node->lock_owner != NULL && node->lock_owner != file) {
        return leave(sim, ERR_LOCKED);
    }
    node->lock_owner = file;
    return leave(sim, ERR_OK);
}

/* ---- names ---- */

static enum err sim_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    struct fs_sim *sim = enter(fs);
    const struct disk_node *node = find(sim, path);
    if (node == NULL) {
        return leave(sim, ERR_NOT_FOUND);
    }
    *out = (struct fs_stat){(int64_t)node->content.size, node->mtime_ms, node->is_dir};
    return leave(sim, ERR_OK);
}

static enum err sim_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    struct fs_sim *sim = enter(fs);
    struct disk_node *node = find(sim, path);
    if (node != NULL) {
        node->mtime_ms = mtime_ms;
    }
    return leave(sim, node != NULL ? ERR_OK : ERR_NOT_FOUND);
}

static enum err may_rename(const struct place *from, const struct place *to)
{
    if (from->node == NULL) {
        return ERR_NOT_FOUND;
    }
    if (from->node->is_dir && disk_is_below(from->node, to->dir)) {
        return ERR_INVALID;
    }
    if (to->node == NULL || to->node == from->node) {
        return ERR_OK;
    }
    if (from->node->is_dir != to->node->is_dir) {
        return to->node->is_dir ? ERR_IO : ERR_NOT_FOUND;
    }
    return to->node->names.count > 0 ? ERR_EXISTS : ERR_OK;
}

static enum err sim_rename(struct fs *fs, const char *from_path, const char *to_path)
{
    struct fs_sim *sim = enter(fs);
    struct place from = {0};
    struct place to = {0};
    enum err err = find_place(sim, from_path, &from);
    if (err == ERR_OK) {
        err = find_place(sim, to_path, &to);
    }
    if (err == ERR_OK) {
        err = may_rename(&from, &to);
    }
    if (err == ERR_OK && to.node != from.node) {
        touch(sim, from.dir);
        touch(sim, to.dir);
        disk_change_names(&sim->disk, &(struct disk_change){.node = from.node,
                                                            .from_dir = from.dir,
                                                            .from_name = from.name,
                                                            .to_dir = to.dir,
                                                            .to_name = to.name});
    }
    mem_free(from.name);
    mem_free(to.name);
    return leave(sim, err);
}

static enum err remove_node(struct fs *fs, const char *path, bool dir)
{
    struct fs_sim *sim = enter(fs);
    struct place place = {0};
    enum err err = find_place(sim, path, &place);
    if (err == ERR_OK && place.node == NULL) {
        err = ERR_NOT_FOUND;
    }
    if (err == ERR_OK && place.node->is_dir != dir) {
        err = dir ? ERR_NOT_FOUND : ERR_IO; /* ENOTDIR, EISDIR */
    }
    if (err == ERR_OK && place.node->names.count > 0) {
        err = ERR_EXISTS;
    }
    if (err == ERR_OK) {
        remove_name(sim, &place);
    }
    mem_free(place.name);
    return leave(sim, err);
}

static enum err sim_unlink(struct fs *fs, const char *path)
{
    return remove_node(fs, path, false);
}

static enum err sim_rmdir(struct fs *fs, const char *path)
{
    return remove_node(fs, path, true);
}

static enum err sim_mkdir(struct fs *fs, const char *path)
{
    struct fs_sim *sim = enter(fs);
    struct place place = {0};
    enum err err = find_place(sim, path, &place);
    if (err == ERR_OK && place.node != NULL) {
        err = ERR_EXISTS;
    }
    if (err == ERR_OK) {
        struct disk_node *node = disk_node_new(true);
        add_name(sim, &place, node);
        disk_node_put(node);
    }
    mem_free(place.name);
    return leave(sim, err == ERR_INVALID ? ERR_EXISTS : err);
}

static enum err sim_sync_dir(struct fs *fs, const char *path)
{
    struct fs_sim *sim = enter(fs);
    struct disk_node *node = find(sim, path);
    if (node == NULL || !node->is_dir) {
        return leave(sim, ERR_NOT_FOUND);
    }
    disk_sync_names(&sim->disk, node);
    return leave(sim, ERR_OK);
}

/* The callback may change the directory: it is called without the lock, over a copy. */
static enum err sim_list(struct fs *fs, const char *path, fs_list_fn *fn, void *arg)
{
    struct fs_sim *sim = enter(fs);
    const struct disk_node *dir = find(sim, path);
    if (dir == NULL || !dir->is_dir) {
        return leave(sim, ERR_NOT_FOUND);
    }
    int32_t count = dir->names.count;
    char **names = mem_zalloc((size_t)count + 1, sizeof(*names));
    bool *are_dirs = mem_zalloc((size_t)count + 1, sizeof(*are_dirs));
    for (int32_t i = 0; i < count; i++) {
        names[i] = mem_strdup(dir->names.items[i].name);
        are_dirs[i] = dir->names.items[i].node->is_dir;
    }
    (void)leave(sim, ERR_OK);
    enum err err = ERR_OK;
    for (int32_t i = 0; i < count; i++) {
        if (err == ERR_OK) {
            err = fn(arg, names[i], are_dirs[i]);
        }
        mem_free(names[i]);
    }
    mem_free(names);
    mem_free(are_dirs);
    return err;
}

static enum err sim_space(struct fs *fs, const char *path, int64_t *total_bytes,
                          int64_t *usable_bytes)
{
    enum { UNLIMITED_GIB = 1024 };
    struct fs_sim *sim = enter(fs);
    if (find(sim, path) == NULL) {
        return leave(sim, ERR_NOT_FOUND);
    }
    bool limited = sim->capacity_bytes != INT64_MAX;
    int64_t used = disk_used_bytes(sim->disk.root);
    *total_bytes = limited ? sim->capacity_bytes : (int64_t)UNLIMITED_GIB << 30;
    *usable_bytes = *total_bytes > used ? *total_bytes - used : 0;
    return leave(sim, ERR_OK);
}

static const struct fs_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pread_cached = sim_pread,
    .pwritev = sim_pwritev,
    .size = sim_size,
    .sync = sim_sync,
    .sync_all = sim_sync_all,
    .truncate = sim_truncate,
    .cached = sim_cached,
    .fd = sim_fd,
    .stat = sim_stat,
    .set_mtime = sim_set_mtime,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .space = sim_space,
    .lock = sim_lock,
};

/* ---- the machine ---- */

struct fs_sim *fs_sim_new(uint64_t seed)
{
    struct fs_sim *sim = mem_new(struct fs_sim);
    sim->fs.ops = &sim_ops;
    sim->capacity_bytes = INT64_MAX;
    pthread_mutex_init(&sim->lock, NULL);
    disk_init(&sim->disk, seed);
    return sim;
}

void fs_sim_free(struct fs_sim *sim)
{
    if (sim != NULL) {
        must(sim->open_files == 0);
        disk_fini(&sim->disk);
        pthread_mutex_destroy(&sim->lock);
        mem_free(sim);
    }
}

struct fs *fs_sim_fs(struct fs_sim *sim)
{
    return &sim->fs;
}

void fs_sim_crash(struct fs_sim *sim)
{
    (void)enter(&sim->fs);
    sim->life++;
    disk_crash(&sim->disk);
    (void)leave(sim, ERR_OK);
}

void fs_sim_kill(struct fs_sim *sim)
{
    (void)enter(&sim->fs);
    sim->life++;
    disk_drop_locks(sim->disk.root);
    (void)leave(sim, ERR_OK);
}

void fs_sim_set_capacity(struct fs_sim *sim, int64_t bytes)
{
    (void)enter(&sim->fs);
    sim->capacity_bytes = bytes;
    (void)leave(sim, ERR_OK);
}

void fs_sim_fail_sync(struct fs_sim *sim, int64_t after)
{
    (void)enter(&sim->fs);
    sim->disk.sync_failure = after;
    (void)leave(sim, ERR_OK);
}

void fs_sim_set_time(struct fs_sim *sim, int64_t (*now_ms)(void *arg), void *arg)
{
    sim->now_ms = now_ms;
    sim->now_arg = arg;
}

uint64_t fs_sim_digest(struct fs_sim *sim)
{
    (void)enter(&sim->fs);
    uint64_t hash = disk_digest(sim->disk.root, 0);
    (void)leave(sim, ERR_OK);
    return hash;
}
