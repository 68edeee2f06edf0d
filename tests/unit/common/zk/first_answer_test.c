/* A ZooKeeper that accepts the first connection and never answers on it, as one does that is just
 * beginning to listen: the broker must not wait for two thirds of its session timeout. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rt/clock.h"
#include "support/zk_welcome.h"
#include "zk/zk.h"

enum { SESSION_TIMEOUT_MS = 300000, WAIT_MS = 100000, CONNECTIONS_MAX = 16 };

struct server {
    int listener;
    uint16_t port;
    _Atomic int accepted;
};

static void *serve(void *arg)
{
    struct server *server = arg;
    int connections[CONNECTIONS_MAX];
    int count = 0;
    for (; count < CONNECTIONS_MAX; count++) {
        connections[count] = accept(server->listener, NULL, NULL);
        if (connections[count] < 0) {
            break;
        }
        if (atomic_fetch_add(&server->accepted, 1) > 0) {
            zk_welcome(connections[count], SESSION_TIMEOUT_MS);
        }
    }
    for (int i = 0; i < count; i++) {
        close(connections[i]);
    }
    return NULL;
}

static void on_session(void *arg, enum zk_session_event event)
{
    bool *connected = arg;
    *connected = event == ZK_SESSION_CONNECTED;
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    (void)arg, (void)event, (void)path;
}

Test(first_answer, a_connection_that_is_never_answered_is_replaced)
{
    struct server server = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    pthread_t thread;
    bool connected = false;
    char connect_to[32];
    cr_assert_eq(bind(server.listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(server.listener, CONNECTIONS_MAX), 0);
    cr_assert_eq(getsockname(server.listener, (struct sockaddr *)&address, &size), 0);
    cr_assert_eq(pthread_create(&thread, NULL, serve, &server), 0);
    snprintf(connect_to, sizeof(connect_to), "127.0.0.1:%u", ntohs(address.sin_port));

    static const struct zk_events events = {.on_session = on_session, .on_watch = on_watch};
    struct loop *loop = loop_new("test", -1, clock_system());
    struct zk_factory *factory = zk_client_factory();
    struct zk *zk =
        factory->open(factory, loop, connect_to, SESSION_TIMEOUT_MS, &events, &connected);
    int64_t deadline_ms = clock_mono_ms(clock_system()) + WAIT_MS;
    while (!connected) {
        if (!loop_turn(loop)) {
            sched_yield();
        }
        cr_assert_lt(clock_mono_ms(clock_system()), deadline_ms,
                     "waited for the silent connection");
    }
    cr_expect_geq(atomic_load(&server.accepted), 2);
    zk->ops->close(zk);
    while (loop_turn(loop)) {
    }
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(server.listener);
    loop_free(loop);
}
