#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"

Test(must, true_goes_on)
{
    must(1 + 1 == 2);
}

/* In a release too: the condition is not compiled away. */
Test(must, false_aborts, .signal = SIGABRT)
{
    must(1 + 1 == 3);
}

Test(must, a_place_that_cannot_be_reached_aborts, .signal = SIGABRT)
{
    must_not_get_here();
}

Test(mem, zero_bytes_are_a_pointer_too)
{
    void *a = mem_alloc(0);
    void *b = mem_zalloc(0, 8);
    void *c = mem_realloc(NULL, 0);
    cr_assert(a != NULL && b != NULL && c != NULL);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
}

Test(mem, copies_and_prints)
{
    char *copy = mem_strndup("abcdef", 3);
    char *text = mem_printf("%s/%05d", copy, 42);
    cr_assert_str_eq(text, "abc/00042");
    text = mem_realloc(text, 100);
    cr_assert_str_eq(text, "abc/00042");
    mem_free(copy);
    mem_free(text);
}
