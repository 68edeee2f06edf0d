#include <criterion/criterion.h>

#include "control/control.h"

typedef Barnabas__Control__Request request_type;

static struct bytes packed(struct buf *buf)
{
    return (struct bytes){buf->data, buf->size};
}

/* What goes in comes out, presence and defaults included. */
Test(control, a_request_round_trips)
{
    struct arena arena = {0};
    struct buf buf = {0};
    int32_t isr[] = {1, 2};
    Barnabas__Control__LeaderAndIsrPartition partition =
        BARNABAS__CONTROL__LEADER_AND_ISR_PARTITION__INIT;
    control_set(&partition, partition, 7);
    control_set(&partition, leader_epoch, 3);
    partition.isr = isr;
    partition.n_isr = 2;
    Barnabas__Control__LeaderAndIsrPartition *partitions[] = {&partition};
    Barnabas__Control__LeaderAndIsrTopic topic = BARNABAS__CONTROL__LEADER_AND_ISR_TOPIC__INIT;
    struct uuid id = {{1, 2, 3}};
    topic.name = "orders";
    control_set(&topic, topic_id, control_topic_id(&arena, id));
    topic.partitions = partitions;
    topic.n_partitions = 1;
    Barnabas__Control__LeaderAndIsrTopic *topics[] = {&topic};
    Barnabas__Control__LeaderAndIsr body = BARNABAS__CONTROL__LEADER_AND_ISR__INIT;
    body.topics = topics;
    body.n_topics = 1;
    request_type request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__LEADER_AND_ISR);
    control_set(&request, broker_epoch, INT64_C(1) << 40);
    request.leader_and_isr = &body;
    control_request_pack(&request, &buf);

    const request_type *got;
    cr_assert_eq(control_request_unpack(&arena, packed(&buf), &got, NULL), ERR_OK);
    cr_assert_eq(got->broker_epoch, INT64_C(1) << 40);
    cr_assert_eq(got->controller_id, -1);
    const Barnabas__Control__LeaderAndIsrTopic *t = got->leader_and_isr->topics[0];
    cr_assert_str_eq(t->name, "orders");
    cr_assert(uuid_eq(control_topic_id_get(t->topic_id), id));
    cr_assert_eq(t->partitions[0]->partition, 7);
    cr_assert_eq(t->partitions[0]->leader, -1);
    cr_assert_eq(t->partitions[0]->n_isr, 2);
    cr_assert_eq(t->partitions[0]->isr[1], 2);
    buf_fini(&buf);
    arena_fini(&arena);
}

/* The encoding of a small request is fixed for ever: a newer build must read an older one's bytes.
 */
Test(control, bytes_of_a_controlled_shutdown_are_golden)
{
    static const uint8_t golden[] = {0x08, 5, 0x20, 0x39, 0x28, 0x02, 0x72, 0x00};
    struct arena arena = {0};
    struct buf buf = {0};
    Barnabas__Control__ControlledShutdown body = BARNABAS__CONTROL__CONTROLLED_SHUTDOWN__INIT;
    request_type request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN);
    control_set(&request, broker_epoch, 57);
    control_set(&request, broker_id, 2);
    request.controlled_shutdown = &body;
    control_request_pack(&request, &buf);
    cr_assert_eq(buf.size, sizeof(golden));
    cr_assert_eq(memcmp(buf.data, golden, sizeof(golden)), 0);
    buf_fini(&buf);
    arena_fini(&arena);
}

/* Kinds of a newer version are told apart from garbage, and a missing body is seen. */
Test(control, refuses_unknown_kinds_and_missing_bodies)
{
    struct arena arena = {0};
    const request_type *got;
    const Barnabas__Control__Response *response;
    struct errmsg msg;
    uint8_t unknown[] = {0x08, 99};
    uint8_t missing[] = {0x08, 1};
    uint8_t garbage[] = {0xff, 0xff, 0xff};
    cr_assert_eq(control_request_unpack(&arena, (struct bytes){unknown, 2}, &got, &msg),
                 ERR_UNSUPPORTED_VERSION);
    cr_assert_eq(control_request_unpack(&arena, (struct bytes){missing, 2}, &got, &msg),
                 ERR_MALFORMED);
    cr_assert(strstr(msg.text, "LEADER_AND_ISR") != NULL);
    cr_assert_eq(control_request_unpack(&arena, (struct bytes){garbage, 3}, &got, &msg),
                 ERR_MALFORMED);
    cr_assert_eq(control_response_unpack(&arena, (struct bytes){missing, 2}, &response, &msg),
                 ERR_MALFORMED);
    uint8_t failed[] = {0x08, 1, 0x10, 77};
    cr_assert_eq(control_response_unpack(&arena, (struct bytes){failed, 4}, &response, &msg),
                 ERR_OK);
    cr_assert_eq(response->error, 77);
    arena_fini(&arena);
}

/* A topic id is 16 bytes or none; anything else would be read past its end. */
Test(control, refuses_a_topic_id_of_another_length)
{
    struct arena arena = {0};
    const request_type *got;
    /* kind 1; leader_and_isr { topics { topic_id: 3 bytes } } */
    uint8_t bytes[] = {0x08, 1, 0x52, 7, 0x0a, 5, 0x12, 3, 1, 2, 3};
    cr_assert_eq(control_request_unpack(&arena, (struct bytes){bytes, sizeof(bytes)}, &got, NULL),
                 ERR_MALFORMED);
    arena_fini(&arena);
}

/* A crafted message of empty sub-messages cannot make us allocate a hundred times its size. */
Test(control, bounds_the_memory_of_crafted_messages)
{
    enum { COUNT = 10000 };
    struct arena arena = {0};
    struct buf inner = {0};
    for (int i = 0; i < COUNT; i++) {
        buf_put(&inner, (uint8_t[]){0x1a, 0}, 2); /* an empty partition */
    }
    struct buf buf = {0};
    size_t topic_size = inner.size;
    size_t body_size = topic_size + 4;
    uint8_t head[] = {0x08,
                      1,
                      0x52,
                      (uint8_t)(0x80 | (body_size & 0x7f)),
                      (uint8_t)(0x80 | (body_size >> 7 & 0x7f)),
                      (uint8_t)(body_size >> 14),
                      0x0a,
                      (uint8_t)(0x80 | (topic_size & 0x7f)),
                      (uint8_t)(0x80 | (topic_size >> 7 & 0x7f)),
                      (uint8_t)(topic_size >> 14)};
    buf_put(&buf, head, sizeof(head));
    buf_put(&buf, inner.data, inner.size);
    const request_type *got;
    cr_assert_eq(control_request_unpack(&arena, packed(&buf), &got, NULL), ERR_MALFORMED);
    cr_assert_leq(arena_size(&arena), buf.size * 64 + 65536);
    buf_fini(&inner);
    buf_fini(&buf);
    arena_fini(&arena);
}
