/* Every version of every message, with content from a seed. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "codec/api.h"
#include "codec/messages.h"
#include "random_message.h"

#define FOR_EACH_VERSION(desc, version)                                                            \
    for (int i_ = 0; i_ < codec_messages_count; i_++)                                              \
        for (const struct msg_desc *desc = codec_messages[i_]; desc != NULL; desc = NULL)          \
            for (int16_t version = desc->versions.first; version <= desc->versions.last; version++)

/* Decodes, with the input in memory of exactly its size so that a sanitizer sees a read too far. */
static enum err decode_exact(const struct msg_desc *desc, int16_t version, const uint8_t *data,
                             size_t size, struct arena *arena, void *out, size_t *used)
{
    uint8_t *copy = mem_alloc(size > 0 ? size : 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    enum err err = codec_decode(desc, version, (struct bytes){copy, size}, arena, out, used);
    mem_free(copy);
    return err;
}

static void check_round_trip(const struct msg_desc *desc, int16_t version, const void *msg,
                             struct arena *arena, bool compare)
{
    struct buf wire = {0};
    struct buf again = {0};
    size_t size;
    cr_assert_eq(codec_encode(desc, version, msg, &wire), ERR_OK, "%s %d", desc->name, version);
    cr_assert_eq(codec_size(desc, version, msg, &size), ERR_OK);
    cr_assert_eq(size, wire.size, "%s %d: size", desc->name, version);

    void *back = arena_alloc(arena, desc->size);
    size_t used;
    struct bytes in = {wire.data, wire.size};
    cr_assert_eq(codec_decode(desc, version, in, arena, back, &used), ERR_OK, "%s %d", desc->name,
                 version);
    cr_assert_eq(used, wire.size, "%s %d: used", desc->name, version);
    if (compare) {
        cr_assert(codec_equal(desc, msg, back), "%s %d: not equal", desc->name, version);
    }
    cr_assert_eq(codec_encode(desc, version, back, &again), ERR_OK);
    cr_assert_eq(again.size, wire.size, "%s %d: second size", desc->name, version);
    cr_assert(wire.size == 0 || memcmp(again.data, wire.data, wire.size) == 0);
    buf_fini(&wire);
    buf_fini(&again);
}

Test(codec_roundtrip, every_version_of_every_message_comes_back_equal)
{
    /* What is encoded decodes to an equal message, and that encodes to the same bytes: with every
     * nullable null, with everything set, and with random mixtures, 20 per version. */
    struct rng rng;
    rng_seed(&rng, 1);
    int checked = 0;
    FOR_EACH_VERSION(desc, version)
    {
        struct arena arena = {0};
        for (int k = 0; k < 22; k++) {
            enum fill_mode mode = k == 0 ? FILL_NULLS : k == 1 ? FILL_FULL : FILL_RANDOM;
            void *msg = random_message(&rng, desc, version, mode, &arena);
            check_round_trip(desc, version, msg, &arena, true);
            arena_reset(&arena);
        }
        arena_fini(&arena);
        checked++;
    }
    cr_assert_geq(checked, 753, "versions are missing: %d", checked);
}

Test(codec_roundtrip, defaults_can_be_encoded_in_every_version)
{
    /* codec_init() gives no field a value that some version cannot carry. Records are null by
     * default and come back empty where they cannot be null, so only bytes are compared. */
    FOR_EACH_VERSION(desc, version)
    {
        struct arena arena = {0};
        check_round_trip(desc, version, codec_array(desc, &arena, 1), &arena, false);
        arena_fini(&arena);
    }
}

Test(codec_roundtrip, equality_is_equality_of_the_bytes)
{
    /* codec_equal() says of two random messages what their encodings say; a copy of one in which a
     * single bit of the encoding differs is another message or none. */
    struct rng rng;
    rng_seed(&rng, 2);
    FOR_EACH_VERSION(desc, version)
    {
        struct arena arena = {0};
        struct buf a = {0};
        void *msg = random_message(&rng, desc, version, FILL_FULL, &arena);
        cr_assert_eq(codec_encode(desc, version, msg, &a), ERR_OK);
        for (int k = 0; k < 20 && a.size > 0; k++) {
            size_t at = rng_below(&rng, a.size);
            uint8_t flip = (uint8_t)(1u << rng_below(&rng, 8));
            a.data[at] ^= flip;
            uint8_t *other = arena_alloc(&arena, desc->size);
            struct bytes in = {a.data, a.size};
            struct buf b = {0};
            if (codec_decode(desc, version, in, &arena, other, NULL) == ERR_OK) {
                struct buf original = {0};
                cr_assert_eq(codec_encode(desc, version, other, &b), ERR_OK);
                cr_assert_eq(codec_encode(desc, version, msg, &original), ERR_OK);
                bool same = b.size == original.size && memcmp(b.data, original.data, b.size) == 0;
                cr_assert_eq(codec_equal(desc, msg, other), same, "%s %d", desc->name, version);
                buf_fini(&original);
            }
            a.data[at] ^= flip;
            buf_fini(&b);
        }
        buf_fini(&a);
        arena_fini(&arena);
    }
}

Test(codec_roundtrip, truncation_at_every_byte_is_refused_and_allocates_nothing)
{
    /* No message is the beginning of another, so every shorter input is malformed; nothing is
     * allocated for it and the caller's struct is not touched. */
    struct rng rng;
    rng_seed(&rng, 3);
    FOR_EACH_VERSION(desc, version)
    {
        struct arena made = {0};
        struct buf wire = {0};
        void *msg = random_message(&rng, desc, version, FILL_FULL, &made);
        cr_assert_eq(codec_encode(desc, version, msg, &wire), ERR_OK);
        uint8_t *out = arena_zalloc(&made, 1, desc->size);
        uint8_t *zeros = arena_zalloc(&made, 1, desc->size);
        size_t step = wire.size > 2000 ? 7 : 1; /* the long ones in strides, for time's sake */
        for (size_t size = 0; size < wire.size; size += step) {
            struct arena arena = {0};
            enum err err = decode_exact(desc, version, wire.data, size, &arena, out, NULL);
            cr_assert_eq(err, ERR_MALFORMED, "%s %d at %zu", desc->name, version, size);
            cr_assert_eq(arena_size(&arena), 0);
        }
        cr_assert_eq(memcmp(out, zeros, desc->size), 0);
        buf_fini(&wire);
        arena_fini(&made);
    }
}

Test(codec_roundtrip, damaged_bytes_give_an_error_or_a_message_of_bounded_size)
{
    /* Bytes changed at random never make the decoder read or allocate out of proportion, and what
     * it accepts it can encode again and gets back equal. */
    struct rng rng;
    rng_seed(&rng, 4);
    FOR_EACH_VERSION(desc, version)
    {
        struct arena arena = {0};
        struct buf wire = {0};
        void *msg = random_message(&rng, desc, version, FILL_RANDOM, &arena);
        cr_assert_eq(codec_encode(desc, version, msg, &wire), ERR_OK);
        for (int k = 0; k < 30 && wire.size > 0; k++) {
            wire.data[rng_below(&rng, wire.size)] = (uint8_t)rng_next(&rng);
            struct bytes in = {wire.data, wire.size};
            size_t memory;
            if (codec_measure(desc, version, in, &memory, NULL) != ERR_OK) {
                continue;
            }
            cr_assert_leq(memory, CODEC_EXPANSION_MAX * wire.size, "%s %d", desc->name, version);
            void *out = arena_alloc(&arena, desc->size);
            cr_assert_eq(codec_decode(desc, version, in, &arena, out, NULL), ERR_OK);
            check_round_trip(desc, version, out, &arena, true);
        }
        buf_fini(&wire);
        arena_fini(&arena);
    }
}

Test(codec_roundtrip, random_bytes_never_do_harm)
{
    /* Input that never was a message, in every version. */
    struct rng rng;
    rng_seed(&rng, 5);
    FOR_EACH_VERSION(desc, version)
    {
        for (int k = 0; k < 20; k++) {
            uint8_t noise[64];
            size_t size = rng_below(&rng, sizeof(noise) + 1);
            for (size_t i = 0; i < size; i++) {
                noise[i] = rng_one_in(&rng, 2) ? 0 : (uint8_t)rng_below(&rng, 20);
            }
            struct arena arena = {0};
            uint8_t *out = mem_alloc(desc->size);
            size_t used = 0;
            enum err err = decode_exact(desc, version, noise, size, &arena, out, &used);
            cr_assert(err == ERR_OK || err == ERR_MALFORMED);
            cr_assert_leq(used, size);
            mem_free(out);
            arena_fini(&arena);
        }
    }
}
