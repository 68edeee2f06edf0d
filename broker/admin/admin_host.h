/* admin_host.h: what the admin service needs of its broker. */
#pragma once

#include "config/config.h"
#include "meta/meta.h"
#include "rt/loop.h"

struct admin_host {
    struct loop *control;
    struct meta_cell *meta;
    struct config_cell *config;
    uint64_t seed;
};
