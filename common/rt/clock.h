/* clock.h: time, through a table that tests replace.
 *
 * Two clocks: monotonic (durations, timeouts, everything that decides) and wall (timestamps that
 * people and files see; it may jump). Nothing else in the program asks the system for the time,
 * except the logger for its stamps.
 *
 * Threads: any; an implementation must be callable from all of them. */
#pragma once

#include <stdint.h>

struct clock;

struct clock_ops {
    int64_t (*mono_ns)(struct clock *clock);
    int64_t (*wall_ms)(struct clock *clock);
};

struct clock {
    const struct clock_ops *ops;
};

static inline int64_t clock_mono_ns(struct clock *clock)
{
    return clock->ops->mono_ns(clock);
}

static inline int64_t clock_mono_ms(struct clock *clock)
{
    return clock_mono_ns(clock) / 1000000;
}

/* Milliseconds since 1970. */
static inline int64_t clock_wall_ms(struct clock *clock)
{
    return clock->ops->wall_ms(clock);
}

/* The system's clocks. */
struct clock *clock_system(void);

/* Microseconds of processor time that the calling thread has used: of no use to a run that is to be
 * repeated, so only for threads of their own (loop_cpu_us()). */
int64_t clock_thread_cpu_us(void);

/* A clock that moves only when told: for tests and the simulator. */
struct clock_manual {
    struct clock clock;
    _Atomic int64_t mono_ns_value;
    _Atomic int64_t wall_ms_value;
};

void clock_manual_init(struct clock_manual *manual, int64_t wall_ms);

/* Both clocks move by `ns` >= 0. */
void clock_manual_advance(struct clock_manual *manual, int64_t ns);

/* Only the wall clock jumps, in either direction. */
void clock_manual_step_wall(struct clock_manual *manual, int64_t ms);
