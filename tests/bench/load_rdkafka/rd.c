#include "bench/load_rdkafka/rd.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/load/peer.h"

enum { METADATA_MS = 30000, TEXT_MAX = 256 };

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        die("%s=%s: %s", key, value, why);
    }
}

static void set_pair(rd_kafka_conf_t *conf, const char *pair)
{
    char key[128];
    const char *equals = strchr(pair, '=');
    if (equals == NULL || (size_t)(equals - pair) >= sizeof(key)) {
        die("%s is not KEY=VALUE", pair);
    }
    memcpy(key, pair, (size_t)(equals - pair));
    key[equals - pair] = '\0';
    set(conf, key, equals + 1);
}

rd_kafka_t *rd_client(rd_kafka_type_t type, const struct rd_options *options)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", options->brokers);
    if (type == RD_KAFKA_PRODUCER) {
        set(conf, "compression.codec", options->codec);
        set(conf, "acks", options->acks);
        set(conf, "linger.ms", options->linger_ms);
        set(conf, "batch.size", options->batch_bytes);
        set(conf, "message.send.max.retries", "0");
        set(conf, "message.timeout.ms", "30000");
        set(conf, "queue.buffering.max.messages", "1000000");
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    }
    for (int i = 0; i < options->settings_count; i++) {
        set_pair(conf, options->settings[i]);
    }
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof(why));
    if (client == NULL) {
        die("librdkafka: %s", why);
    }
    return client;
}

rd_kafka_topic_t *rd_topic(rd_kafka_t *client, const struct rd_options *options)
{
    const struct rd_kafka_metadata *found;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, options->topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(client, 0, topic, &found, METADATA_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("metadata: %s", rd_kafka_err2str(err));
    }
    if (found->topic_cnt != 1 || found->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("topic %s: %s", options->topic,
            found->topic_cnt == 1 ? rd_kafka_err2str(found->topics[0].err) : "not told of");
    }
    if (found->topics[0].partition_cnt != options->partitions) {
        die("topic %s has %d partitions, not %d", options->topic, found->topics[0].partition_cnt,
            options->partitions);
    }
    rd_kafka_metadata_destroy(found);
    return topic;
}

/* One event; its size. */
static int put_event(char *out, uint32_t *state)
{
    static const char *const actions[] = {"view", "search", "cart", "order", "return"};
    static const char *const countries[] = {"de", "fr", "us", "in", "br", "jp", "pl"};
    *state = *state * 1664525u + 1013904223u;
    uint32_t bits = *state >> 3;
    return snprintf(out, TEXT_MAX,
                    "{\"time\":17%08" PRIu32 ",\"user\":\"u%05" PRIu32
                    "\",\"action\":\"%s\",\"item\":%" PRIu32 ",\"price\":%" PRIu32 ".%02" PRIu32
                    ",\"country\":\"%s\"}",
                    bits % 100000000, (bits >> 7) % 100000, actions[bits % 5], (bits >> 11) % 10000,
                    (bits >> 13) % 500, (bits >> 5) % 100, countries[(bits >> 9) % 7]);
}

uint8_t *rd_values_new(int32_t record_bytes)
{
    size_t size = (size_t)RD_VALUES * (size_t)record_bytes;
    uint8_t *values = mem_alloc(size);
    uint32_t state = 20260101;
    for (size_t at = 0; at < size;) {
        char text[TEXT_MAX];
        /* Every value begins with an event of its own. */
        size_t in_value = (size_t)record_bytes - at % (size_t)record_bytes;
        size_t length = (size_t)put_event(text, &state);
        size_t taken = length < in_value ? length : in_value;
        memcpy(values + at, text, taken);
        at += taken;
    }
    return values;
}

/* Of one thread of this process; false when it has ended. */
static bool thread_cpu(const char *task, uint64_t *cpu_ns)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", task);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    bool read = fscanf(file, "%" SCNu64, cpu_ns) == 1;
    fclose(file);
    return read;
}

static int list_threads(struct rd_thread *threads)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task = tasks == NULL ? NULL : readdir(tasks); task != NULL;
         task = readdir(tasks)) {
        struct rd_thread one = {.id = strtol(task->d_name, NULL, 10)};
        if (one.id > 0 && count < RD_THREADS_MAX && thread_cpu(task->d_name, &one.cpu_ns)) {
            threads[count++] = one;
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return count;
}

void rd_clock_start(struct rd_clock *clock)
{
    clock->threads_count = list_threads(clock->threads);
    clock->start_ns = now_ns();
}

static uint64_t cpu_before(const struct rd_clock *clock, long id)
{
    for (int i = 0; i < clock->threads_count; i++) {
        if (clock->threads[i].id == id) {
            return clock->threads[i].cpu_ns;
        }
    }
    return 0;
}

int rd_report(const char *mode, const struct rd_clock *clock, const struct rd_counts *counts,
              int64_t wanted)
{
    double seconds = (double)(now_ns() - clock->start_ns) / 1e9;
    struct rd_thread threads[RD_THREADS_MAX];
    uint64_t all = 0;
    uint64_t busiest = 0;
    int count = list_threads(threads);
    for (int i = 0; i < count; i++) {
        uint64_t used = threads[i].cpu_ns - cpu_before(clock, threads[i].id);
        all += used;
        busiest = used > busiest ? used : busiest;
    }
    printf("{\"mode\": \"%s\", \"seconds\": %.6f, \"records\": %" PRId64 ", \"errors\": %" PRId64
           ", \"bytes\": %" PRId64 ", \"checksum\": %" PRIu64
           ", \"generator_core\": %.3f, \"generator_cpu_s\": %.3f}\n",
           mode, seconds, counts->records, counts->errors, counts->bytes, counts->checksum,
           (double)busiest / 1e9 / seconds, (double)all / 1e9);
    if (counts->errors > 0) {
        fprintf(stderr, "load: %" PRId64 " errors, the first: %s\n", counts->errors,
                rd_kafka_err2str(counts->first_error));
    }
    if (counts->records != wanted) {
        fprintf(stderr, "load: %" PRId64 " records of %" PRId64 "\n", counts->records, wanted);
    }
    return counts->errors > 0 || counts->records != wanted ? 1 : 0;
}
