#include "bench/load/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"
#include "bench/load/peer.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "record/batch_builder.h"

enum { TIMEOUT_MS = 30000 };

/* Bytes that compress about as well as text does, differing by variant. */
static void fill_value(uint8_t *value, size_t size, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        value[i] = (uint8_t)('a' + (state >> 27));
    }
}

/* Now: retention would take records of long ago away. */
static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000;
}

static void make_batch(const struct load_options *options, uint32_t variant, struct buf *out)
{
    struct batch_options batch_options = batch_options_default();
    struct batch_builder builder;
    size_t size = (size_t)options->record_bytes;
    uint8_t *value = mem_alloc(size);
    int64_t now_ms = wall_ms(); /* one for all: another second would make larger records of some */
    batch_builder_init(&builder, &batch_options);
    for (int32_t i = 0; i < options->batch_records; i++) {
        fill_value(value, size, variant * 1000003u + (uint32_t)i);
        batch_builder_add(&builder, now_ms, (struct bytes){0}, (struct bytes){value, size}, NULL,
                          0);
    }
    if (batch_builder_finish(&builder, out) != ERR_OK) {
        die("the batch is too large");
    }
    batch_builder_fini(&builder);
    mem_free(value);
}

void load_frame_make(const struct load_options *options, int32_t partition, uint32_t variant,
                     struct load_frame *out)
{
    struct buf batch = {0};
    make_batch(options, variant, &batch);
    struct batch_header header;
    if (batch_read_header((struct bytes){batch.data, batch.size}, &header) != ERR_OK) {
        die("cannot read our own batch");
    }
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    codec_init(&produce_request_desc, &request);
    codec_init(&produce_request_topic_produce_data_desc, &topic);
    codec_init(&produce_request_partition_produce_data_desc, &data);
    data.index = partition;
    data.records = (struct bytes){batch.data, batch.size};
    topic.name = str_of(options->topic);
    topic.partition_data = &data;
    topic.partition_data_count = 1;
    request.acks = options->acks;
    request.timeout_ms = TIMEOUT_MS;
    request.topic_data = &topic;
    request.topic_data_count = 1;
    *out =
        (struct load_frame){.partition = partition, .batch_bytes = batch.size, .crc = header.crc};
    frame_put(&out->bytes, API_PRODUCE, LOAD_PRODUCE_VERSION, LOAD_CORRELATION, &request);
    /* Behind the records come only three empty sections of tags, of a byte each. */
    out->batch_at = out->bytes.size - 3 - batch.size;
    if (memcmp(out->bytes.data + out->batch_at, batch.data, batch.size) != 0) {
        die("the batch is not where it should be");
    }
    buf_fini(&batch);
}

void load_frame_free(struct load_frame *frame)
{
    buf_fini(&frame->bytes);
}

int64_t load_produce_answer(struct bytes frame, const struct load_frame *asked)
{
    _Alignas(16) uint8_t memory[1024]; /* enough for one partition: no allocation per answer */
    struct arena arena = {.at = memory, .left = sizeof(memory)};
    struct produce_response reply;
    struct bytes in = peer_body(frame, API_PRODUCE, LOAD_PRODUCE_VERSION, LOAD_CORRELATION);
    if (codec_decode(&produce_response_desc, LOAD_PRODUCE_VERSION, in, &arena, &reply, NULL) !=
            ERR_OK ||
        reply.responses_count != 1 || reply.responses[0].partition_responses_count != 1) {
        die("malformed Produce response");
    }
    const struct produce_response_partition_produce_response *part =
        &reply.responses[0].partition_responses[0];
    if (part->error_code != 0 || part->index != asked->partition) {
        die("Produce to partition %d: partition %d, error %d", asked->partition, part->index,
            part->error_code);
    }
    int64_t base_offset = part->base_offset;
    arena_fini(&arena);
    return base_offset;
}

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}

void load_meet(const struct load_options *options)
{
    if (!options->meet) {
        return;
    }
    printf("ready\n");
    fflush(stdout);
    if (getchar() != '\n') {
        die("nobody measures");
    }
}

void load_clock_start(struct load_clock *clock)
{
    clock->start_ns = now_ns();
    clock->start_cpu_ns = cpu_ns();
}

void load_clock_used(const struct load_clock *clock, double *seconds, double *cpu_seconds)
{
    *seconds = (double)(now_ns() - clock->start_ns) / 1e9;
    *cpu_seconds = (double)(cpu_ns() - clock->start_cpu_ns) / 1e9;
}

void load_report_times(const char *name, const struct hist *hist)
{
    if (hist != NULL && hist->total > 0) {
        printf(", \"%s\": {\"count\": %" PRIu64 ", \"p50\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f"
               ", \"max\": %.1f}",
               name, hist->total, (double)hist_at(hist, 0.5) / 1e3,
               (double)hist_at(hist, 0.99) / 1e3, (double)hist_at(hist, 0.999) / 1e3,
               (double)hist->max / 1e3);
    }
}

void load_report_begin(const char *mode, const struct load_clock *clock,
                       const struct load_counts *counts)
{
    double seconds, cpu;
    load_clock_used(clock, &seconds, &cpu);
    printf("{\"mode\": \"%s\", \"seconds\": %.6f, \"requests\": %" PRId64 ", \"records\": %" PRId64
           ", \"bytes\": %" PRId64 ", \"checksum\": %" PRIu64 ", \"generator_core\": %.3f",
           mode, seconds, counts->requests, counts->records, counts->bytes, counts->checksum,
           cpu / seconds);
}

void load_report_end(const struct load_clock *clock)
{
    double seconds = (double)(now_ns() - clock->start_ns) / 1e9;
    double cpu = (double)(cpu_ns() - clock->start_cpu_ns) / 1e9;
    printf("}\n");
    if (cpu > 0.8 * seconds) {
        fprintf(
            stderr,
            "load: the generator itself used %.0f %% of its core: it may be what was measured\n",
            100 * cpu / seconds);
    }
}

void load_report(const char *mode, const struct load_clock *clock, const struct load_counts *counts,
                 const struct hist *hist, const struct hist *end_to_end)
{
    load_report_begin(mode, clock, counts);
    load_report_times("answer_us", hist);
    load_report_times("end_to_end_us", end_to_end);
    load_report_end(clock);
}
