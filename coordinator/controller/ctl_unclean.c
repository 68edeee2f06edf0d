/* ctl_unclean.c: who holds everything that was committed (rule 5 of README.md).
 *
 * Those that count are the members of the ISR, and the eligible: replicas that left the ISR when it
 * fell below min.insync.replicas. The invariant of every state that is written, whatever is known
 * of brokers at that time:
 *
 *   U1  A replica that counts and has lost nothing since it began to count has all that was
 *       committed.
 *   U2  Who counts goes on to count as long as fewer than min.insync.replicas are in the ISR (or
 *       than there are replicas).
 *
 * So an acknowledged record is there unless every one of those that counted when it was
 * acknowledged has lost something, or min.insync.replicas of them that went on alone have.
 *
 *   - U1 holds for members by the rules of replication. While the ISR is too small the high
 *     watermark stands still (isr.h), so what the eligible have is all there is.
 *   - U2 is ctl_eligible_after(), which looks at nobody's health. That a leader is registered does
 *     not say that it is alive; had it just answered, it could lose its power before the write that
 *     lets others go because of that. A replica that started uncleanly may still have everything
 *     (a sync that failed need not have lost anything), and it is let go of no sooner than others.
 *   - Exceptions: who is to be no replica any more (reassign.c, R1, sees to it that enough stay),
 *     and an unclean election by permission, which begins anew with its leader.
 *   - Who is not a member any more, and who never was, counts by entering the ISR only: a leader
 *     said so that is registered in the life in which it said it, is not UNCLEAN, and has named the
 *     life that is registered now of who enters. That one has caught up since its start.
 *
 * A broker whose registration says that it started uncleanly (its machine lost power, a directory
 * failed to sync) may have lost what it had acknowledged. Each of its replicas that counts is
 * UNCLEAN: not in sync and no candidate, though it may go on to count as eligible. It is UNCLEAN
 * no more when it does not count; when it enters the ISR in this life; or when it was elected
 * because nobody is better. Of a partition that was made in this life it is not. When none of its
 * replicas is UNCLEAN any more, its registration loses the mark, and the broker forgets it as well.
 * The mark in the registration is all there is to remember: a controller that takes over in between
 * begins again, and at worst sends a replica that had caught up out of the ISR once more.
 *
 * When everybody that counts is UNCLEAN, nobody is better than the one with the longest log: the
 * largest epoch, then the largest end. All of them have to be there to be compared. The other
 * replicas that are there compete, too: after a longer log everything that a shorter one has is in
 * it, except what was never committed (epochs order logs as terms do in Raft), and they have not
 * lost power. */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

bool ctl_is_eligible(const struct ctl_part *part, int32_t broker_id)
{
    for (int32_t i = 0; i < part->eligible.count; i++) {
        if (part->eligible.ids[i] == broker_id) {
            return true;
        }
    }
    return false;
}

/* As far as the state says. */
static bool counts(const struct ctl_part *part, int32_t broker_id)
{
    return ctl_in_isr(&part->now, broker_id) || ctl_is_eligible(part, broker_id);
}

bool ctl_replica_usable(const struct ctl *ctl, const struct ctl_part *part, int32_t i)
{
    const struct ctl_broker *broker = ctl_find_broker(ctl, part->replicas.ids[i]);
    return broker != NULL && !broker->shutting_down &&
           ctl_replica_stays(part, part->replicas.ids[i]) &&
           (part->flags[i] & (CTL_REPLICA_OFFLINE_DIR | CTL_REPLICA_BOUNCED)) == 0;
}

/* ---- Eligible replicas. */

/* U2: whatever has become of it, it may have everything, and more than the leader if that turns out
 * to have lost power. */
static void keep(const struct ctl_part *part, const struct ctl_leadership *next, int32_t broker_id,
                 struct ctl_ids *kept)
{
    if (ctl_replica_stays(part, broker_id) && !ctl_in_isr(next, broker_id)) {
        kept->ids[kept->count++] = broker_id;
    }
}

struct ctl_ids ctl_eligible_after(const struct ctl *ctl, const struct ctl_part *part,
                                  const struct ctl_leadership *next)
{
    struct ctl_ids kept = {0};
    bool enough = next->leader >= 0 && next->isr_count >= ctl_min_insync(ctl, part);
    if (!part->exists || enough || next->recovering) {
        return kept;
    }
    kept.ids =
        mem_zalloc((size_t)(part->now.isr_count + part->eligible.count) + 1, sizeof(int32_t));
    for (int32_t i = 0; i < part->now.isr_count; i++) {
        keep(part, next, part->now.isr[i], &kept);
    }
    for (int32_t i = 0; i < part->eligible.count; i++) {
        keep(part, next, part->eligible.ids[i], &kept);
    }
    return kept;
}

/* ---- UNCLEAN replicas. */

/* Whatever it has acknowledged of a partition that was made after this life of the broker began, it
 * has. So it is with all of a topic that is younger; and with a partition that was added to one,
 * while its state is as it was made: a node that was changed since may have been removed and made
 * again, which says nothing of the logs. */
static bool made_in_this_life(const struct ctl_part *part, const struct ctl_broker *broker)
{
    bool as_made = part->version == 0 && part->now.leader_epoch == 0;
    return part->exists &&
           (part->topic->czxid > broker->epoch || (as_made && part->mzxid > broker->epoch));
}

void ctl_unclean_find(struct ctl *ctl, struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        struct ctl_broker *broker = ctl_find_broker(ctl, part->replicas.ids[i]);
        if (broker != NULL && broker->unclean && !made_in_this_life(part, broker)) {
            part->flags[i] |= CTL_REPLICA_UNCLEAN;
            broker->settled_slots = 0;
        }
    }
}

void ctl_unclean_settle(struct ctl_part *part)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (!part->exists || !counts(part, part->replicas.ids[i])) {
            part->flags[i] = (uint8_t)(part->flags[i] & ~CTL_REPLICA_UNCLEAN);
        }
    }
}

/* Out of the ISR it has caught up in this life, says a leader that lives: it has everything, and
 * as long as it counts it will have (U1), whatever comes of the write that lets it in. */
void ctl_unclean_enters(struct ctl_part *part, int32_t broker_id)
{
    int32_t i = ctl_replica_index(part, broker_id);
    if (i >= 0 && !ctl_in_isr(&part->now, broker_id)) {
        part->flags[i] = (uint8_t)(part->flags[i] & ~CTL_REPLICA_UNCLEAN);
    }
}

static const struct ctl_log_end *end_of(const struct ctl_part *part,
                                        const struct ctl_broker *broker)
{
    for (int32_t i = 0; i < part->ends_count; i++) {
        if (part->ends[i].broker_id == broker->id) {
            return part->ends[i].broker_epoch == broker->epoch ? &part->ends[i] : NULL;
        }
    }
    return NULL;
}

static bool longer(const struct ctl_log_end *a, const struct ctl_log_end *b)
{
    return a->last_epoch != b->last_epoch ? a->last_epoch > b->last_epoch
                                          : a->end_offset > b->end_offset;
}

/* Can nobody be complete any more, and are all back that were? */
static bool all_are_unclean(const struct ctl *ctl, const struct ctl_part *part)
{
    int32_t candidates = 0;
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if (!counts(part, part->replicas.ids[i]) ||
            !ctl_replica_stays(part, part->replicas.ids[i])) {
            continue;
        }
        if ((part->flags[i] & CTL_REPLICA_UNCLEAN) == 0 || !ctl_replica_usable(ctl, part, i)) {
            return false;
        }
        candidates++;
    }
    return candidates > 0;
}

int32_t ctl_unclean_best(const struct ctl *ctl, const struct ctl_part *part)
{
    const struct ctl_log_end *best = NULL;
    bool best_counts = false;
    int32_t usable = 0;
    int32_t last = -1;
    if (!all_are_unclean(ctl, part)) {
        return -1;
    }
    for (int32_t i = 0; i < part->replicas.count; i++) {
        if ((part->flags[i] & CTL_REPLICA_BOUNCED) != 0) {
            return -1; /* it has just restarted, and is usable as soon as that is noted */
        }
        if (!ctl_replica_usable(ctl, part, i)) {
            continue;
        }
        last = part->replicas.ids[i];
        usable++;
        const struct ctl_log_end *end = end_of(part, ctl_find_broker(ctl, last));
        bool counted = counts(part, last);
        if (end == NULL && ctl_replica_is_new(part, last)) {
            continue; /* it is on its way here: while nobody leads it is told nothing, and has none
                       */
        }
        if (end == NULL) {
            best = NULL;
            best_counts = false;
            break; /* it will say */
        }
        if (best == NULL || longer(end, best) || (counted && !best_counts && !longer(best, end))) {
            best = end;
            best_counts = counted;
        }
    }
    return best != NULL ? best->broker_id : usable == 1 && part->replicas.count == 1 ? last : -1;
}

int32_t ctl_unclean_any(const struct ctl *ctl, const struct ctl_part *part)
{
    int32_t other = -1;
    int32_t coming = -1; /* it may have nothing yet; of the replicas it is the first */
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        if (!ctl_replica_usable(ctl, part, i)) {
            continue;
        }
        if (counts(part, id)) {
            return id;
        }
        int32_t *kind = ctl_replica_is_new(part, id) ? &coming : &other;
        *kind = *kind < 0 ? id : *kind;
    }
    return other >= 0 ? other : coming;
}

/* Where its log ends, if that may decide. While nobody leads, the log stays as it is. An answer
 * that does not say counts as the shortest. */
void ctl_unclean_answer(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part,
                        const Barnabas__Control__PartitionError *answer)
{
    int32_t i = 0;
    if (!part->exists || part->now.leader >= 0) {
        return;
    }
    while (i < part->ends_count && part->ends[i].broker_id != broker->id) {
        i++;
    }
    if (i == part->ends_count) {
        part->ends = mem_realloc(part->ends, (size_t)(i + 1) * sizeof(*part->ends));
        part->ends_count++;
    }
    part->ends[i] =
        (struct ctl_log_end){broker->id, answer->last_epoch, broker->epoch, answer->end_offset};
    ctl_part_touch(ctl, part);
}

bool ctl_unclean_crowns(const struct ctl_part *part, const struct ctl_leadership *next)
{
    int32_t i = next->leader >= 0 && part->exists ? ctl_replica_index(part, next->leader) : -1;
    return i >= 0 && ((part->flags[i] & CTL_REPLICA_UNCLEAN) != 0 ||
                      (!counts(part, next->leader) && !next->recovering));
}

/* After a write: who leads is what counts from now on, even if it was elected for want of anything
 * better. Not when it has restarted meanwhile. */
void ctl_unclean_crowned(struct ctl *ctl, struct ctl_part *part)
{
    const struct ctl_broker *broker = ctl_find_broker(ctl, part->now.leader);
    int32_t i = ctl_replica_index(part, part->now.leader);
    if (part->now.leader >= 0) {
        mem_free(part->ends);
        part->ends = NULL;
        part->ends_count = 0;
    }
    if (part->crowned_epoch != 0 && broker != NULL && broker->epoch == part->crowned_epoch) {
        if (i >= 0) { /* somebody may have edited the topic's node meanwhile */
            part->flags[i] = (uint8_t)(part->flags[i] & ~CTL_REPLICA_UNCLEAN);
        }
        ctl_note(ctl, true,
                 "all replicas in sync started uncleanly, the longest log leads; acknowledged "
                 "records that are not in it are lost: tp=%.*s-%d leader=%d epoch=%d",
                 STR_ARG(part->topic->name), part->index, part->now.leader, part->now.leader_epoch);
    }
    part->crowned_epoch = 0;
}

/* ---- The mark in the registration. */

/* No partition of this slot counts on it. */
static bool slot_settled(const struct ctl_part *part, int32_t broker_id)
{
    int32_t i = part != NULL && !part->tombstone && !part->topic->deleting
                    ? ctl_replica_index(part, broker_id)
                    : -1;
    return i < 0 || (!part->broken && (part->flags[i] & CTL_REPLICA_UNCLEAN) == 0);
}

static bool all_settled(struct ctl *ctl, struct ctl_broker *broker)
{
    while (broker->settled_slots < ctl->slots_count &&
           slot_settled(ctl->slots[broker->settled_slots], broker->id)) {
        broker->settled_slots++;
    }
    if (broker->settled_slots < ctl->slots_count) {
        return false;
    }
    for (const struct ctl_topic *topic = ctl->topics; topic != NULL; topic = topic->hh.next) {
        if (!topic->loaded) {
            return false; /* who knows what its partitions count on */
        }
    }
    return true;
}

void ctl_unclean_advance(struct ctl *ctl)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        struct ctl_broker *broker = ctl->brokers[i];
        if (broker->unclean && broker->settle_cmd == 0 && ctl->now_ms >= broker->settle_retry_ms &&
            all_settled(ctl, broker)) {
            struct ctl_cmd *cmd =
                ctl_emit_pending(ctl, CTL_SETTLE_BROKER, CTL_PENDING_SETTLE, NULL, NULL);
            cmd->broker_id = broker->id;
            cmd->broker_epoch = broker->epoch;
            broker->settle_cmd = cmd->id;
        }
    }
}

void ctl_broker_settled(struct ctl *ctl, uint64_t cmd_id, enum err err)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        struct ctl_broker *broker = ctl->brokers[i];
        if (broker->settle_cmd == cmd_id) {
            broker->settle_cmd = 0;
            broker->unclean = err != ERR_OK;
            broker->settle_retry_ms = err != ERR_OK ? ctl->now_ms + CTL_RETRY_MS : 0;
        }
    }
}

/* ---- min.insync.replicas. */

int32_t ctl_min_insync(const struct ctl *ctl, const struct ctl_part *part)
{
    struct ctl_min_insync *entry = NULL;
    struct str name = part->topic->name;
    HASH_FIND(hh, ctl->min_insync, name.ptr, name.size, entry);
    int32_t count = entry != NULL ? entry->count : ctl->min_insync_default;
    return count < part->replicas.count ? count : part->replicas.count;
}

static void entry_free(struct ctl *ctl, struct ctl_min_insync *entry)
{
    HASH_DEL(ctl->min_insync, entry);
    mem_free((char *)entry->name.ptr);
    mem_free(entry);
}

static void set_min_insync(struct ctl *ctl, struct str name, int32_t count)
{
    struct ctl_min_insync *entry = NULL;
    HASH_FIND(hh, ctl->min_insync, name.ptr, name.size, entry);
    if (entry != NULL && count <= 0) {
        entry_free(ctl, entry);
    } else if (entry != NULL) {
        entry->count = count;
    } else if (count > 0) {
        entry = mem_new(struct ctl_min_insync);
        entry->name = (struct str){str_dup(name), name.size};
        entry->count = count;
        HASH_ADD_KEYPTR(hh, ctl->min_insync, entry->name.ptr, entry->name.size, entry);
    }
}

static void touch_small(struct ctl *ctl, struct ctl_part *part)
{
    if (part->eligible.count > 0) {
        ctl_part_touch(ctl, part);
    }
}

/* Where fewer are enough now, nobody outside of the ISR needs to be remembered any more: the high
 * watermark moves again once its leader has heard that. */
void ctl_min_insync_event(struct ctl *ctl, const struct ctl_event *event)
{
    struct str name = event->u.min_insync.topic;
    if (name.ptr == NULL) {
        ctl->min_insync_default = event->u.min_insync.count > 0 ? event->u.min_insync.count
                                                                : ctl->config.min_insync_default;
    } else {
        set_min_insync(ctl, name, event->u.min_insync.count);
    }
    ctl_parts_each(ctl, name, touch_small);
}

void ctl_min_insync_free(struct ctl *ctl)
{
    struct ctl_min_insync *entry, *next;
    HASH_ITER (hh, ctl->min_insync, entry, next) {
        entry_free(ctl, entry);
    }
}
