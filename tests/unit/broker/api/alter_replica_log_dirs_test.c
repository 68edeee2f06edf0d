/* AlterReplicaLogDirs of very many partitions, on one loop that is the control loop, too. */
#include "client_fixture.h"

#include "fs/fs_sim.h"
#include "log/logs.h"
#include "moves/moves.h"

enum { VERSION = 1, HEAD_BYTES = 8, MANY = 50000 };

static struct fs_sim *sim;

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg, (void)topic;
    *out = (struct topic_config){0};
}

static void begin(void)
{
    static const char *const dirs[] = {"/a"};
    struct errmsg msg = {""};
    world_init();
    sim = fs_sim_new(1);
    broker.control = netloop.loop;
    parts_init(&broker.parts);
    struct logs_options logs_options = {
        .fs = fs_sim_fs(sim), .clock = &test_clock.clock, .dirs = dirs, .dirs_count = 1};
    cr_assert_eq(logs_open(&logs_options, &broker.logs, &msg), ERR_OK, "%s", msg.text);
    cr_assert_eq(logs_load(broker.logs, config_of, NULL, &msg), ERR_OK, "%s", msg.text);
    struct moves_options options = {.control = netloop.loop,
                                    .loops = &netloop.loop,
                                    .loops_count = 1,
                                    .logs = broker.logs,
                                    .parts = &broker.parts,
                                    .at_once = 1};
    broker.moves = moves_new(&options);
}

static void end(void)
{
    moves_free(broker.moves);
    logs_free(broker.logs);
    parts_fini(&broker.parts);
    world_fini();
    fs_sim_free(sim);
}

TestSuite(alter_replica_log_dirs, .init = begin, .fini = end);

/* They were worked off in one turn, two million of them in 2.6 s, while all that wanted the control
 * loop waited. */
Test(alter_replica_log_dirs, of_very_many_partitions_lets_others_have_the_control_loop)
{
    static int32_t partitions[MANY];
    struct alter_replica_log_dirs_request_alter_replica_log_dir_topic topics[] = {
        {.name = STR("none")},
        {.name = STR("nowhere"), .partitions = partitions, .partitions_count = MANY}};
    struct alter_replica_log_dirs_request_alter_replica_log_dir dirs[] = {
        {.path = STR("/empty")}, {.path = STR("/b"), .topics = topics, .topics_count = 2}};
    struct alter_replica_log_dirs_request request = {.dirs = dirs, .dirs_count = 2};
    struct fake_stream *fake = connection();
    struct arena arena = {0};
    for (int i = 0; i < MANY; i++) {
        partitions[i] = i;
    }
    put_request(fake, API_ALTER_REPLICA_LOG_DIRS, VERSION, 1, &request);
    int turns = 0;
    loop_task_init(&step_tasks[0], on_step);
    loop_defer(netloop.loop, &step_tasks[0]);
    for (; fake->out.size == 0 && loop_turn(netloop.loop); turns++) {
    }
    cr_assert_gt(turns, 10);
    settle();
    struct alter_replica_log_dirs_response *reply =
        codec_array(&alter_replica_log_dirs_response_desc, &arena, 1);
    struct bytes body = {fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES};
    cr_assert_eq(
        codec_decode(&alter_replica_log_dirs_response_desc, VERSION, body, &arena, reply, NULL),
        ERR_OK);
    cr_assert_eq(reply->results_count, 2);
    cr_assert(str_is(reply->results[0].topic_name, "none"));
    cr_assert_eq(reply->results[0].partitions_count, 0);
    cr_assert_eq(reply->results[1].partitions_count, MANY);
    for (int i = 0; i < MANY; i++) {
        cr_assert_eq(reply->results[1].partitions[i].partition_index, i);
        cr_assert_eq(reply->results[1].partitions[i].error_code, err_wire(ERR_LOG_DIR_NOT_FOUND));
    }
    arena_fini(&arena);
}
