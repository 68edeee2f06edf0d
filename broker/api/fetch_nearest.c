#include "api/fetch_nearest.h"

#include "api/broker.h"
#include "api/client.h"
#include "base/must.h"

/* One partition that is asked. */
struct nearest_ask {
    struct part_nearest ask;
    struct fetch_nearest *nearest;
    struct fetch_read *read;
};

bool fetch_nearest_enabled(struct req *req)
{
    const struct config *config = config_reader_now(&req->netloop->config);
    return config_rack_aware(config);
}

static bool in_rack(const struct req *req, const struct meta *meta, int32_t id, struct str rack)
{
    const struct meta_broker *broker = meta_find_broker(meta, id);
    return broker != NULL && broker->rack != NULL && str_is(rack, broker->rack) &&
           meta_broker_endpoint(broker, req->client->listener->name) != NULL;
}

/* The in-sync followers in that rack, in *ids; none when we are in it. */
static int32_t find_candidates(struct req *req, struct str rack, const struct part *part,
                               int32_t **ids)
{
    const struct meta *meta = meta_reader_now(&req->netloop->meta);
    const struct meta_topic *topic = meta_find(meta, part->topic);
    const struct meta_partition *partition =
        topic != NULL ? meta_topic_partition(topic, part->index) : NULL;
    int32_t count = 0;
    if (partition == NULL || in_rack(req, meta, req->broker->id, rack)) {
        return 0;
    }
    for (int32_t i = 0; i < partition->isr_count; i++) {
        int32_t id = partition->isr[i];
        if (id == req->broker->id || !in_rack(req, meta, id, rack)) {
            continue;
        }
        if (count == 0) {
            *ids = req_array(req, int32_t, partition->isr_count);
        }
        (*ids)[count++] = id;
    }
    return count;
}

static void settle(struct fetch_nearest *nearest)
{
    must(nearest->left > 0);
    if (--nearest->left == 0) {
        nearest->done(nearest);
    }
}

static void on_asked(struct part_call *call)
{
    struct nearest_ask *ask = container_of(call, struct nearest_ask, ask.call);
    ask->read->preferred = ask->ask.id;
    if (ask->ask.id >= 0) {
        fetch_read_release(ask->read);
        ask->nearest->found = true;
    }
    settle(ask->nearest);
}

static void ask_one(struct fetch_nearest *nearest, struct req *req, struct fetch_read *read)
{
    const struct fetch_request *request = req->body;
    int32_t *ids = NULL;
    if (read->err != ERR_OK || read->diverging || part_now(read->part).role != PART_LEADER) {
        return;
    }
    int32_t count = find_candidates(req, request->rack_id, read->part, &ids);
    if (count == 0) {
        return;
    }
    struct nearest_ask *ask = req_new(req, struct nearest_ask);
    ask->nearest = nearest;
    ask->read = read;
    ask->ask.call.loop = req->netloop->loop;
    ask->ask.call.done = on_asked;
    ask->ask.offset = read->item->want.fetch_offset;
    ask->ask.ids = ids;
    ask->ask.ids_count = count;
    nearest->left++;
    part_nearest(read->part, &ask->ask);
}

bool fetch_nearest_start(struct fetch_nearest *nearest, struct req *req, struct fetch_read *reads,
                         int32_t count, void (*done)(struct fetch_nearest *nearest))
{
    const struct fetch_request *request = req->body;
    *nearest = (struct fetch_nearest){.done = done, .left = 1};
    if (request->rack_id.size == 0 || !fetch_nearest_enabled(req)) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        ask_one(nearest, req, &reads[i]);
    }
    return --nearest->left > 0; /* answers come in later turns of this loop */
}
