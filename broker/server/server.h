/* server.h: one broker: everything it is made of, its start and its end.
 *
 *   - start: ZooKeeper -> cluster id -> meta.properties -> broker id -> dynamic configuration ->
 *     logs -> sockets -> registration -> controller election -> serving
 *   - stop: leaderships handed over -> nothing is appended, fetched or decided any more ->
 *     registration and office given up -> connections closed -> logs flushed and closed,
 *     clean-shutdown marks -> the session ends
 *
 * Both are sequences of steps on the control loop, each of which may wait (startup.c, shutdown.c);
 * the caller is told at the end. Nothing here is process-wide: tests run several brokers in one
 * process.
 *
 * Threads: server_new() and server_free() on the caller's; server_start() and server_stop() post to
 * the control loop; callbacks come from it. */
#pragma once

#include "api/broker.h"
#include "config/config.h"

struct server;

/* Called once. `text` is for people: the line "ready in N ms", or a whole error. */
typedef void server_done_fn(void *arg, enum err err, const char *text);

/* `config` is the static configuration; the server holds a reference. */
struct server *server_new(const struct env *env, const struct config *config);

/* With env.threads the control loop is a thread from here on. */
void server_start(struct server *server, server_done_fn *fn, void *arg);

/* Also after a start that failed. */
void server_stop(struct server *server, server_done_fn *fn, void *arg);
void server_free(struct server *server);

/* Whom to tell, from the control loop, when the broker cannot go on: every log directory has
 * failed. It should be stopped then. Before server_start(). */
void server_on_fatal(struct server *server, server_done_fn *fn, void *arg);

/* Whom to tell, from the watchdog's thread, when a loop hangs in a call to the disk: the sessions
 * in ZooKeeper and the process are to be ended at once. Before server_start(). */
void server_on_stuck(struct server *server, void (*fn)(void *arg), void *arg);

/* A disk hangs: server_free() might wait for ever. */
bool server_hangs(const struct server *server);

/* For tests and for hand-driven loops. */
struct broker *server_broker(struct server *server);

/* The port that a listener was bound to; 0 before. */
uint16_t server_port(const struct server *server, const char *listener);
