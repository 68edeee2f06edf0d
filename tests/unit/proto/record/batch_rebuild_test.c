/* Rebuilding: other codecs, offsets made consecutive, bounds. */
#include "support.h"

static struct batch_rules rules;

static void setup(void)
{
    rules = batch_rules_default();
    rules.now_ms = NOW_MS;
}

TestSuite(batch_rebuild, .init = setup);

Test(batch_rebuild, recompresses_between_all_codecs)
{
    /* Same records, same producer; the result is valid and needs nothing more done. */
    for (int from = 0; from < COMPRESS_COUNT; from++) {
        for (int to = 0; to < COMPRESS_COUNT; to++) {
            struct buf batch = {0};
            struct buf rebuilt = {0};
            struct buf inflated = {0};
            struct batch_header header;
            struct record_error detail;
            struct record_iter it;
            struct record record;
            put_batch(&batch, (enum compress_codec)from, 20);
            buf_put_text(&rebuilt, "before");
            rules.codec = to;
            rules.deep = true;
            EXPECT_OK(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL));
            struct bytes out = {rebuilt.data + 6, rebuilt.size - 6};
            EXPECT_OK(batch_validate_produce(out, &rules, &header, &detail));
            cr_assert_eq(detail.fix, BATCH_FIX_NONE);
            cr_assert_eq(batch_codec(&header), to);
            EXPECT_OK(record_iter_init(&it, out, 10000, &inflated));
            for (int i = 0; i < 20; i++) {
                char key[16];
                snprintf(key, sizeof(key), "k%d", i);
                cr_assert(record_iter_next(&it, &record));
                cr_assert(bytes_are(record.key, key) && bytes_are(record.value, "some value"));
                cr_assert_eq(record.timestamp_ms, NOW_MS + i);
            }
            buf_fini(&batch);
            buf_fini(&rebuilt);
            buf_fini(&inflated);
        }
    }
}

/* Two records with headers at the offset deltas 0, 3, and a header that says 0, 1. */
static void put_gappy(struct buf *out)
{
    struct record_header headers[] = {{STR("h"), text("x")}, {STR("n"), text(NULL)}};
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    options.codec = COMPRESS_GZIP;
    options.producer_id = 77;
    options.producer_epoch = 1;
    options.base_sequence = 5;
    options.transactional = true;
    batch_builder_init(&builder, &options);
    batch_builder_add_at(&builder, 0, NOW_MS, text("a"), text("1"), headers, 2);
    batch_builder_add_at(&builder, 3, NOW_MS + 9, text(NULL), text("2"), headers, 1);
    EXPECT_OK(batch_builder_finish(&builder, out));
    be32_put(out->data + BATCH_AT_LAST_OFFSET_DELTA, 1);
    batch_patch_max_timestamp(out->data, 3); /* wrong, and the CRC right again */
    batch_builder_fini(&builder);
}

Test(batch_rebuild, makes_offsets_consecutive)
{
    /* Headers, nulls, producer and times are kept, the max timestamp is set right. */
    struct buf batch = {0};
    struct buf rebuilt = {0};
    struct buf inflated = {0};
    struct record_iter it;
    struct record a, b;
    struct record_header header;
    put_gappy(&batch);
    EXPECT_OK(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL));
    EXPECT_OK(batch_check_crc(bytes_of(&rebuilt)));
    EXPECT_OK(record_iter_init(&it, bytes_of(&rebuilt), 10000, &inflated));
    cr_assert_eq(batch_codec(&it.header), COMPRESS_GZIP);
    cr_assert(batch_is_transactional(&it.header));
    cr_assert_eq(it.header.producer_id, 77);
    cr_assert_eq(it.header.base_sequence, 5);
    cr_assert_eq(it.header.max_timestamp_ms, NOW_MS + 9);
    cr_assert(record_iter_next(&it, &a) && record_iter_next(&it, &b));
    cr_assert_eq(a.offset, 0);
    cr_assert_eq(b.offset, 1);
    cr_assert_eq(b.sequence, 6);
    cr_assert_eq(b.timestamp_ms, NOW_MS + 9);
    cr_assert(bytes_are(b.key, NULL) && bytes_are(b.value, "2"));
    cr_assert_eq(a.header_count, 2);
    cr_assert(record_headers_next(&a, &header) && str_is(header.name, "h"));
    cr_assert(record_headers_next(&a, &header) && bytes_are(header.value, NULL));
    cr_assert(record_headers_next(&b, &header) && bytes_are(header.value, "x"));
    buf_fini(&batch);
    buf_fini(&rebuilt);
    buf_fini(&inflated);
}

Test(batch_rebuild, bounds_what_it_reads_and_writes)
{
    /* Inflated, and stored; nothing is appended on an error. */
    struct buf batch = {0};
    struct buf rebuilt = {0};
    put_batch(&batch, COMPRESS_ZSTD, 100);
    rules.codec = COMPRESS_NONE;
    EXPECT_OK(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL));
    size_t size = rebuilt.size;
    buf_clear(&rebuilt);
    rules.size_bytes_max = size - 1;
    EXPECT_ERR(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL), ERR_MESSAGE_TOO_LARGE);
    cr_assert_eq(rebuilt.size, 0);
    rules.size_bytes_max = size;
    rules.inflated_bytes_max = size - BATCH_HEADER_SIZE - 1;
    EXPECT_ERR(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL), ERR_MESSAGE_TOO_LARGE);
    rules.inflated_bytes_max++;
    EXPECT_OK(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL));
    buf_fini(&batch);
    buf_fini(&rebuilt);
}

Test(batch_rebuild, refuses_malformed_records)
{
    /* A compressed batch may come here without having been walked. */
    struct buf batch = {0};
    struct buf rebuilt = {0};
    put_batch(&batch, COMPRESS_LZ4, 3);
    be32_put(batch.data + BATCH_AT_RECORD_COUNT, 4);
    rules.codec = COMPRESS_NONE;
    EXPECT_ERR(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL), ERR_INVALID_RECORD);
    be32_put(batch.data + BATCH_AT_RECORD_COUNT, 2);
    EXPECT_ERR(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL), ERR_INVALID_RECORD);
    batch.data[BATCH_HEADER_SIZE] ^= 0xff;
    EXPECT_ERR(batch_rebuild(bytes_of(&batch), &rules, &rebuilt, NULL), ERR_INVALID_RECORD);
    cr_assert_eq(rebuilt.size, 0);
    buf_fini(&batch);
    buf_fini(&rebuilt);
}
