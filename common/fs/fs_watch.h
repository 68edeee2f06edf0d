/* fs_watch.h: a file system that knows which calls are under way, and for how long: in front of
 * another one.
 *
 * A disk that hangs answers nothing, not even with an error: threads that call it do not come back.
 * Somebody on another thread can look who is inside and since when. A call costs two atomic
 * operations and a clock reading more. Descriptors are handed through: what callers do with them
 * (sendfile) is not seen.
 *
 * Threads: calls from any; fs_watch_look() from any, and it touches no disk. */
#pragma once

#include <stdatomic.h>

#include "fs/fs.h"
#include "rt/clock.h"

enum {
    FS_WATCH_SLOTS = 128, /* calls at a time; those beyond are not seen */
    FS_WATCH_ROOTS = 64,  /* folders told apart; the rest counts as FS_WATCH_ELSEWHERE */
    FS_WATCH_ELSEWHERE = FS_WATCH_ROOTS,
};

struct fs_watch;

/* `inner` and `clock` must outlive it. */
struct fs_watch *fs_watch_new(struct fs *inner, struct clock *clock);
void fs_watch_free(struct fs_watch *watch);
struct fs *fs_watch_fs(struct fs_watch *watch);

/* Tell the calls below this folder apart: they are reported with the number that is returned.
 * Before the file system is used. */
int fs_watch_root(struct fs_watch *watch, const char *path);

/* A call that is under way. */
struct fs_watch_call {
    int root;
    bool on_loop; /* by a thread that runs a loop: everything else on that loop waits, too */
    int64_t since_ms;
};

/* The calls under way, at most FS_WATCH_SLOTS. */
int fs_watch_look(struct fs_watch *watch, struct fs_watch_call *calls);

/* How many calls that change something there were below a folder. */
uint64_t fs_watch_changes(struct fs_watch *watch, int root);

/* Call `wake` at the next call, once: from the thread that makes it. Whoever looks now and then may
 * sleep until there is something to see: ask, look once more, sleep. */
void fs_watch_wake_at_next(struct fs_watch *watch, void (*wake)(void *arg), void *arg);
