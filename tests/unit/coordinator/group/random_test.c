/* Random events from seeds. After every step the invariants hold; every request is answered exactly
 * once; what was appended, replayed into a fresh coordinator, gives the same offsets and the same
 * settled groups; equal seeds decide equally; left alone, everything settles. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "group/grp_internal.h"

enum {
    CLIENTS = 14,
    GROUPS = 4,
    TOPICS = 3,
    PARTITIONS = 4,
    REQUESTS_MAX = 60000,
    LOG_MAX = 60000
};

static const char *const GROUP_IDS[GROUPS] = {"alpha", "beta", "gamma", "delta"};
static const char *const TOPIC_NAMES[TOPICS] = {"t0", "t1", "t2"};

/* Subscribed to t0, and to t0 and t1. */
static const uint8_t SUBSCRIBED[2][15] = {
    {0, 0, 0, 0, 0, 1, 0, 2, 't', '0', 255, 255, 255, 255, 0},
    {0, 1, 0, 0, 0, 1, 0, 2, 't', '1', 255, 255, 255, 255, 0},
};

struct client {
    char id[80]; /* "" at first */
    const char *instance;
    int32_t generation;
    int group;
    int flavour; /* of its protocols */
};

enum fate { UNUSED, WAITING, ANSWERED };

struct entry {
    struct bytes key;
    struct bytes value;
    int64_t base_offset;
};

struct world {
    struct rng rng;
    struct grp_config config;
    struct grp_coord *coord;
    struct grp_out out;
    struct arena arena;
    int64_t now_ms;
    struct client clients[CLIENTS];
    enum fate fate[REQUESTS_MAX]; /* by token */
    int owner[REQUESTS_MAX];
    size_t request_count;
    struct grp_appended waiting[LOG_MAX];
    size_t waiting_first, waiting_end;
    struct entry log[LOG_MAX];
    size_t log_count;
    int64_t log_end;
    uint64_t hash; /* of every decision */
    bool faults;
};

static void mix(struct world *w, const void *data, size_t size)
{
    w->hash = bytes_hash(data, size, w->hash);
}

static void step(struct world *w, struct grp_event *event);

/* ---- outputs ---- */

static struct bytes keep(struct world *w, struct bytes b)
{
    if (b.data == NULL) {
        return b;
    }
    uint8_t *copy = arena_alloc(&w->arena, b.size);
    memcpy(copy, b.data, b.size);
    return (struct bytes){copy, b.size};
}

/* Appends that fail must be those after which the machine takes its state back: commits, and groups
 * with members. */
static bool may_fail(const struct grp_append *append)
{
    struct arena arena = {0};
    struct grp_group_record group;
    struct grp_record_key key;
    bool may = append->acks == -1;
    must(grp_record_decode_key(&arena, append->records[0].key, &key) == ERR_OK);
    if (may && key.kind == GRP_RECORD_GROUP) {
        must(grp_record_decode_group(&arena, append->records[0].value, &group) == ERR_OK);
        may = group.member_count > 0;
    }
    arena_fini(&arena);
    return may;
}

static void take_appends(struct world *w, struct grp_appended *failed, size_t *failed_count)
{
    for (const struct grp_append *a = w->out.appends; a != NULL; a = a->next) {
        struct grp_appended appended = {.op = a->op, .err = ERR_OK, .base_offset = w->log_end};
        if (w->faults && rng_one_in(&w->rng, 12) && may_fail(a)) {
            appended.err = rng_one_in(&w->rng, 2) ? ERR_NOT_ENOUGH_REPLICAS : ERR_MESSAGE_TOO_LARGE;
            failed[(*failed_count)++] = appended;
            continue;
        }
        for (size_t i = 0; i < a->record_count; i++) {
            must(w->log_count < LOG_MAX);
            w->log[w->log_count++] = (struct entry){keep(w, a->records[i].key),
                                                    keep(w, a->records[i].value), w->log_end};
            mix(w, a->records[i].key.data, a->records[i].key.size);
            mix(w, a->records[i].value.data, a->records[i].value.size);
        }
        w->log_end += (int64_t)a->record_count;
        if (a->acks == -1) {
            must(w->waiting_end < LOG_MAX);
            w->waiting[w->waiting_end++] = appended;
        }
    }
}

static void take_replies(struct world *w)
{
    for (const struct grp_reply *r = w->out.replies; r != NULL; r = r->next) {
        size_t token = (size_t)(uintptr_t)r->token;
        must(token < w->request_count);
        cr_assert_eq(w->fate[token], WAITING, "token %zu is answered, fate %d", token,
                     w->fate[token]);
        w->fate[token] = ANSWERED;
        struct client *client = &w->clients[w->owner[token]];
        mix(w, &token, sizeof(token));
        if (r->kind == GRP_EV_JOIN) {
            mix(w, &r->join.err, sizeof(r->join.err));
            snprintf(client->id, sizeof(client->id), "%.*s", STR_ARG(r->join.member_id));
            client->generation = r->join.generation;
        } else if (r->kind == GRP_EV_SYNC) {
            mix(w, &r->sync.err, sizeof(r->sync.err));
        }
    }
}

static void step(struct world *w, struct grp_event *event)
{
    struct grp_appended failed[64];
    size_t failed_count = 0;
    event->now_ms = w->now_ms;
    event->wall_ms = 1700000000000 + w->now_ms;
    grp_step(w->coord, event, &w->out);
    grp_check(w->coord);
    take_appends(w, failed, &failed_count);
    take_replies(w);
    grp_out_reset(&w->out);
    for (size_t i = 0; i < failed_count; i++) {
        step(w, &(struct grp_event){.kind = GRP_EV_APPENDED, .appended = failed[i]});
    }
}

/* ---- events ---- */

static void *new_token(struct world *w, int client)
{
    must(w->request_count < REQUESTS_MAX);
    w->fate[w->request_count] = WAITING;
    w->owner[w->request_count] = client;
    return (void *)(uintptr_t)w->request_count++;
}

static void random_join(struct world *w, int who)
{
    static const int16_t VERSIONS[] = {0, 3, 4, 5, 7, 9};
    struct client *client = &w->clients[who];
    if (rng_one_in(&w->rng, 10)) {
        client->flavour = (int)rng_below(&w->rng, 4);
    }
    struct bytes metadata = {SUBSCRIBED[client->flavour & 1], 14};
    struct grp_protocol protocols[] = {{STR("range"), metadata}, {STR("sticky"), metadata}};
    if ((client->flavour & 2) != 0) {
        protocols[0].name = STR("sticky");
        protocols[1].name = STR("range");
    }
    struct grp_event event = {.kind = GRP_EV_JOIN, .token = new_token(w, who)};
    event.join = (struct grp_join){
        .version = VERSIONS[rng_below(&w->rng, 6)],
        .group_id = str_of(GROUP_IDS[client->group]),
        .member_id = rng_one_in(&w->rng, 15) ? STR("") : str_of(client->id),
        .instance_id = str_of(client->instance),
        .client_id = STR("c"),
        .client_host = STR("/h"),
        .session_timeout_ms = 6000 + (int32_t)rng_below(&w->rng, 3) * 10000,
        .rebalance_timeout_ms = 3000 + (int32_t)rng_below(&w->rng, 3) * 10000,
        .protocol_type = STR("consumer"),
        .protocols = protocols,
        .protocol_count = 1 + rng_below(&w->rng, 2),
    };
    step(w, &event);
}

static void random_sync(struct world *w, int who)
{
    struct client *client = &w->clients[who];
    struct grp_assignment assignments[CLIENTS];
    static const uint8_t BYTES[] = "assignment";
    size_t count = 0;
    for (int i = 0; i < CLIENTS; i++) {
        if (w->clients[i].group == client->group) {
            assignments[count++] = (struct grp_assignment){
                str_of(w->clients[i].id), {BYTES, rng_below(&w->rng, sizeof(BYTES))}};
        }
    }
    struct grp_event event = {.kind = GRP_EV_SYNC, .token = new_token(w, who)};
    event.sync = (struct grp_sync){
        .group_id = str_of(GROUP_IDS[client->group]),
        .member_id = str_of(client->id),
        .instance_id = str_of(client->instance),
        .generation = client->generation,
        .assignments = assignments,
        .assignment_count = count,
    };
    step(w, &event);
}

static void random_heartbeat(struct world *w, int who)
{
    struct client *client = &w->clients[who];
    struct grp_event event = {.kind = GRP_EV_HEARTBEAT, .token = new_token(w, who)};
    event.heartbeat = (struct grp_heartbeat){str_of(GROUP_IDS[client->group]), str_of(client->id),
                                             str_of(client->instance), client->generation};
    step(w, &event);
}

static void random_leave(struct world *w, int who)
{
    struct client *client = &w->clients[who];
    struct grp_leaving leaving[2] = {
        {str_of(client->id), str_of(client->instance), STR_NULL},
        {str_of(w->clients[rng_below(&w->rng, CLIENTS)].id), STR_NULL, STR("why")},
    };
    struct grp_event event = {.kind = GRP_EV_LEAVE, .token = new_token(w, who)};
    event.leave =
        (struct grp_leave){str_of(GROUP_IDS[client->group]), leaving, 1 + rng_below(&w->rng, 2)};
    step(w, &event);
}

static void random_commit(struct world *w, int who)
{
    struct client *client = &w->clients[who];
    struct grp_commit_partition partitions[3];
    char metadata[8];
    bool expiring = rng_one_in(&w->rng, 8); /* such records have no leader epoch */
    snprintf(metadata, sizeof(metadata), "m%d", (int)rng_below(&w->rng, 100));
    for (int i = 0; i < 3; i++) {
        partitions[i] = (struct grp_commit_partition){
            .partition = (int32_t)rng_below(&w->rng, PARTITIONS),
            .leader_epoch = expiring ? -1 : (int32_t)rng_below(&w->rng, 3) - 1,
            .offset = (int64_t)rng_below(&w->rng, 1000000),
            .commit_timestamp_ms = -1,
            .metadata = rng_one_in(&w->rng, 2) ? str_of(metadata) : STR_NULL,
        };
    }
    struct grp_commit_topic topic = {str_of(TOPIC_NAMES[rng_below(&w->rng, TOPICS)]), partitions,
                                     1 + rng_below(&w->rng, 3)};
    bool member = !rng_one_in(&w->rng, 4);
    struct grp_event event = {.kind = GRP_EV_COMMIT, .token = new_token(w, who)};
    event.commit = (struct grp_commit){
        .group_id = str_of(GROUP_IDS[client->group]),
        .member_id = member ? str_of(client->id) : STR(""),
        .instance_id = member ? str_of(client->instance) : STR_NULL,
        .generation = member ? client->generation : -1,
        .retention_ms = expiring ? 5000 : -1,
        .topics = &topic,
        .topic_count = 1,
    };
    step(w, &event);
}

static void random_query(struct world *w, int who)
{
    static const enum grp_event_kind KINDS[] = {GRP_EV_FETCH, GRP_EV_OFFSET_DELETE, GRP_EV_DESCRIBE,
                                                GRP_EV_LIST, GRP_EV_DELETE};
    int32_t partition = (int32_t)rng_below(&w->rng, PARTITIONS);
    struct grp_topic_partitions topic = {str_of(TOPIC_NAMES[rng_below(&w->rng, TOPICS)]),
                                         &partition, 1};
    struct grp_event event = {.kind = KINDS[rng_below(&w->rng, 5)], .token = new_token(w, who)};
    struct str group = str_of(GROUP_IDS[w->clients[who].group]);
    if (event.kind == GRP_EV_FETCH) {
        event.fetch =
            (struct grp_fetch){group, rng_one_in(&w->rng, 2), rng_one_in(&w->rng, 2), &topic, 1};
    } else if (event.kind == GRP_EV_OFFSET_DELETE) {
        event.offset_delete = (struct grp_offset_delete){group, &topic, 1};
    } else if (event.kind != GRP_EV_LIST) {
        event.group_id = group;
    }
    step(w, &event);
}

static void commit_one(struct world *w)
{
    if (w->waiting_first < w->waiting_end) {
        struct grp_appended appended = w->waiting[w->waiting_first++];
        step(w, &(struct grp_event){.kind = GRP_EV_APPENDED, .appended = appended});
    }
}

/* Not known yet: it will be committed later. */
static void time_out_one(struct world *w)
{
    if (w->waiting_first < w->waiting_end) {
        struct grp_appended appended = w->waiting[w->waiting_first];
        appended.err = ERR_REQUEST_TIMED_OUT;
        step(w, &(struct grp_event){.kind = GRP_EV_APPENDED, .appended = appended});
    }
}

static void pass_time(struct world *w, int64_t ms)
{
    int64_t end_ms = w->now_ms + ms;
    for (;;) {
        int64_t wake_ms = grp_wake_at_ms(w->coord);
        if (wake_ms < 0 || wake_ms > end_ms) {
            break;
        }
        w->now_ms = wake_ms > w->now_ms ? wake_ms : w->now_ms;
        step(w, &(struct grp_event){.kind = GRP_EV_TICK});
    }
    w->now_ms = end_ms;
    step(w, &(struct grp_event){.kind = GRP_EV_TICK}); /* needless, harmless */
}

static void random_step(struct world *w)
{
    int who = (int)rng_below(&w->rng, CLIENTS);
    uint64_t dice = rng_below(&w->rng, 100);
    if (dice < 25) {
        random_join(w, who);
    } else if (dice < 45) {
        random_sync(w, who);
    } else if (dice < 52) {
        random_heartbeat(w, who);
    } else if (dice < 55) {
        random_leave(w, who);
    } else if (dice < 65) {
        random_commit(w, who);
    } else if (dice < 70) {
        random_query(w, who);
    } else if (dice < 90) {
        commit_one(w);
    } else if (dice < 91 && w->faults) {
        time_out_one(w);
    } else if (dice < 92) {
        struct grp_event event = {.kind = GRP_EV_TOPIC_DELETED};
        event.topic = str_of(TOPIC_NAMES[rng_below(&w->rng, TOPICS)]);
        step(w, &event);
    } else {
        pass_time(w, (int64_t)rng_below(&w->rng, rng_one_in(&w->rng, 10) ? 20000 : 1500));
    }
}

/* ---- the checks between ---- */

/* Settled: what the log says is what it is. */
static bool settled(const struct grp_group *group)
{
    return group->state == GRP_STABLE || group->state == GRP_EMPTY;
}

static void keep_offset_lines(struct buf *text)
{
    struct buf kept = {0};
    buf_put_byte(text, 0);
    char *save = NULL;
    for (char *line = strtok_r((char *)text->data, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "  offset", 8) == 0) {
            buf_put_text(&kept, line);
            buf_put_text(&kept, "\n");
        }
    }
    buf_fini(text);
    *text = kept;
}

static void compare_group(struct world *w, struct grp_coord *fresh, const char *id)
{
    struct grp_group *group = grp_group_find(w->coord, str_of(id));
    struct buf ours = {0};
    struct buf theirs = {0};
    grp_print(w->coord, str_of(id), false, &ours);
    grp_print(fresh, str_of(id), false, &theirs);
    bool unwritten = group != NULL && group->generation == 0 && !grp_group_has_offsets(group);
    if (unwritten || (group != NULL && !settled(group))) {
        keep_offset_lines(&ours);
        keep_offset_lines(&theirs);
    }
    buf_put_byte(&ours, 0);
    buf_put_byte(&theirs, 0);
    cr_assert_str_eq((char *)ours.data, (char *)theirs.data);
    buf_fini(&ours);
    buf_fini(&theirs);
}

static void compare_with_replay(struct world *w)
{
    while (w->waiting_first < w->waiting_end) {
        commit_one(w);
    }
    struct grp_config config = w->config;
    config.group_size_max =
        INT32_MAX; /* absent static members can make a group larger than allowed,
                      and a group that is too large rebalances when it is loaded */
    struct grp_coord *fresh = grp_new(&config, 1);
    struct grp_out out;
    grp_out_init(&out);
    struct grp_event event = {.kind = GRP_EV_RECORD, .now_ms = 1, .wall_ms = 1};
    for (size_t i = 0; i < w->log_count; i++) {
        event.record =
            (struct grp_record_event){w->log[i].key, w->log[i].value, w->log[i].base_offset, -1};
        grp_step(fresh, &event, &out);
        cr_assert_null(out.notes, "%s", out.notes != NULL ? out.notes->text : "");
        grp_out_reset(&out);
    }
    grp_step(fresh, &(struct grp_event){.kind = GRP_EV_LOADED, .now_ms = 1, .wall_ms = 1}, &out);
    grp_check(fresh);
    for (int i = 0; i < GROUPS; i++) {
        compare_group(w, fresh, GROUP_IDS[i]);
    }
    grp_out_fini(&out);
    grp_free(fresh);
}

/* Nobody asks for anything any more: sessions end, groups become empty, everyone is answered. */
static void expect_everything_settles(struct world *w)
{
    w->faults = false;
    for (int i = 0; i < 20; i++) {
        pass_time(w, 60000);
        while (w->waiting_first < w->waiting_end) {
            commit_one(w);
        }
    }
    for (const struct grp_group *group = w->coord->groups; group != NULL; group = group->hh.next) {
        cr_assert_eq(group->state, GRP_EMPTY);
    }
    for (size_t i = 1; i < w->request_count; i++) {
        cr_assert_neq(w->fate[i], WAITING, "token %zu was never answered", i);
    }
}

static uint64_t run(uint64_t seed, int steps)
{
    struct world *w = mem_new(struct world);
    rng_seed(&w->rng, seed);
    grp_config_default(&w->config);
    w->config.initial_rebalance_delay_ms = rng_one_in(&w->rng, 2) ? 0 : 3000;
    w->config.offsets_retention_ms = rng_one_in(&w->rng, 2) ? 30000 : 3600000;
    w->config.retention_check_interval_ms = 10000;
    w->config.group_size_max = rng_one_in(&w->rng, 3) ? 3 : 100;
    w->faults = rng_one_in(&w->rng, 2);
    w->coord = grp_new(&w->config, seed);
    w->request_count = 1; /* token 0 is none */
    grp_out_init(&w->out);
    int groups = 1 + (int)rng_below(&w->rng, GROUPS);
    for (int i = 0; i < CLIENTS; i++) {
        static const char *const INSTANCES[] = {"i0", "i1", "i2"};
        w->clients[i].group = (int)rng_below(&w->rng, (uint64_t)groups);
        w->clients[i].instance = rng_one_in(&w->rng, 3) ? INSTANCES[rng_below(&w->rng, 3)] : NULL;
        w->clients[i].flavour = (int)rng_below(&w->rng, 2);
    }
    step(w, &(struct grp_event){.kind = GRP_EV_LOADED});
    for (int i = 0; i < steps; i++) {
        random_step(w);
        if (i % 100 == 99) {
            compare_with_replay(w);
        }
    }
    expect_everything_settles(w);
    compare_with_replay(w);
    step(w, &(struct grp_event){.kind = GRP_EV_UNLOAD});
    uint64_t hash = w->hash;
    grp_free(w->coord);
    grp_out_fini(&w->out);
    arena_fini(&w->arena);
    mem_free(w);
    return hash;
}

Test(random, events_keep_the_invariants_and_replay_to_the_same_state)
{
    /* 150 seeds of 600 events. */
    for (uint64_t seed = 1; seed <= 150; seed++) {
        run(seed, 600);
    }
}

Test(random, equal_seeds_decide_equally)
{
    /* No hash order, address or uninitialised byte gets into a decision. */
    uint64_t first = run(77, 600);
    void *elsewhere = mem_alloc(12345);
    uint64_t second = run(77, 600);
    mem_free(elsewhere);
    cr_assert_eq(first, second);
    cr_assert_neq(first, run(78, 600));
}

/* ---- scale ---- */

enum { MEMBERS = 2000 };

struct crowd {
    struct world *w;
    char ids[MEMBERS][48];
};

static void crowd_step(struct crowd *crowd, struct grp_event event)
{
    event.now_ms = crowd->w->now_ms;
    grp_out_reset(&crowd->w->out);
    grp_step(crowd->w->coord, &event, &crowd->w->out);
}

/* Everyone joins; the answers, which give the ids, come with the last one, or when the delay is
 * over. */
static void crowd_joins(struct crowd *crowd)
{
    struct world *w = crowd->w;
    struct grp_protocol protocol = {STR("range"), {SUBSCRIBED[0], 14}};
    for (size_t i = 0; i < MEMBERS; i++) {
        struct grp_event event = {.kind = GRP_EV_JOIN, .token = (void *)(uintptr_t)(i + 1)};
        event.join = (struct grp_join){.version = 3,
                                       .group_id = STR("g"),
                                       .member_id = str_of(crowd->ids[i]),
                                       .client_id = STR("c"),
                                       .client_host = STR("/h"),
                                       .session_timeout_ms = 1800000,
                                       .rebalance_timeout_ms = 300000,
                                       .protocol_type = STR("consumer"),
                                       .protocols = &protocol,
                                       .protocol_count = 1};
        crowd_step(crowd, event);
    }
    while (w->out.replies == NULL) {
        w->now_ms = grp_wake_at_ms(w->coord);
        crowd_step(crowd, (struct grp_event){.kind = GRP_EV_TICK});
    }
    size_t joined = 0;
    for (const struct grp_reply *r = w->out.replies; r != NULL; r = r->next) {
        size_t i = (size_t)(uintptr_t)r->token - 1;
        cr_assert_eq(r->join.err, ERR_OK);
        snprintf(crowd->ids[i], sizeof(crowd->ids[i]), "%.*s", STR_ARG(r->join.member_id));
        joined++;
    }
    cr_assert_eq(joined, MEMBERS);
}

/* Everyone syncs, the leader (member 0) last, and is answered when its assignment is stored. */
static void crowd_syncs(struct crowd *crowd, int32_t generation)
{
    struct grp_assignment *assignments = mem_zalloc(MEMBERS, sizeof(*assignments));
    for (size_t i = MEMBERS; i-- > 0;) {
        assignments[i] = (struct grp_assignment){str_of(crowd->ids[i]), {SUBSCRIBED[0], 14}};
        struct grp_event event = {.kind = GRP_EV_SYNC, .token = (void *)(uintptr_t)(i + 1)};
        event.sync = (struct grp_sync){.group_id = STR("g"),
                                       .member_id = str_of(crowd->ids[i]),
                                       .generation = generation,
                                       .assignments = i == 0 ? assignments : NULL,
                                       .assignment_count = i == 0 ? MEMBERS : 0};
        crowd_step(crowd, event);
    }
    cr_assert_not_null(crowd->w->out.appends);
    struct grp_event event = {.kind = GRP_EV_APPENDED};
    event.appended = (struct grp_appended){.op = crowd->w->out.appends->op};
    crowd_step(crowd, event);
    size_t synced = 0;
    for (const struct grp_reply *r = crowd->w->out.replies; r != NULL; r = r->next) {
        cr_assert_eq(r->sync.err, ERR_OK);
        cr_assert_eq(r->sync.assignment.size, 14);
        synced++;
    }
    cr_assert_eq(synced, MEMBERS);
    mem_free(assignments);
}

Test(scale, two_thousand_members_rebalance_in_linear_time)
{
    /* 2000 members join, sync, rejoin twice, and leave one by one. With a quadratic step anywhere
     * this takes minutes under sanitizers. */
    struct crowd *crowd = mem_new(struct crowd);
    struct world *w = crowd->w = mem_new(struct world);
    grp_config_default(&w->config);
    w->config.retention_check_interval_ms = 0;
    w->coord = grp_new(&w->config, 1);
    grp_out_init(&w->out);
    crowd_step(crowd, (struct grp_event){.kind = GRP_EV_LOADED});
    for (int32_t round = 1; round <= 3; round++) {
        crowd_joins(crowd);
        crowd_syncs(crowd, round);
        grp_check(w->coord);
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        struct grp_leaving one = {.member_id = str_of(crowd->ids[i])};
        struct grp_event event = {.kind = GRP_EV_LEAVE, .leave = {STR("g"), &one, 1}};
        crowd_step(crowd, event);
    }
    cr_assert_eq(grp_group_find(w->coord, STR("g"))->state, GRP_EMPTY);
    grp_free(w->coord);
    grp_out_fini(&w->out);
    mem_free(w);
    mem_free(crowd);
}

Test(scale, thousands_of_groups)
{
    /* 5000 groups with offsets, then all expire in one look. */
    struct world *w = mem_new(struct world);
    grp_config_default(&w->config);
    w->config.offsets_retention_ms = 1000;
    w->coord = grp_new(&w->config, 1);
    grp_out_init(&w->out);
    struct grp_event event = {.kind = GRP_EV_LOADED};
    grp_step(w->coord, &event, &w->out);
    for (int i = 0; i < 5000; i++) {
        char name[24];
        snprintf(name, sizeof(name), "group-%d", i);
        struct grp_commit_partition partition = {.commit_timestamp_ms = -1, .leader_epoch = -1};
        struct grp_commit_topic topic = {STR("t"), &partition, 1};
        event = (struct grp_event){.kind = GRP_EV_COMMIT};
        event.commit = (struct grp_commit){.group_id = str_of(name),
                                           .member_id = STR(""),
                                           .generation = -1,
                                           .retention_ms = -1,
                                           .topics = &topic,
                                           .topic_count = 1};
        grp_out_reset(&w->out);
        grp_step(w->coord, &event, &w->out);
        event = (struct grp_event){.kind = GRP_EV_APPENDED};
        event.appended = (struct grp_appended){.op = w->out.appends->op, .base_offset = i};
        grp_out_reset(&w->out);
        grp_step(w->coord, &event, &w->out);
    }
    cr_assert_eq(grp_group_count(w->coord), 5000);
    grp_step(w->coord, &(struct grp_event){.kind = GRP_EV_EXPIRE, .wall_ms = 1000}, &w->out);
    cr_assert_eq(grp_group_count(w->coord), 0);
    cr_assert_eq(grp_memory_bytes(w->coord), 0);
    grp_free(w->coord);
    grp_out_fini(&w->out);
    mem_free(w);
}
