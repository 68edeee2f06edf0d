/* Hearing of changed configurations, over a ZooKeeper in memory. */
#include "controller/config_changes.h"

#include "zk_fixture.h"
#include "znode/path.h"

enum { OPERATIONS_MAX = 12 };

/* A broker that listens; what it was told is written down: "topics t a=1;" */
struct listener {
    struct client client;
    struct config_changes_host host;
    struct config_changes *changes;
    struct buf told;
    int loaded;
};

static void on_changed(struct config_changes_host *host, struct str type, struct str name,
                       const struct znode_config *config)
{
    struct listener *l = container_of(host, struct listener, host);
    buf_printf(&l->told, "%.*s %.*s", STR_ARG(type), STR_ARG(name));
    if (config == NULL) {
        buf_put_text(&l->told, " gone");
    }
    for (int32_t i = 0; config != NULL && i < config->pairs_count; i++) {
        buf_printf(&l->told, " %.*s=%.*s", STR_ARG(config->pairs[i].key),
                   STR_ARG(config->pairs[i].value));
    }
    buf_put_text(&l->told, ";");
}

static void on_loaded(struct config_changes_host *host)
{
    struct listener *l = container_of(host, struct listener, host);
    l->loaded++;
    buf_put_text(&l->told, "loaded;");
}

static void on_watch(struct client *client, enum zk_watch_event event, struct str path)
{
    config_changes_on_watch(container_of(client, struct listener, client)->changes, event, path);
}

static void on_expired(struct client *client)
{
    config_changes_session_lost(container_of(client, struct listener, client)->changes);
}

static void listener_init(struct listener *l, struct world *w)
{
    *l = (struct listener){0};
    l->host = (struct config_changes_host){on_changed, on_loaded};
    l->client.on_watch = on_watch;
    l->client.on_expired = on_expired;
    l->changes = config_changes_new(w->loop, &l->host);
    client_open(&l->client, w);
}

static void listener_fini(struct listener *l)
{
    config_changes_free(l->changes);
    client_close(&l->client);
    buf_fini(&l->told);
}

static void start(struct world *w, struct listener *l)
{
    config_changes_start(l->changes, l->client.zk);
    run(w);
}

static void expect_told(struct listener *l, const char *wanted)
{
    buf_put_byte(&l->told, 0);
    cr_assert_str_eq((const char *)l->told.data, wanted);
    buf_clear(&l->told);
}

static void world_with_config(struct world *w)
{
    world_init(w, 1);
    zk_mem_poke(w->mem, "/config/changes", "");
    zk_mem_poke(w->mem, "/config/topics/t", "{\"version\":1,\"config\":{\"a\":\"1\"}}");
    zk_mem_poke(w->mem, "/config/brokers/<default>", "{\"version\":1,\"config\":{\"b\":\"2\"}}");
}

static void notify(struct world *w, int number, const char *entity)
{
    char path[64];
    char data[128];
    snprintf(path, sizeof(path), "/config/changes/config_change_%010d", number);
    snprintf(data, sizeof(data), "{\"version\":2,\"entity_path\":\"%s\"}", entity);
    zk_mem_poke(w->mem, path, data);
}

Test(config_changes, a_session_begins_with_everything_that_is_configured)
{
    struct world w;
    struct listener l;
    world_with_config(&w);
    listener_init(&l, &w);
    start(&w, &l);
    expect_told(&l, "topics t a=1;brokers <default> b=2;loaded;");
    cr_assert_eq(l.loaded, 1);
    listener_fini(&l);
    world_fini(&w);
}

Test(config_changes, a_notification_says_where_to_look_and_the_node_says_what)
{
    struct world w;
    struct listener l;
    world_with_config(&w);
    listener_init(&l, &w);
    start(&w, &l);
    buf_clear(&l.told);
    zk_mem_poke(w.mem, "/config/topics/t", "{\"version\":1,\"config\":{\"a\":\"3\"}}");
    notify(&w, 0, "topics/t");
    run(&w);
    expect_told(&l, "topics t a=3;");
    notify(&w, 1, "users/alice/clients/c1");
    notify(&w, 2, "topics/x");
    notify(&w, 3, "nonsense");
    run(&w);
    expect_told(&l, "users alice/clients/c1 gone;topics x gone;");
    listener_fini(&l);
    world_fini(&w);
}

/* Whichever operation is lost, before or after it happened: everything is told in the end, and the
 * end of loading once. */
Test(config_changes, every_operation_may_be_lost)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct world w;
            struct listener l;
            world_with_config(&w);
            listener_init(&l, &w);
            zk_mem_lose(w.mem, session_of(&l.client), (enum zk_mem_loss)loss, k);
            config_changes_start(l.changes, l.client.zk);
            pass(&w, 500);
            cr_assert_eq(l.loaded, 1);
            buf_clear(&l.told);
            notify(&w, 0, "topics/t");
            pass(&w, 500);
            expect_told(&l, "topics t a=1;");
            listener_fini(&l);
            world_fini(&w);
        }
    }
}

/* A new session begins anew: what happened in between is told. */
Test(config_changes, a_new_session_tells_everything_again)
{
    struct world w;
    struct listener l;
    world_with_config(&w);
    listener_init(&l, &w);
    start(&w, &l);
    zk_mem_expire(w.mem, session_of(&l.client));
    run(&w);
    zk_mem_poke(w.mem, "/config/topics/t", "{\"version\":1,\"config\":{\"a\":\"9\"}}");
    notify(&w, 0, "topics/t");
    run(&w);
    buf_clear(&l.told);
    client_close(&l.client);
    client_open(&l.client, &w);
    start(&w, &l);
    expect_told(&l, "topics t a=9;brokers <default> b=2;loaded;topics t a=9;");
    listener_fini(&l);
    world_fini(&w);
}

/* A session that ends while everything is being read has not told everything: a broker that
 * believed so would serve topics by the defaults. */
Test(config_changes, a_session_that_ends_while_loading_has_not_loaded)
{
    for (int turns = 0; turns < 4; turns++) {
        struct world w;
        struct listener l;
        world_with_config(&w);
        listener_init(&l, &w);
        l.client.on_expired = NULL; /* the results come before that news */
        config_changes_start(l.changes, l.client.zk);
        for (int i = 0; i < turns; i++) {
            loop_turn(w.loop);
        }
        int loaded = l.loaded;
        bool all_told = l.told.size > strlen("topics t a=1;brokers <default> b=2;");
        zk_mem_expire(w.mem, session_of(&l.client));
        pass(&w, 500);
        cr_assert_eq(l.loaded, loaded, "%d turns", turns);
        cr_assert(l.loaded == 0 || all_told);
        config_changes_session_lost(l.changes);
        listener_fini(&l);
        world_fini(&w);
    }
}

/* Notifications would pile up for as long as no broker restarts: whoever has seen one removes it
 * when it is a quarter of an hour old, the next time that something changes. */
Test(config_changes, old_notifications_are_removed_by_brokers_that_keep_running)
{
    struct world w;
    struct listener l;
    world_with_config(&w);
    listener_init(&l, &w);
    start(&w, &l);
    notify(&w, 0, "topics/t");
    run(&w);
    clock_manual_advance(&w.clock, (int64_t)(CONFIG_CHANGES_KEEP_MS / 2) * 1000000);
    notify(&w, 1, "topics/t");
    run(&w);
    clock_manual_advance(&w.clock, (int64_t)(CONFIG_CHANGES_KEEP_MS / 2 + 1000) * 1000000);
    notify(&w, 2, "topics/t");
    run(&w);
    struct buf left = {0};
    zk_mem_dump(w.mem, "/config/changes", &left);
    buf_put_byte(&left, 0);
    cr_assert_null(strstr((char *)left.data, "config_change_0000000000"), "%s", (char *)left.data);
    cr_assert(strstr((char *)left.data, "config_change_0000000001"), "%s", (char *)left.data);
    cr_assert(strstr((char *)left.data, "config_change_0000000002"), "%s", (char *)left.data);
    buf_fini(&left);
    listener_fini(&l);
    world_fini(&w);
}

/* Also those that were there when it came. */
Test(config_changes, old_notifications_are_removed_at_the_start)
{
    struct world w;
    struct listener l;
    world_with_config(&w);
    notify(&w, 7, "topics/t");
    clock_manual_advance(&w.clock, (int64_t)(CONFIG_CHANGES_KEEP_MS + 1000) * 1000000);
    listener_init(&l, &w);
    start(&w, &l);
    cr_assert_str_eq(node_text(&w, "/config/changes/config_change_0000000007"), "(none)");
    listener_fini(&l);
    world_fini(&w);
}

/* Its numbers begin again. Until the next session no change was heard of: the watch had gone with
 * the node, and the numbers were smaller than those that had been seen. */
Test(config_changes, are_heard_of_when_their_node_was_removed_and_made_again)
{
    for (int at_once = 0; at_once <= 1; at_once++) {
        struct world w;
        struct listener l;
        world_with_config(&w);
        listener_init(&l, &w);
        start(&w, &l);
        notify(&w, 8, "topics/x");
        run(&w);
        zk_mem_poke_remove(w.mem, "/config/changes/config_change_0000000008");
        zk_mem_poke_remove(w.mem, "/config/changes");
        if (!at_once) {
            run(&w);
        }
        zk_mem_poke(w.mem, "/config/changes", "");
        if (!at_once) {
            run(&w);
        }
        buf_clear(&l.told);
        notify(&w, 0, "topics/t");
        run(&w);
        expect_told(&l, "topics t a=1;");
        notify(&w, 1, "topics/x");
        run(&w);
        expect_told(&l, "topics x gone;");
        listener_fini(&l);
        world_fini(&w);
    }
}

Test(config_changes, are_heard_of_when_their_node_is_made_after_the_session_began)
{
    struct world w;
    struct listener l;
    world_with_config(&w);
    zk_mem_poke_remove(w.mem, "/config/changes");
    listener_init(&l, &w);
    start(&w, &l);
    buf_clear(&l.told);
    notify(&w, 0, "topics/t"); /* makes it */
    run(&w);
    expect_told(&l, "topics t a=1;");
    listener_fini(&l);
    world_fini(&w);
}
