#include "config/config_alter.h"

#include <stdlib.h>

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

/* Keys that are not Kafka's own are let through: plug-ins have theirs. */
static enum err check_broker_key(enum config_entity entity, const char *name, struct errmsg *msg)
{
    enum config_key key = config_find(name);
    if (key == KEY_COUNT) {
        return ERR_OK;
    }
    const struct config_info *info = config_info(key);
    if (info->mode == CONFIG_STATIC) {
        errmsg_set(msg, "Cannot update these configs dynamically: Set(%s)", name);
        return ERR_INVALID_REQUEST;
    }
    if (info->mode == CONFIG_PER_BROKER && entity == ENTITY_ALL_BROKERS) {
        errmsg_set(msg,
                   "Cannot update these configs at default cluster level, per-broker configs must "
                   "be defined at broker level: Set(%s)",
                   name);
        return ERR_INVALID_REQUEST;
    }
    if (info->type == CONFIG_PASSWORD) {
        errmsg_set(msg,
                   "%s holds a password; passwords cannot be stored in ZooKeeper yet. Set it in "
                   "the broker's properties file.",
                   name);
        return ERR_INVALID_REQUEST;
    }
    return ERR_OK;
}

static enum err check_change(enum config_entity entity, const struct config_change *change,
                             struct errmsg *msg)
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
    if (change->op >= OP_APPEND && !is_list(entity, name)) {
        errmsg_set(msg, "Config value %s is not allowed for config key: %s",
                   change->op == OP_APPEND ? "append" : "subtract", name);
        return ERR_INVALID_CONFIG;
    }
    return entity == ENTITY_TOPIC ? ERR_OK : check_broker_key(entity, name, msg);
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

enum err config_alter_check(enum config_entity entity, const struct config_change *changes,
                            int32_t count, struct errmsg *msg)
{
    enum err err = check_duplicates(changes, count, msg);
    for (int32_t i = 0; err == ERR_OK && i < count; i++) {
        err = check_change(entity, &changes[i], msg);
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

/* Where a list begins that nobody has set yet. */
static const char *list_start(struct arena *arena, enum config_entity entity,
                              const struct config *defaults, const char *name)
{
    const char *value;
    if (entity == ENTITY_TOPIC) {
        char scratch[32];
        value = topic_config_value(defaults, NULL, 0, topic_key_find(name), scratch,
                                   sizeof(scratch), NULL);
    } else {
        value = config_info(config_find(name))->value;
    }
    return arena_cstr(arena, str_of(value != NULL ? value : ""));
}

static bool list_has(const char *list, struct str item)
{
    for (const char *at = list; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (str_eq((struct str){at, size}, item)) {
            return true;
        }
        at += size + (at[size] == ',');
    }
    return false;
}

/* `list` with each item of `items` that is not there yet, or without each that is. */
static const char *list_change(struct arena *arena, const char *list, const char *items,
                               bool append)
{
    const char *out = append ? list : "";
    const char *source = append ? items : list;
    const char *against = append ? list : items;
    for (const char *at = source; *at != '\0';) {
        struct str item = {at, strcspn(at, ",")};
        if (!list_has(against, item)) {
            out = arena_printf(arena, "%s%s%.*s", out, *out != '\0' ? "," : "", (int)item.size,
                               item.ptr);
        }
        at += item.size + (at[item.size] == ',');
    }
    return out;
}

static void apply(struct arena *arena, enum config_entity entity, const struct config *defaults,
                  const struct config_change *change, struct config_set *set)
{
    const char *name = arena_cstr(arena, change->name);
    if (change->op == OP_DELETE) {
        drop(set, name);
        return;
    }
    const char *value = arena_cstr(arena, change->value);
    if (change->op == OP_APPEND || change->op == OP_SUBTRACT) {
        const char *list = find(set, name);
        list = list != NULL ? list : list_start(arena, entity, defaults, name);
        value = list_change(arena, list, value, change->op == OP_APPEND);
    }
    put(set, name, value);
}

static enum err check_value(enum config_entity entity, const struct config_pair *pair,
                            struct errmsg *msg)
{
    if (entity == ENTITY_TOPIC) {
        return topic_config_check(pair->name, pair->value, msg);
    }
    enum config_key key = config_find(pair->name);
    if (key == KEY_COUNT) {
        return ERR_OK;
    }
    const struct config_info *info = config_info(key);
    struct errmsg ignored;
    if (config_check_value(info->name, info->type, info->minimum, pair->value, &ignored) !=
        ERR_OK) {
        errmsg_set(msg, "Invalid value %s for configuration %s", pair->value, pair->name);
        return ERR_INVALID_REQUEST;
    }
    return ERR_OK;
}

enum err config_alter(struct arena *arena, enum config_entity entity, const struct config *defaults,
                      const struct config_set *now, const struct config_change *changes,
                      int32_t count, bool replace, struct config_set *out, struct errmsg *msg)
{
    int32_t kept = replace ? 0 : now->count;
    out->count = 0;
    out->pairs = arena_array(arena, struct config_pair, (size_t)kept + (size_t)count);
    for (int32_t i = 0; i < kept; i++) {
        out->pairs[out->count++] = now->pairs[i];
    }
    for (int32_t i = 0; i < count; i++) {
        apply(arena, entity, defaults, &changes[i], out);
    }
    for (int32_t i = 0; i < count; i++) {
        const char *name = arena_cstr(arena, changes[i].name);
        struct config_pair pair = {name, find(out, name)};
        enum err err = pair.value != NULL ? check_value(entity, &pair, msg) : ERR_OK;
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}
