/* sim_client.h: a simulated client's machine: a loop, connections to brokers, requests and what
 * comes back. What the client does with them is a machine of its own on top (sim_producer.h,
 * sim_consumer.h), which says so by its table.
 *
 * One connection per broker, made when needed; requests are answered in order. A connection that
 * breaks, or whose oldest request waits too long, ends all its requests with ERR_CLOSED: their
 * outcome is unknown.
 *
 * Threads: the client's loop. */
#pragma once

#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "net/conn.h"
#include "sim.h"

struct sim_client;

struct sim_client_kind {
    void (*start)(struct sim_client *client);
    /* Has it done all it is there for? */
    bool (*done)(struct sim_client *client);
    void (*free)(struct sim_client *client); /* of the machine; connections are closed already */
};

struct sim_client {
    const struct sim_client_kind *kind;
    struct sim *sim;
    char name[24];
    struct net *net;
    struct sim_clock clock;
    struct loop *loop;
    struct rng rng;
    struct list wires;
    struct loop_timer watch; /* for requests that wait too long */
    struct loop_msg begin;
    int32_t next_correlation_id;
    uint64_t wires_made;
    int64_t timeout_ms;
    bool stopped; /* sends nothing more */
};

/* `body` is the decoded response when err is ERR_OK; it lives for the call. Called exactly once,
 * never from inside sim_client_call(). */
typedef void sim_reply_fn(struct sim_client *client, void *arg, enum err err, const void *body);

void sim_client_init(struct sim_client *client, struct sim *sim, const struct sim_client_kind *kind,
                     const char *name);
struct loop *sim_client_loop(struct sim_client *client);

/* Send a request to a broker. */
void sim_client_call(struct sim_client *client, int broker, int16_t key, int16_t version,
                     const void *message, sim_reply_fn *fn, void *arg);

/* Which connection it is that the next request to a broker goes by: another one has another number.
 * 0: it has to be made. */
uint64_t sim_client_connection(struct sim_client *client, int broker);

/* Close the connection to a broker: its requests end with ERR_CLOSED. */
void sim_client_hang_up(struct sim_client *client, int broker);

/* One of the brokers, by chance. */
int sim_client_any_broker(struct sim_client *client);
int16_t sim_client_version(struct sim_client *client, int16_t low, int16_t high);

/* A partition's leader, asked of any broker: -1 when it is not known. The topic is made if it is
 * not there. */
struct sim_leader {
    int broker;
    int32_t epoch;
    struct uuid topic_id;
    bool has_topic_id;
};
typedef void sim_leader_fn(struct sim_client *client, const struct sim_leader *leader);
void sim_client_find_leader(struct sim_client *client, int part, sim_leader_fn *fn);

/* Close everything; callbacks of open requests are made (ERR_CLOSED). */
void sim_client_stop(struct sim_client *client);
void sim_client_free(struct sim_client *client);
