/* The manifest of a clean stop: logs opened with it are those that were closed; one that is stale,
 * torn, or does not fit what is on the disk any more does no harm; the grouped stop it follows. */
#include "log/manifest.h"

#include "log/logs_internal.h"
#include "log_fixture.h"

enum {
    LOGS = 3,
    CALLS_MAX = 400,
    ROOT_LISTS = 3, /* a start looks for logs, for those on the move, for what was deleted */
};

struct world {
    struct fs_sim *sim;
    struct fs_fault *fault;
    struct clock_manual clock;
    struct worker_pool *workers;
    struct logs *logs;
    struct errmsg msg;
    int64_t ends[LOGS];
};

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg, (void)topic;
    *out = log_config();
    out->segment_bytes = 3000;
    out->index_interval_bytes = 200;
}

static enum err open_world(struct world *w)
{
    static const char *const dirs[] = {"/data"};
    struct logs_options options = {
        .fs = fs_fault_fs(w->fault),
        .clock = &w->clock.clock,
        .workers = w->workers,
        .dirs = dirs,
        .dirs_count = 1,
        .producer_expiration_ms = INT64_C(24) * 3600 * 1000,
        .boot_id = "boot",
    };
    w->msg.text[0] = '\0';
    enum err err = logs_open(&options, &w->logs, &w->msg);
    if (err != ERR_OK) {
        w->logs = NULL;
        return err;
    }
    err = logs_set_identity(w->logs, 1, "cluster", &w->msg);
    return err == ERR_OK ? logs_load(w->logs, config_of, NULL, &w->msg) : err;
}

static void let_go(struct world *w)
{
    while (worker_pool_step(w->workers)) {
    }
    logs_free(w->logs);
    w->logs = NULL;
}

static int64_t hw_of(void *arg, struct logs_entry *entry)
{
    (void)arg;
    return plog_offset_end(entry->log);
}

static bool close_world(struct world *w)
{
    bool clean = logs_close(w->logs, hw_of, NULL);
    let_go(w);
    return clean;
}

static struct plog *log_of(struct world *w, int32_t partition)
{
    struct logs_entry *entry = logs_find(w->logs, STR("t"), partition);
    return entry != NULL ? entry->log : NULL;
}

static void append(struct world *w, int32_t partition, int count)
{
    for (int i = 0; i < count; i++) {
        struct plog *log = log_of(w, partition);
        struct buf data =
            make_batch((struct batch_want){.records = 2,
                                           .first_ms = LOG_EPOCH_MS + 10 * plog_offset_end(log),
                                           .value_bytes = 100});
        struct plog_batch batch = plog_batch_of(&data);
        plog_append_leader(log, &batch, 1, partition + 1, LOG_EPOCH_MS);
        cr_assert_eq(batch.err, ERR_OK);
        w->ends[partition] = plog_offset_end(log);
        buf_fini(&data);
    }
}

/* Three logs: of several segments, of one batch, and one that was never written. */
static void begin(struct world *w, uint64_t seed)
{
    *w = (struct world){.sim = fs_sim_new(seed)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    w->fault = fs_fault_new(fs_sim_fs(w->sim));
    w->workers = worker_pool_new("test", 0);
    clock_manual_init(&w->clock, LOG_EPOCH_MS);
    cr_assert_eq(open_world(w), ERR_OK, "%s", w->msg.text);
    for (int32_t p = 0; p < LOGS; p++) {
        struct topic_config config;
        struct logs_entry *entry;
        struct uuid id = {{(uint8_t)(p + 1)}};
        config_of(NULL, STR("t"), &config);
        cr_assert_eq(logs_create(w->logs, STR("t"), p, id, &config, &entry), ERR_OK);
    }
    logs_settle(w->logs, NULL, NULL, NULL);
    append(w, 0, 40);
    append(w, 1, 1);
}

static void end(struct world *w)
{
    if (w->logs != NULL) {
        let_go(w);
    }
    worker_pool_free(w->workers);
    fs_fault_free(w->fault);
    fs_sim_free(w->sim);
}

static struct fs *disk(struct world *w)
{
    return fs_sim_fs(w->sim);
}

/* How many calls of a kind an opening takes that lists directories: by itself each log takes some.
 */
static int64_t lists_of_opening(struct world *w)
{
    int64_t before = fs_fault_calls(w->fault, FS_OP_LIST);
    cr_assert_eq(open_world(w), ERR_OK, "%s", w->msg.text);
    return fs_fault_calls(w->fault, FS_OP_LIST) - before;
}

/* Everything that can be asked of a log. */
static void expect_logs(struct world *w)
{
    for (int32_t p = 0; p < LOGS; p++) {
        struct logs_entry *entry = logs_find(w->logs, STR("t"), p);
        cr_assert_not_null(entry);
        struct plog *log = entry->log;
        cr_assert_eq(entry->topic_id.raw[0], p + 1);
        cr_assert_eq(plog_offset_end(log), w->ends[p], "log %d", p);
        cr_assert_eq(epochs_latest(plog_epochs(log)), w->ends[p] > 0 ? p + 1 : -1);
        struct view *view = plog_view_get(log);
        for (int64_t offset = 0; offset < w->ends[p]; offset++) {
            struct batch_header header;
            int64_t position;
            const struct seg *seg = view->segs[0];
            for (int32_t i = 0; i < view->segs_count; i++) {
                seg = view->segs[i]->base_offset <= offset ? view->segs[i] : seg;
            }
            cr_assert_eq(seg_find((struct seg *)seg, offset, &position, &header), ERR_OK);
            cr_assert_leq(header.base_offset, offset);
            cr_assert_geq(batch_last_offset(&header), offset);
        }
        view_put(view);
    }
}

static struct buf read_file(struct world *w, const char *path)
{
    struct buf out = {0};
    char *data;
    size_t size;
    cr_assert_eq(fs_read_all(disk(w), path, 1 << 20, &data, &size), ERR_OK, "%s", path);
    buf_put(&out, data, size);
    mem_free(data);
    return out;
}

static void write_file(struct world *w, const char *path, const void *data, size_t size)
{
    cr_assert_eq(fs_replace(disk(w), path, data, size), ERR_OK);
}

static bool exists(struct world *w, const char *path)
{
    struct fs_stat st;
    return fs_stat(disk(w), path, &st) == ERR_OK;
}

#define MANIFEST "/data/" MANIFEST_NAME
#define MARK     "/data/.kafka_cleanshutdown"

/* Nothing in the logs' directories is listed, and they are what they were; they can be written, and
 * stopped and opened once more. */
Test(manifest, logs_open_as_they_were_closed)
{
    struct world w;
    begin(&w, 1);
    for (int life = 0; life < 4; life++) {
        cr_assert(close_world(&w));
        cr_assert(exists(&w, MANIFEST));
        cr_assert_eq(lists_of_opening(&w), ROOT_LISTS,
                     "the directory of all, and a log's only when it must");
        cr_assert(!exists(&w, MANIFEST), "M1");
        expect_logs(&w);
        append(&w, life % LOGS, life + 1);
    }
    cr_assert(close_world(&w));
    cr_assert_eq(open_world(&w), ERR_OK);
    expect_logs(&w);
    end(&w);
}

/* The marks of idempotent producers, which are in a file of their own, are known again. */
Test(manifest, producers_are_known_again)
{
    struct world w;
    begin(&w, 1);
    struct plog *log = log_of(&w, 1);
    for (int32_t i = 0; i < 2; i++) {
        struct buf data = make_batch((struct batch_want){
            .records = 1, .first_ms = LOG_EPOCH_MS, .producer = 9, .sequence = i});
        struct plog_batch batch = plog_batch_of(&data);
        plog_append_leader(log, &batch, 1, 2, LOG_EPOCH_MS);
        cr_assert_eq(batch.err, ERR_OK);
        buf_fini(&data);
    }
    w.ends[1] = plog_offset_end(log);
    for (int life = 0; life < 2; life++) {
        cr_assert(close_world(&w));
        cr_assert_eq(lists_of_opening(&w), ROOT_LISTS);
        cr_assert_eq(producers_count(&log_of(&w, 1)->producers), 1);
        struct buf data = make_batch((struct batch_want){
            .records = 1, .first_ms = LOG_EPOCH_MS, .producer = 9, .sequence = 0});
        struct plog_batch batch = plog_batch_of(&data);
        plog_append_leader(log_of(&w, 1), &batch, 1, 2, LOG_EPOCH_MS);
        cr_assert_eq(plog_offset_end(log_of(&w, 1)), w.ends[1],
                     "a repetition, taken for what it is");
        buf_fini(&data);
    }
    end(&w);
}

/* A broker that was idle leaves nothing to sync but what says that it has stopped. */
Test(manifest, an_idle_broker_stops_without_a_sync_of_everything)
{
    struct world w;
    begin(&w, 1);
    cr_assert(close_world(&w));
    cr_assert_eq(open_world(&w), ERR_OK);
    for (int32_t p = 0; p < LOGS; p++) {
        cr_assert_eq(plog_begin_epoch(log_of(&w, p), 7), ERR_OK, "it leads, and nobody writes");
    }
    int64_t before = fs_fault_calls(w.fault, FS_OP_SYNC_ALL);
    int64_t files = fs_fault_calls(w.fault, FS_OP_PWRITEV);
    cr_assert(close_world(&w));
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_SYNC_ALL), before);
    cr_assert_leq(fs_fault_calls(w.fault, FS_OP_PWRITEV) - files, 5, "checkpoints, mark, manifest");
    cr_assert_eq(open_world(&w), ERR_OK);
    expect_logs(&w);
    end(&w);
}

/* ---- stale ---- */

/* Between two lives of ours another broker has run: one that knows no manifest leaves it, and a
 * mark of its own. What it wrote is there. */
Test(manifest, of_before_another_broker_ran_does_not_count)
{
    struct world w;
    begin(&w, 1);
    cr_assert(close_world(&w));
    struct buf old = read_file(&w, MANIFEST);
    cr_assert_eq(open_world(&w), ERR_OK); /* stands for the other one */
    append(&w, 0, 3);
    append(&w, 2, 1);
    cr_assert(close_world(&w));
    write_file(&w, MANIFEST, old.data, old.size);
    cr_assert_geq(lists_of_opening(&w), ROOT_LISTS + LOGS, "none of it is believed");
    expect_logs(&w);
    buf_fini(&old);
    end(&w);
}

/* After a crash there is no mark: an old manifest, which something has brought back, is ignored,
 * and goes. */
Test(manifest, does_not_count_after_a_crash)
{
    struct world w;
    begin(&w, 1);
    cr_assert(close_world(&w));
    struct buf old = read_file(&w, MANIFEST);
    cr_assert_eq(open_world(&w), ERR_OK);
    append(&w, 0, 3);
    let_go(&w);
    fs_sim_kill(w.sim);
    write_file(&w, MANIFEST, old.data, old.size);
    cr_assert_geq(lists_of_opening(&w), ROOT_LISTS + LOGS);
    cr_assert(!exists(&w, MANIFEST));
    cr_assert_eq(plog_offset_end(log_of(&w, 0)), w.ends[0]);
    buf_fini(&old);
    end(&w);
}

/* ---- torn ---- */

/* Whatever of it is missing or wrong: the logs are opened as without one. */
Test(manifest, torn_or_damaged_is_as_good_as_none)
{
    struct world w;
    begin(&w, 1);
    cr_assert(close_world(&w));
    for (size_t i = 0;; i++) {
        struct buf good = read_file(&w, MANIFEST);
        if (i >= 2 * good.size) {
            buf_fini(&good);
            break;
        }
        size_t at = i / 2;
        size_t size = i % 2 == 0 ? at : good.size; /* cut there, or another byte there */
        good.data[at] = (uint8_t)(good.data[at] ^ (i % 2 == 0 ? 0 : 1 + at % 255));
        write_file(&w, MANIFEST, good.data, size);
        buf_fini(&good);
        cr_assert_geq(lists_of_opening(&w), ROOT_LISTS + LOGS, "byte %zu", at);
        expect_logs(&w);
        cr_assert(close_world(&w));
    }
    end(&w);
}

/* ---- changed directories ---- */

/* Somebody has been at a log's directory, or at its files: that log is opened for itself, and what
 * is there counts. */
Test(manifest, a_log_whose_directory_has_changed_is_opened_by_itself)
{
    struct world w;
    struct fs_file *file;
    begin(&w, 1);
    cr_assert(close_world(&w));
    cr_assert_eq(fs_unlink(disk(&w), "/data/t-1/00000000000000000000.index"), ERR_OK);
    cr_assert_gt(lists_of_opening(&w), ROOT_LISTS);
    expect_logs(&w);
    cr_assert(close_world(&w));
    /* The same content, and the same names: only the length tells. */
    cr_assert_eq(fs_open(disk(&w), "/data/t-1/00000000000000000000.log", FS_WRITE, &file), ERR_OK);
    cr_assert_eq(fs_truncate(file, 0), ERR_OK);
    fs_close(file);
    w.ends[1] = 0;
    cr_assert_gt(lists_of_opening(&w), ROOT_LISTS);
    expect_logs(&w);
    end(&w);
}

static bool is_aside(struct world *w)
{
    struct fs_stat st;
    return fs_stat(disk(w), "/data/t-0/00000000000000000000.log.deleted", &st) == ERR_OK;
}

/* A segment that had just been deleted when the broker stopped stayed on the disk for as long as
 * every stop was a clean one: nobody listed the directory of a log that the manifest knew. */
Test(manifest, says_nothing_of_a_log_with_deleted_segments_that_wait)
{
    struct world w;
    struct topic_config config;
    begin(&w, 1);
    struct plog *log = log_of(&w, 0);
    config_of(NULL, STR("t"), &config);
    config.retention_bytes = 3000;
    config.file_delete_delay_ms = 60000;
    plog_configure(log, &config);
    cr_assert_eq(plog_delete_old_segments(log, plog_offset_end(log), LOG_EPOCH_MS), ERR_OK);
    cr_assert(is_aside(&w));
    cr_assert(close_world(&w));
    cr_assert(is_aside(&w));
    cr_assert_gt(lists_of_opening(&w), ROOT_LISTS);
    cr_assert(!is_aside(&w));
    cr_assert_eq(plog_offset_end(log_of(&w, 0)), w.ends[0]);
    cr_assert(close_world(&w));
    cr_assert_eq(lists_of_opening(&w), ROOT_LISTS, "now there is nothing that waits");
    end(&w);
}

static enum err count_snapshot(void *arg, const char *name, bool is_dir)
{
    (void)is_dir;
    *(int *)arg += strstr(name, ".snapshot") != NULL ? 1 : 0;
    return ERR_OK;
}

/* Each clean stop left one more producer snapshot in the directory of a log that had grown. */
Test(manifest, clean_stops_leave_one_snapshot_besides_those_of_segments)
{
    struct world w;
    begin(&w, 1);
    for (int i = 0; i < 5; i++) {
        int found = 0;
        append(&w, 1, 1);
        cr_assert(close_world(&w));
        cr_assert_eq(fs_list(disk(&w), "/data/t-1", count_snapshot, &found), ERR_OK);
        cr_assert_eq(found, 1, "stop %d", i);
        cr_assert_eq(lists_of_opening(&w), ROOT_LISTS);
        expect_logs(&w);
    }
    end(&w);
}

/* A log that is gone is gone, one that is new is found. */
Test(manifest, says_nothing_of_logs_that_come_and_go)
{
    struct world w;
    begin(&w, 1);
    cr_assert(close_world(&w));
    cr_assert_eq(fs_rename(disk(&w), "/data/t-0", "/data/t-7"), ERR_OK);
    cr_assert_eq(open_world(&w), ERR_OK);
    cr_assert_null(log_of(&w, 0));
    cr_assert_eq(plog_offset_end(log_of(&w, 7)), w.ends[0]);
    end(&w);
}

/* One record at `offset`, as a leader sends it whose log was compacted. */
static void follow_at(struct plog *log, int64_t offset)
{
    struct buf data = make_batch((struct batch_want){.first_ms = LOG_EPOCH_MS, .value_bytes = 10});
    batch_patch_offset_epoch(data.data, offset, 0);
    cr_assert_eq(plog_append_follower(log, (struct bytes){data.data, data.size}, LOG_EPOCH_MS),
                 ERR_OK);
    buf_fini(&data);
}

/* Behind the last batch of a finished segment compaction has left nothing up to the next one. Cut
 * there, the log began again, with its manifest, where that next one had begun: what the leader had
 * in between was never fetched. */
Test(manifest, a_log_that_was_cut_between_two_segments_ends_where_it_was_cut)
{
    struct world w;
    begin(&w, 1);
    follow_at(log_of(&w, 2), 3);
    follow_at(log_of(&w, 2), 20);
    cr_assert_eq(plog_truncate_to(log_of(&w, 2), 10), ERR_OK);
    cr_assert_eq(plog_roll(log_of(&w, 2), LOG_EPOCH_MS), ERR_OK);
    cr_assert(close_world(&w));
    cr_assert_eq(open_world(&w), ERR_OK);
    follow_at(log_of(&w, 2), 10);
    cr_assert_eq(plog_truncate_to(log_of(&w, 2), 7), ERR_OK);
    cr_assert_eq(plog_offset_end(log_of(&w, 2)), 7);
    cr_assert(close_world(&w));
    cr_assert_eq(lists_of_opening(&w), ROOT_LISTS, "with its manifest");
    cr_assert_eq(plog_offset_end(log_of(&w, 2)), 7);
    end(&w);
}

/* ---- crashes ---- */

/* The process, or the machine, ends at every call of a stop and of the start after it. What was in
 * the logs was on the disk before that: it is there. */
static void crash_everywhere(bool power)
{
    bool hit = true;
    for (int64_t k = 0; hit && k < CALLS_MAX; k++) {
        struct world w;
        begin(&w, (uint64_t)k + 1);
        cr_assert(close_world(&w));
        cr_assert_eq(open_world(&w), ERR_OK);
        append(&w, 0, 2);
        append(&w, 2, 1);
        for (int32_t p = 0; p < LOGS; p++) {
            cr_assert_eq(plog_flush(log_of(&w, p)), ERR_OK);
        }
        fs_fault_set(w.fault, &(struct fs_fault_plan){.ops = FS_OPS_ALL,
                                                      .after = k,
                                                      .repeat = FS_FAULT_FOR_EVER,
                                                      .err = ERR_IO});
        bool clean = close_world(&w);
        enum err err = open_world(&w);
        hit = !clean || err != ERR_OK;
        if (w.logs != NULL) {
            let_go(&w);
        }
        fs_fault_clear(w.fault);
        if (power) {
            fs_sim_crash(w.sim);
        } else {
            fs_sim_kill(w.sim);
        }
        for (int life = 0; life < 2; life++) {
            cr_assert_eq(open_world(&w), ERR_OK, "call %" PRId64 ": %s", k, w.msg.text);
            expect_logs(&w);
            cr_assert(close_world(&w));
        }
        end(&w);
    }
    cr_assert(!hit, "there are more calls than that");
}

Test(manifest, process_ends_at_every_call)
{
    crash_everywhere(false);
}

Test(manifest, power_fails_at_every_call)
{
    crash_everywhere(true);
}
