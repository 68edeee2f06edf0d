/* The driver: appends are parked until the high watermark passes, in order; failures, time-outs,
 * loading from batches and serving them once they are committed, loss of the partition. The host is
 * a log in memory. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "codec/codec.h"
#include "group/group_driver.h"
#include "group/grp_records.h"
#include "record/batch_builder.h"
#include "record/record.h"

struct memory_host {
    struct grp_host host;
    struct grp_driver *driver;
    struct buf log; /* whole batches */
    int64_t offset_end;
    int64_t offset_hw;
    int64_t now_ms;
    int64_t timer_at_ms; /* -1: none */
    int timer_calls;
    enum err append_err; /* the next appends fail */
    bool commit_at_once; /* as a partition without followers */
    bool unload_on_error;
    struct buf said; /* one line per append and reply */
};

/* What the driver logs about failures that a test makes is not the test's output. */
static void quiet(void)
{
    cr_assert_eq(log_set_level("kafka.coordinator", LOG_OFF), ERR_OK);
}

TestSuite(driver, .init = quiet);

static struct memory_host *of(struct grp_host *host)
{
    return (struct memory_host *)host;
}

static enum err host_append(struct grp_host *host, uint8_t *batch, size_t size_bytes, int16_t acks,
                            int64_t *offset_end)
{
    struct memory_host *h = of(host);
    struct batch_header header;
    cr_assert_eq(batch_read_header((struct bytes){batch, size_bytes}, &header), ERR_OK);
    cr_assert_eq(batch_size_bytes(&header), size_bytes);
    cr_assert_eq(batch_check_crc((struct bytes){batch, size_bytes}), ERR_OK);
    if (h->append_err != ERR_OK) {
        buf_printf(&h->said, "append fails %s\n", err_name(h->append_err));
        if (h->unload_on_error) {
            (void)grp_driver_unload(h->driver, -1);
        }
        return h->append_err;
    }
    batch_patch_offset_epoch(batch, h->offset_end, 0);
    buf_put(&h->log, batch, size_bytes);
    h->offset_end += header.record_count;
    buf_printf(&h->said, "append acks=%d records=%d codec=%d time=%lld end=%lld\n", acks,
               header.record_count, batch_codec(&header), (long long)header.base_timestamp_ms,
               (long long)h->offset_end);
    *offset_end = h->offset_end;
    if (h->commit_at_once) {
        h->offset_hw = h->offset_end;
        grp_driver_hw(h->driver, h->offset_hw);
    }
    return ERR_OK;
}

static int64_t host_offset_hw(struct grp_host *host)
{
    return of(host)->offset_hw;
}

static int64_t host_now_ms(struct grp_host *host)
{
    return of(host)->now_ms;
}

static int64_t host_wall_ms(struct grp_host *host)
{
    return of(host)->now_ms + 1000000;
}

static void host_set_timer(struct grp_host *host, int64_t at_ms)
{
    of(host)->timer_at_ms = at_ms;
    of(host)->timer_calls++;
}

static void host_cancel_timer(struct grp_host *host)
{
    of(host)->timer_at_ms = -1;
}

static void host_reply(struct grp_host *host, void *token, const struct grp_reply *reply)
{
    struct memory_host *h = of(host);
    buf_printf(&h->said, "%c ", (char)(uintptr_t)token);
    switch (reply->kind) {
    case GRP_EV_COMMIT:
        buf_printf(&h->said, "commit %s\n", err_name(reply->offsets.topics[0].partitions[0].err));
        break;
    case GRP_EV_FETCH:
        buf_printf(&h->said, "fetch %s", err_name(reply->offsets.err));
        for (size_t i = 0; i < reply->offsets.topic_count; i++) {
            const struct grp_reply_topic *topic = &reply->offsets.topics[i];
            for (size_t j = 0; j < topic->partition_count; j++) {
                buf_printf(&h->said, " %.*s-%d=%lld", STR_ARG(topic->topic),
                           topic->partitions[j].partition, (long long)topic->partitions[j].offset);
            }
        }
        buf_printf(&h->said, "\n");
        break;
    case GRP_EV_JOIN:
        buf_printf(&h->said, "join %s %d\n", err_name(reply->join.err), reply->join.generation);
        break;
    case GRP_EV_DELETE:
        buf_printf(&h->said, "delete %s\n", err_name(reply->deleted));
        break;
    default:
        must_not_get_here();
    }
}

static const struct grp_host_ops HOST_OPS = {
    .append = host_append,
    .offset_hw = host_offset_hw,
    .now_ms = host_now_ms,
    .wall_ms = host_wall_ms,
    .set_timer = host_set_timer,
    .cancel_timer = host_cancel_timer,
    .reply = host_reply,
};

static void start(struct memory_host *h, const struct grp_config *config)
{
    struct grp_config standard;
    grp_config_default(&standard);
    standard.retention_check_interval_ms = 0;
    h->host.ops = &HOST_OPS;
    h->timer_at_ms = -1;
    h->driver = grp_driver_new(&h->host, config != NULL ? config : &standard, "offsets-0", 1);
}

static void start_loaded(struct memory_host *h)
{
    start(h, NULL);
    cr_assert(grp_driver_load_begin(h->driver, 1));
    grp_driver_load_done(h->driver, 0);
    cr_assert(grp_driver_active(h->driver));
}

/* A new leadership reads `log`, of which everything below `offset_hw` is committed. */
static void load(struct memory_host *h, int32_t epoch, struct bytes log, int64_t offset_end,
                 int64_t offset_hw)
{
    h->offset_end = offset_end;
    h->offset_hw = offset_hw;
    cr_assert(grp_driver_load_begin(h->driver, epoch));
    cr_assert_eq(grp_driver_load_batch(h->driver, log), ERR_OK);
    grp_driver_load_done(h->driver, offset_end);
}

static void stop(struct memory_host *h)
{
    grp_driver_free(h->driver);
    buf_fini(&h->log);
    buf_fini(&h->said);
}

static void expect(struct memory_host *h, const char *expected)
{
    buf_put_byte(&h->said, 0);
    cr_assert_str_eq((char *)h->said.data, expected);
    h->said.size = 0;
}

static void commit(struct memory_host *h, char who, int32_t partition, int64_t offset)
{
    struct grp_commit_partition one = {
        .partition = partition, .leader_epoch = -1, .offset = offset, .commit_timestamp_ms = -1};
    struct grp_commit_topic topic = {STR("t"), &one, 1};
    struct grp_event event = {.kind = GRP_EV_COMMIT, .token = (void *)(uintptr_t)who};
    event.commit = (struct grp_commit){.group_id = STR("g"),
                                       .member_id = STR(""),
                                       .generation = -1,
                                       .retention_ms = -1,
                                       .topics = &topic,
                                       .topic_count = 1};
    grp_driver_submit(h->driver, &event);
}

static void fetch_all(struct memory_host *h)
{
    struct grp_event event = {.kind = GRP_EV_FETCH, .token = (void *)(uintptr_t)'F'};
    event.fetch = (struct grp_fetch){.group_id = STR("g"), .all = true};
    grp_driver_submit(h->driver, &event);
}

static void join(struct memory_host *h, char who)
{
    struct grp_protocol protocol = {STR("range"), {(const uint8_t *)"m", 1}};
    struct grp_event event = {.kind = GRP_EV_JOIN, .token = (void *)(uintptr_t)who};
    event.join = (struct grp_join){.version = 3,
                                   .group_id = STR("j"),
                                   .member_id = STR(""),
                                   .client_id = STR("c"),
                                   .client_host = STR("/h"),
                                   .session_timeout_ms = 10000,
                                   .rebalance_timeout_ms = 60000,
                                   .protocol_type = STR("consumer"),
                                   .protocols = &protocol,
                                   .protocol_count = 1};
    grp_driver_submit(h->driver, &event);
}

Test(driver, answers_when_the_high_watermark_passes_and_not_before)
{
    /* Three commits; the watermark covers the first two, then all. Replies come in order. */
    struct memory_host h = {0};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    commit(&h, 'B', 1, 11);
    commit(&h, 'C', 0, 12);
    fetch_all(&h);
    expect(&h, "append acks=-1 records=1 codec=0 time=1000000 end=1\n"
               "append acks=-1 records=1 codec=0 time=1000000 end=2\n"
               "append acks=-1 records=1 codec=0 time=1000000 end=3\n"
               "F fetch NONE\n");
    h.offset_hw = 2;
    grp_driver_hw(h.driver, 2);
    fetch_all(&h);
    expect(&h, "A commit NONE\nB commit NONE\nF fetch NONE t-0=10 t-1=11\n");
    h.offset_hw = 3;
    grp_driver_hw(h.driver, 3);
    fetch_all(&h);
    expect(&h, "C commit NONE\nF fetch NONE t-0=12 t-1=11\n");
    stop(&h);
}

Test(driver, of_a_partition_without_followers_answers_at_once)
{
    /* The host moves the watermark from inside append(). */
    struct memory_host h = {.commit_at_once = true};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    expect(&h, "append acks=-1 records=1 codec=0 time=1000000 end=1\nA commit NONE\n");
    stop(&h);
}

Test(driver, reports_a_time_out_and_still_counts_the_commit_later)
{
    /* commit_timeout_ms 5000: the timer is set for it; REQUEST_TIMED_OUT; then the watermark
     * passes. */
    struct memory_host h = {0};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    cr_assert_eq(h.timer_at_ms, 5000);
    h.said.size = 0;
    h.now_ms = 4999;
    grp_driver_tick(h.driver); /* early */
    expect(&h, "");
    cr_assert_eq(h.timer_at_ms, 5000);
    h.now_ms = 5000;
    grp_driver_tick(h.driver);
    fetch_all(&h);
    expect(&h, "A commit REQUEST_TIMED_OUT\nF fetch NONE\n");
    h.offset_hw = 1;
    grp_driver_hw(h.driver, 1);
    fetch_all(&h);
    expect(&h, "F fetch NONE t-0=10\n");
    stop(&h);
}

Test(driver, keeps_its_state_when_an_append_is_only_refused)
{
    /* Not enough replicas: the mapped error, later commits work, the coordinator stays. */
    struct memory_host h = {.append_err = ERR_NOT_ENOUGH_REPLICAS, .commit_at_once = true};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    h.append_err = ERR_OK;
    commit(&h, 'B', 0, 11);
    fetch_all(&h);
    expect(&h, "append fails NOT_ENOUGH_REPLICAS\n"
               "A commit COORDINATOR_NOT_AVAILABLE\n"
               "append acks=-1 records=1 codec=0 time=1000000 end=1\n"
               "B commit NONE\n"
               "F fetch NONE t-0=11\n");
    cr_assert(grp_driver_active(h.driver));
    stop(&h);
}

Test(driver, discards_everything_when_the_leadership_is_lost)
{
    /* For each such error: whoever waits gets NOT_COORDINATOR, as does who asks later, until loaded
     * again. */
    static const enum err ERRORS[] = {ERR_NOT_LEADER_OR_FOLLOWER, ERR_KAFKA_STORAGE_ERROR, ERR_IO,
                                      ERR_NO_SPACE};
    for (size_t i = 0; i < 4; i++) {
        struct memory_host h = {.unload_on_error = i == 0};
        start_loaded(&h);
        commit(&h, 'A', 0, 10);
        join(&h, 'J');
        h.append_err = ERRORS[i];
        h.said.size = 0;
        commit(&h, 'B', 0, 11);
        fetch_all(&h);
        char expected[256];
        snprintf(expected, sizeof(expected),
                 "append fails %s\nB commit NOT_COORDINATOR\nJ join NOT_COORDINATOR -1\n"
                 "A commit NOT_COORDINATOR\nF fetch NOT_COORDINATOR\n",
                 err_name(ERRORS[i]));
        expect(&h, expected);
        cr_assert(!grp_driver_active(h.driver));
        cr_assert_eq(h.timer_at_ms, -1);
        h.append_err = ERR_OK;
        load(&h, 2, (struct bytes){h.log.data, h.log.size}, 1, 1);
        fetch_all(&h); /* the first commit was in the log after all */
        expect(&h, "F fetch NONE t-0=10\n");
        stop(&h);
    }
}

Test(driver, serves_what_it_loaded_only_when_that_is_committed)
{
    /* A new leader gave out an offset that only its own log had; the next leader knew nothing of
     * it. While it waits, a request that looks is answered as while it loads. */
    struct memory_host h = {0};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    commit(&h, 'B', 0, 11);
    cr_assert(grp_driver_unload(h.driver, 2));
    h.said.size = 0;
    load(&h, 3, (struct bytes){h.log.data, h.log.size}, 2, 0);
    cr_assert(!grp_driver_active(h.driver));
    fetch_all(&h);
    commit(&h, 'C', 0, 12);
    h.offset_hw = 1;
    grp_driver_hw(h.driver, 1);
    fetch_all(&h);
    expect(&h, "F fetch COORDINATOR_LOAD_IN_PROGRESS\nC commit COORDINATOR_LOAD_IN_PROGRESS\n"
               "F fetch COORDINATOR_LOAD_IN_PROGRESS\n");
    h.offset_hw = 2;
    grp_driver_hw(h.driver, 2);
    cr_assert(grp_driver_active(h.driver));
    fetch_all(&h);
    expect(&h, "F fetch NONE t-0=11\n");
    stop(&h);
}

/* With min.insync.replicas=2 and one replica left the log grew, the high watermark stood, and after
 * a restart the groups were loading until another replica was back. */
Test(driver, serves_at_once_what_it_loaded_where_commits_wait_for_nobody)
{
    struct memory_host h = {0};
    struct grp_config config;
    grp_config_default(&config);
    config.retention_check_interval_ms = 0;
    config.commit_acks = 0;
    start(&h, &config);
    load(&h, 1, (struct bytes){(const uint8_t *)"", 0}, 0, 0);
    commit(&h, 'A', 0, 10);
    expect(&h, "append acks=0 records=1 codec=0 time=1000000 end=1\nA commit NONE\n");
    cr_assert(grp_driver_unload(h.driver, 2));
    load(&h, 3, (struct bytes){h.log.data, h.log.size}, 1, 0);
    fetch_all(&h);
    expect(&h, "F fetch NONE t-0=10\n");
    stop(&h);
}

Test(driver, of_a_log_that_is_committed_already_serves_at_once)
{
    /* Nobody has to tell it of a high watermark that stands at the end: of a leader without
     * followers it moves before loading begins, of one with them perhaps meanwhile. */
    struct memory_host h = {.commit_at_once = true};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    cr_assert(grp_driver_unload(h.driver, 2));
    load(&h, 3, (struct bytes){h.log.data, h.log.size}, 1, 1);
    cr_assert(grp_driver_active(h.driver));
    cr_assert(grp_driver_unload(h.driver, 4));
    h.offset_hw = 0;
    cr_assert(grp_driver_load_begin(h.driver, 5));
    grp_driver_hw(h.driver, 1);
    grp_driver_load_done(h.driver, 1);
    cr_assert(grp_driver_active(h.driver));
    stop(&h);
}

Test(driver, that_waits_for_its_load_to_be_committed_can_lose_the_leadership)
{
    /* It serves nothing when the watermark passes afterwards, and the next load waits for its own
     * end. */
    struct memory_host h = {0};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    cr_assert(grp_driver_unload(h.driver, 2));
    h.said.size = 0;
    load(&h, 3, (struct bytes){h.log.data, h.log.size}, 1, 0);
    cr_assert(grp_driver_unload(h.driver, 4));
    grp_driver_hw(h.driver, 1);
    fetch_all(&h);
    load(&h, 5, (struct bytes){h.log.data, h.log.size}, 1, 0);
    fetch_all(&h);
    h.offset_hw = 1; /* seen by the next turn, whoever begins it */
    fetch_all(&h);
    fetch_all(&h);
    expect(&h, "F fetch NOT_COORDINATOR\nF fetch COORDINATOR_LOAD_IN_PROGRESS\n"
               "F fetch COORDINATOR_LOAD_IN_PROGRESS\nF fetch NONE t-0=10\n");
    stop(&h);
}

static void topic_deleted(struct memory_host *h, const char *name)
{
    struct grp_event event = {.kind = GRP_EV_TOPIC_DELETED, .topic = str_of(name)};
    grp_driver_submit(h->driver, &event);
}

Test(driver, forgets_the_offsets_of_a_topic_that_was_deleted_while_it_loaded)
{
    /* They were there again when the load was over, for a topic that was made anew. Those of an
     * earlier leadership are no business of a later one. */
    struct memory_host h = {0};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    cr_assert(grp_driver_unload(h.driver, 2));
    load(&h, 3, (struct bytes){h.log.data, h.log.size}, 1, 0);
    topic_deleted(&h, "t");
    cr_assert(grp_driver_unload(h.driver, 4));
    topic_deleted(&h, "t");
    load(&h, 5, (struct bytes){h.log.data, h.log.size}, 1, 1);
    fetch_all(&h);
    cr_assert(grp_driver_unload(h.driver, 6));
    h.said.size = 0;
    load(&h, 7, (struct bytes){h.log.data, h.log.size}, 1, 0);
    topic_deleted(&h, "u");
    topic_deleted(&h, "t");
    h.offset_hw = 1;
    grp_driver_hw(h.driver, 1);
    fetch_all(&h);
    expect(&h, "append acks=0 records=1 codec=0 time=1000000 end=2\nF fetch NONE\n");
    stop(&h);
}

Test(driver, ignores_epochs_that_are_past)
{
    /* Loads and unloads share one register, as in Kafka. */
    struct memory_host h = {0};
    start(&h, NULL);
    cr_assert(!grp_driver_active(h.driver));
    cr_assert(grp_driver_load_begin(h.driver, 5));
    cr_assert(!grp_driver_load_begin(h.driver, 6)); /* owned */
    cr_assert(!grp_driver_unload(h.driver, 4));
    grp_driver_load_done(h.driver, 0);
    cr_assert(grp_driver_active(h.driver));
    cr_assert(grp_driver_unload(h.driver, 7));
    cr_assert(!grp_driver_active(h.driver));
    cr_assert(!grp_driver_load_begin(h.driver, 6));
    cr_assert(grp_driver_load_begin(h.driver, 8));
    cr_assert(grp_driver_unload(h.driver, -1)); /* while loading */
    fetch_all(&h);
    expect(&h, "F fetch NOT_COORDINATOR\n");
    stop(&h);
}

Test(driver, loads_what_it_wrote_in_every_codec)
{
    /* offsets.topic.compression.codec 0-4: commits, a group, a tombstone; a second driver reads the
     * log. */
    for (int8_t codec = 0; codec <= 4; codec++) {
        struct grp_config config;
        grp_config_default(&config);
        config.compression = codec;
        struct memory_host h = {.commit_at_once = true};
        start(&h, &config);
        cr_assert(grp_driver_load_begin(h.driver, 1));
        grp_driver_load_done(h.driver, 0);
        commit(&h, 'A', 0, 10);
        commit(&h, 'A', 1, 11);
        struct grp_topic_partitions topic = {STR("t"), (const int32_t[]){1}, 1};
        struct grp_event event = {.kind = GRP_EV_OFFSET_DELETE};
        event.offset_delete = (struct grp_offset_delete){STR("g"), &topic, 1};
        grp_driver_submit(h.driver, &event);
        commit(&h, 'A', 2, 12);
        struct memory_host g = {0};
        start(&g, NULL);
        load(&g, 1, (struct bytes){h.log.data, h.log.size}, h.offset_end, h.offset_end);
        fetch_all(&g);
        expect(&g, "F fetch NONE t-0=10 t-2=12\n");
        stop(&g);
        stop(&h);
    }
}

static void put_transactional(struct buf *to, int64_t base_offset, int64_t producer_id,
                              int32_t partition, int64_t offset)
{
    struct arena arena = {0};
    struct batch_options options = batch_options_default();
    options.base_offset = base_offset;
    options.producer_id = producer_id;
    options.producer_epoch = 0;
    options.base_sequence = 0;
    options.transactional = true;
    struct grp_offset_value value = {offset, -1, STR(""), 1, -1};
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, 1, grp_record_offset_key(&arena, STR("g"), STR("t"), partition),
                      grp_record_offset_value(&arena, &value), NULL, 0);
    cr_assert_eq(batch_builder_finish(&builder, to), ERR_OK);
    batch_builder_fini(&builder);
    arena_fini(&arena);
}

Test(driver, loads_transactional_commits_with_their_markers)
{
    /* Producer 7 commits, 8 aborts, 9 is open: its offset becomes visible with a later marker. */
    struct memory_host h = {0};
    start(&h, NULL);
    put_transactional(&h.log, 0, 7, 0, 70);
    put_transactional(&h.log, 1, 8, 1, 80);
    put_transactional(&h.log, 2, 9, 2, 90);
    batch_put_marker(&h.log, &(struct batch_marker_options){
                                 .base_offset = 3, .producer_id = 7, .type = CONTROL_COMMIT});
    batch_put_marker(&h.log, &(struct batch_marker_options){
                                 .base_offset = 4, .producer_id = 8, .type = CONTROL_ABORT});
    load(&h, 1, (struct bytes){h.log.data, h.log.size}, 5, 5);
    fetch_all(&h);
    struct grp_event event = {.kind = GRP_EV_TXN_MARKER, .txn_marker = {9, true}};
    grp_driver_submit(h.driver, &event);
    fetch_all(&h);
    expect(&h, "F fetch NONE t-0=70\nF fetch NONE t-0=70 t-2=90\n");
    stop(&h);
}

Test(driver, loads_old_message_formats)
{
    /* A magic-1 message, as a broker before 0.11 left it in the offsets topic: offset, size, CRC,
     * magic, attributes, timestamp, key, value. */
    static const uint8_t KEY[] = {0, 0, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 4};
    static const uint8_t VALUE[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0,
                                    0, 0, 0, 0, 0, 1, 0, 0, 0, 0,  0, 0, 0, 2};
    struct memory_host h = {0};
    start(&h, NULL);
    buf_put_be64(&h.log, 5);
    buf_put_be32(&h.log, 4 + 1 + 1 + 8 + 4 + sizeof(KEY) + 4 + sizeof(VALUE));
    buf_put_be32(&h.log, 0); /* the log has checked CRCs */
    buf_put_byte(&h.log, 1);
    buf_put_byte(&h.log, 0);
    buf_put_be64(&h.log, 99);
    buf_put_be32(&h.log, sizeof(KEY));
    buf_put(&h.log, KEY, sizeof(KEY));
    buf_put_be32(&h.log, sizeof(VALUE));
    buf_put(&h.log, VALUE, sizeof(VALUE));
    load(&h, 1, (struct bytes){h.log.data, h.log.size}, 6, 6);
    fetch_all(&h);
    expect(&h, "F fetch NONE t-4=44\n");
    stop(&h);
}

Test(driver, skips_damaged_batches_and_owns_the_partition_all_the_same)
{
    /* Records that do not parse: that batch is left out. Bytes that are no batch: loading stops
     * there. */
    struct memory_host h = {.commit_at_once = true};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    size_t first = h.log.size;
    commit(&h, 'A', 1, 11);
    size_t second = h.log.size;
    commit(&h, 'A', 2, 12);
    memset(h.log.data + first + BATCH_HEADER_SIZE, 0xff, second - first - BATCH_HEADER_SIZE);
    struct memory_host g = {.offset_hw = 3};
    start(&g, NULL);
    cr_assert(grp_driver_load_begin(g.driver, 1));
    cr_assert_eq(grp_driver_load_batch(g.driver, (struct bytes){h.log.data, h.log.size}),
                 ERR_CORRUPT);
    cr_assert_eq(grp_driver_load_batch(g.driver, (struct bytes){h.log.data, 30}), ERR_CORRUPT);
    grp_driver_load_done(g.driver, 3);
    fetch_all(&g);
    expect(&g, "F fetch NONE t-0=10 t-2=12\n");
    stop(&g);
    stop(&h);
}

Test(driver, sets_one_timer_and_only_when_it_changes)
{
    /* A join's delay; heartbeats and fetches do not touch the timer. */
    struct memory_host h = {0};
    start_loaded(&h);
    join(&h, 'J');
    cr_assert_eq(h.timer_at_ms, 3000);
    int calls = h.timer_calls;
    for (int i = 0; i < 10; i++) {
        fetch_all(&h);
    }
    cr_assert_eq(h.timer_calls, calls);
    h.said.size = 0;
    h.now_ms = 3000;
    grp_driver_tick(h.driver);
    expect(&h, "J join NONE 1\n");
    stop(&h);
}

Test(driver, appends_tombstones_without_waiting)
{
    /* acks 0: the answer does not wait for the watermark. */
    struct memory_host h = {0};
    start_loaded(&h);
    commit(&h, 'A', 0, 10);
    h.offset_hw = 1;
    grp_driver_hw(h.driver, 1);
    h.said.size = 0;
    struct grp_event event = {.kind = GRP_EV_DELETE, .token = (void *)(uintptr_t)'D'};
    event.group_id = STR("g");
    grp_driver_submit(h.driver, &event);
    expect(&h, "append acks=0 records=1 codec=0 time=1000000 end=2\nD delete NONE\n");
    stop(&h);
}
