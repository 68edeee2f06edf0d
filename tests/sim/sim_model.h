/* sim_model.h: what clients were told of each partition, and whether it is so.
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
 * Here are M3 to M6, and M11 of disks: what takes a client to know. The others are watched by
 * sim_watch.h, which says here what may be gone.
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

/* ---- what consumers say */

void sim_model_read(struct sim_model *model, int part, int node, int64_t offset, uint64_t id);
void sim_model_high_watermark(struct sim_model *model, int part, int node, int64_t offset_hw);

/* From now on the high watermark of this broker may be any (M5). */
void sim_model_high_watermark_anew(struct sim_model *model, int part, int node);

/* ---- how far they are */

/* Where the acknowledged records of this log end. */
int64_t sim_model_acked_end(struct sim_model *model, int part, int node);

/* Of all logs. */
int64_t sim_model_acked_count(const struct sim_model *model);
int64_t sim_model_read_count(const struct sim_model *model);

/* ---- what is deleted in order */

/* Somebody asks to delete the records of a partition before `offset`. */
void sim_model_trimmed(struct sim_model *model, int part, int64_t offset);

/* May records before that be gone? INT64_MAX: any. */
int64_t sim_model_trimmed_end(const struct sim_model *model, int part);

/* ---- what is lost and may be */

/* What is known of this log's offsets from `end` on is not so any more; with the page cache of its
 * disk, or because nobody was complete. */
void sim_model_forget(struct sim_model *model, int part, int node, int64_t end);

/* May the disk of this partition have forgotten something? Then a producer may be told that its
 * sequence has a gap. */
bool sim_model_may_forget(const struct sim_model *model, int part);

/* ---- at the end */

/* The disk of a broker that is down: every batch of every log is whole, and what the model says of
 * its offsets is what is there; M6. */
void sim_model_audit_disk(struct sim_model *model, struct sim_node *node);
