/* OffsetCommit: a group stores how far it has read.
 *
 * Partitions that do not exist are refused here, the others go to the group's coordinator in one
 * piece; its answer comes in their order. Version 0 stores offsets in ZooKeeper, as Kafka 0.8 did:
 * this broker keeps none there and says so. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/handlers.h"
#include "base/must.h"

typedef struct offset_commit_request_offset_commit_request_topic wanted_topic;
typedef struct offset_commit_response_offset_commit_response_topic answered_topic;
typedef struct offset_commit_response_offset_commit_response_partition answered_partition;

struct committing {
    struct group_req group;
    struct offset_commit_response response;
    answered_partition **asked; /* the answers that the coordinator gives, in its order */
    int32_t asked_count;
};

/* The request's topics and partitions, each with `err`. */
static void shape(struct req *req, struct offset_commit_response *response, enum err err)
{
    const struct offset_commit_request *request = req->body;
    codec_init(&offset_commit_response_desc, response);
    response->topics_count = request->topics_count;
    response->topics = req_array(req, answered_topic, request->topics_count);
    for (int32_t i = 0; i < request->topics_count; i++) {
        const wanted_topic *from = &request->topics[i];
        answered_topic *to = &response->topics[i];
        to->name = from->name;
        to->partitions_count = from->partitions_count;
        to->partitions = req_array(req, answered_partition, from->partitions_count);
        for (int32_t j = 0; j < from->partitions_count; j++) {
            to->partitions[j].partition_index = from->partitions[j].partition_index;
            to->partitions[j].error_code = err_wire(err);
        }
    }
}

/* In the actor: what this touches of the request's arena nobody else does until the call is done.
 */
static void copy_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct committing *committing =
        container_of(container_of(call, struct group_req, call), struct committing, group);
    int32_t at = 0;
    for (size_t i = 0; i < reply->offsets.topic_count; i++) {
        const struct grp_reply_topic *topic = &reply->offsets.topics[i];
        for (size_t j = 0; j < topic->partition_count; j++) {
            must(at < committing->asked_count);
            committing->asked[at++]->error_code = err_wire(topic->partitions[j].err);
        }
    }
    must(at == committing->asked_count);
    committing->group.response = &committing->response;
}

/* Sort one topic's partitions into those that exist, which are added to `to`, and the others. */
static void sort_topic(const struct meta *meta, const wanted_topic *from, answered_topic *answers,
                       struct committing *committing, struct grp_commit_partition *to,
                       size_t *to_count)
{
    const struct meta_topic *topic = meta_find(meta, from->name);
    for (int32_t i = 0; i < from->partitions_count; i++) {
        const struct offset_commit_request_offset_commit_request_partition *partition =
            &from->partitions[i];
        if (topic == NULL || meta_topic_partition(topic, partition->partition_index) == NULL) {
            continue; /* its answer says so already */
        }
        to[(*to_count)++] = (struct grp_commit_partition){
            .partition = partition->partition_index,
            .leader_epoch = partition->committed_leader_epoch,
            .offset = partition->committed_offset,
            .commit_timestamp_ms = partition->commit_timestamp,
            .metadata = partition->committed_metadata,
        };
        committing->asked[committing->asked_count++] = &answers->partitions[i];
    }
}

/* What the coordinator is to store. */
static void sort(struct req *req, struct committing *committing, struct grp_commit *commit)
{
    const struct offset_commit_request *request = req->body;
    const struct meta *meta = meta_reader_now(&req->netloop->meta);
    int32_t partitions_count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        partitions_count += request->topics[i].partitions_count;
    }
    struct grp_commit_topic *topics =
        req_array(req, struct grp_commit_topic, request->topics_count);
    struct grp_commit_partition *partitions =
        req_array(req, struct grp_commit_partition, partitions_count);
    committing->asked = req_array(req, answered_partition *, partitions_count);
    commit->topics = topics;
    for (int32_t i = 0; i < request->topics_count; i++) {
        size_t count = 0;
        sort_topic(meta, &request->topics[i], &committing->response.topics[i], committing,
                   partitions, &count);
        if (count > 0) {
            topics[commit->topic_count++] =
                (struct grp_commit_topic){request->topics[i].name, partitions, count};
            partitions += count;
        }
    }
}

static void refuse(struct req *req, enum err err)
{
    struct offset_commit_response response;
    shape(req, &response, err);
    req_reply(req, &response);
}

static int64_t count_items(const struct offset_commit_request *request)
{
    int64_t items = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        items += 1 + request->topics[i].partitions_count;
    }
    return items;
}

void api_offset_commit(struct req *req)
{
    const struct offset_commit_request *request = req->body;
    if (!group_request_fits(req, count_items(request))) {
        return;
    }
    if (req->version == 0) {
        refuse(req, ERR_UNSUPPORTED_VERSION);
        return;
    }
    struct committing *committing = req_new(req, struct committing);
    shape(req, &committing->response, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    struct grp_event *event = &committing->group.call.event;
    event->kind = GRP_EV_COMMIT;
    event->commit = (struct grp_commit){
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .generation = request->generation_id_or_member_epoch,
        .retention_ms = request->retention_time_ms,
    };
    sort(req, committing, &event->commit);
    if (committing->asked_count == 0) {
        req_reply(req, &committing->response);
        return;
    }
    enum err err;
    struct part *part = group_coordinator(req, request->group_id, &err);
    if (part == NULL) {
        for (int32_t i = 0; i < committing->asked_count; i++) {
            committing->asked[i]->error_code = err_wire(err);
        }
        req_reply(req, &committing->response);
        return;
    }
    group_req_submit(&committing->group, req, part, copy_reply);
}
