#include "replica/alter.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.server.DefaultAlterPartitionManager"

/* One wish. */
struct wish {
    struct list link;
    struct loop_msg arrive;
    struct actor_msg answer;
    struct alter *alter;
    struct part *part;
    struct isr_proposal proposal;
    enum err err; /* the answer: with ERR_OK, `state` */
    struct isr_state state;
    int32_t members[PART_REPLICAS_MAX];
};

struct alter {
    struct controller_link *link;
    struct list waiting; /* of struct wish */
    struct list flying;
    struct loop_task send_task;
    struct loop_timer retry;
};

static void wish_free(struct wish *wish)
{
    list_remove(&wish->link);
    isr_proposal_fini(&wish->proposal);
    part_put(wish->part);
    mem_free(wish);
}

static void send_later(struct alter *alter)
{
    if (list_empty(&alter->flying) && !loop_timer_pending(&alter->retry)) {
        loop_defer(alter->link->loop, &alter->send_task);
    }
}

/* ---- the request ---- */

static Barnabas__Control__AlterPartitionTopic *topic_message(struct arena *arena, struct wish *wish)
{
    Barnabas__Control__AlterPartitionTopic *topic =
        arena_new(arena, Barnabas__Control__AlterPartitionTopic);
    Barnabas__Control__AlterPartitionPartition *partition =
        arena_new(arena, Barnabas__Control__AlterPartitionPartition);
    const struct isr_proposal *proposal = &wish->proposal;
    barnabas__control__alter_partition_topic__init(topic);
    barnabas__control__alter_partition_partition__init(partition);
    topic->name = arena_cstr(arena, wish->part->topic);
    control_set(topic, topic_id, control_topic_id(arena, wish->part->topic_id));
    topic->partitions = arena_array(arena, Barnabas__Control__AlterPartitionPartition *, 1);
    topic->partitions[0] = partition;
    topic->n_partitions = 1;
    control_set(partition, partition, wish->part->index);
    control_set(partition, leader_epoch, proposal->leader_epoch);
    control_set(partition, partition_epoch, proposal->partition_epoch);
    partition->isr = proposal->members;
    partition->n_isr = (size_t)proposal->count;
    partition->isr_epochs = proposal->epochs;
    partition->n_isr_epochs = (size_t)proposal->count;
    return topic;
}

static bool outdated(const struct wish *wish)
{
    struct part_now now = part_now(wish->part);
    return now.role != PART_LEADER || now.leader_epoch != wish->proposal.leader_epoch;
}

/* Move what is to be sent now to `flying`. */
static int32_t take_off(struct alter *alter)
{
    int32_t count = 0;
    list_for_each_safe (link, &alter->waiting) {
        struct wish *wish = container_of(link, struct wish, link);
        if (outdated(wish)) {
            wish_free(wish);
        } else if (count < ALTER_REQUEST_MAX) {
            list_remove(&wish->link);
            list_push_back(&alter->flying, &wish->link);
            count++;
        }
    }
    return count;
}

static void on_response(void *arg, enum err err, const Barnabas__Control__Response *response);

static void on_send(struct loop_task *task)
{
    struct alter *alter = container_of(task, struct alter, send_task);
    if (!list_empty(&alter->flying)) {
        return;
    }
    int32_t count = take_off(alter);
    if (count == 0) {
        return;
    }
    struct arena arena = {0};
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    Barnabas__Control__AlterPartition body = BARNABAS__CONTROL__ALTER_PARTITION__INIT;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__ALTER_PARTITION);
    body.topics = arena_array(&arena, Barnabas__Control__AlterPartitionTopic *, (size_t)count);
    list_for_each (link, &alter->flying) {
        body.topics[body.n_topics++] = topic_message(&arena, container_of(link, struct wish, link));
    }
    request.alter_partition = &body;
    controller_link_ask(alter->link, &request, on_response, alter);
    arena_fini(&arena);
}

static void on_retry(struct loop_timer *timer)
{
    send_later(container_of(timer, struct alter, retry));
}

/* ---- the answer ---- */

static void on_answer(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct wish *wish = container_of(msg, struct wish, answer);
    part_altered(part, wish->proposal.leader_epoch, wish->err,
                 wish->err == ERR_OK ? &wish->state : NULL);
    wish_free(wish);
}

static void answer(struct wish *wish)
{
    list_remove(&wish->link);
    wish->answer = (struct actor_msg){.fn = on_answer};
    part_post(wish->part, &wish->answer);
}

/* Errors that say that the partition is another's now, or that the wish cannot be granted. The rest
 * may pass: also OPERATION_NOT_ATTEMPTED, which says nothing about an earlier copy of the wish. Of
 * a topic that is there and cannot be read the controller does not say that it is unknown. */
static bool is_final(enum err err)
{
    switch (err) {
    case ERR_OK:
    case ERR_INELIGIBLE_REPLICA:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_INVALID_UPDATE_VERSION:
    case ERR_INVALID_REQUEST:
    case ERR_NEW_LEADER_ELECTED:
        return true;
    default:
        return false;
    }
}

static void take_result(struct wish *wish, const Barnabas__Control__AlterPartitionResult *result)
{
    wish->err = err_from_wire((int16_t)result->error);
    if (wish->err == ERR_OK && result->n_isr > PART_REPLICAS_MAX) {
        wish->err = ERR_INVALID_REQUEST;
    }
    if (wish->err != ERR_OK) {
        log_info(LOGGER, "an ISR change was refused", "tp=%s-%d epoch=%d error=\"%s\"",
                 wish->part->topic.ptr, wish->part->index, wish->proposal.leader_epoch,
                 err_text(wish->err));
        return;
    }
    if (result->n_isr > 0) {
        memcpy(wish->members, result->isr, result->n_isr * sizeof(wish->members[0]));
    }
    wish->state = (struct isr_state){
        .leader_epoch = result->leader_epoch,
        .partition_epoch = result->partition_epoch,
        .members = wish->members,
        .members_count = (int32_t)result->n_isr,
        .frozen = result->n_eligible_replicas > 0,
    };
    log_info(LOGGER, "ISR changed", "tp=%s-%d epoch=%d members=%d version=%d",
             wish->part->topic.ptr, wish->part->index, result->leader_epoch,
             wish->state.members_count, result->partition_epoch);
}

/* Results stand in the order of the wishes: the search begins at *at, where the last one was. */
static const Barnabas__Control__AlterPartitionResult *
find_result(const Barnabas__Control__AlterPartitionResponse *body, const struct wish *wish,
            size_t *at)
{
    for (size_t i = 0; i < body->n_topics; i++) {
        size_t next = (*at + i) % body->n_topics;
        const Barnabas__Control__AlterPartitionTopicResult *topic = body->topics[next];
        if (!str_eq(control_str(topic->name), wish->part->topic)) {
            continue;
        }
        for (size_t j = 0; j < topic->n_partitions; j++) {
            if (topic->partitions[j]->partition == wish->part->index) {
                *at = next;
                return topic->partitions[j];
            }
        }
    }
    return NULL;
}

/* Give out the results; what has none, or one that may pass, waits again. */
static void take_response(struct alter *alter,
                          const Barnabas__Control__AlterPartitionResponse *body)
{
    size_t at = 0;
    list_for_each_safe (link, &alter->flying) {
        struct wish *wish = container_of(link, struct wish, link);
        const Barnabas__Control__AlterPartitionResult *result = find_result(body, wish, &at);
        if (result != NULL && is_final(err_from_wire((int16_t)result->error))) {
            take_result(wish, result);
            answer(wish);
        }
    }
}

static void on_response(void *arg, enum err err, const Barnabas__Control__Response *response)
{
    struct alter *alter = arg;
    bool answered = err == ERR_OK && response->error == 0 && response->alter_partition != NULL;
    if (answered) {
        take_response(alter, response->alter_partition);
    }
    bool again = !list_empty(&alter->flying);
    list_splice_back(&alter->waiting, &alter->flying);
    if (again) {
        loop_timer_set(alter->link->loop, &alter->retry,
                       loop_now_ms(alter->link->loop) + ALTER_RETRY_MS);
    } else {
        send_later(alter);
    }
}

/* ---- life ---- */

static void on_arrive(struct loop_msg *msg)
{
    struct wish *wish = container_of(msg, struct wish, arrive);
    struct alter *alter = wish->alter;
    list_push_back(&alter->waiting, &wish->link);
    send_later(alter);
}

void alter_propose(struct alter *alter, struct part *part, const struct isr_proposal *proposal)
{
    struct wish *wish = mem_new(struct wish);
    list_init(&wish->link);
    wish->alter = alter;
    wish->part = part_get(part);
    wish->proposal = *proposal;
    wish->arrive.fn = on_arrive;
    loop_post(alter->link->loop, &wish->arrive);
}

struct alter *alter_new(struct controller_link *link)
{
    struct alter *alter = mem_new(struct alter);
    alter->link = link;
    list_init(&alter->waiting);
    list_init(&alter->flying);
    loop_task_init(&alter->send_task, on_send);
    loop_timer_init(&alter->retry, on_retry);
    return alter;
}

void alter_free(struct alter *alter)
{
    loop_task_cancel(&alter->send_task);
    loop_timer_cancel(&alter->retry);
    list_splice_back(&alter->waiting, &alter->flying);
    list_for_each_safe (link, &alter->waiting) {
        wish_free(container_of(link, struct wish, link));
    }
    mem_free(alter);
}
