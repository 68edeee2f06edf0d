/* Topics with flush.messages=1: nothing of them is acknowledged, or read, that is not on the disk.
 *
 * The least that a group commit can be: a thread syncs, and what is appended meanwhile is for the
 * next sync. A few files are synced one by one, more by one sync of the whole file system, which
 * is faster from three on. While the thread works, `syncing` and what it links belong to it. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/floor/floor.h"

enum { ONE_BY_ONE_MAX = 2 };

struct flush {
    int folder;
    int ended;         /* eventfd: a sync has ended */
    struct list dirty; /* partitions that were appended to since they were last handed over */
    struct list syncing;
    int syncing_count;
    bool running;
    sem_t begun;
};

static void sync_group(struct flush *flush)
{
    if (flush->syncing_count > ONE_BY_ONE_MAX) {
        if (syncfs(flush->folder) != 0) {
            floor_end("syncfs");
        }
        return;
    }
    list_for_each (link, &flush->syncing) {
        if (fdatasync(container_of(link, struct part, syncing)->fd) != 0) {
            floor_end("fdatasync");
        }
    }
}

static void *run(void *arg)
{
    struct flush *flush = arg;
    for (;;) {
        while (sem_wait(&flush->begun) != 0) {
        }
        sync_group(flush);
        if (eventfd_write(flush->ended, 1) != 0) {
            floor_end("eventfd");
        }
    }
    return NULL;
}

void flush_start(struct server *server)
{
    struct flush *flush = mem_new(struct flush);
    pthread_t thread;
    list_init(&flush->dirty);
    list_init(&flush->syncing);
    sem_init(&flush->begun, 0, 0);
    flush->folder = open(server->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    flush->ended = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = flush};
    if (flush->folder < 0 || flush->ended < 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, flush->ended, &event) != 0 ||
        pthread_create(&thread, NULL, run, flush) != 0) {
        floor_end("flush");
    }
    pthread_detach(thread);
    server->flush = flush;
}

void flush_want(struct server *server, struct part *part)
{
    if (!list_linked(&part->dirty)) {
        part->topic->uses++;
        list_push_back(&server->flush->dirty, &part->dirty);
    }
}

void flush_go_on(struct server *server)
{
    struct flush *flush = server->flush;
    struct list *link;
    if (flush == NULL || flush->running) {
        return;
    }
    flush->syncing_count = 0;
    while ((link = list_pop_front(&flush->dirty)) != NULL) {
        struct part *part = container_of(link, struct part, dirty);
        part->syncing_end = part->offset_end;
        list_push_back(&flush->syncing, &part->syncing);
        flush->syncing_count++;
    }
    if (flush->syncing_count > 0) {
        flush->running = true;
        sem_post(&flush->begun);
    }
}

void flush_on_event(struct server *server)
{
    struct flush *flush = server->flush;
    struct list *link;
    eventfd_t count;
    if (eventfd_read(flush->ended, &count) != 0) {
        return;
    }
    flush->running = false;
    while ((link = list_pop_front(&flush->syncing)) != NULL) {
        struct part *part = container_of(link, struct part, syncing);
        part->flushed_end = part->syncing_end;
        part_raise_hw(server, part);
        topic_put(part->topic);
    }
}
