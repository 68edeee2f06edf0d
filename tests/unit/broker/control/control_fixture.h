/* control_fixture.h: the control side of a broker without threads, sockets and server: what hears a
 * controller's requests (control_apply), and what that changes: logs on a disk in memory,
 * partitions, metadata, topics' values. A test adds what else it needs to `broker` before it calls
 * side_listen(). */
#pragma once

#include "../log/log_fixture.h"
#include "api/broker.h"
#include "control/control.h"
#include "control/control_apply.h"
#include "groups/groups.h"
#include "log/logs.h"
#include "topics/topic_configs.h"

enum { ME = 1, CONTROLLER_EPOCH = 1 };

struct side {
    struct clock_manual clock;
    struct loop *loop;
    struct fs_sim *sim;
    struct config_cell config;
    struct broker broker;
    struct control_apply *apply; /* between side_listen() and side_stop() */
    int64_t epoch;               /* of its registration */
};

/* Until nothing is to be done any more. */
static inline void side_run(struct side *side)
{
    while (loop_turn(side->loop) || worker_pool_step(side->broker.workers)) {
    }
}

static inline void side_open_logs(struct side *side)
{
    static const char *const names[] = {"/a"};
    struct errmsg msg;
    struct logs_options options = {.fs = fs_sim_fs(side->sim),
                                   .clock = &side->clock.clock,
                                   .workers = side->broker.workers,
                                   .dirs = names,
                                   .dirs_count = 1,
                                   .producer_expiration_ms = 1000};
    cr_assert_eq(logs_open(&options, &side->broker.logs, &msg), ERR_OK);
    cr_assert_eq(logs_load(side->broker.logs, NULL, NULL, &msg), ERR_OK);
}

static inline void side_begin(struct side *side)
{
    struct config_pair pair = {"zookeeper.connect", "z:1"};
    struct config *config;
    struct errmsg msg;
    *side = (struct side){.sim = fs_sim_new(1)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    clock_manual_init(&side->clock, LOG_EPOCH_MS);
    side->loop = loop_new("control", -1, &side->clock.clock);
    cr_assert_eq(config_from_pairs(&pair, 1, &config, &msg), ERR_OK);
    config_cell_init(&side->config, config);
    side->broker.id = ME;
    side->broker.env.clock = &side->clock.clock;
    side->broker.control = side->loop;
    side->broker.netloops_count = 1;
    side->broker.config = &side->config;
    side->broker.topic_configs = topic_configs_new(&side->config);
    side->broker.workers = worker_pool_new("test", 0);
    struct groups_options groups = {.loop = side->loop};
    grp_config_default(&groups.config);
    side->broker.groups = groups_new(&groups);
    meta_cell_init(&side->broker.meta);
    parts_init(&side->broker.parts);
    side_open_logs(side);
}

static inline void side_on_metadata(void *arg, int64_t broker_epoch)
{
    (void)arg, (void)broker_epoch;
}

/* It is registered, in this epoch: requests are heard. */
static inline void side_register(struct side *side, int64_t epoch)
{
    side->epoch = epoch;
    control_apply_set_broker_epoch(side->apply, epoch);
}

static inline void side_listen(struct side *side)
{
    side->apply = control_apply_new(&side->broker, side_on_metadata, NULL);
    side_register(side, 1);
}

/* The controller says so; `on_reply` may come later. */
static inline void side_tell(struct side *side, Barnabas__Control__Request *request,
                             control_reply_fn *on_reply, void *arg)
{
    struct buf bytes = {0};
    control_set(request, controller_epoch, CONTROLLER_EPOCH);
    control_set(request, broker_epoch, side->epoch);
    control_request_pack(request, &bytes);
    control_apply_request(side->apply, (struct bytes){bytes.data, bytes.size}, on_reply, arg);
    buf_fini(&bytes);
}

/* No more requests; then a test frees what it has added. */
static inline void side_stop(struct side *side)
{
    control_apply_free(side->apply);
}

static inline void side_end(struct side *side)
{
    parts_fini(&side->broker.parts);
    side_run(side);
    logs_free(side->broker.logs);
    meta_cell_fini(&side->broker.meta);
    groups_free(side->broker.groups);
    worker_pool_free(side->broker.workers);
    topic_configs_free(side->broker.topic_configs);
    config_cell_fini(&side->config);
    loop_free(side->loop);
    fs_sim_free(side->sim);
}
