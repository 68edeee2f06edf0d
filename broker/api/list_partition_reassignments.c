/* ListPartitionReassignments: which of the partitions asked about, or of all, are on the move, as
 * the controller knows. Source: Kafka 3.9 in ZooKeeper mode; KIP-455. */
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "controller/ctl_driver.h"

typedef struct list_partition_reassignments_response_ongoing_topic_reassignment reply_topic;
typedef struct list_partition_reassignments_response_ongoing_partition_reassignment reply_partition;

struct list_op {
    struct control_call call;
    struct list_partition_reassignments_response reply;
};

static void on_back(struct control_call *call)
{
    struct list_op *op = container_of(call, struct list_op, call);
    req_reply(call->req, &op->reply);
}

/* NULL: all. */
static struct znode_tps *wanted(struct req *req)
{
    const struct list_partition_reassignments_request *request = req->body;
    if (request->topics_count < 0) {
        return NULL;
    }
    struct znode_tps *tps = req_new(req, struct znode_tps);
    int32_t total = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        total += request->topics[i].partition_indexes_count;
    }
    struct znode_tp *items = req_array(req, struct znode_tp, total);
    for (int32_t i = 0; i < request->topics_count; i++) {
        for (int32_t j = 0; j < request->topics[i].partition_indexes_count; j++) {
            items[tps->count++] =
                (struct znode_tp){.topic = request->topics[i].name,
                                  .partition = request->topics[i].partition_indexes[j]};
        }
    }
    tps->items = items;
    return tps;
}

static int32_t *copy_ids(struct req *req, struct znode_ids list)
{
    int32_t *ids = req_array(req, int32_t, list.count);
    for (int32_t i = 0; i < list.count; i++) {
        ids[i] = list.ids[i];
    }
    return ids;
}

static void fill_partition(struct req *req, const struct ctl_moving *from, reply_partition *out)
{
    *out = (reply_partition){
        .partition_index = from->partition,
        .replicas = copy_ids(req, from->replicas),
        .replicas_count = from->replicas.count,
        .adding_replicas = copy_ids(req, from->adding),
        .adding_replicas_count = from->adding.count,
        .removing_replicas = copy_ids(req, from->removing),
        .removing_replicas_count = from->removing.count,
    };
}

/* One entry per run of partitions of one topic. */
static void fill(struct list_op *op, const struct ctl_moving *moving, int32_t count)
{
    struct req *req = op->call.req;
    op->reply.topics = req_array(req, reply_topic, count);
    for (int32_t i = 0, end = 0; i < count; i = end) {
        reply_topic *topic = &op->reply.topics[op->reply.topics_count++];
        while (end < count && str_eq(moving[end].topic, moving[i].topic)) {
            end++;
        }
        topic->name = arena_str(&req->arena, moving[i].topic);
        topic->partitions = req_array(req, reply_partition, end - i);
        topic->partitions_count = end - i;
        for (int32_t j = i; j < end; j++) {
            fill_partition(req, &moving[j], &topic->partitions[j - i]);
        }
    }
}

static void on_control(struct control_call *call)
{
    struct list_op *op = container_of(call, struct list_op, call);
    struct req *req = call->req;
    struct ctl_driver *driver = req->broker->ctl_driver;
    if (ctl_driver_is_active(driver)) {
        const struct ctl_moving *moving;
        int32_t count =
            ctl_list_moving(ctl_driver_machine(driver), wanted(req), &req->arena, &moving);
        fill(op, moving, count);
    } else {
        op->reply.error_code = err_wire(ERR_NOT_CONTROLLER);
        op->reply.error_message = STR("This is not the correct controller for this cluster.");
    }
    control_call_finish(call);
}

void api_list_partition_reassignments(struct req *req)
{
    struct list_op *op = req_new(req, struct list_op);
    codec_init(&list_partition_reassignments_response_desc, &op->reply);
    control_call_start(&op->call, req, on_control, on_back);
}
