/* AlterReplicaLogDirs: replicas are to lie in other directories of this broker. Answered when the
 * moves have begun; DescribeLogDirs says how far they are. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "moves/moves.h"

typedef struct alter_replica_log_dirs_request_alter_replica_log_dir dir_t;
typedef struct alter_replica_log_dirs_request_alter_replica_log_dir_topic topic_t;
typedef struct alter_replica_log_dirs_response_alter_replica_log_dir_topic_result topic_result_t;
typedef struct alter_replica_log_dirs_response_alter_replica_log_dir_partition_result result_t;

/* What is next of the request. */
struct cursor {
    int32_t dir;
    int32_t topic;
    int32_t partition;
};

struct alter_op {
    struct control_call call;
    struct loop_msg again;
    struct alter_replica_log_dirs_response reply;
    struct cursor at;
};

/* So many partitions at a time: a request may name two million, and others want the control loop,
 * too. */
enum { SLICE_PARTITIONS = 2000 };

static topic_result_t *begin_topic(struct alter_op *op, const topic_t *topic)
{
    topic_result_t *out = &op->reply.results[op->reply.results_count++];
    out->topic_name = topic->name;
    out->partitions = req_array(op->call.req, result_t, topic->partitions_count);
    return out;
}

/* One partition, or what stands between two. */
static void step(struct alter_op *op, const dir_t *dir)
{
    struct cursor *at = &op->at;
    if (at->topic == dir->topics_count) {
        *at = (struct cursor){.dir = at->dir + 1};
        return;
    }
    const topic_t *topic = &dir->topics[at->topic];
    topic_result_t *out = at->partition == 0 ? begin_topic(op, topic)
                                             : &op->reply.results[op->reply.results_count - 1];
    if (at->partition == topic->partitions_count) {
        at->topic++;
        at->partition = 0;
        return;
    }
    int32_t partition = topic->partitions[at->partition++];
    enum err err = moves_request(op->call.req->broker->moves, topic->name, partition, dir->path);
    out->partitions[out->partitions_count++] = (result_t){partition, err_wire(err)};
}

static void work_off(struct alter_op *op)
{
    const struct alter_replica_log_dirs_request *request = op->call.req->body;
    for (int32_t left = SLICE_PARTITIONS; left > 0; left--) {
        if (op->at.dir == request->dirs_count) {
            control_call_finish(&op->call);
            return;
        }
        step(op, &request->dirs[op->at.dir]);
    }
    loop_post(op->call.req->broker->control, &op->again);
}

static void on_again(struct loop_msg *msg)
{
    work_off(container_of(msg, struct alter_op, again));
}

static void on_control(struct control_call *call)
{
    struct alter_op *op = container_of(call, struct alter_op, call);
    op->again.fn = on_again;
    work_off(op);
}

static void on_back(struct control_call *call)
{
    req_reply(call->req, &container_of(call, struct alter_op, call)->reply);
}

void api_alter_replica_log_dirs(struct req *req)
{
    const struct alter_replica_log_dirs_request *request = req->body;
    struct alter_op *op = req_new(req, struct alter_op);
    int64_t topics = 0;
    codec_init(&alter_replica_log_dirs_response_desc, &op->reply);
    for (int32_t i = 0; i < request->dirs_count; i++) {
        topics += request->dirs[i].topics_count;
    }
    op->reply.results = req_array(req, topic_result_t, topics);
    control_call_start(&op->call, req, on_control, on_back);
}
