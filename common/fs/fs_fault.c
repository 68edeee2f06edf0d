/* fs_fault.c: each operation asks turn() first, and then does what the file system behind does. */
#include "fs/fs_fault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"

struct fs_fault {
    struct fs fs; /* first */
    struct fs *inner;
    struct fs_fault_plan plan;
    pthread_mutex_t lock; /* a leaf: guards the counts */
    int64_t passed;       /* calls that the plan counted and let pass */
    int64_t hits;
    _Atomic int64_t calls[FS_OP_COUNT];
    _Atomic bool cold;
    fs_fault_hook *hook;
    void *arg;
};

struct fault_file {
    struct fs_file file; /* first */
    struct fs_file *inner;
    char *path;
};

static struct fs_fault *of(struct fs *fs)
{
    return (struct fs_fault *)(void *)fs;
}

static struct fs_file *inner_of(struct fs_file *file)
{
    return ((struct fault_file *)(void *)file)->inner;
}

/* A call comes: count it. ERR_OK: it may pass. */
static enum err turn(struct fs_fault *fault, enum fs_op op, const char *path)
{
    if (fault->hook != NULL) {
        fault->hook(fault->arg, op, path);
    }
    atomic_fetch_add(&fault->calls[op], 1);
    enum err err = ERR_OK;
    pthread_mutex_lock(&fault->lock);
    const struct fs_fault_plan *plan = &fault->plan;
    if ((plan->ops & FS_OP_BIT(op)) != 0 &&
        (plan->path == NULL || strstr(path, plan->path) != NULL)) {
        if (fault->passed < plan->after) {
            fault->passed++;
        } else if (fault->hits < plan->repeat) {
            fault->hits++;
            err = plan->err;
        }
    }
    pthread_mutex_unlock(&fault->lock);
    return err;
}

static enum err file_turn(struct fs_file *file, enum fs_op op)
{
    return turn(of(file->fs), op, ((struct fault_file *)(void *)file)->path);
}

/* ---- files ---- */

static enum err fault_open(struct fs *fs, const char *path, int flags, struct fs_file **out)
{
    struct fs_file *inner;
    enum err err = turn(of(fs), FS_OP_OPEN, path);
    if (err == ERR_OK) {
        err = fs_open(of(fs)->inner, path, flags, &inner);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct fault_file *file = mem_new(struct fault_file);
    file->file.fs = fs;
    file->inner = inner;
    file->path = mem_strdup(path);
    *out = &file->file;
    return ERR_OK;
}

static void fault_close(struct fs_file *file)
{
    fs_close(inner_of(file));
    mem_free(((struct fault_file *)(void *)file)->path);
    mem_free(file);
}

static enum err fault_pread(struct fs_file *file, void *data, size_t size, int64_t offset,
                            size_t *got)
{
    enum err err = file_turn(file, FS_OP_PREAD);
    *got = 0;
    return err == ERR_OK ? fs_pread(inner_of(file), data, size, offset, got) : err;
}

static enum err fault_pread_cached(struct fs_file *file, void *data, size_t size, int64_t offset,
                                   size_t *got)
{
    *got = 0;
    if (atomic_load(&of(file->fs)->cold)) {
        return ERR_AGAIN;
    }
    enum err err = file_turn(file, FS_OP_PREAD);
    return err == ERR_OK ? fs_pread_cached(inner_of(file), data, size, offset, got) : err;
}

/* The beginning of a write that fails. */
static void write_short(struct fs_file *file, const struct iovec *parts, int count, int64_t offset)
{
    size_t left = of(file->fs)->plan.short_bytes;
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    if (size == 0) {
        return;
    }
    left = left < size ? left : size - 1;
    for (int i = 0; i < count && left > 0; i++) {
        size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
        enum err err = fs_pwrite(inner_of(file), parts[i].iov_base, part, offset);
        if (err != ERR_OK) {
            return; /* the call fails anyway */
        }
        offset += (int64_t)part;
        left -= part;
    }
}

static enum err fault_pwritev(struct fs_file *file, const struct iovec *parts, int count,
                              int64_t offset)
{
    enum err err = file_turn(file, FS_OP_PWRITEV);
    if (err != ERR_OK) {
        write_short(file, parts, count, offset);
        return err;
    }
    return fs_pwritev(inner_of(file), parts, count, offset);
}

static enum err fault_size(struct fs_file *file, int64_t *size_bytes)
{
    enum err err = file_turn(file, FS_OP_SIZE);
    return err == ERR_OK ? fs_size(inner_of(file), size_bytes) : err;
}

static enum err fault_sync(struct fs_file *file)
{
    enum err err = file_turn(file, FS_OP_SYNC);
    return err == ERR_OK ? fs_sync(inner_of(file)) : err;
}

static enum err fault_sync_all(struct fs_file *file)
{
    enum err err = file_turn(file, FS_OP_SYNC_ALL);
    return err == ERR_OK ? fs_sync_all(inner_of(file)) : err;
}

static enum err fault_truncate(struct fs_file *file, int64_t size_bytes)
{
    enum err err = file_turn(file, FS_OP_TRUNCATE);
    return err == ERR_OK ? fs_truncate(inner_of(file), size_bytes) : err;
}

static bool fault_cached(struct fs_file *file, int64_t offset, size_t size)
{
    return !atomic_load(&of(file->fs)->cold) && fs_cached(inner_of(file), offset, size);
}

static int fault_fd(struct fs_file *file)
{
    (void)file;
    return -1;
}

static enum err fault_lock(struct fs_file *file)
{
    enum err err = file_turn(file, FS_OP_LOCK);
    return err == ERR_OK ? fs_lock(inner_of(file)) : err;
}

/* ---- names ---- */

static enum err fault_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    enum err err = turn(of(fs), FS_OP_STAT, path);
    return err == ERR_OK ? fs_stat(of(fs)->inner, path, out) : err;
}

static enum err fault_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    enum err err = turn(of(fs), FS_OP_SET_MTIME, path);
    return err == ERR_OK ? fs_set_mtime(of(fs)->inner, path, mtime_ms) : err;
}

static enum err fault_rename(struct fs *fs, const char *from, const char *to)
{
    enum err err = turn(of(fs), FS_OP_RENAME, from);
    return err == ERR_OK ? fs_rename(of(fs)->inner, from, to) : err;
}

static enum err fault_unlink(struct fs *fs, const char *path)
{
    enum err err = turn(of(fs), FS_OP_UNLINK, path);
    return err == ERR_OK ? fs_unlink(of(fs)->inner, path) : err;
}

static enum err fault_mkdir(struct fs *fs, const char *path)
{
    enum err err = turn(of(fs), FS_OP_MKDIR, path);
    return err == ERR_OK ? fs_mkdir(of(fs)->inner, path) : err;
}

static enum err fault_rmdir(struct fs *fs, const char *path)
{
    enum err err = turn(of(fs), FS_OP_RMDIR, path);
    return err == ERR_OK ? fs_rmdir(of(fs)->inner, path) : err;
}

static enum err fault_sync_dir(struct fs *fs, const char *path)
{
    enum err err = turn(of(fs), FS_OP_SYNC_DIR, path);
    return err == ERR_OK ? fs_sync_dir(of(fs)->inner, path) : err;
}

static enum err fault_list(struct fs *fs, const char *path, fs_list_fn *fn, void *arg)
{
    enum err err = turn(of(fs), FS_OP_LIST, path);
    return err == ERR_OK ? fs_list(of(fs)->inner, path, fn, arg) : err;
}

static enum err fault_space(struct fs *fs, const char *path, int64_t *total_bytes,
                            int64_t *usable_bytes)
{
    enum err err = turn(of(fs), FS_OP_SPACE, path);
    return err == ERR_OK ? fs_space(of(fs)->inner, path, total_bytes, usable_bytes) : err;
}

static const struct fs_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .pread = fault_pread,
    .pread_cached = fault_pread_cached,
    .pwritev = fault_pwritev,
    .size = fault_size,
    .sync = fault_sync,
    .sync_all = fault_sync_all,
    .truncate = fault_truncate,
    .cached = fault_cached,
    .fd = fault_fd,
    .stat = fault_stat,
    .set_mtime = fault_set_mtime,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .rmdir = fault_rmdir,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
    .space = fault_space,
    .lock = fault_lock,
};

/* ---- plans ---- */

struct fs_fault *fs_fault_new(struct fs *inner)
{
    struct fs_fault *fault = mem_new(struct fs_fault);
    fault->fs.ops = &fault_ops;
    fault->inner = inner;
    pthread_mutex_init(&fault->lock, NULL);
    return fault;
}

void fs_fault_free(struct fs_fault *fault)
{
    if (fault != NULL) {
        pthread_mutex_destroy(&fault->lock);
        mem_free(fault);
    }
}

struct fs *fs_fault_fs(struct fs_fault *fault)
{
    return &fault->fs;
}

void fs_fault_set(struct fs_fault *fault, const struct fs_fault_plan *plan)
{
    must(plan->repeat > 0);
    must(plan->err != ERR_OK);
    pthread_mutex_lock(&fault->lock);
    fault->plan = *plan;
    fault->passed = 0;
    fault->hits = 0;
    pthread_mutex_unlock(&fault->lock);
}

void fs_fault_clear(struct fs_fault *fault)
{
    pthread_mutex_lock(&fault->lock);
    fault->plan = (struct fs_fault_plan){0};
    pthread_mutex_unlock(&fault->lock);
}

int64_t fs_fault_hits(const struct fs_fault *fault)
{
    return fault->hits;
}

int64_t fs_fault_calls(const struct fs_fault *fault, enum fs_op op)
{
    return atomic_load(&fault->calls[op]);
}

void fs_fault_set_hook(struct fs_fault *fault, fs_fault_hook *hook, void *arg)
{
    fault->hook = hook;
    fault->arg = arg;
}

const char *fs_op_name(enum fs_op op)
{
    static const char *const names[FS_OP_COUNT] = {
        "open",   "pread", "pwritev", "size",     "sync", "truncate", "stat", "set_mtime", "rename",
        "unlink", "mkdir", "rmdir",   "sync_dir", "list", "space",    "lock", "sync_all"};
    must(op < FS_OP_COUNT);
    return names[op];
}

void fs_fault_set_cold(struct fs_fault *fault, bool cold)
{
    atomic_store(&fault->cold, cold);
}
