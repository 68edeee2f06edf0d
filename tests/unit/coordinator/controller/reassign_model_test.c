/* Reassignments in the controller machine over random events: brokers die, restart and come back,
 * leaders change their ISR, controllers follow one another, writes fail or succeed without anybody
 * hearing of it, and partitions are moved and moves cancelled all the time.
 *
 * The model is ZooKeeper (a topic's node and states, with versions) and what each broker has of
 * each partition: whether a copy is there, and whether all that was acknowledged is in it. A leader
 * acknowledges only what its ISR has; who joins the ISR has everything. After every step:
 *
 *   A  as long as a state has a leader, all members of its ISR have a whole copy
 *   B  ISR and leader are replicas, of the node in ZooKeeper; adding and removing are replicas
 *   C  a copy is deleted only of who is not in the ISR, and no replica by the node, or one that
 * only just comes (again), which the controller does not know yet when it says so
 *
 * and when faults end, all moves come to their end, and copies are where the replicas are. */
#include "base/rng.h"
#include "ctl_fixture.h"

enum { BROKERS = 5, PARTS = 2, STEPS = 400, MIN_INSYNC = 2, QUEUE_MAX = 512, CALM_ROUNDS = 400 };

struct copy {
    bool there;
    bool whole;
    int32_t epoch; /* in which it was told of the replicas, in this life of its broker */
    int32_t replicas[BROKERS + 1];
    int32_t replicas_count;
};

struct state {
    bool exists;
    int32_t version, leader, leader_epoch, controller_epoch;
    int32_t isr[BROKERS + 1];
    int32_t eligible[BROKERS + 1];
    int32_t isr_count;
    int32_t eligible_count;
};

struct line {
    int32_t lists[3][BROKERS + 1]; /* replicas, adding, removing */
    int32_t counts[3];
};

/* A command that has not been carried out, or whose result is not known yet. */
struct job {
    enum ctl_event_kind kind; /* of the answer */
    uint64_t id;
    int32_t partition;
    int32_t broker;
    int32_t request; /* SENT: what kind */
    enum err err;
    int32_t version;
    uint32_t parts; /* one bit each: of a send */
};

struct world {
    struct bench b;
    struct rng rng;
    int32_t epoch; /* of the controller */
    struct line lines[PARTS];
    int32_t node_version;
    struct state states[PARTS];
    struct copy copies[PARTS][BROKERS + 1];
    bool alive[BROKERS + 1];
    int lives[BROKERS + 1];
    struct job jobs[QUEUE_MAX];
    int jobs_count;
    bool calm;
    int answers; /* CTL_REASSIGNED that came */
    int asked;
};

static bool in(const int32_t *list, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++) {
        if (list[i] == id) {
            return true;
        }
    }
    return false;
}

static bool is_replica(const struct world *w, int p, int32_t id)
{
    return in(w->lines[p].lists[0], w->lines[p].counts[0], id);
}

static bool in_isr(const struct world *w, int p, int32_t id)
{
    return in(w->states[p].isr, w->states[p].isr_count, id);
}

/* C */
static void check_deletion(const struct world *w, int p, int32_t id)
{
    const struct line *line = &w->lines[p];
    cr_assert(!in_isr(w, p, id), "the copy of ISR member %d is deleted", id);
    cr_assert(!is_replica(w, p, id) || in(line->lists[1], line->counts[1], id),
              "the copy of replica %d is deleted", id);
}

static bool chance(struct world *w, uint64_t one_in)
{
    return rng_one_in(&w->rng, one_in);
}

/* ---- What must hold. */

static void check(const struct world *w)
{
    for (int p = 0; p < PARTS; p++) {
        const struct state *s = &w->states[p];
        const struct line *line = &w->lines[p];
        for (int32_t i = 0; i < s->isr_count; i++) {
            cr_assert(is_replica(w, p, s->isr[i]), "ISR member %d is no replica",
                      s->isr[i]); /* B */
            cr_assert(w->copies[p][s->isr[i]].whole, "ISR member %d lacks records", s->isr[i]);
        }
        cr_assert(s->leader == -1 || in_isr(w, p, s->leader));
        cr_assert(line->counts[0] > line->counts[2]);
        for (int l = 1; l < 3; l++) {
            for (int32_t i = 0; i < line->counts[l]; i++) {
                cr_assert(is_replica(w, p, line->lists[l][i])); /* B */
            }
        }
    }
}

/* ---- ZooKeeper. */

static struct znode_ids ids_in(const int32_t *list, int32_t count)
{
    return (struct znode_ids){list, count};
}

static void take_ids(int32_t *list, int32_t *count, struct znode_ids from)
{
    cr_assert_leq(from.count, BROKERS);
    *count = from.count;
    for (int32_t i = 0; i < from.count; i++) {
        list[i] = from.ids[i];
    }
}

/* The leader goes on with what its ISR has; everybody else is behind from now on. As long as too
 * few are in sync nothing more is acknowledged, and those that are eligible have everything, too.
 */
static void go_on(struct world *w, int p)
{
    const struct state *s = &w->states[p];
    int32_t replicas = w->lines[p].counts[0];
    bool enough = s->isr_count >= (replicas < MIN_INSYNC ? replicas : MIN_INSYNC);
    for (int32_t id = 1; id <= BROKERS && s->leader >= 0; id++) {
        bool stands = !enough && in(s->eligible, s->eligible_count, id);
        w->copies[p][id].whole = w->copies[p][id].whole && (in_isr(w, p, id) || stands);
    }
}

static enum err write_state(struct world *w, const struct ctl_cmd *cmd, int32_t *version)
{
    struct state *s = &w->states[cmd->partition];
    if (cmd->kind == CTL_CREATE_STATE ? s->exists : cmd->version != s->version) {
        return cmd->kind == CTL_CREATE_STATE ? ERR_EXISTS : ERR_ZK_BAD_VERSION;
    }
    cr_assert_geq(cmd->state.leader_epoch, s->leader_epoch);
    *s = (struct state){.exists = true,
                        .version = cmd->kind == CTL_CREATE_STATE ? 0 : s->version + 1,
                        .leader = cmd->state.leader,
                        .leader_epoch = cmd->state.leader_epoch,
                        .controller_epoch = cmd->state.controller_epoch};
    take_ids(s->isr, &s->isr_count, cmd->state.isr);
    take_ids(s->eligible, &s->eligible_count, cmd->state.eligible);
    *version = s->version;
    go_on(w, cmd->partition);
    return ERR_OK;
}

static enum err write_node(struct world *w, const struct ctl_cmd *cmd, int32_t *version)
{
    if (cmd->version != w->node_version) {
        return ERR_ZK_BAD_VERSION;
    }
    cr_assert_eq(cmd->node.partitions_count, PARTS);
    for (int p = 0; p < PARTS; p++) {
        struct line *line = &w->lines[p];
        take_ids(line->lists[0], &line->counts[0], cmd->node.partitions[p].replicas);
        take_ids(line->lists[1], &line->counts[1], cmd->node.partitions[p].adding);
        take_ids(line->lists[2], &line->counts[2], cmd->node.partitions[p].removing);
    }
    *version = ++w->node_version;
    return ERR_OK;
}

/* ---- Brokers. */

/* As brokers do it, only a newer epoch is listened to. */
static void take_leader(struct world *w, const Barnabas__Control__LeaderAndIsr *body, int32_t id)
{
    for (size_t i = 0; i < body->n_topics; i++) {
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__LeaderAndIsrPartition *p = body->topics[i]->partitions[j];
            struct copy *copy = &w->copies[p->partition][id];
            copy->there = true;
            if (p->leader_epoch > copy->epoch) {
                copy->epoch = p->leader_epoch;
                take_ids(copy->replicas, &copy->replicas_count,
                         ids_in(p->replicas, (int32_t)p->n_replicas));
            }
        }
    }
}

static void forget_copy(struct world *w, int p, int32_t id)
{
    w->copies[p][id] = (struct copy){.epoch = -1};
}

/* A broker starts: what it was told is forgotten. */
static void begin_life(struct world *w, int id)
{
    w->lives[id]++;
    for (int p = 0; p < PARTS; p++) {
        w->copies[p][id].epoch = -1;
        w->copies[p][id].replicas_count = 0;
    }
}

static uint32_t take_stop(struct world *w, const Barnabas__Control__StopReplica *body, int32_t id)
{
    uint32_t parts = 0;
    for (size_t i = 0; i < body->n_topics; i++) {
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__StopReplicaPartition *p = body->topics[i]->partitions[j];
            parts |= 1u << p->partition;
            if (p->delete_) {
                check_deletion(w, p->partition, id);
                forget_copy(w, p->partition, id);
            }
        }
    }
    return parts;
}

/* What brokers find out by themselves (broker/control/strays.h). */
static void take_metadata(struct world *w, const Barnabas__Control__UpdateMetadata *body,
                          int32_t id)
{
    for (size_t i = 0; i < body->n_topics; i++) {
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__UpdateMetadataPartition *p = body->topics[i]->partitions[j];
            bool ours =
                in(p->replicas, (int32_t)p->n_replicas, id) || in(p->isr, (int32_t)p->n_isr, id);
            if (!ours && p->leader >= 0 && w->copies[p->partition][id].there) {
                check_deletion(w, p->partition, id);
                forget_copy(w, p->partition, id);
            }
        }
    }
}

static void take_request(struct world *w, const struct ctl_cmd *cmd, struct job *job)
{
    job->request = (int32_t)cmd->request->kind;
    if (!w->alive[cmd->broker_id] || (!w->calm && chance(w, 8))) {
        job->err = ERR_CLOSED;
        return;
    }
    if (cmd->request->leader_and_isr != NULL) {
        take_leader(w, cmd->request->leader_and_isr, cmd->broker_id);
    } else if (cmd->request->stop_replica != NULL) {
        job->parts = take_stop(w, cmd->request->stop_replica, cmd->broker_id);
    } else {
        take_metadata(w, cmd->request->update_metadata, cmd->broker_id);
    }
    job->err = !w->calm && chance(w, 8) ? ERR_CLOSED : ERR_OK; /* the answer may be lost */
}

/* ---- Commands: carried out at once; that is known later. */

static void add_job(struct world *w, struct job job)
{
    cr_assert_lt(w->jobs_count, QUEUE_MAX);
    w->jobs[w->jobs_count++] = job;
}

static void take_write(struct world *w, const struct ctl_cmd *cmd)
{
    struct job job = {.kind = CTL_EV_WROTE, .id = cmd->id, .partition = cmd->partition};
    bool done = w->calm || !chance(w, 10);
    job.err = ERR_ZK_BAD_VERSION;
    if (done) {
        job.err = cmd->kind == CTL_WRITE_TOPIC ? write_node(w, cmd, &job.version)
                                               : write_state(w, cmd, &job.version);
    }
    if (!w->calm && job.err == ERR_OK && chance(w, 10)) {
        job.err = ERR_ZK_BAD_VERSION; /* done, and repeated, for its answer was lost */
    }
    add_job(w, job);
}

static void take_commands(struct world *w)
{
    for (int32_t i = 0; i < w->b.out.count; i++) {
        const struct ctl_cmd *cmd = &w->b.out.items[i];
        struct job job = {.id = cmd->id, .partition = cmd->partition, .broker = cmd->broker_id};
        switch (cmd->kind) {
        case CTL_CREATE_STATE:
        case CTL_WRITE_STATE:
        case CTL_WRITE_TOPIC:
            take_write(w, cmd);
            break;
        case CTL_READ_TOPIC:
            job.kind = CTL_EV_TOPIC;
            add_job(w, job);
            break;
        case CTL_READ_STATE:
            job.kind = CTL_EV_STATE;
            add_job(w, job);
            break;
        case CTL_SEND:
            job.kind = CTL_EV_SENT;
            take_request(w, cmd, &job);
            add_job(w, job);
            break;
        case CTL_REASSIGNED:
            w->answers++;
            break;
        default:
            break;
        }
    }
    check(w);
}

/* ---- Events. */

static void fill_state(const struct world *w, int p, struct ctl_state_info *info)
{
    const struct state *s = &w->states[p];
    *info = (struct ctl_state_info){
        .partition = p, .err = s->exists ? ERR_OK : ERR_NOT_FOUND, .version = s->version};
    info->state = (struct znode_state){s->leader,
                                       s->leader_epoch,
                                       s->controller_epoch,
                                       ids_in(s->isr, s->isr_count),
                                       false,
                                       ids_in(s->eligible, s->eligible_count)};
}

static void tell_topic(struct world *w)
{
    struct znode_partition parts[PARTS];
    struct ctl_state_info infos[PARTS];
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    for (int p = 0; p < PARTS; p++) {
        const struct line *line = &w->lines[p];
        parts[p] = (struct znode_partition){p, ids_in(line->lists[0], line->counts[0]),
                                            ids_in(line->lists[1], line->counts[1]),
                                            ids_in(line->lists[2], line->counts[2])};
        fill_state(w, p, &infos[p]);
    }
    event.u.topic.name = STR("t");
    event.u.topic.topic = (struct znode_topic){{{7}}, parts, PARTS};
    event.u.topic.version = w->node_version;
    event.u.topic.states = infos;
    step(&w->b, event);
    take_commands(w);
}

static void tell_brokers(struct world *w)
{
    int ids[BROKERS];
    int lives[BROKERS];
    int count = 0;
    for (int id = 1; id <= BROKERS; id++) {
        if (w->alive[id]) {
            ids[count] = id;
            lives[count++] = w->lives[id];
        }
    }
    brokers_alive(&w->b, ids, lives, count);
    take_commands(w);
}

static void tell_sent(struct world *w, const struct job *job)
{
    uint32_t parts = job->parts;
    int p = 0;
    if (job->err != ERR_OK) {
        sent_error(&w->b, job->id, job->err);
    } else if (job->request != BARNABAS__CONTROL__KIND__STOP_REPLICA) {
        sent_ok(&w->b, job->id);
    } else {
        Barnabas__Control__PartitionError answers[PARTS];
        Barnabas__Control__PartitionError *list[PARTS];
        Barnabas__Control__TopicErrors errors = BARNABAS__CONTROL__TOPIC_ERRORS__INIT;
        Barnabas__Control__TopicErrors *topics[] = {&errors};
        Barnabas__Control__StopReplicaResponse stop =
            BARNABAS__CONTROL__STOP_REPLICA_RESPONSE__INIT;
        Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
        struct ctl_event event = {.kind = CTL_EV_SENT};
        errors.name = (char *)"t";
        errors.partitions = list;
        for (; p < PARTS; p++) {
            if ((parts & 1u << p) != 0) {
                barnabas__control__partition_error__init(&answers[p]);
                control_set(&answers[p], partition, p);
                list[errors.n_partitions++] = &answers[p];
            }
        }
        stop.topics = topics;
        stop.n_topics = 1;
        response.stop_replica = &stop;
        event.u.sent.cmd_id = job->id;
        event.u.sent.response = &response;
        step(&w->b, event);
    }
    take_commands(w);
}

/* One job, in any order between brokers and ZooKeeper; ZooKeeper's answers come in order. */
static void run_job(struct world *w)
{
    int at = (int)rng_below(&w->rng, (uint64_t)w->jobs_count);
    for (int i = 0; w->jobs[at].kind != CTL_EV_SENT && i < at; i++) {
        at = w->jobs[i].kind != CTL_EV_SENT ? i : at;
    }
    struct job job = w->jobs[at];
    memmove(&w->jobs[at], &w->jobs[at + 1], (size_t)(w->jobs_count - at - 1) * sizeof(job));
    w->jobs_count--;
    struct ctl_event event = {.kind = CTL_EV_STATE};
    switch (job.kind) {
    case CTL_EV_WROTE:
        wrote(&w->b, job.id, job.err, job.version);
        take_commands(w);
        break;
    case CTL_EV_TOPIC:
        tell_topic(w);
        break;
    case CTL_EV_STATE:
        event.u.state.topic = STR("t");
        fill_state(w, job.partition, &event.u.state.info);
        step(&w->b, event);
        take_commands(w);
        break;
    default:
        tell_sent(w, &job);
        break;
    }
}

static void reign(struct world *w)
{
    const char *names[] = {"t"};
    step(&w->b, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    take_commands(w);
    w->jobs_count = 0;
    elect(&w->b, ++w->epoch);
    tell_brokers(w);
    topics_are(&w->b, names, 1);
    marks_are(&w->b, NULL, 0);
    step(&w->b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    tell_topic(w);
}

/* A broker dies, is back, or has restarted before anybody noticed. */
static void turn_broker(struct world *w)
{
    int id = 1 + (int)rng_below(&w->rng, BROKERS);
    bool bounces = w->alive[id] && chance(w, 2);
    w->alive[id] = bounces || !w->alive[id];
    if (w->alive[id]) {
        begin_life(w, id);
    }
    tell_brokers(w);
}

/* The leader lets in whoever has caught up, and drops who has not. */
static void change_isr(struct world *w)
{
    Barnabas__Control__AlterPartitionPartition partition =
        BARNABAS__CONTROL__ALTER_PARTITION_PARTITION__INIT;
    Barnabas__Control__AlterPartitionPartition *partitions[] = {&partition};
    Barnabas__Control__AlterPartitionTopic topic = BARNABAS__CONTROL__ALTER_PARTITION_TOPIC__INIT;
    Barnabas__Control__AlterPartitionTopic *topics[] = {&topic};
    Barnabas__Control__AlterPartition body = BARNABAS__CONTROL__ALTER_PARTITION__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    int p = (int)rng_below(&w->rng, PARTS);
    const struct state *s = &w->states[p];
    int32_t isr[BROKERS];
    int64_t epochs[BROKERS];
    const struct copy *leader = s->leader >= 0 ? &w->copies[p][s->leader] : NULL;
    if (leader == NULL || !w->alive[s->leader] || leader->epoch != s->leader_epoch) {
        return; /* nobody leads, or it has not heard of it */
    }
    partition.isr = isr;
    partition.isr_epochs = epochs;
    for (int32_t id = 1; id <= BROKERS; id++) {
        bool stays = in_isr(w, p, id) && (w->calm || !chance(w, 4));
        bool known = in(leader->replicas, leader->replicas_count, id);
        bool comes = w->alive[id] && known && w->copies[p][id].there && (w->calm || chance(w, 2));
        if (id == s->leader || stays || comes) {
            epochs[partition.n_isr_epochs++] = 100 + id + 1000 * w->lives[id];
            isr[partition.n_isr++] = id;
            w->copies[p][id].whole = true; /* else it would not ask */
        }
    }
    control_set(&partition, partition, p);
    control_set(&partition, leader_epoch, s->leader_epoch);
    control_set(&partition, partition_epoch, s->version);
    topic.name = (char *)"t";
    topic.partitions = partitions;
    topic.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    request.alter_partition = &body;
    control_set(&request, broker_id, s->leader);
    control_set(&request, broker_epoch, 100 + s->leader + 1000 * w->lives[s->leader]);
    struct ctl_event event = {.kind = CTL_EV_ALTER};
    event.u.request.request = &request;
    step(&w->b, event);
    take_commands(w);
}

static void ask(struct world *w)
{
    int32_t target[BROKERS];
    int32_t count = 1 + (int32_t)rng_below(&w->rng, BROKERS);
    for (int i = 0; i < BROKERS; i++) {
        int at = (int)rng_below(&w->rng, (uint64_t)i + 1);
        target[i] = target[at];
        target[at] = i + 1;
    }
    struct ctl_reassign item = {
        STR("t"), (int32_t)rng_below(&w->rng, PARTS), chance(w, 4), {target, count}};
    struct ctl_event event = {.kind = CTL_EV_REASSIGN};
    event.u.reassign.items = &item;
    event.u.reassign.count = 1;
    w->asked++;
    step(&w->b, event);
    take_commands(w);
}

static void tick(struct world *w)
{
    w->b.now_ms += CTL_RETRY_MS;
    step(&w->b, (struct ctl_event){.kind = CTL_EV_TICK});
    take_commands(w);
}

static void trouble(struct world *w)
{
    switch (rng_below(&w->rng, 16)) {
    case 0:
        turn_broker(w);
        break;
    case 1:
        ask(w);
        break;
    case 2:
    case 3:
        change_isr(w);
        break;
    case 4:
        if (chance(w, 8)) {
            reign(w);
        }
        break;
    case 5:
        tick(w);
        break;
    default:
        if (w->jobs_count > 0) {
            run_job(w);
        }
        break;
    }
}

static bool at_rest(const struct world *w)
{
    for (int p = 0; p < PARTS; p++) {
        const struct line *line = &w->lines[p];
        for (int32_t id = 1; id <= BROKERS; id++) {
            if (w->copies[p][id].there != is_replica(w, p, id)) {
                return false;
            }
        }
        if (line->counts[1] + line->counts[2] > 0 || w->states[p].isr_count != line->counts[0] ||
            w->states[p].leader < 0) {
            return false;
        }
    }
    return w->jobs_count == 0;
}

static void world_init(struct world *w, uint64_t seed)
{
    struct ctl_event event = {.kind = CTL_EV_MIN_INSYNC};
    *w = (struct world){0};
    bench_init(&w->b);
    rng_seed(&w->rng, seed);
    event.u.min_insync.count = MIN_INSYNC;
    step(&w->b, event);
    for (int id = 1; id <= BROKERS; id++) {
        w->alive[id] = true;
    }
    for (int p = 0; p < PARTS; p++) {
        w->states[p].leader = -1;
        take_ids(w->lines[p].lists[0], &w->lines[p].counts[0],
                 ids_in((const int32_t[]){1, 2, 3}, 3));
        for (int id = 1; id <= BROKERS; id++) {
            forget_copy(w, p, id);
            w->copies[p][id].whole = id <= 3; /* of nothing */
        }
    }
    reign(w);
}

static void revive_all(struct world *w)
{
    for (int id = 1; id <= BROKERS; id++) {
        if (!w->alive[id]) {
            begin_life(w, id);
        }
        w->alive[id] = true;
    }
}

/* Everybody does what there is to do. */
static void pass(struct world *w, int rounds)
{
    for (int i = 0; i < rounds && !at_rest(w); i++) {
        while (w->jobs_count > 0) {
            run_job(w);
        }
        change_isr(w);
        tick(w);
    }
}

static void live(uint64_t seed)
{
    struct world w;
    world_init(&w, seed);
    for (int i = 0; i < STEPS; i++) {
        trouble(&w);
    }
    w.calm = true;
    revive_all(&w);
    reign(&w);
    pass(&w, CALM_ROUNDS);
    cr_assert(at_rest(&w), "seed %llu: the moves do not come to an end", (unsigned long long)seed);
    cr_assert_eq(w.answers, w.asked);
    cr_assert_eq(ctl_count(w.b.ctl).reassigning, 0);
    bench_fini(&w.b);
}

Test(reassign_model, keeps_what_was_acknowledged_and_comes_to_an_end)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        live(seed);
    }
}

/* ---- Every moment of one move. */

enum accident { DIES, BOUNCES, ACCIDENTS };

/* The partition moves from 1,2,3 to 4,2,5; after so many steps something happens to a broker, and
 * perhaps another controller takes over at that. */
static void live_through(int steps, int broker, enum accident accident, bool failover)
{
    static const int32_t target[] = {4, 2, 5};
    struct ctl_reassign item = {STR("t"), 0, false, {target, 3}};
    struct ctl_event event = {.kind = CTL_EV_REASSIGN};
    struct world w;
    world_init(&w, 1);
    w.calm = true;
    pass(&w, CALM_ROUNDS);
    cr_assert(at_rest(&w));
    event.u.reassign.items = &item;
    event.u.reassign.count = 1;
    step(&w.b, event);
    take_commands(&w);
    for (int i = 0; i < steps; i++) {
        if (w.jobs_count > 0) {
            run_job(&w);
        } else {
            change_isr(&w);
        }
    }
    w.alive[broker] = accident != DIES;
    if (accident == BOUNCES) {
        begin_life(&w, broker);
    }
    tell_brokers(&w);
    if (failover) {
        reign(&w);
    }
    pass(&w, 30);
    revive_all(&w);
    tell_brokers(&w);
    pass(&w, CALM_ROUNDS);
    cr_assert(at_rest(&w), "broker %d after %d steps", broker, steps);
    const struct line *line = &w.lines[0];
    cr_assert(line->counts[0] == 3 && memcmp(line->lists[0], target, sizeof(target)) == 0,
              "broker %d after %d steps", broker, steps);
    bench_fini(&w.b);
}

/* What a controller has begun to write is written; so the move always comes to its end. */
Test(reassign_model, a_broker_and_a_controller_may_go_at_every_step)
{
    enum { STEPS_OF_A_MOVE = 60 };
    for (int steps = 0; steps < STEPS_OF_A_MOVE; steps++) {
        for (int broker = 1; broker <= BROKERS; broker++) {
            for (int accident = 0; accident < ACCIDENTS; accident++) {
                live_through(steps, broker, (enum accident)accident, false);
                live_through(steps, broker, (enum accident)accident, true);
            }
        }
    }
}
