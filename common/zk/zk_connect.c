#include "zk/zk_connect.h"

#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

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
