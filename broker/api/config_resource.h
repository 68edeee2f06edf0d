/* config_resource.h: what the three APIs of configurations share: which resources there are, and
 * whether this broker answers for one.
 *
 * Threads: any. Source: kafka-zk-mode facts 8.8 (53). */
#pragma once

#include "api/broker.h"

enum resource_type { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_BROKER_LOGGER = 8 };

/* ERR_UNKNOWN_TOPIC_OR_PARTITION, or ERR_INVALID_REQUEST: another broker's configuration, or a type
 * that is not served. The empty broker name means all brokers. */
MUST_USE enum err config_resource_check(const struct broker *broker, const struct meta *meta,
                                        int8_t type, struct str name, struct errmsg *msg);
