/* What logs have in common is there once, and lives as long as somebody holds it. */
#include "log/shelf.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(shelf, the_same_name_and_the_same_configuration_are_there_once)
{
    struct shelf *shelf = shelf_new();
    struct topic_config config = {.segment_bytes = 7, .retention_ms = -1};
    struct text *name = shelf_name(shelf, STR("orders"));
    struct text *again = shelf_name(shelf, STR("orders"));
    struct text *other = shelf_name(shelf, STR("order"));
    cr_assert_eq(name, again);
    cr_assert_neq(name, other);
    struct shelf_config *one = shelf_config(shelf, &config);
    struct shelf_config *two = shelf_config(shelf, &config);
    config.unclean_leader_election = true;
    struct shelf_config *three = shelf_config(shelf, &config);
    cr_assert_eq(one, two);
    cr_assert_neq(one, three, "the last member counts, too");
    shelf_put(shelf);
    cr_assert_str_eq(name->chars, "orders", "what is held outlives the shelf");
    cr_assert_eq(two->config.segment_bytes, 7);
    cr_assert(three->config.unclean_leader_election);
    text_put(name);
    text_put(again);
    text_put(other);
    shelf_config_put(one);
    shelf_config_put(two);
    shelf_config_put(three);
}

/* More names than there are places: each is what was asked for, and nothing is lost or freed twice
 * (the sanitizers would say). */
Test(shelf, names_that_have_to_make_room_live_on_with_their_holders)
{
    enum { NAMES = 2000 };
    struct shelf *shelf = shelf_new();
    static struct text *held[NAMES];
    char name[24];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "topic-%d", i);
        held[i] = shelf_name(shelf, str_of(name));
    }
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "topic-%d", i);
        cr_assert_str_eq(held[i]->chars, name);
        text_put(held[i]);
    }
    shelf_put(shelf);
}

/* A log by itself, in a test or a tool. */
Test(shelf, without_a_shelf_everything_is_a_copy)
{
    struct topic_config config = {.segment_bytes = 7};
    struct text *name = shelf_name(NULL, STR("t"));
    struct text *again = shelf_name(NULL, STR("t"));
    struct shelf_config *copy = shelf_config(NULL, &config);
    cr_assert_neq(name, again);
    cr_assert_eq(copy->config.segment_bytes, 7);
    text_put(name);
    text_put(again);
    shelf_config_put(copy);
}
