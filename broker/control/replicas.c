#include "control/replicas.h"

#include <string.h>

#include "admin/admin_service.h"
#include "api/broker.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "config/config.h"
#include "control/upkeep.h"
#include "groups/groups.h"
#include "moves/moves.h"
#include "replica/replicator.h"
#include "topics/topic_configs.h"

#define LOGGER "kafka.server.ReplicaManager"

enum { MANY_PARTITIONS = 1000 }; /* of a request: what it took of memory is worth giving back */

/* One partition of the request in work. */
struct task {
    struct actor_msg msg;
    struct loop_msg back;
    struct batch_of_tasks *batch;
    struct part *part;          /* referenced; NULL: nothing to do in an actor */
    struct logs_entry *made_of; /* the log of a partition that this request makes; the key in */
    UT_hash_handle hh;          /* batch->made */
    struct part_state state;
    struct str topic;
    struct uuid topic_id;
    int32_t index;
    bool delete_log;
    bool set_aside; /* instead of that */
    bool is_new;    /* the replica is: there need not be a log */
    enum err err;
    /* Where the log ends, when it was asked. */
    int32_t last_epoch;
    int64_t end_offset; /* -1: not known */
};

/* A request in work. */
struct batch_of_tasks {
    struct replicas *replicas;
    struct arena arena;
    struct task *tasks;
    int32_t count;
    struct task *made; /* those that make a partition, by its log, while they are prepared */
    int32_t outstanding;
    replicas_done_fn *fn;
    void *arg;
    void (*finish)(struct batch_of_tasks *batch);
};

struct replicas {
    struct broker *broker;
    struct upkeep *upkeep;
};

struct replicas *replicas_new(struct broker *broker)
{
    struct replicas *replicas = mem_new(struct replicas);
    replicas->broker = broker;
    replicas->upkeep = upkeep_new(broker, replicas);
    return replicas;
}

void replicas_free(struct replicas *replicas)
{
    upkeep_free(replicas->upkeep);
    mem_free(replicas);
}

/* ---- requests: a task per partition, each in its actor, then one reply ---- */

static struct batch_of_tasks *batch_new(struct replicas *replicas, int32_t count,
                                        replicas_done_fn *fn, void *arg)
{
    struct batch_of_tasks *batch = mem_new(struct batch_of_tasks);
    batch->replicas = replicas;
    batch->tasks = mem_zalloc((size_t)count, sizeof(*batch->tasks));
    batch->fn = fn;
    batch->arg = arg;
    return batch;
}

static void batch_free(struct batch_of_tasks *batch)
{
    for (int32_t i = 0; i < batch->count; i++) {
        part_put(batch->tasks[i].part);
    }
    mem_free(batch->tasks);
    arena_fini(&batch->arena);
    mem_free(batch);
}

static void batch_settle(struct batch_of_tasks *batch)
{
    must(batch->outstanding > 0);
    if (--batch->outstanding == 0) {
        batch->finish(batch);
    }
}

static void on_task_back(struct loop_msg *msg)
{
    struct task *task = container_of(msg, struct task, back);
    batch_settle(task->batch);
}

static void task_return(struct task *task)
{
    task->back.fn = on_task_back;
    loop_post(task->batch->replicas->broker->control, &task->back);
}

static void batch_run(struct batch_of_tasks *batch,
                      void (*in_actor)(struct actor *actor, struct actor_msg *msg))
{
    batch->outstanding = 1;
    for (int32_t i = 0; i < batch->count; i++) {
        struct task *task = &batch->tasks[i];
        if (task->part != NULL) {
            batch->outstanding++;
            task->msg.fn = in_actor;
            part_post(task->part, &task->msg);
        }
    }
    batch_settle(batch);
}

/* How many of the tasks from this one on are of its topic. */
static int32_t run_of(const struct batch_of_tasks *batch, int32_t first)
{
    int32_t end = first + 1;
    while (end < batch->count && str_eq(batch->tasks[end].topic, batch->tasks[first].topic)) {
        end++;
    }
    return end - first;
}

/* The results, grouped by topic as the tasks are. */
static Barnabas__Control__TopicErrors **batch_errors(struct batch_of_tasks *batch,
                                                     size_t *topics_count)
{
    struct arena *arena = &batch->arena;
    Barnabas__Control__TopicErrors **topics =
        arena_array(arena, Barnabas__Control__TopicErrors *, (size_t)batch->count);
    *topics_count = 0;
    Barnabas__Control__TopicErrors *topic = NULL;
    for (int32_t i = 0; i < batch->count; i++) {
        const struct task *task = &batch->tasks[i];
        if (topic == NULL || !str_is(task->topic, topic->name)) {
            topic = arena_new(arena, Barnabas__Control__TopicErrors);
            barnabas__control__topic_errors__init(topic);
            topic->name = arena_cstr(arena, task->topic);
            topic->topic_id = control_topic_id(arena, task->topic_id);
            topic->has_topic_id = true;
            topic->partitions =
                arena_array(arena, Barnabas__Control__PartitionError *, (size_t)run_of(batch, i));
            topics[(*topics_count)++] = topic;
        }
        Barnabas__Control__PartitionError *error =
            arena_new(arena, Barnabas__Control__PartitionError);
        barnabas__control__partition_error__init(error);
        control_set(error, partition, task->index);
        control_set(error, error, err_wire(task->err));
        if (task->end_offset >= 0) {
            control_set(error, last_epoch, task->last_epoch);
            control_set(error, end_offset, task->end_offset);
        }
        topic->partitions[topic->n_partitions++] = error;
    }
    return topics;
}

/* ---- LeaderAndIsr ---- */

static void throttle_part(struct broker *broker, struct part *part)
{
    bool leader;
    bool follower;
    topic_configs_throttled(broker->topic_configs, part->topic, part->index, broker->id, &leader,
                            &follower);
    part_throttle(part, leader, follower);
}

static struct part *make_part(struct replicas *replicas, struct logs_entry *entry, struct str topic,
                              struct uuid topic_id, int32_t index,
                              const struct topic_config *config)
{
    struct broker *broker = replicas->broker;
    const struct config *broker_config = config_cell_get(broker->config);
    struct part_options options = {
        .topic = topic,
        .topic_id = topic_id,
        .index = index,
        .loop_count = broker->netloops_count,
        .clock = broker->env.clock,
        .home = broker->control,
        .my_id = broker->id,
        .lag_ms = config_long(broker_config, KEY_replica_lag_time_max_ms),
        .host = replicator_host(broker->replicator),
    };
    config_put(broker_config);
    struct part *part = part_new(&options, entry->log, entry->offset_hw);
    part_configure(part, config);
    throttle_part(broker, part);
    if (str_is(topic, "__consumer_offsets")) {
        groups_attach(broker->groups, part);
    }
    return part;
}

/* It was here before, and may be in a directory that cannot be read now: an empty one in its place
 * would be taken for the whole. */
static bool may_be_lost(struct logs *logs, const struct task *task)
{
    for (int32_t i = 0; !task->is_new && i < logs_dirs_count(logs); i++) {
        if (logdir_offline(logs_dir(logs, i))) {
            return true;
        }
    }
    return false;
}

static bool in_isr(const struct part_state *state, int32_t broker_id)
{
    for (int32_t i = 0; i < state->isr_count; i++) {
        if (state->isr[i] == broker_id) {
            return true;
        }
    }
    return false;
}

/* `entry` may be NULL. */
static bool of_another_topic(const struct logs_entry *entry, struct uuid topic_id)
{
    return entry != NULL && !uuid_is_zero(topic_id) && !uuid_is_zero(entry->topic_id) &&
           !uuid_eq(entry->topic_id, topic_id);
}

/* It is in sync, with records of no later epoch than the leader's: a log of this very topic, whose
 * id somebody has taken away in ZooKeeper (ctl_topic.c, write_id()). What was acknowledged may be
 * nowhere else. A topic that is made again begins with epoch 0. */
static bool is_counted_on(const struct replicas *replicas, const struct task *task,
                          struct plog *log)
{
    return !task->is_new && in_isr(&task->state, replicas->broker->id) &&
           plog_offset_end(log) > 0 && epochs_latest(plog_epochs(log)) <= task->state.leader_epoch;
}

/* The log of an earlier topic of that name. Mostly it was left behind: this broker was not a
 * replica any more, and away, when that topic was deleted. But it may be all that is left of a
 * topic that ZooKeeper has lost, and that somebody has made anew: it stays, out of the way. Its
 * partition is not served: replicas_find_former(). */
static enum err set_former_log_aside(struct replicas *replicas, const struct task *task,
                                     struct logs_entry **entry)
{
    if (!of_another_topic(*entry, task->topic_id)) {
        return ERR_OK;
    }
    if (is_counted_on(replicas, task, (*entry)->log)) {
        char id[UUID_TEXT_SIZE + 1];
        uuid_format((*entry)->topic_id, id);
        log_error(
            LOGGER, "a log that is in sync is of a topic of this name with another id",
            "tp=%.*s-%d id=%s; it is kept, and served when the topic has that id in ZooKeeper",
            STR_ARG(task->topic), task->index, id);
        return ERR_INCONSISTENT_TOPIC_ID;
    }
    log_warn(LOGGER, "there is the log of an earlier topic of this name", "tp=%.*s-%d",
             STR_ARG(task->topic), task->index);
    logs_set_aside(replicas->broker->logs, task->topic, task->index);
    *entry = NULL;
    return ERR_OK;
}

/* A node that was made in ZooKeeper by hand may have any name, which need not be one for a folder:
 * to try would look as if the directory had failed, with all that is in it. */
static bool can_have_log(const struct task *task)
{
    if (topic_name_valid(task->topic) && task->index >= 0) {
        return true;
    }
    log_error(LOGGER, "no log can have the name of this partition", "tp=%.*s-%d",
              STR_ARG(task->topic), task->index);
    return false;
}

/* The partition's log, found or made, with the right topic id. */
static enum err find_log(struct replicas *replicas, const struct task *task,
                         const struct topic_config *config, struct logs_entry **out)
{
    struct logs *logs = replicas->broker->logs;
    *out = logs_find(logs, task->topic, task->index);
    if (*out != NULL && (plog_failed((*out)->log) || logdir_offline((*out)->dir))) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    enum err err = set_former_log_aside(replicas, task, out);
    if (err != ERR_OK) {
        return err;
    }
    if (*out == NULL && (may_be_lost(logs, task) || !can_have_log(task))) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (*out == NULL) {
        return logs_create(logs, task->topic, task->index, task->topic_id, config, out);
    }
    if (uuid_is_zero(task->topic_id)) {
        return ERR_OK;
    }
    if (uuid_is_zero((*out)->topic_id)) {
        return logs_set_topic_id(*out, task->topic_id) == ERR_OK ? ERR_OK : ERR_KAFKA_STORAGE_ERROR;
    }
    return ERR_OK;
}

/* The partition, if it lives here, or if the request has named it before: two on one log would
 * both write to it. */
static struct part *find_part(struct broker *broker, const struct task *task,
                              const struct logs_entry *entry)
{
    struct task *maker;
    HASH_FIND_PTR(task->batch->made, &entry, maker);
    return maker != NULL ? part_get(maker->part)
                         : parts_lookup(&broker->parts, task->topic, task->index);
}

/* The partition of a task; one that is new is added to `changes`. */
static void task_prepare(struct replicas *replicas, struct task *task, struct parts_change *changes,
                         int32_t *changes_count)
{
    struct broker *broker = replicas->broker;
    struct logs_entry *entry = logs_find(broker->logs, task->topic, task->index);
    struct topic_config config;
    task->part = find_part(broker, task, entry);
    if (task->part != NULL) {
        if (of_another_topic(entry, task->topic_id)) {
            task->err = ERR_INCONSISTENT_TOPIC_ID;
            part_put(task->part);
            task->part = NULL;
        }
        return;
    }
    topic_configs_get(broker->topic_configs, task->topic, &config);
    task->err = find_log(replicas, task, &config, &entry);
    if (task->err != ERR_OK) {
        return;
    }
    struct part *part =
        make_part(replicas, entry, task->topic, task->topic_id, task->index, &config);
    task->part = part_get(part);
    task->made_of = entry;
    HASH_ADD_PTR(task->batch->made, made_of, task);
    changes[(*changes_count)++] =
        (struct parts_change){.topic = task->topic, .index = task->index, .part = part};
}

static void lead_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct task *task = container_of(msg, struct task, msg);
    task->err = part_apply(part, &task->state);
    if (!part->deleted && !plog_failed(part->log)) {
        task->last_epoch = epochs_latest(plog_epochs(part->log));
        task->end_offset = plog_offset_end(part->log);
    }
    task_return(task);
}

static void lead_finish(struct batch_of_tasks *batch)
{
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    Barnabas__Control__LeaderAndIsrResponse body = BARNABAS__CONTROL__LEADER_AND_ISR_RESPONSE__INIT;
    body.topics = batch_errors(batch, &body.n_topics);
    response.leader_and_isr = &body;
    control_set(&response, error, 0);
    struct broker *broker = batch->replicas->broker;
    int32_t leading = 0;
    for (int32_t i = 0; i < batch->count; i++) {
        struct task *task = &batch->tasks[i];
        if (task->err == ERR_OK) {
            replicator_follow(broker->replicator, task->part, task->state.leader,
                              task->state.leader_epoch);
            leading += task->state.leader == broker->id ? 1 : 0;
            moves_resume(broker->moves, task->topic, task->index);
        }
    }
    log_info(LOGGER, "applied leadership", "partitions=%d leading=%d", batch->count, leading);
    bool many = batch->count >= MANY_PARTITIONS;
    batch->fn(batch->arg, &response);
    batch_free(batch);
    if (many) {
        trimmer_soon(&broker->trimmer);
    }
}

static void lead_fill(struct task *task, const Barnabas__Control__LeaderAndIsrTopic *topic,
                      const Barnabas__Control__LeaderAndIsrPartition *partition)
{
    task->topic = control_str(topic->name);
    task->topic_id = control_topic_id_get(topic->topic_id);
    task->index = partition->partition;
    task->is_new = partition->is_new;
    task->end_offset = -1;
    task->state = (struct part_state){
        .controller_epoch = partition->controller_epoch,
        .leader = partition->leader,
        .leader_epoch = partition->leader_epoch,
        .partition_epoch = partition->partition_epoch,
        .isr = partition->isr,
        .isr_count = (int32_t)partition->n_isr,
        .replicas = partition->replicas,
        .replicas_count = (int32_t)partition->n_replicas,
        .frozen = partition->n_eligible_replicas > 0,
    };
}

/* The directories of new logs are durable, or their logs have failed. */
static void lead_settled(void *arg)
{
    batch_run(arg, lead_in_actor);
}

void replicas_lead(struct replicas *replicas, const Barnabas__Control__LeaderAndIsr *request,
                   replicas_done_fn *fn, void *arg)
{
    int32_t total = 0;
    for (size_t i = 0; i < request->n_topics; i++) {
        total += (int32_t)request->topics[i]->n_partitions;
    }
    struct batch_of_tasks *batch = batch_new(replicas, total, fn, arg);
    struct parts_change *changes = mem_zalloc((size_t)total, sizeof(*changes));
    int32_t changes_count = 0;
    for (size_t i = 0; i < request->n_topics; i++) {
        for (size_t j = 0; j < request->topics[i]->n_partitions; j++) {
            struct task *task = &batch->tasks[batch->count++];
            task->batch = batch;
            lead_fill(task, request->topics[i], request->topics[i]->partitions[j]);
            task_prepare(replicas, task, changes, &changes_count);
        }
    }
    if (changes_count > 0) {
        parts_edit(&replicas->broker->parts, changes, changes_count);
    }
    HASH_CLEAR(hh, batch->made);
    mem_free(changes);
    batch->finish = lead_finish;
    logs_settle(replicas->broker->logs, replicas->broker->control, lead_settled, batch);
}

/* ---- partitions of earlier topics ----
 *
 * Nobody told this broker of their end: it was cut off, or somebody removed the topic's node. In
 * their place the new topic's partition could not be made before the broker was restarted; and as
 * its leader it was elected all the same. */

/* Epochs of one topic do not go down. */
static bool is_former(const struct replicas *replicas, const struct task *task,
                      const struct logs_entry *entry, const struct part *part)
{
    bool counted = task->state.leader_epoch >= part_now(part).leader_epoch &&
                   is_counted_on(replicas, task, entry->log);
    return of_another_topic(entry, task->topic_id) && !plog_failed(entry->log) &&
           !logdir_offline(entry->dir) && !counted;
}

static Barnabas__Control__StopReplicaTopic *stop_former(struct arena *arena, char *name,
                                                        int32_t index, bool empty)
{
    Barnabas__Control__StopReplicaTopic *topic =
        arena_new(arena, Barnabas__Control__StopReplicaTopic);
    Barnabas__Control__StopReplicaPartition *partition =
        arena_new(arena, Barnabas__Control__StopReplicaPartition);
    barnabas__control__stop_replica_topic__init(topic);
    barnabas__control__stop_replica_partition__init(partition);
    topic->name = name;
    topic->partitions = arena_array(arena, Barnabas__Control__StopReplicaPartition *, 1);
    topic->partitions[topic->n_partitions++] = partition;
    control_set(partition, partition, index);
    control_set(partition, leader_epoch, CONTROL_EPOCH_UNKNOWN);
    control_set(partition, delete_, empty);
    control_set(partition, set_aside, !empty);
    return topic;
}

static void find_former_of(struct replicas *replicas, struct arena *arena,
                           const Barnabas__Control__LeaderAndIsrTopic *topic,
                           Barnabas__Control__StopReplica *found)
{
    for (size_t i = 0; i < topic->n_partitions; i++) {
        struct task task = {0};
        lead_fill(&task, topic, topic->partitions[i]);
        struct logs_entry *entry = logs_find(replicas->broker->logs, task.topic, task.index);
        if (!of_another_topic(entry, task.topic_id)) {
            continue;
        }
        struct part *part = parts_lookup(&replicas->broker->parts, task.topic, task.index);
        if (part != NULL && is_former(replicas, &task, entry, part)) {
            bool empty = plog_offset_end(entry->log) == plog_log_start(entry->log);
            found->topics[found->n_topics++] = stop_former(arena, topic->name, task.index, empty);
        }
        part_put(part);
    }
}

const Barnabas__Control__StopReplica *
replicas_find_former(struct replicas *replicas, struct arena *arena,
                     const Barnabas__Control__LeaderAndIsr *request)
{
    Barnabas__Control__StopReplica *found = arena_new(arena, Barnabas__Control__StopReplica);
    size_t total = 0;
    barnabas__control__stop_replica__init(found);
    for (size_t i = 0; i < request->n_topics; i++) {
        total += request->topics[i]->n_partitions;
    }
    found->topics = arena_array(arena, Barnabas__Control__StopReplicaTopic *, total + 1);
    for (size_t i = 0; i < request->n_topics; i++) {
        find_former_of(replicas, arena, request->topics[i], found);
    }
    return found->n_topics > 0 ? found : NULL;
}

/* ---- StopReplica ---- */

static void stop_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct task *task = container_of(msg, struct task, msg);
    (void)part_close(part);
    task_return(task);
}

/* The copy may be followed again in this life: what is committed in it stays so. */
static void remember_hw(struct broker *broker, const struct part *part)
{
    struct logs_entry *entry = logs_find(broker->logs, part->topic, part->index);
    if (entry != NULL && entry->log == part->log) {
        entry->offset_hw = atomic_load(&part->offset_hw);
    }
}

static void on_parts_gone(struct loop_msg *msg)
{
    struct netloop *netloop = container_of(msg, struct netloop, parts_msg);
    atomic_store(&netloop->parts_posted, false);
    parts_reader_refresh(&netloop->parts);
}

/* A loop that is not asked for any partition would keep those that have gone, and with them the
 * space of their files on the disk. */
static void tell_parts_gone(struct broker *broker)
{
    for (int i = 0; i < broker->netloops_count; i++) {
        struct netloop *netloop = &broker->netloops[i];
        if (!atomic_exchange(&netloop->parts_posted, true)) {
            netloop->parts_msg.fn = on_parts_gone;
            loop_post(netloop->loop, &netloop->parts_msg);
        }
    }
}

/* Everybody has been sent away; now the files. */
static void stop_finish(struct batch_of_tasks *batch)
{
    struct broker *broker = batch->replicas->broker;
    struct parts_change *changes = mem_zalloc((size_t)batch->count, sizeof(*changes));
    int32_t changes_count = 0;
    for (int32_t i = 0; i < batch->count; i++) {
        struct task *task = &batch->tasks[i];
        if (task->part != NULL) {
            replicator_follow(broker->replicator, task->part, -1, -1);
            remember_hw(broker, task->part);
            changes[changes_count++] =
                (struct parts_change){.topic = task->topic, .index = task->index};
        }
    }
    if (changes_count > 0) {
        parts_edit(&broker->parts, changes, changes_count);
        tell_parts_gone(broker);
    }
    mem_free(changes);
    for (int32_t i = 0; i < batch->count; i++) {
        struct task *task = &batch->tasks[i];
        if (task->delete_log) {
            log_info(LOGGER, "deleting log", "tp=%.*s-%d", STR_ARG(task->topic), task->index);
            logs_delete(broker->logs, task->topic, task->index);
        } else if (task->set_aside) {
            log_warn(LOGGER, "there is the log of an earlier topic of this name", "tp=%.*s-%d",
                     STR_ARG(task->topic), task->index);
            logs_set_aside(broker->logs, task->topic, task->index);
        }
    }
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    Barnabas__Control__StopReplicaResponse body = BARNABAS__CONTROL__STOP_REPLICA_RESPONSE__INIT;
    body.topics = batch_errors(batch, &body.n_topics);
    response.stop_replica = &body;
    control_set(&response, error, 0);
    batch->fn(batch->arg, &response);
    batch_free(batch);
}

/* Is the request about the leadership that we know, or a later one? */
static enum err check_stop_epoch(const struct part *part, int32_t leader_epoch)
{
    if (leader_epoch == CONTROL_EPOCH_DURING_DELETE || leader_epoch == CONTROL_EPOCH_UNKNOWN) {
        return ERR_OK;
    }
    return leader_epoch < part_now(part).leader_epoch ? ERR_FENCED_LEADER_EPOCH : ERR_OK;
}

void replicas_stop(struct replicas *replicas, const Barnabas__Control__StopReplica *request,
                   replicas_done_fn *fn, void *arg)
{
    int32_t total = 0;
    for (size_t i = 0; i < request->n_topics; i++) {
        total += (int32_t)request->topics[i]->n_partitions;
    }
    struct batch_of_tasks *batch = batch_new(replicas, total, fn, arg);
    for (size_t i = 0; i < request->n_topics; i++) {
        const Barnabas__Control__StopReplicaTopic *topic = request->topics[i];
        for (size_t j = 0; j < topic->n_partitions; j++) {
            struct task *task = &batch->tasks[batch->count++];
            task->batch = batch;
            task->end_offset = -1;
            task->topic = control_str(topic->name);
            task->index = topic->partitions[j]->partition;
            task->part = parts_lookup(&replicas->broker->parts, task->topic, task->index);
            task->delete_log = topic->partitions[j]->delete_;
            task->set_aside = topic->partitions[j]->set_aside;
            if (task->part != NULL) {
                task->err = check_stop_epoch(task->part, topic->partitions[j]->leader_epoch);
            }
            if (task->err != ERR_OK) {
                part_put(task->part);
                task->part = NULL;
                task->delete_log = task->set_aside = false;
            }
        }
    }
    batch->finish = stop_finish;
    batch_run(batch, stop_in_actor);
}

/* ---- configuration ---- */

struct configure_msg {
    struct actor_msg msg;
    struct part *part;
    struct topic_config config;
};

static void configure_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct configure_msg *configure = container_of(msg, struct configure_msg, msg);
    if (!part->deleted) {
        part_configure(part, &configure->config);
    }
    part_put(part);
    mem_free(configure);
}

static void configure_part(void *arg, struct part *part)
{
    struct replicas *replicas = arg;
    struct configure_msg *configure = mem_new(struct configure_msg);
    configure->msg.fn = configure_in_actor;
    configure->part = part_get(part);
    topic_configs_get(replicas->broker->topic_configs, part->topic, &configure->config);
    throttle_part(replicas->broker, part);
    part_post(part, &configure->msg);
}

void replicas_configure(struct replicas *replicas, struct str topic)
{
    struct parts *parts = &replicas->broker->parts;
    if (topic.ptr == NULL) {
        parts_each(parts, configure_part, replicas);
    } else {
        parts_each_of(parts, topic, configure_part, replicas);
    }
}

/* ---- a log directory has failed ---- */

struct fail_msg {
    struct actor_msg msg;
};

static void fail_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    if (!part->deleted) {
        part_fail(part);
    }
    part_put(part);
    mem_free(container_of(msg, struct fail_msg, msg));
}

static void fail_part_in(void *arg, struct part *part)
{
    struct str dir = str_of(arg);
    const char *path = plog_dir(part->log);
    if (strncmp(path, dir.ptr, dir.size) != 0 || path[dir.size] != '/') {
        return;
    }
    plog_take_offline(part->log); /* at once: nothing more is acknowledged from there */
    struct fail_msg *fail = mem_new(struct fail_msg);
    fail->msg.fn = fail_in_actor;
    part_post(part_get(part), &fail->msg);
}

void replicas_dir_failed(struct replicas *replicas, const char *dir)
{
    moves_dir_failed(replicas->broker->moves, dir);
    parts_each(&replicas->broker->parts, fail_part_in, (void *)(uintptr_t)dir);
}

int64_t replicas_high_watermark(void *arg, struct logs_entry *entry)
{
    struct replicas *replicas = arg;
    struct part *part =
        parts_lookup(&replicas->broker->parts, plog_topic(entry->log), plog_partition(entry->log));
    if (part == NULL) {
        return entry->offset_hw;
    }
    int64_t offset_hw = atomic_load(&part->offset_hw);
    part_put(part);
    return offset_hw;
}

struct upkeep *replicas_upkeep(struct replicas *replicas)
{
    return replicas->upkeep;
}
