/* part_fixture.h: one partition, orders-0, behind real connections' code (client_fixture.h) and
 * over the simulated disk (log_fixture.h). It has no role until a test gives it one. */
#pragma once

#include "../log/log_fixture.h"
#include "client_fixture.h"
#include "partition/parts.h"

enum { ME = 1, LEAD_EPOCH = 5 };

static struct log_world w;
static struct part *part;
static struct part_state lead_state;

static void on_configure(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    struct topic_config topic_config = log_config();
    topic_config.message_timestamp_before_max_ms = INT64_MAX;
    topic_config.message_timestamp_after_max_ms = INT64_MAX;
    part_configure(part, &topic_config);
}

static void begin_part(void)
{
    struct actor_msg msg = {.fn = on_configure};
    world_init();
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    struct part_options options = {.topic = STR("orders"),
                                   .loop_count = 1,
                                   .clock = &test_clock.clock,
                                   .home = netloop.loop,
                                   .my_id = ME,
                                   .lag_ms = 30000};
    part = part_new(&options, w.log, -1);
    struct parts_change change = {.topic = STR("orders"), .part = part};
    parts_init(&broker.parts);
    parts_edit(&broker.parts, &change, 1);
    parts_reader_init(&netloop.parts, &broker.parts);
    meta_cell_init(&broker.meta);
    meta_reader_init(&netloop.meta, &broker.meta);
    part_post(part, &msg);
    settle();
}

static void on_lead(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    cr_assert_eq(part_apply(part, &lead_state), ERR_OK);
}

/* From now on this broker leads it, in LEAD_EPOCH; these are its replicas, all in sync. */
static inline void lead_part(const int32_t *replicas, int32_t count)
{
    struct actor_msg msg = {.fn = on_lead};
    lead_state = (struct part_state){.leader = ME,
                                     .leader_epoch = LEAD_EPOCH,
                                     .replicas = replicas,
                                     .isr = replicas,
                                     .replicas_count = count,
                                     .isr_count = count};
    part_post(part, &msg);
    settle();
}

static void end_part(void)
{
    while (client_at(0) != NULL) {
        client_close(client_at(0));
    }
    parts_reader_fini(&netloop.parts);
    parts_fini(&broker.parts);
    settle();
    world_end(&w);
    meta_reader_fini(&netloop.meta);
    meta_cell_fini(&broker.meta);
    world_fini();
}
