#include "sim_time.h"

#include "base/mem.h"
#include "base/must.h"

void sim_time_init(struct sim_time *time)
{
    *time = (struct sim_time){0};
}

void sim_time_fini(struct sim_time *time)
{
    must(time->count == 0);
    mem_free(time->heap);
}

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void place(struct sim_time *time, struct sim_event *event, int at)
{
    time->heap[at] = event;
    event->place = at + 1;
}

static void sift_up(struct sim_time *time, int at)
{
    struct sim_event *event = time->heap[at];
    while (at > 0 && earlier(event, time->heap[(at - 1) / 2])) {
        place(time, time->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(time, event, at);
}

static void sift_down(struct sim_time *time, int at)
{
    struct sim_event *event = time->heap[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < time->count && earlier(time->heap[child + 1], time->heap[child])) {
            child++;
        }
        if (child >= time->count || !earlier(time->heap[child], event)) {
            break;
        }
        place(time, time->heap[child], at);
        at = child;
    }
    place(time, event, at);
}

void sim_time_cancel(struct sim_time *time, struct sim_event *event)
{
    if (event->place == 0) {
        return;
    }
    int at = event->place - 1;
    event->place = 0;
    struct sim_event *last = time->heap[--time->count];
    if (last != event) {
        place(time, last, at);
        sift_up(time, at);
        sift_down(time, last->place - 1);
    }
}

void sim_time_at(struct sim_time *time, struct sim_event *event, int64_t at_ns)
{
    must(event->fn != NULL);
    sim_time_cancel(time, event);
    if (time->count == time->capacity) {
        time->capacity = time->capacity > 0 ? time->capacity * 2 : 64;
        time->heap = mem_realloc(time->heap, (size_t)time->capacity * sizeof(struct sim_event *));
    }
    event->at_ns = at_ns > time->now_ns ? at_ns : time->now_ns;
    event->order = time->next_order++;
    time->count++;
    place(time, event, time->count - 1);
    sift_up(time, time->count - 1);
}

void sim_time_after(struct sim_time *time, struct sim_event *event, int64_t delay_ns)
{
    sim_time_at(time, event, time->now_ns + delay_ns);
}

bool sim_time_pending(const struct sim_event *event)
{
    return event->place != 0;
}

int64_t sim_time_next_ns(const struct sim_time *time)
{
    return time->count > 0 ? time->heap[0]->at_ns : INT64_MAX;
}

bool sim_time_run_one(struct sim_time *time)
{
    if (sim_time_next_ns(time) > time->now_ns) {
        return false;
    }
    struct sim_event *event = time->heap[0];
    sim_time_cancel(time, event);
    event->fn(event);
    return true;
}

void sim_time_advance(struct sim_time *time, int64_t to_ns)
{
    int64_t next_ns = sim_time_next_ns(time);
    to_ns = to_ns < next_ns ? to_ns : next_ns;
    if (to_ns > time->now_ns) {
        time->now_ns = to_ns;
    }
}

static int64_t clock_sim_mono_ns(struct clock *clock)
{
    struct sim_clock *sim = (struct sim_clock *)clock;
    return sim->time->now_ns + sim->extra_ns;
}

static int64_t clock_sim_wall_ms(struct clock *clock)
{
    struct sim_clock *sim = (struct sim_clock *)clock;
    return SIM_EPOCH_MS + sim->wall_offset_ms + clock_sim_mono_ns(clock) / SIM_MS;
}

static const struct clock_ops sim_clock_ops = {clock_sim_mono_ns, clock_sim_wall_ms};

void sim_clock_init(struct sim_clock *clock, const struct sim_time *time)
{
    *clock = (struct sim_clock){.clock = {&sim_clock_ops}, .time = time};
}
