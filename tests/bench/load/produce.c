/* The produce load: a closed loop. Each connection keeps `depth` requests under way, taken in turn
 * from frames made beforehand; several leave in one system call where there is room for them. In a
 * cluster every broker gets --connections, and on them batches of the partitions that it leads. */
#include <errno.h>
#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "bench/load/brokers.h"

enum { VARIANTS = 4, GATHER_MAX = 64, IDLE_MS = 30000 };

struct produce_run;

/* One request under way. */
struct flight {
    const struct load_frame *frame;
    uint64_t sent_ns;
};

struct producer {
    struct produce_run *run;
    struct peer peer;
    struct load_frame **frames; /* those of its broker's partitions, to be sent in turn */
    int32_t frames_count;
    struct flight *ring; /* of depth; counters grow, places are counter % depth */
    int64_t head;        /* the oldest without an answer */
    int64_t next;        /* the first that has not left completely */
    int64_t tail;
    size_t part; /* bytes of `next` that have left */
    int32_t turn;
    bool blocked; /* waits for EPOLLOUT */
};

struct produce_run {
    const struct load_options *options;
    struct load_frame *frames; /* VARIANTS of each partition, partitions next to each other */
    struct broker_list brokers;
    int32_t *leaders; /* per partition: a place in the list of brokers */
    struct producer *producers;
    int32_t producers_count;
    int epoll;
    int64_t started;
    int64_t answered;
    int64_t *records; /* per partition: acknowledged */
    struct load_counts counts;
    struct hist hist;
};

static void watch(struct producer *producer, int op, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u),
                                .data.ptr = producer};
    if (epoll_ctl(producer->run->epoll, op, producer->peer.fd, &event) != 0) {
        die("epoll_ctl: %m");
    }
    producer->blocked = writable;
}

static struct flight *flight_at(const struct producer *producer, int64_t i)
{
    return &producer->ring[i % producer->run->options->depth];
}

static void start_more(struct producer *producer)
{
    struct produce_run *run = producer->run;
    const struct load_options *options = run->options;
    uint64_t now = now_ns();
    while (producer->tail - producer->head < options->depth && run->started < options->requests) {
        *flight_at(producer, producer->tail++) =
            (struct flight){producer->frames[producer->turn], now};
        producer->turn = (producer->turn + 1) % producer->frames_count;
        run->started++;
    }
}

static void finish_oldest(struct producer *producer, uint64_t now)
{
    struct produce_run *run = producer->run;
    const struct flight *flight = flight_at(producer, producer->head++);
    run->answered++;
    run->records[flight->frame->partition] += run->options->batch_records;
    run->counts.requests++;
    run->counts.records += run->options->batch_records;
    run->counts.bytes += (int64_t)flight->frame->batch_bytes;
    run->counts.checksum += flight->frame->crc;
    hist_add(&run->hist, now - flight->sent_ns);
}

static void advance(struct producer *producer, size_t sent)
{
    while (sent > 0) {
        size_t left = flight_at(producer, producer->next)->frame->bytes.size - producer->part;
        if (sent < left) {
            producer->part += sent;
            return;
        }
        sent -= left;
        producer->part = 0;
        producer->next++;
    }
}

static void send_started(struct producer *producer)
{
    while (producer->next < producer->tail) {
        struct iovec parts[GATHER_MAX];
        int count = 0;
        for (int64_t i = producer->next; i < producer->tail && count < GATHER_MAX; i++) {
            const struct buf *bytes = &flight_at(producer, i)->frame->bytes;
            size_t from = i == producer->next ? producer->part : 0;
            parts[count++] = (struct iovec){bytes->data + from, bytes->size - from};
        }
        struct msghdr msg = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(producer->peer.fd, &msg, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) {
                die("send: %m");
            }
            break;
        }
        advance(producer, (size_t)sent);
    }
    bool blocked = producer->next < producer->tail;
    if (blocked != producer->blocked) {
        watch(producer, EPOLL_CTL_MOD, blocked);
    }
}

/* With acks=0 nothing answers: what has left counts, and the log's end tells at last. */
static void finish_sent(struct producer *producer)
{
    uint64_t now = now_ns();
    while (producer->head < producer->next) {
        finish_oldest(producer, now);
    }
}

static void take_answers(struct producer *producer)
{
    struct bytes frame;
    if (!peer_receive(&producer->peer)) {
        return;
    }
    uint64_t now = now_ns();
    while (peer_next(&producer->peer, &frame)) {
        if (producer->head == producer->next) {
            die("an answer that nobody waits for");
        }
        (void)load_produce_answer(frame, flight_at(producer, producer->head)->frame);
        finish_oldest(producer, now);
    }
}

static void go_on(struct producer *producer)
{
    do {
        start_more(producer);
        send_started(producer);
        if (producer->run->options->acks == 0) {
            finish_sent(producer);
        }
    } while (!producer->blocked && producer->tail - producer->head == 0 &&
             producer->run->started < producer->run->options->requests);
}

static void run_loop(struct produce_run *run)
{
    struct epoll_event events[256];
    for (int32_t i = 0; i < run->producers_count; i++) {
        go_on(&run->producers[i]);
    }
    while (run->answered < run->options->requests) {
        int count = epoll_wait(run->epoll, events, 256, IDLE_MS);
        if (count == 0) {
            die("%" PRId64 " of %" PRId64 " requests were never answered",
                run->options->requests - run->answered, run->options->requests);
        }
        for (int i = 0; i < count; i++) {
            struct producer *producer = events[i].data.ptr;
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                take_answers(producer);
            }
            go_on(producer);
        }
    }
}

/* Connection number i of the broker at that place; false when it leads nothing. */
static bool open_producer(struct produce_run *run, struct producer *producer, int32_t place,
                          int32_t i)
{
    const struct load_options *options = run->options;
    int32_t frames = VARIANTS * options->partitions;
    producer->run = run;
    producer->frames = mem_zalloc((size_t)frames, sizeof(*producer->frames));
    for (int32_t j = 0; j < frames; j++) {
        if (run->leaders[run->frames[j].partition] == place) {
            producer->frames[producer->frames_count++] = &run->frames[j];
        }
    }
    if (producer->frames_count == 0) {
        mem_free(producer->frames);
        return false;
    }
    producer->ring = mem_zalloc((size_t)options->depth, sizeof(*producer->ring));
    producer->turn = i % producer->frames_count;
    peer_connect(&producer->peer, options->host, run->brokers.ports[place]);
    watch(producer, EPOLL_CTL_ADD, false);
    return true;
}

static void run_open(struct produce_run *run)
{
    const struct load_options *options = run->options;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->frames = mem_zalloc((size_t)(VARIANTS * options->partitions), sizeof(*run->frames));
    run->records = mem_zalloc((size_t)options->partitions, sizeof(*run->records));
    for (int32_t i = 0; i < VARIANTS * options->partitions; i++) {
        load_frame_make(options, i % options->partitions, (uint32_t)i, &run->frames[i]);
    }
    run->producers =
        mem_zalloc((size_t)(options->connections * run->brokers.count), sizeof(*run->producers));
    for (int32_t place = 0; place < run->brokers.count; place++) {
        for (int32_t i = 0; i < options->connections; i++) {
            struct producer *producer = &run->producers[run->producers_count];
            run->producers_count += open_producer(run, producer, place, i) ? 1 : 0;
        }
    }
}

static void run_close(struct produce_run *run)
{
    for (int32_t i = 0; i < run->producers_count; i++) {
        peer_close(&run->producers[i].peer);
        mem_free(run->producers[i].ring);
        mem_free(run->producers[i].frames);
    }
    for (int32_t i = 0; i < VARIANTS * run->options->partitions; i++) {
        load_frame_free(&run->frames[i]);
    }
    brokers_fini(&run->brokers);
    mem_free(run->producers);
    mem_free(run->frames);
    mem_free(run->records);
    mem_free(run->leaders);
}

/* The log has grown by exactly what was acknowledged (with acks=0: does so before long). */
static void check_ends(struct produce_run *run, const int64_t *before)
{
    const struct load_options *options = run->options;
    uint64_t deadline = now_ns() + (uint64_t)IDLE_MS * 1000000u;
    int64_t *ends = mem_zalloc((size_t)options->partitions, sizeof(*ends));
    brokers_ends(&run->brokers, options, run->leaders, ends);
    for (int32_t i = 0; i < options->partitions; i++) {
        int64_t wanted = before[i] + run->records[i];
        while (options->acks == 0 && ends[i] < wanted && now_ns() < deadline) {
            brokers_ends(&run->brokers, options, run->leaders, ends);
        }
        if (ends[i] != wanted) {
            die("%s-%d ends at %" PRId64 " where %" PRId64 " is due", options->topic, i, ends[i],
                wanted);
        }
    }
    mem_free(ends);
}

int load_produce(const struct load_options *options)
{
    struct produce_run *run = mem_new(struct produce_run);
    struct load_clock clock;
    int64_t *before = mem_zalloc((size_t)options->partitions, sizeof(*before));
    run->options = options;
    brokers_init(&run->brokers, options);
    run->leaders = brokers_leaders(&run->brokers, options);
    brokers_ends(&run->brokers, options, run->leaders, before);
    run_open(run);
    load_meet(options);
    load_clock_start(&clock);
    run_loop(run);
    load_report("produce", &clock, &run->counts, options->acks != 0 ? &run->hist : NULL, NULL);
    check_ends(run, before);
    run_close(run);
    mem_free(before);
    mem_free(run);
    return 0;
}
