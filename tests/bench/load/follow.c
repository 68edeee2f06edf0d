/* The follow load: consumers at the end of the log, each waiting in a long poll, while one producer
 * writes by a fixed schedule. Batch i is due at start + i / rate, in partition i modulo their
 * number. Consumer i reads partitions i, i + connections, ...; with fewer partitions than consumers
 * several read the same one. Every consumer must get every batch of its partitions, once. */
#include <inttypes.h>
#include <sys/prctl.h>

#include "base/mem.h"
#include "bench/load/reader.h"
#include "bench/load/sender.h"

enum {
    FLIGHTS_MAX = 65536,
    EVENTS_MAX = 256,
    BURST_MAX = 16, /* batches that are late, before sockets are looked at again */
};

#define DRAIN_NS INT64_C(30000000000)

struct follow_run {
    const struct load_options *options;
    struct sender sender;
    struct sender_frame *frames; /* one per partition */
    struct reader *readers;
    int epoll;
    int64_t batches; /* to be sent */
    int64_t sent;
    int64_t wanted;           /* records that consumers are to get */
    uint64_t wanted_checksum; /* the sum of their batches' */
    int32_t *readers_of;      /* per partition */
    struct load_counts sent_counts;
    struct load_counts got;
    struct hist answers;
    struct hist end_to_end;
};

static void on_batch(void *arg, const struct batch_header *header, struct bytes batch)
{
    struct follow_run *run = arg;
    hist_add(&run->end_to_end, now_ns() - sender_frame_due(&run->frames[0], batch));
    run->got.records += header->record_count;
    run->got.bytes += (int64_t)batch.size;
    run->got.checksum += header->crc;
}

static void add_parts(struct follow_run *run, struct reader *reader, int32_t index)
{
    const struct load_options *options = run->options;
    int32_t first = index % options->partitions;
    int32_t count = (options->partitions - first + options->connections - 1) / options->connections;
    reader->parts = mem_zalloc((size_t)count, sizeof(*reader->parts));
    for (int32_t i = 0; i < count; i++) {
        int32_t partition = first + i * options->connections;
        reader->parts[i] = (struct reader_part){
            .partition = partition,
            .offset = peer_end_offset(&reader->peer, options->topic, partition),
            .end = INT64_MAX,
            .news = true,
        };
        run->readers_of[partition]++;
    }
    reader->parts_count = count;
}

static void open_reader(struct follow_run *run, int32_t index)
{
    struct reader *reader = &run->readers[index];
    reader_open(reader, run->options, run->options->port);
    reader->on_batch = on_batch;
    reader->arg = run;
    add_parts(run, reader, index);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, reader->peer.fd, &event) != 0) {
        die("epoll_ctl: %m");
    }
}

static void run_open(struct follow_run *run)
{
    const struct load_options *options = run->options;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->batches = (int64_t)(options->seconds * options->rate);
    run->frames = mem_zalloc((size_t)options->partitions, sizeof(*run->frames));
    run->readers_of = mem_zalloc((size_t)options->partitions, sizeof(*run->readers_of));
    run->readers = mem_zalloc((size_t)options->connections, sizeof(*run->readers));
    for (int32_t i = 0; i < options->partitions; i++) {
        sender_frame_make(options, i, &run->frames[i]);
    }
    for (int32_t i = 0; i < options->connections; i++) {
        open_reader(run, i);
    }
    sender_open(&run->sender, options, options->port, run->epoll, FLIGHTS_MAX);
    run->sender.counts = &run->sent_counts;
    run->sender.answers = &run->answers;
}

static void run_close(struct follow_run *run)
{
    for (int32_t i = 0; i < run->options->connections; i++) {
        mem_free(run->readers[i].parts);
        reader_close(&run->readers[i]);
    }
    for (int32_t i = 0; i < run->options->partitions; i++) {
        load_frame_free(&run->frames[i].frame);
    }
    sender_close(&run->sender);
    mem_free(run->readers);
    mem_free(run->frames);
    mem_free(run->readers_of);
}

static void send_next(struct follow_run *run, uint64_t due)
{
    int32_t partition = (int32_t)(run->sent % run->options->partitions);
    int64_t readers = run->readers_of[partition];
    sender_send(&run->sender, &run->frames[partition], due);
    run->sent++;
    run->wanted += readers * run->options->batch_records;
    run->wanted_checksum += (uint64_t)readers * run->frames[partition].frame.crc;
}

/* Wait for sockets until then. */
static void turn(struct follow_run *run, uint64_t until)
{
    struct epoll_event events[EVENTS_MAX];
    int ready = sender_wait(run->epoll, events, EVENTS_MAX, until);
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr == &run->sender) {
            sender_on_event(&run->sender, events[i].events);
            continue;
        }
        struct reader *reader = events[i].data.ptr;
        if (reader_take(reader)) {
            reader_ask(reader);
        }
    }
}

static void run_schedule(struct follow_run *run)
{
    uint64_t start = now_ns();
    uint64_t interval = 1000000000u / (uint64_t)run->options->rate;
    while (run->sent < run->batches) {
        uint64_t due = start + (uint64_t)run->sent * interval;
        for (int i = 0; i < BURST_MAX && run->sent < run->batches && now_ns() >= due; i++) {
            send_next(run, due);
            due += interval;
        }
        turn(run, due);
    }
    uint64_t deadline = now_ns() + DRAIN_NS;
    while (sender_waiting(&run->sender) > 0 || run->got.records < run->wanted) {
        if (now_ns() > deadline) {
            die("%" PRId64 " batches were not answered, %" PRId64 " of %" PRId64 " records came",
                sender_waiting(&run->sender), run->got.records, run->wanted);
        }
        turn(run, now_ns() + 1000000000u);
    }
}

/* Requests of the report are what the broker was asked: fetches and produces. */
static void count_requests(struct follow_run *run)
{
    run->got.requests = run->sent_counts.requests;
    for (int32_t i = 0; i < run->options->connections; i++) {
        run->got.requests += run->readers[i].counts.requests;
    }
}

int load_follow(const struct load_options *options)
{
    struct follow_run *run = mem_new(struct follow_run);
    struct load_clock clock;
    if (options->acks == 0) {
        die("follow needs answers: acks 1 or -1");
    }
    run->options = options;
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* the default of 50 us would be measured too */
    run_open(run);
    for (int32_t i = 0; i < options->connections; i++) {
        reader_ask(&run->readers[i]);
    }
    load_meet(options);
    load_clock_start(&clock);
    run_schedule(run);
    count_requests(run);
    load_report("follow", &clock, &run->got, &run->answers, &run->end_to_end);
    bool same = run->got.records == run->wanted && run->got.checksum == run->wanted_checksum;
    run_close(run);
    mem_free(run);
    if (!same) {
        die("what came back is not what was sent");
    }
    return 0;
}
