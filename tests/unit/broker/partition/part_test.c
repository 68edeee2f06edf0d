/* One partition over a log in memory: who may append when, what is published, who is told. */
#include "../log/log_fixture.h"
#include "partition/part.h"

enum { ME = 1, APPENDS_MAX = 40 };

static struct log_world w;
static struct loop *loop;
static struct part *part;
static struct topic_config topic_config;
static struct buf trace; /* one line per answer or hook */

static void on_leader(void *arg, int32_t leader_epoch)
{
    (void)arg;
    buf_printf(&trace, "leader %d\n", leader_epoch);
}

static void on_not_leader(void *arg, int32_t leader_epoch)
{
    (void)arg;
    buf_printf(&trace, "not leader %d\n", leader_epoch);
}

static void on_high_watermark(void *arg, int64_t offset_hw)
{
    (void)arg;
    buf_printf(&trace, "hw %" PRId64 "\n", offset_hw);
}

static void on_free(void *arg)
{
    (void)arg;
    buf_put_text(&trace, "free\n");
}

static const struct part_hooks hooks = {on_leader, on_not_leader, on_high_watermark, on_free};

static void settle(void)
{
    while (loop_turn(loop) || worker_pool_step(w.workers)) {
    }
}

static void expect(const char *wanted)
{
    settle();
    buf_put_byte(&trace, 0);
    cr_assert_str_eq((const char *)trace.data, wanted);
    buf_clear(&trace);
}

/* ---- in the actor */

static void (*job)(void);

static void on_job(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    job();
}

static void in_actor(void (*fn)(void))
{
    struct actor_msg msg = {.fn = on_job};
    job = fn;
    part_post(part, &msg);
    settle();
}

static void hook(void)
{
    part_hook(part, &hooks, NULL);
}

static struct part_state state;
static enum err applied;

static void apply(void)
{
    applied = part_apply(part, &state);
}

/* The controller's decision: replicas and ISR are brokers 1, 2, ... */
static enum err decide(int32_t leader, int32_t leader_epoch, int32_t replicas, int32_t isr)
{
    static const int32_t ids[] = {1, 2, 3};
    state = (struct part_state){.leader = leader,
                                .leader_epoch = leader_epoch,
                                .partition_epoch = leader_epoch,
                                .replicas = ids,
                                .isr = ids,
                                .replicas_count = replicas,
                                .isr_count = isr};
    in_actor(apply);
    return applied;
}

static void configure(void)
{
    part_configure(part, &topic_config);
}

static void world_init(void)
{
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    loop = loop_new("hand", 0, &w.clock.clock);
    struct part_options options = {.topic = STR("orders"),
                                   .index = 3,
                                   .loop_count = 1,
                                   .clock = &w.clock.clock,
                                   .home = loop,
                                   .my_id = ME,
                                   .lag_ms = 30000};
    part = part_new(&options, w.log, -1);
    topic_config = log_config();
    in_actor(configure);
}

static void world_fini(void)
{
    if (part != NULL) {
        part_put(part);
    }
    settle();
    world_end(&w);
    loop_free(loop);
    buf_fini(&trace);
}

/* ---- appends */

struct one_append {
    struct part_append append;
    struct loop_task task;
    struct buf data;
    int number;
};

static struct one_append appends[APPENDS_MAX];
static int appends_count;

static void on_appended(struct part_call *call)
{
    struct part_append *append = container_of(call, struct part_append, call);
    struct one_append *one = container_of(append, struct one_append, append);
    if (append->err == ERR_OK) {
        buf_printf(&trace, "%d: %" PRId64 "..%" PRId64 " epoch %d, hw %" PRId64 "\n", one->number,
                   append->base_offset, append->offset_end, append->leader_epoch,
                   atomic_load(&part->offset_hw));
    } else {
        buf_printf(&trace, "%d: %s\n", one->number, err_name(append->err));
    }
    buf_fini(&one->data);
}

/* An append of some records, not yet posted. */
static struct one_append *append_new(int records, int16_t acks)
{
    struct one_append *one = &appends[appends_count % APPENDS_MAX];
    *one = (struct one_append){.number = appends_count++};
    one->data =
        make_batch((struct batch_want){.records = records, .first_ms = 1, .value_bytes = 9});
    one->append.records = (struct bytes){one->data.data, one->data.size};
    one->append.acks = acks;
    one->append.expected_epoch = -1;
    one->append.call.done = on_appended;
    one->append.call.loop = loop;
    cr_assert_eq(batch_read_header(one->append.records, &one->append.header), ERR_OK);
    return one;
}

static void on_append_task(struct loop_task *task)
{
    part_append(part, &container_of(task, struct one_append, task)->append);
}

/* Appends come from a loop, and those of one turn of it together. */
static void post(struct one_append *one)
{
    loop_task_init(&one->task, on_append_task);
    loop_defer(loop, &one->task);
}

static void append(int records, int16_t acks)
{
    post(append_new(records, acks));
}

/* ---- tests */

/* A replica takes records only after the controller has made it the leader, and no longer than
 * that. */
Test(part, only_a_leader_takes_records, .init = world_init, .fini = world_fini)
{
    append(1, 1);
    expect("0: NOT_LEADER_OR_FOLLOWER\n");
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    append(2, 1);
    append(3, -1);
    expect("1: 0..2 epoch 5, hw 5\n2: 2..5 epoch 5, hw 5\n"); /* told when both were written */
    cr_assert_eq(decide(2, 6, 2, 2), ERR_OK);
    append(1, 1);
    expect("3: NOT_LEADER_OR_FOLLOWER\n");
    cr_assert_eq(decide(ME, 7, 1, 1), ERR_OK);
    append(1, 1);
    expect("4: 5..6 epoch 7, hw 6\n");
    cr_assert_eq(plog_offset_end(w.log), 6);
}

/* Decisions may come late or twice: only a newer epoch counts. */
Test(part, old_decisions_are_refused, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    cr_assert_eq(decide(2, 5, 2, 2), ERR_STALE_CONTROLLER_EPOCH);
    cr_assert_eq(decide(2, 4, 2, 2), ERR_STALE_CONTROLLER_EPOCH);
    cr_assert_eq(part_now(part).role, PART_LEADER);
    cr_assert_eq(part_now(part).leader_epoch, 5);
    append(1, 1);
    expect("0: 0..1 epoch 5, hw 1\n");
}

/* A coordinator that was loaded in an epoch must not write in another. */
Test(part, an_append_of_another_epoch_is_refused, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    struct one_append *old = append_new(1, -1);
    old->append.expected_epoch = 4;
    post(old);
    struct one_append *now = append_new(1, -1);
    now->append.expected_epoch = 5;
    post(now);
    expect("0: NOT_LEADER_OR_FOLLOWER\n1: 0..1 epoch 5, hw 1\n");
}

/* acks=all needs min.insync.replicas, acks=1 does not; one replica is always enough for one. */
Test(part, too_few_in_sync_replicas, .init = world_init, .fini = world_fini)
{
    topic_config.min_insync_replicas = 2;
    in_actor(configure);
    cr_assert_eq(decide(ME, 5, 3, 1), ERR_OK);
    cr_assert(!part_enough_replicas(part));
    append(1, -1);
    append(1, 1);
    expect("0: NOT_ENOUGH_REPLICAS\n1: 0..1 epoch 5, hw 0\n");
    topic_config.min_insync_replicas = 1;
    in_actor(configure);
    cr_assert(part_enough_replicas(part));
    append(1, -1);
    expect("2: 1..2 epoch 5, hw 2\n");
}

/* What comes in one turn of the loop is written together: one write for all of it. */
Test(part, appends_of_a_turn_share_a_write, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    append(1, 1); /* the first one of an epoch also writes where the epoch begins */
    expect("0: 0..1 epoch 5, hw 1\n");
    int64_t before = fs_fault_calls(w.fault, FS_OP_PWRITEV);
    for (int i = 0; i < 20; i++) {
        append(1, 1);
    }
    settle();
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_PWRITEV) - before, 1);
    struct buf wanted = {0};
    for (int i = 1; i <= 20; i++) {
        buf_printf(&wanted, "%d: %d..%d epoch 5, hw 21\n", i, i, i + 1);
    }
    buf_put_byte(&wanted, 0);
    expect((const char *)wanted.data);
    buf_fini(&wanted);
}

/* More than a turn takes: nothing is lost or reordered. */
Test(part, a_flood_of_appends_keeps_its_order, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    for (int i = 0; i < APPENDS_MAX; i++) {
        append(1, 1);
    }
    settle();
    for (int i = 0; i < APPENDS_MAX; i++) {
        cr_assert_eq(appends[i].append.err, ERR_OK);
        cr_assert_eq(appends[i].append.base_offset, i);
    }
    cr_assert_eq(plog_offset_end(w.log), APPENDS_MAX);
}

/* The coordinator in the partition hears of leadership and of what is committed. */
Test(part, hooks_are_told, .init = world_init, .fini = world_fini)
{
    in_actor(hook);
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    expect("leader 5\n");
    append(2, 1);
    expect("hw 2\n0: 0..2 epoch 5, hw 2\n");
    cr_assert_eq(decide(2, 6, 2, 2), ERR_OK);
    expect("not leader 6\n");
    part_put(part);
    part = NULL;
    expect("free\n");
}

/* A log directory that fails takes the partition offline: nothing is acknowledged, nothing more is
 * taken, and no decision brings it back before a restart. */
Test(part, a_failing_disk_takes_it_offline, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    append(1, 1);
    expect("0: 0..1 epoch 5, hw 1\n");
    struct fs_fault_plan plan = {.ops = FS_OP_BIT(FS_OP_PWRITEV),
                                 .repeat = FS_FAULT_FOR_EVER,
                                 .err = ERR_NO_SPACE,
                                 .short_bytes = 7};
    fs_fault_set(w.fault, &plan);
    append(1, 1);
    expect("1: KAFKA_STORAGE_ERROR\n");
    fs_fault_clear(w.fault);
    append(1, 1);
    expect("2: KAFKA_STORAGE_ERROR\n");
    cr_assert_eq(decide(ME, 6, 1, 1), ERR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(part_now(part).role, PART_OFFLINE);
    append(1, 1);
    expect("3: KAFKA_STORAGE_ERROR\n");
    cr_assert_eq(atomic_load(&part->offset_hw), 1);
}

static void close_it(void)
{
    part_close(part);
}

Test(part, a_closed_one_refuses_everything, .init = world_init, .fini = world_fini)
{
    in_actor(hook);
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    in_actor(close_it);
    append(1, 1);
    expect("leader 5\nnot leader 5\n0: NOT_LEADER_OR_FOLLOWER\n");
    cr_assert_eq(decide(ME, 6, 1, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

/* ---- deleting records */

static int64_t delete_below;
static enum err deleted;
static int64_t log_start;

static void delete_records(void)
{
    deleted = part_delete_records(part, delete_below, &log_start);
}

static enum err delete_to(int64_t offset)
{
    delete_below = offset;
    in_actor(delete_records);
    return deleted;
}

Test(part, records_are_deleted_up_to_the_high_watermark, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(delete_to(0), ERR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    append(5, 1);
    settle();
    cr_assert_eq(delete_to(6), ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(delete_to(-2), ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(delete_to(3), ERR_OK);
    cr_assert_eq(log_start, 3);
    cr_assert_eq(delete_to(1), ERR_OK);
    cr_assert_eq(log_start, 3, "it never goes back");
    cr_assert_eq(delete_to(-1), ERR_OK);
    cr_assert_eq(log_start, 5);
    cr_assert_eq(plog_log_start(w.log), 5);
}

/* ---- what readers on other loops see */

Test(part, clients_that_are_behind_or_ahead_are_told, .init = world_init, .fini = world_fini)
{
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    cr_assert_eq(part_check_epoch(part_now(part), -1), ERR_OK);
    cr_assert_eq(part_check_epoch(part_now(part), 5), ERR_OK);
    cr_assert_eq(part_check_epoch(part_now(part), 4), ERR_FENCED_LEADER_EPOCH);
    cr_assert_eq(part_check_epoch(part_now(part), 6), ERR_UNKNOWN_LEADER_EPOCH);
}

Test(part, epochs_tell_where_they_end, .init = world_init, .fini = world_fini)
{
    int32_t found;
    int64_t end;
    cr_assert_eq(decide(ME, 2, 1, 1), ERR_OK);
    append(3, 1);
    settle();
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    append(4, 1);
    settle();
    part_epoch_end(part, 2, &found, &end);
    cr_assert_eq(found, 2);
    cr_assert_eq(end, 3);
    part_epoch_end(part, 4, &found, &end);
    cr_assert_eq(found, 2);
    cr_assert_eq(end, 3);
    part_epoch_end(part, 5, &found, &end);
    cr_assert_eq(found, 5);
    cr_assert_eq(end, 7);
    cr_assert_eq(part_epoch_of(part, 2), 2);
    cr_assert_eq(part_epoch_of(part, 3), 5);
    cr_assert(part_high_watermark_is_current(part));
    cr_assert_eq(part_fate_committed(part, 2, 0), PART_FATE_KEPT);
}

/* Who waits at the partition is woken by an append and by a change of role. */
struct watcher {
    struct wait_op op;
    struct wait wait;
    int64_t wanted;
};

static enum wait_result on_poll(struct wait *wait)
{
    struct watcher *watcher = container_of(wait, struct watcher, wait);
    bool leads = part_now(part).role == PART_LEADER;
    return atomic_load(&part->offset_hw) >= watcher->wanted ? WAIT_SATISFIED
           : leads                                          ? WAIT_PENDING
                                                            : WAIT_COMPLETE;
}

static void on_woken(struct wait_op *op, bool timed_out)
{
    struct watcher *watcher = container_of(op, struct watcher, op);
    buf_printf(&trace, "woken at %" PRId64 "%s\n", watcher->wanted, timed_out ? ", late" : "");
}

static void watch(struct watcher *watcher, int64_t wanted)
{
    watcher->wanted = wanted;
    wait_op_init(&watcher->op, loop, on_woken);
    wait_add(&watcher->op, &watcher->wait, &part->wait, wanted, on_poll);
    wait_op_start(&watcher->op, INT64_MAX);
}

Test(part, waiters_are_woken, .init = world_init, .fini = world_fini)
{
    struct watcher watchers[3];
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    for (int i = 0; i < 3; i++) {
        watch(&watchers[i], (i + 1) * 2);
    }
    expect("");
    append(3, 1);
    expect("0: 0..3 epoch 5, hw 3\nwoken at 2\n");
    append(1, 1);
    expect("1: 3..4 epoch 5, hw 4\nwoken at 4\n");
    cr_assert_eq(decide(2, 6, 2, 2), ERR_OK);
    expect("woken at 6\n");
}

/* The last reference may be dropped inside its own actor, by an append that is answered there. */
static void on_last(struct part_call *call)
{
    on_appended(call);
    part_put(part);
}

Test(part, the_last_reference_may_go_inside_the_actor, .init = world_init, .fini = world_fini)
{
    in_actor(hook);
    cr_assert_eq(decide(ME, 5, 1, 1), ERR_OK);
    struct one_append *last = append_new(1, 1);
    last->append.call.done = on_last;
    last->append.call.loop = NULL;
    post(last);
    struct part *gone = part;
    settle();
    part = gone; /* only its address; nobody touches it */
    buf_put_byte(&trace, 0);
    cr_assert_not_null(strstr((const char *)trace.data, "free\n"));
    buf_clear(&trace);
    part = NULL;
}

/* Where one member was too few, what it had appended was not seen when one was made enough: until
 * somebody appended more, or for half of replica.lag.time.max.ms. */
Test(part, commits_what_it_has_when_fewer_members_are_enough, .init = world_init,
     .fini = world_fini)
{
    topic_config.min_insync_replicas = 2;
    in_actor(configure);
    cr_assert_eq(decide(ME, 5, 2, 1), ERR_OK);
    append(2, 1);
    expect("0: 0..2 epoch 5, hw 0\n");
    topic_config.min_insync_replicas = 1;
    in_actor(configure);
    cr_assert_eq(atomic_load(&part->offset_hw), 2);
    cr_assert(part_enough_replicas(part));
}
