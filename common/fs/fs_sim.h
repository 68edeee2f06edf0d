/* fs_sim.h: a file system in memory that can lose power.
 *
 * It keeps two images of everything: the volatile one, which calls see, and the durable one, which
 * is what a sync has put there. What survives fs_sim_crash():
 *
 *   content   what was synced; of the writes and truncations since then nothing, everything, or a
 *             random subset by sectors of 512 bytes, with a size between the two (gaps are zeros)
 *   names     what fs_sync_dir() of their directory has seen; of later creations, removals and
 *             renames none, all, a prefix, or a random subset. A rename happens whole or not at
 *             all. Syncing a file does not make its name durable.
 *
 * fs_sim_kill() is the end of the process only: the volatile image stays, as the page cache does.
 * Both end all open files: later calls on them say ERR_IO, and their locks are gone.
 *
 * A sync can be made to fail (fs_sim_fail_sync): then, as Linux does it, what it should have
 * written counts as clean and never becomes durable, though later syncs succeed. fs_fd() is
 * refused: callers copy. Slow and hung disks, and calls that fail: wrap it in fs_fault.
 *
 * Equal seeds and equal calls give equal outcomes. Threads: any (one lock inside). */
#pragma once

#include "fs/fs.h"

struct fs_sim;

enum { FS_SIM_SECTOR_BYTES = 512 };

/* Empty but for "/"; relative paths count from there. ".." is not understood. */
struct fs_sim *fs_sim_new(uint64_t seed);

/* All files must have been closed. */
void fs_sim_free(struct fs_sim *sim);
struct fs *fs_sim_fs(struct fs_sim *sim);

/* The power fails. */
void fs_sim_crash(struct fs_sim *sim);

/* The process ends. */
void fs_sim_kill(struct fs_sim *sim);

/* Writes that need more than this in all files together say ERR_NO_SPACE, after writing what fits.
 * At first there is no limit. */
void fs_sim_set_capacity(struct fs_sim *sim, int64_t bytes);

/* The (after + 1)-th sync of a file from now on fails, once. -1: none. */
void fs_sim_fail_sync(struct fs_sim *sim, int64_t after);

/* Where modification times come from. At first each change is one millisecond later than the one
 * before. */
void fs_sim_set_time(struct fs_sim *sim, int64_t (*now_ms)(void *arg), void *arg);

/* A hash over all names, contents and sizes that calls see: equal trees, equal digests. */
uint64_t fs_sim_digest(struct fs_sim *sim);
