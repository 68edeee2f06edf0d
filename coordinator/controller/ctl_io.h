/* ctl_io.h: the controller machine's reads and writes of ZooKeeper, during one reign at a time.
 *
 * Reads arm watches and gather what belongs together (all brokers; a topic with the states of its
 * partitions) into one event. Writes are multis that begin with a check of the version of
 * /controller_epoch: when that fails, the result is ERR_CONTROLLER_MOVED. Calls are repeated over
 * lost connections; a write that may have met its own earlier success reports the error it met, and
 * the machine reads again. A read that fails although the session lives (a permission is missing)
 * is said in the log and repeated after CTL_IO_AGAIN_MS, for its event must come: until then the
 * controller is not whole.
 *
 * Threads: the loop. Embedded in ctl_driver. */
#pragma once

#include "base/log.h"
#include "controller/ctl.h"
#include "controller/ctl_seen.h"
#include "zk/zk_calls.h"

enum { CTL_IO_AGAIN_MS = 1000 };

struct ctl_io {
    struct zk_calls calls;
    int32_t fence; /* version of /controller_epoch */
    void (*on_event)(struct ctl_io *io, const struct ctl_event *event);
    struct list tasks;  /* reads and writes under way, to be freed when the reign ends */
    struct list failed; /* reads that are to be repeated */
    struct loop_timer again;
    struct log_limit failed_limit;
    bool reading_brokers;
    bool read_brokers_again; /* something changed while they were being read */
    struct ctl_seen seen;
    struct str created_topic;  /* whose parent node the last CREATE_STATE made; own memory */
    struct list states_writes; /* multis of WRITE_STATEs, until they are answered */
    struct ctl_states_write *gathered; /* the one that ctl_io_flush() sends; NULL: none */
};

void ctl_io_init(struct ctl_io *io, struct loop *loop,
                 void (*on_event)(struct ctl_io *io, const struct ctl_event *event));
void ctl_io_start(struct ctl_io *io, struct zk *zk, int32_t fence);
/* No event comes after this. */
void ctl_io_stop(struct ctl_io *io);
/* A command that reads or writes. States to be written are gathered until ctl_io_flush(). */
void ctl_io_execute(struct ctl_io *io, const struct ctl_cmd *cmd);
/* At the end of a step. */
void ctl_io_flush(struct ctl_io *io);
bool ctl_io_on_watch(struct ctl_io *io, enum zk_watch_event event, struct str path);

/* What every write begins with. */
struct zk_op ctl_io_fence(const struct ctl_io *io);
/* Was it the fence that failed? Then ERR_CONTROLLER_MOVED. */
enum err ctl_io_write_err(const struct zk_result *result);

/* ---- ctl_states_io.c */

void ctl_io_gather_state(struct ctl_io *io, const struct ctl_cmd *cmd);
void ctl_io_drop_states(struct ctl_io *io);

/* ---- ctl_orders_io.c */

void ctl_io_read_preferred(struct ctl_io *io);
void ctl_io_read_orders(struct ctl_io *io, bool later);
