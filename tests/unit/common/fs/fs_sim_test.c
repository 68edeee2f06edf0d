/* What survives a crash of the file system in memory, and that every outcome it promises to try is
 * tried: each property is looked at over many seeds. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "fs/fs_sim.h"

enum { SEEDS = 200, SECTORS = 8, SIZE = SECTORS * FS_SIM_SECTOR_BYTES };

static struct fs_file *make(struct fs *fs, const char *path)
{
    struct fs_file *file;
    cr_assert_eq(fs_open(fs, path, FS_WRITE | FS_CREATE, &file), ERR_OK);
    return file;
}

static void fill(struct fs_file *file, char with, size_t size)
{
    char *data = mem_alloc(size);
    memset(data, with, size);
    cr_assert_eq(fs_pwrite(file, data, size, 0), ERR_OK);
    mem_free(data);
}

/* A file of `size` times `with`, durable with its name. */
static struct fs_file *make_durable(struct fs *fs, const char *path, char with, size_t size)
{
    struct fs_file *file = make(fs, path);
    fill(file, with, size);
    cr_assert_eq(fs_sync(file), ERR_OK);
    cr_assert_eq(fs_sync_dir(fs, "/"), ERR_OK);
    return file;
}

static bool exists(struct fs *fs, const char *path)
{
    struct fs_stat st;
    return fs_stat(fs, path, &st) == ERR_OK;
}

/* The content of a file, mem_free. */
static char *content(struct fs *fs, const char *path, size_t *size)
{
    char *data;
    cr_assert_eq(fs_read_all(fs, path, 1 << 20, &data, size), ERR_OK, "%s", path);
    return data;
}

static bool all_are(const char *data, size_t size, char c)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != c) {
            return false;
        }
    }
    return true;
}

Test(fs_sim_crash, keeps_what_was_synced)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        fs_close(make_durable(fs, "/a", 'x', 1000));
        fs_sim_crash(sim);
        size_t size;
        char *data = content(fs, "/a", &size);
        cr_assert_eq(size, 1000);
        cr_assert(all_are(data, size, 'x'));
        mem_free(data);
        fs_sim_free(sim);
    }
}

Test(fs_sim_crash, mixes_old_and_new_by_sectors)
{
    int old = 0;
    int fresh = 0;
    int mixed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        struct fs_file *file = make_durable(fs, "/a", 'x', SIZE);
        fill(file, 'y', SIZE);
        fs_close(file);
        fs_sim_crash(sim);
        size_t size;
        char *data = content(fs, "/a", &size);
        cr_assert_eq(size, SIZE);
        int of_new = 0;
        for (size_t i = 0; i < SECTORS; i++) {
            const char *sector = data + i * FS_SIM_SECTOR_BYTES;
            bool is_new = all_are(sector, FS_SIM_SECTOR_BYTES, 'y');
            cr_assert(is_new || all_are(sector, FS_SIM_SECTOR_BYTES, 'x'), "a torn sector");
            of_new += is_new ? 1 : 0;
        }
        old += of_new == 0;
        fresh += of_new == SECTORS;
        mixed += of_new > 0 && of_new < SECTORS;
        mem_free(data);
        fs_sim_free(sim);
    }
    cr_assert(old > 0 && fresh > 0 && mixed > 0, "old=%d new=%d mixed=%d", old, fresh, mixed);
}

Test(fs_sim_crash, leaves_any_size_and_zeros_between)
{
    int sizes[SECTORS + 1] = {0};
    bool gap = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        struct fs_file *file = make_durable(fs, "/a", 'x', 0);
        fill(file, 'y', SIZE);
        fs_close(file);
        fs_sim_crash(sim);
        size_t size;
        char *data = content(fs, "/a", &size);
        cr_assert_leq(size, SIZE);
        sizes[size / FS_SIM_SECTOR_BYTES]++;
        for (size_t i = 0; i < size; i++) {
            cr_assert(data[i] == 'y' || data[i] == '\0');
            gap = gap || data[i] == '\0';
        }
        mem_free(data);
        fs_sim_free(sim);
    }
    cr_assert(gap);
    for (int i = 0; i <= SECTORS; i++) {
        cr_assert_gt(sizes[i], 0, "never %d sectors", i);
    }
}

Test(fs_sim_crash, may_undo_a_truncation)
{
    bool undone = false;
    bool done = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        struct fs_file *file = make_durable(fs, "/a", 'x', SIZE);
        cr_assert_eq(fs_truncate(file, 100), ERR_OK);
        fs_close(file);
        fs_sim_crash(sim);
        size_t size;
        char *data = content(fs, "/a", &size);
        cr_assert(all_are(data, size, 'x'));
        undone = undone || size == SIZE;
        done = done || size == 100;
        mem_free(data);
        fs_sim_free(sim);
    }
    cr_assert(undone && done);
}

Test(fs_sim_crash, does_not_bring_back_bytes_that_a_synced_truncation_removed)
{
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    struct fs_file *file = make_durable(fs, "/a", 'x', 1000);
    cr_assert_eq(fs_truncate(file, 10), ERR_OK);
    cr_assert_eq(fs_truncate(file, 1000), ERR_OK);
    cr_assert_eq(fs_sync(file), ERR_OK);
    fs_close(file);
    fs_sim_crash(sim);
    size_t size;
    char *data = content(fs, "/a", &size);
    cr_assert_eq(size, 1000);
    cr_assert(all_are(data + 10, 990, '\0'));
    mem_free(data);
    fs_sim_free(sim);
}

Test(fs_sim_crash, may_forget_a_name_although_the_file_was_synced)
{
    int kept = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        struct fs_file *file = make(fs, "/a");
        fill(file, 'x', 10);
        cr_assert_eq(fs_sync(file), ERR_OK);
        fs_close(file);
        fs_sim_crash(sim);
        if (exists(fs, "/a")) {
            size_t size;
            char *data = content(fs, "/a", &size);
            cr_assert(size == 10 && all_are(data, size, 'x'));
            mem_free(data);
            kept++;
        }
        fs_sim_free(sim);
    }
    cr_assert(kept > 0 && kept < SEEDS);
}

Test(fs_sim_crash, renames_whole_or_not_at_all)
{
    int renamed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        fs_close(make_durable(fs, "/a", 'x', 10));
        fs_close(make_durable(fs, "/b", 'y', 10));
        cr_assert_eq(fs_rename(fs, "/a", "/b"), ERR_OK);
        fs_sim_crash(sim);
        size_t size;
        char *data = content(fs, "/b", &size);
        bool done = all_are(data, 10, 'x');
        cr_assert(size == 10 && (done || all_are(data, 10, 'y')));
        cr_assert_neq(done, exists(fs, "/a"));
        renamed += done ? 1 : 0;
        mem_free(data);
        fs_sim_free(sim);
    }
    cr_assert(renamed > 0 && renamed < SEEDS);
}

Test(fs_sim_crash, brings_back_a_removed_file_unless_its_directory_was_synced)
{
    int back = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        fs_close(make_durable(fs, "/a", 'x', 10));
        fs_close(make_durable(fs, "/b", 'y', 10));
        cr_assert_eq(fs_unlink(fs, "/b"), ERR_OK);
        cr_assert_eq(fs_sync_dir(fs, "/"), ERR_OK);
        cr_assert_eq(fs_unlink(fs, "/a"), ERR_OK);
        fs_sim_crash(sim);
        cr_assert(!exists(fs, "/b"));
        back += exists(fs, "/a") ? 1 : 0;
        fs_sim_free(sim);
    }
    cr_assert(back > 0 && back < SEEDS);
}

Test(fs_sim_crash, loses_a_directory_whose_parent_was_not_synced)
{
    int kept = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        cr_assert_eq(fs_mkdir(fs, "/d"), ERR_OK);
        struct fs_file *file = make(fs, "/d/a");
        cr_assert_eq(fs_sync(file), ERR_OK);
        cr_assert_eq(fs_sync_dir(fs, "/d"), ERR_OK);
        fs_close(file);
        fs_sim_crash(sim);
        cr_assert_eq(exists(fs, "/d"), exists(fs, "/d/a"), "the file was durable in it");
        kept += exists(fs, "/d") ? 1 : 0;
        fs_sim_free(sim);
    }
    cr_assert(kept > 0 && kept < SEEDS);
}

/* A partition's directory was lost with everything synced in it, because nothing had synced the
 * directory that it was made in. */
Test(fs_sim_crash, never_loses_a_directory_of_mkdir_all)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        cr_assert_eq(fs_mkdir_all(fs, "/data/t-0"), ERR_OK);
        struct fs_file *file = make(fs, "/data/t-0/a");
        cr_assert_eq(fs_sync(file), ERR_OK);
        cr_assert_eq(fs_sync_dir(fs, "/data/t-0"), ERR_OK);
        fs_close(file);
        fs_sim_crash(sim);
        cr_assert(exists(fs, "/data/t-0/a"));
        fs_sim_free(sim);
    }
}

Test(fs_sim_crash, a_sync_of_one_directory_takes_a_rename_into_it_along)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        cr_assert_eq(fs_mkdir(fs, "/d"), ERR_OK);
        cr_assert_eq(fs_sync_dir(fs, "/"), ERR_OK);
        fs_close(make(fs, "/a"));
        cr_assert_eq(fs_rename(fs, "/a", "/d/b"), ERR_OK);
        cr_assert_eq(fs_sync_dir(fs, "/d"), ERR_OK);
        fs_sim_crash(sim);
        cr_assert(exists(fs, "/d/b"));
        cr_assert(!exists(fs, "/a"));
        fs_sim_free(sim);
    }
}

Test(fs_sim_crash, ends_open_files_and_locks)
{
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    char byte;
    size_t got;
    int64_t size;
    for (int crash = 0; crash < 2; crash++) {
        struct fs_file *file = make_durable(fs, "/a", 'x', 10);
        cr_assert_eq(fs_lock(file), ERR_OK);
        (crash ? fs_sim_crash : fs_sim_kill)(sim);
        cr_assert_eq(fs_pread(file, &byte, 1, 0, &got), ERR_IO);
        cr_assert_eq(fs_pwrite(file, "y", 1, 0), ERR_IO);
        cr_assert_eq(fs_size(file, &size), ERR_IO);
        cr_assert_eq(fs_sync(file), ERR_IO);
        cr_assert_eq(fs_truncate(file, 0), ERR_IO);
        cr_assert_eq(fs_lock(file), ERR_IO);
        struct fs_file *again = make(fs, "/a");
        cr_assert_eq(fs_lock(again), ERR_OK, "crash=%d", crash);
        fs_close(file);
        struct fs_file *other = make(fs, "/a");
        cr_assert_eq(fs_lock(other), ERR_LOCKED, "closing a dead file must not take the lock away");
        fs_close(other);
        fs_close(again);
    }
    fs_sim_free(sim);
}

Test(fs_sim, killing_the_process_keeps_the_page_cache)
{
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    struct fs_file *file = make(fs, "/a");
    fill(file, 'x', 700);
    uint64_t before = fs_sim_digest(sim);
    fs_sim_kill(sim);
    fs_close(file);
    cr_assert_eq(fs_sim_digest(sim), before);
    fs_sim_free(sim);
}

Test(fs_sim, what_a_failed_sync_lost_stays_lost)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct fs_sim *sim = fs_sim_new(seed);
        struct fs *fs = fs_sim_fs(sim);
        struct fs_file *file = make_durable(fs, "/a", 'x', 2 * FS_SIM_SECTOR_BYTES);
        fs_sim_fail_sync(sim, 1);
        cr_assert_eq(fs_sync(file), ERR_OK);
        cr_assert_eq(fs_pwrite(file, "y", 1, 0), ERR_OK);
        cr_assert_eq(fs_sync(file), ERR_IO);
        cr_assert_eq(fs_pwrite(file, "z", 1, FS_SIM_SECTOR_BYTES), ERR_OK);
        cr_assert_eq(fs_sync(file), ERR_OK, "only once");
        fs_close(file);
        fs_sim_crash(sim);
        size_t size;
        char *data = content(fs, "/a", &size);
        cr_assert_eq(data[0], 'x', "the page counted as clean");
        cr_assert_eq(data[FS_SIM_SECTOR_BYTES], 'z');
        mem_free(data);
        fs_sim_free(sim);
    }
}

Test(fs_sim, a_full_disk_takes_what_fits)
{
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    int64_t total;
    int64_t usable;
    int64_t size;
    fs_sim_set_capacity(sim, 1000);
    struct fs_file *a = make(fs, "/a");
    struct fs_file *b = make(fs, "/b");
    fill(a, 'x', 600);
    fill(a, 'y', 600);
    struct iovec parts[] = {{(char[300]){0}, 300}, {(char[300]){0}, 300}};
    cr_assert_eq(fs_pwritev(b, parts, 2, 0), ERR_NO_SPACE);
    cr_assert_eq(fs_size(b, &size), ERR_OK);
    cr_assert_eq(size, 400);
    cr_assert_eq(fs_space(fs, "/", &total, &usable), ERR_OK);
    cr_assert_eq(total, 1000);
    cr_assert_eq(usable, 0);
    cr_assert_eq(fs_unlink(fs, "/a"), ERR_OK);
    cr_assert_eq(fs_pwritev(b, parts, 2, 0), ERR_OK);
    fs_close(a);
    fs_close(b);
    fs_sim_free(sim);
}

static int64_t fixed_time(void *arg)
{
    return *(int64_t *)arg;
}

Test(fs_sim, modification_times_come_from_outside)
{
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    struct fs_stat st;
    int64_t now_ms = 1700000000000;
    fs_sim_set_time(sim, fixed_time, &now_ms);
    struct fs_file *file = make(fs, "/a");
    cr_assert_eq(fs_stat(fs, "/a", &st), ERR_OK);
    cr_assert_eq(st.mtime_ms, now_ms);
    now_ms += 5;
    fill(file, 'x', 1);
    cr_assert_eq(fs_stat(fs, "/a", &st), ERR_OK);
    cr_assert_eq(st.mtime_ms, now_ms);
    fs_close(file);
    fs_sim_free(sim);
}

static uint64_t after_a_crash(uint64_t seed)
{
    struct fs_sim *sim = fs_sim_new(seed);
    struct fs *fs = fs_sim_fs(sim);
    for (int i = 0; i < 20; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/%d", i);
        struct fs_file *file = make(fs, path);
        fill(file, (char)('a' + i), (size_t)(i * 300));
        if (i % 3 == 0) {
            cr_assert_eq(fs_sync(file), ERR_OK);
        }
        if (i == 10) {
            cr_assert_eq(fs_sync_dir(fs, "/"), ERR_OK);
        }
        fs_close(file);
    }
    fs_sim_crash(sim);
    uint64_t digest = fs_sim_digest(sim);
    fs_sim_crash(sim);
    cr_assert_eq(fs_sim_digest(sim), digest, "nothing was left to lose");
    fs_sim_free(sim);
    return digest;
}

Test(fs_sim_crash, is_decided_by_the_seed_alone)
{
    int different = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cr_assert_eq(after_a_crash(seed), after_a_crash(seed));
        different += after_a_crash(seed) != after_a_crash(seed + 1) ? 1 : 0;
    }
    cr_assert_gt(different, 15);
}
