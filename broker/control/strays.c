#include "control/strays.h"

typedef Barnabas__Control__UpdateMetadataTopic topic_type;
typedef Barnabas__Control__UpdateMetadataPartition partition_type;

static bool listed(const int32_t *ids, size_t count, int32_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* What is left of a log whose making failed has no id and no record. */
static bool is_empty(const struct logs_entry *entry)
{
    return plog_offset_end(entry->log) == plog_log_start(entry->log);
}

static bool of_another_topic(const struct logs_entry *entry, struct uuid topic_id)
{
    return !uuid_is_zero(entry->topic_id) && !uuid_eq(entry->topic_id, topic_id);
}

static bool is_stray(const struct logs_entry *entry, int32_t broker_id, struct uuid topic_id,
                     const partition_type *partition)
{
    bool ids_known = (!uuid_is_zero(entry->topic_id) || is_empty(entry)) && !uuid_is_zero(topic_id);
    bool ours = listed(partition->replicas, partition->n_replicas, broker_id) ||
                listed(partition->isr, partition->n_isr, broker_id);
    if (!ids_known || ours || partition->n_replicas == 0) {
        return false;
    }
    bool other = of_another_topic(entry, topic_id);
    if (partition->leader == CONTROL_LEADER_DURING_DELETE) {
        /* Of another topic: the one of that name before ours, whose end we hear of late. */
        return !other;
    }
    return other || (partition->leader >= 0 && partition->n_isr > 0);
}

static void add(struct arena *arena, Barnabas__Control__StopReplicaTopic *topic, int32_t index,
                bool set_aside)
{
    Barnabas__Control__StopReplicaPartition *partition =
        arena_new(arena, Barnabas__Control__StopReplicaPartition);
    barnabas__control__stop_replica_partition__init(partition);
    control_set(partition, partition, index);
    control_set(partition, leader_epoch, CONTROL_EPOCH_UNKNOWN);
    control_set(partition, delete_, !set_aside);
    control_set(partition, set_aside, set_aside);
    topic->partitions[topic->n_partitions++] = partition;
}

static Barnabas__Control__StopReplicaTopic *look(struct arena *arena, struct logs *logs,
                                                 int32_t broker_id, const topic_type *from)
{
    struct uuid topic_id = control_topic_id_get(from->topic_id);
    Barnabas__Control__StopReplicaTopic *topic = NULL;
    for (size_t i = 0; i < from->n_partitions; i++) {
        const partition_type *partition = from->partitions[i];
        struct logs_entry *entry = logs_find(logs, control_str(from->name), partition->partition);
        if (entry == NULL || !is_stray(entry, broker_id, topic_id, partition)) {
            continue;
        }
        if (topic == NULL) {
            topic = arena_new(arena, Barnabas__Control__StopReplicaTopic);
            barnabas__control__stop_replica_topic__init(topic);
            topic->name = from->name;
            topic->partitions =
                arena_array(arena, Barnabas__Control__StopReplicaPartition *, from->n_partitions);
        }
        add(arena, topic, partition->partition,
            of_another_topic(entry, topic_id) && !is_empty(entry));
    }
    return topic;
}

const Barnabas__Control__StopReplica *strays_find(struct arena *arena, struct logs *logs,
                                                  int32_t broker_id,
                                                  const Barnabas__Control__UpdateMetadata *update)
{
    Barnabas__Control__StopReplica *found = NULL;
    for (size_t i = 0; i < update->n_topics; i++) {
        Barnabas__Control__StopReplicaTopic *topic =
            look(arena, logs, broker_id, update->topics[i]);
        if (topic == NULL) {
            continue;
        }
        if (found == NULL) {
            found = arena_new(arena, Barnabas__Control__StopReplica);
            barnabas__control__stop_replica__init(found);
            found->topics =
                arena_array(arena, Barnabas__Control__StopReplicaTopic *, update->n_topics);
        }
        found->topics[found->n_topics++] = topic;
    }
    return found;
}
