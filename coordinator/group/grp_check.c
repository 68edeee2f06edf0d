/* grp_check.c: the invariants of grp_internal.h, asserted; and a printed form of the state. */
#include <stdlib.h>

#include "group/grp_internal.h"

/* ---- invariants ---- */

static void check_protocols(const struct grp_group *group)
{
    for (const struct grp_support *support = group->protocols; support != NULL;
         support = support->hh.next) {
        size_t count = 0;
        for (const struct grp_member *member = group->members; member != NULL;
             member = member->hh.next) {
            for (size_t i = 0; i < member->protocol_count; i++) {
                if (str_eq(member->protocols[i].name, support->name)) {
                    count++;
                    break;
                }
            }
        }
        must(support->count == count); /* I2 */
        must(count > 0);
    }
}

static size_t check_member(const struct grp_member *member)
{
    const struct grp_group *group = member->group;
    if (member->instance_id.ptr != NULL) {
        const struct grp_member *same = NULL;
        HASH_FIND(hh_static, group->static_members, member->instance_id.ptr,
                  member->instance_id.size, same);
        must(same == member);
    }
    if (member->awaiting_join) {
        must(group->state == GRP_PREPARING || group->state == GRP_STABLE);
    } else {
        must(member->join_token == NULL);
    }
    if (member->awaiting_sync) {
        must(group->state == GRP_COMPLETING); /* I5 */
        must(!member->sync_missing);
    } else {
        must(member->sync_token == NULL);
    }
    if (grp_timer_set_p(&member->session)) { /* I7 */
        must(member->session.at_ms <= member->session_deadline_ms);
    } else {
        bool held = !member->is_new && (member->awaiting_join || member->awaiting_sync);
        must(held || group->coord->phase == GRP_PHASE_LOADING);
    }
    size_t bytes = sizeof(*member) + member->id.size + member->instance_id.size +
                   member->client_id.size + member->client_host.size + member->assignment.size +
                   grp_protocols_charge(member->protocols, member->protocol_count);
    must(member->charged_bytes == bytes);
    must(member->own_bytes == bytes - member->assignment.size);
    return bytes;
}

/* Returns what they are charged with. */
static size_t check_members(const struct grp_group *group)
{
    size_t bytes = 0;
    size_t own_bytes = 0;
    size_t awaiting = 0;
    size_t missing = 0;
    size_t instances = 0;
    bool leads = false;
    for (const struct grp_member *member = group->members; member != NULL;
         member = member->hh.next) {
        bytes += check_member(member);
        own_bytes += member->own_bytes;
        awaiting += member->awaiting_join;
        missing += member->sync_missing;
        instances += member->instance_id.ptr != NULL;
        leads = leads || group->leader == member;
    }
    must(group->members_bytes == own_bytes); /* I8 */
    must(group->awaiting_count == awaiting); /* I1 */
    must(group->sync_missing == missing);
    must(HASH_CNT(hh_static, group->static_members) == instances);
    must(leads == (group->members != NULL)); /* I4 */
    must(leads == (group->leader != NULL));
    return bytes;
}

static size_t check_slot(const struct grp_group *group, const struct grp_offset *slot,
                         size_t *pending_count)
{
    size_t bytes = sizeof(*slot) + (slot->committed ? slot->value.metadata.size : 0);
    must(slot->committed || !list_empty(&slot->pending)); /* I6 */
    list_for_each (link, &slot->pending) {
        const struct grp_pending *pending = container_of(link, struct grp_pending, in_slot);
        must(pending->slot == slot);
        must(pending->group == group);
        must(list_linked(&pending->in_producer) == (pending->producer != NULL));
        bytes += sizeof(*pending) + pending->value.metadata.size;
        (*pending_count)++;
    }
    return bytes;
}

static size_t check_offsets(const struct grp_group *group)
{
    size_t bytes = 0;
    size_t committed = 0;
    size_t pending = 0;
    for (const struct grp_topic *topic = group->topics; topic != NULL; topic = topic->hh.next) {
        must(topic->slot_count > 0); /* I6 */
        bytes += sizeof(*topic) + topic->name.size;
        for (size_t i = 0; i < topic->slot_count; i++) {
            if (i > 0) {
                must(topic->slots[i - 1]->partition < topic->slots[i]->partition);
            }
            must(topic->slots[i]->topic == topic);
            bytes += check_slot(group, topic->slots[i], &pending);
            committed += topic->slots[i]->committed;
        }
    }
    must(group->committed_count == committed);
    must(group->pending_count == pending);
    return bytes;
}

static size_t check_group(const struct grp_group *group)
{
    bool has_members = group->members != NULL;
    must(group->state != GRP_DEAD);
    must(group->state == GRP_PREPARING || has_members == (group->state != GRP_EMPTY)); /* I3 */
    must(grp_timer_set_p(&group->join_timer) == (group->state == GRP_PREPARING));      /* I5 */
    if (group->sync_op != 0) {
        must(group->state == GRP_COMPLETING);
    }
    if (group->state == GRP_COMPLETING || group->state == GRP_STABLE) {
        must(group->protocol.ptr != NULL);
    }
    if (has_members) {
        must(group->protocol_type.size > 0);
    }
    check_protocols(group);
    size_t candidates = 0;
    for (const struct grp_candidate *candidate = group->candidates; candidate != NULL;
         candidate = candidate->hh.next) {
        must(grp_timer_set_p(&candidate->timer));
        candidates += sizeof(*candidate) + candidate->id.size;
    }
    size_t own = sizeof(*group) + group->id.size + GRP_GROUP_OVERHEAD + candidates;
    must(group->charged_bytes == own + check_offsets(group)); /* I8 */
    return group->charged_bytes + group->subscribed_bytes + check_members(group);
}

void grp_check(const struct grp_coord *coord)
{
    size_t bytes = 0;
    for (const struct grp_group *group = coord->groups; group != NULL; group = group->hh.next) {
        must(group->coord == coord);
        bytes += check_group(group);
    }
    for (const struct grp_op *op = coord->ops; op != NULL; op = op->hh.next) {
        bytes += op->charged_bytes;
        must(list_linked(&op->in_group) == (op->group != NULL));
        must(op->kind == GRP_OP_COMMIT || op->pending_count == 0);
    }
    must(coord->memory_bytes == bytes); /* I8 */
    for (const struct grp_producer *producer = coord->producers; producer != NULL;
         producer = producer->hh.next) {
        must(!list_empty(&producer->pending));
    }
    grp_timers_check(&coord->timers);
    if (coord->phase == GRP_PHASE_UNLOADED) {
        must(coord->groups == NULL);
        must(coord->ops == NULL);
        must(coord->producers == NULL);
    }
}

/* ---- printing ---- */

static int by_member_id(const void *a, const void *b)
{
    return str_cmp((*(struct grp_member *const *)a)->id, (*(struct grp_member *const *)b)->id);
}

static int by_topic_name(const void *a, const void *b)
{
    return str_cmp((*(struct grp_topic *const *)a)->name, (*(struct grp_topic *const *)b)->name);
}

static int by_group_id(const void *a, const void *b)
{
    return str_cmp((*(struct grp_group *const *)a)->id, (*(struct grp_group *const *)b)->id);
}

static void print_member(const struct grp_member *member, bool all, struct buf *to)
{
    struct bytes metadata = grp_member_metadata(member);
    buf_printf(to, "  member %.*s", STR_ARG(member->id));
    if (member->instance_id.ptr != NULL) {
        buf_printf(to, " instance=%.*s", STR_ARG(member->instance_id));
    }
    buf_printf(to, " client=%.*s%.*s session=%d rebalance=%d metadata=%016llx assignment=%016llx",
               STR_ARG(member->client_id), STR_ARG(member->client_host), member->session_timeout_ms,
               member->rebalance_timeout_ms,
               (unsigned long long)bytes_hash(metadata.data, metadata.size, 0),
               (unsigned long long)bytes_hash(member->assignment.data, member->assignment.size, 0));
    buf_printf(to, "%s%s%s\n", member == member->group->leader ? " leader" : "",
               all && member->awaiting_join ? " joining" : "",
               all && member->awaiting_sync ? " syncing" : "");
}

static void print_topic(const struct grp_topic *topic, bool all, struct buf *to)
{
    for (size_t i = 0; i < topic->slot_count; i++) {
        const struct grp_offset *slot = topic->slots[i];
        if (slot->committed) {
            buf_printf(
                to, "  offset %.*s-%d = %lld epoch=%d metadata=%.*s committed=%lld expires=%lld\n",
                STR_ARG(topic->name), slot->partition, (long long)slot->value.offset,
                slot->value.leader_epoch, STR_ARG(slot->value.metadata),
                (long long)slot->value.commit_timestamp_ms,
                (long long)slot->value.expire_timestamp_ms);
        }
        if (all && !list_empty(&slot->pending)) {
            buf_printf(to, "  offset %.*s-%d pending\n", STR_ARG(topic->name), slot->partition);
        }
    }
}

static void print_group(const struct grp_group *group, bool all, struct buf *to)
{
    buf_printf(to, "group %.*s %s generation=%d type=%.*s protocol=%.*s\n", STR_ARG(group->id),
               grp_state_name(group->state), group->generation, STR_ARG(group->protocol_type),
               STR_ARG(group->protocol));
    size_t count = 0;
    struct grp_member **members = mem_zalloc(grp_member_count(group) + 1, sizeof(*members));
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        members[count++] = member;
    }
    qsort(members, count, sizeof(*members), by_member_id);
    for (size_t i = 0; i < count; i++) {
        print_member(members[i], all, to);
    }
    mem_free(members);
    count = 0;
    struct grp_topic **topics = mem_zalloc(HASH_COUNT(group->topics) + 1, sizeof(*topics));
    for (struct grp_topic *topic = group->topics; topic != NULL; topic = topic->hh.next) {
        topics[count++] = topic;
    }
    qsort(topics, count, sizeof(*topics), by_topic_name);
    for (size_t i = 0; i < count; i++) {
        print_topic(topics[i], all, to);
    }
    mem_free(topics);
}

void grp_print(const struct grp_coord *coord, struct str group_id, bool all, struct buf *to)
{
    size_t count = 0;
    struct grp_group **groups = mem_zalloc(grp_group_count(coord) + 1, sizeof(*groups));
    for (struct grp_group *group = coord->groups; group != NULL; group = group->hh.next) {
        if (group_id.ptr == NULL || str_eq(group->id, group_id)) {
            groups[count++] = group;
        }
    }
    qsort(groups, count, sizeof(*groups), by_group_id);
    for (size_t i = 0; i < count; i++) {
        print_group(groups[i], all, to);
    }
    mem_free(groups);
}
