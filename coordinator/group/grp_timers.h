/* grp_timers.h: the machine's timers: an intrusive heap ordered by time, then by the order of
 * setting.
 *
 * A timer is embedded in what it belongs to; setting, moving and cancelling cost O(log n), asking
 * for the first one O(1). Equal times fire in the order in which they were set, so a run can be
 * repeated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum grp_timer_kind {
    GRP_TIMER_SESSION, /* of a member: its session, or the time that a new member may take to join
                        */
    GRP_TIMER_PENDING, /* of a member id that was given out but has not joined */
    GRP_TIMER_JOIN,    /* of a group: the end of PreparingRebalance */
    GRP_TIMER_SYNC,    /* of a group: members that have not synced by then are removed */
    GRP_TIMER_EXPIRE,  /* of the coordinator: the next look for expired offsets */
};

/* Zeroed memory with a kind is a timer that is not set. */
struct grp_timer {
    enum grp_timer_kind kind;
    size_t slot; /* 1 + place in the heap; 0: not set */
    int64_t at_ms;
    uint64_t order;
};

struct grp_timers {
    struct grp_timer **heap;
    size_t count;
    size_t capacity; /* grows with the number of members; never refuses */
    uint64_t next_order;
};

static inline bool grp_timer_set_p(const struct grp_timer *timer)
{
    return timer->slot != 0;
}

/* Set, or move to another time. */
void grp_timer_set(struct grp_timers *timers, struct grp_timer *timer, int64_t at_ms);

/* Harmless when not set. */
void grp_timer_cancel(struct grp_timers *timers, struct grp_timer *timer);

/* The first timer that is due at `now_ms`, taken out; NULL if none is. */
struct grp_timer *grp_timers_pop(struct grp_timers *timers, int64_t now_ms);

/* When the first one is due; -1: none is set. */
int64_t grp_timers_next_ms(const struct grp_timers *timers);

/* Asserts order and back references. */
void grp_timers_check(const struct grp_timers *timers);

/* No timer may be used afterwards. */
void grp_timers_fini(struct grp_timers *timers);
