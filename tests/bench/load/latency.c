/* The latency load: an open loop. Batch i is due at start + i / rate, for partition i modulo their
 * number and on the next connection to its leader, whether or not earlier ones have been answered;
 * what is measured begins when it was due. Every record carries that time, so the consumers that
 * read them back by long poll, one for each broker, can tell how long the whole way took. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "bench/load/brokers.h"
#include "bench/load/load.h"
#include "bench/load/reader.h"
#include "record/crc32c.h"
#include "record/record.h"

enum {
    FLIGHTS_MAX = 65536, /* batches of one connection without an answer; more ends the run */
    DRAIN_NS = 1000000000,
    DRAIN_TIMES = 30,
};

struct flight {
    uint64_t due;
    int32_t partition;
};

struct sender {
    struct peer peer;
    struct flight *flights; /* ring of FLIGHTS_MAX */
    int64_t head;
    int64_t tail;
    struct buf pending; /* what the socket did not take */
    size_t pending_at;
    bool blocked;
};

struct latency_run {
    const struct load_options *options;
    struct broker_list brokers;
    int32_t *leaders;       /* of each partition: a place in that list */
    struct sender *senders; /* options->connections for each broker that leads something */
    int64_t turns[BROKERS_MAX];
    struct load_frame *frames; /* one per partition; times and checksum are written into it */
    size_t *values;            /* where in a frame each record's value begins */
    struct reader readers[BROKERS_MAX]; /* without partitions: not connected */
    int epoll;
    int64_t batches; /* to be sent */
    int64_t sent;
    int64_t answered;
    struct load_counts produced;
    struct hist answers;
    struct hist end_to_end;
    struct hist late; /* how much later than due the generator itself sent */
};

static void watch(struct latency_run *run, int op, struct sender *sender, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = sender};
    if (epoll_ctl(run->epoll, op, sender->peer.fd, &event) != 0) {
        die("epoll_ctl: %m");
    }
    sender->blocked = writable;
}

static void find_values(struct latency_run *run)
{
    const struct load_frame *frame = &run->frames[0];
    struct record_iter it;
    struct record record;
    struct bytes batch = {frame->bytes.data + frame->batch_at, frame->batch_bytes};
    int32_t count = 0;
    run->values = mem_zalloc((size_t)run->options->batch_records, sizeof(*run->values));
    if (record_iter_init(&it, batch, 0, NULL) != ERR_OK) {
        die("cannot read our own batch");
    }
    while (record_iter_next(&it, &record)) {
        run->values[count++] = (size_t)(record.value.data - batch.data);
    }
    if (count != run->options->batch_records) {
        die("cannot read our own batch");
    }
}

/* Write the time into each record and the checksum over them. */
static void stamp(struct latency_run *run, struct load_frame *frame, uint64_t due)
{
    uint8_t *batch = frame->bytes.data + frame->batch_at;
    for (int32_t i = 0; i < run->options->batch_records; i++) {
        be64_put(batch + run->values[i], due);
    }
    frame->crc = crc32c(
        (struct bytes){batch + BATCH_AT_ATTRIBUTES, frame->batch_bytes - BATCH_AT_ATTRIBUTES});
    be32_put(batch + BATCH_AT_CRC, frame->crc);
}

static void flush_pending(struct latency_run *run, struct sender *sender)
{
    size_t left = sender->pending.size - sender->pending_at;
    ssize_t sent =
        send(sender->peer.fd, sender->pending.data + sender->pending_at, left, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        die("send: %m");
    }
    sender->pending_at += sent > 0 ? (size_t)sent : 0;
    if (sender->pending_at == sender->pending.size) {
        buf_clear(&sender->pending);
        sender->pending_at = 0;
    }
    bool blocked = sender->pending.size > 0;
    if (blocked != sender->blocked) {
        watch(run, EPOLL_CTL_MOD, sender, blocked);
    }
}

static void send_batch(struct latency_run *run, uint64_t due)
{
    const struct load_options *options = run->options;
    int32_t partition = (int32_t)(run->sent % options->partitions);
    int32_t place = run->leaders[partition];
    struct sender *sender =
        &run->senders[place * options->connections + run->turns[place]++ % options->connections];
    struct load_frame *frame = &run->frames[partition];
    if (sender->tail - sender->head >= FLIGHTS_MAX) {
        die("the broker is %d batches behind: the rate is too high for it", FLIGHTS_MAX);
    }
    stamp(run, frame, due);
    sender->flights[sender->tail++ % FLIGHTS_MAX] = (struct flight){due, partition};
    run->sent++;
    run->produced.requests++;
    run->produced.records += options->batch_records;
    run->produced.bytes += (int64_t)frame->batch_bytes;
    run->produced.checksum += frame->crc;
    hist_add(&run->late, now_ns() - due);
    buf_put(&sender->pending, frame->bytes.data, frame->bytes.size);
    flush_pending(run, sender);
}

static void take_answers(struct latency_run *run, struct sender *sender)
{
    struct bytes frame;
    if (!peer_receive(&sender->peer)) {
        return;
    }
    uint64_t now = now_ns();
    while (peer_next(&sender->peer, &frame)) {
        if (sender->head == sender->tail) {
            die("an answer that nobody waits for");
        }
        const struct flight *flight = &sender->flights[sender->head++ % FLIGHTS_MAX];
        (void)load_produce_answer(frame, &run->frames[flight->partition]);
        hist_add(&run->answers, now - flight->due);
        run->answered++;
    }
}

/* A batch has come back. */
static void on_batch(void *arg, const struct batch_header *header, struct bytes batch)
{
    struct latency_run *run = arg;
    (void)header;
    if (batch.size != run->frames[0].batch_bytes) {
        die("a batch of another size came back");
    }
    hist_add(&run->end_to_end, now_ns() - be64_get(batch.data + run->values[0]));
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
    return run->sent == run->batches && run->answered == run->batches &&
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
        peer_connect(&sender->peer, options->host, run->brokers.ports[place]);
        sender->flights = mem_zalloc(FLIGHTS_MAX, sizeof(*sender->flights));
        watch(run, EPOLL_CTL_ADD, sender, false);
    }
}

static void run_open(struct latency_run *run)
{
    const struct load_options *options = run->options;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->batches = (int64_t)(options->seconds * options->rate);
    run->frames = mem_zalloc((size_t)options->partitions, sizeof(*run->frames));
    for (int32_t i = 0; i < options->partitions; i++) {
        load_frame_make(options, i, 0, &run->frames[i]);
    }
    find_values(run);
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
        struct sender *sender = &run->senders[place * run->options->connections + i];
        peer_close(&sender->peer);
        mem_free(sender->flights);
        buf_fini(&sender->pending);
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
        load_frame_free(&run->frames[i]);
    }
    brokers_fini(&run->brokers);
    mem_free(run->leaders);
    mem_free(run->senders);
    mem_free(run->frames);
    mem_free(run->values);
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
    struct epoll_event events[64];
    uint64_t now = now_ns();
    uint64_t left = until > now ? until - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(left / 1000000000u),
                            .tv_nsec = (long)(left % 1000000000u)};
    int ready = epoll_pwait2(run->epoll, events, 64, &wait, NULL);
    for (int i = 0; i < ready; i++) {
        struct reader *reader = reader_of(run, events[i].data.ptr);
        if (reader != NULL) {
            if (reader_take(reader)) {
                reader_ask(reader);
            }
            continue;
        }
        struct sender *sender = events[i].data.ptr;
        if ((events[i].events & EPOLLOUT) != 0) {
            flush_pending(run, sender);
        }
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            take_answers(run, sender);
        }
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
        if (now_ns() > deadline) {
            die("sent %" PRId64 " records, %" PRId64 " batches answered of %" PRId64 ", %" PRId64
                " records came back",
                run->produced.records, run->answered, run->batches, read_back(run).records);
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
    load_clock_start(&clock);
    run_schedule(run);
    load_report("latency", &clock, &run->produced, &run->answers, &run->end_to_end);
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
