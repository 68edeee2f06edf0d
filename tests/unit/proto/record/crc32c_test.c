/* Both checksums against their published check values, whole and in pieces. */
#include "support.h"

Test(crc32c, agrees_with_the_check_values)
{
    /* The polynomial, reflection and inversions are the right ones. */
    cr_assert_eq(crc32c(text("123456789")), 0xe3069283u);
    cr_assert_eq(crc32_zlib(text("123456789")), 0xcbf43926u);
    uint8_t zeros[32] = {0}; /* RFC 3720, B.4 */
    cr_assert_eq(crc32c((struct bytes){zeros, sizeof(zeros)}), 0x8a9136aau);
}

Test(crc32c, of_nothing_is_zero)
{
    /* The start value of the incremental form. */
    cr_assert_eq(crc32c((struct bytes){NULL, 0}), 0u);
    cr_assert_eq(crc32_zlib((struct bytes){NULL, 0}), 0u);
}

Test(crc32c, in_pieces_equals_whole)
{
    /* Splitting anywhere, also at odd addresses and within ISA-L's block sizes, changes nothing. */
    uint8_t data[3000];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    uint32_t whole = crc32c((struct bytes){data, sizeof(data)});
    for (size_t cut = 0; cut <= sizeof(data); cut++) {
        uint32_t first = crc32c((struct bytes){data, cut});
        uint32_t both = crc32c_extend(first, (struct bytes){data + cut, sizeof(data) - cut});
        cr_assert_eq(both, whole, "cut at %zu", cut);
    }
}
