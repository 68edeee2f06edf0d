#include "config/synonyms.h"

#include <stdio.h>
#include <string.h>

#include "base/must.h"

enum { CHAIN_MAX = 3, NAME_SIZE = 96 };

/* Broker keys that stand in for each other, the first that is set counts. */
static const char *const chains[] = {
    "log.retention.ms,log.retention.minutes,log.retention.hours",
    "log.roll.jitter.ms,log.roll.jitter.hours",
    "log.roll.ms,log.roll.hours",
    "log.flush.interval.ms,log.flush.scheduler.interval.ms",
};

struct chain {
    enum config_key keys[CHAIN_MAX];
    int count;
};

static void chain_parse(const char *names, struct chain *chain)
{
    char name[NAME_SIZE];
    chain->count = 0;
    for (const char *at = names; *at != '\0';) {
        size_t size = strcspn(at, ",");
        snprintf(name, sizeof(name), "%.*s", (int)size, at);
        enum config_key key = config_find(name);
        if (key < KEY_COUNT) {
            must(chain->count < CHAIN_MAX);
            chain->keys[chain->count++] = key;
        }
        at += size + (at[size] == ',');
    }
}

static bool chain_has(const struct chain *chain, enum config_key key)
{
    for (int i = 0; i < chain->count; i++) {
        if (chain->keys[i] == key) {
            return true;
        }
    }
    return false;
}

static void add(struct config_synonyms *out, const char *name, const char *value,
                enum config_source source)
{
    must(out->count < CONFIG_SYNONYMS_MAX);
    out->items[out->count++] = (struct config_synonym){name, value, source};
}

/* `key` is the one described: the list begins where its own name first occurs. */
static void add_chain(struct config_synonyms *out, const struct config *config,
                      const struct chain *chain, enum config_key key, bool cluster)
{
    bool begun = false;
    for (int source = SOURCE_DYNAMIC_BROKER; source <= SOURCE_DEFAULT; source++) {
        for (int i = 0; i < chain->count; i++) {
            enum config_key at = chain->keys[i];
            const char *value = config_layer(config, at, (enum config_source)source);
            if (value == NULL) {
                continue;
            }
            begun = begun || at == key;
            if (begun && (!cluster || source == SOURCE_DYNAMIC_DEFAULT)) {
                add(out, config_info(at)->name, value, (enum config_source)source);
            }
        }
    }
}

static void finish(struct config_synonyms *out)
{
    out->source = out->count > 0 ? out->items[0].source : SOURCE_DEFAULT;
}

void config_synonyms_topic(const struct config *config, enum topic_key key, const char *own,
                           struct config_synonyms *out)
{
    struct chain chain;
    const struct topic_key_info *info = topic_key_info(key);
    out->count = 0;
    if (own != NULL) {
        add(out, info->name, own, SOURCE_TOPIC);
    }
    chain_parse(info->broker_keys, &chain);
    if (chain.count > 0) {
        add_chain(out, config, &chain, chain.keys[0], false);
    }
    finish(out);
}

void config_synonyms_broker(const struct config *config, enum config_key key, bool cluster,
                            struct config_synonyms *out)
{
    struct chain chain = {{key}, 1};
    for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        struct chain other;
        chain_parse(chains[i], &other);
        if (chain_has(&other, key)) {
            chain = other;
        }
    }
    out->count = 0;
    add_chain(out, config, &chain, key, cluster);
    finish(out);
}
