#include "replica/replicator.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "replica/alter.h"
#include "replica/fetcher.h"

#define LOGGER "kafka.server.ReplicaManager"

/* One of a leader's fetchers. Kept once made: there are no more than brokers, times
 * num.replica.fetchers. */
struct leader {
    struct list link;
    int32_t id;
    int32_t number;
    struct fetcher *fetcher;
    struct replicator *replicator;
    struct loop_msg stopped;
};

/* Between two questions whether the leaderships have moved. Kafka waits the whole
 * controlled.shutdown.retry.backoff.ms; what we keep of it is how long we try at all. */
enum { HAND_OVER_PAUSE_MS = 100 };

struct replicator {
    struct replicator_options options;
    struct loop **loops;
    struct fetcher_options fetcher_options;
    struct part_host host;
    struct controller_link controller;
    struct alter *alter;
    struct list leaders;
    int32_t fetchers; /* num.replica.fetchers: a leader's */
    int64_t lag_ms;
    struct loop_timer lag_timer;

    bool hand_over_enabled;
    int64_t hand_over_max_ms;
    int64_t hand_over_deadline_ms;
    enum err hand_over_err; /* of the last attempt */
    int hand_over_remaining;
    struct loop_timer hand_over_timer;
    void (*hand_over_fn)(void *arg);
    void *hand_over_arg;

    int stopping; /* fetchers not yet stopped, plus one while they are told */
    void (*stop_fn)(void *arg);
    void *stop_arg;
};

static struct fetcher *fetcher_of(struct replicator *replicator, const struct part *part);
static void on_lag(struct loop_timer *timer);
static void on_hand_over_timer(struct loop_timer *timer);

static void host_propose(struct part_host *host, struct part *part,
                         const struct isr_proposal *proposal)
{
    struct replicator *replicator = container_of(host, struct replicator, host);
    alter_propose(replicator->alter, part, proposal);
}

/* A partition's news on their way to the control loop. Partitions are closed, and that is reported
 * there, before the replicator is freed. */
struct flushed_msg {
    struct loop_msg msg;
    struct replicator *replicator;
    struct part *part;
};

/* The fetcher looks at the partition anew, and its leader hears what is on our disk. */
static void on_flushed(struct loop_msg *msg)
{
    struct flushed_msg *flushed = container_of(msg, struct flushed_msg, msg);
    struct replicator *replicator = flushed->replicator;
    struct part *part = flushed->part;
    struct part_now now = part_now(part);
    if (replicator->stop_fn == NULL && part->fetched_from >= 0 && now.role == PART_FOLLOWER) {
        fetcher_add(fetcher_of(replicator, part), part, now.leader_epoch);
    }
    part_put(part);
    mem_free(flushed);
}

static void host_flushed(struct part_host *host, struct part *part)
{
    struct flushed_msg *flushed = mem_new(struct flushed_msg);
    flushed->msg.fn = on_flushed;
    flushed->replicator = container_of(host, struct replicator, host);
    flushed->part = part_get(part);
    loop_post(flushed->replicator->options.control, &flushed->msg);
}

static void configure(struct replicator *replicator, const struct config *config)
{
    const struct replicator_options *options = &replicator->options;
    replicator->fetcher_options = (struct fetcher_options){
        .net = options->net,
        .meta = options->meta,
        .listener = options->listener,
        .epoch = options->epoch,
        .throttle = options->throttle,
        .my_id = options->my_id,
        .wait_max_ms = config_int(config, KEY_replica_fetch_wait_max_ms),
        .min_bytes = config_int(config, KEY_replica_fetch_min_bytes),
        .response_max_bytes = config_int(config, KEY_replica_fetch_response_max_bytes),
        .partition_max_bytes = config_int(config, KEY_replica_fetch_max_bytes),
        .backoff_max_ms = config_int(config, KEY_replica_fetch_backoff_ms),
        .timeout_ms = config_int(config, KEY_replica_socket_timeout_ms),
    };
    replicator->fetchers = config_int(config, KEY_num_replica_fetchers);
    replicator->lag_ms = config_long(config, KEY_replica_lag_time_max_ms);
    replicator->hand_over_enabled = config_bool(config, KEY_controlled_shutdown_enable);
    replicator->hand_over_max_ms =
        config_duration_ms(config, KEY_controlled_shutdown_retry_backoff_ms,
                           config_long(config, KEY_controlled_shutdown_max_retries));
}

struct replicator *replicator_new(const struct replicator_options *options,
                                  const struct config *config)
{
    struct replicator *replicator = mem_new(struct replicator);
    replicator->options = *options;
    replicator->loops = mem_zalloc((size_t)options->loops_count, sizeof(*replicator->loops));
    for (int i = 0; i < options->loops_count; i++) {
        replicator->loops[i] = options->loops[i];
    }
    replicator->host.propose = host_propose;
    replicator->host.flushed = host_flushed;
    replicator->controller = (struct controller_link){
        .loop = options->control,
        .peers = options->peers,
        .driver = options->driver,
        .meta = options->meta,
        .listener = options->listener,
        .my_id = options->my_id,
        .epoch = options->epoch,
    };
    controller_link_init(&replicator->controller);
    replicator->alter = alter_new(&replicator->controller);
    list_init(&replicator->leaders);
    loop_timer_init(&replicator->lag_timer, on_lag);
    loop_timer_init(&replicator->hand_over_timer, on_hand_over_timer);
    configure(replicator, config);
    return replicator;
}

struct part_host *replicator_host(struct replicator *replicator)
{
    return &replicator->host;
}

/* ---- following ---- */

static struct leader *leader_find(struct replicator *replicator, int32_t id, int32_t number)
{
    list_for_each (link, &replicator->leaders) {
        struct leader *leader = container_of(link, struct leader, link);
        if (leader->id == id && leader->number == number) {
            return leader;
        }
    }
    return NULL;
}

/* The one that has the partition. */
static struct fetcher *fetcher_of(struct replicator *replicator, const struct part *part)
{
    return leader_find(replicator, part->fetched_from, part->fetched_by)->fetcher;
}

static struct leader *leader_new(struct replicator *replicator, int32_t id, int32_t number)
{
    struct fetcher_options options = replicator->fetcher_options;
    options.leader_id = id;
    options.number = number;
    int32_t place = replicator->options.spread ? id + number : number;
    options.loop = replicator->loops[place % replicator->options.loops_count];
    struct leader *leader = mem_new(struct leader);
    leader->id = id;
    leader->number = number;
    leader->replicator = replicator;
    leader->fetcher = fetcher_new(&options);
    list_push_back(&replicator->leaders, &leader->link);
    return leader;
}

/* Partitions are spread over a leader's fetchers. Not by the sum of topic and index, as in Kafka:
 * two brokers share a topic's partitions by even and odd ones. */
static int32_t number_of(const struct replicator *replicator, const struct part *part)
{
    uint64_t hash = bytes_hash(part->topic.ptr, part->topic.size, (uint64_t)part->index);
    return (int32_t)(hash % (uint64_t)replicator->fetchers);
}

static void let_go(struct replicator *replicator, struct part *part)
{
    if (part->fetched_from >= 0) {
        fetcher_remove(fetcher_of(replicator, part), part);
    }
    part->fetched_from = -1;
}

void replicator_follow(struct replicator *replicator, struct part *part, int32_t leader_id,
                       int32_t leader_epoch)
{
    if (replicator->stop_fn != NULL) {
        return;
    }
    int32_t wanted = leader_id == replicator->options.my_id ? -1 : leader_id;
    int32_t number = number_of(replicator, part);
    if (part->fetched_from != wanted || part->fetched_by != number) {
        let_go(replicator, part);
    }
    part->fetched_from = wanted;
    part->fetched_by = number;
    if (wanted >= 0) {
        struct leader *leader = leader_find(replicator, wanted, number);
        leader = leader != NULL ? leader : leader_new(replicator, wanted, number);
        fetcher_add(leader->fetcher, part, leader_epoch);
    }
}

static void spread_anew(void *arg, struct part *part)
{
    struct replicator *replicator = arg;
    struct part_now now = part_now(part);
    if (part->fetched_from >= 0 && now.role == PART_FOLLOWER) {
        replicator_follow(replicator, part, part->fetched_from, now.leader_epoch);
    }
}

void replicator_configure(struct replicator *replicator, const struct config *config)
{
    int32_t fetchers = config_int(config, KEY_num_replica_fetchers);
    if (fetchers != replicator->fetchers) {
        replicator->fetchers = fetchers;
        parts_each(replicator->options.parts, spread_anew, replicator);
    }
}

/* ---- leading ---- */

static void check_lag(void *arg, struct part *part)
{
    (void)arg;
    if (part_now(part).role == PART_LEADER) {
        part_check_lag(part);
    }
}

static void on_lag(struct loop_timer *timer)
{
    struct replicator *replicator = container_of(timer, struct replicator, lag_timer);
    parts_each(replicator->options.parts, check_lag, NULL);
    replicator_start(replicator);
}

void replicator_start(struct replicator *replicator)
{
    struct loop *loop = replicator->options.control;
    loop_timer_set(loop, &replicator->lag_timer, loop_now_ms(loop) + replicator->lag_ms / 2);
}

/* ---- handing over ---- */

static void handed_over(struct replicator *replicator)
{
    void (*fn)(void *arg) = replicator->hand_over_fn;
    loop_timer_cancel(&replicator->hand_over_timer);
    replicator->hand_over_fn = NULL;
    fn(replicator->hand_over_arg);
}

static int count_remaining(const Barnabas__Control__ControlledShutdownResponse *body)
{
    size_t count = 0;
    for (size_t i = 0; body != NULL && i < body->n_remaining; i++) {
        count += body->remaining[i]->n_partitions;
    }
    return (int)count;
}

static void on_hand_over(void *arg, enum err err, const Barnabas__Control__Response *response)
{
    struct replicator *replicator = arg;
    if (replicator->hand_over_fn == NULL) {
        return; /* too late */
    }
    if (err == ERR_OK) {
        err = err_from_wire((int16_t)response->error);
    }
    int remaining = err == ERR_OK ? count_remaining(response->controlled_shutdown) : 0;
    if (err == ERR_OK && remaining == 0) {
        log_info(LOGGER, "controlled shutdown", "the controller has moved every leadership away");
        handed_over(replicator);
        return;
    }
    replicator->hand_over_err = err;
    replicator->hand_over_remaining = remaining;
    struct loop *loop = replicator->options.control;
    loop_timer_set(loop, &replicator->hand_over_timer, loop_now_ms(loop) + HAND_OVER_PAUSE_MS);
}

/* An answer may never come: a controller waits for ZooKeeper as long as it takes. */
static void hand_over_try(struct replicator *replicator)
{
    loop_timer_set(replicator->options.control, &replicator->hand_over_timer,
                   replicator->hand_over_deadline_ms);
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    Barnabas__Control__ControlledShutdown body = BARNABAS__CONTROL__CONTROLLED_SHUTDOWN__INIT;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN);
    request.controlled_shutdown = &body;
    controller_link_ask(&replicator->controller, &request, on_hand_over, replicator);
}

static void on_hand_over_timer(struct loop_timer *timer)
{
    struct replicator *replicator = container_of(timer, struct replicator, hand_over_timer);
    if (loop_now_ms(replicator->options.control) < replicator->hand_over_deadline_ms) {
        hand_over_try(replicator);
        return;
    }
    log_warn(LOGGER, "controlled shutdown has not succeeded, stopping all the same",
             "error=\"%s\" still_leading=%d", err_text(replicator->hand_over_err),
             replicator->hand_over_remaining);
    handed_over(replicator);
}

void replicator_hand_over(struct replicator *replicator, void (*fn)(void *arg), void *arg)
{
    replicator->hand_over_fn = fn;
    replicator->hand_over_arg = arg;
    replicator->hand_over_deadline_ms =
        loop_now_ms(replicator->options.control) + replicator->hand_over_max_ms;
    replicator->hand_over_err = ERR_TIMEOUT;
    if (replicator->hand_over_enabled && replicator->hand_over_max_ms > 0) {
        hand_over_try(replicator);
    } else {
        handed_over(replicator);
    }
}

/* ---- stopping ---- */

static void stop_settle(struct replicator *replicator)
{
    must(replicator->stopping > 0);
    if (--replicator->stopping == 0) {
        replicator->stop_fn(replicator->stop_arg);
    }
}

static void on_fetcher_stopped(struct loop_msg *msg)
{
    stop_settle(container_of(msg, struct leader, stopped)->replicator);
}

void replicator_stop(struct replicator *replicator, void (*fn)(void *arg), void *arg)
{
    replicator->stop_fn = fn;
    replicator->stop_arg = arg;
    replicator->stopping = 1;
    loop_timer_cancel(&replicator->lag_timer);
    loop_timer_cancel(&replicator->hand_over_timer);
    list_for_each (link, &replicator->leaders) {
        struct leader *leader = container_of(link, struct leader, link);
        leader->stopped.fn = on_fetcher_stopped;
        replicator->stopping++;
        fetcher_stop(leader->fetcher, replicator->options.control, &leader->stopped);
    }
    stop_settle(replicator);
}

void replicator_free(struct replicator *replicator)
{
    loop_timer_cancel(&replicator->lag_timer);
    loop_timer_cancel(&replicator->hand_over_timer);
    list_for_each_safe (link, &replicator->leaders) {
        struct leader *leader = container_of(link, struct leader, link);
        fetcher_free(leader->fetcher);
        mem_free(leader);
    }
    controller_link_fini(&replicator->controller);
    alter_free(replicator->alter);
    mem_free(replicator->loops);
    mem_free(replicator);
}
