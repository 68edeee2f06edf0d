#include "rt/throttle.h"

#include <criterion/criterion.h>

Test(throttle, without_a_limit_nothing_is_too_much)
{
    struct throttle throttle;
    throttle_init(&throttle, 11, 1000);
    throttle_note(&throttle, 0, INT64_C(1) << 40);
    cr_assert_not(throttle_exceeded(&throttle, 0));
    cr_assert_eq(throttle_pause_ms(&throttle, 0), 0);
    throttle_fini(&throttle);
}

Test(throttle, a_burst_is_paid_off_by_a_pause)
{
    struct throttle throttle;
    throttle_init(&throttle, 11, 1000);
    throttle_set_limit(&throttle, 1000);
    throttle_note(&throttle, 0, 1000);
    cr_assert_not(throttle_exceeded(&throttle, 0), "a window is allowed what fits into it");
    throttle_note(&throttle, 0, 2000);
    cr_assert(throttle_exceeded(&throttle, 0));
    int64_t pause_ms = throttle_pause_ms(&throttle, 0);
    cr_assert(pause_ms >= 2000 && pause_ms <= 2002, "%lld", (long long)pause_ms);
    cr_assert(throttle_exceeded(&throttle, 2900));
    cr_assert_not(throttle_exceeded(&throttle, 3000));
    throttle_fini(&throttle);
}

Test(throttle, what_is_older_than_all_windows_does_not_count)
{
    struct throttle throttle;
    throttle_init(&throttle, 2, 1000);
    throttle_set_limit(&throttle, 10);
    throttle_note(&throttle, 0, 1000000);
    cr_assert_eq(throttle_pause_ms(&throttle, 0), 2000, "and the pause is never longer");
    cr_assert(throttle_exceeded(&throttle, 1999));
    cr_assert_not(throttle_exceeded(&throttle, 2000));
    throttle_fini(&throttle);
}

/* Whoever sends only while the limit is not exceeded sends at the limit, on average. */
Test(throttle, who_holds_back_sends_at_the_limit)
{
    struct throttle throttle;
    int64_t sent = 0;
    throttle_init(&throttle, 11, 1000);
    throttle_set_limit(&throttle, 100000);
    for (int64_t now_ms = 0; now_ms < 60000; now_ms += 10) {
        if (!throttle_exceeded(&throttle, now_ms)) {
            throttle_note(&throttle, now_ms, 5000);
            sent += 5000;
        }
    }
    cr_assert(sent > 60 * 95000 && sent < 60 * 106000, "%lld bytes in 60 s", (long long)sent);
    throttle_fini(&throttle);
}

Test(throttle, a_clock_that_another_thread_has_read_earlier_does_no_harm)
{
    struct throttle throttle;
    throttle_init(&throttle, 3, 1000);
    throttle_set_limit(&throttle, 1000);
    throttle_note(&throttle, 5000, 500);
    throttle_note(&throttle, 4990, 600);
    cr_assert(throttle_exceeded(&throttle, 4980));
    cr_assert_not(throttle_exceeded(&throttle, 6200));
    throttle_fini(&throttle);
}
