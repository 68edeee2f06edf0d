/* Reassignments in the controller machine, phase by phase, as golden traces. What happens to copies
 * and to acknowledged records over random events is reassign_model_test.c's. */
#include "ctl_fixture.h"

static const int four[] = {1, 2, 3, 4};

/* The line of partition 0 in the node of topic t. */
struct line {
    int replicas[6]; /* 0 ends, as in the next two */
    int adding[4];
    int removing[4];
};

static struct znode_ids ids_of(const int *list, int room)
{
    int count = 0;
    while (count < room && list[count] != 0) {
        count++;
    }
    return (struct znode_ids){list, count};
}

static void node_is(struct bench *b, struct line line, int version, struct state_spec state)
{
    struct znode_partition part = {0, ids_of(line.replicas, 6), ids_of(line.adding, 4),
                                   ids_of(line.removing, 4)};
    struct ctl_state_info info = {.err = ERR_OK, .version = state.version, .mzxid = b->mzxid};
    info.state = (struct znode_state){.leader = state.leader,
                                      .leader_epoch = state.epoch,
                                      .controller_epoch = 1,
                                      .isr = ids_of(state.isr, 3)};
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    event.u.topic.name = STR("t");
    event.u.topic.topic.id.raw[0] = 't';
    event.u.topic.topic.partitions = &part;
    event.u.topic.topic.partitions_count = 1;
    event.u.topic.version = version;
    event.u.topic.states = &info;
    step(b, event);
}

/* Elected at `epoch` with topic t and its one partition as given, everything told. */
static void lead_line(struct bench *b, int epoch, struct line line, struct state_spec state)
{
    const char *names[] = {"t"};
    elect(b, epoch);
    brokers_alive(b, four, NULL, 4);
    topics_are(b, names, 1);
    marks_are(b, NULL, 0);
    step(b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    node_is(b, line, 0, state);
}

static void lead_settled(struct bench *b)
{
    lead_line(b, 1, (struct line){.replicas = {1, 2, 3}}, (struct state_spec){1, 5, 7, {1, 2, 3}});
    settle(b);
}

static void ask(struct bench *b, const char *topic, int partition, const int *target, int count)
{
    struct ctl_reassign item = {
        str_of(topic), partition, count < 0, {target, count < 0 ? 0 : count}};
    struct ctl_event event = {.kind = CTL_EV_REASSIGN};
    event.u.reassign.reply_id = 99;
    event.u.reassign.items = &item;
    event.u.reassign.count = 1;
    step(b, event);
}

static void ask_cancel(struct bench *b)
{
    ask(b, "t", 0, NULL, -1);
}

/* The leader asks for an ISR. */
static void alter(struct bench *b, int leader, int epoch, int version, const int *isr, int count)
{
    Barnabas__Control__AlterPartitionPartition partition =
        BARNABAS__CONTROL__ALTER_PARTITION_PARTITION__INIT;
    Barnabas__Control__AlterPartitionPartition *partitions[] = {&partition};
    Barnabas__Control__AlterPartitionTopic topic = BARNABAS__CONTROL__ALTER_PARTITION_TOPIC__INIT;
    Barnabas__Control__AlterPartitionTopic *topics[] = {&topic};
    Barnabas__Control__AlterPartition body = BARNABAS__CONTROL__ALTER_PARTITION__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    int64_t epochs[LIST_MAX];
    control_set(&partition, leader_epoch, epoch);
    control_set(&partition, partition_epoch, version);
    partition.isr = (int32_t *)isr;
    partition.n_isr = (size_t)count;
    partition.isr_epochs = epochs;
    partition.n_isr_epochs = (size_t)count;
    for (int i = 0; i < count; i++) {
        epochs[i] = 100 + isr[i];
    }
    topic.name = (char *)"t";
    topic.partitions = partitions;
    topic.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    request.alter_partition = &body;
    control_set(&request, broker_id, leader);
    control_set(&request, broker_epoch, 100 + leader);
    struct ctl_event event = {.kind = CTL_EV_ALTER};
    event.u.request.reply_id = 5;
    event.u.request.request = &request;
    step(b, event);
}

/* Does the trace of the last step contain it? */
static void expect_in(struct bench *b, const char *wanted)
{
    cr_assert_not_null(strstr((const char *)b->text.data, wanted), "wanted:\n%s\nin:\n%s", wanted,
                       (const char *)b->text.data);
}

static void expect_not_in(struct bench *b, const char *unwanted)
{
    cr_assert_null(strstr((const char *)b->text.data, unwanted), "unwanted:\n%s\nin:\n%s", unwanted,
                   (const char *)b->text.data);
}

static bool has_cmd(const struct bench *b, enum ctl_cmd_kind kind)
{
    for (int32_t i = 0; i < b->out.count; i++) {
        if (b->out.items[i].kind == kind) {
            return true;
        }
    }
    return false;
}

/* 1,2,3 -> 2,3,4, up to where 4 has been told and all is quiet. Node version 1, state 1 in epoch 6,
 * version 8. */
static void start_moving(struct bench *b)
{
    static const int target[] = {2, 3, 4};
    ask(b, "t", 0, target, 3);
    wrote(b, id_of(b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    settle(b);
}

/* Everything of a settled move: the node first, then a new leader epoch for the replicas that were
 * there, and for the new one as a new one; the answer when the node is written. */
Test(ctl_reassign, begins_with_the_node_then_the_epoch)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    expect(&b, "WRITE_TOPIC t 0:[2,3,4,1],adding=[4],removing=[1] v=0\n");
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    expect(&b,
           "REASSIGNED id=99 error=NONE t-0:NONE\n"
           "NOTE partition is being reassigned: tp=t-0 replicas=[2,3,4,1] adding=[4] removing=[1]\n"
           "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2,3] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    expect(&b, "SEND to=1 LEADER_AND_ISR "
               "t-0:leader=1,epoch=6,isr=[1,2,3],adding=[4],removing=[1],v=8\n"
               "SEND to=2 LEADER_AND_ISR "
               "t-0:leader=1,epoch=6,isr=[1,2,3],adding=[4],removing=[1],v=8\n"
               "SEND to=3 LEADER_AND_ISR "
               "t-0:leader=1,epoch=6,isr=[1,2,3],adding=[4],removing=[1],v=8\n"
               "SEND to=4 LEADER_AND_ISR "
               "t-0:leader=1,epoch=6,isr=[1,2,3],adding=[4],removing=[1],v=8,new\n");
    bench_fini(&b);
}

/* Whoever asked was told of an unknown error, for which nobody tries again. */
Test(ctl_reassign, who_waits_when_another_is_the_controller_now_is_told_so)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    alter(&b, 1, 5, 7, (const int[]){1, 2}, 2);
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    wrote(&b, write, ERR_CONTROLLER_MOVED, 0);
    expect_in(&b, "REASSIGNED id=99 error=NONE t-0:NOT_CONTROLLER\n");
    bench_fini(&b);
}

/* Between the write that was refused and the news that the office is gone. */
Test(ctl_reassign, who_asks_a_controller_that_has_seen_a_later_one_is_told_so)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    alter(&b, 1, 5, 7, (const int[]){1, 2}, 2);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_CONTROLLER_MOVED, 0);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    expect_in(&b, "REASSIGNED id=99 error=NOT_CONTROLLER\n");
    bench_fini(&b);
}

/* The target is in sync: the leader that is to go hands over and leaves the ISR in one write; then
 * the node; then the copy that is not needed is deleted. */
Test(ctl_reassign, ends_with_the_leader_moved_and_the_copy_deleted)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    alter(&b, 1, 6, 8, (const int[]){1, 2, 3, 4}, 4);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2,3,4] v=8\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    expect_in(&b, "WRITE_STATE t-0 leader=2 epoch=7 isr=[2,3,4] v=9\n");
    cr_assert(!has_cmd(&b, CTL_WRITE_TOPIC));
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 10);
    expect_in(&b, "NOTE leader changed: tp=t-0 old=1 new=2 epoch=7\n"
                  "WRITE_TOPIC t 0:[2,3,4] v=1\n");
    uint64_t node = id_of(&b, CTL_WRITE_TOPIC, 0);
    settle(&b);
    expect_not_in(&b, "STOP_REPLICA");
    wrote(&b, node, ERR_OK, 2);
    expect_in(&b, "NOTE partition has its replicas: tp=t-0 replicas=[2,3,4] adding=[] removing=[]\n"
                  "WRITE_STATE t-0 leader=2 epoch=8 isr=[2,3,4] v=10\n");
    cr_assert_eq(ctl_count(b.ctl).reassigning, 0);
    bench_fini(&b);
}

/* The whole way to the end; the last step is the one that told 1 to delete its copy. */
static uint64_t finish_moving(struct bench *b)
{
    alter(b, 1, 6, 8, (const int[]){1, 2, 3, 4}, 4);
    wrote(b, id_of(b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    wrote(b, id_of(b, CTL_WRITE_STATE, 0), ERR_OK, 10);
    uint64_t node = id_of(b, CTL_WRITE_TOPIC, 0);
    settle(b);
    wrote(b, node, ERR_OK, 2);
    wrote(b, id_of(b, CTL_WRITE_STATE, 0), ERR_OK, 11);
    expect_in(b, "SEND to=1 UPDATE_METADATA live=[1,2,3,4] t-0:leader=2,epoch=8,isr=[2,3,4]\n");
    sent_ok(b, send_to(b, 1));
    expect(b, "SEND to=1 STOP_REPLICA t-0:epoch=8,delete\n");
    return send_to(b, 1);
}

/* A broker that does not answer is asked again; one that confirmed is not. */
Test(ctl_reassign, deletion_of_a_copy_is_repeated_until_confirmed)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    sent_error(&b, finish_moving(&b), ERR_CLOSED);
    b.now_ms += CTL_RETRY_MS;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    expect(&b, "SEND to=1 STOP_REPLICA t-0:epoch=8,delete\n");
    sent_one(&b, send_to(&b, 1), "t", 0, ERR_OK);
    settle(&b);
    brokers_alive(&b, four, (const int[]){1, 0, 0, 0}, 4);
    for (int i = 0; i < 5; i++) {
        expect_not_in(&b, "STOP_REPLICA");
        if (has_cmd(&b, CTL_SEND)) {
            sent_ok(&b, id_of(&b, CTL_SEND, 0));
        }
    }
    bench_fini(&b);
}

/* A broker that was away when its copy became unneeded is told when it is back. */
Test(ctl_reassign, a_broker_that_comes_back_deletes_its_copy)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    (void)finish_moving(&b);
    brokers_alive(&b, (const int[]){2, 3, 4}, NULL, 3);
    settle(&b);
    brokers_alive(&b, four, (const int[]){1, 0, 0, 0}, 4);
    sent_ok(&b, send_to(&b, 1));
    for (int i = 0; i < 5 && strstr((const char *)b.text.data, "STOP_REPLICA") == NULL; i++) {
        sent_ok(&b, send_to(&b, 1));
    }
    expect_in(&b, "SEND to=1 STOP_REPLICA t-0:epoch=8,delete\n");
    bench_fini(&b);
}

/* Replicas that only go need nobody to catch up: at once to the end. */
Test(ctl_reassign, fewer_replicas)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){1}, 1);
    expect(&b, "WRITE_TOPIC t 0:[1,2,3],removing=[2,3] v=0\n");
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    expect_in(&b, "WRITE_TOPIC t 0:[1] v=1\n");
    bench_fini(&b);
}

/* Another order of the same replicas is one write, and nobody moves. */
Test(ctl_reassign, another_order)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){3, 1, 2}, 3);
    expect(&b, "WRITE_TOPIC t 0:[3,1,2] v=0\n");
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2,3] v=7\n");
    settle(&b);
    ask(&b, "t", 0, (const int[]){3, 1, 2}, 3);
    expect(&b, "REASSIGNED id=99 error=NONE t-0:NONE\n");
    bench_fini(&b);
}

/* Back to what it was: the new replica goes, though it was in sync and even led. */
Test(ctl_reassign, cancelled_while_the_new_replica_leads)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 1, (struct line){{4, 1, 2, 3}, {4}, {0}}, (struct state_spec){4, 5, 7, {4, 1}});
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).reassigning, 1);
    ask_cancel(&b);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    expect_in(&b, "WRITE_TOPIC t 0:[1,2,3] v=0\n");
    uint64_t node = id_of(&b, CTL_WRITE_TOPIC, 0);
    alter(&b, 1, 7, 9, (const int[]){1, 4}, 2); /* it is about to go */
    expect(&b, "REPLY id=5 ALTER_PARTITION error=0 t-0:error=107\n");
    wrote(&b, node, ERR_OK, 1);
    expect_in(&b, "REASSIGNED id=99 error=NONE t-0:NONE\n");
    bench_fini(&b);
}

/* The one that leads the way is the only one in sync: it stays until those that were there before
 * have caught up, for what was acknowledged is nowhere else. */
Test(ctl_reassign, cancel_keeps_the_only_replica_in_sync)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 1, (struct line){{4, 1, 2}, {4}, {0}}, (struct state_spec){4, 5, 7, {4}});
    settle(&b);
    ask_cancel(&b);
    expect(&b, "WRITE_TOPIC t 0:[1,2,4],removing=[4] v=0\n");
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    expect_in(&b, "REASSIGNED id=99 error=NONE t-0:NONE\n");
    settle(&b);
    alter(&b, 4, 7, 9, (const int[]){4, 1, 2}, 3);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 10);
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=8 isr=[1,2] v=10\n");
    bench_fini(&b);
}

/* One that was there before is in sync, but fewer than have to be: those that came stay as well
 * until there are enough. The one might have lost its power, and ZooKeeper not know yet; the others
 * were deleted, and with them what had been acknowledged. Found by the simulator. */
Test(ctl_reassign, cancel_keeps_as_many_in_sync_as_there_have_to_be)
{
    struct bench b;
    struct ctl_event event = {.kind = CTL_EV_MIN_INSYNC};
    bench_init(&b);
    event.u.min_insync.topic = STR("t");
    event.u.min_insync.count = 2;
    step(&b, event);
    lead_line(&b, 1, (struct line){{1, 2, 4}, {4}, {0}}, (struct state_spec){1, 5, 7, {1, 4}});
    settle(&b);
    ask_cancel(&b);
    expect(&b, "WRITE_TOPIC t 0:[1,2,4],removing=[4] v=0\n");
    bench_fini(&b);
}

/* Nothing is under way: there is nothing to cancel. What is impossible is refused in Kafka's words,
 * and an answer does not wait for the partitions that are possible. */
Test(ctl_reassign, refusals)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask_cancel(&b);
    expect(&b, "REASSIGNED id=99 error=NONE t-0:NO_REASSIGNMENT_IN_PROGRESS\n");
    cr_assert_str_eq(b.out.items[0].reassigned[0].text,
                     "No partition reassignment is in progress.");
    struct {
        const char *topic;
        int target[3];
        int count;
        const char *error;
        const char *text;
    } bad[] = {
        {"t",
         {0},
         0,
         "t-0:INVALID_REPLICA_ASSIGNMENT",
         "Empty replica list specified in partition reassignment."},
        {"t",
         {1, 1},
         2,
         "t-0:INVALID_REPLICA_ASSIGNMENT",
         "Duplicate replica ids in partition reassignment replica list: List(1, 1)"},
        {"t",
         {1, -2},
         2,
         "t-0:INVALID_REPLICA_ASSIGNMENT",
         "Invalid broker id in replica list: List(1, -2)"},
        {"t",
         {1, 9},
         2,
         "t-0:INVALID_REPLICA_ASSIGNMENT",
         "Replica assignment has brokers that are not alive. Replica list: List(9), live broker "
         "list: Set(1, 2, 3, 4)"},
        {"u", {1, 2}, 2, "u-0:UNKNOWN_TOPIC_OR_PARTITION", "The partition does not exist."},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(&b, bad[i].topic, 0, bad[i].target, bad[i].count);
        expect_in(&b, bad[i].error);
        cr_assert_str_eq(b.out.items[0].reassigned[0].text, bad[i].text);
    }
    step(&b, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    ask(&b, "t", 0, four, 3);
    expect(&b, "REASSIGNED id=99 error=NOT_CONTROLLER\n");
    bench_fini(&b);
}

/* Another target while one is under way: what neither of them needs goes. */
Test(ctl_reassign, overridden_by_another_target)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 1, (struct line){{4, 1, 2}, {4}, {1, 2}}, (struct state_spec){1, 5, 7, {1, 2}});
    settle(&b);
    ask(&b, "t", 0, (const int[]){3, 1}, 2);
    expect(&b, "WRITE_TOPIC t 0:[3,1,2],adding=[3],removing=[2] v=0\n");
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1,2] v=8\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    expect_in(&b, "SEND to=3 LEADER_AND_ISR "
                  "t-0:leader=1,epoch=7,isr=[1,2],adding=[3],removing=[2],v=9,new\n");
    sent_ok(&b, send_to(&b, 4));
    expect(&b, "SEND to=4 STOP_REPLICA t-0:epoch=7,delete\n");
    bench_fini(&b);
}

/* A second request while the node is being written for the first waits for that, and counts. */
Test(ctl_reassign, overridden_while_being_written)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    uint64_t first = id_of(&b, CTL_WRITE_TOPIC, 0);
    ask(&b, "t", 0, (const int[]){1, 4}, 2);
    expect(&b, "REASSIGNED id=99 error=NONE t-0:NONE\n"); /* the first */
    wrote(&b, first, ERR_OK, 1);
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2,3] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    expect_in(&b, "WRITE_TOPIC t 0:[1,4,2,3],adding=[4],removing=[2,3] v=1\n");
    bench_fini(&b);
}

/* Somebody else wrote the node in between: it is read, and written again on what is there. */
Test(ctl_reassign, node_changed_by_somebody_else)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_ZK_BAD_VERSION, -1);
    expect(&b, "READ_TOPIC t\n");
    node_is(&b, (struct line){.replicas = {1, 2, 3}}, 4, (struct state_spec){1, 5, 7, {1, 2, 3}});
    expect(&b, "WRITE_TOPIC t 0:[2,3,4,1],adding=[4],removing=[1] v=4\n");
    bench_fini(&b);
}

/* The write was done though its answer was lost: it is found, and not done twice. */
Test(ctl_reassign, lost_answer_of_a_write_that_happened)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_ZK_BAD_VERSION, -1);
    node_is(&b, (struct line){{2, 3, 4, 1}, {4}, {1}}, 1, (struct state_spec){1, 5, 7, {1, 2, 3}});
    expect_in(&b, "REASSIGNED id=99 error=NONE t-0:NONE\n");
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2,3] v=7\n");
    cr_assert(!has_cmd(&b, CTL_WRITE_TOPIC));
    bench_fini(&b);
}

/* What makes the node larger than ZooKeeper takes was written again and again, once a second, and
 * whoever had asked for it was never told. */
Test(ctl_reassign, that_zookeeper_does_not_take_is_given_up)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_ZK_OTHER, -1);
    expect(&b, "READ_TOPIC t\n");
    node_is(&b, (struct line){.replicas = {1, 2, 3}}, 0, (struct state_spec){1, 5, 7, {1, 2, 3}});
    expect_in(&b, "REASSIGNED id=99 error=NONE t-0:UNKNOWN_SERVER_ERROR\n");
    cr_assert(!has_cmd(&b, CTL_WRITE_TOPIC));
    cr_assert_eq(ctl_count(b.ctl).reassigning, 0);
    settle(&b);
    start_moving(&b); /* another time it may be taken */
    cr_assert_eq(ctl_count(b.ctl).reassigning, 1);
    bench_fini(&b);
}

/* The end of a reassignment is not given up: nobody would ask for it. Nor is it tried again as fast
 * as ZooKeeper answers. */
Test(ctl_reassign, whose_end_zookeeper_does_not_take_is_tried_again)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    alter(&b, 1, 6, 8, (const int[]){1, 2, 3, 4}, 4);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 10);
    uint64_t node = id_of(&b, CTL_WRITE_TOPIC, 0);
    settle(&b);
    wrote(&b, node, ERR_ZK_OTHER, -1);
    expect(&b, "READ_TOPIC t later\n");
    node_is(&b, (struct line){{2, 3, 4, 1}, {4}, {1}}, 1, (struct state_spec){2, 7, 10, {2, 3, 4}});
    expect_in(&b, "WRITE_TOPIC t 0:[2,3,4] v=1\n");
    bench_fini(&b);
}

/* Deposed with a request under way: it is told so. The next controller finds what was written. */
Test(ctl_reassign, deposed_while_being_written)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    ask(&b, "t", 0, (const int[]){2, 3, 4}, 3);
    step(&b, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    expect_in(&b, "REASSIGNED id=99 error=NOT_CONTROLLER\n");
    bench_fini(&b);
}

/* A controller that takes over, by phase. After the node: the epoch rises, for nobody may have
 * heard. With the target in sync: on to the end. With the state already without those that go:
 * only the node is left to do. */
Test(ctl_reassign, taken_over_after_the_node_was_written)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 2, (struct line){{2, 3, 4, 1}, {4}, {1}},
              (struct state_spec){1, 5, 7, {1, 2, 3}});
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2,3] v=7\n");
    bench_fini(&b);
}

Test(ctl_reassign, taken_over_with_the_target_in_sync)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 2, (struct line){{2, 3, 4, 1}, {4}, {1}},
              (struct state_spec){1, 5, 7, {3, 2, 4}});
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8); /* the epoch */
    expect_in(&b, "WRITE_STATE t-0 leader=2 epoch=7 isr=[3,2,4] v=8\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    expect_in(&b, "WRITE_TOPIC t 0:[2,3,4] v=0\n");
    bench_fini(&b);
}

Test(ctl_reassign, taken_over_with_the_leader_moved)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 2, (struct line){{2, 3, 4, 1}, {4}, {1}},
              (struct state_spec){2, 7, 10, {2, 3, 4}});
    expect_in(&b, "WRITE_STATE t-0 leader=2 epoch=8 isr=[2,3,4] v=10\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 11);
    expect_in(&b, "WRITE_TOPIC t 0:[2,3,4] v=0\n");
    bench_fini(&b);
}

/* The new replica dies before it is in sync: nothing ends; when it is back it is told that it is
 * new, and the move goes on. */
Test(ctl_reassign, the_new_replica_dies_and_returns)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    brokers_alive(&b, three, NULL, 3);
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).reassigning, 1);
    brokers_alive(&b, four, (const int[]){0, 0, 0, 1}, 4);
    sent_ok(&b, send_to(&b, 4));
    expect(&b, "SEND to=4 LEADER_AND_ISR "
               "t-0:leader=1,epoch=6,isr=[1,2,3],adding=[4],removing=[1],v=8,new\n");
    bench_fini(&b);
}

/* The leader dies in the middle: somebody of the target who is in sync leads. */
Test(ctl_reassign, the_leader_dies)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    brokers_alive(&b, four + 1, NULL, 3);
    expect_in(&b, "WRITE_STATE t-0 leader=2 epoch=7 isr=[2,3] v=8\n");
    bench_fini(&b);
}

/* One of the target dies after the target was in sync, before the state without the others was
 * written: the others stay. */
Test(ctl_reassign, a_target_dies_at_the_last_moment)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    alter(&b, 1, 6, 8, (const int[]){1, 2, 3, 4}, 4);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    uint64_t handover = id_of(&b, CTL_WRITE_STATE, 0);
    brokers_alive(&b, three, NULL, 3);
    wrote(&b, handover, ERR_ZK_BAD_VERSION, -1);
    struct ctl_event event = {.kind = CTL_EV_STATE};
    event.u.state.topic = STR("t");
    event.u.state.info = (struct ctl_state_info){
        .version = 9, .state = {1, 6, 1, {(const int[]){1, 2, 3, 4}, 4}, false, {NULL, 0}}};
    step(&b, event);
    expect_in(&b, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1,2,3] v=9\n");
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).reassigning, 1);
    cr_assert(!has_cmd(&b, CTL_WRITE_TOPIC));
    bench_fini(&b);
}

/* Late and forged ISR changes: of one that is about to go, of one that went, of a stranger, of one
 * that is not the leader any more. */
Test(ctl_reassign, isr_changes_that_come_too_late)
{
    struct bench b;
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    alter(&b, 1, 6, 8, (const int[]){1, 2, 3, 9}, 4);
    expect_in(&b, "REPLY id=5 ALTER_PARTITION error=0 t-0:error=107");
    (void)finish_moving(&b);
    alter(&b, 2, 8, 11, (const int[]){2, 3, 4, 1}, 4);
    expect_in(&b, "REPLY id=5 ALTER_PARTITION error=0 t-0:error=107");
    alter(&b, 1, 6, 8, (const int[]){1, 2}, 2);
    expect_in(&b, "REPLY id=5 ALTER_PARTITION error=0 t-0:error=74");
    bench_fini(&b);
}

/* A topic that is to be deleted is first left to come to rest; that its reassignment cannot end, it
 * may be cancelled, but nothing new begins. */
Test(ctl_reassign, deletion_waits)
{
    struct bench b;
    const char *names[] = {"t"};
    bench_init(&b);
    lead_settled(&b);
    start_moving(&b);
    marks_are(&b, names, 1);
    expect_not_in(&b, "deleting");
    topics_are(&b, names, 1);
    expect_not_in(&b, "deleting");
    ask(&b, "t", 0, (const int[]){1, 2}, 2);
    expect_in(&b, "t-0:UNKNOWN_TOPIC_OR_PARTITION");
    ask_cancel(&b);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 2);
    expect_in(&b, "REASSIGNED id=99 error=NONE t-0:NONE\n");
    expect_in(&b, "NOTE deleting topic: topic=t partitions=1\n");
    bench_fini(&b);
}

/* What is listed, by name and in all. */
Test(ctl_reassign, list)
{
    struct bench b;
    struct arena arena = {0};
    const struct ctl_moving *moving;
    const struct znode_tp items[] = {
        {STR("t"), 1, {NULL, 0}}, {STR("t"), 0, {NULL, 0}}, {STR("u"), 0, {NULL, 0}}};
    bench_init(&b);
    lead_settled(&b);
    cr_assert_eq(ctl_list_moving(b.ctl, NULL, &arena, &moving), 0);
    start_moving(&b);
    cr_assert_eq(ctl_list_moving(b.ctl, NULL, &arena, &moving), 1);
    cr_assert_eq(ctl_list_moving(b.ctl, &(struct znode_tps){items, 3}, &arena, &moving), 1);
    cr_assert(str_is(moving[0].topic, "t"));
    cr_assert_eq(moving[0].replicas.count, 4);
    cr_assert_eq(moving[0].adding.ids[0], 4);
    cr_assert_eq(moving[0].removing.ids[0], 1);
    arena_fini(&arena);
    bench_fini(&b);
}

/* A node written by hand: who is named twice, or is no replica, or leaves nobody behind. */
Test(ctl_reassign, damaged_node)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 1, (struct line){{1, 2, 3}, {2, 9}, {2, 8, 3}},
              (struct state_spec){1, 5, 7, {1, 2, 3}});
    settle(&b);
    cr_assert_eq(ctl_count(b.ctl).reassigning, 1);
    node_is(&b, (struct line){{1, 2}, {0}, {1, 2}}, 3, (struct state_spec){1, 5, 7, {1, 2, 3}});
    cr_assert_eq(ctl_count(b.ctl).reassigning, 0);
    settle(&b);
    bench_fini(&b);
}

/* A node written by hand, in which every replica is one that is to come: a request to cancel that
 * ended the controller, and then the next one, to which the client turned. */
Test(ctl_reassign, cancel_where_every_replica_is_to_come)
{
    struct bench b;
    bench_init(&b);
    lead_line(&b, 1, (struct line){{1, 2}, {1, 2}, {0}}, (struct state_spec){1, 5, 7, {1}});
    settle(&b);
    ask_cancel(&b);
    expect(&b, "REASSIGNED id=99 error=NONE t-0:NO_REASSIGNMENT_IN_PROGRESS\n");
    bench_fini(&b);
}

/* ---- The node /admin/reassign_partitions. */

static void orders_are(struct bench *b, const struct znode_tp *items, int count, int version)
{
    struct ctl_event event = {.kind = CTL_EV_ORDERS};
    event.u.orders.exists = true;
    event.u.orders.version = version;
    event.u.orders.tps = (struct znode_tps){items, count};
    step(b, event);
}

/* An order is carried out; the entry goes when it is done, the node with the last one. What cannot
 * be done is taken out at once. */
Test(ctl_orders, are_carried_out_and_taken_out)
{
    struct bench b;
    static const int target[] = {1, 2};
    const struct znode_tp items[] = {{STR("u"), 3, {target, 2}}, {STR("t"), 0, {target, 2}}};
    bench_init(&b);
    lead_settled(&b);
    orders_are(&b, items, 2, 6);
    expect(&b, "NOTE reassignment ordered in ZooKeeper is impossible: tp=u-3 reason=\"the "
               "partition does not exist\"\n"
               "WRITE_TOPIC t 0:[1,2,3],removing=[3] v=0\n"
               "WRITE_ORDERS t-0:[1,2] v=6\n");
    uint64_t node = id_of(&b, CTL_WRITE_TOPIC, 0);
    wrote(&b, id_of(&b, CTL_WRITE_ORDERS, 0), ERR_OK, 7);
    expect(&b, "READ_ORDERS\n");
    orders_are(&b, items + 1, 1, 7);
    expect(&b, "");
    wrote(&b, node, ERR_OK, 1);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 9);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 2);
    expect_in(&b, "WRITE_ORDERS v=7\n"); /* none left: deleted */
    wrote(&b, id_of(&b, CTL_WRITE_ORDERS, 0), ERR_OK, 0);
    expect_in(&b, "READ_ORDERS\n");
    step(&b, (struct ctl_event){.kind = CTL_EV_ORDERS});
    settle(&b);
    bench_fini(&b);
}

/* A request for a partition overrides an order for it, which is taken out and not taken up again
 * when the node is read once more. */
Test(ctl_orders, are_overridden_by_a_request)
{
    struct bench b;
    static const int target[] = {2, 4};
    const struct znode_tp items[] = {{STR("t"), 0, {target, 2}}};
    bench_init(&b);
    lead_settled(&b);
    orders_are(&b, items, 1, 6);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    settle(&b);
    ask(&b, "t", 0, (const int[]){1, 2}, 2);
    expect(&b, "WRITE_TOPIC t 0:[1,2,3],removing=[3] v=1\nWRITE_ORDERS v=6\n");
    orders_are(&b, items, 1, 6); /* older news */
    expect(&b, "");
    bench_fini(&b);
}

/* A node that we may not write was read and written in turns, as fast as ZooKeeper answered. */
Test(ctl_orders, that_cannot_be_taken_out_are_tried_again_later)
{
    struct bench b;
    static const int target[] = {1, 2};
    const struct znode_tp items[] = {{STR("u"), 3, {target, 2}}};
    bench_init(&b);
    lead_settled(&b);
    orders_are(&b, items, 1, 6);
    wrote(&b, id_of(&b, CTL_WRITE_ORDERS, 0), ERR_ZK_OTHER, -1);
    expect(&b, "READ_ORDERS later\n");
    orders_are(&b, items, 1, 6);
    expect(&b, "WRITE_ORDERS v=6\n");
    bench_fini(&b);
}

/* After a failover the node is read again; what is on its way already is left alone. */
Test(ctl_orders, are_taken_up_by_the_next_controller)
{
    struct bench b;
    static const int target[] = {2, 3, 4};
    const struct znode_tp items[] = {{STR("t"), 0, {target, 3}}};
    bench_init(&b);
    lead_line(&b, 2, (struct line){{2, 3, 4, 1}, {4}, {1}},
              (struct state_spec){1, 5, 7, {1, 2, 3}});
    expect_in(&b, "READ_ORDERS\n");
    settle(&b);
    orders_are(&b, items, 1, 6);
    expect(&b, "");
    bench_fini(&b);
}

/* Kafka's tool may name a target that is down: that is waited for. */
Test(ctl_orders, may_name_brokers_that_are_down)
{
    struct bench b;
    static const int target[] = {1, 9};
    const struct znode_tp items[] = {{STR("t"), 0, {target, 2}}};
    bench_init(&b);
    lead_settled(&b);
    orders_are(&b, items, 1, 6);
    expect(&b, "WRITE_TOPIC t 0:[1,9,2,3],adding=[9],removing=[2,3] v=0\n");
    bench_fini(&b);
}

/* Brokers take so many replicas of a partition and no more: those that come and those that were
 * there count together. */
Test(ctl_orders, for_too_many_replicas_at_a_time)
{
    struct bench b;
    int crowd[CTL_REPLICAS_MAX];
    struct znode_tp item = {STR("t"), 0, {crowd, CTL_REPLICAS_MAX}};
    bench_init(&b);
    lead_settled(&b);
    for (int i = 0; i < CTL_REPLICAS_MAX; i++) {
        crowd[i] = i + 2; /* all but 1 */
    }
    orders_are(&b, &item, 1, 6);
    expect(&b, "NOTE reassignment ordered in ZooKeeper is impossible: tp=t-0 reason=\"More than 64 "
               "replicas at a time.\"\nWRITE_ORDERS v=6\n");
    item.replicas.count--;
    orders_are(&b, &item, 1, 7);
    expect_in(&b, "WRITE_TOPIC t 0:[2,3,4,");
    bench_fini(&b);
}
