/* Who is the controller, over a ZooKeeper in memory that loses requests and replies. */
#include "controller/election.h"

#include "zk_fixture.h"
#include "znode/path.h"

enum { CANDIDATES_MAX = 3, OPERATIONS_MAX = 12 };

/* A broker that stands, and what it was told last. */
struct candidate {
    struct client client;
    struct election election;
    int32_t controller_id;
    int32_t epoch;   /* of our office, -1 */
    int32_t version; /* its fence */
    int offices;     /* how often we were told of a new one */
    bool retired;
};

static struct candidate *of_client(struct client *client)
{
    return container_of(client, struct candidate, client);
}

static void on_decided(struct election *election, int32_t controller_id, int32_t epoch,
                       int32_t epoch_version)
{
    struct candidate *c = container_of(election, struct candidate, election);
    c->offices += epoch >= 0 && epoch != c->epoch;
    c->controller_id = controller_id;
    c->epoch = epoch;
    c->version = epoch_version;
}

static void on_watch(struct client *client, enum zk_watch_event event, struct str path)
{
    (void)event;
    if (str_is(path, PATH_CONTROLLER)) {
        election_check(&of_client(client)->election);
    }
}

static void on_expired(struct client *client)
{
    struct candidate *c = of_client(client);
    election_stop(&c->election);
    c->epoch = -1;
    c->controller_id = -1;
}

static void candidate_init(struct candidate *c, struct world *w, int32_t id)
{
    *c = (struct candidate){.controller_id = -1, .epoch = -1, .version = -1};
    c->client.on_watch = on_watch;
    c->client.on_expired = on_expired;
    client_open(&c->client, w);
    election_init(&c->election, w->loop, id, on_decided);
}

static void candidate_fini(struct candidate *c)
{
    election_stop(&c->election);
    client_close(&c->client);
}

static void expect_office(struct world *w, const struct candidate *c, int32_t epoch)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", epoch);
    cr_assert_eq(c->controller_id, c->election.broker_id);
    cr_assert_eq(c->epoch, epoch);
    cr_assert_eq(c->version, node_stat(w, PATH_CONTROLLER_EPOCH).version);
    cr_assert_str_eq(node_text(w, PATH_CONTROLLER_EPOCH), text);
    cr_assert_eq(node_stat(w, PATH_CONTROLLER).ephemeral_owner, session_of(&c->client));
}

Test(election, the_first_to_stand_wins_and_others_learn_of_it)
{
    struct world w;
    struct candidate a, b;
    world_init(&w, 1);
    candidate_init(&a, &w, 1);
    candidate_init(&b, &w, 2);
    election_start(&a.election, a.client.zk);
    run(&w);
    election_start(&b.election, b.client.zk);
    run(&w);
    expect_office(&w, &a, 1);
    cr_assert_eq(b.controller_id, 1);
    cr_assert_eq(b.epoch, -1);
    candidate_fini(&a);
    candidate_fini(&b);
    world_fini(&w);
}

/* The next one's epoch is larger, and its fence makes the old one's writes fail. */
Test(election, an_expired_session_hands_the_office_over)
{
    struct world w;
    struct candidate a, b;
    world_init(&w, 1);
    candidate_init(&a, &w, 1);
    candidate_init(&b, &w, 2);
    election_start(&a.election, a.client.zk);
    election_start(&b.election, b.client.zk);
    run(&w);
    struct candidate *first = a.epoch >= 0 ? &a : &b;
    struct candidate *second = a.epoch >= 0 ? &b : &a;
    int32_t fence = first->version;
    zk_mem_expire(w.mem, session_of(&first->client));
    run(&w);
    expect_office(&w, second, 2);
    cr_assert_gt(second->version, fence);
    candidate_fini(&a);
    candidate_fini(&b);
    world_fini(&w);
}

/* Whichever operation is lost, before or after it happened: the candidate ends in the office, knows
 * its epoch, and has the right fence. */
Test(election, every_operation_may_be_lost)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct world w;
            struct candidate c;
            world_init(&w, 1);
            candidate_init(&c, &w, 1);
            zk_mem_lose(w.mem, session_of(&c.client), (enum zk_mem_loss)loss, k);
            election_start(&c.election, c.client.zk);
            pass(&w, 1000);
            expect_office(&w, &c, 1);
            cr_assert_eq(c.offices, 1, "operation %d", k);
            candidate_fini(&c);
            world_fini(&w);
        }
    }
}

Test(election, an_abandoned_office_is_removed_and_won_anew)
{
    struct world w;
    struct candidate c;
    world_init(&w, 1);
    candidate_init(&c, &w, 1);
    election_start(&c.election, c.client.zk);
    run(&w);
    expect_office(&w, &c, 1);
    election_abandon(&c.election);
    run(&w);
    expect_office(&w, &c, 2);
    candidate_fini(&c);
    world_fini(&w);
}

/* The answer to the removal of an abandoned office was lost, and it was removed once more: by then
 * it was the next one's. */
Test(election, an_office_is_not_removed_for_the_one_before)
{
    for (int32_t after = 0; after < OPERATIONS_MAX; after++) {
        struct world w;
        struct candidate c;
        world_init(&w, 1);
        candidate_init(&c, &w, 1);
        election_start(&c.election, c.client.zk);
        run(&w);
        expect_office(&w, &c, 1);
        zk_mem_lose(w.mem, session_of(&c.client), ZK_MEM_LOSE_REPLY, after);
        election_abandon(&c.election);
        pass(&w, 2000);
        expect_office(&w, &c, 2);
        candidate_fini(&c);
        world_fini(&w);
    }
}

/* A node that somebody else made, here by hand, is respected until it goes. */
Test(election, a_stranger_in_office_is_respected_until_it_goes)
{
    struct world w;
    struct candidate c;
    world_init(&w, 1);
    zk_mem_poke(w.mem, PATH_CONTROLLER, "{\"version\":1,\"brokerid\":5,\"timestamp\":\"1\"}");
    zk_mem_poke(w.mem, PATH_CONTROLLER_EPOCH, "41");
    candidate_init(&c, &w, 1);
    election_start(&c.election, c.client.zk);
    run(&w);
    cr_assert_eq(c.controller_id, 5);
    cr_assert_eq(c.epoch, -1);
    zk_mem_poke_remove(w.mem, PATH_CONTROLLER);
    run(&w);
    expect_office(&w, &c, 42);
    candidate_fini(&c);
    world_fini(&w);
}

/* Somebody removes /controller by hand: the office is won anew, with another epoch. */
Test(election, an_office_removed_by_hand_is_won_anew)
{
    struct world w;
    struct candidate c;
    world_init(&w, 1);
    candidate_init(&c, &w, 1);
    election_start(&c.election, c.client.zk);
    run(&w);
    zk_mem_poke_remove(w.mem, PATH_CONTROLLER);
    run(&w);
    expect_office(&w, &c, 2);
    candidate_fini(&c);
    world_fini(&w);
}

static void on_retired(void *arg)
{
    struct candidate *c = arg;
    c->retired = true;
}

/* At whatever moment it retires, also between asking for the office and hearing that it won: it is
 * told of no office afterwards, it ends without one, and another can have it at once. */
Test(election, who_retires_holds_no_office_whenever_it_does)
{
    for (int turns = 0; turns < 10; turns++) {
        struct world w;
        struct candidate c, other;
        world_init(&w, 1);
        candidate_init(&c, &w, 1);
        candidate_init(&other, &w, 2);
        election_start(&c.election, c.client.zk);
        for (int i = 0; i < turns; i++) {
            loop_turn(w.loop);
        }
        int offices = c.offices;
        election_retire(&c.election, on_retired, &c);
        run(&w);
        cr_assert(c.retired, "%d turns", turns);
        cr_assert_eq(c.offices, offices, "%d turns: it won after it retired", turns);
        cr_assert_str_eq(node_text(&w, PATH_CONTROLLER), "(none)", "%d turns", turns);
        election_start(&other.election, other.client.zk);
        run(&w);
        cr_assert_eq(other.controller_id, 2);
        cr_assert_geq(other.epoch, 1);
        candidate_fini(&c);
        candidate_fini(&other);
        world_fini(&w);
    }
}

/* What cannot be read or made at present was taken for the end of the session, and nobody stood for
 * the office ever again; or the candidate asked as fast as ZooKeeper answered. */
Test(election, stands_again_when_what_was_in_its_way_is_gone)
{
    static const char *const paths[] = {PATH_CONTROLLER, PATH_CONTROLLER_EPOCH};
    for (int how = 0; how < 3; how++) {
        struct world w;
        struct candidate c;
        world_init(&w, 1);
        candidate_init(&c, &w, 1);
        if (how < 2) {
            zk_mem_forbid(w.mem, paths[how]);
        } else {
            zk_mem_poke(w.mem, PATH_CONTROLLER_EPOCH, "seven");
        }
        election_start(&c.election, c.client.zk);
        run(&w);
        pass(&w, 3 * ELECTION_AGAIN_MS);
        cr_assert_eq(c.offices, 0, "%d", how);
        zk_mem_forbid(w.mem, NULL);
        if (how == 2) {
            zk_mem_poke(w.mem, PATH_CONTROLLER_EPOCH, "0");
        }
        pass(&w, ELECTION_AGAIN_MS);
        expect_office(&w, &c, 1);
        candidate_fini(&c);
        world_fini(&w);
    }
}

/* Nor does it lose sight of an office that it may not look at for a while. */
Test(election, looks_again_at_who_is_in_office)
{
    struct world w;
    struct candidate a, b;
    world_init(&w, 1);
    candidate_init(&a, &w, 1);
    candidate_init(&b, &w, 2);
    election_start(&a.election, a.client.zk);
    run(&w);
    zk_mem_forbid(w.mem, PATH_CONTROLLER);
    election_start(&b.election, b.client.zk);
    run(&w);
    cr_assert_eq(b.controller_id, -1);
    zk_mem_forbid(w.mem, NULL);
    pass(&w, ELECTION_AGAIN_MS);
    cr_assert_eq(b.controller_id, 1);
    candidate_fini(&a);
    candidate_fini(&b);
    world_fini(&w);
}

/* An office that we abandoned, and could not remove at once, is removed later: as long as it is
 * there, nobody else can be elected. */
Test(election, removes_an_abandoned_office_as_soon_as_it_may)
{
    struct world w;
    struct candidate c;
    world_init(&w, 1);
    candidate_init(&c, &w, 1);
    election_start(&c.election, c.client.zk);
    run(&w);
    expect_office(&w, &c, 1);
    zk_mem_forbid(w.mem, PATH_CONTROLLER_EPOCH);
    election_abandon(&c.election);
    pass(&w, 2 * ELECTION_AGAIN_MS);
    zk_mem_forbid(w.mem, NULL);
    pass(&w, ELECTION_AGAIN_MS);
    expect_office(&w, &c, 2);
    candidate_fini(&c);
    world_fini(&w);
}

/* Who retires while it waits for that does not wait. */
Test(election, retires_at_once_while_it_waits_to_stand_again)
{
    struct world w;
    struct candidate c;
    world_init(&w, 1);
    candidate_init(&c, &w, 1);
    zk_mem_forbid(w.mem, PATH_CONTROLLER_EPOCH);
    election_start(&c.election, c.client.zk);
    run(&w);
    election_retire(&c.election, on_retired, &c);
    run(&w);
    cr_assert(c.retired);
    zk_mem_forbid(w.mem, NULL);
    pass(&w, 2 * ELECTION_AGAIN_MS);
    cr_assert_eq(c.offices, 0);
    candidate_fini(&c);
    world_fini(&w);
}

static int32_t in_office(struct world *w, struct candidate *all)
{
    int32_t found = -1;
    for (int32_t i = 0; i < CANDIDATES_MAX; i++) {
        bool current = all[i].version == node_stat(w, PATH_CONTROLLER_EPOCH).version;
        if (all[i].epoch >= 0 && current) { /* others hold a fence that no write passes */
            cr_assert_eq(found, -1, "two controllers with one fence");
            found = i;
        }
    }
    return found;
}

/* Sessions break and expire, requests and replies get lost: never two with the same fence; and when
 * all is quiet one holds the office and the others know it. */
Test(election, one_at_most_under_faults_and_one_when_quiet)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        struct candidate all[CANDIDATES_MAX];
        struct rng rng;
        world_init(&w, seed);
        rng_seed(&rng, seed);
        for (int32_t i = 0; i < CANDIDATES_MAX; i++) {
            candidate_init(&all[i], &w, i + 1);
            election_start(&all[i].election, all[i].client.zk);
        }
        zk_mem_set_loss_rate(w.mem, 8);
        for (int round = 0; round < 40; round++) {
            struct candidate *c = &all[rng_below(&rng, CANDIDATES_MAX)];
            if (rng_one_in(&rng, 2)) {
                zk_mem_expire(w.mem, session_of(&c->client));
            }
            pass(&w, (int64_t)rng_below(&rng, 30) * 10);
            (void)in_office(&w, all);
            if (c->client.expired) {
                client_close(&c->client);
                client_open(&c->client, &w);
                election_start(&c->election, c->client.zk);
            }
        }
        zk_mem_set_loss_rate(w.mem, 0);
        pass(&w, 2000);
        int32_t winner = in_office(&w, all);
        cr_assert_geq(winner, 0, "seed %d: nobody", (int)seed);
        for (int32_t i = 0; i < CANDIDATES_MAX; i++) {
            cr_assert_eq(all[i].controller_id, winner + 1, "seed %d", (int)seed);
            cr_assert(i == winner || all[i].epoch == -1, "seed %d", (int)seed);
            candidate_fini(&all[i]);
        }
        world_fini(&w);
    }
}
