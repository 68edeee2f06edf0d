/* driver_fixture.h: controllers, each with its machine, over one ZooKeeper in memory, and brokers
 * that do as they are told and remember it: elections, creation, deletion, death, lost requests and
 * replies. */
#pragma once

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

static inline void request_free(struct request *request)
{
    loop_timer_cancel(&request->arrives);
    list_remove(&request->link);
    buf_fini(&request->bytes);
    mem_free(request);
}

static inline struct told *told_of(struct member *m, const char *topic, int32_t partition)
{
    int32_t t = topic[1] - '0';
    cr_assert(topic[0] == 't' && t >= 0 && t < TOPICS_MAX && partition < PARTITIONS);
    return &m->told[t][partition];
}

static inline void take_metadata(struct member *m, const Barnabas__Control__UpdateMetadata *body)
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
static inline Barnabas__Control__TopicErrors *topic_answer(struct arena *arena, char *name,
                                                           size_t count)
{
    Barnabas__Control__TopicErrors *errors = arena_new(arena, Barnabas__Control__TopicErrors);
    barnabas__control__topic_errors__init(errors);
    errors->name = name;
    errors->partitions = arena_array(arena, Barnabas__Control__PartitionError *, count + 1);
    return errors;
}

static inline void add_answer(struct arena *arena, Barnabas__Control__TopicErrors *topic,
                              int32_t partition)
{
    Barnabas__Control__PartitionError *answer = arena_new(arena, Barnabas__Control__PartitionError);
    barnabas__control__partition_error__init(answer);
    control_set(answer, partition, partition);
    control_set(answer, error, 0);
    topic->partitions[topic->n_partitions++] = answer;
}

static inline void take_leaders(struct arena *arena, struct member *m,
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

static inline void take_stop(struct arena *arena, struct member *m,
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

static inline enum err check_epochs(struct member *m, const Barnabas__Control__Request *request)
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

static inline void answer(struct member *m, struct bytes bytes, struct buf *out)
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

static inline void on_arrival(struct loop_timer *timer)
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

static inline void host_send(struct ctl_host *host, int32_t broker_id,
                             const struct znode_endpoint *endpoints, int32_t endpoints_count,
                             int kind, struct bytes bytes, uint64_t cmd_id)
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

static inline void host_disconnect(struct ctl_host *host, int32_t broker_id)
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

static inline void host_controller_changed(struct ctl_host *host, int32_t controller_id,
                                           int32_t epoch)
{
    (void)host, (void)controller_id, (void)epoch;
}

/* ---- Members. */

static inline void on_registered(struct registration_host *host, int64_t broker_epoch)
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

static inline void on_settled(struct registration_host *host)
{
    struct member *m = container_of(host, struct member, registration_host);
    m->settled++;
}

static inline void on_waiting(struct registration_host *host, const char *line)
{
    (void)host, (void)line;
}

static inline void on_refused(struct registration_host *host, enum err err, const char *text)
{
    (void)host, (void)err;
    cr_assert(false, "%s", text);
}

static inline void on_gone(struct registration_host *host)
{
    (void)host;
    cr_assert(false, "a registration was removed");
}

static inline void on_watch(struct client *client, enum zk_watch_event event, struct str path)
{
    struct member *m = container_of(client, struct member, client);
    if (!registration_on_watch(m->registration, event, path)) {
        ctl_driver_on_watch(m->driver, event, path);
    }
}

static inline void on_expired(struct client *client)
{
    struct member *m = container_of(client, struct member, client);
    m->epoch = -1;
    registration_session_lost(m->registration);
    ctl_driver_session_lost(m->driver);
}

static inline void member_join(struct member *m)
{
    client_open(&m->client, &m->cluster->w);
    registration_start(m->registration, m->client.zk);
}

static inline void member_init(struct cluster *c, int32_t id)
{
    struct member *m = &c->members[id - 1];
    struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("h"), 9000 + id, ZNODE_PLAINTEXT};
    struct znode_broker broker = {.endpoints = &endpoint, .endpoints_count = 1, .jmx_port = -1};
    struct ctl_config config = {
        .broker_id = id, .delete_topics = true, .rebalance_check_ms = 300000, .seed = 5};
    *m = (struct member){.cluster = c, .id = id, .epoch = -1, .controller_epoch = -1};
    m->registration_host =
        (struct registration_host){on_registered, on_settled, on_waiting, on_refused, on_gone};
    m->host = (struct ctl_host){host_send, host_disconnect, host_controller_changed};
    m->client.on_watch = on_watch;
    m->client.on_expired = on_expired;
    m->registration = registration_new(c->w.loop, id, &broker, &m->registration_host);
    m->driver = ctl_driver_new(c->w.loop, &config, &m->host);
    c->count++;
}

static inline void ignore_setup(void *arg, enum err err, struct str cluster_id, const char *text)
{
    (void)arg, (void)cluster_id;
    cr_assert_eq(err, ERR_OK, "%s", text);
}

/* `count` brokers that have not joined yet. */
static inline void cluster_init(struct cluster *c, int32_t count, uint64_t seed)
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

static inline void cluster_join(struct cluster *c)
{
    for (int32_t i = 0; i < c->count; i++) {
        member_join(&c->members[i]);
    }
    run(&c->w);
}

static inline void cluster_fini(struct cluster *c)
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
static inline void bounce(struct member *m)
{
    zk_mem_expire(m->cluster->w.mem, session_of(&m->client));
    on_expired(&m->client);
    client_close(&m->client);
    member_join(m);
}

static inline struct member *active(struct cluster *c)
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

static inline void create_topic(struct cluster *c, const char *name)
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

static inline void delete_topic(struct cluster *c, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/admin/delete_topics/%s", name);
    zk_mem_poke(c->w.mem, path, "");
}

static inline bool node_exists(struct cluster *c, const char *parent, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", parent, name);
    return zk_mem_peek(c->w.mem, path, NULL, NULL);
}

/* ---- What must hold when all is quiet and every broker is there. */

static inline struct znode_state read_state(struct cluster *c, struct arena *arena,
                                            const char *topic, int32_t partition)
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

static inline bool in_ids(struct znode_ids ids, int32_t id)
{
    for (int32_t i = 0; i < ids.count; i++) {
        if (ids.ids[i] == id) {
            return true;
        }
    }
    return false;
}

static inline void expect_led(struct cluster *c, const char *topic)
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

static inline void expect_gone(struct cluster *c, const char *topic)
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

static inline void expect_everybody_live(struct cluster *c)
{
    struct member *controller = active(c);
    cr_assert_not_null(controller, "nobody is the controller");
    for (int32_t i = 0; i < c->count; i++) {
        cr_assert_eq(c->members[i].live_count, c->count, "as %d sees it", i + 1);
        cr_assert_eq(ctl_driver_controller_id(c->members[i].driver), controller->id);
    }
}
