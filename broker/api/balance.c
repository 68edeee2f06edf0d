#include "api/balance.h"

#include "api/broker.h"

/* What the loop has to do, as of its last look; nothing when that was long ago. */
static int share_of(struct netloop *netloop, int64_t now_ms)
{
    int64_t looked_ms = atomic_load_explicit(&netloop->balance.looked_ms, memory_order_relaxed);
    return now_ms - looked_ms > BALANCE_STALE_MS
               ? 0
               : atomic_load_explicit(&netloop->balance.share, memory_order_relaxed);
}

static struct netloop *fewest_connections(struct broker *broker)
{
    struct netloop *best = &broker->netloops[0];
    for (int i = 1; i < broker->netloops_count; i++) {
        if (atomic_load(&broker->netloops[i].placed) < atomic_load(&best->placed)) {
            best = &broker->netloops[i];
        }
    }
    return best;
}

static struct netloop *least_busy(struct broker *broker, int64_t now_ms)
{
    struct netloop *best = &broker->netloops[0];
    for (int i = 1; i < broker->netloops_count; i++) {
        if (share_of(&broker->netloops[i], now_ms) < share_of(best, now_ms)) {
            best = &broker->netloops[i];
        }
    }
    return best;
}

struct netloop *balance_place(struct broker *broker)
{
    if (!broker->env.threads) {
        return fewest_connections(broker);
    }
    int64_t now_ms = clock_mono_ms(broker->env.clock);
    for (int i = 0; i < broker->netloops_count; i++) {
        if (share_of(&broker->netloops[i], now_ms) < BALANCE_FREE_PERCENT) {
            return &broker->netloops[i];
        }
    }
    return least_busy(broker, now_ms);
}

/* By how much the loop is above the other one, half of that is to go: of its connections as large a
 * part, as if all were equal. One that is alone stays. */
static int moves_wanted(const struct netloop *netloop, int share, int other)
{
    if (share < BALANCE_CROWDED_PERCENT || share - other < BALANCE_GAP_PERCENT ||
        netloop->clients_count < 2) {
        return 0;
    }
    int moves = netloop->clients_count * (share - other) / (2 * share);
    return moves > 0 ? moves : 1;
}

static void look(struct netloop *netloop, int64_t now_ms)
{
    struct balance *balance = &netloop->balance;
    int64_t looked_ms = atomic_load_explicit(&balance->looked_ms, memory_order_relaxed);
    int64_t cpu_us = loop_cpu_us(netloop->loop);
    int share = (int)((cpu_us - balance->cpu_us) / (10 * (now_ms - looked_ms)));
    balance->cpu_us = cpu_us;
    atomic_store_explicit(&balance->share, share, memory_order_relaxed);
    atomic_store_explicit(&balance->looked_ms, now_ms, memory_order_relaxed);
    balance->to = least_busy(netloop->broker, now_ms);
    balance->moves_left = moves_wanted(netloop, share, share_of(balance->to, now_ms));
}

bool balance_leaves(struct netloop *netloop)
{
    struct balance *balance = &netloop->balance;
    struct broker *broker = netloop->broker;
    struct balance_policy *policy = broker->env.balance;
    if (broker->netloops_count < 2 || netloop->draining) {
        return false;
    }
    if (policy != NULL || !broker->env.threads) {
        return policy != NULL && policy->leaves(policy, netloop);
    }
    int64_t now_ms = loop_now_ms(netloop->loop);
    if (now_ms - atomic_load_explicit(&balance->looked_ms, memory_order_relaxed) >=
        BALANCE_LOOK_MS) {
        look(netloop, now_ms);
    }
    if (balance->moves_left == 0) {
        return false;
    }
    balance->moves_left--;
    return true;
}
