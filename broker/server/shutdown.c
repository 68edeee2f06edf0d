/* shutdown.c: the steps of a stop: hand over what can be handed over, refuse what comes then, leave
 * the cluster, close the door, write everything down. */
#include "admin/admin_service.h"
#include "admin/producer_ids.h"
#include "api/drain.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "server/server_internal.h"

#define LOGGER "kafka.server.KafkaServer"

/* How long a stop waits for ZooKeeper to take the controller's resignation. */
enum { RESIGN_WAIT_MS = 2000 };

static void finish(struct server *server)
{
    struct broker *broker = &server->broker;
    if (server->session != NULL) {
        session_close(server->session);
    }
    if (server->changes != NULL) {
        config_changes_free(server->changes);
    }
    if (broker->producer_ids != NULL) {
        producer_ids_free(broker->producer_ids);
    }
    if (broker->admin != NULL) {
        meta_waits_fini(&broker->meta_waits);
        admin_service_free(broker->admin);
    }
    if (server->driver != NULL) {
        ctl_driver_free(server->driver);
        server->driver = NULL;
    }
    if (server->peers != NULL) {
        peers_free(server->peers);
    }
    if (broker->replicator != NULL) {
        replicator_free(broker->replicator);
    }
    if (broker->moves != NULL) {
        moves_free(broker->moves);
    }
    if (broker->control_apply != NULL) {
        control_apply_free(broker->control_apply);
    }
    if (server->session != NULL) {
        session_free(server->session);
        server->session = NULL;
    }
    log_info(LOGGER, "stopped", "broker=%d clean=%s", broker->id,
             server->closed_clean ? "yes" : "no");
    server_done_fn *fn = server->stop_fn;
    fn(server->stop_arg, ERR_OK, "");
}

/* ---- the logs, on a worker ---- */

static void on_close_logs(struct work *work)
{
    struct server *server = container_of(work, struct server, close_work);
    struct control_apply *apply = server->broker.control_apply;
    server->closed_clean = apply != NULL ? logs_close(server->broker.logs, replicas_high_watermark,
                                                      control_apply_replicas(apply))
                                         : logs_close(server->broker.logs, logs_hw_loaded, NULL);
}

static void on_closed_logs(struct work *work)
{
    finish(container_of(work, struct server, close_work));
}

static void close_logs(struct server *server)
{
    /* Before they were loaded nothing was written: what the directories say stays true. Once they
     * are, a stop is a clean one, also where the broker never joined: a port was taken, say. */
    if (!server->logs_loaded) {
        finish(server);
        return;
    }
    server->close_work =
        (struct work){.run = on_close_logs, .done = on_closed_logs, .loop = server->broker.control};
    worker_submit(server->broker.workers, &server->close_work);
}

/* ---- coordinators and copies ---- */

/* No log is being copied any more. */
static void on_moves_stopped(void *arg)
{
    close_logs(arg);
}

/* No worker reads a log for a coordinator any more. */
static void on_groups_stopped(void *arg)
{
    struct server *server = arg;
    if (server->broker.moves != NULL) {
        moves_stop(server->broker.moves, on_moves_stopped, server);
    } else {
        close_logs(server);
    }
}

/* ---- connections: whoever has asked has been answered ---- */

static void on_drained(void *arg)
{
    struct server *server = arg;
    groups_stop(server->broker.groups, on_groups_stopped, server);
}

static void drain(struct server *server)
{
    server_close_listeners(server);
    server->drain = drain_begin(&server->broker, on_drained, server);
}

/* ---- leaving the cluster ---- */

/* Whichever comes first: the office is given up, or ZooKeeper does not say so in time. Then the end
 * of the session gives it up. */
static void leave(struct server *server)
{
    if (!server->left) {
        server->left = true;
        loop_timer_cancel(&server->resign_timer);
        drain(server);
    }
}

static void on_resigned(void *arg)
{
    leave(arg);
}

static void on_resign_timeout(struct loop_timer *timer)
{
    struct server *server = container_of(timer, struct server, resign_timer);
    log_warn(LOGGER, "stopping without ZooKeeper", "no answer within %d ms", RESIGN_WAIT_MS);
    leave(server);
}

/* No replica of ours fetches any more. The registration goes before the office: the controller
 * after us has not heard that we leave, and would let us come back into the ISRs that we have just
 * been taken out of, for what was fetched last. */
static void on_replication_stopped(void *arg)
{
    struct server *server = arg;
    if (server->driver != NULL) {
        session_withdraw(server->session);
    }
    if (server->driver != NULL && server->registered) {
        loop_timer_init(&server->resign_timer, on_resign_timeout);
        loop_timer_set(server->broker.control, &server->resign_timer,
                       loop_now_ms(server->broker.control) + RESIGN_WAIT_MS);
        ctl_driver_resign(server->driver, on_resigned, server);
    } else {
        drain(server);
    }
}

static void stop_replication(struct server *server)
{
    if (server->broker.replicator != NULL) {
        replicator_stop(server->broker.replicator, on_replication_stopped, server);
    } else {
        on_replication_stopped(server);
    }
}

/* ---- partitions: nothing is appended any more ----
 *
 * Clients are still there: what they ask of a partition from now on, and what waits in one, is
 * answered NOT_LEADER_OR_FOLLOWER, after which they look for its new leader. To leave them without
 * an answer would not do: a producer that has five requests under way may learn of the new leader
 * meanwhile and send it the sixth, which is out of order there, for good. */

struct part_stop {
    struct actor_msg msg;
    struct loop_msg back;
    struct part *part;
    struct server *server;
};

static void part_stopped(struct server *server)
{
    must(server->parts_left > 0);
    if (--server->parts_left == 0) {
        stop_replication(server);
    }
}

static void on_part_back(struct loop_msg *msg)
{
    struct part_stop *stop = container_of(msg, struct part_stop, back);
    struct server *server = stop->server;
    part_put(stop->part);
    mem_free(stop);
    part_stopped(server);
}

static void stop_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct part_stop *stop = container_of(msg, struct part_stop, msg);
    part_close(part);
    stop->back.fn = on_part_back;
    loop_post(stop->server->broker.control, &stop->back);
}

static void stop_part(void *arg, struct part *part)
{
    struct server *server = arg;
    struct part_stop *stop = mem_new(struct part_stop);
    stop->msg.fn = stop_in_actor;
    stop->part = part_get(part);
    stop->server = server;
    server->parts_left++;
    part_post(part, &stop->msg);
}

/* Nothing of the controller's is carried out any more. */
static void on_control_stopped(void *arg)
{
    struct server *server = arg;
    server->parts_left = 1;
    parts_each(&server->broker.parts, stop_part, server);
    part_stopped(server);
}

/* ---- the beginning ---- */

/* Everything that we led is led by others now, or nobody can. From here on requests of a controller
 * are refused: a partition that is led from now on would be closed by nobody. */
static void on_handed_over(void *arg)
{
    struct server *server = arg;
    loop_timer_cancel(&server->metadata_timer);
    if (server->broker.control_apply != NULL) {
        upkeep_stop(replicas_upkeep(control_apply_replicas(server->broker.control_apply)));
        control_apply_stop(server->broker.control_apply, on_control_stopped, server);
    } else {
        on_control_stopped(server);
    }
}

void shutdown_begin(struct server *server)
{
    if (server->stopping) {
        return;
    }
    server->stopping = true;
    if (server->broker.logs != NULL) {
        logs_give_up(server->broker.logs);
    }
    gate_rest(server);
    if (server->read_timer.fn != NULL) {
        loop_timer_cancel(&server->read_timer);
    }
    if (server->serving) {
        replicator_hand_over(server->broker.replicator, on_handed_over, server);
    } else {
        on_handed_over(server);
    }
}
