/* What the controller machine makes of answers and news that come at a bad moment. */
#include "ctl_fixture.h"

static void log_dir_failed(struct bench *b, int32_t broker)
{
    struct ctl_event event = {.kind = CTL_EV_LOG_DIRS};
    event.u.log_dirs.ids = &broker;
    event.u.log_dirs.count = 1;
    step(b, event);
}

/* LeaderAndIsr for a replica whose files are removed already would make them again, and nobody
 * would ever remove them: a failed directory asks about the broker's other replicas only. */
Test(ctl_log_dir, a_failed_directory_does_not_bring_back_a_topic_that_is_being_deleted)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    marks_are(&b, names, 1);
    uint64_t to_1 = send_to(&b, 1);
    sent_ok(&b, to_1);
    sent_one(&b, send_to(&b, 1), "t", 0, ERR_OK);
    log_dir_failed(&b, 1);
    expect(&b, "");
    bench_fini(&b);
}

/* A partition that has no state yet has nothing that a broker could be told. */
Test(ctl_log_dir, a_failed_directory_says_nothing_of_partitions_that_do_not_exist_yet)
{
    struct bench b;
    const char *names[] = {"t"};
    static const int nobody[] = {1, 9};
    bench_init(&b);
    lead_empty(&b, 1);
    topics_are(&b, names, 1);
    topic_is(&b, "t", nobody + 1, 1, NULL, 1);
    expect(&b, "NOTE partitions found: topic=t new=1\n");
    log_dir_failed(&b, 1);
    expect(&b, "");
    bench_fini(&b);
}

/* The controller was still reading the cluster when it heard of a failed directory, and then of
 * other brokers: the mark was counted and never taken back, and the end of the reign ended the
 * broker. */
Test(ctl_log_dir, a_failed_directory_while_loading_leaves_no_mark_behind)
{
    struct bench b;
    const char *names[] = {"t", "u"};
    struct state_spec state = {1, 5, 7, {1, 2, 3}};
    bench_init(&b);
    elect(&b, 1);
    brokers_alive(&b, three, NULL, 3);
    topics_are(&b, names, 2);
    topic_is(&b, "t", three, 3, &state, 1);
    log_dir_failed(&b, 3);
    brokers_alive(&b, three, NULL, 2);
    step(&b, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    expect(&b, "");
    bench_fini(&b);
}

/* A broker that answers about partitions of which it was told nothing, not even that they exist,
 * is not listened to; their marks are not even there to be looked at. */
Test(ctl_send, an_answer_about_a_partition_that_was_not_asked_is_ignored)
{
    struct bench b;
    const char *names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "t"};
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    log_dir_failed(&b, 1);
    uint64_t asked = send_to(&b, 1);
    topics_are(&b, names, 9);
    for (int i = 0; i < 8; i++) { /* more partitions than room for marks was made for */
        topic_is(&b, names[i], three, 3, NULL, 8);
    }
    sent_one(&b, asked, "h", 7, ERR_KAFKA_STORAGE_ERROR);
    cr_assert_null(strstr((char *)b.text.data, "lost its log directory"), "%s",
                   (char *)b.text.data);
    bench_fini(&b);
}

/* The brokers of a cluster in which a topic's node, or a state, cannot be read were told of
 * everything else, and took the topic for deleted: with what groups had committed in it. */
Test(ctl_failover, a_topic_that_cannot_be_read_is_named_to_those_who_are_told_everything)
{
    struct bench b;
    const char *names[] = {"t", "u", "v"};
    struct state_spec state = {1, 5, 7, {1}};
    struct znode_partition part = {.replicas = {three, 1}};
    struct ctl_state_info damaged = {.err = ERR_MALFORMED};
    struct ctl_event node = {.kind = CTL_EV_TOPIC};
    struct ctl_event with_state = {.kind = CTL_EV_TOPIC};
    node.u.topic.name = STR("u");
    node.u.topic.err = ERR_MALFORMED;
    with_state.u.topic.name = STR("v");
    with_state.u.topic.topic = (struct znode_topic){{{9}}, &part, 1};
    with_state.u.topic.states = &damaged;
    bench_init(&b);
    elect(&b, 1);
    brokers_alive(&b, three, NULL, 1);
    topics_are(&b, names, 3);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    step(&b, node);
    step(&b, with_state);
    topic_is(&b, "t", three, 1, &state, 1);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 LEADER_AND_ISR t-0:leader=1,epoch=5,isr=[1],v=7\n");
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=5,isr=[1] u v\n");
    sent_error(&b, send_to(&b, 1), ERR_CLOSED);
    b.now_ms += CTL_RETRY_MS;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=5,isr=[1] u v\n");
    sent_ok(&b, send_to(&b, 1));
    brokers_alive(&b, three, NULL, 2); /* it knows by now; the other one does not */
    cr_assert(strstr((char *)b.text.data, "SEND to=1 UPDATE_METADATA live=[1,2]\n"));
    bench_fini(&b);
}

/* Somebody had removed the states of all its partitions, and nobody who could lead them was there:
 * likewise. */
Test(ctl_failover, a_topic_without_any_state_is_named_to_those_who_are_told_everything)
{
    struct bench b;
    const char *names[] = {"t", "u"};
    struct state_spec state = {1, 5, 7, {1}};
    bench_init(&b);
    elect(&b, 1);
    brokers_alive(&b, three, NULL, 1);
    topics_are(&b, names, 2);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    topic_is(&b, "u", (const int[]){2}, 1, NULL, 1);
    topic_is(&b, "t", three, 1, &state, 1);
    sent_ok(&b, send_to(&b, 1));
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 UPDATE_METADATA live=[1] t-0:leader=1,epoch=5,isr=[1] u\n");
    bench_fini(&b);
}

/* A topic that the new controller could not read, and one whose state it could not, did not exist
 * for it; a leader believes that for good: its ISR stayed as it was, and with a dead member in it
 * nothing was acknowledged any more, also after the node had been mended. */
Test(ctl_failover, a_leader_asks_again_while_its_topic_cannot_be_read)
{
    for (int by_id = 0; by_id < 2; by_id++) {
        struct bench b;
        const char *names[] = {"t"};
        struct state_spec state = {1, 5, 7, {1, 2}};
        struct ctl_event node = {.kind = CTL_EV_TOPIC};
        struct ctl_event damaged = {.kind = CTL_EV_TOPIC};
        struct znode_partition part = {.replicas = {three, 3}};
        struct ctl_state_info info = {.err = ERR_MALFORMED};
        node.u.topic.name = STR("t");
        node.u.topic.err = ERR_MALFORMED;
        damaged.u.topic.name = STR("t");
        damaged.u.topic.topic = (struct znode_topic){{{'t'}}, &part, 1};
        damaged.u.topic.states = &info;
        bench_init(&b);
        b.ask_id = by_id != 0 ? 't' : 0;
        elect(&b, 1);
        brokers_alive(&b, three, NULL, 3);
        topics_are(&b, names, 1);
        marks_are(&b, NULL, 0);
        step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
        step(&b, node);
        ask_isr(&b, 5, 7, (const int[]){1}, 1);
        expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=7\n"); /* REQUEST_TIMED_OUT */
        step(&b, damaged);
        ask_isr(&b, 5, 7, (const int[]){1}, 1);
        expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=7\n");
        topic_is(&b, "t", three, 3, &state, 1);
        ask_isr(&b, 5, 7, (const int[]){1}, 1);
        wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
        cr_assert_not_null(strstr((char *)b.text.data, "t-0:error=0,isr=[1],v=8\n"), "%s",
                           (char *)b.text.data);
        topics_are(&b, NULL, 0); /* and now it does not exist */
        ask_isr(&b, 5, 8, (const int[]){1, 2}, 2);
        cr_assert_not_null(strstr((char *)b.text.data, by_id != 0 ? "error=100" : "error=3"), "%s",
                           (char *)b.text.data);
        bench_fini(&b);
    }
}

/* ---- A topic's node that somebody edits. */

static bool tells_1(const struct bench *b)
{
    for (int32_t i = 0; i < b->out.count; i++) {
        if (b->out.items[i].kind == CTL_SEND && b->out.items[i].broker_id == 1) {
            return true;
        }
    }
    return false;
}

/* Nothing that is said to broker 1 from here on tells it to delete its copy. */
static void expect_copy_stays(struct bench *b)
{
    for (int i = 0; i < 10 && tells_1(b); i++) {
        cr_assert_null(strstr((char *)b->text.data, "SEND to=1 STOP_REPLICA"), "%s",
                       (char *)b->text.data);
        sent_ok(b, send_to(b, 1));
    }
    cr_assert(!tells_1(b));
}

/* Elected with t-0, of which broker 1 has the only replica. */
static void lead_alone(struct bench *b)
{
    const char *names[] = {"t"};
    struct state_spec state = {1, 5, 7, {1}};
    elect(b, 1);
    brokers_alive(b, three, NULL, 3);
    topics_are(b, names, 1);
    marks_are(b, NULL, 0);
    step(b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    topic_is(b, "t", three, 1, &state, 1);
    settle(b);
}

/* Somebody wrote another replica into the topic's node. The one that had everything, as the state
 * says, was told to delete its copy, before the other had any of it. Its leader goes on in its
 * epoch: of another one nobody would tell it. */
Test(ctl_by_hand, a_copy_that_the_state_counts_on_stays_whatever_the_node_says)
{
    struct bench b;
    struct state_spec state = {1, 5, 7, {1}};
    bench_init(&b);
    lead_alone(&b);
    topic_is(&b, "t", three + 1, 1, &state, 1);
    cr_assert_not_null(strstr((char *)b.text.data, "replicas=[2]"), "%s", (char *)b.text.data);
    cr_assert_null(strstr((char *)b.text.data, "WRITE_STATE"), "%s", (char *)b.text.data);
    expect_copy_stays(&b);
    topic_is(&b, "t", three, 1, &state, 1);
    cr_assert_not_null(
        strstr((char *)b.text.data, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n"), "%s",
        (char *)b.text.data);
    bench_fini(&b);
}

/* The same while its broker was away: it came back, and lost what nobody else had. */
Test(ctl_by_hand, the_only_complete_copy_stays_when_its_broker_comes_back_to_another_node)
{
    struct bench b;
    struct state_spec state = {-1, 6, 8, {1}};
    bench_init(&b);
    lead_alone(&b);
    brokers_alive(&b, (const int[]){2, 3}, NULL, 2);
    settle(&b);
    topic_is(&b, "t", three + 1, 1, &state, 1);
    settle(&b);
    brokers_alive(&b, three, (const int[]){1, 0, 0}, 3);
    expect_copy_stays(&b);
    bench_fini(&b);
}

/* Where others are in sync without it, it goes. */
Test(ctl_by_hand, a_copy_goes_when_the_state_does_without_it)
{
    struct bench b;
    struct state_spec state = {1, 5, 7, {1, 2, 3}};
    bench_init(&b);
    lead_one(&b, state);
    topic_is(&b, "t", three + 1, 2, &state, 1);
    cr_assert_not_null(
        strstr((char *)b.text.data, "WRITE_STATE t-0 leader=2 epoch=6 isr=[2,3] v=7\n"), "%s",
        (char *)b.text.data);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    sent_ok(&b, send_to(&b, 1));
    expect(&b, "SEND to=1 STOP_REPLICA t-0:epoch=6,delete\n");
    bench_fini(&b);
}
