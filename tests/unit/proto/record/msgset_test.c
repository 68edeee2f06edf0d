/* Message sets of magic 0 and 1, beyond the golden ones: headers, damage, wrappers and their rules.
 */
#include "golden.h"
#include "support.h"

enum { INFLATED_MAX = 1 << 16 };

/* A message; `value` may be a compressed set. */
static void put_message(struct buf *out, int magic, int attributes, int64_t offset,
                        int64_t timestamp_ms, struct bytes key, struct bytes value)
{
    size_t begin = out->size;
    buf_put_be64(out, (uint64_t)offset);
    buf_put_be64(out, 0); /* size and CRC */
    buf_put_byte(out, (uint8_t)magic);
    buf_put_byte(out, (uint8_t)attributes);
    if (magic > 0) {
        buf_put_be64(out, (uint64_t)timestamp_ms);
    }
    struct bytes parts[] = {key, value};
    for (int i = 0; i < 2; i++) {
        buf_put_be32(out, parts[i].data == NULL ? 0xffffffffu : (uint32_t)parts[i].size);
        buf_put(out, parts[i].data, parts[i].size);
    }
    be32_put(out->data + begin + MSGSET_AT_SIZE, (uint32_t)(out->size - begin - 12));
    be32_put(out->data + begin + MSGSET_AT_CRC,
             crc32_zlib((struct bytes){out->data + begin + MSGSET_AT_MAGIC,
                                       out->size - begin - MSGSET_AT_MAGIC}));
}

static void put_wrapper(struct buf *out, int magic, int attributes, int64_t offset,
                        int64_t timestamp_ms, const struct buf *inner)
{
    struct buf packed = {0};
    enum compress_codec codec = (enum compress_codec)(attributes & BATCH_ATTR_CODEC);
    EXPECT_OK(record_compress(codec, COMPRESS_LEVEL_DEFAULT, bytes_of(inner), &packed));
    put_message(out, magic, attributes, offset, timestamp_ms, text(NULL), bytes_of(&packed));
    buf_fini(&packed);
}

struct seen {
    int count;
    int64_t offsets[8];
    int64_t timestamps[8];
};

static enum err read_all(struct bytes set, struct seen *seen)
{
    struct buf inflated = {0};
    struct msgset_iter it;
    struct record record;
    struct bytes exact = exact_copy(set);
    *seen = (struct seen){0};
    msgset_iter_init(&it, exact, INFLATED_MAX, &inflated);
    while (msgset_iter_next(&it, &record)) {
        cr_assert_lt(seen->count, 8);
        seen->offsets[seen->count] = record.offset;
        seen->timestamps[seen->count++] = record.timestamp_ms;
        cr_assert_eq(record.header_count, 0);
    }
    buf_fini(&inflated);
    mem_free((void *)exact.data);
    return msgset_iter_end(&it);
}

Test(msgset, headers_look_like_those_of_batches)
{
    /* Size, offset, times and codec through the same accessors; what old formats lack is -1. */
    struct buf set = {0};
    struct batch_header header;
    put_message(&set, 1, 8, 70, 1234, text("k"), text("v"));
    EXPECT_OK(entry_read_header((struct bytes){set.data, MSGSET_HEADER_SIZE_V1}, &header));
    EXPECT_ERR(entry_read_header((struct bytes){set.data, MSGSET_HEADER_SIZE_V1 - 1}, &header),
               ERR_AGAIN);
    cr_assert_eq(batch_size_bytes(&header), set.size);
    cr_assert_eq(header.base_offset, 70);
    cr_assert_eq(batch_last_offset(&header), 70);
    cr_assert_eq(header.max_timestamp_ms, 1234);
    cr_assert_eq(batch_timestamp_type(&header), BATCH_LOG_APPEND_TIME);
    cr_assert_eq(header.leader_epoch, -1);
    cr_assert_not(batch_has_producer(&header));
    cr_assert_not(batch_is_control(&header));
    cr_assert_eq(batch_last_sequence(&header), BATCH_NONE);

    buf_clear(&set);
    put_message(&set, 0, 0xf8, 71, 0, text("k"), text("v")); /* bits that magic 0 does not have */
    EXPECT_OK(entry_read_header((struct bytes){set.data, MSGSET_HEADER_SIZE_V0}, &header));
    EXPECT_ERR(entry_read_header((struct bytes){set.data, MSGSET_HEADER_SIZE_V0 - 1}, &header),
               ERR_AGAIN);
    cr_assert_eq(header.max_timestamp_ms, -1);
    cr_assert_eq(header.attributes, 0);
    EXPECT_OK(entry_check_crc(bytes_of(&set)));
    buf_fini(&set);
}

Test(msgset, impossible_sizes_and_magics_are_corrupt)
{
    /* As early as the field is there. */
    struct buf set = {0};
    struct batch_header header;
    put_message(&set, 1, 0, 70, 1234, text(NULL), text(NULL));
    const uint32_t sizes[] = {0, 13, 21, 0x7ffffff4u, 0xffffffffu};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        be32_put(set.data + MSGSET_AT_SIZE, sizes[i]);
        EXPECT_ERR(entry_read_header(bytes_of(&set), &header), ERR_CORRUPT);
    }
    be32_put(set.data + MSGSET_AT_SIZE, 22);
    EXPECT_OK(entry_read_header(bytes_of(&set), &header));
    set.data[MSGSET_AT_MAGIC] = 3;
    EXPECT_ERR(entry_read_header(bytes_of(&set), &header), ERR_CORRUPT);
    set.data[MSGSET_AT_MAGIC] = 0xff;
    EXPECT_ERR(entry_read_header(bytes_of(&set), &header), ERR_CORRUPT);
    buf_fini(&set);
}

Test(msgset, crc_covers_everything_behind_it)
{
    /* Every bit but those of the offset; a size that grew is not there, one that shrank is wrong.
     */
    struct buf set = {0};
    put_message(&set, 1, 0, 70, 1234, text("key"), text("value"));
    EXPECT_OK(entry_check_crc(bytes_of(&set)));
    for (size_t bit = 0; bit < set.size * 8; bit++) {
        set.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        EXPECT_ERR(entry_check_crc(bytes_of(&set)), bit / 8 < 8 ? ERR_OK : ERR_CORRUPT);
        set.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_fini(&set);
}

Test(msgset, ends_quietly_where_it_is_cut)
{
    /* Fetch responses of old end within an entry: whole messages before the cut, no error. */
    struct buf set = {0};
    struct seen seen;
    put_message(&set, 0, 0, 1, 0, text("a"), text("b"));
    size_t first = set.size;
    put_message(&set, 1, 0, 2, 5, text("c"), text("d"));
    for (size_t size = 0; size < set.size; size++) {
        EXPECT_OK(read_all((struct bytes){set.data, size}, &seen));
        cr_assert_eq(seen.count, size < first ? 0 : 1);
    }
    EXPECT_OK(read_all(bytes_of(&set), &seen));
    cr_assert_eq(seen.count, 2);
    buf_fini(&set);
}

Test(msgset, gives_a_wrapper_append_time_to_its_messages)
{
    /* Their own times do not count then. */
    struct buf inner = {0};
    struct buf set = {0};
    struct seen seen;
    put_message(&inner, 1, 0, 0, 5, text("a"), text("b"));
    put_message(&inner, 1, 0, 1, 6, text("a"), text("b"));
    put_wrapper(&set, 1, COMPRESS_GZIP | 8, 101, 1000, &inner);
    EXPECT_OK(read_all(bytes_of(&set), &seen));
    cr_assert_eq(seen.count, 2);
    cr_assert_eq(seen.offsets[0], 100);
    cr_assert_eq(seen.offsets[1], 101);
    cr_assert_eq(seen.timestamps[0], 1000);
    cr_assert_eq(seen.timestamps[1], 1000);
    buf_fini(&inner);
    buf_fini(&set);
}

Test(msgset, takes_wrapper_offset_zero_as_base_zero)
{
    /* Some versions of librdkafka left it 0. */
    struct buf inner = {0};
    struct buf set = {0};
    struct seen seen;
    put_message(&inner, 1, 0, 0, 5, text("a"), text("b"));
    put_message(&inner, 1, 0, 1, 6, text("a"), text("b"));
    put_wrapper(&set, 1, COMPRESS_SNAPPY, 0, 6, &inner);
    put_message(&set, 1, 0, 2, 7, text("a"), text("b"));
    EXPECT_OK(read_all(bytes_of(&set), &seen));
    cr_assert_eq(seen.count, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(seen.offsets[i], i);
        cr_assert_eq(seen.timestamps[i], 5 + i);
    }
    buf_fini(&inner);
    buf_fini(&set);
}

/* A set with one good message and then this wrapper. */
static void expect_wrapper_err(int magic, int attributes, int64_t offset, const struct buf *inner,
                               enum err wanted)
{
    struct buf set = {0};
    struct seen seen;
    put_message(&set, 1, 0, 3, 5, text("a"), text("b"));
    put_wrapper(&set, magic, attributes, offset, 5, inner);
    EXPECT_ERR(read_all(bytes_of(&set), &seen), wanted);
    cr_assert_eq(seen.count, 1);
    buf_fini(&set);
}

Test(msgset, refuses_bad_wrappers)
{
    /* Each rule; what came before is still delivered. */
    struct buf inner = {0};
    struct buf set = {0};
    struct seen seen;
    expect_wrapper_err(1, COMPRESS_GZIP, 10, &inner, ERR_CORRUPT); /* nothing inside */
    put_message(&inner, 1, 0, 20, 5, text("a"), text("b"));
    expect_wrapper_err(1, COMPRESS_GZIP, 19, &inner,
                       ERR_CORRUPT); /* offset before the last inner */
    expect_wrapper_err(1, COMPRESS_ZSTD, 30, &inner, ERR_CORRUPT); /* no zstd before magic 2 */
    inner.data[MSGSET_AT_CRC] ^= 1;
    expect_wrapper_err(1, COMPRESS_GZIP, 30, &inner, ERR_CORRUPT); /* CRC of an inner message */
    inner.data[MSGSET_AT_CRC] ^= 1;
    inner.size--;
    expect_wrapper_err(1, COMPRESS_GZIP, 30, &inner, ERR_CORRUPT); /* cut inside */
    buf_clear(&inner);
    put_message(&inner, 1, COMPRESS_GZIP, 0, 5, text("a"), text("b"));
    expect_wrapper_err(1, COMPRESS_GZIP, 30, &inner, ERR_CORRUPT); /* compressed inside */
    buf_clear(&inner);
    put_batch(&inner, COMPRESS_NONE, 1);
    expect_wrapper_err(1, COMPRESS_GZIP, 30, &inner, ERR_CORRUPT); /* a batch inside */
    buf_clear(&inner);
    uint8_t *zeros = mem_zalloc(INFLATED_MAX, 1);
    put_message(&inner, 1, 0, 0, 5, text("a"), (struct bytes){zeros, INFLATED_MAX});
    expect_wrapper_err(1, COMPRESS_GZIP, 30, &inner, ERR_MESSAGE_TOO_LARGE);
    mem_free(zeros);
    put_message(&set, 1, COMPRESS_GZIP, 1, 5, text(NULL), text(NULL)); /* null value */
    EXPECT_ERR(read_all(bytes_of(&set), &seen), ERR_CORRUPT);
    buf_fini(&set);
    buf_fini(&inner);
}

Test(msgset, refuses_lengths_that_do_not_fit)
{
    /* Key over the end, value over the end, bytes behind the value, a batch of magic 2 among them.
     */
    struct buf set = {0};
    struct seen seen;
    put_message(&set, 0, 0, 1, 0, text("ab"), text("cd"));
    set.data[21] = 9;
    EXPECT_ERR(read_all(bytes_of(&set), &seen), ERR_CORRUPT);
    set.data[21] = 2;
    set.data[27] = 3;
    EXPECT_ERR(read_all(bytes_of(&set), &seen), ERR_CORRUPT);
    set.data[27] = 1;
    EXPECT_ERR(read_all(bytes_of(&set), &seen), ERR_CORRUPT);
    set.data[27] = 2;
    EXPECT_OK(read_all(bytes_of(&set), &seen));
    put_batch(&set, COMPRESS_NONE, 1);
    EXPECT_ERR(read_all(bytes_of(&set), &seen), ERR_CORRUPT);
    cr_assert_eq(seen.count, 1);
    buf_fini(&set);
}

Test(msgset, survives_every_flipped_bit)
{
    /* Nothing outer is checked here, so the parser sees all damage. */
    const char *sets[] = {GOLDEN_MSGSET_V0_NONE, GOLDEN_MSGSET_V0_GZIP,   GOLDEN_MSGSET_V0_LZ4,
                          GOLDEN_MSGSET_V1_NONE, GOLDEN_MSGSET_V1_SNAPPY, GOLDEN_MSGSET_V1_LZ4};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        struct buf set = {0};
        struct seen seen;
        put_hex(&set, sets[i]);
        for (size_t bit = 0; bit < set.size * 8; bit++) {
            set.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            enum err err = read_all(bytes_of(&set), &seen);
            cr_assert(err == ERR_OK || err == ERR_CORRUPT || err == ERR_MESSAGE_TOO_LARGE);
            set.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        buf_fini(&set);
    }
}
