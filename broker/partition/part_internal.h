/* part_internal.h: what part.c and part_replicate.c share. Everything runs in the actor. */
#pragma once

#include "partition/part.h"

/* Ready to be posted: takes a reference to the partition. @any */
void part_call_init(struct part *part, struct part_call *call,
                    void (*fn)(struct actor *actor, struct actor_msg *msg), size_t cost_bytes);

/* Give it back to who called. */
void part_call_answer(struct part_call *call);

/* The high watermark is `offset_hw` from now on; readers and the coordinator are told at the end of
 * the turn. */
void part_publish_hw(struct part *part, int64_t offset_hw);

/* Whether the ISR suffices may have changed. */
void part_publish_enough(struct part *part);

/* ---- part_flush.c: flush mode ---- */

/* What was appended is to be synced. */
void part_flush_soon(struct part *part);
void part_flush_configure(struct part *part, bool flush);

/* A step of the fetcher: answer it, keep it until our log is on the disk, answer all those that are
 * kept. */
void part_step_answer(struct part *part, struct part_replicate *step);
void part_step_hold(struct part *part, struct part_replicate *step);
void part_steps_release(struct part *part, enum err err);

/* P2, P3 */
void part_advance_hw(struct part *part);
