/* sim_node.c: the lives of a broker.
 *
 * How a crash is made, since nothing can simply stop running in a program that goes on: at its end
 * the broker is cut off from everything (its disk says ERR_IO, its streams are dead, its ZooKeeper
 * session has no connection), and the disk's image becomes what survives. What is left, a ghost
 * that nobody hears, is then stopped in the orderly way, on a clock of its own, and freed. So a
 * crash also tests that a broker without disk, network and ZooKeeper can be stopped. */
#include <stdio.h>

#include "api/broker.h"
#include "base/mem.h"
#include "base/must.h"
#include "config/config.h"
#include "partition/parts.h"
#include "server/server.h"
#include "sim.h"
#include "sim_faults.h"
#include "sim_watch.h"

enum { GHOST_TURNS_MAX = 200000, GHOST_SECONDS_MAX = 600, FRAGILE_ONE_IN = 4 };

struct sim_node *sim_node_by_id(struct sim *sim, int id)
{
    return id >= 1 && id <= sim->options.nodes_count ? &sim->nodes[id - 1] : NULL;
}

struct sim_node *sim_speaking_node(struct sim *sim)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->speaking == sim->nodes[i].name) {
            return &sim->nodes[i];
        }
    }
    return NULL;
}

static void on_again(struct sim_event *event)
{
    struct sim_node *node = container_of(event, struct sim_node, again);
    if (node->state == NODE_DOWN) {
        sim_node_start(node);
    }
}

static int64_t image_now_ms(void *arg)
{
    struct sim_node *node = arg;
    return clock_wall_ms(&node->clock.clock);
}

void sim_node_init(struct sim_node *node, struct sim *sim, int id)
{
    *node = (struct sim_node){.sim = sim, .id = id, .again.fn = on_again};
    snprintf(node->name, sizeof(node->name), "broker-%d", id);
    sim_clock_init(&node->clock, &sim->time);
    node->image = fs_sim_new(sim->options.seed * 31 + (uint64_t)id);
    fs_sim_set_time(node->image, image_now_ms, node);
}

void sim_node_fini(struct sim_node *node)
{
    sim_time_cancel(&node->sim->time, &node->again);
    must(node->server == NULL);
    fs_sim_free(node->image);
}

/* ---- starting ---- */

static struct config *make_config(struct sim_node *node)
{
    const struct sim_options *options = &node->sim->options;
    char id[16];
    char listeners[64];
    char partitions[16];
    char replicas[16];
    char min_insync[16];
    char lag_ms[16];
    char offsets_parts[16];
    char loops[16];
    char idle_max_ms[16];
    char retention_ms[16];
    snprintf(id, sizeof(id), "%d", node->id);
    snprintf(listeners, sizeof(listeners), "PLAINTEXT://%s:9092", node->name);
    snprintf(partitions, sizeof(partitions), "%d", options->grows ? 1 : options->partitions_count);
    snprintf(replicas, sizeof(replicas), "%d", options->replicas_count);
    snprintf(min_insync, sizeof(min_insync), "%d", options->min_insync);
    snprintf(lag_ms, sizeof(lag_ms), "%d", options->lag_ms);
    snprintf(offsets_parts, sizeof(offsets_parts), "%d", SIM_OFFSETS_PARTS);
    snprintf(loops, sizeof(loops), "%d", options->loops_count);
    snprintf(retention_ms, sizeof(retention_ms), "%d",
             options->retention_ms > 0 ? options->retention_ms : -1);
    snprintf(idle_max_ms, sizeof(idle_max_ms), "%d", options->idle_max_ms);
    const struct config_pair pairs[] = {
        {"broker.id", id},
        {"listeners", listeners},
        {"log.dirs", (options->faults & (1u << SIM_FAULT_DIRS)) != 0 ? "/data,/data2" : "/data"},
        {"zookeeper.connect", "zookeeper:2181"},
        {"zookeeper.session.timeout.ms", "6000"},
        {"num.network.threads", loops},
        {"connections.max.idle.ms", idle_max_ms},
        {"num.partitions", partitions},
        {"default.replication.factor", replicas},
        {"min.insync.replicas", min_insync},
        {"replica.lag.time.max.ms", lag_ms},
        {"offsets.topic.num.partitions", offsets_parts},
        {"offsets.topic.replication.factor", replicas},
        {"group.initial.rebalance.delay.ms", "100"},
        {"log.segment.bytes", "16384"},
        {"socket.request.max.bytes", "60000"},
        {"queued.max.request.bytes", "65536"},
        {"log.flush.offset.checkpoint.interval.ms", "2000"},
        {"log.flush.interval.messages", options->flush ? "1" : "1000000000"},
        {"replica.high.watermark.checkpoint.interval.ms", "1000"},
        {"controller.socket.timeout.ms", "3000"},
        {"log.flush.start.offset.checkpoint.interval.ms", "3000"},
        {"log.retention.ms", retention_ms},
        {"log.retention.check.interval.ms", "700"},
        {"log.initial.task.delay.ms", "300"},
        {"unclean.leader.election.enable", sim_bug_on(SIM_BUG_UNCLEAN) ? "TRUE" : "False"},
    };
    struct config *config;
    struct errmsg msg = {""};
    if (config_from_pairs(pairs, sizeof(pairs) / sizeof(pairs[0]), &config, &msg) != ERR_OK) {
        fprintf(stderr, "simulated broker's configuration: %s\n", msg.text);
        must_not_get_here();
    }
    return config;
}

static void on_started(void *arg, enum err err, const char *text)
{
    struct sim_node *node = arg;
    snprintf(node->start_text, sizeof(node->start_text), "%s", text);
    if (node->state != NODE_STARTING) {
        return;
    }
    if (err != ERR_OK) {
        node->start_failed = true;
        return;
    }
    node->state = NODE_UP;
    sim_trace_line(&node->sim->trace, node->name, "is up, life %d", node->lives);
}

/* The broker cannot go on: main() would send itself SIGTERM. */
static void on_fatal(void *arg, enum err err, const char *text)
{
    struct sim_node *node = arg;
    sim_trace_line(&node->sim->trace, node->name, "gives up: %s (%s)", text, err_name(err));
    node->gave_up = true;
}

/* The life has ended, maybe in the middle of a turn: nobody hears it any more. */
static void on_disk_end(void *arg)
{
    struct sim_node *node = arg;
    bool silent = node->disk.power_lost && rng_one_in(&node->sim->rng, 2);
    node->died = true;
    sim_trace_line(&node->sim->trace, node->name, "dies: %s, after %llu changes to its disk",
                   node->disk.power_lost ? "the power fails" : "the process is killed",
                   (unsigned long long)node->disk.changes);
    sim_net_down(node->sim->net, node->name, silent);
    sim_zk_end(&node->zk);
}

/* Whoever has crashed may do so again, before what it found in the page cache is on its disk; and
 * anybody may when names change. */
static void plan_relapse(struct sim_node *node)
{
    struct sim *sim = node->sim;
    bool power = (sim->options.faults & (1u << SIM_FAULT_POWER)) != 0;
    if (!sim->options.relapses || sim->calm_since_ns > 0) {
        return;
    }
    node->disk.fragile_one_in = FRAGILE_ONE_IN;
    node->disk.fragile_power = power;
    if (!node->crashed || !rng_one_in(&sim->rng, 2)) {
        return;
    }
    int64_t after = (int64_t)rng_below(&sim->rng, rng_one_in(&sim->rng, 2) ? 40 : 400);
    sim_trace_line(&sim->trace, node->name, "is to die again after %lld changes", (long long)after);
    sim_node_crash_later(node, power, after);
}

void sim_node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    must(node->state == NODE_DOWN);
    must(node->server == NULL);
    node->lives++;
    node->state = NODE_STARTING;
    node->died = false;
    node->stopped = false;
    node->start_failed = false;
    node->gave_up = false;
    sim_time_cancel(&sim->time, &node->again);
    sim_disk_init(&node->disk, node->image, &sim->time);
    node->disk.cold = sim->options.seed % 4 == 3;
    rng_seed(&node->disk.rng, sim->options.seed + (uint64_t)node->lives);
    node->disk.on_end = on_disk_end;
    node->disk.arg = node;
    node->disk.buffered_ns = sim_bug_on(SIM_BUG_EARLY_ACK) ? 20 * SIM_MS : 0;
    sim_zk_init(&node->zk, node);
    sim_net_up(sim->net, node->name);
    node->clock.extra_ns = 0;
    struct config *config = make_config(node);
    snprintf(node->boot_id, sizeof(node->boot_id), "%s-boot-%d", node->name, node->boots);
    /* Each loop of each life has a generator of its own: seeds that are near belong to one life. */
    uint64_t seed = sim->options.seed * 100000 + (uint64_t)node->id * 10000 +
                    (uint64_t)node->lives * 2 * SIM_LOOPS_MAX;
    sim_hop_init(&node->hop, seed, sim->options.hop_one_in);
    struct env env = {
        .clock = &node->clock.clock,
        .fs = &node->disk.fs,
        .net = sim_net_host(sim->net, node->name),
        .zk = &node->zk.factory,
        .boot_id = sim_bug_on(SIM_BUG_UNCLEAN_START) ? "always the same" : node->boot_id,
        .seed = seed,
        .threads = false,
        .balance = &node->hop.policy,
    };
    sim_trace_line(&sim->trace, node->name, "starts");
    plan_relapse(node);
    node->crashed = false;
    node->server = server_new(&env, config);
    config_put(config);
    server_on_fatal(node->server, on_fatal, node);
    server_start(node->server, on_started, node);
}

/* ---- ending ---- */

static void on_stopped(void *arg, enum err err, const char *text)
{
    struct sim_node *node = arg;
    (void)err;
    (void)text;
    node->stopped = true;
}

static bool ghost_turn(struct sim_node *node)
{
    struct broker *broker = server_broker(node->server);
    bool any = loop_turn(broker->control);
    for (int i = 0; i < broker->netloops_count; i++) {
        any = loop_turn(broker->netloops[i].loop) || any;
    }
    any = worker_pool_step(broker->readers) || any;
    return worker_pool_step(broker->workers) || any;
}

/* To its next timer. */
static void ghost_wait(struct sim_node *node)
{
    struct broker *broker = server_broker(node->server);
    int64_t next_ms = loop_next_deadline_ms(broker->control);
    for (int i = 0; i < broker->netloops_count; i++) {
        int64_t at_ms = loop_next_deadline_ms(broker->netloops[i].loop);
        next_ms = at_ms < next_ms ? at_ms : next_ms;
    }
    int64_t now_ms = clock_mono_ms(&node->clock.clock);
    int64_t wait_ms = next_ms > now_ms && next_ms < now_ms + 1000 ? next_ms - now_ms : 10;
    node->clock.extra_ns += wait_ms * SIM_MS;
}

static void life_over(struct sim_node *node)
{
    const char *speaking = node->sim->speaking;
    node->sim->speaking = "ghost";
    server_free(node->server);
    node->sim->speaking = speaking;
    node->server = NULL;
    node->state = NODE_DOWN;
    node->clock.extra_ns = 0;
    sim_disk_fini(&node->disk);
}

static void lay_ghost(struct sim_node *node)
{
    struct sim *sim = node->sim;
    const char *speaking = sim->speaking;
    bool muted = sim->trace.muted;
    sim->speaking = "ghost";
    sim->trace.muted = muted || !sim->options.print_ghosts;
    if (node->state != NODE_STOPPING) {
        node->state = NODE_STOPPING;
        server_stop(node->server, on_stopped, node);
    }
    for (int turns = 0; !node->stopped; turns++) {
        if (!ghost_turn(node)) {
            ghost_wait(node);
        }
        if (turns > GHOST_TURNS_MAX || node->clock.extra_ns > GHOST_SECONDS_MAX * 1000 * SIM_MS) {
            sim_fail(sim, "%s cannot be stopped without disk, network and ZooKeeper", node->name);
            must(node->stopped);
        }
    }
    sim->speaking = speaking;
    life_over(node);
    sim->trace.muted = muted || sim->failed;
}

void sim_node_crash(struct sim_node *node, bool power)
{
    if (node->server == NULL) {
        return;
    }
    sim_watch_before_end(node->sim->watch, node);
    node->crashed = true;
    sim_disk_end(&node->disk, power);
    node->power_was_lost = node->power_was_lost || node->disk.power_lost;
    if (node->disk.power_lost) {
        node->boots++;
        sim_watch_power_lost(node->sim->watch, node);
    }
    lay_ghost(node);
}

void sim_node_return(struct sim_node *node, int64_t after_ms)
{
    if (!node->sim->ending && !sim_time_pending(&node->again)) {
        sim_time_after(&node->sim->time, &node->again, after_ms * SIM_MS);
    }
}

void sim_node_crash_later(struct sim_node *node, bool power, int64_t after_changes)
{
    node->disk.dies_in = after_changes;
    node->disk.dies_with_power = power;
}

void sim_node_stop(struct sim_node *node)
{
    if (node->state == NODE_UP || node->state == NODE_STARTING) {
        node->state = NODE_STOPPING;
        sim_trace_line(&node->sim->trace, node->name, "is told to stop");
        server_stop(node->server, on_stopped, node);
    }
}

void sim_node_settle(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->server == NULL) {
        return;
    }
    if (node->gave_up) {
        node->gave_up = false;
        sim_node_stop(node);
    }
    if (node->died) {
        sim_node_crash(node, node->disk.power_lost);
    } else if (node->state == NODE_STOPPING && node->stopped) {
        sim_trace_line(&sim->trace, node->name, "has stopped");
        life_over(node);
        sim_net_down(sim->net, node->name, false);
    } else if (node->start_failed && node->disk_is_bad) {
        sim_trace_line(&sim->trace, node->name, "cannot start: %s", node->start_text);
        node->start_failed = false;
        sim_node_stop(node);
    } else if (node->start_failed) {
        sim_fail(sim, "%s cannot start: %s", node->name, node->start_text);
        node->start_failed = false;
    } else {
        return;
    }
    if (node->state == NODE_DOWN) {
        sim_node_return(node, 10 + (int64_t)rng_below(&sim->rng, 3000));
    }
}
