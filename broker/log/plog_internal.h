/* plog_internal.h: a log from the inside, for plog.c (appending), recover.c (opening) and shorten.c
 * (truncation, retention). */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "log/plog.h"

/* A rolled segment on its way to the disk. */
struct plog_flush {
    struct list link;
    struct work work;
    struct plog *log;
    struct seg *seg;
    int64_t offset_end;
};

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
    pthread_mutex_t
        view_lock; /* a leaf: guards `view` against its replacement while it is counted */
    struct view *view;
    struct epochs epochs;    /* with a lock of its own */
    _Atomic int32_t count;   /* the owner, each partition that holds it, each flush with a worker */
    _Atomic int32_t flushes; /* with workers now */
    _Atomic bool closed;     /* the owner is gone: failures do not matter any more */

    /* The actor's. */
    struct seg **segs; /* by base offset; the last one is written */
    int32_t segs_count;
    int32_t segs_capacity;
    struct producers *producers;
    int64_t unflushed_records;
    int64_t unflushed_since_ms;
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

/* The file <offset>.snapshot of the log. mem_free. */
char *plog_snapshot_path(const struct plog *log, int64_t offset);
char *plog_epochs_path(const struct plog *log);
MUST_USE enum err plog_write_snapshot(struct plog *log);

/* Make the producer state that belongs to `offset`: the newest snapshot at or below it, and the
 * batches between. */
MUST_USE enum err plog_rebuild_producers(struct plog *log, int64_t offset);

/* recover.c */
MUST_USE enum err plog_load(struct plog *log, const struct plog_options *options,
                            struct errmsg *msg);
