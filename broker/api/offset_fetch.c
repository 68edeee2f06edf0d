/* OffsetFetch: what a group has committed; from version 8 on of several groups.
 *
 * All versions are answered in the form of the newest; older ones get it translated. A group
 * without offsets is no error: its partitions say offset -1. Version 0 asks for offsets that Kafka
 * 0.8 kept in ZooKeeper, where this broker keeps none: nothing is known of any partition.
 * Source: Kafka 3.9 in ZooKeeper mode. */
#include <stdlib.h>
#include <string.h>

#include "api/broker.h"
#include "api/group_common.h"
#include "api/group_fan.h"
#include "api/handlers.h"
#include "api/names.h"

enum { ALL_VERSION_MIN = 2, BATCH_VERSION_MIN = 8 };

typedef struct offset_fetch_request_offset_fetch_request_group wanted_group;
typedef struct offset_fetch_response_offset_fetch_response_group found_group;
typedef struct offset_fetch_response_offset_fetch_response_topics found_topic;
typedef struct offset_fetch_response_offset_fetch_response_partitions found_partition;

struct fetching {
    const wanted_group *wanted;
    found_group *found;
};

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Each partition once; where one is there twice they are sorted. How many are left. */
static size_t distinct(struct req *req, int32_t *partitions, size_t count)
{
    size_t kept = 0;
    if (count < 2) {
        return count;
    }
    int32_t *sorted = arena_array(&req->arena, int32_t, count);
    memcpy(sorted, partitions, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_number);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || sorted[i] != sorted[i - 1]) {
            sorted[kept++] = sorted[i];
        }
    }
    if (kept < count) {
        memcpy(partitions, sorted, kept * sizeof(*sorted));
    }
    return kept;
}

/* firsts[i]: where the i-th topic stands first, with room for the partitions of all that have its
 * name. */
static const int32_t *gather_rooms(struct req *req, const wanted_group *wanted,
                                   struct grp_topic_partitions *topics)
{
    struct str *names = req_array(req, struct str, wanted->topics_count);
    for (int32_t i = 0; i < wanted->topics_count; i++) {
        names[i] = wanted->topics[i].name;
    }
    const int32_t *firsts = names_first(&req->arena, names, wanted->topics_count);
    size_t *rooms = req_array(req, size_t, wanted->topics_count);
    for (int32_t i = 0; i < wanted->topics_count; i++) {
        rooms[firsts[i]] += (size_t)wanted->topics[i].partition_indexes_count;
    }
    for (int32_t i = 0; i < wanted->topics_count; i++) {
        topics[i].topic = names[i];
        topics[i].partitions = firsts[i] == i ? arena_array(&req->arena, int32_t, rooms[i]) : NULL;
    }
    return firsts;
}

/* Each topic, and each partition of it, once, however often it is named: what stands beside an
 * offset is a thousand times as long as the question. Kafka makes a map of them, too. */
static const struct grp_topic_partitions *wanted_topics(struct req *req, const wanted_group *wanted,
                                                        size_t *count)
{
    struct grp_topic_partitions *topics =
        req_array(req, struct grp_topic_partitions, wanted->topics_count);
    const int32_t *firsts = gather_rooms(req, wanted, topics);
    for (int32_t i = 0; i < wanted->topics_count; i++) {
        struct grp_topic_partitions *to = &topics[firsts[i]];
        size_t more = (size_t)wanted->topics[i].partition_indexes_count;
        if (more > 0) {
            memcpy((int32_t *)(uintptr_t)to->partitions + to->partition_count,
                   wanted->topics[i].partition_indexes, more * sizeof(int32_t));
        }
        to->partition_count += more;
    }
    *count = 0;
    for (int32_t i = 0; i < wanted->topics_count; i++) {
        if (firsts[i] == i) {
            struct grp_topic_partitions one = topics[i];
            one.partition_count =
                distinct(req, (int32_t *)(uintptr_t)one.partitions, one.partition_count);
            topics[(*count)++] = one;
        }
    }
    return topics;
}

static struct part *ask(struct group_fan *fan, int32_t index, struct grp_event *event)
{
    struct fetching *fetching = fan->state;
    const struct offset_fetch_request *request = fan->req->body;
    const wanted_group *wanted = &fetching->wanted[index];
    fetching->found[index].group_id = wanted->group_id;
    enum err err;
    struct part *part = group_coordinator(fan->req, wanted->group_id, &err);
    if (part == NULL) {
        fetching->found[index].error_code = err_wire(err);
        return NULL;
    }
    bool all = wanted->topics_count < 0;
    size_t count = 0;
    const struct grp_topic_partitions *topics =
        all ? NULL : wanted_topics(fan->req, wanted, &count);
    event->kind = GRP_EV_FETCH;
    event->fetch = (struct grp_fetch){
        .group_id = wanted->group_id,
        .all = all,
        .require_stable = request->require_stable,
        .topics = topics,
        .topic_count = count,
    };
    return part;
}

static void answer(struct group_fan *fan, int32_t index, struct group_call *call,
                   const struct grp_reply *reply)
{
    const struct fetching *fetching = fan->state;
    const struct grp_reply_offsets *offsets = &reply->offsets;
    found_group *found = &fetching->found[index];
    found->error_code = err_wire(offsets->err);
    found->topics_count = (int32_t)offsets->topic_count;
    found->topics = arena_array(&call->arena, found_topic, offsets->topic_count);
    for (size_t i = 0; i < offsets->topic_count; i++) {
        const struct grp_reply_topic *from = &offsets->topics[i];
        found_topic *to = &found->topics[i];
        to->name = group_copy_str(call, from->topic);
        to->partitions_count = (int32_t)from->partition_count;
        to->partitions = arena_array(&call->arena, found_partition, from->partition_count);
        for (size_t j = 0; j < from->partition_count; j++) {
            to->partitions[j] = (found_partition){
                .partition_index = from->partitions[j].partition,
                .committed_offset = from->partitions[j].offset,
                .committed_leader_epoch = from->partitions[j].leader_epoch,
                .metadata = group_copy_str(call, from->partitions[j].metadata),
                .error_code = err_wire(from->partitions[j].err),
            };
        }
    }
}

/* ---- versions 0 to 7: one group ---- */

/* What was asked for, every partition with this error. */
static void fill_error(struct req *req, int16_t error_code, found_group *found)
{
    const struct offset_fetch_request *request = req->body;
    found->topics_count = request->topics_count;
    found->topics = req_array(req, found_topic, request->topics_count);
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct offset_fetch_request_offset_fetch_request_topic *from = &request->topics[i];
        found_topic *to = &found->topics[i];
        to->name = from->name;
        to->partitions_count = from->partition_indexes_count;
        to->partitions = req_array(req, found_partition, from->partition_indexes_count);
        for (int32_t j = 0; j < from->partition_indexes_count; j++) {
            to->partitions[j] = (found_partition){
                .partition_index = from->partition_indexes[j],
                .committed_offset = -1,
                .committed_leader_epoch = -1,
                .metadata = STR(""),
                .error_code = error_code,
            };
        }
    }
}

static void reply_one(struct req *req, const found_group *found)
{
    struct offset_fetch_response response;
    codec_init(&offset_fetch_response_desc, &response);
    response.error_code = found->error_code;
    response.topics_count = found->topics_count;
    response.topics = req_array(req, struct offset_fetch_response_offset_fetch_response_topic,
                                found->topics_count);
    for (int32_t i = 0; i < found->topics_count; i++) {
        const found_topic *from = &found->topics[i];
        struct offset_fetch_response_offset_fetch_response_topic *to = &response.topics[i];
        to->name = from->name;
        to->partitions_count = from->partitions_count;
        to->partitions =
            req_array(req, struct offset_fetch_response_offset_fetch_response_partition,
                      from->partitions_count);
        for (int32_t j = 0; j < from->partitions_count; j++) {
            to->partitions[j] = (struct offset_fetch_response_offset_fetch_response_partition){
                .partition_index = from->partitions[j].partition_index,
                .committed_offset = from->partitions[j].committed_offset,
                .committed_leader_epoch = from->partitions[j].committed_leader_epoch,
                .metadata = from->partitions[j].metadata,
                .error_code = from->partitions[j].error_code,
            };
        }
    }
    req_reply(req, &response);
}

static void finish_one(struct group_fan *fan)
{
    const struct fetching *fetching = fan->state;
    found_group *found = &fetching->found[0];
    if (fan->req->version < ALL_VERSION_MIN && found->error_code != 0) {
        fill_error(fan->req, found->error_code, found);
    }
    reply_one(fan->req, found);
}

static void fetch_one(struct req *req)
{
    static const struct group_fan_ops ops = {.ask = ask, .answer = answer, .finish = finish_one};
    const struct offset_fetch_request *request = req->body;
    found_group *found = req_new(req, found_group);
    if (req->version == 0) {
        fill_error(req, err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION), found);
        reply_one(req, found);
        return;
    }
    wanted_group *wanted = req_new(req, wanted_group);
    wanted->group_id = request->group_id;
    wanted->topics_count = request->topics_count;
    if (request->topics_count > 0) {
        wanted->topics = req_array(req, struct offset_fetch_request_offset_fetch_request_topics,
                                   request->topics_count);
    }
    for (int32_t i = 0; i < request->topics_count; i++) {
        wanted->topics[i] = (struct offset_fetch_request_offset_fetch_request_topics){
            .name = request->topics[i].name,
            .partition_indexes = request->topics[i].partition_indexes,
            .partition_indexes_count = request->topics[i].partition_indexes_count,
        };
    }
    struct fetching *fetching = req_new(req, struct fetching);
    *fetching = (struct fetching){.wanted = wanted, .found = found};
    group_fan_start(req, &ops, 1, fetching);
}

/* ---- versions 8 and 9 ---- */

static void finish_batch(struct group_fan *fan)
{
    const struct fetching *fetching = fan->state;
    struct offset_fetch_response response;
    codec_init(&offset_fetch_response_desc, &response);
    response.groups = fetching->found;
    response.groups_count = fan->count;
    req_reply(fan->req, &response);
}

static void fetch_batch(struct req *req)
{
    static const struct group_fan_ops ops = {.ask = ask, .answer = answer, .finish = finish_batch};
    const struct offset_fetch_request *request = req->body;
    struct fetching *fetching = req_new(req, struct fetching);
    fetching->wanted = request->groups;
    fetching->found = req_array(req, found_group, request->groups_count);
    group_fan_start(req, &ops, request->groups_count, fetching);
}

static int64_t count_items(const struct req *req)
{
    const struct offset_fetch_request *request = req->body;
    int64_t items = request->groups_count;
    for (int32_t i = 0; i < request->topics_count; i++) {
        items += 1 + request->topics[i].partition_indexes_count;
    }
    for (int32_t i = 0; i < request->groups_count; i++) {
        for (int32_t j = 0; j < request->groups[i].topics_count; j++) {
            items += 1 + request->groups[i].topics[j].partition_indexes_count;
        }
    }
    return items;
}

void api_offset_fetch(struct req *req)
{
    if (!group_request_fits(req, count_items(req))) {
        return;
    }
    if (req->version >= BATCH_VERSION_MIN) {
        fetch_batch(req);
    } else {
        fetch_one(req);
    }
}
