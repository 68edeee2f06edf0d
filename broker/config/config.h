/* config.h: the broker's configuration: Kafka's keys, in four layers.
 *
 *   default < file, environment, --override < dynamic for all brokers < dynamic for this one
 *
 * An immutable counted snapshot; a dynamic change makes a new one. Values are text as a file has
 * them, checked when they came in, so that getters cannot fail.
 *
 * Threads: a snapshot may be read by anyone who holds it; config_cell_get() from any;
 * config_cell_set() on the control loop. Source: Kafka 3.9 (keys.def).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* Types as DescribeConfigs numbers them. */
enum config_type {
    CONFIG_BOOLEAN = 1,
    CONFIG_STRING = 2,
    CONFIG_INT = 3,
    CONFIG_SHORT = 4,
    CONFIG_LONG = 5,
    CONFIG_DOUBLE = 6,
    CONFIG_LIST = 7,
    CONFIG_CLASS = 8,
    CONFIG_PASSWORD = 9,
};

enum config_mode { CONFIG_STATIC, CONFIG_CLUSTER, CONFIG_PER_BROKER };

enum config_class { CONFIG_HONOURED, CONFIG_ACCEPTED, CONFIG_KRAFT_ONLY };

/* Where a value comes from, as DescribeConfigs numbers it. */
enum config_source {
    SOURCE_TOPIC = 1,
    SOURCE_DYNAMIC_BROKER = 2,
    SOURCE_DYNAMIC_DEFAULT = 3,
    SOURCE_STATIC = 4,
    SOURCE_DEFAULT = 5,
};

enum config_key {
#define KEY(id, name, type, value, minimum, mode, class) KEY_##id,
#include "config/keys.def"
#undef KEY
    KEY_COUNT
};

struct config_info {
    const char *name;
    const char *value; /* default; NULL: unset */
    int64_t minimum;
    enum config_type type;
    enum config_mode mode;
    enum config_class class;
};

const struct config_info *config_info(enum config_key key);
/* Is it one that Kafka tells nobody of unless somebody has set it? */
bool config_is_internal(enum config_key key);
/* KEY_COUNT when it is no broker key. */
enum config_key config_find(const char *name);
/* The key whose name is nearest, for "did you mean"; NULL when none is near. */
const char *config_nearest(const char *name);

/* ---- snapshots ---- */

struct config;

struct config_pair {
    const char *name;
    const char *value;
};

struct config_load_options {
    const char *file;             /* NULL: none */
    const char *const *environ_;  /* "NAME=value", NULL-terminated; NULL: do not look */
    const char *const *overrides; /* "key=value" */
    int overrides_count;
};

/* Read, merge, check. On an error *msg says key, value, rule and an example. */
MUST_USE enum err config_load(const struct config_load_options *options, struct config **out,
                              struct errmsg *msg);

/* From pairs alone: for tests. */
MUST_USE enum err config_from_pairs(const struct config_pair *pairs, int count, struct config **out,
                                    struct errmsg *msg);

struct config *config_hold(const struct config *config);
void config_put(const struct config *config);

/* What was unusual about what was read, one line for people per kind; written by the caller's
 * logger. */
void config_log_warnings(const struct config *config);

/* The snapshot with another dynamic layer (SOURCE_DYNAMIC_DEFAULT or SOURCE_DYNAMIC_BROKER); values
 * that do not check, or cannot be set so, are left out, with a warning. */
struct config *config_with_layer(const struct config *config, enum config_source source,
                                 const struct config_pair *pairs, int count);

int64_t config_long(const struct config *config, enum config_key key);
static inline int32_t config_int(const struct config *config, enum config_key key)
{
    return (int32_t)config_long(config, key);
}
bool config_bool(const struct config *config, enum config_key key);
double config_double(const struct config *config, enum config_key key);
/* NULL when unset. */
const char *config_str(const struct config *config, enum config_key key);
bool config_is_set(const struct config *config, enum config_key key);

/* Keys that are not in keys.def: "listener.name.x.y", and those nobody knows. NULL: not given. */
const char *config_extra(const struct config *config, const char *name);
int config_extras_count(const struct config *config);
struct config_pair config_extra_at(const struct config *config, int index,
                                   enum config_source *source);

/* What each layer says; NULL where it is silent. `source` SOURCE_DYNAMIC_BROKER .. SOURCE_DEFAULT.
 */
const char *config_layer(const struct config *config, enum config_key key,
                         enum config_source source);
enum config_source config_source(const struct config *config, enum config_key key);

/* Does `value` suit the key? *msg says it for people, in several lines. */
MUST_USE enum err config_check_value(const char *name, enum config_type type, int64_t minimum,
                                     const char *value, struct errmsg *msg);

/* ---- derived, as Kafka computes them ---- */

/* The key's value, of which each is so many ms, as a time that may be added to a clock: not below
 * 0, and no more than some millions of years. */
int64_t config_duration_ms(const struct config *config, enum config_key key, int64_t each_ms);
int64_t config_retention_ms(const struct config *config);
int64_t config_zookeeper_connection_timeout_ms(const struct config *config);
/* replica.selector.class: do consumers read from the replica in their rack? */
bool config_rack_aware(const struct config *config);
/* The items of log.dirs (or log.dir), without blanks around them and slashes that say nothing;
 * fresh memory, each and the array by mem_free. */
char **config_log_dirs(const struct config *config, int *count);

/* ---- where the current snapshot is published ---- */

struct config_cell {
    pthread_mutex_t lock; /* a leaf */
    struct config *current;
    _Atomic uint64_t generation;
};

/* Takes the snapshot. */
void config_cell_init(struct config_cell *cell, struct config *config);
void config_cell_fini(struct config_cell *cell);
/* config_put(). */
const struct config *config_cell_get(struct config_cell *cell);
void config_cell_set(struct config_cell *cell, struct config *config);

/* A loop's cached copy: one atomic load per use. */
struct config_reader {
    struct config_cell *cell;
    const struct config *config;
    uint64_t generation;
};

void config_reader_init(struct config_reader *reader, struct config_cell *cell);
void config_reader_fini(struct config_reader *reader);
/* Valid until the next call on this reader. */
const struct config *config_reader_now(struct config_reader *reader);

static inline bool config_reader_bool(struct config_reader *reader, enum config_key key)
{
    return config_bool(config_reader_now(reader), key);
}

/* What a broker or topic key is for; NULL when docs.def does not say. */
const char *config_documentation(const char *name);

/* The broker key that "listener.name.<listener>.<key>" (or "....<mechanism>.<key>") sets for one
 * listener; KEY_COUNT when `name` is nothing of the kind. */
enum config_key config_listener_base(const char *name);
