#include <criterion/criterion.h>
#include <stdio.h>

#include "config/config_alter.h"
#include "config/loggers.h"

static struct arena arena;
static struct config *config;

static void begin(void)
{
    struct config_pair pair = {"zookeeper.connect", "z:1"};
    struct errmsg msg;
    cr_assert_eq(config_from_pairs(&pair, 1, &config, &msg), ERR_OK);
}

static void end(void)
{
    arena_fini(&arena);
    config_put(config);
}

TestSuite(alter, .init = begin, .fini = end);

static struct config_change change(const char *name, int8_t op, const char *value)
{
    return (struct config_change){str_of(name), str_of(value), op};
}

/* One change to what is there ("a=1;b=2;"), and the result in the same form or the error's name. */
static const char *alter(enum config_entity entity, const char *now, struct config_change one)
{
    static char text[1024];
    struct config_set before = {arena_array(&arena, struct config_pair, 8), 0};
    struct config_set after;
    struct errmsg msg = {""};
    for (const char *at = now; *at != '\0';) {
        size_t size = strcspn(at, "=");
        size_t value_size = strcspn(at + size + 1, ";");
        before.pairs[before.count++] =
            (struct config_pair){arena_cstr(&arena, (struct str){at, size}),
                                 arena_cstr(&arena, (struct str){at + size + 1, value_size})};
        at += size + value_size + 2;
    }
    enum err err = config_alter_check(&one, 1, &msg);
    if (err == ERR_OK) {
        err = config_alter(&arena, entity, config, &before, &one, 1, false, &after, &msg);
    }
    if (err != ERR_OK) {
        cr_expect(msg.text[0] != '\0' && strchr(msg.text, '\n') == NULL, "%s", msg.text);
        return err_name(err);
    }
    text[0] = '\0';
    for (int32_t i = 0; i < after.count; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s=%s;", after.pairs[i].name,
                 after.pairs[i].value);
    }
    return text;
}

Test(alter, set_and_delete_change_one_key_and_keep_the_others)
{
    cr_expect_str_eq(alter(ENTITY_TOPIC, "segment.ms=5;", change("retention.ms", OP_SET, "7")),
                     "segment.ms=5;retention.ms=7;");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "segment.ms=5;", change("segment.ms", OP_SET, "7")),
                     "segment.ms=7;");
    cr_expect_str_eq(
        alter(ENTITY_TOPIC, "segment.ms=5;retention.ms=7;", change("segment.ms", OP_DELETE, NULL)),
        "retention.ms=7;");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change("segment.ms", OP_DELETE, NULL)), "");
}

Test(alter, lists_begin_at_kafkas_default_and_never_hold_an_item_twice)
{
    const char *key = "cleanup.policy";
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change(key, OP_APPEND, "compact")),
                     "cleanup.policy=delete,compact;");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change(key, OP_APPEND, "delete,compact")),
                     "cleanup.policy=delete,compact;");
    cr_expect_str_eq(
        alter(ENTITY_TOPIC, "cleanup.policy=delete,compact;", change(key, OP_SUBTRACT, "delete")),
        "cleanup.policy=compact;");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change(key, OP_SUBTRACT, "delete")),
                     "cleanup.policy=;");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change("segment.ms", OP_APPEND, "1")),
                     "INVALID_CONFIG");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change("nonsense", OP_SUBTRACT, "1")),
                     "INVALID_CONFIG");
}

Test(alter, the_whole_result_is_checked_not_the_change_alone)
{
    cr_expect_str_eq(alter(ENTITY_TOPIC, "min.compaction.lag.ms=10;",
                           change("max.compaction.lag.ms", OP_SET, "5")),
                     "INVALID_CONFIG");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "left.over=1;", change("segment.ms", OP_SET, "5")),
                     "INVALID_CONFIG");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "left.over=1;", change("left.over", OP_DELETE, NULL)), "");
}

Test(alter, brokers_take_dynamic_keys_only_and_some_only_for_one_broker)
{
    cr_expect_str_eq(alter(ENTITY_ALL_BROKERS, "", change("log.segment.bytes", OP_SET, "5000")),
                     "log.segment.bytes=5000;");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("log.dirs", OP_SET, "/x")), "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("log.segment.bytes", OP_SET, "13")),
                     "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_ALL_BROKERS, "", change("listeners", OP_SET, "PLAINTEXT://:1")),
                     "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("ssl.keystore.location", OP_SET, "f")),
                     "INVALID_REQUEST");
    cr_expect_str_eq(
        alter(ENTITY_BROKER, "", change("listener.name.x.ssl.keystore.location", OP_SET, "f")),
        "listener.name.x.ssl.keystore.location=f;");
    cr_expect_str_eq(
        alter(ENTITY_ALL_BROKERS, "", change("listener.name.x.ssl.keystore.location", OP_SET, "f")),
        "INVALID_REQUEST");
    cr_expect_str_eq(
        alter(ENTITY_ALL_BROKERS, "", change("listener.name.x.max.connections", OP_SET, "5")),
        "listener.name.x.max.connections=5;");
    cr_expect_str_eq(
        alter(ENTITY_BROKER, "", change("listener.name.x.max.connections", OP_SET, "few")),
        "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("a.plugin.key", OP_SET, "v")),
                     "a.plugin.key=v;");
}

/* A value that somebody had written to ZooKeeper by hand, or a password from a life with TLS, let
 * nothing of the broker's be altered. Kafka leaves out what it cannot use. */
Test(alter, what_a_broker_cannot_use_of_what_is_set_is_in_nobodys_way)
{
    const char *junk = "log.dirs=/x;message.max.bytes=much;ssl.keystore.location=f;"
                       "listener.name.x.ssl.keystore.password=p;log.segment.bytes=5000;";
    cr_expect_str_eq(alter(ENTITY_BROKER, junk, change("log.retention.ms", OP_SET, "7")),
                     "log.segment.bytes=5000;log.retention.ms=7;");
    cr_expect_str_eq(alter(ENTITY_BROKER, junk, change("message.max.bytes", OP_DELETE, NULL)),
                     "log.segment.bytes=5000;");
    cr_expect_str_eq(alter(ENTITY_ALL_BROKERS, "listeners=PLAINTEXT://:1;a.plugin.key=v;",
                           change("log.segment.bytes", OP_SET, "5000")),
                     "a.plugin.key=v;log.segment.bytes=5000;");
    cr_expect_str_eq(alter(ENTITY_BROKER, junk, change("log.dirs", OP_SET, "/y")),
                     "INVALID_REQUEST");
}

/* Likewise a listener with TLS: it is not served, and what else there is may change. */
Test(alter, stored_listeners_that_cannot_be_served_are_in_nobodys_way)
{
    cr_expect_str_eq(alter(ENTITY_BROKER, "listeners=SSL://:9093;log.segment.bytes=5000;",
                           change("log.retention.ms", OP_SET, "7")),
                     "log.segment.bytes=5000;log.retention.ms=7;");
    cr_expect_str_eq(alter(ENTITY_BROKER, "advertised.listeners=PLAINTEXT://h:1;",
                           change("log.retention.ms", OP_SET, "7")),
                     "advertised.listeners=PLAINTEXT://h:1;log.retention.ms=7;");
    cr_expect_str_eq(alter(ENTITY_BROKER, "advertised.listeners=PLAINTEXT://h:1;",
                           change("listeners", OP_SET, "SSL://:9093")),
                     "INVALID_REQUEST");
}

Test(alter, what_a_broker_could_not_start_with_is_refused)
{
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("log.retention.ms", OP_SET, "0")),
                     "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("listeners", OP_SET, "nonsense")),
                     "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("num.io.threads", OP_SET, "16")),
                     "num.io.threads=16;");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("num.io.threads", OP_SET, "17")),
                     "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_BROKER, "", change("num.io.threads", OP_SET, "3")),
                     "INVALID_REQUEST");
}

Test(alter, requests_that_make_no_sense_are_refused)
{
    struct errmsg msg;
    struct config_change twice[] = {change("a", OP_SET, "1"), change("b", OP_SET, "1"),
                                    change("a", OP_DELETE, NULL)};
    cr_expect_eq(config_alter_check(twice, 3, &msg), ERR_INVALID_REQUEST);
    cr_expect_eq(config_alter_check(twice, 2, &msg), ERR_OK);
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change("segment.ms", OP_SET, NULL)),
                     "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change("segment.ms", 9, "1")), "INVALID_REQUEST");
    cr_expect_str_eq(alter(ENTITY_TOPIC, "", change("", OP_SET, "1")), "INVALID_REQUEST");
}

Test(alter, more_changes_than_there_is_use_for_are_refused)
{
    static struct config_change many[CONFIG_CHANGES_MAX + 1];
    struct errmsg msg;
    for (int i = 0; i <= CONFIG_CHANGES_MAX; i++) {
        many[i] = change(arena_printf(&arena, "key%d", i), OP_SET, "1");
    }
    cr_expect_eq(config_alter_check(many, CONFIG_CHANGES_MAX, &msg), ERR_OK);
    cr_expect_eq(config_alter_check(many, CONFIG_CHANGES_MAX + 1, &msg), ERR_INVALID_REQUEST);
}

/* Keys that are not Kafka's are let through, and each broker looks through all of them for each: a
 * client that set a thousand in each request soon stopped all control loops for many seconds, at
 * every change and every start. */
Test(alter, a_broker_gets_no_more_keys_than_there_is_use_for)
{
    enum { MORE = CONFIG_KEYS_MAX / 2 + 1 };
    static struct config_change some[MORE];
    struct config_set now = {NULL, 0};
    struct config_set full;
    struct config_set over;
    struct config_set fewer;
    struct errmsg msg;
    for (int i = 0; i < MORE; i++) {
        some[i] = change(arena_printf(&arena, "key%d", i), OP_SET, "1");
    }
    cr_expect_eq(
        config_alter(&arena, ENTITY_ALL_BROKERS, config, &now, some, MORE, false, &full, &msg),
        ERR_OK);
    for (int i = 0; i < MORE; i++) {
        some[i] = change(arena_printf(&arena, "other%d", i), OP_SET, "1");
    }
    cr_expect_eq(
        config_alter(&arena, ENTITY_ALL_BROKERS, config, &full, some, MORE, false, &over, &msg),
        ERR_INVALID_CONFIG);
    /* What has become too many somehow can be taken away. */
    over = (struct config_set){arena_array(&arena, struct config_pair, 2 * CONFIG_KEYS_MAX), 0};
    for (int i = 0; i < 2 * CONFIG_KEYS_MAX; i++) {
        over.pairs[over.count++] = (struct config_pair){arena_printf(&arena, "old%d", i), "1"};
    }
    struct config_change one = change("old7", OP_DELETE, "");
    cr_expect_eq(
        config_alter(&arena, ENTITY_ALL_BROKERS, config, &over, &one, 1, false, &fewer, &msg),
        ERR_OK);
    one = change("new", OP_SET, "1");
    cr_expect_eq(
        config_alter(&arena, ENTITY_ALL_BROKERS, config, &over, &one, 1, false, &fewer, &msg),
        ERR_INVALID_CONFIG);
}

Test(alter, replacing_forgets_what_was_there)
{
    struct config_pair old = {"segment.ms", "5"};
    struct config_set before = {&old, 1};
    struct config_set after;
    struct errmsg msg;
    struct config_change one = change("retention.ms", OP_SET, "7");
    cr_assert_eq(config_alter(&arena, ENTITY_TOPIC, config, &before, &one, 1, true, &after, &msg),
                 ERR_OK);
    cr_expect_eq(after.count, 1);
    cr_expect_str_eq(after.pairs[0].name, "retention.ms");
}

Test(alter, levels_of_loggers)
{
    struct errmsg msg;
    struct config_change set = change("kafka.server", OP_SET, "DEBUG");
    struct config_change unset = change("kafka.server", OP_DELETE, NULL);
    struct config_change wrong[] = {
        change("kafka.server", OP_SET, "debug"), change("nobody", OP_SET, "INFO"),
        change("kafka.server", OP_APPEND, "INFO"), change("root", OP_DELETE, NULL)};
    static const enum err errors[] = {ERR_INVALID_CONFIG, ERR_INVALID_CONFIG, ERR_INVALID_REQUEST,
                                      ERR_INVALID_REQUEST};
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(loggers_check(&wrong[i], &msg), errors[i], "%d", i);
    }
    cr_assert_eq(loggers_check(&set, &msg), ERR_OK);
    cr_assert_eq(loggers_apply(&set), ERR_OK);
    cr_expect_eq(log_get_level("kafka.server.KafkaServer"), LOG_DEBUG);
    cr_assert_eq(loggers_check(&unset, &msg), ERR_OK);
    cr_assert_eq(loggers_apply(&unset), ERR_OK);
    cr_assert_eq(loggers_apply(&unset), ERR_OK, "it had none of its own any more");
    cr_expect_eq(log_get_level("kafka.server.KafkaServer"), log_get_level("root"));
}

/* An appended list of 16,000 items took 16,000 copies of itself: 268 MB for a request of 32 KB. */
Test(alter, a_long_list_is_appended_without_a_copy_for_each_item)
{
    enum { ITEMS = 5000 };
    struct buf items = {0};
    for (int i = 0; i < ITEMS; i++) {
        buf_printf(&items, "%s%d:1", i > 0 ? "," : "", i % 1000);
    }
    buf_put_byte(&items, 0);
    struct config_change change = {STR("leader.replication.throttled.replicas"),
                                   str_of((const char *)items.data), OP_APPEND};
    struct config_pair pair = {"leader.replication.throttled.replicas", "1:1,999:1"};
    struct config_set before = {&pair, 1};
    struct config_set after;
    struct errmsg msg = {""};
    size_t begin = arena_size(&arena);
    cr_assert_eq(
        config_alter(&arena, ENTITY_TOPIC, config, &before, &change, 1, false, &after, &msg),
        ERR_OK, "%s", msg.text);
    cr_expect_lt(arena_size(&arena) - begin, (size_t)1 << 20);
    cr_assert_eq(after.count, 1);
    const char *value = after.pairs[0].value;
    cr_expect(strncmp(value, "1:1,999:1,0:1,2:1,3:1,", 22) == 0);
    size_t commas = 0;
    for (const char *at = value; *at != '\0'; at++) {
        commas += *at == ',';
    }
    cr_expect_eq(commas, 2 + 5 * 998 - 1); /* what is given twice is appended twice, as in Kafka */
    buf_fini(&items);
}

/* A list that was appended to twice was longer than a string of the protocol can be. */
Test(alter, a_list_grows_no_longer_than_can_be_described)
{
    char items[20001];
    for (size_t i = 0; i + 5 <= 20000; i += 5) {
        memcpy(items + i, "12:1,", 5);
    }
    items[20000] = '\0';
    struct config_change change = {STR("leader.replication.throttled.replicas"), str_of(items),
                                   OP_APPEND};
    struct config_pair pair = {"leader.replication.throttled.replicas", NULL};
    char before_text[15001];
    for (size_t i = 0; i + 5 <= 15000; i += 5) {
        memcpy(before_text + i, "13:1,", 5);
    }
    before_text[14999] = '\0';
    pair.value = before_text;
    struct config_set before = {&pair, 1};
    struct config_set after;
    struct errmsg msg = {""};
    cr_assert_eq(
        config_alter(&arena, ENTITY_TOPIC, config, &before, &change, 1, false, &after, &msg),
        ERR_INVALID_CONFIG);
    cr_assert_not_null(strstr(msg.text, "longer than 32767"));
}
