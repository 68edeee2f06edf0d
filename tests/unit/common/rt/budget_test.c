/* Bytes are never given twice, and whoever waits gets its turn. */
#include <criterion/criterion.h>
#include <semaphore.h>

#include "base/rng.h"
#include "rt/budget.h"

enum { LOOPS = 3, MIB = 1 << 20 };

struct waiter {
    struct budget_waiter waiter;
    bool granted;
};

static struct loop *loops[LOOPS];
static struct budget budget;
static struct budget_lease leases[LOOPS];

static void on_granted(struct budget_waiter *waiter)
{
    container_of(waiter, struct waiter, waiter)->granted = true;
}

static void world(int64_t total_bytes)
{
    budget_init(&budget, total_bytes);
    for (int i = 0; i < LOOPS; i++) {
        loops[i] = loop_new("hand", i, clock_system());
        budget_lease_init(&leases[i], &budget, loops[i]);
    }
}

static void settle(void)
{
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < LOOPS; i++) {
            more = loop_turn(loops[i]) || more;
        }
    }
}

/* Everything was given back: the budget is whole. */
static void world_fini(void)
{
    settle();
    for (int i = 0; i < LOOPS; i++) {
        budget_lease_fini(&leases[i]);
        loop_free(loops[i]);
    }
    cr_assert_eq(budget_used(&budget), 0);
}

static void wait_for(int lease, struct waiter *waiter, int64_t bytes)
{
    *waiter = (struct waiter){.granted = false};
    waiter->waiter.granted = on_granted;
    cr_assert(!budget_reserve(&leases[lease], bytes));
    budget_wait(&leases[lease], &waiter->waiter, bytes);
    cr_assert(!waiter->granted, "granted before budget_wait returned");
    settle();
}

Test(budget, gives_what_it_has_and_not_more)
{
    world(10 * MIB);
    int64_t taken = 0;
    while (budget_reserve(&leases[0], 700000)) {
        taken += 700000;
    }
    cr_assert_leq(taken, 10 * MIB);
    cr_assert_gt(taken, 9 * MIB);
    cr_assert(!budget_reserve(&leases[1], 700000));
    budget_release(&leases[1], taken); /* through another lease than it came from */
    cr_assert(budget_reserve(&leases[2], 700000));
    budget_release(&leases[2], 700000);
    world_fini();
}

/* First come, first served: a small need does not overtake a large one. */
Test(budget, waiters_are_served_in_order)
{
    struct waiter large;
    struct waiter small;
    world(10 * MIB);
    cr_assert(budget_reserve(&leases[0], 9 * MIB));
    wait_for(0, &large, 5 * MIB);
    wait_for(0, &small, 100);
    cr_assert(!large.granted && !small.granted);
    budget_release(&leases[0], 3 * MIB);
    settle();
    cr_assert(!large.granted && !small.granted);
    budget_release(&leases[0], 6 * MIB);
    settle();
    cr_assert(large.granted && small.granted);
    budget_release(&leases[0], 5 * MIB + 100);
    world_fini();
}

/* Nor does one on another loop, whether it waits as well or comes while others do: a large need
 * starved under steady small ones. */
Test(budget, waiters_on_different_loops_are_served_in_order)
{
    struct waiter large;
    struct waiter small;
    world(10 * MIB);
    cr_assert(budget_reserve(&leases[0], 10 * MIB));
    wait_for(1, &large, 5 * MIB);
    wait_for(2, &small, MIB);
    for (int i = 0; i < 4; i++) {
        budget_release(&leases[0], MIB);
        settle();
        cr_assert(!large.granted && !small.granted);
        cr_assert(!budget_reserve(&leases[0], MIB));
    }
    budget_release(&leases[0], MIB);
    settle();
    cr_assert(large.granted && !small.granted);
    budget_release(&leases[0], MIB);
    settle();
    cr_assert(small.granted);
    budget_release(&leases[0], 10 * MIB);
    world_fini();
}

/* It is another loop's turn when the first of all gives up. */
Test(budget, the_next_loop_is_served_when_the_first_waiter_gives_up)
{
    struct waiter large;
    struct waiter small;
    world(10 * MIB);
    cr_assert(budget_reserve(&leases[0], 8 * MIB));
    wait_for(1, &large, 5 * MIB);
    wait_for(2, &small, MIB);
    cr_assert(!small.granted);
    budget_wait_cancel(&large.waiter);
    settle();
    cr_assert(small.granted);
    budget_release(&leases[0], 9 * MIB);
    world_fini();
}

/* A release on one loop wakes the waiter of another. */
Test(budget, a_release_anywhere_wakes)
{
    struct waiter waiter;
    world(4 * MIB);
    cr_assert(budget_reserve(&leases[0], 4 * MIB));
    wait_for(1, &waiter, 1000);
    cr_assert(!waiter.granted);
    budget_release(&leases[0], 2000);
    settle();
    cr_assert(waiter.granted);
    budget_release(&leases[2], 4 * MIB - 1000);
    world_fini();
}

/* What idle loops keep for themselves is called back: a waiter once waited for ever for bytes that
 * nobody used. */
Test(budget, spare_bytes_of_idle_loops_are_called_back)
{
    struct waiter waiter;
    world(3 * MIB);
    for (int i = 0; i < LOOPS; i++) {
        cr_assert(budget_reserve(&leases[i], 10));
        budget_release(&leases[i], 10); /* the rest of its chunk stays spare */
    }
    wait_for(1, &waiter, 2 * MIB);
    cr_assert(waiter.granted);
    budget_release(&leases[1], 2 * MIB);
    world_fini();
}

/* A request larger than the whole is met when nothing else is reserved. */
Test(budget, more_than_the_whole_is_given_alone)
{
    struct waiter waiter;
    world(2 * MIB);
    cr_assert(budget_reserve(&leases[0], 1000));
    wait_for(1, &waiter, 50 * MIB);
    cr_assert(!waiter.granted);
    budget_release(&leases[0], 1000);
    settle();
    cr_assert(waiter.granted);
    cr_assert(!budget_reserve(&leases[0], 1));
    budget_release(&leases[1], 50 * MIB);
    world_fini();
}

/* What is charged without asking is owed: nobody gets anything until it is paid back. */
Test(budget, a_charge_may_overdraw)
{
    struct waiter waiter;
    world(4 * MIB);
    cr_assert(budget_reserve(&leases[0], 3 * MIB));
    budget_charge(&leases[0], 5 * MIB);
    cr_assert_eq(budget_used(&budget), 8 * MIB);
    wait_for(1, &waiter, 1);
    budget_release(&leases[0], 4 * MIB);
    settle();
    cr_assert(!waiter.granted);
    budget_release(&leases[0], 4 * MIB);
    settle();
    cr_assert(waiter.granted);
    budget_release(&leases[1], 1);
    world_fini();
}

/* A connection that goes away while it waits for much does not block those behind it. */
Test(budget, the_next_waiter_is_served_when_the_first_gives_up)
{
    struct waiter large;
    struct waiter small;
    world(10 * MIB);
    cr_assert(budget_reserve(&leases[0], 8 * MIB));
    wait_for(0, &large, 5 * MIB);
    wait_for(0, &small, 100);
    cr_assert(!small.granted);
    budget_wait_cancel(&large.waiter);
    settle();
    cr_assert(small.granted);
    cr_assert(!large.granted);
    budget_wait_cancel(&large.waiter); /* harmless */
    budget_release(&leases[0], 8 * MIB + 100);
    world_fini();
}

/* Two loops that starve do not keep each other awake: messages end, though nothing is free. */
Test(budget, starving_loops_sleep)
{
    struct waiter waiters[2];
    world(4 * MIB);
    cr_assert(budget_reserve(&leases[2], 4 * MIB));
    wait_for(0, &waiters[0], 3 * MIB);
    wait_for(1, &waiters[1], 3 * MIB); /* settle() in it returned */
    budget_release(&leases[2], 4 * MIB);
    settle();
    cr_assert_neq(waiters[0].granted, waiters[1].granted);
    budget_release(&leases[2], 3 * MIB);
    settle();
    cr_assert(waiters[0].granted && waiters[1].granted);
    budget_release(&leases[2], 3 * MIB);
    world_fini();
}

/* ---- threads: a small budget that everybody fights for. Nothing is lost, everybody gets on. */

enum { ROUNDS = 3000, TOTAL = 3 * MIB };

struct fighter {
    struct budget_waiter waiter;
    struct loop_task next;
    struct loop_msg start;
    int index;
    int rounds;
    struct rng rng;
    int64_t held;
};

static struct fighter fighters[LOOPS];
static _Atomic int64_t reserved;
static _Atomic int fighters_left;
static sem_t fight_over;

static void fighter_go_on(struct fighter *fighter)
{
    int64_t sum = atomic_fetch_add(&reserved, fighter->held) + fighter->held;
    cr_assert_leq(sum, TOTAL);
    loop_defer(loops[fighter->index], &fighter->next);
}

static void on_fighter_granted(struct budget_waiter *waiter)
{
    fighter_go_on(container_of(waiter, struct fighter, waiter));
}

static void on_fighter_next(struct loop_task *task)
{
    struct fighter *fighter = container_of(task, struct fighter, next);
    struct budget_lease *lease = &leases[fighter->index];
    atomic_fetch_sub(&reserved, fighter->held);
    budget_release(lease, fighter->held);
    fighter->held = 0;
    if (++fighter->rounds == ROUNDS) {
        if (atomic_fetch_sub(&fighters_left, 1) == 1) {
            sem_post(&fight_over);
        }
        return;
    }
    fighter->held = 1 + (int64_t)rng_below(&fighter->rng, 2 * MIB + MIB / 2);
    if (budget_reserve(lease, fighter->held)) {
        fighter_go_on(fighter);
    } else {
        budget_wait(lease, &fighter->waiter, fighter->held);
    }
}

static void on_fighter_start(struct loop_msg *msg)
{
    struct fighter *fighter = container_of(msg, struct fighter, start);
    loop_defer(loops[fighter->index], &fighter->next);
}

Test(budget, threads_neither_overdraw_nor_starve, .timeout = 100)
{
    world(TOTAL);
    sem_init(&fight_over, 0, 0);
    atomic_store(&fighters_left, LOOPS);
    for (int i = 0; i < LOOPS; i++) {
        fighters[i].index = i;
        fighters[i].waiter.granted = on_fighter_granted;
        fighters[i].start.fn = on_fighter_start;
        loop_task_init(&fighters[i].next, on_fighter_next);
        rng_seed(&fighters[i].rng, (uint64_t)i);
        cr_assert_eq(loop_start(loops[i]), ERR_OK);
    }
    for (int i = 0; i < LOOPS; i++) {
        loop_post(loops[i], &fighters[i].start);
    }
    sem_wait(&fight_over);
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(loops[i]);
    }
    sem_destroy(&fight_over);
    world_fini();
}
