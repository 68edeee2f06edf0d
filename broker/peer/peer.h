/* peer.h: control messages to other brokers: one connection per broker, requests in order.
 *
 * A request is a Kafka frame with the private API key of control.h and protobuf behind an ordinary
 * header. The connection is made when first needed and kept; when it breaks, everything that waits
 * on it fails with ERR_CLOSED, and the next request makes a new one. A request that is not answered
 * in `timeout_ms` breaks the connection.
 *
 * Threads: the loop that peers_new() was given (the control loop). */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "net/net.h"
#include "rt/loop.h"

struct peers;

/* `response` lives until the callback returns; empty on errors. Never called from inside
 * peers_send(). */
typedef void peer_done_fn(void *arg, enum err err, struct bytes response);

struct peers *peers_new(struct loop *loop, struct net *net, int32_t my_id, int64_t timeout_ms);

/* Breaks all connections; what waits is called back with ERR_CLOSED before this returns. */
void peers_free(struct peers *peers);

/* `request` is copied. A broker whose address has changed gets a new connection. */
void peers_send(struct peers *peers, int32_t broker_id, const char *host, uint16_t port,
                struct bytes request, peer_done_fn *fn, void *arg);

/* What waits for that broker fails with ERR_CLOSED, in a later turn. */
void peers_disconnect(struct peers *peers, int32_t broker_id);
