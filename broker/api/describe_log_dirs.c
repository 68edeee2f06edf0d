/* DescribeLogDirs: what lies in each log directory, and how much room is left. Source:
 * Kafka 3.9 in ZooKeeper mode.
 *
 * The registry of logs belongs to the control loop, which notes what is wanted; asking a file
 * system for its free space may block, so a worker does that. */
#include <stdlib.h>

#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "log/logs.h"
#include "rt/worker.h"

typedef struct describe_log_dirs_request_describable_log_dir_topic wanted_t;
typedef struct describe_log_dirs_response_describe_log_dirs_result result_t;
typedef struct describe_log_dirs_response_describe_log_dirs_topic topic_t;
typedef struct describe_log_dirs_response_describe_log_dirs_partition partition_t;

struct describe_op {
    struct control_call call;
    struct work work;
    struct describe_log_dirs_response reply;
    struct logs_entry **entries; /* those wanted; used on the control loop only */
    int32_t entries_count;
    int32_t entries_max;
};

/* ---- which logs ---- */

static void count_entry(void *arg, struct logs_entry *entry)
{
    struct describe_op *op = arg;
    (void)entry;
    op->entries_max++;
}

static void take_entry(void *arg, struct logs_entry *entry)
{
    struct describe_op *op = arg;
    op->entries[op->entries_count++] = entry;
}

static void make_room(struct describe_op *op)
{
    op->entries =
        arena_array(&op->call.req->arena, struct logs_entry *, (size_t)op->entries_max + 1);
}

static void take_all(struct describe_op *op, struct logs *logs)
{
    logs_each(logs, count_entry, op);
    make_room(op);
    logs_each(logs, take_entry, op);
}

static void take_named(struct describe_op *op, struct logs *logs)
{
    const struct describe_log_dirs_request *request = op->call.req->body;
    for (int32_t i = 0; i < request->topics_count; i++) {
        op->entries_max += request->topics[i].partitions_count;
    }
    make_room(op);
    for (int32_t i = 0; i < request->topics_count; i++) {
        const wanted_t *wanted = &request->topics[i];
        for (int32_t j = 0; j < wanted->partitions_count; j++) {
            struct logs_entry *entry = logs_find(logs, wanted->topic, wanted->partitions[j]);
            if (entry != NULL) {
                take_entry(op, entry);
            }
        }
    }
}

static int by_topic_and_partition(const void *a, const void *b)
{
    const struct logs_entry *x = *(struct logs_entry *const *)a;
    const struct logs_entry *y = *(struct logs_entry *const *)b;
    int order = str_cmp(plog_topic(x->log), plog_topic(y->log));
    return order != 0 ? order : plog_partition(x->log) - plog_partition(y->log);
}

/* Each once: a request may name one twice. */
static void sort_entries(struct describe_op *op)
{
    int32_t kept = 0;
    qsort(op->entries, (size_t)op->entries_count, sizeof(struct logs_entry *),
          by_topic_and_partition);
    for (int32_t i = 0; i < op->entries_count; i++) {
        if (kept == 0 || op->entries[kept - 1] != op->entries[i]) {
            op->entries[kept++] = op->entries[i];
        }
    }
    op->entries_count = kept;
}

/* ---- one directory ---- */

static void fill_partition(struct describe_op *op, const struct logs_entry *entry, partition_t *out)
{
    struct str topic = plog_topic(entry->log);
    int64_t offset_hw = entry->offset_hw;
    struct part *part =
        parts_lookup(&op->call.req->broker->parts, topic, plog_partition(entry->log));
    if (part != NULL) {
        offset_hw = atomic_load(&part->offset_hw);
        part_put(part);
    }
    int64_t lag = offset_hw - plog_offset_end(entry->log);
    *out = (partition_t){
        .partition_index = plog_partition(entry->log),
        .partition_size = plog_size_bytes(entry->log),
        .offset_lag = part == NULL ? -1
                      : lag > 0    ? lag
                                   : 0,
    };
}

/* On its way here. */
static void fill_future(const struct logs_entry *entry, partition_t *out)
{
    int64_t lag = plog_offset_end(entry->log) - plog_offset_end(entry->future);
    *out = (partition_t){
        .partition_index = plog_partition(entry->log),
        .partition_size = plog_size_bytes(entry->future),
        .offset_lag = lag > 0 ? lag : 0,
        .is_future_key = true,
    };
}

/* How many entries from this one on are of its topic: they are sorted, a topic's stand together. */
static int32_t run_of(const struct describe_op *op, int32_t first)
{
    struct str topic = plog_topic(op->entries[first]->log);
    int32_t end = first + 1;
    while (end < op->entries_count && str_eq(plog_topic(op->entries[end]->log), topic)) {
        end++;
    }
    return end - first;
}

static void fill_topics(struct describe_op *op, const struct logdir *dir, result_t *out)
{
    struct arena *arena = &op->call.req->arena;
    topic_t *topic = NULL;
    out->topics = arena_array(arena, topic_t, (size_t)op->entries_count);
    for (int32_t i = 0; i < op->entries_count; i++) {
        const struct logs_entry *entry = op->entries[i];
        bool future = entry->future != NULL && entry->future_dir == dir;
        if (entry->dir != dir && !future) {
            continue;
        }
        if (topic == NULL || !str_eq(topic->name, plog_topic(entry->log))) {
            topic = &out->topics[out->topics_count++];
            topic->name = arena_str(arena, plog_topic(entry->log));
            topic->partitions = arena_array(arena, partition_t, (size_t)run_of(op, i));
        }
        partition_t *partition = &topic->partitions[topic->partitions_count++];
        if (future) {
            fill_future(entry, partition);
        } else {
            fill_partition(op, entry, partition);
        }
    }
}

static void fill_dir(struct describe_op *op, const struct logdir *dir, result_t *out)
{
    out->log_dir = str_of(dir->path);
    if (logdir_offline(dir)) {
        out->error_code = err_wire(ERR_KAFKA_STORAGE_ERROR);
    } else {
        fill_topics(op, dir, out);
    }
}

static void on_control(struct control_call *call)
{
    struct describe_op *op = container_of(call, struct describe_op, call);
    struct logs *logs = call->req->broker->logs;
    struct arena *arena = &call->req->arena;
    const struct describe_log_dirs_request *request = call->req->body;
    if (request->topics_count < 0) {
        take_all(op, logs);
    } else {
        take_named(op, logs);
    }
    sort_entries(op);
    op->reply.results_count = logs_dirs_count(logs);
    op->reply.results = codec_array(&describe_log_dirs_response_describe_log_dirs_result_desc,
                                    arena, op->reply.results_count);
    for (int32_t i = 0; i < op->reply.results_count; i++) {
        fill_dir(op, logs_dir(logs, i), &op->reply.results[i]);
    }
    control_call_finish(call);
}

/* ---- how much room ---- */

static void measure(struct work *work)
{
    struct describe_op *op = container_of(work, struct describe_op, work);
    struct fs *fs = op->call.req->broker->env.fs;
    for (int32_t i = 0; i < op->reply.results_count; i++) {
        result_t *result = &op->reply.results[i];
        if (result->error_code == 0 && fs->ops->space(fs, result->log_dir.ptr, &result->total_bytes,
                                                      &result->usable_bytes) != ERR_OK) {
            result->error_code = err_wire(ERR_KAFKA_STORAGE_ERROR);
            result->topics_count = 0;
        }
    }
}

static void on_measured(struct work *work)
{
    struct describe_op *op = container_of(work, struct describe_op, work);
    req_reply(op->call.req, &op->reply);
}

static void on_back(struct control_call *call)
{
    struct describe_op *op = container_of(call, struct describe_op, call);
    op->work = (struct work){.run = measure, .done = on_measured, .loop = call->req->netloop->loop};
    worker_submit(call->req->broker->workers, &op->work);
}

void api_describe_log_dirs(struct req *req)
{
    struct describe_op *op = req_new(req, struct describe_op);
    codec_init(&describe_log_dirs_response_desc, &op->reply);
    control_call_start(&op->call, req, on_control, on_back);
}
