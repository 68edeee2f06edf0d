/* grp_sync.c: SyncGroup, Heartbeat, LeaveGroup.
 *
 * The leader's SyncGroup brings everyone's assignment. It is stored before anyone hears of it;
 * until then every SyncGroup waits. Afterwards a SyncGroup is answered at once from the stored
 * assignment. */
#include "group/grp_internal.h"

enum err grp_validate_member(struct grp_group *group, struct str member_id, struct str instance_id)
{
    if (instance_id.ptr != NULL) {
        const struct grp_member *member = grp_static_find(group, instance_id);
        if (member == NULL) {
            return ERR_UNKNOWN_MEMBER_ID;
        }
        return str_eq(member->id, member_id) ? ERR_OK : ERR_FENCED_INSTANCE_ID;
    }
    return grp_member_find(group, member_id) != NULL ? ERR_OK : ERR_UNKNOWN_MEMBER_ID;
}

/* ---- SyncGroup ---- */

static const struct bytes NOTHING = {(const uint8_t *)"", 0};

void grp_reply_sync_error(struct grp_coord *coord, void *token, enum err err)
{
    grp_reply_add(coord, token, GRP_EV_SYNC)->sync = (struct grp_reply_sync){
        .err = err, .protocol_type = STR_NULL, .protocol_name = STR_NULL, .assignment = NOTHING};
}

static void reply_assignment(const struct grp_member *member, void *token)
{
    struct grp_group *group = member->group;
    struct grp_reply *reply = grp_reply_add(group->coord, token, GRP_EV_SYNC);
    reply->sync = (struct grp_reply_sync){
        .err = ERR_OK,
        .protocol_type = grp_out_str(group->coord, group->protocol_type),
        .protocol_name = grp_out_str(group->coord, group->protocol),
        .assignment = grp_out_bytes(group->coord, member->assignment),
    };
}

static void *stop_awaiting_sync(struct grp_member *member)
{
    must(member->awaiting_sync);
    void *token = member->sync_token;
    member->awaiting_sync = false;
    member->sync_token = NULL;
    return token;
}

void grp_member_sync_fails(struct grp_member *member, enum err err)
{
    if (member->awaiting_sync) {
        grp_reply_sync_error(member->group->coord, stop_awaiting_sync(member), err);
        grp_session_refresh(member);
    }
}

void grp_member_syncs(struct grp_member *member)
{
    if (member->awaiting_sync) {
        reply_assignment(member, stop_awaiting_sync(member));
        grp_session_refresh(member);
    }
}

static void await_sync(struct grp_member *member, void *token)
{
    if (member->awaiting_sync) {
        /* As with joins: the older request's client has given up on it. */
        grp_reply_sync_error(member->group->coord, member->sync_token, ERR_REBALANCE_IN_PROGRESS);
    }
    member->awaiting_sync = true;
    member->sync_token = token;
}

/* Members that the leader forgot get nothing; strangers that it names are ignored. */
static void take_assignments(struct grp_group *group, const struct grp_sync *sync)
{
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        grp_member_assign(member, (struct bytes){NULL, 0});
    }
    for (size_t i = 0; i < sync->assignment_count; i++) {
        struct grp_member *member = grp_member_find(group, sync->assignments[i].member_id);
        if (member != NULL) {
            grp_member_assign(member, sync->assignments[i].assignment);
        }
    }
}

static size_t assignments_bytes(const struct grp_sync *sync)
{
    size_t size = 0;
    for (size_t i = 0; i < sync->assignment_count; i++) {
        size += sync->assignments[i].assignment.size;
    }
    return size;
}

static void sync_completing(struct grp_member *member, const struct grp_event *event)
{
    struct grp_group *group = member->group;
    const struct grp_sync *sync = &event->sync;
    bool leads = member == group->leader;
    if (leads && grp_memory_full(group->coord, assignments_bytes(sync), GRP_NEED_KNOWN)) {
        grp_reply_sync_error(group->coord, event->token, ERR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    await_sync(member, event->token);
    grp_sync_seen(member);
    /* A leader that repeats itself waits for what is being stored already. */
    if (leads && group->sync_op == 0) {
        grp_note(group->coord, false, "assignment received from the leader",
                 "group=%.*s member=%.*s generation=%d members=%zu", STR_ARG(group->id),
                 STR_ARG(member->id), group->generation, grp_member_count(group));
        take_assignments(group, sync);
        struct grp_op *op = grp_op_new(group, GRP_OP_SYNC, grp_store(group));
        op->generation = group->generation;
        group->sync_op = op->id;
    }
}

void grp_sync_appended(struct grp_op *op, enum err err)
{
    struct grp_group *group = op->group;
    if (group == NULL || group->sync_op != op->id) {
        return; /* a rebalance came between */
    }
    must(group->state == GRP_COMPLETING);
    must(group->generation == op->generation);
    group->sync_op = 0;
    if (err == ERR_OK) {
        grp_group_to(group, GRP_STABLE);
    }
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        if (err == ERR_OK) {
            grp_member_syncs(member);
        } else {
            grp_member_assign(member, (struct bytes){NULL, 0});
            grp_member_sync_fails(member, err);
        }
    }
    if (err != ERR_OK) {
        grp_rebalance(group, "the assignment could not be stored");
    }
}

static enum err validate_sync(struct grp_group *group, const struct grp_sync *sync)
{
    enum err err = grp_validate_member(group, sync->member_id, sync->instance_id);
    if (err != ERR_OK) {
        return err;
    }
    if (sync->generation != group->generation) {
        return ERR_ILLEGAL_GENERATION;
    }
    bool type_differs =
        sync->protocol_type.ptr != NULL && !str_eq(sync->protocol_type, group->protocol_type);
    bool name_differs =
        sync->protocol_name.ptr != NULL && !str_eq(sync->protocol_name, group->protocol);
    return type_differs || name_differs ? ERR_INCONSISTENT_GROUP_PROTOCOL : ERR_OK;
}

void grp_on_sync(struct grp_coord *coord, const struct grp_event *event)
{
    const struct grp_sync *sync = &event->sync;
    struct grp_group *group = grp_group_find(coord, sync->group_id);
    enum err err = group != NULL ? validate_sync(group, sync) : ERR_UNKNOWN_MEMBER_ID;
    if (err == ERR_OK && group->state == GRP_PREPARING) {
        err = ERR_REBALANCE_IN_PROGRESS;
    }
    if (err != ERR_OK) {
        grp_reply_sync_error(coord, event->token, err);
        return;
    }
    struct grp_member *member = grp_member_find(group, sync->member_id);
    if (group->state == GRP_COMPLETING) {
        sync_completing(member, event);
        return;
    }
    must(group->state == GRP_STABLE); /* I3: it has a member */
    grp_sync_seen(member);
    reply_assignment(member, event->token);
    grp_session_refresh(member);
}

/* ---- Heartbeat ---- */

static enum err heartbeat(struct grp_coord *coord, const struct grp_heartbeat *heartbeat)
{
    struct grp_group *group = grp_group_find(coord, heartbeat->group_id);
    if (group == NULL) {
        return ERR_UNKNOWN_MEMBER_ID;
    }
    enum err err = grp_validate_member(group, heartbeat->member_id, heartbeat->instance_id);
    if (err != ERR_OK) {
        return err;
    }
    if (heartbeat->generation != group->generation) {
        return ERR_ILLEGAL_GENERATION;
    }
    grp_session_refresh(grp_member_find(group, heartbeat->member_id));
    return group->state == GRP_PREPARING ? ERR_REBALANCE_IN_PROGRESS : ERR_OK;
}

void grp_on_heartbeat(struct grp_coord *coord, const struct grp_event *event)
{
    enum err err = heartbeat(coord, &event->heartbeat);
    grp_reply_add(coord, event->token, GRP_EV_HEARTBEAT)->heartbeat = err;
}

/* ---- LeaveGroup ---- */

static enum err leave_one(struct grp_group *group, const struct grp_leaving *leaving)
{
    struct grp_coord *coord = group->coord;
    struct grp_member *member = grp_member_find(group, leaving->member_id);
    if (leaving->member_id.size == 0) {
        /* An administrator names the instance and does not know the member id. */
        member = grp_static_find(group, leaving->instance_id);
        if (member == NULL) {
            return ERR_UNKNOWN_MEMBER_ID;
        }
    } else {
        struct grp_candidate *candidate = grp_candidate_find(group, leaving->member_id);
        if (candidate != NULL) {
            grp_candidate_free(candidate);
            grp_rebalance_check(group);
            return ERR_OK;
        }
        enum err err = grp_validate_member(group, leaving->member_id, leaving->instance_id);
        if (err != ERR_OK) {
            return err;
        }
    }
    struct str reason = leaving->reason.ptr != NULL ? leaving->reason : STR("not provided");
    grp_note(coord, false, "member left", "group=%.*s member=%.*s reason=%.*s", STR_ARG(group->id),
             STR_ARG(member->id), STR_ARG(reason));
    grp_member_remove(member, "member left");
    return ERR_OK;
}

void grp_on_leave(struct grp_coord *coord, const struct grp_event *event)
{
    const struct grp_leave *leave = &event->leave;
    struct grp_group *group = grp_group_find(coord, leave->group_id);
    struct grp_left_member *left =
        arena_array(&coord->out->arena, struct grp_left_member, leave->member_count);
    for (size_t i = 0; i < leave->member_count; i++) {
        left[i].member_id = grp_out_str(coord, leave->members[i].member_id);
        left[i].instance_id = grp_out_str(coord, leave->members[i].instance_id);
        left[i].err = group != NULL ? leave_one(group, &leave->members[i]) : ERR_UNKNOWN_MEMBER_ID;
    }
    grp_reply_add(coord, event->token, GRP_EV_LEAVE)->leave = (struct grp_reply_leave){
        .err = ERR_OK, .members = left, .member_count = leave->member_count};
}
