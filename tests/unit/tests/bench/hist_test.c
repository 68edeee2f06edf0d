/* The histogram of the load generator: what it says is within one in 128 of the truth, and never
 * below it. */
#include "bench/load/hist.h"

#include <criterion/criterion.h>
#include <string.h>

static struct hist hist;

static void fill_squares(uint64_t count)
{
    memset(&hist, 0, sizeof(hist));
    for (uint64_t i = 1; i <= count; i++) {
        hist_add(&hist, i * i);
    }
}

Test(hist, an_empty_one_says_zero)
{
    memset(&hist, 0, sizeof(hist));
    cr_assert_eq(hist_at(&hist, 0.5), 0);
    cr_assert_eq(hist.max, 0);
}

Test(hist, small_values_are_exact)
{
    memset(&hist, 0, sizeof(hist));
    for (uint64_t i = 0; i < 100; i++) {
        hist_add(&hist, i);
    }
    cr_assert_eq(hist_at(&hist, 0.5), 49);
    cr_assert_eq(hist_at(&hist, 0.99), 98);
    cr_assert_eq(hist_at(&hist, 1.0), 99);
}

Test(hist, percentiles_are_near_the_truth_and_not_below_it)
{
    const uint64_t count = 100000;
    fill_squares(count);
    for (int percent = 1; percent <= 100; percent++) {
        uint64_t rank = count * (uint64_t)percent / 100;
        uint64_t truth = rank * rank;
        uint64_t said = hist_at(&hist, percent / 100.0);
        cr_assert_geq(said, truth, "%d%%", percent);
        cr_assert_leq(said, truth + truth / 128 + 1, "%d%%", percent);
    }
}

Test(hist, the_largest_value_is_kept_as_it_is)
{
    memset(&hist, 0, sizeof(hist));
    hist_add(&hist, 1);
    hist_add(&hist, UINT64_MAX);
    hist_add(&hist, 123456789);
    cr_assert_eq(hist.max, UINT64_MAX);
    cr_assert_eq(hist_at(&hist, 1.0), UINT64_MAX);
    cr_assert_eq(hist.total, 3);
}
