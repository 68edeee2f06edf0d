/* grp.c: events in. What every request has in common is checked here, then each goes to its file.
 */
#include "group/grp.h"

#include <strings.h>

#include "group/grp_internal.h"

void grp_config_default(struct grp_config *config)
{
    *config = (struct grp_config){
        .session_timeout_min_ms = 6000,
        .session_timeout_max_ms = 1800000,
        .group_size_max = INT32_MAX,
        .initial_rebalance_delay_ms = 3000,
        .offset_metadata_max = 4096,
        .offsets_retention_ms = INT64_C(10080) * 60000,
        .retention_check_interval_ms = 600000,
        .batch_bytes_max = 1048588,
        .memory_bytes_max = 0,
        .commit_acks = -1,
        .commit_timeout_ms = 5000,
        .compression = 0,
    };
}

const char *grp_state_name(enum grp_state state)
{
    static const char *const NAMES[] = {
        [GRP_EMPTY] = "Empty",
        [GRP_PREPARING] = "PreparingRebalance",
        [GRP_COMPLETING] = "CompletingRebalance",
        [GRP_STABLE] = "Stable",
        [GRP_DEAD] = "Dead",
    };
    return NAMES[state];
}

struct grp_coord *grp_new(const struct grp_config *config, uint64_t seed)
{
    must(config->group_size_max >= 1);
    struct grp_coord *coord = mem_new(struct grp_coord);
    coord->config = *config;
    if (config->initial_rebalance_delay_ms < 0) {
        coord->config.initial_rebalance_delay_ms = 0;
    }
    coord->next_op = 1;
    coord->expire_timer.kind = GRP_TIMER_EXPIRE;
    rng_seed(&coord->rng, seed);
    return coord;
}

static void forget_everything(struct grp_coord *coord)
{
    struct grp_op *op, *op_next;
    HASH_ITER (hh, coord->ops, op, op_next) {
        grp_op_free(coord, op);
    }
    struct grp_group *group, *next;
    HASH_ITER (hh, coord->groups, group, next) {
        grp_group_free(group);
    }
    grp_producers_free(coord);
    grp_timer_cancel(&coord->timers, &coord->expire_timer);
    must(coord->timers.count == 0);
    must(coord->memory_bytes == 0);
}

/* Waiting members are dropped without an answer. */
static void stop_waiting(struct grp_coord *coord)
{
    for (struct grp_group *group = coord->groups; group != NULL; group = group->hh.next) {
        for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
            member->awaiting_join = false;
            member->awaiting_sync = false;
        }
        group->awaiting_count = 0;
    }
}

void grp_free(struct grp_coord *coord)
{
    if (coord == NULL) {
        return;
    }
    stop_waiting(coord);
    forget_everything(coord);
    grp_timers_fini(&coord->timers);
    mem_free(coord);
}

void grp_reload(struct grp_coord *coord)
{
    must(coord->phase == GRP_PHASE_UNLOADED);
    must(coord->groups == NULL);
    coord->phase = GRP_PHASE_LOADING;
}

int64_t grp_wake_at_ms(const struct grp_coord *coord)
{
    return grp_timers_next_ms(&coord->timers);
}

size_t grp_memory_bytes(const struct grp_coord *coord)
{
    return coord->memory_bytes;
}

size_t grp_group_count(const struct grp_coord *coord)
{
    return HASH_COUNT(coord->groups);
}

/* ---- operations ---- */

struct grp_op *grp_op_new(struct grp_group *group, enum grp_op_kind kind, uint64_t id)
{
    struct grp_op *op = mem_new(struct grp_op);
    op->id = id;
    op->kind = kind;
    op->group = group;
    list_push_back(&group->ops, &op->in_group);
    HASH_ADD(hh, group->coord->ops, id, sizeof(op->id), op);
    return op;
}

/* It lives for as long as the append is not committed, which may be long after its client has been
 * answered that it timed out. */
void grp_op_charge(struct grp_coord *coord, struct grp_op *op)
{
    grp_charge(coord, &op->charged_bytes,
               sizeof(*op) + arena_size(&op->arena) +
                   grp_protocols_bytes(op->protocols, op->protocol_count));
}

void grp_op_free(struct grp_coord *coord, struct grp_op *op)
{
    grp_charge(coord, &op->charged_bytes, 0);
    for (size_t i = 0; i < op->pending_count; i++) {
        if (op->pending[i].slot != NULL) {
            grp_pending_end(op->group, &op->pending[i], false);
        } else {
            grp_str_drop(&op->pending[i].value.metadata);
        }
    }
    HASH_DEL(coord->ops, op);
    list_remove(&op->in_group);
    mem_free(op->protocols);
    arena_fini(&op->arena);
    mem_free(op);
}

/* What the client of a failed append is told. Too-large kinds are ours to explain, not its to
 * repair: except for a commit, whose metadata and count it chose. */
static enum err append_error(enum grp_op_kind kind, enum err err)
{
    switch (err) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return ERR_COORDINATOR_NOT_AVAILABLE;
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_KAFKA_STORAGE_ERROR:
    case ERR_IO:
    case ERR_NO_SPACE:
    case ERR_NO_FILES:
        return ERR_NOT_COORDINATOR;
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
    case ERR_INVALID_FETCH_SIZE:
        return kind == GRP_OP_COMMIT ? ERR_INVALID_COMMIT_OFFSET_SIZE : ERR_UNKNOWN_SERVER_ERROR;
    case ERR_REQUEST_TIMED_OUT:
    case ERR_TIMEOUT:
        return kind == GRP_OP_COMMIT ? ERR_REQUEST_TIMED_OUT : ERR_REBALANCE_IN_PROGRESS;
    case ERR_NETWORK_EXCEPTION:
        return kind == GRP_OP_COMMIT ? ERR_COORDINATOR_LOAD_IN_PROGRESS : err;
    default:
        return err;
    }
}

static void on_appended(struct grp_coord *coord, const struct grp_appended *appended)
{
    struct grp_op *op = NULL;
    HASH_FIND(hh, coord->ops, &appended->op, sizeof(appended->op), op);
    if (op == NULL) {
        return; /* nothing hangs on it, or not any more */
    }
    enum err err = append_error(op->kind, appended->err);
    switch (op->kind) {
    case GRP_OP_COMMIT:
        grp_commit_appended(coord, op, err, appended->base_offset);
        if (err == ERR_REQUEST_TIMED_OUT) {
            return;
        }
        break;
    case GRP_OP_SYNC:
        grp_sync_appended(op, err);
        break;
    case GRP_OP_STATIC:
        grp_static_appended(op, err);
        break;
    }
    grp_op_free(coord, op);
}

/* ---- DescribeGroups, ListGroups ---- */

static void describe_members(struct grp_group *group, struct grp_reply_describe *reply)
{
    struct grp_coord *coord = group->coord;
    static const struct bytes NOTHING = {(const uint8_t *)"", 0};
    bool stable = group->state == GRP_STABLE;
    reply->member_count = grp_member_count(group);
    struct grp_described_member *to =
        arena_array(&coord->out->arena, struct grp_described_member, reply->member_count);
    reply->members = to;
    for (const struct grp_member *member = group->members; member != NULL;
         member = member->hh.next) {
        *to++ = (struct grp_described_member){
            .member_id = grp_out_str(coord, member->id),
            .instance_id = grp_out_str(coord, member->instance_id),
            .client_id = grp_out_str(coord, member->client_id),
            .client_host = grp_out_str(coord, member->client_host),
            .metadata = stable ? grp_out_bytes(coord, grp_member_metadata(member)) : NOTHING,
            .assignment = stable ? grp_out_bytes(coord, member->assignment) : NOTHING,
        };
    }
}

static void on_describe(struct grp_coord *coord, const struct grp_event *event, enum err err)
{
    struct grp_reply_describe reply = {
        .err = err,
        .group_id = grp_out_str(coord, event->group_id),
        .state = STR(""),
        .protocol_type = STR(""),
        .protocol = STR(""),
    };
    struct grp_group *group = err == ERR_OK ? grp_group_find(coord, event->group_id) : NULL;
    if (group != NULL) {
        reply.state = str_of(grp_state_name(group->state));
        if (group->protocol_type.ptr != NULL) {
            reply.protocol_type = grp_out_str(coord, group->protocol_type);
        }
        if (group->state == GRP_STABLE) {
            reply.protocol = grp_out_str(coord, group->protocol);
        }
        describe_members(group, &reply);
    } else if (err == ERR_OK) {
        reply.state = str_of(grp_state_name(GRP_DEAD));
    }
    grp_reply_add(coord, event->token, GRP_EV_DESCRIBE)->describe = reply;
}

/* No filter lets everything pass. */
static bool listed_in(const struct str *filter, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (filter[i].size == strlen(word) &&
            strncasecmp(filter[i].ptr, word, filter[i].size) == 0) {
            return true;
        }
    }
    return count == 0;
}

static void on_list(struct grp_coord *coord, const struct grp_event *event, enum err err)
{
    const struct grp_list *list = &event->list;
    struct grp_listed *groups =
        arena_array(&coord->out->arena, struct grp_listed, grp_group_count(coord));
    size_t count = 0;
    bool classic = listed_in(list->types, list->type_count, "classic");
    bool wanted[GRP_DEAD + 1]; /* looked up once, not for each group: a filter may be very long */
    for (int state = GRP_EMPTY; state <= GRP_DEAD; state++) {
        const char *name = grp_state_name((enum grp_state)state);
        wanted[state] = listed_in(list->states, list->state_count, name);
    }
    for (struct grp_group *group = err == ERR_OK ? coord->groups : NULL; classic && group != NULL;
         group = group->hh.next) {
        if (wanted[group->state]) {
            groups[count++] = (struct grp_listed){
                .group_id = grp_out_str(coord, group->id),
                .protocol_type = group->protocol_type.ptr != NULL
                                     ? grp_out_str(coord, group->protocol_type)
                                     : STR(""),
                .state = str_of(grp_state_name(group->state)),
                .type = STR("classic"),
            };
        }
    }
    grp_reply_add(coord, event->token, GRP_EV_LIST)->list =
        (struct grp_reply_list){.err = err, .groups = groups, .group_count = count};
}

/* ---- dispatch ---- */

/* The group that a request is about. */
static struct str request_group(const struct grp_event *event)
{
    switch (event->kind) {
    case GRP_EV_JOIN:
        return event->join.group_id;
    case GRP_EV_SYNC:
        return event->sync.group_id;
    case GRP_EV_HEARTBEAT:
        return event->heartbeat.group_id;
    case GRP_EV_LEAVE:
        return event->leave.group_id;
    case GRP_EV_COMMIT:
        return event->commit.group_id;
    case GRP_EV_FETCH:
        return event->fetch.group_id;
    case GRP_EV_OFFSET_DELETE:
        return event->offset_delete.group_id;
    default:
        return event->group_id;
    }
}

/* Old clients commit offsets under the group "", so that name can be committed to, looked at and
 * deleted. */
static bool valid_group_id(enum grp_event_kind kind, struct str group_id)
{
    bool may_be_empty = kind == GRP_EV_COMMIT || kind == GRP_EV_FETCH || kind == GRP_EV_DESCRIBE ||
                        kind == GRP_EV_DELETE;
    return group_id.ptr != NULL && (may_be_empty || group_id.size > 0);
}

static enum err check_request(const struct grp_coord *coord, const struct grp_event *event)
{
    if (event->kind == GRP_EV_SYNC && event->sync.version >= 5 &&
        (event->sync.protocol_type.ptr == NULL || event->sync.protocol_name.ptr == NULL)) {
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    }
    if (event->kind != GRP_EV_LIST && !valid_group_id(event->kind, request_group(event))) {
        return ERR_INVALID_GROUP_ID;
    }
    switch (coord->phase) {
    case GRP_PHASE_LOADING:
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    case GRP_PHASE_UNLOADED:
        return ERR_NOT_COORDINATOR;
    case GRP_PHASE_ACTIVE:
        break;
    }
    return ERR_OK;
}

static void refuse(struct grp_coord *coord, const struct grp_event *event, enum err err)
{
    bool loading = err == ERR_COORDINATOR_LOAD_IN_PROGRESS;
    switch (event->kind) {
    case GRP_EV_JOIN:
        grp_reply_join_error(coord, event->token, event->join.version, event->join.member_id, err);
        break;
    case GRP_EV_SYNC:
        /* Old clients do not expect "loading" here; this one sends them back to JoinGroup. */
        grp_reply_sync_error(coord, event->token, loading ? ERR_REBALANCE_IN_PROGRESS : err);
        break;
    case GRP_EV_HEARTBEAT:
        grp_reply_add(coord, event->token, event->kind)->heartbeat = loading ? ERR_OK : err;
        break;
    case GRP_EV_LEAVE:
        grp_reply_add(coord, event->token, event->kind)->leave =
            (struct grp_reply_leave){.err = err};
        break;
    case GRP_EV_COMMIT:
        grp_reply_commit_error(coord, event, err);
        break;
    case GRP_EV_FETCH:
    case GRP_EV_OFFSET_DELETE:
        grp_reply_add(coord, event->token, event->kind)->offsets =
            (struct grp_reply_offsets){.err = err};
        break;
    case GRP_EV_DESCRIBE:
        on_describe(coord, event, err);
        break;
    case GRP_EV_LIST:
        on_list(coord, event, err);
        break;
    case GRP_EV_DELETE:
        grp_reply_add(coord, event->token, event->kind)->deleted = err;
        break;
    default:
        must_not_get_here();
    }
}

static void on_request(struct grp_coord *coord, const struct grp_event *event)
{
    enum err err = check_request(coord, event);
    if (err != ERR_OK) {
        refuse(coord, event, err);
        return;
    }
    switch (event->kind) {
    case GRP_EV_JOIN:
        grp_on_join(coord, event);
        break;
    case GRP_EV_SYNC:
        grp_on_sync(coord, event);
        break;
    case GRP_EV_HEARTBEAT:
        grp_on_heartbeat(coord, event);
        break;
    case GRP_EV_LEAVE:
        grp_on_leave(coord, event);
        break;
    case GRP_EV_COMMIT:
        grp_on_commit(coord, event);
        break;
    case GRP_EV_FETCH:
        grp_on_fetch(coord, event);
        break;
    case GRP_EV_OFFSET_DELETE:
        grp_on_offset_delete(coord, event);
        break;
    case GRP_EV_DESCRIBE:
        on_describe(coord, event, ERR_OK);
        break;
    case GRP_EV_LIST:
        on_list(coord, event, ERR_OK);
        break;
    case GRP_EV_DELETE:
        grp_on_delete(coord, event);
        break;
    default:
        must_not_get_here();
    }
}

static void on_active(struct grp_coord *coord, const struct grp_event *event)
{
    if (coord->phase != GRP_PHASE_ACTIVE) {
        return; /* late, and without a meaning now */
    }
    switch (event->kind) {
    case GRP_EV_APPENDED:
        on_appended(coord, &event->appended);
        break;
    case GRP_EV_EXPIRE:
        grp_on_expire(coord);
        break;
    case GRP_EV_TOPIC_DELETED:
        grp_on_topic_deleted(coord, event->topic);
        break;
    case GRP_EV_TICK: /* what is due runs after every event */
    default:
        break;
    }
}

static void fire(struct grp_coord *coord, struct grp_timer *timer)
{
    switch (timer->kind) {
    case GRP_TIMER_SESSION:
        grp_session_fired(container_of(timer, struct grp_member, session));
        break;
    case GRP_TIMER_PENDING:
        grp_candidate_fired(container_of(timer, struct grp_candidate, timer));
        break;
    case GRP_TIMER_JOIN:
        grp_join_timer_fired(container_of(timer, struct grp_group, join_timer));
        break;
    case GRP_TIMER_SYNC:
        grp_sync_timer_fired(container_of(timer, struct grp_group, sync_timer));
        break;
    case GRP_TIMER_EXPIRE:
        grp_timer_set(&coord->timers, timer,
                      grp_later_ms(coord->now_ms, coord->config.retention_check_interval_ms));
        grp_on_expire(coord);
        break;
    }
}

/* Timers that are set for now fire in this step, each group's at most a bounded number of times:
 * only the ends of delays of zero milliseconds set others for now. */
static void fire_due(struct grp_coord *coord)
{
    struct grp_timer *timer;
    while ((timer = grp_timers_pop(&coord->timers, coord->now_ms)) != NULL) {
        fire(coord, timer);
    }
}

void grp_step(struct grp_coord *coord, const struct grp_event *event, struct grp_out *out)
{
    must(event->now_ms >= coord->now_ms);
    coord->now_ms = event->now_ms;
    coord->wall_ms = event->wall_ms;
    coord->out = out;
    switch (event->kind) {
    case GRP_EV_RECORD:
        grp_on_record(coord, &event->record);
        break;
    case GRP_EV_TXN_MARKER:
        grp_producer_end(coord, event->txn_marker.producer_id, event->txn_marker.commit);
        break;
    case GRP_EV_LOADED:
        grp_on_loaded(coord);
        break;
    case GRP_EV_UNLOAD:
        grp_on_unload(coord);
        forget_everything(coord);
        coord->phase = GRP_PHASE_UNLOADED;
        break;
    case GRP_EV_TICK:
    case GRP_EV_APPENDED:
    case GRP_EV_EXPIRE:
    case GRP_EV_TOPIC_DELETED:
        on_active(coord, event);
        break;
    default:
        on_request(coord, event);
        break;
    }
    fire_due(coord);
    coord->out = NULL;
}
