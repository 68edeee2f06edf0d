#include "admin/new_topic.h"

#include <stdlib.h>
#include <string.h>

/* ---- placing ---- */

static enum err check_wish(const struct new_topic_wish *wish, struct errmsg *msg)
{
    for (int32_t i = 0; i < wish->configs_count; i++) {
        if (wish->configs[i].value.ptr == NULL) {
            errmsg_set(msg, "Null value not supported for topic configs: %.*s",
                       STR_ARG(wish->configs[i].key));
            return ERR_INVALID_CONFIG;
        }
    }
    if (wish->assignments_count > 0 &&
        (wish->partitions_count != -1 || wish->replication_factor != -1)) {
        errmsg_set(msg, "A replica assignment was given together with a number of partitions or a "
                        "replication factor; only one of the two can be used.");
        return ERR_INVALID_REQUEST;
    }
    if (wish->partitions_count > NEW_TOPIC_PARTITIONS_MAX ||
        wish->assignments_count > NEW_TOPIC_PARTITIONS_MAX) {
        errmsg_set(msg, "A topic can have at most %d partitions.", NEW_TOPIC_PARTITIONS_MAX);
        return ERR_INVALID_PARTITIONS;
    }
    return ERR_OK;
}

static enum err place(struct admin_service *service, struct arena *arena, const struct meta *meta,
                      const struct config *config, const struct new_topic_wish *wish,
                      struct admin_topic *out, struct errmsg *msg)
{
    int32_t count = wish->partitions_count;
    int32_t factor = wish->replication_factor;
    struct assign_request request = {
        .partitions_count = count == -1 ? config_int(config, KEY_num_partitions) : count,
        .replication_factor =
            factor == -1 ? config_int(config, KEY_default_replication_factor) : factor,
        .first_replica_of_0 = -1,
    };
    size_t size = request.partitions_count > 0 ? (size_t)request.partitions_count : 0;
    struct znode_ids *placed = arena_array(arena, struct znode_ids, size);
    struct znode_partition *partitions = arena_array(arena, struct znode_partition, size);
    enum err err = admin_assign(service, arena, meta, &request, placed, msg);
    if (err != ERR_OK) {
        return err;
    }
    for (int32_t i = 0; i < request.partitions_count; i++) {
        partitions[i] = (struct znode_partition){.index = i, .replicas = placed[i]};
    }
    out->partitions = partitions;
    out->partitions_count = request.partitions_count;
    return ERR_OK;
}

/* By index; of equal indexes the later one in the request first. */
static int by_index(const void *a, const void *b)
{
    const struct new_topic_assignment *const *x = a;
    const struct new_topic_assignment *const *y = b;
    if ((*x)->index != (*y)->index) {
        return (*x)->index < (*y)->index ? -1 : 1;
    }
    return *x > *y ? -1 : 1;
}

/* As the client assigned them, sorted; an index given twice counts as the client last gave it. */
static void take_assignments(struct arena *arena, const struct new_topic_wish *wish,
                             struct admin_topic *out)
{
    size_t count = (size_t)wish->assignments_count;
    const struct new_topic_assignment **sorted =
        arena_array(arena, const struct new_topic_assignment *, count);
    struct znode_partition *partitions = arena_array(arena, struct znode_partition, count);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &wish->assignments[i];
    }
    qsort(sorted, count, sizeof(const struct new_topic_assignment *), by_index);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && sorted[i]->index == sorted[i - 1]->index) {
            continue;
        }
        partitions[out->partitions_count++] = (struct znode_partition){
            .index = sorted[i]->index,
            .replicas = {sorted[i]->ids, sorted[i]->ids_count},
        };
    }
    out->partitions = partitions;
}

/* Each key once, as the client last gave it. */
static struct znode_config take_configs(struct arena *arena, const struct new_topic_wish *wish)
{
    struct znode_pair *pairs = arena_array(arena, struct znode_pair, (size_t)wish->configs_count);
    int32_t count = 0;
    for (int32_t i = 0; i < wish->configs_count; i++) {
        int32_t at = 0;
        while (at < count && !str_eq(pairs[at].key, wish->configs[i].key)) {
            at++;
        }
        count += at == count;
        pairs[at] = wish->configs[i];
    }
    return (struct znode_config){pairs, count};
}

static enum err check_valid(struct str name, struct errmsg *msg)
{
    if (topic_name_valid(name)) {
        return ERR_OK;
    }
    errmsg_set(msg,
               "Topic name is invalid: '%.*s' must be 1 to %d characters of ASCII letters, digits, "
               "'.', '_' and '-', and neither '.' nor '..'.",
               name.size > 300 ? 300 : (int)name.size, name.ptr, TOPIC_NAME_MAX_BYTES);
    return ERR_INVALID_TOPIC_EXCEPTION;
}

enum err new_topic_plan(struct admin_service *service, struct arena *arena, const struct meta *meta,
                        const struct config *config, const struct new_topic_wish *wish,
                        struct admin_topic *out, struct errmsg *msg)
{
    *out = (struct admin_topic){.name = wish->name};
    enum err err = check_wish(wish, msg);
    if (err != ERR_OK) {
        return err;
    }
    if (wish->configs_count > TOPIC_KEY_COUNT * 4) {
        errmsg_set(msg, "A topic has %d configuration keys; %d were given.", TOPIC_KEY_COUNT,
                   wish->configs_count);
        return ERR_INVALID_CONFIG;
    }
    out->config = take_configs(arena, wish);
    out->id = uuid_random(admin_service_rng(service));
    if (wish->assignments_count > 0) {
        take_assignments(arena, wish, out);
    } else {
        err = place(service, arena, meta, config, wish, out, msg);
    }
    return err != ERR_OK ? err : check_valid(wish->name, msg);
}

/* ---- names ---- */

enum err new_topic_check_name(struct str name, const struct str *existing, int32_t count,
                              struct errmsg *msg)
{
    for (int32_t i = 0; i < count; i++) {
        if (str_eq(existing[i], name)) {
            errmsg_set(msg, "Topic '%.*s' already exists.", STR_ARG(name));
            return ERR_TOPIC_ALREADY_EXISTS;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        if (topic_names_collide(existing[i], name)) {
            errmsg_set(msg,
                       "Topic '%.*s' collides with the existing topic '%.*s': their metrics "
                       "would have the same name.",
                       STR_ARG(name), STR_ARG(existing[i]));
            return ERR_INVALID_TOPIC_EXCEPTION;
        }
    }
    return ERR_OK;
}

/* ---- the assignment and the configuration ---- */

static bool has_twice(const struct znode_ids *ids)
{
    for (int32_t i = 0; i < ids->count; i++) {
        for (int32_t j = 0; j < i; j++) {
            if (ids->ids[i] == ids->ids[j]) {
                return true;
            }
        }
    }
    return false;
}

static enum err check_assignment(const struct admin_topic *topic, struct errmsg *msg)
{
    int32_t factor = topic->partitions[0].replicas.count;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct znode_partition *partition = &topic->partitions[i];
        if (partition->replicas.count != factor || factor == 0) {
            errmsg_set(msg, "All partitions should have the same number of replicas, at least 1.");
        } else if (factor > TOPIC_REPLICAS_MAX) {
            errmsg_set(msg, "A partition can have at most %d replicas.", TOPIC_REPLICAS_MAX);
        } else if (has_twice(&partition->replicas)) {
            errmsg_set(msg, "Partition %d names a broker twice in its assignment.",
                       partition->index);
        } else if (partition->index != i) {
            errmsg_set(msg,
                       "The partitions assigned should be numbered 0, 1, 2 and so on; "
                       "partition %d is not among them.",
                       i);
        } else {
            continue;
        }
        return ERR_INVALID_REPLICA_ASSIGNMENT;
    }
    return ERR_OK;
}

static enum err check_configs(struct arena *arena, const struct znode_config *config,
                              struct errmsg *msg)
{
    struct config_pair *pairs = arena_array(arena, struct config_pair, (size_t)config->pairs_count);
    for (int32_t i = 0; i < config->pairs_count; i++) {
        const struct znode_pair *from = &config->pairs[i];
        if (memchr(from->key.ptr, '\0', from->key.size) != NULL ||
            memchr(from->value.ptr, '\0', from->value.size) != NULL) {
            errmsg_set(msg, "A configuration key or value has a zero byte in it.");
            return ERR_INVALID_CONFIG;
        }
        pairs[i] =
            (struct config_pair){arena_cstr(arena, from->key), arena_cstr(arena, from->value)};
    }
    return topic_config_check_all(pairs, config->pairs_count, msg);
}

enum err new_topic_check(struct arena *arena, const struct admin_topic *topic, struct errmsg *msg)
{
    enum err err = check_assignment(topic, msg);
    return err != ERR_OK ? err : check_configs(arena, &topic->config, msg);
}
