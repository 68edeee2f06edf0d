#include "rt/worker.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"

struct worker_pool {
    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t ready;
    struct work *head;
    struct work **end;
    bool stopping;
    char name[16];
    int threads_count;
    pthread_t threads[];
};

static void on_done(struct loop_msg *msg)
{
    struct work *work = container_of(msg, struct work, done_msg);
    work->done(work);
}

/* run() may free an item without done(), so what is needed afterwards is read before. */
static void work_run(struct work *work)
{
    bool report = work->done != NULL;
    struct loop *loop = work->loop;
    work->run(work);
    if (report) {
        work->done_msg.fn = on_done;
        loop_post(loop, &work->done_msg);
    }
}

/* With the lock held. */
static struct work *pool_pop(struct worker_pool *pool)
{
    struct work *work = pool->head;
    if (work != NULL) {
        pool->head = work->next;
        if (pool->head == NULL) {
            pool->end = &pool->head;
        }
    }
    return work;
}

static void *worker_thread(void *arg)
{
    struct worker_pool *pool = arg;
    pthread_setname_np(pthread_self(), pool->name);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct work *work = pool_pop(pool);
        if (work != NULL) {
            pthread_mutex_unlock(&pool->lock);
            work_run(work);
            pthread_mutex_lock(&pool->lock);
        } else if (pool->stopping) {
            break;
        } else {
            pthread_cond_wait(&pool->ready, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    mem_trim_end(); /* its heap goes to the next thread that begins, if there is one */
    return NULL;
}

struct worker_pool *worker_pool_new(const char *name, int thread_count)
{
    struct worker_pool *pool =
        mem_zalloc(1, sizeof(*pool) + (size_t)thread_count * sizeof(pool->threads[0]));
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->ready, NULL);
    pool->end = &pool->head;
    for (int i = 0; i < thread_count; i++) {
        must(pthread_create(&pool->threads[i], NULL, worker_thread, pool) == 0);
        pool->threads_count++;
    }
    return pool;
}

void worker_pool_free(struct worker_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->threads_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    while (worker_pool_step(pool)) {
    }
    pthread_cond_destroy(&pool->ready);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

void worker_submit(struct worker_pool *pool, struct work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->end = work;
    pool->end = &work->next;
    pthread_cond_signal(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
}

bool worker_pool_step(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct work *work = pool_pop(pool);
    pthread_mutex_unlock(&pool->lock);
    if (work == NULL) {
        return false;
    }
    work_run(work);
    return true;
}

int worker_pool_threads(const struct worker_pool *pool)
{
    return pool->threads_count;
}

bool worker_pool_busy(struct worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool busy = pool->head != NULL;
    pthread_mutex_unlock(&pool->lock);
    return busy;
}
