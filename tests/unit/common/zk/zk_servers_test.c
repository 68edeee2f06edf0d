/* Which servers a session connects to: what names mean, now and later, and a list in which one is
 * dead. The servers are ours, and know of ZooKeeper's protocol only how a session is begun. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/clock.h"
#include "support/lookup.h"
#include "support/zk_welcome.h"
#include "zk/zk.h"
#include "zk/zk_connect.h"

/* Two thirds of the timeout pass before a silent server is left, a sixtieth between two rounds. */
enum { SESSION_TIMEOUT_MS = 60000, WAIT_MS = 100000, LOOK_UPS_MAX = 64 };

/* ---- names, which are looked up here and nowhere else */

static const char *_Atomic meaning = "127.0.0.1"; /* of "zk-host"; NULL: none */
static _Atomic int look_ups;                      /* of it, without an answer */
static _Atomic int64_t look_up_ms[LOOK_UPS_MAX];

/* Both addresses, in this order. */
static int look_two_up(const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    int rc = lookup_really("127.0.0.1", service, hints, list);
    struct addrinfo *last = *list;
    while (rc == 0 && last->ai_next != NULL) {
        last = last->ai_next;
    }
    return rc == 0 ? lookup_really("127.0.0.2", service, hints, &last->ai_next) : rc;
}

/* Ours comes before the library's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    if (strcmp(name, "no-host") == 0) {
        return EAI_NONAME;
    }
    if (strcmp(name, "two-hosts") == 0) {
        return look_two_up(service, hints, list);
    }
    if (strcmp(name, "zk-host") != 0) {
        return lookup_really(name, service, hints, list);
    }
    const char *means = atomic_load(&meaning);
    if (means == NULL) {
        int number = atomic_load(&look_ups);
        if (number < LOOK_UPS_MAX) {
            atomic_store(&look_up_ms[number], clock_mono_ms(clock_system()));
        }
        atomic_fetch_add(&look_ups, 1);
        return EAI_NONAME;
    }
    return lookup_really(means, service, hints, list);
}

static void resolves(const char *servers, const char *wanted)
{
    char *got = zk_connect_resolve(servers);
    cr_assert_not_null(got, "%s", servers);
    cr_assert_str_eq(got, wanted, "%s", servers);
    mem_free(got);
}

Test(zk_servers, are_numbers_of_an_odd_count)
{
    resolves("127.0.0.1:2181", "127.0.0.1:2181");
    resolves("zk-host:2181", "127.0.0.1:2181");
    resolves("::1:2181,127.0.0.1:2182,127.0.0.2:2183", "::1:2181,127.0.0.1:2182,127.0.0.2:2183");
    resolves("127.0.0.2:1,127.0.0.3:2", "127.0.0.2:1,127.0.0.3:2,127.0.0.2:1");
    resolves("two-hosts:1", "127.0.0.1:1,127.0.0.2:1,127.0.0.1:1");
    resolves("no-host:1,zk-host:2", "127.0.0.1:2");
    cr_assert_null(zk_connect_resolve("no-host:1"));
    cr_assert_null(zk_connect_resolve(""));
}

/* ---- a server */

struct server {
    int listener;
    struct sockaddr_in at;
    _Atomic int connection; /* the last one; -1: none */
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct server *server = arg;
    for (;;) {
        int connection = accept(server->listener, NULL, NULL);
        if (connection < 0) {
            return NULL;
        }
        int before = atomic_exchange(&server->connection, connection);
        if (before >= 0) {
            close(before);
        }
        zk_welcome(connection, SESSION_TIMEOUT_MS);
    }
}

/* On a port of its own, or on that one. */
static void server_bind(struct server *server, const char *host, in_port_t port)
{
    socklen_t size = sizeof(server->at);
    int on = 1;
    server->at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    server->at.sin_addr.s_addr = inet_addr(host);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    atomic_init(&server->connection, -1);
    cr_assert_eq(setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    cr_assert_eq(bind(server->listener, (struct sockaddr *)&server->at, size), 0);
    cr_assert_eq(getsockname(server->listener, (struct sockaddr *)&server->at, &size), 0);
}

static void server_start(struct server *server, const char *host, in_port_t port)
{
    server_bind(server, host, port);
    cr_assert_eq(listen(server->listener, 16), 0);
    cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

/* The connection ends; the server goes on. */
static void server_drop(struct server *server)
{
    shutdown(atomic_load(&server->connection), SHUT_RDWR);
}

static void server_end(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    if (atomic_load(&server->connection) >= 0) {
        close(atomic_load(&server->connection));
    }
}

/* ---- a session */

struct client {
    struct loop *loop;
    struct zk *zk;
    int connected; /* how often */
    int lost;
};

static void on_session(void *arg, enum zk_session_event event)
{
    struct client *client = arg;
    client->connected += event == ZK_SESSION_CONNECTED ? 1 : 0;
    client->lost += event == ZK_SESSION_DISCONNECTED ? 1 : 0;
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    (void)arg, (void)event, (void)path;
}

static void client_open(struct client *client, const char *connect)
{
    static const struct zk_events events = {.on_session = on_session, .on_watch = on_watch};
    struct zk_factory *factory = zk_client_factory();
    *client = (struct client){.loop = loop_new("test", -1, clock_system())};
    client->zk = factory->open(factory, client->loop, connect, SESSION_TIMEOUT_MS, &events, client);
}

static void wait_until(struct client *client, const int *count, int wanted, const char *what)
{
    int64_t deadline_ms = clock_mono_ms(clock_system()) + WAIT_MS;
    while (*count < wanted) {
        if (!loop_turn(client->loop)) {
            sched_yield();
        }
        cr_assert_lt(clock_mono_ms(clock_system()), deadline_ms, "%s", what);
    }
}

static void client_end(struct client *client)
{
    client->zk->ops->close(client->zk);
    while (loop_turn(client->loop)) {
    }
    loop_free(client->loop);
}

/* Of two servers one is dead. The other one ended a connection, as it does when it is restarted:
 * the session went to the dead one again and again, and never came back. */
Test(zk_servers, a_session_finds_the_one_of_two_that_is_alive)
{
    enum { TIMES = 5 };
    struct server alive;
    struct server dead; /* its port is taken, and nobody listens */
    struct client client;
    char connect[64];
    server_start(&alive, "127.0.0.1", 0);
    server_bind(&dead, "127.0.0.1", 0);
    snprintf(connect, sizeof(connect), "127.0.0.1:%u,127.0.0.1:%u", ntohs(alive.at.sin_port),
             ntohs(dead.at.sin_port));
    client_open(&client, connect);
    for (int i = 1; i <= TIMES; i++) {
        wait_until(&client, &client.connected, i, "waited for the server that is alive");
        server_drop(&alive);
        wait_until(&client, &client.lost, i, "waited for the end of the connection");
    }
    client_end(&client);
    server_end(&alive);
    close(dead.listener);
}

/* The only server is made anew, elsewhere, and meanwhile its name means nothing, as in a network of
 * containers. The library looked the name up again and again, as fast as it could, and kept a
 * processor and the name server busy. */
Test(zk_servers, a_name_that_means_nothing_is_looked_up_now_and_then_until_it_does)
{
    enum { LOOK_UPS = 4, PAUSE_MIN_MS = 500 };
    struct server server;
    struct server later;
    struct client client;
    char connect[64];
    server_start(&server, "127.0.0.1", 0);
    in_port_t port = server.at.sin_port;
    snprintf(connect, sizeof(connect), "zk-host:%u", ntohs(port));
    client_open(&client, connect);
    wait_until(&client, &client.connected, 1, "waited for the server");
    atomic_store(&meaning, NULL);
    server_end(&server);
    wait_until(&client, &client.lost, 1, "waited for the end of the connection");
    int64_t deadline_ms = clock_mono_ms(clock_system()) + WAIT_MS;
    while (atomic_load(&look_ups) < LOOK_UPS) {
        sched_yield();
        cr_assert_lt(clock_mono_ms(clock_system()), deadline_ms, "waited for a look-up");
    }
    for (int i = 1; i < LOOK_UPS; i++) {
        cr_assert_geq(atomic_load(&look_up_ms[i]) - atomic_load(&look_up_ms[i - 1]), PAUSE_MIN_MS);
    }
    server_start(&later, "127.0.0.2", port);
    atomic_store(&meaning, "127.0.0.2");
    wait_until(&client, &client.connected, 2, "waited for the server at its new address");
    client_end(&client);
    server_end(&later);
}
