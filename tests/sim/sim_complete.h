/* sim_complete.h: what is promised of replicated partitions whose machines lose power.
 *
 * A record that was acknowledged is there for ever, unless every replica that was complete has lost
 * its power before another one became complete. Complete is:
 *
 *   - at first, who is in the ISR of the state node that is created
 *   - who enters an ISR afterwards, when the write that says so is accepted; who was eligible, if
 *     its leader asked for it. Not in a life that has lost its power before that
 *   - no longer, who leaves the ISR while min.insync.replicas are left in it (or as many as there
 *     are replicas): the others may go on to acknowledge. When fewer are left nobody may, so all
 *     that were complete still are, whatever the controller makes of it
 *   - no longer, whose machine loses power, whether it had synced everything or not: nobody can
 *     know, so it must not count
 *
 * With a minimum of one the lone survivor may be a broker that has already lost its power, only
 * ZooKeeper does not know yet. When nobody is left a partition is hollow: from where the next
 * leader's log ends everything may be forgotten. Then that leader is complete, and the promise
 * holds anew. Whoever has more is not asked about it until it is let into an ISR by a leader with
 * which it has caught up, or until it leads from a hollow partition itself: being elected because
 * nobody is complete is no catching up.
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct sim;
struct sim_node;
struct sim_complete;

struct sim_complete *sim_complete_new(struct sim *sim);
void sim_complete_free(struct sim_complete *complete);

/* The state node of partition `number` was written. `old` is empty when there was none. */
void sim_complete_written(struct sim_complete *complete, int number, struct bytes old,
                          struct bytes new_);

/* This broker's machine has lost its power. */
void sim_complete_power(struct sim_complete *complete, const struct sim_node *node);

/* The broker begins to lead: true when what it lacks may be forgotten. */
bool sim_complete_leads(struct sim_complete *complete, const struct sim_node *node, int number);

/* After sim_complete_leads() was true: might it have led instead, and did it have to be asked? */
bool sim_complete_rival(const struct sim_complete *complete, int node, int number);

/* It may have more than the leader that took over when the partition was hollow. */
bool sim_complete_excused(const struct sim_complete *complete, int node, int number);
