/* logs_fixture.h: the log directories of a broker on a simulated disk, for the tests of struct
 * logs. */
#pragma once

#include "log/logs.h"

#include "log_fixture.h"

struct dirs {
    struct fs_sim *sim;
    struct fs_fault *fault;
    struct fs *fs;
    struct clock_manual clock;
    struct worker_pool *workers;
    int recovery_threads;
    struct logs *logs;
    struct errmsg msg;
    char failed[256]; /* directories that were reported */
    const char *boot_id;
    int32_t count;
};

static inline void on_dir_failed(void *arg, const char *dir)
{
    struct dirs *d = arg;
    size_t used = strlen(d->failed);
    snprintf(d->failed + used, sizeof(d->failed) - used, "%s;", dir);
}

static inline void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg;
    (void)topic;
    *out = log_config();
}

/* `seed` decides what a power failure leaves. */
static inline void begin_with(struct dirs *d, uint64_t seed)
{
    *d = (struct dirs){.sim = fs_sim_new(seed), .count = 2};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    d->fault = fs_fault_new(fs_sim_fs(d->sim));
    d->fs = fs_fault_fs(d->fault);
    d->workers = worker_pool_new("test", 0);
    clock_manual_init(&d->clock, LOG_EPOCH_MS);
}

static inline void begin(struct dirs *d)
{
    begin_with(d, 1);
}

static inline enum err open_dirs(struct dirs *d)
{
    static const char *const names[] = {"/a", "/b", "/c"};
    struct logs_options options = {
        .fs = d->fs,
        .clock = &d->clock.clock,
        .workers = d->workers,
        .recovery_threads = d->recovery_threads,
        .dirs = names,
        .dirs_count = d->count,
        .producer_expiration_ms = INT64_C(24) * 3600 * 1000,
        .boot_id = d->boot_id,
        .on_dir_failed = on_dir_failed,
        .arg = d,
    };
    d->msg.text[0] = '\0';
    enum err err = logs_open(&options, &d->logs, &d->msg);
    if (err != ERR_OK) {
        d->logs = NULL;
        return err;
    }
    err = logs_set_identity(d->logs, 7, "cluster-one", &d->msg);
    return err == ERR_OK ? logs_load(d->logs, config_of, NULL, &d->msg) : err;
}

static inline void open_ok(struct dirs *d)
{
    cr_assert_eq(open_dirs(d), ERR_OK, "%s", d->msg.text);
}

static inline int64_t hw_of(void *arg, struct logs_entry *entry)
{
    (void)arg;
    return plog_offset_end(entry->log);
}

static inline bool close_dirs(struct dirs *d)
{
    bool clean = logs_close(d->logs, hw_of, NULL);
    while (worker_pool_step(d->workers)) {
    }
    logs_free(d->logs);
    d->logs = NULL;
    return clean;
}

/* As the end of the process. */
static inline void kill_dirs(struct dirs *d)
{
    while (worker_pool_step(d->workers)) {
    }
    logs_free(d->logs);
    d->logs = NULL;
    fs_sim_kill(d->sim);
}

static inline void end(struct dirs *d)
{
    if (d->logs != NULL) {
        kill_dirs(d);
    }
    worker_pool_free(d->workers);
    fs_fault_free(d->fault);
    fs_sim_free(d->sim);
}

static inline struct logs_entry *create(struct dirs *d, const char *topic, int32_t partition)
{
    struct topic_config config = log_config();
    struct logs_entry *entry;
    struct uuid id = {{7}};
    cr_assert_eq(logs_create(d->logs, str_of(topic), partition, id, &config, &entry), ERR_OK);
    logs_settle(d->logs, NULL, NULL, NULL);
    return entry;
}

static inline enum err append(struct logs_entry *entry, int records)
{
    struct buf data = make_batch((struct batch_want){.records = records, .first_ms = 1});
    struct plog_batch batch = plog_batch_of(&data);
    plog_append_leader(entry->log, &batch, 1, 0, LOG_EPOCH_MS);
    buf_fini(&data);
    return batch.err;
}

static inline bool exists(struct dirs *d, const char *path)
{
    struct fs_stat st;
    return fs_stat(fs_sim_fs(d->sim), path, &st) == ERR_OK;
}

static inline void put(struct dirs *d, const char *path, const char *text)
{
    struct fs_file *file;
    struct fs *fs = fs_sim_fs(d->sim);
    cr_assert_eq(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, text, strlen(text), 0), ERR_OK);
    fs_close(file);
}
