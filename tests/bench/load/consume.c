/* The consume load: every connection reads its share of its broker's partitions from start to end,
 * one fetch at a time as consumers do. In a cluster every broker gets --connections. More
 * connections than partitions: several read the same one. */
#include <sys/epoll.h>

#include "base/mem.h"
#include "bench/load/brokers.h"
#include "bench/load/load.h"
#include "bench/load/reader.h"

enum { IDLE_MS = 30000 };

/* Of the `led` partitions, number index, index + connections, ...; of fewer than there are
 * connections just one. */
static void add_parts(struct reader *reader, int32_t index, const int32_t *led, int32_t led_count)
{
    const struct load_options *options = reader->options;
    int32_t first = index % led_count;
    int32_t count = (led_count - first + options->connections - 1) / options->connections;
    reader->parts = mem_zalloc((size_t)count, sizeof(*reader->parts));
    reader->parts_count = count;
    for (int32_t i = 0; i < count; i++) {
        struct reader_part *part = &reader->parts[i];
        part->partition = led[first + i * options->connections];
        part->end = peer_end_offset(&reader->peer, options->topic, part->partition);
        part->news = true;
    }
}

/* The connections to one broker; how many: none where it leads nothing. */
static int32_t open_readers(const struct load_options *options, const struct broker_list *brokers,
                            int32_t place, const int32_t *leaders, struct reader *readers)
{
    int32_t *led = mem_zalloc((size_t)options->partitions, sizeof(*led));
    int32_t led_count = 0;
    for (int32_t i = 0; i < options->partitions; i++) {
        if (leaders[i] == place) {
            led[led_count++] = i;
        }
    }
    int32_t count = led_count > 0 ? options->connections : 0;
    for (int32_t i = 0; i < count; i++) {
        reader_open(&readers[i], options, brokers->ports[place]);
        add_parts(&readers[i], i, led, led_count);
    }
    mem_free(led);
    return count;
}

/* All connections; how many. */
static int32_t open_all(const struct load_options *options, struct reader **readers)
{
    struct broker_list brokers;
    brokers_init(&brokers, options);
    int32_t *leaders = brokers_leaders(&brokers, options);
    int32_t count = 0;
    *readers = mem_zalloc((size_t)(options->connections * brokers.count), sizeof(**readers));
    for (int32_t place = 0; place < brokers.count; place++) {
        count += open_readers(options, &brokers, place, leaders, *readers + count);
    }
    mem_free(leaders);
    brokers_fini(&brokers);
    return count;
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
    struct reader *readers;
    struct load_counts total = {0};
    struct load_clock clock;
    int32_t count = open_all(options, &readers);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int32_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &readers[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, readers[i].peer.fd, &event) != 0) {
            die("epoll_ctl: %m");
        }
    }
    load_meet(options);
    load_clock_start(&clock);
    read_all(readers, count, epoll);
    for (int32_t i = 0; i < count; i++) {
        total.requests += readers[i].counts.requests;
        total.records += readers[i].counts.records;
        total.bytes += readers[i].counts.bytes;
        total.checksum += readers[i].counts.checksum;
    }
    load_report("consume", &clock, &total, NULL, NULL);
    for (int32_t i = 0; i < count; i++) {
        mem_free(readers[i].parts);
        reader_close(&readers[i]);
    }
    mem_free(readers);
    return 0;
}
