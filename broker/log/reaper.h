/* reaper.h: removes files and folders some time after they were put aside, on a worker.
 *
 * Whatever is put aside has been renamed durably to a name that the next start removes (*.deleted,
 * *-delete): nothing depends on the removal, and what still waits when the process ends is left to
 * that start.
 *
 * Threads: reaper_add() from any; reaper_run() and reaper_free() from the one that owns it. */
#pragma once

#include "fs/fs.h"
#include "rt/clock.h"
#include "rt/worker.h"

struct reaper;

/* `on_added` (may be NULL): something waits now that has to wait less long than everything else.
 * On the thread that added it. */
struct reaper *reaper_new(struct fs *fs, struct clock *clock, struct worker_pool *workers,
                          void (*on_added)(void *arg), void *arg);

/* Everything under way must have ended: the workers are gone. */
void reaper_free(struct reaper *reaper);

/* Remove `path`, a file or a folder with all that is in it, in `delay_ms`. */
void reaper_add(struct reaper *reaper, const char *path, int64_t delay_ms);

/* Have removed what is due. When the next one will be, monotonic; INT64_MAX: none waits. */
int64_t reaper_run(struct reaper *reaper);
