/* logs_close.c: the clean stop of all logs, a directory at a time.
 *
 *   flush, indexes and the like   so that the recovery points written next are the ends
 *   checkpoints
 *   .kafka_cleanshutdown          everything above is durable
 *   .barnabas_manifest            see manifest.h
 *
 * Where something fails the directory is not marked, and will be recovered. */
#include "base/log.h"
#include "base/mem.h"
#include "log/logs_internal.h"
#include "log/manifest.h"
#include "log/plog_internal.h"

#define LOGGER "kafka.log.LogManager"

/* One that waits for the next start in its new directory (MOVE_LOST) has no name here any more. */
static bool is_here(const struct logs_entry *entry, const struct logdir *dir)
{
    return entry->dir == dir && !atomic_load(&entry->log->deleted);
}

/* Flush every log. */
bool logs_flush_dir(struct logs *logs, struct logdir *dir)
{
    bool good = true;
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        if (is_here(&item->entry, dir) && plog_flush(item->entry.log) != ERR_OK) {
            good = false;
        }
    }
    return good;
}

/* The lines of the next manifest. */
struct noted {
    struct buf lines;
    int32_t count;
};

static bool close_dir(struct logs *logs, struct logdir *dir, struct noted *noted)
{
    bool good = true;
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        if (item->entry.dir != dir) {
            continue;
        }
        struct plog *log = plog_hold(item->entry.log);
        if (!is_here(&item->entry, dir)) {
            plog_abandon(log);
        } else if (plog_close(log) != ERR_OK) {
            good = false;
        } else if (!plog_has_leftovers(log)) { /* M5 */
            manifest_note(&noted->lines, item->name, item->entry.topic_id, log);
            noted->count++;
        }
        plog_release(log);
        logs_item_free(logs, item);
    }
    return good;
}

/* The next start goes on with them. One that fails takes its directory along. */
static void close_futures(struct logs *logs)
{
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        if (item->entry.future != NULL && plog_close(item->entry.future) != ERR_OK) {
            logdir_fail(item->entry.future_dir);
        }
        item->entry.future = NULL;
    }
}

typedef enum err each_fn(struct plog *log, void *arg);

static enum err each_log(struct logs *logs, const struct logdir *dir, each_fn *fn, void *arg)
{
    struct logs_item *item;
    struct logs_item *next;
    enum err err = ERR_OK;
    HASH_ITER (hh, logs->by_name, item, next) {
        if (is_here(&item->entry, dir) && err == ERR_OK) {
            err = fn(item->entry.log, arg);
        }
    }
    return err;
}

static enum err write_one(struct plog *log, void *closing)
{
    return plog_write_closing(log, closing);
}

static enum err place_one(struct plog *log, void *arg)
{
    (void)arg;
    return plog_place_closing(log);
}

static enum err synced_one(struct plog *log, void *arg)
{
    (void)arg;
    plog_all_synced(log);
    return ERR_OK;
}

/* Two syncs instead of several for each log, where there is such a call: the logs' own find nothing
 * left to do. Nothing is written meanwhile. A broker that was idle syncs nothing: what others have
 * written to the same disk is not waited for. */
static void sync_together(struct logs *logs, struct logdir *dir)
{
    struct plog_closing closing = {0};
    enum err err =
        logdir_offline(dir) ? ERR_KAFKA_STORAGE_ERROR : each_log(logs, dir, write_one, &closing);
    if (err == ERR_OK && !closing.sync && !closing.beside) {
        return;
    }
    err = err == ERR_OK ? fs_sync_all(dir->lock) : err;
    if (err == ERR_OK && closing.beside) {
        err = each_log(logs, dir, place_one, NULL);
        err = err == ERR_OK ? fs_sync_all(dir->lock) : err;
    }
    if (err == ERR_OK) {
        err = each_log(logs, dir, synced_one, NULL);
    }
    if (err != ERR_OK && err != ERR_UNSUPPORTED_VERSION) {
        logdir_fail(dir);
    }
}

static bool mark_clean(struct logdir *dir, const struct noted *noted)
{
    if (logdir_mark_clean(dir) != ERR_OK || logdir_offline(dir)) {
        return false;
    }
    enum err err = logdir_write_manifest(dir, noted->count, &noted->lines);
    if (err == ERR_NO_SPACE) {
        log_warn(LOGGER, "no space for the manifest", "dir=%s; the next start takes longer",
                 dir->path);
    } else if (err != ERR_OK) {
        logdir_fail(dir);
    }
    return !logdir_offline(dir);
}

bool logs_close(struct logs *logs, logs_hw_fn *hw_of, void *arg)
{
    bool all = true;
    close_futures(logs);
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        struct noted noted = {0};
        sync_together(logs, dir);
        bool good = !logdir_offline(dir) && logs_flush_dir(logs, dir) &&
                    logs_write_checkpoints(logs, dir, hw_of, arg) == ERR_OK;
        good = close_dir(logs, dir, &noted) && good;
        good = good && mark_clean(dir, &noted);
        buf_fini(&noted.lines);
        if (!good) {
            log_error(LOGGER, "no clean stop", "dir=%s; it will be recovered at the next start",
                      dir->path);
        }
        all = all && good;
    }
    return all;
}
