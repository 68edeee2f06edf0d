#include "log/logdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.log.LogManager"

#define CLEAN_NAME ".kafka_cleanshutdown"
#define META_NAME  "meta.properties"

enum { META_FILE_MAX = 1 << 20 };

static char *in_dir(const struct logdir *dir, const char *name)
{
    return mem_printf("%s/%s", dir->path, name);
}

/* ---- meta.properties ---- */

/* What the file says, while it is being read. */
struct meta {
    struct logdir *dir;
    int32_t version;
    char bad[160]; /* the first line whose value makes no sense */
};

static bool parse_id(const char *text, int32_t *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE || value < -1 || value > INT32_MAX) {
        return false;
    }
    *out = (int32_t)value;
    return true;
}

static struct str trim(struct str text)
{
    while (text.size > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.size--;
    }
    while (text.size > 0 && strchr(" \t\r", text.ptr[text.size - 1]) != NULL) {
        text.size--;
    }
    return text;
}

/* One line "key=value" of Java's dialect, as far as this file uses it. */
static void meta_line(struct meta *meta, struct str line)
{
    struct logdir *dir = meta->dir;
    line = trim(line);
    const char *equals = line.size > 0 ? memchr(line.ptr, '=', line.size) : NULL;
    if (equals == NULL || line.ptr[0] == '#' || line.ptr[0] == '!') {
        return;
    }
    struct str key = trim((struct str){line.ptr, (size_t)(equals - line.ptr)});
    struct str rest = trim((struct str){equals + 1, line.size - (size_t)(equals + 1 - line.ptr)});
    char value[128];
    snprintf(value, sizeof(value), "%.*s", STR_ARG(rest));
    bool good = true;
    if (str_is(key, "broker.id")) {
        good = parse_id(value, &dir->stored_broker_id);
    } else if (str_is(key, "cluster.id")) {
        snprintf(dir->stored_cluster_id, sizeof(dir->stored_cluster_id), "%.63s", value);
    } else if (str_is(key, "directory.id")) {
        snprintf(dir->stored_directory_id, sizeof(dir->stored_directory_id), "%.31s", value);
    } else if (str_is(key, "version")) {
        good = parse_id(value, &meta->version);
    }
    if (!good && meta->bad[0] == '\0') {
        snprintf(meta->bad, sizeof(meta->bad), "%.*s", STR_ARG(line));
    }
}

static void meta_parse(struct meta *meta, const char *data, size_t size)
{
    size_t from = 0;
    for (size_t i = 0; i <= size; i++) {
        if (i == size || data[i] == '\n') {
            meta_line(meta, (struct str){data + from, i - from});
            from = i + 1;
        }
    }
}

static enum err meta_check(const struct meta *meta, const char *path, struct errmsg *msg)
{
    if (meta->bad[0] != '\0') {
        errmsg_set(msg,
                   "error[E-DATA-10]: %s cannot be understood: \"%s\".\n"
                   "  Restore the file; its directory stays offline until then.",
                   path, meta->bad);
        return ERR_CORRUPT;
    }
    if (meta->version != 0) {
        errmsg_set(
            msg,
            "error[E-DATA-02]: %s has version=%d; a broker in ZooKeeper mode uses version=0.\n"
            "  This directory belongs to a KRaft broker. Point log.dirs at another directory.",
            path, meta->version);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err meta_read(struct logdir *dir, struct errmsg *msg)
{
    struct meta meta = {.dir = dir};
    char *path = in_dir(dir, META_NAME);
    char *data;
    size_t size;
    enum err err = fs_read_all(dir->fs, path, META_FILE_MAX, &data, &size);
    if (err == ERR_OK) {
        meta_parse(&meta, data, size);
        mem_free(data);
        err = meta_check(&meta, path, msg);
    } else if (err == ERR_INVALID) {
        err = ERR_CORRUPT; /* far too large */
    }
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err logdir_set_identity(struct logdir *dir, int32_t broker_id, const char *cluster_id)
{
    if (dir->stored_broker_id == broker_id && strcmp(dir->stored_cluster_id, cluster_id) == 0) {
        return ERR_OK;
    }
    struct buf text = {0};
    buf_printf(&text, "#\n#written by Barnabas\nbroker.id=%d\nversion=0\ncluster.id=%s\n",
               broker_id, cluster_id);
    if (dir->stored_directory_id[0] != '\0') {
        buf_printf(&text, "directory.id=%s\n", dir->stored_directory_id);
    }
    char *path = in_dir(dir, META_NAME);
    enum err err = fs_replace(dir->fs, path, text.data, text.size);
    mem_free(path);
    buf_fini(&text);
    if (err == ERR_OK) {
        dir->stored_broker_id = broker_id;
        snprintf(dir->stored_cluster_id, sizeof(dir->stored_cluster_id), "%s", cluster_id);
    }
    return err;
}

/* ---- opening ---- */

static void explain_permission(const char *path, struct errmsg *msg)
{
    struct stat st = {0};
    int rc = stat(path, &st);
    errmsg_set(msg,
               "error[E-DATA-03]: cannot write to the log directory %s.\n"
               "  owner %u:%u mode %o, but this process runs as %u:%u\n"
               "  Give it to the broker, for example:\n      chown -R %u:%u %s",
               path, rc == 0 ? st.st_uid : 0, rc == 0 ? st.st_gid : 0, st.st_mode & 07777, getuid(),
               getgid(), getuid(), getgid(), path);
}

static enum err take_lock(struct logdir *dir, struct errmsg *msg)
{
    char *path = in_dir(dir, ".lock");
    enum err err = fs_open(dir->fs, path, FS_WRITE | FS_CREATE, &dir->lock);
    if (err == ERR_PERMISSION) {
        explain_permission(dir->path, msg);
    } else if (err == ERR_OK) {
        err = fs_lock(dir->lock);
        if (err == ERR_LOCKED) {
            errmsg_set(
                msg,
                "error[E-DATA-04]: %s is in use by another broker process.\n"
                "  Each broker needs a directory of its own in log.dirs; stop the other one, or "
                "choose another directory.",
                dir->path);
        }
    }
    mem_free(path);
    return err;
}

/* -1: it is not there. */
static int64_t clean_mark_ms(const struct logdir *dir)
{
    struct fs_stat st;
    char *path = in_dir(dir, CLEAN_NAME);
    bool there = fs_stat(dir->fs, path, &st) == ERR_OK;
    mem_free(path);
    return there ? st.mtime_ms : -1;
}

static void read_clean_mark(struct logdir *dir)
{
    int64_t mark_ms = clean_mark_ms(dir);
    dir->clean = mark_ms >= 0;
    dir->manifest = manifest_read(dir->fs, dir->path, mark_ms);
}

enum err logdir_take_marks(struct logdir *dir)
{
    bool removed;
    enum err err = manifest_remove(dir->fs, dir->path, &removed);
    if (err != ERR_OK) {
        return err;
    }
    char *path = in_dir(dir, CLEAN_NAME);
    err = fs_unlink(dir->fs, path);
    mem_free(path);
    if (err == ERR_NOT_FOUND) {
        return removed ? fs_sync_dir(dir->fs, dir->path) : ERR_OK;
    }
    return err == ERR_OK ? fs_sync_dir(dir->fs, dir->path) : err;
}

/* Where none can be written: its absence says the same as suspect. */
static enum err remove_start_mark(struct logdir *dir)
{
    char *path = in_dir(dir, START_MARK_NAME);
    enum err err = fs_unlink(dir->fs, path);
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Before the clean-shutdown mark goes: a crash in between must not make it suspect, or trusted. */
static enum err take_start_mark(struct logdir *dir, const char *boot_id)
{
    struct start_mark last;
    struct fs_stat st;
    char *path = in_dir(dir, CLEAN_NAME);
    bool clean = fs_stat(dir->fs, path, &st) == ERR_OK;
    mem_free(path);
    enum err err = start_mark_read(dir->fs, dir->path, &last);
    if (err != ERR_OK) {
        return err;
    }
    dir->mark = start_mark_next(&last, clean, boot_id);
    bool is_new = !last.found && dir->stored_broker_id < 0 && dir->stored_cluster_id[0] == '\0';
    dir->mark.failed = dir->mark.failed && !is_new;
    dir->rewrite = dir->mark.failed;
    bool same = last.found && last.failed == dir->mark.failed &&
                last.suspect == dir->mark.suspect && strcmp(last.boot_id, dir->mark.boot_id) == 0;
    err = same ? ERR_OK : start_mark_write(dir->fs, dir->path, &dir->mark);
    if (err == ERR_NO_SPACE) {
        dir->mark.found = false;
        err = remove_start_mark(dir);
    }
    return err;
}

static enum err read_checkpoint(struct logdir *dir, const char *name, struct checkpoint *out)
{
    char *path = in_dir(dir, name);
    enum err err = checkpoint_read(dir->fs, path, out);
    if (err == ERR_CORRUPT) {
        log_warn(LOGGER, "skipping a damaged checkpoint", "file=%s", path);
        dir->clean = false; /* without it, only the logs themselves can tell */
        err = ERR_OK;
    }
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* A life before may have ended just when it had made the directory. The one above is not ours: that
 * it cannot be synced (a read-only file system) is no reason not to start. */
static void keep_name(struct logdir *dir)
{
    enum err err = fs_keep_name(dir->fs, dir->path);
    if (err != ERR_OK) {
        log_warn(LOGGER, "a directory's name may not survive a power failure",
                 "dir=%s reason=\"%s\"", dir->path, err_text(err));
    }
}

enum err logdir_open(struct logdir *dir, struct fs *fs, const char *path, const char *boot_id,
                     struct errmsg *msg)
{
    *dir = (struct logdir){.fs = fs, .path = mem_strdup(path), .stored_broker_id = -1};
    msg->text[0] = '\0';
    enum err err = fs_mkdir_all(fs, path);
    if (err == ERR_PERMISSION) {
        explain_permission(path, msg);
    }
    if (err == ERR_OK) {
        keep_name(dir);
    }
    if (err == ERR_OK) {
        err = take_lock(dir, msg);
    }
    if (err == ERR_OK) {
        err = meta_read(dir, msg);
    }
    if (err == ERR_OK) {
        err = take_start_mark(dir, boot_id);
    }
    if (err == ERR_OK) {
        read_clean_mark(dir);
        err = read_checkpoint(dir, LOGDIR_RECOVERY_POINTS, &dir->recovery_points);
    }
    if (err == ERR_OK) {
        err = read_checkpoint(dir, LOGDIR_LOG_STARTS, &dir->log_starts);
    }
    if (err == ERR_OK) {
        err = read_checkpoint(dir, LOGDIR_HIGH_WATERMARKS, &dir->high_watermarks);
    }
    if (err != ERR_OK && msg->text[0] == '\0') {
        errmsg_set(msg, "error[E-DATA-05]: cannot use the log directory %s: %s.", path,
                   err_text(err));
    }
    return err;
}

void logdir_loaded(struct logdir *dir)
{
    checkpoint_fini(&dir->recovery_points);
    checkpoint_fini(&dir->log_starts);
    checkpoint_fini(&dir->high_watermarks);
    manifest_free(dir->manifest);
    dir->manifest = NULL;
}

void logdir_close(struct logdir *dir)
{
    flusher_stop(dir->flusher);
    flusher_release(dir->flusher);
    fs_close(dir->lock);
    logdir_loaded(dir);
    mem_free(dir->path);
}

/* ---- while running ---- */

/* Never 0. */
static uint64_t checkpoint_hash(const struct checkpoint *checkpoint)
{
    uint64_t hash = bytes_hash(&checkpoint->count, sizeof(checkpoint->count), 0);
    for (int32_t i = 0; i < checkpoint->count; i++) {
        const struct checkpoint_entry *entry = &checkpoint->entries[i];
        int64_t numbers[2] = {entry->partition, entry->offset};
        hash = bytes_hash(entry->topic, strlen(entry->topic), hash);
        hash = bytes_hash(numbers, sizeof(numbers), hash);
    }
    return hash != 0 ? hash : 1;
}

static uint64_t *written_of(struct logdir *dir, const char *name)
{
    static const char *const names[LOGDIR_CHECKPOINTS] = {LOGDIR_RECOVERY_POINTS, LOGDIR_LOG_STARTS,
                                                          LOGDIR_HIGH_WATERMARKS};
    for (int i = 0; i < LOGDIR_CHECKPOINTS; i++) {
        if (strcmp(names[i], name) == 0) {
            return &dir->written[i];
        }
    }
    must(false);
    return NULL;
}

enum err logdir_write_checkpoint(struct logdir *dir, const char *name,
                                 const struct checkpoint *checkpoint)
{
    uint64_t *written = written_of(dir, name);
    uint64_t hash = checkpoint_hash(checkpoint);
    if (*written == hash) {
        return ERR_OK;
    }
    char *path = in_dir(dir, name);
    enum err err = checkpoint_write(dir->fs, path, checkpoint);
    mem_free(path);
    *written = err == ERR_OK ? hash : 0;
    return err;
}

enum err logdir_remove_checkpoints(struct logdir *dir)
{
    static const char *const names[] = {LOGDIR_RECOVERY_POINTS, LOGDIR_HIGH_WATERMARKS};
    enum err err = ERR_OK;
    dir->checkpoints_digest = 0;
    for (size_t i = 0; i < 2 && err == ERR_OK; i++) {
        char *path = in_dir(dir, names[i]);
        err = fs_unlink(dir->fs, path);
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
        mem_free(path);
        *written_of(dir, names[i]) = 0;
    }
    return err == ERR_OK ? fs_sync_dir(dir->fs, dir->path) : err;
}

static void remove_clean_mark(struct logdir *dir)
{
    char *path = in_dir(dir, CLEAN_NAME);
    enum err err = fs_unlink(dir->fs, path);
    err = err == ERR_OK ? fs_sync_dir(dir->fs, dir->path) : err;
    (void)err; /* usually it is not there; and the directory is failing */
    mem_free(path);
}

enum err logdir_mark_clean(struct logdir *dir)
{
    static const char text[] = "{\"version\":0,\"brokerEpoch\":-1}";
    if (!dir->mark
             .found) { /* there was no space for it: after a clean stop it must not be absent */
        enum err err = start_mark_write(dir->fs, dir->path, &dir->mark);
        if (err != ERR_OK) {
            return err;
        }
    }
    char *path = in_dir(dir, CLEAN_NAME);
    enum err err = fs_replace(dir->fs, path, text, sizeof(text) - 1);
    mem_free(path);
    if (err == ERR_OK && logdir_offline(dir)) {
        /* It has failed meanwhile, on another thread, which may have looked for the mark before it
         * was there. */
        remove_clean_mark(dir);
        err = ERR_KAFKA_STORAGE_ERROR;
    }
    return err;
}

enum err logdir_write_manifest(struct logdir *dir, int32_t count, const struct buf *lines)
{
    int64_t mark_ms = clean_mark_ms(dir);
    return mark_ms >= 0 ? manifest_write(dir->fs, dir->path, mark_ms, count, lines) : ERR_OK;
}

bool logdir_offline(const struct logdir *dir)
{
    return atomic_load_explicit(&dir->offline, memory_order_acquire);
}

/* What is written from here on may be lost although it seems to be there: the kernel may have
 * dropped what it could not write. Where not even this can be written, it is removed, which says
 * the same. */
static void write_suspect(struct logdir *dir)
{
    struct start_mark mark = dir->mark;
    mark.suspect = true;
    mark.failed = true;
    if (start_mark_write(dir->fs, dir->path, &mark) != ERR_OK) {
        enum err err = remove_start_mark(dir);
        (void)err; /* nothing works there any more */
    }
}

enum err logdir_rewritten(struct logdir *dir)
{
    dir->mark.failed = false;
    enum err err = start_mark_write(dir->fs, dir->path, &dir->mark);
    if (err == ERR_NO_SPACE) { /* its absence makes the next start write all of it once more */
        dir->mark.found = false;
        return remove_start_mark(dir);
    }
    return err;
}

/* It may fail at the same time, by another thread, which then writes the contrary, to the same file
 * beside the mark: of the two one may put in place what the other has written, and the other find
 * nothing to put there. Whoever is last looks again, whatever became of its own. */
void logdir_trust(struct logdir *dir)
{
    if (!dir->mark.suspect || logdir_offline(dir)) {
        return;
    }
    struct start_mark mark = dir->mark;
    mark.suspect = false;
    enum err err = start_mark_write(dir->fs, dir->path, &mark);
    if (logdir_offline(dir)) {
        write_suspect(dir);
    } else if (err != ERR_OK) {
        logdir_fail(dir);
    } else {
        dir->mark.suspect = false;
        dir->mark.found = true;
    }
}

static void tell_failed(struct logdir *dir)
{
    if (dir->on_failed != NULL) {
        dir->on_failed(dir->arg, dir->path);
    }
}

void logdir_hangs(struct logdir *dir)
{
    if (atomic_exchange(&dir->offline, true)) {
        return;
    }
    log_error(LOGGER, "log directory hangs and is offline",
              "dir=%s; its partitions are not served until the broker is restarted", dir->path);
    tell_failed(dir);
}

void logdir_leave(struct logdir *dir)
{
    if (!atomic_exchange(&dir->offline, true)) {
        tell_failed(dir);
    }
}

void logdir_fail(struct logdir *dir)
{
    if (atomic_exchange(&dir->offline, true)) {
        return;
    }
    log_error(LOGGER, "log directory is offline",
              "dir=%s; its partitions are not served until the broker is restarted", dir->path);
    /* A sync by a worker may fail after the directory was marked at a stop. */
    remove_clean_mark(dir);
    write_suspect(dir);
    tell_failed(dir);
}

bool logdir_parse_name(const char *name, struct str *topic, int32_t *partition)
{
    const char *dash = strrchr(name, '-');
    if (dash == NULL || dash == name || dash[1] < '0' || dash[1] > '9') {
        return false;
    }
    char *end;
    long value = strtol(dash + 1, &end, 10);
    if (*end != '\0' || value > INT32_MAX) {
        return false;
    }
    *topic = (struct str){name, (size_t)(dash - name)};
    *partition = (int32_t)value;
    return true;
}
