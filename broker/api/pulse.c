#include "api/pulse.h"

static bool is_over(struct pulse *pulse, int64_t now_ms)
{
    int64_t until_ms = atomic_load_explicit(&pulse->good_until_ms, memory_order_acquire);
    return until_ms != 0 && now_ms > until_ms;
}

bool pulse_missed(struct pulse *pulse, int64_t now_ms)
{
    bool over = is_over(pulse, now_ms);
    if (over) {
        atomic_store(&pulse->missed, true);
    }
    return over;
}

bool pulse_was_missed(struct pulse *pulse, int64_t now_ms)
{
    return atomic_exchange(&pulse->missed, false) || is_over(pulse, now_ms);
}

void pulse_beat(struct pulse *pulse, int64_t now_ms, int64_t good_ms)
{
    atomic_store_explicit(&pulse->good_until_ms, now_ms + good_ms, memory_order_release);
}

void pulse_end(struct pulse *pulse)
{
    atomic_store(&pulse->good_until_ms, 0);
}
