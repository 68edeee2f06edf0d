/* gaps: one small producer per partition, each with one batch under way and --rate of them a
 * second, and how long each could not write: the longest time from one acknowledgement to the next.
 *
 * A producer does what a client does: after a refusal, or when its connection breaks, it asks who
 * leads now and tries again, every RETRY_MS. A refusal that is not retriable ends the program.
 *
 * Prints "ready" when every partition has been written to. When its standard input closes it goes
 * on until each has been written to once more, so that a gap that is not over yet is told as well,
 * and prints the report. Times are of the monotonic clock, so that whoever broke something can
 * compare. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/load/brokers.h"
#include "codec/codec.h"

enum { RETRY_MS = 5, METADATA_MS = 500, EVENTS_MAX = 64, MS = 1000000, LONGEST_WAIT_S = 60 };

struct writer {
    struct gaps *gaps;
    struct load_frame frame;
    struct peer peer; /* fd -1: none */
    int32_t leader;   /* place in the list of brokers; -1: unknown */
    bool waiting;     /* for an answer */
    uint64_t due_ns;  /* when to send next */
    uint64_t ok_ns;   /* the last acknowledgement; 0: none yet */
    uint64_t gap_start_ns;
    uint64_t gap_end_ns;
    int64_t written;
};

struct gaps {
    const struct load_options *options;
    struct broker_list brokers;
    struct writer *writers;
    int epoll;
    int32_t asked; /* the broker that was asked for leaders last */
    uint64_t refresh_ns;
    bool stale; /* the leaders are to be asked for */
    int64_t refused;
    int64_t broken;
    int32_t unwritten;
    uint64_t closed_ns; /* when standard input did; 0: not yet */
};

static void drop(struct writer *writer)
{
    if (writer->peer.fd >= 0) {
        peer_close(&writer->peer);
        writer->peer = (struct peer){.fd = -1};
    }
    writer->leader = -1;
    writer->waiting = false;
    writer->due_ns = now_ns() + RETRY_MS * MS;
    writer->gaps->stale = true;
}

static void take_leaders(struct gaps *gaps, const struct metadata_response *metadata)
{
    if (metadata->topics_count != 1 || metadata->topics[0].error_code != 0) {
        return;
    }
    for (int32_t i = 0; i < metadata->topics[0].partitions_count; i++) {
        const struct metadata_response_metadata_response_partition *part =
            &metadata->topics[0].partitions[i];
        if (part->partition_index < gaps->options->partitions) {
            struct writer *writer = &gaps->writers[part->partition_index];
            int32_t place = brokers_find(&gaps->brokers, part->leader_id);
            if (writer->leader < 0 && place >= 0) {
                writer->leader = place;
            }
        }
    }
}

/* Ask the next broker that answers who leads what. */
static void refresh(struct gaps *gaps, uint64_t now)
{
    struct arena arena = {0};
    struct metadata_response metadata;
    gaps->refresh_ns = now + RETRY_MS * MS;
    gaps->asked = (gaps->asked + 1) % gaps->brokers.count;
    if (brokers_metadata(&gaps->brokers, gaps->asked, gaps->options->topic, METADATA_MS, &arena,
                         &metadata)) {
        take_leaders(gaps, &metadata);
    }
    arena_fini(&arena);
    gaps->stale = false;
    for (int32_t i = 0; i < gaps->options->partitions; i++) {
        gaps->stale = gaps->stale || gaps->writers[i].leader < 0;
    }
}

static bool connect_writer(struct writer *writer)
{
    struct gaps *gaps = writer->gaps;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = writer};
    if (!peer_try_connect(&writer->peer, gaps->brokers.host, gaps->brokers.ports[writer->leader])) {
        return false;
    }
    if (epoll_ctl(gaps->epoll, EPOLL_CTL_ADD, writer->peer.fd, &event) != 0) {
        die("epoll_ctl: %m");
    }
    return true;
}

static void send_next(struct writer *writer, uint64_t now)
{
    const struct buf *bytes = &writer->frame.bytes;
    if (writer->leader < 0 || writer->waiting || now < writer->due_ns) {
        return;
    }
    if ((writer->peer.fd < 0 && !connect_writer(writer)) ||
        send(writer->peer.fd, bytes->data, bytes->size, MSG_NOSIGNAL) != (ssize_t)bytes->size) {
        writer->gaps->broken++;
        drop(writer);
        return;
    }
    writer->waiting = true;
}

static void acknowledged(struct writer *writer, uint64_t now)
{
    struct gaps *gaps = writer->gaps;
    uint64_t pause = 1000000000u / (uint64_t)gaps->options->rate;
    writer->waiting = false;
    writer->due_ns = now + pause;
    writer->written++;
    if (writer->ok_ns == 0) {
        gaps->unwritten--;
    } else if (now - writer->ok_ns > writer->gap_end_ns - writer->gap_start_ns) {
        writer->gap_start_ns = writer->ok_ns;
        writer->gap_end_ns = now;
    }
    writer->ok_ns = now;
}

static enum err answer_error(struct bytes frame)
{
    struct arena arena = {0};
    struct produce_response reply;
    struct bytes in = peer_body(frame, API_PRODUCE, LOAD_PRODUCE_VERSION, LOAD_CORRELATION);
    if (codec_decode(&produce_response_desc, LOAD_PRODUCE_VERSION, in, &arena, &reply, NULL) !=
            ERR_OK ||
        reply.responses_count != 1 || reply.responses[0].partition_responses_count != 1) {
        die("malformed Produce response");
    }
    int16_t code = reply.responses[0].partition_responses[0].error_code;
    arena_fini(&arena);
    return code == 0 ? ERR_OK : err_from_wire(code);
}

static void take_answer(struct writer *writer)
{
    struct bytes frame;
    if (peer_try_receive(&writer->peer) == PEER_BROKEN) {
        writer->gaps->broken++;
        drop(writer);
        return;
    }
    if (!peer_next(&writer->peer, &frame)) {
        return;
    }
    enum err err = answer_error(frame);
    if (err == ERR_OK) {
        acknowledged(writer, now_ns());
        return;
    }
    if (!err_retriable(err)) {
        die("partition %d: %s is not retriable", writer->frame.partition, err_text(err));
    }
    writer->gaps->refused++;
    drop(writer);
}

static void take_closed(struct gaps *gaps)
{
    gaps->closed_ns = now_ns();
    if (epoll_ctl(gaps->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL) != 0) {
        die("epoll_ctl: %m");
    }
}

/* Has each partition been written to since standard input closed? Where one never was, "ready" was
 * not told and nobody measures. */
static bool is_over(const struct gaps *gaps)
{
    bool over = gaps->closed_ns != 0;
    for (int32_t i = 0; over && gaps->unwritten == 0 && i < gaps->options->partitions; i++) {
        over = gaps->writers[i].ok_ns > gaps->closed_ns;
    }
    return over;
}

static void take_events(struct gaps *gaps)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(gaps->epoll, events, EVENTS_MAX, 1);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) {
            take_closed(gaps);
        } else {
            take_answer(events[i].data.ptr);
        }
    }
}

static void run_loop(struct gaps *gaps)
{
    bool told = false;
    while (!is_over(gaps)) {
        uint64_t now = now_ns();
        if (gaps->stale && now >= gaps->refresh_ns) {
            refresh(gaps, now);
        }
        for (int32_t i = 0; i < gaps->options->partitions; i++) {
            struct writer *writer = &gaps->writers[i];
            send_next(writer, now);
            if (writer->ok_ns != 0 && now > writer->ok_ns + LONGEST_WAIT_S * 1000000000ull) {
                die("partition %d could not be written to for %d s", i, LONGEST_WAIT_S);
            }
        }
        take_events(gaps);
        if (!told && gaps->unwritten == 0) {
            printf("ready\n");
            fflush(stdout);
            told = true;
        }
    }
}

static void open_all(struct gaps *gaps, const struct load_options *options)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLHUP, .data.ptr = NULL};
    gaps->options = options;
    gaps->stale = true;
    gaps->unwritten = options->partitions;
    brokers_init(&gaps->brokers, options);
    gaps->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(gaps->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) {
        die("standard input is to be a pipe: %m");
    }
    gaps->writers = mem_zalloc((size_t)options->partitions, sizeof(*gaps->writers));
    for (int32_t i = 0; i < options->partitions; i++) {
        gaps->writers[i] = (struct writer){.gaps = gaps, .peer = {.fd = -1}, .leader = -1};
        load_frame_make(options, i, (uint32_t)i, &gaps->writers[i].frame);
    }
}

static void report(const struct gaps *gaps)
{
    int64_t written = 0;
    printf("{\"mode\": \"gaps\", \"partitions\": [");
    for (int32_t i = 0; i < gaps->options->partitions; i++) {
        const struct writer *writer = &gaps->writers[i];
        printf("%s{\"gap_start_ns\": %" PRIu64 ", \"gap_end_ns\": %" PRIu64
               ", \"written\": %" PRId64 "}",
               i > 0 ? ", " : "", writer->gap_start_ns, writer->gap_end_ns, writer->written);
        written += writer->written;
    }
    printf("], \"written\": %" PRId64 ", \"refused\": %" PRId64 ", \"broken\": %" PRId64 "}\n",
           written, gaps->refused, gaps->broken);
}

int load_gaps(const struct load_options *options)
{
    struct gaps gaps = {0};
    open_all(&gaps, options);
    run_loop(&gaps);
    report(&gaps);
    for (int32_t i = 0; i < options->partitions; i++) {
        drop(&gaps.writers[i]);
        load_frame_free(&gaps.writers[i].frame);
    }
    brokers_fini(&gaps.brokers);
    mem_free(gaps.writers);
    return 0;
}
