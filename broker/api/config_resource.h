/* config_resource.h: what the three APIs of configurations share: which resources there are, and
 * whether this broker answers for one.
 *
 * Threads: any. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "api/broker.h"

enum resource_type {
    RESOURCE_TOPIC = 2,
    RESOURCE_BROKER = 4,
    RESOURCE_BROKER_LOGGER = 8,
    RESOURCE_CLIENT_METRICS = 16,
};

/* The topic must exist: INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION. */
MUST_USE enum err config_resource_topic(const struct meta *meta, struct str name,
                                        struct errmsg *msg);

/* A broker answers for its own configuration and loggers only. `all_too`: the empty name, all
 * brokers, is fine as well. INVALID_REQUEST. */
MUST_USE enum err config_resource_broker(const struct broker *broker, struct str name, bool all_too,
                                         struct errmsg *msg);
