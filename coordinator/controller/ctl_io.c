#include "controller/ctl_io.h"

#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_task_io.h"
#include "znode/path.h"

static const char logger[] = "kafka.controller.KafkaController";

/* ---- Tasks. */

struct ctl_task *ctl_task_new(struct ctl_io *io)
{
    struct ctl_task *task = mem_new(struct ctl_task);
    task->io = io;
    list_push_back(&io->tasks, &task->link);
    return task;
}

void ctl_task_free(struct ctl_task *task)
{
    list_remove(&task->link);
    mem_free(task->paths);
    arena_fini(&task->arena);
    mem_free(task);
}

/* The others do not wait for it. What the event causes may end the reign, and all tasks. */
static void topic_waits(struct ctl_io *io, struct str name)
{
    struct arena arena = {0};
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    event.u.topic.name = arena_str(&arena, name);
    event.u.topic.err = ERR_ZK_OTHER;
    io->on_event(io, &event);
    arena_fini(&arena);
}

void ctl_task_put_off(struct ctl_task *task)
{
    struct ctl_io *io = task->io;
    list_remove(&task->link);
    list_push_back(&io->failed, &task->link);
    if (!loop_timer_pending(&io->again)) {
        struct loop *loop = io->calls.loop;
        loop_timer_set(loop, &io->again, loop_now_ms(loop) + CTL_IO_AGAIN_MS);
    }
}

void ctl_task_refused(struct ctl_task *task)
{
    log_limited(&task->io->failed_limit, LOG_ERROR, logger,
                "ZooKeeper does not take what the controller writes; trying again every second",
                "path=%s", task->path);
    ctl_task_put_off(task);
}

bool ctl_task_failed(struct ctl_task *task, enum err err)
{
    struct ctl_io *io = task->io;
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        return false;
    }
    if (err == ERR_ZK_SESSION_EXPIRED || err == ERR_CLOSED) {
        log_warn(logger, "read failed", "path=%s error=\"%s\"", task->path, err_text(err));
        ctl_task_free(task);
        return true;
    }
    log_limited(&io->failed_limit, LOG_ERROR, logger,
                "the controller cannot read a node in ZooKeeper, and does without what it says; "
                "trying again every second",
                "path=%s error=\"%s\"", task->path, err_text(err));
    ctl_task_put_off(task);
    if (task->event.kind == CTL_EV_TOPIC) {
        topic_waits(io, task->topic);
    }
    return true;
}

/* What fails once more joins the list anew, by a result that comes later. */
static void on_again(struct loop_timer *timer)
{
    struct ctl_io *io = container_of(timer, struct ctl_io, again);
    while (!list_empty(&io->failed)) {
        struct ctl_task *task = container_of(io->failed.next, struct ctl_task, link);
        task->again(task);
        ctl_task_free(task);
    }
}

void ctl_task_finish(struct ctl_task *task)
{
    struct ctl_io *io = task->io;
    list_remove(&task->link); /* what the event causes may end the reign, and all tasks */
    io->on_event(io, &task->event);
    list_init(&task->link);
    ctl_task_free(task);
}

void ctl_task_wrote(struct ctl_task *task, enum err err, int32_t version)
{
    task->event = (struct ctl_event){.kind = CTL_EV_WROTE};
    task->event.u.wrote.cmd_id = task->cmd_id;
    task->event.u.wrote.err = err;
    task->event.u.wrote.version = version;
    ctl_task_finish(task);
}

/* ---- What writes have in common. */

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

struct ctl_task *ctl_task_of_write(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct ctl_task *task = ctl_task_new(io);
    task->cmd_id = cmd->id;
    task->topic = arena_str(&task->arena, cmd->topic);
    task->partition = cmd->partition;
    return task;
}

void ctl_task_set(struct ctl_task *task, const char *path, const struct buf *data, int32_t version,
                  zk_call_fn *fn)
{
    struct zk_op ops[] = {
        ctl_io_fence(task->io),
        {ZK_OP_SET, path, {data->data, data->size}, version, 0},
    };
    zk_calls_multi(&task->io->calls, ops, 2, fn, task);
}

/* ---- Interface. */

void ctl_io_init(struct ctl_io *io, struct loop *loop,
                 void (*on_event)(struct ctl_io *io, const struct ctl_event *event))
{
    *io = (struct ctl_io){.on_event = on_event, .fence = -1};
    zk_calls_init(&io->calls, loop);
    list_init(&io->tasks);
    list_init(&io->failed);
    list_init(&io->states_writes);
    loop_timer_init(&io->again, on_again);
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
    loop_timer_cancel(&io->again);
    list_splice_back(&io->tasks, &io->failed);
    while (!list_empty(&io->tasks)) {
        ctl_task_free(container_of(io->tasks.next, struct ctl_task, link));
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
        ctl_io_create_state(io, cmd);
        break;
    case CTL_WRITE_TOPIC:
        ctl_io_write_topic(io, cmd);
        break;
    case CTL_DELETE_TOPIC:
        ctl_io_delete_topic(io, cmd);
        break;
    case CTL_DELETE_LEFTOVER:
        ctl_io_delete_leftover(io, cmd);
        break;
    case CTL_DELETE_MARK:
        ctl_io_delete_node(io, cmd, path_delete_topic(&arena, cmd->topic), -1);
        break;
    case CTL_SETTLE_BROKER:
        ctl_io_settle_broker(io, cmd);
        break;
    case CTL_DELETE_PREFERRED:
        ctl_io_delete_node(io, cmd, PATH_PREFERRED, -1);
        break;
    case CTL_WRITE_ORDERS:
        ctl_io_write_orders(io, cmd);
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
        ctl_io_read_brokers(io);
        break;
    case CTL_READ_TOPICS:
        ctl_io_read_names(io, PATH_TOPICS, CTL_EV_TOPICS);
        break;
    case CTL_READ_TOPIC:
        if (cmd->later) {
            ctl_io_read_topic_later(io, cmd->topic);
        } else {
            ctl_io_read_topic(io, cmd->topic, false);
        }
        break;
    case CTL_READ_STATE:
        ctl_io_read_state(io, cmd->topic, cmd->partition, cmd->later);
        break;
    case CTL_READ_DELETIONS:
        ctl_io_read_names(io, PATH_DELETE_TOPICS, CTL_EV_DELETIONS);
        break;
    case CTL_READ_PREFERRED:
        ctl_io_read_preferred(io);
        break;
    case CTL_READ_ORDERS:
        ctl_io_read_orders(io, cmd->later);
        break;
    case CTL_READ_LOG_DIRS:
        ctl_io_read_log_dirs(io);
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
        ctl_io_read_brokers(io);
    } else if (str_is(path, PATH_TOPICS)) {
        ctl_io_read_names(io, PATH_TOPICS, CTL_EV_TOPICS);
    } else if (path_child(path, PATH_TOPICS).ptr != NULL) {
        /* Also when it was deleted: it may have been made again before the list is read. */
        ctl_io_read_topic(io, path_child(path, PATH_TOPICS), true);
    } else if (str_is(path, PATH_DELETE_TOPICS)) {
        ctl_io_read_names(io, PATH_DELETE_TOPICS, CTL_EV_DELETIONS);
    } else if (str_is(path, PATH_PREFERRED)) {
        ctl_io_read_preferred(io);
    } else if (str_is(path, PATH_REASSIGN)) {
        ctl_io_read_orders(io, false);
    } else if (str_is(path, PATH_LOG_DIR_EVENTS)) {
        ctl_io_read_log_dirs(io);
    } else {
        return false;
    }
    return true;
}
