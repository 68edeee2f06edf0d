#include "controller/config_changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_calls.h"
#include "znode/path.h"

static const char logger[] = "kafka.common.ZkNodeChangeNotificationListener";
static const char change_prefix[] = "config_change_";

/* What every session begins with. */
static const char *const loaded_types[] = {"topics", "brokers"};

enum {
    LOADED_TYPES_COUNT = sizeof(loaded_types) / sizeof(loaded_types[0]),
    /* Notifications of the last quarter of an hour that we remember; of more, the oldest are left
     * to whoever starts next. */
    SEEN_MAX = 10000,
};

/* A notification that is to be removed when it is old. */
struct seen {
    struct list link;
    int64_t number;
    int64_t ctime_ms;
};

struct config_changes {
    struct loop *loop;
    struct config_changes_host *host;
    struct zk_calls calls;
    struct list jobs;   /* reads under way, freed when the session ends */
    int64_t list_czxid; /* the list of notifications; 0: none yet */
    int64_t last_seen;  /* number of the newest notification that was handled */
    struct list seen;   /* of struct seen, in the order they were read */
    int32_t seen_count;
    bool reading; /* the list of notifications */
    bool read_again;
    bool loading;
    int32_t loads; /* lists and entities that are still to come before `loaded` */
};

/* One read: of a notification, a list of entities, or an entity. */
struct job {
    struct list link;
    struct config_changes *changes;
    struct arena arena;
    char *path;
    int64_t number; /* of a notification */
    struct str type;
    struct str name;
    bool load;                  /* counted in changes->loads */
    config_changes_read_fn *fn; /* who waits for it; NULL: nobody */
    void *arg;
};

static struct job *job_new(struct config_changes *changes)
{
    struct job *job = mem_new(struct job);
    job->changes = changes;
    list_push_back(&changes->jobs, &job->link);
    return job;
}

static void job_free(struct job *job)
{
    list_remove(&job->link);
    arena_fini(&job->arena);
    mem_free(job);
}

/* What is read then was not read: the next session begins anew. */
static bool session_over(enum err err)
{
    return err == ERR_ZK_SESSION_EXPIRED || err == ERR_CLOSED;
}

static void load_done(struct config_changes *changes)
{
    must(changes->loads > 0);
    if (--changes->loads == 0) {
        changes->loading = false;
        changes->host->loaded(changes->host);
    }
}

/* ---- Entities. */

static void on_entity(void *arg, const struct zk_result *result, bool repeated)
{
    struct job *job = arg;
    struct config_changes *changes = job->changes;
    struct znode_config config = {0};
    struct errmsg msg = {""};
    bool load = job->load;
    config_changes_read_fn *fn = job->fn;
    void *fn_arg = job->arg;
    enum err err = result->err;
    (void)repeated;
    if (err == ERR_OK) {
        err = znode_config_decode(&job->arena, result->data, &config, &msg);
    }
    list_remove(&job->link); /* the host may end the session */
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        changes->host->changed(changes->host, job->type, job->name, err == ERR_OK ? &config : NULL);
    } else {
        log_warn(logger, "a configuration cannot be read", "path=%s reason=\"%s\"", job->path,
                 msg.text[0] != '\0' ? msg.text : err_text(err));
    }
    list_init(&job->link);
    job_free(job);
    if (fn != NULL) {
        fn(fn_arg, err == ERR_NOT_FOUND ? ERR_OK : err);
    }
    if (load && changes->loading && !session_over(err)) {
        load_done(changes);
    }
}

static struct job *read_entity(struct config_changes *changes, struct str type, struct str name,
                               bool load)
{
    struct job *job = job_new(changes);
    job->type = arena_str(&job->arena, type);
    job->name = arena_str(&job->arena, name);
    job->path = path_config(&job->arena, job->type.ptr, name);
    job->load = load;
    changes->loads += load ? 1 : 0;
    zk_calls_get(&changes->calls, job->path, false, on_entity, job);
    return job;
}

void config_changes_read(struct config_changes *changes, struct str type, struct str name,
                         config_changes_read_fn *fn, void *arg)
{
    if (changes->calls.zk == NULL) {
        if (fn != NULL) {
            fn(arg, ERR_ZK_SESSION_EXPIRED);
        }
        return;
    }
    struct job *job = read_entity(changes, type, name, false);
    job->fn = fn;
    job->arg = arg;
}

static void on_entities(void *arg, const struct zk_result *result, bool repeated)
{
    struct job *job = arg;
    struct config_changes *changes = job->changes;
    (void)repeated;
    for (int32_t i = 0; i < result->children_count; i++) {
        (void)read_entity(changes, job->type, result->children[i], true);
    }
    job_free(job);
    if (!session_over(result->err)) {
        load_done(changes);
    }
}

static void load_all(struct config_changes *changes)
{
    changes->loading = true;
    changes->loads = LOADED_TYPES_COUNT;
    for (int32_t i = 0; i < LOADED_TYPES_COUNT; i++) {
        struct job *job = job_new(changes);
        job->type = str_of(loaded_types[i]);
        job->path = arena_printf(&job->arena, "%s/%s", PATH_CONFIG, loaded_types[i]);
        zk_calls_children(&changes->calls, job->path, false, on_entities, job);
    }
}

/* ---- Notifications. */

static void on_purged(void *arg, const struct zk_result *result, bool repeated)
{
    (void)arg, (void)result, (void)repeated; /* gone, by us or by another broker */
}

static void forget_first(struct config_changes *changes)
{
    struct list *link = list_pop_front(&changes->seen);
    mem_free(container_of(link, struct seen, link));
    changes->seen_count--;
}

static void remember(struct config_changes *changes, int64_t number, int64_t ctime_ms)
{
    struct seen *seen = mem_new(struct seen);
    *seen = (struct seen){.number = number, .ctime_ms = ctime_ms};
    if (changes->seen_count == SEEN_MAX) {
        forget_first(changes);
    }
    list_push_back(&changes->seen, &seen->link);
    changes->seen_count++;
}

/* Every broker does it, so that none has to; the slower ones find nothing. They were read in the
 * order of their numbers, nearly: the first one that is young ends the search until next time. */
static void purge(struct config_changes *changes)
{
    while (!list_empty(&changes->seen)) {
        const struct seen *seen = container_of(changes->seen.next, struct seen, link);
        char path[sizeof(PATH_CONFIG_CHANGES) + sizeof(change_prefix) + 24];
        if (loop_wall_ms(changes->loop) - seen->ctime_ms <= CONFIG_CHANGES_KEEP_MS) {
            return;
        }
        snprintf(path, sizeof(path), "%s/%s%010" PRId64, PATH_CONFIG_CHANGES, change_prefix,
                 seen->number);
        zk_calls_remove(&changes->calls, path, -1, on_purged, changes);
        forget_first(changes);
    }
}

static void on_notification(void *arg, const struct zk_result *result, bool repeated)
{
    struct job *job = arg;
    struct config_changes *changes = job->changes;
    struct str path;
    struct errmsg msg;
    (void)repeated;
    if (result->err == ERR_OK) {
        if (znode_config_change_decode(&job->arena, result->data, &path, &msg) == ERR_OK) {
            const char *slash = memchr(path.ptr, '/', path.size);
            size_t size = slash != NULL ? (size_t)(slash - path.ptr) : 0;
            if (size > 0 && size + 1 < path.size) {
                (void)read_entity(changes, (struct str){path.ptr, size},
                                  (struct str){slash + 1, path.size - size - 1}, false);
            }
        } else {
            log_warn(logger, "a notification cannot be read", "path=%s reason=\"%s\"", job->path,
                     msg.text);
        }
        remember(changes, job->number, result->stat.ctime_ms);
    }
    job_free(job);
    purge(changes);
}

/* The number at the end of a notification's name; -1: it is none. */
static int64_t number_of(struct str name)
{
    char digits[11];
    size_t prefix = sizeof(change_prefix) - 1;
    if (name.size != prefix + 10 || memcmp(name.ptr, change_prefix, prefix) != 0) {
        return -1;
    }
    memcpy(digits, name.ptr + prefix, 10);
    digits[10] = '\0';
    char *end;
    int64_t number = strtoll(digits, &end, 10);
    return *end == '\0' && number >= 0 ? number : -1;
}

static void forget_all(struct config_changes *changes)
{
    changes->last_seen = -1;
    while (!list_empty(&changes->seen)) {
        forget_first(changes);
    }
}

static void read_notifications(struct config_changes *changes);

static void list_read(struct config_changes *changes)
{
    changes->reading = false;
    if (changes->read_again) {
        changes->read_again = false;
        read_notifications(changes);
    }
}

static void on_notifications(void *arg, const struct zk_result *result, bool repeated)
{
    struct config_changes *changes = arg;
    int64_t newest = changes->last_seen;
    (void)repeated;
    for (int32_t i = 0; i < result->children_count; i++) {
        int64_t number = number_of(result->children[i]);
        if (number > changes->last_seen) {
            struct job *job = job_new(changes);
            newest = number > newest ? number : newest;
            job->number = number;
            job->path = arena_printf(&job->arena, "%s/%.*s", PATH_CONFIG_CHANGES,
                                     STR_ARG(result->children[i]));
            zk_calls_get(&changes->calls, job->path, false, on_notification, job);
        }
    }
    changes->last_seen = newest;
    list_read(changes);
}

/* In a list that was removed and made again numbers begin anew. */
static void on_list(void *arg, const struct zk_result *result, bool repeated)
{
    struct config_changes *changes = arg;
    (void)repeated;
    if (result->err != ERR_OK) {
        list_read(changes); /* it is watched: we come back when it is made */
        return;
    }
    if (changes->list_czxid != result->stat.czxid) {
        changes->list_czxid = result->stat.czxid;
        forget_all(changes);
    }
    zk_calls_children(&changes->calls, PATH_CONFIG_CHANGES, true, on_notifications, changes);
}

static void read_notifications(struct config_changes *changes)
{
    if (changes->reading) {
        changes->read_again = true;
        return;
    }
    changes->reading = true;
    zk_calls_exists(&changes->calls, PATH_CONFIG_CHANGES, true, on_list, changes);
}

/* ---- Life. */

struct config_changes *config_changes_new(struct loop *loop, struct config_changes_host *host)
{
    struct config_changes *changes = mem_new(struct config_changes);
    changes->loop = loop;
    changes->host = host;
    changes->last_seen = -1;
    zk_calls_init(&changes->calls, loop);
    list_init(&changes->jobs);
    list_init(&changes->seen);
    return changes;
}

void config_changes_start(struct config_changes *changes, struct zk *zk)
{
    zk_calls_set_session(&changes->calls, zk);
    /* What changes in between is notified of, and all notifications are read. */
    read_notifications(changes);
    load_all(changes);
}

void config_changes_session_lost(struct config_changes *changes)
{
    zk_calls_set_session(&changes->calls, NULL);
    while (!list_empty(&changes->jobs)) {
        struct job *job = container_of(changes->jobs.next, struct job, link);
        config_changes_read_fn *fn = job->fn;
        void *arg = job->arg;
        job_free(job);
        if (fn != NULL) {
            fn(arg, ERR_ZK_SESSION_EXPIRED);
        }
    }
    changes->list_czxid = 0; /* the next session reads all again */
    forget_all(changes);
    changes->reading = false;
    changes->read_again = false;
    changes->loading = false;
    changes->loads = 0;
}

bool config_changes_on_watch(struct config_changes *changes, enum zk_watch_event event,
                             struct str path)
{
    (void)event;
    if (!str_is(path, PATH_CONFIG_CHANGES)) {
        return false;
    }
    if (changes->calls.zk != NULL) {
        read_notifications(changes);
    }
    return true;
}

void config_changes_free(struct config_changes *changes)
{
    if (changes != NULL) {
        config_changes_session_lost(changes);
        zk_calls_fini(&changes->calls);
        mem_free(changes);
    }
}
