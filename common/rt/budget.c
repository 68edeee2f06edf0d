#include "rt/budget.h"

#include "base/must.h"

void budget_init(struct budget *budget, int64_t total_bytes)
{
    must(total_bytes > 0);
    *budget = (struct budget){.total_bytes = total_bytes};
    atomic_init(&budget->free_bytes, total_bytes);
    atomic_init(&budget->starving_mask, 0);
}

int64_t budget_used(const struct budget *budget)
{
    return budget->total_bytes - atomic_load(&budget->free_bytes);
}

/* Take `bytes` from the shared pot. A need larger than the whole is met when the pot is full: it
 * then goes below zero, and nobody else gets anything until it is back. */
static bool budget_take(struct budget *budget, int64_t bytes)
{
    int64_t have = atomic_load(&budget->free_bytes);
    do {
        if (have < bytes && have < budget->total_bytes) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&budget->free_bytes, &have, have - bytes));
    return true;
}

/* Give to the pot, and wake every loop that waits for it. */
static void budget_give(struct budget *budget, int64_t bytes)
{
    if (bytes > 0) {
        atomic_fetch_add(&budget->free_bytes, bytes);
    }
    uint64_t mask = atomic_exchange(&budget->starving_mask, 0);
    while (mask != 0) {
        struct budget_lease *lease = budget->leases[__builtin_ctzll(mask)];
        mask &= mask - 1;
        if (!atomic_exchange(&lease->wake_posted, true)) {
            loop_post(lease->loop, &lease->wake);
        }
    }
}

/* Take from the lease's own share, refilled from the pot by chunks. */
static bool lease_take(struct budget_lease *lease, int64_t bytes)
{
    if (lease->spare_bytes >= bytes) {
        lease->spare_bytes -= bytes;
        return true;
    }
    int64_t missing = bytes - lease->spare_bytes;
    int64_t chunk = missing < BUDGET_CHUNK_BYTES ? BUDGET_CHUNK_BYTES : missing;
    if (chunk <= lease->budget->total_bytes && budget_take(lease->budget, chunk)) {
        lease->spare_bytes += chunk - bytes;
        return true;
    }
    /* Less than a chunk may still be enough. What is spare goes back first, so that a need larger
     * than the whole budget can see the pot full. */
    atomic_fetch_add(&lease->budget->free_bytes, lease->spare_bytes);
    lease->spare_bytes = 0;
    return budget_take(lease->budget, bytes);
}

static void lease_serve(struct budget_lease *lease)
{
    while (!list_empty(&lease->waiters)) {
        struct budget_waiter *waiter =
            container_of(lease->waiters.next, struct budget_waiter, link);
        if (!lease_take(lease, waiter->need_bytes)) {
            /* Announce first, then try again: a release in between sees the bit or fed the pot
             * before. */
            atomic_fetch_or(&lease->budget->starving_mask, (uint64_t)1 << loop_index(lease->loop));
            if (!lease_take(lease, waiter->need_bytes)) {
                return;
            }
        }
        list_remove(&waiter->link);
        waiter->granted(waiter);
    }
}

static void on_wake(struct loop_msg *msg)
{
    struct budget_lease *lease = container_of(msg, struct budget_lease, wake);
    atomic_store(&lease->wake_posted, false);
    lease_serve(lease);
}

void budget_lease_init(struct budget_lease *lease, struct budget *budget, struct loop *loop)
{
    *lease = (struct budget_lease){.budget = budget, .loop = loop};
    lease->wake.fn = on_wake;
    list_init(&lease->waiters);
    must(loop_index(loop) >= 0);
    budget->leases[loop_index(loop)] = lease;
}

void budget_lease_fini(struct budget_lease *lease)
{
    must(list_empty(&lease->waiters));
    atomic_fetch_add(&lease->budget->free_bytes, lease->spare_bytes);
    lease->spare_bytes = 0;
}

bool budget_reserve(struct budget_lease *lease, int64_t bytes)
{
    must(bytes >= 0);
    return list_empty(&lease->waiters) && lease_take(lease, bytes);
}

void budget_wait(struct budget_lease *lease, struct budget_waiter *waiter, int64_t bytes)
{
    waiter->need_bytes = bytes;
    list_push_back(&lease->waiters, &waiter->link);
    lease_serve(lease);
}

void budget_wait_cancel(struct budget_waiter *waiter)
{
    list_remove(&waiter->link);
}

void budget_release(struct budget_lease *lease, int64_t bytes)
{
    must(bytes >= 0);
    lease->spare_bytes += bytes;
    bool others_starve = atomic_load(&lease->budget->starving_mask) != 0;
    if (others_starve || lease->spare_bytes > 2 * BUDGET_CHUNK_BYTES ||
        !list_empty(&lease->waiters)) {
        int64_t back = lease->spare_bytes;
        lease->spare_bytes = 0;
        budget_give(lease->budget, back);
    }
}
