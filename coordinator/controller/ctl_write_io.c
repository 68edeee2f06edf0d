/* ctl_write_io.c: what the controller's machine writes to ZooKeeper, but for states that change
 * (ctl_states_io.c) and topics that go (ctl_delete_io.c). */
#include "base/mem.h"
#include "controller/ctl_task_io.h"
#include "znode/path.h"

static struct bytes keep(struct ctl_task *task, const struct buf *buf)
{
    struct str copy = arena_str(&task->arena, (struct str){(const char *)buf->data, buf->size});
    return (struct bytes){(const uint8_t *)copy.ptr, copy.size};
}

static void on_wrote(void *arg, const struct zk_result *result, bool repeated)
{
    enum err err = ctl_io_write_err(result);
    (void)repeated;
    ctl_task_wrote(arg, err, err == ERR_OK ? result->results[1].stat.version : -1);
}

static void on_wrote_topic(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    if (ctl_io_write_err(result) == ERR_OK) {
        ctl_seen_note(&task->io->seen, task->topic, result->results[1].stat.mzxid);
    }
    on_wrote(task, result, repeated);
}

void ctl_io_write_topic(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct ctl_task *task = ctl_task_of_write(io, cmd);
    struct buf data = {0};
    znode_topic_encode(&cmd->node, &data);
    ctl_task_set(task, path_topic(&task->arena, cmd->topic), &data, cmd->version, on_wrote_topic);
    buf_fini(&data);
}

void ctl_io_delete_node(struct ctl_io *io, const struct ctl_cmd *cmd, const char *path,
                        int32_t version)
{
    struct ctl_task *task = ctl_task_of_write(io, cmd);
    struct zk_op ops[] = {ctl_io_fence(io), {ZK_OP_DELETE, path, {NULL, 0}, version, 0}};
    zk_calls_multi(&io->calls, ops, 2, on_wrote, task);
}

void ctl_io_write_orders(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct buf data = {0};
    if (cmd->tps.count == 0) {
        ctl_io_delete_node(io, cmd, PATH_REASSIGN, cmd->version);
        return;
    }
    znode_reassign_encode(&cmd->tps, &data);
    ctl_task_set(ctl_task_of_write(io, cmd), PATH_REASSIGN, &data, cmd->version, on_wrote);
    buf_fini(&data);
}

/* ---- A broker's registration loses its mark of an unclean start. It stays its broker's: neither
 * its session nor its epoch changes. That of the broker's next life may come at any time, with the
 * version that this one has and with a mark of its own; but it makes the node above a version
 * further (registration.c), which is read first and checked when we write. */

static void on_registration(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
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
        ctl_task_wrote(task, err, -1);
        return;
    }
    broker.unclean = false;
    znode_broker_encode(&broker, &data);
    struct zk_op ops[] = {
        ctl_io_fence(task->io),
        {ZK_OP_SET, task->path, {data.data, data.size}, result->stat.version, 0},
        {ZK_OP_CHECK, PATH_BROKER_IDS, {NULL, 0}, task->ids_version, 0},
    };
    zk_calls_multi(&task->io->calls, ops, 3, on_wrote, task);
    buf_fini(&data);
}

static void on_ids(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (result->err != ERR_OK) {
        ctl_task_wrote(task, result->err, -1);
        return;
    }
    task->ids_version = result->stat.version;
    zk_calls_get(&task->io->calls, task->path, false, on_registration, task);
}

void ctl_io_settle_broker(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct ctl_task *task = ctl_task_of_write(io, cmd);
    task->broker_epoch = cmd->broker_epoch;
    task->path = path_broker_id(&task->arena, cmd->broker_id);
    zk_calls_get(&io->calls, PATH_BROKER_IDS, false, on_ids, task);
}

/* ---- Creating a state with the nodes above it. The parent that all partitions of a topic share is
 * made with the first of them; a wrong guess about what is there already costs another attempt. */

static void try_create(struct ctl_task *task);

static void on_state_created(void *arg, const struct zk_result *result, bool repeated)
{
    enum { ATTEMPTS_MAX = 8 };
    struct ctl_task *task = arg;
    enum err err = ctl_io_write_err(result);
    int32_t above = 1 + (task->with_partitions ? 1 : 0) + (task->with_partition ? 1 : 0);
    (void)repeated;
    bool state_failed = result->results_count > above && result->results[above].err == err;
    bool parent_failed = (err == ERR_EXISTS || err == ERR_NOT_FOUND) && !state_failed;
    if (!parent_failed || task->attempts >= ATTEMPTS_MAX) {
        bool missing_parent = err == ERR_NOT_FOUND && state_failed && !task->with_partition;
        if (!missing_parent || task->attempts >= ATTEMPTS_MAX) {
            ctl_task_wrote(task, err, 0);
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
        ctl_task_wrote(task, ERR_NOT_FOUND, 0); /* the topic's own node is gone */
        return;
    }
    try_create(task);
}

static void try_create(struct ctl_task *task)
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

void ctl_io_create_state(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct ctl_task *task = ctl_task_of_write(io, cmd);
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
