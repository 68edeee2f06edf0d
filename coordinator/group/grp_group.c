/* grp_group.c: groups and members as data. Nothing here decides; see grp_join.c and
 * grp_rebalance.c. */
#include "group/grp_internal.h"

struct str grp_str_own(struct str s)
{
    if (s.ptr == NULL || s.size == 0) {
        return s.ptr == NULL ? STR_NULL : STR("");
    }
    return (struct str){str_dup(s), s.size};
}

void grp_str_drop(struct str *s)
{
    if (s->size > 0) {
        mem_free((void *)(uintptr_t)s->ptr);
    }
    *s = STR_NULL;
}

/* ---- memory ---- */

void grp_charge(struct grp_coord *coord, size_t *charged, size_t now)
{
    struct grp_memory *shared = coord->config.memory;
    must(coord->memory_bytes >= *charged);
    coord->memory_bytes = coord->memory_bytes - *charged + now;
    if (shared != NULL) {
        atomic_fetch_add(&shared->used_bytes, now - *charged); /* less is added by wrapping */
    }
    *charged = now;
}

static bool exceeds(size_t max, size_t used, size_t more, enum grp_need need)
{
    size_t limit = need == GRP_NEED_NEW ? max : 2 * max;
    return max > 0 && (more > limit || used > limit - more);
}

bool grp_memory_full(const struct grp_coord *coord, size_t more, enum grp_need need)
{
    const struct grp_memory *shared = coord->config.memory;
    return exceeds(coord->config.memory_bytes_max, coord->memory_bytes, more, need) ||
           (shared != NULL &&
            exceeds(shared->max_bytes, atomic_load(&shared->used_bytes), more, need));
}

size_t grp_protocols_bytes(const struct grp_protocol *protocols, size_t count)
{
    size_t size = count * sizeof(struct grp_protocol);
    for (size_t i = 0; i < count; i++) {
        size += protocols[i].name.size + protocols[i].metadata.size;
    }
    return size;
}

size_t grp_protocols_charge(const struct grp_protocol *protocols, size_t count)
{
    size_t size = grp_protocols_bytes(protocols, count) + count * sizeof(struct grp_support);
    for (size_t i = 0; i < count; i++) {
        size += protocols[i].name.size;
    }
    return size;
}

struct grp_protocol *grp_protocols_own(const struct grp_protocol *protocols, size_t count)
{
    struct grp_protocol *copy = mem_alloc(grp_protocols_bytes(protocols, count) + 1);
    char *at = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        struct str name = protocols[i].name;
        struct bytes metadata = protocols[i].metadata;
        if (name.size > 0) {
            memcpy(at, name.ptr, name.size);
        }
        copy[i].name = (struct str){at, name.size};
        at += name.size;
        if (metadata.size > 0) {
            memcpy(at, metadata.data, metadata.size);
        }
        copy[i].metadata = (struct bytes){(const uint8_t *)at, metadata.size};
        at += metadata.size;
    }
    return copy;
}

static void charge_member(struct grp_member *member)
{
    struct grp_group *group = member->group;
    group->members_bytes -= member->own_bytes;
    member->own_bytes = sizeof(*member) + member->id.size + member->instance_id.size +
                        member->client_id.size + member->client_host.size +
                        grp_protocols_charge(member->protocols, member->protocol_count);
    group->members_bytes += member->own_bytes;
    grp_charge(group->coord, &member->charged_bytes, member->own_bytes + member->assignment.size);
}

/* ---- groups ---- */

struct grp_group *grp_group_find(struct grp_coord *coord, struct str id)
{
    struct grp_group *group = NULL;
    HASH_FIND(hh, coord->groups, id.ptr, id.size, group);
    return group;
}

struct grp_group *grp_group_new(struct grp_coord *coord, struct str id)
{
    struct grp_group *group = mem_new(struct grp_group);
    group->coord = coord;
    group->id = grp_str_own(id);
    group->state = GRP_EMPTY;
    group->state_timestamp_ms = coord->wall_ms;
    group->subscribed_known = false;
    group->join_timer.kind = GRP_TIMER_JOIN;
    group->sync_timer.kind = GRP_TIMER_SYNC;
    list_init(&group->ops);
    HASH_ADD_KEYPTR(hh, coord->groups, group->id.ptr, group->id.size, group);
    grp_charge(coord, &group->charged_bytes, sizeof(*group) + id.size + GRP_GROUP_OVERHEAD);
    return group;
}

static void forget_subscriptions(struct grp_group *group)
{
    struct grp_subscribed *item, *next;
    HASH_ITER (hh, group->subscribed, item, next) {
        HASH_DEL(group->subscribed, item);
        grp_str_drop(&item->topic);
        mem_free(item);
    }
    grp_charge(group->coord, &group->subscribed_bytes, 0);
}

void grp_group_free(struct grp_group *group)
{
    struct grp_coord *coord = group->coord;
    struct grp_candidate *candidate, *candidate_next;
    HASH_ITER (hh, group->candidates, candidate, candidate_next) {
        grp_candidate_free(candidate);
    }
    struct grp_member *member, *member_next;
    HASH_ITER (hh, group->members, member, member_next) {
        grp_member_free(member);
    }
    must(group->protocols == NULL);
    forget_subscriptions(group);
    grp_offsets_free(group);
    struct list *link;
    while ((link = list_pop_front(&group->ops)) != NULL) {
        container_of(link, struct grp_op, in_group)->group = NULL;
    }
    grp_timer_cancel(&coord->timers, &group->join_timer);
    grp_timer_cancel(&coord->timers, &group->sync_timer);
    HASH_DEL(coord->groups, group);
    grp_charge(coord, &group->charged_bytes, 0);
    grp_str_drop(&group->protocol_type);
    grp_str_drop(&group->protocol);
    grp_str_drop(&group->id);
    mem_free(group);
}

void grp_group_to(struct grp_group *group, enum grp_state state)
{
    /* Row: from; column: to, in the order Empty, Preparing, Completing, Stable, Dead. */
    static const bool ALLOWED[][GRP_DEAD + 1] = {
        [GRP_EMPTY] = {0, 1, 0, 0, 1},      [GRP_PREPARING] = {1, 0, 1, 0, 1},
        [GRP_COMPLETING] = {0, 1, 0, 1, 1}, [GRP_STABLE] = {0, 1, 0, 0, 1},
        [GRP_DEAD] = {0, 0, 0, 0, 1},
    };
    must(ALLOWED[group->state][state]);
    group->state = state;
    group->state_timestamp_ms = group->coord->wall_ms;
}

/* ---- protocols ---- */

static struct grp_support *support_find(struct grp_group *group, struct str name)
{
    struct grp_support *support = NULL;
    HASH_FIND(hh, group->protocols, name.ptr, name.size, support);
    return support;
}

/* I2: a name that a member lists twice counts once. */
static void support_add(struct grp_group *group, const struct grp_protocol *protocols, size_t count)
{
    uint64_t visit = ++group->visit;
    for (size_t i = 0; i < count; i++) {
        struct grp_support *support = support_find(group, protocols[i].name);
        if (support == NULL) {
            support = mem_new(struct grp_support);
            support->name = grp_str_own(protocols[i].name);
            HASH_ADD_KEYPTR(hh, group->protocols, support->name.ptr, support->name.size, support);
        }
        if (support->visit != visit) {
            support->visit = visit;
            support->count++;
        }
    }
}

static void support_remove(struct grp_group *group, const struct grp_protocol *protocols,
                           size_t count)
{
    uint64_t visit = ++group->visit;
    for (size_t i = 0; i < count; i++) {
        struct grp_support *support = support_find(group, protocols[i].name);
        if (support == NULL || support->visit == visit) {
            continue;
        }
        support->visit = visit;
        must(support->count > 0);
        support->count--;
        if (support->count == 0) {
            HASH_DEL(group->protocols, support);
            grp_str_drop(&support->name);
            mem_free(support);
        }
    }
}

bool grp_group_supports(struct grp_group *group, struct str protocol_type,
                        const struct grp_protocol *protocols, size_t count)
{
    if (group->state == GRP_EMPTY) {
        return protocol_type.size > 0 && count > 0;
    }
    if (!str_eq(group->protocol_type, protocol_type)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct grp_support *support = support_find(group, protocols[i].name);
        if ((support != NULL ? support->count : 0) == grp_member_count(group)) {
            return true;
        }
    }
    return false;
}

struct str grp_group_vote(struct grp_group *group)
{
    size_t members = grp_member_count(group);
    must(members > 0);
    struct grp_support *support, *next;
    HASH_ITER (hh, group->protocols, support, next) {
        support->votes = 0;
    }
    struct grp_member *member, *member_next;
    HASH_ITER (hh, group->members, member, member_next) {
        for (size_t i = 0; i < member->protocol_count; i++) {
            support = support_find(group, member->protocols[i].name);
            must(support != NULL);
            if (support->count == members) {
                support->votes++;
                break;
            }
        }
    }
    /* A tie goes to the protocol that was named first. */
    struct grp_support *best = NULL;
    HASH_ITER (hh, group->protocols, support, next) {
        if (support->votes > 0 && (best == NULL || support->votes > best->votes)) {
            best = support;
        }
    }
    must(best != NULL);
    return best->name;
}

/* ---- subscriptions ---- */

/* `left`: how many more may be named; less afterwards. */
static bool subscribe_member(struct grp_group *group, const struct grp_member *member, size_t *left)
{
    struct arena arena = {0};
    struct str *topics = NULL;
    size_t count = 0;
    size_t max = *left < GRP_SUBSCRIBED_MAX ? *left : GRP_SUBSCRIBED_MAX;
    enum err err =
        grp_subscription_topics(&arena, grp_member_metadata(member), max, &topics, &count);
    *left -= err == ERR_OK ? count : 0;
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        struct grp_subscribed *item = NULL;
        HASH_FIND(hh, group->subscribed, topics[i].ptr, topics[i].size, item);
        if (item == NULL) {
            item = mem_new(struct grp_subscribed);
            item->topic = grp_str_own(topics[i]);
            HASH_ADD_KEYPTR(hh, group->subscribed, item->topic.ptr, item->topic.size, item);
            grp_charge(group->coord, &group->subscribed_bytes,
                       group->subscribed_bytes + sizeof(*item) + item->topic.size);
        }
    }
    arena_fini(&arena);
    return err == ERR_OK && HASH_COUNT(group->subscribed) <= GRP_SUBSCRIBED_MAX;
}

void grp_group_subscribe(struct grp_group *group)
{
    forget_subscriptions(group);
    group->subscribed_known = false;
    if (!str_is(group->protocol_type, "consumer")) {
        return;
    }
    if (group->members != NULL && group->protocol.ptr == NULL) {
        return;
    }
    size_t left = GRP_SUBSCRIPTIONS_MAX;
    struct grp_member *member, *next;
    HASH_ITER (hh, group->members, member, next) {
        if (!subscribe_member(group, member, &left)) {
            forget_subscriptions(group);
            return;
        }
    }
    group->subscribed_known = true;
}

bool grp_group_subscribed(struct grp_group *group, struct str topic)
{
    struct grp_subscribed *item = NULL;
    HASH_FIND(hh, group->subscribed, topic.ptr, topic.size, item);
    return !group->subscribed_known || item != NULL;
}

/* ---- members ---- */

size_t grp_member_count(const struct grp_group *group)
{
    return HASH_COUNT(group->members);
}

struct grp_member *grp_member_find(struct grp_group *group, struct str id)
{
    struct grp_member *member = NULL;
    if (id.ptr != NULL) {
        HASH_FIND(hh, group->members, id.ptr, id.size, member);
    }
    return member;
}

struct grp_member *grp_static_find(struct grp_group *group, struct str instance_id)
{
    struct grp_member *member = NULL;
    if (instance_id.ptr != NULL) {
        HASH_FIND(hh_static, group->static_members, instance_id.ptr, instance_id.size, member);
    }
    return member;
}

struct grp_member *grp_member_new(struct grp_group *group, const struct grp_member_record *record,
                                  const struct grp_protocol *protocols, size_t protocol_count)
{
    must(grp_member_find(group, record->member_id) == NULL);
    must(grp_static_find(group, record->instance_id) == NULL);
    struct grp_member *member = mem_new(struct grp_member);
    member->group = group;
    member->id = grp_str_own(record->member_id);
    member->instance_id = grp_str_own(record->instance_id);
    member->client_id = grp_str_own(record->client_id);
    member->client_host = grp_str_own(record->client_host);
    member->session_timeout_ms = record->session_timeout_ms;
    member->rebalance_timeout_ms = record->rebalance_timeout_ms;
    member->session.kind = GRP_TIMER_SESSION;
    member->protocols = grp_protocols_own(protocols, protocol_count);
    member->protocol_count = protocol_count;
    HASH_ADD_KEYPTR(hh, group->members, member->id.ptr, member->id.size, member);
    if (member->instance_id.ptr != NULL) {
        HASH_ADD_KEYPTR(hh_static, group->static_members, member->instance_id.ptr,
                        member->instance_id.size, member);
    }
    support_add(group, member->protocols, member->protocol_count);
    if (group->leader == NULL) {
        group->leader = member; /* I4 */
    }
    charge_member(member);
    return member;
}

/* What an append under way would do to this member, it will not do. */
static void forget_in_ops(struct grp_member *member)
{
    list_for_each (link, &member->group->ops) {
        struct grp_op *op = container_of(link, struct grp_op, in_group);
        if (op->member == member) {
            op->member = NULL;
        }
    }
}

void grp_member_free(struct grp_member *member)
{
    struct grp_group *group = member->group;
    must(!member->awaiting_join);
    must(!member->awaiting_sync);
    forget_in_ops(member);
    if (member->sync_missing) {
        group->sync_missing--;
    }
    grp_timer_cancel(&group->coord->timers, &member->session);
    support_remove(group, member->protocols, member->protocol_count);
    HASH_DELETE(hh, group->members, member);
    if (member->instance_id.ptr != NULL) {
        HASH_DELETE(hh_static, group->static_members, member);
    }
    if (group->leader == member) {
        group->leader = group->members; /* the oldest, or none (I4) */
    }
    group->members_bytes -= member->own_bytes;
    grp_charge(group->coord, &member->charged_bytes, 0);
    grp_str_drop(&member->id);
    grp_str_drop(&member->instance_id);
    grp_str_drop(&member->client_id);
    grp_str_drop(&member->client_host);
    mem_free(member->protocols);
    mem_free((void *)(uintptr_t)member->assignment.data);
    mem_free(member);
}

void grp_member_rename(struct grp_member *member, struct str id)
{
    struct grp_group *group = member->group;
    forget_in_ops(member);
    HASH_DELETE(hh, group->members, member);
    grp_str_drop(&member->id);
    member->id = grp_str_own(id);
    HASH_ADD_KEYPTR(hh, group->members, member->id.ptr, member->id.size, member);
    charge_member(member);
}

void grp_member_set_protocols(struct grp_member *member, const struct grp_protocol *protocols,
                              size_t count)
{
    support_remove(member->group, member->protocols, member->protocol_count);
    mem_free(member->protocols);
    member->protocols = grp_protocols_own(protocols, count);
    member->protocol_count = count;
    support_add(member->group, member->protocols, member->protocol_count);
    charge_member(member);
}

static bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool grp_member_has_protocols(const struct grp_member *member, const struct grp_protocol *protocols,
                              size_t count)
{
    if (member->protocol_count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(member->protocols[i].name, protocols[i].name) ||
            !bytes_eq(member->protocols[i].metadata, protocols[i].metadata)) {
            return false;
        }
    }
    return true;
}

void grp_member_assign(struct grp_member *member, struct bytes assignment)
{
    mem_free((void *)(uintptr_t)member->assignment.data);
    member->assignment = (struct bytes){NULL, 0};
    if (assignment.size > 0) {
        uint8_t *copy = mem_alloc(assignment.size);
        memcpy(copy, assignment.data, assignment.size);
        member->assignment = (struct bytes){copy, assignment.size};
    }
    charge_member(member);
}

struct bytes grp_member_metadata(const struct grp_member *member)
{
    for (size_t i = 0; i < member->protocol_count; i++) {
        if (str_eq(member->protocols[i].name, member->group->protocol)) {
            return member->protocols[i].metadata;
        }
    }
    return (struct bytes){(const uint8_t *)"", 0};
}

int32_t grp_group_rebalance_timeout_ms(const struct grp_group *group)
{
    int32_t timeout_ms = 0;
    for (const struct grp_member *member = group->members; member != NULL;
         member = member->hh.next) {
        if (member->rebalance_timeout_ms > timeout_ms) {
            timeout_ms = member->rebalance_timeout_ms;
        }
    }
    return timeout_ms;
}

struct str grp_leader_id(const struct grp_group *group)
{
    return group->leader != NULL ? group->leader->id : STR_NULL;
}

/* ---- candidates ---- */

struct grp_candidate *grp_candidate_find(struct grp_group *group, struct str id)
{
    struct grp_candidate *candidate = NULL;
    if (id.ptr != NULL) {
        HASH_FIND(hh, group->candidates, id.ptr, id.size, candidate);
    }
    return candidate;
}

struct grp_candidate *grp_candidate_new(struct grp_group *group, struct str id)
{
    struct grp_candidate *candidate = mem_new(struct grp_candidate);
    candidate->group = group;
    candidate->id = grp_str_own(id);
    candidate->timer.kind = GRP_TIMER_PENDING;
    HASH_ADD_KEYPTR(hh, group->candidates, candidate->id.ptr, candidate->id.size, candidate);
    grp_charge(group->coord, &group->charged_bytes,
               group->charged_bytes + sizeof(*candidate) + id.size);
    return candidate;
}

void grp_candidate_free(struct grp_candidate *candidate)
{
    struct grp_group *group = candidate->group;
    grp_timer_cancel(&group->coord->timers, &candidate->timer);
    HASH_DEL(group->candidates, candidate);
    grp_charge(group->coord, &group->charged_bytes,
               group->charged_bytes - sizeof(*candidate) - candidate->id.size);
    grp_str_drop(&candidate->id);
    mem_free(candidate);
}
