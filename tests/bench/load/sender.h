/* sender.h: one producer of an open loop: a connection that sends a batch when it is told to,
 * whether or not earlier ones have been answered. An answer's time counts from when its batch was
 * due, and the first record of each batch carries that time.
 *
 * Threads: one. */
#pragma once

#include <sys/epoll.h>

#include "bench/load/load.h"
#include "bench/load/peer.h"

/* Where a frame's first record has its value, and its batch its checksum. */
struct sender_frame {
    struct load_frame frame;
    size_t value_at; /* in the batch */
};

void sender_frame_make(const struct load_options *options, int32_t partition,
                       struct sender_frame *out);

/* When the batch was due, out of a batch that came back. */
uint64_t sender_frame_due(const struct sender_frame *frame, struct bytes batch);

struct sender_flight {
    uint64_t due_ns;
    const struct load_frame *frame;
};

struct sender {
    int epoll;
    struct peer peer;
    struct sender_flight *flights; /* a ring; counters grow */
    int32_t flights_max;           /* more without an answer end the program */
    int64_t head;                  /* answered */
    int64_t tail;                  /* sent */
    struct buf pending;            /* what the socket did not take */
    size_t pending_at;
    bool blocked;
    int32_t records; /* in each batch */
    /* The caller sets both before the first batch. */
    struct load_counts *counts; /* of what is sent */
    struct hist *answers;
};

/* Connect, and be watched by `epoll`, whose events have `sender` as their data. */
void sender_open(struct sender *sender, const struct load_options *options, uint16_t port,
                 int epoll, int32_t flights_max);
void sender_close(struct sender *sender);

/* Write the time into the frame and send it. */
void sender_send(struct sender *sender, struct sender_frame *frame, uint64_t due_ns);

void sender_on_event(struct sender *sender, uint32_t events);

/* Sent, but not answered. */
int64_t sender_waiting(const struct sender *sender);

/* Wait for sockets until then, and no longer; how many have something. */
int sender_wait(int epoll, struct epoll_event *events, int events_max, uint64_t until_ns);
