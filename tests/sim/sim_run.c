/* sim_run.c: one run.
 *
 *   set up -> safety phase: faults happen, the checks hold after every step
 *          -> faults end, everything is started
 *          -> liveness phase: within a minute every producer has been acknowledged and every
 *             consumer has read to the end
 *          -> quiet: clients leave, memory returns to zero
 *          -> brokers stop in order -> the disks are audited */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/broker.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "server/server.h"
#include "sim.h"
#include "sim_admin.h"
#include "sim_audit.h"
#include "sim_client.h"
#include "sim_commit.h"
#include "sim_consumer.h"
#include "sim_control.h"
#include "sim_faults.h"
#include "sim_grow.h"
#include "sim_member.h"
#include "sim_model.h"
#include "sim_mover.h"
#include "sim_parts.h"
#include "sim_producer.h"
#include "sim_renew.h"
#include "sim_trim.h"
#include "sim_watch.h"

enum {
    LIVENESS_MS = 90000,
    QUIET_MS = 20000,
    STOP_MS = 60000,
    ZK_TICK_MS = 100,
    GROUP_FAULT_GAP_MS = 500,
    DISKS_TRIMS = 20,
    DISKS_RETENTION_MS = 300,
    IDLE_MAX_MS = 600000, /* Kafka's default */
};

static struct sim *running;

struct sim *sim_running(void)
{
    return running;
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    if (sim->failed) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof(sim->failure), format, args);
    va_end(args);
    sim->failed = true;
    sim_trace_line(&sim->trace, "FAILED", "%s", sim->failure);
    sim->trace.muted = true; /* what its brokers do at their end explains nothing */
}

/* ---- options ---- */

static int between(struct rng *rng, int low, int high)
{
    return low + (int)rng_below(rng, (uint64_t)(high - low + 1));
}

void sim_options_settle(struct sim_options *options)
{
    if (!options->replicated) {
        options->moves = 0; /* the model follows the one disk */
    }
    /* A group whose coordinator may forget what it has acknowledged promises nothing. */
    const uint32_t power = 1u << SIM_FAULT_POWER | 1u << SIM_FAULT_RELAY;
    if ((options->faults & power) != 0 && !options->flush) {
        options->members_count = 0;
        options->lives = 0;
    }
    if (options->members_count > 0 || options->lives > 0) {
        options->retention_ms = 0; /* what they have written is there for ever */
    }
}

void sim_options_group(struct sim_options *options)
{
    /* See sim_options_settle(). */
    options->faults &= ~(1u << SIM_FAULT_POWER | 1u << SIM_FAULT_RELAY | 1u << SIM_FAULT_DIRS);
    options->trims = 0;
    options->relapses = false;
    /* Three, so that leaders can follow each other faster than the third one fetches. */
    options->nodes_count = options->nodes_count > 3 ? options->nodes_count : 3;
    options->replicated = true;
    options->replicas_count = 3;
    options->lag_ms = 8000;
    options->producers_count = 1;
    options->records_per_producer = 50;
    options->members_count = 4;
    options->restless = true;
    options->moves = 12;
    options->fault_gap_ns = options->fault_gap_ns < GROUP_FAULT_GAP_MS * SIM_MS
                                ? options->fault_gap_ns
                                : GROUP_FAULT_GAP_MS * SIM_MS;
}

void sim_options_disks(struct sim_options *options)
{
    options->replicated = false;
    options->replicas_count = 1;
    options->min_insync = 1;
    options->members_count = 0;
    options->lives = 0;
    options->trims = DISKS_TRIMS;
    options->retention_ms = DISKS_RETENTION_MS;
    options->relapses = true;
    options->faults |= 1u << SIM_FAULT_POWER;
}

void sim_options_pair(struct sim_options *options)
{
    options->nodes_count = 2;
    options->replicated = true;
    options->replicas_count = 2;
    options->min_insync = 2;
    options->flush = false;
}

/* What logs lose in order, disks of several directories, and crashes that follow each other: in a
 * third of all runs each. From a generator of its own: other runs are as they were without it. */
static void draw_storage(struct sim_options *options, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed ^ 0xd15c);
    options->trims = rng_one_in(&rng, 3) ? between(&rng, 3, 40) : 0;
    options->retention_ms = rng_one_in(&rng, 6) ? between(&rng, 200, 5000) : 0;
    options->faults |= rng_one_in(&rng, 3) ? 1u << SIM_FAULT_DIRS : 0;
    options->relapses = rng_one_in(&rng, 3);
}

void sim_options_draw(struct sim_options *options, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed ^ 0x5eed);
    *options = (struct sim_options){.seed = seed};
    options->nodes_count = rng_one_in(&rng, 5) ? 1 : between(&rng, 2, 4);
    options->topics_count = between(&rng, 1, 2);
    options->partitions_count = between(&rng, 1, 3);
    options->producers_count = between(&rng, 1, 5);
    options->records_per_producer = between(&rng, 50, 300);
    options->faults_ns = between(&rng, 2000, 20000) * SIM_MS;
    options->fault_gap_ns = between(&rng, 150, 2500) * SIM_MS;
    options->slow = rng_one_in(&rng, 2);
    for (int i = 0; i < SIM_FAULT_DIRS; i++) {
        options->faults |= rng_one_in(&rng, 3) ? 1u << i : 0;
    }
    options->replicated = options->nodes_count > 1 && !rng_one_in(&rng, 4);
    options->replicas_count = !options->replicated ? 1 : between(&rng, 2, options->nodes_count);
    options->min_insync = between(&rng, 1, options->replicas_count > 1 ? 2 : 1);
    options->lag_ms = between(&rng, 1000, 8000);
    options->admin_cycles = rng_one_in(&rng, 2) ? between(&rng, 1, 8) : 0;
    options->members_count = rng_one_in(&rng, 2) ? between(&rng, 1, 4) : 0;
    options->grows = options->partitions_count > 1 && rng_one_in(&rng, 3);
    options->lives = rng_one_in(&rng, 2) ? between(&rng, 1, 6) : 0;
    options->moves = options->nodes_count > 1 && rng_one_in(&rng, 2) ? between(&rng, 1, 12) : 0;
    options->flush = rng_one_in(&rng, 4);
    options->loops_count = between(&rng, 1, SIM_LOOPS_MAX);
    static const uint8_t hops[] = {0, 1, 4, 30};
    options->hop_one_in = hops[rng_below(&rng, 4)];
    options->idle_max_ms = rng_one_in(&rng, 3) ? between(&rng, 200, 5000) : IDLE_MAX_MS;
    draw_storage(options, seed);
    sim_options_settle(options);
}

/* ---- set-up ---- */

static void on_log(void *arg, enum log_level level, const char *logger, const char *event,
                   const char *detail)
{
    struct sim *sim = arg;
    sim_trace_line(&sim->trace, sim->speaking, "%s %s: %s (%s)", log_level_name(level), event,
                   detail, logger);
}

static void on_net(void *arg, const char *line)
{
    struct sim *sim = arg;
    sim_trace_line(&sim->trace, "network", "%s", line);
}

static void on_zk_tick(struct sim_event *event)
{
    struct sim *sim = container_of(event, struct sim, zk_tick);
    zk_mem_tick(sim->zk);
    sim_time_after(&sim->time, event, ZK_TICK_MS * SIM_MS);
}

static void draw_weights(struct sim *sim)
{
    static const uint8_t some[] = {1, 4, 16, 64};
    for (int i = 0; i < 256; i++) {
        sim->weights[i] = sim->options.slow ? some[rng_below(&sim->rng, 4)] : 1;
    }
}

static void add_network(struct sim *sim)
{
    struct sim_net_options net = sim_net_options_default();
    net.window_bytes = (size_t)1 << between(&sim->rng, 9, 18);
    net.partial_one_in = rng_below(&sim->rng, 4) * 3;
    net.trace = on_net;
    net.arg = sim;
    sim->net = sim_net_new(&sim->time, rng_next(&sim->rng), &net);
}

static void add_clients(struct sim *sim)
{
    for (int i = 0; i < sim->options.producers_count; i++) {
        int part = (int)rng_below(&sim->rng, (uint64_t)sim_parts_count(sim));
        sim_producer_new(sim, i + 1, part, sim->options.records_per_producer);
    }
    for (int i = 0; i < sim_parts_count(sim); i++) {
        sim_consumer_new(sim, i + 1, i);
    }
    for (int i = 0; i < sim->options.members_count; i++) {
        sim_member_new(sim, i + 1);
    }
    if (sim->options.admin_cycles > 0) {
        sim_admin_new(sim, sim->options.admin_cycles);
    }
    if (sim->options.grows) {
        sim_grow_new(sim);
    }
    if (sim->options.lives > 0) {
        sim_renew_new(sim, sim->options.lives);
    }
    if (sim->options.trims > 0) {
        sim_trim_new(sim, sim->options.trims);
    }
    if (sim->options.moves > 0) {
        sim_mover_new(sim, sim->options.moves);
    }
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = mem_new(struct sim);
    running = sim;
    sim->options = *options;
    sim->speaking = "sim";
    sim_time_init(&sim->time);
    sim_trace_init(&sim->trace, &sim->time, options->print);
    rng_seed(&sim->rng, options->seed);
    draw_weights(sim);
    sim_bug_set(options->bug);
    log_set_sink(on_log, sim);
    add_network(sim);
    sim->zk_clock = mem_new(struct sim_clock);
    sim_clock_init(sim->zk_clock, &sim->time);
    sim->zk = zk_mem_new(&sim->zk_clock->clock, rng_next(&sim->rng));
    sim->zk_tick.fn = on_zk_tick;
    sim_time_after(&sim->time, &sim->zk_tick, 0);
    sim->model = sim_model_new(sim);
    sim->watch = sim_watch_new(sim);
    sim->commit = sim_commit_new(sim);
    sim->group = sim_group_new();
    sim->control = sim_control_new(sim);
    for (int i = 0; i < options->nodes_count; i++) {
        sim_node_init(&sim->nodes[i], sim, i + 1);
        sim_node_start(&sim->nodes[i]);
    }
    add_clients(sim);
    sim->faults = sim_faults_new(sim);
    return sim;
}

/* ---- phases ---- */

static void start_all(struct sim *sim)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->state == NODE_DOWN) {
            sim_node_start(node);
        }
    }
}

static bool all_up(const struct sim *sim)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].state != NODE_UP) {
            return false;
        }
    }
    return true;
}

/* Every replica is in sync again, and every move at its end. */
static bool all_in_sync(struct sim *sim)
{
    int wanted = sim->options.replicas_count;
    for (int i = 0; i < sim_parts_count(sim); i++) {
        bool moved = sim->options.moves > 0;
        if (moved ? !sim_part_at_rest(sim, i) : sim_part_in_sync(sim, i) != wanted) {
            return false;
        }
    }
    return true;
}

static bool all_done(struct sim *sim)
{
    if (!all_up(sim) || !all_in_sync(sim) || sim_admin_topics_left(sim) ||
        sim_mover_orders_left(sim)) {
        return false;
    }
    for (int i = 0; i < sim->clients_count; i++) {
        if (!sim->clients[i]->kind->done(sim->clients[i])) {
            return false;
        }
    }
    return true;
}

/* Who is there and who leads what, as ZooKeeper has it. */
static void trace_states(struct sim *sim)
{
    struct buf tree = {0};
    zk_mem_dump(sim->zk, "/", &tree);
    buf_put_byte(&tree, 0);
    char *rest = (char *)tree.data;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (strstr(line, "/state = ") != NULL || strncmp(line, "/brokers/ids/", 13) == 0 ||
            strncmp(line, "/controller", 11) == 0 ||
            strncmp(line, "/admin/delete_topics/", 21) == 0) {
            sim_trace_line(&sim->trace, "zookeeper", "%s", line);
        }
    }
    buf_fini(&tree);
}

/* Say what is missing. */
static void explain_liveness(struct sim *sim)
{
    char missing[600] = "";
    size_t used = 0;
    for (int i = 0; i < sim->options.nodes_count && used < 500; i++) {
        if (sim->nodes[i].state != NODE_UP) {
            used += (size_t)snprintf(missing + used, sizeof(missing) - used, " %s is not up;",
                                     sim->nodes[i].name);
        }
    }
    for (int i = 0; i < sim->clients_count && used < 500; i++) {
        if (!sim->clients[i]->kind->done(sim->clients[i])) {
            used += (size_t)snprintf(missing + used, sizeof(missing) - used, " %s waits;",
                                     sim->clients[i]->name);
        }
    }
    for (int i = 0; i < sim_parts_count(sim) && used < 500; i++) {
        used += (size_t)snprintf(missing + used, sizeof(missing) - used,
                                 " partition %d has %d in sync%s;", i, sim_part_in_sync(sim, i),
                                 sim_part_at_rest(sim, i) ? "" : ", is not where it should be");
    }
    if (sim_admin_topics_left(sim)) {
        used +=
            (size_t)snprintf(missing + used, sizeof(missing) - used, " a deleted topic is left;");
    }
    if (sim_mover_orders_left(sim)) {
        used += (size_t)snprintf(missing + used, sizeof(missing) - used, " an order is left;");
    }
    trace_states(sim);
    sim_fail(sim, "liveness: %d s after the last fault:%s", LIVENESS_MS / 1000, missing);
}

/* Does no request hold memory? What loops have leased but not handed out is not held. */
static bool budget_idle(const struct broker *broker)
{
    int64_t client = budget_used(&broker->client_memory);
    int64_t internal = budget_used(&broker->internal_memory);
    for (int i = 0; i < broker->netloops_count; i++) {
        client -= broker->netloops[i].client_memory.spare_bytes;
        internal -= broker->netloops[i].internal_memory.spare_bytes;
    }
    return client == 0 && internal == 0;
}

static bool memory_is_back(struct sim *sim)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        const struct broker *broker = server_broker(sim->nodes[i].server);
        if (!budget_idle(broker)) {
            return false;
        }
    }
    return true;
}

static void check_memory(struct sim *sim)
{
    if (!sim_until(sim, QUIET_MS * SIM_MS, memory_is_back) && !sim->failed) {
        sim_fail(sim, "memory: requests still hold some of it, although every client has left");
    }
}

static bool all_down(struct sim *sim)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].server != NULL) {
            return false;
        }
    }
    return true;
}

static void stop_clients(struct sim *sim)
{
    for (int i = 0; i < sim->clients_count; i++) {
        sim_client_stop(sim->clients[i]);
    }
}

static void audit(struct sim *sim)
{
    sim->ending = true;
    for (int i = 0; i < sim->options.nodes_count; i++) {
        sim_node_stop(&sim->nodes[i]);
    }
    if (!sim_until(sim, STOP_MS * SIM_MS, all_down)) {
        sim_fail(sim, "a broker does not stop");
        return;
    }
    for (int i = 0; i < sim->options.nodes_count && !sim->failed; i++) {
        sim_model_audit_disk(sim->model, &sim->nodes[i]);
    }
    if (!sim->failed) {
        sim_audit_replicas(sim);
    }
}

static void phases(struct sim *sim)
{
    (void)sim_until(sim, sim->options.faults_ns, NULL);
    sim_trace_line(&sim->trace, "sim", "the faults end");
    sim_faults_stop(sim->faults);
    sim->calm_since_ns = sim->time.now_ns;
    start_all(sim);
    if (!sim->failed && !sim_until(sim, LIVENESS_MS * SIM_MS, all_done) && !sim->failed) {
        explain_liveness(sim);
    }
    stop_clients(sim);
    if (!sim->failed) {
        check_memory(sim);
    }
    if (!sim->failed) {
        audit(sim);
    }
}

void sim_free(struct sim *sim)
{
    sim_faults_stop(sim->faults);
    for (int i = 0; i < sim->options.nodes_count; i++) {
        sim_node_crash(&sim->nodes[i], false);
    }
    for (int i = 0; i < sim->clients_count; i++) {
        sim_client_free(sim->clients[i]);
    }
    sim_faults_free(sim->faults);
    for (int i = 0; i < sim->options.nodes_count; i++) {
        sim_node_fini(&sim->nodes[i]);
    }
    sim_time_cancel(&sim->time, &sim->zk_tick);
    zk_mem_free(sim->zk);
    mem_free(sim->zk_clock);
    sim_net_free(sim->net);
    sim_model_free(sim->model);
    sim_watch_free(sim->watch);
    sim_commit_free(sim->commit);
    sim_group_free(sim->group);
    sim_control_free(sim->control);
    sim_time_fini(&sim->time);
    log_set_sink(NULL, NULL);
    sim_bug_set(SIM_BUG_NONE);
    running = NULL;
    mem_free(sim);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct sim *sim = sim_new(options);
    phases(sim);
    *result = (struct sim_result){
        .failed = sim->failed,
        .hash = sim->trace.hash,
        .steps = sim->steps,
        .simulated_ns = sim->time.now_ns,
        .acked = sim_model_acked_count(sim->model),
        .consumed = sim_model_read_count(sim->model),
        .hops = sim->hops,
        .faults = sim_faults_count(sim->faults),
        .crashes = sim_faults_crashes(sim->faults),
    };
    snprintf(result->failure, sizeof(result->failure), "%s", sim->failure);
    if (sim->failed && options->print == NULL && options->tail != NULL) {
        sim_trace_tail(&sim->trace, options->tail);
    }
    sim_free(sim);
}
