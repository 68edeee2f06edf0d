/* fake_stream.h: a byte stream that a test is the other end of.
 *
 * What the peer sends is put into `in`; what we send lands in `out`. How much one call takes, and
 * when it takes nothing, is the test's choice. Every call is noted in `trace`, as text.
 *
 * Threads: the loop that it was given, driven by hand. */
#pragma once

#include "base/bytes.h"
#include "net/net.h"

struct fake_stream {
    struct net_stream stream; /* first */
    struct buf in;
    size_t in_at;
    size_t recv_max; /* bytes of one recv */
    bool eof;        /* after `in` */
    struct buf out;
    size_t send_max;  /* bytes of one send */
    size_t send_room; /* bytes that are taken before ERR_AGAIN */
    enum err broken;  /* what every call says, unless ERR_OK */
    struct buf trace; /* "send 4+5 more -> 9; file 100 -> 100; ..." */
    int wanted;
    size_t expected; /* 0: never said */
    bool closed;
};

/* Takes and gives without limit. */
void fake_stream_init(struct fake_stream *fake, struct loop *loop);

void fake_stream_fini(struct fake_stream *fake);

/* Call on_ready for what is wanted and possible, once. False when nothing was. */
bool fake_stream_step(struct fake_stream *fake);

/* As text, for comparing; begins anew. */
const char *fake_stream_trace(struct fake_stream *fake);
