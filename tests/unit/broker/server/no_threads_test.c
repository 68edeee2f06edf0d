/* A machine, or a container, that has no more threads: the broker says so and ends. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "net/net.h"
#include "server/server.h"
#include "zk/zk_mem.h"

static _Atomic int made; /* threads */
static _Atomic int fail_at = -1;

/* Ours comes before the library's: the thread of that number is refused. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    union {
        void *symbol;
        create_fn *fn;
    } real = {.symbol = dlsym(RTLD_NEXT, "pthread_create")};
    if (atomic_fetch_add(&made, 1) == atomic_load(&fail_at)) {
        return EAGAIN;
    }
    return real.fn(thread, attr, fn, arg);
}

struct outcome {
    sem_t done;
    enum err err;
};

static void on_done(void *arg, enum err err, const char *text)
{
    struct outcome *outcome = arg;
    (void)text;
    outcome->err = err;
    sem_post(&outcome->done);
}

/* It had said so and waited for ever for a loop without a thread to stop it. `loop`: which of its
 * loops is left without. */
static void check_end(int loop)
{
    const char *overrides[] = {"log.dirs=/nonexistent", "zookeeper.connect=memory",
                               "num.network.threads=2", "broker.id=1"};
    struct config_load_options load = {.overrides = overrides, .overrides_count = 4};
    struct config *config;
    struct errmsg msg;
    struct outcome started = {.err = ERR_OK};
    struct outcome stopped = {.err = ERR_OK};
    struct net_tcp_options sockets = {-1, -1};
    cr_assert_eq(config_load(&load, &config, &msg), ERR_OK, "%s", msg.text);
    struct zk_mem *zk = zk_mem_new(clock_system(), 1);
    struct env env = {.clock = clock_system(),
                      .fs = fs_posix(),
                      .net = net_tcp_new(&sockets),
                      .zk = zk_mem_factory(zk),
                      .boot_id = "",
                      .threads = true};
    sem_init(&started.done, 0, 0);
    sem_init(&stopped.done, 0, 0);
    struct server *server = server_new(&env, config);
    atomic_store(&fail_at, atomic_load(&made) + loop);
    server_start(server, on_done, &started);
    sem_wait(&started.done);
    cr_assert_neq(started.err, ERR_OK);
    server_stop(server, on_done, &stopped);
    sem_wait(&stopped.done);
    atomic_store(&fail_at, -1);
    server_free(server);
    net_tcp_free(env.net);
    zk_mem_free(zk);
    config_put(config);
}

Test(server, ends_when_no_thread_can_be_started, .timeout = 100)
{
    check_end(0);
    check_end(1);
    check_end(2);
}
