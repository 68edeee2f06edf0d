/* sim_member.h: members of one consumer group, who share the partitions and commit offsets.
 *
 *   [find coordinator] -> [join] -> [sync] -> [fetch offsets] -> [active: heartbeats, commits]
 *          ^                ^                                        |
 *          +-- coordinator lost                rebalance, fenced ----+
 *
 * What they commit are numbers that grow over the whole run. Checked:
 *   G1  in one generation a partition belongs to one member
 *   G2  what was committed, and acknowledged or told to anybody, is not lost and not undone:
 * whoever fetches it later, of the coordinator that ZooKeeper knows, gets that or a later one; and
 * nothing that nobody committed
 *
 * Threads: the clients' loops. */
#pragma once

#include "sim_client.h"

struct sim_group;

/* What all members of a simulation share. */
struct sim_group *sim_group_new(void);
void sim_group_free(struct sim_group *group);

/* `number` counts members, from 1. */
void sim_member_new(struct sim *sim, int number);
