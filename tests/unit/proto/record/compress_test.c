/* The four codecs: round trips, foreign variants, bounds, damaged input, threads. */
#include <pthread.h>

#include "base/rng.h"
#include "golden.h"
#include "support.h"

static const enum compress_codec codecs[] = {COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_SNAPPY,
                                             COMPRESS_LZ4, COMPRESS_ZSTD};
enum { CODEC_COUNT = 5 };

static void expect_round_trip(enum compress_codec codec, int32_t level, struct bytes in)
{
    struct buf packed = {0};
    struct buf unpacked = {0};
    buf_put_text(&packed, "before"); /* both append */
    buf_put_text(&unpacked, "before");
    EXPECT_OK(record_compress(codec, level, in, &packed));
    struct bytes exact = exact_copy((struct bytes){packed.data + 6, packed.size - 6});
    EXPECT_OK(record_decompress(codec, exact, in.size, &unpacked));
    cr_assert_eq(unpacked.size, in.size + 6, "%s level %d", compress_codec_name((int)codec), level);
    cr_assert(memcmp(unpacked.data, "before", 6) == 0);
    cr_assert(in.size == 0 || memcmp(unpacked.data + 6, in.data, in.size) == 0);
    mem_free((void *)exact.data);
    buf_fini(&packed);
    buf_fini(&unpacked);
}

Test(compress, gives_back_what_it_got)
{
    /* Sizes around the block sizes of snappy (32 KiB) and lz4 (64 KiB), noise and text; the bound
     * is the exact size. */
    const size_t sizes[] = {0, 1, 100, 32767, 32768, 32769, 65536, 65537, 300000};
    struct rng rng;
    rng_seed(&rng, 1);
    uint8_t *noise = mem_alloc(300000);
    uint8_t *words = mem_alloc(300000);
    for (size_t i = 0; i < 300000; i++) {
        noise[i] = (uint8_t)rng_next(&rng);
        words[i] = (uint8_t)("to be or not to be, "[i % 20]);
    }
    for (size_t c = 0; c < CODEC_COUNT; c++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            expect_round_trip(codecs[c], COMPRESS_LEVEL_DEFAULT, (struct bytes){noise, sizes[i]});
            expect_round_trip(codecs[c], COMPRESS_LEVEL_DEFAULT, (struct bytes){words, sizes[i]});
        }
    }
    mem_free(noise);
    mem_free(words);
}

Test(compress, takes_every_level)
{
    /* Changing levels between calls reuses or remakes the context as it must. */
    struct bytes in = text("a fairly repetitive text, a fairly repetitive text, a fairly ...");
    for (int32_t level = -2; level <= 22; level++) {
        for (size_t c = 0; c < CODEC_COUNT; c++) {
            expect_round_trip(codecs[c], level, in);
        }
    }
    expect_round_trip(COMPRESS_ZSTD, -131072, in);
    expect_round_trip(COMPRESS_GZIP, INT32_MAX, in);
}

Test(compress, knows_names_and_levels)
{
    /* As compression.type and the three level settings define them. */
    enum compress_codec codec;
    for (size_t c = 0; c < CODEC_COUNT; c++) {
        cr_assert(compress_codec_parse(str_of(compress_codec_name((int)c)), &codec));
        cr_assert_eq(codec, codecs[c]);
    }
    cr_assert(compress_codec_parse(STR("uncompressed"), &codec));
    cr_assert_eq(codec, COMPRESS_NONE);
    cr_assert_not(compress_codec_parse(STR("producer"), &codec));
    cr_assert_not(compress_codec_parse(STR_NULL, &codec));
    cr_assert_null(compress_codec_name(5));
    cr_assert_null(compress_codec_name(-1));

    cr_assert(compress_level_valid(COMPRESS_GZIP, -1) && compress_level_valid(COMPRESS_GZIP, 9));
    cr_assert_not(compress_level_valid(COMPRESS_GZIP, 0) ||
                  compress_level_valid(COMPRESS_GZIP, 10));
    cr_assert(compress_level_valid(COMPRESS_LZ4, 1) && compress_level_valid(COMPRESS_LZ4, 17));
    cr_assert_not(compress_level_valid(COMPRESS_LZ4, 0) || compress_level_valid(COMPRESS_LZ4, 18));
    cr_assert(compress_level_valid(COMPRESS_ZSTD, -131072) &&
              compress_level_valid(COMPRESS_ZSTD, 22));
    cr_assert_not(compress_level_valid(COMPRESS_ZSTD, 23));
    cr_assert(compress_level_valid(COMPRESS_SNAPPY, 99));
    cr_assert(compress_level_valid(COMPRESS_LZ4, COMPRESS_LEVEL_DEFAULT));
}

Test(compress, writes_xerial_frames)
{
    /* Java reads snappy only in these: magic, versions, then blocks of at most 32 KiB of content.
     */
    uint8_t *zeros = mem_zalloc(40000, 1);
    struct buf packed = {0};
    EXPECT_OK(record_compress(COMPRESS_SNAPPY, 0, (struct bytes){zeros, 40000}, &packed));
    static const uint8_t head[] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    cr_assert_arr_eq(packed.data, head, sizeof(head));
    size_t first = be32_get(packed.data + 16);
    size_t second = be32_get(packed.data + 20 + first);
    cr_assert_eq(packed.size, 24 + first + second);
    /* Content size of each block: its varint. */
    cr_assert_eq(packed.data[20] | packed.data[21] << 8 | packed.data[22] << 16, 0x028080);
    mem_free(zeros);
    buf_fini(&packed);
}

Test(compress, writes_lz4_that_java_reads)
{
    /* Version 01, independent blocks, no checksums, no content size; blocks of 64 KiB. */
    struct buf packed = {0};
    EXPECT_OK(record_compress(COMPRESS_LZ4, COMPRESS_LEVEL_DEFAULT, text("hello"), &packed));
    static const uint8_t head[] = {0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82};
    cr_assert_arr_eq(packed.data, head, sizeof(head));
    buf_fini(&packed);
}

static void expect_decompressed(enum compress_codec codec, const char *hex, const char *wanted)
{
    struct buf packed = {0};
    struct buf unpacked = {0};
    put_hex(&packed, hex);
    EXPECT_OK(record_decompress(codec, bytes_of(&packed), 100, &unpacked));
    cr_assert(bytes_are(bytes_of(&unpacked), wanted));
    buf_fini(&packed);
    buf_fini(&unpacked);
}

Test(compress, reads_bare_snappy_blocks)
{
    /* librdkafka sends them: varint 5, a literal of 5. */
    expect_decompressed(COMPRESS_SNAPPY, "051068656c6c6f", "hello");
}

Test(compress, reads_streams_one_after_the_other)
{
    /* Java's readers of gzip, zstd and xerial frames go on to the next stream. */
    const enum compress_codec joined[] = {COMPRESS_GZIP, COMPRESS_SNAPPY, COMPRESS_ZSTD};
    for (int i = 0; i < 3; i++) {
        struct buf packed = {0};
        struct buf unpacked = {0};
        EXPECT_OK(record_compress(joined[i], COMPRESS_LEVEL_DEFAULT, text("hello "), &packed));
        EXPECT_OK(record_compress(joined[i], COMPRESS_LEVEL_DEFAULT, text("world"), &packed));
        EXPECT_OK(record_decompress(joined[i], bytes_of(&packed), 100, &unpacked));
        cr_assert(bytes_are(bytes_of(&unpacked), "hello world"));
        buf_fini(&packed);
        buf_fini(&unpacked);
    }
}

Test(compress, stops_at_the_bound)
{
    /* 100 MiB of zeros packed small: refused after the bound, with memory in proportion to the
     * bound; the exact size is still accepted. */
    enum { MIB = 1 << 20, MIBS = 100 };
    uint8_t *zeros = mem_zalloc(MIB, MIBS);
    struct buf packed = {0};
    struct buf unpacked = {0};
    for (size_t c = 0; c < CODEC_COUNT; c++) {
        buf_clear(&packed);
        EXPECT_OK(record_compress(codecs[c], COMPRESS_LEVEL_DEFAULT,
                                  (struct bytes){zeros, (size_t)MIBS * MIB}, &packed));
        buf_fini(&unpacked);
        EXPECT_ERR(record_decompress(codecs[c], bytes_of(&packed), MIB, &unpacked),
                   ERR_MESSAGE_TOO_LARGE);
        cr_assert_eq(unpacked.size, 0);
        cr_assert_leq(unpacked.capacity, 4 * MIB, "%s", compress_codec_name((int)codecs[c]));
        EXPECT_ERR(
            record_decompress(codecs[c], bytes_of(&packed), (size_t)MIBS * MIB - 1, &unpacked),
            ERR_MESSAGE_TOO_LARGE);
        EXPECT_OK(record_decompress(codecs[c], bytes_of(&packed), (size_t)MIBS * MIB, &unpacked));
        cr_assert_eq(unpacked.size, (size_t)MIBS * MIB);
    }
    mem_free(zeros);
    buf_fini(&packed);
    buf_fini(&unpacked);
}

Test(compress, survives_nested_bombs_of_gzip_members)
{
    /* 1000 members of 1 MiB of zeros each, a gigabyte in a megabyte: bounded like one. */
    enum { MIB = 1 << 20 };
    uint8_t *zeros = mem_zalloc(MIB, 1);
    struct buf one = {0};
    struct buf bomb = {0};
    struct buf unpacked = {0};
    EXPECT_OK(record_compress(COMPRESS_GZIP, 9, (struct bytes){zeros, MIB}, &one));
    for (int i = 0; i < 1000; i++) {
        buf_put(&bomb, one.data, one.size);
    }
    EXPECT_ERR(record_decompress(COMPRESS_GZIP, bytes_of(&bomb), 10 * MIB, &unpacked),
               ERR_MESSAGE_TOO_LARGE);
    cr_assert_leq(unpacked.capacity, 40 * MIB);
    mem_free(zeros);
    buf_fini(&one);
    buf_fini(&bomb);
    buf_fini(&unpacked);
}

static void expect_cheap(enum compress_codec codec, const char *hex, enum err wanted)
{
    struct buf packed = {0};
    struct buf unpacked = {0};
    put_hex(&packed, hex);
    EXPECT_ERR(record_decompress(codec, bytes_of(&packed), 1 << 30, &unpacked), wanted);
    cr_assert_leq(unpacked.capacity, 1 << 20, "allocated %zu", unpacked.capacity);
    buf_fini(&packed);
    buf_fini(&unpacked);
}

Test(compress, does_not_believe_declared_sizes)
{
    /* Headers that promise up to 4 GiB with next to nothing behind them. */
    expect_cheap(COMPRESS_SNAPPY, "ffffffff0300", ERR_CORRUPT);
    expect_cheap(COMPRESS_SNAPPY, "82534e4150505900000000010000000100000006ffffffff0300",
                 ERR_CORRUPT);
    expect_cheap(COMPRESS_SNAPPY, "82534e41505059000000000100000001ffffffff00", ERR_CORRUPT);
    /* zstd: single segment, 8-byte content size of 512 MiB, one raw block of no bytes. */
    expect_cheap(COMPRESS_ZSTD, "28b52ffde00000002000000000010000", ERR_CORRUPT);
    /* zstd: a window of 2 GiB for the same block. Valid and empty: windows are not made at all. */
    expect_cheap(COMPRESS_ZSTD, "28b52ffd00a8010000", ERR_OK);
}

Test(compress, refuses_what_is_not_its_format)
{
    /* Nothing at all, noise, ends cut off at every byte, bytes behind the end. */
    struct bytes in = text("hello hello hello hello");
    for (size_t c = 1; c < CODEC_COUNT; c++) {
        struct buf packed = {0};
        struct buf unpacked = {0};
        EXPECT_OK(record_compress(codecs[c], COMPRESS_LEVEL_DEFAULT, in, &packed));
        EXPECT_ERR(record_decompress(codecs[c], (struct bytes){NULL, 0}, 100, &unpacked),
                   ERR_CORRUPT);
        EXPECT_ERR(record_decompress(codecs[c], text("\xff\xff\xff\xff\xff noise"), 100, &unpacked),
                   ERR_CORRUPT);
        for (size_t size = 1; size < packed.size; size++) {
            struct bytes cut = exact_copy((struct bytes){packed.data, size});
            /* A xerial stream may end after its header. */
            bool empty_frames = codecs[c] == COMPRESS_SNAPPY && size == 16;
            EXPECT_ERR(record_decompress(codecs[c], cut, 100, &unpacked),
                       empty_frames ? ERR_OK : ERR_CORRUPT);
            cr_assert_eq(unpacked.size, 0);
            mem_free((void *)cut.data);
        }
        buf_put_byte(&packed, 'x');
        EXPECT_ERR(record_decompress(codecs[c], bytes_of(&packed), 100, &unpacked), ERR_CORRUPT);
        buf_fini(&packed);
        buf_fini(&unpacked);
    }
}

Test(compress, recovers_after_damaged_input)
{
    /* An error in the middle of a stream leaves nothing in the thread's contexts. */
    struct bytes in = text("hello hello hello hello");
    for (size_t c = 1; c < CODEC_COUNT; c++) {
        struct buf packed = {0};
        struct buf unpacked = {0};
        EXPECT_OK(record_compress(codecs[c], COMPRESS_LEVEL_DEFAULT, in, &packed));
        for (size_t i = 0; i < packed.size; i++) {
            packed.data[i] ^= 0x10;
            enum err err = record_decompress(codecs[c], bytes_of(&packed), 100, &unpacked);
            cr_assert(err == ERR_OK || err == ERR_CORRUPT || err == ERR_MESSAGE_TOO_LARGE);
            packed.data[i] ^= 0x10;
            buf_clear(&unpacked);
            EXPECT_OK(record_decompress(codecs[c], bytes_of(&packed), 100, &unpacked));
            cr_assert_eq(unpacked.size, in.size);
            buf_clear(&unpacked);
        }
        buf_fini(&packed);
        buf_fini(&unpacked);
    }
}

Test(compress, forgets_the_content_size_of_a_frame_given_up)
{
    /* Found by fuzzing: liblz4's context kept how much was missing of a damaged frame that declares
     * its content size, and refused the thread's next frame for it. */
    struct buf damaged = {0};
    struct buf unpacked = {0};
    put_hex(&damaged, GOLDEN_PYTHON_LZ4);
    struct bytes frame = {damaged.data + BATCH_HEADER_SIZE, damaged.size - BATCH_HEADER_SIZE};
    EXPECT_OK(record_decompress(COMPRESS_LZ4, frame, 1000, &unpacked));
    for (size_t size = 1; size < frame.size; size++) {
        EXPECT_ERR(
            record_decompress(COMPRESS_LZ4, (struct bytes){frame.data, size}, 1000, &unpacked),
            ERR_CORRUPT);
        expect_round_trip(COMPRESS_LZ4, COMPRESS_LEVEL_DEFAULT, text("no content size here"));
        EXPECT_ERR(record_decompress(COMPRESS_LZ4, frame, 10, &unpacked), ERR_MESSAGE_TOO_LARGE);
        expect_round_trip(COMPRESS_LZ4, COMPRESS_LEVEL_DEFAULT, text("no content size here"));
    }
    buf_fini(&damaged);
    buf_fini(&unpacked);
}

static void *round_trips(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        for (size_t c = 0; c < CODEC_COUNT; c++) {
            expect_round_trip(codecs[c], COMPRESS_LEVEL_DEFAULT, text("hello from a thread"));
        }
    }
    return NULL;
}

Test(compress, gives_each_thread_its_contexts)
{
    /* Several threads at once; the leak checker sees contexts that a thread leaves behind. */
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, round_trips, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
}
