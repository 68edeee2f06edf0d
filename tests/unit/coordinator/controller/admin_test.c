/* What a broker writes and reads for clients, over a ZooKeeper in memory of which one node cannot
 * be read: the session is over, and the session's event has not come yet. */
#include "controller/admin.h"

#include <string.h>

#include "zk_fixture.h"
#include "znode/path.h"

/* A session that refuses to read one node. */
struct half {
    struct zk zk;
    struct zk *real;
    const char *refused;
};

static void half_get(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct half *half = container_of(zk, struct half, zk);
    if (strcmp(path, half->refused) == 0) {
        fn(arg, &(struct zk_result){.err = ERR_ZK_SESSION_EXPIRED});
    } else {
        half->real->ops->get(half->real, path, watch, fn, arg);
    }
}

static void half_exists(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct half *half = container_of(zk, struct half, zk);
    half->real->ops->exists(half->real, path, watch, fn, arg);
}

static void half_children(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct half *half = container_of(zk, struct half, zk);
    half->real->ops->children(half->real, path, watch, fn, arg);
}

static void half_multi(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn,
                       void *arg)
{
    struct half *half = container_of(zk, struct half, zk);
    half->real->ops->multi(half->real, ops, count, fn, arg);
}

static void half_create(struct zk *zk, const char *path, struct bytes data, int flags,
                        zk_result_fn *fn, void *arg)
{
    struct half *half = container_of(zk, struct half, zk);
    half->real->ops->create(half->real, path, data, flags, fn, arg);
}

static const struct zk_ops half_ops = {.get = half_get,
                                       .exists = half_exists,
                                       .children = half_children,
                                       .create = half_create,
                                       .multi = half_multi};

struct bench {
    struct world w;
    struct client client;
    struct half half;
    struct admin *admin;
    int answers;
    enum err err;
    int32_t count;
};

static void bench_init(struct bench *b, const char *refused)
{
    *b = (struct bench){.count = -1};
    world_init(&b->w, 1);
    zk_mem_poke(b->w.mem, "/config/topics/a", "{\"version\":1,\"config\":{\"x\":\"1\"}}");
    zk_mem_poke(b->w.mem, "/config/topics/b", "{\"version\":1,\"config\":{\"x\":\"2\"}}");
    zk_mem_poke(b->w.mem, PATH_TOPICS, "");
    client_open(&b->client, &b->w);
    b->half = (struct half){{&half_ops}, b->client.zk, refused};
    b->admin = admin_new(b->w.loop);
    admin_set_session(b->admin, &b->half.zk);
}

static void bench_fini(struct bench *b)
{
    admin_free(b->admin);
    client_close(&b->client);
    world_fini(&b->w);
}

static void on_configs(void *arg, enum err err, const struct admin_entity *entities, int32_t count)
{
    struct bench *b = arg;
    (void)entities;
    b->answers++;
    b->err = err;
    b->count = count;
}

static void on_done(void *arg, enum err err, const char *text)
{
    struct bench *b = arg;
    (void)text;
    b->answers++;
    b->err = err;
}

Test(admin, configurations_of_which_one_was_not_read_are_not_taken_for_read)
{
    /* At its start a broker took a topic for one without values of its own, and would have let
     * retention loose on what is to be compacted. */
    static const char *const refused[] = {"/config/topics/a", "/config/topics/b", "/none"};
    for (int i = 0; i < 3; i++) {
        struct bench b;
        bench_init(&b, refused[i]);
        admin_read_configs(b.admin, "topics", on_configs, &b);
        run(&b.w);
        cr_assert_eq(b.answers, 1);
        cr_assert_eq(b.err, i < 2 ? ERR_ZK_SESSION_EXPIRED : ERR_OK);
        cr_assert_eq(b.count, i < 2 ? 0 : 2);
        bench_fini(&b);
    }
}

Test(admin, a_topic_of_which_nobody_knows_who_made_it_is_not_said_to_be_anothers)
{
    /* Its own lost attempt had made it; the client was told TOPIC_ALREADY_EXISTS, and stopped. */
    static const char *const refused[] = {"/brokers/topics/t", "/none"};
    for (int i = 0; i < 2; i++) {
        struct bench b;
        int32_t id = 1;
        struct znode_partition partition = {.index = 0, .replicas = {&id, 1}};
        struct admin_topic topic = {
            .name = STR("t"), .id = {.raw = {7}}, .partitions = &partition, .partitions_count = 1};
        bench_init(&b, refused[i]);
        zk_mem_lose(b.w.mem, session_of(&b.client), ZK_MEM_LOSE_REPLY, 1);
        admin_create_topic(b.admin, &topic, on_done, &b);
        pass(&b.w, 1000);
        cr_assert_eq(b.answers, 1);
        cr_assert_eq(b.err, i == 0 ? ERR_ZK_SESSION_EXPIRED : ERR_OK, "%s", err_name(b.err));
        bench_fini(&b);
    }
}

Test(admin, makes_the_list_of_notifications_where_it_was_removed)
{
    /* The change was written, and no broker heard of it. */
    struct bench b;
    struct znode_config config = {0};
    bench_init(&b, "/none");
    admin_set_session(b.admin, b.client.zk);
    admin_write_config(b.admin, "topics", STR("a"), &config, ADMIN_VERSION_ANY, on_done, &b);
    run(&b.w);
    cr_assert_eq(b.answers, 1);
    cr_assert_eq(b.err, ERR_OK, "%s", err_name(b.err));
    cr_assert_not_null(
        strstr(node_text(&b.w, PATH_CONFIG_CHANGES "/config_change_0000000000"), "topics/a"));
    bench_fini(&b);
}

/* The topic was marked and deleted, but the reply to the mark got lost, and somebody made another
 * topic of that name: the mark was made once more, and the new topic deleted. */
Test(admin, a_topic_that_was_made_again_is_not_marked_by_a_lost_attempt)
{
    static const char topic[] = "/brokers/topics/a";
    static const char mark[] = "/admin/delete_topics/a";
    for (int again = 0; again <= 1; again++) {
        struct bench b;
        bench_init(&b, "/none");
        admin_set_session(b.admin, b.client.zk);
        zk_mem_poke(b.w.mem, topic, "{}");
        zk_mem_poke(b.w.mem, PATH_DELETE_TOPICS, "");
        zk_mem_lose(b.w.mem, session_of(&b.client), ZK_MEM_LOSE_REPLY, 1);
        admin_delete_topic(b.admin, STR("a"), on_done, &b);
        for (int turns = 0; strcmp(node_text(&b.w, mark), "(none)") == 0; turns++) {
            cr_assert_lt(turns, TURNS_MAX);
            loop_turn(b.w.loop);
        }
        zk_mem_poke_remove(b.w.mem, mark);
        zk_mem_poke_remove(b.w.mem, topic);
        if (again) {
            zk_mem_poke(b.w.mem, topic, "{}");
        }
        pass(&b.w, 1000);
        cr_assert_eq(b.answers, 1);
        cr_assert_eq(b.err, ERR_OK, "%s", err_name(b.err));
        cr_assert_str_eq(node_text(&b.w, mark), "(none)");
        bench_fini(&b);
    }
}

Test(admin, a_topic_is_marked_although_the_request_was_lost)
{
    struct bench b;
    bench_init(&b, "/none");
    admin_set_session(b.admin, b.client.zk);
    zk_mem_poke(b.w.mem, "/brokers/topics/a", "{}");
    zk_mem_poke(b.w.mem, PATH_DELETE_TOPICS, "");
    zk_mem_lose(b.w.mem, session_of(&b.client), ZK_MEM_LOSE_REQUEST, 1);
    admin_delete_topic(b.admin, STR("a"), on_done, &b);
    pass(&b.w, 1000);
    cr_assert_eq(b.answers, 1);
    cr_assert_eq(b.err, ERR_OK, "%s", err_name(b.err));
    cr_assert_str_eq(node_text(&b.w, "/admin/delete_topics/a"), "");
    bench_fini(&b);
}

/* Somebody removed the folder: no topic could be deleted any more. Kafka makes it. */
Test(admin, makes_the_folder_of_deletions_where_it_was_removed)
{
    struct bench b;
    bench_init(&b, "/none");
    zk_mem_poke(b.w.mem, PATH_TOPICS "/a", "{}");
    admin_delete_topic(b.admin, STR("a"), on_done, &b);
    run(&b.w);
    cr_assert_eq(b.answers, 1);
    cr_assert_eq(b.err, ERR_OK);
    cr_assert(zk_mem_peek(b.w.mem, PATH_DELETE_TOPICS "/a", NULL, NULL));
    bench_fini(&b);
}

/* The controller never heard of the failed directory, whose partitions had no leader any more. */
Test(admin, makes_the_folder_of_failed_directories_where_it_was_removed)
{
    struct bench b;
    bench_init(&b, "/none");
    admin_report_dir_failure(b.admin, 1, on_done, &b);
    run(&b.w);
    cr_assert_eq(b.answers, 1);
    cr_assert_eq(b.err, ERR_OK);
    cr_assert(zk_mem_peek(b.w.mem, PATH_LOG_DIR_EVENTS "/log_dir_event_0000000000", NULL, NULL));
    bench_fini(&b);
}

/* Somebody removed the folder of topics' configurations: CreateTopics and changes of a
 * configuration that did not exist yet were tried again as fast as ZooKeeper answered, and never
 * came to an end. */
Test(admin, what_has_no_place_to_be_made_in_fails)
{
    struct bench b;
    int32_t id = 1;
    struct znode_partition partition = {.index = 0, .replicas = {&id, 1}};
    struct admin_topic topic = {
        .name = STR("t"), .id = {.raw = {7}}, .partitions = &partition, .partitions_count = 1};
    struct znode_config config = {0};
    bench_init(&b, "/none");
    admin_set_session(b.admin, b.client.zk);
    zk_mem_poke_remove(b.w.mem, "/config/topics/a");
    zk_mem_poke_remove(b.w.mem, "/config/topics/b");
    zk_mem_poke_remove(b.w.mem, "/config/topics");
    admin_create_topic(b.admin, &topic, on_done, &b);
    run(&b.w);
    cr_assert_eq(b.answers, 1);
    cr_assert_eq(b.err, ERR_NOT_FOUND, "%s", err_name(b.err));
    admin_write_config(b.admin, "topics", STR("t"), &config, ADMIN_VERSION_ANY, on_done, &b);
    run(&b.w);
    cr_assert_eq(b.answers, 2);
    cr_assert_eq(b.err, ERR_NOT_FOUND, "%s", err_name(b.err));
    bench_fini(&b);
}
