/* A connection as a stranger meets it: bad frames, the memory budget, requests in order. */
#include "client_fixture.h"

#include "api/drain.h"
#include "fs/fs_sim.h"

Test(client, replies_come_in_the_order_of_requests, .init = world_init, .fini = world_fini)
{
    struct fake_stream *fake = connection();
    for (int i = 1; i <= 20; i++) {
        put_api_versions(fake, i);
    }
    fake->recv_max = 7;
    settle();
    expect_replies(fake, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ");
}

/* Closed, and one line that says what it was, however many come. */
static void speaks_nonsense(const char *bytes, size_t size, const char *said)
{
    for (int i = 0; i < 3; i++) {
        struct fake_stream *fake = connection();
        buf_put(&fake->in, bytes, size);
        settle();
        cr_assert(fake->closed);
        cr_assert_eq(fake->out.size, 0);
    }
    cr_assert_eq(logged(said), 1, "%s", said);
    cr_assert_eq(logged("10.0.0.5:1"), 1);
    cr_assert_eq(logged("\n"), 1);
}

Test(client, http_on_a_plaintext_port, .init = world_init, .fini = world_fini)
{
    static const char text[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    speaks_nonsense(text, sizeof(text) - 1, "speaks HTTP to listener PLAINTEXT");
}

Test(client, tls_on_a_plaintext_port, .init = world_init, .fini = world_fini)
{
    speaks_nonsense("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9, "speaks TLS to listener PLAINTEXT");
}

/* Each kind has its own line: what a scanner does must not hide what a client does. */
Test(client, kinds_of_nonsense_do_not_hide_each_other, .init = world_init, .fini = world_fini)
{
    static const char *const kinds[] = {"GET / HT", "\x16\x03\x01\x02", "\xff\xff\xff\xff"};
    for (int i = 0; i < 3; i++) {
        buf_put(&connection()->in, kinds[i], 4);
        settle();
    }
    cr_assert_eq(logged("speaks HTTP"), 1);
    cr_assert_eq(logged("speaks TLS"), 1);
    cr_assert_eq(logged("announced a request of -1 bytes"), 1);
}

Test(client, a_negative_size, .init = world_init, .fini = world_fini)
{
    speaks_nonsense("\xff\xff\xff\xfe", 4, "announced a request of -2 bytes");
}

Test(client, a_size_beyond_the_maximum, .init = world_init, .fini = world_fini)
{
    speaks_nonsense("\x00\x80\x00\x01", 4, "announced a request of 8388609 bytes");
}

Test(client, a_malformed_body, .init = world_init, .fini = world_fini)
{
    static const char frame[] = "\0\0\0\x0e"
                                "\0\3\0\1"
                                "\0\0\0\7"
                                "\xff\xff"
                                "\x7f\xff\xff\xff";
    speaks_nonsense(frame, sizeof(frame) - 1, "malformed request");
}

/* What was asked properly before the nonsense is answered first. */
Test(client, a_good_request_before_a_bad_one_is_answered, .init = world_init, .fini = world_fini)
{
    struct fake_stream *fake = connection();
    put_api_versions(fake, 1);
    buf_put(&fake->in,
            "\0\0\0\4"
            "\x7f\xff\0\0",
            8);
    put_api_versions(fake, 2);
    settle();
    expect_replies(fake, "1 ");
    cr_assert(fake->closed);
}

/* A produce request with acks=0 to a topic that is not there would need the rest of the broker;
 * a frame that is only announced takes its memory all the same. */
static void announce(struct fake_stream *fake, size_t size)
{
    buf_put_be32(&fake->in, (uint32_t)size);
}

/* Memory is reserved before a frame is read: at the limit connections wait, in order, and nothing
 * of theirs is read. */
Test(client, frames_wait_for_the_budget, .init = world_init, .fini = world_fini)
{
    struct fake_stream *a = connection();
    struct fake_stream *b = connection();
    struct fake_stream *c = connection();
    announce(a, 3 << 20);
    settle();
    announce(b, 2 << 20);
    announce(c, 1 << 19);
    settle();
    cr_assert(!b->closed && !c->closed);
    cr_assert(!is_read(b));
    cr_assert(!is_read(c), "behind b, though there is room");
    cr_assert(is_read(a));
    a->eof = true; /* it leaves, and gives back what it had */
    settle();
    cr_assert(a->closed);
    cr_assert(is_read(b));
    cr_assert(is_read(c));
}

/* What a request is decoded to counts as well: an array of empty names is twelve times its bytes.
 * While it lives, others wait. The broker is not ready, so the request is held. */
Test(client, decoded_requests_count, .init = world_init, .fini = world_fini)
{
    enum { NAMES = 400000 };
    struct buf frame = {0};
    struct fake_stream *a = connection();
    atomic_store(&broker.ready, false);
    codec_encode_request_header(API_METADATA, 1, 7, STR("me"), &frame);
    buf_put_be32(&frame, NAMES);
    memset(buf_extend(&frame, 2 * NAMES), 0, 2 * NAMES);
    buf_put_be32(&a->in, (uint32_t)frame.size);
    buf_put(&a->in, frame.data, frame.size);
    settle();
    cr_assert_geq(budget_used(&broker.client_memory), BUDGET_BYTES);
    struct fake_stream *b = connection();
    announce(b, 5000);
    settle();
    cr_assert(!is_read(b));
    client_close(client_at(0));
    settle();
    cr_assert(is_read(b));
    buf_fini(&frame);
}

/* Small requests are free: a client can always ask what the broker is. */
Test(client, small_frames_need_no_budget, .init = world_init, .fini = world_fini)
{
    struct fake_stream *large = connection();
    announce(large, BUDGET_BYTES);
    settle();
    struct fake_stream *small = connection();
    put_api_versions(small, 1);
    settle();
    expect_replies(small, "1 ");
}

/* Three connections that announced large frames and fell silent stopped everybody's frames until
 * they were idle for connections.max.idle.ms. */
Test(client, that_falls_silent_in_a_frame_gives_its_memory_to_who_waits, .init = world_init,
     .fini = world_fini)
{
    enum { IDLE_MS = 600000 };
    struct fake_stream *silent = connection();
    struct fake_stream *slow = connection();
    announce(silent, 2 << 20);
    announce(slow, 1 << 20);
    settle();
    clock_manual_advance(&test_clock, (CLIENT_SILENT_FRAME_MS + 1) * INT64_C(1000000));
    settle();
    client_check_idle(client_at(0), IDLE_MS);
    cr_assert(!silent->closed, "nobody needs it");
    struct fake_stream *waits = connection();
    announce(waits, 2 << 20);
    settle();
    cr_assert(!is_read(waits));
    memset(buf_extend(&slow->in, 200000), 0, 200000);
    client_check_idle(client_at(1), IDLE_MS);
    cr_assert(!slow->closed);
    cr_assert_eq(logged("W-NET-03"), 0);
    client_check_idle(client_at(0), 0);
    cr_assert(silent->closed);
    cr_assert_eq(logged("W-NET-03"), 1);
    settle();
    cr_assert(is_read(waits));
    cr_assert(!slow->closed);
}

/* Nor do others, as silent, get it one after the other. */
Test(client, that_waited_for_memory_and_has_sent_nothing_does_not_keep_it, .init = world_init,
     .fini = world_fini)
{
    struct fake_stream *silent[3];
    for (int i = 0; i < 3; i++) {
        silent[i] = connection();
        announce(silent[i], 3 << 20);
        settle();
    }
    clock_manual_advance(&test_clock, (CLIENT_SILENT_FRAME_MS + 1) * INT64_C(1000000));
    settle();
    struct fake_stream *waits = connection();
    announce(waits, 3 << 20);
    settle();
    client_check_idle(client_at(0), 0);
    settle();
    for (int i = 0; i < 3; i++) {
        cr_assert(silent[i]->closed);
    }
    cr_assert(!waits->closed);
    cr_assert(is_read(waits));
}

/* A byte every few seconds is not silence, and a row of such frames kept the memory for ever: all
 * of a frame is to come within CLIENT_SLOW_FRAME_MS while others wait, each moment its share. */
Test(client, whose_frame_trickles_gives_its_memory_to_who_waits, .init = world_init,
     .fini = world_fini)
{
    enum { FRAME_BYTES = 3 << 20, STEP_MS = CLIENT_SILENT_FRAME_MS - 1000 };
    struct fake_stream *trickles = connection();
    announce(trickles, FRAME_BYTES);
    settle();
    for (int i = 0; i < 100; i++) {
        clock_manual_advance(&test_clock, STEP_MS * INT64_C(1000000));
        cr_assert(is_read(trickles));
        client_check_idle(client_at(0), 0);
        cr_assert(!trickles->closed, "nobody needs it");
    }
    struct fake_stream *waits = connection();
    announce(waits, 2 << 20);
    settle();
    buf_put_byte(&trickles->in, 0);
    client_check_idle(client_at(0), 0);
    cr_assert(trickles->closed);
    cr_assert_eq(logged("101 of them have come in 400000 ms"), 1);
    settle();
    cr_assert(is_read(waits));
}

/* Who is as fast as that may go on, to the end of its frame. */
Test(client, whose_frame_comes_slowly_but_in_time_keeps_its_memory, .init = world_init,
     .fini = world_fini)
{
    enum { FRAME_BYTES = 3 << 20, STEPS = 11, STEP_MS = CLIENT_SLOW_FRAME_MS / (STEPS + 1) };
    struct fake_stream *slow = connection();
    announce(slow, FRAME_BYTES);
    settle();
    struct fake_stream *waits = connection();
    announce(waits, 2 << 20);
    settle();
    for (int i = 0; i < STEPS; i++) {
        clock_manual_advance(&test_clock, STEP_MS * INT64_C(1000000));
        memset(buf_extend(&slow->in, FRAME_BYTES / STEPS), 0, FRAME_BYTES / STEPS);
        settle();
        client_check_idle(client_at(0), 0);
        cr_assert(!slow->closed);
        cr_assert(!is_read(waits));
    }
}

/* Nor do others that trickle get the memory one after the other: what had come of the frame when
 * its turn came says who they are. */
Test(client, that_waited_for_memory_and_has_trickled_does_not_keep_it, .init = world_init,
     .fini = world_fini)
{
    struct fake_stream *trickle[3];
    for (int i = 0; i < 3; i++) {
        trickle[i] = connection();
        announce(trickle[i], 3 << 20);
        settle();
    }
    clock_manual_advance(&test_clock, (CLIENT_SILENT_FRAME_MS + 1) * INT64_C(1000000));
    for (int i = 0; i < 3; i++) {
        memset(buf_extend(&trickle[i]->in, 10), 0, 10);
    }
    settle();
    struct fake_stream *waits = connection();
    announce(waits, 3 << 20);
    settle();
    client_check_idle(client_at(0), 0);
    settle();
    for (int i = 0; i < 3; i++) {
        cr_assert(trickle[i]->closed);
    }
    cr_assert(!waits->closed);
    cr_assert(is_read(waits));
}

/* Requests have been answered, and their client does not read the answers: it kept the memory of
 * the questions, and with three large ones that of everybody. */
Test(client, that_reads_no_answers_keeps_no_memory_of_its_requests, .init = world_init,
     .fini = world_fini)
{
    enum { ID_BYTES = 30000 };
    static char id[ID_BYTES];
    struct api_versions_request body;
    struct buf frame = {0};
    codec_init(&api_versions_request_desc, &body);
    memset(id, 'i', sizeof(id));
    codec_encode_request_header(API_API_VERSIONS, 0, 1, (struct str){id, ID_BYTES}, &frame);
    cr_assert_eq(codec_encode(&api_versions_request_desc, 0, &body, &frame), ERR_OK);
    struct fake_stream *fake = connection();
    fake->send_room = 0;
    for (int i = 0; i < BUDGET_BYTES / ID_BYTES; i++) {
        buf_put_be32(&fake->in, (uint32_t)frame.size);
        buf_put(&fake->in, frame.data, frame.size);
    }
    buf_fini(&frame);
    settle();
    cr_assert(conn_queued(client_at(0)->conn));
    struct fake_stream *other_client = connection();
    announce(other_client, BUDGET_BYTES - BUDGET_CHUNK_BYTES);
    settle();
    cr_assert(is_read(other_client));
}

/* Who gives up while waiting makes room for those behind. */
Test(client, a_waiting_connection_may_leave, .init = world_init, .fini = world_fini)
{
    struct fake_stream *a = connection();
    announce(a, 3 << 20);
    settle();
    struct fake_stream *b = connection();
    announce(b, REQUEST_MAX);
    settle();
    struct fake_stream *c = connection();
    announce(c, 1 << 19);
    settle();
    cr_assert(!is_read(c));
    client_close(client_at(1));
    settle();
    cr_assert(b->closed);
    cr_assert(is_read(c));
}

/* A peer that does not read its replies is not read from. */
Test(client, unread_replies_stop_the_reading, .init = world_init, .fini = world_fini)
{
    struct fake_stream *fake = connection();
    fake->send_room = 0;
    for (int i = 1; i <= 2000; i++) {
        put_api_versions(fake, i);
    }
    settle();
    cr_assert(!is_read(fake));
    cr_assert_leq(conn_queued_bytes(client_at(0)->conn), 2 * CLIENT_OUTQ_MAX_BYTES);
    fake->send_room = SIZE_MAX;
    settle();
    cr_assert(is_read(fake));
    size_t count = 0;
    for (size_t at = 0; at < fake->out.size; at += 4 + be32_get(fake->out.data + at)) {
        cr_assert_eq(be32_get(fake->out.data + at + 4), ++count);
    }
    cr_assert_eq(count, 2000);
}

/* Of a large frame the socket tells only piece by piece, so a slow sender's bytes do not wake the
 * loop: its connection was closed as idle in the middle of a frame. */
Test(client, that_sends_a_large_frame_slowly_is_not_idle, .init = world_init, .fini = world_fini)
{
    enum { FRAME_BYTES = 1 << 20, IDLE_MS = 600000 };
    struct fake_stream *fake = connection();
    buf_put_be32(&fake->in, FRAME_BYTES);
    memset(buf_extend(&fake->in, 100), 0, 100);
    settle();
    for (int i = 0; i < 3; i++) {
        clock_manual_advance(&test_clock, (IDLE_MS + 1) * INT64_C(1000000));
        memset(buf_extend(&fake->in, 100), 0, 100); /* fewer than are told of */
        cr_assert_lt(100, fake->expected);
        loop_turn(netloop.loop);
        client_check_idle(client_at(0), IDLE_MS);
        cr_assert(!fake->closed);
        cr_assert_eq(fake->in_at, fake->in.size);
        client_check_idle(client_at(0), IDLE_MS);
        cr_assert(!fake->closed);
    }
    clock_manual_advance(&test_clock, (IDLE_MS + 1) * INT64_C(1000000));
    loop_turn(netloop.loop);
    client_check_idle(client_at(0), IDLE_MS);
    cr_assert(fake->closed, "this time nothing has come");
}

/* What comes at the last moment may end the connection. */
Test(client, whose_peer_has_left_is_found_when_it_is_idle, .init = world_init, .fini = world_fini)
{
    struct fake_stream *fake = connection();
    settle();
    fake->eof = true;
    clock_manual_advance(&test_clock, 1001 * INT64_C(1000000));
    loop_turn(netloop.loop);
    client_check_idle(client_at(0), 1000);
    cr_assert(fake->closed);
    cr_assert_eq(netloop.clients_count, 0);
}

static void other_init(void)
{
    world_init();
    broker.netloops_count = 2;
    broker.env.threads = true; /* or connections stay where they are */
    other.broker = &broker;
    other.loop = loop_new("network-1", 1, &test_clock.clock);
    list_init(&other.clients);
    config_reader_init(&other.config, &config);
    budget_lease_init(&other.client_memory, &broker.client_memory, other.loop);
    loop_timer_init(&other.idle_timer, NULL);
    rng_seed(&other.rng, 1);
    other.fetch_sessions = fetch_sessions_new(&broker.fetch_slots, &other.rng);
}

static void other_fini(void)
{
    while (!list_empty(&other.clients)) {
        client_close(container_of(other.clients.next, struct client, link));
    }
    settle();
    cr_assert_eq(other.clients_count, 0);
    cr_assert_eq(atomic_load(&other.placed), 0);
    loop_timer_cancel(&other.idle_timer);
    client_drop_spare(&other);
    fetch_sessions_free(other.fetch_sessions);
    budget_lease_fini(&other.client_memory);
    config_reader_fini(&other.config);
    loop_free(other.loop);
    other.loop = NULL;
    world_fini();
}

/* The next connection that is served is to move. */
static void crowd(void)
{
    atomic_store(&netloop.balance.looked_ms, loop_now_ms(netloop.loop));
    netloop.balance.to = &other;
    netloop.balance.moves_left = 1;
}

/* A crowded loop hands a connection over when all that came before is answered: in the middle of a
 * frame, with what has come of it and with the memory that was reserved for it. */
Test(client, moves_to_another_loop_in_the_middle_of_a_frame, .init = other_init, .fini = other_fini)
{
    enum { NAMES = 10000 };
    struct fake_stream *fake = connection();
    struct buf frame = {0};
    codec_encode_request_header(API_API_VERSIONS, 0, 3, STR("me"), &frame);
    memset(buf_extend(&frame, NAMES), 0, NAMES);
    crowd();
    put_api_versions(fake, 1);
    put_api_versions(fake, 2);
    buf_put_be32(&fake->in, (uint32_t)frame.size);
    buf_put(&fake->in, frame.data, 100);
    settle();
    expect_replies(fake, "1 2 ");
    cr_assert_eq(netloop.clients_count, 0);
    cr_assert_eq(other.clients_count, 1);
    cr_assert_eq(atomic_load(&netloop.placed), 0);
    cr_assert_eq(budget_used(&broker.client_memory) - netloop.client_memory.spare_bytes -
                     other.client_memory.spare_bytes,
                 (int64_t)frame.size);
    buf_put(&fake->in, frame.data + 100, frame.size - 100);
    put_api_versions(fake, 4);
    settle();
    cr_assert(!fake->closed);
    expect_replies(fake, "1 2 3 4 ");
    buf_fini(&frame);
}

/* As long as a reply has not left, nothing moves: it would leave twice, or never. */
Test(client, moves_only_when_its_replies_have_left, .init = other_init, .fini = other_fini)
{
    struct fake_stream *fake = connection();
    fake->send_room = 5;
    crowd();
    put_api_versions(fake, 1);
    put_api_versions(fake, 2);
    settle();
    cr_assert_eq(netloop.clients_count, 1);
    fake->send_room = SIZE_MAX;
    settle();
    cr_assert_eq(other.clients_count, 1);
    expect_replies(fake, "1 2 ");
    put_api_versions(fake, 3);
    settle();
    expect_replies(fake, "1 2 3 ");
}

/* Replies to fetches before version 12 end with records, so of the last one only bytes of a file
 * may be left: such a connection was moved, which ended the broker. */
Test(client, does_not_move_while_a_file_is_being_sent, .init = other_init, .fini = other_fini)
{
    struct fs_sim *sim = fs_sim_new(1);
    struct fs_file *file;
    cr_assert_eq(fs_open(fs_sim_fs(sim), "/log", FS_WRITE | FS_CREATE, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, "records", 7, 0), ERR_OK);
    struct fake_stream *fake = connection();
    fake->send_room = 0;
    crowd();
    put_api_versions(fake, 1);
    settle();
    struct conn *conn = client_at(0)->conn;
    outq_put_file(conn_outq(conn), file, 0, 7, NULL, NULL);
    fake->send_room = conn_queued_bytes(conn);
    settle();
    cr_assert_eq(conn_queued_bytes(conn), 0);
    cr_assert_eq(netloop.clients_count, 1, "the file is still to be sent");
    fake->send_room = SIZE_MAX;
    settle();
    cr_assert_eq(other.clients_count, 1);
    cr_assert_eq(memcmp(fake->out.data + fake->out.size - 7, "records", 7), 0);
    fs_close(file);
    fs_sim_free(sim);
}

/* The broker stops while a connection is on its way: the loop that it comes to has closed all of
 * its own already. */
Test(client, that_comes_to_a_loop_that_has_closed_is_closed, .init = other_init, .fini = other_fini)
{
    struct fake_stream *fake = connection();
    other.closed = true;
    crowd();
    put_api_versions(fake, 1);
    settle();
    cr_assert(fake->closed);
    cr_assert_eq(other.clients_count, 0);
}

/* It was about to go when the broker began to stop. Where it would have gone everything may be
 * closed already, and what it asks next unanswered. */
Test(client, that_was_to_move_stays_when_the_broker_stops, .init = other_init, .fini = other_fini)
{
    struct fake_stream *fake = connection();
    fake->send_room = 5;
    crowd();
    put_api_versions(fake, 1);
    settle();
    cr_assert(client_at(0)->moving);
    netloop.draining = true;
    fake->send_room = SIZE_MAX;
    put_api_versions(fake, 2);
    settle();
    netloop.draining = false;
    expect_replies(fake, "1 2 ");
    cr_assert_eq(netloop.clients_count, 1);
}

/* A follower's connection stays: its session is its loop's. */
Test(client, of_a_follower_stays, .init = other_init, .fini = other_fini)
{
    struct fake_stream *fake = connection();
    client_at(0)->stays = true;
    crowd();
    put_api_versions(fake, 1);
    settle();
    expect_replies(fake, "1 ");
    cr_assert_eq(netloop.clients_count, 1);
}

/* ---- the broker stops (api/drain.h) ---- */

static struct drain *drain;
static bool drained;

static void on_drained(void *arg)
{
    (void)arg;
    drained = true;
}

static void drain_start(void)
{
    broker.netloops = &netloop;
    broker.netloops_count = 1;
    broker.control = netloop.loop;
    loop_timer_init(&netloop.idle_timer, NULL);
    drain = drain_begin(&broker, on_drained, NULL);
    settle();
}

static void pass(int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        clock_manual_advance(&test_clock, 1000000);
        settle();
    }
}

static void drain_fini(void)
{
    drain_free(drain);
    world_fini();
}

Test(client, that_is_idle_is_closed_at_once_in_a_stop, .init = world_init, .fini = drain_fini)
{
    struct fake_stream *fake = connection();
    pass(DRAIN_QUIET_MS);
    drain_start();
    cr_assert(fake->closed);
    cr_assert(drained);
    cr_assert(netloop.closed);
}

/* A request that was on its way when the broker stopped was left without an answer: a producer
 * that had others under way could not go on. */
Test(client, that_asks_in_a_stop_is_answered_and_then_closed, .init = world_init,
     .fini = drain_fini)
{
    struct fake_stream *fake = connection();
    put_api_versions(fake, 1);
    settle();
    drain_start();
    pass(DRAIN_QUIET_MS - 1);
    put_api_versions(fake, 2);
    put_api_versions(fake, 3);
    settle();
    pass(DRAIN_QUIET_MS - 1);
    cr_assert(!fake->closed);
    expect_replies(fake, "1 2 3 ");
    pass(2 * DRAIN_LOOK_MS);
    cr_assert(fake->closed);
    cr_assert(drained);
}

Test(client, that_has_not_taken_its_reply_is_waited_for_in_a_stop, .init = world_init,
     .fini = drain_fini)
{
    struct fake_stream *fake = connection();
    fake->send_room = 5;
    put_api_versions(fake, 1);
    drain_start();
    pass(2 * DRAIN_QUIET_MS);
    cr_assert(!fake->closed);
    fake->send_room = SIZE_MAX;
    pass(DRAIN_QUIET_MS + 2 * DRAIN_LOOK_MS);
    expect_replies(fake, "1 ");
    cr_assert(fake->closed);
}

Test(client, that_goes_on_asking_does_not_keep_a_broker_from_stopping, .init = world_init,
     .fini = drain_fini)
{
    struct fake_stream *fake = connection();
    drain_start();
    for (int i = 1; !fake->closed; i++) {
        cr_assert_leq(i, DRAIN_MAX_MS + DRAIN_LOOK_MS);
        put_api_versions(fake, i);
        pass(1);
    }
    cr_assert(drained);
}

/* A leader that had been stopped for longer than its session told clients, for 50 ms, that it
 * leads, and consumers that what they had read is not there. */
Test(client, that_asks_a_broker_that_stood_still_waits, .init = world_init, .fini = world_fini)
{
    struct fake_stream *fake = connection();
    pulse_beat(&broker.pulse, 0, 3000);
    clock_manual_advance(&test_clock, 3001 * INT64_C(1000000));
    put_api_versions(fake, 1);
    settle();
    expect_replies(fake, "");
    cr_assert(pulse_was_missed(&broker.pulse, 0));
    pulse_beat(&broker.pulse, 3001, 3000);
    client_release(client_at(0));
    settle();
    expect_replies(fake, "1 ");
    pulse_end(&broker.pulse);
}

/* The broker stops before it was ready: what is held is never answered. */
Test(client, that_is_held_is_not_waited_for_in_a_stop, .init = world_init, .fini = drain_fini)
{
    struct fake_stream *fake = connection();
    atomic_store(&broker.ready, false);
    put_api_versions(fake, 1);
    settle();
    pass(DRAIN_QUIET_MS);
    drain_start();
    cr_assert(fake->closed);
    expect_replies(fake, "");
}
