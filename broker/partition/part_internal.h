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

/* P2, P3 */
void part_advance_hw(struct part *part);
