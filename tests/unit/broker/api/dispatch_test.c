/* From frames to requests: what is not taken costs next to nothing. */
#include <criterion/criterion.h>

#include "../../proto/codec/random_message.h"
#include "api/broker.h"
#include "api/client.h"
#include "api/dispatch.h"
#include "base/log.h"
#include "base/mem.h"
#include "support/fake_stream.h"

/* The arena's first block, which also the empty body of a request is taken from. */
enum { ARENA_BLOCK = 2048 };

static struct loop *loop;
static struct fake_stream fake;
static struct client client;
static struct listener listener = {.name = "TEST"};
static const struct conn_events no_events;

static void world_init(void)
{
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    loop = loop_new("hand", 0, clock_system());
    fake_stream_init(&fake, loop);
    client.listener = &listener;
    client.conn = conn_new(&fake.stream, &no_events, &client);
}

static void world_fini(void)
{
    conn_free(client.conn);
    fake_stream_fini(&fake);
    loop_free(loop);
}

/* Decodes a copy of the frame, so that reading over its end is found. */
static enum err decode(const uint8_t *data, size_t size, size_t *arena_bytes)
{
    struct req req = {.client = &client, .frame = mem_alloc(size), .frame_bytes = size};
    memcpy(req.frame, data, size);
    enum err err = dispatch_decode(&req);
    if (err == ERR_OK && arena_bytes == NULL) {
        cr_assert_not_null(req.api);
    }
    if (arena_bytes != NULL) {
        *arena_bytes = arena_size(&req.arena);
    }
    arena_fini(&req.arena);
    mem_free(req.frame);
    return err;
}

/* The rule: a malformed body closes the connection, and until then nothing is allocated beyond
 * twice the bytes received. */
static void expect_cheap_if_malformed(const uint8_t *data, size_t size)
{
    size_t arena_bytes;
    enum err err = decode(data, size, &arena_bytes);
    if (err != ERR_OK) {
        cr_assert_leq(arena_bytes, 2 * size + ARENA_BLOCK);
    }
}

static void frame_of(struct rng *rng, int16_t key, int16_t version, struct buf *frame)
{
    struct arena arena = {0};
    const struct api_info *api = api_find(key);
    void *body = codec_array(api->request, &arena, 1);
    random_struct(rng, api->request, version, FILL_FULL, &arena, body);
    codec_encode_request_header(key, version, 7, STR("me"), frame);
    cr_assert_eq(codec_encode(api->request, version, body, frame), ERR_OK);
    arena_fini(&arena);
}

/* Every request that is served, in every version: whole, cut short, and with a count that promises
 * two thousand million elements at every place. */
Test(dispatch, malformed_requests_allocate_next_to_nothing, .init = world_init, .fini = world_fini,
     .timeout = 200)
{
    enum { PLACES = 150 };
    struct rng rng;
    rng_seed(&rng, 1);
    for (int32_t i = 0; i < dispatch_count(); i++) {
        struct dispatch_range range = dispatch_range_at(i);
        for (int16_t version = range.version_min; version <= range.version_max; version++) {
            struct buf frame = {0};
            frame_of(&rng, range.key, version, &frame);
            cr_assert_eq(decode(frame.data, frame.size, NULL), ERR_OK, "key %d version %d",
                         range.key, version);
            size_t step = frame.size / PLACES + 1;
            for (size_t at = 0; at < frame.size; at += step) {
                expect_cheap_if_malformed(frame.data, at);
            }
            for (size_t at = 0; at + 4 <= frame.size; at += step) {
                uint8_t kept[4];
                memcpy(kept, frame.data + at, 4);
                be32_put(frame.data + at, 0x7fffffff);
                expect_cheap_if_malformed(frame.data, frame.size);
                be32_put(frame.data + at, 0xffffff7f); /* the same as a varint */
                expect_cheap_if_malformed(frame.data, frame.size);
                memcpy(frame.data + at, kept, 4);
            }
            buf_fini(&frame);
        }
    }
}

/* A large body that is wrong in its last byte only. */
Test(dispatch, a_large_request_that_is_wrong_at_its_end, .init = world_init, .fini = world_fini)
{
    enum { TOPICS = 200000 };
    struct buf frame = {0};
    size_t arena_bytes;
    codec_encode_request_header(API_METADATA, 1, 7, STR("me"), &frame);
    buf_put_be32(&frame, TOPICS);
    for (int i = 0; i < TOPICS; i++) {
        buf_put_be16(&frame, 0); /* empty names */
    }
    cr_assert_eq(decode(frame.data, frame.size, &arena_bytes), ERR_OK);
    cr_assert_gt(arena_bytes, 2 * frame.size, "this would be too much for a malformed one");
    cr_assert_eq(decode(frame.data, frame.size - 1, &arena_bytes), ERR_MALFORMED);
    cr_assert_leq(arena_bytes, ARENA_BLOCK);
    buf_fini(&frame);
}

/* Six bytes of a Produce stand for a partition without records, for which the broker made 480: one
 * frame of 60 MB took 4.8 GB. Of records, which are no parts, a frame may be full. */
Test(dispatch, a_request_of_millions_of_parts_is_refused, .init = world_init, .fini = world_fini)
{
    enum { PARTITIONS = 10000000 };
    struct buf frame = {0};
    size_t arena_bytes;
    codec_encode_request_header(API_PRODUCE, 9, 7, STR("me"), &frame);
    size_t header_size = frame.size;
    static const uint8_t begin[] = {0, 0, 1, 0, 0, 0, 1, 2, 2, 't'}; /* acks, time, one topic */
    static const uint8_t count[] = {0x81, 0xad, 0xe2, 0x04};         /* of partitions, and one */
    buf_put(&frame, begin, sizeof(begin));
    buf_put(&frame, count, sizeof(count));
    memset(buf_extend(&frame, (size_t)PARTITIONS * 6), 0, (size_t)PARTITIONS * 6);
    buf_put(&frame, "\0", 2); /* the topic's and the request's tags */
    cr_assert_eq(decode(frame.data, frame.size, &arena_bytes), ERR_MESSAGE_TOO_LARGE);
    cr_assert_eq(arena_bytes, 0);
    frame.size = header_size;
    static const uint8_t one[] = {2, 0, 0, 0, 0, 0x81, 0xce, 0x95, 0x1c}; /* 59,074,304 bytes */
    buf_put(&frame, begin, sizeof(begin));
    buf_put(&frame, one, sizeof(one));
    memset(buf_extend(&frame, 59074304), 0, 59074304);
    buf_put(&frame, "\0\0", 3); /* and the partition's */
    cr_assert_eq(decode(frame.data, frame.size, &arena_bytes), ERR_OK);
    buf_fini(&frame);
}

Test(dispatch, what_is_not_served_is_refused, .init = world_init, .fini = world_fini)
{
    static const struct {
        int16_t key;
        int16_t version;
        enum err err;
    } cases[] = {
        {API_METADATA, 12, ERR_OK},
        {API_METADATA, 13, ERR_UNSUPPORTED_VERSION},
        {API_METADATA, -1, ERR_UNSUPPORTED_VERSION},
        {API_LEADER_AND_ISR, 7, ERR_UNSUPPORTED_VERSION},
        {API_API_VERSIONS, 99, ERR_OK}, /* answered, with what we know */
        {32000, 0, ERR_UNSUPPORTED_VERSION},
        {-1, 0, ERR_UNSUPPORTED_VERSION},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf frame = {0};
        buf_put_be16(&frame, (uint16_t)cases[i].key);
        buf_put_be16(&frame, (uint16_t)cases[i].version);
        buf_put_be32(&frame, 7);
        buf_put_be16(&frame, 0xffff);
        buf_put(&frame, "\x00\x00\x00\x00\x00\x00", 6);
        cr_assert_eq(decode(frame.data, frame.size, NULL), cases[i].err, "case %zu", i);
        buf_fini(&frame);
    }
    size_t arena_bytes;
    cr_assert_eq(decode((const uint8_t *)"", 0, &arena_bytes), ERR_MALFORMED);
    cr_assert_eq(arena_bytes, 0);
}

/* Brokers' own messages come in on the inter-broker listener only. */
Test(dispatch, control_messages_are_refused_from_clients, .init = world_init, .fini = world_fini)
{
    static const uint8_t frame[] = {0x03, 0xe8, 0, 0, 0, 0, 0, 7, 0, 1, 'b', 8, 1};
    cr_assert_eq(decode(frame, sizeof(frame), NULL), ERR_UNSUPPORTED_VERSION);
    listener.internal = true;
    cr_assert_eq(decode(frame, sizeof(frame), NULL), ERR_OK);
}
