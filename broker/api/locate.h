/* locate.h: which partition of this broker a request means, or which error a client must be told.
 *
 * Threads: the client's loop. */
#pragma once

#include "api/req.h"
#include "partition/part.h"

/* The local replica of a partition, borrowed until the next call. When it is not here: NULL, and
 * *err says NOT_LEADER_OR_FOLLOWER (it exists elsewhere) or UNKNOWN_TOPIC_OR_PARTITION (nobody has
 * heard of it). */
struct part *locate_part(struct req *req, struct str topic, int32_t index, enum err *err);

/* As above, and it must lead. */
struct part *locate_leader(struct req *req, struct str topic, int32_t index, enum err *err);

/* The name of a topic id; a null string when nobody knows it. */
struct str locate_topic_name(struct req *req, struct uuid id);

/* __consumer_offsets, __transaction_state: not for clients to write. */
bool topic_is_internal(struct str topic);

/* Who leads now, for the hints of newer versions: -1 when nobody is known. */
void locate_current_leader(struct req *req, struct str topic, int32_t index, int32_t *leader_id,
                           int32_t *leader_epoch);
