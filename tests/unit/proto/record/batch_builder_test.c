/* Making batches: what was added comes out again, in every codec; markers; several in a row. */
#include "support.h"

Test(batch_builder, round_trips_every_codec)
{
    /* Offsets, times before and after the first, nulls, empty values, headers, sequences. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        struct batch_options options = batch_options_default();
        options.base_offset = 5000;
        options.codec = (enum compress_codec)codec;
        options.producer_id = 9;
        options.producer_epoch = 2;
        options.base_sequence = INT32_MAX;
        struct record_header header = {STR("name"), text("")};
        struct batch_builder builder;
        batch_builder_init(&builder, &options);
        batch_builder_add(&builder, 100, text("key"), text(NULL), &header, 1);
        batch_builder_add(&builder, -1, text(NULL), text(""), NULL, 0);
        struct buf out = {0};
        EXPECT_OK(batch_builder_finish(&builder, &out));
        EXPECT_OK(batch_check_crc(bytes_of(&out)));

        struct buf inflated = {0};
        struct record_iter it;
        struct record a, b, c;
        EXPECT_OK(record_iter_init(&it, bytes_of(&out), 1000, &inflated));
        cr_assert_eq(it.header.max_timestamp_ms, 100);
        cr_assert(record_iter_next(&it, &a) && record_iter_next(&it, &b));
        cr_assert_not(record_iter_next(&it, &c));
        EXPECT_OK(record_iter_end(&it));
        cr_assert_eq(a.offset, 5000);
        cr_assert_eq(b.offset, 5001);
        cr_assert_eq(a.timestamp_ms, 100);
        cr_assert_eq(b.timestamp_ms, -1);
        cr_assert_eq(a.sequence, INT32_MAX);
        cr_assert_eq(b.sequence, 0);
        cr_assert(bytes_are(a.key, "key") && bytes_are(a.value, NULL));
        cr_assert(bytes_are(b.key, NULL) && bytes_are(b.value, ""));
        cr_assert(record_headers_next(&a, &header) && bytes_are(header.value, ""));
        cr_assert(str_is(header.name, "name"));
        batch_builder_fini(&builder);
        buf_fini(&inflated);
        buf_fini(&out);
    }
}

Test(batch_builder, carries_the_extremes_of_varints)
{
    /* Times so far apart that their difference wraps, and long keys. */
    uint8_t *big = mem_zalloc(70000, 1);
    const int64_t times[] = {INT64_MIN, INT64_MAX, 0, -1, INT64_MAX};
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    for (size_t i = 0; i < 5; i++) {
        size_t before = batch_builder_size(&builder);
        size_t key_size = i * 17500;
        batch_builder_add(&builder, times[i], (struct bytes){big, key_size}, text("v"), NULL, 0);
        cr_assert_leq(batch_builder_size(&builder), before + key_size + 1 + RECORD_OVERHEAD_MAX);
    }
    struct buf out = {0};
    EXPECT_OK(batch_builder_finish(&builder, &out));
    struct record_iter it;
    struct record record;
    EXPECT_OK(record_iter_init(&it, bytes_of(&out), 0, NULL));
    for (size_t i = 0; i < 5; i++) {
        cr_assert(record_iter_next(&it, &record));
        cr_assert_eq(record.timestamp_ms, times[i]);
        cr_assert_eq(record.key.size, i * 17500);
    }
    batch_builder_fini(&builder);
    buf_fini(&out);
    mem_free(big);
}

Test(batch_builder, continues_behind_the_last_batch)
{
    /* After finish() offsets and sequences go on; `out` is appended to. */
    struct batch_options options = batch_options_default();
    options.base_offset = 10;
    options.producer_id = 1;
    options.producer_epoch = 0;
    options.base_sequence = 100;
    struct batch_builder builder;
    struct buf out = {0};
    batch_builder_init(&builder, &options);
    batch_builder_add_at(&builder, 4, 1, text("a"), text("b"), NULL, 0);
    EXPECT_OK(batch_builder_finish(&builder, &out));
    size_t first = out.size;
    batch_builder_add(&builder, 2, text("c"), text("d"), NULL, 0);
    EXPECT_OK(batch_builder_finish(&builder, &out));
    struct batch_header header;
    EXPECT_OK(batch_read_header((struct bytes){out.data, first}, &header));
    cr_assert_eq(header.last_offset_delta, 4);
    cr_assert_eq(header.record_count, 1);
    EXPECT_OK(batch_read_header((struct bytes){out.data + first, out.size - first}, &header));
    cr_assert_eq(header.base_offset, 15);
    cr_assert_eq(header.base_sequence, 105);
    cr_assert_eq(header.base_timestamp_ms, 2);
    batch_builder_fini(&builder);
    buf_fini(&out);
}

Test(batch_builder, writes_empty_batches)
{
    /* As compaction leaves them: no records, no times; readable as such, in every codec. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        struct batch_options options = batch_options_default();
        options.codec = (enum compress_codec)codec;
        struct batch_builder builder;
        struct buf out = {0};
        struct record_iter it;
        struct record record;
        batch_builder_init(&builder, &options);
        EXPECT_OK(batch_builder_finish(&builder, &out));
        EXPECT_OK(batch_check_crc(bytes_of(&out)));
        EXPECT_OK(record_iter_init(&it, bytes_of(&out), 0, NULL));
        cr_assert_eq(it.header.record_count, 0);
        cr_assert_eq(it.header.base_timestamp_ms, -1);
        cr_assert_not(record_iter_next(&it, &record));
        EXPECT_OK(record_iter_end(&it));
        batch_builder_fini(&builder);
        buf_fini(&out);
    }
}

Test(batch_builder, says_log_append_time)
{
    /* The batch's time is the one given, whatever the records say. */
    struct batch_options options = batch_options_default();
    options.log_append_time = true;
    options.append_time_ms = 77;
    struct batch_builder builder;
    struct buf out = {0};
    struct record_iter it;
    struct record record;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, 5, text("a"), text("b"), NULL, 0);
    EXPECT_OK(batch_builder_finish(&builder, &out));
    EXPECT_OK(record_iter_init(&it, bytes_of(&out), 0, NULL));
    cr_assert(record_iter_next(&it, &record));
    cr_assert_eq(record.timestamp_ms, 77);
    batch_builder_fini(&builder);
    buf_fini(&out);
}

Test(batch_builder, writes_markers_to_the_byte)
{
    /* Transactional and control bits, no sequence; key version 0 and type, value version 0 and
     * coordinator epoch. */
    struct batch_marker_options options = {
        .base_offset = 30,
        .leader_epoch = 4,
        .producer_id = 1000,
        .producer_epoch = 3,
        .type = CONTROL_COMMIT,
        .coordinator_epoch = 12,
        .now_ms = NOW_MS,
    };
    struct buf out = {0};
    struct batch_header header;
    batch_put_marker(&out, &options);
    EXPECT_OK(batch_check_crc(bytes_of(&out)));
    EXPECT_OK(batch_read_header(bytes_of(&out), &header));
    cr_assert_eq(header.attributes, BATCH_ATTR_TRANSACTIONAL | BATCH_ATTR_CONTROL);
    cr_assert_eq(header.base_offset, 30);
    cr_assert_eq(header.leader_epoch, 4);
    cr_assert_eq(header.producer_id, 1000);
    cr_assert_eq(header.producer_epoch, 3);
    cr_assert_eq(header.base_sequence, -1);
    cr_assert_eq(header.max_timestamp_ms, NOW_MS);
    static const uint8_t record[] = {32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 12, 0};
    cr_assert_eq(out.size, BATCH_HEADER_SIZE + sizeof(record));
    cr_assert_arr_eq(out.data + BATCH_HEADER_SIZE, record, sizeof(record));
    buf_fini(&out);
}
