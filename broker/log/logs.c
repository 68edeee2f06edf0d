#include "log/logs_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/manifest.h"
#include "log/plog_internal.h"
#include "log/reaper.h"
#include "log/settle.h"
#include "log/shelf.h"

#define LOGGER "kafka.log.LogManager"

/* ---- directories ---- */

int64_t logs_hw_loaded(void *arg, struct logs_entry *entry)
{
    (void)arg;
    return entry->offset_hw;
}

enum err logs_open(const struct logs_options *options, struct logs **out, struct errmsg *msg)
{
    struct logs *logs = mem_new(struct logs);
    logs->options = *options;
    logs->hw_of = logs_hw_loaded;
    logs->news = new_logs_new();
    logs->shelf = shelf_new();
    logs->reaper = reaper_new(options->fs, options->clock, options->workers, options->on_put_aside,
                              options->arg);
    logs->dirs_count = options->dirs_count;
    logs->dirs = mem_zalloc((size_t)options->dirs_count, sizeof(*logs->dirs));
    int32_t usable = 0;
    enum err err = ERR_OK;
    for (int32_t i = 0; i < options->dirs_count; i++) {
        struct errmsg why;
        enum err one = logdir_open(&logs->dirs[i], options->fs, options->dirs[i],
                                   options->boot_id != NULL ? options->boot_id : "", &why);
        logs->dirs[i].flusher =
            flusher_new(logs->dirs[i].lock, options->flush_threads ? NULL : options->workers);
        logs->dirs[i].on_failed = options->on_dir_failed;
        logs->dirs[i].arg = options->arg;
        if (one == ERR_LOCKED || one == ERR_INVALID) {
            *msg = why;
            err = one;
        } else if (one != ERR_OK) {
            log_error(LOGGER, "cannot use a log directory", "%s", why.text);
            logdir_leave(&logs->dirs[i]);
            *msg = why;
        } else {
            usable++;
        }
    }
    if (err == ERR_OK && usable == 0) {
        err = ERR_KAFKA_STORAGE_ERROR;
    }
    if (err != ERR_OK) {
        logs_free(logs);
        return err;
    }
    *out = logs;
    return ERR_OK;
}

void logs_item_free(struct logs *logs, struct logs_item *item)
{
    HASH_DEL(logs->by_name, item);
    mem_free(item);
}

void logs_free(struct logs *logs)
{
    if (logs == NULL) {
        return;
    }
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        plog_abandon(item->entry.future);
        plog_abandon(item->entry.log);
        logs_item_free(logs, item);
    }
    logs_forget_preference(logs, NULL);
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        logdir_close(&logs->dirs[i]);
    }
    new_logs_free(logs->news);
    reaper_free(logs->reaper);
    shelf_put(logs->shelf);
    mem_free(logs->dirs);
    mem_free(logs);
}

int64_t logs_remove_due(struct logs *logs)
{
    return reaper_run(logs->reaper);
}

int32_t logs_dirs_count(const struct logs *logs)
{
    return logs->dirs_count;
}

struct logdir *logs_dir(struct logs *logs, int32_t i)
{
    must(i >= 0);
    must(i < logs->dirs_count);
    return &logs->dirs[i];
}

bool logs_suspect(const struct logs *logs)
{
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        if (logs->dirs[i].mark.suspect) {
            return true;
        }
    }
    return false;
}

void logs_trust(struct logs *logs)
{
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        logdir_trust(&logs->dirs[i]);
    }
}

enum err logs_stored_identity(struct logs *logs, int32_t *broker_id, const char **cluster_id,
                              struct errmsg *msg)
{
    const struct logdir *first = NULL;
    *broker_id = -1;
    *cluster_id = "";
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        const struct logdir *dir = &logs->dirs[i];
        if (dir->stored_broker_id < 0 && dir->stored_cluster_id[0] == '\0') {
            continue;
        }
        if (first == NULL) {
            first = dir;
            *broker_id = dir->stored_broker_id;
            *cluster_id = dir->stored_cluster_id;
        } else if (dir->stored_broker_id != *broker_id ||
                   strcmp(dir->stored_cluster_id, *cluster_id) != 0) {
            errmsg_set(msg,
                       "error[E-DATA-06]: two log directories belong to different brokers.\n"
                       "  %s: broker.id=%d cluster.id=%s\n  %s: broker.id=%d cluster.id=%s\n"
                       "  Correct log.dirs: every directory in it must be this broker's.",
                       first->path, first->stored_broker_id, first->stored_cluster_id, dir->path,
                       dir->stored_broker_id, dir->stored_cluster_id);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

enum err logs_set_identity(struct logs *logs, int32_t broker_id, const char *cluster_id,
                           struct errmsg *msg)
{
    int32_t usable = 0;
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        if (logdir_offline(dir)) {
            continue;
        }
        enum err err = logdir_set_identity(dir, broker_id, cluster_id);
        if (err != ERR_OK) {
            errmsg_set(msg, "error[E-DATA-05]: cannot write %s/meta.properties: %s.", dir->path,
                       err_text(err));
            log_error(LOGGER, "cannot use a log directory", "%s", msg->text);
            logdir_fail(dir);
        } else {
            usable++;
        }
    }
    return usable > 0 ? ERR_OK : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- the registry ---- */

struct logs_item *logs_find_item(struct logs *logs, struct str topic, int32_t partition)
{
    char name[TOPIC_NAME_MAX + 16];
    if (topic.size > TOPIC_NAME_MAX) {
        return NULL;
    }
    snprintf(name, sizeof(name), "%.*s-%" PRId32, STR_ARG(topic), partition);
    struct logs_item *item;
    HASH_FIND_STR(logs->by_name, name, item);
    return item;
}

struct logs_entry *logs_find(struct logs *logs, struct str topic, int32_t partition)
{
    struct logs_item *item = logs_find_item(logs, topic, partition);
    return item != NULL ? &item->entry : NULL;
}

struct logs_item *logs_add_item(struct logs *logs, const char *name, struct plog *log,
                                struct logdir *dir)
{
    size_t size = strlen(name);
    struct logs_item *item = mem_zalloc(1, sizeof(*item) + size + 1);
    memcpy(item->name, name, size);
    item->entry.log = log;
    item->entry.dir = dir;
    item->entry.offset_hw = -1;
    dir->logs_count++;
    HASH_ADD_KEYPTR(hh, logs->by_name, item->name, size, item);
    return item;
}

void logs_each(struct logs *logs, void (*fn)(void *arg, struct logs_entry *entry), void *arg)
{
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        fn(arg, &item->entry);
    }
}

/* ---- partition.metadata ---- */

enum err logs_read_topic_id(struct fs *fs, const char *dir, struct uuid *id)
{
    char *path = mem_printf("%s/" PARTITION_METADATA, dir);
    char *data;
    size_t size;
    *id = (struct uuid){{0}};
    enum err err = fs_read_all(fs, path, METADATA_FILE_MAX, &data, &size);
    if (err == ERR_OK) {
        const char *key = strstr(data, "topic_id: ");
        if (key != NULL) {
            struct str text = {key + 10, strcspn(key + 10, "\r\n ")};
            bool parsed = uuid_parse(text, id);
            err = parsed ? ERR_OK : ERR_CORRUPT;
        }
        mem_free(data);
    }
    if (err == ERR_CORRUPT || err == ERR_INVALID) { /* invalid: far too large */
        log_warn(LOGGER, "skipping damaged partition metadata", "file=%s", path);
        err = ERR_OK;
    }
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum { METADATA_TEXT_MAX = 64 };

static size_t metadata_text(struct uuid topic_id, char out[METADATA_TEXT_MAX])
{
    char text[UUID_TEXT_SIZE + 1];
    uuid_format(topic_id, text);
    return (size_t)snprintf(out, METADATA_TEXT_MAX, "version: 0\ntopic_id: %s", text);
}

/* Into the directory of a new log, which is not durable either. */
static enum err metadata_write_new(struct logdir *dir, const char *name, struct uuid topic_id)
{
    char content[METADATA_TEXT_MAX];
    size_t size = metadata_text(topic_id, content);
    char *path = mem_printf("%s/%s/" PARTITION_METADATA, dir->path, name);
    struct fs_file *file;
    enum err err = fs_open(dir->fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (err == ERR_OK) {
        err = fs_pwrite(file, content, size, 0);
        fs_close(file);
    }
    mem_free(path);
    return err;
}

enum err logs_set_topic_id(struct logs_entry *entry, struct uuid topic_id)
{
    char content[METADATA_TEXT_MAX];
    size_t size = metadata_text(topic_id, content);
    char *path = mem_printf("%s/" PARTITION_METADATA, plog_dir(entry->log));
    enum err err = fs_replace(entry->dir->fs, path, content, size);
    mem_free(path);
    if (err == ERR_OK) {
        entry->topic_id = topic_id;
    }
    return err;
}

/* ---- loading ---- */

static void on_log_failure(void *arg, enum err err)
{
    (void)err;
    struct logdir *dir = arg;
    logdir_fail(dir);
}

struct loading {
    struct logs *logs;
    struct logdir *dir;
    logs_config_fn *config_of;
    void *arg;
    struct errmsg *msg;
    int32_t loaded;
    /* In one piece: between the logs' own memory they would leave holes that nobody can use. */
    struct found *found;
    int32_t found_count;
    int32_t found_capacity;
    struct arena names;
};

/* A log that is to be opened, by one of several threads. */
struct found {
    struct work work;
    struct loading *loading;
    char *name;
    struct str topic; /* of the name */
    int32_t partition;
    struct plog *log; /* NULL: it could not be opened, or has been taken */
    struct uuid topic_id;
    enum err err;
    char *why; /* own memory; NULL: nothing is wrong */
};

enum err logs_open_log(struct logs *logs, struct logdir *dir, const char *name, struct str topic,
                       int32_t partition, const struct topic_config *config,
                       enum logs_open_kind kind, const struct manifest_log *known,
                       struct plog **out, struct errmsg *msg)
{
    char *path = mem_printf("%s/%s", dir->path, name);
    struct plog_options options = {
        .fs = dir->fs,
        .clock = logs->options.clock,
        .flusher = kind != LOGS_OPEN_FUTURE ? dir->flusher : NULL,
        .reaper = logs->reaper,
        .shelf = logs->shelf,
        .dir = path,
        .topic = topic,
        .partition = partition,
        .config = *config,
        .recovery_point = kind == LOGS_OPEN_LOADED
                              ? checkpoint_find(&dir->recovery_points, topic, partition)
                              : -1,
        .log_start_offset =
            kind == LOGS_OPEN_LOADED ? checkpoint_find(&dir->log_starts, topic, partition) : -1,
        .clean = dir->clean,
        .known = known,
        .rewrite = dir->rewrite,
        .producer_expiration_ms = logs->options.producer_expiration_ms,
        .on_failure = on_log_failure,
        .arg = dir,
    };
    enum err err = plog_open(&options, out, msg);
    mem_free(path);
    return err;
}

static bool never_used(const struct plog *log)
{
    return plog_offset_end(log) == 0;
}

/* Set aside what the making of a log has left that failed here and went on in another directory. */
static void bury_unused(struct logs *logs, struct logdir *dir, struct plog *log, struct str topic,
                        int32_t partition)
{
    char *path = mem_strdup(plog_dir(log));
    log_warn(LOGGER, "removing a log that was never used, there is another one", "dir=%s", path);
    plog_abandon(log);
    logs_bury(logs, dir, path, topic, partition, 0);
    mem_free(path);
}

/* The partition is in a directory that was loaded before, too. Where one of the two never held a
 * record it goes; else nobody but people can say which one counts. *again: load this one. */
static enum err load_twin(struct loading *loading, struct logs_item *twin, struct plog *log,
                          bool *again)
{
    struct str topic = plog_topic(log);
    int32_t partition = plog_partition(log);
    *again = false;
    if (never_used(log)) {
        bury_unused(loading->logs, loading->dir, log, topic, partition);
    } else if (never_used(twin->entry.log)) {
        bury_unused(loading->logs, twin->entry.dir, twin->entry.log, topic, partition);
        twin->entry.dir->logs_count--;
        logs_item_free(loading->logs, twin);
        *again = true;
    } else {
        errmsg_set(loading->msg,
                   "error[E-DATA-07]: partition %s is in two log directories, one of them %s.\n"
                   "  Move one of the two directories away.",
                   twin->name, loading->dir->path);
        plog_abandon(log);
        return ERR_EXISTS;
    }
    return ERR_OK;
}

void logs_give_up(struct logs *logs)
{
    atomic_store(&logs->given_up, true);
}

/* After a clean stop there is nothing to recover: that is soon over. */
static bool is_given_up(struct logs *logs, const struct logdir *dir)
{
    return !dir->clean && atomic_load(&logs->given_up);
}

/* On one of the threads. */
static void found_open(struct work *work)
{
    struct found *found = container_of(work, struct found, work);
    struct loading *loading = found->loading;
    struct logdir *dir = loading->dir;
    if (is_given_up(loading->logs, dir)) {
        found->err = ERR_CLOSED;
        return;
    }
    struct errmsg msg = {""};
    struct topic_config config;
    loading->config_of(loading->arg, found->topic, &config);
    const struct manifest_log *known =
        manifest_find(dir->manifest, dir->fs, dir->path, found->name);
    found->err = logs_open_log(loading->logs, dir, found->name, found->topic, found->partition,
                               &config, LOGS_OPEN_LOADED, known, &found->log, &msg);
    if (found->err == ERR_OK && known != NULL) {
        found->topic_id = known->topic_id;
    } else if (found->err == ERR_OK) {
        found->err = logs_read_topic_id(dir->fs, plog_dir(found->log), &found->topic_id);
    } else {
        found->log = NULL;
        found->why = mem_strdup(msg.text);
    }
}

static void found_add(struct loading *loading, const char *name)
{
    if (loading->found_count == loading->found_capacity) {
        loading->found_capacity = loading->found_capacity > 0 ? loading->found_capacity * 2 : 16;
        loading->found = mem_realloc(loading->found,
                                     (size_t)loading->found_capacity * sizeof(loading->found[0]));
    }
    struct found *found = &loading->found[loading->found_count++];
    *found = (struct found){.loading = loading, .work.run = found_open};
    found->name = arena_cstr(&loading->names, str_of(name));
    must(logdir_parse_name(found->name, &found->topic, &found->partition));
}

static void found_free(struct found *found)
{
    plog_abandon(found->log);
    mem_free(found->why);
}

/* The high watermark as checkpointed, at most the end. A log may have lost more than that: then the
 * file must not speak of other records with the same offsets after the next crash. */
static int64_t checked_hw(struct logdir *dir, const struct found *found, const struct plog *log)
{
    int64_t end = plog_offset_end(log);
    int64_t offset_hw = checkpoint_find(&dir->high_watermarks, found->topic, found->partition);
    int64_t synced = checkpoint_find(&dir->recovery_points, found->topic, found->partition);
    dir->checkpoints_stale = dir->checkpoints_stale || offset_hw > end || synced > end;
    return offset_hw < end ? offset_hw : end;
}

/* Enter an opened log. */
static enum err found_enter(struct loading *loading, struct found *found)
{
    if (found->err != ERR_OK) {
        errmsg_set(loading->msg, "%s", found->why != NULL ? found->why : "");
        return found->err;
    }
    struct plog *log = found->log;
    struct logs_item *twin = logs_find_item(loading->logs, found->topic, found->partition);
    bool load = true;
    found->log = NULL;
    enum err err = twin != NULL ? load_twin(loading, twin, log, &load) : ERR_OK;
    if (err != ERR_OK || !load) {
        return err;
    }
    struct logs_item *item = logs_add_item(loading->logs, found->name, log, loading->dir);
    item->entry.offset_hw = checked_hw(loading->dir, found, log);
    item->entry.topic_id = found->topic_id;
    loading->loaded++;
    return ERR_OK;
}

/* Open all that were found, several at a time, then enter them in the order in which they were
 * found, up to the first that fails. */
static enum err load_found(struct loading *loading, enum err err)
{
    if (err == ERR_OK) {
        struct worker_pool *threads =
            worker_pool_new("recovery", loading->logs->options.recovery_threads);
        for (int32_t i = 0; i < loading->found_count; i++) {
            worker_submit(threads, &loading->found[i].work);
        }
        worker_pool_free(threads); /* when all is done */
    }
    for (int32_t i = 0; i < loading->found_count; i++) {
        struct found *found = &loading->found[i];
        if (err == ERR_OK) {
            err = found_enter(loading, found);
        }
        found_free(found);
    }
    return err;
}

/* Does it speak of a log that is not there? The next one of that name must not be read by it. */
static bool has_gone(struct logs *logs, const struct logdir *dir,
                     const struct checkpoint *checkpoint)
{
    for (int32_t i = 0; i < checkpoint->count; i++) {
        const struct checkpoint_entry *entry = &checkpoint->entries[i];
        const struct logs_item *item = logs_find_item(logs, str_of(entry->topic), entry->partition);
        if (item == NULL || item->entry.dir != dir) {
            return true;
        }
    }
    return false;
}

static bool checkpoints_are_stale(struct logs *logs, const struct logdir *dir)
{
    return dir->checkpoints_stale || has_gone(logs, dir, &dir->recovery_points) ||
           has_gone(logs, dir, &dir->log_starts) || has_gone(logs, dir, &dir->high_watermarks);
}

static bool name_ends(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t tail = strlen(end);
    return size > tail && strcmp(name + size - tail, end) == 0;
}

static enum err on_dir_entry(void *arg, const char *name, bool is_dir)
{
    struct loading *loading = arg;
    struct str topic;
    int32_t partition;
    if (!is_dir || strcmp(name, "remote-log-index-cache") == 0 || name_ends(name, "-stray") ||
        name_ends(name, "-future") || name_ends(name, "-delete") ||
        strncmp(name, "__cluster_metadata-", 19) == 0 || strcmp(name, "lost+found") == 0) {
        return ERR_OK;
    }
    if (!logdir_parse_name(name, &topic, &partition)) {
        errmsg_set(loading->msg,
                   "error[E-DATA-08]: %s/%s is not a partition's directory.\n"
                   "  A log directory holds only what the broker puts there: directories named "
                   "topic-number. Move it away.",
                   loading->dir->path, name);
        return ERR_INVALID;
    }
    found_add(loading, name);
    return ERR_OK;
}

/* Of all its logs, future ones too. */
static bool cut_again(struct logs *logs, struct logdir *dir)
{
    bool good = true;
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        struct logs_entry *entry = &item->entry;
        if (entry->dir == dir) {
            good = plog_cut_again(entry->log) == ERR_OK && good;
        }
        if (entry->future != NULL && entry->future_dir == dir) {
            good = plog_cut_again(entry->future) == ERR_OK && good;
        }
    }
    return good;
}

/* Only when all that was written again is on the disk there is nothing to write again after the
 * next crash. */
static void sync_rewritten(struct logs *logs, struct logdir *dir)
{
    if (!cut_again(logs, dir) || !logs_flush_dir(logs, dir) || logdir_rewritten(dir) != ERR_OK) {
        logdir_fail(dir);
    }
}

/* Before anything is appended. Where there is no space for that, without a checkpoint high
 * watermarks are found out anew. */
static void correct_checkpoints(struct logs *logs, struct logdir *dir)
{
    enum err err = logdir_offline(dir) ? ERR_OK : logs_renew_checkpoints(logs, dir);
    if (err == ERR_NO_SPACE) {
        err = logdir_remove_checkpoints(dir);
    }
    if (err != ERR_OK) {
        logdir_fail(dir);
    }
}

/* The disk is well, and there are logs that nobody has looked at: the directory neither fails nor
 * serves. */
static enum err lacks_files(const struct logdir *dir, struct errmsg *msg)
{
    errmsg_set(msg,
               "error[E-DATA-12]: too many open files while loading the logs in %s.\n"
               "  A broker holds one for each segment and each connection. Raise the limit of the "
               "process (LimitNOFILE= of a systemd unit), for example:\n      ulimit -n 1048576",
               dir->path);
    return ERR_NO_FILES;
}

enum err logs_load(struct logs *logs, logs_config_fn *config_of, void *arg, struct errmsg *msg)
{
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        struct loading loading = {
            .logs = logs, .dir = dir, .config_of = config_of, .arg = arg, .msg = msg};
        if (logdir_offline(dir)) {
            continue;
        }
        if (is_given_up(logs, dir)) {
            return ERR_CLOSED;
        }
        int64_t begin_ms = clock_mono_ms(logs->options.clock);
        /* What the last process made or renamed there may be known to the page cache only. */
        enum err err = dir->clean ? ERR_OK : fs_sync_dir(dir->fs, dir->path);
        if (err == ERR_OK) {
            err = fs_list(dir->fs, dir->path, on_dir_entry, &loading);
        }
        if (err == ERR_OK) {
            err = logdir_take_marks(dir);
        }
        err = load_found(&loading, err);
        mem_free(loading.found);
        arena_fini(&loading.names);
        if (err == ERR_INVALID || err == ERR_EXISTS || err == ERR_CLOSED) {
            return err;
        }
        if (err == ERR_NO_FILES) {
            return lacks_files(dir, msg);
        }
        if (err != ERR_OK) {
            log_error(LOGGER, "cannot load logs", "dir=%s error=%s %s", dir->path, err_text(err),
                      msg->text);
            logdir_fail(dir);
        } else if (loading.loaded > 0) {
            log_info(LOGGER, "loaded logs", "dir=%s count=%d after=%s ms=%" PRId64, dir->path,
                     loading.loaded,
                     !dir->clean             ? "crash"
                     : dir->manifest != NULL ? "clean stop, with its manifest"
                                             : "clean stop",
                     clock_mono_ms(logs->options.clock) - begin_ms);
        }
    }
    enum err err = logs_load_futures(logs, config_of, arg, msg);
    for (int32_t i = 0; i < logs->dirs_count && err == ERR_OK; i++) {
        logs->dirs[i].checkpoints_stale = checkpoints_are_stale(logs, &logs->dirs[i]);
        correct_checkpoints(logs, &logs->dirs[i]);
        if (logs->dirs[i].rewrite && !logdir_offline(&logs->dirs[i])) {
            sync_rewritten(logs, &logs->dirs[i]);
        }
    }
    if (err == ERR_OK) {
        logs_remove_deleted(logs);
    }
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        logdir_loaded(&logs->dirs[i]);
    }
    return err;
}

/* ---- making ---- */

static struct logdir *choose_dir(struct logs *logs, const char *name)
{
    struct logdir *best = logs_preferred(logs, name);
    if (best != NULL && !logdir_offline(best)) {
        return best;
    }
    best = NULL;
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        if (!logdir_offline(dir) && (best == NULL || dir->logs_count < best->logs_count)) {
            best = dir;
        }
    }
    return best;
}

enum err logs_renew_checkpoints(struct logs *logs, struct logdir *dir)
{
    return dir->checkpoints_stale ? logs_write_checkpoints(logs, dir, logs->hw_of, logs->hw_arg)
                                  : ERR_OK;
}

static enum err make_dir(struct logdir *dir, const char *name)
{
    char *path = mem_printf("%s/%s", dir->path, name);
    enum err err = fs_mkdir(dir->fs, path);
    mem_free(path);
    return err == ERR_EXISTS ? ERR_OK : err; /* from an attempt that failed */
}

/* Nothing is synced: see logs_settle(). */
static enum err create_in(struct logs *logs, struct logdir *dir, const char *name, struct str topic,
                          int32_t partition, struct uuid topic_id,
                          const struct topic_config *config, struct logs_entry **out)
{
    struct errmsg msg = {""};
    struct plog *log;
    /* The last of this name may still be in the checkpoints: a crash must not give its offsets to
     * the new one. */
    enum err err = logs_renew_checkpoints(logs, dir);
    if (err == ERR_OK) {
        err = make_dir(dir, name);
    }
    if (err == ERR_OK && !uuid_is_zero(topic_id)) {
        err = metadata_write_new(dir, name, topic_id);
    }
    if (err == ERR_OK) {
        err = logs_open_log(logs, dir, name, topic, partition, config, LOGS_OPEN_NEW, NULL, &log,
                            &msg);
    }
    if (err != ERR_OK) {
        log_error(LOGGER, "cannot make a log", "dir=%s name=%s error=%s %s", dir->path, name,
                  err_text(err), msg.text);
        return err;
    }
    struct logs_item *item = logs_add_item(logs, name, log, dir);
    item->entry.topic_id = topic_id;
    new_logs_add(logs->news, log, dir);
    *out = &item->entry;
    return ERR_OK;
}

void logs_settle(struct logs *logs, struct loop *loop, void (*done)(void *arg), void *arg)
{
    new_logs_settle(logs->news, logs->options.workers, loop, done, arg);
}

enum err logs_create(struct logs *logs, struct str topic, int32_t partition, struct uuid topic_id,
                     const struct topic_config *config, struct logs_entry **out)
{
    char *name = mem_printf("%.*s-%" PRId32, STR_ARG(topic), partition);
    enum err err = ERR_KAFKA_STORAGE_ERROR;
    struct logdir *dir;
    while (err != ERR_OK && (dir = choose_dir(logs, name)) != NULL) {
        err = create_in(logs, dir, name, topic, partition, topic_id, config, out);
        if (err != ERR_OK) {
            logdir_fail(dir); /* and try the next one */
        }
    }
    logs_forget_preference(logs, name);
    mem_free(name);
    return err == ERR_OK ? ERR_OK : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- checkpoints ---- */

struct checkpoints {
    struct checkpoint recovery_points;
    struct checkpoint log_starts;
    struct checkpoint high_watermarks;
};

/* Of all that the files would say, without making them: nearly always nothing has changed. Never 0.
 */
static uint64_t checkpoints_digest(struct logs *logs, struct logdir *dir, logs_hw_fn *hw_of,
                                   void *arg)
{
    uint64_t digest = 0;
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        if (item->entry.dir == dir) {
            int64_t numbers[] = {item->hh.hashv, plog_recovery_point(item->entry.log),
                                 plog_log_start(item->entry.log), hw_of(arg, &item->entry),
                                 atomic_load(&item->entry.log->start_lowered)};
            digest = bytes_hash(numbers, sizeof(numbers), digest);
        }
    }
    return digest != 0 ? digest : 1;
}

static void gather_checkpoints(struct logs *logs, struct logdir *dir, logs_hw_fn *hw_of, void *arg,
                               struct checkpoints *all)
{
    struct logs_item *item;
    struct logs_item *next;
    HASH_ITER (hh, logs->by_name, item, next) {
        struct plog *log = item->entry.log;
        if (item->entry.dir != dir) {
            continue;
        }
        struct str topic = plog_topic(log);
        int32_t partition = plog_partition(log);
        checkpoint_add(&all->recovery_points, topic, partition, plog_recovery_point(log));
        item->start_lowered = atomic_load(&log->start_lowered); /* before the start */
        /* Kafka leaves out starts that are a segment's anyway. With them here, segments that a
         * power failure brings back are not served. */
        if (plog_log_start(log) > 0) {
            checkpoint_add(&all->log_starts, topic, partition, plog_log_start(log));
        }
        int64_t offset_hw = hw_of(arg, &item->entry);
        if (offset_hw >= 0) {
            checkpoint_add(&all->high_watermarks, topic, partition, offset_hw);
        }
    }
}

/* Checkpoints that know of starts which went down are on the disk. */
static enum err tell_lowered(struct logs *logs, const struct logdir *dir)
{
    struct logs_item *item;
    struct logs_item *next;
    enum err err = ERR_OK;
    HASH_ITER (hh, logs->by_name, item, next) {
        if (item->entry.dir == dir && err == ERR_OK) {
            err = plog_lowered_told(item->entry.log, item->start_lowered);
        }
    }
    return err;
}

enum err logs_write_checkpoints(struct logs *logs, struct logdir *dir, logs_hw_fn *hw_of, void *arg)
{
    struct checkpoints all = {0};
    /* Taken first: what moves meanwhile is seen as a change the next time. */
    uint64_t digest = checkpoints_digest(logs, dir, hw_of, arg);
    if (digest == dir->checkpoints_digest && !dir->checkpoints_stale) {
        return ERR_OK;
    }
    gather_checkpoints(logs, dir, hw_of, arg, &all);
    enum err err = logdir_write_checkpoint(dir, LOGDIR_RECOVERY_POINTS, &all.recovery_points);
    if (err == ERR_OK) {
        err = logdir_write_checkpoint(dir, LOGDIR_LOG_STARTS, &all.log_starts);
    }
    if (err == ERR_OK) {
        err = logdir_write_checkpoint(dir, LOGDIR_HIGH_WATERMARKS, &all.high_watermarks);
    }
    if (err == ERR_OK) {
        err = tell_lowered(logs, dir);
    }
    dir->checkpoints_digest = err == ERR_OK ? digest : 0;
    dir->checkpoints_stale = dir->checkpoints_stale && err != ERR_OK;
    checkpoint_fini(&all.recovery_points);
    checkpoint_fini(&all.log_starts);
    checkpoint_fini(&all.high_watermarks);
    return err;
}

void logs_checkpoint(struct logs *logs, logs_hw_fn *hw_of, void *arg)
{
    logs->hw_of = hw_of;
    logs->hw_arg = arg;
    for (int32_t i = 0; i < logs->dirs_count; i++) {
        struct logdir *dir = &logs->dirs[i];
        if (!logdir_offline(dir) && logs_write_checkpoints(logs, dir, hw_of, arg) != ERR_OK) {
            logdir_fail(dir);
        }
    }
}
