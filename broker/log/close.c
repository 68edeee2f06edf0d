/* close.c: what a log that is closed cleanly leaves on the disk besides its batches: indexes, the
 * producer state, leader epochs.
 *
 * When a broker stops, that is done for all logs of a directory together: every file is written
 * under its name or, where it replaces one, beside it; one sync of the file system; then what was
 * written beside gets its name; one more sync. By itself each log needs five syncs or more. */
#include "base/mem.h"
#include "log/plog_internal.h"

/* An epoch in which nothing was appended means nothing: opening forgets it, too. */
static void forget_empty_epoch(struct plog *log)
{
    epochs_truncate_end(&log->epochs, plog_offset_end(log));
}

/* Indexes and what describes the whole; the batches have been synced. */
enum err plog_save_all(struct plog *log)
{
    enum err err = plog_write_indexes(log);
    for (int32_t i = 0; i < log->segs_count && err == ERR_OK; i++) {
        struct seg *seg = log->segs[i];
        if (atomic_load(&seg->index_synced) != atomic_load(&seg->index_written)) {
            err = seg_sync(seg);
        }
    }
    if (err == ERR_OK) {
        err = plog_write_snapshot(log);
    }
    if (err == ERR_OK) {
        err = plog_save_epochs(log);
    }
    if (err == ERR_OK) {
        err = plog_forget_gapless(log);
    }
    return err == ERR_OK ? plog_sync_names(log) : err; /* the others have synced theirs */
}

enum err plog_close(struct plog *log)
{
    enum err err = plog_flush(log);
    if (err == ERR_OK) {
        forget_empty_epoch(log);
        err = plog_save_all(log);
        if (err != ERR_OK) {
            err = plog_fail(log, err, "close");
        }
    }
    plog_release(log);
    return err;
}

/* ---- many together ---- */

static enum err write_beside(struct plog *log, const char *path, const struct buf *content)
{
    struct fs_file *file;
    char *beside = mem_printf("%s.tmp", path);
    enum err err = fs_open(log->fs, beside, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (err == ERR_OK) {
        if (content->size > 0) {
            err = fs_pwrite(file, content->data, content->size, 0);
        }
        fs_close(file);
    }
    mem_free(beside);
    return err;
}

static enum err put_in_place(struct plog *log, const char *path)
{
    char *beside = mem_printf("%s.tmp", path);
    enum err err = fs_rename(log->fs, beside, path);
    mem_free(beside);
    return err;
}

/* Are there batches, indexes or names that no sync has covered? */
static bool has_unsynced(struct plog *log)
{
    bool unsynced = plog_recovery_point(log) < plog_offset_end(log) ||
                    atomic_load(&log->names_synced) != atomic_load(&log->names_made);
    for (int32_t i = 0; i < log->segs_count && !unsynced; i++) {
        struct seg *seg = log->segs[i];
        unsynced = atomic_load(&seg->index_synced) != atomic_load(&seg->index_written);
    }
    return unsynced;
}

enum err plog_write_closing(struct plog *log, struct plog_closing *closing)
{
    struct buf content = {0};
    if (plog_failed(log)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    forget_empty_epoch(log);
    enum err err = plog_write_indexes(log);
    if (err == ERR_OK && plog_snapshot_content(log, &content)) {
        char *path = plog_snapshot_path(log, plog_offset_end(log));
        err = write_beside(log, path, &content);
        closing->beside = true;
        mem_free(path);
    }
    buf_clear(&content);
    if (err == ERR_OK && epochs_content(&log->epochs, &content)) {
        char *path = plog_epochs_path(log);
        err = write_beside(log, path, &content);
        closing->beside = true;
        mem_free(path);
    }
    buf_fini(&content);
    closing->beside = closing->beside || log->gapless_from != INT64_MAX;
    closing->sync = closing->sync || has_unsynced(log);
    return err;
}

/* What plog_write_closing() wrote beside is what differs still. */
enum err plog_place_closing(struct plog *log)
{
    struct buf content = {0};
    enum err err = ERR_OK;
    if (plog_snapshot_content(log, &content)) {
        char *path = plog_snapshot_path(log, plog_offset_end(log));
        err = put_in_place(log, path);
        err = err == ERR_OK ? plog_snapshot_placed(log) : err;
        mem_free(path);
    }
    buf_clear(&content);
    if (err == ERR_OK && epochs_content(&log->epochs, &content)) {
        char *path = plog_epochs_path(log);
        err = put_in_place(log, path);
        if (err == ERR_OK) {
            epochs_saved(&log->epochs);
        }
        mem_free(path);
    }
    buf_fini(&content);
    return err == ERR_OK ? plog_forget_gapless(log) : err;
}
