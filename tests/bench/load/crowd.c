/* The crowd load: what many connections cost, and what they do to the others. One connection, the
 * probe, sends a small batch PROBES times a second by schedule:
 *
 *   "ready"   printed; a line is awaited, here and below: whoever measures looks at the broker
 *             --seconds of probing, alone
 *   "open"    --connections more are there, and each has asked for ApiVersions once
 *             --seconds of probing among them, idle
 *   "probed"  --seconds of probing while the first --active of them send --rate batches a second
 *   the report is printed: of what was sent in these last seconds, by the probe too, and the
 *             probe's times of each of the three, and "all" that was sent from the beginning on;
 *             after a last line the connections are closed
 *
 * Batch i is due at start + i / rate. Nothing may be refused or broken. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "bench/load/sender.h"
#include "codec/codec.h"
#include "codec/messages.h"

enum {
    PROBES = 200, /* a second */
    FLIGHTS_MAX = 4096,
    ACTIVE_FLIGHTS_MAX = 256,
    EVENTS_MAX = 256,
    BURST_MAX = 16,
    VERSIONS_VERSION = 2,
};

#define DRAIN_NS INT64_C(30000000000)

struct crowd {
    const struct load_options *options;
    struct sender probe;
    struct sender *active;
    int32_t active_count; /* that are open */
    struct peer *idle;
    struct sender_frame *frames; /* one per partition */
    int epoll;
    struct load_counts probed;
    struct load_counts sent;
    struct hist answers; /* of those that are active */
};

/* A schedule of one kind of batch. */
struct schedule {
    uint64_t next_ns;
    uint64_t interval_ns;
    int64_t sent;
    int64_t count;
};

static struct schedule schedule_new(uint64_t start, int64_t rate, double seconds)
{
    return (struct schedule){.next_ns = start,
                             .interval_ns = 1000000000u / (uint64_t)rate,
                             .count = (int64_t)(seconds * (double)rate)};
}

/* Is one due? Then it is taken. */
static bool schedule_take(struct schedule *schedule, uint64_t now, uint64_t *due, int64_t *index)
{
    if (schedule->sent == schedule->count || now < schedule->next_ns) {
        return false;
    }
    *due = schedule->next_ns;
    *index = schedule->sent++;
    schedule->next_ns += schedule->interval_ns;
    return true;
}

static uint64_t schedule_next(const struct schedule *schedule)
{
    return schedule->sent < schedule->count ? schedule->next_ns : UINT64_MAX;
}

static void turn(struct crowd *crowd, uint64_t until)
{
    struct epoll_event events[EVENTS_MAX];
    int ready = sender_wait(crowd->epoll, events, EVENTS_MAX, until);
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr == NULL) {
            die("an idle connection was sent something, or broken");
        }
        sender_on_event(events[i].data.ptr, events[i].events);
    }
}

static int64_t waiting(const struct crowd *crowd)
{
    int64_t sum = sender_waiting(&crowd->probe);
    for (int32_t i = 0; i < crowd->active_count; i++) {
        sum += sender_waiting(&crowd->active[i]);
    }
    return sum;
}

/* Send what is due, of both. */
static void send_due(struct crowd *crowd, struct schedule *probes, struct schedule *others)
{
    const struct load_options *options = crowd->options;
    uint64_t due;
    int64_t i;
    for (int burst = 0; burst < BURST_MAX && schedule_take(others, now_ns(), &due, &i); burst++) {
        sender_send(&crowd->active[i % options->active], &crowd->frames[i % options->partitions],
                    due);
    }
    if (schedule_take(probes, now_ns(), &due, &i)) {
        sender_send(&crowd->probe, &crowd->frames[i % options->partitions], due);
    }
}

static void probe(struct crowd *crowd, struct hist *out, int64_t rate)
{
    uint64_t start = now_ns();
    struct schedule probes = schedule_new(start, PROBES, crowd->options->seconds);
    struct schedule others = schedule_new(start, rate > 0 ? rate : 1, crowd->options->seconds);
    others.count = rate > 0 ? others.count : 0;
    crowd->probe.answers = out;
    uint64_t deadline = UINT64_MAX;
    while (deadline == UINT64_MAX || waiting(crowd) > 0) {
        send_due(crowd, &probes, &others);
        uint64_t next = schedule_next(&probes);
        next = schedule_next(&others) < next ? schedule_next(&others) : next;
        if (next == UINT64_MAX && deadline == UINT64_MAX) {
            deadline = now_ns() + DRAIN_NS;
        }
        if (now_ns() > deadline) {
            die("%" PRId64 " batches were not answered", waiting(crowd));
        }
        turn(crowd, next != UINT64_MAX ? next : now_ns() + 1000000);
    }
}

/* As a client begins: then it has been served once, and its connection looks as one that is used.
 */
static void greet(struct peer *peer)
{
    struct arena arena = {0};
    struct api_versions_request request;
    struct api_versions_response reply;
    codec_init(&api_versions_request_desc, &request);
    peer_call(peer, API_API_VERSIONS, VERSIONS_VERSION, &request, &arena, &reply);
    if (reply.error_code != 0) {
        die("ApiVersions: error %d", reply.error_code);
    }
    arena_fini(&arena);
}

static void open_active(struct crowd *crowd, int32_t i)
{
    struct sender *sender = &crowd->active[i];
    sender_open(sender, crowd->options, crowd->options->port, crowd->epoll, ACTIVE_FLIGHTS_MAX);
    sender->counts = &crowd->sent;
    sender->answers = &crowd->answers;
    greet(&sender->peer);
}

static void open_idle(struct crowd *crowd, int32_t i)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    struct peer *peer = &crowd->idle[i];
    peer_connect(peer, crowd->options->host, crowd->options->port);
    greet(peer);
    mem_free(peer->in); /* nothing more comes */
    peer->in = NULL;
    if (epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, peer->fd, &event) != 0) {
        die("epoll_ctl: %m");
    }
}

static void open_others(struct crowd *crowd)
{
    const struct load_options *options = crowd->options;
    int32_t idle = options->connections - options->active;
    crowd->active = mem_zalloc((size_t)options->active, sizeof(*crowd->active));
    crowd->idle = mem_zalloc((size_t)idle, sizeof(*crowd->idle));
    for (int32_t i = 0; i < options->active; i++) {
        open_active(crowd, i);
        crowd->active_count++;
    }
    for (int32_t i = 0; i < idle; i++) {
        open_idle(crowd, i);
    }
}

static void crowd_open(struct crowd *crowd)
{
    const struct load_options *options = crowd->options;
    if (options->active < 1 || options->active > options->connections) {
        die("--active is from 1 to --connections");
    }
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd->frames = mem_zalloc((size_t)options->partitions, sizeof(*crowd->frames));
    for (int32_t i = 0; i < options->partitions; i++) {
        sender_frame_make(options, i, &crowd->frames[i]);
    }
    sender_open(&crowd->probe, options, options->port, crowd->epoll, FLIGHTS_MAX);
    crowd->probe.counts = &crowd->probed;
}

static void crowd_close(struct crowd *crowd)
{
    const struct load_options *options = crowd->options;
    for (int32_t i = 0; i < options->active; i++) {
        sender_close(&crowd->active[i]);
    }
    for (int32_t i = 0; i < options->connections - options->active; i++) {
        peer_close(&crowd->idle[i]);
    }
    for (int32_t i = 0; i < options->partitions; i++) {
        load_frame_free(&crowd->frames[i].frame);
    }
    sender_close(&crowd->probe);
    mem_free(crowd->active);
    mem_free(crowd->idle);
    mem_free(crowd->frames);
}

static void await_line(void)
{
    fflush(stdout);
    for (int c = getchar(); c != '\n'; c = getchar()) {
        if (c == EOF) {
            die("nobody measures");
        }
    }
}

/* Say where we are, and wait until whoever measures has looked. */
static void meet(const char *word)
{
    printf("%s\n", word);
    await_line();
}

/* What was sent between two looks. */
static struct load_counts sent_since(const struct crowd *crowd, const struct load_counts *probed)
{
    return (struct load_counts){
        .requests = crowd->sent.requests + crowd->probed.requests - probed->requests,
        .records = crowd->sent.records + crowd->probed.records - probed->records,
        .bytes = crowd->sent.bytes + crowd->probed.bytes - probed->bytes,
        .checksum = crowd->sent.checksum + crowd->probed.checksum - probed->checksum,
    };
}

/* For whoever reads it back. */
static void report_all(const struct crowd *crowd)
{
    static const struct load_counts nothing;
    struct load_counts all = sent_since(crowd, &nothing);
    printf(", \"all\": {\"records\": %" PRId64 ", \"bytes\": %" PRId64 ", \"checksum\": %" PRIu64
           "}",
           all.records, all.bytes, all.checksum);
}

/* As many connections as we may have. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int load_crowd(const struct load_options *options)
{
    struct crowd *crowd = mem_new(struct crowd);
    struct hist *times = mem_zalloc(3, sizeof(*times));
    struct load_clock clock;
    crowd->options = options;
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    raise_limit();
    crowd_open(crowd);
    meet("ready");
    probe(crowd, &times[0], 0);
    open_others(crowd);
    meet("open");
    probe(crowd, &times[1], 0);
    meet("probed");
    struct load_counts before = crowd->probed;
    load_clock_start(&clock);
    probe(crowd, &times[2], options->rate);
    struct load_counts counts = sent_since(crowd, &before);
    load_report_begin("crowd", &clock, &counts);
    load_report_times("answer_us", &crowd->answers);
    load_report_times("probe_alone_us", &times[0]);
    load_report_times("probe_idle_us", &times[1]);
    load_report_times("probe_active_us", &times[2]);
    report_all(crowd);
    load_report_end(&clock);
    await_line();
    crowd_close(crowd);
    mem_free(times);
    mem_free(crowd);
    return 0;
}
