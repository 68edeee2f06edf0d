#include "control/heard_topics.h"

#include "api/broker.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "controller/ctl_driver.h"
#include "groups/groups.h"
#include "topics/topic_configs.h"

#define LOGGER "kafka.server.MetadataCache"

struct name {
    UT_hash_handle hh;
    char *text;
};

struct heard_topics {
    struct broker *broker;
    int32_t controller_epoch;
    int64_t broker_epoch;
    bool collecting;
    bool complete;
    struct name *names;
};

struct heard_topics *heard_topics_new(struct broker *broker)
{
    struct heard_topics *heard = mem_new(struct heard_topics);
    heard->broker = broker;
    heard->controller_epoch = -1;
    heard->broker_epoch = -1;
    return heard;
}

static void clear(struct heard_topics *heard)
{
    struct name *name;
    struct name *next;
    HASH_ITER (hh, heard->names, name, next) {
        HASH_DEL(heard->names, name);
        mem_free(name->text);
        mem_free(name);
    }
}

void heard_topics_free(struct heard_topics *heard)
{
    clear(heard);
    mem_free(heard);
}

static struct name *find(const struct heard_topics *heard, struct str topic)
{
    struct name *name;
    HASH_FIND(hh, heard->names, topic.ptr, topic.size, name);
    return name;
}

static void remember(struct heard_topics *heard, struct str topic)
{
    if (find(heard, topic) == NULL) {
        struct name *name = mem_new(struct name);
        name->text = str_dup(topic);
        HASH_ADD_KEYPTR(hh, heard->names, name->text, topic.size, name);
    }
}

static void forget_values(struct broker *broker, struct str topic)
{
    topic_configs_forget(broker->topic_configs, topic);
    ctl_driver_set_unclean(broker->ctl_driver, topic, -1);
    ctl_driver_set_min_insync(broker->ctl_driver, topic, 0);
}

void heard_topics_gone(struct broker *broker, struct str topic)
{
    groups_topic_deleted(&broker->parts, topic);
    forget_values(broker, topic);
}

/* Where even the topic of committed offsets is gone, nobody deleted topics: ZooKeeper has lost its
 * data. What was committed is only in our logs, and counts again when the data is brought back. */
static bool offsets_lost(const struct heard_topics *heard, const struct meta *meta)
{
    struct str offsets = STR("__consumer_offsets");
    bool lost = meta_find(meta, offsets) != NULL && find(heard, offsets) == NULL;
    if (lost) {
        log_error(
            LOGGER,
            "the cluster knows __consumer_offsets no more, as if ZooKeeper had lost its data; "
            "what groups have committed is kept",
            "topics=%d named=%u", meta->topics_count, HASH_COUNT(heard->names));
    }
    return lost;
}

static void forget(struct heard_topics *heard, struct meta_edit *edit,
                   const struct meta_topic *topic, bool keep_offsets)
{
    log_info(LOGGER, "forgetting a topic that is gone", "topic=%.*s", STR_ARG(topic->name));
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        meta_edit_remove(edit, topic->name, topic->partitions[i].index);
    }
    if (!keep_offsets) {
        groups_topic_deleted(&heard->broker->parts, topic->name);
    }
    forget_values(heard->broker, topic->name);
}

static void forget_the_rest(struct heard_topics *heard)
{
    struct meta *meta = meta_cell_get(&heard->broker->meta);
    struct meta_edit *edit = NULL;
    bool keep_offsets = offsets_lost(heard, meta);
    for (int32_t i = 0; i < meta->topics_count; i++) {
        if (find(heard, meta->by_name[i]->name) == NULL) {
            edit = edit != NULL ? edit : meta_edit_begin(&heard->broker->meta);
            forget(heard, edit, meta->by_name[i], keep_offsets);
        }
    }
    if (edit != NULL) {
        meta_edit_commit(edit);
    }
    meta_put(meta);
}

void heard_topics_note(struct heard_topics *heard, const Barnabas__Control__Request *request)
{
    const Barnabas__Control__UpdateMetadata *update = request->update_metadata;
    if (request->controller_epoch != heard->controller_epoch ||
        request->broker_epoch != heard->broker_epoch) {
        heard->controller_epoch = request->controller_epoch;
        heard->broker_epoch = request->broker_epoch;
        heard->collecting = true;
        clear(heard);
    }
    if (!heard->collecting) {
        return;
    }
    for (size_t i = 0; i < update->n_topics; i++) {
        remember(heard, control_str(update->topics[i]->name));
    }
    if (update->complete) {
        forget_the_rest(heard);
        heard->complete = true;
        heard->collecting = false;
        clear(heard);
    }
}

bool heard_topics_complete(const struct heard_topics *heard)
{
    return heard->complete;
}
