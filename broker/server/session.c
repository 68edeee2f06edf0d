#include "server/session.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "znode/path.h"

#define LOGGER "kafka.zookeeper.ZooKeeperClient"

enum { BEATS = 3, BEATS_OF = 10 }; /* of the session's time, from question to question */

struct session {
    struct loop *loop;
    struct zk_factory *factory;
    struct session_host *host;
    char *connect;
    int32_t timeout_ms;
    int32_t connection_timeout_ms;
    char *proposed_cluster_id;
    struct zk *zk;
    struct admin *admin;
    struct loop_timer connect_timer;
    struct loop_task reopen; /* outside of the session's own callback */
    bool started; /* in this session, once connected; a reconnection starts nothing again */
    bool over;    /* another one is about to be opened */
    bool identified;
    bool withdrawn; /* no session registers any more */
    bool closed;
    /* Under way in this session, before session_join(); NULL: nothing. */
    struct registration_step *step;
    registration_id_fn *id_fn; /* a broker id is wanted; begun anew in every session */
    void *id_arg;
    int32_t id_reserved_max;
    session_answer_fn *answer_fn; /* the session was asked for; NULL: not now */
    void *answer_arg;
    bool in_contact; /* as told */
    bool asking;
    int64_t asked_ms; /* of the last question; or when the connection was there */
    struct loop_timer contact_timer;
    /* From session_join() on. */
    struct registration_host registration_host;
    struct registration *registration;
    struct ctl_driver *driver;
    struct config_changes *changes;
};

static void session_open(struct session *session);

static void on_registered(struct registration_host *reg_host, int64_t broker_epoch)
{
    struct session *session = container_of(reg_host, struct session, registration_host);
    ctl_driver_start(session->driver, session->zk);
    config_changes_start(session->changes, session->zk);
    session->host->registered(session->host, broker_epoch);
}

static void on_settled(struct registration_host *reg_host)
{
    struct session *session = container_of(reg_host, struct session, registration_host);
    session->host->settled(session->host);
}

static void on_waiting(struct registration_host *reg_host, const char *line)
{
    struct session *session = container_of(reg_host, struct session, registration_host);
    session->host->waiting(session->host, line);
}

static void on_refused(struct registration_host *reg_host, enum err err, const char *text)
{
    struct session *session = container_of(reg_host, struct session, registration_host);
    session->host->failed(session->host, err, text);
}

static void on_setup(void *arg, enum err err, struct str cluster_id, const char *text)
{
    struct session *session = arg;
    session->step = NULL;
    if (err == ERR_ZK_SESSION_EXPIRED) {
        return; /* the next session sets up again */
    }
    if (err != ERR_OK) {
        session->host->failed(session->host, err, text);
        return;
    }
    if (!session->identified) {
        session->identified = true;
        session->host->identified(session->host, cluster_id);
    }
}

static void on_id(void *arg, enum err err, int32_t broker_id)
{
    struct session *session = arg;
    registration_id_fn *fn = session->id_fn;
    session->step = NULL;
    if (err != ERR_ZK_SESSION_EXPIRED) {
        session->id_fn = NULL;
        fn(session->id_arg, err, broker_id);
    }
}

static void ask_for_id(struct session *session)
{
    session->step = registration_generate_id(session->loop, session->zk, session->id_reserved_max,
                                             on_id, session);
}

static void session_connected(struct session *session)
{
    loop_timer_cancel(&session->connect_timer);
    if (session->started) {
        return;
    }
    session->started = true;
    admin_set_session(session->admin, session->zk);
    if (session->registration != NULL && !session->withdrawn) {
        registration_start(session->registration, session->zk);
    } else if (!session->identified) {
        session->step = registration_setup(session->loop, session->zk,
                                           str_of(session->proposed_cluster_id), on_setup, session);
    } else if (session->id_fn != NULL) {
        ask_for_id(session);
    }
}

/* ---- contact ----
 *
 * That ZooKeeper's messages arrive here does not say that ours arrive there. Watch events come
 * unasked, and the library takes them for signs of life as it does answers; but the session lasts
 * by what ZooKeeper hears. So it is asked something every three tenths of the session's time, and
 * we are in contact for as long as the last question that was answered is not twice as old. */

static void tell_contact(struct session *session, bool there)
{
    if (session->in_contact != there) {
        session->in_contact = there;
        session->host->contact(session->host, there);
    }
}

int32_t session_beat_ms(int32_t timeout_ms)
{
    int32_t beat_ms = (int32_t)((int64_t)timeout_ms * BEATS / BEATS_OF);
    return beat_ms > 0 ? beat_ms : 1;
}

static int32_t ask_every_ms(const struct session *session)
{
    return session_beat_ms(session->zk->ops->session_timeout_ms(session->zk));
}

/* Any answer of the server's was given in the session. */
static bool is_answer(enum err err)
{
    return err != ERR_ZK_CONNECTION_LOSS && err != ERR_ZK_SESSION_EXPIRED && err != ERR_CLOSED;
}

static void on_contact(void *arg, const struct zk_result *result)
{
    struct session *session = arg;
    session->asking = false;
    if (session->over || !is_answer(result->err)) {
        return; /* what has become of the connection is told */
    }
    if (loop_now_ms(session->loop) - session->asked_ms < 2 * (int64_t)ask_every_ms(session)) {
        tell_contact(session, true);
    }
    if (!loop_timer_pending(&session->contact_timer)) {
        loop_timer_set_every(session->loop, &session->contact_timer, ask_every_ms(session));
    }
}

static void on_contact_timer(struct loop_timer *timer)
{
    struct session *session = container_of(timer, struct session, contact_timer);
    int64_t asked_ms_ago = loop_now_ms(session->loop) - session->asked_ms;
    if (session->asking && asked_ms_ago < ask_every_ms(session) / 2) {
        loop_timer_set_every(session->loop, timer, ask_every_ms(session)); /* we stood still */
        return;
    }
    if (session->asking) {
        log_warn(LOGGER, "ZooKeeper does not answer", "connect=%s asked_ms_ago=%lld",
                 session->connect, (long long)asked_ms_ago);
        tell_contact(session, false);
        return;
    }
    session->asking = true;
    session->asked_ms = loop_now_ms(session->loop);
    loop_timer_set_every(session->loop, timer, ask_every_ms(session));
    session->zk->ops->exists(session->zk, PATH_CONTROLLER, false, on_contact, session);
}

static void contact_begins(struct session *session)
{
    session->asked_ms = loop_now_ms(session->loop); /* to be let in */
    loop_timer_set_every(session->loop, &session->contact_timer, ask_every_ms(session));
    tell_contact(session, true);
}

static void contact_ends(struct session *session)
{
    loop_timer_cancel(&session->contact_timer);
    tell_contact(session, false);
}

/* ---- one session after another ---- */

/* Everything that worked in the session hears that it is over. What is to begin from here on begins
 * when the next one is connected. */
static void session_lost(struct session *session)
{
    session->started = false;
    registration_cancel(session->step);
    session->step = NULL;
    admin_set_session(session->admin, NULL);
    if (session->registration != NULL) {
        registration_session_lost(session->registration);
        ctl_driver_session_lost(session->driver);
        config_changes_session_lost(session->changes);
    }
}

/* What we were in this session is no more. */
static void end_session(struct session *session)
{
    session->over = true;
    contact_ends(session);
    session_lost(session);
    session->host->lost(session->host);
    loop_defer(session->loop, &session->reopen);
}

/* Once out of the cluster we can only come again as another life of ours, as after an expiry. */
static void on_gone(struct registration_host *reg_host)
{
    struct session *session = container_of(reg_host, struct session, registration_host);
    log_warn(LOGGER, "our registration was removed in ZooKeeper",
             "opening a new session, to register again");
    end_session(session);
}

static void session_on_reopen(struct loop_task *task)
{
    struct session *session = container_of(task, struct session, reopen);
    if (session->closed) {
        return;
    }
    session->zk->ops->close(session->zk);
    session_open(session);
}

static void on_session_event(void *arg, enum zk_session_event event)
{
    struct session *session = arg;
    if (session->over) {
        return;
    }
    switch (event) {
    case ZK_SESSION_CONNECTED:
        log_info(LOGGER, "connected to ZooKeeper", "session=0x%llx timeout_ms=%d",
                 (unsigned long long)session->zk->ops->session_id(session->zk),
                 session->zk->ops->session_timeout_ms(session->zk));
        contact_begins(session);
        session_connected(session);
        break;
    case ZK_SESSION_DISCONNECTED:
        log_warn(LOGGER, "disconnected from ZooKeeper",
                 "connect=%s; serving on, the session lasts %d ms more", session->connect,
                 session->timeout_ms);
        contact_ends(session);
        break;
    case ZK_SESSION_EXPIRED:
        log_warn(LOGGER, "ZooKeeper session expired", "opening a new one");
        end_session(session);
        break;
    case ZK_SESSION_AUTH_FAILED:
        session->host->failed(session->host, ERR_PERMISSION,
                              "error[E-ZK-02]: ZooKeeper refused the authentication.");
        break;
    }
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    struct session *session = arg;
    if (session->registration == NULL ||
        registration_on_watch(session->registration, event, path) ||
        ctl_driver_on_watch(session->driver, event, path)) {
        return;
    }
    (void)config_changes_on_watch(session->changes, event, path);
}

static const struct zk_events session_events = {
    .on_session = on_session_event,
    .on_watch = on_watch,
};

static void session_open(struct session *session)
{
    session->started = false;
    session->over = false;
    session->zk = session->factory->open(session->factory, session->loop, session->connect,
                                         session->timeout_ms, &session_events, session);
    must(session->zk != NULL);
}

static void on_connect_timeout(struct loop_timer *timer)
{
    struct session *session = container_of(timer, struct session, connect_timer);
    char text[1024];
    snprintf(
        text, sizeof(text),
        "error[E-ZK-01]: no ZooKeeper answered at %s within %d ms.\n"
        "  zookeeper.connect=%s\n"
        "  A broker needs ZooKeeper to join its cluster. Start it, or correct the address, for "
        "example:\n      zookeeper.connect=localhost:2181",
        session->connect, session->connection_timeout_ms, session->connect);
    session->host->failed(session->host, ERR_TIMEOUT, text);
}

struct session *session_new(struct loop *loop, struct zk_factory *factory,
                            const struct session_options *options, struct session_host *host)
{
    struct session *session = mem_new(struct session);
    session->loop = loop;
    session->factory = factory;
    session->host = host;
    session->connect = mem_strdup(options->connect);
    session->timeout_ms = options->session_timeout_ms;
    session->connection_timeout_ms = options->connection_timeout_ms;
    session->proposed_cluster_id = str_dup(options->proposed_cluster_id);
    session->admin = admin_new(loop);
    session->registration_host = (struct registration_host){.registered = on_registered,
                                                            .settled = on_settled,
                                                            .waiting = on_waiting,
                                                            .refused = on_refused,
                                                            .gone = on_gone};
    loop_timer_init(&session->connect_timer, on_connect_timeout);
    loop_timer_init(&session->contact_timer, on_contact_timer);
    loop_task_init(&session->reopen, session_on_reopen);
    return session;
}

void session_start(struct session *session)
{
    loop_timer_set(session->loop, &session->connect_timer,
                   loop_now_ms(session->loop) + session->connection_timeout_ms);
    session_open(session);
}

void session_generate_id(struct session *session, int32_t reserved_max, registration_id_fn *fn,
                         void *arg)
{
    session->id_fn = fn;
    session->id_arg = arg;
    session->id_reserved_max = reserved_max;
    if (session->started) {
        ask_for_id(session);
    }
}

void session_join(struct session *session, int32_t broker_id, const struct znode_broker *broker,
                  struct ctl_driver *driver, struct config_changes *changes)
{
    must(session->registration == NULL);
    session->driver = driver;
    session->changes = changes;
    session->registration =
        registration_new(session->loop, broker_id, broker, &session->registration_host);
    if (session->started) {
        registration_start(session->registration, session->zk);
    }
}

struct admin *session_admin(struct session *session)
{
    return session->admin;
}

int32_t session_timeout_granted_ms(const struct session *session)
{
    return session->zk != NULL ? session->zk->ops->session_timeout_ms(session->zk) : 0;
}

static void on_answer(void *arg, const struct zk_result *result)
{
    struct session *session = arg;
    session_answer_fn *fn = session->answer_fn;
    session->answer_fn = NULL;
    fn(session->answer_arg, is_answer(result->err) ? ERR_OK : result->err);
}

void session_ask(struct session *session, session_answer_fn *fn, void *arg)
{
    must(session->answer_fn == NULL);
    session->answer_fn = fn;
    session->answer_arg = arg;
    session->zk->ops->exists(session->zk, PATH_CONTROLLER, false, on_answer, session);
}

void session_withdraw(struct session *session)
{
    session->withdrawn = true;
    registration_withdraw(session->registration);
}

void session_close(struct session *session)
{
    if (session->closed) {
        return;
    }
    session->closed = true;
    loop_timer_cancel(&session->connect_timer);
    loop_timer_cancel(&session->contact_timer);
    loop_task_cancel(&session->reopen);
    session_lost(session);
    if (session->zk != NULL) {
        session->zk->ops->close(session->zk);
        session->zk = NULL;
    }
}

void session_free(struct session *session)
{
    must(session->closed);
    registration_free(session->registration);
    admin_free(session->admin);
    mem_free(session->connect);
    mem_free(session->proposed_cluster_id);
    mem_free(session);
}
