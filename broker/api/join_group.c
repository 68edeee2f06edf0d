/* JoinGroup. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/handlers.h"

static void refuse(struct req *req, enum err err)
{
    const struct join_group_request *request = req->body;
    struct join_group_response reply;
    codec_init(&join_group_response_desc, &reply);
    reply.error_code = err_wire(err);
    reply.generation_id = -1;
    reply.protocol_name = req->version >= 7 ? STR_NULL : STR("");
    reply.leader = STR("");
    reply.member_id = request->member_id;
    req_reply(req, &reply);
}

static void copy_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct group_req *group = container_of(call, struct group_req, call);
    const struct grp_reply_join *join = &reply->join;
    struct join_group_response *out = arena_new(&call->arena, struct join_group_response);
    codec_init(&join_group_response_desc, out);
    out->error_code = err_wire(join->err);
    out->generation_id = join->generation;
    out->protocol_type = group_copy_str(call, join->protocol_type);
    out->protocol_name = group_copy_str(call, join->protocol_name);
    out->leader = group_copy_str(call, join->leader);
    /* Versions without the field have no way to say it; the machine has answered accordingly. */
    out->skip_assignment = group->req->version >= 9 && join->skip_assignment;
    out->member_id = group_copy_str(call, join->member_id);
    out->members_count = (int32_t)join->member_count;
    out->members = arena_array(&call->arena, struct join_group_response_join_group_response_member,
                               join->member_count);
    for (size_t i = 0; i < join->member_count; i++) {
        out->members[i] = (struct join_group_response_join_group_response_member){
            .member_id = group_copy_str(call, join->members[i].member_id),
            .group_instance_id = group_copy_str(call, join->members[i].instance_id),
            .metadata = group_copy_bytes(call, join->members[i].metadata),
        };
    }
    group->response = out;
}

void api_join_group(struct req *req)
{
    const struct join_group_request *request = req->body;
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
    struct grp_protocol *protocols = req_array(req, struct grp_protocol, request->protocols_count);
    for (int32_t i = 0; i < request->protocols_count; i++) {
        protocols[i].name = request->protocols[i].name;
        protocols[i].metadata = request->protocols[i].metadata;
    }
    struct group_req *group = req_new(req, struct group_req);
    group->call.event.kind = GRP_EV_JOIN;
    group->call.event.join = (struct grp_join){
        .version = req->version,
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .client_id = group_client_id(req),
        .client_host = group_client_host(req),
        .session_timeout_ms = request->session_timeout_ms,
        .rebalance_timeout_ms = request->rebalance_timeout_ms,
        .protocol_type = request->protocol_type,
        .protocols = protocols,
        .protocol_count = (size_t)request->protocols_count,
        .reason = request->reason,
    };
    group_req_submit_patient(group, req, part, copy_reply);
}
