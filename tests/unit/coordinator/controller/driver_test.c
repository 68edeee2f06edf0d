/* Controllers, each with its machine, over one ZooKeeper in memory, and brokers that do as they are
 * told and remember it: elections, creation, deletion, death, lost requests and replies. */
#include "controller/ctl_driver.h"

#include "controller/registration.h"
#include "zk/zk_calls.h"
#include "zk_fixture.h"
#include "znode/path.h"

enum {
    MEMBERS_MAX = 3,
    TOPICS_MAX = 3,
    PARTITIONS = 2,
    OPERATIONS_MAX = 60,
    UNKNOWN = -3, /* a broker has not heard of it, or was told to forget it */
    QUIET_MS = 5000,
};

/* What one broker was told of a partition. */
struct told {
    int32_t leader; /* by UpdateMetadata */
    int32_t epoch;
    bool hosted; /* its files are there */
    int32_t hosted_epoch;
};

struct cluster;

/* A broker, with the controller that it may become. */
struct member {
    struct cluster *cluster;
    struct client client;
    int32_t id;
    struct registration_host registration_host;
    struct registration *registration;
    struct ctl_host host;
    struct ctl_driver *driver;
    int64_t epoch; /* of its registration; -1: none */
    int32_t controller_epoch;
    struct told told[TOPICS_MAX][PARTITIONS];
    int32_t live[MEMBERS_MAX]; /* brokers, by the last UpdateMetadata */
    int32_t live_count;
    int disconnects;
    int settled;
};

struct cluster {
    struct world w;
    struct member members[MEMBERS_MAX];
    int32_t count;
    struct list requests; /* on their way */
    struct rng rng;
    int64_t delay_ms; /* of a request, at most */
};

/* ---- Requests on their way. */

struct request {
    struct list link;
    struct loop_timer arrives;
    struct member *from;
    int32_t to;
    uint64_t cmd_id;
    struct buf bytes;
};

static void request_free(struct request *request)
{
    loop_timer_cancel(&request->arrives);
    list_remove(&request->link);
    buf_fini(&request->bytes);
    mem_free(request);
}

static struct told *told_of(struct member *m, const char *topic, int32_t partition)
{
    int32_t t = topic[1] - '0';
    cr_assert(topic[0] == 't' && t >= 0 && t < TOPICS_MAX && partition < PARTITIONS);
    return &m->told[t][partition];
}

static void take_metadata(struct member *m, const Barnabas__Control__UpdateMetadata *body)
{
    m->live_count = 0;
    for (size_t i = 0; i < body->n_live_brokers; i++) {
        m->live[m->live_count++] = body->live_brokers[i]->id;
    }
    for (size_t i = 0; i < body->n_topics; i++) {
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__UpdateMetadataPartition *p = body->topics[i]->partitions[j];
            struct told *told = told_of(m, body->topics[i]->name, p->partition);
            /* As broker/control/strays.h has it. */
            bool ours = false;
            for (size_t r = 0; r < p->n_replicas; r++) {
                ours = ours || p->replicas[r] == m->id;
            }
            told->hosted = told->hosted && (ours || p->leader < 0);
            told->leader = p->leader == CONTROL_LEADER_DURING_DELETE ? UNKNOWN : p->leader;
            told->epoch = p->leader_epoch;
        }
    }
}

/* The answer names every partition of the request, without an error. */
static Barnabas__Control__TopicErrors *topic_answer(struct arena *arena, char *name, size_t count)
{
    Barnabas__Control__TopicErrors *errors = arena_new(arena, Barnabas__Control__TopicErrors);
    barnabas__control__topic_errors__init(errors);
    errors->name = name;
    errors->partitions = arena_array(arena, Barnabas__Control__PartitionError *, count + 1);
    return errors;
}

static void add_answer(struct arena *arena, Barnabas__Control__TopicErrors *topic,
                       int32_t partition)
{
    Barnabas__Control__PartitionError *answer = arena_new(arena, Barnabas__Control__PartitionError);
    barnabas__control__partition_error__init(answer);
    control_set(answer, partition, partition);
    control_set(answer, error, 0);
    topic->partitions[topic->n_partitions++] = answer;
}

static void take_leaders(struct arena *arena, struct member *m,
                         const Barnabas__Control__LeaderAndIsr *body,
                         Barnabas__Control__LeaderAndIsrResponse *out)
{
    out->topics = arena_array(arena, Barnabas__Control__TopicErrors *, body->n_topics + 1);
    for (size_t i = 0; i < body->n_topics; i++) {
        char *name = body->topics[i]->name;
        out->topics[i] = topic_answer(arena, name, body->topics[i]->n_partitions);
        out->n_topics++;
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__LeaderAndIsrPartition *p = body->topics[i]->partitions[j];
            struct told *told = told_of(m, name, p->partition);
            if (!told->hosted || p->leader_epoch >= told->hosted_epoch) {
                told->hosted = true;
                told->hosted_epoch = p->leader_epoch;
            }
            add_answer(arena, out->topics[i], p->partition);
        }
    }
}

static void take_stop(struct arena *arena, struct member *m,
                      const Barnabas__Control__StopReplica *body,
                      Barnabas__Control__StopReplicaResponse *out)
{
    out->topics = arena_array(arena, Barnabas__Control__TopicErrors *, body->n_topics + 1);
    for (size_t i = 0; i < body->n_topics; i++) {
        char *name = body->topics[i]->name;
        out->topics[i] = topic_answer(arena, name, body->topics[i]->n_partitions);
        out->n_topics++;
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__StopReplicaPartition *p = body->topics[i]->partitions[j];
            struct told *told = told_of(m, name, p->partition);
            told->hosted = told->hosted && !p->delete_;
            add_answer(arena, out->topics[i], p->partition);
        }
    }
}

static enum err check_epochs(struct member *m, const Barnabas__Control__Request *request)
{
    if (request->broker_epoch < m->epoch) {
        return ERR_STALE_BROKER_EPOCH;
    }
    if (request->controller_epoch < m->controller_epoch) {
        return ERR_STALE_CONTROLLER_EPOCH;
    }
    m->controller_epoch = request->controller_epoch;
    return ERR_OK;
}

static void answer(struct member *m, struct bytes bytes, struct buf *out)
{
    struct arena arena = {0};
    const Barnabas__Control__Request *request;
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    Barnabas__Control__LeaderAndIsrResponse leaders =
        BARNABAS__CONTROL__LEADER_AND_ISR_RESPONSE__INIT;
    Barnabas__Control__StopReplicaResponse stops = BARNABAS__CONTROL__STOP_REPLICA_RESPONSE__INIT;
    cr_assert_eq(control_request_unpack(&arena, bytes, &request, NULL), ERR_OK);
    enum err err = check_epochs(m, request);
    control_set(&response, kind, request->kind);
    control_set(&response, error, err_wire(err));
    if (err == ERR_OK && request->update_metadata != NULL) {
        take_metadata(m, request->update_metadata);
    } else if (err == ERR_OK && request->leader_and_isr != NULL) {
        take_leaders(&arena, m, request->leader_and_isr, &leaders);
        response.leader_and_isr = &leaders;
    } else if (err == ERR_OK && request->stop_replica != NULL) {
        take_stop(&arena, m, request->stop_replica, &stops);
        response.stop_replica = &stops;
    }
    control_response_pack(&response, out);
    arena_fini(&arena);
}

static void on_arrival(struct loop_timer *timer)
{
    struct request *request = container_of(timer, struct request, arrives);
    struct member *from = request->from;
    struct member *to = &from->cluster->members[request->to - 1];
    struct buf out = {0};
    uint64_t cmd_id = request->cmd_id;
    if (to->epoch >= 0) {
        answer(to, (struct bytes){request->bytes.data, request->bytes.size}, &out);
    }
    request_free(request);
    ctl_driver_sent(from->driver, cmd_id, out.size > 0 ? ERR_OK : ERR_CLOSED,
                    (struct bytes){out.data, out.size});
    buf_fini(&out);
}

static void host_send(struct ctl_host *host, int32_t broker_id,
                      const struct znode_endpoint *endpoints, int32_t endpoints_count, int kind,
                      struct bytes bytes, uint64_t cmd_id)
{
    struct member *from = container_of(host, struct member, host);
    struct cluster *c = from->cluster;
    struct request *request = mem_new(struct request);
    (void)kind;
    cr_assert_eq(endpoints_count, 1);
    cr_assert_eq(endpoints[0].port, 9000 + broker_id);
    list_for_each (link, &c->requests) {
        const struct request *other = container_of(link, struct request, link);
        cr_assert(other->from != from || other->to != broker_id, "two requests at a time");
    }
    *request = (struct request){.from = from, .to = broker_id, .cmd_id = cmd_id};
    buf_put(&request->bytes, bytes.data, bytes.size);
    loop_timer_init(&request->arrives, on_arrival);
    list_push_back(&c->requests, &request->link);
    int64_t delay = c->delay_ms > 0 ? (int64_t)rng_below(&c->rng, (uint64_t)c->delay_ms) : 0;
    loop_timer_set(c->w.loop, &request->arrives, loop_now_ms(c->w.loop) + delay);
}

static void host_disconnect(struct ctl_host *host, int32_t broker_id)
{
    struct member *from = container_of(host, struct member, host);
    from->disconnects++;
    list_for_each_safe (link, &from->cluster->requests) {
        struct request *request = container_of(link, struct request, link);
        if (request->from == from && request->to == broker_id) {
            request_free(request);
        }
    }
}

static void host_controller_changed(struct ctl_host *host, int32_t controller_id, int32_t epoch)
{
    (void)host, (void)controller_id, (void)epoch;
}

/* ---- Members. */

static void on_registered(struct registration_host *host, int64_t broker_epoch)
{
    struct member *m = container_of(host, struct member, registration_host);
    m->epoch = broker_epoch;
    m->controller_epoch = -1;
    for (int32_t t = 0; t < TOPICS_MAX; t++) { /* what was in memory is gone, the files are not */
        for (int32_t p = 0; p < PARTITIONS; p++) {
            m->told[t][p].leader = UNKNOWN;
            m->told[t][p].hosted_epoch = -1;
        }
    }
    ctl_driver_start(m->driver, m->client.zk);
}

static void on_settled(struct registration_host *host)
{
    struct member *m = container_of(host, struct member, registration_host);
    m->settled++;
}

static void on_waiting(struct registration_host *host, const char *line)
{
    (void)host, (void)line;
}

static void on_refused(struct registration_host *host, enum err err, const char *text)
{
    (void)host, (void)err;
    cr_assert(false, "%s", text);
}

static void on_watch(struct client *client, enum zk_watch_event event, struct str path)
{
    struct member *m = container_of(client, struct member, client);
    if (!registration_on_watch(m->registration, event, path)) {
        ctl_driver_on_watch(m->driver, event, path);
    }
}

static void on_expired(struct client *client)
{
    struct member *m = container_of(client, struct member, client);
    m->epoch = -1;
    registration_session_lost(m->registration);
    ctl_driver_session_lost(m->driver);
}

static void member_join(struct member *m)
{
    client_open(&m->client, &m->cluster->w);
    registration_start(m->registration, m->client.zk);
}

static void member_init(struct cluster *c, int32_t id)
{
    struct member *m = &c->members[id - 1];
    struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("h"), 9000 + id, ZNODE_PLAINTEXT};
    struct znode_broker broker = {.endpoints = &endpoint, .endpoints_count = 1, .jmx_port = -1};
    struct ctl_config config = {
        .broker_id = id, .delete_topics = true, .rebalance_check_ms = 300000, .seed = 5};
    *m = (struct member){.cluster = c, .id = id, .epoch = -1, .controller_epoch = -1};
    m->registration_host =
        (struct registration_host){on_registered, on_settled, on_waiting, on_refused};
    m->host = (struct ctl_host){host_send, host_disconnect, host_controller_changed};
    m->client.on_watch = on_watch;
    m->client.on_expired = on_expired;
    m->registration = registration_new(c->w.loop, id, &broker, &m->registration_host);
    m->driver = ctl_driver_new(c->w.loop, &config, &m->host);
    c->count++;
}

static void ignore_setup(void *arg, enum err err, struct str cluster_id, const char *text)
{
    (void)arg, (void)cluster_id;
    cr_assert_eq(err, ERR_OK, "%s", text);
}

/* `count` brokers that have not joined yet. */
static void cluster_init(struct cluster *c, int32_t count, uint64_t seed)
{
    struct client client = {0};
    *c = (struct cluster){0};
    world_init(&c->w, seed);
    rng_seed(&c->rng, seed);
    list_init(&c->requests);
    client_open(&client, &c->w);
    registration_setup(c->w.loop, client.zk, STR("abcdefghijklmnopqrstuv"), ignore_setup, NULL);
    run(&c->w);
    client_close(&client);
    for (int32_t id = 1; id <= count; id++) {
        member_init(c, id);
    }
}

static void cluster_join(struct cluster *c)
{
    for (int32_t i = 0; i < c->count; i++) {
        member_join(&c->members[i]);
    }
    run(&c->w);
}

static void cluster_fini(struct cluster *c)
{
    for (int32_t i = 0; i < c->count; i++) {
        ctl_driver_session_lost(c->members[i].driver);
        ctl_driver_free(c->members[i].driver);
        registration_free(c->members[i].registration);
        client_close(&c->members[i].client);
    }
    while (!list_empty(&c->requests)) {
        request_free(container_of(c->requests.next, struct request, link));
    }
    world_fini(&c->w);
}

/* Nobody hears the end of the session: the broker crashed, and starts again at once. */
static void bounce(struct member *m)
{
    zk_mem_expire(m->cluster->w.mem, session_of(&m->client));
    on_expired(&m->client);
    client_close(&m->client);
    member_join(m);
}

static struct member *active(struct cluster *c)
{
    struct member *found = NULL;
    for (int32_t i = 0; i < c->count; i++) {
        if (ctl_driver_is_active(c->members[i].driver)) {
            cr_assert_null(found, "two active controllers");
            found = &c->members[i];
        }
    }
    return found;
}

/* ---- Topics, as the handler of CreateTopics writes them. */

static void create_topic(struct cluster *c, const char *name)
{
    static const int32_t replicas[] = {1, 2, 3};
    struct znode_partition partitions[PARTITIONS] = {{0}};
    struct znode_topic topic = {uuid_random(&c->rng), partitions, PARTITIONS};
    struct buf data = {0};
    char path[64];
    for (int32_t p = 0; p < PARTITIONS; p++) {
        partitions[p].index = p;
        partitions[p].replicas = (struct znode_ids){replicas, c->count};
    }
    snprintf(path, sizeof(path), "/config/topics/%s", name);
    zk_mem_poke(c->w.mem, path, "{\"version\":1,\"config\":{}}");
    snprintf(path, sizeof(path), "/brokers/topics/%s", name);
    znode_topic_encode(&topic, &data);
    buf_put_byte(&data, 0);
    zk_mem_poke(c->w.mem, path, (const char *)data.data);
    buf_fini(&data);
}

static void delete_topic(struct cluster *c, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/admin/delete_topics/%s", name);
    zk_mem_poke(c->w.mem, path, "");
}

static bool node_exists(struct cluster *c, const char *parent, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", parent, name);
    return zk_mem_peek(c->w.mem, path, NULL, NULL);
}

/* ---- What must hold when all is quiet and every broker is there. */

static struct znode_state read_state(struct cluster *c, struct arena *arena, const char *topic,
                                     int32_t partition)
{
    struct znode_state state = {0};
    struct buf data = {0};
    struct errmsg msg;
    const char *path = path_partition_state(arena, str_of(topic), partition);
    cr_assert(zk_mem_peek(c->w.mem, path, &data, NULL), "%s is missing", path);
    cr_assert_eq(znode_state_decode(arena, (struct bytes){data.data, data.size}, &state, &msg),
                 ERR_OK);
    buf_fini(&data);
    return state;
}

static bool in_ids(struct znode_ids ids, int32_t id)
{
    for (int32_t i = 0; i < ids.count; i++) {
        if (ids.ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void expect_led(struct cluster *c, const char *topic)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct arena arena = {0};
        struct znode_state state = read_state(c, &arena, topic, p);
        cr_assert_geq(state.leader, 1, "%s-%d has no leader", topic, p);
        cr_assert(in_ids(state.isr, state.leader));
        for (int32_t i = 0; i < c->count; i++) {
            const struct told *told = told_of(&c->members[i], topic, p);
            cr_assert_eq(told->leader, state.leader, "%s-%d at %d", topic, p, i + 1);
            cr_assert_eq(told->epoch, state.leader_epoch, "%s-%d at %d", topic, p, i + 1);
            cr_assert(told->hosted);
            cr_assert_eq(told->hosted_epoch, state.leader_epoch, "%s-%d at %d", topic, p, i + 1);
        }
        arena_fini(&arena);
    }
}

static void expect_gone(struct cluster *c, const char *topic)
{
    cr_assert_not(node_exists(c, PATH_TOPICS, topic), "%s is still there", topic);
    cr_assert_not(node_exists(c, PATH_CONFIG_TOPICS, topic));
    cr_assert_not(node_exists(c, PATH_DELETE_TOPICS, topic), "the mark of %s stays", topic);
    for (int32_t i = 0; i < c->count; i++) {
        for (int32_t p = 0; p < PARTITIONS; p++) {
            const struct told *told = told_of(&c->members[i], topic, p);
            cr_assert_eq(told->leader, UNKNOWN, "%d still knows %s-%d", i + 1, topic, p);
            cr_assert_not(told->hosted, "%d still has files of %s-%d", i + 1, topic, p);
        }
    }
}

static void expect_everybody_live(struct cluster *c)
{
    struct member *controller = active(c);
    cr_assert_not_null(controller, "nobody is the controller");
    for (int32_t i = 0; i < c->count; i++) {
        cr_assert_eq(c->members[i].live_count, c->count, "as %d sees it", i + 1);
        cr_assert_eq(ctl_driver_controller_id(c->members[i].driver), controller->id);
    }
}

/* ---- Tests. */

Test(ctl_driver, a_topic_gets_leaders_and_everybody_hears_of_them)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    pass(&c.w, 100);
    create_topic(&c, "t0");
    pass(&c.w, 100);
    expect_everybody_live(&c);
    expect_led(&c, "t0");
    struct arena arena = {0};
    struct znode_state state = read_state(&c, &arena, "t0", 1);
    cr_assert_eq(state.leader, 1);
    cr_assert_eq(state.leader_epoch, 0);
    cr_assert_eq(state.isr.count, 3);
    arena_fini(&arena);
    cluster_fini(&c);
}

Test(ctl_driver, a_deleted_topic_leaves_no_node_and_no_file)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    create_topic(&c, "t1");
    pass(&c.w, 200);
    delete_topic(&c, "t0");
    pass(&c.w, 200);
    expect_gone(&c, "t0");
    expect_led(&c, "t1");
    create_topic(&c, "t0"); /* the same name, another topic */
    pass(&c.w, 200);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* Whichever operation of the controller is lost, before or after it happened, from its election to
 * the end of a deletion: the outcome is the same. */
Test(ctl_driver, every_operation_may_be_lost, .timeout = 120)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct cluster c;
            cluster_init(&c, 2, 1);
            create_topic(&c, "t0");
            create_topic(&c, "t1");
            member_join(&c.members[0]);
            zk_mem_lose(c.w.mem, session_of(&c.members[0].client), (enum zk_mem_loss)loss, k);
            pass(&c.w, 300);
            member_join(&c.members[1]);
            pass(&c.w, 300);
            delete_topic(&c, "t1");
            pass(&c.w, QUIET_MS);
            expect_everybody_live(&c);
            cr_assert_eq(ctl_driver_epoch(c.members[0].driver), 1, "operation %d", k);
            expect_led(&c, "t0");
            expect_gone(&c, "t1");
            cluster_fini(&c);
        }
    }
}

/* A topic was deleted, the reply got lost, and before it was asked for again somebody made another
 * topic of that name and marked it as well: the repetition took the new mark away. */
Test(ctl_driver, a_lost_reply_does_not_cost_a_new_topic_its_deletion, .timeout = 120)
{
    bool hit = false;
    for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
        struct cluster c;
        bool remade = false;
        cluster_init(&c, 2, 1);
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 300);
        zk_mem_lose(c.w.mem, session_of(&active(&c)->client), ZK_MEM_LOSE_REPLY, k);
        delete_topic(&c, "t0");
        for (int ms = 0; ms < QUIET_MS; ms++) {
            pass(&c.w, 1);
            if (!remade && !node_exists(&c, PATH_DELETE_TOPICS, "t0")) {
                remade = true;
                create_topic(&c, "t0");
                delete_topic(&c, "t0");
            }
        }
        hit = hit || remade;
        expect_gone(&c, "t0");
        cluster_fini(&c);
    }
    cr_assert(hit);
}

/* The leader's broker dies: the next one in sync leads, with a larger epoch, also when the dead one
 * was the controller. */
Test(ctl_driver, leaders_move_off_a_dead_broker)
{
    for (int dead = 0; dead < 3; dead++) {
        struct cluster c;
        cluster_init(&c, 3, 1);
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 200);
        zk_mem_expire(c.w.mem, session_of(&c.members[dead].client));
        pass(&c.w, 200);
        struct arena arena = {0};
        struct znode_state state = read_state(&c, &arena, "t0", 0);
        cr_assert_eq(state.leader, dead == 0 ? 2 : 1);
        cr_assert_eq(state.leader_epoch, 1);
        cr_assert_eq(state.isr.count, 2);
        cr_assert_not(in_ids(state.isr, dead + 1));
        arena_fini(&arena);
        client_close(&c.members[dead].client);
        member_join(&c.members[dead]);
        pass(&c.w, 200);
        expect_everybody_live(&c);
        expect_led(&c, "t0");
        cluster_fini(&c);
    }
}

/* States that change together are written together. One of them is not as the controller believes:
 * the others are written all the same, and it once it has been read again. */
Test(ctl_driver, one_state_that_somebody_changed_does_not_hold_up_the_others)
{
    static const char path[] = "/brokers/topics/t0/partitions/0/state";
    struct cluster c;
    struct buf data = {0};
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    cr_assert(zk_mem_peek(c.w.mem, path, &data, NULL));
    buf_put_byte(&data, 0);
    zk_mem_poke(c.w.mem, path, (char *)data.data);
    struct member *dead = active(&c) == &c.members[0] ? &c.members[1] : &c.members[0];
    zk_mem_expire(c.w.mem, session_of(&dead->client));
    pass(&c.w, 200);
    struct arena arena = {0};
    for (int32_t p = 0; p < 2; p++) {
        struct znode_state state = read_state(&c, &arena, "t0", p);
        cr_assert_eq(state.isr.count, 2, "partition %d", p);
        cr_assert_neq(state.leader, dead == &c.members[0] ? 1 : 2);
    }
    arena_fini(&arena);
    buf_fini(&data);
    client_close(&dead->client);
    member_join(dead);
    pass(&c.w, 200);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* A broker that restarts before anybody saw it gone has lost what it knew: it is told everything
 * again, and it does not stay the leader. */
Test(ctl_driver, a_broker_that_bounces_is_told_everything_again)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    struct member *controller = active(&c);
    struct member *m = controller == &c.members[0] ? &c.members[1] : &c.members[0];
    bounce(m);
    pass(&c.w, 200);
    expect_everybody_live(&c);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* Nothing of its registration changes but the mark; its broker's session stays its owner. */
Test(ctl_driver, takes_the_mark_of_an_unclean_start_off_a_registration)
{
    static const char before[] =
        "{\"version\":5,\"host\":\"h\",\"port\":9002,\"endpoints\":[\"PLAINTEXT://h:9002\"],"
        "\"jmx_port\":-1,\"timestamp\":\"17\",\"rack\":\"r\","
        "\"listener_security_protocol_map\":{\"PLAINTEXT\":\"PLAINTEXT\"},\"features\":{}%s}";
    struct cluster c;
    char text[400];
    struct buf data = {0};
    struct zk_stat stat;
    cluster_init(&c, 2, 1);
    member_join(&c.members[0]);
    run(&c.w);
    snprintf(text, sizeof(text), before, ",\"unclean_start\":true");
    zk_mem_poke(c.w.mem, "/brokers/ids/2", text);
    run(&c.w);
    cr_assert(zk_mem_peek(c.w.mem, "/brokers/ids/2", &data, &stat));
    buf_put_byte(&data, 0);
    snprintf(text, sizeof(text), before, "");
    cr_assert_str_eq((char *)data.data, text);
    cr_assert_eq(stat.version, 1);
    buf_fini(&data);
    cluster_fini(&c);
}

/* Deleted and made again between two looks: the node is there each time, but it is another topic,
 * and its partitions need states of their own. */
Test(ctl_driver, a_topic_made_again_at_once_is_another_topic)
{
    struct cluster c;
    cluster_init(&c, 2, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    expect_led(&c, "t0");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/0/state");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/0");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/1/state");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/1");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0");
    create_topic(&c, "t0");
    pass(&c.w, 500);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* The controller's session ends while it reads the list of brokers, and the answers that say so
 * come before that news: brokers that could not be read are not dead. */
Test(ctl_driver, a_session_that_ends_while_brokers_are_read_is_not_their_death)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    struct member *controller = active(&c);
    int disconnects = controller->disconnects;
    /* The list, then broker 1, 2, 3: the answer about the last is lost. */
    zk_mem_lose(c.w.mem, session_of(&controller->client), ZK_MEM_LOSE_REPLY, 3);
    zk_mem_poke(c.w.mem, "/brokers/ids/no_broker", "");
    run(&c.w);
    controller->client.on_expired = NULL;
    zk_mem_expire(c.w.mem, session_of(&controller->client));
    pass(&c.w, 200);
    cr_assert_eq(controller->disconnects, disconnects);
    controller->client.on_expired = on_expired;
    on_expired(&controller->client);
    cluster_fini(&c);
}

/* ---- Reassignments. */

struct answer {
    int count;
    enum err err;
};

static void on_reassigned(void *arg, enum err err, const struct ctl_reassigned *results,
                          int32_t count)
{
    struct answer *answer = arg;
    answer->count++;
    answer->err = err != ERR_OK ? err : results[0].err;
    cr_assert(err != ERR_OK || count == 1);
}

/* The line in the node, and who has files. */
static void expect_replicas(struct cluster *c, const char *topic, int32_t p, const int32_t *ids,
                            int32_t count)
{
    struct arena arena = {0};
    struct buf data = {0};
    struct znode_topic node = {0};
    cr_assert(zk_mem_peek(c->w.mem, path_topic(&arena, str_of(topic)), &data, NULL));
    cr_assert_eq(znode_topic_decode(&arena, (struct bytes){data.data, data.size}, &node, NULL),
                 ERR_OK);
    cr_assert_eq(node.partitions[p].replicas.count, count);
    cr_assert_arr_eq(node.partitions[p].replicas.ids, ids, (size_t)count * sizeof(*ids));
    cr_assert_eq(node.partitions[p].adding.count + node.partitions[p].removing.count, 0);
    struct znode_state state = read_state(c, &arena, topic, p);
    cr_assert(in_ids(node.partitions[p].replicas, state.leader));
    for (int32_t i = 0; i < state.isr.count; i++) {
        cr_assert(in_ids(node.partitions[p].replicas, state.isr.ids[i]));
    }
    for (int32_t i = 0; i < c->count; i++) {
        const struct told *told = told_of(&c->members[i], topic, p);
        cr_assert_eq(told->hosted, in_ids(node.partitions[p].replicas, i + 1), "%s-%d at %d", topic,
                     p, i + 1);
        cr_assert_eq(told->leader, state.leader);
    }
    buf_fini(&data);
    arena_fini(&arena);
}

/* Whichever operation is lost, before or after it happened: the partitions end up where they were
 * to go, by request and by an order in ZooKeeper, the files of the others are gone, and so is the
 * order. Whoever asked is told, and told the truth. */
Test(ctl_driver, every_operation_of_a_reassignment_may_be_lost, .timeout = 120)
{
    static const int32_t first[] = {3, 2};
    static const int32_t second[] = {2};
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct cluster c;
            struct answer answer = {0};
            cluster_init(&c, 3, 1);
            cluster_join(&c);
            create_topic(&c, "t0");
            pass(&c.w, 300);
            struct member *controller = active(&c);
            struct ctl_reassign item = {STR("t0"), 0, false, {first, 2}};
            zk_mem_lose(c.w.mem, session_of(&controller->client), (enum zk_mem_loss)loss, k);
            ctl_driver_reassign(controller->driver, &item, 1, on_reassigned, &answer);
            zk_mem_poke(c.w.mem, PATH_REASSIGN,
                        "{\"version\":1,\"partitions\":[{\"topic\":\"t0\",\"partition\":1,"
                        "\"replicas\":[2]}]}");
            pass(&c.w, QUIET_MS);
            cr_assert_eq(answer.count, 1, "operation %d", k);
            cr_assert_eq(answer.err, ERR_OK, "operation %d", k);
            expect_replicas(&c, "t0", 0, first, 2);
            expect_replicas(&c, "t0", 1, second, 1);
            cr_assert_str_eq(node_text(&c.w, PATH_REASSIGN), "(none)", "operation %d", k);
            cluster_fini(&c);
        }
    }
}

/* The controller dies after any number of turns: the next one goes on. A request that was not
 * answered may have been taken or not. */
Test(ctl_driver, a_reassignment_survives_its_controller)
{
    static const int32_t target[] = {3, 2};
    static const int32_t all[] = {1, 2, 3};
    for (int turns = 0; turns < 40; turns++) {
        struct cluster c;
        struct answer answer = {0};
        cluster_init(&c, 3, 1);
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 300);
        struct ctl_reassign item = {STR("t0"), 0, false, {target, 2}};
        ctl_driver_reassign(active(&c)->driver, &item, 1, on_reassigned, &answer);
        for (int i = 0; i < turns; i++) {
            loop_turn(c.w.loop);
        }
        bounce(active(&c));
        pass(&c.w, QUIET_MS);
        struct buf data = {0};
        cr_assert(zk_mem_peek(c.w.mem, "/brokers/topics/t0", &data, NULL));
        buf_put_byte(&data, 0);
        bool moved = strstr((char *)data.data, "\"0\":[3,2]") != NULL;
        buf_fini(&data);
        cr_assert_eq(answer.count, 1);
        cr_assert(moved || answer.err == ERR_NOT_CONTROLLER, "after %d turns", turns);
        if (moved) {
            expect_replicas(&c, "t0", 0, target, 2);
        } else {
            expect_replicas(&c, "t0", 0, all, 3);
        }
        cluster_fini(&c);
    }
}

/* ---- Resigning. */

static void on_resigned(void *arg)
{
    *(bool *)arg = true;
}

/* Whoever resigns for its shutdown ends without the office, whatever was under way. */
Test(ctl_driver, who_resigns_does_not_reign_again)
{
    for (int turns = 0; turns < 30; turns++) {
        struct cluster c;
        bool resigned = false;
        cluster_init(&c, 1, 1);
        member_join(&c.members[0]);
        for (int i = 0; i < turns; i++) {
            loop_turn(c.w.loop);
        }
        ctl_driver_resign(c.members[0].driver, on_resigned, &resigned);
        pass(&c.w, 500);
        cr_assert(resigned, "after %d turns", turns);
        cr_assert_null(active(&c), "after %d turns", turns);
        cr_assert_eq(ctl_driver_epoch(c.members[0].driver), -1, "after %d turns", turns);
        cr_assert_str_eq(node_text(&c.w, PATH_CONTROLLER), "(none)");
        cluster_fini(&c);
    }
}

/* ---- Everything at once. */

struct wish {
    bool exists;
    int64_t gone_ms; /* since when we know that neither it nor its mark is there; 0: one is */
};

static void see(struct cluster *c, struct wish *wishes)
{
    for (int32_t t = 0; t < TOPICS_MAX; t++) {
        char name[] = {'t', (char)('0' + t), '\0'};
        if (node_exists(c, PATH_TOPICS, name) || node_exists(c, PATH_DELETE_TOPICS, name)) {
            wishes[t].gone_ms = 0;
        } else if (wishes[t].gone_ms == 0) {
            wishes[t].gone_ms = loop_now_ms(c->w.loop);
        }
    }
}

static void disturb(struct cluster *c, struct wish *wishes)
{
    struct member *m = &c->members[rng_below(&c->rng, (uint64_t)c->count)];
    int32_t t = (int32_t)rng_below(&c->rng, TOPICS_MAX);
    char name[] = {'t', (char)('0' + t), '\0'};
    switch (rng_below(&c->rng, 4)) {
    case 0:
        bounce(m);
        break;
    case 1:
        zk_mem_disconnect(c->w.mem, session_of(&m->client));
        pass(&c->w, (int64_t)rng_below(&c->rng, 50) * 10);
        zk_mem_reconnect(c->w.mem, session_of(&m->client));
        break;
    default:
        /* Not at once under the same name: the removal of a mark whose reply was lost is repeated,
         * and would hit the next mark. */
        if (wishes[t].gone_ms > 0 &&
            loop_now_ms(c->w.loop) - wishes[t].gone_ms > 5 * ZK_CALLS_RETRY_MS) {
            create_topic(c, name);
            wishes[t].exists = true;
        } else if (wishes[t].exists) {
            delete_topic(c, name);
            wishes[t].exists = false;
        }
    }
}

static void rejoin_expired(struct cluster *c)
{
    for (int32_t i = 0; i < c->count; i++) {
        if (c->members[i].client.expired) {
            client_close(&c->members[i].client);
            member_join(&c->members[i]);
        }
    }
}

/* Brokers and controllers come and go, requests and replies get lost, topics are made and deleted:
 * never two controllers with a say; and once it is quiet, what was asked for is so, everywhere. */
Test(ctl_driver, everything_asked_for_is_so_in_the_end, .timeout = 240)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct cluster c;
        struct wish wishes[TOPICS_MAX] = {{false, 0}};
        cluster_init(&c, 3, seed);
        c.delay_ms = seed % 2 == 0 ? 40 : 300;
        zk_mem_set_loss_rate(c.w.mem, seed % 2 == 0 ? 12 : 4);
        cluster_join(&c);
        see(&c, wishes);
        for (int round = 0; round < 40; round++) {
            disturb(&c, wishes);
            pass(&c.w, (int64_t)rng_below(&c.rng, 20) * 10);
            see(&c, wishes);
            rejoin_expired(&c);
        }
        zk_mem_set_loss_rate(c.w.mem, 0);
        pass(&c.w, 2 * QUIET_MS);
        expect_everybody_live(&c);
        for (int32_t t = 0; t < TOPICS_MAX; t++) {
            char name[] = {'t', (char)('0' + t), '\0'};
            if (wishes[t].exists) {
                expect_led(&c, name);
            } else {
                expect_gone(&c, name);
            }
        }
        cluster_fini(&c);
    }
}
