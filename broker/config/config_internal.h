/* config_internal.h: a snapshot from the inside, for config.c (values) and load.c (reading them).
 */
#pragma once

#include "config/config.h"

/* What replica.selector.class may be: the two classes that come with Kafka. */
#define SELECTOR_RACK_AWARE "org.apache.kafka.common.replica.RackAwareReplicaSelector"
#define SELECTOR_LEADER     "org.apache.kafka.common.replica.LeaderSelector"

enum { LAYER_STATIC, LAYER_ALL, LAYER_MINE, CONFIG_LAYERS };

/* A key that is not in keys.def. */
struct config_extra {
    char *name;
    char *value;
    int layer;
};

/* A value that was asked for as a number. */
struct config_number {
    _Atomic int64_t value;
    _Atomic bool known;
};

struct config {
    _Atomic int32_t count;
    char *layers[CONFIG_LAYERS][KEY_COUNT]; /* NULL: silent */
    struct config_number numbers[KEY_COUNT];
    struct config_extra *extras;
    int extras_count;
    /* Names of variables that were ignored, with commas; NULL: none. Not kept in dynamic snapshots.
     */
    char *ignored_links;
    char *ignored_java;
};

struct config *config_new(void);
void config_set_layer(struct config *config, int layer, enum config_key key, const char *value);
void config_set_extra(struct config *config, int layer, const char *name, const char *value);

/* checks.c: could a broker run with it? ERR_INVALID_CONFIG. */
MUST_USE enum err config_check_relations(const struct config *config, struct errmsg *msg);
