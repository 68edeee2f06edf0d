/* sim_grow.h: an operator who adds partitions to topics (CreatePartitions), one or more at a time,
 * until each has as many as the run's options say. Producers and consumers of partitions that do
 * not exist yet wait for them.
 *
 * Threads: the client's loop. */
#pragma once

struct sim;

void sim_grow_new(struct sim *sim);
