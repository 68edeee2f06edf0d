#include "base/mem.h"
#include "bench/floor/floor.h"
#include "codec/codec.h"

void fetch_forget(struct fetch *fetch)
{
    for (int32_t i = 0; i < fetch->wanted_count && fetch->waits; i++) {
        list_remove(&fetch->wanted[i].link);
        topic_put(fetch->wanted[i].part->topic);
    }
    list_remove(&fetch->link);
    fetch->waits = false;
}

static enum err wanted_error(const struct wanted *wanted)
{
    if (wanted->part == NULL || wanted->part->topic->deleted) {
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return wanted->offset < 0 || wanted->offset > wanted->part->offset_end ? ERR_OFFSET_OUT_OF_RANGE
                                                                           : ERR_OK;
}

/* What this one gets of `left` bytes, in whole batches: at least one where it is the answer's
 * first. */
static int64_t wanted_bytes(const struct fetch *fetch, const struct wanted *wanted, int64_t left,
                            bool first, int64_t *from)
{
    int64_t limit = fetch->from_follower ? wanted->part->offset_end : wanted->part->offset_hw;
    int64_t behind;
    if (wanted->offset >= limit || (left <= 0 && !first)) {
        return 0;
    }
    int64_t end = part_position(wanted->part, limit, &behind);
    *from = part_position(wanted->part, wanted->offset, &behind);
    int64_t size = wanted->bytes_max < left ? wanted->bytes_max : left;
    if (size >= end - *from) {
        return end - *from;
    }
    int64_t whole = part_whole(wanted->part, *from + size) - *from;
    return whole > 0 ? whole : first ? behind - *from : 0;
}

/* ---- answering ---- */

struct splices {
    struct client *client;
    struct range *ranges; /* one for each partition */
    int32_t next;
};

static void on_records(void *arg, const struct bytes *field, size_t out_offset)
{
    struct splices *splices = arg;
    struct range range = splices->ranges[splices->next++];
    (void)field;
    range.at = out_offset;
    if (range.left > 0) {
        reply_range(splices->client, range);
    }
}

/* The partitions that are asked for one after another in one topic are answered in one. */
static void fill_topic(const struct fetch *fetch, int32_t from, int32_t count, struct arena *arena,
                       int64_t *total, struct range *ranges,
                       struct fetch_response_fetchable_topic_response *out)
{
    out->topic = fetch->wanted[from].topic;
    out->partitions = codec_array(&fetch_response_partition_data_desc, arena, count);
    out->partitions_count = count;
    for (int32_t i = from; i < from + count; i++) {
        const struct wanted *wanted = &fetch->wanted[i];
        struct fetch_response_partition_data *data = &out->partitions[i - from];
        enum err err = wanted_error(wanted);
        int64_t position = 0;
        int64_t size = err == ERR_OK ? wanted_bytes(fetch, wanted, fetch->bytes_max - *total,
                                                    *total == 0, &position)
                                     : 0;
        data->partition_index = wanted->partition;
        data->error_code = err_wire(err);
        data->high_watermark = err == ERR_OK ? wanted->part->offset_hw : -1;
        data->last_stable_offset = data->high_watermark;
        data->log_start_offset = err == ERR_OK ? 0 : -1;
        data->records = (struct bytes){(const uint8_t *)"", (size_t)size};
        ranges[i] = (struct range){.part = wanted->part, .file_at = position, .left = (size_t)size};
        *total += size;
    }
}

static int32_t same_topic(const struct fetch *fetch, int32_t from)
{
    int32_t to = from + 1;
    while (to < fetch->wanted_count && str_eq(fetch->wanted[to].topic, fetch->wanted[from].topic)) {
        to++;
    }
    return to - from;
}

static void fetch_answer(struct client *client)
{
    const struct fetch *fetch = &client->fetch;
    _Alignas(16) uint8_t memory[4096];
    struct arena arena = {.at = memory, .left = sizeof(memory)};
    struct fetch_response reply;
    int64_t total = 0;
    codec_init(&fetch_response_desc, &reply);
    reply.responses =
        codec_array(&fetch_response_fetchable_topic_response_desc, &arena, fetch->wanted_count);
    struct splices splices = {client,
                              arena_array(&arena, struct range, (size_t)fetch->wanted_count), 0};
    for (int32_t i = 0; i < fetch->wanted_count;) {
        int32_t count = same_topic(fetch, i);
        fill_topic(fetch, i, count, &arena, &total, splices.ranges,
                   &reply.responses[reply.responses_count++]);
        i += count;
    }
    size_t start = reply_begin(client, API_FETCH, fetch->version, fetch->correlation_id);
    if (codec_encode_spliced(&fetch_response_desc, fetch->version, &reply, &client->out, on_records,
                             &splices) != ERR_OK) {
        floor_end("encode");
    }
    reply_end(client, start, (size_t)total);
    arena_fini(&arena);
}

bool fetch_try(struct server *server, struct client *client, bool must_answer)
{
    struct fetch *fetch = &client->fetch;
    int64_t total = 0;
    bool ready = must_answer;
    (void)server;
    for (int32_t i = 0; i < fetch->wanted_count && !ready; i++) {
        const struct wanted *wanted = &fetch->wanted[i];
        int64_t position;
        if (wanted_error(wanted) == ERR_OK) {
            total += wanted_bytes(fetch, wanted, fetch->bytes_max - total, total == 0, &position);
        } else {
            ready = true;
        }
        ready = ready || total >= fetch->bytes_min;
    }
    if (!ready) {
        return false;
    }
    fetch_answer(client);
    fetch_forget(fetch);
    return true;
}

/* ---- asking ---- */

static void add_wanted(struct server *server, struct client *client, struct str topic,
                       const struct fetch_request_fetch_partition *asked)
{
    struct fetch *fetch = &client->fetch;
    if (fetch->wanted_count == fetch->wanted_capacity) {
        fetch->wanted_capacity = fetch->wanted_capacity > 0 ? fetch->wanted_capacity * 2 : 4;
        fetch->wanted =
            mem_realloc(fetch->wanted, (size_t)fetch->wanted_capacity * sizeof(*fetch->wanted));
    }
    fetch->wanted[fetch->wanted_count++] = (struct wanted){
        .client = client,
        .part = part_find(server, topic, asked->partition),
        .topic = topic,
        .partition = asked->partition,
        .offset = asked->fetch_offset,
        .bytes_max = asked->partition_max_bytes,
    };
}

/* A follower asks for what it has not: that is how it says what it has. */
static void note_copied(struct server *server, const struct fetch *fetch, int32_t replica_id)
{
    int32_t follower = replica_id - FLOOR_LEADER_ID - 1;
    for (int32_t i = 0; i < fetch->wanted_count && follower < FLOOR_FOLLOWERS_MAX; i++) {
        struct part *part = fetch->wanted[i].part;
        if (part != NULL && fetch->wanted[i].offset <= part->offset_end) {
            part->copied[follower] = fetch->wanted[i].offset;
            part_raise_hw(server, part);
        }
    }
}

/* Behind all whose time is up earlier; mostly that is the end. */
static void park(struct server *server, struct fetch *fetch)
{
    struct list *at = &server->parked;
    while (at->prev != &server->parked &&
           container_of(at->prev, struct fetch, link)->deadline_ns > fetch->deadline_ns) {
        at = at->prev;
    }
    list_insert_before(at, &fetch->link);
    fetch->waits = true;
    for (int32_t i = 0; i < fetch->wanted_count; i++) {
        struct wanted *wanted = &fetch->wanted[i];
        wanted->topic = str_of(wanted->part->topic->name);
        wanted->part->topic->uses++;
        list_push_back(&wanted->part->waiters, &wanted->link);
    }
}

void on_fetch(struct server *server, struct client *client, const struct request *request,
              const struct fetch_request *body)
{
    struct fetch *fetch = &client->fetch;
    fetch->correlation_id = request->correlation_id;
    fetch->version = request->version;
    fetch->from_follower = body->replica_id > FLOOR_LEADER_ID;
    fetch->bytes_min = body->min_bytes;
    fetch->bytes_max = body->max_bytes;
    fetch->wanted_count = 0;
    for (int32_t i = 0; i < body->topics_count; i++) {
        for (int32_t j = 0; j < body->topics[i].partitions_count; j++) {
            add_wanted(server, client, body->topics[i].topic, &body->topics[i].partitions[j]);
        }
    }
    if (fetch->from_follower) {
        note_copied(server, fetch, body->replica_id);
    }
    if (!fetch_try(server, client, body->max_wait_ms <= 0)) {
        fetch->deadline_ns = floor_now_ns() + (uint64_t)body->max_wait_ms * 1000000u;
        park(server, fetch);
    }
}
