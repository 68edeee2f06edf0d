/* grp_fixture.h: golden traces of the group machine.
 *
 * A trace feeds events and writes down every decision as a line of text:
 *
 *   A join NONE gen=1 type=consumer proto=range leader=#1 id=#1 members=[#1=m]
 *   append acks=-1 group g gen=1 ...
 *   12000 wakes                        (only from advance())
 *
 * Clients are letters: 'A' is the token of its requests and remembers the member id it was given.
 * Member ids are random; the trace shows "#n" for the n-th uuid that appeared in it. grp_check()
 * runs after every step. EXPECT() compares what was written since the last time. */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/must.h"
#include "group/grp.h"
#include "group/grp_records.h"

#define UNUSED_OK __attribute__((unused))

enum { CLIENTS = 128, LOG_MAX = 4096, UUIDS_MAX = 256 };

struct logged {
    struct bytes key;
    struct bytes value;
    int64_t base_offset;
    int64_t producer_id;
};

struct trace {
    struct grp_config config;
    struct grp_coord *coord;
    struct grp_out out;
    struct arena arena; /* of what is remembered */
    int64_t now_ms;
    int64_t wall_ms; /* now + a constant, unless a test sets it */
    struct buf text;
    char *ids[CLIENTS];
    int32_t generation[CLIENTS];
    struct grp_appended waiting[LOG_MAX]; /* appends not yet told about */
    size_t waiting_count;
    struct logged log[LOG_MAX]; /* every record appended */
    size_t log_count;
    int64_t log_end;
    char uuids[UUIDS_MAX][37];
    size_t uuid_count;
    bool quiet; /* do not write */
};

UNUSED_OK static const char *trace_id(struct trace *t, char who)
{
    return t->ids[(int)who] != NULL ? t->ids[(int)who] : "";
}

static void *token_of(char who)
{
    return (void *)(uintptr_t)who;
}

/* ---- printing ---- */

static bool is_uuid(const char *at, size_t left)
{
    if (left < 36) {
        return false;
    }
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f');
        if (dash ? at[i] != '-' : !hex) {
            return false;
        }
    }
    return true;
}

static int alias_of(struct trace *t, const char *uuid)
{
    for (size_t i = 0; i < t->uuid_count; i++) {
        if (memcmp(t->uuids[i], uuid, 36) == 0) {
            return (int)i + 1;
        }
    }
    must(t->uuid_count < UUIDS_MAX);
    memcpy(t->uuids[t->uuid_count], uuid, 36);
    t->uuid_count++;
    return (int)t->uuid_count;
}

static void put_str(struct trace *t, struct str s)
{
    if (s.ptr == NULL) {
        buf_put_text(&t->text, "null");
        return;
    }
    for (size_t i = 0; i < s.size;) {
        /* "client-uuid" shows as "#n" */
        if (s.ptr[i] == '-' && is_uuid(s.ptr + i + 1, s.size - i - 1)) {
            buf_printf(&t->text, "#%d", alias_of(t, s.ptr + i + 1));
            i += 37;
        } else {
            buf_put_byte(&t->text, (uint8_t)s.ptr[i++]);
        }
    }
}

static void put_bytes(struct trace *t, struct bytes b)
{
    if (b.data == NULL) {
        buf_put_text(&t->text, "null");
    } else {
        buf_put(&t->text, b.data, b.size);
    }
}

static void put_field(struct trace *t, const char *name, struct str s)
{
    buf_printf(&t->text, " %s=", name);
    put_str(t, s);
}

static void put_join(struct trace *t, const struct grp_reply_join *r)
{
    buf_printf(&t->text, " %s gen=%d", err_name(r->err), r->generation);
    put_field(t, "type", r->protocol_type);
    put_field(t, "proto", r->protocol_name);
    put_field(t, "leader", r->leader);
    put_field(t, "id", r->member_id);
    buf_put_text(&t->text, r->skip_assignment ? " skip" : "");
    for (size_t i = 0; i < r->member_count; i++) {
        buf_put_text(&t->text, i == 0 ? " members=[" : " ");
        put_str(t, r->members[i].member_id);
        if (r->members[i].instance_id.ptr != NULL) {
            buf_put_text(&t->text, "/");
            put_str(t, r->members[i].instance_id);
        }
        buf_put_text(&t->text, "=");
        put_bytes(t, r->members[i].metadata);
    }
    buf_put_text(&t->text, r->member_count > 0 ? "]" : "");
}

static void put_offsets(struct trace *t, const struct grp_reply *reply)
{
    const struct grp_reply_offsets *r = &reply->offsets;
    buf_printf(&t->text, " %s", err_name(r->err));
    for (size_t i = 0; i < r->topic_count; i++) {
        for (size_t j = 0; j < r->topics[i].partition_count; j++) {
            const struct grp_reply_partition *p = &r->topics[i].partitions[j];
            buf_put_text(&t->text, " ");
            put_str(t, r->topics[i].topic);
            buf_printf(&t->text, "-%d:%s", p->partition, err_name(p->err));
            if (reply->kind == GRP_EV_FETCH) {
                buf_printf(&t->text, "=%lld/%d/\"", (long long)p->offset, p->leader_epoch);
                put_str(t, p->metadata);
                buf_put_text(&t->text, "\"");
            }
        }
    }
}

static void put_describe(struct trace *t, const struct grp_reply_describe *r)
{
    buf_printf(&t->text, " %s", err_name(r->err));
    put_field(t, "group", r->group_id);
    put_field(t, "state", r->state);
    put_field(t, "type", r->protocol_type);
    put_field(t, "proto", r->protocol);
    for (size_t i = 0; i < r->member_count; i++) {
        const struct grp_described_member *m = &r->members[i];
        buf_put_text(&t->text, " ");
        put_str(t, m->member_id);
        buf_put_text(&t->text, "/");
        put_str(t, m->instance_id);
        buf_put_text(&t->text, "@");
        put_str(t, m->client_id);
        put_str(t, m->client_host);
        buf_put_text(&t->text, ":");
        put_bytes(t, m->metadata);
        buf_put_text(&t->text, ":");
        put_bytes(t, m->assignment);
    }
}

static void put_reply(struct trace *t, const struct grp_reply *reply)
{
    static const char *const NAMES[] = {"join",  "sync",          "heartbeat", "leave", "commit",
                                        "fetch", "offset delete", "describe",  "list",  "delete"};
    buf_printf(&t->text, "%c %s", (char)(uintptr_t)reply->token, NAMES[reply->kind]);
    switch (reply->kind) {
    case GRP_EV_JOIN:
        put_join(t, &reply->join);
        break;
    case GRP_EV_SYNC:
        buf_printf(&t->text, " %s", err_name(reply->sync.err));
        put_field(t, "type", reply->sync.protocol_type);
        put_field(t, "proto", reply->sync.protocol_name);
        buf_put_text(&t->text, " assignment=");
        put_bytes(t, reply->sync.assignment);
        break;
    case GRP_EV_HEARTBEAT:
        buf_printf(&t->text, " %s", err_name(reply->heartbeat));
        break;
    case GRP_EV_LEAVE:
        buf_printf(&t->text, " %s", err_name(reply->leave.err));
        for (size_t i = 0; i < reply->leave.member_count; i++) {
            buf_put_text(&t->text, " ");
            put_str(t, reply->leave.members[i].member_id);
            buf_put_text(&t->text, "/");
            put_str(t, reply->leave.members[i].instance_id);
            buf_printf(&t->text, ":%s", err_name(reply->leave.members[i].err));
        }
        break;
    case GRP_EV_DESCRIBE:
        put_describe(t, &reply->describe);
        break;
    case GRP_EV_LIST:
        buf_printf(&t->text, " %s", err_name(reply->list.err));
        for (size_t i = 0; i < reply->list.group_count; i++) {
            const struct grp_listed *g = &reply->list.groups[i];
            buf_printf(&t->text, " %.*s:%.*s:%.*s:%.*s", STR_ARG(g->group_id),
                       STR_ARG(g->protocol_type), STR_ARG(g->state), STR_ARG(g->type));
        }
        break;
    case GRP_EV_DELETE:
        buf_printf(&t->text, " %s", err_name(reply->deleted));
        break;
    default:
        put_offsets(t, reply);
        break;
    }
    buf_put_text(&t->text, "\n");
}

static void put_group_record(struct trace *t, struct bytes value)
{
    struct arena arena = {0};
    struct grp_group_record r;
    cr_assert_eq(grp_record_decode_group(&arena, value, &r), ERR_OK);
    buf_printf(&t->text, " gen=%d at=%lld", r.generation, (long long)r.state_timestamp_ms);
    put_field(t, "type", r.protocol_type);
    put_field(t, "proto", r.protocol);
    put_field(t, "leader", r.leader);
    for (size_t i = 0; i < r.member_count; i++) {
        buf_put_text(&t->text, i == 0 ? " [" : " ");
        put_str(t, r.members[i].member_id);
        if (r.members[i].instance_id.ptr != NULL) {
            buf_put_text(&t->text, "/");
            put_str(t, r.members[i].instance_id);
        }
        buf_put_text(&t->text, ":");
        put_bytes(t, r.members[i].subscription);
        buf_put_text(&t->text, ":");
        put_bytes(t, r.members[i].assignment);
    }
    buf_put_text(&t->text, r.member_count > 0 ? "]" : "");
    arena_fini(&arena);
}

static void put_record(struct trace *t, const struct grp_out_record *record)
{
    struct arena arena = {0};
    struct grp_record_key key;
    cr_assert_eq(grp_record_decode_key(&arena, record->key, &key), ERR_OK);
    bool offset = key.kind == GRP_RECORD_OFFSET;
    buf_put_text(&t->text, offset ? " offset " : " group ");
    put_str(t, key.group);
    if (offset) {
        buf_printf(&t->text, " %.*s-%d", STR_ARG(key.topic), key.partition);
    }
    if (record->value.data == NULL) {
        buf_put_text(&t->text, " tombstone");
    } else if (offset) {
        struct grp_offset_value v;
        cr_assert_eq(grp_record_decode_offset(&arena, record->value, &v), ERR_OK);
        buf_printf(&t->text, "=%lld/%d/\"%.*s\" at=%lld", (long long)v.offset, v.leader_epoch,
                   STR_ARG(v.metadata), (long long)v.commit_timestamp_ms);
        if (v.expire_timestamp_ms != -1) {
            buf_printf(&t->text, " expires=%lld", (long long)v.expire_timestamp_ms);
        }
    } else {
        put_group_record(t, record->value);
    }
    arena_fini(&arena);
}

/* ---- steps ---- */

static struct bytes keep(struct trace *t, struct bytes b)
{
    if (b.data == NULL) {
        return b;
    }
    uint8_t *copy = arena_alloc(&t->arena, b.size);
    memcpy(copy, b.data, b.size);
    return (struct bytes){copy, b.size};
}

static void take_append(struct trace *t, const struct grp_append *append)
{
    if (!t->quiet) {
        buf_printf(&t->text, "append acks=%d", append->acks);
    }
    for (size_t i = 0; i < append->record_count; i++) {
        if (!t->quiet) {
            put_record(t, &append->records[i]);
        }
        must(t->log_count < LOG_MAX);
        t->log[t->log_count++] = (struct logged){.key = keep(t, append->records[i].key),
                                                 .value = keep(t, append->records[i].value),
                                                 .base_offset = t->log_end,
                                                 .producer_id = -1};
    }
    if (!t->quiet) {
        buf_put_text(&t->text, "\n");
    }
    if (append->acks == -1) {
        must(t->waiting_count < LOG_MAX);
        t->waiting[t->waiting_count++] =
            (struct grp_appended){.op = append->op, .err = ERR_OK, .base_offset = t->log_end};
    }
    t->log_end += (int64_t)append->record_count;
}

static void take_reply(struct trace *t, const struct grp_reply *reply)
{
    int who = (int)(uintptr_t)reply->token;
    if (reply->kind == GRP_EV_JOIN && who < CLIENTS) {
        t->ids[who] = arena_cstr(&t->arena, reply->join.member_id);
        t->generation[who] = reply->join.generation;
    }
    if (!t->quiet) {
        put_reply(t, reply);
    }
}

static void step(struct trace *t, struct grp_event *event)
{
    event->now_ms = t->now_ms;
    event->wall_ms = t->wall_ms;
    grp_step(t->coord, event, &t->out);
    grp_check(t->coord);
    for (const struct grp_append *a = t->out.appends; a != NULL; a = a->next) {
        take_append(t, a);
    }
    for (const struct grp_reply *r = t->out.replies; r != NULL; r = r->next) {
        take_reply(t, r);
    }
    grp_out_reset(&t->out);
}

UNUSED_OK static void simple(struct trace *t, enum grp_event_kind kind)
{
    step(t, &(struct grp_event){.kind = kind});
}

/* A coordinator that has loaded nothing. Wall clock = 1000000 + monotonic clock. */
UNUSED_OK static void trace_start_loading(struct trace *t)
{
    if (t->config.session_timeout_max_ms == 0) {
        grp_config_default(&t->config);
        t->config.retention_check_interval_ms = 0;
    }
    t->coord = grp_new(&t->config, 7);
    t->wall_ms = 1000000 + t->now_ms;
    grp_out_init(&t->out);
}

UNUSED_OK static void trace_start(struct trace *t)
{
    trace_start_loading(t);
    simple(t, GRP_EV_LOADED);
}

UNUSED_OK static void trace_end(struct trace *t)
{
    grp_free(t->coord);
    grp_out_fini(&t->out);
    arena_fini(&t->arena);
    buf_fini(&t->text);
}

static void expect_trace(struct trace *t, const char *expected, const char *file, int line)
{
    buf_put_byte(&t->text, 0);
    const char *actual = (const char *)t->text.data;
    if (strcmp(actual, expected) != 0) {
        fprintf(stderr, "@@ %s:%d\n%s@@ end\n", file, line, actual);
        cr_assert_fail("%s:%d: the trace differs; got:\n%s\nexpected:\n%s", file, line, actual,
                       expected);
    }
    t->text.size = 0;
}

#define EXPECT(t, expected) expect_trace((t), (expected), __FILE__, __LINE__)

/* ---- time ---- */

/* Move both clocks, waking the machine whenever it wants to be. */
UNUSED_OK static void advance_to(struct trace *t, int64_t at_ms)
{
    for (;;) {
        int64_t wake_ms = grp_wake_at_ms(t->coord);
        bool wakes = wake_ms >= 0 && wake_ms <= at_ms;
        int64_t next_ms = wakes ? wake_ms : at_ms;
        if (next_ms > t->now_ms) {
            t->wall_ms += next_ms - t->now_ms;
            t->now_ms = next_ms;
        }
        size_t before = t->text.size;
        if (wakes) {
            simple(t, GRP_EV_TICK);
        }
        if (t->text.size > before) {
            char *said = mem_strndup((const char *)t->text.data + before, t->text.size - before);
            t->text.size = before;
            buf_printf(&t->text, "at %lld:\n%s", (long long)t->now_ms, said);
            mem_free(said);
        }
        if (!wakes) {
            return;
        }
    }
}

UNUSED_OK static void advance(struct trace *t, int64_t ms)
{
    advance_to(t, t->now_ms + ms);
}

/* ---- appends ---- */

/* The oldest append is committed. */
UNUSED_OK static void ack_one(struct trace *t)
{
    cr_assert(t->waiting_count > 0);
    struct grp_event event = {.kind = GRP_EV_APPENDED, .appended = t->waiting[0]};
    t->waiting_count--;
    memmove(t->waiting, t->waiting + 1, t->waiting_count * sizeof(t->waiting[0]));
    step(t, &event);
}

UNUSED_OK static void ack(struct trace *t)
{
    while (t->waiting_count > 0) {
        ack_one(t);
    }
}

/* The oldest append fails; with `keep_waiting` it may be committed later all the same. */
UNUSED_OK static void fail(struct trace *t, enum err err, bool keep_waiting)
{
    cr_assert(t->waiting_count > 0);
    struct grp_event event = {.kind = GRP_EV_APPENDED, .appended = t->waiting[0]};
    event.appended.err = err;
    if (!keep_waiting) {
        t->waiting_count--;
        memmove(t->waiting, t->waiting + 1, t->waiting_count * sizeof(t->waiting[0]));
    }
    step(t, &event);
}

/* ---- requests ---- */

/* The member id to send: one given, or the one remembered; "" with fresh. */
static struct str id_to_send(struct trace *t, char who, const char *id, bool fresh)
{
    return str_of(fresh ? "" : id != NULL ? id : trace_id(t, who));
}

struct join_options {
    const char *group;
    int16_t version; /* 5 */
    const char *id;
    bool fresh;
    const char *instance;
    const char *protocols; /* "range:m,sticky:n"; "-" for none */
    const char *type;
    int32_t session_ms;
    int32_t rebalance_ms;
    const char *client;
};

static size_t parse_protocols(char *text, struct grp_protocol *protocols)
{
    size_t count = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, ",", &save); word != NULL && strcmp(word, "-") != 0;
         word = strtok_r(NULL, ",", &save)) {
        char *colon = strchr(word, ':');
        protocols[count].name = (struct str){word, (size_t)(colon - word)};
        protocols[count++].metadata = (struct bytes){(const uint8_t *)colon + 1, strlen(colon + 1)};
    }
    return count;
}

UNUSED_OK static void do_join(struct trace *t, char who, struct join_options o)
{
    struct grp_protocol protocols[16];
    char *text = mem_strdup(o.protocols != NULL ? o.protocols : "range:m");
    int32_t session_ms = o.session_ms != 0 ? o.session_ms : 10000;
    struct grp_event event = {.kind = GRP_EV_JOIN, .token = token_of(who)};
    event.join = (struct grp_join){
        .version = o.version == 0    ? 5
                   : o.version == -1 ? 0
                                     : o.version,
        .group_id = str_of(o.group != NULL ? o.group : "g"),
        .member_id = id_to_send(t, who, o.id, o.fresh),
        .instance_id = str_of(o.instance),
        .client_id = str_of(o.client != NULL ? o.client : "c"),
        .client_host = STR("/10.0.0.1"),
        .session_timeout_ms = session_ms,
        .rebalance_timeout_ms = o.rebalance_ms != 0 ? o.rebalance_ms : 60000,
        .protocol_type = str_of(o.type != NULL ? o.type : "consumer"),
        .protocols = protocols,
        .protocol_count = parse_protocols(text, protocols),
    };
    step(t, &event);
    mem_free(text);
}
#define join(t, who, ...) do_join((t), (who), (struct join_options){__VA_ARGS__})
/* At once, as clients before JoinGroup 4 get in. */
#define enter(t, who, ...) do_join((t), (who), (struct join_options){.version = 3, __VA_ARGS__})

struct sync_options {
    const char *group;
    int16_t version;
    const char *id;
    const char *instance;
    int32_t generation; /* 0: the remembered one */
    const char *type;
    const char *protocol;
    const char *assign; /* "AB": a for A, b for B */
};

UNUSED_OK static void do_sync(struct trace *t, char who, struct sync_options o)
{
    struct grp_assignment assignments[32];
    char letters[32];
    size_t count = 0;
    for (const char *at = o.assign != NULL ? o.assign : ""; *at != 0; at++) {
        letters[count] = (char)(*at | 0x20);
        assignments[count].member_id = str_of(trace_id(t, *at));
        assignments[count].assignment = (struct bytes){(const uint8_t *)&letters[count], 1};
        count++;
    }
    struct grp_event event = {.kind = GRP_EV_SYNC, .token = token_of(who)};
    event.sync = (struct grp_sync){
        .version = o.version,
        .group_id = str_of(o.group != NULL ? o.group : "g"),
        .member_id = id_to_send(t, who, o.id, false),
        .instance_id = str_of(o.instance),
        .generation = o.generation != 0 ? o.generation : t->generation[(int)who],
        .protocol_type = str_of(o.type),
        .protocol_name = str_of(o.protocol),
        .assignments = assignments,
        .assignment_count = count,
    };
    step(t, &event);
}
#define sync_group(t, who, ...) do_sync((t), (who), (struct sync_options){__VA_ARGS__})

struct beat_options {
    const char *group;
    const char *id;
    const char *instance;
    int32_t generation;
};

UNUSED_OK static void do_beat(struct trace *t, char who, struct beat_options o)
{
    struct grp_event event = {.kind = GRP_EV_HEARTBEAT, .token = token_of(who)};
    event.heartbeat = (struct grp_heartbeat){
        .group_id = str_of(o.group != NULL ? o.group : "g"),
        .member_id = id_to_send(t, who, o.id, false),
        .instance_id = str_of(o.instance),
        .generation = o.generation != 0 ? o.generation : t->generation[(int)who],
    };
    step(t, &event);
}
#define heartbeat(t, who, ...) do_beat((t), (who), (struct beat_options){__VA_ARGS__})

/* The members given, as {"id", "instance"} pairs. */
UNUSED_OK static void leave_batch(struct trace *t, char who, const char *group,
                                  const struct grp_leaving *members, size_t count)
{
    struct grp_event event = {.kind = GRP_EV_LEAVE, .token = token_of(who)};
    event.leave =
        (struct grp_leave){.group_id = str_of(group), .members = members, .member_count = count};
    step(t, &event);
}

UNUSED_OK static void leave(struct trace *t, char who)
{
    struct grp_leaving one = {.member_id = str_of(trace_id(t, who))};
    leave_batch(t, who, "g", &one, 1);
}

struct commit_options {
    const char *group;
    const char *id; /* NULL: none, unless `member` */
    bool member;    /* with the remembered id and generation */
    const char *instance;
    int32_t generation; /* 0: -1 */
    const char *topic;
    int32_t partition;
    int64_t offset;
    const char *metadata;
    int32_t epoch;
    int64_t retention_ms; /* 0: -1 */
    int64_t timestamp_ms; /* 0: -1 */
};

UNUSED_OK static void do_commit(struct trace *t, char who, struct commit_options o)
{
    struct grp_commit_partition partition = {
        .partition = o.partition,
        .leader_epoch = o.epoch != 0 ? o.epoch : -1,
        .offset = o.offset,
        .commit_timestamp_ms = o.timestamp_ms != 0 ? o.timestamp_ms : -1,
        .metadata = str_of(o.metadata),
    };
    struct grp_commit_topic topic = {str_of(o.topic != NULL ? o.topic : "t"), &partition, 1};
    int32_t generation = o.generation != 0 ? o.generation : -1;
    struct grp_event event = {.kind = GRP_EV_COMMIT, .token = token_of(who)};
    event.commit = (struct grp_commit){
        .group_id = str_of(o.group != NULL ? o.group : "g"),
        .member_id = o.member ? str_of(trace_id(t, who)) : str_of(o.id != NULL ? o.id : ""),
        .instance_id = str_of(o.instance),
        .generation = o.member && o.generation == 0 ? t->generation[(int)who] : generation,
        .retention_ms = o.retention_ms != 0 ? o.retention_ms : -1,
        .topics = &topic,
        .topic_count = 1,
    };
    step(t, &event);
}
#define commit(t, who, ...) do_commit((t), (who), (struct commit_options){__VA_ARGS__})

struct topic_options {
    const char *group;
    const char *topic; /* NULL: "t" */
    int32_t partition;
    bool all;
    bool stable;
};

UNUSED_OK static void do_fetch(struct trace *t, char who, struct topic_options o)
{
    struct grp_topic_partitions topic = {str_of(o.topic != NULL ? o.topic : "t"), &o.partition, 1};
    struct grp_event event = {.kind = GRP_EV_FETCH, .token = token_of(who)};
    event.fetch = (struct grp_fetch){
        .group_id = str_of(o.group != NULL ? o.group : "g"),
        .all = o.all,
        .require_stable = o.stable,
        .topics = &topic,
        .topic_count = 1,
    };
    step(t, &event);
}
#define fetch(t, who, ...) do_fetch((t), (who), (struct topic_options){__VA_ARGS__})

UNUSED_OK static void do_delete_offset(struct trace *t, char who, struct topic_options o)
{
    struct grp_topic_partitions topic = {str_of(o.topic != NULL ? o.topic : "t"), &o.partition, 1};
    struct grp_event event = {.kind = GRP_EV_OFFSET_DELETE, .token = token_of(who)};
    event.offset_delete =
        (struct grp_offset_delete){str_of(o.group != NULL ? o.group : "g"), &topic, 1};
    step(t, &event);
}
#define delete_offset(t, who, ...) do_delete_offset((t), (who), (struct topic_options){__VA_ARGS__})

/* DESCRIBE and DELETE. */
UNUSED_OK static void group_event(struct trace *t, char who, enum grp_event_kind kind,
                                  const char *group)
{
    step(t, &(struct grp_event){.kind = kind, .token = token_of(who), .group_id = str_of(group)});
}

UNUSED_OK static void list(struct trace *t, char who, const char *state, const char *type)
{
    struct str states = str_of(state);
    struct str types = str_of(type);
    struct grp_event event = {.kind = GRP_EV_LIST, .token = token_of(who)};
    event.list = (struct grp_list){&states, state != NULL, &types, type != NULL};
    step(t, &event);
}

/* ---- loading ---- */

UNUSED_OK static void record(struct trace *t, struct bytes key, struct bytes value,
                             int64_t base_offset, int64_t producer_id)
{
    struct grp_event event = {.kind = GRP_EV_RECORD};
    event.record = (struct grp_record_event){
        .key = key, .value = value, .base_offset = base_offset, .producer_id = producer_id};
    step(t, &event);
}

/* What `from` has appended, into a coordinator that is loading. */
UNUSED_OK static void replay(struct trace *t, const struct trace *from)
{
    for (size_t i = 0; i < from->log_count; i++) {
        const struct logged *r = &from->log[i];
        record(t, r->key, r->value, r->base_offset, r->producer_id);
    }
}

/* ---- situations ---- */

/* Everyone named has joined at 0 ms, in order, and the delay is over: CompletingRebalance. */
UNUSED_OK static void to_completing(struct trace *t, const char *who)
{
    bool quiet = t->quiet;
    t->quiet = true;
    for (const char *at = who; *at != 0; at++) {
        enter(t, *at);
    }
    while (t->generation[(int)who[0]] < 1) {
        advance_to(t, grp_wake_at_ms(t->coord));
    }
    t->quiet = quiet;
}

/* And has synced: Stable, with assignment "a" for A and so on. The first is the leader. */
UNUSED_OK static void to_stable(struct trace *t, const char *who)
{
    bool quiet = t->quiet;
    to_completing(t, who);
    t->quiet = true;
    for (const char *at = who; *at != 0; at++) {
        sync_group(t, *at, .assign = at == who ? who : NULL);
    }
    ack(t);
    t->quiet = quiet;
}
