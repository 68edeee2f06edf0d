/* hist.h: a histogram of times with the same relative error everywhere (below one in 128), as HDR
 * histograms have it: exact below 128, then 128 buckets for each doubling.
 *
 * Threads: one at a time. */
#pragma once

#include <stdint.h>

enum { HIST_SUB_BITS = 7, HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS };

/* Zero-initialised it is empty. */
struct hist {
    uint64_t counts[HIST_BUCKETS];
    uint64_t total;
    uint64_t max;
};

void hist_add(struct hist *hist, uint64_t value);

/* The value that `fraction` (0 to 1) of all values do not exceed; the bucket's upper end, and never
 * more than the largest value. 0 when empty. */
uint64_t hist_at(const struct hist *hist, double fraction);
