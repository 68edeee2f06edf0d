/* Metadata: brokers, topics, partitions and their leaders, and the creation of topics that are
 * asked for and do not exist. Source: Kafka 3.9 in ZooKeeper mode. */
#include <string.h>

#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/client.h"
#include "api/handlers.h"
#include "api/locate.h"
#include "api/names.h"
#include "base/must.h"
#include "config/config.h"

enum {
    /* Without an authorizer every operation is allowed: the bits of all that a topic or the cluster
     * supports. */
    TOPIC_OPERATIONS = 3576,
    CLUSTER_OPERATIONS = 8096,
    OPERATIONS_NOT_ASKED = INT32_MIN,
};

static int32_t *copy_ids(struct req *req, const int32_t *ids, int32_t count)
{
    int32_t *copy = req_array(req, int32_t, count);
    if (count > 0) {
        memcpy(copy, ids, (size_t)count * sizeof(*copy));
    }
    return copy;
}

/* The replicas that are alive and reachable: version 0 lists no others. */
static int32_t keep_live(const struct meta *meta, int32_t *ids, int32_t count)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        if (meta_find_broker(meta, ids[i]) != NULL) {
            ids[kept++] = ids[i];
        }
    }
    return kept;
}

static enum err partition_error(struct req *req, const struct meta *meta,
                                const struct meta_partition *partition)
{
    const struct meta_broker *leader =
        partition->leader >= 0 ? meta_find_broker(meta, partition->leader) : NULL;
    if (leader == NULL) {
        return ERR_LEADER_NOT_AVAILABLE;
    }
    if (meta_broker_endpoint(leader, req->client->listener->name) == NULL) {
        return req->version >= 6 ? ERR_LISTENER_NOT_FOUND : ERR_LEADER_NOT_AVAILABLE;
    }
    return ERR_OK;
}

static void fill_partition(struct req *req, const struct meta *meta,
                           const struct meta_partition *partition,
                           struct metadata_response_metadata_response_partition *out)
{
    enum err err = partition_error(req, meta, partition);
    *out = (struct metadata_response_metadata_response_partition){
        .partition_index = partition->index,
        .leader_id = err == ERR_OK ? partition->leader : -1,
        .leader_epoch = partition->leader_epoch,
        .replica_nodes = copy_ids(req, partition->replicas, partition->replicas_count),
        .replica_nodes_count = partition->replicas_count,
        .isr_nodes = copy_ids(req, partition->isr, partition->isr_count),
        .isr_nodes_count = partition->isr_count,
        .offline_replicas = copy_ids(req, partition->offline, partition->offline_count),
        .offline_replicas_count = partition->offline_count,
    };
    if (req->version == 0) {
        out->replica_nodes_count = keep_live(meta, out->replica_nodes, out->replica_nodes_count);
        out->isr_nodes_count = keep_live(meta, out->isr_nodes, out->isr_nodes_count);
        if (err == ERR_OK && (out->replica_nodes_count < partition->replicas_count ||
                              out->isr_nodes_count < partition->isr_count)) {
            err = ERR_REPLICA_NOT_AVAILABLE;
        }
    }
    out->error_code = err_wire(err);
}

static int32_t topic_operations(struct req *req)
{
    const struct metadata_request *request = req->body;
    return request->include_topic_authorized_operations ? TOPIC_OPERATIONS : OPERATIONS_NOT_ASKED;
}

static void fill_topic(struct req *req, const struct meta *meta, const struct meta_topic *topic,
                       struct metadata_response_metadata_response_topic *out)
{
    *out = (struct metadata_response_metadata_response_topic){
        .name = topic->name,
        .topic_id = topic->id,
        .is_internal = topic_is_internal(topic->name),
        .topic_authorized_operations = topic_operations(req),
        .partitions = req_array(req, struct metadata_response_metadata_response_partition,
                                topic->partitions_count),
        .partitions_count = topic->partitions_count,
    };
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        fill_partition(req, meta, &topic->partitions[i], &out->partitions[i]);
    }
}

static void fill_missing(struct req *req, struct str name, struct uuid id, enum err err,
                         struct metadata_response_metadata_response_topic *out)
{
    *out = (struct metadata_response_metadata_response_topic){
        .name = name,
        .topic_id = id,
        .error_code = err_wire(err),
        .is_internal = name.ptr != NULL && topic_is_internal(name),
        .topic_authorized_operations = topic_operations(req),
    };
}

/* May this request create the topics it names? */
static bool may_create(struct req *req)
{
    const struct metadata_request *request = req->body;
    if (req->version >= 4 && !request->allow_auto_topic_creation) {
        return false;
    }
    return config_reader_bool(&req->netloop->config, KEY_auto_create_topics_enable);
}

static enum err missing_topic_error(struct req *req, const struct meta *meta, struct str name)
{
    if (!topic_name_valid(name)) {
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    if (meta->brokers_count == 0) {
        /* The controller has not told us about the cluster yet: the topic may well exist. Anything
         * but this makes librdkafka fail what waits to be sent. */
        return ERR_LEADER_NOT_AVAILABLE;
    }
    if (!may_create(req)) {
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return admin_auto_create(req->broker->admin, name, meta);
}

static void fill_by_id(struct req *req, const struct meta *meta, struct uuid id,
                       struct metadata_response_metadata_response_topic *out)
{
    const struct meta_topic *topic = meta_find_id(meta, id);
    if (topic != NULL) {
        fill_topic(req, meta, topic, out);
    } else {
        fill_missing(req, STR_NULL, id, ERR_UNKNOWN_TOPIC_ID, out);
    }
}

static void fill_by_name(struct req *req, const struct meta *meta, struct str name,
                         struct metadata_response_metadata_response_topic *out)
{
    const struct meta_topic *topic = meta_find(meta, name);
    if (topic != NULL) {
        fill_topic(req, meta, topic, out);
    } else {
        fill_missing(req, name, (struct uuid){{0}}, missing_topic_error(req, meta, name), out);
    }
}

static void fill_all(struct req *req, const struct meta *meta, struct metadata_response *reply)
{
    reply->topics =
        req_array(req, struct metadata_response_metadata_response_topic, meta->topics_count);
    reply->topics_count = meta->topics_count;
    for (int32_t i = 0; i < meta->topics_count; i++) {
        fill_topic(req, meta, meta->by_name[i], &reply->topics[i]);
    }
}

/* Versions 10 and 11 have the field for ids but may not use it. */
static bool topic_refers_badly(struct req *req,
                               const struct metadata_request_metadata_request_topic *t)
{
    return req->version < 12 && (t->name.ptr == NULL || !uuid_is_zero(t->topic_id));
}

static void fill_one(struct req *req, const struct meta *meta, bool by_id,
                     const struct metadata_request_metadata_request_topic *topic,
                     struct metadata_response_metadata_response_topic *out)
{
    if (topic_refers_badly(req, topic)) {
        struct str name = topic->name.ptr != NULL ? topic->name : STR("");
        fill_missing(req, name, topic->topic_id, ERR_INVALID_REQUEST, out);
    } else if (by_id) {
        fill_by_id(req, meta, topic->topic_id, out);
    } else if (topic->name.ptr == NULL) {
        fill_missing(req, STR_NULL, topic->topic_id, ERR_INVALID_REQUEST, out);
    } else {
        fill_by_name(req, meta, topic->name, out);
    }
}

/* Which topics were named before in the request: those are answered once, as in Kafka. A large
 * topic that is named very often would make an answer without bound. */
static const bool *topics_again(struct req *req, bool by_id)
{
    const struct metadata_request *request = req->body;
    struct str *keys = req_array(req, struct str, request->topics_count);
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct metadata_request_metadata_request_topic *topic = &request->topics[i];
        keys[i] = by_id ? (struct str){(const char *)topic->topic_id.raw, sizeof(topic->topic_id)}
                        : topic->name;
    }
    return names_again(&req->arena, keys, request->topics_count);
}

static void fill_named(struct req *req, const struct meta *meta, struct metadata_response *reply)
{
    const struct metadata_request *request = req->body;
    bool by_id = false;
    for (int32_t i = 0; i < request->topics_count; i++) {
        by_id = by_id || !uuid_is_zero(request->topics[i].topic_id);
    }
    const bool *again = topics_again(req, by_id);
    reply->topics =
        req_array(req, struct metadata_response_metadata_response_topic, request->topics_count);
    for (int32_t i = 0; i < request->topics_count; i++) {
        if (!again[i]) {
            fill_one(req, meta, by_id, &request->topics[i], &reply->topics[reply->topics_count++]);
        }
    }
}

static void fill_brokers(struct req *req, const struct meta *meta, struct metadata_response *reply)
{
    reply->brokers =
        req_array(req, struct metadata_response_metadata_response_broker, meta->brokers_count);
    for (int32_t i = 0; i < meta->brokers_count; i++) {
        const struct meta_broker *broker = &meta->brokers[i];
        const struct meta_endpoint *endpoint =
            meta_broker_endpoint(broker, req->client->listener->name);
        if (endpoint == NULL) {
            continue;
        }
        reply->brokers[reply->brokers_count++] =
            (struct metadata_response_metadata_response_broker){
                .node_id = broker->id,
                .host = str_of(endpoint->host),
                .port = endpoint->port,
                .rack = str_of(broker->rack),
            };
    }
}

void api_metadata(struct req *req)
{
    const struct metadata_request *request = req->body;
    /* Held: creating a topic may refresh the reader's copy under our feet. */
    struct meta *meta = meta_hold(meta_reader_now(&req->netloop->meta));
    struct metadata_response reply = {
        .cluster_id = str_of(req->broker->cluster_id),
        .controller_id = meta->controller_id,
        .cluster_authorized_operations = OPERATIONS_NOT_ASKED,
    };
    fill_brokers(req, meta, &reply);
    bool all = request->topics_count < 0 || (req->version == 0 && request->topics_count == 0);
    if (all) {
        fill_all(req, meta, &reply);
    } else {
        fill_named(req, meta, &reply);
    }
    if (request->include_cluster_authorized_operations) {
        reply.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    req_reply(req, &reply);
    meta_put(meta);
}
