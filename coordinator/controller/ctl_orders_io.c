/* ctl_orders_io.c: reads the nodes in which operators and Kafka's older tools order elections and
 * reassignments. A node that is not there is watched, too. */
#include "base/log.h"
#include "controller/ctl_io.h"
#include "znode/path.h"

static const char logger[] = "kafka.controller.KafkaController";

/* The end of the session cuts a read short: the reign ends with it. */
static bool cut_short(enum err err)
{
    return err != ERR_OK && err != ERR_NOT_FOUND;
}

/* ---- /admin/preferred_replica_election. */

static void on_preferred_exists(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_io *io = arg;
    (void)repeated;
    if (result->err == ERR_OK) { /* made in between */
        ctl_io_read_preferred(io);
    } else if (!cut_short(result->err)) {
        io->on_event(io, &(struct ctl_event){.kind = CTL_EV_PREFERRED});
    }
}

static void on_preferred(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_io *io = arg;
    struct arena arena = {0};
    struct errmsg msg;
    struct ctl_event event = {.kind = CTL_EV_PREFERRED};
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_exists(&io->calls, PATH_PREFERRED, true, on_preferred_exists, io);
        return;
    }
    if (cut_short(result->err)) {
        return;
    }
    event.u.preferred.exists = true;
    if (znode_preferred_decode(&arena, result->data, &event.u.preferred.tps, &msg) != ERR_OK) {
        log_warn(logger, "a request for elections cannot be read", "path=%s reason=\"%s\"",
                 PATH_PREFERRED, msg.text);
        event.u.preferred.tps = (struct znode_tps){NULL, 0};
    }
    io->on_event(io, &event); /* which may end the reign */
    arena_fini(&arena);
}

void ctl_io_read_preferred(struct ctl_io *io)
{
    zk_calls_get(&io->calls, PATH_PREFERRED, true, on_preferred, io);
}

/* ---- /admin/reassign_partitions. */

static void on_orders_exist(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_io *io = arg;
    (void)repeated;
    if (result->err == ERR_OK) { /* made in between */
        ctl_io_read_orders(io);
    } else if (!cut_short(result->err)) {
        io->on_event(io, &(struct ctl_event){.kind = CTL_EV_ORDERS});
    }
}

static void on_orders(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_io *io = arg;
    struct arena arena = {0};
    struct errmsg msg;
    struct ctl_event event = {.kind = CTL_EV_ORDERS};
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_exists(&io->calls, PATH_REASSIGN, true, on_orders_exist, io);
        return;
    }
    if (cut_short(result->err)) {
        return;
    }
    event.u.orders.exists = true;
    event.u.orders.version = result->stat.version;
    if (znode_reassign_decode(&arena, result->data, &event.u.orders.tps, &msg) != ERR_OK) {
        log_warn(logger, "orders for reassignments cannot be read", "path=%s reason=\"%s\"",
                 PATH_REASSIGN, msg.text);
        event.u.orders.tps = (struct znode_tps){NULL, 0};
    }
    io->on_event(io, &event); /* which may end the reign */
    arena_fini(&arena);
}

void ctl_io_read_orders(struct ctl_io *io)
{
    zk_calls_get(&io->calls, PATH_REASSIGN, true, on_orders, io);
}
