/* flush.c: what is written reaches the disk, and the recovery point follows.
 *
 * Invariants of the recovery point:
 *   F1  Everything before it is durable: batches, and of finished segments also the indexes.
 *   F2  It moves forward only when a sync of all of that has succeeded, and never again once any
 *       sync of this log has failed.
 *   F3  Truncation moves it back. A flush that began before then does not move it: `truncations`
 *       tells them apart.
 *   F4  A checkpoint may still name a recovery point from before a truncation. Until the log has
 *       grown beyond it (`point_written`), segments are synced when they are finished, so that F1
 *       holds for what the checkpoint says too. */
#include "base/mem.h"
#include "log/plog_internal.h"

/* Segments on their way to the disk. */
struct plog_flush {
    struct work work;
    struct plog *log;
    uint64_t truncations;
    int64_t offset_end;
    int32_t segs_count;
    struct seg *segs[];
};

/* F2, F3 */
static void advance_recovery_point(struct plog *log, int64_t offset, uint64_t truncations)
{
    pthread_mutex_lock(&log->lock);
    if (log->truncations == truncations && !atomic_load(&log->failed) &&
        offset > atomic_load(&log->recovery_point)) {
        atomic_store_explicit(&log->recovery_point, offset, memory_order_release);
    }
    pthread_mutex_unlock(&log->lock);
}

void plog_lower_recovery_point(struct plog *log, int64_t offset)
{
    pthread_mutex_lock(&log->lock);
    int64_t point = atomic_load(&log->recovery_point);
    log->truncations++;
    log->point_written = point > log->point_written ? point : log->point_written;
    if (point > offset) {
        atomic_store_explicit(&log->recovery_point, offset, memory_order_release);
    }
    pthread_mutex_unlock(&log->lock);
}

enum err plog_flush(struct plog *log)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    int64_t end = plog_offset_end(log);
    int64_t point = plog_recovery_point(log);
    log->unflushed_records = 0;
    if (point >= end) {
        return ERR_OK;
    }
    for (int32_t i = log->segs_count - 1; i >= 0; i--) {
        enum err err = seg_sync(log->segs[i]);
        if (err != ERR_OK) {
            return plog_fail(log, err, "sync");
        }
        if (log->segs[i]->base_offset <= point) {
            break;
        }
    }
    enum err err = fs_sync_dir(log->fs, log->dir);
    if (err != ERR_OK) {
        return plog_fail(log, err, "sync of the directory");
    }
    advance_recovery_point(log, end, log->truncations);
    /* A worker's sync of the same file may have been told the error instead of ours. */
    return atomic_load(&log->failed) ? ERR_KAFKA_STORAGE_ERROR : ERR_OK;
}

/* On a worker. */
static void flush_run(struct work *work)
{
    struct plog_flush *flush = container_of(work, struct plog_flush, work);
    struct plog *log = flush->log;
    enum err err = ERR_OK;
    for (int32_t i = 0; i < flush->segs_count; i++) {
        if (err == ERR_OK) {
            err = seg_sync(flush->segs[i]);
        }
        seg_put(flush->segs[i]);
    }
    if (err == ERR_OK) {
        err = fs_sync_dir(log->fs, log->dir);
    }
    if (err == ERR_OK) {
        advance_recovery_point(log, flush->offset_end, flush->truncations);
    } else if (!atomic_load(&log->deleted)) {
        enum err failed = plog_fail(log, err, "sync of a finished segment");
        (void)failed;
    }
    mem_free(flush);
    atomic_store(&log->flushing, false);
    plog_release(log);
}

/* One flush at a time; what is finished meanwhile is taken along by the next one. */
void plog_flush_finished(struct plog *log)
{
    int64_t point = plog_recovery_point(log);
    int64_t end = plog_active(log)->base_offset;
    if (log->workers == NULL || point >= end || atomic_load(&log->flushing)) {
        return;
    }
    int32_t from = log->segs_count - 1;
    while (from > 0 && log->segs[from]->base_offset > point) {
        from--;
    }
    int32_t count = log->segs_count - 1 - from;
    struct plog_flush *flush =
        mem_zalloc(1, sizeof(*flush) + (size_t)count * sizeof(flush->segs[0]));
    flush->log = plog_hold(log);
    flush->truncations = log->truncations;
    flush->offset_end = end;
    flush->segs_count = count;
    for (int32_t i = 0; i < count; i++) {
        flush->segs[i] = seg_get(log->segs[from + i]);
    }
    flush->work.run = flush_run;
    atomic_store(&log->flushing, true);
    worker_submit(log->workers, &flush->work);
}

enum err plog_sync_finished(struct plog *log, struct seg *seg)
{
    int64_t end = plog_offset_end(log);
    bool trusted = end <= plog_recovery_point(log) || end <= log->point_written; /* F1, F4 */
    if (!trusted) {
        return ERR_OK;
    }
    enum err err = seg_sync(seg);
    return err == ERR_OK ? fs_sync_dir(log->fs, log->dir) : err;
}
