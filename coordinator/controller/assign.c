#include "controller/assign.h"

#include <stdlib.h>

#include "base/must.h"

static int by_id(const void *a, const void *b)
{
    int32_t left = ((const struct assign_broker *)a)->id;
    int32_t right = ((const struct assign_broker *)b)->id;
    return (left > right) - (left < right);
}

static int by_rack_and_id(const void *a, const void *b)
{
    int order =
        str_cmp(((const struct assign_broker *)a)->rack, ((const struct assign_broker *)b)->rack);
    return order != 0 ? order : by_id(a, b);
}

/* The brokers in the order that placement walks over them. */
struct ring {
    struct assign_broker *brokers;
    int32_t count;
    int32_t racks_count; /* 0: without racks */
};

/* How many brokers of the sorted list have the rack of the one at `from`. */
static int32_t rack_run(const struct ring *sorted, int32_t from)
{
    int32_t end = from;
    while (end < sorted->count && str_eq(sorted->brokers[end].rack, sorted->brokers[from].rack)) {
        end++;
    }
    return end - from;
}

/* One broker of each rack in turn: racks by name, within a rack by id. */
static void interleave(struct arena *arena, struct ring *ring)
{
    struct assign_broker *out = arena_array(arena, struct assign_broker, (size_t)ring->count);
    int32_t placed = 0;
    qsort(ring->brokers, (size_t)ring->count, sizeof(*ring->brokers), by_rack_and_id);
    for (int32_t round = 0; placed < ring->count; round++) {
        for (int32_t from = 0; from < ring->count;) {
            int32_t run = rack_run(ring, from);
            if (round == 0) {
                ring->racks_count++;
            }
            if (round < run) {
                out[placed++] = ring->brokers[from + round];
            }
            from += run;
        }
    }
    ring->brokers = out;
}

/* Kafka's step from the first replica to the further one number `index`. */
static int32_t further(int32_t first, int64_t shift, int32_t index, int32_t count)
{
    return (int32_t)((first + 1 + (shift + index) % (count - 1)) % count);
}

static bool has_broker(const struct ring *ring, const int32_t *at, int32_t chosen, int32_t broker)
{
    for (int32_t i = 0; i < chosen; i++) {
        if (ring->brokers[at[i]].id == ring->brokers[broker].id) {
            return true;
        }
    }
    return false;
}

static bool has_rack(const struct ring *ring, const int32_t *at, int32_t chosen, int32_t broker)
{
    for (int32_t i = 0; i < chosen; i++) {
        if (str_eq(ring->brokers[at[i]].rack, ring->brokers[broker].rack)) {
            return true;
        }
    }
    return false;
}

static int32_t racks_used(const struct ring *ring, const int32_t *at, int32_t chosen)
{
    int32_t used = 0;
    for (int32_t i = 0; i < chosen; i++) {
        used += has_rack(ring, at, i, at[i]) ? 0 : 1;
    }
    return used;
}

/* Positions in the ring of one partition's replicas. A broker is skipped while it would put a
 * second replica into a rack and there are racks without any, or when it has one already. */
static void place_one(const struct ring *ring, int32_t first, int64_t shift, int32_t factor,
                      int32_t *at)
{
    int32_t step = 0;
    at[0] = first;
    for (int32_t chosen = 1; chosen < factor; step++) {
        int32_t candidate = further(
            first, ring->racks_count > 0 ? shift * ring->racks_count : shift, step, ring->count);
        bool rack_ok = ring->racks_count == 0 || !has_rack(ring, at, chosen, candidate) ||
                       racks_used(ring, at, chosen) == ring->racks_count;
        if (rack_ok && !has_broker(ring, at, chosen, candidate)) {
            at[chosen++] = candidate;
        }
    }
}

static enum err check_request(const struct assign_request *request, struct errmsg *msg)
{
    if (request->partitions_count <= 0) {
        errmsg_set(msg, "Number of partitions must be larger than 0.");
        return ERR_INVALID_PARTITIONS;
    }
    if (request->replication_factor <= 0) {
        errmsg_set(msg, "Replication factor must be larger than 0.");
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    if (request->replication_factor > request->brokers_count) {
        errmsg_set(msg, "Replication factor: %d larger than available brokers: %d.",
                   request->replication_factor, request->brokers_count);
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    return ERR_OK;
}

/* The ring, by racks when all brokers have one. */
static enum err make_ring(struct arena *arena, const struct assign_request *request,
                          struct ring *ring, struct errmsg *msg)
{
    int32_t with_rack = 0;
    ring->count = request->brokers_count;
    ring->racks_count = 0;
    ring->brokers = arena_array(arena, struct assign_broker, (size_t)ring->count);
    for (int32_t i = 0; i < ring->count; i++) {
        ring->brokers[i] = request->brokers[i];
        with_rack += request->brokers[i].rack.ptr != NULL ? 1 : 0;
    }
    qsort(ring->brokers, (size_t)ring->count, sizeof(*ring->brokers), by_id);
    if (with_rack != 0 && with_rack != ring->count) {
        errmsg_set(msg, "Not all brokers have rack information for replica rack aware assignment.");
        return ERR_INVALID_REQUEST;
    }
    return ERR_OK;
}

/* Where to start: at random for a new topic, at partition 0's first replica for added partitions.
 */
static int32_t start_index(struct rng *rng, const struct assign_request *request,
                           const struct ring *by_ids)
{
    if (request->partition_first == 0 && request->first_replica_of_0 < 0) {
        return (int32_t)rng_below(rng, (uint64_t)by_ids->count);
    }
    for (int32_t i = 0; i < by_ids->count; i++) {
        if (by_ids->brokers[i].id >= request->first_replica_of_0) {
            return i;
        }
    }
    return 0;
}

enum err assign_replicas(struct arena *arena, struct rng *rng, const struct assign_request *request,
                         struct znode_ids *placed, struct errmsg *msg)
{
    struct ring ring;
    enum err err = check_request(request, msg);
    if (err == ERR_OK) {
        err = make_ring(arena, request, &ring, msg);
    }
    if (err != ERR_OK) {
        return err;
    }
    bool fresh = request->partition_first == 0 && request->first_replica_of_0 < 0;
    int32_t start = start_index(rng, request, &ring);
    int64_t shift = fresh ? (int64_t)rng_below(rng, (uint64_t)ring.count) : start;
    if (ring.brokers[0].rack.ptr != NULL) {
        interleave(arena, &ring);
    }
    int32_t factor = request->replication_factor;
    int32_t *at = arena_array(arena, int32_t, (size_t)factor);
    for (int32_t i = 0; i < request->partitions_count; i++) {
        int64_t partition = (int64_t)request->partition_first + i;
        shift += partition > 0 && partition % ring.count == 0 ? 1 : 0;
        place_one(&ring, (int32_t)((partition + start) % ring.count), shift, factor, at);
        int32_t *ids = arena_array(arena, int32_t, (size_t)factor);
        for (int32_t j = 0; j < factor; j++) {
            ids[j] = ring.brokers[at[j]].id;
        }
        placed[i] = (struct znode_ids){ids, factor};
    }
    return ERR_OK;
}
