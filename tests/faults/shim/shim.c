/* shim.c: a disk and a clock that misbehave as they are told. LD_PRELOADed into a broker; disk.py
 * gives the orders.
 *
 * FAULTS_ORDERS names a file that is mapped by both sides: an array of 64-bit numbers, enum order
 * below. What is written there holds at once. Only files below FAULTS_FOLDER are touched; without
 * the two variables nothing is.
 *
 *   - room: bytes that may still be written; then a write is cut short and the next ones answer
 *     ENOSPC
 *   - slow_us: each write and each sync takes so much longer
 *   - hang: bits: 1 writes, 2 syncs, 4 reads do not return while their bit is set
 *   - fail_syncs: so many syncs answer EIO, and sync nothing
 *   - clock_ms: is added to the wall clock
 *   - boot: unless 0, the kernel's boot id is another one, made of this number
 *
 * The others are counted here, for the harness to see that a fault has hit: writes, syncs,
 * no_space, failed, how many calls hang at the moment, and how often a wall clock's answer was
 * another one.
 *
 * Descriptors are followed from open() to close(). The calls are those that common/fs and libevent
 * make. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum order {
    ORDER_ROOM,
    ORDER_SLOW_US,
    ORDER_HANG,
    ORDER_FAIL_SYNCS,
    ORDER_CLOCK_MS,
    ORDER_BOOT,
    SEEN_WRITES,
    SEEN_SYNCS,
    SEEN_NO_SPACE,
    SEEN_FAILED,
    SEEN_HANGING,
    SEEN_JUMPED,
    ORDERS
};

enum hang_bit { HANG_WRITES = 1, HANG_SYNCS = 2, HANG_READS = 4 };

#define FDS_MAX      65536
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

static _Atomic int64_t *orders; /* NULL: no orders */
static const char *folder;
static atomic_bool ours[FDS_MAX];

static void find_orders(void) __attribute__((constructor));

static void find_orders(void)
{
    const char *path = getenv("FAULTS_ORDERS");
    folder = getenv("FAULTS_FOLDER");
    if (path == NULL || folder == NULL) {
        return;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *map =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, ORDERS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        perror("shim: the orders cannot be read");
        abort();
    }
    close(fd);
    orders = map;
}

/* The C library's own function of this name. */
static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) {
        abort();
    }
    return function;
}

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))real(#name))

static bool is_ours(int fd)
{
    return orders != NULL && fd >= 0 && fd < FDS_MAX && ours[fd];
}

static void pause_us(int64_t us)
{
    struct timespec length = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&length, NULL);
}

static void maybe_hang(int bit)
{
    if ((orders[ORDER_HANG] & bit) == 0) {
        return;
    }
    orders[SEEN_HANGING]++;
    while ((orders[ORDER_HANG] & bit) != 0) {
        pause_us(2000);
    }
    orders[SEEN_HANGING]--;
}

static void maybe_slow(void)
{
    int64_t us = orders[ORDER_SLOW_US];
    if (us > 0) {
        pause_us(us);
    }
}

/* How many of `size` bytes may be written. */
static size_t take_room(size_t size)
{
    int64_t room = orders[ORDER_ROOM];
    int64_t taken;
    do {
        taken = room < (int64_t)size ? room : (int64_t)size;
    } while (!atomic_compare_exchange_weak(&orders[ORDER_ROOM], &room, room - taken));
    if (taken < (int64_t)size) {
        orders[SEEN_NO_SPACE]++;
    }
    return (size_t)taken;
}

/* Before every write of `size` bytes: how many of them may go on. */
static size_t before_write(size_t size)
{
    orders[SEEN_WRITES]++;
    maybe_hang(HANG_WRITES);
    maybe_slow();
    return take_room(size);
}

/* Before every sync: false when it is to fail. */
static bool before_sync(void)
{
    orders[SEEN_SYNCS]++;
    maybe_hang(HANG_SYNCS);
    maybe_slow();
    int64_t left = orders[ORDER_FAIL_SYNCS];
    while (left > 0 && !atomic_compare_exchange_weak(&orders[ORDER_FAIL_SYNCS], &left, left - 1)) {
    }
    if (left > 0) {
        orders[SEEN_FAILED]++;
    }
    return left <= 0;
}

/* ---- opening and closing */

static int boot_id(void)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%08x-0000-4000-8000-000000000000\n",
                        (unsigned)orders[ORDER_BOOT]);
    int fd = memfd_create("boot_id", MFD_CLOEXEC);
    if (fd >= 0 &&
        (REAL(ssize_t, write, int, const void *, size_t)(fd, text, (size_t)size) != size ||
         lseek(fd, 0, SEEK_SET) != 0)) {
        abort();
    }
    return fd;
}

static bool asks_for_boot_id(const char *path)
{
    return orders != NULL && orders[ORDER_BOOT] != 0 && strcmp(path, BOOT_ID_PATH) == 0;
}

static int opened(int fd, const char *path)
{
    if (fd >= 0 && fd < FDS_MAX && orders != NULL) {
        ours[fd] = strncmp(path, folder, strlen(folder)) == 0;
    }
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (asks_for_boot_id(path)) {
        return boot_id();
    }
    return opened(REAL(int, open, const char *, int, ...)(path, flags, mode), path);
}

FILE *fopen(const char *path, const char *mode)
{
    return asks_for_boot_id(path) ? fdopen(boot_id(), "r")
                                  : REAL(FILE *, fopen, const char *, const char *)(path, mode);
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX) {
        ours[fd] = false;
    }
    return REAL(int, close, int)(fd);
}

/* ---- writing */

ssize_t write(int fd, const void *data, size_t size)
{
    size_t may = is_ours(fd) ? before_write(size) : size;
    if (may == 0 && size > 0) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(ssize_t, write, int, const void *, size_t)(fd, data, may);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    size_t may = is_ours(fd) ? before_write(size) : size;
    if (may == 0 && size > 0) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, may, offset);
}

/* A gathered write that is cut short: its parts one by one, the last one not to its end. */
static ssize_t write_some(int fd, const struct iovec *parts, int count, off_t offset, size_t may)
{
    ssize_t done = 0;
    for (int i = 0; i < count && may > 0; i++) {
        size_t size = parts[i].iov_len < may ? parts[i].iov_len : may;
        ssize_t n = REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, parts[i].iov_base,
                                                                            size, offset + done);
        if (n < 0) {
            return done > 0 ? done : n;
        }
        done += n;
        may -= size;
    }
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (!is_ours(fd)) {
        return REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t)(fd, parts, count,
                                                                             offset);
    }
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    size_t may = before_write(size);
    if (may == size) {
        return REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t)(fd, parts, count,
                                                                             offset);
    }
    if (may == 0) {
        errno = ENOSPC;
        return -1;
    }
    return write_some(fd, parts, count, offset, may);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    if (is_ours(fd) && before_write(0) == 0 && orders[ORDER_ROOM] < size) {
        orders[SEEN_NO_SPACE]++;
        return ENOSPC;
    }
    return REAL(int, posix_fallocate, int, off_t, off_t)(fd, offset, size);
}

int ftruncate(int fd, off_t size)
{
    if (is_ours(fd)) {
        (void)before_write(0);
    }
    return REAL(int, ftruncate, int, off_t)(fd, size);
}

/* ---- syncing */

int fsync(int fd)
{
    if (is_ours(fd) && !before_sync()) {
        errno = EIO;
        return -1;
    }
    return REAL(int, fsync, int)(fd);
}

int fdatasync(int fd)
{
    if (is_ours(fd) && !before_sync()) {
        errno = EIO;
        return -1;
    }
    return REAL(int, fdatasync, int)(fd);
}

int syncfs(int fd)
{
    if (is_ours(fd) && !before_sync()) {
        errno = EIO;
        return -1;
    }
    return REAL(int, syncfs, int)(fd);
}

/* ---- reading: it may hang, and nothing else */

static void before_read(int fd)
{
    if (is_ours(fd)) {
        maybe_hang(HANG_READS);
    }
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    before_read(fd);
    return REAL(ssize_t, pread, int, void *, size_t, off_t)(fd, data, size, offset);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
    before_read(from);
    return REAL(ssize_t, sendfile, int, int, off_t *, size_t)(to, from, offset, size);
}

/* ---- the wall clock */

static void jump(struct timespec *now, int64_t ms)
{
    int64_t ns = now->tv_nsec + ms % 1000 * 1000000;
    now->tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
    now->tv_nsec = (ns + 1000000000) % 1000000000;
    orders[SEEN_JUMPED]++;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = REAL(int, clock_gettime, clockid_t, struct timespec *)(clock, now);
    bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    int64_t ms = is_wall && orders != NULL ? orders[ORDER_CLOCK_MS] : 0; /* once: it may change */
    if (rc == 0 && ms != 0) {
        jump(now, ms);
    }
    return rc;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec precise;
    int rc = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
