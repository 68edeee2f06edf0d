/* loop.h: one thread of the program: an event base, a mailbox, a run list and a timer wheel.
 *
 * State belongs to one loop (or one actor, actor.h); everybody else sends it a message. A message
 * is a field of something that already exists (a request, a watch, a replica), never allocated to
 * be sent, so mailboxes are bounded by what has been admitted.
 *
 * A turn: swap the mailbox out and run its messages in order, run what was deferred, fire the
 * timers that are due, then wait for sockets, messages or the next timer. Work deferred during a
 * turn runs in the same turn, behind what is queued; a callback keeps its own work bounded (about
 * 256 KiB or one request) and defers the rest.
 *
 * Two kinds share this interface. loop_start() gives a loop a thread and an event base. A loop that
 * is never started is driven by hand with loop_turn(): so one thread runs a whole cluster from a
 * seed.
 *
 * Threads: loop_post() and loop_index() from any; everything else only on the loop itself
 * (asserted). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "rt/clock.h"

struct event_base;
struct loop;

/* Network loops have an index below this: the partitions' watch mask is one 64-bit word. */
enum { LOOP_INDEX_MAX = 64 };

struct loop_msg;
typedef void loop_msg_fn(struct loop_msg *msg);

/* A message. It belongs to the sender until posted, then to the loop until its function is called;
 * the function may free it or post it again. Posting one that is already queued is a bug. */
struct loop_msg {
    struct loop_msg *next;
    loop_msg_fn *fn;
};

/* Work on the loop's own run list: like a message, from the loop to itself; may be cancelled. */
struct loop_task {
    struct list link;
    void (*fn)(struct loop_task *task);
};

/* A timer of one loop; resolution 10 ms, never early. Owned by whoever embeds it; cancel before
 * freeing. */
struct loop_timer {
    struct list link;
    int64_t deadline_ms; /* on the monotonic clock */
    void (*fn)(struct loop_timer *timer);
};

/* `index` identifies the loop among its kind (network loops: 0..LOOP_INDEX_MAX-1; -1 for others).
 */
struct loop *loop_new(const char *name, int index, struct clock *clock);

/* Give it an event base and a thread of its own. */
MUST_USE enum err loop_start(struct loop *loop);

/* Ask the thread to end after its current turn, and wait for it. Messages posted later are not run.
 */
void loop_stop(struct loop *loop);
void loop_free(struct loop *loop);

const char *loop_name(const struct loop *loop);
int loop_index(const struct loop *loop);

/* The loop that runs the calling code, or NULL on a thread that is none. */
struct loop *loop_current(void);
void loop_assert_here(const struct loop *loop);

/* Only for the sockets' implementation (net_tcp); NULL for a loop that is driven by hand. */
struct event_base *loop_event_base(struct loop *loop);

/* From any thread. Messages from one thread arrive in order. Wakes the loop only when it may be
 * asleep. */
void loop_post(struct loop *loop, struct loop_msg *msg);

void loop_task_init(struct loop_task *task, void (*fn)(struct loop_task *task));
/* Queue at the end of the run list; nothing happens when it is queued already. */
void loop_defer(struct loop *loop, struct loop_task *task);
/* As loop_defer, but in the next turn: behind the loop's sockets and messages. For work that goes
 * on for long and lets others have their turn. */
void loop_defer_turn(struct loop *loop, struct loop_task *task);
void loop_task_cancel(struct loop_task *task);

void loop_timer_init(struct loop_timer *timer, void (*fn)(struct loop_timer *timer));
/* (Re)arm. A deadline in the past fires in this turn or the next. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t deadline_ms);
/* (Re)arm for the next time that is a multiple of `every_ms`, which is so long away at most: those
 * who set theirs again each time with the same period share a wake-up. */
void loop_timer_set_every(struct loop *loop, struct loop_timer *timer, int64_t every_ms);
void loop_timer_cancel(struct loop_timer *timer);
bool loop_timer_pending(const struct loop_timer *timer);

/* Monotonic milliseconds, read once per turn (cheap); wall clock likewise. */
int64_t loop_now_ms(struct loop *loop);
int64_t loop_wall_ms(struct loop *loop);
struct clock *loop_clock(struct loop *loop);

/* Processor time that the loop's thread has used; 0 for a loop driven by hand. */
int64_t loop_cpu_us(struct loop *loop);

/* For a loop driven by hand: run one turn without waiting. True when anything was done. */
bool loop_turn(struct loop *loop);

/* For a loop driven by hand: is a message or a task waiting; and when does the next timer fire
 * (INT64_MAX for never)? */
bool loop_busy(struct loop *loop);
int64_t loop_next_deadline_ms(struct loop *loop);
