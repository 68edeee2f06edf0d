/* LeaveGroup: one member up to version 2, a list from version 3 on. Source: Kafka 3.9 in ZooKeeper
 * mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/handlers.h"

enum { BATCH_VERSION_MIN = 3 };

static void refuse(struct req *req, enum err err)
{
    struct leave_group_response reply;
    codec_init(&leave_group_response_desc, &reply);
    reply.error_code = err_wire(err);
    req_reply(req, &reply);
}

static void copy_members(struct group_call *call, const struct grp_reply_leave *leave,
                         struct leave_group_response *out)
{
    out->members_count = (int32_t)leave->member_count;
    out->members =
        arena_array(&call->arena, struct leave_group_response_member_response, leave->member_count);
    for (size_t i = 0; i < leave->member_count; i++) {
        out->members[i] = (struct leave_group_response_member_response){
            .member_id = group_copy_str(call, leave->members[i].member_id),
            .group_instance_id = group_copy_str(call, leave->members[i].instance_id),
            .error_code = err_wire(leave->members[i].err),
        };
    }
}

static void copy_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct group_req *group = container_of(call, struct group_req, call);
    const struct grp_reply_leave *leave = &reply->leave;
    struct leave_group_response *out = arena_new(&call->arena, struct leave_group_response);
    codec_init(&leave_group_response_desc, out);
    out->error_code = err_wire(leave->err);
    if (group->req->version >= BATCH_VERSION_MIN) {
        copy_members(call, leave, out);
    } else if (leave->err == ERR_OK && leave->member_count == 1) {
        out->error_code = err_wire(leave->members[0].err);
    }
    group->response = out;
}

static struct grp_leaving *leaving_members(struct req *req, size_t *count)
{
    const struct leave_group_request *request = req->body;
    if (req->version < BATCH_VERSION_MIN) {
        struct grp_leaving *one = req_new(req, struct grp_leaving);
        one->member_id = request->member_id;
        *count = 1;
        return one;
    }
    *count = (size_t)request->members_count;
    struct grp_leaving *members = req_array(req, struct grp_leaving, request->members_count);
    for (int32_t i = 0; i < request->members_count; i++) {
        members[i].member_id = request->members[i].member_id;
        members[i].instance_id = request->members[i].group_instance_id;
        members[i].reason = request->members[i].reason;
    }
    return members;
}

void api_leave_group(struct req *req)
{
    const struct leave_group_request *request = req->body;
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
    group->call.event.kind = GRP_EV_LEAVE;
    group->call.event.leave.group_id = request->group_id;
    group->call.event.leave.members = leaving_members(req, &group->call.event.leave.member_count);
    group_req_submit(group, req, part, copy_reply);
}
