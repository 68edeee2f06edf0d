/* How waiting ends, always.
 *
 * Bytes are in the pot, in a lease's spare, or reserved. A lease that cannot serve its first waiter
 * sets its bit in starving_mask, and only then tries the pot once more. From then on every release,
 * on any loop, sees the bit and brings everything to the pot and wakes the starving (B1). What
 * other leases have spare lies idle there, perhaps for ever: it is called back by a message to
 * each of them (B2), and they take no more than they need while somebody starves (B3). */
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

static void lease_wake(struct budget_lease *lease)
{
    if (!atomic_exchange(&lease->wake_posted, true)) {
        loop_post(lease->loop, &lease->wake);
    }
}

/* Give to the pot, and wake every loop that waits for it. */
static void budget_give(struct budget *budget, int64_t bytes)
{
    atomic_fetch_add(&budget->free_bytes, bytes);
    uint64_t mask = atomic_exchange(&budget->starving_mask, 0);
    while (mask != 0) {
        struct budget_lease *lease = budget->leases[__builtin_ctzll(mask)];
        mask &= mask - 1;
        lease_wake(lease);
    }
}

/* Back to the pot with what the lease has spare. B1, B2 */
static void lease_give_back(struct budget_lease *lease)
{
    int64_t back = lease->spare_bytes;
    lease->spare_bytes = 0;
    budget_give(lease->budget, back);
}

/* Take from the lease's own share, refilled from the pot by chunks. */
static bool lease_take(struct budget_lease *lease, int64_t bytes)
{
    if (lease->spare_bytes >= bytes) {
        lease->spare_bytes -= bytes;
        return true;
    }
    struct budget *budget = lease->budget;
    int64_t missing = bytes - lease->spare_bytes;
    int64_t chunk = missing < BUDGET_CHUNK_BYTES ? BUDGET_CHUNK_BYTES : missing;
    bool starving = atomic_load(&budget->starving_mask) != 0; /* B3 */
    if (!starving && chunk <= budget->total_bytes && budget_take(budget, chunk)) {
        lease->spare_bytes += chunk - bytes;
        return true;
    }
    /* Less than a chunk may still be enough. What is spare goes back first, so that a need larger
     * than the whole budget can see the pot full. */
    if (lease->spare_bytes > 0) {
        lease_give_back(lease);
    }
    return budget_take(budget, bytes);
}

/* B2 */
static void recall_spare(struct budget *budget, const struct budget_lease *except)
{
    for (int i = 0; i < LOOP_INDEX_MAX; i++) {
        struct budget_lease *other = budget->leases[i];
        if (other != NULL && other != except && !atomic_exchange(&other->recall_posted, true)) {
            loop_post(other->loop, &other->recall);
        }
    }
}

/* Announce, then try once more: a release in between saw the bit, or had fed the pot before. */
static bool lease_starve(struct budget_lease *lease, int64_t bytes)
{
    uint64_t bit = (uint64_t)1 << loop_index(lease->loop);
    atomic_fetch_or(&lease->budget->starving_mask, bit);
    if (lease_take(lease, bytes)) {
        return false;
    }
    recall_spare(lease->budget, lease);
    return true;
}

static void lease_serve(struct budget_lease *lease)
{
    while (!list_empty(&lease->waiters)) {
        struct budget_waiter *waiter =
            container_of(lease->waiters.next, struct budget_waiter, link);
        if (!lease_take(lease, waiter->need_bytes) && lease_starve(lease, waiter->need_bytes)) {
            return;
        }
        list_remove(&waiter->link);
        waiter->granted(waiter);
    }
}

static void on_recall(struct loop_msg *msg)
{
    struct budget_lease *lease = container_of(msg, struct budget_lease, recall);
    atomic_store(&lease->recall_posted, false);
    if (lease->spare_bytes > 0) { /* else the starving would wake, starve and recall without end */
        lease_give_back(lease);
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
    lease->recall.fn = on_recall;
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
    waiter->lease = lease;
    list_push_back(&lease->waiters, &waiter->link);
    lease_wake(lease);
}

void budget_wait_cancel(struct budget_waiter *waiter)
{
    list_remove(&waiter->link);
    if (!list_empty(&waiter->lease->waiters)) {
        lease_wake(waiter->lease); /* the next one may need less */
    }
}

void budget_charge(struct budget_lease *lease, int64_t bytes)
{
    must(bytes >= 0);
    int64_t spare = lease->spare_bytes < bytes ? lease->spare_bytes : bytes;
    lease->spare_bytes -= spare;
    atomic_fetch_sub(&lease->budget->free_bytes, bytes - spare);
}

void budget_release(struct budget_lease *lease, int64_t bytes)
{
    must(bytes >= 0);
    lease->spare_bytes += bytes;
    bool others_starve = atomic_load(&lease->budget->starving_mask) != 0;
    if (others_starve || lease->spare_bytes > 2 * BUDGET_CHUNK_BYTES ||
        !list_empty(&lease->waiters)) {
        lease_give_back(lease);
    }
}
