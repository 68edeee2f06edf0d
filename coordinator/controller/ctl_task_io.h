/* ctl_task_io.h: one command of the controller's machine while ZooKeeper is asked or told, for the
 * files that do that (ctl_*_io.c), and nobody else.
 *
 * Threads: the loop. */
#pragma once

#include "controller/ctl_io.h"

/* One command under way: what it gathers lives in its arena. */
struct ctl_task {
    struct list link;
    struct ctl_io *io;
    struct arena arena;
    int32_t waiting; /* calls without a result */
    enum err err;    /* of a call that failed, so that nothing is known of what it asked for */
    struct ctl_event event;
    uint64_t cmd_id;                            /* writes */
    const char *path;                           /* reads, and changing a registration */
    void (*again)(const struct ctl_task *task); /* reads: begin anew */
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
    int64_t broker_epoch;
    int32_t ids_version; /* of the node above it, before it was read */
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

struct ctl_task *ctl_task_new(struct ctl_io *io);
void ctl_task_free(struct ctl_task *task);

/* A read ended with this error. False: it did not, or there is no such node. Else the task is not
 * the caller's any more: it is freed, for the reign ends with the session, or is begun anew. */
bool ctl_task_failed(struct ctl_task *task, enum err err);

/* A read that has not begun, or failed, begins (anew) within CTL_IO_AGAIN_MS. */
void ctl_task_put_off(struct ctl_task *task);

/* The same, since a write of that node was refused, and would be once more. */
void ctl_task_refused(struct ctl_task *task);

/* Deliver the task's event and end it. */
void ctl_task_finish(struct ctl_task *task);

/* The result of a write; the task ends. `version` is that of the node where the command has one. */
void ctl_task_wrote(struct ctl_task *task, enum err err, int32_t version);

/* Of a command that writes. */
struct ctl_task *ctl_task_of_write(struct ctl_io *io, const struct ctl_cmd *cmd);

/* Set a node, behind the fence. */
void ctl_task_set(struct ctl_task *task, const char *path, const struct buf *data, int32_t version,
                  zk_call_fn *fn);

/* ---- ctl_read_io.c: reads begin; what they find comes as an event. */

void ctl_io_read_brokers(struct ctl_io *io);
void ctl_io_read_names(struct ctl_io *io, const char *path, enum ctl_event_kind kind);
/* `if_changed`: only when others than we have written it since. */
void ctl_io_read_topic(struct ctl_io *io, struct str name, bool if_changed);
void ctl_io_read_topic_later(struct ctl_io *io, struct str name);
void ctl_io_read_state(struct ctl_io *io, struct str topic, int32_t partition, bool later);
void ctl_io_read_log_dirs(struct ctl_io *io);

/* ---- ctl_write_io.c */

void ctl_io_create_state(struct ctl_io *io, const struct ctl_cmd *cmd);
void ctl_io_write_topic(struct ctl_io *io, const struct ctl_cmd *cmd);
void ctl_io_delete_node(struct ctl_io *io, const struct ctl_cmd *cmd, const char *path,
                        int32_t version);
void ctl_io_settle_broker(struct ctl_io *io, const struct ctl_cmd *cmd);
void ctl_io_write_orders(struct ctl_io *io, const struct ctl_cmd *cmd);

/* ---- ctl_delete_io.c */

void ctl_io_delete_topic(struct ctl_io *io, const struct ctl_cmd *cmd);
/* The mark and the configuration of a topic that has no nodes any more. */
void ctl_io_delete_leftover(struct ctl_io *io, const struct ctl_cmd *cmd);
