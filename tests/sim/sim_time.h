/* sim_time.h: virtual time, and what is to happen in it.
 *
 * Time moves only when told: by sim_time_advance(), or to the next event. An event is a field of
 * something that exists; at its time its function is called, on no loop (loop_current() is NULL).
 * Events of one moment happen in the order in which they were set.
 *
 * Every simulated machine has a clock of its own (struct sim_clock) that runs with this time; its
 * wall clock can be wrong and can jump.
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rt/clock.h"

#define SIM_MS ((int64_t)1000000) /* in ns */

/* Where simulated time begins: 2026-01-01 00:00:00 UTC. */
#define SIM_EPOCH_MS INT64_C(1767225600000)

struct sim_time {
    int64_t now_ns;
    struct sim_event **heap; /* by (at_ns, order); heap[0] is next */
    int count;
    int capacity;
    uint64_t next_order;
};

struct sim_event {
    int64_t at_ns;
    uint64_t order;
    int place; /* in the heap, plus one; 0: not set */
    void (*fn)(struct sim_event *event);
};

struct sim_clock {
    struct clock clock; /* first */
    const struct sim_time *time;
    int64_t wall_offset_ms; /* how wrong the wall clock is */
    int64_t extra_ns;       /* ahead of everybody: of a machine that is run down after its end */
};

void sim_time_init(struct sim_time *time);
void sim_time_fini(struct sim_time *time);

/* Set (or move) an event. A time in the past means now. */
void sim_time_at(struct sim_time *time, struct sim_event *event, int64_t at_ns);
void sim_time_after(struct sim_time *time, struct sim_event *event, int64_t delay_ns);
void sim_time_cancel(struct sim_time *time, struct sim_event *event);
bool sim_time_pending(const struct sim_event *event);

/* When is the next event? INT64_MAX: none is set. */
int64_t sim_time_next_ns(const struct sim_time *time);

/* Call the next event that is due; false when none is. */
bool sim_time_run_one(struct sim_time *time);

/* Never past the next event. */
void sim_time_advance(struct sim_time *time, int64_t to_ns);

void sim_clock_init(struct sim_clock *clock, const struct sim_time *time);
