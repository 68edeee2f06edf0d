/* meta_wait.h: waiting until the metadata shows something: a topic with leaders, a topic gone.
 *
 * Threads: the control loop. */
#pragma once

#include "base/list.h"
#include "meta/meta.h"
#include "rt/loop.h"

/* The longest wait. Nobody ends it when the client goes, and its request stays until then. */
enum { META_WAIT_MAX_MS = 10 * 60 * 1000 };

struct meta_waits {
    struct loop *loop;
    struct meta_cell *meta;
    struct list waiting; /* of struct meta_wait */
};

/* Embedded in whoever waits. */
struct meta_wait {
    struct list link;
    struct loop_timer timer;
    struct meta_waits *waits;
    /* Is it so? */
    bool (*check)(struct meta_wait *wait, const struct meta *meta);
    /* Called once, not from inside meta_wait_start(). */
    void (*done)(struct meta_wait *wait, bool timed_out);
};

void meta_waits_init(struct meta_waits *waits, struct loop *loop, struct meta_cell *meta);

/* Everybody still waiting is told that the time is over. */
void meta_waits_fini(struct meta_waits *waits);

/* A new snapshot has been published. */
void meta_waits_kick(struct meta_waits *waits);

/* Until that time, or for META_WAIT_MAX_MS. */
void meta_wait_start(struct meta_waits *waits, struct meta_wait *wait, int64_t deadline_ms);
