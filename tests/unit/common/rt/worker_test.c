#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "rt/worker.h"

enum { COUNT = 1000 };

struct item {
    struct work work;
    int ran;
    struct loop *loop;
};

static _Atomic int runs;
static int dones;
static sem_t finished;

static void on_run(struct work *work)
{
    struct item *item = container_of(work, struct item, work);
    cr_assert_null(loop_current());
    item->ran++;
    atomic_fetch_add(&runs, 1);
}

/* On the loop: what run() wrote is seen. */
static void on_done(struct work *work)
{
    struct item *item = container_of(work, struct item, work);
    loop_assert_here(item->loop);
    cr_assert_eq(item->ran, 1);
    if (++dones == COUNT) {
        sem_post(&finished);
    }
}

Test(worker, every_item_runs_once_and_is_reported_on_its_loop, .timeout = 60)
{
    static struct item items[COUNT];
    struct loop *loop = loop_new("net", 0, clock_system());
    struct worker_pool *pool = worker_pool_new("worker", 3);
    sem_init(&finished, 0, 0);
    cr_assert_eq(loop_start(loop), ERR_OK);
    for (int i = 0; i < COUNT; i++) {
        items[i].loop = loop;
        items[i].work = (struct work){.run = on_run, .done = on_done, .loop = loop};
        worker_submit(pool, &items[i].work);
    }
    sem_wait(&finished);
    worker_pool_free(pool);
    loop_stop(loop);
    loop_free(loop);
    sem_destroy(&finished);
}

static void on_run_and_free(struct work *work)
{
    atomic_fetch_add(&runs, 1);
    mem_free(container_of(work, struct item, work));
}

/* Freeing a pool first runs what is queued: nobody waits for it in vain. Without done() an item may
 * free itself. */
Test(worker, a_pool_that_is_freed_runs_what_is_queued, .timeout = 60)
{
    struct worker_pool *pool = worker_pool_new("worker", 2);
    for (int i = 0; i < COUNT; i++) {
        struct item *item = mem_new(struct item);
        item->work.run = on_run_and_free;
        worker_submit(pool, &item->work);
    }
    worker_pool_free(pool);
    cr_assert_eq(atomic_load(&runs), COUNT);
    worker_pool_free(NULL);
}

/* In the simulator: no threads, one item a step, oldest first. */
Test(worker, a_pool_without_threads_is_driven_by_hand)
{
    static struct item items[2];
    struct loop *loop = loop_new("hand", 0, clock_system());
    struct worker_pool *pool = worker_pool_new("worker", 0);
    cr_assert(!worker_pool_step(pool));
    for (int i = 0; i < 2; i++) {
        items[i].loop = loop;
        items[i].work = (struct work){.run = on_run, .done = on_done, .loop = loop};
        worker_submit(pool, &items[i].work);
    }
    cr_assert(worker_pool_step(pool));
    cr_assert_eq(items[0].ran, 1);
    cr_assert_eq(items[1].ran, 0);
    cr_assert(loop_turn(loop));
    cr_assert_eq(dones, 1);
    worker_pool_free(pool); /* runs the second */
    cr_assert_eq(items[1].ran, 1);
    cr_assert(loop_turn(loop));
    cr_assert_eq(dones, 2);
    loop_free(loop);
}
