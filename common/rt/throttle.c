#include "rt/throttle.h"

#include <string.h>

#include "base/must.h"

void throttle_init(struct throttle *throttle, int64_t windows, int64_t window_ms)
{
    must(window_ms > 0);
    memset(throttle, 0, sizeof(*throttle));
    pthread_mutex_init(&throttle->lock, NULL);
    atomic_init(&throttle->limit, THROTTLE_NONE);
    throttle->window_ms = window_ms;
    throttle->windows_max = windows < 1                      ? 1
                            : windows > THROTTLE_WINDOWS_MAX ? THROTTLE_WINDOWS_MAX
                                                             : (int32_t)windows;
}

void throttle_fini(struct throttle *throttle)
{
    pthread_mutex_destroy(&throttle->lock);
}

void throttle_set_limit(struct throttle *throttle, int64_t bytes_per_second)
{
    must(bytes_per_second >= 0);
    atomic_store_explicit(&throttle->limit, bytes_per_second, memory_order_relaxed);
}

/* Forget what is too old to count. With the lock held, as all below. */
static void forget(struct throttle *throttle, int64_t now_ms)
{
    int64_t horizon_ms = throttle->windows_max * throttle->window_ms;
    int32_t old = 0;
    while (old < throttle->windows_count &&
           now_ms - throttle->windows[old].start_ms >= horizon_ms) {
        old++;
    }
    throttle->windows_count -= old;
    memmove(throttle->windows, &throttle->windows[old],
            (size_t)throttle->windows_count * sizeof(throttle->windows[0]));
}

/* The window that is open now. */
static struct throttle_window *current(struct throttle *throttle, int64_t now_ms)
{
    struct throttle_window *last = &throttle->windows[throttle->windows_count - 1];
    if (throttle->windows_count > 0 && now_ms - last->start_ms < throttle->window_ms) {
        return last;
    }
    if (throttle->windows_count == throttle->windows_max) {
        memmove(throttle->windows, &throttle->windows[1],
                (size_t)(throttle->windows_count - 1) * sizeof(throttle->windows[0]));
        throttle->windows_count--;
    }
    throttle->windows[throttle->windows_count] = (struct throttle_window){.start_ms = now_ms};
    return &throttle->windows[throttle->windows_count++];
}

void throttle_note(struct throttle *throttle, int64_t now_ms, int64_t bytes)
{
    pthread_mutex_lock(&throttle->lock);
    forget(throttle, now_ms);
    current(throttle, now_ms)->bytes += bytes;
    pthread_mutex_unlock(&throttle->lock);
}

static int64_t pause_of(const struct throttle *throttle, int64_t limit, int64_t now_ms)
{
    int64_t total = 0;
    for (int32_t i = 0; i < throttle->windows_count; i++) {
        total += throttle->windows[i].bytes;
    }
    if (total == 0) {
        return 0;
    }
    /* One window at least: what has just begun says little about a rate. */
    int64_t elapsed_ms = now_ms - throttle->windows[0].start_ms;
    elapsed_ms = elapsed_ms > throttle->window_ms ? elapsed_ms : throttle->window_ms;
    double needed_ms = (double)total * 1000.0 / (double)(limit > 0 ? limit : 1);
    if (needed_ms <= (double)elapsed_ms) {
        return 0;
    }
    /* By then the oldest window is forgotten in any case. */
    int64_t horizon_ms = throttle->windows_max * throttle->window_ms;
    double pause_ms = needed_ms - (double)elapsed_ms;
    return pause_ms < (double)horizon_ms ? (int64_t)pause_ms + 1 : horizon_ms;
}

int64_t throttle_pause_ms(struct throttle *throttle, int64_t now_ms)
{
    int64_t limit = atomic_load_explicit(&throttle->limit, memory_order_relaxed);
    if (limit == THROTTLE_NONE) {
        return 0;
    }
    pthread_mutex_lock(&throttle->lock);
    forget(throttle, now_ms);
    int64_t pause_ms = pause_of(throttle, limit, now_ms);
    pthread_mutex_unlock(&throttle->lock);
    return pause_ms;
}
