#include "rt/loop.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/must.h"
#include "rt/timer_wheel.h"

struct loop {
    char name[32];
    int index;
    struct clock *clock;

    pthread_mutex_t lock; /* a leaf: held for a few pointer moves */
    struct loop_msg *inbox_head;
    struct loop_msg **inbox_end;
    bool asleep; /* with the lock: about to wait, or waiting; a post must write the eventfd */

    struct list tasks;
    struct list next_tasks; /* for the next turn */
    struct timer_wheel wheel;
    int64_t now_ms;
    int64_t wall_ms;
    bool clock_stale; /* we have been asleep since the clock was read */

    /* Of a loop with a thread. */
    pthread_t thread;
    bool started;
    _Atomic bool stopping;
    struct event_base *base;
    struct event *wake_event;
    struct event *due_event;
    int64_t due_ms; /* when the timerfd goes off; INT64_MAX: it does not */
    int wake_fd;
    int due_fd;
};

static _Thread_local struct loop *current_loop;

struct loop *loop_new(const char *name, int index, struct clock *clock)
{
    must(index < LOOP_INDEX_MAX);
    struct loop *loop = mem_new(struct loop);
    snprintf(loop->name, sizeof(loop->name), "%s", name);
    loop->index = index;
    loop->clock = clock;
    loop->wake_fd = -1;
    loop->due_fd = -1;
    loop->due_ms = INT64_MAX;
    pthread_mutex_init(&loop->lock, NULL);
    loop->inbox_end = &loop->inbox_head;
    list_init(&loop->tasks);
    list_init(&loop->next_tasks);
    loop->now_ms = clock_mono_ms(clock);
    loop->wall_ms = clock_wall_ms(clock);
    timer_wheel_init(&loop->wheel, loop->now_ms);
    return loop;
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}

int loop_index(const struct loop *loop)
{
    return loop->index;
}

struct loop *loop_current(void)
{
    return current_loop;
}

void loop_assert_here(const struct loop *loop)
{
    /* A loop that has not been started is driven by whoever holds it, between turns too. */
    must(current_loop == loop || (!loop->started && current_loop == NULL));
}

struct event_base *loop_event_base(struct loop *loop)
{
    return loop->base;
}

struct clock *loop_clock(struct loop *loop)
{
    return loop->clock;
}

static void loop_read_clock(struct loop *loop)
{
    loop->clock_stale = false;
    loop->now_ms = clock_mono_ms(loop->clock);
    loop->wall_ms = clock_wall_ms(loop->clock);
}

int64_t loop_now_ms(struct loop *loop)
{
    if (loop->clock_stale) {
        loop_read_clock(loop);
    }
    return loop->now_ms;
}

int64_t loop_wall_ms(struct loop *loop)
{
    if (loop->clock_stale) {
        loop_read_clock(loop);
    }
    return loop->wall_ms;
}

void loop_post(struct loop *loop, struct loop_msg *msg)
{
    msg->next = NULL;
    pthread_mutex_lock(&loop->lock);
    *loop->inbox_end = msg;
    loop->inbox_end = &msg->next;
    /* In a callback of a socket the flag is still set, though we are not asleep: who posts to
     * itself comes to its inbox anyway, before it waits again. */
    bool wake = loop->asleep && current_loop != loop;
    loop->asleep = false;
    pthread_mutex_unlock(&loop->lock);
    if (wake) {
        uint64_t one = 1;
        ssize_t written = write(loop->wake_fd, &one, sizeof(one));
        must(written == (ssize_t)sizeof(one));
    }
}

void loop_task_init(struct loop_task *task, void (*fn)(struct loop_task *task))
{
    list_init(&task->link);
    task->fn = fn;
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    loop_assert_here(loop);
    if (!list_linked(&task->link)) {
        list_push_back(&loop->tasks, &task->link);
    }
}

void loop_defer_turn(struct loop *loop, struct loop_task *task)
{
    loop_assert_here(loop);
    if (!list_linked(&task->link)) {
        list_push_back(&loop->next_tasks, &task->link);
    }
}

void loop_task_cancel(struct loop_task *task)
{
    list_remove(&task->link);
}

void loop_timer_init(struct loop_timer *timer, void (*fn)(struct loop_timer *timer))
{
    list_init(&timer->link);
    timer->deadline_ms = 0;
    timer->fn = fn;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t deadline_ms)
{
    loop_assert_here(loop);
    timer_wheel_set(&loop->wheel, timer, deadline_ms);
}

void loop_timer_set_every(struct loop *loop, struct loop_timer *timer, int64_t every_ms)
{
    must(every_ms > 0);
    loop_timer_set(loop, timer, (loop_now_ms(loop) / every_ms + 1) * every_ms);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    list_remove(&timer->link);
}

bool loop_timer_pending(const struct loop_timer *timer)
{
    return list_linked(&timer->link);
}

int64_t loop_cpu_us(struct loop *loop)
{
    loop_assert_here(loop);
    return loop->started ? clock_thread_cpu_us() : 0;
}

/* Run the messages that are there now, not those that arrive meanwhile. */
static bool loop_run_inbox(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct loop_msg *msg = loop->inbox_head;
    loop->inbox_head = NULL;
    loop->inbox_end = &loop->inbox_head;
    pthread_mutex_unlock(&loop->lock);
    bool any = msg != NULL;
    while (msg != NULL) {
        struct loop_msg *next = msg->next;
        msg->fn(msg);
        msg = next;
    }
    return any;
}

/* Run what is deferred now, in order; tasks added meanwhile run too, up to a bound, so that sockets
 * get their turn even when tasks defer themselves for ever. */
static bool loop_run_tasks(struct loop *loop)
{
    enum { TASKS_PER_TURN_MAX = 4096 };
    struct list *link;
    int done = 0;
    while (done < TASKS_PER_TURN_MAX && (link = list_pop_front(&loop->tasks)) != NULL) {
        struct loop_task *task = container_of(link, struct loop_task, link);
        task->fn(task);
        done++;
    }
    return done > 0;
}

/* A new turn: what was put off until it is due. */
static void loop_take_next_tasks(struct loop *loop)
{
    struct list *link;
    while ((link = list_pop_front(&loop->next_tasks)) != NULL) {
        list_push_back(&loop->tasks, link);
    }
}

/* Everything but sockets. */
static bool loop_run_once(struct loop *loop)
{
    loop_read_clock(loop);
    loop_take_next_tasks(loop);
    bool any = loop_run_inbox(loop);
    any = timer_wheel_run(&loop->wheel, loop->now_ms) || any;
    any = loop_run_tasks(loop) || any;
    return any;
}

bool loop_busy(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    bool waiting = loop->inbox_head != NULL;
    pthread_mutex_unlock(&loop->lock);
    return waiting || !list_empty(&loop->tasks) || !list_empty(&loop->next_tasks);
}

int64_t loop_next_deadline_ms(struct loop *loop)
{
    return timer_wheel_next(&loop->wheel);
}

bool loop_turn(struct loop *loop)
{
    must(!loop->started);
    struct loop *before = current_loop;
    current_loop = loop;
    bool any = loop_run_once(loop);
    current_loop = before;
    return any;
}

/* ---- a loop with a thread ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)arg;
    uint64_t count;
    ssize_t got = read((int)fd, &count, sizeof(count));
    (void)got; /* only ends the wait; the inbox is looked at in the next turn */
}

/* Going to wait: true unless there is something to do after all. The flag is set in the same
 * critical section that sees the inbox empty, so a post either is seen here or sees the flag. */
static bool loop_fall_asleep(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->asleep =
        loop->inbox_head == NULL && list_empty(&loop->tasks) && list_empty(&loop->next_tasks);
    bool asleep = loop->asleep;
    pthread_mutex_unlock(&loop->lock);
    return asleep;
}

static void loop_wake_up(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->asleep = false;
    pthread_mutex_unlock(&loop->lock);
}

/* End the wait when the next timer is due: not earlier, or there would be nothing to do. Most turns
 * change nothing about that. */
static void loop_set_due(struct loop *loop)
{
    int64_t deadline = loop_next_deadline_ms(loop);
    if (deadline == loop->due_ms) {
        return;
    }
    loop->due_ms = deadline;
    struct itimerspec at = {{0, 0}, {0, 0}};
    if (deadline != INT64_MAX) {
        int64_t left = deadline - clock_mono_ms(loop->clock);
        at.it_value.tv_sec = left > 0 ? left / 1000 : 0;
        at.it_value.tv_nsec = left > 0 ? left % 1000 * 1000000 : 1; /* all zeros would mean never */
    }
    must(timerfd_settime(loop->due_fd, 0, &at, NULL) == 0);
}

/* Wait for sockets, messages or the next timer. */
static void loop_wait(struct loop *loop)
{
    if (!loop_fall_asleep(loop)) {
        event_base_loop(loop->base, EVLOOP_NONBLOCK);
        return;
    }
    loop_set_due(loop);
    /* Who is called for a socket is called from inside: the first one to ask reads the clock. */
    loop->clock_stale = true;
    event_base_loop(loop->base, EVLOOP_ONCE);
    loop_wake_up(loop);
}

static void *loop_thread(void *arg)
{
    struct loop *loop = arg;
    current_loop = loop;
    pthread_setname_np(pthread_self(), loop->name);
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire)) {
        loop_run_once(loop);
        loop_wait(loop);
        loop_read_clock(loop);
        /* What sockets deferred belongs to this turn. */
        loop_run_tasks(loop);
    }
    current_loop = NULL;
    return NULL;
}

/* Only ends the wait: timers run in loop_run_once(). Nothing is read: the event is one for each
 * time that the timerfd goes off. */
static void on_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *loop = arg;
    loop->due_ms = INT64_MAX;
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    must(config != NULL);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    /* None of libevent's own timers: those that go by the coarse clock, which lags by up to 4 ms,
     * end in as many waits of 1 ms each, and the precise ones cost a timerfd_settime() for every
     * wait. */
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

enum err loop_start(struct loop *loop)
{
    must(!loop->started);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->due_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    loop->base = base_new();
    if (loop->wake_fd < 0 || loop->due_fd < 0 || loop->base == NULL) {
        return ERR_IO;
    }
    loop->wake_event = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    loop->due_event =
        event_new(loop->base, loop->due_fd, EV_READ | EV_PERSIST | EV_ET, on_due, loop);
    must(loop->wake_event != NULL);
    must(loop->due_event != NULL);
    must(event_add(loop->wake_event, NULL) == 0);
    must(event_add(loop->due_event, NULL) == 0);
    loop->started = true;
    if (pthread_create(&loop->thread, NULL, loop_thread, loop) != 0) {
        loop->started = false;
        return ERR_IO;
    }
    return ERR_OK;
}

void loop_stop(struct loop *loop)
{
    if (!loop->started) {
        return;
    }
    must(current_loop != loop);
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof(one));
    must(written == (ssize_t)sizeof(one));
    pthread_join(loop->thread, NULL);
    /* From now on whoever stopped it drives it by hand, to take down what lives on it. */
    loop->started = false;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    must(!loop->started);
    if (loop->wake_event != NULL) {
        event_free(loop->wake_event);
        event_free(loop->due_event);
    }
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    if (loop->due_fd >= 0) {
        close(loop->due_fd);
    }
    pthread_mutex_destroy(&loop->lock);
    mem_free(loop);
}
