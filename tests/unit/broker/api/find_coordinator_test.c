/* Where groups are kept: the same partition that Kafka's brokers and tools name. */
#include "api/find_coordinator.h"

#include <criterion/criterion.h>

Test(find_coordinator, partition_is_javas_hash_modulo_the_count)
{
    /* String.hashCode() of each, by hand: "a" 97, "ab" 97 * 31 + 98; of text beyond ASCII over its
     * UTF-16 units: U+00E4 is 228, U+1F600 is the pair 55357, 56832. */
    cr_expect_eq(coordinator_partition(STR(""), 50), 0);
    cr_expect_eq(coordinator_partition(STR("a"), 50), 97 % 50);
    cr_expect_eq(coordinator_partition(STR("ab"), 50), (97 * 31 + 98) % 50);
    cr_expect_eq(coordinator_partition(STR("\xc3\xa4"), 50), 228 % 50);
    cr_expect_eq(coordinator_partition(STR("\xf0\x9f\x98\x80"), 50), (55357 * 31 + 56832) % 50);
    cr_expect_eq(coordinator_partition(STR("a"), 1), 0);
}

Test(find_coordinator, partition_of_a_negative_hash_is_that_of_its_absolute_value)
{
    /* "polygenelubricants" is famous for the hash -2^31, whose absolute value Java takes for 0. Of
     * the others, computed from the definition of String.hashCode(), all but the last are negative.
     */
    cr_expect_eq(coordinator_partition(STR("polygenelubricants"), 50), 0);
    cr_expect_eq(coordinator_partition(STR("registred_user"), 50), 43);      /* -1779568593 */
    cr_expect_eq(coordinator_partition(STR("my-group"), 50), 12);            /* -1906497762 */
    cr_expect_eq(coordinator_partition(STR("test-consumer-group"), 50), 31); /* -1793216381 */
    cr_expect_eq(coordinator_partition(STR("connect-cluster"), 50), 13);     /* 1440343063 */
}
