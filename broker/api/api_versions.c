/* ApiVersions: what this broker serves. Source: Kafka 3.9 in ZooKeeper mode, KIP-511. */
#include <ctype.h>
#include <stdio.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/dispatch.h"
#include "api/handlers.h"

static bool is_alnum(char c)
{
    return isalnum((unsigned char)c) != 0;
}

/* [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])? */
static bool software_text_valid(struct str text)
{
    if (text.size == 0 || !is_alnum(text.ptr[0]) || !is_alnum(text.ptr[text.size - 1])) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!is_alnum(text.ptr[i]) && text.ptr[i] != '-' && text.ptr[i] != '.') {
            return false;
        }
    }
    return true;
}

static void fill_keys(struct req *req, struct api_versions_response *reply)
{
    int32_t count = dispatch_count();
    reply->api_keys = req_array(req, struct api_versions_response_api_version, count);
    reply->api_keys_count = count;
    for (int32_t i = 0; i < count; i++) {
        struct dispatch_range range = dispatch_range_at(i);
        reply->api_keys[i] = (struct api_versions_response_api_version){
            .api_key = range.key,
            .min_version = range.version_min,
            .max_version = range.version_max,
        };
    }
}

/* A version above ours: answered in version 0, naming only our own range of ApiVersions. */
static void reply_unsupported(struct req *req, struct api_versions_response *reply)
{
    for (int32_t i = 0; i < dispatch_count(); i++) {
        struct dispatch_range range = dispatch_range_at(i);
        if (range.key == API_API_VERSIONS) {
            reply->api_keys = req_new(req, struct api_versions_response_api_version);
            reply->api_keys->api_key = range.key;
            reply->api_keys->min_version = range.version_min;
            reply->api_keys->max_version = range.version_max;
            reply->api_keys_count = 1;
        }
    }
    reply->error_code = err_wire(ERR_UNSUPPORTED_VERSION);
    req->version = 0;
    req_reply(req, reply);
}

void api_api_versions(struct req *req)
{
    struct api_versions_response reply;
    codec_init(&api_versions_response_desc, &reply);
    if (req->body == NULL) {
        reply_unsupported(req, &reply);
        return;
    }
    const struct api_versions_request *request = req->body;
    if (req->version >= 3 && (!software_text_valid(request->client_software_name) ||
                              !software_text_valid(request->client_software_version))) {
        reply.error_code = err_wire(ERR_INVALID_REQUEST);
        req_reply(req, &reply);
        return;
    }
    fill_keys(req, &reply);
    reply.finalized_features_epoch = atomic_load(&req->broker->feature_epoch);
    req_reply(req, &reply);
}
