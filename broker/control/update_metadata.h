/* update_metadata.h: from the controller's message to a new snapshot of the metadata.
 * Threads: the control loop. */
#pragma once

#include "control/control.h"
#include "meta/meta.h"

void update_metadata_apply(struct meta_cell *cell, int32_t controller_id,
                           const Barnabas__Control__UpdateMetadata *update);
