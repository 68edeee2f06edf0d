#include <criterion/criterion.h>
#include <stdio.h>

#include "config/synonyms.h"
#include "config/values.h"

static struct config *config_of(const char *a, const char *value_a, const char *b,
                                const char *value_b)
{
    struct config_pair pairs[] = {{"zookeeper.connect", "z:1"}, {a, value_a}, {b, value_b}};
    struct config *config;
    struct errmsg msg;
    int count = a == NULL ? 1 : b == NULL ? 2 : 3;
    cr_assert_eq(config_from_pairs(pairs, count, &config, &msg), ERR_OK, "%s", msg.text);
    return config;
}

static struct config *with(struct config *config, enum config_source source, const char *name,
                           const char *value)
{
    struct config_pair pair = {name, value};
    struct config *next = config_with_layer(config, source, &pair, 1);
    config_put(config);
    return next;
}

Test(layers, a_brokers_own_dynamic_value_beats_that_for_all_then_the_file_then_the_default)
{
    struct config *config = config_of(NULL, NULL, NULL, NULL);
    cr_expect_eq(config_int(config, KEY_message_max_bytes), 1048588);
    config_put(config);
    config = config_of("message.max.bytes", "3", NULL, NULL);
    cr_expect_eq(config_int(config, KEY_message_max_bytes), 3);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "message.max.bytes", "2");
    cr_expect_eq(config_int(config, KEY_message_max_bytes), 2);
    config = with(config, SOURCE_DYNAMIC_BROKER, "message.max.bytes", "1");
    cr_expect_eq(config_int(config, KEY_message_max_bytes), 1);
    cr_expect_eq(config_source(config, KEY_message_max_bytes), SOURCE_DYNAMIC_BROKER);
    /* A layer is replaced whole, the others stay. */
    config = with(config, SOURCE_DYNAMIC_BROKER, "log.segment.bytes", "1000");
    cr_expect_eq(config_int(config, KEY_message_max_bytes), 2);
    cr_expect_eq(config_int(config, KEY_log_segment_bytes), 1000);
    config_put(config);
}

/* To look for expired offsets, or for leaders that are not preferred, "never" was at once and again
 * and again: the time overflowed. */
Test(layers, a_time_that_is_longer_than_any_clock_does_not_overflow)
{
    struct config *config =
        config_of("leader.imbalance.check.interval.seconds", "9223372036854775807",
                  "controlled.shutdown.retry.backoff.ms", "-5");
    int64_t never_ms =
        config_duration_ms(config, KEY_leader_imbalance_check_interval_seconds, 1000);
    cr_expect_eq(never_ms, INT64_MAX / 4);
    cr_expect_eq(config_duration_ms(config, KEY_controlled_shutdown_retry_backoff_ms, 3), 0);
    cr_expect_eq(config_duration_ms(config, KEY_replica_lag_time_max_ms, 2), 60000);
    config_put(config);
}

Test(layers, a_dynamic_value_that_does_not_check_is_left_out)
{
    struct config *config = config_of(NULL, NULL, NULL, NULL);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "message.max.bytes", "much");
    cr_expect_eq(config_source(config, KEY_message_max_bytes), SOURCE_DEFAULT);
    config_put(config);
}

/* Somebody had written them to ZooKeeper by hand, and a running broker took them. Kafka does not.
 */
Test(layers, a_key_that_may_not_change_at_run_time_is_no_dynamic_value)
{
    struct config *config = config_of("socket.request.max.bytes", "5000", NULL, NULL);
    config = with(config, SOURCE_DYNAMIC_BROKER, "socket.request.max.bytes", "6000");
    cr_expect_eq(config_int(config, KEY_socket_request_max_bytes), 5000);
    cr_expect_eq(config_source(config, KEY_socket_request_max_bytes), SOURCE_STATIC);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "socket.request.max.bytes", "6000");
    cr_expect_eq(config_int(config, KEY_socket_request_max_bytes), 5000);
    config_put(config);
}

/* kafka-configs.sh --zookeeper stores them as they come. To a broker that took them every segment
 * was too old, and was deleted; Kafka goes on with what it had. */
Test(layers, a_retention_of_nothing_is_no_dynamic_value)
{
    struct config *config = config_of("log.retention.ms", "5000", "log.roll.ms", "6000");
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "log.retention.ms", "0");
    cr_expect_eq(config_long(config, KEY_log_retention_ms), 5000);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "log.roll.ms", "0");
    cr_expect_eq(config_long(config, KEY_log_roll_ms), 6000);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "log.roll.jitter.ms", "-1");
    cr_expect_eq(config_source(config, KEY_log_roll_jitter_ms), SOURCE_DEFAULT);
    config = with(config, SOURCE_DYNAMIC_BROKER, "log.retention.ms", "-1");
    cr_expect_eq(config_long(config, KEY_log_retention_ms), -1);
    config_put(config);
}

Test(layers, what_each_broker_has_of_its_own_is_not_set_for_all)
{
    struct config *config = config_of("advertised.listeners", "PLAINTEXT://a:1", NULL, NULL);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "advertised.listeners", "PLAINTEXT://b:2");
    cr_expect_str_eq(config_str(config, KEY_advertised_listeners), "PLAINTEXT://a:1");
    config = with(config, SOURCE_DYNAMIC_BROKER, "advertised.listeners", "PLAINTEXT://c:3");
    cr_expect_str_eq(config_str(config, KEY_advertised_listeners), "PLAINTEXT://c:3");
    config_put(config);
}

Test(layers, a_key_of_a_listener_that_was_set_dynamically_goes_with_its_layer)
{
    struct config *config = config_of("listener.name.x.max.connections", "5", NULL, NULL);
    config = with(config, SOURCE_DYNAMIC_BROKER, "listener.name.x.max.connections", "6");
    cr_expect_str_eq(config_extra(config, "listener.name.x.max.connections"), "6");
    config = with(config, SOURCE_DYNAMIC_BROKER, "message.max.bytes", "1");
    cr_expect_str_eq(config_extra(config, "listener.name.x.max.connections"), "5");
    cr_expect_eq(config_listener_base("listener.name.x.max.connections"), KEY_max_connections);
    cr_expect_eq(config_listener_base("listener.name.x.plain.sasl.jaas.config"),
                 KEY_sasl_jaas_config);
    cr_expect_eq(config_listener_base("listener.name.x"), KEY_COUNT);
    cr_expect_eq(config_listener_base("max.connections"), KEY_COUNT);
    config_put(config);
}

/* "name=value/source,..." */
static const char *text_of(const struct config_synonyms *synonyms)
{
    static char text[1024];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < synonyms->count; i++) {
        const struct config_synonym *one = &synonyms->items[i];
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s=%s/%d", i > 0 ? "," : "",
                                 one->name, one->value, one->source);
    }
    return text;
}

Test(layers, synonyms_of_a_topic_key_are_its_own_value_and_what_the_broker_says_in_each_layer)
{
    struct config_synonyms synonyms;
    struct config *config = config_of("log.segment.bytes", "5000", NULL, NULL);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "log.segment.bytes", "6000");
    config_synonyms_topic(config, TOPIC_segment_bytes, "7000", &synonyms);
    cr_expect_str_eq(text_of(&synonyms), "segment.bytes=7000/1,log.segment.bytes=6000/3,"
                                         "log.segment.bytes=5000/4,log.segment.bytes=1073741824/5");
    cr_expect_eq(synonyms.source, SOURCE_TOPIC);
    config_synonyms_topic(config, TOPIC_segment_bytes, NULL, &synonyms);
    cr_expect_eq(synonyms.source, SOURCE_DYNAMIC_DEFAULT);
    config_put(config);
}

/* Kafka's list begins with the key's first broker name: hours alone are no synonym. */
Test(layers, a_retention_in_hours_is_in_force_but_no_synonym_of_retention_ms)
{
    struct config_synonyms synonyms;
    char scratch[32];
    enum config_source source;
    struct config *config = config_of("log.retention.hours", "2", NULL, NULL);
    cr_expect_str_eq(
        topic_config_value(config, NULL, 0, TOPIC_retention_ms, scratch, sizeof(scratch), &source),
        "7200000");
    config_synonyms_topic(config, TOPIC_retention_ms, NULL, &synonyms);
    cr_expect_eq(synonyms.count, 0);
    cr_expect_eq(synonyms.source, SOURCE_DEFAULT);
    config_synonyms_topic(config, TOPIC_retention_ms, "9", &synonyms);
    cr_expect_str_eq(text_of(&synonyms), "retention.ms=9/1");
    config_put(config);
    config = config_of("log.retention.ms", "3", "log.retention.hours", "2");
    config_synonyms_topic(config, TOPIC_retention_ms, NULL, &synonyms);
    cr_expect_str_eq(text_of(&synonyms), "log.retention.ms=3/4,log.retention.hours=2/4,"
                                         "log.retention.hours=168/5");
    config_put(config);
}

Test(layers, synonyms_of_a_broker_key)
{
    struct config_synonyms synonyms;
    struct config *config = config_of("log.retention.hours", "2", NULL, NULL);
    config_synonyms_broker(config, KEY_log_retention_hours, false, &synonyms);
    cr_expect_str_eq(text_of(&synonyms), "log.retention.hours=2/4,log.retention.hours=168/5");
    config_synonyms_broker(config, KEY_log_retention_ms, false, &synonyms);
    cr_expect_eq(synonyms.count, 0);
    config = with(config, SOURCE_DYNAMIC_DEFAULT, "log.retention.ms", "7");
    config_synonyms_broker(config, KEY_log_retention_ms, true, &synonyms);
    cr_expect_str_eq(text_of(&synonyms), "log.retention.ms=7/3");
    config_put(config);
}

Test(layers, values_are_printed_as_kafka_prints_them)
{
    struct arena arena = {0};
    cr_expect_str_eq(config_canonical(&arena, CONFIG_BOOLEAN, "TRUE"), "true");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_INT, "+7"), "7");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_LIST, "compact , delete"), "compact,delete");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_LIST, ""), "");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_DOUBLE, "0.5"), "0.5");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_DOUBLE, "1"), "1.0");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_DOUBLE, "0"), "0.0");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_DOUBLE, "1234567"), "1234567.0");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_DOUBLE, "12345678"), "1.2345678E7");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_DOUBLE, "1.7976931348623157E308"),
                     "1.7976931348623157E308");
    cr_expect_str_eq(config_canonical(&arena, CONFIG_STRING, "As it is"), "As it is");
    arena_fini(&arena);
}

/* Every default must suit its own key, or a broker could not say what it runs with. */
Test(layers, defaults_of_all_keys_check)
{
    struct config_rule rule;
    for (int i = 0; i < KEY_COUNT; i++) {
        const struct config_info *info = config_info((enum config_key)i);
        cr_expect(info->value == NULL ||
                      config_value_suits(info->name, info->type, info->minimum, info->value, &rule),
                  "%s=%s", info->name, info->value);
        cr_expect_eq((int)config_find(info->name), i, "%s is not where it is looked for",
                     info->name);
    }
    for (int i = 0; i < TOPIC_KEY_COUNT; i++) {
        struct errmsg msg;
        const struct topic_key_info *info = topic_key_info((enum topic_key)i);
        cr_expect_eq(topic_config_check(info->name, info->value, &msg), ERR_OK, "%s", msg.text);
        cr_expect_not_null(config_documentation(info->name), "%s", info->name);
    }
}

Test(layers, documentation_is_found_and_unknown_keys_have_none)
{
    cr_expect_not_null(config_documentation("advertised.listeners"));
    cr_expect_not_null(config_documentation("zookeeper.session.timeout.ms"));
    cr_expect_null(config_documentation("nonsense"));
}
