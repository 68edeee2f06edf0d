#include "api/dispatch.h"

#include <inttypes.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "base/log.h"
#include "base/must.h"
#include "control/control.h"

#define LOGGER "kafka.network.RequestChannel"

enum dispatch_flags {
    TWO_STAGE = 1, /* the next one of these may start while this one waits */
};

/* Stands for the private key that carries control messages; its bodies are protobuf. */
static const struct api_info control_api = {.key = CONTROL_API_KEY, .name = "Control"};

struct dispatch_entry {
    int16_t key;
    int16_t version_min;
    int16_t version_max;
    int flags;
    void (*handler)(struct req *req);
};

/* Versions that are offered but answered with an error (old message sets, offsets in ZooKeeper) are
 * the minima that clients insist on: they probe for them before they use newer ones. */
static const struct dispatch_entry entries[] = {
    {API_PRODUCE, 0, 11, TWO_STAGE, api_produce},
    {API_FETCH, 0, 17, 0, api_fetch},
    {API_LIST_OFFSETS, 0, 9, 0, api_list_offsets},
    {API_METADATA, 0, 12, 0, api_metadata},
    {API_OFFSET_COMMIT, 0, 9, TWO_STAGE, api_offset_commit},
    {API_OFFSET_FETCH, 0, 9, 0, api_offset_fetch},
    {API_FIND_COORDINATOR, 0, 6, 0, api_find_coordinator},
    {API_JOIN_GROUP, 0, 9, 0, api_join_group},
    {API_HEARTBEAT, 0, 4, 0, api_heartbeat},
    {API_LEAVE_GROUP, 0, 5, 0, api_leave_group},
    {API_SYNC_GROUP, 0, 5, TWO_STAGE, api_sync_group},
    {API_DESCRIBE_GROUPS, 0, 5, 0, api_describe_groups},
    {API_LIST_GROUPS, 0, 5, 0, api_list_groups},
    {API_API_VERSIONS, 0, 4, 0, api_api_versions},
    {API_CREATE_TOPICS, 0, 7, 0, api_create_topics},
    {API_DELETE_TOPICS, 0, 6, 0, api_delete_topics},
    {API_DELETE_RECORDS, 0, 2, 0, api_delete_records},
    {API_INIT_PRODUCER_ID, 0, 5, 0, api_init_producer_id},
    {API_OFFSET_FOR_LEADER_EPOCH, 0, 4, 0, api_offset_for_leader_epoch},
    {API_DESCRIBE_CONFIGS, 0, 4, 0, api_describe_configs},
    {API_ALTER_CONFIGS, 0, 2, 0, api_alter_configs},
    {API_ALTER_REPLICA_LOG_DIRS, 0, 2, 0, api_alter_replica_log_dirs},
    {API_DESCRIBE_LOG_DIRS, 0, 4, 0, api_describe_log_dirs},
    {API_CREATE_PARTITIONS, 0, 3, 0, api_create_partitions},
    {API_DELETE_GROUPS, 0, 2, 0, api_delete_groups},
    {API_ELECT_LEADERS, 0, 2, 0, api_elect_leaders},
    {API_INCREMENTAL_ALTER_CONFIGS, 0, 1, 0, api_incremental_alter_configs},
    {API_ALTER_PARTITION_REASSIGNMENTS, 0, 0, 0, api_alter_partition_reassignments},
    {API_LIST_PARTITION_REASSIGNMENTS, 0, 0, 0, api_list_partition_reassignments},
    {API_OFFSET_DELETE, 0, 0, 0, api_offset_delete},
    {API_DESCRIBE_CLUSTER, 0, 1, 0, api_describe_cluster},
};

enum { ENTRIES_COUNT = sizeof(entries) / sizeof(entries[0]) };

static const struct dispatch_entry *entry_find(int16_t key)
{
    for (int i = 0; i < ENTRIES_COUNT; i++) {
        if (entries[i].key == key) {
            return &entries[i];
        }
    }
    return NULL;
}

bool dispatch_is_two_stage(int16_t api_key)
{
    const struct dispatch_entry *entry = entry_find(api_key);
    return entry != NULL && (entry->flags & TWO_STAGE) != 0;
}

int32_t dispatch_count(void)
{
    return ENTRIES_COUNT;
}

struct dispatch_range dispatch_range_at(int32_t index)
{
    must(index >= 0);
    must(index < ENTRIES_COUNT);
    const struct dispatch_entry *entry = &entries[index];
    return (struct dispatch_range){entry->key, entry->version_min, entry->version_max};
}

bool dispatch_serves(int16_t key, int16_t version)
{
    const struct dispatch_entry *entry = entry_find(key);
    return entry != NULL && version >= entry->version_min && version <= entry->version_max;
}

static void report(struct req *req, const char *event, int16_t key, int16_t version)
{
    static struct log_limit limit;
    struct net_name peer;
    log_limited(&limit, LOG_WARN, LOGGER, event,
                "%s sent a request with API key %" PRId16 " version %" PRId16
                " on listener %s; connection closed.",
                conn_peer(req->client->conn, &peer), key, version, req->client->listener->name);
}

/* A control message travels in a frame with an ordinary request header and protobuf behind it. Only
 * peers on the inter-broker listener may send one. */
static enum err decode_control(struct req *req, struct bytes frame)
{
    struct request_header header;
    size_t used;
    enum err err = codec_decode(&request_header_desc, 1, frame, NULL, &header, &used);
    if (err != ERR_OK) {
        return err;
    }
    if (!req->client->listener->internal || header.request_api_version != CONTROL_API_VERSION) {
        report(req, "control message refused", header.request_api_key, header.request_api_version);
        return ERR_UNSUPPORTED_VERSION;
    }
    req->correlation_id = header.correlation_id;
    struct bytes *body = req_new(req, struct bytes);
    *body = (struct bytes){frame.data + used, frame.size - used};
    req->body = body;
    req->api = &control_api;
    return ERR_OK;
}

/* ApiVersions of a version that we do not know is answered, not refused, and its body is not read.
 */
static bool is_unknown_api_versions(int16_t key, int16_t version)
{
    return key == API_API_VERSIONS && !dispatch_serves(key, version);
}

_Static_assert((int)REQUEST_DECODED_MAX_BYTES / CODEC_EXPANSION_MAX <= (int)REQUEST_PARTS_MAX,
               "smaller requests are not looked at: a part is a byte at least");

/* Few bytes can stand for very many parts (limits.h). Of the frames only large ones are looked at
 * twice for that; records are no parts. */
static enum err check_parts(const struct req *req, struct bytes body)
{
    size_t decoded = 0;
    size_t parts = 0;
    if (body.size <= REQUEST_DECODED_MAX_BYTES / CODEC_EXPANSION_MAX) {
        return ERR_OK;
    }
    enum err err = codec_measure(req->api->request, req->version, body, &decoded, &parts);
    bool fits = decoded <= REQUEST_DECODED_MAX_BYTES && parts <= REQUEST_PARTS_MAX;
    return err == ERR_OK && !fits ? ERR_MESSAGE_TOO_LARGE : err;
}

enum err dispatch_decode(struct req *req)
{
    struct bytes frame = {req->frame, req->frame_bytes};
    if (frame.size >= 2 && be16_get(frame.data) == CONTROL_API_KEY) {
        return decode_control(req, frame);
    }
    struct request_header_view header;
    enum err err = codec_decode_request_header(frame, &header);
    if (err == ERR_MALFORMED) {
        report(req, "malformed request header", -1, -1);
        return err;
    }
    req->version = header.api_version;
    req->correlation_id = header.correlation_id;
    req->client_id = header.client_id;
    req->api = api_find(header.api_key);
    if (req->api != NULL && is_unknown_api_versions(header.api_key, header.api_version)) {
        return ERR_OK;
    }
    if (req->api == NULL || !dispatch_serves(header.api_key, header.api_version)) {
        report(req, "unsupported request", header.api_key, header.api_version);
        return ERR_UNSUPPORTED_VERSION;
    }
    struct bytes encoded = {req->frame + header.used, req->frame_bytes - header.used};
    err = check_parts(req, encoded);
    if (err == ERR_MESSAGE_TOO_LARGE) {
        report(req, "request of too many parts", header.api_key, header.api_version);
        return err;
    }
    void *body = codec_array(req->api->request, &req->arena, 1);
    size_t used;
    err = codec_decode(req->api->request, req->version, encoded, &req->arena, body, &used);
    if (err != ERR_OK) {
        report(req, "malformed request", header.api_key, header.api_version);
        return err;
    }
    req->body = body;
    return ERR_OK;
}

bool dispatch_is_control(const struct req *req)
{
    return req->api == &control_api;
}

void dispatch_run(struct req *req)
{
    if (req->api == &control_api) {
        api_control(req);
        return;
    }
    const struct dispatch_entry *entry = entry_find(req->api->key);
    must(entry != NULL);
    entry->handler(req);
}
