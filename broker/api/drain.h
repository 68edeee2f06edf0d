/* drain.h: the last of the clients' connections when the broker stops.
 *
 * A connection is closed when all that it asked has been answered, the answers have left, and
 * nothing more has come for a moment. What only waits for news (a fetch, an acknowledgement) and
 * what was held because the broker never became ready is not waited for. Whoever goes on asking, or
 * does not read, is closed after DRAIN_MAX_MS all the same: what it has under way then is
 * unanswered, as after a crash.
 *
 * By then nothing can be appended, so that what a client is told is where to go instead.
 *
 * Threads: drain_begin() and `fn` on the control loop; the work on each network loop. */
#pragma once

struct broker;
struct drain;

enum {
    DRAIN_QUIET_MS = 50, /* this long nothing has come or gone */
    DRAIN_LOOK_MS = 5,
    DRAIN_MAX_MS = 500,
};

/* `fn` when every connection is closed; then no loop takes another one. The result is freed with
 * drain_free() when the loops have ended. */
struct drain *drain_begin(struct broker *broker, void (*fn)(void *arg), void *arg);
void drain_free(struct drain *drain); /* NULL: nothing */
