/* OffsetCommit and OffsetFetch: who may commit when, what is visible when, how failures read. */
#include "grp_fixture.h"

Test(commit, of_a_group_without_members_needs_no_generation)
{
    /* A tool, or a consumer with manual assignment: the group is made, Empty and without a type.
     * The offset is visible once it is committed. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .partition = 3, .offset = 42, .metadata = "note", .epoch = 5);
    fetch(&t, 'F', .partition = 3);
    fetch(&t, 'G', .partition = 3, .stable = true);
    EXPECT(&t, "append acks=-1 offset g t-3=42/5/\"note\" at=1000000\n"
               "F fetch NONE t-3:NONE=-1/-1/\"\"\n"
               "G fetch NONE t-3:UNSTABLE_OFFSET_COMMIT=-1/-1/\"\"\n");
    ack(&t);
    fetch(&t, 'F', .partition = 3);
    fetch(&t, 'G', .partition = 3, .stable = true);
    group_event(&t, 'D', GRP_EV_DESCRIBE, "g");
    EXPECT(&t, "A commit NONE t-3:NONE\n"
               "F fetch NONE t-3:NONE=42/5/\"note\"\n"
               "G fetch NONE t-3:NONE=42/5/\"note\"\n"
               "D describe NONE group=g state=Empty type= proto=\n");
    trace_end(&t);
}

Test(commit, waits_for_the_log_alone_where_its_acks_say_so)
{
    /* offsets.commit.required.acks 0 or 1. */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.retention_check_interval_ms = 0;
    t.config.commit_acks = 0;
    trace_start(&t);
    commit(&t, 'A', .partition = 3, .offset = 42);
    EXPECT(&t, "append acks=0 offset g t-3=42/-1/\"\" at=1000000\n");
    trace_end(&t);
}

Test(commit, is_refused_for_unknown_groups_members_and_generations)
{
    /* The matrix of member, generation and state. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .generation = 1);            /* no such group */
    commit(&t, 'A', .generation = 1, .id = "x"); /* the same */
    commit(&t, 'B', .group = "s", .offset = 1);  /* makes an empty group */
    commit(&t, 'B', .group = "s", .generation = 1, .id = "x");
    commit(&t, 'B', .group = "s", .id = "x",
           .offset = 2); /* generation -1 of an empty group is fine */
    EXPECT(&t, "A commit NONE t-0:ILLEGAL_GENERATION\n"
               "A commit NONE t-0:ILLEGAL_GENERATION\n"
               "append acks=-1 offset s t-0=1/-1/\"\" at=1000000\n"
               "B commit NONE t-0:UNKNOWN_MEMBER_ID\n"
               "append acks=-1 offset s t-0=2/-1/\"\" at=1000000\n");
    to_stable(&t, "CD");
    t.text.size = 0;
    commit(&t, 'X', .offset = 7);
    commit(&t, 'X', .id = "x");
    commit(&t, 'X', .instance = "i");
    commit(&t, 'C', .member = true, .generation = 9);
    commit(&t, 'C', .member = true, .generation = -1);
    commit(&t, 'C', .member = true, .instance = "i");
    EXPECT(&t, "X commit NONE t-0:UNKNOWN_MEMBER_ID\n"
               "X commit NONE t-0:UNKNOWN_MEMBER_ID\n"
               "X commit NONE t-0:UNKNOWN_MEMBER_ID\n"
               "C commit NONE t-0:ILLEGAL_GENERATION\n"
               "C commit NONE t-0:ILLEGAL_GENERATION\n"
               "C commit NONE t-0:UNKNOWN_MEMBER_ID\n");
    trace_end(&t);
}

Test(commit, stable_and_preparing_accept_completing_does_not)
{
    /* In CompletingRebalance the consumer must first learn of the rebalance. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    commit(&t, 'A', .member = true, .offset = 1);
    join(&t, 'A');
    commit(&t, 'B', .member = true, .partition = 1, .offset = 2);
    EXPECT(&t, "append acks=-1 offset g t-0=1/-1/\"\" at=1006000\n"
               "append acks=-1 offset g t-1=2/-1/\"\" at=1006000\n");
    join(&t, 'B');
    t.text.size = 0;
    commit(&t, 'B', .member = true, .partition = 1, .offset = 3);
    EXPECT(&t, "B commit NONE t-1:REBALANCE_IN_PROGRESS\n");
    ack(&t);
    EXPECT(&t, "A commit NONE t-0:NONE\n"
               "B commit NONE t-1:NONE\n");
    trace_end(&t);
}

Test(commit, counts_as_a_heartbeat)
{
    /* B never heartbeats but commits. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "B");
    t.quiet = true;
    for (int i = 0; i < 5; i++) {
        advance(&t, 9000);
        commit(&t, 'B', .member = true, .offset = i);
        ack(&t);
    }
    t.quiet = false;
    heartbeat(&t, 'B');
    EXPECT(&t, "B heartbeat NONE\n");
    trace_end(&t);
}

Test(commit, metadata_is_limited_in_utf16_units)
{
    /* 4096 units pass, 4097 do not; a character beyond U+FFFF counts two, an umlaut one. */
    struct trace t = {0};
    trace_start(&t);
    char *fits = mem_printf("%04096d", 1);
    char *too_long = mem_printf("%04097d", 1);
    struct buf wide = {0};
    struct buf widest = {0};
    for (int i = 0; i < 2048; i++) {
        buf_put_text(&wide, "\xf0\x9f\x98\x80");
        buf_put_text(&widest, "\xf0\x9f\x98\x80");
    }
    buf_put_byte(&wide, 0);
    buf_put_text(&widest, "\xf0\x9f\x98\x80");
    buf_put_byte(&widest, 0);
    struct buf wider = {0};
    for (int i = 0; i < 4096; i++) {
        buf_put_text(&wider, "\xc3\xa4");
    }
    buf_put_text(&wider, "!");
    buf_put_byte(&wider, 0);
    t.quiet = true;
    const char *metadata[] = {fits, too_long, (char *)wide.data, (char *)wider.data,
                              (char *)widest.data};
    for (int i = 0; i < 5; i++) {
        commit(&t, 'A', .partition = i, .metadata = metadata[i], .offset = i);
        ack(&t);
    }
    t.quiet = false;
    cr_assert_eq(t.log_count, 2); /* the first and the third */
    /* In one request only the partition that is too long fails. */
    struct grp_commit_partition partitions[] = {
        {.partition = 8,
         .leader_epoch = -1,
         .commit_timestamp_ms = -1,
         .metadata = str_of(too_long)},
        {.partition = 9, .leader_epoch = -1, .commit_timestamp_ms = -1, .metadata = STR_NULL},
    };
    struct grp_commit_topic topic = {STR("t"), partitions, 2};
    struct grp_event event = {.kind = GRP_EV_COMMIT, .token = token_of('B')};
    event.commit = (struct grp_commit){.group_id = STR("g"),
                                       .member_id = STR(""),
                                       .generation = -1,
                                       .retention_ms = -1,
                                       .topics = &topic,
                                       .topic_count = 1};
    step(&t, &event);
    ack(&t);
    EXPECT(&t, "append acks=-1 offset g t-9=0/-1/\"\" at=1000000\n"
               "B commit NONE t-8:OFFSET_METADATA_TOO_LARGE t-9:NONE\n");
    mem_free(fits);
    mem_free(too_long);
    buf_fini(&wide);
    buf_fini(&wider);
    buf_fini(&widest);
    trace_end(&t);
}

Test(commit, old_versions_bring_their_own_times)
{
    /* Version 1: commit timestamp. Versions 2-4: retention, which makes the record a version 1 with
     * an expiry time. A retention without end does not overflow. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .timestamp_ms = 555, .epoch = 4);
    commit(&t, 'A', .partition = 1, .retention_ms = 1000, .epoch = 4);
    commit(&t, 'A', .partition = 2, .retention_ms = INT64_MAX);
    EXPECT(&t, "append acks=-1 offset g t-0=0/4/\"\" at=555\n"
               "append acks=-1 offset g t-1=0/-1/\"\" at=1000000 expires=1001000\n"
               "append acks=-1 offset g t-2=0/-1/\"\" at=1000000 expires=9223372036854775807\n");
    trace_end(&t);
}

Test(commit, two_under_way_end_in_log_order)
{
    /* The second is pending when the first is committed: stable reads still wait, others see the
     * first. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .offset = 1);
    commit(&t, 'B', .offset = 2);
    ack_one(&t);
    fetch(&t, 'F');
    fetch(&t, 'G', .stable = true);
    EXPECT(&t, "append acks=-1 offset g t-0=1/-1/\"\" at=1000000\n"
               "append acks=-1 offset g t-0=2/-1/\"\" at=1000000\n"
               "A commit NONE t-0:NONE\n"
               "F fetch NONE t-0:NONE=1/-1/\"\"\n"
               "G fetch NONE t-0:UNSTABLE_OFFSET_COMMIT=-1/-1/\"\"\n");
    ack_one(&t);
    fetch(&t, 'F');
    fetch(&t, 'G', .stable = true);
    EXPECT(&t, "B commit NONE t-0:NONE\n"
               "F fetch NONE t-0:NONE=2/-1/\"\"\n"
               "G fetch NONE t-0:NONE=2/-1/\"\"\n");
    trace_end(&t);
}

Test(commit, failures_are_mapped_and_leave_the_old_offset)
{
    /* The log's errors, as clients are told them. */
    static const enum err ERRORS[] = {
        ERR_NOT_ENOUGH_REPLICAS,        ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_NOT_LEADER_OR_FOLLOWER,
        ERR_KAFKA_STORAGE_ERROR,        ERR_NETWORK_EXCEPTION,
        ERR_MESSAGE_TOO_LARGE,          ERR_RECORD_LIST_TOO_LARGE,
        ERR_INVALID_FETCH_SIZE,         ERR_CORRUPT_MESSAGE,
    };
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .offset = 1);
    ack(&t);
    t.text.size = 0;
    for (size_t i = 0; i < sizeof(ERRORS) / sizeof(ERRORS[0]); i++) {
        t.quiet = true;
        commit(&t, 'A', .offset = 2);
        t.quiet = false;
        fail(&t, ERRORS[i], false);
    }
    fetch(&t, 'F', .stable = true);
    EXPECT(&t, "A commit NONE t-0:COORDINATOR_NOT_AVAILABLE\n"
               "A commit NONE t-0:COORDINATOR_NOT_AVAILABLE\n"
               "A commit NONE t-0:COORDINATOR_NOT_AVAILABLE\n"
               "A commit NONE t-0:NOT_COORDINATOR\n"
               "A commit NONE t-0:NOT_COORDINATOR\n"
               "A commit NONE t-0:COORDINATOR_LOAD_IN_PROGRESS\n"
               "A commit NONE t-0:INVALID_COMMIT_OFFSET_SIZE\n"
               "A commit NONE t-0:INVALID_COMMIT_OFFSET_SIZE\n"
               "A commit NONE t-0:INVALID_COMMIT_OFFSET_SIZE\n"
               "A commit NONE t-0:CORRUPT_MESSAGE\n"
               "F fetch NONE t-0:NONE=1/-1/\"\"\n");
    trace_end(&t);
}

Test(commit, that_times_out_is_visible_once_committed_after_all)
{
    /* The client is told REQUEST_TIMED_OUT; the record is in the log, so the offset stays pending.
     */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'A', .offset = 1);
    t.text.size = 0;
    fail(&t, ERR_REQUEST_TIMED_OUT, true);
    fetch(&t, 'F', .stable = true);
    EXPECT(&t, "A commit NONE t-0:REQUEST_TIMED_OUT\n"
               "F fetch NONE t-0:UNSTABLE_OFFSET_COMMIT=-1/-1/\"\"\n");
    ack(&t);
    fetch(&t, 'F', .stable = true);
    EXPECT(&t, "F fetch NONE t-0:NONE=1/-1/\"\"\n");
    trace_end(&t);
}

Test(commit, of_one_partition_twice_in_a_request_keeps_the_last)
{
    /* Both are written, in order; the later one counts. */
    struct trace t = {0};
    trace_start(&t);
    struct grp_commit_partition partitions[] = {
        {.partition = 0, .leader_epoch = -1, .commit_timestamp_ms = -1, .offset = 5},
        {.partition = 0, .leader_epoch = -1, .commit_timestamp_ms = -1, .offset = 6},
    };
    struct grp_commit_topic topic = {STR("t"), partitions, 2};
    struct grp_event event = {.kind = GRP_EV_COMMIT, .token = token_of('B')};
    event.commit = (struct grp_commit){.group_id = STR("g"),
                                       .member_id = STR(""),
                                       .generation = -1,
                                       .retention_ms = -1,
                                       .topics = &topic,
                                       .topic_count = 1};
    step(&t, &event);
    ack(&t);
    fetch(&t, 'F');
    EXPECT(&t,
           "append acks=-1 offset g t-0=5/-1/\"\" at=1000000 offset g t-0=6/-1/\"\" at=1000000\n"
           "B commit NONE t-0:NONE t-0:NONE\n"
           "F fetch NONE t-0:NONE=6/-1/\"\"\n");
    trace_end(&t);
}

Test(commit, that_does_not_fit_memory_is_refused)
{
    /* memory_bytes_max: retriable, nothing kept. */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.memory_bytes_max = 2000;
    trace_start(&t);
    char *metadata = mem_printf("%02000d", 1);
    commit(&t, 'A', .metadata = metadata);
    mem_free(metadata);
    cr_assert_eq(grp_memory_bytes(t.coord), 0);
    EXPECT(&t, "A commit NONE t-0:COORDINATOR_NOT_AVAILABLE\n");
    trace_end(&t);
}

Test(fetch, of_all_lists_every_committed_offset_by_topic)
{
    /* Partitions ascending; what is only pending is not listed; unknown groups have none. */
    struct trace t = {0};
    trace_start(&t);
    t.quiet = true;
    static const int32_t PARTITIONS[] = {7, 2, 30, 4, 0, 11};
    for (size_t i = 0; i < 6; i++) {
        commit(&t, 'A', .topic = i % 2 == 0 ? "t" : "u", .partition = PARTITIONS[i],
               .offset = (int64_t)i);
    }
    ack(&t);
    commit(&t, 'A', .topic = "pending", .offset = 9);
    commit(&t, 'A', .topic = "t", .partition = 30, .offset = 9);
    t.quiet = false;
    fetch(&t, 'F', .all = true);
    fetch(&t, 'G', .all = true, .stable = true);
    fetch(&t, 'H', .all = true, .group = "nobody");
    fetch(&t, 'H', .partition = 5, .group = "nobody");
    fetch(&t, 'H', .partition = 5);
    EXPECT(
        &t,
        "F fetch NONE t-0:NONE=4/-1/\"\" t-7:NONE=0/-1/\"\" t-30:NONE=2/-1/\"\" u-2:NONE=1/-1/\"\" u-4:NONE=3/-1/\"\" u-11:NONE=5/-1/\"\"\n"
        "G fetch NONE t-0:NONE=4/-1/\"\" t-7:NONE=0/-1/\"\" t-30:UNSTABLE_OFFSET_COMMIT=-1/-1/\"\" u-2:NONE=1/-1/\"\" u-4:NONE=3/-1/\"\" u-11:NONE=5/-1/\"\"\n"
        "H fetch NONE\n"
        "H fetch NONE t-5:NONE=-1/-1/\"\"\n"
        "H fetch NONE t-5:NONE=-1/-1/\"\"\n");
    trace_end(&t);
}

Test(fetch, does_not_care_about_the_groups_state)
{
    /* Offsets of a group that rebalances are readable. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    t.quiet = true;
    commit(&t, 'A', .member = true, .offset = 1);
    ack(&t);
    join(&t, 'A');
    t.quiet = false;
    fetch(&t, 'F');
    EXPECT(&t, "F fetch NONE t-0:NONE=1/-1/\"\"\n");
    trace_end(&t);
}
