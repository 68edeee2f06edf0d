/* Every byte once and in order, every fragment released once, whatever the socket takes. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/rng.h"
#include "fs/fs_sim.h"
#include "net/outq.h"
#include "support/fake_stream.h"

enum { FILE_BYTES = 3 << 20 };

static struct loop *loop;
static struct fake_stream fake;
static struct fs_sim *sim;
static struct fs_file *file;
static uint8_t *content; /* of the file */
static struct outq *outq;
static int released;

static void world_init(void)
{
    struct rng rng;
    rng_seed(&rng, 1);
    loop = loop_new("hand", 0, clock_system());
    fake_stream_init(&fake, loop);
    sim = fs_sim_new(1);
    content = mem_alloc(FILE_BYTES);
    for (int i = 0; i < FILE_BYTES; i++) {
        content[i] = (uint8_t)rng_next(&rng);
    }
    cr_assert_eq(fs_open(fs_sim_fs(sim), "/log", FS_WRITE | FS_CREATE, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, content, FILE_BYTES, 0), ERR_OK);
    outq = outq_new();
}

static void world_fini(void)
{
    outq_free(outq);
    fs_close(file);
    fs_sim_free(sim);
    mem_free(content);
    fake_stream_fini(&fake);
    loop_free(loop);
}

static void on_release(void *arg)
{
    released++;
    if (arg != NULL) {
        (*(int *)arg)++;
    }
}

static void put_text(const char *text)
{
    outq_put_mem(outq, text, strlen(text), on_release, NULL);
}

static void put_file(int64_t offset, size_t size)
{
    outq_put_file(outq, file, offset, size, on_release, NULL);
}

static enum err flush(void)
{
    bool yielded;
    return outq_flush(outq, &fake.stream, OUTQ_TURN_BYTES, &yielded);
}

static void expect_out(const void *wanted, size_t size)
{
    cr_assert_eq(fake.out.size, size);
    cr_assert_eq(memcmp(fake.out.data, wanted, size), 0);
}

Test(outq, memory_leaves_in_one_send, .init = world_init, .fini = world_fini)
{
    put_text("abc");
    put_text("");
    put_text("defgh");
    cr_assert_eq(outq_mem_bytes(outq), 8);
    cr_assert(!outq_empty(outq));
    cr_assert_eq(flush(), ERR_OK);
    cr_assert_str_eq(fake_stream_trace(&fake), "send 3+5 -> 8; ");
    expect_out("abcdefgh", 8);
    cr_assert_eq(released, 3);
    cr_assert(outq_empty(outq));
    cr_assert_eq(outq_total_bytes(outq), 0);
    cr_assert_eq(flush(), ERR_OK);
}

/* A header in front of a file says that more follows: it must not leave as a packet of its own. */
Test(outq, more_follows_before_a_file_and_not_after, .init = world_init, .fini = world_fini)
{
    put_text("head");
    put_file(10, 100000);
    put_text("tail");
    cr_assert_eq(outq_total_bytes(outq), 100008);
    cr_assert_eq(outq_mem_bytes(outq), 8);
    cr_assert_eq(flush(), ERR_OK);
    cr_assert_str_eq(fake_stream_trace(&fake), "send 4 more -> 4; file 100000 -> 100000; "
                                               "send 4 -> 4; ");
    cr_assert_eq(memcmp(fake.out.data + 4, content + 10, 100000), 0);
    cr_assert_eq(released, 3);
}

/* A small range is not worth a sendfile: it is read and sent as memory. */
Test(outq, small_ranges_are_copied, .init = world_init, .fini = world_fini)
{
    put_file(500, OUTQ_COPY_BYTES);
    put_file(600, OUTQ_COPY_BYTES + 1);
    cr_assert_eq(flush(), ERR_OK);
    cr_assert_str_eq(fake_stream_trace(&fake), "send 4096 more -> 4096; file 4097 -> 4097; ");
}

/* A full socket: what was taken is gone, the rest stays; a fragment is released with its last
 * byte. */
/* What a consumer at the end of the log gets: header, one small batch, the end of the answer. */
Test(outq, a_small_range_leaves_with_the_memory_around_it, .init = world_init, .fini = world_fini)
{
    put_text("head");
    put_file(10, 500);
    put_text("tail");
    cr_assert_eq(flush(), ERR_OK);
    cr_assert_str_eq(fake_stream_trace(&fake), "send 4+500+4 -> 508; ");
    cr_assert_eq(memcmp(fake.out.data, "head", 4), 0);
    cr_assert_eq(memcmp(fake.out.data + 4, content + 10, 500), 0);
    cr_assert_eq(memcmp(fake.out.data + 504, "tail", 4), 0);
    cr_assert_eq(released, 3);
}

Test(outq, small_ranges_together_are_copied_up_to_a_limit, .init = world_init, .fini = world_fini)
{
    put_file(0, 4000);
    put_file(5000, 96);
    put_file(6000, 1);
    cr_assert_eq(flush(), ERR_OK);
    cr_assert_str_eq(fake_stream_trace(&fake), "send 4000+96 more -> 4096; send 1 -> 1; ");
}

Test(outq, a_partial_send_goes_on_where_it_stopped, .init = world_init, .fini = world_fini)
{
    put_text("abcd");
    put_text("efgh");
    fake.send_room = 6;
    cr_assert_eq(flush(), ERR_AGAIN);
    cr_assert_eq(released, 1);
    cr_assert_eq(outq_mem_bytes(outq), 2);
    cr_assert_eq(flush(), ERR_AGAIN);
    fake.send_room = 1;
    cr_assert_eq(flush(), ERR_AGAIN);
    cr_assert_eq(released, 1);
    fake.send_room = 1;
    cr_assert_eq(flush(), ERR_OK);
    expect_out("abcdefgh", 8);
    cr_assert_eq(released, 2);
}

Test(outq, a_partial_file_goes_on_where_it_stopped, .init = world_init, .fini = world_fini)
{
    put_file(7, 50000);
    fake.send_max = 9999;
    fake.send_room = 30000;
    cr_assert_eq(flush(), ERR_AGAIN);
    cr_assert_eq(outq_total_bytes(outq), 20000);
    cr_assert_eq(released, 0);
    fake.send_room = SIZE_MAX;
    cr_assert_eq(flush(), ERR_OK);
    expect_out(content + 7, 50000);
    cr_assert_eq(released, 1);
}

/* A file that ends before its range does: the peer was promised more, so the connection closes.
 * The rest of the queue is released with the queue. */
Test(outq, a_truncated_file_is_an_error, .init = world_init, .fini = world_fini)
{
    put_text("head");
    put_file(FILE_BYTES - 10, 100);
    put_text("tail");
    cr_assert_eq(flush(), ERR_CORRUPT);
    cr_assert_eq(fs_truncate(file, 1000), ERR_OK);
    outq_free(outq);
    cr_assert_eq(released, 3);
    outq = outq_new();
    put_file(900, 100000);
    cr_assert_eq(flush(), ERR_CORRUPT);
    cr_assert_eq(fake.out.size, 100); /* nothing of the first answer, which it was known to lack */
}

Test(outq, a_broken_socket_is_an_error, .init = world_init, .fini = world_fini)
{
    put_text("abc");
    fake.broken = ERR_CLOSED;
    cr_assert_eq(flush(), ERR_CLOSED);
    cr_assert_eq(released, 0);
    outq_free(outq);
    cr_assert_eq(released, 1);
    outq = outq_new();
}

/* One fast reader of a long file does not keep the loop: the turn ends, and says so. */
Test(outq, a_turn_is_bounded, .init = world_init, .fini = world_fini)
{
    bool yielded;
    put_file(0, FILE_BYTES);
    put_text("tail");
    for (int turn = 1; turn < FILE_BYTES / OUTQ_TURN_BYTES; turn++) {
        cr_assert_eq(outq_flush(outq, &fake.stream, OUTQ_TURN_BYTES, &yielded), ERR_AGAIN);
        cr_assert(yielded);
        cr_assert_eq(fake.out.size, (size_t)turn * OUTQ_TURN_BYTES);
    }
    cr_assert_eq(outq_flush(outq, &fake.stream, OUTQ_TURN_BYTES, &yielded), ERR_OK);
    cr_assert(!yielded);
    cr_assert_eq(memcmp(fake.out.data, content, FILE_BYTES), 0);
}

/* What is a little more than a turn's worth takes one turn, and of system calls one for its head,
 * one for the file and one for its end. */
Test(outq, a_turn_is_not_split_for_a_small_rest, .init = world_init, .fini = world_fini)
{
    bool yielded;
    put_text("head");
    put_file(0, OUTQ_TURN_BYTES);
    put_text("end");
    cr_assert_eq(outq_flush(outq, &fake.stream, OUTQ_TURN_BYTES, &yielded), ERR_OK);
    cr_assert_str_eq(fake_stream_trace(&fake),
                     "send 4 more -> 4; file 262144 -> 262144; send 3 -> 3; ");
    cr_assert_eq(fake.out.size, OUTQ_TURN_BYTES + 7);
}

/* A rest that is just too large waits for the next turn. */
Test(outq, a_turn_ends_before_a_large_rest, .init = world_init, .fini = world_fini)
{
    bool yielded;
    put_file(0, OUTQ_TURN_BYTES + OUTQ_REST_BYTES + 1);
    cr_assert_eq(outq_flush(outq, &fake.stream, OUTQ_TURN_BYTES, &yielded), ERR_AGAIN);
    cr_assert(yielded);
    cr_assert_eq(fake.out.size, OUTQ_TURN_BYTES);
    cr_assert_eq(outq_flush(outq, &fake.stream, OUTQ_TURN_BYTES, &yielded), ERR_OK);
}

/* More fragments than one send gathers: several sends, all but the last say that more follows. */
Test(outq, many_fragments_are_sent_in_groups, .init = world_init, .fini = world_fini)
{
    for (int i = 0; i < 150; i++) {
        put_text("x");
    }
    cr_assert_eq(flush(), ERR_OK);
    const char *trace = fake_stream_trace(&fake);
    cr_assert_not_null(strstr(trace, "more -> 64; "));
    cr_assert_not_null(strstr(trace, "1 -> 22; "));
    cr_assert_eq(fake.out.size, 150);
    cr_assert_eq(released, 150);
}

/* An empty range of a file carries nothing but its release, and promises nothing. */
Test(outq, an_empty_range_is_released_in_its_order, .init = world_init, .fini = world_fini)
{
    put_text("a");
    put_file(0, 0);
    cr_assert_eq(released, 0);
    cr_assert_eq(flush(), ERR_OK);
    expect_out("a", 1);
    cr_assert_eq(released, 2);
}

/* Anything at all through a socket that takes anything from one byte on. */
Test(outq, random_queues_arrive_whole, .init = world_init, .fini = world_fini)
{
    enum { ROUNDS = 60, FRAGMENTS = 40 };
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        struct buf wanted = {0};
        int counts[FRAGMENTS] = {0};
        fake.out.size = 0;
        fake.trace.size = 0;
        for (int i = 0; i < FRAGMENTS; i++) {
            size_t size = rng_below(&rng, rng_one_in(&rng, 4) ? 300000 : 200);
            int64_t at = (int64_t)rng_below(&rng, FILE_BYTES - size);
            if (rng_one_in(&rng, 2)) {
                outq_put_mem(outq, content + at, size, on_release, &counts[i]);
            } else {
                outq_put_file(outq, file, at, size, on_release, &counts[i]);
            }
            buf_put(&wanted, content + at, size);
        }
        fake.send_max = 1 + rng_below(&rng, rng_one_in(&rng, 3) ? 500 : 100000);
        enum err err;
        do {
            fake.send_room = rng_below(&rng, 200000);
            err = flush();
            cr_assert_eq(fake.out.size + outq_total_bytes(outq), wanted.size);
            cr_assert(err == ERR_OK || err == ERR_AGAIN);
        } while (err != ERR_OK);
        expect_out(wanted.data, wanted.size);
        for (int i = 0; i < FRAGMENTS; i++) {
            cr_assert_eq(counts[i], 1);
        }
        buf_fini(&wanted);
    }
}
