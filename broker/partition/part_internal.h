/* part_internal.h: what part.c and part_replicate.c share. Everything runs in the actor. */
#pragma once

#include "partition/part.h"

/* The high watermark is `offset_hw` from now on; readers and the coordinator are told at the end of
 * the turn. */
void part_publish_hw(struct part *part, int64_t offset_hw);

/* Whether the ISR suffices may have changed. */
void part_publish_enough(struct part *part);

/* P2, P3 */
void part_advance_hw(struct part *part);
