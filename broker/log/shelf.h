/* shelf.h: what many logs have in common, once: the names of their topics, and configurations.
 *
 * Whoever needs one of them gets the one that is here, if it is the same, and holds it. As many are
 * kept as there are places; where two fall on one, the newer takes it and the older lives on with
 * who holds it: then some are there twice, which costs memory and nothing else.
 *
 * Threads: any; a leaf lock. */
#pragma once

#include "base/bytes.h"
#include "base/text.h"
#include "config/topic_config.h"

/* Never changes. */
struct shelf_config {
    _Atomic int32_t count;
    struct topic_config config;
};

struct shelf;

/* Counted: each log holds it. What is held of it lives on without it. NULL is fine. */
struct shelf *shelf_new(void);
struct shelf *shelf_hold(struct shelf *shelf);
void shelf_put(struct shelf *shelf);

/* Held for the caller: text_put(). With `shelf` NULL it is a copy. */
struct text *shelf_name(struct shelf *shelf, struct str name);

/* The same; shelf_config_put(). */
struct shelf_config *shelf_config(struct shelf *shelf, const struct topic_config *config);
void shelf_config_put(struct shelf_config *config);
