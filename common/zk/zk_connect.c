/* zk_connect.c: what the library (libzookeeper-mt 3.8.0) is told to connect to, and why it is told
 * no names:
 *
 *   - It looks names up before each connection that it tries. While none of them means anything, as
 *     in a container network whose ZooKeeper is being made anew, it asks again at once, thousands
 *     of times a second.
 *   - After a connection that failed it goes two places on in its list. Of an even number of
 *     addresses it tries the same half for ever, without a pause: where there are two, and one is
 *     dead, a session that has lost the other never comes back.
 *
 * So the session's keeper looks names up, and the library gets numbers, of an odd count: one may be
 * there twice. */
#include "zk/zk_connect.h"

#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.zookeeper.ZooKeeperClient"

static struct str trim(struct str s)
{
    while (s.size > 0 && isspace((unsigned char)s.ptr[0])) {
        s.ptr++;
        s.size--;
    }
    while (s.size > 0 && isspace((unsigned char)s.ptr[s.size - 1])) {
        s.size--;
    }
    return s;
}

/* The place of the colon before the port; the size when there is none. */
static size_t find_port(struct str server)
{
    size_t at = server.size;
    while (at > 0 && server.ptr[at - 1] != ':' && server.ptr[at - 1] != ']') {
        at--;
    }
    return at > 0 && server.ptr[at - 1] == ':' ? at - 1 : server.size;
}

static void put_server(struct buf *out, struct str server)
{
    size_t colon = find_port(server);
    struct str host = {server.ptr, colon};
    struct str port = {server.ptr + colon, server.size - colon};
    if (host.size >= 2 && host.ptr[0] == '[' && host.ptr[host.size - 1] == ']') {
        host = (struct str){host.ptr + 1, host.size - 2};
    }
    buf_printf(out, "%s%.*s", out->size > 0 ? "," : "", STR_ARG(host));
    if (port.size > 1) { /* more than the colon */
        buf_put(out, port.ptr, port.size);
    } else {
        buf_printf(out, ":%d", ZK_CONNECT_PORT);
    }
}

void zk_connect_parse(const char *connect, char **servers, char **chroot)
{
    struct buf out = {0};
    size_t end = strcspn(connect, "/");
    for (size_t at = 0; at < end;) {
        size_t size = strcspn(connect + at, ",/");
        struct str server = trim((struct str){connect + at, size});
        if (server.size > 0) {
            put_server(&out, server);
        }
        at += size + 1;
    }
    buf_put_byte(&out, 0);
    *servers = mem_strdup((const char *)out.data);
    buf_fini(&out);
    struct str path = trim(str_of(connect + end));
    while (path.size > 0 && path.ptr[path.size - 1] == '/') {
        path.size--;
    }
    *chroot = mem_strndup(path.ptr, path.size);
}

/* ---- names ---- */

enum { ADDRESS_MAX = 80 }; /* an IPv6 address with its interface, and a port */

/* Addresses found so far. */
struct found {
    struct buf text;
    char first[ADDRESS_MAX];
    int count;
};

static void put_address(struct found *found, const struct addrinfo *address, const char *port)
{
    char host[ADDRESS_MAX - 8];
    char whole[ADDRESS_MAX];
    if (getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST) != 0) {
        return;
    }
    int size = snprintf(whole, sizeof(whole), "%s:%s", host, port);
    if (size < 0 || (size_t)size >= sizeof(whole)) {
        return; /* that is no port */
    }
    buf_printf(&found->text, "%s%s", found->count > 0 ? "," : "", whole);
    if (found->count == 0) {
        memcpy(found->first, whole, sizeof(whole));
    }
    found->count++;
}

/* As the library would look: only what this machine has an interface for, if that can be told. */
static void put_addresses(struct found *found, const char *host, const char *port)
{
    static struct log_limit limit;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc == EAI_BADFLAGS || rc == EAI_ADDRFAMILY) {
        hints.ai_flags = 0;
        rc = getaddrinfo(host, NULL, &hints, &list);
    }
    if (rc != 0) {
        log_limited(&limit, LOG_WARN, LOGGER, "ZooKeeper address does not resolve",
                    "host=%s reason=\"%s\"", host, gai_strerror(rc));
        return;
    }
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        put_address(found, at, port);
    }
    freeaddrinfo(list);
}

char *zk_connect_resolve(const char *servers)
{
    struct found found = {.count = 0};
    char *copy = mem_strdup(servers);
    char *save = NULL;
    for (char *at = strtok_r(copy, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save)) {
        char *colon = strrchr(at, ':');
        must(colon != NULL); /* zk_connect_parse() saw to that */
        *colon = '\0';
        put_addresses(&found, at, colon + 1);
    }
    mem_free(copy);
    if (found.count == 0) {
        buf_fini(&found.text);
        return NULL;
    }
    if (found.count % 2 == 0) {
        buf_printf(&found.text, ",%s", found.first);
    }
    buf_put_byte(&found.text, 0);
    return (char *)found.text.data;
}
