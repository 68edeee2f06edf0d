/* fs_fault.h: a file system that fails on purpose, in front of another one.
 *
 * Calls are counted by kind; a plan makes the k-th call of some kinds fail, and as many after it as
 * wanted. A failed call does nothing to the file system behind, except that a failed write may have
 * written a part. A loop over `after` = 0, 1, 2, ... until nothing was hit reaches every error path
 * of an operation; with `repeat` = FS_FAULT_FOR_EVER it stops the machine at every call.
 *
 * fs_fd() is refused, so that callers take the path that copies, whose reads can fail. close() and
 * fd() are not counted: they cannot fail.
 *
 * Threads: calls from any; plans are made while nobody calls. */
#pragma once

#include "fs/fs.h"

enum fs_op {
    FS_OP_OPEN,
    FS_OP_PREAD,
    FS_OP_PWRITEV,
    FS_OP_SIZE,
    FS_OP_SYNC,
    FS_OP_TRUNCATE,
    FS_OP_STAT,
    FS_OP_SET_MTIME,
    FS_OP_RENAME,
    FS_OP_UNLINK,
    FS_OP_MKDIR,
    FS_OP_RMDIR,
    FS_OP_SYNC_DIR,
    FS_OP_LIST,
    FS_OP_SPACE,
    FS_OP_LOCK,
    FS_OP_SYNC_ALL,
    FS_OP_COUNT,
};

/* Sets of kinds. */
#define FS_OP_BIT(op) (1u << (op))
enum {
    FS_OPS_ALL = (1 << FS_OP_COUNT) - 1,
    FS_OPS_WRITE = FS_OP_BIT(FS_OP_PWRITEV) | FS_OP_BIT(FS_OP_TRUNCATE) | FS_OP_BIT(FS_OP_RENAME) |
                   FS_OP_BIT(FS_OP_UNLINK) | FS_OP_BIT(FS_OP_MKDIR) | FS_OP_BIT(FS_OP_RMDIR),
    FS_OPS_SYNC = FS_OP_BIT(FS_OP_SYNC) | FS_OP_BIT(FS_OP_SYNC_DIR) | FS_OP_BIT(FS_OP_SYNC_ALL),
};

#define FS_FAULT_FOR_EVER INT64_MAX

struct fs_fault_plan {
    uint32_t ops;     /* which kinds count and fail: FS_OP_BIT()s */
    const char *path; /* only paths that contain this text; NULL: all. Borrowed. */
    int64_t after;    /* as many calls pass first */
    int64_t repeat;   /* then as many fail; at least 1 */
    enum err err;     /* with this */
    /* What a failing write leaves behind: its first `short_bytes` bytes, but never all of them. */
    size_t short_bytes;
};

struct fs_fault;

/* `inner` must outlive it. */
struct fs_fault *fs_fault_new(struct fs *inner);
void fs_fault_free(struct fs_fault *fault);
struct fs *fs_fault_fs(struct fs_fault *fault);

/* Replace the plan; counting begins anew. */
void fs_fault_set(struct fs_fault *fault, const struct fs_fault_plan *plan);

/* Nothing fails any more. What was hit stays known until the next plan. */
void fs_fault_clear(struct fs_fault *fault);

/* From now on, nothing of any file is in memory for those who will not wait (fs_pread_cached,
 * fs_cached); or again what the file system below says. */
void fs_fault_set_cold(struct fs_fault *fault, bool cold);

/* Calls that failed by the present plan. */
int64_t fs_fault_hits(const struct fs_fault *fault);

/* Calls of a kind so far, whatever became of them. */
int64_t fs_fault_calls(const struct fs_fault *fault, enum fs_op op);

/* Called before each counted call, with its path: to let time pass (a slow disk), to wait (a hung
 * one), to change the plan, or to write down what happens. NULL: none. */
typedef void fs_fault_hook(void *arg, enum fs_op op, const char *path);
void fs_fault_set_hook(struct fs_fault *fault, fs_fault_hook *hook, void *arg);

/* "open", "pread", ... */
const char *fs_op_name(enum fs_op op);
