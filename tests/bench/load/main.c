/* bench_load: the load generator of scripts/bench. See load.h. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/load.h"
#include "bench/load/peer.h"

static int usage(FILE *to)
{
    fprintf(
        to,
        "Example:  bench_load produce --port 9092 --topic t --requests 10000\n\n"
        "usage: bench_load MODE --port N --topic NAME [options]\n"
        "  MODE               produce, consume, latency, follow, crowd, await, gaps or members\n"
        "  --host H           (127.0.0.1)\n"
        "  --brokers ID=PORT,..  of a cluster, instead of --port: produce, consume,\n"
        "                     latency, await, gaps\n"
        "  --replicas N       await: an ISR of so many at least (1)\n"
        "  --partitions N     of the topic (1)\n"
        "  --connections N    (1); follow: consumers; crowd: beside the probe;\n"
        "                     members: so many\n"
        "  --active N         crowd: of the connections (1)\n"
        "  --depth N          produce: requests under way per connection (5)\n"
        "  --acks 0|1|-1      (1)\n"
        "  --records N        per batch (64)\n"
        "  --record-bytes N   (1000)\n"
        "  --requests N       produce: in all (10000); members: so many leave\n"
        "  --fetch-bytes N    consume, follow: at most, per answer (1048576)\n"
        "  --rate N           latency, follow, crowd: batches a second (1000); gaps: of each\n"
        "  --seconds S        latency, follow, crowd: for so long (5); await: at most\n"
        "  --meet 0|1         produce, consume, latency, follow: say \"ready\" and wait for a\n"
        "                     line before they begin (0)\n");
    return to == stdout ? 0 : 2;
}

enum option_id {
    OPTION_HOST = 1,
    OPTION_PORT,
    OPTION_BROKERS,
    OPTION_REPLICAS,
    OPTION_TOPIC,
    OPTION_PARTITIONS,
    OPTION_CONNECTIONS,
    OPTION_ACTIVE,
    OPTION_DEPTH,
    OPTION_ACKS,
    OPTION_RECORDS,
    OPTION_RECORD_BYTES,
    OPTION_REQUESTS,
    OPTION_FETCH_BYTES,
    OPTION_RATE,
    OPTION_SECONDS,
    OPTION_MEET,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, OPTION_HOST},
    {"port", required_argument, NULL, OPTION_PORT},
    {"brokers", required_argument, NULL, OPTION_BROKERS},
    {"replicas", required_argument, NULL, OPTION_REPLICAS},
    {"topic", required_argument, NULL, OPTION_TOPIC},
    {"partitions", required_argument, NULL, OPTION_PARTITIONS},
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"active", required_argument, NULL, OPTION_ACTIVE},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"acks", required_argument, NULL, OPTION_ACKS},
    {"records", required_argument, NULL, OPTION_RECORDS},
    {"record-bytes", required_argument, NULL, OPTION_RECORD_BYTES},
    {"requests", required_argument, NULL, OPTION_REQUESTS},
    {"fetch-bytes", required_argument, NULL, OPTION_FETCH_BYTES},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"meet", required_argument, NULL, OPTION_MEET},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static long number(const char *text, long min, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < min || value > max) {
        die("%s is not a number from %ld to %ld", text, min, max);
    }
    return value;
}

static void take_option(struct load_options *out, int id, const char *value)
{
    switch ((enum option_id)id) {
    case OPTION_HOST:
        out->host = value;
        break;
    case OPTION_PORT:
        out->port = (uint16_t)number(value, 1, 65535);
        break;
    case OPTION_BROKERS:
        out->brokers = value;
        break;
    case OPTION_REPLICAS:
        out->replicas = (int32_t)number(value, 1, 100);
        break;
    case OPTION_TOPIC:
        out->topic = value;
        break;
    case OPTION_PARTITIONS:
        out->partitions = (int32_t)number(value, 1, 100000);
        break;
    case OPTION_CONNECTIONS:
        out->connections = (int32_t)number(value, 1, 100000);
        break;
    case OPTION_ACTIVE:
        out->active = (int32_t)number(value, 1, 100000);
        break;
    case OPTION_DEPTH:
        out->depth = (int32_t)number(value, 1, 1000);
        break;
    case OPTION_ACKS:
        out->acks = (int16_t)number(value, -1, 1);
        break;
    case OPTION_RECORDS:
        out->batch_records = (int32_t)number(value, 1, 1000000);
        break;
    case OPTION_RECORD_BYTES:
        out->record_bytes = (int32_t)number(value, 8, 1 << 20);
        break;
    case OPTION_REQUESTS:
        out->requests = number(value, 1, 1000000000);
        break;
    case OPTION_FETCH_BYTES:
        out->fetch_bytes = (int32_t)number(value, 1, 1 << 30);
        break;
    case OPTION_RATE:
        out->rate = (int32_t)number(value, 1, 1000000);
        break;
    case OPTION_SECONDS:
        out->seconds = strtod(value, NULL);
        break;
    case OPTION_MEET:
        out->meet = number(value, 0, 1) == 1;
        break;
    case OPTION_HELP:
        exit(usage(stdout));
    }
}

int main(int argc, char **argv)
{
    struct load_options options = {
        .host = "127.0.0.1",
        .partitions = 1,
        .replicas = 1,
        .connections = 1,
        .active = 1,
        .depth = 5,
        .acks = 1,
        .batch_records = 64,
        .record_bytes = 1000,
        .requests = 10000,
        .fetch_bytes = 1 << 20,
        .rate = 1000,
        .seconds = 5,
    };
    int id;
    signal(SIGPIPE, SIG_IGN);
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (id == '?') {
            return usage(stderr);
        }
        take_option(&options, id, optarg);
    }
    if (optind + 1 != argc || (options.port == 0 && options.brokers == NULL) ||
        options.topic == NULL) {
        return usage(stderr);
    }
    static const struct {
        const char *name;
        int (*run)(const struct load_options *options);
    } modes[] = {{"produce", load_produce}, {"consume", load_consume}, {"latency", load_latency},
                 {"follow", load_follow},   {"crowd", load_crowd},     {"await", load_await},
                 {"gaps", load_gaps},       {"members", load_members}};
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        if (strcmp(argv[optind], modes[i].name) == 0) {
            return modes[i].run(&options);
        }
    }
    return usage(stderr);
}
