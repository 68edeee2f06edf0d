/* fetcher_response.c: what a fetcher makes of its leader's answers: one step in the actor of each
 * partition that has news. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "replica/fetcher_internal.h"

#define LOGGER "kafka.server.ReplicaFetcherThread"

void follow_back_off(struct fetcher *fetcher, struct follow *follow)
{
    int32_t max = fetcher->options.backoff_max_ms;
    follow->retry_ms = loop_now_ms(fetcher->options.loop) + follow->backoff_ms;
    follow->backoff_ms = follow->backoff_ms * 2 < max ? follow->backoff_ms * 2 : max;
}

/* What any change of leadership brings, until the leader has heard of it too. */
static bool is_passing(enum err err)
{
    return err == ERR_FENCED_LEADER_EPOCH || err == ERR_UNKNOWN_LEADER_EPOCH ||
           err == ERR_NOT_LEADER_OR_FOLLOWER || err == ERR_UNKNOWN_TOPIC_ID ||
           err == ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

static void complain(const struct fetcher *fetcher, const struct follow *follow, enum err err)
{
    static struct log_limit limit;
    if (is_passing(err) && follow->backoff_ms < fetcher->options.backoff_max_ms) {
        return;
    }
    log_limited(&limit, LOG_WARN, LOGGER, "a partition cannot follow for now",
                "tp=%s-%d leader=%d epoch=%d offset=%lld error=\"%s\"", follow->part->topic.ptr,
                follow->key.index, fetcher->options.leader_id, follow->place.leader_epoch,
                (long long)follow->place.offset, err_text(err));
}

/* ---- steps ---- */

static void step_settle(struct fetcher *fetcher, struct follow *follow,
                        const struct part_replicate *replicate)
{
    follow_touch(fetcher, follow);
    follow->place.offset = replicate->offset_end;
    follow->place.last_epoch = replicate->last_epoch;
    follow->place.log_start = replicate->log_start;
    follow->place.flushed = replicate->flushed_end;
    follow->want = FOLLOW_FETCH;
    if (replicate->err == ERR_OK) {
        follow->backoff_ms = FETCHER_BACKOFF_MIN_MS;
        follow->leader_hw = replicate->leader_hw;
        follow->leader_log_start = replicate->leader_log_start;
        return;
    }
    if (replicate->err == ERR_KAFKA_STORAGE_ERROR) {
        follow->want = FOLLOW_FAILED;
    }
    follow_back_off(fetcher, follow);
    complain(fetcher, follow, replicate->err);
}

static void on_step(struct part_call *call)
{
    struct fetcher_step *step = container_of(call, struct fetcher_step, replicate.call);
    step_settle(step->fetcher, step->follow, &step->replicate);
    fetcher_step_done(step->fetcher);
}

static struct part_replicate *step_new(struct fetcher *fetcher, struct follow *follow,
                                       enum part_step kind)
{
    struct fetcher_step *step = arena_new(&fetcher->arena, struct fetcher_step);
    *step = (struct fetcher_step){.fetcher = fetcher, .follow = follow};
    step->replicate = (struct part_replicate){
        .step = kind,
        .leader_epoch = follow->place.leader_epoch,
        .fetch_offset = follow->place.offset,
        .leader_hw = -1,
        .leader_log_start = -1,
    };
    step->replicate.call.loop = fetcher->options.loop;
    step->replicate.call.done = on_step;
    return &step->replicate;
}

static void step_start(struct fetcher *fetcher, struct follow *follow,
                       struct part_replicate *replicate)
{
    fetcher->steps_left++;
    part_replicate(follow->part, replicate);
}

/* ---- Fetch ---- */

static void partition_failed(struct fetcher *fetcher, struct follow *follow, enum err err)
{
    follow_touch(fetcher, follow);
    if (err == ERR_OFFSET_OUT_OF_RANGE) {
        follow->want = FOLLOW_LATEST;
        return;
    }
    follow_back_off(fetcher, follow);
    complain(fetcher, follow, err);
}

static void take_partition(struct fetcher *fetcher, struct follow *follow,
                           const struct fetch_response_partition_data *data)
{
    struct part_replicate *replicate;
    if (data->error_code != 0) {
        partition_failed(fetcher, follow, err_from_wire(data->error_code));
        return;
    }
    if (data->diverging_epoch.end_offset >= 0) {
        replicate = step_new(fetcher, follow, PART_STEP_DIVERGED);
        replicate->epoch = data->diverging_epoch.epoch;
        replicate->offset = data->diverging_epoch.end_offset;
        replicate->leader_log_start = data->log_start_offset;
        step_start(fetcher, follow, replicate);
        return;
    }
    if (data->records.size > 0 && part_throttled_follower(follow->part)) {
        throttle_note(fetcher->options.throttle, loop_now_ms(fetcher->options.loop),
                      (int64_t)data->records.size);
    }
    bool news = data->records.size > 0 || data->high_watermark != follow->leader_hw ||
                data->log_start_offset != follow->leader_log_start;
    if (news) {
        replicate = step_new(fetcher, follow, PART_STEP_RECORDS);
        replicate->records = data->records;
        replicate->leader_hw = data->high_watermark;
        replicate->leader_log_start = data->log_start_offset;
        step_start(fetcher, follow, replicate);
    }
}

static struct follow *find_id(struct fetcher *fetcher, struct uuid topic_id, int32_t index)
{
    struct follow_key key;
    struct follow *follow;
    memset(&key, 0, sizeof(key));
    key.topic_id = topic_id;
    key.index = index;
    HASH_FIND(hh, fetcher->by_key, &key, sizeof(key), follow);
    return follow;
}

/* The whole session was refused: begin another. */
static bool is_session_error(enum err err)
{
    return err == ERR_FETCH_SESSION_ID_NOT_FOUND || err == ERR_INVALID_FETCH_SESSION_EPOCH ||
           err == ERR_FETCH_SESSION_TOPIC_ID_ERROR;
}

static enum err take_fetch(struct fetcher *fetcher, const struct fetch_response *response)
{
    enum err err = err_from_wire(response->error_code);
    if (response->error_code != 0) {
        if (is_session_error(err)) {
            fetcher_session_reset(fetcher);
            return ERR_OK;
        }
        return err;
    }
    if (response->session_id == 0) {
        fetcher_session_reset(fetcher); /* the leader keeps none for us */
    } else {
        fetcher->session_id = response->session_id;
        fetcher->session_epoch =
            fetcher->session_epoch == INT32_MAX ? 1 : fetcher->session_epoch + 1;
    }
    for (int32_t i = 0; i < response->responses_count; i++) {
        const struct fetch_response_fetchable_topic_response *topic = &response->responses[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            struct follow *follow =
                find_id(fetcher, topic->topic_id, topic->partitions[j].partition_index);
            if (follow != NULL && follow->want == FOLLOW_FETCH) {
                take_partition(fetcher, follow, &topic->partitions[j]);
            }
        }
    }
    return ERR_OK;
}

/* ---- ListOffsets ---- */

/* Our log goes on behind the leader's end (it was elected without the last records): cut it there.
 * Else the leader's log may begin behind our end: ask. */
static void take_latest(struct fetcher *fetcher, struct follow *follow, int64_t offset)
{
    if (offset < follow->place.offset) {
        struct part_replicate *replicate = step_new(fetcher, follow, PART_STEP_TRUNCATE);
        replicate->offset = offset;
        step_start(fetcher, follow, replicate);
    } else {
        follow->want = FOLLOW_EARLIEST;
    }
}

static void take_earliest(struct fetcher *fetcher, struct follow *follow, int64_t offset)
{
    if (offset > follow->place.offset) {
        struct part_replicate *replicate = step_new(fetcher, follow, PART_STEP_RESTART);
        replicate->offset = offset;
        step_start(fetcher, follow, replicate);
    } else {
        follow->want = FOLLOW_FETCH;
        follow_back_off(fetcher, follow);
    }
}

/* Answers stand in the order in which was asked, that of the list: the search begins behind *at. */
static struct follow *find_named(struct fetcher *fetcher, struct list **at, struct str topic,
                                 int32_t index)
{
    struct list *link = *at;
    do {
        link = link->next;
        struct follow *follow = container_of(link, struct follow, link);
        if (link != &fetcher->news && follow->key.index == index &&
            str_eq(follow->part->topic, topic)) {
            *at = link;
            return follow;
        }
    } while (link != *at);
    return NULL;
}

static void take_listed(struct fetcher *fetcher, enum fetcher_request request,
                        struct follow *follow,
                        const struct list_offsets_response_list_offsets_partition_response *item)
{
    if (item->error_code != 0 || item->offset < 0) {
        enum err err = err_from_wire(item->error_code);
        follow->want = FOLLOW_FETCH;
        follow_back_off(fetcher, follow);
        complain(fetcher, follow, err);
    } else if (request == REQUEST_LATEST && follow->want == FOLLOW_LATEST) {
        take_latest(fetcher, follow, item->offset);
    } else if (request == REQUEST_EARLIEST && follow->want == FOLLOW_EARLIEST) {
        take_earliest(fetcher, follow, item->offset);
    }
}

static enum err take_list(struct fetcher *fetcher, enum fetcher_request request,
                          const struct list_offsets_response *response)
{
    struct list *at = &fetcher->news;
    for (int32_t i = 0; i < response->topics_count; i++) {
        const struct list_offsets_response_list_offsets_topic_response *topic =
            &response->topics[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            struct follow *follow =
                find_named(fetcher, &at, topic->name, topic->partitions[j].partition_index);
            if (follow != NULL) {
                take_listed(fetcher, request, follow, &topic->partitions[j]);
            }
        }
    }
    return ERR_OK;
}

/* ---- the frame ---- */

static enum err decode(struct fetcher *fetcher, int16_t api, int16_t version,
                       const struct msg_desc *desc, size_t size, void *out)
{
    struct bytes frame = {fetcher->frame, size};
    int32_t correlation_id;
    size_t used;
    enum err err = codec_decode_response_header(api, version, frame, &correlation_id, &used);
    if (err != ERR_OK) {
        return err;
    }
    if (correlation_id != fetcher->correlation_id) {
        return ERR_MALFORMED;
    }
    return codec_decode(desc, version, (struct bytes){frame.data + used, frame.size - used},
                        &fetcher->arena, out, NULL);
}

enum err fetcher_take(struct fetcher *fetcher, enum fetcher_request request, size_t size)
{
    enum err err;
    if (request == REQUEST_FETCH) {
        struct fetch_response response;
        err = decode(fetcher, API_FETCH, FETCHER_FETCH_VERSION, &fetch_response_desc, size,
                     &response);
        return err == ERR_OK ? take_fetch(fetcher, &response) : err;
    }
    struct list_offsets_response response;
    err = decode(fetcher, API_LIST_OFFSETS, FETCHER_LIST_VERSION, &list_offsets_response_desc, size,
                 &response);
    return err == ERR_OK ? take_list(fetcher, request, &response) : err;
}
