/* grp_join.c: JoinGroup.
 *
 * A dynamic member first gets an id and comes back with it (version 4 and later), or is let in at
 * once (before). A static member is known by its instance id: a new process with that id takes the
 * place of the old one, which is fenced, and in a stable group nobody else notices. */
#include <stdio.h>

#include "base/uuid.h"
#include "group/grp_internal.h"

/* ---- replies ---- */

/* Versions before 7 cannot say "no protocol" and have "" for it. */
static struct str wire_protocol(struct grp_coord *coord, struct str protocol, int16_t version)
{
    if (version < 7) {
        return protocol.ptr != NULL ? grp_out_str(coord, protocol) : STR("");
    }
    return protocol.size > 0 ? grp_out_str(coord, protocol) : STR_NULL;
}

void grp_reply_join_error(struct grp_coord *coord, void *token, int16_t version,
                          struct str member_id, enum err err)
{
    grp_reply_add(coord, token, GRP_EV_JOIN)->join = (struct grp_reply_join){
        .err = err,
        .generation = -1,
        .protocol_type = STR_NULL,
        .protocol_name = wire_protocol(coord, STR_NULL, version),
        .leader = STR(""),
        .member_id = grp_out_str(coord, member_id),
    };
}

static void list_members(struct grp_group *group, struct grp_reply_join *reply)
{
    struct grp_coord *coord = group->coord;
    reply->member_count = grp_member_count(group);
    struct grp_joined_member *to =
        arena_array(&coord->out->arena, struct grp_joined_member, reply->member_count);
    reply->members = to;
    for (const struct grp_member *member = group->members; member != NULL;
         member = member->hh.next) {
        to->member_id = grp_out_str(coord, member->id);
        to->instance_id = grp_out_str(coord, member->instance_id);
        to->metadata = grp_out_bytes(coord, grp_member_metadata(member));
        to++;
    }
}

struct join_answer {
    struct str leader;
    bool skip_assignment;
    bool with_members;
};

/* The group's current generation. */
static void reply_joined(struct grp_group *group, void *token, int16_t version,
                         struct str member_id, struct join_answer answer)
{
    struct grp_coord *coord = group->coord;
    struct grp_reply *reply = grp_reply_add(coord, token, GRP_EV_JOIN);
    reply->join = (struct grp_reply_join){
        .err = ERR_OK,
        .generation = group->generation,
        .protocol_type = grp_out_str(coord, group->protocol_type),
        .protocol_name = wire_protocol(coord, group->protocol, version),
        .leader = answer.leader.ptr != NULL ? grp_out_str(coord, answer.leader) : STR(""),
        .skip_assignment = answer.skip_assignment,
        .member_id = grp_out_str(coord, member_id),
    };
    if (answer.with_members && token != NULL) {
        list_members(group, &reply->join);
    }
}

/* The member waits no longer; its request's token. */
static void *stop_awaiting_join(struct grp_member *member)
{
    must(member->awaiting_join);
    must(member->group->awaiting_count > 0);
    void *token = member->join_token;
    member->awaiting_join = false;
    member->join_token = NULL;
    member->group->awaiting_count--;
    return token;
}

void grp_member_join_fails(struct grp_member *member, struct str member_id, enum err err)
{
    if (member->awaiting_join) {
        void *token = stop_awaiting_join(member);
        grp_reply_join_error(member->group->coord, token, member->join_version, member_id, err);
    }
}

void grp_member_joins(struct grp_member *member, struct str leader, bool skip_assignment,
                      bool with_members)
{
    if (member->awaiting_join) {
        void *token = stop_awaiting_join(member);
        reply_joined(member->group, token, member->join_version, member->id,
                     (struct join_answer){.leader = leader,
                                          .skip_assignment = skip_assignment,
                                          .with_members = with_members});
        grp_session_refresh(member);
    }
}

void grp_member_await_join(struct grp_member *member, void *token, int16_t version)
{
    if (member->awaiting_join) {
        /* Kafka forgets the older request for ever. The client that sent it has given up on it, or
         * is a second one with the same id; either does well to try again. */
        grp_reply_join_error(member->group->coord, member->join_token, member->join_version,
                             member->id, ERR_REBALANCE_IN_PROGRESS);
    } else {
        member->awaiting_join = true;
        member->group->awaiting_count++;
    }
    member->join_token = token;
    member->join_version = version;
}

/* ---- new members ---- */

/* A member id is a string of the protocol and ends within 32767 bytes; a longer client id is cut.
 */
enum { PREFIX_MAX = 32767 - 37 };

static struct str new_member_id(struct grp_coord *coord, const struct grp_join *join)
{
    struct str prefix = join->instance_id.ptr != NULL ? join->instance_id : join->client_id;
    if (prefix.size > PREFIX_MAX) {
        prefix.size = PREFIX_MAX;
    }
    char uuid[37];
    uuid_format_hex(uuid_random(&coord->rng), uuid);
    return str_of(arena_printf(&coord->out->arena, "%.*s-%s", STR_ARG(prefix), uuid));
}

static const char *reason_text(struct grp_coord *coord, const char *what,
                               const struct grp_join *join)
{
    struct str reason = join->reason.ptr != NULL ? join->reason : STR("not provided");
    return arena_printf(&coord->out->arena, "%s; client reason: %.*s", what,
                        (int)(reason.size < 255 ? reason.size : 255), reason.ptr);
}

static void add_member(struct grp_group *group, const struct grp_event *event, struct str member_id)
{
    const struct grp_join *join = &event->join;
    if (group->state == GRP_PREPARING && group->generation == 0) {
        group->member_added = true; /* the first rebalance may wait longer */
    }
    if (group->members == NULL) {
        grp_str_drop(&group->protocol_type);
        group->protocol_type = grp_str_own(join->protocol_type);
    }
    struct grp_candidate *candidate = grp_candidate_find(group, member_id);
    if (candidate != NULL) {
        grp_candidate_free(candidate);
    }
    struct grp_member_record record = {
        .member_id = member_id,
        .instance_id = join->instance_id,
        .client_id = join->client_id.ptr != NULL ? join->client_id : STR(""),
        .client_host = join->client_host,
        .session_timeout_ms = join->session_timeout_ms,
        .rebalance_timeout_ms = join->rebalance_timeout_ms,
    };
    struct grp_member *member =
        grp_member_new(group, &record, join->protocols, join->protocol_count);
    member->is_new = true;
    grp_member_await_join(member, event->token, join->version);
    grp_session_start(member, GRP_NEW_MEMBER_TIMEOUT_MS);
    grp_rebalance(group, reason_text(group->coord, "new member", join));
}

/* ---- a static member comes back as a new process ---- */

/* Stable, and the chosen protocol stays: the others need not know. The new id is stored first. */
static void replace_quietly(struct grp_member *member, const struct grp_op *before)
{
    struct grp_group *group = member->group;
    struct grp_op *op = grp_op_new(group, GRP_OP_STATIC, grp_store(group));
    op->generation = group->generation;
    op->member = member;
    op->member_id = arena_str(&op->arena, before->member_id);
    op->leader_id = arena_str(&op->arena, before->leader_id);
    op->protocols = grp_protocols_own(before->protocols, before->protocol_count);
    op->protocol_count = before->protocol_count;
    op->session_timeout_ms = before->session_timeout_ms;
    op->rebalance_timeout_ms = before->rebalance_timeout_ms;
    grp_op_charge(group->coord, op);
}

static void replace_static(struct grp_member *member, const struct grp_event *event,
                           struct str member_id)
{
    struct grp_group *group = member->group;
    struct grp_coord *coord = group->coord;
    const struct grp_join *join = &event->join;
    struct grp_op before = {
        .member_id = grp_out_str(coord, member->id),
        .leader_id = grp_out_str(coord, grp_leader_id(group)),
        .protocols = grp_protocols_own(member->protocols, member->protocol_count),
        .protocol_count = member->protocol_count,
        .session_timeout_ms = member->session_timeout_ms,
        .rebalance_timeout_ms = member->rebalance_timeout_ms,
    };
    grp_member_join_fails(member, before.member_id, ERR_FENCED_INSTANCE_ID);
    grp_member_sync_fails(member, ERR_FENCED_INSTANCE_ID);
    grp_member_rename(member, member_id);
    grp_session_refresh(member);
    grp_member_set_protocols(member, join->protocols, join->protocol_count);
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
    grp_member_await_join(member, event->token, join->version);
    if (group->state == GRP_STABLE && str_eq(grp_group_vote(group), group->protocol)) {
        replace_quietly(member, &before);
    } else {
        grp_rebalance(group, reason_text(coord, "static member replaced", join));
    }
    mem_free(before.protocols);
}

static void restore_static(struct grp_member *member, struct grp_op *op, enum err err)
{
    struct grp_group *group = member->group;
    grp_note(group->coord, true, "could not store the new id of a static member",
             "group=%.*s member=%.*s error=%s", STR_ARG(group->id), STR_ARG(member->id),
             err_name(err));
    grp_member_set_protocols(member, op->protocols, op->protocol_count);
    member->session_timeout_ms = op->session_timeout_ms;
    member->rebalance_timeout_ms = op->rebalance_timeout_ms;
    if (member->awaiting_join) {
        void *token = stop_awaiting_join(member);
        struct grp_reply *reply = grp_reply_add(group->coord, token, GRP_EV_JOIN);
        reply->join = (struct grp_reply_join){
            .err = err,
            .generation = group->generation,
            .protocol_type = grp_out_str(group->coord, group->protocol_type),
            .protocol_name = wire_protocol(group->coord, group->protocol, member->join_version),
            .leader = grp_out_str(group->coord, op->leader_id),
            .member_id = STR(""),
        };
    }
    grp_member_rename(member, op->member_id);
    grp_session_refresh(member);
}

void grp_static_appended(struct grp_op *op, enum err err)
{
    struct grp_member *member = op->member;
    if (op->group == NULL || member == NULL || op->group->state != GRP_STABLE ||
        op->group->generation != op->generation) {
        return; /* the rebalance that came between answers, or has answered */
    }
    if (err == ERR_REBALANCE_IN_PROGRESS) {
        /* Timed out: the new id is in the log and will be committed, so it stays. Kafka goes back
         * to the old one here, and its log and its memory differ from then on. */
        grp_member_join_fails(member, STR(""), err);
        grp_session_refresh(member);
        return;
    }
    if (err != ERR_OK) {
        restore_static(member, op, err);
        return;
    }
    if (member->join_version >= 9) {
        /* The leader may know that it leads, but must not assign: a stable group would not spread
         * it. */
        bool leads = member == op->group->leader;
        grp_member_joins(member, grp_leader_id(op->group), leads, leads);
    } else {
        /* Told the old leader's id, the new process takes itself for a follower. */
        grp_member_joins(member, op->leader_id, false, false);
    }
}

static void join_new(struct grp_group *group, const struct grp_event *event)
{
    struct grp_coord *coord = group->coord;
    const struct grp_join *join = &event->join;
    if (!grp_group_supports(group, join->protocol_type, join->protocols, join->protocol_count)) {
        grp_reply_join_error(coord, event->token, join->version, STR(""),
                             ERR_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    struct str member_id = new_member_id(coord, join);
    struct grp_member *old = grp_static_find(group, join->instance_id);
    if (old != NULL) {
        replace_static(old, event, member_id);
    } else if (join->instance_id.ptr == NULL && join->version >= 4) {
        struct grp_candidate *candidate = grp_candidate_new(group, member_id);
        grp_timer_set(&coord->timers, &candidate->timer, coord->now_ms + join->session_timeout_ms);
        grp_reply_join_error(coord, event->token, join->version, member_id, ERR_MEMBER_ID_REQUIRED);
    } else {
        add_member(group, event, member_id);
    }
}

/* ---- members that come again ---- */

static void rejoin(struct grp_member *member, const struct grp_event *event, const char *what)
{
    const struct grp_join *join = &event->join;
    grp_member_set_protocols(member, join->protocols, join->protocol_count);
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms;
    grp_member_await_join(member, event->token, join->version);
    grp_rebalance(member->group, reason_text(member->group->coord, what, join));
}

static void join_member(struct grp_member *member, const struct grp_event *event)
{
    struct grp_group *group = member->group;
    const struct grp_join *join = &event->join;
    bool leads = member == group->leader;
    bool same = grp_member_has_protocols(member, join->protocols, join->protocol_count);
    switch (group->state) {
    case GRP_PREPARING:
        rejoin(member, event, "member rejoined");
        return;
    case GRP_COMPLETING:
        if (!same) {
            rejoin(member, event, "member's metadata changed");
            return;
        }
        break; /* the answer to its first JoinGroup got lost */
    case GRP_STABLE:
        /* The leader may ask for a rebalance for reasons that its metadata does not show. */
        if (leads || !same) {
            rejoin(member, event, leads ? "leader rejoined" : "member's metadata changed");
            return;
        }
        break;
    case GRP_EMPTY:
    case GRP_DEAD:
        must_not_get_here(); /* I3 */
    }
    reply_joined(group, event->token, join->version, member->id,
                 (struct join_answer){.leader = grp_leader_id(group), .with_members = leads});
}

static void join_known(struct grp_group *group, const struct grp_event *event)
{
    const struct grp_join *join = &event->join;
    enum err err = ERR_OK;
    if (!grp_group_supports(group, join->protocol_type, join->protocols, join->protocol_count)) {
        err = ERR_INCONSISTENT_GROUP_PROTOCOL;
    } else if (grp_candidate_find(group, join->member_id) != NULL) {
        if (join->instance_id.ptr == NULL) {
            add_member(group, event, join->member_id);
            return;
        }
        err =
            ERR_UNKNOWN_SERVER_ERROR; /* such ids are for dynamic members; Kafka fails like this */
    } else {
        err = grp_validate_member(group, join->member_id, join->instance_id);
    }
    if (err != ERR_OK) {
        grp_reply_join_error(group->coord, event->token, join->version, join->member_id, err);
        return;
    }
    join_member(grp_member_find(group, join->member_id), event);
}

/* ---- the request ---- */

/* Is there room? In PreparingRebalance those who wait count, not the members: a group that was
 * larger than the limit (which may have been lowered) thereby sheds whoever rejoins last. */
static bool has_room(struct grp_group *group, struct str member_id)
{
    size_t max = (size_t)group->coord->config.group_size_max;
    const struct grp_member *member = grp_member_find(group, member_id);
    switch (group->state) {
    case GRP_PREPARING:
        return (member != NULL && member->awaiting_join) || group->awaiting_count < max;
    case GRP_COMPLETING:
    case GRP_STABLE:
        return member != NULL || grp_member_count(group) < max;
    case GRP_EMPTY:
    case GRP_DEAD:
        break;
    }
    return true;
}

static void refuse_for_size(struct grp_group *group, const struct grp_event *event)
{
    struct grp_member *member = grp_member_find(group, event->join.member_id);
    struct grp_candidate *candidate = grp_candidate_find(group, event->join.member_id);
    if (member != NULL) {
        grp_member_free(member);
    } else if (candidate != NULL) {
        grp_candidate_free(candidate);
    }
    grp_reply_join_error(group->coord, event->token, event->join.version, STR(""),
                         ERR_GROUP_MAX_SIZE_REACHED);
}

/* The member that a join is of, or whose place it takes. */
static const struct grp_member *joining(struct grp_group *group, const struct grp_join *join)
{
    const struct grp_member *member = grp_member_find(group, join->member_id);
    return member != NULL ? member : grp_static_find(group, join->instance_id);
}

static enum err check_join_memory(struct grp_coord *coord, const struct grp_join *join)
{
    struct grp_group *group = grp_group_find(coord, join->group_id);
    const struct grp_member *member = group != NULL ? joining(group, join) : NULL;
    size_t need =
        sizeof(struct grp_member) + grp_protocols_charge(join->protocols, join->protocol_count);
    if (grp_memory_full(coord, need, member != NULL ? GRP_NEED_KNOWN : GRP_NEED_NEW)) {
        return ERR_COORDINATOR_NOT_AVAILABLE;
    }
    size_t others = group != NULL ? group->members_bytes : 0;
    others -= member != NULL ? member->own_bytes : 0;
    size_t max = coord->config.group_bytes_max;
    return max > 0 && others + need > max ? ERR_GROUP_MAX_SIZE_REACHED : ERR_OK;
}

static enum err check_join(struct grp_coord *coord, const struct grp_join *join)
{
    if (join->session_timeout_ms < coord->config.session_timeout_min_ms ||
        join->session_timeout_ms > coord->config.session_timeout_max_ms) {
        return ERR_INVALID_SESSION_TIMEOUT;
    }
    if (join->member_id.size > 0 && grp_group_find(coord, join->group_id) == NULL) {
        return ERR_UNKNOWN_MEMBER_ID;
    }
    return check_join_memory(coord, join);
}

void grp_on_join(struct grp_coord *coord, const struct grp_event *event)
{
    struct grp_event copy = *event;
    struct grp_join *join = &copy.join;
    if (join->version == 0) {
        join->rebalance_timeout_ms = join->session_timeout_ms;
    }
    enum err err = check_join(coord, join);
    if (err != ERR_OK) {
        grp_reply_join_error(coord, event->token, join->version, join->member_id, err);
        return;
    }
    struct grp_group *group = grp_group_find(coord, join->group_id);
    if (group == NULL) {
        group = grp_group_new(coord, join->group_id);
    }
    if (!has_room(group, join->member_id)) {
        refuse_for_size(group, &copy);
    } else if (join->member_id.size == 0) {
        join_new(group, &copy);
    } else {
        join_known(group, &copy);
    }
    grp_rebalance_check(group);
}
