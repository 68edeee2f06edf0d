#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"
#include "config/config_internal.h"
#include "config/values.h"

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

bool config_is_internal(enum config_key key)
{
    /* The three rates are no keys of a broker's file in Kafka, but dynamic ones. */
    static const enum config_key keys[] = {
        KEY_follower_replication_throttled_rate,
        KEY_group_consumer_migration_policy,
        KEY_group_coordinator_new_enable,
        KEY_group_share_enable,
        KEY_leader_replication_throttled_rate,
        KEY_log_initial_task_delay_ms,
        KEY_metadata_log_segment_min_bytes,
        KEY_producer_id_expiration_check_interval_ms,
        KEY_remote_log_manager_task_retry_backoff_max_ms,
        KEY_remote_log_manager_task_retry_backoff_ms,
        KEY_remote_log_manager_task_retry_jitter,
        KEY_replica_alter_log_dirs_io_max_bytes_per_second,
        KEY_server_max_startup_time_ms,
        KEY_unclean_leader_election_interval_ms,
        KEY_unstable_api_versions_enable,
        KEY_unstable_feature_versions_enable,
        KEY_zookeeper_metadata_migration_min_batch_size,
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (keys[i] == key) {
            return true;
        }
    }
    return false;
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

enum config_key config_listener_base(const char *name)
{
    static const char prefix[] = "listener.name.";
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0) {
        return KEY_COUNT;
    }
    const char *at = strchr(name + sizeof(prefix) - 1, '.');
    enum config_key key = at != NULL ? config_find(at + 1) : KEY_COUNT;
    if (at != NULL && key == KEY_COUNT) { /* a mechanism stands before it */
        at = strchr(at + 1, '.');
        key = at != NULL ? config_find(at + 1) : KEY_COUNT;
    }
    return key;
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
    ref_hold(&held->count);
    return held;
}

void config_put(const struct config *borrowed)
{
    struct config *config = (struct config *)(uintptr_t)borrowed;
    if (config == NULL || !ref_drop(&config->count)) {
        return;
    }
    for (int layer = 0; layer < CONFIG_LAYERS; layer++) {
        for (int key = 0; key < KEY_COUNT; key++) {
            mem_free(config->layers[layer][key]);
        }
    }
    for (int i = 0; i < config->extras_count; i++) {
        mem_free(config->extras[i].name);
        mem_free(config->extras[i].value);
    }
    mem_free(config->extras);
    mem_free(config->ignored_links);
    mem_free(config->ignored_java);
    mem_free(config);
}

static char *trimmed(const char *value)
{
    return str_dup(config_trim(str_of(value)));
}

void config_set_extra(struct config *config, int layer, const char *name, const char *value)
{
    for (int i = 0; i < config->extras_count; i++) {
        struct config_extra *extra = &config->extras[i];
        if (extra->layer == layer && strcmp(extra->name, name) == 0) {
            mem_free(extra->value);
            extra->value = trimmed(value);
            return;
        }
    }
    size_t count = (size_t)config->extras_count + 1;
    config->extras = mem_realloc(config->extras, count * sizeof(*config->extras));
    config->extras[config->extras_count++] =
        (struct config_extra){.name = mem_strdup(name), .value = trimmed(value), .layer = layer};
}

const char *config_extra(const struct config *config, const char *name)
{
    const struct config_extra *best = NULL;
    for (int i = 0; i < config->extras_count; i++) {
        const struct config_extra *extra = &config->extras[i];
        if (strcmp(extra->name, name) == 0 && (best == NULL || extra->layer > best->layer)) {
            best = extra;
        }
    }
    return best != NULL ? best->value : NULL;
}

void config_set_layer(struct config *config, int layer, enum config_key key, const char *value)
{
    mem_free(config->layers[layer][key]);
    config->layers[layer][key] = trimmed(value);
    atomic_store_explicit(&config->numbers[key].known, false, memory_order_relaxed);
}

/* Whoever writes to ZooKeeper by hand can put anything there. Kafka ignores what may not change
 * while a broker runs, and for all brokers what each must have of its own. */
static bool may_be_dynamic(int layer, enum config_key key)
{
    enum config_mode mode = infos[key].mode;
    return mode == CONFIG_CLUSTER || (mode == CONFIG_PER_BROKER && layer == LAYER_MINE);
}

static void set_dynamic(struct config *config, int layer, const struct config_pair *pairs,
                        int count)
{
    for (int i = 0; i < count; i++) {
        enum config_key key = config_find(pairs[i].name);
        struct errmsg msg;
        if (key == KEY_COUNT) {
            config_set_extra(config, layer, pairs[i].name, pairs[i].value);
        } else if (!may_be_dynamic(layer, key)) {
            log_warn(LOGGER, "ignoring a dynamic value", "%s cannot be set dynamically%s",
                     pairs[i].name, layer == LAYER_ALL ? " for all brokers" : "");
        } else if (config_check_value(infos[key].name, infos[key].type, infos[key].minimum,
                                      pairs[i].value, &msg) == ERR_OK) {
            config_set_layer(config, layer, key, pairs[i].value);
        } else {
            log_warn(LOGGER, "ignoring a dynamic value", "%s=%s", pairs[i].name,
                     infos[key].type == CONFIG_PASSWORD ? "[hidden]" : pairs[i].value);
        }
    }
}

static int layer_of(enum config_source source);

struct config *config_with_layer(const struct config *config, enum config_source source,
                                 const struct config_pair *pairs, int count)
{
    struct config *fresh = config_new();
    int replaced = layer_of(source);
    must(replaced == LAYER_ALL || replaced == LAYER_MINE);
    for (int layer = 0; layer < CONFIG_LAYERS; layer++) {
        for (int key = 0; layer != replaced && key < KEY_COUNT; key++) {
            if (config->layers[layer][key] != NULL) {
                fresh->layers[layer][key] = mem_strdup(config->layers[layer][key]);
            }
        }
    }
    for (int i = 0; i < config->extras_count; i++) {
        const struct config_extra *extra = &config->extras[i];
        if (extra->layer != replaced) {
            config_set_extra(fresh, extra->layer, extra->name, extra->value);
        }
    }
    set_dynamic(fresh, replaced, pairs, count);
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

static const enum config_source layer_sources[CONFIG_LAYERS] = {
    [LAYER_STATIC] = SOURCE_STATIC,
    [LAYER_ALL] = SOURCE_DYNAMIC_DEFAULT,
    [LAYER_MINE] = SOURCE_DYNAMIC_BROKER,
};

int config_extras_count(const struct config *config)
{
    return config->extras_count;
}

struct config_pair config_extra_at(const struct config *config, int index,
                                   enum config_source *source)
{
    must(index >= 0 && index < config->extras_count);
    *source = layer_sources[config->extras[index].layer];
    return (struct config_pair){config->extras[index].name, config->extras[index].value};
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

/* Asked for each request: the text is parsed once. Threads that do it at the same time come to the
 * same number. */
int64_t config_long(const struct config *config, enum config_key key)
{
    struct config_number *number = (struct config_number *)(uintptr_t)&config->numbers[key];
    if (atomic_load_explicit(&number->known, memory_order_acquire)) {
        return atomic_load_explicit(&number->value, memory_order_relaxed);
    }
    int64_t value = 0;
    const char *text = config_str(config, key);
    must(text != NULL);
    must(config_parse_long(text, &value));
    atomic_store_explicit(&number->value, value, memory_order_relaxed);
    atomic_store_explicit(&number->known, true, memory_order_release);
    return value;
}

bool config_bool(const struct config *config, enum config_key key)
{
    const char *text = config_str(config, key);
    return text != NULL && config_parse_bool(text);
}

double config_double(const struct config *config, enum config_key key)
{
    const char *text = config_str(config, key);
    must(text != NULL);
    return strtod(text, NULL);
}

/* ---- derived ---- */

enum { MINUTE_MS = 60000, HOUR_MS = 3600000 };

int64_t config_duration_ms(const struct config *config, enum config_key key, int64_t each_ms)
{
    const int64_t max_ms = INT64_MAX / 4;
    int64_t value = config_long(config, key);
    if (value <= 0 || each_ms <= 0) {
        return 0;
    }
    return value < max_ms / each_ms ? value * each_ms : max_ms;
}

bool config_rack_aware(const struct config *config)
{
    const char *selector = config_str(config, KEY_replica_selector_class);
    return selector != NULL && strcmp(selector, SELECTOR_RACK_AWARE) == 0;
}

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

int64_t config_zookeeper_connection_timeout_ms(const struct config *config)
{
    return config_str(config, KEY_zookeeper_connection_timeout_ms) != NULL
               ? config_long(config, KEY_zookeeper_connection_timeout_ms)
               : config_long(config, KEY_zookeeper_session_timeout_ms);
}

/* As Java spells it, and with it what DescribeLogDirs says, and those who name a directory for a
 * replica: one slash between two names, and none behind the last. */
static char *path_of(struct str item)
{
    char *path = str_dup(item);
    size_t size = 0;
    for (size_t i = 0; i < item.size; i++) {
        if (path[i] != '/' || size == 0 || path[size - 1] != '/') {
            path[size++] = path[i];
        }
    }
    size -= size > 1 && path[size - 1] == '/' ? 1 : 0;
    path[size] = '\0';
    return path;
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
        struct str item = config_trim((struct str){text, size});
        if (item.size > 0) {
            dirs = mem_realloc(dirs, ((size_t)*count + 1) * sizeof(*dirs));
            dirs[(*count)++] = path_of(item);
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
