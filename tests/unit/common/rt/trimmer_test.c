/* When memory is given back: a while after the last of the work that needed it, once. */
#include <criterion/criterion.h>

#include "rt/trimmer.h"

static struct clock_manual clock;
static struct loop *loop;
static struct worker_pool *pool;
static struct trimmer trimmer;

static void make(int threads)
{
    clock_manual_init(&clock, 0);
    loop = loop_new("hand", -1, &clock.clock);
    pool = worker_pool_new("worker", threads);
    trimmer_init(&trimmer, loop, pool);
}

static void release(void)
{
    worker_pool_free(pool);
    trimmer_fini(&trimmer);
    loop_turn(loop);
    loop_free(loop);
}

static void pass(int64_t ms)
{
    clock_manual_advance(&clock, ms * 1000000);
    loop_turn(loop);
}

static void on_end(struct loop_msg *msg)
{
    (void)msg;
    trimmer_soon(&trimmer);
}

static void work_ends(void)
{
    struct loop_msg msg = {.fn = on_end};
    loop_post(loop, &msg);
    loop_turn(loop);
}

/* Work that ends meanwhile puts it off; then it happens once, until there has been work again. */
Test(trimmer, memory_goes_back_a_while_after_the_last_work, .timeout = 60)
{
    make(1);
    work_ends();
    pass(TRIMMER_DELAY_MS - 20);
    work_ends();
    pass(TRIMMER_DELAY_MS - 20);
    cr_assert(!trimmer.working);
    pass(40);
    cr_assert(trimmer.working);
    cr_assert_eq(loop_next_deadline_ms(loop), INT64_MAX);
    while (trimmer.working) {
        loop_turn(loop);
    }
    work_ends();
    cr_assert(loop_timer_pending(&trimmer.timer));
    release();
}

/* In the simulator, one process is many brokers. */
Test(trimmer, nothing_is_given_back_where_there_are_no_threads)
{
    make(0);
    work_ends();
    cr_assert(!loop_timer_pending(&trimmer.timer));
    release();
}
