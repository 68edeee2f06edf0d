#include "controller/ctl_io.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "znode/path.h"

static const char logger[] = "kafka.controller.KafkaController";

enum {
    DELETES_PER_MULTI = 500, /* keeps a multi far below ZooKeeper's packet limit */
};

/* One command under way: what it gathers lives in its arena. */
struct task {
    struct list link;
    struct ctl_io *io;
    struct arena arena;
    int32_t waiting; /* calls without a result */
    enum err err;    /* of a call that failed, so that nothing is known of what it asked for */
    struct ctl_event event;
    uint64_t cmd_id; /* writes */
    struct str topic;
    int32_t partition;
    /* Reading brokers. */
    struct ctl_broker_info *brokers;
    /* Reading a topic. */
    struct ctl_state_info *states;
    bool if_changed; /* by others than us */
    /* Reading names of log directory events. */
    struct str *names;
    int32_t names_count;
    int32_t *ids;
    /* Changing a registration. */
    const char *path;
    int64_t broker_epoch;
    /* Creating a state. */
    struct bytes data;
    bool with_partitions; /* make .../partitions as well */
    bool with_partition;  /* make .../partitions/<p> as well */
    int32_t attempts;
    /* Deleting a topic. */
    char **paths;
    int32_t paths_count;
    int32_t paths_capacity;
    int32_t deleted;
    bool with_mark; /* remove the mark that asks for it, of this version, as well */
    int32_t mark_version;
    bool with_config; /* remove the configuration as well */
};

/* One item of a task that reads many. */
struct item {
    struct task *task;
    int32_t index;
};

static struct task *task_new(struct ctl_io *io)
{
    struct task *task = mem_new(struct task);
    task->io = io;
    list_push_back(&io->tasks, &task->link);
    return task;
}

static void task_free(struct task *task)
{
    list_remove(&task->link);
    mem_free(task->paths);
    arena_fini(&task->arena);
    mem_free(task);
}

/* Deliver the task's event and end it. */
static void task_finish(struct task *task)
{
    struct ctl_io *io = task->io;
    list_remove(&task->link); /* what the event causes may end the reign, and all tasks */
    io->on_event(io, &task->event);
    list_init(&task->link);
    task_free(task);
}

static void task_wrote(struct task *task, enum err err, int32_t version)
{
    task->event = (struct ctl_event){.kind = CTL_EV_WROTE};
    task->event.u.wrote.cmd_id = task->cmd_id;
    task->event.u.wrote.err = err;
    task->event.u.wrote.version = version;
    task_finish(task);
}

static struct bytes keep(struct task *task, const struct buf *buf)
{
    struct str copy = arena_str(&task->arena, (struct str){(const char *)buf->data, buf->size});
    return (struct bytes){(const uint8_t *)copy.ptr, copy.size};
}

static struct str *copy_names(struct task *task, const struct zk_result *result)
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

/* A read that the end of the session cut short: the reign ends with it. */
static bool cut_short(struct task *task, enum err err)
{
    if (known(err)) {
        return false;
    }
    log_warn(logger, "read failed", "error=\"%s\"", err_text(err));
    task_free(task);
    return true;
}

/* ---- Brokers. */

static void read_brokers(struct ctl_io *io);

static void brokers_done(struct task *task)
{
    struct ctl_io *io = task->io;
    int32_t live = 0;
    for (int32_t i = 0; i < task->names_count; i++) {
        if (task->brokers[i].epoch >= 0) {
            task->brokers[live++] = task->brokers[i];
        }
    }
    io->reading_brokers = false;
    if (cut_short(task, task->err)) {
        return; /* who could not be read is not dead */
    }
    if (io->read_brokers_again) {
        /* Older than what the next reading will show. */
        io->read_brokers_again = false;
        task_free(task);
        read_brokers(io);
        return;
    }
    task->event.kind = CTL_EV_BROKERS;
    task->event.u.brokers.items = task->brokers;
    task->event.u.brokers.count = live;
    task_finish(task);
}

static void on_broker(void *arg, const struct zk_result *result, bool repeated)
{
    struct item *item = arg;
    struct task *task = item->task;
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

static void list_brokers(struct task *task, const struct zk_result *result)
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
    struct task *task = arg;
    struct ctl_io *io = task->io;
    (void)repeated;
    if (cut_short(task, result->err)) {
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

static void read_brokers(struct ctl_io *io)
{
    if (io->reading_brokers) {
        io->read_brokers_again = true;
        return;
    }
    io->reading_brokers = true;
    zk_calls_children(&io->calls, PATH_BROKER_IDS, true, on_broker_ids, task_new(io));
}

/* ---- Lists of names. */

static void on_names(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    (void)repeated;
    if (cut_short(task, result->err)) {
        return;
    }
    task->event.u.names.names = copy_names(task, result);
    task->event.u.names.count = result->children_count;
    task_finish(task);
}

static void read_names(struct ctl_io *io, const char *path, enum ctl_event_kind kind)
{
    struct task *task = task_new(io);
    task->event.kind = kind;
    zk_calls_children(&io->calls, path, true, on_names, task);
}

/* ---- Topics. */

static void decode_state(struct task *task, const struct zk_result *result,
                         struct ctl_state_info *info)
{
    struct errmsg msg;
    info->err = result->err;
    info->version = result->stat.version;
    info->mzxid = result->stat.mzxid;
    if (result->err == ERR_OK) {
        info->err = znode_state_decode(&task->arena, result->data, &info->state, &msg);
    }
    if (info->err == ERR_MALFORMED) {
        log_warn(logger, "a partition's state cannot be read", "tp=%.*s-%d reason=\"%s\"",
                 STR_ARG(task->topic), info->partition, msg.text);
    }
}

static void on_topic_state(void *arg, const struct zk_result *result, bool repeated)
{
    struct item *item = arg;
    struct task *task = item->task;
    (void)repeated;
    if (known(result->err)) {
        decode_state(task, result, &task->states[item->index]);
    } else {
        task->err = result->err;
    }
    if (--task->waiting == 0 && !cut_short(task, task->err)) {
        task_finish(task);
    }
}

static void read_states(struct task *task)
{
    const struct znode_topic *topic = &task->event.u.topic.topic;
    int32_t count = topic->partitions_count;
    task->states = arena_array(&task->arena, struct ctl_state_info, (size_t)count + 1);
    task->event.u.topic.states = task->states;
    task->waiting = count;
    for (int32_t i = 0; i < count; i++) {
        struct item *item = arena_new(&task->arena, struct item);
        *item = (struct item){task, i};
        task->states[i].partition = topic->partitions[i].index;
        zk_calls_get(&task->io->calls,
                     path_partition_state(&task->arena, task->topic, topic->partitions[i].index),
                     false, on_topic_state, item);
    }
}

static void on_topic(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    struct errmsg msg;
    (void)repeated;
    if (cut_short(task, result->err)) {
        return;
    }
    if (task->if_changed && result->err == ERR_OK &&
        ctl_seen_is(&task->io->seen, task->topic, result->stat.mzxid)) {
        task_free(task);
        return;
    }
    if (result->err == ERR_OK) {
        ctl_seen_note(&task->io->seen, task->topic, result->stat.mzxid);
    } else {
        ctl_seen_forget(&task->io->seen, task->topic);
    }
    task->event.u.topic.err = result->err;
    task->event.u.topic.version = result->stat.version;
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
        task_finish(task);
    }
}

static void read_topic(struct ctl_io *io, struct str name, bool if_changed)
{
    struct task *task = task_new(io);
    task->if_changed = if_changed;
    task->topic = arena_str(&task->arena, name);
    task->event.kind = CTL_EV_TOPIC;
    task->event.u.topic.name = task->topic;
    zk_calls_get(&io->calls, path_topic(&task->arena, name), true, on_topic, task);
}

static void on_state(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    (void)repeated;
    if (cut_short(task, result->err)) {
        return;
    }
    task->event.kind = CTL_EV_STATE;
    task->event.u.state.topic = task->topic;
    task->event.u.state.info.partition = task->partition;
    decode_state(task, result, &task->event.u.state.info);
    task_finish(task);
}

static void read_state(struct ctl_io *io, struct str topic, int32_t partition)
{
    struct task *task = task_new(io);
    task->topic = arena_str(&task->arena, topic);
    task->partition = partition;
    zk_calls_get(&io->calls, path_partition_state(&task->arena, topic, partition), false, on_state,
                 task);
}

/* ---- Log directory events: read each, report, remove. */

static void on_cleaned(void *arg, const struct zk_result *result, bool repeated)
{
    (void)result, (void)repeated;
    task_free(arg);
}

/* One fenced multi that deletes one node; nobody waits for it. */
static void clean(struct ctl_io *io, const char *parent, struct str name)
{
    struct task *task = task_new(io);
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
    struct task *task = arg;
    int32_t id;
    (void)repeated;
    if (result->err == ERR_OK && znode_log_dir_event_decode(result->data, &id, NULL) == ERR_OK) {
        task->ids[task->event.u.log_dirs.count++] = id;
    }
    if (--task->waiting == 0) {
        task->event.kind = CTL_EV_LOG_DIRS;
        task->event.u.log_dirs.ids = task->ids;
        for (int32_t i = 0; i < task->names_count; i++) {
            clean(task->io, PATH_LOG_DIR_EVENTS, task->names[i]);
        }
        task_finish(task);
    }
}

static void on_log_dirs(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    (void)repeated;
    if (cut_short(task, result->err)) {
        return;
    }
    if (result->children_count == 0) {
        task_free(task);
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

/* ---- Writes. */

struct zk_op ctl_io_fence(const struct ctl_io *io)
{
    return (struct zk_op){ZK_OP_CHECK, PATH_CONTROLLER_EPOCH, {NULL, 0}, io->fence, 0};
}

enum err ctl_io_write_err(const struct zk_result *result)
{
    if (result->err != ERR_OK && result->results_count > 0 && result->results[0].err != ERR_OK) {
        return ERR_CONTROLLER_MOVED;
    }
    return result->err;
}

static void on_wrote(void *arg, const struct zk_result *result, bool repeated)
{
    enum err err = ctl_io_write_err(result);
    (void)repeated;
    task_wrote(arg, err, err == ERR_OK ? result->results[1].stat.version : -1);
}

static struct task *write_task(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct task *task = task_new(io);
    task->cmd_id = cmd->id;
    task->topic = arena_str(&task->arena, cmd->topic);
    task->partition = cmd->partition;
    return task;
}

static void on_wrote_topic(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    if (ctl_io_write_err(result) == ERR_OK) {
        ctl_seen_note(&task->io->seen, task->topic, result->results[1].stat.mzxid);
    }
    on_wrote(task, result, repeated);
}

static void write_node(struct task *task, const char *path, const struct buf *data, int32_t version,
                       zk_call_fn *fn)
{
    struct zk_op ops[] = {
        ctl_io_fence(task->io),
        {ZK_OP_SET, path, {data->data, data->size}, version, 0},
    };
    zk_calls_multi(&task->io->calls, ops, 2, fn, task);
}

static void write_topic(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct task *task = write_task(io, cmd);
    struct buf data = {0};
    znode_topic_encode(&cmd->node, &data);
    write_node(task, path_topic(&task->arena, cmd->topic), &data, cmd->version, on_wrote_topic);
    buf_fini(&data);
}

static void delete_node(struct ctl_io *io, const struct ctl_cmd *cmd, const char *path,
                        int32_t version)
{
    struct task *task = write_task(io, cmd);
    struct zk_op ops[] = {ctl_io_fence(io), {ZK_OP_DELETE, path, {NULL, 0}, version, 0}};
    zk_calls_multi(&io->calls, ops, 2, on_wrote, task);
}

static void write_orders(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct buf data = {0};
    if (cmd->tps.count == 0) {
        delete_node(io, cmd, PATH_REASSIGN, cmd->version);
        return;
    }
    znode_reassign_encode(&cmd->tps, &data);
    write_node(write_task(io, cmd), PATH_REASSIGN, &data, cmd->version, on_wrote);
    buf_fini(&data);
}

/* ---- A broker's registration loses its mark of an unclean start. It stays its broker's: neither
 * its session nor its epoch changes. */

static void on_registration(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    struct znode_broker broker;
    struct buf data = {0};
    (void)repeated;
    enum err err = result->err;
    if (err == ERR_OK && result->stat.czxid != task->broker_epoch) {
        err = ERR_NOT_FOUND; /* another life's */
    }
    if (err == ERR_OK) {
        err = znode_broker_decode(&task->arena, result->data, &broker, NULL);
    }
    if (err != ERR_OK) {
        task_wrote(task, err, -1);
        return;
    }
    broker.unclean = false;
    znode_broker_encode(&broker, &data);
    write_node(task, task->path, &data, result->stat.version, on_wrote);
    buf_fini(&data);
}

static void settle_broker(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct task *task = write_task(io, cmd);
    task->broker_epoch = cmd->broker_epoch;
    task->path = path_broker_id(&task->arena, cmd->broker_id);
    zk_calls_get(&io->calls, task->path, false, on_registration, task);
}

/* ---- Creating a state with the nodes above it. The parent that all partitions of a topic share is
 * made with the first of them; a wrong guess about what is there already costs another attempt. */

static void try_create(struct task *task);

static void on_state_created(void *arg, const struct zk_result *result, bool repeated)
{
    enum { ATTEMPTS_MAX = 8 };
    struct task *task = arg;
    enum err err = ctl_io_write_err(result);
    int32_t above = 1 + (task->with_partitions ? 1 : 0) + (task->with_partition ? 1 : 0);
    (void)repeated;
    bool state_failed = result->results_count > above && result->results[above].err == err;
    bool parent_failed = (err == ERR_EXISTS || err == ERR_NOT_FOUND) && !state_failed;
    if (!parent_failed || task->attempts >= ATTEMPTS_MAX) {
        bool missing_parent = err == ERR_NOT_FOUND && state_failed && !task->with_partition;
        if (!missing_parent || task->attempts >= ATTEMPTS_MAX) {
            task_wrote(task, err, 0);
            return;
        }
        task->with_partition = true;
    } else if (err == ERR_EXISTS) {
        /* The first CREATE that failed is of a node that is there. */
        if (task->with_partitions && result->results[1].err == ERR_EXISTS) {
            task->with_partitions = false;
        } else {
            task->with_partition = false;
        }
    } else if (!task->with_partitions) {
        task->with_partitions = true;
    } else {
        task_wrote(task, ERR_NOT_FOUND, 0); /* the topic's own node is gone */
        return;
    }
    try_create(task);
}

static void try_create(struct task *task)
{
    struct zk_op ops[4] = {ctl_io_fence(task->io)};
    int32_t count = 1;
    struct arena *arena = &task->arena;
    task->attempts++;
    if (task->with_partitions) {
        ops[count++] = (struct zk_op){
            ZK_OP_CREATE, path_partitions(arena, task->topic), {NULL, 0}, 0, ZK_PERSISTENT};
    }
    if (task->with_partition) {
        ops[count++] = (struct zk_op){ZK_OP_CREATE,
                                      path_partition(arena, task->topic, task->partition),
                                      {NULL, 0},
                                      0,
                                      ZK_PERSISTENT};
    }
    ops[count++] =
        (struct zk_op){ZK_OP_CREATE, path_partition_state(arena, task->topic, task->partition),
                       task->data, 0, ZK_PERSISTENT};
    zk_calls_multi(&task->io->calls, ops, count, on_state_created, task);
}

static void create_state(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct task *task = write_task(io, cmd);
    struct buf data = {0};
    znode_state_encode(&cmd->state, &data);
    task->data = keep(task, &data);
    task->with_partition = true;
    task->with_partitions = !str_eq(io->created_topic, cmd->topic);
    if (task->with_partitions) {
        mem_free((char *)io->created_topic.ptr);
        io->created_topic = (struct str){str_dup(cmd->topic), cmd->topic.size};
    }
    buf_fini(&data);
    try_create(task);
}

/* ---- Deleting a topic: find all nodes, delete children before parents; in the last multi, with
 * the topic's own node, the configuration and the mark that asked for it. Whatever fails, the
 * machine has it done again from the start.
 *
 * A multi whose reply was lost is repeated, and must not hit what belongs to a new topic of the
 * same name. There can be none before the last multi has succeeded; then that one's repetition
 * fails, because it names the mark by a version of its own: ours is written once more before it is
 * deleted, and one that somebody makes begins with version 0. */

struct tree_item {
    struct task *task;
    const char *path;
};

static void add_path(struct task *task, char *path)
{
    if (task->paths_count == task->paths_capacity) {
        task->paths_capacity = task->paths_capacity > 0 ? task->paths_capacity * 2 : 16;
        task->paths = mem_realloc(task->paths, (size_t)task->paths_capacity * sizeof(*task->paths));
    }
    task->paths[task->paths_count++] = path;
}

static void delete_last(struct task *task);
static void raise_mark(struct task *task);

static void on_last_deleted(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    enum err err = ctl_io_write_err(result);
    bool judged = err != ERR_CONTROLLER_MOVED && result->results_count > 1;
    enum err mark = judged && task->with_mark ? result->results[1].err : ERR_OK;
    enum err config = judged && task->with_config ? result->results[2].err : ERR_OK;
    if (err == ERR_OK) {
        task_wrote(task, ERR_OK, 0);
    } else if (mark == ERR_NOT_FOUND || mark == ERR_ZK_BAD_VERSION) {
        if (repeated) {
            task_wrote(task, ERR_OK, 0); /* our own success, repeated */
        } else {
            raise_mark(task); /* somebody took it away, or wrote it */
        }
    } else if (config == ERR_NOT_FOUND) {
        task->with_config = false;
        delete_last(task);
    } else {
        /* Somebody else deletes or adds below it. */
        task_wrote(task, err == ERR_NOT_FOUND ? ERR_ZK_OTHER : err, 0);
    }
}

/* What is left of the nodes, at most DELETES_PER_MULTI. Where the mark is gone, the configuration
 * may be that of a new topic. */
static void delete_last(struct task *task)
{
    int32_t nodes = task->paths_count - task->deleted;
    struct zk_op *ops = arena_array(&task->arena, struct zk_op, (size_t)nodes + 3);
    int32_t count = 0;
    ops[count++] = ctl_io_fence(task->io);
    if (task->with_mark) {
        const char *path = path_delete_topic(&task->arena, task->topic);
        ops[count++] = (struct zk_op){ZK_OP_DELETE, path, {NULL, 0}, task->mark_version, 0};
    }
    if (task->with_config) {
        const char *path = path_config(&task->arena, "topics", task->topic);
        ops[count++] = (struct zk_op){ZK_OP_DELETE, path, {NULL, 0}, -1, 0};
    }
    for (int32_t i = 0; i < nodes; i++) {
        ops[count++] =
            (struct zk_op){ZK_OP_DELETE, task->paths[task->deleted + i], {NULL, 0}, -1, 0};
    }
    zk_calls_multi(&task->io->calls, ops, count, on_last_deleted, task);
}

static void delete_more(struct task *task);

static void on_deleted(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    enum err err = ctl_io_write_err(result);
    (void)repeated;
    if (err != ERR_OK) {
        /* Somebody else deletes or adds below it; or this is our own success, repeated. */
        task_wrote(task, err == ERR_NOT_FOUND ? ERR_ZK_OTHER : err, 0);
        return;
    }
    delete_more(task);
}

/* The nodes that were found, children first. */
static void delete_more(struct task *task)
{
    if (task->paths_count - task->deleted <= DELETES_PER_MULTI) {
        delete_last(task);
        return;
    }
    struct zk_op *ops = arena_array(&task->arena, struct zk_op, DELETES_PER_MULTI + 1);
    ops[0] = ctl_io_fence(task->io);
    for (int32_t i = 0; i < DELETES_PER_MULTI; i++) {
        ops[i + 1] = (struct zk_op){ZK_OP_DELETE, task->paths[task->deleted + i], {NULL, 0}, -1, 0};
    }
    task->deleted += DELETES_PER_MULTI;
    zk_calls_multi(&task->io->calls, ops, DELETES_PER_MULTI + 1, on_deleted, task);
}

static void on_mark_raised(void *arg, const struct zk_result *result, bool repeated)
{
    struct task *task = arg;
    enum err err = ctl_io_write_err(result);
    (void)repeated; /* written twice it has a version of ours, too */
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        task_wrote(task, err, 0);
        return;
    }
    task->with_mark = err == ERR_OK;
    task->with_config = task->with_mark;
    task->mark_version = task->with_mark ? result->results[1].stat.version : -1;
    delete_more(task);
}

static void raise_mark(struct task *task)
{
    write_node(task, path_delete_topic(&task->arena, task->topic), &(struct buf){0}, -1,
               on_mark_raised);
}

/* Longer paths of one prefix sort behind it, so backwards is children first. */
static int compare_backwards(const void *a, const void *b)
{
    return -strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_tree(struct task *task, const char *path);

static void on_tree(void *arg, const struct zk_result *result, bool repeated)
{
    struct tree_item *item = arg;
    struct task *task = item->task;
    (void)repeated;
    if (result->err == ERR_OK) {
        add_path(task, (char *)item->path);
    }
    for (int32_t i = 0; i < result->children_count; i++) {
        list_tree(task,
                  arena_printf(&task->arena, "%s/%.*s", item->path, STR_ARG(result->children[i])));
    }
    if (--task->waiting == 0) {
        if (task->paths_count > 0) {
            qsort(task->paths, (size_t)task->paths_count, sizeof(*task->paths), compare_backwards);
        }
        raise_mark(task);
    }
}

static void list_tree(struct task *task, const char *path)
{
    struct tree_item *item = arena_new(&task->arena, struct tree_item);
    *item = (struct tree_item){task, path};
    task->waiting++;
    zk_calls_children(&task->io->calls, path, false, on_tree, item);
}

/* ---- Interface. */

void ctl_io_init(struct ctl_io *io, struct loop *loop,
                 void (*on_event)(struct ctl_io *io, const struct ctl_event *event))
{
    *io = (struct ctl_io){.on_event = on_event, .fence = -1};
    zk_calls_init(&io->calls, loop);
    list_init(&io->tasks);
    list_init(&io->states_writes);
}

static void on_feature(void *arg, const struct zk_result *result, bool repeated)
{
    (void)arg, (void)result, (void)repeated; /* there, now or before */
}

void ctl_io_start(struct ctl_io *io, struct zk *zk, int32_t fence_version)
{
    struct buf feature = {0};
    must(list_empty(&io->tasks));
    zk_calls_set_session(&io->calls, zk);
    io->fence = fence_version;
    znode_feature_encode(&feature);
    zk_calls_create(&io->calls, PATH_FEATURE, (struct bytes){feature.data, feature.size},
                    ZK_PERSISTENT, on_feature, io);
    buf_fini(&feature);
}

void ctl_io_stop(struct ctl_io *io)
{
    zk_calls_set_session(&io->calls, NULL);
    while (!list_empty(&io->tasks)) {
        task_free(container_of(io->tasks.next, struct task, link));
    }
    ctl_io_drop_states(io);
    io->reading_brokers = false;
    io->read_brokers_again = false;
    io->fence = -1;
    ctl_seen_clear(&io->seen);
    mem_free((char *)io->created_topic.ptr);
    io->created_topic = STR_NULL;
}

static void execute_write(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct arena arena = {0};
    switch (cmd->kind) {
    case CTL_CREATE_STATE:
        create_state(io, cmd);
        break;
    case CTL_WRITE_TOPIC:
        write_topic(io, cmd);
        break;
    case CTL_DELETE_TOPIC: {
        struct task *task = write_task(io, cmd);
        list_tree(task, path_topic(&task->arena, cmd->topic));
        break;
    }
    case CTL_DELETE_LEFTOVER:
        raise_mark(write_task(io, cmd));
        break;
    case CTL_DELETE_MARK:
        delete_node(io, cmd, path_delete_topic(&arena, cmd->topic), -1);
        break;
    case CTL_SETTLE_BROKER:
        settle_broker(io, cmd);
        break;
    case CTL_DELETE_PREFERRED:
        delete_node(io, cmd, PATH_PREFERRED, -1);
        break;
    case CTL_WRITE_ORDERS:
        write_orders(io, cmd);
        break;
    default:
        must_not_get_here();
    }
    arena_fini(&arena);
}

void ctl_io_execute(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    if (cmd->kind == CTL_WRITE_STATE) {
        ctl_io_gather_state(io, cmd);
        return;
    }
    ctl_io_flush(io); /* calls go out in the order of the commands */
    switch (cmd->kind) {
    case CTL_READ_BROKERS:
        read_brokers(io);
        break;
    case CTL_READ_TOPICS:
        read_names(io, PATH_TOPICS, CTL_EV_TOPICS);
        break;
    case CTL_READ_TOPIC:
        read_topic(io, cmd->topic, false);
        break;
    case CTL_READ_STATE:
        read_state(io, cmd->topic, cmd->partition);
        break;
    case CTL_READ_DELETIONS:
        read_names(io, PATH_DELETE_TOPICS, CTL_EV_DELETIONS);
        break;
    case CTL_READ_PREFERRED:
        ctl_io_read_preferred(io);
        break;
    case CTL_READ_ORDERS:
        ctl_io_read_orders(io);
        break;
    case CTL_READ_LOG_DIRS:
        zk_calls_children(&io->calls, PATH_LOG_DIR_EVENTS, true, on_log_dirs, task_new(io));
        break;
    default:
        execute_write(io, cmd);
        break;
    }
}

bool ctl_io_on_watch(struct ctl_io *io, enum zk_watch_event event, struct str path)
{
    (void)event;
    if (str_is(path, PATH_BROKER_IDS) || path_child(path, PATH_BROKER_IDS).ptr != NULL) {
        read_brokers(io);
    } else if (str_is(path, PATH_TOPICS)) {
        read_names(io, PATH_TOPICS, CTL_EV_TOPICS);
    } else if (path_child(path, PATH_TOPICS).ptr != NULL) {
        /* Also when it was deleted: it may have been made again before the list is read. */
        read_topic(io, path_child(path, PATH_TOPICS), true);
    } else if (str_is(path, PATH_DELETE_TOPICS)) {
        read_names(io, PATH_DELETE_TOPICS, CTL_EV_DELETIONS);
    } else if (str_is(path, PATH_PREFERRED)) {
        ctl_io_read_preferred(io);
    } else if (str_is(path, PATH_REASSIGN)) {
        ctl_io_read_orders(io);
    } else if (str_is(path, PATH_LOG_DIR_EVENTS)) {
        zk_calls_children(&io->calls, PATH_LOG_DIR_EVENTS, true, on_log_dirs, task_new(io));
    } else {
        return false;
    }
    return true;
}
