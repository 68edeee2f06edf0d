#include "bench/load/hist.h"

#include "base/must.h"

enum { SUB_COUNT = 1 << HIST_SUB_BITS };

static uint32_t bucket_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (uint32_t)value;
    }
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - HIST_SUB_BITS;
    return ((shift + 1) << HIST_SUB_BITS) + (uint32_t)(value >> shift) - SUB_COUNT;
}

/* The largest value of a bucket. */
static uint64_t bucket_end(uint32_t bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    uint32_t shift = (bucket >> HIST_SUB_BITS) - 1;
    uint64_t sub = (bucket & (SUB_COUNT - 1)) + SUB_COUNT;
    return (sub << shift) + (((uint64_t)1 << shift) - 1);
}

void hist_add(struct hist *hist, uint64_t value)
{
    hist->counts[bucket_of(value)]++;
    hist->total++;
    if (value > hist->max) {
        hist->max = value;
    }
}

uint64_t hist_at(const struct hist *hist, double fraction)
{
    must(fraction >= 0 && fraction <= 1);
    uint64_t wanted = (uint64_t)(fraction * (double)hist->total + 0.5);
    wanted = wanted > 0 ? wanted : 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->counts[i];
        if (seen >= wanted) {
            uint64_t end = bucket_end(i);
            return end < hist->max ? end : hist->max;
        }
    }
    return hist->max;
}
