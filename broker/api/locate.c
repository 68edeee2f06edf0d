#include "api/locate.h"

#include "api/broker.h"

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

struct part *locate_leader(struct req *req, struct str topic, int32_t index, enum err *err)
{
    struct part *part = locate_part(req, topic, index, err);
    if (part == NULL) {
        return NULL;
    }
    switch (part_now(part).role) {
    case PART_LEADER:
        return part;
    case PART_OFFLINE:
        *err = ERR_KAFKA_STORAGE_ERROR;
        return NULL;
    case PART_FOLLOWER:
    case PART_NONE:
        break;
    }
    *err = ERR_NOT_LEADER_OR_FOLLOWER;
    return NULL;
}

struct str locate_topic_name(struct req *req, struct uuid id)
{
    const struct meta_topic *topic = meta_find_id(meta_reader_now(&req->netloop->meta), id);
    return topic != NULL ? topic->name : STR_NULL;
}

bool topic_is_internal(struct str topic)
{
    return str_is(topic, "__consumer_offsets") || str_is(topic, "__transaction_state") ||
           str_is(topic, "__share_group_state");
}

void locate_current_leader(struct req *req, struct str topic, int32_t index, int32_t *leader_id,
                           int32_t *leader_epoch)
{
    *leader_id = -1;
    *leader_epoch = -1;
    const struct meta_topic *known = meta_find(meta_reader_now(&req->netloop->meta), topic);
    const struct meta_partition *partition =
        known != NULL ? meta_topic_partition(known, index) : NULL;
    if (partition != NULL) {
        *leader_id = partition->leader;
        *leader_epoch = partition->leader_epoch;
    }
}
