/* Who serves clients after the process has stood still: over a ZooKeeper in memory, on a loop
 * driven by hand. The network loops ask as api/client.c does. */
#include "server/gate.h"

#include <criterion/criterion.h>

#include "server/server_internal.h"
#include "zk/zk_mem.h"

enum { TIMEOUT_MS = 6000, SESSION = 0x1000 };

struct world {
    struct clock_manual clock;
    struct zk_mem *mem;
    struct server server;
};

static struct world w;

static void on_identified(struct session_host *host, struct str cluster_id)
{
    (void)host, (void)cluster_id;
}

static void on_lost(struct session_host *host)
{
    (void)host;
    gate_close(&w.server);
}

static void on_contact(struct session_host *host, bool there)
{
    (void)host, (void)there;
}

static void pass_ms(int64_t ms)
{
    clock_manual_advance(&w.clock, ms * 1000000);
}

static void run(void)
{
    while (loop_turn(w.server.broker.control)) {
    }
}

/* A broker that serves. */
static void begin(void)
{
    struct session_options options = {.connect = "memory",
                                      .session_timeout_ms = TIMEOUT_MS,
                                      .connection_timeout_ms = TIMEOUT_MS,
                                      .proposed_cluster_id = STR("abcdefghijklmnopqrstuv")};
    struct broker *broker = &w.server.broker;
    clock_manual_init(&w.clock, 1700000000000);
    pass_ms(1000);
    w.mem = zk_mem_new(&w.clock.clock, 1);
    w.server.session_host =
        (struct session_host){.identified = on_identified, .lost = on_lost, .contact = on_contact};
    broker->env.clock = &w.clock.clock;
    broker->control = loop_new("control", -1, &w.clock.clock);
    w.server.session =
        session_new(broker->control, zk_mem_factory(w.mem), &options, &w.server.session_host);
    gate_init(&w.server);
    session_start(w.server.session);
    run();
    gate_open(&w.server);
}

static void end(void)
{
    gate_rest(&w.server);
    session_close(w.server.session);
    run();
    session_free(w.server.session);
    zk_mem_free(w.mem);
    loop_free(w.server.broker.control);
}

TestSuite(gate, .init = begin, .fini = end);

static bool serves(void)
{
    struct broker *broker = &w.server.broker;
    return !pulse_missed(&broker->pulse, clock_mono_ms(&w.clock.clock)) &&
           atomic_load(&broker->ready);
}

/* As while nothing is wrong. */
static void live_ms(int64_t ms)
{
    for (int64_t passed = 0; passed < ms; passed += 50) {
        pass_ms(50);
        run();
    }
}

Test(gate, serves_while_time_passes_as_it_should)
{
    for (int i = 0; i < 400; i++) {
        live_ms(50);
        cr_assert(serves());
    }
}

Test(gate, of_who_stood_still_opens_when_ZooKeeper_has_answered)
{
    pass_ms(TIMEOUT_MS - 100);
    cr_assert(!serves());
    cr_assert(loop_turn(w.server.broker.control));
    cr_assert(!serves(), "it has only asked");
    live_ms(200);
    cr_assert(serves());
}

Test(gate, opens_without_ZooKeeper_after_a_session_timeout)
{
    zk_mem_disconnect(w.mem, SESSION);
    pass_ms(TIMEOUT_MS - 100);
    live_ms(TIMEOUT_MS - 500);
    cr_assert(!serves());
    live_ms(1000);
    cr_assert(serves());
}

/* Of that timeout it had slept through the most: when it woke up again it served at once, without
 * asking, and its session was over. */
Test(gate, of_who_stands_still_again_before_it_knows_stays_closed)
{
    zk_mem_disconnect(w.mem, SESSION);
    pass_ms(TIMEOUT_MS - 100);
    live_ms(200);
    cr_assert(!serves());
    pass_ms(2 * TIMEOUT_MS);
    run();
    cr_assert(!serves(), "nobody has said that the session lasts");
    live_ms(TIMEOUT_MS - 500);
    cr_assert(!serves());
}

/* In the turn after this one, before what ZooKeeper answers in this one. */
static void on_beat_first(struct loop_msg *msg)
{
    static bool posted;
    if (!posted) {
        posted = true;
        loop_post(w.server.broker.control, msg);
    } else {
        w.server.gate.beat.fn(&w.server.gate.beat);
    }
}

/* ZooKeeper had answered just before; of what came after, the answer says nothing. */
Test(gate, does_not_open_at_an_answer_that_is_old)
{
    struct loop_msg beat_first = {.fn = on_beat_first};
    loop_post(w.server.broker.control, &beat_first);
    pass_ms(TIMEOUT_MS - 100);
    cr_assert(loop_turn(w.server.broker.control));
    pass_ms(2 * TIMEOUT_MS);
    run();
    cr_assert(!serves());
    live_ms(300);
    cr_assert(serves(), "it has asked again");
}

/* Between two sessions nothing is served in any case; when the controller had told everything to
 * the next one, the process stood still, and that one was over, too, it served what it had heard
 * there. */
Test(gate, of_who_stood_still_while_it_was_closed_opens_when_ZooKeeper_has_answered)
{
    gate_close(&w.server);
    live_ms(200);
    pass_ms(2 * TIMEOUT_MS);
    run();
    gate_open(&w.server);
    cr_assert(!serves(), "the session may be over");
    live_ms(200);
    cr_assert(serves());
    gate_close(&w.server); /* what was in earlier sessions does not matter */
    live_ms(200);
    gate_open(&w.server);
    cr_assert(serves());
}
