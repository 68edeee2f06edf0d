/* The state machine between generations: who is removed when, who leads, what is stored. */
#include "grp_fixture.h"

Test(rebalance, members_that_do_not_rejoin_in_time_are_removed)
{
    /* The rebalance timeout (the largest of the members') ends the wait; the leader that stayed
     * away loses the lead to the first that came. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "ABC");
    join(&t, 'B', .protocols = "range:x");
    while (t.now_ms < 60000) {
        advance(&t, 5000);
        heartbeat(&t, 'A'); /* lives, but does not rejoin */
        heartbeat(&t, 'C');
        t.text.size = 0;
    }
    advance(&t, 6001);
    heartbeat(&t, 'A');
    EXPECT(&t, "at 66000:\n"
               "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=x]\n"
               "A heartbeat UNKNOWN_MEMBER_ID\n");
    trace_end(&t);
}

Test(rebalance, a_group_whose_last_member_leaves_becomes_empty_and_is_stored)
{
    /* Generation + 1, no protocol, no members; the protocol type stays. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "A");
    leave(&t, 'A');
    group_event(&t, 'Z', GRP_EV_DESCRIBE, "g");
    EXPECT(&t, "append acks=-1 group g gen=2 at=1003000 type=consumer proto=null leader=null\n"
               "A leave NONE c#1/null:NONE\n"
               "Z describe NONE group=g state=Empty type=consumer proto=\n");
    fail(&t, ERR_NOT_ENOUGH_REPLICAS, false); /* changes nothing */
    group_event(&t, 'Z', GRP_EV_DESCRIBE, "g");
    EXPECT(&t, "Z describe NONE group=g state=Empty type=consumer proto=\n");
    enter(&t, 'B', .type = "connect"); /* an empty group takes any type */
    advance(&t, 3000);
    EXPECT(&t, "at 6000:\n"
               "B join NONE gen=3 type=connect proto=range leader=c#2 id=c#2 members=[c#2=m]\n");
    trace_end(&t);
}

Test(rebalance, everyone_leaving_during_the_first_delay_ends_in_an_empty_generation)
{
    /* The initial delay never ends early, not even for nobody. */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A');
    leave_batch(&t, 'Z', "g", &(struct grp_leaving){.member_id = STR("ghost")}, 1);
    EXPECT(&t, "Z leave NONE ghost/null:UNKNOWN_MEMBER_ID\n");
    advance(&t, 3000);
    leave(&t, 'A');
    EXPECT(&t, "at 3000:\n"
               "A join NONE gen=1 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n"
               "append acks=-1 group g gen=2 at=1003000 type=consumer proto=null leader=null\n"
               "A leave NONE c#1/null:NONE\n");
    enter(&t, 'B');
    advance(&t, 1000);
    EXPECT(&t, "");
    join(&t, 'X', .instance = "i");
    EXPECT(&t, "");
    leave_batch(&t, 'Z', "g", &(struct grp_leaving){STR(""), STR("i"), STR_NULL}, 1);
    EXPECT(&t, "X join UNKNOWN_MEMBER_ID gen=-1 type=null proto= leader= id=\n"
               "Z leave NONE /i:NONE\n");
    advance(&t, 2000);
    EXPECT(&t, "at 6000:\n"
               "B join NONE gen=3 type=consumer proto=range leader=c#2 id=c#2 members=[c#2=m]\n");
    trace_end(&t);
}

Test(rebalance, an_expired_session_removes_the_member_and_rebalances)
{
    /* Heartbeats keep a member; without them it goes after its session timeout, to the millisecond.
     */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    int64_t start_ms = t.now_ms;
    advance_to(&t, start_ms + 9999);
    heartbeat(&t, 'A');
    EXPECT(&t, "A heartbeat NONE\n");
    advance_to(&t, start_ms + 10000);
    heartbeat(&t, 'A');
    EXPECT(&t, "A heartbeat REBALANCE_IN_PROGRESS\n");
    join(&t, 'A');
    EXPECT(&t, "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&t);
}

Test(rebalance, waiting_members_do_not_expire)
{
    /* A waits for its JoinGroup for longer than its session; it is the coordinator that holds it
     * up. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "AB");
    join(&t, 'A');
    for (int i = 0; i < 5; i++) {
        advance(&t, 9000);
        heartbeat(&t, 'B');
    }
    t.text.size = 0;
    join(&t, 'B');
    EXPECT(&t,
           "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m c#2=m]\n"
           "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n");
    advance(&t, 9999);
    heartbeat(&t, 'A');
    heartbeat(&t, 'B');
    EXPECT(&t, "A heartbeat NONE\n"
               "B heartbeat NONE\n");
    trace_end(&t);
}

Test(rebalance, a_new_member_may_wait_five_minutes_whatever_its_session)
{
    /* It does not know its id and cannot send heartbeats. When the rebalance takes longer, it is
     * answered UNKNOWN_MEMBER_ID and comes again. */
    struct trace t = {0};
    trace_start(&t);
    enter(&t, 'A', .rebalance_ms = 1000000, .session_ms = 1000000);
    advance(&t, 3000);
    sync_group(&t, 'A', .assign = "A");
    ack(&t);
    t.text.size = 0;
    enter(&t, 'B');
    advance(&t, 299999);
    EXPECT(&t, "");
    advance(&t, 1);
    EXPECT(&t, "at 303000:\n"
               "B join UNKNOWN_MEMBER_ID gen=-1 type=null proto= leader= id=\n");
    trace_end(&t);
}

Test(rebalance, members_that_never_sync_are_removed)
{
    /* The pending-sync timer is the largest rebalance timeout after the join completed. B keeps
     * heartbeating without syncing. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "AB");
    sync_group(&t, 'A', .assign = "AB");
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=c#1 [c#1:m:a c#2:m:b]\n"
        "A sync NONE type=consumer proto=range assignment=a\n");
    int64_t end_ms = t.now_ms + 60000;
    while (t.now_ms + 5000 < end_ms) {
        advance(&t, 5000);
        heartbeat(&t, 'A');
        heartbeat(&t, 'B');
        t.text.size = 0;
    }
    advance_to(&t, end_ms - 1);
    heartbeat(&t, 'B');
    EXPECT(&t, "B heartbeat NONE\n");
    advance(&t, 1);
    heartbeat(&t, 'A');
    heartbeat(&t, 'B');
    EXPECT(&t, "A heartbeat REBALANCE_IN_PROGRESS\n"
               "B heartbeat UNKNOWN_MEMBER_ID\n");
    trace_end(&t);
}

Test(rebalance, a_leader_that_leaves_passes_the_lead_to_the_oldest_member)
{
    /* And the group rebalances with who is left. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "ABC");
    leave(&t, 'A');
    join(&t, 'C');
    join(&t, 'B');
    EXPECT(&t,
           "A leave NONE c#1/null:NONE\n"
           "B join NONE gen=2 type=consumer proto=range leader=c#2 id=c#2 members=[c#2=m c#3=m]\n"
           "C join NONE gen=2 type=consumer proto=range leader=c#2 id=c#3\n");
    trace_end(&t);
}

Test(rebalance, cooperative_rebalances_need_nothing_special)
{
    /* Two rebalances in a row, the metadata carrying owned partitions: the same server side. */
    struct trace t = {0};
    trace_start(&t);
    to_stable(&t, "A");
    enter(&t, 'B', .protocols = "range:new");
    join(&t, 'A', .protocols = "range:owns");
    EXPECT(
        &t,
        "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=owns c#2=new]\n"
        "B join NONE gen=2 type=consumer proto=range leader=c#1 id=c#2\n");
    sync_group(&t, 'A', .assign = "A");
    sync_group(&t, 'B');
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=2 at=1003000 type=consumer proto=range leader=c#1 [c#1:owns:a c#2:new:]\n"
        "A sync NONE type=consumer proto=range assignment=a\n"
        "B sync NONE type=consumer proto=range assignment=\n");
    join(&t, 'A', .protocols = "range:revoked");
    join(&t, 'B', .protocols = "range:new");
    sync_group(&t, 'B');
    sync_group(&t, 'A', .assign = "AB");
    ack(&t);
    EXPECT(
        &t,
        "A join NONE gen=3 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=revoked c#2=new]\n"
        "B join NONE gen=3 type=consumer proto=range leader=c#1 id=c#2\n"
        "append acks=-1 group g gen=3 at=1003000 type=consumer proto=range leader=c#1 [c#1:revoked:a c#2:new:b]\n"
        "A sync NONE type=consumer proto=range assignment=a\n"
        "B sync NONE type=consumer proto=range assignment=b\n");
    trace_end(&t);
}

Test(rebalance, a_rebalance_timeout_of_zero_does_not_spin)
{
    /* A static member that never rejoins and grants no time: the machine looks again each second
     * until its session ends. */
    struct trace t = {0};
    trace_start(&t);
    t.quiet = true;
    join(&t, 'A', .instance = "i");
    enter(&t, 'B');
    advance(&t, 6000);
    sync_group(&t, 'A', .instance = "i", .assign = "AB");
    sync_group(&t, 'B');
    ack(&t);
    join(&t, 'A', .fresh = true, .instance = "i", .rebalance_ms = -1);
    ack(&t);
    t.quiet = false;
    leave(&t, 'B');
    EXPECT(&t, "B leave NONE c#1/null:NONE\n");
    int64_t wakes = 0;
    while (t.now_ms < 100000 && grp_wake_at_ms(t.coord) >= 0) {
        advance_to(&t, grp_wake_at_ms(t.coord));
        wakes++;
    }
    cr_assert_lt(wakes, 40);
    EXPECT(&t, "at 16000:\n"
               "append acks=-1 group g gen=2 at=1016000 type=consumer proto=null leader=null\n");
    trace_end(&t);
}
