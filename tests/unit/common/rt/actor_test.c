/* One writer at a time, in order, in bounded turns, never nested; and freed when idle. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "rt/actor.h"

/* ---- on one loop, driven by hand */

static struct buf trace;
static struct loop *loop;

static void expect_trace(const char *wanted)
{
    buf_put_byte(&trace, 0);
    cr_assert_str_eq((const char *)trace.data, wanted);
    buf_fini(&trace);
}

struct named {
    struct actor actor;
    char name;
};

struct letter {
    struct actor_msg msg;
    int number;
    struct named *to;    /* post there when run */
    struct letter *then; /* this one */
};

static void on_letter(struct actor *actor, struct actor_msg *msg)
{
    struct letter *letter = container_of(msg, struct letter, msg);
    struct named *named = container_of(actor, struct named, actor);
    cr_assert(actor_here(actor));
    buf_printf(&trace, "%c%d ", named->name, letter->number);
    if (letter->to != NULL) {
        actor_post(&letter->to->actor, &letter->then->msg);
        buf_printf(&trace, "/%c%d ", named->name, letter->number);
    }
}

static void on_turn_end(struct actor *actor)
{
    cr_assert(actor_here(actor));
    buf_printf(&trace, "%c. ", container_of(actor, struct named, actor)->name);
}

static void letter_init(struct letter *letter, int number)
{
    *letter = (struct letter){.number = number};
    letter->msg.fn = on_letter;
}

static void named_init(struct named *named, char name)
{
    named->name = name;
    actor_init(&named->actor, on_turn_end);
}

/* Run a function as the loop would: posts come from a loop. */
static void (*job)(void);

static void on_job(struct loop_task *task)
{
    (void)task;
    job();
}

static void run_in_loop(void (*fn)(void))
{
    struct loop_task task;
    loop_task_init(&task, on_job);
    job = fn;
    loop_defer(loop, &task);
    cr_assert(loop_turn(loop));
}

static struct named a;
static struct named b;
static struct letter letters[100];

static void world_init(void)
{
    loop = loop_new("hand", -1, clock_system());
    named_init(&a, 'a');
    named_init(&b, 'b');
    for (int i = 0; i < 100; i++) {
        letter_init(&letters[i], i);
    }
}

static void world_fini(void)
{
    while (loop_turn(loop)) {
    }
    actor_fini(&a.actor);
    actor_fini(&b.actor);
    loop_free(loop);
}

static void post_one(void)
{
    actor_post(&a.actor, &letters[1].msg);
    buf_put_text(&trace, "posted ");
}

/* An idle actor runs here and now: no hop. */
Test(actor, an_idle_actor_runs_before_post_returns, .init = world_init, .fini = world_fini)
{
    run_in_loop(post_one);
    cr_assert(actor_idle(&a.actor));
    cr_assert(!actor_here(&a.actor));
    expect_trace("a1 a. posted ");
}

static void post_three_soon(void)
{
    for (int i = 1; i <= 3; i++) {
        actor_post_soon(&a.actor, &letters[i].msg);
    }
    buf_put_text(&trace, "posted ");
}

/* Messages of one turn of the loop share a turn of the actor. */
Test(actor, what_is_posted_soon_runs_together, .init = world_init, .fini = world_fini)
{
    run_in_loop(post_three_soon);
    cr_assert(actor_idle(&a.actor));
    expect_trace("posted a1 a2 a3 a. ");
}

static void post_soon_then_now(void)
{
    actor_post_soon(&a.actor, &letters[1].msg);
    actor_post(&a.actor, &letters[2].msg);
    buf_put_text(&trace, "posted ");
}

/* Order is kept: what comes later does not run before what is only to run soon. */
Test(actor, a_post_waits_for_what_was_posted_soon, .init = world_init, .fini = world_fini)
{
    run_in_loop(post_soon_then_now);
    expect_trace("posted a1 a2 a. ");
}

static void post_to_other(void)
{
    letters[1].to = &b;
    letters[1].then = &letters[2];
    letters[2].to = &a;
    letters[2].then = &letters[3];
    actor_post(&a.actor, &letters[1].msg);
    buf_put_text(&trace, "posted ");
}

/* From inside an actor, a post to another one is run when the turn has ended; and back again. */
Test(actor, actors_never_nest, .init = world_init, .fini = world_fini)
{
    run_in_loop(post_to_other);
    expect_trace("a1 /a1 a. posted b2 /b2 b. a3 a. ");
}

static void post_to_self(void)
{
    letters[1].to = &a;
    letters[1].then = &letters[2];
    actor_post(&a.actor, &letters[1].msg);
}

/* To itself: behind what is queued, in the same turn. */
Test(actor, a_post_to_itself_is_queued, .init = world_init, .fini = world_fini)
{
    run_in_loop(post_to_self);
    expect_trace("a1 /a1 a2 a. ");
}

/* A message that posts 80 more to its own actor. */
static void on_flood(struct actor *actor, struct actor_msg *msg)
{
    (void)msg;
    for (int i = 1; i <= 80; i++) {
        actor_post(actor, &letters[i].msg);
    }
}

static void flood(void)
{
    letters[0].msg.fn = on_flood;
    actor_post(&a.actor, &letters[0].msg);
}

static int count_letters(void)
{
    int count = 0;
    for (size_t i = 0; i < trace.size; i++) {
        count += trace.data[i] == ' ';
    }
    return count;
}

/* The bound of a turn: what is left runs in later turns of the loop, in order, and whoever posts
 * meanwhile finds it busy and waits behind. */
Test(actor, a_turn_is_bounded, .init = world_init, .fini = world_fini)
{
    run_in_loop(flood);
    cr_assert_eq(count_letters(), ACTOR_TURN_MESSAGES - 1 + 1); /* the flood itself; "a." */
    cr_assert(!actor_idle(&a.actor));
    cr_assert(loop_turn(loop));
    cr_assert_eq(count_letters(), 2 * ACTOR_TURN_MESSAGES - 1 + 2);
    letters[99].number = 99;
    job = NULL;
    actor_post(&a.actor, &letters[99].msg);
    while (loop_turn(loop)) {
    }
    cr_assert(actor_idle(&a.actor));
    struct buf wanted = {0};
    for (int i = 1; i <= 80; i++) {
        buf_printf(&wanted, "a%d %s", i, (i + 1) % ACTOR_TURN_MESSAGES == 0 ? "a. " : "");
    }
    buf_put_text(&wanted, "a99 a. ");
    buf_put_byte(&wanted, 0);
    expect_trace((const char *)wanted.data);
    buf_fini(&wanted);
}

static void flood_large(void)
{
    for (int i = 1; i <= 80; i++) {
        letters[i].msg.cost_bytes = ACTOR_TURN_BYTES / 4;
    }
    flood();
}

Test(actor, a_turn_is_bounded_in_bytes, .init = world_init, .fini = world_fini)
{
    run_in_loop(flood_large);
    cr_assert_eq(count_letters(), 4 + 1);
    while (loop_turn(loop)) {
    }
    buf_fini(&trace);
}

/* ---- with threads */

enum { LOOPS = 4, ACTORS = 3, EACH = 4000 };

struct tally {
    struct actor actor;
    int64_t sum; /* without atomics: only one at a time may touch it */
    int inside;
    int last[LOOPS]; /* order of each producer */
    int turns;
};

struct parcel {
    struct actor_msg msg;
    int producer;
    int number;
};

struct producer {
    struct loop *loop;
    struct loop_msg start;
    struct loop_task more;
    struct parcel *parcels; /* [ACTORS * EACH] */
    int index;
    int sent;
};

static struct tally tallies[ACTORS];
static struct producer producers[LOOPS];
static _Atomic int parcels_left;
static sem_t all_done;
static struct worker_pool *pool; /* NULL: actors run inline */

static void on_parcel(struct actor *actor, struct actor_msg *msg)
{
    struct tally *tally = container_of(actor, struct tally, actor);
    struct parcel *parcel = container_of(msg, struct parcel, msg);
    cr_assert_eq(tally->inside++, 0);
    tally->sum += parcel->number;
    cr_assert_eq(parcel->number, tally->last[parcel->producer] + 1);
    tally->last[parcel->producer] = parcel->number;
    cr_assert_eq(--tally->inside, 0);
    if (atomic_fetch_sub(&parcels_left, 1) == 1) {
        sem_post(&all_done);
    }
}

static void on_tally_turn(struct actor *actor)
{
    container_of(actor, struct tally, actor)->turns++;
}

/* A few at a time, so that loops meet at the same actors again and again. */
static void on_more(struct loop_task *task)
{
    struct producer *producer = container_of(task, struct producer, more);
    for (int i = 0; i < 8 && producer->sent < ACTORS * EACH; i++) {
        int n = producer->sent++;
        struct parcel *parcel = &producer->parcels[n];
        *parcel = (struct parcel){.producer = producer->index, .number = n / ACTORS + 1};
        parcel->msg.fn = on_parcel;
        actor_post(&tallies[n % ACTORS].actor, &parcel->msg);
    }
    if (producer->sent < ACTORS * EACH) {
        loop_defer(producer->loop, &producer->more);
    }
}

static void on_start(struct loop_msg *msg)
{
    struct producer *producer = container_of(msg, struct producer, start);
    loop_defer(producer->loop, &producer->more);
}

static void producers_start(void)
{
    atomic_store(&parcels_left, LOOPS * ACTORS * EACH);
    sem_init(&all_done, 0, 0);
    for (int i = 0; i < LOOPS; i++) {
        struct producer *producer = &producers[i];
        *producer = (struct producer){.index = i, .loop = loop_new("net", i, clock_system())};
        producer->parcels = mem_zalloc(ACTORS * EACH, sizeof(struct parcel));
        producer->start.fn = on_start;
        loop_task_init(&producer->more, on_more);
        cr_assert_eq(loop_start(producer->loop), ERR_OK);
    }
    for (int i = 0; i < LOOPS; i++) {
        loop_post(producers[i].loop, &producers[i].start);
    }
}

static void producers_finish(void)
{
    sem_wait(&all_done);
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(producers[i].loop);
    }
    worker_pool_free(pool); /* the last turn may still be ending */
    for (int i = 0; i < LOOPS; i++) {
        while (loop_turn(producers[i].loop)) {
        }
    }
    for (int i = 0; i < LOOPS; i++) {
        loop_free(producers[i].loop);
        mem_free(producers[i].parcels);
    }
    for (int i = 0; i < ACTORS; i++) {
        cr_assert_eq(tallies[i].sum, (int64_t)LOOPS * EACH * (EACH + 1) / 2);
        cr_assert_gt(tallies[i].turns, 0);
    }
    sem_destroy(&all_done);
}

Test(actor, many_loops_one_at_a_time_in_order, .timeout = 100)
{
    for (int i = 0; i < ACTORS; i++) {
        actor_init(&tallies[i].actor, on_tally_turn);
    }
    producers_start();
    producers_finish();
    for (int i = 0; i < ACTORS; i++) {
        actor_fini(&tallies[i].actor);
    }
}

/* An executor takes effect with the next turn; then turns run on the pool's threads. */
static _Atomic int moved;

static void on_move(struct actor *actor, struct actor_msg *msg)
{
    (void)msg;
    actor_set_executor(actor, pool);
    atomic_fetch_add(&moved, 1);
}

Test(actor, a_pool_runs_one_at_a_time_in_order_too, .timeout = 100)
{
    static struct actor_msg moves[ACTORS];
    pool = worker_pool_new("disk", 3);
    for (int i = 0; i < ACTORS; i++) {
        actor_init(&tallies[i].actor, on_tally_turn);
        moves[i].fn = on_move;
        actor_post(&tallies[i].actor, &moves[i]);
    }
    cr_assert_eq(atomic_load(&moved), ACTORS);
    producers_start();
    producers_finish();
    for (int i = 0; i < ACTORS; i++) {
        actor_fini(&tallies[i].actor);
    }
}

/* Who frees an actor waits until it is idle; the runner may then not look at it any more. It once
 * read the inbox after it had said that it was idle. */
struct mortal {
    struct actor actor;
    struct actor_msg last;
    struct loop_msg reap;
    struct loop_msg birth;
};

enum { LIVES = 20000 };

static struct loop *home;
static struct loop *other;
static int lives;
static sem_t lives_over;

static void on_birth(struct loop_msg *msg);

static void on_reap(struct loop_msg *msg)
{
    struct mortal *mortal = container_of(msg, struct mortal, reap);
    if (!actor_idle(&mortal->actor)) {
        loop_post(home, &mortal->reap);
        return;
    }
    memset(mortal, 0xdd, sizeof(*mortal));
    mem_free(mortal);
    if (++lives == LIVES) {
        sem_post(&lives_over);
        return;
    }
    struct mortal *next = mem_new(struct mortal);
    next->birth.fn = on_birth;
    loop_post(other, &next->birth);
}

static void on_last(struct actor *actor, struct actor_msg *msg)
{
    (void)msg;
    struct mortal *mortal = container_of(actor, struct mortal, actor);
    mortal->reap.fn = on_reap;
    loop_post(home, &mortal->reap);
}

static void on_birth(struct loop_msg *msg)
{
    struct mortal *mortal = container_of(msg, struct mortal, birth);
    actor_init(&mortal->actor, NULL);
    mortal->last.fn = on_last;
    actor_post(&mortal->actor, &mortal->last);
}

Test(actor, an_idle_actor_may_be_freed, .timeout = 100)
{
    struct mortal *first = mem_new(struct mortal);
    home = loop_new("home", 0, clock_system());
    other = loop_new("other", 1, clock_system());
    sem_init(&lives_over, 0, 0);
    cr_assert_eq(loop_start(home), ERR_OK);
    cr_assert_eq(loop_start(other), ERR_OK);
    first->birth.fn = on_birth;
    loop_post(other, &first->birth);
    sem_wait(&lives_over);
    loop_stop(home);
    loop_stop(other);
    loop_free(home);
    loop_free(other);
    sem_destroy(&lives_over);
}
