/* floor.h: bench_floor, the least broker that there can be, as the denominator of scripts/bench.
 *
 * It does what no broker can avoid: parse, check the CRC-32C, patch offsets, write, send, and park
 * fetches that find nothing. Nothing else: one thread, one file for each partition, no index but in
 * memory, no sync but for topics with flush.messages=1, no recovery, no groups, no limits. What it
 * does it does honestly: offsets, checksums and error codes are real, acks=all waits for its
 * followers, and clients such as librdkafka can use it.
 *
 * A follower is the same program: it reads from its leader by ordinary Fetch requests, checks and
 * writes. Topics are made and deleted by requests; who makes one on a leader with
 * replication_factor 3 makes it on both followers as well.
 *
 *   main.c     command line, event loop        client.c   a connection: frames in, answers out
 *   topic.c    topics, partitions, files       produce.c, fetch.c, admin.c   the requests
 *   follow.c   a follower's side                 flush.c   topics with flush.messages=1
 *
 * Threads: one, and flush.c's. What a machine cannot do (write, watch) ends the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/list.h"
#include "codec/messages.h"

enum {
    FLOOR_RECEIVE_BYTES = 256 * 1024,
    FLOOR_LEADER_ID = 1,
    FLOOR_FOLLOWERS_MAX = 2, /* their ids follow the leader's */
};

/* ---- topic.c ---- */

/* Where a batch is. */
struct place {
    int64_t offset;
    int64_t position;
};

struct part {
    struct topic *topic;
    int32_t index;
    int fd;
    int64_t size_bytes;
    int64_t offset_end;
    int64_t offset_hw;                   /* consumers read up to here */
    int64_t copied[FLOOR_FOLLOWERS_MAX]; /* what each follower has; -1: it never asked */
    struct place *places;                /* of every batch */
    size_t places_count;
    size_t places_capacity;
    struct list waiters; /* struct wanted: fetches that wait for more of it */
    struct list moved;   /* link in server.moved */
    int64_t flushed_end; /* flush.c: on the disk is everything below; */
    int64_t syncing_end; /* will be with the sync under way */
    struct list dirty;   /* links in its lists */
    struct list syncing;
};

/* Freed when it is deleted and nobody uses it: waits for it, or sends its file. */
struct topic {
    char *name;
    struct part **parts;
    int32_t parts_count;
    int32_t replicas;
    bool flush; /* flush.messages=1 */
    int uses;
    bool deleted;
    struct list link;
};

struct server {
    const char *folder;
    int epoll;
    uint16_t port;
    int32_t id;
    struct list topics;        /* newest first */
    struct list moved;         /* partitions whose end or high watermark moved in this turn */
    struct list parked;        /* clients whose fetch waits, by deadline */
    struct list unreleased;    /* clients with answers that wait for followers */
    struct upstream *upstream; /* of a follower; NULL: this one leads */
    struct flush *flush;       /* NULL: no topic wants it */
    int64_t next_producer_id;
    uint8_t *shared; /* received here where nothing is left over from before */
};

__attribute__((noreturn)) void floor_end(const char *what);
uint64_t floor_now_ns(void);

struct topic *topic_find(struct server *server, struct str name);
struct topic *topic_make(struct server *server, struct str name, int32_t parts, int32_t replicas,
                         bool flush);
void topic_delete(struct server *server, struct topic *topic);
void topic_put(struct topic *topic);

/* NULL when there is none. */
struct part *part_find(struct server *server, struct str topic, int32_t index);

/* Check and write whole batches that have their offsets; they are one piece of memory. False: they
 * are no batches, their checksum is wrong, or they do not begin at the end. */
bool part_append(struct server *server, struct part *part, struct bytes batches);

/* Take what the followers have, or what is on the disk, into account. */
void part_raise_hw(struct server *server, struct part *part);

/* The position of the batch with this offset, and of the one behind it. */
int64_t part_position(const struct part *part, int64_t offset, int64_t *next);

/* The last place up to `position` where a batch begins. */
int64_t part_whole(const struct part *part, int64_t position);

/* ---- client.c ---- */

/* A range of a file that belongs into a client's output. */
struct range {
    size_t at; /* in `out` */
    struct part *part;
    off_t file_at;
    size_t left;
};

/* An answer up to out[release] is sent once the partition's high watermark is at `offset`. */
struct ack {
    struct part *part;
    int64_t offset;
    size_t release;
};

/* A partition that a fetch asks for. */
struct wanted {
    struct client *client;
    struct part *part; /* NULL: there is none */
    struct str topic;
    int32_t partition;
    int64_t offset;
    int64_t bytes_max;
    struct list link; /* in part.waiters */
};

struct fetch {
    int32_t correlation_id;
    int16_t version;
    bool from_follower;
    bool waits;
    int64_t bytes_min;
    int64_t bytes_max;
    uint64_t deadline_ns;
    struct wanted *wanted;
    int32_t wanted_count;
    int32_t wanted_capacity;
    struct list link; /* in server.parked */
};

struct client {
    int fd;
    uint8_t *in; /* what is left of an incomplete frame */
    size_t in_size;
    size_t in_capacity;
    struct buf out;
    size_t out_at;    /* sent */
    size_t out_ready; /* may be sent; behind it are answers that wait for followers */
    struct range *ranges;
    size_t ranges_from, ranges_count, ranges_capacity;
    struct ack *acks;
    size_t acks_from, acks_count, acks_capacity;
    struct list unreleased; /* link in server.unreleased */
    bool blocked;           /* waits until the socket takes more */
    struct fetch fetch;     /* one at a time: further requests wait behind it */
};

struct client *client_new(struct server *server, int fd);
void client_free(struct server *server, struct client *client);

/* There is something to receive, or room to send. Frees the client when its peer has gone. */
void client_on_event(struct server *server, struct client *client, uint32_t events);

/* Work off whole requests that have arrived, where a fetch was in their way. */
void client_go_on(struct server *server, struct client *client);
void client_flush(struct server *server, struct client *client);

/* Begin an answer; the message is encoded to client->out; end it. `more` are bytes of ranges. */
size_t reply_begin(struct client *client, int16_t api_key, int16_t version, int32_t correlation);
void reply_end(struct client *client, size_t start, size_t more);
void reply_range(struct client *client, struct range range);

/* The answer that will be begun next waits until followers have all of this partition. */
void reply_wait(struct server *server, struct client *client, struct part *part);

/* High watermarks have moved: let go what waited for them. */
void client_release(struct server *server, struct client *client);

/* ---- the requests ---- */

struct request {
    int16_t key;
    int16_t version;
    int32_t correlation_id;
    struct arena *arena;
};

void on_produce(struct server *server, struct client *client, const struct request *request,
                const struct produce_request *body);
void on_fetch(struct server *server, struct client *client, const struct request *request,
              const struct fetch_request *body);
/* Is there enough by now? Then answer. */
bool fetch_try(struct server *server, struct client *client, bool must_answer);
void fetch_forget(struct fetch *fetch);

/* All other requests; false: none that we know. */
bool on_admin(struct server *server, struct client *client, const struct request *request,
              struct bytes body);
/* Does the floor speak it? */
bool floor_speaks(int16_t key, int16_t version);

/* ---- flush.c ---- */

/* The first topic that wants it is there. */
void flush_start(struct server *server);
/* A partition of such a topic was appended to. */
void flush_want(struct server *server, struct part *part);
/* At the end of a turn: begin a sync, if none is under way and something wants it. */
void flush_go_on(struct server *server);
void flush_on_event(struct server *server);

/* ---- follow.c ---- */

struct upstream *upstream_connect(struct server *server, uint16_t port);
int upstream_fd(const struct upstream *upstream);
void upstream_on_event(struct server *server);
/* A topic was made: ask for it. */
void upstream_ask(struct server *server);
