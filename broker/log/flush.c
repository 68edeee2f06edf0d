/* flush.c: what is written reaches the disk, and the recovery point follows.
 *
 * Invariants of the recovery point:
 *   F1  Everything before it is durable: batches, and of finished segments also the indexes.
 *   F2  It moves forward only when a sync of all of that has succeeded, and never again once any
 *       sync of this log has failed.
 *   F3  Truncation moves it back. A flush that began before then does not move it: `generation`
 *       tells them apart.
 *   F4  A checkpoint may still name a recovery point from before a truncation. Until the log has
 *       grown beyond it (`point_written`), segments are synced when they are finished, so that F1
 *       holds for what the checkpoint says too.
 *   F5  Leader epochs that begin before the last segment are in their file, durably: it is written
 *       when a segment is finished, if there are new ones. Those of the last segment need no file,
 *       for all of it is read again after a crash.
 *
 * A new generation begins with whatever makes a flush under way worthless: a truncation; a segment
 * that is finished, whose indexes that flush has not seen (F1); a sync by the actor itself, for the
 * kernel tells an error of a file only once, and may tell it there (F2). */
#include "base/mem.h"
#include "log/flusher.h"
#include "log/plog_internal.h"

/* F2, F3 */
static void advance_recovery_point(struct plog *log, int64_t offset, uint64_t generation)
{
    pthread_mutex_lock(&log->lock);
    if (log->generation == generation && !atomic_load(&log->failed) &&
        offset > atomic_load(&log->recovery_point)) {
        atomic_store_explicit(&log->recovery_point, offset, memory_order_release);
    }
    pthread_mutex_unlock(&log->lock);
}

void plog_flush_void(struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    log->generation++;
    pthread_mutex_unlock(&log->lock);
}

void plog_lower_recovery_point(struct plog *log, int64_t offset)
{
    pthread_mutex_lock(&log->lock);
    int64_t point = atomic_load(&log->recovery_point);
    log->generation++;
    log->point_written = point > log->point_written ? point : log->point_written;
    if (point > offset) {
        atomic_store_explicit(&log->recovery_point, offset, memory_order_release);
    }
    pthread_mutex_unlock(&log->lock);
}

/* The names of its files are durable. */
enum err plog_sync_names(struct plog *log)
{
    uint32_t made = atomic_load(&log->names_made);
    if (atomic_load(&log->names_synced) == made) {
        return ERR_OK;
    }
    enum err err = fs_sync_dir(log->fs, log->dir->chars);
    if (err == ERR_OK) {
        atomic_store(&log->names_synced, made);
    }
    return err;
}

/* Every segment that holds something from `point` on and before `end`, the last one first. */
static enum err sync_segs(struct seg *const *segs, int32_t count, int64_t point, int64_t end)
{
    for (int32_t i = count - 1; i >= 0; i--) {
        enum err err = segs[i]->base_offset < end ? seg_sync(segs[i]) : ERR_OK;
        if (err != ERR_OK || segs[i]->base_offset <= point) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- by the actor ---- */

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
    plog_flush_void(log); /* F2 */
    enum err err = sync_segs(log->segs, log->segs_count, point, end);
    if (err == ERR_OK) {
        err = plog_sync_names(log);
    }
    if (err != ERR_OK) {
        return plog_fail(log, err, "sync");
    }
    advance_recovery_point(log, end, log->generation);
    /* The flusher's sync of the same file may have been told the error instead of ours. */
    return atomic_load(&log->failed) ? ERR_KAFKA_STORAGE_ERROR : ERR_OK;
}

enum err plog_sync_finished(struct plog *log, struct seg *seg)
{
    int64_t end = plog_offset_end(log);
    bool trusted = end <= plog_recovery_point(log) || end <= log->point_written; /* F1, F4 */
    if (!trusted) {
        return ERR_OK;
    }
    plog_flush_void(log); /* F2 */
    enum err err = seg_sync(seg);
    return err == ERR_OK ? fs_sync_dir(log->fs, log->dir->chars) : err;
}

enum err plog_write_indexes(struct plog *log)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; i < log->segs_count && err == ERR_OK; i++) {
        if (log->segs[i]->index_dirty) {
            err = seg_save_indexes(log->segs[i]);
            atomic_fetch_add(&log->names_made, 1);
        }
    }
    return err;
}

void plog_all_synced(struct plog *log)
{
    for (int32_t i = 0; i < log->segs_count; i++) {
        struct seg *seg = log->segs[i];
        atomic_store(&seg->index_synced, atomic_load(&seg->index_written));
    }
    atomic_store(&log->names_synced, atomic_load(&log->names_made));
    advance_recovery_point(log, plog_offset_end(log), log->generation);
}

/* ---- by the flusher ---- */

static void notify(struct flush_note *note)
{
    if (note != NULL) {
        note->done(note);
    }
}

/* Nobody else will: sync here. */
static void flush_here(struct plog *log, struct flush_note *note)
{
    enum err err = log->flusher == NULL ? plog_flush(log) : ERR_KAFKA_STORAGE_ERROR;
    (void)err; /* plog_failed(), or the recovery point, says it */
    notify(note);
}

/* With the lock held. */
static struct flush_note *wish_take_note(struct plog_flush_wish *wish)
{
    struct flush_note *note = wish->note;
    wish->note = NULL;
    wish->queued = false;
    return note;
}

/* The flusher has been stopped, and so has the log: it has been closed. */
static void wish_drop(struct plog *log)
{
    plog_take_offline(log);
    pthread_mutex_lock(&log->lock);
    struct flush_note *note = wish_take_note(&log->flush);
    pthread_mutex_unlock(&log->lock);
    notify(note);
    plog_release(log);
}

static bool flush_to(struct plog *log, int64_t end, struct flush_note *note)
{
    if (log->flusher == NULL || atomic_load(&log->failed)) {
        flush_here(log, note);
        return note != NULL;
    }
    struct plog_flush_wish *wish = &log->flush;
    pthread_mutex_lock(&log->lock);
    bool queued = wish->queued;
    if (!queued || wish->generation != log->generation || end > wish->end) {
        wish->end = end;
    }
    wish->generation = log->generation;
    wish->queued = true;
    bool taken = note != NULL && wish->note == NULL;
    if (taken) {
        wish->note = note;
    }
    pthread_mutex_unlock(&log->lock);
    if (!queued && !flusher_push(log->flusher, plog_hold(log))) {
        wish_drop(log);
    }
    return taken;
}

bool plog_flush_soon(struct plog *log, struct flush_note *note)
{
    log->unflushed_records = 0;
    return flush_to(log, plog_offset_end(log), note);
}

/* With flush.messages=1 it is the partition that asks, after each append: it wants to be told. */
void plog_flush_due(struct plog *log)
{
    if (log->config->config.flush_messages > 1 &&
        log->unflushed_records >= log->config->config.flush_messages) {
        (void)plog_flush_soon(log, NULL);
    }
}

void plog_flush_aged(struct plog *log)
{
    int64_t waited_ms = clock_mono_ms(log->clock) - log->unflushed_since_ms;
    if (log->unflushed_records > 0 && waited_ms >= log->config->config.flush_ms) {
        (void)plog_flush_soon(log, NULL);
    }
}

void plog_flush_finished(struct plog *log)
{
    int64_t end = plog_active(log)->base_offset;
    if (log->flusher != NULL && plog_recovery_point(log) < end) {
        (void)flush_to(log, end, NULL);
    }
}

void plog_flush_take(struct plog_flush_job *job)
{
    struct plog *log = job->log;
    pthread_mutex_lock(&log->lock);
    job->end = log->flush.end;
    job->generation = log->flush.generation;
    job->note = wish_take_note(&log->flush);
    job->view = view_hold(log->view); /* has the segments of everything before `end` */
    pthread_mutex_unlock(&log->lock);
    job->point = plog_recovery_point(log);
}

int32_t plog_flush_files(const struct plog_flush_job *job)
{
    int32_t count = 0;
    for (int32_t i = job->view->segs_count - 1; i >= 0 && job->point < job->end; i--) {
        int64_t base = job->view->segs[i]->base_offset;
        count += base < job->end ? 1 : 0;
        if (base <= job->point) {
            break;
        }
    }
    return count;
}

enum err plog_flush_sync(struct plog_flush_job *job)
{
    if (job->point >= job->end) {
        return ERR_OK;
    }
    enum err err = sync_segs(job->view->segs, job->view->segs_count, job->point, job->end);
    return err == ERR_OK ? plog_sync_names(job->log) : err;
}

void plog_flush_end(struct plog_flush_job *job)
{
    struct plog *log = job->log;
    if (job->err == ERR_OK) {
        advance_recovery_point(log, job->end, job->generation);
    } else if (!atomic_load(&log->deleted)) {
        enum err failed = plog_fail(log, job->err, "sync");
        (void)failed;
    }
    view_put(job->view);
    notify(job->note);
    plog_release(log);
}
