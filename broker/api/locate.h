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

/* As above, and it must be able to serve this request, as Kafka checks it, in this order: its log
 * works (KAFKA_STORAGE_ERROR); it has been told its role (NOT_LEADER_OR_FOLLOWER); client and
 * broker agree on the leader's epoch, where the client names one (-1: it does not;
 * FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH); it leads, where only a leader will do
 * (NOT_LEADER_OR_FOLLOWER). */
struct locate_wanted {
    struct str topic;
    int32_t index;
    int32_t current_leader_epoch;
    bool leader_only;
};
struct part *locate_replica(struct req *req, const struct locate_wanted *wanted, enum err *err);

/* The leader, whatever its epoch. */
struct part *locate_leader(struct req *req, struct str topic, int32_t index, enum err *err);

/* The name of a topic id, in the request's arena; a null string when nobody knows it. */
struct str locate_topic_name(struct req *req, struct uuid id);

/* __consumer_offsets, __transaction_state: not for clients to write. */
bool topic_is_internal(struct str topic);

/* The leaders that a reply names, each once, so that clients find them without asking again. Zeroed
 * it is empty; its array is in the request's arena. */
struct locate_hints {
    int32_t *broker_ids;
    int32_t count;
    int32_t capacity;
};

/* Who leads now, for the hints of newer versions: -1 when nobody is known. A leader that is alive
 * is added to `hints`. */
void locate_current_leader(struct req *req, struct str topic, int32_t index,
                           struct locate_hints *hints, int32_t *leader_id, int32_t *leader_epoch);

/* Where the client reaches a broker, by the listener that it came by. */
struct locate_node {
    struct str host;
    int32_t port;
    struct str rack;
};

/* False: nowhere. The text is in the request's arena. */
bool locate_node(struct req *req, int32_t broker_id, struct locate_node *out);
