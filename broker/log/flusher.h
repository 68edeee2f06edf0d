/* flusher.h: the syncs of one log directory, by group: a round takes all logs that wait, and what
 * is appended meanwhile waits for the next one. So the more there is to do, the more one sync does.
 *
 * A round of few files syncs each; a round of more syncs the file system once (FLUSHER_ALL_MIN),
 * which also writes what others have in it. After the first sync that failed nothing is synced any
 * more: every log that asks has failed.
 *
 * Ownership: counted; the directory holds one, each of its logs one. Threads: flusher_push() from
 * any; rounds run on `workers`, or on a thread of its own, which begins with the first round: a
 * disk that hangs holds up nobody else. */
#pragma once

#include "fs/fs.h"
#include "rt/worker.h"

enum {
    /* From so many files on. Measured on ext4: 10 files of 16 KiB take 1.9 ms one by one and 0.34
     * ms at once; 100 files 18 ms and 1.8 ms. One file is faster alone. */
    FLUSHER_ALL_MIN = 3,
    FLUSHER_ROUND_MAX = 4096, /* logs in one round; the others wait for the next */
};

struct flusher;
struct plog;

/* `mark` is any file of the directory that stays open until flusher_stop(), NULL: each file is
 * synced by itself. `workers` NULL: a thread of its own. */
struct flusher *flusher_new(struct fs_file *mark, struct worker_pool *workers);
struct flusher *flusher_hold(struct flusher *flusher);
void flusher_release(struct flusher *flusher);

/* `log`, which the caller holds for the flusher, wants plog_flush_take(). Not twice at a time.
 * False: the flusher has been stopped. */
bool flusher_push(struct flusher *flusher, struct plog *log);

/* Finish what waits and begin nothing more. */
void flusher_stop(struct flusher *flusher);
