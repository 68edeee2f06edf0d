/* SyncGroup, Heartbeat, LeaveGroup by state; checks in their order; failures to store. */
#include "grp_fixture.h"

Test(sync, completing_group_waits_for_the_leader_and_for_the_log)
{
    /* A follower waits; the leader's assignment is appended; only when that is committed everyone
     * hears. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "AB");
    sync_group(&t, 'B');
    EXPECT(&t, "");
    sync_group(&t, 'A', .assign = "AB");
    group_event(&t, 'Z', GRP_EV_DESCRIBE, "g");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=c#1 [c#1:m:a c#2:m:b]\n"
        "Z describe NONE group=g state=CompletingRebalance type=consumer proto= c#1/null@c/10.0.0.1:: c#2/null@c/10.0.0.1::\n");
    ack(&t);
    group_event(&t, 'Z', GRP_EV_DESCRIBE, "g");
    EXPECT(
        &t,
        "A sync NONE type=consumer proto=range assignment=a\n"
        "B sync NONE type=consumer proto=range assignment=b\n"
        "Z describe NONE group=g state=Stable type=consumer proto=range c#1/null@c/10.0.0.1:m:a c#2/null@c/10.0.0.1:m:b\n");
    trace_end(&t);
}

/* Below min.insync.replicas its record was refused, though commits were taken: no group ever became
 * stable. */
Test(sync, is_stored_with_the_acks_of_commits)
{
    /* offsets.commit.required.acks 0 or 1; likewise when the last member leaves. */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.retention_check_interval_ms = 0;
    t.config.commit_acks = 0;
    trace_start(&t);
    to_completing(&t, "A");
    sync_group(&t, 'A', .assign = "A");
    EXPECT(
        &t,
        "append acks=0 group g gen=1 at=1003000 type=consumer proto=range leader=c#1 [c#1:m:a]\n");
    leave(&t, 'A');
    EXPECT(&t, "append acks=0 group g gen=2 at=1003000 type=consumer proto=null leader=null\n"
               "A sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
               "A leave NONE c#1/null:NONE\n");
    trace_end(&t);
}

Test(sync, a_follower_that_comes_late_is_answered_from_the_stored_assignment)
{
    /* Stable: at once. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "AB");
    sync_group(&t, 'A', .assign = "AB");
    ack(&t);
    sync_group(&t, 'B');
    sync_group(&t, 'A');
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=c#1 [c#1:m:a c#2:m:b]\n"
        "A sync NONE type=consumer proto=range assignment=a\n"
        "B sync NONE type=consumer proto=range assignment=b\n"
        "A sync NONE type=consumer proto=range assignment=a\n");
    trace_end(&t);
}

Test(sync, members_that_the_leader_forgot_get_nothing)
{
    /* Empty bytes, and the leader may name strangers. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "AB");
    sync_group(&t, 'B');
    t.ids['X'] = (char *)"stranger";
    sync_group(&t, 'A', .assign = "XA");
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=c#1 [c#1:m:a c#2:m:]\n"
        "A sync NONE type=consumer proto=range assignment=a\n"
        "B sync NONE type=consumer proto=range assignment=\n");
    trace_end(&t);
}

Test(sync, a_leader_that_repeats_itself_does_not_store_twice)
{
    /* The first request is told to try again, the second waits for what is being stored. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "A");
    sync_group(&t, 'A', .assign = "A");
    sync_group(&t, 'A', .assign = "A");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1003000 type=consumer proto=range leader=c#1 [c#1:m:a]\n"
        "A sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n");
    ack(&t);
    EXPECT(&t, "A sync NONE type=consumer proto=range assignment=a\n");
    trace_end(&t);
}

Test(sync, checks_come_in_kafkas_order)
{
    /* Member, then generation, then protocol; version 5 must name type and protocol at all. */
    struct trace t = {0};
    trace_start(&t);
    sync_group(&t, 'X', .id = "ghost", .generation = 9);
    to_completing(&t, "A");
    sync_group(&t, 'X', .id = "ghost", .generation = 9);
    sync_group(&t, 'X', .id = trace_id(&t, 'A'), .instance = "i", .generation = 9);
    sync_group(&t, 'A', .generation = 9, .type = "connect");
    sync_group(&t, 'A', .type = "connect");
    sync_group(&t, 'A', .type = "consumer", .protocol = "sticky");
    sync_group(&t, 'A', .version = 5, .group = "", .type = "consumer");
    sync_group(&t, 'A', .version = 5, .protocol = "range");
    sync_group(&t, 'A', .version = 5, .type = "consumer", .protocol = "range", .assign = "A");
    EXPECT(
        &t,
        "X sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
        "X sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
        "X sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
        "A sync ILLEGAL_GENERATION type=null proto=null assignment=\n"
        "A sync INCONSISTENT_GROUP_PROTOCOL type=null proto=null assignment=\n"
        "A sync INCONSISTENT_GROUP_PROTOCOL type=null proto=null assignment=\n"
        "A sync INCONSISTENT_GROUP_PROTOCOL type=null proto=null assignment=\n"
        "A sync INCONSISTENT_GROUP_PROTOCOL type=null proto=null assignment=\n"
        "append acks=-1 group g gen=1 at=1003000 type=consumer proto=range leader=c#1 [c#1:m:a]\n");
    trace_end(&t);
}

Test(sync, every_state_answers_as_it_should)
{
    /* Empty and unknown: UNKNOWN_MEMBER_ID. Preparing: REBALANCE_IN_PROGRESS. Heartbeats likewise.
     * A member id given out but not joined is no member. */
    struct trace t = {0};
    trace_start(&t);
    commit(&t, 'Z', .offset = 1);
    ack(&t);
    t.text.size = 0;
    sync_group(&t, 'A', .id = "x", .generation = 0);
    heartbeat(&t, 'A', .id = "x", .generation = 0);
    join(&t, 'P');
    sync_group(&t, 'P');
    heartbeat(&t, 'P');
    EXPECT(&t, "A sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
               "A heartbeat UNKNOWN_MEMBER_ID\n"
               "P join MEMBER_ID_REQUIRED gen=-1 type=null proto= leader= id=c#1\n"
               "P sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
               "P heartbeat UNKNOWN_MEMBER_ID\n");
    t.ids['A'] = NULL;
    enter(&t, 'A');
    join(&t, 'P');
    heartbeat(&t, 'P', .generation = 7);
    advance(&t, 6000);
    t.text.size = 0;
    heartbeat(&t, 'A');
    sync_group(&t, 'A', .assign = "AP");
    sync_group(&t, 'P');
    ack(&t);
    heartbeat(&t, 'A');
    EXPECT(
        &t,
        "A heartbeat NONE\n"
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=c#2 [c#2:m:a c#1:m:p]\n"
        "A sync NONE type=consumer proto=range assignment=a\n"
        "P sync NONE type=consumer proto=range assignment=p\n"
        "A heartbeat NONE\n");
    join(&t, 'A');
    sync_group(&t, 'P');
    heartbeat(&t, 'P');
    heartbeat(&t, 'P', .generation = 7);
    heartbeat(&t, 'P', .instance = "i");
    EXPECT(&t, "P sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n"
               "P heartbeat REBALANCE_IN_PROGRESS\n"
               "P heartbeat ILLEGAL_GENERATION\n"
               "P heartbeat UNKNOWN_MEMBER_ID\n");
    trace_end(&t);
}

Test(sync, failing_to_store_tells_everyone_and_rebalances)
{
    /* The log's errors, as clients are told them. */
    static const enum err ERRORS[] = {
        ERR_NOT_ENOUGH_REPLICAS,        ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_NOT_LEADER_OR_FOLLOWER,
        ERR_KAFKA_STORAGE_ERROR,        ERR_REQUEST_TIMED_OUT,
        ERR_MESSAGE_TOO_LARGE,          ERR_RECORD_LIST_TOO_LARGE,
        ERR_INVALID_FETCH_SIZE,         ERR_CORRUPT_MESSAGE,
    };
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "AB");
    for (size_t i = 0; i < sizeof(ERRORS) / sizeof(ERRORS[0]); i++) {
        t.quiet = true;
        sync_group(&t, 'B');
        sync_group(&t, 'A', .assign = "AB");
        t.quiet = false;
        buf_printf(&t.text, "%s:\n", err_name(ERRORS[i]));
        fail(&t, ERRORS[i], false);
        t.quiet = true;
        heartbeat(&t, 'A');
        join(&t, 'A');
        join(&t, 'B');
        t.quiet = false;
    }
    EXPECT(&t, "NOT_ENOUGH_REPLICAS:\n"
               "A sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n"
               "B sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n"
               "NOT_ENOUGH_REPLICAS_AFTER_APPEND:\n"
               "A sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n"
               "B sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n"
               "UNKNOWN_TOPIC_OR_PARTITION:\n"
               "A sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n"
               "B sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n"
               "NOT_LEADER_OR_FOLLOWER:\n"
               "A sync NOT_COORDINATOR type=null proto=null assignment=\n"
               "B sync NOT_COORDINATOR type=null proto=null assignment=\n"
               "KAFKA_STORAGE_ERROR:\n"
               "A sync NOT_COORDINATOR type=null proto=null assignment=\n"
               "B sync NOT_COORDINATOR type=null proto=null assignment=\n"
               "REQUEST_TIMED_OUT:\n"
               "A sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n"
               "B sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n"
               "MESSAGE_TOO_LARGE:\n"
               "A sync UNKNOWN_SERVER_ERROR type=null proto=null assignment=\n"
               "B sync UNKNOWN_SERVER_ERROR type=null proto=null assignment=\n"
               "RECORD_LIST_TOO_LARGE:\n"
               "A sync UNKNOWN_SERVER_ERROR type=null proto=null assignment=\n"
               "B sync UNKNOWN_SERVER_ERROR type=null proto=null assignment=\n"
               "INVALID_FETCH_SIZE:\n"
               "A sync UNKNOWN_SERVER_ERROR type=null proto=null assignment=\n"
               "B sync UNKNOWN_SERVER_ERROR type=null proto=null assignment=\n"
               "CORRUPT_MESSAGE:\n"
               "A sync CORRUPT_MESSAGE type=null proto=null assignment=\n"
               "B sync CORRUPT_MESSAGE type=null proto=null assignment=\n");
    trace_end(&t);
}

Test(sync, a_member_that_leaves_while_its_sync_waits_is_answered)
{
    /* Kafka leaves that request hanging. The others rebalance. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "ABC");
    sync_group(&t, 'B');
    sync_group(&t, 'C');
    struct grp_leaving one = {.member_id = str_of(trace_id(&t, 'B'))};
    leave_batch(&t, 'L', "g", &one, 1);
    EXPECT(&t, "B sync UNKNOWN_MEMBER_ID type=null proto=null assignment=\n"
               "C sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n"
               "L leave NONE c#1/null:NONE\n");
    trace_end(&t);
}

Test(sync, an_assignment_that_does_not_fit_memory_is_refused)
{
    /* Twice memory_bytes_max: retriable, nothing stored; a smaller one is taken. */
    struct trace t = {0};
    static const uint8_t LARGE[10000];
    grp_config_default(&t.config);
    t.config.retention_check_interval_ms = 0;
    t.config.memory_bytes_max = 5000;
    trace_start(&t);
    to_completing(&t, "A");
    struct grp_assignment one = {str_of(trace_id(&t, 'A')), {LARGE, sizeof(LARGE)}};
    struct grp_event event = {.kind = GRP_EV_SYNC, .token = token_of('A')};
    event.sync = (struct grp_sync){.group_id = STR("g"),
                                   .member_id = str_of(trace_id(&t, 'A')),
                                   .generation = 1,
                                   .assignments = &one,
                                   .assignment_count = 1};
    step(&t, &event);
    EXPECT(&t, "A sync COORDINATOR_NOT_AVAILABLE type=null proto=null assignment=\n");
    sync_group(&t, 'A', .assign = "A");
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1003000 type=consumer proto=range leader=c#1 [c#1:m:a]\n"
        "A sync NONE type=consumer proto=range assignment=a\n");
    trace_end(&t);
}

Test(leave, single_members_and_batches)
{
    /* Order of the request; unknown members by themselves; pending ids can leave; repeated ones are
     * gone. */
    struct trace t = {0};
    trace_start(&t);
    struct grp_leaving ghost = {.member_id = STR("ghost")};
    leave_batch(&t, 'Z', "nowhere", &ghost, 1);
    to_stable(&t, "ABC");
    join(&t, 'P');
    struct grp_leaving batch[] = {
        {.member_id = str_of(trace_id(&t, 'C'))}, ghost,
        {.member_id = str_of(trace_id(&t, 'P'))}, {.member_id = str_of(trace_id(&t, 'B'))},
        {.member_id = str_of(trace_id(&t, 'B'))}, {str_of(trace_id(&t, 'A')), STR("i"), STR_NULL},
    };
    leave_batch(&t, 'Z', "g", batch, 6);
    heartbeat(&t, 'A');
    join(&t, 'A');
    EXPECT(
        &t,
        "Z leave NONE ghost/null:UNKNOWN_MEMBER_ID\n"
        "P join MEMBER_ID_REQUIRED gen=-1 type=null proto= leader= id=c#1\n"
        "Z leave NONE c#2/null:NONE ghost/null:UNKNOWN_MEMBER_ID c#1/null:NONE c#3/null:NONE c#3/null:UNKNOWN_MEMBER_ID c#4/i:UNKNOWN_MEMBER_ID\n"
        "A heartbeat REBALANCE_IN_PROGRESS\n"
        "A join NONE gen=2 type=consumer proto=range leader=c#4 id=c#4 members=[c#4=m]\n");
    leave(&t, 'A');
    leave(&t, 'A');
    EXPECT(&t, "append acks=-1 group g gen=3 at=1006000 type=consumer proto=null leader=null\n"
               "A leave NONE c#4/null:NONE\n"
               "A leave NONE c#4/null:UNKNOWN_MEMBER_ID\n");
    trace_end(&t);
}

Test(leave, the_last_one_missing_completes_the_rebalance)
{
    /* A and B have joined, C leaves instead: the join completes at once. The same for an unused id.
     */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "ABC");
    join(&t, 'P');
    join(&t, 'A');
    join(&t, 'B');
    t.text.size = 0;
    leave(&t, 'C');
    EXPECT(&t, "C leave NONE c#2/null:NONE\n");
    leave(&t, 'P');
    EXPECT(&t,
           "A join NONE gen=2 type=consumer proto=range leader=c#3 id=c#3 members=[c#3=m c#4=m]\n"
           "B join NONE gen=2 type=consumer proto=range leader=c#3 id=c#4\n"
           "P leave NONE c#1/null:NONE\n");
    trace_end(&t);
}
