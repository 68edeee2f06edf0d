/* CreatePartitions: the controller gives topics more partitions and answers when its metadata shows
 * leaders for all, or the time is over. Source: Kafka 3.9 in ZooKeeper mode. */
#include "admin/admin_service.h"
#include "admin/new_partitions.h"
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "api/names.h"
#include "controller/ctl_driver.h"

typedef struct create_partitions_request_create_partitions_topic want_t;
typedef struct create_partitions_response_create_partitions_topic_result result_t;

/* One topic of the request. */
struct growth {
    const want_t *want;
    result_t *result;
    int races;
    bool written;
};

struct grow_op {
    struct control_call call;
    struct meta_wait wait;
    struct create_partitions_response reply;
    struct growth *items;
    int32_t count;
    int32_t at;         /* under way */
    size_t size_before; /* of the arena, before anything was worked out */
    bool validate_only;
    bool over; /* the session ended: nobody is the controller any more */
};

/* Another client adds partitions at the same time: how often to look again. */
enum { RACES_MAX = 10 };

static void refuse(struct grow_op *op, struct growth *item, enum err err, const char *text)
{
    item->result->error_code = err_wire(err);
    item->result->error_message =
        text == NULL || text[0] == '\0' ? STR_NULL : arena_str(&op->call.req->arena, str_of(text));
}

/* ---- the end: wait for leaders, then answer ---- */

static void on_back(struct control_call *call)
{
    struct grow_op *op = container_of(call, struct grow_op, call);
    req_reply(call->req, &op->reply);
}

static bool is_waiting(const struct growth *item, const struct meta *meta)
{
    return item->written && !topic_is_led(meta, item->want->name, item->want->count);
}

static bool all_led(struct meta_wait *wait, const struct meta *meta)
{
    const struct grow_op *op = container_of(wait, struct grow_op, wait);
    for (int32_t i = 0; i < op->count; i++) {
        if (is_waiting(&op->items[i], meta)) {
            return false;
        }
    }
    return true;
}

static void on_waited(struct meta_wait *wait, bool timed_out)
{
    struct grow_op *op = container_of(wait, struct grow_op, wait);
    struct meta *meta = meta_cell_get(&op->call.req->broker->meta);
    for (int32_t i = 0; timed_out && i < op->count; i++) {
        if (is_waiting(&op->items[i], meta)) {
            refuse(op, &op->items[i], ERR_REQUEST_TIMED_OUT, NULL);
        }
    }
    meta_put(meta);
    control_call_finish(&op->call);
}

static void finish(struct grow_op *op)
{
    const struct create_partitions_request *request = op->call.req->body;
    struct broker *broker = op->call.req->broker;
    bool any = false;
    for (int32_t i = 0; i < op->count; i++) {
        any = any || op->items[i].written;
        if (op->items[i].written && request->timeout_ms <= 0) {
            refuse(op, &op->items[i], ERR_REQUEST_TIMED_OUT, NULL);
        }
    }
    if (!any || request->timeout_ms <= 0) {
        control_call_finish(&op->call);
        return;
    }
    op->wait.check = all_led;
    op->wait.done = on_waited;
    meta_wait_start(&broker->meta_waits, &op->wait,
                    loop_now_ms(broker->control) + request->timeout_ms);
}

/* ---- one topic after the other ---- */

static void grow_rest(struct grow_op *op);

static void settle(struct grow_op *op, enum err err, const char *text)
{
    if (err != ERR_OK) {
        op->over = err == ERR_ZK_SESSION_EXPIRED;
        refuse(op, &op->items[op->at], op->over ? ERR_NOT_CONTROLLER : err, text);
    }
    op->at++;
    grow_rest(op);
}

static void on_written(void *arg, enum err err, const char *text)
{
    struct grow_op *op = arg;
    struct growth *item = &op->items[op->at];
    if (err == ERR_INVALID_PARTITIONS && item->races < RACES_MAX) {
        item->races++;
        grow_rest(op);
        return;
    }
    item->written = err == ERR_OK;
    settle(op, err, text);
}

static void on_topic(void *arg, enum err err, const struct znode_topic *topic)
{
    struct grow_op *op = arg;
    struct req *req = op->call.req;
    const want_t *want = op->items[op->at].want;
    struct errmsg msg = {""};
    struct new_partitions plan;
    if (err != ERR_OK) {
        bool unknown = err == ERR_UNKNOWN_TOPIC_OR_PARTITION;
        errmsg_set(&msg, "The topic '%.*s' does not exist.", STR_ARG(want->name));
        settle(op, err, unknown ? msg.text : NULL);
        return;
    }
    struct znode_ids *wished = NULL;
    if (want->assignments_count >= 0) {
        wished = arena_array(&req->arena, struct znode_ids, (size_t)want->assignments_count);
        for (int32_t i = 0; i < want->assignments_count; i++) {
            wished[i] = (struct znode_ids){want->assignments[i].broker_ids,
                                           want->assignments[i].broker_ids_count};
        }
    }
    struct meta *meta = meta_cell_get(&req->broker->meta);
    err = new_partitions_plan(req->broker->admin, &req->arena, meta, topic, want->name, want->count,
                              wished, want->assignments_count, &plan, &msg);
    meta_put(meta);
    if (err != ERR_OK || op->validate_only) {
        settle(op, err, msg.text);
        return;
    }
    admin_create_partitions(admin_service_admin(req->broker->admin), want->name, plan.count_before,
                            plan.replicas, plan.count, on_written, op);
}

static void grow_rest(struct grow_op *op)
{
    const struct arena *arena = &op->call.req->arena;
    while (op->at < op->count) {
        struct growth *item = &op->items[op->at];
        if (item->result->error_code == 0 && op->over) {
            refuse(op, item, ERR_NOT_CONTROLLER, NULL);
        } else if (item->result->error_code == 0 &&
                   arena_size(arena) - op->size_before > CREATE_PLANS_MAX_BYTES) {
            refuse(op, item, ERR_POLICY_VIOLATION, "Too much is to be created by one request.");
        } else if (item->result->error_code == 0) {
            admin_read_topic(admin_service_admin(op->call.req->broker->admin), item->want->name,
                             on_topic, op);
            return;
        }
        op->at++;
    }
    finish(op);
}

static void check_request(struct grow_op *op)
{
    struct arena *arena = &op->call.req->arena;
    struct str *names = arena_array(arena, struct str, (size_t)op->count + 1);
    for (int32_t i = 0; i < op->count; i++) {
        names[i] = op->items[i].want->name;
    }
    const bool *repeated = names_repeated(arena, names, op->count);
    for (int32_t i = 0; i < op->count; i++) {
        if (repeated[i]) {
            refuse(op, &op->items[i], ERR_INVALID_REQUEST, "Duplicate topic in request.");
        } else if (!topic_name_valid(names[i])) { /* it becomes part of a path */
            refuse(op, &op->items[i], ERR_UNKNOWN_TOPIC_OR_PARTITION,
                   "There is no topic of such a name.");
        }
    }
}

static void on_control(struct control_call *call)
{
    struct grow_op *op = container_of(call, struct grow_op, call);
    if (ctl_driver_is_active(call->req->broker->ctl_driver)) {
        check_request(op);
        op->size_before = arena_size(&call->req->arena);
        grow_rest(op);
        return;
    }
    for (int32_t i = 0; i < op->count; i++) {
        refuse(op, &op->items[i], ERR_NOT_CONTROLLER, NULL);
    }
    control_call_finish(call);
}

/* ---- from the request ---- */

void api_create_partitions(struct req *req)
{
    const struct create_partitions_request *request = req->body;
    struct grow_op *op = req_new(req, struct grow_op);
    int32_t count = request->topics_count;
    op->count = count;
    op->items = req_array(req, struct growth, count);
    op->validate_only = request->validate_only;
    codec_init(&create_partitions_response_desc, &op->reply);
    op->reply.results = codec_array(&create_partitions_response_create_partitions_topic_result_desc,
                                    &req->arena, count);
    op->reply.results_count = count;
    for (int32_t i = 0; i < count; i++) {
        op->items[i] =
            (struct growth){.want = &request->topics[i], .result = &op->reply.results[i]};
        op->reply.results[i].name = request->topics[i].name;
    }
    control_call_start(&op->call, req, on_control, on_back);
}
