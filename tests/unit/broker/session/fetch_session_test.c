#include "session/fetch_session.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"

/* A cache with its generator, and room for one request's partitions. */
struct fixture {
    struct rng rng;
    struct fetch_session_slots slots;
    struct fetch_sessions *cache;
    struct fetch_item items[8];
    struct fetch_context context;
};

static void fixture_init(struct fixture *f, int32_t slots)
{
    *f = (struct fixture){0};
    rng_seed(&f->rng, 1);
    f->slots = (struct fetch_session_slots){
        .max = slots, .caches_count = 2, .partitions_max = FETCH_SESSIONS_PARTITIONS_MAX};
    f->cache = fetch_sessions_new(&f->slots, &f->rng);
}

static struct fetch_want want(const char *topic, int32_t partition, int64_t offset)
{
    return (struct fetch_want){
        .topic = str_of(topic), .partition = partition, .fetch_offset = offset, .max_bytes = 1000};
}

static enum err begin(struct fixture *f, int32_t id, int32_t epoch, const struct fetch_want *wants,
                      int32_t count, int64_t now_ms)
{
    struct fetch_session_request request = {
        .session_id = id, .session_epoch = epoch, .wants = wants, .wants_count = count};
    return fetch_context_begin(f->cache, &request, f->items, now_ms, &f->context);
}

/* Open a session over `wants` at time `now_ms` and return its id. */
static int32_t open_session(struct fixture *f, const struct fetch_want *wants, int32_t count,
                            int64_t now_ms)
{
    cr_assert_eq(begin(f, 0, FETCH_EPOCH_INITIAL, wants, count, now_ms), ERR_OK);
    int32_t id = f->context.session_id;
    fetch_context_end(&f->context);
    return id;
}

/* A fetch with epoch -1 is remembered by nobody. */
Test(fetch_session, a_final_epoch_makes_no_session)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 5)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_FINAL, wants, 1, 0), ERR_OK);
    cr_expect_eq(f.context.session_id, 0);
    cr_expect_eq(f.context.items_count, 1);
    cr_expect_not(f.context.incremental);
    fetch_context_end(&f.context);
    cr_expect_eq(fetch_sessions_count(f.cache), 0);
    fetch_sessions_free(f.cache);
}

/* An incremental fetch serves the remembered partitions with what it changes, adds and forgets. */
Test(fetch_session, an_incremental_fetch_updates_adds_and_forgets)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want first[] = {want("a", 0, 0), want("b", 0, 0)};
    int32_t id = open_session(&f, first, 2, 0);
    struct fetch_want changes[] = {want("a", 0, 7), want("c", 1, 3)};
    struct fetch_want forgotten[] = {want("b", 0, 0)};
    struct fetch_session_request request = {.session_id = id,
                                            .session_epoch = 1,
                                            .wants = changes,
                                            .wants_count = 2,
                                            .forgotten = forgotten,
                                            .forgotten_count = 1};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 1, &f.context), ERR_OK);
    cr_expect(f.context.incremental);
    cr_expect_eq(f.context.items_count, 2);
    struct fetch_item *a = container_of(f.context.items->next, struct fetch_item, link);
    struct fetch_item *c = container_of(a->link.next, struct fetch_item, link);
    cr_expect(str_is(a->want.topic, "a"));
    cr_expect_eq(a->want.fetch_offset, 7);
    cr_expect(str_is(c->want.topic, "c"));
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* Each incremental fetch may add as many partitions as one request may have. A client that only
 * ever added made its session as large as it liked, and with it each answer. */
Test(fetch_session, has_no_more_partitions_than_one_request_may_have)
{
    enum { STEP = FETCH_SESSION_PARTITIONS_MAX / 2 };
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want *wants = mem_zalloc(STEP, sizeof(*wants));
    int32_t id = 0;
    for (int32_t step = 0; step < 2; step++) {
        for (int32_t i = 0; i < STEP; i++) {
            wants[i] = want("t", step * STEP + i, 0);
        }
        cr_assert_eq(begin(&f, id, step, wants, STEP, 0), ERR_OK);
        id = f.context.session_id;
        fetch_context_end(&f.context);
    }
    cr_assert_eq(begin(&f, id, 2, wants, STEP, 0), ERR_OK, "they are all there already");
    cr_assert_eq(f.context.items_count, 2 * STEP);
    fetch_context_end(&f.context);
    wants[0] = want("t", 2 * STEP, 0);
    cr_assert_eq(begin(&f, id, 3, wants, STEP, 0), ERR_INVALID_REQUEST);
    cr_assert_eq(fetch_sessions_count(f.cache), 0);
    cr_assert_eq(atomic_load(&f.slots.used), 0);
    fetch_sessions_free(f.cache);
    mem_free(wants);
}

/* A name may have 32,767 bytes on the wire, and a session remembered it twice: six gigabytes in one
 * session, and the answer, which names them all, was larger than one can be and ended the broker.
 * Such a partition is answered, for nobody to remember. */
Test(fetch_session, remembers_no_name_that_no_topic_can_have)
{
    static char text[FETCH_SESSION_NAME_MAX + 2];
    struct fixture f;
    fixture_init(&f, 4);
    memset(text, 'x', FETCH_SESSION_NAME_MAX + 1);
    struct fetch_want longer[] = {want("t", 0, 0), want(text, 0, 0)};
    struct fetch_want longest[] = {want("t", 0, 0), want(text + 1, 0, 0)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_INITIAL, longer, 2, 0), ERR_OK);
    cr_expect_eq(f.context.session_id, 0);
    cr_expect_eq(f.context.items_count, 2);
    fetch_context_end(&f.context);
    int32_t id = open_session(&f, longest, 2, 0);
    cr_expect_neq(id, 0);
    cr_expect_eq(begin(&f, id, 1, longer, 2, 0), ERR_FETCH_SESSION_ID_NOT_FOUND);
    cr_expect_eq(fetch_sessions_count(f.cache), 0);
    cr_expect_eq(atomic_load(&f.slots.used), 0);
    fetch_sessions_free(f.cache);
}

/* Any client may open as many sessions as there are slots, with as many partitions as a request may
 * have, whether these exist or not: that would have been 35 GB. */
Test(fetch_session, all_together_have_so_many_partitions_at_most)
{
    struct fixture f;
    fixture_init(&f, 100);
    f.slots.partitions_max = 4;
    struct fetch_want wants[] = {want("t", 0, 0), want("t", 1, 0), want("t", 2, 0)};
    int32_t first = open_session(&f, wants, 2, 0);
    int32_t second = open_session(&f, wants, 2, 0);
    cr_expect_eq(atomic_load(&f.slots.partitions), 4);
    cr_expect_eq(open_session(&f, wants, 1, 0), 0, "answered without a session");
    cr_expect_eq(begin(&f, first, 1, wants, 2, 0), ERR_OK, "it does not grow");
    fetch_context_end(&f.context);
    cr_expect_eq(begin(&f, second, 1, wants, 3, 0), ERR_FETCH_SESSION_ID_NOT_FOUND);
    cr_expect_eq(atomic_load(&f.slots.partitions), 2);
    cr_expect_neq(open_session(&f, wants, 3, 0), 0);
    struct fetch_session_request follower = {
        .session_epoch = FETCH_EPOCH_INITIAL, .follower = true, .wants = wants, .wants_count = 3};
    cr_assert_eq(fetch_context_begin(f.cache, &follower, f.items, 0, &f.context), ERR_OK);
    cr_expect_neq(f.context.session_id, 0, "replication does not depend on clients");
    fetch_context_end(&f.context);
    /* What has been idle for long makes room; what has not, does not. */
    cr_expect_eq(begin(&f, first, 2, NULL, 0, FETCH_SESSION_EVICTION_MS), ERR_OK);
    fetch_context_end(&f.context);
    cr_expect_neq(open_session(&f, wants, 1, 1 + FETCH_SESSION_EVICTION_MS), 0);
    cr_expect_eq(begin(&f, first, 3, NULL, 0, 1 + FETCH_SESSION_EVICTION_MS), ERR_OK);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
    cr_expect_eq(atomic_load(&f.slots.partitions), 0);
}

/* Kafka keeps what is asked for in a map. Here a fetch of a hundred thousand times one partition
 * waited that often for it, and each record that came was looked at for each. */
Test(fetch_session, a_partition_that_is_named_again_counts_once_as_it_was_named_last)
{
    struct fixture f;
    fixture_init(&f, 0);
    struct fetch_want wants[] = {want("t", 0, 1), want("t", 1, 2), want("u", 0, 3),
                                 want("t", 0, 4), want("t", 1, 5), want("t", 0, 6)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_FINAL, wants, 6, 0), ERR_OK);
    cr_assert_eq(f.context.items_count, 3);
    struct fetch_item *items[6];
    cr_assert_eq(fetch_context_dirty(&f.context, true, items), 3);
    static const int64_t offsets[] = {6, 5, 3};
    static const char *const topics[] = {"t", "t", "u"};
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(items[i]->want.fetch_offset, offsets[i]);
        cr_expect(str_is(items[i]->want.topic, topics[i]));
    }
    fetch_context_end(&f.context);
    /* By ids the names are empty. */
    struct fetch_want ids[] = {{.topic_id = {{1}}, .fetch_offset = 1},
                               {.topic_id = {{2}}, .fetch_offset = 2},
                               {.topic_id = {{1}}, .fetch_offset = 3}};
    struct fetch_session_request request = {
        .session_epoch = FETCH_EPOCH_FINAL, .uses_ids = true, .wants = ids, .wants_count = 3};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    cr_assert_eq(fetch_context_dirty(&f.context, true, items), 2);
    cr_expect_eq(items[0]->want.fetch_offset, 3);
    cr_expect_eq(items[1]->want.fetch_offset, 2);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* Each request must carry the epoch after the one before; the wrong one changes nothing. */
Test(fetch_session, the_epoch_must_be_the_next_one)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    int32_t id = open_session(&f, wants, 1, 0);
    cr_expect_eq(begin(&f, id, 2, NULL, 0, 0), ERR_INVALID_FETCH_SESSION_EPOCH);
    cr_assert_eq(begin(&f, id, 1, NULL, 0, 0), ERR_OK);
    fetch_context_end(&f.context);
    cr_expect_eq(begin(&f, id, 1, NULL, 0, 0), ERR_INVALID_FETCH_SESSION_EPOCH);
    cr_assert_eq(begin(&f, id, 2, NULL, 0, 0), ERR_OK);
    fetch_context_end(&f.context);
    cr_expect_eq(begin(&f, id + 1, 1, NULL, 0, 0), ERR_FETCH_SESSION_ID_NOT_FOUND);
    fetch_sessions_free(f.cache);
}

/* A consumer that came back after the broker's restart with the id of its old session, which was a
 * follower's now, went on with that one. */
Test(fetch_session, of_a_follower_is_not_for_consumers)
{
    struct fixture f;
    int connection;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    struct fetch_session_request request = {.session_epoch = FETCH_EPOCH_INITIAL,
                                            .follower = true,
                                            .owner = &connection,
                                            .wants = wants,
                                            .wants_count = 1};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    request.session_id = f.context.session_id;
    fetch_context_end(&f.context);
    cr_expect_eq(begin(&f, request.session_id, 1, NULL, 0, 0), ERR_FETCH_SESSION_ID_NOT_FOUND);
    cr_assert_eq(begin(&f, request.session_id, FETCH_EPOCH_FINAL, wants, 1, 0), ERR_OK);
    fetch_context_end(&f.context);
    request.session_epoch = 1;
    cr_expect_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* Each time a follower's connection broke, or was given up for the sake of a new partition, its
 * session stayed: with thousands of partitions each, until there were a thousand of them. */
Test(fetch_session, a_followers_sessions_end_with_its_connection)
{
    struct fixture f;
    int connection;
    int other;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    struct fetch_session_request request = {.session_epoch = FETCH_EPOCH_INITIAL,
                                            .follower = true,
                                            .wants = wants,
                                            .wants_count = 1,
                                            .owner = &connection};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    fetch_context_end(&f.context);
    request.follower = false; /* consumers may come back */
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    fetch_context_end(&f.context);
    cr_expect_eq(fetch_sessions_count(f.cache), 2);
    fetch_sessions_drop(f.cache, &other);
    cr_expect_eq(fetch_sessions_count(f.cache), 2);
    fetch_sessions_drop(f.cache, &connection);
    cr_expect_eq(fetch_sessions_count(f.cache), 1);
    cr_expect_eq(atomic_load(&f.slots.used), 1);
    fetch_sessions_free(f.cache);
}

/* A follower that had just started, and whose present life its leader had not heard of yet, was
 * given a consumer's session at first. When it had the follower's the first one stayed, with all of
 * its partitions, and counted as a consumer's. */
Test(fetch_session, that_a_follower_had_before_it_was_known_ends_when_it_is)
{
    struct fixture f;
    int connection;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0), want("t", 1, 0)};
    struct fetch_session_request request = {.session_epoch = FETCH_EPOCH_INITIAL,
                                            .owner = &connection,
                                            .wants = wants,
                                            .wants_count = 2};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    request.session_id = f.context.session_id;
    fetch_context_end(&f.context);
    request.follower = true;
    request.session_epoch = 1;
    cr_expect_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context),
                 ERR_FETCH_SESSION_ID_NOT_FOUND);
    cr_expect_eq(fetch_sessions_count(f.cache), 0);
    cr_expect_eq(atomic_load(&f.slots.partitions), 0);
    fetch_sessions_free(f.cache);
}

/* A session that was opened with names does not take requests with ids. */
Test(fetch_session, names_and_ids_do_not_mix)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    int32_t id = open_session(&f, wants, 1, 0);
    struct fetch_session_request request = {.session_id = id, .session_epoch = 1, .uses_ids = true};
    cr_expect_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context),
                 ERR_FETCH_SESSION_TOPIC_ID_ERROR);
    fetch_sessions_free(f.cache);
}

/* A session whose last partition is forgotten goes, and the request is answered without one. */
Test(fetch_session, forgetting_everything_ends_the_session)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    int32_t id = open_session(&f, wants, 1, 0);
    struct fetch_session_request request = {
        .session_id = id, .session_epoch = 1, .forgotten = wants, .forgotten_count = 1};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    cr_expect_eq(f.context.session_id, 0);
    cr_expect_eq(f.context.items_count, 0);
    cr_expect_eq(fetch_sessions_count(f.cache), 0);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* In an incremental reply a partition is told only when there is news; after an error always again.
 */
Test(fetch_session, an_incremental_reply_holds_only_news)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_INITIAL, wants, 1, 0), ERR_OK);
    int32_t id = f.context.session_id;
    struct fetch_item *item = container_of(f.context.items->next, struct fetch_item, link);
    cr_expect(fetch_context_include(&f.context, item, false, false, false, 10, 0));
    fetch_context_end(&f.context);
    cr_assert_eq(begin(&f, id, 1, NULL, 0, 0), ERR_OK);
    cr_expect_not(fetch_context_include(&f.context, item, false, false, false, 10, 0));
    cr_expect(fetch_context_include(&f.context, item, false, false, false, 11, 0), "hw moved");
    cr_expect(fetch_context_include(&f.context, item, false, true, false, 11, 0), "data");
    cr_expect(fetch_context_include(&f.context, item, false, false, false, 11, 5),
              "log start moved");
    cr_expect(fetch_context_include(&f.context, item, true, false, false, 11, 5), "an error");
    cr_expect(fetch_context_include(&f.context, item, false, false, false, 11, 5),
              "after an error");
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* Partitions that gave data are served last the next time, so that none starves. */
Test(fetch_session, a_partition_with_data_goes_to_the_end)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("a", 0, 0), want("b", 0, 0)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_INITIAL, wants, 2, 0), ERR_OK);
    struct fetch_item *a = container_of(f.context.items->next, struct fetch_item, link);
    (void)fetch_context_include(&f.context, a, false, true, false, 10, 0);
    struct fetch_item *head = container_of(f.context.items->next, struct fetch_item, link);
    cr_expect(str_is(head->want.topic, "b"));
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* A full cache refuses a newcomer of equal worth, lets one in when somebody was idle for two
 * minutes, and always makes room for a follower. */
Test(fetch_session, a_full_cache_evicts_only_the_idle_or_the_lesser)
{
    struct fixture f;
    fixture_init(&f, 1);
    struct fetch_want wants[] = {want("t", 0, 0)};
    int32_t id = open_session(&f, wants, 1, 1000);
    cr_expect_neq(id, 0);
    cr_expect_eq(open_session(&f, wants, 1, 2000), 0, "no room");
    int32_t second = open_session(&f, wants, 1, 1001 + FETCH_SESSION_EVICTION_MS);
    cr_expect_neq(second, 0, "the idle one went");
    cr_expect_eq(begin(&f, id, 1, NULL, 0, 0), ERR_FETCH_SESSION_ID_NOT_FOUND);
    struct fetch_session_request follower = {
        .session_epoch = FETCH_EPOCH_INITIAL, .follower = true, .wants = wants, .wants_count = 1};
    cr_assert_eq(fetch_context_begin(f.cache, &follower, f.items, 1002 + FETCH_SESSION_EVICTION_MS,
                                     &f.context),
                 ERR_OK);
    cr_expect_neq(f.context.session_id, 0);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* Once a consumer's fetch has found nobody who may go, none looks for a second: a thousand
 * consumers without a session each looked through all of them with each fetch. */
Test(fetch_session, a_full_cache_is_not_searched_by_every_fetch)
{
    struct fixture f;
    fixture_init(&f, 1);
    struct fetch_want wants[] = {want("t", 0, 0)};
    int64_t idle_ms = 1001 + FETCH_SESSION_EVICTION_MS; /* from here on the first one may go */
    int32_t first = open_session(&f, wants, 1, 1000);
    cr_assert_neq(first, 0);
    cr_expect_eq(open_session(&f, wants, 1, idle_ms - 1), 0, "nobody may go");
    cr_expect_eq(open_session(&f, wants, 1, idle_ms - 2 + FETCH_SESSION_SEARCH_MS), 0,
                 "not looked");
    cr_expect_neq(open_session(&f, wants, 1, idle_ms - 1 + FETCH_SESSION_SEARCH_MS), 0);
    cr_expect_eq(begin(&f, first, 1, NULL, 0, idle_ms), ERR_FETCH_SESSION_ID_NOT_FOUND);
    fetch_sessions_free(f.cache);
}

/* Connections gather on one loop: its cache may have all the slots. Then consumers elsewhere get
 * none, and a follower gets one nevertheless, within its cache's part. */
Test(fetch_session, slots_are_those_of_all_caches)
{
    struct fixture f;
    fixture_init(&f, 2);
    struct fetch_want wants[] = {want("t", 0, 0)};
    struct fetch_sessions *first = f.cache;
    cr_expect_neq(open_session(&f, wants, 1, 0), 0);
    cr_expect_neq(open_session(&f, wants, 1, 0), 0);
    f.cache = fetch_sessions_new(&f.slots, &f.rng);
    cr_expect_eq(open_session(&f, wants, 1, 0), 0);
    struct fetch_session_request follower = {.follower = true, .wants = wants, .wants_count = 1};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(fetch_context_begin(f.cache, &follower, f.items, 0, &f.context), ERR_OK);
        cr_expect_eq(f.context.session_id != 0, i == 0, "its part is one");
        fetch_context_end(&f.context);
    }
    fetch_sessions_free(first);
    cr_expect_eq(atomic_load(&f.slots.used), 1);
    cr_expect_neq(open_session(&f, wants, 1, FETCH_SESSION_SEARCH_MS), 0);
    fetch_sessions_free(f.cache);
    cr_expect_eq(atomic_load(&f.slots.used), 0);
}

/* A session that a waiting request uses survives being closed by another connection until released.
 */
Test(fetch_session, a_session_in_use_is_freed_when_released)
{
    struct fixture f;
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    int32_t id = open_session(&f, wants, 1, 0);
    struct fetch_context waiting;
    struct fetch_session_request next = {.session_id = id, .session_epoch = 1};
    cr_assert_eq(fetch_context_begin(f.cache, &next, NULL, 0, &waiting), ERR_OK);
    cr_assert_eq(begin(&f, id, FETCH_EPOCH_FINAL, wants, 1, 0), ERR_OK);
    cr_expect_eq(fetch_sessions_count(f.cache), 0);
    struct fetch_item *item = container_of(waiting.items->next, struct fetch_item, link);
    cr_expect_eq(item->want.partition, 0);
    fetch_context_end(&waiting);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* What is looked at: everything at first; then what the request names, what was not settled and
 * what the partitions tell; all again when the time has come. */
Test(fetch_session, only_partitions_with_news_are_looked_at)
{
    struct fixture f;
    struct fetch_item *items[3];
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0), want("t", 1, 0), want("t", 2, 0)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_INITIAL, wants, 3, 0), ERR_OK);
    int32_t id = f.context.session_id;
    cr_assert(fetch_context_look(&f.context, 0));
    cr_assert_eq(fetch_context_dirty(&f.context, true, items), 3);
    fetch_item_clean(items[0]);
    fetch_item_clean(items[1]);
    fetch_context_end(&f.context);

    cr_assert_eq(begin(&f, id, 1, wants, 1, 1), ERR_OK);
    cr_assert_not(fetch_context_look(&f.context, 1));
    cr_assert_eq(fetch_context_dirty(&f.context, false, items), 2);
    cr_assert_eq(items[0]->want.partition, 2);
    cr_assert_eq(items[1]->want.partition, 0);
    fetch_item_clean(items[0]);
    fetch_item_clean(items[1]);
    fetch_context_end(&f.context);

    cr_assert_eq(begin(&f, id, 2, NULL, 0, FETCH_LOOK_MS), ERR_OK);
    cr_assert_eq(fetch_context_dirty(&f.context, false, items), 0);
    cr_assert(fetch_context_look(&f.context, FETCH_LOOK_MS));
    cr_assert_not(fetch_context_look(&f.context, FETCH_LOOK_MS + 1));
    cr_assert_eq(fetch_context_dirty(&f.context, true, items), 3);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
}

/* A partition that goes away tells while nobody asks: the session then holds it no longer. */
static int source_refs;

static void source_get(struct wait_source *source)
{
    (void)source;
    source_refs++;
}

static void source_put(struct wait_source *source)
{
    (void)source;
    source_refs--;
}

static void on_woken(void *arg, struct fetch_item *item, struct wait_source *source)
{
    (void)source;
    *(struct fetch_item **)arg = item;
}

Test(fetch_session, a_partition_that_tells_is_dirty_and_wakes_who_waits)
{
    struct fixture f;
    struct clock_manual clock;
    struct wait_source source;
    struct fetch_item *item;
    struct fetch_item *woken = NULL;
    clock_manual_init(&clock, 0);
    struct loop *loop = loop_new("hand", 0, &clock.clock);
    wait_source_init(&source, 1, source_get, source_put);
    fixture_init(&f, 4);
    struct fetch_want wants[] = {want("t", 0, 0)};
    cr_assert_eq(begin(&f, 0, FETCH_EPOCH_INITIAL, wants, 1, 0), ERR_OK);
    cr_assert_eq(fetch_context_dirty(&f.context, true, &item), 1);
    for (int i = 0; i < 2; i++) {
        fetch_context_wait(&f.context, i == 0 ? NULL : on_woken, &woken);
        wait_mark_arm(&item->mark, &source, loop);
        fetch_item_clean(item);
        cr_assert_eq(fetch_context_dirty(&f.context, false, NULL), 0);
        wait_wake(&source);
        while (loop_turn(loop)) {
        }
        cr_assert_eq(fetch_context_dirty(&f.context, false, NULL), 1);
        cr_assert_eq(woken, i == 0 ? NULL : item);
        cr_assert_eq(source_refs, 0);
    }
    wait_mark_arm(&item->mark, &source, loop);
    fetch_context_end(&f.context);
    fetch_sessions_free(f.cache);
    cr_assert_eq(source_refs, 0);
    wait_source_fini(&source);
    loop_free(loop);
}

/* A connection that goes on on another loop takes its session along: the next request finds there
 * what the earlier ones said. */
Test(fetch_session, moves_to_another_cache)
{
    struct fixture f;
    int me;
    fixture_init(&f, 4);
    struct fetch_sessions *other = fetch_sessions_new(&f.slots, &f.rng);
    struct fetch_want wants[] = {want("a", 0, 7), want("b", 3, 0)};
    int32_t not_mine = open_session(&f, wants, 1, 5);
    struct fetch_session_request request = {.wants = wants, .wants_count = 2, .owner = &me};
    cr_assert_eq(fetch_context_begin(f.cache, &request, f.items, 0, &f.context), ERR_OK);
    cr_expect_null(fetch_sessions_take(f.cache, &me), "a request uses it");
    int32_t id = f.context.session_id;
    fetch_context_end(&f.context);
    struct fetch_session *session = fetch_sessions_take(f.cache, &me);
    cr_assert_not_null(session);
    cr_expect_eq(begin(&f, id, 1, NULL, 0, 0), ERR_FETCH_SESSION_ID_NOT_FOUND);
    fetch_sessions_give(other, session);
    request = (struct fetch_session_request){.session_id = id, .session_epoch = 1, .owner = &me};
    cr_assert_eq(fetch_context_begin(other, &request, f.items, 0, &f.context), ERR_OK);
    cr_expect_eq(f.context.items_count, 2);
    fetch_context_end(&f.context);
    cr_expect_eq(fetch_sessions_count(other), 1);
    cr_expect_eq(atomic_load(&f.slots.used), 2);
    /* One that has its id is there already: it is gone, as any may be. */
    session = fetch_sessions_take(f.cache, NULL);
    cr_assert_not_null(session);
    rng_seed(&f.rng, 1); /* its id was the first */
    cr_assert_eq(fetch_context_begin(
                     other, &(struct fetch_session_request){.wants = wants, .wants_count = 1},
                     f.items, 0, &f.context),
                 ERR_OK);
    cr_assert_eq(f.context.session_id, not_mine);
    fetch_context_end(&f.context);
    fetch_sessions_give(other, session);
    cr_expect_eq(fetch_sessions_count(other), 2);
    cr_expect_eq(atomic_load(&f.slots.used), 2);
    fetch_sessions_free(other);
    fetch_sessions_free(f.cache);
}
