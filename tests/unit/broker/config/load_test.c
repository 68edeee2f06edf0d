#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"

enum { LOG_MAX = 16384 };

/* What is always needed. */
#define BASE "zookeeper.connect=localhost:2181\nlog.dirs=/data\n"

static char file_name[64];

static const char *file_of(const char *text)
{
    snprintf(file_name, sizeof(file_name), "/tmp/load_test.XXXXXX");
    int fd = mkstemp(file_name);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return file_name;
}

static enum err load(const char *text, const char *const *environment, const char *override,
                     struct config **out, struct errmsg *msg)
{
    struct config_load_options options = {
        .file = text != NULL ? file_of(text) : NULL,
        .environ_ = environment,
        .overrides = &override,
        .overrides_count = override != NULL,
    };
    msg->text[0] = '\0';
    enum err err = config_load(&options, out, msg);
    if (text != NULL) {
        unlink(file_name);
    }
    return err;
}

static struct config *good(const char *text, const char *const *environment, const char *override)
{
    struct config *config;
    struct errmsg msg;
    cr_assert_eq(load(text, environment, override, &config, &msg), ERR_OK, "%s", msg.text);
    return config;
}

/* The start is refused, and the message has these words in it. */
static void bad(const char *more, const char *const *environment, const char *override,
                const char *a, const char *b)
{
    char text[1024];
    struct config *config = NULL;
    struct errmsg msg;
    snprintf(text, sizeof(text), BASE "%s", more);
    cr_expect_eq(load(text, environment, override, &config, &msg), ERR_INVALID_CONFIG, "%s", more);
    cr_expect(strstr(msg.text, a) != NULL, "no \"%s\" in: %s", a, msg.text);
    cr_expect(strstr(msg.text, b) != NULL, "no \"%s\" in: %s", b, msg.text);
    cr_expect(strncmp(msg.text, "error[E-", 8) == 0, "%s", msg.text);
}

/* What config_log_warnings() writes. */
static char *warnings(const struct config *config)
{
    static char text[LOG_MAX];
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    log_set_fd(fileno(file));
    config_log_warnings(config);
    log_set_fd(STDERR_FILENO);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static int lines(const char *text)
{
    int count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

/* The form was there, and nothing that an operator could say led to it. */
Test(load, the_log_is_json_where_the_environment_asks_for_it)
{
    static const char *const json[] = {"BARNABAS_LOG_FORMAT=json", NULL};
    static const char *const text[] = {"BARNABAS_LOG_FORMAT=TEXT", NULL};
    static const char *const other[] = {"BARNABAS_LOG_FORMAT=xml", NULL};
    struct config *config = good(BASE "num.partition=2\n", json, NULL);
    const char *line = warnings(config);
    cr_expect_eq(strncmp(line, "{\"ts\":\"", 7), 0, "%s", line);
    cr_expect(strstr(line, "\"logger\":\"kafka.server.KafkaConfig\"") != NULL, "%s", line);
    config_put(config);
    config = good(BASE "num.partition=2\n", text, NULL);
    line = warnings(config);
    cr_expect_eq(line[0], '[', "%s", line);
    config_put(config);
    bad("", other, NULL, "BARNABAS_LOG_FORMAT=xml", "text");
}

Test(load, later_sources_win_file_then_environment_then_override)
{
    static const char *const environment[] = {"KAFKA_NUM_PARTITIONS=2", "KAFKA_BROKER_RACK=r2",
                                              NULL};
    struct config *config = good(BASE "num.partitions=1\nbroker.rack=r1\nbroker.id=7\n",
                                 environment, "num.partitions=3");
    cr_expect_eq(config_int(config, KEY_num_partitions), 3);
    cr_expect_str_eq(config_str(config, KEY_broker_rack), "r2");
    cr_expect_eq(config_int(config, KEY_broker_id), 7);
    cr_expect_eq(config_source(config, KEY_num_partitions), SOURCE_STATIC);
    cr_expect_eq(config_source(config, KEY_log_segment_bytes), SOURCE_DEFAULT);
    config_put(config);
}

Test(load, the_last_of_a_repeated_key_counts_and_blanks_do_not)
{
    struct config *config = good(BASE "num.partitions=1\nnum.partitions =  4 \n", NULL,
                                 "auto.create.topics.enable= FALSE ");
    cr_expect_eq(config_int(config, KEY_num_partitions), 4);
    cr_expect_not(config_bool(config, KEY_auto_create_topics_enable));
    config_put(config);
}

/* The container image's rules for names. */
Test(load, variables_become_keys_by_the_rules_of_the_image)
{
    static const char *const environment[] = {
        "KAFKA_ZOOKEEPER_CONNECT=z:2181",
        "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://h:9092",
        "KAFKA_LISTENER_NAME_PLAINTEXT__INTERNAL_MAX_CONNECTIONS=1",
        "KAFKA_A____B=2",
        "KAFKA__X=3",
        "KAFKA_X_=4",
        "KAFKA_LISTENER_NAME_SASL__SSL_SCRAM___SHA___512_SASL_JAAS_CONFIG=5",
        "OTHER=6",
        NULL};
    struct config *config = good(NULL, environment, NULL);
    cr_expect_str_eq(config_extra(config, "listener.name.plaintext_internal.max.connections"), "1");
    cr_expect_str_eq(config_extra(config, "a-_b"), "2");
    cr_expect_str_eq(config_extra(config, "_x"), "3");
    cr_expect_str_eq(config_extra(config, "x_"), "4");
    cr_expect_str_eq(config_extra(config, "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config"),
                     "5");
    cr_expect_eq(config_extras_count(config), 5);
    config_put(config);
}

Test(load, from_the_environment_alone_the_images_defaults_are_filled_in)
{
    static const char *const environment[] = {
        "KAFKA_ZOOKEEPER_CONNECT=z:2181",
        "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,INTERNAL://[::1]:29092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT", NULL};
    struct config *config = good(NULL, environment, NULL);
    cr_expect_str_eq(config_str(config, KEY_listeners),
                     "PLAINTEXT://0.0.0.0:9092,INTERNAL://0.0.0.0:29092");
    cr_expect_str_eq(config_str(config, KEY_log_dirs), "/var/lib/kafka/data");
    config_put(config);
}

Test(load, the_environment_alone_must_name_zookeeper_and_what_is_advertised)
{
    static const char *const nothing[] = {NULL};
    static const char *const half[] = {"KAFKA_ZOOKEEPER_CONNECT=z:2181", NULL};
    struct config *config;
    struct errmsg msg;
    cr_expect_eq(load(NULL, nothing, NULL, &config, &msg), ERR_INVALID_CONFIG);
    cr_expect(strstr(msg.text, "KAFKA_ZOOKEEPER_CONNECT is required") != NULL, "%s", msg.text);
    cr_expect_eq(load(NULL, half, NULL, &config, &msg), ERR_INVALID_CONFIG);
    cr_expect(strstr(msg.text, "KAFKA_ADVERTISED_LISTENERS is required") != NULL, "%s", msg.text);
}

Test(load, variables_of_a_kubernetes_service_link_are_ignored_with_one_warning)
{
    static const char *const environment[] = {"KAFKA_PORT=tcp://10.0.0.1:9092",
                                              "KAFKA_PORT_9092_TCP=tcp://10.0.0.1:9092",
                                              "KAFKA_PORT_9092_TCP_ADDR=10.0.0.1",
                                              "KAFKA_SERVICE_HOST=10.0.0.1",
                                              "KAFKA_SERVICE_PORT=9092",
                                              "KAFKA_NUM_PARTITIONS=2",
                                              NULL};
    struct config *config = good(BASE, environment, NULL);
    cr_expect_eq(config_extras_count(config), 0);
    cr_expect_eq(config_int(config, KEY_num_partitions), 2);
    const char *text = warnings(config);
    cr_expect_eq(lines(text), 1, "%s", text);
    cr_expect(strstr(text, "KAFKA_SERVICE_HOST") != NULL, "%s", text);
    config_put(config);
}

Test(load, variables_for_java_are_ignored_with_one_line)
{
    static const char *const environment[] = {"KAFKA_HEAP_OPTS=-Xmx1G", "KAFKA_JMX_PORT=9999",
                                              "KAFKA_OPTS=-Dx=y", NULL};
    struct config *config = good(BASE, environment, NULL);
    cr_expect_eq(config_extras_count(config), 0);
    const char *text = warnings(config);
    cr_expect_eq(lines(text), 1, "%s", text);
    cr_expect(strstr(text, "KAFKA_HEAP_OPTS, KAFKA_JMX_PORT, KAFKA_OPTS") != NULL, "%s", text);
    config_put(config);
}

Test(load, unknown_keys_never_stop_a_start_and_the_nearest_known_one_is_named)
{
    struct config *config = good(BASE "log.retention.hour=5\nconfluent.license=x\n", NULL, NULL);
    const char *text = warnings(config);
    cr_expect_eq(lines(text), 1, "%s", text);
    cr_expect(strstr(text, "log.retention.hour (did you mean log.retention.hours?)") != NULL, "%s",
              text);
    cr_expect(strstr(text, "confluent.license") != NULL, "%s", text);
    config_put(config);
}

Test(load, keys_that_do_nothing_yet_are_told_in_one_line_unless_they_say_the_default)
{
    struct config *config =
        good(BASE "num.io.threads=8\nbackground.threads=4\nlog.cleaner.threads=2\nnode.id=1\n"
                  "metadata.log.segment.ms=5\n",
             NULL, NULL);
    const char *text = warnings(config);
    cr_expect_eq(lines(text), 2, "%s", text);
    cr_expect(strstr(text, "not implemented yet and have no effect: background.threads, "
                           "log.cleaner.threads (") != NULL,
              "%s", text);
    cr_expect(strstr(text, "without effect in ZooKeeper mode: metadata.log.segment.ms") != NULL,
              "%s", text);
    config_put(config);
}

Test(load, commits_cannot_wait_for_more_replicas_than_there_are)
{
    bad("offsets.commit.required.acks=4\n", NULL, NULL, "offsets.commit.required.acks",
        "offsets.topic.replication.factor");
    config_put(good(BASE "offsets.commit.required.acks=1\n", NULL, NULL));
}

Test(load, only_selectors_that_are_built_in_are_taken)
{
    struct config *config = good(
        BASE "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector\n",
        NULL, NULL);
    cr_expect(config_rack_aware(config));
    config_put(config);
    config = good(BASE "replica.selector.class=org.apache.kafka.common.replica.LeaderSelector\n",
                  NULL, NULL);
    cr_expect_not(config_rack_aware(config));
    config_put(config);
    bad("replica.selector.class=com.example.Nearest\n", NULL, NULL,
        "replica.selector.class=com.example.Nearest",
        "org.apache.kafka.common.replica.RackAwareReplicaSelector");
}

Test(load, a_bad_value_is_told_with_key_value_rule_example_and_place)
{
    bad("log.segment.bytes=many\n", NULL, NULL, "log.segment.bytes=many", "line 3");
    bad("log.segment.bytes=13\n", NULL, NULL, "of at least 14", "log.segment.bytes=14");
    bad("", NULL, "num.partitions=0", "at least 1", "(--override)");
    bad("", NULL, "num.partitions", "--override num.partitions has no value", "key=value");
    static const char *const environment[] = {"KAFKA_DELETE_TOPIC_ENABLE=yes", NULL};
    bad("", environment, NULL, "delete.topic.enable=yes", "(KAFKA_DELETE_TOPIC_ENABLE)");
    bad("zookeeper.session.timeout.ms=99999999999\n", NULL, NULL, "whole number (int)",
        "99999999999");
}

Test(load, words_and_ranges_are_checked_as_in_kafka)
{
    bad("compression.type=zip\n", NULL, NULL, "uncompressed, zstd", "compression.type=zip");
    bad("log.cleanup.policy=delete,shred\n", NULL, NULL, "compact and delete", "shred");
    bad("log.message.timestamp.type=Now\n", NULL, NULL, "CreateTime or LogAppendTime", "Now");
    bad("compression.gzip.level=0\n", NULL, NULL, "between 1 and 9, or -1", "=0");
    bad("compression.zstd.level=23\n", NULL, NULL, "between -131072 and 22", "=23");
    bad("log.cleaner.min.cleanable.ratio=1.5\n", NULL, NULL, "from 0 to 1", "=1.5");
    bad("inter.broker.protocol.version=5.0\n", NULL, NULL, "0.8 to 4.0", "=5.0");
    struct config *config = good(
        BASE "compression.type=zstd\ncompression.zstd.level=-5\nlog.cleanup.policy=compact, "
             "delete\ninter.broker.protocol.version=2.8-IV1\nlog.message.format.version=0.10.2\n",
        NULL, NULL);
    config_put(config);
}

/* It was taken, and ended the broker when the first group committed. */
Test(load, a_codec_of_offsets_that_there_is_none_of_does_not_start)
{
    bad("offsets.topic.compression.codec=5\n", NULL, NULL, "codec=5", "4 (zstd)");
    bad("offsets.topic.compression.codec=-1\n", NULL, NULL, "codec=-1", "0 (none)");
    struct config *config = good(BASE "offsets.topic.compression.codec=4\n", NULL, NULL);
    cr_expect_eq(config_int(config, KEY_offsets_topic_compression_codec), 4);
    config_put(config);
}

Test(load, what_contradicts_itself_does_not_start)
{
    bad("log.roll.jitter.ms=-1\n", NULL, NULL, "log.roll.jitter.ms", "at least 0");
    bad("broker.id=1001\n", NULL, NULL, "reserved.broker.max.id", "smaller");
    bad("broker.id.generation.enable=false\n", NULL, NULL, "broker.id is missing", "broker.id=1");
    bad("broker.id=1\nnode.id=2\n", NULL, NULL, "node.id and broker.id", "broker.id alone");
    bad("log.roll.ms=0\n", NULL, NULL, "log.roll.ms", "at least 1");
    bad("log.retention.ms=0\n", NULL, NULL, "log.retention", "-1");
    bad("log.dirs=,\n", NULL, NULL, "names no directory", "log.dirs=");
    bad("replica.fetch.wait.max.ms=40000\n", NULL, NULL, "replica.fetch.wait.max.ms", "exceed");
    bad("queued.max.request.bytes=100\n", NULL, NULL, "queued.max.request.bytes", "-1");
    bad("max.connections.per.ip=0\n", NULL, NULL, "max.connections.per.ip", "overrides");
    bad("connections.max.idle.ms=50\n", NULL, NULL, "authentication.delay", "idle");
    bad("log.cleaner.threads=200\n", NULL, NULL, "dedupe", "1 MiB");
    bad("inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT\n", NULL,
        NULL, "inter.broker.listener.name", "one of them");
}

Test(load, what_must_not_be_ignored_silently_does_not_start)
{
    bad("process.roles=broker\n", NULL, NULL, "KRaft", "zookeeper.connect");
    bad("controller.listener.names=C\n", NULL, NULL, "KRaft", "controller.listener.names");
    bad("zookeeper.ssl.client.enable=true\n", NULL, NULL, "zookeeper.ssl.client.enable", "TLS");
    bad("zookeeper.set.acl=true\n", NULL, NULL, "zookeeper.set.acl", "SASL");
    bad("remote.log.storage.system.enable=true\n", NULL, NULL, "Tiered", "Remove");
    bad("authorizer.class.name=kafka.security.authorizer.AclAuthorizer\n", NULL, NULL,
        "authorizer.class.name", "AclAuthorizer");
    bad("create.topic.policy.class.name=x.Y\n", NULL, NULL, "create.topic.policy", "x.Y");
}

/* The rack was "${env:RACK}", and the advertised host would have been. Without providers such a
 * text is what it is, as in Kafka. */
Test(load, a_value_that_kafka_would_look_up_elsewhere_is_not_taken_as_it_stands)
{
    bad("config.providers=env\nbroker.rack=${env:RACK}\n", NULL, NULL, "broker.rack=${env:RACK}",
        "config.providers=env");
    config_put(good(BASE "config.providers=env\n", NULL, NULL));
    config_put(good(BASE "broker.rack=${env:RACK}\n", NULL, NULL));
}

Test(load, node_id_alone_is_the_brokers_id)
{
    struct config *config = good(BASE "node.id=5\n", NULL, NULL);
    cr_expect_eq(config_int(config, KEY_broker_id), 5);
    config_put(config);
}

/* It was an empty one, and the start said that zookeeper.connect is missing. */
Test(load, a_directory_is_no_file)
{
    struct config_load_options options = {.file = "/tmp"};
    struct config *config;
    struct errmsg msg;
    cr_expect_eq(config_load(&options, &config, &msg), ERR_NOT_FOUND);
    cr_expect(strstr(msg.text, "/tmp: Is a directory") != NULL, "%s", msg.text);
}

Test(load, a_missing_file_or_address_is_told)
{
    struct config_load_options options = {.file = "/nonexistent/server.properties"};
    struct config *config;
    struct errmsg msg;
    cr_expect_eq(config_load(&options, &config, &msg), ERR_NOT_FOUND);
    cr_expect(strstr(msg.text, "/nonexistent/server.properties") != NULL, "%s", msg.text);
    cr_expect_eq(load("log.dirs=/data\n", NULL, NULL, &config, &msg), ERR_INVALID_CONFIG);
    cr_expect(strstr(msg.text, "zookeeper.connect is missing") != NULL, "%s", msg.text);
}

/* DescribeLogDirs said "/data/", and a replica that was to go to "/data", as Kafka calls it, was
 * told that there is no such directory. */
Test(load, log_dirs_are_spelt_as_kafka_spells_them)
{
    static const char *const expected[] = {"/data", "/a/b", "/", "c"};
    int count;
    struct config *config =
        good("zookeeper.connect=z\nlog.dirs=/data/, /a//b/// ,/,,c/\n", NULL, NULL);
    char **dirs = config_log_dirs(config, &count);
    cr_assert_eq(count, 4);
    for (int i = 0; i < count; i++) {
        cr_expect_str_eq(dirs[i], expected[i]);
        mem_free(dirs[i]);
    }
    mem_free(dirs);
    config_put(config);
}

Test(load, without_log_dirs_the_temporary_folder_is_warned_of)
{
    struct config *config = good("zookeeper.connect=z\n", NULL, NULL);
    cr_expect(strstr(warnings(config), "/tmp/kafka-logs") != NULL);
    config_put(config);
}
