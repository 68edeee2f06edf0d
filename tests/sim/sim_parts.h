/* sim_parts.h: the partitions of a run: their numbers and names, who has them as ZooKeeper says,
 * and what a running broker has of them.
 *
 * Partitions are numbered 0, 1, ... over all topics; topics are "t0", "t1", ... Nothing is
 * remembered here: every answer is of this moment.
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct part;
struct sim;

enum { SIM_PART_TEXT_MAX = 32 };

/* ---- names */

int sim_parts_count(const struct sim *sim);
void sim_part_name(const struct sim *sim, int part, char topic[16], int *index);

/* "t0-1". */
void sim_part_text(const struct sim *sim, int part, char text[SIM_PART_TEXT_MAX]);

/* -1 when it is none of ours. */
int sim_part_number(const struct sim *sim, struct str topic, int index);

/* The same of the path of a state node. */
int sim_part_number_of_state(const struct sim *sim, const char *path);

/* ---- as ZooKeeper has it */

/* Is this broker one of the replicas? Of any topic. */
bool sim_part_is_replica(struct sim *sim, const char *topic, int index, int node);

/* Who leads; -1: nobody. */
int sim_part_leader(struct sim *sim, int part);

/* Who is to coordinate this group; likewise. */
int sim_part_coordinator(struct sim *sim, struct str group);

/* Members of the ISR; 0 when nobody leads. */
int sim_part_in_sync(struct sim *sim, int part);

/* Is it where it was last moved to: its replicas in sync, on the disks of these brokers, and of no
 * others? False as long as a broker is down. */
bool sim_part_at_rest(struct sim *sim, int part);

/* ---- on a running broker */

/* part_put(); NULL when the broker is down or does not have it. */
struct part *sim_part_on(struct sim *sim, int part, int node);

/* Where the broker's log begins; 0 when it has none. */
int64_t sim_part_log_start(struct sim *sim, int part, int node);
