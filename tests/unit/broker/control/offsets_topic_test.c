/* How many partitions __consumer_offsets has: what is said while the metadata knows only some. */
#include "control/offsets_topic.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "admin/admin_host.h"
#include "admin/admin_service.h"
#include "api/broker.h"
#include "base/log.h"
#include "base/mem.h"
#include "groups/groups.h"
#include "zk/zk_mem.h"

#define TOPIC "__consumer_offsets"

struct fixture {
    struct clock_manual clock;
    struct loop *loop;
    struct zk_mem *mem;
    struct zk *zk;
    struct admin *admin;
    struct broker broker;
    struct offsets_topic *topic;
};

static void run(struct fixture *f)
{
    while (loop_turn(f->loop)) {
    }
}

static void on_session(void *arg, enum zk_session_event event)
{
    struct fixture *f = arg;
    if (event == ZK_SESSION_EXPIRED) {
        admin_set_session(f->admin, NULL);
    }
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    (void)arg;
    (void)event;
    (void)path;
}

static void connect(struct fixture *f)
{
    static const struct zk_events events = {on_session, on_watch};
    struct zk_factory *factory = zk_mem_factory(f->mem);
    f->zk = factory->open(factory, f->loop, "any", 6000, &events, f);
    run(f);
    admin_set_session(f->admin, f->zk);
}

static void start(struct fixture *f)
{
    cr_assert_eq(log_set_level("kafka", LOG_OFF), ERR_OK);
    *f = (struct fixture){0};
    clock_manual_init(&f->clock, 1000000);
    f->loop = loop_new("control", -1, &f->clock.clock);
    f->mem = zk_mem_new(&f->clock.clock, 1);
    f->admin = admin_new(f->loop);
    connect(f);
    struct groups_options groups = {.loop = f->loop};
    grp_config_default(&groups.config);
    f->broker.groups = groups_new(&groups);
    meta_cell_init(&f->broker.meta);
    struct admin_host host = {.control = f->loop, .meta = &f->broker.meta};
    f->broker.admin = admin_service_new(&host, f->admin);
    f->topic = offsets_topic_new(&f->broker);
}

static void stop(struct fixture *f)
{
    admin_set_session(f->admin, NULL);
    f->zk->ops->close(f->zk);
    run(f);
    offsets_topic_free(f->topic);
    admin_service_free(f->broker.admin);
    admin_free(f->admin);
    meta_cell_fini(&f->broker.meta);
    groups_free(f->broker.groups);
    zk_mem_free(f->mem);
    loop_free(f->loop);
}

/* The topic's node, as its maker wrote it. */
static void make(struct fixture *f, int32_t partitions)
{
    struct buf json = {0};
    buf_printf(&json, "{\"version\":3,\"partitions\":{");
    for (int32_t i = 0; i < partitions; i++) {
        buf_printf(&json, "%s\"%d\":[1]", i > 0 ? "," : "", i);
    }
    buf_printf(&json, "},\"adding_replicas\":{},\"removing_replicas\":{}}");
    buf_put_byte(&json, 0);
    zk_mem_poke(f->mem, "/brokers/topics/" TOPIC, (char *)json.data);
    buf_fini(&json);
}

/* The controller tells of one more partition. */
static void learn(struct fixture *f, int32_t index)
{
    static const int32_t replicas[] = {1};
    struct meta_edit *edit = meta_edit_begin(&f->broker.meta);
    struct meta_partition partition = {.index = index,
                                       .leader = 1,
                                       .replicas = replicas,
                                       .replicas_count = 1,
                                       .isr = replicas,
                                       .isr_count = 1};
    meta_edit_partition(edit, STR(TOPIC), (struct uuid){{1}}, &partition);
    meta_edit_commit(edit);
    offsets_topic_look(f->topic);
}

static void forget(struct fixture *f, int32_t index)
{
    struct meta_edit *edit = meta_edit_begin(&f->broker.meta);
    meta_edit_remove(edit, STR(TOPIC), index);
    meta_edit_commit(edit);
    offsets_topic_look(f->topic);
}

static int32_t count(const struct fixture *f)
{
    return groups_partitions_count(f->broker.groups);
}

Test(offsets_topic, is_not_counted_by_partitions_that_are_known_one_by_one)
{
    /* FindCoordinator once placed groups by one partition of five. */
    struct fixture f;
    start(&f);
    offsets_topic_look(f.topic);
    run(&f);
    cr_assert_eq(count(&f), 0, "there is no topic");
    make(&f, 5);
    learn(&f, 0);
    cr_assert_eq(count(&f), 0, "nobody has said how many there are");
    run(&f);
    cr_assert_eq(count(&f), 5);
    for (int32_t i = 1; i < 5; i++) {
        learn(&f, i);
        run(&f);
        cr_assert_eq(count(&f), 5);
    }
    stop(&f);
}

Test(offsets_topic, keeps_its_number_when_partitions_are_added)
{
    /* Groups must not move while brokers run: the new partitions are for nobody. */
    struct fixture f;
    start(&f);
    make(&f, 2);
    learn(&f, 0);
    learn(&f, 1);
    run(&f);
    make(&f, 3);
    learn(&f, 2);
    run(&f);
    cr_assert_eq(count(&f), 2);
    stop(&f);
}

Test(offsets_topic, is_read_again_when_it_was_deleted_and_made_anew)
{
    struct fixture f;
    start(&f);
    make(&f, 2);
    learn(&f, 0);
    run(&f);
    forget(&f, 0);
    cr_assert_eq(count(&f), 0);
    make(&f, 7);
    learn(&f, 3);
    run(&f);
    cr_assert_eq(count(&f), 7);
    stop(&f);
}

Test(offsets_topic, that_went_while_it_was_read_is_not_known)
{
    struct fixture f;
    start(&f);
    make(&f, 2);
    learn(&f, 0);
    forget(&f, 0);
    run(&f);
    cr_assert_eq(count(&f), 0);
    stop(&f);
}

Test(offsets_topic, is_read_in_the_next_session_when_one_ended)
{
    struct fixture f;
    start(&f);
    make(&f, 4);
    learn(&f, 0);
    zk_mem_expire(f.mem, f.zk->ops->session_id(f.zk));
    admin_set_session(f.admin, NULL);
    f.zk->ops->close(f.zk);
    run(&f);
    cr_assert_eq(count(&f), 0);
    connect(&f);
    learn(&f, 1); /* the controller tells everything again */
    run(&f);
    cr_assert_eq(count(&f), 4);
    stop(&f);
}
