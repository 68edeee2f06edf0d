/* pulse.h: has this process stood still for so long that it may have been given up?
 *
 * A broker that is stopped (SIGSTOP, a frozen or swapped-out container) for longer
 * than its ZooKeeper session is replaced by others. When it wakes up it does not know that yet: for
 * some 50 ms, until its ZooKeeper client has learned it, it would go on leading. So the control
 * loop's beat says until when clients may be served without a question; who finds that time over
 * serves nobody (api/client.c), and the next beat asks ZooKeeper first (server/gate.c).
 *
 * A turn of a loop in which the process stood still goes on with the time at which it began. A time
 * that the monotonic clock does not count is not seen: of a machine that slept, or of a virtual one
 * whose clock stopped with it.
 *
 * All zeros: not watched, never late. Times are milliseconds of the monotonic clock. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pulse {
    _Atomic int64_t good_until_ms; /* 0: not watched */
    _Atomic bool missed;           /* somebody was not served */
};

/* May clients not be served, for all that is known at this time? Any thread; the next beat hears of
 * it, however the clocks were read. */
bool pulse_missed(struct pulse *pulse, int64_t now_ms);

/* At a beat, before pulse_beat(): was one missed, or is this one late itself? */
bool pulse_was_missed(struct pulse *pulse, int64_t now_ms);

/* Good for so long from now. What this thread has stored before is seen by whoever finds that. */
void pulse_beat(struct pulse *pulse, int64_t now_ms, int64_t good_ms);

/* Watched no longer. */
void pulse_end(struct pulse *pulse);
