#include "config/topic_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "config/values.h"

static const struct topic_key_info infos[TOPIC_KEY_COUNT] = {
#define TOPIC_KEY(id, name_, type_, value_, minimum_, broker_keys_)                                \
    [TOPIC_##id] = {name_, value_, minimum_, CONFIG_##type_, broker_keys_},
#include "config/topic_keys.def"
#undef TOPIC_KEY
};

const struct topic_key_info *topic_key_info(enum topic_key key)
{
    must(key < TOPIC_KEY_COUNT);
    return &infos[key];
}

enum topic_key topic_key_find(const char *name)
{
    for (int i = 0; i < TOPIC_KEY_COUNT; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            return (enum topic_key)i;
        }
    }
    return TOPIC_KEY_COUNT;
}

/* ---- checks ---- */

enum err topic_config_check(const char *name, const char *value, struct errmsg *msg)
{
    enum topic_key key = topic_key_find(name);
    if (key == TOPIC_KEY_COUNT) {
        errmsg_set(msg, "Unknown topic config name: %s", name);
        return ERR_INVALID_CONFIG;
    }
    const struct topic_key_info *info = &infos[key];
    struct config_rule rule;
    if (!config_value_suits(name, info->type, info->minimum, value, &rule)) {
        errmsg_set(msg, "Invalid value %.200s for configuration %s: it must be %s", value, name,
                   rule.must_be);
        return ERR_INVALID_CONFIG;
    }
    if ((key == TOPIC_remote_storage_enable || key == TOPIC_remote_log_copy_disable ||
         key == TOPIC_remote_log_delete_on_disable) &&
        config_parse_bool(value)) {
        errmsg_set(msg, "Invalid value true for configuration %s: there is no tiered storage here",
                   name);
        return ERR_INVALID_CONFIG;
    }
    return ERR_OK;
}

/* A topic's own value, or the default that Kafka checks combinations against. */
static int64_t own_long(const struct config_pair *pairs, int count, enum topic_key key)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(pairs[i].name, infos[key].name) == 0) {
            return strtoll(pairs[i].value, NULL, 10);
        }
    }
    return strtoll(infos[key].value, NULL, 10);
}

enum err topic_config_check_all(const struct config_pair *pairs, int count, struct errmsg *msg)
{
    for (int i = 0; i < count; i++) {
        enum err err = topic_config_check(pairs[i].name, pairs[i].value, msg);
        if (err != ERR_OK) {
            return err;
        }
    }
    int64_t lag_min = own_long(pairs, count, TOPIC_min_compaction_lag_ms);
    int64_t lag_max = own_long(pairs, count, TOPIC_max_compaction_lag_ms);
    if (lag_min > lag_max) {
        errmsg_set(msg,
                   "min.compaction.lag.ms (%" PRId64 ") must not be above max.compaction.lag.ms "
                   "(%" PRId64 ")",
                   lag_min, lag_max);
        return ERR_INVALID_CONFIG;
    }
    return ERR_OK;
}

/* ---- values in force ---- */

/* A broker key's value in the topic key's unit: minutes and hours become milliseconds. */
static const char *broker_value(const struct config *config, const char *name, char *scratch,
                                size_t scratch_size, enum config_source *source)
{
    enum config_key key = config_find(name);
    must(key < KEY_COUNT);
    const char *value = config_str(config, key);
    if (value == NULL) {
        return NULL;
    }
    *source = config_source(config, key);
    int64_t unit = strstr(name, ".minutes") != NULL ? 60000
                   : strstr(name, ".hours") != NULL ? 3600000
                                                    : 1;
    if (unit == 1) {
        return value;
    }
    int64_t number = config_long(config, key);
    snprintf(scratch, scratch_size, "%" PRId64, number < 0 ? -1 : number * unit);
    return scratch;
}

const char *topic_config_own(const struct config_pair *pairs, int count, enum topic_key key)
{
    struct errmsg msg;
    for (int i = 0; i < count; i++) {
        if (strcmp(pairs[i].name, infos[key].name) == 0 &&
            topic_config_check(pairs[i].name, pairs[i].value, &msg) == ERR_OK) {
            return pairs[i].value;
        }
    }
    return NULL;
}

const char *topic_config_value(const struct config *config, const struct config_pair *overrides,
                               int count, enum topic_key key, char *scratch, size_t scratch_size,
                               enum config_source *source)
{
    enum config_source ignored;
    source = source != NULL ? source : &ignored;
    const struct topic_key_info *info = topic_key_info(key);
    const char *own = topic_config_own(overrides, count, key);
    if (own != NULL) {
        *source = SOURCE_TOPIC;
        return own;
    }
    char name[64];
    for (const char *at = info->broker_keys; *at != '\0';) {
        size_t size = strcspn(at, ",");
        snprintf(name, sizeof(name), "%.*s", (int)size, at);
        const char *value = broker_value(config, name, scratch, scratch_size, source);
        if (value != NULL) {
            return value;
        }
        at += size + (at[size] == ',');
    }
    *source = SOURCE_DEFAULT;
    return info->value;
}

struct builder {
    const struct config *config;
    const struct config_pair *overrides;
    int count;
    char scratch[32];
};

/* There may be blanks around it, and it may be as long as it likes. Until the next call. */
static const char *text_of(struct builder *b, enum topic_key key)
{
    return topic_config_value(b->config, b->overrides, b->count, key, b->scratch,
                              sizeof(b->scratch), NULL);
}

static bool word_is(struct builder *b, enum topic_key key, const char *word)
{
    return str_is(config_trim(str_of(text_of(b, key))), word);
}

static int64_t long_of(struct builder *b, enum topic_key key)
{
    return strtoll(text_of(b, key), NULL, 10);
}

static bool bool_of(struct builder *b, enum topic_key key)
{
    return config_parse_bool(text_of(b, key));
}

static void build_compression(struct builder *b, struct topic_config *out)
{
    static const char *const names[] = {"uncompressed", "gzip", "snappy", "lz4", "zstd"};
    static const enum topic_key levels[] = {TOPIC_KEY_COUNT, TOPIC_compression_gzip_level,
                                            TOPIC_KEY_COUNT, TOPIC_compression_lz4_level,
                                            TOPIC_compression_zstd_level};
    out->compression_codec = TOPIC_CODEC_PRODUCER;
    out->compression_level = INT32_MIN;
    for (int i = 0; i < 5; i++) {
        if (word_is(b, TOPIC_compression_type, names[i])) {
            out->compression_codec = i;
            if (levels[i] != TOPIC_KEY_COUNT) {
                out->compression_level = (int32_t)long_of(b, levels[i]);
            }
        }
    }
}

void topic_config_build(const struct config *config, const struct config_pair *overrides, int count,
                        struct topic_config *out)
{
    struct builder b = {.config = config, .overrides = overrides, .count = count};
    *out = (struct topic_config){
        .segment_bytes = long_of(&b, TOPIC_segment_bytes),
        .segment_ms = long_of(&b, TOPIC_segment_ms),
        .segment_jitter_ms = long_of(&b, TOPIC_segment_jitter_ms),
        .segment_index_bytes = long_of(&b, TOPIC_segment_index_bytes),
        .index_interval_bytes = long_of(&b, TOPIC_index_interval_bytes),
        .retention_ms = long_of(&b, TOPIC_retention_ms),
        .retention_bytes = long_of(&b, TOPIC_retention_bytes),
        .flush_messages = long_of(&b, TOPIC_flush_messages),
        .flush_ms = long_of(&b, TOPIC_flush_ms),
        .file_delete_delay_ms = long_of(&b, TOPIC_file_delete_delay_ms),
        .message_timestamp_before_max_ms = long_of(&b, TOPIC_message_timestamp_before_max_ms),
        .message_timestamp_after_max_ms = long_of(&b, TOPIC_message_timestamp_after_max_ms),
        .producer_expiration_ms = config_long(config, KEY_producer_id_expiration_ms),
        .max_message_bytes = (int32_t)long_of(&b, TOPIC_max_message_bytes),
        .min_insync_replicas = (int32_t)long_of(&b, TOPIC_min_insync_replicas),
        .unclean_leader_election = bool_of(&b, TOPIC_unclean_leader_election_enable),
    };
    /* Of a segment's time no more than all can be taken, else each batch would begin one. */
    if (out->segment_jitter_ms > out->segment_ms) {
        out->segment_jitter_ms = out->segment_ms;
    }
    /* The deprecated key counts where the newer one is not set. */
    int64_t difference = long_of(&b, TOPIC_message_timestamp_difference_max_ms);
    if (out->message_timestamp_before_max_ms == INT64_MAX) {
        out->message_timestamp_before_max_ms = difference;
    }
    if (out->message_timestamp_after_max_ms == INT64_MAX) {
        out->message_timestamp_after_max_ms = difference;
    }
    const char *policy = text_of(&b, TOPIC_cleanup_policy);
    out->cleanup_policy = (strstr(policy, "delete") != NULL ? TOPIC_CLEANUP_DELETE : 0) |
                          (strstr(policy, "compact") != NULL ? TOPIC_CLEANUP_COMPACT : 0);
    out->message_timestamp_type = word_is(&b, TOPIC_message_timestamp_type, "LogAppendTime")
                                      ? TOPIC_LOG_APPEND_TIME
                                      : TOPIC_CREATE_TIME;
    build_compression(&b, out);
}
