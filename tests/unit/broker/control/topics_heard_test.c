/* What a broker knows of a topic's values while it hears of topics that come, go and come again. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "../log/log_fixture.h"
#include "api/broker.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/control.h"
#include "control/control_apply.h"
#include "controller/config_changes.h"
#include "controller/ctl_driver.h"
#include "controller/ctl_state.h"
#include "groups/groups.h"
#include "log/logs.h"
#include "rt/worker.h"
#include "topics/topic_configs.h"
#include "zk/zk_mem.h"

#define PATH "/config/topics/t"

struct fixture {
    struct clock_manual clock;
    struct loop *loop;
    struct zk_mem *mem;
    struct zk *zk;
    struct fs_sim *sim;
    struct config_cell config;
    struct config_changes_host host;
    struct ctl_host ctl_host;
    struct broker broker;
    int64_t epoch; /* of its registration */
    struct control_apply *apply;
};

static void run(struct fixture *f)
{
    while (loop_turn(f->loop)) {
    }
}

static void on_session(void *arg, enum zk_session_event event)
{
    (void)arg, (void)event;
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    struct fixture *f = arg;
    config_changes_on_watch(f->broker.config_changes, event, path);
}

/* As server/config_follow.c does it. */
static void on_changed(struct config_changes_host *host, struct str type, struct str name,
                       const struct znode_config *config)
{
    struct fixture *f = container_of(host, struct fixture, host);
    cr_assert(str_is(type, "topics"));
    if (config == NULL) {
        topic_configs_forget(f->broker.topic_configs, name);
    } else {
        topic_configs_take(f->broker.topic_configs, name, config);
    }
}

static void on_loaded(struct config_changes_host *host)
{
    (void)host;
}

static void on_metadata(void *arg, int64_t broker_epoch)
{
    (void)arg, (void)broker_epoch;
}

static void on_controller(struct ctl_host *host, int32_t controller_id, int32_t epoch)
{
    (void)host, (void)controller_id, (void)epoch;
}

/* One that reigns, without a broker to send anything to. */
static void begin_controller(struct fixture *f)
{
    struct ctl_config config = {.broker_id = 1, .delete_topics = true, .seed = 1};
    f->ctl_host.controller_changed = on_controller;
    f->broker.ctl_driver = ctl_driver_new(f->loop, &config, &f->ctl_host);
    ctl_driver_start(f->broker.ctl_driver, f->zk);
    run(f);
    cr_assert_not_null(ctl_driver_machine(f->broker.ctl_driver));
}

static void open_logs(struct fixture *f)
{
    static const char *const names[] = {"/a"};
    struct errmsg msg;
    struct logs_options options = {.fs = fs_sim_fs(f->sim),
                                   .clock = &f->clock.clock,
                                   .workers = f->broker.workers,
                                   .dirs = names,
                                   .dirs_count = 1,
                                   .producer_expiration_ms = 1000};
    cr_assert_eq(logs_open(&options, &f->broker.logs, &msg), ERR_OK);
    cr_assert_eq(logs_load(f->broker.logs, NULL, NULL, &msg), ERR_OK);
}

static void begin(struct fixture *f)
{
    static const struct zk_events events = {on_session, on_watch};
    struct config_pair pair = {"zookeeper.connect", "z:1"};
    struct config *config;
    struct errmsg msg;
    *f = (struct fixture){.sim = fs_sim_new(1), .host = {on_changed, on_loaded}};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    clock_manual_init(&f->clock, LOG_EPOCH_MS);
    f->loop = loop_new("control", -1, &f->clock.clock);
    f->mem = zk_mem_new(&f->clock.clock, 1);
    zk_mem_poke(f->mem, "/config/changes", "");
    zk_mem_poke(f->mem, "/config/brokers", "");
    zk_mem_poke(f->mem, "/config/topics", "");
    cr_assert_eq(config_from_pairs(&pair, 1, &config, &msg), ERR_OK);
    config_cell_init(&f->config, config);
    f->broker.id = 1;
    f->broker.control = f->loop;
    f->broker.config = &f->config;
    f->broker.topic_configs = topic_configs_new(&f->config);
    f->broker.workers = worker_pool_new("test", 0);
    struct groups_options groups = {.loop = f->loop};
    grp_config_default(&groups.config);
    f->broker.groups = groups_new(&groups);
    meta_cell_init(&f->broker.meta);
    parts_init(&f->broker.parts);
    open_logs(f);
    f->broker.config_changes = config_changes_new(f->loop, &f->host);
    f->apply = control_apply_new(&f->broker, on_metadata, NULL);
    f->epoch = 1;
    control_apply_set_broker_epoch(f->apply, f->epoch);
    struct zk_factory *factory = zk_mem_factory(f->mem);
    f->zk = factory->open(factory, f->loop, "any", 6000, &events, f);
    run(f);
    begin_controller(f);
    config_changes_start(f->broker.config_changes, f->zk);
    run(f);
}

static void end(struct fixture *f)
{
    config_changes_free(f->broker.config_changes);
    ctl_driver_free(f->broker.ctl_driver);
    f->zk->ops->close(f->zk);
    run(f);
    control_apply_free(f->apply);
    while (worker_pool_step(f->broker.workers)) {
    }
    logs_free(f->broker.logs);
    parts_fini(&f->broker.parts);
    meta_cell_fini(&f->broker.meta);
    groups_free(f->broker.groups);
    worker_pool_free(f->broker.workers);
    topic_configs_free(f->broker.topic_configs);
    config_cell_fini(&f->config);
    zk_mem_free(f->mem);
    loop_free(f->loop);
    fs_sim_free(f->sim);
}

static void on_reply(void *arg, struct bytes response)
{
    (void)arg, (void)response;
}

/* The controller tells of topic t: its id (0: nothing of it), and who leads it. */
static void tell(struct fixture *f, uint8_t id, int32_t leader, bool complete)
{
    struct buf bytes = {0};
    struct uuid uuid = {{id}};
    int32_t two = 2;
    Barnabas__Control__UpdateMetadataPartition partition =
        BARNABAS__CONTROL__UPDATE_METADATA_PARTITION__INIT;
    Barnabas__Control__UpdateMetadataPartition *partitions[] = {&partition};
    Barnabas__Control__UpdateMetadataTopic topic = BARNABAS__CONTROL__UPDATE_METADATA_TOPIC__INIT;
    Barnabas__Control__UpdateMetadataTopic *topics[] = {&topic};
    Barnabas__Control__UpdateMetadata update = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&partition, leader, leader);
    partition.replicas = &two;
    partition.n_replicas = 1;
    topic.name = "t";
    topic.topic_id = (ProtobufCBinaryData){sizeof(uuid.raw), uuid.raw};
    topic.partitions = partitions;
    topic.n_partitions = 1;
    update.topics = topics;
    update.n_topics = id != 0 ? 1 : 0;
    control_set(&update, complete, complete);
    control_set(&request, kind, BARNABAS__CONTROL__KIND__UPDATE_METADATA);
    control_set(&request, controller_epoch, 1);
    control_set(&request, broker_epoch, f->epoch);
    request.update_metadata = &update;
    control_request_pack(&request, &bytes);
    control_apply_request(f->apply, (struct bytes){bytes.data, bytes.size}, on_reply, NULL);
    buf_fini(&bytes);
}

static void write_retention(struct fixture *f, const char *ms)
{
    char text[100];
    snprintf(text, sizeof(text), "{\"version\":1,\"config\":{\"retention.ms\":\"%s\"}}", ms);
    zk_mem_poke(f->mem, PATH, text);
}

static void notify(struct fixture *f)
{
    zk_mem_poke(f->mem, "/config/changes/config_change_0000000000",
                "{\"version\":2,\"entity_path\":\"topics/t\"}");
}

static int64_t retention(struct fixture *f)
{
    struct topic_config config;
    topic_configs_get(f->broker.topic_configs, STR("t"), &config);
    return config.retention_ms;
}

/* Its deletion is told before its configuration goes, and then it is made again. */
static void make_again(struct fixture *f)
{
    run(f);
    zk_mem_poke_remove(f->mem, PATH);
    write_retention(f, "2");
    tell(f, 2, 2, false);
    run(f);
    cr_assert_eq(retention(f), 2);
}

Test(topics_heard, values_come_when_a_topic_is_heard_of)
{
    struct fixture f;
    begin(&f);
    tell(&f, 0, 0, true);
    write_retention(&f, "1");
    tell(&f, 1, 2, false);
    run(&f);
    cr_assert_eq(retention(&f), 1);
    tell(&f, 1, CONTROL_LEADER_DURING_DELETE, false);
    cr_assert_not(topic_configs_known(f.broker.topic_configs, STR("t")));
    make_again(&f);
    end(&f);
}

Test(topics_heard, a_read_under_way_while_a_deletion_is_told_leaves_nothing_to_the_next_topic)
{
    struct fixture f;
    begin(&f);
    tell(&f, 0, 0, true);
    write_retention(&f, "1");
    tell(&f, 1, 2, false);
    tell(&f, 1, CONTROL_LEADER_DURING_DELETE, false);
    make_again(&f);
    end(&f);
}

Test(topics_heard, a_notification_after_a_deletion_was_told_leaves_nothing_to_the_next_topic)
{
    struct fixture f;
    begin(&f);
    tell(&f, 0, 0, true);
    write_retention(&f, "1");
    tell(&f, 1, 2, false);
    run(&f);
    tell(&f, 1, CONTROL_LEADER_DURING_DELETE, false);
    notify(&f);
    make_again(&f);
    end(&f);
}

/* Those of which a broker first hears were read when the session began; each once more would be as
 * many reads as there are topics. */
Test(topics_heard, what_was_read_at_the_start_is_not_read_again)
{
    struct fixture f;
    begin(&f);
    write_retention(&f, "1");
    config_changes_read(f.broker.config_changes, STR("topics"), STR("t"), NULL, NULL);
    run(&f);
    write_retention(&f, "2"); /* nobody has been notified yet */
    tell(&f, 1, 2, true);
    tell(&f, 1, 2, false);
    run(&f);
    cr_assert_eq(retention(&f), 1);
    end(&f);
}

/* The controller kept an entry for each deleted topic that had such values. */
Test(topics_heard, the_values_of_a_deleted_topic_are_forgotten_by_the_controller_too)
{
    for (int missed = 0; missed <= 1; missed++) {
        struct fixture f;
        begin(&f);
        const struct ctl *ctl = ctl_driver_machine(f.broker.ctl_driver);
        tell(&f, 1, 2, false);
        run(&f);
        ctl_driver_set_unclean(f.broker.ctl_driver, STR("t"), 1);
        ctl_driver_set_min_insync(f.broker.ctl_driver, STR("t"), 2);
        cr_assert_not_null(ctl->unclean);
        cr_assert_not_null(ctl->min_insync);
        if (missed) {
            control_apply_set_broker_epoch(f.apply, 2);
            f.epoch = 2;
            tell(&f, 0, 0, true);
        } else {
            tell(&f, 1, CONTROL_LEADER_DURING_DELETE, false);
        }
        cr_assert_null(ctl->unclean);
        cr_assert_null(ctl->min_insync);
        end(&f);
    }
}
