/* The controller machine: creation, deletion, elections, requests, each as a golden trace. */
#include "ctl_fixture.h"

/* After an election everything is read before anything is told: brokers first, then leadership,
 * then the metadata of every partition, to every broker. */
Test(ctl_failover, rebuilds_its_state_and_tells_everybody)
{
    struct bench b;
    const char *names[] = {"t"};
    struct state_spec state = {1, 4, 9, {1, 2}};
    bench_init(&b);
    elect(&b, 3);
    expect(&b, "READ_BROKERS\nREAD_TOPICS\nREAD_DELETIONS\nREAD_PREFERRED\nREAD_LOG_DIRS\n");
    brokers_alive(&b, three, NULL, 2);
    expect(&b, "");
    topics_are(&b, names, 1);
    expect(&b, "READ_TOPIC t\n");
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    expect(&b, "");
    topic_is(&b, "t", three, 2, &state, 1);
    expect(&b, "NOTE controller is active: epoch=3 brokers=2 topics=1\n"
               "READ_ORDERS\n"
               "SEND to=1 UPDATE_METADATA live=[1,2]\n"
               "SEND to=2 UPDATE_METADATA live=[1,2]\n");
    sent_ok(&b, send_to(&b, 2));
    expect(&b, "SEND to=2 LEADER_AND_ISR t-0:leader=1,epoch=4,isr=[1,2],v=9\n");
    sent_ok(&b, send_to(&b, 2));
    expect(&b, "SEND to=2 UPDATE_METADATA live=[1,2] t-0:leader=1,epoch=4,isr=[1,2]\n");
    sent_ok(&b, send_to(&b, 2));
    expect(&b, "");
    bench_fini(&b);
}

/* A new topic: all live replicas are in sync; the first one leads; the replicas
 * hear that they are new before anybody hears of the partition. */
Test(ctl_create, new_topic)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 2);
    topics_are(&b, names, 1);
    expect(&b, "READ_TOPIC t\n");
    topic_is(&b, "t", (const int[]){3, 2, 1}, 3, NULL, 1);
    expect(&b, "NOTE partitions found: topic=t new=1\n"
               "CREATE_STATE t-0 leader=2 epoch=0 isr=[2,1] v=0\n");
    wrote(&b, id_of(&b, CTL_CREATE_STATE, 0), ERR_OK, 0);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=2,epoch=0,isr=[2,1],v=0,new\n"
               "SEND to=2 LEADER_AND_ISR t-0:leader=2,epoch=0,isr=[2,1],v=0,new\n");
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1,2] t-0:leader=2,epoch=0,isr=[2,1],offline=[3]\n");
    bench_fini(&b);
}

/* A client that asked while only the first partition had been made took the topic to have one, and
 * failed what was to go to the others for good. */
Test(ctl_create, clients_hear_of_all_partitions_of_a_new_topic_at_once)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 1);
    topics_are(&b, names, 1);
    topic_is(&b, "t", (const int[]){1}, 1, NULL, 2);
    uint64_t first = id_of(&b, CTL_CREATE_STATE, 0);
    uint64_t second = id_of(&b, CTL_CREATE_STATE, 1);
    wrote(&b, first, ERR_OK, 0);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=1,epoch=0,isr=[1],v=0,new\n");
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "");
    wrote(&b, second, ERR_OK, 0);
    expect(&b, "SEND to=1 LEADER_AND_ISR t-1:leader=1,epoch=0,isr=[1],v=0,new\n");
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=0,isr=[1] "
               "t-1:leader=1,epoch=0,isr=[1]\n");
    bench_fini(&b);
}

/* Nobody knew whether the second partition had been made; it had not, and was made anew. Meanwhile
 * clients heard of the first one alone. */
Test(ctl_create, clients_hear_of_all_partitions_at_once_when_one_is_made_in_a_second_attempt)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 1);
    topics_are(&b, names, 1);
    topic_is(&b, "t", (const int[]){1}, 1, NULL, 2);
    uint64_t first = id_of(&b, CTL_CREATE_STATE, 0);
    uint64_t second = id_of(&b, CTL_CREATE_STATE, 1);
    wrote(&b, first, ERR_OK, 0);
    sent_ok(&b, send_to(&b, 1));
    wrote(&b, second, ERR_ZK_CONNECTION_LOSS, 0);
    expect(&b, "READ_STATE t-1\n");
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = str_of("t");
    event.u.state.info.partition = 1;
    event.u.state.info.err = ERR_NOT_FOUND;
    step(&b, event);
    expect(&b, "CREATE_STATE t-1 leader=1 epoch=0 isr=[1] v=0\n");
    wrote(&b, id_of(&b, CTL_CREATE_STATE, 0), ERR_OK, 0);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=0,isr=[1] "
               "t-1:leader=1,epoch=0,isr=[1]\n");
    bench_fini(&b);
}

/* The controller before us died when it had made the first partition only: clients heard of that
 * one alone from us. */
Test(ctl_create, clients_hear_of_all_partitions_at_once_when_another_controller_began_to_make_them)
{
    struct bench b;
    struct state_spec states[] = {{1, 0, 0, {1}}, {-2, 0, 0, {0}}};
    const char *names[] = {"t"};
    bench_init(&b);
    elect(&b, 2);
    brokers_alive(&b, three, NULL, 1);
    topics_are(&b, names, 1);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    topic_is(&b, "t", (const int[]){1}, 1, states, 2);
    uint64_t second = id_of(&b, CTL_CREATE_STATE, 0);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=1,epoch=0,isr=[1],v=0\n");
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "");
    wrote(&b, second, ERR_OK, 0);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=0,isr=[1] "
               "t-1:leader=1,epoch=0,isr=[1]\n");
    bench_fini(&b);
}

/* What was there before is spoken of meanwhile, and so is what is there when the rest cannot be
 * made. */
Test(ctl_create, partitions_that_are_being_added_hold_nothing_else_up)
{
    struct bench b;
    struct state_spec states[] = {{1, 0, 0, {1}}, {-2, 0, 0, {0}}, {-2, 0, 0, {0}}};
    struct state_spec changed[] = {{1, 1, 1, {1}}, {-2, 0, 0, {0}}, {-2, 0, 0, {0}}};
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 1);
    topics_are(&b, names, 1);
    topic_is(&b, "t", (const int[]){1}, 1, states, 3);
    uint64_t first = id_of(&b, CTL_CREATE_STATE, 0);
    uint64_t second = id_of(&b, CTL_CREATE_STATE, 1);
    sent_ok(&b, send_to(&b, 1));
    sent_ok(&b, send_to(&b, 1));
    wrote(&b, first, ERR_OK, 0);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "");
    topic_is(&b, "t", (const int[]){1}, 1, changed, 3);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=1,isr=[1]\n");
    sent_ok(&b, send_to(&b, 1));
    wrote(&b, second, ERR_CONTROLLER_MOVED, 0); /* so it may not be the controller any more */
    expect(&b, "RESIGN\n"
               "SEND to=1 UPDATE_METADATA live=[1] t-1:leader=1,epoch=0,isr=[1]\n");
    bench_fini(&b);
}

/* A partition without a live replica waits, and is made when one comes. */
Test(ctl_create, waits_for_a_live_replica)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 2);
    topics_are(&b, names, 1);
    topic_is(&b, "t", (const int[]){3}, 1, NULL, 1);
    expect(&b, "NOTE partitions found: topic=t new=1\n");
    brokers_alive(&b, three, NULL, 3);
    expect(&b, "NOTE brokers changed: new=[3] dead=[] bounced=[] live=3\n"
               "CREATE_STATE t-0 leader=3 epoch=0 isr=[3] v=0\n"
               "SEND to=1 UPDATE_METADATA live=[1,2,3]\n"
               "SEND to=2 UPDATE_METADATA live=[1,2,3]\n"
               "SEND to=3 UPDATE_METADATA live=[1,2,3] t\n");
    bench_fini(&b);
}

/* Partitions added to a topic are made; those that exist are left alone. */
Test(ctl_create, added_partitions)
{
    struct bench b;
    struct state_spec states[] = {{1, 0, 0, {1, 2, 3}}, {-2, 0, 0, {0}}};
    bench_init(&b);
    lead_one(&b, states[0]);
    topic_is(&b, "t", three, 3, states, 2);
    expect(&b, "NOTE partitions found: topic=t new=1\n"
               "CREATE_STATE t-1 leader=1 epoch=0 isr=[1,2,3] v=0\n");
    bench_fini(&b);
}

/* A topic made by an old tool gets an id before anything else happens to it. */
Test(ctl_create, topic_without_id_gets_one)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 1);
    topics_are(&b, names, 1);
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    event.u.topic.name = STR("t");
    step(&b, event);
    expect(&b, "WRITE_TOPIC t\n");
    cr_assert(!uuid_is_zero(b.out.items[0].node.id));
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    expect(&b, "READ_TOPIC t\n");
    bench_fini(&b);
}

/* Kafka's tools of before 2.8 that add partitions write a topic's node without its id. It was given
 * another one, which made it another topic: nobody served its partitions any more, what groups had
 * committed was forgotten, and each broker that started then deleted its logs. */
Test(ctl_create, topic_that_has_lost_its_id_gets_it_back)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    event.u.topic.name = STR("t");
    step(&b, event);
    expect(&b, "WRITE_TOPIC t\n");
    cr_assert_eq(b.out.items[0].node.id.raw[0], 't');
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    expect(&b, "READ_TOPIC t\n");
    bench_fini(&b);
}

/* ZooKeeper does not take it with one: it was tried again as fast as ZooKeeper answered, and a new
 * controller never came to the end of loading. The topic is left alone until somebody changes it.
 */
Test(ctl_create, a_topic_that_cannot_get_an_id_holds_nobody_up)
{
    struct bench b;
    const char *names[] = {"t"};
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    event.u.topic.name = STR("t");
    bench_init(&b);
    elect(&b, 1);
    brokers_alive(&b, three, NULL, 1);
    topics_are(&b, names, 1);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    step(&b, event);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_ZK_OTHER, -1);
    cr_assert_null(strstr((char *)b.text.data, "READ_TOPIC t"), "%s", (char *)b.text.data);
    cr_assert(ctl_active(b.ctl));
    step(&b, event); /* it has changed */
    expect(&b, "WRITE_TOPIC t\n");
    bench_fini(&b);
}

/* A write whose result is unknown is followed by reading: what is there counts, whoever wrote it.
 */
Test(ctl_write, unknown_result_is_read_again)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    uint64_t id = id_of(&b, CTL_WRITE_STATE, 0);
    wrote(&b, id, ERR_ZK_BAD_VERSION, 0);
    expect(&b, "READ_STATE t-0\n");
    /* It had happened. */
    int32_t isr[] = {2, 3};
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info = (struct ctl_state_info){
        .err = ERR_OK,
        .state = {.leader = 2, .leader_epoch = 6, .controller_epoch = 1, .isr = {isr, 2}},
        .version = 8};
    step(&b, event);
    expect(&b, "");
    /* An old leader came between: decide again from there. */
    brokers_alive(&b, (const int[]){2}, NULL, 1);
    id = id_of(&b, CTL_WRITE_STATE, 0);
    wrote(&b, id, ERR_ZK_BAD_VERSION, 0);
    event.u.state.info.version = 12;
    step(&b, event);
    expect(&b, "WRITE_STATE t-0 leader=2 epoch=7 isr=[2] v=12\n");
    bench_fini(&b);
}

/* Somebody removed a partition's state: it was made as that of a new partition, led by the first
 * replica, which was not in sync, and the others cut off what that had not. */
Test(ctl_write, a_state_that_somebody_removed_is_made_again_as_it_was)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){2, 5, 7, {2, 3}});
    brokers_alive(&b, three, NULL, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_NOT_FOUND, -1);
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info.err = ERR_NOT_FOUND;
    step(&b, event);
    cr_assert(strstr((char *)b.text.data, "CREATE_STATE t-0 leader=2 epoch=6 isr=[2] v=0\n"), "%s",
              (char *)b.text.data);
    wrote(&b, id_of(&b, CTL_CREATE_STATE, 0), ERR_OK, 0);
    cr_assert_null(strstr((char *)b.text.data, ",new"), "%s", (char *)b.text.data);
    settle(&b);
    brokers_alive(&b, (const int[]){1}, NULL, 1);
    cr_assert(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=-1 epoch=7 isr=[2] v=0\n"), "%s",
              (char *)b.text.data);
    bench_fini(&b);
}

/* A write that the epoch's fence refused ends the reign. */
Test(ctl_write, fenced_write_resigns)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_CONTROLLER_MOVED, 0);
    expect(&b, "RESIGN\n");
    step(&b, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    cr_assert(!ctl_active(b.ctl));
    bench_fini(&b);
}

/* Requests that fail are repeated after a pause, built anew from the state at that time. */
Test(ctl_send, failed_request_is_repeated_with_the_newest_state)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_empty(&b, 2);
    topics_are(&b, names, 1);
    topic_is(&b, "t", three, 2, NULL, 1);
    wrote(&b, id_of(&b, CTL_CREATE_STATE, 0), ERR_OK, 0);
    sent_error(&b, send_to(&b, 2), ERR_NETWORK_EXCEPTION);
    expect(&b, "");
    cr_assert_eq(b.out.wake_ms, 1100);
    b.now_ms = 1099;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "");
    b.now_ms = 1100;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "SEND to=2 LEADER_AND_ISR t-0:leader=1,epoch=0,isr=[1,2],v=0,new\n");
    bench_fini(&b);
}

/* A broker that knows a later controller makes us look whether we still are one. */
Test(ctl_send, stale_controller_epoch_makes_it_check)
{
    struct bench b;
    bench_init(&b);
    lead_empty(&b, 2);
    brokers_alive(&b, three, NULL, 3);
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    control_set(&response, error, err_wire(ERR_STALE_CONTROLLER_EPOCH));
    struct ctl_event event = {.kind = CTL_EV_SENT};
    event.u.sent.cmd_id = send_to(&b, 2);
    event.u.sent.response = &response;
    step(&b, event);
    expect(&b, "RESIGN\n");
    bench_fini(&b);
}

/* Deletion: out of the metadata, files removed everywhere, then the nodes; a dead replica makes it
 * wait. */
Test(ctl_delete, removes_replicas_then_nodes)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){1, 2}, NULL, 2);
    settle(&b);
    marks_are(&b, names, 1);
    expect(&b,
           "NOTE deleting topic: topic=t partitions=1\n"
           "SEND to=1 UPDATE_METADATA live=[1,2] t-0:leader=-2,epoch=0,isr=[1,2],offline=[3]\n"
           "SEND to=2 UPDATE_METADATA live=[1,2] t-0:leader=-2,epoch=0,isr=[1,2],offline=[3]\n");
    uint64_t to_2 = send_to(&b, 2);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 STOP_REPLICA t-0:epoch=-2,delete\n");
    sent_one(&b, send_to(&b, 1), "t", 0, ERR_OK);
    sent_ok(&b, to_2);
    sent_one(&b, send_to(&b, 2), "t", 0, ERR_OK);
    expect(&b, "");
    brokers_alive(&b, three, (const int[]){0, 0, 1}, 3);
    uint64_t to_3 = send_to(&b, 3);
    sent_ok(&b, to_3);
    expect(&b, "SEND to=3 STOP_REPLICA t-0:epoch=-2,delete\n");
    sent_one(&b, send_to(&b, 3), "t", 0, ERR_OK);
    expect(&b, "DELETE_TOPIC t\n");
    uint64_t gone = id_of(&b, CTL_DELETE_TOPIC, 0);
    wrote(&b, gone, ERR_ZK_NOT_EMPTY, 0);
    cr_assert_eq(b.out.wake_ms, b.now_ms + CTL_DELETE_RETRY_MS);
    b.now_ms += CTL_DELETE_RETRY_MS;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "DELETE_TOPIC t\n");
    wrote(&b, id_of(&b, CTL_DELETE_TOPIC, 0), ERR_OK, 0);
    expect(&b, "NOTE topic deleted: topic=t\n");
    cr_assert_eq(ctl_count(b.ctl).topics, 0);
    bench_fini(&b);
}

/* The reply to a deletion was lost, and the topic was made anew before it had been repeated: the
 * list with the new topic came while the old one was still known, and nobody looked at it again. */
Test(ctl_delete, a_topic_made_anew_before_its_deletion_is_known_to_be_done_is_found)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    marks_are(&b, names, 1);
    uint64_t told[] = {send_to(&b, 1), send_to(&b, 2), send_to(&b, 3)};
    for (int i = 0; i < 3; i++) {
        sent_ok(&b, told[i]);
        sent_one(&b, send_to(&b, i + 1), "t", 0, ERR_OK);
    }
    expect(&b, "DELETE_TOPIC t\n");
    uint64_t gone = id_of(&b, CTL_DELETE_TOPIC, 0);
    topics_are(&b, names, 1);
    expect(&b, "");
    wrote(&b, gone, ERR_OK, 0);
    expect(&b, "NOTE topic deleted: topic=t\nREAD_TOPICS\n");
    topics_are(&b, names, 1);
    expect(&b, "READ_TOPIC t\n");
    bench_fini(&b);
}

/* A mark for a topic that does not exist is removed, but only after the list of topics was read
 * again: the topic may be newer than our list. */
Test(ctl_delete, mark_without_topic_is_removed_after_a_second_look)
{
    struct bench b;
    const char *names[] = {"ghost"};
    bench_init(&b);
    lead_empty(&b, 1);
    marks_are(&b, names, 1);
    expect(&b, "READ_TOPICS\n");
    topics_are(&b, NULL, 0);
    expect(&b, "DELETE_LEFTOVER ghost\n");
    marks_are(&b, names, 1);
    topics_are(&b, names, 1);
    expect(&b, "READ_TOPIC ghost\n");
    topic_is(&b, "ghost", three, 1, NULL, 1);
    cr_assert(strstr((char *)b.text.data, "NOTE deleting topic: topic=ghost partitions=1\n"));
    bench_fini(&b);
}

/* A topic that somebody removed by hand disappears from everybody's metadata. */
Test(ctl_delete, topic_removed_by_hand_leaves_the_metadata)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    topics_are(&b, NULL, 0);
    cr_assert(strstr((char *)b.text.data,
                     "SEND to=1 UPDATE_METADATA live=[1,2,3] t-0:leader=-2,epoch=0,isr=[1,2,3]\n"));
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).partitions, 0);
    bench_fini(&b);
}

/* A new controller resumes deletions from the marks alone. */
Test(ctl_delete, resumes_after_failover)
{
    struct bench b;
    const char *names[] = {"t"};
    struct state_spec state = {1, 5, 7, {1}};
    bench_init(&b);
    elect(&b, 2);
    marks_are(&b, names, 1);
    topics_are(&b, names, 1);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    brokers_alive(&b, three, NULL, 1);
    topic_is(&b, "t", three, 1, &state, 1);
    expect(&b, "NOTE controller is active: epoch=2 brokers=1 topics=1\n"
               "READ_ORDERS\n"
               "NOTE deleting topic: topic=t partitions=1\n"
               "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=-2,epoch=0,isr=[1]\n");
    sent_ok(&b, send_to(&b, 1));
    sent_one(&b, send_to(&b, 1), "t", 0, ERR_OK);
    expect(&b, "DELETE_TOPIC t\n");
    bench_fini(&b);
}

/* Preferred leaders are restored when asked, also by the balance, but only from the ISR. */
Test(ctl_elect, preferred_leaders)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){2, 5, 7, {1, 2}});
    struct ctl_event event = {.kind = CTL_EV_ELECT};
    event.u.elect.all = true;
    step(&b, event);
    cr_assert_eq(b.out.elected_count, 1);
    cr_assert_eq(b.out.elected[0].err, ERR_OK);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=7\n");
    settle(&b);
    step(&b, event);
    cr_assert_eq(b.out.elected_count, 0);
    struct znode_tp tp = {STR("nope"), 0, {0}};
    event.u.elect.all = false;
    event.u.elect.tps = (struct znode_tps){&tp, 1};
    step(&b, event);
    cr_assert_eq(b.out.elected[0].err, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    bench_fini(&b);
}

/* Five seconds after the election, and then at the configured interval, leaders go home. */
Test(ctl_elect, automatic_balance)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){2, 5, 7, {1, 2}});
    b.now_ms = 1000 + CTL_FIRST_REBALANCE_MS - 1;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "");
    cr_assert_eq(b.out.wake_ms, 1000 + CTL_FIRST_REBALANCE_MS);
    b.now_ms++;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=7\n");
    cr_assert_eq(b.out.wake_ms, b.now_ms + 300000);
    bench_fini(&b);
}

/* The node of the old election tool is served and then removed. */
Test(ctl_elect, preferred_election_node)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){2, 5, 7, {1, 2}});
    struct znode_tp tp = {STR("t"), 0, {0}};
    struct ctl_event event = {.kind = CTL_EV_PREFERRED};
    event.u.preferred.exists = true;
    event.u.preferred.tps = (struct znode_tps){&tp, 1};
    step(&b, event);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    cr_assert(strstr((char *)b.text.data, "DELETE_PREFERRED\n"));
    bench_fini(&b);
}

/* A partition whose state could not be read wanted its preferred leader for ever, and as long as
 * one wants it the node stays, and no other order is taken. */
Test(ctl_elect, the_node_goes_although_a_state_cannot_be_read)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){2, 5, 7, {1, 2}});
    struct znode_tp tp = {STR("t"), 0, {0}};
    struct ctl_event event = {.kind = CTL_EV_PREFERRED};
    event.u.preferred.exists = true;
    event.u.preferred.tps = (struct znode_tps){&tp, 1};
    step(&b, event);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_BAD_VERSION, 0);
    struct ctl_event state = {.kind = CTL_EV_STATE};
    state.u.state.topic = STR("t");
    state.u.state.info = (struct ctl_state_info){.err = ERR_MALFORMED};
    step(&b, state);
    cr_assert_not_null(strstr((char *)b.text.data, "DELETE_PREFERRED\n"), "%s",
                       (char *)b.text.data);
    step(&b, event); /* and once more */
    expect(&b, "DELETE_PREFERRED\n");
    bench_fini(&b);
}

/* What ZooKeeper does not take (a permission is missing) was read and written in turns, as fast as
 * it answered. */
Test(ctl_write, what_zookeeper_does_not_take_is_not_tried_again_at_once)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_OTHER, 0);
    expect(&b, "READ_STATE t-0 later\n");
    bench_fini(&b);
}

/* Has it been told all there is? Not that it leads. */
static bool hears_all(struct bench *b, int32_t broker)
{
    for (int i = 0; i < 10; i++) {
        const Barnabas__Control__Request *said = NULL;
        for (int32_t k = 0; k < b->out.count; k++) {
            const struct ctl_cmd *cmd = &b->out.items[k];
            said = cmd->kind == CTL_SEND && cmd->broker_id == broker ? cmd->request : said;
        }
        if (said == NULL || (said->update_metadata != NULL && said->update_metadata->complete)) {
            return said != NULL;
        }
        cr_assert_null(said->leader_and_isr);
        sent_ok(b, send_to(b, broker));
    }
    return false;
}

/* A broker that started while the state of one partition was refused, again and again, was never
 * told that it had heard all, and let no client in. What is there counts until ZooKeeper takes
 * something else; but who led in an epoch before it restarted does not lead in it again. */
Test(ctl_write, what_zookeeper_does_not_take_keeps_no_broker_from_starting)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_OTHER, 0);
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    cr_assert(hears_all(&b, 1), "%s", (char *)b.text.data);
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info = (struct ctl_state_info){.version = 7};
    event.u.state.info.state = (struct znode_state){
        .leader = 1, .leader_epoch = 5, .controller_epoch = 1, .isr = {three, 3}};
    step(&b, event); /* tried once more, and nobody is told again what has not changed */
    expect(&b, "WRITE_STATE t-0 leader=2 epoch=6 isr=[2,3] v=7\n");
    bench_fini(&b);
}

/* A leader's ISR request is written under the same leader epoch, and told as metadata only. */
Test(ctl_alter, isr_request_is_written_and_answered)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=5 isr=[1,2] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=0,isr=[1,2],v=8\n"
               "SEND to=1 UPDATE_METADATA live=[1,2,3] t-0:leader=1,epoch=5,isr=[1,2]\n"
               "SEND to=2 UPDATE_METADATA live=[1,2,3] t-0:leader=1,epoch=5,isr=[1,2]\n"
               "SEND to=3 UPDATE_METADATA live=[1,2,3] t-0:leader=1,epoch=5,isr=[1,2]\n");
    bench_fini(&b);
}

/* Somebody changed the state by hand, under the same leader epoch. Its leader, which believes what
 * it was told in that epoch, could never change its ISR again: it waits for the next epoch, and
 * nobody had a reason to begin one. */
Test(ctl_alter, a_leader_of_a_state_that_others_changed_gets_an_epoch_of_its_own)
{
    for (int unknown = 0; unknown < 2; unknown++) {
        struct bench b;
        bench_init(&b);
        lead_one(&b, (struct state_spec){1, 5, unknown != 0 ? 7 : 9, {1, 2}});
        ask_isr(&b, 5, 7, (const int[]){1}, 1);
        if (unknown != 0) { /* we find out only when we write */
            struct ctl_event event = {.kind = CTL_EV_STATE};
            event.u.state.topic = STR("t");
            event.u.state.info = (struct ctl_state_info){.version = 9};
            event.u.state.info.state = (struct znode_state){
                .leader = 1, .leader_epoch = 5, .controller_epoch = 1, .isr = {three, 2}};
            wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_BAD_VERSION, 0);
            step(&b, event);
        }
        cr_assert_not_null(
            strstr((char *)b.text.data, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=95\n"), "%s",
            (char *)b.text.data); /* INVALID_UPDATE_VERSION */
        cr_assert_not_null(
            strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=9\n"), "%s",
            (char *)b.text.data);
        wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 10);
        settle(&b);
        ask_isr(&b, 6, 10, (const int[]){1}, 1);
        expect(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=10\n");
        bench_fini(&b);
    }
}

/* Stale, early, senseless and impossible requests get Kafka's errors, and nothing is written. */
Test(ctl_alter, bad_requests_are_told_apart)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 4, 7, (const int[]){1, 2}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=74\n"); /* FENCED_LEADER_EPOCH */
    ask_isr(&b, 6, 7, (const int[]){1, 2}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=41\n"); /* NOT_CONTROLLER */
    ask_isr(&b, 5, 6, (const int[]){1}, 1);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=0,isr=[1],v=7\n"); /* so already */
    ask_isr(&b, 5, 7, (const int[]){1, 9}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=107\n"); /* INELIGIBLE_REPLICA */
    ask_isr(&b, 5, 7, (const int[]){2, 3}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=42\n"); /* without its leader */
    bench_fini(&b);
}

/* A lost reply to an ISR write is no failure: it is read again, and the leader told the truth. */
Test(ctl_alter, unknown_result_is_found_out)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_BAD_VERSION, 0);
    expect(&b, "READ_STATE t-0\n");
    int32_t isr[] = {1, 2};
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info = (struct ctl_state_info){
        .err = ERR_OK,
        .state = {.leader = 1, .leader_epoch = 5, .controller_epoch = 1, .isr = {isr, 2}},
        .version = 8};
    step(&b, event);
    cr_assert(strstr((char *)b.text.data,
                     "REPLY id=9 ALTER_PARTITION error=0 t-0:error=0,isr=[1,2],v=8\n"));
    bench_fini(&b);
}

/* ZooKeeper refused the write for a reason of its own: nothing has changed. The leader was told
 * that somebody else had changed it, and waited for that for good. Then it was told when the state
 * had been read, a second later, and all its other partitions with it. */
Test(ctl_alter, a_leader_asks_again_when_its_wish_was_not_written)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_OTHER, 0);
    expect(&b, "READ_STATE t-0 later\n"
               "REPLY id=9 ALTER_PARTITION error=0 t-0:error=7\n"); /* REQUEST_TIMED_OUT */
    int32_t isr[] = {1};
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info = (struct ctl_state_info){
        .err = ERR_OK,
        .state = {.leader = 1, .leader_epoch = 5, .controller_epoch = 1, .isr = {isr, 1}},
        .version = 7};
    step(&b, event);
    expect(&b, "");
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=5 isr=[1,2] v=7\n");
    bench_fini(&b);
}

/* A leader whose connection broke repeated its wish while the first copy was being written, was
 * told that nothing was, and went by the old ISR: its high watermark did not wait for the replica
 * that the first copy let in. */
Test(ctl_alter, a_repeated_wish_is_not_refused_while_it_is_being_written)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=7\n"); /* REQUEST_TIMED_OUT: again */
    ask_isr(&b, 5, 7, (const int[]){1}, 1);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=7\n"); /* nor is it so already */
    wrote(&b, write, ERR_OK, 8);
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=0,isr=[1,2],v=8\n");
    bench_fini(&b);
}

/* Losing the office answers everybody who waits. */
Test(ctl_alter, deposed_controller_answers_not_controller)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    step(&b, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    expect(&b, "REPLY id=9 ALTER_PARTITION error=41\n");
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=41\n");
    bench_fini(&b);
}

/* It has just learned that another controller writes, and left the partition alone. It said that
 * there was no such partition, which a leader believes for good: it never asked for another ISR
 * again. */
Test(ctl_alter, a_controller_that_doubts_itself_answers_not_controller)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    brokers_alive(&b, (const int[]){1, 3}, NULL, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_CONTROLLER_MOVED, 0);
    ask_isr(&b, 5, 7, (const int[]){1}, 1);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=41\n");
    bench_fini(&b);
}

/* Nor is there nothing where a state cannot be read at present. */
Test(ctl_alter, a_leader_asks_again_while_its_state_cannot_be_read)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_ZK_BAD_VERSION, 0);
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info = (struct ctl_state_info){.err = ERR_MALFORMED};
    step(&b, event);
    cr_assert_not_null(strstr((char *)b.text.data, "t-0:error=7\n"), "%s", (char *)b.text.data);
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=7\n"); /* REQUEST_TIMED_OUT */
    bench_fini(&b);
}

/* Equal inputs give equal outputs, to the byte. */
Test(ctl, is_deterministic)
{
    struct buf traces[2] = {{0}, {0}};
    for (int run = 0; run < 2; run++) {
        struct bench b;
        const char *names[] = {"a", "b", "c"};
        bench_init(&b);
        lead_empty(&b, 3);
        topics_are(&b, names, 3);
        for (int i = 0; i < 3; i++) {
            topic_is(&b, names[i], three, 3, NULL, 4);
            buf_put(&traces[run], b.text.data, b.text.size);
        }
        brokers_alive(&b, (const int[]){1, 3}, NULL, 2);
        buf_put(&traces[run], b.text.data, b.text.size);
        bench_fini(&b);
    }
    cr_assert_eq(traces[0].size, traces[1].size);
    cr_assert_eq(memcmp(traces[0].data, traces[1].data, traces[0].size), 0);
    buf_fini(&traces[0]);
    buf_fini(&traces[1]);
}
