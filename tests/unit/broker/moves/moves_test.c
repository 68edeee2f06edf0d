/* A replica that changes its log directory, on one loop and by hand: while it leads and is written
 * to, throttled, interrupted, sent elsewhere, and with a directory that fails. */
#include "moves/moves.h"

#include "../log/log_fixture.h"
#include "log/logs_internal.h"

enum { ME = 1, BATCH_BYTES = 100000, SECOND_NS = 1000000000 };

static struct fs_sim *sim;
static struct fs_fault *fault;
static struct clock_manual hand;
static struct worker_pool *workers;
static struct loop *loop;
static struct config_cell config;
static struct topic_configs *topic_configs;
static struct throttle throttle;
static struct parts parts;
static struct logs *logs;
static struct part *part;
static struct moves *moves;
static int stopped;
static int appended; /* batches that were acknowledged */

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg, (void)topic;
    *out = log_config();
}

static void settle(void)
{
    while (loop_turn(loop) || worker_pool_step(workers)) {
    }
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
}

static void lead(void)
{
    static const int32_t me[] = {ME};
    struct topic_config topic_config = log_config();
    struct part_state state = {.leader = ME,
                               .leader_epoch = 3 + appended,
                               .replicas = me,
                               .isr = me,
                               .replicas_count = 1,
                               .isr_count = 1};
    part_configure(part, &topic_config);
    cr_assert_eq(part_apply(part, &state), ERR_OK);
}

static void append_here(void)
{
    struct buf data =
        make_batch((struct batch_want){.first_ms = appended, .value_bytes = BATCH_BYTES});
    struct part_append append = {
        .records = {data.data, data.size}, .acks = 1, .expected_epoch = -1, .coordinator = true};
    cr_assert_eq(batch_read_header(append.records, &append.header), ERR_OK);
    cr_assert_eq(part_append_here(part, &append), ERR_OK);
    appended++;
    buf_fini(&data);
}

static void append(int count)
{
    for (int i = 0; i < count; i++) {
        in_actor(append_here);
    }
}

static void close_here(void)
{
    part_close(part);
}

/* ---- a broker's life */

static void on_dir_failed(void *arg, const char *dir)
{
    (void)arg;
    if (moves != NULL) {
        moves_dir_failed(moves, dir);
    }
}

static struct logs_entry *entry(void)
{
    struct logs_entry *found = logs_find(logs, STR("orders"), 0);
    cr_assert_not_null(found);
    return found;
}

static void start(void)
{
    static const char *const names[] = {"/a", "/b", "/c"};
    struct errmsg msg = {""};
    struct logs_options options = {.fs = fs_fault_fs(fault),
                                   .clock = &hand.clock,
                                   .workers = workers,
                                   .dirs = names,
                                   .dirs_count = 3,
                                   .on_dir_failed = on_dir_failed};
    cr_assert_eq(logs_open(&options, &logs, &msg), ERR_OK, "%s", msg.text);
    cr_assert_eq(logs_load(logs, config_of, NULL, &msg), ERR_OK, "%s", msg.text);
    struct moves_options moves_options = {.control = loop,
                                          .loops = &loop,
                                          .loops_count = 1,
                                          .workers = workers,
                                          .logs = logs,
                                          .parts = &parts,
                                          .topic_configs = topic_configs,
                                          .throttle = &throttle,
                                          .at_once = 1};
    moves = moves_new(&moves_options);
}

static void make_idle_part(void)
{
    struct part_options options = {.topic = STR("orders"),
                                   .index = 0,
                                   .loop_count = 1,
                                   .clock = &hand.clock,
                                   .home = loop,
                                   .my_id = ME,
                                   .lag_ms = 30000};
    part = part_new(&options, entry()->log, -1);
    struct parts_change change = {.topic = STR("orders"), .index = 0, .part = part_get(part)};
    parts_edit(&parts, &change, 1);
}

static void make_part(void)
{
    make_idle_part();
    in_actor(lead);
    moves_resume(moves, STR("orders"), 0);
}

static void on_stopped(void *arg)
{
    (void)arg;
    stopped++;
}

static void stop(void)
{
    struct parts_change change = {.topic = STR("orders"), .index = 0};
    if (part != NULL) {
        in_actor(close_here);
    }
    moves_stop(moves, on_stopped, NULL);
    settle();
    cr_assert_eq(stopped, 1, "once, when nothing is under way");
    stopped = 0;
    if (part != NULL) {
        parts_edit(&parts, &change, 1);
        part_put(part);
        part = NULL;
    }
    settle();
    moves_free(moves);
    moves = NULL;
    logs_free(logs);
    settle();
}

static void begin(void)
{
    struct topic_config topic_config = log_config();
    struct logs_entry *made;
    struct config_pair pair = {"zookeeper.connect", "z:1"};
    struct config *snapshot;
    struct errmsg msg;
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    cr_assert_eq(config_from_pairs(&pair, 1, &snapshot, &msg), ERR_OK);
    config_cell_init(&config, snapshot);
    topic_configs = topic_configs_new(&config);
    sim = fs_sim_new(1);
    fault = fs_fault_new(fs_sim_fs(sim));
    workers = worker_pool_new("test", 0);
    clock_manual_init(&hand, LOG_EPOCH_MS);
    loop = loop_new("hand", 0, &hand.clock);
    throttle_init(&throttle, 11, 1000);
    parts_init(&parts);
    start();
    logs_prefer(logs, STR("orders"), 0, logs_dir(logs, 0));
    cr_assert_eq(logs_create(logs, STR("orders"), 0, (struct uuid){{9}}, &topic_config, &made),
                 ERR_OK);
    logs_settle(logs, NULL, NULL, NULL);
    make_part();
}

static void end(void)
{
    stop();
    parts_fini(&parts);
    settle();
    throttle_fini(&throttle);
    loop_free(loop);
    worker_pool_free(workers);
    fs_fault_free(fault);
    fs_sim_free(sim);
    topic_configs_free(topic_configs);
    config_cell_fini(&config);
}

TestSuite(moves, .init = begin, .fini = end);

static enum err request(const char *dir)
{
    return moves_request(moves, STR("orders"), 0, str_of(dir));
}

static void check_records(void)
{
    cr_assert_eq(part->log, entry()->log);
    cr_assert_eq(plog_offset_end(part->log), appended);
    struct buf all = read_log(part->log, 0);
    cr_assert_geq(all.size, (size_t)appended * BATCH_BYTES);
    buf_fini(&all);
}

static void expect_in(int32_t dir)
{
    cr_assert_eq(entry()->dir, logs_dir(logs, dir), "it is in %s", entry()->dir->path);
    cr_assert_null(entry()->future);
    check_records();
}

/* ---- tests */

Test(moves, a_leader_is_written_to_while_it_moves)
{
    append(30);
    cr_assert_eq(request("/b"), ERR_OK);
    int before = appended;
    while (entry()->future != NULL) {
        bool busy = loop_turn(loop);
        busy = worker_pool_step(workers) || busy;
        cr_assert(busy || entry()->future == NULL);
        append(1);
    }
    cr_assert_gt(appended, before + 3);
    settle();
    expect_in(1);
    append(2);
    check_records();
}

/* Each sync of the copy takes so long that the leader is 2 MB ahead when it is done. */
static void on_call(void *arg, enum fs_op op, const char *path)
{
    (void)arg;
    if (op == FS_OP_SYNC && strstr(path, "-future/0") != NULL &&
        part_now(part).role == PART_LEADER && !actor_here(&part->actor)) {
        append(20);
    }
}

Test(moves, a_leader_that_outruns_every_sync_arrives)
{
    append(30);
    fs_fault_set_hook(fault, on_call, NULL);
    cr_assert_eq(request("/b"), ERR_OK);
    settle();
    fs_fault_set_hook(fault, NULL, NULL);
    cr_assert_geq(appended, 30 + 2 * 20);
    expect_in(1);
}

Test(moves, copying_keeps_to_its_limit)
{
    append(100); /* 10 MB */
    throttle_set_limit(&throttle, 1 << 20);
    cr_assert_eq(request("/b"), ERR_OK);
    settle();
    cr_assert_not_null(entry()->future);
    cr_assert_lt(plog_offset_end(entry()->future), 25);
    int seconds = 0;
    for (; entry()->future != NULL && seconds < 60; seconds++) {
        clock_manual_advance(&hand, SECOND_NS);
        settle();
    }
    cr_assert(seconds >= 7 && seconds <= 11, "10 MB in %d s", seconds);
    expect_in(1);
}

Test(moves, a_stop_interrupts_it_and_the_next_start_goes_on)
{
    append(50);
    throttle_set_limit(&throttle, 1);
    cr_assert_eq(request("/b"), ERR_OK);
    settle();
    int64_t copied = plog_offset_end(entry()->future);
    cr_assert(copied > 0 && copied < 50);
    stop();
    fs_sim_kill(sim);
    start();
    cr_assert_eq(plog_offset_end(entry()->future), copied);
    make_part();
    settle();
    throttle_set_limit(&throttle, THROTTLE_NONE);
    clock_manual_advance(&hand, SECOND_NS);
    settle();
    expect_in(1);
}

Test(moves, a_replica_that_is_closed_and_back_before_its_move_has_ended_goes_on)
{
    append(50);
    cr_assert_eq(request("/b"), ERR_OK);
    while (!worker_pool_busy(workers)) {
        loop_turn(loop);
    }
    struct part *before = part;
    in_actor(close_here);
    make_part();
    part_put(before);
    settle();
    expect_in(1);
}

/* Its topic was deleted while a worker copied: the future log was freed under the worker. */
Test(moves, a_replica_is_deleted_while_a_worker_copies_it)
{
    struct parts_change change = {.topic = STR("orders"), .index = 0};
    append(50);
    cr_assert_eq(request("/b"), ERR_OK);
    while (!worker_pool_busy(workers)) {
        loop_turn(loop);
    }
    in_actor(close_here);
    parts_edit(&parts, &change, 1);
    part_put(part);
    part = NULL;
    logs_delete(logs, STR("orders"), 0);
    settle();
    cr_assert_null(logs_find(logs, STR("orders"), 0));
}

Test(moves, another_wish_sends_it_elsewhere_or_back)
{
    append(50);
    throttle_set_limit(&throttle, 1);
    cr_assert_eq(request("/b"), ERR_OK);
    settle();
    cr_assert_eq(entry()->future_dir, logs_dir(logs, 1));
    cr_assert_eq(request("/c"), ERR_OK);
    settle();
    cr_assert_eq(entry()->future_dir, logs_dir(logs, 2));
    cr_assert_eq(request("/a"), ERR_OK);
    settle();
    expect_in(0);
    throttle_set_limit(&throttle, THROTTLE_NONE);
    cr_assert_eq(request("/c"), ERR_OK);
    cr_assert_eq(request("/b"), ERR_OK, "before anything was copied");
    settle();
    expect_in(1);
    cr_assert_eq(logs_dir(logs, 0)->logs_count + logs_dir(logs, 2)->logs_count, 0);
}

Test(moves, a_target_that_fails_ends_the_move_and_the_partition_goes_on)
{
    static const struct fs_fault_plan broken = {.ops = FS_OPS_WRITE | FS_OPS_SYNC,
                                                .path = "/b/",
                                                .after = 9,
                                                .repeat = FS_FAULT_FOR_EVER,
                                                .err = ERR_IO};
    append(50);
    fs_fault_set(fault, &broken);
    cr_assert_eq(request("/b"), ERR_OK);
    settle();
    cr_assert_gt(fs_fault_hits(fault), 0);
    expect_in(0);
    append(1);
    check_records();
    cr_assert_eq(request("/b"), ERR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(request("/c"), ERR_OK);
    settle();
    expect_in(2);
}

Test(moves, what_cannot_be_moved_is_refused)
{
    cr_assert_eq(request("/d"), ERR_LOG_DIR_NOT_FOUND);
    cr_assert_eq(request("/a"), ERR_OK, "it is there");
    cr_assert_eq(moves_request(moves, STR("orders"), 7, STR("/b")), ERR_REPLICA_NOT_AVAILABLE);
    char name[240];
    memset(name, 'n', sizeof(name));
    cr_assert_eq(moves_request(moves, (struct str){name, sizeof(name)}, 0, STR("/b")),
                 ERR_INVALID_TOPIC_EXCEPTION);
    expect_in(0);
}

Test(moves, a_replica_that_was_not_told_its_role_yet_is_to_be_asked_again)
{
    stop();
    start();
    make_idle_part();
    cr_assert_eq(request("/b"), ERR_REPLICA_NOT_AVAILABLE, "and its disk has not failed");
    in_actor(lead);
    cr_assert_eq(request("/b"), ERR_OK);
    settle();
    expect_in(1);
}
