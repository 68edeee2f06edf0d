/* shorten.c: how a log gets shorter: truncation at its end, retention and DeleteRecords at its
 * start. */
#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"

#define LOGGER "kafka.log.UnifiedLog"

static enum err remove_snapshot(struct plog *log, int64_t offset)
{
    char *path = plog_snapshot_path(log, offset);
    enum err err = fs_unlink(log->fs, path);
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Take a segment out of the list and its files off the disk; views keep it readable. */
static void drop_seg(struct plog *log, int32_t at)
{
    struct seg *seg = log->segs[at];
    enum err err = remove_snapshot(log, seg->base_offset);
    (void)err; /* a snapshot too many does no harm: it lies outside of the log */
    seg_delete_files(seg);
    log->segs_count--;
    memmove(&log->segs[at], &log->segs[at + 1],
            (size_t)(log->segs_count - at) * sizeof(log->segs[0]));
    seg_put(seg);
}

/* ---- the end ---- */

static enum err save_epochs(struct plog *log)
{
    char *path = plog_epochs_path(log);
    enum err err = epochs_save(&log->epochs, log->fs, path);
    mem_free(path);
    return err;
}

static void lower_recovery_point(struct plog *log, int64_t offset)
{
    if (plog_recovery_point(log) > offset) {
        atomic_store(&log->recovery_point, offset);
    }
}

/* Snapshots behind the new end describe records that are gone. */
static enum err remove_later_snapshots(struct plog *log, int64_t offset, int64_t old_end)
{
    enum err err = remove_snapshot(log, old_end);
    for (int32_t i = 0; i < log->segs_count && err == ERR_OK; i++) {
        if (log->segs[i]->base_offset > offset) {
            err = remove_snapshot(log, log->segs[i]->base_offset);
        }
    }
    return err;
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
        enum err saved = save_epochs(log);
        return saved == ERR_OK ? ERR_OK : plog_fail(log, saved, "leader epochs");
    }
    if (offset < log->segs[0]->base_offset) {
        return plog_restart_at(log, offset);
    }
    enum err err = remove_later_snapshots(log, offset, end);
    while (log->segs_count > 1 && plog_active(log)->base_offset > offset) {
        drop_seg(log, log->segs_count - 1);
    }
    struct seg *active = plog_active(log);
    int64_t position;
    struct batch_header header;
    enum err found = seg_find(active, offset, &position, &header);
    int64_t cut = offset;
    if (err == ERR_OK && found == ERR_OK) {
        /* A batch that only begins before `offset` goes as a whole. */
        cut = header.base_offset < offset ? header.base_offset : offset;
        err = seg_truncate(active, position, cut);
    } else if (err == ERR_OK && found != ERR_NOT_FOUND) {
        err = found;
    }
    if (err != ERR_OK) {
        return plog_fail(log, err, "truncate");
    }
    atomic_store_explicit(&log->offset_end, cut, memory_order_release);
    lower_recovery_point(log, cut);
    epochs_truncate_end(&log->epochs, cut);
    plog_publish_view(log);
    err = save_epochs(log);
    if (err == ERR_OK) {
        err = plog_rebuild_producers(log, cut);
    }
    log_info(LOGGER, "truncated", "dir=%s from=%" PRId64 " to=%" PRId64, log->dir, end, cut);
    return err == ERR_OK ? ERR_OK : plog_fail(log, err, "truncate");
}

enum err plog_restart_at(struct plog *log, int64_t offset)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    enum err err = remove_snapshot(log, plog_offset_end(log));
    while (log->segs_count > 0) {
        drop_seg(log, log->segs_count - 1);
    }
    if (err == ERR_OK) {
        err = plog_new_seg(log, offset, clock_wall_ms(log->clock));
    }
    if (err != ERR_OK) {
        /* Keep a segment in the list: everything else relies on it. */
        return plog_fail(log, err, "restart");
    }
    producers_clear(log->producers);
    epochs_truncate_end(&log->epochs, 0);
    atomic_store_explicit(&log->offset_end, offset, memory_order_release);
    atomic_store_explicit(&log->log_start, offset, memory_order_release);
    atomic_store(&log->recovery_point, offset);
    plog_publish_view(log);
    err = save_epochs(log);
    return err == ERR_OK ? ERR_OK : plog_fail(log, err, "restart");
}

/* ---- the start ---- */

bool plog_may_delete_records(const struct plog *log)
{
    return (log->config.cleanup_policy & TOPIC_CLEANUP_DELETE) != 0;
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
    const struct topic_config *config = &log->config;
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

enum err plog_delete_old_segments(struct plog *log, int64_t offset_hw, int64_t now_ms)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    producers_expire(log->producers, now_ms, log->producer_expiration_ms);
    int64_t total = plog_size_bytes(log);
    int32_t deleted = 0;
    for (;;) {
        struct seg *oldest = log->segs[0];
        bool active = log->segs_count == 1;
        int64_t next_base = active ? plog_offset_end(log) : log->segs[1]->base_offset;
        if (active && oldest->size_bytes == 0) {
            break;
        }
        const char *why = why_delete(log, total, next_base, offset_hw, now_ms);
        if (why == NULL) {
            break;
        }
        if (active) {
            enum err err = plog_roll(log, now_ms);
            if (err != ERR_OK) {
                return err;
            }
        }
        log_info(LOGGER, "deleting segment",
                 "dir=%s base_offset=%" PRId64 " size=%" PRId64 " reason=%s", log->dir,
                 oldest->base_offset, oldest->size_bytes, why);
        total -= oldest->size_bytes;
        if (next_base > plog_log_start(log)) {
            atomic_store_explicit(&log->log_start, next_base, memory_order_release);
            epochs_truncate_start(&log->epochs, next_base);
        }
        drop_seg(log, 0);
        deleted++;
    }
    if (deleted > 0) {
        plog_publish_view(log);
    }
    return ERR_OK;
}
