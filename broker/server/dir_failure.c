/* dir_failure.c: what happens when a log directory goes offline while the broker runs: its
 * partitions are refused, the controller is told, so that other brokers lead them, and the other
 * directories go on. When it was the last one the broker ends.
 *
 *   any thread: logdir_fail() -> server_on_dir_failed() -> control loop: on_dir_failure()
 *
 * A directory that hangs goes offline in the same way, when the watchdog says so; when a loop hangs
 * in it, whoever started the server ends the process (server_on_stuck()). */
#include "base/log.h"
#include "base/mem.h"
#include "server/server_internal.h"

#define LOGGER "kafka.server.ReplicaManager"

struct dir_failure {
    struct loop_msg msg;
    struct server *server;
    char *dir;
};

static void on_told(void *arg, enum err err, const char *text)
{
    (void)arg;
    if (err != ERR_OK) {
        /* A new session registers again, and then the controller asks for every partition. */
        log_warn(LOGGER, "the controller was not told of the failed log directory", "error=%s %s",
                 err_text(err), text != NULL ? text : "");
    }
}

bool server_any_dir_left(struct server *server)
{
    struct logs *logs = server->broker.logs;
    for (int32_t i = 0; i < logs_dirs_count(logs); i++) {
        if (!logdir_offline(logs_dir(logs, i))) {
            return true;
        }
    }
    return false;
}

static void give_up(struct server *server)
{
    const char *text = "error[E-DATA-09]: every log directory has failed; the broker stops.";
    log_error(LOGGER, "every log directory has failed", "broker=%d", server->broker.id);
    if (server->fatal_fn != NULL) {
        server->fatal_fn(server->fatal_arg, ERR_KAFKA_STORAGE_ERROR, text);
    }
}

static void on_dir_failure(struct loop_msg *msg)
{
    struct dir_failure *failure = container_of(msg, struct dir_failure, msg);
    struct server *server = failure->server;
    if (!server->stopping && server->broker.control_apply != NULL) {
        replicas_dir_failed(control_apply_replicas(server->broker.control_apply), failure->dir);
        if (!server_any_dir_left(server)) {
            give_up(server);
        } else if (server->registered) {
            admin_report_dir_failure(session_admin(server->session), server->broker.id, on_told,
                                     NULL);
        }
    }
    mem_free(failure->dir);
    mem_free(failure);
}

void server_on_dir_failed(void *arg, const char *dir)
{
    struct dir_failure *failure = mem_new(struct dir_failure);
    failure->msg.fn = on_dir_failure;
    failure->server = arg;
    failure->dir = mem_strdup(dir);
    loop_post(failure->server->broker.control, &failure->msg);
}

/* ---- directories that hang ---- */

static void on_dir_hung(void *arg, int dir)
{
    struct server *server = arg;
    logdir_hangs(logs_dir(server->broker.logs, dir));
}

static void on_probe_failed(void *arg, int dir)
{
    struct server *server = arg;
    logdir_fail(logs_dir(server->broker.logs, dir));
}

static void on_stuck(void *arg)
{
    struct server *server = arg;
    if (server->stuck_fn != NULL) {
        server->stuck_fn(server->stuck_arg);
    }
}

void server_watch(struct server *server)
{
    struct watchdog_options options = {
        .fs = server->broker.env.fs,
        .clock = server->broker.env.clock,
        .dirs = (const char *const *)server->log_dirs,
        .dirs_count = server->log_dirs_count,
        .limit_ms = WATCHDOG_LIMIT_MS,
        .threads = true,
        .on_dir_hung = on_dir_hung,
        .on_dir_failed = on_probe_failed,
        .on_stuck = on_stuck,
        .arg = server,
    };
    server->watchdog = watchdog_new(&options);
    server->broker.env.fs = watchdog_fs(server->watchdog);
}
