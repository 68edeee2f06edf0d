/* synonyms.h: where a value comes from: what each layer of the configuration says for a key and for
 * the keys that stand in for it (log.retention.hours for log.retention.ms), as DescribeConfigs and
 * CreateTopics tell it.
 *
 * Threads: any. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "config/topic_config.h"

/* Borrowed from the configuration, the topic's own values and the tables of keys. */
struct config_synonym {
    const char *name;
    const char *value;
    enum config_source source;
};

/* Three keys in four layers, and the topic's own value. */
enum { CONFIG_SYNONYMS_MAX = 16 };

struct config_synonyms {
    struct config_synonym items[CONFIG_SYNONYMS_MAX];
    int count;
    /* Of the first; SOURCE_DEFAULT when there is none. */
    enum config_source source;
};

/* In the order in which they count. As in Kafka, what comes before the first entry of the key's own
 * name is left out: a topic's retention that log.retention.hours decides has no synonyms, and
 * counts as a default. `own`: the topic's value, NULL when it sets none. */
void config_synonyms_topic(const struct config *config, enum topic_key key, const char *own,
                           struct config_synonyms *out);

/* `cluster`: only what is set for all brokers. */
void config_synonyms_broker(const struct config *config, enum config_key key, bool cluster,
                            struct config_synonyms *out);
