/* All log directories of a broker: opening, identity, locks, spreading partitions, failing and
 * stopping; each directory file in good and in bad shape. */
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

static void on_dir_failed(void *arg, const char *dir)
{
    struct dirs *d = arg;
    size_t used = strlen(d->failed);
    snprintf(d->failed + used, sizeof(d->failed) - used, "%s;", dir);
}

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg;
    (void)topic;
    *out = log_config();
}

static void begin(struct dirs *d)
{
    *d = (struct dirs){.sim = fs_sim_new(1), .count = 2};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    d->fault = fs_fault_new(fs_sim_fs(d->sim));
    d->fs = fs_fault_fs(d->fault);
    d->workers = worker_pool_new("test", 0);
    clock_manual_init(&d->clock, LOG_EPOCH_MS);
}

static enum err open_dirs(struct dirs *d)
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

static void open_ok(struct dirs *d)
{
    cr_assert_eq(open_dirs(d), ERR_OK, "%s", d->msg.text);
}

static int64_t hw_of(void *arg, struct logs_entry *entry)
{
    (void)arg;
    return plog_offset_end(entry->log);
}

static bool close_dirs(struct dirs *d)
{
    bool clean = logs_close(d->logs, hw_of, NULL);
    while (worker_pool_step(d->workers)) {
    }
    logs_free(d->logs);
    d->logs = NULL;
    return clean;
}

/* As the end of the process. */
static void kill_dirs(struct dirs *d)
{
    while (worker_pool_step(d->workers)) {
    }
    logs_free(d->logs);
    d->logs = NULL;
    fs_sim_kill(d->sim);
}

static void end(struct dirs *d)
{
    if (d->logs != NULL) {
        kill_dirs(d);
    }
    worker_pool_free(d->workers);
    fs_fault_free(d->fault);
    fs_sim_free(d->sim);
}

static struct logs_entry *create(struct dirs *d, const char *topic, int32_t partition)
{
    struct topic_config config = log_config();
    struct logs_entry *entry;
    struct uuid id = {{7}};
    cr_assert_eq(logs_create(d->logs, str_of(topic), partition, id, &config, &entry), ERR_OK);
    logs_settle(d->logs, NULL, NULL, NULL);
    return entry;
}

static enum err append(struct logs_entry *entry, int records)
{
    struct buf data = make_batch((struct batch_want){.records = records, .first_ms = 1});
    struct plog_batch batch = plog_batch_of(&data);
    plog_append_leader(entry->log, &batch, 1, 0, LOG_EPOCH_MS);
    buf_fini(&data);
    return batch.err;
}

static bool exists(struct dirs *d, const char *path)
{
    struct fs_stat st;
    return fs_stat(fs_sim_fs(d->sim), path, &st) == ERR_OK;
}

static void put(struct dirs *d, const char *path, const char *text)
{
    struct fs_file *file;
    struct fs *fs = fs_sim_fs(d->sim);
    cr_assert_eq(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, text, strlen(text), 0), ERR_OK);
    fs_close(file);
}

/* ---- partitions ---- */

Test(logs, spread_partitions_and_find_them_again)
{
    for (int clean = 0; clean < 2; clean++) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        for (int32_t i = 0; i < 4; i++) {
            cr_assert_eq(append(create(&d, "orders", i), i + 1), ERR_OK);
        }
        cr_assert_eq(logs_dir(d.logs, 0)->logs_count, 2);
        cr_assert_eq(logs_dir(d.logs, 1)->logs_count, 2);
        logs_checkpoint(d.logs, hw_of, NULL);
        if (clean) {
            cr_assert(close_dirs(&d));
        } else {
            kill_dirs(&d);
        }
        open_ok(&d);
        for (int32_t i = 0; i < 4; i++) {
            struct logs_entry *entry = logs_find(d.logs, STR("orders"), i);
            cr_assert_not_null(entry);
            cr_assert_eq(plog_offset_end(entry->log), i + 1);
            cr_assert_eq(entry->offset_hw, i + 1);
            cr_assert_eq(entry->topic_id.raw[0], 7);
        }
        cr_assert_null(logs_find(d.logs, STR("orders"), 4));
        end(&d);
    }
}

Test(logs, a_deleted_partition_does_not_come_back_after_a_power_failure)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    logs_delete(d.logs, STR("orders"), 0);
    cr_assert_null(logs_find(d.logs, STR("orders"), 0));
    cr_assert_eq(plog_offset_end(create(&d, "orders", 0)->log), 0, "the same name, anew");
    logs_free(d.logs);
    d.logs = NULL;
    while (worker_pool_step(d.workers)) {
    }
    fs_sim_crash(d.sim);
    open_ok(&d);
    struct logs_entry *entry = logs_find(d.logs, STR("orders"), 0);
    cr_assert(entry == NULL || plog_offset_end(entry->log) == 0);
    end(&d);
}

static bool take_away(struct dirs *d, const char *name)
{
    bool found = false;
    for (int32_t i = 0; i < logs_dirs_count(d->logs); i++) {
        char *path = mem_printf("%s/%s", logs_dir(d->logs, i)->path, name);
        enum err err = fs_unlink(fs_sim_fs(d->sim), path);
        found = found || err == ERR_OK;
        mem_free(path);
    }
    return found;
}

/* Checkpoints are written when any of their numbers has changed, or a log came or went, and else
 * not. */
Test(logs, checkpoints_are_written_when_something_has_changed)
{
    static const char hw[] = "replication-offset-checkpoint";
    static const char points[] = "recovery-point-offset-checkpoint";
    static const char starts[] = "log-start-offset-checkpoint";
    struct dirs d;
    begin(&d);
    open_ok(&d);
    struct logs_entry *entry = create(&d, "orders", 0);
    cr_assert_eq(append(create(&d, "other", 0), 4), ERR_OK);
    cr_assert_eq(append(entry, 9), ERR_OK);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_assert(take_away(&d, hw));
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_expect(!take_away(&d, hw), "nothing has changed");
    cr_assert_eq(append(entry, 1), ERR_OK);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_expect(take_away(&d, hw), "a high watermark");
    (void)take_away(&d, points);
    cr_assert_eq(plog_flush(entry->log), ERR_OK);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_expect(take_away(&d, points), "a recovery point");
    cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
    (void)take_away(&d, starts);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_expect(take_away(&d, starts), "a log start");
    cr_assert_eq(append(create(&d, "third", 0), 4), ERR_OK);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_expect(take_away(&d, hw), "a log came");
    logs_delete(d.logs, STR("other"), 0);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_expect(take_away(&d, hw), "a log went");
    end(&d);
}

/* The checkpoints read at the start still knew the old one. */
Test(logs, a_topic_made_again_begins_at_offset_0)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    struct logs_entry *entry = create(&d, "orders", 0);
    cr_assert_eq(append(entry, 9), ERR_OK);
    cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
    cr_assert(close_dirs(&d));
    open_ok(&d);
    logs_delete(d.logs, STR("orders"), 0);
    entry = create(&d, "orders", 0);
    cr_assert_eq(plog_log_start(entry->log), 0);
    cr_assert_eq(plog_offset_end(entry->log), 0);
    end(&d);
}

/* So did those on the disk, for the start after a crash. */
Test(logs, a_topic_made_again_does_not_inherit_checkpoints)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    struct logs_entry *entry = create(&d, "orders", 0);
    cr_assert_eq(append(create(&d, "other", 0), 4), ERR_OK);
    cr_assert_eq(append(entry, 9), ERR_OK);
    cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
    cr_assert_eq(plog_flush(entry->log), ERR_OK);
    logs_checkpoint(d.logs, hw_of, NULL);
    logs_delete(d.logs, STR("orders"), 0);
    entry = create(&d, "orders", 0);
    cr_assert_eq(append(entry, 3), ERR_OK);
    kill_dirs(&d);
    open_ok(&d);
    entry = logs_find(d.logs, STR("orders"), 0);
    cr_assert_eq(plog_log_start(entry->log), 0);
    cr_assert_eq(plog_offset_end(entry->log), 3);
    cr_assert_leq(entry->offset_hw, 0);
    cr_assert_leq(checkpoint_find(&entry->dir->recovery_points, STR("orders"), 0), 0);
    cr_assert_eq(logs_find(d.logs, STR("other"), 0)->offset_hw, 4);
    end(&d);
}

/* A log lost everything with the power; what came next had the same offsets, and after another
 * crash the high watermark of what had been lost, in the middle of a batch. Found by the simulator.
 */
Test(logs, a_high_watermark_of_what_was_lost_does_not_come_back)
{
    for (int full = 0; full < 2; full++) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        struct logs_entry *entry = create(&d, "orders", 0);
        char *path = mem_printf("%s/orders-0/00000000000000000000.log", entry->dir->path);
        cr_assert_eq(append(entry, 9), ERR_OK);
        logs_checkpoint(d.logs, hw_of, NULL);
        kill_dirs(&d);
        put(&d, path, "");
        mem_free(path);
        fs_sim_set_capacity(d.sim, full == 1 ? 0 : INT64_MAX);
        open_ok(&d);
        entry = logs_find(d.logs, STR("orders"), 0);
        cr_assert_eq(plog_offset_end(entry->log), 0);
        cr_assert_leq(entry->offset_hw, 0);
        fs_sim_set_capacity(d.sim, INT64_MAX);
        cr_assert_eq(append(entry, 20), ERR_OK);
        kill_dirs(&d);
        open_ok(&d);
        entry = logs_find(d.logs, STR("orders"), 0);
        cr_assert_eq(plog_offset_end(entry->log), 20);
        cr_assert_leq(entry->offset_hw, 0);
        end(&d);
    }
}

Test(logs, finish_deletions_and_leave_what_is_set_aside)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    cr_assert(close_dirs(&d));
    struct fs *fs = fs_sim_fs(d.sim);
    cr_assert_eq(
        fs_rename(fs, "/a/orders-0", "/a/orders-0.0123456789abcdef0123456789abcdef-delete"),
        ERR_OK);
    cr_assert_eq(fs_mkdir(fs, "/a/x-1.0123456789abcdef0123456789abcdef-stray"), ERR_OK);
    cr_assert_eq(fs_mkdir(fs, "/a/__cluster_metadata-0"), ERR_OK);
    cr_assert_eq(fs_mkdir(fs, "/a/remote-log-index-cache"), ERR_OK);
    open_ok(&d);
    while (worker_pool_step(d.workers)) {
    }
    cr_assert_null(logs_find(d.logs, STR("orders"), 0));
    cr_assert(!exists(&d, "/a/orders-0.0123456789abcdef0123456789abcdef-delete"));
    cr_assert(exists(&d, "/a/x-1.0123456789abcdef0123456789abcdef-stray"));
    end(&d);
}

Test(logs, a_directory_that_is_no_partition_is_an_error_with_a_name)
{
    static const char *const names[] = {"/a/orders", "/a/orders-x", "/a/-1", "/a/orders-1x",
                                        "/a/orders-99999999999"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct dirs d;
        begin(&d);
        cr_assert_eq(fs_mkdir_all(fs_sim_fs(d.sim), names[i]), ERR_OK);
        cr_assert_eq(open_dirs(&d), ERR_INVALID, "%s", names[i]);
        cr_assert_not_null(strstr(d.msg.text, names[i] + 3));
        end(&d);
    }
}

/* orders-0 with three records in /a, and as `records` says in /b. */
static void make_twins(struct dirs *d, int records)
{
    begin(d);
    open_ok(d);
    struct logs_entry *entry = create(d, "orders", 1);
    cr_assert_eq(append(create(d, "orders", 0), 3), ERR_OK);
    cr_assert_str_eq(plog_dir(entry->log), "/a/orders-1");
    if (records > 0) {
        cr_assert_eq(append(entry, records), ERR_OK);
    }
    cr_assert(close_dirs(d));
    cr_assert_eq(fs_rename(fs_sim_fs(d->sim), "/a/orders-1", "/a/orders-0"), ERR_OK);
}

Test(logs, a_partition_in_two_directories_is_an_error)
{
    struct dirs d;
    make_twins(&d, 2);
    cr_assert_eq(open_dirs(&d), ERR_EXISTS);
    cr_assert_not_null(strstr(d.msg.text, "orders-0"));
    end(&d);
}

/* Found by the simulator: a full disk left a log that could not be made, the next directory took
 * it, and after a restart the broker refused to start. */
Test(logs, of_two_directories_for_a_partition_the_one_that_was_never_used_goes)
{
    for (int turned = 0; turned < 2; turned++) {
        struct dirs d;
        make_twins(&d, 0);
        if (turned) {
            struct fs *fs = fs_sim_fs(d.sim);
            cr_assert_eq(fs_rename(fs, "/a/orders-0", "/c"), ERR_OK);
            cr_assert_eq(fs_rename(fs, "/b/orders-0", "/a/orders-0"), ERR_OK);
            cr_assert_eq(fs_rename(fs, "/c", "/b/orders-0"), ERR_OK);
        }
        open_ok(&d);
        cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), 3);
        cr_assert_eq(logs_dir(d.logs, 0)->logs_count + logs_dir(d.logs, 1)->logs_count, 1);
        cr_assert(close_dirs(&d));
        cr_assert_neq(exists(&d, "/a/orders-0"), exists(&d, "/b/orders-0"));
        end(&d);
    }
}

/* ---- who the directories belong to ---- */

Test(logs, say_whose_they_are)
{
    struct dirs d;
    int32_t id;
    const char *cluster;
    begin(&d);
    open_ok(&d);
    cr_assert(close_dirs(&d));
    put(&d, "/a/meta.properties",
        "#\n#Thu Nov 26\ncluster.id=cluster-one\ndirectory.id=abc_DEF-123\nversion=0\nbroker.id=7\n");
    open_ok(&d);
    cr_assert_eq(logs_stored_identity(d.logs, &id, &cluster, &d.msg), ERR_OK);
    cr_assert_eq(id, 7);
    cr_assert_str_eq(cluster, "cluster-one");
    cr_assert_eq(logs_set_identity(d.logs, 8, "cluster-two", &d.msg), ERR_OK);
    char *text;
    size_t size;
    cr_assert_eq(fs_read_all(d.fs, "/a/meta.properties", 1000, &text, &size), ERR_OK);
    cr_assert_not_null(strstr(text, "directory.id=abc_DEF-123\n"), "%s", text);
    cr_assert_not_null(strstr(text, "broker.id=8\n"));
    mem_free(text);
    end(&d);
}

Test(logs, that_contradict_each_other_are_refused)
{
    struct dirs d;
    int32_t id;
    const char *cluster;
    begin(&d);
    cr_assert_eq(fs_mkdir(d.fs, "/a"), ERR_OK);
    cr_assert_eq(fs_mkdir(d.fs, "/b"), ERR_OK);
    put(&d, "/a/meta.properties", "version=0\nbroker.id=7\ncluster.id=x\n");
    put(&d, "/b/meta.properties", "version=0\nbroker.id=8\ncluster.id=x\n");
    static const char *const names[] = {"/a", "/b"};
    struct logs_options options = {
        .fs = d.fs, .clock = &d.clock.clock, .workers = d.workers, .dirs = names, .dirs_count = 2};
    cr_assert_eq(logs_open(&options, &d.logs, &d.msg), ERR_OK);
    cr_assert_eq(logs_stored_identity(d.logs, &id, &cluster, &d.msg), ERR_INVALID);
    cr_assert_not_null(strstr(d.msg.text, "E-DATA-06"));
    end(&d);
}

Test(logs, of_a_kraft_broker_are_refused)
{
    struct dirs d;
    begin(&d);
    cr_assert_eq(fs_mkdir(d.fs, "/a"), ERR_OK);
    put(&d, "/a/meta.properties", "version=1\nnode.id=7\ncluster.id=x\n");
    cr_assert_eq(open_dirs(&d), ERR_INVALID);
    cr_assert_not_null(strstr(d.msg.text, "E-DATA-02"));
    end(&d);
}

Test(logs, a_meta_file_that_cannot_be_read_takes_its_directory_offline)
{
    static const char *const texts[] = {"broker.id=seven\n", "version=zero\nbroker.id=7\n",
                                        "broker.id=99999999999\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct dirs d;
        begin(&d);
        cr_assert_eq(fs_mkdir(d.fs, "/a"), ERR_OK);
        put(&d, "/a/meta.properties", texts[i]);
        open_ok(&d);
        cr_assert(logdir_offline(logs_dir(d.logs, 0)), "%s", texts[i]);
        cr_assert(!logdir_offline(logs_dir(d.logs, 1)));
        end(&d);
    }
}

Test(logs, are_locked_for_one_broker)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    struct logs *first = d.logs;
    cr_assert_eq(open_dirs(&d), ERR_LOCKED);
    cr_assert_not_null(strstr(d.msg.text, "E-DATA-04"));
    d.logs = first;
    cr_assert(close_dirs(&d));
    open_ok(&d);
    end(&d);
}

/* ---- clean stops ---- */

Test(logs, the_mark_of_a_clean_stop_counts_once)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    cr_assert(close_dirs(&d));
    cr_assert(exists(&d, "/a/.kafka_cleanshutdown"));
    cr_assert(exists(&d, "/b/.kafka_cleanshutdown"));
    open_ok(&d);
    cr_assert(logs_dir(d.logs, 0)->clean);
    cr_assert(!exists(&d, "/a/.kafka_cleanshutdown"));
    kill_dirs(&d);
    open_ok(&d);
    cr_assert(!logs_dir(d.logs, 0)->clean);
    end(&d);
}

Test(logs, an_empty_mark_of_an_older_kafka_counts_too)
{
    struct dirs d;
    begin(&d);
    cr_assert_eq(fs_mkdir(d.fs, "/a"), ERR_OK);
    put(&d, "/a/.kafka_cleanshutdown", "");
    open_ok(&d);
    cr_assert(logs_dir(d.logs, 0)->clean);
    end(&d);
}

Test(logs, no_mark_where_something_failed_while_stopping)
{
    int reached = 0;
    for (int64_t k = 0;; k++) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
        fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OPS_WRITE | FS_OPS_SYNC,
                                                      .path = "/a",
                                                      .after = k,
                                                      .repeat = 1,
                                                      .err = ERR_IO});
        bool clean = close_dirs(&d);
        bool hit = fs_fault_hits(d.fault) > 0;
        fs_fault_clear(d.fault);
        cr_assert_eq(clean, !hit, "call %" PRId64, k);
        cr_assert(exists(&d, "/b/.kafka_cleanshutdown"), "the other one is not to blame");
        open_ok(&d);
        struct logs_entry *entry = logs_find(d.logs, STR("orders"), 0);
        cr_assert_eq(plog_offset_end(entry->log), 3);
        end(&d);
        if (!hit) {
            break;
        }
        reached++;
    }
    cr_assert_gt(reached, 10);
}

/* The broker stops while a sync is under way, which then fails. */
static void stop_during_sync(void *arg, enum fs_op op, const char *path)
{
    struct dirs *d = arg;
    (void)path;
    if (op != FS_OP_SYNC) {
        return;
    }
    fs_fault_set_hook(d->fault, NULL, NULL);
    cr_assert(logs_close(d->logs, hw_of, NULL));
    cr_assert(exists(d, "/a/.kafka_cleanshutdown"));
    fs_sim_fail_sync(d->sim, 0);
}

/* A sync on another thread fails at the moment in which the mark is put in its place. */
static void fail_while_marking(void *arg, enum fs_op op, const char *path)
{
    struct dirs *d = arg;
    if (op == FS_OP_RENAME && strstr(path, "/a/.kafka_cleanshutdown") != NULL) {
        fs_fault_set_hook(d->fault, NULL, NULL);
        logdir_fail(logs_dir(d->logs, 0));
    }
}

Test(logs, a_directory_that_fails_while_it_is_marked_has_no_mark)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    fs_fault_set_hook(d.fault, fail_while_marking, &d);
    cr_assert(!close_dirs(&d));
    cr_assert_str_eq(d.failed, "/a;");
    cr_assert(!exists(&d, "/a/.kafka_cleanshutdown"));
    cr_assert(exists(&d, "/b/.kafka_cleanshutdown"));
    end(&d);
}

Test(logs, a_sync_that_fails_after_the_stop_takes_the_mark_back)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    struct logs_entry *entry = create(&d, "orders", 0);
    cr_assert_eq(append(entry, 3), ERR_OK);
    cr_assert_eq(plog_roll(entry->log, LOG_EPOCH_MS), ERR_OK);
    fs_fault_set_hook(d.fault, stop_during_sync, &d);
    while (worker_pool_step(d.workers)) {
    }
    cr_assert(!exists(&d, "/a/.kafka_cleanshutdown"));
    cr_assert(exists(&d, "/b/.kafka_cleanshutdown"));
    logs_free(d.logs);
    d.logs = NULL;
    end(&d);
}

/* ---- checkpoints in bad shape ---- */

Test(logs, damaged_checkpoints_mean_reading_more_and_nothing_worse)
{
    static const char *const names[] = {"recovery-point-offset-checkpoint",
                                        "log-start-offset-checkpoint",
                                        "replication-offset-checkpoint"};
    static const char *const texts[] = {"", "garbage", "0\n1\n", NULL};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (size_t j = 0; j < sizeof(texts) / sizeof(texts[0]); j++) {
            struct dirs d;
            char path[128];
            begin(&d);
            open_ok(&d);
            cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
            logs_checkpoint(d.logs, hw_of, NULL);
            kill_dirs(&d);
            snprintf(path, sizeof(path), "/a/%s", names[i]);
            if (texts[j] != NULL) {
                put(&d, path, texts[j]);
            } else {
                cr_assert_eq(fs_unlink(fs_sim_fs(d.sim), path), ERR_OK);
            }
            open_ok(&d);
            cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), 3);
            end(&d);
        }
    }
}

Test(logs, damaged_partition_metadata_is_as_good_as_none)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    cr_assert(close_dirs(&d));
    put(&d, "/a/.barnabas_manifest", ""); /* it would know better */
    put(&d, "/a/orders-0/partition.metadata", "version: 0\ntopic_id: ???");
    open_ok(&d);
    struct logs_entry *entry = logs_find(d.logs, STR("orders"), 0);
    cr_assert(uuid_is_zero(entry->topic_id));
    cr_assert_eq(logs_set_topic_id(entry, (struct uuid){{9}}), ERR_OK);
    kill_dirs(&d);
    open_ok(&d);
    cr_assert_eq(logs_find(d.logs, STR("orders"), 0)->topic_id.raw[0], 9);
    end(&d);
}

/* Far too large, it kept the whole broker from starting, with no word why. */
Test(logs, partition_metadata_without_end_is_as_good_as_none)
{
    struct dirs d;
    struct buf text = {0};
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    kill_dirs(&d);
    memset(buf_extend(&text, 10000), 'x', 10000);
    buf_put_byte(&text, 0);
    put(&d, "/a/orders-0/partition.metadata", (const char *)text.data);
    open_ok(&d);
    cr_assert(uuid_is_zero(logs_find(d.logs, STR("orders"), 0)->topic_id));
    cr_assert_str_empty(d.failed);
    buf_fini(&text);
    end(&d);
}

/* ---- directories that fail ---- */

Test(logs, a_failing_directory_goes_offline_and_the_others_serve)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    struct logs_entry *a = create(&d, "orders", 0);
    struct logs_entry *b = create(&d, "orders", 1);
    cr_assert_str_eq(a->dir->path, "/a");
    cr_assert_str_eq(b->dir->path, "/b");
    cr_assert_eq(append(a, 3), ERR_OK);
    fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OP_BIT(FS_OP_PWRITEV),
                                                  .path = "/a",
                                                  .repeat = FS_FAULT_FOR_EVER,
                                                  .err = ERR_NO_SPACE});
    cr_assert_eq(append(a, 1), ERR_KAFKA_STORAGE_ERROR);
    cr_assert(logdir_offline(a->dir));
    cr_assert_str_eq(d.failed, "/a;", "told once");
    cr_assert_eq(append(b, 2), ERR_OK);
    struct logs_entry *c = create(&d, "orders", 2);
    cr_assert_str_eq(c->dir->path, "/b", "new partitions go where there is room");
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_assert(!close_dirs(&d), "not all of it is clean");
    fs_fault_clear(d.fault);
    open_ok(&d);
    cr_assert(!logs_dir(d.logs, 0)->clean);
    cr_assert(logs_dir(d.logs, 1)->clean);
    cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), 3);
    cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 1)->log), 2);
    end(&d);
}

Test(logs, a_partition_is_made_in_the_next_directory_when_the_first_fails)
{
    for (int64_t k = 0;; k++) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                      .path = "/a/",
                                                      .after = k,
                                                      .repeat = FS_FAULT_FOR_EVER,
                                                      .err = ERR_IO});
        struct logs_entry *entry = create(&d, "orders", 0);
        bool hit = fs_fault_hits(d.fault) > 0;
        if (entry->dir == logs_dir(d.logs, 1)) {
            cr_assert(hit);
            cr_assert(logdir_offline(logs_dir(d.logs, 0)));
        }
        cr_assert_eq(logs_find(d.logs, STR("orders"), 0), entry);
        fs_fault_clear(d.fault);
        if (plog_failed(entry->log)) { /* made, but it could not be made durable */
            cr_assert(logdir_offline(logs_dir(d.logs, 0)));
        } else {
            cr_assert_eq(append(entry, 1), ERR_OK);
        }
        end(&d);
        if (!hit) {
            break;
        }
    }
}

/* As many as one sync of the file system is worth, so that is the sync that fails or not. */
Test(logs, new_logs_are_durable_when_they_have_settled)
{
    for (int count = 1; count <= 5; count++) {
        struct dirs d;
        struct topic_config config = log_config();
        struct logs_entry *entry;
        struct uuid id = {{7}};
        begin(&d);
        open_ok(&d);
        for (int32_t i = 0; i < 2 * count; i++) { /* half of them in each directory */
            cr_assert_eq(logs_create(d.logs, STR("orders"), i, id, &config, &entry), ERR_OK);
        }
        logs_settle(d.logs, NULL, NULL, NULL);
        kill_dirs(&d);
        fs_sim_crash(d.sim);
        open_ok(&d);
        for (int32_t i = 0; i < 2 * count; i++) {
            entry = logs_find(d.logs, STR("orders"), i);
            cr_assert_not_null(entry);
            cr_assert(uuid_eq(entry->topic_id, id));
        }
        end(&d);
    }
}

Test(logs, none_left_means_a_storage_error)
{
    struct dirs d;
    struct topic_config config = log_config();
    struct logs_entry *entry;
    begin(&d);
    open_ok(&d);
    logdir_fail(logs_dir(d.logs, 0));
    logdir_fail(logs_dir(d.logs, 1));
    logdir_fail(logs_dir(d.logs, 1));
    cr_assert_str_eq(d.failed, "/a;/b;");
    cr_assert_eq(logs_create(d.logs, STR("orders"), 0, (struct uuid){{1}}, &config, &entry),
                 ERR_KAFKA_STORAGE_ERROR);
    end(&d);
}

Test(logs, opening_goes_on_without_a_directory_that_fails_at_any_call)
{
    for (int64_t k = 0;; k++) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
        cr_assert_eq(append(create(&d, "orders", 1), 4), ERR_OK);
        kill_dirs(&d);
        fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                      .path = "/a",
                                                      .after = k,
                                                      .repeat = FS_FAULT_FOR_EVER,
                                                      .err = ERR_IO});
        open_ok(&d);
        bool hit = fs_fault_hits(d.fault) > 0;
        cr_assert_eq(logdir_offline(logs_dir(d.logs, 0)), hit, "call %" PRId64, k);
        struct logs_entry *b = logs_find(d.logs, STR("orders"), 1);
        cr_assert_not_null(b);
        cr_assert_eq(plog_offset_end(b->log), 4);
        fs_fault_clear(d.fault);
        end(&d);
        if (!hit) {
            break;
        }
    }
}

/* ---- start marks: may something be missing that was acknowledged? ---- */

/* A broker that has written its mark and is trusted. */
static void trusted(struct dirs *d)
{
    begin(d);
    d->boot_id = "boot-1";
    open_ok(d);
    cr_assert(logs_suspect(d->logs), "empty directories may have been full once");
    logs_trust(d->logs);
    cr_assert_not(logs_suspect(d->logs));
}

Test(start_mark, a_process_that_dies_leaves_no_suspicion)
{
    struct dirs d;
    trusted(&d);
    kill_dirs(&d);
    open_ok(&d);
    cr_assert_not(logs_suspect(d.logs));
    end(&d);
}

/* Until somebody says that it does not matter, through any number of lives and however they end. */
Test(start_mark, a_machine_that_was_booted_leaves_suspicion)
{
    struct dirs d;
    trusted(&d);
    kill_dirs(&d);
    d.boot_id = "boot-2";
    open_ok(&d);
    cr_assert(logs_suspect(d.logs));
    kill_dirs(&d);
    open_ok(&d);
    cr_assert(logs_suspect(d.logs));
    cr_assert(close_dirs(&d));
    open_ok(&d);
    cr_assert(logs_suspect(d.logs));
    logs_trust(d.logs);
    kill_dirs(&d);
    open_ok(&d);
    cr_assert_not(logs_suspect(d.logs));
    end(&d);
}

Test(start_mark, after_a_clean_stop_the_machine_may_be_booted)
{
    struct dirs d;
    trusted(&d);
    cr_assert(close_dirs(&d));
    d.boot_id = "boot-2";
    open_ok(&d);
    cr_assert_not(logs_suspect(d.logs));
    kill_dirs(&d);
    open_ok(&d);
    cr_assert_not(logs_suspect(d.logs), "the clean stop was before this boot");
    end(&d);
}

/* The mark is safe on the disk before the clean-shutdown mark goes: power that fails at any moment
 * of a start leaves either. */
Test(start_mark, power_may_fail_at_any_moment_of_a_start)
{
    for (int64_t k = 0;; k++) {
        struct dirs d;
        trusted(&d);
        cr_assert(close_dirs(&d));
        d.boot_id = "boot-2";
        fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                      .after = k,
                                                      .repeat = FS_FAULT_FOR_EVER,
                                                      .err = ERR_IO});
        if (open_dirs(&d) == ERR_OK) {
            while (worker_pool_step(d.workers)) {
            }
        }
        bool hit = fs_fault_hits(d.fault) > 0;
        logs_free(d.logs);
        d.logs = NULL;
        fs_sim_crash(d.sim);
        fs_fault_clear(d.fault);
        d.boot_id = "boot-3";
        bool cleanly_stopped = exists(&d, "/a/.kafka_cleanshutdown");
        open_ok(&d);
        if (!cleanly_stopped) {
            cr_assert(logs_suspect(d.logs), "call %" PRId64, k);
        }
        end(&d);
        if (!hit) {
            break;
        }
    }
}

/* Without a mark there is no saying, except after a clean stop: Kafka writes none. */
Test(start_mark, an_absent_or_damaged_mark_is_a_suspicion)
{
    static const char *const texts[] = {NULL, "", "version=1\nboot.id=boot-1\nsuspect=false\n",
                                        "version=0\nboot.id=boot-1\nsuspect=perhaps\n"};
    for (size_t i = 0; i < 4; i++) {
        struct dirs d;
        trusted(&d);
        kill_dirs(&d);
        cr_assert_eq(fs_unlink(d.fs, "/b/" START_MARK_NAME), ERR_OK);
        if (texts[i] != NULL) {
            put(&d, "/b/" START_MARK_NAME, texts[i]);
        }
        open_ok(&d);
        cr_assert(logs_suspect(d.logs), "text %zu", i);
        end(&d);
    }
    struct dirs d;
    trusted(&d);
    cr_assert(close_dirs(&d));
    cr_assert_eq(fs_unlink(d.fs, "/a/" START_MARK_NAME), ERR_OK);
    cr_assert_eq(fs_unlink(d.fs, "/b/" START_MARK_NAME), ERR_OK);
    open_ok(&d);
    cr_assert_not(logs_suspect(d.logs));
    end(&d);
}

Test(start_mark, a_directory_that_failed_is_suspect_even_if_it_cannot_be_written)
{
    for (int broken = 0; broken < 2; broken++) {
        struct dirs d;
        trusted(&d);
        if (broken == 1) {
            fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OP_BIT(FS_OP_PWRITEV),
                                                          .repeat = FS_FAULT_FOR_EVER,
                                                          .err = ERR_IO});
        }
        logdir_fail(logs_dir(d.logs, 0));
        logs_trust(d.logs);
        fs_fault_clear(d.fault);
        kill_dirs(&d);
        open_ok(&d);
        cr_assert(logs_suspect(d.logs));
        end(&d);
    }
}

/* A sync failed, the broker was started again on the same machine, and read what the kernel took
 * for written; then the power failed, and what had been committed twice was gone. Found by the
 * simulator. */
Test(start_mark, what_a_failed_sync_left_in_the_cache_is_written_again)
{
    for (int crash_early = 0; crash_early < 2; crash_early++) {
        struct dirs d;
        trusted(&d);
        struct logs_entry *entry = create(&d, "orders", 0);
        bool in_a = entry->dir == logs_dir(d.logs, 0);
        cr_assert_eq(append(entry, 5), ERR_OK);
        fs_sim_fail_sync(d.sim, 0);
        cr_assert_neq(plog_flush(entry->log), ERR_OK);
        cr_assert(logdir_offline(entry->dir));
        fs_sim_fail_sync(d.sim, -1);
        kill_dirs(&d);
        for (int life = 0; life <= crash_early; life++) {
            open_ok(&d);
            entry = logs_find(d.logs, STR("orders"), 0);
            cr_assert_eq(plog_offset_end(entry->log), 5);
            cr_assert_eq(entry->dir == logs_dir(d.logs, 0), in_a);
            if (life < crash_early) {
                kill_dirs(&d);
            }
        }
        logs_free(d.logs);
        d.logs = NULL;
        fs_sim_crash(d.sim);
        d.boot_id = "boot-2";
        open_ok(&d);
        entry = logs_find(d.logs, STR("orders"), 0);
        cr_assert_eq(plog_offset_end(entry->log), 5, "it had been synced");
        end(&d);
    }
}

/* The sync of a truncation failed; the broker was started again on the same machine, and saw the
 * log as it had been cut; then the power failed, and what had been cut was there again. */
Test(start_mark, what_a_failed_sync_has_cut_does_not_come_back)
{
    static const int64_t cuts[] = {0, 5};
    for (int i = 0; i < 2; i++) {
        struct dirs d;
        trusted(&d);
        struct logs_entry *entry = create(&d, "orders", 0);
        cr_assert_eq(append(entry, 5), ERR_OK);
        cr_assert_eq(append(entry, 5), ERR_OK);
        cr_assert_eq(plog_flush(entry->log), ERR_OK);
        logs_checkpoint(d.logs, hw_of, NULL);
        fs_sim_fail_sync(d.sim, 0);
        cr_assert_neq(plog_truncate_to(entry->log, cuts[i]), ERR_OK);
        cr_assert(logdir_offline(entry->dir));
        fs_sim_fail_sync(d.sim, -1);
        kill_dirs(&d);
        open_ok(&d);
        cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), cuts[i]);
        logs_free(d.logs);
        d.logs = NULL;
        fs_sim_crash(d.sim);
        d.boot_id = "boot-2";
        open_ok(&d);
        cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), cuts[i]);
        end(&d);
    }
}

/* A broker whose disk is full starts: it may have to be started to be emptied. The mark that cannot
 * be written goes, which is a suspicion after the next crash, and after a clean stop, when there is
 * space for that again, it says what it would have said. */
Test(start_mark, a_full_disk_is_no_reason_not_to_start)
{
    for (int clean = 0; clean < 2; clean++) {
        struct dirs d;
        trusted(&d);
        cr_assert(close_dirs(&d));
        d.boot_id = "boot-2";
        fs_sim_set_capacity(d.sim, 0);
        open_ok(&d);
        cr_assert_not(logs_suspect(d.logs));
        cr_assert_not(exists(&d, "/a/" START_MARK_NAME));
        fs_sim_set_capacity(d.sim, INT64_MAX);
        if (clean == 1) {
            cr_assert(close_dirs(&d));
        } else {
            kill_dirs(&d);
        }
        open_ok(&d);
        cr_assert_eq(logs_suspect(d.logs), clean == 0);
        end(&d);
    }
}

/* A machine that does not tell its boots: every crash counts as a loss of power. */
Test(start_mark, without_a_boot_id_every_crash_is_a_suspicion)
{
    struct dirs d;
    trusted(&d);
    kill_dirs(&d);
    d.boot_id = "";
    open_ok(&d);
    logs_trust(d.logs);
    kill_dirs(&d);
    open_ok(&d);
    cr_assert(logs_suspect(d.logs));
    end(&d);
}

/* ---- several at a time ---- */

Test(logs, are_recovered_by_several_threads)
{
    enum { MANY = 60 };
    struct dirs d;
    begin(&d);
    open_ok(&d);
    for (int32_t i = 0; i < MANY; i++) {
        cr_assert_eq(append(create(&d, "orders", i), i % 7 + 1), ERR_OK);
    }
    kill_dirs(&d);
    d.recovery_threads = 4;
    open_ok(&d);
    for (int32_t i = 0; i < MANY; i++) {
        struct logs_entry *entry = logs_find(d.logs, STR("orders"), i);
        cr_assert_not_null(entry);
        cr_assert_eq(plog_offset_end(entry->log), i % 7 + 1);
        cr_assert_eq(entry->topic_id.raw[0], 7);
    }
    cr_assert_eq(logs_dir(d.logs, 0)->logs_count + logs_dir(d.logs, 1)->logs_count, MANY);
    end(&d);
}
