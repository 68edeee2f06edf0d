#include "config/topic_config.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "config/values.h"

static void accepts(const char *name, const char *value)
{
    struct errmsg msg;
    cr_expect_eq(topic_config_check(name, value, &msg), ERR_OK, "%s", msg.text);
}

static void refuses(const char *name, const char *value)
{
    struct errmsg msg = {""};
    cr_expect_eq(topic_config_check(name, value, &msg), ERR_INVALID_CONFIG, "%s=%s", name, value);
    cr_expect(strstr(msg.text, name) != NULL && strchr(msg.text, '\n') == NULL, "%s", msg.text);
}

Test(topic_config, names_types_and_ranges_are_checked)
{
    refuses("retention.msec", "1");
    refuses("segment.bytes", "13");
    accepts("segment.bytes", "14");
    refuses("segment.bytes", "14k");
    refuses("segment.bytes", "2147483648");
    refuses("retention.ms", "-2");
    accepts("retention.ms", "-1");
    accepts("retention.bytes", "-7");
    refuses("segment.ms", "0");
    refuses("preallocate", "yes");
    accepts("preallocate", "True");
    refuses("min.insync.replicas", "0");
    refuses("flush.ms", "");
    refuses("message.timestamp.before.max.ms", "-1");
}

Test(topic_config, words_are_checked)
{
    accepts("cleanup.policy", "compact,delete");
    accepts("cleanup.policy", "compact, delete");
    refuses("cleanup.policy", "compact;delete");
    refuses("cleanup.policy", "Compact");
    accepts("compression.type", "producer");
    refuses("compression.type", "none");
    accepts("compression.gzip.level", "-1");
    refuses("compression.gzip.level", "10");
    refuses("compression.lz4.level", "18");
    accepts("message.format.version", "2.8-IV0");
    refuses("message.format.version", "soon");
    refuses("min.cleanable.dirty.ratio", "nan");
    accepts("leader.replication.throttled.replicas", "0:1,1:2");
    accepts("leader.replication.throttled.replicas", "*");
    accepts("leader.replication.throttled.replicas", "");
    refuses("leader.replication.throttled.replicas", "0:");
    refuses("remote.storage.enable", "true");
    refuses("remote.storage.enable", " TRUE ");
    accepts("remote.storage.enable", "false");
}

Test(topic_config, a_shortest_lag_above_the_longest_is_refused)
{
    struct config_pair pairs[] = {{"min.compaction.lag.ms", "10"}, {"max.compaction.lag.ms", "9"}};
    struct errmsg msg;
    cr_expect_eq(topic_config_check_all(pairs, 1, &msg), ERR_OK);
    cr_expect_eq(topic_config_check_all(pairs, 2, &msg), ERR_INVALID_CONFIG);
}

static void build(const char *broker_key, const char *broker_value, const char *key,
                  const char *value, struct topic_config *out)
{
    struct config_pair pairs[] = {{"zookeeper.connect", "z:1"}, {broker_key, broker_value}};
    struct config_pair own = {key, value};
    struct config *config;
    struct errmsg msg;
    cr_assert_eq(config_from_pairs(pairs, broker_key != NULL ? 2 : 1, &config, &msg), ERR_OK, "%s",
                 msg.text);
    topic_config_build(config, &own, key != NULL, out);
    config_put(config);
}

Test(topic_config, a_topics_own_value_beats_the_brokers_and_that_the_default)
{
    struct topic_config config;
    build(NULL, NULL, NULL, NULL, &config);
    cr_expect_eq(config.retention_ms, 604800000);
    cr_expect_eq(config.max_message_bytes, 1048588);
    cr_expect_eq(config.compression_codec, TOPIC_CODEC_PRODUCER);
    cr_expect_eq(config.cleanup_policy, TOPIC_CLEANUP_DELETE);
    build("log.retention.minutes", "2", NULL, NULL, &config);
    cr_expect_eq(config.retention_ms, 120000);
    build("log.retention.hours", "-1", NULL, NULL, &config);
    cr_expect_eq(config.retention_ms, -1);
    build("log.retention.minutes", "2", "retention.ms", "5", &config);
    cr_expect_eq(config.retention_ms, 5);
    build("message.max.bytes", "100", NULL, NULL, &config);
    cr_expect_eq(config.max_message_bytes, 100);
    build("compression.type", "gzip", "compression.type", "zstd", &config);
    cr_expect_eq(config.compression_codec, 4);
    cr_expect_eq(config.compression_level, 3);
    build(NULL, NULL, "cleanup.policy", "compact,delete", &config);
    cr_expect_eq(config.cleanup_policy, TOPIC_CLEANUP_DELETE | TOPIC_CLEANUP_COMPACT);
}

/* A value was cut after 63 bytes: a topic to compact was one to delete from, a timeout was 0. */
Test(topic_config, a_long_value_is_read_whole)
{
    static const char zeros[] = "00000000000000000000000000000000000000000000000000000000000000005";
    static const char list[] =
        "delete,delete,delete,delete,delete,delete,delete,delete,delete,compact";
    struct topic_config config;
    build(NULL, NULL, "cleanup.policy", list, &config);
    cr_expect_eq(config.cleanup_policy, TOPIC_CLEANUP_DELETE | TOPIC_CLEANUP_COMPACT);
    build(NULL, NULL, "retention.ms", zeros, &config);
    cr_expect_eq(config.retention_ms, 5);
    build("log.retention.ms", zeros, NULL, NULL, &config);
    cr_expect_eq(config.retention_ms, 5);
    build(NULL, NULL, "compression.type", " \t zstd \n", &config);
    cr_expect_eq(config.compression_codec, 4);
}

Test(topic_config, a_stored_value_that_does_not_check_is_left_out)
{
    struct topic_config config;
    build("log.segment.bytes", "5000", "segment.bytes", "few", &config);
    cr_expect_eq(config.segment_bytes, 5000);
}

/* Wherever a boolean is read: of a broker, of a topic with the broker's below it, and of the topic
 * alone, by which the controller judges. */
static void reads_boolean(const char *text, bool wanted)
{
    static const char name[] = "unclean.leader.election.enable";
    struct topic_config config;
    struct arena arena = {0};
    struct config_pair own = {name, text};
    build(name, text, NULL, NULL, &config);
    cr_expect_eq(config.unclean_leader_election, wanted, "'%s' of a broker", text);
    build(name, wanted ? "false" : "true", name, text, &config);
    cr_expect_eq(config.unclean_leader_election, wanted, "'%s' of a topic", text);
    const char *value = topic_config_own(&own, 1, TOPIC_unclean_leader_election_enable);
    cr_assert_not_null(value, "'%s'", text);
    cr_expect_eq(config_parse_bool(value), wanted, "'%s' of a topic alone", text);
    cr_expect_str_eq(config_canonical(&arena, CONFIG_BOOLEAN, text), wanted ? "true" : "false");
    arena_fini(&arena);
}

Test(topic_config, booleans_are_read_alike_in_any_case_and_between_blanks)
{
    reads_boolean("true", true);
    reads_boolean("TRUE", true);
    reads_boolean(" True ", true);
    reads_boolean("false", false);
    reads_boolean("FALSE", false);
    reads_boolean("\tfalsE", false);
}

/* The controller took "yes" for a topic's own no, where the broker's value is in force. */
Test(topic_config, what_does_not_check_is_nothing_of_the_topics_own)
{
    struct config_pair pairs[] = {{"unclean.leader.election.enable", "yes"},
                                  {"min.insync.replicas", "2x"},
                                  {"preallocate", "true"}};
    cr_expect_null(topic_config_own(pairs, 3, TOPIC_unclean_leader_election_enable));
    cr_expect_null(topic_config_own(pairs, 3, TOPIC_min_insync_replicas));
    cr_expect_null(topic_config_own(pairs, 3, TOPIC_retention_ms));
    cr_expect_str_eq(topic_config_own(pairs, 3, TOPIC_preallocate), "true");
}

Test(topic_config, throttled_replicas_are_found_between_blanks)
{
    cr_expect(config_throttles(" * ", 3, 4));
    cr_expect(config_throttles("0:1, 3:4", 3, 4));
    cr_expect(!config_throttles("0:1, 3:4", 0, 4));
    cr_expect(!config_throttles("", 0, 0));
}

Test(topic_config, the_deprecated_difference_counts_where_before_and_after_are_not_set)
{
    struct topic_config config;
    build(NULL, NULL, "message.timestamp.difference.max.ms", "50", &config);
    cr_expect_eq(config.message_timestamp_before_max_ms, 50);
    cr_expect_eq(config.message_timestamp_after_max_ms, 50);
    build("log.message.timestamp.before.max.ms", "70", "message.timestamp.difference.max.ms", "50",
          &config);
    cr_expect_eq(config.message_timestamp_before_max_ms, 70);
    cr_expect_eq(config.message_timestamp_after_max_ms, 50);
}

/* What is taken off segment.ms, by chance, was more than that: each batch began a segment of its
 * own, and any client can ask for such a topic. */
Test(topic_config, jitter_is_never_longer_than_the_time_that_it_is_taken_from)
{
    struct topic_config config;
    build("log.roll.ms", "1000", "segment.jitter.ms", "9223372036854775807", &config);
    cr_expect_eq(config.segment_jitter_ms, 1000);
    build("log.roll.jitter.ms", "700", "segment.ms", "500", &config);
    cr_expect_eq(config.segment_jitter_ms, 500);
    build("log.roll.jitter.ms", "300", "segment.ms", "500", &config);
    cr_expect_eq(config.segment_jitter_ms, 300);
}
