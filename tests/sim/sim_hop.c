#include "sim_hop.h"

#include "api/broker.h"
#include "net/conn.h"
#include "sim.h"

static bool hop_leaves(struct balance_policy *policy, struct netloop *netloop)
{
    struct sim_hop *hop = (struct sim_hop *)policy;
    struct broker *broker = netloop->broker;
    if (hop->one_in == 0 || !rng_one_in(&hop->rng, hop->one_in)) {
        return false;
    }
    uint64_t to = rng_below(&hop->rng, (uint64_t)broker->netloops_count);
    netloop->balance.to = &broker->netloops[to];
    return true;
}

void sim_hop_init(struct sim_hop *hop, uint64_t seed, uint64_t one_in)
{
    *hop = (struct sim_hop){.policy.leaves = hop_leaves, .one_in = one_in};
    rng_seed(&hop->rng, seed);
}

/* ---- counting them ---- */

void __real_conn_move(struct conn *conn, struct loop *loop);
void __wrap_conn_move(struct conn *conn, struct loop *loop);

void __wrap_conn_move(struct conn *conn, struct loop *loop)
{
    struct sim *sim = sim_running();
    struct net_name name;
    sim->hops++;
    sim_trace_note(&sim->trace, sim->speaking, "the connection of %s goes from %s to %s",
                   conn_peer(conn, &name), loop_name(conn_loop(conn)), loop_name(loop));
    __real_conn_move(conn, loop);
}
