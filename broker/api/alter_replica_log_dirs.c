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

struct alter_op {
    struct control_call call;
    struct alter_replica_log_dirs_response reply;
};

static void alter_topic(struct req *req, const dir_t *dir, const topic_t *topic,
                        topic_result_t *out)
{
    out->topic_name = topic->name;
    out->partitions = req_array(req, result_t, topic->partitions_count);
    out->partitions_count = topic->partitions_count;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        enum err err =
            moves_request(req->broker->moves, topic->name, topic->partitions[i], dir->path);
        out->partitions[i] = (result_t){topic->partitions[i], err_wire(err)};
    }
}

static void on_control(struct control_call *call)
{
    struct alter_op *op = container_of(call, struct alter_op, call);
    struct req *req = call->req;
    const struct alter_replica_log_dirs_request *request = req->body;
    for (int32_t i = 0; i < request->dirs_count; i++) {
        const dir_t *dir = &request->dirs[i];
        for (int32_t j = 0; j < dir->topics_count; j++) {
            alter_topic(req, dir, &dir->topics[j], &op->reply.results[op->reply.results_count++]);
        }
    }
    control_call_finish(call);
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
