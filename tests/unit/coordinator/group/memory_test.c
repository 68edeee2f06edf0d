/* What groups take of memory: it is all counted, it has limits, and those who are there go on. */
#include "grp_fixture.h"

static struct trace with_max(size_t max)
{
    struct trace t = {0};
    grp_config_default(&t.config);
    t.config.retention_check_interval_ms = 0;
    t.config.memory_bytes_max = max;
    return t;
}

/* Each of fifty partitions had a limit of its own, so a broker had fifty times as much. */
Test(memory, of_several_coordinators_has_one_limit)
{
    struct grp_memory memory = {0};
    struct trace t = with_max(0);
    struct trace u = with_max(0);
    t.config.memory = u.config.memory = &memory;
    trace_start(&t);
    trace_start(&u);
    char *metadata = mem_printf("%02000d", 1);
    commit(&t, 'A', .metadata = metadata);
    ack(&t);
    t.text.size = 0;
    cr_assert_eq(atomic_load(&memory.used_bytes), grp_memory_bytes(t.coord));
    memory.max_bytes = grp_memory_bytes(t.coord) + 100;
    commit(&u, 'B', .metadata = metadata);
    enter(&u, 'C');
    EXPECT(&u, "B commit NONE t-0:COORDINATOR_NOT_AVAILABLE\n"
               "C join COORDINATOR_NOT_AVAILABLE gen=-1 type=null proto= leader= id=\n");
    simple(&t, GRP_EV_UNLOAD);
    cr_assert_eq(atomic_load(&memory.used_bytes), 0);
    u.quiet = true;
    commit(&u, 'B', .metadata = metadata);
    ack(&u);
    cr_assert_eq(atomic_load(&memory.used_bytes), grp_memory_bytes(u.coord));
    cr_assert_gt(atomic_load(&memory.used_bytes), 2000);
    mem_free(metadata);
    trace_end(&t);
    trace_end(&u);
    cr_assert_eq(atomic_load(&memory.used_bytes), 0);
}

/* Strangers had filled the memory, and no consumer could commit any more, nor come back from a
 * rebalance. */
Test(memory, that_is_used_up_lets_the_groups_that_are_there_go_on)
{
    struct trace t = with_max(0);
    trace_start(&t);
    to_stable(&t, "A");
    t.quiet = true;
    commit(&t, 'A', .member = true, .offset = 1);
    ack(&t);
    size_t used = grp_memory_bytes(t.coord);
    simple(&t, GRP_EV_UNLOAD);
    trace_end(&t);

    t = with_max(used);
    trace_start(&t);
    to_stable(&t, "A");
    t.quiet = true;
    commit(&t, 'A', .member = true, .offset = 1);
    ack(&t);
    t.quiet = false;
    enter(&t, 'B', .group = "other");
    commit(&t, 'A', .member = true, .partition = 1, .offset = 1);
    EXPECT(&t, "B join COORDINATOR_NOT_AVAILABLE gen=-1 type=null proto= leader= id=\n"
               "A commit NONE t-1:COORDINATOR_NOT_AVAILABLE\n");
    commit(&t, 'A', .member = true, .offset = 2);
    ack(&t);
    EXPECT(&t, "append acks=-1 offset g t-0=2/-1/\"\" at=1003000\nA commit NONE t-0:NONE\n");
    enter(&t, 'A');
    sync_group(&t, 'A', .assign = "A");
    ack(&t);
    EXPECT(&t, "A join NONE gen=2 type=consumer proto=range leader=c#1 id=c#1 members=[c#1=m]\n"
               "append acks=-1 group g gen=2 at=1003000 type=consumer proto=range leader=c#1 "
               "[c#1:m:a]\n"
               "A sync NONE type=consumer proto=range assignment=a\n");
    trace_end(&t);
}

/* Commits that are answered with REQUEST_TIMED_OUT stay until the high watermark moves. What they
 * keep was not counted, and clients sent the next ones. */
Test(memory, of_commits_that_timed_out_is_counted)
{
    enum { COMMITS = 200, MAX = 100000 };
    struct trace t = with_max(MAX);
    trace_start(&t);
    t.quiet = true;
    int taken = 0;
    for (int i = 0; i < COMMITS; i++) {
        size_t before = t.waiting_count;
        commit(&t, 'A', .offset = i);
        taken += t.waiting_count > before;
        struct grp_event event = {.kind = GRP_EV_APPENDED};
        event.appended = t.waiting[t.waiting_count - 1];
        event.appended.err = ERR_REQUEST_TIMED_OUT;
        step(&t, &event);
    }
    cr_assert_lt(taken, COMMITS, "a commit takes a kilobyte and more");
    cr_assert_leq(grp_memory_bytes(t.coord), 2 * MAX + 4096);
    ack(&t);
    cr_assert_lt(grp_memory_bytes(t.coord), 2000);
    t.quiet = false;
    fetch(&t, 'F');
    char *expected = mem_printf("F fetch NONE t-0:NONE=%d/-1/\"\"\n", taken - 1);
    EXPECT(&t, expected);
    mem_free(expected);
    trace_end(&t);
}

/* The topics that members subscribe to took thirty times what was counted for their metadata. */
Test(memory, of_subscriptions_is_counted)
{
    enum { TOPICS = 1000 };
    static uint8_t metadata[6 + 5 * TOPICS + 4];
    be32_put(metadata + 2, TOPICS);
    for (int i = 0; i < TOPICS; i++) {
        uint8_t *at = metadata + 6 + 5 * i;
        char name[16];
        snprintf(name, sizeof(name), "%03d", i);
        at[1] = 3;
        memcpy(at + 2, name, 3);
    }
    memset(metadata + sizeof(metadata) - 4, 0xff, 4);
    struct grp_protocol protocol = {STR("range"), {metadata, sizeof(metadata)}};
    struct trace t = with_max(0);
    trace_start(&t);
    t.quiet = true;
    struct grp_event event = {.kind = GRP_EV_JOIN, .token = token_of('A')};
    event.join = (struct grp_join){.version = 3,
                                   .group_id = STR("g"),
                                   .member_id = STR(""),
                                   .client_id = STR("c"),
                                   .client_host = STR("/10.0.0.1"),
                                   .session_timeout_ms = 10000,
                                   .rebalance_timeout_ms = 10000,
                                   .protocol_type = STR("consumer"),
                                   .protocols = &protocol,
                                   .protocol_count = 1};
    step(&t, &event);
    size_t before = grp_memory_bytes(t.coord);
    advance(&t, 3000);
    cr_assert_eq(t.generation['A'], 1);
    cr_assert_geq(grp_memory_bytes(t.coord), before + TOPICS * 64);
    trace_end(&t);
}

/* The leader's answer holds what all members have said: nothing but the partition's memory bounded
 * it. */
Test(memory, of_one_group_bounds_the_answer_of_its_leader)
{
    struct trace t = with_max(0);
    t.config.group_bytes_max = 4000;
    trace_start(&t);
    to_stable(&t, "A");
    char *large = mem_printf("range:%04000d", 1);
    enter(&t, 'B', .protocols = large);
    heartbeat(&t, 'A');
    EXPECT(&t, "B join GROUP_MAX_SIZE_REACHED gen=-1 type=null proto= leader= id=\n"
               "A heartbeat NONE\n");
    /* It replaces what it has said before. */
    t.quiet = true;
    for (int i = 0; i < 3; i++) {
        char *own = mem_printf("range:%02900d", i);
        enter(&t, 'A', .protocols = own);
        cr_assert_eq(t.generation['A'], 2 + i);
        mem_free(own);
    }
    mem_free(large);
    trace_end(&t);
}

/* Each of fifty coordinators kept the memory of the largest thing that it had ever said. */
Test(memory, for_what_was_said_is_given_back)
{
    struct grp_out out;
    grp_out_init(&out);
    (void)arena_alloc(&out.arena, 8 << 20);
    grp_out_reset(&out);
    cr_assert_leq(arena_size(&out.arena), 1 << 20);
    grp_out_fini(&out);
}
