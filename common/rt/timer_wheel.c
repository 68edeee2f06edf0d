#include "rt/timer_wheel.h"

#include "base/must.h"

#define WHEEL_FAR_MS (INT64_MAX / 2)

/* The tick at which a deadline is due: its slot has passed entirely. */
static int64_t tick_of(int64_t deadline_ms)
{
    return (deadline_ms + WHEEL_SLOT_MS - 1) / WHEEL_SLOT_MS;
}

void timer_wheel_init(struct timer_wheel *wheel, int64_t now_ms)
{
    for (int i = 0; i < WHEEL_SLOTS; i++) {
        list_init(&wheel->near[i]);
        list_init(&wheel->far[i]);
    }
    list_init(&wheel->beyond);
    wheel->tick = now_ms / WHEEL_SLOT_MS;
    wheel->next_ms = INT64_MAX;
}

/* Put a timer where its due tick belongs, seen from the present tick; not before `earliest`. */
static void wheel_place(struct timer_wheel *wheel, struct loop_timer *timer, int64_t earliest)
{
    int64_t due = tick_of(timer->deadline_ms);
    if (due < earliest) {
        due = earliest;
    }
    int64_t rounds = due / WHEEL_SLOTS - wheel->tick / WHEEL_SLOTS;
    if (due - wheel->tick < WHEEL_SLOTS) {
        list_push_back(&wheel->near[due % WHEEL_SLOTS], &timer->link);
    } else if (rounds < WHEEL_SLOTS) {
        list_push_back(&wheel->far[due / WHEEL_SLOTS % WHEEL_SLOTS], &timer->link);
    } else {
        list_push_back(&wheel->beyond, &timer->link);
    }
}

void timer_wheel_set(struct timer_wheel *wheel, struct loop_timer *timer, int64_t deadline_ms)
{
    if (deadline_ms > WHEEL_FAR_MS) {
        deadline_ms = WHEEL_FAR_MS; /* no sum of it overflows */
    }
    list_remove(&timer->link);
    timer->deadline_ms = deadline_ms;
    wheel_place(wheel, timer, wheel->tick + 1);
    int64_t due_ms = tick_of(deadline_ms) * WHEEL_SLOT_MS;
    int64_t soonest_ms = (wheel->tick + 1) * WHEEL_SLOT_MS;
    if (due_ms < soonest_ms) {
        due_ms = soonest_ms;
    }
    if (due_ms < wheel->next_ms) {
        wheel->next_ms = due_ms;
    }
}

/* Spread a coarse slot over the finer wheels. */
static void wheel_cascade(struct timer_wheel *wheel, struct list *from)
{
    struct list moved;
    struct list *link;
    list_init(&moved);
    list_splice_back(&moved, from);
    while ((link = list_pop_front(&moved)) != NULL) {
        /* The present tick's slot is emptied right after this. */
        wheel_place(wheel, container_of(link, struct loop_timer, link), wheel->tick);
    }
}

/* Advance by one tick and collect what is due in it. */
static void wheel_step(struct timer_wheel *wheel, struct list *due)
{
    int64_t next = wheel->tick + 1;
    wheel->tick = next;
    if (next % WHEEL_SLOTS == 0) {
        int64_t round = next / WHEEL_SLOTS;
        if (round % WHEEL_SLOTS == 0) {
            wheel_cascade(wheel, &wheel->beyond);
        }
        wheel_cascade(wheel, &wheel->far[round % WHEEL_SLOTS]);
    }
    list_splice_back(due, &wheel->near[next % WHEEL_SLOTS]);
}

/* Must the coarser wheels be looked at when this tick comes? */
static bool wheel_cascades_at(const struct timer_wheel *wheel, int64_t tick)
{
    int64_t round = tick / WHEEL_SLOTS;
    return tick % WHEEL_SLOTS == 0 && (!list_empty(&wheel->far[round % WHEEL_SLOTS]) ||
                                       (round % WHEEL_SLOTS == 0 && !list_empty(&wheel->beyond)));
}

/* The time of the next tick at which something is due or has to be cascaded; INT64_MAX for never.
 */
static int64_t wheel_find_next(const struct timer_wheel *wheel)
{
    for (int64_t tick = wheel->tick + 1; tick < wheel->tick + WHEEL_SLOTS; tick++) {
        if (!list_empty(&wheel->near[tick % WHEEL_SLOTS]) || wheel_cascades_at(wheel, tick)) {
            return tick * WHEEL_SLOT_MS;
        }
    }
    int64_t round = wheel->tick / WHEEL_SLOTS;
    for (int64_t i = 1; i <= WHEEL_SLOTS; i++) {
        if (wheel_cascades_at(wheel, (round + i) * WHEEL_SLOTS)) {
            return (round + i) * WHEEL_SLOTS * WHEEL_SLOT_MS;
        }
    }
    return INT64_MAX;
}

/* The tick of the first timer in a coarse slot; INT64_MAX when it is empty. */
static int64_t slot_first(const struct list *slot)
{
    int64_t first = INT64_MAX;
    list_for_each (link, slot) {
        int64_t due = tick_of(container_of(link, struct loop_timer, link)->deadline_ms);
        first = due < first ? due : first;
    }
    return first;
}

/* Of the timers that the coarse wheels hold for this tick and later, as far as they are cascaded at
 * it, the first one's. Those beyond are only looked at then. */
static int64_t cascade_first(const struct timer_wheel *wheel, int64_t tick)
{
    int64_t round = tick / WHEEL_SLOTS;
    if (!wheel_cascades_at(wheel, tick)) {
        return INT64_MAX;
    }
    if (round % WHEEL_SLOTS == 0 && !list_empty(&wheel->beyond)) {
        return tick;
    }
    int64_t first = slot_first(&wheel->far[round % WHEEL_SLOTS]);
    return first > tick ? first : tick;
}

/* When somebody has to be woken: a cascade is no reason, it can be done together with the first
 * timer that comes out of it. */
static int64_t wheel_wake_tick(const struct timer_wheel *wheel)
{
    int64_t first = INT64_MAX;
    int64_t tick = wheel->tick + 1;
    for (; tick < wheel->tick + WHEEL_SLOTS && tick < first; tick++) {
        int64_t cascaded = cascade_first(wheel, tick);
        first = cascaded < first ? cascaded : first;
        if (!list_empty(&wheel->near[tick % WHEEL_SLOTS])) {
            first = tick < first ? tick : first;
        }
    }
    int64_t round = wheel->tick / WHEEL_SLOTS;
    for (int64_t i = 1; i <= WHEEL_SLOTS && first == INT64_MAX; i++) {
        first = cascade_first(wheel, (round + i) * WHEEL_SLOTS);
    }
    return first;
}

static int64_t wheel_wake_ms(const struct timer_wheel *wheel)
{
    int64_t tick = wheel_wake_tick(wheel);
    return tick == INT64_MAX ? INT64_MAX : tick * WHEEL_SLOT_MS;
}

bool timer_wheel_run(struct timer_wheel *wheel, int64_t now_ms)
{
    int64_t now_tick = now_ms / WHEEL_SLOT_MS;
    if (now_ms < wheel->next_ms) {
        return false;
    }
    bool any = false;
    while (wheel->tick < now_tick) {
        /* Jump over empty slots, but not over a cascade. */
        int64_t next_tick = wheel_find_next(wheel);
        next_tick = next_tick == INT64_MAX ? now_tick + 1 : next_tick / WHEEL_SLOT_MS;
        if (next_tick > now_tick) {
            wheel->tick = now_tick;
            break;
        }
        must(next_tick > wheel->tick);
        wheel->tick = next_tick - 1;
        struct list due;
        struct list *link;
        list_init(&due);
        wheel_step(wheel, &due);
        while ((link = list_pop_front(&due)) != NULL) {
            struct loop_timer *timer = container_of(link, struct loop_timer, link);
            any = true;
            timer->fn(timer);
        }
    }
    wheel->next_ms = wheel_wake_ms(wheel);
    return any;
}

int64_t timer_wheel_next(struct timer_wheel *wheel)
{
    return wheel->next_ms;
}
