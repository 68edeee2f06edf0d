/* ref.h: how many hold a thing that goes when nobody does.
 *
 * Made with a count of 1, its maker's. Only who holds it may let others hold it. Threads: any. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/must.h"

static inline void ref_hold(_Atomic int32_t *count)
{
    int32_t before = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    must(before > 0);
}

/* True: it was the last. Everything that the others did to it is seen, so it may be freed. */
MUST_USE static inline bool ref_drop(_Atomic int32_t *count)
{
    int32_t before = atomic_fetch_sub_explicit(count, 1, memory_order_acq_rel);
    must(before > 0);
    return before == 1;
}
