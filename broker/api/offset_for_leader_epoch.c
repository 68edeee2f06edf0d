/* OffsetForLeaderEpoch: where an epoch of the leader's log ends. Source: Kafka 3.9 in ZooKeeper
 * mode. */
#include "api/broker.h"
#include "api/handlers.h"
#include "api/locate.h"

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
    out->error_code = err_wire(err);
    if (err == ERR_OK) {
        part_epoch_end(part, want->leader_epoch, &out->leader_epoch, &out->end_offset);
    }
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
