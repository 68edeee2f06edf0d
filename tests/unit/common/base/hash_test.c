/* The hash of tables whose keys come from strangers. */
#include "base/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t of(const char *text)
{
    return hash_bytes(text, strlen(text));
}

/* Values of another implementation, CPython's with PYTHONHASHSEED=0. */
Test(hash, is_siphash_1_3)
{
    cr_assert_eq(of("a"), 0x407448d2b89b1813);
    cr_assert_eq(of("abc"), 0xc03bc3a0042630f2);
    cr_assert_eq(of("orders"), 0x52adb308ec5c4bb4);
    cr_assert_eq(of("exactly8"), 0x9e90d598a0fe358f);
    cr_assert_eq(of("sixteen bytes ok"), 0x990122690d52edb7);
    cr_assert_eq(of("a topic of some length, longer"), 0x1e2a4620f76834a9);
    cr_assert_eq(hash_bytes(NULL, 0), of(""));
}

/* Names that fall into one place of a table do so by chance with every other key. */
Test(hash, names_that_collide_by_one_key_do_not_by_another)
{
    enum { PLACES = 256, FOUND = 64 };
    char names[FOUND][32];
    int found = 0;
    for (int i = 0; found < FOUND; i++) {
        snprintf(names[found], sizeof(names[found]), "topic-%d", i);
        found += of(names[found]) % PLACES == 7;
    }
    hash_set_key(1, 2);
    int together = 0;
    for (int i = 0; i < FOUND; i++) {
        together += of(names[i]) % PLACES == of(names[0]) % PLACES;
    }
    cr_assert_lt(together, 16);
}

Test(hash, the_key_that_is_drawn_is_another_one_each_time)
{
    uint64_t before = of("orders");
    hash_draw_key();
    uint64_t drawn = of("orders");
    hash_draw_key();
    cr_assert_neq(drawn, before);
    cr_assert_neq(of("orders"), drawn);
}

struct item {
    UT_hash_handle hh;
    int number;
};

/* What is iterated over is in the order of insertion, whatever the key. */
Test(hash, a_tables_order_does_not_depend_on_the_key)
{
    struct item *table = NULL;
    struct item items[100];
    int expected = 0;
    hash_set_key(3, 4);
    for (int i = 0; i < 100; i++) {
        items[i].number = i;
        HASH_ADD_INT(table, number, &items[i]);
    }
    for (struct item *at = table; at != NULL; at = at->hh.next) {
        cr_assert_eq(at->number, expected++);
    }
    cr_assert_eq(expected, 100);
    HASH_CLEAR(hh, table);
}
