/* actor.h: state that changes under load, with one writer at a time and nobody waiting.
 *
 * A partition is an actor, so is a coordinator's partition and a log directory's flusher.
 * actor_post() pushes a message; if the actor was idle, the poster runs it here and now until the
 * queue is empty or the turn's bound is spent. Otherwise whoever runs it will find the message.
 * From inside an actor, a post to another one goes to the loop's run list and is executed when the
 * current turn ends: actors never nest, so there is no cycle and no deadlock. What is left after
 * the bound is rescheduled on the same loop behind its other work, sockets included.
 *
 * Proof of exclusion, and that the memory of the actor is handed over from thread to thread, stands
 * at the top of actor.c.
 *
 * Threads: actor_post() from any loop (loop_current() must not be NULL); an actor whose executor is
 * a worker pool runs there instead, and posts from everywhere. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "rt/loop.h"
#include "rt/worker.h"

/* After so many messages or so many bytes of them a turn of an actor ends. */
enum { ACTOR_TURN_MESSAGES = 32, ACTOR_TURN_BYTES = 1 << 20 };

struct actor;
struct actor_msg;
struct actor_away;

/* Embedded in a request, a timer, ...; owned by the actor from post to call. */
struct actor_msg {
    struct actor_msg *next;
    void (*fn)(struct actor *actor, struct actor_msg *msg);
    uint32_t cost_bytes; /* counts against the bound; 0 is fine */
};

struct actor {
    _Atomic(struct actor_msg *) inbox; /* and whether somebody is inside: see actor.c */
    struct actor_msg *pending;         /* taken but not yet run; the runner's */
    struct loop_task resume;           /* begins on the loop whose actor posted */
    struct loop_msg again;             /* goes on after the bound, on the runner's loop */
    struct actor_away *away;           /* where it runs once it has run on a pool; NULL: inline */
    /* Called once at the end of every turn in which messages ran, still inside the actor: the place
     * to write what the messages gathered and to publish. May be NULL. */
    void (*turn_end)(struct actor *actor);
};

void actor_init(struct actor *actor, void (*turn_end)(struct actor *actor));

/* No message may be queued and none may come. */
void actor_fini(struct actor *actor);

void actor_post(struct actor *actor, struct actor_msg *msg);

/* As actor_post(), but an idle actor begins when the loop's turn ends, not at once: messages that
 * come in the same turn share a turn of the actor, and what it does once per turn. */
void actor_post_soon(struct actor *actor, struct actor_msg *msg);

/* Is the calling code running inside this actor? */
bool actor_here(const struct actor *actor);

/* Is nobody inside it and nothing queued? Who frees an actor asks first: the message that dropped
 * the last reference may still be on its way out of it. Once this is true, and nobody will post any
 * more, no thread touches the actor again. */
bool actor_idle(const struct actor *actor);

/* Run on a pool from the next turn on (a slow disk), or inline again with NULL. Inside the actor
 * only. */
void actor_set_executor(struct actor *actor, struct worker_pool *pool);
