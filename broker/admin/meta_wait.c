#include "admin/meta_wait.h"

static void finish(struct meta_wait *wait, bool timed_out)
{
    loop_timer_cancel(&wait->timer);
    list_remove(&wait->link);
    wait->done(wait, timed_out);
}

static void on_timer(struct loop_timer *timer)
{
    struct meta_wait *wait = container_of(timer, struct meta_wait, timer);
    struct meta *meta = meta_cell_get(wait->waits->meta);
    bool so = wait->check(wait, meta);
    meta_put(meta);
    finish(wait, !so);
}

void meta_waits_init(struct meta_waits *waits, struct loop *loop, struct meta_cell *meta)
{
    *waits = (struct meta_waits){.loop = loop, .meta = meta};
    list_init(&waits->waiting);
}

void meta_waits_fini(struct meta_waits *waits)
{
    while (!list_empty(&waits->waiting)) {
        finish(container_of(waits->waiting.next, struct meta_wait, link), true);
    }
}

void meta_waits_kick(struct meta_waits *waits)
{
    struct list ready;
    struct list *link;
    struct meta *meta = meta_cell_get(waits->meta);
    list_init(&ready);
    list_for_each_safe (at, &waits->waiting) {
        struct meta_wait *wait = container_of(at, struct meta_wait, link);
        if (wait->check(wait, meta)) {
            list_remove(&wait->link);
            list_push_back(&ready, &wait->link);
        }
    }
    meta_put(meta);
    while ((link = ready.next) != &ready) {
        finish(container_of(link, struct meta_wait, link), false);
    }
}

void meta_wait_start(struct meta_waits *waits, struct meta_wait *wait, int64_t deadline_ms)
{
    wait->waits = waits;
    list_push_back(&waits->waiting, &wait->link);
    loop_timer_init(&wait->timer, on_timer);
    struct meta *meta = meta_cell_get(waits->meta);
    bool so = wait->check(wait, meta);
    meta_put(meta);
    int64_t last_ms = loop_now_ms(waits->loop) + META_WAIT_MAX_MS;
    deadline_ms = deadline_ms < last_ms ? deadline_ms : last_ms;
    /* A time that is over already fires in the next turn. */
    loop_timer_set(waits->loop, &wait->timer, so ? 0 : deadline_ms);
}
