/* OffsetDelete, DeleteGroups, expiry, deleted topics, ListGroups. */
#include "group/grp_internal.h"
#include "grp_fixture.h"

/* A consumer's metadata, version 1 with owned partitions behind: subscribed to topic "t". */
static const uint8_t SUBSCRIBED_T[] = {0, 1, 0, 0, 0, 1, 0, 1, 't', 255, 255, 255, 255, 0, 0, 0, 0};

/* A stable consumer group "g" of one member 'A' subscribed to "t". */
static void to_subscribed(struct trace *t, const char *type, struct bytes metadata)
{
    bool quiet = t->quiet;
    t->quiet = true;
    struct grp_protocol protocol = {STR("range"), metadata};
    struct grp_event event = {.kind = GRP_EV_JOIN, .token = token_of('A')};
    event.join = (struct grp_join){.version = 3,
                                   .group_id = STR("g"),
                                   .member_id = STR(""),
                                   .client_id = STR("c"),
                                   .client_host = STR("/10.0.0.1"),
                                   .session_timeout_ms = 1800000,
                                   .rebalance_timeout_ms = 1800000,
                                   .protocol_type = str_of(type),
                                   .protocols = &protocol,
                                   .protocol_count = 1};
    step(t, &event);
    advance(t, 3000);
    sync_group(t, 'A', .assign = "A");
    ack(t);
    t->quiet = quiet;
}

static void start_short_retention(struct trace *t, int64_t retention_ms)
{
    grp_config_default(&t->config);
    t->config.offsets_retention_ms = retention_ms;
    t->config.retention_check_interval_ms = 1000;
    trace_start(t);
}

/* Nobody is to look for expired offsets: the time of the next look overflowed, and a coordinator
 * looked without end as soon as it had loaded. */
Test(expire, an_interval_longer_than_any_clock_is_never)
{
    struct trace t = {.now_ms = 5000};
    grp_config_default(&t.config);
    t.config.offsets_retention_ms = 1000;
    t.config.retention_check_interval_ms = INT64_MAX;
    trace_start(&t);
    commit(&t, 'A', .offset = 1);
    ack(&t);
    t.text.size = 0;
    advance(&t, INT32_MAX);
    fetch(&t, 'F');
    EXPECT(&t, "F fetch NONE t-0:NONE=1/-1/\"\"\n");
    trace_end(&t);
}

Test(offset_delete, of_an_empty_group_deletes_anything)
{
    /* A tombstone, acks 0, answered at once; an offset that is not there is no error. The group is
     * gone with its last offset; without a generation it has no record of its own to delete. */
    struct trace t = {0};
    trace_start(&t);
    delete_offset(&t, 'A');
    commit(&t, 'A', .offset = 1);
    commit(&t, 'A', .partition = 1, .offset = 1);
    ack(&t);
    t.text.size = 0;
    delete_offset(&t, 'A', .partition = 7);
    delete_offset(&t, 'A', .partition = 1);
    EXPECT(&t, "A offset delete NONE t-7:NONE\n"
               "append acks=0 offset g t-1 tombstone\n"
               "A offset delete NONE t-1:NONE\n");
    delete_offset(&t, 'A');
    group_event(&t, 'D', GRP_EV_DESCRIBE, "g");
    EXPECT(&t, "append acks=0 offset g t-0 tombstone\n"
               "A offset delete NONE t-0:NONE\n"
               "D describe NONE group=g state=Dead type= proto=\n");
    trace_end(&t);
}

Test(offset_delete, of_an_active_consumer_group_spares_subscribed_topics)
{
    /* "t" is subscribed, "u" is not. */
    struct trace t = {0};
    trace_start(&t);
    to_subscribed(&t, "consumer", (struct bytes){SUBSCRIBED_T, sizeof(SUBSCRIBED_T)});
    t.quiet = true;
    commit(&t, 'A', .member = true, .offset = 1);
    commit(&t, 'A', .member = true, .topic = "u", .offset = 1);
    ack(&t);
    t.quiet = false;
    delete_offset(&t, 'Z');
    delete_offset(&t, 'Z', .topic = "u");
    EXPECT(&t, "Z offset delete NONE t-0:GROUP_SUBSCRIBED_TO_TOPIC\n"
               "append acks=0 offset g u-0 tombstone\n"
               "Z offset delete NONE u-0:NONE\n");
    trace_end(&t);
}

Test(offset_delete, without_readable_subscriptions_spares_everything)
{
    /* Metadata that is no consumer metadata: every topic counts as subscribed. Another protocol
     * type cannot say: NON_EMPTY_GROUP. */
    struct trace t = {0};
    trace_start(&t);
    to_subscribed(&t, "consumer", (struct bytes){(const uint8_t *)"m", 1});
    delete_offset(&t, 'Z', .topic = "u");
    EXPECT(&t, "Z offset delete NONE u-0:GROUP_SUBSCRIBED_TO_TOPIC\n");
    trace_end(&t);
    t = (struct trace){0};
    trace_start(&t);
    to_subscribed(&t, "connect", (struct bytes){(const uint8_t *)"m", 1});
    delete_offset(&t, 'Z', .topic = "u");
    EXPECT(&t, "Z offset delete NON_EMPTY_GROUP\n");
    trace_end(&t);
}

Test(offset_delete, spares_everything_where_a_member_names_very_many_topics)
{
    /* Each name took many times what it takes in the request, which nothing counted, and the loop
     * stood still meanwhile: a few members could take all memory. Beyond a bound nobody looks, and
     * every topic counts as subscribed. */
    for (int more = 0; more <= 1; more++) {
        int count = GRP_SUBSCRIBED_MAX + more;
        struct buf metadata = {0};
        buf_put_be16(&metadata, 1);
        buf_put_be32(&metadata, (uint32_t)count);
        for (int i = 0; i < count; i++) {
            buf_put_be16(&metadata, 6);
            buf_printf(&metadata, "%06d", i);
        }
        buf_put_be32(&metadata, UINT32_MAX);
        struct trace t = {0};
        trace_start(&t);
        to_subscribed(&t, "consumer", (struct bytes){metadata.data, metadata.size});
        delete_offset(&t, 'Z', .topic = "u");
        EXPECT(&t, more ? "Z offset delete NONE u-0:GROUP_SUBSCRIBED_TO_TOPIC\n"
                        : "Z offset delete NONE u-0:NONE\n");
        trace_end(&t);
        buf_fini(&metadata);
    }
}

Test(offset_delete, of_nothing_that_exists_leaves_the_group_alone)
{
    /* A request whose partitions are all unknown took a group away whose first member had just got
     * its id. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .version = 9, .id = "");
    struct grp_event event = {.kind = GRP_EV_OFFSET_DELETE, .token = token_of('Z')};
    event.offset_delete = (struct grp_offset_delete){.group_id = STR("g")};
    step(&t, &event);
    group_event(&t, 'D', GRP_EV_DESCRIBE, "g");
    EXPECT(&t, "A join MEMBER_ID_REQUIRED gen=-1 type=null proto=null leader= id=c#1\n"
               "Z offset delete NONE\n"
               "D describe NONE group=g state=Empty type= proto=\n");
    trace_end(&t);
}

Test(offset_delete, takes_pending_commits_along)
{
    /* The commit is in the log before the tombstone: it must not come back when it is committed. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .partition = 1, .offset = 1);
    ack(&t);
    commit(&t, 'A', .offset = 1);
    t.text.size = 0;
    delete_offset(&t, 'Z');
    ack(&t);
    fetch(&t, 'F', .stable = true);
    EXPECT(&t, "append acks=0 offset g t-0 tombstone\n"
               "Z offset delete NONE t-0:NONE\n"
               "A commit NONE t-0:NONE\n"
               "F fetch NONE t-0:NONE=-1/-1/\"\"\n");
    trace_end(&t);
}

Test(delete_groups, only_empty_ones)
{
    /* All offsets and the group get tombstones in one batch. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "A");
    commit(&t, 'A', .member = true, .offset = 1);
    commit(&t, 'A', .member = true, .topic = "u", .partition = 2, .offset = 1);
    ack(&t);
    t.text.size = 0;
    group_event(&t, 'Z', GRP_EV_DELETE, "nobody");
    group_event(&t, 'Z', GRP_EV_DELETE, "g");
    leave(&t, 'A');
    EXPECT(&t, "Z delete GROUP_ID_NOT_FOUND\n"
               "Z delete NON_EMPTY_GROUP\n"
               "append acks=-1 group g gen=2 at=1003000 type=consumer proto=null leader=null\n"
               "A leave NONE c#1/null:NONE\n");
    group_event(&t, 'Z', GRP_EV_DELETE, "g");
    group_event(&t, 'Z', GRP_EV_DELETE, "g");
    ack(&t); /* of the empty generation */
    EXPECT(&t, "append acks=0 offset g t-0 tombstone offset g u-2 tombstone group g tombstone\n"
               "Z delete NONE\n"
               "Z delete GROUP_ID_NOT_FOUND\n");
    cr_assert_eq(grp_memory_bytes(t.coord), 0);
    trace_end(&t);
}

Test(delete_groups, with_a_commit_under_way_answers_it)
{
    /* The commit was written; it says so, and the offset stays deleted. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .offset = 1);
    t.text.size = 0;
    group_event(&t, 'Z', GRP_EV_DELETE, "g");
    ack(&t);
    fetch(&t, 'F');
    EXPECT(&t, "append acks=0 offset g t-0 tombstone\n"
               "Z delete NONE\n"
               "A commit NONE t-0:NONE\n"
               "F fetch NONE t-0:NONE=-1/-1/\"\"\n");
    trace_end(&t);
}

Test(delete_groups, splits_many_tombstones_into_batches)
{
    /* batch_bytes_max 400: a handful of keys each, none forgotten. */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.batch_bytes_max = 400;
    t.config.retention_check_interval_ms = 0;
    trace_start(&t);
    t.quiet = true;
    for (int32_t i = 0; i < 20; i++) {
        commit(&t, 'A', .partition = i);
    }
    ack(&t);
    t.quiet = false;
    group_event(&t, 'Z', GRP_EV_DELETE, "g");
    EXPECT(
        &t,
        "append acks=0 offset g t-19 tombstone offset g t-18 tombstone offset g t-17 tombstone offset g t-16 tombstone offset g t-15 tombstone offset g t-14 tombstone\n"
        "append acks=0 offset g t-13 tombstone offset g t-12 tombstone offset g t-11 tombstone offset g t-10 tombstone offset g t-9 tombstone offset g t-8 tombstone\n"
        "append acks=0 offset g t-7 tombstone offset g t-6 tombstone offset g t-5 tombstone offset g t-4 tombstone offset g t-3 tombstone offset g t-2 tombstone\n"
        "append acks=0 offset g t-1 tombstone offset g t-0 tombstone\n"
        "Z delete NONE\n");
    trace_end(&t);
}

Test(expiry, of_a_simple_group_counts_from_the_commit)
{
    /* Retention 10 s, looked at each second. Recommitting starts over; a pending commit protects.
     */
    struct trace t = {0};
    start_short_retention(&t, 10000);
    commit(&t, 'A', .offset = 1);
    commit(&t, 'A', .partition = 1, .offset = 1);
    ack(&t);
    advance_to(&t, 5000);
    commit(&t, 'A', .offset = 2);
    ack(&t);
    t.text.size = 0;
    advance_to(&t, 9999);
    EXPECT(&t, "");
    advance_to(&t, 10000);
    EXPECT(&t, "at 10000:\n"
               "append acks=0 offset g t-1 tombstone\n");
    commit(&t, 'A', .offset = 3);
    t.text.size = 0;
    advance_to(&t, 20000);
    EXPECT(&t, "");
    ack(&t);
    advance_to(&t, 30000);
    group_event(&t, 'D', GRP_EV_DESCRIBE, "g");
    EXPECT(&t, "A commit NONE t-0:NONE\n"
               "at 21000:\n"
               "append acks=0 offset g t-0 tombstone\n"
               "D describe NONE group=g state=Dead type= proto=\n");
    trace_end(&t);
}

Test(expiry, of_an_empty_group_counts_from_when_it_became_empty)
{
    /* Not from the commits, which are older. The group's own tombstone goes along. */
    struct trace t = {0};
    start_short_retention(&t, 10000);
    to_stable(&t, "A");
    commit(&t, 'A', .member = true, .offset = 1);
    ack(&t);
    while (t.now_ms < 20000) {
        advance(&t, 4000);
        heartbeat(&t, 'A');
    }
    leave(&t, 'A');
    ack(&t);
    int64_t empty_ms = t.now_ms;
    t.text.size = 0;
    advance_to(&t, empty_ms + 9999);
    EXPECT(&t, "");
    advance_to(&t, empty_ms + 10999);
    EXPECT(&t, "at 33000:\n"
               "append acks=0 offset g t-0 tombstone group g tombstone\n");
    trace_end(&t);
}

Test(expiry, of_a_stable_consumer_group_takes_unsubscribed_topics_only)
{
    /* "t" is read, "u" is not any more. */
    struct trace t = {0};
    start_short_retention(&t, 10000);
    to_subscribed(&t, "consumer", (struct bytes){SUBSCRIBED_T, sizeof(SUBSCRIBED_T)});
    commit(&t, 'A', .member = true, .offset = 1);
    commit(&t, 'A', .member = true, .topic = "u", .offset = 1);
    ack(&t);
    t.text.size = 0;
    advance(&t, 30000);
    fetch(&t, 'F', .all = true);
    EXPECT(&t, "at 13000:\n"
               "append acks=0 offset g u-0 tombstone\n"
               "F fetch NONE t-0:NONE=1/-1/\"\"\n");
    trace_end(&t);
}

Test(expiry, spares_active_groups_that_do_not_say_what_they_read)
{
    /* Unreadable metadata, or another protocol type. */
    struct trace t = {0};
    start_short_retention(&t, 10000);
    to_subscribed(&t, "connect", (struct bytes){SUBSCRIBED_T, sizeof(SUBSCRIBED_T)});
    commit(&t, 'A', .member = true, .topic = "u", .offset = 1);
    ack(&t);
    t.text.size = 0;
    advance(&t, 30000);
    fetch(&t, 'F', .all = true);
    EXPECT(&t, "F fetch NONE u-0:NONE=1/-1/\"\"\n");
    trace_end(&t);
}

Test(expiry, prefers_the_time_that_the_commit_named)
{
    /* Versions 2-4: shorter or longer than the broker's retention. */
    struct trace t = {0};
    start_short_retention(&t, 10000);
    commit(&t, 'A', .offset = 1, .retention_ms = 2000);
    commit(&t, 'A', .partition = 1, .offset = 1, .retention_ms = 20000);
    ack(&t);
    t.text.size = 0;
    advance_to(&t, 60000);
    EXPECT(&t, "at 2000:\n"
               "append acks=0 offset g t-0 tombstone\n"
               "at 20000:\n"
               "append acks=0 offset g t-1 tombstone\n");
    trace_end(&t);
}

Test(expiry, removes_empty_groups_that_hold_nothing)
{
    /* A group made by a JoinGroup that was refused; one that was used and is over: only that has a
     * record. */
    struct trace t = {0};
    start_short_retention(&t, 10000);
    join(&t, 'X', .group = "refused", .protocols = "-");
    to_stable(&t, "A");
    leave(&t, 'A');
    list(&t, 'L', NULL, NULL);
    t.text.size = 0;
    simple(&t, GRP_EV_EXPIRE);
    list(&t, 'L', NULL, NULL);
    EXPECT(&t, "append acks=0 group g tombstone\n"
               "L list NONE\n");
    trace_end(&t);
}

/* Appends of a step that ends what many groups have committed. */
static size_t appends_that_end(enum grp_event_kind kind, int groups)
{
    struct trace t = {0};
    start_short_retention(&t, 10000);
    t.quiet = true;
    for (int i = 0; i < groups; i++) {
        char group[32];
        snprintf(group, sizeof(group), "group-%04d", i);
        commit(&t, 'A', .group = group, .offset = 1);
    }
    ack(&t);
    t.now_ms += 20000; /* past the sweeps: the event itself is the one that expires */
    struct grp_out out;
    grp_out_init(&out);
    struct grp_event event = {.kind = kind, .now_ms = t.now_ms, .wall_ms = t.wall_ms + 20000};
    event.topic = kind == GRP_EV_TOPIC_DELETED ? STR("t") : STR_NULL;
    grp_step(t.coord, &event, &out);
    size_t records = 0;
    size_t appends = 0;
    for (const struct grp_append *append = out.appends; append != NULL; append = append->next) {
        records += append->record_count;
        appends++;
    }
    grp_out_fini(&out);
    cr_assert_eq(records, (size_t)groups);
    cr_assert_eq(grp_group_count(t.coord), 0);
    trace_end(&t);
    return appends;
}

Test(expiry, of_very_many_groups_takes_few_appends)
{
    /* It was one for each group, all in one step. A batch ends at 64 KiB. */
    cr_assert_eq(appends_that_end(GRP_EV_EXPIRE, 3000), 3);
    cr_assert_eq(appends_that_end(GRP_EV_TOPIC_DELETED, 3000), 3);
}

Test(topics, that_are_deleted_take_their_offsets_along)
{
    /* In every group; a group that is left with nothing goes. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .group = "one", .partition = 1);
    commit(&t, 'A', .group = "two", .partition = 2);
    commit(&t, 'A', .group = "two", .topic = "u");
    commit(&t, 'A', .group = "three", .topic = "u");
    ack(&t);
    t.text.size = 0;
    step(&t, &(struct grp_event){.kind = GRP_EV_TOPIC_DELETED, .topic = STR("t")});
    list(&t, 'L', NULL, NULL);
    EXPECT(&t, "append acks=0 offset one t-1 tombstone offset two t-2 tombstone\n"
               "L list NONE two::Empty:classic three::Empty:classic\n");
    trace_end(&t);
}

Test(list, filters_by_state_and_type)
{
    /* Any case; only "classic" is a type here. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'Z', .group = "simple");
    ack(&t);
    to_stable(&t, "A");
    t.text.size = 0;
    list(&t, 'L', NULL, NULL);
    list(&t, 'L', "sTABLE", NULL);
    list(&t, 'L', "Empty", "Classic");
    list(&t, 'L', "Dead", NULL);
    list(&t, 'L', NULL, "consumer");
    EXPECT(&t, "L list NONE simple::Empty:classic g:consumer:Stable:classic\n"
               "L list NONE g:consumer:Stable:classic\n"
               "L list NONE simple::Empty:classic\n"
               "L list NONE\n"
               "L list NONE\n");
    trace_end(&t);
}
