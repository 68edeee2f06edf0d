/* DescribeConfigs: the values in force of topics, brokers and loggers, and where they come from.
 * Source: Kafka 3.9 in ZooKeeper mode.
 *
 * What topics set for themselves is read from ZooKeeper, as Kafka does: so whoever altered a topic
 * sees it at once, on any broker. When ZooKeeper cannot be asked, what this broker last heard must
 * do. What is asked for again is answered again, as in Kafka, but read once. Kafka's answer has no
 * bound, ours has: see DESCRIBE_ANSWER_MAX_BYTES. */
#include <stdlib.h>

#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/config_resource.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "api/names.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/loggers.h"
#include "config/synonyms.h"
#include "config/values.h"
#include "topics/topic_configs.h"

#define LOGGER "kafka.server.KafkaApis"

typedef struct describe_configs_response_describe_configs_result result_t;
typedef struct describe_configs_response_describe_configs_resource_result entry_t;
typedef struct describe_configs_response_describe_configs_synonym synonym_t;
typedef struct describe_configs_request_describe_configs_resource resource_t;

enum { SOURCE_BROKER_LOGGER = 6, TYPE_UNKNOWN = 0 };

struct describe_op;

/* A topic's own values, as ZooKeeper has them. */
struct topic_values {
    struct describe_op *op;
    const struct config_pair *pairs; /* in the arena */
    int count;
    bool read;
};

struct describe_op {
    struct control_call call;
    struct topic_values *topics; /* one for each resource of the request */
    const int32_t *first;        /* of each: where the request names it first */
    int32_t waiting;
};

/* One resource on its way into the answer. */
struct describing {
    struct req *req;
    const struct topic_values *topic;
    const struct config *config;
    const resource_t *wanted;
    result_t *result;
    bool synonyms;
    bool documentation;
    bool *keys; /* of a topic's keys or the broker's: is it wanted? */
};

/* Look at each name that is asked for once: a request may hold a great many. `find` gives a key's
 * place, `count` for none. */
static void mark_keys(struct describing *d, int count, int (*find)(const char *name))
{
    const resource_t *wanted = d->wanted;
    bool all = wanted->configuration_keys_count <= 0; /* null or empty */
    d->keys = req_array(d->req, bool, count + 1);
    for (int i = 0; i < count; i++) {
        d->keys[i] = all;
    }
    for (int32_t i = 0; i < wanted->configuration_keys_count; i++) {
        char name[128];
        struct str key = wanted->configuration_keys[i];
        if (key.size < sizeof(name)) {
            memcpy(name, key.ptr, key.size);
            name[key.size] = '\0';
            d->keys[find(name)] = true;
        }
    }
}

static int find_topic_key(const char *name)
{
    return (int)topic_key_find(name);
}

static int find_broker_key(const char *name)
{
    return (int)config_find(name);
}

/* For names of loggers: few. */
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

/* What is longer than a string can be is cut: a list in ZooKeeper may be. */
static struct str wire_text(const char *text)
{
    struct str s = str_of(text);
    s.size = s.size < CODEC_STRING_MAX ? s.size : CODEC_STRING_MAX;
    return s;
}

static struct str copy_text(struct describing *d, const char *text)
{
    return text == NULL ? STR_NULL : arena_str(&d->req->arena, wire_text(text));
}

/* ---- one entry ---- */

static entry_t *add_entry(struct describing *d, const char *name)
{
    entry_t *entry = &d->result->configs[d->result->configs_count++];
    codec_init(&describe_configs_response_describe_configs_resource_result_desc, entry);
    entry->name = copy_text(d, name);
    return entry;
}

/* `value` NULL: unset. Passwords are never shown. */
static void set_value(struct describing *d, entry_t *entry, enum config_type type,
                      const char *value)
{
    entry->config_type = (int8_t)type;
    entry->is_sensitive = type == CONFIG_PASSWORD;
    entry->value = STR_NULL;
    if (value != NULL && !entry->is_sensitive) {
        entry->value = wire_text(config_canonical(&d->req->arena, type, value));
    }
    entry->documentation =
        d->documentation ? str_of(config_documentation(entry->name.ptr)) : STR_NULL;
}

static void set_source(struct describing *d, entry_t *entry, int source)
{
    entry->config_source = (int8_t)source;
    entry->is_default = d->req->version == 0 && source == SOURCE_DEFAULT;
}

static void set_synonyms(struct describing *d, entry_t *entry,
                         const struct config_synonyms *synonyms)
{
    set_source(d, entry, (int)synonyms->source);
    if (!d->synonyms) {
        return;
    }
    entry->synonyms = req_array(d->req, synonym_t, synonyms->count);
    for (int i = 0; i < synonyms->count; i++) {
        const struct config_synonym *from = &synonyms->items[i];
        entry->synonyms[entry->synonyms_count++] = (synonym_t){
            .name = copy_text(d, from->name),
            .value = entry->is_sensitive ? STR_NULL : copy_text(d, from->value),
            .source = (int8_t)from->source,
        };
    }
}

/* ---- topics ---- */

static void describe_topic_key(struct describing *d, enum topic_key key,
                               const struct config_pair *own, int own_count)
{
    const struct topic_key_info *info = topic_key_info(key);
    char scratch[32];
    enum config_source source;
    struct config_synonyms synonyms;
    const char *value =
        topic_config_value(d->config, own, own_count, key, scratch, sizeof(scratch), &source);
    entry_t *entry = add_entry(d, info->name);
    set_value(d, entry, info->type, value);
    config_synonyms_topic(d->config, key, source == SOURCE_TOPIC ? entry->value.ptr : NULL,
                          &synonyms);
    set_synonyms(d, entry, &synonyms);
}

static enum err describe_topic(struct describing *d, struct errmsg *msg)
{
    const struct meta *meta = meta_reader_now(&d->req->netloop->meta);
    enum err err = config_resource_topic(meta, d->wanted->resource_name, msg);
    if (err != ERR_OK) {
        if (err == ERR_UNKNOWN_TOPIC_OR_PARTITION) {
            errmsg_set(msg, "%s", "");
        }
        return err;
    }
    int count = d->topic->count;
    const struct config_pair *own = d->topic->pairs;
    struct config_pair *heard = NULL;
    if (!d->topic->read) {
        heard =
            topic_configs_pairs(d->req->broker->topic_configs, d->wanted->resource_name, &count);
        own = heard;
    }
    d->result->configs = req_array(d->req, entry_t, TOPIC_KEY_COUNT);
    mark_keys(d, TOPIC_KEY_COUNT, find_topic_key);
    for (int key = 0; key < TOPIC_KEY_COUNT; key++) {
        if (d->keys[key]) {
            describe_topic_key(d, (enum topic_key)key, own, count);
        }
    }
    mem_free(heard);
    return ERR_OK;
}

/* ---- brokers ---- */

static void describe_broker_key(struct describing *d, enum config_key key, bool cluster)
{
    const struct config_info *info = config_info(key);
    struct config_synonyms synonyms;
    entry_t *entry = add_entry(d, info->name);
    set_value(d, entry, info->type,
              cluster ? config_layer(d->config, key, SOURCE_DYNAMIC_DEFAULT)
                      : config_str(d->config, key));
    entry->read_only = info->mode == CONFIG_STATIC;
    config_synonyms_broker(d->config, key, cluster, &synonyms);
    set_synonyms(d, entry, &synonyms);
}

/* A key that is no broker key itself: of one listener, of a plug-in, or misspelt; as one layer sets
 * it. */
struct extra {
    struct str name;
    const char *value;
    enum config_source source;
};

/* By name, then the source that counts most. */
static int by_name_and_source(const void *a, const void *b)
{
    const struct extra *x = a;
    const struct extra *y = b;
    int order = str_cmp(x->name, y->name);
    return order != 0 ? order : (int)x->source - (int)y->source;
}

static int by_name(const void *name, const void *extra)
{
    return str_cmp(*(const struct str *)name, ((const struct extra *)extra)->name);
}

static struct extra *sorted_extras(struct describing *d, bool cluster, int *count)
{
    int all = config_extras_count(d->config);
    struct extra *extras = req_array(d->req, struct extra, all + 1);
    *count = 0;
    for (int i = 0; i < all; i++) {
        enum config_source source;
        struct config_pair pair = config_extra_at(d->config, i, &source);
        if (!cluster || source == SOURCE_DYNAMIC_DEFAULT) {
            extras[(*count)++] = (struct extra){str_of(pair.name), pair.value, source};
        }
    }
    qsort(extras, (size_t)*count, sizeof(*extras), by_name_and_source);
    return extras;
}

/* How many from this one on have its name. */
static int run_of(const struct extra *first, int left)
{
    int count = 1;
    while (count < left && str_eq(first[count].name, first->name)) {
        count++;
    }
    return count;
}

/* Which are wanted, told at any of a name's: as in mark_keys() there may be a great many names. */
static bool *mark_extras(struct describing *d, const struct extra *extras, int count)
{
    const resource_t *wanted = d->wanted;
    bool *marks = req_array(d->req, bool, count + 1);
    for (int i = 0; i < count && wanted->configuration_keys_count <= 0; i++) {
        marks[i] = true;
    }
    for (int32_t i = 0; i < wanted->configuration_keys_count && count > 0; i++) {
        const struct extra *found = bsearch(&wanted->configuration_keys[i], extras, (size_t)count,
                                            sizeof(*extras), by_name);
        if (found != NULL) {
            marks[found - extras] = true;
        }
    }
    return marks;
}

/* `count` layers set it. What it holds may be a secret, so the value is not shown, unless it is a
 * listener's form of a known key. */
static void describe_extra(struct describing *d, const struct extra *layers, int count)
{
    struct config_synonyms synonyms = {.source = layers->source};
    enum config_key base = config_listener_base(layers->name.ptr);
    entry_t *entry = add_entry(d, layers->name.ptr);
    if (base < KEY_COUNT) {
        set_value(d, entry, config_info(base)->type, layers->value);
    } else {
        entry->config_type = TYPE_UNKNOWN;
        entry->is_sensitive = true;
        entry->value = STR_NULL;
        entry->documentation = STR_NULL;
    }
    entry->read_only = true;
    for (int i = 0; i < count; i++) {
        synonyms.items[synonyms.count++] =
            (struct config_synonym){layers[i].name.ptr, layers[i].value, layers[i].source};
    }
    set_synonyms(d, entry, &synonyms);
}

static void describe_extras(struct describing *d, bool cluster)
{
    int count;
    const struct extra *extras = sorted_extras(d, cluster, &count);
    const bool *marks = mark_extras(d, extras, count);
    for (int i = 0; i < count;) {
        int run = run_of(&extras[i], count - i);
        bool wanted = false;
        for (int j = i; j < i + run; j++) {
            wanted = wanted || marks[j];
        }
        if (wanted) {
            describe_extra(d, &extras[i], run);
        }
        i += run;
    }
}

/* `cluster`: of all brokers, which is what was set dynamically for them. */
static bool is_told(const struct describing *d, enum config_key key, bool cluster)
{
    if (cluster) {
        return config_layer(d->config, key, SOURCE_DYNAMIC_DEFAULT) != NULL;
    }
    return config_is_set(d->config, key) || !config_is_internal(key);
}

static void describe_broker(struct describing *d, bool cluster)
{
    d->result->configs = req_array(d->req, entry_t, KEY_COUNT + config_extras_count(d->config));
    mark_keys(d, KEY_COUNT, find_broker_key);
    for (int i = 0; i < KEY_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        if (d->keys[i] && is_told(d, key, cluster)) {
            describe_broker_key(d, key, cluster);
        }
    }
    describe_extras(d, cluster);
}

static void describe_loggers(struct describing *d)
{
    d->result->configs = req_array(d->req, entry_t, loggers_count());
    for (int i = 0; i < loggers_count(); i++) {
        const char *name = loggers_name(i);
        if (is_wanted(d, name)) {
            entry_t *entry = add_entry(d, name);
            entry->value = str_of(log_level_name(log_get_level(name)));
            set_source(d, entry, SOURCE_BROKER_LOGGER);
        }
    }
}

/* ---- one resource ---- */

static enum err describe(struct describing *d, struct errmsg *msg)
{
    struct str name = d->wanted->resource_name;
    enum err err;
    switch (d->wanted->resource_type) {
    case RESOURCE_TOPIC:
        return describe_topic(d, msg);
    case RESOURCE_BROKER:
        err = config_resource_broker(d->req->broker, name, true, msg);
        if (err == ERR_OK) {
            describe_broker(d, name.size == 0);
        }
        return err;
    case RESOURCE_BROKER_LOGGER:
        err = config_resource_broker(d->req->broker, name, false, msg);
        if (err == ERR_OK) {
            describe_loggers(d);
        }
        return err;
    default: /* client metrics: not in ZooKeeper mode, where Kafka has no better answer either */
        errmsg_set(msg, "Client metrics are not available in ZooKeeper mode.");
        return name.size == 0 ? ERR_INVALID_REQUEST : ERR_UNKNOWN_SERVER_ERROR;
    }
}

static bool type_known(int8_t type)
{
    return type == RESOURCE_TOPIC || type == RESOURCE_BROKER || type == RESOURCE_BROKER_LOGGER ||
           type == RESOURCE_CLIENT_METRICS;
}

/* As in Kafka a resource of unknown type spoils the whole request. */
static bool has_unknown_type(const struct describe_configs_request *request, int8_t *type)
{
    for (int32_t i = 0; i < request->resources_count; i++) {
        *type = request->resources[i].resource_type;
        if (!type_known(*type)) {
            return true;
        }
    }
    return false;
}

/* The connection may have gone by now. */
static void refuse_size(struct req *req)
{
    static struct log_limit limit;
    const struct describe_configs_request *request = req->body;
    log_limited(&limit, LOG_WARN, LOGGER, "an answer about configurations is too large",
                "client %.*s asks for %d resources at once, which takes more than %d bytes; "
                "connection closed.",
                STR_ARG(req->client_id), request->resources_count, DESCRIBE_ANSWER_MAX_BYTES);
    req_close(req);
}

static void answer(struct req *req, const struct describe_op *op)
{
    const struct describe_configs_request *request = req->body;
    struct describe_configs_response response;
    codec_init(&describe_configs_response_desc, &response);
    response.results = codec_array(&describe_configs_response_describe_configs_result_desc,
                                   &req->arena, request->resources_count);
    int8_t bad_type;
    bool unknown = has_unknown_type(request, &bad_type);
    const struct config *config = config_reader_now(&req->netloop->config); /* the same for all */
    size_t size_before = arena_size(&req->arena);
    for (int32_t i = 0; i < request->resources_count; i++) {
        if (arena_size(&req->arena) - size_before > DESCRIBE_ANSWER_MAX_BYTES) {
            refuse_size(req);
            return;
        }
        struct describing d = {
            .req = req,
            .topic = &op->topics[op->first[i]],
            .config = config,
            .wanted = &request->resources[i],
            .result = &response.results[response.results_count++],
            .synonyms = request->include_synonyms,
            .documentation = request->include_documentation,
        };
        struct errmsg msg = {""};
        enum err err = ERR_INVALID_REQUEST;
        if (unknown) {
            errmsg_set(&msg, "Unexpected resource type %d", bad_type);
        } else {
            err = describe(&d, &msg);
        }
        d.result->error_code = err_wire(err);
        d.result->error_message = msg.text[0] == '\0' ? STR_NULL : copy_text(&d, msg.text);
        d.result->resource_type = d.wanted->resource_type;
        d.result->resource_name = d.wanted->resource_name;
    }
    req_reply(req, &response);
}

/* Type and name in one text, to find what is asked for again. */
static const int32_t *resources_first(struct req *req)
{
    const struct describe_configs_request *request = req->body;
    struct str *names = req_array(req, struct str, request->resources_count + 1);
    for (int32_t i = 0; i < request->resources_count; i++) {
        const resource_t *wanted = &request->resources[i];
        names[i] = str_of(arena_printf(&req->arena, "%d %.*s", wanted->resource_type,
                                       STR_ARG(wanted->resource_name)));
    }
    return names_first(&req->arena, names, request->resources_count);
}

/* ---- what topics set for themselves, on the control loop ---- */

static void settle(struct describe_op *op)
{
    if (--op->waiting == 0) {
        control_call_finish(&op->call);
    }
}

static void on_config(void *arg, enum err err, const struct znode_config *config, int32_t version)
{
    struct topic_values *topic = arg;
    struct arena *arena = &topic->op->call.req->arena;
    (void)version;
    if (err == ERR_OK) {
        struct config_pair *pairs =
            arena_array(arena, struct config_pair, (size_t)config->pairs_count + 1);
        for (int32_t i = 0; i < config->pairs_count; i++) {
            pairs[i] = (struct config_pair){arena_cstr(arena, config->pairs[i].key),
                                            arena_cstr(arena, config->pairs[i].value)};
        }
        topic->pairs = pairs;
        topic->count = config->pairs_count;
        topic->read = true;
    }
    settle(topic->op);
}

static void on_control(struct control_call *call)
{
    struct describe_op *op = container_of(call, struct describe_op, call);
    const struct describe_configs_request *request = call->req->body;
    struct admin *admin = admin_service_admin(call->req->broker->admin);
    struct meta *meta = meta_cell_get(&call->req->broker->meta);
    op->waiting = 1;
    for (int32_t i = 0; i < request->resources_count; i++) {
        struct str name = request->resources[i].resource_name;
        op->topics[i].op = op;
        /* Topics that there are: for others nothing is read. */
        if (request->resources[i].resource_type == RESOURCE_TOPIC && op->first[i] == i &&
            meta_find(meta, name) != NULL) {
            op->waiting++;
            admin_read_config(admin, "topics", name, on_config, &op->topics[i]);
        }
    }
    meta_put(meta);
    settle(op);
}

static void on_back(struct control_call *call)
{
    struct describe_op *op = container_of(call, struct describe_op, call);
    answer(call->req, op);
}

void api_describe_configs(struct req *req)
{
    const struct describe_configs_request *request = req->body;
    struct describe_op *op = req_new(req, struct describe_op);
    bool any = false;
    op->topics = req_array(req, struct topic_values, request->resources_count + 1);
    op->first = resources_first(req);
    for (int32_t i = 0; i < request->resources_count; i++) {
        any = any || request->resources[i].resource_type == RESOURCE_TOPIC;
    }
    if (any) {
        control_call_start(&op->call, req, on_control, on_back);
    } else {
        answer(req, op);
    }
}
