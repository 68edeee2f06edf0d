#include <criterion/criterion.h>
#include <string.h>

#include "base/uuid.h"

static struct uuid counting(void)
{
    struct uuid id;
    for (int i = 0; i < 16; i++) {
        id.raw[i] = (uint8_t)(i * 17);
    }
    return id;
}

/* URL-safe base64 without padding, as Kafka prints topic ids; made with Java's encoder. */
Test(uuid, text_is_that_of_kafka)
{
    char text[UUID_TEXT_SIZE + 1];
    struct uuid zero = {{0}};
    struct uuid ones;
    memset(ones.raw, 0xff, sizeof(ones.raw));
    uuid_format(zero, text);
    cr_assert_str_eq(text, "AAAAAAAAAAAAAAAAAAAAAA");
    uuid_format(ones, text);
    cr_assert_str_eq(text, "_____________________w");
    uuid_format(counting(), text);
    cr_assert_str_eq(text, "ABEiM0RVZneImaq7zN3u_w");
    char hex[37];
    uuid_format_hex(counting(), hex);
    cr_assert_str_eq(hex, "00112233-4455-6677-8899-aabbccddeeff");
}

Test(uuid, parsing_is_the_inverse_of_formatting)
{
    struct rng rng;
    char text[UUID_TEXT_SIZE + 1];
    rng_seed(&rng, 9);
    for (int i = 0; i < 1000; i++) {
        struct uuid id = uuid_random(&rng);
        struct uuid back;
        uuid_format(id, text);
        cr_assert_eq(strlen(text), UUID_TEXT_SIZE);
        cr_assert_neq(text[0], '-');
        cr_assert_eq(id.raw[6] >> 4, 4);
        cr_assert_eq(id.raw[8] >> 6, 2);
        cr_assert(uuid_parse(str_of(text), &back));
        cr_assert(uuid_eq(id, back));
    }
}

Test(uuid, what_is_not_one_leaves_the_id_alone)
{
    static const char *const wrong[] = {"",
                                        "AAAAAAAAAAAAAAAAAAAAA",
                                        "AAAAAAAAAAAAAAAAAAAAAAA",
                                        "AAAAAAAAAAAAAAAAAAAAA=",
                                        "AAAAAAAAAAAAAAAAAAAA+/",
                                        "AAAAAAAAAAAA AAAAAAAAA"};
    struct uuid id = counting();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert(!uuid_parse(str_of(wrong[i]), &id));
    }
    cr_assert(!uuid_parse(STR_NULL, &id));
    cr_assert(!uuid_parse((struct str){"AAAAAAAAAAAAAAAAAAAAA\0", 22}, &id));
    cr_assert(uuid_eq(id, counting()));
    cr_assert(uuid_is_zero((struct uuid){{0}}));
    cr_assert(!uuid_is_zero(id));
}
