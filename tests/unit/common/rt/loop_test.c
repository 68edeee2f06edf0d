/* Loops with a thread and loops driven by hand: messages, tasks, timers, and waking up. */
#include <criterion/criterion.h>
#include <event2/event.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "rt/loop.h"

static struct buf trace;

static void expect_trace(const char *wanted)
{
    buf_put_byte(&trace, 0);
    cr_assert_str_eq((const char *)trace.data, wanted);
    buf_fini(&trace);
}

struct step {
    struct loop_msg msg;
    struct loop_task task;
    struct loop_timer timer;
    struct loop *loop;
    char name;
    struct step *then; /* deferred or posted by this one */
};

static void on_msg(struct loop_msg *msg)
{
    struct step *step = container_of(msg, struct step, msg);
    buf_printf(&trace, "m%c ", step->name);
    if (step->then != NULL) {
        loop_post(step->loop, &step->then->msg);
    }
}

static void on_task(struct loop_task *task)
{
    struct step *step = container_of(task, struct step, task);
    cr_assert_eq(loop_current(), step->loop);
    buf_printf(&trace, "t%c ", step->name);
    if (step->then != NULL) {
        loop_defer(step->loop, &step->then->task);
    }
}

static void on_timer(struct loop_timer *timer)
{
    buf_printf(&trace, "T%c ", container_of(timer, struct step, timer)->name);
}

static void step_init(struct step *step, struct loop *loop, char name)
{
    *step = (struct step){.loop = loop, .name = name};
    step->msg.fn = on_msg;
    loop_task_init(&step->task, on_task);
    loop_timer_init(&step->timer, on_timer);
}

/* A turn by hand: messages in order, then timers, then tasks; what a message posts comes next turn,
 * what a task defers comes in this one. */
Test(loop, a_turn_has_an_order)
{
    struct clock_manual clock;
    clock_manual_init(&clock, 0);
    struct loop *loop = loop_new("hand", -1, &clock.clock);
    struct step a, b, c, d;
    step_init(&a, loop, 'a');
    step_init(&b, loop, 'b');
    step_init(&c, loop, 'c');
    step_init(&d, loop, 'd');
    cr_assert(!loop_turn(loop));
    cr_assert_eq(loop_next_deadline_ms(loop), INT64_MAX);
    loop_timer_set(loop, &a.timer, 25);
    cr_assert_leq(loop_next_deadline_ms(loop), 30);
    a.then = &c;
    loop_post(loop, &a.msg);
    loop_post(loop, &b.msg);
    loop_defer(loop, &b.task);
    loop_defer(loop, &b.task); /* queued already */
    b.then = &d;
    cr_assert(loop_busy(loop));
    clock_manual_advance(&clock, 30 * 1000000);
    cr_assert(loop_turn(loop));
    buf_put_text(&trace, "| ");
    cr_assert(loop_turn(loop));
    cr_assert(!loop_turn(loop));
    cr_assert(!loop_busy(loop));
    cr_assert_eq(loop_now_ms(loop), 30);
    expect_trace("ma mb Ta tb td | mc md ");
    loop_free(loop);
}

/* Work for the next turn keeps the loop busy, and comes before what that turn itself defers. */
Test(loop, work_put_off_by_a_turn_runs_in_the_next)
{
    struct loop *loop = loop_new("hand", -1, clock_system());
    struct step a, b, c;
    step_init(&a, loop, 'a');
    step_init(&b, loop, 'b');
    step_init(&c, loop, 'c');
    loop_defer(loop, &a.task);
    cr_assert(loop_turn(loop));
    loop_defer_turn(loop, &b.task);
    loop_defer(loop, &b.task); /* queued already */
    cr_assert(loop_busy(loop));
    loop_post(loop, &c.msg);
    buf_put_text(&trace, "| ");
    cr_assert(loop_turn(loop));
    cr_assert(!loop_turn(loop));
    loop_defer_turn(loop, &b.task);
    loop_task_cancel(&b.task);
    cr_assert(!loop_busy(loop));
    expect_trace("ta | mc tb ");
    loop_free(loop);
}

Test(loop, cancelled_tasks_and_timers_do_not_run)
{
    struct clock_manual clock;
    clock_manual_init(&clock, 0);
    struct loop *loop = loop_new("hand", -1, &clock.clock);
    struct step a;
    step_init(&a, loop, 'a');
    loop_defer(loop, &a.task);
    loop_timer_set(loop, &a.timer, 10);
    loop_task_cancel(&a.task);
    loop_timer_cancel(&a.timer);
    loop_timer_cancel(&a.timer);
    cr_assert(!loop_timer_pending(&a.timer));
    clock_manual_advance(&clock, 1000000000);
    cr_assert(!loop_turn(loop));
    loop_free(loop);
}

/* A task that defers itself for ever does not keep the turn: sockets must get theirs. */
static int rounds;

static void on_endless(struct loop_task *task)
{
    rounds++;
    loop_defer(loop_current(), task);
}

Test(loop, a_turn_ends_although_tasks_never_do)
{
    struct loop *loop = loop_new("hand", -1, clock_system());
    struct loop_task endless;
    loop_task_init(&endless, on_endless);
    loop_defer(loop, &endless);
    cr_assert(loop_turn(loop));
    cr_assert_gt(rounds, 0);
    cr_assert(loop_busy(loop));
    loop_task_cancel(&endless);
    loop_free(loop);
}

/* ---- with threads */

struct counter {
    struct loop *loop;
    sem_t done;
    int wanted;
    int last[8];
    int count;
    bool ordered;
};

struct numbered {
    struct loop_msg msg;
    struct counter *counter;
    int sender;
    int number;
};

static void on_numbered(struct loop_msg *msg)
{
    struct numbered *numbered = container_of(msg, struct numbered, msg);
    struct counter *counter = numbered->counter;
    loop_assert_here(counter->loop);
    counter->ordered = counter->ordered && numbered->number == counter->last[numbered->sender] + 1;
    counter->last[numbered->sender] = numbered->number;
    if (++counter->count == counter->wanted) {
        sem_post(&counter->done);
    }
}

enum { SENDERS = 4, EACH = 5000 };

struct sender {
    pthread_t thread;
    struct counter *counter;
    struct numbered *messages;
    int index;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;
    for (int i = 0; i < EACH; i++) {
        struct numbered *message = &sender->messages[i];
        *message =
            (struct numbered){.counter = sender->counter, .sender = sender->index, .number = i + 1};
        message->msg.fn = on_numbered;
        loop_post(sender->counter->loop, &message->msg);
    }
    return NULL;
}

/* Many threads post to one loop that falls asleep again and again: nothing is lost, nothing comes
 * twice, and what one thread posts comes in its order. */
Test(loop, messages_of_many_threads_arrive_once_and_in_order, .timeout = 60)
{
    struct sender senders[SENDERS];
    struct counter counter = {.wanted = SENDERS * EACH, .ordered = true};
    counter.loop = loop_new("net", 0, clock_system());
    sem_init(&counter.done, 0, 0);
    cr_assert_eq(loop_start(counter.loop), ERR_OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.counter = &counter, .index = i};
        senders[i].messages = mem_zalloc(EACH, sizeof(struct numbered));
        cr_assert_eq(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    sem_wait(&counter.done);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        mem_free(senders[i].messages);
    }
    loop_stop(counter.loop);
    cr_assert_eq(counter.count, SENDERS * EACH);
    cr_assert(counter.ordered);
    loop_free(counter.loop);
    sem_destroy(&counter.done);
}

/* Two loops wake each other, one message at a time: each is asleep when its message comes. */
struct ball {
    struct loop_msg msg;
    struct loop *loops[2];
    int hits;
    sem_t done;
};

static void on_ball(struct loop_msg *msg)
{
    struct ball *ball = container_of(msg, struct ball, msg);
    if (++ball->hits == 2000) {
        sem_post(&ball->done);
    } else {
        loop_post(ball->loops[ball->hits % 2], &ball->msg);
    }
}

Test(loop, a_sleeping_loop_is_woken, .timeout = 60)
{
    struct ball ball = {.hits = 0};
    ball.msg.fn = on_ball;
    sem_init(&ball.done, 0, 0);
    for (int i = 0; i < 2; i++) {
        ball.loops[i] = loop_new(i == 0 ? "ping" : "pong", i, clock_system());
        cr_assert_eq(loop_start(ball.loops[i]), ERR_OK);
    }
    loop_post(ball.loops[0], &ball.msg);
    sem_wait(&ball.done);
    for (int i = 0; i < 2; i++) {
        loop_stop(ball.loops[i]);
        loop_free(ball.loops[i]);
    }
    sem_destroy(&ball.done);
}

/* What the callback of a socket posts to its own loop runs although nothing else wakes that. */
struct echo {
    struct loop_msg watch;
    struct loop_msg msg;
    struct loop *loop;
    struct event *event;
    int fds[2];
    sem_t done;
};

static void on_echo(struct loop_msg *msg)
{
    struct echo *echo = container_of(msg, struct echo, msg);
    event_free(echo->event);
    sem_post(&echo->done);
}

static void on_byte(evutil_socket_t fd, short what, void *arg)
{
    struct echo *echo = arg;
    char byte;
    (void)what;
    cr_assert_eq(read((int)fd, &byte, 1), 1);
    loop_post(echo->loop, &echo->msg);
}

static void on_watch(struct loop_msg *msg)
{
    struct echo *echo = container_of(msg, struct echo, watch);
    echo->event =
        event_new(loop_event_base(echo->loop), echo->fds[0], EV_READ | EV_PERSIST, on_byte, echo);
    cr_assert_eq(event_add(echo->event, NULL), 0);
}

Test(loop, what_a_socket_posts_to_its_own_loop_runs, .timeout = 60)
{
    struct echo echo = {.loop = loop_new("net", 0, clock_system())};
    echo.watch.fn = on_watch;
    echo.msg.fn = on_echo;
    sem_init(&echo.done, 0, 0);
    cr_assert_eq(pipe(echo.fds), 0);
    cr_assert_eq(loop_start(echo.loop), ERR_OK);
    for (int i = 0; i < 100; i++) {
        loop_post(echo.loop, &echo.watch);
        cr_assert_eq(write(echo.fds[1], "x", 1), 1);
        sem_wait(&echo.done);
    }
    loop_stop(echo.loop);
    loop_free(echo.loop);
    close(echo.fds[0]);
    close(echo.fds[1]);
    sem_destroy(&echo.done);
}

/* A timer on a sleeping loop, which has nothing else to wake it. */
struct alarm {
    struct loop_msg arm;
    struct loop_timer timer;
    struct loop *loop;
    int64_t deadline_ms;
    int64_t fired_ms;
    sem_t done;
};

static void on_alarm(struct loop_timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    alarm->fired_ms = clock_mono_ms(clock_system());
    sem_post(&alarm->done);
}

static void on_arm(struct loop_msg *msg)
{
    struct alarm *alarm = container_of(msg, struct alarm, arm);
    alarm->deadline_ms = loop_now_ms(alarm->loop) + 30;
    loop_timer_set(alarm->loop, &alarm->timer, alarm->deadline_ms);
}

Test(loop, a_timer_wakes_a_sleeping_loop, .timeout = 60)
{
    struct alarm alarm = {.loop = loop_new("net", 0, clock_system())};
    alarm.arm.fn = on_arm;
    loop_timer_init(&alarm.timer, on_alarm);
    sem_init(&alarm.done, 0, 0);
    cr_assert_eq(loop_start(alarm.loop), ERR_OK);
    loop_post(alarm.loop, &alarm.arm);
    sem_wait(&alarm.done);
    cr_assert_geq(alarm.fired_ms, alarm.deadline_ms);
    loop_stop(alarm.loop);
    loop_free(alarm.loop);
    sem_destroy(&alarm.done);
}

/* How often its thread has gone to sleep: each time is a wake-up later. */
static long sleeps(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

enum { ALARMS = 20 };

struct alarms {
    struct loop_msg arm;
    struct loop_timer timer;
    struct loop *loop;
    int left;
    long slept;
    sem_t done;
};

static void on_next_alarm(struct loop_timer *timer)
{
    struct alarms *alarms = container_of(timer, struct alarms, timer);
    if (alarms->left-- > 0) {
        loop_timer_set(alarms->loop, timer, loop_now_ms(alarms->loop) + 17);
    } else {
        alarms->slept = sleeps() - alarms->slept;
        sem_post(&alarms->done);
    }
}

static void on_arm_first(struct loop_msg *msg)
{
    struct alarms *alarms = container_of(msg, struct alarms, arm);
    alarms->slept = sleeps();
    on_next_alarm(&alarms->timer);
}

/* By the kernel's coarse clock, which libevent's timers go by, it was up to 4 ms too early, slept
 * for 1 ms, and again. */
Test(loop, a_timer_is_one_wake_up, .timeout = 60)
{
    struct alarms alarms = {.loop = loop_new("net", 0, clock_system()), .left = ALARMS};
    alarms.arm.fn = on_arm_first;
    loop_timer_init(&alarms.timer, on_next_alarm);
    sem_init(&alarms.done, 0, 0);
    cr_assert_eq(loop_start(alarms.loop), ERR_OK);
    loop_post(alarms.loop, &alarms.arm);
    sem_wait(&alarms.done);
    cr_assert_leq(alarms.slept, ALARMS, "%ld", alarms.slept);
    loop_stop(alarms.loop);
    loop_free(alarms.loop);
    sem_destroy(&alarms.done);
}

Test(loop, timers_of_one_period_share_a_wake_up)
{
    struct clock_manual clock;
    clock_manual_init(&clock, 0);
    clock_manual_advance(&clock, 1234 * 1000000LL);
    struct loop *loop = loop_new("net", 0, &clock.clock);
    struct step first;
    struct step second;
    step_init(&first, loop, 'a');
    step_init(&second, loop, 'b');
    loop_turn(loop);
    loop_timer_set_every(loop, &first.timer, 300);
    clock_manual_advance(&clock, 100 * 1000000LL);
    loop_turn(loop);
    loop_timer_set_every(loop, &second.timer, 300);
    cr_assert_eq(first.timer.deadline_ms, 1500);
    cr_assert_eq(loop_next_deadline_ms(loop), 1500);
    clock_manual_advance(&clock, 166 * 1000000LL);
    loop_turn(loop);
    expect_trace("Ta Tb ");
    loop_timer_set_every(loop, &first.timer, 300); /* just when it is due: for the next time */
    cr_assert_eq(first.timer.deadline_ms, 1800);
    loop_timer_cancel(&first.timer);
    loop_free(loop);
}

/* Shutdown: a stopped loop is driven by whoever stopped it, so that what is on its way arrives. */
Test(loop, a_stopped_loop_is_driven_by_hand)
{
    struct loop *loop = loop_new("net", 0, clock_system());
    struct step late;
    cr_assert_eq(loop_start(loop), ERR_OK);
    loop_stop(loop);
    step_init(&late, loop, 'l');
    loop_post(loop, &late.msg);
    cr_assert(loop_turn(loop));
    expect_trace("ml ");
    loop_free(loop);
}
