/* await: look at a cluster until every broker says that all partitions of the topics whose names
 * begin with --topic have a leader among --brokers and an ISR of --replicas at least, and until
 * those leaders answer ListOffsets for all of them: that is when they are served. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bench/load/brokers.h"
#include "codec/api.h"
#include "codec/codec.h"

enum { PAUSE_MS = 20, CALL_MS = 10000, LIST_VERSION = 5, LATEST = -1 };

struct awaited {
    const struct load_options *options;
    struct broker_list brokers;
    struct arena arena;
};

static bool is_ours(const struct awaited *awaited, struct str name)
{
    size_t size = strlen(awaited->options->topic);
    return name.size >= size && memcmp(name.ptr, awaited->options->topic, size) == 0;
}

static bool is_led(const struct awaited *awaited,
                   const struct metadata_response_metadata_response_partition *part)
{
    return brokers_find(&awaited->brokers, part->leader_id) >= 0 &&
           part->isr_nodes_count >= awaited->options->replicas;
}

static bool is_complete(const struct awaited *awaited, const struct metadata_response *metadata)
{
    int64_t led = 0;
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        for (int32_t j = 0; j < metadata->topics[i].partitions_count; j++) {
            if (is_ours(awaited, metadata->topics[i].name) &&
                is_led(awaited, &metadata->topics[i].partitions[j])) {
                led++;
            }
        }
    }
    return led >= awaited->options->partitions;
}

/* All partitions of ours that this broker leads. */
static void fill_list(struct awaited *awaited, const struct metadata_response *metadata,
                      int32_t place, struct list_offsets_request *request)
{
    struct arena *arena = &awaited->arena;
    codec_init(&list_offsets_request_desc, request);
    request->replica_id = -1;
    request->topics =
        codec_array(&list_offsets_request_list_offsets_topic_desc, arena, metadata->topics_count);
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        const struct metadata_response_metadata_response_topic *from = &metadata->topics[i];
        struct list_offsets_request_list_offsets_topic *topic =
            &request->topics[request->topics_count];
        topic->name = from->name;
        topic->partitions = codec_array(&list_offsets_request_list_offsets_partition_desc, arena,
                                        from->partitions_count);
        for (int32_t j = 0; is_ours(awaited, from->name) && j < from->partitions_count; j++) {
            if (brokers_find(&awaited->brokers, from->partitions[j].leader_id) == place) {
                topic->partitions[topic->partitions_count].partition_index =
                    from->partitions[j].partition_index;
                topic->partitions[topic->partitions_count++].timestamp = LATEST;
            }
        }
        request->topics_count += topic->partitions_count > 0 ? 1 : 0;
    }
}

static bool serves(struct awaited *awaited, const struct metadata_response *metadata, int32_t place)
{
    struct list_offsets_request request;
    struct list_offsets_response reply;
    fill_list(awaited, metadata, place, &request);
    if (!brokers_call(&awaited->brokers, place, API_LIST_OFFSETS, LIST_VERSION, &request, CALL_MS,
                      &awaited->arena, &reply)) {
        return false;
    }
    for (int32_t i = 0; i < reply.topics_count; i++) {
        for (int32_t j = 0; j < reply.topics[i].partitions_count; j++) {
            if (reply.topics[i].partitions[j].error_code != 0) {
                return false;
            }
        }
    }
    return true;
}

static bool look(struct awaited *awaited)
{
    struct metadata_response metadata;
    for (int32_t i = 0; i < awaited->brokers.count; i++) {
        arena_reset(&awaited->arena);
        if (!brokers_metadata(&awaited->brokers, i, NULL, CALL_MS, &awaited->arena, &metadata) ||
            !is_complete(awaited, &metadata)) {
            return false;
        }
    }
    for (int32_t i = 0; i < awaited->brokers.count; i++) {
        if (!serves(awaited, &metadata, i)) {
            return false;
        }
    }
    return true;
}

int load_await(const struct load_options *options)
{
    struct awaited awaited = {.options = options};
    struct load_clock clock;
    brokers_init(&awaited.brokers, options);
    load_clock_start(&clock);
    while (!look(&awaited)) {
        if ((double)(now_ns() - clock.start_ns) > options->seconds * 1e9) {
            die("%d partitions of %s... are not served after %g s", options->partitions,
                options->topic, options->seconds);
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
    printf("{\"mode\": \"await\", \"seconds\": %.6f, \"done_ns\": %" PRIu64
           ", \"generator_core\": 0}\n",
           (double)(now_ns() - clock.start_ns) / 1e9, now_ns());
    arena_fini(&awaited.arena);
    brokers_fini(&awaited.brokers);
    return 0;
}
