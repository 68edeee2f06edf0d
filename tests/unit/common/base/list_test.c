#include <criterion/criterion.h>

#include "base/list.h"

struct item {
    int number;
    struct list link;
};

static void expect(struct list *head, const char *wanted)
{
    char got[32] = "";
    size_t size = 0;
    list_for_each (link, head) {
        got[size++] = (char)('0' + container_of(link, struct item, link)->number);
    }
    got[size] = '\0';
    cr_assert_str_eq(got, wanted);
}

static void items_init(struct item *items, int count)
{
    for (int i = 0; i < count; i++) {
        items[i].number = i;
        list_init(&items[i].link);
    }
}

Test(list, keeps_order_from_both_ends)
{
    struct list head;
    struct item items[5];
    list_init(&head);
    items_init(items, 5);
    cr_assert(list_empty(&head));
    cr_assert_null(list_pop_front(&head));
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    list_insert_before(&items[2].link, &items[4].link);
    expect(&head, "0142");
    cr_assert_eq(list_pop_front(&head), &items[0].link);
    expect(&head, "142");
}

/* Cleanup needs no case distinction: removing twice, or what was never in a list, is harmless. */
Test(list, removing_what_is_in_no_list_is_harmless)
{
    struct list head;
    struct item items[2];
    list_init(&head);
    items_init(items, 2);
    list_remove(&items[0].link);
    list_push_back(&head, &items[0].link);
    cr_assert(list_linked(&items[0].link));
    list_remove(&items[0].link);
    list_remove(&items[0].link);
    cr_assert(!list_linked(&items[0].link));
    cr_assert(list_empty(&head));
}

Test(list, splice_moves_everything_to_the_end)
{
    struct list a;
    struct list b;
    struct item items[4];
    list_init(&a);
    list_init(&b);
    items_init(items, 4);
    list_splice_back(&a, &b);
    cr_assert(list_empty(&a));
    list_push_back(&a, &items[0].link);
    list_push_back(&b, &items[1].link);
    list_push_back(&b, &items[2].link);
    list_splice_back(&a, &b);
    expect(&a, "012");
    cr_assert(list_empty(&b));
    list_push_back(&b, &items[3].link);
    list_splice_back(&b, &a);
    expect(&b, "3012");
    cr_assert(list_empty(&a));
}

Test(list, the_current_link_may_be_removed_in_a_safe_walk)
{
    struct list head;
    struct item items[4];
    list_init(&head);
    items_init(items, 4);
    for (int i = 0; i < 4; i++) {
        list_push_back(&head, &items[i].link);
    }
    list_for_each_safe (link, &head) {
        if (container_of(link, struct item, link)->number % 2 == 0) {
            list_remove(link);
        }
    }
    expect(&head, "13");
}
