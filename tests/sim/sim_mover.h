/* sim_mover.h: an operator who moves partitions to other brokers, and cancels that, at any moment:
 * by requests and by the node in ZooKeeper, of the topics that hold the records, and of those that
 * an operator makes and deletes meanwhile. In the end every move must have come to its end, and
 * nothing be left where it was (sim_run.c).
 *
 * Threads: its client's loop. */
#pragma once

#include "sim_client.h"

void sim_mover_new(struct sim *sim, int moves);

/* Is there still something ordered in ZooKeeper? */
bool sim_mover_orders_left(struct sim *sim);
