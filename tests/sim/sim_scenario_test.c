/* Bugs that the simulator has found, each as the shortest story that showed it, led by hand; and
 * that a run is decided by its seed. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/broker.h"
#include "base/mem.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "control/control.h"
#include "control/control_apply.h"
#include "peer/peer.h"
#include "server/server.h"
#include "sim.h"
#include "sim_complete.h"
#include "sim_faults.h"

static struct sim_options quiet(int nodes)
{
    return (struct sim_options){.seed = 1,
                                .nodes_count = nodes,
                                .loops_count = 2,
                                .idle_max_ms = 600000,
                                .partitions_count = 1,
                                .replicas_count = 1,
                                .min_insync = 1,
                                .lag_ms = 3000};
}

static bool first_is_up(struct sim *sim)
{
    return sim->nodes[0].state == NODE_UP;
}

static bool first_is_down(struct sim *sim)
{
    return sim->nodes[0].state == NODE_DOWN;
}

static bool has_controller(struct sim *sim)
{
    return zk_mem_peek(sim->zk, "/controller", NULL, NULL);
}

/* SIGTERM hung for as long as ZooKeeper was away, because the controller waited for its resignation
 * to be taken, and before that for the answer of its own machine to its wish to hand over. */
Test(sim_scenario, the_controller_stops_while_zookeeper_is_away)
{
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    cr_assert(sim_until(sim, 10000 * SIM_MS, has_controller));
    (void)sim_until(sim, 1000 * SIM_MS, NULL);
    sim->ending = true;
    zk_mem_disconnect(sim->zk, sim_zk_session_id(&sim->nodes[0].zk));
    sim_node_stop(&sim->nodes[0]);
    cr_assert(sim_until(sim, 30000 * SIM_MS, first_is_down));
    sim_free(sim);
}

/* The first steps of a start went on with a session that had been closed. */
Test(sim_scenario, a_session_may_expire_at_any_moment_of_a_start)
{
    for (int turns = 1; turns < 40; turns++) {
        struct sim_options options = quiet(1);
        struct sim *sim = sim_new(&options);
        zk_mem_set_loss_rate(sim->zk, 3);
        for (int i = 0; i < turns; i++) {
            sim_step(sim);
        }
        zk_mem_expire(sim->zk, sim_zk_session_id(&sim->nodes[0].zk));
        zk_mem_set_loss_rate(sim->zk, 0);
        cr_assert(sim_until(sim, 20000 * SIM_MS, first_is_up), "after %d turns: %s", turns,
                  sim->failure);
        sim_free(sim);
    }
}

/* A broker that stopped while it sent something to another one never heard of it again. */
struct heard {
    int count;
    enum err err;
};

static void on_heard(void *arg, enum err err, struct bytes response)
{
    struct heard *heard = arg;
    (void)response;
    heard->count++;
    heard->err = err;
}

Test(sim_scenario, what_waits_for_a_peer_is_told_when_the_peers_are_freed)
{
    struct sim_time time;
    struct sim_clock clock;
    struct sim_net_options options = sim_net_options_default();
    struct heard heard = {0};
    sim_time_init(&time);
    sim_clock_init(&clock, &time);
    struct sim_net *net = sim_net_new(&time, 1, &options);
    struct loop *loop = loop_new("control", -1, &clock.clock);
    struct peers *peers = peers_new(loop, sim_net_host(net, "here"), 1, 1000);
    peers_send(peers, 2, "there", 9092, (struct bytes){(const uint8_t *)"x", 1}, on_heard, &heard);
    peers_free(peers);
    cr_assert_eq(heard.count, 1);
    cr_assert_eq(heard.err, ERR_CLOSED);
    while (loop_turn(loop)) {
    }
    loop_free(loop);
    sim_net_free(net);
    sim_time_fini(&time);
}

/* After a connection had broken, an old UpdateMetadata on it arrived behind a newer one on the next
 * connection: the leader did not know of a broker that was back, and never let it into the ISR. */
static void on_reply(void *arg, struct bytes response)
{
    struct arena arena = {0};
    const Barnabas__Control__Response *unpacked;
    struct errmsg msg;
    cr_assert_eq(control_response_unpack(&arena, response, &unpacked, &msg), ERR_OK);
    *(enum err *)arg = err_from_wire((int16_t)unpacked->error);
    arena_fini(&arena);
}

/* An UpdateMetadata of controller epoch `epoch`, which is complete. */
static enum err tell(struct sim *sim, int32_t epoch, int64_t sequence, const int32_t *brokers,
                     size_t brokers_count, const char *topic)
{
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    Barnabas__Control__UpdateMetadata body = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    Barnabas__Control__UpdateMetadataTopic named = BARNABAS__CONTROL__UPDATE_METADATA_TOPIC__INIT;
    Barnabas__Control__UpdateMetadataTopic *topics[] = {&named};
    Barnabas__Control__UpdateMetadataPartition part =
        BARNABAS__CONTROL__UPDATE_METADATA_PARTITION__INIT;
    Barnabas__Control__UpdateMetadataPartition *parts[] = {&part};
    Barnabas__Control__Broker live[2];
    Barnabas__Control__Broker *list[2];
    struct buf packed = {0};
    enum err err = ERR_AGAIN;
    for (size_t i = 0; i < brokers_count; i++) {
        barnabas__control__broker__init(&live[i]);
        control_set(&live[i], id, brokers[i]);
        list[i] = &live[i];
    }
    control_set(&part, partition, 0);
    control_set(&part, leader, 1);
    named.name = (char *)(uintptr_t)topic;
    named.partitions = parts;
    named.n_partitions = 1;
    body.topics = topics;
    body.n_topics = topic != NULL ? 1 : 0;
    body.live_brokers = list;
    body.n_live_brokers = brokers_count;
    request.update_metadata = &body;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__UPDATE_METADATA);
    control_set(&request, controller_id, 1);
    control_set(&request, controller_epoch, epoch);
    control_set(&request, sequence, sequence);
    control_request_pack(&request, &packed);
    control_apply_request(server_broker(sim->nodes[0].server)->control_apply,
                          (struct bytes){packed.data, packed.size}, on_reply, &err);
    buf_fini(&packed);
    return err;
}

static bool knows(struct sim *sim, const char *topic)
{
    struct meta *meta = meta_cell_get(&server_broker(sim->nodes[0].server)->meta);
    bool found = meta_find(meta, str_of(topic)) != NULL;
    meta_put(meta);
    return found;
}

Test(sim_scenario, an_overtaken_control_request_changes_nothing)
{
    static const int32_t both[] = {1, 9};
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    cr_assert_eq(tell(sim, 100, 5, both, 1, NULL), ERR_OK);
    cr_assert_eq(tell(sim, 100, 7, both, 2, NULL), ERR_OK);
    cr_assert_eq(tell(sim, 100, 6, both, 1, NULL), ERR_STALE_CONTROLLER_EPOCH);
    struct meta *meta = meta_cell_get(&server_broker(sim->nodes[0].server)->meta);
    cr_assert_not_null(meta_find_broker(meta, 9));
    meta_put(meta);
    sim_free(sim);
}

/* A broker whose machine had lost power was elected by the registration of its earlier life, and
 * led: its new life, not registered yet, took what was meant for the earlier one. */
Test(sim_scenario, what_was_meant_for_an_earlier_life_is_refused_once_this_one_is_known)
{
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    Barnabas__Control__UpdateMetadata body = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    struct buf packed = {0};
    enum err err = ERR_AGAIN;
    struct broker *broker = server_broker(sim->nodes[0].server);
    while (broker->control_apply == NULL) {
        sim_step(sim);
    }
    cr_assert_lt(atomic_load(&broker->epoch), 0);
    request.update_metadata = &body;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__UPDATE_METADATA);
    control_set(&request, controller_id, 1);
    control_set(&request, controller_epoch, 1);
    control_set(&request, broker_epoch, 1);
    control_request_pack(&request, &packed);
    control_apply_request(broker->control_apply, (struct bytes){packed.data, packed.size}, on_reply,
                          &err);
    cr_assert_eq(err, ERR_AGAIN);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    cr_assert_eq(err, ERR_STALE_BROKER_EPOCH);
    buf_fini(&packed);
    sim_free(sim);
}

/* A topic was deleted while a broker had another session, or by a controller that was deposed: the
 * next one did not speak of it, and the broker offered it for ever. */
Test(sim_scenario, a_topic_that_no_controller_names_any_more_is_forgotten)
{
    static const int32_t one[] = {1};
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    cr_assert_eq(tell(sim, 100, 1, one, 1, "gone"), ERR_OK);
    cr_assert_eq(tell(sim, 100, 2, one, 1, "here"), ERR_OK);
    cr_assert(knows(sim, "gone") && knows(sim, "here"));
    cr_assert_eq(tell(sim, 101, 3, one, 1, "here"), ERR_OK);
    cr_assert(!knows(sim, "gone") && knows(sim, "here"));
    sim_free(sim);
}

/* What it had led was led by others, it refused to hear so, and went on naming itself as long as it
 * had clients. */
Test(sim_scenario, a_broker_that_stops_still_learns_where_to_send_its_clients)
{
    static const int32_t both[] = {1, 9};
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    (void)sim_until(sim, 1000 * SIM_MS, NULL);
    sim->ending = true;
    zk_mem_disconnect(sim->zk, sim_zk_session_id(&sim->nodes[0].zk)); /* it will wait for that */
    sim_node_stop(&sim->nodes[0]);
    (void)sim_until(sim, 100 * SIM_MS, NULL);
    cr_assert(!first_is_down(sim));
    cr_assert_eq(tell(sim, 100, 1, both, 2, "moved"), ERR_OK);
    cr_assert(knows(sim, "moved"));
    cr_assert_eq(tell(sim, 99, 2, both, 2, "older"), ERR_STALE_CONTROLLER_EPOCH);
    cr_assert(sim_until(sim, 30000 * SIM_MS, first_is_down));
    sim_free(sim);
}

static bool all_are_up(struct sim *sim)
{
    bool up = true;
    for (int i = 0; i < sim->options.nodes_count; i++) {
        up = up && sim->nodes[i].state == NODE_UP;
    }
    return up;
}

/* As far as the third broker knows. */
static int controller_of(struct sim *sim)
{
    struct meta *meta = meta_cell_get(&server_broker(sim->nodes[2].server)->meta);
    int id = meta->controller_id;
    meta_put(meta);
    return id;
}

static bool second_is_down(struct sim *sim)
{
    return sim->nodes[1].state == NODE_DOWN;
}

/* The controller stood still while it was asked something, and lost its office: whoever had asked
 * waited for its answer for controller.socket.timeout.ms, instead of asking the next one. A stop
 * gave up on handing over, and a leader's wish for another ISR held up all that came after it. */
Test(sim_scenario, what_a_controller_was_asked_is_asked_of_the_next_one)
{
    int others = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_options options = quiet(3);
        options.seed = seed;
        struct sim *sim = sim_new(&options);
        cr_assert(sim_until(sim, 20000 * SIM_MS, all_are_up));
        (void)sim_until(sim, 1000 * SIM_MS, NULL);
        struct sim_node *first = sim_node_by_id(sim, controller_of(sim));
        sim->ending = true;
        if (first->id == 1) {
            sim_pause_node(sim, first, sim->time.now_ns + 60000 * SIM_MS);
            sim_node_stop(&sim->nodes[1]);
            (void)sim_until(sim, 50 * SIM_MS, NULL);
            zk_mem_expire(sim->zk, sim_zk_session_id(&first->zk));
            (void)sim_until(sim, 500 * SIM_MS, NULL);
            others += controller_of(sim) == 3 ? 1 : 0; /* else the second one is itself */
            cr_assert(sim_until(sim, 2000 * SIM_MS, second_is_down));
            sim_resume_all(sim);
        }
        sim_free(sim);
    }
    cr_assert_gt(others, 0);
}

/* A client of the first broker's, without a machine behind it: asks for nothing but an answer. */
struct asker {
    struct sim *sim;
    struct loop *loop;
    struct net_stream *stream;
};

static void asker_init(struct asker *asker, struct sim *sim)
{
    struct net *net = sim_net_host(sim->net, "asker");
    struct net_address to = {.host = "broker-1", .port = 9092};
    sim_net_set_partial(sim->net, 0);
    asker->sim = sim;
    asker->loop = loop_new("asker", -1, &sim->zk_clock->clock);
    asker->stream = net->ops->connect(net, asker->loop, &to);
    (void)sim_until(sim, 1000 * SIM_MS, NULL);
}

static void ask(struct asker *asker)
{
    struct buf frame = {0};
    struct api_versions_request request;
    size_t size;
    buf_put_be32(&frame, 0);
    codec_encode_request_header(API_API_VERSIONS, 0, 1, STR("asker"), &frame);
    codec_init(&api_versions_request_desc, &request);
    cr_assert_eq(codec_encode(&api_versions_request_desc, 0, &request, &frame), ERR_OK);
    be32_put(frame.data, (uint32_t)frame.size - 4);
    struct iovec part = {frame.data, frame.size};
    cr_assert_eq(asker->stream->ops->send(asker->stream, &part, 1, false, &size), ERR_OK);
    cr_assert_eq(size, frame.size);
    buf_fini(&frame);
}

static bool is_answered(struct asker *asker, int64_t within_ms)
{
    uint8_t bytes[4096];
    struct iovec part = {bytes, sizeof(bytes)};
    size_t size;
    (void)sim_until(asker->sim, within_ms * SIM_MS, NULL);
    return asker->stream->ops->recv(asker->stream, &part, 1, &size) == ERR_OK;
}

static void asker_fini(struct asker *asker)
{
    asker->stream->ops->close(asker->stream);
    loop_free(asker->loop);
    cr_assert(!asker->sim->failed, "%s", asker->sim->failure);
    sim_free(asker->sim);
}

/* The first broker is stopped for so long, asked meanwhile, and wakes up without a connection to
 * ZooKeeper. */
static int64_t stop_and_ask(struct asker *asker, int64_t for_ms)
{
    static struct sim_options options;
    options = quiet(1);
    struct sim *sim = sim_new(&options);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    asker_init(asker, sim);
    ask(asker);
    cr_assert(is_answered(asker, 1000), "as it works");
    int64_t session_id = sim_zk_session_id(&sim->nodes[0].zk);
    zk_mem_disconnect(sim->zk, session_id);
    sim_pause_node(sim, &sim->nodes[0], sim->time.now_ns + for_ms * SIM_MS);
    ask(asker);
    (void)sim_until(sim, for_ms * SIM_MS, NULL);
    return session_id;
}

/* For 50 ms, until it heard that its session is over, a broker that had been stopped told clients
 * that it leads, and that what they had read is not there. (sim_zk's sessions last 6 s.) */
Test(sim_scenario, a_broker_that_stood_still_too_long_serves_nobody_before_its_next_session)
{
    struct asker asker;
    int64_t session_id = stop_and_ask(&asker, 8000);
    struct sim *sim = asker.sim;
    cr_assert(!is_answered(&asker, 500));
    int64_t before = atomic_load(&server_broker(sim->nodes[0].server)->epoch);
    zk_mem_reconnect(sim->zk, session_id);
    cr_assert(is_answered(&asker, 3000));
    cr_assert_gt(atomic_load(&server_broker(sim->nodes[0].server)->epoch), before);
    asker_fini(&asker);
}

Test(sim_scenario, a_broker_that_stood_still_serves_when_its_session_lasts)
{
    struct asker asker;
    int64_t session_id = stop_and_ask(&asker, 4500);
    cr_assert(!is_answered(&asker, 500));
    zk_mem_reconnect(asker.sim->zk, session_id);
    cr_assert(is_answered(&asker, 300));
    asker_fini(&asker);
}

/* As Kafka's do from the start. */
Test(sim_scenario, a_broker_that_stood_still_serves_on_when_zookeeper_stays_away)
{
    struct asker asker;
    (void)stop_and_ask(&asker, 4500);
    cr_assert(!is_answered(&asker, 5500));
    cr_assert(is_answered(&asker, 1000));
    asker_fini(&asker);
}

Test(sim_scenario, a_broker_that_stood_still_for_a_moment_serves_at_once)
{
    struct asker asker;
    (void)stop_and_ask(&asker, 1500);
    cr_assert(is_answered(&asker, 100));
    asker_fini(&asker);
}

/* SIGTERM waits for a process that is stopped, and is what it sees first. */
Test(sim_scenario, a_broker_that_stood_still_may_be_stopped)
{
    struct asker asker;
    int64_t session_id = stop_and_ask(&asker, 4500);
    asker.sim->ending = true;
    sim_node_stop(&asker.sim->nodes[0]);
    cr_assert(!is_answered(&asker, 100));
    zk_mem_reconnect(asker.sim->zk, session_id);
    cr_assert(sim_until(asker.sim, 5000 * SIM_MS, first_is_down));
    asker_fini(&asker);
}

/* The state of partition 0 is written, after `old`. */
static struct buf write_state(struct sim_complete *complete, struct buf *old, int leader, int epoch,
                              const char *isr)
{
    struct buf now = {0};
    buf_printf(&now,
               "{\"controller_epoch\":1,\"leader\":%d,\"version\":1,\"leader_epoch\":%d,"
               "\"isr\":[%s]}",
               leader, epoch, isr);
    sim_complete_written(complete, 0, (struct bytes){old->data, old->size},
                         (struct bytes){now.data, now.size});
    buf_fini(old);
    return now;
}

/* Seed 8001101: the only complete one lost its power twice. The other one, whose log was that of
 * before the first time, was elected as the longest, and was asked about what had been lost since,
 * before it had heard that it leads. */
Test(sim_scenario, who_is_elected_because_nobody_is_complete_has_not_caught_up)
{
    struct sim_options options = quiet(2);
    struct sim *sim = sim_new(&options);
    struct sim_complete *complete = sim_complete_new(sim);
    struct buf state = {0};
    state = write_state(complete, &state, 1, 0, "1,2");
    state = write_state(complete, &state, 1, 1, "1");
    sim_complete_power(complete, &sim->nodes[0]);
    state = write_state(complete, &state, 1, 2, "1");
    cr_assert(sim_complete_leads(complete, &sim->nodes[0], 0));
    cr_assert(sim_complete_excused(complete, 2, 0));
    sim_complete_power(complete, &sim->nodes[0]);
    state = write_state(complete, &state, 2, 3, "2");
    cr_assert(sim_complete_excused(complete, 2, 0), "it was merely elected");
    cr_assert(sim_complete_leads(complete, &sim->nodes[1], 0));
    cr_assert(!sim_complete_excused(complete, 2, 0), "what it has is what counts");
    cr_assert(sim_complete_excused(complete, 1, 0));
    state = write_state(complete, &state, 2, 3, "2,1");
    cr_assert(!sim_complete_excused(complete, 1, 0), "its leader says that it has caught up");
    buf_fini(&state);
    sim_complete_free(complete);
    sim_free(sim);
}

Test(sim_run, equal_seeds_give_equal_traces_and_others_do_not)
{
    uint64_t hashes[2];
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct sim_options options;
        struct sim_result result[2];
        sim_options_draw(&options, seed);
        for (int i = 0; i < 2; i++) {
            sim_run(&options, &result[i]);
            cr_assert_not(result[i].failed, "%s", result[i].failure);
        }
        cr_assert_eq(result[0].hash, result[1].hash);
        cr_assert_eq(result[0].steps, result[1].steps);
        hashes[seed - 1] = result[0].hash;
    }
    cr_assert_neq(hashes[0], hashes[1]);
}

/* What a slow sender's bytes are told of is a large part of its frame at a time: its connection was
 * closed as idle while they came. One that sends nothing is closed. */
Test(sim_scenario, a_slow_sender_of_a_large_request_is_not_idle)
{
    struct sim_options options = quiet(1);
    struct sim *sim = sim_new(&options);
    struct net *net = sim_net_host(sim->net, "slow");
    struct loop *loop = loop_new("slow", -1, &sim->zk_clock->clock);
    struct net_address to = {.host = "broker-1", .port = 9092};
    uint8_t bytes[100] = {0, 0, 0xea, 0x60}; /* 60000 are to follow */
    struct iovec part = {bytes, sizeof(bytes)};
    size_t size;
    sim_net_set_partial(sim->net, 0);
    cr_assert(sim_until(sim, 10000 * SIM_MS, first_is_up));
    struct net_stream *stream = net->ops->connect(net, loop, &to);
    (void)sim_until(sim, 1000 * SIM_MS, NULL);
    for (int minutes = 0; minutes < 25; minutes++) {
        cr_assert_eq(stream->ops->send(stream, &part, 1, false, &size), ERR_OK);
        cr_assert_eq(size, sizeof(bytes));
        (void)sim_until(sim, 60000 * SIM_MS, NULL);
        cr_assert_eq(stream->ops->recv(stream, &part, 1, &size), ERR_AGAIN, "minute %d", minutes);
        memset(bytes, 0, sizeof(bytes));
    }
    (void)sim_until(sim, 2 * 610000 * SIM_MS, NULL);
    cr_assert_eq(stream->ops->recv(stream, &part, 1, &size), ERR_CLOSED);
    stream->ops->close(stream);
    loop_free(loop);
    cr_assert(!sim->failed, "%s", sim->failure);
    sim_free(sim);
}
