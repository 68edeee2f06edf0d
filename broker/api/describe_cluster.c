/* DescribeCluster. Source: Kafka 3.9 in ZooKeeper mode. */
#include "api/broker.h"
#include "api/client.h"
#include "api/handlers.h"

enum { ENDPOINT_BROKERS = 1, ENDPOINT_CONTROLLERS = 2, CLUSTER_OPERATIONS = 8096 };

static void fill_brokers(struct req *req, const struct meta *meta,
                         struct describe_cluster_response *reply)
{
    reply->brokers = req_array(req, struct describe_cluster_response_describe_cluster_broker,
                               meta->brokers_count);
    for (int32_t i = 0; i < meta->brokers_count; i++) {
        const struct meta_broker *broker = &meta->brokers[i];
        const struct meta_endpoint *endpoint =
            meta_broker_endpoint(broker, req->client->listener->name);
        if (endpoint == NULL) {
            continue;
        }
        reply->brokers[reply->brokers_count++] =
            (struct describe_cluster_response_describe_cluster_broker){
                .broker_id = broker->id,
                .host = str_of(endpoint->host),
                .port = endpoint->port,
                .rack = str_of(broker->rack),
            };
        if (broker->id == meta->controller_id) {
            reply->controller_id = broker->id;
        }
    }
}

void api_describe_cluster(struct req *req)
{
    const struct describe_cluster_request *request = req->body;
    struct describe_cluster_response reply;
    codec_init(&describe_cluster_response_desc, &reply);
    reply.controller_id = -1;
    reply.endpoint_type = request->endpoint_type;
    if (request->endpoint_type != ENDPOINT_BROKERS) {
        bool known = request->endpoint_type == ENDPOINT_CONTROLLERS;
        enum err err = known ? ERR_MISMATCHED_ENDPOINT_TYPE : ERR_UNSUPPORTED_ENDPOINT_TYPE;
        reply.error_code = err_wire(err);
        reply.error_message = STR("This broker answers for broker endpoints (type 1) only.");
        req_reply(req, &reply);
        return;
    }
    reply.cluster_id = str_of(req->broker->cluster_id);
    fill_brokers(req, meta_reader_now(&req->netloop->meta), &reply);
    if (request->include_cluster_authorized_operations) {
        reply.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    req_reply(req, &reply);
}
