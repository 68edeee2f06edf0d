/* The table of APIs, and headers. */
#include <criterion/criterion.h>

#include "base/rng.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"

Test(codec_api, the_table_knows_every_api_by_its_key)
{
    /* Keys without gaps, each with a request and a response that have the versions it states. */
    cr_assert_eq(codec_apis_count, 88);
    for (int16_t key = 0; key < codec_apis_count; key++) {
        const struct api_info *api = api_find(key);
        cr_assert_eq(api->key, key);
        cr_assert(codec_has_version(api->request, api->version_min));
        cr_assert(codec_has_version(api->request, api->version_max));
        cr_assert_not(codec_has_version(api->request, api->version_max + 1));
        cr_assert(codec_has_version(api->response, api->version_max));
        cr_assert_not(codec_has_version(api->response, api->version_max + 1));
    }
    cr_assert_null(api_find(-1));
    cr_assert_null(api_find(88));
    cr_assert_str_eq(api_find(API_FETCH)->name, "Fetch");
    cr_assert_eq(api_find(API_FETCH)->version_max, 17);
    cr_assert_eq(api_find(API_FETCH)->flexible_from, 12);
    cr_assert_eq(api_find(API_SASL_HANDSHAKE)->flexible_from, INT16_MAX);
}

Test(codec_api, header_versions_follow_from_key_and_version)
{
    const struct api_info *fetch = api_find(API_FETCH);
    cr_assert_eq(api_request_header_version(fetch, 11), 1);
    cr_assert_eq(api_request_header_version(fetch, 12), 2);
    cr_assert_eq(api_response_header_version(fetch, 11), 0);
    cr_assert_eq(api_response_header_version(fetch, 12), 1);
    const struct api_info *shutdown = api_find(API_CONTROLLED_SHUTDOWN);
    cr_assert_eq(api_request_header_version(shutdown, 0), 0);
    cr_assert_eq(api_request_header_version(shutdown, 1), 1);
    cr_assert_eq(api_request_header_version(shutdown, 3), 2);
    const struct api_info *versions = api_find(API_API_VERSIONS);
    cr_assert_eq(api_request_header_version(versions, 99), 2);
    for (int16_t version = 0; version < 6; version++) {
        cr_assert_eq(api_response_header_version(versions, version), 0);
    }
}

Test(codec_api, request_headers_come_back_as_written)
{
    /* Every API and version: what the client writes the broker reads, and the body begins behind.
     */
    for (int16_t key = 0; key < codec_apis_count; key++) {
        const struct api_info *api = api_find(key);
        for (int16_t version = api->version_min; version <= api->version_max; version++) {
            struct buf out = {0};
            codec_encode_request_header(key, version, 77, STR("me"), &out);
            struct request_header_view view;
            struct bytes in = {out.data, out.size};
            cr_assert_eq(codec_decode_request_header(in, &view), ERR_OK);
            cr_assert_eq(view.api_key, key);
            cr_assert_eq(view.api_version, version);
            cr_assert_eq(view.correlation_id, 77);
            bool named = key != API_CONTROLLED_SHUTDOWN || version > 0;
            cr_assert(str_is(view.client_id, named ? "me" : ""));
            cr_assert_eq(view.used, out.size);
            for (size_t size = 0; size < out.size; size++) {
                in.size = size;
                cr_assert_eq(codec_decode_request_header(in, &view), ERR_MALFORMED);
            }
            buf_fini(&out);
        }
    }
}

Test(codec_api, a_request_header_has_these_bytes)
{
    /* Header 2 keeps the client id's plain length and adds a tagged section; null stays null. */
    static const uint8_t header_2[] = {0, 18, 0, 3, 0, 0, 0, 9, 0, 2, 'a', 'b', 0};
    struct buf out = {0};
    codec_encode_request_header(API_API_VERSIONS, 3, 9, STR("ab"), &out);
    cr_assert_eq(out.size, sizeof(header_2));
    cr_assert_eq(memcmp(out.data, header_2, sizeof(header_2)), 0);
    static const uint8_t header_1[] = {0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff};
    buf_clear(&out);
    codec_encode_request_header(API_METADATA, 1, 9, STR_NULL, &out);
    cr_assert_eq(out.size, sizeof(header_1));
    cr_assert_eq(memcmp(out.data, header_1, sizeof(header_1)), 0);
    struct request_header_view view;
    cr_assert_eq(codec_decode_request_header((struct bytes){out.data, out.size}, &view), ERR_OK);
    cr_assert_null(view.client_id.ptr);
    buf_fini(&out);
}

Test(codec_api, a_usual_request_header_is_read_as_the_tables_read_it)
{
    /* Bytes of all kinds behind the first eight: id, null, lengths that lie, tags. */
    struct rng rng;
    rng_seed(&rng, 20261126);
    int good = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t wire[24] = {0, API_METADATA, 0, (uint8_t)(rng_below(&rng, 2) * 9), 0, 0, 0, 5};
        static const uint8_t kinds[] = {0, 1, 2, 5, 0x7f, 0x80, 0xff};
        for (size_t at = 8; at < sizeof(wire); at++) {
            wire[at] = kinds[rng_below(&rng, at == 8 ? 2 : sizeof(kinds))];
        }
        struct bytes in = {wire, 8 + rng_below(&rng, sizeof(wire) - 7)};
        struct request_header_view view;
        struct request_header header;
        size_t used;
        int16_t version = wire[3] == 9 ? 2 : 1;
        enum err err = codec_decode(&request_header_desc, version, in, NULL, &header, &used);
        cr_assert_eq(codec_decode_request_header(in, &view), err);
        if (err == ERR_OK) {
            cr_assert(str_eq(view.client_id, header.client_id));
            cr_assert_eq(view.used, used);
            good++;
        }
    }
    cr_assert_gt(good, 1000);
}

Test(codec_api, an_unknown_key_is_told_from_malformed_bytes)
{
    /* The caller can name key and correlation id in its log before it closes the connection. */
    static const uint8_t unknown[] = {0, 99, 0, 1, 0, 0, 0, 5, 0, 0};
    struct request_header_view view;
    cr_assert_eq(codec_decode_request_header((struct bytes){unknown, sizeof(unknown)}, &view),
                 ERR_UNSUPPORTED_VERSION);
    cr_assert_eq(view.api_key, 99);
    cr_assert_eq(view.correlation_id, 5);
    cr_assert_eq(codec_decode_request_header((struct bytes){unknown, 7}, &view), ERR_MALFORMED);
}

Test(codec_api, versions_we_do_not_know_still_have_headers)
{
    /* A client from the future asks for ApiVersions 60: its header is read, tags and all. */
    static const uint8_t wire[] = {0, 18, 0, 60, 0, 0, 0, 5, 0, 1, 'c', 1, 9, 1, 0xee, 0x77};
    struct request_header_view view;
    cr_assert_eq(codec_decode_request_header((struct bytes){wire, sizeof(wire)}, &view), ERR_OK);
    cr_assert_eq(view.api_version, 60);
    cr_assert_eq(view.used, sizeof(wire) - 1);
    cr_assert(str_is(view.client_id, "c"));
}

Test(codec_api, response_headers_come_back_as_written)
{
    for (int16_t key = 0; key < codec_apis_count; key++) {
        const struct api_info *api = api_find(key);
        for (int16_t version = api->version_min; version <= api->version_max; version++) {
            struct buf out = {0};
            codec_encode_response_header(key, version, -5, &out);
            bool tags = version >= api->flexible_from && key != API_API_VERSIONS;
            cr_assert_eq(out.size, tags ? 5 : 4);
            int32_t correlation_id = 0;
            size_t used = 0;
            cr_assert_eq(codec_decode_response_header(key, version,
                                                      (struct bytes){out.data, out.size},
                                                      &correlation_id, &used),
                         ERR_OK);
            cr_assert_eq(correlation_id, -5);
            cr_assert_eq(used, out.size);
            buf_fini(&out);
        }
    }
}
