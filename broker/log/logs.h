/* logs.h: all logs of a broker, over all its directories.
 *
 * Opening: every directory is locked and read; what they say about their owner is checked by the
 * caller (logs_stored_*); then every partition found is loaded, on workers. A directory that cannot
 * be used is offline; the broker starts with the others, unless none is left. Closing: logs are
 * flushed and closed, checkpoints written, and a directory gets its clean-shutdown mark when all of
 * that went well.
 *
 *   <topic>-<partition>/                     a log, see plog.h
 *   <topic>-<partition>/partition.metadata   "version: 0", newline, "topic_id: " and the id in
 *                                            Kafka's base64, without a newline at the end
 *   <topic>-<partition>.<32 digits>-delete/  being removed; -stray: set aside, left alone
 *   <topic>-<partition>.<32 digits>-future/  on its way here, see move.h
 *
 * Threads: the control loop owns the registry; logs_load() and logs_close() block and are for a
 * worker, while nothing else touches it. Each log itself belongs to its partition's actor from
 * part_new() on. */
#pragma once

#include "base/uuid.h"
#include "log/logdir.h"

struct logs;

struct logs_options {
    struct fs *fs;
    struct clock *clock;
    struct worker_pool *workers;
    int recovery_threads; /* load so many logs at a time; 0: one, on the caller's thread */
    bool flush_threads;   /* each directory syncs on a thread of its own, not on `workers` */
    const char *const *dirs;
    int32_t dirs_count;
    int64_t producer_expiration_ms;
    const char *boot_id; /* of the machine as it runs now; NULL or "": not known */
    /* A directory went offline: on any thread, once per directory. */
    void (*on_dir_failed)(void *arg, const char *dir);
    /* Something was put aside, to be removed after a while: see logs_remove_due(). On any thread;
     * may be NULL. */
    void (*on_put_aside)(void *arg);
    void *arg;
};

/* Lock and read the directories. ERR_*: none is usable, or one is somebody else's; *msg says all.
 */
MUST_USE enum err logs_open(const struct logs_options *options, struct logs **out,
                            struct errmsg *msg);
void logs_free(struct logs *logs);

int32_t logs_dirs_count(const struct logs *logs);
struct logdir *logs_dir(struct logs *logs, int32_t i);

/* What the directories' meta.properties say: -1 and "" when none says anything. ERR_INVALID when
 * they contradict each other. */
MUST_USE enum err logs_stored_identity(struct logs *logs, int32_t *broker_id,
                                       const char **cluster_id, struct errmsg *msg);
MUST_USE enum err logs_set_identity(struct logs *logs, int32_t broker_id, const char *cluster_id,
                                    struct errmsg *msg);

/* Did any directory find, at its opening, that it may lack what was acknowledged? (start_mark.h) */
bool logs_suspect(const struct logs *logs);

/* It does not matter any more: no partition counts on this broker for what it had. */
void logs_trust(struct logs *logs);

/* The configuration of a topic's logs, from a worker. */
typedef void logs_config_fn(void *arg, struct str topic, struct topic_config *out);

/* Load every partition's log that is there. From here on the last stop is not a clean one any more
 * (logdir_take_marks()). */
MUST_USE enum err logs_load(struct logs *logs, logs_config_fn *config_of, void *arg,
                            struct errmsg *msg);

/* The broker stops: logs that may have to be recovered, which can take very long, are left as they
 * are, and logs_load() ends with ERR_CLOSED. From any thread, and at any time. */
void logs_give_up(struct logs *logs);

/* One partition's log. */
struct logs_entry {
    struct plog *log;
    struct logdir *dir;
    struct uuid topic_id; /* of partition.metadata; zero: none */
    int64_t offset_hw;    /* checkpointed; -1: none */
    /* Being filled, to take the log's place (move.h); NULL: none. */
    struct plog *future;
    struct logdir *future_dir;
};

/* NULL when it is not here. */
struct logs_entry *logs_find(struct logs *logs, struct str topic, int32_t partition);

/* Make a new log in the directory that has the fewest. Nobody may append to it before
 * logs_settle(). ERR_KAFKA_STORAGE_ERROR. */
MUST_USE enum err logs_create(struct logs *logs, struct str topic, int32_t partition,
                              struct uuid topic_id, const struct topic_config *config,
                              struct logs_entry **out);

/* What logs_create() made since the last time becomes durable, all of it together on a worker; then
 * done() is called on `loop`. With `loop` NULL, or when there is nothing to do, here and now. A log
 * for which that fails has failed, and its directory with it. `done` may be NULL. */
void logs_settle(struct logs *logs, struct loop *loop, void (*done)(void *arg), void *arg);

/* Remember the id of a log that has none yet. */
MUST_USE enum err logs_set_topic_id(struct logs_entry *entry, struct uuid topic_id);

/* The partition is gone: its directory is renamed at once and removed after file.delete.delay.ms.
 * The log must not be in use any more; views may be. */
void logs_delete(struct logs *logs, struct str topic, int32_t partition);

/* Nobody has said that it is to be deleted, but its place is needed: its directory gets a name that
 * ends with -stray, as Kafka's do, and stays. The log must not be in use any more. */
void logs_set_aside(struct logs *logs, struct str topic, int32_t partition);

/* ---- logs on their way to another directory: move.h, futures.c ---- */

/* The name of a log's directory can be no longer. */
enum { LOGS_NAME_MAX = 255 };

/* The directory of log.dirs with exactly this path, offline or not; NULL. */
struct logdir *logs_find_dir(struct logs *logs, struct str path);

/* Make an empty future log for the entry's, which has none. ERR_INVALID_TOPIC_EXCEPTION: the name
 * would be too long for a directory. ERR_KAFKA_STORAGE_ERROR: the directory has failed. */
MUST_USE enum err logs_make_future(struct logs *logs, struct logs_entry *entry, struct logdir *dir,
                                   const struct topic_config *config);

/* Give the move up, if there is one; nobody uses the future log any more, or nobody minds. */
void logs_drop_future(struct logs *logs, struct logs_entry *entry);

/* The future log has taken the log's place, as `moved` (plog_take_over()); `left_behind` is
 * removed. The entry's own reference to the old log becomes the caller's: plog_abandon() it when no
 * reader can have it any more. */
struct plog *logs_moved(struct logs *logs, struct logs_entry *entry, struct plog *moved,
                        const char *left_behind);

/* Wishes of where a log is to be made: clients may name logs that nobody will ever make. */
enum { LOGS_PREFERENCES_MAX = 10000 };

/* A log that is not here yet is to be made in that directory. Nothing happens when there are
 * LOGS_PREFERENCES_MAX such wishes for others. */
void logs_prefer(struct logs *logs, struct str topic, int32_t partition, struct logdir *dir);

/* Have removed, by a worker, what was put aside long enough ago. When to look again, monotonic;
 * INT64_MAX: nothing waits. */
int64_t logs_remove_due(struct logs *logs);

/* Call for every log. */
void logs_each(struct logs *logs, void (*fn)(void *arg, struct logs_entry *entry), void *arg);

/* Write the high watermarks' checkpoint (hw_of gives a log's), and the recovery points and log
 * starts. */
typedef int64_t logs_hw_fn(void *arg, struct logs_entry *entry);
void logs_checkpoint(struct logs *logs, logs_hw_fn *hw_of, void *arg);

/* What it was when the log was loaded: as long as nobody knows better. */
int64_t logs_hw_loaded(void *arg, struct logs_entry *entry);

/* Blocks. True when every directory was marked clean. After logs_load(). */
bool logs_close(struct logs *logs, logs_hw_fn *hw_of, void *arg);
