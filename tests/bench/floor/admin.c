/* The requests that no figure depends on: what a client asks before it produces or consumes. */
#include <string.h>

#include "base/err.h"
#include "base/uuid.h"
#include "bench/floor/floor.h"
#include "codec/api.h"
#include "codec/codec.h"

enum { TIMESTAMP_EARLIEST = -2, TIMESTAMP_LATEST = -1, PARTS_MAX = 100000 };

static const struct {
    int16_t key;
    int16_t version_min;
    int16_t version_max;
} spoken[] = {
    {API_PRODUCE, 0, 9},       {API_FETCH, 4, 12},           {API_LIST_OFFSETS, 1, 7},
    {API_METADATA, 1, 9},      {API_API_VERSIONS, 0, 3},     {API_CREATE_TOPICS, 2, 6},
    {API_DELETE_TOPICS, 1, 5}, {API_INIT_PRODUCER_ID, 0, 4}, {API_FIND_COORDINATOR, 0, 0},
};
enum { SPOKEN_COUNT = sizeof(spoken) / sizeof(*spoken) };

bool floor_speaks(int16_t key, int16_t version)
{
    for (int i = 0; i < SPOKEN_COUNT; i++) {
        if (spoken[i].key == key) {
            return version >= spoken[i].version_min && version <= spoken[i].version_max;
        }
    }
    return false;
}

static void reply(struct client *client, const struct request *request, const void *message)
{
    size_t start = reply_begin(client, request->key, request->version, request->correlation_id);
    if (codec_encode(api_find(request->key)->response, request->version, message, &client->out) !=
        ERR_OK) {
        floor_end("encode");
    }
    reply_end(client, start, 0);
}

/* ---- ApiVersions, InitProducerId, FindCoordinator ---- */

/* Who asks in a version that we do not know is told so in the oldest, and which we do. */
static void on_api_versions(struct client *client, const struct request *request)
{
    struct request answered = *request;
    struct api_versions_response message;
    codec_init(&api_versions_response_desc, &message);
    message.api_keys =
        codec_array(&api_versions_response_api_version_desc, request->arena, SPOKEN_COUNT);
    message.api_keys_count = SPOKEN_COUNT;
    for (int i = 0; i < SPOKEN_COUNT; i++) {
        message.api_keys[i].api_key = spoken[i].key;
        message.api_keys[i].min_version = spoken[i].version_min;
        message.api_keys[i].max_version = spoken[i].version_max;
    }
    if (!floor_speaks(request->key, request->version)) {
        message.error_code = err_wire(ERR_UNSUPPORTED_VERSION);
        answered.version = 0;
    }
    reply(client, &answered, &message);
}

/* The floor remembers no sequences: it could not tell a duplicate. */
static void on_init_producer_id(struct server *server, struct client *client,
                                const struct request *request)
{
    struct init_producer_id_response message;
    codec_init(&init_producer_id_response_desc, &message);
    message.producer_id = server->next_producer_id++;
    reply(client, request, &message);
}

/* There are no groups. librdkafka takes a broker that does not speak of them for one from before
 * lz4, and sends uncompressed what is to be compared with compressed batches. */
static void on_find_coordinator(struct client *client, const struct request *request)
{
    struct find_coordinator_response message;
    codec_init(&find_coordinator_response_desc, &message);
    message.error_code = err_wire(ERR_COORDINATOR_NOT_AVAILABLE);
    message.node_id = -1;
    reply(client, request, &message);
}

/* ---- Metadata ---- */

/* A follower is in sync from its first fetch on; the others wait for it for ever. */
static void fill_replicas(const struct part *part, struct arena *arena,
                          struct metadata_response_metadata_response_partition *out)
{
    int32_t replicas = part->topic->replicas;
    out->partition_index = part->index;
    out->leader_id = FLOOR_LEADER_ID;
    out->leader_epoch = 0;
    out->replica_nodes = arena_array(arena, int32_t, (size_t)replicas);
    out->isr_nodes = arena_array(arena, int32_t, (size_t)replicas);
    for (int32_t i = 0; i < replicas; i++) {
        out->replica_nodes[out->replica_nodes_count++] = FLOOR_LEADER_ID + i;
        if (i == 0 || part->copied[i - 1] >= 0) {
            out->isr_nodes[out->isr_nodes_count++] = FLOOR_LEADER_ID + i;
        }
    }
}

static void fill_topic(const struct topic *topic, struct str name, struct arena *arena,
                       struct metadata_response_metadata_response_topic *out)
{
    out->name = name;
    if (topic == NULL) {
        out->error_code = err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION);
        return;
    }
    out->partitions =
        codec_array(&metadata_response_metadata_response_partition_desc, arena, topic->parts_count);
    out->partitions_count = topic->parts_count;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        fill_replicas(topic->parts[i], arena, &out->partitions[i]);
    }
}

static int32_t count_topics(const struct server *server)
{
    int32_t count = 0;
    list_for_each (link, &server->topics) {
        count++;
    }
    return count;
}

static void fill_all_topics(const struct server *server, struct arena *arena,
                            struct metadata_response *out)
{
    out->topics =
        codec_array(&metadata_response_metadata_response_topic_desc, arena, count_topics(server));
    list_for_each (link, &server->topics) {
        const struct topic *topic = container_of(link, struct topic, link);
        fill_topic(topic, str_of(topic->name), arena, &out->topics[out->topics_count++]);
    }
}

static void on_metadata(struct server *server, struct client *client, const struct request *request,
                        const struct metadata_request *body)
{
    struct metadata_response message;
    struct metadata_response_metadata_response_broker broker;
    codec_init(&metadata_response_desc, &message);
    codec_init(&metadata_response_metadata_response_broker_desc, &broker);
    broker.node_id = server->id;
    broker.host = STR("127.0.0.1");
    broker.port = server->port;
    message.brokers = &broker;
    message.brokers_count = 1;
    message.controller_id = server->id;
    if (body->topics_count < 0) {
        fill_all_topics(server, request->arena, &message);
    } else {
        message.topics = codec_array(&metadata_response_metadata_response_topic_desc,
                                     request->arena, body->topics_count);
        message.topics_count = body->topics_count;
        for (int32_t i = 0; i < body->topics_count; i++) {
            struct str name = body->topics[i].name;
            fill_topic(topic_find(server, name), name, request->arena, &message.topics[i]);
        }
    }
    reply(client, request, &message);
}

/* ---- ListOffsets ---- */

static void list_offset(struct server *server, struct str topic, bool consumer,
                        const struct list_offsets_request_list_offsets_partition *asked,
                        struct list_offsets_response_list_offsets_partition_response *out)
{
    const struct part *part = part_find(server, topic, asked->partition_index);
    out->partition_index = asked->partition_index;
    if (part == NULL) {
        out->error_code = err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION);
    } else if (asked->timestamp == TIMESTAMP_LATEST) {
        out->offset = consumer ? part->offset_hw : part->offset_end;
    } else if (asked->timestamp == TIMESTAMP_EARLIEST) {
        out->offset = 0;
    } else {
        out->error_code = err_wire(ERR_UNSUPPORTED_VERSION); /* the floor knows no times */
    }
}

static void on_list_offsets(struct server *server, struct client *client,
                            const struct request *request, const struct list_offsets_request *body)
{
    struct list_offsets_response message;
    codec_init(&list_offsets_response_desc, &message);
    message.topics = codec_array(&list_offsets_response_list_offsets_topic_response_desc,
                                 request->arena, body->topics_count);
    message.topics_count = body->topics_count;
    for (int32_t i = 0; i < body->topics_count; i++) {
        const struct list_offsets_request_list_offsets_topic *asked = &body->topics[i];
        struct list_offsets_response_list_offsets_topic_response *topic = &message.topics[i];
        topic->name = asked->name;
        topic->partitions = codec_array(&list_offsets_response_list_offsets_partition_response_desc,
                                        request->arena, asked->partitions_count);
        topic->partitions_count = asked->partitions_count;
        for (int32_t j = 0; j < asked->partitions_count; j++) {
            list_offset(server, asked->name, body->replica_id < 0, &asked->partitions[j],
                        &topic->partitions[j]);
        }
    }
    reply(client, request, &message);
}

/* ---- CreateTopics, DeleteTopics ---- */

/* Does it want flush.messages=1? That is the only configuration there is. */
static enum err flush_of(const struct create_topics_request_creatable_topic *topic, bool *flush)
{
    *flush = false;
    for (int32_t i = 0; i < topic->configs_count; i++) {
        if (!str_is(topic->configs[i].name, "flush.messages") ||
            !str_is(topic->configs[i].value, "1")) {
            return ERR_INVALID_CONFIG;
        }
        *flush = true;
    }
    return ERR_OK;
}

static enum err create(struct server *server,
                       const struct create_topics_request_creatable_topic *topic)
{
    bool flush;
    if (topic_find(server, topic->name) != NULL) {
        return ERR_TOPIC_ALREADY_EXISTS;
    }
    if (topic->num_partitions < 1 || topic->num_partitions > PARTS_MAX) {
        return ERR_INVALID_PARTITIONS;
    }
    if (topic->replication_factor != 1 && topic->replication_factor != 1 + FLOOR_FOLLOWERS_MAX) {
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    if (flush_of(topic, &flush) != ERR_OK || (flush && topic->replication_factor != 1)) {
        return ERR_INVALID_CONFIG;
    }
    topic_make(server, topic->name, topic->num_partitions, topic->replication_factor, flush);
    if (flush && server->flush == NULL) {
        flush_start(server);
    }
    if (server->upstream != NULL) {
        upstream_ask(server);
    }
    return ERR_OK;
}

static void on_create_topics(struct server *server, struct client *client,
                             const struct request *request,
                             const struct create_topics_request *body)
{
    struct create_topics_response message;
    codec_init(&create_topics_response_desc, &message);
    message.topics = codec_array(&create_topics_response_creatable_topic_result_desc,
                                 request->arena, body->topics_count);
    message.topics_count = body->topics_count;
    for (int32_t i = 0; i < body->topics_count; i++) {
        message.topics[i].name = body->topics[i].name;
        message.topics[i].error_code = err_wire(create(server, &body->topics[i]));
    }
    reply(client, request, &message);
}

static void on_delete_topics(struct server *server, struct client *client,
                             const struct request *request,
                             const struct delete_topics_request *body)
{
    struct delete_topics_response message;
    codec_init(&delete_topics_response_desc, &message);
    message.responses = codec_array(&delete_topics_response_deletable_topic_result_desc,
                                    request->arena, body->topic_names_count);
    message.responses_count = body->topic_names_count;
    for (int32_t i = 0; i < body->topic_names_count; i++) {
        struct topic *topic = topic_find(server, body->topic_names[i]);
        message.responses[i].name = body->topic_names[i];
        if (topic != NULL) {
            topic_delete(server, topic);
        } else {
            message.responses[i].error_code = err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION);
        }
    }
    reply(client, request, &message);
}

bool on_admin(struct server *server, struct client *client, const struct request *request,
              struct bytes in)
{
    union {
        struct api_versions_request api_versions;
        struct init_producer_id_request init_producer_id;
        struct find_coordinator_request find_coordinator;
        struct metadata_request metadata;
        struct list_offsets_request list_offsets;
        struct create_topics_request create_topics;
        struct delete_topics_request delete_topics;
    } body;
    if (request->key == API_API_VERSIONS) {
        on_api_versions(client, request);
        return true;
    }
    if (!floor_speaks(request->key, request->version) ||
        codec_decode(api_find(request->key)->request, request->version, in, request->arena, &body,
                     NULL) != ERR_OK) {
        return false;
    }
    if (request->key == API_INIT_PRODUCER_ID) {
        on_init_producer_id(server, client, request);
    } else if (request->key == API_FIND_COORDINATOR) {
        on_find_coordinator(client, request);
    } else if (request->key == API_METADATA) {
        on_metadata(server, client, request, &body.metadata);
    } else if (request->key == API_LIST_OFFSETS) {
        on_list_offsets(server, client, request, &body.list_offsets);
    } else if (request->key == API_CREATE_TOPICS) {
        on_create_topics(server, client, request, &body.create_topics);
    } else {
        on_delete_topics(server, client, request, &body.delete_topics);
    }
    return true;
}
