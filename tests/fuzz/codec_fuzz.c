/* codec_fuzz.c: the decoder of every version of every message, and of request headers.
 *
 * Input: two bytes that choose the message (behind the last one: a request's header), one that
 * chooses its version, then the bytes to decode. What must hold:
 *   - malformed bytes allocate nothing, and measure says the same as decode;
 *   - memory is at most CODEC_EXPANSION_MAX times the input;
 *   - what was decoded can be encoded, decodes to an equal message, and encodes to the same bytes;
 *   - a spliced encoding lacks exactly the records. */
#include <string.h>

#include "base/must.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/desc.h"
#include "codec/messages.h"

static void count_records(void *arg, const struct bytes *field, size_t out_offset)
{
    (void)out_offset;
    *(size_t *)arg += field->size;
}

static void check_encoding(const struct msg_desc *desc, int16_t version, const void *msg,
                           struct arena *arena)
{
    struct buf wire = {0};
    struct buf again = {0};
    struct buf spliced = {0};
    size_t size;
    size_t records = 0;
    must(codec_encode(desc, version, msg, &wire) == ERR_OK);
    must(codec_size(desc, version, msg, &size) == ERR_OK && size == wire.size);

    void *back = arena_alloc(arena, desc->size);
    size_t used;
    struct bytes in = {wire.data, wire.size};
    must(codec_decode(desc, version, in, arena, back, &used) == ERR_OK && used == wire.size);
    must(codec_equal(desc, msg, back));
    must(codec_encode(desc, version, back, &again) == ERR_OK && again.size == wire.size);
    must(wire.size == 0 || memcmp(wire.data, again.data, wire.size) == 0);
    must(codec_encode_spliced(desc, version, msg, &spliced, count_records, &records) == ERR_OK);
    must(spliced.size + records == wire.size);
    buf_fini(&wire);
    buf_fini(&again);
    buf_fini(&spliced);
}

static void check_message(const struct msg_desc *desc, int16_t version, struct bytes in)
{
    struct arena arena = {0};
    struct arena made = {0};
    void *msg = arena_alloc(&made, desc->size);
    size_t used = 0;
    size_t memory = 0;
    enum err measured = codec_measure(desc, version, in, &memory, NULL);
    enum err err = codec_decode(desc, version, in, &arena, msg, &used);
    must(err == measured);
    if (err == ERR_OK) {
        must(used <= in.size);
        must(memory <= CODEC_EXPANSION_MAX * in.size);
        struct buf text = {0};
        codec_print(desc, version, msg, &text);
        buf_fini(&text);
        check_encoding(desc, version, msg, &made);
    } else {
        must(err == ERR_MALFORMED);
        must(arena_size(&arena) == 0);
    }
    arena_fini(&arena);
    arena_fini(&made);
}

static void check_header(struct bytes in)
{
    struct request_header_view view;
    if (codec_decode_request_header(in, &view) == ERR_OK) {
        must(view.used <= in.size);
        struct buf out = {0};
        codec_encode_request_header(view.api_key, view.api_version, view.correlation_id,
                                    view.client_id, &out);
        must(out.size <= view.used); /* unknown tags are not repeated */
        buf_fini(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    int index = be16_get(data) % (codec_messages_count + 1);
    struct bytes in = {data + 3, size - 3};
    if (index == codec_messages_count) {
        check_header(in);
        return 0;
    }
    const struct msg_desc *desc = codec_messages[index];
    int versions = desc->versions.last - desc->versions.first + 1;
    check_message(desc, (int16_t)(desc->versions.first + data[2] % versions), in);
    return 0;
}
