/* move.h: one replica on its way to another log directory.
 *
 *   control: step -> actor: how far is it? -> worker: copy, or sync, a piece -> control: step
 *                          or, when little is missing and the rest is synced: take over ->
 *                          control: ended
 *
 * M1  The future log belongs to the worker while a piece is with it, to the actor while that looks,
 *     else to the control loop; nobody else changes it.
 * M2  Before a piece, the actor cuts off what the replica does not have (any more).
 * M3  Taking over copies, in the actor, no more than finish_bytes; that grows each time the replica
 *     has got further ahead during a sync, so that a busy one arrives, too.
 *
 * Threads: as above. */
#pragma once

#include "log/move.h"
#include "partition/part.h"
#include "rt/throttle.h"

enum {
    MOVE_PIECE_BYTES = 1 << 20,
    MOVE_FINISH_BYTES = 1 << 20,
    MOVE_FINISH_BYTES_MAX = 64 << 20,
    MOVE_LOOK_MS = 500,     /* so often does one that is throttled look whether it may go on */
    MOVE_BAD_READS_MAX = 5, /* a read may meet a truncation; so often in a row it is damage */
};

enum move_result {
    MOVE_GOES_ON,
    MOVE_ARRIVED,
    MOVE_STOPPED, /* as told, or the replica has been closed or has failed */
    MOVE_FAILED,  /* the copy is worth nothing */
};

struct move {
    struct list link;  /* in moves */
    struct part *part; /* referenced */
    struct loop *control;
    struct loop *home; /* a network loop: the actor may run there, and wait for a sync */
    struct worker_pool *workers;
    struct throttle *throttle;
    struct clock *clock;
    void (*ended)(struct move *move); /* on the control loop */
    void *arg;

    struct plog *future;     /* the registry's; held, for it may be deleted while a worker has it */
    struct flusher *flusher; /* the target's */

    /* The control loop's. */
    bool active;           /* its turn has come */
    bool under_way;        /* with the actor or a worker */
    struct logdir *wanted; /* where to go when this has ended; NULL: nowhere else */
    bool drop;             /* the copy is to be removed then */
    struct loop_timer pause;
    _Atomic bool stop;

    /* M1 */
    struct loop_msg there;
    struct actor_msg msg;
    struct work work;
    struct loop_msg back;
    struct buf scratch;
    bool sync;   /* the piece is a sync */
    bool synced; /* the last piece was */
    int64_t finish_bytes;
    int bad_reads;
    enum move_result result;
    struct plog *moved; /* MOVE_ARRIVED: the log in its new place, */
    struct plog *old;   /* the one before, with the partition's hold on it, */
    char *left_behind;  /* and its directory */
};

/* The fields above "The control loop's" but `link` are the caller's to fill. */
void move_init(struct move *move);
void move_fini(struct move *move);

/* Do what is next, unless it is under way. */
void move_step(struct move *move);

/* End as soon as possible: MOVE_STOPPED, unless it arrives first. */
void move_stop(struct move *move);
