/* The simulated network: what it promises of streams, and each of its faults. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "sim_net.h"

/* One listener, one connection, both ends on loops of their own. */
struct world {
    struct sim_time time;
    struct sim_clock clock;
    struct sim_net *net;
    struct loop *loops[2]; /* client, server */
    struct net_listener *listener;
    struct net_stream *ends[2];
    bool writable[2]; /* heard NET_WRITABLE */
    bool closed[2];   /* recv said ERR_CLOSED */
    struct buf got[2];
    bool reading[2];
};

static void on_ready(struct net_stream *stream, int ready)
{
    struct world *w = stream->arg;
    int side = stream == w->ends[0] ? 0 : 1;
    uint8_t data[200];
    size_t got;
    int want = w->reading[side] ? NET_READABLE : 0;
    if ((ready & NET_WRITABLE) != 0) {
        w->writable[side] = true;
    }
    if ((ready & NET_READABLE) != 0) {
        enum err err = stream->ops->recv(stream, &(struct iovec){data, sizeof(data)}, 1, &got);
        buf_put(&w->got[side], data, got);
        w->closed[side] = err == ERR_CLOSED;
        want = w->closed[side] ? 0 : want;
    }
    stream->ops->want(stream, want);
}

static void on_accept(void *arg, struct net_accepted *accepted)
{
    struct world *w = arg;
    struct net *net = sim_net_host(w->net, "server");
    struct net_name name;
    w->ends[1] = net->ops->adopt(net, w->loops[1], accepted);
    w->ends[1]->ops->peer(w->ends[1], false, &name);
    cr_assert_str_eq(name.text, "client");
    w->ends[1]->on_ready = on_ready;
    w->ends[1]->arg = w;
    w->reading[1] = true;
    w->ends[1]->ops->want(w->ends[1], NET_READABLE);
}

static void init(struct world *w, uint64_t seed, const struct sim_net_options *options)
{
    struct errmsg msg;
    uint16_t port;
    *w = (struct world){0};
    sim_time_init(&w->time);
    sim_clock_init(&w->clock, &w->time);
    w->net = sim_net_new(&w->time, seed, options);
    w->loops[0] = loop_new("client", -1, &w->clock.clock);
    w->loops[1] = loop_new("server", -1, &w->clock.clock);
    struct net *server = sim_net_host(w->net, "server");
    struct net_address at = {.port = 9092};
    cr_assert_eq(
        server->ops->listen(server, w->loops[1], &at, 10, on_accept, w, &w->listener, &port, &msg),
        ERR_OK);
    cr_assert_eq(port, 9092);
}

static void start(struct world *w, const char *host, uint16_t port)
{
    struct net *client = sim_net_host(w->net, "client");
    struct net_address to = {.port = port};
    snprintf(to.host, sizeof(to.host), "%s", host);
    w->ends[0] = client->ops->connect(client, w->loops[0], &to);
    w->ends[0]->on_ready = on_ready;
    w->ends[0]->arg = w;
    w->reading[0] = true;
    w->ends[0]->ops->want(w->ends[0], NET_WRITABLE);
}

/* Everything that happens within so many milliseconds. */
static void run(struct world *w, int64_t ms)
{
    int64_t end_ns = w->time.now_ns + ms * SIM_MS;
    for (;;) {
        while (sim_time_run_one(&w->time) || loop_turn(w->loops[0]) || loop_turn(w->loops[1])) {
        }
        if (w->time.now_ns >= end_ns) {
            return;
        }
        sim_time_advance(&w->time, end_ns);
    }
}

static void hang_up(struct world *w, int side)
{
    if (w->ends[side] != NULL) {
        w->ends[side]->ops->close(w->ends[side]);
        w->ends[side] = NULL;
    }
}

static void fini(struct world *w)
{
    struct net *server = sim_net_host(w->net, "server");
    hang_up(w, 0);
    hang_up(w, 1);
    server->ops->unlisten(w->listener);
    run(w, 1000);
    cr_assert_eq(sim_net_connections(w->net), 0);
    sim_net_free(w->net);
    sim_time_fini(&w->time);
    for (int i = 0; i < 2; i++) {
        loop_free(w->loops[i]);
        buf_fini(&w->got[i]);
    }
}

static size_t send_bytes(struct world *w, int side, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    size_t sent;
    enum err err = w->ends[side]->ops->send(w->ends[side], &part, 1, false, &sent);
    cr_assert(err == ERR_OK || (err == ERR_AGAIN && sent == 0));
    return sent;
}

static void connected(struct world *w, uint64_t seed, const struct sim_net_options *options)
{
    init(w, seed, options);
    start(w, "server", 9092);
    run(w, 10);
    cr_assert(w->writable[0]);
    cr_assert_not_null(w->ends[1]);
}

static void fill(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
}

Test(sim_net, carries_bytes_in_order_however_they_are_cut)
{
    uint8_t data[5000];
    fill(data, sizeof(data));
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_net_options options = sim_net_options_default();
        options.partial_one_in = 2;
        options.window_bytes = 64 + (size_t)seed * 10;
        struct world w;
        connected(&w, seed, &options);
        for (size_t sent = 0; sent < sizeof(data);) {
            sent += send_bytes(&w, 0, data + sent, sizeof(data) - sent);
            run(&w, 2);
        }
        run(&w, 20);
        cr_assert_eq(w.got[1].size, sizeof(data));
        cr_assert(memcmp(w.got[1].data, data, sizeof(data)) == 0);
        fini(&w);
    }
}

static struct loop *heard_on;

static void on_ready_where(struct net_stream *stream, int ready)
{
    (void)ready;
    heard_on = loop_current();
    stream->ops->want(stream, 0);
}

/* Bytes had come, the message that says so was on its way to the old loop. */
Test(sim_net, a_stream_that_moves_is_called_on_its_new_loop_only)
{
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    connected(&w, 1, &options);
    struct loop *other = loop_new("other", -1, &w.clock.clock);
    w.ends[1]->on_ready = on_ready_where;
    send_bytes(&w, 0, "hello", 5);
    while (!loop_busy(w.loops[1])) {
        sim_time_advance(&w.time, sim_time_next_ns(&w.time));
        cr_assert(sim_time_run_one(&w.time));
    }
    w.ends[1]->ops->want(w.ends[1], 0);
    w.ends[1]->loop = other;
    w.ends[1]->ops->want(w.ends[1], NET_READABLE);
    loop_turn(w.loops[1]);
    cr_assert_null(heard_on);
    loop_turn(other);
    cr_assert_eq(heard_on, other);
    hang_up(&w, 1);
    loop_free(other);
    fini(&w);
}

Test(sim_net, a_full_window_holds_the_sender_until_somebody_reads)
{
    uint8_t data[1000];
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    fill(data, sizeof(data));
    options.window_bytes = 600;
    connected(&w, 1, &options);
    w.reading[1] = false;
    w.ends[1]->ops->want(w.ends[1], 0);
    cr_assert_eq(send_bytes(&w, 0, data, 1000), 600);
    run(&w, 100);
    cr_assert_eq(send_bytes(&w, 0, data, 400), 0);
    w.writable[0] = false;
    w.ends[0]->ops->want(w.ends[0], NET_WRITABLE);
    run(&w, 100);
    cr_assert_not(w.writable[0]);
    w.reading[1] = true;
    w.ends[1]->ops->want(w.ends[1], NET_READABLE);
    run(&w, 100);
    cr_assert(w.writable[0]);
    cr_assert_eq(w.got[1].size, 600);
    fini(&w);
}

Test(sim_net, nobody_listens_there)
{
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    init(&w, 1, &options);
    start(&w, "server", 9093);
    run(&w, 10);
    uint8_t byte;
    size_t got;
    cr_assert(w.writable[0], "a failed attempt is told like a success");
    cr_assert_eq(w.ends[0]->ops->recv(w.ends[0], &(struct iovec){&byte, 1}, 1, &got), ERR_CLOSED);
    fini(&w);
}

Test(sim_net, a_host_that_cannot_be_reached_lets_connecting_time_out)
{
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    init(&w, 1, &options);
    sim_net_block(w.net, "client", "server", true);
    start(&w, "server", 9092);
    run(&w, 9000);
    cr_assert_not(w.writable[0]);
    run(&w, 2000);
    cr_assert(w.writable[0]);
    cr_assert_null(w.ends[1]);
    fini(&w);
}

Test(sim_net, a_blocked_direction_holds_bytes_and_the_other_goes_on)
{
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    connected(&w, 1, &options);
    sim_net_block(w.net, "client", "server", true);
    send_bytes(&w, 0, "there", 5);
    send_bytes(&w, 1, "back", 4);
    run(&w, 3000);
    cr_assert_eq(w.got[1].size, 0);
    cr_assert_eq(w.got[0].size, 4);
    sim_net_heal(w.net);
    run(&w, 1000);
    cr_assert_eq(w.got[1].size, 5);
    fini(&w);
}

Test(sim_net, both_ends_see_a_reset)
{
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    connected(&w, 1, &options);
    send_bytes(&w, 0, "lost", 4);
    sim_net_reset_between(w.net, "server", "client");
    run(&w, 100);
    cr_assert(w.closed[0]);
    cr_assert(w.closed[1]);
    cr_assert_eq(w.got[1].size, 0);
    fini(&w);
}

Test(sim_net, what_was_sent_before_closing_arrives_before_the_end)
{
    struct sim_net_options options = sim_net_options_default();
    struct world w;
    connected(&w, 1, &options);
    send_bytes(&w, 0, "last words", 10);
    hang_up(&w, 0);
    run(&w, 100);
    cr_assert_eq(w.got[1].size, 10);
    cr_assert(w.closed[1]);
    fini(&w);
}

Test(sim_net, a_killed_process_resets_and_a_dead_machine_is_silent_until_it_is_back)
{
    for (int silent = 0; silent < 2; silent++) {
        struct sim_net_options options = sim_net_options_default();
        struct world w;
        connected(&w, 1, &options);
        send_bytes(&w, 1, "never arrives", 13);
        sim_net_down(w.net, "server", silent != 0);
        run(&w, 5000);
        cr_assert_eq(w.got[0].size, 0);
        cr_assert(w.closed[1], "its own ends do nothing any more");
        cr_assert_eq(w.closed[0], silent == 0);
        sim_net_up(w.net, "server");
        run(&w, 1000);
        cr_assert(w.closed[0]);
        fini(&w);
    }
}

Test(sim_net, equal_seeds_take_equal_times)
{
    int64_t arrived_ns[2][20];
    for (int round = 0; round < 2; round++) {
        struct sim_net_options options = sim_net_options_default();
        struct world w;
        connected(&w, 7, &options);
        for (int i = 0; i < 20; i++) {
            send_bytes(&w, 0, "x", 1);
            while (w.got[1].size == (size_t)i) {
                run(&w, 0);
                sim_time_advance(&w.time, w.time.now_ns + SIM_MS);
            }
            arrived_ns[round][i] = w.time.now_ns;
        }
        fini(&w);
    }
    cr_assert(memcmp(arrived_ns[0], arrived_ns[1], sizeof(arrived_ns[0])) == 0);
}

static int order_index;

static void note_order(struct sim_event *event)
{
    event->order = (uint64_t)order_index++;
}

Test(sim_time, events_happen_in_time_and_then_in_the_order_they_were_set)
{
    struct sim_time time;
    struct sim_event events[6] = {0};
    static const int64_t at[6] = {30, 10, 20, 10, 5, 20};
    static const uint64_t expected[6] = {4, 1, 2, 99, 0, 3};
    sim_time_init(&time);
    for (int i = 0; i < 6; i++) {
        events[i].fn = note_order;
        sim_time_at(&time, &events[i], at[i]);
    }
    sim_time_cancel(&time, &events[3]);
    while (sim_time_next_ns(&time) != INT64_MAX) {
        sim_time_advance(&time, INT64_MAX);
        cr_assert(sim_time_run_one(&time));
    }
    for (int i = 0; i < 6; i++) {
        cr_assert(i == 3 || events[i].order == expected[i], "event %d", i);
    }
    sim_time_fini(&time);
}
