/* sim_control.h: what goes wrong with the controller's messages.
 *
 * The simulator sees every message that a broker sends to another one (peers_send() is wrapped at
 * link time), so that a fault can happen in the middle of a broadcast, when some brokers have been
 * told and others not; and messages can arrive once more, late: as they do when a connection that
 * was given up still delivers what it carried while a newer one carries something else.
 *
 * Threads: one. */
#pragma once

#include <stdint.h>

struct sim;
struct sim_node;
struct sim_control;

/* Called once, from inside the turn in which `node` sends to broker `to`. */
typedef void sim_control_fn(void *arg, struct sim_node *node, int to);

struct sim_control *sim_control_new(struct sim *sim);
void sim_control_free(struct sim_control *control);

/* At the (after + 1)-th message from now on that any broker sends. */
void sim_control_at(struct sim_control *control, int after, sim_control_fn *fn, void *arg);

/* One message in `one_in` arrives a second time, within `late_ns`; 0: none does. */
void sim_control_set_late(struct sim_control *control, uint64_t one_in, int64_t late_ns);

/* No more of either. */
void sim_control_calm(struct sim_control *control);
