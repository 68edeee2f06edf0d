/* What new topics and new partitions will be: placing, checks, Kafka's errors. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "admin/admin_host.h"
#include "admin/new_partitions.h"
#include "admin/new_topic.h"
#include "base/log.h"

static struct meta_cell cell;
static struct meta *meta;
static struct config_cell config_cell;
static const struct config *config;
static struct admin_service *service;
static struct arena arena;
static struct errmsg msg;

/* Brokers 1 to 3. */
static void begin(void)
{
    struct config_pair pairs[] = {
        {"zookeeper.connect", "z:1"}, {"num.partitions", "4"}, {"default.replication.factor", "2"}};
    struct meta_broker brokers[] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct config *loaded;
    cr_assert_eq(config_from_pairs(pairs, 3, &loaded, &msg), ERR_OK, "%s", msg.text);
    config_cell_init(&config_cell, loaded);
    config = config_cell_get(&config_cell);
    meta_cell_init(&cell);
    struct meta_edit *edit = meta_edit_begin(&cell);
    meta_edit_brokers(edit, brokers, 3);
    meta_edit_commit(edit);
    meta = meta_cell_get(&cell);
    struct admin_host host = {.meta = &cell, .config = &config_cell, .seed = 7};
    service = admin_service_new(&host, NULL);
}

static void end(void)
{
    admin_service_free(service);
    meta_put(meta);
    meta_cell_fini(&cell);
    config_put(config);
    config_cell_fini(&config_cell);
    arena_fini(&arena);
}

TestSuite(plan, .init = begin, .fini = end);

static enum err plan(const struct new_topic_wish *wish, struct admin_topic *out)
{
    msg.text[0] = '\0';
    enum err err = new_topic_plan(service, &arena, meta, config, wish, out, &msg);
    return err == ERR_OK ? new_topic_check(&arena, out, &msg) : err;
}

static void refuses(struct new_topic_wish wish, enum err expected)
{
    struct admin_topic topic;
    cr_expect_eq(plan(&wish, &topic), expected, "%s", msg.text);
    cr_expect(msg.text[0] != '\0');
}

Test(plan, what_is_not_said_is_the_brokers_default)
{
    struct admin_topic topic;
    struct new_topic_wish wish = {
        .name = STR("t"), .partitions_count = -1, .replication_factor = -1};
    cr_assert_eq(plan(&wish, &topic), ERR_OK, "%s", msg.text);
    cr_expect_eq(topic.partitions_count, 4);
    cr_expect_not(uuid_is_zero(topic.id));
    for (int32_t i = 0; i < 4; i++) {
        cr_expect_eq(topic.partitions[i].index, i);
        cr_expect_eq(topic.partitions[i].replicas.count, 2);
        cr_expect_neq(topic.partitions[i].replicas.ids[0], topic.partitions[i].replicas.ids[1]);
    }
}

Test(plan, counts_that_cannot_be_are_refused)
{
    refuses((struct new_topic_wish){STR("t"), 0, 1, NULL, 0, NULL, 0}, ERR_INVALID_PARTITIONS);
    refuses((struct new_topic_wish){STR("t"), -2, 1, NULL, 0, NULL, 0}, ERR_INVALID_PARTITIONS);
    refuses((struct new_topic_wish){STR("t"), INT32_MAX, 1, NULL, 0, NULL, 0},
            ERR_INVALID_PARTITIONS);
    refuses((struct new_topic_wish){STR("t"), 1, 0, NULL, 0, NULL, 0},
            ERR_INVALID_REPLICATION_FACTOR);
    refuses((struct new_topic_wish){STR("t"), 1, 4, NULL, 0, NULL, 0},
            ERR_INVALID_REPLICATION_FACTOR);
}

/* As Kafka: an impossible placement is told before a bad name, a bad configuration after it. */
Test(plan, errors_come_in_kafkas_order)
{
    struct znode_pair unknown = {STR("nonsense"), STR("1")};
    struct znode_pair null = {STR("retention.ms"), STR_NULL};
    refuses((struct new_topic_wish){STR("a b"), 1, 4, NULL, 0, &null, 1}, ERR_INVALID_CONFIG);
    refuses((struct new_topic_wish){STR("a b"), 1, 4, NULL, 0, &unknown, 1},
            ERR_INVALID_REPLICATION_FACTOR);
    refuses((struct new_topic_wish){STR("a b"), 1, 1, NULL, 0, &unknown, 1},
            ERR_INVALID_TOPIC_EXCEPTION);
    refuses((struct new_topic_wish){STR("a"), 1, 1, NULL, 0, &unknown, 1}, ERR_INVALID_CONFIG);
}

static const int32_t one_two[] = {1, 2};
static const int32_t two_three[] = {2, 3};
static const int32_t one_one[] = {1, 1};

static struct new_topic_wish assigned(const struct new_topic_assignment *items, int32_t count)
{
    return (struct new_topic_wish){STR("t"), -1, -1, items, count, NULL, 0};
}

Test(plan, an_assignment_is_taken_as_it_is_and_sorted)
{
    struct new_topic_assignment items[] = {{1, two_three, 2}, {0, one_two, 2}};
    struct admin_topic topic;
    struct new_topic_wish wish = assigned(items, 2);
    cr_assert_eq(plan(&wish, &topic), ERR_OK, "%s", msg.text);
    cr_expect_eq(topic.partitions_count, 2);
    cr_expect_eq(topic.partitions[0].replicas.ids[0], 1);
    cr_expect_eq(topic.partitions[1].replicas.ids[0], 2);
}

Test(plan, of_an_index_assigned_twice_the_last_counts)
{
    struct new_topic_assignment items[] = {{0, one_two, 2}, {0, two_three, 2}};
    struct admin_topic topic;
    struct new_topic_wish wish = assigned(items, 2);
    cr_assert_eq(plan(&wish, &topic), ERR_OK, "%s", msg.text);
    cr_expect_eq(topic.partitions_count, 1);
    cr_expect_eq(topic.partitions[0].replicas.ids[0], 2);
}

Test(plan, assignments_that_cannot_be_are_refused)
{
    static int32_t many[TOPIC_REPLICAS_MAX + 1];
    struct new_topic_assignment gap[] = {{0, one_two, 2}, {2, two_three, 2}};
    struct new_topic_assignment uneven[] = {{0, one_two, 2}, {1, two_three, 1}};
    struct new_topic_assignment twice[] = {{0, one_one, 2}};
    struct new_topic_assignment nobody[] = {{0, one_one, 0}};
    struct new_topic_assignment crowd[] = {{0, many, TOPIC_REPLICAS_MAX + 1}};
    struct new_topic_assignment negative[] = {{-1, one_two, 2}, {0, two_three, 2}};
    struct new_topic_wish both = assigned(gap, 1);
    refuses(assigned(gap, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    refuses(assigned(uneven, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    refuses(assigned(twice, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    refuses(assigned(nobody, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    refuses(assigned(crowd, 1), ERR_INVALID_REPLICA_ASSIGNMENT);
    refuses(assigned(negative, 2), ERR_INVALID_REPLICA_ASSIGNMENT);
    both.replication_factor = 2;
    refuses(both, ERR_INVALID_REQUEST);
}

Test(plan, of_a_key_given_twice_the_last_value_counts)
{
    struct znode_pair pairs[] = {{STR("retention.ms"), STR("1")},
                                 {STR("segment.ms"), STR("5")},
                                 {STR("retention.ms"), STR("2")}};
    struct admin_topic topic;
    struct new_topic_wish wish = {STR("t"), 1, 1, NULL, 0, pairs, 3};
    cr_assert_eq(plan(&wish, &topic), ERR_OK, "%s", msg.text);
    cr_assert_eq(topic.config.pairs_count, 2);
    cr_expect(str_is(topic.config.pairs[0].value, "2"));
}

Test(plan, names_are_kafkas)
{
    char longest[TOPIC_NAME_MAX_BYTES + 1];
    memset(longest, 'x', sizeof(longest));
    cr_expect(topic_name_valid(STR("a.B_c-9")));
    cr_expect(topic_name_valid(STR("...")));
    cr_expect(topic_name_valid((struct str){longest, TOPIC_NAME_MAX_BYTES}));
    cr_expect_not(topic_name_valid((struct str){longest, TOPIC_NAME_MAX_BYTES + 1}));
    cr_expect_not(topic_name_valid(STR("")));
    cr_expect_not(topic_name_valid(STR_NULL));
    cr_expect_not(topic_name_valid(STR(".")));
    cr_expect_not(topic_name_valid(STR("..")));
    cr_expect_not(topic_name_valid(STR("a/b")));
    cr_expect_not(topic_name_valid(STR("\xc3\xa9")));
    cr_expect_not(topic_name_valid(STR("a\0b")));
}

Test(plan, a_name_may_neither_exist_nor_collide)
{
    struct str existing[] = {STR("a.b"), STR("c")};
    cr_expect_eq(new_topic_check_name(STR("c"), existing, 2, &msg), ERR_TOPIC_ALREADY_EXISTS);
    cr_expect_eq(new_topic_check_name(STR("a_b"), existing, 2, &msg), ERR_INVALID_TOPIC_EXCEPTION);
    cr_expect_eq(new_topic_check_name(STR("a.b"), existing, 2, &msg), ERR_TOPIC_ALREADY_EXISTS);
    cr_expect_eq(new_topic_check_name(STR("a-b"), existing, 2, &msg), ERR_OK);
    cr_expect_not(topic_names_collide(STR("a.b"), STR("a.b")),
                  "a name does not collide with itself");
}

static void know(const char *const *names, int32_t count)
{
    struct meta_edit *edit = meta_edit_begin(&cell);
    struct meta_partition partition = {.leader = 1};
    for (int32_t i = 0; i < count; i++) {
        meta_edit_partition(edit, str_of(names[i]), (struct uuid){{1}}, &partition);
    }
    meta_edit_commit(edit);
    meta_put(meta);
    meta = meta_cell_get(&cell);
}

/* Whoever produced to such a name was told until its time was over that the topic is being made. */
Test(plan, a_topic_that_is_asked_for_may_not_collide)
{
    static const char *const names[] = {"a",     "a-b",   "a.b",   "a.b_c",   "a_x.y",
                                        "a_x.z", "a_x_w", "b.b.b", "longer_", "z"};
    static const char *const collide[] = {"a_b",   "a.b.c", "a_b_c", "a.x.y",  "a.x_y",
                                          "a.x_w", "b_b.b", "b_b_b", "longer."};
    static const char *const free_names[] = {"a_",  "a_b_", "ab",     "a.x",      "a.x.", "a.x.x",
                                             "b_b", "_",    "longer", "longer.r", "zz"};
    know(names, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        cr_expect_null(topic_name_collision(meta, str_of(names[i])), "%s", names[i]);
    }
    for (size_t i = 0; i < sizeof(collide) / sizeof(collide[0]); i++) {
        cr_expect_not_null(topic_name_collision(meta, str_of(collide[i])), "%s", collide[i]);
        cr_expect_eq(admin_auto_create(service, str_of(collide[i]), meta),
                     ERR_INVALID_TOPIC_EXCEPTION);
    }
    for (size_t i = 0; i < sizeof(free_names) / sizeof(free_names[0]); i++) {
        cr_expect_null(topic_name_collision(meta, str_of(free_names[i])), "%s", free_names[i]);
    }
}

static const char *planned(const struct admin_topic *topic, const char *key)
{
    for (int32_t i = 0; i < topic->config.pairs_count; i++) {
        if (str_is(topic->config.pairs[i].key, key)) {
            return arena_cstr(&arena, topic->config.pairs[i].value);
        }
    }
    return "";
}

/* Who looked into __transaction_state made it, with one partition, whose records went after a week:
 * for the brokers of Kafka's that came next. */
Test(plan, internal_topics_that_are_asked_for_are_as_kafkas)
{
    struct admin_topic topic;
    cr_assert_eq(admin_auto_plan(service, &arena, meta, STR("t"), &topic, NULL), ERR_OK);
    cr_expect_eq(topic.partitions_count, 4);
    cr_expect_eq(topic.partitions[3].replicas.count, 2);
    cr_expect_eq(topic.config.pairs_count, 0);
    cr_assert_eq(admin_auto_plan(service, &arena, meta, STR("__consumer_offsets"), &topic, NULL),
                 ERR_OK);
    cr_expect_eq(topic.partitions_count, 50);
    cr_expect_eq(topic.config.pairs_count, 3);
    cr_expect_str_eq(planned(&topic, "compression.type"), "producer");
    cr_expect_str_eq(planned(&topic, "cleanup.policy"), "compact");
    cr_expect_str_eq(planned(&topic, "segment.bytes"), "104857600");
    cr_assert_eq(admin_auto_plan(service, &arena, meta, STR("__transaction_state"), &topic, NULL),
                 ERR_OK);
    cr_expect_eq(topic.partitions_count, 50);
    cr_expect_eq(topic.partitions[49].replicas.count, 3);
    cr_expect_eq(topic.config.pairs_count, 5);
    cr_expect_str_eq(planned(&topic, "compression.type"), "uncompressed");
    cr_expect_str_eq(planned(&topic, "cleanup.policy"), "compact");
    cr_expect_str_eq(planned(&topic, "segment.bytes"), "104857600");
    cr_expect_str_eq(planned(&topic, "min.insync.replicas"), "2");
    cr_expect_str_eq(planned(&topic, "unclean.leader.election.enable"), "false");
}

static void take_line(void *arg, enum log_level level, const char *logger, const char *event,
                      const char *detail)
{
    (void)level, (void)logger, (void)event;
    snprintf(arg, sizeof(msg.text), "%s", detail);
}

/* With a rack at some brokers and none at others (one after the other is given its own) nobody was
 * told why consumer groups never came to work: clients are only told to ask again. */
Test(plan, why_a_topic_that_is_asked_for_cannot_be_placed_is_told)
{
    struct meta_broker brokers[] = {{.id = 1, .rack = "r1"}, {.id = 2}, {.id = 3}};
    struct meta_edit *edit = meta_edit_begin(&cell);
    meta_edit_brokers(edit, brokers, 3);
    meta_edit_commit(edit);
    struct clock_manual clock_;
    clock_manual_init(&clock_, 0);
    struct loop *control = loop_new("control", -1, &clock_.clock);
    struct admin_host host = {.control = control, .meta = &cell, .config = &config_cell, .seed = 7};
    struct admin_service *asked = admin_service_new(&host, NULL);
    log_set_sink(take_line, msg.text);
    cr_expect_eq(admin_auto_create(asked, STR("__consumer_offsets"), meta),
                 ERR_LEADER_NOT_AVAILABLE);
    while (loop_turn(control)) {
    }
    log_set_sink(NULL, NULL);
    cr_expect_not_null(strstr(msg.text, "__consumer_offsets"), "%s", msg.text);
    cr_expect_not_null(strstr(msg.text, "Not all brokers have rack information"), "%s", msg.text);
    admin_service_free(asked);
    loop_free(control);
}

/* ---- more partitions ---- */

static struct znode_topic topic_of(struct znode_partition *partitions, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        partitions[i] = (struct znode_partition){.index = i, .replicas = {two_three, 2}};
    }
    return (struct znode_topic){.partitions = partitions, .partitions_count = count};
}

static enum err grow(const struct znode_topic *topic, int32_t count, struct znode_ids *wished,
                     int32_t wished_count, struct new_partitions *out)
{
    msg.text[0] = '\0';
    return new_partitions_plan(service, &arena, meta, topic, STR("t"), count, wished, wished_count,
                               out, &msg);
}

/* Kafka's placement goes on from partition 0's first replica, by the number of the partition. */
Test(plan, added_partitions_go_on_round_the_brokers)
{
    struct znode_partition partitions[2];
    struct new_partitions added;
    struct znode_topic topic = topic_of(partitions, 2);
    cr_assert_eq(grow(&topic, 5, NULL, -1, &added), ERR_OK, "%s", msg.text);
    cr_expect_eq(added.count_before, 2);
    cr_expect_eq(added.count, 3);
    for (int32_t i = 0; i < 3; i++) {
        /* Partition 0 began at broker 2, the second of three. */
        cr_expect_eq(added.replicas[i].ids[0], 1 + (1 + 2 + i) % 3, "partition %d", 2 + i);
        cr_expect_eq(added.replicas[i].count, 2);
    }
}

Test(plan, partitions_that_cannot_be_added_are_refused)
{
    static const int32_t one_seven[] = {1, 7};
    struct znode_partition partitions[2];
    struct new_partitions added;
    struct znode_ids good[] = {{one_two, 2}};
    struct znode_ids twice[] = {{one_one, 2}};
    struct znode_ids few[] = {{one_two, 1}};
    struct znode_ids unknown[] = {{one_seven, 2}};
    struct znode_topic topic = topic_of(partitions, 2);
    cr_expect_eq(grow(&topic, 1, NULL, -1, &added), ERR_INVALID_PARTITIONS);
    cr_expect_eq(grow(&topic, 2, NULL, -1, &added), ERR_INVALID_PARTITIONS);
    cr_expect_eq(grow(&topic, INT32_MAX, NULL, -1, &added), ERR_INVALID_PARTITIONS);
    cr_expect_eq(grow(&topic, 3, good, 1, &added), ERR_OK);
    cr_expect_eq(grow(&topic, 4, good, 1, &added), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_expect_eq(grow(&topic, 3, twice, 1, &added), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_expect_eq(grow(&topic, 3, few, 1, &added), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_expect_eq(grow(&topic, 3, unknown, 1, &added), ERR_INVALID_REPLICA_ASSIGNMENT);
    partitions[1].adding = (struct znode_ids){one_two, 1};
    cr_expect_eq(grow(&topic, 3, NULL, -1, &added), ERR_REASSIGNMENT_IN_PROGRESS);
}
