/* sim_hop.h: connections that go on on another network loop of their broker (api/balance.h).
 *
 * A real broker moves connections away from a loop that has come near to a whole core, so a test
 * hardly ever sees it. Here any connection that has just been served may have to go, to any loop:
 * one in `one_in`. The loop that it is to go to may be its own, which calls a move off that has not
 * been made yet.
 *
 * Threads: one. */
#pragma once

#include "api/balance.h"
#include "base/rng.h"

struct sim_hop {
    struct balance_policy policy; /* first: what the broker holds */
    struct rng rng;
    uint64_t one_in; /* 0: connections stay where they are */
};

void sim_hop_init(struct sim_hop *hop, uint64_t seed, uint64_t one_in);
