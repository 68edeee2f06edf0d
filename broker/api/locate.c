#include "api/locate.h"

#include "api/broker.h"
#include "api/client.h"

struct part *locate_part(struct req *req, struct str topic, int32_t index, enum err *err)
{
    struct part *part = parts_find(&req->netloop->parts, topic, index);
    if (part != NULL) {
        *err = ERR_OK;
        return part;
    }
    const struct meta_topic *known = meta_find(meta_reader_now(&req->netloop->meta), topic);
    bool exists = known != NULL && meta_topic_partition(known, index) != NULL;
    *err = exists ? ERR_NOT_LEADER_OR_FOLLOWER : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    return NULL;
}

struct part *locate_replica(struct req *req, const struct locate_wanted *wanted, enum err *err)
{
    struct part *part = locate_part(req, wanted->topic, wanted->index, err);
    if (part == NULL) {
        return NULL;
    }
    struct part_now now = part_now(part);
    if (now.role == PART_OFFLINE) {
        *err = ERR_KAFKA_STORAGE_ERROR;
    } else if (now.role == PART_NONE) {
        *err = ERR_NOT_LEADER_OR_FOLLOWER;
    } else {
        *err = part_check_epoch(now, wanted->current_leader_epoch);
    }
    if (*err == ERR_OK && wanted->leader_only && now.role != PART_LEADER) {
        *err = ERR_NOT_LEADER_OR_FOLLOWER;
    }
    return *err == ERR_OK ? part : NULL;
}

struct part *locate_leader(struct req *req, struct str topic, int32_t index, enum err *err)
{
    struct locate_wanted wanted = {
        .topic = topic, .index = index, .current_leader_epoch = -1, .leader_only = true};
    return locate_replica(req, &wanted, err);
}

struct str locate_topic_name(struct req *req, struct uuid id)
{
    const struct meta_topic *topic = meta_find_id(meta_reader_now(&req->netloop->meta), id);
    return topic != NULL ? arena_str(&req->arena, topic->name) : STR_NULL;
}

bool topic_is_internal(struct str topic)
{
    return str_is(topic, "__consumer_offsets") || str_is(topic, "__transaction_state") ||
           str_is(topic, "__share_group_state");
}

static void hints_add(struct req *req, struct locate_hints *hints, const struct meta *meta,
                      int32_t broker_id)
{
    for (int32_t i = 0; i < hints->count; i++) {
        if (hints->broker_ids[i] == broker_id) {
            return;
        }
    }
    if (hints->broker_ids == NULL) {
        hints->broker_ids = req_array(req, int32_t, meta->brokers_count);
        hints->capacity = meta->brokers_count;
    }
    /* A newer snapshot may have come meanwhile and have more brokers: a hint is only a hint. */
    if (hints->count < hints->capacity) {
        hints->broker_ids[hints->count++] = broker_id;
    }
}

void locate_current_leader(struct req *req, struct str topic, int32_t index,
                           struct locate_hints *hints, int32_t *leader_id, int32_t *leader_epoch)
{
    *leader_id = -1;
    *leader_epoch = -1;
    const struct meta *meta = meta_reader_now(&req->netloop->meta);
    const struct meta_topic *known = meta_find(meta, topic);
    const struct meta_partition *partition =
        known != NULL ? meta_topic_partition(known, index) : NULL;
    if (partition == NULL) {
        return;
    }
    *leader_id = partition->leader;
    *leader_epoch = partition->leader_epoch;
    const struct meta_broker *broker = meta_find_broker(meta, partition->leader);
    if (broker != NULL && meta_broker_endpoint(broker, req->client->listener->name) != NULL) {
        hints_add(req, hints, meta, partition->leader);
    }
}

bool locate_node(struct req *req, int32_t broker_id, struct locate_node *out)
{
    const struct meta_broker *broker =
        meta_find_broker(meta_reader_now(&req->netloop->meta), broker_id);
    const struct meta_endpoint *endpoint =
        broker != NULL ? meta_broker_endpoint(broker, req->client->listener->name) : NULL;
    if (endpoint == NULL) {
        return false;
    }
    *out = (struct locate_node){
        .host = arena_str(&req->arena, str_of(endpoint->host)),
        .port = endpoint->port,
        .rack = arena_str(&req->arena, str_of(broker->rack)),
    };
    return true;
}
