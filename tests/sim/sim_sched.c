/* sim_sched.c: what is next.
 *
 * Each step the scheduler lists what can run: every loop with a message, a task or a timer that is
 * due, every worker pool with an item, and the events whose time has come. It picks one by weights
 * that the run has drawn, runs it, and lets a few microseconds pass. When nothing can run, time
 * moves to the next timer or event. What waited for a slow disk in its turn is not picked before
 * the time that it waited is over. A loop whose timer was due but fired nothing (the wheel knows
 * only a lower bound) is not asked again before time has moved. */
#include "api/broker.h"
#include "base/must.h"
#include "server/server.h"
#include "sim.h"
#include "sim_client.h"
#include "sim_watch.h"

enum {
    ACTORS_MAX = 160,
    STEP_NS_MAX = 20000,
    TAG_EVENTS = 0,
    TAG_NODE = 1, /* + 16 * node: control loop, pool, network loops; at last the readers */
    READERS = 15,
    TAG_CLIENT = 128 /* + client */
};

struct choice {
    struct sim_actor actors[ACTORS_MAX];
    int count;
    uint64_t weight;
    int64_t wake_ns; /* when something can run, if nothing can now */
};

static void offer(struct sim *sim, struct choice *choice, const struct sim_actor *actor)
{
    must(choice->count < ACTORS_MAX);
    choice->actors[choice->count++] = *actor;
    choice->weight += sim->weights[actor->tag];
}

static void wake_at(struct choice *choice, int64_t at_ns)
{
    choice->wake_ns = at_ns < choice->wake_ns ? at_ns : choice->wake_ns;
}

static bool paused(struct sim *sim, struct choice *choice, uint32_t tag)
{
    if (sim->paused_until_ns[tag] <= sim->time.now_ns) {
        return false;
    }
    wake_at(choice, sim->paused_until_ns[tag]);
    return true;
}

static void look_at_loop(struct sim *sim, struct choice *choice, struct loop *loop,
                         struct sim_node *node, uint32_t tag)
{
    int64_t extra_ns = node != NULL ? node->clock.extra_ns : 0;
    if (paused(sim, choice, tag)) {
        return;
    }
    int64_t deadline_ms = loop_next_deadline_ms(loop);
    int64_t at_ns = deadline_ms == INT64_MAX ? INT64_MAX : deadline_ms * SIM_MS - extra_ns;
    if (loop_busy(loop) || at_ns <= sim->time.now_ns) {
        offer(sim, choice, &(struct sim_actor){.loop = loop, .node = node, .tag = tag});
    } else {
        wake_at(choice, at_ns);
    }
}

static void look_at_pool(struct sim *sim, struct choice *choice, struct worker_pool *pool,
                         struct sim_node *node, uint32_t tag)
{
    if (worker_pool_busy(pool) && !paused(sim, choice, tag)) {
        offer(sim, choice, &(struct sim_actor){.pool = pool, .node = node, .tag = tag});
    }
}

static void look_at_node(struct sim *sim, struct choice *choice, struct sim_node *node)
{
    uint32_t tag = TAG_NODE + 16 * (uint32_t)(node->id - 1);
    if (node->server == NULL) {
        return;
    }
    struct broker *broker = server_broker(node->server);
    look_at_loop(sim, choice, broker->control, node, tag);
    for (int i = 0; i < broker->netloops_count; i++) {
        look_at_loop(sim, choice, broker->netloops[i].loop, node, tag + 2 + (uint32_t)i);
    }
    look_at_pool(sim, choice, broker->workers, node, tag + 1);
    look_at_pool(sim, choice, broker->readers, node, tag + READERS);
}

static void look(struct sim *sim, struct choice *choice)
{
    *choice = (struct choice){.wake_ns = INT64_MAX};
    if (sim_time_next_ns(&sim->time) <= sim->time.now_ns) {
        offer(sim, choice, &(struct sim_actor){.tag = TAG_EVENTS});
    } else {
        wake_at(choice, sim_time_next_ns(&sim->time));
    }
    for (int i = 0; i < sim->options.nodes_count; i++) {
        look_at_node(sim, choice, &sim->nodes[i]);
    }
    for (int i = 0; i < sim->clients_count; i++) {
        look_at_loop(sim, choice, sim_client_loop(sim->clients[i]), NULL, TAG_CLIENT + (uint32_t)i);
    }
}

static const struct sim_actor *pick(struct sim *sim, const struct choice *choice)
{
    uint64_t left = rng_below(&sim->rng, choice->weight);
    for (int i = 0; i < choice->count; i++) {
        uint64_t weight = sim->weights[choice->actors[i].tag];
        if (left < weight) {
            return &choice->actors[i];
        }
        left -= weight;
    }
    must_not_get_here();
}

/* A disk takes its time. In flush mode much may go wrong meanwhile. */
static void rest(struct sim *sim, const struct sim_actor *actor)
{
    enum { REST_MAX_MS = 20, LONG_REST_MAX_MS = 400 };
    if (sim->options.flush && rng_one_in(&sim->rng, 2)) {
        int64_t max_ms = rng_one_in(&sim->rng, 8) ? LONG_REST_MAX_MS : REST_MAX_MS;
        int64_t rest_ns = (int64_t)rng_below(&sim->rng, (uint64_t)(max_ms * SIM_MS));
        sim->paused_until_ns[actor->tag] = sim->time.now_ns + rest_ns;
    }
}

static void run(struct sim *sim, const struct sim_actor *actor)
{
    bool busy = true;
    sim->speaking = actor->node != NULL ? actor->node->name : "client";
    if (actor->pool != NULL) {
        (void)worker_pool_step(actor->pool);
        rest(sim, actor);
    } else if (actor->loop != NULL) {
        busy = loop_turn(actor->loop);
    } else {
        (void)sim_time_run_one(&sim->time);
    }
    sim->speaking = "sim";
    if (actor->node != NULL && actor->node->disk.owed_ns > 0) {
        sim->paused_until_ns[actor->tag] = sim->time.now_ns + actor->node->disk.owed_ns;
        actor->node->disk.owed_ns = 0;
    }
    if (!busy) {
        /* Its wheel knew a bound only: it does not say the same again in the same millisecond. */
        sim_time_advance(&sim->time, sim->time.now_ns + SIM_MS);
    }
}

void sim_step(struct sim *sim)
{
    struct choice choice;
    look(sim, &choice);
    if (choice.count == 0) {
        must(choice.wake_ns < INT64_MAX);
        sim_time_advance(&sim->time, choice.wake_ns);
        return;
    }
    struct sim_actor actor = *pick(sim, &choice);
    sim->steps++;
    sim_trace_mix(&sim->trace, ((uint64_t)sim->time.now_ns << 8) ^ actor.tag);
    run(sim, &actor);
    sim_time_advance(&sim->time, sim->time.now_ns + 1 + (int64_t)rng_below(&sim->rng, STEP_NS_MAX));
    if (actor.node != NULL) {
        sim_watch_look(sim->watch, actor.node);
    }
    for (int i = 0; i < sim->options.nodes_count; i++) {
        sim_node_settle(&sim->nodes[i]);
    }
}

bool sim_until(struct sim *sim, int64_t limit_ns, bool (*done)(struct sim *sim))
{
    int64_t end_ns = sim->time.now_ns + limit_ns;
    int64_t look_ns = sim->time.now_ns; /* not at every step: a look costs as much as one */
    while (!sim->failed) {
        if (done != NULL && sim->time.now_ns >= look_ns) {
            if (done(sim)) {
                return true;
            }
            look_ns = sim->time.now_ns + SIM_MS;
        }
        if (sim->time.now_ns >= end_ns) {
            return false;
        }
        sim_step(sim);
    }
    return !sim->failed;
}

void sim_pause_node(struct sim *sim, struct sim_node *node, int64_t until_ns)
{
    for (uint32_t i = 0; i < 16; i++) {
        sim->paused_until_ns[TAG_NODE + 16 * (uint32_t)(node->id - 1) + i] = until_ns;
    }
}

void sim_pause_pool(struct sim *sim, struct sim_node *node, int64_t until_ns)
{
    sim->paused_until_ns[TAG_NODE + 16 * (uint32_t)(node->id - 1) + 1] = until_ns;
}

void sim_resume_all(struct sim *sim)
{
    for (int i = 0; i < 256; i++) {
        sim->paused_until_ns[i] = 0;
    }
}
