/* config_internal.h: a snapshot from the inside, for config.c (values) and load.c (reading them).
 */
#pragma once

#include "config/config.h"

enum { LAYER_STATIC, LAYER_ALL, LAYER_MINE, CONFIG_LAYERS };

struct config {
    _Atomic int32_t count;
    char *layers[CONFIG_LAYERS][KEY_COUNT]; /* NULL: silent */
    char **extra_names;
    char **extra_values;
    int extras_count;
};

struct config *config_new(void);
void config_set_layer(struct config *config, int layer, enum config_key key, const char *value);
void config_set_extra(struct config *config, const char *name, const char *value);
