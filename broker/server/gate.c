#include "server/gate.h"

#include "api/client.h"
#include "base/log.h"
#include "server/server_internal.h"

#define LOGGER "kafka.server.KafkaServer"

enum {
    GOOD_BEATS = 2, /* so long clients are served without another one: six tenths of a session */
    ASK_AGAIN_MS = 100,
};

static void on_release(struct loop_msg *msg)
{
    struct netloop *netloop = container_of(msg, struct netloop, ready_msg);
    atomic_store(&netloop->ready_posted, false);
    list_for_each_safe (link, &netloop->clients) {
        client_release(container_of(link, struct client, link));
    }
}

/* A loop that saw `ready` false, or a beat missing, has held the request before it gets the
 * message, or another beat hears of it. */
static void release(struct broker *broker)
{
    atomic_store(&broker->ready, true);
    for (int i = 0; i < broker->netloops_count; i++) {
        struct netloop *netloop = &broker->netloops[i];
        if (!atomic_exchange(&netloop->ready_posted, true)) {
            netloop->ready_msg.fn = on_release;
            loop_post(netloop->loop, &netloop->ready_msg);
        }
    }
}

static int64_t clock_now_ms(const struct server *server)
{
    return clock_mono_ms(server->broker.env.clock);
}

/* ---- doubt ---- */

static void open_up(struct server *server)
{
    server->gate.doubting = false;
    server->gate.missed = false;
    release(&server->broker);
}

static int64_t good_ms(const struct gate *gate)
{
    return GOOD_BEATS * (int64_t)session_beat_ms(gate->timeout_ms);
}

/* An answer was given in our session after it had been asked for, which lasted from then on for its
 * timeout at least: for longer than about half of that it says nothing any more. */
static void on_answer(void *arg, enum err err)
{
    struct server *server = arg;
    struct gate *gate = &server->gate;
    int64_t now_ms = clock_now_ms(server);
    bool fresh = now_ms - gate->asked_ms <= good_ms(gate);
    gate->asking = false;
    if (gate->doubting && err == ERR_OK && fresh) {
        log_info(LOGGER, "serving clients again",
                 "the ZooKeeper session lasts; they waited %lld ms",
                 (long long)(now_ms - gate->doubt_ms));
        open_up(server);
    }
}

static void doubt(struct server *server, int64_t now_ms)
{
    log_warn(LOGGER, "stood still",
             "this process did nothing for six tenths of zookeeper.session.timeout.ms or longer; "
             "clients wait until ZooKeeper says that its session lasts");
    gate_close(server);
    server->gate.doubting = true;
    server->gate.doubt_ms = now_ms;
}

static void ask(struct server *server, int64_t now_ms)
{
    struct gate *gate = &server->gate;
    if (now_ms - gate->doubt_ms > gate->timeout_ms) {
        log_warn(LOGGER, "serving clients without ZooKeeper", "no answer for %d ms",
                 gate->timeout_ms);
        open_up(server);
    } else if (!gate->asking) {
        gate->asking = true;
        gate->asked_ms = now_ms;
        session_ask(server->session, on_answer, server);
    }
}

/* ---- beats ---- */

/* Clients may be served for a part of the session's time. What it is between two sessions nobody
 * says: then it is what it was. */
static void beat(struct server *server, int64_t now_ms)
{
    struct gate *gate = &server->gate;
    int32_t granted_ms = session_timeout_granted_ms(server->session);
    gate->timeout_ms = granted_ms > 0 ? granted_ms : gate->timeout_ms;
    pulse_beat(&server->broker.pulse, now_ms, good_ms(gate));
}

/* Together with the session's questions. */
static void set_timer(struct server *server)
{
    struct gate *gate = &server->gate;
    int32_t every_ms = gate->doubting ? ASK_AGAIN_MS : session_beat_ms(gate->timeout_ms);
    loop_timer_set_every(server->broker.control, &gate->beat, every_ms);
}

/* Have we stood still? In doubt already, ZooKeeper has its time from now on; closed for another
 * reason, it is asked before clients are served. */
static void look(struct server *server, int64_t now_ms)
{
    struct gate *gate = &server->gate;
    if (!pulse_was_missed(&server->broker.pulse, now_ms)) {
        return;
    }
    if (gate->doubting) {
        gate->doubt_ms = now_ms;
    } else if (atomic_load(&server->broker.ready)) {
        doubt(server, now_ms);
    } else {
        gate->missed = true;
    }
}

/* By the clock, not by the loop's time, which may be old: a network loop must not find missing what
 * is found in time here. */
static void on_beat(struct loop_timer *timer)
{
    struct server *server = container_of(timer, struct server, gate.beat);
    int64_t now_ms = clock_now_ms(server);
    look(server, now_ms);
    if (server->gate.doubting) {
        ask(server, now_ms);
    }
    beat(server, now_ms);
    set_timer(server);
}

/* ---- open and closed ---- */

void gate_init(struct server *server)
{
    loop_timer_init(&server->gate.beat, on_beat);
}

/* Who is in doubt stays so until ZooKeeper has answered. */
void gate_open(struct server *server)
{
    struct gate *gate = &server->gate;
    int64_t now_ms = clock_now_ms(server);
    if (gate->watching && !server->stopping) {
        look(server, now_ms);
    }
    if (gate->missed && !gate->doubting) {
        doubt(server, now_ms);
    }
    if (gate->doubting) {
        ask(server, now_ms);
    } else {
        open_up(server);
    }
    if (!server->stopping) {
        gate->watching = true;
        beat(server, now_ms);
        set_timer(server);
    }
}

void gate_close(struct server *server)
{
    server->gate.doubting = false;
    server->gate.missed = false;
    atomic_store(&server->broker.ready, false);
}

void gate_rest(struct server *server)
{
    look(server, clock_now_ms(server));
    pulse_end(&server->broker.pulse);
    loop_timer_cancel(&server->gate.beat);
    if (server->gate.doubting) {
        ask(server, clock_now_ms(server));
    } else if (atomic_load(&server->broker.ready)) {
        release(&server->broker); /* a loop may have found the last beat missing just now */
    }
}
