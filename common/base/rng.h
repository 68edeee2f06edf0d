/* rng.h: a small pseudo-random generator (xoshiro256**) with its state in the open, so that a
 * simulation replays from a seed. Not for secrets: nothing in this program needs any yet. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

/* Equal seeds give equal sequences. */
void rng_seed(struct rng *rng, uint64_t seed);

/* Seed from the kernel. */
void rng_seed_random(struct rng *rng);

uint64_t rng_next(struct rng *rng);

/* Uniform in [0, bound); bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* True once in `n` calls on average; never when n is 0. */
static inline bool rng_one_in(struct rng *rng, uint64_t n)
{
    return n > 0 && rng_below(rng, n) == 0;
}
