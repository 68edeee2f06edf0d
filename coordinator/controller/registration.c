#include "controller/registration.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_calls.h"
#include "znode/path.h"

/* ---- Setup: the top-level nodes, then the cluster id. */

static const char *const top_level[] = {
    "/consumers",
    "/brokers",
    PATH_BROKER_IDS,
    PATH_TOPICS,
    PATH_BROKER_SEQID,
    PATH_CONFIG,
    PATH_CONFIG_CHANGES,
    PATH_CONFIG_TOPICS,
    "/config/clients",
    "/config/users",
    PATH_CONFIG_BROKERS,
    "/config/ips",
    "/admin",
    PATH_DELETE_TOPICS,
    PATH_ISR_CHANGES,
    PATH_PRODUCER_ID_BLOCK,
    PATH_LOG_DIR_EVENTS,
    "/cluster",
};

enum { TOP_LEVEL_COUNT = sizeof(top_level) / sizeof(top_level[0]) };

/* What both steps before registering begin with. */
struct registration_step {
    struct zk_calls calls;
};

void registration_cancel(struct registration_step *step)
{
    if (step != NULL) {
        zk_calls_fini(&step->calls);
        mem_free(step);
    }
}

struct setup {
    struct registration_step step; /* first */
    char proposed_id[UUID_TEXT_SIZE + 1];
    registration_setup_fn *fn;
    void *arg;
    int32_t waiting;
    enum err err; /* the first failure */
};

static void setup_done(struct setup *setup, enum err err, struct str cluster_id, const char *text)
{
    /* No call is under way: nothing comes after this. */
    setup->fn(setup->arg, err, cluster_id, text);
    registration_cancel(&setup->step);
}

static void on_cluster_id(void *arg, const struct zk_result *result, bool repeated);

static void on_cluster_id_made(void *arg, const struct zk_result *result, bool repeated)
{
    struct setup *setup = arg;
    (void)repeated;
    if (result->err == ERR_OK || result->err == ERR_EXISTS) { /* perhaps another broker's */
        zk_calls_get(&setup->step.calls, PATH_CLUSTER_ID, false, on_cluster_id, setup);
    } else {
        setup_done(setup, result->err, STR_NULL, "cannot create /cluster/id in ZooKeeper");
    }
}

static void on_cluster_id(void *arg, const struct zk_result *result, bool repeated)
{
    struct setup *setup = arg;
    struct arena arena = {0};
    struct errmsg msg = {""};
    struct str id;
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        struct buf data = {0};
        znode_cluster_id_encode(str_of(setup->proposed_id), &data);
        zk_calls_create(&setup->step.calls, PATH_CLUSTER_ID, (struct bytes){data.data, data.size},
                        ZK_PERSISTENT, on_cluster_id_made, setup);
        buf_fini(&data);
        return;
    }
    enum err err = result->err;
    if (err == ERR_OK) {
        err = znode_cluster_id_decode(&arena, result->data, &id, &msg);
        errmsg_wrap(&msg, "/cluster/id in ZooKeeper cannot be read");
    } else {
        errmsg_set(&msg, "cannot read /cluster/id in ZooKeeper: %s", err_text(err));
    }
    setup_done(setup, err, err == ERR_OK ? id : STR_NULL, err == ERR_OK ? "" : msg.text);
    arena_fini(&arena);
}

static void make_top_level(struct setup *setup);

static void on_top_level(void *arg, const struct zk_result *result, bool repeated)
{
    struct setup *setup = arg;
    (void)repeated;
    if (result->err != ERR_OK && result->err != ERR_EXISTS && setup->err == ERR_OK) {
        setup->err = result->err;
    }
    if (--setup->waiting > 0) {
        return;
    }
    if (setup->err == ERR_NOT_FOUND) {
        make_top_level(setup); /* a parent's repeated attempt came after its child's */
        return;
    }
    if (setup->err != ERR_OK) {
        setup_done(setup, setup->err, STR_NULL, "cannot create the top-level nodes in ZooKeeper");
        return;
    }
    zk_calls_get(&setup->step.calls, PATH_CLUSTER_ID, false, on_cluster_id, setup);
}

/* Parents stand before children, and a session's operations keep their order; an attempt that is
 * repeated may come late, then its children fail with ERR_NOT_FOUND and all is tried again. */
static void make_top_level(struct setup *setup)
{
    setup->waiting = TOP_LEVEL_COUNT;
    setup->err = ERR_OK;
    for (int32_t i = 0; i < TOP_LEVEL_COUNT; i++) {
        zk_calls_create(&setup->step.calls, top_level[i], (struct bytes){NULL, 0}, ZK_PERSISTENT,
                        on_top_level, setup);
    }
}

struct registration_step *registration_setup(struct loop *loop, struct zk *zk,
                                             struct str proposed_id, registration_setup_fn *fn,
                                             void *arg)
{
    struct setup *setup = mem_new(struct setup);
    must(proposed_id.size == UUID_TEXT_SIZE);
    memcpy(setup->proposed_id, proposed_id.ptr, UUID_TEXT_SIZE);
    setup->fn = fn;
    setup->arg = arg;
    zk_calls_init(&setup->step.calls, loop);
    zk_calls_set_session(&setup->step.calls, zk);
    make_top_level(setup);
    return &setup->step;
}

/* ---- A broker id: the version of a node that everybody writes. */

struct id_request {
    struct registration_step step; /* first */
    int32_t reserved_max;
    registration_id_fn *fn;
    void *arg;
};

static void on_seqid(void *arg, const struct zk_result *result, bool repeated)
{
    struct id_request *request = arg;
    (void)repeated; /* a lost attempt wastes a number, no more */
    request->fn(request->arg, result->err,
                result->err == ERR_OK ? request->reserved_max + result->stat.version : -1);
    registration_cancel(&request->step);
}

struct registration_step *registration_generate_id(struct loop *loop, struct zk *zk,
                                                   int32_t reserved_max, registration_id_fn *fn,
                                                   void *arg)
{
    struct id_request *request = mem_new(struct id_request);
    request->reserved_max = reserved_max;
    request->fn = fn;
    request->arg = arg;
    zk_calls_init(&request->step.calls, loop);
    zk_calls_set_session(&request->step.calls, zk);
    zk_calls_set(&request->step.calls, PATH_BROKER_SEQID, (struct bytes){(const uint8_t *)"", 0},
                 -1, on_seqid, request);
    return &request->step;
}

/* ---- Being registered.
 *
 *   IDLE -> READING the others -> CREATING -> REGISTERED
 *                ^                   | exists
 *                |                   v
 *                +---- gone ---- LOOKING -> WAITING --deadline--> REFUSED */

enum reg_state {
    REG_IDLE,
    REG_READING,
    REG_CREATING,
    REG_LOOKING,
    REG_WAITING,
    REG_REGISTERED,
    REG_REFUSED,
};

struct registration {
    struct loop *loop;
    struct registration_host *host;
    struct zk_calls calls;
    struct zk *zk;
    int32_t broker_id;
    struct arena arena; /* the endpoints */
    struct znode_broker broker;
    char *path;
    enum reg_state state;
    int64_t epoch;
    bool withdrawn;           /* we have removed our node, or are about to */
    int64_t previous_session; /* in which we were registered before; 0 */
    char *cluster;            /* what /cluster/id held when we looked first; NULL: not yet */
    struct list others;       /* brokers that are being read */
    int32_t waiting;          /* how many */
    int64_t holder_session;   /* while WAITING */
    int64_t deadline_ms;      /* of the wait */
    struct loop_timer deadline;
};

static void look(struct registration *reg);
static void watch_mine(struct registration *reg);

static void move(struct registration *reg, enum reg_state state)
{
    static const unsigned allowed[] = {
        [REG_IDLE] = 1 << REG_READING,
        [REG_READING] = 1 << REG_CREATING | 1 << REG_REFUSED,
        [REG_CREATING] = 1 << REG_REGISTERED | 1 << REG_LOOKING | 1 << REG_REFUSED,
        [REG_LOOKING] =
            1 << REG_REGISTERED | 1 << REG_WAITING | 1 << REG_CREATING | 1 << REG_REFUSED,
        [REG_WAITING] = 1 << REG_LOOKING,
        [REG_REGISTERED] = 0,
        [REG_REFUSED] = 0,
    };
    must((allowed[reg->state] & 1u << state) != 0);
    reg->state = state;
}

static void registered(struct registration *reg, int64_t epoch)
{
    move(reg, REG_REGISTERED);
    loop_timer_cancel(&reg->deadline);
    reg->epoch = epoch;
    reg->previous_session = reg->zk->ops->session_id(reg->zk);
    watch_mine(reg);
    reg->host->registered(reg->host, epoch);
}

static void refuse(struct registration *reg, enum err err, const char *text)
{
    move(reg, REG_REFUSED);
    loop_timer_cancel(&reg->deadline);
    reg->host->refused(reg->host, err, text);
}

static bool session_over(enum err err)
{
    return err == ERR_ZK_SESSION_EXPIRED || err == ERR_CLOSED;
}

/* ZooKeeper does not let us, and will not as long as nobody changes that. Nothing is said when the
 * session is over: the next one begins anew. */
static void refuse_forbidden(struct registration *reg, enum err err, const char *what,
                             const char *path)
{
    char text[300];
    if (session_over(err)) {
        return;
    }
    snprintf(text, sizeof(text),
             "error[E-ZK-06]: this broker cannot register: ZooKeeper does not let it %s %s (%s).\n"
             "  Look at the permissions of that node (getAcl in zkCli).",
             what, path, err_text(err));
    refuse(reg, err, text);
}

/* ---- Our node. Registered as unclean we are until the controller says otherwise, there. When it
 * is removed, the controller takes us for dead, and nothing else tells us. (Kafka's brokers stay
 * out of the cluster then, until they are restarted.) */

static void on_mine(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    struct arena arena = {0};
    struct znode_broker broker;
    bool ours = result->err == ERR_OK && result->stat.czxid == reg->epoch;
    (void)repeated;
    if (reg->state != REG_REGISTERED || reg->withdrawn) {
        return;
    }
    if (!ours && (result->err == ERR_OK || result->err == ERR_NOT_FOUND)) {
        reg->host->gone(reg->host);
        return;
    }
    if (ours && reg->broker.unclean &&
        znode_broker_decode(&arena, result->data, &broker, NULL) == ERR_OK && !broker.unclean) {
        reg->broker.unclean = false;
        reg->host->settled(reg->host);
    }
    arena_fini(&arena);
}

static void watch_mine(struct registration *reg)
{
    if (reg->state == REG_REGISTERED && !reg->withdrawn) {
        zk_calls_get(&reg->calls, reg->path, true, on_mine, reg);
    }
}

/* ---- Creating. */

static void on_ids_made(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)repeated;
    if (result->err == ERR_OK || result->err == ERR_EXISTS) {
        look(reg);
    } else if (!session_over(result->err)) {
        refuse(reg, result->err,
               "error[E-ZK-05]: " PATH_BROKER_IDS " is missing in ZooKeeper and cannot be made.");
    }
}

static void on_brokers_made(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)result, (void)repeated; /* if it failed, so does what belongs below it */
    zk_calls_create(&reg->calls, PATH_BROKER_IDS, (struct bytes){NULL, 0}, ZK_PERSISTENT,
                    on_ids_made, reg);
}

/* Somebody removed them since we started. */
static void make_parents(struct registration *reg)
{
    move(reg, REG_LOOKING);
    zk_calls_create(&reg->calls, "/brokers", (struct bytes){NULL, 0}, ZK_PERSISTENT,
                    on_brokers_made, reg);
}

static void on_created(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        must(result->results_count == 3);
        registered(reg, result->results[1].stat.czxid);
    } else if (result->err == ERR_NOT_FOUND) {
        make_parents(reg);
    } else if (result->err == ERR_EXISTS) {
        move(reg, REG_LOOKING); /* somebody holds it, perhaps we ourselves after a lost reply */
        look(reg);
    } else {
        refuse_forbidden(reg, result->err, "make", reg->path);
    }
}

/* Creating and setting in one transaction: the second result tells the czxid. The third step tells
 * our lives apart: all our registrations have the same version, but the node above them is a
 * version further after each, and who changes a registration checks that (ctl_io_settle_broker()).
 */
static void create(struct registration *reg)
{
    struct buf data = {0};
    move(reg, REG_CREATING);
    reg->broker.timestamp_ms = loop_wall_ms(reg->loop);
    znode_broker_encode(&reg->broker, &data);
    struct zk_op ops[] = {
        {ZK_OP_CREATE, reg->path, {NULL, 0}, 0, ZK_EPHEMERAL},
        {ZK_OP_SET, reg->path, {data.data, data.size}, 0, 0},
        {ZK_OP_SET, PATH_BROKER_IDS, {NULL, 0}, -1, 0},
    };
    zk_calls_multi(&reg->calls, ops, 3, on_created, reg);
    buf_fini(&data);
}

/* ---- The node exists: whose is it? */

/* "host:port" of whoever holds the node. */
static void describe_holder(const struct zk_result *result, char *text, size_t size)
{
    struct arena arena = {0};
    struct znode_broker broker;
    if (znode_broker_decode(&arena, result->data, &broker, NULL) == ERR_OK &&
        broker.endpoints_count > 0) {
        snprintf(text, size, "%.*s:%d", STR_ARG(broker.endpoints[0].host),
                 broker.endpoints[0].port);
    } else {
        snprintf(text, size, "unknown address");
    }
    arena_fini(&arena);
}

static int64_t session_timeout_ms(const struct registration *reg)
{
    return reg->zk->ops->session_timeout_ms(reg->zk);
}

static void start_waiting(struct registration *reg, const struct zk_result *result)
{
    char holder[300];
    char line[512];
    move(reg, REG_WAITING);
    describe_holder(result, holder, sizeof(holder));
    if (reg->holder_session != result->stat.ephemeral_owner) {
        /* A new holder is a new wait. Ensembles round timeouts up, and start them anew after
         * electing a leader: half as long again. */
        int64_t grace_ms = session_timeout_ms(reg) / 2;
        if (grace_ms < REGISTRATION_GRACE_MIN_MS) {
            grace_ms = REGISTRATION_GRACE_MIN_MS;
        }
        reg->holder_session = result->stat.ephemeral_owner;
        reg->deadline_ms = loop_now_ms(reg->loop) + session_timeout_ms(reg) + grace_ms;
        snprintf(line, sizeof(line),
                 "waiting: broker id %d is still registered by an earlier session (%s). It expires "
                 "in <= %lld s; continuing then.",
                 reg->broker_id, holder, (long long)(session_timeout_ms(reg) + 999) / 1000);
        reg->host->waiting(reg->host, line);
    }
    loop_timer_set(reg->loop, &reg->deadline, reg->deadline_ms);
}

static void refuse_duplicate(struct registration *reg, const struct zk_result *result)
{
    char holder[300];
    char text[800];
    describe_holder(result, holder, sizeof(holder));
    snprintf(text, sizeof(text),
             "error[E-BROKER-01]: broker id %d belongs to another live broker (%s).\n"
             "  Its ZooKeeper session 0x%llx has kept %s alive while this broker waited.\n"
             "  Give this broker an id of its own (broker.id), or stop the other one.",
             reg->broker_id, holder, (unsigned long long)result->stat.ephemeral_owner, reg->path);
    refuse(reg, ERR_DUPLICATE_BROKER_REGISTRATION, text);
}

/* Not repeated: whoever waits for our id registers as soon as the node is gone. */
static void remove_node(struct registration *reg, zk_call_fn *fn)
{
    zk_calls_once(&reg->calls, &(struct zk_op){ZK_OP_DELETE, reg->path, {NULL, 0}, -1, 0}, fn, reg);
}

static void on_old_removed(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)repeated;
    if (result->err == ERR_ZK_CONNECTION_LOSS) {
        look(reg); /* it may be another's by now */
    } else if (result->err == ERR_OK || result->err == ERR_NOT_FOUND) {
        create(reg);
    } else {
        refuse_forbidden(reg, result->err, "remove", reg->path);
    }
}

static void on_holder(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)repeated;
    int64_t ours = reg->zk->ops->session_id(reg->zk);
    if (result->err == ERR_NOT_FOUND) {
        create(reg);
    } else if (result->err != ERR_OK) {
        refuse_forbidden(reg, result->err, "read", reg->path);
    } else if (result->stat.ephemeral_owner == ours) {
        registered(reg, result->stat.czxid);
    } else if (result->stat.ephemeral_owner == reg->previous_session) {
        /* Our own, of a session that has expired: ZooKeeper is late with its removal. */
        remove_node(reg, on_old_removed);
    } else if (reg->holder_session == result->stat.ephemeral_owner &&
               loop_now_ms(reg->loop) >= reg->deadline_ms) {
        refuse_duplicate(reg, result);
    } else {
        start_waiting(reg, result);
    }
}

static void look(struct registration *reg)
{
    zk_calls_get(&reg->calls, reg->path, true, on_holder, reg);
}

static void on_deadline(struct loop_timer *timer)
{
    struct registration *reg = container_of(timer, struct registration, deadline);
    if (reg->state == REG_WAITING) {
        move(reg, REG_LOOKING);
        look(reg);
    }
}

/* ---- The others: two brokers at one address would confuse every client. */

struct other {
    struct list link; /* registration->others */
    struct registration *reg;
    int32_t id;
};

static const struct znode_endpoint *shared_address(const struct znode_broker *a,
                                                   const struct znode_broker *b)
{
    for (int32_t i = 0; i < a->endpoints_count; i++) {
        for (int32_t j = 0; j < b->endpoints_count; j++) {
            if (a->endpoints[i].port == b->endpoints[j].port &&
                str_eq(a->endpoints[i].host, b->endpoints[j].host)) {
                return &a->endpoints[i];
            }
        }
    }
    return NULL;
}

static void refuse_address(struct registration *reg, int32_t other,
                           const struct znode_endpoint *endpoint)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "error[E-LISTENER-03]: broker %d advertises %.*s:%d, which broker %d already "
             "advertises.\n"
             "  Clients could not tell the two apart. Give this broker an address of its own in "
             "advertised.listeners, for example:\n"
             "      %.*s://%.*s:%d",
             reg->broker_id, STR_ARG(endpoint->host), endpoint->port, other,
             STR_ARG(endpoint->listener), STR_ARG(endpoint->host), endpoint->port + 1);
    refuse(reg, ERR_INVALID, text);
}

static void on_other(void *arg, const struct zk_result *result, bool repeated)
{
    struct other *other = arg;
    struct registration *reg = other->reg;
    struct arena arena = {0};
    struct znode_broker broker;
    int32_t id = other->id;
    (void)repeated;
    list_remove(&other->link);
    mem_free(other);
    reg->waiting--;
    if (reg->state == REG_READING && result->err == ERR_OK &&
        znode_broker_decode(&arena, result->data, &broker, NULL) == ERR_OK) {
        const struct znode_endpoint *shared = shared_address(&reg->broker, &broker);
        if (shared != NULL) {
            refuse_address(reg, id, shared);
        }
    }
    arena_fini(&arena);
    if (reg->state == REG_READING && reg->waiting == 0) {
        create(reg);
    }
}

static void on_ids(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    struct arena arena = {0};
    (void)repeated;
    if (result->err != ERR_OK && result->err != ERR_NOT_FOUND) {
        refuse_forbidden(reg, result->err, "read", PATH_BROKER_IDS);
        return;
    }
    for (int32_t i = 0; i < result->children_count; i++) {
        long id = strtol(arena_cstr(&arena, result->children[i]), NULL, 10);
        if (id != reg->broker_id) {
            struct other *other = mem_new(struct other);
            other->reg = reg;
            other->id = (int32_t)id;
            list_push_back(&reg->others, &other->link);
            reg->waiting++;
            zk_calls_get(&reg->calls, path_broker_id(&arena, (int32_t)id), false, on_other, other);
        }
    }
    arena_fini(&arena);
    if (reg->waiting == 0) {
        create(reg);
    }
}

/* ---- The cluster: one process stays in one. An ensemble that has lost its data knows no topic,
 * and another one topics of the same names with other ids: we would take all that we have for
 * deleted.
 */

static void refuse_cluster(struct registration *reg, struct str now)
{
    char text[800];
    snprintf(
        text, sizeof(text),
        "error[E-ZK-07]: ZooKeeper is not the one in which this broker registered before.\n"
        "  " PATH_CLUSTER_ID " was   %s\n"
        "  " PATH_CLUSTER_ID " is    %.*s\n"
        "  Usual cause: ZooKeeper's data was lost, or zookeeper.connect names another ensemble "
        "now. Restore its data or correct the address.",
        reg->cluster, STR_ARG(now));
    refuse(reg, ERR_INCONSISTENT_CLUSTER_ID, text);
}

static void on_cluster(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    struct str now = {(const char *)result->data.data, result->data.size};
    (void)repeated;
    if (result->err != ERR_OK && result->err != ERR_NOT_FOUND) {
        refuse_forbidden(reg, result->err, "read", PATH_CLUSTER_ID);
        return;
    }
    now = result->err == ERR_OK && now.ptr != NULL ? now : STR("(missing)");
    if (reg->cluster != NULL && !str_is(now, reg->cluster)) {
        refuse_cluster(reg, now);
        return;
    }
    if (reg->cluster == NULL && result->err == ERR_OK) {
        reg->cluster = str_dup(now);
    }
    zk_calls_children(&reg->calls, PATH_BROKER_IDS, false, on_ids, reg);
}

static void read_others(struct registration *reg)
{
    move(reg, REG_READING);
    zk_calls_get(&reg->calls, PATH_CLUSTER_ID, false, on_cluster, reg);
}

/* ---- Life. */

struct registration *registration_new(struct loop *loop, int32_t broker_id,
                                      const struct znode_broker *broker,
                                      struct registration_host *host)
{
    struct registration *reg = mem_new(struct registration);
    struct znode_endpoint *endpoints;
    reg->loop = loop;
    reg->host = host;
    reg->broker_id = broker_id;
    reg->epoch = -1;
    reg->path = mem_printf("%s/%d", PATH_BROKER_IDS, broker_id);
    reg->broker = *broker;
    endpoints =
        arena_array(&reg->arena, struct znode_endpoint, (size_t)broker->endpoints_count + 1);
    for (int32_t i = 0; i < broker->endpoints_count; i++) {
        endpoints[i] = broker->endpoints[i];
        endpoints[i].listener = arena_str(&reg->arena, broker->endpoints[i].listener);
        endpoints[i].host = arena_str(&reg->arena, broker->endpoints[i].host);
    }
    reg->broker.endpoints = endpoints;
    reg->broker.rack = arena_str(&reg->arena, broker->rack);
    zk_calls_init(&reg->calls, loop);
    loop_timer_init(&reg->deadline, on_deadline);
    list_init(&reg->others);
    return reg;
}

void registration_start(struct registration *reg, struct zk *zk)
{
    must(reg->state == REG_IDLE);
    reg->zk = zk;
    zk_calls_set_session(&reg->calls, zk);
    read_others(reg);
}

void registration_session_lost(struct registration *reg)
{
    zk_calls_set_session(&reg->calls, NULL);
    loop_timer_cancel(&reg->deadline);
    while (!list_empty(&reg->others)) {
        struct other *other = container_of(reg->others.next, struct other, link);
        list_remove(&other->link);
        mem_free(other);
    }
    reg->zk = NULL;
    reg->epoch = -1;
    reg->withdrawn = false;
    reg->waiting = 0;
    reg->holder_session = 0;
    reg->state = REG_IDLE;
}

static void on_left_node(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)repeated;
    if (result->err == ERR_OK &&
        result->stat.ephemeral_owner == reg->zk->ops->session_id(reg->zk)) {
        registration_withdraw(reg);
    }
}

/* The end of the session will remove the node if this could not. */
static void on_withdrawn(void *arg, const struct zk_result *result, bool repeated)
{
    struct registration *reg = arg;
    (void)repeated;
    if (result->err == ERR_ZK_CONNECTION_LOSS) {
        zk_calls_exists(&reg->calls, reg->path, false, on_left_node, reg);
    }
}

void registration_withdraw(struct registration *reg)
{
    if (reg->state == REG_REGISTERED) {
        reg->withdrawn = true;
        remove_node(reg, on_withdrawn);
    } else {
        registration_session_lost(reg); /* what is being made goes with the session */
    }
}

bool registration_on_watch(struct registration *reg, enum zk_watch_event event, struct str path)
{
    (void)event;
    if (!str_is(path, reg->path)) {
        return false;
    }
    if (reg->state == REG_WAITING) {
        loop_timer_cancel(&reg->deadline);
        move(reg, REG_LOOKING);
        look(reg);
    }
    watch_mine(reg);
    return true;
}

int64_t registration_epoch(const struct registration *reg)
{
    return reg->epoch;
}

void registration_free(struct registration *reg)
{
    if (reg == NULL) {
        return;
    }
    registration_session_lost(reg);
    zk_calls_fini(&reg->calls);
    arena_fini(&reg->arena);
    mem_free(reg->cluster);
    mem_free(reg->path);
    mem_free(reg);
}
