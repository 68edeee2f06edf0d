/* DescribeGroups: state and members, of several groups at once. A group that nobody knows is Dead,
 * without an error. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/group_fan.h"
#include "api/handlers.h"

/* READ, DELETE, DESCRIBE: what there is to be allowed on a group. Nobody is refused anything yet.
 */
enum { GROUP_OPERATIONS_ALL = 1 << 3 | 1 << 6 | 1 << 8 };

static struct part *ask(struct group_fan *fan, int32_t index, struct grp_event *event)
{
    const struct describe_groups_request *request = fan->req->body;
    struct describe_groups_response *response = fan->state;
    struct describe_groups_response_described_group *group = &response->groups[index];
    codec_init(&describe_groups_response_described_group_desc, group);
    group->group_id = request->groups[index];
    event->kind = GRP_EV_DESCRIBE;
    event->group_id = request->groups[index];
    enum err err;
    struct part *part = group_coordinator(fan->req, event->group_id, &err);
    if (part == NULL) {
        group->error_code = err_wire(err);
    }
    return part;
}

static void copy_members(struct group_call *call, const struct grp_reply_describe *reply,
                         struct describe_groups_response_described_group *group)
{
    group->members_count = (int32_t)reply->member_count;
    group->members = arena_array(
        &call->arena, struct describe_groups_response_described_group_member, reply->member_count);
    for (size_t i = 0; i < reply->member_count; i++) {
        const struct grp_described_member *from = &reply->members[i];
        group->members[i] = (struct describe_groups_response_described_group_member){
            .member_id = group_copy_str(call, from->member_id),
            .group_instance_id = group_copy_str(call, from->instance_id),
            .client_id = group_copy_str(call, from->client_id),
            .client_host = group_copy_str(call, from->client_host),
            .member_metadata = group_copy_bytes(call, from->metadata),
            .member_assignment = group_copy_bytes(call, from->assignment),
        };
    }
}

static void answer(struct group_fan *fan, int32_t index, struct group_call *call,
                   const struct grp_reply *reply)
{
    const struct describe_groups_request *request = fan->req->body;
    struct describe_groups_response *response = fan->state;
    struct describe_groups_response_described_group *group = &response->groups[index];
    group->error_code = err_wire(reply->describe.err);
    group->group_state = group_copy_str(call, reply->describe.state);
    group->protocol_type = group_copy_str(call, reply->describe.protocol_type);
    group->protocol_data = group_copy_str(call, reply->describe.protocol);
    copy_members(call, &reply->describe, group);
    if (request->include_authorized_operations && reply->describe.err == ERR_OK) {
        group->authorized_operations = GROUP_OPERATIONS_ALL;
    }
}

static void finish(struct group_fan *fan)
{
    req_reply(fan->req, fan->state);
}

void api_describe_groups(struct req *req)
{
    static const struct group_fan_ops ops = {.ask = ask, .answer = answer, .finish = finish};
    const struct describe_groups_request *request = req->body;
    if (!group_request_fits(req, request->groups_count)) {
        return;
    }
    struct describe_groups_response *response = req_new(req, struct describe_groups_response);
    response->groups =
        req_array(req, struct describe_groups_response_described_group, request->groups_count);
    response->groups_count = request->groups_count;
    group_fan_start(req, &ops, request->groups_count, response);
}
