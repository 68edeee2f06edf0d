#include "codec/api.h"

#include "base/must.h"
#include "codec/codec.h"
#include "codec/messages.h"

const struct api_info *api_find(int16_t key)
{
    if (key < 0 || key >= codec_apis_count) {
        return NULL;
    }
    must(codec_apis[key].key == key);
    return &codec_apis[key];
}

int16_t api_request_header_version(const struct api_info *api, int16_t version)
{
    if (api->key == API_CONTROLLED_SHUTDOWN && version == 0) {
        return 0;
    }
    return version >= api->flexible_from ? 2 : 1;
}

int16_t api_response_header_version(const struct api_info *api, int16_t version)
{
    if (api->key == API_API_VERSIONS) {
        return 0;
    }
    return version >= api->flexible_from ? 1 : 0;
}

/* The first eight bytes are the same in every version, and say which one this is. */
enum { HEADER_0_SIZE = 8 };

/* By hand, because each request has one: a client id that is not null, and from version 2 on no
 * tags. False: it is of another kind, or malformed; the tables say which. */
static bool read_usual_header(struct bytes in, int16_t version, struct request_header_view *out)
{
    size_t before = HEADER_0_SIZE + 2;
    if (version < 1 || in.size < before) {
        return false;
    }
    size_t size = be16_get(in.data + HEADER_0_SIZE);
    size_t used = before + size + (version >= 2 ? 1 : 0);
    if (size > CODEC_STRING_MAX || in.size < used || (version >= 2 && in.data[used - 1] != 0)) {
        return false;
    }
    out->client_id = (struct str){(const char *)in.data + before, size};
    out->used = used;
    return true;
}

enum err codec_decode_request_header(struct bytes in, struct request_header_view *out)
{
    if (in.size < HEADER_0_SIZE) {
        return ERR_MALFORMED;
    }
    *out = (struct request_header_view){
        .api_key = (int16_t)be16_get(in.data),
        .api_version = (int16_t)be16_get(in.data + 2),
        .correlation_id = (int32_t)be32_get(in.data + 4),
    };
    const struct api_info *api = api_find(out->api_key);
    if (api == NULL) {
        return ERR_UNSUPPORTED_VERSION;
    }
    struct request_header header;
    int16_t version = api_request_header_version(api, out->api_version);
    if (read_usual_header(in, version, out)) {
        return ERR_OK;
    }
    enum err err = codec_decode(&request_header_desc, version, in, NULL, &header, &out->used);
    out->client_id = header.client_id;
    return err;
}

static void encode_header(const struct msg_desc *desc, int16_t version, const void *header,
                          struct buf *out)
{
    enum err err = codec_encode(desc, version, header, out);
    must(err == ERR_OK);
}

/* By hand, because each reply has one: the id, and from version 1 on the number of tags, 0. */
void codec_encode_response_header(int16_t api_key, int16_t version, int32_t correlation_id,
                                  struct buf *out)
{
    const struct api_info *api = api_find(api_key);
    must(api != NULL);
    bool flexible = api_response_header_version(api, version) > 0;
    uint8_t *to = buf_extend(out, flexible ? 5 : 4);
    be32_put(to, (uint32_t)correlation_id);
    if (flexible) {
        to[4] = 0;
    }
}

void codec_encode_request_header(int16_t api_key, int16_t version, int32_t correlation_id,
                                 struct str client_id, struct buf *out)
{
    const struct api_info *api = api_find(api_key);
    must(api != NULL);
    struct request_header header = {
        .request_api_key = api_key,
        .request_api_version = version,
        .correlation_id = correlation_id,
        .client_id = client_id,
    };
    encode_header(&request_header_desc, api_request_header_version(api, version), &header, out);
}

enum err codec_decode_response_header(int16_t api_key, int16_t version, struct bytes in,
                                      int32_t *correlation_id, size_t *used)
{
    const struct api_info *api = api_find(api_key);
    must(api != NULL);
    struct response_header header;
    int16_t header_version = api_response_header_version(api, version);
    enum err err = codec_decode(&response_header_desc, header_version, in, NULL, &header, used);
    if (err == ERR_OK) {
        *correlation_id = header.correlation_id;
    }
    return err;
}
