#include "log/shelf.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/ref.h"

enum { SHELF_NAMES = 256, SHELF_CONFIGS = 16 };

struct shelf {
    _Atomic int32_t count;
    pthread_mutex_t lock;
    struct text *names[SHELF_NAMES];
    struct shelf_config *configs[SHELF_CONFIGS];
};

/* All of a configuration but the padding at its end. */
enum { CONFIG_BYTES = offsetof(struct topic_config, unclean_leader_election) + sizeof(bool) };

struct shelf *shelf_new(void)
{
    struct shelf *shelf = mem_new(struct shelf);
    atomic_init(&shelf->count, 1);
    pthread_mutex_init(&shelf->lock, NULL);
    return shelf;
}

struct shelf *shelf_hold(struct shelf *shelf)
{
    if (shelf != NULL) {
        ref_hold(&shelf->count);
    }
    return shelf;
}

void shelf_put(struct shelf *shelf)
{
    if (shelf == NULL || !ref_drop(&shelf->count)) {
        return;
    }
    for (size_t i = 0; i < SHELF_NAMES; i++) {
        text_put(shelf->names[i]);
    }
    for (size_t i = 0; i < SHELF_CONFIGS; i++) {
        shelf_config_put(shelf->configs[i]);
    }
    pthread_mutex_destroy(&shelf->lock);
    mem_free(shelf);
}

struct text *shelf_name(struct shelf *shelf, struct str name)
{
    if (shelf == NULL) {
        return text_new(name);
    }
    pthread_mutex_lock(&shelf->lock);
    struct text **place = &shelf->names[bytes_hash(name.ptr, name.size, 0) % SHELF_NAMES];
    if (*place == NULL || !str_eq(str_of((*place)->chars), name)) {
        text_put(*place);
        *place = text_new(name);
    }
    struct text *held = text_hold(*place);
    pthread_mutex_unlock(&shelf->lock);
    return held;
}

static struct shelf_config *config_new(const struct topic_config *config)
{
    struct shelf_config *fresh = mem_new(struct shelf_config);
    atomic_init(&fresh->count, 1);
    fresh->config = *config;
    return fresh;
}

struct shelf_config *shelf_config(struct shelf *shelf, const struct topic_config *config)
{
    if (shelf == NULL) {
        return config_new(config);
    }
    pthread_mutex_lock(&shelf->lock);
    struct shelf_config **place =
        &shelf->configs[bytes_hash(config, CONFIG_BYTES, 0) % SHELF_CONFIGS];
    if (*place == NULL || memcmp(&(*place)->config, config, CONFIG_BYTES) != 0) {
        shelf_config_put(*place);
        *place = config_new(config);
    }
    struct shelf_config *held = *place;
    ref_hold(&held->count);
    pthread_mutex_unlock(&shelf->lock);
    return held;
}

void shelf_config_put(struct shelf_config *config)
{
    if (config != NULL && ref_drop(&config->count)) {
        mem_free(config);
    }
}
