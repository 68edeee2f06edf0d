#include "partition/isr.h"

#include "base/mem.h"
#include "base/must.h"

void isr_init(struct isr *isr, int32_t me, int64_t lag_ms)
{
    *isr = (struct isr){.me = me, .leader_epoch = -1, .partition_epoch = -1, .lag_ms = lag_ms};
}

void isr_fini(struct isr *isr)
{
    mem_free(isr->replicas);
    isr->replicas = NULL;
    isr->replicas_count = 0;
}

static struct isr_replica *find(const struct isr *isr, int32_t id)
{
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        if (isr->replicas[i].id == id) {
            return &isr->replicas[i];
        }
    }
    return NULL;
}

static bool listed(const int32_t *ids, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void set_members(struct isr *isr, const int32_t *members, int32_t count)
{
    isr->members_count = 0;
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        struct isr_replica *replica = &isr->replicas[i];
        bool member = listed(members, count, replica->id);
        replica->refused = !member && (replica->refused || replica->member);
        replica->member = member;
        replica->proposed = false;
        isr->members_count += replica->member ? 1 : 0;
    }
    isr->pending = false;
}

static struct isr_replica unknown_replica(int32_t id)
{
    return (struct isr_replica){
        .id = id,
        .broker_epoch = -1,
        .offset_end = ISR_OFFSET_UNKNOWN,
        .flushed_end = ISR_OFFSET_UNKNOWN,
        .log_start = ISR_OFFSET_UNKNOWN,
        .caught_up_ms = INT64_MIN / 2, /* never; half, so that differences do not overflow */
        .fetched_end = ISR_OFFSET_UNKNOWN,
    };
}

void isr_assign(struct isr *isr, const int32_t *replicas, int32_t count)
{
    struct isr_replica *list =
        mem_zalloc((size_t)count + (size_t)isr->replicas_count, sizeof(*list));
    int32_t used = 0;
    for (int32_t i = 0; i < count; i++) {
        const struct isr_replica *known = find(isr, replicas[i]);
        list[used++] = known != NULL ? *known : unknown_replica(replicas[i]);
    }
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        const struct isr_replica *left = &isr->replicas[i];
        if ((left->member || left->proposed) && !listed(replicas, count, left->id)) {
            list[used++] = *left;
        }
    }
    mem_free(isr->replicas);
    isr->replicas = list;
    isr->replicas_count = used;
}

void isr_lead(struct isr *isr, const struct isr_state *state, int64_t offset_end, int64_t now_ms)
{
    mem_free(isr->replicas);
    isr->leader_epoch = state->leader_epoch;
    isr->partition_epoch = state->partition_epoch;
    isr->epoch_start = offset_end;
    isr->frozen = state->frozen;
    isr->replicas_count = state->replicas_count;
    isr->replicas = mem_zalloc((size_t)state->replicas_count, sizeof(*isr->replicas));
    for (int32_t i = 0; i < state->replicas_count; i++) {
        isr->replicas[i] = unknown_replica(state->replicas[i]);
    }
    set_members(isr, state->members, state->members_count);
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        if (isr->replicas[i].member) {
            isr->replicas[i].caught_up_ms = now_ms;
        }
    }
}

void isr_set_min_insync(struct isr *isr, int32_t min_insync)
{
    isr->min_insync = min_insync;
}

void isr_set_flush(struct isr *isr, bool flush)
{
    isr->flush = flush;
}

/* Up to where a replica has what the leader has; R3. */
static int64_t has(const struct isr *isr, const struct isr_replica *replica)
{
    bool less = isr->flush && replica->flushed_end < replica->offset_end;
    return less ? replica->flushed_end : replica->offset_end;
}

bool isr_enough(const struct isr *isr)
{
    int32_t replicas = isr->replicas_count > 0 ? isr->replicas_count : 1;
    int32_t wanted = isr->min_insync < replicas ? isr->min_insync : replicas;
    return !isr->frozen && isr->members_count >= wanted;
}

/* It had everything now, or at least everything that was there when it last asked. What it asks for
 * now may be on its disk only some fetches later: then the mark stays until that is so. */
static void note_progress(const struct isr *isr, struct isr_replica *replica, int64_t leader_end,
                          int64_t now_ms)
{
    int64_t end = has(isr, replica);
    bool passed = replica->fetched_end == ISR_OFFSET_UNKNOWN || end >= replica->fetched_end;
    if (end >= leader_end) {
        replica->caught_up_ms = now_ms;
    } else if (replica->fetched_end != ISR_OFFSET_UNKNOWN && passed &&
               replica->fetched_ms > replica->caught_up_ms) {
        replica->caught_up_ms = replica->fetched_ms;
    }
    if (passed || !isr->flush) {
        replica->fetched_ms = now_ms;
        replica->fetched_end = leader_end;
    }
}

enum err isr_fetched(struct isr *isr, const struct isr_fetch *fetch, int64_t now_ms)
{
    struct isr_replica *replica = find(isr, fetch->replica_id);
    if (replica == NULL || replica->id == isr->me) {
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (fetch->broker_epoch < replica->broker_epoch) {
        return ERR_STALE_BROKER_EPOCH;
    }
    if (fetch->fetch_offset < 0 || fetch->fetch_offset > fetch->leader_end) {
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    replica->refused = false;
    replica->broker_epoch = fetch->broker_epoch;
    replica->offset_end = fetch->fetch_offset;
    replica->flushed_end = fetch->flushed_end;
    replica->log_start = fetch->log_start;
    note_progress(isr, replica, fetch->leader_end, now_ms);
    return ERR_OK;
}

bool isr_is_member(const struct isr *isr, int32_t id)
{
    const struct isr_replica *replica = find(isr, id);
    return replica != NULL && replica->member;
}

/* A replica outside of the ISR that keeps up is waited for as well: else the high watermark would
 * run ahead of it for ever and it could never come in. */
static bool keeps_up(const struct isr *isr, const struct isr_replica *replica, int64_t now_ms)
{
    int64_t end = has(isr, replica);
    return !replica->refused && end != ISR_OFFSET_UNKNOWN && end >= isr->epoch_start &&
           now_ms - replica->caught_up_ms <= isr->lag_ms;
}

/* R1 */
int64_t isr_high_watermark(const struct isr *isr, int64_t offset_end, int64_t offset_hw,
                           int64_t now_ms)
{
    int64_t lowest = offset_end;
    if (!isr_enough(isr)) {
        return offset_hw;
    }
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        bool counts = replica->member || replica->proposed || keeps_up(isr, replica, now_ms);
        if (replica->id != isr->me && counts && has(isr, replica) < lowest) {
            lowest = has(isr, replica);
        }
    }
    return lowest > offset_hw ? lowest : offset_hw;
}

int64_t isr_low_watermark(const struct isr *isr, int64_t log_start)
{
    int64_t lowest = log_start;
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        bool known = replica->offset_end != ISR_OFFSET_UNKNOWN;
        int64_t start = known ? replica->log_start : ISR_OFFSET_UNKNOWN;
        if (replica->id != isr->me && (replica->member || replica->proposed) && start < lowest) {
            lowest = start;
        }
    }
    return lowest;
}

static bool reads_better(const struct isr_replica *a, const struct isr_replica *b)
{
    if (a->offset_end != b->offset_end) {
        return a->offset_end > b->offset_end;
    }
    return a->caught_up_ms != b->caught_up_ms ? a->caught_up_ms > b->caught_up_ms : a->id > b->id;
}

int32_t isr_best_reader(const struct isr *isr, const int32_t *ids, int32_t count, int64_t offset)
{
    const struct isr_replica *best = NULL;
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        bool has_it = replica->offset_end != ISR_OFFSET_UNKNOWN && replica->log_start <= offset &&
                      replica->offset_end >= offset;
        if (replica->member && replica->id != isr->me && has_it &&
            listed(ids, count, replica->id) && (best == NULL || reads_better(replica, best))) {
            best = replica;
        }
    }
    return best != NULL ? best->id : -1;
}

/* R2 */
static bool may_enter(const struct isr *isr, const struct isr_replica *replica, int64_t offset_hw)
{
    return !replica->member && !replica->refused && replica->broker_epoch >= 0 &&
           has(isr, replica) >= offset_hw && has(isr, replica) >= isr->epoch_start;
}

static bool must_leave(const struct isr *isr, const struct isr_replica *replica, int64_t offset_end,
                       int64_t now_ms)
{
    return replica->member && replica->id != isr->me && has(isr, replica) != offset_end &&
           now_ms - replica->caught_up_ms > isr->lag_ms;
}

bool isr_propose(struct isr *isr, int64_t offset_end, int64_t offset_hw, bool shrink,
                 int64_t now_ms, struct isr_proposal *out)
{
    bool changed = false;
    if (isr->pending) {
        return false;
    }
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        struct isr_replica *replica = &isr->replicas[i];
        bool in = may_enter(isr, replica, offset_hw);
        bool gone = shrink && must_leave(isr, replica, offset_end, now_ms);
        replica->proposed = (replica->member || in) && !gone;
        changed = changed || replica->proposed != replica->member;
    }
    if (!changed) {
        for (int32_t i = 0; i < isr->replicas_count; i++) {
            isr->replicas[i].proposed = false;
        }
        return false;
    }
    isr->pending = true;
    *out = (struct isr_proposal){
        .leader_epoch = isr->leader_epoch,
        .partition_epoch = isr->partition_epoch,
        .members = mem_zalloc((size_t)isr->replicas_count, sizeof(*out->members)),
        .epochs = mem_zalloc((size_t)isr->replicas_count, sizeof(*out->epochs)),
    };
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        if (isr->replicas[i].proposed) {
            out->members[out->count] = isr->replicas[i].id;
            out->epochs[out->count++] = isr->replicas[i].broker_epoch;
        }
    }
    return true;
}

void isr_proposal_fini(struct isr_proposal *proposal)
{
    mem_free(proposal->members);
    mem_free(proposal->epochs);
}

void isr_answered(struct isr *isr, enum err err, const struct isr_state *state)
{
    if (err == ERR_OK) {
        bool ours = state->leader_epoch == isr->leader_epoch;
        if (ours && state->partition_epoch >= isr->partition_epoch) {
            isr->partition_epoch = state->partition_epoch;
            isr->frozen = state->frozen;
            set_members(isr, state->members, state->members_count);
        }
        return;
    }
    if (err == ERR_INELIGIBLE_REPLICA) {
        /* Nothing was written: what was there stays in force. */
        for (int32_t i = 0; i < isr->replicas_count; i++) {
            struct isr_replica *replica = &isr->replicas[i];
            replica->refused = !replica->member && (replica->refused || replica->proposed);
            replica->proposed = false;
        }
        isr->pending = false;
    }
}
