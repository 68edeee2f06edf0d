/* logs_internal.h: the registry of logs from the inside, for logs.c (directories, loading, making),
 * logs_remove.c and futures.c (logs on their way to another directory). */
#pragma once

#include "base/hash.h"
#include "log/logs.h"

enum { TOPIC_NAME_MAX = 249, METADATA_FILE_MAX = 4096 };

struct logs_item {
    UT_hash_handle hh;
    struct logs_entry entry;
    uint32_t start_lowered; /* as the checkpoints that are being written know it */
    char name[];            /* "topic-3", also the directory's */
};

/* Where a replica is to be made that is not here yet. */
struct logs_preference {
    UT_hash_handle hh;
    char *name;
    struct logdir *dir;
};

struct logs {
    struct logs_options options;
    struct logdir *dirs;
    int32_t dirs_count;
    struct logs_item *by_name;
    struct logs_preference *preferences;
    uint64_t deletions; /* makes names of deleted directories unique */
    logs_hw_fn *hw_of;  /* as given to logs_checkpoint() */
    void *hw_arg;
    struct new_logs *news; /* not durable yet */
    struct reaper *reaper; /* removes what was deleted */
    struct shelf *shelf;
    _Atomic bool given_up; /* logs_give_up() */
};

struct logs_item *logs_find_item(struct logs *logs, struct str topic, int32_t partition);
struct logs_item *logs_add_item(struct logs *logs, const char *name, struct plog *log,
                                struct logdir *dir);

void logs_item_free(struct logs *logs, struct logs_item *item);
MUST_USE enum err logs_write_checkpoints(struct logs *logs, struct logdir *dir, logs_hw_fn *hw_of,
                                         void *arg);

/* ---- logs_close.c */

bool logs_flush_dir(struct logs *logs, struct logdir *dir);

enum logs_open_kind {
    LOGS_OPEN_LOADED, /* it is there already, and the checkpoints are about it */
    LOGS_OPEN_NEW,
    LOGS_OPEN_FUTURE, /* who fills it syncs it, too: what else does might hide an error */
};

/* Open, or make, the log in dir/name. `known`: what the manifest says of it; may be NULL. */
MUST_USE enum err logs_open_log(struct logs *logs, struct logdir *dir, const char *name,
                                struct str topic, int32_t partition,
                                const struct topic_config *config, enum logs_open_kind kind,
                                const struct manifest_log *known, struct plog **out,
                                struct errmsg *msg);

/* The id in partition.metadata; zero: none. */
MUST_USE enum err logs_read_topic_id(struct fs *fs, const char *dir, struct uuid *id);

/* Before a log is made in a directory: its checkpoints must not name another of that name. */
MUST_USE enum err logs_renew_checkpoints(struct logs *logs, struct logdir *dir);

/* ---- logs_remove.c ---- */

/* Rename a log's directory so that no start finds it, and remove it after `delay_ms`. `path` is the
 * log's. */
void logs_bury(struct logs *logs, struct logdir *dir, const char *path, struct str topic,
               int32_t partition, int64_t delay_ms);

/* ---- futures.c ---- */

/* What earlier runs left of moves: go on with them. */
MUST_USE enum err logs_load_futures(struct logs *logs, logs_config_fn *config_of, void *arg,
                                    struct errmsg *msg);

/* All logs are loaded: have removed what earlier runs deleted, or left behind after a move. */
void logs_remove_deleted(struct logs *logs);

/* Where a log that is about to be made should go; NULL: anywhere. */
struct logdir *logs_preferred(struct logs *logs, const char *name);
void logs_forget_preference(struct logs *logs, const char *name);
