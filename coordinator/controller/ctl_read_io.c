/* ctl_read_io.c: what the controller's machine reads in ZooKeeper: brokers, names, topics with the
 * states of their partitions, failures of log directories. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_task_io.h"
#include "znode/path.h"

static const char logger[] = "kafka.controller.KafkaController";

enum { STATES_AT_ONCE = 500 };

/* One item of a task that reads many. */
struct item {
    struct ctl_task *task;
    int32_t index;
};

static struct str *copy_names(struct ctl_task *task, const struct zk_result *result)
{
    struct str *names = arena_array(&task->arena, struct str, (size_t)result->children_count + 1);
    for (int32_t i = 0; i < result->children_count; i++) {
        names[i] = arena_str(&task->arena, result->children[i]);
    }
    return names;
}

static bool known(enum err err)
{
    return err == ERR_OK || err == ERR_NOT_FOUND;
}

/* ---- Brokers. */

void ctl_io_read_brokers(struct ctl_io *io);

static void brokers_done(struct ctl_task *task)
{
    struct ctl_io *io = task->io;
    int32_t live = 0;
    for (int32_t i = 0; i < task->names_count; i++) {
        if (task->brokers[i].epoch >= 0) {
            task->brokers[live++] = task->brokers[i];
        }
    }
    io->reading_brokers = false;
    if (ctl_task_failed(task, task->err)) {
        return; /* who could not be read is not dead */
    }
    if (io->read_brokers_again) {
        /* Older than what the next reading will show. */
        io->read_brokers_again = false;
        ctl_task_free(task);
        ctl_io_read_brokers(io);
        return;
    }
    task->event.kind = CTL_EV_BROKERS;
    task->event.u.brokers.items = task->brokers;
    task->event.u.brokers.count = live;
    ctl_task_finish(task);
}

static void on_broker(void *arg, const struct zk_result *result, bool repeated)
{
    struct item *item = arg;
    struct ctl_task *task = item->task;
    struct ctl_broker_info *info = &task->brokers[item->index];
    struct znode_broker broker;
    struct errmsg msg;
    (void)repeated;
    if (!known(result->err)) {
        task->err = result->err;
    } else if (result->err == ERR_OK) {
        if (znode_broker_decode(&task->arena, result->data, &broker, &msg) == ERR_OK) {
            info->epoch = result->stat.czxid;
            info->endpoints = broker.endpoints;
            info->endpoints_count = broker.endpoints_count;
            info->rack = broker.rack;
            info->unclean = broker.unclean;
        } else {
            log_warn(logger, "a broker's registration cannot be read", "broker=%d reason=\"%s\"",
                     info->id, msg.text);
        }
    }
    if (--task->waiting == 0) {
        brokers_done(task);
    }
}

static int compare_brokers(const void *a, const void *b)
{
    int32_t left = ((const struct ctl_broker_info *)a)->id;
    int32_t right = ((const struct ctl_broker_info *)b)->id;
    return (left > right) - (left < right);
}

static void list_brokers(struct ctl_task *task, const struct zk_result *result)
{
    task->brokers =
        arena_array(&task->arena, struct ctl_broker_info, (size_t)result->children_count + 1);
    for (int32_t i = 0; i < result->children_count; i++) {
        char *end;
        char *name = arena_cstr(&task->arena, result->children[i]);
        long id = strtol(name, &end, 10);
        if (*end == '\0' && end != name && id >= 0 && id <= INT32_MAX) {
            task->brokers[task->names_count++] =
                (struct ctl_broker_info){.id = (int32_t)id, .epoch = -1};
        }
    }
    qsort(task->brokers, (size_t)task->names_count, sizeof(*task->brokers), compare_brokers);
}

static void on_broker_ids(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    struct ctl_io *io = task->io;
    (void)repeated;
    if (ctl_task_failed(task, result->err)) {
        io->reading_brokers = false;
        return;
    }
    list_brokers(task, result);
    if (task->names_count == 0) {
        brokers_done(task);
        return;
    }
    task->waiting = task->names_count;
    for (int32_t i = 0, count = task->names_count; i < count; i++) {
        struct item *item = arena_new(&task->arena, struct item);
        *item = (struct item){task, i};
        zk_calls_get(&io->calls, path_broker_id(&task->arena, task->brokers[i].id), true, on_broker,
                     item);
    }
}

static void read_brokers_again(const struct ctl_task *task)
{
    ctl_io_read_brokers(task->io);
}

void ctl_io_read_brokers(struct ctl_io *io)
{
    if (io->reading_brokers) {
        io->read_brokers_again = true;
        return;
    }
    io->reading_brokers = true;
    struct ctl_task *task = ctl_task_new(io);
    task->path = PATH_BROKER_IDS;
    task->again = read_brokers_again;
    zk_calls_children(&io->calls, PATH_BROKER_IDS, true, on_broker_ids, task);
}

/* ---- Lists of names. A list that somebody removed is watched, too, until it is made again. */

static void begin_again(struct ctl_task *task)
{
    task->again(task);
    ctl_task_free(task);
}

static void on_missing_names(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        begin_again(task); /* made in between */
    } else if (!ctl_task_failed(task, result->err)) {
        ctl_task_finish(task);
    }
}

static void on_names(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (ctl_task_failed(task, result->err)) {
        return;
    }
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_exists(&task->io->calls, task->path, true, on_missing_names, task);
        return;
    }
    task->event.u.names.names = copy_names(task, result);
    task->event.u.names.count = result->children_count;
    ctl_task_finish(task);
}

static void read_names_again(const struct ctl_task *task)
{
    ctl_io_read_names(task->io, task->path, task->event.kind);
}

void ctl_io_read_names(struct ctl_io *io, const char *path, enum ctl_event_kind kind)
{
    struct ctl_task *task = ctl_task_new(io);
    task->event.kind = kind;
    task->path = path; /* a constant */
    task->again = read_names_again;
    zk_calls_children(&io->calls, path, true, on_names, task);
}

/* ---- Topics. */

static void decode_state(struct ctl_task *task, const struct zk_read *read,
                         struct ctl_state_info *info)
{
    struct errmsg msg;
    info->err = read->err;
    info->version = read->stat.version;
    info->mzxid = read->stat.mzxid;
    if (read->err == ERR_OK) {
        info->err = znode_state_decode(&task->arena, read->data, &info->state, &msg);
    }
    if (info->err == ERR_MALFORMED) {
        log_warn(logger, "a partition's state cannot be read", "tp=%.*s-%d reason=\"%s\"",
                 STR_ARG(task->topic), info->partition, msg.text);
    }
}

/* Some of a topic's states, from `index` on. */
static void on_topic_states(void *arg, const struct zk_result *result, bool repeated)
{
    struct item *item = arg;
    struct ctl_task *task = item->task;
    (void)repeated;
    if (result->err != ERR_OK) {
        task->err = result->err;
    }
    for (int32_t i = 0; i < result->reads_count; i++) {
        if (known(result->reads[i].err)) {
            decode_state(task, &result->reads[i], &task->states[item->index + i]);
        } else {
            task->err = result->reads[i].err;
        }
    }
    if (--task->waiting == 0 && !ctl_task_failed(task, task->err)) {
        ctl_task_finish(task);
    }
}

/* Hundreds at a time: while some are decoded the next are on their way. */
static void read_states(struct ctl_task *task)
{
    const struct znode_topic *topic = &task->event.u.topic.topic;
    int32_t count = topic->partitions_count;
    const char *paths[STATES_AT_ONCE];
    task->states = arena_array(&task->arena, struct ctl_state_info, (size_t)count + 1);
    task->event.u.topic.states = task->states;
    task->waiting = (count + STATES_AT_ONCE - 1) / STATES_AT_ONCE;
    for (int32_t at = 0; at < count; at += STATES_AT_ONCE) {
        struct item *item = arena_new(&task->arena, struct item);
        struct arena arena = {0};
        int32_t some = count - at < STATES_AT_ONCE ? count - at : STATES_AT_ONCE;
        *item = (struct item){task, at};
        for (int32_t i = 0; i < some; i++) {
            int32_t partition = topic->partitions[at + i].index;
            task->states[at + i].partition = partition;
            paths[i] = path_partition_state(&arena, task->topic, partition);
        }
        zk_calls_get_many(&task->io->calls, paths, some, on_topic_states, item);
        arena_fini(&arena);
    }
}

static void on_topic(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    struct errmsg msg;
    (void)repeated;
    if (ctl_task_failed(task, result->err)) {
        return;
    }
    if (task->if_changed && result->err == ERR_OK &&
        ctl_seen_is(&task->io->seen, task->topic, result->stat.mzxid)) {
        ctl_task_free(task);
        return;
    }
    if (result->err == ERR_OK) {
        ctl_seen_note(&task->io->seen, task->topic, result->stat.mzxid);
    } else {
        ctl_seen_forget(&task->io->seen, task->topic);
    }
    task->event.u.topic.err = result->err;
    task->event.u.topic.version = result->stat.version;
    task->event.u.topic.czxid = result->stat.czxid;
    if (result->err == ERR_OK) {
        task->event.u.topic.err =
            znode_topic_decode(&task->arena, result->data, &task->event.u.topic.topic, &msg);
    }
    if (task->event.u.topic.err == ERR_MALFORMED) {
        log_warn(logger, "a topic cannot be read", "topic=%.*s reason=\"%s\"", STR_ARG(task->topic),
                 msg.text);
    }
    if (task->event.u.topic.err == ERR_OK && task->event.u.topic.topic.partitions_count > 0) {
        read_states(task);
    } else {
        ctl_task_finish(task);
    }
}

/* Changed or not: that it was seen was noted before what failed. */
static void read_topic_again(const struct ctl_task *task)
{
    ctl_io_read_topic(task->io, task->topic, false);
}

static struct ctl_task *topic_task(struct ctl_io *io, struct str name)
{
    struct ctl_task *task = ctl_task_new(io);
    task->topic = arena_str(&task->arena, name);
    task->event.kind = CTL_EV_TOPIC;
    task->event.u.topic.name = task->topic;
    task->path = path_topic(&task->arena, name);
    task->again = read_topic_again;
    return task;
}

void ctl_io_read_topic(struct ctl_io *io, struct str name, bool if_changed)
{
    struct ctl_task *task = topic_task(io, name);
    task->if_changed = if_changed;
    zk_calls_get(&io->calls, task->path, true, on_topic, task);
}

void ctl_io_read_topic_later(struct ctl_io *io, struct str name)
{
    ctl_task_refused(topic_task(io, name));
}

static void on_state(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (ctl_task_failed(task, result->err)) {
        return;
    }
    task->event.kind = CTL_EV_STATE;
    task->event.u.state.topic = task->topic;
    task->event.u.state.info.partition = task->partition;
    struct zk_read read = {.err = result->err, .data = result->data, .stat = result->stat};
    decode_state(task, &read, &task->event.u.state.info);
    ctl_task_finish(task);
}

static void read_state_again(const struct ctl_task *task)
{
    ctl_io_read_state(task->io, task->topic, task->partition, false);
}

/* `later`: its write was refused, and would be once more. */
void ctl_io_read_state(struct ctl_io *io, struct str topic, int32_t partition, bool later)
{
    struct ctl_task *task = ctl_task_new(io);
    task->topic = arena_str(&task->arena, topic);
    task->partition = partition;
    task->path = path_partition_state(&task->arena, topic, partition);
    task->again = read_state_again;
    if (later) {
        ctl_task_refused(task);
    } else {
        zk_calls_get(&io->calls, task->path, false, on_state, task);
    }
}

/* ---- Log directory events: read each, report, remove. */

static void on_cleaned(void *arg, const struct zk_result *result, bool repeated)
{
    (void)result, (void)repeated;
    ctl_task_free(arg);
}

/* One fenced multi that deletes one node; nobody waits for it. */
static void clean(struct ctl_io *io, const char *parent, struct str name)
{
    struct ctl_task *task = ctl_task_new(io);
    struct zk_op ops[] = {
        {ZK_OP_CHECK, PATH_CONTROLLER_EPOCH, {NULL, 0}, io->fence, 0},
        {ZK_OP_DELETE,
         arena_printf(&task->arena, "%s/%.*s", parent, STR_ARG(name)),
         {NULL, 0},
         -1,
         0},
    };
    zk_calls_multi(&io->calls, ops, 2, on_cleaned, task);
}

static void on_log_dir(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    int32_t id;
    (void)repeated;
    if (result->err == ERR_OK && znode_log_dir_event_decode(result->data, &id, NULL) == ERR_OK) {
        task->ids[task->event.u.log_dirs.count++] = id;
    }
    if (!known(result->err)) {
        task->err = result->err;
    }
    if (--task->waiting == 0 && !ctl_task_failed(task, task->err)) {
        task->event.kind = CTL_EV_LOG_DIRS;
        task->event.u.log_dirs.ids = task->ids;
        for (int32_t i = 0; i < task->names_count; i++) {
            clean(task->io, PATH_LOG_DIR_EVENTS, task->names[i]);
        }
        ctl_task_finish(task);
    }
}

static void on_missing_log_dirs(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        begin_again(task);
    } else if (!ctl_task_failed(task, result->err)) {
        ctl_task_free(task);
    }
}

static void on_log_dirs(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (ctl_task_failed(task, result->err)) {
        return;
    }
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_exists(&task->io->calls, task->path, true, on_missing_log_dirs, task);
        return;
    }
    if (result->children_count == 0) {
        ctl_task_free(task);
        return;
    }
    task->names = copy_names(task, result);
    task->names_count = result->children_count;
    task->ids = arena_array(&task->arena, int32_t, (size_t)task->names_count);
    task->waiting = task->names_count;
    for (int32_t i = 0, count = task->names_count; i < count; i++) {
        char *path =
            arena_printf(&task->arena, "%s/%.*s", PATH_LOG_DIR_EVENTS, STR_ARG(task->names[i]));
        zk_calls_get(&task->io->calls, path, false, on_log_dir, task);
    }
}

static void read_log_dirs_again(const struct ctl_task *task)
{
    ctl_io_read_log_dirs(task->io);
}

void ctl_io_read_log_dirs(struct ctl_io *io)
{
    struct ctl_task *task = ctl_task_new(io);
    task->path = PATH_LOG_DIR_EVENTS;
    task->again = read_log_dirs_again;
    zk_calls_children(&io->calls, PATH_LOG_DIR_EVENTS, true, on_log_dirs, task);
}
