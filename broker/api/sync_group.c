/* SyncGroup. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/handlers.h"

static void refuse(struct req *req, enum err err)
{
    struct sync_group_response reply;
    codec_init(&sync_group_response_desc, &reply);
    reply.error_code = err_wire(err);
    reply.assignment = (struct bytes){(const uint8_t *)"", 0};
    req_reply(req, &reply);
}

static void copy_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct group_req *group = container_of(call, struct group_req, call);
    struct sync_group_response *out = arena_new(&call->arena, struct sync_group_response);
    codec_init(&sync_group_response_desc, out);
    out->error_code = err_wire(reply->sync.err);
    out->protocol_type = group_copy_str(call, reply->sync.protocol_type);
    out->protocol_name = group_copy_str(call, reply->sync.protocol_name);
    out->assignment = group_copy_bytes(call, reply->sync.assignment);
    group->response = out;
}

void api_sync_group(struct req *req)
{
    const struct sync_group_request *request = req->body;
    if (request->group_id.size == 0) {
        refuse(req, ERR_INVALID_GROUP_ID);
        return;
    }
    enum err err;
    struct part *part = group_coordinator(req, request->group_id, &err);
    if (part == NULL) {
        refuse(req, err);
        return;
    }
    struct grp_assignment *assignments =
        req_array(req, struct grp_assignment, request->assignments_count);
    for (int32_t i = 0; i < request->assignments_count; i++) {
        assignments[i].member_id = request->assignments[i].member_id;
        assignments[i].assignment = request->assignments[i].assignment;
    }
    struct group_req *group = req_new(req, struct group_req);
    group->call.event.kind = GRP_EV_SYNC;
    group->call.event.sync = (struct grp_sync){
        .version = req->version,
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .generation = request->generation_id,
        .protocol_type = request->protocol_type,
        .protocol_name = request->protocol_name,
        .assignments = assignments,
        .assignment_count = (size_t)request->assignments_count,
    };
    group_req_submit_patient(group, req, part, copy_reply);
}
