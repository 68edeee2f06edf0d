/* What librdkafka and kafka-python write is what we read, to the byte. */
#include "golden.h"
#include "support.h"

enum { INFLATED_MAX = 4096 };

static const char hello[] = "hellohellohellohellohellohellohellohello";

static void expect_records(const struct record *records, int64_t base_offset, bool timestamps)
{
    const char *keys[] = {"k1", NULL, "k3"};
    const char *values[] = {"v1", hello, NULL};
    const int64_t times[] = {1700000000000, 1699999999997, 1700000000007};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(records[i].offset, base_offset + i);
        cr_assert_eq(records[i].timestamp_ms, timestamps ? times[i] : -1);
        cr_assert_eq(records[i].sequence, BATCH_NONE);
        cr_assert(bytes_are(records[i].key, keys[i]));
        cr_assert(bytes_are(records[i].value, values[i]));
    }
}

static void expect_batch(const char *hex, int codec)
{
    struct buf batch = {0};
    put_hex(&batch, hex);
    struct bytes in = exact_copy(bytes_of(&batch));
    EXPECT_OK(batch_check_crc(in));

    struct buf inflated = {0};
    struct record_iter it;
    struct record records[4];
    int count = 0;
    EXPECT_OK(record_iter_init(&it, in, INFLATED_MAX, &inflated));
    cr_assert_eq(batch_codec(&it.header), codec);
    cr_assert_eq(it.header.max_timestamp_ms, 1700000000007);
    while (count < 4 && record_iter_next(&it, &records[count])) {
        count++;
    }
    EXPECT_OK(record_iter_end(&it));
    cr_assert_eq(count, 3);
    expect_records(records, 0, true);

    struct record_header header;
    cr_assert_eq(records[0].header_count, 2);
    cr_assert(record_headers_next(&records[0], &header));
    cr_assert(str_is(header.name, "h") && bytes_are(header.value, "x"));
    cr_assert(record_headers_next(&records[0], &header));
    cr_assert(str_is(header.name, "n") && bytes_are(header.value, NULL));
    cr_assert_not(record_headers_next(&records[0], &header));

    struct batch_rules rules = batch_rules_default();
    struct record_error detail;
    rules.deep = true;
    EXPECT_OK(batch_validate_produce(in, &rules, &it.header, &detail));
    cr_assert_eq(detail.fix, BATCH_FIX_NONE);
    mem_free((void *)in.data);
    buf_fini(&inflated);
    buf_fini(&batch);
}

Test(golden, reads_batches_of_librdkafka)
{
    /* Every codec as the most used client library writes it (its snappy is a bare block). */
    expect_batch(GOLDEN_RDKAFKA_NONE, COMPRESS_NONE);
    expect_batch(GOLDEN_RDKAFKA_GZIP, COMPRESS_GZIP);
    expect_batch(GOLDEN_RDKAFKA_SNAPPY, COMPRESS_SNAPPY);
    expect_batch(GOLDEN_RDKAFKA_LZ4, COMPRESS_LZ4);
    expect_batch(GOLDEN_RDKAFKA_ZSTD, COMPRESS_ZSTD);
}

Test(golden, reads_batches_of_kafka_python)
{
    /* Xerial-framed snappy, lz4 with a content size, zstd of another library version. */
    expect_batch(GOLDEN_PYTHON_SNAPPY, COMPRESS_SNAPPY);
    expect_batch(GOLDEN_PYTHON_LZ4, COMPRESS_LZ4);
    expect_batch(GOLDEN_PYTHON_ZSTD, COMPRESS_ZSTD);
}

Test(golden, writes_the_batch_that_librdkafka_writes)
{
    /* The builder's encoding of lengths, deltas, nulls, headers and the header fields is canonical.
     */
    struct record_header headers[] = {{STR("h"), text("x")}, {STR("n"), {NULL, 0}}};
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, 1700000000000, text("k1"), text("v1"), headers, 2);
    batch_builder_add(&builder, 1699999999997, text(NULL), text(hello), NULL, 0);
    batch_builder_add(&builder, 1700000000007, text("k3"), text(NULL), NULL, 0);
    struct buf ours = {0};
    struct buf theirs = {0};
    size_t size = batch_builder_size(&builder);
    EXPECT_OK(batch_builder_finish(&builder, &ours));
    put_hex(&theirs, GOLDEN_RDKAFKA_NONE);
    batch_patch_offset_epoch(ours.data, 0, 0); /* librdkafka leaves the leader epoch 0 */
    cr_assert_eq(ours.size, theirs.size);
    cr_assert_eq(ours.size, size);
    cr_assert_arr_eq(ours.data, theirs.data, ours.size);
    batch_builder_fini(&builder);
    buf_fini(&ours);
    buf_fini(&theirs);
}

static void expect_msgset(const char *hex, int magic, int codec)
{
    struct buf set = {0};
    put_hex(&set, hex);
    struct bytes in = exact_copy(bytes_of(&set));
    struct batch_header header;
    EXPECT_OK(entry_read_header(in, &header));
    EXPECT_OK(entry_check_crc(in));
    cr_assert_eq(header.magic, magic);
    cr_assert_eq(batch_codec(&header), codec);

    struct buf inflated = {0};
    struct msgset_iter it;
    struct record record;
    struct record records[3];
    char copies[3][2][64];
    int count = 0;
    msgset_iter_init(&it, in, INFLATED_MAX, &inflated);
    while (msgset_iter_next(&it, &record)) {
        cr_assert_lt(count, 3);
        /* A record is only valid until the next one. */
        records[count] = record;
        struct bytes *parts[] = {&records[count].key, &records[count].value};
        for (int i = 0; i < 2; i++) {
            if (parts[i]->data != NULL) {
                memcpy(copies[count][i], parts[i]->data, parts[i]->size);
                parts[i]->data = (const uint8_t *)copies[count][i];
            }
        }
        count++;
    }
    EXPECT_OK(msgset_iter_end(&it));
    cr_assert_eq(count, 3);
    expect_records(records, 10, magic == 1);
    mem_free((void *)in.data);
    buf_fini(&inflated);
    buf_fini(&set);
}

Test(golden, reads_message_sets_of_magic_0)
{
    /* Absolute inner offsets, no timestamps, and lz4 with the old wrong header checksum. */
    expect_msgset(GOLDEN_MSGSET_V0_NONE, 0, COMPRESS_NONE);
    expect_msgset(GOLDEN_MSGSET_V0_GZIP, 0, COMPRESS_GZIP);
    expect_msgset(GOLDEN_MSGSET_V0_SNAPPY, 0, COMPRESS_SNAPPY);
    expect_msgset(GOLDEN_MSGSET_V0_LZ4, 0, COMPRESS_LZ4);
}

Test(golden, reads_message_sets_of_magic_1)
{
    /* Relative inner offsets against the wrapper's offset, which is that of the last message. */
    expect_msgset(GOLDEN_MSGSET_V1_NONE, 1, COMPRESS_NONE);
    expect_msgset(GOLDEN_MSGSET_V1_GZIP, 1, COMPRESS_GZIP);
    expect_msgset(GOLDEN_MSGSET_V1_SNAPPY, 1, COMPRESS_SNAPPY);
    expect_msgset(GOLDEN_MSGSET_V1_LZ4, 1, COMPRESS_LZ4);
}
