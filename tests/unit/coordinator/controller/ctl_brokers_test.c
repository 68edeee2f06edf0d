/* The controller machine: brokers that die, restart, leave or lose a log directory, each as a
 * golden trace. */
#include "ctl_fixture.h"

/* A dead leader is replaced by the next replica in sync, and leaves the ISR; a dead follower only
 * leaves. */
Test(ctl_death, leader_moves_and_isr_shrinks)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    expect(&b, "DISCONNECT 1\n"
               "NOTE brokers changed: new=[] dead=[1] bounced=[] live=2\n"
               "WRITE_STATE t-0 leader=2 epoch=6 isr=[2,3] v=7\n"
               "SEND to=2 UPDATE_METADATA live=[2,3]\n"
               "SEND to=3 UPDATE_METADATA live=[2,3]\n");
    uint64_t to_2 = send_to(&b, 2);
    uint64_t to_3 = send_to(&b, 3);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    expect(&b, "NOTE leader changed: tp=t-0 old=1 new=2 epoch=6\n");
    sent_ok(&b, to_3);
    settle(&b);
    sent_ok(&b, to_2);
    settle(&b);
    brokers_alive(&b, (const int[]){2}, NULL, 1);
    expect(&b, "DISCONNECT 3\n"
               "NOTE brokers changed: new=[] dead=[3] bounced=[] live=1\n"
               "WRITE_STATE t-0 leader=2 epoch=7 isr=[2] v=8\n"
               "SEND to=2 UPDATE_METADATA live=[2]\n");
    bench_fini(&b);
}

/* The last one in sync keeps its place in the ISR: nobody else may lead, until it returns. */
Test(ctl_death, last_in_sync_stays_and_leads_again)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1] v=7\n"));
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).offline_partitions, 1);
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n"));
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).offline_partitions, 0);
    bench_fini(&b);
}

/* With unclean elections allowed, now or later, anybody alive leads, and is told that it recovers.
 */
Test(ctl_death, unclean_election_when_allowed)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    settle(&b);
    struct ctl_event event = {.kind = CTL_EV_UNCLEAN};
    event.u.unclean.topic = STR("other");
    event.u.unclean.allowed = 1;
    step(&b, event);
    expect(&b, "");
    event.u.unclean.topic = STR("t");
    step(&b, event);
    expect(&b, "WRITE_STATE t-0 leader=2 epoch=7 isr=[2] recovering v=8\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    cr_assert(strstr((char *)b.text.data,
                     "NOTE leader changed: tp=t-0 old=-1 new=2 epoch=7 unclean=true\n"));
    cr_assert_eq(ctl_count(b.ctl).unclean_elections, 1);
    bench_fini(&b);
}

/* A broker that restarted before anybody saw it gone is treated as gone and come back: others lead,
 * it leaves the ISR, and it is told everything anew. */
Test(ctl_bounce, restarted_leader_loses_leadership)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    expect(&b, "DISCONNECT 1\n"
               "NOTE brokers changed: new=[] dead=[] bounced=[1] live=3\n"
               "WRITE_STATE t-0 leader=2 epoch=6 isr=[2] v=7\n"
               "SEND to=1 UPDATE_METADATA live=[1,2,3]\n"
               "SEND to=2 UPDATE_METADATA live=[1,2,3]\n"
               "SEND to=3 UPDATE_METADATA live=[1,2,3]\n");
    uint64_t to_1 = send_to(&b, 1);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    sent_ok(&b, to_1);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=2,epoch=6,isr=[2],v=8\n");
    bench_fini(&b);
}

/* Alone in the ISR it leads again, but in a new epoch, and nobody hears of the old one meanwhile.
 */
Test(ctl_bounce, only_replica_in_sync_gets_a_new_epoch)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n"));
    uint64_t to_1 = send_to(&b, 1);
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    sent_ok(&b, to_1);
    expect(&b, "");
    wrote(&b, write, ERR_OK, 8);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=1,epoch=6,isr=[1],v=8\n");
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).offline_partitions, 0);
    bench_fini(&b);
}

/* All that are in sync have restarted: the first of the replicas leads, and they stay in sync. */
Test(ctl_bounce, all_in_sync_restarted_and_stay_in_sync)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){2, 5, 7, {2, 1}});
    brokers_alive(&b, three, (const int[]){1, 1, 0}, 3);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=6 isr=[2,1] v=7\n"));
    settle(&b);
    brokers_alive(&b, three, (const int[]){1, 2, 0}, 3);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n"));
    bench_fini(&b);
}

/* It restarts once more while its return is being written: that is another life, which needs
 * another epoch. */
Test(ctl_bounce, restarted_again_while_its_return_is_written)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    brokers_alive(&b, three, (const int[]){2, 0, 0}, 3);
    cr_assert_null(strstr((char *)b.text.data, "WRITE_STATE"));
    wrote(&b, write, ERR_OK, 8);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n"));
    bench_fini(&b);
}

/* It is seen dead, and alive again, while what it had asked for in its former life is being
 * written: nothing was decided meanwhile, and it went on leading in the epoch of that life. */
Test(ctl_bounce, seen_gone_and_back_while_its_wish_is_written)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    cr_assert_null(strstr((char *)b.text.data, "WRITE_STATE"));
    wrote(&b, write, ERR_OK, 8);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=2 epoch=6 isr=[2] v=8\n"), "%s",
              (char *)b.text.data);
    bench_fini(&b);
}

/* Nobody knows whether its return was written, and it was: another epoch costs nothing. One that
 * was not written is written again. */
Test(ctl_bounce, return_whose_write_has_no_result)
{
    for (int happened = 0; happened < 2; happened++) {
        struct bench b;
        int32_t isr[] = {1};
        bench_init(&b);
        lead_one(&b, (struct state_spec){1, 5, 7, {1}});
        brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
        wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_BAD_VERSION, 0);
        struct ctl_event event = {.kind = CTL_EV_STATE};
        event.u.state.topic = STR("t");
        event.u.state.info = (struct ctl_state_info){.err = ERR_OK,
                                                     .state = {.leader = 1,
                                                               .leader_epoch = 5 + happened,
                                                               .controller_epoch = 1,
                                                               .isr = {isr, 1}},
                                                     .version = 7 + happened};
        step(&b, event);
        cr_assert(strstr((char *)b.text.data,
                         happened ? "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n"
                                  : "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n"),
                  "%s", (char *)b.text.data);
        bench_fini(&b);
    }
}

/* Where anybody may lead if nobody is complete, one that is complete and has just restarted still
 * comes first. */
Test(ctl_bounce, restarted_leader_is_better_than_an_unclean_one)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    struct ctl_event event = {.kind = CTL_EV_UNCLEAN};
    event.u.unclean.topic = STR("t");
    event.u.unclean.allowed = 1;
    step(&b, event);
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n"));
    bench_fini(&b);
}

/* The leader and the controller were one broker; it restarted, and the next controller first sees
 * it alive. It led twice in one epoch, from an older high watermark the second time. The state was
 * written (250) before the present registration of broker 1 (101) or after that of an earlier life.
 */
Test(ctl_bounce, restart_that_no_controller_saw)
{
    for (int round = 0; round < 4; round++) {
        struct bench b;
        const char *names[] = {"t"};
        struct state_spec state = {1, 5, 7, {1, 2}};
        int life = round % 2;
        bool brokers_last = round >= 2;
        bench_init(&b);
        b.mzxid = 250;
        elect(&b, 1);
        if (!brokers_last) {
            brokers_alive(&b, three, (const int[]){life, 0, 0}, 3);
        }
        topics_are(&b, names, 1);
        marks_are(&b, NULL, 0);
        step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
        topic_is(&b, "t", three, 3, &state, 1);
        if (brokers_last) {
            brokers_alive(&b, three, (const int[]){life, 0, 0}, 3);
        }
        bool moves =
            strstr((char *)b.text.data, "WRITE_STATE t-0 leader=2 epoch=6 isr=[2] v=7\n") != NULL;
        cr_assert_eq(moves, life == 1, "%s", (char *)b.text.data);
        /* While that is being written it does not hear that it leads in the old epoch. */
        bool told = strstr((char *)b.text.data, "SEND to=1 LEADER_AND_ISR") != NULL;
        sent_ok(&b, send_to(&b, 1));
        told = told || strstr((char *)b.text.data, "SEND to=1 LEADER_AND_ISR") != NULL;
        cr_assert_eq(told, life == 0, "%s", (char *)b.text.data);
        bench_fini(&b);
    }
}

static void ask_shutdown(struct bench *b, int broker)
{
    Barnabas__Control__ControlledShutdown body = BARNABAS__CONTROL__CONTROLLED_SHUTDOWN__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN);
    control_set(&request, broker_id, broker);
    control_set(&request, broker_epoch, 100 + broker);
    request.controlled_shutdown = &body;
    struct ctl_event event = {.kind = CTL_EV_SHUTDOWN};
    event.u.request.reply_id = 77;
    event.u.request.request = &request;
    step(b, event);
}

/* Answer what is sent to this broker, and what is sent to it then. */
static void told_all(struct bench *b, uint64_t id)
{
    while (id != 0) {
        sent_one(b, id, "t", 0, ERR_OK);
        id = 0;
        for (int32_t i = 0; i < b->out.count; i++) {
            id = b->out.items[i].kind == CTL_SEND ? b->out.items[i].id : id;
        }
    }
}

/* A leaving leader hands over first, and the answer comes when that is written and everybody has
 * heard of it: otherwise who leaves would lead on for a moment, and when it is the controller
 * itself nobody would hear before the next one says so. */
Test(ctl_shutdown, leader_is_moved_and_all_are_told_before_the_answer)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    ask_shutdown(&b, 1);
    expect(&b, "NOTE broker is shutting down: broker=1\n"
               "WRITE_STATE t-0 leader=2 epoch=6 isr=[2,3] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    expect(&b, "NOTE leader changed: tp=t-0 old=1 new=2 epoch=6\n"
               "SEND to=1 LEADER_AND_ISR t-0:leader=2,epoch=6,isr=[2,3],v=8\n"
               "SEND to=2 LEADER_AND_ISR t-0:leader=2,epoch=6,isr=[2,3],v=8\n"
               "SEND to=3 LEADER_AND_ISR t-0:leader=2,epoch=6,isr=[2,3],v=8\n");
    uint64_t to_1 = send_to(&b, 1), to_2 = send_to(&b, 2), to_3 = send_to(&b, 3);
    told_all(&b, to_1);
    told_all(&b, to_2);
    expect(&b, "");
    told_all(&b, to_3);
    expect(&b, "REPLY id=77 CONTROLLED_SHUTDOWN error=0\n");
    bench_fini(&b);
}

/* A broker that does not hear keeps nobody from ending: one that fails is not waited for, one that
 * says nothing only for so long. */
Test(ctl_shutdown, the_answer_does_not_wait_for_ever)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    ask_shutdown(&b, 1);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    uint64_t to_1 = send_to(&b, 1), to_2 = send_to(&b, 2);
    told_all(&b, to_1);
    sent_error(&b, to_2, ERR_NETWORK_EXCEPTION);
    expect(&b, "");
    cr_assert_eq(b.out.wake_ms, b.now_ms + CTL_RETRY_MS);
    b.now_ms += CTL_TELL_MS; /* of the third nothing is heard */
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    cr_assert(strstr((char *)b.text.data, "REPLY id=77 CONTROLLED_SHUTDOWN error=0\n"));
    bench_fini(&b);
}

/* Nor does it wait for a state that ZooKeeper does not take: the stop of each broker with such a
 * partition took as long as it may. */
Test(ctl_shutdown, the_answer_does_not_wait_for_what_zookeeper_does_not_take)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    ask_shutdown(&b, 3);
    expect(&b, "NOTE broker is shutting down: broker=3\n"
               "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_OTHER, 0);
    expect(&b, "READ_STATE t-0 later\n"
               "SEND to=3 STOP_REPLICA t-0:epoch=5\n");
    sent_one(&b, send_to(&b, 3), "t", 0, ERR_OK);
    expect(&b, "REPLY id=77 CONTROLLED_SHUTDOWN error=0\n");
    bench_fini(&b);
}

/* A leaving follower is stopped and leaves the ISR; what nobody else can lead is reported as
 * remaining. */
Test(ctl_shutdown, follower_stops_and_sole_leader_remains)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    ask_shutdown(&b, 2);
    expect(&b, "NOTE broker is shutting down: broker=2\n"
               "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n");
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    wrote(&b, write, ERR_OK, 8);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=1,epoch=6,isr=[1],v=8\n"
               "SEND to=2 UPDATE_METADATA live=[1,2,3] t-0:leader=1,epoch=6,isr=[1]\n"
               "SEND to=3 LEADER_AND_ISR t-0:leader=1,epoch=6,isr=[1],v=8\n");
    uint64_t to_1 = send_to(&b, 1), to_3 = send_to(&b, 3);
    sent_ok(&b, send_to(&b, 2));
    expect(&b, "SEND to=2 STOP_REPLICA t-0:epoch=6\n");
    told_all(&b, send_to(&b, 2));
    told_all(&b, to_1);
    told_all(&b, to_3);
    expect(&b, "REPLY id=77 CONTROLLED_SHUTDOWN error=0\n");
    ask_shutdown(&b, 1);
    expect(&b, "NOTE broker is shutting down: broker=1\n"
               "REPLY id=77 CONTROLLED_SHUTDOWN error=0 remaining=t-0\n");
    bench_fini(&b);
}

/* A replica whose log directory failed cannot lead; when it works again, it can. */
Test(ctl_log_dir, failed_directory_moves_the_leader)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    int32_t ids[] = {1};
    struct ctl_event event = {.kind = CTL_EV_LOG_DIRS};
    event.u.log_dirs.ids = ids;
    event.u.log_dirs.count = 1;
    step(&b, event);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=1,epoch=5,isr=[1,2],v=7\n");
    sent_one(&b, send_to(&b, 1), "t", 0, ERR_KAFKA_STORAGE_ERROR);
    cr_assert(strstr((char *)b.text.data, "NOTE replica lost its log directory: tp=t-0 broker=1\n"
                                          "WRITE_STATE t-0 leader=2 epoch=6 isr=[2] v=7\n"));
    bench_fini(&b);
}
