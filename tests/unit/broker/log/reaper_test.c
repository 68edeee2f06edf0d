/* Deleted files are put aside under another name and removed when their time has come; what still
 * waits when the process ends goes at the next start. */
#include "log/reaper.h"

#include "log_fixture.h"

enum { DELAY_MS = 60000 };

static int added;

static void on_added(void *arg)
{
    (void)arg;
    added++;
}

static struct reaper *begin(struct log_world *w)
{
    world_begin(w, 1);
    added = 0;
    return reaper_new(w->fs, &w->clock.clock, w->workers, on_added, NULL);
}

static void make_file(struct log_world *w, const char *path)
{
    struct fs_file *file;
    cr_assert_eq(fs_open(w->fs, path, FS_WRITE | FS_CREATE, &file), ERR_OK);
    fs_close(file);
}

static bool there(struct log_world *w, const char *path)
{
    struct fs_stat st;
    return fs_stat(w->fs, path, &st) == ERR_OK;
}

static int64_t run(struct log_world *w, struct reaper *reaper)
{
    int64_t next_ms = reaper_run(reaper);
    step_workers(w);
    return next_ms;
}

Test(reaper, removes_each_thing_when_its_time_has_come)
{
    struct log_world w;
    struct reaper *reaper = begin(&w);
    int64_t now_ms = clock_mono_ms(&w.clock.clock);
    make_file(&w, "/data/late");
    make_file(&w, "/data/soon");
    cr_assert_eq(fs_mkdir(w.fs, "/data/dir"), ERR_OK);
    make_file(&w, "/data/dir/file");
    reaper_add(reaper, "/data/late", 300);
    reaper_add(reaper, "/data/soon", 100);
    reaper_add(reaper, "/data/dir", 200);
    cr_assert_eq(added, 2, "told when somebody has to look earlier than before");
    cr_assert_eq(run(&w, reaper), now_ms + 100);
    cr_assert(there(&w, "/data/soon"));
    clock_manual_advance(&w.clock, 100 * INT64_C(1000000));
    cr_assert_eq(run(&w, reaper), now_ms + 200);
    cr_assert(!there(&w, "/data/soon"));
    cr_assert(there(&w, "/data/dir/file"));
    clock_manual_advance(&w.clock, 150 * INT64_C(1000000));
    cr_assert_eq(run(&w, reaper), now_ms + 300);
    cr_assert(!there(&w, "/data/dir"));
    clock_manual_advance(&w.clock, 50 * INT64_C(1000000));
    cr_assert_eq(run(&w, reaper), INT64_MAX);
    cr_assert(!there(&w, "/data/late"));
    reaper_free(reaper);
    world_end(&w);
}

Test(reaper, does_not_mind_what_is_gone_already)
{
    struct log_world w;
    struct reaper *reaper = begin(&w);
    reaper_add(reaper, "/data/nothing", 0);
    reaper_add(reaper, "/data/nothing", 1);
    step_workers(&w);
    reaper_free(reaper);
    world_end(&w);
}

/* ---- segments ---- */

static struct reaper *with_log(struct log_world *w)
{
    struct reaper *reaper = begin(w);
    w->options.reaper = reaper;
    w->options.config.segment_bytes = 2000;
    w->options.config.file_delete_delay_ms = DELAY_MS;
    cr_assert_eq(world_open(w), ERR_OK);
    while (w->log->segs_count < 3) {
        log_fill(w, 1, 300);
    }
    return reaper;
}

static bool aside(const struct log_world *w, int64_t base, const char *extension)
{
    char name[64];
    snprintf(name, sizeof(name), "%020" PRId64 ".%s.deleted", base, extension);
    return file_exists(w, name);
}

Test(reaper, a_deleted_segment_stays_for_a_while_under_another_name)
{
    struct log_world w;
    struct reaper *reaper = with_log(&w);
    struct topic_config config = w.options.config;
    int64_t first = w.log->segs[0]->base_offset;
    struct view *view = plog_view_get(w.log);
    struct view_range range;
    config.retention_bytes = 0;
    plog_configure(w.log, &config);
    cr_assert_eq(plog_delete_old_segments(w.log, plog_offset_end(w.log), LOG_EPOCH_MS), ERR_OK);
    cr_assert(aside(&w, first, "log"));
    cr_assert(aside(&w, first, "timeindex"));
    cr_assert(!file_exists(&w, "00000000000000000000.log"));
    cr_assert_eq(view_read(view, first, 1, 4096, true, &range), ERR_OK, "readers go on");
    cr_assert_gt(range.size_bytes, 0);
    view_put(view);
    clock_manual_advance(&w.clock, DELAY_MS * INT64_C(1000000));
    cr_assert_eq(run(&w, reaper), INT64_MAX);
    cr_assert(!aside(&w, first, "log"));
    world_abandon(&w);
    reaper_free(reaper);
    world_end(&w);
}

Test(reaper, what_waits_when_the_process_ends_is_removed_at_the_next_start)
{
    struct log_world w;
    struct reaper *reaper = with_log(&w);
    cr_assert_eq(plog_truncate_to(w.log, w.log->segs[1]->base_offset), ERR_OK);
    int64_t gone = 0;
    for (int64_t base = 1; base < 40 && gone == 0; base++) {
        gone = aside(&w, base, "log") ? base : 0;
    }
    cr_assert_gt(gone, 0);
    world_abandon(&w);
    reaper_free(reaper);
    w.options.reaper = NULL;
    fs_sim_kill(w.sim);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert(!aside(&w, gone, "log"));
    world_end(&w);
}
