/* Every file of a log directory, byte by byte, as Kafka 3.9 writes it. The expected bytes are put
 * together by hand from the formats' descriptions, not by the code under test. */
#include "log/logs.h"
#include "log_fixture.h"
#include "record/crc32c.h"

/* Hexadecimal, spaces ignored. */
static struct buf hex(const char *text)
{
    struct buf out = {0};
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != ' ') {
            unsigned value;
            cr_assert_eq(sscanf(at, "%2x", &value), 1);
            buf_put_byte(&out, (uint8_t)value);
            at++;
        }
    }
    return out;
}

static void expect_bytes(const struct log_world *w, const char *name, const char *expected)
{
    struct buf want = hex(expected);
    struct buf have = file_read(w, name);
    struct buf text = {0};
    for (size_t i = 0; i < have.size; i++) {
        buf_printf(&text, "%02x", have.data[i]);
    }
    buf_put_byte(&text, 0);
    cr_assert_eq(have.size, want.size, "%s has %zu bytes instead of %zu: %s", name, have.size,
                 want.size, text.data);
    cr_assert(want.size == 0 || memcmp(have.data, want.data, want.size) == 0, "%s is %s", name,
              text.data);
    buf_fini(&want);
    buf_fini(&have);
    buf_fini(&text);
}

static void expect_text(struct fs *fs, const char *path, const char *expected)
{
    char *data;
    size_t size;
    cr_assert_eq(fs_read_all(fs, path, 1 << 20, &data, &size), ERR_OK, "%s", path);
    cr_assert_str_eq(data, expected);
    cr_assert_eq(size, strlen(expected));
    mem_free(data);
}

Test(format, a_log_holds_batches_with_offset_and_epoch_filled_in)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w, (struct batch_want){.records = 2, .first_ms = 0x112233}, 0);
    log_append_ok(
        &w,
        (struct batch_want){
            .first_ms = 0x112244, .value_bytes = 2, .producer = 0x1001, .epoch = 3, .sequence = 7},
        5);
    struct buf log = file_read(&w, "00000000000000000000.log");
    /* CRCs are checked by themselves: they stand at 17 of each batch. */
    struct buf want = hex(
        /* base offset 0, length 65, epoch 0, magic 2, crc, attributes 0, last delta 1 */
        "0000000000000000 00000041 00000000 02 00000000 0000 00000001"
        /* base and max timestamp, no producer, no sequence, 2 records */
        "0000000000112233 0000000000112234 ffffffffffffffff ffff ffffffff 00000002"
        /* length 6, attributes, time delta 0, offset delta 0, no key, empty value, no headers */
        "0c 00 00 00 01 00 00   0c 00 02 02 01 00 00"
        /* base offset 2, epoch 5, last delta 0 */
        "0000000000000002 0000003c 00000005 02 00000000 0000 00000000"
        /* producer 0x1001, epoch 3, sequence 7, 1 record with a value of two bytes */
        "0000000000112244 0000000000112244 0000000000001001 0003 00000007 00000001"
        "10 00 00 00 01 04 76 76 00");
    size_t at[2] = {0, 0};
    at[1] = 12 + be32_get(log.data + 8);
    for (int i = 0; i < 2; i++) {
        size_t size = 12 + be32_get(log.data + at[i] + 8);
        uint32_t crc = be32_get(log.data + at[i] + 17);
        cr_assert_eq(crc, crc32c((struct bytes){log.data + at[i] + 21, size - 21}));
        be32_put(log.data + at[i] + 17, 0);
    }
    /* The lengths follow from the rest. */
    be32_put(want.data + 8, (uint32_t)(at[1] - 12));
    be32_put(want.data + at[1] + 8, (uint32_t)(log.size - at[1] - 12));
    cr_assert_eq(log.size, want.size, "%zu instead of %zu", log.size, want.size);
    cr_assert_eq(memcmp(log.data, want.data, want.size), 0);
    buf_fini(&log);
    buf_fini(&want);
    world_end(&w);
}

Test(format, indexes_are_sparse_and_end_with_the_largest_timestamp)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 250;
    cr_assert_eq(world_open(&w), ERR_OK);
    /* Seven batches of two records and 99 bytes each; the fifth is the latest in time. */
    for (int i = 0; i < 7; i++) {
        struct batch_want want = {
            .records = 2, .first_ms = i == 4 ? 0x900 : 0x100 + i * 16, .value_bytes = 12};
        log_append_ok(&w, want, 0);
        cr_assert_eq(w.model.batches[i].data.size, 99, "%zu", w.model.batches[i].data.size);
    }
    world_reopen(&w, true);
    /* More than 250 bytes are written before the fourth batch (offsets 6 and 7, at 297), and again
     * before the seventh (12 and 13, at 594). */
    expect_bytes(&w, "00000000000000000000.index", "00000007 00000129  0000000d 00000252");
    expect_bytes(&w, "00000000000000000000.timeindex",
                 "0000000000000131 00000007  0000000000000901 00000009");
    world_end(&w);
}

Test(format, indexes_of_a_small_segment_hold_only_its_time)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w, (struct batch_want){.records = 3, .first_ms = 0x500}, 0);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    expect_bytes(&w, "00000000000000000000.index", "");
    expect_bytes(&w, "00000000000000000000.timeindex", "0000000000000502 00000002");
    cr_assert(file_exists(&w, "00000000000000000003.log"));
    world_end(&w);
}

/* An entry that says -1 is none of Kafka's: its dump tool calls it out of order. */
Test(format, a_time_index_has_no_entry_for_records_without_a_time)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 50;
    cr_assert_eq(world_open(&w), ERR_OK);
    for (int i = 0; i < 3; i++) {
        log_append_ok(&w, (struct batch_want){.first_ms = -1, .value_bytes = 12}, 0);
    }
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    expect_bytes(&w, "00000000000000000000.timeindex", "");
    log_append_ok(&w, (struct batch_want){.first_ms = -1, .value_bytes = 12}, 0);
    log_append_ok(&w, (struct batch_want){.first_ms = 0x500, .value_bytes = 12}, 0);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    expect_bytes(&w, "00000000000000000003.timeindex", "0000000000000500 00000001");
    world_end(&w);
}

Test(format, a_snapshot_keeps_each_producers_last_batch)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w,
                  (struct batch_want){
                      .records = 3, .first_ms = 0x100, .producer = 0x51, .epoch = 2, .sequence = 0},
                  0);
    log_append_ok(&w,
                  (struct batch_want){
                      .records = 2, .first_ms = 0x200, .producer = 0x51, .epoch = 2, .sequence = 3},
                  0);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    struct buf content = file_read(&w, "00000000000000000005.snapshot");
    struct buf want = hex(
        "0001 00000000 00000001"
        /* id, epoch, last sequence 4, last offset 4, delta 1, timestamp, coordinator -1, no txn */
        "0000000000000051 0002 00000004 0000000000000004 00000001 0000000000000201 ffffffff "
        "ffffffffffffffff");
    uint32_t crc = be32_get(content.data + 2);
    cr_assert_eq(crc, crc32c((struct bytes){content.data + 6, content.size - 6}));
    be32_put(content.data + 2, 0);
    cr_assert_eq(content.size, want.size);
    cr_assert_eq(memcmp(content.data, want.data, want.size), 0);
    buf_fini(&content);
    buf_fini(&want);
    world_end(&w);
}

Test(format, a_snapshot_without_producers_is_empty)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 1, 10);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    struct buf content = file_read(&w, "00000000000000000001.snapshot");
    cr_assert_eq(content.size, 10);
    cr_assert_eq(be16_get(content.data), 1);
    cr_assert_eq(be32_get(content.data + 2), crc32c((struct bytes){content.data + 6, 4}));
    cr_assert_eq(be32_get(content.data + 6), 0);
    buf_fini(&content);
    world_end(&w);
}

/* With a sync of each partition's before its first record, a hundred partitions that got a new
 * leader stopped a loop for a quarter of a second. */
Test(format, leader_epochs_are_written_when_their_segment_is_finished_and_not_before)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w, (struct batch_want){.records = 4}, 2);
    cr_assert(!file_exists(&w, "leader-epoch-checkpoint"));
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    expect_text(w.fs, LOG_DIR "/leader-epoch-checkpoint", "0\n1\n2 0\n");
    log_append_ok(&w, (struct batch_want){.records = 1}, 3);
    expect_text(w.fs, LOG_DIR "/leader-epoch-checkpoint", "0\n1\n2 0\n");
    cr_assert_eq(plog_begin_epoch(w.log, 4), ERR_OK);
    world_reopen(&w, true);
    expect_text(w.fs, LOG_DIR "/leader-epoch-checkpoint", "0\n2\n2 0\n3 4\n");
    world_end(&w);
}

/* ---- the directory's own files ---- */

struct dir_world {
    struct log_world w;
    struct logs *logs;
    struct worker_pool *workers;
};

static void dir_begin(struct dir_world *d)
{
    static const char *const dirs[] = {"/data"};
    struct errmsg msg;
    world_begin(&d->w, 1);
    struct logs_options options = {
        .fs = d->w.fs,
        .clock = &d->w.clock.clock,
        .workers = d->w.workers,
        .dirs = dirs,
        .dirs_count = 1,
        .producer_expiration_ms = 1000,
    };
    cr_assert_eq(logs_open(&options, &d->logs, &msg), ERR_OK);
    cr_assert_eq(logs_set_identity(d->logs, 7, "cluster-one", &msg), ERR_OK);
}

static int64_t hw_of(void *arg, struct logs_entry *entry)
{
    (void)arg;
    return plog_offset_end(entry->log) - 1;
}

static void append_to(struct dir_world *d, struct plog *log, int records)
{
    struct buf data = make_batch((struct batch_want){.records = records, .first_ms = 1});
    struct plog_batch batch = plog_batch_of(&data);
    plog_append_leader(log, &batch, 1, 0, clock_wall_ms(&d->w.clock.clock));
    cr_assert_eq(batch.err, ERR_OK);
    buf_fini(&data);
}

Test(format, directory_files)
{
    struct dir_world d;
    dir_begin(&d);
    struct topic_config config = log_config();
    struct uuid id = {{0}};
    struct logs_entry *a;
    struct logs_entry *b;
    cr_assert(uuid_parse(STR("AAECAwQFBgcICQoLDA0ODw"), &id));
    cr_assert_eq(logs_create(d.logs, STR("orders"), 12, id, &config, &a), ERR_OK);
    cr_assert_eq(logs_create(d.logs, STR("a.b-c_d"), 0, id, &config, &b), ERR_OK);
    append_to(&d, a->log, 5);
    append_to(&d, b->log, 2);
    cr_assert_eq(plog_set_log_start(a->log, 3), ERR_OK);
    expect_text(d.w.fs, "/data/orders-12/partition.metadata",
                "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw");
    expect_text(d.w.fs, "/data/meta.properties",
                "#\n#written by Barnabas\nbroker.id=7\nversion=0\ncluster.id=cluster-one\n");
    cr_assert(logs_close(d.logs, hw_of, NULL));
    expect_text(d.w.fs, "/data/recovery-point-offset-checkpoint",
                "0\n2\norders 12 5\na.b-c_d 0 2\n");
    expect_text(d.w.fs, "/data/log-start-offset-checkpoint", "0\n1\norders 12 3\n");
    expect_text(d.w.fs, "/data/replication-offset-checkpoint", "0\n2\norders 12 4\na.b-c_d 0 1\n");
    expect_text(d.w.fs, "/data/.kafka_cleanshutdown", "{\"version\":0,\"brokerEpoch\":-1}");
    expect_text(d.w.fs, "/data/.lock", "");
    logs_free(d.logs);
    world_end(&d.w);
}

/* cleaner-offset-checkpoint is Kafka's fourth; nothing writes it before there is compaction, and it
 * has the format of the other three. */
Test(format, a_cleaner_checkpoint_of_kafka_is_read_and_written_alike)
{
    struct log_world w;
    struct checkpoint read;
    world_begin(&w, 1);
    const char text[] = "0\n2\norders 0 1234567890123\norders 1 0\n";
    cr_assert_eq(fs_replace(w.fs, "/data/cleaner-offset-checkpoint", text, sizeof(text) - 1),
                 ERR_OK);
    cr_assert_eq(checkpoint_read(w.fs, "/data/cleaner-offset-checkpoint", &read), ERR_OK);
    cr_assert_eq(read.count, 2);
    cr_assert_eq(checkpoint_find(&read, STR("orders"), 0), 1234567890123);
    cr_assert_eq(checkpoint_write(w.fs, "/data/copy", &read), ERR_OK);
    expect_text(w.fs, "/data/copy", text);
    checkpoint_fini(&read);
    world_end(&w);
}
