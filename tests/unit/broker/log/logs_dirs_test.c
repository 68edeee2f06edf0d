/* The log directories of a broker: whose they are, locks, clean stops, files in bad shape, failing.
 */
#include "logs_fixture.h"

/* A broker was killed just when it had made its directory; the next life found it there, and the
 * power took it away with everything that had been synced in it. */
Test(logs, do_not_lose_a_directory_that_an_earlier_life_has_made)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct dirs d;
        begin_with(&d, seed);
        d.count = 1;
        cr_assert_eq(fs_mkdir(d.fs, "/a"), ERR_OK);
        open_ok(&d);
        kill_dirs(&d);
        fs_sim_crash(d.sim);
        cr_assert(exists(&d, "/a"), "seed %d", (int)seed);
        open_ok(&d);
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

/* A start that was refused (for another broker's id), or that ZooKeeper did not answer, took the
 * mark along: the next one read all that had been written last, which may be terabytes. */
Test(logs, a_start_that_ends_before_they_are_loaded_leaves_the_stop_a_clean_one)
{
    static const char *const names[] = {"/a", "/b"};
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    cr_assert(close_dirs(&d));
    struct logs_options options = {
        .fs = d.fs, .clock = &d.clock.clock, .workers = d.workers, .dirs = names, .dirs_count = 2};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(logs_open(&options, &d.logs, &d.msg), ERR_OK);
        cr_assert_not_null(logs_dir(d.logs, 0)->manifest);
        kill_dirs(&d);
    }
    open_ok(&d);
    cr_assert(logs_dir(d.logs, 0)->clean);
    cr_assert(logs_dir(d.logs, 1)->clean);
    cr_assert(!exists(&d, "/a/.kafka_cleanshutdown"));
    cr_assert(!exists(&d, "/a/" MANIFEST_NAME));
    cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), 3);
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

/* ---- a stop while they are loaded ---- */

struct giving_up {
    struct dirs *dirs;
    int opened; /* files of logs */
};

static void give_up(void *arg, enum fs_op op, const char *path)
{
    struct giving_up *giving_up = arg;
    if (op == FS_OP_LIST && strcmp(path, "/a") == 0) {
        logs_give_up(giving_up->dirs->logs);
    }
    giving_up->opened += op == FS_OP_OPEN && strstr(path, "orders-") != NULL ? 1 : 0;
}

/* SIGTERM came while a broker recovered what a crash had left: it said that it had stopped, and
 * went on until the last log was recovered, or somebody lost patience. */
Test(logs, are_not_recovered_for_a_broker_that_stops)
{
    struct dirs d;
    struct giving_up giving_up = {.dirs = &d};
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    cr_assert_eq(append(create(&d, "orders", 1), 4), ERR_OK);
    kill_dirs(&d);
    fs_fault_set_hook(d.fault, give_up, &giving_up);
    cr_assert_eq(open_dirs(&d), ERR_CLOSED);
    cr_assert_eq(giving_up.opened, 0);
    cr_assert_str_eq(d.failed, "");
    kill_dirs(&d);
    fs_fault_set_hook(d.fault, NULL, NULL);
    open_ok(&d);
    cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), 3);
    cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 1)->log), 4);
    cr_assert(close_dirs(&d));
    fs_fault_set_hook(d.fault, give_up, &giving_up);
    open_ok(&d); /* after a clean stop it does not take long */
    end(&d);
}

/* ---- directories that fail ---- */

/* Too low a limit of open files was taken for a disk that fails: the directory went offline, with a
 * mark that makes the next start distrust it and write all of it again. */
Test(logs, a_start_without_descriptors_ends_and_no_directory_fails)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    cr_assert_eq(append(create(&d, "orders", 0), 3), ERR_OK);
    kill_dirs(&d);
    fs_fault_set(d.fault, &(struct fs_fault_plan){.ops = FS_OP_BIT(FS_OP_OPEN),
                                                  .path = "/a/orders-0",
                                                  .repeat = FS_FAULT_FOR_EVER,
                                                  .err = ERR_NO_FILES});
    cr_assert_eq(open_dirs(&d), ERR_NO_FILES);
    cr_assert_not_null(strstr(d.msg.text, "E-DATA-12"), "%s", d.msg.text);
    cr_assert_str_eq(d.failed, "");
    kill_dirs(&d);
    fs_fault_clear(d.fault);
    open_ok(&d);
    cr_assert(!logs_dir(d.logs, 0)->rewrite);
    cr_assert_eq(plog_offset_end(logs_find(d.logs, STR("orders"), 0)->log), 3);
    end(&d);
}

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

/* The process ends before a new log has settled, and the next one finds it, in the page cache. What
 * is written and synced there must not go with the name of its directory. */
static void find_what_had_not_settled(uint64_t seed)
{
    struct dirs d;
    struct topic_config config = log_config();
    struct logs_entry *entry;
    begin(&d);
    fs_fault_free(d.fault);
    fs_sim_free(d.sim);
    d.sim = fs_sim_new(seed);
    d.fault = fs_fault_new(fs_sim_fs(d.sim));
    d.fs = fs_fault_fs(d.fault);
    open_ok(&d);
    cr_assert_eq(logs_create(d.logs, STR("orders"), 0, (struct uuid){{7}}, &config, &entry),
                 ERR_OK);
    kill_dirs(&d);
    open_ok(&d);
    entry = logs_find(d.logs, STR("orders"), 0);
    cr_assert_not_null(entry);
    cr_assert_eq(append(entry, 3), ERR_OK);
    cr_assert_eq(plog_flush(entry->log), ERR_OK);
    kill_dirs(&d);
    fs_sim_crash(d.sim);
    open_ok(&d);
    entry = logs_find(d.logs, STR("orders"), 0);
    cr_assert_not_null(entry, "seed %" PRIu64, seed);
    cr_assert_eq(plog_offset_end(entry->log), 3);
    end(&d);
}

Test(logs, of_a_process_that_ended_while_it_made_them_are_durable_when_they_are_used)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        find_what_had_not_settled(seed);
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
