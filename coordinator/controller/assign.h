/* assign.h: which brokers hold the replicas of new partitions.
 *
 * Kafka's placement (kafka.admin.AdminUtils, KIP-36): leaders round robin over the brokers from a
 * random start, further replicas shifted by a step that grows each time round; with racks, brokers
 * are interleaved by rack, and no rack gets a second replica before every rack has one.
 *
 * Pure: equal inputs (the generator's state included) give equal results. Threads: any. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/rng.h"
#include "znode/znode.h"

struct assign_broker {
    int32_t id;
    struct str rack; /* null: none */
};

struct assign_request {
    const struct assign_broker *brokers; /* the live ones, in any order, ids distinct */
    int32_t brokers_count;
    int32_t partitions_count;   /* to place; > 0 */
    int32_t replication_factor; /* > 0 */
    /* Placing partitions of a new topic: 0. Adding some: how many there are, and where partition 0
     * is. */
    int32_t partition_first;
    int32_t first_replica_of_0; /* its leader by assignment; -1: none */
};

/* Fills placed[0..partitions_count) from the arena. ERR_INVALID_PARTITIONS and
 * ERR_INVALID_REPLICATION_FACTOR for counts that are not positive, the latter also when there are
 * fewer brokers than replicas; ERR_INVALID_REQUEST when only some brokers have a rack. *msg (may be
 * NULL) says it as Kafka does. */
MUST_USE enum err assign_replicas(struct arena *arena, struct rng *rng,
                                  const struct assign_request *request, struct znode_ids *placed,
                                  struct errmsg *msg);
