/* Start marks: may something be missing that was acknowledged? And what a start does about it. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "logs_fixture.h"

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

/* Somebody had mistyped a line in meta.properties, or taken away the right to read it. Nothing was
 * done to the logs; and yet, with the file as it was, the broker counted for none of them, read all
 * that had been written last, and wrote it again. */
Test(start_mark, a_directory_that_could_not_be_opened_is_what_it_was)
{
    struct dirs d;
    trusted(&d);
    cr_assert(close_dirs(&d));
    char *text;
    size_t size;
    cr_assert_eq(fs_read_all(d.fs, "/a/meta.properties", 1000, &text, &size), ERR_OK);
    put(&d, "/a/meta.properties", "broker.id=seven\n");
    open_ok(&d);
    cr_assert(logdir_offline(logs_dir(d.logs, 0)));
    cr_assert_str_eq(d.failed, "/a;");
    kill_dirs(&d);
    put(&d, "/a/meta.properties", text);
    open_ok(&d);
    cr_assert(logs_dir(d.logs, 0)->clean);
    cr_assert_not(logs_dir(d.logs, 0)->rewrite);
    cr_assert_not(logs_suspect(d.logs));
    mem_free(text);
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

/* Two threads at the same mark: one that says that nobody counts on the directory, and one on which
 * the directory fails meanwhile. */
struct contest {
    struct dirs d;
    pthread_t truster;
    pthread_t failer;
    atomic_bool begun;
    atomic_bool written;
    atomic_bool go_on;
};

static void *fail_dir(void *arg)
{
    logdir_fail(logs_dir(((struct contest *)arg)->d.logs, 0));
    return NULL;
}

static void wait_for(const atomic_bool *flag)
{
    while (!atomic_load(flag)) {
        sched_yield();
    }
}

/* The truster has looked whether the directory works; then the failer writes its mark beside the
 * old one; then the truster writes there, too; then the failer puts that in place. */
static void contend(void *arg, enum fs_op op, const char *path)
{
    struct contest *contest = arg;
    if (strstr(path, "/a/" START_MARK_NAME ".tmp") == NULL) {
        return;
    }
    bool truster = pthread_equal(pthread_self(), contest->truster);
    if (truster && op == FS_OP_OPEN && !atomic_exchange(&contest->begun, true)) {
        cr_assert_eq(pthread_create(&contest->failer, NULL, fail_dir, contest), 0);
        wait_for(&contest->written);
    } else if (truster && op == FS_OP_RENAME && !atomic_exchange(&contest->go_on, true)) {
        cr_assert_eq(pthread_join(contest->failer, NULL), 0);
    } else if (!truster && op == FS_OP_RENAME) {
        atomic_store(&contest->written, true);
        wait_for(&contest->go_on);
    }
}

Test(start_mark, a_directory_that_fails_while_it_is_trusted_is_suspect)
{
    struct contest contest = {.truster = pthread_self()};
    struct dirs *d = &contest.d;
    trusted(d);
    logs_dir(d->logs, 0)->mark.suspect = true; /* as after a crash of the machine */
    fs_fault_set_hook(d->fault, contend, &contest);
    logs_trust(d->logs);
    fs_fault_set_hook(d->fault, NULL, NULL);
    cr_assert(atomic_load(&contest.go_on));
    cr_assert(logdir_offline(logs_dir(d->logs, 0)));
    kill_dirs(d);
    open_ok(d);
    cr_assert(logs_suspect(d->logs));
    cr_assert(logs_dir(d->logs, 0)->rewrite);
    end(d);
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
