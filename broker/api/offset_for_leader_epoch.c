/* OffsetForLeaderEpoch: where an epoch of the leader's log ends. Source: Kafka 3.9 in ZooKeeper
 * mode. */
#include "api/broker.h"
#include "api/handlers.h"
#include "api/locate.h"

/* A leader that ZooKeeper does not hear may have been deposed, and the epoch be the next leader's:
 * who is told that nobody knows it begins anew (Kafka says that), who is sent to the leader asks
 * there. */
static void answer(struct req *req, struct str topic,
                   const struct offset_for_leader_epoch_request_offset_for_leader_partition *want,
                   struct offset_for_leader_epoch_response_epoch_end_offset *out)
{
    *out = (struct offset_for_leader_epoch_response_epoch_end_offset){
        .partition = want->partition, .leader_epoch = -1, .end_offset = -1};
    enum err err;
    struct locate_wanted wanted = {.topic = topic,
                                   .index = want->partition,
                                   .current_leader_epoch = want->current_leader_epoch,
                                   .leader_only = true};
    struct part *part = locate_replica(req, &wanted, &err);
    if (err == ERR_OK) {
        part_epoch_end(part, want->leader_epoch, &out->leader_epoch, &out->end_offset);
        bool unknown = out->end_offset < 0 && want->leader_epoch >= 0;
        err = unknown && atomic_load(&req->broker->cut_off) ? ERR_NOT_LEADER_OR_FOLLOWER : ERR_OK;
    }
    out->error_code = err_wire(err);
}

void api_offset_for_leader_epoch(struct req *req)
{
    const struct offset_for_leader_epoch_request *request = req->body;
    struct offset_for_leader_epoch_response reply;
    codec_init(&offset_for_leader_epoch_response_desc, &reply);
    reply.topics =
        req_array(req, struct offset_for_leader_epoch_response_offset_for_leader_topic_result,
                  request->topics_count);
    reply.topics_count = request->topics_count;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct offset_for_leader_epoch_request_offset_for_leader_topic *topic =
            &request->topics[i];
        struct offset_for_leader_epoch_response_offset_for_leader_topic_result *out =
            &reply.topics[i];
        out->topic = topic->topic;
        out->partitions = req_array(req, struct offset_for_leader_epoch_response_epoch_end_offset,
                                    topic->partitions_count);
        out->partitions_count = topic->partitions_count;
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            answer(req, topic->topic, &topic->partitions[j], &out->partitions[j]);
        }
    }
    req_reply(req, &reply);
}
