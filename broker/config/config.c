#include "config/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "config/config_internal.h"

#define LOGGER "kafka.server.KafkaConfig"

enum { STATIC = CONFIG_STATIC, CLUSTER = CONFIG_CLUSTER, PER_BROKER = CONFIG_PER_BROKER };

static const struct config_info infos[KEY_COUNT] = {
#define KEY(id, name_, type_, value_, minimum_, mode_, class_)                                     \
    [KEY_##id] = {name_,          value_, minimum_, CONFIG_##type_, (enum config_mode)(mode_),     \
                  CONFIG_##class_},
#include "config/keys.def"
#undef KEY
};

const struct config_info *config_info(enum config_key key)
{
    must(key < KEY_COUNT);
    return &infos[key];
}

enum config_key config_find(const char *name)
{
    int low = 0;
    int high = KEY_COUNT;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(infos[middle].name, name);
        if (order == 0) {
            return (enum config_key)middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return KEY_COUNT;
}

/* Levenshtein's distance, for names of keys. */
static int distance(const char *a, const char *b)
{
    enum { NAME_MAX_SIZE = 96 };
    int row[NAME_MAX_SIZE + 1];
    size_t m = strlen(a);
    size_t n = strlen(b);
    if (m > NAME_MAX_SIZE || n > NAME_MAX_SIZE) {
        return INT32_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= m; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[n];
}

const char *config_nearest(const char *name)
{
    const char *best = NULL;
    int best_distance = 4; /* more than three letters off is another word */
    for (int i = 0; i < KEY_COUNT; i++) {
        int d = distance(name, infos[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = infos[i].name;
        }
    }
    return best;
}

/* ---- values ---- */

static const char *type_name(enum config_type type)
{
    static const char *const names[] = {"",     "boolean", "string", "int",   "short",
                                        "long", "double",  "list",   "class", "password"};
    return names[type];
}

static bool parse_long(const char *text, int64_t *out)
{
    char *end;
    while (isspace((unsigned char)*text)) {
        text++;
    }
    long long value = strtoll(text, &end, 10);
    while (isspace((unsigned char)*end)) {
        end++;
    }
    *out = value;
    return end != text && *end == '\0';
}

static enum err bad_value(const char *name, const char *value, const char *rule,
                          const char *example, struct errmsg *msg)
{
    errmsg_set(
        msg,
        "error[E-CONFIG-01]: %s has a value that cannot be used.\n  %s=%s\n  It must be %s, for "
        "example:\n      %s=%s",
        name, name, value, rule, name, example);
    return ERR_INVALID_CONFIG;
}

static enum err check_number(const char *name, enum config_type type, int64_t minimum,
                             const char *value, struct errmsg *msg)
{
    static const int64_t tops[] = {
        [CONFIG_INT] = INT32_MAX, [CONFIG_SHORT] = INT16_MAX, [CONFIG_LONG] = INT64_MAX};
    static const int64_t bottoms[] = {
        [CONFIG_INT] = INT32_MIN, [CONFIG_SHORT] = INT16_MIN, [CONFIG_LONG] = INT64_MIN};
    int64_t number;
    int64_t low = minimum > bottoms[type] ? minimum : bottoms[type];
    if (parse_long(value, &number) && number >= low && number <= tops[type]) {
        return ERR_OK;
    }
    char rule[96];
    char example[32];
    snprintf(rule, sizeof(rule), "a whole number (%s) of at least %lld", type_name(type),
             (long long)low);
    snprintf(example, sizeof(example), "%lld", low > 1 ? (long long)low : 1);
    return bad_value(name, value, rule, example, msg);
}

enum err config_check_value(const char *name, enum config_type type, int64_t minimum,
                            const char *value, struct errmsg *msg)
{
    char *end;
    switch (type) {
    case CONFIG_BOOLEAN:
        if (strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0) {
            return bad_value(name, value, "true or false", "true", msg);
        }
        return ERR_OK;
    case CONFIG_INT:
    case CONFIG_SHORT:
    case CONFIG_LONG:
        return check_number(name, type, minimum, value, msg);
    case CONFIG_DOUBLE:
        (void)strtod(value, &end);
        if (end == value || *end != '\0') {
            return bad_value(name, value, "a number", "0.5", msg);
        }
        return ERR_OK;
    case CONFIG_STRING:
    case CONFIG_LIST:
    case CONFIG_CLASS:
    case CONFIG_PASSWORD:
        return ERR_OK;
    }
    return ERR_OK;
}

/* ---- snapshots ---- */

struct config *config_new(void)
{
    struct config *config = mem_new(struct config);
    atomic_init(&config->count, 1);
    return config;
}

struct config *config_hold(const struct config *config)
{
    struct config *held = (struct config *)(uintptr_t)config;
    atomic_fetch_add_explicit(&held->count, 1, memory_order_relaxed);
    return held;
}

void config_put(const struct config *borrowed)
{
    struct config *config = (struct config *)(uintptr_t)borrowed;
    if (config == NULL || atomic_fetch_sub_explicit(&config->count, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (int layer = 0; layer < CONFIG_LAYERS; layer++) {
        for (int key = 0; key < KEY_COUNT; key++) {
            mem_free(config->layers[layer][key]);
        }
    }
    for (int i = 0; i < config->extras_count; i++) {
        mem_free(config->extra_names[i]);
        mem_free(config->extra_values[i]);
    }
    mem_free(config->extra_names);
    mem_free(config->extra_values);
    mem_free(config);
}

void config_set_extra(struct config *config, const char *name, const char *value)
{
    for (int i = 0; i < config->extras_count; i++) {
        if (strcmp(config->extra_names[i], name) == 0) {
            mem_free(config->extra_values[i]);
            config->extra_values[i] = mem_strdup(value);
            return;
        }
    }
    size_t count = (size_t)config->extras_count + 1;
    config->extra_names = mem_realloc(config->extra_names, count * sizeof(char *));
    config->extra_values = mem_realloc(config->extra_values, count * sizeof(char *));
    config->extra_names[config->extras_count] = mem_strdup(name);
    config->extra_values[config->extras_count] = mem_strdup(value);
    config->extras_count++;
}

const char *config_extra(const struct config *config, const char *name)
{
    for (int i = 0; i < config->extras_count; i++) {
        if (strcmp(config->extra_names[i], name) == 0) {
            return config->extra_values[i];
        }
    }
    return NULL;
}

void config_set_layer(struct config *config, int layer, enum config_key key, const char *value)
{
    mem_free(config->layers[layer][key]);
    config->layers[layer][key] = mem_strdup(value);
}

static void set_dynamic(struct config *config, int layer, const struct config_pair *pairs,
                        int count)
{
    for (int i = 0; i < count; i++) {
        enum config_key key = config_find(pairs[i].name);
        struct errmsg msg;
        if (key == KEY_COUNT) {
            config_set_extra(config, pairs[i].name, pairs[i].value);
        } else if (config_check_value(infos[key].name, infos[key].type, infos[key].minimum,
                                      pairs[i].value, &msg) == ERR_OK) {
            config_set_layer(config, layer, key, pairs[i].value);
        } else {
            log_warn(LOGGER, "ignoring a dynamic value", "%s", msg.text);
        }
    }
}

struct config *config_with_dynamic(const struct config *config, const struct config_pair *all,
                                   int all_count, const struct config_pair *mine, int mine_count)
{
    struct config *fresh = config_new();
    for (int key = 0; key < KEY_COUNT; key++) {
        if (config->layers[LAYER_STATIC][key] != NULL) {
            fresh->layers[LAYER_STATIC][key] = mem_strdup(config->layers[LAYER_STATIC][key]);
        }
    }
    for (int i = 0; i < config->extras_count; i++) {
        config_set_extra(fresh, config->extra_names[i], config->extra_values[i]);
    }
    set_dynamic(fresh, LAYER_ALL, all, all_count);
    set_dynamic(fresh, LAYER_MINE, mine, mine_count);
    return fresh;
}

static int layer_of(enum config_source source)
{
    switch (source) {
    case SOURCE_DYNAMIC_BROKER:
        return LAYER_MINE;
    case SOURCE_DYNAMIC_DEFAULT:
        return LAYER_ALL;
    case SOURCE_STATIC:
        return LAYER_STATIC;
    case SOURCE_TOPIC:
    case SOURCE_DEFAULT:
        break;
    }
    return -1;
}

const char *config_layer(const struct config *config, enum config_key key,
                         enum config_source source)
{
    must(key < KEY_COUNT);
    int layer = layer_of(source);
    return layer >= 0 ? config->layers[layer][key] : infos[key].value;
}

enum config_source config_source(const struct config *config, enum config_key key)
{
    for (int source = SOURCE_DYNAMIC_BROKER; source < SOURCE_DEFAULT; source++) {
        if (config_layer(config, key, (enum config_source)source) != NULL) {
            return (enum config_source)source;
        }
    }
    return SOURCE_DEFAULT;
}

const char *config_str(const struct config *config, enum config_key key)
{
    return config_layer(config, key, config_source(config, key));
}

bool config_is_set(const struct config *config, enum config_key key)
{
    return config_source(config, key) != SOURCE_DEFAULT;
}

int64_t config_long(const struct config *config, enum config_key key)
{
    int64_t value = 0;
    const char *text = config_str(config, key);
    must(text != NULL);
    must(parse_long(text, &value));
    return value;
}

bool config_bool(const struct config *config, enum config_key key)
{
    const char *text = config_str(config, key);
    return text != NULL && strcasecmp(text, "true") == 0;
}

double config_double(const struct config *config, enum config_key key)
{
    const char *text = config_str(config, key);
    must(text != NULL);
    return strtod(text, NULL);
}

/* ---- derived ---- */

enum { MINUTE_MS = 60000, HOUR_MS = 3600000 };

int64_t config_retention_ms(const struct config *config)
{
    int64_t value;
    if (config_str(config, KEY_log_retention_ms) != NULL) {
        value = config_long(config, KEY_log_retention_ms);
    } else if (config_str(config, KEY_log_retention_minutes) != NULL) {
        value = config_long(config, KEY_log_retention_minutes) * MINUTE_MS;
    } else {
        value = config_long(config, KEY_log_retention_hours) * HOUR_MS;
    }
    return value < 0 ? -1 : value;
}

int64_t config_roll_ms(const struct config *config)
{
    return config_str(config, KEY_log_roll_ms) != NULL
               ? config_long(config, KEY_log_roll_ms)
               : config_long(config, KEY_log_roll_hours) * HOUR_MS;
}

int64_t config_roll_jitter_ms(const struct config *config)
{
    return config_str(config, KEY_log_roll_jitter_ms) != NULL
               ? config_long(config, KEY_log_roll_jitter_ms)
               : config_long(config, KEY_log_roll_jitter_hours) * HOUR_MS;
}

int64_t config_zookeeper_connection_timeout_ms(const struct config *config)
{
    return config_str(config, KEY_zookeeper_connection_timeout_ms) != NULL
               ? config_long(config, KEY_zookeeper_connection_timeout_ms)
               : config_long(config, KEY_zookeeper_session_timeout_ms);
}

char **config_log_dirs(const struct config *config, int *count)
{
    const char *text = config_str(config, KEY_log_dirs);
    if (text == NULL || text[0] == '\0') {
        text = config_str(config, KEY_log_dir);
    }
    char **dirs = NULL;
    *count = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        struct str item = {text, size};
        while (item.size > 0 && isspace((unsigned char)item.ptr[0])) {
            item.ptr++;
            item.size--;
        }
        while (item.size > 0 && isspace((unsigned char)item.ptr[item.size - 1])) {
            item.size--;
        }
        if (item.size > 0) {
            dirs = mem_realloc(dirs, ((size_t)*count + 1) * sizeof(*dirs));
            dirs[(*count)++] = str_dup(item);
        }
        text += size + (text[size] == ',');
    }
    return dirs;
}

/* ---- the cell ---- */

void config_cell_init(struct config_cell *cell, struct config *config)
{
    pthread_mutex_init(&cell->lock, NULL);
    cell->current = config;
    atomic_init(&cell->generation, 1);
}

void config_cell_fini(struct config_cell *cell)
{
    config_put(cell->current);
    cell->current = NULL;
    pthread_mutex_destroy(&cell->lock);
}

const struct config *config_cell_get(struct config_cell *cell)
{
    pthread_mutex_lock(&cell->lock);
    const struct config *config = config_hold(cell->current);
    pthread_mutex_unlock(&cell->lock);
    return config;
}

void config_cell_set(struct config_cell *cell, struct config *config)
{
    pthread_mutex_lock(&cell->lock);
    struct config *old = cell->current;
    cell->current = config;
    atomic_fetch_add_explicit(&cell->generation, 1, memory_order_release);
    pthread_mutex_unlock(&cell->lock);
    config_put(old);
}

void config_reader_init(struct config_reader *reader, struct config_cell *cell)
{
    *reader = (struct config_reader){.cell = cell};
}

void config_reader_fini(struct config_reader *reader)
{
    config_put(reader->config);
    reader->config = NULL;
}

const struct config *config_reader_now(struct config_reader *reader)
{
    uint64_t generation = atomic_load_explicit(&reader->cell->generation, memory_order_acquire);
    if (reader->config == NULL || generation != reader->generation) {
        config_put(reader->config);
        reader->config = config_cell_get(reader->cell);
        reader->generation = generation;
    }
    return reader->config;
}
