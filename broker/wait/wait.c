#include "wait/wait.h"

#include "base/mem.h"
#include "base/must.h"

/* One loop's waits on one source. Made when first needed, lives as long as the source. */
struct wait_watch {
    struct loop_msg msg;
    _Atomic bool in_flight;
    struct wait_source *source;
    struct loop *loop;
    struct list ordered; /* of struct wait, by rank */
    struct list any;     /* of struct wait, WAIT_ANY */
    struct list marks;   /* of struct wait_mark: armed */
};

void wait_source_init(struct wait_source *source, int loop_count, void (*get)(struct wait_source *),
                      void (*put)(struct wait_source *))
{
    must(loop_count > 0);
    must(loop_count <= LOOP_INDEX_MAX);
    atomic_init(&source->mask, 0);
    source->loop_count = loop_count;
    source->watches = mem_zalloc((size_t)loop_count, sizeof(*source->watches));
    source->get = get;
    source->put = put;
}

void wait_source_fini(struct wait_source *source)
{
    for (int i = 0; i < source->loop_count; i++) {
        struct wait_watch *watch = atomic_load(&source->watches[i]);
        if (watch != NULL) {
            must(list_empty(&watch->ordered));
            must(list_empty(&watch->any));
            must(list_empty(&watch->marks));
            must(!atomic_load(&watch->in_flight));
            mem_free(watch);
        }
    }
    mem_free(source->watches);
    source->watches = NULL;
}

void wait_wake(struct wait_source *source)
{
    uint64_t mask = atomic_exchange_explicit(&source->mask, 0, memory_order_acq_rel);
    while (mask != 0) {
        int index = __builtin_ctzll(mask);
        mask &= mask - 1;
        struct wait_watch *watch =
            atomic_load_explicit(&source->watches[index], memory_order_acquire);
        must(watch != NULL);
        if (!atomic_exchange_explicit(&watch->in_flight, true, memory_order_acq_rel)) {
            source->get(source); /* the message's reference */
            loop_post(watch->loop, &watch->msg);
        }
    }
}

static void wait_unlink(struct wait *wait)
{
    list_remove(&wait->watch_link);
    list_remove(&wait->op_link);
    wait->op->pending_count--;
    must(wait->op->pending_count >= 0);
    wait->source->put(wait->source);
}

static void op_unlink_all(struct wait_op *op)
{
    list_for_each_safe (link, &op->waits) {
        wait_unlink(container_of(link, struct wait, op_link));
    }
    must(op->pending_count == 0);
    loop_timer_cancel(&op->timer);
}

static void op_complete(struct wait_op *op, bool timed_out)
{
    must(!op->completed);
    op->completed = true;
    op_unlink_all(op);
    op->done(op, timed_out);
}

/* Poll one wait; true when its operation is to complete. */
static bool wait_poll_one(struct wait *wait, enum wait_result *result)
{
    struct wait_op *op = wait->op;
    *result = wait->poll(wait);
    if (*result == WAIT_SATISFIED) {
        wait_unlink(wait);
        return op->pending_count == 0;
    }
    return *result == WAIT_COMPLETE;
}

/* Poll the waits of one list; operations that are to complete are gathered, since completing one
 * unlinks waits and may start new ones. */
static void watch_poll(struct list *waits, bool stop_at_pending, struct list *ready)
{
    list_for_each_safe (link, waits) {
        struct wait *wait = container_of(link, struct wait, watch_link);
        struct wait_op *op = wait->op;
        enum wait_result result;
        if (wait_poll_one(wait, &result) && !list_linked(&op->ready_link)) {
            list_push_back(ready, &op->ready_link);
        }
        if (result == WAIT_PENDING && stop_at_pending) {
            return;
        }
    }
}

static void mark_disarm(struct wait_mark *mark)
{
    struct wait_source *source = mark->source;
    list_remove(&mark->link);
    mark->source = NULL;
    source->put(source);
}

/* What is called may arm marks again, and free others. */
static void watch_fire(struct wait_watch *watch)
{
    struct list fired;
    struct list *link;
    list_init(&fired);
    list_splice_back(&fired, &watch->marks);
    while ((link = list_pop_front(&fired)) != NULL) {
        struct wait_mark *mark = container_of(link, struct wait_mark, link);
        mark_disarm(mark);
        mark->fn(mark, watch->source);
    }
}

static void watch_on_message(struct loop_msg *msg)
{
    struct wait_watch *watch = container_of(msg, struct wait_watch, msg);
    struct wait_source *source = watch->source;
    struct list ready;
    list_init(&ready);
    atomic_exchange_explicit(&watch->in_flight, false, memory_order_acq_rel);
    if (!list_empty(&watch->ordered) || !list_empty(&watch->any)) {
        uint64_t bit = (uint64_t)1 << loop_index(watch->loop);
        atomic_fetch_or_explicit(&source->mask, bit, memory_order_acq_rel);
        watch_poll(&watch->ordered, true, &ready);
        watch_poll(&watch->any, false, &ready);
    }
    struct list *link;
    while ((link = list_pop_front(&ready)) != NULL) {
        op_complete(container_of(link, struct wait_op, ready_link), false);
    }
    watch_fire(watch);
    source->put(source);
}

/* The watch of the operation's loop on a source. Only that loop ever makes it. */
static struct wait_watch *watch_of(struct wait_source *source, struct loop *loop)
{
    int index = loop_index(loop);
    must(index >= 0);
    must(index < source->loop_count);
    struct wait_watch *watch = atomic_load_explicit(&source->watches[index], memory_order_relaxed);
    if (watch == NULL) {
        watch = mem_new(struct wait_watch);
        watch->msg.fn = watch_on_message;
        watch->source = source;
        watch->loop = loop;
        list_init(&watch->ordered);
        list_init(&watch->any);
        list_init(&watch->marks);
        atomic_store_explicit(&source->watches[index], watch, memory_order_release);
    }
    return watch;
}

static void op_on_timer(struct loop_timer *timer)
{
    op_complete(container_of(timer, struct wait_op, timer), true);
}

void wait_op_init(struct wait_op *op, struct loop *loop,
                  void (*done)(struct wait_op *, bool timed_out))
{
    *op = (struct wait_op){.loop = loop, .done = done};
    list_init(&op->waits);
    list_init(&op->ready_link);
    loop_timer_init(&op->timer, op_on_timer);
}

/* Nearly always that is the end. But of two requests the one that also waited for a slower
 * partition comes later, with the lower offset; so does what is sent again. */
static void insert_by_rank(struct list *ordered, struct wait *wait)
{
    struct list *before = ordered->prev;
    while (before != ordered && container_of(before, struct wait, watch_link)->rank > wait->rank) {
        before = before->prev;
    }
    list_push_front(before, &wait->watch_link);
}

void wait_add(struct wait_op *op, struct wait *wait, struct wait_source *source, int64_t rank,
              wait_poll_fn *poll)
{
    struct wait_watch *watch = watch_of(source, op->loop);
    source->get(source);
    *wait = (struct wait){.op = op, .source = source, .poll = poll, .rank = rank};
    list_push_back(&op->waits, &wait->op_link);
    if (rank == WAIT_ANY) {
        list_push_back(&watch->any, &wait->watch_link);
    } else {
        insert_by_rank(&watch->ordered, wait);
    }
    op->pending_count++;
    uint64_t bit = (uint64_t)1 << loop_index(op->loop);
    atomic_fetch_or_explicit(&source->mask, bit, memory_order_acq_rel);
}

void wait_op_start(struct wait_op *op, int64_t deadline_ms)
{
    bool complete = list_empty(&op->waits);
    list_for_each_safe (link, &op->waits) {
        enum wait_result result;
        complete = wait_poll_one(container_of(link, struct wait, op_link), &result) || complete;
    }
    if (complete) {
        op_complete(op, false);
    } else if (deadline_ms <= loop_now_ms(op->loop)) {
        op_complete(op, true);
    } else {
        loop_timer_set(op->loop, &op->timer, deadline_ms);
    }
}

void wait_op_hold(struct wait_op *op, int64_t deadline_ms)
{
    must(list_empty(&op->waits));
    if (deadline_ms <= loop_now_ms(op->loop)) {
        op_complete(op, true);
    } else {
        loop_timer_set(op->loop, &op->timer, deadline_ms);
    }
}

void wait_op_complete(struct wait_op *op)
{
    op_complete(op, false);
}

void wait_mark_init(struct wait_mark *mark,
                    void (*fn)(struct wait_mark *mark, struct wait_source *source))
{
    *mark = (struct wait_mark){.fn = fn};
    list_init(&mark->link);
}

void wait_mark_arm(struct wait_mark *mark, struct wait_source *source, struct loop *loop)
{
    if (mark->source == source) {
        return;
    }
    wait_mark_disarm(mark);
    struct wait_watch *watch = watch_of(source, loop);
    source->get(source);
    mark->source = source;
    list_push_back(&watch->marks, &mark->link);
    uint64_t bit = (uint64_t)1 << loop_index(loop);
    atomic_fetch_or_explicit(&source->mask, bit, memory_order_acq_rel);
}

void wait_mark_disarm(struct wait_mark *mark)
{
    if (mark->source != NULL) {
        mark_disarm(mark);
    }
}

void wait_op_cancel(struct wait_op *op)
{
    if (!op->completed) {
        op->completed = true;
        op_unlink_all(op);
    }
    list_remove(&op->ready_link);
}
