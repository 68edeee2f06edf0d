/* zk_connect.h: zookeeper.connect, "host1:2181,host2,[::1]:2181/chroot", as Java's client reads it
 * and libzookeeper does not: a port may be missing (2181), blanks may stand around each server, an
 * IPv6 address is in brackets. A broker of Kafka's works with all of that. */
#pragma once

enum { ZK_CONNECT_PORT = 2181 };

/* *servers: for libzookeeper, each with its port. *chroot: "" or "/x/y", never with a slash at its
 * end. mem_free() both. */
void zk_connect_parse(const char *connect, char **servers, char **chroot);

/* The addresses that the servers' names mean now: numbers with their ports, of an odd count, as
 * libzookeeper needs them (zk_connect.c). A name that means nothing is left out; NULL: none means
 * anything. mem_free(). Blocks. */
char *zk_connect_resolve(const char *servers);
