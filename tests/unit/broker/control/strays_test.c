/* Copies that are not this broker's any more: what counts as one, and what stays. */
#include "control/strays.h"

#include <criterion/criterion.h>

#include "../log/log_fixture.h"
#include "log/logs.h"
#include "rt/worker.h"

enum { ME = 3 };

static const struct uuid old_id = {{1}};
static const struct uuid new_id = {{2}};

struct fixture {
    struct fs_sim *sim;
    struct clock_manual clock;
    struct worker_pool *workers;
    struct logs *logs;
    struct arena arena;
};

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    (void)arg;
    (void)topic;
    *out = log_config();
}

/* A broker with the log of t-0, of the topic `id`. */
static void begin(struct fixture *f, struct uuid id)
{
    static const char *const names[] = {"/a"};
    struct topic_config config = log_config();
    struct logs_entry *entry;
    struct errmsg msg;
    *f = (struct fixture){.sim = fs_sim_new(1)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    f->workers = worker_pool_new("test", 0);
    clock_manual_init(&f->clock, LOG_EPOCH_MS);
    struct logs_options options = {.fs = fs_sim_fs(f->sim),
                                   .clock = &f->clock.clock,
                                   .workers = f->workers,
                                   .dirs = names,
                                   .dirs_count = 1,
                                   .producer_expiration_ms = 1000};
    cr_assert_eq(logs_open(&options, &f->logs, &msg), ERR_OK);
    cr_assert_eq(logs_load(f->logs, config_of, NULL, &msg), ERR_OK);
    cr_assert_eq(logs_create(f->logs, STR("t"), 0, id, &config, &entry), ERR_OK);
}

static void end(struct fixture *f)
{
    while (worker_pool_step(f->workers)) {
    }
    logs_free(f->logs);
    worker_pool_free(f->workers);
    arena_fini(&f->arena);
    fs_sim_free(f->sim);
}

/* What the metadata says of t-0. */
struct said {
    struct uuid id;
    int32_t leader;
    int32_t replicas[3]; /* 0 ends */
    int32_t isr[3];
};

static size_t count_of(const int32_t *ids)
{
    size_t count = 0;
    while (count < 3 && ids[count] != 0) {
        count++;
    }
    return count;
}

enum verdict { STAYS, IS_DELETED, IS_SET_ASIDE };

static enum verdict verdict(struct fixture *f, struct said said)
{
    Barnabas__Control__UpdateMetadataPartition partition =
        BARNABAS__CONTROL__UPDATE_METADATA_PARTITION__INIT;
    Barnabas__Control__UpdateMetadataPartition *partitions[] = {&partition};
    Barnabas__Control__UpdateMetadataTopic topic = BARNABAS__CONTROL__UPDATE_METADATA_TOPIC__INIT;
    Barnabas__Control__UpdateMetadataTopic *topics[] = {&topic};
    Barnabas__Control__UpdateMetadata update = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    control_set(&partition, partition, 0);
    control_set(&partition, leader, said.leader);
    partition.replicas = said.replicas;
    partition.n_replicas = count_of(said.replicas);
    partition.isr = said.isr;
    partition.n_isr = count_of(said.isr);
    topic.name = (char *)"t";
    control_set(&topic, topic_id, control_topic_id(&f->arena, said.id));
    topic.partitions = partitions;
    topic.n_partitions = 1;
    update.topics = topics;
    update.n_topics = 1;
    const Barnabas__Control__StopReplica *found = strays_find(&f->arena, f->logs, ME, &update);
    if (found == NULL) {
        return STAYS;
    }
    cr_assert_eq(found->n_topics, 1);
    cr_assert_eq(found->topics[0]->n_partitions, 1);
    cr_assert_str_eq(found->topics[0]->name, "t");
    cr_assert_eq(found->topics[0]->partitions[0]->partition, 0);
    cr_assert_neq(found->topics[0]->partitions[0]->delete_,
                  found->topics[0]->partitions[0]->set_aside);
    return found->topics[0]->partitions[0]->delete_ ? IS_DELETED : IS_SET_ASIDE;
}

static bool is_stray(struct fixture *f, struct said said)
{
    enum verdict found = verdict(f, said);
    cr_assert_neq(found, IS_SET_ASIDE);
    return found == IS_DELETED;
}

/* Taken out of the replicas while it was away. */
Test(strays, a_copy_that_others_have_is_one)
{
    struct fixture f;
    begin(&f, old_id);
    cr_assert(is_stray(&f, (struct said){old_id, 1, {1, 2}, {1}}));
    end(&f);
}

/* It is a replica, or was one when the ISR was written: nothing may be lost. */
Test(strays, a_replica_is_none)
{
    struct fixture f;
    begin(&f, old_id);
    cr_assert_not(is_stray(&f, (struct said){old_id, 1, {1, ME}, {1}}));
    cr_assert_not(is_stray(&f, (struct said){old_id, 1, {1, 2}, {1, ME}}));
    end(&f);
}

/* While nobody leads, this may be the last copy. */
Test(strays, not_while_nobody_leads)
{
    struct fixture f;
    begin(&f, old_id);
    cr_assert_not(is_stray(&f, (struct said){old_id, -1, {1, 2}, {1}}));
    cr_assert_not(is_stray(&f, (struct said){old_id, 1, {0}, {0}}));
    end(&f);
}

/* The topic is being deleted, or was, and another one has its name. */
Test(strays, of_a_topic_that_is_deleted)
{
    struct fixture f;
    begin(&f, old_id);
    cr_assert(is_stray(&f, (struct said){old_id, CONTROL_LEADER_DURING_DELETE, {1, 2}, {1, 2}}));
    cr_assert_not(
        is_stray(&f, (struct said){old_id, CONTROL_LEADER_DURING_DELETE, {1, ME}, {1, ME}}));
    cr_assert(is_stray(&f, (struct said){new_id, 1, {1, 2}, {1}}));
    cr_assert(is_stray(&f, (struct said){new_id, -1, {1, 2}, {1}}));
    end(&f);
}

static void append(struct fixture *f)
{
    struct buf data = make_batch((struct batch_want){.records = 1, .value_bytes = 10});
    struct plog_batch batch = plog_batch_of(&data);
    struct logs_entry *entry = logs_find(f->logs, STR("t"), 0);
    plog_append_leader(entry->log, &batch, 1, 0, clock_wall_ms(&f->clock.clock));
    cr_assert_eq(batch.err, ERR_OK);
    buf_fini(&data);
}

/* ZooKeeper had lost its topics, and one was made anew with replicas elsewhere: what was left of
 * the records was deleted. */
Test(strays, records_of_another_topic_id_are_set_aside)
{
    struct fixture f;
    begin(&f, old_id);
    append(&f);
    cr_assert_eq(verdict(&f, (struct said){new_id, 1, {1, 2}, {1}}), IS_SET_ASIDE);
    cr_assert_eq(verdict(&f, (struct said){old_id, 1, {1, 2}, {1}}), IS_DELETED);
    cr_assert_eq(verdict(&f, (struct said){old_id, CONTROL_LEADER_DURING_DELETE, {1, 2}, {1, 2}}),
                 IS_DELETED);
    end(&f);
}

/* A topic was deleted and made again at once; a broker that had no replica of the first and leads
 * the second heard of the end of the first only then, and deleted the second. */
Test(strays, not_when_an_earlier_topic_of_that_name_is_deleted)
{
    struct fixture f;
    begin(&f, new_id);
    cr_assert_not(
        is_stray(&f, (struct said){old_id, CONTROL_LEADER_DURING_DELETE, {1, 2}, {1, 2}}));
    end(&f);
}

/* A log without an id may be of any topic of that name. */
Test(strays, not_without_an_id)
{
    struct fixture f;
    begin(&f, (struct uuid){{0}});
    append(&f);
    cr_assert_not(is_stray(&f, (struct said){old_id, 1, {1, 2}, {1}}));
    end(&f);
    begin(&f, old_id);
    cr_assert_not(is_stray(&f, (struct said){{{0}}, 1, {1, 2}, {1}}));
    end(&f);
}

/* A disk was full when a log was to be made: its folder stayed there for ever, after the partition
 * had been moved to other brokers. */
Test(strays, an_empty_log_without_an_id_is_one)
{
    struct fixture f;
    begin(&f, (struct uuid){{0}});
    cr_assert(is_stray(&f, (struct said){old_id, 1, {1, 2}, {1}}));
    cr_assert_not(is_stray(&f, (struct said){old_id, 1, {1, ME}, {1}}));
    end(&f);
}
