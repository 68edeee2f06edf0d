/* fs_watch.c: each operation enters a slot, does what the file system behind does, and leaves it.
 *
 * A slot is one word: when the call began (ms, monotonic, plus 1), the root and whether a loop
 * waits; 0: free. So whoever looks sees a call whole or not at all.
 *
 * No wake-up is lost: a call stores its slot and then reads `asleep`; who wants to sleep stores
 * `asleep` and then looks at the slots. Both in one total order, so one of them sees the other. */
#include "fs/fs_watch.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "rt/loop.h"

enum { ROOT_SHIFT = 1, TIME_SHIFT = 8 };

struct fs_watch {
    struct fs fs; /* first */
    struct fs *inner;
    struct clock *clock;
    char *roots[FS_WATCH_ROOTS];
    int roots_count;
    _Atomic uint64_t slots[FS_WATCH_SLOTS];
    _Atomic uint64_t changes[FS_WATCH_ROOTS + 1];
    _Atomic bool asleep;
    void (*wake)(void *arg);
    void *arg;
};

struct watch_file {
    struct fs_file file; /* first */
    struct fs_file *inner;
    int root;
};

static struct fs_watch *of(struct fs *fs)
{
    return (struct fs_watch *)(void *)fs;
}

static struct fs_file *inner_of(struct fs_file *file)
{
    return ((struct watch_file *)(void *)file)->inner;
}

static int root_of(const struct fs_watch *watch, const char *path)
{
    for (int i = 0; i < watch->roots_count; i++) {
        size_t size = strlen(watch->roots[i]);
        if (strncmp(path, watch->roots[i], size) == 0 &&
            (path[size] == '/' || path[size] == '\0')) {
            return i;
        }
    }
    return FS_WATCH_ELSEWHERE;
}

/* ---- slots ---- */

static void wake_up(struct fs_watch *watch)
{
    if (atomic_exchange(&watch->asleep, false)) {
        watch->wake(watch->arg);
    }
}

/* Threads come back to the slot that they had. NULL: all are taken. */
static _Atomic uint64_t *enter(struct fs_watch *watch, int root, bool changes)
{
    static _Thread_local unsigned at;
    uint64_t since = (uint64_t)clock_mono_ms(watch->clock) + 1;
    uint64_t word =
        since << TIME_SHIFT | (uint64_t)root << ROOT_SHIFT | (loop_current() != NULL ? 1u : 0u);
    if (changes) {
        atomic_fetch_add_explicit(&watch->changes[root], 1, memory_order_relaxed);
    }
    for (unsigned i = 0; i < FS_WATCH_SLOTS; i++) {
        uint64_t expected = 0;
        _Atomic uint64_t *slot = &watch->slots[(at + i) % FS_WATCH_SLOTS];
        if (atomic_compare_exchange_strong(slot, &expected, word)) {
            at = (at + i) % FS_WATCH_SLOTS;
            if (atomic_load(&watch->asleep)) {
                wake_up(watch);
            }
            return slot;
        }
    }
    return NULL;
}

static enum err leave(_Atomic uint64_t *slot, enum err err)
{
    if (slot != NULL) {
        atomic_store_explicit(slot, 0, memory_order_release);
    }
    return err;
}

static _Atomic uint64_t *enter_file(struct fs_file *file, bool changes)
{
    return enter(of(file->fs), ((struct watch_file *)(void *)file)->root, changes);
}

static _Atomic uint64_t *enter_path(struct fs *fs, const char *path, bool changes)
{
    return enter(of(fs), root_of(of(fs), path), changes);
}

int fs_watch_look(struct fs_watch *watch, struct fs_watch_call *calls)
{
    int count = 0;
    for (int i = 0; i < FS_WATCH_SLOTS; i++) {
        uint64_t word = atomic_load(&watch->slots[i]);
        if (word != 0) {
            calls[count++] = (struct fs_watch_call){
                .root = (int)(word >> ROOT_SHIFT & 0x7f),
                .on_loop = (word & 1) != 0,
                .since_ms = (int64_t)(word >> TIME_SHIFT) - 1,
            };
        }
    }
    return count;
}

uint64_t fs_watch_changes(struct fs_watch *watch, int root)
{
    return atomic_load_explicit(&watch->changes[root], memory_order_relaxed);
}

void fs_watch_wake_at_next(struct fs_watch *watch, void (*wake)(void *arg), void *arg)
{
    watch->wake = wake;
    watch->arg = arg;
    atomic_store(&watch->asleep, true);
}

/* ---- files ---- */

static enum err watch_open(struct fs *fs, const char *path, int flags, struct fs_file **out)
{
    struct fs_file *inner;
    bool changes = (flags & (FS_CREATE | FS_TRUNCATE)) != 0;
    _Atomic uint64_t *slot = enter_path(fs, path, changes);
    enum err err = leave(slot, fs_open(of(fs)->inner, path, flags, &inner));
    if (err != ERR_OK) {
        return err;
    }
    struct watch_file *file = mem_new(struct watch_file);
    file->file.fs = fs;
    file->inner = inner;
    file->root = root_of(of(fs), path);
    *out = &file->file;
    return ERR_OK;
}

static void watch_close(struct fs_file *file)
{
    _Atomic uint64_t *slot = enter_file(file, false);
    fs_close(inner_of(file));
    (void)leave(slot, ERR_OK);
    mem_free(file);
}

static enum err watch_pread(struct fs_file *file, void *data, size_t size, int64_t offset,
                            size_t *got)
{
    _Atomic uint64_t *slot = enter_file(file, false);
    return leave(slot, fs_pread(inner_of(file), data, size, offset, got));
}

static enum err watch_pwritev(struct fs_file *file, const struct iovec *parts, int count,
                              int64_t offset)
{
    _Atomic uint64_t *slot = enter_file(file, true);
    return leave(slot, fs_pwritev(inner_of(file), parts, count, offset));
}

static enum err watch_size(struct fs_file *file, int64_t *size_bytes)
{
    _Atomic uint64_t *slot = enter_file(file, false);
    return leave(slot, fs_size(inner_of(file), size_bytes));
}

static enum err watch_sync(struct fs_file *file)
{
    _Atomic uint64_t *slot = enter_file(file, false);
    return leave(slot, fs_sync(inner_of(file)));
}

static enum err watch_sync_all(struct fs_file *file)
{
    _Atomic uint64_t *slot = enter_file(file, false);
    return leave(slot, fs_sync_all(inner_of(file)));
}

static enum err watch_truncate(struct fs_file *file, int64_t size_bytes)
{
    _Atomic uint64_t *slot = enter_file(file, true);
    return leave(slot, fs_truncate(inner_of(file), size_bytes));
}

/* It never waits for the disk, so there is nothing to watch. */
static enum err watch_pread_cached(struct fs_file *file, void *data, size_t size, int64_t offset,
                                   size_t *got)
{
    return fs_pread_cached(inner_of(file), data, size, offset, got);
}

static bool watch_cached(struct fs_file *file, int64_t offset, size_t size)
{
    return fs_cached(inner_of(file), offset, size);
}

static int watch_fd(struct fs_file *file)
{
    return fs_fd(inner_of(file));
}

static enum err watch_lock(struct fs_file *file)
{
    _Atomic uint64_t *slot = enter_file(file, false);
    return leave(slot, fs_lock(inner_of(file)));
}

/* ---- names ---- */

static enum err watch_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    _Atomic uint64_t *slot = enter_path(fs, path, false);
    return leave(slot, fs_stat(of(fs)->inner, path, out));
}

static enum err watch_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    _Atomic uint64_t *slot = enter_path(fs, path, true);
    return leave(slot, fs_set_mtime(of(fs)->inner, path, mtime_ms));
}

static enum err watch_rename(struct fs *fs, const char *from, const char *to)
{
    _Atomic uint64_t *slot = enter_path(fs, from, true);
    return leave(slot, fs_rename(of(fs)->inner, from, to));
}

static enum err watch_unlink(struct fs *fs, const char *path)
{
    _Atomic uint64_t *slot = enter_path(fs, path, true);
    return leave(slot, fs_unlink(of(fs)->inner, path));
}

static enum err watch_mkdir(struct fs *fs, const char *path)
{
    _Atomic uint64_t *slot = enter_path(fs, path, true);
    return leave(slot, fs_mkdir(of(fs)->inner, path));
}

static enum err watch_rmdir(struct fs *fs, const char *path)
{
    _Atomic uint64_t *slot = enter_path(fs, path, true);
    return leave(slot, fs_rmdir(of(fs)->inner, path));
}

static enum err watch_sync_dir(struct fs *fs, const char *path)
{
    _Atomic uint64_t *slot = enter_path(fs, path, false);
    return leave(slot, fs_sync_dir(of(fs)->inner, path));
}

/* The callback makes calls of its own, and takes the time that it takes: only the beginning is
 * seen. */
static enum err watch_list(struct fs *fs, const char *path, fs_list_fn *fn, void *arg)
{
    (void)leave(enter_path(fs, path, false), ERR_OK);
    return fs_list(of(fs)->inner, path, fn, arg);
}

static enum err watch_space(struct fs *fs, const char *path, int64_t *total_bytes,
                            int64_t *usable_bytes)
{
    _Atomic uint64_t *slot = enter_path(fs, path, false);
    return leave(slot, fs_space(of(fs)->inner, path, total_bytes, usable_bytes));
}

static const struct fs_ops watch_ops = {
    .open = watch_open,
    .close = watch_close,
    .pread = watch_pread,
    .pwritev = watch_pwritev,
    .size = watch_size,
    .sync = watch_sync,
    .sync_all = watch_sync_all,
    .truncate = watch_truncate,
    .pread_cached = watch_pread_cached,
    .cached = watch_cached,
    .fd = watch_fd,
    .stat = watch_stat,
    .set_mtime = watch_set_mtime,
    .rename = watch_rename,
    .unlink = watch_unlink,
    .mkdir = watch_mkdir,
    .rmdir = watch_rmdir,
    .sync_dir = watch_sync_dir,
    .list = watch_list,
    .space = watch_space,
    .lock = watch_lock,
};

/* ---- life ---- */

struct fs_watch *fs_watch_new(struct fs *inner, struct clock *clock)
{
    struct fs_watch *watch = mem_new(struct fs_watch);
    watch->fs.ops = &watch_ops;
    watch->inner = inner;
    watch->clock = clock;
    return watch;
}

void fs_watch_free(struct fs_watch *watch)
{
    if (watch != NULL) {
        for (int i = 0; i < watch->roots_count; i++) {
            mem_free(watch->roots[i]);
        }
        mem_free(watch);
    }
}

struct fs *fs_watch_fs(struct fs_watch *watch)
{
    return &watch->fs;
}

int fs_watch_root(struct fs_watch *watch, const char *path)
{
    if (watch->roots_count == FS_WATCH_ROOTS) {
        return FS_WATCH_ELSEWHERE;
    }
    watch->roots[watch->roots_count] = mem_strdup(path);
    return watch->roots_count++;
}
