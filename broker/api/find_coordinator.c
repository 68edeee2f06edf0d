/* FindCoordinator: the broker that leads the partition a group (or transactional id) is kept in.
 * Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/find_coordinator.h"

#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/client.h"
#include "api/group_common.h"
#include "api/handlers.h"
#include "api/locate.h"
#include "config/config.h"
#include "groups/groups.h"

enum { KEY_TYPE_GROUP = 0, KEY_TYPE_TRANSACTION = 1, KEY_TYPE_SHARE = 2, BATCH_VERSION_MIN = 4 };

struct found {
    enum err err;
    const char *text;
    int32_t node_id;
    struct str host;
    int32_t port;
};

static struct found not_found(enum err err, const char *text)
{
    return (struct found){.err = err, .text = text, .node_id = -1, .host = STR(""), .port = -1};
}

/* Java's abs(hash) % n, where abs of the smallest integer is 0. */
int32_t coordinator_partition(struct str key, int32_t partitions_count)
{
    int32_t hash = str_java_hash(key);
    int32_t positive = hash == INT32_MIN ? 0 : hash < 0 ? -hash : hash;
    return positive % partitions_count;
}

static struct found not_available(void)
{
    return not_found(ERR_COORDINATOR_NOT_AVAILABLE, "The coordinator is not available.");
}

static struct found find_group(struct req *req, struct str group_id)
{
    const struct meta *meta = meta_reader_now(&req->netloop->meta);
    const struct meta_topic *topic = meta_find(meta, STR("__consumer_offsets"));
    if (topic == NULL) {
        enum err err = admin_auto_create(req->broker->admin, STR("__consumer_offsets"), meta);
        (void)err; /* whatever it is, the client is to ask again */
        return not_available();
    }
    int32_t partitions = groups_partitions_count(req->broker->groups);
    if (partitions == 0) {
        return not_available();
    }
    int32_t index = coordinator_partition(group_id, partitions);
    const struct meta_partition *partition = meta_topic_partition(topic, index);
    struct locate_node node;
    int32_t leader = partition != NULL ? partition->leader : -1;
    if (!locate_node(req, leader, &node)) {
        return not_available();
    }
    return (struct found){.node_id = leader, .host = node.host, .port = node.port};
}

static struct found find(struct req *req, int8_t key_type, struct str key)
{
    if (key_type == KEY_TYPE_GROUP) {
        return find_group(req, key);
    }
    if (key_type == KEY_TYPE_SHARE && req->version >= 6) {
        return not_found(ERR_COORDINATOR_NOT_AVAILABLE,
                         "Share groups do not exist in ZooKeeper mode.");
    }
    if (key_type == KEY_TYPE_TRANSACTION) {
        return not_found(ERR_COORDINATOR_NOT_AVAILABLE,
                         "This version of Barnabas does not serve transactions yet.");
    }
    return not_found(ERR_INVALID_REQUEST, "Unknown coordinator key type.");
}

static void reply_batch(struct req *req, const struct find_coordinator_request *request,
                        struct find_coordinator_response *reply)
{
    int32_t count = request->coordinator_keys_count;
    reply->coordinators = req_array(req, struct find_coordinator_response_coordinator, count);
    reply->coordinators_count = count;
    for (int32_t i = 0; i < count; i++) {
        struct found found = find(req, request->key_type, request->coordinator_keys[i]);
        reply->coordinators[i] = (struct find_coordinator_response_coordinator){
            .key = request->coordinator_keys[i],
            .node_id = found.node_id,
            .host = found.host,
            .port = found.port,
            .error_code = err_wire(found.err),
            .error_message = str_of(found.text),
        };
    }
}

void api_find_coordinator(struct req *req)
{
    const struct find_coordinator_request *request = req->body;
    struct find_coordinator_response reply;
    if (!group_request_fits(req, request->coordinator_keys_count)) {
        return;
    }
    codec_init(&find_coordinator_response_desc, &reply);
    if (req->version >= BATCH_VERSION_MIN) {
        reply_batch(req, request, &reply);
    } else {
        struct found found = find(req, request->key_type, request->key);
        reply.error_code = err_wire(found.err);
        reply.error_message = str_of(found.text);
        reply.node_id = found.node_id;
        reply.host = found.host;
        reply.port = found.port;
    }
    req_reply(req, &reply);
}
