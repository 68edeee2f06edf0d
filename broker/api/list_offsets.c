/* ListOffsets: the earliest, the latest, or the first offset at or after a time. Source:
 * Kafka 3.9 in ZooKeeper mode.
 *
 * Looking for a time reads indexes and batches, maybe from a disk: requests that ask for one are
 * worked off by a worker; the others are answered at once. */
#include <stdlib.h>

#include "api/broker.h"
#include "api/handlers.h"
#include "api/locate.h"
#include "rt/worker.h"

enum list_timestamp {
    TIMESTAMP_LATEST = -1,
    TIMESTAMP_EARLIEST = -2,
    TIMESTAMP_MAX = -3,            /* version 7+ */
    TIMESTAMP_EARLIEST_LOCAL = -4, /* version 8+: the earliest, without tiered storage */
    TIMESTAMP_LATEST_TIERED = -5,  /* version 9+: none, without tiered storage */
};

enum {
    LIST_VERSION_MIN = 1,
    EPOCH_VERSION_MIN = 4,
    OFFSET_NOT_AVAILABLE_VERSION_MIN = 5,
    READ_COMMITTED = 1,
    REPLICA_DEBUG = -2, /* may ask a follower */
};

/* One partition of the request. */
struct list_item {
    struct str topic;
    const struct list_offsets_request_list_offsets_partition *want;
    struct plog *log; /* held while a worker searches; NULL */
    struct list_offsets_response_list_offsets_partition_response *out;
    int64_t bound;        /* exclusive: up to where a record counts */
    enum err unavailable; /* what to say when no record is found */
    bool duplicate;       /* named twice: refused each time */
    bool search;
    bool has_epoch; /* the version has the field */
};

struct list_op {
    struct req *req;
    struct list_offsets_response reply;
    struct list_item *items;
    int32_t count;
    struct work work;
};

static void set_error(struct list_item *item, enum err err)
{
    item->out->error_code = err_wire(err);
    item->out->timestamp = -1;
    item->out->offset = -1;
    item->out->leader_epoch = -1;
}

static void set_offset(struct list_item *item, int64_t timestamp, int64_t offset, int32_t epoch)
{
    item->out->timestamp = timestamp;
    item->out->offset = offset;
    item->out->leader_epoch = item->has_epoch ? epoch : -1;
}

static bool timestamp_supported(int16_t version, int64_t timestamp)
{
    switch (timestamp) {
    case TIMESTAMP_LATEST:
    case TIMESTAMP_EARLIEST:
        return true;
    case TIMESTAMP_MAX:
        return version >= 7;
    case TIMESTAMP_EARLIEST_LOCAL:
        return version >= 8;
    case TIMESTAMP_LATEST_TIERED:
        return version >= 9;
    default:
        return timestamp >= 0;
    }
}

/* The end of what this client may know of. */
static int64_t list_bound(const struct list_offsets_request *request, struct part *part)
{
    if (request->replica_id != -1) {
        return plog_offset_end(part->log);
    }
    return request->isolation_level == READ_COMMITTED
               ? part_offset_stable(part)
               : atomic_load_explicit(&part->offset_hw, memory_order_acquire);
}

/* After an election, clients must not be told an end that lies before what earlier leaders showed.
 */
static enum err check_available(struct req *req, const struct list_offsets_request *request,
                                struct part *part)
{
    if (request->replica_id != -1 || part_high_watermark_is_current(part)) {
        return ERR_OK;
    }
    return req->version >= OFFSET_NOT_AVAILABLE_VERSION_MIN ? ERR_OFFSET_NOT_AVAILABLE
                                                            : ERR_LEADER_NOT_AVAILABLE;
}

static void answer(struct part *part, struct list_item *item)
{
    struct part_now now = part_now(part);
    switch (item->want->timestamp) {
    case TIMESTAMP_LATEST:
        if (item->unavailable != ERR_OK) {
            set_error(item, item->unavailable);
        } else {
            set_offset(item, -1, item->bound, now.leader_epoch);
        }
        break;
    case TIMESTAMP_EARLIEST:
    case TIMESTAMP_EARLIEST_LOCAL: {
        int64_t start = plog_log_start(part->log);
        set_offset(item, -1, start, part_epoch_of(part, start));
        break;
    }
    case TIMESTAMP_LATEST_TIERED:
        set_offset(item, -1, -1, -1);
        break;
    default:
        item->search = true;
        break;
    }
}

static void look(struct req *req, const struct list_offsets_request *request,
                 struct list_item *item)
{
    enum err err;
    if (!timestamp_supported(req->version, item->want->timestamp)) {
        set_error(item, ERR_UNSUPPORTED_VERSION);
        return;
    }
    struct locate_wanted wanted = {.topic = item->topic,
                                   .index = item->want->partition_index,
                                   .current_leader_epoch = item->want->current_leader_epoch,
                                   .leader_only = request->replica_id != REPLICA_DEBUG};
    struct part *part = locate_replica(req, &wanted, &err);
    if (part == NULL) {
        set_error(item, err);
        return;
    }
    /* In this order: a bound from before it became current may lie below what clients have seen. */
    item->unavailable = check_available(req, request, part);
    item->bound = list_bound(request, part);
    answer(part, item);
    item->log = item->search ? plog_hold(part->log) : NULL;
}

/* On a worker. */
static void search_item(struct list_item *item)
{
    int64_t timestamp;
    int64_t offset;
    int32_t epoch;
    enum err err =
        item->want->timestamp == TIMESTAMP_MAX
            ? plog_offset_of_max_timestamp(item->log, &timestamp, &offset, &epoch)
            : plog_offset_for_time(item->log, item->want->timestamp, &timestamp, &offset, &epoch);
    if (err != ERR_OK) {
        set_error(item, err);
    } else if (offset >= 0 && offset < item->bound) {
        set_offset(item, timestamp, offset, epoch);
    } else if (item->unavailable != ERR_OK) {
        set_error(item, item->unavailable);
    } else {
        set_offset(item, -1, -1, -1);
    }
}

static void on_search(struct work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    for (int32_t i = 0; i < op->count; i++) {
        if (op->items[i].search) {
            search_item(&op->items[i]);
        }
    }
}

static void on_searched(struct work *work)
{
    struct list_op *op = container_of(work, struct list_op, work);
    for (int32_t i = 0; i < op->count; i++) {
        if (op->items[i].log != NULL) {
            plog_release(op->items[i].log);
        }
    }
    req_reply(op->req, &op->reply);
}

static int by_topic_and_partition(const void *a, const void *b)
{
    const struct list_item *left = *(struct list_item *const *)a;
    const struct list_item *right = *(struct list_item *const *)b;
    int order = str_cmp(left->topic, right->topic);
    if (order != 0) {
        return order;
    }
    return left->want->partition_index < right->want->partition_index
               ? -1
               : left->want->partition_index > right->want->partition_index;
}

/* Mark the items whose partition another one names too, be it in another entry of the topic. A
 * client may name very many, so not by comparing each with each. */
static void mark_duplicates(struct list_op *op)
{
    struct list_item **sorted = req_array(op->req, struct list_item *, op->count);
    for (int32_t i = 0; i < op->count; i++) {
        sorted[i] = &op->items[i];
    }
    qsort(sorted, (size_t)op->count, sizeof(struct list_item *), by_topic_and_partition);
    for (int32_t i = 1; i < op->count; i++) {
        if (by_topic_and_partition(&sorted[i - 1], &sorted[i]) == 0) {
            sorted[i - 1]->duplicate = true;
            sorted[i]->duplicate = true;
        }
    }
}

static void take_topic(struct list_op *op,
                       const struct list_offsets_request_list_offsets_topic *topic,
                       struct list_offsets_response_list_offsets_topic_response *out)
{
    out->name = topic->name;
    out->partitions =
        req_array(op->req, struct list_offsets_response_list_offsets_partition_response,
                  topic->partitions_count);
    out->partitions_count = topic->partitions_count;
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        struct list_item *item = &op->items[op->count++];
        item->topic = topic->name;
        item->want = &topic->partitions[i];
        item->out = &out->partitions[i];
        item->out->partition_index = item->want->partition_index;
        item->has_epoch = op->req->version >= EPOCH_VERSION_MIN;
    }
}

static void start_item(struct req *req, struct list_item *item)
{
    if (req->version < LIST_VERSION_MIN) {
        /* A list of segments by file time: no client since 0.10 asks for it. */
        set_error(item, ERR_UNSUPPORTED_VERSION);
    } else if (item->duplicate) {
        set_error(item, ERR_INVALID_REQUEST);
    } else {
        look(req, req->body, item);
    }
}

static int64_t count_items(const struct list_offsets_request *request)
{
    int64_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        count += request->topics[i].partitions_count;
    }
    return count;
}

void api_list_offsets(struct req *req)
{
    const struct list_offsets_request *request = req->body;
    struct list_op *op = req_new(req, struct list_op);
    op->req = req;
    op->items = req_array(req, struct list_item, count_items(request));
    codec_init(&list_offsets_response_desc, &op->reply);
    op->reply.topics = req_array(req, struct list_offsets_response_list_offsets_topic_response,
                                 request->topics_count);
    op->reply.topics_count = request->topics_count;
    for (int32_t i = 0; i < request->topics_count; i++) {
        take_topic(op, &request->topics[i], &op->reply.topics[i]);
    }
    mark_duplicates(op);
    bool search = false;
    for (int32_t i = 0; i < op->count; i++) {
        start_item(req, &op->items[i]);
        search = search || op->items[i].search;
    }
    if (!search) {
        req_reply(req, &op->reply);
        return;
    }
    op->work = (struct work){.run = on_search, .done = on_searched, .loop = req->netloop->loop};
    worker_submit(req->broker->workers, &op->work);
}
