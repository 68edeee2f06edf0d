#include "meta/meta.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/rng.h"

static struct uuid id_of(uint8_t n)
{
    return (struct uuid){{n}};
}

static void put(struct meta_edit *edit, const char *topic, uint8_t id, int32_t index,
                int32_t leader)
{
    int32_t replicas[] = {1, 2};
    struct meta_partition partition = {.index = index,
                                       .leader = leader,
                                       .leader_epoch = 3,
                                       .replicas = replicas,
                                       .replicas_count = 2,
                                       .isr = replicas,
                                       .isr_count = 1};
    meta_edit_partition(edit, str_of(topic), id_of(id), &partition);
}

/* What an edit puts in can be found by name and by id, with everything copied. */
Test(meta, finds_topics_by_name_and_by_id)
{
    struct meta_cell cell;
    meta_cell_init(&cell);
    struct meta_edit *edit = meta_edit_begin(&cell);
    put(edit, "b", 2, 1, 7);
    put(edit, "b", 2, 0, 8);
    put(edit, "a", 1, 0, 9);
    meta_edit_commit(edit);
    struct meta *meta = meta_cell_get(&cell);
    const struct meta_topic *b = meta_find(meta, STR("b"));
    cr_assert_not_null(b);
    cr_expect_eq(meta_find_id(meta, id_of(2)), b);
    cr_expect_eq(b->partitions_count, 2);
    cr_expect_eq(b->partitions[0].index, 0, "sorted by index");
    cr_expect_eq(meta_topic_partition(b, 1)->leader, 7);
    cr_expect_eq(meta_topic_partition(b, 1)->replicas[1], 2);
    cr_expect_null(meta_topic_partition(b, 2));
    cr_expect_null(meta_find(meta, STR("c")));
    meta_put(meta);
    meta_cell_fini(&cell);
}

/* A broker that missed the deletion of a topic went on to tell of its partitions, under the id of
 * the topic that had been made anew with fewer. */
Test(meta, a_topic_made_anew_has_no_partitions_of_the_last_one)
{
    struct meta_cell cell;
    meta_cell_init(&cell);
    struct meta_edit *edit = meta_edit_begin(&cell);
    for (int32_t i = 0; i < 3; i++) {
        put(edit, "t", 1, i, 7);
    }
    meta_edit_commit(edit);
    struct meta *old = meta_cell_get(&cell);
    edit = meta_edit_begin(&cell);
    put(edit, "t", 2, 0, 8);
    put(edit, "t", 2, 1, 8);
    meta_edit_commit(edit);
    struct meta *meta = meta_cell_get(&cell);
    cr_expect_eq(meta_find(meta, STR("t"))->partitions_count, 2);
    cr_expect_null(meta_topic_partition(meta_find_id(meta, id_of(2)), 2));
    cr_expect_null(meta_find_id(meta, id_of(1)));
    cr_expect_eq(meta_find_id(old, id_of(1))->partitions_count, 3);
    meta_put(meta);
    meta_put(old);
    meta_cell_fini(&cell);
}

/* A snapshot that somebody holds does not change when a newer one is published. */
Test(meta, a_held_snapshot_does_not_change)
{
    struct meta_cell cell;
    meta_cell_init(&cell);
    struct meta_edit *edit = meta_edit_begin(&cell);
    put(edit, "t", 1, 0, 1);
    meta_edit_commit(edit);
    struct meta *old = meta_cell_get(&cell);
    edit = meta_edit_begin(&cell);
    put(edit, "t", 0, 0, 2);
    meta_edit_controller(edit, 5);
    meta_edit_commit(edit);
    struct meta *now = meta_cell_get(&cell);
    cr_expect_eq(meta_topic_partition(meta_find(old, STR("t")), 0)->leader, 1);
    cr_expect_eq(meta_topic_partition(meta_find(now, STR("t")), 0)->leader, 2);
    cr_expect(uuid_eq(meta_find(now, STR("t"))->id, id_of(1)), "a zero id keeps the known one");
    cr_expect_eq(old->controller_id, -1);
    cr_expect_eq(now->controller_id, 5);
    meta_put(old);
    meta_put(now);
    meta_cell_fini(&cell);
}

/* A topic goes with its last partition. */
Test(meta, removing_the_last_partition_removes_the_topic)
{
    struct meta_cell cell;
    meta_cell_init(&cell);
    struct meta_edit *edit = meta_edit_begin(&cell);
    put(edit, "t", 1, 0, 1);
    put(edit, "t", 1, 1, 1);
    put(edit, "u", 2, 0, 1);
    meta_edit_commit(edit);
    edit = meta_edit_begin(&cell);
    meta_edit_remove(edit, STR("t"), 0);
    meta_edit_remove(edit, STR("nobody"), 0);
    meta_edit_commit(edit);
    cr_expect_eq(meta_find(cell.current, STR("t"))->partitions_count, 1);
    edit = meta_edit_begin(&cell);
    meta_edit_remove(edit, STR("t"), 1);
    meta_edit_commit(edit);
    cr_expect_null(meta_find(cell.current, STR("t")));
    cr_expect_null(meta_find_id(cell.current, id_of(1)));
    cr_expect_not_null(meta_find(cell.current, STR("u")));
    meta_cell_fini(&cell);
}

/* Live brokers are replaced as a whole, sorted, and found with the endpoint of a listener. */
Test(meta, brokers_are_the_full_set_of_the_last_update)
{
    struct meta_cell cell;
    meta_cell_init(&cell);
    struct meta_endpoint endpoint = {.listener = "PLAINTEXT", .host = "h", .port = 9092};
    struct meta_broker brokers[] = {{.id = 2, .endpoints = &endpoint, .endpoints_count = 1},
                                    {.id = 1, .rack = "r", .endpoints_count = 0}};
    struct meta_edit *edit = meta_edit_begin(&cell);
    meta_edit_brokers(edit, brokers, 2);
    meta_edit_commit(edit);
    cr_expect_eq(cell.current->brokers[0].id, 1);
    cr_expect_str_eq(meta_find_broker(cell.current, 1)->rack, "r");
    const struct meta_broker *two = meta_find_broker(cell.current, 2);
    cr_expect_eq(meta_broker_endpoint(two, "PLAINTEXT")->port, 9092);
    cr_expect_null(meta_broker_endpoint(two, "SSL"));
    edit = meta_edit_begin(&cell);
    meta_edit_brokers(edit, brokers, 1);
    meta_edit_commit(edit);
    cr_expect_null(meta_find_broker(cell.current, 1));
    meta_cell_fini(&cell);
}

/* A reader sees the newest snapshot without asking for it. */
Test(meta, a_reader_follows_the_cell)
{
    struct meta_cell cell;
    struct meta_reader reader;
    meta_cell_init(&cell);
    meta_reader_init(&reader, &cell);
    cr_expect_null(meta_find(meta_reader_now(&reader), STR("t")));
    struct meta_edit *edit = meta_edit_begin(&cell);
    put(edit, "t", 1, 0, 1);
    meta_edit_commit(edit);
    cr_expect_not_null(meta_find(meta_reader_now(&reader), STR("t")));
    meta_reader_fini(&reader);
    meta_cell_fini(&cell);
}

/* Many random edits give what a plain table gives. */
Test(meta, random_edits_match_a_model)
{
    enum { TOPICS = 20, PARTITIONS = 4 };
    int32_t model[TOPICS][PARTITIONS] = {{0}}; /* leader + 1; 0: absent */
    struct rng rng;
    rng_seed(&rng, 42);
    struct meta_cell cell;
    meta_cell_init(&cell);
    for (int round = 0; round < 300; round++) {
        struct meta_edit *edit = meta_edit_begin(&cell);
        for (uint64_t n = rng_below(&rng, 5); n > 0; n--) {
            int32_t t = (int32_t)rng_below(&rng, TOPICS);
            int32_t p = (int32_t)rng_below(&rng, PARTITIONS);
            char name[16];
            snprintf(name, sizeof(name), "topic-%d", t);
            if (rng_one_in(&rng, 3)) {
                meta_edit_remove(edit, str_of(name), p);
                model[t][p] = 0;
            } else {
                put(edit, name, (uint8_t)(t + 1), p, round);
                model[t][p] = round + 1;
            }
        }
        meta_edit_commit(edit);
        for (int32_t t = 0; t < TOPICS; t++) {
            char name[32];
            snprintf(name, sizeof(name), "topic-%d", t);
            const struct meta_topic *topic = meta_find(cell.current, str_of(name));
            for (int32_t p = 0; p < PARTITIONS; p++) {
                const struct meta_partition *found =
                    topic != NULL ? meta_topic_partition(topic, p) : NULL;
                cr_assert_eq(found != NULL ? found->leader + 1 : 0, model[t][p]);
            }
        }
    }
    meta_cell_fini(&cell);
}

static void put_isr(struct meta_edit *edit, int32_t index, int32_t isr_count)
{
    int32_t ids[] = {1, 2};
    struct meta_partition partition = {.index = index,
                                       .leader = 1,
                                       .replicas = ids,
                                       .replicas_count = 2,
                                       .isr = ids,
                                       .isr_count = isr_count};
    meta_edit_partition(edit, STR("t"), id_of(1), &partition);
}

/* Thousands of partitions of few brokers: the same ids are there once. One that changes gets others
 * and leaves its neighbours theirs. */
Test(meta, partitions_with_the_same_ids_share_them)
{
    struct meta_cell cell;
    meta_cell_init(&cell);
    struct meta_edit *edit = meta_edit_begin(&cell);
    for (int32_t i = 0; i < 4; i++) {
        put_isr(edit, i, i % 2 + 1); /* two kinds, in turn */
    }
    meta_edit_commit(edit);
    struct meta *meta = meta_cell_get(&cell);
    const struct meta_partition *p = meta_find(meta, STR("t"))->partitions;
    cr_assert_eq(p[2].replicas, p[0].replicas);
    cr_assert_eq(p[3].isr, p[1].isr);
    cr_assert_neq(p[1].replicas, p[0].replicas);
    edit = meta_edit_begin(&cell);
    put_isr(edit, 0, 2);
    meta_edit_commit(edit);
    meta_put(meta);
    meta = meta_cell_get(&cell);
    p = meta_find(meta, STR("t"))->partitions;
    cr_assert_eq(p[0].isr_count, 2);
    cr_assert_eq(p[0].isr[1], 2);
    cr_assert_eq(p[2].isr_count, 1);
    cr_assert_eq(p[2].isr[0], 1);
    meta_put(meta);
    meta_cell_fini(&cell);
}
