/* bench_rdkafka: the neutral load generator of scripts/bench. See rd.h. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/peer.h"
#include "bench/load_rdkafka/rd.h"

static int usage(FILE *to)
{
    fprintf(
        to,
        "Example:  bench_rdkafka produce --brokers 127.0.0.1:9092 --topic t --records 1000000\n\n"
        "usage: bench_rdkafka produce|consume --brokers HOST:PORT,.. --topic NAME [options]\n"
        "  --partitions N     that the topic has (1)\n"
        "  --records N        produce: in all (1000000)\n"
        "  --expected N       consume: begin when there are as many (0)\n"
        "  --record-bytes N   produce: of a value (100)\n"
        "  --codec C          produce: none, gzip, snappy, lz4, zstd (none)\n"
        "  --acks N           produce: 1, 0 or all (1)\n"
        "  --linger-ms N      produce: (5)\n"
        "  --batch-bytes N    produce: at most (1000000)\n"
        "  --set KEY=VALUE    a setting of librdkafka's own, may be repeated\n");
    return to == stdout ? 0 : 2;
}

enum option_id {
    OPTION_BROKERS = 1,
    OPTION_TOPIC,
    OPTION_PARTITIONS,
    OPTION_RECORDS,
    OPTION_EXPECTED,
    OPTION_RECORD_BYTES,
    OPTION_CODEC,
    OPTION_ACKS,
    OPTION_LINGER_MS,
    OPTION_BATCH_BYTES,
    OPTION_SET,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"brokers", required_argument, NULL, OPTION_BROKERS},
    {"topic", required_argument, NULL, OPTION_TOPIC},
    {"partitions", required_argument, NULL, OPTION_PARTITIONS},
    {"records", required_argument, NULL, OPTION_RECORDS},
    {"expected", required_argument, NULL, OPTION_EXPECTED},
    {"record-bytes", required_argument, NULL, OPTION_RECORD_BYTES},
    {"codec", required_argument, NULL, OPTION_CODEC},
    {"acks", required_argument, NULL, OPTION_ACKS},
    {"linger-ms", required_argument, NULL, OPTION_LINGER_MS},
    {"batch-bytes", required_argument, NULL, OPTION_BATCH_BYTES},
    {"set", required_argument, NULL, OPTION_SET},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int64_t number(const char *text, int64_t min, int64_t max)
{
    char *end;
    int64_t value = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < min || value > max) {
        die("%s is not a number from %ld to %ld", text, (long)min, (long)max);
    }
    return value;
}

static void take_option(struct rd_options *out, int id, const char *value)
{
    switch ((enum option_id)id) {
    case OPTION_BROKERS:
        out->brokers = value;
        break;
    case OPTION_TOPIC:
        out->topic = value;
        break;
    case OPTION_PARTITIONS:
        out->partitions = (int32_t)number(value, 1, RD_PARTITIONS_MAX);
        break;
    case OPTION_RECORDS:
        out->records = number(value, 1, 1000000000);
        break;
    case OPTION_EXPECTED:
        out->expected = number(value, 0, 1000000000);
        break;
    case OPTION_RECORD_BYTES:
        out->record_bytes = (int32_t)number(value, 1, 10000);
        break;
    case OPTION_CODEC:
        out->codec = value;
        break;
    case OPTION_ACKS:
        out->acks = value;
        break;
    case OPTION_LINGER_MS:
        out->linger_ms = value;
        break;
    case OPTION_BATCH_BYTES:
        out->batch_bytes = value;
        break;
    case OPTION_SET:
        if (out->settings_count == RD_SETTINGS_MAX) {
            die("more than %d settings", RD_SETTINGS_MAX);
        }
        out->settings[out->settings_count++] = value;
        break;
    case OPTION_HELP:
        exit(usage(stdout));
    }
}

int main(int argc, char **argv)
{
    struct rd_options options = {
        .codec = "none",
        .acks = "1",
        .linger_ms = "5",
        .batch_bytes = "1000000",
        .partitions = 1,
        .records = 1000000,
        .record_bytes = 100,
    };
    int id;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (id == '?') {
            return usage(stderr);
        }
        take_option(&options, id, optarg);
    }
    if (optind + 1 != argc || options.brokers == NULL || options.topic == NULL) {
        return usage(stderr);
    }
    if (strcmp(argv[optind], "produce") == 0) {
        return rd_produce(&options);
    }
    if (strcmp(argv[optind], "consume") == 0) {
        return rd_consume(&options);
    }
    return usage(stderr);
}
