/* Static members: replaced in every state, fenced, stored, and given time. */
#include "grp_fixture.h"

/* A and B are static members "ia" and "ib" of a stable group; A leads. */
static void to_stable_static(struct trace *t, int16_t version)
{
    t->quiet = true;
    join(t, 'A', .version = version, .instance = "ia");
    join(t, 'B', .version = version, .instance = "ib");
    advance(t, 6000);
    sync_group(t, 'A', .instance = "ia", .assign = "AB");
    sync_group(t, 'B', .instance = "ib");
    ack(t);
    t->quiet = false;
}

Test(static_members, get_in_at_once_and_are_named_after_their_instance)
{
    /* No MEMBER_ID_REQUIRED for them, whatever the version. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .version = 9, .instance = "ia");
    advance(&t, 3000);
    EXPECT(&t,
           "at 3000:\n"
           "A join NONE gen=1 type=consumer proto=range leader=ia#1 id=ia#1 members=[ia#1/ia=m]\n");
    trace_end(&t);
}

Test(static_members, follower_replaced_in_stable_keeps_generation_and_assignment)
{
    /* The new id is stored before the answer; the others notice nothing; the old process is fenced.
     */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    char *old = mem_strdup(trace_id(&t, 'B'));
    join(&t, 'B', .fresh = true, .instance = "ib");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#2/ib:m:b]\n");
    ack(&t);
    sync_group(&t, 'B', .instance = "ib");
    heartbeat(&t, 'A', .instance = "ia");
    heartbeat(&t, 'O', .id = old, .instance = "ib", .generation = 1);
    sync_group(&t, 'O', .id = old, .instance = "ib", .generation = 1);
    commit(&t, 'O', .id = old, .instance = "ib", .generation = 1);
    join(&t, 'O', .id = old, .instance = "ib");
    leave_batch(&t, 'P', "g", &(struct grp_leaving){str_of(old), STR("ib"), STR_NULL}, 1);
    heartbeat(&t, 'Q', .id = old, .generation = 1);
    EXPECT(&t, "B join NONE gen=1 type=consumer proto=range leader=ia#1 id=ib#2\n"
               "B sync NONE type=consumer proto=range assignment=b\n"
               "A heartbeat NONE\n"
               "O heartbeat FENCED_INSTANCE_ID\n"
               "O sync FENCED_INSTANCE_ID type=null proto=null assignment=\n"
               "O commit NONE t-0:FENCED_INSTANCE_ID\n"
               "O join FENCED_INSTANCE_ID gen=-1 type=null proto= leader= id=ib#3\n"
               "P leave NONE ib#3/ib:FENCED_INSTANCE_ID\n"
               "Q heartbeat UNKNOWN_MEMBER_ID\n");
    mem_free(old);
    trace_end(&t);
}

Test(static_members, leader_replaced_below_version_9_takes_itself_for_a_follower)
{
    /* It is told the old leader's id. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 8);
    join(&t, 'A', .version = 8, .fresh = true, .instance = "ia");
    ack(&t);
    sync_group(&t, 'A', .instance = "ia");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ib#2/ib:m:b ia#1/ia:m:a]\n"
        "A join NONE gen=1 type=consumer proto=range leader=ia#3 id=ia#1\n"
        "A sync NONE type=consumer proto=range assignment=a\n");
    trace_end(&t);
}

Test(static_members, leader_replaced_from_version_9_on_leads_but_skips_the_assignment)
{
    /* Real leader id, all members, skip_assignment. A follower gets neither. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 9);
    join(&t, 'A', .version = 9, .fresh = true, .instance = "ia");
    ack(&t);
    join(&t, 'B', .version = 9, .fresh = true, .instance = "ib");
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ib#2/ib:m:b ia#1/ia:m:a]\n"
        "A join NONE gen=1 type=consumer proto=range leader=ia#1 id=ia#1 skip members=[ib#2/ib=m ia#1/ia=m]\n"
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#3/ib:m:b]\n"
        "B join NONE gen=1 type=consumer proto=range leader=ia#1 id=ib#3\n");
    trace_end(&t);
}

Test(static_members, replaced_with_other_protocols_in_stable_rebalances)
{
    /* Only if the protocol that would be chosen is another one. */
    struct trace t = {0};
    trace_start(&t);
    t.quiet = true;
    join(&t, 'A', .instance = "ia", .protocols = "range:a,sticky:b");
    join(&t, 'B', .instance = "ib", .protocols = "range:c,sticky:d");
    advance(&t, 6000);
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    sync_group(&t, 'B', .instance = "ib");
    ack(&t);
    t.quiet = false;
    join(&t, 'B', .fresh = true, .instance = "ib", .protocols = "range:e,sticky:d");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:a:a ib#2/ib:e:b]\n");
    ack(&t);
    EXPECT(&t, "B join NONE gen=1 type=consumer proto=range leader=ia#1 id=ib#2\n");
    join(&t, 'B', .fresh = true, .instance = "ib", .protocols = "sticky:f");
    EXPECT(&t, "");
    heartbeat(&t, 'A', .instance = "ia");
    join(&t, 'A', .instance = "ia", .protocols = "range:a,sticky:b");
    EXPECT(
        &t,
        "A heartbeat REBALANCE_IN_PROGRESS\n"
        "A join NONE gen=2 type=consumer proto=sticky leader=ia#1 id=ia#1 members=[ia#1/ia=b ib#3/ib=f]\n"
        "B join NONE gen=2 type=consumer proto=sticky leader=ia#1 id=ib#3\n");
    trace_end(&t);
}

Test(static_members, replaced_in_completing_rebalances)
{
    /* The leader may have assigned to the old id already. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .instance = "ia");
    join(&t, 'B', .instance = "ib");
    advance(&t, 6000);
    t.text.size = 0;
    sync_group(&t, 'B', .instance = "ib");
    join(&t, 'C', .instance = "ib");
    EXPECT(&t, "B sync FENCED_INSTANCE_ID type=null proto=null assignment=\n");
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    join(&t, 'A', .instance = "ia");
    EXPECT(
        &t,
        "A sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n"
        "A join NONE gen=2 type=consumer proto=range leader=ia#1 id=ia#1 members=[ia#1/ia=m ib#3/ib=m]\n"
        "C join NONE gen=2 type=consumer proto=range leader=ia#1 id=ib#3\n");
    trace_end(&t);
}

Test(static_members, replaced_in_preparing_waits_with_the_others)
{
    /* The old process's waiting JoinGroup is fenced, the new one takes its place. */
    struct trace t = {0};
    trace_start(&t);
    join(&t, 'A', .instance = "ia");
    join(&t, 'B', .instance = "ia");
    EXPECT(&t, "A join FENCED_INSTANCE_ID gen=-1 type=null proto= leader= id=ia#1\n");
    advance(&t, 6000);
    EXPECT(&t,
           "at 3000:\n"
           "B join NONE gen=1 type=consumer proto=range leader=ia#2 id=ia#2 members=[ia#2/ia=m]\n");
    trace_end(&t);
}

Test(static_members, failing_to_store_the_new_id_restores_the_old_one)
{
    /* Member id, protocols and session are as before; the newcomer is told the mapped error. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    struct buf before = {0};
    struct buf after = {0};
    grp_print(t.coord, STR("g"), true, &before);
    join(&t, 'C', .instance = "ib", .protocols = "range:other", .session_ms = 20000);
    fail(&t, ERR_NOT_ENOUGH_REPLICAS, false);
    grp_print(t.coord, STR("g"), true, &after);
    cr_assert_eq(before.size, after.size);
    cr_assert_eq(memcmp(before.data, after.data, after.size), 0);
    heartbeat(&t, 'B', .instance = "ib");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#2/ib:other:b]\n"
        "C join COORDINATOR_NOT_AVAILABLE gen=1 type=consumer proto=range leader=ia#1 id=\n"
        "B heartbeat NONE\n");
    buf_fini(&before);
    buf_fini(&after);
    trace_end(&t);
}

Test(static_members, timing_out_keeps_the_new_id)
{
    /* It is in the log and will be committed. The newcomer tries again, and gets yet another id. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    join(&t, 'C', .instance = "ib");
    fail(&t, ERR_REQUEST_TIMED_OUT, true);
    heartbeat(&t, 'B', .instance = "ib");
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#2/ib:m:b]\n"
        "C join REBALANCE_IN_PROGRESS gen=-1 type=null proto= leader= id=\n"
        "B heartbeat FENCED_INSTANCE_ID\n");
    trace_end(&t);
}

Test(static_members, replaced_twice_before_the_store_ends_answers_the_last)
{
    /* The first newcomer is fenced by the second; the first store's end means nothing. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    join(&t, 'C', .instance = "ib");
    join(&t, 'D', .instance = "ib");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#2/ib:m:b]\n"
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#3/ib:m:b]\n"
        "C join FENCED_INSTANCE_ID gen=-1 type=null proto= leader= id=ib#2\n");
    ack_one(&t);
    EXPECT(&t, "");
    ack_one(&t);
    EXPECT(&t, "D join NONE gen=1 type=consumer proto=range leader=ia#1 id=ib#3\n");
    trace_end(&t);
}

Test(static_members, a_rebalance_before_the_store_ends_answers_the_newcomer)
{
    /* A rejoins while B's new id is being stored: the join completes for both. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    join(&t, 'C', .instance = "ib");
    join(&t, 'A', .instance = "ia");
    EXPECT(
        &t,
        "append acks=-1 group g gen=1 at=1006000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#2/ib:m:b]\n"
        "A join NONE gen=2 type=consumer proto=range leader=ia#1 id=ia#1 members=[ia#1/ia=m ib#2/ib=m]\n"
        "C join NONE gen=2 type=consumer proto=range leader=ia#1 id=ib#2\n");
    ack(&t);
    EXPECT(&t, "");
    trace_end(&t);
}

Test(static_members, that_do_not_rejoin_keep_their_place_until_their_session_ends)
{
    /* B (static) stays away while A rejoins: at the rebalance timeout B is still a member, without
     * having joined. Its session ends later. */
    struct trace t = {0};
    trace_start(&t);
    t.quiet = true;
    join(&t, 'A', .instance = "ia", .rebalance_ms = 5000);
    join(&t, 'B', .instance = "ib", .rebalance_ms = 5000, .session_ms = 30000);
    advance(&t, 6000);
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    sync_group(&t, 'B', .instance = "ib");
    ack(&t);
    t.quiet = false;
    join(&t, 'A', .instance = "ia", .rebalance_ms = 5000);
    advance(&t, 5000);
    EXPECT(
        &t,
        "at 11000:\n"
        "A join NONE gen=2 type=consumer proto=range leader=ia#1 id=ia#1 members=[ia#1/ia=m ib#2/ib=m]\n");
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    ack(&t);
    EXPECT(
        &t,
        "append acks=-1 group g gen=2 at=1011000 type=consumer proto=range leader=ia#1 [ia#1/ia:m:a ib#2/ib:m:b]\n"
        "A sync NONE type=consumer proto=range assignment=a\n");
    trace_end(&t);
}

Test(static_members, alone_that_do_not_rejoin_postpone_the_rebalance)
{
    /* The dynamic member leaves, the static one does not rejoin: the wait (its rebalance timeout)
     * starts again each time, until its session ends. */
    struct trace t = {0};
    trace_start(&t);
    t.quiet = true;
    join(&t, 'A', .instance = "ia", .rebalance_ms = 5000, .session_ms = 12000);
    enter(&t, 'B', .rebalance_ms = 5000, .session_ms = 12000);
    advance(&t, 6000);
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    sync_group(&t, 'B');
    ack(&t);
    t.quiet = false;
    leave(&t, 'B');
    EXPECT(&t, "B leave NONE c#1/null:NONE\n");
    advance_to(&t, 12000);
    heartbeat(&t, 'A', .instance = "ia");
    EXPECT(&t, "A heartbeat REBALANCE_IN_PROGRESS\n");
    advance_to(&t, 23999);
    heartbeat(&t, 'B', .instance = "ia");
    EXPECT(&t, "B heartbeat FENCED_INSTANCE_ID\n");
    advance_to(&t, 24000);
    EXPECT(&t, "at 24000:\n"
               "append acks=-1 group g gen=2 at=1024000 type=consumer proto=null leader=null\n");
    trace_end(&t);
}

Test(static_members, are_evicted_by_instance_id)
{
    /* LeaveGroup with an empty member id, as administrators send it. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    struct grp_leaving leaving[] = {
        {STR(""), STR("ib"), STR("maintenance")},
        {STR(""), STR("nobody"), STR_NULL},
        {STR(""), STR_NULL, STR_NULL},
    };
    leave_batch(&t, 'Z', "g", leaving, 3);
    heartbeat(&t, 'B', .instance = "ib");
    heartbeat(&t, 'A', .instance = "ia");
    EXPECT(&t, "Z leave NONE /ib:NONE /nobody:UNKNOWN_MEMBER_ID /null:UNKNOWN_MEMBER_ID\n"
               "B heartbeat UNKNOWN_MEMBER_ID\n"
               "A heartbeat REBALANCE_IN_PROGRESS\n");
    trace_end(&t);
}

Test(static_members, replaced_start_a_new_session)
{
    /* One millisecond before the old process's session ends the new one appears. */
    struct trace t = {0};
    trace_start(&t);
    to_stable_static(&t, 5);
    advance(&t, 9999);
    heartbeat(&t, 'A', .instance = "ia");
    join(&t, 'B', .fresh = true, .instance = "ib");
    ack(&t);
    t.text.size = 0;
    advance(&t, 9000);
    heartbeat(&t, 'B', .instance = "ib");
    EXPECT(&t, "B heartbeat NONE\n");
    trace_end(&t);
}

Test(static_members, that_did_not_rejoin_get_a_new_session_all_the_same)
{
    /* Rebalance timeout 20 s, B's session 12 s. B's last heartbeat is 9 s old when the join
     * completes without it: it has 12 s from there. */
    struct trace t = {0};
    trace_start(&t);
    t.quiet = true;
    join(&t, 'A', .instance = "ia", .rebalance_ms = 20000);
    join(&t, 'B', .instance = "ib", .rebalance_ms = 20000, .session_ms = 12000);
    advance_to(&t, 6000);
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    sync_group(&t, 'B', .instance = "ib");
    ack(&t);
    join(&t, 'A', .instance = "ia", .rebalance_ms = 20000);
    advance_to(&t, 17000);
    heartbeat(&t, 'B', .instance = "ib");
    advance_to(&t, 26000);
    sync_group(&t, 'A', .instance = "ia", .assign = "AB");
    ack(&t);
    advance_to(&t, 35000);
    heartbeat(&t, 'A', .instance = "ia");
    t.quiet = false;
    advance_to(&t, 37999);
    heartbeat(&t, 'A', .instance = "ia");
    advance_to(&t, 38000);
    heartbeat(&t, 'A', .instance = "ia");
    EXPECT(&t, "A heartbeat NONE\n"
               "A heartbeat REBALANCE_IN_PROGRESS\n");
    trace_end(&t);
}
