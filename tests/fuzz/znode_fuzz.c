/* znode_fuzz.c: every znode decoder on any bytes; what decodes must survive encoding and decoding
 * again. */
#include "base/must.h"
#include "znode/znode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes written(const struct buf *buf)
{
    return (struct bytes){buf->data, buf->size};
}

static void try_broker(struct arena *arena, struct bytes data, struct buf *out)
{
    struct znode_broker broker, again;
    if (znode_broker_decode(arena, data, &broker, NULL) == ERR_OK) {
        znode_broker_encode(&broker, out);
        /* Two listeners of one name, or a host with odd characters, need not come back; crashing is
         * all that is forbidden. */
        (void)!znode_broker_decode(arena, written(out), &again, NULL);
    }
}

static void try_topic(struct arena *arena, struct bytes data, struct buf *out)
{
    struct znode_topic topic, again;
    if (znode_topic_decode(arena, data, &topic, NULL) == ERR_OK) {
        znode_topic_encode(&topic, out);
        must(znode_topic_decode(arena, written(out), &again, NULL) == ERR_OK);
        must(again.partitions_count == topic.partitions_count);
        must(uuid_eq(again.id, topic.id));
    }
}

static void try_state(struct arena *arena, struct bytes data, struct buf *out)
{
    struct znode_state state, again;
    if (znode_state_decode(arena, data, &state, NULL) == ERR_OK) {
        znode_state_encode(&state, out);
        must(znode_state_decode(arena, written(out), &again, NULL) == ERR_OK);
        must(again.leader == state.leader && again.leader_epoch == state.leader_epoch);
        must(again.isr.count == state.isr.count && again.recovering == state.recovering);
    }
}

static void try_config(struct arena *arena, struct bytes data, struct buf *out)
{
    struct znode_config config, again;
    if (znode_config_decode(arena, data, &config, NULL) == ERR_OK) {
        znode_config_encode(&config, out);
        must(znode_config_decode(arena, written(out), &again, NULL) == ERR_OK);
        must(again.pairs_count == config.pairs_count);
    }
}

static void try_tps(struct arena *arena, struct bytes data, struct buf *out)
{
    struct znode_tps tps, again;
    if (znode_reassign_decode(arena, data, &tps, NULL) == ERR_OK) {
        znode_reassign_encode(&tps, out);
        must(znode_reassign_decode(arena, written(out), &again, NULL) == ERR_OK);
        must(again.count == tps.count);
    }
    (void)!znode_preferred_decode(arena, data, &tps, NULL);
}

static void try_small(struct arena *arena, struct bytes data)
{
    struct znode_controller controller;
    struct znode_producer_block block;
    struct str text;
    int32_t number;
    (void)!znode_controller_decode(data, &controller, NULL);
    (void)!znode_controller_epoch_decode(data, &number, NULL);
    (void)!znode_producer_block_decode(data, &block, NULL);
    (void)!znode_cluster_id_decode(arena, data, &text, NULL);
    (void)!znode_config_change_decode(arena, data, &text, NULL);
    (void)!znode_log_dir_event_decode(data, &number, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    typedef void try_fn(struct arena * arena, struct bytes data, struct buf * out);
    static try_fn *const all[] = {try_broker, try_topic, try_state, try_config, try_tps};
    struct arena arena = {0};
    struct bytes input = {data, size};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct buf out = {0};
        all[i](&arena, input, &out);
        buf_fini(&out);
    }
    try_small(&arena, input);
    arena_fini(&arena);
    return 0;
}
