#include "session/fetch_session.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"

/* One partition of a session, found by its key. */
struct session_entry {
    UT_hash_handle hh;
    struct fetch_item item;
    size_t key_size;
    char *topic; /* owned; item.want.topic points here */
    uint8_t key[];
};

struct fetch_session {
    UT_hash_handle hh;
    struct fetch_session_slots *slots;
    int32_t id;
    int32_t epoch; /* expected in the next request */
    bool uses_ids;
    bool follower;
    bool pinned;
    bool closed;       /* out of the cache; freed when unpinned */
    const void *owner; /* only compared: it may be gone */
    int64_t used_ms;
    int64_t created_ms;
    struct list items;
    int32_t items_count;
    struct session_entry *entries;
    struct list dirty; /* of struct fetch_item, by dirty_link */
    int64_t looked_ms; /* when all were last looked at */
    fetch_woken_fn *woken;
    void *woken_arg;
};

struct fetch_sessions {
    struct fetch_session *sessions;
    struct fetch_session_slots *slots;
    struct rng *rng;
    int32_t followers; /* of the sessions */
    int64_t search_ms; /* until then no consumer's fetch looks for a session that may go */
};

struct fetch_sessions *fetch_sessions_new(struct fetch_session_slots *slots, struct rng *rng)
{
    must(slots->caches_count > 0);
    struct fetch_sessions *cache = mem_new(struct fetch_sessions);
    cache->slots = slots;
    cache->rng = rng;
    return cache;
}

static bool partitions_full(struct fetch_session_slots *slots)
{
    return atomic_load_explicit(&slots->partitions, memory_order_relaxed) >= slots->partitions_max;
}

/* Two that are refused at the same time, where one could have been let in, do no harm. */
static bool slot_take(struct fetch_session_slots *slots, bool follower)
{
    if (!follower && partitions_full(slots)) {
        return false;
    }
    bool free = atomic_fetch_add_explicit(&slots->used, 1, memory_order_relaxed) < slots->max;
    if (!free) {
        atomic_fetch_sub_explicit(&slots->used, 1, memory_order_relaxed);
    }
    return free;
}

static void slot_give(struct fetch_session_slots *slots)
{
    int32_t before = atomic_fetch_sub_explicit(&slots->used, 1, memory_order_relaxed);
    must(before > 0);
}

/* Followers' are as many as there are partitions; nobody else makes them. */
static void count_partitions(struct fetch_session *session, int32_t more)
{
    session->items_count += more;
    if (!session->follower) {
        atomic_fetch_add_explicit(&session->slots->partitions, more, memory_order_relaxed);
    }
}

static void entry_free(struct fetch_session *session, struct session_entry *entry)
{
    HASH_DEL(session->entries, entry);
    list_remove(&entry->item.link);
    list_remove(&entry->item.dirty_link);
    wait_mark_disarm(&entry->item.mark);
    count_partitions(session, -1);
    mem_free(entry->topic);
    mem_free(entry);
}

static void session_free(struct fetch_session *session)
{
    struct session_entry *entry;
    struct session_entry *next;
    HASH_ITER (hh, session->entries, entry, next) {
        entry_free(session, entry);
    }
    mem_free(session);
}

/* Out of the cache; freed now, or when the request that uses it is done. */
static void session_close(struct fetch_sessions *cache, struct fetch_session *session)
{
    must(!session->closed);
    HASH_DEL(cache->sessions, session);
    slot_give(cache->slots);
    cache->followers -= session->follower;
    session->closed = true;
    if (!session->pinned) {
        session_free(session);
    }
}

void fetch_sessions_free(struct fetch_sessions *cache)
{
    struct fetch_session *session;
    struct fetch_session *next;
    HASH_ITER (hh, cache->sessions, session, next) {
        session_close(cache, session);
    }
    mem_free(cache);
}

int32_t fetch_sessions_count(const struct fetch_sessions *cache)
{
    return (int32_t)HASH_COUNT(cache->sessions);
}

static struct fetch_session *session_find(struct fetch_sessions *cache, int32_t id)
{
    struct fetch_session *session;
    HASH_FIND(hh, cache->sessions, &id, sizeof(id), session);
    return session;
}

/* A follower's is not for consumers, whatever id they give, nor the other way round. Where its own
 * connection is now the other thing, nobody will ask for it again: the cluster's metadata has just
 * told of the follower's present life, or of its next one. */
static struct fetch_session *session_meant(struct fetch_sessions *cache,
                                           const struct fetch_session_request *request)
{
    struct fetch_session *session = session_find(cache, request->session_id);
    if (session == NULL || session->follower == request->follower) {
        return session;
    }
    if (session->owner == request->owner) {
        session_close(cache, session);
    }
    return NULL;
}

/* Seldom, and there are not many: no index by owner. */
struct fetch_session *fetch_sessions_take(struct fetch_sessions *cache, const void *owner)
{
    struct fetch_session *session;
    struct fetch_session *next;
    struct fetch_session *newest = NULL;
    HASH_ITER (hh, cache->sessions, session, next) {
        if (session->owner == owner && (newest == NULL || session->used_ms > newest->used_ms)) {
            newest = session;
        }
    }
    if (newest == NULL || newest->pinned || newest->follower) {
        return NULL;
    }
    HASH_DEL(cache->sessions, newest);
    return newest;
}

void fetch_sessions_drop(struct fetch_sessions *cache, const void *owner)
{
    struct fetch_session *session;
    struct fetch_session *next;
    if (cache->followers == 0) {
        return;
    }
    HASH_ITER (hh, cache->sessions, session, next) {
        if (session->follower && session->owner == owner) {
            session_close(cache, session);
        }
    }
}

void fetch_sessions_give(struct fetch_sessions *cache, struct fetch_session *session)
{
    if (session_find(cache, session->id) != NULL) {
        slot_give(cache->slots);
        session_free(session);
        return;
    }
    HASH_ADD(hh, cache->sessions, id, sizeof(session->id), session);
}

/* Key of a partition: its index, then the topic's id or its name. */
static size_t want_key(const struct fetch_want *want, bool uses_ids, struct buf *key)
{
    buf_clear(key);
    buf_put_be32(key, (uint32_t)want->partition);
    if (uses_ids) {
        buf_put(key, want->topic_id.raw, sizeof(want->topic_id.raw));
    } else {
        buf_put(key, want->topic.ptr, want->topic.size);
    }
    return key->size;
}

static struct session_entry *session_entry(struct fetch_session *session,
                                           const struct fetch_want *want, struct buf *key)
{
    struct session_entry *entry;
    size_t size = want_key(want, session->uses_ids, key);
    HASH_FIND(hh, session->entries, key->data, size, entry);
    return entry;
}

void fetch_item_dirty(struct fetch_item *item)
{
    if (!list_linked(&item->dirty_link)) {
        list_push_back(&item->session->dirty, &item->dirty_link);
    }
}

void fetch_item_clean(struct fetch_item *item)
{
    list_remove(&item->dirty_link);
}

static void on_mark(struct wait_mark *mark, struct wait_source *source)
{
    struct fetch_item *item = container_of(mark, struct fetch_item, mark);
    struct fetch_session *session = item->session;
    fetch_item_dirty(item);
    if (session->woken != NULL) {
        session->woken(session->woken_arg, item, source);
    }
}

static void session_put(struct fetch_session *session, const struct fetch_want *want,
                        struct buf *key)
{
    struct session_entry *entry = session_entry(session, want, key);
    if (entry == NULL) {
        entry = mem_zalloc(1, sizeof(*entry) + key->size);
        memcpy(entry->key, key->data, key->size);
        entry->key_size = key->size;
        entry->topic = str_dup(want->topic);
        entry->item.sent_hw = -1;
        entry->item.sent_log_start = -1;
        entry->item.entry = entry;
        entry->item.session = session;
        list_init(&entry->item.dirty_link);
        wait_mark_init(&entry->item.mark, on_mark);
        HASH_ADD_KEYPTR(hh, session->entries, entry->key, entry->key_size, entry);
        list_push_back(&session->items, &entry->item.link);
        count_partitions(session, 1);
    }
    entry->item.want = *want;
    entry->item.want.topic = (struct str){entry->topic, want->topic.size};
    fetch_item_dirty(&entry->item);
}

/* Which of two sessions is worth keeping: followers before consumers, then the one with more
 * partitions. */
static bool session_less(const struct fetch_session *a, bool follower, int32_t count)
{
    if (a->follower != follower) {
        return follower;
    }
    return a->items_count < count;
}

/* The one to go for one of that worth; NULL when there is none. */
static struct fetch_session *find_victim(struct fetch_sessions *cache, bool follower, int32_t count,
                                         int64_t now_ms)
{
    struct fetch_session *session;
    struct fetch_session *next;
    struct fetch_session *stale = NULL;
    struct fetch_session *lesser = NULL;
    HASH_ITER (hh, cache->sessions, session, next) {
        if (session->pinned) {
            continue;
        }
        bool idle = now_ms - session->used_ms > FETCH_SESSION_EVICTION_MS;
        bool old = now_ms - session->created_ms > FETCH_SESSION_EVICTION_MS;
        if (idle && (stale == NULL || session->used_ms < stale->used_ms)) {
            stale = session;
        }
        if (session_less(session, follower, count) && (old || (follower && !session->follower)) &&
            (lesser == NULL || session_less(session, lesser->follower, lesser->items_count))) {
            lesser = session;
        }
    }
    return stale != NULL ? stale : lesser;
}

/* A follower, where nobody can go: within its cache's part, counted all the same. */
static bool slot_take_follower(struct fetch_sessions *cache)
{
    struct fetch_session_slots *slots = cache->slots;
    int32_t part = (slots->max + slots->caches_count - 1) / slots->caches_count;
    if (cache->followers >= part) {
        return false;
    }
    atomic_fetch_add_explicit(&slots->used, 1, memory_order_relaxed);
    return true;
}

/* A slot for one more session of that worth; false when there is none. */
static bool cache_make_room(struct fetch_sessions *cache, bool follower, int32_t count,
                            int64_t now_ms)
{
    if (slot_take(cache->slots, follower)) {
        return true;
    }
    if (!follower && now_ms < cache->search_ms) {
        return false;
    }
    /* Where there are too many partitions, one with fewer would not help. */
    int32_t worth = !follower && partitions_full(cache->slots) ? 0 : count;
    struct fetch_session *victim = find_victim(cache, follower, worth, now_ms);
    if (victim != NULL) {
        session_close(cache, victim);
        if (slot_take(cache->slots, follower)) {
            return true;
        }
    }
    if (!follower) {
        cache->search_ms = now_ms + FETCH_SESSION_SEARCH_MS;
    }
    return follower && slot_take_follower(cache);
}

static struct fetch_session *session_new(struct fetch_sessions *cache,
                                         const struct fetch_session_request *request,
                                         int64_t now_ms)
{
    struct fetch_session *session = mem_new(struct fetch_session);
    do {
        session->id = (int32_t)(rng_below(cache->rng, INT32_MAX) + 1);
    } while (session_find(cache, session->id) != NULL);
    session->slots = cache->slots;
    session->epoch = 1;
    session->uses_ids = request->uses_ids;
    session->follower = request->follower;
    session->owner = request->owner;
    session->used_ms = now_ms;
    session->created_ms = now_ms;
    list_init(&session->items);
    list_init(&session->dirty);
    HASH_ADD(hh, cache->sessions, id, sizeof(session->id), session);
    cache->followers += session->follower;
    return session;
}

static bool names_fit(const struct fetch_session_request *request)
{
    for (int32_t i = 0; i < request->wants_count; i++) {
        if (request->wants[i].topic.size > FETCH_SESSION_NAME_MAX) {
            return false;
        }
    }
    return true;
}

static void session_update(struct fetch_session *session,
                           const struct fetch_session_request *request)
{
    struct buf key = {0};
    for (int32_t i = 0; i < request->wants_count; i++) {
        session_put(session, &request->wants[i], &key);
    }
    for (int32_t i = 0; i < request->forgotten_count; i++) {
        struct session_entry *entry = session_entry(session, &request->forgotten[i], &key);
        if (entry != NULL) {
            entry_free(session, entry);
        }
    }
    buf_fini(&key);
}

static void context_use(struct fetch_context *out, struct fetch_session *session, int64_t now_ms)
{
    session->pinned = true;
    session->used_ms = now_ms;
    out->session = session;
    out->session_id = session->id;
    out->items = &session->items;
    out->items_count = session->items_count;
}

/* Which partitions a request has named so far: open addressing, at most half full. */
struct named {
    const struct fetch_session_request *request;
    struct fetch_item *items;
    int32_t *places; /* one more than where it stands in `items`; 0: free */
    uint32_t mask;
    const char *topic; /* whose hash is known: neighbours have the same, mostly */
    uint64_t topic_hash;
};

static void named_init(struct named *named, const struct fetch_session_request *request,
                       struct fetch_item *items)
{
    uint32_t size = 2;
    while (size < (uint32_t)request->wants_count * 2) {
        size *= 2;
    }
    *named = (struct named){.request = request, .items = items, .mask = size - 1};
    named->places = mem_zalloc(size, sizeof(*named->places));
}

static uint64_t named_hash(struct named *named, const struct fetch_want *want)
{
    if (named->request->uses_ids) {
        named->topic_hash = hash_bytes(want->topic_id.raw, sizeof(want->topic_id.raw));
    } else if (named->topic == NULL || named->topic != want->topic.ptr) {
        named->topic_hash = hash_bytes(want->topic.ptr, want->topic.size);
        named->topic = want->topic.ptr;
    }
    uint64_t key[] = {named->topic_hash, (uint64_t)want->partition};
    return hash_bytes(key, sizeof(key));
}

static bool named_same(const struct named *named, const struct fetch_want *a,
                       const struct fetch_want *b)
{
    bool topic = named->request->uses_ids
                     ? uuid_eq(a->topic_id, b->topic_id)
                     : a->topic.ptr == b->topic.ptr || str_eq(a->topic, b->topic);
    return topic && a->partition == b->partition;
}

/* Its place: that of the one that is the same, or a free one. */
static int32_t *named_place(struct named *named, const struct fetch_want *want)
{
    uint32_t at = (uint32_t)named_hash(named, want) & named->mask;
    while (named->places[at] != 0 &&
           !named_same(named, &named->items[named->places[at] - 1].want, want)) {
        at = (at + 1) & named->mask;
    }
    return &named->places[at];
}

/* The request's own list of partitions, remembered by nobody; each once. */
static void context_own(struct fetch_context *out, const struct fetch_session_request *request,
                        struct fetch_item *items)
{
    struct named named;
    named_init(&named, request, items);
    out->items = &out->own;
    for (int32_t i = 0; i < request->wants_count; i++) {
        const struct fetch_want *want = &request->wants[i];
        int32_t *place = named_place(&named, want);
        if (*place != 0) {
            items[*place - 1].want = *want;
            continue;
        }
        struct fetch_item *item = &items[out->items_count++];
        *item = (struct fetch_item){.want = *want, .sent_hw = -1, .sent_log_start = -1};
        list_push_back(&out->own, &item->link);
        *place = out->items_count;
    }
    mem_free(named.places);
}

static enum err context_incremental(struct fetch_sessions *cache,
                                    const struct fetch_session_request *request,
                                    struct fetch_item *items, int64_t now_ms,
                                    struct fetch_context *out)
{
    struct fetch_session *session = session_meant(cache, request);
    if (session == NULL) {
        return ERR_FETCH_SESSION_ID_NOT_FOUND;
    }
    if (session->epoch != request->session_epoch || session->pinned) {
        return ERR_INVALID_FETCH_SESSION_EPOCH;
    }
    if (session->uses_ids != request->uses_ids) {
        return ERR_FETCH_SESSION_TOPIC_ID_ERROR;
    }
    if (!names_fit(request)) {
        session_close(cache, session);
        return ERR_FETCH_SESSION_ID_NOT_FOUND;
    }
    int32_t count_before = session->items_count;
    session_update(session, request);
    if (session->items_count > FETCH_SESSION_PARTITIONS_MAX) {
        session_close(cache, session);
        return ERR_INVALID_REQUEST;
    }
    if (!session->follower && session->items_count > count_before &&
        atomic_load_explicit(&session->slots->partitions, memory_order_relaxed) >
            session->slots->partitions_max) {
        session_close(cache, session);
        return ERR_FETCH_SESSION_ID_NOT_FOUND;
    }
    if (session->items_count == 0) {
        session_close(cache, session);
        context_own(out, request, items);
        return ERR_OK;
    }
    session->owner = request->owner;
    session->epoch = session->epoch == INT32_MAX ? 1 : session->epoch + 1;
    context_use(out, session, now_ms);
    out->incremental = true;
    return ERR_OK;
}

enum err fetch_context_begin(struct fetch_sessions *cache,
                             const struct fetch_session_request *request, struct fetch_item *items,
                             int64_t now_ms, struct fetch_context *out)
{
    *out = (struct fetch_context){0};
    list_init(&out->own);
    out->items = &out->own;
    if (request->session_epoch != FETCH_EPOCH_INITIAL &&
        request->session_epoch != FETCH_EPOCH_FINAL) {
        return context_incremental(cache, request, items, now_ms, out);
    }
    struct fetch_session *old = session_meant(cache, request);
    if (old != NULL) {
        session_close(cache, old);
    }
    if (request->session_epoch == FETCH_EPOCH_INITIAL && names_fit(request) &&
        cache_make_room(cache, request->follower, request->wants_count, now_ms)) {
        struct fetch_session *session = session_new(cache, request, now_ms);
        session_update(session, request);
        context_use(out, session, now_ms);
    } else {
        context_own(out, request, items);
    }
    return ERR_OK;
}

bool fetch_context_include(struct fetch_context *context, struct fetch_item *item, bool failed,
                           bool has_data, bool other_news, int64_t hw, int64_t log_start)
{
    bool include = !context->incremental || failed || has_data || other_news ||
                   item->sent_hw != hw || item->sent_log_start != log_start;
    /* After an error the client must be told the offsets again, whatever they are by then. */
    item->sent_hw = failed ? -1 : hw;
    item->sent_log_start = failed ? -1 : log_start;
    if (context->session != NULL && has_data) {
        list_remove(&item->link);
        list_push_back(context->items, &item->link);
        if (list_linked(&item->dirty_link)) {
            list_remove(&item->dirty_link);
            fetch_item_dirty(item);
        }
    }
    return include;
}

int32_t fetch_context_dirty(struct fetch_context *context, bool all, struct fetch_item **out)
{
    int32_t count = 0;
    if (all) {
        list_for_each (link, context->items) {
            if (out != NULL) {
                out[count] = container_of(link, struct fetch_item, link);
            }
            count++;
        }
        return count;
    }
    list_for_each (link, &context->session->dirty) {
        if (out != NULL) {
            out[count] = container_of(link, struct fetch_item, dirty_link);
        }
        count++;
    }
    return count;
}

bool fetch_context_look(struct fetch_context *context, int64_t now_ms)
{
    struct fetch_session *session = context->session;
    bool due = !context->incremental || now_ms - session->looked_ms >= FETCH_LOOK_MS;
    session->looked_ms = due ? now_ms : session->looked_ms;
    return due;
}

void fetch_context_wait(struct fetch_context *context, fetch_woken_fn *fn, void *arg)
{
    context->session->woken = fn;
    context->session->woken_arg = arg;
}

void fetch_context_end(struct fetch_context *context)
{
    struct fetch_session *session = context->session;
    if (session == NULL) {
        return;
    }
    context->session = NULL;
    session->woken = NULL;
    must(session->pinned);
    session->pinned = false;
    if (session->closed) {
        session_free(session);
    }
}
