/* LeaderAndIsr as it is carried out: partitions and their logs. */
#include <criterion/criterion.h>

#include "../log/log_fixture.h"
#include "api/broker.h"
#include "base/log.h"
#include "control/control.h"
#include "control/control_apply.h"
#include "groups/groups.h"
#include "log/logs.h"
#include "moves/moves.h"
#include "replica/replicator.h"
#include "rt/worker.h"
#include "topics/topic_configs.h"

enum { ME = 1 };

struct fixture {
    struct clock_manual clock;
    struct loop *loop;
    struct fs_sim *sim;
    struct config_cell config;
    struct broker broker;
    struct control_apply *apply;
    int32_t errors[4]; /* of the last response, in its order */
    int32_t errors_count;
};

static void run(struct fixture *f)
{
    while (loop_turn(f->loop) || worker_pool_step(f->broker.workers)) {
    }
}

static void on_metadata(void *arg, int64_t broker_epoch)
{
    (void)arg, (void)broker_epoch;
}

/* With the log of t-0, as an earlier life left it. */
static void open_logs(struct fixture *f)
{
    static const char *const names[] = {"/a"};
    struct errmsg msg;
    struct topic_config config = log_config();
    struct logs_entry *entry;
    struct uuid id = {{7}};
    struct logs_options options = {.fs = fs_sim_fs(f->sim),
                                   .clock = &f->clock.clock,
                                   .workers = f->broker.workers,
                                   .dirs = names,
                                   .dirs_count = 1,
                                   .producer_expiration_ms = 1000};
    cr_assert_eq(logs_open(&options, &f->broker.logs, &msg), ERR_OK);
    cr_assert_eq(logs_load(f->broker.logs, NULL, NULL, &msg), ERR_OK);
    cr_assert_eq(logs_create(f->broker.logs, STR("t"), 0, id, &config, &entry), ERR_OK);
    logs_settle(f->broker.logs, NULL, NULL, NULL);
}

static void begin_replication(struct fixture *f, const struct config *config)
{
    struct replicator_options options = {.control = f->loop,
                                         .loops = &f->loop,
                                         .loops_count = 1,
                                         .meta = &f->broker.meta,
                                         .parts = &f->broker.parts,
                                         .listener = "PLAINTEXT",
                                         .epoch = &f->broker.epoch,
                                         .my_id = ME};
    struct moves_options moves = {.control = f->loop,
                                  .loops = &f->loop,
                                  .loops_count = 1,
                                  .workers = f->broker.workers,
                                  .logs = f->broker.logs,
                                  .parts = &f->broker.parts,
                                  .topic_configs = f->broker.topic_configs,
                                  .at_once = 1};
    f->broker.replicator = replicator_new(&options, config);
    f->broker.moves = moves_new(&moves);
}

static void begin(struct fixture *f)
{
    struct config_pair pair = {"zookeeper.connect", "z:1"};
    struct config *config;
    struct errmsg msg;
    *f = (struct fixture){.sim = fs_sim_new(1)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    clock_manual_init(&f->clock, LOG_EPOCH_MS);
    f->loop = loop_new("control", -1, &f->clock.clock);
    cr_assert_eq(config_from_pairs(&pair, 1, &config, &msg), ERR_OK);
    config_cell_init(&f->config, config);
    f->broker.id = ME;
    f->broker.env.clock = &f->clock.clock;
    f->broker.control = f->loop;
    f->broker.netloops_count = 1;
    f->broker.config = &f->config;
    f->broker.topic_configs = topic_configs_new(&f->config);
    f->broker.workers = worker_pool_new("test", 0);
    struct groups_options groups = {.loop = f->loop};
    grp_config_default(&groups.config);
    f->broker.groups = groups_new(&groups);
    meta_cell_init(&f->broker.meta);
    parts_init(&f->broker.parts);
    open_logs(f);
    begin_replication(f, config);
    f->apply = control_apply_new(&f->broker, on_metadata, NULL);
    control_apply_set_broker_epoch(f->apply, 1);
}

static void end(struct fixture *f)
{
    control_apply_free(f->apply);
    moves_free(f->broker.moves);
    replicator_free(f->broker.replicator);
    parts_fini(&f->broker.parts);
    run(f);
    logs_free(f->broker.logs);
    meta_cell_fini(&f->broker.meta);
    groups_free(f->broker.groups);
    worker_pool_free(f->broker.workers);
    topic_configs_free(f->broker.topic_configs);
    config_cell_fini(&f->config);
    loop_free(f->loop);
    fs_sim_free(f->sim);
}

static void on_reply(void *arg, struct bytes bytes)
{
    struct fixture *f = arg;
    struct arena arena = {0};
    const Barnabas__Control__Response *response;
    cr_assert_eq(control_response_unpack(&arena, bytes, &response, NULL), ERR_OK);
    f->errors_count = 0;
    for (size_t i = 0; response->error == 0 && i < response->leader_and_isr->n_topics; i++) {
        const Barnabas__Control__TopicErrors *topic = response->leader_and_isr->topics[i];
        for (size_t j = 0; j < topic->n_partitions; j++) {
            f->errors[f->errors_count++] = topic->partitions[j]->error;
        }
    }
    arena_fini(&arena);
}

/* t-0 is named twice, in two entries of its topic, of which each has its own id and epoch; we are
 * its only replica. */
static void lead_twice(struct fixture *f, const uint8_t ids[2], const int32_t epochs[2])
{
    struct buf bytes = {0};
    int32_t me = ME;
    struct uuid uuids[2];
    Barnabas__Control__LeaderAndIsrPartition partitions[2];
    Barnabas__Control__LeaderAndIsrPartition *named[2];
    Barnabas__Control__LeaderAndIsrTopic topics[2];
    Barnabas__Control__LeaderAndIsrTopic *list[2];
    Barnabas__Control__LeaderAndIsr body = BARNABAS__CONTROL__LEADER_AND_ISR__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    for (int i = 0; i < 2; i++) {
        uuids[i] = (struct uuid){{ids[i]}};
        named[i] = &partitions[i];
        barnabas__control__leader_and_isr_partition__init(&partitions[i]);
        control_set(&partitions[i], leader, ME);
        control_set(&partitions[i], leader_epoch, epochs[i]);
        partitions[i].isr = partitions[i].replicas = &me;
        partitions[i].n_isr = partitions[i].n_replicas = 1;
        barnabas__control__leader_and_isr_topic__init(&topics[i]);
        topics[i].name = "t";
        topics[i].topic_id = (ProtobufCBinaryData){sizeof(uuids[i].raw), uuids[i].raw};
        topics[i].has_topic_id = true;
        topics[i].partitions = &named[i];
        topics[i].n_partitions = 1;
        list[i] = &topics[i];
    }
    body.topics = list;
    body.n_topics = 2;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__LEADER_AND_ISR);
    control_set(&request, controller_epoch, 1);
    control_set(&request, broker_epoch, 1);
    request.leader_and_isr = &body;
    control_request_pack(&request, &bytes);
    control_apply_request(f->apply, (struct bytes){bytes.data, bytes.size}, on_reply, f);
    buf_fini(&bytes);
    run(f);
}

/* There were two partitions on one log, of which the first was in no table any more: nobody would
 * ever have told it that it does not lead. */
Test(lead, a_partition_that_is_named_twice_is_made_once)
{
    struct fixture f;
    begin(&f);
    lead_twice(&f, (uint8_t[]){7, 7}, (int32_t[]){5, 5});
    cr_assert_eq(f.errors_count, 2);
    cr_assert_eq(f.errors[0], 0);
    cr_assert_eq(f.errors[1], err_wire(ERR_STALE_CONTROLLER_EPOCH));
    struct part *part = parts_lookup(&f.broker.parts, STR("t"), 0);
    cr_assert_eq(part_now(part).role, PART_LEADER);
    part_put(part);
    end(&f);
}

Test(lead, of_a_partition_that_is_named_twice_the_later_epoch_stays)
{
    struct fixture f;
    begin(&f);
    lead_twice(&f, (uint8_t[]){7, 7}, (int32_t[]){5, 6});
    cr_assert_eq(f.errors[0], 0);
    cr_assert_eq(f.errors[1], 0);
    struct part *part = parts_lookup(&f.broker.parts, STR("t"), 0);
    cr_assert_eq(part_now(part).leader_epoch, 6);
    part_put(part);
    end(&f);
}

/* The second one took the log of the first for one of an earlier topic, and deleted it. */
Test(lead, a_partition_that_is_named_with_two_topic_ids_keeps_its_log)
{
    struct fixture f;
    begin(&f);
    lead_twice(&f, (uint8_t[]){7, 8}, (int32_t[]){5, 6});
    cr_assert_eq(f.errors[0], 0);
    cr_assert_eq(f.errors[1], err_wire(ERR_INCONSISTENT_TOPIC_ID));
    cr_assert_eq(logs_find(f.broker.logs, STR("t"), 0)->topic_id.raw[0], 7);
    end(&f);
}
