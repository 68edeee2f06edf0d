/* zk_fixture.h: a ZooKeeper in memory, a clock that moves when told, and one loop driven by hand,
 * on which everything under test runs. */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rng.h"
#include "rt/loop.h"
#include "zk/zk_mem.h"

#define UNUSED_OK __attribute__((unused))

enum { SESSION_TIMEOUT_MS = 6000, PASS_STEP_MS = 10, TURNS_MAX = 100000 };

struct world {
    struct clock_manual clock;
    struct loop *loop;
    struct zk_mem *mem;
};

/* One session. Whoever is under test gets its watch events, and is told when it expired. */
struct client {
    struct world *world;
    struct zk *zk;
    bool connected;
    bool expired;
    void (*on_watch)(struct client *client, enum zk_watch_event event, struct str path);
    void (*on_expired)(struct client *client);
};

static UNUSED_OK void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){0};
    clock_manual_init(&w->clock, 1700000000000);
    clock_manual_advance(&w->clock, 1000000000);
    w->loop = loop_new("test", -1, &w->clock.clock);
    w->mem = zk_mem_new(&w->clock.clock, seed);
}

/* Turn until nothing moves any more without time. */
static UNUSED_OK void run(struct world *w)
{
    int turns = 0;
    while (loop_turn(w->loop)) {
        cr_assert_lt(++turns, TURNS_MAX, "it never comes to rest");
    }
}

/* Let time pass, and everything happen that is due meanwhile. */
static UNUSED_OK void pass(struct world *w, int64_t ms)
{
    run(w);
    for (int64_t passed = 0; passed < ms; passed += PASS_STEP_MS) {
        clock_manual_advance(&w->clock, (int64_t)PASS_STEP_MS * 1000000);
        zk_mem_tick(w->mem);
        run(w);
    }
}

static UNUSED_OK void world_fini(struct world *w)
{
    run(w);
    zk_mem_free(w->mem);
    loop_free(w->loop);
}

static void client_on_session(void *arg, enum zk_session_event event)
{
    struct client *client = arg;
    client->connected = event == ZK_SESSION_CONNECTED;
    if (event == ZK_SESSION_EXPIRED) {
        client->expired = true;
        if (client->on_expired != NULL) {
            client->on_expired(client);
        }
    }
}

static void client_on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    struct client *client = arg;
    if (client->on_watch != NULL) {
        client->on_watch(client, event, path);
    }
}

static UNUSED_OK void client_open(struct client *client, struct world *w)
{
    static const struct zk_events events = {client_on_session, client_on_watch};
    struct zk_factory *factory = zk_mem_factory(w->mem);
    client->world = w;
    client->connected = false;
    client->expired = false;
    client->zk = factory->open(factory, w->loop, "memory", SESSION_TIMEOUT_MS, &events, client);
    for (int i = 0; i < TURNS_MAX && !client->connected; i++) {
        loop_turn(w->loop);
    }
    cr_assert(client->connected);
}

static UNUSED_OK void client_close(struct client *client)
{
    if (client->zk != NULL) {
        client->zk->ops->close(client->zk);
        client->zk = NULL;
    }
}

static UNUSED_OK int64_t session_of(const struct client *client)
{
    return client->zk->ops->session_id(client->zk);
}

/* The text of a node; "(none)" where there is none. Valid until the next call. */
static UNUSED_OK const char *node_text(struct world *w, const char *path)
{
    static char text[1024];
    struct buf data = {0};
    bool there = zk_mem_peek(w->mem, path, &data, NULL);
    snprintf(text, sizeof(text), "%.*s", there ? (int)data.size : 6,
             there ? (const char *)data.data : "(none)");
    buf_fini(&data);
    return text;
}

static UNUSED_OK struct zk_stat node_stat(struct world *w, const char *path)
{
    struct zk_stat stat = {.version = -1};
    struct buf data = {0};
    (void)zk_mem_peek(w->mem, path, &data, &stat);
    buf_fini(&data);
    return stat;
}
