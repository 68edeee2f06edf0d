/* sim_watch.h: what brokers show of themselves, and what of it must not be: looked at when one
 * writes a partition's state into ZooKeeper, after every step of one, and when one comes back.
 *
 * It watches the checks of sim_model.h that need no client: M1, M2, M7 to M11, and M4 of a log of
 * one replica that was opened again. It is also who finds out that something may be gone (the power
 * failed; nobody is complete any more, sim_complete.h), and tells the model and sim_commit.h.
 *
 * Threads: one. */
#pragma once

#include "base/bytes.h"

struct sim;
struct sim_node;
struct sim_watch;

struct sim_watch *sim_watch_new(struct sim *sim);
void sim_watch_free(struct sim_watch *watch);

/* A state node was written (M1, M2). `old` is empty when there was none. */
void sim_watch_state_written(struct sim_watch *watch, struct sim_node *node, const char *path,
                             struct bytes old, struct bytes new_);

/* After a step of this broker: M1, M7 to M11; after its start also what its logs hold (M4). */
void sim_watch_look(struct sim_watch *watch, struct sim_node *node);

/* It is about to end: what it has synced must come back. */
void sim_watch_before_end(struct sim_watch *watch, struct sim_node *node);

/* Its machine has lost its power. */
void sim_watch_power_lost(struct sim_watch *watch, struct sim_node *node);
