/* watchdog.h: a broker whose disk hangs must not keep its leaderships.
 *
 * A disk that hangs gives no error: whoever calls it does not come back, and everything else of the
 * broker may go on, the session in ZooKeeper too. So a thread that itself touches no disk looks at
 * the calls under way (fs_watch.h):
 *
 *   - a call of a loop is older than the limit: the loop serves nobody any more, whatever it has to
 *     do: on_stuck(). The session must be ended from here, and the process with it.
 *   - a probe of a log directory, a few bytes written and synced by a thread of its own, is older
 *     than the limit: on_dir_hung(), once. Other calls of workers may take long and still get
 * there, as the sync of a gigabyte does.
 *
 * A directory is probed when something was written to it since the last probe. While nothing is
 * under way and nothing was written, the watchdog sleeps, and the next call wakes it.
 *
 * A watchdog that looks late has stood still, with the whole process (SIGSTOP, a frozen container,
 * a virtual machine that is moved), and what was under way with it: that time does not count.
 *
 * WATCHDOG_LIMIT_MS + WATCHDOG_PROBE_MS + 2 * WATCHDOG_PERIOD_MS are left of the ten seconds within
 * which others are to lead; the controller needs the rest.
 *
 * Threads: its own; watchdog_check() on it, or by hand in tests. */
#pragma once

#include <stdbool.h>

#include "fs/fs_watch.h"

enum {
    WATCHDOG_LIMIT_MS = 7000,
    WATCHDOG_PROBE_MS = 1000, /* between the beginnings of two probes of a directory */
    WATCHDOG_PERIOD_MS = 250, /* between two looks, while there is something to see */
    WATCHDOG_LATE_MS = 1000,  /* more than this between them: the process stood still */
    WATCHDOG_DIRS_MAX = FS_WATCH_ROOTS / 2,
    WATCHDOG_PROBE_BYTES = 8,
};

/* The probe's file in a log directory. Kafka pays no attention to it. */
#define WATCHDOG_PROBE_NAME ".probe"

struct watchdog;

struct watchdog_options {
    struct fs *fs; /* what is watched */
    struct clock *clock;
    const char *const *dirs;
    int dirs_count; /* those beyond WATCHDOG_DIRS_MAX are not probed */
    int64_t limit_ms;
    bool threads; /* false: probes are run by watchdog_probe_step(), checks by watchdog_check() */
    /* On the watchdog's thread, or the directory's probing one; they must not touch the disk. */
    void (*on_dir_hung)(void *arg, int dir);
    void (*on_dir_failed)(void *arg, int dir); /* a probe said that the disk is broken */
    void (*on_stuck)(void *arg);
    void *arg;
};

struct watchdog *watchdog_new(const struct watchdog_options *options);

/* Watch from now on. */
void watchdog_start(struct watchdog *watchdog);

/* Ends the threads. A probe that hangs is waited for: see watchdog_hung(). The file system stays.
 */
void watchdog_end(struct watchdog *watchdog);
void watchdog_free(struct watchdog *watchdog);

/* The file system to be used instead of options.fs. */
struct fs *watchdog_fs(struct watchdog *watchdog);

/* Something hangs: who stops now must not wait for threads that touch the disk. */
bool watchdog_hung(const struct watchdog *watchdog);

/* Look once. True: there is nothing to see until the next call. */
bool watchdog_check(struct watchdog *watchdog);

/* Without threads: run a probe that is due; false: none is. */
bool watchdog_probe_step(struct watchdog *watchdog, int dir);
