/* sim_admin.h: an operator who makes topics and deletes them, one after the other, under two names
 * that come again and again. Nobody writes to them: they are there so that controllers have work
 * when faults happen. In the end none of them may be left (sim_run.c).
 *
 * Threads: its client's loop. */
#pragma once

#include "sim_client.h"

void sim_admin_new(struct sim *sim, int cycles);

/* Is one of its topics still in ZooKeeper? */
bool sim_admin_topics_left(struct sim *sim);
