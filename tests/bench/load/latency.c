/* The latency load: an open loop. Batch i is due at start + i / rate, for partition i modulo their
 * number and on the next connection to its leader, whether or not earlier ones have been answered;
 * what is measured begins when it was due (sender.h). Batches carry that time, so the consumers
 * that read them back by long poll, one for each broker, can tell how long the whole way took. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/mem.h"
#include "bench/load/brokers.h"
#include "bench/load/load.h"
#include "bench/load/reader.h"
#include "bench/load/sender.h"

enum {
    EVENTS_MAX = 64,
    FLIGHTS_MAX = 65536, /* batches of one connection without an answer; more ends the run */
    DRAIN_NS = 1000000000,
    DRAIN_TIMES = 30,
};

struct latency_run {
    const struct load_options *options;
    struct broker_list brokers;
    int32_t *leaders;       /* of each partition: a place in that list */
    struct sender *senders; /* options->connections for each broker that leads something */
    int64_t turns[BROKERS_MAX];
    struct sender_frame *frames;        /* one per partition */
    struct reader readers[BROKERS_MAX]; /* without partitions: not connected */
    int epoll;
    int64_t batches; /* to be sent */
    int64_t sent;
    struct load_counts produced;
    struct hist answers;
    struct hist end_to_end;
    struct hist late; /* how much later than due the generator itself sent */
};

static void send_batch(struct latency_run *run, uint64_t due)
{
    const struct load_options *options = run->options;
    int32_t partition = (int32_t)(run->sent % options->partitions);
    int32_t place = run->leaders[partition];
    struct sender *sender =
        &run->senders[place * options->connections + run->turns[place]++ % options->connections];
    hist_add(&run->late, now_ns() - due);
    sender_send(sender, &run->frames[partition], due);
    run->sent++;
}

static int64_t waiting(const struct latency_run *run)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < run->brokers.count * run->options->connections; i++) {
        sum += sender_waiting(&run->senders[i]);
    }
    return sum;
}

/* A batch has come back. */
static void on_batch(void *arg, const struct batch_header *header, struct bytes batch)
{
    struct latency_run *run = arg;
    (void)header;
    hist_add(&run->end_to_end, now_ns() - sender_frame_due(&run->frames[0], batch));
}

/* What all readers together have read. */
static struct load_counts read_back(const struct latency_run *run)
{
    struct load_counts sum = {0};
    for (int32_t i = 0; i < run->brokers.count; i++) {
        sum.records += run->readers[i].counts.records;
        sum.checksum += run->readers[i].counts.checksum;
    }
    return sum;
}

static bool all_back(const struct latency_run *run)
{
    return run->sent == run->batches && waiting(run) == 0 &&
           read_back(run).records == run->produced.records;
}

/* A reader for what the broker at that place leads; false when it leads nothing. */
static bool open_reader(struct latency_run *run, int32_t place)
{
    const struct load_options *options = run->options;
    struct reader *reader = &run->readers[place];
    struct reader_part *parts = mem_zalloc((size_t)options->partitions, sizeof(*parts));
    int32_t count = 0;
    for (int32_t i = 0; i < options->partitions; i++) {
        if (run->leaders[i] == place) {
            parts[count++] = (struct reader_part){.partition = i, .end = INT64_MAX, .news = true};
        }
    }
    if (count == 0) {
        mem_free(parts);
        return false;
    }
    reader_open(reader, options, run->brokers.ports[place]);
    for (int32_t i = 0; i < count; i++) {
        parts[i].offset = peer_end_offset(&reader->peer, options->topic, parts[i].partition);
    }
    reader->on_batch = on_batch;
    reader->arg = run;
    reader->parts = parts;
    reader->parts_count = count;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
    epoll_ctl(run->epoll, EPOLL_CTL_ADD, reader->peer.fd, &event);
    return true;
}

static void open_broker(struct latency_run *run, int32_t place)
{
    const struct load_options *options = run->options;
    if (!open_reader(run, place)) {
        return;
    }
    for (int32_t i = 0; i < options->connections; i++) {
        struct sender *sender = &run->senders[place * options->connections + i];
        sender_open(sender, options, run->brokers.ports[place], run->epoll, FLIGHTS_MAX);
        sender->counts = &run->produced;
        sender->answers = &run->answers;
    }
}

static void run_open(struct latency_run *run)
{
    const struct load_options *options = run->options;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->batches = (int64_t)(options->seconds * options->rate);
    run->frames = mem_zalloc((size_t)options->partitions, sizeof(*run->frames));
    for (int32_t i = 0; i < options->partitions; i++) {
        sender_frame_make(options, i, &run->frames[i]);
    }
    brokers_init(&run->brokers, options);
    run->leaders = brokers_leaders(&run->brokers, options);
    run->senders =
        mem_zalloc((size_t)(run->brokers.count * options->connections), sizeof(*run->senders));
    for (int32_t place = 0; place < run->brokers.count; place++) {
        open_broker(run, place);
    }
}

static void close_broker(struct latency_run *run, int32_t place)
{
    struct reader *reader = &run->readers[place];
    if (reader->parts_count == 0) {
        return;
    }
    for (int32_t i = 0; i < run->options->connections; i++) {
        sender_close(&run->senders[place * run->options->connections + i]);
    }
    mem_free(reader->parts);
    reader_close(reader);
}

static void run_close(struct latency_run *run)
{
    for (int32_t place = 0; place < run->brokers.count; place++) {
        close_broker(run, place);
    }
    for (int32_t i = 0; i < run->options->partitions; i++) {
        load_frame_free(&run->frames[i].frame);
    }
    brokers_fini(&run->brokers);
    mem_free(run->leaders);
    mem_free(run->senders);
    mem_free(run->frames);
}

/* The reader that an event belongs to, or NULL: it is a sender's. */
static struct reader *reader_of(struct latency_run *run, void *owner)
{
    for (int32_t i = 0; i < run->brokers.count; i++) {
        if (owner == &run->readers[i]) {
            return &run->readers[i];
        }
    }
    return NULL;
}

/* Wait for sockets until the next batch is due. */
static void turn(struct latency_run *run, uint64_t until)
{
    struct epoll_event events[EVENTS_MAX];
    int ready = sender_wait(run->epoll, events, EVENTS_MAX, until);
    for (int i = 0; i < ready; i++) {
        struct reader *reader = reader_of(run, events[i].data.ptr);
        if (reader != NULL) {
            if (reader_take(reader)) {
                reader_ask(reader);
            }
            continue;
        }
        sender_on_event(events[i].data.ptr, events[i].events);
    }
}

static void run_schedule(struct latency_run *run)
{
    uint64_t start = now_ns();
    uint64_t interval = 1000000000u / (uint64_t)run->options->rate;
    while (run->sent < run->batches) {
        uint64_t due = start + (uint64_t)run->sent * interval;
        if (now_ns() >= due) {
            send_batch(run, due);
        } else {
            turn(run, due);
        }
    }
    uint64_t deadline = now_ns() + (uint64_t)DRAIN_NS * DRAIN_TIMES;
    while (!all_back(run)) {
        if (now_ns() > deadline && waiting(run) > 0) {
            die("of %" PRId64 " batches %" PRId64
                " were answered in time: the rate is too high for it",
                run->batches, run->sent - waiting(run));
        }
        if (now_ns() > deadline) {
            die("sent %" PRId64 " records, %" PRId64 " batches answered of %" PRId64 ", %" PRId64
                " records came back",
                run->produced.records, run->sent - waiting(run), run->batches,
                read_back(run).records);
        }
        turn(run, now_ns() + DRAIN_NS);
    }
}

int load_latency(const struct load_options *options)
{
    struct latency_run *run = mem_new(struct latency_run);
    struct load_clock clock;
    if (options->acks == 0) {
        die("latency needs answers: acks 1 or -1");
    }
    run->options = options;
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* the default of 50 us would be measured too */
    run_open(run);
    for (int32_t i = 0; i < run->brokers.count; i++) {
        if (run->readers[i].parts_count > 0) {
            reader_ask(&run->readers[i]);
        }
    }
    load_meet(options);
    load_clock_start(&clock);
    run_schedule(run);
    load_report_begin("latency", &clock, &run->produced);
    load_report_times("answer_us", &run->answers);
    load_report_times("end_to_end_us", &run->end_to_end);
    load_report_times("late_us", &run->late);
    load_report_end(&clock);
    fprintf(stderr, "load: the generator sent late by p50 %.0f p99 %.0f max %.0f us\n",
            (double)hist_at(&run->late, 0.5) / 1e3, (double)hist_at(&run->late, 0.99) / 1e3,
            (double)run->late.max / 1e3);
    bool same = read_back(run).checksum == run->produced.checksum;
    run_close(run);
    mem_free(run);
    if (!same) {
        die("what came back is not what was sent");
    }
    return 0;
}
