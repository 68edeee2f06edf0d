/* sim_net.c: how a connection lives.
 *
 * A link has two ends and two pipes; pipe[i] carries what end[i] sends to end[1 - i]. An end exists
 * from connect() or adopt() to close(); the link goes with the second of them. A pipe's pieces
 * arrive one after the other through one event; a piece that finds its direction blocked stays and
 * is tried again. N1: on their way + not yet read <= window. N2: pieces of a pipe arrive in order.
 * N3: after close() no callback follows; the memory goes when the readiness message on its way to
 * the loop has arrived. N4: a stream that has moved to another loop is called on that one only; a
 * message that finds it gone follows it. */
#include "sim_net.h"

#include <stdio.h>
#include <string.h>

#include "../support/iov.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/must.h"

enum { COPY_BYTES = 64 * 1024, FIRST_PORT = 20000, FIRST_EPHEMERAL = 32768 };

struct host {
    struct net net; /* first: what its programs hold */
    struct sim_net *owner;
    int index;
    char name[64];
    uint16_t next_port;
    bool down;
    bool silent;    /* down, and nobody hears of it */
    int64_t lag_ns; /* what comes and goes takes up to so much longer */
    bool blocked_to[SIM_NET_HOSTS_MAX];
    bool refused_by[SIM_NET_HOSTS_MAX]; /* since the last connection: that is told once */
    struct list listeners;
};

struct sim_net {
    struct sim_time *time;
    struct rng rng;
    struct sim_net_options options;
    struct host *hosts[SIM_NET_HOSTS_MAX];
    int hosts_count;
    struct list links;
    uint64_t next_number;
    int64_t bytes;
};

struct listener {
    struct list link;
    struct host *host;
    struct loop *loop;
    uint16_t port;
    net_accept_fn *fn;
    void *arg;
    struct list arriving; /* of struct accepted */
};

/* Bytes on their way; data == NULL: the end of the stream. */
struct piece {
    struct list link;
    int64_t arrive_ns;
    size_t size;
    uint8_t data[];
};

struct link;

struct pipe {
    struct link *link;
    struct host *from;
    struct host *to;
    struct list pieces; /* oldest first */
    int64_t last_arrive_ns;
    size_t on_way_bytes;
    struct buf arrived;
    size_t read_at;
    bool ended; /* the end has arrived */
    struct sim_event deliver;
};

struct end {
    struct net_stream stream; /* first */
    struct link *link;
    int side;
    int wanted;
    size_t expected; /* readable only once so many bytes are there */
    bool connected;
    bool closed;
    bool inside;            /* in its callback */
    struct loop *posted_to; /* where `ready` is under way; NULL: it is not */
    struct loop_msg ready;
};

struct accepted {
    struct net_accepted accepted; /* first */
    struct link *link;
    struct listener *listener; /* NULL: it was closed meanwhile */
    struct list in_listener;
    struct loop_msg arrive;
};

struct link {
    struct list link;
    struct sim_net *net;
    uint64_t number;
    struct host *hosts[2];
    uint16_t port;
    struct end *ends[2];
    struct accepted *accepted; /* made, but not adopted yet */
    struct pipe pipes[2];
    bool reset;
    int64_t give_up_ns; /* connecting */
    struct sim_event connect;
    struct sim_event established;
};

static const struct net_ops host_ops;
static const struct net_stream_ops end_ops;

static void say(struct sim_net *net, const struct link *link, const char *what)
{
    char line[200];
    bool *refused = &link->hosts[0]->refused_by[link->hosts[1]->index];
    bool again = *refused && strcmp(what, "refused") == 0;
    *refused = strcmp(what, "refused") == 0 || (*refused && strcmp(what, "established") != 0);
    if (net->options.trace != NULL && !again) {
        snprintf(line, sizeof(line), "connection %llu %s -> %s:%u %s",
                 (unsigned long long)link->number, link->hosts[0]->name, link->hosts[1]->name,
                 link->port, what);
        net->options.trace(net->options.arg, line);
    }
}

static int64_t delay(struct sim_net *net)
{
    int64_t width = net->options.delay_max_ns - net->options.delay_min_ns;
    return net->options.delay_min_ns + (int64_t)rng_below(&net->rng, (uint64_t)width + 1);
}

/* ---- hosts ---- */

static struct host *host_find(struct sim_net *net, const char *name)
{
    for (int i = 0; i < net->hosts_count; i++) {
        if (strcmp(net->hosts[i]->name, name) == 0) {
            return net->hosts[i];
        }
    }
    return NULL;
}

static struct host *host_make(struct sim_net *net, const char *name)
{
    struct host *host = host_find(net, name);
    if (host != NULL) {
        return host;
    }
    must(net->hosts_count < SIM_NET_HOSTS_MAX);
    host = mem_new(struct host);
    host->net.ops = &host_ops;
    host->owner = net;
    host->index = net->hosts_count;
    host->next_port = FIRST_PORT;
    snprintf(host->name, sizeof(host->name), "%s", name);
    list_init(&host->listeners);
    net->hosts[net->hosts_count++] = host;
    return host;
}

/* ---- telling a stream's loop that there is something to do ---- */

static size_t pipe_used(const struct pipe *pipe)
{
    return pipe->on_way_bytes + pipe->arrived.size - pipe->read_at;
}

static bool end_dead(const struct end *end)
{
    return end->link->reset || end->link->hosts[end->side]->down;
}

static int end_ready(const struct end *end)
{
    const struct pipe *in = &end->link->pipes[1 - end->side];
    const struct pipe *out = &end->link->pipes[end->side];
    size_t window_bytes = end->link->net->options.window_bytes;
    int ready = 0;
    if (end_dead(end)) {
        return end->wanted;
    }
    if (!end->connected) {
        return 0;
    }
    size_t there = in->arrived.size - in->read_at;
    if ((there > 0 && (there >= end->expected || there >= window_bytes)) || in->ended) {
        ready |= NET_READABLE;
    }
    if (pipe_used(out) < window_bytes) {
        ready |= NET_WRITABLE;
    }
    return ready & end->wanted;
}

static void end_poke(struct end *end)
{
    if (end != NULL && !end->closed && end->posted_to == NULL && end_ready(end) != 0) {
        end->posted_to = end->stream.loop;
        loop_post(end->stream.loop, &end->ready);
    }
}

static void end_maybe_free(struct end *end)
{
    if (end->closed && end->posted_to == NULL && !end->inside) {
        mem_free(end);
    }
}

static void end_on_ready(struct loop_msg *msg)
{
    struct end *end = container_of(msg, struct end, ready);
    bool moved = end->posted_to != end->stream.loop; /* N4 */
    end->posted_to = NULL;
    int ready = end->closed || moved ? 0 : end_ready(end);
    if (moved) {
        end_poke(end);
    } else if (ready != 0) {
        end->inside = true;
        end->stream.on_ready(&end->stream, ready);
        end->inside = false;
        end_poke(end);
    }
    end_maybe_free(end);
}

static void link_poke(struct link *link)
{
    end_poke(link->ends[0]);
    end_poke(link->ends[1]);
}

/* ---- links ---- */

static void pipe_clear(struct pipe *pipe)
{
    struct list *item;
    while ((item = list_pop_front(&pipe->pieces)) != NULL) {
        mem_free(container_of(item, struct piece, link));
    }
    pipe->on_way_bytes = 0;
    sim_time_cancel(pipe->link->net->time, &pipe->deliver);
}

static void link_maybe_free(struct link *link)
{
    if (link->ends[0] != NULL || link->ends[1] != NULL || link->accepted != NULL) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        pipe_clear(&link->pipes[i]);
        buf_fini(&link->pipes[i].arrived);
    }
    sim_time_cancel(link->net->time, &link->connect);
    sim_time_cancel(link->net->time, &link->established);
    list_remove(&link->link);
    mem_free(link);
}

static void link_reset(struct link *link, const char *why)
{
    if (link->reset) {
        return;
    }
    link->reset = true;
    say(link->net, link, why);
    for (int i = 0; i < 2; i++) {
        pipe_clear(&link->pipes[i]);
    }
    sim_time_cancel(link->net->time, &link->connect);
    sim_time_cancel(link->net->time, &link->established);
    link_poke(link);
}

static void pipe_schedule(struct pipe *pipe)
{
    struct sim_time *time = pipe->link->net->time;
    if (!list_empty(&pipe->pieces) && !sim_time_pending(&pipe->deliver)) {
        struct piece *first = container_of(pipe->pieces.next, struct piece, link);
        sim_time_at(time, &pipe->deliver, first->arrive_ns);
    }
}

static bool pipe_blocked(const struct pipe *pipe)
{
    return pipe->from->blocked_to[pipe->to->index] || pipe->to->down;
}

/* Can somebody still read what arrives there? */
static bool pipe_has_reader(const struct pipe *pipe)
{
    struct link *link = pipe->link;
    int to = pipe == &link->pipes[0] ? 1 : 0;
    return link->ends[to] != NULL || (to == 1 && link->accepted != NULL);
}

static void pipe_on_deliver(struct sim_event *event)
{
    struct pipe *pipe = container_of(event, struct pipe, deliver);
    struct link *link = pipe->link;
    struct sim_net *net = link->net;
    struct piece *piece = container_of(pipe->pieces.next, struct piece, link);
    if (pipe_blocked(pipe)) {
        sim_time_after(net->time, &pipe->deliver, net->options.retry_ns);
        return;
    }
    list_remove(&piece->link);
    pipe->on_way_bytes -= piece->size;
    bool end = piece->size == 0;
    if (end) {
        pipe->ended = true;
    } else {
        buf_put(&pipe->arrived, piece->data, piece->size);
        net->bytes += (int64_t)piece->size;
    }
    mem_free(piece);
    if (!end && !pipe_has_reader(pipe)) {
        link_reset(link, "reset: the reader has left");
        return;
    }
    pipe_schedule(pipe);
    link_poke(link);
}

static void pipe_send(struct pipe *pipe, const void *data, size_t size)
{
    struct sim_net *net = pipe->link->net;
    struct piece *piece = mem_alloc(sizeof(*piece) + size);
    int64_t lag_ns = pipe->from->lag_ns + pipe->to->lag_ns;
    int64_t arrive_ns = net->time->now_ns + delay(net) +
                        (lag_ns > 0 ? (int64_t)rng_below(&net->rng, (uint64_t)lag_ns) : 0);
    piece->arrive_ns = arrive_ns > pipe->last_arrive_ns ? arrive_ns : pipe->last_arrive_ns; /* N2 */
    piece->size = size;
    if (size > 0) {
        memcpy(piece->data, data, size);
    }
    pipe->last_arrive_ns = piece->arrive_ns;
    pipe->on_way_bytes += size;
    list_push_back(&pipe->pieces, &piece->link);
    pipe_schedule(pipe);
}

/* ---- streams ---- */

/* Sometimes only a part of what could be moved. */
static size_t some(struct sim_net *net, size_t size)
{
    if (size > 1 && rng_one_in(&net->rng, net->options.partial_one_in)) {
        return 1 + (size_t)rng_below(&net->rng, size);
    }
    return size;
}

static enum err end_recv(struct net_stream *stream, const struct iovec *parts, int count,
                         size_t *got)
{
    size_t size = iov_size(parts, count);
    struct end *end = (struct end *)stream;
    struct pipe *in = &end->link->pipes[1 - end->side];
    *got = 0;
    must(!end->closed);
    if (end_dead(end)) {
        return ERR_CLOSED;
    }
    size_t there = in->arrived.size - in->read_at;
    if (there == 0) {
        return in->ended && size > 0 ? ERR_CLOSED : ERR_AGAIN;
    }
    *got = some(end->link->net, size < there ? size : there);
    iov_fill(parts, count, in->arrived.data + in->read_at, *got);
    in->read_at += *got;
    if (in->read_at == in->arrived.size) {
        buf_clear(&in->arrived);
        in->read_at = 0;
    }
    end_poke(end->link->ends[1 - end->side]); /* there is room again */
    return ERR_OK;
}

/* How much of `size` may leave now; 0 with an error. */
static size_t end_room(struct end *end, size_t size, enum err *err)
{
    struct sim_net *net = end->link->net;
    size_t used = pipe_used(&end->link->pipes[end->side]);
    must(!end->closed);
    *err = end_dead(end) ? ERR_CLOSED : ERR_AGAIN;
    if (*err == ERR_CLOSED || !end->connected || used >= net->options.window_bytes || size == 0) {
        return 0;
    }
    size_t room = net->options.window_bytes - used;
    *err = ERR_OK;
    return some(net, size < room ? size : room);
}

static enum err end_send(struct net_stream *stream, const struct iovec *parts, int count, bool more,
                         size_t *sent)
{
    struct end *end = (struct end *)stream;
    struct buf all = {0};
    enum err err;
    (void)more;
    *sent = 0;
    for (int i = 0; i < count; i++) {
        buf_put(&all, parts[i].iov_base, parts[i].iov_len);
    }
    size_t room = end_room(end, all.size, &err);
    if (room > 0) {
        pipe_send(&end->link->pipes[end->side], all.data, room);
        *sent = room;
    }
    buf_fini(&all);
    return err;
}

static enum err end_send_file(struct net_stream *stream, struct fs_file *file, int64_t offset,
                              size_t size, size_t *sent)
{
    struct end *end = (struct end *)stream;
    enum err err;
    size_t got = 0;
    *sent = 0;
    size_t room = end_room(end, size < COPY_BYTES ? size : COPY_BYTES, &err);
    if (room == 0) {
        return err;
    }
    uint8_t *copy = mem_alloc(room);
    err = fs_pread(file, copy, room, offset, &got);
    if (err == ERR_OK && got == 0) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        pipe_send(&end->link->pipes[end->side], copy, got);
        *sent = got;
    }
    mem_free(copy);
    return err;
}

static void end_want(struct net_stream *stream, int ready)
{
    struct end *end = (struct end *)stream;
    must(!end->closed);
    end->wanted = ready;
    if (!end->inside) {
        end_poke(end);
    }
}

static void end_close(struct net_stream *stream)
{
    struct end *end = (struct end *)stream;
    struct link *link = end->link;
    struct pipe *in = &link->pipes[1 - end->side];
    must(!end->closed);
    end->closed = true;
    link->ends[end->side] = NULL;
    if (!end->connected && end->side == 0) {
        link_reset(link, "given up");
    } else if (!end_dead(end) && pipe_used(in) > 0) {
        link_reset(link, "reset: closed with bytes unread");
    } else if (!end_dead(end)) {
        pipe_send(&link->pipes[end->side], NULL, 0);
    }
    link_maybe_free(link);
    end_maybe_free(end);
}

static void end_expect(struct net_stream *stream, size_t bytes)
{
    struct end *end = (struct end *)stream;
    must(!end->closed);
    end->expected = bytes;
}

static void end_peer(const struct net_stream *stream, bool with_port, struct net_name *out)
{
    const struct end *end = (const struct end *)stream;
    const struct link *link = end->link;
    int port = end->side == 0 ? link->port : FIRST_EPHEMERAL + (int)(link->number % 20000);
    snprintf(out->text, sizeof(out->text), with_port ? "%.50s:%d" : "%.50s",
             link->hosts[1 - end->side]->name, port);
}

static const struct net_stream_ops end_ops = {
    .recv = end_recv,
    .send = end_send,
    .send_file = end_send_file,
    .want = end_want,
    .expect = end_expect,
    .peer = end_peer,
    .close = end_close,
};

static struct end *end_new(struct link *link, int side, struct loop *loop)
{
    struct end *end = mem_new(struct end);
    end->stream.ops = &end_ops;
    end->stream.loop = loop;
    end->link = link;
    end->side = side;
    end->ready.fn = end_on_ready;
    link->ends[side] = end;
    return end;
}

/* ---- connecting ---- */

static struct listener *listener_find(struct host *host, uint16_t port)
{
    list_for_each (item, &host->listeners) {
        struct listener *listener = container_of(item, struct listener, link);
        if (listener->port == port) {
            return listener;
        }
    }
    return NULL;
}

static void accepted_on_arrive(struct loop_msg *msg)
{
    struct accepted *accepted = container_of(msg, struct accepted, arrive);
    struct listener *listener = accepted->listener;
    list_remove(&accepted->in_listener);
    if (listener == NULL) {
        struct net *net = &accepted->link->hosts[1]->net;
        net->ops->refuse(net, &accepted->accepted);
        return;
    }
    accepted->listener = NULL;
    listener->fn(listener->arg, &accepted->accepted);
}

static void link_accept(struct link *link, struct listener *listener)
{
    struct accepted *accepted = mem_new(struct accepted);
    accepted->link = link;
    accepted->listener = listener;
    accepted->arrive.fn = accepted_on_arrive;
    link->accepted = accepted;
    list_push_back(&listener->arriving, &accepted->in_listener);
    loop_post(listener->loop, &accepted->arrive);
}

/* The SYN arrives. */
static void link_on_connect(struct sim_event *event)
{
    struct link *link = container_of(event, struct link, connect);
    struct sim_net *net = link->net;
    struct host *from = link->hosts[0];
    struct host *to = link->hosts[1];
    bool lost = from->down || from->blocked_to[to->index] || (to->down && to->silent);
    if (lost && net->time->now_ns < link->give_up_ns) {
        sim_time_after(net->time, &link->connect, net->options.retry_ns);
        return;
    }
    struct listener *listener = lost || to->down ? NULL : listener_find(to, link->port);
    if (listener == NULL) {
        link_reset(link, lost ? "timed out" : "refused");
        return;
    }
    link_accept(link, listener);
    sim_time_after(net->time, &link->established, delay(net));
}

/* The answer to the SYN arrives. */
static void link_on_established(struct sim_event *event)
{
    struct link *link = container_of(event, struct link, established);
    struct sim_net *net = link->net;
    if (link->hosts[1]->blocked_to[link->hosts[0]->index]) {
        if (net->time->now_ns >= link->give_up_ns) {
            link_reset(link, "timed out");
            return;
        }
        sim_time_after(net->time, &link->established, net->options.retry_ns);
        return;
    }
    link->ends[0]->connected = true;
    say(net, link, "established");
    end_poke(link->ends[0]);
}

static struct link *link_new(struct host *from, struct host *to, uint16_t port)
{
    struct sim_net *net = from->owner;
    struct link *link = mem_new(struct link);
    link->net = net;
    link->number = net->next_number++;
    link->port = port;
    link->connect.fn = link_on_connect;
    link->established.fn = link_on_established;
    for (int i = 0; i < 2; i++) {
        link->hosts[i] = i == 0 ? from : to;
        link->pipes[i].link = link;
        link->pipes[i].from = i == 0 ? from : to;
        link->pipes[i].to = i == 0 ? to : from;
        link->pipes[i].deliver.fn = pipe_on_deliver;
        list_init(&link->pipes[i].pieces);
    }
    list_push_back(&net->links, &link->link);
    return link;
}

static struct net_stream *host_connect(struct net *net, struct loop *loop,
                                       const struct net_address *to)
{
    struct host *host = (struct host *)net;
    struct sim_net *owner = host->owner;
    struct link *link = link_new(host, host_make(owner, to->host), to->port);
    struct end *end = end_new(link, 0, loop);
    link->give_up_ns = owner->time->now_ns + owner->options.connect_timeout_ns;
    sim_time_after(owner->time, &link->connect, delay(owner));
    return &end->stream;
}

static struct net_stream *host_adopt(struct net *net, struct loop *loop, struct net_accepted *from)
{
    struct accepted *accepted = (struct accepted *)from;
    struct link *link = accepted->link;
    must(&link->hosts[1]->net == net);
    struct end *end = end_new(link, 1, loop);
    end->connected = true;
    end->stream.local_port = link->port;
    link->accepted = NULL;
    mem_free(accepted);
    return &end->stream;
}

static void host_refuse(struct net *net, struct net_accepted *from)
{
    struct accepted *accepted = (struct accepted *)from;
    struct link *link = accepted->link;
    must(&link->hosts[1]->net == net);
    link->accepted = NULL;
    link_reset(link, "refused by its listener");
    link_maybe_free(link);
    mem_free(accepted);
}

/* ---- listening ---- */

static enum err host_listen(struct net *net, struct loop *loop, const struct net_address *at,
                            int backlog, net_accept_fn *fn, void *arg, struct net_listener **out,
                            uint16_t *port, struct errmsg *msg)
{
    struct host *host = (struct host *)net;
    (void)backlog;
    uint16_t number = at->port;
    while (number == 0 || (at->port == 0 && listener_find(host, number) != NULL)) {
        number = host->next_port++;
    }
    if (listener_find(host, number) != NULL) {
        errmsg_set(msg, "port %u on %s is taken", number, host->name);
        return ERR_EXISTS;
    }
    struct listener *listener = mem_new(struct listener);
    listener->host = host;
    listener->loop = loop;
    listener->port = number;
    listener->fn = fn;
    listener->arg = arg;
    list_init(&listener->arriving);
    list_push_back(&host->listeners, &listener->link);
    *out = (struct net_listener *)listener;
    *port = number;
    return ERR_OK;
}

static void host_unlisten(struct net_listener *handle)
{
    struct listener *listener = (struct listener *)handle;
    list_for_each_safe (item, &listener->arriving) {
        container_of(item, struct accepted, in_listener)->listener = NULL;
        list_remove(item);
    }
    list_remove(&listener->link);
    mem_free(listener);
}

static const struct net_ops host_ops = {
    .listen = host_listen,
    .unlisten = host_unlisten,
    .adopt = host_adopt,
    .refuse = host_refuse,
    .connect = host_connect,
};

/* ---- the network ---- */

struct sim_net_options sim_net_options_default(void)
{
    return (struct sim_net_options){
        .delay_min_ns = 100 * 1000,
        .delay_max_ns = 1000 * 1000,
        .window_bytes = 256 * 1024,
        .retry_ns = 200 * SIM_MS,
        .connect_timeout_ns = 10000 * SIM_MS,
    };
}

struct sim_net *sim_net_new(struct sim_time *time, uint64_t seed,
                            const struct sim_net_options *options)
{
    struct sim_net *net = mem_new(struct sim_net);
    must(options->window_bytes > 0);
    must(options->delay_max_ns >= options->delay_min_ns);
    net->time = time;
    net->options = *options;
    rng_seed(&net->rng, seed);
    list_init(&net->links);
    return net;
}

void sim_net_free(struct sim_net *net)
{
    must(list_empty(&net->links));
    for (int i = 0; i < net->hosts_count; i++) {
        must(list_empty(&net->hosts[i]->listeners));
        mem_free(net->hosts[i]);
    }
    mem_free(net);
}

struct net *sim_net_host(struct sim_net *net, const char *name)
{
    return &host_make(net, name)->net;
}

void sim_net_block(struct sim_net *net, const char *from, const char *to, bool blocked)
{
    host_make(net, from)->blocked_to[host_make(net, to)->index] = blocked;
}

void sim_net_heal(struct sim_net *net)
{
    for (int i = 0; i < net->hosts_count; i++) {
        memset(net->hosts[i]->blocked_to, 0, sizeof(net->hosts[i]->blocked_to));
        net->hosts[i]->lag_ns = 0;
    }
}

void sim_net_set_delay(struct sim_net *net, int64_t min_ns, int64_t max_ns)
{
    must(min_ns >= 0);
    must(max_ns >= min_ns);
    net->options.delay_min_ns = min_ns;
    net->options.delay_max_ns = max_ns;
}

void sim_net_set_lag(struct sim_net *net, const char *name, int64_t lag_ns)
{
    host_make(net, name)->lag_ns = lag_ns;
}

void sim_net_set_partial(struct sim_net *net, uint64_t one_in)
{
    net->options.partial_one_in = one_in;
}

bool sim_net_reset_one(struct sim_net *net, uint64_t number)
{
    int count = sim_net_connections(net);
    if (count == 0) {
        return false;
    }
    uint64_t left = number % (uint64_t)count;
    list_for_each (item, &net->links) {
        if (left-- == 0) {
            link_reset(container_of(item, struct link, link), "reset");
            return true;
        }
    }
    return false;
}

void sim_net_reset_between(struct sim_net *net, const char *a, const char *b)
{
    struct host *left = host_make(net, a);
    struct host *right = host_make(net, b);
    list_for_each (item, &net->links) {
        struct link *link = container_of(item, struct link, link);
        if ((link->hosts[0] == left && link->hosts[1] == right) ||
            (link->hosts[0] == right && link->hosts[1] == left)) {
            link_reset(link, "reset");
        }
    }
}

void sim_net_down(struct sim_net *net, const char *name, bool silent)
{
    struct host *host = host_make(net, name);
    host->down = true;
    host->silent = silent;
    list_for_each (item, &net->links) {
        struct link *link = container_of(item, struct link, link);
        for (int side = 0; side < 2; side++) {
            if (link->hosts[side] != host) {
                continue;
            }
            if (!silent) {
                link_reset(link, "reset: its host's process is gone");
            } else {
                pipe_clear(&link->pipes[side]); /* nothing of it arrives any more */
                end_poke(link->ends[side]);
            }
        }
    }
}

void sim_net_up(struct sim_net *net, const char *name)
{
    struct host *host = host_make(net, name);
    list_for_each (item, &net->links) {
        struct link *link = container_of(item, struct link, link);
        if (host->down && (link->hosts[0] == host || link->hosts[1] == host)) {
            link_reset(link, "reset: its host has started anew");
        }
    }
    host->down = false;
    host->silent = false;
}

int sim_net_connections(const struct sim_net *net)
{
    int count = 0;
    list_for_each (item, &net->links) {
        count++;
    }
    return count;
}

int64_t sim_net_bytes(const struct sim_net *net)
{
    return net->bytes;
}
