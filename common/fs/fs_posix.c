/* fs_posix.c: the operating system's files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/must.h"
#include "fs/fs.h"
#include "rt/clock.h"

enum {
    FILE_MODE = 0644,
    DIR_MODE = 0755,
    PAGE_BYTES =
        4096, /* or more: then more is asked for than there is, and all of it counts as cold */
    SYS_CACHESTAT = 451,
    FRESH_MIN_BYTES = 16 * 1024, /* smaller writes begin no note of what is fresh */
    FRESH_HALF_BYTES = 8 * 1024 * 1024 /* the note covers up to twice as much ... */,
    FRESH_HALF_MS = 500, /* ... and three times as long, once that time is over */
};

/* What was written last, and not synced, is in memory without asking: its pages cannot leave before
 * the kernel has written them out and then needs their memory, within this short time. It is in two
 * halves, of which the older one is dropped. One thread writes, others look meanwhile: what they
 * put together of two states is at worst a little older. */
struct fresh {
    _Atomic int64_t from;
    _Atomic int64_t half; /* written at half_ms or later */
    _Atomic int64_t half_ms;
    _Atomic int64_t end;
};

struct posix_file {
    struct fs_file file; /* first */
    int fd;
    _Atomic(struct fresh *) fresh; /* NULL until something large is written */
};

static int fd_of(struct fs_file *file)
{
    return ((struct posix_file *)file)->fd;
}

static enum err result(int rc)
{
    return rc == 0 ? ERR_OK : err_from_errno(errno);
}

static enum err posix_open(struct fs *fs, const char *path, int flags, struct fs_file **out)
{
    int how = O_CLOEXEC | ((flags & FS_WRITE) != 0 ? O_RDWR : O_RDONLY);
    how |= (flags & FS_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    how |= (flags & FS_TRUNCATE) != 0 ? O_TRUNC : 0;
    int fd = open(path, how, FILE_MODE);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    struct posix_file *file = mem_new(struct posix_file);
    file->file.fs = fs;
    file->fd = fd;
    *out = &file->file;
    return ERR_OK;
}

static void posix_close(struct fs_file *file)
{
    close(fd_of(file));
    mem_free(atomic_load(&((struct posix_file *)file)->fresh));
    mem_free(file);
}

/* ---- what is fresh ---- */

static void fresh_begin(struct fresh *fresh, int64_t offset, int64_t now_ms)
{
    atomic_store(&fresh->end, offset);
    atomic_store(&fresh->from, offset);
    atomic_store(&fresh->half, offset);
    atomic_store(&fresh->half_ms, now_ms);
}

static void fresh_written(struct fs_file *file, int64_t offset, size_t size)
{
    struct posix_file *posix = (struct posix_file *)file;
    struct fresh *fresh = atomic_load(&posix->fresh);
    if (fresh == NULL && size < FRESH_MIN_BYTES) {
        return;
    }
    int64_t now_ms = clock_mono_ms(clock_system());
    if (fresh == NULL) {
        fresh = mem_new(struct fresh);
        fresh_begin(fresh, offset, now_ms);
        atomic_store(&posix->fresh, fresh);
    }
    int64_t age_ms = now_ms - atomic_load(&fresh->half_ms);
    if (offset != atomic_load(&fresh->end) || age_ms > 2 * FRESH_HALF_MS) {
        fresh_begin(fresh, offset, now_ms);
    } else if (age_ms > FRESH_HALF_MS || offset - atomic_load(&fresh->half) > FRESH_HALF_BYTES) {
        atomic_store(&fresh->from, atomic_load(&fresh->half));
        atomic_store(&fresh->half, offset);
        atomic_store(&fresh->half_ms, now_ms);
    }
    atomic_store_explicit(&fresh->end, offset + (int64_t)size, memory_order_release);
}

/* What is clean, or cut off, may be gone. */
static void fresh_end(struct fs_file *file)
{
    struct fresh *fresh = atomic_load(&((struct posix_file *)file)->fresh);
    if (fresh != NULL) {
        atomic_store(&fresh->end, 0);
    }
}

static bool is_fresh(struct fs_file *file, int64_t offset, size_t size)
{
    const struct fresh *fresh = atomic_load(&((struct posix_file *)file)->fresh);
    return fresh != NULL && offset + (int64_t)size <= atomic_load(&fresh->end) &&
           offset >= atomic_load(&fresh->from) &&
           clock_mono_ms(clock_system()) - atomic_load(&fresh->half_ms) <= FRESH_HALF_MS;
}

/* ---- reading and writing ---- */

static enum err posix_pread(struct fs_file *file, void *data, size_t size, int64_t offset,
                            size_t *got)
{
    uint8_t *to = data;
    *got = 0;
    while (*got < size) {
        ssize_t n = pread(fd_of(file), to + *got, size - *got, offset + (int64_t)*got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_from_errno(errno);
        }
        if (n == 0) {
            break;
        }
        *got += (size_t)n;
    }
    return ERR_OK;
}

/* A file system that cannot tell whether it would wait is read as ever. */
static enum err posix_pread_cached(struct fs_file *file, void *data, size_t size, int64_t offset,
                                   size_t *got)
{
    struct iovec part = {data, size};
    ssize_t n = preadv2(fd_of(file), &part, 1, offset, RWF_NOWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        *got = 0;
        return ERR_AGAIN;
    }
    if (n < 0) {
        return posix_pread(file, data, size, offset, got);
    }
    *got = (size_t)n;
    return ERR_OK;
}

/* What is left of a gathered write after `done` bytes, one part at a time. */
static enum err write_rest(int fd, const struct iovec *parts, int count, size_t done,
                           int64_t offset)
{
    for (int i = 0; i < count; i++) {
        if (done >= parts[i].iov_len) {
            done -= parts[i].iov_len;
            offset += (int64_t)parts[i].iov_len;
            continue;
        }
        const uint8_t *data = parts[i].iov_base;
        size_t at = done;
        done = 0;
        while (at < parts[i].iov_len) {
            ssize_t n = pwrite(fd, data + at, parts[i].iov_len - at, offset + (int64_t)at);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                return n == 0 ? ERR_NO_SPACE : err_from_errno(errno);
            }
            at += (size_t)n;
        }
        offset += (int64_t)parts[i].iov_len;
    }
    return ERR_OK;
}

static enum err posix_pwritev(struct fs_file *file, const struct iovec *parts, int count,
                              int64_t offset)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    ssize_t n = count == 1 ? pwrite(fd_of(file), parts[0].iov_base, size, offset)
                           : pwritev(fd_of(file), parts, count, offset);
    if (n < 0 && errno != EINTR) {
        return err_from_errno(errno);
    }
    size_t done = n > 0 ? (size_t)n : 0;
    fresh_written(file, offset, done);
    return done == size ? ERR_OK : write_rest(fd_of(file), parts, count, done, offset);
}

static enum err posix_size(struct fs_file *file, int64_t *size_bytes)
{
    struct stat st;
    if (fstat(fd_of(file), &st) != 0) {
        return err_from_errno(errno);
    }
    *size_bytes = st.st_size;
    return ERR_OK;
}

static enum err posix_sync(struct fs_file *file)
{
    fresh_end(file);
    return result(fdatasync(fd_of(file)));
}

/* syncfs() tells of errors since Linux 5.8; before, it would be a promise without a ground. */
static bool syncfs_reports(void)
{
    static _Atomic int known; /* 0: not asked; 1: no; 2: yes */
    if (atomic_load(&known) == 0) {
        struct utsname name;
        int major = 0;
        int minor = 0;
        bool read = uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2;
        atomic_store(&known, read && (major > 5 || (major == 5 && minor >= 8)) ? 2 : 1);
    }
    return atomic_load(&known) == 2;
}

static enum err posix_sync_all(struct fs_file *file)
{
    return syncfs_reports() ? result(syncfs(fd_of(file))) : ERR_UNSUPPORTED_VERSION;
}

static enum err posix_truncate(struct fs_file *file, int64_t size_bytes)
{
    fresh_end(file);
    return result(ftruncate(fd_of(file), size_bytes));
}

/* Can one byte be read without waiting for the disk? A file system that cannot tell counts as yes.
 */
static bool byte_cached(int fd, int64_t offset)
{
    uint8_t byte;
    struct iovec part = {&byte, 1};
    ssize_t n = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
    return n >= 0 || errno != EAGAIN;
}

/* The C library knows neither yet. */
struct range_of_pages {
    uint64_t offset;
    uint64_t size;
};

struct pages_in_cache {
    uint64_t cached;
    uint64_t dirty;
    uint64_t written_back;
    uint64_t evicted;
    uint64_t evicted_lately;
};

/* Are there pages in memory for all of it? They may still be on their way from the disk. */
static bool pages_cached(int fd, int64_t offset, size_t size)
{
    static _Atomic bool missing; /* the kernel is older than 6.5 */
    struct range_of_pages range = {(uint64_t)offset, size};
    struct pages_in_cache pages = {0};
    if (atomic_load_explicit(&missing, memory_order_relaxed)) {
        return true;
    }
    if (syscall(SYS_CACHESTAT, fd, &range, &pages, 0) != 0) {
        atomic_store_explicit(&missing, errno == ENOSYS, memory_order_relaxed);
        return true;
    }
    uint64_t first = range.offset / PAGE_BYTES;
    uint64_t last = (range.offset + range.size - 1) / PAGE_BYTES;
    return pages.cached >= last - first + 1;
}

/* The pages are there, and the first and the last have arrived: a disk is read in order. Of two
 * pages the first and the last are all; at the end of a log that is what is asked for. */
static bool posix_cached(struct fs_file *file, int64_t offset, size_t size)
{
    int fd = fd_of(file);
    if (size == 0 || is_fresh(file, offset, size)) {
        return true;
    }
    int64_t last = offset + (int64_t)size - 1;
    int64_t pages_apart = last / PAGE_BYTES - offset / PAGE_BYTES;
    if (pages_apart > 1 && !pages_cached(fd, offset, size)) {
        return false;
    }
    return byte_cached(fd, last) && (pages_apart == 0 || byte_cached(fd, offset));
}

static int posix_fd(struct fs_file *file)
{
    return fd_of(file);
}

static enum err posix_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    (void)fs;
    struct stat st;
    if (stat(path, &st) != 0) {
        return err_from_errno(errno);
    }
    out->size_bytes = st.st_size;
    out->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    out->is_dir = S_ISDIR(st.st_mode);
    return ERR_OK;
}

static enum err posix_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    (void)fs;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = mtime_ms / 1000, .tv_nsec = mtime_ms % 1000 * 1000000}};
    return result(utimensat(AT_FDCWD, path, times, 0));
}

static enum err posix_rename(struct fs *fs, const char *from, const char *to)
{
    (void)fs;
    return result(rename(from, to));
}

static enum err posix_unlink(struct fs *fs, const char *path)
{
    (void)fs;
    return result(unlink(path));
}

static enum err posix_mkdir(struct fs *fs, const char *path)
{
    (void)fs;
    return result(mkdir(path, DIR_MODE));
}

static enum err posix_rmdir(struct fs *fs, const char *path)
{
    (void)fs;
    return result(rmdir(path));
}

static enum err posix_sync_dir(struct fs *fs, const char *path)
{
    (void)fs;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    enum err err = result(fsync(fd));
    close(fd);
    return err;
}

static bool entry_is_dir(DIR *dir, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK) {
        return entry->d_type == DT_DIR;
    }
    struct stat st;
    return fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static enum err posix_list(struct fs *fs, const char *path, fs_list_fn *fn, void *arg)
{
    (void)fs;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return err_from_errno(errno);
    }
    enum err err = ERR_OK;
    const struct dirent *entry;
    while (err == ERR_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            err = fn(arg, entry->d_name, entry_is_dir(dir, entry));
        }
    }
    if (err == ERR_OK && errno != 0) {
        err = err_from_errno(errno);
    }
    closedir(dir);
    return err;
}

static enum err posix_space(struct fs *fs, const char *path, int64_t *total_bytes,
                            int64_t *usable_bytes)
{
    (void)fs;
    struct statvfs st;
    if (statvfs(path, &st) != 0) {
        return err_from_errno(errno);
    }
    *total_bytes = (int64_t)(st.f_blocks * st.f_frsize);
    *usable_bytes = (int64_t)(st.f_bavail * st.f_frsize);
    return ERR_OK;
}

/* Twice: Java's locks, and so Kafka's, are fcntl()'s, of which flock() knows nothing. Ours belongs
 * to the open file, not to the process. Where there are none such, flock() has to do. */
static enum err posix_lock(struct fs_file *file)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (flock(fd_of(file), LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? ERR_LOCKED : err_from_errno(errno);
    }
    bool taken =
        fcntl(fd_of(file), F_OFD_SETLK, &whole) != 0 && (errno == EAGAIN || errno == EACCES);
    return taken ? ERR_LOCKED : ERR_OK;
}

static const struct fs_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pread_cached = posix_pread_cached,
    .pwritev = posix_pwritev,
    .size = posix_size,
    .sync = posix_sync,
    .sync_all = posix_sync_all,
    .truncate = posix_truncate,
    .cached = posix_cached,
    .fd = posix_fd,
    .stat = posix_stat,
    .set_mtime = posix_set_mtime,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .rmdir = posix_rmdir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .space = posix_space,
    .lock = posix_lock,
};

struct fs *fs_posix(void)
{
    static struct fs fs = {&posix_ops};
    return &fs;
}
