#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"

/* Whatever sizes are asked for, results are aligned, do not overlap, and keep their content. */
Test(arena, allocations_are_aligned_and_apart)
{
    enum { COUNT = 2000 };
    struct arena arena = {0};
    struct rng rng;
    uint8_t *ptrs[COUNT];
    size_t sizes[COUNT];
    rng_seed(&rng, 1);
    for (int i = 0; i < COUNT; i++) {
        sizes[i] = rng_one_in(&rng, 50) ? rng_below(&rng, 600000) : rng_below(&rng, 100);
        ptrs[i] = arena_alloc(&arena, sizes[i]);
        cr_assert_eq((uintptr_t)ptrs[i] % 16, 0);
        memset(ptrs[i], i & 0xff, sizes[i]);
    }
    size_t sum = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += sizes[i];
        for (size_t j = 0; j < sizes[i]; j++) {
            cr_assert_eq(ptrs[i][j], i & 0xff);
        }
    }
    cr_assert_geq(arena_size(&arena), sum);
    arena_fini(&arena);
    cr_assert_eq(arena_size(&arena), 0);
}

/* An empty arena holds no memory, and a small use holds little: many requests are under way. */
Test(arena, holds_nothing_before_its_first_use_and_little_after)
{
    struct arena arena = {0};
    cr_assert_eq(arena_size(&arena), 0);
    arena_reset(&arena);
    cr_assert_eq(arena_size(&arena), 0);
    arena_alloc(&arena, 1);
    cr_assert_leq(arena_size(&arena), 2048);
    arena_fini(&arena);
}

/* One large allocation takes its size and no more than a block's header. */
Test(arena, a_large_allocation_is_exact)
{
    struct arena arena = {0};
    arena_alloc(&arena, 10 << 20);
    cr_assert_leq(arena_size(&arena), (10 << 20) + 64);
    arena_fini(&arena);
}

Test(arena, zalloc_zeroes_memory_that_was_used_before)
{
    struct arena arena = {0};
    memset(arena_alloc(&arena, 500), 0xaa, 500);
    arena_reset(&arena);
    uint64_t *numbers = arena_array(&arena, uint64_t, 50);
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(numbers[i], 0);
    }
    arena_fini(&arena);
}

/* After a reset the memory of the newest block is used again, and nothing else is held. */
Test(arena, reset_keeps_one_block)
{
    struct arena arena = {0};
    for (int i = 0; i < 100; i++) {
        arena_alloc(&arena, 1000);
    }
    size_t full = arena_size(&arena);
    arena_reset(&arena);
    size_t kept = arena_size(&arena);
    cr_assert_lt(kept, full);
    cr_assert_gt(kept, 0);
    arena_alloc(&arena, 1000);
    cr_assert_eq(arena_size(&arena), kept);
    arena_fini(&arena);
}

Test(arena, copies_of_text_end_in_nul_and_null_stays_null)
{
    struct arena arena = {0};
    struct str copy = arena_str(&arena, (struct str){"abcdef", 3});
    cr_assert_eq(copy.size, 3);
    cr_assert_str_eq(copy.ptr, "abc");
    cr_assert_null(arena_str(&arena, STR_NULL).ptr);
    cr_assert_null(arena_cstr(&arena, STR_NULL));
    cr_assert_not_null(arena_str(&arena, STR("")).ptr);
    char *text = arena_printf(&arena, "%s-%0*d", "x", 2000, 7);
    cr_assert_eq(strlen(text), 2002);
    cr_assert_str_eq(text + 2000, "07");
    arena_fini(&arena);
}
