/* grp_expire.c: OffsetDelete, DeleteGroups, expiry, deleted topics: everything that writes
 * tombstones.
 *
 * Tombstones are appended with acks 0 and nothing waits for them, as in Kafka: should one be lost,
 * the offset comes back after a reload and expires again. A deleted offset that was still pending
 * gets its tombstone, too, because its record is in the log already. */
#include "group/grp_internal.h"

/* A tombstone's record, and a batch's header, are not larger than the key and this. */
enum { RECORD_OVERHEAD = 32, BATCH_OVERHEAD = 100 };

/* Tombstones of a step share batches, whatever group they are of: a hundred thousand groups that
 * expire together are not as many appends. The batches are well below what the topic allows, which
 * may be made less while we lead: one that is refused would let what it deletes come back. */
enum { BATCH_MAX = 64 * 1024 };

struct tombstones {
    struct grp_coord *coord;
    struct grp_out_record *records; /* of the batch being gathered */
    size_t count;
    size_t capacity;
    size_t size_bytes;
};

static void tombstones_flush(struct tombstones *tombs)
{
    if (tombs->count > 0) {
        grp_append_add(tombs->coord, 0, tombs->records, tombs->count);
    }
    *tombs = (struct tombstones){.coord = tombs->coord};
}

static void tombstones_add(struct tombstones *tombs, struct bytes key)
{
    struct arena *arena = &tombs->coord->out->arena;
    size_t size = key.size + RECORD_OVERHEAD;
    size_t max = (size_t)tombs->coord->config.batch_bytes_max;
    if (tombs->size_bytes + size + BATCH_OVERHEAD > (max < BATCH_MAX ? max : BATCH_MAX)) {
        tombstones_flush(tombs);
    }
    if (tombs->count == tombs->capacity) {
        tombs->capacity = tombs->capacity == 0 ? 16 : 2 * tombs->capacity;
        struct grp_out_record *larger = arena_array(arena, struct grp_out_record, tombs->capacity);
        if (tombs->count > 0) {
            memcpy(larger, tombs->records, tombs->count * sizeof(*larger));
        }
        tombs->records = larger;
    }
    tombs->records[tombs->count++] = (struct grp_out_record){.key = key, .value = {NULL, 0}};
    tombs->size_bytes += size;
}

static void remove_offset(struct grp_group *group, struct grp_offset *slot,
                          struct tombstones *tombs)
{
    tombstones_add(tombs, grp_record_offset_key(&group->coord->out->arena, group->id,
                                                slot->topic->name, slot->partition));
    grp_offset_delete(group, slot);
}

/* A group that is empty and holds nothing any more goes, too; one that never had a generation has
 * no record to delete. */
static void release(struct grp_group *group, struct tombstones *tombs)
{
    if (group->state != GRP_EMPTY || grp_group_has_offsets(group)) {
        return;
    }
    struct grp_coord *coord = group->coord;
    grp_group_to(group, GRP_DEAD);
    grp_note(coord, false, "group is now dead", "group=%.*s generation=%d", STR_ARG(group->id),
             group->generation);
    if (group->generation > 0) {
        tombstones_add(tombs, grp_record_group_key(&coord->out->arena, group->id));
    }
    grp_group_free(group);
}

/* ---- OffsetDelete ---- */

/* May this topic's offsets be deleted while the group is what it is? */
static enum err may_delete(struct grp_group *group, struct str topic)
{
    bool free = group->state == GRP_EMPTY || !grp_group_subscribed(group, topic);
    return free ? ERR_OK : ERR_GROUP_SUBSCRIBED_TO_TOPIC;
}

static struct grp_reply_offsets delete_offsets(struct grp_group *group,
                                               const struct grp_offset_delete *request)
{
    struct grp_coord *coord = group->coord;
    struct arena *arena = &coord->out->arena;
    struct tombstones tombs = {.coord = coord};
    size_t deletable = 0;
    struct grp_reply_topic *topics =
        arena_array(arena, struct grp_reply_topic, request->topic_count);
    for (size_t i = 0; i < request->topic_count; i++) {
        const struct grp_topic_partitions *from = &request->topics[i];
        struct grp_reply_partition *partitions =
            arena_array(arena, struct grp_reply_partition, from->partition_count);
        enum err err = may_delete(group, from->topic);
        deletable += err == ERR_OK ? from->partition_count : 0;
        for (size_t j = 0; j < from->partition_count; j++) {
            partitions[j].partition = from->partitions[j];
            partitions[j].err = err;
            partitions[j].metadata = STR("");
            struct grp_offset *slot = grp_offset_find(group, from->topic, from->partitions[j]);
            if (err == ERR_OK && slot != NULL) {
                remove_offset(group, slot, &tombs);
            }
        }
        topics[i] = (struct grp_reply_topic){grp_out_str(coord, from->topic), partitions,
                                             from->partition_count};
    }
    if (deletable > 0) { /* else this was a question only */
        release(group, &tombs);
    }
    tombstones_flush(&tombs);
    return (struct grp_reply_offsets){
        .err = ERR_OK, .topics = topics, .topic_count = request->topic_count};
}

void grp_on_offset_delete(struct grp_coord *coord, const struct grp_event *event)
{
    struct grp_group *group = grp_group_find(coord, event->offset_delete.group_id);
    struct grp_reply_offsets reply = {.err = ERR_OK};
    if (group == NULL) {
        reply.err = ERR_GROUP_ID_NOT_FOUND;
    } else if (group->state != GRP_EMPTY && !str_is(group->protocol_type, "consumer")) {
        reply.err = ERR_NON_EMPTY_GROUP; /* only consumers say what they are subscribed to */
    } else {
        reply = delete_offsets(group, &event->offset_delete);
    }
    grp_reply_add(coord, event->token, GRP_EV_OFFSET_DELETE)->offsets = reply;
}

/* ---- DeleteGroups ---- */

/* Remove the offsets for which `doomed` says so. Partitions from the last to the first: a topic
 * whose last slot goes is freed with it. */
static void remove_where(struct grp_group *group, struct tombstones *tombs,
                         bool (*doomed)(struct grp_group *, const struct grp_offset *))
{
    struct grp_topic *topic, *next;
    HASH_ITER (hh, group->topics, topic, next) {
        size_t left = topic->slot_count;
        while (left-- > 0) {
            struct grp_offset *slot = topic->slots[left];
            if (doomed(group, slot)) {
                remove_offset(group, slot, tombs);
            }
        }
    }
}

static bool any(struct grp_group *group, const struct grp_offset *slot)
{
    (void)group;
    (void)slot;
    return true;
}

void grp_on_delete(struct grp_coord *coord, const struct grp_event *event)
{
    struct grp_group *group = grp_group_find(coord, event->group_id);
    enum err err = ERR_OK;
    if (group == NULL) {
        err = ERR_GROUP_ID_NOT_FOUND;
    } else if (group->state != GRP_EMPTY) {
        err = ERR_NON_EMPTY_GROUP;
    } else {
        struct tombstones tombs = {.coord = coord};
        remove_where(group, &tombs, any);
        release(group, &tombs);
        tombstones_flush(&tombs);
    }
    grp_reply_add(coord, event->token, GRP_EV_DELETE)->deleted = err;
}

void grp_on_topic_deleted(struct grp_coord *coord, struct str name)
{
    struct tombstones tombs = {.coord = coord};
    struct grp_group *group, *group_next;
    HASH_ITER (hh, coord->groups, group, group_next) {
        struct grp_topic *topic = NULL;
        HASH_FIND(hh, group->topics, name.ptr, name.size, topic);
        if (topic == NULL) {
            continue;
        }
        size_t left = topic->slot_count;
        while (left-- > 0) {
            remove_offset(group, topic->slots[left], &tombs);
        }
        release(group, &tombs);
    }
    tombstones_flush(&tombs);
}

/* ---- expiry ---- */

static bool retention_passed(const struct grp_coord *coord, int64_t since_ms)
{
    int64_t age_ms;
    if (__builtin_sub_overflow(coord->wall_ms, since_ms, &age_ms)) {
        return since_ms < 0; /* nonsense from a log: infinitely old, or not yet */
    }
    return age_ms >= coord->config.offsets_retention_ms;
}

/* What an offset's age counts from depends on the group: when it became empty; for consumers that
 * are there, the last commit, and only for topics that they do not read; for a group that only
 * commits, the last commit. A time that the commit itself named goes first. */
static bool expired(struct grp_group *group, const struct grp_offset *slot)
{
    if (!slot->committed || !list_empty(&slot->pending)) {
        return false;
    }
    if (slot->value.expire_timestamp_ms != -1) {
        return group->coord->wall_ms >= slot->value.expire_timestamp_ms;
    }
    bool group_age = group->state == GRP_EMPTY && group->protocol_type.ptr != NULL &&
                     group->state_timestamp_ms != -1;
    return retention_passed(group->coord, group_age ? group->state_timestamp_ms
                                                    : slot->value.commit_timestamp_ms);
}

static bool expired_unread(struct grp_group *group, const struct grp_offset *slot)
{
    return !grp_group_subscribed(group, slot->topic->name) && expired(group, slot);
}

static void expire_group(struct grp_group *group, struct tombstones *tombs)
{
    if (group->protocol_type.ptr == NULL || group->state == GRP_EMPTY) {
        remove_where(group, tombs, expired);
    } else if (group->state == GRP_STABLE && str_is(group->protocol_type, "consumer") &&
               group->subscribed_known) {
        remove_where(group, tombs, expired_unread);
    }
    release(group, tombs);
}

void grp_on_expire(struct grp_coord *coord)
{
    struct tombstones tombs = {.coord = coord};
    struct grp_group *group, *next;
    HASH_ITER (hh, coord->groups, group, next) {
        expire_group(group, &tombs);
    }
    tombstones_flush(&tombs);
}
