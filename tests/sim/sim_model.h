/* sim_model.h: what the clients were told, per partition, and the checks against it.
 *
 * The model keeps for each partition what is known of every offset: which record, and whether it
 * was acknowledged. A record is named by its producer (1, 2, ...) and its number in that producer's
 * life; names grow with numbers. A run has partitions of one replica, whose disk may lose its page
 * cache, or of several: then what was acknowledged is lost only in the case of sim_complete.h, and
 * in the end all disks hold the same.
 *
 *   M1  one leader per (partition, leader epoch), in brokers and in ZooKeeper; epochs only grow
 *   M2  no write of a deposed controller is accepted
 *   M3  an offset of one disk holds one record, for whoever asks
 *   M4  what was acknowledged survives, unless the power failed and it had not been synced; of
 *       several replicas, unless the power of all that were complete failed; in flush mode
 *       without any exception
 *   M5  a consumer never sees the high watermark go back: of the one disk, but for M4's exception;
 *       of several replicas, of one leader in its epoch
 *   M6  a producer's records stand in the log in its order, none twice; a gap only where the
 *       producer had given up
 *   M7  0 <= log start <= high watermark <= log end, in every broker after every step
 *   M8  what a broker tells clients of a partition's leader never goes back to an earlier epoch, as
 *       long as the broker lives
 *   M9  a broker's high watermark does not go back while it lives and its log is not cut
 *   M10 when nobody is complete any more (sim_complete.h), the longest log leads
 *   M11 nothing is deleted that nobody has asked to delete, and is not too old; in one life of a
 *       broker a log's start does not go back
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct sim;
struct sim_node;
struct sim_model;

enum { SIM_PRODUCERS_MAX = 64 };

struct sim_model *sim_model_new(struct sim *sim);
void sim_model_free(struct sim_model *model);

/* A record's name. */
static inline uint64_t sim_record_id(int producer, int64_t number)
{
    return ((uint64_t)producer << 40) | (uint64_t)number;
}

/* ---- what producers say */

/* The broker acknowledged `count` records of the producer from `first` on, at `offset`. */
void sim_model_acked(struct sim_model *model, int part, int node, int64_t offset, int producer,
                     int64_t first, int count);

/* The producer gave these up: they may be in the log or not. */
void sim_model_abandoned(struct sim_model *model, int producer, int64_t first, int64_t count);

/* May the disk of this partition have forgotten something? Then a producer may be told that its
 * sequence has a gap. */
bool sim_model_may_forget(const struct sim_model *model, int part);

/* ---- what consumers say */

void sim_model_read(struct sim_model *model, int part, int node, int64_t offset, uint64_t id);
void sim_model_high_watermark(struct sim_model *model, int part, int node, int64_t offset_hw);

/* Where the acknowledged records end. */
int64_t sim_model_acked_end(struct sim_model *model, int part, int node);

/* How many records were acknowledged, in all. */
int64_t sim_model_acked_count(const struct sim_model *model);
int64_t sim_model_read_count(const struct sim_model *model);

/* ---- what is deleted in order */

/* Somebody asks to delete the records of a partition before `offset`. */
void sim_model_trimmed(struct sim_model *model, int part, int64_t offset);

/* May records before that be gone? INT64_MAX: any. */
int64_t sim_model_trimmed_end(const struct sim_model *model, int part);

/* Where the log of this broker begins; 0 when it has none. */
int64_t sim_model_log_start(struct sim_model *model, int part, int node);

/* ---- what happens to brokers */

/* A state node was written (M1, M2). `old` is empty when there was none. */
void sim_model_state_written(struct sim_model *model, struct sim_node *node, const char *path,
                             struct bytes old, struct bytes new_);

/* Is this broker one of the partition's replicas, as ZooKeeper has them? */
bool sim_model_is_replica(struct sim_model *model, int part, int node);

/* Who leads, as ZooKeeper has it; -1: nobody. */
int sim_model_leader(struct sim_model *model, int part);

/* Who is to coordinate this group; likewise. */
int sim_model_coordinator(struct sim_model *model, struct str group);

/* Members of the partition's ISR, as ZooKeeper has it; 0 when it has no leader. */
int sim_model_in_sync(struct sim_model *model, int part);

/* Is the partition where it was last moved to: its replicas in sync, on the disks of these brokers,
 * and of no others? All brokers run. */
bool sim_model_at_rest(struct sim_model *model, int part);

/* After a step of this broker: M1, M7; and after its start what its logs hold (M4). */
void sim_model_look(struct sim_model *model, struct sim_node *node);

/* Its machine has lost its power. */
void sim_model_power_lost(struct sim_model *model, struct sim_node *node);

/* It is about to end: what it has synced must come back. */
void sim_model_before_end(struct sim_model *model, struct sim_node *node);

/* ---- at the end */

/* The disk of a broker that is down: every batch of every log is whole, and what the model says of
 * its offsets is what is there; M6. */
void sim_model_audit_disk(struct sim_model *model, struct sim_node *node);

/* All brokers are down, and every replica was in sync: their logs are the same, byte by byte. Those
 * of groups may lack an end that was written while the others had stopped already. */
void sim_model_audit_replicas(struct sim_model *model);

/* Partitions are numbered; topics are "t0", "t1", ... */
void sim_part_name(const struct sim *sim, int part, char topic[16], int *index);
int sim_part_number(const struct sim *sim, struct str topic, int index);
int sim_parts_count(const struct sim *sim);
