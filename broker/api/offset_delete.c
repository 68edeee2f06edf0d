/* OffsetDelete: forget a group's offsets of partitions that it does not read. An error of the group
 * stands alone; else each partition has its own. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/handlers.h"
#include "base/must.h"

typedef struct offset_delete_request_offset_delete_request_topic wanted_topic;
typedef struct offset_delete_response_offset_delete_response_topic answered_topic;
typedef struct offset_delete_response_offset_delete_response_partition answered_partition;

struct deleting {
    struct group_req group;
    struct offset_delete_response response;
    answered_partition **asked; /* the answers that the coordinator gives, in its order */
    int32_t asked_count;
};

static void refuse(struct req *req, enum err err)
{
    struct offset_delete_response response;
    codec_init(&offset_delete_response_desc, &response);
    response.error_code = err_wire(err);
    req_reply(req, &response);
}

static void copy_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct deleting *deleting =
        container_of(container_of(call, struct group_req, call), struct deleting, group);
    deleting->group.response = &deleting->response;
    if (reply->offsets.err != ERR_OK) {
        codec_init(&offset_delete_response_desc, &deleting->response);
        deleting->response.error_code = err_wire(reply->offsets.err);
        return;
    }
    int32_t at = 0;
    for (size_t i = 0; i < reply->offsets.topic_count; i++) {
        const struct grp_reply_topic *topic = &reply->offsets.topics[i];
        for (size_t j = 0; j < topic->partition_count; j++) {
            must(at < deleting->asked_count);
            deleting->asked[at++]->error_code = err_wire(topic->partitions[j].err);
        }
    }
    must(at == deleting->asked_count);
}

/* Fill in one topic's answers; the partitions that exist are added to `to`. */
static size_t sort_topic(struct req *req, const wanted_topic *from, answered_topic *answers,
                         struct deleting *deleting, int32_t *to)
{
    const struct meta_topic *topic = meta_find(meta_reader_now(&req->netloop->meta), from->name);
    size_t count = 0;
    answers->name = from->name;
    answers->partitions_count = from->partitions_count;
    answers->partitions = req_array(req, answered_partition, from->partitions_count);
    for (int32_t i = 0; i < from->partitions_count; i++) {
        int32_t index = from->partitions[i].partition_index;
        answers->partitions[i].partition_index = index;
        if (topic == NULL || meta_topic_partition(topic, index) == NULL) {
            answers->partitions[i].error_code = err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION);
        } else {
            to[count++] = index;
            deleting->asked[deleting->asked_count++] = &answers->partitions[i];
        }
    }
    return count;
}

static void sort(struct req *req, struct deleting *deleting, struct grp_offset_delete *request_out)
{
    const struct offset_delete_request *request = req->body;
    struct offset_delete_response *response = &deleting->response;
    int32_t partitions_count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        partitions_count += request->topics[i].partitions_count;
    }
    struct grp_topic_partitions *topics =
        req_array(req, struct grp_topic_partitions, request->topics_count);
    int32_t *partitions = req_array(req, int32_t, partitions_count);
    deleting->asked = req_array(req, answered_partition *, partitions_count);
    response->topics_count = request->topics_count;
    response->topics = req_array(req, answered_topic, request->topics_count);
    request_out->topics = topics;
    for (int32_t i = 0; i < request->topics_count; i++) {
        size_t count =
            sort_topic(req, &request->topics[i], &response->topics[i], deleting, partitions);
        if (count > 0) {
            topics[request_out->topic_count++] =
                (struct grp_topic_partitions){request->topics[i].name, partitions, count};
            partitions += count;
        }
    }
}

static int64_t count_items(const struct offset_delete_request *request)
{
    int64_t items = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        items += 1 + request->topics[i].partitions_count;
    }
    return items;
}

/* The coordinator is asked even when no partition is left to delete: it knows the group's error. */
void api_offset_delete(struct req *req)
{
    const struct offset_delete_request *request = req->body;
    if (!group_request_fits(req, count_items(request))) {
        return;
    }
    enum err err;
    struct part *part = group_coordinator(req, request->group_id, &err);
    if (part == NULL) {
        refuse(req, err);
        return;
    }
    struct deleting *deleting = req_new(req, struct deleting);
    codec_init(&offset_delete_response_desc, &deleting->response);
    struct grp_event *event = &deleting->group.call.event;
    event->kind = GRP_EV_OFFSET_DELETE;
    event->offset_delete.group_id = request->group_id;
    sort(req, deleting, &event->offset_delete);
    group_req_submit(&deleting->group, req, part, copy_reply);
}
