/* throttle.h: is a flow of bytes above its limit?
 *
 * What has flowed is counted in windows of time, the last few of which are remembered; the rate is
 * their sum over the time since the oldest of them began. Nobody is stopped here: who asks holds
 * back by itself what can wait, and counts what flowed. So a limit is kept on average, and a single
 * burst may exceed it.
 *
 * Threads: any. A leaf lock; the limit is an atomic, so that where there is none nothing is locked
 * to ask. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { THROTTLE_WINDOWS_MAX = 64 };

#define THROTTLE_NONE INT64_MAX

struct throttle_window {
    int64_t start_ms;
    int64_t bytes;
};

struct throttle {
    pthread_mutex_t lock;
    _Atomic int64_t limit; /* bytes per second; THROTTLE_NONE */
    int64_t window_ms;
    int32_t windows_max;
    int32_t windows_count;
    struct throttle_window windows[THROTTLE_WINDOWS_MAX]; /* oldest first */
};

/* `windows` are brought into 1 to THROTTLE_WINDOWS_MAX. No limit yet. */
void throttle_init(struct throttle *throttle, int64_t windows, int64_t window_ms);
void throttle_fini(struct throttle *throttle);

void throttle_set_limit(struct throttle *throttle, int64_t bytes_per_second);

/* `bytes` have flowed. */
void throttle_note(struct throttle *throttle, int64_t now_ms, int64_t bytes);

/* How long, at most, until the rate is within the limit if nothing flows meanwhile; 0: it is. */
int64_t throttle_pause_ms(struct throttle *throttle, int64_t now_ms);

static inline bool throttle_exceeded(struct throttle *throttle, int64_t now_ms)
{
    return atomic_load_explicit(&throttle->limit, memory_order_relaxed) != THROTTLE_NONE &&
           throttle_pause_ms(throttle, now_ms) > 0;
}
