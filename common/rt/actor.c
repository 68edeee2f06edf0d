/* How one writer at a time is kept, and how an actor's memory goes from thread to thread.
 *
 * state is IDLE or RUNNING. To run an actor a thread must change IDLE to RUNNING by an atomic
 * exchange, and only one can: the others see RUNNING and leave their message. The runner ends with
 * a store of IDLE. Between its taking the inbox for the last time (finding it empty) and that
 * store, a poster may push and see RUNNING; so after the store the runner looks at the inbox again
 * and, when there is something, tries to become the runner once more. Either it does, or another
 * poster has: nobody's message is left.
 *
 *   A1 push: release exchange on inbox; take: acquire exchange. A message's content is seen by who
 * runs it. A2 store of IDLE: sequentially consistent; exchange to RUNNING: likewise. What one
 * runner did to the actor happens before what the next one does (release, then acquire, on the same
 * word). And since push, store, exchange and the second look are all sequentially consistent, it
 * cannot be that both the poster misses IDLE and the runner misses the message. */
#include "rt/actor.h"

#include <stddef.h>

#include "base/must.h"

enum { ACTOR_IDLE, ACTOR_RUNNING };

/* The actor that this thread is inside of. */
static _Thread_local struct actor *inside;

static void actor_turn(struct actor *actor);

static void on_resume(struct loop_task *task)
{
    actor_turn(container_of(task, struct actor, resume));
}

static void on_work(struct work *work)
{
    actor_turn(container_of(work, struct actor, work));
}

void actor_init(struct actor *actor, void (*turn_end)(struct actor *actor))
{
    *actor = (struct actor){.turn_end = turn_end};
    atomic_init(&actor->inbox, NULL);
    atomic_init(&actor->state, ACTOR_IDLE);
    loop_task_init(&actor->resume, on_resume);
    actor->work.run = on_work;
}

void actor_fini(struct actor *actor)
{
    must(atomic_load(&actor->inbox) == NULL);
    must(atomic_load(&actor->state) == ACTOR_IDLE);
    must(actor->pending == NULL);
}

bool actor_here(const struct actor *actor)
{
    return inside == actor;
}

/* Move the inbox behind what is pending, oldest first. */
static void actor_take(struct actor *actor)
{
    struct actor_msg *newest = atomic_exchange(&actor->inbox, NULL);
    struct actor_msg *oldest = NULL;
    while (newest != NULL) {
        struct actor_msg *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    struct actor_msg **end = &actor->pending;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = oldest;
}

/* Go on later: behind the loop's other work, or on the pool. */
static void actor_reschedule(struct actor *actor)
{
    if (actor->executor != NULL) {
        worker_submit(actor->executor, &actor->work);
    } else {
        struct loop *loop = loop_current();
        must(loop != NULL);
        loop_defer(loop, &actor->resume);
    }
}

/* One bounded turn; the caller is the runner. True when messages are left. */
static bool actor_run_some(struct actor *actor)
{
    int messages = 0;
    uint64_t bytes = 0;
    actor_take(actor);
    while (actor->pending != NULL && messages < ACTOR_TURN_MESSAGES && bytes < ACTOR_TURN_BYTES) {
        struct actor_msg *msg = actor->pending;
        actor->pending = msg->next;
        messages++;
        bytes += msg->cost_bytes;
        msg->fn(actor, msg);
        if (actor->pending == NULL) {
            actor_take(actor);
        }
    }
    if (messages > 0 && actor->turn_end != NULL) {
        actor->turn_end(actor);
    }
    return actor->pending != NULL || atomic_load(&actor->inbox) != NULL;
}

static void actor_turn(struct actor *actor)
{
    must(inside == NULL);
    bool more;
    do {
        inside = actor;
        more = actor_run_some(actor);
        inside = NULL;
        if (more) {
            actor_reschedule(actor); /* still RUNNING: nobody else starts it */
            return;
        }
        atomic_store(&actor->state, ACTOR_IDLE);
        more = atomic_load(&actor->inbox) != NULL &&
               atomic_exchange(&actor->state, ACTOR_RUNNING) == ACTOR_IDLE;
    } while (more);
}

void actor_post(struct actor *actor, struct actor_msg *msg)
{
    struct actor_msg *newest = atomic_load_explicit(&actor->inbox, memory_order_relaxed);
    do {
        msg->next = newest;
    } while (!atomic_compare_exchange_weak(&actor->inbox, &newest, msg));
    if (atomic_exchange(&actor->state, ACTOR_RUNNING) == ACTOR_RUNNING) {
        return;
    }
    /* We are the runner now. Inside another actor, or for a pool, the turn comes later. */
    if (inside != NULL || actor->executor != NULL) {
        actor_reschedule(actor);
    } else {
        actor_turn(actor);
    }
}

bool actor_idle(const struct actor *actor)
{
    return atomic_load(&actor->state) == ACTOR_IDLE && atomic_load(&actor->inbox) == NULL;
}

void actor_set_executor(struct actor *actor, struct worker_pool *pool)
{
    must(actor_here(actor));
    actor->executor = pool;
}
