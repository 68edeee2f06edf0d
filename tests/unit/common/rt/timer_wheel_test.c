/* Timers in virtual time, against the plain truth: never early, at most a slot late, once. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "rt/timer_wheel.h"

struct alarm {
    struct loop_timer timer;
    int64_t asked_ms;
    int fired;
};

static struct timer_wheel wheel;
static int64_t now_ms;

static void on_alarm(struct loop_timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    cr_assert_geq(now_ms, alarm->asked_ms, "early");
    cr_assert(!loop_timer_pending(timer));
    alarm->fired++;
}

static void set(struct alarm *alarm, int64_t deadline_ms)
{
    alarm->asked_ms = deadline_ms;
    timer_wheel_set(&wheel, &alarm->timer, deadline_ms);
}

static void start(int64_t at_ms)
{
    now_ms = at_ms;
    timer_wheel_init(&wheel, now_ms);
}

static void alarm_init(struct alarm *alarm)
{
    alarm->fired = 0;
    loop_timer_init(&alarm->timer, on_alarm);
}

/* One timer at each of many distances, over both wheels and beyond: it fires in the run at the end
 * of its slot, and the wheel never wants to be run later than that. */
static void fires_at(int64_t start_ms, int64_t distance_ms)
{
    struct alarm alarm;
    alarm_init(&alarm);
    start(start_ms);
    set(&alarm, start_ms + distance_ms);
    int64_t due_ms = (start_ms + distance_ms + WHEEL_SLOT_MS - 1) / WHEEL_SLOT_MS * WHEEL_SLOT_MS;
    while (alarm.fired == 0) {
        int64_t next = timer_wheel_next(&wheel);
        cr_assert_lt(next, INT64_MAX);
        cr_assert_gt(next, now_ms);
        cr_assert_leq(next, due_ms + WHEEL_SLOT_MS, "start %ld distance %ld", (long)start_ms,
                      (long)distance_ms);
        now_ms = next;
        timer_wheel_run(&wheel, now_ms);
    }
    cr_assert_leq(now_ms, due_ms + WHEEL_SLOT_MS);
    cr_assert_eq(timer_wheel_next(&wheel), INT64_MAX);
}

Test(timer_wheel, fires_at_every_distance)
{
    static const int64_t starts[] = {0, 7, 2549, 2560, 2561, 655359, 655360, 10000000007};
    static const int64_t distances[] = {
        1,      9,      10,     11,     2549,   2550,   2559,   2560,   2561,     2570,     5120,
        652800, 655349, 655350, 655360, 655361, 655370, 655371, 700000, 86400000, 604800000};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        for (size_t j = 0; j < sizeof(distances) / sizeof(distances[0]); j++) {
            fires_at(starts[i], distances[j]);
        }
    }
}

/* Run late, after any pause: everything due has fired, nothing else. */
Test(timer_wheel, a_late_run_fires_all_that_is_due)
{
    enum { COUNT = 500, STEPS = 400 };
    static struct alarm alarms[COUNT];
    struct rng rng;
    rng_seed(&rng, 3);
    start(12345);
    for (int i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i]);
    }
    for (int step = 0; step < STEPS; step++) {
        struct alarm *alarm = &alarms[rng_below(&rng, COUNT)];
        int64_t far = rng_one_in(&rng, 5) ? 3000000 : rng_one_in(&rng, 3) ? 20000 : 500;
        if (rng_one_in(&rng, 6)) {
            list_remove(&alarm->timer.link);
            alarm->asked_ms = INT64_MAX;
        } else {
            alarm->fired = 0;
            set(alarm, now_ms + (int64_t)rng_below(&rng, (uint64_t)far));
        }
        if (rng_one_in(&rng, 3)) {
            now_ms += (int64_t)rng_below(&rng, rng_one_in(&rng, 10) ? 1000000 : 300);
            timer_wheel_run(&wheel, now_ms);
        }
        for (int i = 0; i < COUNT; i++) {
            bool pending = loop_timer_pending(&alarms[i].timer);
            cr_assert(!pending || alarms[i].fired == 0);
            cr_assert(!pending || alarms[i].asked_ms + 2 * WHEEL_SLOT_MS > now_ms);
            cr_assert_leq(alarms[i].fired, 1);
        }
    }
}

/* An idle loop with one timer a few seconds away is woken once for it, not on the way. */
Test(timer_wheel, a_far_timer_takes_one_wake_up)
{
    for (int64_t distance_ms = 10; distance_ms < 600000; distance_ms += 777) {
        struct alarm alarm;
        struct alarm earlier;
        alarm_init(&alarm);
        alarm_init(&earlier);
        start(1000 + distance_ms * 7 % 5000);
        set(&earlier, now_ms);
        set(&alarm, now_ms + 20 + distance_ms);
        now_ms = timer_wheel_next(&wheel);
        timer_wheel_run(&wheel, now_ms);
        cr_assert_eq(earlier.fired, 1);
        now_ms = timer_wheel_next(&wheel);
        timer_wheel_run(&wheel, now_ms);
        cr_assert_eq(alarm.fired, 1, "distance %ld", (long)distance_ms);
    }
}

/* The time of the next run is a promise to a sleeping loop: with timers it is never too late. */
Test(timer_wheel, next_is_never_later_than_the_earliest_timer)
{
    enum { COUNT = 50, STEPS = 2000 };
    static struct alarm alarms[COUNT];
    struct rng rng;
    rng_seed(&rng, 4);
    start(0);
    for (int i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i]);
    }
    for (int step = 0; step < STEPS; step++) {
        struct alarm *alarm = &alarms[rng_below(&rng, COUNT)];
        set(alarm, now_ms + (int64_t)rng_below(&rng, rng_one_in(&rng, 4) ? 2000000 : 4000));
        int64_t earliest = INT64_MAX;
        for (int i = 0; i < COUNT; i++) {
            if (loop_timer_pending(&alarms[i].timer) && alarms[i].asked_ms < earliest) {
                earliest = alarms[i].asked_ms;
            }
        }
        int64_t next = timer_wheel_next(&wheel);
        cr_assert_leq(next, earliest + 2 * WHEEL_SLOT_MS);
        if (rng_one_in(&rng, 2) && next > now_ms) {
            now_ms = next;
            timer_wheel_run(&wheel, now_ms);
        }
    }
}

/* A timer of a time that never comes ("wait for ever") must not overflow into the past. */
Test(timer_wheel, a_deadline_that_never_comes)
{
    struct alarm never;
    struct alarm soon;
    alarm_init(&never);
    alarm_init(&soon);
    start(1000);
    timer_wheel_set(&wheel, &never.timer, INT64_MAX);
    set(&soon, 50000000);
    cr_assert_gt(timer_wheel_next(&wheel), now_ms);
    now_ms = 60000000;
    timer_wheel_run(&wheel, now_ms);
    cr_assert_eq(soon.fired, 1);
    cr_assert(loop_timer_pending(&never.timer));
    list_remove(&never.timer.link);
}

Test(timer_wheel, a_deadline_in_the_past_fires_in_the_next_slot)
{
    struct alarm past;
    alarm_init(&past);
    start(100000);
    set(&past, 5);
    cr_assert_leq(timer_wheel_next(&wheel), now_ms + WHEEL_SLOT_MS);
    now_ms += WHEEL_SLOT_MS;
    cr_assert(timer_wheel_run(&wheel, now_ms));
    cr_assert_eq(past.fired, 1);
}

/* What a callback may do: cancel one that is due in the same slot, and set itself again. */
static struct alarm victim;
static struct alarm repeating;
static int repeats;

static void on_cancel_other(struct loop_timer *timer)
{
    (void)timer;
    list_remove(&victim.timer.link);
}

static void on_repeat(struct loop_timer *timer)
{
    repeats++;
    timer_wheel_set(&wheel, timer, now_ms);
}

Test(timer_wheel, callbacks_cancel_and_set_again)
{
    struct alarm first;
    alarm_init(&first);
    alarm_init(&victim);
    alarm_init(&repeating);
    first.timer.fn = on_cancel_other;
    repeating.timer.fn = on_repeat;
    start(0);
    set(&first, 100);
    set(&victim, 100);
    set(&repeating, 100);
    now_ms = 100;
    timer_wheel_run(&wheel, now_ms);
    cr_assert_eq(victim.fired, 0);
    /* A repetition at once waits for the next slot: a run ends. */
    cr_assert_eq(repeats, 1);
    now_ms = 110;
    timer_wheel_run(&wheel, now_ms);
    cr_assert_eq(repeats, 2);
    list_remove(&repeating.timer.link);
}

/* Within one slot timers fire in the order in which they were set. */
static struct buf order;

static void on_ordered(struct loop_timer *timer)
{
    buf_printf(&order, "%d ", (int)container_of(timer, struct alarm, timer)->asked_ms);
}

Test(timer_wheel, earlier_slots_fire_first)
{
    static const int64_t deadlines[] = {700000, 30, 3000, 10, 2000, 690000};
    struct alarm alarms[6];
    start(0);
    for (int i = 0; i < 6; i++) {
        alarm_init(&alarms[i]);
        alarms[i].timer.fn = on_ordered;
        set(&alarms[i], deadlines[i]);
    }
    now_ms = 1000000;
    timer_wheel_run(&wheel, now_ms);
    buf_put_byte(&order, 0);
    cr_assert_str_eq((const char *)order.data, "10 30 2000 3000 690000 700000 ");
    buf_fini(&order);
}
