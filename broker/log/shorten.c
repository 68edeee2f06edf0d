/* shorten.c: how a log gets shorter: truncation at its end, retention and DeleteRecords at its
 * start. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"
#include "log/reaper.h"

#define LOGGER "kafka.log.UnifiedLog"

/* Now, or after file.delete.delay.ms. */
static enum err delete_files(struct plog *log, struct seg *seg)
{
    char *paths[SEG_FILES];
    if (log->reaper == NULL || log->config->config.file_delete_delay_ms <= 0) {
        return seg_delete_files(seg);
    }
    enum err err = seg_put_aside(seg, paths);
    log->put_aside = true;
    for (int i = 0; i < SEG_FILES; i++) {
        if (paths[i] != NULL) {
            reaper_add(log->reaper, paths[i], log->config->config.file_delete_delay_ms);
            mem_free(paths[i]);
        }
    }
    return err;
}

/* Take a segment out of the list and its files off the disk, durably, before the next one goes:
 * what a crash leaves has no gap. Views keep it readable. */
static enum err drop_seg(struct plog *log, int32_t at)
{
    struct seg *seg = log->segs[at];
    enum err err = delete_files(log, seg);
    if (err != ERR_OK) {
        return err;
    }
    log->segs_count--;
    memmove(&log->segs[at], &log->segs[at + 1],
            (size_t)(log->segs_count - at) * sizeof(log->segs[0]));
    seg_put(seg);
    return fs_sync_dir(log->fs, log->dir->chars);
}

/* ---- a start that goes down ----
 *
 * A follower whose log begins behind the end of its leader's (an unclean election) begins again
 * there. The checkpoint goes on to name the old start until it is written the next time: after a
 * crash in between, what had come below it would be taken for deleted. So a file in the log's
 * directory, "log-start-lowered", says that the checkpoint does not count, durably, from before the
 * cut until it does. It holds the new start: a decimal number and a newline.
 *
 * Checkpoints are written by another thread, at any moment: one that is written between the file
 * and the cut still has the old start, so the file stays until the next. */

enum { LOWERED_FILE_MAX = 64 };

static char *lowered_path(const struct plog *log)
{
    return mem_printf("%s/log-start-lowered", log->dir->chars);
}

static enum err write_lowered(struct plog *log)
{
    char text[LOWERED_FILE_MAX];
    char *path = lowered_path(log);
    int size = snprintf(text, sizeof(text), "%" PRId64 "\n", atomic_load(&log->lowered_to));
    enum err err = fs_replace(log->fs, path, text, (size_t)size);
    mem_free(path);
    return err;
}

/* What is going to be cut will make the log begin at `offset`, below its start? */
static enum err lower_start(struct plog *log, int64_t offset)
{
    if (offset >= plog_log_start(log)) {
        return ERR_OK;
    }
    atomic_store(&log->lowered_to, offset);
    atomic_fetch_add(&log->start_lowered, 1); /* first: see plog_lowered_told() */
    return write_lowered(log);
}

/* It has been cut. */
static void move_start(struct plog *log, int64_t offset)
{
    bool lowered = offset < plog_log_start(log);
    atomic_store_explicit(&log->log_start, offset, memory_order_release);
    if (lowered) {
        atomic_fetch_add(&log->start_lowered, 1);
    }
}

static enum err remove_lowered(struct plog *log)
{
    char *path = lowered_path(log);
    enum err err = fs_unlink(log->fs, path);
    mem_free(path);
    if (err == ERR_OK) {
        err = fs_sync_dir(log->fs, log->dir->chars);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err plog_find_lowered(struct plog *log, bool clean)
{
    char *data;
    size_t size;
    if (clean) { /* of ours there is none: a Kafka broker has stopped after a crash of ours */
        return remove_lowered(log);
    }
    char *path = lowered_path(log);
    enum err err = fs_read_all(log->fs, path, LOWERED_FILE_MAX, &data, &size);
    mem_free(path);
    atomic_store(&log->start_lowered, err == ERR_OK || err == ERR_INVALID ? 2 : 0);
    if (err == ERR_OK) {
        long long offset = strtoll(data, NULL, 10); /* an older broker's file is empty */
        atomic_store(&log->lowered_to, offset > 0 ? offset : 0);
        mem_free(data);
    }
    return err == ERR_NOT_FOUND || err == ERR_INVALID ? ERR_OK : err;
}

enum err plog_lowered_told(struct plog *log, uint32_t times)
{
    if (times == 0 || times % 2 != 0) { /* odd: the old start may have been told */
        return ERR_OK;
    }
    enum err err = remove_lowered(log);
    if (err != ERR_OK) {
        return err;
    }
    /* Lowered once more, maybe before the file went. */
    return atomic_compare_exchange_strong(&log->start_lowered, &times, 0) ? ERR_OK
                                                                          : write_lowered(log);
}

/* ---- the end ---- */

/* The last segment that begins at or before `offset`; there is one. */
static int32_t seg_of(const struct plog *log, int64_t offset)
{
    int32_t at = log->segs_count - 1;
    while (at > 0 && log->segs[at]->base_offset > offset) {
        at--;
    }
    return at;
}

/* Where to cut so that nothing from *offset on is left: a batch that only begins before it goes as
 * a whole, and *offset becomes where it begins. *position -1: the segment ends before anyway. */
static enum err find_cut(struct seg *seg, int64_t *offset, int64_t *position)
{
    struct batch_header header;
    enum err err = seg_find(seg, *offset, position, &header);
    if (err == ERR_NOT_FOUND) {
        *position = -1;
        return ERR_OK;
    }
    if (err == ERR_OK && header.base_offset < *offset) {
        *offset = header.base_offset;
    }
    return err;
}

/* The files, from the last one backwards; durably, so that nothing can come back. A sync here that
 * fails ends the log, and its directory is marked as one where something failed (start_mark.h): a
 * process that starts on it, and sees the cut in the page cache, cuts again (plog_cut_again()).
 * Only a process that ends between the failure and the mark, microseconds, leaves bytes that the
 * next power failure may bring back; they are of an older leader epoch, by which a follower is told
 * to cut them once more. */
static enum err cut_files(struct plog *log, int32_t at, int64_t position, int64_t offset)
{
    enum err err = plog_remove_snapshots_behind(log, offset);
    while (err == ERR_OK && log->segs_count - 1 > at) {
        err = drop_seg(log, log->segs_count - 1);
    }
    log->ends_in_gap = position < 0 && log->segs[at]->base_offset < offset;
    if (err == ERR_OK && position < 0) {
        /* It counted as reaching up to the one behind it, which has gone. */
        seg_publish(log->segs[at], log->segs[at]->size_bytes, offset);
    } else if (err == ERR_OK) {
        err = seg_truncate(log->segs[at], position, offset, &log->ends_in_gap);
        if (err == ERR_OK) {
            err = fs_sync(log->segs[at]->file);
        }
    }
    return err == ERR_OK ? seg_cut_aborted(log->segs[at], offset) : err;
}

enum err plog_cut_again(struct plog *log)
{
    struct seg *active = plog_active(log);
    enum err err = fs_truncate(active->file, active->size_bytes);
    if (err == ERR_OK) {
        err = fs_sync(active->file);
    }
    if (err == ERR_OK) {
        err = seg_cut_aborted(active, plog_offset_end(log));
    }
    if (err == ERR_OK) {
        err = fs_sync_dir(log->fs, log->dir->chars);
    }
    return err == ERR_OK ? ERR_OK : plog_fail(log, err, "cut again");
}

enum err plog_truncate_to(struct plog *log, int64_t offset)
{
    int64_t end = plog_offset_end(log);
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (offset >= end) {
        /* An epoch that began at the end and got no record: another leader never had it. */
        epochs_truncate_end(&log->epochs, end);
        enum err saved = plog_save_epochs(log);
        return saved == ERR_OK ? ERR_OK : plog_fail(log, saved, "leader epochs");
    }
    if (offset < plog_log_start(log)) {
        return plog_restart_at(log, offset); /* nothing that is left may be served */
    }
    int64_t position;
    int32_t at = seg_of(log, offset);
    enum err err = find_cut(log->segs[at], &offset, &position);
    if (err == ERR_OK) {
        plog_lower_recovery_point(log, offset);
        err = lower_start(log, offset); /* it may be within the batch that goes as a whole */
    }
    if (err == ERR_OK) {
        err = cut_files(log, at, position, offset);
    }
    if (err != ERR_OK) {
        return plog_fail(log, err, "truncate");
    }
    atomic_store_explicit(&log->offset_end, offset, memory_order_release);
    if (plog_log_start(log) > offset) {
        move_start(log, offset);
    }
    epochs_truncate_end(&log->epochs, offset);
    plog_publish_view(log);
    err = plog_save_epochs(log);
    if (err == ERR_OK) {
        err = plog_rebuild_producers(log, offset);
    }
    log_info(LOGGER, "truncated", "dir=%s from=%" PRId64 " to=%" PRId64, log->dir->chars, end,
             offset);
    return err == ERR_OK ? ERR_OK : plog_fail(log, err, "truncate");
}

/* All files but the new segment's. The last segment stays in the list, unlinked, until the new one
 * is there: everything else relies on one. */
static enum err replace_segs(struct plog *log, int64_t offset)
{
    enum err err = plog_remove_snapshots_behind(log, -1);
    while (err == ERR_OK && log->segs_count > 1) {
        err = drop_seg(log, log->segs_count - 1);
    }
    if (err == ERR_OK) {
        err = delete_files(log, log->segs[0]);
    }
    if (err == ERR_OK) {
        err = fs_sync_dir(log->fs, log->dir->chars);
    }
    if (err == ERR_OK) {
        err = plog_new_seg(log, offset, clock_wall_ms(log->clock));
    }
    if (err == ERR_OK) {
        seg_put(log->segs[0]);
        log->segs[0] = log->segs[1];
        log->segs_count = 1;
    }
    return err;
}

enum err plog_restart_at(struct plog *log, int64_t offset)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    plog_lower_recovery_point(log, 0);
    enum err err = lower_start(log, offset);
    if (err == ERR_OK) {
        err = replace_segs(log, offset);
    }
    if (err != ERR_OK) {
        return plog_fail(log, err, "restart");
    }
    log->ends_in_gap = false;
    producers_clear(&log->producers);
    epochs_truncate_end(&log->epochs, 0);
    atomic_store_explicit(&log->offset_end, offset, memory_order_release);
    move_start(log, offset);
    plog_publish_view(log);
    err = plog_save_epochs(log);
    return err == ERR_OK ? ERR_OK : plog_fail(log, err, "restart");
}

/* ---- the start ---- */

bool plog_may_delete_records(const struct plog *log)
{
    return (log->config->config.cleanup_policy & TOPIC_CLEANUP_DELETE) != 0;
}

enum err plog_set_log_start(struct plog *log, int64_t offset)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    must(offset <= plog_offset_end(log));
    if (offset > plog_log_start(log)) {
        atomic_store_explicit(&log->log_start, offset, memory_order_release);
        epochs_truncate_start(&log->epochs, offset);
    }
    return ERR_OK;
}

/* May the oldest segment go, and why? NULL: it stays. Retention looks at whole segments below the
 * high watermark, oldest first, and stops at the first that stays. */
static const char *why_delete(struct plog *log, int64_t total_bytes, int64_t next_base,
                              int64_t offset_hw, int64_t now_ms)
{
    struct seg *seg = log->segs[0];
    const struct topic_config *config = &log->config->config;
    if (next_base > offset_hw) {
        return NULL;
    }
    if (next_base <= plog_log_start(log)) {
        return "log start";
    }
    if ((config->cleanup_policy & TOPIC_CLEANUP_DELETE) == 0) {
        return NULL;
    }
    if (config->retention_bytes >= 0 && total_bytes - config->retention_bytes >= seg->size_bytes) {
        return "size";
    }
    if (config->retention_ms >= 0 &&
        now_ms - seg_largest_timestamp_ms(seg) > config->retention_ms) {
        return "time";
    }
    return NULL;
}

/* Delete the oldest segment; the last one is followed by an empty one first, durably: a log without
 * any would begin again where it began before. */
static enum err delete_oldest(struct plog *log, int64_t next_base, int64_t now_ms)
{
    struct seg *oldest = log->segs[0];
    if (log->segs_count == 1) {
        enum err err = plog_roll(log, now_ms);
        if (err != ERR_OK) {
            return err;
        }
    }
    /* Also one that was begun a moment ago for another reason. */
    enum err named = plog_sync_names(log);
    if (named != ERR_OK) {
        return plog_fail(log, named, "delete a segment");
    }
    if (next_base > plog_log_start(log)) {
        atomic_store_explicit(&log->log_start, next_base, memory_order_release);
        epochs_truncate_start(&log->epochs, next_base);
    }
    char *snapshot = plog_snapshot_path(log, oldest->base_offset);
    enum err err = fs_unlink(log->fs, snapshot);
    mem_free(snapshot);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        err = drop_seg(log, 0);
    }
    return err == ERR_OK ? ERR_OK : plog_fail(log, err, "delete a segment");
}

/* Indexes that nobody uses any more: of what was written, and of what was read once. */
static void rest_finished(struct plog *log)
{
    for (int32_t i = 0; i + 1 < log->segs_count; i++) {
        seg_rest(log->segs[i]);
    }
}

enum err plog_delete_old_segments(struct plog *log, int64_t offset_hw, int64_t now_ms)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    producers_expire(&log->producers, now_ms, log->producer_expiration_ms);
    int64_t total = plog_size_bytes(log);
    int32_t deleted = 0;
    enum err err = ERR_OK;
    while (err == ERR_OK && deleted < PLOG_DELETES_MAX) {
        struct seg *oldest = log->segs[0];
        bool active = log->segs_count == 1;
        int64_t next_base = active ? plog_offset_end(log) : log->segs[1]->base_offset;
        const char *why = active && oldest->size_bytes == 0
                              ? NULL
                              : why_delete(log, total, next_base, offset_hw, now_ms);
        if (why == NULL) {
            break;
        }
        log_info(LOGGER, "deleting segment",
                 "dir=%s base_offset=%" PRId64 " size=%" PRId64 " reason=%s", log->dir->chars,
                 oldest->base_offset, oldest->size_bytes, why);
        total -= oldest->size_bytes;
        err = delete_oldest(log, next_base, now_ms);
        deleted++;
    }
    if (deleted > 0) {
        plog_publish_view(log);
    }
    if (err == ERR_OK && deleted == PLOG_DELETES_MAX) {
        return ERR_AGAIN;
    }
    rest_finished(log);
    return err;
}
