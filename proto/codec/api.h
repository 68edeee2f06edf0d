/* api.h: the protocol's APIs, and the headers in front of their messages.
 *
 * A frame is an int32 size, a header, a message. Which version a header has follows from the API
 * key and the version of the message behind it:
 *
 *   request:  0  ControlledShutdown 0 only: no client id
 *             1  messages in the plain form
 *             2  messages in the flexible form: a tagged section follows the client id
 *   response: 0  messages in the plain form, and ApiVersions always, because its reader does not
 *                know yet what the broker speaks
 *             1  messages in the flexible form
 *
 * The rule holds for versions that we do not know, too: an ApiVersions request of a version above
 * ours has a header 2, and is answered in version 0 with UNSUPPORTED_VERSION.
 *
 * Threads: any; nothing here has state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct msg_desc;

/* What Kafka 3.9 speaks. What this broker offers is for broker/api to say. The keys have names
 * (API_FETCH) in codec/messages.h. */
struct api_info {
    int16_t key;
    const char *name;
    int16_t version_min;
    int16_t version_max;
    int16_t flexible_from; /* versions from here on are flexible; INT16_MAX: none is */
    const struct msg_desc *request;
    const struct msg_desc *response;
};

/* All of them, by key: codec_apis[0 .. codec_apis_count - 1]. */
extern const struct api_info codec_apis[];
extern const int codec_apis_count;

/* NULL for a key that Kafka 3.9 does not have. */
const struct api_info *api_find(int16_t key);

/* Versions of the headers around message `version`, which need not be one that we know. */
int16_t api_request_header_version(const struct api_info *api, int16_t version);
int16_t api_response_header_version(const struct api_info *api, int16_t version);

struct request_header_view {
    int16_t api_key;
    int16_t api_version; /* as the peer said; check it before decoding the body */
    int32_t correlation_id;
    struct str client_id; /* points into the frame; may be null; empty where the header has none */
    size_t used;          /* the body begins here */
};

/* Read a request's header from a frame without its size. ERR_UNSUPPORTED_VERSION: the key is
 * unknown, so key, version and correlation id are set but nobody can tell where the body begins;
 * Kafka closes the connection. ERR_MALFORMED: the bytes are no header. */
MUST_USE enum err codec_decode_request_header(struct bytes in, struct request_header_view *out);

/* Append a response's header (without the frame's size). The key must be known. */
void codec_encode_response_header(int16_t api_key, int16_t version, int32_t correlation_id,
                                  struct buf *out);

/* The client's side: for requests between brokers, and tests. client_id may be null, and is at most
 * CODEC_STRING_MAX long (our own, so longer is a bug). */
void codec_encode_request_header(int16_t api_key, int16_t version, int32_t correlation_id,
                                 struct str client_id, struct buf *out);
MUST_USE enum err codec_decode_response_header(int16_t api_key, int16_t version, struct bytes in,
                                               int32_t *correlation_id, size_t *used);
