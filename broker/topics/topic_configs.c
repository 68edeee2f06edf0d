#include "topics/topic_configs.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/mem.h"
#include "config/values.h"

/* One topic's own values: an array and its texts in one block. */
struct topic_entry {
    UT_hash_handle hh;
    char *name;
    struct config_pair *pairs;
    int count;
};

struct topic_configs {
    struct config_cell *config;
    pthread_mutex_t lock;
    struct topic_entry *by_name;
    /* What topics without values of their own have, which are most of tens of thousands. */
    struct topic_config plain;
    const struct config *plain_from; /* made from; counted; NULL: not made yet */
};

struct topic_configs *topic_configs_new(struct config_cell *config)
{
    struct topic_configs *configs = mem_new(struct topic_configs);
    configs->config = config;
    pthread_mutex_init(&configs->lock, NULL);
    return configs;
}

static void entry_free(struct topic_configs *configs, struct topic_entry *entry)
{
    HASH_DEL(configs->by_name, entry);
    mem_free(entry->name);
    mem_free(entry->pairs);
    mem_free(entry);
}

void topic_configs_free(struct topic_configs *configs)
{
    struct topic_entry *entry;
    struct topic_entry *next;
    HASH_ITER (hh, configs->by_name, entry, next) {
        entry_free(configs, entry);
    }
    config_put(configs->plain_from);
    pthread_mutex_destroy(&configs->lock);
    mem_free(configs);
}

static struct config_pair *pairs_copy(const struct config_pair *pairs, int count)
{
    size_t size = (size_t)count * sizeof(*pairs);
    for (int i = 0; i < count; i++) {
        size += strlen(pairs[i].name) + strlen(pairs[i].value) + 2;
    }
    struct config_pair *copy = mem_alloc(size);
    char *text = (char *)(copy + count);
    for (int i = 0; i < count; i++) {
        copy[i].name = text;
        text = stpcpy(text, pairs[i].name) + 1;
        copy[i].value = text;
        text = stpcpy(text, pairs[i].value) + 1;
    }
    return copy;
}

/* With the lock held. */
static struct topic_entry *find(struct topic_configs *configs, struct str topic)
{
    struct topic_entry *entry;
    HASH_FIND(hh, configs->by_name, topic.ptr, topic.size, entry);
    return entry;
}

void topic_configs_set(struct topic_configs *configs, struct str topic,
                       const struct config_pair *pairs, int count)
{
    pthread_mutex_lock(&configs->lock);
    struct topic_entry *entry = find(configs, topic);
    if (entry != NULL) {
        entry_free(configs, entry);
    }
    entry = mem_new(struct topic_entry);
    entry->name = str_dup(topic);
    entry->pairs = pairs_copy(pairs, count);
    entry->count = count;
    HASH_ADD_KEYPTR(hh, configs->by_name, entry->name, topic.size, entry);
    pthread_mutex_unlock(&configs->lock);
}

bool topic_configs_known(struct topic_configs *configs, struct str topic)
{
    pthread_mutex_lock(&configs->lock);
    bool known = find(configs, topic) != NULL;
    pthread_mutex_unlock(&configs->lock);
    return known;
}

void topic_configs_forget(struct topic_configs *configs, struct str topic)
{
    pthread_mutex_lock(&configs->lock);
    struct topic_entry *entry = find(configs, topic);
    if (entry != NULL) {
        entry_free(configs, entry);
    }
    pthread_mutex_unlock(&configs->lock);
}

void topic_configs_take(struct topic_configs *configs, struct str topic,
                        const struct znode_config *config)
{
    struct arena arena = {0};
    struct config_pair *pairs =
        arena_array(&arena, struct config_pair, (size_t)config->pairs_count + 1);
    for (int32_t i = 0; i < config->pairs_count; i++) {
        pairs[i].name = arena_cstr(&arena, config->pairs[i].key);
        pairs[i].value = arena_cstr(&arena, config->pairs[i].value);
    }
    topic_configs_set(configs, topic, pairs, config->pairs_count);
    arena_fini(&arena);
}

struct config_pair *topic_configs_pairs(struct topic_configs *configs, struct str topic, int *count)
{
    pthread_mutex_lock(&configs->lock);
    const struct topic_entry *entry = find(configs, topic);
    *count = entry != NULL ? entry->count : 0;
    struct config_pair *copy = pairs_copy(entry != NULL ? entry->pairs : NULL, *count);
    pthread_mutex_unlock(&configs->lock);
    return copy;
}

void topic_configs_throttled(struct topic_configs *configs, struct str topic, int32_t index,
                             int32_t broker_id, bool *leader, bool *follower)
{
    pthread_mutex_lock(&configs->lock);
    const struct topic_entry *entry = find(configs, topic);
    *leader = false;
    *follower = false;
    for (int i = 0; entry != NULL && i < entry->count; i++) {
        const struct config_pair *pair = &entry->pairs[i];
        enum topic_key key = topic_key_find(pair->name);
        if (key == TOPIC_leader_replication_throttled_replicas) {
            *leader = config_throttles(pair->value, index, broker_id);
        } else if (key == TOPIC_follower_replication_throttled_replicas) {
            *follower = config_throttles(pair->value, index, broker_id);
        }
    }
    pthread_mutex_unlock(&configs->lock);
}

void topic_configs_each(struct topic_configs *configs, topic_configs_fn *fn, void *arg)
{
    struct topic_entry *entry;
    struct topic_entry *next;
    pthread_mutex_lock(&configs->lock);
    HASH_ITER (hh, configs->by_name, entry, next) {
        fn(arg, str_of(entry->name), entry->pairs, entry->count);
    }
    pthread_mutex_unlock(&configs->lock);
}

/* False: it has values of its own. */
static bool get_plain(struct topic_configs *configs, struct str topic, struct topic_config *out)
{
    const struct config *config = config_cell_get(configs->config);
    const struct config *old = config;
    pthread_mutex_lock(&configs->lock);
    const struct topic_entry *entry = find(configs, topic);
    bool plain = entry == NULL || entry->count == 0;
    if (plain && configs->plain_from != config) {
        old = configs->plain_from;
        topic_config_build(config, NULL, 0, &configs->plain);
        configs->plain_from = config;
    }
    *out = configs->plain;
    pthread_mutex_unlock(&configs->lock);
    config_put(old);
    return plain;
}

void topic_configs_get(struct topic_configs *configs, struct str topic, struct topic_config *out)
{
    int count;
    if (get_plain(configs, topic, out)) {
        return;
    }
    struct config_pair *pairs = topic_configs_pairs(configs, topic, &count);
    const struct config *config = config_cell_get(configs->config);
    topic_config_build(config, pairs, count, out);
    config_put(config);
    mem_free(pairs);
}
