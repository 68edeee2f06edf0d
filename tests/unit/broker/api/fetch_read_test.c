/* What a request has found stays until it is done with it, though the cluster's metadata and the
 * table of partitions become others meanwhile. The sanitizers see what does not. */
#include "api/fetch_read.h"

#include "../log/log_fixture.h"
#include "api/broker.h"
#include "api/limits.h"
#include "api/locate.h"
#include "partition/parts.h"

enum { ME = 1 };

static const struct uuid topic_id = {{7}};
static struct log_world w;
static struct loop *loop;
static struct parts parts;
static struct meta_cell meta;
static struct netloop netloop;
static struct req req;

static void tell_metadata(const char *topic)
{
    int32_t me[] = {ME};
    struct meta_partition partition = {
        .leader = ME, .replicas = me, .replicas_count = 1, .isr = me, .isr_count = 1};
    struct meta_edit *edit = meta_edit_begin(&meta);
    meta_edit_partition(edit, str_of(topic), topic_id, &partition);
    meta_edit_commit(edit);
}

static void forget_in_metadata(const char *topic)
{
    struct meta_edit *edit = meta_edit_begin(&meta);
    meta_edit_remove(edit, str_of(topic), 0);
    meta_edit_commit(edit);
}

static struct part *part; /* for lead(): */
static int32_t isr_count;

static void lead(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    static const int32_t replicas[] = {ME, 2};
    struct topic_config config = log_config();
    struct part_state state = {.leader = ME,
                               .leader_epoch = 3,
                               .replicas = replicas,
                               .isr = replicas,
                               .replicas_count = isr_count,
                               .isr_count = isr_count};
    part_configure(part, &config);
    cr_assert_eq(part_apply(part, &state), ERR_OK);
}

/* Leads; all share one log. */
static void add_part(const char *topic)
{
    struct part_options options = {.topic = str_of(topic),
                                   .loop_count = 1,
                                   .clock = &w.clock.clock,
                                   .home = loop,
                                   .my_id = ME};
    struct actor_msg msg = {.fn = lead};
    part = part_new(&options, w.log, -1);
    struct parts_change change = {.topic = str_of(topic), .part = part};
    parts_edit(&parts, &change, 1);
    part_post(part, &msg);
    while (loop_turn(loop)) {
    }
}

static void drop_part(const char *topic)
{
    struct parts_change change = {.topic = str_of(topic)};
    parts_edit(&parts, &change, 1);
}

static void begin(void)
{
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    loop = loop_new("hand", 0, &w.clock.clock);
    parts_init(&parts);
    meta_cell_init(&meta);
    netloop = (struct netloop){.loop = loop};
    parts_reader_init(&netloop.parts, &parts);
    meta_reader_init(&netloop.meta, &meta);
    req = (struct req){.netloop = &netloop};
    isr_count = 1;
}

static void end(void)
{
    arena_fini(&req.arena);
    parts_reader_fini(&netloop.parts);
    meta_reader_fini(&netloop.meta);
    meta_cell_fini(&meta);
    parts_fini(&parts);
    while (loop_turn(loop)) {
    }
    world_end(&w);
    loop_free(loop);
}

TestSuite(fetch_read, .init = begin, .fini = end);

Test(fetch_read, a_topics_name_is_there_after_the_metadata_has_lost_it)
{
    tell_metadata("orders");
    struct str name = locate_topic_name(&req, topic_id);
    forget_in_metadata("orders");
    enum err err;
    cr_assert_null(locate_leader(&req, name, 0, &err), "looks into the metadata of now");
    cr_assert_eq(err, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert(str_is(name, "orders"));
    cr_assert_null(locate_topic_name(&req, topic_id).ptr);
}

Test(fetch_read, a_partition_that_was_read_is_there_after_the_table_has_lost_it)
{
    add_part("a");
    add_part("b");
    struct fetch_limits limits = {
        .max_bytes = 1000, .replica_id = -1, .leader_only = true, .zstd_allowed = true};
    struct fetch_want want = {.current_leader_epoch = -1, .last_fetched_epoch = -1};
    struct fetch_item items[] = {{.want = want}, {.want = want}};
    items[0].want.topic = STR("a");
    items[1].want.topic = STR("b");
    struct fetch_read reads[2];
    fetch_read_partition(&req, &limits, &items[0], 1000, true, &reads[0]);
    cr_assert_eq(reads[0].err, ERR_OK);
    drop_part("a");
    fetch_read_partition(&req, &limits, &items[1], 1000, true, &reads[1]);
    cr_assert_eq(reads[1].err, ERR_OK);
    while (loop_turn(loop)) {
    }
    cr_assert(str_is(reads[0].part->topic, "a"));
    fetch_read_end(&reads[0]);
    fetch_read_end(&reads[1]);
    cr_assert_null(reads[0].part);
}

/* A follower's read of what was not in memory, and then this broker did not lead any more: that was
 * lost, and the follower told that all was well, when the reader had looked for what another
 * partition had. */
Test(fetch_read, what_is_not_sent_after_all_keeps_its_error)
{
    add_part("a");
    struct fetch_read read = {.part = part_get(part),
                              .view = plog_view_get(w.log),
                              .cold = true,
                              .err = ERR_NOT_LEADER_OR_FOLLOWER};
    fetch_read_release(&read);
    cr_assert_not(read.cold, "a reader's work is settled for those that are");
    fetch_read_end(&read);
}

/* Whatever client and configuration say, up to two gigabytes each: with all that is around the
 * records the size must be an int32. */
Test(fetch_read, an_answer_stays_below_a_gigabyte)
{
    cr_assert_eq(fetch_bytes_max(1000, INT32_MAX), 1000);
    cr_assert_eq(fetch_bytes_max(INT32_MAX, 55 << 20), 55 << 20);
    cr_assert_eq(fetch_bytes_max(INT32_MAX, INT32_MAX), 1 << 30);
    cr_assert_eq(fetch_bytes_max(-1, INT32_MAX), -1, "the first batch only");
}

static enum err asked_in(int32_t replica_id, int64_t offset, int32_t last_epoch)
{
    struct fetch_limits limits = {
        .max_bytes = 1 << 20, .replica_id = replica_id, .zstd_allowed = true};
    struct fetch_item item = {.want = {.topic = STR("a"),
                                       .fetch_offset = offset,
                                       .max_bytes = 1 << 20,
                                       .current_leader_epoch = -1,
                                       .last_fetched_epoch = last_epoch}};
    struct fetch_read read;
    fetch_read_partition(&req, &limits, &item, 1 << 20, true, &read);
    enum err err = read.err;
    fetch_read_end(&read);
    return err;
}

static enum err asked_at(int64_t offset)
{
    return asked_in(-1, offset, -1);
}

/* A leader that was cut from ZooKeeper for longer than its session, but not from its clients, told
 * one that had read from the next leader that there is no such offset: its consumer began anew. */
Test(fetch_read, a_leader_that_zookeeper_does_not_hear_does_not_say_where_the_log_ends)
{
    struct broker broker = {.id = ME};
    netloop.broker = &broker;
    log_append_ok(&w, (struct batch_want){.records = 2, .value_bytes = 10}, 3);
    add_part("a");
    cr_assert_eq(asked_at(2), ERR_OK);
    cr_assert_eq(asked_at(3), ERR_OFFSET_OUT_OF_RANGE);
    atomic_store(&broker.cut_off, true);
    cr_assert_eq(asked_at(2), ERR_OK);
    cr_assert_eq(asked_at(3), ERR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(asked_at(-1), ERR_OFFSET_OUT_OF_RANGE, "of what it has it knows");
}

/* Nor may it say so to one that tells in which epoch it read last; it did, as it does not know the
 * next leader's, or called what is behind its own end cut off. A follower of its is told: else it
 * could not go on while ZooKeeper is away. */
Test(fetch_read, a_leader_that_zookeeper_does_not_hear_does_not_deny_an_epoch)
{
    struct broker broker = {.id = ME};
    netloop.broker = &broker;
    log_append_ok(&w, (struct batch_want){.records = 2, .value_bytes = 10}, 3);
    add_part("a");
    cr_assert_eq(asked_in(-1, 2, 4), ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(asked_in(-1, 3, 3), ERR_OK, "it diverges");
    atomic_store(&broker.cut_off, true);
    cr_assert_eq(asked_in(-1, 2, 3), ERR_OK);
    cr_assert_eq(asked_in(-1, 2, 4), ERR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(asked_in(-1, 3, 3), ERR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(asked_in(2, 3, 3), ERR_OK, "it diverges");
}

static int64_t bytes_for(int32_t replica_id)
{
    struct fetch_limits limits = {
        .max_bytes = 1 << 20, .replica_id = replica_id, .zstd_allowed = true};
    struct fetch_item item = {.want = {.topic = STR("a"),
                                       .max_bytes = 1 << 20,
                                       .current_leader_epoch = -1,
                                       .last_fetched_epoch = -1}};
    struct fetch_read read;
    fetch_read_partition(&req, &limits, &item, 1 << 20, true, &read);
    int64_t bytes = read.view != NULL ? read.bytes : 0;
    cr_assert_eq(read.err, ERR_OK);
    fetch_read_end(&read);
    return bytes;
}

/* A client that says it is number -2, a debugger, read what was not committed yet, and might never
 * be. To Kafka it is a consumer. */
Test(fetch_read, only_followers_read_beyond_the_high_watermark)
{
    isr_count = 2;
    log_append_ok(&w, (struct batch_want){.records = 2, .value_bytes = 10}, 3);
    add_part("a");
    cr_assert_eq(atomic_load(&part->offset_hw), 0);
    cr_assert_gt(bytes_for(2), 0);
    cr_assert_eq(bytes_for(-1), 0);
    cr_assert_eq(bytes_for(-2), 0);
}

/* The first batch comes whatever the limit is, or a client would never get beyond it; what follows
 * fits. */
static int64_t taken(int64_t max_bytes, int count)
{
    struct fetch_limits limits = {
        .max_bytes = max_bytes, .replica_id = 2, .leader_only = true, .zstd_allowed = true};
    struct fetch_item item = {.want = {.topic = STR("a"),
                                       .max_bytes = 64 << 20,
                                       .current_leader_epoch = -1,
                                       .last_fetched_epoch = -1}};
    int64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        struct fetch_read read;
        fetch_read_partition(&req, &limits, &item, max_bytes - bytes, bytes == 0, &read);
        cr_assert_eq(read.err, ERR_OK);
        bytes += read.view != NULL ? read.bytes : 0;
        fetch_read_end(&read);
    }
    return bytes;
}

Test(fetch_read, an_answer_is_no_larger_than_it_may_be_but_for_its_first_batch)
{
    log_append_ok(&w, (struct batch_want){.records = 1, .value_bytes = 3000}, 3);
    log_append_ok(&w, (struct batch_want){.records = 1, .value_bytes = 3000}, 3);
    add_part("a");
    int64_t batch = taken(1, 1);
    cr_assert_gt(batch, 3000);
    cr_assert_eq(taken(1, 9), batch);
    cr_assert_eq(taken(-1, 9), batch);
    cr_assert_eq(taken(batch * 3 - 1, 9), batch * 2);
    cr_assert_eq(taken(batch * 3, 9), batch * 3);
    cr_assert_eq(taken(batch * 9, 9), batch * 9);
    cr_assert_eq(taken(batch * 100, 9), batch * 18);
}

/* A hundred thousand small ranges, as many as one request may ask for, were all copied: up to 55
 * MB, for as long as the client liked to take, that no budget counts. */
Test(fetch_read, of_many_small_ranges_only_so_many_are_held_in_memory)
{
    enum { READS = 1000 };
    static struct fetch_read reads[READS];
    log_append_ok(&w, (struct batch_want){.records = 1, .value_bytes = 3000}, 3);
    add_part("a");
    struct fetch_limits limits = {
        .max_bytes = 64 << 20, .replica_id = 2, .leader_only = true, .zstd_allowed = true};
    struct fetch_want want = {.topic = STR("a"),
                              .max_bytes = 64 << 20,
                              .current_leader_epoch = -1,
                              .last_fetched_epoch = -1};
    struct fetch_item item = {.want = want};
    int64_t bytes = 0;
    for (int i = 0; i < READS; i++) {
        fetch_read_partition(&req, &limits, &item, limits.max_bytes - bytes, bytes == 0, &reads[i]);
        cr_assert_eq(reads[i].err, ERR_OK);
        cr_assert(reads[i].range.in_memory);
        cr_assert_gt(reads[i].bytes, 3000);
        bytes += reads[i].bytes;
    }
    cr_expect_not_null(reads[0].copy);
    cr_expect_null(reads[READS - 1].copy, "it is sent from its file");
    cr_expect_lt(arena_size(&req.arena), 2 * FETCH_COPY_ARENA_BYTES);
    for (int i = 0; i < READS; i++) {
        fetch_read_end(&reads[i]);
    }
}
