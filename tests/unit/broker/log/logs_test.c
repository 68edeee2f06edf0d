/* All logs of a broker: opening, spreading partitions, deleting and making them again. */
#include "log/logs_internal.h"
#include "logs_fixture.h"

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

Test(logs, of_one_topic_have_its_name_once)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    const struct logs_entry *one = create(&d, "orders", 0);
    const struct logs_entry *two = create(&d, "orders", 1);
    cr_assert_eq(plog_topic(one->log).ptr, plog_topic(two->log).ptr);
    end(&d);
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

/* Checkpoints are written at any moment: here while a log begins anew below its start. */
static void checkpoint_while_it_is_cut(void *arg, enum fs_op op, const char *path)
{
    struct dirs *d = arg;
    if (op == FS_OP_UNLINK && strstr(path, ".log") != NULL) {
        fs_fault_set_hook(d->fault, NULL, NULL);
        logs_checkpoint(d->logs, hw_of, NULL);
    }
}

/* A follower began anew below its start. A checkpoint that was written in the meantime still had
 * the old one, and yet was taken for one that has the new: after a crash before the next one all
 * that had come below the old start was taken for deleted. */
Test(logs, a_checkpoint_from_within_a_cut_below_the_start_does_not_count_as_telling_it)
{
    struct dirs d;
    begin(&d);
    d.count = 1;
    open_ok(&d);
    struct logs_entry *entry = create(&d, "orders", 0);
    cr_assert_eq(append(entry, 9), ERR_OK);
    cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
    logs_checkpoint(d.logs, hw_of, NULL);
    fs_fault_set_hook(d.fault, checkpoint_while_it_is_cut, &d);
    cr_assert_eq(plog_restart_at(entry->log, 2), ERR_OK);
    fs_fault_set_hook(d.fault, NULL, NULL);
    cr_assert_eq(append(entry, 3), ERR_OK);
    cr_assert(exists(&d, "/a/orders-0/log-start-lowered"));
    kill_dirs(&d);
    open_ok(&d);
    entry = logs_find(d.logs, STR("orders"), 0);
    cr_assert_eq(plog_log_start(entry->log), 2);
    cr_assert_eq(plog_offset_end(entry->log), 5);
    logs_checkpoint(d.logs, hw_of, NULL);
    cr_assert(!exists(&d, "/a/orders-0/log-start-lowered"), "the checkpoint tells it");
    kill_dirs(&d);
    open_ok(&d);
    cr_assert_eq(plog_log_start(logs_find(d.logs, STR("orders"), 0)->log), 2);
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

/* Nor when the broker ended between the two: what the checkpoints said of a log that is not there
 * any more was read as that of the next one, which began behind its end and lost its records.
 * On a full disk they cannot be written anew, so they are before that next log is made. */
Test(logs, a_topic_made_again_after_a_crash_does_not_inherit_checkpoints)
{
    for (int full = 0; full < 2; full++) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        struct logs_entry *entry = create(&d, "orders", 0);
        cr_assert_eq(append(create(&d, "other", 0), 4), ERR_OK);
        cr_assert_eq(append(entry, 9), ERR_OK);
        cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
        cr_assert_eq(plog_flush(entry->log), ERR_OK);
        logs_checkpoint(d.logs, hw_of, NULL);
        int32_t at = entry->dir == logs_dir(d.logs, 0) ? 0 : 1;
        logs_delete(d.logs, STR("orders"), 0);
        kill_dirs(&d);
        fs_sim_set_capacity(d.sim, full == 1 ? 0 : INT64_MAX);
        open_ok(&d);
        fs_sim_set_capacity(d.sim, INT64_MAX);
        logs_prefer(d.logs, STR("orders"), 0, logs_dir(d.logs, at));
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

/* A follower whose log began at 7 was cut at 5, where its leader's ended, and took what came next;
 * after a crash the checkpoint made it begin at 7 again, without those that were below. */
Test(logs, what_comes_below_a_start_that_was_checkpointed_is_there_after_a_crash)
{
    for (int records = 1; records <= 10; records += 9) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        struct logs_entry *entry = create(&d, "orders", 0);
        cr_assert_eq(append(entry, 9), ERR_OK);
        cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
        logs_checkpoint(d.logs, hw_of, NULL);
        cr_assert_eq(plog_truncate_to(entry->log, 5), ERR_OK);
        cr_assert_eq(append(entry, records), ERR_OK);
        for (int crash = 0; crash < 2; crash++) {
            kill_dirs(&d);
            open_ok(&d);
            entry = logs_find(d.logs, STR("orders"), 0);
            cr_assert_eq(plog_log_start(entry->log), 5);
            cr_assert_eq(plog_offset_end(entry->log), 5 + records);
        }
        logs_checkpoint(d.logs, hw_of, NULL);
        cr_assert_eq(plog_set_log_start(entry->log, 6), ERR_OK);
        logs_checkpoint(d.logs, hw_of, NULL);
        kill_dirs(&d);
        open_ok(&d);
        cr_assert_eq(plog_log_start(logs_find(d.logs, STR("orders"), 0)->log), 6, "counts again");
        end(&d);
    }
}

/* The start lay within a batch, which a cut behind it took as a whole. */
Test(logs, a_start_that_a_cut_takes_along_does_not_count_after_a_crash)
{
    for (int records = 3; records <= 10; records += 7) {
        struct dirs d;
        begin(&d);
        open_ok(&d);
        struct logs_entry *entry = create(&d, "orders", 0);
        cr_assert_eq(append(entry, 4), ERR_OK);
        cr_assert_eq(append(entry, 5), ERR_OK);
        cr_assert_eq(plog_set_log_start(entry->log, 7), ERR_OK);
        logs_checkpoint(d.logs, hw_of, NULL);
        cr_assert_eq(plog_truncate_to(entry->log, 8), ERR_OK);
        cr_assert_eq(plog_log_start(entry->log), 4);
        cr_assert_eq(append(entry, records), ERR_OK);
        kill_dirs(&d);
        open_ok(&d);
        entry = logs_find(d.logs, STR("orders"), 0);
        cr_assert_eq(plog_log_start(entry->log), 4);
        cr_assert_eq(plog_offset_end(entry->log), 4 + records);
        end(&d);
    }
}

/* A client may name partitions that nobody will ever make: each was remembered for ever. */
Test(logs, remember_so_many_wishes_of_where_to_be_made)
{
    struct dirs d;
    begin(&d);
    open_ok(&d);
    for (int32_t i = 0; i < LOGS_PREFERENCES_MAX + 5; i++) {
        logs_prefer(d.logs, STR("orders"), i, logs_dir(d.logs, 1));
    }
    logs_prefer(d.logs, STR("orders"), 1, logs_dir(d.logs, 0));
    cr_assert_eq(HASH_COUNT(d.logs->preferences), LOGS_PREFERENCES_MAX);
    cr_assert_eq(logs_preferred(d.logs, "orders-0"), logs_dir(d.logs, 1));
    cr_assert_eq(logs_preferred(d.logs, "orders-1"), logs_dir(d.logs, 0));
    create(&d, "orders", 0);
    cr_assert_null(logs_preferred(d.logs, "orders-0"));
    cr_assert_eq(logs_preferred(d.logs, "orders-1"), logs_dir(d.logs, 0));
    end(&d);
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
