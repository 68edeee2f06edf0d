/* The members load: a consumer group that joins, and rebalances when one of it leaves.
 *
 *   (no id) --JoinGroup--> [id given] --JoinGroup--> joined --SyncGroup--> settled --LeaveGroup-->
 * left ^                        |                     |
 *                              +-- REBALANCE_IN_PROGRESS, also by heartbeat --+
 *
 * Each member has a connection of its own and speaks as the Java consumer does: two protocols, a
 * subscription that names what it owned, and the leader deals out ranges. Only heartbeats come
 * every HEARTBEAT_MS instead of every three seconds: a rebalance waits for whoever hears of it
 * last, and what is measured is to be the broker and not that interval.
 *
 * A step (all join; `requests` times one leaves) begins with a line on standard input, or at its
 * end, and is told on standard output; the report follows. Checked: every error code; that who has
 * settled got what the leader of that very generation dealt to it, so that every partition has one
 * owner; that at the end everybody's heartbeat is still good. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/must.h"
#include "bench/load/load.h"
#include "bench/load/peer.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"

enum {
    FIND_VERSION = 3,
    JOIN_VERSION = 9,
    SYNC_VERSION = 5,
    HEARTBEAT_VERSION = 4,
    LEAVE_VERSION = 5,
    SESSION_TIMEOUT_MS = 45000,
    REBALANCE_TIMEOUT_MS = 300000,
    HEARTBEAT_MS = 100,
    LONGEST_S = 60,
    AGAIN_MS = 10,
    MEMBER_ID_MAX = 256,
    EVENTS_MAX = 64,
    NOTHING_ASKED = -1,
};

struct member {
    struct group *group;
    struct peer peer;
    int32_t number;
    char id[MEMBER_ID_MAX]; /* "" until it is given */
    int32_t generation;
    int16_t asked; /* the API whose answer is due */
    bool left;
    /* What the leader dealt to it: partitions from `first` to before `end`. */
    int32_t dealt_in; /* generation; -1: nothing yet */
    int32_t first;
    int32_t end;
    struct list beat; /* of group.beats, between heartbeats */
    uint64_t beat_due_ns;
};

struct step {
    double seconds;
    double cpu_seconds; /* the generator's */
};

struct group {
    const struct load_options *options;
    struct member *members;
    int32_t active; /* have not left */
    int epoll;
    int32_t generation; /* the newest */
    int32_t listed;     /* members of it, as its leader was told */
    int32_t settled;    /* of those */
    int32_t confirmed;  /* good heartbeats since the last step */
    struct list beats;  /* members by beat_due_ns */
    struct buf frame;
    struct buf content; /* subscriptions and assignments */
    int64_t requests;
    int64_t heartbeats; /* of those */
    int64_t generations;
    struct step sum;
};

/* ---- what members say to each other: the consumer protocol, version 1 */

static void put_partitions(struct group *group, int32_t first, int32_t end)
{
    struct buf *out = &group->content;
    const char *topic = group->options->topic;
    buf_put_be32(out, 1);
    buf_put_be16(out, (uint16_t)strlen(topic));
    buf_put_text(out, topic);
    buf_put_be32(out, (uint32_t)(end - first));
    for (int32_t i = first; i < end; i++) {
        buf_put_be32(out, (uint32_t)i);
    }
}

/* Its user data is the member's number, by which the leader knows it again. */
static struct bytes subscription(struct member *member)
{
    struct group *group = member->group;
    struct buf *out = &group->content;
    const char *topic = group->options->topic;
    buf_clear(out);
    buf_put_be16(out, 1);
    buf_put_be32(out, 1);
    buf_put_be16(out, (uint16_t)strlen(topic));
    buf_put_text(out, topic);
    buf_put_be32(out, 4);
    buf_put_be32(out, (uint32_t)member->number);
    put_partitions(group, member->first, member->end);
    return (struct bytes){out->data, out->size};
}

static int32_t number_in(const struct group *group, struct bytes metadata)
{
    size_t at = 2 + 4 + 2 + strlen(group->options->topic) + 4;
    if (metadata.size < at + 4) {
        die("the leader is told a subscription of %zu bytes", metadata.size);
    }
    return (int32_t)be32_get(metadata.data + at);
}

/* At the end of `content`. */
static void put_assignment(struct group *group, int32_t first, int32_t end)
{
    buf_put_be16(&group->content, 1);
    put_partitions(group, first, end);
    buf_put_be32(&group->content, UINT32_MAX); /* no user data */
}

/* ---- what members ask */

static void ask(struct member *member, int16_t api_key, int16_t version, const void *body)
{
    struct group *group = member->group;
    must(member->asked == NOTHING_ASKED);
    member->asked = api_key;
    group->requests++;
    buf_clear(&group->frame);
    frame_put(&group->frame, api_key, version, LOAD_CORRELATION, body);
    peer_send_all(&member->peer, group->frame.data, group->frame.size);
}

static void ask_join(struct member *member)
{
    struct join_group_request request;
    struct join_group_request_join_group_request_protocol protocols[2];
    struct bytes metadata = subscription(member);
    codec_init(&join_group_request_desc, &request);
    protocols[0].name = STR("range");
    protocols[0].metadata = metadata;
    protocols[1].name = STR("cooperative-sticky");
    protocols[1].metadata = metadata;
    request.group_id = str_of(member->group->options->topic);
    request.session_timeout_ms = SESSION_TIMEOUT_MS;
    request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
    request.member_id = str_of(member->id);
    request.protocol_type = STR("consumer");
    request.protocols = protocols;
    request.protocols_count = 2;
    ask(member, API_JOIN_GROUP, JOIN_VERSION, &request);
}

/* Assignments: the leader's; others have none. */
static void ask_sync(struct member *member,
                     struct sync_group_request_sync_group_request_assignment *assignments,
                     int32_t count)
{
    struct sync_group_request request;
    codec_init(&sync_group_request_desc, &request);
    request.group_id = str_of(member->group->options->topic);
    request.generation_id = member->generation;
    request.member_id = str_of(member->id);
    request.protocol_type = STR("consumer");
    request.protocol_name = STR("range");
    request.assignments = assignments;
    request.assignments_count = count;
    ask(member, API_SYNC_GROUP, SYNC_VERSION, &request);
}

static void ask_heartbeat(struct member *member)
{
    struct heartbeat_request request;
    codec_init(&heartbeat_request_desc, &request);
    request.group_id = str_of(member->group->options->topic);
    request.generation_id = member->generation;
    request.member_id = str_of(member->id);
    member->group->heartbeats++;
    ask(member, API_HEARTBEAT, HEARTBEAT_VERSION, &request);
}

static void ask_leave(struct member *member)
{
    struct leave_group_request request;
    struct leave_group_request_member_identity identity;
    codec_init(&leave_group_request_desc, &request);
    codec_init(&leave_group_request_member_identity_desc, &identity);
    identity.member_id = str_of(member->id);
    request.group_id = str_of(member->group->options->topic);
    request.members = &identity;
    request.members_count = 1;
    ask(member, API_LEAVE_GROUP, LEAVE_VERSION, &request);
}

static void beat_later(struct member *member)
{
    member->beat_due_ns = now_ns() + HEARTBEAT_MS * 1000000ull;
    list_push_back(&member->group->beats, &member->beat);
}

/* ---- what they are told */

/* Does `id` fit the member of that number? Who has none yet is not listed. */
static struct member *listed_member(struct group *group,
                                    const struct join_group_response_join_group_response_member *in)
{
    int32_t number = number_in(group, in->metadata);
    if (number < 0 || number >= group->options->connections) {
        die("the leader is told of a member %d that is none of ours", number);
    }
    struct member *member = &group->members[number];
    if (!str_eq(in->member_id, str_of(member->id))) {
        die("the leader is told that member %d is %.*s, and not %s", number, STR_ARG(in->member_id),
            member->id);
    }
    return member;
}

/* The i-th of `count` gets the i-th part of the partitions. */
static void deal(struct member *leader, const struct join_group_response *joined)
{
    struct group *group = leader->group;
    int64_t partitions = group->options->partitions, count = joined->members_count;
    struct sync_group_request_sync_group_request_assignment *given =
        mem_zalloc((size_t)count, sizeof(*given));
    buf_clear(&group->content);
    for (int64_t i = 0; i < count; i++) {
        struct member *member = listed_member(group, &joined->members[i]);
        size_t begin = group->content.size;
        member->dealt_in = leader->generation;
        member->first = (int32_t)(i * partitions / count);
        member->end = (int32_t)((i + 1) * partitions / count);
        put_assignment(group, member->first, member->end);
        given[i].member_id = joined->members[i].member_id;
        given[i].assignment.size = group->content.size - begin;
    }
    size_t at = 0;
    for (int64_t i = 0; i < count; i++) { /* now that the memory does not move any more */
        given[i].assignment.data = group->content.data + at;
        at += given[i].assignment.size;
    }
    ask_sync(leader, given, (int32_t)count);
    mem_free(given);
}

static void begin_generation(struct group *group, const struct join_group_response *joined)
{
    if (joined->generation_id <= group->generation) {
        die("generation %d begins after %d", joined->generation_id, group->generation);
    }
    if (!str_is(joined->protocol_name, "range")) {
        die("the group chose the protocol %.*s", STR_ARG(joined->protocol_name));
    }
    group->generation = joined->generation_id;
    group->generations++;
    group->listed = joined->members_count;
    group->settled = 0;
}

static void on_joined(struct member *member, const struct join_group_response *reply)
{
    enum err err = err_from_wire(reply->error_code);
    if (err == ERR_MEMBER_ID_REQUIRED && member->id[0] == '\0' &&
        reply->member_id.size < MEMBER_ID_MAX) {
        snprintf(member->id, MEMBER_ID_MAX, "%.*s", STR_ARG(reply->member_id));
        ask_join(member);
        return;
    }
    if (err == ERR_REBALANCE_IN_PROGRESS) {
        ask_join(member);
        return;
    }
    if (err != ERR_OK || !str_eq(reply->member_id, str_of(member->id))) {
        die("member %d joins: %s", member->number, err_text(err));
    }
    member->generation = reply->generation_id;
    if (str_eq(reply->leader, reply->member_id)) {
        begin_generation(member->group, reply);
        deal(member, reply);
    } else {
        ask_sync(member, NULL, 0);
    }
}

static void on_synced(struct member *member, const struct sync_group_response *reply)
{
    struct group *group = member->group;
    enum err err = err_from_wire(reply->error_code);
    if (err == ERR_REBALANCE_IN_PROGRESS) {
        ask_join(member);
        return;
    }
    if (err != ERR_OK) {
        die("member %d syncs: %s", member->number, err_text(err));
    }
    buf_clear(&group->content);
    put_assignment(group, member->first, member->end);
    struct bytes due = {group->content.data, group->content.size};
    if (member->dealt_in != member->generation || due.size != reply->assignment.size ||
        memcmp(due.data, reply->assignment.data, due.size) != 0) {
        die("member %d has another assignment in generation %d than its leader gave it",
            member->number, member->generation);
    }
    group->settled += member->generation == group->generation ? 1 : 0;
    beat_later(member);
}

static void on_beat(struct member *member, const struct heartbeat_response *reply)
{
    enum err err = err_from_wire(reply->error_code);
    if (err == ERR_REBALANCE_IN_PROGRESS) {
        ask_join(member);
        return;
    }
    if (err != ERR_OK) {
        die("a heartbeat of member %d: %s", member->number, err_text(err));
    }
    member->group->confirmed++;
    beat_later(member);
}

static void on_left(struct member *member, const struct leave_group_response *reply)
{
    if (reply->error_code != 0 || reply->members_count != 1 || reply->members[0].error_code != 0) {
        die("member %d leaves: error %d", member->number,
            reply->members_count == 1 ? reply->members[0].error_code : reply->error_code);
    }
    member->left = true;
}

static void take_answer(struct member *member, struct bytes frame)
{
    union {
        struct join_group_response joined;
        struct sync_group_response synced;
        struct heartbeat_response beat;
        struct leave_group_response left;
    } reply;
    struct arena arena = {0};
    int16_t asked = member->asked;
    int16_t version = asked == API_JOIN_GROUP   ? JOIN_VERSION
                      : asked == API_SYNC_GROUP ? SYNC_VERSION
                      : asked == API_HEARTBEAT  ? HEARTBEAT_VERSION
                                                : LEAVE_VERSION;
    if (asked == NOTHING_ASKED) {
        die("member %d gets an answer that it did not ask for", member->number);
    }
    struct bytes body = peer_body(frame, asked, version, LOAD_CORRELATION);
    if (codec_decode(api_find(asked)->response, version, body, &arena, &reply, NULL) != ERR_OK) {
        die("malformed %s response", api_find(asked)->name);
    }
    member->asked = NOTHING_ASKED;
    if (asked == API_JOIN_GROUP) {
        on_joined(member, &reply.joined);
    } else if (asked == API_SYNC_GROUP) {
        on_synced(member, &reply.synced);
    } else if (asked == API_HEARTBEAT) {
        on_beat(member, &reply.beat);
    } else {
        on_left(member, &reply.left);
    }
    arena_fini(&arena);
}

/* ---- steps */

static void send_due_beats(struct group *group)
{
    uint64_t now = now_ns();
    while (!list_empty(&group->beats)) {
        struct member *first = container_of(group->beats.next, struct member, beat);
        if (first->beat_due_ns > now) {
            return;
        }
        list_remove(&first->beat);
        ask_heartbeat(first);
    }
}

static void turn(struct group *group)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(group->epoll, events, EVENTS_MAX, 1);
    for (int i = 0; i < count; i++) {
        struct member *member = events[i].data.ptr;
        struct bytes frame;
        while (peer_receive(&member->peer) && peer_next(&member->peer, &frame)) {
            take_answer(member, frame);
        }
    }
    send_due_beats(group);
}

static bool is_settled(const struct group *group)
{
    return group->settled == group->active && group->listed == group->active;
}

static void run_step(struct group *group, const char *what, struct step *out)
{
    struct load_clock clock;
    uint64_t deadline = now_ns() + LONGEST_S * 1000000000ull;
    load_clock_start(&clock);
    while (!is_settled(group)) {
        if (now_ns() > deadline) {
            die("%s: %d of %d members have settled, in generation %d of %d members", what,
                group->settled, group->active, group->generation, group->listed);
        }
        turn(group);
    }
    load_clock_used(&clock, &out->seconds, &out->cpu_seconds);
    group->sum.seconds += out->seconds;
    group->sum.cpu_seconds += out->cpu_seconds;
}

static void tell(const char *what)
{
    char line[16];
    printf("%s\n", what);
    fflush(stdout);
    (void)!fgets(line, sizeof(line), stdin);
}

static void all_join(struct group *group, struct step *out)
{
    for (int32_t i = 0; i < group->active; i++) {
        ask_join(&group->members[i]);
    }
    run_step(group, "a join", out);
}

/* Only who waits for nothing can leave: not in the middle of a heartbeat. */
static void one_leaves(struct group *group, struct step *out)
{
    struct member *member = &group->members[group->active - 1];
    while (member->asked != NOTHING_ASKED) {
        turn(group);
    }
    list_remove(&member->beat);
    group->active--;
    group->settled = 0;
    ask_leave(member);
    run_step(group, "a rebalance", out);
    if (!member->left) {
        die("member %d has heard nothing of its leaving", member->number);
    }
}

/* Everybody is still in it after the last step. That is not part of what is measured. */
static void confirm(struct group *group)
{
    int64_t generations = group->generations;
    int64_t requests = group->requests, heartbeats = group->heartbeats;
    uint64_t deadline = now_ns() + LONGEST_S * 1000000000ull;
    group->confirmed = 0;
    while (group->confirmed < 2 * group->active) {
        if (now_ns() > deadline || group->generations != generations) {
            die("the group does not stay as it is");
        }
        turn(group);
    }
    group->requests = requests;
    group->heartbeats = heartbeats;
}

/* ---- the beginning and the end */

/* The coordinator's port, once it answers for the group. */
static uint16_t find_coordinator(const struct load_options *options)
{
    uint64_t deadline = now_ns() + LONGEST_S * 1000000000ull;
    for (;;) {
        struct peer peer;
        struct arena arena = {0};
        struct find_coordinator_request request;
        struct find_coordinator_response found;
        struct heartbeat_request beat;
        struct heartbeat_response refused;
        peer_connect(&peer, options->host, options->port);
        codec_init(&find_coordinator_request_desc, &request);
        request.key = str_of(options->topic);
        peer_call(&peer, API_FIND_COORDINATOR, FIND_VERSION, &request, &arena, &found);
        codec_init(&heartbeat_request_desc, &beat);
        beat.group_id = str_of(options->topic);
        peer_call(&peer, API_HEARTBEAT, HEARTBEAT_VERSION, &beat, &arena, &refused);
        uint16_t port = (uint16_t)found.port;
        int16_t code = found.error_code;
        arena_fini(&arena);
        peer_close(&peer);
        if (code == 0 &&
            (port != options->port || err_from_wire(refused.error_code) == ERR_UNKNOWN_MEMBER_ID)) {
            return port;
        }
        if (now_ns() > deadline) {
            die("no coordinator: error %d, then %d", code, refused.error_code);
        }
        (void)poll(NULL, 0, AGAIN_MS);
    }
}

static void open_group(struct group *group, const struct load_options *options)
{
    uint16_t port = find_coordinator(options);
    *group = (struct group){.options = options, .active = options->connections};
    group->generation = -1;
    group->epoll = epoll_create1(EPOLL_CLOEXEC);
    group->members = mem_zalloc((size_t)options->connections, sizeof(*group->members));
    list_init(&group->beats);
    for (int32_t i = 0; i < options->connections; i++) {
        struct member *member = &group->members[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = member};
        *member = (struct member){
            .group = group, .number = i, .asked = NOTHING_ASKED, .dealt_in = -1, .generation = -1};
        peer_connect(&member->peer, options->host, port);
        if (epoll_ctl(group->epoll, EPOLL_CTL_ADD, member->peer.fd, &event) != 0) {
            die("epoll_ctl: %m");
        }
    }
}

static void close_group(struct group *group)
{
    for (int32_t i = 0; i < group->options->connections; i++) {
        peer_close(&group->members[i].peer);
    }
    mem_free(group->members);
    buf_fini(&group->frame);
    buf_fini(&group->content);
}

static void report(const struct group *group, const struct step *joined, const struct step *left,
                   int64_t count)
{
    double core = group->sum.cpu_seconds / group->sum.seconds;
    printf("{\"mode\": \"members\", \"members\": %d, \"seconds\": %.6f, \"requests\": %" PRId64
           ", \"heartbeats\": %" PRId64 ", \"generations\": %" PRId64
           ", \"generator_core\": %.3f, \"join_ms\": %.3f, \"rebalance_ms\": [",
           group->options->connections, group->sum.seconds, group->requests, group->heartbeats,
           group->generations, core, joined->seconds * 1e3);
    for (int64_t i = 0; i < count; i++) {
        printf("%s%.3f", i > 0 ? ", " : "", left[i].seconds * 1e3);
    }
    printf("]}\n");
}

int load_members(const struct load_options *options)
{
    struct group group;
    struct step joined;
    struct step *left = mem_zalloc((size_t)options->requests, sizeof(*left));
    if (options->requests >= options->connections) {
        die("%" PRId64 " of %d members cannot leave one after another", options->requests,
            options->connections);
    }
    open_group(&group, options);
    tell("ready");
    all_join(&group, &joined);
    tell("joined");
    for (int64_t i = 0; i < options->requests; i++) {
        one_leaves(&group, &left[i]);
    }
    tell("left");
    confirm(&group);
    report(&group, &joined, left, options->requests);
    close_group(&group);
    mem_free(left);
    return 0;
}
