#include "sim_watch.h"

#include <inttypes.h>
#include <string.h>

#include "api/broker.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"
#include "partition/parts.h"
#include "server/server.h"
#include "sim.h"
#include "sim_commit.h"
#include "sim_complete.h"
#include "sim_model.h"
#include "sim_parts.h"
#include "znode/znode.h"

enum { EPOCHS_MAX = 4096 };

_Static_assert(SIM_PARTS_MAX <= 32, "one bit each in struct looking");

/* A broker's high watermark, and of which log: one that was cut since is another one. */
struct hw_known {
    int life;
    const struct plog *log;
    uint64_t generation;
    int64_t offset_hw;
    int64_t log_start;
};

/* What one broker has shown of one partition. */
struct shown {
    int32_t led_epoch;  /* in which it led last */
    int32_t told_epoch; /* of the leader that it names to clients, in this life */
    int64_t synced_end; /* of the life before: comes back even when the power fails */
    struct hw_known hw;
};

struct watched_part {
    char text[SIM_PART_TEXT_MAX];
    int8_t leaders[EPOCHS_MAX]; /* broker id by leader epoch, as brokers say; 0: none yet */
    struct shown by[SIM_NODES_MAX];
};

struct sim_watch {
    struct sim *sim;
    struct sim_complete *complete;
    struct watched_part parts[SIM_PARTS_MAX];
    int seen_life[SIM_NODES_MAX];      /* the life whose start was looked at */
    uint64_t seen_meta[SIM_NODES_MAX]; /* the generation of its metadata that was looked at */
};

struct sim_watch *sim_watch_new(struct sim *sim)
{
    struct sim_watch *watch = mem_new(struct sim_watch);
    watch->sim = sim;
    watch->complete = sim_complete_new(sim);
    must(sim_parts_count(sim) <= SIM_PARTS_MAX);
    for (int i = 0; i < sim_parts_count(sim); i++) {
        sim_part_text(sim, i, watch->parts[i].text);
    }
    return watch;
}

void sim_watch_free(struct sim_watch *watch)
{
    sim_complete_free(watch->complete);
    mem_free(watch);
}

static struct shown *shown_by(struct sim_watch *watch, int number, const struct sim_node *node)
{
    return &watch->parts[number].by[node->id - 1];
}

/* ---- a write to ZooKeeper ---- */

static int32_t controller_epoch(struct sim *sim)
{
    struct buf data = {0};
    int32_t epoch = -1;
    if (zk_mem_peek(sim->zk, "/controller_epoch", &data, NULL) &&
        znode_controller_epoch_decode((struct bytes){data.data, data.size}, &epoch, NULL) !=
            ERR_OK) {
        epoch = -1;
    }
    buf_fini(&data);
    return epoch;
}

/* M1, M2 */
static void check_state(struct sim *sim, const char *writer, const char *path,
                        const struct znode_state *old, const struct znode_state *now)
{
    bool led = now->leader >= 0 && now->leader != old->leader;
    if (now->controller_epoch != controller_epoch(sim)) {
        sim_fail(sim, "M2: %s wrote %s as the controller of epoch %d, but the epoch is %d", writer,
                 path, now->controller_epoch, controller_epoch(sim));
    }
    if (now->leader_epoch < old->leader_epoch || (led && now->leader_epoch == old->leader_epoch)) {
        sim_fail(sim, "M1: %s made broker %d leader of %s in epoch %d, after broker %d in epoch %d",
                 writer, now->leader, path, now->leader_epoch, old->leader, old->leader_epoch);
    }
}

void sim_watch_state_written(struct sim_watch *watch, struct sim_node *node, const char *path,
                             struct bytes old, struct bytes new_)
{
    struct sim *sim = watch->sim;
    struct arena arena = {0};
    struct znode_state before = {.leader = -1, .leader_epoch = -1};
    struct znode_state now;
    sim_trace_line(&sim->trace, node->name, "writes %s: %.*s", path, (int)new_.size, new_.data);
    if (znode_state_decode(&arena, new_, &now, NULL) != ERR_OK ||
        (old.size > 0 && znode_state_decode(&arena, old, &before, NULL) != ERR_OK)) {
        sim_fail(sim, "%s wrote a state into %s that nobody can read", node->name, path);
    } else {
        check_state(sim, node->name, path, &before, &now);
    }
    arena_fini(&arena);
    int number = sim_part_number_of_state(sim, path);
    if (sim->options.replicated && number >= 0) {
        sim_complete_written(watch->complete, number, old, new_);
    }
}

/* ---- a step ---- */

/* The epoch of the last record before that one began. */
static int32_t epochs_before(struct plog *log, int32_t epoch)
{
    int32_t found;
    int64_t end;
    epochs_end_of(plog_epochs(log), epoch - 1, plog_offset_end(log), &found, &end);
    return end >= 0 ? found : -1;
}

/* M10 */
static void check_longest(struct sim_watch *watch, int leader, int number, struct plog *log)
{
    int32_t epoch = epochs_latest(plog_epochs(log));
    for (int id = 1; id <= watch->sim->options.nodes_count; id++) {
        struct sim_node *node = &watch->sim->nodes[id - 1];
        if (id == leader || node->server == NULL || node->died ||
            !sim_complete_rival(watch->complete, id, number)) {
            continue;
        }
        struct part *part = sim_part_on(watch->sim, number, id);
        int32_t other = part != NULL ? epochs_latest(plog_epochs(part->log)) : -1;
        int64_t end = part != NULL ? plog_offset_end(part->log) : 0;
        /* The leader has begun its own epoch already. */
        if (end > plog_offset_end(log) && other >= epochs_before(log, epoch)) {
            sim_fail(watch->sim,
                     "M10: broker %d leads %s with a log that ends at %" PRId64
                     ", but broker %d's ends at %" PRId64 ", in epoch %d",
                     leader, watch->parts[number].text, plog_offset_end(log), id, end, other);
        }
        part_put(part);
    }
}

/* Nobody was complete when this leader was elected: what it does not have is gone, and behind the
 * first batch that it has of another epoch, everything. */
static void begin_anew(struct sim_watch *watch, struct sim_node *node, int number,
                       struct part *part)
{
    int64_t end = sim_commit_agrees(watch->sim->commit, node, number, part);
    check_longest(watch, node->id, number, part->log);
    for (int id = 1; id <= watch->sim->options.nodes_count; id++) {
        sim_model_forget(watch->sim->model, number, id, end);
    }
    sim_commit_forget(watch->sim->commit, number, end);
    sim_trace_line(&watch->sim->trace, "model", "%s begins anew with broker %d at %" PRId64,
                   watch->parts[number].text, node->id, end);
}

static void look_at_leader(struct sim_watch *watch, struct sim_node *node, int number,
                           struct part *part)
{
    struct watched_part *known = &watch->parts[number];
    struct shown *shown = shown_by(watch, number, node);
    struct part_now now = part_now(part);
    if (now.role != PART_LEADER) {
        return;
    }
    must(now.leader_epoch >= 0);
    must(now.leader_epoch < EPOCHS_MAX);
    int8_t *leader = &known->leaders[now.leader_epoch];
    if (*leader != 0 && *leader != node->id) { /* M1 */
        sim_fail(watch->sim, "M1: brokers %d and %d both lead %s in epoch %d", *leader, node->id,
                 known->text, now.leader_epoch);
    }
    *leader = (int8_t)node->id;
    if (shown->led_epoch != now.leader_epoch) {
        shown->led_epoch = now.leader_epoch;
        if (watch->sim->options.replicated) {
            /* It learns from its followers how far they are. */
            sim_model_high_watermark_anew(watch->sim->model, number, node->id);
            if (sim_complete_leads(watch->complete, node, number)) {
                begin_anew(watch, node, number, part);
            }
        }
        sim_commit_leads(watch->sim->commit, node, number, part, known->text);
    }
}

struct looking {
    struct sim_watch *watch;
    struct sim_node *node;
    uint32_t seen; /* one bit for each partition */
};

/* M9, M11 */
static void check_hw(struct sim_watch *watch, struct sim_node *node, int number, struct part *part)
{
    struct hw_known *known = &shown_by(watch, number, node)->hw;
    int64_t hw = atomic_load(&part->offset_hw);
    bool same = known->life == node->lives && known->log == part->log &&
                known->generation == part->log->generation;
    if (same && hw < known->offset_hw) {
        sim_fail(watch->sim,
                 "M9: broker %d has forgotten how much of %s is committed: %" PRId64
                 ", after %" PRId64,
                 node->id, watch->parts[number].text, hw, known->offset_hw);
    }
    int64_t start = plog_log_start(part->log);
    int64_t trimmed_end = sim_model_trimmed_end(watch->sim->model, number);
    if ((same && start < known->log_start) || start > trimmed_end) { /* M11 */
        sim_fail(watch->sim,
                 "M11: the log of %s on broker %d begins at %" PRId64 ", after %" PRId64
                 ", and %" PRId64 " was asked for",
                 watch->parts[number].text, node->id, start, same ? known->log_start : 0,
                 trimmed_end);
    }
    *known = (struct hw_known){node->lives, part->log, part->log->generation, hw, start};
}

static void look_at_part(void *arg, struct part *part)
{
    struct looking *looking = arg;
    struct sim_watch *watch = looking->watch;
    int number = sim_part_number(watch->sim, part->topic, part->index);
    if (number < 0) {
        return;
    }
    looking->seen |= 1u << number;
    look_at_leader(watch, looking->node, number, part);
    int64_t start = plog_log_start(part->log);
    int64_t hw = atomic_load(&part->offset_hw);
    int64_t end = plog_offset_end(part->log);
    if (start < 0 || start > hw || hw > end) { /* M7 */
        sim_fail(watch->sim,
                 "M7: %s on broker %d: log start %" PRId64 ", hw %" PRId64 ", end %" PRId64,
                 watch->parts[number].text, looking->node->id, start, hw, end);
        return;
    }
    check_hw(watch, looking->node, number, part);
    if (!sim_complete_excused(watch->complete, looking->node->id, number)) {
        sim_commit_look(watch->sim->commit, looking->node, number, part, watch->parts[number].text);
    }
}

/* M8 */
static void look_at_meta(struct sim_watch *watch, struct sim_node *node)
{
    struct meta_cell *cell = &server_broker(node->server)->meta;
    uint64_t generation = atomic_load(&cell->generation);
    if (watch->seen_meta[node->id - 1] == generation) {
        return;
    }
    watch->seen_meta[node->id - 1] = generation;
    struct meta *meta = meta_cell_get(cell);
    for (int i = 0; i < sim_parts_count(watch->sim); i++) {
        char topic[16];
        int index;
        sim_part_name(watch->sim, i, topic, &index);
        const struct meta_topic *found = meta_find(meta, str_of(topic));
        const struct meta_partition *part =
            found != NULL ? meta_topic_partition(found, index) : NULL;
        int32_t *told = &shown_by(watch, i, node)->told_epoch;
        if (part != NULL && part->leader_epoch < *told) {
            sim_fail(watch->sim,
                     "M8: broker %d names broker %d as the leader of %s in epoch %d, after a "
                     "leader in epoch %d",
                     node->id, part->leader, watch->parts[i].text, part->leader_epoch, *told);
        }
        *told = part != NULL ? part->leader_epoch : *told;
    }
    meta_put(meta);
}

static void life_begins(struct sim_watch *watch, struct sim_node *node)
{
    watch->seen_meta[node->id - 1] = UINT64_MAX;
    for (int i = 0; i < SIM_PARTS_MAX; i++) {
        shown_by(watch, i, node)->told_epoch = -1;
    }
}

/* The log as it came back from a crash (M4). */
static void log_is_back(struct sim_watch *watch, struct sim_node *node, int number, int64_t end)
{
    int64_t acked_end = sim_model_acked_end(watch->sim->model, number, node->id);
    int64_t synced_end = shown_by(watch, number, node)->synced_end;
    bool flush = watch->sim->options.flush;
    if ((!node->power_was_lost || flush) && end < acked_end) {
        sim_fail(watch->sim,
                 "M4: %s on broker %d ends at %" PRId64 " after its restart, but records up to "
                 "%" PRId64 " were acknowledged, and %s",
                 watch->parts[number].text, node->id, end, acked_end,
                 flush ? "said to be on the disk" : "the page cache was not lost");
        return;
    }
    if (end < synced_end) {
        sim_fail(watch->sim,
                 "M4: %s on broker %d ends at %" PRId64 " after its restart, but it had synced up "
                 "to %" PRId64,
                 watch->parts[number].text, node->id, end, synced_end);
        return;
    }
    if (node->power_was_lost) {
        sim_commit_forget(watch->sim->commit, number, end);
    }
    sim_model_forget(watch->sim->model, number, node->id, end);
    if (flush) { /* it begins where the disk was synced, and catches up with the first sync */
        sim_model_high_watermark_anew(watch->sim->model, number, node->id);
    }
}

static void look_at_start(struct sim_watch *watch, struct sim_node *node)
{
    struct broker *broker = server_broker(node->server);
    for (int32_t i = 0; i < logs_dirs_count(broker->logs); i++) {
        if (logdir_offline(logs_dir(broker->logs, i))) {
            return; /* it could not be read; the next life will show */
        }
    }
    for (int i = 0; i < sim_parts_count(watch->sim) && !watch->sim->options.replicated; i++) {
        char topic[16];
        int index;
        sim_part_name(watch->sim, i, topic, &index);
        struct logs_entry *entry = logs_find(broker->logs, str_of(topic), index);
        log_is_back(watch, node, i, entry != NULL ? plog_offset_end(entry->log) : 0);
    }
    node->power_was_lost = false;
}

/* A log that is made later may get the address of one that is gone: addresses must not decide. */
static void forget_absent(const struct looking *looking)
{
    struct sim_watch *watch = looking->watch;
    for (int i = 0; i < sim_parts_count(watch->sim); i++) {
        if ((looking->seen & (1u << i)) == 0) {
            shown_by(watch, i, looking->node)->hw.log = NULL;
            sim_commit_absent(watch->sim->commit, looking->node, i);
        }
    }
}

void sim_watch_look(struct sim_watch *watch, struct sim_node *node)
{
    if (node->server == NULL || node->died || watch->sim->failed) {
        return;
    }
    struct broker *broker = server_broker(node->server);
    if (broker->control_apply != NULL && watch->seen_life[node->id - 1] != node->lives) {
        watch->seen_life[node->id - 1] = node->lives;
        life_begins(watch, node);
        look_at_start(watch, node);
    }
    if (watch->seen_life[node->id - 1] == node->lives) {
        look_at_meta(watch, node);
    }
    struct looking looking = {watch, node, 0};
    parts_each(&broker->parts, look_at_part, &looking);
    forget_absent(&looking);
}

void sim_watch_power_lost(struct sim_watch *watch, struct sim_node *node)
{
    if (!watch->sim->options.flush) { /* what counts is on its disk */
        sim_complete_power(watch->complete, node);
    }
}

void sim_watch_before_end(struct sim_watch *watch, struct sim_node *node)
{
    if (watch->seen_life[node->id - 1] != node->lives) {
        return; /* it never got as far as its logs */
    }
    for (int i = 0; i < sim_parts_count(watch->sim); i++) {
        struct part *part = sim_part_on(watch->sim, i, node->id);
        if (part != NULL) {
            shown_by(watch, i, node)->synced_end = plog_recovery_point(part->log);
            part_put(part);
        }
    }
}
