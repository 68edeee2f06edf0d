#include "group/grp_timers.h"

#include "base/mem.h"
#include "base/must.h"

static bool before(const struct grp_timer *a, const struct grp_timer *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void place(struct grp_timers *timers, size_t index, struct grp_timer *timer)
{
    timers->heap[index] = timer;
    timer->slot = index + 1;
}

static void sift_up(struct grp_timers *timers, size_t index)
{
    struct grp_timer *timer = timers->heap[index];
    while (index > 0 && before(timer, timers->heap[(index - 1) / 2])) {
        place(timers, index, timers->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(timers, index, timer);
}

static void sift_down(struct grp_timers *timers, size_t index)
{
    struct grp_timer *timer = timers->heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= timers->count) {
            break;
        }
        if (child + 1 < timers->count && before(timers->heap[child + 1], timers->heap[child])) {
            child++;
        }
        if (!before(timers->heap[child], timer)) {
            break;
        }
        place(timers, index, timers->heap[child]);
        index = child;
    }
    place(timers, index, timer);
}

void grp_timer_set(struct grp_timers *timers, struct grp_timer *timer, int64_t at_ms)
{
    grp_timer_cancel(timers, timer);
    if (timers->count == timers->capacity) {
        timers->capacity = timers->capacity == 0 ? 16 : 2 * timers->capacity;
        timers->heap = mem_realloc(timers->heap, timers->capacity * sizeof(struct grp_timer *));
    }
    timer->at_ms = at_ms;
    timer->order = timers->next_order++;
    timers->count++;
    place(timers, timers->count - 1, timer);
    sift_up(timers, timers->count - 1);
}

void grp_timer_cancel(struct grp_timers *timers, struct grp_timer *timer)
{
    if (timer->slot == 0) {
        return;
    }
    size_t index = timer->slot - 1;
    must(timers->heap[index] == timer);
    timer->slot = 0;
    timers->count--;
    if (index == timers->count) {
        return;
    }
    place(timers, index, timers->heap[timers->count]);
    sift_down(timers, index);
    sift_up(timers, index);
}

struct grp_timer *grp_timers_pop(struct grp_timers *timers, int64_t now_ms)
{
    if (timers->count == 0 || timers->heap[0]->at_ms > now_ms) {
        return NULL;
    }
    struct grp_timer *first = timers->heap[0];
    grp_timer_cancel(timers, first);
    return first;
}

int64_t grp_timers_next_ms(const struct grp_timers *timers)
{
    return timers->count == 0 ? -1 : timers->heap[0]->at_ms;
}

void grp_timers_check(const struct grp_timers *timers)
{
    must(timers->count <= timers->capacity);
    for (size_t i = 0; i < timers->count; i++) {
        must(timers->heap[i]->slot == i + 1);
        if (i > 0) {
            must(!before(timers->heap[i], timers->heap[(i - 1) / 2]));
        }
    }
}

void grp_timers_fini(struct grp_timers *timers)
{
    mem_free(timers->heap);
    *timers = (struct grp_timers){0};
}
