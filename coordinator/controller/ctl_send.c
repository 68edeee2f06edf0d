/* ctl_send.c: requests to brokers, built from marks and from the state at the time of sending.
 *
 * One request per broker is under way. What comes first, when several are due: the list of live
 * brokers (a follower must know its leader's address), LeaderAndIsr, UpdateMetadata, StopReplica. A
 * partition whose state is being written is held back, so that brokers hear of the result only (but
 * not while ZooKeeper refuses it, or who starts would never have heard all). A request that failed
 * is due again after CTL_RETRY_MS, as long as the broker is registered.
 * Metadata of partitions that are made together waits until the last of them is there, and what a
 * broker must be told of a topic goes in one request: a client that heard of some partitions would
 * take a topic to have so few.
 *
 * So others may hear of a new leader before that one has heard of it, as with Kafka; who asks it
 * then is told to ask again. Metadata does not wait for the leader's answer: that comes when it has
 * applied all of a request, up to CTL_SEND_PARTITIONS_MAX partitions, long after it leads the first
 * of them; and a broker that starts would wait for leaders that are dead but still registered. */
#include "base/must.h"
#include "controller/ctl_state.h"

typedef Barnabas__Control__Request request_type;
typedef Barnabas__Control__LeaderAndIsrTopic leader_topic_type;
typedef Barnabas__Control__LeaderAndIsrPartition leader_part_type;
typedef Barnabas__Control__UpdateMetadataTopic meta_topic_type;
typedef Barnabas__Control__UpdateMetadataPartition meta_part_type;
typedef Barnabas__Control__StopReplicaTopic stop_topic_type;
typedef Barnabas__Control__StopReplicaPartition stop_part_type;

/* The partitions of one request; `ends[i]` is one past the last partition of the run of one topic
 * that starts at partition ends[i-1]. */
struct picked {
    struct ctl_part **parts;
    int32_t count;
    int32_t *ends;
    int32_t runs;
};

static bool held(const struct ctl_part *part)
{
    return ctl_part_busy(part) && !part->topic->deleting;
}

/* It is a replica no more, and the state names it yet: somebody edited the topic's node. Nobody
 * else may be complete. */
static bool needed_yet(const struct ctl_broker *broker, const struct ctl_part *part)
{
    bool named = part->now.leader == broker->id || ctl_in_isr(&part->now, broker->id) ||
                 ctl_is_eligible(part, broker->id);
    return part->exists && named && ctl_dropped(part, broker->id) && !part->topic->deleting;
}

/* ZooKeeper still says that it leads, and it has restarted since, or lost something: it is not to
 * lead in that epoch once more. */
static bool not_to_lead(const struct ctl *ctl, const struct ctl_broker *broker,
                        const struct ctl_part *part)
{
    return part->refused && part->now.leader == broker->id && !ctl_part_has_leader(ctl, part);
}

static bool pickable(const struct ctl *ctl, const struct ctl_broker *broker,
                     const struct ctl_part *part, int mark, bool tombstones)
{
    return part != NULL && (ctl_marks_of(broker, part) & mark) != 0 && !held(part) &&
           part->tombstone == tombstones && !(mark == CTL_MARK_STOP && needed_yet(broker, part)) &&
           !(mark == CTL_MARK_LEADER && not_to_lead(ctl, broker, part));
}

static struct picked picked_new(struct ctl *ctl, int32_t room)
{
    struct arena *arena = &ctl->out->arena;
    struct picked picked = {0};
    if (room > 0) {
        picked.parts = arena_array(arena, struct ctl_part *, (size_t)room);
        picked.ends = arena_array(arena, int32_t, (size_t)room);
    }
    return picked;
}

static void picked_add(struct picked *picked, struct ctl_part *part)
{
    bool same = picked->count > 0 && picked->parts[picked->count - 1]->topic == part->topic;
    picked->parts[picked->count++] = part;
    picked->runs += same ? 0 : 1;
    picked->ends[picked->runs - 1] = picked->count;
}

/* Slots with the mark, in their order. What is left of topics that are gone nobody sorts by topic:
 * that they go in one request as a whole is seen to by its size. */
static struct picked pick(struct ctl *ctl, struct ctl_broker *broker, int mark, int32_t due,
                          bool tombstones)
{
    int32_t max = tombstones ? CTL_SEND_TOPIC_MAX : CTL_SEND_PARTITIONS_MAX;
    int32_t room = due < max ? due : max;
    struct picked picked = picked_new(ctl, room);
    for (int32_t s = 0; s < broker->marks_capacity && picked.count < room; s++) {
        struct ctl_part *part = s < ctl->slots_count ? ctl->slots[s] : NULL;
        if (pickable(ctl, broker, part, mark, tombstones)) {
            picked_add(&picked, part);
        }
    }
    return picked;
}

/* ---- Metadata, by whole topics. */

/* Of its new partitions some are not there yet, or are being changed. */
static bool half_made(const struct ctl_topic *topic)
{
    for (int32_t i = 0; i < topic->parts_count; i++) {
        if (topic->parts[i]->fresh && held(topic->parts[i])) {
            return true;
        }
    }
    return false;
}

/* All that the broker must be told of a topic. False: it is to be in another request. */
static bool pick_topic(const struct ctl *ctl, struct ctl_broker *broker, struct ctl_topic *topic,
                       struct picked *picked)
{
    bool unmade = half_made(topic);
    int32_t before = picked->count;
    int32_t runs = picked->runs;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        struct ctl_part *part = topic->parts[i];
        if (pickable(ctl, broker, part, CTL_MARK_META, false) && !(unmade && part->fresh)) {
            if (picked->count == CTL_SEND_TOPIC_MAX) {
                break;
            }
            picked_add(picked, part);
        }
    }
    if (before > 0 && picked->count > CTL_SEND_PARTITIONS_MAX) {
        picked->count = before;
        picked->runs = runs;
        return false;
    }
    return true;
}

/* Those of topics that are gone come first and alone, lest they undo what is said of a topic that
 * was made again under the same name. */
static struct picked pick_metadata(struct ctl *ctl, struct ctl_broker *broker)
{
    struct picked picked = pick(ctl, broker, CTL_MARK_META, broker->due_meta, true);
    if (picked.count > 0 || broker->due_meta == 0) {
        return picked;
    }
    picked = picked_new(ctl, broker->due_meta);
    ctl->picks++;
    for (int32_t s = 0; s < broker->marks_capacity && s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (pickable(ctl, broker, part, CTL_MARK_META, false) &&
            part->topic->picked != ctl->picks) {
            part->topic->picked = ctl->picks;
            if (!pick_topic(ctl, broker, part->topic, &picked)) {
                break;
            }
        }
    }
    return picked;
}

static char *text(struct arena *arena, struct str s)
{
    return arena_cstr(arena, s);
}

static int32_t *copy_ids(struct arena *arena, const int32_t *ids, int32_t count)
{
    int32_t *copy = arena_array(arena, int32_t, (size_t)count + 1);
    if (count > 0) {
        memcpy(copy, ids, (size_t)count * sizeof(*ids));
    }
    return copy;
}

/* ---- Brokers in messages. */

static Barnabas__Control__Broker *broker_message(struct arena *arena, struct ctl_broker *broker)
{
    Barnabas__Control__Broker *message = arena_new(arena, Barnabas__Control__Broker);
    barnabas__control__broker__init(message);
    size_t count = (size_t)broker->endpoints_count;
    control_set(message, id, broker->id);
    control_set(message, epoch, broker->epoch);
    message->rack = broker->rack.ptr != NULL ? text(arena, broker->rack) : NULL;
    message->n_endpoints = count;
    message->endpoints = arena_array(arena, Barnabas__Control__Endpoint *, count + 1);
    for (size_t i = 0; i < count; i++) {
        Barnabas__Control__Endpoint *endpoint = arena_new(arena, Barnabas__Control__Endpoint);
        barnabas__control__endpoint__init(endpoint);
        endpoint->listener = text(arena, broker->endpoints[i].listener);
        endpoint->host = text(arena, broker->endpoints[i].host);
        control_set(endpoint, port, broker->endpoints[i].port);
        control_set(endpoint, security_protocol, (int32_t)broker->endpoints[i].security);
        message->endpoints[i] = endpoint;
    }
    return message;
}

static bool leads_one(const struct ctl_broker *broker, const struct picked *picked)
{
    for (int32_t i = 0; i < picked->count; i++) {
        if (picked->parts[i]->now.leader == broker->id) {
            return true;
        }
    }
    return false;
}

/* All registered brokers, or those that lead one of the partitions. */
static Barnabas__Control__Broker **broker_messages(struct ctl *ctl, const struct picked *leaders_of,
                                                   size_t *count)
{
    struct arena *arena = &ctl->out->arena;
    Barnabas__Control__Broker **list =
        arena_array(arena, Barnabas__Control__Broker *, (size_t)ctl->brokers_count + 1);
    *count = 0;
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        if (leaders_of == NULL || leads_one(ctl->brokers[i], leaders_of)) {
            list[(*count)++] = broker_message(arena, ctl->brokers[i]);
        }
    }
    return list;
}

/* ---- Bodies. */

static leader_part_type *leader_part(struct arena *arena, const struct ctl_broker *broker,
                                     const struct ctl_part *part)
{
    leader_part_type *message = arena_new(arena, leader_part_type);
    barnabas__control__leader_and_isr_partition__init(message);
    control_set(message, partition, part->index);
    control_set(message, controller_epoch, part->now.controller_epoch);
    control_set(message, leader, part->now.leader);
    control_set(message, leader_epoch, part->now.leader_epoch);
    control_set(message, partition_epoch, part->version);
    control_set(message, is_new, (broker->marks[part->slot] & CTL_MARK_NEW) != 0);
    control_set(message, leader_recovery_state, part->now.recovering ? 1 : 0);
    message->n_isr = (size_t)part->now.isr_count;
    message->isr = copy_ids(arena, part->now.isr, part->now.isr_count);
    message->n_eligible_replicas = (size_t)part->eligible.count;
    message->eligible_replicas = copy_ids(arena, part->eligible.ids, part->eligible.count);
    message->n_replicas = (size_t)part->replicas.count;
    message->replicas = copy_ids(arena, part->replicas.ids, part->replicas.count);
    message->n_adding_replicas = (size_t)part->adding.count;
    message->adding_replicas = copy_ids(arena, part->adding.ids, part->adding.count);
    message->n_removing_replicas = (size_t)part->removing.count;
    message->removing_replicas = copy_ids(arena, part->removing.ids, part->removing.count);
    return message;
}

static Barnabas__Control__LeaderAndIsr *leader_body(struct ctl *ctl, struct ctl_broker *broker,
                                                    const struct picked *picked)
{
    struct arena *arena = &ctl->out->arena;
    Barnabas__Control__LeaderAndIsr *body = arena_new(arena, Barnabas__Control__LeaderAndIsr);
    barnabas__control__leader_and_isr__init(body);
    body->topics = arena_array(arena, leader_topic_type *, (size_t)picked->runs + 1);
    body->n_topics = (size_t)picked->runs;
    body->live_leaders = broker_messages(ctl, picked, &body->n_live_leaders);
    for (int32_t run = 0, at = 0; run < picked->runs; run++) {
        leader_topic_type *topic = arena_new(arena, leader_topic_type);
        barnabas__control__leader_and_isr_topic__init(topic);
        topic->name = text(arena, picked->parts[at]->topic->name);
        control_set(topic, topic_id, control_topic_id(arena, picked->parts[at]->topic->id));
        topic->partitions =
            arena_array(arena, leader_part_type *, (size_t)(picked->ends[run] - at));
        for (; at < picked->ends[run]; at++) {
            topic->partitions[topic->n_partitions++] =
                leader_part(arena, broker, picked->parts[at]);
        }
        body->topics[run] = topic;
    }
    return body;
}

static meta_part_type *meta_part(struct ctl *ctl, const struct ctl_part *part)
{
    struct arena *arena = &ctl->out->arena;
    meta_part_type *message = arena_new(arena, meta_part_type);
    bool leaving = part->tombstone || part->topic->deleting;
    barnabas__control__update_metadata_partition__init(message);
    control_set(message, partition, part->index);
    control_set(message, controller_epoch, leaving ? ctl->epoch : part->now.controller_epoch);
    control_set(message, leader, leaving ? CONTROL_LEADER_DURING_DELETE : part->now.leader);
    control_set(message, leader_epoch, leaving ? 0 : part->now.leader_epoch);
    control_set(message, partition_epoch, part->version);
    message->n_isr = (size_t)part->now.isr_count;
    message->isr = copy_ids(arena, part->now.isr, part->now.isr_count);
    message->n_replicas = (size_t)part->replicas.count;
    message->replicas = copy_ids(arena, part->replicas.ids, part->replicas.count);
    message->offline_replicas = arena_array(arena, int32_t, (size_t)part->replicas.count + 1);
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (ctl_find_broker(ctl, id) == NULL || (part->flags[i] & CTL_REPLICA_OFFLINE_DIR) != 0) {
            message->offline_replicas[message->n_offline_replicas++] = id;
        }
    }
    return message;
}

static Barnabas__Control__UpdateMetadata *meta_body(struct ctl *ctl, const struct picked *picked)
{
    struct arena *arena = &ctl->out->arena;
    Barnabas__Control__UpdateMetadata *body = arena_new(arena, Barnabas__Control__UpdateMetadata);
    barnabas__control__update_metadata__init(body);
    body->topics = arena_array(arena, meta_topic_type *, (size_t)picked->runs + 1);
    body->n_topics = (size_t)picked->runs;
    body->live_brokers = broker_messages(ctl, NULL, &body->n_live_brokers);
    for (int32_t run = 0, at = 0; run < picked->runs; run++) {
        meta_topic_type *topic = arena_new(arena, meta_topic_type);
        barnabas__control__update_metadata_topic__init(topic);
        topic->name = text(arena, picked->parts[at]->topic->name);
        control_set(topic, topic_id, control_topic_id(arena, picked->parts[at]->topic->id));
        topic->partitions = arena_array(arena, meta_part_type *, (size_t)(picked->ends[run] - at));
        for (; at < picked->ends[run]; at++) {
            topic->partitions[topic->n_partitions++] = meta_part(ctl, picked->parts[at]);
        }
        body->topics[run] = topic;
    }
    return body;
}

/* Not to be read, or without a state: nobody who can lead it is there, or somebody removed them. */
static bool is_untold(const struct ctl_topic *topic)
{
    bool broken = !topic->loaded;
    bool none = true;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        broken = broken || topic->parts[i]->broken;
        none = none && !topic->parts[i]->exists;
    }
    return broken || none;
}

/* Topics that are there and of which nothing can be said are named, lest a broker that is told
 * everything anew takes them for deleted, and forgets what groups committed. */
static void name_untold(struct ctl *ctl, Barnabas__Control__UpdateMetadata *body)
{
    struct arena *arena = &ctl->out->arena;
    size_t room = body->n_topics + HASH_COUNT(ctl->topics);
    meta_topic_type **topics = arena_array(arena, meta_topic_type *, room + 1);
    for (size_t i = 0; i < body->n_topics; i++) {
        topics[i] = body->topics[i];
    }
    for (const struct ctl_topic *from = ctl->topics; from != NULL; from = from->hh.next) {
        if (is_untold(from)) {
            meta_topic_type *topic = arena_new(arena, meta_topic_type);
            barnabas__control__update_metadata_topic__init(topic);
            topic->name = text(arena, from->name);
            topics[body->n_topics++] = topic;
        }
    }
    body->topics = topics;
}

static stop_part_type *stop_part(struct arena *arena, const struct ctl_broker *broker,
                                 const struct ctl_part *part)
{
    stop_part_type *message = arena_new(arena, stop_part_type);
    bool deleting = part->topic->deleting;
    barnabas__control__stop_replica_partition__init(message);
    control_set(message, partition, part->index);
    control_set(message, leader_epoch,
                deleting        ? CONTROL_EPOCH_DURING_DELETE
                : !part->exists ? CONTROL_EPOCH_UNKNOWN
                                : part->now.leader_epoch);
    control_set(message, delete_, deleting || ctl_dropped(part, broker->id));
    return message;
}

static Barnabas__Control__StopReplica *stop_body(struct ctl *ctl, const struct ctl_broker *broker,
                                                 const struct picked *picked)
{
    struct arena *arena = &ctl->out->arena;
    Barnabas__Control__StopReplica *body = arena_new(arena, Barnabas__Control__StopReplica);
    barnabas__control__stop_replica__init(body);
    body->topics = arena_array(arena, stop_topic_type *, (size_t)picked->runs + 1);
    body->n_topics = (size_t)picked->runs;
    for (int32_t run = 0, at = 0; run < picked->runs; run++) {
        stop_topic_type *topic = arena_new(arena, stop_topic_type);
        barnabas__control__stop_replica_topic__init(topic);
        topic->name = text(arena, picked->parts[at]->topic->name);
        topic->partitions = arena_array(arena, stop_part_type *, (size_t)(picked->ends[run] - at));
        for (; at < picked->ends[run]; at++) {
            topic->partitions[topic->n_partitions++] = stop_part(arena, broker, picked->parts[at]);
        }
        body->topics[run] = topic;
    }
    return body;
}

/* ---- Sending. */

static request_type *new_request(struct ctl *ctl, const struct ctl_broker *broker, int kind)
{
    request_type *request = arena_new(&ctl->out->arena, request_type);
    barnabas__control__request__init(request);
    control_set(request, kind, (Barnabas__Control__Kind)kind);
    control_set(request, controller_id, ctl->config.broker_id);
    control_set(request, controller_epoch, ctl->epoch);
    control_set(request, broker_epoch, broker->epoch);
    return request;
}

static void send(struct ctl *ctl, struct ctl_broker *broker, request_type *request)
{
    struct ctl_cmd *cmd = ctl_emit(ctl, CTL_SEND);
    struct arena *arena = &ctl->out->arena;
    struct znode_endpoint *endpoints =
        arena_array(arena, struct znode_endpoint, (size_t)broker->endpoints_count + 1);
    for (int32_t i = 0; i < broker->endpoints_count; i++) {
        endpoints[i] = broker->endpoints[i];
        endpoints[i].listener = arena_str(arena, broker->endpoints[i].listener);
        endpoints[i].host = arena_str(arena, broker->endpoints[i].host);
    }
    cmd->id = ctl->next_cmd_id++;
    control_set(request, sequence, (int64_t)cmd->id);
    cmd->broker_id = broker->id;
    cmd->endpoints = endpoints;
    cmd->endpoints_count = broker->endpoints_count;
    cmd->request = request;
    broker->sending = cmd->id;
    broker->sending_kind = (int)request->kind;
    broker->sending_generation = ctl->generation;
}

static void mark_picked(struct ctl_broker *broker, const struct picked *picked, int marks)
{
    for (int32_t i = 0; i < picked->count; i++) {
        ctl_mark_sent(broker, picked->parts[i], marks);
    }
}

/* Must another broker be told of it still, or once more? */
static bool still_due(const struct ctl *ctl, const struct ctl_part *part)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        if ((ctl_marks_of(ctl->brokers[i], part) & CTL_MARK_META) != 0) {
            return true;
        }
    }
    return false;
}

static void metadata_picked(const struct ctl *ctl, struct ctl_broker *broker,
                            const struct picked *picked)
{
    mark_picked(broker, picked, CTL_MARK_META);
    for (int32_t i = 0; i < picked->count; i++) {
        struct ctl_part *part = picked->parts[i];
        part->fresh = part->fresh && still_due(ctl, part);
    }
}

static bool send_leaders(struct ctl *ctl, struct ctl_broker *broker)
{
    struct picked picked = pick(ctl, broker, CTL_MARK_LEADER, broker->due_leader, false);
    if (picked.count == 0) {
        return false;
    }
    request_type *request = new_request(ctl, broker, BARNABAS__CONTROL__KIND__LEADER_AND_ISR);
    request->leader_and_isr = leader_body(ctl, broker, &picked);
    send(ctl, broker, request);
    mark_picked(broker, &picked, CTL_MARK_LEADER | CTL_MARK_NEW);
    return true;
}

/* What it is to lead and follow, but for what it is not to lead. */
static bool leaders_told(const struct ctl *ctl, const struct ctl_broker *broker)
{
    int32_t kept = 0;
    for (int32_t s = 0; broker->due_leader > 0 && s < ctl->slots_count; s++) {
        const struct ctl_part *part = ctl->slots[s];
        kept += part != NULL && (ctl_marks_of(broker, part) & CTL_MARK_LEADER) != 0 &&
                        not_to_lead(ctl, broker, part)
                    ? 1
                    : 0;
    }
    return kept == broker->due_leader;
}

static void send_meta(struct ctl *ctl, struct ctl_broker *broker, const struct picked *picked)
{
    request_type *request = new_request(ctl, broker, BARNABAS__CONTROL__KIND__UPDATE_METADATA);
    Barnabas__Control__UpdateMetadata *body = meta_body(ctl, picked);
    bool complete = broker->due_meta == picked->count && leaders_told(ctl, broker);
    control_set(body, complete, complete);
    if (complete && !broker->told_all) {
        name_untold(ctl, body);
    }
    request->update_metadata = body;
    send(ctl, broker, request);
    broker->sending_all = complete;
    metadata_picked(ctl, broker, picked);
}

static bool send_metadata(struct ctl *ctl, struct ctl_broker *broker)
{
    struct picked picked = pick_metadata(ctl, broker);
    if (picked.count == 0 && broker->told_generation == ctl->generation) {
        return false;
    }
    send_meta(ctl, broker, &picked);
    return true;
}

static bool send_stops(struct ctl *ctl, struct ctl_broker *broker)
{
    struct picked picked = pick(ctl, broker, CTL_MARK_STOP, broker->due_stop, false);
    if (picked.count == 0) {
        return false;
    }
    request_type *request = new_request(ctl, broker, BARNABAS__CONTROL__KIND__STOP_REPLICA);
    request->stop_replica = stop_body(ctl, broker, &picked);
    send(ctl, broker, request);
    mark_picked(broker, &picked, CTL_MARK_STOP);
    return true;
}

static void send_next(struct ctl *ctl, struct ctl_broker *broker)
{
    if (broker->due_leader > 0 && broker->told_generation != ctl->generation) {
        send_meta(ctl, broker, &(struct picked){0});
        return;
    }
    if (!send_leaders(ctl, broker) && !send_metadata(ctl, broker)) {
        send_stops(ctl, broker);
    }
}

void ctl_send_all(struct ctl *ctl)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        struct ctl_broker *broker = ctl->brokers[i];
        if (broker->sending == 0 && ctl->now_ms >= broker->retry_ms) {
            send_next(ctl, broker);
        }
    }
}

/* ---- Answers. */

typedef void answer_fn(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                       int32_t replica, const Barnabas__Control__PartitionError *answer);

/* A replica's log directory failed, or works (again). */
static void leader_answer(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                          int32_t replica, const Barnabas__Control__PartitionError *answer)
{
    uint8_t old = part->flags[replica];
    enum err err = err_from_wire((int16_t)answer->error);
    ctl_unclean_answer(ctl, broker, part, answer);
    if (err == ERR_KAFKA_STORAGE_ERROR) {
        part->flags[replica] = old | CTL_REPLICA_OFFLINE_DIR;
    } else if (err == ERR_OK && (old & CTL_REPLICA_OFFLINE_DIR) != 0) {
        /* Another log than the one that failed, or that one read anew: it may lack something. What
         * the leader knows of it may be of before, and is forgotten in another epoch. */
        part->flags[replica] = (uint8_t)((old & ~CTL_REPLICA_OFFLINE_DIR) | CTL_REPLICA_UNCLEAN);
        part->bump = true;
    }
    if (part->flags[replica] != old) {
        ctl_note(ctl, err != ERR_OK, "replica %s: tp=%.*s-%d broker=%d",
                 err != ERR_OK ? "lost its log directory" : "has its log directory again",
                 STR_ARG(part->topic->name), part->index, broker->id);
        ctl_part_touch(ctl, part);
        ctl_mark_everybody(ctl, part, CTL_MARK_META);
    }
}

static void stop_answer(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                        int32_t replica, const Barnabas__Control__PartitionError *answer)
{
    enum err err = err_from_wire((int16_t)answer->error);
    /* Due again: this answers a request to stop only, from before the deletion began. */
    if (!part->topic->deleting || (broker->marks[part->slot] & CTL_MARK_STOP) != 0) {
        return;
    }
    if (err == ERR_OK) {
        part->flags[replica] |= CTL_REPLICA_DELETED;
    } else {
        part->flags[replica] |= CTL_REPLICA_DELETE_FAILED;
        ctl_note(ctl, true, "replica cannot be deleted: tp=%.*s-%d broker=%d error=%s",
                 STR_ARG(part->topic->name), part->index, broker->id, err_name(err));
    }
}

/* Only for partitions that the request named: a broker cannot speak of others. */
static void answers(struct ctl *ctl, struct ctl_broker *broker, int mark, size_t count,
                    Barnabas__Control__TopicErrors **topics, answer_fn *fn)
{
    for (size_t i = 0; i < count; i++) {
        struct ctl_topic *topic = ctl_find_topic(ctl, control_str(topics[i]->name));
        for (size_t j = 0; topic != NULL && j < topics[i]->n_partitions; j++) {
            const Barnabas__Control__PartitionError *answer = topics[i]->partitions[j];
            struct ctl_part *part = ctl_find_part(topic, answer->partition);
            bool asked =
                part != NULL && (ctl_marks_of(broker, part) & mark << CTL_MARK_SENT_SHIFT) != 0;
            int32_t replica = asked ? ctl_replica_index(part, broker->id) : -1;
            if (replica >= 0) {
                fn(ctl, broker, part, replica, answer);
            } else if (asked && mark == CTL_MARK_STOP && ctl_dropped(part, broker->id)) {
                ctl_dropped_answer(ctl, broker, part, err_from_wire((int16_t)answer->error));
            }
        }
    }
}

static void accept_response(struct ctl *ctl, struct ctl_broker *broker,
                            const Barnabas__Control__Response *response)
{
    if (broker->sending_kind == BARNABAS__CONTROL__KIND__LEADER_AND_ISR) {
        answers(ctl, broker, CTL_MARK_LEADER, response->leader_and_isr->n_topics,
                response->leader_and_isr->topics, leader_answer);
    } else if (broker->sending_kind == BARNABAS__CONTROL__KIND__STOP_REPLICA) {
        answers(ctl, broker, CTL_MARK_STOP, response->stop_replica->n_topics,
                response->stop_replica->topics, stop_answer);
    } else {
        broker->told_generation = broker->sending_generation;
        broker->told_all = broker->told_all || broker->sending_all;
    }
    ctl_sent_ok(ctl, broker);
}

static bool fits(const struct ctl_broker *broker, const Barnabas__Control__Response *response)
{
    switch (broker->sending_kind) {
    case BARNABAS__CONTROL__KIND__LEADER_AND_ISR:
        return response->leader_and_isr != NULL;
    case BARNABAS__CONTROL__KIND__STOP_REPLICA:
        return response->stop_replica != NULL;
    default:
        return true;
    }
}

static struct ctl_broker *find_sending(const struct ctl *ctl, uint64_t cmd_id)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        if (ctl->brokers[i]->sending == cmd_id) {
            return ctl->brokers[i];
        }
    }
    return NULL;
}

void ctl_sent_event(struct ctl *ctl, const struct ctl_event *event)
{
    const Barnabas__Control__Response *response = event->u.sent.response;
    struct ctl_broker *broker = find_sending(ctl, event->u.sent.cmd_id);
    if (broker == NULL || event->u.sent.cmd_id == 0) {
        return; /* of a broker's earlier life */
    }
    bool ok = event->u.sent.err == ERR_OK && response != NULL && response->error == 0 &&
              fits(broker, response);
    if (ok) {
        accept_response(ctl, broker, response);
    } else {
        ctl_sent_failed(ctl, broker);
        broker->retry_ms = ctl->now_ms + CTL_RETRY_MS;
    }
    broker->sending = 0;
    if (event->u.sent.err == ERR_OK && response != NULL) {
        enum err err = err_from_wire((int16_t)response->error);
        if (err == ERR_STALE_CONTROLLER_EPOCH) {
            ctl_resign(ctl);
        } else if (err == ERR_STALE_BROKER_EPOCH) {
            ctl_emit(ctl, CTL_READ_BROKERS);
        }
    }
}
