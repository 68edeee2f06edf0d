#include "admin/new_partitions.h"

#include "admin/new_topic.h"

static enum err check_now(const struct znode_topic *topic, struct str name, int32_t count,
                          struct errmsg *msg)
{
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        if (topic->partitions[i].adding.count + topic->partitions[i].removing.count > 0) {
            errmsg_set(msg, "A partition reassignment is in progress for the topic '%.*s'.",
                       STR_ARG(name));
            return ERR_REASSIGNMENT_IN_PROGRESS;
        }
    }
    if (topic->partitions_count == 0) {
        errmsg_set(msg, "The topic '%.*s' does not exist.", STR_ARG(name));
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (count < topic->partitions_count) {
        errmsg_set(msg, "Topic currently has %d partitions, which is higher than the requested %d.",
                   topic->partitions_count, count);
        return ERR_INVALID_PARTITIONS;
    }
    if (count == topic->partitions_count) {
        errmsg_set(msg, "Topic already has %d partitions.", count);
        return ERR_INVALID_PARTITIONS;
    }
    if (count > NEW_TOPIC_PARTITIONS_MAX) {
        errmsg_set(msg, "A topic can have at most %d partitions.", NEW_TOPIC_PARTITIONS_MAX);
        return ERR_INVALID_PARTITIONS;
    }
    return ERR_OK;
}

static bool has_before(const struct znode_ids *ids, int32_t end, int32_t id)
{
    for (int32_t i = 0; i < end; i++) {
        if (ids->ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* One new partition's replicas as the client wants them. */
static enum err check_replicas(const struct meta *meta, const struct znode_ids *ids, int32_t factor,
                               int32_t partition, struct errmsg *msg)
{
    if (ids->count != factor) {
        errmsg_set(msg, "Partition %d was assigned %d replicas, but the topic has %d.", partition,
                   ids->count, factor);
        return ERR_INVALID_REPLICA_ASSIGNMENT;
    }
    for (int32_t i = 0; i < ids->count; i++) {
        if (meta_find_broker(meta, ids->ids[i]) == NULL) {
            errmsg_set(msg, "Unknown broker(s) in replica assignment: %d.", ids->ids[i]);
            return ERR_INVALID_REPLICA_ASSIGNMENT;
        }
        if (has_before(ids, i, ids->ids[i])) {
            errmsg_set(msg, "Partition %d names broker %d twice in its assignment.", partition,
                       ids->ids[i]);
            return ERR_INVALID_REPLICA_ASSIGNMENT;
        }
    }
    return ERR_OK;
}

static enum err take_wished(const struct meta *meta, const struct znode_topic *topic,
                            struct znode_ids *wished, int32_t wished_count,
                            struct new_partitions *out, struct errmsg *msg)
{
    if (wished_count != out->count) {
        errmsg_set(msg, "Increasing the number of partitions by %d but %d assignments provided.",
                   out->count, wished_count);
        return ERR_INVALID_REPLICA_ASSIGNMENT;
    }
    for (int32_t i = 0; i < wished_count; i++) {
        enum err err = check_replicas(meta, &wished[i], topic->partitions[0].replicas.count,
                                      out->count_before + i, msg);
        if (err != ERR_OK) {
            return err;
        }
    }
    out->replicas = wished;
    return ERR_OK;
}

enum err new_partitions_plan(struct admin_service *service, struct arena *arena,
                             const struct meta *meta, const struct znode_topic *topic,
                             struct str name, int32_t count, struct znode_ids *wished,
                             int32_t wished_count, struct new_partitions *out, struct errmsg *msg)
{
    enum err err = check_now(topic, name, count, msg);
    if (err != ERR_OK) {
        return err;
    }
    const struct znode_ids *first = &topic->partitions[0].replicas;
    *out = (struct new_partitions){.count_before = topic->partitions_count,
                                   .count = count - topic->partitions_count};
    if (wished != NULL) {
        return take_wished(meta, topic, wished, wished_count, out, msg);
    }
    struct assign_request request = {
        .partitions_count = out->count,
        .replication_factor = first->count,
        .partition_first = topic->partitions_count,
        .first_replica_of_0 = first->count > 0 ? first->ids[0] : -1,
    };
    out->replicas = arena_array(arena, struct znode_ids, (size_t)out->count);
    return admin_assign(service, arena, meta, &request, out->replicas, msg);
}
