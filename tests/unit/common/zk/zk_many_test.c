/* The reader of many nodes, against a server that says what the test wants, and a real one. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/clock.h"
#include "support/zk_server.h"
#include "zk/zk_many.h"
#include "zk/zk_wire.h"

enum {
    WAIT_MS = 200000, /* and as patient is the reader: connections are counted */
    SESSION_TIMEOUT_MS = 10000,
    CONNECTIONS_MAX = 16,
    OP_MULTI_READ = 22,
    OP_CLOSE = -11
};

enum manner {
    ANSWERS, /* each node's data is its path */
    CLOSES,  /* after the connect request */
    IS_OLD,  /* does not know such a read */
    TALKS_NONSENSE,
    STOPS_HALFWAY, /* in an answer */
    IS_SILENT,
};

struct fake {
    enum manner manner;
    int listener;
    struct sockaddr_in address;
    pthread_t thread;
    _Atomic int64_t zxid; /* in its replies */
    _Atomic int connections;
    _Atomic int packets;
    _Atomic int closes;                     /* requests to end the session */
    _Atomic int64_t zxids[CONNECTIONS_MAX]; /* in the connect requests */
};

/* ---- The server. */

static bool receive(int connection, void *to, size_t size)
{
    return recv(connection, to, size, MSG_WAITALL) == (ssize_t)size;
}

/* The next frame, in memory of its own; NULL at the end. */
static uint8_t *frame_of(int connection, size_t *size)
{
    uint8_t length[4];
    if (!receive(connection, length, sizeof(length))) {
        return NULL;
    }
    *size = be32_get(length);
    uint8_t *frame = mem_alloc(*size);
    if (!receive(connection, frame, *size)) {
        mem_free(frame);
        return NULL;
    }
    return frame;
}

static void send_frame(int connection, const struct buf *content)
{
    uint8_t length[4];
    be32_put(length, (uint32_t)content->size);
    (void)send(connection, length, sizeof(length), MSG_NOSIGNAL);
    (void)send(connection, content->data, content->size, MSG_NOSIGNAL);
}

static void put_step(struct buf *out, int32_t operation, bool last)
{
    buf_put_be32(out, (uint32_t)operation);
    buf_put_byte(out, last ? 1 : 0);
    buf_put_be32(out, (uint32_t)-1);
}

/* What a server says to the reads in `frame`, from `at` on. */
static void put_answers(struct buf *out, const uint8_t *frame, size_t at)
{
    static const uint8_t stat[68];
    while (be32_get(frame + at) == 4) {
        uint32_t size = be32_get(frame + at + 9);
        put_step(out, 4, false);
        buf_put_be32(out, size);
        buf_put(out, frame + at + 13, size);
        buf_put(out, stat, sizeof(stat));
        at += 13 + size + 1;
    }
    put_step(out, -1, true);
}

static void answer(struct fake *fake, int connection, const uint8_t *frame)
{
    struct buf out = {0};
    bool reads = be32_get(frame + 4) == OP_MULTI_READ;
    buf_put_be32(&out, be32_get(frame));
    buf_put_be64(&out, (uint64_t)atomic_load(&fake->zxid));
    buf_put_be32(&out, fake->manner == IS_OLD ? (uint32_t)-6 : 0);
    if (reads && fake->manner == TALKS_NONSENSE) {
        buf_put_text(&out, "what is this");
    } else if (reads && fake->manner != IS_OLD) {
        put_answers(&out, frame, 8);
    }
    if (fake->manner == STOPS_HALFWAY) {
        uint8_t length[4];
        be32_put(length, (uint32_t)out.size);
        (void)send(connection, length, sizeof(length), MSG_NOSIGNAL);
        (void)send(connection, out.data, out.size / 2, MSG_NOSIGNAL);
        shutdown(connection, SHUT_RDWR);
    } else {
        send_frame(connection, &out);
    }
    buf_fini(&out);
}

static void accept_session(int connection)
{
    struct buf out = {0};
    uint8_t *rest = buf_extend(&out, 37);
    memset(rest, 0, 37);
    be32_put(rest + 4, SESSION_TIMEOUT_MS);
    rest[15] = 7;
    be32_put(rest + 16, 16);
    send_frame(connection, &out);
    buf_fini(&out);
}

static void serve_one(struct fake *fake, int connection)
{
    size_t size;
    uint8_t *frame = frame_of(connection, &size);
    if (frame != NULL) {
        int number = atomic_load(&fake->connections);
        atomic_store(&fake->zxids[number % CONNECTIONS_MAX], (int64_t)be64_get(frame + 4));
        atomic_fetch_add(&fake->connections, 1);
        mem_free(frame);
    }
    if (fake->manner == CLOSES) {
        return;
    }
    if (fake->manner != IS_SILENT) {
        accept_session(connection);
    }
    while ((frame = frame_of(connection, &size)) != NULL) {
        atomic_fetch_add(&fake->packets, be32_get(frame + 4) == OP_MULTI_READ ? 1 : 0);
        atomic_fetch_add(&fake->closes, (int32_t)be32_get(frame + 4) == OP_CLOSE ? 1 : 0);
        answer(fake, connection, frame);
        mem_free(frame);
    }
}

static void *serve(void *arg)
{
    struct fake *fake = arg;
    int connection;
    while ((connection = accept(fake->listener, NULL, NULL)) >= 0) {
        serve_one(fake, connection);
        close(connection);
    }
    return NULL;
}

static void fake_start(struct fake *fake, enum manner manner)
{
    socklen_t size = sizeof(fake->address);
    *fake = (struct fake){.manner = manner};
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fake->address = (struct sockaddr_in){AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
    cr_assert_eq(bind(fake->listener, (struct sockaddr *)&fake->address, size), 0);
    cr_assert_eq(listen(fake->listener, CONNECTIONS_MAX), 0);
    cr_assert_eq(getsockname(fake->listener, (struct sockaddr *)&fake->address, &size), 0);
    cr_assert_eq(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

static void fake_stop(struct fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->listener);
}

/* ---- Who reads. */

struct fixture {
    struct zk_many_host host;
    struct zk_many *many;
    _Atomic int begun;
    _Atomic int over;
    _Atomic int answered;
    _Atomic int failed;
};

struct read {
    struct zk_many_read read;
    struct arena arena;
};

static void on_begin(struct zk_many_host *host)
{
    atomic_fetch_add(&container_of(host, struct fixture, host)->begun, 1);
}

static void on_done(struct zk_many_host *host, struct zk_many_read *read, bool ok)
{
    struct fixture *f = container_of(host, struct fixture, host);
    cr_assert(read->nodes != NULL);
    atomic_fetch_add(ok ? &f->answered : &f->failed, 1);
}

static void on_over(struct zk_many_host *host)
{
    atomic_fetch_add(&container_of(host, struct fixture, host)->over, 1);
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.host = {on_begin, on_done, on_over}};
    struct zk_many_options options = {
        .session_timeout_ms = SESSION_TIMEOUT_MS, .answer_ms = WAIT_MS, .linger_ms = WAIT_MS};
    f->many = zk_many_new(&f->host, &options);
}

static void wait_for(_Atomic int *value, int wanted)
{
    int64_t deadline_ms = clock_mono_ms(clock_system()) + WAIT_MS;
    while (atomic_load(value) < wanted) {
        sched_yield();
        cr_assert_lt(clock_mono_ms(clock_system()), deadline_ms, "timed out");
    }
}

static void fixture_fini(struct fixture *f)
{
    zk_many_close(f->many);
    wait_for(&f->over, atomic_load(&f->begun));
    zk_many_free(f->many);
}

/* Nodes "/<name>-0" and so on. */
static void read_init(struct read *read, const char *name, int32_t count, int64_t zxid)
{
    *read = (struct read){.read = {.count = count, .zxid = zxid, .arena = &read->arena}};
    read->read.paths = arena_array(&read->arena, const char *, (size_t)count);
    read->read.nodes = arena_array(&read->arena, struct zk_read, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        read->read.paths[i] = arena_printf(&read->arena, "/%s-%d", name, i);
    }
}

static bool add(struct fixture *f, struct read *read, const struct fake *fake)
{
    return zk_many_add(f->many, &read->read, (const struct sockaddr *)&fake->address,
                       sizeof(fake->address));
}

static void expect_own_paths(const struct read *read)
{
    for (int32_t i = 0; i < read->read.count; i++) {
        const struct zk_read *node = &read->read.nodes[i];
        struct str data = {(const char *)node->data.data, node->data.size};
        cr_assert_eq(node->err, ERR_OK);
        cr_assert(str_is(data, read->read.paths[i]));
    }
}

/* Reads of all sizes share packets, and each node's data comes to its place. */
Test(zk_many, puts_each_answer_in_its_place)
{
    static const int32_t counts[] = {1, 1999, 3, 500, 497, 4000};
    enum { READS = sizeof(counts) / sizeof(counts[0]), PACKETS_AT_LEAST = 7000 / 500 };
    struct fake fake;
    struct fixture f;
    struct read reads[READS];
    fake_start(&fake, ANSWERS);
    fixture_init(&f);
    for (int i = 0; i < READS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%d", i);
        read_init(&reads[i], name, counts[i], 0);
        cr_assert(add(&f, &reads[i], &fake));
    }
    wait_for(&f.answered, READS);
    for (int i = 0; i < READS; i++) {
        expect_own_paths(&reads[i]);
        arena_fini(&reads[i].arena);
    }
    cr_expect_eq(atomic_load(&f.failed), 0);
    cr_expect_eq(atomic_load(&fake.connections), 1);
    cr_expect_geq(atomic_load(&fake.packets), PACKETS_AT_LEAST);
    cr_expect_leq(atomic_load(&fake.packets), PACKETS_AT_LEAST + READS);
    fixture_fini(&f);
    fake_stop(&fake);
}

/* M1: a read that must see change 9 does not go over a connection that may be older. */
Test(zk_many, reads_nothing_that_is_older_than_wanted)
{
    struct fake fake;
    struct fixture f;
    struct read reads[3];
    static const int64_t wanted[] = {5, 9, 12};
    fake_start(&fake, ANSWERS);
    fixture_init(&f);
    for (int i = 0; i < 3; i++) {
        atomic_store(&fake.zxid, i < 1 ? 5 : 20); /* the second reply proves what the third wants */
        read_init(&reads[i], "x", 20, wanted[i]);
        cr_assert(add(&f, &reads[i], &fake));
        wait_for(&f.answered, i + 1);
        arena_fini(&reads[i].arena);
    }
    cr_expect_eq(atomic_load(&fake.connections), 2);
    cr_expect_eq(atomic_load(&fake.zxids[0]), 5);
    cr_expect_eq(atomic_load(&fake.zxids[1]), 9);
    fixture_fini(&f);
    fake_stop(&fake);
}

/* M1: a watch had told of a change on the session's next server; what it was was asked of the one
 * before, which had not seen it. */
Test(zk_many, asks_the_server_that_the_session_has_gone_to)
{
    struct fake fakes[2];
    struct fixture f;
    struct read reads[3];
    static const int asked[] = {0, 1, 1};
    fake_start(&fakes[0], ANSWERS);
    fake_start(&fakes[1], ANSWERS);
    fixture_init(&f);
    for (int i = 0; i < 3; i++) {
        read_init(&reads[i], "x", 20, 0);
        cr_assert(add(&f, &reads[i], &fakes[asked[i]]));
        wait_for(&f.answered, i + 1);
        expect_own_paths(&reads[i]);
        arena_fini(&reads[i].arena);
    }
    cr_expect_eq(atomic_load(&f.failed), 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(atomic_load(&fakes[i].connections), 1);
    }
    cr_expect_eq(atomic_load(&fakes[0].packets), 1);
    cr_expect_eq(atomic_load(&fakes[1].packets), 2);
    fixture_fini(&f);
    fake_stop(&fakes[0]);
    fake_stop(&fakes[1]);
}

/* M2: whatever the server does, every read is handed back, and after a few it is left in peace. */
Test(zk_many, gives_back_what_it_cannot_read)
{
    static const enum manner manners[] = {CLOSES, IS_OLD, TALKS_NONSENSE, STOPS_HALFWAY};
    enum { TRIES = 3, READS = 2 };
    for (size_t m = 0; m < sizeof(manners) / sizeof(manners[0]); m++) {
        struct fake fake;
        struct fixture f;
        struct read reads[READS];
        fake_start(&fake, manners[m]);
        fixture_init(&f);
        for (int i = 0, added = 0; i < TRIES; i++) {
            read_init(&reads[0], "a", 700, 0);
            read_init(&reads[1], "b", 10, 0);
            for (int k = 0; k < READS; k++, added++) {
                if (!add(&f, &reads[k], &fake)) {
                    cr_assert_gt(i, 0);
                    atomic_fetch_add(&f.failed, 1);
                }
            }
            wait_for(&f.failed, added);
            arena_fini(&reads[0].arena);
            arena_fini(&reads[1].arena);
        }
        cr_expect_eq(atomic_load(&f.answered), 0);
        read_init(&reads[0], "c", 5, 0);
        cr_expect(!add(&f, &reads[0], &fake), "manner %d", (int)manners[m]);
        arena_fini(&reads[0].arena);
        fixture_fini(&f);
        fake_stop(&fake);
    }
}

/* M3: it had stayed until its timeout, though the server was there to be told. */
Test(zk_many, a_session_ends_with_its_connection_also_when_reading_has_failed)
{
    static const enum manner manners[] = {IS_OLD, TALKS_NONSENSE};
    for (size_t m = 0; m < sizeof(manners) / sizeof(manners[0]); m++) {
        struct fake fake;
        struct fixture f;
        struct read read;
        fake_start(&fake, manners[m]);
        fixture_init(&f);
        read_init(&read, "a", 700, 0);
        cr_assert(add(&f, &read, &fake));
        wait_for(&f.failed, 1);
        wait_for(&fake.closes, 1);
        cr_expect_eq(atomic_load(&fake.connections), 1);
        arena_fini(&read.arena);
        fixture_fini(&f);
        fake_stop(&fake);
    }
}

/* Closing does not wait for a server that says nothing, and nobody is told of what was asked for;
 * the session ends nevertheless (M3). */
Test(zk_many, closes_while_a_server_is_silent)
{
    struct fake fake;
    struct fixture f;
    struct read read;
    fake_start(&fake, IS_SILENT);
    fixture_init(&f);
    read_init(&read, "s", 50, 0);
    cr_assert(add(&f, &read, &fake));
    wait_for(&fake.connections, 1);
    fixture_fini(&f);
    cr_expect_eq(atomic_load(&f.answered) + atomic_load(&f.failed), 0);
    wait_for(&fake.closes, 1);
    arena_fini(&read.arena);
    fake_stop(&fake);
}

/* The real one does answer such reads. */
Test(zk_many, a_real_server_answers)
{
    struct zk_server server;
    struct fake place = {0};
    struct fixture f;
    struct read read;
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_many against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(&server));
    place.address =
        (struct sockaddr_in){AF_INET, htons((uint16_t)server.port), {htonl(INADDR_LOOPBACK)}, {0}};
    fixture_init(&f);
    read_init(&read, "nothing", 600, 0);
    read.read.paths[7] = "/zookeeper/config";
    cr_assert(add(&f, &read, &place));
    wait_for(&f.answered, 1);
    for (int32_t i = 0; i < 600; i++) {
        cr_expect_eq(read.read.nodes[i].err, i == 7 ? ERR_OK : ERR_NOT_FOUND);
    }
    arena_fini(&read.arena);
    fixture_fini(&f);
    zk_server_stop(&server);
}

/* ---- Bytes. */

/* A reply cut off anywhere is no reply, and nobody reads behind its end. */
Test(zk_wire, a_reply_that_is_cut_off_is_none)
{
    struct buf whole = {0};
    struct zk_wire_header header;
    static const uint8_t request[] = {0,    0,    0, 4,    0,    0xff, 0xff, 0xff, 0xff,
                                      0,    0,    0, 2,    '/',  'a',  0,    0xff, 0xff,
                                      0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff};
    buf_put_be32(&whole, 3);
    buf_put_be64(&whole, 77);
    buf_put_be32(&whole, 0);
    put_answers(&whole, request, 0);
    for (size_t size = 0; size <= whole.size; size++) {
        uint8_t *copy = mem_alloc(size); /* of its exact size, for the sanitizer */
        struct bytes rest;
        struct bytes data;
        struct zk_stat stat;
        int32_t rc = -1;
        if (size > 0) {
            memcpy(copy, whole.data, size);
        }
        bool good = zk_wire_get_header((struct bytes){copy, size}, &header, &rest) &&
                    zk_wire_get_read(&rest, &rc, &data, &stat) && zk_wire_at_end(rest);
        cr_expect_eq(good, size == whole.size);
        mem_free(copy);
    }
    cr_expect_eq(header.zxid, 77);
    buf_fini(&whole);
}
