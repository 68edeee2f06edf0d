/* settle.c: the directories of new logs become durable, many at a time.
 *
 * Why not each when it is made: that took four syncs, 7 ms on a busy disk, on the control loop; a
 * topic of a thousand partitions stopped everything else there for seconds. Here a request's new
 * logs are synced together, on a worker: one sync of the file system from FLUSHER_ALL_MIN logs on.
 *
 * What makes it safe: nobody appends to a new log, nor says that it is there, before done(). Until
 * then a crash may lose all or some of its names; what is left of it is an empty log, perhaps
 * without a topic id. */
#include "log/settle.h"
#include "base/mem.h"
#include "log/flusher.h"
#include "log/plog_internal.h"

struct new_log {
    struct plog *log; /* held */
    struct logdir *dir;
};

/* A few at a time or thousands: what one call of logs_settle() takes. */
struct settling {
    struct work work;
    struct new_log *logs;
    int32_t count;
    void (*done)(void *arg);
    void *arg;
};

struct new_logs {
    struct new_log *items;
    int32_t count;
    int32_t capacity;
};

struct new_logs *new_logs_new(void)
{
    return mem_new(struct new_logs);
}

void new_logs_free(struct new_logs *news)
{
    for (int32_t i = 0; i < news->count; i++) {
        plog_release(news->items[i].log);
    }
    mem_free(news->items);
    mem_free(news);
}

void new_logs_add(struct new_logs *news, struct plog *log, struct logdir *dir)
{
    if (news->count == news->capacity) {
        news->capacity = news->capacity > 0 ? news->capacity * 2 : 16;
        news->items = mem_realloc(news->items, (size_t)news->capacity * sizeof(*news->items));
    }
    news->items[news->count++] = (struct new_log){plog_hold(log), dir};
}

static enum err sync_id(struct plog *log, struct fs *fs)
{
    struct fs_file *file;
    char *path = mem_printf("%s/" PARTITION_METADATA, plog_dir(log));
    enum err err = fs_open(fs, path, FS_WRITE, &file);
    if (err == ERR_OK) {
        err = fs_sync(file);
        fs_close(file);
    }
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err; /* a topic without an id */
}

static enum err sync_each(struct settling *settling, const struct logdir *dir)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; i < settling->count && err == ERR_OK; i++) {
        if (settling->logs[i].dir == dir) {
            err = sync_id(settling->logs[i].log, dir->fs);
            err = err == ERR_OK ? fs_sync_dir(dir->fs, plog_dir(settling->logs[i].log)) : err;
        }
    }
    return err == ERR_OK ? fs_sync_dir(dir->fs, dir->path) : err;
}

static int32_t count_in(const struct settling *settling, const struct logdir *dir)
{
    int32_t count = 0;
    for (int32_t i = 0; i < settling->count; i++) {
        count += settling->logs[i].dir == dir ? 1 : 0;
    }
    return count;
}

/* A file of our own, since errors are told once per open file: the flusher is told by its own. */
static enum err sync_together(const struct logdir *dir)
{
    struct fs_file *file;
    char *path = mem_printf("%s/meta.properties", dir->path);
    enum err err = fs_open(dir->fs, path, FS_READ, &file);
    if (err == ERR_OK) {
        err = fs_sync_all(file);
        fs_close(file);
    } else {
        err = ERR_UNSUPPORTED_VERSION;
    }
    mem_free(path);
    return err;
}

static enum err sync_dir(struct settling *settling, const struct logdir *dir)
{
    enum err err =
        count_in(settling, dir) >= FLUSHER_ALL_MIN ? sync_together(dir) : ERR_UNSUPPORTED_VERSION;
    return err == ERR_UNSUPPORTED_VERSION ? sync_each(settling, dir) : err;
}

/* On a worker: directory by directory, in the order of their first new log. */
static void settling_run(struct work *work)
{
    struct settling *settling = container_of(work, struct settling, work);
    for (int32_t i = 0; i < settling->count; i++) {
        struct logdir *dir = settling->logs[i].dir;
        if (dir == NULL) {
            continue; /* done with an earlier one */
        }
        enum err err = sync_dir(settling, dir);
        for (int32_t j = i; j < settling->count; j++) {
            if (settling->logs[j].dir == dir) {
                settling->logs[j].dir = NULL;
                if (err != ERR_OK) {
                    enum err failed = plog_fail(settling->logs[j].log, err, "sync of a new log");
                    (void)failed;
                }
            }
        }
    }
}

static void settling_done(struct work *work)
{
    struct settling *settling = container_of(work, struct settling, work);
    for (int32_t i = 0; i < settling->count; i++) {
        plog_release(settling->logs[i].log);
    }
    if (settling->done != NULL) {
        settling->done(settling->arg);
    }
    mem_free(settling->logs);
    mem_free(settling);
}

void new_logs_settle(struct new_logs *news, struct worker_pool *workers, struct loop *loop,
                     void (*done)(void *arg), void *arg)
{
    struct settling *settling = mem_new(struct settling);
    *settling =
        (struct settling){.logs = news->items, .count = news->count, .done = done, .arg = arg};
    *news = (struct new_logs){0};
    settling->work.run = settling_run;
    settling->work.done = settling_done;
    settling->work.loop = loop;
    if (loop != NULL && settling->count > 0) {
        worker_submit(workers, &settling->work);
    } else {
        settling_run(&settling->work);
        settling_done(&settling->work);
    }
}
