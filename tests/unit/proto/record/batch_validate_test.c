/* What producers may send: every rule with its error, the order of the rules, and what is to be
 * done to accepted batches. */
#include "support.h"

static struct buf batch;
static struct batch_rules rules;
static struct batch_header header;
static struct record_error detail;

static void setup(void)
{
    put_batch(&batch, COMPRESS_NONE, 3);
    rules = batch_rules_default();
    rules.now_ms = NOW_MS;
    memset(&detail, 0xa5, sizeof(detail)); /* whatever was there before must not matter */
}

static void teardown(void)
{
    buf_fini(&batch);
}

TestSuite(batch_validate, .init = setup, .fini = teardown);

/* In memory of the exact size. */
static enum err validate(void)
{
    struct bytes exact = exact_copy(bytes_of(&batch));
    enum err err = batch_validate_produce(exact, &rules, &header, &detail);
    mem_free((void *)exact.data);
    if (err != ERR_OK) {
        cr_assert(detail.message[0] != '\0', "no message with %s", err_name(err));
    }
    cr_assert_geq(detail.count, 0);
    cr_assert_leq(detail.count, RECORD_ERROR_INDEXES_MAX);
    cr_assert_geq(detail.total, detail.count);
    return err;
}

static enum err validate_fixed(void)
{
    fix_crc(batch.data, batch.size);
    return validate();
}

static void make(enum compress_codec codec, int count)
{
    buf_clear(&batch);
    put_batch(&batch, codec, count);
}

Test(batch_validate, accepts_good_batches)
{
    /* Every codec, shallow and deep, in place and as they are. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        make((enum compress_codec)codec, 100);
        for (int deep = 0; deep < 2; deep++) {
            rules.deep = deep;
            EXPECT_OK(validate());
            cr_assert_eq(detail.fix, BATCH_FIX_NONE);
            cr_assert_eq(detail.max_timestamp_ms, NOW_MS + 99);
            cr_assert_eq(header.record_count, 100);
            cr_assert_eq(detail.total, 0);
        }
    }
}

Test(batch_validate, wants_exactly_one_whole_batch)
{
    /* None, a part of one at every length, two, one and a half, one and some bytes. */
    size_t whole = batch.size;
    for (size_t size = 0; size < whole; size++) {
        batch.size = size;
        EXPECT_ERR(validate(), ERR_INVALID_RECORD);
    }
    batch.size = whole;
    EXPECT_OK(validate());
    put_batch(&batch, COMPRESS_NONE, 3);
    EXPECT_ERR(validate(), ERR_INVALID_RECORD);
    batch.size -= 5;
    EXPECT_ERR(validate(), ERR_INVALID_RECORD);
    batch.size = whole + 1;
    EXPECT_ERR(validate(), ERR_INVALID_RECORD);
    EXPECT_ERR(batch_validate_produce((struct bytes){NULL, 0}, &rules, &header, &detail),
               ERR_INVALID_RECORD);
}

Test(batch_validate, wants_magic_2)
{
    /* Older ones are known and refused, others are corrupt. */
    for (int magic = 0; magic < 256; magic++) {
        batch.data[BATCH_AT_MAGIC] = (uint8_t)magic;
        EXPECT_ERR(validate(), magic < 2   ? ERR_INVALID_RECORD
                               : magic > 2 ? ERR_CORRUPT_MESSAGE
                                           : ERR_OK);
    }
}

Test(batch_validate, wants_a_possible_length)
{
    /* Negative, or too small for a header. */
    const uint32_t lengths[] = {0x80000000u, 0xffffffffu, 0, 13, 48};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        be32_put(batch.data + BATCH_AT_LENGTH, lengths[i]);
        EXPECT_ERR(validate(), ERR_CORRUPT_MESSAGE);
    }
}

Test(batch_validate, wants_a_right_checksum)
{
    /* Any flipped bit from the CRC on. */
    for (size_t bit = BATCH_AT_CRC * 8; bit < batch.size * 8; bit++) {
        batch.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        EXPECT_ERR(validate(), ERR_CORRUPT_MESSAGE);
        batch.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(batch_validate, survives_every_flipped_bit_with_a_right_checksum)
{
    /* Behind the CRC everything is the sender's choice: accepted or refused, in every codec. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        make((enum compress_codec)codec, 2);
        rules.deep = true;
        for (size_t bit = BATCH_AT_ATTRIBUTES * 8; bit < batch.size * 8; bit++) {
            batch.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            enum err err = validate_fixed();
            cr_assert(err == ERR_OK || err == ERR_INVALID_RECORD || err == ERR_INVALID_TIMESTAMP ||
                          err == ERR_UNSUPPORTED_COMPRESSION_TYPE || err == ERR_MESSAGE_TOO_LARGE,
                      "bit %zu: %s", bit, err_name(err));
            batch.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

Test(batch_validate, wants_base_offset_zero)
{
    /* Only replicas send others. */
    batch_patch_offset_epoch(batch.data, 1, -1);
    EXPECT_ERR(validate(), ERR_INVALID_RECORD);
}

Test(batch_validate, bounds_the_size)
{
    /* max.message.bytes counts the whole batch, and is an inclusive bound. */
    rules.size_bytes_max = batch.size;
    EXPECT_OK(validate());
    rules.size_bytes_max--;
    EXPECT_ERR(validate(), ERR_MESSAGE_TOO_LARGE);
}

Test(batch_validate, wants_a_known_codec)
{
    /* 5, 6 and 7 are none. */
    for (int codec = 5; codec < 8; codec++) {
        be16_put(batch.data + BATCH_AT_ATTRIBUTES, (uint16_t)codec);
        EXPECT_ERR(validate_fixed(), ERR_UNSUPPORTED_COMPRESSION_TYPE);
    }
}

Test(batch_validate, refuses_zstd_from_old_requests)
{
    /* Below Produce 7; other codecs are not touched by it. */
    rules.zstd_allowed = false;
    make(COMPRESS_LZ4, 1);
    EXPECT_OK(validate());
    make(COMPRESS_ZSTD, 1);
    EXPECT_ERR(validate(), ERR_UNSUPPORTED_COMPRESSION_TYPE);
}

Test(batch_validate, wants_counts_that_agree)
{
    /* Count and last offset delta, with each other and with the records. */
    static const struct {
        int32_t count;
        int32_t last_delta;
    } wrong[] = {{0, -1}, {-1, -2}, {3, 3}, {3, 1}, {2, 2}, {INT32_MIN, INT32_MAX},
                 {0, 0},  {2, 1},   {4, 3}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        be32_put(batch.data + BATCH_AT_RECORD_COUNT, (uint32_t)wrong[i].count);
        be32_put(batch.data + BATCH_AT_LAST_OFFSET_DELTA, (uint32_t)wrong[i].last_delta);
        EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
        cr_assert_eq(detail.count, 0);
    }
}

Test(batch_validate, refuses_control_batches)
{
    /* Markers come from coordinators only. */
    struct batch_marker_options options = {.producer_id = 1, .type = CONTROL_COMMIT};
    buf_clear(&batch);
    batch_put_marker(&batch, &options);
    EXPECT_ERR(validate(), ERR_INVALID_RECORD);
}

static void set_producer(int64_t id, int16_t epoch, int32_t sequence, uint16_t attributes)
{
    be64_put(batch.data + BATCH_AT_PRODUCER_ID, (uint64_t)id);
    be16_put(batch.data + BATCH_AT_PRODUCER_EPOCH, (uint16_t)epoch);
    be32_put(batch.data + BATCH_AT_BASE_SEQUENCE, (uint32_t)sequence);
    be16_put(batch.data + BATCH_AT_ATTRIBUTES, attributes);
}

Test(batch_validate, wants_producer_fields_that_agree)
{
    /* An id comes with epoch and sequence; transactions need an id. */
    set_producer(5, 0, 0, 0);
    EXPECT_OK(validate_fixed());
    set_producer(5, 1, 7, BATCH_ATTR_TRANSACTIONAL);
    EXPECT_OK(validate_fixed());
    cr_assert(batch_is_transactional(&header));
    set_producer(5, 0, -1, 0);
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
    set_producer(5, -1, 0, 0);
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
    set_producer(-1, -1, -1, BATCH_ATTR_TRANSACTIONAL);
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
}

Test(batch_validate, refuses_append_time_from_producers)
{
    /* The bit is the broker's; every record is named, as far as there is room. */
    make(COMPRESS_NONE, 20);
    batch_patch_append_time(batch.data, NOW_MS);
    EXPECT_ERR(validate(), ERR_INVALID_TIMESTAMP);
    cr_assert_eq(detail.total, 20);
    cr_assert_eq(detail.count, RECORD_ERROR_INDEXES_MAX);
    cr_assert_eq(detail.batch_indexes[3], 3);
    char message[100];
    record_error_text(&detail, 0, &rules, message, sizeof(message));
    cr_assert_str_eq(message, "Log append time is set by the broker, not by producers");
}

Test(batch_validate, bounds_create_times)
{
    /* Inclusive bounds before and after now; the records that break them are named with their time.
     */
    rules.before_max_ms = 0;
    rules.after_max_ms = 2; /* times are now, now+1, now+2 */
    EXPECT_OK(validate());
    rules.after_max_ms = 1;
    EXPECT_ERR(validate(), ERR_INVALID_TIMESTAMP);
    cr_assert_eq(detail.total, 1);
    cr_assert_eq(detail.count, 1);
    cr_assert_eq(detail.batch_indexes[0], 2);
    cr_assert_eq(detail.timestamps_ms[0], NOW_MS + 2);
    char message[200];
    record_error_text(&detail, 0, &rules, message, sizeof(message));
    cr_assert_str_eq(message,
                     "Timestamp 1700000002 of the record at index 2 is outside of what the "
                     "topic allows, 1700000000 to 1700000001");
    rules.now_ms = NOW_MS + 1;
    EXPECT_ERR(validate(), ERR_INVALID_TIMESTAMP);
    cr_assert_eq(detail.batch_indexes[0], 0);
    rules.before_max_ms = 1;
    EXPECT_OK(validate());
    rules.before_max_ms = INT64_MAX;
    rules.after_max_ms = 0;
    EXPECT_ERR(validate(), ERR_INVALID_TIMESTAMP);
    rules.log_append_time = true; /* then the broker's time replaces them */
    EXPECT_OK(validate());
}

Test(batch_validate, bounds_create_times_of_compressed_records)
{
    /* Inflated for that reason alone. */
    for (int codec = 1; codec < COMPRESS_COUNT; codec++) {
        make((enum compress_codec)codec, 5);
        rules.before_max_ms = INT64_MAX;
        rules.after_max_ms = 2;
        EXPECT_ERR(validate(), ERR_INVALID_TIMESTAMP);
        cr_assert_eq(detail.total, 2);
        cr_assert_eq(detail.batch_indexes[1], 4);
    }
}

Test(batch_validate, lets_records_have_no_time)
{
    /* -1 is in every range. */
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, -1, text("k"), text("v"), NULL, 0);
    buf_clear(&batch);
    EXPECT_OK(batch_builder_finish(&builder, &batch));
    batch_builder_fini(&builder);
    rules.before_max_ms = 10;
    rules.after_max_ms = 10;
    EXPECT_OK(validate());
    cr_assert_eq(detail.max_timestamp_ms, -1);
    cr_assert_eq(detail.fix, BATCH_FIX_NONE);
}

static void make_keyless(enum compress_codec codec, int64_t keyless_time_ms)
{
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    options.codec = codec;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, NOW_MS, text("k"), text("v"), NULL, 0);
    batch_builder_add(&builder, keyless_time_ms, text(NULL), text("v"), NULL, 0);
    batch_builder_add(&builder, NOW_MS, text(""), text("v"), NULL, 0);
    batch_builder_add(&builder, NOW_MS, text(NULL), text(NULL), NULL, 0);
    buf_clear(&batch);
    EXPECT_OK(batch_builder_finish(&builder, &batch));
    batch_builder_fini(&builder);
}

Test(batch_validate, wants_keys_where_the_topic_is_compacted)
{
    /* Null keys are named, empty ones are keys; in every codec; nobody else minds. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        make_keyless((enum compress_codec)codec, NOW_MS);
        rules.keys_required = false;
        EXPECT_OK(validate());
        rules.keys_required = true;
        EXPECT_ERR(validate(), ERR_INVALID_RECORD);
        cr_assert_eq(detail.total, 2);
        cr_assert_eq(detail.batch_indexes[0], 1);
        cr_assert_eq(detail.batch_indexes[1], 3);
        char message[100];
        record_error_text(&detail, 0, &rules, message, sizeof(message));
        cr_assert_str_eq(message, "A compacted topic needs a key in every record");
        make((enum compress_codec)codec, 3);
        EXPECT_OK(validate());
    }
}

Test(batch_validate, a_bad_time_outranks_a_missing_key)
{
    /* As Kafka: the batch's error is then that of timestamps; each record keeps its own. */
    make_keyless(COMPRESS_NONE, NOW_MS);
    rules.keys_required = true;
    rules.before_max_ms = 10;
    rules.after_max_ms = 10;
    rules.now_ms = NOW_MS + 100;
    EXPECT_ERR(validate(), ERR_INVALID_TIMESTAMP);
    cr_assert_eq(detail.total, 4);
    cr_assert_eq(detail.errs[0], ERR_INVALID_TIMESTAMP);
    cr_assert_eq(detail.errs[1], ERR_INVALID_RECORD);
}

Test(batch_validate, refuses_malformed_records)
{
    /* Walked without being asked when uncompressed, and when asked when compressed. */
    batch.data[batch.size - 1] = 2; /* header count of the last record */
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
    cr_assert_eq(detail.count, 0);

    make(COMPRESS_GZIP, 3);
    be32_put(batch.data + BATCH_AT_RECORD_COUNT, 4);
    be32_put(batch.data + BATCH_AT_LAST_OFFSET_DELTA, 3);
    EXPECT_OK(validate_fixed());
    rules.deep = true;
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
}

Test(batch_validate, refuses_what_does_not_decompress)
{
    /* Noise in place of records; too much of them. */
    for (int codec = 1; codec < COMPRESS_COUNT; codec++) {
        make((enum compress_codec)codec, 100);
        rules = batch_rules_default();
        rules.deep = true;
        rules.inflated_bytes_max = 500;
        EXPECT_ERR(validate(), ERR_MESSAGE_TOO_LARGE);
        memset(batch.data + BATCH_HEADER_SIZE, 0xff, 8);
        EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
        rules.deep = false;
        EXPECT_OK(validate_fixed());
    }
}

Test(batch_validate, refuses_records_that_decompress_to_nothing)
{
    /* Found by fuzzing: a xerial stream may be a header alone, which is no bytes and no memory. */
    make(COMPRESS_SNAPPY, 1);
    batch.size = BATCH_HEADER_SIZE + 16;
    be32_put(batch.data + BATCH_AT_LENGTH, (uint32_t)batch.size - BATCH_LENGTH_OVERHEAD);
    rules.deep = true;
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
    struct buf inflated = {0};
    struct record_iter it;
    struct record record;
    EXPECT_OK(record_iter_init(&it, bytes_of(&batch), 100, &inflated));
    cr_assert_not(record_iter_next(&it, &record));
    EXPECT_ERR(record_iter_end(&it), ERR_CORRUPT);
    EXPECT_ERR(batch_rebuild(bytes_of(&batch), &rules, &inflated, NULL), ERR_INVALID_RECORD);
    buf_fini(&inflated);
}

Test(batch_validate, says_when_the_max_timestamp_is_wrong)
{
    /* Too low or too high in the header: to be patched with that of the records. */
    batch_patch_max_timestamp(batch.data, NOW_MS + 1);
    EXPECT_OK(validate());
    cr_assert_eq(detail.fix, BATCH_FIX_MAX_TIMESTAMP);
    cr_assert_eq(detail.max_timestamp_ms, NOW_MS + 2);
    batch_patch_max_timestamp(batch.data, INT64_MAX);
    EXPECT_OK(validate());
    cr_assert_eq(detail.max_timestamp_ms, NOW_MS + 2);
    batch_patch_max_timestamp(batch.data, detail.max_timestamp_ms);
    EXPECT_OK(validate());
    cr_assert_eq(detail.fix, BATCH_FIX_NONE);
    batch_patch_max_timestamp(batch.data, 1);
    rules.log_append_time = true;
    EXPECT_OK(validate());
    cr_assert_eq(detail.fix, BATCH_FIX_NONE);
}

/* Sarama leaves the max timestamp at -1. Of compressed batches that was believed: by time they were
 * not found, and an idempotent producer was forgotten as one of long ago. */
Test(batch_validate, finds_the_max_timestamp_that_a_compressed_batch_lacks)
{
    for (int codec = COMPRESS_GZIP; codec < COMPRESS_COUNT; codec++) {
        make((enum compress_codec)codec, 3);
        batch_patch_max_timestamp(batch.data, BATCH_NONE);
        EXPECT_OK(validate());
        cr_assert_eq(detail.fix, BATCH_FIX_MAX_TIMESTAMP);
        cr_assert_eq(detail.max_timestamp_ms, NOW_MS + 2);
        rules.log_append_time = true; /* will be the broker's */
        EXPECT_OK(validate());
        cr_assert_eq(detail.fix, BATCH_FIX_NONE);
        cr_assert_eq(detail.inflated_bytes, 0);
        rules.log_append_time = false;
    }
}

Test(batch_validate, says_when_offsets_are_not_consecutive)
{
    /* Then the batch must be rebuilt; compressed ones only show it when they are inflated. */
    for (int codec = 0; codec < COMPRESS_COUNT; codec++) {
        struct batch_options options = batch_options_default();
        struct batch_builder builder;
        options.codec = (enum compress_codec)codec;
        batch_builder_init(&builder, &options);
        batch_builder_add_at(&builder, 3, NOW_MS, text("a"), text("v"), NULL, 0);
        batch_builder_add_at(&builder, 4, NOW_MS, text("b"), text("v"), NULL, 0);
        buf_clear(&batch);
        EXPECT_OK(batch_builder_finish(&builder, &batch));
        batch_builder_fini(&builder);
        be32_put(batch.data + BATCH_AT_LAST_OFFSET_DELTA, 1);
        rules.deep = true;
        EXPECT_OK(validate_fixed());
        cr_assert_eq(detail.fix, BATCH_FIX_REBUILD);
    }
}

Test(batch_validate, says_when_the_topic_wants_another_codec)
{
    /* compression.type other than producer's. */
    rules.codec = COMPRESS_NONE;
    EXPECT_OK(validate());
    cr_assert_eq(detail.fix, BATCH_FIX_NONE);
    rules.codec = COMPRESS_ZSTD;
    EXPECT_OK(validate());
    cr_assert_eq(detail.fix, BATCH_FIX_REBUILD);
    make(COMPRESS_ZSTD, 2);
    EXPECT_OK(validate());
    cr_assert_eq(detail.fix, BATCH_FIX_NONE);
}

Test(batch_validate, reports_the_first_fault_in_kafkas_order)
{
    /* Several faults at once: framing, base offset, size, CRC, counts, control, records. */
    be32_put(batch.data + BATCH_AT_RECORD_COUNT, 9);
    batch_patch_offset_epoch(batch.data, 1, 0);
    rules.size_bytes_max = 10;
    EXPECT_ERR(validate(), ERR_INVALID_RECORD);
    cr_assert(strstr(detail.message, "Base offset") != NULL);
    batch_patch_offset_epoch(batch.data, 0, 0);
    EXPECT_ERR(validate(), ERR_MESSAGE_TOO_LARGE);
    rules.size_bytes_max = 1000;
    EXPECT_ERR(validate(), ERR_CORRUPT_MESSAGE);
    EXPECT_ERR(validate_fixed(), ERR_INVALID_RECORD);
}
