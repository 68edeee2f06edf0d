/* wait.h: operations that wait for something to happen to a partition: acks=all produces for the
 * high watermark, fetches for bytes.
 *
 * An operation lives wholly on the loop of its connection. It holds one wait per source (partition)
 * it depends on; a source is anything that publishes its state and then calls wait_wake(). This
 * module knows no Kafka API, no socket and no partition: a wait's poll function re-reads what the
 * source published.
 *
 *   loop:   link the wait; fetch_or(source.mask, bit[loop]); poll: satisfied already? complete.
 *   source: store what it publishes; exchange(source.mask, 0); post the watch's message to every
 * loop in the mask. loop:   on the message: arm again, poll every wait of that source.
 *
 * No wake-up is lost: fetch_or and exchange are acquire-release updates of the same word, so one
 * comes second. If the exchange does, it sees the bit and posts. If the fetch_or does, it
 * synchronises with the exchange, and the poll that follows sees what was stored before it. (Never
 * peek at the mask to save the exchange.) The message is a field of the watch; in_flight says that
 * it is under way: whoever finds it set need not post, for the handler clears it, again by an
 * exchange, before it polls.
 *
 * Threads: wait_wake() from the one writer of the source (its actor); all else on the operation's
 * loop. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "rt/loop.h"

struct wait_watch;

/* Embedded in what can be waited for. Waits and messages under way hold references through get/put.
 */
struct wait_source {
    _Atomic uint64_t mask;                 /* bit i: network loop i wants to be told */
    _Atomic(struct wait_watch *) *watches; /* [loop_count], made when a loop first waits */
    int loop_count;
    void (*get)(struct wait_source *source);
    void (*put)(struct wait_source *source);
};

enum wait_result {
    WAIT_PENDING,   /* nothing yet */
    WAIT_SATISFIED, /* this wait is over; the operation completes when its last one is */
    WAIT_COMPLETE,  /* the whole operation is to complete now */
};

struct wait;
typedef enum wait_result wait_poll_fn(struct wait *wait);

/* The rank of a wait that has none. */
#define WAIT_ANY INT64_MIN

struct wait_op;

/* One operation's interest in one source. Memory is the caller's (the request's arena). */
struct wait {
    struct list watch_link;
    struct list op_link;
    struct wait_op *op;
    struct wait_source *source;
    wait_poll_fn *poll;
    int64_t rank;
};

/* An interest that outlives operations, once: of whoever remembers what it has seen of a source and
 * wants to know whether that is still all (a partition of a fetch session). Arm it, then look; the
 * next wake-up disarms it and calls fn, which may arm it again. Armed it holds a reference. */
struct wait_mark {
    struct list link;           /* of its watch */
    struct wait_source *source; /* NULL: not armed */
    /* On the loop; `source` is held by the caller. */
    void (*fn)(struct wait_mark *mark, struct wait_source *source);
};

struct wait_op {
    struct list waits;
    int pending_count; /* waits not yet satisfied */
    struct loop_timer timer;
    struct loop *loop;
    /* Called once, outside of any list walk over this operation's waits; nothing is linked any
     * more. The operation may be freed in it. */
    void (*done)(struct wait_op *op, bool timed_out);
    bool completed;
    struct list ready_link;
};

void wait_source_init(struct wait_source *source, int loop_count, void (*get)(struct wait_source *),
                      void (*put)(struct wait_source *));

/* Nothing may wait any more and no message may be under way: called when the last reference is
 * gone. */
void wait_source_fini(struct wait_source *source);

/* The source has published something. */
void wait_wake(struct wait_source *source);

void wait_op_init(struct wait_op *op, struct loop *loop,
                  void (*done)(struct wait_op *, bool timed_out));

/* Add all waits, then start. Those with a rank (an offset) are satisfied in that order, whichever
 * was added first: polling stops at the first pending one. */
void wait_add(struct wait_op *op, struct wait *wait, struct wait_source *source, int64_t rank,
              wait_poll_fn *poll);

/* Poll everything once; done() is called before this returns when the operation is complete already
 * or `deadline_ms` (monotonic) has passed. */
void wait_op_start(struct wait_op *op, int64_t deadline_ms);

/* For an operation without waits of its own: whoever has marks completes it (wait_op_complete()),
 * or the time does. */
void wait_op_hold(struct wait_op *op, int64_t deadline_ms);
void wait_op_complete(struct wait_op *op);

void wait_mark_init(struct wait_mark *mark,
                    void (*fn)(struct wait_mark *mark, struct wait_source *source));

/* Nothing happens when it is armed for this source already; for another one it no longer is. */
void wait_mark_arm(struct wait_mark *mark, struct wait_source *source, struct loop *loop);
void wait_mark_disarm(struct wait_mark *mark);

/* Unlink everything; done() is not called. For a connection that went away. */
void wait_op_cancel(struct wait_op *op);
