/* Loading, unloading, and what is answered meanwhile. */
#include "grp_fixture.h"

static void everything_asked(struct trace *t)
{
    join(t, 'A');
    sync_group(t, 'A', .generation = 1);
    heartbeat(t, 'A', .generation = 1);
    leave(t, 'A');
    commit(t, 'A');
    fetch(t, 'A');
    delete_offset(t, 'A');
    group_event(t, 'A', GRP_EV_DESCRIBE, "g");
    group_event(t, 'A', GRP_EV_DELETE, "g");
    list(t, 'A', NULL, NULL);
}

/* A key or value with its version in front. */
static struct bytes raw(const char *bytes, size_t size)
{
    return (struct bytes){(const uint8_t *)bytes, size};
}
#define RAW(literal) raw("" literal, sizeof(literal) - 1)

static void load_offset(struct trace *t, const char *group, int32_t partition, int64_t offset,
                        int64_t base_offset, int64_t producer_id)
{
    struct grp_offset_value value = {.offset = offset,
                                     .leader_epoch = -1,
                                     .metadata = STR(""),
                                     .commit_timestamp_ms = 5,
                                     .expire_timestamp_ms = -1};
    record(t, grp_record_offset_key(&t->arena, str_of(group), STR("t"), partition),
           grp_record_offset_value(&t->arena, &value), base_offset, producer_id);
}

static void load_tombstone(struct trace *t, const char *group, int32_t partition,
                           int64_t base_offset, int64_t producer_id)
{
    record(t, grp_record_offset_key(&t->arena, str_of(group), STR("t"), partition),
           (struct bytes){NULL, 0}, base_offset, producer_id);
}

static void marker(struct trace *t, int64_t producer_id, bool commits)
{
    struct grp_event event = {.kind = GRP_EV_TXN_MARKER};
    event.txn_marker = (struct grp_txn_marker){.producer_id = producer_id, .commit = commits};
    step(t, &event);
}

Test(load, answers_loading_but_for_heartbeat_and_sync)
{
    /* Heartbeat: blindly fine. SyncGroup: back to JoinGroup. ListGroups: with what is known, which
     * is nothing. */
    struct trace t = {0};
    trace_start_loading(&t);
    everything_asked(&t);
    EXPECT(&t, "A join COORDINATOR_LOAD_IN_PROGRESS gen=-1 type=null proto= leader= id=\n"
               "A sync REBALANCE_IN_PROGRESS type=null proto=null assignment=\n"
               "A heartbeat NONE\n"
               "A leave COORDINATOR_LOAD_IN_PROGRESS\n"
               "A commit NONE t-0:COORDINATOR_LOAD_IN_PROGRESS\n"
               "A fetch COORDINATOR_LOAD_IN_PROGRESS\n"
               "A offset delete COORDINATOR_LOAD_IN_PROGRESS\n"
               "A describe COORDINATOR_LOAD_IN_PROGRESS group=g state= type= proto=\n"
               "A delete COORDINATOR_LOAD_IN_PROGRESS\n"
               "A list COORDINATOR_LOAD_IN_PROGRESS\n");
    trace_end(&t);
}

Test(unload, answers_everyone_who_waits_and_refuses_the_rest)
{
    /* Joins, syncs, commits; then NOT_COORDINATOR to every request. Nothing stays in memory. */
    struct trace t = {0};
    trace_start(&t);
    to_completing(&t, "C");
    sync_group(&t, 'C', .assign = "C");
    enter(&t, 'A', .group = "joining");
    commit(&t, 'B', .group = "simple");
    t.text.size = 0;
    simple(&t, GRP_EV_UNLOAD);
    cr_assert_eq(grp_memory_bytes(t.coord), 0);
    cr_assert_eq(grp_wake_at_ms(t.coord), -1);
    EXPECT(&t, "C sync NOT_COORDINATOR type=null proto=null assignment=\n"
               "A join NOT_COORDINATOR gen=-1 type=null proto= leader= id=c#2\n"
               "B commit NONE t-0:NOT_COORDINATOR\n");
    everything_asked(&t);
    ack(&t); /* too late */
    simple(&t, GRP_EV_TICK);
    simple(&t, GRP_EV_EXPIRE);
    EXPECT(&t, "A join NOT_COORDINATOR gen=-1 type=null proto= leader= id=c#2\n"
               "A sync NOT_COORDINATOR type=null proto=null assignment=\n"
               "A heartbeat NOT_COORDINATOR\n"
               "A leave NOT_COORDINATOR\n"
               "A commit NONE t-0:NOT_COORDINATOR\n"
               "A fetch NOT_COORDINATOR\n"
               "A offset delete NOT_COORDINATOR\n"
               "A describe NOT_COORDINATOR group=g state= type= proto=\n"
               "A delete NOT_COORDINATOR\n"
               "A list NOT_COORDINATOR\n");
    simple(&t, GRP_EV_UNLOAD); /* twice is fine */
    grp_reload(t.coord);
    simple(&t, GRP_EV_LOADED);
    fetch(&t, 'A');
    EXPECT(&t, "A fetch NONE t-0:NONE=-1/-1/\"\"\n");
    trace_end(&t);
}

Test(load, a_group_with_members_is_stable_again)
{
    /* Same generation, ids, assignments, leader; heartbeats go on; sessions count anew from the
     * load. A member that rejoins with the selected protocol only is unchanged. */
    struct trace a = {0};
    trace_start(&a);
    to_stable(&a, "AB");
    struct trace b = {.now_ms = 50000};
    trace_start_loading(&b);
    replay(&b, &a);
    simple(&b, GRP_EV_LOADED);
    b.ids['A'] = a.ids['A'];
    b.ids['B'] = a.ids['B'];
    b.generation['A'] = b.generation['B'] = 1;
    group_event(&b, 'Z', GRP_EV_DESCRIBE, "g");
    heartbeat(&b, 'A');
    join(&b, 'B');
    sync_group(&b, 'B');
    EXPECT(
        &b,
        "Z describe NONE group=g state=Stable type=consumer proto=range c#1/null@c/10.0.0.1:m:a c#2/null@c/10.0.0.1:m:b\n"
        "A heartbeat NONE\n"
        "B join NONE gen=1 type=consumer proto=range leader=c#1 id=c#2\n"
        "B sync NONE type=consumer proto=range assignment=b\n");
    advance(&b, 9999);
    heartbeat(&b, 'A');
    EXPECT(&b, "A heartbeat NONE\n");
    advance(&b, 1); /* B's session */
    heartbeat(&b, 'A');
    EXPECT(&b, "A heartbeat REBALANCE_IN_PROGRESS\n");
    join(&b, 'A');
    EXPECT(&b, "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&a);
    trace_end(&b);
}

Test(load, later_records_win_and_tombstones_remove)
{
    /* Offsets, groups; a group with offsets only is Empty without a type; one with nothing left is
     * gone. */
    struct trace a = {0};
    trace_start(&a);
    to_stable(&a, "A");
    commit(&a, 'A', .member = true, .offset = 1);
    commit(&a, 'A', .member = true, .offset = 2, .metadata = "two");
    commit(&a, 'Z', .group = "simple", .offset = 3);
    commit(&a, 'Z', .group = "gone", .offset = 3);
    ack(&a);
    delete_offset(&a, 'Z', .group = "gone");
    enter(&a, 'B', .group = "past");
    advance(&a, 3000);
    struct grp_leaving one = {.member_id = str_of(trace_id(&a, 'B'))};
    leave_batch(&a, 'B', "past", &one, 1);
    ack(&a);
    group_event(&a, 'Z', GRP_EV_DELETE, "past");
    struct trace b = {.now_ms = 50000};
    trace_start_loading(&b);
    replay(&b, &a);
    simple(&b, GRP_EV_LOADED);
    list(&b, 'L', NULL, NULL);
    fetch(&b, 'F', .all = true);
    fetch(&b, 'F', .all = true, .group = "simple");
    fetch(&b, 'F', .all = true, .group = "gone");
    EXPECT(&b, "L list NONE g:consumer:Stable:classic simple::Empty:classic\n"
               "F fetch NONE t-0:NONE=2/-1/\"two\"\n"
               "F fetch NONE t-0:NONE=3/-1/\"\"\n"
               "F fetch NONE\n");
    trace_end(&a);
    trace_end(&b);
}

Test(load, a_group_over_capacity_rebalances)
{
    /* group.max.size was lowered: PreparingRebalance, so that members can commit and some go. */
    struct trace a = {0};
    trace_start(&a);
    to_stable(&a, "ABC");
    struct trace b = {0};
    grp_config_default(&b.config);
    b.config.group_size_max = 2;
    trace_start_loading(&b);
    replay(&b, &a);
    simple(&b, GRP_EV_LOADED);
    group_event(&b, 'Z', GRP_EV_DESCRIBE, "g");
    EXPECT(
        &b,
        "Z describe NONE group=g state=PreparingRebalance type=consumer proto= c#1/null@c/10.0.0.1:: c#2/null@c/10.0.0.1:: c#3/null@c/10.0.0.1::\n");
    trace_end(&a);
    trace_end(&b);
}

Test(load, transactional_offsets_wait_for_their_marker)
{
    /* Per producer. Committed: visible, unless a newer plain commit is there. Aborted: never. What
     * is open at the end stays pending and ends with a marker after loading. */
    struct trace t = {0};
    trace_start_loading(&t);
    load_offset(&t, "g", 0, 10, 100, 1);
    load_offset(&t, "g", 1, 11, 100, 1);
    load_offset(&t, "g", 2, 12, 101, 2);
    load_offset(&t, "g", 1, 99, 102, -1); /* newer than producer 1's */
    load_offset(&t, "g", 3, 13, 103, 3);
    load_offset(&t, "g", 4, 14, 104, 4);
    load_offset(&t, "g", 4, 15, 105, 4); /* the later of one transaction counts */
    load_offset(&t, "g", 5, 16, 105, 4);
    load_tombstone(&t, "g", 5, 106, 4); /* and may take back */
    marker(&t, 1, true);
    marker(&t, 2, false);
    marker(&t, 7, true); /* nobody */
    simple(&t, GRP_EV_LOADED);
    fetch(&t, 'F', .all = true, .stable = true);
    fetch(&t, 'F', .partition = 3, .stable = true);
    simple(&t, GRP_EV_EXPIRE);
    EXPECT(&t, "F fetch NONE t-0:NONE=10/-1/\"\" t-1:NONE=99/-1/\"\"\n"
               "F fetch NONE t-3:UNSTABLE_OFFSET_COMMIT=-1/-1/\"\"\n");
    marker(&t, 4, true);
    marker(&t, 3, false);
    fetch(&t, 'F', .all = true, .stable = true);
    fetch(&t, 'F', .partition = 3, .stable = true);
    fetch(&t, 'F', .partition = 5, .stable = true);
    EXPECT(&t, "F fetch NONE t-0:NONE=10/-1/\"\" t-1:NONE=99/-1/\"\" t-4:NONE=15/-1/\"\"\n"
               "F fetch NONE t-3:NONE=-1/-1/\"\"\n"
               "F fetch NONE t-5:NONE=-1/-1/\"\"\n");
    trace_end(&t);
}

/* Kafka lets an offset expire while a transaction is about to commit a newer one. That went with
 * it, and the group began at the beginning again. */
Test(load, a_tombstone_takes_nothing_of_a_transaction_that_commits_later)
{
    struct trace t = {0};
    trace_start_loading(&t);
    load_offset(&t, "g", 0, 10, 100, -1);
    load_offset(&t, "g", 0, 11, 101, 1);
    load_tombstone(&t, "g", 0, 102, -1);
    load_offset(&t, "g", 1, 20, 103, -1);
    load_tombstone(&t, "g", 1, 104, -1);
    marker(&t, 1, true);
    simple(&t, GRP_EV_LOADED);
    fetch(&t, 'F', .all = true, .stable = true);
    EXPECT(&t, "F fetch NONE t-0:NONE=11/-1/\"\"\n");
    trace_end(&t);
}

Test(load, groups_with_open_transactions_only_are_kept)
{
    /* Their offsets may yet be committed. Deleting the group deletes those, too. */
    struct trace t = {0};
    trace_start_loading(&t);
    load_offset(&t, "g", 0, 10, 100, 1);
    load_offset(&t, "h", 0, 10, 100, 1);
    simple(&t, GRP_EV_LOADED);
    list(&t, 'L', NULL, NULL);
    simple(&t, GRP_EV_EXPIRE);
    list(&t, 'L', NULL, NULL);
    group_event(&t, 'Z', GRP_EV_DELETE, "g");
    marker(&t, 1, true);
    fetch(&t, 'F', .all = true);
    fetch(&t, 'F', .all = true, .group = "h");
    EXPECT(&t, "L list NONE g::Empty:classic h::Empty:classic\n"
               "L list NONE g::Empty:classic h::Empty:classic\n"
               "append acks=0 offset g t-0 tombstone\n"
               "Z delete NONE\n"
               "F fetch NONE\n"
               "F fetch NONE t-0:NONE=10/-1/\"\"\n");
    trace_end(&t);
}

Test(load, all_readable_versions_of_values)
{
    /* Offset values 0-4 and group values 0-4, as bytes. */
    struct trace t = {0};
    trace_start_loading(&t);
    struct bytes k0 = RAW("\0\0\0\1g\0\1t\0\0\0\0");
    struct bytes k1 = RAW("\0\1\0\1g\0\1t\0\0\0\1");
    struct bytes k2 = RAW("\0\1\0\1g\0\1t\0\0\0\2");
    struct bytes k3 = RAW("\0\1\0\1g\0\1t\0\0\0\3");
    struct bytes k4 = RAW("\0\1\0\1g\0\1t\0\0\0\4");
    record(&t, k0, RAW("\0\0\0\0\0\0\0\0\0\7\0\1m\0\0\0\0\0\0\0\5"), 0, -1);
    record(&t, k1, RAW("\0\1\0\0\0\0\0\0\0\7\0\1m\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6"), 1, -1);
    record(&t, k2, RAW("\0\2\0\0\0\0\0\0\0\7\0\1m\0\0\0\0\0\0\0\5"), 2, -1);
    record(&t, k3, RAW("\0\3\0\0\0\0\0\0\0\7\0\0\0\2\0\1m\0\0\0\0\0\0\0\5"), 3, -1);
    record(&t, k4, RAW("\0\4\0\0\0\0\0\0\0\7\0\0\0\2\2m\0\0\0\0\0\0\0\5\0"), 4, -1);
#define MEMBER(instance, rebalance)                                                                \
    "\0\1i" instance "\0\1c\0\2/h" rebalance "\0\0\x27\x10\0\0\0\1s\0\0\0\1a"
    record(&t, RAW("\0\2\0\2v0"), RAW("\0\0\0\1p\0\0\0\3\0\1x\0\1i\0\0\0\1" MEMBER("", "")), 5, -1);
    record(&t, RAW("\0\2\0\2v1"), RAW("\0\1\0\1p\0\0\0\3\0\1x\0\1i\0\0\0\1" MEMBER("", "\0\0\0\7")),
           6, -1);
    record(&t, RAW("\0\2\0\2v2"),
           RAW("\0\2\0\1p\0\0\0\3\0\1x\0\1i\0\0\0\0\0\0\0\x8\0\0\0\1" MEMBER("", "\0\0\0\7")), 7,
           -1);
    record(&t, RAW("\0\2\0\2v3"),
           RAW("\0\3\0\1p\0\0\0\3\0\1x\0\1i\0\0\0\0\0\0\0\x8\0\0\0\1" MEMBER("\0\1n", "\0\0\0\7")),
           8, -1);
    record(
        &t, RAW("\0\2\0\2v4"),
        RAW("\0\4\2p\0\0\0\3\2x\2i\0\0\0\0\0\0\0\x8\2\2i\2n\2c\3/h\0\0\0\7\0\0\x27\x10\2s\2a\0\0"),
        9, -1);
    simple(&t, GRP_EV_LOADED);
    grp_print(t.coord, STR_NULL, false, &t.text);
    EXPECT(
        &t,
        "group g Empty generation=0 type= protocol=\n"
        "  offset t-0 = 7 epoch=-1 metadata=m committed=5 expires=-1\n"
        "  offset t-1 = 7 epoch=-1 metadata=m committed=5 expires=6\n"
        "  offset t-2 = 7 epoch=-1 metadata=m committed=5 expires=-1\n"
        "  offset t-3 = 7 epoch=2 metadata=m committed=5 expires=-1\n"
        "  offset t-4 = 7 epoch=2 metadata=m committed=5 expires=-1\n"
        "group v0 Stable generation=3 type=p protocol=x\n"
        "  member i client=c/h session=10000 rebalance=10000 metadata=37b07aa0a79ec264 assignment=ed8170de1919a24d leader\n"
        "group v1 Stable generation=3 type=p protocol=x\n"
        "  member i client=c/h session=10000 rebalance=7 metadata=37b07aa0a79ec264 assignment=ed8170de1919a24d leader\n"
        "group v2 Stable generation=3 type=p protocol=x\n"
        "  member i client=c/h session=10000 rebalance=7 metadata=37b07aa0a79ec264 assignment=ed8170de1919a24d leader\n"
        "group v3 Stable generation=3 type=p protocol=x\n"
        "  member i instance=n client=c/h session=10000 rebalance=7 metadata=37b07aa0a79ec264 assignment=ed8170de1919a24d leader\n"
        "group v4 Stable generation=3 type=p protocol=x\n"
        "  member i instance=n client=c/h session=10000 rebalance=7 metadata=37b07aa0a79ec264 assignment=ed8170de1919a24d leader\n");
    trace_end(&t);
}

Test(load, records_that_make_no_sense_are_left_out)
{
    /* Unknown kinds (groups of KIP-848), newer values, damaged bytes, null keys, members without a
     * protocol, members named twice. The good ones around them count. */
    struct trace t = {0};
    trace_start_loading(&t);
    load_offset(&t, "g", 0, 10, 1, -1);
    record(&t, RAW("\0\3\0\1g"), RAW("\0\0\0\0\0\1\0"), 2, -1);
    record(&t, RAW("\0\1\0\1g\0\1t\0\0\0\0"), RAW("\0\x9zzzz"), 3, -1);
    record(&t, RAW("\0\1\0\1g\0\1t\0\0\0\0"), RAW("\0\3\0"), 4, -1);
    record(&t, RAW("\0\1\0\1g\0\1t\0\0\0\0"), RAW(""), 4, -1);
    record(&t, RAW("\0\1\0\x9g\0\1t\0\0\0\0"), RAW("\0\3\0"), 5, -1);
    record(&t, RAW("\0"), RAW("\0\3\0"), 6, -1);
    record(&t, (struct bytes){NULL, 0}, RAW("\0\3\0"), 7, -1);
    record(&t, RAW("\0\2\0\1n"), RAW("\0\0\0\1p\0\0\0\3\377\377\0\1i\0\0\0\1" MEMBER("", "")), 8,
           -1);
    record(&t, RAW("\0\2\0\1d"),
           RAW("\0\0\0\1p\0\0\0\3\0\1x\0\1?\0\0\0\2" MEMBER("", "") MEMBER("", "")), 9, -1);
    record(&t, RAW("\0\2\0\1e"), RAW("\0\0\0\1p\x7f\377\377\377\377\377\377\377\0\0\0\0"), 10, -1);
    simple(&t, GRP_EV_LOADED);
    grp_print(t.coord, STR_NULL, false, &t.text);
    EXPECT(
        &t,
        "group d Stable generation=3 type=p protocol=x\n"
        "  member i client=c/h session=10000 rebalance=10000 metadata=37b07aa0a79ec264 assignment=ed8170de1919a24d leader\n"
        "group e Empty generation=2147483647 type=p protocol=\n"
        "group g Empty generation=0 type= protocol=\n"
        "  offset t-0 = 10 epoch=-1 metadata= committed=5 expires=-1\n");
    /* The generation after the largest is 1. */
    enter(&t, 'A', .group = "e", .type = "p");
    advance(&t, 3000);
    EXPECT(&t, "at 3000:\n"
               "A join NONE gen=1 type=p proto=range leader=c#1 id=c#1 members=[c#1=m]\n");
    trace_end(&t);
}

Test(load, a_group_record_without_a_type_is_a_simple_group)
{
    /* Its offsets' age counts from their commits (time 5), not from the record's state (now). */
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.offsets_retention_ms = 999000;
    t.config.retention_check_interval_ms = 0;
    trace_start_loading(&t);
    struct grp_group_record group = {STR(""), 1, STR_NULL, STR_NULL, t.wall_ms, NULL, 0};
    record(&t, grp_record_group_key(&t.arena, STR("g")), grp_record_group_value(&t.arena, &group),
           0, -1);
    load_offset(&t, "g", 0, 7, 1, -1);
    simple(&t, GRP_EV_LOADED);
    simple(&t, GRP_EV_EXPIRE);
    EXPECT(&t, "append acks=0 offset g t-0 tombstone group g tombstone\n");
    trace_end(&t);
}
