/* decompress_fuzz.c: any bytes as compressed data, in each codec.
 *
 * Input: one byte for the codec, two for the bound, then the bytes. The bound holds to the byte,
 * the result does not depend on it, and compressing the result gives it back. */
#include "base/must.h"
#include "record/compress_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct buf *a, const struct buf *b)
{
    must(a->size == b->size);
    must(a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static void check_bounds(enum compress_codec codec, struct bytes in, const struct buf *content)
{
    struct buf again = {0};
    must(record_decompress(codec, in, content->size, &again) == ERR_OK);
    check_same(content, &again);
    if (content->size > 0) {
        must(record_decompress(codec, in, content->size - 1, &again) == ERR_MESSAGE_TOO_LARGE);
        must(again.size == content->size);
    }
    buf_fini(&again);
}

static void check_round_trip(enum compress_codec codec, const struct buf *content)
{
    struct buf packed = {0};
    struct buf again = {0};
    must(record_compress(codec, 1, (struct bytes){content->data, content->size}, &packed) ==
         ERR_OK);
    must(record_decompress(codec, (struct bytes){packed.data, packed.size}, content->size,
                           &again) == ERR_OK);
    check_same(content, &again);
    buf_fini(&packed);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    enum compress_codec codec = (enum compress_codec)(data[0] % COMPRESS_COUNT);
    size_t bound = (size_t)be16_get(data + 1) * 16;
    struct bytes in = {data + 3, size - 3};
    struct buf content = {0};
    enum err err = record_decompress(codec, in, bound, &content);
    must(err == ERR_OK || err == ERR_CORRUPT || err == ERR_MESSAGE_TOO_LARGE);
    must(content.size <= bound);
    must(err == ERR_OK || content.size == 0);
    if (err == ERR_OK) {
        check_bounds(codec, in, &content);
        check_round_trip(codec, &content);
    }
    buf_clear(&content);
    err = record_decompress_v0(codec, in, bound, &content);
    must(err == ERR_OK || err == ERR_CORRUPT || err == ERR_MESSAGE_TOO_LARGE);
    buf_fini(&content);
    return 0;
}
