/* JoinGroup: every row of the rules for new and known members, and what versions 0 to 9 see. */
#include "grp_fixture.h"

Test(join, a_new_group_waits_for_the_initial_delay)
{
    /* The first member of a new group is answered when the delay is over, as leader with all
     * members. */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A');
    EXPECT(&t, "");
    advance(&t, 2999);
    EXPECT(&t, "");
    advance(&t, 1);
    EXPECT(&t, "at 3000:\n"
               "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&t);
}

Test(join, each_new_member_prolongs_the_initial_delay_up_to_the_rebalance_timeout)
{
    /* Delay 3 s, rebalance timeout 7 s: members that come at 1 s and 4 s prolong to 3+3 and then to
     * 7 s, and no further. */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A', .rebalance_ms = 7000);
    advance_to(&t, 1000);
    enter(&t, 'B', .rebalance_ms = 7000);
    advance_to(&t, 4000);
    enter(&t, 'C', .rebalance_ms = 7000);
    advance_to(&t, 6500);
    enter(&t, 'D', .rebalance_ms = 7000);
    EXPECT(&t, "");
    advance_to(&t, 20000);
    EXPECT(
        &t,
        "at 7000:\n"
        "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=m c#3=m c#4=m]\n"
        "B join NONE gen=1 type=consumer proto=range leader=c#1 id=c#2\n"
        "C join NONE gen=1 type=consumer proto=range leader=c#1 id=c#3\n"
        "D join NONE gen=1 type=consumer proto=range leader=c#1 id=c#4\n"
        "at 14000:\n"
        "append acks=-1 group g gen=2 at=1014000 type=consumer proto=null leader=null\n");
    trace_end(&t);
}

/* Kafka takes any number; a broker with such a configuration ended at its start. */
Test(join, a_delay_below_zero_is_none)
{
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.initial_rebalance_delay_ms = -1;
    t.config.retention_check_interval_ms = 0;
    trace_start(&t);
    enter(&t, 'A');
    EXPECT(&t, "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&t);
}

Test(join, a_delay_of_zero_answers_at_once)
{
    /* The shipped configuration of a test broker: no delay, the reply comes out of the same step.
     */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.initial_rebalance_delay_ms = 0;
    t.config.retention_check_interval_ms = 0;
    trace_start(&t);
    enter(&t, 'A');
    EXPECT(&t, "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&t);
}

Test(join, version_4_gets_a_member_id_first)
{
    /* A dynamic member of version 4 and later is sent away with an id, and comes back with it. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .version = 4);
    group_event(&t, 'Z', GRP_EV_DESCRIBE, "g");
    join(&t, 'A', .version = 4);
    advance(&t, 3000);
    EXPECT(&t, "A join MEMBER_ID_REQUIRED gen=-1 type=null proto= leader= id=c#1\n"
               "Z describe NONE group=g state=Empty type= proto=\n"
               "at 3000:\n"
               "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&t);
}

Test(join, versions_differ_in_null_and_empty_protocol_names)
{
    /* Below 7 "no protocol" is "", from 7 on null; version 0's rebalance timeout is its session's.
     */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A', .session_ms = 1);
    join(&t, 'B', .version = 7, .session_ms = 1);
    join(&t, 'C', .version = 9, .session_ms = 2000000);
    EXPECT(&t, "A join INVALID_SESSION_TIMEOUT gen=-1 type=null proto= leader= id=\n"
               "B join INVALID_SESSION_TIMEOUT gen=-1 type=null proto=null leader= id=\n"
               "C join INVALID_SESSION_TIMEOUT gen=-1 type=null proto=null leader= id=\n");
    join(&t, 'D', .version = -1, .session_ms = 8000);
    advance(&t, 3000);
    sync_group(&t, 'D', .assign = "D");
    ack(&t);
    struct arena arena = {0};
    struct grp_group_record stored;
    cr_assert_eq(grp_record_decode_group(&arena, t.log[t.log_count - 1].value, &stored), ERR_OK);
    cr_assert_eq(stored.members[0].rebalance_timeout_ms, 8000);
    cr_assert_eq(stored.members[0].session_timeout_ms, 8000);
    arena_fini(&arena);
    trace_end(&t);
}

Test(join, a_member_id_that_is_not_used_expires_and_stops_blocking)
{
    /* A pending id keeps a rebalance from completing early, until its session timeout. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "A");
    join(&t, 'B', .session_ms = 8000);
    heartbeat(&t, 'A');
    EXPECT(&t, "B join MEMBER_ID_REQUIRED gen=-1 type=null proto= leader= id=c#1\n"
               "A heartbeat NONE\n");
    join(&t, 'A'); /* the leader rejoins: everyone has, but B's id is out */
    heartbeat(&t, 'A');
    EXPECT(&t, "A heartbeat REBALANCE_IN_PROGRESS\n");
    advance(&t, 8000);
    EXPECT(&t, "at 11000:\n"
               "A join NONE gen=2 type=consumer proto=range leader=c#2 id=c#2 members=[c#2=m]\n");
    join(&t, 'B'); /* too late */
    EXPECT(&t, "B join UNKNOWN_MEMBER_ID gen=-1 type=null proto= leader= id=c#1\n");
    trace_end(&t);
}

Test(join, unknown_ids_and_groups_are_refused)
{
    /* A group is only made for an empty member id; unknown ids and instances are told so. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .id = "ghost");
    group_event(&t, 'Z', GRP_EV_DESCRIBE, "g");
    to_stable(&t, "B");
    join(&t, 'C', .id = "ghost");
    join(&t, 'D', .id = "ghost", .instance = "i");
    join(&t, 'E', .id = "ghost", .protocols = "other:m");
    EXPECT(&t, "A join UNKNOWN_MEMBER_ID gen=-1 type=null proto= leader= id=ghost\n"
               "Z describe NONE group=g state=Dead type= proto=\n"
               "C join UNKNOWN_MEMBER_ID gen=-1 type=null proto= leader= id=ghost\n"
               "D join UNKNOWN_MEMBER_ID gen=-1 type=null proto= leader= id=ghost\n"
               "E join INCONSISTENT_GROUP_PROTOCOL gen=-1 type=null proto= leader= id=ghost\n");
    trace_end(&t);
}

Test(join, protocols_must_fit_the_group)
{
    /* No protocol, no type, another type, nothing in common: INCONSISTENT_GROUP_PROTOCOL, before
     * any look at the member id. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .protocols = "-");
    join(&t, 'B', .type = "");
    to_stable(&t, "C");
    join(&t, 'D', .type = "connect");
    join(&t, 'E', .protocols = "sticky:m");
    join(&t, 'C', .protocols = "sticky:m");
    EXPECT(&t, "A join INCONSISTENT_GROUP_PROTOCOL gen=-1 type=null proto= leader= id=\n"
               "B join INCONSISTENT_GROUP_PROTOCOL gen=-1 type=null proto= leader= id=\n"
               "D join INCONSISTENT_GROUP_PROTOCOL gen=-1 type=null proto= leader= id=\n"
               "E join INCONSISTENT_GROUP_PROTOCOL gen=-1 type=null proto= leader= id=\n"
               "C join INCONSISTENT_GROUP_PROTOCOL gen=-1 type=null proto= leader= id=c#1\n");
    trace_end(&t);
}

Test(join, the_protocol_with_most_votes_among_the_common_ones_wins)
{
    /* range is everyone's, sticky is everyone's; A prefers range, B and C prefer sticky; lone is
     * A's own and cannot win although A prefers it most. A name given twice counts once. */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A', .protocols = "lone:l,range:a,sticky:b,range:c");
    enter(&t, 'B', .protocols = "sticky:d,range:e");
    enter(&t, 'C', .protocols = "sticky:f,range:g");
    advance(&t, 6000);
    EXPECT(
        &t,
        "at 6000:\n"
        "A join NONE gen=1 type=consumer proto=sticky leader=c#1 id=c#1 members=[c#1=b c#2=d c#3=f]\n"
        "B join NONE gen=1 type=consumer proto=sticky leader=c#1 id=c#2\n"
        "C join NONE gen=1 type=consumer proto=sticky leader=c#1 id=c#3\n");
    trace_end(&t);
}

Test(join, a_tie_goes_to_the_protocol_named_first)
{
    /* One vote each: the first member's first choice. */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A', .protocols = "range:a,sticky:b");
    enter(&t, 'B', .protocols = "sticky:c,range:d");
    advance(&t, 6000);
    EXPECT(&t,
           "at 6000:\n"
           "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=a c#2=d]\n"
           "B join NONE gen=1 type=consumer proto=range leader=c#1 id=c#2\n");
    trace_end(&t);
}

Test(join, stable_leader_rejoining_starts_a_rebalance)
{
    /* A stable group: the leader's JoinGroup rebalances even if nothing changed. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    join(&t, 'A');
    heartbeat(&t, 'B');
    EXPECT(&t, "B heartbeat REBALANCE_IN_PROGRESS\n");
    join(&t, 'B');
    EXPECT(&t,
           "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=m]\n"
           "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n");
    trace_end(&t);
}

Test(join, stable_follower_rejoining_is_answered_at_once_unless_it_changed)
{
    /* Same protocols: the current generation, no members. Other bytes: a rebalance. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    join(&t, 'B');
    heartbeat(&t, 'A');
    EXPECT(&t, "B join NONE gen=1 type=consumer proto=range leader=c#1 id=c#2\n"
               "A heartbeat NONE\n");
    join(&t, 'B', .protocols = "range:changed");
    heartbeat(&t, 'A');
    join(&t, 'A');
    EXPECT(
        &t,
        "A heartbeat REBALANCE_IN_PROGRESS\n"
        "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=changed]\n"
        "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n");
    trace_end(&t);
}

Test(join, completing_group_repeats_the_answer_unless_metadata_changed)
{
    /* The reply got lost: the leader gets the members again, a follower does not. Changed:
     * rebalance, and whoever waits for a sync is told. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "AB");
    join(&t, 'A');
    join(&t, 'B');
    EXPECT(&t,
           "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=m]\n"
           "B join NONE gen=1 type=consumer proto=range leader=c#1 id=c#2\n");
    sync_group(&t, 'A', .assign = "AB");
    join(&t, 'B', .protocols = "range:changed");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=c#1 [c#1:m:a c#2:m:b]\n"
        "A sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n");
    ack(&t); /* the assignment is stored after all: too late, it means nothing now */
    join(&t, 'A');
    EXPECT(
        &t,
        "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=changed]\n"
        "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n");
    trace_end(&t);
}

Test(join, a_second_request_of_one_member_frees_the_first)
{
    /* The older of two waiting JoinGroups of one member is told to try again, the newer is
     * answered. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    join(&t, 'A');
    join(&t, 'C', .id = trace_id(&t, 'A'));
    EXPECT(&t, "A join REBALANCE_IN_PROGRESS gen=-1 type=null proto= leader= id=c#1\n");
    join(&t, 'B');
    EXPECT(&t,
           "C join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=m]\n"
           "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n");
    trace_end(&t);
}

Test(join, a_full_group_turns_new_members_away)
{
    /* group.max.size 2: in Stable by members, in PreparingRebalance by who has rejoined, so that
     * the last to come goes, even if it was a member. */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.group_size_max = 2;
    t.config.retention_check_interval_ms = 0;
    trace_start(&t);
    to_stable(&t, "AB");
    enter(&t, 'C');
    EXPECT(&t, "C join GROUP_MAX_SIZE_REACHED gen=-1 type=null proto= leader= id=\n");
    leave(&t, 'B');
    enter(&t, 'D');
    join(&t, 'A');
    EXPECT(&t,
           "B leave NONE c#1/null:NONE\n"
           "A join NONE gen=2 type=consumer proto=range leader=c#2 id=c#2 members=[c#2=m c#3=m]\n"
           "D join NONE gen=2 type=consumer proto=range leader=c#2 id=c#3\n");
    trace_end(&t);

    t = (struct trace){.config = t.config};
    t.config.group_size_max = 3;
    trace_start(&t);
    to_stable(&t, "ABC");
    join(&t, 'A');
    enter(&t, 'E');
    enter(&t, 'F');
    EXPECT(&t, "");
    join(&t, 'B');
    EXPECT(&t, "B join GROUP_MAX_SIZE_REACHED gen=-1 type=null proto= leader= id=\n");
    join(&t, 'C');
    EXPECT(
        &t,
        "C join GROUP_MAX_SIZE_REACHED gen=-1 type=null proto= leader= id=\n"
        "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=m c#3=m]\n"
        "E join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n"
        "F join NONE gen=2 type=consumer proto=range leader=c#1 id=c#3\n");
    trace_end(&t);
}

Test(join, group_ids_are_checked)
{
    /* Null or empty: INVALID_GROUP_ID. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .group = "");
    heartbeat(&t, 'A', .group = "");
    sync_group(&t, 'A', .group = "");
    leave_batch(&t, 'A', "", NULL, 0);
    leave_batch(&t, 'A', NULL, NULL, 0);
    group_event(&t, 'A', GRP_EV_DESCRIBE, "");
    group_event(&t, 'A', GRP_EV_DESCRIBE, NULL);
    group_event(&t, 'A', GRP_EV_DELETE, "");
    fetch(&t, 'A', .group = "");
    commit(&t, 'A', .group = "", .offset = 3);
    ack(&t);
    fetch(&t, 'A', .group = "");
    delete_offset(&t, 'A', .group = "");
    EXPECT(&t, "A join INVALID_GROUP_ID gen=-1 type=null proto= leader= id=\n"
               "A heartbeat INVALID_GROUP_ID\n"
               "A sync INVALID_GROUP_ID type=null proto=null assignment=\n"
               "A leave INVALID_GROUP_ID\n"
               "A leave INVALID_GROUP_ID\n"
               "A describe NONE group= state=Dead type= proto=\n"
               "A describe INVALID_GROUP_ID group=null state= type= proto=\n"
               "A delete GROUP_ID_NOT_FOUND\n"
               "A fetch NONE t-0:NONE=-1/-1/\"\"\n"
               "append acks=-1 offset  t-0=3/-1/\"\" at=1000000\n"
               "A commit NONE t-0:NONE\n"
               "A fetch NONE t-0:NONE=3/-1/\"\"\n"
               "A offset delete INVALID_GROUP_ID\n");
    trace_end(&t);
}

Test(join, a_pending_id_with_an_instance_id_is_refused)
{
    /* Ids given out are for dynamic members; Kafka fails with UNKNOWN_SERVER_ERROR. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A');
    join(&t, 'A', .instance = "i");
    EXPECT(&t, "A join MEMBER_ID_REQUIRED gen=-1 type=null proto= leader= id=c#1\n"
               "A join UNKNOWN_SERVER_ERROR gen=-1 type=null proto= leader= id=c#1\n");
    trace_end(&t);
}

Test(join, memory_that_is_used_up_refuses_new_members)
{
    /* memory_bytes_max: retriable, nothing is made; what is there goes on. */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.memory_bytes_max = 4000;
    t.config.retention_check_interval_ms = 0;
    trace_start(&t);
    to_stable(&t, "A");
    size_t used = grp_memory_bytes(t.coord);
    char *large = mem_printf("range:%04000d", 1);
    enter(&t, 'B', .protocols = large);
    mem_free(large);
    heartbeat(&t, 'A');
    cr_assert_eq(grp_memory_bytes(t.coord), used);
    EXPECT(&t, "B join COORDINATOR_NOT_AVAILABLE gen=-1 type=null proto= leader= id=\n"
               "A heartbeat NONE\n");
    leave(&t, 'A');
    trace_end(&t);
}

Test(join, very_long_client_ids_still_make_member_ids)
{
    /* A client id of the longest kind plus a uuid would not fit a string of the protocol. */
    struct trace t = {0};
    trace_start(&t);
    char *client = mem_printf("%032767d", 1);
    t.quiet = true;
    join(&t, 'A', .client = client);
    mem_free(client);
    cr_assert_eq(strlen(trace_id(&t, 'A')), 32767);
    trace_end(&t);
}

Test(join, counts_what_the_group_notes_of_each_protocol)
{
    /* A name of five bytes took 150 and more, of which forty were counted: a member could name a
     * million. */
    enum { COUNT = 8000 };
    static struct grp_protocol protocols[COUNT];
    static char names[COUNT][16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "%05d", i);
        protocols[i] = (struct grp_protocol){{names[i], 5}, {(const uint8_t *)"m", 1}};
    }
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.memory_bytes_max = 1000000;
    trace_start(&t);
    struct grp_event event = {.kind = GRP_EV_JOIN, .token = token_of('A')};
    event.join = (struct grp_join){.version = 3,
                                   .group_id = STR("g"),
                                   .member_id = STR(""),
                                   .client_id = STR("c"),
                                   .client_host = STR("/10.0.0.1"),
                                   .session_timeout_ms = 10000,
                                   .rebalance_timeout_ms = 10000,
                                   .protocol_type = STR("consumer"),
                                   .protocols = protocols,
                                   .protocol_count = COUNT};
    step(&t, &event);
    EXPECT(&t, "A join COORDINATOR_NOT_AVAILABLE gen=-1 type=null proto= leader= id=\n");
    trace_end(&t);
}
