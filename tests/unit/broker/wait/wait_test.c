/* Operations that wait: completed once, in time, whoever wakes whom and when; nothing left linked.
 */
#include <criterion/criterion.h>
#include <semaphore.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "rt/actor.h"
#include "wait/wait.h"

/* ---- a source with a number that grows, and operations that want it to reach another. By hand. */

struct source {
    struct wait_source wait;
    _Atomic int64_t offset;
    _Atomic int refs;
};

struct op;

struct one_wait {
    struct wait wait;
    int64_t wanted;
    bool whole; /* reaching it completes the operation */
};

struct op {
    struct wait_op op;
    char name;
    struct one_wait waits[3];
    int waits_count;
    struct op *kill; /* cancelled by this one's completion */
};

static struct clock_manual test_clock;
static struct loop *loops[2];
static struct source a;
static struct source b;
static struct buf trace; /* "x" completed, "x!" timed out */
static int polls;

static void on_get(struct wait_source *source)
{
    atomic_fetch_add(&container_of(source, struct source, wait)->refs, 1);
}

static void on_put(struct wait_source *source)
{
    cr_assert_gt(atomic_fetch_sub(&container_of(source, struct source, wait)->refs, 1), 0);
}

static void world_init(void)
{
    clock_manual_init(&test_clock, 0);
    for (int i = 0; i < 2; i++) {
        loops[i] = loop_new("hand", i, &test_clock.clock);
    }
    wait_source_init(&a.wait, 2, on_get, on_put);
    wait_source_init(&b.wait, 2, on_get, on_put);
}

struct marked {
    struct wait_mark mark;
    struct wait_source *again; /* armed for it when told */
    int told;
};

static void on_told(struct wait_mark *mark, struct wait_source *source)
{
    struct marked *marked = container_of(mark, struct marked, mark);
    cr_assert_null(mark->source, "told, it is disarmed");
    cr_assert_gt(atomic_load(&container_of(source, struct source, wait)->refs), 0);
    marked->told++;
    if (marked->again != NULL) {
        wait_mark_arm(mark, marked->again, loops[0]);
    }
}

static void settle(void)
{
    while (loop_turn(loops[0]) || loop_turn(loops[1])) {
    }
}

/* Nobody waits, nothing is under way, every reference is back. */
static void world_fini(void)
{
    settle();
    cr_assert_eq(atomic_load(&a.refs), 0);
    cr_assert_eq(atomic_load(&b.refs), 0);
    wait_source_fini(&a.wait);
    wait_source_fini(&b.wait);
    loop_free(loops[0]);
    loop_free(loops[1]);
    buf_fini(&trace);
}

static void expect(const char *wanted)
{
    settle();
    buf_put_byte(&trace, 0);
    cr_assert_str_eq((const char *)trace.data, wanted);
    buf_clear(&trace);
}

static enum wait_result on_poll(struct wait *wait)
{
    struct one_wait *one = container_of(wait, struct one_wait, wait);
    polls++;
    if (atomic_load(&container_of(wait->source, struct source, wait)->offset) < one->wanted) {
        return WAIT_PENDING;
    }
    return one->whole ? WAIT_COMPLETE : WAIT_SATISFIED;
}

static void on_done(struct wait_op *wait_op, bool timed_out)
{
    struct op *op = container_of(wait_op, struct op, op);
    buf_printf(&trace, "%c%s ", op->name, timed_out ? "!" : "");
    for (int i = 0; i < op->waits_count; i++) {
        cr_assert(!list_linked(&op->waits[i].wait.watch_link));
    }
    if (op->kill != NULL) {
        wait_op_cancel(&op->kill->op);
    }
    memset(op->waits, 0xdd, sizeof(op->waits)); /* it may be freed in done() */
}

static void op_begin(struct op *op, char name, int loop)
{
    *op = (struct op){.name = name};
    wait_op_init(&op->op, loops[loop], on_done);
}

static void op_wait(struct op *op, struct source *source, int64_t wanted, int64_t rank)
{
    struct one_wait *one = &op->waits[op->waits_count++];
    one->wanted = wanted;
    wait_add(&op->op, &one->wait, &source->wait, rank, on_poll);
}

static void publish(struct source *source, int64_t offset)
{
    atomic_store(&source->offset, offset);
    wait_wake(&source->wait);
}

/* One wait, from start to end. */
static void simple(struct op *op, char name, struct source *source, int64_t wanted)
{
    op_begin(op, name, 0);
    op_wait(op, source, wanted, wanted);
    wait_op_start(&op->op, 1000);
}

Test(wait, completes_at_once_what_is_satisfied, .init = world_init, .fini = world_fini)
{
    struct op op;
    atomic_store(&a.offset, 5);
    simple(&op, 'x', &a, 5);
    cr_assert_eq(trace.size, 2, "not before wait_op_start returned");
    expect("x ");
    op_begin(&op, 'y', 0);
    wait_op_start(&op.op, 1000); /* waits for nothing */
    expect("y ");
}

Test(wait, completes_when_woken, .init = world_init, .fini = world_fini)
{
    struct op op;
    simple(&op, 'x', &a, 5);
    publish(&a, 4);
    publish(&b, 9);
    expect("");
    publish(&a, 6);
    cr_assert_eq(trace.size, 0, "on the waker's thread");
    expect("x ");
    publish(&a, 7);
    expect("");
}

/* The last of its waits completes it; or a single one that says so. */
Test(wait, several_sources, .init = world_init, .fini = world_fini)
{
    struct op all;
    struct op any;
    op_begin(&all, 'x', 0);
    op_wait(&all, &a, 5, 5);
    op_wait(&all, &b, 5, 5);
    op_wait(&all, &b, 7, 7);
    wait_op_start(&all.op, 1000);
    op_begin(&any, 'y', 0);
    op_wait(&any, &a, 100, WAIT_ANY);
    op_wait(&any, &b, 6, WAIT_ANY);
    any.waits[1].whole = true;
    wait_op_start(&any.op, 1000);
    publish(&a, 5);
    publish(&b, 5);
    expect("");
    publish(&b, 6);
    expect("y ");
    publish(&b, 7);
    expect("x ");
}

/* Of ordered waits those behind the first pending one are not polled: a thousand waiting produces
 * cost one look. */
Test(wait, ordered_waits_are_woken_by_prefix, .init = world_init, .fini = world_fini)
{
    struct op ops[10];
    for (int i = 0; i < 10; i++) {
        simple(&ops[i], (char)('0' + i), &a, i + 1);
    }
    polls = 0;
    publish(&a, 3);
    expect("0 1 2 ");
    cr_assert_eq(polls, 4);
    publish(&a, 100);
    expect("3 4 5 6 7 8 9 ");
}

/* Two producers: the first also sent to another partition, whose append took longer. What the
 * second one wrote behind it was waited for, be it until the time was over. */
Test(wait, what_is_added_later_does_not_wait_for_what_is_behind_it, .init = world_init,
     .fini = world_fini)
{
    struct op ops[3];
    simple(&ops[0], 'z', &a, 9);
    simple(&ops[1], 'x', &a, 5);
    simple(&ops[2], 'y', &a, 7);
    publish(&a, 5);
    expect("x ");
    publish(&a, 8);
    expect("y ");
    publish(&a, 9);
    expect("z ");
}

Test(wait, times_out_once, .init = world_init, .fini = world_fini)
{
    struct op op;
    struct op late;
    simple(&op, 'x', &a, 5);
    clock_manual_advance(&test_clock, INT64_C(990) * 1000000);
    expect("");
    clock_manual_advance(&test_clock, INT64_C(30) * 1000000);
    expect("x! ");
    publish(&a, 5);
    expect("");
    op_begin(&late, 'y', 0);
    op_wait(&late, &b, 5, WAIT_ANY);
    wait_op_start(&late.op, 1000); /* over already */
    expect("y! ");
}

Test(wait, cancelling_unlinks_everything, .init = world_init, .fini = world_fini)
{
    struct op op;
    simple(&op, 'x', &a, 5);
    publish(&a, 5); /* under way */
    wait_op_cancel(&op.op);
    wait_op_cancel(&op.op);
    expect("");
    clock_manual_advance(&test_clock, INT64_C(5000) * 1000000);
    expect("");
}

/* A completion that closes a connection cancels others, also those that are to complete next. */
Test(wait, a_completion_may_cancel_the_next, .init = world_init, .fini = world_fini)
{
    struct op ops[3];
    simple(&ops[0], 'x', &a, 5);
    simple(&ops[1], 'y', &a, 5);
    simple(&ops[2], 'z', &a, 5);
    ops[0].kill = &ops[1];
    publish(&a, 5);
    expect("x z ");
    wait_op_cancel(&ops[1].op);
}

/* Each loop that waits is told, by a message of its own, and one message is enough for any number
 * of wake-ups. */
Test(wait, every_loop_is_told, .init = world_init, .fini = world_fini)
{
    struct op here;
    struct op there;
    simple(&here, 'x', &a, 5);
    op_begin(&there, 'y', 1);
    op_wait(&there, &a, 5, WAIT_ANY);
    wait_op_start(&there.op, 1000);
    polls = 0;
    for (int i = 1; i <= 5; i++) {
        publish(&a, i);
    }
    expect("x y ");
    cr_assert_eq(polls, 2);
    cr_assert_eq(atomic_load(&a.wait.mask) & ~UINT64_C(3), 0);
}

/* ---- golden: a random history in text, compared with a model that polls everything always */

enum { OPS = 12, STEPS = 4000 };

struct model_op {
    struct op op;
    bool active;
    int64_t deadline_ms;
};

static bool model_ready(const struct model_op *model)
{
    for (int i = 0; i < model->op.waits_count; i++) {
        const struct one_wait *one = &model->op.waits[i];
        const struct source *source = container_of(one->wait.source, struct source, wait);
        if (source->offset < one->wanted) {
            return false;
        }
    }
    return true;
}

Test(wait, never_misses_and_never_hurries, .init = world_init, .fini = world_fini)
{
    static struct model_op ops[OPS];
    struct rng rng;
    int64_t now_ms = 0;
    rng_seed(&rng, 11);
    for (int step = 0; step < STEPS; step++) {
        struct model_op *model = &ops[rng_below(&rng, OPS)];
        if (!model->active) {
            op_begin(&model->op, (char)('a' + (model - ops)), (int)rng_below(&rng, 2));
            for (uint64_t i = rng_below(&rng, 3); i < 3; i++) {
                struct source *source = rng_one_in(&rng, 2) ? &a : &b;
                int64_t wanted = source->offset + (int64_t)rng_below(&rng, 6);
                op_wait(&model->op, source, wanted, rng_one_in(&rng, 2) ? wanted : WAIT_ANY);
            }
            model->active = true;
            model->deadline_ms = now_ms + 20 + (int64_t)rng_below(&rng, 200);
            buf_clear(&trace);
            bool ready = model_ready(model);
            wait_op_start(&model->op.op, model->deadline_ms);
            cr_assert_eq(trace.size > 0, ready);
            model->active = !ready;
        } else if (rng_one_in(&rng, 8)) {
            wait_op_cancel(&model->op.op);
            model->active = false;
        }
        struct source *source = rng_one_in(&rng, 2) ? &a : &b;
        if (rng_one_in(&rng, 2)) {
            publish(source, source->offset + (int64_t)rng_below(&rng, 3));
        }
        if (rng_one_in(&rng, 3)) {
            int64_t ms = (int64_t)rng_below(&rng, 30);
            now_ms += ms;
            clock_manual_advance(&test_clock, ms * 1000000);
        }
        bool ready[OPS];
        for (int i = 0; i < OPS; i++) {
            ready[i] = ops[i].active && model_ready(&ops[i]);
        }
        buf_clear(&trace);
        settle();
        buf_put_byte(&trace, 0);
        for (int i = 0; i < OPS; i++) {
            const char *at = strchr((const char *)trace.data, 'a' + i);
            bool late = ops[i].active && now_ms >= ops[i].deadline_ms;
            cr_assert(ops[i].active || at == NULL);
            cr_assert(!ready[i] || at != NULL, "a wake-up was lost");
            cr_assert(at == NULL || ready[i] || (at[1] == '!' && late), "it hurried");
            cr_assert(!ops[i].active || at != NULL || now_ms < ops[i].deadline_ms + 10);
            ops[i].active = ops[i].active && at == NULL;
        }
    }
    for (int i = 0; i < OPS; i++) {
        if (ops[i].active) {
            wait_op_cancel(&ops[i].op.op);
        }
    }
}

/* ---- threads: sources are actors that count up; loops wait for each next number. A lost wake-up
 * hangs, and the test's time is over. */

enum { LOOPS = 3, SOURCES = 2, ROUNDS = 4000 };

struct counter {
    struct source source;
    struct actor actor;
};

struct runner;

struct chaser {
    struct wait_op op;
    struct one_wait wait;
    struct actor_msg bump;
    struct loop_msg back;
    struct loop_task next;
    struct counter *counter;
    struct runner *runner;
    int rounds;
    bool caught;
    bool bumped;
};

struct runner {
    struct loop *loop;
    struct loop_msg start;
    struct chaser chasers[SOURCES];
};

static struct counter counters[SOURCES];
static struct runner runners[LOOPS];
static _Atomic int chasers_left;
static sem_t chase_over;

static void on_counted(struct actor *actor)
{
    wait_wake(&container_of(actor, struct counter, actor)->source.wait);
}

static enum wait_result on_poll_counter(struct wait *wait)
{
    const struct one_wait *one = container_of(wait, struct one_wait, wait);
    const struct source *source = container_of(wait->source, struct source, wait);
    return atomic_load(&source->offset) >= one->wanted ? WAIT_SATISFIED : WAIT_PENDING;
}

static void on_caught(struct wait_op *op, bool timed_out);

static void on_chase(struct loop_task *task)
{
    struct chaser *chaser = container_of(task, struct chaser, next);
    struct source *source = &chaser->counter->source;
    wait_op_init(&chaser->op, chaser->runner->loop, on_caught);
    chaser->wait.wanted = atomic_load(&source->offset) + 1;
    /* Half of the time the number grows while we are still linking. */
    if (chaser->rounds % 2 == 0) {
        actor_post(&chaser->counter->actor, &chaser->bump);
    }
    wait_add(&chaser->op, &chaser->wait.wait, &source->wait, WAIT_ANY, on_poll_counter);
    if (chaser->rounds % 2 == 1) {
        actor_post(&chaser->counter->actor, &chaser->bump);
    }
    wait_op_start(&chaser->op, INT64_MAX);
}

/* The bump of the round may still be queued when somebody else's has satisfied us: the next round
 * begins when it is back. */
static void chaser_advance(struct chaser *chaser)
{
    if (!chaser->caught || !chaser->bumped) {
        return;
    }
    chaser->caught = false;
    chaser->bumped = false;
    if (++chaser->rounds == ROUNDS) {
        if (atomic_fetch_sub(&chasers_left, 1) == 1) {
            sem_post(&chase_over);
        }
        return;
    }
    loop_defer(chaser->runner->loop, &chaser->next);
}

static void on_caught(struct wait_op *op, bool timed_out)
{
    struct chaser *chaser = container_of(op, struct chaser, op);
    cr_assert(!timed_out);
    chaser->caught = true;
    chaser_advance(chaser);
}

static void on_bumped(struct loop_msg *msg)
{
    struct chaser *chaser = container_of(msg, struct chaser, back);
    chaser->bumped = true;
    chaser_advance(chaser);
}

static void on_bump(struct actor *actor, struct actor_msg *msg)
{
    struct chaser *chaser = container_of(msg, struct chaser, bump);
    struct counter *counter = container_of(actor, struct counter, actor);
    atomic_fetch_add(&counter->source.offset, 1);
    loop_post(chaser->runner->loop, &chaser->back);
}

static void on_start(struct loop_msg *msg)
{
    struct runner *runner = container_of(msg, struct runner, start);
    for (int i = 0; i < SOURCES; i++) {
        loop_defer(runner->loop, &runner->chasers[i].next);
    }
}

static void runner_start(struct runner *runner, int index)
{
    runner->loop = loop_new("net", index, clock_system());
    runner->start.fn = on_start;
    for (int i = 0; i < SOURCES; i++) {
        struct chaser *chaser = &runner->chasers[i];
        chaser->counter = &counters[i];
        chaser->runner = runner;
        chaser->bump.fn = on_bump;
        chaser->back.fn = on_bumped;
        loop_task_init(&chaser->next, on_chase);
    }
    cr_assert_eq(loop_start(runner->loop), ERR_OK);
    loop_post(runner->loop, &runner->start);
}

static void runners_stop(void)
{
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(runners[i].loop);
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < LOOPS; i++) {
            more = loop_turn(runners[i].loop) || more;
        }
    }
    for (int i = 0; i < LOOPS; i++) {
        loop_free(runners[i].loop);
    }
}

Test(wait, no_wake_up_is_lost_between_threads, .timeout = 100)
{
    sem_init(&chase_over, 0, 0);
    atomic_store(&chasers_left, LOOPS * SOURCES);
    for (int i = 0; i < SOURCES; i++) {
        wait_source_init(&counters[i].source.wait, LOOPS, on_get, on_put);
        actor_init(&counters[i].actor, on_counted);
    }
    for (int i = 0; i < LOOPS; i++) {
        runner_start(&runners[i], i);
    }
    sem_wait(&chase_over);
    runners_stop();
    for (int i = 0; i < SOURCES; i++) {
        cr_assert_eq(atomic_load(&counters[i].source.offset), LOOPS * ROUNDS);
        cr_assert_eq(atomic_load(&counters[i].source.refs), 0);
        wait_source_fini(&counters[i].source.wait);
        actor_fini(&counters[i].actor);
    }
    sem_destroy(&chase_over);
}

/* One wake-up is told once, however many there are, until the mark is armed again. */
Test(wait_mark, an_armed_mark_is_told_once)
{
    struct marked one = {0};
    world_init();
    wait_mark_init(&one.mark, on_told);
    wait_wake(&a.wait);
    settle();
    cr_assert_eq(one.told, 0, "it was not armed");
    wait_mark_arm(&one.mark, &a.wait, loops[0]);
    wait_mark_arm(&one.mark, &a.wait, loops[0]);
    cr_assert_eq(atomic_load(&a.refs), 1);
    wait_wake(&a.wait);
    wait_wake(&a.wait);
    settle();
    cr_assert_eq(one.told, 1);
    wait_wake(&a.wait);
    settle();
    cr_assert_eq(one.told, 1);
    world_fini();
}

Test(wait_mark, armed_again_while_told_it_is_told_of_the_next_wake_up)
{
    struct marked one = {.again = &a.wait};
    world_init();
    wait_mark_init(&one.mark, on_told);
    wait_mark_arm(&one.mark, &a.wait, loops[0]);
    for (int i = 1; i <= 3; i++) {
        wait_wake(&a.wait);
        settle();
        cr_assert_eq(one.told, i);
    }
    wait_mark_disarm(&one.mark);
    wait_mark_disarm(&one.mark);
    wait_wake(&a.wait);
    settle();
    cr_assert_eq(one.told, 3);
    world_fini();
}

Test(wait_mark, armed_for_another_source_it_is_told_of_that_one_only)
{
    struct marked one = {0};
    world_init();
    wait_mark_init(&one.mark, on_told);
    wait_mark_arm(&one.mark, &a.wait, loops[0]);
    wait_mark_arm(&one.mark, &b.wait, loops[0]);
    cr_assert_eq(atomic_load(&a.refs), 0);
    wait_wake(&a.wait);
    settle();
    cr_assert_eq(one.told, 0);
    wait_wake(&b.wait);
    settle();
    cr_assert_eq(one.told, 1);
    world_fini();
}
