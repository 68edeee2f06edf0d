/* ctl_orders_io.c: reads the nodes in which operators and Kafka's older tools order elections and
 * reassignments. A node that is not there is watched, too. */
#include "base/log.h"
#include "controller/ctl_task_io.h"
#include "znode/path.h"

static const char logger[] = "kafka.controller.KafkaController";

/* ---- /admin/preferred_replica_election. */

static void read_preferred_again(const struct ctl_task *task)
{
    ctl_io_read_preferred(task->io);
}

static void on_preferred_exists(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (result->err == ERR_OK) { /* made in between */
        read_preferred_again(task);
        ctl_task_free(task);
    } else if (!ctl_task_failed(task, result->err)) {
        ctl_task_finish(task);
    }
}

static void on_preferred(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    struct errmsg msg;
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_exists(&task->io->calls, PATH_PREFERRED, true, on_preferred_exists, task);
        return;
    }
    if (ctl_task_failed(task, result->err)) {
        return;
    }
    task->event.u.preferred.exists = true;
    if (znode_preferred_decode(&task->arena, result->data, &task->event.u.preferred.tps, &msg) !=
        ERR_OK) {
        log_warn(logger, "a request for elections cannot be read", "path=%s reason=\"%s\"",
                 PATH_PREFERRED, msg.text);
        task->event.u.preferred.tps = (struct znode_tps){NULL, 0};
    }
    ctl_task_finish(task);
}

void ctl_io_read_preferred(struct ctl_io *io)
{
    struct ctl_task *task = ctl_task_new(io);
    task->event.kind = CTL_EV_PREFERRED;
    task->path = PATH_PREFERRED;
    task->again = read_preferred_again;
    zk_calls_get(&io->calls, PATH_PREFERRED, true, on_preferred, task);
}

/* ---- /admin/reassign_partitions. */

static void read_orders_again(const struct ctl_task *task)
{
    ctl_io_read_orders(task->io, false);
}

static void on_orders_exist(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    (void)repeated;
    if (result->err == ERR_OK) { /* made in between */
        read_orders_again(task);
        ctl_task_free(task);
    } else if (!ctl_task_failed(task, result->err)) {
        ctl_task_finish(task);
    }
}

static void on_orders(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_task *task = arg;
    struct errmsg msg;
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_exists(&task->io->calls, PATH_REASSIGN, true, on_orders_exist, task);
        return;
    }
    if (ctl_task_failed(task, result->err)) {
        return;
    }
    task->event.u.orders.exists = true;
    task->event.u.orders.version = result->stat.version;
    if (znode_reassign_decode(&task->arena, result->data, &task->event.u.orders.tps, &msg) !=
        ERR_OK) {
        log_warn(logger, "orders for reassignments cannot be read", "path=%s reason=\"%s\"",
                 PATH_REASSIGN, msg.text);
        task->event.u.orders.tps = (struct znode_tps){NULL, 0};
    }
    ctl_task_finish(task);
}

void ctl_io_read_orders(struct ctl_io *io, bool later)
{
    struct ctl_task *task = ctl_task_new(io);
    task->event.kind = CTL_EV_ORDERS;
    task->path = PATH_REASSIGN;
    task->again = read_orders_again;
    if (later) {
        ctl_task_refused(task);
    } else {
        zk_calls_get(&io->calls, PATH_REASSIGN, true, on_orders, task);
    }
}
