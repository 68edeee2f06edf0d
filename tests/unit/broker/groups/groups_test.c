/* The host of group coordinators: one real partition with its log on disk, loops and workers driven
 * by hand, a clock that moves when told. */
#include "groups/groups.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "fs/fs_fault.h"
#include "log/move.h"

struct fixture {
    char dir[64];
    struct clock_manual clock;
    struct fs_fault *fs;
    bool may_fail;
    struct loop *loop;
    struct worker_pool *workers;
    struct groups *groups;
    struct parts parts;
    struct plog *log;
    struct part *part;
    struct buf said; /* one line per reply */
};

/* ---- set-up ---- */

static void no_failure(void *arg, enum err err)
{
    const struct fixture *f = arg;
    cr_assert(f->may_fail, "the log failed: %s", err_name(err));
}

static void open_plog(struct fixture *f, const char *dir, struct plog_options *options)
{
    struct config *config;
    struct errmsg msg;
    struct config_pair pair = {"zookeeper.connect", "localhost:2181"};
    cr_assert_eq(config_from_pairs(&pair, 1, &config, &msg), ERR_OK, "%s", msg.text);
    struct config_pair compact = {"cleanup.policy", "compact"};
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", f->dir, dir);
    *options = (struct plog_options){.fs = fs_fault_fs(f->fs),
                                     .clock = &f->clock.clock,
                                     .dir = path,
                                     .topic = STR("__consumer_offsets"),
                                     .recovery_point = -1,
                                     .log_start_offset = -1,
                                     .producer_expiration_ms = 86400000,
                                     .on_failure = no_failure,
                                     .arg = f};
    topic_config_build(config, &compact, 1, &options->config);
    config_put(config);
    cr_assert_eq(plog_open(options, &f->log, &msg), ERR_OK, "%s", msg.text);
}

static void open_log(struct fixture *f)
{
    struct plog_options options;
    open_plog(f, "__consumer_offsets-0", &options);
    struct part_options part = {.topic = STR("__consumer_offsets"),
                                .loop_count = 1,
                                .clock = &f->clock.clock,
                                .home = f->loop,
                                .my_id = 1};
    f->part = part_new(&part, f->log, -1);
    part_configure(f->part, &options.config);
}

static int32_t load_bytes; /* offsets.load.buffer.size; 0: not set */

static void start(struct fixture *f)
{
    cr_assert_eq(log_set_level("kafka", LOG_OFF), ERR_OK);
    *f = (struct fixture){.dir = "/tmp/groups_test.XXXXXX"};
    cr_assert_not_null(mkdtemp(f->dir));
    clock_manual_init(&f->clock, 1000000);
    f->loop = loop_new("control", -1, &f->clock.clock);
    f->workers = worker_pool_new("worker", 0);
    f->fs = fs_fault_new(fs_posix());
    open_log(f);
    struct groups_options options = {
        .workers = f->workers, .loop = f->loop, .load_bytes = load_bytes, .seed = 1};
    grp_config_default(&options.config);
    f->groups = groups_new(&options);
    groups_attach(f->groups, f->part);
    parts_init(&f->parts);
    struct parts_change change = {STR("__consumer_offsets"), 0, part_get(f->part)};
    parts_edit(&f->parts, &change, 1);
}

/* Until nothing is left to do but wait for time. */
static void run(struct fixture *f)
{
    while (loop_turn(f->loop) || worker_pool_step(f->workers)) {
    }
}

/* As run(), but what the workers are to do stays undone. */
static void run_loop(struct fixture *f)
{
    while (loop_turn(f->loop)) {
    }
}

static void advance(struct fixture *f, int64_t ms)
{
    clock_manual_advance(&f->clock, ms * 1000000);
    run(f);
}

/* ---- steps, inside the loop ---- */

struct step {
    struct loop_msg msg;
    struct actor_msg in_actor;
    struct fixture *f;
    int32_t leader;
    int32_t epoch;
    int32_t isr_count; /* of brokers 1 and 2 */
};

static void apply_in_actor(struct actor *actor, struct actor_msg *msg)
{
    (void)actor;
    struct step *step = container_of(msg, struct step, in_actor);
    static const int32_t BROKERS[] = {1, 2};
    struct part_state state = {.leader = step->leader,
                               .leader_epoch = step->epoch,
                               .isr = BROKERS,
                               .isr_count = step->isr_count > 0 ? step->isr_count : 1,
                               .replicas = BROKERS,
                               .replicas_count = step->isr_count > 0 ? 2 : 1};
    cr_assert_eq(part_apply(step->f->part, &state), ERR_OK);
}

static void close_in_actor(struct actor *actor, struct actor_msg *msg)
{
    (void)actor;
    part_close(container_of(msg, struct step, in_actor)->f->part);
}

static void take_log_in_actor(struct actor *actor, struct actor_msg *msg)
{
    (void)actor;
    struct fixture *f = container_of(msg, struct step, in_actor)->f;
    plog_release(part_take_log(f->part, f->log));
}

/* As the end of a move to another directory. The log that it had. */
static struct plog *change_directory(struct fixture *f)
{
    struct plog_options options;
    struct plog *old = f->log;
    struct buf scratch = {0};
    size_t copied;
    open_plog(f, "moved", &options);
    do {
        cr_assert_eq(plog_copy(f->log, old, &scratch, 1 << 20, &copied), ERR_OK);
    } while (copied > 0);
    buf_fini(&scratch);
    return old;
}

static void step_in_loop(struct loop_msg *msg)
{
    struct step *step = container_of(msg, struct step, msg);
    part_post(step->f->part, &step->in_actor);
}

/* The step's work is done, what follows from it may not be. */
static void do_step(struct step *step)
{
    step->msg.fn = step_in_loop;
    loop_post(step->f->loop, &step->msg);
    run_loop(step->f);
}

static void lead(struct fixture *f, int32_t epoch)
{
    do_step(&(struct step){.in_actor.fn = apply_in_actor, .f = f, .leader = 1, .epoch = epoch});
}

/* The partition has two replicas, and so many of them are in sync. */
static void lead_two(struct fixture *f, int32_t epoch, int32_t isr_count)
{
    do_step(&(struct step){.in_actor.fn = apply_in_actor,
                           .f = f,
                           .leader = 1,
                           .epoch = epoch,
                           .isr_count = isr_count});
    run(f);
}

static void follow(struct fixture *f, int32_t epoch)
{
    do_step(&(struct step){.in_actor.fn = apply_in_actor, .f = f, .leader = 2, .epoch = epoch});
}

/* Broker 2 has fetched up to our log's end, in that leader epoch. */
struct fetched {
    struct loop_msg msg;
    struct fixture *f;
    struct part_follow follow;
};

static void on_followed(struct part_call *call)
{
    cr_assert_eq(container_of(call, struct part_follow, call)->err, ERR_OK);
}

static void fetched_in_loop(struct loop_msg *msg)
{
    struct fetched *fetched = container_of(msg, struct fetched, msg);
    part_follow(fetched->f->part, &fetched->follow);
}

static void follower_fetches(struct fixture *f, int32_t epoch)
{
    int64_t end = plog_offset_end(f->log);
    struct fetched fetched = {.msg.fn = fetched_in_loop, .f = f};
    fetched.follow = (struct part_follow){
        .call = {.loop = f->loop, .done = on_followed},
        .leader_epoch = epoch,
        .fetch = {.replica_id = 2, .fetch_offset = end, .flushed_end = -1, .leader_end = end}};
    loop_post(f->loop, &fetched.msg);
    run(f);
}

struct deletion {
    struct loop_msg msg;
    struct fixture *f;
    const char *topic;
};

static void delete_in_loop(struct loop_msg *msg)
{
    struct deletion *deletion = container_of(msg, struct deletion, msg);
    groups_topic_deleted(&deletion->f->parts, str_of(deletion->topic));
}

static void delete_topic(struct fixture *f, const char *topic)
{
    struct deletion deletion = {.msg.fn = delete_in_loop, .f = f, .topic = topic};
    loop_post(f->loop, &deletion.msg);
    run(f);
}

static void stop(struct fixture *f)
{
    do_step(&(struct step){.in_actor.fn = close_in_actor, .f = f});
    run(f);
    struct parts_change change = {STR("__consumer_offsets"), 0, NULL};
    parts_edit(&f->parts, &change, 1);
    parts_fini(&f->parts);
    struct plog *log = plog_hold(f->log);
    part_put(f->part);
    run(f);
    cr_assert_eq(plog_close(log), f->may_fail ? ERR_KAFKA_STORAGE_ERROR : ERR_OK);
    plog_release(log);
    worker_pool_free(f->workers);
    loop_free(f->loop);
    groups_free(f->groups);
    fs_fault_free(f->fs);
    cr_assert_eq(fs_remove_tree(fs_posix(), f->dir), ERR_OK);
    buf_fini(&f->said);
}

/* ---- requests ---- */

struct asked {
    struct group_call call;
    struct fixture *f;
    struct loop_msg msg;
    char who;
    char text[128];
};

static void copy(struct group_call *call, const struct grp_reply *reply)
{
    struct asked *asked = container_of(call, struct asked, call);
    switch (reply->kind) {
    case GRP_EV_COMMIT:
        snprintf(asked->text, sizeof(asked->text), "commit %s",
                 err_name(reply->offsets.topics[0].partitions[0].err));
        break;
    case GRP_EV_FETCH: {
        size_t at = (size_t)snprintf(asked->text, sizeof(asked->text), "fetch %s",
                                     err_name(reply->offsets.err));
        for (size_t i = 0; i < reply->offsets.topic_count; i++) {
            const struct grp_reply_topic *topic = &reply->offsets.topics[i];
            for (size_t j = 0; j < topic->partition_count; j++) {
                at += (size_t)snprintf(asked->text + at, sizeof(asked->text) - at, " %.*s-%d=%lld",
                                       STR_ARG(topic->topic), topic->partitions[j].partition,
                                       (long long)topic->partitions[j].offset);
                must(at < sizeof(asked->text));
            }
        }
        break;
    }
    case GRP_EV_JOIN:
        snprintf(asked->text, sizeof(asked->text), "join %s %d", err_name(reply->join.err),
                 reply->join.generation);
        break;
    default:
        must_not_get_here();
    }
}

static void done(struct group_call *call)
{
    struct asked *asked = container_of(call, struct asked, call);
    buf_printf(&asked->f->said, "%c %s\n", asked->who, asked->text);
    arena_fini(&call->arena);
    mem_free(asked);
}

static void submit_in_loop(struct loop_msg *msg)
{
    struct asked *asked = container_of(msg, struct asked, msg);
    group_call_submit(asked->f->part, &asked->call);
}

/* The event's memory is used before this returns, unless the coordinator keeps a copy. */
static void ask(struct fixture *f, char who, const struct grp_event *event)
{
    struct asked *asked = mem_new(struct asked);
    asked->f = f;
    asked->who = who;
    asked->call.event = *event;
    asked->call.loop = f->loop;
    asked->call.copy = copy;
    asked->call.done = done;
    asked->msg.fn = submit_in_loop;
    loop_post(f->loop, &asked->msg);
    run_loop(f);
}

static void commit(struct fixture *f, char who, const char *topic, int64_t offset,
                   struct str metadata)
{
    struct grp_commit_partition one = {
        .leader_epoch = -1, .offset = offset, .commit_timestamp_ms = -1, .metadata = metadata};
    struct grp_commit_topic topics = {str_of(topic), &one, 1};
    struct grp_event event = {.kind = GRP_EV_COMMIT};
    event.commit = (struct grp_commit){.group_id = STR("g"),
                                       .member_id = STR(""),
                                       .generation = -1,
                                       .retention_ms = -1,
                                       .topics = &topics,
                                       .topic_count = 1};
    ask(f, who, &event);
}

static void fetch(struct fixture *f, char who)
{
    struct grp_event event = {.kind = GRP_EV_FETCH};
    event.fetch = (struct grp_fetch){.group_id = STR("g"), .all = true};
    ask(f, who, &event);
}

static void join(struct fixture *f, char who)
{
    struct grp_protocol protocol = {STR("range"), {(const uint8_t *)"m", 1}};
    struct grp_event event = {.kind = GRP_EV_JOIN};
    event.join = (struct grp_join){.version = 3,
                                   .group_id = STR("j"),
                                   .member_id = STR(""),
                                   .client_id = STR("c"),
                                   .client_host = STR("/h"),
                                   .session_timeout_ms = 10000,
                                   .rebalance_timeout_ms = 60000,
                                   .protocol_type = STR("consumer"),
                                   .protocols = &protocol,
                                   .protocol_count = 1};
    ask(f, who, &event);
}

static void expect(struct fixture *f, const char *expected)
{
    buf_put_byte(&f->said, 0);
    cr_assert_str_eq((char *)f->said.data, expected);
    f->said.size = 0;
}

/* ---- tests ---- */

Test(groups, says_not_coordinator_until_the_partition_leads)
{
    /* Before any leadership, as a follower, and after the partition has left this broker. */
    struct fixture f;
    start(&f);
    fetch(&f, 'A');
    follow(&f, 1);
    fetch(&f, 'B');
    lead(&f, 2);
    fetch(&f, 'C');
    follow(&f, 3);
    fetch(&f, 'D');
    expect(&f, "A fetch NOT_COORDINATOR\nB fetch NOT_COORDINATOR\nC fetch NONE\n"
               "D fetch NOT_COORDINATOR\n");
    stop(&f);
}

Test(groups, reads_back_from_the_log_what_it_wrote)
{
    /* Commits, another leader, leader again: loading is said while the worker has not read, then
     * everything is there. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    commit(&f, 'B', "t", 11, STR("m"));
    commit(&f, 'C', "u", 12, STR_NULL);
    expect(&f, "A commit NONE\nB commit NONE\nC commit NONE\n");
    follow(&f, 2);
    lead(&f, 3);
    fetch(&f, 'D');
    expect(&f, "D fetch COORDINATOR_LOAD_IN_PROGRESS\n");
    run(&f);
    fetch(&f, 'E');
    commit(&f, 'F', "t", 13, STR("m"));
    fetch(&f, 'G');
    expect(&f, "E fetch NONE t-0=11 u-0=12\nF commit NONE\nG fetch NONE t-0=13 u-0=12\n");
    stop(&f);
}

Test(groups, are_served_when_the_follower_has_what_was_loaded)
{
    /* Two replicas in sync: what this log has may be missing in the other one until it fetches in
     * our epoch. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    follow(&f, 2);
    atomic_store(&f.part->offset_hw, 0); /* as a follower that has not heard of it */
    lead_two(&f, 3, 2);
    fetch(&f, 'B');
    follower_fetches(&f, 3);
    fetch(&f, 'C');
    expect(&f, "A commit NONE\nB fetch COORDINATOR_LOAD_IN_PROGRESS\nC fetch NONE t-0=10\n");
    stop(&f);
}

Test(groups, of_a_leader_that_is_alone_are_served_at_once)
{
    /* min.insync.replicas=1: the high watermark is at the log's end before anything is loaded. With
     * 2 it stands where it was until a second replica is there: what lies beyond is not served, as
     * it is not to consumers. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    follow(&f, 2);
    atomic_store(&f.part->offset_hw, 0);
    lead_two(&f, 3, 1);
    fetch(&f, 'B');
    follow(&f, 4);
    atomic_store(&f.part->rules.min_insync_replicas, 2);
    lead_two(&f, 5, 1);
    fetch(&f, 'C');
    follow(&f, 6);
    atomic_store(&f.part->offset_hw, 0);
    lead_two(&f, 7, 1);
    fetch(&f, 'D');
    expect(&f, "A commit NONE\nB fetch NONE t-0=10\nC fetch NONE t-0=10\n"
               "D fetch COORDINATOR_LOAD_IN_PROGRESS\n");
    stop(&f);
}

Test(groups, loads_a_log_of_several_chunks)
{
    /* 4 KiB of metadata per commit, three chunks' worth; the last commit wins. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    char text[4096];
    memset(text, 'x', sizeof(text));
    int count = 3 * GROUPS_LOAD_CHUNK_BYTES / (int)sizeof(text);
    for (int i = 1; i <= count; i++) {
        commit(&f, 'A', "t", i, (struct str){text, sizeof(text)});
    }
    cr_assert_gt(plog_size_bytes(f.log), 3 * GROUPS_LOAD_CHUNK_BYTES);
    f.said.size = 0;
    follow(&f, 2);
    lead(&f, 3);
    int chunks = 0;
    while (worker_pool_step(f.workers)) {
        run_loop(&f);
        chunks++;
    }
    cr_assert_geq(chunks, 3);
    fetch(&f, 'B');
    char expected[64];
    snprintf(expected, sizeof(expected), "B fetch NONE t-0=%d\n", count);
    expect(&f, expected);
    stop(&f);
}

Test(groups, loads_no_more_at_once_than_it_is_told)
{
    /* Every batch is a chunk of its own. */
    struct fixture f;
    load_bytes = 1;
    start(&f);
    lead(&f, 1);
    for (int i = 1; i <= 20; i++) {
        commit(&f, 'A', "t", i, STR("m"));
    }
    f.said.size = 0;
    follow(&f, 2);
    lead(&f, 3);
    int chunks = 0;
    while (worker_pool_step(f.workers)) {
        run_loop(&f);
        chunks++;
    }
    cr_assert_eq(chunks, 20);
    fetch(&f, 'B');
    expect(&f, "B fetch NONE t-0=20\n");
    stop(&f);
}

Test(groups, loading_goes_on_behind_what_retention_deletes_meanwhile)
{
    /* With cleanup.policy=compact,delete. The next chunk began before the log's start, which was
     * taken for a disk that does not give what is there: the log failed, and its directory. */
    struct fixture f;
    load_bytes = 1;
    start(&f);
    lead(&f, 1);
    for (int i = 1; i <= 20; i++) {
        commit(&f, 'A', i <= 10 ? "t" : "u", i, STR("m"));
        if (i == 10) {
            cr_assert_eq(plog_roll(f.log, 0), ERR_OK);
        }
    }
    f.said.size = 0;
    follow(&f, 2);
    lead(&f, 3);
    cr_assert(worker_pool_step(f.workers)); /* one of ten that are to go */
    cr_assert_eq(plog_set_log_start(f.log, 10), ERR_OK);
    cr_assert_eq(plog_delete_old_segments(f.log, 20, 0), ERR_OK);
    cr_assert_eq(plog_log_start(f.log), 10);
    run(&f);
    fetch(&f, 'B');
    expect(&f, "B fetch NONE t-0=1 u-0=20\n");
    follow(&f, 4);
    lead(&f, 5);
    run(&f);
    fetch(&f, 'C');
    expect(&f, "C fetch NONE u-0=20\n");
    stop(&f);
}

Test(groups, does_not_go_on_with_half_of_its_offsets_when_the_disk_cannot_be_read)
{
    /* The coordinator said that nothing was committed, because a read had failed. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    follow(&f, 2);
    f.may_fail = true;
    fs_fault_set(f.fs, &(struct fs_fault_plan){.ops = FS_OP_BIT(FS_OP_PREAD),
                                               .repeat = FS_FAULT_FOR_EVER,
                                               .err = ERR_IO});
    lead(&f, 3);
    run(&f);
    fetch(&f, 'B');
    expect(&f, "A commit NONE\nB fetch NOT_COORDINATOR\n");
    cr_assert(plog_failed(f.log), "so that the controller lets another replica lead");
    cr_assert_eq(part_now(f.part).role, PART_OFFLINE);
    fs_fault_clear(f.fs);
    stop(&f);
}

Test(groups, go_on_loading_where_their_log_has_gone_when_the_disk_that_it_left_cannot_be_read)
{
    /* A piece was with a worker while the log changed its directory. That the old disk did not give
     * it took the new one offline, with all logs that are in it. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    f.said.size = 0;
    follow(&f, 2);
    lead(&f, 3); /* what the worker is to read is of the old directory */
    struct plog *old = change_directory(&f);
    do_step(&(struct step){.in_actor.fn = take_log_in_actor, .f = &f});
    fs_fault_set(f.fs, &(struct fs_fault_plan){.ops = FS_OP_BIT(FS_OP_PREAD),
                                               .path = "__consumer_offsets-0",
                                               .repeat = FS_FAULT_FOR_EVER,
                                               .err = ERR_IO});
    run(&f);
    cr_assert_gt(fs_fault_hits(f.fs), 0);
    fetch(&f, 'B');
    expect(&f, "B fetch NONE t-0=10\n");
    cr_assert_not(plog_failed(f.log));
    fs_fault_clear(f.fs);
    cr_assert_eq(plog_close(old), ERR_OK);
    stop(&f);
}

/* What the disk has turned around: the last batch says that it ends before the first one begins. */
static void spoil_last_batch(const struct fixture *f, int32_t last_offset_delta)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/__consumer_offsets-0/00000000000000000000.log", f->dir);
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    uint8_t head[BATCH_HEADER_SIZE];
    long last = 0;
    for (long at = 0; fread(head, 1, sizeof(head), file) == sizeof(head);) {
        last = at;
        at += (long)be32_get(head + BATCH_AT_LENGTH) + BATCH_LENGTH_OVERHEAD;
        cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    }
    cr_assert_gt(last, 0);
    cr_assert_eq(fseek(file, last + BATCH_AT_LAST_OFFSET_DELTA, SEEK_SET), 0);
    uint8_t delta[4];
    be32_put(delta, (uint32_t)last_offset_delta);
    cr_assert_eq(fwrite(delta, 1, sizeof(delta), file), sizeof(delta));
    cr_assert_eq(fclose(file), 0);
}

static void expect_loading_to_end(int32_t last_offset_delta)
{
    struct fixture f;
    start(&f);
    lead(&f, 1);
    for (int i = 1; i <= 3; i++) {
        commit(&f, 'A', "t", i, STR("m"));
    }
    f.said.size = 0;
    follow(&f, 2);
    spoil_last_batch(&f, last_offset_delta);
    lead(&f, 3);
    int chunks = 0;
    while (chunks < 100 && worker_pool_step(f.workers)) {
        run_loop(&f);
        chunks++;
    }
    cr_assert_lt(chunks, 100);
    fetch(&f, 'B');
    expect(&f, "B fetch NONE t-0=3\n");
    stop(&f);
}

Test(groups, loading_ends_at_a_batch_that_would_lead_back)
{
    /* The same chunk was read again and again, for ever. */
    expect_loading_to_end(-2);
    expect_loading_to_end(-3);
}

Test(groups, what_stands_before_a_batch_that_is_wrong_is_loaded)
{
    /* An end below zero was taken for a chunk without a batch, and all of it was thrown away. */
    expect_loading_to_end(-256);
}

static void note_error(void *arg, enum log_level level, const char *logger, const char *event,
                       const char *detail)
{
    struct buf *lines = arg;
    (void)logger;
    if (level >= LOG_ERROR) {
        buf_printf(lines, "%s: %s\n", event, detail);
    }
}

/* The format of the batch at `offset`, one of one record each. */
static void spoil_magic(const struct fixture *f, int64_t offset)
{
    struct view *view = plog_view_get(f->log);
    struct batch_header header;
    int64_t position;
    uint8_t magic = 77;
    cr_assert_eq(seg_find(view->segs[0], offset, &position, &header), ERR_OK);
    cr_assert_eq(fs_pwrite(view->segs[0]->file, &magic, 1, position + BATCH_AT_MAGIC), ERR_OK);
    view_put(view);
}

Test(groups, what_stands_before_a_damage_is_served_and_one_line_tells_of_it)
{
    /* In the middle of the log, which all replicas may have. */
    struct fixture f;
    struct buf lines = {0};
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    commit(&f, 'A', "t", 11, STR("m"));
    commit(&f, 'A', "t", 12, STR("m"));
    f.said.size = 0;
    follow(&f, 2);
    spoil_magic(&f, 1);
    cr_assert_eq(log_set_level("kafka", LOG_ERROR), ERR_OK);
    log_set_sink(note_error, &lines);
    lead(&f, 3);
    run(&f);
    log_set_sink(NULL, NULL);
    buf_put(&lines, "", 1);
    cr_assert_str_eq((char *)lines.data,
                     "loading groups ended early: tp=__consumer_offsets-0 offset=1 end=3 "
                     "error=corrupt data\n");
    fetch(&f, 'B');
    expect(&f, "B fetch NONE t-0=10\n");
    cr_assert(!plog_failed(f.log));
    buf_fini(&lines);
    stop(&f);
}

Test(groups, begins_again_when_the_leadership_changed_while_a_chunk_was_read)
{
    /* The chunk that the worker has belongs to the earlier leadership. It must not end the new
     * loading, nor be missing from it. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    follow(&f, 2);
    lead(&f, 3); /* the worker has its chunk */
    follow(&f, 4);
    fetch(&f, 'B');
    lead(&f, 5);
    fetch(&f, 'C');
    expect(&f, "A commit NONE\nB fetch NOT_COORDINATOR\nC fetch COORDINATOR_LOAD_IN_PROGRESS\n");
    cr_assert(worker_pool_step(f.workers));
    run_loop(&f);
    fetch(&f, 'D'); /* the old chunk has come and was thrown away */
    run(&f);
    fetch(&f, 'E');
    expect(&f, "D fetch COORDINATOR_LOAD_IN_PROGRESS\nE fetch NONE t-0=10\n");
    stop(&f);
}

Test(groups, an_empty_log_is_loaded_while_a_worker_still_reads_the_one_before)
{
    /* The new leader's log was empty, so ours became so: its load ended at once, and freed the
     * memory into which the worker was reading. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    follow(&f, 2);
    lead(&f, 3); /* the worker has its chunk */
    follow(&f, 4);
    cr_assert_eq(plog_truncate_to(f.log, 0), ERR_OK);
    lead(&f, 5);
    fetch(&f, 'B');
    run(&f);
    commit(&f, 'C', "u", 11, STR("m"));
    fetch(&f, 'D');
    expect(&f, "A commit NONE\nB fetch NONE\nC commit NONE\nD fetch NONE u-0=11\n");
    stop(&f);
}

Test(groups, throws_away_a_chunk_that_comes_after_the_leadership)
{
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    follow(&f, 2);
    lead(&f, 3);
    follow(&f, 4);
    run(&f);
    fetch(&f, 'B');
    expect(&f, "A commit NONE\nB fetch NOT_COORDINATOR\n");
    stop(&f);
}

Test(groups, keeps_its_groups_when_the_same_broker_leads_again)
{
    /* A higher epoch without another leader between: the members that wait are not disturbed. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    join(&f, 'J');
    lead(&f, 2);
    fetch(&f, 'B');
    expect(&f, "A commit NONE\nB fetch NONE t-0=10\n");
    advance(&f, 3000);
    expect(&f, "J join NONE 1\n");
    stop(&f);
}

Test(groups, refuses_a_batch_larger_than_the_topic_allows)
{
    /* max.message.bytes=1000: the log itself would take it, but followers and tools would not. */
    struct fixture f;
    start(&f);
    atomic_store(&f.part->rules.max_message_bytes, 1000);
    lead(&f, 1);
    char text[1000];
    memset(text, 'x', sizeof(text));
    commit(&f, 'A', "t", 10, (struct str){text, sizeof(text)});
    cr_assert_eq(plog_offset_end(f.log), 0);
    commit(&f, 'B', "t", 11, (struct str){text, 500});
    fetch(&f, 'C');
    expect(&f, "A commit INVALID_COMMIT_OFFSET_SIZE\nB commit NONE\nC fetch NONE t-0=11\n");
    stop(&f);
}

Test(groups, moves_on_with_the_clock)
{
    /* A first join waits for group.initial.rebalance.delay.ms on the loop's timer; a member without
     * heartbeats is removed by the same timer, and the group's end is written. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    join(&f, 'J');
    advance(&f, 2999);
    expect(&f, "");
    advance(&f, 20);
    expect(&f, "J join NONE 1\n");
    cr_assert_eq(plog_offset_end(f.log), 0);
    advance(&f, 10100);
    advance(&f, 60100); /* the rebalance that follows waits for nobody */
    cr_assert_eq(plog_offset_end(f.log), 1);
    stop(&f);
}

Test(groups, tells_who_waits_that_the_leadership_is_gone)
{
    struct fixture f;
    start(&f);
    lead(&f, 1);
    join(&f, 'J');
    expect(&f, "");
    follow(&f, 2);
    expect(&f, "J join NOT_COORDINATOR -1\n");
    stop(&f);
}

Test(groups, tells_who_waits_when_the_partition_closes)
{
    /* As at the end of the broker, with the delay's timer still set: everything is freed. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    join(&f, 'J');
    do_step(&(struct step){.in_actor.fn = close_in_actor, .f = &f});
    expect(&f, "J join NOT_COORDINATOR -1\n");
    stop(&f);
}

Test(groups, forgets_the_offsets_of_a_deleted_topic)
{
    /* And writes it: after a reload they are still gone. A follower writes nothing. */
    struct fixture f;
    start(&f);
    lead(&f, 1);
    commit(&f, 'A', "t", 10, STR("m"));
    commit(&f, 'B', "u", 11, STR("m"));
    delete_topic(&f, "t");
    fetch(&f, 'C');
    follow(&f, 2);
    int64_t end = plog_offset_end(f.log);
    delete_topic(&f, "u");
    cr_assert_eq(plog_offset_end(f.log), end);
    lead(&f, 3);
    run(&f);
    fetch(&f, 'D');
    expect(&f, "A commit NONE\nB commit NONE\nC fetch NONE u-0=11\nD fetch NONE u-0=11\n");
    stop(&f);
}
