#include <criterion/criterion.h>

#include "rt/clock.h"

Test(clock, the_system_clock_does_not_go_back)
{
    struct clock *clock = clock_system();
    int64_t before = clock_mono_ns(clock);
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_ns(clock);
        cr_assert_geq(now, before);
        before = now;
    }
    cr_assert_gt(clock_wall_ms(clock), INT64_C(1700000000000)); /* after 2023 */
}

/* Both clocks of a test move together; only the wall clock jumps. */
Test(clock, a_manual_clock_moves_only_when_told)
{
    struct clock_manual manual;
    clock_manual_init(&manual, 5000);
    struct clock *clock = &manual.clock;
    cr_assert_eq(clock_mono_ms(clock), 0);
    cr_assert_eq(clock_wall_ms(clock), 5000);
    clock_manual_advance(&manual, 1500000);
    cr_assert_eq(clock_mono_ns(clock), 1500000);
    cr_assert_eq(clock_mono_ms(clock), 1);
    cr_assert_eq(clock_wall_ms(clock), 5001);
    clock_manual_step_wall(&manual, -4000);
    cr_assert_eq(clock_mono_ms(clock), 1);
    cr_assert_eq(clock_wall_ms(clock), 1001);
}
