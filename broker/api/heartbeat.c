/* Heartbeat. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/handlers.h"

static void refuse(struct req *req, enum err err)
{
    struct heartbeat_response reply;
    codec_init(&heartbeat_response_desc, &reply);
    reply.error_code = err_wire(err);
    req_reply(req, &reply);
}

static void copy_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct group_req *group = container_of(call, struct group_req, call);
    struct heartbeat_response *out = arena_new(&call->arena, struct heartbeat_response);
    out->error_code = err_wire(reply->heartbeat);
    group->response = out;
}

void api_heartbeat(struct req *req)
{
    const struct heartbeat_request *request = req->body;
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
    struct group_req *group = req_new(req, struct group_req);
    group->call.event.kind = GRP_EV_HEARTBEAT;
    group->call.event.heartbeat = (struct grp_heartbeat){
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .generation = request->generation_id,
    };
    group_req_submit(group, req, part, copy_reply);
}
