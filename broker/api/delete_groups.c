/* DeleteGroups: groups without members go, with all their offsets. A name that is given twice is
 * answered once. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/group_common.h"
#include "api/group_fan.h"
#include "api/handlers.h"

static struct part *ask(struct group_fan *fan, int32_t index, struct grp_event *event)
{
    struct delete_groups_response *response = fan->state;
    struct delete_groups_response_deletable_group_result *result = &response->results[index];
    event->kind = GRP_EV_DELETE;
    event->group_id = result->group_id;
    enum err err;
    struct part *part = group_coordinator(fan->req, event->group_id, &err);
    if (part == NULL) {
        result->error_code = err_wire(err);
    }
    return part;
}

static void answer(struct group_fan *fan, int32_t index, struct group_call *call,
                   const struct grp_reply *reply)
{
    (void)call;
    struct delete_groups_response *response = fan->state;
    response->results[index].error_code = err_wire(reply->deleted);
}

static void finish(struct group_fan *fan)
{
    req_reply(fan->req, fan->state);
}

void api_delete_groups(struct req *req)
{
    static const struct group_fan_ops ops = {.ask = ask, .answer = answer, .finish = finish};
    const struct delete_groups_request *request = req->body;
    if (!group_request_fits(req, request->groups_names_count)) {
        return;
    }
    struct delete_groups_response *response = req_new(req, struct delete_groups_response);
    response->results = req_array(req, struct delete_groups_response_deletable_group_result,
                                  request->groups_names_count);
    struct str *names = group_distinct(req, request->groups_names, request->groups_names_count,
                                       &response->results_count);
    for (int32_t i = 0; i < response->results_count; i++) {
        response->results[i].group_id = names[i];
    }
    group_fan_start(req, &ops, response->results_count, response);
}
