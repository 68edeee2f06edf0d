/* timer_wheel.h: a loop's timers: two wheels of 10 ms and of 2.56 s, and a list for what is further
 * away.
 *
 * Setting and cancelling are O(1). A timer never fires early; it fires in the first run whose time
 * has reached the end of its slot, so up to 10 ms late. Threads: the loop's. */
#pragma once

#include "rt/loop.h"

enum { WHEEL_SLOT_MS = 10, WHEEL_SLOTS = 256 };

struct timer_wheel {
    struct list near[WHEEL_SLOTS]; /* by slot of 10 ms, within 2.56 s */
    struct list far[WHEEL_SLOTS];  /* by slot of 2.56 s, within 11 minutes */
    struct list beyond;
    int64_t tick;    /* slots up to here, counted from time 0, have fired */
    int64_t next_ms; /* a lower bound of the earliest deadline; INT64_MAX: no timer */
};

void timer_wheel_init(struct timer_wheel *wheel, int64_t now_ms);
void timer_wheel_set(struct timer_wheel *wheel, struct loop_timer *timer, int64_t deadline_ms);

/* Fire what is due. True when anything was. */
bool timer_wheel_run(struct timer_wheel *wheel, int64_t now_ms);

/* When to run next: never later than the earliest deadline's slot ends; INT64_MAX without timers.
 */
int64_t timer_wheel_next(struct timer_wheel *wheel);
