/* values.h: what a value must be to suit a key: its type, its range, the words it may be; and the
 * form in which Kafka prints it back.
 *
 * Threads: any. Source: the validators of Kafka 3.9's configuration definitions. */
#pragma once

#include "base/arena.h"
#include "config/config.h"

/* Why a value was refused. */
struct config_rule {
    char must_be[160]; /* after "It must be" */
    char example[64];
};

/* Does `value` suit the broker or topic key `name`? Otherwise *rule says what would. */
bool config_value_suits(const char *name, enum config_type type, int64_t minimum, const char *value,
                        struct config_rule *rule);

/* Does a value of leader.replication.throttled.replicas, or of the follower's, name this replica?
 */
bool config_throttles(const char *value, int32_t partition, int32_t broker);

/* Without blanks at either end: they never count. */
struct str config_trim(struct str s);

/* A whole number with blanks around it; false when it is none, or does not fit. */
bool config_parse_long(const char *text, int64_t *out);

/* A boolean with blanks around it, in any case; false for all that is not true. */
bool config_parse_bool(const char *text);

/* As Kafka prints a value after reading it: "TRUE" is true, "a, b" is "a,b", "1" as a double is
 * "1.0". In the arena. */
char *config_canonical(struct arena *arena, enum config_type type, const char *value);
