#include "bench/load/brokers.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/api.h"
#include "codec/codec.h"

enum { CORRELATION = 11, LEADERS_MS = 10000 };

static void add(struct broker_list *list, int32_t id, long port)
{
    if (list->count == BROKERS_MAX || port <= 0 || port > 65535) {
        die("more than %d brokers, or %ld is no port", BROKERS_MAX, port);
    }
    list->ids[list->count] = id;
    list->ports[list->count] = (uint16_t)port;
    list->peers[list->count].fd = -1;
    list->count++;
}

void brokers_init(struct broker_list *list, const struct load_options *options)
{
    *list = (struct broker_list){.host = options->host};
    if (options->brokers == NULL) {
        add(list, -1, options->port);
        return;
    }
    const char *at = options->brokers;
    for (bool more = true; more;) {
        char *end;
        long id = strtol(at, &end, 10);
        if (*end != '=') {
            die("%s is not ID=PORT,ID=PORT,...", options->brokers);
        }
        add(list, (int32_t)id, strtol(end + 1, &end, 10));
        more = *end == ',';
        if (!more && *end != '\0') {
            die("%s is not ID=PORT,ID=PORT,...", options->brokers);
        }
        at = end + 1;
    }
}

static void drop(struct broker_list *list, int32_t place)
{
    if (list->peers[place].fd >= 0) {
        peer_close(&list->peers[place]);
        list->peers[place] = (struct peer){.fd = -1};
    }
}

void brokers_fini(struct broker_list *list)
{
    for (int32_t i = 0; i < list->count; i++) {
        drop(list, i);
    }
}

int32_t brokers_find(const struct broker_list *list, int32_t id)
{
    for (int32_t i = 0; i < list->count; i++) {
        if (list->ids[i] == id || list->ids[i] == -1) {
            return i;
        }
    }
    return -1;
}

bool brokers_call(struct broker_list *list, int32_t place, int16_t api_key, int16_t version,
                  const void *body, int timeout_ms, struct arena *arena, void *reply)
{
    struct peer *peer = &list->peers[place];
    struct buf out = {0};
    struct bytes frame;
    if (peer->fd < 0 && !peer_try_connect(peer, list->host, list->ports[place])) {
        return false;
    }
    frame_put(&out, api_key, version, CORRELATION, body);
    bool answered = peer_try_call(peer, &out, timeout_ms, &frame);
    buf_fini(&out);
    if (!answered) {
        drop(list, place);
        return false;
    }
    struct bytes in = peer_body(frame, api_key, version, CORRELATION);
    if (codec_decode(api_find(api_key)->response, version, in, arena, reply, NULL) != ERR_OK) {
        die("malformed %s response", api_find(api_key)->name);
    }
    return true;
}

bool brokers_metadata(struct broker_list *list, int32_t place, const char *topic, int timeout_ms,
                      struct arena *arena, struct metadata_response *out)
{
    struct metadata_request request;
    struct metadata_request_metadata_request_topic one;
    codec_init(&metadata_request_desc, &request);
    codec_init(&metadata_request_metadata_request_topic_desc, &one);
    one.name = str_of(topic != NULL ? topic : "");
    request.topics = &one;
    request.topics_count = topic != NULL ? 1 : -1; /* null: all */
    request.allow_auto_topic_creation = false;
    return brokers_call(list, place, API_METADATA, LOAD_METADATA_VERSION, &request, timeout_ms,
                        arena, out);
}

int32_t *brokers_leaders(struct broker_list *list, const struct load_options *options)
{
    struct arena arena = {0};
    struct metadata_response metadata;
    int32_t *leaders = mem_zalloc((size_t)options->partitions, sizeof(*leaders));
    if (options->brokers == NULL) {
        return leaders; /* the one broker leads all */
    }
    if (!brokers_metadata(list, 0, options->topic, LEADERS_MS, &arena, &metadata) ||
        metadata.topics_count != 1 || metadata.topics[0].partitions_count != options->partitions) {
        die("%s has not %d partitions", options->topic, options->partitions);
    }
    for (int32_t i = 0; i < options->partitions; i++) {
        const struct metadata_response_metadata_response_partition *part =
            &metadata.topics[0].partitions[i];
        int32_t place = brokers_find(list, part->leader_id);
        if (place < 0) {
            die("%s-%d is led by broker %d", options->topic, part->partition_index,
                part->leader_id);
        }
        leaders[part->partition_index] = place;
    }
    arena_fini(&arena);
    return leaders;
}

/* Of the partitions that this broker leads. */
static void ends_of(struct broker_list *list, int32_t place, const struct load_options *options,
                    const int32_t *leaders, int64_t *ends)
{
    enum { VERSION = 5, LATEST = -1 };
    struct arena arena = {0};
    struct list_offsets_request request;
    struct list_offsets_request_list_offsets_topic topic;
    struct list_offsets_response reply;
    codec_init(&list_offsets_request_desc, &request);
    codec_init(&list_offsets_request_list_offsets_topic_desc, &topic);
    topic.name = str_of(options->topic);
    topic.partitions =
        codec_array(&list_offsets_request_list_offsets_partition_desc, &arena, options->partitions);
    for (int32_t i = 0; i < options->partitions; i++) {
        if (leaders[i] == place) {
            topic.partitions[topic.partitions_count].partition_index = i;
            topic.partitions[topic.partitions_count++].timestamp = LATEST;
        }
    }
    request.replica_id = -1;
    request.topics = &topic;
    request.topics_count = 1;
    if (topic.partitions_count > 0 &&
        (!brokers_call(list, place, API_LIST_OFFSETS, VERSION, &request, LEADERS_MS, &arena,
                       &reply) ||
         reply.topics_count != 1 || reply.topics[0].partitions_count != topic.partitions_count)) {
        die("ListOffsets of %s: no answer", options->topic);
    }
    for (int32_t i = 0; i < topic.partitions_count; i++) {
        const struct list_offsets_response_list_offsets_partition_response *part =
            &reply.topics[0].partitions[i];
        int32_t index = topic.partitions[i].partition_index;
        if (part->error_code != 0 || part->partition_index != index) {
            die("ListOffsets of %s-%d failed with error %d", options->topic, index,
                part->error_code);
        }
        ends[index] = part->offset;
    }
    arena_fini(&arena);
}

void brokers_ends(struct broker_list *list, const struct load_options *options,
                  const int32_t *leaders, int64_t *ends)
{
    for (int32_t place = 0; place < list->count; place++) {
        ends_of(list, place, options, leaders, ends);
    }
}
