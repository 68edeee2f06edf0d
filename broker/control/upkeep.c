#include "control/upkeep.h"

#include "api/broker.h"
#include "base/mem.h"
#include "config/config.h"
#include "control/replicas.h"

/* Records wait at most for flush.ms and once more for as long, but they are not looked for more
 * often than this. */
enum { FLUSH_PERIOD_MIN_MS = 50 };

struct upkeep {
    struct broker *broker;
    struct replicas *replicas;
    struct loop_timer retention_timer;
    struct loop_timer checkpoint_timer;
    struct loop_timer flush_timer;
    struct loop_timer removal_timer;
    int64_t flush_period_ms; /* INT64_MAX: nobody wants it */
    bool started;
};

static int64_t setting(struct upkeep *upkeep, enum config_key key)
{
    const struct config *config = config_cell_get(upkeep->broker->config);
    int64_t value = config_long(config, key);
    config_put(config);
    return value;
}

/* A delay may be as long as no clock goes. */
static void set_timer(struct upkeep *upkeep, struct loop_timer *timer, int64_t delay_ms)
{
    struct loop *loop = upkeep->broker->control;
    int64_t now_ms = loop_now_ms(loop);
    loop_timer_set(loop, timer, delay_ms < INT64_MAX - now_ms ? now_ms + delay_ms : INT64_MAX);
}

/* ---- something for every partition ---- */

struct walk_msg {
    struct actor_msg msg;
};

static void walk_end(struct part *part, struct actor_msg *msg)
{
    part_put(part);
    mem_free(container_of(msg, struct walk_msg, msg));
}

static void walk_post(struct part *part, void (*fn)(struct actor *actor, struct actor_msg *msg))
{
    struct walk_msg *walk = mem_new(struct walk_msg);
    walk->msg.fn = fn;
    part_post(part_get(part), &walk->msg);
}

/* ---- retention ---- */

static void retain_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    if (part_retain(part)) {
        msg->cost_bytes = ACTOR_TURN_BYTES; /* a turn of its own: each segment takes a sync */
        part_post(part, msg);
    } else {
        walk_end(part, msg);
    }
}

static void retain_part(void *arg, struct part *part)
{
    (void)arg;
    walk_post(part, retain_in_actor);
}

static void on_retention(struct loop_timer *timer)
{
    struct upkeep *upkeep = container_of(timer, struct upkeep, retention_timer);
    parts_each(&upkeep->broker->parts, retain_part, NULL);
    set_timer(upkeep, timer, setting(upkeep, KEY_log_retention_check_interval_ms));
}

/* ---- checkpoints ---- */

/* All in one go, as often as the most frequent of them: what has not changed is not written. */
static int64_t checkpoint_period_ms(struct upkeep *upkeep)
{
    static const enum config_key keys[] = {KEY_replica_high_watermark_checkpoint_interval_ms,
                                           KEY_log_flush_offset_checkpoint_interval_ms,
                                           KEY_log_flush_start_offset_checkpoint_interval_ms};
    int64_t period_ms = INT64_MAX;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        int64_t one_ms = setting(upkeep, keys[i]);
        period_ms = one_ms < period_ms ? one_ms : period_ms;
    }
    return period_ms > 0 ? period_ms : 1;
}

static void on_checkpoint(struct loop_timer *timer)
{
    struct upkeep *upkeep = container_of(timer, struct upkeep, checkpoint_timer);
    logs_checkpoint(upkeep->broker->logs, replicas_high_watermark, upkeep->replicas);
    set_timer(upkeep, timer, checkpoint_period_ms(upkeep));
}

/* ---- syncs by time ---- */

static void flush_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    if (!part->deleted) {
        plog_flush_aged(part->log);
    }
    walk_end(part, msg);
}

static void flush_part(void *arg, struct part *part)
{
    (void)arg;
    if (plog_recovery_point(part->log) < plog_offset_end(part->log)) {
        walk_post(part, flush_in_actor);
    }
}

static void on_flush(struct loop_timer *timer)
{
    struct upkeep *upkeep = container_of(timer, struct upkeep, flush_timer);
    parts_each(&upkeep->broker->parts, flush_part, NULL);
    set_timer(upkeep, timer, upkeep->flush_period_ms);
}

void upkeep_heard(struct upkeep *upkeep, const struct topic_config *config)
{
    if (config->flush_ms >= upkeep->flush_period_ms) {
        return;
    }
    int64_t period_ms = config->flush_ms;
    upkeep->flush_period_ms = period_ms > FLUSH_PERIOD_MIN_MS ? period_ms : FLUSH_PERIOD_MIN_MS;
    if (upkeep->started) {
        set_timer(upkeep, &upkeep->flush_timer, upkeep->flush_period_ms);
    }
}

/* ---- removal ---- */

static void on_removal(struct loop_timer *timer)
{
    upkeep_put_aside(container_of(timer, struct upkeep, removal_timer));
}

void upkeep_put_aside(struct upkeep *upkeep)
{
    int64_t next_ms = logs_remove_due(upkeep->broker->logs);
    if (upkeep->started && next_ms != INT64_MAX) {
        loop_timer_set(upkeep->broker->control, &upkeep->removal_timer, next_ms);
    }
}

/* ---- life ---- */

struct upkeep *upkeep_new(struct broker *broker, struct replicas *replicas)
{
    struct upkeep *upkeep = mem_new(struct upkeep);
    upkeep->broker = broker;
    upkeep->replicas = replicas;
    upkeep->flush_period_ms = INT64_MAX;
    loop_timer_init(&upkeep->retention_timer, on_retention);
    loop_timer_init(&upkeep->checkpoint_timer, on_checkpoint);
    loop_timer_init(&upkeep->flush_timer, on_flush);
    loop_timer_init(&upkeep->removal_timer, on_removal);
    return upkeep;
}

void upkeep_free(struct upkeep *upkeep)
{
    upkeep_stop(upkeep);
    mem_free(upkeep);
}

void upkeep_start(struct upkeep *upkeep)
{
    upkeep->started = true;
    set_timer(upkeep, &upkeep->retention_timer, setting(upkeep, KEY_log_initial_task_delay_ms));
    set_timer(upkeep, &upkeep->checkpoint_timer, checkpoint_period_ms(upkeep));
    int64_t scheduled_ms = setting(upkeep, KEY_log_flush_scheduler_interval_ms);
    struct topic_config scheduled = {.flush_ms = scheduled_ms};
    upkeep_heard(upkeep, &scheduled);
    if (upkeep->flush_period_ms != INT64_MAX) {
        set_timer(upkeep, &upkeep->flush_timer, upkeep->flush_period_ms);
    }
    upkeep_put_aside(upkeep);
}

void upkeep_stop(struct upkeep *upkeep)
{
    upkeep->started = false;
    loop_timer_cancel(&upkeep->retention_timer);
    loop_timer_cancel(&upkeep->checkpoint_timer);
    loop_timer_cancel(&upkeep->flush_timer);
    loop_timer_cancel(&upkeep->removal_timer);
}
