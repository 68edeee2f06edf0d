/* budget.h: bytes of memory by class, so that nothing grows without bound.
 *
 * Bytes are reserved before a request is read and released when its records are in the log and its
 * reply has left. When a class is empty its loops stop reading connections of that class; these are
 * served in the order in which they came, whichever loop they are on, and nobody overtakes them:
 * under a steady flow of small needs a large one would wait for ever. Replication has a class of
 * its own, so that clients cannot starve followers. Loops lease chunks of 1 MiB from one atomic per
 * class, so the hot path stays on its thread.
 *
 * Threads: struct budget from any; struct budget_lease belongs to one loop. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "rt/loop.h"

enum { BUDGET_CHUNK_BYTES = 1 << 20 };

struct budget {
    _Atomic int64_t free_bytes;
    int64_t total_bytes;
    _Atomic int32_t waiters_count;
    _Atomic uint64_t tickets; /* given to waiters so far */
    /* The loop of the first waiter, told when bytes come back; see budget.c. */
    _Atomic uint64_t starving_mask;
    struct budget_lease *leases[LOOP_INDEX_MAX];
};

/* One loop's share of one budget. */
struct budget_lease {
    struct budget *budget;
    struct loop *loop;
    int64_t spare_bytes;
    struct list waiters;           /* of struct budget_waiter, first come first served */
    _Atomic uint64_t first_ticket; /* that of the first of them; 0: none waits */
    struct loop_msg wake;
    _Atomic bool wake_posted;
    struct loop_msg recall;
    _Atomic bool recall_posted;
};

struct budget_waiter {
    struct list link;
    struct budget_lease *lease; /* that it waits at */
    uint64_t ticket;
    int64_t need_bytes;
    void (*granted)(struct budget_waiter *waiter); /* the bytes are reserved when this is called */
};

void budget_init(struct budget *budget, int64_t total_bytes);
void budget_lease_init(struct budget_lease *lease, struct budget *budget, struct loop *loop);

/* Gives everything back; no waiter may be left. */
void budget_lease_fini(struct budget_lease *lease);

/* True: `bytes` are the caller's. False when there is not enough, or others wait already: then use
 * budget_wait(). A request larger than the whole budget is granted when nothing else is reserved.
 */
bool budget_reserve(struct budget_lease *lease, int64_t bytes);

/* granted() is called in a later turn, never before this returns. */
void budget_wait(struct budget_lease *lease, struct budget_waiter *waiter, int64_t bytes);
void budget_wait_cancel(struct budget_waiter *waiter);

/* Take without asking, for memory that is in use already: the pot may go below zero, and then
 * nobody gets anything until it is above again. */
void budget_charge(struct budget_lease *lease, int64_t bytes);

/* On any loop: bytes may be released through another lease than the one that reserved them. */
void budget_release(struct budget_lease *lease, int64_t bytes);

int64_t budget_used(const struct budget *budget);

/* Does anybody wait? */
bool budget_wanted(const struct budget *budget);
