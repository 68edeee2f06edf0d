/* Headers of batches: reading from few bytes, checksums, patches in place, sequences. */
#include "support.h"

static struct buf batch;

static void setup(void)
{
    put_batch(&batch, COMPRESS_NONE, 3);
}

static void teardown(void)
{
    buf_fini(&batch);
}

TestSuite(batch, .init = setup, .fini = teardown);

Test(batch, header_needs_61_bytes)
{
    /* Every shorter prefix asks for more; the header alone is enough, the records need not be
     * there. */
    struct batch_header header;
    for (size_t size = 0; size < BATCH_HEADER_SIZE; size++) {
        struct bytes in = exact_copy((struct bytes){batch.data, size});
        EXPECT_ERR(batch_read_header(in, &header), ERR_AGAIN);
        EXPECT_ERR(entry_read_header(in, &header), ERR_AGAIN);
        mem_free((void *)in.data);
    }
    struct bytes in = exact_copy((struct bytes){batch.data, BATCH_HEADER_SIZE});
    EXPECT_OK(batch_read_header(in, &header));
    cr_assert_eq(batch_size_bytes(&header), batch.size);
    mem_free((void *)in.data);
}

Test(batch, header_has_every_field_in_its_place)
{
    /* Each field of a header made by hand, with a different value in every byte. */
    struct buf raw = {0};
    put_hex(&raw, "0102030405060708"
                  "00000031"
                  "090a0b0c"
                  "02"
                  "0d0e0f10"
                  "0074"
                  "11121314"
                  "15161718191a1b1c"
                  "1d1e1f2021222324"
                  "25262728292a2b2c"
                  "2d2e"
                  "2f303132"
                  "33343536");
    struct batch_header h;
    EXPECT_OK(batch_read_header(bytes_of(&raw), &h));
    cr_assert_eq(h.base_offset, 0x0102030405060708);
    cr_assert_eq(h.length, 49);
    cr_assert_eq(h.leader_epoch, 0x090a0b0c);
    cr_assert_eq(h.magic, 2);
    cr_assert_eq(h.crc, 0x0d0e0f10u);
    cr_assert_eq(h.attributes, 0x74);
    cr_assert_eq(h.last_offset_delta, 0x11121314);
    cr_assert_eq(h.base_timestamp_ms, 0x15161718191a1b1c);
    cr_assert_eq(h.max_timestamp_ms, 0x1d1e1f2021222324);
    cr_assert_eq(h.producer_id, 0x25262728292a2b2c);
    cr_assert_eq(h.producer_epoch, 0x2d2e);
    cr_assert_eq(h.base_sequence, 0x2f303132);
    cr_assert_eq(h.record_count, 0x33343536);
    cr_assert_eq(batch_codec(&h), COMPRESS_ZSTD);
    cr_assert(batch_is_transactional(&h) && batch_is_control(&h) && batch_has_delete_horizon(&h));
    cr_assert_eq(batch_timestamp_type(&h), BATCH_CREATE_TIME);
    cr_assert_eq(batch_last_offset(&h), 0x0102030405060708 + 0x11121314);
    buf_fini(&raw);
}

Test(batch, header_with_impossible_length_or_magic_is_corrupt)
{
    /* Found as soon as the field is there, before 61 bytes are. */
    struct batch_header header;
    const uint32_t lengths[] = {0, 48, INT32_MAX - 11, INT32_MAX, 0x80000000u, 0xffffffffu};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        be32_put(batch.data + BATCH_AT_LENGTH, lengths[i]);
        EXPECT_ERR(batch_read_header(bytes_of(&batch), &header), ERR_CORRUPT);
        EXPECT_ERR(batch_read_header((struct bytes){batch.data, 12}, &header), ERR_CORRUPT);
        EXPECT_ERR(batch_check_crc(bytes_of(&batch)), ERR_CORRUPT);
    }
    be32_put(batch.data + BATCH_AT_LENGTH, INT32_MAX - 12);
    EXPECT_OK(batch_read_header(bytes_of(&batch), &header));
    for (int magic = 0; magic < 256; magic++) {
        batch.data[BATCH_AT_MAGIC] = (uint8_t)magic;
        EXPECT_ERR(batch_read_header((struct bytes){batch.data, 17}, &header),
                   magic == 2 ? ERR_AGAIN : ERR_CORRUPT);
    }
}

Test(batch, crc_covers_everything_behind_it)
{
    /* Every flipped bit from the attributes on is seen; base offset and leader epoch are not
     * covered, so that a leader may set them. */
    EXPECT_OK(batch_check_crc(bytes_of(&batch)));
    for (size_t i = 0; i < batch.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            batch.data[i] ^= (uint8_t)(1 << bit);
            bool free_field =
                i < BATCH_AT_LENGTH || (i >= BATCH_AT_LEADER_EPOCH && i < BATCH_AT_MAGIC);
            EXPECT_ERR(batch_check_crc(bytes_of(&batch)), free_field ? ERR_OK : ERR_CORRUPT);
            batch.data[i] ^= (uint8_t)(1 << bit);
        }
    }
}

Test(batch, crc_of_a_cut_batch_is_wrong)
{
    /* At every length, and without reading behind the end. */
    for (size_t size = 0; size < batch.size; size++) {
        struct bytes in = exact_copy((struct bytes){batch.data, size});
        EXPECT_ERR(batch_check_crc(in), ERR_CORRUPT);
        mem_free((void *)in.data);
    }
}

Test(batch, offset_and_epoch_are_patched_without_a_new_crc)
{
    /* What a leader does to every batch. */
    struct batch_header header;
    uint32_t crc = be32_get(batch.data + BATCH_AT_CRC);
    batch_patch_offset_epoch(batch.data, 1000, 7);
    EXPECT_OK(batch_read_header(bytes_of(&batch), &header));
    cr_assert_eq(header.base_offset, 1000);
    cr_assert_eq(batch_last_offset(&header), 1002);
    cr_assert_eq(header.leader_epoch, 7);
    cr_assert_eq(header.crc, crc);
    EXPECT_OK(batch_check_crc(bytes_of(&batch)));
}

Test(batch, append_time_replaces_the_times_of_all_records)
{
    /* Bit 3, max timestamp and CRC; the records then all have that time. */
    struct record_iter it;
    struct record record;
    int count = 0;
    batch_patch_append_time(batch.data, 4242);
    EXPECT_OK(batch_check_crc(bytes_of(&batch)));
    EXPECT_OK(record_iter_init(&it, bytes_of(&batch), 0, NULL));
    cr_assert_eq(batch_timestamp_type(&it.header), BATCH_LOG_APPEND_TIME);
    cr_assert_eq(it.header.max_timestamp_ms, 4242);
    while (record_iter_next(&it, &record)) {
        cr_assert_eq(record.timestamp_ms, 4242);
        count++;
    }
    cr_assert_eq(count, 3);
}

Test(batch, max_timestamp_is_patched_with_its_crc)
{
    /* The time type stays. */
    struct batch_header header;
    batch_patch_max_timestamp(batch.data, 99);
    EXPECT_OK(batch_check_crc(bytes_of(&batch)));
    EXPECT_OK(batch_read_header(bytes_of(&batch), &header));
    cr_assert_eq(header.max_timestamp_ms, 99);
    cr_assert_eq(batch_timestamp_type(&header), BATCH_CREATE_TIME);
}

Test(batch, sequences_wrap_to_zero)
{
    /* After 2^31-1 comes 0. */
    cr_assert_eq(batch_sequence_add(INT32_MAX, 1), 0);
    cr_assert_eq(batch_sequence_add(INT32_MAX - 1, 3), 1);
    cr_assert_eq(batch_sequence_add(5, 0), 5);
    struct batch_header header = {.base_sequence = INT32_MAX, .last_offset_delta = 2};
    cr_assert_eq(batch_last_sequence(&header), 1);
    header.base_sequence = BATCH_NONE;
    cr_assert_eq(batch_last_sequence(&header), BATCH_NONE);
}

Test(batch, last_offset_of_nonsense_does_not_overflow)
{
    /* A header that was only read may hold anything; a sanitizer watches. */
    struct batch_header header = {.base_offset = INT64_MAX, .last_offset_delta = INT32_MAX};
    cr_assert_lt(batch_last_offset(&header), 0);
}
