/* worker.h: a few threads for what may block: syncs, cold reads, slow directories, log loading.
 *
 * A work item is embedded in what it works for. run() executes on a pool thread; done(), when not
 * NULL, is then posted to `loop`. The queue is bounded by what exists: an item is queued at most
 * once.
 *
 * A pool with zero threads is driven by hand (worker_pool_step), for the simulator.
 *
 * Threads: worker_submit() from any. */
#pragma once

#include <stdbool.h>

#include "rt/loop.h"

struct worker_pool;

struct work {
    struct work *next;
    void (*run)(struct work *work);
    void (*done)(struct work *work); /* may be NULL; then run() may free the item */
    struct loop *loop;               /* where done() runs */
    struct loop_msg done_msg;
};

struct worker_pool *worker_pool_new(const char *name, int thread_count);

/* Runs what is queued, then ends the threads. */
void worker_pool_free(struct worker_pool *pool);

void worker_submit(struct worker_pool *pool, struct work *work);

/* For zero threads: run the oldest item; false when there is none. */
bool worker_pool_step(struct worker_pool *pool);

int worker_pool_threads(const struct worker_pool *pool);

/* Is an item queued? */
bool worker_pool_busy(struct worker_pool *pool);
