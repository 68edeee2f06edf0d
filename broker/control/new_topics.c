#include "control/new_topics.h"

#include "admin/admin_service.h"
#include "api/broker.h"
#include "base/mem.h"
#include "base/must.h"
#include "topics/topic_configs.h"

/* One request's reads. */
struct reads {
    struct broker *broker;
    new_topics_fn *fn;
    void *arg;
    int32_t outstanding; /* plus one while they are being started */
    enum err err;
};

struct read {
    struct reads *reads;
    struct str topic; /* the request's */
};

static void reads_settle(struct reads *reads)
{
    must(reads->outstanding > 0);
    if (--reads->outstanding == 0) {
        reads->fn(reads->arg, reads->err);
        mem_free(reads);
    }
}

static void on_read(void *arg, enum err err, const struct znode_config *config, int32_t version)
{
    struct read *read = arg;
    struct reads *reads = read->reads;
    (void)version;
    if (err == ERR_OK) {
        topic_configs_take(reads->broker->topic_configs, read->topic, config);
    } else {
        reads->err = err;
    }
    mem_free(read);
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
    *reads = (struct reads){.broker = broker, .fn = fn, .arg = arg, .outstanding = 1};
    for (size_t i = 0; i < request->n_topics; i++) {
        if (has_new_log(broker, request->topics[i])) {
            struct read *read = mem_new(struct read);
            read->reads = reads;
            read->topic = control_str(request->topics[i]->name);
            reads->outstanding++;
            admin_read_config(admin_service_admin(broker->admin), "topics", read->topic, on_read,
                              read);
        }
    }
    reads_settle(reads);
}
