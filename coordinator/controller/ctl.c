/* ctl.c: the machine's life and the order of things in a step. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Commands. */

void ctl_cmds_clear(struct ctl_cmds *cmds)
{
    arena_reset(&cmds->arena);
    cmds->count = 0;
    cmds->elected = NULL;
    cmds->elected_count = 0;
    cmds->wake_ms = INT64_MAX;
}

void ctl_cmds_fini(struct ctl_cmds *cmds)
{
    arena_fini(&cmds->arena);
    mem_free(cmds->items);
    *cmds = (struct ctl_cmds){0};
}

struct ctl_cmd *ctl_emit(struct ctl *ctl, enum ctl_cmd_kind kind)
{
    struct ctl_cmds *out = ctl->out;
    if (out->count == out->capacity) {
        out->capacity = out->capacity > 0 ? out->capacity * 2 : 16;
        out->items = mem_realloc(out->items, (size_t)out->capacity * sizeof(*out->items));
    }
    struct ctl_cmd *cmd = &out->items[out->count++];
    *cmd = (struct ctl_cmd){.kind = kind};
    return cmd;
}

struct ctl_cmd *ctl_emit_pending(struct ctl *ctl, enum ctl_cmd_kind kind,
                                 enum ctl_pending_kind pending_kind, struct ctl_part *part,
                                 struct ctl_topic *topic)
{
    struct ctl_pending *pending = mem_new(struct ctl_pending);
    pending->id = ctl->next_cmd_id++;
    pending->kind = pending_kind;
    pending->part = part;
    pending->topic = topic;
    HASH_ADD(hh, ctl->pending, id, sizeof(pending->id), pending);
    struct ctl_cmd *cmd = ctl_emit(ctl, kind);
    cmd->id = pending->id;
    return cmd;
}

void ctl_forget_pending(struct ctl *ctl, uint64_t cmd_id)
{
    struct ctl_pending *pending = NULL;
    HASH_FIND(hh, ctl->pending, &cmd_id, sizeof(cmd_id), pending);
    if (pending != NULL) {
        HASH_DEL(ctl->pending, pending);
        mem_free(pending);
    }
}

void ctl_note(struct ctl *ctl, bool warning, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct ctl_cmd *cmd = ctl_emit(ctl, CTL_NOTE);
    cmd->warning = warning;
    cmd->text = arena_cstr(&ctl->out->arena, str_of(text));
}

void ctl_resign(struct ctl *ctl)
{
    if (!ctl->resigning) {
        ctl->resigning = true;
        ctl->outdated = true;
        ctl_emit(ctl, CTL_RESIGN);
    }
}

/* ---- Life. */

struct ctl *ctl_new(const struct ctl_config *config)
{
    struct ctl *ctl = mem_new(struct ctl);
    ctl->config = *config;
    ctl->unclean_default = config->unclean_default;
    ctl->min_insync_default = config->min_insync_default;
    ctl->next_cmd_id = 1;
    ctl->epoch = -1;
    ctl->rebalance_ms = INT64_MAX;
    rng_seed(&ctl->rng, config->seed);
    list_init(&ctl->todo);
    list_init(&ctl->deleting);
    list_init(&ctl->strays);
    list_init(&ctl->alters);
    list_init(&ctl->shutdowns);
    list_init(&ctl->assigning);
    list_init(&ctl->reassigns);
    list_init(&ctl->orders);
    ctl->orders_version = -1;
    return ctl;
}

/* Forget the reign. Configuration and command numbers stay. */
static void forget(struct ctl *ctl)
{
    struct ctl_pending *pending, *next;
    ctl_orders_free(ctl);
    ctl_topics_free(ctl);
    ctl_brokers_free(ctl);
    HASH_ITER (hh, ctl->pending, pending, next) {
        HASH_DEL(ctl->pending, pending);
        mem_free(pending);
    }
    ctl->phase = CTL_IDLE;
    ctl->epoch = -1;
    ctl->have_brokers = false;
    ctl->have_topics = false;
    ctl->have_deletions = false;
    ctl->have_preferred = false;
    ctl->loading_topics = 0;
    ctl->resigning = false;
    ctl->outdated = false;
    ctl->preferred_node = false;
    ctl->preferred_again = false;
    ctl->wants = 0;
    ctl->rebalance_ms = INT64_MAX;
}

void ctl_free(struct ctl *ctl)
{
    struct ctl_unclean *entry, *next;
    if (ctl == NULL) {
        return;
    }
    must(list_empty(&ctl->alters) && list_empty(&ctl->shutdowns));
    must(list_empty(&ctl->reassigns));
    forget(ctl);
    HASH_ITER (hh, ctl->unclean, entry, next) {
        HASH_DEL(ctl->unclean, entry);
        mem_free((char *)entry->name.ptr);
        mem_free(entry);
    }
    ctl_min_insync_free(ctl);
    mem_free(ctl->slots);
    mem_free(ctl->free_slots);
    mem_free(ctl);
}

/* Read the whole cluster. Brokers first: with them known, partitions are judged rightly at once. */
static void elected_event(struct ctl *ctl, const struct ctl_event *event)
{
    must(ctl->phase == CTL_IDLE);
    must(event->u.elected.epoch > 0);
    ctl->phase = CTL_LOADING;
    ctl->epoch = event->u.elected.epoch;
    ctl_emit(ctl, CTL_READ_BROKERS);
    ctl_emit(ctl, CTL_READ_TOPICS);
    ctl_emit(ctl, CTL_READ_DELETIONS);
    ctl_emit(ctl, CTL_READ_PREFERRED);
    ctl_emit(ctl, CTL_READ_LOG_DIRS);
}

static void deposed_event(struct ctl *ctl)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        if (ctl->brokers[i]->sending != 0) {
            ctl_emit(ctl, CTL_DISCONNECT)->broker_id = ctl->brokers[i]->id;
        }
    }
    ctl_requests_abort(ctl);
    forget(ctl);
}

static void maybe_activate(struct ctl *ctl)
{
    if (!ctl->have_brokers || !ctl->have_topics || !ctl->have_deletions || !ctl->have_preferred ||
        ctl->loading_topics > 0) {
        return;
    }
    ctl->phase = CTL_ACTIVE;
    ctl_note(ctl, false, "controller is active: epoch=%d brokers=%d topics=%u", ctl->epoch,
             ctl->brokers_count, HASH_COUNT(ctl->topics));
    ctl_emit(ctl, CTL_READ_ORDERS);
    ctl_strays_apply(ctl);
    ctl_topics_activate(ctl);
    ctl_brokers_activate(ctl);
    if (ctl->config.auto_rebalance) {
        ctl->rebalance_ms = ctl->now_ms + CTL_FIRST_REBALANCE_MS;
    }
}

/* ---- Results of writes. */

static void wrote_event(struct ctl *ctl, const struct ctl_wrote *wrote)
{
    struct ctl_pending *found = NULL;
    uint64_t cmd_id = wrote->cmd_id;
    enum err err = wrote->err;
    HASH_FIND(hh, ctl->pending, &cmd_id, sizeof(cmd_id), found);
    if (found == NULL) {
        return; /* of an earlier reign, or of a partition that is gone */
    }
    struct ctl_pending pending = *found;
    ctl_forget_pending(ctl, cmd_id);
    if (err == ERR_CONTROLLER_MOVED) {
        ctl_resign(ctl);
    }
    switch (pending.kind) {
    case CTL_PENDING_STATE:
        ctl_part_wrote(ctl, pending.part, err, wrote->version);
        break;
    case CTL_PENDING_ID:
        ctl_topic_wrote(ctl, pending.topic, err);
        break;
    case CTL_PENDING_DELETE:
        ctl_topic_deleted(ctl, pending.topic, err);
        break;
    case CTL_PENDING_ASSIGN:
        ctl_reassign_wrote(ctl, pending.topic, err, wrote->version);
        break;
    case CTL_PENDING_ORDERS:
        ctl_orders_wrote(ctl, err);
        break;
    case CTL_PENDING_SETTLE:
        ctl_broker_settled(ctl, cmd_id, err);
        break;
    case CTL_PENDING_OTHER:
        break;
    }
}

static void wrote_many_event(struct ctl *ctl, const struct ctl_event *event)
{
    for (int32_t i = 0; i < event->u.wrote_many.count; i++) {
        wrote_event(ctl, &event->u.wrote_many.items[i]);
    }
}

/* A broker's log directory failed: ask it about all its replicas; its answer names those that are
 * lost. Not about those that are being deleted: it would make them again. While loading there is
 * nothing to mark: every broker is about to be asked about everything. */
static void log_dirs_event(struct ctl *ctl, const struct ctl_event *event)
{
    for (int32_t i = 0; ctl->phase == CTL_ACTIVE && i < event->u.log_dirs.count; i++) {
        struct ctl_broker *broker = ctl_find_broker(ctl, event->u.log_dirs.ids[i]);
        for (int32_t s = 0; broker != NULL && s < ctl->slots_count; s++) {
            struct ctl_part *part = ctl->slots[s];
            bool told = part != NULL && !part->tombstone && part->exists && !part->topic->deleting;
            if (told && ctl_replica_index(part, broker->id) >= 0) {
                ctl_mark(ctl, broker, part, CTL_MARK_LEADER);
            }
        }
    }
}

/* ---- A step. */

static void dispatch_reign(struct ctl *ctl, const struct ctl_event *event)
{
    switch (event->kind) {
    case CTL_EV_BROKERS:
        ctl_brokers_event(ctl, event);
        break;
    case CTL_EV_TOPICS:
        ctl_topics_event(ctl, event);
        break;
    case CTL_EV_TOPIC:
        ctl_topic_event(ctl, event);
        break;
    case CTL_EV_STATE:
        ctl_state_event(ctl, event);
        break;
    case CTL_EV_DELETIONS:
        ctl_deletions_event(ctl, event);
        break;
    case CTL_EV_PREFERRED:
        ctl_preferred_event(ctl, event);
        break;
    case CTL_EV_LOG_DIRS:
        log_dirs_event(ctl, event);
        break;
    case CTL_EV_ORDERS:
        ctl_orders_event(ctl, event);
        break;
    case CTL_EV_WROTE:
        wrote_event(ctl, &event->u.wrote);
        break;
    case CTL_EV_WROTE_MANY:
        wrote_many_event(ctl, event);
        break;
    case CTL_EV_SENT:
        ctl_sent_event(ctl, event);
        break;
    default:
        break;
    }
}

static void dispatch(struct ctl *ctl, const struct ctl_event *event)
{
    switch (event->kind) {
    case CTL_EV_TICK:
        break;
    case CTL_EV_ELECTED:
        elected_event(ctl, event);
        break;
    case CTL_EV_DEPOSED:
        deposed_event(ctl);
        break;
    case CTL_EV_ALTER:
        ctl_alter_event(ctl, event);
        break;
    case CTL_EV_SHUTDOWN:
        ctl_shutdown_event(ctl, event);
        break;
    case CTL_EV_ELECT:
        ctl_elect_event(ctl, event);
        break;
    case CTL_EV_UNCLEAN:
        ctl_unclean_event(ctl, event);
        break;
    case CTL_EV_REASSIGN:
        ctl_reassign_event(ctl, event);
        break;
    case CTL_EV_MIN_INSYNC:
        ctl_min_insync_event(ctl, event);
        break;
    default:
        if (ctl->phase != CTL_IDLE) {
            dispatch_reign(ctl, event);
        }
    }
}

/* The earliest time at which something is to be done without another event. */
static int64_t wake_ms(const struct ctl *ctl)
{
    int64_t wake = ctl->rebalance_ms;
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        const struct ctl_broker *broker = ctl->brokers[i];
        if (broker->sending == 0 && broker->retry_ms > ctl->now_ms && broker->retry_ms < wake) {
            wake = broker->retry_ms;
        }
        if (broker->settle_retry_ms > ctl->now_ms && broker->settle_retry_ms < wake) {
            wake = broker->settle_retry_ms;
        }
    }
    list_for_each (link, &ctl->shutdowns) {
        int64_t until_ms = container_of(link, struct ctl_shutdown, link)->tell_until_ms;
        if (until_ms > ctl->now_ms && until_ms < wake) {
            wake = until_ms;
        }
    }
    list_for_each (link, &ctl->deleting) {
        const struct ctl_topic *topic = container_of(link, struct ctl_topic, deleting_link);
        if (topic->delete_retry_ms > ctl->now_ms && topic->delete_retry_ms < wake) {
            wake = topic->delete_retry_ms;
        }
    }
    return wake;
}

void ctl_step(struct ctl *ctl, const struct ctl_event *event, struct ctl_cmds *out)
{
    must(out->count == 0);
    ctl->out = out;
    ctl->resigning = false;
    if (event->now_ms > ctl->now_ms) {
        ctl->now_ms = event->now_ms;
    }
    dispatch(ctl, event);
    if (ctl->phase == CTL_LOADING) {
        maybe_activate(ctl);
    }
    out->wake_ms = INT64_MAX;
    if (ctl->phase == CTL_ACTIVE) {
        if (ctl->now_ms >= ctl->rebalance_ms) {
            ctl_rebalance(ctl);
        }
        ctl_parts_decide(ctl);
        ctl_reassign_write(ctl);
        ctl_orders_advance(ctl);
        ctl_strays_apply(ctl); /* those that waited for reassignments */
        ctl_unclean_advance(ctl);
        ctl_deletions_advance(ctl);
        ctl_shutdowns_advance(ctl);
        ctl_preferred_advance(ctl);
        ctl_send_all(ctl);
        out->wake_ms = wake_ms(ctl);
    }
    ctl->out = NULL;
    ctl_check(ctl, false);
}

bool ctl_active(const struct ctl *ctl)
{
    return ctl->phase == CTL_ACTIVE;
}

int32_t ctl_epoch(const struct ctl *ctl)
{
    return ctl->epoch;
}

static void count_part(const struct ctl *ctl, const struct ctl_part *part,
                       struct ctl_counts *counts)
{
    counts->partitions++;
    if (!part->topic->deleting && !ctl_part_has_leader(ctl, part)) {
        counts->offline_partitions++;
    }
    counts->reassigning += ctl_part_moving(part) ? 1 : 0;
    if (!part->topic->deleting && part->replicas.count > 0 && part->exists &&
        part->now.leader != part->replicas.ids[0]) {
        counts->preferred_imbalance++;
    }
}

struct ctl_counts ctl_count(const struct ctl *ctl)
{
    struct ctl_counts counts = {
        .brokers = ctl->brokers_count,
        .topics = (int32_t)HASH_COUNT(ctl->topics),
        .unclean_elections = ctl->unclean_elections,
    };
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL && !ctl->slots[s]->tombstone) {
            count_part(ctl, ctl->slots[s], &counts);
        }
    }
    list_for_each (link, &ctl->deleting) {
        counts.topics_deleting++;
    }
    return counts;
}
