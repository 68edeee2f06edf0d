#include "health/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "rt/worker.h"

#define LOGGER "kafka.server.ReplicaManager"

struct watched_dir {
    struct watchdog *watchdog;
    int number;
    char *probe_path;
    struct work work;
    struct worker_pool *thread; /* made for the first probe */
    _Atomic bool probing;
    bool hung; /* reported */
    int probe_root;
    int root;
    uint64_t changes; /* as they were when the last probe began */
    int64_t probed_ms;
};

struct watchdog {
    struct watchdog_options options;
    struct fs_watch *watch;
    struct watched_dir dirs[WATCHDOG_DIRS_MAX];
    int dirs_count;
    int64_t looked_ms;      /* the last time */
    int64_t counts_from_ms; /* what was before does not count: the process stood still */
    bool stuck;             /* reported */
    _Atomic bool hung;

    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* a leaf; guards what follows */
    pthread_cond_t changed;
    bool awake;
    bool stopping;
};

/* ---- probing ---- */

static enum err write_probe(struct fs *fs, const char *path)
{
    static const uint8_t bytes[WATCHDOG_PROBE_BYTES] = {0};
    struct fs_file *file;
    enum err err = fs_open(fs, path, FS_WRITE | FS_CREATE, &file);
    if (err != ERR_OK) {
        return err;
    }
    err = fs_pwrite(file, bytes, sizeof(bytes), 0);
    if (err == ERR_OK) {
        err = fs_sync(file);
    }
    fs_close(file);
    return err;
}

static void probe_run(struct work *work)
{
    struct watched_dir *dir = container_of(work, struct watched_dir, work);
    const struct watchdog_options *options = &dir->watchdog->options;
    enum err err = write_probe(watchdog_fs(dir->watchdog), dir->probe_path);
    if (err == ERR_IO) { /* a full disk, for instance, answers, and appends hear of it themselves */
        log_error(LOGGER, "cannot write to a log directory", "file=%s error=\"%s\"",
                  dir->probe_path, err_text(err));
        options->on_dir_failed(options->arg, dir->number);
    }
    atomic_store(&dir->probing, false);
}

static void probe_begin(struct watched_dir *dir, int64_t now_ms)
{
    dir->changes = fs_watch_changes(dir->watchdog->watch, dir->root);
    dir->probed_ms = now_ms;
    atomic_store(&dir->probing, true);
    if (dir->thread == NULL) {
        dir->thread = worker_pool_new("probe", dir->watchdog->options.threads ? 1 : 0);
    }
    worker_submit(dir->thread, &dir->work);
}

bool watchdog_probe_step(struct watchdog *watchdog, int dir)
{
    struct worker_pool *thread = watchdog->dirs[dir].thread;
    return thread != NULL && worker_pool_step(thread);
}

/* True: nothing was written since the last probe, which is over. */
static bool probe_if_due(struct watched_dir *dir, int64_t now_ms)
{
    bool changed = fs_watch_changes(dir->watchdog->watch, dir->root) != dir->changes;
    if (dir->hung) {
        return true;
    }
    if (changed && !atomic_load(&dir->probing) && now_ms - dir->probed_ms >= WATCHDOG_PROBE_MS) {
        probe_begin(dir, now_ms);
    }
    return !changed && !atomic_load(&dir->probing);
}

/* ---- looking ---- */

static void report_dir(struct watchdog *watchdog, struct watched_dir *dir)
{
    if (!dir->hung) {
        dir->hung = true;
        atomic_store(&watchdog->hung, true);
        watchdog->options.on_dir_hung(watchdog->options.arg, dir->number);
    }
}

static void judge(struct watchdog *watchdog, const struct fs_watch_call *call)
{
    if (call->on_loop && !watchdog->stuck) {
        watchdog->stuck = true;
        atomic_store(&watchdog->hung, true);
        watchdog->options.on_stuck(watchdog->options.arg);
    }
    for (int i = 0; i < watchdog->dirs_count && !call->on_loop; i++) {
        if (watchdog->dirs[i].probe_root == call->root) {
            report_dir(watchdog, &watchdog->dirs[i]);
        }
    }
}

/* When woken after a quiet time it has not looked for long, either: then there is nothing old. */
static void note_look(struct watchdog *watchdog, int64_t now_ms)
{
    if (now_ms - watchdog->looked_ms > WATCHDOG_LATE_MS) {
        watchdog->counts_from_ms = now_ms;
    }
    watchdog->looked_ms = now_ms;
}

static bool too_long(const struct watchdog *watchdog, const struct fs_watch_call *call,
                     int64_t now_ms)
{
    int64_t from_ms =
        call->since_ms > watchdog->counts_from_ms ? call->since_ms : watchdog->counts_from_ms;
    return now_ms - from_ms >= watchdog->options.limit_ms;
}

bool watchdog_check(struct watchdog *watchdog)
{
    struct fs_watch_call calls[FS_WATCH_SLOTS];
    int64_t now_ms = clock_mono_ms(watchdog->options.clock);
    note_look(watchdog, now_ms);
    int count = fs_watch_look(watchdog->watch, calls);
    for (int i = 0; i < count; i++) {
        if (too_long(watchdog, &calls[i], now_ms)) {
            judge(watchdog, &calls[i]);
        }
    }
    bool quiet = count == 0;
    for (int i = 0; i < watchdog->dirs_count; i++) {
        quiet = probe_if_due(&watchdog->dirs[i], now_ms) && quiet;
    }
    return quiet;
}

/* ---- the thread ---- */

/* By the thread that makes the first call after a quiet time. */
static void on_wake(void *arg)
{
    struct watchdog *watchdog = arg;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->awake = true;
    pthread_cond_signal(&watchdog->changed);
    pthread_mutex_unlock(&watchdog->lock);
}

static struct timespec next_look(const struct watchdog *watchdog)
{
    int64_t at_ms = clock_mono_ms(watchdog->options.clock) + WATCHDOG_PERIOD_MS;
    return (struct timespec){at_ms / 1000, (long)(at_ms % 1000) * 1000000};
}

/* For a period, or, when there is nothing to see, until something happens. */
static void wait_for_more(struct watchdog *watchdog, bool quiet)
{
    struct timespec at = next_look(watchdog);
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stopping && quiet && !watchdog->awake) {
        pthread_cond_wait(&watchdog->changed, &watchdog->lock);
    }
    int rc = 0;
    while (!watchdog->stopping && !quiet && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&watchdog->changed, &watchdog->lock, &at);
    }
    pthread_mutex_unlock(&watchdog->lock);
}

static bool stopping(struct watchdog *watchdog)
{
    pthread_mutex_lock(&watchdog->lock);
    bool stop = watchdog->stopping;
    watchdog->awake = false;
    pthread_mutex_unlock(&watchdog->lock);
    return stop;
}

static void *watch_main(void *arg)
{
    struct watchdog *watchdog = arg;
    pthread_setname_np(pthread_self(), "watchdog");
    while (!stopping(watchdog)) {
        bool quiet = watchdog_check(watchdog);
        if (quiet) {
            fs_watch_wake_at_next(watchdog->watch, on_wake, watchdog);
            quiet = watchdog_check(watchdog); /* once more: see fs_watch.c */
        }
        wait_for_more(watchdog, quiet);
    }
    return NULL;
}

void watchdog_start(struct watchdog *watchdog)
{
    must(!watchdog->started);
    watchdog->started = true;
    must(pthread_create(&watchdog->thread, NULL, watch_main, watchdog) == 0);
}

/* ---- life ---- */

static void init_lock(struct watchdog *watchdog)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->changed, &attr);
    pthread_condattr_destroy(&attr);
}

struct watchdog *watchdog_new(const struct watchdog_options *options)
{
    struct watchdog *watchdog = mem_new(struct watchdog);
    int count = options->dirs_count < WATCHDOG_DIRS_MAX ? options->dirs_count : WATCHDOG_DIRS_MAX;
    watchdog->options = *options;
    watchdog->dirs_count = count;
    watchdog->looked_ms = clock_mono_ms(options->clock);
    watchdog->watch = fs_watch_new(options->fs, options->clock);
    init_lock(watchdog);
    for (int i = 0; i < count; i++) { /* before the folder that it is in, which matches too */
        struct watched_dir *dir = &watchdog->dirs[i];
        dir->watchdog = watchdog;
        dir->number = i;
        dir->work.run = probe_run;
        dir->probed_ms = INT64_MIN / 2;
        dir->probe_path = mem_printf("%s/" WATCHDOG_PROBE_NAME, options->dirs[i]);
        dir->probe_root = fs_watch_root(watchdog->watch, dir->probe_path);
    }
    for (int i = 0; i < count; i++) {
        watchdog->dirs[i].root = fs_watch_root(watchdog->watch, options->dirs[i]);
    }
    return watchdog;
}

void watchdog_end(struct watchdog *watchdog)
{
    if (watchdog != NULL && watchdog->started) {
        pthread_mutex_lock(&watchdog->lock);
        watchdog->stopping = true;
        pthread_cond_signal(&watchdog->changed);
        pthread_mutex_unlock(&watchdog->lock);
        pthread_join(watchdog->thread, NULL);
        watchdog->started = false;
    }
    for (int i = 0; watchdog != NULL && i < watchdog->dirs_count; i++) {
        worker_pool_free(watchdog->dirs[i].thread);
        watchdog->dirs[i].thread = NULL;
    }
}

void watchdog_free(struct watchdog *watchdog)
{
    if (watchdog == NULL) {
        return;
    }
    watchdog_end(watchdog);
    for (int i = 0; i < watchdog->dirs_count; i++) {
        mem_free(watchdog->dirs[i].probe_path);
    }
    pthread_cond_destroy(&watchdog->changed);
    pthread_mutex_destroy(&watchdog->lock);
    fs_watch_free(watchdog->watch);
    mem_free(watchdog);
}

struct fs *watchdog_fs(struct watchdog *watchdog)
{
    return fs_watch_fs(watchdog->watch);
}

bool watchdog_hung(const struct watchdog *watchdog)
{
    return atomic_load(&watchdog->hung);
}
