/* alter.h: leaders' wishes for other ISRs, on their way to the controller and back.
 *
 * Each partition has at most one under way (isr.h sees to that). All that wait go in one request;
 * one request at a time. It is repeated until the controller, whoever that is then, has answered;
 * a wish whose leadership is over meanwhile is dropped.
 *
 * Threads: the control loop; alter_propose() from any. Source: kafka.server.AlterPartitionManager,
 * Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "partition/part.h"
#include "replica/controller_link.h"

enum {
    ALTER_RETRY_MS = 50,
    ALTER_REQUEST_MAX = 5000, /* partitions in one request; more wait for the next */
};

struct alter;

struct alter *alter_new(struct controller_link *link);

/* The partition's references are given back. Nothing may come any more. */
void alter_free(struct alter *alter);

/* Takes what the proposal holds. The answer goes to part_altered(). */
void alter_propose(struct alter *alter, struct part *part, const struct isr_proposal *proposal);
