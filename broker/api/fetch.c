/* Fetch: records out of partitions, by long poll.
 *
 *   request -> session (which partitions) -> read every partition's view: errors, offsets, a file
 * range
 *   -> enough, or an error, or no time to wait: reply; else wait on all partitions (wait.h), read
 * again.
 *
 * Nothing is copied but what is small: the reply refers to ranges of segment files, which the views
 * that are held until they have left keep in place. A range that is not in memory is read once by a
 * reader first (fetch_warm.h), so that sending it does not stop the loop.
 *
 * A follower's fetch also says what the follower has: after reading, and before the reply or the
 * wait, each partition's leader is told (fetch_follow_*). Where consumers read from followers, it
 * does not wait once the high watermark is another than it was told: what its consumers may read
 * would be late by up to replica.fetch.wait.max.ms. A consumer may be sent to a follower that is
 * nearer to it (fetch_nearest.h).
 *
 * Of a follower's session only the partitions that may have news are looked at (fetch_session.h):
 * with thousands of them, the work of a fetch is that of what it brings.
 *
 * Source: Kafka 3.9 in ZooKeeper mode. Versions 0 to 3 promise magic 0 and 1, to which this
 * broker does not convert: they are offered because clients probe for them, and answered with
 * UNSUPPORTED_FOR_MESSAGE_FORMAT. */
#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/client.h"
#include "api/fetch_nearest.h"
#include "api/fetch_read.h"
#include "api/fetch_warm.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "api/locate.h"
#include "base/must.h"
#include "config/config.h"
#include "wait/wait.h"

enum {
    FETCH_VERSION_MIN = 4,
    STORAGE_ERROR_VERSION_MIN = 6,
    ZSTD_VERSION_MIN = 10,
    FOLLOWER_READ_VERSION_MIN = 11,
    HINT_VERSION_MIN = 16,
    IDS_VERSION_MIN = 13,
    REPLICA_STATE_VERSION_MIN = 15,
};

_Static_assert((int)FETCH_PARTITIONS_MAX == (int)FETCH_SESSION_PARTITIONS_MAX,
               "of a request or a session");
_Static_assert((int)FETCH_SESSION_NAME_MAX == (int)TOPIC_NAME_MAX_BYTES, "none has a longer one");

struct fetch_op;

/* A wait on one partition. */
struct fetch_wait {
    struct wait wait;
    struct fetch_op *op;
    struct part *part; /* referenced by the wait's source */
    struct fetch_item *item;
};

/* What a follower's fetch tells one partition. */
struct fetch_follow {
    struct part_follow follow;
    struct fetch_op *op;
    int32_t at; /* in op->reads */
};

struct fetch_op {
    struct req *req;
    struct fetch_context context;
    struct fetch_limits limits;
    struct fetch_item *
        *items; /* in the order to serve; the session's own order changes meanwhile */
    struct fetch_read *reads;
    int32_t count;
    bool must_answer; /* an error or other news that does not wait */
    int64_t bytes;    /* read so far */
    struct wait_op wait;
    struct fetch_wait *waits;
    struct fetch_warm warm;
    struct fetch_nearest nearest;
    bool live;         /* a follower that is who it says it is */
    bool tell_hw;      /* ... that is to hear of every high watermark at once */
    int32_t following; /* partitions not yet told, plus one while they are being told */
};

/* ---- the reply ---- */

static void op_end_reads(struct fetch_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        fetch_read_end(&op->reads[i]);
    }
}

static void release_view(void *arg)
{
    view_put(arg);
}

/* What goes to throttled replicas counts, in sync or not. */
static void note_throttled(struct fetch_op *op)
{
    struct netloop *netloop = op->req->netloop;
    int64_t bytes = 0;
    for (int32_t i = 0; i < op->count && op->live; i++) {
        const struct fetch_read *read = &op->reads[i];
        if (read->view != NULL && part_throttled_leader(read->part)) {
            bytes += (int64_t)read->range.size_bytes;
        }
    }
    if (bytes > 0) {
        throttle_note(&netloop->broker->throttles.leader, loop_now_ms(netloop->loop), bytes);
    }
}

static enum err reply_error(const struct req *req, enum err err)
{
    if (err_wire(err) == err_wire(ERR_KAFKA_STORAGE_ERROR) &&
        req->version < STORAGE_ERROR_VERSION_MIN) {
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    return err;
}

static void fill_partition(struct fetch_op *op, struct fetch_read *read, struct locate_hints *hints,
                           struct fetch_response_partition_data *out)
{
    struct req *req = op->req;
    *out = (struct fetch_response_partition_data){
        .partition_index = read->item->want.partition,
        .error_code = err_wire(reply_error(req, read->err)),
        .high_watermark = read->offset_hw,
        .last_stable_offset = read->offset_stable,
        .log_start_offset = read->log_start,
        .diverging_epoch = {.epoch = read->diverging_epoch, .end_offset = read->diverging_end},
        .current_leader = {.leader_id = -1, .leader_epoch = -1},
        .snapshot_id = {.end_offset = -1, .epoch = -1},
        .aborted_transactions_count = op->limits.read_committed && read->err == ERR_OK ? 0 : -1,
        .preferred_read_replica = read->preferred,
        /* Never null: an empty set of records where there is nothing to send. */
        .records = {read->copy != NULL ? read->copy : (const uint8_t *)"",
                    read->view != NULL ? read->range.size_bytes : 0},
    };
    bool stale = read->err == ERR_NOT_LEADER_OR_FOLLOWER || read->err == ERR_FENCED_LEADER_EPOCH;
    if (stale && req->version >= HINT_VERSION_MIN) {
        struct str topic = read->item->want.topic.size > 0
                               ? read->item->want.topic
                               : locate_topic_name(req, read->item->want.topic_id);
        locate_current_leader(req, topic, read->item->want.partition, hints,
                              &out->current_leader.leader_id, &out->current_leader.leader_epoch);
    }
}

static bool same_topic(const struct fetch_want *a, const struct fetch_want *b)
{
    return uuid_eq(a->topic_id, b->topic_id) && str_eq(a->topic, b->topic);
}

static void fill_endpoints(struct req *req, const struct locate_hints *hints,
                           struct fetch_response *reply)
{
    reply->node_endpoints = req_array(req, struct fetch_response_node_endpoint, hints->count);
    for (int32_t i = 0; i < hints->count; i++) {
        struct locate_node node;
        if (locate_node(req, hints->broker_ids[i], &node)) {
            reply->node_endpoints[reply->node_endpoints_count++] =
                (struct fetch_response_node_endpoint){hints->broker_ids[i], node.host, node.port,
                                                      node.rack};
        }
    }
}

/* It has been looked at: is there more to say about it than has been said? If not, it will tell. */
static void settle_read(const struct fetch_op *op, const struct fetch_read *read)
{
    struct fetch_item *item = read->item;
    bool at_end =
        read->err == ERR_OK && !read->diverging && item->want.fetch_offset >= read->offset_end;
    bool told = item->sent_hw == read->offset_hw && item->sent_log_start == read->log_start;
    if (!op->limits.tracked) {
        return;
    }
    if (at_end && told && item->mark.source != NULL) {
        fetch_item_clean(item);
    } else {
        fetch_item_dirty(item);
    }
}

/* Neighbours of one topic share an entry, as Kafka groups them. */
static void fill_responses(struct fetch_op *op, struct fetch_response *reply,
                           struct req_file *files, int32_t *files_count)
{
    struct req *req = op->req;
    struct fetch_response_partition_data *parts =
        req_array(req, struct fetch_response_partition_data, op->count);
    reply->responses = req_array(req, struct fetch_response_fetchable_topic_response, op->count);
    struct fetch_response_fetchable_topic_response *topic = NULL;
    const struct fetch_want *before = NULL;
    struct locate_hints hints = {0};
    int32_t used = 0;
    for (int32_t i = 0; i < op->count; i++) {
        struct fetch_read *read = &op->reads[i];
        bool include = fetch_context_include(
            &op->context, read->item, read->err != ERR_OK, read->view != NULL,
            read->diverging || read->preferred >= 0, read->offset_hw, read->log_start);
        settle_read(op, read);
        if (!include) {
            continue;
        }
        const struct fetch_want *want = &read->item->want;
        if (before == NULL || !same_topic(before, want)) {
            topic = &reply->responses[reply->responses_count++];
            topic->topic = want->topic.ptr != NULL ? want->topic : STR("");
            topic->topic_id = want->topic_id;
            topic->partitions = &parts[used];
        }
        before = want;
        fill_partition(op, read, &hints, &parts[used++]);
        topic->partitions_count++;
        if (read->view != NULL) {
            files[(*files_count)++] = (struct req_file){
                .file = read->copy == NULL ? read->range.file : NULL,
                .position = read->range.position,
                .size = read->range.size_bytes,
                .release = release_view,
                .arg = read->view,
            };
            read->view = NULL; /* the reply's now */
        }
    }
    fill_endpoints(req, &hints, reply);
}

/* Producers wait for a follower that is in sync. One that catches up is a reader as any other. */
static bool is_waited_for(const struct fetch_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        if (op->reads[i].item->noted.out_of_sync) {
            return false;
        }
    }
    return true;
}

static void fetch_reply(struct fetch_op *op)
{
    struct req *req = op->req;
    struct fetch_context context = op->context; /* with the reply the request may go */
    struct fetch_response reply;
    codec_init(&fetch_response_desc, &reply);
    struct req_file *files = req_array(req, struct req_file, op->count);
    int32_t files_count = 0;
    note_throttled(op);
    fill_responses(op, &reply, files, &files_count);
    op_end_reads(op);
    reply.session_id = context.session_id;
    req->on_cancel = NULL;
    if (op->live && req->client->conn != NULL) {
        conn_long_turns(req->client->conn, is_waited_for(op));
    }
    req_reply_spliced(req, &reply, files, files_count);
    /* Now, for the reply's names are the session's: it goes here if somebody ended it meanwhile. */
    fetch_context_end(&context);
}

static void on_warm(struct fetch_warm *warm)
{
    fetch_reply(container_of(warm, struct fetch_op, warm));
}

/* Everything to send has been found, or is left to be found by a reader; see that it is in memory
 * before the loop sends it. */
static void fetch_finish(struct fetch_op *op)
{
    op->req->on_cancel = NULL;
    if (!fetch_warm_start(&op->warm, op->req, op->reads, op->count, on_warm)) {
        fetch_reply(op);
    }
}

/* ---- reading ---- */

/* What there is to look at. */
static void take_items(struct fetch_op *op, bool all)
{
    op->count = fetch_context_dirty(&op->context, all, NULL);
    op->items = req_array(op->req, struct fetch_item *, op->count);
    op->reads = req_array(op->req, struct fetch_read, op->count);
    (void)fetch_context_dirty(&op->context, all, op->items);
}

/* Is this to be kept from a follower that is not in the ISR? Those that are must stay in. */
static bool held_back(const struct fetch_op *op, struct part *part, bool out_of_sync)
{
    struct netloop *netloop = op->req->netloop;
    return out_of_sync && part_throttled_leader(part) &&
           throttle_exceeded(&netloop->broker->throttles.leader, loop_now_ms(netloop->loop));
}

static void hold_back(struct fetch_op *op, int32_t i)
{
    struct fetch_read *read = &op->reads[i];
    if (read->view != NULL && held_back(op, read->part, read->item->noted.out_of_sync)) {
        op->bytes -= read->bytes;
        fetch_read_release(read);
    }
}

/* What is known to be held back takes no room from others, which may be in sync. */
static void fetch_read_all(struct fetch_op *op)
{
    op->bytes = 0;
    op->must_answer = false;
    for (int32_t i = 0; i < op->count; i++) {
        struct fetch_read *read = &op->reads[i];
        fetch_read_partition(op->req, &op->limits, op->items[i], op->limits.max_bytes - op->bytes,
                             op->bytes == 0, read);
        if (read->view != NULL) {
            op->bytes += read->bytes;
            if (op->live) {
                hold_back(op, i);
            }
        }
        op->must_answer = op->must_answer || read->err != ERR_OK || read->diverging;
    }
}

/* ---- waiting ---- */

/* Bytes that this partition could give now. A consumer that asks for one byte needs no measuring.
 */
static int64_t measure(const struct fetch_op *op, struct part *part, const struct fetch_item *item)
{
    const struct fetch_limits *limits = &op->limits;
    int64_t bound = limits->replica_id >= 0  ? plog_offset_end(part->log)
                    : limits->read_committed ? part_offset_stable(part)
                                             : atomic_load(&part->offset_hw);
    int64_t from = item->want.fetch_offset;
    if (bound <= from || held_back(op, part, item->noted.out_of_sync)) {
        return 0;
    }
    if (limits->min_bytes <= 1) {
        return 1;
    }
    struct view *view = plog_view_get(part->log);
    struct view_range range;
    enum err err =
        view_read_cached(view, from, bound, (size_t)limits->min_bytes, true, &range, NULL);
    view_put(view);
    /* A failure is news: the read that follows reports it. What is not in memory is no fresh data
     * and most likely much. And a segment that others follow gets no more: to wait would bring
     * nothing. */
    bool all = err == ERR_OK && !range.ends_segment;
    return all ? (int64_t)range.size_bytes : limits->min_bytes;
}

/* Has the follower not been told of this high watermark? Only a session remembers. */
static bool hw_is_news(const struct fetch_op *op, const struct fetch_item *item, int64_t offset_hw)
{
    return op->tell_hw && op->context.session != NULL && offset_hw != item->sent_hw;
}

/* Is it time to answer? By what this partition has come to since we last looked. */
static bool item_completes(struct fetch_op *op, struct part *part, struct fetch_item *item)
{
    struct part_now now = part_now(part);
    if ((int32_t)now.role != item->noted.role || now.leader_epoch != item->noted.leader_epoch ||
        hw_is_news(op, item, atomic_load(&part->offset_hw))) {
        return true;
    }
    int64_t bytes = measure(op, part, item);
    op->bytes += bytes - item->noted.bytes;
    item->noted.bytes = bytes;
    return op->bytes >= op->limits.min_bytes;
}

static enum wait_result fetch_poll(struct wait *wait)
{
    struct fetch_wait *fetch = container_of(wait, struct fetch_wait, wait);
    return item_completes(fetch->op, fetch->part, fetch->item) ? WAIT_COMPLETE : WAIT_PENDING;
}

static void fetch_waited(struct wait_op *wait_op, bool timed_out)
{
    (void)timed_out;
    struct fetch_op *op = container_of(wait_op, struct fetch_op, wait);
    if (op->limits.tracked) {
        fetch_context_wait(&op->context, NULL, NULL);
        take_items(op, false);
    }
    fetch_read_all(op);
    fetch_finish(op);
}

static void fetch_cancel(struct req *req)
{
    struct fetch_op *op = req->state;
    wait_op_cancel(&op->wait);
    fetch_context_end(&op->context);
}

/* Has a partition that tells us (again, from here on) already come to something? */
static bool tracked_completes(struct fetch_op *op, struct part *part, struct fetch_item *item)
{
    if (part == NULL) {
        return true; /* gone */
    }
    wait_mark_arm(&item->mark, &part->wait, op->req->netloop->loop); /* before looking */
    return item_completes(op, part, item);
}

static void on_woken(void *arg, struct fetch_item *item, struct wait_source *source)
{
    struct fetch_op *op = arg;
    if (tracked_completes(op, container_of(source, struct part, wait), item)) {
        wait_op_complete(&op->wait);
    }
}

/* Wait for all partitions of a session: those with nothing to say for now have their marks. The
 * others are those that were told something while we looked. */
static void fetch_wait_tracked(struct fetch_op *op, int64_t deadline_ms)
{
    bool complete = false;
    for (int32_t i = 0; i < op->count; i++) {
        settle_read(op, &op->reads[i]);
    }
    take_items(op, false);
    for (int32_t i = 0; i < op->count; i++) {
        struct part *part = fetch_read_find(op->req, &op->limits, &op->items[i]->want);
        complete = tracked_completes(op, part, op->items[i]) || complete;
    }
    op->count = 0; /* nothing has been read of these */
    if (complete) {
        wait_op_complete(&op->wait);
    } else {
        fetch_context_wait(&op->context, on_woken, op);
        wait_op_hold(&op->wait, deadline_ms);
    }
}

static void fetch_wait_start(struct fetch_op *op, int64_t deadline_ms)
{
    struct req *req = op->req;
    op->bytes = 0;
    wait_op_init(&op->wait, req->netloop->loop, fetch_waited);
    req->state = op;
    req->on_cancel = fetch_cancel;
    if (op->limits.tracked) {
        op_end_reads(op);
        fetch_wait_tracked(op, deadline_ms);
        return;
    }
    op->waits = req_array(req, struct fetch_wait, op->count);
    for (int32_t i = 0; i < op->count; i++) {
        struct fetch_wait *fetch = &op->waits[i];
        fetch->op = op;
        fetch->part = op->reads[i].part;
        fetch->item = op->items[i];
        wait_add(&op->wait, &fetch->wait, &fetch->part->wait, WAIT_ANY, fetch_poll);
    }
    op_end_reads(op);
    wait_op_start(&op->wait, deadline_ms);
}

/* ---- the request ---- */

static void want_fill(const struct fetch_request_fetch_topic *topic,
                      const struct fetch_request_fetch_partition *partition, struct fetch_want *out)
{
    *out = (struct fetch_want){
        .topic = topic->topic,
        .topic_id = topic->topic_id,
        .partition = partition->partition,
        .current_leader_epoch = partition->current_leader_epoch,
        .last_fetched_epoch = partition->last_fetched_epoch,
        .max_bytes = partition->partition_max_bytes,
        .fetch_offset = partition->fetch_offset,
        .log_start_offset = partition->log_start_offset,
        .flushed_offset = partition->flushed_offset,
    };
}

static struct fetch_want *collect_wants(struct req *req, int32_t *count)
{
    const struct fetch_request *request = req->body;
    int64_t total = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        total += request->topics[i].partitions_count;
    }
    *count = (int32_t)total; /* bounded by the frame's size */
    struct fetch_want *wants = req_array(req, struct fetch_want, total);
    int32_t at = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        for (int32_t j = 0; j < request->topics[i].partitions_count; j++) {
            want_fill(&request->topics[i], &request->topics[i].partitions[j], &wants[at++]);
        }
    }
    return wants;
}

static struct fetch_want *collect_forgotten(struct req *req, int32_t *count)
{
    const struct fetch_request *request = req->body;
    int64_t total = 0;
    for (int32_t i = 0; i < request->forgotten_topics_data_count; i++) {
        total += request->forgotten_topics_data[i].partitions_count;
    }
    *count = (int32_t)total;
    struct fetch_want *wants = req_array(req, struct fetch_want, total);
    int32_t at = 0;
    for (int32_t i = 0; i < request->forgotten_topics_data_count; i++) {
        const struct fetch_request_forgotten_topic *topic = &request->forgotten_topics_data[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            wants[at++] = (struct fetch_want){.topic = topic->topic,
                                              .topic_id = topic->topic_id,
                                              .partition = topic->partitions[j]};
        }
    }
    return wants;
}

static void limits_fill(struct req *req, struct fetch_limits *limits)
{
    const struct fetch_request *request = req->body;
    const struct config *config = config_reader_now(&req->netloop->config);
    limits->max_bytes =
        fetch_bytes_max(request->max_bytes, config_int(config, KEY_fetch_max_bytes));
    limits->min_bytes =
        request->min_bytes < limits->max_bytes ? request->min_bytes : limits->max_bytes;
    limits->replica_id = req->version >= REPLICA_STATE_VERSION_MIN
                             ? request->replica_state.replica_id
                             : request->replica_id;
    limits->read_committed = request->isolation_level == 1;
    limits->leader_only = req->version < FOLLOWER_READ_VERSION_MIN || limits->replica_id >= 0;
    limits->zstd_allowed = req->version >= ZSTD_VERSION_MIN;
}

/* An error for the whole request: an empty reply. */
static void fetch_refuse(struct req *req, enum err err)
{
    struct fetch_response reply;
    codec_init(&fetch_response_desc, &reply);
    reply.error_code = err_wire(err);
    req_reply(req, &reply);
}

static enum err context_begin(struct fetch_op *op)
{
    struct req *req = op->req;
    const struct fetch_request *request = req->body;
    struct fetch_session_request session = {
        .session_id = request->session_id,
        .session_epoch = request->session_epoch,
        .uses_ids = req->version >= IDS_VERSION_MIN,
        .follower = op->live,
        .owner = req->client,
    };
    session.wants = collect_wants(req, &session.wants_count);
    session.forgotten = collect_forgotten(req, &session.forgotten_count);
    if (session.wants_count > FETCH_PARTITIONS_MAX) {
        return ERR_INVALID_REQUEST;
    }
    struct fetch_item *items = req_array(req, struct fetch_item, session.wants_count);
    return fetch_context_begin(req->netloop->fetch_sessions, &session, items,
                               loop_now_ms(req->netloop->loop), &op->context);
}

/* A version that promises old message formats: every partition gets the error. */
static void mark_unsupported(struct fetch_op *op)
{
    for (int32_t i = 0; i < op->count; i++) {
        op->reads[i] = (struct fetch_read){.item = op->items[i],
                                           .err = ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
                                           .offset_hw = -1,
                                           .offset_stable = -1,
                                           .log_start = -1,
                                           .diverging_epoch = -1,
                                           .diverging_end = -1,
                                           .preferred = -1};
    }
}

/* ---- a follower ---- */

/* For how long: a client may say, for weeks, and others wait for the memory of what it has asked.
 */
static int32_t patience_ms(const struct req *req)
{
    const struct fetch_request *request = req->body;
    bool counted = req->charged_bytes > 0 && request->max_wait_ms > FETCH_COUNTED_WAIT_MS;
    return counted ? FETCH_COUNTED_WAIT_MS : request->max_wait_ms;
}

/* All that could be read was: reply, or wait for more. */
static void fetch_decide(struct fetch_op *op)
{
    struct req *req = op->req;
    const struct fetch_request *request = req->body;
    bool enough = op->bytes >= op->limits.min_bytes;
    if (enough || op->must_answer || op->context.items_count == 0 || request->max_wait_ms <= 0) {
        fetch_finish(op);
    } else {
        fetch_wait_start(op, req_wait_until(req, patience_ms(req)));
    }
}

static void follow_settle(struct fetch_op *op)
{
    must(op->following > 0);
    if (--op->following == 0) {
        fetch_decide(op);
    }
}

static void on_followed(struct part_call *call)
{
    struct fetch_follow *item = container_of(call, struct fetch_follow, follow.call);
    struct fetch_read *read = &item->op->reads[item->at];
    read->item->noted.out_of_sync = !item->follow.member;
    if (item->follow.err == ERR_NOT_LEADER_OR_FOLLOWER) {
        /* No replica of this partition, or the leadership has just changed. */
        bool epoch_given = read->item->want.current_leader_epoch >= 0;
        fetch_read_release(read);
        read->err = epoch_given ? ERR_UNKNOWN_LEADER_EPOCH : ERR_NOT_LEADER_OR_FOLLOWER;
        item->op->must_answer = true;
    } else {
        read->offset_hw = atomic_load_explicit(&call->part->offset_hw, memory_order_acquire);
        item->op->must_answer |= hw_is_news(item->op, read->item, read->offset_hw);
        hold_back(item->op, item->at);
    }
    follow_settle(item->op);
}

/* Is it the broker that it says it is, in its present life? Anybody else may read, as far as
 * authorisation goes, but moves nothing. */
static bool is_live_follower(struct req *req, const struct fetch_limits *limits)
{
    const struct fetch_request *request = req->body;
    if (limits->replica_id < 0 || req->version < REPLICA_STATE_VERSION_MIN ||
        !req->client->listener->internal) {
        return false;
    }
    const struct meta_broker *broker =
        meta_find_broker(meta_reader_now(&req->netloop->meta), limits->replica_id);
    return broker != NULL && broker->epoch >= 0 &&
           broker->epoch == request->replica_state.replica_epoch;
}

static void fetch_follow_all(struct fetch_op *op)
{
    struct req *req = op->req;
    const struct fetch_request *request = req->body;
    struct fetch_follow *follows = req_array(req, struct fetch_follow, op->count);
    op->tell_hw = fetch_nearest_enabled(req);
    op->following = 1;
    for (int32_t i = 0; i < op->count; i++) {
        struct fetch_read *read = &op->reads[i];
        if (read->err != ERR_OK || read->diverging) {
            continue;
        }
        follows[i] = (struct fetch_follow){.op = op, .at = i};
        struct part_follow *follow = &follows[i].follow;
        follow->call.loop = req->netloop->loop;
        follow->call.done = on_followed;
        follow->leader_epoch = read->leader_epoch;
        follow->fetch = (struct isr_fetch){
            .replica_id = op->limits.replica_id,
            .broker_epoch = request->replica_state.replica_epoch,
            .fetch_offset = read->item->want.fetch_offset,
            .flushed_end = read->item->want.flushed_offset,
            .log_start = read->item->want.log_start_offset,
            .leader_end = read->offset_end,
        };
        op->following++;
        part_follow(read->part, follow);
    }
    follow_settle(op);
}

static void on_nearest(struct fetch_nearest *nearest)
{
    struct fetch_op *op = container_of(nearest, struct fetch_op, nearest);
    op->must_answer = op->must_answer || nearest->found;
    fetch_decide(op);
}

void api_fetch(struct req *req)
{
    struct fetch_op *op = req_new(req, struct fetch_op);
    op->req = req;
    limits_fill(req, &op->limits);
    op->live = is_live_follower(req, &op->limits);
    enum err err = context_begin(op);
    if (err != ERR_OK) {
        fetch_refuse(req, err);
        return;
    }
    req->client->stays = req->client->stays || op->live;
    op->limits.tracked = op->live && op->context.session != NULL;
    take_items(op, !op->limits.tracked ||
                       fetch_context_look(&op->context, loop_now_ms(req->netloop->loop)));
    if (req->version < FETCH_VERSION_MIN) {
        mark_unsupported(op);
        fetch_reply(op);
        return;
    }
    fetch_read_all(op);
    if (op->live) {
        fetch_follow_all(op);
    } else if (op->limits.replica_id >= 0 ||
               !fetch_nearest_start(&op->nearest, req, op->reads, op->count, on_nearest)) {
        fetch_decide(op);
    }
}
