/* new_partitions.h: where the partitions go that a topic is to get, by the rules of Kafka's
 * controller.
 *
 * Threads: the control loop. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "admin/admin_service.h"

struct new_partitions {
    int32_t count_before;
    struct znode_ids *replicas; /* of each new partition, in the arena or the wish's */
    int32_t count;
};

/* `topic` as it is now; `count` is the new total. `wished`: the replicas that the client wants for
 * the new partitions, NULL to place them. REASSIGNMENT_IN_PROGRESS, INVALID_PARTITIONS,
 * INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR, INVALID_REQUEST. */
MUST_USE enum err new_partitions_plan(struct admin_service *service, struct arena *arena,
                                      const struct meta *meta, const struct znode_topic *topic,
                                      struct str name, int32_t count, struct znode_ids *wished,
                                      int32_t wished_count, struct new_partitions *out,
                                      struct errmsg *msg);
