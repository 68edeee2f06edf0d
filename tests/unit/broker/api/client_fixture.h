/* client_fixture.h: a broker that consists of one network loop, whose connections are fakes.
 *
 * The loop is driven by hand, as is its clock. What the broker logs is read by logged(). */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "session/fetch_session.h"
#include "support/fake_stream.h"

enum { LOG_MAX = 8192, BUDGET_BYTES = 4 << 20, REQUEST_MAX = 8 << 20, CLIENTS = 4 };

static struct clock_manual test_clock;
static struct config_cell config;
static struct broker broker;
static struct netloop netloop;
static struct netloop other; /* where connections may move; made by the test that needs it */
static struct listener listener = {.name = "PLAINTEXT"};
static struct fake_stream fakes[CLIENTS];
static struct loop_task step_tasks[CLIENTS];
static int fakes_used;
static int log_fd;

static inline struct net_stream *adopt(struct net *net, struct loop *loop,
                                       struct net_accepted *accepted)
{
    (void)net, (void)accepted;
    fake_stream_init(&fakes[fakes_used], loop);
    return &fakes[fakes_used++].stream;
}

static const struct net_ops net_ops = {.adopt = adopt};
static struct net net = {&net_ops};

static inline void world_init(void)
{
    static const struct config_pair pairs[] = {{"zookeeper.connect", "z:1"},
                                               {"socket.request.max.bytes", "8388608"}};
    struct config *made;
    struct errmsg msg;
    FILE *file = tmpfile();
    log_fd = dup(fileno(file));
    fclose(file);
    log_set_fd(log_fd);
    clock_manual_init(&test_clock, 0);
    cr_assert_eq(config_from_pairs(pairs, 2, &made, &msg), ERR_OK, "%s", msg.text);
    config_cell_init(&config, made);
    broker.env.net = &net;
    atomic_store(&broker.ready, true);
    netloop.broker = &broker;
    netloop.loop = loop_new("network-0", 0, &test_clock.clock);
    list_init(&netloop.clients);
    config_reader_init(&netloop.config, &config);
    rng_seed(&netloop.rng, 1);
    broker.fetch_slots =
        (struct fetch_session_slots){.max = 8, .caches_count = 2, .partitions_max = 1000};
    netloop.fetch_sessions = fetch_sessions_new(&broker.fetch_slots, &netloop.rng);
    budget_init(&broker.client_memory, BUDGET_BYTES);
    budget_lease_init(&netloop.client_memory, &broker.client_memory, netloop.loop);
}

static inline bool turn(void)
{
    bool any = loop_turn(netloop.loop);
    return (other.loop != NULL && loop_turn(other.loop)) || any;
}

static bool stepped;

static inline void on_step(struct loop_task *task)
{
    stepped = fake_stream_step(&fakes[task - step_tasks]) || stepped;
}

/* What can happen happens; what comes by a connection comes in its loop. */
static inline void settle(void)
{
    do {
        while (turn()) {
        }
        stepped = false;
        for (int i = 0; i < fakes_used; i++) {
            loop_task_init(&step_tasks[i], on_step);
            if (!fakes[i].closed) {
                loop_defer(fakes[i].stream.loop, &step_tasks[i]);
            }
        }
        turn();
    } while (stepped);
}

static inline struct client *client_at(int index)
{
    int i = 0;
    list_for_each (link, &netloop.clients) {
        if (i++ == index) {
            return container_of(link, struct client, link);
        }
    }
    return NULL;
}

/* Everything is closed, and every byte is back. */
static inline void world_fini(void)
{
    while (client_at(0) != NULL) {
        client_close(client_at(0));
    }
    settle();
    cr_assert_eq(netloop.clients_count, 0);
    client_drop_spare(&netloop);
    fetch_sessions_free(netloop.fetch_sessions);
    budget_lease_fini(&netloop.client_memory);
    cr_assert_eq(budget_used(&broker.client_memory), 0);
    for (int i = 0; i < fakes_used; i++) {
        cr_assert(fakes[i].closed);
        fake_stream_fini(&fakes[i]);
    }
    config_reader_fini(&netloop.config);
    config_cell_fini(&config);
    loop_free(netloop.loop);
    close(log_fd);
}

static inline struct fake_stream *connection(void)
{
    atomic_fetch_add(&netloop.placed, 1);
    client_new(&netloop, &listener, NULL);
    return &fakes[fakes_used - 1];
}

/* Is the connection read from? It is given a byte to see. */
static inline bool is_read(struct fake_stream *fake)
{
    buf_put_byte(&fake->in, 0);
    settle();
    return fake->in_at == fake->in.size;
}

/* How often a text is in the log. */
static inline int logged(const char *text)
{
    static char log[LOG_MAX];
    ssize_t size = pread(log_fd, log, sizeof(log) - 1, 0);
    int count = 0;
    cr_assert_geq(size, 0);
    log[size] = '\0';
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

/* A request of the number `correlation_id` comes; `body` is of its API's. */
static inline void put_request(struct fake_stream *fake, int16_t key, int16_t version,
                               int32_t correlation_id, const void *body)
{
    struct buf frame = {0};
    codec_encode_request_header(key, version, correlation_id, STR("me"), &frame);
    cr_assert_eq(codec_encode(api_find(key)->request, version, body, &frame), ERR_OK);
    buf_put_be32(&fake->in, (uint32_t)frame.size);
    buf_put(&fake->in, frame.data, frame.size);
    buf_fini(&frame);
}

static inline void put_api_versions(struct fake_stream *fake, int32_t correlation_id)
{
    struct api_versions_request body;
    codec_init(&api_versions_request_desc, &body);
    put_request(fake, API_API_VERSIONS, 0, correlation_id, &body);
}

/* The correlation ids of the replies, "1 2 3 ". */
static inline void expect_replies(const struct fake_stream *fake, const char *wanted)
{
    struct buf got = {0};
    for (size_t at = 0; at + 8 <= fake->out.size; at += 4 + be32_get(fake->out.data + at)) {
        buf_printf(&got, "%u ", be32_get(fake->out.data + at + 4));
    }
    buf_put_byte(&got, 0);
    cr_assert_str_eq((const char *)got.data, wanted);
    buf_fini(&got);
}
