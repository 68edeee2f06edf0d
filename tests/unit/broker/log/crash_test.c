/* A log stopped at every call to the disk, and at random ones, by the end of the process or of the
 * power, and opened again: what it holds then is compared with a model.
 *
 * A run is a list of operations drawn from a seed. The k-th call to the disk and all later ones
 * fail (a write may leave a part); then the process or the machine ends, the disk works again, and
 * the log is opened with the checkpoints of some earlier moment. It must hold a prefix of what was
 * appended, with all that was flushed; epochs and producers must be those of the batches; opening
 * it once more must change nothing. */
#include "base/rng.h"
#include "log_fixture.h"

enum { OPS_EVERY = 24, OPS_LONG = 70, LIVES = 4, PRODUCERS = 3, SEEDS = 12, LONG_RUNS = 300 };

struct run {
    struct log_world w;
    struct rng rng;
    int32_t epoch;
    int64_t taken; /* everything before it was acknowledged: the end of the process keeps it */
    int32_t sequences[PRODUCERS + 1];
    /* A truncation did. Whoever owns the directory cuts again: start_mark_test.c. */
    bool cut_failed;
};

/* Every other one's records may be compacted away: a hole must not be taken for that. */
static struct topic_config run_config(uint64_t seed)
{
    struct topic_config config = log_config();
    config.cleanup_policy |= seed % 2 == 1 ? TOPIC_CLEANUP_COMPACT : 0;
    config.segment_bytes = 3000;
    config.index_interval_bytes = 200;
    config.retention_bytes = 6000;
    return config;
}

static void run_begin(struct run *run, uint64_t seed)
{
    *run = (struct run){0};
    world_begin(&run->w, seed);
    run->w.options.config = run_config(seed);
    rng_seed(&run->rng, seed);
    cr_assert_eq(world_open(&run->w), ERR_OK);
}

static uint64_t below(struct run *run, uint64_t bound)
{
    return rng_below(&run->rng, bound);
}

/* What the checkpoint files say from now on. */
static void checkpoint(struct run *run)
{
    run->w.options.recovery_point = plog_recovery_point(run->w.log);
    run->w.options.log_start_offset = plog_log_start(run->w.log);
}

static void note_start(struct run *run)
{
    struct model *model = &run->w.model;
    int64_t start = plog_log_start(run->w.log);
    model->start_max = start > model->start_max ? start : model->start_max;
}

static enum err op_append(struct run *run)
{
    struct batch_want want = {
        .records = 1 + (int)below(run, 3),
        .first_ms = LOG_EPOCH_MS + plog_offset_end(run->w.log),
        .value_bytes = below(run, 4) == 0 ? 700 : (int)below(run, 60),
        .producer = (int64_t)below(run, PRODUCERS + 1),
    };
    want.sequence = run->sequences[want.producer];
    run->epoch += below(run, 10) == 0 ? 1 : 0;
    struct plog_batch batch = log_append(&run->w, want, run->epoch);
    if (batch.err == ERR_OK && want.producer != 0) {
        run->sequences[want.producer] += want.records;
    }
    run->taken = plog_offset_end(run->w.log);
    return batch.err;
}

static enum err op_flush(struct run *run)
{
    int64_t end = plog_offset_end(run->w.log);
    enum err err = plog_flush(run->w.log);
    if (err == ERR_OK) {
        run->w.model.flushed = end;
    }
    return err;
}

/* Remove what lies behind `cut` from the model; from then on its producers count as before. */
static void model_cut(struct run *run, int64_t cut)
{
    struct model *model = &run->w.model;
    while (model->count > 0 && batch_last_offset(&model->batches[model->count - 1].header) >= cut) {
        buf_fini(&model->batches[--model->count].data);
    }
    memset(run->sequences, 0, sizeof(run->sequences));
    for (int32_t i = 0; i < model->count; i++) {
        const struct batch_header *header = &model->batches[i].header;
        if (header->producer_id > 0) {
            run->sequences[header->producer_id] = batch_last_sequence(header) + 1;
        }
    }
}

static enum err op_truncate(struct run *run)
{
    struct plog *log = run->w.log;
    int64_t span = plog_offset_end(log) - plog_log_start(log);
    int64_t cut = plog_offset_end(log) - (int64_t)below(run, (uint64_t)span + 1) / 2;
    struct model *model = &run->w.model;
    int64_t flushed = model->flushed;
    /* A batch that contains `cut` goes as a whole. */
    for (int32_t i = 0; i < model->count; i++) {
        const struct batch_header *header = &model->batches[i].header;
        if (header->base_offset < cut && batch_last_offset(header) >= cut) {
            cut = header->base_offset;
        }
    }
    model->flushed = flushed < cut ? flushed : cut;
    run->taken = run->taken < cut ? run->taken : cut;
    enum err err = plog_truncate_to(log, cut);
    run->cut_failed = err != ERR_OK;
    if (err == ERR_OK) {
        model_cut(run, cut);
        cr_assert_eq(plog_offset_end(log), cut);
    }
    return err;
}

static enum err op_delete_records(struct run *run)
{
    struct plog *log = run->w.log;
    int64_t span = plog_offset_end(log) - plog_log_start(log);
    enum err err =
        plog_set_log_start(log, plog_log_start(log) + (int64_t)below(run, (uint64_t)span / 4 + 1));
    note_start(run);
    return err;
}

static enum err op_retain(struct run *run)
{
    enum err err = plog_delete_old_segments(run->w.log, plog_offset_end(run->w.log), LOG_EPOCH_MS);
    note_start(run);
    return err == ERR_AGAIN ? ERR_OK : err; /* some of them will do */
}

static enum err op_clean_restart(struct run *run)
{
    struct log_world *w = &run->w;
    int64_t end = plog_offset_end(w->log);
    checkpoint(run);
    step_workers(w);
    enum err err = plog_close(w->log);
    w->log = NULL;
    if (err != ERR_OK) {
        return err;
    }
    w->model.flushed = end;
    w->options.clean = true;
    err = world_open(w);
    w->options.clean = false;
    if (err == ERR_OK) {
        cr_assert_eq(plog_offset_end(w->log), end);
        checkpoint(run);
    }
    return err;
}

static enum err one_op(struct run *run)
{
    switch (below(run, 16)) {
    case 0:
        return op_flush(run);
    case 1:
        return plog_roll(run->w.log, LOG_EPOCH_MS);
    case 2:
        (void)worker_pool_step(run->w.workers);
        return plog_failed(run->w.log) ? ERR_IO : ERR_OK;
    case 3:
        return op_retain(run);
    case 4:
        return op_delete_records(run);
    case 5:
        return op_truncate(run);
    case 6:
        return op_clean_restart(run);
    case 7:
        checkpoint(run);
        return ERR_OK;
    default:
        return op_append(run);
    }
}

static void stop(struct run *run, bool power)
{
    world_abandon(&run->w);
    if (power) {
        fs_sim_crash(run->w.sim);
        run->taken = run->w.model.flushed;
    } else {
        fs_sim_kill(run->w.sim);
    }
    fs_fault_clear(run->w.fault);
    run->w.options.clean = false;
}

/* The power fails while the log is being opened after a stop. */
static void stop_while_opening(struct run *run)
{
    stop(run, true);
    fs_fault_set(run->w.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                       .after = (int64_t)below(run, 40),
                                                       .repeat = FS_FAULT_FOR_EVER,
                                                       .err = ERR_IO});
    if (world_open(&run->w) != ERR_OK) {
        run->w.log = NULL;
    }
}

/* The machine or the process ends, and the log is opened again. */
static void recover(struct run *run, bool power)
{
    struct log_world *w = &run->w;
    int64_t flushed = w->model.flushed;
    stop(run, power || run->cut_failed);
    run->cut_failed = false;
    w->model.flushed = run->taken;
    cr_assert_eq(world_open(w), ERR_OK);
    /* What was left ended before the log start that the checkpoint knows: a log without a past. */
    bool anew = plog_log_start(w->log) == plog_offset_end(w->log) && w->log->snapshot_newest < 0;
    model_cut(run, anew ? 0 : plog_offset_end(w->log));
    cr_assert_eq(check_log(w), w->model.count);
    run->taken = plog_offset_end(w->log);
    w->model.flushed = flushed;
}

/* Opened once more, nothing may have changed. */
static void recover_again(struct run *run)
{
    struct log_world *w = &run->w;
    int64_t end = plog_offset_end(w->log);
    int64_t start = plog_log_start(w->log);
    world_abandon(w);
    fs_sim_kill(w->sim);
    uint64_t before = fs_sim_digest(w->sim);
    cr_assert_eq(world_open(w), ERR_OK);
    cr_assert_eq(plog_offset_end(w->log), end);
    cr_assert_eq(plog_log_start(w->log), start);
    (void)check_log(w);
    cr_assert_eq(fs_sim_digest(w->sim), before, "a second recovery changed something");
}

/* The recovered log must be as good as any: use it, and stop it once more. */
static void go_on(struct run *run)
{
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(op_append(run), ERR_OK);
    }
    cr_assert_eq(op_flush(run), ERR_OK);
    (void)check_log(&run->w);
    checkpoint(run);
    recover(run, true);
}

/* What is running, for the report of a failure. */
static char now[128];

static void say(void)
{
    if (now[0] != '\0') {
        fprintf(stderr, "in %s\n", now);
    }
}

/* Up to `ops` operations, until the disk's call `k`; false when they need fewer. */
static bool live(struct run *run, int ops, int64_t k)
{
    fs_fault_set(run->w.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                       .after = k,
                                                       .repeat = FS_FAULT_FOR_EVER,
                                                       .err = ERR_IO,
                                                       .short_bytes = below(run, 1000)});
    enum err err = ERR_OK;
    for (int i = 0; i < ops && err == ERR_OK; i++) {
        err = one_op(run);
    }
    return fs_fault_hits(run->w.fault) > 0;
}

/* Stop before the disk's call `k`; false when the run needs fewer. */
static bool crash_at(uint64_t seed, int64_t k, bool power)
{
    struct run run;
    snprintf(now, sizeof(now), "crash_at(%" PRIu64 ", %" PRId64 ", %s)", seed, k,
             power ? "power" : "process");
    run_begin(&run, seed);
    bool hit = live(&run, OPS_EVERY, k);
    recover(&run, power);
    recover_again(&run);
    go_on(&run);
    world_end(&run.w);
    now[0] = '\0';
    return hit;
}

/* Several lives of one log, each of which ends at a random call; now and then while it is being
 * opened. */
static void several_lives(uint64_t seed)
{
    struct run run;
    snprintf(now, sizeof(now), "several_lives(%" PRIu64 ")", seed);
    run_begin(&run, seed);
    for (int i = 0; i < LIVES; i++) {
        (void)live(&run, OPS_LONG, (int64_t)below(&run, 500));
        for (int again = 0; below(&run, 3) == 0; again++) {
            stop_while_opening(&run);
        }
        recover(&run, below(&run, 4) != 0);
    }
    recover_again(&run);
    go_on(&run);
    world_end(&run.w);
    now[0] = '\0';
}

Test(crash, process_ends_at_every_call, .fini = say)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t k = 0;
        while (crash_at(seed, k, false)) {
            k++;
        }
        cr_assert_gt(k, OPS_EVERY / 2);
    }
}

Test(crash, power_fails_at_every_call, .fini = say)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t k = 0;
        while (crash_at(seed, k, true)) {
            k++;
        }
        cr_assert_gt(k, OPS_EVERY / 2);
    }
}

Test(crash, several_lives_end_at_random_calls, .fini = say)
{
    for (uint64_t seed = 1000; seed < 1000 + LONG_RUNS; seed++) {
        several_lives(seed);
    }
}
