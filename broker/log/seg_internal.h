/* seg_internal.h: what seg.c (writing, files) and seg_find.c (reading) share. */
#pragma once

#include "log/seg.h"

/* Read the index files, if they have not been yet. With the lock held. */
void seg_load_index(struct seg *seg);

/* Make the largest timestamp known, where the index files have not been read. With the lock held.
 */
void seg_load_last_time(struct seg *seg);

/* Is there a whole batch at `position` that begins at or before `offset`, as the index says? */
bool seg_index_is_right(struct seg *seg, int64_t position, int64_t offset);

/* It led astray: batches are walked from now on. */
void seg_forget_index(struct seg *seg);
