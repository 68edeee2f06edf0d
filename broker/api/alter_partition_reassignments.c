/* AlterPartitionReassignments: other replicas for partitions, or back to those they had. Answered
 * when ZooKeeper has the new assignments; the replicas move after that, which
 * ListPartitionReassignments shows. The time limit of the request is not needed. Source: Kafka 3.9
 * in ZooKeeper mode; KIP-455. */
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "controller/ctl_driver.h"

typedef struct alter_partition_reassignments_request_reassignable_topic ask_topic;
typedef struct alter_partition_reassignments_response_reassignable_topic_response reply_topic;
typedef struct alter_partition_reassignments_response_reassignable_partition_response
    reply_partition;

struct reassign_op {
    struct control_call call;
    struct alter_partition_reassignments_response reply;
};

static void on_back(struct control_call *call)
{
    struct reassign_op *op = container_of(call, struct reassign_op, call);
    req_reply(call->req, &op->reply);
}

/* Results come in the order of the request: topic by topic. */
static void fill(struct reassign_op *op, const struct ctl_reassigned *results)
{
    struct req *req = op->call.req;
    const struct alter_partition_reassignments_request *request = req->body;
    struct arena *arena = &req->arena;
    op->reply.responses = req_array(req, reply_topic, request->topics_count);
    op->reply.responses_count = request->topics_count;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const ask_topic *ask = &request->topics[i];
        reply_topic *topic = &op->reply.responses[i];
        topic->name = ask->name;
        topic->partitions = req_array(req, reply_partition, ask->partitions_count);
        topic->partitions_count = ask->partitions_count;
        for (int32_t j = 0; j < ask->partitions_count; j++, results++) {
            topic->partitions[j] = (reply_partition){
                .partition_index = results->partition,
                .error_code = err_wire(results->err),
                .error_message =
                    results->text != NULL ? arena_str(arena, str_of(results->text)) : STR_NULL,
            };
        }
    }
}

static void on_reassigned(void *arg, enum err err, const struct ctl_reassigned *results,
                          int32_t count)
{
    struct reassign_op *op = arg;
    (void)count;
    if (err == ERR_OK) {
        fill(op, results);
    } else {
        op->reply.error_code = err_wire(err);
        op->reply.error_message = STR("This is not the correct controller for this cluster.");
    }
    control_call_finish(&op->call);
}

static void on_control(struct control_call *call)
{
    struct reassign_op *op = container_of(call, struct reassign_op, call);
    struct req *req = call->req;
    const struct alter_partition_reassignments_request *request = req->body;
    int32_t total = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        total += request->topics[i].partitions_count;
    }
    struct ctl_reassign *items = req_array(req, struct ctl_reassign, total);
    int32_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const ask_topic *topic = &request->topics[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            bool cancel = topic->partitions[j].replicas_count < 0;
            items[count++] = (struct ctl_reassign){
                .topic = topic->name,
                .partition = topic->partitions[j].partition_index,
                .cancel = cancel,
                .replicas = {topic->partitions[j].replicas,
                             cancel ? 0 : topic->partitions[j].replicas_count},
            };
        }
    }
    ctl_driver_reassign(req->broker->ctl_driver, items, count, on_reassigned, op);
}

void api_alter_partition_reassignments(struct req *req)
{
    struct reassign_op *op = req_new(req, struct reassign_op);
    codec_init(&alter_partition_reassignments_response_desc, &op->reply);
    control_call_start(&op->call, req, on_control, on_back);
}
