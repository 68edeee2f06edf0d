/* A registration loses its mark of an unclean start while its broker may begin another life at any
 * moment. */
#include "driver_fixture.h"

/* Broker 2 in one of its lives, on a loop of its own: it goes on while the controller's rests. */
struct life {
    struct client client;
    struct registration_host host;
    struct registration *registration;
    int settled;
};

static void on_life_registered(struct registration_host *host, int64_t broker_epoch)
{
    (void)host, (void)broker_epoch;
}

static void on_life_settled(struct registration_host *host)
{
    container_of(host, struct life, host)->settled++;
}

static void on_life_watch(struct client *client, enum zk_watch_event event, struct str path)
{
    registration_on_watch(container_of(client, struct life, client)->registration, event, path);
}

static void on_life_expired(struct client *client)
{
    registration_session_lost(container_of(client, struct life, client)->registration);
}

static void life_begin(struct life *life, struct world *w, const char *rack)
{
    struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("h"), 9002, ZNODE_PLAINTEXT};
    struct znode_broker broker = {.endpoints = &endpoint,
                                  .endpoints_count = 1,
                                  .jmx_port = -1,
                                  .rack = str_of(rack),
                                  .unclean = true};
    *life = (struct life){0};
    life->client.on_watch = on_life_watch;
    life->client.on_expired = on_life_expired;
    life->host = (struct registration_host){on_life_registered, on_life_settled, on_waiting,
                                            on_refused, on_gone};
    client_open(&life->client, w);
    life->registration = registration_new(w->loop, 2, &broker, &life->host);
    registration_start(life->registration, life->client.zk);
    run(w);
}

static void life_end(struct life *life)
{
    registration_free(life->registration);
    client_close(&life->client);
}

static void begins_anew_after(int turns)
{
    struct cluster c;
    struct life first, second;
    cluster_init(&c, 2, 1);
    member_join(&c.members[0]);
    run(&c.w);
    struct world own = c.w;
    own.loop = loop_new("broker 2", -1, &c.w.clock.clock);
    life_begin(&first, &own, "first");
    for (int i = 0; i < turns; i++) {
        loop_turn(c.w.loop);
    }
    zk_mem_expire(c.w.mem, session_of(&first.client));
    life_begin(&second, &own, "second");
    pass(&c.w, 1000);
    run(&own);
    const char *text = node_text(&c.w, "/brokers/ids/2");
    cr_assert_not_null(strstr(text, "\"second\""), "after %d turns: %s", turns, text);
    cr_assert_null(strstr(text, "unclean_start"), "after %d turns: %s", turns, text);
    cr_assert_eq(node_stat(&c.w, "/brokers/ids/2").ephemeral_owner, session_of(&second.client));
    cr_assert_eq(second.settled, 1);
    life_end(&first);
    life_end(&second);
    run(&own);
    loop_free(own.loop);
    cluster_fini(&c);
}

/* The registrations of both lives have the same version. What the controller writes is made of what
 * it read of the first: written into that of the second it would take a mark off that nobody has
 * judged, and tell an address that is not the broker's any more. */
Test(ctl_driver, does_not_take_off_the_mark_of_a_brokers_next_life)
{
    for (int turns = 0; turns < 40; turns++) {
        begins_anew_after(turns);
    }
}
