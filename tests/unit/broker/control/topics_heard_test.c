/* What a broker knows of a topic's values while it hears of topics that come, go and come again. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "control_fixture.h"
#include "controller/config_changes.h"
#include "controller/ctl_driver.h"
#include "controller/ctl_state.h"
#include "zk/zk_mem.h"

#define PATH "/config/topics/t"

struct fixture {
    struct side side;
    struct zk_mem *mem;
    struct zk *zk;
    struct config_changes_host host;
    struct ctl_host ctl_host;
};

static void on_session(void *arg, enum zk_session_event event)
{
    (void)arg, (void)event;
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    struct fixture *f = arg;
    config_changes_on_watch(f->side.broker.config_changes, event, path);
}

/* As server/config_follow.c does it. */
static void on_changed(struct config_changes_host *host, struct str type, struct str name,
                       const struct znode_config *config)
{
    struct fixture *f = container_of(host, struct fixture, host);
    cr_assert(str_is(type, "topics"));
    if (config == NULL) {
        topic_configs_forget(f->side.broker.topic_configs, name);
    } else {
        topic_configs_take(f->side.broker.topic_configs, name, config);
    }
}

static void on_loaded(struct config_changes_host *host)
{
    (void)host;
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
    f->side.broker.ctl_driver = ctl_driver_new(f->side.loop, &config, &f->ctl_host);
    ctl_driver_start(f->side.broker.ctl_driver, f->zk);
    side_run(&f->side);
    cr_assert_not_null(ctl_driver_machine(f->side.broker.ctl_driver));
}

static void begin(struct fixture *f)
{
    static const struct zk_events events = {on_session, on_watch};
    struct broker *broker = &f->side.broker;
    *f = (struct fixture){.host = {on_changed, on_loaded}};
    side_begin(&f->side);
    f->mem = zk_mem_new(&f->side.clock.clock, 1);
    zk_mem_poke(f->mem, "/config/changes", "");
    zk_mem_poke(f->mem, "/config/brokers", "");
    zk_mem_poke(f->mem, "/config/topics", "");
    broker->config_changes = config_changes_new(f->side.loop, &f->host);
    side_listen(&f->side);
    struct zk_factory *factory = zk_mem_factory(f->mem);
    f->zk = factory->open(factory, f->side.loop, "any", 6000, &events, f);
    side_run(&f->side);
    begin_controller(f);
    config_changes_start(broker->config_changes, f->zk);
    side_run(&f->side);
}

static void end(struct fixture *f)
{
    config_changes_free(f->side.broker.config_changes);
    ctl_driver_free(f->side.broker.ctl_driver);
    f->zk->ops->close(f->zk);
    side_run(&f->side);
    side_stop(&f->side);
    zk_mem_free(f->mem);
    side_end(&f->side);
}

static void on_reply(void *arg, struct bytes response)
{
    (void)arg, (void)response;
}

/* The controller tells of topic t: its id (0: nothing of it), and who leads it. */
static void tell(struct fixture *f, uint8_t id, int32_t leader, bool complete)
{
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
    request.update_metadata = &update;
    side_tell(&f->side, &request, on_reply, NULL);
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
    topic_configs_get(f->side.broker.topic_configs, STR("t"), &config);
    return config.retention_ms;
}

/* Its deletion is told before its configuration goes, and then it is made again. */
static void make_again(struct fixture *f)
{
    side_run(&f->side);
    zk_mem_poke_remove(f->mem, PATH);
    write_retention(f, "2");
    tell(f, 2, 2, false);
    side_run(&f->side);
    cr_assert_eq(retention(f), 2);
}

Test(topics_heard, values_come_when_a_topic_is_heard_of)
{
    struct fixture f;
    begin(&f);
    tell(&f, 0, 0, true);
    write_retention(&f, "1");
    tell(&f, 1, 2, false);
    side_run(&f.side);
    cr_assert_eq(retention(&f), 1);
    tell(&f, 1, CONTROL_LEADER_DURING_DELETE, false);
    cr_assert_not(topic_configs_known(f.side.broker.topic_configs, STR("t")));
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
    side_run(&f.side);
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
    config_changes_read(f.side.broker.config_changes, STR("topics"), STR("t"), NULL, NULL);
    side_run(&f.side);
    write_retention(&f, "2"); /* nobody has been notified yet */
    tell(&f, 1, 2, true);
    tell(&f, 1, 2, false);
    side_run(&f.side);
    cr_assert_eq(retention(&f), 1);
    end(&f);
}

/* The controller kept an entry for each deleted topic that had such values. */
Test(topics_heard, the_values_of_a_deleted_topic_are_forgotten_by_the_controller_too)
{
    for (int missed = 0; missed <= 1; missed++) {
        struct fixture f;
        begin(&f);
        const struct ctl *ctl = ctl_driver_machine(f.side.broker.ctl_driver);
        tell(&f, 1, 2, false);
        side_run(&f.side);
        ctl_driver_set_unclean(f.side.broker.ctl_driver, STR("t"), 1);
        ctl_driver_set_min_insync(f.side.broker.ctl_driver, STR("t"), 2);
        cr_assert_not_null(ctl->unclean);
        cr_assert_not_null(ctl->min_insync);
        if (missed) {
            side_register(&f.side, 2);
            tell(&f, 0, 0, true);
        } else {
            tell(&f, 1, CONTROL_LEADER_DURING_DELETE, false);
        }
        cr_assert_null(ctl->unclean);
        cr_assert_null(ctl->min_insync);
        end(&f);
    }
}
