/* zk_wire.h: the few messages of ZooKeeper's protocol that libzookeeper (3.8.0) does not know: a
 * read of many nodes in one packet, which servers answer since 3.6.0, and what has to be said
 * around it.
 *
 * A frame is a length of four bytes and what follows. Encoding appends whole frames; decoding takes
 * a frame without its length, any bytes, and says false when it is not what it should be.
 *
 * Threads: any; plain values. Data that is decoded is a slice of the frame. */
#pragma once

#include "zk/zk.h"

enum {
    ZK_WIRE_NO_NODE = -101,       /* a code of ZooKeeper's: there is no such node */
    ZK_WIRE_FRAME_MAX = 32 << 20, /* of a reply; the server's packets have a limit of 1 MiB */
    ZK_WIRE_READ_OVERHEAD = 32,   /* bytes around a path, at most */
};

/* The first frame of a connection, for a session of its own. A server that has not seen `zxid` yet
 * closes the connection. */
void zk_wire_put_connect(struct buf *out, int64_t zxid, int32_t timeout_ms);
MUST_USE bool zk_wire_get_connect(struct bytes frame);

/* A read of many nodes: begin, add each path, end with what begin returned. */
size_t zk_wire_begin_reads(struct buf *out, int32_t xid);
void zk_wire_put_read(struct buf *out, const char *path);
void zk_wire_end_reads(struct buf *out, size_t begin);

/* The session is over. */
void zk_wire_put_close(struct buf *out, int32_t xid);

/* Before the content of a reply; *rest is what follows. `zxid`: the last change that the server had
 * applied when it replied. */
struct zk_wire_header {
    int32_t xid;
    int64_t zxid;
    int32_t rc;
};
MUST_USE bool zk_wire_get_header(struct bytes frame, struct zk_wire_header *out,
                                 struct bytes *rest);

/* The next node's; *rc is 0, with data and stat, or one of ZooKeeper's codes. */
MUST_USE bool zk_wire_get_read(struct bytes *rest, int32_t *rc, struct bytes *data,
                               struct zk_stat *stat);
/* Nothing is left but the mark of the end. */
MUST_USE bool zk_wire_at_end(struct bytes rest);
