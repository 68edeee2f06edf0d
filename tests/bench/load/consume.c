/* The consume load: every connection reads its share of the partitions from start to end, one fetch
 * at a time as consumers do. More connections than partitions: several read the same one. */
#include <sys/epoll.h>

#include "base/mem.h"
#include "bench/load/load.h"
#include "bench/load/reader.h"

enum { IDLE_MS = 30000 };

/* Partition i, i + connections, ...; with fewer partitions than connections just one. */
static void add_parts(struct reader *reader, int32_t index)
{
    const struct load_options *options = reader->options;
    int32_t first = index % options->partitions;
    int32_t count = (options->partitions - first + options->connections - 1) / options->connections;
    reader->parts = mem_zalloc((size_t)count, sizeof(*reader->parts));
    reader->parts_count = count;
    for (int32_t i = 0; i < count; i++) {
        struct reader_part *part = &reader->parts[i];
        part->partition = first + i * options->connections;
        part->end = peer_end_offset(&reader->peer, options->topic, part->partition);
        part->news = true;
    }
}

/* Until all are done. */
static void read_all(struct reader *readers, int32_t count, int epoll)
{
    struct epoll_event events[64];
    int32_t busy = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!reader_done(&readers[i])) {
            reader_ask(&readers[i]);
            busy++;
        }
    }
    while (busy > 0) {
        int ready = epoll_wait(epoll, events, 64, IDLE_MS);
        if (ready == 0) {
            die("%d connections wait for records that do not come", busy);
        }
        for (int i = 0; i < ready; i++) {
            struct reader *reader = events[i].data.ptr;
            if (!reader_take(reader)) {
                continue;
            }
            if (reader_done(reader)) {
                busy--;
            } else {
                reader_ask(reader);
            }
        }
    }
}

int load_consume(const struct load_options *options)
{
    struct reader *readers = mem_zalloc((size_t)options->connections, sizeof(*readers));
    struct load_counts total = {0};
    struct load_clock clock;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int32_t i = 0; i < options->connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &readers[i]};
        reader_open(&readers[i], options, options->port);
        add_parts(&readers[i], i);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, readers[i].peer.fd, &event) != 0) {
            die("epoll_ctl: %m");
        }
    }
    load_clock_start(&clock);
    read_all(readers, options->connections, epoll);
    for (int32_t i = 0; i < options->connections; i++) {
        total.requests += readers[i].counts.requests;
        total.records += readers[i].counts.records;
        total.bytes += readers[i].counts.bytes;
        total.checksum += readers[i].counts.checksum;
    }
    load_report("consume", &clock, &total, NULL, NULL);
    for (int32_t i = 0; i < options->connections; i++) {
        mem_free(readers[i].parts);
        reader_close(&readers[i]);
    }
    mem_free(readers);
    return 0;
}
