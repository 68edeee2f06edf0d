/* fetcher_request.c: what a fetcher asks its leader: fetches in a session, and, for partitions that
 * are out of range, where the leader's log ends or begins. */
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "replica/fetcher_internal.h"

enum { TIMESTAMP_LATEST = -1, TIMESTAMP_EARLIEST = -2 };

bool follow_ready(const struct follow *follow, enum follow_want want, int64_t now_ms)
{
    return follow->want == want && follow->retry_ms <= now_ms;
}

void follow_touch(struct fetcher *fetcher, struct follow *follow)
{
    list_remove(&follow->link);
    list_push_back(&fetcher->news, &follow->link);
}

void fetcher_session_reset(struct fetcher *fetcher)
{
    struct list *link;
    fetcher->session_id = 0;
    fetcher->session_epoch = 0;
    list_splice_back(&fetcher->news, &fetcher->quiet);
    list_for_each (at, &fetcher->news) {
        container_of(at, struct follow, link)->in_session = false;
    }
    while ((link = list_pop_front(&fetcher->forgotten)) != NULL) {
        mem_free(container_of(link, struct forgotten, link));
    }
}

/* A throttled partition that lags waits while the rate is above the limit. One that is in sync is
 * never held back: it would fall out of the ISR. */
static void hold_back(struct fetcher *fetcher, struct follow *follow, int64_t now_ms)
{
    struct throttle *throttle = fetcher->options.throttle;
    bool in_sync = follow->leader_hw >= 0 && follow->place.offset >= follow->leader_hw;
    if (follow_ready(follow, FOLLOW_FETCH, now_ms) && !in_sync &&
        part_throttled_follower(follow->part) && throttle_exceeded(throttle, now_ms)) {
        int64_t pause_ms = throttle_pause_ms(throttle, now_ms);
        follow->retry_ms =
            now_ms + (pause_ms < FETCHER_THROTTLE_LOOK_MS ? pause_ms : FETCHER_THROTTLE_LOOK_MS);
    }
}

enum fetcher_request fetcher_due(struct fetcher *fetcher, int64_t now_ms, int64_t *next_ms)
{
    bool fetch = !list_empty(&fetcher->quiet);
    *next_ms = INT64_MAX;
    list_for_each (link, &fetcher->news) {
        struct follow *follow = container_of(link, struct follow, link);
        hold_back(fetcher, follow, now_ms);
        if (follow_ready(follow, FOLLOW_LATEST, now_ms)) {
            return REQUEST_LATEST;
        }
        if (follow_ready(follow, FOLLOW_EARLIEST, now_ms)) {
            return REQUEST_EARLIEST;
        }
        fetch = fetch || follow_ready(follow, FOLLOW_FETCH, now_ms);
        if (follow->want != FOLLOW_FAILED && follow->retry_ms > now_ms &&
            follow->retry_ms < *next_ms) {
            *next_ms = follow->retry_ms;
        }
    }
    return fetch ? REQUEST_FETCH : REQUEST_NONE;
}

void fetcher_session_forget(struct fetcher *fetcher, const struct follow *follow)
{
    if (follow->in_session) {
        struct forgotten *forgotten = mem_new(struct forgotten);
        forgotten->key = follow->key;
        list_push_back(&fetcher->forgotten, &forgotten->link);
    }
}

void fetcher_session_recall(struct fetcher *fetcher, struct follow *follow)
{
    list_for_each_safe (link, &fetcher->forgotten) {
        struct forgotten *forgotten = container_of(link, struct forgotten, link);
        if (memcmp(&forgotten->key, &follow->key, sizeof(follow->key)) == 0) {
            list_remove(link);
            mem_free(forgotten);
            follow->in_session = true;
            follow->sent = (struct follow_place){.offset = -1}; /* differs from any place */
        }
    }
}

static bool same_place(const struct follow_place *a, const struct follow_place *b)
{
    return a->offset == b->offset && a->log_start == b->log_start && a->flushed == b->flushed &&
           a->leader_epoch == b->leader_epoch && a->last_epoch == b->last_epoch;
}

/* ---- encoding ---- */

static void put_request(struct fetcher *fetcher, int16_t api, int16_t version,
                        const struct msg_desc *desc, const void *body)
{
    struct buf *out = &fetcher->out;
    fetcher->correlation_id = (fetcher->correlation_id + 1) & INT32_MAX;
    buf_put_be32(out, 0);
    codec_encode_request_header(api, version, fetcher->correlation_id, str_of(fetcher->client_id),
                                out);
    enum err err = codec_encode(desc, version, body, out);
    must(err == ERR_OK);
    be32_put(out->data, (uint32_t)(out->size - 4));
}

/* A request in the making. */
struct filling {
    struct fetcher *fetcher;
    struct fetch_request *request;
    struct arena *arena;
    int32_t room; /* for partitions of the last topic entry */
    int64_t now_ms;
    int64_t wake_ms; /* when the first that waits is to be asked about again */
};

/* How many follows from this one on are of its topic. */
static int32_t run_of(const struct fetcher *fetcher, const struct follow *first)
{
    int32_t count = 0;
    const struct list *link = &first->link;
    while (link != &fetcher->news &&
           uuid_eq(container_of(link, struct follow, link)->key.topic_id, first->key.topic_id)) {
        count++;
        link = link->next;
    }
    return count;
}

/* The topic's entry: the last one with its room left, or a fresh one. */
static struct fetch_request_fetch_topic *topic_entry(struct filling *filling,
                                                     const struct follow *follow)
{
    struct fetch_request *request = filling->request;
    struct fetch_request_fetch_topic *last =
        request->topics_count > 0 ? &request->topics[request->topics_count - 1] : NULL;
    if (last != NULL && uuid_eq(last->topic_id, follow->key.topic_id) &&
        last->partitions_count < filling->room) {
        return last;
    }
    struct fetch_request_fetch_topic *topic = &request->topics[request->topics_count++];
    *topic = (struct fetch_request_fetch_topic){.topic = STR(""), .topic_id = follow->key.topic_id};
    filling->room = run_of(filling->fetcher, follow);
    topic->partitions =
        codec_array(&fetch_request_fetch_partition_desc, filling->arena, filling->room);
    return topic;
}

static void put_partition(struct filling *filling, struct follow *follow)
{
    struct fetch_request_fetch_topic *topic = topic_entry(filling, follow);
    struct fetch_request_fetch_partition *out = &topic->partitions[topic->partitions_count++];
    out->partition = follow->key.index;
    out->current_leader_epoch = follow->place.leader_epoch;
    out->fetch_offset = follow->place.offset;
    out->last_fetched_epoch = follow->place.last_epoch;
    out->log_start_offset = follow->place.log_start;
    out->flushed_offset = follow->place.flushed;
    out->partition_max_bytes = filling->fetcher->options.partition_max_bytes;
    follow->sent = follow->place;
    follow->in_session = true;
}

static void put_forgotten(struct filling *filling, const struct follow_key *key)
{
    struct fetch_request *request = filling->request;
    struct fetch_request_forgotten_topic *topic =
        &request->forgotten_topics_data[request->forgotten_topics_data_count++];
    *topic = (struct fetch_request_forgotten_topic){.topic = STR(""), .topic_id = key->topic_id};
    topic->partitions = arena_array(filling->arena, int32_t, 1);
    topic->partitions[0] = key->index;
    topic->partitions_count = 1;
}

static int32_t length_of(const struct list *list)
{
    int32_t count = 0;
    list_for_each (link, list) {
        count++;
    }
    return count;
}

/* Those that wait are taken out of the session, or the leader would answer for them. */
static void fill_follow(struct filling *filling, struct follow *follow)
{
    if (follow_ready(follow, FOLLOW_FETCH, filling->now_ms)) {
        follow->retry_ms = 0;
        if (!follow->in_session || !same_place(&follow->place, &follow->sent)) {
            put_partition(filling, follow);
        }
        return;
    }
    if (follow->in_session) {
        put_forgotten(filling, &follow->key);
        follow->in_session = false;
    }
    if (follow->want != FOLLOW_FAILED && follow->retry_ms < filling->wake_ms) {
        filling->wake_ms = follow->retry_ms;
    }
}

static void fill_session(struct filling *filling)
{
    struct fetcher *fetcher = filling->fetcher;
    struct fetch_request *request = filling->request;
    struct arena *arena = filling->arena;
    int32_t news = length_of(&fetcher->news);
    struct list *link_gone;
    request->topics = codec_array(&fetch_request_fetch_topic_desc, arena, news);
    request->forgotten_topics_data = codec_array(&fetch_request_forgotten_topic_desc, arena,
                                                 news + length_of(&fetcher->forgotten));
    while ((link_gone = list_pop_front(&fetcher->forgotten)) != NULL) {
        struct forgotten *gone = container_of(link_gone, struct forgotten, link);
        put_forgotten(filling, &gone->key);
        mem_free(gone);
    }
    list_for_each (link, &fetcher->news) {
        fill_follow(filling, container_of(link, struct follow, link));
    }
    list_for_each_safe (link, &fetcher->news) {
        struct follow *follow = container_of(link, struct follow, link);
        if (follow->in_session) {
            list_remove(&follow->link);
            list_push_back(&fetcher->quiet, &follow->link);
        }
    }
}

static void encode_fetch(struct fetcher *fetcher, int64_t now_ms)
{
    struct arena arena = {0};
    struct fetch_request request;
    struct filling filling = {.fetcher = fetcher,
                              .request = &request,
                              .arena = &arena,
                              .now_ms = now_ms,
                              .wake_ms = now_ms + fetcher->options.wait_max_ms};
    codec_init(&fetch_request_desc, &request);
    request.replica_state.replica_id = fetcher->options.my_id;
    request.replica_state.replica_epoch = atomic_load(fetcher->options.epoch);
    request.min_bytes = fetcher->options.min_bytes;
    request.max_bytes = fetcher->options.response_max_bytes;
    request.session_id = fetcher->session_id;
    request.session_epoch = fetcher->session_epoch;
    fill_session(&filling);
    /* Not longer than until a partition that waits is to be asked about again. */
    request.max_wait_ms = filling.wake_ms > now_ms ? (int32_t)(filling.wake_ms - now_ms) : 0;
    put_request(fetcher, API_FETCH, FETCHER_FETCH_VERSION, &fetch_request_desc, &request);
    arena_fini(&arena);
}

static void encode_list(struct fetcher *fetcher, enum follow_want want, int64_t now_ms)
{
    struct arena arena = {0};
    struct list_offsets_request request;
    int32_t room = length_of(&fetcher->news);
    codec_init(&list_offsets_request_desc, &request);
    request.replica_id = fetcher->options.my_id;
    request.topics = codec_array(&list_offsets_request_list_offsets_topic_desc, &arena, room);
    list_for_each (link, &fetcher->news) {
        const struct follow *follow = container_of(link, struct follow, link);
        if (!follow_ready(follow, want, now_ms)) {
            continue;
        }
        struct list_offsets_request_list_offsets_topic *topic =
            &request.topics[request.topics_count++];
        topic->name = follow->part->topic;
        topic->partitions =
            codec_array(&list_offsets_request_list_offsets_partition_desc, &arena, 1);
        topic->partitions_count = 1;
        topic->partitions[0].partition_index = follow->key.index;
        topic->partitions[0].current_leader_epoch = follow->place.leader_epoch;
        topic->partitions[0].timestamp =
            want == FOLLOW_LATEST ? TIMESTAMP_LATEST : TIMESTAMP_EARLIEST;
    }
    put_request(fetcher, API_LIST_OFFSETS, FETCHER_LIST_VERSION, &list_offsets_request_desc,
                &request);
    arena_fini(&arena);
}

void fetcher_encode(struct fetcher *fetcher, enum fetcher_request request, int64_t now_ms)
{
    switch (request) {
    case REQUEST_FETCH:
        encode_fetch(fetcher, now_ms);
        return;
    case REQUEST_LATEST:
        encode_list(fetcher, FOLLOW_LATEST, now_ms);
        return;
    case REQUEST_EARLIEST:
        encode_list(fetcher, FOLLOW_EARLIEST, now_ms);
        return;
    case REQUEST_NONE:
        break;
    }
    must(false);
}
