#include "api/fetch_read.h"

#include <string.h>

#include "api/broker.h"
#include "api/limits.h"
#include "api/locate.h"

/* Besides the records: a partition's numbers, and its topic's name where the neighbour has
 * another. */
enum { PARTITION_ANSWER_BYTES = 400 };

_Static_assert((int64_t)FETCH_REPLY_MAX_BYTES +
                       (int64_t)FETCH_PARTITIONS_MAX * PARTITION_ANSWER_BYTES <
                   INT32_MAX,
               "an answer's size is an int32");

int64_t fetch_bytes_max(int32_t wanted, int32_t configured)
{
    int64_t allowed = configured < FETCH_REPLY_MAX_BYTES ? configured : FETCH_REPLY_MAX_BYTES;
    return wanted < allowed ? wanted : allowed;
}

static enum err find_partition(struct req *req, const struct fetch_limits *limits,
                               const struct fetch_want *want, struct part **out)
{
    struct str topic = want->topic;
    if (topic.ptr == NULL || topic.size == 0) {
        topic = locate_topic_name(req, want->topic_id);
        if (topic.ptr == NULL) {
            return ERR_UNKNOWN_TOPIC_ID;
        }
    }
    enum err err;
    struct locate_wanted wanted = {.topic = topic,
                                   .index = want->partition,
                                   .current_leader_epoch = want->current_leader_epoch,
                                   .leader_only = limits->leader_only};
    struct part *part = locate_replica(req, &wanted, &err);
    if (part == NULL) {
        return err;
    }
    if (!limits->zstd_allowed && part_codec(part) == COMPRESS_ZSTD) {
        return ERR_UNSUPPORTED_COMPRESSION_TYPE;
    }
    if (!uuid_is_zero(want->topic_id) && !uuid_eq(want->topic_id, part->topic_id)) {
        return ERR_INCONSISTENT_TOPIC_ID;
    }
    *out = part;
    return ERR_OK;
}

/* Up to where this reader may read. */
static int64_t read_bound(const struct fetch_limits *limits, const struct fetch_read *read,
                          int64_t offset_end)
{
    if (limits->replica_id >= 0) {
        return offset_end;
    }
    return limits->read_committed ? read->offset_stable : read->offset_hw;
}

/* May the log really be longer than this one? "Out of range" would send the consumer back to its
 * reset policy (Kafka does that); an error that sends it to the leader, who knows, does no harm. A
 * follower may only be behind; and a leader that ZooKeeper does not hear may have been deposed. */
static bool may_be_behind(const struct req *req, struct part *part)
{
    return part_now(part).role == PART_FOLLOWER || atomic_load(&req->netloop->broker->cut_off);
}

/* Does the client's log end in an epoch that ours knows to have ended earlier? A replica that
 * follows us is told so in any case: it has to cut its log before it can go on. */
static enum err check_divergence(const struct req *req, const struct fetch_limits *limits,
                                 const struct fetch_want *want, struct fetch_read *out)
{
    struct part *part = out->part;
    if (want->last_fetched_epoch < 0) {
        return ERR_OK;
    }
    int32_t epoch;
    int64_t end;
    part_epoch_end(part, want->last_fetched_epoch, &epoch, &end);
    bool beyond = end < 0 || want->fetch_offset > plog_offset_end(part->log);
    if (beyond && limits->replica_id < 0 && may_be_behind(req, part)) {
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (end < 0 || want->fetch_offset < plog_log_start(part->log)) {
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    if (epoch < want->last_fetched_epoch || end < want->fetch_offset) {
        out->diverging = true;
        out->diverging_epoch = epoch;
        out->diverging_end = end;
    }
    return ERR_OK;
}

/* It has been looked for: keep the view, or not. */
static enum err take_range(struct fetch_read *out, enum err err)
{
    out->bytes = (int64_t)out->range.size_bytes;
    if (err == ERR_IO) {
        plog_unreadable(out->part->log, out->view, err);
    }
    if (err != ERR_OK || out->range.size_bytes == 0) {
        fetch_read_release(out);
    }
    return err;
}

static void mark_error(struct fetch_read *out)
{
    out->offset_hw = -1;
    out->offset_stable = -1;
    out->log_start = -1;
}

void fetch_read_cold(struct fetch_read *read)
{
    read->cold_err = view_read(read->view, read->item->want.fetch_offset, read->bound,
                               read->max_bytes, read->min_one, &read->range);
}

void fetch_read_settle(struct fetch_read *read)
{
    read->cold = false;
    read->err = take_range(read, read->cold_err);
    if (read->err != ERR_OK) {
        mark_error(read);
    }
}

/* Look for what is to be sent. Of a few small batches at the end of a log, as one who waits there
 * gets them, finding is reading: they are kept, which saves looking whether the file is in memory
 * and reading it once more. Not of very many: they stay until the client has taken the reply. */
static enum err find_range(struct req *req, struct fetch_read *out)
{
    struct view_copy copy;
    bool room = arena_size(&req->arena) < FETCH_COPY_ARENA_BYTES;
    enum err err = view_read_cached(out->view, out->item->want.fetch_offset, out->bound,
                                    out->max_bytes, out->min_one, &out->range, room ? &copy : NULL);
    if (err == ERR_OK && room && copy.size > 0) {
        uint8_t *bytes = req_array(req, uint8_t, copy.size);
        memcpy(bytes, copy.bytes, copy.size);
        out->copy = bytes;
    }
    return err;
}

static enum err read_records(struct req *req, const struct fetch_limits *limits, int64_t room,
                             bool first, struct fetch_read *out)
{
    const struct fetch_want *want = &out->item->want;
    struct part *part = out->part;
    /* The bound first, then the view: the view is then at least as new (part.h, order of
     * publication). */
    int64_t offset_end = plog_offset_end(part->log);
    int64_t bound = read_bound(limits, out, offset_end);
    out->offset_end = offset_end;
    struct view *view = plog_view_get(part->log);
    out->log_start = plog_log_start(part->log);
    if (want->fetch_offset > offset_end && may_be_behind(req, part)) {
        view_put(view);
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (want->fetch_offset < out->log_start || want->fetch_offset > offset_end) {
        view_put(view);
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    int64_t max = want->max_bytes < room ? want->max_bytes : room;
    if (want->fetch_offset >= bound || (max <= 0 && !first)) {
        view_put(view);
        return ERR_OK;
    }
    out->view = view;
    out->bound = bound;
    out->max_bytes = max > 0 ? (size_t)max : 0;
    out->min_one = first;
    enum err err = find_range(req, out);
    out->cold = err == ERR_AGAIN;
    if (out->cold) {
        out->bytes = max > 0 ? max : 1;
        return ERR_OK;
    }
    return take_range(out, err);
}

static enum err read_partition(struct req *req, const struct fetch_limits *limits, int64_t room,
                               bool first, struct fetch_read *out)
{
    const struct fetch_want *want = &out->item->want;
    enum err err = find_partition(req, limits, want, &out->part);
    if (err != ERR_OK) {
        return err;
    }
    part_get(out->part);   /* the next one that is looked for may be in a newer table */
    if (limits->tracked) { /* before looking: nothing is missed */
        wait_mark_arm(&out->item->mark, &out->part->wait, req->netloop->loop);
    }
    struct part_now now = part_now(out->part);
    out->leader_epoch = now.leader_epoch;
    out->item->noted.role = (int32_t)now.role;
    out->item->noted.leader_epoch = now.leader_epoch;
    out->item->noted.bytes = 0;
    err = part_check_epoch(now, want->current_leader_epoch);
    if (err != ERR_OK) {
        return err;
    }
    out->offset_stable = part_offset_stable(out->part);
    out->offset_hw = atomic_load_explicit(&out->part->offset_hw, memory_order_acquire);
    out->log_start = plog_log_start(out->part->log);
    err = check_divergence(req, limits, want, out);
    if (err != ERR_OK || out->diverging) {
        return err;
    }
    return read_records(req, limits, room, first, out);
}

struct part *fetch_read_find(struct req *req, const struct fetch_limits *limits,
                             const struct fetch_want *want)
{
    struct part *part;
    return find_partition(req, limits, want, &part) == ERR_OK ? part : NULL;
}

void fetch_read_partition(struct req *req, const struct fetch_limits *limits,
                          struct fetch_item *item, int64_t room, bool first, struct fetch_read *out)
{
    *out = (struct fetch_read){
        .item = item, .diverging_epoch = -1, .diverging_end = -1, .preferred = -1};
    out->err = read_partition(req, limits, room, first, out);
    if (out->err != ERR_OK) {
        mark_error(out);
    }
}

void fetch_read_release(struct fetch_read *read)
{
    if (read->view != NULL) {
        view_put(read->view);
        read->view = NULL;
    }
    read->cold = false; /* what was said of it stays said */
}

void fetch_read_end(struct fetch_read *read)
{
    fetch_read_release(read);
    if (read->part != NULL) {
        part_put(read->part);
        read->part = NULL;
    }
}
