#include "rt/trimmer.h"

#include "base/mem.h"

static void on_work(struct work *work)
{
    (void)work;
    mem_trim();
}

static void on_worked(struct work *work)
{
    container_of(work, struct trimmer, work)->working = false;
}

static void on_timer(struct loop_timer *timer)
{
    struct trimmer *trimmer = container_of(timer, struct trimmer, timer);
    mem_trim_end();
    if (!trimmer->working) {
        trimmer->working = true;
        worker_submit(trimmer->pool, &trimmer->work);
    }
}

void trimmer_init(struct trimmer *trimmer, struct loop *loop, struct worker_pool *pool)
{
    trimmer->loop = loop;
    trimmer->pool = pool;
    trimmer->work = (struct work){.run = on_work, .done = on_worked, .loop = loop};
    trimmer->working = false;
    loop_timer_init(&trimmer->timer, on_timer);
}

void trimmer_fini(struct trimmer *trimmer)
{
    loop_timer_cancel(&trimmer->timer);
}

void trimmer_soon(struct trimmer *trimmer)
{
    loop_assert_here(trimmer->loop);
    if (worker_pool_threads(trimmer->pool) > 0) {
        loop_timer_set(trimmer->loop, &trimmer->timer,
                       loop_now_ms(trimmer->loop) + TRIMMER_DELAY_MS);
    }
}
