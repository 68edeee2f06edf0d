/* znode_decode.c: Kafka's JSON -> structs, through jansson. Strict in what matters: types, ranges,
 * lists of distinct ids; everything else is ignored. */
#include <errno.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/must.h"
#include "znode/znode.h"

/* More replicas than any cluster has brokers for. */
enum { IDS_MAX = 1000 };

/* A document being read: what it is called in errors, where its parts go. */
struct reader {
    const char *what;
    json_t *root;
    struct arena *arena;
    struct errmsg *msg;
};

static enum err bad(const struct reader *r, const char *key, const char *rule)
{
    errmsg_set(r->msg, "%s: \"%s\" %s", r->what, key, rule);
    return ERR_MALFORMED;
}

/* On success the root is an object, to be released with reader_close(). */
static enum err reader_open(struct reader *r, const char *what, struct arena *arena,
                            struct bytes data, struct errmsg *msg)
{
    json_error_t error;
    *r = (struct reader){what, NULL, arena, msg};
    if (data.data == NULL || data.size == 0 || data.size > ZNODE_SIZE_MAX) {
        errmsg_set(msg, "%s: %zu bytes are no document", what, data.size);
        return ERR_MALFORMED;
    }
    r->root = json_loadb((const char *)data.data, data.size, 0, &error);
    if (r->root == NULL) {
        errmsg_set(msg, "%s: %s at byte %d", what, error.text, error.position);
        return ERR_MALFORMED;
    }
    if (!json_is_object(r->root)) {
        errmsg_set(msg, "%s: not a JSON object", what);
        json_decref(r->root);
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

static enum err reader_close(struct reader *r, enum err err)
{
    json_decref(r->root);
    return err;
}

static enum err int32_of(const struct reader *r, const char *key, const json_t *value,
                         int32_t least, int32_t *out)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : INT64_MIN;
    if (number < least || number > INT32_MAX) {
        return bad(r, key, "is not a number in range");
    }
    *out = (int32_t)number;
    return ERR_OK;
}

static enum err get_int32(const struct reader *r, const char *key, int32_t least, int32_t *out)
{
    return int32_of(r, key, json_object_get(r->root, key), least, out);
}

/* Absent: `otherwise`. */
static enum err get_int32_or(const struct reader *r, const char *key, int32_t least,
                             int32_t otherwise, int32_t *out)
{
    const json_t *value = json_object_get(r->root, key);
    *out = otherwise;
    return value != NULL ? int32_of(r, key, value, least, out) : ERR_OK;
}

static struct str str_of_json(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

static enum err get_str(const struct reader *r, const char *key, struct str *out)
{
    const json_t *value = json_object_get(r->root, key);
    if (!json_is_string(value)) {
        return bad(r, key, "is not a string");
    }
    *out = arena_str(r->arena, str_of_json(value));
    return ERR_OK;
}

static bool parse_int64(struct str s, int64_t *out)
{
    char *end;
    if (s.ptr == NULL || s.size == 0 || s.size > 20 || (s.ptr[0] != '-' && s.ptr[0] < '0')) {
        return false;
    }
    errno = 0;
    *out = strtoll(s.ptr, &end, 10); /* jansson's strings end with NUL */
    return errno == 0 && end == s.ptr + s.size;
}

/* A number kept as a string. */
static enum err get_int64_text(const struct reader *r, const char *key, int64_t *out)
{
    const json_t *value = json_object_get(r->root, key);
    if (!json_is_string(value) || !parse_int64(str_of_json(value), out)) {
        return bad(r, key, "is not a number in a string");
    }
    return ERR_OK;
}

/* When it registered, was elected, ...: only people read it; anything odd counts as 0. */
static int64_t get_timestamp(const struct reader *r)
{
    const json_t *value = json_object_get(r->root, "timestamp");
    int64_t ms;
    return json_is_string(value) && parse_int64(str_of_json(value), &ms) ? ms : 0;
}

/* A list of distinct broker ids. */
static enum err ids_of(const struct reader *r, const char *key, const json_t *value,
                       struct znode_ids *out)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count > IDS_MAX) {
        return bad(r, key, "is not a list of broker ids");
    }
    int32_t *ids = arena_array(r->arena, int32_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        enum err err = int32_of(r, key, json_array_get(value, i), 0, &ids[i]);
        if (err != ERR_OK) {
            return err;
        }
        for (size_t j = 0; j < i; j++) {
            if (ids[j] == ids[i]) {
                return bad(r, key, "names a broker twice");
            }
        }
    }
    *out = (struct znode_ids){ids, (int32_t)count};
    return ERR_OK;
}

/* ---- Brokers. */

/* "LISTENER://host:port", the host of an IPv6 address in brackets. */
static bool parse_endpoint(struct str text, struct znode_endpoint *out)
{
    const char *slashes = memmem(text.ptr, text.size, "://", 3);
    const char *colon = memrchr(text.ptr, ':', text.size);
    int64_t port;
    if (slashes == NULL || colon == NULL || colon < slashes + 3) {
        return false;
    }
    const char *end = text.ptr + text.size;
    if (!parse_int64((struct str){colon + 1, (size_t)(end - colon - 1)}, &port) || port < -1 ||
        port > 65535) {
        return false;
    }
    out->listener = (struct str){text.ptr, (size_t)(slashes - text.ptr)};
    out->host = (struct str){slashes + 3, (size_t)(colon - slashes - 3)};
    out->port = (int32_t)port;
    if (out->host.size >= 2 && out->host.ptr[0] == '[' && colon[-1] == ']') {
        out->host = (struct str){out->host.ptr + 1, out->host.size - 2};
    }
    return out->listener.size > 0;
}

/* The protocol of a listener: from the map, or, in versions without one, by its name. */
static bool find_security(const json_t *map, struct znode_endpoint *endpoint)
{
    if (map == NULL) {
        return znode_security_parse(endpoint->listener, &endpoint->security);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)map, key, value)
    {
        if (str_is(endpoint->listener, key)) {
            return json_is_string(value) &&
                   znode_security_parse(str_of_json(value), &endpoint->security);
        }
    }
    return false;
}

static enum err read_endpoints(const struct reader *r, const json_t *list, const json_t *map,
                               struct znode_broker *broker)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > IDS_MAX) {
        return bad(r, "endpoints", "is not a list of addresses");
    }
    struct znode_endpoint *endpoints = arena_array(r->arena, struct znode_endpoint, count + 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item) ||
            !parse_endpoint(arena_str(r->arena, str_of_json(item)), &endpoints[i])) {
            return bad(r, "endpoints", "holds something that is not LISTENER://host:port");
        }
        if (!find_security(map, &endpoints[i])) {
            return bad(r, "listener_security_protocol_map", "lacks a listener");
        }
    }
    broker->endpoints = endpoints;
    broker->endpoints_count = (int32_t)count;
    return ERR_OK;
}

/* Version 1: one address, in "host" and "port". */
static enum err read_single_endpoint(const struct reader *r, struct znode_broker *broker)
{
    struct znode_endpoint *endpoint = arena_new(r->arena, struct znode_endpoint);
    enum err err = get_str(r, "host", &endpoint->host);
    if (err == ERR_OK) {
        err = get_int32(r, "port", -1, &endpoint->port);
    }
    endpoint->listener = STR("PLAINTEXT");
    broker->endpoints = endpoint;
    broker->endpoints_count = 1;
    return err;
}

static enum err read_broker(const struct reader *r, struct znode_broker *broker)
{
    int32_t version;
    enum err err = get_int32(r, "version", 1, &version);
    if (err != ERR_OK) {
        return err;
    }
    const json_t *map = json_object_get(r->root, "listener_security_protocol_map");
    if (map != NULL && !json_is_object(map)) {
        return bad(r, "listener_security_protocol_map", "is not an object");
    }
    if (version == 1) {
        err = read_single_endpoint(r, broker);
    } else {
        err = read_endpoints(r, json_object_get(r->root, "endpoints"), map, broker);
    }
    if (err == ERR_OK) {
        err = get_int32_or(r, "jmx_port", INT32_MIN, -1, &broker->jmx_port);
    }
    broker->timestamp_ms = get_timestamp(r);
    const json_t *rack = json_object_get(r->root, "rack");
    if (json_is_string(rack)) {
        broker->rack = arena_str(r->arena, str_of_json(rack));
    }
    broker->unclean = json_is_true(json_object_get(r->root, "unclean_start"));
    return err;
}

enum err znode_broker_decode(struct arena *arena, struct bytes data, struct znode_broker *broker,
                             struct errmsg *msg)
{
    struct reader r;
    *broker = (struct znode_broker){.jmx_port = -1};
    enum err err = reader_open(&r, "broker registration", arena, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_broker(&r, broker));
}

/* ---- Topics. */

static int compare_partitions(const void *a, const void *b)
{
    int32_t left = ((const struct znode_partition *)a)->index;
    int32_t right = ((const struct znode_partition *)b)->index;
    return (left > right) - (left < right);
}

static bool parse_partition(const char *key, int32_t *out)
{
    int64_t number;
    bool canonical = key[0] != '\0' && (key[0] != '0' || key[1] == '\0');
    if (!canonical || !parse_int64(str_of(key), &number) || number < 0 || number > INT32_MAX) {
        return false;
    }
    *out = (int32_t)number;
    return true;
}

static enum err read_partitions(const struct reader *r, const json_t *map,
                                struct znode_topic *topic)
{
    if (!json_is_object(map)) {
        return bad(r, "partitions", "is not an object");
    }
    size_t count = json_object_size(map);
    struct znode_partition *partitions = arena_array(r->arena, struct znode_partition, count + 1);
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach((json_t *)map, key, value)
    {
        if (!parse_partition(key, &partitions[i].index)) {
            return bad(r, key, "is not a partition number");
        }
        enum err err = ids_of(r, key, value, &partitions[i].replicas);
        if (err != ERR_OK) {
            return err;
        }
        i++;
    }
    qsort(partitions, count, sizeof(*partitions), compare_partitions);
    topic->partitions = partitions;
    topic->partitions_count = (int32_t)count;
    return ERR_OK;
}

/* "adding_replicas" and "removing_replicas": lists for some of the partitions. */
static enum err read_moves(const struct reader *r, const char *name, size_t offset,
                           struct znode_topic *topic)
{
    const json_t *map = json_object_get(r->root, name);
    const char *key;
    json_t *value;
    if (map == NULL) {
        return ERR_OK;
    }
    if (!json_is_object(map)) {
        return bad(r, name, "is not an object");
    }
    json_object_foreach((json_t *)map, key, value)
    {
        struct znode_partition wanted;
        struct znode_ids ids;
        if (!parse_partition(key, &wanted.index)) {
            return bad(r, name, "holds something that is not a partition number");
        }
        enum err err = ids_of(r, name, value, &ids);
        if (err != ERR_OK) {
            return err;
        }
        void *found = bsearch(&wanted, topic->partitions, (size_t)topic->partitions_count,
                              sizeof(wanted), compare_partitions);
        if (found != NULL) {
            memcpy((char *)found + offset, &ids, sizeof(ids));
        }
    }
    return ERR_OK;
}

static enum err read_topic(const struct reader *r, struct znode_topic *topic)
{
    const json_t *id = json_object_get(r->root, "topic_id");
    if (id != NULL && (!json_is_string(id) || !uuid_parse(str_of_json(id), &topic->id))) {
        return bad(r, "topic_id", "is not an id of 22 characters");
    }
    enum err err = read_partitions(r, json_object_get(r->root, "partitions"), topic);
    if (err == ERR_OK) {
        err = read_moves(r, "adding_replicas", offsetof(struct znode_partition, adding), topic);
    }
    if (err == ERR_OK) {
        err = read_moves(r, "removing_replicas", offsetof(struct znode_partition, removing), topic);
    }
    return err;
}

enum err znode_topic_decode(struct arena *arena, struct bytes data, struct znode_topic *topic,
                            struct errmsg *msg)
{
    struct reader r;
    *topic = (struct znode_topic){0};
    enum err err = reader_open(&r, "topic", arena, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_topic(&r, topic));
}

/* ---- States. */

/* Whoever reads one writes the next. */
static enum err get_epoch(const struct reader *r, const char *key, int32_t *out)
{
    enum err err = get_int32(r, key, 0, out);
    return err == ERR_OK && *out == INT32_MAX ? bad(r, key, "cannot rise any more") : err;
}

static enum err read_state(const struct reader *r, struct znode_state *state)
{
    int32_t recovery;
    enum err err = get_int32(r, "leader", -1, &state->leader);
    if (err == ERR_OK) {
        err = get_epoch(r, "leader_epoch", &state->leader_epoch);
    }
    if (err == ERR_OK) {
        err = get_epoch(r, "controller_epoch", &state->controller_epoch);
    }
    if (err == ERR_OK) {
        err = get_int32_or(r, "leader_recovery_state", 0, 0, &recovery);
    }
    if (err == ERR_OK) {
        state->recovering = recovery == 1;
        err = ids_of(r, "isr", json_object_get(r->root, "isr"), &state->isr);
    }
    const json_t *eligible = json_object_get(r->root, "eligible_replicas");
    if (err == ERR_OK && eligible != NULL) {
        err = ids_of(r, "eligible_replicas", eligible, &state->eligible);
    }
    return err;
}

enum err znode_state_decode(struct arena *arena, struct bytes data, struct znode_state *state,
                            struct errmsg *msg)
{
    struct reader r;
    *state = (struct znode_state){.leader = -1};
    enum err err = reader_open(&r, "partition state", arena, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_state(&r, state));
}

/* ---- The controller. */

static enum err read_controller(const struct reader *r, struct znode_controller *controller)
{
    enum err err = get_int32(r, "brokerid", -1, &controller->broker_id);
    controller->timestamp_ms = get_timestamp(r);
    return err != ERR_OK
               ? err
               : get_int32_or(r, "kraftControllerEpoch", INT32_MIN, -1, &controller->kraft_epoch);
}

enum err znode_controller_decode(struct bytes data, struct znode_controller *controller,
                                 struct errmsg *msg)
{
    struct reader r;
    *controller = (struct znode_controller){.broker_id = -1, .kraft_epoch = -1};
    enum err err = reader_open(&r, "controller", NULL, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_controller(&r, controller));
}

enum err znode_controller_epoch_decode(struct bytes data, int32_t *epoch, struct errmsg *msg)
{
    char text[16];
    int64_t number;
    if (data.data == NULL || data.size == 0 || data.size >= sizeof(text)) {
        errmsg_set(msg, "controller epoch: %zu bytes are no number", data.size);
        return ERR_MALFORMED;
    }
    memcpy(text, data.data, data.size);
    text[data.size] = '\0';
    if (!parse_int64((struct str){text, data.size}, &number) || number < 0 ||
        number >= INT32_MAX) { /* the next one is written */
        errmsg_set(msg, "controller epoch: not a number in range");
        return ERR_MALFORMED;
    }
    *epoch = (int32_t)number;
    return ERR_OK;
}

/* ---- Configurations. */

static enum err read_config(const struct reader *r, struct znode_config *config)
{
    const json_t *map = json_object_get(r->root, "config");
    if (map == NULL) {
        return ERR_OK;
    }
    if (!json_is_object(map)) {
        return bad(r, "config", "is not an object");
    }
    struct znode_pair *pairs = arena_array(r->arena, struct znode_pair, json_object_size(map) + 1);
    const char *key;
    json_t *value;
    int32_t i = 0;
    json_object_foreach((json_t *)map, key, value)
    {
        if (!json_is_string(value)) {
            return bad(r, key, "has a value that is not a string");
        }
        pairs[i].key = arena_str(r->arena, str_of(key));
        pairs[i++].value = arena_str(r->arena, str_of_json(value));
    }
    *config = (struct znode_config){pairs, i};
    return ERR_OK;
}

enum err znode_config_decode(struct arena *arena, struct bytes data, struct znode_config *config,
                             struct errmsg *msg)
{
    struct reader r;
    *config = (struct znode_config){0};
    if (data.data == NULL || data.size == 0) {
        return ERR_OK;
    }
    enum err err = reader_open(&r, "configuration", arena, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_config(&r, config));
}

static enum err read_config_change(const struct reader *r, struct str *entity_path)
{
    struct str type, name;
    int32_t version;
    enum err err = get_int32(r, "version", 1, &version);
    if (err != ERR_OK) {
        return err;
    }
    if (version != 1) {
        return get_str(r, "entity_path", entity_path);
    }
    err = get_str(r, "entity_type", &type);
    if (err == ERR_OK) {
        err = get_str(r, "entity_name", &name);
    }
    if (err == ERR_OK) {
        *entity_path = str_of(arena_printf(r->arena, "%.*s/%.*s", STR_ARG(type), STR_ARG(name)));
    }
    return err;
}

enum err znode_config_change_decode(struct arena *arena, struct bytes data, struct str *entity_path,
                                    struct errmsg *msg)
{
    struct reader r;
    *entity_path = STR_NULL;
    enum err err = reader_open(&r, "configuration change", arena, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_config_change(&r, entity_path));
}

/* ---- Small ones. */

enum err znode_cluster_id_decode(struct arena *arena, struct bytes data, struct str *id,
                                 struct errmsg *msg)
{
    struct reader r;
    *id = STR_NULL;
    enum err err = reader_open(&r, "cluster id", arena, data, msg);
    return err != ERR_OK ? err : reader_close(&r, get_str(&r, "id", id));
}

static enum err read_producer_block(const struct reader *r, struct znode_producer_block *block)
{
    enum err err = get_int32(r, "broker", -1, &block->broker_id);
    if (err == ERR_OK) {
        err = get_int64_text(r, "block_start", &block->first);
    }
    if (err == ERR_OK) {
        err = get_int64_text(r, "block_end", &block->last);
    }
    if (err == ERR_OK && (block->first < 0 || block->last < block->first)) {
        return bad(r, "block_end", "lies before the block's start");
    }
    return err;
}

enum err znode_producer_block_decode(struct bytes data, struct znode_producer_block *block,
                                     struct errmsg *msg)
{
    struct reader r;
    *block = (struct znode_producer_block){0};
    enum err err = reader_open(&r, "producer id block", NULL, data, msg);
    return err != ERR_OK ? err : reader_close(&r, read_producer_block(&r, block));
}

static enum err read_tp(const struct reader *list, const json_t *item, bool replicas,
                        struct znode_tp *tp)
{
    struct reader r = *list;
    r.root = (json_t *)item;
    if (!json_is_object(item)) {
        return bad(&r, "partitions", "holds something that is not an object");
    }
    enum err err = get_str(&r, "topic", &tp->topic);
    if (err == ERR_OK) {
        err = get_int32(&r, "partition", 0, &tp->partition);
    }
    if (err == ERR_OK && replicas) {
        err = ids_of(&r, "replicas", json_object_get(item, "replicas"), &tp->replicas);
    }
    return err;
}

static enum err decode_tps(const char *what, struct arena *arena, struct bytes data, bool replicas,
                           struct znode_tps *tps, struct errmsg *msg)
{
    struct reader r;
    *tps = (struct znode_tps){0};
    enum err err = reader_open(&r, what, arena, data, msg);
    if (err != ERR_OK) {
        return err;
    }
    const json_t *list = json_object_get(r.root, "partitions");
    if (!json_is_array(list)) {
        return reader_close(&r, bad(&r, "partitions", "is not a list"));
    }
    size_t count = json_array_size(list);
    struct znode_tp *items = arena_array(arena, struct znode_tp, count + 1);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        err = read_tp(&r, json_array_get(list, i), replicas, &items[i]);
    }
    if (err == ERR_OK) {
        *tps = (struct znode_tps){items, (int32_t)count};
    }
    return reader_close(&r, err);
}

enum err znode_preferred_decode(struct arena *arena, struct bytes data, struct znode_tps *tps,
                                struct errmsg *msg)
{
    return decode_tps("preferred replica election", arena, data, false, tps, msg);
}

enum err znode_reassign_decode(struct arena *arena, struct bytes data, struct znode_tps *tps,
                               struct errmsg *msg)
{
    return decode_tps("reassignment", arena, data, true, tps, msg);
}

enum err znode_log_dir_event_decode(struct bytes data, int32_t *broker_id, struct errmsg *msg)
{
    struct reader r;
    *broker_id = -1;
    enum err err = reader_open(&r, "log directory event", NULL, data, msg);
    return err != ERR_OK ? err : reader_close(&r, get_int32(&r, "broker", 0, broker_id));
}
