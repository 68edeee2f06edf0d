#include "sim_faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/broker.h"
#include "base/mem.h"
#include "base/must.h"
#include "moves/moves.h"
#include "server/server.h"
#include "sim_client.h"
#include "sim_control.h"

enum { UNDOINGS_MAX = 32, WATCHDOG_MS = 7000 };

/* What ends a fault. */
struct undoing {
    struct sim_event event;
    struct sim_faults *faults;
    enum sim_fault fault;
    char from[24];
    char to[24];
    int64_t session_id;
    struct sim_node *node;
    struct sim_node *other; /* RELAY: who lost power */
    bool used;
};

struct sim_faults {
    struct sim *sim;
    struct rng rng;
    struct sim_event next;
    struct undoing undoings[UNDOINGS_MAX];
    bool stopped;
    int count;
    int crashes;
};

static const char *const names[SIM_FAULT_COUNT] = {
    [SIM_FAULT_KILL] = "kill",           [SIM_FAULT_POWER] = "power",
    [SIM_FAULT_MID_WRITE] = "mid-write", [SIM_FAULT_RESTART] = "restart",
    [SIM_FAULT_PARTITION] = "partition", [SIM_FAULT_ONE_WAY] = "one-way",
    [SIM_FAULT_RESET] = "reset",         [SIM_FAULT_SLOW_NET] = "slow-net",
    [SIM_FAULT_ZK_EXPIRE] = "zk-expire", [SIM_FAULT_ZK_AWAY] = "zk-away",
    [SIM_FAULT_ZK_LOSS] = "zk-loss",     [SIM_FAULT_PAUSE] = "pause",
    [SIM_FAULT_SLOW_DISK] = "slow-disk", [SIM_FAULT_CLOCK] = "clock",
    [SIM_FAULT_BAD_DISK] = "bad-disk",   [SIM_FAULT_DEPOSE] = "depose",
    [SIM_FAULT_HUNG_DISK] = "hung-disk", [SIM_FAULT_ZK_DOWN] = "zk-down",
    [SIM_FAULT_SLOW_HOST] = "slow-host", [SIM_FAULT_KILL_ALL] = "kill-all",
    [SIM_FAULT_BROADCAST] = "broadcast", [SIM_FAULT_LATE] = "late",
    [SIM_FAULT_DIRS] = "dirs",           [SIM_FAULT_RELAY] = "relay",
};

const char *sim_fault_name(enum sim_fault fault)
{
    return names[fault];
}

static int64_t between_ms(struct sim_faults *faults, int64_t low, int64_t high)
{
    return low + (int64_t)rng_below(&faults->rng, (uint64_t)(high - low + 1));
}

static struct sim_node *any_node(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    return &sim->nodes[rng_below(&faults->rng, (uint64_t)sim->options.nodes_count)];
}

/* A broker's or a client's machine. */
static const char *any_host(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    uint64_t count = (uint64_t)(sim->options.nodes_count + sim->clients_count);
    uint64_t i = rng_below(&faults->rng, count);
    return i < (uint64_t)sim->options.nodes_count
               ? sim->nodes[i].name
               : loop_name(sim_client_loop(sim->clients[i - (uint64_t)sim->options.nodes_count]));
}

/* ---- ends ---- */

static void stand_still(struct sim_faults *faults, struct sim_node *node, int64_t for_ms)
{
    sim_trace_line(&faults->sim->trace, "faults", "depose: %s stands still for %lld ms", node->name,
                   (long long)for_ms);
    sim_pause_node(faults->sim, node, faults->sim->time.now_ns + for_ms * SIM_MS);
}

/* Elected a moment ago, and slow: its predecessor may wake up first. */
static void on_successor(void *arg, struct sim_node *node)
{
    struct sim_faults *faults = arg;
    if (!faults->stopped) {
        stand_still(faults, node, between_ms(faults, 1, 1500));
    }
}

static void remove_controller(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    if (!zk_mem_peek(sim->zk, "/controller", NULL, NULL)) {
        return;
    }
    zk_mem_poke_remove(sim->zk, "/controller");
    for (int i = 0; i < sim->options.nodes_count; i++) {
        struct sim_zk *zk = &sim->nodes[i].zk;
        zk->stumble = on_successor;
        zk->stumble_at_multi = true;
        zk->arg = faults;
    }
}

static void zk_up(struct sim *sim)
{
    sim->zk_down = false;
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].server != NULL && !sim->nodes[i].zk.dead) {
            zk_mem_reconnect(sim->zk, sim_zk_session_id(&sim->nodes[i].zk));
        }
    }
}

/* Whoever looks after the broker restarts it. */
static void mend_disk(struct sim_node *node)
{
    fs_sim_fail_sync(node->image, INT64_MAX / 2);
    node->disk.fails_in = -1;
    node->disk_is_bad = false;
    fs_sim_set_capacity(node->image, INT64_MAX);
    sim_node_stop(node);
}

static void relay_next(struct sim_faults *faults, struct sim_node *node, struct sim_node *other);

/* The watchdog ends the process. What happens at its end may use this struct undoing again. */
static void end_hung(struct undoing *undoing)
{
    struct sim_faults *faults = undoing->faults;
    struct sim_node *node = undoing->node;
    faults->crashes++;
    sim_node_crash(node, false);
    sim_node_return(node, between_ms(faults, 10, 3000));
}

static void undo(struct undoing *undoing)
{
    struct sim *sim = undoing->faults->sim;
    undoing->used = false;
    switch (undoing->fault) {
    case SIM_FAULT_PARTITION:
        sim_net_block(sim->net, undoing->from, undoing->to, false);
        sim_net_block(sim->net, undoing->to, undoing->from, false);
        break;
    case SIM_FAULT_ONE_WAY:
        sim_net_block(sim->net, undoing->from, undoing->to, false);
        break;
    case SIM_FAULT_SLOW_NET: {
        struct sim_net_options calm = sim_net_options_default();
        sim_net_set_delay(sim->net, calm.delay_min_ns, calm.delay_max_ns);
        break;
    }
    case SIM_FAULT_ZK_AWAY:
    case SIM_FAULT_PAUSE:
        zk_mem_reconnect(sim->zk, undoing->session_id);
        break;
    case SIM_FAULT_ZK_LOSS:
        zk_mem_set_loss_rate(sim->zk, 0);
        break;
    case SIM_FAULT_ZK_DOWN:
        zk_up(sim);
        break;
    case SIM_FAULT_SLOW_HOST:
        sim_net_set_lag(sim->net, undoing->from, 0);
        break;
    case SIM_FAULT_SLOW_DISK:
        undoing->node->disk.cost_ns = 0;
        break;
    case SIM_FAULT_HUNG_DISK:
        if (!undoing->faults->stopped) {
            end_hung(undoing);
        }
        break;
    case SIM_FAULT_LATE:
        sim_control_set_late(sim->control, 0, 0);
        break;
    case SIM_FAULT_DEPOSE:
        remove_controller(undoing->faults);
        break;
    case SIM_FAULT_BAD_DISK:
        mend_disk(undoing->node);
        break;
    case SIM_FAULT_RELAY:
        relay_next(undoing->faults, undoing->node, undoing->other);
        break;
    default:
        must_not_get_here();
    }
}

static void on_undo(struct sim_event *event)
{
    struct undoing *undoing = container_of(event, struct undoing, event);
    sim_trace_line(&undoing->faults->sim->trace, "faults", "%s %s %s ends", names[undoing->fault],
                   undoing->from, undoing->to);
    undo(undoing);
}

/* NULL when too many are under way: then the fault does not happen. */
static struct undoing *undo_later(struct sim_faults *faults, enum sim_fault fault, int64_t after_ms)
{
    for (int i = 0; i < UNDOINGS_MAX; i++) {
        struct undoing *undoing = &faults->undoings[i];
        if (!undoing->used) {
            *undoing = (struct undoing){
                .event.fn = on_undo, .faults = faults, .fault = fault, .used = true};
            sim_time_after(&faults->sim->time, &undoing->event, after_ms * SIM_MS);
            return undoing;
        }
    }
    return NULL;
}

/* ---- kinds ---- */

/* At once; who looks after the broker starts it again, soon or when the faults are over. */
static void crash_now(struct sim_faults *faults, struct sim_node *node, bool power)
{
    faults->crashes++;
    sim_node_crash(node, power);
    if (!rng_one_in(&faults->rng, 3)) {
        sim_node_return(node, between_ms(faults, 10, 8000));
    }
}

static void crash(struct sim_faults *faults, enum sim_fault fault)
{
    struct sim_node *node = any_node(faults);
    bool power =
        fault == SIM_FAULT_POWER || (fault == SIM_FAULT_MID_WRITE &&
                                     (faults->sim->options.faults & (1u << SIM_FAULT_POWER)) != 0 &&
                                     rng_one_in(&faults->rng, 2));
    if (node->server == NULL) {
        return;
    }
    if (fault == SIM_FAULT_MID_WRITE) {
        faults->crashes++;
        int64_t after = between_ms(faults, 0, rng_one_in(&faults->rng, 2) ? 5 : 60);
        sim_trace_line(&faults->sim->trace, "faults", "%s is to die after %lld more changes",
                       node->name, (long long)after);
        sim_node_crash_later(node, power, after);
    } else {
        crash_now(faults, node, power);
    }
}

static void cut(struct sim_faults *faults, enum sim_fault fault)
{
    struct undoing *undoing = undo_later(faults, fault, between_ms(faults, 100, 12000));
    if (undoing == NULL) {
        return;
    }
    const char *from = fault == SIM_FAULT_PARTITION ? any_node(faults)->name : any_host(faults);
    const char *to = any_node(faults)->name;
    snprintf(undoing->from, sizeof(undoing->from), "%s", from);
    snprintf(undoing->to, sizeof(undoing->to), "%s", to);
    if (from == to) {
        return;
    }
    sim_trace_line(&faults->sim->trace, "faults", "%s: %s cannot reach %s", names[fault], from, to);
    sim_net_block(faults->sim->net, from, to, true);
    if (fault == SIM_FAULT_PARTITION) {
        sim_net_block(faults->sim->net, to, from, true);
    }
}

/* The session is without connection for a time; the ensemble may end it meanwhile. */
static void zk_away(struct sim_faults *faults, enum sim_fault fault)
{
    struct sim *sim = faults->sim;
    struct sim_node *node = any_node(faults);
    int64_t for_ms = between_ms(faults, 50, rng_one_in(&faults->rng, 2) ? 1000 : 9000);
    if (node->server == NULL) {
        return;
    }
    struct undoing *undoing = undo_later(faults, fault, for_ms);
    if (undoing == NULL) {
        return;
    }
    undoing->session_id = sim_zk_session_id(&node->zk);
    sim_trace_line(&sim->trace, "faults", "%s: %s for %lld ms", names[fault], node->name,
                   (long long)for_ms);
    zk_mem_disconnect(sim->zk, undoing->session_id);
    if (fault == SIM_FAULT_PAUSE) {
        sim_pause_node(sim, node, sim->time.now_ns + for_ms * SIM_MS);
    }
}

static void slow_net(struct sim_faults *faults)
{
    int64_t high_ms = between_ms(faults, 5, 400);
    if (undo_later(faults, SIM_FAULT_SLOW_NET, between_ms(faults, 200, 4000)) != NULL) {
        sim_trace_line(&faults->sim->trace, "faults", "slow-net: up to %lld ms",
                       (long long)high_ms);
        sim_net_set_delay(faults->sim->net, SIM_MS / 10, high_ms * SIM_MS);
    }
}

static void slow_host(struct sim_faults *faults)
{
    struct sim_node *node = any_node(faults);
    int64_t by_ms = between_ms(faults, 1, 1500);
    struct undoing *undoing =
        undo_later(faults, SIM_FAULT_SLOW_HOST, between_ms(faults, 200, 6000));
    if (undoing != NULL) {
        snprintf(undoing->from, sizeof(undoing->from), "%s", node->name);
        sim_trace_line(&faults->sim->trace, "faults", "slow-host: %s by up to %lld ms", node->name,
                       (long long)by_ms);
        sim_net_set_lag(faults->sim->net, node->name, by_ms * SIM_MS);
    }
}

static void zk_down(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    int64_t for_ms = between_ms(faults, 50, rng_one_in(&faults->rng, 2) ? 1000 : 9000);
    if (sim->zk_down || undo_later(faults, SIM_FAULT_ZK_DOWN, for_ms) == NULL) {
        return;
    }
    sim_trace_line(&sim->trace, "faults", "zk-down: for %lld ms", (long long)for_ms);
    sim->zk_down = true;
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].server != NULL) {
            zk_mem_disconnect(sim->zk, sim_zk_session_id(&sim->nodes[i].zk));
        }
    }
}

static void slow_disk(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    struct sim_node *node = any_node(faults);
    int64_t for_ms = between_ms(faults, 10, 3000);
    if (rng_one_in(&faults->rng, 2)) {
        sim_trace_line(&sim->trace, "faults", "slow-disk: %s, its workers", node->name);
        sim_pause_pool(sim, node, sim->time.now_ns + for_ms * SIM_MS);
        return;
    }
    struct undoing *undoing = undo_later(faults, SIM_FAULT_SLOW_DISK, for_ms);
    if (undoing != NULL) {
        undoing->node = node;
        node->disk.cost_ns = between_ms(faults, 1, 60) * SIM_MS;
        sim_trace_line(&sim->trace, "faults", "slow-disk: %s, %lld ms for each operation",
                       node->name, (long long)(node->disk.cost_ns / SIM_MS));
    }
}

/* The broker's watchdog (broker/health) has a thread of its own, which is not simulated: what it
 * does when the disk hangs for too long is to end the process. */
static void hung_disk(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    struct sim_node *node = any_node(faults);
    int64_t for_ms = between_ms(faults, 100, rng_one_in(&faults->rng, 2) ? 2000 : 15000);
    sim_trace_line(&sim->trace, "faults", "hung-disk: %s for %lld ms", node->name,
                   (long long)for_ms);
    node->disk.hangs_until_ns = sim->time.now_ns + for_ms * SIM_MS;
    struct undoing *ended = for_ms > WATCHDOG_MS && node->server != NULL
                                ? undo_later(faults, SIM_FAULT_HUNG_DISK, WATCHDOG_MS)
                                : NULL;
    if (ended != NULL) {
        ended->node = node;
    }
}

static void bad_disk(struct sim_faults *faults)
{
    struct sim_node *node = any_node(faults);
    uint64_t how = rng_below(&faults->rng, 4);
    struct undoing *undoing = undo_later(faults, SIM_FAULT_BAD_DISK, between_ms(faults, 500, 6000));
    if (undoing == NULL) {
        return;
    }
    undoing->node = node;
    node->disk_is_bad = true;
    sim_trace_line(&faults->sim->trace, "faults", "bad-disk: %s %s", node->name,
                   how < 2    ? "is full"
                   : how == 2 ? "will fail to read or write"
                              : "will fail to sync");
    if (how < 2) {
        fs_sim_set_capacity(node->image, between_ms(faults, 0, 100000));
    } else if (how == 2) {
        node->disk.fails_in = between_ms(faults, 0, 60);
    } else {
        fs_sim_fail_sync(node->image, between_ms(faults, 0, 3));
    }
}

static void relay_later(struct sim_faults *faults, struct sim_node *node, struct sim_node *other,
                        int64_t after_ms)
{
    struct undoing *undoing = undo_later(faults, SIM_FAULT_RELAY, after_ms);
    if (undoing != NULL) {
        undoing->node = node;
        undoing->other = other;
    } else if (node->disk_is_bad) {
        mend_disk(node);
    }
}

/* The broker whose sync failed is restarted; some seconds later it dies, and the one that had lost
 * its power is back first. */
static void relay_next(struct sim_faults *faults, struct sim_node *node, struct sim_node *other)
{
    if (node->disk_is_bad) {
        mend_disk(node);
        if (!faults->stopped) {
            relay_later(faults, node, other, between_ms(faults, 3000, 9000));
        }
    } else if (!faults->stopped) {
        faults->crashes++;
        sim_node_crash(node, false);
        sim_node_return(node, between_ms(faults, 1000, 8000));
        sim_node_return(other, 10);
    }
}

static void relay(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    struct sim_node *other = any_node(faults);
    struct sim_node *node = &sim->nodes[other->id % sim->options.nodes_count];
    if (other == node || other->server == NULL || node->disk_is_bad) {
        return;
    }
    sim_trace_line(&sim->trace, "faults", "relay: from %s to %s", other->name, node->name);
    faults->crashes++;
    sim_node_crash(other, true);
    node->disk_is_bad = true;
    fs_sim_fail_sync(node->image, 0);
    relay_later(faults, node, other, between_ms(faults, 200, 2500));
}

static void jump_clock(struct sim_faults *faults)
{
    struct sim_node *node = any_node(faults);
    int64_t by_ms = between_ms(faults, -7200000, 7200000);
    sim_trace_line(&faults->sim->trace, "faults", "clock: %s jumps by %lld ms", node->name,
                   (long long)by_ms);
    node->clock.wall_offset_ms += by_ms;
}

/* The controller has just begun an operation: it will see the result only after its successor was
 * elected. */
static void on_stumble(void *arg, struct sim_node *node)
{
    struct sim_faults *faults = arg;
    int64_t for_ms = between_ms(faults, 1, 1500);
    struct undoing *undoing =
        faults->stopped ? NULL
                        : undo_later(faults, SIM_FAULT_DEPOSE, between_ms(faults, 0, for_ms));
    if (undoing != NULL) {
        stand_still(faults, node, for_ms);
    }
}

/* Something for the controller to do: another broker loses its session. */
static void give_work(struct sim_faults *faults, const struct sim_node *controller)
{
    struct sim_node *other = any_node(faults);
    if (other != controller && other->server != NULL) {
        sim_trace_line(&faults->sim->trace, "faults", "depose: %s loses its session", other->name);
        zk_mem_expire(faults->sim->zk, sim_zk_session_id(&other->zk));
    }
}

/* Whoever is the controller. */
static void depose(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    struct buf data = {0};
    if (zk_mem_peek(sim->zk, "/controller", &data, NULL)) {
        buf_put_byte(&data, 0);
        const char *id = strstr((const char *)data.data, "\"brokerid\":");
        struct sim_node *node =
            id != NULL ? sim_node_by_id(sim, (int)strtol(id + 11, NULL, 10)) : NULL;
        if (node != NULL && node->server != NULL) {
            node->zk.stumble = on_stumble;
            node->zk.stumble_at_multi = false;
            node->zk.arg = faults;
            give_work(faults, node);
        }
    }
    buf_fini(&data);
}

/* ---- in the middle of a broadcast ---- */

/* Whoever sends cannot reach those any more whom it has not told yet, or some of them. */
static void cut_off(struct sim_faults *faults, const struct sim_node *node)
{
    struct sim *sim = faults->sim;
    for (int i = 0; i < sim->options.nodes_count; i++) {
        struct undoing *undoing =
            &sim->nodes[i] != node && rng_one_in(&faults->rng, 2)
                ? undo_later(faults, SIM_FAULT_ONE_WAY, between_ms(faults, 100, 9000))
                : NULL;
        if (undoing != NULL) {
            snprintf(undoing->from, sizeof(undoing->from), "%s", node->name);
            snprintf(undoing->to, sizeof(undoing->to), "%s", sim->nodes[i].name);
            sim_trace_line(&sim->trace, "faults", "broadcast: %s cannot reach %s", node->name,
                           sim->nodes[i].name);
            sim_net_block(sim->net, node->name, sim->nodes[i].name, true);
        }
    }
}

static void on_broadcast(void *arg, struct sim_node *node, int to)
{
    struct sim_faults *faults = arg;
    struct sim *sim = faults->sim;
    if (faults->stopped) {
        return;
    }
    switch (rng_below(&faults->rng, 3)) {
    case 0:
        sim_trace_line(&sim->trace, "faults", "broadcast: %s dies as it sends to broker %d",
                       node->name, to);
        faults->crashes++;
        sim_disk_end(&node->disk, false);
        break;
    case 1:
        sim_trace_line(&sim->trace, "faults", "broadcast: %s loses its session", node->name);
        zk_mem_expire(sim->zk, sim_zk_session_id(&node->zk));
        break;
    default:
        cut_off(faults, node);
        break;
    }
}

/* ---- replicas change their log directory ---- */

/* On its way to a broker's control loop. */
struct dirs_wish {
    struct loop_msg msg;
    struct sim_node *node;
    struct server *server; /* of the life for which it is meant */
    uint64_t pick;
    int32_t parts_count;
    struct part *part; /* the one picked so far */
    const char *dir;
};

/* Each with the same chance, without knowing their number. */
static void pick_part(void *arg, struct part *part)
{
    struct dirs_wish *wish = arg;
    wish->parts_count++;
    if (wish->pick % (uint64_t)wish->parts_count == 0) {
        wish->part = part;
    }
}

static void on_dirs_wish(struct loop_msg *msg)
{
    struct dirs_wish *wish = container_of(msg, struct dirs_wish, msg);
    struct sim_node *node = wish->node;
    if (node->server == wish->server && node->state == NODE_UP) {
        struct broker *broker = server_broker(node->server);
        parts_each(&broker->parts, pick_part, wish);
        if (wish->part != NULL) {
            enum err err = moves_request(broker->moves, wish->part->topic, wish->part->index,
                                         str_of(wish->dir));
            sim_trace_line(&node->sim->trace, "faults", "dirs: %s %s-%d to %s: %s", node->name,
                           wish->part->topic.ptr, wish->part->index, wish->dir, err_name(err));
        }
    }
    mem_free(wish);
}

static void send_elsewhere(struct sim_faults *faults, struct sim_node *node)
{
    if (node->server == NULL || node->state != NODE_UP) {
        return;
    }
    struct dirs_wish *wish = mem_new(struct dirs_wish);
    wish->msg.fn = on_dirs_wish;
    wish->node = node;
    wish->server = node->server;
    wish->pick = rng_next(&faults->rng);
    wish->dir = rng_one_in(&faults->rng, 2) ? "/data" : "/data2";
    loop_post(server_broker(node->server)->control, &wish->msg);
}

static void late(struct sim_faults *faults)
{
    int64_t late_ms = between_ms(faults, 5, 6000);
    if (undo_later(faults, SIM_FAULT_LATE, between_ms(faults, 500, 8000)) != NULL) {
        sim_trace_line(&faults->sim->trace, "faults", "late: within %lld ms", (long long)late_ms);
        sim_control_set_late(faults->sim->control, 1 + rng_below(&faults->rng, 4),
                             late_ms * SIM_MS);
    }
}

static void zk_loss(struct sim_faults *faults)
{
    if (undo_later(faults, SIM_FAULT_ZK_LOSS, between_ms(faults, 100, 3000)) != NULL) {
        sim_trace_line(&faults->sim->trace, "faults", "zk-loss");
        zk_mem_set_loss_rate(faults->sim->zk, 2 + rng_below(&faults->rng, 30));
    }
}

/* All processes, or where machines lose power, the power of all, or of any. */
static void kill_all(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    bool power = (sim->options.faults & (1u << SIM_FAULT_POWER)) != 0;
    bool everywhere = power && rng_one_in(&faults->rng, 2);
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].server != NULL) {
            crash_now(faults, &sim->nodes[i], everywhere || (power && rng_one_in(&faults->rng, 2)));
        }
    }
}

/* Each says whether the fault is of its kind. */
static bool happen_to_process(struct sim_faults *faults, enum sim_fault fault,
                              struct sim_node *node)
{
    switch (fault) {
    case SIM_FAULT_KILL:
    case SIM_FAULT_POWER:
    case SIM_FAULT_MID_WRITE:
        crash(faults, fault);
        return true;
    case SIM_FAULT_RESTART:
        sim_node_stop(node);
        return true;
    case SIM_FAULT_KILL_ALL:
        kill_all(faults);
        return true;
    case SIM_FAULT_CLOCK:
        jump_clock(faults);
        return true;
    default:
        return false;
    }
}

static bool happen_to_disk(struct sim_faults *faults, enum sim_fault fault, struct sim_node *node)
{
    switch (fault) {
    case SIM_FAULT_SLOW_DISK:
        slow_disk(faults);
        return true;
    case SIM_FAULT_HUNG_DISK:
        hung_disk(faults);
        return true;
    case SIM_FAULT_BAD_DISK:
        bad_disk(faults);
        return true;
    case SIM_FAULT_DIRS:
        send_elsewhere(faults, node);
        return true;
    default:
        return false;
    }
}

static bool happen_to_network(struct sim_faults *faults, enum sim_fault fault)
{
    switch (fault) {
    case SIM_FAULT_PARTITION:
    case SIM_FAULT_ONE_WAY:
        cut(faults, fault);
        return true;
    case SIM_FAULT_RESET:
        (void)sim_net_reset_one(faults->sim->net, rng_next(&faults->rng));
        return true;
    case SIM_FAULT_SLOW_NET:
        slow_net(faults);
        return true;
    case SIM_FAULT_SLOW_HOST:
        slow_host(faults);
        return true;
    case SIM_FAULT_RELAY:
        relay(faults);
        return true;
    default:
        return false;
    }
}

static bool happen_to_zookeeper(struct sim_faults *faults, enum sim_fault fault,
                                struct sim_node *node)
{
    switch (fault) {
    case SIM_FAULT_ZK_EXPIRE:
        sim_trace_line(&faults->sim->trace, "faults", "zk-expire: %s", node->name);
        zk_mem_expire(faults->sim->zk, sim_zk_session_id(&node->zk));
        return true;
    case SIM_FAULT_ZK_AWAY:
    case SIM_FAULT_PAUSE:
        zk_away(faults, fault);
        return true;
    case SIM_FAULT_ZK_LOSS:
        zk_loss(faults);
        return true;
    case SIM_FAULT_ZK_DOWN:
        zk_down(faults);
        return true;
    default:
        return false;
    }
}

static bool happen_to_controller(struct sim_faults *faults, enum sim_fault fault)
{
    switch (fault) {
    case SIM_FAULT_BROADCAST:
        sim_control_at(faults->sim->control, (int)rng_below(&faults->rng, 6), on_broadcast, faults);
        return true;
    case SIM_FAULT_LATE:
        late(faults);
        return true;
    case SIM_FAULT_DEPOSE:
        depose(faults);
        return true;
    default:
        return false;
    }
}

static void happen(struct sim_faults *faults, enum sim_fault fault)
{
    struct sim_node *node = any_node(faults);
    bool happened = happen_to_process(faults, fault, node) || happen_to_disk(faults, fault, node) ||
                    happen_to_network(faults, fault) || happen_to_zookeeper(faults, fault, node) ||
                    happen_to_controller(faults, fault);
    must(happened);
}

/* ---- when ---- */

static void plan(struct sim_faults *faults)
{
    int64_t gap_ns = faults->sim->options.fault_gap_ns;
    sim_time_after(&faults->sim->time, &faults->next,
                   gap_ns / 4 + (int64_t)rng_below(&faults->rng, (uint64_t)gap_ns * 3 / 2));
}

static void on_next(struct sim_event *event)
{
    struct sim_faults *faults = container_of(event, struct sim_faults, next);
    enum sim_fault fault = (enum sim_fault)rng_below(&faults->rng, SIM_FAULT_COUNT);
    while ((faults->sim->options.faults & (1u << fault)) == 0) {
        fault = (enum sim_fault)((fault + 1) % SIM_FAULT_COUNT);
    }
    faults->count++;
    happen(faults, fault);
    plan(faults);
}

struct sim_faults *sim_faults_new(struct sim *sim)
{
    struct sim_faults *faults = mem_new(struct sim_faults);
    faults->sim = sim;
    faults->next.fn = on_next;
    rng_seed(&faults->rng, rng_next(&sim->rng));
    if (sim->options.faults != 0) {
        plan(faults);
    }
    return faults;
}

void sim_faults_stop(struct sim_faults *faults)
{
    struct sim *sim = faults->sim;
    sim_time_cancel(&sim->time, &faults->next);
    faults->stopped = true;
    for (int i = 0; i < UNDOINGS_MAX; i++) {
        struct undoing *undoing = &faults->undoings[i];
        if (undoing->used) {
            sim_time_cancel(&sim->time, &undoing->event);
            undo(undoing);
        }
    }
    sim_net_heal(sim->net);
    sim_control_calm(sim->control);
    sim_resume_all(sim);
    for (int i = 0; i < sim->options.nodes_count; i++) {
        sim->nodes[i].disk.dies_in = -1;
        sim->nodes[i].disk.fragile_one_in = 0;
        sim->nodes[i].disk.hangs_until_ns = 0;
        sim->nodes[i].zk.stumble = NULL;
    }
}

void sim_faults_free(struct sim_faults *faults)
{
    if (faults != NULL) {
        must(faults->stopped);
        mem_free(faults);
    }
}

int sim_faults_count(const struct sim_faults *faults)
{
    return faults->count;
}

int sim_faults_crashes(const struct sim_faults *faults)
{
    return faults->crashes;
}
