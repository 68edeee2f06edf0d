/* zk_server.h: a real ZooKeeper for tests, on loopback, on a free port, in a temporary folder.
 *
 * Needs java and Debian's zookeeper.jar. Tests that cannot have one call cr_skip_test with
 * zk_server_missing(). Threads: one. The server dies with the test process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct zk_server {
    pid_t pid; /* 0: not running */
    int port;
    int holder; /* a socket that keeps the port from everybody else */
    char folder[64];
};

/* NULL when a server can be started, else the reason why not. */
const char *zk_server_missing(void);

/* Does a server that serves requests answer behind the port, within so long? */
bool zk_server_answers(int port, int64_t patience_ms);

/* Make a folder, choose a port, start, and wait until it answers. False when it does not within
 * two minutes: a test beside many others gets little of the machine. */
bool zk_server_start(struct zk_server *server);

/* kill -9; the folder stays. */
void zk_server_kill(struct zk_server *server);

/* After a kill: again on the same port, with its data, so that sessions live on. */
bool zk_server_restart(struct zk_server *server);

/* After a kill: its data, so that it comes back without a memory of sessions. One that has seen
 * more than the server is let in, and told that it is over, only when that has seen as much: after
 * a few changes by others. */
void zk_server_forget(const struct zk_server *server);

/* Kill it and remove the folder. */
void zk_server_stop(struct zk_server *server);
