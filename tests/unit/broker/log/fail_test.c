/* Every operation of a log with its k-th call to the disk failing, for k = 1, 2, ... until it
 * passes: with an error, with a full disk, with a write that stops half way. An operation that
 * fails says so, the host is told once, nothing is acknowledged any more, and the next start finds
 * all that had been. */
#include "log_fixture.h"

struct step {
    const char *name;
    enum err (*run)(struct log_world *w);
};

static enum err do_append(struct log_world *w)
{
    return log_append(w, (struct batch_want){.records = 2, .first_ms = LOG_EPOCH_MS}, 2).err;
}

static enum err do_append_epoch(struct log_world *w)
{
    return log_append(w, (struct batch_want){.first_ms = LOG_EPOCH_MS}, 9).err;
}

static enum err do_append_rolling(struct log_world *w)
{
    struct batch_want want = {.first_ms = LOG_EPOCH_MS, .value_bytes = 1900};
    return log_append(w, want, 2).err;
}

static enum err do_append_flushing(struct log_world *w)
{
    struct topic_config config = w->options.config;
    config.flush_messages = 2;
    plog_configure(w->log, &config);
    enum err err = do_append(w);
    step_workers(w);
    err = plog_failed(w->log) ? ERR_KAFKA_STORAGE_ERROR : err;
    if (err == ERR_OK) {
        cr_assert_eq(plog_recovery_point(w->log), plog_offset_end(w->log));
        w->model.flushed = plog_offset_end(w->log);
    }
    return err;
}

static enum err do_flush(struct log_world *w)
{
    return plog_flush(w->log);
}

static enum err do_roll(struct log_world *w)
{
    return plog_roll(w->log, LOG_EPOCH_MS);
}

static enum err do_truncate(struct log_world *w)
{
    w->model.flushed = 3;
    enum err err = plog_truncate_to(w->log, 3);
    while (err == ERR_OK && w->model.batches[w->model.count - 1].header.base_offset >= 3) {
        buf_fini(&w->model.batches[--w->model.count].data);
    }
    return err;
}

static enum err do_restart(struct log_world *w)
{
    w->model.flushed = 0;
    enum err err = plog_restart_at(w->log, 1000);
    if (err == ERR_OK) {
        model_clear(&w->model);
    }
    return err;
}

static enum err do_retain(struct log_world *w)
{
    struct topic_config config = w->options.config;
    config.retention_bytes = 0;
    plog_configure(w->log, &config);
    return plog_delete_old_segments(w->log, plog_offset_end(w->log), LOG_EPOCH_MS);
}

static enum err do_workers(struct log_world *w)
{
    step_workers(w);
    return plog_failed(w->log) ? ERR_KAFKA_STORAGE_ERROR : ERR_OK;
}

static const struct step steps[] = {
    {"append", do_append},
    {"append in a new epoch", do_append_epoch},
    {"append that rolls", do_append_rolling},
    {"append that flushes", do_append_flushing},
    {"flush", do_flush},
    {"roll", do_roll},
    {"truncate", do_truncate},
    {"restart", do_restart},
    {"retain", do_retain},
    {"flush by a worker", do_workers},
};

/* A log of three segments with epochs and a producer, flushed up to the last batch but two. */
static void begin(struct log_world *w)
{
    world_begin(w, 1);
    w->options.config.segment_bytes = 2000;
    w->options.config.index_interval_bytes = 100;
    cr_assert_eq(world_open(w), ERR_OK);
    for (int i = 0; i < 8; i++) {
        if (i == 6) {
            log_flush_ok(w);
            w->options.recovery_point = plog_recovery_point(w->log);
        }
        struct batch_want want = {.first_ms = LOG_EPOCH_MS + plog_offset_end(w->log),
                                  .value_bytes = 500,
                                  .producer = 1,
                                  .sequence = i};
        log_append_ok(w, want, i / 3);
    }
    cr_assert_eq(w->log->segs_count, 3);
}

/* What is being looked at, for the report of a failure. */
static const char *now;

static void say(void)
{
    if (now != NULL) {
        fprintf(stderr, "after: %s\n", now);
    }
}

/* True when the k-th call was reached. */
static bool fail_at(const struct step *step, const struct fs_fault_plan *plan)
{
    struct log_world w;
    begin(&w);
    int64_t acked = plog_offset_end(w.log);
    fs_fault_set(w.fault, plan);
    enum err err = step->run(&w);
    bool hit = fs_fault_hits(w.fault) > 0;
    fs_fault_clear(w.fault);
    if (!hit) {
        cr_assert_eq(err, ERR_OK, "%s: %s", step->name, err_name(err));
        cr_assert_eq(w.failures, 0);
        world_end(&w);
        return false;
    }
    cr_assert_eq(err != ERR_OK, plog_failed(w.log), "%s: %s", step->name, err_name(err));
    cr_assert_eq(w.failures, plog_failed(w.log) ? 1 : 0, "%s", step->name);
    if (plog_failed(w.log)) {
        cr_assert_eq(err, ERR_KAFKA_STORAGE_ERROR, "%s: %s", step->name, err_name(err));
        /* For good, although the disk works again. */
        cr_assert_eq(do_append(&w), ERR_KAFKA_STORAGE_ERROR, "%s", step->name);
        cr_assert_eq(do_flush(&w), ERR_KAFKA_STORAGE_ERROR, "%s", step->name);
        cr_assert_eq(do_roll(&w), ERR_KAFKA_STORAGE_ERROR, "%s", step->name);
        cr_assert_eq(do_retain(&w), ERR_KAFKA_STORAGE_ERROR, "%s", step->name);
        cr_assert_eq(plog_close(w.log), ERR_KAFKA_STORAGE_ERROR, "no clean stop");
        w.log = NULL;
    }
    step_workers(&w);
    plog_abandon(w.log);
    fs_sim_kill(w.sim);
    bool shortens = step->run == do_truncate || step->run == do_restart;
    w.model.flushed = shortens ? w.model.flushed : acked;
    cr_assert_eq(world_open(&w), ERR_OK, "%s", step->name);
    now = step->name;
    if (step->run == do_restart && plog_log_start(w.log) == 1000) {
        model_clear(&w.model); /* it had come as far as the new beginning */
    }
    (void)check_log(&w);
    now = NULL;
    world_end(&w);
    return true;
}

static void fail_each(uint32_t ops, enum err err, size_t short_bytes)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct fs_fault_plan plan = {
            .ops = ops, .repeat = 1, .err = err, .short_bytes = short_bytes};
        while (fail_at(&steps[i], &plan)) {
            plan.after++;
        }
    }
}

Test(fail, each_call_with_an_error, .fini = say)
{
    fail_each(FS_OPS_ALL, ERR_IO, 0);
}

Test(fail, each_write_on_a_full_disk, .fini = say)
{
    fail_each(FS_OPS_WRITE | FS_OP_BIT(FS_OP_OPEN), ERR_NO_SPACE, 0);
}

Test(fail, each_write_half_way, .fini = say)
{
    for (size_t part = 1; part < 600; part += 150) {
        fail_each(FS_OPS_WRITE, ERR_NO_SPACE, part);
    }
}

/* ---- opening ---- */

static bool open_fails_at(bool clean, int64_t k)
{
    struct log_world w;
    begin(&w);
    w.options.recovery_point = 2;
    if (clean) {
        cr_assert_eq(plog_close(w.log), ERR_OK);
        step_workers(&w);
    } else {
        world_abandon(&w);
    }
    w.log = NULL;
    w.options.clean = clean;
    fs_fault_set(w.fault, &(struct fs_fault_plan){
                              .ops = FS_OPS_ALL, .after = k, .repeat = 1, .err = ERR_IO});
    enum err err = world_open(&w);
    bool hit = fs_fault_hits(w.fault) > 0;
    fs_fault_clear(w.fault);
    if (err != ERR_OK) {
        cr_assert(hit);
        w.log = NULL;
        cr_assert_eq(world_open(&w), ERR_OK, "the disk works again");
    }
    w.model.flushed = 8;
    cr_assert_eq(check_log(&w), 8);
    world_end(&w);
    return hit;
}

Test(fail, each_call_of_opening_after_a_crash)
{
    int64_t k = 0;
    while (open_fails_at(false, k)) {
        k++;
    }
    cr_assert_gt(k, 20);
}

Test(fail, each_call_of_opening_after_a_clean_stop)
{
    int64_t k = 0;
    while (open_fails_at(true, k)) {
        k++;
    }
    cr_assert_gt(k, 15);
}

/* ---- syncs ---- */

/* Linux counts pages as clean after a failed sync: a second one would lie. */
Test(fail, the_first_sync_error_is_final)
{
    for (int64_t after = 0; after < 3; after++) {
        struct log_world w;
        begin(&w);
        int64_t flushed = plog_recovery_point(w.log);
        fs_sim_fail_sync(w.sim, after);
        enum err err = plog_flush(w.log);
        bool failed = plog_failed(w.log);
        cr_assert_eq(err == ERR_OK, !failed);
        if (failed) {
            cr_assert_eq(w.failures, 1);
            cr_assert_eq(plog_recovery_point(w.log), flushed, "it does not move");
            cr_assert_eq(plog_flush(w.log), ERR_KAFKA_STORAGE_ERROR, "never tried again");
        }
        world_abandon(&w);
        fs_sim_crash(w.sim);
        fs_sim_fail_sync(w.sim, -1);
        cr_assert_eq(world_open(&w), ERR_OK);
        (void)check_log(&w);
        world_end(&w);
    }
}

Test(fail, a_sync_that_fails_at_a_worker_fails_the_log)
{
    struct log_world w;
    begin(&w);
    step_workers(&w);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    fs_sim_fail_sync(w.sim, 0);
    step_workers(&w);
    cr_assert(plog_failed(w.log));
    cr_assert_eq(w.failures, 1);
    cr_assert_eq(plog_recovery_point(w.log), 6);
    cr_assert_eq(plog_close(w.log), ERR_KAFKA_STORAGE_ERROR);
    w.log = NULL;
    world_end(&w);
}

Test(fail, an_append_that_was_not_written_is_not_seen)
{
    struct log_world w;
    begin(&w);
    int64_t end = plog_offset_end(w.log);
    fs_fault_set(w.fault, &(struct fs_fault_plan){.ops = FS_OP_BIT(FS_OP_PWRITEV),
                                                  .repeat = 1,
                                                  .err = ERR_NO_SPACE,
                                                  .short_bytes = 30});
    cr_assert_eq(do_append(&w), ERR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(plog_offset_end(w.log), end);
    cr_assert_eq(model_prefix(&w), 8, "readers see what was there before");
    world_end(&w);
}
