/* sim_producer.h: an idempotent producer with acks=all, of one partition.
 *
 *   [needs id] --InitProducerId--> [needs leader] --Metadata--> [sending] --all acked--> [done]
 *        ^                              ^                          |
 *        |  the broker forgot us        |  any error, a lost answer: everything that is not
 *        +------------------------------+  acknowledged is sent again, in order
 *
 * Up to five batches are under way at once, as in Kafka's clients, but only one until the leader
 * has acknowledged something (every second producer never has more than one): a broker that knows
 * nothing of a producer takes any sequence, so a second batch could overtake a first that was
 * refused. What it is told goes to the model. Being told of a gap is a bug unless the disk may have
 * forgotten something; then it takes a new id and gives up what is under way.
 *
 * Threads: its client's loop. */
#pragma once

#include "sim_client.h"

/* `number` counts producers, from 1. Freed with the simulation's clients. */
void sim_producer_new(struct sim *sim, int number, int part, int records);
