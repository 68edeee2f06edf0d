/* ctl_delete_io.c: deletes a topic: find all nodes, delete children before parents; in the last
 * multi, with the topic's own node, the configuration and the mark that asked for it. Whatever
 * fails, the machine has it done again from the start.
 *
 * A multi whose reply was lost is repeated, and must not hit what belongs to a new topic of the
 * same name. There can be none before the last multi has succeeded; then that one's repetition
 * fails, because it names the mark by a version of its own: ours is written once more before it is
 * deleted, and one that somebody makes begins with version 0. */
#include <stdlib.h>

#include "base/mem.h"
#include "controller/ctl_task_io.h"
#include "znode/path.h"

enum {
    DELETES_PER_MULTI = 500, /* keeps a multi far below ZooKeeper's packet limit */
};

struct tree_item {
    struct ctl_task *task;
    const char *path;
};

static void add_path(struct ctl_task *task, char *path)
{
    if (task->paths_count == task->paths_capacity) {
        task->paths_capacity = task->paths_capacity > 0 ? task->paths_capacity * 2 : 16;
        task->paths = mem_realloc(task->paths, (size_t)task->paths_capacity * sizeof(*task->paths));
    }
    task->paths[task->paths_count++] = path;
}

static void delete_last(struct ctl_task *task);
static void raise_mark(struct ctl_task *task);

static void on_last_deleted(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    enum err err = ctl_io_write_err(result);
    bool judged = err != ERR_CONTROLLER_MOVED && result->results_count > 1;
    enum err mark = judged && task->with_mark ? result->results[1].err : ERR_OK;
    enum err config = judged && task->with_config ? result->results[2].err : ERR_OK;
    if (err == ERR_OK) {
        ctl_task_wrote(task, ERR_OK, 0);
    } else if (mark == ERR_NOT_FOUND || mark == ERR_ZK_BAD_VERSION) {
        if (repeated) {
            ctl_task_wrote(task, ERR_OK, 0); /* our own success, repeated */
        } else {
            raise_mark(task); /* somebody took it away, or wrote it */
        }
    } else if (config == ERR_NOT_FOUND) {
        task->with_config = false;
        delete_last(task);
    } else {
        /* Somebody else deletes or adds below it. */
        ctl_task_wrote(task, err == ERR_NOT_FOUND ? ERR_ZK_OTHER : err, 0);
    }
}

/* What is left of the nodes, at most DELETES_PER_MULTI. Where the mark is gone, the configuration
 * may be that of a new topic. */
static void delete_last(struct ctl_task *task)
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

static void delete_more(struct ctl_task *task);

static void on_deleted(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    enum err err = ctl_io_write_err(result);
    (void)repeated;
    if (err != ERR_OK) {
        /* Somebody else deletes or adds below it; or this is our own success, repeated. */
        ctl_task_wrote(task, err == ERR_NOT_FOUND ? ERR_ZK_OTHER : err, 0);
        return;
    }
    delete_more(task);
}

/* The nodes that were found, children first. */
static void delete_more(struct ctl_task *task)
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

static void on_mark_made(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    enum err err = ctl_io_write_err(result);
    (void)repeated;
    if (err == ERR_EXISTS) {
        raise_mark(task); /* by a lost attempt, or by somebody else */
    } else if (err != ERR_OK && err != ERR_NOT_FOUND) {
        ctl_task_wrote(task, err, 0);
    } else {
        task->with_mark = err == ERR_OK; /* else there is not even a place for marks */
        task->with_config = false;
        task->mark_version = task->with_mark ? result->results[2].stat.version : -1;
        delete_more(task);
    }
}

/* Taken away by hand while there are nodes to be deleted yet. By it alone the last transaction,
 * when it is repeated, tells the topic that it deleted from one that was made since. */
static void make_mark(struct ctl_task *task)
{
    const char *path = path_delete_topic(&task->arena, task->topic);
    struct zk_op ops[] = {
        ctl_io_fence(task->io),
        {ZK_OP_CREATE, path, {NULL, 0}, 0, ZK_PERSISTENT},
        {ZK_OP_SET, path, {NULL, 0}, 0, 0}, /* a version that only we make */
    };
    zk_calls_multi(&task->io->calls, ops, 3, on_mark_made, task);
}

static void on_mark_raised(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    enum err err = ctl_io_write_err(result);
    (void)repeated; /* written twice it has a version of ours, too */
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        ctl_task_wrote(task, err, 0);
        return;
    }
    if (err == ERR_NOT_FOUND && task->paths_count > task->deleted) {
        make_mark(task);
        return;
    }
    task->with_mark = err == ERR_OK;
    task->with_config = task->with_mark;
    task->mark_version = task->with_mark ? result->results[1].stat.version : -1;
    delete_more(task);
}

static void raise_mark(struct ctl_task *task)
{
    ctl_task_set(task, path_delete_topic(&task->arena, task->topic), &(struct buf){0}, -1,
                 on_mark_raised);
}

/* Longer paths of one prefix sort behind it, so backwards is children first. */
static int compare_backwards(const void *a, const void *b)
{
    return -strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_tree(struct ctl_task *task, const char *path);

static void on_tree(void *arg, const struct zk_result *result, bool repeated)
{
    struct tree_item *item = arg;
    struct ctl_task *task = item->task;
    (void)repeated;
    if (result->err == ERR_OK) {
        add_path(task, (char *)item->path);
    } else if (result->err != ERR_NOT_FOUND) {
        task->err = result->err; /* there is something that we cannot see */
    }
    for (int32_t i = 0; i < result->children_count; i++) {
        list_tree(task,
                  arena_printf(&task->arena, "%s/%.*s", item->path, STR_ARG(result->children[i])));
    }
    if (--task->waiting > 0) {
        return;
    }
    if (task->err != ERR_OK) {
        ctl_task_wrote(task, task->err, 0);
        return;
    }
    if (task->paths_count > 0) {
        qsort(task->paths, (size_t)task->paths_count, sizeof(*task->paths), compare_backwards);
    }
    raise_mark(task);
}

static void list_tree(struct ctl_task *task, const char *path)
{
    struct tree_item *item = arena_new(&task->arena, struct tree_item);
    *item = (struct tree_item){task, path};
    task->waiting++;
    zk_calls_children(&task->io->calls, path, false, on_tree, item);
}

void ctl_io_delete_topic(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct ctl_task *task = ctl_task_of_write(io, cmd);
    list_tree(task, path_topic(&task->arena, cmd->topic));
}

void ctl_io_delete_leftover(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    raise_mark(ctl_task_of_write(io, cmd));
}
