#include "control/control_apply.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "control/control.h"
#include "control/heard_topics.h"
#include "control/new_topics.h"
#include "control/offsets_topic.h"
#include "control/replicas.h"
#include "control/strays.h"
#include "control/update_metadata.h"
#include "groups/groups.h"
#include "topics/topic_configs.h"

#define LOGGER "state.change.logger"

/* One request, waiting or in work. */
struct pending {
    struct list link;
    struct arena arena;
    const Barnabas__Control__Request *request;
    control_reply_fn *fn;
    void *arg;
    struct control_apply *apply;
};

struct control_apply {
    struct broker *broker;
    struct replicas *replicas;
    struct offsets_topic *offsets_topic;
    int32_t controller_epoch; /* the last accepted */
    struct heard_topics *heard;
    int64_t sequence;  /* of the last request in that epoch */
    struct list queue; /* of struct pending; the head is in work */
    bool working;
    bool moving;  /* the request in work is with the partitions */
    bool stopped; /* nothing is done with partitions any more */
    void (*stop_fn)(void *arg);
    void *stop_arg;
    void (*on_metadata)(void *arg, int64_t broker_epoch);
    void *on_metadata_arg;
};

struct control_apply *control_apply_new(struct broker *broker,
                                        void (*on_metadata)(void *arg, int64_t broker_epoch),
                                        void *arg)
{
    struct control_apply *apply = mem_new(struct control_apply);
    apply->broker = broker;
    apply->replicas = replicas_new(broker);
    apply->offsets_topic = offsets_topic_new(broker);
    apply->controller_epoch = -1;
    apply->sequence = -1;
    apply->heard = heard_topics_new(broker);
    apply->on_metadata = on_metadata;
    apply->on_metadata_arg = arg;
    broker->control_request = control_apply_request;
    list_init(&apply->queue);
    return apply;
}

static void pending_free(struct pending *pending)
{
    arena_fini(&pending->arena);
    mem_free(pending);
}

void control_apply_free(struct control_apply *apply)
{
    struct list *link;
    while ((link = list_pop_front(&apply->queue)) != NULL) {
        pending_free(container_of(link, struct pending, link));
    }
    replicas_free(apply->replicas);
    offsets_topic_free(apply->offsets_topic);
    heard_topics_free(apply->heard);
    mem_free(apply);
}

struct replicas *control_apply_replicas(struct control_apply *apply)
{
    return apply->replicas;
}

static void work_next(struct control_apply *apply);

void control_apply_set_broker_epoch(struct control_apply *apply, int64_t broker_epoch)
{
    atomic_store(&apply->broker->epoch, broker_epoch);
    work_next(apply);
}

static void reply(struct pending *pending, Barnabas__Control__Response *response)
{
    struct buf out = {0};
    control_set(response, kind, pending->request->kind);
    control_response_pack(response, &out);
    pending->fn(pending->arg, (struct bytes){out.data, out.size});
    buf_fini(&out);
}

static void reply_error(struct pending *pending, enum err err)
{
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    control_set(&response, error, err_wire(err));
    reply(pending, &response);
}

/* The request at the head has been answered. */
static void work_done(struct pending *pending)
{
    struct control_apply *apply = pending->apply;
    must(apply->working);
    apply->working = false;
    list_remove(&pending->link);
    pending_free(pending);
    work_next(apply);
}

static void moved(struct control_apply *apply)
{
    if (apply->stop_fn != NULL) {
        apply->stop_fn(apply->stop_arg);
    }
}

static void on_replicas_done(void *arg, Barnabas__Control__Response *response)
{
    struct pending *pending = arg;
    struct control_apply *apply = pending->apply;
    apply->moving = false;
    reply(pending, response);
    work_done(pending);
    moved(apply);
}

/* Copies that are not ours any more are gone. */
static void on_strays_gone(void *arg, Barnabas__Control__Response *response)
{
    struct pending *pending = arg;
    struct control_apply *apply = pending->apply;
    (void)response;
    apply->moving = false;
    reply_error(pending, ERR_OK);
    work_done(pending);
    moved(apply);
}

void control_apply_stop(struct control_apply *apply, void (*fn)(void *arg), void *arg)
{
    apply->stopped = true;
    work_next(apply);
    if (apply->moving) {
        apply->stop_fn = fn;
        apply->stop_arg = arg;
    } else {
        fn(arg);
    }
}

static void lead(struct pending *pending)
{
    replicas_lead(pending->apply->replicas, pending->request->leader_and_isr, on_replicas_done,
                  pending);
}

/* Nobody is in the way any more. */
static void on_former_gone(void *arg, Barnabas__Control__Response *response)
{
    struct pending *pending = arg;
    struct control_apply *apply = pending->apply;
    (void)response;
    if (!apply->stopped) {
        lead(pending);
        return;
    }
    apply->moving = false;
    reply_error(pending, ERR_BROKER_NOT_AVAILABLE);
    work_done(pending);
    moved(apply);
}

/* What new logs are to be like is known. */
static void on_configs_read(void *arg, enum err err)
{
    struct pending *pending = arg;
    struct control_apply *apply = pending->apply;
    if (err != ERR_OK || apply->stopped) {
        /* Our session is over: the controller will say everything again to our next one. */
        reply_error(pending, ERR_STALE_BROKER_EPOCH);
        work_done(pending);
        return;
    }
    apply->moving = true;
    const Barnabas__Control__StopReplica *former =
        replicas_find_former(apply->replicas, &pending->arena, pending->request->leader_and_isr);
    if (former != NULL) {
        replicas_stop(apply->replicas, former, on_former_gone, pending);
    } else {
        lead(pending);
    }
}

/* Whose request is it? */
static enum err check_sender(struct control_apply *apply, const Barnabas__Control__Request *request)
{
    int64_t broker_epoch = atomic_load(&apply->broker->epoch);
    if (request->broker_epoch >= 0 && request->broker_epoch < broker_epoch) {
        log_warn(LOGGER, "refusing a request for an earlier life of this broker",
                 "kind=%s epoch=%lld mine=%lld", control_kind_name((int)request->kind),
                 (long long)request->broker_epoch, (long long)broker_epoch);
        return ERR_STALE_BROKER_EPOCH;
    }
    if (request->controller_epoch < apply->controller_epoch) {
        log_warn(LOGGER, "refusing a request of a deposed controller",
                 "kind=%s controller=%d epoch=%d current=%d", control_kind_name((int)request->kind),
                 request->controller_id, request->controller_epoch, apply->controller_epoch);
        return ERR_STALE_CONTROLLER_EPOCH;
    }
    bool same_epoch = request->controller_epoch == apply->controller_epoch;
    if (same_epoch && request->sequence >= 0 && request->sequence < apply->sequence) {
        log_warn(LOGGER, "refusing a request that newer ones have overtaken",
                 "kind=%s epoch=%d sequence=%lld current=%lld",
                 control_kind_name((int)request->kind), request->controller_epoch,
                 (long long)request->sequence, (long long)apply->sequence);
        return ERR_STALE_CONTROLLER_EPOCH;
    }
    apply->controller_epoch = request->controller_epoch;
    apply->sequence = request->sequence;
    return ERR_OK;
}

/* Topics of which a partition was deleted and none is left: nobody's offsets in them mean anything
 * any more. */
static void forget_deleted_topics(struct broker *broker,
                                  const Barnabas__Control__UpdateMetadata *update)
{
    struct meta *meta = meta_cell_get(&broker->meta);
    for (size_t i = 0; i < update->n_topics; i++) {
        const Barnabas__Control__UpdateMetadataTopic *topic = update->topics[i];
        bool deleted = false;
        for (size_t j = 0; j < topic->n_partitions && !deleted; j++) {
            deleted = topic->partitions[j]->leader == CONTROL_LEADER_DURING_DELETE;
        }
        if (deleted && meta_find(meta, control_str(topic->name)) == NULL) {
            heard_topics_gone(broker, control_str(topic->name));
        }
    }
    meta_put(meta);
}

/* Nothing of the old topic is the new one's: neither what groups committed nor its values. */
static void on_replaced(void *arg, struct str topic)
{
    struct broker *broker = arg;
    log_info(LOGGER, "a topic was made again, and its deletion missed", "topic=%.*s",
             STR_ARG(topic));
    groups_topic_deleted(&broker->parts, topic);
    topic_configs_forget(broker->topic_configs, topic);
}

static void update_metadata(struct control_apply *apply, struct pending *pending)
{
    struct meta *before =
        heard_topics_complete(apply->heard) ? meta_cell_get(&apply->broker->meta) : NULL;
    update_metadata_apply(&apply->broker->meta, pending->request->controller_id,
                          pending->request->update_metadata, on_replaced, apply->broker);
    forget_deleted_topics(apply->broker, pending->request->update_metadata);
    heard_topics_note(apply->heard, pending->request);
    new_topics_heard(apply->broker, before, pending->request->update_metadata);
    meta_put(before);
    offsets_topic_look(apply->offsets_topic);
    bool complete = pending->request->update_metadata->complete;
    apply->on_metadata(apply->on_metadata_arg, complete ? pending->request->broker_epoch : -1);
    const Barnabas__Control__StopReplica *strays = strays_find(
        &pending->arena, apply->broker->logs, apply->broker->id, pending->request->update_metadata);
    if (strays == NULL) {
        reply_error(pending, ERR_OK);
        work_done(pending);
        return;
    }
    apply->moving = true;
    replicas_stop(apply->replicas, strays, on_strays_gone, pending);
}

/* What a request is answered while this broker stops: nothing is done with partitions any more, but
 * clients are still told where their leaders are now. */
static enum err take_while_stopping(struct control_apply *apply, struct pending *pending)
{
    if (pending->request->kind != BARNABAS__CONTROL__KIND__UPDATE_METADATA) {
        return ERR_BROKER_NOT_AVAILABLE;
    }
    enum err err = check_sender(apply, pending->request);
    if (err == ERR_OK) {
        update_metadata_apply(&apply->broker->meta, pending->request->controller_id,
                              pending->request->update_metadata, NULL, NULL);
    }
    return err;
}

static void work_start(struct control_apply *apply, struct pending *pending)
{
    enum err err = apply->stopped ? take_while_stopping(apply, pending)
                                  : check_sender(apply, pending->request);
    if (err != ERR_OK || apply->stopped) {
        reply_error(pending, err);
        work_done(pending);
        return;
    }
    switch (pending->request->kind) {
    case BARNABAS__CONTROL__KIND__LEADER_AND_ISR:
        new_topics_read(apply->broker, pending->request->leader_and_isr, on_configs_read, pending);
        return;
    case BARNABAS__CONTROL__KIND__STOP_REPLICA:
        apply->moving = true;
        replicas_stop(apply->replicas, pending->request->stop_replica, on_replicas_done, pending);
        return;
    case BARNABAS__CONTROL__KIND__UPDATE_METADATA:
        update_metadata(apply, pending);
        return;
    default:
        reply_error(pending, ERR_UNSUPPORTED_VERSION);
        work_done(pending);
        return;
    }
}

/* Before our first registration a request waits: it may well be meant for our earlier life, whose
 * registration has not expired yet, and which may have had what we lost. */
static void work_next(struct control_apply *apply)
{
    bool registered = atomic_load(&apply->broker->epoch) >= 0;
    if (!apply->working && !list_empty(&apply->queue) && (registered || apply->stopped)) {
        apply->working = true;
        work_start(apply, container_of(apply->queue.next, struct pending, link));
    }
}

void control_apply_request(struct control_apply *apply, struct bytes bytes, control_reply_fn *fn,
                           void *arg)
{
    struct pending *pending = mem_new(struct pending);
    struct errmsg msg;
    pending->apply = apply;
    pending->fn = fn;
    pending->arg = arg;
    enum err err = control_request_unpack(&pending->arena, bytes, &pending->request, &msg);
    if (err != ERR_OK) {
        Barnabas__Control__Request none = BARNABAS__CONTROL__REQUEST__INIT;
        log_warn(LOGGER, "malformed control message", "%s", msg.text);
        pending->request = &none;
        reply_error(pending, err);
        pending_free(pending);
        return;
    }
    list_push_back(&apply->queue, &pending->link);
    work_next(apply);
}
