/* Produce: records from a client into partitions.
 *
 *   frame -> check each batch (everything that needs no partition state) -> the partition's actor
 * appends
 *   -> acks 0 and 1: reply; acks -1: wait until the high watermark has passed the last record ->
 * reply. In flush mode acks=1 waits, too, until the record is on this broker's disk.
 *
 * Source: Kafka 3.9 in ZooKeeper mode. Versions 0 to 2 carry message sets of magic 0 and 1,
 * which this broker does not take: they are offered because clients probe for them, and answered
 * with UNSUPPORTED_FOR_MESSAGE_FORMAT. */
#include <string.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "api/locate.h"
#include "base/must.h"
#include "record/batch.h"
#include "wait/wait.h"

enum { PRODUCE_VERSION_MIN = 3, ZSTD_VERSION_MIN = 7, HINT_VERSION_MIN = 10 };

struct produce_op;

/* One partition of the request. */
struct produce_item {
    struct part_append append;
    struct wait wait;
    struct produce_op *op;
    struct part
        *part; /* referenced until the request is answered; NULL when it was refused at once */
    struct str topic;
    int32_t index;
    enum err err;
    /* Of a batch that was refused for what is in it; in the arena, for that is rare. NULL beyond
     * PRODUCE_DETAILS_MAX: the answer would be many times the request. */
    const struct record_error *detail;
    struct buf rebuilt; /* the batch as the topic wants it, where that differs from what was sent */
};

struct produce_op {
    struct req *req;
    const struct produce_request *request;
    struct produce_item *items; /* in the request's order */
    int32_t items_count;
    int32_t outstanding; /* appends under way, plus one while they are being posted */
    int32_t details;     /* refused batches of which is said what is wrong */
    bool appending;      /* the client has been told that it must wait for them */
    int64_t rebuilt_bytes;
    size_t inflated_bytes;
    struct wait_op wait;
    bool waiting;
};

static int32_t count_items(const struct produce_request *request)
{
    int32_t count = 0;
    for (int32_t i = 0; i < request->topic_data_count; i++) {
        count += request->topic_data[i].partition_data_count;
    }
    return count;
}

static void op_release(struct produce_op *op)
{
    for (int32_t i = 0; i < op->items_count; i++) {
        part_put(op->items[i].part);
        op->items[i].part = NULL;
        buf_fini(&op->items[i].rebuilt);
    }
}

/* ---- the reply ---- */

static void fill_record_errors(struct req *req, const struct produce_item *item,
                               struct produce_response_partition_produce_response *out)
{
    const struct record_error *detail = item->detail;
    int32_t count = detail->count;
    out->error_message = str_of(detail->message);
    if (count == 0) {
        return;
    }
    out->record_errors =
        req_array(req, struct produce_response_batch_index_and_error_message, count);
    out->record_errors_count = count;
    for (int32_t i = 0; i < count; i++) {
        out->record_errors[i].batch_index = detail->batch_indexes[i];
        out->record_errors[i].batch_index_error_message = str_of(detail->message);
    }
}

static void fill_item(struct req *req, const struct produce_item *item, struct locate_hints *hints,
                      struct produce_response_partition_produce_response *out)
{
    *out = (struct produce_response_partition_produce_response){
        .index = item->index,
        .error_code = err_wire(item->err),
        .base_offset = -1,
        .log_append_time_ms = -1,
        .log_start_offset = -1,
        .current_leader = {.leader_id = -1, .leader_epoch = -1},
    };
    if (item->err == ERR_OK) {
        out->base_offset = item->append.base_offset;
        out->log_append_time_ms = item->append.append_time_ms;
        out->log_start_offset = item->append.log_start_offset;
        return;
    }
    if (item->detail != NULL &&
        (item->err == ERR_INVALID_RECORD || item->err == ERR_INVALID_TIMESTAMP)) {
        fill_record_errors(req, item, out);
    }
    if (item->err == ERR_NOT_LEADER_OR_FOLLOWER && req->version >= HINT_VERSION_MIN) {
        locate_current_leader(req, item->topic, item->index, hints, &out->current_leader.leader_id,
                              &out->current_leader.leader_epoch);
    }
}

static void fill_endpoints(struct req *req, const struct locate_hints *hints,
                           struct produce_response *reply)
{
    reply->node_endpoints = req_array(req, struct produce_response_node_endpoint, hints->count);
    for (int32_t i = 0; i < hints->count; i++) {
        struct locate_node node;
        if (locate_node(req, hints->broker_ids[i], &node)) {
            reply->node_endpoints[reply->node_endpoints_count++] =
                (struct produce_response_node_endpoint){hints->broker_ids[i], node.host, node.port,
                                                        node.rack};
        }
    }
}

static void produce_reply(struct produce_op *op)
{
    struct req *req = op->req;
    const struct produce_request *request = op->request;
    struct produce_response reply;
    struct locate_hints hints = {0};
    codec_init(&produce_response_desc, &reply);
    reply.responses =
        req_array(req, struct produce_response_topic_produce_response, request->topic_data_count);
    reply.responses_count = request->topic_data_count;
    int32_t at = 0;
    for (int32_t i = 0; i < request->topic_data_count; i++) {
        const struct produce_request_topic_produce_data *topic = &request->topic_data[i];
        struct produce_response_topic_produce_response *out = &reply.responses[i];
        out->name = topic->name;
        out->partition_responses_count = topic->partition_data_count;
        out->partition_responses = req_array(
            req, struct produce_response_partition_produce_response, topic->partition_data_count);
        for (int32_t j = 0; j < topic->partition_data_count; j++) {
            fill_item(req, &op->items[at++], &hints, &out->partition_responses[j]);
        }
    }
    fill_endpoints(req, &hints, &reply);
    op_release(op);
    req_reply(req, &reply);
}

/* acks=0: nothing is said; an error can only be shown by closing the connection. */
static void produce_silent(struct produce_op *op)
{
    bool failed = false;
    for (int32_t i = 0; i < op->items_count; i++) {
        failed = failed || op->items[i].err != ERR_OK;
    }
    op_release(op);
    if (failed) {
        req_close(op->req);
    } else {
        req_drop(op->req);
    }
}

/* ---- waiting for the high watermark ---- */

/* What an append that was written can be answered with now; false: nothing yet. acks=1 waits for
 * this broker's disk, which counts in flush mode only; without it it is enough, as in Kafka, that
 * it was written. */
static bool item_decide(const struct produce_item *item, enum err *err)
{
    const struct part_append *append = &item->append;
    bool all = append->acks == -1;
    enum part_fate fate =
        all ? part_fate_committed(item->part, append->leader_epoch, append->offset_end)
            : part_fate_durable(item->part, append->leader_epoch, append->offset_end);
    *err = ERR_OK;
    if (fate == PART_FATE_UNKNOWN && (all || part_flushes(item->part))) {
        *err = ERR_NOT_LEADER_OR_FOLLOWER;
    } else if (fate == PART_FATE_KEPT && all && !part_enough_replicas(item->part)) {
        *err = ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    }
    return fate != PART_FATE_OPEN;
}

static enum wait_result produce_poll(struct wait *wait)
{
    struct produce_item *item = container_of(wait, struct produce_item, wait);
    enum err err;
    if (!item_decide(item, &err)) {
        return WAIT_PENDING;
    }
    item->err = err;
    return WAIT_SATISFIED;
}

static void produce_waited(struct wait_op *wait_op, bool timed_out)
{
    struct produce_op *op = container_of(wait_op, struct produce_op, wait);
    must(timed_out || op->wait.pending_count == 0);
    op->waiting = false;
    op->req->on_cancel = NULL;
    produce_reply(op);
}

static void produce_cancel(struct req *req)
{
    struct produce_op *op = req->state;
    wait_op_cancel(&op->wait);
    op_release(op);
}

/* Only what can be acknowledged is answered without a wait: of all else the polls tell. */
static bool needs_wait(const struct produce_item *item)
{
    enum err err;
    if (item->part == NULL || item->err != ERR_OK) {
        return false;
    }
    return !item_decide(item, &err) || err != ERR_OK;
}

/* Of the frame the answer needs only these. */
static void keep_names(struct produce_op *op)
{
    const struct produce_request *request = op->request;
    size_t bytes = 0;
    for (int32_t i = 0; i < request->topic_data_count; i++) {
        bytes += request->topic_data[i].name.size;
    }
    char *to = req_array(op->req, char, bytes);
    client_charge(op->req, (int64_t)bytes);
    int32_t at = 0;
    for (int32_t i = 0; i < request->topic_data_count; i++) {
        struct produce_request_topic_produce_data *topic = &request->topic_data[i];
        memcpy(to, topic->name.ptr, topic->name.size);
        topic->name.ptr = to;
        to += topic->name.size;
        for (int32_t j = 0; j < topic->partition_data_count; j++) {
            op->items[at++].topic = topic->name;
        }
    }
}

/* They are in the log. Who waits for followers keeps no memory of its records: where brokers and
 * clients share a listener, a follower needs that memory to ask for them, and the controller to say
 * that it has gone. */
static void let_records_go(struct produce_op *op)
{
    for (int32_t i = 0; i < op->items_count; i++) {
        buf_fini(&op->items[i].rebuilt);
    }
    client_uncharge(op->req, op->rebuilt_bytes);
    op->rebuilt_bytes = 0;
    if (op->req->frame_charged) {
        keep_names(op);
        client_drop_frame(op->req);
    }
}

static void produce_wait(struct produce_op *op)
{
    struct req *req = op->req;
    let_records_go(op);
    wait_op_init(&op->wait, req->netloop->loop, produce_waited);
    for (int32_t i = 0; i < op->items_count; i++) {
        struct produce_item *item = &op->items[i];
        if (needs_wait(item)) {
            item->err = ERR_REQUEST_TIMED_OUT; /* unless the poll says better */
            int64_t rank = item->append.acks == -1 ? item->append.offset_end : WAIT_ANY;
            wait_add(&op->wait, &item->wait, &item->part->wait, rank, produce_poll);
        }
    }
    op->waiting = true;
    req->state = op;
    req->on_cancel = produce_cancel;
    wait_op_start(&op->wait, req_wait_until(req, op->request->timeout_ms));
}

/* ---- appending ---- */

/* Every append has been written or refused. */
static void produce_appended(struct produce_op *op)
{
    if (op->request->acks == 0) {
        produce_silent(op);
        return;
    }
    for (int32_t i = 0; i < op->items_count; i++) {
        if (needs_wait(&op->items[i])) {
            produce_wait(op);
            return;
        }
    }
    produce_reply(op);
}

static void op_settle(struct produce_op *op)
{
    must(op->outstanding > 0);
    if (--op->outstanding > 0) {
        return;
    }
    if (op->appending) {
        client_append_end(op->req->client);
    }
    produce_appended(op);
}

/* A leader that ZooKeeper does not hear may have been deposed, and what is missing here may be with
 * the next leader. "Out of order" ends a producer for good, or begins its numbers anew (Kafka says
 * that); an error that sends it to the leader, who knows, does no harm. */
static enum err err_told(const struct produce_item *item, enum err err)
{
    const struct broker *broker = item->op->req->broker;
    bool doubt = err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER && atomic_load(&broker->cut_off);
    return doubt ? ERR_NOT_LEADER_OR_FOLLOWER : err;
}

static void on_appended(struct part_call *call)
{
    struct part_append *append = container_of(call, struct part_append, call);
    struct produce_item *item = container_of(append, struct produce_item, append);
    item->err = err_told(item, append->err);
    op_settle(item->op);
}

/* So much has been decompressed; what is left bounds the next batch. */
static void count_inflated(struct produce_op *op, size_t bytes, struct batch_rules *rules)
{
    op->inflated_bytes += bytes;
    size_t left = op->inflated_bytes < PRODUCE_INFLATED_MAX_BYTES
                      ? PRODUCE_INFLATED_MAX_BYTES - op->inflated_bytes
                      : 0;
    if (rules->inflated_bytes_max > left) {
        rules->inflated_bytes_max = left;
    }
}

static enum err item_rebuild(struct produce_item *item, struct batch_rules *rules,
                             struct bytes *records)
{
    struct produce_op *op = item->op;
    size_t inflated;
    if (op->rebuilt_bytes >= PRODUCE_REBUILT_MAX_BYTES) {
        return ERR_MESSAGE_TOO_LARGE;
    }
    enum err err = batch_rebuild(*records, rules, &item->rebuilt, &inflated);
    count_inflated(op, inflated, rules);
    if (err == ERR_OK) {
        *records = (struct bytes){item->rebuilt.data, item->rebuilt.size};
        op->rebuilt_bytes += (int64_t)item->rebuilt.capacity;
        client_charge(op->req, (int64_t)item->rebuilt.capacity);
    }
    return err;
}

/* What the topic wants otherwise than the producer sent it: another codec, a max timestamp that is
 * true. */
static enum err item_fix(struct produce_item *item, const struct record_error *detail,
                         struct batch_rules *rules, struct bytes *records)
{
    if (detail->fix == BATCH_FIX_MAX_TIMESTAMP) {
        batch_patch_max_timestamp((uint8_t *)(uintptr_t)records->data, detail->max_timestamp_ms);
    } else if (detail->fix == BATCH_FIX_REBUILD) {
        enum err err = item_rebuild(item, rules, records);
        if (err != ERR_OK) {
            return err;
        }
    } else {
        return ERR_OK;
    }
    return batch_read_header(*records, &item->append.header) == ERR_OK ? ERR_OK
                                                                       : ERR_CORRUPT_MESSAGE;
}

/* Everything about a batch that can be said without its partition's state. */
static enum err item_check(struct req *req, struct produce_item *item, struct part *part,
                           struct bytes *records)
{
    struct produce_op *op = item->op;
    if (topic_is_internal(item->topic) && !str_is(req->client_id, "__admin_client")) {
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    struct batch_rules rules;
    struct record_error detail;
    part_batch_rules(part, loop_wall_ms(req->netloop->loop), &rules);
    rules.zstd_allowed = req->version >= ZSTD_VERSION_MIN;
    count_inflated(op, 0, &rules);
    enum err err = batch_validate_produce(*records, &rules, &item->append.header, &detail);
    count_inflated(op, detail.inflated_bytes, &rules);
    if (err == ERR_OK && batch_is_transactional(&item->append.header)) {
        /* There is no coordinator to end it. A producer that was in a transaction while the cluster
         * was still Kafka's may go on sending: taken, its records would be open for ever. */
        err = ERR_INVALID_TXN_STATE;
    }
    if (err == ERR_OK) {
        err = item_fix(item, &detail, &rules, records);
    }
    if (err != ERR_OK && op->details < PRODUCE_DETAILS_MAX) {
        op->details++;
        struct record_error *kept = req_new(req, struct record_error);
        *kept = detail;
        item->detail = kept;
    }
    return err;
}

static void item_start(struct produce_item *item, struct bytes records)
{
    struct produce_op *op = item->op;
    struct req *req = op->req;
    if (req->version < PRODUCE_VERSION_MIN) {
        item->err = ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
        return;
    }
    struct part *part = locate_leader(req, item->topic, item->index, &item->err);
    if (part == NULL) {
        return;
    }
    item->err = item_check(req, item, part, &records);
    if (item->err != ERR_OK) {
        return;
    }
    item->part = part_get(part);
    item->append.records = records;
    item->append.acks = op->request->acks;
    item->append.expected_epoch = -1;
    item->append.call.loop = req->netloop->loop;
    item->append.call.done = on_appended;
    op->outstanding++;
    part_append(part, &item->append);
}

static void op_start_items(struct produce_op *op)
{
    const struct produce_request *request = op->request;
    bool acks_valid = request->acks >= -1 && request->acks <= 1;
    int32_t at = 0;
    op->outstanding = 1;
    for (int32_t i = 0; i < request->topic_data_count; i++) {
        const struct produce_request_topic_produce_data *topic = &request->topic_data[i];
        for (int32_t j = 0; j < topic->partition_data_count; j++) {
            struct produce_item *item = &op->items[at++];
            item->op = op;
            item->topic = topic->name;
            item->index = topic->partition_data[j].index;
            item->err = ERR_INVALID_REQUIRED_ACKS;
            if (acks_valid) {
                item_start(item, topic->partition_data[j].records);
            }
        }
    }
    if (op->outstanding > 1) {
        op->appending = true;
        client_append_begin(op->req->client);
    }
    op_settle(op);
}

void api_produce(struct req *req)
{
    struct produce_op *op = req_new(req, struct produce_op);
    op->req = req;
    op->request = req->body;
    op->items_count = count_items(op->request);
    op->items = req_array(req, struct produce_item, op->items_count);
    op_start_items(op);
}
