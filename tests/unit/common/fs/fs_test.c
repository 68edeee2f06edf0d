/* One suite of behaviour, run against the operating system's files and those in memory: what the
 * fake promises must be what the real one does. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "fs/fs.h"
#include "fs/fs_sim.h"
#include "fs/fs_watch.h"
#include "rt/clock.h"

struct world {
    struct fs *fs;
    struct fs_sim *sim; /* NULL: the real one */
    char root[64];
};

static char *path_of(const struct world *w, const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", w->root, name);
    return path;
}

/* Define the test for both, and for what looks on while they are used. */
#define BOTH(name)                                                                                 \
    static void check_##name(struct world *w);                                                     \
    Test(fs_posix, name)                                                                           \
    {                                                                                              \
        run_posix(check_##name);                                                                   \
    }                                                                                              \
    Test(fs_sim, name)                                                                             \
    {                                                                                              \
        run_sim(check_##name, false);                                                              \
    }                                                                                              \
    Test(fs_watch, name)                                                                           \
    {                                                                                              \
        run_sim(check_##name, true);                                                               \
    }                                                                                              \
    static void check_##name(struct world *w)

static void run_posix(void (*check)(struct world *w))
{
    struct world w = {.fs = fs_posix(), .root = "/tmp/barnabas-fs-XXXXXX"};
    cr_assert_not_null(mkdtemp(w.root));
    check(&w);
    cr_assert_eq(fs_remove_tree(w.fs, w.root), ERR_OK);
    cr_assert_neq(access(w.root, F_OK), 0);
}

static void run_sim(void (*check)(struct world *w), bool watched)
{
    struct world w = {.sim = fs_sim_new(1), .root = "/data"};
    struct fs_watch *watch = fs_watch_new(fs_sim_fs(w.sim), clock_system());
    struct fs_watch_call calls[FS_WATCH_SLOTS];
    w.fs = watched ? fs_watch_fs(watch) : fs_sim_fs(w.sim);
    cr_assert_eq(fs_mkdir(w.fs, w.root), ERR_OK);
    check(&w);
    cr_assert_eq(fs_remove_tree(w.fs, w.root), ERR_OK);
    cr_assert_eq(fs_watch_look(watch, calls), 0, "every call was left");
    fs_watch_free(watch);
    fs_sim_free(w.sim);
}

static struct fs_file *make(struct world *w, const char *name, const char *text)
{
    struct fs_file *file;
    cr_assert_eq(fs_open(w->fs, path_of(w, name), FS_WRITE | FS_CREATE | FS_TRUNCATE, &file),
                 ERR_OK);
    cr_assert_eq(fs_pwrite(file, text, strlen(text), 0), ERR_OK);
    return file;
}

static void make_closed(struct world *w, const char *name, const char *text)
{
    fs_close(make(w, name, text));
}

static void expect(struct world *w, const char *name, const char *text)
{
    char *data;
    size_t size;
    cr_assert_eq(fs_read_all(w->fs, path_of(w, name), 1 << 20, &data, &size), ERR_OK, "%s", name);
    cr_assert_str_eq(data, text);
    cr_assert_eq(size, strlen(text));
    mem_free(data);
}

static bool exists(struct world *w, const char *name)
{
    struct fs_stat st;
    enum err err = fs_stat(w->fs, path_of(w, name), &st);
    cr_assert(err == ERR_OK || err == ERR_NOT_FOUND);
    return err == ERR_OK;
}

BOTH(open_says_what_is_there)
{
    struct fs_file *file;
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_READ, &file), ERR_NOT_FOUND);
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_WRITE, &file), ERR_NOT_FOUND);
    cr_assert_eq(fs_open(w->fs, path_of(w, "x/a"), FS_WRITE | FS_CREATE, &file), ERR_NOT_FOUND);
    make_closed(w, "a", "one");
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &file),
                 ERR_EXISTS);
    cr_assert_eq(fs_open(w->fs, path_of(w, "a/b"), FS_WRITE | FS_CREATE, &file), ERR_NOT_FOUND);
    cr_assert_eq(fs_open(w->fs, path_of(w, ""), FS_WRITE, &file), ERR_IO, "a directory");
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_WRITE | FS_CREATE, &file), ERR_OK);
    fs_close(file);
    expect(w, "a", "one");
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_WRITE | FS_TRUNCATE, &file), ERR_OK);
    fs_close(file);
    expect(w, "a", "");
}

BOTH(a_file_opened_for_reading_cannot_be_written)
{
    struct fs_file *file;
    make_closed(w, "a", "one");
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_READ, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, "x", 1, 0), ERR_IO);
    cr_assert_eq(fs_truncate(file, 0), ERR_INVALID);
    fs_close(file);
    expect(w, "a", "one");
}

BOTH(gathered_writes_and_reads_meet_at_offsets)
{
    char text[32];
    size_t got;
    struct iovec parts[] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
    struct fs_file *file = make(w, "a", "0123456789");
    cr_assert_eq(fs_pwritev(file, parts, 3, 8), ERR_OK);
    cr_assert_eq(fs_pread(file, text, sizeof(text), 6, &got), ERR_OK);
    cr_assert_eq(got, 8);
    cr_assert_eq(memcmp(text, "67abcdef", 8), 0);
    cr_assert_eq(fs_pread(file, text, 3, 7, &got), ERR_OK);
    cr_assert_eq(got, 3);
    cr_assert_eq(fs_pread(file, text, 3, 14, &got), ERR_OK);
    cr_assert_eq(got, 0, "at the end");
    cr_assert_eq(fs_pread(file, text, 3, 100, &got), ERR_OK);
    cr_assert_eq(got, 0, "behind the end");
    cr_assert_eq(fs_pread(file, text, 3, -1, &got), ERR_INVALID);
    cr_assert_eq(fs_pwrite(file, text, 3, -1), ERR_INVALID);
    fs_close(file);
}

BOTH(a_gap_is_zeros)
{
    char text[8];
    size_t got;
    int64_t size;
    struct fs_file *file = make(w, "a", "x");
    cr_assert_eq(fs_pwrite(file, "y", 1, 5), ERR_OK);
    cr_assert_eq(fs_size(file, &size), ERR_OK);
    cr_assert_eq(size, 6);
    cr_assert_eq(fs_pread(file, text, sizeof(text), 0, &got), ERR_OK);
    cr_assert_eq(got, 6);
    cr_assert_eq(memcmp(text, "x\0\0\0\0y", 6), 0);
    fs_close(file);
}

BOTH(truncate_cuts_and_extends_with_zeros)
{
    char text[8];
    size_t got;
    struct fs_file *file = make(w, "a", "abcdef");
    cr_assert_eq(fs_truncate(file, 2), ERR_OK);
    expect(w, "a", "ab");
    cr_assert_eq(fs_truncate(file, 4), ERR_OK);
    cr_assert_eq(fs_pread(file, text, sizeof(text), 0, &got), ERR_OK);
    cr_assert_eq(got, 4);
    cr_assert_eq(memcmp(text, "ab\0\0", 4), 0);
    cr_assert_eq(fs_truncate(file, -1), ERR_INVALID);
    fs_close(file);
}

BOTH(stat_tells_size_kind_and_time)
{
    struct fs_stat st;
    make_closed(w, "a", "abc");
    cr_assert_eq(fs_set_mtime(w->fs, path_of(w, "a"), 1700000000123), ERR_OK);
    cr_assert_eq(fs_stat(w->fs, path_of(w, "a"), &st), ERR_OK);
    cr_assert_eq(st.size_bytes, 3);
    cr_assert_eq(st.mtime_ms, 1700000000123);
    cr_assert(!st.is_dir);
    cr_assert_eq(fs_stat(w->fs, w->root, &st), ERR_OK);
    cr_assert(st.is_dir);
    cr_assert_eq(fs_stat(w->fs, path_of(w, "a/b"), &st), ERR_NOT_FOUND);
    cr_assert_eq(fs_set_mtime(w->fs, path_of(w, "b"), 1), ERR_NOT_FOUND);
}

BOTH(a_write_moves_the_modification_time)
{
    struct fs_stat st;
    struct fs_file *file = make(w, "a", "abc");
    cr_assert_eq(fs_set_mtime(w->fs, path_of(w, "a"), 0), ERR_OK);
    cr_assert_eq(fs_pwrite(file, "x", 1, 0), ERR_OK);
    cr_assert_eq(fs_stat(w->fs, path_of(w, "a"), &st), ERR_OK);
    cr_assert_gt(st.mtime_ms, 0);
    fs_close(file);
}

BOTH(rename_replaces_files_and_empty_directories)
{
    make_closed(w, "a", "new");
    make_closed(w, "b", "old");
    cr_assert_eq(fs_rename(w->fs, path_of(w, "a"), path_of(w, "b")), ERR_OK);
    expect(w, "b", "new");
    cr_assert(!exists(w, "a"));
    cr_assert_eq(fs_rename(w->fs, path_of(w, "b"), path_of(w, "b")), ERR_OK);
    expect(w, "b", "new");
    cr_assert_eq(fs_rename(w->fs, path_of(w, "a"), path_of(w, "c")), ERR_NOT_FOUND);
    cr_assert_eq(fs_rename(w->fs, path_of(w, "b"), path_of(w, "x/y")), ERR_NOT_FOUND);

    cr_assert_eq(fs_mkdir_all(w->fs, path_of(w, "d/e")), ERR_OK);
    make_closed(w, "d/e/f", "deep");
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "g")), ERR_OK);
    cr_assert_eq(fs_rename(w->fs, path_of(w, "d"), path_of(w, "g")), ERR_OK);
    expect(w, "g/e/f", "deep");
    cr_assert_eq(fs_rename(w->fs, path_of(w, "g"), path_of(w, "g/e/h")), ERR_INVALID,
                 "into itself");
    cr_assert_eq(fs_rename(w->fs, path_of(w, "b"), path_of(w, "g")), ERR_IO, "onto a directory");
    cr_assert_eq(fs_rename(w->fs, path_of(w, "g"), path_of(w, "b")), ERR_NOT_FOUND, "onto a file");
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "i")), ERR_OK);
    cr_assert_eq(fs_rename(w->fs, path_of(w, "i"), path_of(w, "g")), ERR_EXISTS, "not empty");
}

BOTH(an_open_file_outlives_its_name)
{
    char text[8];
    size_t got;
    struct fs_file *file = make(w, "a", "abc");
    cr_assert_eq(fs_unlink(w->fs, path_of(w, "a")), ERR_OK);
    cr_assert(!exists(w, "a"));
    make_closed(w, "a", "another");
    cr_assert_eq(fs_pread(file, text, sizeof(text), 0, &got), ERR_OK);
    cr_assert_eq(got, 3);
    cr_assert_eq(memcmp(text, "abc", 3), 0);
    fs_close(file);
}

BOTH(unlink_mkdir_and_rmdir_mind_what_is_there)
{
    make_closed(w, "a", "abc");
    cr_assert_eq(fs_unlink(w->fs, path_of(w, "b")), ERR_NOT_FOUND);
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "a")), ERR_EXISTS);
    cr_assert_eq(fs_rmdir(w->fs, path_of(w, "a")), ERR_NOT_FOUND, "no directory");
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "d")), ERR_OK);
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "d")), ERR_EXISTS);
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "x/y")), ERR_NOT_FOUND);
    cr_assert_eq(fs_unlink(w->fs, path_of(w, "d")), ERR_IO, "a directory");
    make_closed(w, "d/a", "abc");
    cr_assert_eq(fs_rmdir(w->fs, path_of(w, "d")), ERR_EXISTS, "not empty");
    cr_assert_eq(fs_unlink(w->fs, path_of(w, "d/a")), ERR_OK);
    cr_assert_eq(fs_rmdir(w->fs, path_of(w, "d")), ERR_OK);
    cr_assert_eq(fs_rmdir(w->fs, path_of(w, "d")), ERR_NOT_FOUND);
}

struct seen {
    struct buf text;
    int left; /* entries until the callback has had enough; -1: never */
};

static enum err on_entry(void *arg, const char *name, bool is_dir)
{
    struct seen *seen = arg;
    buf_printf(&seen->text, "%s%s ", name, is_dir ? "/" : "");
    return seen->left-- == 0 ? ERR_TIMEOUT : ERR_OK;
}

BOTH(list_names_everything_once)
{
    struct seen seen = {.left = -1};
    make_closed(w, "a", "abc");
    cr_assert_eq(fs_mkdir(w->fs, path_of(w, "d")), ERR_OK);
    cr_assert_eq(fs_list(w->fs, w->root, on_entry, &seen), ERR_OK);
    cr_assert_eq(seen.text.size, strlen("a d/ "));
    cr_assert(memmem(seen.text.data, seen.text.size, "a ", 2) != NULL);
    cr_assert(memmem(seen.text.data, seen.text.size, "d/ ", 3) != NULL);
    buf_clear(&seen.text);
    seen.left = 0;
    cr_assert_eq(fs_list(w->fs, w->root, on_entry, &seen), ERR_TIMEOUT);
    cr_assert_leq(seen.text.size, 3, "only one");
    cr_assert_eq(fs_list(w->fs, path_of(w, "x"), on_entry, &seen), ERR_NOT_FOUND);
    cr_assert_eq(fs_list(w->fs, path_of(w, "a"), on_entry, &seen), ERR_NOT_FOUND);
    buf_fini(&seen.text);
}

BOTH(a_lock_excludes_until_it_is_closed)
{
    struct fs_file *other;
    struct fs_file *file = make(w, "lock", "");
    cr_assert_eq(fs_lock(file), ERR_OK);
    cr_assert_eq(fs_lock(file), ERR_OK, "its own");
    cr_assert_eq(fs_open(w->fs, path_of(w, "lock"), FS_WRITE, &other), ERR_OK);
    cr_assert_eq(fs_lock(other), ERR_LOCKED);
    fs_close(file);
    cr_assert_eq(fs_lock(other), ERR_OK);
    fs_close(other);
}

/* What a process of Kafka does with the file, and whether it succeeds: Java's locks are fcntl()'s.
 */
static bool java_locks(const char *path, int hold_until, int held)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool locked = fd >= 0 && fcntl(fd, F_SETLK, &whole) == 0;
    char byte = locked ? 1 : 0;
    if (held >= 0 && write(held, &byte, 1) == 1) {
        (void)!read(hold_until, &byte, 1); /* ends when the other end is closed */
    }
    return locked;
}

/* In a process of its own: these locks are a process's. */
static bool java_can_lock(const char *path)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(java_locks(path, -1, -1) ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void check_kafka_lock(struct world *w)
{
    int hold[2];
    int held[2];
    char byte = 0;
    struct fs_file *file = make(w, "lock", "");
    cr_assert(java_can_lock(path_of(w, "lock")));
    cr_assert_eq(pipe(hold), 0);
    cr_assert_eq(pipe(held), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(hold[1]);
        _exit(java_locks(path_of(w, "lock"), hold[0], held[1]) ? 0 : 1);
    }
    cr_assert_eq(read(held[0], &byte, 1), 1);
    cr_assert_eq(byte, 1);
    cr_assert_eq(fs_lock(file), ERR_LOCKED, "Kafka has it");
    close(hold[1]);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    close(hold[0]);
    close(held[0]);
    close(held[1]);
    cr_assert_eq(fs_lock(file), ERR_OK);
    cr_assert_not(java_can_lock(path_of(w, "lock")), "Kafka is to be kept away, too");
    fs_close(file);
}

/* A Kafka broker and one of ours wrote to the same log directory at the same time: flock() and
 * fcntl() know nothing of each other. */
Test(fs_posix, a_lock_is_kafkas_too)
{
    run_posix(check_kafka_lock);
}

/* ---- what is in memory: the kernel decides, and changes its mind when it likes. So each claim is
 * held against what it says by another call, before and after: where it said the same twice, the
 * claim is right or wrong. That call reads nothing; to be asked whether a byte can be had without
 * waiting makes the kernel begin to read it. */

enum { FILE_BYTES_MAX = 4 << 20, PAGES_MAX = FILE_BYTES_MAX / 4096 + 1 };

/* Since Linux 6.5, where nothing forbids it. */
static bool counts_pages(void)
{
    return syscall(451, -1, NULL, NULL, 0) == -1 && errno == EBADF;
}

static bool tells_without_waiting(struct fs_file *file)
{
    char byte;
    struct iovec part = {&byte, 1};
    return preadv2(fs_fd(file), &part, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN;
}

/* All of the range; of an older kernel only both ends are known. */
static bool is_in_memory(struct fs_file *file, int64_t offset, size_t size)
{
    static unsigned char pages[PAGES_MAX];
    int64_t page = sysconf(_SC_PAGESIZE);
    int64_t from = offset / page * page;
    size_t span = (size_t)(offset - from) + size;
    size_t count = (span + (size_t)page - 1) / (size_t)page;
    void *at = mmap(NULL, span, PROT_READ, MAP_SHARED, fs_fd(file), from);
    cr_assert_neq(at, MAP_FAILED);
    cr_assert_eq(mincore(at, span, pages), 0);
    cr_assert_eq(munmap(at, span), 0);
    bool all = (pages[0] & 1) != 0 && (pages[count - 1] & 1) != 0;
    bool counts = counts_pages();
    for (size_t i = 0; i < count && counts; i++) {
        all = all && (pages[i] & 1) != 0;
    }
    return all;
}

static void expect_known(struct fs_file *file, int64_t offset, size_t size)
{
    bool before = is_in_memory(file, offset, size);
    bool cached = fs_cached(file, offset, size);
    if (before == is_in_memory(file, offset, size)) {
        cr_assert_eq(cached, before, "%zu bytes at %lld", size, (long long)offset);
    }
}

/* `size` bytes of one page. */
static void expect_read_if_there(struct fs_file *file, int64_t offset, size_t size)
{
    uint8_t data[4096];
    size_t got;
    bool before = is_in_memory(file, offset, size);
    enum err err = fs_pread_cached(file, data, size, offset, &got);
    if (before == is_in_memory(file, offset, size)) {
        cr_assert_eq(err, before ? ERR_OK : ERR_AGAIN);
    }
    cr_assert_eq(got, err == ERR_OK ? size : 0);
}

BOTH(syncs_and_space_answer)
{
    int64_t total;
    int64_t usable;
    struct fs_file *file = make(w, "a", "abc");
    cr_assert_eq(fs_sync(file), ERR_OK);
    cr_assert_eq(fs_sync_dir(w->fs, w->root), ERR_OK);
    cr_assert_eq(fs_sync_dir(w->fs, path_of(w, "x")), ERR_NOT_FOUND);
    cr_assert_eq(fs_sync_dir(w->fs, path_of(w, "a")), ERR_NOT_FOUND);
    cr_assert_eq(fs_space(w->fs, w->root, &total, &usable), ERR_OK);
    cr_assert_gt(usable, 0);
    cr_assert_geq(total, usable);
    cr_assert_eq(fs_space(w->fs, path_of(w, "x"), &total, &usable), ERR_NOT_FOUND);
    cr_assert_eq(fs_fd(file) >= 0, w->sim == NULL, "only the real one has descriptors");
    if (w->sim != NULL) {
        cr_assert(fs_cached(file, 0, 3));
    } else {
        expect_known(file, 0, 3);
    }
    fs_close(file);
}

BOTH(replace_leaves_the_new_file_only)
{
    make_closed(w, "a", "a longer text than the next");
    make_closed(w, "a.tmp", "left behind by a crash, also longer");
    cr_assert_eq(fs_replace(w->fs, path_of(w, "a"), "next", 4), ERR_OK);
    expect(w, "a", "next");
    cr_assert(!exists(w, "a.tmp"));
    cr_assert_eq(fs_replace(w->fs, path_of(w, "x/a"), "next", 4), ERR_NOT_FOUND);
}

BOTH(read_all_refuses_what_is_too_large)
{
    char *data;
    size_t size;
    make_closed(w, "a", "abcd");
    cr_assert_eq(fs_read_all(w->fs, path_of(w, "a"), 4, &data, &size), ERR_OK);
    mem_free(data);
    cr_assert_eq(fs_read_all(w->fs, path_of(w, "a"), 3, &data, &size), ERR_INVALID);
    cr_assert_eq(fs_read_all(w->fs, path_of(w, "b"), 3, &data, &size), ERR_NOT_FOUND);
}

BOTH(mkdir_all_makes_parents_and_takes_what_is_there)
{
    cr_assert_eq(fs_mkdir_all(w->fs, path_of(w, "d/e/f")), ERR_OK);
    cr_assert(exists(w, "d/e/f"));
    cr_assert_eq(fs_mkdir_all(w->fs, path_of(w, "d/e/f")), ERR_OK);
    make_closed(w, "a", "abc");
    cr_assert_eq(fs_mkdir_all(w->fs, path_of(w, "a")), ERR_EXISTS);
    cr_assert_eq(fs_remove_tree(w->fs, path_of(w, "d")), ERR_OK);
    cr_assert(!exists(w, "d"));
    cr_assert_eq(fs_remove_tree(w->fs, path_of(w, "d")), ERR_OK, "absent is fine");
}

BOTH(what_is_in_memory_is_read_without_waiting)
{
    uint8_t data[8];
    size_t got;
    struct fs_file *file = make(w, "a", "abcdef");
    cr_assert_eq(fs_pread_cached(file, data, 3, 1, &got), ERR_OK);
    cr_assert_eq(got, 3);
    cr_assert_eq(memcmp(data, "bcd", 3), 0);
    cr_assert_eq(fs_pread_cached(file, data, sizeof(data), 4, &got), ERR_OK);
    cr_assert_eq(got, 2, "the end of the file");
    cr_assert_eq(fs_pread_cached(file, data, sizeof(data), 6, &got), ERR_OK);
    cr_assert_eq(got, 0);
    fs_close(file);
}

enum { COLD_BYTES = FILE_BYTES_MAX, HOLE_AT = 1 << 20, HOLE_BYTES = 2 << 20, APART = 128 << 10 };

/* A synced file, of which a part has been dropped from the page cache, as far as the kernel will.
 * NULL, and closed: in /tmp all files are always in memory, or nobody can tell. */
static struct fs_file *make_cold(struct world *w, int64_t from, int64_t size)
{
    struct fs_file *file;
    uint8_t *data = mem_zalloc(COLD_BYTES, 1);
    cr_assert_eq(fs_open(w->fs, path_of(w, "a"), FS_WRITE | FS_CREATE, &file), ERR_OK);
    cr_assert_eq(fs_pwrite(file, data, COLD_BYTES, 0), ERR_OK);
    cr_assert_eq(fs_sync(file), ERR_OK);
    mem_free(data);
    bool tells = tells_without_waiting(file);
    cr_assert_eq(posix_fadvise(fs_fd(file), from, size, POSIX_FADV_DONTNEED), 0);
    if (!tells || is_in_memory(file, from, (size_t)size)) {
        fs_close(file);
        return NULL;
    }
    return file;
}

static bool skips;

/* Skips the test, when its files are gone. */
static void run_cold(void (*check)(struct world *w))
{
    run_posix(check);
    if (skips) {
        cr_skip_test("files in /tmp are always in memory, or the kernel does not tell");
    }
}

static void what_is_cold(struct world *w)
{
    static uint8_t data[COLD_BYTES];
    size_t got;
    struct fs_file *file = make_cold(w, 0, COLD_BYTES);
    skips = file == NULL;
    for (int read = 0; read < 2 && !skips; read++) {
        expect_known(file, 0, COLD_BYTES);
        expect_known(file, APART, 1);
        expect_known(file, 2 * APART - 1, 2); /* of two pages */
        expect_known(file, 3 * APART - 1, 10000);
        expect_read_if_there(file, 4 * APART, 100);
        cr_assert_eq(fs_pread(file, data, COLD_BYTES, 0, &got), ERR_OK);
    }
    fs_close(file);
}

Test(fs_posix, what_is_cold_is_known)
{
    run_cold(what_is_cold);
}

/* What was just written is taken to be in memory without asking; not what was cut off, and has come
 * back as a hole, which no page is of. */
static void a_cut(struct world *w)
{
    uint8_t *data = mem_zalloc(HOLE_BYTES, 1);
    struct fs_file *file = make(w, "a", "");
    cr_assert_eq(fs_pwrite(file, data, HOLE_BYTES, 0), ERR_OK);
    mem_free(data);
    skips = !tells_without_waiting(file);
    if (!skips) {
        expect_known(file, 0, HOLE_BYTES);
        cr_assert_eq(fs_truncate(file, 0), ERR_OK); /* else the kernel may keep large pages */
        cr_assert_eq(fs_truncate(file, HOLE_BYTES), ERR_OK);
        expect_known(file, 0, HOLE_BYTES);
        expect_known(file, HOLE_AT, 1);
    }
    fs_close(file);
}

Test(fs_posix, what_was_cut_off_is_not_fresh)
{
    run_cold(a_cut);
}

/* Written out and dropped behind our back: it is soon known to be cold. */
static void a_moment_later(struct world *w)
{
    uint8_t *data = mem_zalloc(COLD_BYTES, 1);
    struct fs_file *file = make(w, "a", "");
    cr_assert_eq(fs_pwrite(file, data, COLD_BYTES, 0), ERR_OK);
    mem_free(data);
    cr_assert_eq(fdatasync(fs_fd(file)), 0);
    skips = !tells_without_waiting(file);
    cr_assert_eq(posix_fadvise(fs_fd(file), 0, COLD_BYTES, POSIX_FADV_DONTNEED), 0);
    skips = skips || is_in_memory(file, 0, COLD_BYTES);
    while (!skips && fs_cached(file, 0, COLD_BYTES)) {
        sched_yield();
    }
    fs_close(file);
}

Test(fs_posix, what_was_fresh_is_asked_about_a_moment_later, .timeout = 60)
{
    run_cold(a_moment_later);
}

/* Both ends are in memory, the middle is not: a loop that sent this would stand still. */
static void a_cold_middle(struct world *w)
{
    struct fs_file *file = make_cold(w, HOLE_AT, HOLE_BYTES);
    skips = file == NULL || !counts_pages();
    if (!skips) {
        expect_known(file, 0, COLD_BYTES);
    }
    fs_close(file);
}

Test(fs_posix, a_cold_middle_is_seen)
{
    run_cold(a_cold_middle);
}
