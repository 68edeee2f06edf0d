/* topic_config.h: the configuration of one topic: its own values over the broker's.
 *
 * A plain struct, made whenever either changes. Threads: any. Source: Kafka 3.9, TopicConfig and
 * LogConfig. */
#pragma once

#include "config/config.h"

enum topic_key {
#define TOPIC_KEY(id, name, type, value, minimum, broker_keys) TOPIC_##id,
#include "config/topic_keys.def"
#undef TOPIC_KEY
    TOPIC_KEY_COUNT
};

struct topic_key_info {
    const char *name;
    const char *value;
    int64_t minimum;
    enum config_type type;
    const char *broker_keys; /* comma-separated, the first that is set wins */
};

const struct topic_key_info *topic_key_info(enum topic_key key);
/* TOPIC_KEY_COUNT when it is none. */
enum topic_key topic_key_find(const char *name);

enum { TOPIC_CLEANUP_DELETE = 1, TOPIC_CLEANUP_COMPACT = 2 };
enum { TOPIC_CREATE_TIME = 0, TOPIC_LOG_APPEND_TIME = 1 };
enum { TOPIC_CODEC_PRODUCER = -1 }; /* else 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd */

/* What the storage engine and the partitions use. Times in ms, sizes in bytes. */
struct topic_config {
    int64_t segment_bytes;
    int64_t segment_index_bytes;
    int64_t segment_ms;
    int64_t segment_jitter_ms;
    int64_t index_interval_bytes;
    int64_t retention_ms;    /* -1: for ever */
    int64_t retention_bytes; /* -1: any */
    int64_t flush_messages;
    int64_t flush_ms;
    int64_t file_delete_delay_ms;
    int64_t message_timestamp_before_max_ms;
    int64_t message_timestamp_after_max_ms;
    int64_t producer_expiration_ms; /* the broker's producer.id.expiration.ms; 0: as the log was
                                       opened */
    int32_t max_message_bytes;
    int32_t min_insync_replicas;
    int32_t compression_codec; /* TOPIC_CODEC_PRODUCER or a codec */
    int32_t compression_level;
    int cleanup_policy; /* bits */
    int message_timestamp_type;
    bool unclean_leader_election;
};

/* `overrides` are the topic's own values; those that do not check are left out. */
void topic_config_build(const struct config *config, const struct config_pair *overrides, int count,
                        struct topic_config *out);

/* What the topic itself says for one key; NULL: nothing, or nothing that checks. */
const char *topic_config_own(const struct config_pair *pairs, int count, enum topic_key key);

/* The value in force for one key: the topic's own, or the broker's by its synonyms, or the default.
 * *source may be NULL. */
const char *topic_config_value(const struct config *config, const struct config_pair *overrides,
                               int count, enum topic_key key, char *scratch, size_t scratch_size,
                               enum config_source *source);

/* Check one topic key and value as CreateTopics and AlterConfigs do. ERR_INVALID_CONFIG. */
MUST_USE enum err topic_config_check(const char *name, const char *value, struct errmsg *msg);

/* Check all of a topic's own values, alone and together. ERR_INVALID_CONFIG. */
MUST_USE enum err topic_config_check_all(const struct config_pair *pairs, int count,
                                         struct errmsg *msg);
