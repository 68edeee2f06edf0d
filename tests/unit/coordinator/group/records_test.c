/* The records of __consumer_offsets, byte for byte, and the timers' order. */
#include <criterion/criterion.h>

#include "base/rng.h"
#include "group/grp_records.h"
#include "group/grp_timers.h"

static void expect_bytes(struct bytes actual, const char *hex)
{
    struct buf text = {0};
    for (size_t i = 0; i < actual.size; i++) {
        buf_printf(&text, "%02x", actual.data[i]);
    }
    buf_put_byte(&text, 0);
    cr_assert_str_eq((char *)text.data, hex);
    buf_fini(&text);
}

Test(records, offset_key_is_version_1)
{
    /* version, group, topic, partition */
    struct arena arena = {0};
    expect_bytes(grp_record_offset_key(&arena, STR("grp"), STR("topic"), 258), "0001"
                                                                               "0003677270"
                                                                               "0005746f706963"
                                                                               "00000102");
    arena_fini(&arena);
}

Test(records, offset_value_is_version_3_or_1_when_it_expires)
{
    /* 3: offset, leader epoch, metadata, commit time. 1: offset, metadata, commit time, expiry
     * time. */
    struct arena arena = {0};
    struct grp_offset_value value = {.offset = 0x0102030405,
                                     .leader_epoch = 7,
                                     .metadata = STR("m"),
                                     .commit_timestamp_ms = 0x018BCFE56800,
                                     .expire_timestamp_ms = -1};
    expect_bytes(grp_record_offset_value(&arena, &value), "0003"
                                                          "0000000102030405"
                                                          "00000007"
                                                          "00016d"
                                                          "0000018bcfe56800");
    value.leader_epoch = -1;
    value.metadata = STR("");
    expect_bytes(grp_record_offset_value(&arena, &value), "0003"
                                                          "0000000102030405"
                                                          "ffffffff"
                                                          "0000"
                                                          "0000018bcfe56800");
    value.expire_timestamp_ms = 0x018BCFE56801;
    expect_bytes(grp_record_offset_value(&arena, &value), "0001"
                                                          "0000000102030405"
                                                          "0000"
                                                          "0000018bcfe56800"
                                                          "0000018bcfe56801");
    arena_fini(&arena);
}

Test(records, group_key_is_version_2)
{
    /* version, group */
    struct arena arena = {0};
    expect_bytes(grp_record_group_key(&arena, STR("grp")), "0002"
                                                           "0003677270");
    arena_fini(&arena);
}

Test(records, group_value_is_version_3)
{
    /* With a static and a dynamic member, as Kafka 3.9 writes it; the client host has its slash. */
    struct arena arena = {0};
    struct grp_member_record members[] = {
        {STR("i-1"),
         STR("i"),
         STR("c"),
         STR("/10.0.0.1"),
         60000,
         10000,
         {(const uint8_t *)"sub", 3},
         {(const uint8_t *)"as", 2}},
        {STR("c-2"),
         STR_NULL,
         STR("c"),
         STR("/h"),
         60000,
         10000,
         {(const uint8_t *)"", 0},
         {NULL, 0}},
    };
    struct grp_group_record record = {STR("consumer"), 4, STR("range"), STR("i-1"), 0x018BCFE56800,
                                      members,         2};
    expect_bytes(grp_record_group_value(&arena, &record), "0003"
                                                          "0008636f6e73756d6572"
                                                          "00000004"
                                                          "000572616e6765"
                                                          "0003692d31"
                                                          "0000018bcfe56800"
                                                          "00000002"
                                                          "0003692d31"
                                                          "000169"
                                                          "000163"
                                                          "00092f31302e302e302e31"
                                                          "0000ea60"
                                                          "00002710"
                                                          "00000003737562"
                                                          "000000026173"
                                                          "0003632d32"
                                                          "ffff"
                                                          "000163"
                                                          "00022f68"
                                                          "0000ea60"
                                                          "00002710"
                                                          "00000000"
                                                          "00000000");
    arena_fini(&arena);
}

Test(records, an_empty_groups_value_has_nulls)
{
    /* No protocol, no leader, no members. */
    struct arena arena = {0};
    struct grp_group_record record = {STR("consumer"), 5, STR_NULL, STR_NULL, 1, NULL, 0};
    expect_bytes(grp_record_group_value(&arena, &record), "0003"
                                                          "0008636f6e73756d6572"
                                                          "00000005"
                                                          "ffff"
                                                          "ffff"
                                                          "0000000000000001"
                                                          "00000000");
    arena_fini(&arena);
}

Test(records, what_is_written_can_be_read)
{
    /* Both values, through their decoders. */
    struct arena arena = {0};
    struct grp_offset_value value = {1, 2, STR("meta"), 3, -1};
    struct grp_offset_value read;
    cr_assert_eq(grp_record_decode_offset(&arena, grp_record_offset_value(&arena, &value), &read),
                 ERR_OK);
    cr_assert(read.offset == 1 && read.leader_epoch == 2 && str_is(read.metadata, "meta") &&
              read.commit_timestamp_ms == 3 && read.expire_timestamp_ms == -1);
    struct grp_record_key key;
    cr_assert_eq(grp_record_decode_key(&arena, grp_record_group_key(&arena, STR("g")), &key),
                 ERR_OK);
    cr_assert(key.kind == GRP_RECORD_GROUP && str_is(key.group, "g"));
    arena_fini(&arena);
}

Test(subscription, of_any_version_gives_its_topics)
{
    /* Version 0's part is read, whatever follows; short or negative things are refused. */
    struct arena arena = {0};
    struct str *topics;
    size_t count;
    static const uint8_t V3[] = {0,   3,   0, 0, 0, 2, 0, 1, 'a', 0, 2,
                                 'b', 'c', 0, 0, 0, 1, 9, 1, 2,   3};
    cr_assert_eq(
        grp_subscription_topics(&arena, (struct bytes){V3, sizeof(V3)}, 100, &topics, &count),
        ERR_OK);
    cr_assert(count == 2 && str_is(topics[0], "a") && str_is(topics[1], "bc"));
    for (size_t size = 0; size < 18; size++) {
        enum err err =
            grp_subscription_topics(&arena, (struct bytes){V3, size}, 100, &topics, &count);
        cr_assert_eq(err, ERR_MALFORMED, "size %zu", size);
    }
    arena_fini(&arena);
}

Test(timers, fire_in_order_of_time_then_of_setting)
{
    /* Against a model: random sets, moves and cancels. */
    enum { COUNT = 40 };
    struct grp_timers timers = {0};
    struct grp_timer timer[COUNT] = {0};
    struct rng rng;
    rng_seed(&rng, 3);
    for (int round = 0; round < 2000; round++) {
        struct grp_timer *one = &timer[rng_below(&rng, COUNT)];
        if (rng_one_in(&rng, 4)) {
            grp_timer_cancel(&timers, one);
        } else {
            grp_timer_set(&timers, one, (int64_t)rng_below(&rng, 20));
        }
        grp_timers_check(&timers);
        if (!rng_one_in(&rng, 50)) {
            continue;
        }
        const struct grp_timer *last = NULL;
        for (struct grp_timer *first; (first = grp_timers_pop(&timers, 100)) != NULL;
             last = first) {
            cr_assert(!grp_timer_set_p(first));
            if (last != NULL) {
                cr_assert(last->at_ms < first->at_ms ||
                          (last->at_ms == first->at_ms && last->order < first->order));
            }
        }
        cr_assert_eq(grp_timers_next_ms(&timers), -1);
    }
    grp_timers_fini(&timers);
}
