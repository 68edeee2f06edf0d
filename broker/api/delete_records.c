/* DeleteRecords: move the start of logs forward, each in its partition's actor. Source:
 * kafka-zk-mode facts 8.7 (52).
 *
 * Kafka answers when the followers have moved, too; as long as nothing is replicated the leader is
 * all there is, so the answer leaves when the last partition is done. */
#include "api/broker.h"
#include "api/handlers.h"
#include "api/locate.h"

typedef struct delete_records_request_delete_records_topic topic_t;
typedef struct delete_records_response_delete_records_topic_result topic_result_t;
typedef struct delete_records_response_delete_records_partition_result result_t;

struct delete_op;

/* One partition of the request. */
struct trim {
    struct actor_msg msg;
    struct loop_msg back;
    struct delete_op *op;
    struct part *part; /* referenced; NULL: refused */
    int64_t offset;
    enum err err;
    int64_t low_watermark;
    result_t *result;
};

struct delete_op {
    struct req *req;
    struct delete_records_response reply;
    struct trim *items;
    int32_t count;
    int32_t waiting;
};

static void settle(struct delete_op *op)
{
    if (--op->waiting > 0) {
        return;
    }
    for (int32_t i = 0; i < op->count; i++) {
        struct trim *item = &op->items[i];
        item->result->error_code = err_wire(item->err);
        item->result->low_watermark = item->err == ERR_OK ? item->low_watermark : -1;
        part_put(item->part);
    }
    req_reply(op->req, &op->reply);
}

static void on_back(struct loop_msg *msg)
{
    settle(container_of(msg, struct trim, back)->op);
}

static void in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct trim *item = container_of(msg, struct trim, msg);
    struct part *part = container_of(actor, struct part, actor);
    item->err = part_delete_records(part, item->offset, &item->low_watermark);
    item->back.fn = on_back;
    loop_post(item->op->req->netloop->loop, &item->back);
}

static void find(struct req *req, struct str topic, int32_t index, struct trim *item)
{
    const struct meta_topic *known = meta_find(meta_reader_now(&req->netloop->meta), topic);
    if (known == NULL || meta_topic_partition(known, index) == NULL) {
        item->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (topic_is_internal(topic)) {
        item->err = ERR_INVALID_TOPIC_EXCEPTION;
    } else {
        struct part *part = locate_leader(req, topic, index, &item->err);
        item->part = part != NULL ? part_get(part) : NULL;
    }
}

static int32_t count_partitions(const struct delete_records_request *request)
{
    int32_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        count += request->topics[i].partitions_count;
    }
    return count;
}

static void prepare_topic(struct delete_op *op, const topic_t *topic, topic_result_t *out)
{
    out->name = topic->name;
    out->partitions = req_array(op->req, result_t, topic->partitions_count);
    out->partitions_count = topic->partitions_count;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        struct trim *item = &op->items[op->count++];
        item->op = op;
        item->offset = topic->partitions[i].offset;
        item->result = &out->partitions[i];
        item->result->partition_index = topic->partitions[i].partition_index;
        find(op->req, topic->name, topic->partitions[i].partition_index, item);
    }
}

void api_delete_records(struct req *req)
{
    const struct delete_records_request *request = req->body;
    struct delete_op *op = req_new(req, struct delete_op);
    op->req = req;
    op->items = req_array(req, struct trim, count_partitions(request));
    codec_init(&delete_records_response_desc, &op->reply);
    op->reply.topics = req_array(req, topic_result_t, request->topics_count);
    op->reply.topics_count = request->topics_count;
    for (int32_t i = 0; i < request->topics_count; i++) {
        prepare_topic(op, &request->topics[i], &op->reply.topics[i]);
    }
    op->waiting = op->count + 1;
    for (int32_t i = 0; i < op->count; i++) {
        struct trim *item = &op->items[i];
        if (item->part == NULL) {
            op->waiting--;
        } else {
            item->msg.fn = in_actor;
            part_post(item->part, &item->msg);
        }
    }
    settle(op);
}
