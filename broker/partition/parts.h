/* parts.h: which partitions live on this broker: (topic, index) -> struct part, by name.
 *
 * As meta.h: an immutable counted snapshot, replaced whole by the control loop, read by every loop
 * through a cached copy, so that finding a partition takes one atomic load and one hash, no lock.
 *
 * Threads: parts_edit_* on the control loop; readers on their own loop. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "partition/part.h"

struct parts_topic;

/* Immutable; each partition in it is referenced. */
struct parts_table {
    _Atomic int32_t count;
    struct parts_topic **by_name; /* open addressing, slots_count a power of two */
    uint32_t slots_count;
    int32_t topics_count;
};

struct parts {
    pthread_mutex_t lock; /* a leaf */
    struct parts_table *current;
    _Atomic uint64_t generation;
};

void parts_init(struct parts *parts);
void parts_fini(struct parts *parts);

struct parts_reader {
    struct parts *parts;
    struct parts_table *table;
    uint64_t generation;
};

void parts_reader_init(struct parts_reader *reader, struct parts *parts);
void parts_reader_fini(struct parts_reader *reader);

/* Let go of a table that is not the newest: it holds partitions, and so their files, that may be
 * gone by now. For loops that have nothing to look for. */
void parts_reader_refresh(struct parts_reader *reader);

/* NULL when it does not live here. Borrowed until the next call on this reader. */
struct part *parts_find(struct parts_reader *reader, struct str topic, int32_t index);

/* A partition to add (`part` set, the reference is taken over) or to remove (`part` NULL). */
struct parts_change {
    struct str topic;
    int32_t index;
    struct part *part;
};

/* Publish a table with the changes made. */
void parts_edit(struct parts *parts, const struct parts_change *changes, int32_t count);

/* Call for every partition of a snapshot taken now, on the calling thread. */
void parts_each(struct parts *parts, void (*fn)(void *arg, struct part *part), void *arg);

/* Likewise, for those of one topic. */
void parts_each_of(struct parts *parts, struct str topic, void (*fn)(void *arg, struct part *part),
                   void *arg);

/* One reference for the caller, or NULL. From any thread; takes the lock. */
struct part *parts_lookup(struct parts *parts, struct str topic, int32_t index);
