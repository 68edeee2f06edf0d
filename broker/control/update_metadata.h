/* update_metadata.h: from the controller's message to a new snapshot of the metadata.
 * Threads: the control loop. */
#pragma once

#include "control/control.h"
#include "meta/meta.h"

/* Another topic of that name took the place of one whose deletion this broker was not told of: the
 * controller that deleted it came no further, and the next one knows only what is there now. */
typedef void update_metadata_replaced_fn(void *arg, struct str topic);

/* `replaced`, which may be NULL, is called for each such topic, at least once, when the
 * snapshot is there. */
void update_metadata_apply(struct meta_cell *cell, int32_t controller_id,
                           const Barnabas__Control__UpdateMetadata *update,
                           update_metadata_replaced_fn *replaced, void *arg);
