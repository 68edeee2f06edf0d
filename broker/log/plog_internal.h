/* plog_internal.h: a log from the inside, for plog.c (appending), recover.c and leftovers.c
 * (opening), shorten.c (truncation, retention), flush.c (recovery point) and snapshots.c (producer
 * state on disk). */
#pragma once

#include <pthread.h>

#include "log/plog.h"

struct plog {
    struct fs *fs;
    struct clock *clock;
    struct worker_pool *workers;
    char *dir;
    char *topic;
    int32_t partition;
    struct topic_config config;
    int64_t producer_expiration_ms;
    void (*on_failure)(void *arg, enum err err);
    void *arg;

    /* Published. */
    _Atomic int64_t offset_end;
    _Atomic int64_t log_start;
    _Atomic int64_t recovery_point;
    _Atomic bool failed;
    /* A leaf: guards `view` against its replacement while it is counted, and what flush.c says. */
    pthread_mutex_t lock;
    struct view *view;
    struct epochs epochs;  /* with a lock of its own */
    _Atomic int32_t count; /* the owner, each partition that holds it, a flush with a worker */
    _Atomic bool flushing; /* a worker has a flush */
    _Atomic bool deleted;  /* the files are to go: failures do not matter any more */
    uint64_t truncations;  /* see flush.c; changed by the actor with the lock held */
    int64_t point_written; /* likewise: a checkpoint may name a recovery point up to this one */

    /* The actor's. */
    struct seg **segs; /* by base offset; the last one is written */
    int32_t segs_count;
    int32_t segs_capacity;
    struct producers *producers;
    int64_t unflushed_records;
    int64_t snapshot_newest; /* offset of the newest producer snapshot on disk; -1: none */
    int64_t roll_jitter_ms;
};

static inline struct seg *plog_active(struct plog *log)
{
    return log->segs[log->segs_count - 1];
}

/* Remember that the log has failed, and tell the host, once. Returns ERR_KAFKA_STORAGE_ERROR. */
enum err plog_fail(struct plog *log, enum err err, const char *what);

/* Readers are to see the present segments. */
void plog_publish_view(struct plog *log);
void plog_push_seg(struct plog *log, struct seg *seg);

/* Begin a segment at the log's end. */
MUST_USE enum err plog_new_seg(struct plog *log, int64_t base_offset, int64_t now_ms);

char *plog_epochs_path(const struct plog *log);
MUST_USE enum err plog_save_epochs(struct plog *log);

/* ---- flush.c ---- */

/* Hand finished segments to a worker, unless one has some now. */
void plog_flush_finished(struct plog *log);

/* `seg`, the last one, is about to be followed by another: sync it now if a recovery point that is
 * on disk, or may get there, says that it was. */
MUST_USE enum err plog_sync_finished(struct plog *log, struct seg *seg);

/* The log is about to be cut at `offset`. */
void plog_lower_recovery_point(struct plog *log, int64_t offset);

/* ---- snapshots.c ---- */

/* The file <offset>.snapshot of the log. mem_free. */
char *plog_snapshot_path(const struct plog *log, int64_t offset);

/* Write the producer state that belongs to offset_end, unless there is one on disk. */
MUST_USE enum err plog_write_snapshot(struct plog *log);

/* Remove, durably, the snapshots of more than `offset`. */
MUST_USE enum err plog_remove_snapshots_behind(struct plog *log, int64_t offset);

/* Make the producer state that belongs to `offset`: the newest snapshot at or below it, and the
 * batches between. */
MUST_USE enum err plog_rebuild_producers(struct plog *log, int64_t offset);
MUST_USE enum err plog_load_producers(struct plog *log, bool clean);

/* ---- recover.c, leftovers.c ---- */

MUST_USE enum err plog_load(struct plog *log, const struct plog_options *options,
                            struct errmsg *msg);
MUST_USE enum err plog_clear_leftovers(struct plog *log);

/* "00000000000000000042.log" -> 42, ".log" */
bool plog_parse_name(const char *name, int64_t *offset, const char **extension);
