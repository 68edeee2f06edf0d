/* How one writer at a time is kept, and how an actor's memory goes from thread to thread.
 *
 * One word says everything, the inbox:
 *
 *   NULL       idle: nobody is inside, nothing is queued
 *   &running   somebody is inside, nothing is queued
 *   else       somebody is inside or about to be; a chain of messages, newest first, that ends in
 *              NULL or &running
 *
 *   post:  push with a compare-and-swap. Who finds NULL has woken the actor and is its runner.
 *   take:  exchange the chain for &running. Only the runner does it.
 *   leave: compare-and-swap &running to NULL. It fails when a message came meanwhile, and then the
 *          runner goes on: nobody's message is left behind, and nobody looks a second time.
 *
 * A1 There is one runner: only the post that finds NULL begins, only leaving puts NULL back.
 * A2 A post releases its message and a take acquires it; a leave releases what the runner did to
 *    the actor and the next runner's post acquires it: all on one word.
 * A3 Leaving is the last touch. Who sees NULL in the word (actor_idle, acquire) and knows that
 *    nobody will post any more may free the actor: no runner reads it again. */
#include "rt/actor.h"

#include <stddef.h>

#include "base/mem.h"
#include "base/must.h"

/* Stands for "somebody is inside" at the end of the chain; never run. */
static struct actor_msg running;

/* What few actors need, and only those have. */
struct actor_away {
    struct work work;
    struct actor *actor;
    struct worker_pool *pool; /* NULL: inline again */
};

/* The actor that this thread is inside of. */
static _Thread_local struct actor *inside;

static void actor_turn(struct actor *actor);

static void on_resume(struct loop_task *task)
{
    actor_turn(container_of(task, struct actor, resume));
}

static void on_again(struct loop_msg *msg)
{
    actor_turn(container_of(msg, struct actor, again));
}

static void on_work(struct work *work)
{
    actor_turn(container_of(work, struct actor_away, work)->actor);
}

void actor_init(struct actor *actor, void (*turn_end)(struct actor *actor))
{
    *actor = (struct actor){.turn_end = turn_end};
    atomic_init(&actor->inbox, NULL);
    loop_task_init(&actor->resume, on_resume);
    actor->again.fn = on_again;
}

void actor_fini(struct actor *actor)
{
    must(actor_idle(actor));
    must(actor->pending == NULL);
    mem_free(actor->away);
    actor->away = NULL;
}

bool actor_here(const struct actor *actor)
{
    return inside == actor;
}

/* Move the inbox behind what is pending, oldest first. */
static void actor_take(struct actor *actor)
{
    struct actor_msg *newest =
        atomic_exchange_explicit(&actor->inbox, &running, memory_order_acq_rel);
    struct actor_msg *oldest = NULL;
    while (newest != NULL && newest != &running) {
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

/* Nothing is queued: nobody is inside from now on. False when a message has come. A3 */
static bool actor_leave(struct actor *actor)
{
    struct actor_msg *expected = &running;
    return atomic_compare_exchange_strong_explicit(&actor->inbox, &expected, NULL,
                                                   memory_order_acq_rel, memory_order_relaxed);
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
    return actor->pending != NULL ||
           atomic_load_explicit(&actor->inbox, memory_order_relaxed) != &running;
}

/* On a pool. */
static bool runs_away(const struct actor *actor)
{
    return actor->away != NULL && actor->away->pool != NULL;
}

/* A turn has spent its bound: go on behind everything else that the loop has to do, its sockets
 * too, or on the pool. */
static void actor_yield(struct actor *actor)
{
    if (runs_away(actor)) {
        worker_submit(actor->away->pool, &actor->away->work);
        return;
    }
    must(loop_current() != NULL);
    loop_post(loop_current(), &actor->again);
}

static void actor_turn(struct actor *actor)
{
    must(inside == NULL);
    do {
        inside = actor;
        bool more = actor_run_some(actor);
        inside = NULL;
        if (more) {
            actor_yield(actor); /* still inside: nobody else starts it */
            return;
        }
    } while (!actor_leave(actor));
}

/* We are the runner, but not here and now: at the end of the turn, or on its pool. */
static void actor_begin_later(struct actor *actor)
{
    if (runs_away(actor)) {
        worker_submit(actor->away->pool, &actor->away->work);
        return;
    }
    must(loop_current() != NULL);
    loop_defer(loop_current(), &actor->resume);
}

/* True when the caller has become the runner. */
static bool actor_push(struct actor *actor, struct actor_msg *msg)
{
    struct actor_msg *newest = atomic_load_explicit(&actor->inbox, memory_order_relaxed);
    do {
        msg->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&actor->inbox, &newest, msg,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return newest == NULL;
}

void actor_post(struct actor *actor, struct actor_msg *msg)
{
    if (!actor_push(actor, msg)) {
        return;
    }
    if (inside != NULL || runs_away(actor)) {
        actor_begin_later(actor);
    } else {
        actor_turn(actor);
    }
}

void actor_post_soon(struct actor *actor, struct actor_msg *msg)
{
    if (actor_push(actor, msg)) {
        actor_begin_later(actor);
    }
}

bool actor_idle(const struct actor *actor)
{
    return atomic_load_explicit(&actor->inbox, memory_order_acquire) == NULL;
}

void actor_set_executor(struct actor *actor, struct worker_pool *pool)
{
    must(actor_here(actor));
    if (actor->away == NULL) {
        actor->away = mem_new(struct actor_away);
        actor->away->work.run = on_work;
        actor->away->actor = actor;
    }
    actor->away->pool = pool;
}
