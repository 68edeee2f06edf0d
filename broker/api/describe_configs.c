/* DescribeConfigs: the values in force of topics and brokers, and where they come from. Source:
 * kafka-zk-mode facts 8.8 (53-55). */
#include <stdlib.h>

#include "api/broker.h"
#include "api/config_resource.h"
#include "api/handlers.h"
#include "base/mem.h"
#include "topics/topic_configs.h"

typedef struct describe_configs_response_describe_configs_result result_t;
typedef struct describe_configs_response_describe_configs_resource_result entry_t;
typedef struct describe_configs_response_describe_configs_synonym synonym_t;
typedef struct describe_configs_request_describe_configs_resource resource_t;

enum { SYNONYM_KEYS_MAX = 3, SYNONYM_LAYERS = 4 };

/* One resource on its way into the answer. */
struct describing {
    struct req *req;
    const struct config *config;
    const resource_t *wanted;
    result_t *result;
    bool synonyms;
};

static bool is_wanted(const struct describing *d, const char *name)
{
    const resource_t *wanted = d->wanted;
    for (int32_t i = 0; i < wanted->configuration_keys_count; i++) {
        if (str_is(wanted->configuration_keys[i], name)) {
            return true;
        }
    }
    return wanted->configuration_keys_count <= 0; /* null or empty: all */
}

static struct str copy_text(struct describing *d, const char *text)
{
    return text == NULL ? STR_NULL : arena_str(&d->req->arena, str_of(text));
}

static entry_t *add_entry(struct describing *d, const char *name, enum config_type type,
                          const char *value)
{
    entry_t *entry = &d->result->configs[d->result->configs_count++];
    codec_init(&describe_configs_response_describe_configs_resource_result_desc, entry);
    entry->name = copy_text(d, name);
    entry->config_type = (int8_t)type;
    entry->is_sensitive = type == CONFIG_PASSWORD;
    entry->value = entry->is_sensitive ? STR_NULL : copy_text(d, value);
    entry->synonyms = req_array(d->req, synonym_t, SYNONYM_KEYS_MAX * SYNONYM_LAYERS + 1);
    return entry;
}

static void add_synonym(struct describing *d, entry_t *entry, const char *name, const char *value,
                        enum config_source source)
{
    entry->synonyms[entry->synonyms_count++] = (synonym_t){
        .name = copy_text(d, name),
        .value = entry->is_sensitive ? STR_NULL : copy_text(d, value),
        .source = (int8_t)source,
    };
}

/* What each layer says for a broker key and those that stand in for it, in the order in which they
 * count. As in Kafka the list begins with the key's own name. */
static void add_broker_synonyms(struct describing *d, entry_t *entry, const char *keys,
                                bool only_cluster)
{
    enum config_key chain[SYNONYM_KEYS_MAX];
    int count = 0;
    for (const char *at = keys; *at != '\0' && count < SYNONYM_KEYS_MAX;) {
        size_t size = strcspn(at, ",");
        char *name = arena_cstr(&d->req->arena, (struct str){at, size});
        enum config_key key = config_find(name);
        if (key < KEY_COUNT) {
            chain[count++] = key;
        }
        at += size + (at[size] == ',');
    }
    bool begun = entry->synonyms_count > 0;
    for (int source = SOURCE_DYNAMIC_BROKER; source <= SOURCE_DEFAULT; source++) {
        for (int i = 0; i < count; i++) {
            const char *value = config_layer(d->config, chain[i], (enum config_source)source);
            if (value != NULL && (!only_cluster || source == SOURCE_DYNAMIC_DEFAULT) &&
                (begun || i == 0)) {
                begun = true;
                add_synonym(d, entry, config_info(chain[i])->name, value,
                            (enum config_source)source);
            }
        }
    }
}

static void finish_entry(struct describing *d, entry_t *entry)
{
    enum config_source source =
        entry->synonyms_count > 0 ? (enum config_source)entry->synonyms[0].source : SOURCE_DEFAULT;
    entry->config_source = (int8_t)source;
    entry->is_default = d->req->version == 0 && source == SOURCE_DEFAULT;
    if (!d->synonyms) {
        entry->synonyms_count = 0;
    }
}

static void describe_topic(struct describing *d)
{
    int count;
    struct config_pair *pairs =
        topic_configs_pairs(d->req->broker->topic_configs, d->wanted->resource_name, &count);
    d->result->configs = req_array(d->req, entry_t, TOPIC_KEY_COUNT);
    for (int key = 0; key < TOPIC_KEY_COUNT; key++) {
        const struct topic_key_info *info = topic_key_info((enum topic_key)key);
        if (!is_wanted(d, info->name)) {
            continue;
        }
        char scratch[32];
        enum config_source source;
        const char *value = topic_config_value(d->config, pairs, count, (enum topic_key)key,
                                               scratch, sizeof(scratch), &source);
        entry_t *entry = add_entry(d, info->name, info->type, value);
        if (source == SOURCE_TOPIC) {
            add_synonym(d, entry, info->name, value, SOURCE_TOPIC);
        }
        add_broker_synonyms(d, entry, info->broker_keys, false);
        finish_entry(d, entry);
    }
    mem_free(pairs);
}

/* The keys that stand in for a broker key, itself among them. */
static const char *broker_chain(const char *name)
{
    static const char *const chains[][2] = {
        {"log.retention.", "log.retention.ms,log.retention.minutes,log.retention.hours"},
        {"log.roll.jitter.", "log.roll.jitter.ms,log.roll.jitter.hours"},
        {"log.roll.", "log.roll.ms,log.roll.hours"},
        {"log.flush.interval.ms", "log.flush.interval.ms,log.flush.scheduler.interval.ms"},
    };
    for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        if (strncmp(name, chains[i][0], strlen(chains[i][0])) == 0 &&
            strstr(chains[i][1], name) != NULL) {
            return chains[i][1];
        }
    }
    return name;
}

/* `cluster`: the values for all brokers, which are those that were set dynamically. */
static void describe_broker(struct describing *d, bool cluster)
{
    d->result->configs = req_array(d->req, entry_t, KEY_COUNT);
    for (int i = 0; i < KEY_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        const struct config_info *info = config_info(key);
        const char *dynamic = config_layer(d->config, key, SOURCE_DYNAMIC_DEFAULT);
        if (!is_wanted(d, info->name) || (cluster && dynamic == NULL)) {
            continue;
        }
        entry_t *entry =
            add_entry(d, info->name, info->type, cluster ? dynamic : config_str(d->config, key));
        entry->read_only = info->mode == CONFIG_STATIC;
        add_broker_synonyms(d, entry, broker_chain(info->name), cluster);
        finish_entry(d, entry);
    }
}

static enum err describe(struct describing *d, struct errmsg *msg)
{
    const struct meta *meta = meta_reader_now(&d->req->netloop->meta);
    struct str name = d->wanted->resource_name;
    enum err err = config_resource_check(d->req->broker, meta, d->wanted->resource_type, name, msg);
    if (err != ERR_OK) {
        return err;
    }
    if (d->wanted->resource_type == RESOURCE_TOPIC) {
        describe_topic(d);
    } else {
        describe_broker(d, name.size == 0);
    }
    return ERR_OK;
}

void api_describe_configs(struct req *req)
{
    const struct describe_configs_request *request = req->body;
    struct describe_configs_response response;
    codec_init(&describe_configs_response_desc, &response);
    response.results = req_array(req, result_t, request->resources_count);
    response.results_count = request->resources_count;
    for (int32_t i = 0; i < request->resources_count; i++) {
        struct describing d = {
            .req = req,
            .config = config_reader_now(&req->netloop->config),
            .wanted = &request->resources[i],
            .result = &response.results[i],
            .synonyms = request->include_synonyms,
        };
        struct errmsg msg = {""};
        codec_init(&describe_configs_response_describe_configs_result_desc, d.result);
        enum err err = describe(&d, &msg);
        d.result->error_code = err_wire(err);
        d.result->error_message = err == ERR_OK ? STR_NULL : copy_text(&d, msg.text);
        d.result->resource_type = d.wanted->resource_type;
        d.result->resource_name = d.wanted->resource_name;
    }
    req_reply(req, &response);
}
