#include "config/values.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* ---- numbers ---- */

bool config_parse_long(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool fits = errno != ERANGE;
    bool any = end != text;
    while (isspace((unsigned char)*end)) {
        end++;
    }
    *out = value;
    return any && fits && *end == '\0';
}

bool config_parse_bool(const char *text)
{
    struct str word = config_trim(str_of(text));
    return word.size == 4 && strncasecmp(word.ptr, "true", 4) == 0;
}

static bool parse_double(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    bool any = end != text;
    while (isspace((unsigned char)*end)) {
        end++;
    }
    return any && *end == '\0';
}

static bool check_whole(enum config_type type, int64_t minimum, const char *value,
                        struct config_rule *rule)
{
    static const char *const names[] = {
        [CONFIG_INT] = "int", [CONFIG_SHORT] = "short", [CONFIG_LONG] = "long"};
    static const int64_t tops[] = {
        [CONFIG_INT] = INT32_MAX, [CONFIG_SHORT] = INT16_MAX, [CONFIG_LONG] = INT64_MAX};
    static const int64_t bottoms[] = {
        [CONFIG_INT] = INT32_MIN, [CONFIG_SHORT] = INT16_MIN, [CONFIG_LONG] = INT64_MIN};
    int64_t number;
    int64_t low = minimum > bottoms[type] ? minimum : bottoms[type];
    if (config_parse_long(value, &number) && number >= low && number <= tops[type]) {
        return true;
    }
    if (low == bottoms[type]) {
        snprintf(rule->must_be, sizeof(rule->must_be), "a whole number (%s)", names[type]);
    } else {
        snprintf(rule->must_be, sizeof(rule->must_be), "a whole number (%s) of at least %" PRId64,
                 names[type], low);
    }
    snprintf(rule->example, sizeof(rule->example), "%" PRId64, low > 1 ? low : 1);
    return false;
}

static bool check_type(enum config_type type, int64_t minimum, const char *value,
                       struct config_rule *rule)
{
    double number;
    switch (type) {
    case CONFIG_BOOLEAN:
        *rule = (struct config_rule){"true or false", "true"};
        return strcasecmp(value, "true") == 0 || strcasecmp(value, "false") == 0;
    case CONFIG_INT:
    case CONFIG_SHORT:
    case CONFIG_LONG:
        return check_whole(type, minimum, value, rule);
    case CONFIG_DOUBLE:
        *rule = (struct config_rule){"a number", "0.5"};
        return parse_double(value, &number);
    case CONFIG_STRING:
    case CONFIG_LIST:
    case CONFIG_CLASS:
    case CONFIG_PASSWORD:
        break;
    }
    return true;
}

/* ---- words ---- */

/* Is `item` one of the words, which stand separated by blanks? */
static bool one_of(struct str item, const char *words)
{
    for (const char *at = words; *at != '\0';) {
        size_t size = strcspn(at, " ");
        if (str_eq((struct str){at, size}, item)) {
            return true;
        }
        at += size + (at[size] == ' ');
    }
    return false;
}

struct str config_trim(struct str s)
{
    while (s.size > 0 && isspace((unsigned char)s.ptr[0])) {
        s.ptr++;
        s.size--;
    }
    while (s.size > 0 && isspace((unsigned char)s.ptr[s.size - 1])) {
        s.size--;
    }
    return s;
}

/* The next item of a comma-separated list, trimmed; *at is NULL behind the last one. */
static struct str next_item(const char **at)
{
    size_t size = strcspn(*at, ",");
    struct str item = config_trim((struct str){*at, size});
    *at = (*at)[size] == ',' ? *at + size + 1 : NULL;
    return item;
}

static bool check_words(const char *words, const char *value)
{
    return one_of(config_trim(str_of(value)), words);
}

static bool check_list(const char *words, const char *value)
{
    for (const char *at = *value != '\0' ? value : NULL; at != NULL;) {
        if (!one_of(next_item(&at), words)) {
            return false;
        }
    }
    return true;
}

/* ---- single rules ---- */

static bool check_ratio(const char *words, const char *value)
{
    double number;
    (void)words;
    return parse_double(value, &number) && number >= 0 && number <= 1;
}

/* words: the least and the largest. */
static bool check_range(const char *words, const char *value)
{
    int64_t number;
    char *end;
    long long low = strtoll(words, &end, 10);
    long long high = strtoll(end, NULL, 10);
    return config_parse_long(value, &number) && number >= low && number <= high;
}

static bool check_gzip(const char *words, const char *value)
{
    return check_range("-1 -1", value) || check_range(words, value);
}

/* Any negative number is "for ever". */
static bool check_retention(const char *words, const char *value)
{
    int64_t number;
    (void)words;
    return config_parse_long(value, &number) && number != 0;
}

/* "3.0", "3.0-IV1", "0.10.2.1": from 0.8 to 4.0. */
static bool check_version(const char *words, const char *value)
{
    char *end;
    (void)words;
    if (!isdigit((unsigned char)*value)) {
        return false;
    }
    long major = strtol(value, &end, 10);
    if (*end != '.' || !isdigit((unsigned char)end[1])) {
        return false;
    }
    long minor = strtol(end + 1, &end, 10);
    while (*end == '.' && isdigit((unsigned char)end[1])) {
        (void)strtol(end + 1, &end, 10);
    }
    if (strncmp(end, "-IV", 3) == 0 && isdigit((unsigned char)end[3])) {
        (void)strtol(end + 3, &end, 10);
    }
    bool known =
        (major == 0 && minor >= 8) || (major >= 1 && major <= 3) || (major == 4 && minor == 0);
    return *end == '\0' && known;
}

/* "*", or partition:broker,... */
static bool check_throttled(const char *words, const char *value)
{
    (void)words;
    if (strcmp(value, "*") == 0) {
        return true;
    }
    for (const char *at = value; at != NULL;) {
        struct str item = next_item(&at);
        size_t digits = 0;
        while (digits < item.size && isdigit((unsigned char)item.ptr[digits])) {
            digits++;
        }
        size_t rest = digits + 1;
        while (rest < item.size && isdigit((unsigned char)item.ptr[rest])) {
            rest++;
        }
        bool pair = digits > 0 && rest > digits + 1 && rest == item.size && item.ptr[digits] == ':';
        if (item.size > 0 && !pair) {
            return false;
        }
    }
    return true;
}

bool config_throttles(const char *value, int32_t partition, int32_t broker)
{
    if (str_is(config_trim(str_of(value)), "*")) {
        return true;
    }
    for (const char *at = value; at != NULL;) {
        struct str item = next_item(&at);
        char *colon;
        if (item.size > 0 && strtol(item.ptr, &colon, 10) == partition && *colon == ':' &&
            strtol(colon + 1, NULL, 10) == broker) {
            return true;
        }
    }
    return false;
}

/* What Kafka asks of single keys beyond the type and the least number. */
static const struct key_rule {
    const char *name;
    bool (*check)(const char *words, const char *value);
    const char *words;
    const char *must_be;
    const char *example;
} key_rules[] = {
    {"cleanup.policy", check_list, "compact delete", "a list of compact and delete", "delete"},
    {"compression.gzip.level", check_gzip, "1 9", "between 1 and 9, or -1", "-1"},
    {"compression.lz4.level", check_range, "1 17", "between 1 and 17", "9"},
    {"compression.type", check_words, "uncompressed zstd lz4 snappy gzip producer",
     "one of uncompressed, zstd, lz4, snappy, gzip, producer", "producer"},
    {"compression.zstd.level", check_range, "-131072 22", "between -131072 and 22", "3"},
    {"follower.replication.throttled.replicas", check_throttled, "",
     "* or a list of partition:broker", "0:1,1:2"},
    {"inter.broker.protocol.version", check_version, "", "a version of Kafka from 0.8 to 4.0",
     "3.9"},
    {"leader.replication.throttled.replicas", check_throttled, "",
     "* or a list of partition:broker", "0:1,1:2"},
    {"log.cleaner.min.cleanable.ratio", check_ratio, "", "a number from 0 to 1", "0.5"},
    {"log.cleanup.policy", check_list, "compact delete", "a list of compact and delete", "delete"},
    {"log.message.format.version", check_version, "", "a version of Kafka from 0.8 to 4.0", "3.0"},
    {"log.message.timestamp.type", check_words, "CreateTime LogAppendTime",
     "CreateTime or LogAppendTime", "CreateTime"},
    {"log.retention.ms", check_retention, "", "-1 (for ever) or at least 1", "604800000"},
    {"message.format.version", check_version, "", "a version of Kafka from 0.8 to 4.0", "3.0"},
    {"message.timestamp.type", check_words, "CreateTime LogAppendTime",
     "CreateTime or LogAppendTime", "CreateTime"},
    {"min.cleanable.dirty.ratio", check_ratio, "", "a number from 0 to 1", "0.5"},
    {"offsets.topic.compression.codec", check_range, "0 4",
     "0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)", "0"},
    {"security.inter.broker.protocol", check_words, "PLAINTEXT SSL SASL_PLAINTEXT SASL_SSL",
     "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", "PLAINTEXT"},
    {"ssl.client.auth", check_words, "required requested none", "one of required, requested, none",
     "none"},
};

static bool suits(const char *name, enum config_type type, int64_t minimum, const char *value,
                  struct config_rule *rule)
{
    if (!check_type(type, minimum, value, rule)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(key_rules) / sizeof(key_rules[0]); i++) {
        const struct key_rule *special = &key_rules[i];
        if (strcmp(special->name, name) == 0 && !special->check(special->words, value)) {
            snprintf(rule->must_be, sizeof(rule->must_be), "%s", special->must_be);
            snprintf(rule->example, sizeof(rule->example), "%s", special->example);
            return false;
        }
    }
    return true;
}

bool config_value_suits(const char *name, enum config_type type, int64_t minimum, const char *value,
                        struct config_rule *rule)
{
    char *clean = str_dup(config_trim(str_of(value)));
    bool good = suits(name, type, minimum, clean, rule);
    mem_free(clean);
    return good;
}

enum err config_check_value(const char *name, enum config_type type, int64_t minimum,
                            const char *value, struct errmsg *msg)
{
    struct config_rule rule;
    if (config_value_suits(name, type, minimum, value, &rule)) {
        return ERR_OK;
    }
    bool secret = type == CONFIG_PASSWORD;
    errmsg_set(msg,
               "error[E-CONFIG-01]: %s has a value that cannot be used.\n  %s=%.200s\n  It must be "
               "%s, for example:\n      %s=%s",
               name, name, secret ? "[hidden]" : value, rule.must_be, name, rule.example);
    return ERR_INVALID_CONFIG;
}

/* ---- printing ---- */

static char *canonical_double(struct arena *arena, double value)
{
    char text[40];
    int digits =
        0; /* behind the point of the mantissa: the fewest that read back as the same number */
    do {
        snprintf(text, sizeof(text), "%.*e", digits++, value);
    } while (digits < 18 && strtod(text, NULL) != value);
    digits--;
    const char *e = strchr(text, 'e');
    long power = e != NULL ? strtol(e + 1, NULL, 10) : 0;
    double size = fabs(value);
    if (!isfinite(value) || size == 0 || (size >= 1e-3 && size < 1e7)) {
        return arena_printf(arena, "%.*f", digits - power < 1 ? 1 : (int)(digits - power), value);
    }
    return arena_printf(arena, "%.*s%sE%ld", (int)(e - text), text, digits == 0 ? ".0" : "", power);
}

static char *canonical_list(struct arena *arena, const char *value)
{
    char *out = arena_alloc(arena, strlen(value) + 1);
    size_t used = 0;
    for (const char *at = value; at != NULL;) {
        struct str item = next_item(&at);
        memcpy(out + used, item.ptr, item.size);
        used += item.size;
        if (at != NULL) {
            out[used++] = ',';
        }
    }
    out[used] = '\0';
    return out;
}

char *config_canonical(struct arena *arena, enum config_type type, const char *value)
{
    int64_t whole;
    double number;
    value = arena_cstr(arena, config_trim(str_of(value)));
    switch (type) {
    case CONFIG_BOOLEAN:
        return arena_printf(arena, "%s", config_parse_bool(value) ? "true" : "false");
    case CONFIG_INT:
    case CONFIG_SHORT:
    case CONFIG_LONG:
        if (config_parse_long(value, &whole)) {
            return arena_printf(arena, "%" PRId64, whole);
        }
        break;
    case CONFIG_DOUBLE:
        if (parse_double(value, &number)) {
            return canonical_double(arena, number);
        }
        break;
    case CONFIG_LIST:
        return canonical_list(arena, value);
    case CONFIG_STRING:
    case CONFIG_CLASS:
    case CONFIG_PASSWORD:
        break;
    }
    return arena_cstr(arena, str_of(value));
}
