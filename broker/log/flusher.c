#include "log/flusher.h"

#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"
#include "log/plog_internal.h"

struct flusher {
    _Atomic int32_t count;
    struct fs_file *mark;
    struct worker_pool *workers;
    struct worker_pool *own; /* what `workers` is, when nobody gave one */
    struct work work;
    bool failed; /* the round's: some sync has failed */

    pthread_mutex_t lock; /* a leaf; guards what follows */
    struct plog *head;    /* who waits, in order */
    struct plog **end;
    bool running; /* a round is submitted or under way */
    bool stopped;
};

static void flusher_run(struct work *work);

struct flusher *flusher_new(struct fs_file *mark, struct worker_pool *workers)
{
    struct flusher *flusher = mem_new(struct flusher);
    atomic_init(&flusher->count, 1);
    flusher->mark = mark;
    flusher->workers = workers;
    flusher->work.run = flusher_run;
    flusher->end = &flusher->head;
    pthread_mutex_init(&flusher->lock, NULL);
    return flusher;
}

struct flusher *flusher_hold(struct flusher *flusher)
{
    if (flusher != NULL) {
        ref_hold(&flusher->count);
    }
    return flusher;
}

void flusher_release(struct flusher *flusher)
{
    if (flusher == NULL || !ref_drop(&flusher->count)) {
        return;
    }
    must(flusher->head == NULL);
    must(flusher->own == NULL);
    pthread_mutex_destroy(&flusher->lock);
    mem_free(flusher);
}

/* With the lock held, once per burst. */
static void submit(struct flusher *flusher)
{
    if (flusher->workers == NULL) {
        flusher->own = worker_pool_new("flush", 1);
        flusher->workers = flusher->own;
    }
    flusher->running = true;
    worker_submit(flusher->workers, &flusher->work);
}

bool flusher_push(struct flusher *flusher, struct plog *log)
{
    pthread_mutex_lock(&flusher->lock);
    bool taken = !flusher->stopped;
    if (taken) {
        log->flush.next = NULL;
        *flusher->end = log;
        flusher->end = &log->flush.next;
        if (!flusher->running) {
            submit(flusher);
        }
    }
    pthread_mutex_unlock(&flusher->lock);
    return taken;
}

/* ---- a round ---- */

static int32_t take_all(struct flusher *flusher, struct plog_flush_job *jobs, int32_t max)
{
    int32_t count = 0;
    pthread_mutex_lock(&flusher->lock);
    while (flusher->head != NULL && count < max) {
        jobs[count++].log = flusher->head;
        flusher->head = flusher->head->flush.next;
    }
    if (flusher->head == NULL) {
        flusher->end = &flusher->head;
    }
    pthread_mutex_unlock(&flusher->lock);
    return count;
}

static int32_t waiting(struct flusher *flusher)
{
    int32_t count = 0;
    pthread_mutex_lock(&flusher->lock);
    for (const struct plog *log = flusher->head; log != NULL && count < FLUSHER_ROUND_MAX;
         log = log->flush.next) {
        count++;
    }
    pthread_mutex_unlock(&flusher->lock);
    return count;
}

/* One sync for all. False: it is to be done file by file. */
static bool sync_together(struct flusher *flusher, struct plog_flush_job *jobs, int32_t count)
{
    int32_t files = 0;
    for (int32_t i = 0; i < count; i++) {
        files += plog_flush_files(&jobs[i]);
    }
    if (files < FLUSHER_ALL_MIN || flusher->mark == NULL) {
        return false;
    }
    enum err err = fs_sync_all(flusher->mark);
    if (err == ERR_UNSUPPORTED_VERSION) {
        flusher->mark = NULL;
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        jobs[i].err = err;
    }
    return true;
}

static void sync_jobs(struct flusher *flusher, struct plog_flush_job *jobs, int32_t count)
{
    if (!flusher->failed && sync_together(flusher, jobs, count)) {
        flusher->failed = jobs[0].err != ERR_OK;
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        jobs[i].err = flusher->failed ? ERR_KAFKA_STORAGE_ERROR : plog_flush_sync(&jobs[i]);
        bool gone = atomic_load(&jobs[i].log->deleted);
        flusher->failed = flusher->failed || (jobs[i].err != ERR_OK && !gone);
    }
}

static void flusher_run(struct work *work)
{
    struct flusher *flusher = container_of(work, struct flusher, work);
    int32_t max = waiting(flusher);
    struct plog_flush_job *jobs = mem_zalloc((size_t)max, sizeof(*jobs));
    int32_t count = take_all(flusher, jobs, max);
    for (int32_t i = 0; i < count; i++) {
        plog_flush_take(&jobs[i]);
    }
    sync_jobs(flusher, jobs, count);
    for (int32_t i = 0; i < count; i++) {
        plog_flush_end(&jobs[i]);
    }
    mem_free(jobs);
    pthread_mutex_lock(&flusher->lock);
    flusher->running = false;
    if (flusher->head != NULL) {
        submit(flusher);
    }
    pthread_mutex_unlock(&flusher->lock);
}

void flusher_stop(struct flusher *flusher)
{
    if (flusher == NULL) {
        return;
    }
    pthread_mutex_lock(&flusher->lock);
    flusher->stopped = true;
    struct worker_pool *own = flusher->own;
    pthread_mutex_unlock(&flusher->lock);
    worker_pool_free(own); /* after what is queued, and what that queues */
    flusher->own = NULL;
}
