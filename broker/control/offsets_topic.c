#include "control/offsets_topic.h"

#include "admin/admin_service.h"
#include "api/broker.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "groups/groups.h"

#define LOGGER "kafka.coordinator.group.GroupCoordinator"

struct offsets_topic {
    struct broker *broker;
    bool reading;
};

struct offsets_topic *offsets_topic_new(struct broker *broker)
{
    struct offsets_topic *topic = mem_new(struct offsets_topic);
    topic->broker = broker;
    return topic;
}

void offsets_topic_free(struct offsets_topic *topic)
{
    must(!topic->reading);
    mem_free(topic);
}

static bool exists(struct broker *broker)
{
    struct meta *meta = meta_cell_get(&broker->meta);
    bool found = meta_find(meta, STR("__consumer_offsets")) != NULL;
    meta_put(meta);
    return found;
}

static void on_read(void *arg, enum err err, const struct znode_topic *node)
{
    struct offsets_topic *topic = arg;
    topic->reading = false;
    if (err != ERR_OK) {
        /* The session ended, or the topic is gone: the metadata that follows brings us back. */
        log_info(LOGGER, "cannot tell the number of partitions yet",
                 "topic=__consumer_offsets "
                 "error=%s",
                 err_name(err));
    } else if (exists(topic->broker)) {
        groups_set_partitions_count(topic->broker->groups, node->partitions_count);
    }
}

void offsets_topic_look(struct offsets_topic *topic)
{
    struct broker *broker = topic->broker;
    if (!exists(broker)) {
        groups_set_partitions_count(broker->groups, 0);
    } else if (groups_partitions_count(broker->groups) == 0 && !topic->reading) {
        topic->reading = true;
        admin_read_topic(admin_service_admin(broker->admin), STR("__consumer_offsets"), on_read,
                         topic);
    }
}
