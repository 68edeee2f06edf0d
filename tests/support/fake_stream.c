#include "support/fake_stream.h"

#include "base/must.h"
#include "support/iov.h"

static struct fake_stream *of_stream(struct net_stream *stream)
{
    return (struct fake_stream *)stream;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static enum err fake_recv(struct net_stream *stream, const struct iovec *parts, int count,
                          size_t *got)
{
    struct fake_stream *fake = of_stream(stream);
    must(!fake->closed);
    *got = least(least(iov_size(parts, count), fake->recv_max), fake->in.size - fake->in_at);
    if (fake->broken != ERR_OK) {
        *got = 0;
        return fake->broken;
    }
    if (*got == 0) {
        return fake->eof ? ERR_CLOSED : ERR_AGAIN;
    }
    iov_fill(parts, count, fake->in.data + fake->in_at, *got);
    fake->in_at += *got;
    buf_printf(&fake->trace, "recv %zu; ", *got);
    return ERR_OK;
}

/* How many of `size` bytes are taken; 0 with an error otherwise. */
static enum err admit(struct fake_stream *fake, size_t size, size_t *sent)
{
    *sent = 0;
    if (fake->broken != ERR_OK) {
        return fake->broken;
    }
    if (fake->send_room == 0) {
        buf_put_text(&fake->trace, " -> full; ");
        return ERR_AGAIN;
    }
    *sent = least(least(size, fake->send_max), fake->send_room);
    fake->send_room -= *sent;
    buf_printf(&fake->trace, " -> %zu; ", *sent);
    return ERR_OK;
}

static enum err fake_send(struct net_stream *stream, const struct iovec *parts, int count,
                          bool more, size_t *sent)
{
    struct fake_stream *fake = of_stream(stream);
    must(!fake->closed);
    size_t size = 0;
    buf_put_text(&fake->trace, "send ");
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
        buf_printf(&fake->trace, "%s%zu", i > 0 ? "+" : "", parts[i].iov_len);
    }
    buf_put_text(&fake->trace, more ? " more" : "");
    enum err err = admit(fake, size, sent);
    size_t left = *sent;
    for (int i = 0; i < count && left > 0; i++) {
        size_t n = least(left, parts[i].iov_len);
        buf_put(&fake->out, parts[i].iov_base, n);
        left -= n;
    }
    return err;
}

static enum err fake_send_file(struct net_stream *stream, struct fs_file *file, int64_t offset,
                               size_t size, size_t *sent)
{
    struct fake_stream *fake = of_stream(stream);
    must(!fake->closed);
    buf_printf(&fake->trace, "file %zu", size);
    enum err err = admit(fake, size, sent);
    if (err != ERR_OK) {
        return err;
    }
    size_t got;
    err = fs_pread(file, buf_extend(&fake->out, *sent), *sent, offset, &got);
    fake->out.size -= *sent - got;
    *sent = got;
    return err == ERR_OK && got == 0 ? ERR_CORRUPT : err;
}

static void fake_want(struct net_stream *stream, int ready)
{
    must(!of_stream(stream)->closed);
    of_stream(stream)->wanted = ready;
}

static void fake_expect(struct net_stream *stream, size_t bytes)
{
    of_stream(stream)->expected = bytes;
}

static void fake_peer(const struct net_stream *stream, bool with_port, struct net_name *out)
{
    (void)stream;
    *out = with_port ? (struct net_name){"10.0.0.5:1"} : (struct net_name){"10.0.0.5"};
}

static void fake_close(struct net_stream *stream)
{
    must(!of_stream(stream)->closed);
    of_stream(stream)->closed = true;
}

static const struct net_stream_ops fake_ops = {
    .recv = fake_recv,
    .send = fake_send,
    .send_file = fake_send_file,
    .want = fake_want,
    .expect = fake_expect,
    .peer = fake_peer,
    .close = fake_close,
};

void fake_stream_init(struct fake_stream *fake, struct loop *loop)
{
    *fake = (struct fake_stream){.recv_max = SIZE_MAX, .send_max = SIZE_MAX, .send_room = SIZE_MAX};
    fake->stream.ops = &fake_ops;
    fake->stream.loop = loop;
}

void fake_stream_fini(struct fake_stream *fake)
{
    buf_fini(&fake->in);
    buf_fini(&fake->out);
    buf_fini(&fake->trace);
}

bool fake_stream_step(struct fake_stream *fake)
{
    int ready = 0;
    if (fake->closed) {
        return false;
    }
    if (fake->in_at < fake->in.size || fake->eof || fake->broken != ERR_OK) {
        ready |= NET_READABLE;
    }
    if (fake->send_room > 0 || fake->broken != ERR_OK) {
        ready |= NET_WRITABLE;
    }
    ready &= fake->wanted;
    if (ready != 0) {
        fake->stream.on_ready(&fake->stream, ready);
    }
    return ready != 0;
}

const char *fake_stream_trace(struct fake_stream *fake)
{
    buf_put_byte(&fake->trace, 0);
    fake->trace.size = 0;
    return (const char *)fake->trace.data;
}
