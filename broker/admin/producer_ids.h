/* producer_ids.h: ids for idempotent producers, taken from blocks of 1000 in ZooKeeper.
 *
 * A block is this broker's alone, whoever restarts: ids that were not given out are lost, never
 * given twice. When a block runs out, requests wait for the next one instead of being told to come
 * back.
 *
 * Threads: the control loop. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "base/err.h"
#include "base/list.h"
#include "controller/admin.h"

struct producer_ids;

struct producer_ids_waiter {
    struct list link;
    void (*done)(struct producer_ids_waiter *waiter, enum err err, int64_t producer_id);
};

struct producer_ids *producer_ids_new(struct admin *admin, int32_t broker_id);

/* What waits is told COORDINATOR_NOT_AVAILABLE. */
void producer_ids_free(struct producer_ids *ids);

/* One callback, now or when a block has come. Errors: COORDINATOR_LOAD_IN_PROGRESS (ZooKeeper is
 * out of reach; clients try again). */
void producer_ids_take(struct producer_ids *ids, struct producer_ids_waiter *waiter);
