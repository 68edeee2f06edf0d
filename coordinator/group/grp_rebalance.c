/* grp_rebalance.c: how a group moves from one generation to the next.
 *
 * PreparingRebalance ends when everyone has joined, or when its timer fires. A group's first
 * rebalance is different: it always waits for `initial_rebalance_delay_ms`, and longer while new
 * members keep coming, so that a fleet of consumers that start together is assigned once. Dynamic
 * members that did not join are removed; static members stay, with their partitions, until their
 * session ends.
 *
 * Nothing is written when the join completes. The group is stored when the leader's assignment
 * arrives, when a generation turns out empty, and when a static member of a stable group gets a new
 * id. */
#include <stdio.h>

#include "group/grp_internal.h"

uint64_t grp_store(struct grp_group *group)
{
    struct arena *arena = &group->coord->out->arena;
    size_t count = grp_member_count(group);
    struct grp_group_record record = {
        .protocol_type = group->protocol_type.ptr != NULL ? group->protocol_type : STR(""),
        .generation = group->generation,
        .protocol = group->protocol,
        .leader = grp_leader_id(group),
        .state_timestamp_ms = group->state_timestamp_ms,
        .members = arena_array(arena, struct grp_member_record, count),
        .member_count = count,
    };
    struct grp_member_record *to = record.members;
    for (const struct grp_member *member = group->members; member != NULL;
         member = member->hh.next) {
        *to++ = (struct grp_member_record){
            .member_id = member->id,
            .instance_id = member->instance_id,
            .client_id = member->client_id,
            .client_host = member->client_host,
            .rebalance_timeout_ms = member->rebalance_timeout_ms,
            .session_timeout_ms = member->session_timeout_ms,
            .subscription = grp_member_metadata(member),
            .assignment = member->assignment,
        };
    }
    struct grp_out_record *out = arena_new(arena, struct grp_out_record);
    out->key = grp_record_group_key(arena, group->id);
    out->value = grp_record_group_value(arena, &record);
    return grp_append_add(group->coord, group->coord->config.commit_acks, out, 1);
}

/* ---- into PreparingRebalance ---- */

static void cancel_syncs(struct grp_group *group)
{
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        if (group->state == GRP_COMPLETING) {
            grp_member_assign(member, (struct bytes){NULL, 0});
            grp_member_sync_fails(member, ERR_REBALANCE_IN_PROGRESS);
        }
        member->sync_missing = false;
    }
    group->sync_missing = 0;
    group->sync_op = 0;
    grp_timer_cancel(&group->coord->timers, &group->sync_timer);
}

static void start_join_timer(struct grp_group *group)
{
    struct grp_coord *coord = group->coord;
    int64_t timeout_ms = grp_group_rebalance_timeout_ms(group);
    group->join_initial = group->state == GRP_EMPTY;
    group->member_added = false;
    if (group->join_initial) {
        int64_t delay_ms = coord->config.initial_rebalance_delay_ms;
        group->initial_delay_ms = delay_ms;
        group->initial_remaining_ms = timeout_ms > delay_ms ? timeout_ms - delay_ms : 0;
        timeout_ms = delay_ms;
    }
    grp_timer_set(&coord->timers, &group->join_timer, coord->now_ms + timeout_ms);
}

void grp_rebalance(struct grp_group *group, const char *reason)
{
    if (group->state == GRP_PREPARING || group->state == GRP_DEAD) {
        return;
    }
    cancel_syncs(group);
    start_join_timer(group);
    grp_note(group->coord, false, "preparing to rebalance group",
             "group=%.*s state=%s generation=%d reason=%s", STR_ARG(group->id),
             grp_state_name(group->state), group->generation, reason);
    grp_group_to(group, GRP_PREPARING);
    grp_rebalance_check(group);
}

/* ---- out of it ---- */

static void remove_absent(struct grp_group *group)
{
    struct grp_member *member, *next;
    HASH_ITER (hh, group->members, member, next) {
        if (!member->awaiting_join && member->instance_id.ptr == NULL) {
            grp_note(group->coord, false, "removed a member that did not rejoin",
                     "group=%.*s member=%.*s", STR_ARG(group->id), STR_ARG(member->id));
            grp_member_free(member);
        }
    }
}

/* The leader must have joined. False: nobody has. */
static bool elect_joined_leader(struct grp_group *group)
{
    if (group->leader != NULL && group->leader->awaiting_join) {
        return true;
    }
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        if (member->awaiting_join) {
            grp_note(group->coord, false, "elected a new leader of the group",
                     "group=%.*s member=%.*s", STR_ARG(group->id), STR_ARG(member->id));
            group->leader = member;
            return true;
        }
    }
    return false;
}

static void become_empty(struct grp_group *group)
{
    grp_group_subscribe(group);
    grp_group_to(group, GRP_EMPTY);
    grp_note(group->coord, false, "group is now empty", "group=%.*s generation=%d",
             STR_ARG(group->id), group->generation);
    /* Nothing hangs on this append: should it fail, the generation before it comes back after a
     * reload and its members time out. */
    grp_store(group);
}

static void answer_joins(struct grp_group *group)
{
    struct grp_coord *coord = group->coord;
    grp_group_subscribe(group);
    grp_group_to(group, GRP_COMPLETING);
    grp_note(coord, false, "stabilized group", "group=%.*s generation=%d members=%zu protocol=%.*s",
             STR_ARG(group->id), group->generation, grp_member_count(group),
             STR_ARG(group->protocol));
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        grp_member_joins(member, grp_leader_id(group), false, member == group->leader);
        member->is_new = false;
        grp_session_refresh(member);
        member->sync_missing = true;
    }
    group->sync_missing = grp_member_count(group);
    grp_timer_set(&coord->timers, &group->sync_timer,
                  coord->now_ms + grp_group_rebalance_timeout_ms(group));
}

static void complete(struct grp_group *group)
{
    must(group->state == GRP_PREPARING);
    struct grp_coord *coord = group->coord;
    group->join_initial = false;
    remove_absent(group);
    if (group->members != NULL && !elect_joined_leader(group)) {
        grp_note(coord, true, "group could not complete its rebalance: no member rejoined",
                 "group=%.*s", STR_ARG(group->id));
        int64_t timeout_ms = grp_group_rebalance_timeout_ms(group);
        grp_timer_set(&coord->timers, &group->join_timer,
                      coord->now_ms + (timeout_ms > GRP_JOIN_RETRY_MIN_MS ? timeout_ms
                                                                          : GRP_JOIN_RETRY_MIN_MS));
        return;
    }
    grp_timer_cancel(&coord->timers, &group->join_timer);
    group->generation = group->generation < INT32_MAX ? group->generation + 1 : 1;
    grp_str_drop(&group->protocol);
    if (group->members == NULL) {
        become_empty(group);
        return;
    }
    group->protocol = grp_str_own(grp_group_vote(group));
    answer_joins(group);
}

void grp_rebalance_check(struct grp_group *group)
{
    if (group->state == GRP_PREPARING && !group->join_initial && group->candidates == NULL &&
        group->awaiting_count == grp_member_count(group)) {
        complete(group);
    }
}

/* ---- timers ---- */

void grp_join_timer_fired(struct grp_group *group)
{
    struct grp_coord *coord = group->coord;
    must(group->state == GRP_PREPARING);
    if (!group->join_initial || !group->member_added || group->initial_remaining_ms == 0) {
        complete(group);
        return;
    }
    group->member_added = false;
    int64_t delay_ms = coord->config.initial_rebalance_delay_ms;
    if (delay_ms > group->initial_remaining_ms) {
        delay_ms = group->initial_remaining_ms;
    }
    group->initial_remaining_ms -= group->initial_delay_ms;
    if (group->initial_remaining_ms < 0) {
        group->initial_remaining_ms = 0;
    }
    group->initial_delay_ms = delay_ms;
    grp_timer_set(&coord->timers, &group->join_timer, coord->now_ms + delay_ms);
}

void grp_sync_timer_fired(struct grp_group *group)
{
    must(group->state == GRP_COMPLETING || group->state == GRP_STABLE);
    if (group->sync_missing == 0) {
        return;
    }
    struct grp_member *member, *next;
    HASH_ITER (hh, group->members, member, next) {
        if (member->sync_missing) {
            grp_member_join_fails(member, STR(""), ERR_UNKNOWN_MEMBER_ID);
            grp_member_free(member);
        }
    }
    grp_rebalance(group, "removed members that did not send SyncGroup in time");
}

void grp_sync_seen(struct grp_member *member)
{
    if (!member->sync_missing) {
        return;
    }
    member->sync_missing = false;
    member->group->sync_missing--;
    if (member->group->sync_missing == 0) {
        grp_timer_cancel(&member->group->coord->timers, &member->group->sync_timer);
    }
}

void grp_candidate_fired(struct grp_candidate *candidate)
{
    struct grp_group *group = candidate->group;
    grp_note(group->coord, false, "a member id was not used in time", "group=%.*s member=%.*s",
             STR_ARG(group->id), STR_ARG(candidate->id));
    grp_candidate_free(candidate);
    grp_rebalance_check(group);
}

void grp_member_remove(struct grp_member *member, const char *reason)
{
    struct grp_group *group = member->group;
    char text[384];
    snprintf(text, sizeof(text), "%s member=%.*s", reason, STR_ARG(member->id));
    /* A client that is still there starts over with a new member id. */
    grp_member_join_fails(member, STR(""), ERR_UNKNOWN_MEMBER_ID);
    grp_member_sync_fails(member, ERR_UNKNOWN_MEMBER_ID);
    grp_member_free(member);
    if (group->state == GRP_PREPARING) {
        grp_rebalance_check(group);
    } else {
        grp_rebalance(group, text);
    }
}

/* ---- sessions ---- */

void grp_session_start(struct grp_member *member, int64_t timeout_ms)
{
    struct grp_coord *coord = member->group->coord;
    member->session_deadline_ms = coord->now_ms + timeout_ms;
    /* A heartbeat only moves the deadline: the timer looks again when it fires (I7). */
    if (!grp_timer_set_p(&member->session) || member->session.at_ms > member->session_deadline_ms) {
        grp_timer_set(&coord->timers, &member->session, member->session_deadline_ms);
    }
}

void grp_session_refresh(struct grp_member *member)
{
    grp_session_start(member, member->session_timeout_ms);
}

void grp_session_fired(struct grp_member *member)
{
    struct grp_coord *coord = member->group->coord;
    if (member->session_deadline_ms > coord->now_ms) {
        grp_timer_set(&coord->timers, &member->session, member->session_deadline_ms);
        return;
    }
    if (!member->is_new && (member->awaiting_join || member->awaiting_sync)) {
        return; /* it is we who keep it waiting; answering it starts the session again */
    }
    grp_note(coord, false, "member has failed", "group=%.*s member=%.*s",
             STR_ARG(member->group->id), STR_ARG(member->id));
    grp_member_remove(member, "session expired");
}
