/* grp_commit.c: OffsetCommit and OffsetFetch.
 *
 * One commit is one batch. Its offsets become visible, and it is answered, when the batch is
 * committed. */
#include "group/grp_internal.h"

/* ---- replies ---- */

/* The request's topics and partitions, each with `err`. */
static struct grp_reply_topic *shape_reply(struct arena *arena, const struct grp_commit *commit,
                                           enum err err)
{
    struct grp_reply_topic *topics =
        arena_array(arena, struct grp_reply_topic, commit->topic_count);
    for (size_t i = 0; i < commit->topic_count; i++) {
        const struct grp_commit_topic *from = &commit->topics[i];
        struct grp_reply_partition *partitions =
            arena_array(arena, struct grp_reply_partition, from->partition_count);
        for (size_t j = 0; j < from->partition_count; j++) {
            partitions[j].partition = from->partitions[j].partition;
            partitions[j].err = err;
            partitions[j].metadata = STR("");
        }
        topics[i].topic = arena_str(arena, from->topic);
        topics[i].partitions = partitions;
        topics[i].partition_count = from->partition_count;
    }
    return topics;
}

void grp_reply_commit_error(struct grp_coord *coord, const struct grp_event *event, enum err err)
{
    grp_reply_add(coord, event->token, GRP_EV_COMMIT)->offsets = (struct grp_reply_offsets){
        .err = ERR_OK,
        .topics = shape_reply(&coord->out->arena, &event->commit, err),
        .topic_count = event->commit.topic_count,
    };
}

/* The shape kept in the operation, with `err` wherever the append decided. */
static void reply_commit(struct grp_coord *coord, const struct grp_op *op, enum err err)
{
    struct arena *arena = &coord->out->arena;
    struct grp_reply_topic *topics = arena_array(arena, struct grp_reply_topic, op->topic_count);
    for (size_t i = 0; i < op->topic_count; i++) {
        const struct grp_reply_topic *from = &op->topics[i];
        struct grp_reply_partition *partitions =
            arena_array(arena, struct grp_reply_partition, from->partition_count);
        for (size_t j = 0; j < from->partition_count; j++) {
            partitions[j] = from->partitions[j];
            if (partitions[j].err == ERR_OK) {
                partitions[j].err = err;
            }
        }
        topics[i].topic = arena_str(arena, from->topic);
        topics[i].partitions = partitions;
        topics[i].partition_count = from->partition_count;
    }
    grp_reply_add(coord, op->token, GRP_EV_COMMIT)->offsets =
        (struct grp_reply_offsets){.err = ERR_OK, .topics = topics, .topic_count = op->topic_count};
}

/* ---- OffsetCommit ---- */

static enum err validate_commit(struct grp_group *group, const struct grp_commit *commit)
{
    if (commit->generation < 0 && group->state == GRP_EMPTY) {
        return ERR_OK; /* a tool, or a consumer that manages its own partitions */
    }
    if (commit->generation < 0 && commit->member_id.size == 0 && commit->instance_id.ptr == NULL) {
        return ERR_UNKNOWN_MEMBER_ID; /* only members commit for a group that has some */
    }
    enum err err = grp_validate_member(group, commit->member_id, commit->instance_id);
    if (err != ERR_OK) {
        return err;
    }
    if (commit->generation != group->generation) {
        return ERR_ILLEGAL_GENERATION;
    }
    return group->state == GRP_COMPLETING ? ERR_REBALANCE_IN_PROGRESS : ERR_OK;
}

static struct grp_offset_value value_of(const struct grp_coord *coord,
                                        const struct grp_commit *commit,
                                        const struct grp_commit_partition *partition)
{
    int64_t given_ms = partition->commit_timestamp_ms;
    return (struct grp_offset_value){
        .offset = partition->offset,
        .leader_epoch = partition->leader_epoch,
        .metadata = partition->metadata.ptr != NULL ? partition->metadata : STR(""),
        .commit_timestamp_ms = given_ms == -1 ? coord->wall_ms : given_ms,
        .expire_timestamp_ms =
            commit->retention_ms == -1 ? -1 : grp_later_ms(coord->wall_ms, commit->retention_ms),
    };
}

static bool metadata_fits(const struct grp_coord *coord, struct str metadata)
{
    return grp_utf16_length(metadata) <= coord->config.offset_metadata_max;
}

struct commit_size {
    size_t partitions; /* whose metadata fits */
    size_t memory_bytes;
};

static struct commit_size measure(const struct grp_coord *coord, const struct grp_commit *commit)
{
    struct commit_size size = {0};
    for (size_t i = 0; i < commit->topic_count; i++) {
        for (size_t j = 0; j < commit->topics[i].partition_count; j++) {
            struct str metadata = commit->topics[i].partitions[j].metadata;
            if (metadata_fits(coord, metadata)) {
                size.partitions++;
                size.memory_bytes += grp_offset_bytes(metadata);
            }
        }
    }
    return size;
}

/* The partitions that fit become pending and records; the others are answered
 * OFFSET_METADATA_TOO_LARGE. */
static void stage(struct grp_op *op, const struct grp_commit *commit,
                  struct grp_out_record *records)
{
    struct grp_group *group = op->group;
    struct arena *arena = &group->coord->out->arena;
    for (size_t i = 0; i < commit->topic_count; i++) {
        const struct grp_commit_topic *topic = &commit->topics[i];
        /* The operation made these, and nobody else has seen them yet. */
        struct grp_reply_partition *replies =
            (struct grp_reply_partition *)(uintptr_t)op->topics[i].partitions;
        for (size_t j = 0; j < topic->partition_count; j++) {
            const struct grp_commit_partition *partition = &topic->partitions[j];
            if (!metadata_fits(group->coord, partition->metadata)) {
                replies[j].err = ERR_OFFSET_METADATA_TOO_LARGE;
                continue;
            }
            struct grp_offset_value value = value_of(group->coord, commit, partition);
            struct grp_offset *slot = grp_offset_get(group, topic->topic, partition->partition);
            grp_pending_add(group, slot, &op->pending[op->pending_count], &value);
            records[op->pending_count] = (struct grp_out_record){
                .key = grp_record_offset_key(arena, group->id, topic->topic, partition->partition),
                .value = grp_record_offset_value(arena, &value),
            };
            op->pending_count++;
        }
    }
}

static void store_offsets(struct grp_group *group, const struct grp_event *event, size_t count)
{
    struct grp_coord *coord = group->coord;
    struct grp_out_record *records = arena_array(&coord->out->arena, struct grp_out_record, count);
    uint64_t append = grp_append_add(coord, coord->config.commit_acks, records, count);
    struct grp_op *op = grp_op_new(group, GRP_OP_COMMIT, append);
    op->token = event->token;
    op->topics = shape_reply(&op->arena, &event->commit, ERR_OK);
    op->topic_count = event->commit.topic_count;
    op->pending = arena_array(&op->arena, struct grp_pending, count);
    stage(op, &event->commit, records);
    must(op->pending_count == count);
    grp_op_charge(coord, op);
}

/* Does the commit only change offsets that are there? */
static bool known_only(struct grp_group *group, const struct grp_commit *commit)
{
    for (size_t i = 0; i < commit->topic_count; i++) {
        const struct grp_commit_topic *topic = &commit->topics[i];
        for (size_t j = 0; j < topic->partition_count; j++) {
            if (grp_offset_find(group, topic->topic, topic->partitions[j].partition) == NULL) {
                return false;
            }
        }
    }
    return true;
}

static bool memory_full(struct grp_coord *coord, struct grp_group *group,
                        const struct grp_commit *commit, size_t more)
{
    if (!grp_memory_full(coord, more, GRP_NEED_NEW)) {
        return false;
    }
    return group == NULL || grp_memory_full(coord, more, GRP_NEED_KNOWN) ||
           !known_only(group, commit);
}

void grp_on_commit(struct grp_coord *coord, const struct grp_event *event)
{
    const struct grp_commit *commit = &event->commit;
    struct grp_group *group = grp_group_find(coord, commit->group_id);
    struct commit_size size = measure(coord, commit);
    enum err err = ERR_OK;
    if (memory_full(coord, group, commit, size.memory_bytes)) {
        err = ERR_COORDINATOR_NOT_AVAILABLE;
    } else if (group != NULL) {
        err = validate_commit(group, commit);
    } else if (commit->generation < 0) {
        group = grp_group_new(coord, commit->group_id);
    } else {
        err = ERR_ILLEGAL_GENERATION;
    }
    if (err != ERR_OK) {
        grp_reply_commit_error(coord, event, err);
        return;
    }
    if (group->state == GRP_STABLE || group->state == GRP_PREPARING) {
        grp_session_refresh(grp_member_find(group, commit->member_id));
    }
    if (size.partitions == 0) {
        grp_reply_commit_error(coord, event, ERR_OFFSET_METADATA_TOO_LARGE);
        return;
    }
    store_offsets(group, event, size.partitions);
}

void grp_commit_appended(struct grp_coord *coord, struct grp_op *op, enum err err,
                         int64_t base_offset)
{
    /* Timed out: the offsets are in the log and may yet be committed, so they stay pending. */
    for (size_t i = 0; i < op->pending_count && err != ERR_REQUEST_TIMED_OUT; i++) {
        struct grp_pending *pending = &op->pending[i];
        if (pending->slot != NULL) {
            pending->log_offset = base_offset;
            grp_pending_end(op->group, pending, err == ERR_OK);
        }
    }
    if (op->token != NULL) {
        reply_commit(coord, op, err);
        op->token = NULL;
    }
}

/* ---- OffsetFetch ---- */

static struct grp_reply_partition fetched(int32_t partition, const struct grp_offset *slot,
                                          bool require_stable, struct grp_coord *coord)
{
    struct grp_reply_partition reply = {.partition = partition,
                                        .err = ERR_OK,
                                        .offset = -1,
                                        .leader_epoch = -1,
                                        .metadata = STR("")};
    if (slot != NULL && require_stable && !list_empty(&slot->pending)) {
        reply.err = ERR_UNSTABLE_OFFSET_COMMIT;
    } else if (slot != NULL && slot->committed) {
        reply.offset = slot->value.offset;
        reply.leader_epoch = slot->value.leader_epoch;
        reply.metadata = grp_out_str(coord, slot->value.metadata);
    }
    return reply;
}

static void fetch_some(struct grp_coord *coord, struct grp_group *group,
                       const struct grp_fetch *fetch, struct grp_reply_offsets *reply)
{
    struct arena *arena = &coord->out->arena;
    struct grp_reply_topic *topics = arena_array(arena, struct grp_reply_topic, fetch->topic_count);
    for (size_t i = 0; i < fetch->topic_count; i++) {
        const struct grp_topic_partitions *from = &fetch->topics[i];
        struct grp_reply_partition *partitions =
            arena_array(arena, struct grp_reply_partition, from->partition_count);
        for (size_t j = 0; j < from->partition_count; j++) {
            int32_t partition = from->partitions[j];
            const struct grp_offset *slot =
                group != NULL ? grp_offset_find(group, from->topic, partition) : NULL;
            partitions[j] = fetched(partition, slot, fetch->require_stable, coord);
        }
        topics[i].topic = grp_out_str(coord, from->topic);
        topics[i].partitions = partitions;
        topics[i].partition_count = from->partition_count;
    }
    reply->topics = topics;
    reply->topic_count = fetch->topic_count;
}

static void fetch_all(struct grp_coord *coord, struct grp_group *group, bool require_stable,
                      struct grp_reply_offsets *reply)
{
    struct arena *arena = &coord->out->arena;
    struct grp_reply_topic *topics =
        arena_array(arena, struct grp_reply_topic, HASH_COUNT(group->topics));
    reply->topics = topics;
    for (const struct grp_topic *topic = group->topics; topic != NULL; topic = topic->hh.next) {
        struct grp_reply_partition *partitions =
            arena_array(arena, struct grp_reply_partition, topic->slot_count);
        size_t count = 0;
        for (size_t i = 0; i < topic->slot_count; i++) {
            const struct grp_offset *slot = topic->slots[i];
            if (slot->committed) {
                partitions[count++] = fetched(slot->partition, slot, require_stable, coord);
            }
        }
        if (count > 0) {
            topics[reply->topic_count++] =
                (struct grp_reply_topic){grp_out_str(coord, topic->name), partitions, count};
        }
    }
}

void grp_on_fetch(struct grp_coord *coord, const struct grp_event *event)
{
    const struct grp_fetch *fetch = &event->fetch;
    struct grp_group *group = grp_group_find(coord, fetch->group_id);
    struct grp_reply_offsets reply = {.err = ERR_OK};
    if (!fetch->all) {
        fetch_some(coord, group, fetch, &reply);
    } else if (group != NULL) {
        fetch_all(coord, group, fetch->require_stable, &reply);
    }
    grp_reply_add(coord, event->token, GRP_EV_FETCH)->offsets = reply;
}
