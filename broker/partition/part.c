#include "partition/part.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"
#include "partition/part_internal.h"

#define LOGGER "kafka.cluster.Partition"

static void part_turn_end(struct actor *actor);
static void part_on_reap(struct loop_msg *msg);

/* ---- life ---- */

static struct part *of_wait(struct wait_source *source)
{
    return container_of(source, struct part, wait);
}

static void wait_get(struct wait_source *source)
{
    part_get(of_wait(source));
}

static void wait_put(struct wait_source *source)
{
    part_put(of_wait(source));
}

static struct text *hold_name(struct str topic, struct plog *log)
{
    if (str_eq(topic, plog_topic(log))) {
        return plog_topic_hold(log);
    }
    return text_new(topic);
}

struct part *part_new(const struct part_options *options, struct plog *log, int64_t offset_hw)
{
    struct part *part = mem_new(struct part);
    actor_init(&part->actor, part_turn_end);
    atomic_init(&part->count, 1);
    wait_source_init(&part->wait, options->loop_count, wait_get, wait_put);
    part->name = hold_name(options->topic, log);
    part->topic = str_of(part->name->chars);
    part->topic_id = options->topic_id;
    part->index = options->index;
    part->clock = options->clock;
    part->home = options->home;
    part->reap.fn = part_on_reap;
    part->leader_id = -1;
    part->leader_epoch = -1;
    part->fetched_from = -1;
    part->host = options->host;
    isr_init(&part->isr, options->my_id, options->lag_ms);
    part->log = plog_hold(log);
    part->gathered_end = &part->gathered;
    atomic_init(&part->now, 0);
    int64_t start = plog_log_start(log);
    int64_t end = plog_offset_end(log);
    offset_hw = offset_hw < start ? start : offset_hw > end ? end : offset_hw;
    atomic_init(&part->offset_hw, offset_hw);
    return part;
}

struct part *part_get(struct part *part)
{
    ref_hold(&part->count);
    return part;
}

static void part_free(struct part *part)
{
    if (part->hooks != NULL) {
        part->hooks->on_free(part->hooks_arg);
    }
    isr_fini(&part->isr);
    mem_free(part->syncs);
    plog_release(part->log);
    wait_source_fini(&part->wait);
    actor_fini(&part->actor);
    text_put(part->name);
    mem_free(part);
}

/* The last reference may have been dropped by a message inside the actor, which is still on its way
 * out. */
static void part_on_reap(struct loop_msg *msg)
{
    struct part *part = container_of(msg, struct part, reap);
    if (actor_idle(&part->actor)) {
        part_free(part);
    } else {
        loop_post(part->home, &part->reap);
    }
}

void part_put(struct part *part)
{
    if (part != NULL && ref_drop(&part->count)) {
        loop_post(part->home, &part->reap);
    }
}

/* ---- what is published ---- */

static void publish_role(struct part *part, enum part_role role)
{
    uint64_t packed = (uint64_t)(uint32_t)part->leader_epoch << 32 | (uint64_t)role;
    atomic_store_explicit(&part->now, packed, memory_order_release);
    part->wake = true;
}

void part_publish_hw(struct part *part, int64_t offset_hw)
{
    int64_t before = atomic_load_explicit(&part->offset_hw, memory_order_relaxed);
    if (offset_hw == before) {
        return;
    }
    must(offset_hw <= plog_offset_end(part->log)); /* P1 */
    atomic_store_explicit(&part->offset_hw, offset_hw, memory_order_release);
    part->wake = true;
    part->hw_moved = true;
}

/* Is what was appended in `leader_epoch` still this leader's to acknowledge? Later epochs change
 * nothing in its log as long as it led in all of them; where it followed in between, the log may
 * have been shortened. leading_since is stored before the role: who sees a leadership sees where it
 * began, or where a later one did, which only says no too early. */
static bool still_leads(const struct part *part, int32_t leader_epoch)
{
    struct part_now now = part_now(part);
    return now.role == PART_LEADER && leader_epoch <= now.leader_epoch &&
           leader_epoch >= atomic_load_explicit(&part->leading_since, memory_order_acquire);
}

/* `reached` was read before it is asked who leads: read afterwards it might be that of a follower,
 * of a log which has been cut and has others' records there. */
static enum part_fate fate(const struct part *part, int64_t reached, int32_t leader_epoch,
                           int64_t offset_end)
{
    if (!still_leads(part, leader_epoch)) {
        return PART_FATE_UNKNOWN;
    }
    return reached < offset_end ? PART_FATE_OPEN : PART_FATE_KEPT;
}

enum part_fate part_fate_committed(const struct part *part, int32_t leader_epoch,
                                   int64_t offset_end)
{
    int64_t offset_hw = atomic_load_explicit(&part->offset_hw, memory_order_acquire);
    return fate(part, offset_hw, leader_epoch, offset_end);
}

enum part_fate part_fate_durable(const struct part *part, int32_t leader_epoch, int64_t offset_end)
{
    return fate(part, part_offset_durable(part), leader_epoch, offset_end);
}

enum err part_check_epoch(struct part_now now, int32_t current_leader_epoch)
{
    if (current_leader_epoch < 0 || current_leader_epoch == now.leader_epoch) {
        return ERR_OK;
    }
    return current_leader_epoch < now.leader_epoch ? ERR_FENCED_LEADER_EPOCH
                                                   : ERR_UNKNOWN_LEADER_EPOCH;
}

bool part_enough_replicas(const struct part *part)
{
    return atomic_load_explicit(&part->enough, memory_order_acquire);
}

void part_publish_enough(struct part *part)
{
    isr_set_min_insync(
        &part->isr, atomic_load_explicit(&part->rules.min_insync_replicas, memory_order_relaxed));
    atomic_store_explicit(&part->enough, isr_enough(&part->isr), memory_order_release);
}

bool part_high_watermark_is_current(const struct part *part)
{
    return atomic_load_explicit(&part->offset_hw, memory_order_acquire) >=
           atomic_load_explicit(&part->offset_epoch_start, memory_order_acquire);
}

/* ---- appending ---- */

/* P4 */
static enum err append_check(struct part *part, const struct part_append *append)
{
    struct part_now now = part_now(part);
    if (now.role == PART_OFFLINE) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (now.role != PART_LEADER) {
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (append->expected_epoch >= 0 && append->expected_epoch != now.leader_epoch) {
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (append->acks == -1 && !isr_enough(&part->isr)) {
        return ERR_NOT_ENOUGH_REPLICAS;
    }
    return ERR_OK;
}

static void on_append(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct part_append *append = container_of(msg, struct part_append, call.msg);
    append->err = append_check(part, append);
    if (append->err != ERR_OK) {
        part_call_answer(&append->call);
        return;
    }
    append->next = NULL;
    *part->gathered_end = append;
    part->gathered_end = &append->next;
    part->gathered_count++;
}

void part_append(struct part *part, struct part_append *append)
{
    part_call_init(part, &append->call, on_append, append->records.size);
    actor_post_soon(&part->actor, &append->call.msg);
}

static void append_fill(struct part_append *append, const struct plog_batch *batch,
                        int32_t leader_epoch, int64_t log_start)
{
    append->err = batch->err;
    append->base_offset = batch->base_offset;
    append->offset_end = batch->last_offset + 1;
    append->append_time_ms = batch->append_time_ms;
    append->log_start_offset = log_start;
    append->leader_epoch = leader_epoch;
}

/* Write `count` appends, oldest first, in as few writes as the log can. */
static void append_write(struct part *part, struct part_append *first, int count)
{
    struct plog_batch batches[ACTOR_TURN_MESSAGES];
    must(count <= ACTOR_TURN_MESSAGES);
    struct part_append *append = first;
    for (int i = 0; i < count; i++, append = append->next) {
        batches[i] = (struct plog_batch){
            .data = (uint8_t *)(uintptr_t)append->records.data,
            .size = append->records.size,
            .header = append->header,
            .origin = append->coordinator ? PRODUCERS_COORDINATOR : PRODUCERS_CLIENT,
        };
    }
    int32_t epoch = part_now(part).leader_epoch;
    plog_append_leader(part->log, batches, count, epoch, clock_wall_ms(part->clock));
    append = first;
    for (int i = 0; i < count; i++, append = append->next) {
        append_fill(append, &batches[i], epoch, plog_log_start(part->log));
    }
    part->wake = true;
    part_advance_hw(part);
    part_flush_soon(part);
}

static void write_gathered(struct part *part)
{
    struct part_append *append = part->gathered;
    if (append == NULL) {
        return;
    }
    append_write(part, append, part->gathered_count);
    part->gathered = NULL;
    part->gathered_end = &part->gathered;
    part->gathered_count = 0;
    while (append != NULL) {
        struct part_append *next = append->next;
        part_call_answer(&append->call);
        append = next;
    }
}

enum err part_append_here(struct part *part, struct part_append *append)
{
    must(actor_here(&part->actor));
    append->err = append_check(part, append);
    if (append->err == ERR_OK) {
        write_gathered(part); /* what came before stays before */
        append->next = NULL;
        append_write(part, append, 1);
    }
    return append->err;
}

/* What DeleteRecords waits for. */
static void publish_low(struct part *part)
{
    if (part_now(part).role != PART_LEADER) {
        return;
    }
    int64_t low = isr_low_watermark(&part->isr, plog_log_start(part->log));
    if (low != atomic_load_explicit(&part->offset_low, memory_order_relaxed)) {
        atomic_store_explicit(&part->offset_low, low, memory_order_release);
        part->wake = true;
    }
}

/* The end of a turn: write, publish, wake, and tell the coordinator that lives here. */
static void part_turn_end(struct actor *actor)
{
    struct part *part = container_of(actor, struct part, actor);
    write_gathered(part);
    while (part->hw_moved) {
        part->hw_moved = false;
        if (part->hooks != NULL && part_now(part).role == PART_LEADER) {
            /* It may append, which moves the high watermark again. */
            part->hooks->on_high_watermark(part->hooks_arg, atomic_load(&part->offset_hw));
        }
    }
    publish_low(part);
    if (part->wake) {
        part->wake = false;
        wait_wake(&part->wait);
    }
}

/* ---- leadership ---- */

static enum err become_leader(struct part *part, const struct isr_state *state)
{
    int64_t end = plog_offset_end(part->log);
    /* Before any append of this epoch: followers compare logs by where epochs begin. */
    enum err err = plog_begin_epoch(part->log, part->leader_epoch);
    if (err != ERR_OK) {
        return err;
    }
    isr_lead(&part->isr, state, end, clock_mono_ms(part->clock));
    part_publish_enough(part);
    atomic_store_explicit(&part->offset_epoch_start, end, memory_order_release);
    if (part_now(part).role != PART_LEADER) {
        atomic_store_explicit(&part->leading_since, part->leader_epoch, memory_order_release);
    }
    publish_role(part, PART_LEADER);
    part_advance_hw(part);
    if (part->hooks != NULL) {
        part->hooks->on_leader(part->hooks_arg, part->leader_epoch);
    }
    return ERR_OK;
}

static void become_follower(struct part *part)
{
    bool led = part_now(part).role == PART_LEADER;
    publish_role(part, PART_FOLLOWER);
    if (led && part->hooks != NULL) {
        part->hooks->on_not_leader(part->hooks_arg, part->leader_epoch);
    }
}

/* In an epoch that we know already: the replicas may have changed, and the controller that was to
 * begin an epoch with them be gone. */
static void take_replicas(struct part *part, const struct part_state *state)
{
    if (state->leader_epoch == part->leader_epoch && state->leader == part->isr.me &&
        part_now(part).role == PART_LEADER && state->replicas_count <= PART_REPLICAS_MAX) {
        isr_assign(&part->isr, state->replicas, state->replicas_count);
        part_publish_enough(part);
        part_advance_hw(part);
        part->wake = true;
    }
}

enum err part_apply(struct part *part, const struct part_state *state)
{
    must(actor_here(&part->actor));
    if (part->deleted) {
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (plog_failed(part->log)) {
        part_fail(part);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    take_replicas(part, state);
    if (state->leader_epoch <= part->leader_epoch || state->replicas_count > PART_REPLICAS_MAX ||
        state->isr_count > PART_REPLICAS_MAX) {
        return ERR_STALE_CONTROLLER_EPOCH;
    }
    write_gathered(part); /* what came in the old epoch stays in it */
    part_steps_release(part, ERR_FENCED_LEADER_EPOCH);
    part_flush_soon(part);
    part->leader_epoch = state->leader_epoch;
    part->leader_id = state->leader;
    if (state->leader != part->isr.me) {
        become_follower(part);
        return ERR_OK;
    }
    struct isr_state isr_state = {
        .leader_epoch = state->leader_epoch,
        .partition_epoch = state->partition_epoch,
        .replicas = state->replicas,
        .members = state->isr,
        .replicas_count = state->replicas_count,
        .members_count = state->isr_count,
        .frozen = state->frozen,
    };
    enum err err = become_leader(part, &isr_state);
    if (err != ERR_OK) {
        log_error(LOGGER, "cannot lead", "tp=%s-%d epoch=%d error=%s", part->topic.ptr, part->index,
                  part->leader_epoch, err_text(err));
        part_fail(part);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    return ERR_OK;
}

void part_fail(struct part *part)
{
    must(actor_here(&part->actor));
    bool led = part_now(part).role == PART_LEADER;
    part_steps_release(part, ERR_KAFKA_STORAGE_ERROR);
    publish_role(part, PART_OFFLINE);
    if (led && part->hooks != NULL) {
        part->hooks->on_not_leader(part->hooks_arg, part->leader_epoch);
    }
}

struct plog *part_take_log(struct part *part, struct plog *log)
{
    must(actor_here(&part->actor));
    struct plog *old = part->log;
    must(plog_offset_end(log) == plog_offset_end(old));
    part->log = plog_hold(log);
    part_advance_hw(part); /* in flush mode: all of it is on the disk */
    part->wake = true;
    return old;
}

void part_close(struct part *part)
{
    must(actor_here(&part->actor));
    write_gathered(part);
    bool led = part_now(part).role == PART_LEADER;
    part->deleted = true;
    part_steps_release(part, ERR_FENCED_LEADER_EPOCH);
    publish_role(part, PART_NONE);
    if (led && part->hooks != NULL) {
        part->hooks->on_not_leader(part->hooks_arg, part->leader_epoch);
    }
}

void part_hook(struct part *part, const struct part_hooks *hooks, void *arg)
{
    must(part->hooks == NULL);
    part->hooks = hooks;
    part->hooks_arg = arg;
}

/* ---- configuration and maintenance ---- */

void part_configure(struct part *part, const struct topic_config *config)
{
    struct part_rules *rules = &part->rules;
    atomic_store_explicit(&rules->max_message_bytes, config->max_message_bytes,
                          memory_order_relaxed);
    atomic_store_explicit(&rules->before_max_ms, config->message_timestamp_before_max_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&rules->after_max_ms, config->message_timestamp_after_max_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&rules->codec, config->compression_codec, memory_order_relaxed);
    atomic_store_explicit(&rules->level, config->compression_level, memory_order_relaxed);
    atomic_store_explicit(&rules->append_time,
                          config->message_timestamp_type == TOPIC_LOG_APPEND_TIME,
                          memory_order_relaxed);
    atomic_store_explicit(&rules->keys_required,
                          (config->cleanup_policy & TOPIC_CLEANUP_COMPACT) != 0,
                          memory_order_relaxed);
    atomic_store_explicit(&rules->min_insync_replicas, config->min_insync_replicas,
                          memory_order_relaxed);
    part_publish_enough(part);
    plog_configure(part->log, config);
    part_flush_configure(part, config->flush_messages == 1);
    part_advance_hw(part); /* fewer members may suffice now */
}

void part_throttle(struct part *part, bool leader, bool follower)
{
    atomic_store_explicit(&part->rules.throttled_leader, leader, memory_order_relaxed);
    atomic_store_explicit(&part->rules.throttled_follower, follower, memory_order_relaxed);
}

enum err part_delete_records(struct part *part, int64_t offset, int64_t *log_start_offset)
{
    must(actor_here(&part->actor));
    *log_start_offset = -1;
    struct part_now now = part_now(part);
    if (now.role != PART_LEADER) {
        return now.role == PART_OFFLINE ? ERR_KAFKA_STORAGE_ERROR : ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (!plog_may_delete_records(part->log)) {
        return ERR_POLICY_VIOLATION;
    }
    int64_t offset_hw = atomic_load(&part->offset_hw);
    int64_t target = offset == -1 ? offset_hw : offset;
    if (target < 0 || target > offset_hw) {
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    enum err err = plog_set_log_start(part->log, target);
    part->wake = true;
    *log_start_offset = err == ERR_OK ? plog_log_start(part->log) : -1;
    return err;
}

bool part_retain(struct part *part)
{
    must(actor_here(&part->actor));
    if (part->deleted || part_now(part).role == PART_OFFLINE) {
        return false;
    }
    enum err err = plog_delete_old_segments(part->log, atomic_load(&part->offset_hw),
                                            clock_wall_ms(part->clock));
    if (err != ERR_OK && err != ERR_AGAIN) {
        log_error(LOGGER, "retention failed", "tp=%s-%d error=%s", part->topic.ptr, part->index,
                  err_text(err));
        part_fail(part);
    }
    part->wake = true;
    return err == ERR_AGAIN;
}

/* ---- epochs, for readers on any loop ---- */

void part_epoch_end(struct part *part, int32_t epoch, int32_t *found, int64_t *end)
{
    epochs_end_of(plog_epochs(part->log), epoch, plog_offset_end(part->log), found, end);
}

int32_t part_epoch_of(struct part *part, int64_t offset)
{
    return epochs_at(plog_epochs(part->log), offset);
}

void part_batch_rules(struct part *part, int64_t now_ms, struct batch_rules *out)
{
    const struct part_rules *rules = &part->rules;
    *out = batch_rules_default();
    out->size_bytes_max =
        (size_t)atomic_load_explicit(&rules->max_message_bytes, memory_order_relaxed);
    out->codec = atomic_load_explicit(&rules->codec, memory_order_relaxed); /* the same numbers */
    out->level = atomic_load_explicit(&rules->level, memory_order_relaxed);
    out->keys_required = atomic_load_explicit(&rules->keys_required, memory_order_relaxed);
    out->log_append_time = atomic_load_explicit(&rules->append_time, memory_order_relaxed);
    out->before_max_ms = atomic_load_explicit(&rules->before_max_ms, memory_order_relaxed);
    out->after_max_ms = atomic_load_explicit(&rules->after_max_ms, memory_order_relaxed);
    out->now_ms = now_ms;
}
