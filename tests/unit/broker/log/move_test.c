/* A log changes its directory: copied, cut where the current one was cut, put in its place; with
 * every call to the disk failing in turn, and with the process or the power ending at every call.
 */
#include "log/move.h"

#include "log/logs_internal.h"
#include "log_fixture.h"

enum { BATCHES = 6, LATER = 2, VALUE_BYTES = 300 };

/* A broker with two directories, whose only log is orders-0. */
struct mover {
    struct fs_sim *sim;
    struct fs_fault *fault;
    struct clock_manual clock;
    struct worker_pool *workers;
    struct logs *logs;
    int dirs_failed;
};

static void on_dir_failed(void *arg, const char *dir)
{
    (void)dir;
    ((struct mover *)arg)->dirs_failed++;
}

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg;
    (void)topic;
    *out = log_config();
    out->segment_bytes = 1000;
    out->index_interval_bytes = 100;
}

static void mover_begin(struct mover *m, uint64_t seed)
{
    *m = (struct mover){.sim = fs_sim_new(seed)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    m->fault = fs_fault_new(fs_sim_fs(m->sim));
    m->workers = worker_pool_new("test", 0);
    clock_manual_init(&m->clock, LOG_EPOCH_MS);
}

static void open_logs(struct mover *m)
{
    static const char *const names[] = {"/a", "/b"};
    struct errmsg msg = {""};
    struct logs_options options = {
        .fs = fs_fault_fs(m->fault),
        .clock = &m->clock.clock,
        .workers = m->workers,
        .dirs = names,
        .dirs_count = 2,
        .producer_expiration_ms = INT64_C(24) * 3600 * 1000,
        .on_dir_failed = on_dir_failed,
        .arg = m,
    };
    m->dirs_failed = 0;
    cr_assert_eq(logs_open(&options, &m->logs, &msg), ERR_OK, "%s", msg.text);
    cr_assert_eq(logs_set_identity(m->logs, 7, "cluster-one", &msg), ERR_OK, "%s", msg.text);
    cr_assert_eq(logs_load(m->logs, config_of, NULL, &msg), ERR_OK, "%s", msg.text);
    cr_assert_eq(m->dirs_failed, 0);
}

static void run_workers(struct mover *m)
{
    while (worker_pool_step(m->workers)) {
    }
}

static void leave_logs(struct mover *m)
{
    run_workers(m);
    logs_free(m->logs);
    m->logs = NULL;
}

static void mover_end(struct mover *m)
{
    if (m->logs != NULL) {
        leave_logs(m);
    }
    worker_pool_free(m->workers);
    fs_fault_free(m->fault);
    fs_sim_free(m->sim);
}

static struct logs_entry *entry_of(struct mover *m)
{
    struct logs_entry *entry = logs_find(m->logs, STR("orders"), 0);
    cr_assert_not_null(entry, "the log is gone");
    return entry;
}

static struct logs_entry *make_log(struct mover *m)
{
    struct topic_config config;
    struct logs_entry *entry;
    config_of(NULL, STR("orders"), &config);
    logs_prefer(m->logs, STR("orders"), 0, logs_dir(m->logs, 0));
    cr_assert_eq(logs_create(m->logs, STR("orders"), 0, (struct uuid){{9}}, &config, &entry),
                 ERR_OK);
    logs_settle(m->logs, NULL, NULL, NULL);
    return entry;
}

/* Batch number `i` of producer 1; its value bytes say `mark`. */
static enum err append_marked(struct plog *log, int i, int32_t epoch, char mark)
{
    struct batch_want want = {.records = 2,
                              .first_ms = LOG_EPOCH_MS + i,
                              .value_bytes = VALUE_BYTES + (mark == 'x' ? 0 : 7),
                              .producer = 1,
                              .sequence = 2 * i};
    struct buf data = make_batch(want);
    struct plog_batch batch = plog_batch_of(&data);
    plog_append_leader(log, &batch, 1, epoch, LOG_EPOCH_MS);
    buf_fini(&data);
    return batch.err;
}

static enum err append(struct plog *log, int i)
{
    return append_marked(log, i, i / 3, 'x');
}

static void append_ok(struct plog *log, int from, int to)
{
    for (int i = from; i < to; i++) {
        cr_assert_eq(append(log, i), ERR_OK);
    }
}

static enum err copy_all(struct plog *future, struct plog *current, size_t piece)
{
    struct buf scratch = {0};
    size_t copied = 1;
    enum err err = plog_agree(future, current);
    while (err == ERR_OK && copied > 0) {
        err = plog_copy(future, current, &scratch, piece, &copied);
    }
    buf_fini(&scratch);
    return err;
}

static void assert_equal(struct plog *a, struct plog *b)
{
    cr_assert_eq(plog_offset_end(a), plog_offset_end(b));
    cr_assert_eq(plog_log_start(a), plog_log_start(b));
    struct buf of_a = read_log(a, plog_log_start(a));
    struct buf of_b = read_log(b, plog_log_start(b));
    cr_assert_eq(of_a.size, of_b.size);
    cr_assert(of_a.size == 0 || memcmp(of_a.data, of_b.data, of_a.size) == 0);
    buf_fini(&of_a);
    buf_fini(&of_b);
}

static enum err make_future(struct mover *m, struct logs_entry *entry)
{
    struct topic_config config;
    config_of(NULL, STR("orders"), &config);
    struct logdir *other =
        entry->dir == logs_dir(m->logs, 0) ? logs_dir(m->logs, 1) : logs_dir(m->logs, 0);
    return logs_make_future(m->logs, entry, other, &config);
}

static enum move_end take_over(struct mover *m, struct logs_entry *entry)
{
    struct plog *moved;
    char *left_behind;
    enum move_end end =
        plog_take_over(entry->future, entry->log, entry->future_dir->flusher, &moved, &left_behind);
    if (end == MOVE_DONE) {
        plog_abandon(logs_moved(m->logs, entry, moved, left_behind));
        mem_free(left_behind);
    }
    return end;
}

static void move_ok(struct mover *m, struct logs_entry *entry)
{
    struct logdir *target = entry->future_dir;
    cr_assert_eq(copy_all(entry->future, entry->log, 700), ERR_OK);
    cr_assert_eq(take_over(m, entry), MOVE_DONE);
    cr_assert_eq(entry->dir, target);
}

static bool exists(struct mover *m, const char *path)
{
    struct fs_stat st;
    return fs_stat(fs_sim_fs(m->sim), path, &st) == ERR_OK;
}

static enum err count_entry(void *arg, const char *name, bool is_dir)
{
    (*(int *)arg) += is_dir ? 1 : 0;
    (void)name;
    return ERR_OK;
}

/* Directories in one of log.dirs. */
static int folders(struct mover *m, const char *dir)
{
    int count = 0;
    cr_assert_eq(fs_list(fs_sim_fs(m->sim), dir, count_entry, &count), ERR_OK);
    return count;
}

/* What the log holds must be the first batches that were appended. */
static void check_prefix(struct plog *log, int at_least)
{
    int64_t end = plog_offset_end(log);
    cr_assert_geq(end, 2 * at_least, "%d of %d batches are left", (int)end / 2, at_least);
    struct mover model;
    mover_begin(&model, 1);
    open_logs(&model);
    struct plog *whole = make_log(&model)->log;
    append_ok(whole, 0, (int)end / 2);
    assert_equal(log, whole);
    mover_end(&model);
}

/* ---- the way it goes ---- */

Test(move, a_log_changes_its_directory_with_everything_in_it)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    cr_assert_eq(entry->dir, logs_dir(m.logs, 0));
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(plog_begin_epoch(entry->log, 40), ERR_OK); /* without a record yet */
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    cr_assert_gt(plog_missing(entry->future, entry->log, INT64_MAX), BATCHES * VALUE_BYTES);
    cr_assert_eq(plog_missing(entry->future, entry->log, 10), 10);
    move_ok(&m, entry);
    cr_assert(exists(&m, "/b/orders-0/00000000000000000000.log"));
    cr_assert_not(exists(&m, "/b/orders-0/complete"));
    cr_assert_not(exists(&m, "/a/orders-0"));
    check_prefix(entry->log, BATCHES);
    cr_assert_eq(epochs_latest(plog_epochs(entry->log)), 40);
    /* The producer is known: its next batch follows, a repeated one is no new one. */
    int64_t end = plog_offset_end(entry->log);
    cr_assert_eq(append(entry->log, BATCHES - 1), ERR_OK);
    cr_assert_eq(plog_offset_end(entry->log), end);
    append_ok(entry->log, BATCHES, BATCHES + 1);
    run_workers(&m);
    cr_assert_eq(folders(&m, "/a"), 0, "the old directory is removed");
    cr_assert_eq(folders(&m, "/b"), 1);
    cr_assert_eq(logs_dir(m.logs, 0)->logs_count, 0);
    cr_assert_eq(logs_dir(m.logs, 1)->logs_count, 1);
    /* And back again. */
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    move_ok(&m, entry);
    cr_assert_eq(plog_offset_end(entry->log), 2 * (BATCHES + 1));
    mover_end(&m);
}

/* The answers to several batches under way were lost: all of them come once more, and the first was
 * refused as out of order. Found by tests/sim, seed 1609. */
Test(move, a_batch_before_a_producers_last_one_is_known_in_the_new_directory)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, 5);
    int64_t end = plog_offset_end(entry->log);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    move_ok(&m, entry);
    append_ok(entry->log, 2, 5);
    cr_assert_eq(plog_offset_end(entry->log), end);
    mover_end(&m);
}

Test(move, records_that_are_cut_off_meanwhile_are_cut_off_in_the_copy)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    cr_assert_eq(plog_truncate_to(entry->log, 8), ERR_OK);
    for (int i = 4; i < BATCHES + 2; i++) {
        cr_assert_eq(append_marked(entry->log, i, 7, 'y'), ERR_OK);
    }
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    assert_equal(entry->future, entry->log);
    /* Everything goes, and other records come with other offsets. */
    cr_assert_eq(plog_restart_at(entry->log, 100), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    cr_assert_eq(plog_offset_end(entry->future), 100);
    cr_assert_eq(append_marked(entry->log, 20, 8, 'y'), ERR_OK);
    cr_assert_eq(plog_restart_at(entry->log, 3), ERR_OK);
    cr_assert_eq(append_marked(entry->log, 30, 9, 'y'), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    assert_equal(entry->future, entry->log);
    mover_end(&m);
}

/* Messages of before Kafka 0.11 were taken for damage: such a log could not change its directory.
 */
Test(move, messages_of_old_formats_are_copied)
{
    struct mover m;
    struct buf data = {0};
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    put_message(&data, 0, COMPRESS_NONE, LOG_EPOCH_MS, (struct bytes){(const uint8_t *)"v", 1});
    put_wrapper(&data, 1, 5, LOG_EPOCH_MS + 1);
    struct bytes all = {data.data, data.size};
    cr_assert_eq(plog_append_follower(entry->log, all, LOG_EPOCH_MS), ERR_OK);
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 100), ERR_OK);
    assert_equal(entry->future, entry->log);
    buf_fini(&data);
    mover_end(&m);
}

Test(move, a_log_that_begins_within_a_batch_is_copied)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(plog_set_log_start(entry->log, 5), ERR_OK);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 1), ERR_OK);
    assert_equal(entry->future, entry->log);
    cr_assert_eq(entry->future->segs[0]->base_offset, 4);
    cr_assert_eq(plog_set_log_start(entry->log, 2 * BATCHES), ERR_OK);
    move_ok(&m, entry);
    cr_assert_eq(plog_log_start(entry->log), 2 * BATCHES);
    mover_end(&m);
}

/* One record at `offset`, as a leader sends it whose log was compacted. */
static void follow_at(struct plog *log, int64_t offset)
{
    struct buf data = make_batch((struct batch_want){.first_ms = LOG_EPOCH_MS, .value_bytes = 400});
    batch_patch_offset_epoch(data.data, offset, 0);
    cr_assert_eq(plog_append_follower(log, (struct bytes){data.data, data.size}, LOG_EPOCH_MS),
                 ERR_OK);
    buf_fini(&data);
}

/* Cut where compaction has left nothing, a log ends behind its last batch. The copy ended with the
 * batch: moving such a log ended the broker, and never got so far where it was large. */
Test(move, a_log_that_ends_behind_its_last_batch_is_moved)
{
    for (int64_t first = 0; first <= 3; first += 3) {
        struct mover m;
        mover_begin(&m, 1);
        open_logs(&m);
        struct logs_entry *entry = make_log(&m);
        follow_at(entry->log, first);
        follow_at(entry->log, 10);
        cr_assert_eq(plog_truncate_to(entry->log, first > 0 ? 2 : 5), ERR_OK);
        int64_t end = plog_offset_end(entry->log);
        cr_assert_eq(end, first > 0 ? 2 : 5);
        cr_assert_eq(make_future(&m, entry), ERR_OK);
        cr_assert_eq(copy_all(entry->future, entry->log, 700), ERR_OK);
        cr_assert_eq(plog_missing(entry->future, entry->log, INT64_MAX), 0);
        move_ok(&m, entry);
        cr_assert_eq(plog_offset_end(entry->log), end);
        follow_at(entry->log, end);
        cr_assert_eq(plog_offset_end(entry->log), end + 1);
        mover_end(&m);
    }
}

/* The copy had more, and is cut in the same gap. It was opened in its new place where its last
 * batch ends, before the end of the log whose place it took, which ended the broker. */
Test(move, a_copy_that_is_cut_where_compaction_had_left_nothing_takes_the_place)
{
    for (int64_t first = 0; first <= 3; first += 3) {
        struct mover m;
        mover_begin(&m, 1);
        open_logs(&m);
        struct logs_entry *entry = make_log(&m);
        follow_at(entry->log, first);
        follow_at(entry->log, 10);
        cr_assert_eq(make_future(&m, entry), ERR_OK);
        cr_assert_eq(copy_all(entry->future, entry->log, 700), ERR_OK);
        cr_assert_eq(plog_truncate_to(entry->log, first > 0 ? 2 : 5), ERR_OK);
        int64_t end = plog_offset_end(entry->log);
        move_ok(&m, entry);
        cr_assert_eq(plog_offset_end(entry->log), end);
        follow_at(entry->log, end);
        cr_assert_eq(plog_offset_end(entry->log), end + 1);
        mover_end(&m);
    }
}

/* A disk that fails is one to move away from. A read that had begun before ended with its error
 * behind the move, and took the new directory offline. */
Test(move, an_error_of_the_old_directory_is_none_of_the_new_one)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, BATCHES);
    struct view *view = plog_view_get(entry->log);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    move_ok(&m, entry);
    plog_unreadable(entry->log, view, ERR_IO);
    cr_assert(!plog_failed(entry->log));
    cr_assert_eq(m.dirs_failed, 0);
    view_put(view);
    view = plog_view_get(entry->log);
    plog_unreadable(entry->log, view, ERR_IO);
    cr_assert(plog_failed(entry->log));
    cr_assert_eq(m.dirs_failed, 1);
    view_put(view);
    mover_end(&m);
}

/* The process ends just after the move: the new directory's checkpoints must know the log already,
 * or what had been deleted is there again. */
Test(move, a_log_that_has_just_moved_begins_where_it_began)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(plog_set_log_start(entry->log, 5), ERR_OK);
    entry->offset_hw = 7;
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    move_ok(&m, entry);
    leave_logs(&m);
    open_logs(&m);
    cr_assert_eq(plog_log_start(entry_of(&m)->log), 5);
    cr_assert_eq(entry_of(&m)->offset_hw, 7);
    mover_end(&m);
}

Test(move, a_move_that_is_given_up_leaves_nothing)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    logs_drop_future(m.logs, entry);
    run_workers(&m);
    cr_assert_eq(folders(&m, "/b"), 0);
    cr_assert_eq(logs_dir(m.logs, 1)->logs_count, 0);
    append_ok(entry->log, BATCHES, BATCHES + 1);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    logs_delete(m.logs, STR("orders"), 0);
    run_workers(&m);
    cr_assert_eq(folders(&m, "/a") + folders(&m, "/b"), 0);
    mover_end(&m);
}

Test(move, a_name_that_is_too_long_for_a_directory_is_refused)
{
    struct mover m;
    char topic[250];
    struct topic_config config;
    struct logs_entry *entry;
    mover_begin(&m, 1);
    open_logs(&m);
    memset(topic, 't', sizeof(topic));
    config_of(NULL, STR(""), &config);
    cr_assert_eq(
        logs_create(m.logs, (struct str){topic, 214}, 0, (struct uuid){{9}}, &config, &entry),
        ERR_OK);
    cr_assert_eq(make_future(&m, entry), ERR_INVALID_TOPIC_EXCEPTION);
    cr_assert_eq(
        logs_create(m.logs, (struct str){topic, 213}, 0, (struct uuid){{9}}, &config, &entry),
        ERR_OK);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    mover_end(&m);
}

/* ---- starts ---- */

Test(move, the_next_start_goes_on_with_it)
{
    for (int clean = 0; clean < 2; clean++) {
        struct mover m;
        mover_begin(&m, 1);
        open_logs(&m);
        struct logs_entry *entry = make_log(&m);
        append_ok(entry->log, 0, BATCHES);
        cr_assert_eq(make_future(&m, entry), ERR_OK);
        cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
        append_ok(entry->log, BATCHES, BATCHES + 1);
        if (clean) {
            logs_checkpoint(m.logs, m.logs->hw_of, NULL);
            cr_assert(logs_close(m.logs, m.logs->hw_of, NULL));
        }
        leave_logs(&m);
        fs_sim_kill(m.sim);
        open_logs(&m);
        entry = entry_of(&m);
        cr_assert_not_null(entry->future);
        cr_assert_eq(plog_offset_end(entry->future), 2 * BATCHES);
        move_ok(&m, entry);
        check_prefix(entry->log, BATCHES + 1);
        cr_assert_eq(entry->topic_id.raw[0], 9);
        mover_end(&m);
    }
}

/* A power failure takes the end of the current log, which the copy still has; then other records
 * are appended there. */
Test(move, a_copy_that_has_more_than_the_log_after_a_power_failure_is_cut)
{
    struct mover m;
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, 2);
    cr_assert_eq(plog_flush(entry->log), ERR_OK);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    append_ok(entry->log, 2, BATCHES);
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    cr_assert_eq(plog_flush(entry->future), ERR_OK);
    cr_assert_eq(plog_truncate_to(entry->log, 4), ERR_OK); /* as if lost */
    leave_logs(&m);
    fs_sim_kill(m.sim);
    open_logs(&m);
    entry = entry_of(&m);
    cr_assert_not_null(entry->future);
    for (int i = 2; i < BATCHES + 3; i++) {
        cr_assert_eq(append_marked(entry->log, i, 5, 'y'), ERR_OK);
    }
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    assert_equal(entry->future, entry->log);
    mover_end(&m);
}

/* The log that it was copied from may be in a directory that cannot be read now. */
/* With a directory that cannot be read. */
static void open_partly(struct mover *m)
{
    struct errmsg msg;
    static const char *const names[] = {"/a", "/b"};
    struct logs_options options = {.fs = fs_fault_fs(m->fault),
                                   .clock = &m->clock.clock,
                                   .workers = m->workers,
                                   .dirs = names,
                                   .dirs_count = 2};
    cr_assert_eq(logs_open(&options, &m->logs, &msg), ERR_OK);
    cr_assert_eq(logs_load(m->logs, config_of, NULL, &msg), ERR_OK);
}

Test(move, a_complete_copy_is_not_taken_while_a_directory_is_offline)
{
    struct mover m;
    static const struct fs_fault_plan broken = {
        .ops = FS_OPS_ALL, .path = "/a", .repeat = FS_FAULT_FOR_EVER, .err = ERR_IO};
    mover_begin(&m, 1);
    open_logs(&m);
    struct logs_entry *entry = make_log(&m);
    append_ok(entry->log, 0, BATCHES);
    cr_assert_eq(make_future(&m, entry), ERR_OK);
    cr_assert_eq(copy_all(entry->future, entry->log, 1 << 20), ERR_OK);
    char *marker = mem_printf("%s/complete", plog_dir(entry->future));
    cr_assert_eq(fs_replace(fs_sim_fs(m.sim), marker, "", 0), ERR_OK);
    mem_free(marker);
    append_ok(entry->log, BATCHES, BATCHES + 1);
    leave_logs(&m);
    fs_sim_kill(m.sim);
    fs_fault_set(m.fault, &broken);
    open_partly(&m);
    cr_assert_null(logs_find(m.logs, STR("orders"), 0));
    leave_logs(&m);
    fs_sim_kill(m.sim);
    fs_fault_clear(m.fault);
    open_logs(&m);
    check_prefix(entry_of(&m)->log, BATCHES + 1);
    mover_end(&m);
}

/* ---- failures ---- */

/* The whole of a move. *appended: batches that the log took. */
static enum move_end try_move(struct mover *m, struct logs_entry *entry, int *appended)
{
    enum move_end end = MOVE_KEPT;
    *appended = BATCHES;
    if (make_future(m, entry) != ERR_OK) {
        return end;
    }
    if (copy_all(entry->future, entry->log, 700) == ERR_OK &&
        append(entry->log, BATCHES) == ERR_OK) {
        (*appended)++;
        end = take_over(m, entry);
    }
    if (end != MOVE_LOST && append(entry->log, *appended) == ERR_OK) {
        (*appended)++;
    }
    return end;
}

static void start_and_finish(struct mover *m, int at_least)
{
    open_logs(m);
    struct logs_entry *entry = entry_of(m);
    check_prefix(entry->log, at_least);
    int have = (int)plog_offset_end(entry->log) / 2;
    cr_assert_eq(entry->topic_id.raw[0], 9);
    if (entry->future == NULL) {
        cr_assert_eq(make_future(m, entry), ERR_OK);
    }
    append_ok(entry->log, have, have + LATER);
    move_ok(m, entry);
    check_prefix(entry->log, have + LATER);
    run_workers(m);
    cr_assert_eq(folders(m, "/a") + folders(m, "/b"), 1, "one directory for one log");
}

static int64_t no_hw(void *arg, struct logs_entry *entry)
{
    (void)arg;
    return entry->offset_hw;
}

static bool move_is_complete(struct mover *m, const struct logs_entry *entry)
{
    char *marker = mem_printf("%s/" MOVE_COMPLETE_NAME, plog_dir(entry->future));
    bool complete = exists(m, marker);
    mem_free(marker);
    return complete;
}

/* The k-th call of some kinds in the new directory fails during a move. */
static enum move_end move_failing_at(struct mover *m, uint32_t ops, int64_t k, int *appended)
{
    mover_begin(m, 1);
    open_logs(m);
    struct logs_entry *entry = make_log(m);
    append_ok(entry->log, 0, BATCHES);
    struct fs_fault_plan plan = {.ops = ops, .path = "/b", .after = k, .repeat = 1, .err = ERR_IO};
    fs_fault_set(m->fault, &plan);
    enum move_end end = try_move(m, entry, appended);
    cr_assert(fs_fault_hits(m->fault) > 0);
    fs_fault_clear(m->fault);
    return end;
}

/* It is not known whether the last rename has happened: the new directory is offline, and the log
 * waits for the next start. The old directory did nothing wrong: it was failed, and suspect, when
 * the broker stopped. */
Test(move, a_directory_that_a_log_has_left_for_a_failing_one_stops_cleanly)
{
    enum move_end end = MOVE_KEPT;
    for (int64_t k = 0; end != MOVE_LOST; k++) {
        struct mover m;
        int appended;
        end = move_failing_at(&m, FS_OP_BIT(FS_OP_SYNC_DIR), k, &appended);
        if (end == MOVE_LOST) {
            cr_assert_not(logs_close(m.logs, no_hw, NULL), "the new directory has failed");
            cr_assert_not(logdir_offline(logs_dir(m.logs, 0)));
            cr_assert(exists(&m, "/a/.kafka_cleanshutdown"));
            leave_logs(&m);
            open_logs(&m);
            check_prefix(entry_of(&m)->log, appended);
        }
        mover_end(&m);
    }
}

/* The current log has lost its name already when the last rename fails, and was not given it back:
 * a start that could not read the new directory removed what the old one had. */
Test(move, a_log_stays_when_it_cannot_get_its_name_in_the_new_directory)
{
    int64_t renames = 0;
    for (bool last = false; !last; renames++) {
        struct mover m;
        int appended;
        cr_assert_eq(move_failing_at(&m, FS_OP_BIT(FS_OP_RENAME), renames, &appended), MOVE_KEPT);
        struct logs_entry *entry = entry_of(&m);
        last = entry->future != NULL && move_is_complete(&m, entry);
        cr_assert_not(plog_failed(entry->log));
        cr_assert(exists(&m, "/a/orders-0"));
        cr_assert_eq(plog_flush(entry->log), ERR_OK);
        leave_logs(&m);
        fs_sim_kill(m.sim);
        start_and_finish(&m, appended);
        mover_end(&m);
    }
    cr_assert_gt(renames, 1);
}

/* The current log has lost its name, and the new one has not got it, when the new directory dies.
 * The next start can read the old directory only, and must not take its copy for a deleted one. */
Test(move, the_copy_that_was_left_behind_stays_while_a_directory_is_offline)
{
    enum move_end end = MOVE_KEPT;
    static const struct fs_fault_plan broken = {
        .ops = FS_OPS_ALL, .path = "/b", .repeat = FS_FAULT_FOR_EVER, .err = ERR_IO};
    for (int64_t k = 0; end != MOVE_LOST; k++) {
        struct mover m;
        int appended;
        end = move_failing_at(&m, FS_OP_BIT(FS_OP_SYNC_DIR), k, &appended);
        leave_logs(&m);
        fs_sim_kill(m.sim);
        if (end == MOVE_LOST) {
            fs_fault_set(m.fault, &broken);
            open_partly(&m);
            cr_assert_null(logs_find(m.logs, STR("orders"), 0));
            leave_logs(&m);
            cr_assert_eq(folders(&m, "/a"), 1);
            fs_fault_clear(m.fault);
        }
        fs_sim_kill(m.sim);
        start_and_finish(&m, appended);
        mover_end(&m);
    }
}

/* One call fails: the log that counts goes on, or both wait for the next start; nothing is lost. */
Test(move, with_every_call_to_the_disk_failing_in_turn)
{
    int64_t hits = 1;
    int lost = 0;
    for (int64_t k = 0; hits > 0; k++) {
        struct mover m;
        int appended;
        mover_begin(&m, 1);
        open_logs(&m);
        struct logs_entry *entry = make_log(&m);
        append_ok(entry->log, 0, BATCHES);
        struct fs_fault_plan plan = {.ops = FS_OPS_ALL, .after = k, .repeat = 1, .err = ERR_IO};
        fs_fault_set(m.fault, &plan);
        enum move_end end = try_move(&m, entry, &appended);
        hits = fs_fault_hits(m.fault);
        cr_assert(hits > 0 || end == MOVE_DONE);
        cr_assert(end != MOVE_LOST || (plog_failed(entry->log) && m.dirs_failed == 1));
        lost += end == MOVE_LOST ? 1 : 0;
        fs_fault_clear(m.fault);
        leave_logs(&m);
        fs_sim_kill(m.sim);
        start_and_finish(&m, appended);
        mover_end(&m);
    }
    cr_assert_gt(lost, 3, "some calls lie behind the point of no return");
}

/* From a call on all fail, and the process or the power ends. What was appended is still there; of
 * a power failure, what was flushed. */
static void stop_at_every_call(bool power)
{
    int64_t hits = 1;
    for (int64_t k = 0; hits > 0; k++) {
        for (uint64_t seed = 1; seed <= (power ? 4 : 1); seed++) {
            struct mover m;
            int appended;
            mover_begin(&m, seed + (uint64_t)k * 7);
            open_logs(&m);
            struct logs_entry *entry = make_log(&m);
            append_ok(entry->log, 0, BATCHES);
            cr_assert_eq(plog_flush(entry->log), ERR_OK);
            logs_checkpoint(m.logs, m.logs->hw_of, NULL);
            struct fs_fault_plan plan = {.ops = FS_OPS_ALL,
                                         .after = k,
                                         .repeat = FS_FAULT_FOR_EVER,
                                         .err = ERR_IO,
                                         .short_bytes = 50};
            fs_fault_set(m.fault, &plan);
            enum move_end end = try_move(&m, entry, &appended);
            hits = fs_fault_hits(m.fault);
            cr_assert(hits > 0 || end == MOVE_DONE);
            leave_logs(&m);
            if (power) {
                fs_sim_crash(m.sim);
            } else {
                fs_sim_kill(m.sim);
            }
            fs_fault_clear(m.fault);
            start_and_finish(&m, power ? BATCHES : appended);
            mover_end(&m);
        }
    }
}

Test(move, with_the_process_ending_at_every_call)
{
    stop_at_every_call(false);
}

Test(move, with_the_power_failing_at_every_call)
{
    stop_at_every_call(true);
}
