#include "control/update_metadata.h"

#include <string.h>

#include "base/arena.h"
#include "base/must.h"

static void copy_endpoint(struct meta_endpoint *to, const Barnabas__Control__Endpoint *from)
{
    to->listener = control_str(from->listener).ptr;
    to->host = control_str(from->host).ptr;
    to->port = from->port;
    to->security_protocol = (int16_t)from->security_protocol;
}

static void apply_brokers(struct meta_edit *edit, struct arena *arena,
                          const Barnabas__Control__UpdateMetadata *update)
{
    size_t count = update->n_live_brokers;
    struct meta_broker *brokers = arena_array(arena, struct meta_broker, count);
    for (size_t i = 0; i < count; i++) {
        const Barnabas__Control__Broker *from = update->live_brokers[i];
        struct meta_endpoint *endpoints =
            arena_array(arena, struct meta_endpoint, from->n_endpoints);
        for (size_t j = 0; j < from->n_endpoints; j++) {
            copy_endpoint(&endpoints[j], from->endpoints[j]);
        }
        brokers[i] = (struct meta_broker){
            .id = from->id,
            .epoch = from->epoch,
            .rack = from->rack != NULL && from->rack[0] != '\0' ? from->rack : NULL,
            .endpoints = endpoints,
            .endpoints_count = (int32_t)from->n_endpoints,
        };
    }
    meta_edit_brokers(edit, brokers, (int32_t)count);
}

static void apply_partition(struct meta_edit *edit, struct str topic, struct uuid id,
                            const Barnabas__Control__UpdateMetadataPartition *from)
{
    if (from->leader == CONTROL_LEADER_DURING_DELETE) {
        meta_edit_remove(edit, topic, from->partition);
        return;
    }
    struct meta_partition partition = {
        .index = from->partition,
        .leader = from->leader,
        .leader_epoch = from->leader_epoch,
        .partition_epoch = from->partition_epoch,
        .controller_epoch = from->controller_epoch,
        .replicas = from->replicas,
        .replicas_count = (int32_t)from->n_replicas,
        .isr = from->isr,
        .isr_count = (int32_t)from->n_isr,
        .offline = from->offline_replicas,
        .offline_count = (int32_t)from->n_offline_replicas,
    };
    meta_edit_partition(edit, topic, id, &partition);
}

static void tell_replaced(const struct meta *before, const struct meta *now,
                          const Barnabas__Control__UpdateMetadata *update,
                          update_metadata_replaced_fn *replaced, void *arg)
{
    for (size_t i = 0; i < update->n_topics; i++) {
        struct str name = control_str(update->topics[i]->name);
        const struct meta_topic *was = meta_find(before, name);
        const struct meta_topic *is = meta_find(now, name);
        if (was != NULL && is != NULL && !uuid_is_zero(was->id) && !uuid_eq(was->id, is->id)) {
            replaced(arg, name);
        }
    }
}

void update_metadata_apply(struct meta_cell *cell, int32_t controller_id,
                           const Barnabas__Control__UpdateMetadata *update,
                           update_metadata_replaced_fn *replaced, void *arg)
{
    struct arena arena = {0};
    struct meta *before = meta_cell_get(cell);
    struct meta_edit *edit = meta_edit_begin(cell);
    meta_edit_controller(edit, controller_id);
    apply_brokers(edit, &arena, update);
    for (size_t i = 0; i < update->n_topics; i++) {
        const Barnabas__Control__UpdateMetadataTopic *topic = update->topics[i];
        struct uuid id = control_topic_id_get(topic->topic_id);
        for (size_t j = 0; j < topic->n_partitions; j++) {
            apply_partition(edit, control_str(topic->name), id, topic->partitions[j]);
        }
    }
    meta_edit_commit(edit);
    if (replaced != NULL) {
        struct meta *now = meta_cell_get(cell);
        tell_replaced(before, now, update, replaced, arg);
        meta_put(now);
    }
    meta_put(before);
    arena_fini(&arena);
}
