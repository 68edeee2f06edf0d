/* bench_floor: see floor.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/floor/floor.h"

enum { EVENTS_MAX = 256, BACKLOG = 4096 };

void floor_end(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t floor_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int listen_here(struct server *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        floor_end("listen");
    }
    server->port = ntohs(at.sin_port);
    return fd;
}

static void accept_all(struct server *server, int listener)
{
    int fd;
    int on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        client_new(server, fd);
    }
}

/* Whoever started this holds the other end of its standard input: with that one, this one ends. */
static void watch_input(struct server *server)
{
    struct epoll_event event = {.data.ptr = server};
    (void)epoll_ctl(server->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event); /* a file has no end */
}

/* ---- a turn ---- */

static void answer(struct server *server, struct client *client, bool must_answer)
{
    if (fetch_try(server, client, must_answer)) {
        client_go_on(server, client);
    }
}

/* Whoever waits for what moved in this turn. */
static void wake(struct server *server)
{
    struct list *link;
    list_for_each_safe (one, &server->unreleased) {
        client_release(server, container_of(one, struct client, unreleased));
    }
    while ((link = list_pop_front(&server->moved)) != NULL) {
        struct part *part = container_of(link, struct part, moved);
        part->topic->uses++;
        list_for_each_safe (waiter, &part->waiters) {
            answer(server, container_of(waiter, struct wanted, link)->client, false);
        }
        topic_put(part->topic);
    }
}

/* Answer those whose time is up; until when to wait for the next, in ms. */
static int expire(struct server *server)
{
    while (!list_empty(&server->parked)) {
        struct fetch *fetch = container_of(server->parked.next, struct fetch, link);
        uint64_t now = floor_now_ns();
        if (fetch->deadline_ns > now) {
            return (int)((fetch->deadline_ns - now) / 1000000u) + 1;
        }
        answer(server, container_of(fetch, struct client, fetch), true);
    }
    return -1;
}

__attribute__((noreturn)) static void run(struct server *server, int listener)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(server->epoll, events, EVENTS_MAX, expire(server));
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all(server, listener);
            } else if (events[i].data.ptr == server) {
                exit(0);
            } else if (events[i].data.ptr == server->flush) {
                flush_on_event(server);
            } else if (events[i].data.ptr == server->upstream) {
                upstream_on_event(server);
            } else {
                client_on_event(server, events[i].data.ptr, events[i].events);
            }
        }
        flush_go_on(server);
        if (!list_empty(&server->moved)) {
            wake(server);
        }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_floor FOLDER [ID LEADER-PORT]\n"
                    "Prints \"port N\" when it listens on loopback. With an id, 2 or 3, and a port "
                    "it follows the floor there. Ends when its standard input does.\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct server server = {.id = FLOOR_LEADER_ID};
    struct rlimit files;
    if (argc != 2 && argc != 4) {
        return usage();
    }
    server.folder = argv[1];
    list_init(&server.topics);
    list_init(&server.moved);
    list_init(&server.parked);
    list_init(&server.unreleased);
    server.shared = mem_alloc(FLOOR_RECEIVE_BYTES);
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int listener = listen_here(&server);
    watch_input(&server);
    if (argc == 4) {
        server.id = (int32_t)strtol(argv[2], NULL, 10);
        server.upstream = upstream_connect(&server, (uint16_t)strtol(argv[3], NULL, 10));
    }
    printf("port %u\n", server.port);
    fflush(stdout);
    run(&server, listener);
}
