#include "base/rng.h"

#include <sys/random.h>

#include "base/must.h"

/* splitmix64 spreads a seed over the state so that near seeds give unlike sequences. */
static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        rng->state[i] = splitmix(&seed);
    }
}

void rng_seed_random(struct rng *rng)
{
    uint64_t seed;
    must(getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed));
    rng_seed(rng, seed);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    must(bound > 0);
    /* Reject the short first range so that every value is equally likely. */
    uint64_t threshold = (0 - bound) % bound;
    uint64_t value;
    do {
        value = rng_next(rng);
    } while (value < threshold);
    return value % bound;
}
