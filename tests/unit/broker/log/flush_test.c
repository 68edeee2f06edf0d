/* Syncs by group: what a note promises is on the disk, one sync serves all that waited, a sync that
 * failed fails everything that relied on it, and nothing counts that a sync under way cannot have
 * seen. */
#include "log_fixture.h"

struct told {
    struct flush_note note;
    int count;
    struct log_world *w;
    int64_t point; /* the recovery point when it was told */
};

static void on_done(struct flush_note *note)
{
    struct told *told = container_of(note, struct told, note);
    told->count++;
    told->point = plog_recovery_point(told->w->log);
}

static struct told told_by(struct log_world *w)
{
    return (struct told){.note.done = on_done, .w = w};
}

static void begin(struct log_world *w, uint64_t seed)
{
    world_begin(w, seed);
    cr_assert_eq(world_open(w), ERR_OK);
}

Test(flush, a_note_is_told_when_everything_appended_before_is_on_the_disk)
{
    struct log_world w;
    begin(&w, 1);
    struct told told = told_by(&w);
    log_fill(&w, 3, 100);
    cr_assert(plog_flush_soon(w.log, &told.note));
    cr_assert_eq(told.count, 0);
    step_workers(&w);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.point, plog_offset_end(w.log));
    world_end(&w);
}

Test(flush, what_comes_before_a_sync_begins_is_covered_by_it)
{
    struct log_world w;
    begin(&w, 1);
    struct told told = told_by(&w);
    struct told other = told_by(&w);
    int64_t before = 0;
    for (int i = 0; i < 10; i++) {
        log_fill(&w, 1, 100);
        cr_assert_eq(plog_flush_soon(w.log, i == 0 ? &told.note : &other.note), i == 0,
                     "the first tells for all");
    }
    before = fs_fault_calls(w.fault, FS_OP_SYNC);
    step_workers(&w);
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_SYNC) - before, 1);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(other.count, 0);
    cr_assert_eq(told.point, plog_offset_end(w.log));
    world_end(&w);
}

/* Something happens while a sync is under way. */
struct meanwhile {
    struct log_world *w;
    void (*fn)(struct meanwhile *m);
    struct told told;
};

static void on_sync(void *arg, enum fs_op op, const char *path)
{
    struct meanwhile *m = arg;
    if (op == FS_OP_SYNC && strstr(path, ".log") != NULL && m->fn != NULL) {
        void (*fn)(struct meanwhile *) = m->fn;
        m->fn = NULL;
        fn(m);
    }
}

static void sync_with(struct log_world *w, struct meanwhile *m)
{
    struct told told = told_by(w);
    fs_fault_set_hook(w->fault, on_sync, m);
    (void)plog_flush_soon(w->log, &told.note);
    cr_assert(worker_pool_step(w->workers));
    cr_assert_eq(told.count, 1);
    cr_assert_null(m->fn);
    fs_fault_set_hook(w->fault, NULL, NULL);
}

static void append_more(struct meanwhile *m)
{
    log_fill(m->w, 1, 100);
    m->told = told_by(m->w);
    cr_assert(plog_flush_soon(m->w->log, &m->told.note));
}

Test(flush, what_comes_while_a_sync_is_under_way_waits_for_the_next)
{
    struct log_world w;
    begin(&w, 1);
    struct meanwhile m = {&w, append_more, {.count = 0}};
    log_fill(&w, 2, 100);
    int64_t end = plog_offset_end(w.log);
    sync_with(&w, &m);
    cr_assert_eq(plog_recovery_point(w.log), end);
    cr_assert_eq(m.told.count, 0);
    step_workers(&w);
    cr_assert_eq(m.told.count, 1);
    cr_assert_eq(m.told.point, plog_offset_end(w.log));
    world_end(&w);
}

static void cut(struct meanwhile *m)
{
    cr_assert_eq(plog_truncate_to(m->w->log, 1), ERR_OK);
    log_fill(m->w, 3, 100);
}

Test(flush, a_truncation_makes_a_sync_under_way_worthless)
{
    struct log_world w;
    begin(&w, 1);
    struct meanwhile m = {&w, cut, {.count = 0}};
    log_fill(&w, 4, 100);
    sync_with(&w, &m);
    cr_assert_leq(plog_recovery_point(w.log), 1);
    world_end(&w);
}

static void finish_seg(struct meanwhile *m)
{
    cr_assert_eq(plog_roll(m->w->log, LOG_EPOCH_MS), ERR_OK);
}

Test(flush, a_sync_that_has_not_seen_the_indexes_of_a_finished_segment_does_not_count)
{
    struct log_world w;
    begin(&w, 1);
    struct meanwhile m = {&w, finish_seg, {.count = 0}};
    log_fill(&w, 4, 100);
    sync_with(&w, &m);
    cr_assert_eq(plog_recovery_point(w.log), 0);
    step_workers(&w);
    cr_assert_eq(plog_recovery_point(w.log), plog_offset_end(w.log), "the roll has asked again");
    world_end(&w);
}

/* The kernel tells an error of a file once: the actor's own sync hears of it, the worker's, which
 * began before, is told that all is well. */
static void hear_of_the_error(struct meanwhile *m)
{
    fs_sim_fail_sync(m->w->sim, 0);
    cr_assert_eq(plog_flush(m->w->log), ERR_KAFKA_STORAGE_ERROR);
}

Test(flush, an_error_that_the_actor_was_told_is_not_missed_by_the_flusher)
{
    struct log_world w;
    begin(&w, 1);
    struct meanwhile m = {&w, hear_of_the_error, {.count = 0}};
    log_fill(&w, 4, 100);
    sync_with(&w, &m);
    cr_assert_eq(plog_recovery_point(w.log), 0);
    cr_assert(plog_failed(w.log));
    world_end(&w);
}

/* ---- several logs ---- */

enum { LOGS = 5 };

struct many {
    struct log_world w;
    struct fs_file *mark;
    struct flusher *flusher;
    struct plog *logs[LOGS];
};

static void many_begin(struct many *m, bool together)
{
    struct errmsg msg;
    world_begin(&m->w, 1);
    cr_assert_eq(fs_open(m->w.fs, "/data/.lock", FS_WRITE | FS_CREATE, &m->mark), ERR_OK);
    m->flusher = flusher_new(together ? m->mark : NULL, m->w.workers);
    m->w.options.flusher = m->flusher;
    for (int i = 0; i < LOGS; i++) {
        char dir[32];
        snprintf(dir, sizeof(dir), "/data/orders-%d", i);
        m->w.options.dir = dir;
        cr_assert_eq(plog_open(&m->w.options, &m->logs[i], &msg), ERR_OK, "%s", msg.text);
    }
}

static void many_flush(struct many *m, int count)
{
    for (int i = 0; i < count; i++) {
        (void)plog_flush_soon(m->logs[i], NULL);
    }
}

static void many_append(struct many *m, int count)
{
    struct plog *first = m->w.log;
    for (int i = 0; i < count; i++) {
        m->w.log = m->logs[i];
        (void)log_append(&m->w, (struct batch_want){.records = 2}, 0);
    }
    m->w.log = first;
    many_flush(m, count);
}

static void many_end(struct many *m)
{
    for (int i = 0; i < LOGS; i++) {
        plog_abandon(m->logs[i]);
    }
    step_workers(&m->w);
    flusher_stop(m->flusher);
    flusher_release(m->flusher);
    fs_close(m->mark);
    world_end(&m->w);
}

Test(flush, many_files_are_synced_at_once_and_few_one_by_one)
{
    struct many m;
    many_begin(&m, true);
    many_append(&m, LOGS);
    int64_t syncs = fs_fault_calls(m.w.fault, FS_OP_SYNC);
    cr_assert(worker_pool_step(m.w.workers));
    cr_assert_eq(fs_fault_calls(m.w.fault, FS_OP_SYNC_ALL), 1);
    cr_assert_eq(fs_fault_calls(m.w.fault, FS_OP_SYNC), syncs);
    for (int i = 0; i < LOGS; i++) {
        cr_assert_eq(plog_recovery_point(m.logs[i]), 2);
    }
    many_append(&m, FLUSHER_ALL_MIN - 1);
    step_workers(&m.w);
    cr_assert_eq(fs_fault_calls(m.w.fault, FS_OP_SYNC_ALL), 1);
    cr_assert_eq(plog_recovery_point(m.logs[0]), 4);
    many_end(&m);
}

Test(flush, without_a_sync_of_everything_each_file_is_synced)
{
    struct many m;
    many_begin(&m, true);
    struct fs_fault_plan plan = {.ops = FS_OP_BIT(FS_OP_SYNC_ALL),
                                 .repeat = FS_FAULT_FOR_EVER,
                                 .err = ERR_UNSUPPORTED_VERSION};
    fs_fault_set(m.w.fault, &plan);
    many_append(&m, LOGS);
    step_workers(&m.w);
    many_append(&m, LOGS);
    step_workers(&m.w);
    cr_assert_eq(fs_fault_hits(m.w.fault), 1, "asked once");
    for (int i = 0; i < LOGS; i++) {
        cr_assert_eq(plog_recovery_point(m.logs[i]), 4);
    }
    many_end(&m);
}

static void all_failed(struct many *m)
{
    step_workers(&m->w);
    for (int i = 0; i < LOGS; i++) {
        cr_assert(plog_failed(m->logs[i]), "log %d", i);
        cr_assert_eq(plog_recovery_point(m->logs[i]), 0, "log %d", i);
    }
}

Test(flush, a_sync_of_everything_that_fails_fails_every_log_that_waited)
{
    struct many m;
    many_begin(&m, true);
    many_append(&m, LOGS);
    fs_sim_fail_sync(m.w.sim, 2);
    all_failed(&m);
    many_end(&m);
}

/* Also those whose files would still be synced: nothing in that directory is trusted any more. And
 * nothing is tried again. */
Test(flush, after_a_sync_that_failed_no_other_log_of_the_directory_is_synced)
{
    struct many m;
    many_begin(&m, false);
    many_append(&m, LOGS);
    int64_t syncs = fs_fault_calls(m.w.fault, FS_OP_SYNC);
    fs_sim_fail_sync(m.w.sim, 0);
    step_workers(&m.w);
    many_flush(&m, LOGS);
    all_failed(&m);
    cr_assert_eq(fs_fault_calls(m.w.fault, FS_OP_SYNC) - syncs, 1);
    many_end(&m);
}

Test(flush, a_log_that_was_deleted_meanwhile_does_not_fail_the_others)
{
    struct many m;
    many_begin(&m, false);
    many_append(&m, 2);
    plog_abandon(m.logs[0]);
    m.logs[0] = NULL;
    cr_assert_eq(fs_remove_tree(m.w.fs, "/data/orders-0"), ERR_OK);
    step_workers(&m.w);
    cr_assert(!plog_failed(m.logs[1]));
    cr_assert_eq(plog_recovery_point(m.logs[1]), 2);
    many_end(&m);
}

/* ---- power failures ---- */

/* What a note was told for is there after the power has failed, by either kind of sync. */
static void survive(uint64_t seed, bool together)
{
    struct log_world w;
    struct fs_file *mark;
    world_begin(&w, seed);
    cr_assert_eq(fs_open(w.fs, "/data/.lock", FS_WRITE | FS_CREATE, &mark), ERR_OK);
    struct flusher *flusher = flusher_new(together ? mark : NULL, w.workers);
    w.options.flusher = flusher;
    w.options.config.segment_bytes = 1500;
    cr_assert_eq(world_open(&w), ERR_OK);
    for (int i = 0; i < 12; i++) {
        struct told told = told_by(&w);
        log_fill(&w, 1, 200);
        cr_assert(plog_flush_soon(w.log, &told.note));
        step_workers(&w);
        if (told.point == plog_offset_end(w.log)) {
            w.model.flushed = told.point;
        }
    }
    cr_assert_geq(w.model.flushed, 10);
    log_fill(&w, 2, 200);
    plog_abandon(w.log);
    fs_sim_crash(w.sim);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_geq(check_log(&w), (int32_t)w.model.flushed);
    world_abandon(&w);
    flusher_stop(flusher);
    flusher_release(flusher);
    fs_close(mark);
    world_end(&w);
}

Test(flush, what_was_flushed_survives_a_power_failure)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        survive(seed, seed % 2 == 0);
    }
}

/* The power fails before the `after`-th call to the disk of a retention that takes the older one of
 * two segments; whether it had so many. */
static bool fails_in_retention(uint64_t seed, int64_t after)
{
    struct log_world w;
    world_begin(&w, seed);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 3, 100);
    log_flush_ok(&w);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    struct topic_config config = w.options.config;
    config.retention_ms = 0;
    plog_configure(w.log, &config);
    fs_fault_set(w.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                  .after = after,
                                                  .repeat = FS_FAULT_FOR_EVER,
                                                  .err = ERR_IO});
    enum err err = plog_delete_old_segments(w.log, 3, LOG_EPOCH_MS);
    bool hit = fs_fault_hits(w.fault) > 0;
    cr_assert_eq(err == ERR_OK, !hit);
    fs_fault_clear(w.fault);
    plog_abandon(w.log);
    fs_sim_crash(w.sim);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), 3, "seed %d, after %d", (int)seed, (int)after);
    world_end(&w);
    return hit;
}

/* The removal of the oldest segment was on the disk, the name of the one behind it, begun a moment
 * ago, was not: the log began anew at 0. */
Test(flush, a_log_does_not_begin_anew_when_the_power_fails_in_retention)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        for (int64_t after = 0; fails_in_retention(seed, after); after++) {
        }
    }
}

/* ---- by time ---- */

Test(flush, records_that_have_waited_for_flush_ms_are_synced)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.flush_ms = 1000;
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 1, 100);
    clock_manual_advance(&w.clock, 600 * INT64_C(1000000));
    log_fill(&w, 1, 100);
    plog_flush_aged(w.log);
    step_workers(&w);
    cr_assert_eq(plog_recovery_point(w.log), 0);
    clock_manual_advance(&w.clock, 400 * INT64_C(1000000));
    plog_flush_aged(w.log);
    step_workers(&w);
    cr_assert_eq(plog_recovery_point(w.log), plog_offset_end(w.log));
    int64_t syncs = fs_fault_calls(w.fault, FS_OP_SYNC);
    clock_manual_advance(&w.clock, 5000 * INT64_C(1000000));
    plog_flush_aged(w.log);
    step_workers(&w);
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_SYNC), syncs, "nothing new, nothing to do");
    world_end(&w);
}
