#include "sim_model.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "partition/part.h"
#include "sim.h"
#include "sim_audit.h"
#include "sim_parts.h"

/* One replica's history. */
struct disk_log {
    uint64_t *ids; /* by offset; 0: nothing is known */
    bool *acked;
    int64_t size;
    int64_t capacity;
};

struct model_part {
    char text[SIM_PART_TEXT_MAX];
    struct disk_log logs[SIM_NODES_MAX]; /* by broker; of replicated partitions only the first */
    int64_t hw_seen[SIM_NODES_MAX];      /* by broker */
    int64_t trimmed_end;                 /* records before that may have been deleted */
    bool forgot;                         /* a disk lost what it had not synced */
};

struct producer_record {
    int64_t *abandoned; /* numbers, growing */
    int64_t abandoned_count;
};

struct sim_model {
    struct sim *sim;
    struct model_part parts[SIM_PARTS_MAX];
    struct producer_record producers[SIM_PRODUCERS_MAX];
    int64_t acked_count;
    int64_t read_count;
};

struct sim_model *sim_model_new(struct sim *sim)
{
    struct sim_model *model = mem_new(struct sim_model);
    model->sim = sim;
    must(sim_parts_count(sim) <= SIM_PARTS_MAX);
    for (int i = 0; i < sim_parts_count(sim); i++) {
        sim_part_text(sim, i, model->parts[i].text);
    }
    return model;
}

void sim_model_free(struct sim_model *model)
{
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

/* M3 */
static void set_record(struct sim_model *model, int part, int node, int64_t offset, uint64_t id,
                       const char *who)
{
    struct disk_log *log = log_of(model, part, node);
    if (offset < 0 || offset > 1000000) {
        sim_fail(model->sim, "%s was told offset %" PRId64 " of %s", who, offset,
                 model->parts[part].text);
        return;
    }
    log_reach(log, offset + 1);
    if (log->ids[offset] != 0 && log->ids[offset] != id) {
        sim_fail(model->sim,
                 "M3: %s offset %" PRId64 " on broker %d holds record %" PRIu64 ":%" PRIu64
                 " for %s, but %" PRIu64 ":%" PRIu64 " was there before",
                 model->parts[part].text, offset, node, id >> 40, id & 0xffffffffffu, who,
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

/* ---- consumers ---- */

void sim_model_read(struct sim_model *model, int part, int node, int64_t offset, uint64_t id)
{
    model->read_count++;
    set_record(model, part, node, offset, id, "a consumer");
}

/* Does this broker lead, as it knows? A follower that answers consumers may be behind. */
static bool leads(struct sim *sim, int number, int node)
{
    struct part *part = sim_part_on(sim, number, node);
    bool leader = part != NULL && part_now(part).role == PART_LEADER;
    part_put(part);
    return leader;
}

void sim_model_high_watermark(struct sim_model *model, int part, int node, int64_t offset_hw)
{
    if (model->sim->options.replicated && !leads(model->sim, part, node)) {
        return;
    }
    int64_t *hw_seen = &model->parts[part].hw_seen[node - 1];
    if (offset_hw < *hw_seen) { /* M5 */
        sim_fail(model->sim,
                 "M5: the high watermark of %s on broker %d goes back from %" PRId64 " to %" PRId64,
                 model->parts[part].text, node, *hw_seen, offset_hw);
        return;
    }
    *hw_seen = offset_hw;
}

void sim_model_high_watermark_anew(struct sim_model *model, int part, int node)
{
    model->parts[part].hw_seen[node - 1] = 0;
}

/* ---- what is gone ---- */

void sim_model_forget(struct sim_model *model, int part, int node, int64_t end)
{
    struct disk_log *log = log_of(model, part, node);
    int64_t *hw_seen = &model->parts[part].hw_seen[node - 1];
    bool shown = sim_model_acked_end(model, part, node) > end || *hw_seen > end;
    if (end < log->size) {
        sim_trace_line(&model->sim->trace, "model",
                       "%s has lost its offsets from %" PRId64 " to %" PRId64 " on broker %d",
                       model->parts[part].text, end, log->size, node);
        memset(log->ids + end, 0, (size_t)(log->size - end) * sizeof(*log->ids));
        memset(log->acked + end, 0, (size_t)(log->size - end) * sizeof(*log->acked));
        log->size = end;
    }
    model->parts[part].forgot = model->parts[part].forgot || shown;
    *hw_seen = *hw_seen < end ? *hw_seen : end;
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
                 model->parts[number].text, node, producer, record, offset, producer,
                 last[producer]);
    } else if (record > last[producer] + 1 && !(begins_later && last[producer] < 0) &&
               !sim_model_may_forget(model, number) &&
               !was_abandoned(&model->producers[producer], last[producer] + 1, record)) {
        sim_fail(model->sim,
                 "M6: %s on broker %d lacks records of producer %d between %" PRId64
                 " and %" PRId64,
                 model->parts[number].text, node, producer, last[producer], record);
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
                 node->id, model->parts[number].text, found->end,
                 sim_model_acked_end(model, number, node->id));
    }
    if (found->begin > sim_model_trimmed_end(model, number)) {
        sim_fail(model->sim, "M11: the disk of broker %d begins %s at %" PRId64, node->id,
                 model->parts[number].text, found->begin);
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
        if (!sim_part_is_replica(model->sim, topic, index, node->id)) {
            if (sim_audit_exists(fs_sim_fs(node->image), topic, index)) {
                sim_fail(model->sim, "broker %d has a copy of %s, and is no replica", node->id,
                         model->parts[i].text);
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
