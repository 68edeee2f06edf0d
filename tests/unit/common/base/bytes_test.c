#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

Test(str, null_is_not_empty)
{
    cr_assert(str_eq(STR_NULL, STR_NULL));
    cr_assert(!str_eq(STR_NULL, STR("")));
    cr_assert(!str_eq(STR(""), STR_NULL));
    cr_assert(str_is(STR_NULL, NULL));
    cr_assert(str_is(STR("a"), "a"));
    cr_assert(!str_is(STR("a"), "ab"));
    cr_assert_null(str_dup(STR_NULL));
    char *copy = str_dup((struct str){"topic-0", 5});
    cr_assert_str_eq(copy, "topic");
    mem_free(copy);
}

/* The order of unsigned bytes, shorter first, null before all: what sorted znodes and tables need.
 */
Test(str, cmp_is_the_order_of_unsigned_bytes)
{
    const struct str ordered[] = {STR_NULL, STR(""), STR("a"), STR("a\x01"), STR("b"), STR("\xff")};
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 6; j++) {
            int order = str_cmp(ordered[i], ordered[j]);
            cr_assert_eq((order > 0) - (order < 0), (i > j) - (i < j), "%d %d", i, j);
        }
    }
}

/* As java.lang.String.hashCode() computes it; values from a JVM. */
Test(str, java_hash_is_that_of_java)
{
    cr_assert_eq(str_java_hash(STR("")), 0);
    cr_assert_eq(str_java_hash(STR("a")), 97);
    cr_assert_eq(str_java_hash(STR("my-group")), -1906497762);
    cr_assert_eq(str_java_hash(STR("console-consumer-12345")), 158455506);
    cr_assert_eq(str_java_hash(STR("polygenelubricants")), INT32_MIN);
    cr_assert_eq(str_java_hash(STR("\xc3\xa9")), 0xe9);
    cr_assert_eq(str_java_hash(STR("\xf0\x9f\x98\x80")), 0xd83d * 31 + 0xde00);
    cr_assert_eq(str_java_hash(STR("\xff")), 0xfffd);
}

static uint32_t point(const char *text, size_t *used)
{
    return utf8_next((const uint8_t *)text, strlen(text), used);
}

Test(utf8, good_sequences_are_one_point_and_bad_ones_one_byte)
{
    static const struct {
        const char *text;
        uint32_t point;
        size_t used;
    } cases[] = {
        {"z", 'z', 1},
        {"\xc2\x80", 0x80, 2},
        {"\xe2\x82\xac", 0x20ac, 3},
        {"\xef\xbf\xbd", 0xfffd, 3},
        {"\xf4\x8f\xbf\xbf", 0x10ffff, 4},
        {"\xf4\x90\x80\x80", 0xfffd, 1}, /* above the last */
        {"\xed\xa0\x80", 0xfffd, 1},     /* half of a surrogate pair */
        {"\xc0\xaf", 0xfffd, 1},         /* longer than need be */
        {"\xe0\x80\xaf", 0xfffd, 1},
        {"\x80", 0xfffd, 1},
        {"\xe2\x82", 0xfffd, 1}, /* cut */
        {"\xe2x\xac", 0xfffd, 1},
        {"\xff", 0xfffd, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t used = 0;
        cr_assert_eq(point(cases[i].text, &used), cases[i].point, "case %zu", i);
        cr_assert_eq(used, cases[i].used, "case %zu", i);
    }
}

Test(be, integers_are_big_endian_at_any_address)
{
    uint8_t raw[16] = {0};
    be16_put(raw + 1, 0x0102);
    be32_put(raw + 3, 0x03040506);
    be64_put(raw + 7, 0x0708090a0b0c0d0eu);
    for (int i = 1; i < 15; i++) {
        cr_assert_eq(raw[i], i);
    }
    cr_assert_eq(be16_get(raw + 1), 0x0102);
    cr_assert_eq(be32_get(raw + 3), 0x03040506);
    cr_assert_eq(be64_get(raw + 7), 0x0708090a0b0c0d0eu);
}

Test(buf, grows_and_keeps_what_is_there)
{
    struct buf buf = {0};
    for (int i = 0; i < 10000; i++) {
        buf_put_be32(&buf, (uint32_t)i);
    }
    cr_assert_eq(buf.size, 40000);
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(be32_get(buf.data + 4 * i), (uint32_t)i);
    }
    size_t capacity = buf.capacity;
    buf_clear(&buf);
    buf_put(&buf, NULL, 0);
    buf_put_text(&buf, "x=");
    buf_printf(&buf, "%d%s", 12, "y");
    buf_put_byte(&buf, '!');
    buf_put_be16(&buf, 0x4142);
    cr_assert_eq(buf.capacity, capacity);
    cr_assert_eq(buf.size, 8);
    cr_assert_eq(memcmp(buf.data, "x=12y!AB", 8), 0);
    buf_fini(&buf);
    cr_assert_null(buf.data);
}

/* Not cryptography; but near keys must not fall together, and the seed must count. */
Test(bytes_hash, spreads_near_keys_over_few_slots)
{
    int slots[64] = {0};
    char key[32];
    for (int i = 0; i < 6400; i++) {
        int size = snprintf(key, sizeof(key), "topic-%d", i);
        slots[bytes_hash(key, (size_t)size, 0) % 64]++;
    }
    for (int i = 0; i < 64; i++) {
        cr_assert_gt(slots[i], 50);
        cr_assert_lt(slots[i], 150);
    }
    cr_assert_neq(bytes_hash("a", 1, 0), bytes_hash("a", 1, 1));
}
