/* zk_watches.c: what a session watches, and what is done when that is too much for a reconnection.
 *
 * After a lost connection libzookeeper (3.8.0) sets all watches again with one request, which holds
 * all their paths. A controller watches every topic: of ten thousand with long names the request is
 * larger than ZooKeeper takes (jute.maxbuffer, 1 MiB), which then ends the connection. The library
 * comes back at once with the same request; so it would go on for ever, and as each of these
 * connections renews the session nobody else would take the office over. (Kafka's client makes
 * several requests of it.)
 *
 * So beyond half of that the library is made to forget the watches as soon as the connection is
 * lost, and when it is back everybody is told that what they watch has changed: a watch means "read
 * again", and reading sets it. If the library was quicker it meets the refusal once, which is a
 * lost connection like the first. */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "zk/zk_session.h"

#define LOGGER "kafka.zookeeper.ZooKeeperClient"

enum { WATCHES_BYTES_MAX = 512 << 10 };

struct zk_watched {
    UT_hash_handle hh;
    char *path;
    int kinds; /* zk_watch_kind */
};

static struct zk_watched *find(const struct zk_session *session, const char *path)
{
    struct zk_watched *watched = NULL;
    HASH_FIND(hh, session->watched, path, strlen(path), watched);
    return watched;
}

/* What it takes in the request, for each kind. */
static size_t bytes_of(const struct zk_session *session, const char *path, int kinds)
{
    size_t bytes = sizeof(int32_t) + strlen(session->chroot) + strlen(path);
    size_t data = (kinds & ZK_WATCH_DATA) != 0 ? bytes : 0;
    size_t children = (kinds & ZK_WATCH_CHILDREN) != 0 ? bytes : 0;
    return data + children;
}

static void watched_free(struct zk_watched *watched)
{
    mem_free(watched->path);
    mem_free(watched);
}

void zk_watches_note(struct zk_session *session, const struct zk_op_call *op)
{
    bool set = op->result.err == ERR_OK || (op->watch_absent && op->result.err == ERR_NOT_FOUND);
    if (op->watch_kind == 0 || !set) {
        return;
    }
    struct zk_watched *watched = find(session, op->watch_path);
    if (watched == NULL) {
        watched = mem_new(struct zk_watched);
        watched->path = mem_strdup(op->watch_path);
        HASH_ADD_KEYPTR(hh, session->watched, watched->path, strlen(watched->path), watched);
    }
    int added = op->watch_kind & ~watched->kinds;
    watched->kinds |= added;
    session->watched_bytes += bytes_of(session, watched->path, added);
}

/* The end of a node is the end of both kinds. */
static int kinds_of(enum zk_watch_event event)
{
    return event == ZK_CHILDREN_CHANGED ? ZK_WATCH_CHILDREN
           : event == ZK_NODE_DELETED   ? ZK_WATCH_DATA | ZK_WATCH_CHILDREN
                                        : ZK_WATCH_DATA;
}

void zk_watches_fired(struct zk_session *session, enum zk_watch_event event, const char *path)
{
    struct zk_watched *watched = find(session, path);
    if (watched == NULL) {
        return;
    }
    int gone = watched->kinds & kinds_of(event);
    session->watched_bytes -= bytes_of(session, path, gone);
    watched->kinds &= ~gone;
    if (watched->kinds == 0) {
        HASH_DEL(session->watched, watched);
        watched_free(watched);
    }
}

void zk_watches_disconnected(struct zk_session *session)
{
    if (session->watched_bytes <= WATCHES_BYTES_MAX) {
        return;
    }
    pthread_mutex_lock(&session->lock);
    zhandle_t *handle = session->handle;
    pthread_mutex_unlock(&session->lock);
    log_info(LOGGER, "watching anew when ZooKeeper is back", "paths=%u bytes=%zu",
             HASH_COUNT(session->watched), session->watched_bytes);
    session->watches_lost = true;
    for (struct zk_watched *watched = session->watched; watched != NULL;
         watched = watched->hh.next) {
        int rc = zoo_remove_watches(handle, watched->path, ZWATCHTYPE_ANY, NULL, NULL, 1);
        (void)rc; /* an event of it may be on its way: then it has gone */
    }
}

void zk_watches_connected(struct zk_session *session)
{
    struct zk_watched *all = session->watched;
    struct zk_watched *watched, *next;
    if (!session->watches_lost) {
        return;
    }
    session->watches_lost = false;
    session->watched = NULL; /* reading begins it anew */
    session->watched_bytes = 0;
    HASH_ITER (hh, all, watched, next) {
        struct str path = str_of(watched->path);
        if (!session->closed && (watched->kinds & ZK_WATCH_DATA) != 0) {
            session->events.on_watch(session->arg, ZK_NODE_CHANGED, path);
        }
        if (!session->closed && (watched->kinds & ZK_WATCH_CHILDREN) != 0) {
            session->events.on_watch(session->arg, ZK_CHILDREN_CHANGED, path);
        }
        HASH_DEL(all, watched);
        watched_free(watched);
    }
}

void zk_watches_free(struct zk_session *session)
{
    struct zk_watched *watched, *next;
    HASH_ITER (hh, session->watched, watched, next) {
        HASH_DEL(session->watched, watched);
        watched_free(watched);
    }
}
