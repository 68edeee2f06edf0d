/* part_replicate.c: replication, as a partition sees it.
 *
 * As leader: each fetch of a follower says what it has; that moves the high watermark (rule 1), and
 * lets the follower into the ISR when it is complete (rule 2). As follower: what the leader sent is
 * appended where our log ends, and our log is cut where the leader's says that histories differ
 * (rule 3): by the end of an epoch, never by a high watermark. */
#include "base/log.h"
#include "base/must.h"
#include "partition/part_internal.h"
#include "record/msgset.h"

#define LOGGER "kafka.cluster.Partition"

/* ---- leading ---- */

void part_advance_hw(struct part *part)
{
    if (part_now(part).role == PART_LEADER) {
        int64_t before = atomic_load_explicit(&part->offset_hw, memory_order_relaxed);
        part_publish_hw(part, isr_high_watermark(&part->isr, part_offset_durable(part), before,
                                                 clock_mono_ms(part->clock)));
    }
}

static void propose(struct part *part, bool shrink)
{
    struct isr_proposal proposal;
    if (part->host == NULL || part_now(part).role != PART_LEADER) {
        return;
    }
    if (isr_propose(&part->isr, plog_offset_end(part->log), atomic_load(&part->offset_hw), shrink,
                    clock_mono_ms(part->clock), &proposal)) {
        part->host->propose(part->host, part, &proposal);
    }
}

static void on_follow(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct part_follow *follow = container_of(msg, struct part_follow, call.msg);
    struct part_now now = part_now(part);
    if (now.role != PART_LEADER || now.leader_epoch != follow->leader_epoch) {
        follow->err = ERR_NOT_LEADER_OR_FOLLOWER;
    } else {
        follow->err = isr_fetched(&part->isr, &follow->fetch, clock_mono_ms(part->clock));
    }
    if (follow->err == ERR_OK) {
        follow->member = isr_is_member(&part->isr, follow->fetch.replica_id);
        part_advance_hw(part);
        propose(part, false);
    }
    part_call_answer(&follow->call);
}

void part_follow(struct part *part, struct part_follow *follow)
{
    part_call_init(part, &follow->call, on_follow, 0);
    part_post(part, &follow->call.msg);
}

static void on_nearest(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct part_nearest *nearest = container_of(msg, struct part_nearest, call.msg);
    bool leads = part_now(part).role == PART_LEADER;
    nearest->id =
        leads ? isr_best_reader(&part->isr, nearest->ids, nearest->ids_count, nearest->offset) : -1;
    part_call_answer(&nearest->call);
}

void part_nearest(struct part *part, struct part_nearest *nearest)
{
    part_call_init(part, &nearest->call, on_nearest, 0);
    part_post(part, &nearest->call.msg);
}

void part_altered(struct part *part, int32_t leader_epoch, enum err err,
                  const struct isr_state *state)
{
    must(actor_here(&part->actor));
    struct part_now now = part_now(part);
    if (now.role != PART_LEADER || now.leader_epoch != leader_epoch) {
        return; /* decided in an epoch that is over */
    }
    isr_answered(&part->isr, err, state);
    part_publish_enough(part);
    part->wake = true; /* who waits for acks=all looks at the ISR, too */
    part_advance_hw(part);
    propose(part, false);
}

static void on_check_lag(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    (void)msg;
    atomic_store(&part->lag_posted, false);
    if (!part->deleted) {
        propose(part, true);
        part_advance_hw(part);
    }
    part_put(part);
}

void part_check_lag(struct part *part)
{
    if (!atomic_exchange(&part->lag_posted, true)) {
        (void)part_get(part);
        part->lag_msg = (struct actor_msg){.fn = on_check_lag};
        part_post(part, &part->lag_msg);
    }
}

/* ---- following ---- */

/* The batches that are there whole: a range of a file may end in the middle of one. And those that
 * are of the leader's epoch or an earlier one: it sends from its files, and when that takes long it
 * may follow another leader meanwhile, and have its log cut and written anew at the very place. To
 * go on with the next leader's records, behind those of ours that it does not have, would hide from
 * it that our log differs. */
static enum err usable_batches(const struct part_replicate *step, struct bytes *out)
{
    struct bytes records = step->records;
    *out = (struct bytes){records.data, 0};
    while (out->size < records.size) {
        struct batch_header header;
        struct bytes rest = {records.data + out->size, records.size - out->size};
        bool whole =
            entry_read_header(rest, &header) == ERR_OK && batch_size_bytes(&header) <= rest.size;
        bool later = whole && header.leader_epoch > step->leader_epoch;
        if (out->size == 0 && (later || !whole)) {
            /* The leader always sends the first batch whole. */
            return later ? ERR_FENCED_LEADER_EPOCH : ERR_CORRUPT;
        }
        if (later || !whole) {
            break;
        }
        out->size += batch_size_bytes(&header);
    }
    return ERR_OK;
}

static void learn_offsets(struct part *part, const struct part_replicate *step)
{
    int64_t end = plog_offset_end(part->log);
    int64_t leader_hw = step->leader_hw < end ? step->leader_hw : end;
    if (leader_hw > atomic_load(&part->offset_hw)) {
        part_publish_hw(part, leader_hw);
    }
    bool known = step->leader_log_start <= atomic_load(&part->offset_hw);
    if (known && step->leader_log_start > plog_log_start(part->log)) {
        enum err err = plog_set_log_start(part->log, step->leader_log_start);
        (void)err; /* a failed log has said so and is offline */
    }
}

static enum err step_records(struct part *part, const struct part_replicate *step)
{
    struct bytes batches;
    enum err err = usable_batches(step, &batches);
    if (err == ERR_OK && batches.size > 0) {
        err = plog_append_follower(part->log, batches, clock_wall_ms(part->clock));
        part->wake = true;
    }
    if (err == ERR_OK) {
        learn_offsets(part, step);
    }
    return err;
}

/* After our log was cut at `offset`, or begun anew there. */
static void clamp_hw(struct part *part)
{
    int64_t start = plog_log_start(part->log);
    int64_t end = plog_offset_end(part->log);
    int64_t offset_hw = atomic_load(&part->offset_hw);
    part_publish_hw(part, offset_hw > end ? end : offset_hw < start ? start : offset_hw);
    part->wake = true;
}

static enum err truncate_to(struct part *part, int64_t offset)
{
    if (offset < atomic_load(&part->offset_hw)) {
        log_warn(LOGGER, "truncating below the high watermark",
                 "tp=%s-%d to=%lld high_watermark=%lld", part->topic.ptr, part->index,
                 (long long)offset, (long long)atomic_load(&part->offset_hw));
    }
    enum err err = plog_truncate_to(part->log, offset);
    clamp_hw(part);
    return err;
}

/* The leader's largest epoch not above our last one is `epoch` and ends at `offset` there. Where
 * our log knows that epoch too, histories agree up to the smaller end; where it does not, they
 * agree at most up to the end of our next lower epoch, and the next fetch asks about that one. */
static int64_t agreed_end(struct part *part, const struct part_replicate *step)
{
    int64_t end = plog_offset_end(part->log);
    int32_t found;
    int64_t found_end;
    epochs_end_of(plog_epochs(part->log), step->epoch, end, &found, &found_end);
    bool known = step->epoch >= 0 && found_end >= 0;
    int64_t agreed = known && found != step->epoch ? found_end : step->offset;
    if (known && found_end < agreed) {
        agreed = found_end;
    }
    return agreed < end ? agreed : end;
}

static enum err restart_at(struct part *part, int64_t offset)
{
    enum err err = plog_restart_at(part->log, offset);
    clamp_hw(part);
    return err;
}

/* Nothing of a log that is cut below its start may be served (its leader was elected uncleanly). It
 * begins anew where the leader's does: with a later start it would, as the next leader, have the
 * others delete what is below. */
static enum err step_diverged(struct part *part, const struct part_replicate *step)
{
    if (step->offset < 0) {
        return ERR_OK;
    }
    int64_t cut = agreed_end(part, step);
    bool anew = cut < plog_log_start(part->log) && step->leader_log_start >= 0 &&
                step->leader_log_start < cut;
    return anew ? restart_at(part, step->leader_log_start) : truncate_to(part, cut);
}

static enum err take_step(struct part *part, const struct part_replicate *step)
{
    struct part_now now = part_now(part);
    if (now.role == PART_OFFLINE) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (now.role != PART_FOLLOWER || now.leader_epoch != step->leader_epoch ||
        plog_offset_end(part->log) != step->fetch_offset) {
        return ERR_FENCED_LEADER_EPOCH;
    }
    switch (step->step) {
    case PART_STEP_RECORDS:
        return step_records(part, step);
    case PART_STEP_DIVERGED:
        return step_diverged(part, step);
    case PART_STEP_TRUNCATE:
        return truncate_to(part, step->offset);
    case PART_STEP_RESTART:
        return restart_at(part, step->offset);
    }
    must(false);
    return ERR_INVALID;
}

static void on_replicate(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct part_replicate *step = container_of(msg, struct part_replicate, call.msg);
    step->err = take_step(part, step);
    if (plog_failed(part->log)) {
        step->err = ERR_KAFKA_STORAGE_ERROR;
        part_fail(part);
    }
    if (step->err == ERR_OK && part_offset_durable(part) < plog_offset_end(part->log)) {
        part_step_hold(part, step);
    } else {
        part_step_answer(part, step);
    }
}

void part_replicate(struct part *part, struct part_replicate *step)
{
    part_call_init(part, &step->call, on_replicate, step->records.size);
    part_post(part, &step->call.msg);
}
