/* peer.h: the load generator's side of a connection: raw sockets, whole frames.
 *
 * Anything that goes wrong ends the program with a line that says what: a load that is not the one
 * asked for must not be measured.
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"

struct peer {
    int fd;
    uint8_t *in; /* received, from in_from to in_size */
    size_t in_capacity;
    size_t in_from;
    size_t in_size;
};

__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);

/* Connect (blocking), then non-blocking from here on. */
void peer_connect(struct peer *peer, const char *host, uint16_t port);
void peer_close(struct peer *peer);

/* The same where a broker may be down: false when it is. */
bool peer_try_connect(struct peer *peer, const char *host, uint16_t port);

/* Receive once what is there; false when nothing was. */
bool peer_receive(struct peer *peer);

enum peer_got { PEER_NOTHING, PEER_SOME, PEER_BROKEN };

/* The same where the broker may go away. */
enum peer_got peer_try_receive(struct peer *peer);

/* The next whole frame received, without its size; it is good until the next peer_receive(). */
bool peer_next(struct peer *peer, struct bytes *frame);

/* The body of a response, behind its header; checks the correlation id. */
struct bytes peer_body(struct bytes frame, int16_t api_key, int16_t version,
                       int32_t correlation_id);

/* Append a whole request frame. */
void frame_put(struct buf *out, int16_t api_key, int16_t version, int32_t correlation_id,
               const void *body);

/* Send a request and wait for its answer. Nothing else may be under way. */
void peer_call(struct peer *peer, int16_t api_key, int16_t version, const void *body,
               struct arena *arena, void *reply);

/* The same where the broker may go away or not answer: false when there is no answer in that time.
 */
bool peer_try_call(struct peer *peer, const struct buf *frame, int timeout_ms,
                   struct bytes *answer);

/* Send everything; blocks. */
void peer_send_all(struct peer *peer, const void *data, size_t size);

/* The log's end of one partition of a topic. */
int64_t peer_end_offset(struct peer *peer, const char *topic, int32_t partition);

/* Nanoseconds that only grow. */
uint64_t now_ns(void);
