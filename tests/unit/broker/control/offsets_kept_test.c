/* What becomes of committed offsets when the controller does not speak of topics any more. */
#include <criterion/criterion.h>

#include "control_fixture.h"
#include "controller/config_changes.h"
#include "controller/ctl_driver.h"

#define OFFSETS "__consumer_offsets"

struct fixture {
    struct side side;
    struct ctl_host ctl_host;
    struct config_changes_host changes_host; /* there is no session: nothing is told */
    struct part *part;                       /* OFFSETS-0, which we lead */
    struct loop_msg msg;
    struct actor_msg in_actor;
    struct group_call commit;
    enum err committed;
};

static void lead_in_actor(struct actor *actor, struct actor_msg *msg)
{
    static const int32_t me = ME;
    struct part_state state = {.leader = ME,
                               .leader_epoch = 1,
                               .isr = &me,
                               .isr_count = 1,
                               .replicas = &me,
                               .replicas_count = 1};
    (void)msg;
    cr_assert_eq(part_apply(container_of(actor, struct part, actor), &state), ERR_OK);
}

static void close_in_actor(struct actor *actor, struct actor_msg *msg)
{
    (void)msg;
    part_close(container_of(actor, struct part, actor));
}

static void post_in_loop(struct loop_msg *msg)
{
    struct fixture *f = container_of(msg, struct fixture, msg);
    part_post(f->part, &f->in_actor);
}

static void in_actor(struct fixture *f, void (*fn)(struct actor *actor, struct actor_msg *msg))
{
    f->in_actor.fn = fn;
    f->msg.fn = post_in_loop;
    loop_post(f->side.loop, &f->msg);
    side_run(&f->side);
}

static void lead_offsets(struct fixture *f)
{
    struct broker *broker = &f->side.broker;
    struct topic_config config = log_config();
    struct logs_entry *entry;
    struct uuid id = {{9}};
    cr_assert_eq(logs_create(broker->logs, STR(OFFSETS), 0, id, &config, &entry), ERR_OK);
    logs_settle(broker->logs, NULL, NULL, NULL);
    struct part_options options = {.topic = STR(OFFSETS),
                                   .loop_count = 1,
                                   .clock = &f->side.clock.clock,
                                   .home = f->side.loop,
                                   .my_id = ME};
    f->part = part_new(&options, entry->log, -1);
    part_configure(f->part, &config);
    groups_attach(broker->groups, f->part);
    struct parts_change change = {STR(OFFSETS), 0, part_get(f->part)};
    parts_edit(&broker->parts, &change, 1);
    in_actor(f, lead_in_actor);
}

static void on_controller(struct ctl_host *host, int32_t controller_id, int32_t epoch)
{
    (void)host, (void)controller_id, (void)epoch;
}

static void begin(struct fixture *f)
{
    struct ctl_config config = {.broker_id = ME, .delete_topics = true, .seed = 1};
    *f = (struct fixture){.committed = ERR_TIMEOUT};
    f->ctl_host.controller_changed = on_controller;
    side_begin(&f->side);
    f->side.broker.ctl_driver = ctl_driver_new(f->side.loop, &config, &f->ctl_host);
    f->side.broker.config_changes = config_changes_new(f->side.loop, &f->changes_host);
    groups_set_partitions_count(f->side.broker.groups, 1);
    side_listen(&f->side);
    lead_offsets(f);
}

static void end(struct fixture *f)
{
    struct parts_change change = {STR(OFFSETS), 0, NULL};
    in_actor(f, close_in_actor);
    parts_edit(&f->side.broker.parts, &change, 1);
    part_put(f->part);
    config_changes_free(f->side.broker.config_changes);
    ctl_driver_free(f->side.broker.ctl_driver);
    side_stop(&f->side);
    side_end(&f->side);
}

static void copy(struct group_call *call, const struct grp_reply *reply)
{
    struct fixture *f = container_of(call, struct fixture, commit);
    f->committed = reply->offsets.topics[0].partitions[0].err;
}

static void done(struct group_call *call)
{
    arena_fini(&call->arena);
}

static void submit_in_loop(struct loop_msg *msg)
{
    struct fixture *f = container_of(msg, struct fixture, msg);
    group_call_submit(f->part, &f->commit);
}

/* An offset in topic t. */
static void commit(struct fixture *f)
{
    struct grp_commit_partition one = {
        .leader_epoch = -1, .offset = 5, .commit_timestamp_ms = -1, .metadata = STR_NULL};
    struct grp_commit_topic topics = {STR("t"), &one, 1};
    f->commit = (struct group_call){.loop = f->side.loop, .copy = copy, .done = done};
    f->commit.event.kind = GRP_EV_COMMIT;
    f->commit.event.commit = (struct grp_commit){.group_id = STR("g"),
                                                 .member_id = STR(""),
                                                 .generation = -1,
                                                 .retention_ms = -1,
                                                 .topics = &topics,
                                                 .topic_count = 1};
    f->msg.fn = submit_in_loop;
    loop_post(f->side.loop, &f->msg);
    side_run(&f->side);
    cr_assert_eq(f->committed, ERR_OK, "%s", err_name(f->committed));
}

static void on_reply(void *arg, struct bytes response)
{
    (void)arg, (void)response;
}

/* The controller tells all that there is. */
static void tell_all(struct fixture *f, const char *const *names, size_t count)
{
    static int32_t me = ME;
    Barnabas__Control__UpdateMetadataPartition partition =
        BARNABAS__CONTROL__UPDATE_METADATA_PARTITION__INIT;
    Barnabas__Control__UpdateMetadataPartition *partitions[] = {&partition};
    Barnabas__Control__UpdateMetadataTopic topics[2];
    Barnabas__Control__UpdateMetadataTopic *list[2];
    Barnabas__Control__UpdateMetadata update = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&partition, leader, ME);
    partition.replicas = partition.isr = &me;
    partition.n_replicas = partition.n_isr = 1;
    for (size_t i = 0; i < count; i++) {
        barnabas__control__update_metadata_topic__init(&topics[i]);
        topics[i].name = (char *)(uintptr_t)names[i];
        topics[i].partitions = partitions;
        topics[i].n_partitions = 1;
        list[i] = &topics[i];
    }
    update.topics = list;
    update.n_topics = count;
    control_set(&update, complete, true);
    control_set(&request, kind, BARNABAS__CONTROL__KIND__UPDATE_METADATA);
    request.update_metadata = &update;
    side_tell(&f->side, &request, on_reply, NULL);
    side_run(&f->side);
}

/* A ZooKeeper that has lost its data says that there is no topic, and a broker that had a new
 * session believed it: it wrote to the log that all committed offsets are gone. Whoever brought the
 * data back found the records, and all groups at their beginning. */
Test(offsets_kept, when_the_cluster_has_lost_all_its_topics)
{
    static const char *const both[] = {"t", OFFSETS};
    for (int lost = 0; lost <= 1; lost++) {
        struct fixture f;
        begin(&f);
        tell_all(&f, both, 2);
        commit(&f);
        int64_t before = plog_offset_end(f.part->log);
        side_register(&f.side, 2);
        tell_all(&f, &both[1], lost != 0 ? 0 : 1); /* a deletion that was missed; or everything */
        struct meta *meta = meta_cell_get(&f.side.broker.meta);
        cr_assert_null(meta_find(meta, STR("t")));
        meta_put(meta);
        bool written = plog_offset_end(f.part->log) > before;
        cr_assert_eq(written, lost == 0, "lost=%d", lost);
        end(&f);
    }
}
