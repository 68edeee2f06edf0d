/* Rule 5: who started uncleanly is out of the ISR and no candidate until it has caught up, and the
 * last complete replicas are remembered when the ISR gets too small. */
#include "ctl_fixture.h"

enum { DIR_FAILED = -2 };

/* Where the logs of brokers 1 to 3 end, as they answer; epoch -1: they do not say; DIR_FAILED: they
 * cannot. Broker 4 has nothing. */
struct ends {
    int epoch[5];
    int64_t end[5];
};

static const struct ends silent = {{-1, -1, -1, -1, -1}, {-1, -1, -1, -1, -1}};

static void sent_end(struct bench *b, uint64_t id, int epoch, int64_t end)
{
    Barnabas__Control__PartitionError answer = BARNABAS__CONTROL__PARTITION_ERROR__INIT;
    Barnabas__Control__PartitionError *answers[] = {&answer};
    Barnabas__Control__TopicErrors errors = BARNABAS__CONTROL__TOPIC_ERRORS__INIT;
    Barnabas__Control__TopicErrors *topics[] = {&errors};
    Barnabas__Control__LeaderAndIsrResponse body = BARNABAS__CONTROL__LEADER_AND_ISR_RESPONSE__INIT;
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    struct ctl_event event = {.kind = CTL_EV_SENT};
    control_set(&answer, partition, 0);
    control_set(&answer, error, epoch == DIR_FAILED ? err_wire(ERR_KAFKA_STORAGE_ERROR) : 0);
    if (epoch >= 0) {
        control_set(&answer, last_epoch, epoch);
        control_set(&answer, end_offset, end);
    }
    errors.name = "t";
    errors.partitions = answers;
    errors.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    response.leader_and_isr = &body;
    event.u.sent.cmd_id = id;
    event.u.sent.response = &response;
    step(b, event);
}

/* Commands that nobody has carried out yet, and what was decided so far. */
struct story {
    struct bench *b;
    struct ctl_cmd open[256];
    int open_count;
    int32_t version; /* of the state node */
    struct buf decided;
};

static void take(struct story *story)
{
    struct bench *b = story->b;
    for (int32_t i = 0; i < b->out.count; i++) {
        const struct ctl_cmd *cmd = &b->out.items[i];
        if (cmd->kind == CTL_WRITE_STATE || cmd->kind == CTL_SETTLE_BROKER ||
            cmd->kind == CTL_SEND) {
            cr_assert_lt(story->open_count, 256);
            story->open[story->open_count++] = *cmd;
        }
        if (cmd->kind == CTL_WRITE_STATE || cmd->kind == CTL_SETTLE_BROKER ||
            (cmd->kind == CTL_NOTE && strstr(cmd->text, "uncleanly") != NULL)) {
            ctl_cmd_print(cmd, &story->decided);
        }
    }
}

/* Do everything that is commanded; what was decided meanwhile has to be `wanted`. */
static void runs(struct bench *b, const struct ends *ends, const char *wanted)
{
    struct story story = {.b = b};
    take(&story);
    for (int i = 0; i < story.open_count; i++) {
        struct ctl_cmd cmd = story.open[i];
        bool leader =
            cmd.kind == CTL_SEND && strstr((char *)b->text.data, "LEADER_AND_ISR") != NULL;
        (void)leader;
        if (cmd.kind == CTL_WRITE_STATE) {
            wrote(b, cmd.id, ERR_OK, cmd.version + 1);
        } else if (cmd.kind == CTL_SETTLE_BROKER) {
            wrote(b, cmd.id, ERR_OK, 0);
        } else {
            sent_end(b, cmd.id, ends->epoch[cmd.broker_id], ends->end[cmd.broker_id]);
        }
        take(&story);
    }
    buf_put_byte(&story.decided, 0);
    cr_assert_str_eq((char *)story.decided.data, wanted, "wanted:\n%s\ngot:\n%s", wanted,
                     (char *)story.decided.data);
    buf_fini(&story.decided);
}

/* Do what is commanded up to the write of a state with a leader, which is not answered: its id. */
static uint64_t runs_until_somebody_leads(struct bench *b)
{
    struct story story = {.b = b};
    take(&story);
    for (int i = 0; i < story.open_count; i++) {
        struct ctl_cmd cmd = story.open[i];
        if (cmd.kind == CTL_WRITE_STATE && cmd.state.leader >= 0) {
            buf_fini(&story.decided);
            return cmd.id;
        }
        if (cmd.kind == CTL_WRITE_STATE) {
            wrote(b, cmd.id, ERR_OK, cmd.version + 1);
        } else if (cmd.kind == CTL_SEND) {
            sent_end(b, cmd.id, -1, -1);
        }
        take(&story);
    }
    cr_assert(false, "nobody leads");
    return 0;
}

static void min_insync_is(struct bench *b, int count)
{
    struct ctl_event event = {.kind = CTL_EV_MIN_INSYNC};
    event.u.min_insync.topic = STR("t");
    event.u.min_insync.count = count;
    step(b, event);
}

/* Topic t with that state, of which two replicas have to be in sync; all brokers are there. */
static void lead_two(struct bench *b, struct state_spec state)
{
    bench_init(b);
    min_insync_is(b, 2);
    lead_one(b, state);
}

/* A follower that lost power is out of the ISR, and only then its registration loses the mark. */
Test(ctl_unclean, a_follower_leaves_the_isr)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,3] v=7\n"
         "SETTLE_BROKER 2 epoch=1102\n");
    bench_fini(&b);
}

/* A leader that lost power and is back at once does not lead any more, although nobody saw it gone.
 */
Test(ctl_unclean, a_leader_is_replaced)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, three, (const int[]){-1, 0, 0}, 3);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=2 epoch=6 isr=[2,3] v=7\n"
         "SETTLE_BROKER 1 epoch=1101\n");
    bench_fini(&b);
}

/* Nobody but the leader was complete: it leads again, and everybody hears what that may mean. */
Test(ctl_unclean, the_only_one_leads_again_loudly)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, three, (const int[]){-1, 0, 0}, 3);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1] v=7\n"
         "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n"
         "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged records "
         "that are not in it are lost: tp=t-0 leader=1 epoch=7\n"
         "SETTLE_BROKER 1 epoch=1101\n");
    bench_fini(&b);
}

/* While the state was being written that lets the last one lead, somebody took it out of the
 * topic's node by hand: what was remembered of it was written in front of the list. */
Test(ctl_unclean, the_last_one_is_no_replica_any_more_when_it_was_elected)
{
    static const int others[] = {2, 3};
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, three, (const int[]){-1, 0, 0}, 3);
    uint64_t election = runs_until_somebody_leads(&b);
    topic_is(&b, "t", others, 2, &(struct state_spec){-1, 6, 8, {1}}, 1);
    wrote(&b, election, ERR_OK, 9);
    bench_fini(&b);
}

/* A broker that is in no ISR, a new one for example, is settled at once. */
Test(ctl_unclean, a_new_broker_is_settled_at_once)
{
    struct bench b;
    bench_init(&b);
    lead_empty(&b, 2);
    brokers_alive(&b, three, (const int[]){0, 0, -1}, 3);
    runs(&b, &silent, "SETTLE_BROKER 3 epoch=1103\n");
    bench_fini(&b);
}

/* Whose mark cannot be taken away keeps it, and it is tried again. */
Test(ctl_unclean, settling_is_repeated)
{
    struct bench b;
    bench_init(&b);
    lead_empty(&b, 1);
    brokers_alive(&b, (const int[]){1, 2}, (const int[]){0, -1}, 2);
    wrote(&b, id_of(&b, CTL_SETTLE_BROKER, 0), ERR_ZK_BAD_VERSION, 0);
    cr_assert_null(strstr((char *)b.text.data, "SETTLE"));
    b.now_ms += CTL_RETRY_MS;
    step(&b, (struct ctl_event){.kind = CTL_EV_TICK});
    cr_assert_not_null(strstr((char *)b.text.data, "SETTLE_BROKER 2 epoch=1102\n"));
    bench_fini(&b);
}

/* The ISR falls below its minimum: those that leave are remembered, and one of them leads when the
 * survivor loses power. Not so who leaves while enough are left. */
Test(ctl_eligible, survivors_do_not_shrink_to_one)
{
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, (const int[]){1, 2}, NULL, 2);
    runs(&b, &silent, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=7\n");
    brokers_alive(&b, (const int[]){1}, NULL, 1);
    runs(&b, &silent, "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] eligible=[2] v=8\n");
    brokers_alive(&b, (const int[]){1}, (const int[]){-1}, 1);
    runs(&b, &silent, "WRITE_STATE t-0 leader=-1 epoch=8 isr=[1] eligible=[2] v=9\n");
    brokers_alive(&b, (const int[]){1, 3}, (const int[]){-1, 1}, 2);
    runs(&b, &silent, ""); /* 3 was not complete, 1 is not any more, and 2 may be */
    brokers_alive(&b, three, (const int[]){-1, 1, 1}, 3);
    runs(&b, &silent, "WRITE_STATE t-0 leader=2 epoch=9 isr=[2] eligible=[1] v=10\n");
    bench_fini(&b);
}

/* Once enough are in sync again, nobody else is remembered: it may lack what is written now. */
Test(ctl_eligible, is_forgotten_when_enough_are_in_sync)
{
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, -2}});
    ask_isr(&b, 5, 7, (const int[]){1, 3}, 2);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=5 isr=[1,3] v=7\n");
    bench_fini(&b);
}

/* A leader that lets somebody go for being slow: it has everything up to the high watermark. */
Test(ctl_eligible, who_is_too_slow_is_remembered)
{
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 2}});
    ask_isr(&b, 5, 7, (const int[]){1}, 1);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=5 isr=[1] eligible=[2] v=7\n");
    wrote(&b, id_of(&b, CTL_WRITE_STATE, 0), ERR_OK, 8);
    cr_assert_not_null(strstr((char *)b.text.data, "t-0:error=0,isr=[1],eligible=[2],v=8\n"));
    bench_fini(&b);
}

/* A remembered one that starts uncleanly stays remembered, but it does not lead: the leader, which
 * seems to be fine, may have lost power long ago. It was forgotten, and when the leader came back
 * with an empty log that one led. */
Test(ctl_eligible, is_not_forgotten_for_a_leader_that_may_be_dead)
{
    static const struct ends ends = {{-1, 5, 5, -1}, {-1, 0, 35, -1}};
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, -2}});
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    runs(&b, &ends, "");
    brokers_alive(&b, (const int[]){3}, NULL, 1);
    runs(&b, &ends, "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1] eligible=[2] v=7\n");
    brokers_alive(&b, (const int[]){1, 3}, (const int[]){-1, 0}, 2);
    runs(&b, &ends, "");
    brokers_alive(&b, three, (const int[]){-1, -2, 0}, 3);
    runs(&b, &ends,
         "WRITE_STATE t-0 leader=2 epoch=7 isr=[2] eligible=[1] v=8\n"
         "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged records "
         "that are not in it are lost: tp=t-0 leader=2 epoch=7\n"
         "SETTLE_BROKER 2 epoch=2102\n");
    bench_fini(&b);
}

/* It enters again as soon as the leader, which is alive then, says that it has everything. Of its
 * earlier life that does not count. */
Test(ctl_eligible, enters_again_after_an_unclean_start)
{
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, -2}});
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    runs(&b, &silent, "");
    ask_isr_of(&b, 5, 7, (const int[]){1, 2}, (int64_t[]){101, 102}, 2);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=107\n");
    ask_isr_of(&b, 5, 7, (const int[]){1, 2}, (int64_t[]){101, 1102}, 2);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=1 epoch=5 isr=[1,2] v=7\n"
         "SETTLE_BROKER 2 epoch=1102\n");
    bench_fini(&b);
}

/* A member that started uncleanly has to leave first: what the leader asks for from before counts
 * it in by name only. */
Test(ctl_eligible, an_unclean_member_leaves_before_it_enters)
{
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 2}});
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    runs(&b, &silent, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] eligible=[2] v=7\n");
    ask_isr_of(&b, 5, 7, (const int[]){1, 2, 3}, (int64_t[]){101, 1102, 103}, 3);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=74\n");
    ask_isr_of(&b, 6, 8, (const int[]){1, 2}, (int64_t[]){101, 1102}, 2);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,2] v=8\n"
         "SETTLE_BROKER 2 epoch=1102\n");
    bench_fini(&b);
}

/* A broker whose log failed makes another one, in the same life. What the leader knows of it may be
 * about the one that failed: it has to find out anew, in another epoch. */
Test(ctl_eligible, another_log_in_the_same_life_is_not_the_one_that_failed)
{
    static const struct ends failing = {{-1, -1, DIR_FAILED, -1}, {0}};
    int32_t failed = 2;
    struct ctl_event event = {.kind = CTL_EV_LOG_DIRS};
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 3}});
    event.u.log_dirs.ids = &failed;
    event.u.log_dirs.count = 1;
    step(&b, event);
    runs(&b, &failing, "");
    step(&b, event);
    runs(&b, &silent, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1,3] v=7\n");
    ask_isr(&b, 5, 7, three, 3);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=74\n");
    bench_fini(&b);
}

/* The leader's directory fails, and the next leader turns out to have lost power before: what the
 * first one has on that directory may be all there is. It was forgotten, and an empty log led. */
Test(ctl_eligible, a_failed_directory_is_remembered)
{
    static const struct ends failing = {{-1, DIR_FAILED, -1, -1}, {0}};
    static const struct ends ends = {{-1, 5, 5, -1}, {-1, 40, 10, 10}};
    int32_t failed = 1;
    struct ctl_event event = {.kind = CTL_EV_LOG_DIRS};
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 2}});
    event.u.log_dirs.ids = &failed;
    event.u.log_dirs.count = 1;
    step(&b, event);
    sent_one(&b, send_to(&b, 1), "t", 0, ERR_KAFKA_STORAGE_ERROR);
    runs(&b, &failing, "WRITE_STATE t-0 leader=2 epoch=6 isr=[2] eligible=[1] v=7\n");
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    runs(&b, &failing, "WRITE_STATE t-0 leader=-1 epoch=7 isr=[2] eligible=[1] v=8\n");
    brokers_alive(&b, three, (const int[]){1, -1, 0}, 3);
    runs(&b, &ends,
         "WRITE_STATE t-0 leader=1 epoch=8 isr=[1] eligible=[2] v=9\n"
         "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged records "
         "that are not in it are lost: tp=t-0 leader=1 epoch=8\n");
    bench_fini(&b);
}

/* Fewer are enough: the leader is told, so that its high watermark moves again. */
Test(ctl_eligible, is_forgotten_when_the_minimum_is_lowered)
{
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, -2}});
    min_insync_is(&b, 1);
    runs(&b, &silent, "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n");
    bench_fini(&b);
}

/* Every broker lost power: when all that may be complete are back, the longest log leads, and
 * epochs count for more than records. */
Test(ctl_unclean, of_all_the_longest_log_leads)
{
    static const struct ends ends = {{-1, 4, 5, 5}, {-1, 90, 40, 50}};
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, NULL, NULL, 0);
    runs(&b, &ends, "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1,2,3] v=7\n");
    brokers_alive(&b, three, (const int[]){-1, -1}, 2);
    runs(&b, &ends, "");
    brokers_alive(&b, three, (const int[]){-1, -1, -1}, 3);
    runs(&b, &ends,
         "WRITE_STATE t-0 leader=3 epoch=7 isr=[3] eligible=[1,2] v=8\n"
         "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged records "
         "that are not in it are lost: tp=t-0 leader=3 epoch=7\n"
         "SETTLE_BROKER 3 epoch=1103\n");
    bench_fini(&b);
}

/* One of them has not lost power: it leads, however short its log is; the others have to follow. */
Test(ctl_unclean, a_complete_one_leads_before_longer_logs)
{
    static const struct ends ends = {{-1, 5, 5, 5}, {-1, 90, 80, 10}};
    struct bench b;
    lead_two(&b, (struct state_spec){1, 5, 7, {1, 2, 3}});
    brokers_alive(&b, NULL, NULL, 0);
    runs(&b, &ends, "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1,2,3] v=7\n");
    brokers_alive(&b, three, (const int[]){-1, -1, 1}, 3);
    runs(&b, &ends, "WRITE_STATE t-0 leader=3 epoch=7 isr=[3] eligible=[1,2] v=8\n");
    bench_fini(&b);
}

/* Somebody who was not in sync has more than all who were: it leads. With as much it does not. */
Test(ctl_unclean, a_longer_log_leads_even_if_it_was_not_in_sync)
{
    for (int more = 0; more < 2; more++) {
        struct ends ends = {{-1, 5, 5, -1}, {-1, 90 + more, 90, -1}};
        char wanted[500];
        struct bench b;
        bench_init(&b);
        lead_one(&b, (struct state_spec){2, 5, 7, {2}});
        brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
        int leader = more == 1 ? 1 : 2;
        snprintf(wanted, sizeof(wanted),
                 "WRITE_STATE t-0 leader=-1 epoch=6 isr=[2] v=7\n"
                 "WRITE_STATE t-0 leader=%d epoch=7 isr=[%d] v=8\n"
                 "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged "
                 "records that are not in it are lost: tp=t-0 leader=%d epoch=7\n"
                 "SETTLE_BROKER 2 epoch=1102\n",
                 leader, leader, leader);
        runs(&b, &ends, wanted);
        bench_fini(&b);
    }
}

/* A replica that is being added had not been told of the partition, because nobody led it, and
 * everybody waited for ever to hear where its log ends. */
Test(ctl_unclean, a_replica_that_is_being_added_is_not_waited_for)
{
    static const struct ends ends = {{-1, 5, 5, 5, -1}, {-1, 90, 80, 10, -1}};
    static const int four[] = {1, 2, 3, 4};
    static const int target[] = {1, 4};
    struct ctl_reassign item = {STR("t"), 0, false, {target, 2}};
    struct ctl_event event = {.kind = CTL_EV_REASSIGN};
    struct bench b;
    event.u.reassign.reply_id = 99;
    event.u.reassign.items = &item;
    event.u.reassign.count = 1;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, (const int[]){2, 3, 4}, NULL, 3);
    runs(&b, &ends, "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1] v=7\n");
    step(&b, event);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    runs(&b, &ends, "");
    brokers_alive(&b, four, (const int[]){-1, 0, 0, 0}, 4);
    runs(&b, &ends,
         "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] v=8\n"
         "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged records "
         "that are not in it are lost: tp=t-0 leader=1 epoch=7\n"
         "SETTLE_BROKER 1 epoch=1101\n");
    bench_fini(&b);
}

/* What a broker said in an earlier life, before it lost power again, does not count. */
Test(ctl_unclean, ends_of_earlier_lives_do_not_count)
{
    static const struct ends before = {{-1, 5, -1, -1}, {-1, 90, -1, -1}};
    static const struct ends after = {{-1, 5, 5, -1}, {-1, 20, 30, -1}};
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    brokers_alive(&b, NULL, NULL, 0);
    brokers_alive(&b, three, (const int[]){-1}, 1);
    runs(&b, &before, "");
    brokers_alive(&b, three, (const int[]){-2, -1}, 2);
    runs(&b, &after, "");
    bench_fini(&b);
}

/* Where unclean elections are allowed, nobody waits for the others. */
Test(ctl_unclean, with_permission_nobody_waits)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 2}});
    struct ctl_event event = {.kind = CTL_EV_UNCLEAN};
    event.u.unclean.topic = STR("t");
    event.u.unclean.allowed = 1;
    step(&b, event);
    brokers_alive(&b, (const int[]){1}, (const int[]){-1}, 1);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=-1 epoch=6 isr=[1,2] v=7\n"
         "WRITE_STATE t-0 leader=1 epoch=7 isr=[1] recovering v=8\n"
         "NOTE all replicas in sync started uncleanly, the longest log leads; acknowledged records "
         "that are not in it are lost: tp=t-0 leader=1 epoch=7\n"
         "SETTLE_BROKER 1 epoch=1101\n");
    bench_fini(&b);
}

/* A replica that was just being added led, for it is the first of the replicas: it had nothing, and
 * the others deleted what they had. */
Test(ctl_unclean, with_permission_one_that_has_nothing_yet_comes_last)
{
    static const int target[] = {4, 2};
    struct ctl_reassign item = {STR("t"), 0, false, {target, 2}};
    struct ctl_event move = {.kind = CTL_EV_REASSIGN};
    struct ctl_event allow = {.kind = CTL_EV_UNCLEAN};
    struct bench b;
    move.u.reassign.reply_id = 99;
    move.u.reassign.items = &item;
    move.u.reassign.count = 1;
    allow.u.unclean.topic = STR("t");
    allow.u.unclean.allowed = 1;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    brokers_alive(&b, (const int[]){1, 2, 4}, NULL, 3);
    settle(&b);
    step(&b, move);
    wrote(&b, id_of(&b, CTL_WRITE_TOPIC, 0), ERR_OK, 1);
    settle(&b);
    step(&b, allow);
    brokers_alive(&b, (const int[]){2, 4}, NULL, 2);
    cr_assert_not_null(strstr((char *)b.text.data, "WRITE_STATE t-0 leader=2 "), "%s",
                       (char *)b.text.data);
    bench_fini(&b);
}

/* A controller that takes over finds the mark in the registration and begins again. */
Test(ctl_unclean, survives_a_failover)
{
    const char *names[] = {"t"};
    struct state_spec state = {2, 5, 7, {2, 1}};
    struct bench b;
    bench_init(&b);
    b.mzxid = 5000; /* written after both had registered: only the mark tells */
    elect(&b, 3);
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    topics_are(&b, names, 1);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    topic_is(&b, "t", three, 3, &state, 1);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=7\n"
         "SETTLE_BROKER 2 epoch=1102\n");
    bench_fini(&b);
}

/* The controller of a cluster in its first second died before it had taken the mark away, which
 * every broker has that is new: the next one took leaders out of partitions that had been made
 * since, and where the dead one had the other replica nobody led until it came back. */
Test(ctl_unclean, who_started_before_the_partition_was_made_has_all_of_it)
{
    const char *names[] = {"t"};
    const struct state_spec as_made = {2, 0, 0, {2, 1}};
    const struct state_spec changed = {2, 0, 1, {2, 1}};
    for (int round = 0; round < 3; round++) {
        struct bench b;
        bench_init(&b);
        b.mzxid = round == 1 ? 500 : 5000; /* before and after broker 2's registration, 1102 */
        elect(&b, 3);
        brokers_alive(&b, (const int[]){2, 3}, (const int[]){-1, 0}, 2);
        topics_are(&b, names, 1);
        marks_are(&b, NULL, 0);
        step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
        topic_is(&b, "t", three, 2, round == 2 ? &changed : &as_made, 1);
        runs(&b, &silent,
             round == 0   ? "WRITE_STATE t-0 leader=2 epoch=1 isr=[2] v=0\n"
                            "SETTLE_BROKER 2 epoch=1102\n"
             : round == 1 ? "WRITE_STATE t-0 leader=-1 epoch=1 isr=[2,1] v=0\n"
                          : "WRITE_STATE t-0 leader=-1 epoch=1 isr=[2,1] v=1\n");
        bench_fini(&b);
    }
}

/* Two controllers of a new cluster died, each as soon as it was in office: the second had moved
 * leaders, and had not taken the marks away. The last broker, which had everything, led nothing. */
Test(ctl_unclean, who_started_before_the_topic_was_made_has_all_of_it_whatever_became_of_its_state)
{
    const char *names[] = {"t"};
    const struct state_spec moved = {2, 1, 1, {2, 1}};
    for (int round = 0; round < 2; round++) {
        struct bench b;
        bench_init(&b);
        b.mzxid = 5000;
        b.czxid = round == 0 ? 1103 : 1101; /* after and before broker 2's registration, 1102 */
        elect(&b, 3);
        brokers_alive(&b, (const int[]){2, 3}, (const int[]){-1, 0}, 2);
        topics_are(&b, names, 1);
        marks_are(&b, NULL, 0);
        step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
        topic_is(&b, "t", three, 2, &moved, 1);
        runs(&b, &silent,
             round == 0 ? "WRITE_STATE t-0 leader=2 epoch=2 isr=[2] v=1\n"
                          "SETTLE_BROKER 2 epoch=1102\n"
                        : "WRITE_STATE t-0 leader=-1 epoch=2 isr=[2,1] v=1\n");
        bench_fini(&b);
    }
}

/* It restarts while a write that lets it in is under way: out again, and not settled before. */
Test(ctl_unclean, overtakes_a_write_that_lets_it_in)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1}});
    ask_isr(&b, 5, 7, (const int[]){1, 2}, 2);
    uint64_t write = id_of(&b, CTL_WRITE_STATE, 0);
    brokers_alive(&b, three, (const int[]){0, -1, 0}, 3);
    cr_assert_null(strstr((char *)b.text.data, "SETTLE"));
    wrote(&b, write, ERR_OK, 8);
    runs(&b, &silent,
         "WRITE_STATE t-0 leader=1 epoch=6 isr=[1] v=8\n"
         "SETTLE_BROKER 2 epoch=1102\n");
    bench_fini(&b);
}

/* Who enters the ISR has to be proven to be the life that is registered now. */
Test(ctl_unclean, stale_broker_epochs_never_enter_an_isr)
{
    struct bench b;
    bench_init(&b);
    lead_one(&b, (struct state_spec){1, 5, 7, {1, 3}});
    ask_isr_of(&b, 5, 7, (const int[]){1, 3, 2}, NULL, 3);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=107\n");
    ask_isr_of(&b, 5, 7, (const int[]){1, 3, 2}, (int64_t[]){-1, 103, -1}, 3);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=107\n");
    ask_isr_of(&b, 5, 7, (const int[]){1, 3, 2}, (int64_t[]){-1, 103, 99}, 3);
    expect(&b, "REPLY id=9 ALTER_PARTITION error=0 t-0:error=107\n");
    ask_isr_of(&b, 5, 7, (const int[]){1, 3, 2}, (int64_t[]){-1, -1, 102}, 3);
    expect(&b, "WRITE_STATE t-0 leader=1 epoch=5 isr=[1,3,2] v=7\n");
    bench_fini(&b);
}
