/* group_records_fuzz.c: records of __consumer_offsets, as a log that somebody else wrote might hold
 * them.
 *
 * The input is a series of records: a byte of flags (1: null value, 2: transactional, 4: a marker
 * follows, 8: the marker commits), two lengths (int16), key, value. They are loaded; then the
 * coordinator must hold its invariants, print itself, let offsets expire, tell its groups' timers
 * the time, and give back every byte of memory when it is unloaded. */
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "group/grp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct grp_coord *coord, struct grp_out *out, struct grp_event *event)
{
    grp_step(coord, event, out);
    grp_check(coord);
    grp_out_reset(out);
}

static struct bytes take(const uint8_t **at, size_t *left, size_t wanted)
{
    size_t size = wanted < *left ? wanted : *left;
    struct bytes bytes = {*at, size};
    *at += size;
    *left -= size;
    return bytes;
}

static void load(struct grp_coord *coord, struct grp_out *out, const uint8_t *at, size_t left)
{
    for (int64_t offset = 0; left >= 5; offset++) {
        struct bytes head = take(&at, &left, 5);
        uint8_t flags = head.data[0];
        struct grp_event event = {.kind = GRP_EV_RECORD, .now_ms = 1, .wall_ms = 1};
        event.record.key = take(&at, &left, be16_get(head.data + 1));
        event.record.value = take(&at, &left, be16_get(head.data + 3));
        if ((flags & 1) != 0) {
            event.record.value.data = NULL;
        }
        event.record.base_offset = offset;
        event.record.producer_id = (flags & 2) != 0 ? flags >> 4 : -1;
        step(coord, out, &event);
        if ((flags & 4) != 0) {
            event = (struct grp_event){.kind = GRP_EV_TXN_MARKER, .now_ms = 1, .wall_ms = 1};
            event.txn_marker = (struct grp_txn_marker){flags >> 4, (flags & 8) != 0};
            step(coord, out, &event);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grp_config config;
    grp_config_default(&config);
    struct grp_coord *coord = grp_new(&config, 1);
    struct grp_out out;
    struct buf text = {0};
    grp_out_init(&out);
    load(coord, &out, data, size);
    step(coord, &out, &(struct grp_event){.kind = GRP_EV_LOADED, .now_ms = 1, .wall_ms = 1});
    grp_print(coord, STR_NULL, true, &text);
    step(coord, &out, &(struct grp_event){.kind = GRP_EV_EXPIRE, .now_ms = 1, .wall_ms = 1});
    int64_t now_ms = 1;
    for (int i = 0; i < 50 && grp_wake_at_ms(coord) >= 0; i++) {
        now_ms = grp_wake_at_ms(coord) > now_ms ? grp_wake_at_ms(coord) : now_ms;
        step(coord, &out,
             &(struct grp_event){.kind = GRP_EV_TICK, .now_ms = now_ms, .wall_ms = INT64_MAX});
    }
    step(coord, &out, &(struct grp_event){.kind = GRP_EV_UNLOAD, .now_ms = now_ms});
    must(grp_memory_bytes(coord) == 0);
    buf_fini(&text);
    grp_out_fini(&out);
    grp_free(coord);
    return 0;
}
