/* logdir.h: one directory of `log.dirs`: who it belongs to, its lock, its checkpoints, whether it
 * works.
 *
 *   .lock                 held while the process lives
 *   meta.properties       lines key=value: version=0, broker.id, cluster.id, perhaps directory.id
 *   .kafka_cleanshutdown  {"version":0,"brokerEpoch":-1}; present only while the broker is stopped
 *                         after a clean stop. Only its presence counts.
 *   .barnabas_start       see start_mark.h
 *   .barnabas_manifest    see manifest.h
 *   *-checkpoint          recovery points, log start offsets, high watermarks: see checkpoint.h
 *
 * Failure: the first write or sync that fails takes the whole directory offline until the broker is
 * restarted; its partitions are refused, those of other directories are served.
 *
 * Threads: the control loop, or a worker while loading; logdir_fail() and logdir_offline() from
 * any. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include <stdatomic.h>

#include "log/checkpoint.h"
#include "log/flusher.h"
#include "log/manifest.h"
#include "log/plog.h"
#include "log/start_mark.h"

/* The directory's checkpoints that are written again and again. */
enum { LOGDIR_CHECKPOINTS = 3 };

struct logdir {
    struct fs *fs;
    char *path;
    struct fs_file *lock;
    struct flusher *flusher; /* syncs its logs */
    bool clean;              /* the last stop was clean */
    struct start_mark mark;
    bool rewrite; /* something failed in the last life: what is read may not be on the disk */
    _Atomic bool offline;
    /* Told once, when it goes offline: from any thread. May be NULL. */
    void (*on_failed)(void *arg, const char *path);
    void *arg;
    struct checkpoint recovery_points; /* as read at start; empty once the logs are loaded */
    struct checkpoint log_starts;
    struct checkpoint high_watermarks;
    struct manifest *manifest; /* likewise; NULL: there is none that counts */
    int32_t stored_broker_id;  /* of meta.properties; -1: none */
    char stored_cluster_id[64];
    char stored_directory_id[32]; /* kept when meta.properties is rewritten */
    int32_t logs_count;
    uint64_t
        written[LOGDIR_CHECKPOINTS]; /* what each checkpoint last said, as a hash; 0: unknown */
    uint64_t checkpoints_digest;     /* of the logs, when all three were last written; 0: unknown */
    bool checkpoints_stale; /* the files say something of a log that is gone, or more than it has */
};

/* Make the directory if it is absent, lock it, read what it says. ERR_LOCKED: another broker uses
 * it. `boot_id`: the machine's present one, "" when that is not known. */
MUST_USE enum err logdir_open(struct logdir *dir, struct fs *fs, const char *path,
                              const char *boot_id, struct errmsg *msg);
void logdir_close(struct logdir *dir);

/* Its logs are about to be loaded, and may change: a crash from now on is one. The clean-shutdown
 * mark goes, durably, and with it the manifest. Until then a start that comes to nothing (another
 * broker's id, no ZooKeeper) leaves the last stop a clean one. */
MUST_USE enum err logdir_take_marks(struct logdir *dir);

/* The logs are loaded: what was read for that is not needed any more. */
void logdir_loaded(struct logdir *dir);

/* Write meta.properties, unless it says so already. */
MUST_USE enum err logdir_set_identity(struct logdir *dir, int32_t broker_id,
                                      const char *cluster_id);

/* Nothing is written when the file says so already. */
MUST_USE enum err logdir_write_checkpoint(struct logdir *dir, const char *name,
                                          const struct checkpoint *checkpoint);
/* The recovery points and high watermarks: the next start after a crash reads all, and finds out.
 */
MUST_USE enum err logdir_remove_checkpoints(struct logdir *dir);
MUST_USE enum err logdir_mark_clean(struct logdir *dir);
/* Then. ERR_NO_SPACE does not matter. */
MUST_USE enum err logdir_write_manifest(struct logdir *dir, int32_t count, const struct buf *lines);

bool logdir_offline(const struct logdir *dir);

/* Everything that was written again (dir->rewrite) has been synced. */
MUST_USE enum err logdir_rewritten(struct logdir *dir);

/* Nobody counts on what it may have lost any more. */
void logdir_trust(struct logdir *dir);

/* Take it offline. It will not count as cleanly stopped, even if it was marked so before. */
void logdir_fail(struct logdir *dir);

/* The same for one that hangs: nothing is asked of it. */
void logdir_hangs(struct logdir *dir);

/* The same for one that could not be opened. Nothing in it was changed: what its marks say of the
 * last stop stays true. */
void logdir_leave(struct logdir *dir);

/* "topic-3" -> topic, 3; false for anything that is no partition's directory. */
bool logdir_parse_name(const char *name, struct str *topic, int32_t *partition);

#define LOGDIR_RECOVERY_POINTS "recovery-point-offset-checkpoint"
#define LOGDIR_LOG_STARTS      "log-start-offset-checkpoint"
#define LOGDIR_HIGH_WATERMARKS "replication-offset-checkpoint"
