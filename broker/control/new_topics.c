#include "control/new_topics.h"

#include "api/broker.h"
#include "base/mem.h"
#include "base/must.h"
#include "controller/config_changes.h"
#include "topics/topic_configs.h"

/* One request's reads. */
struct reads {
    new_topics_fn *fn;
    void *arg;
    int32_t outstanding; /* plus one while they are being started */
    enum err err;
};

static void reads_settle(struct reads *reads)
{
    must(reads->outstanding > 0);
    if (--reads->outstanding == 0) {
        reads->fn(reads->arg, reads->err);
        mem_free(reads);
    }
}

static void on_read(void *arg, enum err err)
{
    struct reads *reads = arg;
    if (err == ERR_ZK_SESSION_EXPIRED) {
        reads->err = err;
    }
    reads_settle(reads);
}

static bool has_new_log(struct broker *broker, const Barnabas__Control__LeaderAndIsrTopic *topic)
{
    for (size_t i = 0; i < topic->n_partitions; i++) {
        if (logs_find(broker->logs, control_str(topic->name), topic->partitions[i]->partition) ==
            NULL) {
            return true;
        }
    }
    return false;
}

void new_topics_read(struct broker *broker, const Barnabas__Control__LeaderAndIsr *request,
                     new_topics_fn *fn, void *arg)
{
    struct reads *reads = mem_new(struct reads);
    *reads = (struct reads){.fn = fn, .arg = arg, .outstanding = 1};
    for (size_t i = 0; i < request->n_topics; i++) {
        if (has_new_log(broker, request->topics[i])) {
            reads->outstanding++;
            config_changes_read(broker->config_changes, STR("topics"),
                                control_str(request->topics[i]->name), on_read, reads);
        }
    }
    reads_settle(reads);
}

/* Then it was read for new_topics_read(). */
static bool has_log(struct broker *broker, const Barnabas__Control__UpdateMetadataTopic *topic)
{
    for (size_t i = 0; i < topic->n_partitions; i++) {
        if (logs_find(broker->logs, control_str(topic->name), topic->partitions[i]->partition) !=
            NULL) {
            return true;
        }
    }
    return false;
}

void new_topics_heard(struct broker *broker, const struct meta *before,
                      const Barnabas__Control__UpdateMetadata *update)
{
    struct meta *now = meta_cell_get(&broker->meta);
    for (size_t i = 0; i < update->n_topics; i++) {
        const Barnabas__Control__UpdateMetadataTopic *topic = update->topics[i];
        struct str name = control_str(topic->name);
        bool known = topic_configs_known(broker->topic_configs, name);
        bool appears = before != NULL && meta_find(before, name) == NULL;
        if (meta_find(now, name) != NULL && (!known || (appears && !has_log(broker, topic)))) {
            config_changes_read(broker->config_changes, STR("topics"), name, NULL, NULL);
        }
    }
    meta_put(now);
}
