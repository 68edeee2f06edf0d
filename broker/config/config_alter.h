/* config_alter.h: how a dynamic configuration changes: the rules of AlterConfigs and
 * IncrementalAlterConfigs, on values alone.
 *
 * Threads: any. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "base/arena.h"
#include "config/topic_config.h"

/* Changes of one resource in one request; more are refused. Kafka has no such limit, but no use for
 * more either: there are 328 keys. */
enum { CONFIG_CHANGES_MAX = 1000 };

/* Keys that are set for a broker, or for all brokers, at most: those that are not Kafka's are let
 * through, and brokers look through them all for each. Beyond, changes that add some are refused.
 */
enum { CONFIG_KEYS_MAX = 1000 };

/* A value that is set is no longer; neither is a list that grows, else nobody could describe it. */
enum { CONFIG_VALUE_MAX = 32767 };

enum config_op { OP_SET = 0, OP_DELETE = 1, OP_APPEND = 2, OP_SUBTRACT = 3 };

struct config_change {
    struct str name;
    struct str value; /* null only with OP_DELETE */
    int8_t op;        /* as the request has it, known or not */
};

enum config_entity { ENTITY_TOPIC, ENTITY_BROKER, ENTITY_ALL_BROKERS };

/* Names, duplicates, values that are missing, operations that there are none of.
 * ERR_INVALID_REQUEST. */
MUST_USE enum err config_alter_check(const struct config_change *changes, int32_t count,
                                     struct errmsg *msg);

struct config_set {
    struct config_pair *pairs; /* in the arena */
    int32_t count;
};

/* The configuration after the changes. `replace`: the changes are all of it (AlterConfigs);
 * `config` is the broker's as it is now. All of *out is checked, what was there before too (of a
 * broker's what does not suit is gone), and for a broker also whether it could run with it.
 * ERR_INVALID_CONFIG; for brokers mostly ERR_INVALID_REQUEST, as in Kafka. */
MUST_USE enum err config_alter(struct arena *arena, enum config_entity entity,
                               const struct config *config, const struct config_set *now,
                               const struct config_change *changes, int32_t count, bool replace,
                               struct config_set *out, struct errmsg *msg);
