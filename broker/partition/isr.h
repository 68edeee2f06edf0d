/* isr.h: what a leader knows of its replicas, and what follows from it: the high watermark, and who
 * should be in the in-sync replica set.
 *
 * A pure machine: no I/O, no clock. `now_ms` is monotonic.
 *
 * Words: the members are the ISR that ZooKeeper holds. While a change is proposed, the maximal ISR
 * is the members and everybody proposed: the controller may already have written either. Records
 * are committed when the whole maximal ISR has them (R1), and only while there are
 * min.insync.replicas members.
 *
 * In flush mode a replica has what is on its disk, and nothing else counts (R3): neither for the
 * high watermark, nor for entering, nor for staying. One that does not say what is on its disk has
 * nothing.
 *
 * A replica that is not a member becomes one when it has reached the high watermark and the offset
 * where this leader's epoch began (R2): before, records that an earlier leader committed may lack
 * on it. It leaves when it has not had everything for lag_ms. One that has left, or that the
 * controller refuses (its broker is going, or gone), is neither proposed again nor waited for until
 * its next fetch.
 *
 * Threads: the partition's actor. Source: kafka.cluster.Partition; the rules of replication are in
 * README.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Nothing is known about a replica's log. */
enum { ISR_OFFSET_UNKNOWN = -1 };

struct isr_replica {
    int32_t id;
    int64_t broker_epoch; /* of the life in which it last fetched; -1: not yet in this epoch */
    int64_t offset_end;   /* ISR_OFFSET_UNKNOWN */
    int64_t flushed_end;  /* of that, on its disk; ISR_OFFSET_UNKNOWN */
    int64_t log_start;
    int64_t caught_up_ms; /* when it last had everything */
    int64_t fetched_ms;   /* a fetch of it (the last one; R3: one long enough ago to have been */
    int64_t fetched_end;  /* flushed since), and where our log ended then */
    bool member;
    bool proposed;
    bool refused; /* it left, or the controller would not have it; and it has not fetched since */
};

struct isr {
    int32_t me;
    int32_t leader_epoch;
    int32_t partition_epoch;
    int64_t epoch_start;          /* our log's end when the epoch began */
    int64_t lag_ms;               /* replica.lag.time.max.ms */
    struct isr_replica *replicas; /* as assigned; we are one of them */
    int32_t replicas_count;
    int32_t members_count;
    /* Somebody outside of the ISR counts as complete up to the high watermark: it stands still. */
    bool frozen;
    int32_t min_insync; /* min.insync.replicas, at most replicas_count */
    bool pending;       /* a proposal is under way */
    bool flush;         /* R3 */
};

void isr_init(struct isr *isr, int32_t me, int64_t lag_ms);
void isr_fini(struct isr *isr);

/* A leadership as the controller decided it. */
struct isr_state {
    int32_t leader_epoch;
    int32_t partition_epoch;
    const int32_t *replicas;
    const int32_t *members;
    int32_t replicas_count;
    int32_t members_count;
    bool frozen;
};

/* We lead in a new epoch: what was known of the others is forgotten, members get lag_ms from now.
 */
void isr_lead(struct isr *isr, const struct isr_state *state, int64_t offset_end, int64_t now_ms);

/* The replicas are others now, in the same leader epoch: what is known of those that stay stays
 * known. A member that is none of them counts until the ISR says otherwise. */
void isr_assign(struct isr *isr, const int32_t *replicas, int32_t count);

void isr_set_min_insync(struct isr *isr, int32_t min_insync);
void isr_set_flush(struct isr *isr, bool flush);

/* What a follower's fetch says. */
struct isr_fetch {
    int32_t replica_id;
    int64_t broker_epoch;
    int64_t fetch_offset; /* it has everything below */
    int64_t flushed_end;  /* on its disk is everything below; ISR_OFFSET_UNKNOWN: not told */
    int64_t log_start;
    int64_t leader_end; /* our log's end when the fetch read it */
};

/* ERR_NOT_LEADER_OR_FOLLOWER: that broker is no replica. Offsets behind `leader_end` and lives
 * before the last one are ignored: ERR_OFFSET_OUT_OF_RANGE, ERR_STALE_BROKER_EPOCH. */
MUST_USE enum err isr_fetched(struct isr *isr, const struct isr_fetch *fetch, int64_t now_ms);

bool isr_is_member(const struct isr *isr, int32_t id);

/* The high watermark now; never below `offset_hw`, the one so far. `offset_end` is what counts of
 * our own log: its end, or in flush mode the end of what is on our disk. */
int64_t isr_high_watermark(const struct isr *isr, int64_t offset_end, int64_t offset_hw,
                           int64_t now_ms);

/* Members suffice for acks=all: there are min.insync.replicas, and nobody else counts as complete.
 * The controller remembers replicas only while it, too, counts fewer members than that; its count
 * and ours can differ while the configuration changes, and then the careful one rules. */
bool isr_enough(const struct isr *isr);

/* The lowest log start among the maximal ISR, -1 while one of it is unknown: what DeleteRecords
 * waits for. Kafka waits for every replica whose broker is alive; one that is dead leaves the ISR
 * at once. */
int64_t isr_low_watermark(const struct isr *isr, int64_t log_start);

/* Of the members among `ids`, the one that has most of the records from `offset` on, and began late
 * enough; -1: none has it. Ties go to whoever had everything last, then to the larger id. */
int32_t isr_best_reader(const struct isr *isr, const int32_t *ids, int32_t count, int64_t offset);

struct isr_proposal {
    int32_t leader_epoch;
    int32_t partition_epoch;
    int32_t *members;
    int64_t *epochs; /* of the members' brokers; -1: unknown */
    int32_t count;
};

/* Does the ISR want changing? Fills *out (arrays by mem_free) and goes pending. `shrink` false:
 * look only for replicas to let in. */
bool isr_propose(struct isr *isr, int64_t offset_end, int64_t offset_hw, bool shrink,
                 int64_t now_ms, struct isr_proposal *out);
void isr_proposal_fini(struct isr_proposal *proposal);

/* The controller's answer. ERR_OK: `state` is in force. Where the error says that somebody else
 * changed the partition, the proposal stays pending until the next leadership arrives: both sets
 * may be what ZooKeeper holds. */
void isr_answered(struct isr *isr, enum err err, const struct isr_state *state);
