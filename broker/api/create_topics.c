/* CreateTopics: the controller works out each topic, writes it to ZooKeeper, and answers when its
 * metadata shows leaders for all partitions or the time is over. Source: Kafka 3.9 in ZooKeeper
 * mode.
 *
 * Topics are worked off one after the other, so that a topic sees those before it in the request.
 */
#include "admin/admin_service.h"
#include "admin/new_topic.h"
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "api/names.h"
#include "config/synonyms.h"
#include "config/values.h"
#include "controller/ctl_driver.h"
#include "partition/part.h"

_Static_assert((int)TOPIC_REPLICAS_MAX <= (int)PART_REPLICAS_MAX, "a partition has room for them");

typedef struct create_topics_request_creatable_topic want_t;
typedef struct create_topics_response_creatable_topic_result result_t;
typedef struct create_topics_response_creatable_topic_configs config_t;

/* One topic of the request. */
struct creation {
    const want_t *want;
    result_t *result;
    struct admin_topic topic; /* what it becomes */
    bool written;
};

struct create_op {
    struct control_call call;
    struct meta_wait wait;
    struct create_topics_response reply;
    struct creation *items;
    int32_t count;
    int32_t at;         /* under way */
    size_t size_before; /* of the arena, before anything was worked out */
    bool validate_only;
    bool over; /* the session ended: nobody is the controller any more */
};

static struct arena *arena_of(struct create_op *op)
{
    return &op->call.req->arena;
}

static void refuse(struct create_op *op, struct creation *item, enum err err, const char *text)
{
    item->result->error_code = err_wire(err);
    item->result->error_message =
        text == NULL || text[0] == '\0' ? STR_NULL : arena_str(arena_of(op), str_of(text));
    item->result->num_partitions = -1;
    item->result->replication_factor = -1;
    item->result->configs_count = 0;
}

/* ---- the end: wait for leaders, then answer ---- */

static void on_back(struct control_call *call)
{
    struct create_op *op = container_of(call, struct create_op, call);
    req_reply(call->req, &op->reply);
}

static bool all_led(struct meta_wait *wait, const struct meta *meta)
{
    const struct create_op *op = container_of(wait, struct create_op, wait);
    for (int32_t i = 0; i < op->count; i++) {
        const struct creation *item = &op->items[i];
        if (item->written && !topic_is_led(meta, item->topic.name, item->topic.partitions_count)) {
            return false;
        }
    }
    return true;
}

static void on_waited(struct meta_wait *wait, bool timed_out)
{
    struct create_op *op = container_of(wait, struct create_op, wait);
    struct meta *meta = meta_cell_get(&op->call.req->broker->meta);
    for (int32_t i = 0; timed_out && i < op->count; i++) {
        struct creation *item = &op->items[i];
        if (item->written && !topic_is_led(meta, item->topic.name, item->topic.partitions_count)) {
            refuse(op, item, ERR_REQUEST_TIMED_OUT, NULL);
        }
    }
    meta_put(meta);
    control_call_finish(&op->call);
}

static void finish(struct create_op *op)
{
    const struct create_topics_request *request = op->call.req->body;
    struct broker *broker = op->call.req->broker;
    bool any = false;
    for (int32_t i = 0; i < op->count; i++) {
        struct creation *item = &op->items[i];
        any = any || item->written;
        if (item->written && request->timeout_ms <= 0) {
            refuse(op, item, ERR_REQUEST_TIMED_OUT, NULL);
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

static void create_rest(struct create_op *op);

/* What the topic will be, for version 5 and above. */
static void describe(struct create_op *op, struct creation *item, const struct config *config)
{
    struct arena *arena = arena_of(op);
    const struct admin_topic *topic = &item->topic;
    struct config_pair *own =
        arena_array(arena, struct config_pair, (size_t)topic->config.pairs_count);
    for (int32_t i = 0; i < topic->config.pairs_count; i++) {
        own[i] = (struct config_pair){arena_cstr(arena, topic->config.pairs[i].key),
                                      arena_cstr(arena, topic->config.pairs[i].value)};
    }
    item->result->num_partitions = topic->partitions_count;
    item->result->replication_factor = (int16_t)topic->partitions[0].replicas.count;
    item->result->configs = arena_array(arena, config_t, TOPIC_KEY_COUNT);
    item->result->configs_count = TOPIC_KEY_COUNT;
    for (int i = 0; i < TOPIC_KEY_COUNT; i++) {
        enum topic_key key = (enum topic_key)i;
        char scratch[32];
        enum config_source source;
        struct config_synonyms synonyms;
        const char *value = topic_config_value(config, own, topic->config.pairs_count, key, scratch,
                                               sizeof(scratch), &source);
        config_synonyms_topic(config, key, source == SOURCE_TOPIC ? value : NULL, &synonyms);
        item->result->configs[i] = (config_t){
            .name = str_of(topic_key_info(key)->name),
            .value = str_of(config_canonical(arena, topic_key_info(key)->type, value)),
            .config_source = (int8_t)synonyms.source,
        };
    }
}

static void on_created(void *arg, enum err err, const char *text)
{
    struct create_op *op = arg;
    struct creation *item = &op->items[op->at];
    if (err == ERR_OK) {
        item->written = true;
        item->result->topic_id = item->topic.id;
    } else {
        op->over = err == ERR_ZK_SESSION_EXPIRED;
        refuse(op, item, op->over ? ERR_NOT_CONTROLLER : err, text);
    }
    op->at++;
    create_rest(op);
}

/* The second half of the checks, then the writing. True when it goes on later. */
static bool check_and_write(struct create_op *op, struct creation *item)
{
    struct broker *broker = op->call.req->broker;
    struct errmsg msg = {""};
    enum err err = new_topic_check(arena_of(op), &item->topic, &msg);
    if (err != ERR_OK) {
        refuse(op, item, err, msg.text);
        return false;
    }
    const struct config *config = config_cell_get(broker->config);
    describe(op, item, config);
    config_put(config);
    if (op->validate_only) {
        return false;
    }
    admin_create_topic(admin_service_admin(broker->admin), &item->topic, on_created, op);
    return true;
}

static void on_names(void *arg, enum err err, const struct str *names, int32_t count)
{
    struct create_op *op = arg;
    struct creation *item = &op->items[op->at];
    struct errmsg msg = {""};
    if (err == ERR_OK) {
        err = new_topic_check_name(item->topic.name, names, count, &msg);
    } else {
        op->over = true;
        err = ERR_NOT_CONTROLLER;
    }
    if (err != ERR_OK) {
        refuse(op, item, err, msg.text);
    } else if (check_and_write(op, item)) {
        return;
    }
    op->at++;
    create_rest(op);
}

static enum err plan(struct create_op *op, struct creation *item, struct errmsg *msg)
{
    struct broker *broker = op->call.req->broker;
    struct arena *arena = arena_of(op);
    const want_t *want = item->want;
    struct new_topic_assignment *assignments =
        arena_array(arena, struct new_topic_assignment, (size_t)want->assignments_count);
    struct znode_pair *pairs = arena_array(arena, struct znode_pair, (size_t)want->configs_count);
    for (int32_t i = 0; i < want->assignments_count; i++) {
        assignments[i] = (struct new_topic_assignment){want->assignments[i].partition_index,
                                                       want->assignments[i].broker_ids,
                                                       want->assignments[i].broker_ids_count};
    }
    for (int32_t i = 0; i < want->configs_count; i++) {
        pairs[i] = (struct znode_pair){want->configs[i].name, want->configs[i].value};
    }
    struct new_topic_wish wish = {
        .name = want->name,
        .partitions_count = want->num_partitions,
        .replication_factor = want->replication_factor,
        .assignments = assignments,
        .assignments_count = want->assignments_count,
        .configs = pairs,
        .configs_count = want->configs_count,
    };
    struct meta *meta = meta_cell_get(&broker->meta);
    const struct config *config = config_cell_get(broker->config);
    enum err err = ERR_TOPIC_ALREADY_EXISTS;
    if (meta_find(meta, want->name) != NULL) {
        errmsg_set(msg, "Topic '%.*s' already exists.", STR_ARG(want->name));
    } else {
        err = new_topic_plan(broker->admin, arena, meta, config, &wish, &item->topic, msg);
    }
    config_put(config);
    meta_put(meta);
    return err;
}

/* Names that could collide are compared with those in ZooKeeper, which the metadata may lag behind;
 * so are all when nothing is written, since the writing would have found out. */
static bool needs_names(const struct create_op *op, const struct creation *item)
{
    struct str name = item->topic.name;
    return op->validate_only || memchr(name.ptr, '.', name.size) != NULL ||
           memchr(name.ptr, '_', name.size) != NULL;
}

/* True when it goes on later. */
static bool create_one(struct create_op *op, struct creation *item)
{
    struct errmsg msg = {""};
    if (item->result->error_code != 0) {
        return false;
    }
    if (op->over) {
        refuse(op, item, ERR_NOT_CONTROLLER, NULL);
        return false;
    }
    if (arena_size(arena_of(op)) - op->size_before > CREATE_PLANS_MAX_BYTES) {
        refuse(op, item, ERR_POLICY_VIOLATION, "Too much is to be created by one request.");
        return false;
    }
    enum err err = plan(op, item, &msg);
    if (err != ERR_OK) {
        refuse(op, item, err, msg.text);
        return false;
    }
    if (needs_names(op, item)) {
        admin_read_topics(admin_service_admin(op->call.req->broker->admin), on_names, op);
        return true;
    }
    return check_and_write(op, item);
}

static void create_rest(struct create_op *op)
{
    while (op->at < op->count) {
        if (create_one(op, &op->items[op->at])) {
            return;
        }
        op->at++;
    }
    finish(op);
}

/* ---- from the request ---- */

static void check_request(struct create_op *op)
{
    struct str *names = arena_array(arena_of(op), struct str, (size_t)op->count + 1);
    for (int32_t i = 0; i < op->count; i++) {
        names[i] = op->items[i].want->name;
    }
    const bool *repeated = names_repeated(arena_of(op), names, op->count);
    for (int32_t i = 0; i < op->count; i++) {
        if (repeated[i]) {
            refuse(op, &op->items[i], ERR_INVALID_REQUEST,
                   "Found multiple entries for this topic.");
        } else if (str_is(names[i], "__cluster_metadata")) {
            refuse(op, &op->items[i], ERR_INVALID_REQUEST,
                   "The topic __cluster_metadata cannot be created by clients.");
        }
    }
}

static void on_control(struct control_call *call)
{
    struct create_op *op = container_of(call, struct create_op, call);
    if (!ctl_driver_is_active(call->req->broker->ctl_driver)) {
        for (int32_t i = 0; i < op->count; i++) {
            refuse(op, &op->items[i], ERR_NOT_CONTROLLER, NULL);
        }
        control_call_finish(call);
        return;
    }
    check_request(op);
    op->size_before = arena_size(arena_of(op));
    create_rest(op);
}

void api_create_topics(struct req *req)
{
    const struct create_topics_request *request = req->body;
    struct create_op *op = req_new(req, struct create_op);
    op->count = request->topics_count;
    op->items = req_array(req, struct creation, op->count);
    op->validate_only = request->validate_only;
    codec_init(&create_topics_response_desc, &op->reply);
    op->reply.topics =
        codec_array(&create_topics_response_creatable_topic_result_desc, &req->arena, op->count);
    op->reply.topics_count = op->count;
    for (int32_t i = 0; i < op->count; i++) {
        op->items[i] =
            (struct creation){.want = &request->topics[i], .result = &op->reply.topics[i]};
        op->reply.topics[i].name = request->topics[i].name;
        op->reply.topics[i].error_message = STR_NULL;
    }
    control_call_start(&op->call, req, on_control, on_back);
}
