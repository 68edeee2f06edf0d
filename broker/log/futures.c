/* futures.c: logs on their way to another directory, as the registry sees them: making one,
 * dropping one, the change of place, and what a start does with those it finds. See move.h. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/logs_internal.h"
#include "log/move.h"
#include "log/reaper.h"

#define LOGGER "kafka.log.LogManager"

struct logdir *logs_find_dir(struct logs *logs, struct str path)
{
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        if (str_is(path, logs->dirs[i].path)) {
            return &logs->dirs[i];
        }
    }
    return NULL;
}

/* ---- preferences ---- */

static struct logs_preference *find_preference(struct logs *logs, const char *name)
{
    struct logs_preference *found;
    HASH_FIND_STR(logs->preferences, name, found);
    return found;
}

static void forget(struct logs *logs, struct logs_preference *preference)
{
    HASH_DEL(logs->preferences, preference);
    mem_free(preference->name);
    mem_free(preference);
}

/* NULL: all. */
void logs_forget_preference(struct logs *logs, const char *name)
{
    struct logs_preference *one = name != NULL ? find_preference(logs, name) : NULL;
    struct logs_preference *next;
    if (one != NULL) {
        forget(logs, one);
    } else if (name == NULL) {
        HASH_ITER (hh, logs->preferences, one, next) {
            forget(logs, one);
        }
    }
}

struct logdir *logs_preferred(struct logs *logs, const char *name)
{
    const struct logs_preference *found = find_preference(logs, name);
    return found != NULL ? found->dir : NULL;
}

void logs_prefer(struct logs *logs, struct str topic, int32_t partition, struct logdir *dir)
{
    char *name = mem_printf("%.*s-%" PRId32, STR_ARG(topic), partition);
    struct logs_preference *preference = find_preference(logs, name);
    if (preference == NULL && HASH_COUNT(logs->preferences) >= LOGS_PREFERENCES_MAX) {
        static struct log_limit limit;
        log_limited(&limit, LOG_WARN, LOGGER, "not remembering where a log is to be made",
                    "name=%s; so many others wait to be made already: %d", name,
                    LOGS_PREFERENCES_MAX);
        mem_free(name);
        return;
    }
    if (preference == NULL) {
        preference = mem_new(struct logs_preference);
        preference->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, logs->preferences, preference->name, strlen(preference->name),
                        preference);
    }
    preference->dir = dir;
    mem_free(name);
}

/* ---- making and dropping ---- */

static struct logs_item *item_of(struct logs_entry *entry)
{
    return container_of(entry, struct logs_item, entry);
}

static enum err make_in(struct logs *logs, struct logs_entry *entry, struct logdir *dir,
                        const char *name, const struct topic_config *config)
{
    struct errmsg msg = {""};
    struct logs_entry future = {.dir = dir};
    enum err err = logs_renew_checkpoints(logs, dir);
    if (err == ERR_OK) {
        err = logs_open_log(logs, dir, name, plog_topic(entry->log), plog_partition(entry->log),
                            config, LOGS_OPEN_FUTURE, NULL, &future.log, &msg);
    }
    if (err == ERR_OK && !uuid_is_zero(entry->topic_id)) {
        err = logs_set_topic_id(&future, entry->topic_id);
    }
    if (err != ERR_OK) {
        log_error(LOGGER, "cannot make a log", "dir=%s name=%s error=%s %s", dir->path, name,
                  err_text(err), msg.text);
        plog_abandon(future.log);
        logdir_fail(dir);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    entry->future = future.log;
    entry->future_dir = dir;
    dir->logs_count++;
    return ERR_OK;
}

enum err logs_make_future(struct logs *logs, struct logs_entry *entry, struct logdir *dir,
                          const struct topic_config *config)
{
    must(entry->future == NULL);
    must(dir != entry->dir);
    if (logdir_offline(dir)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    char *name = mem_printf("%s.%016" PRIx64 "%016" PRIx64 "-future", item_of(entry)->name,
                            (uint64_t)clock_wall_ms(logs->options.clock), ++logs->deletions);
    enum err err = strlen(name) <= LOGS_NAME_MAX ? make_in(logs, entry, dir, name, config)
                                                 : ERR_INVALID_TOPIC_EXCEPTION;
    mem_free(name);
    return err;
}

static void forget_future(struct logs_entry *entry)
{
    entry->future_dir->logs_count--;
    entry->future = NULL;
    entry->future_dir = NULL;
}

void logs_drop_future(struct logs *logs, struct logs_entry *entry)
{
    if (entry->future == NULL) {
        return;
    }
    char *path = mem_strdup(plog_dir(entry->future));
    plog_abandon(entry->future);
    if (!logdir_offline(entry->future_dir)) {
        logs_bury(logs, entry->future_dir, path, plog_topic(entry->log), plog_partition(entry->log),
                  0);
    }
    mem_free(path);
    forget_future(entry);
}

struct plog *logs_moved(struct logs *logs, struct logs_entry *entry, struct plog *moved,
                        const char *left_behind)
{
    struct plog *old = entry->log;
    struct logdir *dir = entry->dir;
    entry->log = moved;
    entry->dir = entry->future_dir;
    dir->logs_count--;
    dir->checkpoints_stale = true;
    plog_abandon(entry->future); /* its files are those of `moved` */
    entry->future = NULL;
    entry->future_dir = NULL;
    /* Now, for those of the old directory do not count for it any more: what was deleted from it
     * would be there again after a crash. */
    if (!logdir_offline(entry->dir) &&
        logs_write_checkpoints(logs, entry->dir, logs->hw_of, logs->hw_arg) != ERR_OK) {
        logdir_fail(entry->dir);
    }
    reaper_add(logs->reaper, left_behind, 0);
    return old;
}

/* ---- at a start ---- */

struct future_start {
    struct logs *logs;
    struct logdir *dir;
    logs_config_fn *config_of;
    void *arg;
    struct errmsg *msg;
    bool all_dirs; /* every directory could be read: a log that is not found is not here */
};

/* "topic-3.<32 digits>-future"; *current (mem_free) is "topic-3". */
static bool parse_name(const char *name, char **current, struct str *topic, int32_t *partition)
{
    size_t size = strlen(name);
    const char *suffix = name + size - MOVE_SUFFIX_SIZE;
    if (size <= MOVE_SUFFIX_SIZE || strcmp(name + size - 7, "-future") != 0 || suffix[0] != '.') {
        return false;
    }
    for (int i = 1; i <= 32; i++) {
        if (!isxdigit((unsigned char)suffix[i])) {
            return false;
        }
    }
    *current = mem_strndup(name, size - MOVE_SUFFIX_SIZE);
    if (logdir_parse_name(*current, topic, partition)) {
        return true;
    }
    mem_free(*current);
    return false;
}

/* Steps 4 and 5 of a change of place that a crash has ended. */
static enum err promote(struct future_start *start, const char *path, const char *name,
                        struct str topic, int32_t partition)
{
    struct logdir *dir = start->dir;
    struct topic_config config;
    struct plog *log;
    char *final_path = move_final_path(path);
    enum err err = fs_rename(dir->fs, path, final_path);
    if (err == ERR_OK) {
        err = fs_sync_dir(dir->fs, dir->path);
    }
    if (err == ERR_OK) {
        start->config_of(start->arg, topic, &config);
        err = logs_open_log(start->logs, dir, name, topic, partition, &config, LOGS_OPEN_LOADED,
                            NULL, &log, start->msg);
    }
    if (err == ERR_OK) {
        struct logs_item *item = logs_add_item(start->logs, name, log, dir);
        item->entry.offset_hw = checkpoint_find(&dir->high_watermarks, topic, partition);
        err = logs_read_topic_id(dir->fs, final_path, &item->entry.topic_id);
        log_info(LOGGER, "finished a move between directories", "dir=%s", final_path);
    }
    mem_free(final_path);
    return err;
}

/* Go on filling it. */
static enum err resume(struct future_start *start, const char *path, const char *name,
                       struct logs_item *item)
{
    struct logdir *dir = start->dir;
    struct topic_config config;
    struct uuid topic_id;
    struct plog *log;
    struct str topic = plog_topic(item->entry.log);
    enum err err = logs_read_topic_id(dir->fs, path, &topic_id);
    if (err != ERR_OK) {
        return err;
    }
    bool other = item->entry.future != NULL || item->entry.dir == dir ||
                 (!uuid_is_zero(topic_id) && !uuid_eq(topic_id, item->entry.topic_id));
    if (other) {
        logs_bury(start->logs, dir, path, topic, plog_partition(item->entry.log), 0);
        return ERR_OK;
    }
    start->config_of(start->arg, topic, &config);
    err = logs_open_log(start->logs, dir, name, topic, plog_partition(item->entry.log), &config,
                        LOGS_OPEN_FUTURE, NULL, &log, start->msg);
    if (err == ERR_OK) {
        item->entry.future = log;
        item->entry.future_dir = dir;
        dir->logs_count++;
    }
    return err;
}

static enum err take_future(struct future_start *start, const char *path, const char *name,
                            const char *current, struct str topic, int32_t partition)
{
    struct logdir *dir = start->dir;
    struct logs_item *item = logs_find_item(start->logs, topic, partition);
    char *marker = mem_printf("%s/" MOVE_COMPLETE_NAME, path);
    struct fs_stat stat;
    enum err marked = fs_stat(dir->fs, marker, &stat);
    enum err err = marked == ERR_NOT_FOUND ? ERR_OK : marked;
    if (err == ERR_OK && item == NULL && marked == ERR_OK && start->all_dirs) {
        err = promote(start, path, current, topic, partition);
    } else if (err == ERR_OK && item == NULL) {
        log_warn(LOGGER, "a log on its way to another directory is left alone",
                 "dir=%s; the log that it was copied from is not here", path);
    } else if (err == ERR_OK) {
        /* The current log is there, so it counts, whatever was about to happen. */
        if (marked == ERR_OK) {
            err = fs_unlink(dir->fs, marker);
            err = err == ERR_OK ? fs_sync_dir(dir->fs, path) : err;
        }
        err = err == ERR_OK ? resume(start, path, name, item) : err;
    }
    mem_free(marker);
    return err;
}

static enum err on_future(void *arg, const char *name, bool is_dir)
{
    struct future_start *start = arg;
    struct str topic;
    int32_t partition;
    char *current;
    if (!is_dir || !parse_name(name, &current, &topic, &partition)) {
        return ERR_OK;
    }
    char *path = mem_printf("%s/%s", start->dir->path, name);
    enum err err = take_future(start, path, name, current, topic, partition);
    mem_free(path);
    mem_free(current);
    return err;
}

static bool all_online(const struct logs *logs)
{
    bool all = true;
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        all = all && !logdir_offline(&logs->dirs[i]);
    }
    return all;
}

enum err logs_load_futures(struct logs *logs, logs_config_fn *config_of, void *arg,
                           struct errmsg *msg)
{
    struct future_start start = {logs, NULL, config_of, arg, msg, all_online(logs)};
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        start.dir = dir;
        enum err err =
            logdir_offline(dir) ? ERR_OK : fs_list(dir->fs, dir->path, on_future, &start);
        if (err != ERR_OK) {
            log_error(LOGGER, "cannot load logs", "dir=%s error=%s %s", dir->path, err_text(err),
                      msg->text);
            logdir_fail(dir);
        }
    }
    return ERR_OK;
}

/* Is there a log of the partition that "topic-3.<32 digits>-delete" was of? */
static bool has_successor(struct logs *logs, const char *name)
{
    struct str topic;
    int32_t partition;
    const char *dot = strrchr(name, '.');
    char *log = dot != NULL ? mem_strndup(name, (size_t)(dot - name)) : mem_strdup("");
    bool found = logdir_parse_name(log, &topic, &partition) &&
                 logs_find_item(logs, topic, partition) != NULL;
    mem_free(log);
    return found;
}

/* What was deleted goes. Where a directory is offline it may also be all that is left: of a log
 * whose successor there had everything, but not its name yet (move.h). */
static enum err on_deleted(void *arg, const char *name, bool is_dir)
{
    struct future_start *start = arg;
    size_t size = strlen(name);
    if (!is_dir || size <= 7 || strcmp(name + size - 7, "-delete") != 0) {
        return ERR_OK;
    }
    char *path = mem_printf("%s/%s", start->dir->path, name);
    if (start->all_dirs || has_successor(start->logs, name)) {
        reaper_add(start->logs->reaper, path, 0);
    } else {
        log_warn(LOGGER, "a log that was deleted or moved is left alone",
                 "dir=%s; a log directory is offline, and might have to be done without", path);
    }
    mem_free(path);
    return ERR_OK;
}

void logs_remove_deleted(struct logs *logs)
{
    struct future_start start = {.logs = logs, .all_dirs = all_online(logs)};
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        start.dir = dir;
        if (!logdir_offline(dir) && fs_list(dir->fs, dir->path, on_deleted, &start) != ERR_OK) {
            logdir_fail(dir);
        }
    }
}
