/* ctl_driver.c: election, the machine's life, and its commands other than those to ZooKeeper
 * (ctl_io.c). */
#include "controller/ctl_driver.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_io.h"
#include "controller/election.h"
#include "znode/path.h"

static const char logger[] = "kafka.controller.KafkaController";

/* A request that waits for CTL_REPLY, or for CTL_REASSIGNED. */
struct waiter {
    struct list link;
    uint64_t id;
    ctl_driver_reply_fn *fn;
    ctl_driver_reassign_fn *reassign_fn;
    void *arg;
};

/* A completion of ctl_host.send, kept until the loop's run list gets to it. */
struct completion {
    struct list link;
    uint64_t cmd_id;
    enum err err;
    struct buf response;
};

struct ctl_driver {
    struct loop *loop;
    struct ctl_host *host;
    struct ctl_config config;
    struct election election;
    struct zk *zk;
    struct ctl *ctl;
    struct ctl_io io;
    bool reigning;
    uint64_t reign; /* counts them, so that commands of an ended one are dropped */
    int32_t epoch;
    int32_t controller_id;
    struct loop_timer wake;
    struct list waiters;
    uint64_t next_reply_id;
    struct list completions;
    struct loop_task complete;
};

static void step(struct ctl_driver *driver, struct ctl_event event);

/* ---- Commands. */

/* The caller's, to answer and free. */
static struct waiter *take_waiter(struct ctl_driver *driver, uint64_t id)
{
    list_for_each (link, &driver->waiters) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        if (waiter->id == id) {
            list_remove(link);
            return waiter;
        }
    }
    must_not_get_here();
}

static struct waiter *add_waiter(struct ctl_driver *driver, void *arg)
{
    struct waiter *waiter = mem_new(struct waiter);
    waiter->id = driver->next_reply_id++;
    waiter->arg = arg;
    list_push_back(&driver->waiters, &waiter->link);
    return waiter;
}

static void reply(struct ctl_driver *driver, uint64_t id,
                  const Barnabas__Control__Response *response)
{
    struct waiter *waiter = take_waiter(driver, id);
    struct buf packed = {0};
    control_response_pack(response, &packed);
    waiter->fn(waiter->arg, (struct bytes){packed.data, packed.size});
    buf_fini(&packed);
    mem_free(waiter);
}

static void reassigned(struct ctl_driver *driver, const struct ctl_cmd *cmd)
{
    struct waiter *waiter = take_waiter(driver, cmd->reply_id);
    waiter->reassign_fn(waiter->arg, cmd->err, cmd->reassigned, cmd->reassigned_count);
    mem_free(waiter);
}

static void send(struct ctl_driver *driver, const struct ctl_cmd *cmd)
{
    struct buf packed = {0};
    control_request_pack(cmd->request, &packed);
    driver->host->send(driver->host, cmd->broker_id, cmd->endpoints, cmd->endpoints_count,
                       (int)cmd->request->kind, (struct bytes){packed.data, packed.size}, cmd->id);
    buf_fini(&packed);
}

static void execute(struct ctl_driver *driver, const struct ctl_cmd *cmd)
{
    switch (cmd->kind) {
    case CTL_SEND:
        send(driver, cmd);
        break;
    case CTL_DISCONNECT:
        driver->host->disconnect(driver->host, cmd->broker_id);
        break;
    case CTL_REPLY:
        reply(driver, cmd->reply_id, cmd->response);
        break;
    case CTL_REASSIGNED:
        reassigned(driver, cmd);
        break;
    case CTL_NOTE:
        log_write(cmd->warning ? LOG_WARN : LOG_INFO, logger, "controller", "%s", cmd->text);
        break;
    case CTL_RESIGN:
        log_warn(logger, "not the controller any more", "epoch=%d", driver->epoch);
        election_abandon(&driver->election);
        break;
    default:
        ctl_io_execute(&driver->io, cmd);
        break;
    }
}

/* Commands of one step. What a callback causes may end the reign in between; replies are due even
 * then. */
static void execute_all(struct ctl_driver *driver, const struct ctl_cmds *cmds)
{
    uint64_t reign = driver->reign;
    for (int32_t i = 0; i < cmds->count; i++) {
        const struct ctl_cmd *cmd = &cmds->items[i];
        bool answer = cmd->kind == CTL_REPLY || cmd->kind == CTL_REASSIGNED;
        if (driver->reign == reign || answer) {
            execute(driver, cmd);
        }
    }
    if (driver->reign != reign) {
        return;
    }
    ctl_io_flush(&driver->io);
    if (cmds->wake_ms != INT64_MAX) {
        loop_timer_set(driver->loop, &driver->wake, cmds->wake_ms);
    } else {
        loop_timer_cancel(&driver->wake);
    }
}

static void step(struct ctl_driver *driver, struct ctl_event event)
{
    struct ctl_cmds cmds = {0};
    ctl_cmds_clear(&cmds);
    event.now_ms = loop_now_ms(driver->loop);
    ctl_step(driver->ctl, &event, &cmds);
    execute_all(driver, &cmds);
    ctl_cmds_fini(&cmds);
}

static void on_io_event(struct ctl_io *io, const struct ctl_event *event)
{
    step(container_of(io, struct ctl_driver, io), *event);
}

static void on_wake(struct loop_timer *timer)
{
    step(container_of(timer, struct ctl_driver, wake), (struct ctl_event){.kind = CTL_EV_TICK});
}

/* ---- Reigns. */

static void drop_completions(struct ctl_driver *driver)
{
    struct list *link;
    loop_task_cancel(&driver->complete);
    while ((link = list_pop_front(&driver->completions)) != NULL) {
        struct completion *completion = container_of(link, struct completion, link);
        buf_fini(&completion->response);
        mem_free(completion);
    }
}

static void end_reign(struct ctl_driver *driver)
{
    if (!driver->reigning) {
        return;
    }
    driver->reigning = false;
    driver->reign++;
    driver->epoch = -1;
    ctl_io_stop(&driver->io);
    loop_timer_cancel(&driver->wake);
    drop_completions(driver);
    step(driver, (struct ctl_event){.kind = CTL_EV_DEPOSED});
    log_info(logger, "resigned", "broker=%d", driver->config.broker_id);
}

static void begin_reign(struct ctl_driver *driver, int32_t epoch, int32_t epoch_version)
{
    struct ctl_event event = {.kind = CTL_EV_ELECTED};
    driver->reigning = true;
    driver->reign++;
    driver->epoch = epoch;
    log_info(logger, "elected as the controller", "broker=%d epoch=%d epoch_version=%d",
             driver->config.broker_id, epoch, epoch_version);
    ctl_io_start(&driver->io, driver->zk, epoch_version);
    event.u.elected.epoch = epoch;
    step(driver, event);
}

static void on_decided(struct election *election, int32_t controller_id, int32_t epoch,
                       int32_t epoch_version)
{
    struct ctl_driver *driver = container_of(election, struct ctl_driver, election);
    bool changed = controller_id != driver->controller_id || epoch != driver->epoch;
    if (!changed) {
        return;
    }
    end_reign(driver);
    driver->controller_id = controller_id;
    if (epoch >= 0) {
        begin_reign(driver, epoch, epoch_version);
    } else if (controller_id >= 0) {
        log_info(logger, "another broker is the controller", "controller=%d", controller_id);
    }
    driver->host->controller_changed(driver->host, controller_id, epoch);
}

/* ---- Sends. */

static void on_complete(struct loop_task *task)
{
    struct ctl_driver *driver = container_of(task, struct ctl_driver, complete);
    struct list *link;
    while ((link = list_pop_front(&driver->completions)) != NULL) {
        struct completion *completion = container_of(link, struct completion, link);
        struct arena arena = {0};
        struct errmsg msg;
        struct ctl_event event = {.kind = CTL_EV_SENT};
        event.u.sent.cmd_id = completion->cmd_id;
        event.u.sent.err = completion->err;
        if (completion->err == ERR_OK) {
            event.u.sent.err = control_response_unpack(
                &arena, (struct bytes){completion->response.data, completion->response.size},
                &event.u.sent.response, &msg);
        }
        if (completion->err == ERR_OK && event.u.sent.err != ERR_OK) {
            log_warn(logger, "a broker's answer cannot be read", "reason=\"%s\"", msg.text);
        }
        step(driver, event);
        arena_fini(&arena);
        buf_fini(&completion->response);
        mem_free(completion);
    }
}

void ctl_driver_sent(struct ctl_driver *driver, uint64_t cmd_id, enum err err,
                     struct bytes response)
{
    loop_assert_here(driver->loop);
    if (!driver->reigning) {
        return;
    }
    struct completion *completion = mem_new(struct completion);
    completion->cmd_id = cmd_id;
    completion->err = err;
    if (err == ERR_OK) {
        buf_put(&completion->response, response.data, response.size);
    }
    list_push_back(&driver->completions, &completion->link);
    loop_defer(driver->loop, &driver->complete);
}

/* ---- Requests. */

static void refuse(const Barnabas__Control__Request *request, enum err err, ctl_driver_reply_fn *fn,
                   void *arg)
{
    struct buf packed = {0};
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    control_set(&response, kind, request->kind);
    control_set(&response, error, err_wire(err));
    control_response_pack(&response, &packed);
    fn(arg, (struct bytes){packed.data, packed.size});
    buf_fini(&packed);
}

void ctl_driver_request(struct ctl_driver *driver, const Barnabas__Control__Request *request,
                        ctl_driver_reply_fn *fn, void *arg)
{
    bool alter = request->kind == BARNABAS__CONTROL__KIND__ALTER_PARTITION;
    bool leave = request->kind == BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN;
    loop_assert_here(driver->loop);
    if (!alter && !leave) {
        refuse(request, ERR_INVALID_REQUEST, fn, arg);
        return;
    }
    if (!driver->reigning) {
        refuse(request, alter ? ERR_NOT_CONTROLLER : ERR_STALE_CONTROLLER_EPOCH, fn, arg);
        return;
    }
    struct ctl_event event = {.kind = alter ? CTL_EV_ALTER : CTL_EV_SHUTDOWN};
    struct waiter *waiter = add_waiter(driver, arg);
    waiter->fn = fn;
    event.u.request.reply_id = waiter->id;
    event.u.request.request = request;
    step(driver, event);
}

void ctl_driver_elect(struct ctl_driver *driver, bool unclean, const struct znode_tps *tps,
                      ctl_driver_elect_fn *fn, void *arg)
{
    struct ctl_cmds cmds = {0};
    struct ctl_event event = {.kind = CTL_EV_ELECT, .now_ms = loop_now_ms(driver->loop)};
    if (!ctl_driver_is_active(driver)) {
        fn(arg, ERR_NOT_CONTROLLER, NULL, 0);
        return;
    }
    event.u.elect.all = tps == NULL;
    event.u.elect.unclean = unclean;
    if (tps != NULL) {
        event.u.elect.tps = *tps;
    }
    ctl_cmds_clear(&cmds);
    ctl_step(driver->ctl, &event, &cmds);
    struct ctl_elect_result *results =
        arena_array(&cmds.arena, struct ctl_elect_result, (size_t)cmds.elected_count + 1);
    for (int32_t i = 0; i < cmds.elected_count; i++) {
        results[i] = (struct ctl_elect_result){cmds.elected[i].topic, cmds.elected[i].partition,
                                               cmds.elected[i].err};
    }
    execute_all(driver, &cmds);
    fn(arg, ERR_OK, results, cmds.elected_count);
    ctl_cmds_fini(&cmds);
}

void ctl_driver_reassign(struct ctl_driver *driver, const struct ctl_reassign *items, int32_t count,
                         ctl_driver_reassign_fn *fn, void *arg)
{
    struct ctl_event event = {.kind = CTL_EV_REASSIGN};
    loop_assert_here(driver->loop);
    struct waiter *waiter = add_waiter(driver, arg);
    waiter->reassign_fn = fn;
    event.u.reassign.reply_id = waiter->id;
    event.u.reassign.items = items;
    event.u.reassign.count = count;
    step(driver, event);
}

void ctl_driver_set_unclean(struct ctl_driver *driver, struct str topic, int allowed)
{
    struct ctl_event event = {.kind = CTL_EV_UNCLEAN};
    event.u.unclean.topic = topic;
    event.u.unclean.allowed = allowed;
    step(driver, event);
}

void ctl_driver_set_min_insync(struct ctl_driver *driver, struct str topic, int32_t count)
{
    struct ctl_event event = {.kind = CTL_EV_MIN_INSYNC};
    event.u.min_insync.topic = topic;
    event.u.min_insync.count = count;
    step(driver, event);
}

/* ---- Life. */

struct ctl_driver *ctl_driver_new(struct loop *loop, const struct ctl_config *config,
                                  struct ctl_host *host)
{
    struct ctl_driver *driver = mem_new(struct ctl_driver);
    driver->loop = loop;
    driver->host = host;
    driver->config = *config;
    driver->ctl = ctl_new(config);
    driver->epoch = -1;
    driver->controller_id = -1;
    driver->next_reply_id = 1;
    list_init(&driver->waiters);
    list_init(&driver->completions);
    loop_timer_init(&driver->wake, on_wake);
    loop_task_init(&driver->complete, on_complete);
    election_init(&driver->election, loop, config->broker_id, on_decided);
    ctl_io_init(&driver->io, loop, on_io_event);
    return driver;
}

void ctl_driver_start(struct ctl_driver *driver, struct zk *zk)
{
    loop_assert_here(driver->loop);
    must(driver->zk == NULL);
    driver->zk = zk;
    election_start(&driver->election, zk);
}

void ctl_driver_session_lost(struct ctl_driver *driver)
{
    bool known = driver->controller_id != -1;
    loop_assert_here(driver->loop);
    driver->zk = NULL;
    election_stop(&driver->election);
    end_reign(driver);
    driver->controller_id = -1;
    if (known) {
        driver->host->controller_changed(driver->host, -1, -1);
    }
}

void ctl_driver_resign(struct ctl_driver *driver, void (*fn)(void *arg), void *arg)
{
    end_reign(driver);
    election_retire(&driver->election, fn, arg);
}

bool ctl_driver_on_watch(struct ctl_driver *driver, enum zk_watch_event event, struct str path)
{
    if (driver->zk == NULL) {
        return false;
    }
    if (str_is(path, PATH_CONTROLLER)) {
        election_check(&driver->election);
        return true;
    }
    return driver->reigning && ctl_io_on_watch(&driver->io, event, path);
}

int32_t ctl_driver_controller_id(const struct ctl_driver *driver)
{
    return driver->controller_id;
}

bool ctl_driver_is_active(const struct ctl_driver *driver)
{
    return driver->reigning && ctl_active(driver->ctl);
}

int32_t ctl_driver_epoch(const struct ctl_driver *driver)
{
    return driver->epoch;
}

const struct ctl *ctl_driver_machine(const struct ctl_driver *driver)
{
    return driver->reigning ? driver->ctl : NULL;
}

void ctl_driver_free(struct ctl_driver *driver)
{
    if (driver == NULL) {
        return;
    }
    election_stop(&driver->election);
    end_reign(driver);
    must(list_empty(&driver->waiters));
    ctl_free(driver->ctl);
    mem_free(driver);
}
