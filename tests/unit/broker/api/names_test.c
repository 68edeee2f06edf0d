/* Names that occur more than once in a request. */
#include "api/names.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"

Test(names, that_are_null_are_not_those_that_are_empty)
{
    struct arena arena = {0};
    struct str names[] = {STR("a"), STR_NULL, STR(""), STR("b"), STR(""), STR_NULL, STR("a")};
    static const int32_t wanted[] = {0, 1, 2, 3, 2, 1, 0};
    const int32_t *first = names_first(&arena, names, 7);
    const bool *again = names_again(&arena, names, 7);
    const bool *repeated = names_repeated(&arena, names, 7);
    for (int32_t i = 0; i < 7; i++) {
        cr_expect_eq(first[i], wanted[i], "%d", i);
        cr_expect_eq(again[i], wanted[i] != i, "%d", i);
        cr_expect_eq(repeated[i], i != 3, "%d", i);
    }
    (void)names_first(&arena, NULL, 0);
    arena_fini(&arena);
}

/* Against looking at each of those before. */
Test(names, are_found_where_they_stand_first)
{
    enum { COUNT = 2000, KINDS = 700 };
    static char texts[KINDS][16];
    static struct str names[COUNT];
    struct arena arena = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < KINDS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "t%d", i);
    }
    for (int32_t count = 0; count < COUNT; count = count * 2 + 1) {
        for (int32_t i = 0; i < count; i++) {
            names[i] = str_of(texts[rng_below(&rng, KINDS)]);
        }
        const int32_t *first = names_first(&arena, names, count);
        for (int32_t i = 0; i < count; i++) {
            int32_t at = 0;
            while (!str_eq(names[at], names[i])) {
                at++;
            }
            cr_assert_eq(first[i], at);
        }
    }
    arena_fini(&arena);
}
