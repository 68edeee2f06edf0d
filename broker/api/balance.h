/* balance.h: which network loop serves a connection.
 *
 * Few loops with much to do cost less than many with little: a loop that is awake takes what has
 * come meanwhile, one that sleeps must be woken, which costs more than a small request, and what a
 * producer's loop appends is for the followers' and consumers' connections, on whatever loop they
 * are. So connections gather on the first loop. Parted, a producer and its consumer cost a quarter
 * more and wait for each other's wake-ups, which shows in the 99th percentile long before a loop
 * that has them both is full. Only when a loop has come near to a whole core and
 * another has little to do, some of its connections move there, each between two requests of its
 * own (client.c, `moving`).
 *
 * A loop looks at its own processor time at most every BALANCE_LOOK_MS, when a connection has just
 * been served: an idle one does nothing. What others read of it is the last look, which counts for
 * BALANCE_STALE_MS. Loops without threads of their own (the simulator's) use no processor time:
 * their connections are spread evenly, and stay, unless a policy of its own (env.balance) says when
 * one is to go, and where.
 *
 * Threads: balance_place() from any; balance_leaves() on the netloop's loop. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct broker;
struct netloop;

enum {
    BALANCE_LOOK_MS = 100,
    BALANCE_STALE_MS = 1000,
    BALANCE_CROWDED_PERCENT = 90, /* of a core, from which on connections move away */
    BALANCE_GAP_PERCENT = 30,     /* to loops that have at least so much less to do */
    BALANCE_FREE_PERCENT = 50,    /* a loop below it is given new connections */
};

/* Decides instead of what follows which connections move: for simulations, whose point it is that
 * any may at any time. */
struct balance_policy {
    /* As balance_leaves(): sets netloop->balance.to when it says yes. Called only while there are
     * several loops, and this one serves. */
    bool (*leaves)(struct balance_policy *policy, struct netloop *netloop);
};

/* Part of a netloop. */
struct balance {
    _Atomic int share; /* of a core, in per cent, at the last look */
    _Atomic int64_t looked_ms;
    int64_t cpu_us;     /* the loop's thread had used at the last look */
    struct netloop *to; /* the one that then had least to do */
    int moves_left;     /* connections that are to go there */
};

/* Where a new connection is to go. */
struct netloop *balance_place(struct broker *broker);

/* A connection of `netloop` has been served: is it to go to another loop, which is balance.to when
 * it goes (itself: to none, for now)? Each yes counts as a move. */
bool balance_leaves(struct netloop *netloop);
