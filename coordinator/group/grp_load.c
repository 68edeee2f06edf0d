/* grp_load.c: from the log to memory and out of it again.
 *
 * Records come in log order. A group record replaces what was known of the group but its offsets; a
 * tombstone removes. Offsets of a transaction wait for its marker. Records that make no sense are
 * left out with a warning: Kafka gives up there and owns the partition with nothing loaded.
 *
 * What is loaded is served with GRP_EV_LOADED, which the driver sends when it is committed. */
#include "group/grp_internal.h"

static void load_offset(struct grp_coord *coord, const struct grp_record_key *key,
                        const struct grp_record_event *record, const struct grp_offset_value *value)
{
    struct grp_group *group = grp_group_find(coord, key->group);
    bool transactional = record->producer_id >= 0;
    if (value != NULL) {
        if (group == NULL) {
            group = grp_group_new(coord, key->group);
        }
        struct grp_offset *slot = grp_offset_get(group, key->topic, key->partition);
        if (transactional) {
            grp_pending_transactional(group, slot, record->producer_id, value, record->base_offset);
        } else {
            grp_offset_commit(group, slot, value, record->base_offset);
        }
        return;
    }
    struct grp_offset *slot =
        group != NULL ? grp_offset_find(group, key->topic, key->partition) : NULL;
    if (slot != NULL && transactional) {
        grp_pending_withdraw(group, slot, record->producer_id);
    } else if (slot != NULL) {
        /* What a transaction has still to commit is newer: Kafka expires an old offset meanwhile.
         */
        grp_offset_forget(group, slot);
    }
}

static void forget_members(struct grp_group *group)
{
    struct grp_member *member, *next;
    HASH_ITER (hh, group->members, member, next) {
        grp_member_free(member);
    }
    grp_str_drop(&group->protocol_type);
    grp_str_drop(&group->protocol);
    group->state = GRP_EMPTY;
    group->generation = 0;
    group->has_record = false;
}

static void load_members(struct grp_group *group, const struct grp_group_record *record)
{
    for (size_t i = 0; i < record->member_count; i++) {
        const struct grp_member_record *from = &record->members[i];
        if (grp_member_find(group, from->member_id) != NULL ||
            grp_static_find(group, from->instance_id) != NULL) {
            grp_note(group->coord, true, "a group record names a member twice",
                     "group=%.*s member=%.*s", STR_ARG(group->id), STR_ARG(from->member_id));
            continue;
        }
        struct grp_protocol protocol = {record->protocol, from->subscription};
        struct grp_member *member = grp_member_new(group, from, &protocol, 1);
        grp_member_assign(member, from->assignment);
    }
    struct grp_member *leader = grp_member_find(group, record->leader);
    if (leader != NULL) {
        group->leader = leader;
    }
}

static void load_group(struct grp_coord *coord, struct str group_id,
                       const struct grp_group_record *record)
{
    struct grp_group *group = grp_group_find(coord, group_id);
    if (group == NULL) {
        group = grp_group_new(coord, group_id);
    }
    forget_members(group);
    if (record == NULL) {
        return;
    }
    group->has_record = true;
    group->generation = record->generation;
    group->state_timestamp_ms = record->state_timestamp_ms;
    group->protocol_type =
        record->protocol_type.size > 0 ? grp_str_own(record->protocol_type) : STR_NULL;
    group->protocol = grp_str_own(record->protocol);
    load_members(group, record);
    group->state = group->members != NULL ? GRP_STABLE : GRP_EMPTY;
}

static enum err load_value(struct grp_coord *coord, const struct grp_record_key *key,
                           const struct grp_record_event *record)
{
    struct arena *arena = &coord->out->arena;
    if (key->kind == GRP_RECORD_OFFSET) {
        struct grp_offset_value value;
        enum err err = ERR_OK;
        if (record->value.data != NULL) {
            err = grp_record_decode_offset(arena, record->value, &value);
        }
        if (err == ERR_OK) {
            load_offset(coord, key, record, record->value.data != NULL ? &value : NULL);
        }
        return err;
    }
    if (record->value.data == NULL) {
        load_group(coord, key->group, NULL);
        return ERR_OK;
    }
    struct grp_group_record group;
    enum err err = grp_record_decode_group(arena, record->value, &group);
    if (err == ERR_OK && group.member_count > 0 &&
        (group.protocol.ptr == NULL || group.protocol_type.size == 0)) {
        err = ERR_CORRUPT; /* members always have agreed on a protocol */
    }
    if (err == ERR_OK) {
        load_group(coord, key->group, &group);
    }
    return err;
}

void grp_on_record(struct grp_coord *coord, const struct grp_record_event *record)
{
    if (coord->phase != GRP_PHASE_LOADING) {
        return;
    }
    struct grp_record_key key;
    enum err err = record->key.data == NULL
                       ? ERR_CORRUPT
                       : grp_record_decode_key(&coord->out->arena, record->key, &key);
    if (err == ERR_OK && key.kind == GRP_RECORD_UNKNOWN) {
        grp_note(coord, true, "ignored a record of an unknown kind", "offset=%lld key_version=%d",
                 (long long)record->base_offset, key.version);
        return;
    }
    if (err == ERR_OK) {
        err = load_value(coord, &key, record);
    }
    if (err != ERR_OK) {
        grp_note(coord, true, "ignored a record that cannot be read", "offset=%lld error=%s",
                 (long long)record->base_offset, err_name(err));
    }
}

static void group_loaded(struct grp_group *group)
{
    struct grp_coord *coord = group->coord;
    if (!group->has_record && !grp_group_has_offsets(group)) {
        grp_group_free(group);
        return;
    }
    if (!group->has_record) {
        group->state_timestamp_ms = coord->wall_ms;
    }
    grp_group_subscribe(group);
    if (grp_member_count(group) > (size_t)coord->config.group_size_max) {
        grp_rebalance(group, "the loaded group is over capacity");
    }
    for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
        grp_session_refresh(member);
    }
}

void grp_on_loaded(struct grp_coord *coord)
{
    if (coord->phase != GRP_PHASE_LOADING) {
        return;
    }
    coord->phase = GRP_PHASE_ACTIVE;
    struct grp_group *group, *next;
    HASH_ITER (hh, coord->groups, group, next) {
        group_loaded(group);
    }
    if (coord->config.retention_check_interval_ms > 0) {
        grp_timer_set(&coord->timers, &coord->expire_timer,
                      grp_later_ms(coord->now_ms, coord->config.retention_check_interval_ms));
    }
}

void grp_on_unload(struct grp_coord *coord)
{
    for (struct grp_group *group = coord->groups; group != NULL; group = group->hh.next) {
        for (struct grp_member *member = group->members; member != NULL; member = member->hh.next) {
            grp_member_join_fails(member, member->id, ERR_NOT_COORDINATOR);
            grp_member_sync_fails(member, ERR_NOT_COORDINATOR);
        }
    }
    struct grp_op *op, *next;
    HASH_ITER (hh, coord->ops, op, next) {
        if (op->kind == GRP_OP_COMMIT) {
            grp_commit_appended(coord, op, ERR_NOT_COORDINATOR, -1);
        }
    }
}
