/* LeaderAndIsr as it is carried out: partitions and their logs. */
#include <criterion/criterion.h>

#include "control/replicas.h"
#include "control/upkeep.h"
#include "control_fixture.h"
#include "controller/config_changes.h"
#include "moves/moves.h"
#include "replica/replicator.h"

struct fixture {
    struct side side;
    int32_t errors[4]; /* of the last response, in its order */
    int32_t errors_count;
};

static void append(struct plog *log, int32_t leader_epoch)
{
    struct buf data = make_batch((struct batch_want){.value_bytes = 10});
    struct plog_batch batch = plog_batch_of(&data);
    plog_append_leader(log, &batch, 1, leader_epoch, LOG_EPOCH_MS);
    cr_assert_eq(batch.err, ERR_OK);
    buf_fini(&data);
}

/* The log of t-0, as an earlier life left it, with a record. */
static void make_log(struct logs *logs)
{
    struct topic_config config = log_config();
    struct logs_entry *entry;
    struct uuid id = {{7}};
    cr_assert_eq(logs_create(logs, STR("t"), 0, id, &config, &entry), ERR_OK);
    logs_settle(logs, NULL, NULL, NULL);
    append(entry->log, 0);
}

static void begin_replication(struct side *side)
{
    struct broker *broker = &side->broker;
    struct replicator_options options = {.control = side->loop,
                                         .loops = &side->loop,
                                         .loops_count = 1,
                                         .meta = &broker->meta,
                                         .parts = &broker->parts,
                                         .listener = "PLAINTEXT",
                                         .epoch = &broker->epoch,
                                         .my_id = ME};
    struct moves_options moves = {.control = side->loop,
                                  .loops = &side->loop,
                                  .loops_count = 1,
                                  .workers = broker->workers,
                                  .logs = broker->logs,
                                  .parts = &broker->parts,
                                  .topic_configs = broker->topic_configs,
                                  .at_once = 1};
    const struct config *config = config_cell_get(&side->config);
    broker->replicator = replicator_new(&options, config);
    broker->moves = moves_new(&moves);
    config_put(config);
}

static void begin(struct fixture *f)
{
    *f = (struct fixture){0};
    side_begin(&f->side);
    make_log(f->side.broker.logs);
    begin_replication(&f->side);
    side_listen(&f->side);
}

static void end(struct fixture *f)
{
    side_stop(&f->side);
    moves_free(f->side.broker.moves);
    replicator_free(f->side.broker.replicator);
    side_end(&f->side);
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

/* t-0, of the topic with this id; replicas are we and broker 2, and nobody leads. */
static void follow(struct fixture *f, uint8_t id, bool in_sync, bool is_new)
{
    int32_t replicas[] = {2, ME};
    struct uuid uuid = {{id}};
    Barnabas__Control__LeaderAndIsrPartition partition =
        BARNABAS__CONTROL__LEADER_AND_ISR_PARTITION__INIT;
    Barnabas__Control__LeaderAndIsrPartition *partitions[] = {&partition};
    Barnabas__Control__LeaderAndIsrTopic topic = BARNABAS__CONTROL__LEADER_AND_ISR_TOPIC__INIT;
    Barnabas__Control__LeaderAndIsrTopic *topics[] = {&topic};
    Barnabas__Control__LeaderAndIsr body = BARNABAS__CONTROL__LEADER_AND_ISR__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&partition, leader, -1);
    control_set(&partition, leader_epoch, 5);
    control_set(&partition, is_new, is_new);
    partition.isr = partition.replicas = replicas;
    partition.n_replicas = 2;
    partition.n_isr = in_sync ? 2 : 1;
    topic.name = "t";
    topic.topic_id = (ProtobufCBinaryData){sizeof(uuid.raw), uuid.raw};
    topic.has_topic_id = true;
    topic.partitions = partitions;
    topic.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__LEADER_AND_ISR);
    request.leader_and_isr = &body;
    side_tell(&f->side, &request, on_reply, f);
    side_run(&f->side);
}

/* t-0 is named twice, in two entries of its topic, of which each has its own id and epoch; we are
 * its only replica. */
static void lead_twice(struct fixture *f, const uint8_t ids[2], const int32_t epochs[2])
{
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
    request.leader_and_isr = &body;
    side_tell(&f->side, &request, on_reply, f);
    side_run(&f->side);
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
    struct part *part = parts_lookup(&f.side.broker.parts, STR("t"), 0);
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
    struct part *part = parts_lookup(&f.side.broker.parts, STR("t"), 0);
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
    cr_assert_eq(logs_find(f.side.broker.logs, STR("t"), 0)->topic_id.raw[0], 7);
    end(&f);
}

/* A topic's id was taken away in ZooKeeper (by a tool of before Kafka 2.8), and it was given
 * another one by a controller that had not known it: each broker that started then deleted what it
 * had. */
Test(lead, a_log_that_is_in_sync_is_not_deleted_for_another_topic_id)
{
    struct fixture f;
    begin(&f);
    follow(&f, 8, true, false);
    cr_assert_eq(f.errors[0], err_wire(ERR_INCONSISTENT_TOPIC_ID));
    struct logs_entry *entry = logs_find(f.side.broker.logs, STR("t"), 0);
    cr_assert_eq(entry->topic_id.raw[0], 7);
    cr_assert_eq(plog_offset_end(entry->log), 1);
    follow(&f, 7, true, false); /* somebody has mended it */
    cr_assert_eq(f.errors[0], 0);
    end(&f);
}

struct set_aside {
    int count;
    char name[256];
};

static enum err find_set_aside(void *arg, const char *name, bool is_dir)
{
    struct set_aside *found = arg;
    if (is_dir && strlen(name) > 6 && strcmp(name + strlen(name) - 6, "-stray") == 0) {
        found->count++;
        snprintf(found->name, sizeof(found->name), "%s", name);
    }
    return ERR_OK;
}

static void expect_set_aside(struct fixture *f)
{
    struct set_aside found = {.count = 0};
    struct fs *fs = fs_sim_fs(f->side.sim);
    const char *dir = logs_dir(f->side.broker.logs, 0)->path;
    cr_assert_eq(fs_list(fs, dir, find_set_aside, &found), ERR_OK);
    cr_assert_eq(found.count, 1);
    char *path = mem_printf("%s/%s/00000000000000000000.log", dir, found.name);
    struct fs_stat st;
    cr_assert_eq(fs_stat(fs, path, &st), ERR_OK);
    cr_assert_gt(st.size_bytes, 0);
    mem_free(path);
}

/* It was left behind when an earlier topic of that name was deleted: we are not in sync, or the
 * partition is new, or it has not come to the epoch of the log. Or ZooKeeper has lost its topics,
 * and somebody has made this one anew: what was left of the records was removed a minute later. */
Test(lead, the_log_of_an_earlier_topic_is_set_aside)
{
    for (int way = 0; way < 3; way++) {
        struct fixture f;
        begin(&f);
        append(logs_find(f.side.broker.logs, STR("t"), 0)->log, way == 2 ? 6 : 0);
        follow(&f, 8, way != 0, way == 1);
        cr_assert_eq(f.errors[0], 0);
        struct logs_entry *entry = logs_find(f.side.broker.logs, STR("t"), 0);
        cr_assert_eq(entry->topic_id.raw[0], 8);
        cr_assert_eq(plog_offset_end(entry->log), 0);
        side_run(&f.side);
        expect_set_aside(&f);
        end(&f);
    }
}

static uint8_t id_of_part(struct fixture *f)
{
    struct part *part = parts_lookup(&f->side.broker.parts, STR("t"), 0);
    uint8_t id = part->topic_id.raw[0];
    part_put(part);
    return id;
}

/* Somebody removed the topic's node, and it was made again: its partition of before lived here, and
 * the new one could not be made before the next start. That has records which nobody else counts
 * on: they are set aside. */
Test(lead, a_living_partition_of_an_earlier_topic_makes_room)
{
    struct fixture f;
    struct netloop netloop = {.parts_posted = false};
    begin(&f);
    netloop.loop = f.side.loop;
    parts_reader_init(&netloop.parts, &f.side.broker.parts);
    f.side.broker.netloops = &netloop;
    follow(&f, 7, true, false);
    cr_assert_eq(f.errors[0], 0);
    follow(&f, 8, true, false); /* as it is where the topic's id was taken away: it stays */
    cr_assert_eq(f.errors[0], err_wire(ERR_INCONSISTENT_TOPIC_ID));
    cr_assert_eq(id_of_part(&f), 7);
    follow(&f, 8, false, true);
    cr_assert_eq(f.errors[0], 0);
    cr_assert_eq(id_of_part(&f), 8);
    struct logs_entry *entry = logs_find(f.side.broker.logs, STR("t"), 0);
    cr_assert_eq(entry->topic_id.raw[0], 8);
    cr_assert_eq(plog_offset_end(entry->log), 0);
    side_run(&f.side);
    expect_set_aside(&f);
    parts_reader_fini(&netloop.parts);
    end(&f);
}

static void on_told(void *arg, struct bytes bytes)
{
    struct arena arena = {0};
    const Barnabas__Control__Response *response;
    (void)arg;
    cr_assert_eq(control_response_unpack(&arena, bytes, &response, NULL), ERR_OK);
    cr_assert_eq(response->error, 0);
    arena_fini(&arena);
}

/* And where we are not among the new topic's replicas. */
Test(lead, the_log_of_an_earlier_topic_is_set_aside_where_only_metadata_tell_of_the_new_one)
{
    struct fixture f;
    int32_t others = 2;
    struct uuid id = {{8}};
    Barnabas__Control__UpdateMetadataPartition partition =
        BARNABAS__CONTROL__UPDATE_METADATA_PARTITION__INIT;
    Barnabas__Control__UpdateMetadataPartition *partitions[] = {&partition};
    Barnabas__Control__UpdateMetadataTopic topic = BARNABAS__CONTROL__UPDATE_METADATA_TOPIC__INIT;
    Barnabas__Control__UpdateMetadataTopic *topics[] = {&topic};
    Barnabas__Control__UpdateMetadata body = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    begin(&f);
    struct config_changes_host host = {0}; /* without a session nothing is read */
    f.side.broker.config_changes = config_changes_new(f.side.loop, &host);
    control_set(&partition, leader, 2);
    partition.isr = partition.replicas = &others;
    partition.n_isr = partition.n_replicas = 1;
    topic.name = "t";
    topic.topic_id = (ProtobufCBinaryData){sizeof(id.raw), id.raw};
    topic.has_topic_id = true;
    topic.partitions = partitions;
    topic.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__UPDATE_METADATA);
    request.update_metadata = &body;
    side_tell(&f.side, &request, on_told, &f);
    side_run(&f.side);
    cr_assert_null(logs_find(f.side.broker.logs, STR("t"), 0));
    expect_set_aside(&f);
    config_changes_free(f.side.broker.config_changes);
    end(&f);
}

/* More segments than retention deletes at a time: it goes on until none is left. */
Test(lead, retention_takes_all_that_may_go)
{
    struct fixture f;
    begin(&f);
    struct plog *log = logs_find(f.side.broker.logs, STR("t"), 0)->log;
    for (int i = 0; i < 3 * PLOG_DELETES_MAX; i++) {
        struct buf data = make_batch((struct batch_want){.first_ms = 1});
        struct plog_batch batch = plog_batch_of(&data);
        plog_append_leader(log, &batch, 1, 0, LOG_EPOCH_MS);
        cr_assert_eq(batch.err, ERR_OK);
        cr_assert_eq(plog_roll(log, LOG_EPOCH_MS), ERR_OK);
        buf_fini(&data);
    }
    lead_twice(&f, (uint8_t[]){7, 7}, (int32_t[]){5, 6});
    struct upkeep *upkeep = replicas_upkeep(control_apply_replicas(f.side.apply));
    upkeep_start(upkeep);
    clock_manual_advance(&f.side.clock, INT64_C(60) * 1000 * 1000 * 1000);
    side_run(&f.side);
    upkeep_stop(upkeep);
    cr_assert_eq(plog_log_start(log), plog_offset_end(log));
    cr_assert_eq(log->segs_count, 1);
    end(&f);
}
