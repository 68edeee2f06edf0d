/* How waiting ends, always.
 *
 * Bytes are in the pot, in a lease's spare, or reserved. While anybody waits, only the first of all
 * waiters takes any (B4), so every release brings everything to the pot. The lease that cannot
 * serve the first sets its bit in starving_mask, and only then tries the pot once more: from then
 * on a release, on any loop, sees the bit and wakes it (B1). What other leases have spare lies idle
 * there, perhaps for ever: it is called back by a message to each of them (B2), and none takes more
 * than it needs while somebody waits (B3).
 *
 * Who is the first is told by tickets. A lease publishes that of its own first waiter before it
 * looks at those of others, and who is served takes its own back before it looks for others to
 * wake: of two leases that do so at once, one sees the other (B4). */
#include "rt/budget.h"

#include "base/must.h"

void budget_init(struct budget *budget, int64_t total_bytes)
{
    must(total_bytes > 0);
    *budget = (struct budget){.total_bytes = total_bytes};
    atomic_init(&budget->free_bytes, total_bytes);
    atomic_init(&budget->waiters_count, 0);
    atomic_init(&budget->tickets, 0);
    atomic_init(&budget->starving_mask, 0);
}

int64_t budget_used(const struct budget *budget)
{
    return budget->total_bytes - atomic_load(&budget->free_bytes);
}

bool budget_wanted(const struct budget *budget)
{
    return atomic_load(&budget->waiters_count) > 0;
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
    if (!budget_wanted(budget) /* B3 */ && chunk <= budget->total_bytes &&
        budget_take(budget, chunk)) {
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

/* B4 */
static bool lease_is_first(const struct budget_lease *lease)
{
    uint64_t own = atomic_load(&lease->first_ticket);
    for (int i = 0; i < LOOP_INDEX_MAX; i++) {
        const struct budget_lease *other = lease->budget->leases[i];
        uint64_t ticket = other != NULL ? atomic_load(&other->first_ticket) : 0;
        if (ticket != 0 && ticket < own) {
            return false;
        }
    }
    return true;
}

static void lease_publish_first(struct budget_lease *lease)
{
    uint64_t ticket = 0;
    if (!list_empty(&lease->waiters)) {
        ticket = container_of(lease->waiters.next, struct budget_waiter, link)->ticket;
    }
    atomic_store(&lease->first_ticket, ticket);
}

/* It waits no more. Another loop may have the first one now. B4 */
static void waiter_remove(struct budget_waiter *waiter)
{
    struct budget *budget = waiter->lease->budget;
    list_remove(&waiter->link);
    atomic_fetch_sub(&budget->waiters_count, 1);
    lease_publish_first(waiter->lease);
    for (int i = 0; i < LOOP_INDEX_MAX; i++) {
        struct budget_lease *lease = budget->leases[i];
        if (lease != NULL && atomic_load(&lease->first_ticket) != 0) {
            lease_wake(lease);
        }
    }
}

static void lease_serve(struct budget_lease *lease)
{
    while (!list_empty(&lease->waiters) && lease_is_first(lease)) {
        struct budget_waiter *waiter =
            container_of(lease->waiters.next, struct budget_waiter, link);
        if (!lease_take(lease, waiter->need_bytes) && lease_starve(lease, waiter->need_bytes)) {
            return;
        }
        waiter_remove(waiter);
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
    return !budget_wanted(lease->budget) && lease_take(lease, bytes);
}

void budget_wait(struct budget_lease *lease, struct budget_waiter *waiter, int64_t bytes)
{
    waiter->need_bytes = bytes;
    waiter->lease = lease;
    waiter->ticket = atomic_fetch_add(&lease->budget->tickets, 1) + 1;
    atomic_fetch_add(&lease->budget->waiters_count, 1);
    list_push_back(&lease->waiters, &waiter->link);
    lease_publish_first(lease);
    lease_wake(lease);
}

void budget_wait_cancel(struct budget_waiter *waiter)
{
    if (list_linked(&waiter->link)) {
        waiter_remove(waiter); /* the next one may need less */
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
    if (budget_wanted(lease->budget) || lease->spare_bytes > 2 * BUDGET_CHUNK_BYTES) {
        lease_give_back(lease);
    }
}
