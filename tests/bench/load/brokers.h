/* brokers.h: a cluster as the load generator sees it: its brokers' ports, a connection to each, and
 * who leads what. Brokers may be down.
 *
 * Threads: one. */
#pragma once

#include "bench/load/load.h"
#include "bench/load/peer.h"
#include "codec/messages.h"

enum { BROKERS_MAX = 16, LOAD_METADATA_VERSION = 9 };

struct broker_list {
    const char *host;
    int32_t ids[BROKERS_MAX]; /* -1: of any id, where there is but one */
    uint16_t ports[BROKERS_MAX];
    struct peer peers[BROKERS_MAX]; /* fd -1: not connected */
    int32_t count;
};

/* Those of options.brokers, or the one at options.port. */
void brokers_init(struct broker_list *list, const struct load_options *options);
void brokers_fini(struct broker_list *list);

/* The place in the list of the broker with this id, or -1. */
int32_t brokers_find(const struct broker_list *list, int32_t id);

/* Ask one of them, waiting for the answer; false when there is none in that time. What it says of
 * one topic, or of all (NULL). The answer is good until the next call to that broker. */
bool brokers_metadata(struct broker_list *list, int32_t place, const char *topic, int timeout_ms,
                      struct arena *arena, struct metadata_response *out);

/* The log's end of each partition, one question to each broker. */
void brokers_ends(struct broker_list *list, const struct load_options *options,
                  const int32_t *leaders, int64_t *ends);

/* Ask anything; as above. */
bool brokers_call(struct broker_list *list, int32_t place, int16_t api_key, int16_t version,
                  const void *body, int timeout_ms, struct arena *arena, void *reply);

/* The place in the list of each partition's leader; mem_free() it. Dies where a partition has none
 * there, or the topic has not so many. */
int32_t *brokers_leaders(struct broker_list *list, const struct load_options *options);
