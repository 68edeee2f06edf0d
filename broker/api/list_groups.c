/* ListGroups: the groups that this broker coordinates. While some partition of them is being read,
 * the list holds those that are known, and says so. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/group_fan.h"
#include "api/handlers.h"

/* What one coordinator said. */
struct listed {
    enum err err;
    struct list_groups_response_listed_group *groups;
    int32_t count;
};

static struct part *ask(struct group_fan *fan, int32_t index, struct grp_event *event)
{
    const struct list_groups_request *request = fan->req->body;
    event->kind = GRP_EV_LIST;
    event->list = (struct grp_list){
        .states = request->states_filter,
        .state_count = (size_t)request->states_filter_count,
        .types = request->types_filter,
        .type_count = (size_t)request->types_filter_count,
    };
    return group_partition(fan->req, index);
}

static void answer(struct group_fan *fan, int32_t index, struct group_call *call,
                   const struct grp_reply *reply)
{
    struct listed *listed = (struct listed *)fan->state + index;
    listed->err = reply->list.err;
    listed->count = (int32_t)reply->list.group_count;
    listed->groups = arena_array(&call->arena, struct list_groups_response_listed_group,
                                 reply->list.group_count);
    for (int32_t i = 0; i < listed->count; i++) {
        const struct grp_listed *from = &reply->list.groups[i];
        listed->groups[i] = (struct list_groups_response_listed_group){
            .group_id = group_copy_str(call, from->group_id),
            .protocol_type = group_copy_str(call, from->protocol_type),
            .group_state = group_copy_str(call, from->state),
            .group_type = group_copy_str(call, from->type),
        };
    }
}

/* Partitions that others lead have said NOT_COORDINATOR, and are not what was asked for. */
static void finish(struct group_fan *fan)
{
    struct req *req = fan->req;
    const struct listed *listed = fan->state;
    struct list_groups_response response;
    codec_init(&list_groups_response_desc, &response);
    int32_t count = 0;
    for (int32_t i = 0; i < fan->count; i++) {
        count += listed[i].count;
    }
    response.groups = req_array(req, struct list_groups_response_listed_group, count);
    for (int32_t i = 0; i < fan->count; i++) {
        if (listed[i].err == ERR_COORDINATOR_LOAD_IN_PROGRESS) {
            response.error_code = err_wire(listed[i].err);
        }
        for (int32_t j = 0; j < listed[i].count; j++) {
            response.groups[response.groups_count++] = listed[i].groups[j];
        }
    }
    req_reply(req, &response);
}

void api_list_groups(struct req *req)
{
    static const struct group_fan_ops ops = {.ask = ask, .answer = answer, .finish = finish};
    const struct list_groups_request *request = req->body;
    if (!group_request_fits(req,
                            (int64_t)request->states_filter_count + request->types_filter_count)) {
        return;
    }
    int32_t partitions = groups_partitions_count(req->broker->groups);
    group_fan_start(req, &ops, partitions, req_array(req, struct listed, partitions));
}
