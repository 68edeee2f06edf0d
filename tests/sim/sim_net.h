/* sim_net.h: a network in memory, behind net.h: hosts with names, streams between them.
 *
 * What it does to streams, as its options and the faults below say: every piece of bytes takes a
 * time of its own but arrives in order; what different connections carry arrives in any order; a
 * send takes only what the window has room for, and sometimes less; a recv gives sometimes less
 * than is there. A blocked direction holds what is on its way and tries again later, as TCP does,
 * so that after a healed partition everything arrives. A connection to a host that is down, or on
 * which nobody listens, is refused; to one that cannot be reached it hangs until it times out.
 *
 *   connect()  --SYN-->  [listener's loop] accept callback -> adopt()
 *              <--ACK--  first NET_WRITABLE
 *
 * Readiness is level-triggered and is told by a message to the stream's loop, so whoever turns the
 * loops chooses the order. A stream that expects so many bytes is not told of fewer, unless no more
 * can come: the window is full, or the peer has ended.
 *
 * Threads: one; the loops are driven by hand. */
#pragma once

#include "base/rng.h"
#include "net/net.h"
#include "sim_time.h"

struct sim_net;

enum { SIM_NET_HOSTS_MAX = 64 };

struct sim_net_options {
    int64_t delay_min_ns;
    int64_t delay_max_ns;
    size_t window_bytes;     /* on their way or not yet read, per direction */
    uint64_t partial_one_in; /* a send or recv moves only a part; 0: never */
    int64_t retry_ns;        /* of what was held up by a blocked direction */
    int64_t connect_timeout_ns;
    /* One line per connection made, lost or refused; may be NULL. */
    void (*trace)(void *arg, const char *line);
    void *arg;
};

/* A LAN without faults. */
struct sim_net_options sim_net_options_default(void);

struct sim_net *sim_net_new(struct sim_time *time, uint64_t seed,
                            const struct sim_net_options *options);

/* Every stream and listener must be closed. */
void sim_net_free(struct sim_net *net);

/* The network as this host sees it; the host is made at the first call. Valid as long as `net`. */
struct net *sim_net_host(struct sim_net *net, const char *name);

/* ---- faults; unknown hosts are made */

/* Stop or let pass what goes from one host to another (one way). */
void sim_net_block(struct sim_net *net, const char *from, const char *to, bool blocked);
void sim_net_heal(struct sim_net *net);

/* Another range of delays from now on. */
void sim_net_set_delay(struct sim_net *net, int64_t min_ns, int64_t max_ns);

/* What goes to or from this host takes up to so much longer; 0: no longer. */
void sim_net_set_lag(struct sim_net *net, const char *host, int64_t lag_ns);
void sim_net_set_partial(struct sim_net *net, uint64_t one_in);

/* Break one connection, or all between two hosts: both ends see ERR_CLOSED, what is on its way is
 * lost. */
bool sim_net_reset_one(struct sim_net *net, uint64_t number);
void sim_net_reset_between(struct sim_net *net, const char *a, const char *b);

/* The host's process is gone: its own ends do nothing any more, what it sent and has not arrived
 * is lost. `silent`: the others hear nothing (the power is off) until the host is up again; else
 * they see their connections reset. */
void sim_net_down(struct sim_net *net, const char *host, bool silent);
void sim_net_up(struct sim_net *net, const char *host);

/* ---- looking */

/* Connections with at least one open end. */
int sim_net_connections(const struct sim_net *net);
int64_t sim_net_bytes(const struct sim_net *net);
