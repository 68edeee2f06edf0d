#include "sim_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/broker.h"
#include "api/find_coordinator.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"
#include "partition/parts.h"
#include "server/server.h"
#include "sim.h"
#include "sim_audit.h"
#include "sim_commit.h"
#include "sim_complete.h"
#include "znode/znode.h"

enum { EPOCHS_MAX = 4096 };

_Static_assert(SIM_PARTS_MAX <= 32, "one bit each in struct looking");

/* One replica's history. */
struct disk_log {
    uint64_t *ids; /* by offset; 0: nothing is known */
    bool *acked;
    int64_t size;
    int64_t capacity;
    int64_t synced_end; /* of the life before: comes back even when the power fails */
};

/* A broker's high watermark, and of which log: one that was cut since is another one. */
struct hw_known {
    int life;
    const struct plog *log;
    uint64_t generation;
    int64_t offset_hw;
    int64_t log_start;
};

struct model_part {
    struct disk_log logs[SIM_NODES_MAX]; /* by broker; of replicated partitions only the first */
    int64_t hw_seen[SIM_NODES_MAX];      /* by broker */
    int8_t leaders[EPOCHS_MAX];        /* broker id by leader epoch, as brokers say; 0: none yet */
    int32_t state_epoch;               /* highest in ZooKeeper */
    int64_t trimmed_end;               /* records before that may have been deleted */
    bool forgot;                       /* a disk lost what it had not synced */
    int32_t led_epoch[SIM_NODES_MAX];  /* in which this broker led last */
    int32_t told_epoch[SIM_NODES_MAX]; /* of the leader that it names to clients, in this life */
    struct hw_known hw_known[SIM_NODES_MAX];
};

struct producer_record {
    int64_t *abandoned; /* numbers, growing */
    int64_t abandoned_count;
};

struct sim_model {
    struct sim *sim;
    struct sim_complete *complete;
    struct model_part parts[SIM_PARTS_MAX];
    struct producer_record producers[SIM_PRODUCERS_MAX];
    int seen_life[SIM_NODES_MAX];      /* the life whose start was looked at */
    uint64_t seen_meta[SIM_NODES_MAX]; /* the generation of its metadata that was looked at */
    int64_t acked_count;
    int64_t read_count;
};

/* ---- names ---- */

int sim_parts_count(const struct sim *sim)
{
    return sim->options.topics_count * sim->options.partitions_count;
}

void sim_part_name(const struct sim *sim, int part, char topic[16], int *index)
{
    snprintf(topic, 16, "t%d", part / sim->options.partitions_count);
    *index = part % sim->options.partitions_count;
}

int sim_part_number(const struct sim *sim, struct str topic, int index)
{
    int number = 0;
    if (topic.size < 2 || topic.ptr[0] != 't') {
        return -1;
    }
    for (size_t i = 1; i < topic.size; i++) {
        number = number * 10 + (topic.ptr[i] - '0');
    }
    return number < sim->options.topics_count && index < sim->options.partitions_count
               ? number * sim->options.partitions_count + index
               : -1;
}

struct sim_model *sim_model_new(struct sim *sim)
{
    struct sim_model *model = mem_new(struct sim_model);
    model->sim = sim;
    model->complete = sim_complete_new(sim);
    must(sim_parts_count(sim) <= SIM_PARTS_MAX);
    for (int i = 0; i < SIM_PARTS_MAX; i++) {
        model->parts[i].state_epoch = -1;
    }
    return model;
}

void sim_model_free(struct sim_model *model)
{
    sim_complete_free(model->complete);
    for (int i = 0; i < SIM_PARTS_MAX; i++) {
        for (int j = 0; j < SIM_NODES_MAX; j++) {
            mem_free(model->parts[i].logs[j].ids);
            mem_free(model->parts[i].logs[j].acked);
        }
    }
    for (int i = 0; i < SIM_PRODUCERS_MAX; i++) {
        mem_free(model->producers[i].abandoned);
    }
    mem_free(model);
}

static struct disk_log *log_of(struct sim_model *model, int part, int node)
{
    must(part >= 0);
    must(part < sim_parts_count(model->sim));
    must(node >= 1);
    must(node <= model->sim->options.nodes_count);
    return &model->parts[part].logs[model->sim->options.replicated ? 0 : node - 1];
}

static void log_reach(struct disk_log *log, int64_t size)
{
    if (size > log->capacity) {
        int64_t capacity = size * 2 + 64;
        log->ids = mem_realloc(log->ids, (size_t)capacity * sizeof(*log->ids));
        log->acked = mem_realloc(log->acked, (size_t)capacity * sizeof(*log->acked));
        memset(log->ids + log->capacity, 0, (size_t)(capacity - log->capacity) * sizeof(*log->ids));
        memset(log->acked + log->capacity, 0,
               (size_t)(capacity - log->capacity) * sizeof(*log->acked));
        log->capacity = capacity;
    }
    log->size = size > log->size ? size : log->size;
}

static const char *part_text(const struct sim_model *model, int part)
{
    static char text[40];
    char topic[16];
    int index;
    sim_part_name(model->sim, part, topic, &index);
    snprintf(text, sizeof(text), "%s-%d", topic, index);
    return text;
}

/* M3 */
static void set_record(struct sim_model *model, int part, int node, int64_t offset, uint64_t id,
                       const char *who)
{
    struct disk_log *log = log_of(model, part, node);
    if (offset < 0 || offset > 1000000) {
        sim_fail(model->sim, "%s was told offset %" PRId64 " of %s", who, offset,
                 part_text(model, part));
        return;
    }
    log_reach(log, offset + 1);
    if (log->ids[offset] != 0 && log->ids[offset] != id) {
        sim_fail(model->sim,
                 "M3: %s offset %" PRId64 " on broker %d holds record %" PRIu64 ":%" PRIu64
                 " for %s, but %" PRIu64 ":%" PRIu64 " was there before",
                 part_text(model, part), offset, node, id >> 40, id & 0xffffffffffu, who,
                 log->ids[offset] >> 40, log->ids[offset] & 0xffffffffffu);
        return;
    }
    log->ids[offset] = id;
}

/* ---- producers ---- */

void sim_model_acked(struct sim_model *model, int part, int node, int64_t offset, int producer,
                     int64_t first, int count)
{
    for (int i = 0; i < count && !model->sim->failed; i++) {
        set_record(model, part, node, offset + i, sim_record_id(producer, first + i), "a producer");
        if (!model->sim->failed) {
            log_of(model, part, node)->acked[offset + i] = true;
            model->acked_count++;
        }
    }
}

void sim_model_abandoned(struct sim_model *model, int producer, int64_t first, int64_t count)
{
    struct producer_record *record = &model->producers[producer];
    record->abandoned = mem_realloc(record->abandoned, (size_t)(record->abandoned_count + count) *
                                                           sizeof(*record->abandoned));
    for (int64_t i = 0; i < count; i++) {
        record->abandoned[record->abandoned_count++] = first + i;
    }
}

bool sim_model_may_forget(const struct sim_model *model, int part)
{
    return model->parts[part].forgot;
}

int64_t sim_model_acked_end(struct sim_model *model, int part, int node)
{
    const struct disk_log *log = log_of(model, part, node);
    int64_t end = log->size;
    while (end > 0 && !log->acked[end - 1]) {
        end--;
    }
    return end;
}

int64_t sim_model_acked_count(const struct sim_model *model)
{
    return model->acked_count;
}

int64_t sim_model_read_count(const struct sim_model *model)
{
    return model->read_count;
}

/* ---- what is deleted in order ---- */

void sim_model_trimmed(struct sim_model *model, int part, int64_t offset)
{
    int64_t *end = &model->parts[part].trimmed_end;
    *end = offset > *end ? offset : *end;
}

int64_t sim_model_trimmed_end(const struct sim_model *model, int part)
{
    return model->sim->options.retention_ms > 0 ? INT64_MAX : model->parts[part].trimmed_end;
}

int64_t sim_model_log_start(struct sim_model *model, int part, int node)
{
    struct sim_node *at = sim_node_by_id(model->sim, node);
    char topic[16];
    int index;
    sim_part_name(model->sim, part, topic, &index);
    struct part *found = at->server != NULL
                             ? parts_lookup(&server_broker(at->server)->parts, str_of(topic), index)
                             : NULL;
    int64_t start = found != NULL ? plog_log_start(found->log) : 0;
    part_put(found);
    return start;
}

/* ---- consumers ---- */

void sim_model_read(struct sim_model *model, int part, int node, int64_t offset, uint64_t id)
{
    model->read_count++;
    set_record(model, part, node, offset, id, "a consumer");
}

/* Does this broker lead, as it knows? A follower that answers consumers may be behind. */
static bool leads(struct sim_model *model, int number, int id)
{
    struct sim_node *node = sim_node_by_id(model->sim, id);
    char topic[16];
    int index;
    if (node->server == NULL) {
        return false;
    }
    sim_part_name(model->sim, number, topic, &index);
    struct broker *broker = server_broker(node->server);
    struct part *part = parts_lookup(&broker->parts, str_of(topic), index);
    bool leader = part != NULL && part_now(part).role == PART_LEADER;
    part_put(part);
    return leader;
}

void sim_model_high_watermark(struct sim_model *model, int part, int node, int64_t offset_hw)
{
    if (model->sim->options.replicated && !leads(model, part, node)) {
        return;
    }
    int64_t *hw_seen = &model->parts[part].hw_seen[node - 1];
    if (offset_hw < *hw_seen) { /* M5 */
        sim_fail(model->sim,
                 "M5: the high watermark of %s on broker %d goes back from %" PRId64 " to %" PRId64,
                 part_text(model, part), node, *hw_seen, offset_hw);
        return;
    }
    *hw_seen = offset_hw;
}

/* ---- ZooKeeper ---- */

/* The number behind "name": in a flat piece of JSON; -2 when it is not there. */
static int32_t json_int(struct bytes json, const char *name)
{
    char key[40];
    int size = snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = json.size > 0 ? memmem(json.data, json.size, key, (size_t)size) : NULL;
    if (at == NULL) {
        return -2;
    }
    char number[16] = "";
    size_t left = json.size - (size_t)(at + size - (const char *)json.data);
    memcpy(number, at + size, left < sizeof(number) - 1 ? left : sizeof(number) - 1);
    return (int32_t)strtol(number, NULL, 10);
}

static int32_t controller_epoch_now(struct sim *sim)
{
    struct buf data = {0};
    int32_t epoch = -1;
    if (zk_mem_peek(sim->zk, "/controller_epoch", &data, NULL)) {
        buf_put_byte(&data, 0);
        epoch = (int32_t)strtol((const char *)data.data, NULL, 10);
    }
    buf_fini(&data);
    return epoch;
}

/* "/brokers/topics/t0/partitions/1/state" -> the partition's number, or -1. */
static int number_of_path(const struct sim *sim, const char *path)
{
    static const char prefix[] = "/brokers/topics/";
    static const char middle[] = "/partitions/";
    const char *name = path + sizeof(prefix) - 1;
    const char *end = strncmp(path, prefix, sizeof(prefix) - 1) == 0 ? strchr(name, '/') : NULL;
    if (end == NULL || strncmp(end, middle, sizeof(middle) - 1) != 0) {
        return -1;
    }
    return sim_part_number(sim, (struct str){name, (size_t)(end - name)},
                           (int)strtol(end + sizeof(middle) - 1, NULL, 10));
}

void sim_model_state_written(struct sim_model *model, struct sim_node *node, const char *path,
                             struct bytes old, struct bytes new_)
{
    struct sim *sim = model->sim;
    int32_t written_by = json_int(new_, "controller_epoch");
    int32_t now = controller_epoch_now(sim);
    int32_t epoch = json_int(new_, "leader_epoch");
    int32_t leader = json_int(new_, "leader");
    sim_trace_line(&sim->trace, node->name, "writes %s: %.*s", path, (int)new_.size, new_.data);
    if (written_by != now) { /* M2 */
        sim_fail(sim, "M2: %s wrote %s as the controller of epoch %d, but the epoch is %d",
                 node->name, path, written_by, now);
    }
    int number = number_of_path(sim, path);
    if (sim->options.replicated && number >= 0) {
        sim_complete_written(model->complete, number, old, new_);
    }
    if (old.size == 0) {
        return;
    }
    int32_t old_epoch = json_int(old, "leader_epoch");
    int32_t old_leader = json_int(old, "leader");
    bool led = leader >= 0 && leader != old_leader;
    if (epoch < old_epoch || (led && epoch == old_epoch)) { /* M1 */
        sim_fail(sim, "M1: %s made broker %d leader of %s in epoch %d, after broker %d in epoch %d",
                 node->name, leader, path, epoch, old_leader, old_epoch);
    }
}

/* Is the broker among the replicas of this partition, as ZooKeeper has them? */
static bool is_replica(struct sim *sim, const char *topic, int index, int node)
{
    struct buf data = {0};
    char path[60];
    char key[16];
    bool found = false;
    snprintf(path, sizeof(path), "/brokers/topics/%s", topic);
    snprintf(key, sizeof(key), "\"%d\":[", index);
    if (zk_mem_peek(sim->zk, path, &data, NULL)) {
        buf_put_byte(&data, 0);
        const char *at = strstr((const char *)data.data, "\"partitions\":{");
        at = at != NULL ? strstr(at, key) : NULL;
        const char *end = at != NULL ? strchr(at, ']') : NULL;
        at = at != NULL ? at + strlen(key) - 1 : NULL;
        for (; end != NULL && at < end && !found; at = strpbrk(at + 1, ",]")) {
            found = strtol(at + 1, NULL, 10) == node;
        }
    }
    buf_fini(&data);
    return found;
}

bool sim_model_is_replica(struct sim_model *model, int part, int node)
{
    char topic[16];
    int index;
    sim_part_name(model->sim, part, topic, &index);
    return is_replica(model->sim, topic, index, node);
}

/* As ZooKeeper has it; -1: nobody. */
static int leader_of(struct sim *sim, const char *topic, int index)
{
    struct buf data = {0};
    char path[80];
    int leader = -1;
    snprintf(path, sizeof(path), "/brokers/topics/%s/partitions/%d/state", topic, index);
    if (zk_mem_peek(sim->zk, path, &data, NULL)) {
        leader = json_int((struct bytes){data.data, data.size}, "leader");
    }
    buf_fini(&data);
    return leader;
}

int sim_model_leader(struct sim_model *model, int part)
{
    char topic[16];
    int index;
    sim_part_name(model->sim, part, topic, &index);
    return leader_of(model->sim, topic, index);
}

int sim_model_coordinator(struct sim_model *model, struct str group)
{
    return leader_of(model->sim, "__consumer_offsets",
                     coordinator_partition(group, SIM_OFFSETS_PARTS));
}

int sim_model_in_sync(struct sim_model *model, int part)
{
    struct buf data = {0};
    char topic[16];
    char path[80];
    int index;
    int count = 0;
    sim_part_name(model->sim, part, topic, &index);
    snprintf(path, sizeof(path), "/brokers/topics/%s/partitions/%d/state", topic, index);
    if (zk_mem_peek(model->sim->zk, path, &data, NULL) &&
        json_int((struct bytes){data.data, data.size}, "leader") >= 0) {
        buf_put_byte(&data, 0);
        const char *isr = strstr((const char *)data.data, "\"isr\":[");
        for (const char *at = isr; at != NULL && *at != ']' && *at != '\0'; at++) {
            count += *at == ',' || *at == '[' ? 1 : 0;
        }
    }
    buf_fini(&data);
    return count;
}

static bool has_id(struct znode_ids list, int32_t id)
{
    for (int32_t i = 0; i < list.count; i++) {
        if (list.ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Its log is here if and only if it is one of them. */
static bool copies_are(const struct sim *sim, struct str topic, int index,
                       struct znode_ids replicas)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].server == NULL) {
            return false;
        }
        const struct broker *broker = server_broker(sim->nodes[i].server);
        bool here = logs_find(broker->logs, topic, index) != NULL;
        if (here != has_id(replicas, sim->nodes[i].id)) {
            return false;
        }
    }
    return true;
}

bool sim_model_at_rest(struct sim_model *model, int part)
{
    struct buf data = {0};
    struct arena arena = {0};
    struct znode_topic node = {0};
    char topic[16];
    char path[40];
    int index;
    bool rest = false;
    sim_part_name(model->sim, part, topic, &index);
    snprintf(path, sizeof(path), "/brokers/topics/%s", topic);
    bool known =
        zk_mem_peek(model->sim->zk, path, &data, NULL) &&
        znode_topic_decode(&arena, (struct bytes){data.data, data.size}, &node, NULL) == ERR_OK;
    for (int32_t i = 0; known && i < node.partitions_count; i++) {
        const struct znode_partition *line = &node.partitions[i];
        if (line->index == index) {
            rest = line->adding.count + line->removing.count == 0 &&
                   sim_model_in_sync(model, part) == line->replicas.count &&
                   copies_are(model->sim, str_of(topic), index, line->replicas);
        }
    }
    arena_fini(&arena);
    buf_fini(&data);
    return rest;
}

/* ---- brokers ---- */

/* What is known of the offsets from `end` on is not so any more. */
static void forget_from(struct sim_model *model, int number, int node, int64_t end)
{
    struct disk_log *log = log_of(model, number, node);
    int64_t *hw_seen = &model->parts[number].hw_seen[node - 1];
    bool shown = sim_model_acked_end(model, number, node) > end || *hw_seen > end;
    if (end < log->size) {
        sim_trace_line(&model->sim->trace, "model",
                       "%s has lost its offsets from %" PRId64 " to %" PRId64 " on broker %d",
                       part_text(model, number), end, log->size, node);
        memset(log->ids + end, 0, (size_t)(log->size - end) * sizeof(*log->ids));
        memset(log->acked + end, 0, (size_t)(log->size - end) * sizeof(*log->acked));
        log->size = end;
    }
    model->parts[number].forgot = model->parts[number].forgot || shown;
    *hw_seen = *hw_seen < end ? *hw_seen : end;
}

/* The epoch of the last record before that one began. */
static int32_t epochs_before(struct plog *log, int32_t epoch)
{
    int32_t found;
    int64_t end;
    epochs_end_of(plog_epochs(log), epoch - 1, plog_offset_end(log), &found, &end);
    return end >= 0 ? found : -1;
}

/* M10 */
static void check_longest(struct sim_model *model, int leader, int number, struct plog *log)
{
    int32_t epoch = epochs_latest(plog_epochs(log));
    char topic[16];
    int index;
    sim_part_name(model->sim, number, topic, &index);
    for (int id = 1; id <= model->sim->options.nodes_count; id++) {
        struct sim_node *node = &model->sim->nodes[id - 1];
        if (id == leader || node->server == NULL || node->died ||
            !sim_complete_rival(model->complete, id, number)) {
            continue;
        }
        struct part *part = parts_lookup(&server_broker(node->server)->parts, str_of(topic), index);
        int32_t other = part != NULL ? epochs_latest(plog_epochs(part->log)) : -1;
        int64_t end = part != NULL ? plog_offset_end(part->log) : 0;
        /* The leader has begun its own epoch already. */
        if (end > plog_offset_end(log) && other >= epochs_before(log, epoch)) {
            sim_fail(model->sim,
                     "M10: broker %d leads %s with a log that ends at %" PRId64
                     ", but broker %d's ends at %" PRId64 ", in epoch %d",
                     leader, part_text(model, number), plog_offset_end(log), id, end, other);
        }
        part_put(part);
    }
}

/* Nobody was complete when this leader was elected: what it does not have is gone, and behind the
 * first batch that it has of another epoch, everything. */
static void begin_anew(struct sim_model *model, struct sim_node *node, int number,
                       struct part *part)
{
    int64_t end = sim_commit_agrees(model->sim->commit, node, number, part);
    check_longest(model, node->id, number, part->log);
    for (int id = 1; id <= model->sim->options.nodes_count; id++) {
        forget_from(model, number, id, end);
    }
    sim_commit_forget(model->sim->commit, number, end);
    sim_trace_line(&model->sim->trace, "model", "%s begins anew with broker %d at %" PRId64,
                   part_text(model, number), node->id, end);
}

static void look_at_leader(struct sim_model *model, struct sim_node *node, int number,
                           struct part *part)
{
    struct model_part *known = &model->parts[number];
    struct part_now now = part_now(part);
    if (now.role != PART_LEADER) {
        return;
    }
    must(now.leader_epoch >= 0);
    must(now.leader_epoch < EPOCHS_MAX);
    int8_t *leader = &known->leaders[now.leader_epoch];
    if (*leader != 0 && *leader != node->id) { /* M1 */
        sim_fail(model->sim, "M1: brokers %d and %d both lead %s in epoch %d", *leader, node->id,
                 part_text(model, number), now.leader_epoch);
    }
    *leader = (int8_t)node->id;
    if (known->led_epoch[node->id - 1] != now.leader_epoch) {
        known->led_epoch[node->id - 1] = now.leader_epoch;
        if (model->sim->options.replicated) {
            known->hw_seen[node->id - 1] = 0; /* it learns from its followers how far they are */
            if (sim_complete_leads(model->complete, node, number)) {
                begin_anew(model, node, number, part);
            }
        }
        sim_commit_leads(model->sim->commit, node, number, part, part_text(model, number));
    }
}

struct looking {
    struct sim_model *model;
    struct sim_node *node;
    uint32_t seen; /* one bit for each partition */
};

/* M9, M11 */
static void check_hw(struct sim_model *model, struct sim_node *node, int number, struct part *part)
{
    struct hw_known *known = &model->parts[number].hw_known[node->id - 1];
    int64_t hw = atomic_load(&part->offset_hw);
    bool same = known->life == node->lives && known->log == part->log &&
                known->generation == part->log->generation;
    if (same && hw < known->offset_hw) {
        sim_fail(model->sim,
                 "M9: broker %d has forgotten how much of %s is committed: %" PRId64
                 ", after %" PRId64,
                 node->id, part_text(model, number), hw, known->offset_hw);
    }
    int64_t start = plog_log_start(part->log);
    if ((same && start < known->log_start) ||
        start > sim_model_trimmed_end(model, number)) { /* M11 */
        sim_fail(model->sim,
                 "M11: the log of %s on broker %d begins at %" PRId64 ", after %" PRId64
                 ", and %" PRId64 " was asked for",
                 part_text(model, number), node->id, start, same ? known->log_start : 0,
                 sim_model_trimmed_end(model, number));
    }
    *known = (struct hw_known){node->lives, part->log, part->log->generation, hw, start};
}

static void look_at_part(void *arg, struct part *part)
{
    struct looking *looking = arg;
    struct sim_model *model = looking->model;
    int number = sim_part_number(model->sim, part->topic, part->index);
    if (number < 0) {
        return;
    }
    looking->seen |= 1u << number;
    look_at_leader(model, looking->node, number, part);
    int64_t start = plog_log_start(part->log);
    int64_t hw = atomic_load(&part->offset_hw);
    int64_t end = plog_offset_end(part->log);
    if (start < 0 || start > hw || hw > end) { /* M7 */
        sim_fail(model->sim,
                 "M7: %s on broker %d: log start %" PRId64 ", hw %" PRId64 ", end %" PRId64,
                 part_text(model, number), looking->node->id, start, hw, end);
        return;
    }
    check_hw(model, looking->node, number, part);
    if (!sim_complete_excused(model->complete, looking->node->id, number)) {
        sim_commit_look(model->sim->commit, looking->node, number, part, part_text(model, number));
    }
}

/* M8 */
static void look_at_meta(struct sim_model *model, struct sim_node *node)
{
    struct meta_cell *cell = &server_broker(node->server)->meta;
    uint64_t generation = atomic_load(&cell->generation);
    if (model->seen_meta[node->id - 1] == generation) {
        return;
    }
    model->seen_meta[node->id - 1] = generation;
    struct meta *meta = meta_cell_get(cell);
    for (int i = 0; i < sim_parts_count(model->sim); i++) {
        char topic[16];
        int index;
        sim_part_name(model->sim, i, topic, &index);
        const struct meta_topic *found = meta_find(meta, str_of(topic));
        const struct meta_partition *part =
            found != NULL ? meta_topic_partition(found, index) : NULL;
        int32_t *told = &model->parts[i].told_epoch[node->id - 1];
        if (part != NULL && part->leader_epoch < *told) {
            sim_fail(model->sim,
                     "M8: broker %d names broker %d as the leader of %s in epoch %d, after a "
                     "leader in epoch %d",
                     node->id, part->leader, part_text(model, i), part->leader_epoch, *told);
        }
        *told = part != NULL ? part->leader_epoch : *told;
    }
    meta_put(meta);
}

static void life_begins(struct sim_model *model, struct sim_node *node)
{
    model->seen_meta[node->id - 1] = UINT64_MAX;
    for (int i = 0; i < SIM_PARTS_MAX; i++) {
        model->parts[i].told_epoch[node->id - 1] = -1;
    }
}

/* The log as it came back from a crash (M4). */
static void log_is_back(struct sim_model *model, struct sim_node *node, int number, int64_t end)
{
    struct disk_log *log = log_of(model, number, node->id);
    int64_t acked_end = sim_model_acked_end(model, number, node->id);
    bool flush = model->sim->options.flush;
    if ((!node->power_was_lost || flush) && end < acked_end) {
        sim_fail(model->sim,
                 "M4: %s on broker %d ends at %" PRId64 " after its restart, but records up to "
                 "%" PRId64 " were acknowledged, and %s",
                 part_text(model, number), node->id, end, acked_end,
                 flush ? "said to be on the disk" : "the page cache was not lost");
        return;
    }
    if (end < log->synced_end) {
        sim_fail(model->sim,
                 "M4: %s on broker %d ends at %" PRId64 " after its restart, but it had synced up "
                 "to %" PRId64,
                 part_text(model, number), node->id, end, log->synced_end);
        return;
    }
    if (node->power_was_lost) {
        sim_commit_forget(model->sim->commit, number, end);
    }
    forget_from(model, number, node->id, end);
    if (flush) { /* it begins where the disk was synced, and catches up with the first sync */
        model->parts[number].hw_seen[node->id - 1] = 0;
    }
}

static void look_at_start(struct sim_model *model, struct sim_node *node)
{
    struct broker *broker = server_broker(node->server);
    for (int32_t i = 0; i < logs_dirs_count(broker->logs); i++) {
        if (logdir_offline(logs_dir(broker->logs, i))) {
            return; /* it could not be read; the next life will show */
        }
    }
    for (int i = 0; i < sim_parts_count(model->sim) && !model->sim->options.replicated; i++) {
        char topic[16];
        int index;
        sim_part_name(model->sim, i, topic, &index);
        struct logs_entry *entry = logs_find(broker->logs, str_of(topic), index);
        log_is_back(model, node, i, entry != NULL ? plog_offset_end(entry->log) : 0);
    }
    node->power_was_lost = false;
}

/* A log that is made later may get the address of one that is gone: addresses must not decide. */
static void forget_absent(const struct looking *looking)
{
    struct sim_model *model = looking->model;
    for (int i = 0; i < sim_parts_count(model->sim); i++) {
        if ((looking->seen & (1u << i)) == 0) {
            model->parts[i].hw_known[looking->node->id - 1].log = NULL;
            sim_commit_absent(model->sim->commit, looking->node, i);
        }
    }
}

void sim_model_look(struct sim_model *model, struct sim_node *node)
{
    if (node->server == NULL || node->died || model->sim->failed) {
        return;
    }
    struct broker *broker = server_broker(node->server);
    if (broker->control_apply != NULL && model->seen_life[node->id - 1] != node->lives) {
        model->seen_life[node->id - 1] = node->lives;
        life_begins(model, node);
        look_at_start(model, node);
    }
    if (model->seen_life[node->id - 1] == node->lives) {
        look_at_meta(model, node);
    }
    struct looking looking = {model, node, 0};
    parts_each(&broker->parts, look_at_part, &looking);
    forget_absent(&looking);
}

void sim_model_power_lost(struct sim_model *model, struct sim_node *node)
{
    if (!model->sim->options.flush) { /* what counts is on its disk */
        sim_complete_power(model->complete, node);
    }
}

void sim_model_before_end(struct sim_model *model, struct sim_node *node)
{
    struct broker *broker = server_broker(node->server);
    if (model->seen_life[node->id - 1] != node->lives) {
        return; /* it never got as far as its logs */
    }
    for (int i = 0; i < sim_parts_count(model->sim); i++) {
        char topic[16];
        int index;
        sim_part_name(model->sim, i, topic, &index);
        struct part *part = parts_lookup(&broker->parts, str_of(topic), index);
        if (part != NULL) {
            log_of(model, i, node->id)->synced_end = plog_recovery_point(part->log);
            part_put(part);
        }
    }
}

/* ---- the audit ---- */

static bool was_abandoned(const struct producer_record *record, int64_t from, int64_t to)
{
    int64_t found = 0;
    for (int64_t i = 0; i < record->abandoned_count; i++) {
        found += record->abandoned[i] >= from && record->abandoned[i] < to ? 1 : 0;
    }
    return found == to - from;
}

/* M6 */
static void audit_order(struct sim_model *model, int number, int node, int64_t *last, uint64_t id,
                        int64_t offset, bool begins_later)
{
    int producer = (int)(id >> 40);
    int64_t record = (int64_t)(id & 0xffffffffffu);
    if (record <= last[producer]) {
        sim_fail(model->sim,
                 "M6: %s on broker %d has record %d:%" PRId64 " at offset %" PRId64
                 " behind %d:%" PRId64,
                 part_text(model, number), node, producer, record, offset, producer,
                 last[producer]);
    } else if (record > last[producer] + 1 && !(begins_later && last[producer] < 0) &&
               !sim_model_may_forget(model, number) &&
               !was_abandoned(&model->producers[producer], last[producer] + 1, record)) {
        sim_fail(model->sim,
                 "M6: %s on broker %d lacks records of producer %d between %" PRId64
                 " and %" PRId64,
                 part_text(model, number), node, producer, last[producer], record);
    }
    last[producer] = record;
}

static void audit_log(struct sim_model *model, struct sim_node *node, int number,
                      const struct audit_log *found)
{
    int64_t last[SIM_PRODUCERS_MAX];
    for (int i = 0; i < SIM_PRODUCERS_MAX; i++) {
        last[i] = -1;
    }
    if (sim_model_acked_end(model, number, node->id) > found->end) {
        sim_fail(model->sim,
                 "M4: the disk of broker %d ends %s at %" PRId64 ", but records up to %" PRId64
                 " were acknowledged",
                 node->id, part_text(model, number), found->end,
                 sim_model_acked_end(model, number, node->id));
    }
    if (found->begin > sim_model_trimmed_end(model, number)) {
        sim_fail(model->sim, "M11: the disk of broker %d begins %s at %" PRId64, node->id,
                 part_text(model, number), found->begin);
    }
    for (int64_t i = found->begin; i < found->end && !model->sim->failed; i++) {
        if (found->ids[i] == 0) {
            continue;
        }
        set_record(model, number, node->id, i, found->ids[i], "the disk");
        audit_order(model, number, node->id, last, found->ids[i], i, found->begin > 0);
    }
}

void sim_model_audit_disk(struct sim_model *model, struct sim_node *node)
{
    for (int i = 0; i < sim_parts_count(model->sim) && !model->sim->failed; i++) {
        char topic[16];
        char problem[SIM_PROBLEM_MAX] = "";
        int index;
        struct audit_log found;
        sim_part_name(model->sim, i, topic, &index);
        if (!sim_model_is_replica(model, i, node->id)) {
            if (sim_audit_exists(fs_sim_fs(node->image), topic, index)) {
                sim_fail(model->sim, "broker %d has a copy of %s, and is no replica", node->id,
                         part_text(model, i));
            }
            continue;
        }
        if (!sim_audit_read(fs_sim_fs(node->image), topic, index, &found, problem)) {
            sim_fail(model->sim, "the log of %s-%d on the disk of broker %d is not valid: %s",
                     topic, index, node->id, problem);
        } else {
            audit_log(model, node, i, &found);
        }
        sim_audit_free(&found);
    }
}

static void compare_replicas(struct sim *sim, const char *topic, int index, bool prefix)
{
    struct buf first = {0};
    int first_id = 0;
    for (int id = 1; id <= sim->options.nodes_count && !sim->failed; id++) {
        struct buf log = {0};
        if (!is_replica(sim, topic, index, id)) {
            continue;
        }
        if (!sim_audit_bytes(fs_sim_fs(sim->nodes[id - 1].image), topic, index, &log)) {
            sim_fail(sim, "the log of %s-%d on the disk of broker %d cannot be read", topic, index,
                     id);
        }
        size_t common = log.size < first.size ? log.size : first.size;
        /* Segments that are deleted go from each disk at its own time: what is left has one end. */
        bool trimmed = !prefix && (sim->options.trims > 0 || sim->options.retention_ms > 0);
        size_t skip_log = trimmed ? log.size - common : 0;
        size_t skip_first = trimmed ? first.size - common : 0;
        bool differ =
            first_id != 0 &&
            ((!prefix && !trimmed && log.size != first.size) ||
             (common > 0 && memcmp(log.data + skip_log, first.data + skip_first, common) != 0));
        if (differ) {
            sim_fail(sim, "the logs of %s-%d on brokers %d (%zu bytes) and %d (%zu bytes) differ",
                     topic, index, first_id, first.size, id, log.size);
        }
        if (first_id == 0 || log.size > first.size) {
            struct buf before = first;
            first = log;
            log = before;
            first_id = id;
        }
        buf_fini(&log);
    }
    buf_fini(&first);
}

void sim_model_audit_replicas(struct sim_model *model)
{
    for (int i = 0; i < sim_parts_count(model->sim); i++) {
        char topic[16];
        int index;
        sim_part_name(model->sim, i, topic, &index);
        compare_replicas(model->sim, topic, index, false);
    }
    for (int i = 0; i < SIM_OFFSETS_PARTS; i++) {
        compare_replicas(model->sim, "__consumer_offsets", i, true);
    }
}
