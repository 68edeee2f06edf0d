/* Reading records: damage of every kind, bounds, finding one record, markers. */
#include "base/rng.h"
#include "record/record_internal.h"
#include "support.h"

enum { INFLATED_MAX = 1 << 16 };

/* Read everything there is, headers too; the error that ends it. */
static enum err read_all(struct bytes batch, int *count)
{
    struct buf inflated = {0};
    struct record_iter it;
    struct record record;
    struct record_header header;
    size_t sum = 0;
    *count = 0;
    enum err err = record_iter_init(&it, batch, INFLATED_MAX, &inflated);
    while (record_iter_next(&it, &record)) {
        for (size_t i = 0; i < record.key.size; i++) {
            sum += record.key.data[i];
        }
        for (size_t i = 0; i < record.value.size; i++) {
            sum += record.value.data[i];
        }
        while (record_headers_next(&record, &header)) {
            sum += header.name.size + header.value.size;
        }
        ++*count;
    }
    cr_assert_lt(sum, SIZE_MAX);
    if (err != ERR_OK) {
        cr_assert_eq(record_iter_end(&it), err);
    }
    err = record_iter_end(&it);
    buf_fini(&inflated);
    return err;
}

static void put_batch_with_headers(struct buf *out, enum compress_codec codec)
{
    struct batch_options options = batch_options_default();
    struct record_header headers[] = {{STR("a"), text("1")}, {STR(""), text(NULL)}};
    struct batch_builder builder;
    options.codec = codec;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, NOW_MS, text("key"), text("value"), headers, 2);
    batch_builder_add(&builder, NOW_MS + 1, text(NULL), text(NULL), NULL, 0);
    EXPECT_OK(batch_builder_finish(&builder, out));
    batch_builder_fini(&builder);
}

static const int64_t deltas[] = {0, 1, -1, 63, 64, -64, 8191, 8192, 1 << 20, INT64_MAX, INT64_MIN};
enum { DELTAS = sizeof(deltas) / sizeof(*deltas) };

/* A record of some shape: keys, values and deltas of any size, or none, headers now and then. */
static void put_some_record(struct buf *out, struct rng *rng)
{
    static const uint8_t bytes[20000];
    static const uint64_t sizes[] = {0, 1, 63, 64, 100, 8191, 8192, 20000};
    struct buf headers = {0};
    struct record_header header = {STR("name"), text("value")};
    struct record_raw raw = {0};
    raw.timestamp_delta = deltas[rng_below(rng, DELTAS)];
    raw.offset_delta = (int32_t)deltas[rng_below(rng, 9)];
    if (rng_below(rng, 3) == 0) {
        raw.key = (struct bytes){bytes, sizes[rng_below(rng, 8)]};
    }
    if (rng_below(rng, 8) != 0) {
        raw.value = (struct bytes){bytes, sizes[rng_below(rng, 8)]};
    }
    if (rng_below(rng, 8) == 0) {
        header_put(&headers, &header);
        raw.header_count = 1;
        raw.headers = bytes_of(&headers);
    }
    record_put(out, &raw);
    buf_fini(&headers);
}

static void expect_no_step(struct scan scan, uint32_t index)
{
    const uint8_t *at = scan.at;
    uint32_t timestamp;
    bool keyed;
    cr_assert_not(record_step(&scan, index, &timestamp, &keyed));
    cr_assert_eq(scan.at, at);
}

/* How many of the records record_step() stepped over: each of these as record_scan() reads it. */
static int expect_same_steps(struct bytes in)
{
    struct scan scan = scan_of(in);
    struct scan before = scan;
    struct record_raw raw;
    uint32_t timestamp;
    bool keyed;
    int steps = 0;
    while (record_scan(&scan, &raw)) {
        struct scan step = before;
        if (record_step(&step, (uint32_t)raw.offset_delta, &timestamp, &keyed)) {
            cr_assert_eq(step.at, scan.at);
            cr_assert_eq(zigzag_value(timestamp), raw.timestamp_delta);
            cr_assert_eq(keyed, raw.key.data != NULL);
            cr_assert_eq(raw.header_count, 0);
            steps++;
        } else {
            cr_assert_eq(step.at, before.at);
        }
        expect_no_step(before, (uint32_t)raw.offset_delta + 1);
        before = scan;
    }
    /* What is malformed for one is so for the other. */
    for (int i = 0; i < DELTAS; i++) {
        expect_no_step(before, (uint32_t)deltas[i]);
    }
    return steps;
}

/* A record like the one before it, or nearly: one of a few lengths, times and keys, and now and
 * then a byte of it changed. */
static void put_like_record(struct buf *out, struct rng *rng, int32_t index)
{
    static const uint8_t bytes[200];
    struct record_raw raw = {
        .timestamp_delta = (index / 50) * 40,
        .offset_delta = index,
        .key = {bytes, index < 300 ? 0 : 5},
        .value = {bytes, 60 + (index % 97 == 0 ? rng_below(rng, 100) : 0)},
    };
    raw.key.data = index < 150 ? NULL : bytes;
    size_t begin = out->size;
    record_put(out, &raw);
    if (rng_below(rng, 64) == 0) {
        size_t at = begin + rng_below(rng, rng_below(rng, 2) == 0 ? 12 : out->size - begin);
        out->data[at] ^= (uint8_t)(1u << rng_below(rng, 8));
    }
}

/* Those that record_step_like() steps over, record_step() steps over one by one, and sees the same
 * in them. How many they are. */
static int expect_same_likes(struct bytes in, int32_t count)
{
    struct scan scan = scan_of(in);
    int likes = 0;
    for (int32_t i = 0; i < count;) {
        const uint8_t *before = scan.at;
        uint32_t timestamp;
        bool keyed;
        if (!record_step(&scan, (uint32_t)i++, &timestamp, &keyed)) {
            return likes;
        }
        ptrdiff_t size = scan.at - before;
        int32_t like = record_step_like(scan, before, i, count - i);
        cr_assert_leq(like, count - i);
        for (int32_t j = 0; j < like; j++) {
            uint32_t timestamp_here;
            bool keyed_here;
            before = scan.at;
            cr_assert(record_step(&scan, (uint32_t)i++, &timestamp_here, &keyed_here));
            cr_assert_eq(scan.at - before, size);
            cr_assert_eq(timestamp_here, timestamp);
            cr_assert_eq(keyed_here, keyed);
        }
        likes += like;
    }
    return likes;
}

Test(record, records_like_the_one_before_are_what_single_steps_find)
{
    struct rng rng;
    rng_seed(&rng, 20261127);
    int likes = 0;
    for (int i = 0; i < 300; i++) {
        struct buf records = {0};
        int32_t count = 1 + (int32_t)rng_below(&rng, 700);
        for (int32_t j = 0; j < count; j++) {
            put_like_record(&records, &rng, j);
        }
        struct bytes cut = bytes_of(&records);
        cut.size -= rng_below(&rng, 100) < cut.size ? rng_below(&rng, 8) : 0;
        struct bytes exact = exact_copy(cut); /* at the very end of memory */
        likes += expect_same_likes(exact, count);
        mem_free((void *)exact.data);
        buf_fini(&records);
    }
    cr_expect_gt(likes, 5000, "%d", likes);
}

/* Number 64 needs a second byte, number 8,192 a third: nothing may be stepped over there as being
 * like the one before. */
Test(record, ten_thousand_alike_are_stepped_over_but_for_one_in_64)
{
    static const uint8_t value[100];
    enum { COUNT = 10000 };
    struct buf records = {0};
    for (int32_t i = 0; i < COUNT; i++) {
        struct record_raw raw = {.offset_delta = i, .value = {value, sizeof(value)}};
        record_put(&records, &raw);
    }
    int likes = expect_same_likes(bytes_of(&records), COUNT);
    cr_expect_geq(likes, COUNT - COUNT / 64 - 2, "%d", likes);
    cr_expect_leq(likes, COUNT - COUNT / 64);
    buf_fini(&records);
}

Test(record, the_short_way_reads_what_the_long_way_reads)
{
    /* Whole records, damaged ones, and ones that are cut off, at the very end of memory. */
    struct rng rng;
    rng_seed(&rng, 20261126);
    int steps = 0;
    for (int i = 0; i < 3000; i++) {
        struct buf records = {0};
        for (uint64_t count = 1 + rng_below(&rng, 4); count > 0; count--) {
            put_some_record(&records, &rng);
        }
        steps += expect_same_steps(bytes_of(&records));
        struct bytes cut = exact_copy((struct bytes){records.data, rng_below(&rng, records.size)});
        steps += expect_same_steps(cut);
        for (int k = 0; k < 20; k++) {
            uint64_t at = rng_below(&rng, records.size < 20 ? records.size : 20);
            records.data[at] = (uint8_t)rng_below(&rng, 256);
            steps += expect_same_steps(bytes_of(&records));
        }
        mem_free((void *)cut.data);
        buf_fini(&records);
    }
    cr_assert_gt(steps, 1000);
}

Test(record, survives_truncation_at_every_byte)
{
    /* A cut batch is corrupt; one whose length was cut as well has too few records, or still all.
     */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        struct buf batch = {0};
        int count;
        put_batch_with_headers(&batch, (enum compress_codec)codec);
        for (size_t size = 0; size < batch.size; size++) {
            struct bytes cut = exact_copy((struct bytes){batch.data, size});
            EXPECT_ERR(read_all(cut, &count), ERR_CORRUPT);
            if (size >= BATCH_HEADER_SIZE) {
                be32_put((uint8_t *)cut.data + BATCH_AT_LENGTH, (uint32_t)size - 12);
                EXPECT_ERR(read_all(cut, &count), ERR_CORRUPT);
                cr_assert_lt(count, 2);
            }
            mem_free((void *)cut.data);
        }
        buf_fini(&batch);
    }
}

Test(record, survives_every_flipped_bit)
{
    /* No CRC is checked here, so the parser sees all of them: records or an error, never more. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        struct buf batch = {0};
        int count;
        put_batch_with_headers(&batch, (enum compress_codec)codec);
        for (size_t bit = 0; bit < batch.size * 8; bit++) {
            struct bytes copy = exact_copy(bytes_of(&batch));
            ((uint8_t *)copy.data)[bit / 8] ^= (uint8_t)(1 << bit % 8);
            enum err err = read_all(copy, &count);
            cr_assert(err == ERR_OK || err == ERR_CORRUPT || err == ERR_MESSAGE_TOO_LARGE);
            cr_assert_leq(count, 2 + 1);
            mem_free((void *)copy.data);
        }
        buf_fini(&batch);
    }
}

/* A batch whose records are exactly these bytes. */
static enum err read_records(const char *hex, int32_t record_count, int *count)
{
    struct buf batch = {0};
    put_batch(&batch, COMPRESS_NONE, 1);
    batch.size = BATCH_HEADER_SIZE;
    put_hex(&batch, hex);
    be32_put(batch.data + BATCH_AT_LENGTH, (uint32_t)(batch.size - 12));
    be32_put(batch.data + BATCH_AT_RECORD_COUNT, (uint32_t)record_count);
    struct bytes exact = exact_copy(bytes_of(&batch));
    enum err err = read_all(exact, count);
    mem_free((void *)exact.data);
    buf_fini(&batch);
    return err;
}

Test(record, refuses_malformed_records)
{
    /* One rule each. The smallest whole record is 0c 00 00 00 01 01 00. */
    int count;
    EXPECT_OK(read_records("0c000000010100", 1, &count));
    cr_assert_eq(count, 1);
    /* fewer than counted; more than counted; a negative count */
    EXPECT_ERR(read_records("0c000000010100", 2, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("0c0000000101000c000000010100", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("0c000000010100", -1, &count), ERR_CORRUPT);
    /* record length: too small, negative, more than there is, too long a varint */
    EXPECT_ERR(read_records("0a0000000101", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("01000000010100", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("0e000000010100", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("8c8080808000000000010100", 1, &count), ERR_CORRUPT);
    /* timestamp delta of 11 bytes; offset delta of 6 */
    EXPECT_ERR(read_records("20008080808080808080808000000101000000", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("1600008080808080000101000000", 1, &count), ERR_CORRUPT);
    /* key and value that reach over the record's end */
    EXPECT_ERR(read_records("0c0000000e010000000000000000", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("0c000000010e0000000000000000", 1, &count), ERR_CORRUPT);
    /* header count negative; more headers than bytes; bytes left over */
    EXPECT_ERR(read_records("0c000000010101", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("0c000000010102", 1, &count), ERR_CORRUPT);
    EXPECT_ERR(read_records("0e00000001010000", 1, &count), ERR_CORRUPT);
    /* a header whose name is null; one without a value */
    EXPECT_ERR(read_records("100000000101020101", 1, &count), ERR_CORRUPT);
    EXPECT_OK(read_records("100000000101020001", 1, &count));
    EXPECT_ERR(read_records("0e00000001010200", 1, &count), ERR_CORRUPT);
}

Test(record, takes_any_negative_length_for_null)
{
    /* As Kafka does: key length -2. */
    int count;
    EXPECT_OK(read_records("0c000000030100", 1, &count));
    cr_assert_eq(count, 1);
}

Test(record, stops_inflating_at_the_bound)
{
    /* A batch of 1 MiB of zeros, with room for less. */
    uint8_t *zeros = mem_zalloc(1 << 20, 1);
    for (int codec = 1; codec < COMPRESS_COUNT; codec++) {
        struct batch_options options = batch_options_default();
        struct batch_builder builder;
        struct buf batch = {0};
        struct record_wanted wanted = {0, NOW_MS};
        struct record_place place;
        int count;
        options.codec = (enum compress_codec)codec;
        batch_builder_init(&builder, &options);
        batch_builder_add(&builder, NOW_MS, text("k"), (struct bytes){zeros, 1 << 20}, NULL, 0);
        EXPECT_OK(batch_builder_finish(&builder, &batch));
        EXPECT_ERR(read_all(bytes_of(&batch), &count), ERR_MESSAGE_TOO_LARGE);
        cr_assert_eq(count, 0);
        EXPECT_ERR(record_find(bytes_of(&batch), &wanted, 1000, &place), ERR_MESSAGE_TOO_LARGE);
        batch_builder_fini(&builder);
        buf_fini(&batch);
    }
    mem_free(zeros);
}

Test(record, needs_a_buffer_only_for_compressed_batches)
{
    /* Coordinators that write uncompressed batches pass none. */
    struct buf plain = {0};
    struct buf packed = {0};
    struct record_iter it;
    put_batch(&plain, COMPRESS_NONE, 2);
    put_batch(&packed, COMPRESS_LZ4, 2);
    EXPECT_OK(record_iter_init(&it, bytes_of(&plain), 0, NULL));
    EXPECT_ERR(record_iter_init(&it, bytes_of(&packed), 1000, NULL), ERR_INVALID);
    buf_fini(&plain);
    buf_fini(&packed);
}

Test(record, reads_the_first_batch_of_several)
{
    /* Bytes behind the batch belong to the next one. */
    struct buf batches = {0};
    int count;
    put_batch(&batches, COMPRESS_ZSTD, 2);
    put_batch(&batches, COMPRESS_NONE, 5);
    EXPECT_OK(read_all(bytes_of(&batches), &count));
    cr_assert_eq(count, 2);
    buf_fini(&batches);
}

/* ---- finding ---- */

/* Offsets 100, 101, 104 with times 10, 30, 20. */
static void put_gappy(struct buf *out, enum compress_codec codec)
{
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    options.base_offset = 100;
    options.codec = codec;
    batch_builder_init(&builder, &options);
    batch_builder_add_at(&builder, 0, 10, text("a"), text("1"), NULL, 0);
    batch_builder_add_at(&builder, 1, 30, text("b"), text("2"), NULL, 0);
    batch_builder_add_at(&builder, 4, 20, text("c"), text("3"), NULL, 0);
    EXPECT_OK(batch_builder_finish(&builder, out));
    batch_builder_fini(&builder);
}

static void expect_found(const struct buf *batch, struct record_wanted wanted, int64_t offset,
                         int64_t timestamp_ms)
{
    struct record_place place;
    enum err err = record_find(bytes_of(batch), &wanted, INFLATED_MAX, &place);
    if (offset < 0) {
        EXPECT_ERR(err, ERR_NOT_FOUND);
        return;
    }
    EXPECT_OK(err);
    cr_assert_eq(place.offset, offset);
    cr_assert_eq(place.timestamp_ms, timestamp_ms);
}

Test(record_find, finds_the_first_with_that_time_or_later)
{
    /* First in offset order, not the closest in time; offset_min applies as well; gaps are skipped.
     */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        struct buf batch = {0};
        put_gappy(&batch, (enum compress_codec)codec);
        expect_found(&batch, (struct record_wanted){0, 5}, 100, 10);
        expect_found(&batch, (struct record_wanted){0, 10}, 100, 10);
        expect_found(&batch, (struct record_wanted){0, 11}, 101, 30);
        expect_found(&batch, (struct record_wanted){102, 11}, 104, 20);
        expect_found(&batch, (struct record_wanted){102, 21}, -1, 0);
        expect_found(&batch, (struct record_wanted){0, 31}, -1, 0);
        expect_found(&batch, (struct record_wanted){102, INT64_MIN}, 104, 20);
        expect_found(&batch, (struct record_wanted){104, INT64_MIN}, 104, 20);
        expect_found(&batch, (struct record_wanted){105, INT64_MIN}, -1, 0);
        buf_fini(&batch);
    }
}

Test(record_find, needs_no_records_under_log_append_time)
{
    /* All have the batch's time: the header answers, even where the records do not inflate. */
    struct buf batch = {0};
    put_batch(&batch, COMPRESS_GZIP, 10);
    batch_patch_offset_epoch(batch.data, 50, 0);
    batch_patch_append_time(batch.data, 1000);
    memset(batch.data + BATCH_HEADER_SIZE, 0, batch.size - BATCH_HEADER_SIZE);
    expect_found(&batch, (struct record_wanted){0, 1000}, 50, 1000);
    expect_found(&batch, (struct record_wanted){55, 900}, 55, 1000);
    expect_found(&batch, (struct record_wanted){60, 900}, -1, 0);
    expect_found(&batch, (struct record_wanted){0, 1001}, -1, 0);
    buf_fini(&batch);
}

Test(record_find, finds_the_record_with_the_max_timestamp)
{
    /* The first that has it, which under log append time all have; none when the header lies. */
    struct buf batch = {0};
    struct record_place place;
    put_gappy(&batch, COMPRESS_SNAPPY);
    EXPECT_OK(record_find_max_timestamp(bytes_of(&batch), INFLATED_MAX, &place));
    cr_assert_eq(place.offset, 101);
    cr_assert_eq(place.timestamp_ms, 30);
    batch_patch_max_timestamp(batch.data, 31);
    EXPECT_ERR(record_find_max_timestamp(bytes_of(&batch), INFLATED_MAX, &place), ERR_NOT_FOUND);
    batch_patch_append_time(batch.data, 40);
    EXPECT_OK(record_find_max_timestamp(bytes_of(&batch), INFLATED_MAX, &place));
    cr_assert_eq(place.offset, 100);
    cr_assert_eq(place.timestamp_ms, 40);
    buf_fini(&batch);
}

/* It was the last record, as in older Kafkas: a client that asks for the offset of the largest time
 * was told another one than by Kafka 3.9. */
Test(record_find, the_max_timestamp_under_log_append_time_is_the_first_records)
{
    struct buf batch = {0};
    struct record_place place;
    put_batch(&batch, COMPRESS_GZIP, 10);
    batch_patch_offset_epoch(batch.data, 50, 0);
    batch_patch_append_time(batch.data, 1000);
    memset(batch.data + BATCH_HEADER_SIZE, 0, batch.size - BATCH_HEADER_SIZE);
    EXPECT_OK(record_find_max_timestamp(bytes_of(&batch), INFLATED_MAX, &place));
    cr_assert_eq(place.offset, 50, "the header tells it");
    cr_assert_eq(place.timestamp_ms, 1000);
    buf_fini(&batch);
}

Test(record_find, reports_corrupt_batches)
{
    /* Not "not found", which would send the reader on. */
    struct buf batch = {0};
    struct record_place place;
    struct record_wanted wanted = {0, NOW_MS};
    put_batch(&batch, COMPRESS_NONE, 3);
    batch.data[BATCH_HEADER_SIZE] = 1;
    EXPECT_ERR(record_find(bytes_of(&batch), &wanted, INFLATED_MAX, &place), ERR_CORRUPT);
    EXPECT_ERR(record_find_max_timestamp(bytes_of(&batch), INFLATED_MAX, &place), ERR_CORRUPT);
    EXPECT_ERR(record_find((struct bytes){batch.data, 60}, &wanted, INFLATED_MAX, &place),
               ERR_CORRUPT);
    buf_fini(&batch);
}

/* ---- markers ---- */

static void put_marker(struct buf *out, enum control_type type, int32_t coordinator_epoch)
{
    struct batch_marker_options options = {
        .producer_id = 1, .type = type, .coordinator_epoch = coordinator_epoch};
    batch_put_marker(out, &options);
}

Test(record_marker, reads_commit_and_abort)
{
    /* Type and coordinator epoch. */
    struct buf batch = {0};
    struct record_marker marker;
    put_marker(&batch, CONTROL_COMMIT, 7);
    EXPECT_OK(record_read_marker(bytes_of(&batch), &marker));
    cr_assert_eq(marker.type, CONTROL_COMMIT);
    cr_assert_eq(marker.coordinator_epoch, 7);
    buf_clear(&batch);
    put_marker(&batch, CONTROL_ABORT, 8);
    EXPECT_OK(record_read_marker(bytes_of(&batch), &marker));
    cr_assert_eq(marker.type, CONTROL_ABORT);
    cr_assert_eq(marker.coordinator_epoch, 8);
    buf_fini(&batch);
}

Test(record_marker, is_not_found_in_other_batches)
{
    /* Data, control records of another kind (leader change), batches emptied by compaction. */
    struct buf batch = {0};
    struct record_marker marker;
    put_batch(&batch, COMPRESS_NONE, 1);
    EXPECT_ERR(record_read_marker(bytes_of(&batch), &marker), ERR_NOT_FOUND);
    buf_clear(&batch);
    put_marker(&batch, CONTROL_COMMIT, 7);
    batch.data[BATCH_HEADER_SIZE + 8] = 2;
    EXPECT_ERR(record_read_marker(bytes_of(&batch), &marker), ERR_NOT_FOUND);
    be32_put(batch.data + BATCH_AT_RECORD_COUNT, 0);
    be32_put(batch.data + BATCH_AT_LENGTH, BATCH_HEADER_SIZE - 12);
    EXPECT_ERR(record_read_marker(bytes_of(&batch), &marker), ERR_NOT_FOUND);
    buf_fini(&batch);
}

Test(record_marker, malformed_is_corrupt)
{
    /* Too short a key or value, negative versions, compressed, cut. */
    static const struct {
        size_t at;
        uint8_t value;
    } damage[] = {
        {BATCH_HEADER_SIZE + 4, 2},      /* key of one byte */
        {BATCH_HEADER_SIZE + 4, 1},      /* null key */
        {BATCH_HEADER_SIZE + 5, 0x80},   /* key version */
        {BATCH_HEADER_SIZE + 9, 4},      /* value of two bytes */
        {BATCH_HEADER_SIZE + 10, 0x80},  /* value version */
        {BATCH_AT_ATTRIBUTES + 1, 0x31}, /* gzip */
        {BATCH_AT_MAGIC, 1},
        {BATCH_AT_LENGTH + 3, 0xff},
    };
    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        struct buf batch = {0};
        struct record_marker marker;
        put_marker(&batch, CONTROL_COMMIT, 7);
        batch.data[damage[i].at] = damage[i].value;
        enum err err = record_read_marker(bytes_of(&batch), &marker);
        cr_assert_eq(err, ERR_CORRUPT, "damage %zu gives %s", i, err_name(err));
        buf_fini(&batch);
    }
}
