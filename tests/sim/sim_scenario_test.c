/* Bugs that the simulator has found, each as the shortest story that showed it, led by hand; and
 * that a run is decided by its seed. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "peer/peer.h"
#include "sim.h"
#include "sim_faults.h"

static struct sim_options quiet(int nodes)
{
    return (struct sim_options){.seed = 1, .nodes_count = nodes, .partitions_count = 1};
}

static bool first_is_up(struct sim *sim)
{
    return sim->nodes[0].state == NODE_UP;
}

static bool first_is_down(struct sim *sim)
{
    return sim->nodes[0].state == NODE_DOWN;
}

static bool has_controller(struct sim *sim)
{
    return zk_mem_peek(sim->zk, "/controller", NULL, NULL);
}

/* SIGTERM hung for as long as ZooKeeper was away, because the controller waited for its resignation
 * to be taken, and before that for the answer of its own machine to its wish to hand over. */
Test(sim_scenario, the_controller_stops_while_zookeeper_is_away)
{
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    cr_assert(sim_until(sim, 10000 * SIM_MS, has_controller));
    (void)sim_until(sim, 1000 * SIM_MS, NULL);
    sim->ending = true;
    zk_mem_disconnect(sim->zk, sim_zk_session_id(&sim->nodes[0].zk));
    sim_node_stop(&sim->nodes[0]);
    cr_assert(sim_until(sim, 30000 * SIM_MS, first_is_down));
    sim_free(sim);
}

/* The first steps of a start went on with a session that had been closed. */
Test(sim_scenario, a_session_may_expire_at_any_moment_of_a_start)
{
    for (int turns = 1; turns < 40; turns++) {
        struct sim_options options = quiet(1);
        struct sim *sim = sim_new(&options);
        zk_mem_set_loss_rate(sim->zk, 3);
        for (int i = 0; i < turns; i++) {
            sim_step(sim);
        }
        zk_mem_expire(sim->zk, sim_zk_session_id(&sim->nodes[0].zk));
        zk_mem_set_loss_rate(sim->zk, 0);
        cr_assert(sim_until(sim, 20000 * SIM_MS, first_is_up), "after %d turns: %s", turns,
                  sim->failure);
        sim_free(sim);
    }
}

/* A broker that stopped while it sent something to another one never heard of it again. */
struct heard {
    int count;
    enum err err;
};

static void on_heard(void *arg, enum err err, struct bytes response)
{
    struct heard *heard = arg;
    (void)response;
    heard->count++;
    heard->err = err;
}

Test(sim_scenario, what_waits_for_a_peer_is_told_when_the_peers_are_freed)
{
    struct sim_time time;
    struct sim_clock clock;
    struct sim_net_options options = sim_net_options_default();
    struct heard heard = {0};
    sim_time_init(&time);
    sim_clock_init(&clock, &time);
    struct sim_net *net = sim_net_new(&time, 1, &options);
    struct loop *loop = loop_new("control", -1, &clock.clock);
    struct peers *peers = peers_new(loop, sim_net_host(net, "here"), 1, 1000);
    peers_send(peers, 2, "there", 9092, (struct bytes){(const uint8_t *)"x", 1}, on_heard, &heard);
    peers_free(peers);
    cr_assert_eq(heard.count, 1);
    cr_assert_eq(heard.err, ERR_CLOSED);
    while (loop_turn(loop)) {
    }
    loop_free(loop);
    sim_net_free(net);
    sim_time_fini(&time);
}

Test(sim_run, equal_seeds_give_equal_traces_and_others_do_not)
{
    uint64_t hashes[2];
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct sim_options options;
        struct sim_result result[2];
        sim_options_draw(&options, seed);
        for (int i = 0; i < 2; i++) {
            sim_run(&options, &result[i]);
            cr_assert_not(result[i].failed, "%s", result[i].failure);
        }
        cr_assert_eq(result[0].hash, result[1].hash);
        cr_assert_eq(result[0].steps, result[1].steps);
        hashes[seed - 1] = result[0].hash;
    }
    cr_assert_neq(hashes[0], hashes[1]);
}
