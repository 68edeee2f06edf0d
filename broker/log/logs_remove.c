/* logs_remove.c: logs that go: deleted, they are renamed at once, so that no start finds them, and
 * removed later; set aside, they keep their records for people to look at. */
#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "log/logs_internal.h"
#include "log/reaper.h"

#define LOGGER "kafka.log.LogManager"

/* Rename a log's directory to a name that ends with `end`: mem_free(). NULL: it failed. */
static char *rename_aside(struct logs *logs, struct logdir *dir, const char *path, struct str topic,
                          int32_t partition, const char *end)
{
    /* The topic is cut so that the name fits into 255 bytes. */
    char *to = mem_printf("%s/%.*s-%" PRId32 ".%016" PRIx64 "%016" PRIx64 "-%s", dir->path,
                          (int)(topic.size < 200 ? topic.size : 200), topic.ptr, partition,
                          (uint64_t)clock_wall_ms(logs->options.clock), ++logs->deletions, end);
    enum err err = fs_rename(dir->fs, path, to);
    if (err == ERR_OK) {
        /* A topic of the same name may come next: the old one must not come back. */
        err = fs_sync_dir(dir->fs, dir->path);
        if (err != ERR_OK) {
            logdir_fail(dir);
        }
        return to;
    }
    log_warn(LOGGER, "cannot rename a log's directory", "dir=%s error=%s", path, err_text(err));
    logdir_fail(dir);
    mem_free(to);
    return NULL;
}

void logs_bury(struct logs *logs, struct logdir *dir, const char *path, struct str topic,
               int32_t partition, int64_t delay_ms)
{
    char *to = rename_aside(logs, dir, path, topic, partition, "delete");
    if (to != NULL) {
        reaper_add(logs->reaper, to, delay_ms);
    }
    mem_free(to);
}

static void let_stray(struct logs *logs, struct logdir *dir, const char *path, struct str topic,
                      int32_t partition)
{
    char *to = rename_aside(logs, dir, path, topic, partition, "stray");
    if (to != NULL) {
        log_warn(LOGGER, "a log is set aside", "dir=%s; it stays until somebody removes it", to);
    }
    mem_free(to);
}

static void remove_log(struct logs *logs, struct str topic, int32_t partition, bool stray)
{
    struct logs_item *item = logs_find_item(logs, topic, partition);
    if (item == NULL) {
        return;
    }
    /* First: a future log alone could be taken for the current one. */
    logs_drop_future(logs, &item->entry);
    struct logdir *dir = item->entry.dir;
    char *path = mem_strdup(plog_dir(item->entry.log));
    int64_t delay_ms = plog_delete_delay_ms(item->entry.log);
    plog_abandon(item->entry.log);
    if (!logdir_offline(dir) && stray) { /* or it may hang */
        let_stray(logs, dir, path, topic, partition);
    } else if (!logdir_offline(dir)) {
        logs_bury(logs, dir, path, topic, partition, delay_ms);
    }
    dir->logs_count--;
    dir->checkpoints_stale = true;
    logs_item_free(logs, item);
    mem_free(path);
}

void logs_delete(struct logs *logs, struct str topic, int32_t partition)
{
    remove_log(logs, topic, partition, false);
}

void logs_set_aside(struct logs *logs, struct str topic, int32_t partition)
{
    remove_log(logs, topic, partition, true);
}
