/* outq.h: what a connection still has to send: a ring of fragments of memory and of files.
 *
 * Runs of memory and of small file ranges, OUTQ_COPY_BYTES of these together, leave in one gathered
 * send, with "more follows" before a larger range, which goes by send_file. At most a turn's
 * worth leaves per turn, and what would be left if it is little (OUTQ_REST_BYTES), so that one fast
 * reader cannot keep a loop to itself: a megabyte takes half a millisecond, for which whoever
 * produces beside it would wait each time. A long turn is for those for whom producers wait anyway
 * (conn.h).
 *
 * Ownership: each fragment has a release callback, called exactly once: when its last byte has been
 * taken by the stream, or when the queue is freed. Threads: the connection's loop. */
#pragma once

#include "net/net.h"

enum {
    OUTQ_COPY_BYTES = 4096,
    OUTQ_TURN_BYTES = 256 * 1024,
    OUTQ_LONG_TURN_BYTES = 4 * 1024 * 1024,
    OUTQ_REST_BYTES = 64 * 1024
};

struct outq;

typedef void outq_release_fn(void *arg);

struct outq *outq_new(void);
void outq_free(struct outq *outq);

/* `data` stays valid until release(arg). `release` may be NULL. */
void outq_put_mem(struct outq *outq, const void *data, size_t size, outq_release_fn *release,
                  void *arg);
void outq_put_file(struct outq *outq, struct fs_file *file, int64_t offset, size_t size,
                   outq_release_fn *release, void *arg);

bool outq_empty(const struct outq *outq);
/* Bytes of memory fragments still queued: a connection with too many is not read from. */
size_t outq_mem_bytes(const struct outq *outq);
size_t outq_total_bytes(const struct outq *outq);

/* Send what the stream takes, about `turn_bytes` at most. ERR_OK: the queue is empty. ERR_AGAIN:
 * call again when writable (or, when *yielded, in the next turn). Anything else: close the
 * connection. */
MUST_USE enum err outq_flush(struct outq *outq, struct net_stream *stream, size_t turn_bytes,
                             bool *yielded);
