#include <criterion/criterion.h>

#include "base/rng.h"

/* A simulation replays from its seed: the sequence is part of the contract. */
Test(rng, equal_seeds_give_equal_sequences)
{
    struct rng a;
    struct rng b;
    struct rng c;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    rng_seed(&c, 43);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_next(&a);
        cr_assert_eq(x, rng_next(&b));
        same += x == rng_next(&c);
    }
    cr_assert_eq(same, 0);
}

/* xoshiro256** of the state (1, 2, 3, 4): the first numbers of its authors' program. */
Test(rng, is_xoshiro256_starstar)
{
    struct rng rng = {{1, 2, 3, 4}};
    cr_assert_eq(rng_next(&rng), 11520u);
    cr_assert_eq(rng_next(&rng), 0u);
    cr_assert_eq(rng_next(&rng), 1509978240u);
    cr_assert_eq(rng_next(&rng), 1215971899390074240u);
}

Test(rng, below_stays_below_and_reaches_everything)
{
    struct rng rng;
    int seen[7] = {0};
    rng_seed(&rng, 1);
    for (int i = 0; i < 7000; i++) {
        uint64_t value = rng_below(&rng, 7);
        cr_assert_lt(value, 7);
        seen[value]++;
    }
    for (int i = 0; i < 7; i++) {
        cr_assert_gt(seen[i], 800);
        cr_assert_lt(seen[i], 1200);
    }
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(rng_below(&rng, 1), 0);
        cr_assert_lt(rng_below(&rng, UINT64_MAX), UINT64_MAX);
    }
}

Test(rng, one_in_nothing_is_never)
{
    struct rng rng;
    int hits = 0;
    rng_seed(&rng, 5);
    for (int i = 0; i < 1000; i++) {
        cr_assert(!rng_one_in(&rng, 0));
        cr_assert(rng_one_in(&rng, 1));
        hits += rng_one_in(&rng, 10);
    }
    cr_assert_gt(hits, 50);
    cr_assert_lt(hits, 200);
}

Test(rng, random_seeds_differ)
{
    struct rng a;
    struct rng b;
    rng_seed_random(&a);
    rng_seed_random(&b);
    cr_assert_neq(rng_next(&a), rng_next(&b));
}
