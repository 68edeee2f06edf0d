#include "bench/load/sender.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "record/batch.h"
#include "record/crc32c.h"
#include "record/record.h"

void sender_frame_make(const struct load_options *options, int32_t partition,
                       struct sender_frame *out)
{
    struct record_iter it;
    struct record record;
    load_frame_make(options, partition, (uint32_t)partition, &out->frame);
    struct bytes batch = {out->frame.bytes.data + out->frame.batch_at, out->frame.batch_bytes};
    if (record_iter_init(&it, batch, 0, NULL) != ERR_OK || !record_iter_next(&it, &record)) {
        die("cannot read our own batch");
    }
    out->value_at = (size_t)(record.value.data - batch.data);
}

uint64_t sender_frame_due(const struct sender_frame *frame, struct bytes batch)
{
    if (batch.size != frame->frame.batch_bytes) {
        die("a batch of another size came back");
    }
    return be64_get(batch.data + frame->value_at);
}

static void stamp(struct sender_frame *frame, uint64_t due_ns)
{
    uint8_t *batch = frame->frame.bytes.data + frame->frame.batch_at;
    size_t size = frame->frame.batch_bytes;
    be64_put(batch + frame->value_at, due_ns);
    frame->frame.crc =
        crc32c((struct bytes){batch + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES});
    be32_put(batch + BATCH_AT_CRC, frame->frame.crc);
}

static void watch(struct sender *sender, int op, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = sender};
    if (epoll_ctl(sender->epoll, op, sender->peer.fd, &event) != 0) {
        die("epoll_ctl: %m");
    }
    sender->blocked = writable;
}

void sender_open(struct sender *sender, const struct load_options *options, uint16_t port,
                 int epoll, int32_t flights_max)
{
    *sender = (struct sender){
        .epoll = epoll, .flights_max = flights_max, .records = options->batch_records};
    sender->flights = mem_zalloc((size_t)flights_max, sizeof(*sender->flights));
    peer_connect(&sender->peer, options->host, port);
    watch(sender, EPOLL_CTL_ADD, false);
}

void sender_close(struct sender *sender)
{
    peer_close(&sender->peer);
    mem_free(sender->flights);
    buf_fini(&sender->pending);
}

static void flush_pending(struct sender *sender)
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
        watch(sender, EPOLL_CTL_MOD, blocked);
    }
}

void sender_send(struct sender *sender, struct sender_frame *frame, uint64_t due_ns)
{
    if (sender_waiting(sender) >= sender->flights_max) {
        die("the broker is %d batches behind: the rate is too high for it", sender->flights_max);
    }
    stamp(frame, due_ns);
    sender->flights[sender->tail++ % sender->flights_max] =
        (struct sender_flight){due_ns, &frame->frame};
    sender->counts->requests++;
    sender->counts->records += sender->records;
    sender->counts->bytes += (int64_t)frame->frame.batch_bytes;
    sender->counts->checksum += frame->frame.crc;
    buf_put(&sender->pending, frame->frame.bytes.data, frame->frame.bytes.size);
    flush_pending(sender);
}

static void take_answers(struct sender *sender)
{
    struct bytes frame;
    if (!peer_receive(&sender->peer)) {
        return;
    }
    uint64_t now = now_ns();
    while (peer_next(&sender->peer, &frame)) {
        if (sender_waiting(sender) == 0) {
            die("an answer that nobody waits for");
        }
        const struct sender_flight *flight = &sender->flights[sender->head++ % sender->flights_max];
        (void)load_produce_answer(frame, flight->frame);
        hist_add(sender->answers, now - flight->due_ns);
    }
}

void sender_on_event(struct sender *sender, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        flush_pending(sender);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        take_answers(sender);
    }
}

int64_t sender_waiting(const struct sender *sender)
{
    return sender->tail - sender->head;
}

int sender_wait(int epoll, struct epoll_event *events, int events_max, uint64_t until_ns)
{
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(left / 1000000000u),
                            .tv_nsec = (long)(left % 1000000000u)};
    return epoll_pwait2(epoll, events, events_max, &wait, NULL);
}
