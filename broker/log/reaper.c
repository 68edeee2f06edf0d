#include "log/reaper.h"

#include <pthread.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#define LOGGER "kafka.log.LogManager"

/* Something that was put aside. */
struct removal {
    struct list link;
    struct work work;
    struct fs *fs;
    char *path;
    int64_t due_ms;
};

struct reaper {
    struct fs *fs;
    struct clock *clock;
    struct worker_pool *workers;
    void (*on_added)(void *arg);
    void *arg;
    pthread_mutex_t lock; /* a leaf; guards the list */
    struct list waiting;  /* by due_ms. Bounded by what is deleted within the delay. */
};

struct reaper *reaper_new(struct fs *fs, struct clock *clock, struct worker_pool *workers,
                          void (*on_added)(void *arg), void *arg)
{
    struct reaper *reaper = mem_new(struct reaper);
    *reaper = (struct reaper){
        .fs = fs, .clock = clock, .workers = workers, .on_added = on_added, .arg = arg};
    pthread_mutex_init(&reaper->lock, NULL);
    list_init(&reaper->waiting);
    return reaper;
}

static void removal_free(struct removal *removal)
{
    mem_free(removal->path);
    mem_free(removal);
}

void reaper_free(struct reaper *reaper)
{
    struct list *link;
    if (reaper == NULL) {
        return;
    }
    while ((link = list_pop_front(&reaper->waiting)) != NULL) {
        removal_free(container_of(link, struct removal, link));
    }
    pthread_mutex_destroy(&reaper->lock);
    mem_free(reaper);
}

/* On a worker. */
static void removal_run(struct work *work)
{
    struct removal *removal = container_of(work, struct removal, work);
    struct fs_stat stat;
    enum err err = fs_stat(removal->fs, removal->path, &stat);
    if (err == ERR_OK) {
        err = stat.is_dir ? fs_remove_tree(removal->fs, removal->path)
                          : fs_unlink(removal->fs, removal->path);
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND) { /* a folder above it may have gone meanwhile */
        log_warn(LOGGER, "cannot remove what was deleted", "path=%s error=%s", removal->path,
                 err_text(err));
    }
    removal_free(removal);
}

/* Behind all that are due no later. With the lock held; true when it is the first. */
static bool insert(struct reaper *reaper, struct removal *removal)
{
    struct list *before = reaper->waiting.prev;
    while (before != &reaper->waiting &&
           container_of(before, struct removal, link)->due_ms > removal->due_ms) {
        before = before->prev;
    }
    list_push_front(before, &removal->link);
    return before == &reaper->waiting;
}

void reaper_add(struct reaper *reaper, const char *path, int64_t delay_ms)
{
    struct removal *removal = mem_new(struct removal);
    removal->work.run = removal_run;
    removal->fs = reaper->fs;
    removal->path = mem_strdup(path);
    if (delay_ms <= 0) {
        worker_submit(reaper->workers, &removal->work);
        return;
    }
    int64_t now_ms = clock_mono_ms(reaper->clock);
    removal->due_ms = delay_ms < INT64_MAX - now_ms ? now_ms + delay_ms : INT64_MAX - 1;
    pthread_mutex_lock(&reaper->lock);
    bool first = insert(reaper, removal);
    pthread_mutex_unlock(&reaper->lock);
    if (first && reaper->on_added != NULL) {
        reaper->on_added(reaper->arg);
    }
}

int64_t reaper_run(struct reaper *reaper)
{
    int64_t now_ms = clock_mono_ms(reaper->clock);
    int64_t next_ms = INT64_MAX;
    pthread_mutex_lock(&reaper->lock);
    while (!list_empty(&reaper->waiting)) {
        struct removal *removal = container_of(reaper->waiting.next, struct removal, link);
        if (removal->due_ms > now_ms) {
            next_ms = removal->due_ms;
            break;
        }
        list_remove(&removal->link);
        worker_submit(reaper->workers, &removal->work);
    }
    pthread_mutex_unlock(&reaper->lock);
    return next_ms;
}
