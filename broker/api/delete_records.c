/* DeleteRecords: move the start of logs forward, each in its partition's actor, then wait until the
 * replicas in sync have moved theirs, which they do when they next fetch. A partition that is named
 * more than once is answered once, with what came last, and a topic likewise: as Kafka does, which
 * gathers them in a map. Source: Kafka 3.9 in ZooKeeper mode. */
#include <stdlib.h>

#include "api/broker.h"
#include "api/handlers.h"
#include "api/locate.h"

typedef struct delete_records_response_delete_records_topic_result topic_result_t;
typedef struct delete_records_response_delete_records_partition_result result_t;

struct delete_op;

/* One partition of the request. */
struct trim {
    struct actor_msg msg;
    struct loop_msg back;
    struct delete_op *op;
    struct part *part; /* referenced; NULL: refused */
    struct wait wait;
    int64_t offset;
    enum err err;
    int64_t log_start; /* the leader's, afterwards */
    result_t *result;
};

struct delete_op {
    struct req *req;
    struct delete_records_response reply;
    struct trim *items;
    int32_t count;
    int32_t in_actors; /* and one while they are being posted */
    struct wait_op wait;
};

/* ---- waiting for the replicas ---- */

static int64_t low_watermark(const struct trim *item)
{
    return atomic_load_explicit(&item->part->offset_low, memory_order_acquire);
}

/* Up to where all replicas must have moved. */
static int64_t wanted_low(const struct trim *item)
{
    return item->offset == -1 ? item->log_start : item->offset;
}

static void put_parts(struct delete_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        part_put(op->items[i].part);
    }
}

static void answer(struct delete_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        struct trim *item = &op->items[i];
        item->result->error_code = err_wire(item->err);
        item->result->low_watermark = item->err == ERR_OK ? low_watermark(item) : -1;
    }
    put_parts(op);
    req_reply(op->req, &op->reply);
}

static enum wait_result poll(struct wait *wait)
{
    struct trim *item = container_of(wait, struct trim, wait);
    if (part_now(item->part).role != PART_LEADER) {
        item->err = ERR_NOT_LEADER_OR_FOLLOWER;
        return WAIT_SATISFIED;
    }
    if (low_watermark(item) < wanted_low(item)) {
        return WAIT_PENDING;
    }
    item->err = ERR_OK;
    return WAIT_SATISFIED;
}

static void on_waited(struct wait_op *wait, bool timed_out)
{
    struct delete_op *op = container_of(wait, struct delete_op, wait);
    (void)timed_out; /* who is still pending has that error already */
    op->req->on_cancel = NULL;
    answer(op);
}

static void on_cancel(struct req *req)
{
    struct delete_op *op = req->state;
    wait_op_cancel(&op->wait);
    put_parts(op);
}

/* A client may say that it waits for weeks: as others that ask for a change it is answered in some
 * minutes. */
static void wait_for_replicas(struct delete_op *op)
{
    const struct delete_records_request *request = op->req->body;
    int32_t patience_ms =
        request->timeout_ms < META_WAIT_MAX_MS ? request->timeout_ms : META_WAIT_MAX_MS;
    wait_op_init(&op->wait, op->req->netloop->loop, on_waited);
    for (int32_t i = 0; i < op->count; i++) {
        struct trim *item = &op->items[i];
        if (item->err == ERR_OK) {
            item->err = ERR_REQUEST_TIMED_OUT; /* unless the poll says better */
            wait_add(&op->wait, &item->wait, &item->part->wait, WAIT_ANY, poll);
        }
    }
    op->req->state = op;
    op->req->on_cancel = on_cancel;
    wait_op_start(&op->wait, req_wait_until(op->req, patience_ms));
}

/* ---- moving the starts ---- */

static void settle(struct delete_op *op)
{
    if (--op->in_actors == 0) {
        wait_for_replicas(op);
    }
}

static void on_back(struct loop_msg *msg)
{
    settle(container_of(msg, struct trim, back)->op);
}

static void in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct trim *item = container_of(msg, struct trim, msg);
    struct part *part = container_of(actor, struct part, actor);
    item->err = part_delete_records(part, item->offset, &item->log_start);
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

/* ---- what is asked for ---- */

/* A partition as the request names it. */
struct named {
    struct str topic;
    int32_t index;
    int32_t place; /* in the request */
    int64_t offset;
};

static bool same(const struct named *a, const struct named *b)
{
    return a->index == b->index && str_eq(a->topic, b->topic);
}

static int by_partition(const void *left, const void *right)
{
    const struct named *a = left;
    const struct named *b = right;
    int order = str_cmp(a->topic, b->topic);
    if (order != 0) {
        return order;
    }
    return a->index != b->index ? (a->index < b->index ? -1 : 1) : (a->place < b->place ? -1 : 1);
}

static int32_t count_partitions(const struct delete_records_request *request)
{
    int32_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        count += request->topics[i].partitions_count;
    }
    return count;
}

/* Sorted by topic, each once. A client may name one very often, so not by comparing each with each.
 */
static struct named *distinct(struct req *req, int32_t *count)
{
    const struct delete_records_request *request = req->body;
    struct named *all = req_array(req, struct named, count_partitions(request));
    int32_t place = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        for (int32_t j = 0; j < request->topics[i].partitions_count; j++) {
            all[place] = (struct named){.topic = request->topics[i].name,
                                        .index = request->topics[i].partitions[j].partition_index,
                                        .place = place,
                                        .offset = request->topics[i].partitions[j].offset};
            place++;
        }
    }
    qsort(all, (size_t)place, sizeof(*all), by_partition);
    *count = 0;
    for (int32_t i = 0; i < place; i++) {
        if (*count > 0 && same(&all[*count - 1], &all[i])) {
            all[*count - 1] = all[i];
        } else {
            all[(*count)++] = all[i];
        }
    }
    return all;
}

/* Make the items, and the answer's places for them. */
static void prepare(struct delete_op *op)
{
    struct req *req = op->req;
    struct named *named = distinct(req, &op->count);
    op->items = req_array(req, struct trim, op->count);
    result_t *results = req_array(req, result_t, op->count);
    codec_init(&delete_records_response_desc, &op->reply);
    op->reply.topics = req_array(req, topic_result_t, op->count);
    for (int32_t i = 0; i < op->count; i++) {
        if (i == 0 || !str_eq(named[i - 1].topic, named[i].topic)) {
            op->reply.topics[op->reply.topics_count++] =
                (topic_result_t){.name = named[i].topic, .partitions = &results[i]};
        }
        op->reply.topics[op->reply.topics_count - 1].partitions_count++;
        results[i].partition_index = named[i].index;
        struct trim *item = &op->items[i];
        item->op = op;
        item->offset = named[i].offset;
        item->result = &results[i];
        find(req, named[i].topic, named[i].index, item);
    }
}

void api_delete_records(struct req *req)
{
    struct delete_op *op = req_new(req, struct delete_op);
    op->req = req;
    prepare(op);
    op->in_actors = op->count + 1;
    for (int32_t i = 0; i < op->count; i++) {
        struct trim *item = &op->items[i];
        if (item->part == NULL) {
            op->in_actors--;
        } else {
            item->msg.fn = in_actor;
            part_post(item->part, &item->msg);
        }
    }
    settle(op);
}
