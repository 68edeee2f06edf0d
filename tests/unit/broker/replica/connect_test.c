/* What a fetcher does about a leader that cannot be reached. */
#include "../log/log_fixture.h"
#include "replica/fetcher.h"
#include "rt/actor.h"

enum { ME = 1, LEADER = 2, EPOCH = 7, TIMEOUT_MS = 30000 };

/* A network in which whoever connects hears nothing: the packets are dropped. */
static int connects;
static int closes;

static void hole_want(struct net_stream *stream, int ready)
{
    (void)stream, (void)ready;
}

static void hole_close(struct net_stream *stream)
{
    closes++;
    mem_free(stream);
}

static const struct net_stream_ops hole_stream = {.want = hole_want, .close = hole_close};

static struct net_stream *hole_connect(struct net *net, struct loop *loop,
                                       const struct net_address *to)
{
    struct net_stream *stream = mem_new(struct net_stream);
    (void)net;
    cr_assert_str_eq(to->host, "leader");
    connects++;
    stream->ops = &hole_stream;
    stream->loop = loop;
    return stream;
}

static const struct net_ops hole_ops = {.connect = hole_connect};

static struct log_world w;
static struct loop *loop;
static struct net net = {&hole_ops};
static struct meta_cell meta;
static _Atomic int64_t epoch = 77;
static bool stopped;

static void settle(void)
{
    while (loop_turn(loop) || worker_pool_step(w.workers)) {
    }
}

static void pass(int64_t ms)
{
    clock_manual_advance(&w.clock, ms * 1000000);
    settle();
}

static void publish_leader(void)
{
    struct meta_endpoint endpoint = {.listener = "PLAINTEXT", .host = "leader", .port = 9092};
    struct meta_broker broker = {.id = LEADER, .endpoints = &endpoint, .endpoints_count = 1};
    meta_cell_init(&meta);
    struct meta_edit *edit = meta_edit_begin(&meta);
    meta_edit_brokers(edit, &broker, 1);
    meta_edit_commit(edit);
}

static struct part *make_part(int32_t index)
{
    struct part_options options = {.topic = STR("orders"),
                                   .index = index,
                                   .loop_count = 1,
                                   .clock = &w.clock.clock,
                                   .home = loop,
                                   .my_id = ME,
                                   .lag_ms = 30000};
    return part_new(&options, w.log, 0);
}

static struct fetcher *begin(void)
{
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    loop = loop_new("hand", 0, &w.clock.clock);
    publish_leader();
    return fetcher_new(&(struct fetcher_options){.loop = loop,
                                                 .net = &net,
                                                 .meta = &meta,
                                                 .listener = "PLAINTEXT",
                                                 .epoch = &epoch,
                                                 .my_id = ME,
                                                 .leader_id = LEADER,
                                                 .backoff_max_ms = 1000,
                                                 .timeout_ms = TIMEOUT_MS});
}

static void on_stopped(struct loop_msg *msg)
{
    (void)msg;
    stopped = true;
}

static void end(struct fetcher *fetcher, struct part **parts, int32_t count)
{
    struct loop_msg done = {.fn = on_stopped};
    fetcher_stop(fetcher, loop, &done);
    settle();
    cr_assert(stopped);
    fetcher_free(fetcher);
    for (int32_t i = 0; i < count; i++) {
        part_put(parts[i]);
    }
    settle();
    meta_cell_fini(&meta);
    world_end(&w);
    loop_free(loop);
}

/* Each partition that came, went or changed began the wait for the connection anew: on a busy
 * cluster the fetcher never gave it up, and never asked for the leader's address again. */
Test(fetcher, gives_up_a_connection_that_is_not_made_although_partitions_come_meanwhile)
{
    struct fetcher *fetcher = begin();
    struct part *parts[4];
    for (int32_t i = 0; i < 4; i++) {
        parts[i] = make_part(i);
        fetcher_add(fetcher, parts[i], EPOCH);
        settle();
        cr_assert_eq(connects, 1);
        cr_assert_eq(closes, 0, "after %d partitions", i);
        pass(TIMEOUT_MS / 4);
    }
    cr_assert_eq(closes, 1);
    pass(FETCHER_BACKOFF_MIN_MS);
    cr_assert_eq(connects, 2);
    fetcher_remove(fetcher, parts[0]);
    settle();
    pass(TIMEOUT_MS - 1); /* the next one has its own time */
    cr_assert_eq(closes, 1);
    pass(1);
    cr_assert_eq(closes, 2);
    end(fetcher, parts, 4);
}
