/* trimmer.h: freed memory goes back to the machine a moment after work that needed much more than
 * what stays in use: a start, thousands of new partitions.
 *
 * A moment after, because what such work has used is freed on several threads, some of it when the
 * answer has been sent. Then the end of the loop's own heap is given back, where most of it was,
 * and a worker looks through all the others'.
 *
 * Threads: the loop's. */
#pragma once

#include "rt/worker.h"

enum { TRIMMER_DELAY_MS = 500 };

struct trimmer {
    struct loop *loop;
    struct worker_pool *pool;
    struct loop_timer timer;
    struct work work;
    bool working;
};

/* With a pool without threads nothing is ever given back: there the process is not its own. */
void trimmer_init(struct trimmer *trimmer, struct loop *loop, struct worker_pool *pool);

/* Once neither loop nor pool runs any more. */
void trimmer_fini(struct trimmer *trimmer);

/* Such work has been done: TRIMMER_DELAY_MS after the last of it. */
void trimmer_soon(struct trimmer *trimmer);
