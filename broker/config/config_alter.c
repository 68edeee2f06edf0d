#include "config/config_alter.h"

#include <stdlib.h>

#include "config/config_internal.h"
#include "config/listeners.h"
#include "config/values.h"

/* ---- what can be said without the present values ---- */

static bool is_list(enum config_entity entity, const char *name)
{
    if (entity == ENTITY_TOPIC) {
        enum topic_key key = topic_key_find(name);
        return key < TOPIC_KEY_COUNT && topic_key_info(key)->type == CONFIG_LIST;
    }
    enum config_key key = config_find(name);
    return key < KEY_COUNT && config_info(key)->type == CONFIG_LIST;
}

static enum err check_change(const struct config_change *change, struct errmsg *msg)
{
    char name[256];
    if (change->name.size == 0 || change->name.size >= sizeof(name) ||
        memchr(change->name.ptr, '\0', change->name.size) != NULL) {
        errmsg_set(msg, "A configuration key must have 1 to 255 characters.");
        return ERR_INVALID_REQUEST;
    }
    memcpy(name, change->name.ptr, change->name.size);
    name[change->name.size] = '\0';
    if (change->op < OP_SET || change->op > OP_SUBTRACT) {
        errmsg_set(msg, "Unknown operation %d for config %s", change->op, name);
        return ERR_INVALID_REQUEST;
    }
    if (change->value.ptr == NULL && change->op != OP_DELETE) {
        errmsg_set(msg, "Null value not supported for : %s", name);
        return ERR_INVALID_REQUEST;
    }
    if (change->value.size > 0 && memchr(change->value.ptr, '\0', change->value.size) != NULL) {
        errmsg_set(msg, "The value of %s has a zero byte in it.", name);
        return ERR_INVALID_REQUEST;
    }
    return ERR_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct config_change *const *x = a;
    const struct config_change *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

static enum err check_duplicates(const struct config_change *changes, int32_t count,
                                 struct errmsg *msg)
{
    struct arena arena = {0};
    enum err err = ERR_OK;
    const struct config_change **sorted =
        arena_array(&arena, const struct config_change *, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        sorted[i] = &changes[i];
    }
    if (count > 1) {
        qsort(sorted, (size_t)count, sizeof(const struct config_change *), by_name);
    }
    for (int32_t i = 1; i < count; i++) {
        if (str_eq(sorted[i - 1]->name, sorted[i]->name)) {
            errmsg_set(msg, "Error due to duplicate config keys : %.*s", (int)sorted[i]->name.size,
                       sorted[i]->name.ptr);
            err = ERR_INVALID_REQUEST;
            break;
        }
    }
    arena_fini(&arena);
    return err;
}

enum err config_alter_check(const struct config_change *changes, int32_t count, struct errmsg *msg)
{
    if (count > CONFIG_CHANGES_MAX) {
        errmsg_set(msg, "At most %d configurations of a resource can be changed at once.",
                   CONFIG_CHANGES_MAX);
        return ERR_INVALID_REQUEST;
    }
    enum err err = check_duplicates(changes, count, msg);
    for (int32_t i = 0; err == ERR_OK && i < count; i++) {
        err = check_change(&changes[i], msg);
    }
    return err;
}

/* ---- the new values ---- */

static const char *find(const struct config_set *set, const char *name)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (strcmp(set->pairs[i].name, name) == 0) {
            return set->pairs[i].value;
        }
    }
    return NULL;
}

static void put(struct config_set *set, const char *name, const char *value)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (strcmp(set->pairs[i].name, name) == 0) {
            set->pairs[i].value = value;
            return;
        }
    }
    set->pairs[set->count++] = (struct config_pair){name, value};
}

static void drop(struct config_set *set, const char *name)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (strcmp(set->pairs[i].name, name) == 0) {
            memmove(&set->pairs[i], &set->pairs[i + 1],
                    (size_t)(set->count - i - 1) * sizeof(set->pairs[0]));
            set->count--;
            return;
        }
    }
}

/* Where a list begins that nobody has set yet: at Kafka's default, whatever the layers say. */
static const char *list_start(enum config_entity entity, const char *name)
{
    const char *value = entity == ENTITY_TOPIC ? topic_key_info(topic_key_find(name))->value
                                               : config_info(config_find(name))->value;
    return value != NULL ? value : "";
}

struct list {
    struct str *items; /* in order of their texts */
    size_t count;
};

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The next item of `*at`, which is not at its end, and step over it. */
static struct str next_item(const char **at)
{
    struct str item = {*at, strcspn(*at, ",")};
    *at += item.size + ((*at)[item.size] == ',');
    return item;
}

static struct list list_of(struct arena *arena, const char *text)
{
    size_t most = 1;
    for (const char *at = text; *at != '\0'; at++) {
        most += *at == ',';
    }
    struct list list = {arena_array(arena, struct str, most), 0};
    for (const char *at = text; *at != '\0';) {
        list.items[list.count++] = next_item(&at);
    }
    qsort(list.items, list.count, sizeof(struct str), by_text);
    return list;
}

static bool list_has(const struct list *list, struct str item)
{
    return bsearch(&item, list->items, list->count, sizeof(struct str), by_text) != NULL;
}

/* `list` with each item of `items` that is not there yet, or without each that is. A client may
 * send thousands of items: time is n log n, memory that of the texts. */
static const char *list_change(struct arena *arena, const char *list, const char *items,
                               bool append)
{
    const char *source = append ? items : list;
    struct list against = list_of(arena, append ? list : items);
    char *out = arena_alloc(arena, strlen(list) + strlen(items) + 2);
    char *end = append ? stpcpy(out, list) : out;
    for (const char *at = source; *at != '\0';) {
        struct str item = next_item(&at);
        if (!list_has(&against, item)) {
            if (end > out) {
                *end++ = ',';
            }
            memcpy(end, item.ptr, item.size);
            end += item.size;
        }
    }
    *end = '\0';
    return out;
}

static enum err apply(struct arena *arena, enum config_entity entity,
                      const struct config_change *change, struct config_set *set,
                      struct errmsg *msg)
{
    const char *name = arena_cstr(arena, change->name);
    if (change->op == OP_DELETE) {
        drop(set, name);
        return ERR_OK;
    }
    const char *value = arena_cstr(arena, change->value);
    if (change->op == OP_APPEND || change->op == OP_SUBTRACT) {
        if (!is_list(entity, name)) {
            errmsg_set(msg, "Config value %s is not allowed for config key: %s",
                       change->op == OP_APPEND ? "append" : "subtract", name);
            return ERR_INVALID_CONFIG;
        }
        const char *list = find(set, name);
        list = list != NULL ? list : list_start(entity, name);
        value = list_change(arena, list, value, change->op == OP_APPEND);
        if (change->op == OP_APPEND && strlen(value) > CONFIG_VALUE_MAX) {
            errmsg_set(msg, "The list of config %s would be longer than %d bytes", name,
                       CONFIG_VALUE_MAX);
            return ERR_INVALID_CONFIG;
        }
    }
    put(set, name, value);
    return ERR_OK;
}

/* ---- is the result allowed? ---- */

/* Some keys of listeners may be set for all brokers at once. */
static bool is_cluster_wide(enum config_key key)
{
    return key == KEY_max_connections || key == KEY_max_connection_creation_rate ||
           key == KEY_num_network_threads;
}

static bool is_key_store(const char *name)
{
    return strncmp(name, "ssl.keystore.", 13) == 0 || strncmp(name, "ssl.truststore.", 15) == 0 ||
           strcmp(name, "ssl.key.password") == 0;
}

/* `key` is the one that `name` is or, for a listener's key, sets. */
static enum err check_mode(enum config_entity entity, const char *name, enum config_key key,
                           bool of_listener, struct errmsg *msg)
{
    const struct config_info *info = config_info(key);
    if (!of_listener && info->mode == CONFIG_STATIC) {
        errmsg_set(msg, "Cannot update these configs dynamically: %s", name);
        return ERR_INVALID_REQUEST;
    }
    if (!of_listener && is_key_store(name)) {
        errmsg_set(msg,
                   "These security configs can be dynamically updated only per-listener using the "
                   "listener prefix: %s",
                   name);
        return ERR_INVALID_REQUEST;
    }
    bool single = of_listener ? !is_cluster_wide(key) : info->mode == CONFIG_PER_BROKER;
    if (single && entity == ENTITY_ALL_BROKERS) {
        errmsg_set(msg,
                   "Cannot update these configs at default cluster level, broker id must be "
                   "specified: %s",
                   name);
        return ERR_INVALID_REQUEST;
    }
    if (info->type == CONFIG_PASSWORD) {
        errmsg_set(msg,
                   "%s holds a password, which cannot be stored in ZooKeeper. Set it in the "
                   "broker's properties file.",
                   name);
        return ERR_INVALID_CONFIG;
    }
    return ERR_OK;
}

/* Keys that are not Kafka's own are let through: plug-ins have theirs. */
static enum err check_broker_pair(enum config_entity entity, const struct config_pair *pair,
                                  struct errmsg *msg)
{
    enum config_key key = config_find(pair->name);
    bool of_listener = key == KEY_COUNT;
    if (of_listener) {
        key = config_listener_base(pair->name);
    }
    if (key == KEY_COUNT) {
        return ERR_OK;
    }
    const struct config_info *info = config_info(key);
    struct config_rule rule;
    enum err err = check_mode(entity, pair->name, key, of_listener, msg);
    if (err == ERR_OK &&
        !config_value_suits(info->name, info->type, info->minimum, pair->value, &rule)) {
        errmsg_set(msg, "Invalid value %.200s for configuration %s: it must be %s", pair->value,
                   pair->name, rule.must_be);
        return ERR_INVALID_REQUEST;
    }
    return err;
}

/* Numbers of threads change by at most a factor of two. */
static enum err check_threads(const struct config *now, const struct config *next,
                              struct errmsg *msg)
{
    static const enum config_key keys[] = {
        KEY_num_io_threads,      KEY_num_replica_fetchers,
        KEY_background_threads,  KEY_num_recovery_threads_per_data_dir,
        KEY_num_network_threads, KEY_log_cleaner_threads};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        int64_t before = config_long(now, keys[i]);
        int64_t after = config_long(next, keys[i]);
        if (after != before && (after < 1 || after < before / 2 || after > before * 2)) {
            errmsg_set(msg,
                       "Dynamic thread count update validation failed for %s=%lld: it must be at "
                       "least 1 and between half and double the current value %lld",
                       config_info(keys[i])->name, (long long)after, (long long)before);
            return ERR_INVALID_REQUEST;
        }
    }
    return ERR_OK;
}

static void to_one_line(struct errmsg *msg)
{
    size_t out = 0;
    for (const char *at = msg->text; *at != '\0'; at++) {
        bool blank = *at == '\n' || *at == ' ';
        if (!blank || (out > 0 && msg->text[out - 1] != ' ')) {
            msg->text[out++] = blank ? ' ' : *at;
        }
    }
    msg->text[out] = '\0';
}

static enum err check_broker(enum config_entity entity, const struct config *now,
                             const struct config_set *before, const struct config_set *set,
                             struct errmsg *msg)
{
    if (set->count > CONFIG_KEYS_MAX && set->count > before->count) {
        errmsg_set(msg, "At most %d configurations of brokers can be set dynamically.",
                   CONFIG_KEYS_MAX);
        return ERR_INVALID_CONFIG;
    }
    for (int32_t i = 0; i < set->count; i++) {
        enum err err = check_broker_pair(entity, &set->pairs[i], msg);
        if (err != ERR_OK) {
            return err;
        }
    }
    struct config *next = config_with_layer(
        now, entity == ENTITY_BROKER ? SOURCE_DYNAMIC_BROKER : SOURCE_DYNAMIC_DEFAULT, set->pairs,
        set->count);
    enum err err = check_threads(now, next, msg);
    if (err == ERR_OK && config_check_relations(next, msg) != ERR_OK) {
        to_one_line(msg);
        err = ERR_INVALID_REQUEST;
    }
    config_put(next);
    return err;
}

/* What is set already. Of a broker's what cannot be is left out, as Kafka does: somebody wrote it
 * by hand, or another version did, and nothing could be altered any more. */
static void take_now(enum config_entity entity, const struct config *config,
                     const struct config_set *now, struct config_set *out)
{
    struct errmsg ignored;
    for (int32_t i = 0; i < now->count; i++) {
        if (entity == ENTITY_TOPIC ||
            check_broker_pair(entity, &now->pairs[i], &ignored) == ERR_OK) {
            out->pairs[out->count++] = now->pairs[i];
        }
    }
    if (entity == ENTITY_BROKER) {
        out->count = listeners_leave_out(config, out->pairs, out->count, &ignored);
    }
}

enum err config_alter(struct arena *arena, enum config_entity entity, const struct config *config,
                      const struct config_set *now, const struct config_change *changes,
                      int32_t count, bool replace, struct config_set *out, struct errmsg *msg)
{
    int32_t kept = replace ? 0 : now->count;
    out->count = 0;
    out->pairs = arena_array(arena, struct config_pair, (size_t)kept + (size_t)count);
    if (!replace) {
        take_now(entity, config, now, out);
    }
    for (int32_t i = 0; i < count; i++) {
        enum err err = apply(arena, entity, &changes[i], out, msg);
        if (err != ERR_OK) {
            return err;
        }
    }
    return entity == ENTITY_TOPIC ? topic_config_check_all(out->pairs, out->count, msg)
                                  : check_broker(entity, config, now, out, msg);
}
