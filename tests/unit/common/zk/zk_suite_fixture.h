/* zk_suite_fixture.h: sessions of one ZooKeeper, in memory or real, on one loop, and calls that
 * wait for their answer. */
#pragma once

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/mem.h"
#include "zk/zk.h"
#include "zk/zk_calls.h"
#include "zk/zk_mem.h"

/* A long session: of a short one the connection is lost whenever the machine has something else to
 * do for a second, and every call that is under way with it. */
enum { SESSIONS_MAX = 4, WAIT_MS = 200000, SESSION_TIMEOUT_MS = 20000 };

/* One session and what it heard. */
struct client {
    struct zk *zk;
    struct world *world;
    bool connected;
    bool disconnected;
    bool expired;
    struct buf events; /* "created /a;" */
};

struct world {
    struct zk_factory *factory;
    struct zk_mem *mem;        /* NULL: a real one */
    struct clock_manual clock; /* of the one in memory */
    char connect[128];
    struct loop *loop;
    struct client clients[SESSIONS_MAX];
    int clients_count;
};

static inline void on_session(void *arg, enum zk_session_event event)
{
    struct client *client = arg;
    client->connected = event == ZK_SESSION_CONNECTED;
    client->disconnected = client->disconnected || event == ZK_SESSION_DISCONNECTED;
    client->expired = client->expired || event == ZK_SESSION_EXPIRED;
}

static inline void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    static const char *const names[] = {"created", "deleted", "changed", "children"};
    struct client *client = arg;
    buf_printf(&client->events, "%s %.*s;", names[event], STR_ARG(path));
}

/* Turn the loop until a condition holds; fails after WAIT_MS. */
static inline void run_until(struct world *w, bool (*done)(void *arg), void *arg)
{
    int64_t deadline_ms = clock_mono_ms(clock_system()) + WAIT_MS;
    while (!done(arg)) {
        if (!loop_turn(w->loop)) {
            sched_yield();
        }
        cr_assert_lt(clock_mono_ms(clock_system()), deadline_ms, "timed out");
    }
}

/* Something that it watches. */
static inline bool has_heard(void *arg)
{
    return ((struct client *)arg)->events.size > 0;
}

static inline bool flag_set(void *arg)
{
    return *(bool *)arg;
}

static inline struct client *client_new(struct world *w)
{
    static const struct zk_events events = {on_session, on_watch};
    struct client *client = &w->clients[w->clients_count++];
    client->world = w;
    client->zk =
        w->factory->open(w->factory, w->loop, w->connect, SESSION_TIMEOUT_MS, &events, client);
    run_until(w, flag_set, &client->connected);
    return client;
}

static inline void client_close(struct client *client)
{
    client->zk->ops->close(client->zk);
    client->zk = NULL;
    buf_fini(&client->events);
}

static inline void world_fini(struct world *w)
{
    for (int i = 0; i < w->clients_count; i++) {
        if (w->clients[i].zk != NULL) {
            client_close(&w->clients[i]);
        }
    }
    while (loop_turn(w->loop)) {
    }
}

/* ---- ZooKeeper in memory. */

static inline void mem_world_init(struct world *w, const char *connect)
{
    *w = (struct world){0};
    clock_manual_init(&w->clock, 1000);
    w->loop = loop_new("test", -1, &w->clock.clock);
    w->mem = zk_mem_new(&w->clock.clock, 1);
    w->factory = zk_mem_factory(w->mem);
    snprintf(w->connect, sizeof(w->connect), "%s", connect);
}

static inline void mem_world_pass(struct world *w, int64_t ms)
{
    clock_manual_advance(&w->clock, ms * 1000000);
}

static inline void mem_world_fini(struct world *w)
{
    world_fini(w);
    zk_mem_tick(w->mem);
    cr_assert_eq(zk_mem_sessions(w->mem), 0);
    loop_free(w->loop);
    zk_mem_free(w->mem);
}

/* ---- Synchronous calls for tests: the result is copied. */

struct reply {
    bool done;
    enum err err;
    struct zk_stat stat;
    bool null;
    char data[256];
    char path[128];
    char children[256];  /* "a,b,c" */
    char results[256];   /* "OK,NOT_FOUND" by name */
    struct zk_stat last; /* stat of the last step of a multi */
    struct buf *order;   /* appended to when the result comes */
    char mark;
};

static inline void on_reply(void *arg, const struct zk_result *result)
{
    struct reply *reply = arg;
    reply->done = true;
    reply->err = result->err;
    reply->stat = result->stat;
    reply->null = result->data.data == NULL;
    snprintf(reply->data, sizeof(reply->data), "%.*s", (int)result->data.size,
             result->data.data != NULL ? (const char *)result->data.data : "");
    snprintf(reply->path, sizeof(reply->path), "%.*s", STR_ARG(result->path));
    size_t at = 0;
    for (int32_t i = 0; i < result->children_count; i++) {
        at += (size_t)snprintf(reply->children + at, sizeof(reply->children) - at, "%s%.*s",
                               i > 0 ? "," : "", STR_ARG(result->children[i]));
    }
    at = 0;
    for (int32_t i = 0; i < result->results_count; i++) {
        at += (size_t)snprintf(reply->results + at, sizeof(reply->results) - at, "%s%s",
                               i > 0 ? "," : "", err_text(result->results[i].err));
        reply->last = result->results[i].stat;
        if (result->results[i].path.ptr != NULL) {
            snprintf(reply->path, sizeof(reply->path), "%.*s", STR_ARG(result->results[i].path));
        }
    }
    if (reply->order != NULL) {
        buf_put_byte(reply->order, (uint8_t)reply->mark);
    }
}

static inline void wait_for(struct client *c, struct reply *reply)
{
    run_until(c->world, flag_set, &reply->done);
}

static inline struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s != NULL ? strlen(s) : 0};
}

static inline struct reply create(struct client *c, const char *path, const char *data, int flags)
{
    struct reply reply = {0};
    c->zk->ops->create(c->zk, path, text(data), flags, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline struct reply set(struct client *c, const char *path, const char *data,
                               int32_t version)
{
    struct reply reply = {0};
    c->zk->ops->set(c->zk, path, text(data), version, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline struct reply get(struct client *c, const char *path, bool watch)
{
    struct reply reply = {0};
    c->zk->ops->get(c->zk, path, watch, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline struct reply exists(struct client *c, const char *path, bool watch)
{
    struct reply reply = {0};
    c->zk->ops->exists(c->zk, path, watch, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline struct reply children(struct client *c, const char *path, bool watch)
{
    struct reply reply = {0};
    c->zk->ops->children(c->zk, path, watch, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline struct reply erase(struct client *c, const char *path, int32_t version)
{
    struct reply reply = {0};
    c->zk->ops->remove(c->zk, path, version, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline struct reply multi(struct client *c, const struct zk_op *ops, int32_t count)
{
    struct reply reply = {0};
    c->zk->ops->multi(c->zk, ops, count, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static inline void expect_events(struct client *c, const char *wanted)
{
    buf_put_byte(&c->events, 0);
    cr_assert_str_eq((const char *)c->events.data, wanted);
    buf_clear(&c->events);
}

/* A call of zk_calls ends once; mark: 'r' when it was repeated. */
static inline void on_call(void *arg, const struct zk_result *result, bool repeated)
{
    struct reply *reply = arg;
    cr_assert(!reply->done);
    on_reply(reply, result);
    reply->mark = repeated ? 'r' : 'f';
}
