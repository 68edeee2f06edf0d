#include "topics/topic_configs.h"

#include <criterion/criterion.h>

#include "base/mem.h"

static struct config_cell cell;
static struct topic_configs *configs;

static void begin(void)
{
    struct config_pair pair = {"zookeeper.connect", "z:1"};
    struct config *config;
    struct errmsg msg;
    cr_assert_eq(config_from_pairs(&pair, 1, &config, &msg), ERR_OK);
    config_cell_init(&cell, config);
    configs = topic_configs_new(&cell);
}

static void end(void)
{
    topic_configs_free(configs);
    config_cell_fini(&cell);
}

TestSuite(topic_configs, .init = begin, .fini = end);

static int64_t retention_of(const char *topic)
{
    struct topic_config config;
    topic_configs_get(configs, str_of(topic), &config);
    return config.retention_ms;
}

Test(topic_configs, a_topics_values_are_replaced_whole_and_others_are_untouched)
{
    struct config_pair first[] = {{"retention.ms", "5"}, {"segment.ms", "7"}};
    struct config_pair second = {"segment.ms", "9"};
    topic_configs_set(configs, STR("a"), first, 2);
    cr_expect_eq(retention_of("a"), 5);
    cr_expect_eq(retention_of("b"), 604800000);
    topic_configs_set(configs, STR("a"), &second, 1);
    cr_expect_eq(retention_of("a"), 604800000);
    int count;
    struct config_pair *pairs = topic_configs_pairs(configs, STR("a"), &count);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(pairs[0].value, "9");
    mem_free(pairs);
}

Test(topic_configs, a_topic_without_values_is_known_until_it_is_forgotten)
{
    cr_expect_not(topic_configs_known(configs, STR("a")));
    topic_configs_set(configs, STR("a"), NULL, 0);
    cr_expect(topic_configs_known(configs, STR("a")));
    topic_configs_forget(configs, STR("a"));
    topic_configs_forget(configs, STR("a"));
    cr_expect_not(topic_configs_known(configs, STR("a")));
}

Test(topic_configs, a_topic_that_is_made_again_has_nothing_of_the_old_one)
{
    struct config_pair pair = {"retention.ms", "5"};
    topic_configs_set(configs, STR("a"), &pair, 1);
    topic_configs_forget(configs, STR("a"));
    cr_expect_eq(retention_of("a"), 604800000);
}

Test(topic_configs, what_a_znode_says_is_taken)
{
    struct znode_pair pair = {STR("retention.ms"), STR("5")};
    struct znode_config config = {&pair, 1};
    topic_configs_take(configs, STR("a"), &config);
    cr_expect_eq(retention_of("a"), 5);
}

Test(topic_configs, the_brokers_dynamic_value_is_a_topics_default_at_once)
{
    struct config_pair pair = {"log.retention.ms", "77"};
    const struct config *now = config_cell_get(&cell);
    config_cell_set(&cell, config_with_layer(now, SOURCE_DYNAMIC_DEFAULT, &pair, 1));
    config_put(now);
    cr_expect_eq(retention_of("a"), 77);
}

Test(topic_configs, throttled_replicas_are_told_by_partition_and_broker)
{
    bool leader;
    bool follower;
    struct config_pair pairs[] = {
        {"leader.replication.throttled.replicas", "0:1, 3:21"},
        {"follower.replication.throttled.replicas", "*"},
    };
    topic_configs_set(configs, STR("a"), pairs, 2);
    static const struct {
        int32_t index;
        int32_t broker;
        bool throttled;
    } cases[] = {{0, 1, true}, {3, 21, true}, {0, 21, false}, {3, 2, false}, {1, 0, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        topic_configs_throttled(configs, STR("a"), cases[i].index, cases[i].broker, &leader,
                                &follower);
        cr_expect_eq(leader, cases[i].throttled, "case %zu", i);
        cr_expect(follower);
    }
    topic_configs_throttled(configs, STR("b"), 0, 1, &leader, &follower);
    cr_expect_not(leader);
    cr_expect_not(follower);
}
