#include "admin/admin_service.h"

#include <stdatomic.h>
#include <stdio.h>

#include "admin/admin_host.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "config/config.h"

#define LOGGER "kafka.server.DefaultAutoTopicCreationManager"

struct admin_service {
    struct admin *admin;
    struct admin_host host;
    struct rng rng;
    struct list creations; /* of struct creation: in ZooKeeper now */
    _Atomic int under_way;
};

/* One automatic creation, from the asker's loop through ZooKeeper. */
struct creation {
    struct list link;
    struct loop_msg msg;
    struct admin_service *service;
    char *name;
};

struct admin_service *admin_service_new(const struct admin_host *host, struct admin *admin)
{
    struct admin_service *service = mem_new(struct admin_service);
    service->admin = admin;
    service->host = *host;
    rng_seed(&service->rng, host->seed);
    list_init(&service->creations);
    return service;
}

void admin_service_free(struct admin_service *service)
{
    list_for_each_safe (link, &service->creations) {
        struct creation *creation = container_of(link, struct creation, link);
        list_remove(&creation->link);
        mem_free(creation->name);
        mem_free(creation);
    }
    mem_free(service);
}

struct admin *admin_service_admin(struct admin_service *service)
{
    return service->admin;
}

struct rng *admin_service_rng(struct admin_service *service)
{
    return &service->rng;
}

/* ---- names ---- */

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool topic_name_valid(struct str name)
{
    if (name.ptr == NULL || name.size == 0 || name.size > TOPIC_NAME_MAX_BYTES ||
        str_is(name, ".") || str_is(name, "..")) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (!name_char(name.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool topic_names_collide(struct str a, struct str b)
{
    if (a.size != b.size || str_eq(a, b)) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        char x = a.ptr[i] == '.' ? '_' : a.ptr[i];
        char y = b.ptr[i] == '.' ? '_' : b.ptr[i];
        if (x != y) {
            return false;
        }
    }
    return true;
}

/* The first of the topics low..high-1, which have the same first `at` characters, whose next one is
 * not below `c`; names that end there come before all. */
static int32_t first_from(const struct meta *meta, size_t at, int32_t low, int32_t high, int c)
{
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        struct str name = meta->by_name[middle]->name;
        if (name.size <= at || (uint8_t)name.ptr[at] < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Of the topics low..high-1, whose first `at` characters are those of `name` but for '.' and '_'.
 * Those that are left are few after some characters, so this may be asked for each name of a large
 * request. */
static const struct meta_topic *find_colliding(const struct meta *meta, struct str name, size_t at,
                                               int32_t low, int32_t high)
{
    if (high - low <= 1 || at == name.size) {
        const struct meta_topic *first = low < high ? meta->by_name[low] : NULL;
        return first != NULL && topic_names_collide(first->name, name) ? first : NULL;
    }
    int c = (uint8_t)name.ptr[at];
    int either[] = {c == '_' ? '.' : c, c == '.' ? '_' : c};
    const struct meta_topic *found = NULL;
    for (int i = 0; i < (either[0] == either[1] ? 1 : 2) && found == NULL; i++) {
        int32_t from = first_from(meta, at, low, high, either[i]);
        int32_t end = first_from(meta, at, from, high, either[i] + 1);
        found = find_colliding(meta, name, at + 1, from, end);
    }
    return found;
}

const struct meta_topic *topic_name_collision(const struct meta *meta, struct str name)
{
    return find_colliding(meta, name, 0, 0, meta->topics_count);
}

bool topic_is_led(const struct meta *meta, struct str name, int32_t count)
{
    const struct meta_topic *topic = meta_find(meta, name);
    for (int32_t i = 0; topic != NULL && i < count; i++) {
        const struct meta_partition *partition = meta_topic_partition(topic, i);
        if (partition == NULL || partition->leader == META_LEADER_NONE) {
            return false;
        }
    }
    return topic != NULL;
}

/* ---- placing replicas ---- */

enum err admin_assign(struct admin_service *service, struct arena *arena, const struct meta *meta,
                      const struct assign_request *wanted, struct znode_ids *placed,
                      struct errmsg *msg)
{
    struct assign_broker *brokers =
        arena_array(arena, struct assign_broker, (size_t)meta->brokers_count);
    struct assign_request request = *wanted;
    for (int32_t i = 0; i < meta->brokers_count; i++) {
        brokers[i] = (struct assign_broker){meta->brokers[i].id, str_of(meta->brokers[i].rack)};
    }
    request.brokers = brokers;
    request.brokers_count = meta->brokers_count;
    return assign_replicas(arena, &service->rng, &request, placed, msg);
}

/* ---- creating what is asked for ---- */

/* What a topic of that name gets when nobody says. */
struct defaults {
    enum config_key partitions;
    enum config_key replication_factor;
};

static const struct defaults plain_defaults = {KEY_num_partitions, KEY_default_replication_factor};
static const struct defaults offsets_defaults = {KEY_offsets_topic_num_partitions,
                                                 KEY_offsets_topic_replication_factor};
static const struct defaults transactions_defaults = {KEY_transaction_state_log_num_partitions,
                                                      KEY_transaction_state_log_replication_factor};

static const struct defaults *defaults_of(struct str name)
{
    return str_is(name, "__consumer_offsets")    ? &offsets_defaults
           : str_is(name, "__transaction_state") ? &transactions_defaults
                                                 : &plain_defaults;
}

static void creation_end(struct creation *creation)
{
    atomic_fetch_sub(&creation->service->under_way, 1);
    list_remove(&creation->link);
    mem_free(creation->name);
    mem_free(creation);
}

static void on_created(void *arg, enum err err, const char *text)
{
    struct creation *creation = arg;
    if (err == ERR_OK) {
        log_info(LOGGER, "created topic on request", "topic=%s", creation->name);
    } else if (err != ERR_TOPIC_ALREADY_EXISTS) {
        log_warn(LOGGER, "cannot create topic on request", "topic=%s error=%s %s", creation->name,
                 err_text(err), text);
    }
    creation_end(creation);
}

/* The internal topics' own settings. */
static struct znode_config internal_config(const struct config *config,
                                           const struct defaults *defaults, struct arena *arena)
{
    struct znode_pair *pairs = arena_array(arena, struct znode_pair, 5);
    bool offsets = defaults == &offsets_defaults;
    enum config_key segment =
        offsets ? KEY_offsets_topic_segment_bytes : KEY_transaction_state_log_segment_bytes;
    pairs[0] = (struct znode_pair){STR("compression.type"),
                                   offsets ? STR("producer") : STR("uncompressed")};
    pairs[1] = (struct znode_pair){STR("cleanup.policy"), STR("compact")};
    pairs[2] = (struct znode_pair){STR("segment.bytes"),
                                   str_of(arena_printf(arena, "%d", config_int(config, segment)))};
    if (offsets) {
        return (struct znode_config){pairs, 3};
    }
    int32_t isr_min = config_int(config, KEY_transaction_state_log_min_isr);
    pairs[3] =
        (struct znode_pair){STR("min.insync.replicas"), str_of(arena_printf(arena, "%d", isr_min))};
    pairs[4] = (struct znode_pair){STR("unclean.leader.election.enable"), STR("false")};
    return (struct znode_config){pairs, 5};
}

static enum err plan_auto(struct admin_service *service, struct arena *arena,
                          const struct meta *meta, const struct config *config, struct str name,
                          struct admin_topic *out, struct errmsg *msg)
{
    const struct defaults *defaults = defaults_of(name);
    int32_t count = config_int(config, defaults->partitions);
    struct assign_request wanted = {.partitions_count = count,
                                    .replication_factor =
                                        config_int(config, defaults->replication_factor),
                                    .first_replica_of_0 = -1};
    struct znode_ids *placed = arena_array(arena, struct znode_ids, (size_t)count);
    enum err err = admin_assign(service, arena, meta, &wanted, placed, msg);
    if (err != ERR_OK) {
        return err;
    }
    struct znode_partition *partitions = arena_array(arena, struct znode_partition, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        partitions[i].index = i;
        partitions[i].replicas = placed[i];
    }
    *out = (struct admin_topic){
        .name = name,
        .id = uuid_random(&service->rng),
        .partitions = partitions,
        .partitions_count = count,
    };
    if (defaults != &plain_defaults) {
        out->config = internal_config(config, defaults, arena);
    }
    return ERR_OK;
}

enum err admin_auto_plan(struct admin_service *service, struct arena *arena,
                         const struct meta *meta, struct str name, struct admin_topic *out,
                         struct errmsg *msg)
{
    const struct config *config = config_cell_get(service->host.config);
    enum err err = plan_auto(service, arena, meta, config, name, out, msg);
    config_put(config);
    return err;
}

/* Whoever asks is told to ask again, and would for ever: why is told here alone, as in Kafka. */
static void warn_impossible(const struct creation *creation, const char *text)
{
    static struct log_limit limit;
    log_limited(&limit, LOG_WARN, LOGGER, "cannot create topic on request",
                "[W-TOPIC-04] topic=%s reason=\"%s\"", creation->name, text);
}

/* False: there is nothing to wait for. */
static bool create_now(struct creation *creation, struct arena *arena, const struct meta *meta)
{
    struct admin_service *service = creation->service;
    struct admin_topic topic;
    struct errmsg msg = {""};
    enum err err = admin_auto_plan(service, arena, meta, str_of(creation->name), &topic, &msg);
    if (err != ERR_OK) {
        warn_impossible(creation, msg.text);
        return false;
    }
    admin_create_topic(service->admin, &topic, on_created, creation);
    return true;
}

static bool already_under_way(const struct admin_service *service, const struct creation *creation)
{
    list_for_each (link, &service->creations) {
        const struct creation *other = container_of(link, struct creation, link);
        if (other != creation && strcmp(other->name, creation->name) == 0) {
            return true;
        }
    }
    return false;
}

/* On the control loop. */
static void on_creation(struct loop_msg *msg)
{
    struct creation *creation = container_of(msg, struct creation, msg);
    struct admin_service *service = creation->service;
    struct meta *meta = meta_cell_get(service->host.meta);
    struct arena arena = {0};
    list_push_back(&service->creations, &creation->link);
    bool needless = already_under_way(service, creation) ||
                    meta_find(meta, str_of(creation->name)) != NULL ||
                    topic_name_collision(meta, str_of(creation->name)) != NULL;
    if (needless || !create_now(creation, &arena, meta)) {
        creation_end(creation);
    }
    arena_fini(&arena);
    meta_put(meta);
}

static void warn_too_few(struct str name, const struct defaults *defaults, int32_t wanted,
                         int32_t brokers)
{
    static struct log_limit limit;
    if (defaults == &offsets_defaults) {
        log_limited(&limit, LOG_WARN, LOGGER, "consumer groups cannot work yet",
                    "[W-TOPIC-02] offsets.topic.replication.factor=%d but %d broker(s) are alive: "
                    "groups work when %d brokers have joined, or set it to %d.",
                    wanted, brokers, wanted, brokers);
    } else {
        log_limited(&limit, LOG_WARN, LOGGER, "cannot create topic on request",
                    "[W-TOPIC-03] topic %.*s wants %s=%d but %d broker(s) are alive.",
                    STR_ARG(name), config_info(defaults->replication_factor)->name, wanted,
                    brokers);
    }
}

static int32_t replicas_wanted(struct admin_service *service, const struct defaults *defaults)
{
    const struct config *config = config_cell_get(service->host.config);
    int32_t wanted = config_int(config, defaults->replication_factor);
    config_put(config);
    return wanted;
}

enum err admin_auto_create(struct admin_service *service, struct str name, const struct meta *meta)
{
    if (!topic_name_valid(name) || topic_name_collision(meta, name) != NULL) {
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    const struct defaults *defaults = defaults_of(name);
    int32_t wanted = replicas_wanted(service, defaults);
    if (wanted > meta->brokers_count) {
        warn_too_few(name, defaults, wanted, meta->brokers_count);
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    if (atomic_fetch_add(&service->under_way, 1) >= ADMIN_AUTO_CREATE_MAX) {
        atomic_fetch_sub(&service->under_way, 1);
        return ERR_LEADER_NOT_AVAILABLE;
    }
    struct creation *creation = mem_new(struct creation);
    creation->service = service;
    creation->name = str_dup(name);
    creation->msg.fn = on_creation;
    list_init(&creation->link);
    loop_post(service->host.control, &creation->msg);
    return ERR_LEADER_NOT_AVAILABLE;
}
