/* server_internal.h: a broker from the inside, for server.c (what it is made of), startup.c and
 * shutdown.c (the sequences). */
#pragma once

#include "config/listeners.h"
#include "control/control_apply.h"
#include "control/replicas.h"
#include "control/upkeep.h"
#include "groups/groups.h"
#include "health/watchdog.h"
#include "moves/moves.h"
#include "peer/peer.h"
#include "replica/replicator.h"
#include "server/gate.h"
#include "server/server.h"
#include "server/session.h"
#include "topics/topic_configs.h"

struct server {
    struct broker broker;
    struct config_cell config;
    struct listeners listeners;
    struct session *session;
    struct session_host session_host;
    struct ctl_driver *driver;
    struct ctl_host ctl_host;
    int32_t controller_id; /* as ZooKeeper said last; -1: nobody */
    struct config_changes *changes;
    struct config_changes_host changes_host;
    struct peers *peers;
    struct topic_configs *topic_configs;
    char **log_dirs;
    int log_dirs_count;
    int64_t start_ms;
    int64_t zookeeper_ms; /* when the first session was there */

    bool registered;
    int64_t broker_epoch; /* of the last registration */
    bool configs_loaded;
    int64_t metadata_epoch; /* the last registration in which the controller has told us all */
    struct loop_timer metadata_timer;
    bool serving; /* has been ready once */
    struct gate gate;
    bool stopping;
    bool no_threads; /* a loop's could not be started: nothing has begun */
    bool session_open;
    char waiting_line[512];
    server_done_fn *fatal_fn;
    void *fatal_arg;
    server_done_fn *start_fn;
    void *start_arg;
    server_done_fn *stop_fn;
    void *stop_arg;
    struct loop_msg start_msg;
    struct loop_msg stop_msg;
    struct watchdog *watchdog; /* NULL without threads */
    void (*stuck_fn)(void *arg);
    void *stuck_arg;
    struct loop_msg aside_msg;
    _Atomic bool aside_posted;
    struct loop_timer read_timer; /* the configurations again, after a session that ended */
    struct work load_work;
    enum err load_err;
    struct errmsg load_msg;
    bool logs_loaded;
    struct work close_work;
    bool closed_clean;
    bool left; /* the controller's office: given up, or not waited for any longer */
    struct loop_timer resign_timer;
    int parts_left; /* partitions not yet closed, plus one while they are told */
    struct drain *drain;
};

/* Tell whoever started us, once. */
void server_started(struct server *server, enum err err, const char *text);

/* startup.c: the first step, on the control loop. */
void startup_begin(struct server *server);

/* dir_failure.c: a log directory went offline; from any thread. `arg` is the server. */
void server_on_dir_failed(void *arg, const char *dir);
/* dir_failure.c: is there a log directory that is not offline? The logs are open. */
bool server_any_dir_left(struct server *server);

/* dir_failure.c: the watchdog over the log directories; broker.env.fs is what it watches. */
void server_watch(struct server *server);

/* server.c: something was put aside, to be removed after a while; likewise. */
void server_on_put_aside(void *arg);

/* shutdown.c: likewise. */
void shutdown_begin(struct server *server);

/* throttles.c */
void throttles_init(struct server *server);
void throttles_fini(struct server *server);
void throttles_configure(struct server *server);

/* server.c: the dynamic layers have changed. */
void server_apply_dynamic(struct server *server, bool mine, const struct znode_config *config);
void server_close_listeners(struct server *server);

/* controller_host.c: make the controller's driver; it knows every topic's configuration before it
 * may be elected, for by what it does not know it would judge wrongly. */
void server_make_controller(struct server *server);

/* controller_host.c: what the controller wants to know of a topic's own values; of the defaults. */
void server_tell_controller(struct server *server, struct str topic,
                            const struct config_pair *pairs, int count);
void server_tell_controller_defaults(struct server *server, const struct config *config);

/* config_follow.c: of the "brokers" entities ours and the default's take effect. */
void server_take_broker_config(struct server *server, struct str name,
                               const struct znode_config *config);

/* config_follow.c: `changed` of struct config_changes_host; NULL: there is none any more. */
void server_config_changed(struct config_changes_host *host, struct str type, struct str name,
                           const struct znode_config *config);
