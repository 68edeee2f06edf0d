/* A disk that hangs is found, by its age alone; a slow one, and one that nobody uses, is left in
 * peace. The disk hangs because a hook does not let calls through; time is moved by hand. */
#include "health/watchdog.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>

#include "base/log.h"
#include "base/mem.h"
#include "fs/fs_fault.h"
#include "fs/fs_sim.h"
#include "rt/loop.h"

enum { LIMIT_MS = 7000 };

struct world {
    struct fs_sim *sim;
    struct fs_fault *fault;
    struct clock_manual clock;
    struct watchdog *watchdog;
    struct fs *fs;
    int hung[2];
    int failed[2];
    int stuck;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *hangs; /* calls on paths with this text do not come back; NULL: none */
    int waiting;
};

static void on_call(void *arg, enum fs_op op, const char *path)
{
    struct world *w = arg;
    (void)op;
    pthread_mutex_lock(&w->lock);
    while (w->hangs != NULL && strstr(path, w->hangs) != NULL) {
        w->waiting++;
        pthread_cond_broadcast(&w->changed);
        pthread_cond_wait(&w->changed, &w->lock);
        w->waiting--;
    }
    pthread_mutex_unlock(&w->lock);
}

static void hang(struct world *w, const char *path)
{
    pthread_mutex_lock(&w->lock);
    w->hangs = path;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void wait_waiting(struct world *w, int count)
{
    pthread_mutex_lock(&w->lock);
    while (w->waiting < count) {
        pthread_cond_wait(&w->changed, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}

static void on_dir_hung(void *arg, int dir)
{
    ((struct world *)arg)->hung[dir]++;
}

static void on_dir_failed(void *arg, int dir)
{
    ((struct world *)arg)->failed[dir]++;
}

static void on_stuck(void *arg)
{
    ((struct world *)arg)->stuck++;
}

static void begin(struct world *w)
{
    static const char *const dirs[] = {"/a", "/b"};
    *w = (struct world){.sim = fs_sim_new(1)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->fault = fs_fault_new(fs_sim_fs(w->sim));
    fs_fault_set_hook(w->fault, on_call, w);
    clock_manual_init(&w->clock, 1000);
    struct watchdog_options options = {.fs = fs_fault_fs(w->fault),
                                       .clock = &w->clock.clock,
                                       .dirs = dirs,
                                       .dirs_count = 2,
                                       .limit_ms = LIMIT_MS,
                                       .on_dir_hung = on_dir_hung,
                                       .on_dir_failed = on_dir_failed,
                                       .on_stuck = on_stuck,
                                       .arg = w};
    w->watchdog = watchdog_new(&options);
    w->fs = watchdog_fs(w->watchdog);
    cr_assert_eq(fs_mkdir(w->fs, "/a"), ERR_OK);
    cr_assert_eq(fs_mkdir(w->fs, "/b"), ERR_OK);
}

static void end(struct world *w)
{
    watchdog_free(w->watchdog);
    fs_fault_free(w->fault);
    fs_sim_free(w->sim);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

/* Looking as often as it does. */
static bool check_after(struct world *w, int64_t ms)
{
    for (; ms > WATCHDOG_PERIOD_MS; ms -= WATCHDOG_PERIOD_MS) {
        clock_manual_advance(&w->clock, (int64_t)WATCHDOG_PERIOD_MS * 1000000);
        (void)watchdog_check(w->watchdog);
    }
    clock_manual_advance(&w->clock, ms * 1000000);
    return watchdog_check(w->watchdog);
}

static void write_file(struct world *w, const char *path)
{
    struct fs_file *file;
    cr_assert_eq(fs_open(w->fs, path, FS_WRITE | FS_CREATE, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, "x", 1, 0), ERR_OK);
    fs_close(file);
}

/* Somebody who writes a file, on a thread of its own; maybe from a loop. */
struct writer {
    struct world *w;
    const char *path;
    bool probe;
    struct loop *loop;
    struct loop_msg msg;
    pthread_t thread;
};

static void *write_it(void *arg)
{
    struct writer *writer = arg;
    if (writer->probe) {
        (void)watchdog_probe_step(writer->w->watchdog, 0);
    } else {
        write_file(writer->w, writer->path);
    }
    return NULL;
}

static void writer_start(struct writer *writer)
{
    cr_assert_eq(pthread_create(&writer->thread, NULL, write_it, writer), 0);
}

static void on_write(struct loop_msg *msg)
{
    (void)write_it(container_of(msg, struct writer, msg));
}

/* A loop of its own writes, and waits for the disk. */
static void hang_a_loop(struct writer *writer)
{
    writer->path = "/a/orders-0.log";
    writer->msg.fn = on_write;
    hang(writer->w, "/a/orders");
    writer->loop = loop_new("network", 0, clock_system());
    cr_assert_eq(loop_start(writer->loop), ERR_OK);
    loop_post(writer->loop, &writer->msg);
    wait_waiting(writer->w, 1);
}

/* ---- */

Test(watchdog, a_loop_that_does_not_come_back_is_found_at_the_limit)
{
    struct world w;
    begin(&w);
    struct writer writer = {.w = &w};
    hang_a_loop(&writer);
    cr_assert(!check_after(&w, LIMIT_MS - 1));
    cr_assert_eq(w.stuck, 0);
    cr_assert(!watchdog_hung(w.watchdog));
    check_after(&w, 1);
    check_after(&w, LIMIT_MS);
    cr_assert_eq(w.stuck, 1, "once");
    cr_assert(watchdog_hung(w.watchdog));
    hang(&w, NULL);
    loop_stop(writer.loop);
    loop_free(writer.loop);
    end(&w);
}

/* Who was stopped in the middle of a call and went on after eight seconds was taken for one whose
 * disk hangs: the process ended, or its directory went offline. From then on it counts. */
Test(watchdog, a_process_that_stood_still_has_no_disk_that_hangs)
{
    struct world w;
    begin(&w);
    struct writer writer = {.w = &w};
    hang_a_loop(&writer);
    check_after(&w, WATCHDOG_PERIOD_MS);
    clock_manual_advance(&w.clock, (int64_t)(LIMIT_MS + 1000) * 1000000);
    (void)watchdog_check(w.watchdog);
    cr_assert_eq(w.stuck, 0);
    check_after(&w, LIMIT_MS - 1);
    cr_assert_eq(w.stuck, 0);
    check_after(&w, 1);
    cr_assert_eq(w.stuck, 1);
    hang(&w, NULL);
    loop_stop(writer.loop);
    loop_free(writer.loop);
    end(&w);
}

/* The sync of a large file takes its time; only the probe's age counts. */
Test(watchdog, a_worker_may_take_long)
{
    struct world w;
    begin(&w);
    hang(&w, "/a/orders");
    struct writer writer = {.w = &w, .path = "/a/orders-0.log"};
    writer_start(&writer);
    wait_waiting(&w, 1);
    for (int i = 0; i < 30; i++) {
        check_after(&w, LIMIT_MS / 2);
        (void)watchdog_probe_step(w.watchdog, 0);
    }
    cr_assert_eq(w.stuck + w.hung[0] + w.hung[1], 0);
    hang(&w, NULL);
    pthread_join(writer.thread, NULL);
    end(&w);
}

Test(watchdog, a_probe_that_does_not_come_back_takes_its_directory_offline_and_no_other)
{
    struct world w;
    begin(&w);
    write_file(&w, "/a/orders-0.log");
    check_after(&w, WATCHDOG_PROBE_MS);
    hang(&w, "/a/");
    struct writer writer = {.w = &w, .probe = true};
    writer_start(&writer);
    wait_waiting(&w, 1);
    check_after(&w, LIMIT_MS - 1);
    cr_assert_eq(w.hung[0], 0);
    check_after(&w, 1);
    check_after(&w, LIMIT_MS);
    cr_assert_eq(w.hung[0], 1, "once");
    cr_assert_eq(w.hung[1], 0);
    cr_assert_eq(w.stuck, 0);
    hang(&w, NULL);
    pthread_join(writer.thread, NULL);
    end(&w);
}

/* An idle broker writes nothing by itself, and its watchdog sleeps. */
Test(watchdog, only_a_directory_that_was_written_to_is_probed)
{
    struct world w;
    begin(&w);
    (void)check_after(&w, WATCHDOG_PROBE_MS); /* making the directory was a change */
    while (watchdog_probe_step(w.watchdog, 0) || watchdog_probe_step(w.watchdog, 1)) {
    }
    cr_assert(check_after(&w, WATCHDOG_PROBE_MS), "all is quiet");
    cr_assert(!watchdog_probe_step(w.watchdog, 0));
    write_file(&w, "/b/orders-0.log");
    cr_assert(!check_after(&w, WATCHDOG_PROBE_MS));
    cr_assert(!watchdog_probe_step(w.watchdog, 0));
    cr_assert(watchdog_probe_step(w.watchdog, 1));
    cr_assert(check_after(&w, WATCHDOG_PROBE_MS), "a probe is no reason for another");
    end(&w);
}

Test(watchdog, a_probe_that_the_disk_refuses_is_reported)
{
    struct world w;
    begin(&w);
    check_after(&w, WATCHDOG_PROBE_MS);
    struct fs_fault_plan plan = {
        .ops = FS_OP_BIT(FS_OP_SYNC), .path = "/b/.probe", .repeat = 1, .err = ERR_IO};
    fs_fault_set(w.fault, &plan);
    (void)watchdog_probe_step(w.watchdog, 0);
    (void)watchdog_probe_step(w.watchdog, 1);
    cr_assert_eq(w.failed[0], 0);
    cr_assert_eq(w.failed[1], 1);
    end(&w);
}

/* Clients had every descriptor of the process: the probe's file could not be opened, every log
 * directory failed, and the broker ended. */
Test(watchdog, a_probe_without_a_descriptor_says_nothing_of_the_disk)
{
    struct world w;
    begin(&w);
    check_after(&w, WATCHDOG_PROBE_MS);
    struct fs_fault_plan plan = {.ops = FS_OP_BIT(FS_OP_OPEN),
                                 .path = "/b/.probe",
                                 .repeat = 1,
                                 .err = err_from_errno(EMFILE)};
    fs_fault_set(w.fault, &plan);
    cr_assert(watchdog_probe_step(w.watchdog, 1));
    cr_assert_eq(w.failed[1], 0);
    end(&w);
}

/* By its own thread, which sleeps until the first call. */
Test(watchdog, wakes_up_for_a_disk_that_begins_to_hang, .timeout = 60)
{
    static const char *const dirs[] = {"/a"};
    struct world w;
    begin(&w);
    struct watchdog_options options = {.fs = fs_fault_fs(w.fault),
                                       .clock = clock_system(),
                                       .dirs = dirs,
                                       .dirs_count = 1,
                                       .limit_ms = 100,
                                       .threads = true,
                                       .on_dir_hung = on_dir_hung,
                                       .on_dir_failed = on_dir_failed,
                                       .on_stuck = on_stuck,
                                       .arg = &w};
    struct watchdog *watchdog = watchdog_new(&options);
    watchdog_start(watchdog);
    w.fs = watchdog_fs(watchdog);
    hang(&w, "/a/.probe");
    write_file(&w, "/a/orders-0.log");
    wait_waiting(&w, 1);
    while (!watchdog_hung(watchdog)) {
        sched_yield();
    }
    hang(&w, NULL);
    watchdog_free(watchdog);
    cr_assert_eq(w.hung[0], 1);
    end(&w);
}
