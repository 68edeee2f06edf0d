/* DeleteTopics: the controller marks topics for deletion in ZooKeeper, and answers when its
 * metadata has lost them or the time is over. Source: Kafka 3.9 in ZooKeeper mode. */
#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "api/names.h"
#include "controller/ctl_driver.h"

enum { ID_VERSION_MIN = 6, DISABLED_VERSION_MIN = 3 };

typedef struct delete_topics_response_deletable_topic_result result_t;

/* One topic of the request. */
struct deletion {
    struct str name; /* null: not given */
    struct uuid id;  /* zero: not given */
    result_t *result;
    bool marked;
};

struct delete_op {
    struct control_call call;
    struct meta_wait wait;
    struct delete_topics_response reply;
    struct deletion *items;
    const int32_t *first; /* of each: where the request names its topic first; NULL: not known */
    int32_t count;
    int32_t at; /* under way */
    bool over;  /* the session ended: nobody is the controller any more */
};

/* A topic that is named again is deleted once; each time its answer is the same. */
static bool is_again(const struct delete_op *op, int32_t index)
{
    return op->first[index] != index && op->items[index].result->error_code == 0;
}

static void on_back(struct control_call *call)
{
    struct delete_op *op = container_of(call, struct delete_op, call);
    for (int32_t i = 0; op->first != NULL && i < op->count; i++) {
        if (is_again(op, i)) {
            op->items[i].result->error_code = op->items[op->first[i]].result->error_code;
        }
    }
    req_reply(call->req, &op->reply);
}

static void refuse_all(struct delete_op *op, enum err err)
{
    for (int32_t i = 0; i < op->count; i++) {
        op->items[i].result->error_code = err_wire(err);
    }
    control_call_finish(&op->call);
}

/* ---- the end: wait until they are gone, then answer ---- */

static bool still_there(const struct deletion *item, const struct meta *meta)
{
    return item->marked && meta_find(meta, item->name) != NULL;
}

static bool all_gone(struct meta_wait *wait, const struct meta *meta)
{
    const struct delete_op *op = container_of(wait, struct delete_op, wait);
    for (int32_t i = 0; i < op->count; i++) {
        if (still_there(&op->items[i], meta)) {
            return false;
        }
    }
    return true;
}

static void on_waited(struct meta_wait *wait, bool timed_out)
{
    struct delete_op *op = container_of(wait, struct delete_op, wait);
    struct meta *meta = meta_cell_get(&op->call.req->broker->meta);
    for (int32_t i = 0; timed_out && i < op->count; i++) {
        if (still_there(&op->items[i], meta)) {
            op->items[i].result->error_code = err_wire(ERR_REQUEST_TIMED_OUT);
        }
    }
    meta_put(meta);
    control_call_finish(&op->call);
}

static void finish(struct delete_op *op)
{
    const struct delete_topics_request *request = op->call.req->body;
    struct broker *broker = op->call.req->broker;
    bool any = false;
    for (int32_t i = 0; i < op->count; i++) {
        any = any || op->items[i].marked;
        if (op->items[i].marked && request->timeout_ms <= 0) {
            op->items[i].result->error_code = err_wire(ERR_REQUEST_TIMED_OUT);
        }
    }
    if (!any || request->timeout_ms <= 0) {
        control_call_finish(&op->call);
        return;
    }
    op->wait.check = all_gone;
    op->wait.done = on_waited;
    meta_wait_start(&broker->meta_waits, &op->wait,
                    loop_now_ms(broker->control) + request->timeout_ms);
}

/* ---- one topic after the other ---- */

static void delete_rest(struct delete_op *op);

static void on_marked(void *arg, enum err err, const char *text)
{
    struct delete_op *op = arg;
    struct deletion *item = &op->items[op->at];
    (void)text;
    item->marked = err == ERR_OK;
    if (err != ERR_OK) {
        op->over = err == ERR_ZK_SESSION_EXPIRED;
        item->result->error_code = err_wire(op->over ? ERR_NOT_CONTROLLER : err);
    }
    op->at++;
    delete_rest(op);
}

static void delete_rest(struct delete_op *op)
{
    while (op->at < op->count) {
        struct deletion *item = &op->items[op->at];
        bool due = item->result->error_code == 0 && !is_again(op, op->at);
        if (due && op->over) {
            item->result->error_code = err_wire(ERR_NOT_CONTROLLER);
        } else if (due) {
            admin_delete_topic(admin_service_admin(op->call.req->broker->admin), item->name,
                               on_marked, op);
            return;
        }
        op->at++;
    }
    finish(op);
}

/* Find the topic, by its id or by its name, in the metadata. */
static void resolve(struct delete_op *op, struct deletion *item, const struct meta *meta)
{
    enum err err = ERR_OK;
    if (!uuid_is_zero(item->id)) {
        const struct meta_topic *topic = meta_find_id(meta, item->id);
        item->name = topic != NULL ? arena_str(&op->call.req->arena, topic->name) : STR_NULL;
        err = topic != NULL ? ERR_OK : ERR_UNKNOWN_TOPIC_ID;
    } else if (item->name.ptr == NULL || meta_find(meta, item->name) == NULL) {
        err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    item->result->name = item->name;
    item->result->error_code = err_wire(err);
}

static void find_again(struct delete_op *op)
{
    struct arena *arena = &op->call.req->arena;
    struct str *names = arena_array(arena, struct str, (size_t)op->count + 1);
    for (int32_t i = 0; i < op->count; i++) {
        names[i] = op->items[i].name;
    }
    op->first = names_first(arena, names, op->count);
}

static bool is_ambiguous(const struct delete_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        if (op->items[i].name.ptr != NULL && !uuid_is_zero(op->items[i].id)) {
            return true;
        }
    }
    return false;
}

static bool deletion_enabled(struct broker *broker)
{
    const struct config *config = config_cell_get(broker->config);
    bool enabled = config_bool(config, KEY_delete_topic_enable);
    config_put(config);
    return enabled;
}

static void on_control(struct control_call *call)
{
    struct delete_op *op = container_of(call, struct delete_op, call);
    struct broker *broker = call->req->broker;
    if (!ctl_driver_is_active(broker->ctl_driver)) {
        refuse_all(op, ERR_NOT_CONTROLLER);
        return;
    }
    if (!deletion_enabled(broker)) {
        bool old = call->req->version < DISABLED_VERSION_MIN;
        refuse_all(op, old ? ERR_INVALID_REQUEST : ERR_TOPIC_DELETION_DISABLED);
        return;
    }
    if (is_ambiguous(op)) {
        refuse_all(op, ERR_INVALID_REQUEST);
        return;
    }
    struct meta *meta = meta_cell_get(&broker->meta);
    for (int32_t i = 0; i < op->count; i++) {
        resolve(op, &op->items[i], meta);
    }
    meta_put(meta);
    find_again(op);
    delete_rest(op);
}

/* ---- from the request ---- */

void api_delete_topics(struct req *req)
{
    const struct delete_topics_request *request = req->body;
    struct delete_op *op = req_new(req, struct delete_op);
    bool states = req->version >= ID_VERSION_MIN;
    op->count = states ? request->topics_count : request->topic_names_count;
    op->items = req_array(req, struct deletion, op->count);
    codec_init(&delete_topics_response_desc, &op->reply);
    op->reply.responses =
        codec_array(&delete_topics_response_deletable_topic_result_desc, &req->arena, op->count);
    op->reply.responses_count = op->count;
    for (int32_t i = 0; i < op->count; i++) {
        struct deletion *item = &op->items[i];
        item->name = states ? request->topics[i].name : request->topic_names[i];
        item->id = states ? request->topics[i].topic_id : (struct uuid){{0}};
        item->result = &op->reply.responses[i];
        item->result->name = item->name;
        item->result->topic_id = item->id;
    }
    control_call_start(&op->call, req, on_control, on_back);
}
