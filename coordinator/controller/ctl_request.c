/* ctl_request.c: what brokers and people ask of the controller: ISR changes, controlled shutdown,
 * elections, and the machine's own wish for balanced leaders. */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

typedef Barnabas__Control__Response response_type;

static response_type *new_response(struct ctl *ctl, int kind, enum err err)
{
    response_type *response = arena_new(&ctl->out->arena, response_type);
    barnabas__control__response__init(response);
    control_set(response, kind, (Barnabas__Control__Kind)kind);
    control_set(response, error, err_wire(err));
    return response;
}

static void reply(struct ctl *ctl, uint64_t reply_id, const response_type *response)
{
    struct ctl_cmd *cmd = ctl_emit(ctl, CTL_REPLY);
    cmd->reply_id = reply_id;
    cmd->response = response;
}

/* ---- AlterPartition: a leader asks for another ISR. */

static int32_t *copy_ids(struct arena *arena, const int32_t *ids, int32_t count)
{
    int32_t *copy = arena_array(arena, int32_t, (size_t)count + 1);
    if (count > 0) {
        memcpy(copy, ids, (size_t)count * sizeof(int32_t));
    }
    return copy;
}

static int32_t *copy_isr(struct arena *arena, const struct ctl_leadership *state)
{
    return copy_ids(arena, state->isr, state->isr_count);
}

static Barnabas__Control__AlterPartitionResult *alter_result(struct arena *arena,
                                                             const struct ctl_alter_item *item)
{
    Barnabas__Control__AlterPartitionResult *result =
        arena_new(arena, Barnabas__Control__AlterPartitionResult);
    barnabas__control__alter_partition_result__init(result);
    control_set(result, partition, item->partition);
    control_set(result, error, err_wire(item->err));
    if (item->err == ERR_OK) {
        control_set(result, leader, item->state.leader);
        control_set(result, leader_epoch, item->state.leader_epoch);
        control_set(result, leader_recovery_state, item->state.recovering ? 1 : 0);
        control_set(result, partition_epoch, item->version);
        result->n_isr = (size_t)item->state.isr_count;
        result->isr = copy_isr(arena, &item->state);
        result->n_eligible_replicas = (size_t)item->eligible_count;
        result->eligible_replicas = copy_ids(arena, item->eligible, item->eligible_count);
    }
    return result;
}

/* One topic entry per partition: simple, and the leader looks at partitions only. */
static void alter_reply(struct ctl *ctl, struct ctl_alter *alter)
{
    struct arena *arena = &ctl->out->arena;
    size_t count = (size_t)alter->items_count;
    response_type *response = new_response(ctl, BARNABAS__CONTROL__KIND__ALTER_PARTITION, ERR_OK);
    Barnabas__Control__AlterPartitionResponse *body =
        arena_new(arena, Barnabas__Control__AlterPartitionResponse);
    barnabas__control__alter_partition_response__init(body);
    body->topics = arena_array(arena, Barnabas__Control__AlterPartitionTopicResult *, count + 1);
    body->n_topics = count;
    for (size_t i = 0; i < count; i++) {
        struct ctl_alter_item *item = &alter->items[i];
        Barnabas__Control__AlterPartitionTopicResult *topic =
            arena_new(arena, Barnabas__Control__AlterPartitionTopicResult);
        barnabas__control__alter_partition_topic_result__init(topic);
        topic->name = arena_cstr(arena, item->topic);
        control_set(topic, topic_id, control_topic_id(arena, item->topic_id));
        topic->partitions = arena_array(arena, Barnabas__Control__AlterPartitionResult *, 1);
        topic->partitions[0] = alter_result(arena, item);
        topic->n_partitions = 1;
        body->topics[i] = topic;
    }
    response->alter_partition = body;
    reply(ctl, alter->reply_id, response);
}

static void alter_free(struct ctl_alter *alter)
{
    list_remove(&alter->link);
    arena_fini(&alter->arena);
    mem_free(alter);
}

static void item_done(struct ctl_alter_item *item, enum err err, const struct ctl_part *part)
{
    item->part = NULL;
    item->err = err;
    if (err == ERR_OK) {
        item->state = part->now;
        item->state.isr = copy_isr(&item->alter->arena, &part->now);
        item->eligible_count = part->eligible.count;
        item->eligible = copy_ids(&item->alter->arena, part->eligible.ids, part->eligible.count);
        item->version = part->version;
    }
    must(item->alter->waiting > 0);
    item->alter->waiting--;
}

void ctl_alter_done(struct ctl *ctl, struct ctl_alter_item *item, enum err err,
                    const struct ctl_part *part)
{
    struct ctl_alter *alter = item->alter;
    item_done(item, err, part);
    if (alter->waiting == 0) {
        alter_reply(ctl, alter);
        alter_free(alter);
    }
}

/* May it be in the ISR? One that is out may enter even if it started uncleanly (ctl_unclean.c). */
static bool fit(const struct ctl *ctl, const struct ctl_part *part, int32_t replica)
{
    bool member = ctl_in_isr(&part->now, part->replicas.ids[replica]);
    return member ? ctl_replica_live(ctl, part, replica) : ctl_replica_usable(ctl, part, replica);
}

/* Was it the life that is registered now that the leader saw? Who enters has to be proven to be
 * that; of members, and of the leader itself, the leader need not know. */
static bool epoch_fits(const struct ctl *ctl, const struct ctl_part *part, int32_t leader,
                       const Barnabas__Control__AlterPartitionPartition *ask, size_t i)
{
    int64_t epoch = i < ask->n_isr_epochs ? ask->isr_epochs[i] : -1;
    bool known = ask->isr[i] == leader || ctl_in_isr(&part->now, ask->isr[i]);
    return epoch == -1 ? known : ctl_find_broker(ctl, ask->isr[i])->epoch == epoch;
}

/* The ISR as asked for: distinct brokers that live, with their leader among them. */
static enum err check_isr(const struct ctl *ctl, const struct ctl_part *part, int32_t leader,
                          const Barnabas__Control__AlterPartitionPartition *ask)
{
    bool has_leader = false;
    bool recovering = ask->leader_recovery_state == 1;
    if ((recovering && ask->n_isr > 1) || (recovering && !part->now.recovering)) {
        return ERR_INVALID_REQUEST;
    }
    for (size_t i = 0; i < ask->n_isr; i++) {
        int32_t replica = ctl_replica_index(part, ask->isr[i]);
        has_leader = has_leader || ask->isr[i] == leader;
        for (size_t j = 0; j < i; j++) {
            if (ask->isr[j] == ask->isr[i]) {
                return ERR_INVALID_REQUEST;
            }
        }
        if (replica >= 0 && !ctl_replica_stays(part, ask->isr[i])) {
            return ERR_INELIGIBLE_REPLICA; /* its copy is about to go */
        }
        if (replica < 0 || !fit(ctl, part, replica)) {
            bool itself_leaving = ask->isr[i] == leader && ctl_in_isr(&part->now, leader);
            if (!itself_leaving) {
                return ERR_INELIGIBLE_REPLICA;
            }
        }
        if (replica >= 0 && !epoch_fits(ctl, part, leader, ask, i)) {
            return ERR_INELIGIBLE_REPLICA;
        }
    }
    return has_leader ? ERR_OK : ERR_INVALID_REQUEST;
}

static bool already_so(const struct ctl_part *part,
                       const Barnabas__Control__AlterPartitionPartition *ask)
{
    bool same = (size_t)part->now.isr_count == ask->n_isr &&
                part->now.recovering == (ask->leader_recovery_state == 1);
    for (size_t i = 0; same && i < ask->n_isr; i++) {
        same = part->now.isr[i] == ask->isr[i];
    }
    return same;
}

/* ERR_OK: nothing to write, the state is the answer. ERR_AGAIN: write. */
static enum err judge_alter(const struct ctl *ctl, const struct ctl_part *part, int32_t leader,
                            const Barnabas__Control__AlterPartitionPartition *ask)
{
    if (!part->exists) {
        return part->broken ? ERR_REQUEST_TIMED_OUT : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (ask->partition_epoch > part->version || ask->leader_epoch > part->now.leader_epoch) {
        return ERR_NOT_CONTROLLER; /* it knows more than we do */
    }
    if (ask->leader_epoch < part->now.leader_epoch || part->now.leader != leader) {
        return ERR_FENCED_LEADER_EPOCH;
    }
    if (part->busy != CTL_PART_IDLE || part->broken) {
        /* One write at a time, and what is being written may be this very wish: a leader whose
         * connection broke repeats it. "Nothing was written" would be wrong; it asks again. So it
         * does as long as the state cannot be read. */
        return ERR_REQUEST_TIMED_OUT;
    }
    if (already_so(part, ask)) {
        return ERR_OK;
    }
    if (ask->partition_epoch < part->version) {
        return ERR_INVALID_UPDATE_VERSION;
    }
    enum err err = check_isr(ctl, part, leader, ask);
    return err == ERR_OK ? ERR_AGAIN : err;
}

static void start_alter(struct ctl *ctl, struct ctl_part *part, struct ctl_alter_item *item,
                        const Barnabas__Control__AlterPartitionPartition *ask)
{
    struct ctl_leadership next = part->now;
    next.controller_epoch = ctl->epoch;
    next.recovering = ask->leader_recovery_state == 1;
    next.isr = mem_zalloc(ask->n_isr + 1, sizeof(int32_t));
    next.isr_count = (int32_t)ask->n_isr;
    memcpy(next.isr, ask->isr, ask->n_isr * sizeof(int32_t));
    for (size_t i = 0; i < ask->n_isr; i++) {
        ctl_unclean_enters(part, ask->isr[i]);
    }
    item->part = part;
    ctl_part_write(ctl, part, next, item);
}

/* By id where the leader knows it, else by name. */
static struct ctl_topic *alter_topic(const struct ctl *ctl,
                                     const Barnabas__Control__AlterPartitionTopic *ask)
{
    if (ask->topic_id.len > 0) {
        return ctl_find_topic_id(ctl, control_topic_id_get(ask->topic_id));
    }
    return ctl_find_topic(ctl, control_str(ask->name));
}

/* Its node cannot be read at present. It is not gone: "there is no such topic" a leader would
 * believe for good. */
static bool is_unread(const struct ctl *ctl, const Barnabas__Control__AlterPartitionTopic *ask)
{
    const struct ctl_topic *topic = ctl_find_topic(ctl, control_str(ask->name));
    return topic != NULL && !topic->loaded;
}

static void alter_one(struct ctl *ctl, struct ctl_alter_item *item, struct ctl_topic *topic,
                      int32_t leader, const Barnabas__Control__AlterPartitionTopic *of,
                      const Barnabas__Control__AlterPartitionPartition *ask)
{
    struct ctl_part *part = topic != NULL ? ctl_find_part(topic, ask->partition) : NULL;
    enum err err = is_unread(ctl, of)                      ? ERR_REQUEST_TIMED_OUT
                   : topic == NULL && of->topic_id.len > 0 ? ERR_UNKNOWN_TOPIC_ID
                   : part == NULL || topic->deleting       ? ERR_UNKNOWN_TOPIC_OR_PARTITION
                                                           : judge_alter(ctl, part, leader, ask);
    if (err == ERR_AGAIN) {
        start_alter(ctl, part, item, ask);
        return;
    }
    if (err == ERR_INVALID_UPDATE_VERSION) {
        ctl_part_lead_anew(ctl, part);
    }
    item_done(item, err, part);
}

static enum err check_sender(const struct ctl *ctl, const Barnabas__Control__Request *request)
{
    struct ctl_broker *broker = ctl_find_broker(ctl, request->broker_id);
    if (ctl->phase != CTL_ACTIVE || ctl->outdated) {
        return ERR_NOT_CONTROLLER;
    }
    return broker == NULL || broker->epoch != request->broker_epoch ? ERR_STALE_BROKER_EPOCH
                                                                    : ERR_OK;
}

static size_t count_items(const Barnabas__Control__AlterPartition *body)
{
    size_t count = 0;
    for (size_t i = 0; i < body->n_topics; i++) {
        count += body->topics[i]->n_partitions;
    }
    return count;
}

static void alter_all(struct ctl *ctl, struct ctl_alter *alter,
                      const Barnabas__Control__Request *request)
{
    struct ctl_alter_item *item = alter->items;
    for (size_t i = 0; i < request->alter_partition->n_topics; i++) {
        const Barnabas__Control__AlterPartitionTopic *ask = request->alter_partition->topics[i];
        struct ctl_topic *topic = alter_topic(ctl, ask);
        for (size_t j = 0; j < ask->n_partitions; j++, item++) {
            item->alter = alter;
            item->topic =
                arena_str(&alter->arena, topic != NULL ? topic->name : control_str(ask->name));
            item->topic_id = control_topic_id_get(ask->topic_id);
            item->partition = ask->partitions[j]->partition;
            alter_one(ctl, item, topic, request->broker_id, ask, ask->partitions[j]);
        }
    }
}

void ctl_alter_event(struct ctl *ctl, const struct ctl_event *event)
{
    const Barnabas__Control__Request *request = event->u.request.request;
    enum err err = check_sender(ctl, request);
    if (err != ERR_OK) {
        reply(ctl, event->u.request.reply_id,
              new_response(ctl, BARNABAS__CONTROL__KIND__ALTER_PARTITION, err));
        return;
    }
    struct ctl_alter *alter = mem_new(struct ctl_alter);
    size_t count = count_items(request->alter_partition);
    alter->reply_id = event->u.request.reply_id;
    alter->items = arena_array(&alter->arena, struct ctl_alter_item, count + 1);
    alter->items_count = (int32_t)count;
    alter->waiting = (int32_t)count;
    list_push_back(&ctl->alters, &alter->link);
    alter_all(ctl, alter, request);
    if (alter->waiting == 0) {
        alter_reply(ctl, alter);
        alter_free(alter);
    }
}

/* ---- Controlled shutdown. */

static bool concerns_shutdown(const struct ctl_part *part, int32_t broker_id)
{
    return part != NULL && !part->tombstone && !part->topic->deleting && part->exists &&
           part->replicas.count > 1 && ctl_replica_index(part, broker_id) >= 0;
}

/* Leaders move away; followers stop. */
static void leave(struct ctl *ctl, struct ctl_broker *broker)
{
    broker->shutting_down = true;
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (concerns_shutdown(part, broker->id)) {
            if (part->now.leader != broker->id) {
                ctl_unmark(ctl, broker, part, CTL_MARK_LEADER | CTL_MARK_NEW);
                ctl_mark(ctl, broker, part, CTL_MARK_STOP);
            }
            ctl_part_touch(ctl, part);
        }
    }
}

void ctl_shutdown_event(struct ctl *ctl, const struct ctl_event *event)
{
    const Barnabas__Control__Request *request = event->u.request.request;
    struct ctl_broker *broker = ctl_find_broker(ctl, request->broker_id);
    enum err err = ctl->phase != CTL_ACTIVE                ? ERR_STALE_CONTROLLER_EPOCH
                   : broker == NULL                        ? ERR_BROKER_NOT_AVAILABLE
                   : request->broker_epoch < broker->epoch ? ERR_STALE_BROKER_EPOCH
                                                           : ERR_OK;
    if (err != ERR_OK) {
        reply(ctl, event->u.request.reply_id,
              new_response(ctl, BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN, err));
        return;
    }
    struct ctl_shutdown *shutdown = mem_new(struct ctl_shutdown);
    shutdown->reply_id = event->u.request.reply_id;
    shutdown->broker_id = broker->id;
    list_push_back(&ctl->shutdowns, &shutdown->link);
    ctl_note(ctl, false, "broker is shutting down: broker=%d", broker->id);
    leave(ctl, broker);
}

static bool shutdown_settled(const struct ctl *ctl, int32_t broker_id)
{
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (concerns_shutdown(part, broker_id) && ctl_part_busy(part)) {
            return false;
        }
    }
    return true;
}

/* Has every broker that can be reached heard everything? Who leaves must not be gone, and least of
 * all as the controller, while leaders still wait for it, or while it takes itself for one. */
static bool all_told(const struct ctl *ctl)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        const struct ctl_broker *broker = ctl->brokers[i];
        bool due = broker->due_leader + broker->due_meta + broker->due_stop > 0;
        if (broker->sending != 0 || (due && ctl->now_ms >= broker->retry_ms)) {
            return false;
        }
    }
    return true;
}

static bool shutdown_done(const struct ctl *ctl, struct ctl_shutdown *shutdown)
{
    if (!shutdown_settled(ctl, shutdown->broker_id)) {
        return false;
    }
    if (shutdown->tell_until_ms == 0) {
        shutdown->tell_until_ms = ctl->now_ms + CTL_TELL_MS;
    }
    return all_told(ctl) || ctl->now_ms >= shutdown->tell_until_ms;
}

/* Is there anybody who might lead it instead, now or once in sync? Else waiting would not help. */
static bool has_other_replica(const struct ctl *ctl, const struct ctl_part *part, int32_t broker_id)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (part->replicas.ids[i] != broker_id && ctl_replica_live(ctl, part, i)) {
            return true;
        }
    }
    return false;
}

/* What it still leads and others could. */
static void shutdown_reply(struct ctl *ctl, const struct ctl_shutdown *shutdown)
{
    struct arena *arena = &ctl->out->arena;
    response_type *response =
        new_response(ctl, BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN, ERR_OK);
    Barnabas__Control__ControlledShutdownResponse *body =
        arena_new(arena, Barnabas__Control__ControlledShutdownResponse);
    barnabas__control__controlled_shutdown_response__init(body);
    body->remaining =
        arena_array(arena, Barnabas__Control__RemainingTopic *, (size_t)ctl->slots_count + 1);
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (concerns_shutdown(part, shutdown->broker_id) &&
            part->now.leader == shutdown->broker_id &&
            has_other_replica(ctl, part, shutdown->broker_id)) {
            Barnabas__Control__RemainingTopic *topic =
                arena_new(arena, Barnabas__Control__RemainingTopic);
            barnabas__control__remaining_topic__init(topic);
            topic->name = arena_cstr(arena, part->topic->name);
            topic->partitions = arena_array(arena, int32_t, 1);
            topic->partitions[topic->n_partitions++] = part->index;
            body->remaining[body->n_remaining++] = topic;
        }
    }
    response->controlled_shutdown = body;
    reply(ctl, shutdown->reply_id, response);
}

void ctl_shutdowns_advance(struct ctl *ctl)
{
    list_for_each_safe (link, &ctl->shutdowns) {
        struct ctl_shutdown *shutdown = container_of(link, struct ctl_shutdown, link);
        if (shutdown_done(ctl, shutdown)) {
            shutdown_reply(ctl, shutdown);
            list_remove(link);
            mem_free(shutdown);
        }
    }
}

void ctl_requests_abort(struct ctl *ctl)
{
    ctl_reassigns_abort(ctl);
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL) {
            ctl->slots[s]->alter = NULL;
        }
    }
    while (!list_empty(&ctl->alters)) {
        struct ctl_alter *alter = container_of(ctl->alters.next, struct ctl_alter, link);
        reply(ctl, alter->reply_id,
              new_response(ctl, BARNABAS__CONTROL__KIND__ALTER_PARTITION, ERR_NOT_CONTROLLER));
        alter_free(alter);
    }
    while (!list_empty(&ctl->shutdowns)) {
        struct ctl_shutdown *shutdown =
            container_of(ctl->shutdowns.next, struct ctl_shutdown, link);
        reply(ctl, shutdown->reply_id,
              new_response(ctl, BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN,
                           ERR_STALE_CONTROLLER_EPOCH));
        list_remove(&shutdown->link);
        mem_free(shutdown);
    }
}

/* ---- Elections that somebody asks for. */

/* ERR_OK: may begin. */
static enum err judge_election(const struct ctl *ctl, const struct ctl_part *part, bool unclean)
{
    int32_t first = part->replicas.count > 0 ? part->replicas.ids[0] : -1;
    if (part->topic->deleting) {
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    if (unclean) {
        return ctl_part_has_leader(ctl, part) ? ERR_ELECTION_NOT_NEEDED : ERR_OK;
    }
    if (part->now.leader == first && ctl_part_has_leader(ctl, part)) {
        return ERR_ELECTION_NOT_NEEDED;
    }
    if (first < 0 || !ctl_replica_live(ctl, part, 0) || !ctl_in_isr(&part->now, first)) {
        return ERR_PREFERRED_LEADER_NOT_AVAILABLE;
    }
    return ERR_OK;
}

static bool any_usable(const struct ctl *ctl, const struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (ctl_replica_usable(ctl, part, i)) {
            return true;
        }
    }
    return false;
}

static enum err elect_one(struct ctl *ctl, struct ctl_part *part, bool unclean)
{
    enum err err = judge_election(ctl, part, unclean);
    if (err == ERR_OK && unclean && !any_usable(ctl, part)) {
        return ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
    }
    if (err == ERR_OK) {
        part->want_unclean = unclean;
        ctl_want_preferred(ctl, part, !unclean);
        ctl_part_touch(ctl, part);
    }
    return err;
}

static void add_elected(struct ctl *ctl, struct str topic, int32_t partition, enum err err)
{
    struct ctl_elected *item = &ctl->out->elected[ctl->out->elected_count++];
    item->topic = arena_str(&ctl->out->arena, topic);
    item->partition = partition;
    item->err = err;
}

static void elect_all(struct ctl *ctl, bool unclean)
{
    ctl->out->elected =
        arena_array(&ctl->out->arena, struct ctl_elected, (size_t)ctl->slots_count + 1);
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (part == NULL || part->tombstone || part->topic->deleting) {
            continue;
        }
        enum err err = elect_one(ctl, part, unclean);
        if (err != ERR_ELECTION_NOT_NEEDED) {
            add_elected(ctl, part->topic->name, part->index, err);
        }
    }
}

void ctl_elect_event(struct ctl *ctl, const struct ctl_event *event)
{
    const struct znode_tps *tps = &event->u.elect.tps;
    if (ctl->phase != CTL_ACTIVE) {
        return;
    }
    if (event->u.elect.all) {
        elect_all(ctl, event->u.elect.unclean);
        return;
    }
    ctl->out->elected = arena_array(&ctl->out->arena, struct ctl_elected, (size_t)tps->count + 1);
    for (int32_t i = 0; i < tps->count; i++) {
        struct ctl_topic *topic = ctl_find_topic(ctl, tps->items[i].topic);
        struct ctl_part *part =
            topic != NULL ? ctl_find_part(topic, tps->items[i].partition) : NULL;
        enum err err = part != NULL ? elect_one(ctl, part, event->u.elect.unclean)
                                    : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        add_elected(ctl, tps->items[i].topic, tps->items[i].partition, err);
    }
}

/* The node that kafka-preferred-replica-election leaves. While loading, partitions are not known
 * yet; the node is read again then. */
void ctl_preferred_event(struct ctl *ctl, const struct ctl_event *event)
{
    ctl->have_preferred = true;
    ctl->preferred_node = event->u.preferred.exists;
    if (!event->u.preferred.exists) {
        return;
    }
    if (ctl->phase == CTL_LOADING) {
        ctl->preferred_node = false;
        ctl->preferred_again = true;
        return;
    }
    for (int32_t i = 0; i < event->u.preferred.tps.count; i++) {
        const struct znode_tp *tp = &event->u.preferred.tps.items[i];
        struct ctl_topic *topic = ctl_find_topic(ctl, tp->topic);
        struct ctl_part *part = topic != NULL ? ctl_find_part(topic, tp->partition) : NULL;
        if (part != NULL) {
            (void)elect_one(ctl, part, false);
        }
    }
}

void ctl_preferred_advance(struct ctl *ctl)
{
    if (ctl->preferred_again) {
        ctl->preferred_again = false;
        ctl_emit(ctl, CTL_READ_PREFERRED);
    }
    if (ctl->preferred_node && ctl->wants == 0) {
        ctl->preferred_node = false;
        ctl_emit_pending(ctl, CTL_DELETE_PREFERRED, CTL_PENDING_OTHER, NULL, NULL);
    }
}

/* ---- Unclean elections by configuration. */

static void set_unclean(struct ctl *ctl, struct str name, int allowed)
{
    struct ctl_unclean *entry = NULL;
    HASH_FIND(hh, ctl->unclean, name.ptr, name.size, entry);
    if (entry != NULL && allowed < 0) {
        HASH_DEL(ctl->unclean, entry);
        mem_free((char *)entry->name.ptr);
        mem_free(entry);
    } else if (entry != NULL) {
        entry->allowed = allowed > 0;
    } else if (allowed >= 0) {
        entry = mem_new(struct ctl_unclean);
        entry->name = (struct str){str_dup(name), name.size};
        entry->allowed = allowed > 0;
        HASH_ADD_KEYPTR(hh, ctl->unclean, entry->name.ptr, entry->name.size, entry);
    }
}

static void touch_leaderless(struct ctl *ctl, struct ctl_part *part)
{
    if (!ctl_part_has_leader(ctl, part)) {
        ctl_part_touch(ctl, part);
    }
}

void ctl_unclean_event(struct ctl *ctl, const struct ctl_event *event)
{
    struct str name = event->u.unclean.topic;
    if (name.ptr == NULL) {
        ctl->unclean_default = event->u.unclean.allowed < 0 ? ctl->config.unclean_default
                                                            : event->u.unclean.allowed > 0;
    } else {
        set_unclean(ctl, name, event->u.unclean.allowed);
    }
    ctl_parts_each(ctl, name, touch_leaderless);
}

/* ---- Balance. */

static bool has_preferred(const struct ctl_part *part)
{
    return part != NULL && !part->tombstone && !part->topic->deleting && part->exists &&
           part->replicas.count > 0;
}

/* Of the partitions that would rather be led by this broker, are too many led by others? */
static bool out_of_balance(const struct ctl *ctl, int32_t broker_id)
{
    int64_t preferring = 0;
    int64_t elsewhere = 0;
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (has_preferred(part) && part->replicas.ids[0] == broker_id) {
            preferring++;
            elsewhere += part->now.leader != broker_id ? 1 : 0;
        }
    }
    return elsewhere * 100 > preferring * ctl->config.imbalance_percentage;
}

void ctl_rebalance(struct ctl *ctl)
{
    ctl->rebalance_ms = ctl->now_ms + ctl->config.rebalance_check_ms;
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        int32_t id = ctl->brokers[i]->id;
        if (!out_of_balance(ctl, id)) {
            continue;
        }
        for (int32_t s = 0; s < ctl->slots_count; s++) {
            struct ctl_part *part = ctl->slots[s];
            if (has_preferred(part) && part->replicas.ids[0] == id) {
                (void)elect_one(ctl, part, false);
            }
        }
    }
}
