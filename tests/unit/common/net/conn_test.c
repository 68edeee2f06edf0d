/* Frames in, whatever pieces they come in; the owner's pauses and refusals; the end, told once. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "net/conn.h"
#include "support/fake_stream.h"

enum { FRAME_MAX = 4 << 20 };

static struct clock_manual test_clock;
static struct loop *loop;
static struct fake_stream fake;
static struct conn *conn;
static struct buf frames; /* what arrived: "3:abc " or, of long ones, "70000:a..z " */

/* What the owner does. */
enum action { DO_NOTHING, DO_PAUSE, DO_FREE };
static enum action on_frame_does, on_drained_does, on_closed_does, on_connected_does;
static int waits; /* CONN_WAIT so many times */
static bool free_when_asked;
static int asked;
static int32_t last_size;
static int drained;
static int connected;
static int closed;
static enum err closed_why;

static void act(enum action what)
{
    if (what == DO_PAUSE) {
        conn_pause(conn);
    } else if (what == DO_FREE) {
        conn_free(conn);
        conn = NULL;
    }
}

static enum conn_verdict on_frame_size(struct conn *c, int32_t size, const uint8_t *first4)
{
    cr_assert_eq(c, conn);
    cr_assert_eq((int32_t)be32_get(first4), size);
    asked++;
    last_size = size;
    if (free_when_asked) {
        act(DO_FREE);
        return CONN_REFUSE;
    }
    if (size < 0 || size > FRAME_MAX) {
        return CONN_REFUSE;
    }
    if (waits > 0) {
        waits--;
        return CONN_WAIT;
    }
    return CONN_ACCEPT;
}

static void on_frame(struct conn *c, uint8_t *frame, size_t size)
{
    cr_assert_eq(c, conn);
    cr_assert_eq(closed, 0);
    if (size <= 8) {
        buf_printf(&frames, "%zu:%.*s ", size, (int)size, (const char *)frame);
    } else {
        buf_printf(&frames, "%zu:%c..%c ", size, frame[0], frame[size - 1]);
    }
    mem_free(frame);
    act(on_frame_does);
}

static void on_drained(struct conn *c)
{
    cr_assert_eq(c, conn);
    cr_assert_eq(closed, 0);
    drained++;
    act(on_drained_does);
}

static void on_connected(struct conn *c)
{
    cr_assert_eq(c, conn);
    connected++;
    act(on_connected_does);
}

static void on_closed(struct conn *c, enum err why)
{
    cr_assert_eq(c, conn);
    closed++;
    closed_why = why;
    act(on_closed_does);
}

static const struct conn_events server_events = {
    .on_frame_size = on_frame_size,
    .on_frame = on_frame,
    .on_drained = on_drained,
    .on_closed = on_closed,
};

static const struct conn_events client_events = {
    .on_frame_size = on_frame_size,
    .on_frame = on_frame,
    .on_drained = on_drained,
    .on_connected = on_connected,
    .on_closed = on_closed,
};

static void world(const struct conn_events *events)
{
    clock_manual_init(&test_clock, 0);
    loop = loop_new("hand", 0, &test_clock.clock);
    fake_stream_init(&fake, loop);
    conn = conn_new(&fake.stream, events, &fake);
}

static void server(void)
{
    world(&server_events);
}

static void client(void)
{
    world(&client_events);
}

static void world_fini(void)
{
    if (conn != NULL) {
        conn_free(conn);
    }
    cr_assert(fake.closed);
    cr_assert(!loop_turn(loop));
    fake_stream_fini(&fake);
    buf_fini(&frames);
    loop_free(loop);
}

/* Until the socket and the loop have nothing left to do. */
static void settle(void)
{
    int turns = 0;
    while (loop_turn(loop) || fake_stream_step(&fake)) {
        cr_assert_lt(++turns, 100000, "it never sleeps");
    }
}

static void put_frame(const char *text)
{
    buf_put_be32(&fake.in, (uint32_t)strlen(text));
    buf_put_text(&fake.in, text);
}

/* A frame that begins with 'a' and ends with 'z'. */
static void put_long(size_t size)
{
    buf_put_be32(&fake.in, (uint32_t)size);
    memset(buf_extend(&fake.in, size), '-', size);
    fake.in.data[fake.in.size - size] = 'a';
    fake.in.data[fake.in.size - 1] = 'z';
}

static void expect_frames(const char *wanted)
{
    buf_put_byte(&frames, 0);
    cr_assert_str_eq((const char *)frames.data, wanted);
    buf_clear(&frames);
}

Test(conn, frames_that_arrive_together, .init = server, .fini = world_fini)
{
    put_frame("abc");
    put_frame("");
    put_frame("defgh");
    settle();
    expect_frames("3:abc 0: 5:defgh ");
    cr_assert_eq(asked, 3);
    cr_assert_eq(conn_arg(conn), &fake);
    struct net_name name;
    cr_assert_str_eq(conn_peer(conn, &name), "10.0.0.5:1");
    cr_assert_str_eq(conn_peer_host(conn, &name), "10.0.0.5");
}

/* Cut in two at every byte, and into pieces of every size. */
Test(conn, frames_in_pieces, .init = server, .fini = world_fini)
{
    put_frame("abc");
    put_frame("");
    put_frame("defgh");
    size_t total = fake.in.size;
    for (size_t piece = 1; piece <= total; piece++) {
        fake.in_at = 0;
        fake.recv_max = piece;
        settle();
        expect_frames("3:abc 0: 5:defgh ");
    }
    for (size_t cut = 0; cut <= total; cut++) {
        fake.in_at = 0;
        fake.recv_max = SIZE_MAX;
        fake.in.size = cut;
        settle();
        fake.in.size = total;
        settle();
        expect_frames("3:abc 0: 5:defgh ");
    }
}

/* Long frames, received straight into their memory: what follows stays for its own frame. */
Test(conn, long_frames_are_received_exactly, .init = server, .fini = world_fini)
{
    put_frame("abc");
    put_long(3000000);
    put_frame("def");
    put_long(70000);
    put_long(FRAME_MAX);
    put_frame("g");
    settle();
    expect_frames("3:abc 3000000:a..z 3:def 70000:a..z 4194304:a..z 1:g ");
    fake.in_at = 0;
    fake.recv_max = 65537;
    settle();
    expect_frames("3:abc 3000000:a..z 3:def 70000:a..z 4194304:a..z 1:g ");
    /* Once a frame is under way, a receive asks for the rest of it and for the next one's head. */
    fake.in.size = fake.in_at = 0;
    fake.trace.size = 0;
    buf_put_be32(&fake.in, 500000);
    settle();
    memset(buf_extend(&fake.in, 500000), 'a', 500000);
    put_frame("h");
    fake.recv_max = SIZE_MAX;
    settle();
    cr_assert_str_eq(fake_stream_trace(&fake), "recv 4; recv 500005; ");
    expect_frames("500000:a..a 1:h ");
}

/* The next frame would take other memory, and each a part of the processor's cache: it is not asked
 * for before the owner has had time to deal with this one. */
Test(conn, a_frame_that_fills_a_turn_ends_it, .init = server, .fini = world_fini)
{
    put_long(600000);
    put_long(600000);
    while (frames.size == 0) {
        cr_assert(fake_stream_step(&fake));
    }
    cr_assert_eq(asked, 1);
    cr_assert_str_eq(fake_stream_trace(&fake), "recv 262144; recv 337860; ");
    settle();
    cr_assert_eq(asked, 2);
    expect_frames("600000:a..z 600000:a..z ");
}

/* Where one frame was large the next is too, most likely: only its head goes through the shared
 * buffer and is copied, and it comes with the rest of the one before. After a small one the buffer
 * is filled again. */
Test(conn, of_large_frames_only_the_head_is_copied, .init = server, .fini = world_fini)
{
    put_long(65536);
    settle();
    expect_frames("65536:a..z ");
    fake.trace.size = 0;
    put_long(65536);
    put_long(65536);
    put_frame("abc");
    put_frame("def");
    settle();
    cr_assert_str_eq(fake_stream_trace(&fake), "recv 4096; recv 65540; recv 61458; ");
    expect_frames("65536:a..z 65536:a..z 3:abc 3:def ");
}

/* What is missing of a large frame is worth waiting for, up to a limit; then anything is. */
Test(conn, expects_the_rest_of_a_large_frame, .init = server, .fini = world_fini)
{
    static const struct {
        size_t there, expected;
    } steps[] = {{2, 1}, {4, 256 * 1024}, {600004, 256 * 1024}, {900004, 100000}, {990004, 1}};
    put_long(1000000);
    size_t total = fake.in.size;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        fake.in.size = steps[i].there;
        settle();
        cr_assert_eq(fake.expected, steps[i].expected, "after %zu bytes: %zu", steps[i].there,
                     fake.expected);
    }
    fake.in.size = total;
    settle();
    expect_frames("1000000:a..z ");
    put_long(500000);
    fake.in.size = fake.in.size - 50000;
    settle();
    cr_assert_eq(fake.expected, 50000);
    fake.in.size += 50000;
    settle();
    cr_assert_eq(fake.expected, 1);
    expect_frames("500000:a..z ");
}

/* Absurd sizes reach the owner as they are; the refusal ends the connection, once. */
Test(conn, a_refused_size_closes, .init = server, .fini = world_fini)
{
    put_frame("abc");
    buf_put_be32(&fake.in, (uint32_t)-5);
    put_frame("never");
    settle();
    expect_frames("3:abc ");
    cr_assert_eq(last_size, -5);
    cr_assert_eq(closed, 1);
    cr_assert_eq(closed_why, ERR_INVALID);
    /* The owner has not freed it yet: it stays silent. */
    cr_assert_eq(fake.wanted, 0);
    fake.stream.on_ready(&fake.stream, NET_READABLE | NET_WRITABLE);
    conn_resume(conn);
    conn_flush(conn);
    settle();
    cr_assert_eq(closed, 1);
    expect_frames("");
}

/* Sizes of other protocols' first bytes. */
Test(conn, http_and_tls_are_sizes_too, .init = server, .fini = world_fini)
{
    buf_put_text(&fake.in, "GET / HTTP/1.1\r\n");
    settle();
    cr_assert_eq(last_size, 0x47455420);
    cr_assert_eq(closed_why, ERR_INVALID);
}

/* No memory for the frame: the connection is not read until the owner resumes it, and then asks
 * again. What follows is neither lost nor reordered. */
Test(conn, waits_for_memory, .init = server, .fini = world_fini)
{
    put_frame("abc");
    put_frame("def");
    waits = 2;
    settle();
    expect_frames("");
    cr_assert(conn_paused(conn));
    put_frame("ghi");
    settle();
    cr_assert_eq(fake.wanted & NET_READABLE, 0); /* more has come that it does not want */
    cr_assert_eq(asked, 1);
    conn_resume(conn);
    settle();
    cr_assert_eq(asked, 2);
    cr_assert(conn_paused(conn));
    conn_resume(conn);
    cr_assert_eq(asked, 2, "asked inside conn_resume");
    settle();
    expect_frames("3:abc 3:def 3:ghi ");
}

/* A pause that ends before more arrives costs the stream nothing: no change of what it watches. */
Test(conn, a_short_pause_is_not_told, .init = server, .fini = world_fini)
{
    put_frame("abc");
    on_frame_does = DO_PAUSE;
    settle();
    cr_assert_eq(fake.wanted, NET_READABLE);
    conn_resume(conn);
    cr_assert(!loop_busy(loop));
    put_frame("def");
    settle();
    expect_frames("3:abc 3:def ");
}

/* A pause in the middle of what one receive brought. */
Test(conn, pauses_between_frames, .init = server, .fini = world_fini)
{
    put_frame("abc");
    put_frame("def");
    put_frame("ghi");
    on_frame_does = DO_PAUSE;
    settle();
    expect_frames("3:abc ");
    conn_resume(conn);
    settle();
    expect_frames("3:def ");
    put_frame("jkl");
    on_frame_does = DO_NOTHING;
    settle();
    expect_frames("");
    conn_resume(conn);
    settle();
    expect_frames("3:ghi 3:jkl ");
}

Test(conn, pauses_within_a_frame, .init = server, .fini = world_fini)
{
    put_long(100000);
    size_t total = fake.in.size;
    fake.in.size = 50000;
    settle();
    conn_pause(conn);
    fake.in.size = total;
    settle();
    expect_frames("");
    conn_resume(conn);
    settle();
    expect_frames("100000:a..z ");
}

Test(conn, may_be_freed_in_on_frame, .init = server, .fini = world_fini)
{
    on_frame_does = DO_FREE;
    put_frame("abc");
    put_frame("def");
    settle();
    expect_frames("3:abc ");
    cr_assert_eq(closed, 0);
}

Test(conn, may_be_freed_in_on_frame_of_a_long_frame, .init = server, .fini = world_fini)
{
    on_frame_does = DO_FREE;
    put_long(1000000);
    settle();
    expect_frames("1000000:a..z ");
}

Test(conn, may_be_freed_in_on_frame_after_a_pause, .init = server, .fini = world_fini)
{
    put_frame("abc");
    put_frame("def");
    put_frame("ghi");
    on_frame_does = DO_PAUSE;
    settle();
    on_frame_does = DO_FREE;
    conn_resume(conn);
    settle();
    expect_frames("3:abc 3:def ");
}

Test(conn, may_be_freed_when_asked, .init = server, .fini = world_fini)
{
    put_frame("abc");
    waits = 1;
    settle();
    free_when_asked = true;
    conn_resume(conn);
    settle();
    cr_assert_null(conn);
    cr_assert_eq(closed, 0, "freed, and yet told");
}

Test(conn, may_be_freed_in_on_closed, .init = server, .fini = world_fini)
{
    on_closed_does = DO_FREE;
    put_frame("abc");
    fake.eof = true;
    settle();
    expect_frames("3:abc ");
    cr_assert_eq(closed, 1);
    cr_assert_eq(closed_why, ERR_CLOSED);
    cr_assert_null(conn);
}

Test(conn, may_be_freed_in_on_drained, .init = server, .fini = world_fini)
{
    on_drained_does = DO_FREE;
    fake.send_room = 0;
    outq_put_mem(conn_outq(conn), "x", 1, NULL, NULL);
    conn_flush(conn);
    fake.send_room = 1;
    put_frame("abc");
    settle();
    cr_assert_eq(drained, 1);
    cr_assert_null(conn);
}

/* The peer goes while a frame is half there and replies are queued: told once, all released. */
static int released;

static void on_release(void *arg)
{
    (void)arg;
    released++;
}

Test(conn, the_peer_leaves_in_the_middle, .init = server, .fini = world_fini)
{
    buf_put_be32(&fake.in, 1000);
    buf_put_text(&fake.in, "half");
    fake.send_room = 2;
    outq_put_mem(conn_outq(conn), "abcd", 4, on_release, NULL);
    conn_flush(conn);
    settle();
    fake.broken = ERR_CLOSED;
    settle();
    cr_assert_eq(closed, 1);
    cr_assert_eq(released, 0);
    conn_free(conn);
    conn = NULL;
    cr_assert_eq(released, 1);
}

/* conn_finish: what is queued goes out, however slowly, and then the end; nothing is read. */
Test(conn, finishes_what_is_queued, .init = server, .fini = world_fini)
{
    outq_put_mem(conn_outq(conn), "abcd", 4, on_release, NULL);
    fake.send_room = 1;
    conn_finish(conn);
    put_frame("unread");
    settle();
    cr_assert_eq(closed, 0);
    fake.send_room = 2;
    settle();
    fake.send_room = 5;
    settle();
    cr_assert_eq(closed, 1);
    cr_assert_eq(closed_why, ERR_OK);
    cr_assert_eq(released, 1);
    cr_assert_eq(memcmp(fake.out.data, "abcd", 4), 0);
    expect_frames("");
    cr_assert_eq(drained, 0);
}

Test(conn, finishing_with_nothing_queued_is_the_end, .init = server, .fini = world_fini)
{
    on_closed_does = DO_FREE;
    conn_finish(conn);
    settle();
    cr_assert_eq(closed, 1);
    cr_assert_eq(closed_why, ERR_OK);
}

Test(conn, finishing_a_broken_one_says_so, .init = server, .fini = world_fini)
{
    outq_put_mem(conn_outq(conn), "abcd", 4, on_release, NULL);
    fake.broken = ERR_CLOSED;
    conn_finish(conn);
    settle();
    cr_assert_eq(closed, 1);
    cr_assert_eq(closed_why, ERR_CLOSED);
}

/* A reply that a slow peer takes bit by bit is activity; a queue that does not move is not. */
Test(conn, idle_time_counts_from_the_last_byte_of_either_side, .init = server, .fini = world_fini)
{
    cr_assert_eq(conn_last_active_ms(conn), 0);
    clock_manual_advance(&test_clock, INT64_C(1000) * 1000000);
    put_frame("abc");
    settle();
    cr_assert_eq(conn_last_active_ms(conn), 1000);
    outq_put_mem(conn_outq(conn), "abcd", 4, NULL, NULL);
    fake.send_room = 0;
    clock_manual_advance(&test_clock, INT64_C(1000) * 1000000);
    settle();
    conn_flush(conn);
    cr_assert_eq(conn_last_active_ms(conn), 1000);
    clock_manual_advance(&test_clock, INT64_C(1000) * 1000000);
    fake.send_room = 1;
    settle();
    cr_assert_eq(conn_last_active_ms(conn), 3000);
}

/* More than a turn's worth goes on in later turns, not in this one. */
Test(conn, a_long_reply_takes_turns, .init = server, .fini = world_fini)
{
    enum { PIECE = 4096, PIECES = 2 * OUTQ_TURN_BYTES / PIECE };
    static uint8_t piece[PIECE];
    for (int i = 0; i < PIECES; i++) {
        outq_put_mem(conn_outq(conn), piece, PIECE, on_release, NULL);
    }
    conn_flush(conn);
    cr_assert_lt(fake.out.size, (size_t)PIECE * PIECES);
    settle();
    cr_assert_eq(fake.out.size, (size_t)PIECE * PIECES);
    cr_assert_eq(released, PIECES);
    cr_assert_gt(drained, 0);
}

/* A follower's answer leaves in one turn. */
Test(conn, a_long_turn_takes_more, .init = server, .fini = world_fini)
{
    enum { PIECE = 4096, PIECES = OUTQ_LONG_TURN_BYTES / PIECE };
    static uint8_t piece[PIECE];
    for (int on = 1; on >= 0; on--) {
        fake.out.size = 0;
        conn_long_turns(conn, on == 1);
        for (int i = 0; i < PIECES; i++) {
            outq_put_mem(conn_outq(conn), piece, PIECE, NULL, NULL);
        }
        conn_flush(conn);
        cr_assert_eq(fake.out.size == (size_t)PIECE * PIECES, on == 1);
        settle();
        cr_assert_eq(fake.out.size, (size_t)PIECE * PIECES);
    }
}

/* ---- the side that connects */

Test(conn, connects, .init = client, .fini = world_fini)
{
    fake.send_room = 0;
    settle();
    cr_assert_eq(fake.wanted, NET_WRITABLE);
    cr_assert_eq(connected, 0);
    outq_put_mem(conn_outq(conn), "early", 5, NULL, NULL);
    conn_flush(conn);
    cr_assert_eq(fake.out.size, 0);
    fake.send_room = SIZE_MAX;
    put_frame("abc");
    settle();
    cr_assert_eq(connected, 1);
    expect_frames("3:abc ");
    cr_assert_eq(fake.out.size, 5);
}

/* It once said "connected" first, and left an owner that had nothing to send in that belief. */
Test(conn, a_connect_that_fails_is_not_connected, .init = client, .fini = world_fini)
{
    fake.broken = ERR_CLOSED;
    fake.stream.on_ready(&fake.stream, NET_READABLE);
    settle();
    cr_assert_eq(connected, 0);
    cr_assert_eq(closed, 1);
    cr_assert_eq(closed_why, ERR_CLOSED);
}

Test(conn, may_be_freed_in_on_connected, .init = client, .fini = world_fini)
{
    on_connected_does = DO_FREE;
    settle();
    cr_assert_eq(connected, 1);
    cr_assert_null(conn);
}
