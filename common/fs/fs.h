/* fs.h: files, through a table that tests replace.
 *
 * Three implementations: fs_posix (the real one), fs_fault (wraps another; the k-th call of a kind
 * fails) and fs_sim (memory, with a durable and a volatile image; fs_sim_crash() keeps the durable
 * one plus a random subset of unsynced sectors; creations and renames without sync_dir may vanish).
 *
 * Failure: every function that can fail returns enum err; ERR_NO_SPACE and ERR_IO are told apart. A
 * sync that failed once is never retried by callers: the kernel may have dropped the pages. No
 * mmap: SIGBUS can be neither injected nor handled.
 *
 * Threads: any; one file may be read by many while one writes it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

struct fs;

/* An open file. Implementations embed it. */
struct fs_file {
    struct fs *fs;
};

enum fs_open_flags {
    FS_READ = 1,      /* fails with ERR_NOT_FOUND when absent */
    FS_WRITE = 2,     /* read and write */
    FS_CREATE = 4,    /* with FS_WRITE: create when absent */
    FS_EXCLUSIVE = 8, /* with FS_CREATE: ERR_EXISTS when present */
    FS_TRUNCATE = 16,
};

struct fs_stat {
    int64_t size_bytes;
    int64_t mtime_ms;
    bool is_dir;
};

/* Called for each entry but "." and ".."; a return other than ERR_OK ends the listing with it. */
typedef enum err fs_list_fn(void *arg, const char *name, bool is_dir);

struct fs_ops {
    enum err (*open)(struct fs *fs, const char *path, int flags, struct fs_file **out);
    void (*close)(struct fs_file *file);
    /* Reads up to `size` bytes; *got < size only at the end of the file. */
    enum err (*pread)(struct fs_file *file, void *data, size_t size, int64_t offset, size_t *got);
    /* As pread, of what is in memory only: never waits for a disk. ERR_AGAIN: the first byte is not
     * there; *got may be less than there is in the file. Who cannot tell reads as pread does. */
    enum err (*pread_cached)(struct fs_file *file, void *data, size_t size, int64_t offset,
                             size_t *got);
    /* Writes all of it or fails; after a failure any prefix may have been written. */
    enum err (*pwritev)(struct fs_file *file, const struct iovec *parts, int count, int64_t offset);
    enum err (*size)(struct fs_file *file, int64_t *size_bytes);
    enum err (*sync)(struct fs_file *file); /* fdatasync */
    /* Everything written so far to the file system that `file` is on, names too; of its errors,
     * those since the file was opened or this was last called. NULL, or ERR_UNSUPPORTED_VERSION:
     * there is no such call, or none that reports errors. */
    enum err (*sync_all)(struct fs_file *file);
    enum err (*truncate)(struct fs_file *file, int64_t size_bytes);
    /* Would a read of [offset, offset+size) be served from memory now, all of it? True when it
     * cannot tell. */
    bool (*cached)(struct fs_file *file, int64_t offset, size_t size);
    /* The descriptor for sendfile, or -1: then callers copy through pread. */
    int (*fd)(struct fs_file *file);
    enum err (*stat)(struct fs *fs, const char *path, struct fs_stat *out);
    enum err (*set_mtime)(struct fs *fs, const char *path, int64_t mtime_ms);
    enum err (*rename)(struct fs *fs, const char *from, const char *to); /* replaces `to` */
    enum err (*unlink)(struct fs *fs, const char *path);
    enum err (*mkdir)(struct fs *fs, const char *path); /* one level; ERR_EXISTS */
    enum err (*rmdir)(struct fs *fs, const char *path);
    enum err (*sync_dir)(struct fs *fs, const char *path);
    enum err (*list)(struct fs *fs, const char *path, fs_list_fn *fn, void *arg);
    enum err (*space)(struct fs *fs, const char *path, int64_t *total_bytes, int64_t *usable_bytes);
    /* Exclusive lock held until the file, open for writing, is closed; ERR_LOCKED when another
     * process has it, a Kafka broker too. */
    enum err (*lock)(struct fs_file *file);
};

struct fs {
    const struct fs_ops *ops;
};

/* The operating system's files. */
struct fs *fs_posix(void);

/* Thin inline callers; they exist so that call sites read as verbs. */
static inline MUST_USE enum err fs_open(struct fs *fs, const char *path, int flags,
                                        struct fs_file **out)
{
    return fs->ops->open(fs, path, flags, out);
}

/* NULL is fine. */
static inline void fs_close(struct fs_file *file)
{
    if (file != NULL) {
        file->fs->ops->close(file);
    }
}

static inline MUST_USE enum err fs_pread(struct fs_file *file, void *data, size_t size,
                                         int64_t offset, size_t *got)
{
    return file->fs->ops->pread(file, data, size, offset, got);
}

static inline MUST_USE enum err fs_pread_cached(struct fs_file *file, void *data, size_t size,
                                                int64_t offset, size_t *got)
{
    return file->fs->ops->pread_cached(file, data, size, offset, got);
}

static inline MUST_USE enum err fs_pwritev(struct fs_file *file, const struct iovec *parts,
                                           int count, int64_t offset)
{
    return file->fs->ops->pwritev(file, parts, count, offset);
}

static inline MUST_USE enum err fs_pwrite(struct fs_file *file, const void *data, size_t size,
                                          int64_t offset)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return file->fs->ops->pwritev(file, &part, 1, offset);
}

static inline MUST_USE enum err fs_size(struct fs_file *file, int64_t *size_bytes)
{
    return file->fs->ops->size(file, size_bytes);
}

static inline MUST_USE enum err fs_sync(struct fs_file *file)
{
    return file->fs->ops->sync(file);
}

static inline MUST_USE enum err fs_sync_all(struct fs_file *file)
{
    return file->fs->ops->sync_all != NULL ? file->fs->ops->sync_all(file)
                                           : ERR_UNSUPPORTED_VERSION;
}

static inline MUST_USE enum err fs_truncate(struct fs_file *file, int64_t size_bytes)
{
    return file->fs->ops->truncate(file, size_bytes);
}

static inline bool fs_cached(struct fs_file *file, int64_t offset, size_t size)
{
    return file->fs->ops->cached(file, offset, size);
}

static inline int fs_fd(struct fs_file *file)
{
    return file->fs->ops->fd(file);
}

static inline MUST_USE enum err fs_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    return fs->ops->stat(fs, path, out);
}

static inline MUST_USE enum err fs_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    return fs->ops->set_mtime(fs, path, mtime_ms);
}

static inline MUST_USE enum err fs_rename(struct fs *fs, const char *from, const char *to)
{
    return fs->ops->rename(fs, from, to);
}

static inline MUST_USE enum err fs_unlink(struct fs *fs, const char *path)
{
    return fs->ops->unlink(fs, path);
}

static inline MUST_USE enum err fs_mkdir(struct fs *fs, const char *path)
{
    return fs->ops->mkdir(fs, path);
}

static inline MUST_USE enum err fs_rmdir(struct fs *fs, const char *path)
{
    return fs->ops->rmdir(fs, path);
}

static inline MUST_USE enum err fs_sync_dir(struct fs *fs, const char *path)
{
    return fs->ops->sync_dir(fs, path);
}

static inline MUST_USE enum err fs_list(struct fs *fs, const char *path, fs_list_fn *fn, void *arg)
{
    return fs->ops->list(fs, path, fn, arg);
}

static inline MUST_USE enum err fs_space(struct fs *fs, const char *path, int64_t *total_bytes,
                                         int64_t *usable_bytes)
{
    return fs->ops->space(fs, path, total_bytes, usable_bytes);
}

static inline MUST_USE enum err fs_lock(struct fs_file *file)
{
    return file->fs->ops->lock(file);
}

/* Write a small file so that it appears whole or not at all, also after a power failure: to
 * `path`.tmp, sync, rename, sync the folder. */
MUST_USE enum err fs_replace(struct fs *fs, const char *path, const void *data, size_t size);

/* Read a whole small file into fresh memory (mem_free), NUL-terminated. ERR_INVALID when larger
 * than `size_max`. */
MUST_USE enum err fs_read_all(struct fs *fs, const char *path, size_t size_max, char **data,
                              size_t *size);

/* Create a folder and its parents; their names survive a power failure, so that what is synced in
 * them does. */
MUST_USE enum err fs_mkdir_all(struct fs *fs, const char *path);

/* Somebody has made a folder, and may have been stopped before its name would survive a power
 * failure: now it does. Nothing happens where the folder above may not be read. */
MUST_USE enum err fs_keep_name(struct fs *fs, const char *path);

/* Unlink everything below and the folder itself; absent is fine. */
MUST_USE enum err fs_remove_tree(struct fs *fs, const char *path);
