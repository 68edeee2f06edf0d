#include "sim_disk.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim_bugs.h"

struct disk_file {
    struct fs_file file; /* first */
    struct fs_file *under;
    struct sim_disk *disk;
    char *path;
};

/* The file was so long before a write that its broken broker only pretends to have made. */
struct buffered_write {
    struct list link;
    char *path;
    int64_t size_before;
    int64_t at_ns;
};

static struct sim_disk *disk_of(struct fs *fs)
{
    return (struct sim_disk *)fs;
}

static struct disk_file *file_of(struct fs_file *file)
{
    return (struct disk_file *)file;
}

static struct fs *under_of(struct fs *fs)
{
    return fs_sim_fs(disk_of(fs)->image);
}

static void buffered_drop(struct buffered_write *write)
{
    list_remove(&write->link);
    mem_free(write->path);
    mem_free(write);
}

/* Undo what was still in memory, the newest write first. */
static void buffered_lose(struct sim_disk *disk)
{
    struct fs *fs = fs_sim_fs(disk->image);
    while (!list_empty(&disk->buffered)) {
        struct buffered_write *write =
            container_of(disk->buffered.prev, struct buffered_write, link);
        struct fs_file *file;
        if (write->at_ns + disk->buffered_ns > disk->time->now_ns &&
            fs_open(fs, write->path, FS_WRITE, &file) == ERR_OK) {
            must(fs_truncate(file, write->size_before) == ERR_OK);
            fs_close(file);
        }
        buffered_drop(write);
    }
}

void sim_disk_end(struct sim_disk *disk, bool power)
{
    if (disk->dead) {
        return;
    }
    disk->dead = true;
    disk->power_lost = power;
    buffered_lose(disk);
    if (power) {
        fs_sim_crash(disk->image);
    } else {
        fs_sim_kill(disk->image);
    }
    if (disk->on_end != NULL) {
        disk->on_end(disk->arg);
    }
}

/* An operation takes its time. */
static void pay(struct sim_disk *disk)
{
    int64_t hangs_ns = disk->hangs_until_ns - disk->time->now_ns;
    if (disk->watched) {
        return;
    }
    disk->owed_ns += disk->cost_ns;
    disk->owed_ns = hangs_ns > disk->owed_ns ? hangs_ns : disk->owed_ns;
}

/* Before a read or a write: does the medium fail? Once. */
static bool breaks(struct sim_disk *disk)
{
    return !disk->dead && !disk->watched && disk->fails_in >= 0 && disk->fails_in-- == 0;
}

/* Before every operation that changes something; false: it does not happen. */
static bool change(struct sim_disk *disk)
{
    pay(disk);
    if (!disk->dead && disk->dies_in >= 0 && disk->dies_in-- == 0) {
        sim_disk_end(disk, disk->dies_with_power);
    }
    disk->changes += disk->dead ? 0 : 1;
    return !disk->dead;
}

/* Checkpoints are renamed all the time; what else is, is delicate. */
static void name_changes(struct sim_disk *disk, const char *to)
{
    bool delicate = disk->fragile_one_in > 0 && disk->dies_in < 0 && !disk->dead &&
                    strstr(to, "-checkpoint") == NULL;
    if (delicate && rng_one_in(&disk->rng, disk->fragile_one_in)) {
        disk->dies_in = (int64_t)rng_below(&disk->rng, 5);
        disk->dies_with_power = disk->fragile_power && rng_one_in(&disk->rng, 2);
    }
}

static enum err disk_open(struct fs *fs, const char *path, int flags, struct fs_file **out)
{
    struct sim_disk *disk = disk_of(fs);
    struct fs_file *under;
    bool changes = (flags & (FS_CREATE | FS_TRUNCATE)) != 0;
    if (changes ? !change(disk) : disk->dead) {
        return ERR_IO;
    }
    enum err err = fs_open(under_of(fs), path, flags, &under);
    if (err != ERR_OK) {
        return err;
    }
    struct disk_file *file = mem_new(struct disk_file);
    file->file.fs = fs;
    file->under = under;
    file->disk = disk;
    file->path = mem_strdup(path);
    *out = &file->file;
    return ERR_OK;
}

static void disk_close(struct fs_file *file)
{
    fs_close(file_of(file)->under);
    mem_free(file_of(file)->path);
    mem_free(file_of(file));
}

static enum err disk_pread(struct fs_file *file, void *data, size_t size, int64_t offset,
                           size_t *got)
{
    struct sim_disk *disk = file_of(file)->disk;
    *got = 0;
    pay(disk);
    return disk->dead || breaks(disk) ? ERR_IO
                                      : fs_pread(file_of(file)->under, data, size, offset, got);
}

/* What is in memory and what is not, nobody can know. */
static bool is_cold(struct sim_disk *disk)
{
    return disk->cold && !disk->watched && rng_one_in(&disk->rng, 3);
}

static enum err disk_pread_cached(struct fs_file *file, void *data, size_t size, int64_t offset,
                                  size_t *got)
{
    *got = 0;
    return is_cold(file_of(file)->disk) ? ERR_AGAIN : disk_pread(file, data, size, offset, got);
}

static void remember_buffered(struct disk_file *file)
{
    size_t size = strlen(file->path);
    struct sim_disk *disk = file->disk;
    if (disk->buffered_ns == 0 || size < 4 || strcmp(file->path + size - 4, ".log") != 0) {
        return;
    }
    struct buffered_write *write = mem_new(struct buffered_write);
    write->path = mem_strdup(file->path);
    write->at_ns = disk->time->now_ns;
    must(fs_size(file->under, &write->size_before) == ERR_OK);
    list_push_back(&disk->buffered, &write->link);
}

static enum err disk_pwritev(struct fs_file *file, const struct iovec *parts, int count,
                             int64_t offset)
{
    if (!change(file_of(file)->disk) || breaks(file_of(file)->disk)) {
        return ERR_IO;
    }
    remember_buffered(file_of(file));
    return fs_pwritev(file_of(file)->under, parts, count, offset);
}

static enum err disk_size(struct fs_file *file, int64_t *size_bytes)
{
    return file_of(file)->disk->dead ? ERR_IO : fs_size(file_of(file)->under, size_bytes);
}

static enum err disk_sync(struct fs_file *file)
{
    if (!change(file_of(file)->disk)) {
        return ERR_IO;
    }
    enum err err = fs_sync(file_of(file)->under);
    return err != ERR_OK && sim_bug_on(SIM_BUG_RETRY_SYNC) ? fs_sync(file_of(file)->under) : err;
}

static enum err disk_truncate(struct fs_file *file, int64_t size_bytes)
{
    return change(file_of(file)->disk) ? fs_truncate(file_of(file)->under, size_bytes) : ERR_IO;
}

static bool disk_cached(struct fs_file *file, int64_t offset, size_t size)
{
    return !is_cold(file_of(file)->disk) && fs_cached(file_of(file)->under, offset, size);
}

static int disk_fd(struct fs_file *file)
{
    (void)file;
    return -1;
}

static enum err disk_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    return disk_of(fs)->dead ? ERR_IO : fs_stat(under_of(fs), path, out);
}

static enum err disk_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    return change(disk_of(fs)) ? fs_set_mtime(under_of(fs), path, mtime_ms) : ERR_IO;
}

static enum err disk_rename(struct fs *fs, const char *from, const char *to)
{
    name_changes(disk_of(fs), to);
    return change(disk_of(fs)) ? fs_rename(under_of(fs), from, to) : ERR_IO;
}

static enum err disk_unlink(struct fs *fs, const char *path)
{
    return change(disk_of(fs)) ? fs_unlink(under_of(fs), path) : ERR_IO;
}

static enum err disk_mkdir(struct fs *fs, const char *path)
{
    name_changes(disk_of(fs), path);
    return change(disk_of(fs)) ? fs_mkdir(under_of(fs), path) : ERR_IO;
}

static enum err disk_rmdir(struct fs *fs, const char *path)
{
    return change(disk_of(fs)) ? fs_rmdir(under_of(fs), path) : ERR_IO;
}

static enum err disk_sync_dir(struct fs *fs, const char *path)
{
    return change(disk_of(fs)) ? fs_sync_dir(under_of(fs), path) : ERR_IO;
}

static enum err disk_list(struct fs *fs, const char *path, fs_list_fn *fn, void *arg)
{
    return disk_of(fs)->dead ? ERR_IO : fs_list(under_of(fs), path, fn, arg);
}

static enum err disk_space(struct fs *fs, const char *path, int64_t *total_bytes,
                           int64_t *usable_bytes)
{
    return disk_of(fs)->dead ? ERR_IO : fs_space(under_of(fs), path, total_bytes, usable_bytes);
}

static enum err disk_lock(struct fs_file *file)
{
    return file_of(file)->disk->dead ? ERR_IO : fs_lock(file_of(file)->under);
}

static const struct fs_ops disk_ops = {
    .open = disk_open,
    .close = disk_close,
    .pread = disk_pread,
    .pread_cached = disk_pread_cached,
    .pwritev = disk_pwritev,
    .size = disk_size,
    .sync = disk_sync,
    .truncate = disk_truncate,
    .cached = disk_cached,
    .fd = disk_fd,
    .stat = disk_stat,
    .set_mtime = disk_set_mtime,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .mkdir = disk_mkdir,
    .rmdir = disk_rmdir,
    .sync_dir = disk_sync_dir,
    .list = disk_list,
    .space = disk_space,
    .lock = disk_lock,
};

void sim_disk_init(struct sim_disk *disk, struct fs_sim *image, const struct sim_time *time)
{
    *disk = (struct sim_disk){
        .fs = {&disk_ops}, .image = image, .time = time, .dies_in = -1, .fails_in = -1};
    list_init(&disk->buffered);
}

void sim_disk_fini(struct sim_disk *disk)
{
    while (!list_empty(&disk->buffered)) {
        buffered_drop(container_of(disk->buffered.next, struct buffered_write, link));
    }
}
