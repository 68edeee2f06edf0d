/* checkpoint_fuzz.c: the small text files of a log directory on any bytes. The first byte chooses
 * the file: offsets, epochs, or a directory's meta.properties and checkpoints. What is read must
 * survive being written and read again. */
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "fs/fs_sim.h"
#include "log/logdir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct fs *fs, const char *path, const uint8_t *data, size_t size)
{
    struct fs_file *file;
    must(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file) == ERR_OK);
    must(fs_pwrite(file, data, size, 0) == ERR_OK);
    fs_close(file);
}

static void try_offsets(struct fs *fs)
{
    struct checkpoint first;
    struct checkpoint again;
    if (checkpoint_read(fs, "/c", &first) != ERR_OK) {
        must(first.count == 0);
        return;
    }
    for (int32_t i = 0; i < first.count; i++) {
        const struct checkpoint_entry *entry = &first.entries[i];
        /* Of two entries for one partition either may be found. */
        int64_t found = checkpoint_find(&first, str_of(entry->topic), entry->partition);
        must(first.count > 1 || found == entry->offset);
    }
    must(checkpoint_write(fs, "/c", &first) == ERR_OK);
    must(checkpoint_read(fs, "/c", &again) == ERR_OK);
    must(again.count == first.count);
    checkpoint_fini(&first);
    checkpoint_fini(&again);
}

static void try_epochs(struct fs *fs)
{
    struct epoch_entry *entries;
    int32_t count;
    if (epoch_checkpoint_read(fs, "/c", &entries, &count) != ERR_OK) {
        must(entries == NULL && count == 0);
        return;
    }
    struct epochs epochs;
    epochs_init(&epochs);
    epochs_load(&epochs, entries, count);
    for (int32_t i = 1; i < epochs.count; i++) {
        must(epochs.entries[i].epoch > epochs.entries[i - 1].epoch);
        must(epochs.entries[i].start_offset > epochs.entries[i - 1].start_offset);
    }
    mem_free(entries);
    must(epoch_checkpoint_write(fs, "/c", epochs.entries, epochs.count) == ERR_OK);
    must(epoch_checkpoint_read(fs, "/c", &entries, &count) == ERR_OK);
    must(count == epochs.count);
    mem_free(entries);
    epochs_fini(&epochs);
}

static void try_directory(struct fs *fs, const uint8_t *data, size_t size)
{
    static const char *const names[] = {"/d/meta.properties", "/d/" LOGDIR_RECOVERY_POINTS,
                                        "/d/" LOGDIR_LOG_STARTS, "/d/" LOGDIR_HIGH_WATERMARKS};
    struct logdir dir;
    struct errmsg msg;
    must(fs_mkdir(fs, "/d") == ERR_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        put(fs, names[i], data, size);
    }
    if (logdir_open(&dir, fs, "/d", "boot", &msg) == ERR_OK) {
        must(logdir_set_identity(&dir, 7, "a") == ERR_OK);
        must(dir.stored_broker_id == 7);
    }
    logdir_close(&dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    must(log_set_level("root", LOG_OFF) == ERR_OK);
    if (size == 0) {
        return 0;
    }
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    put(fs, "/c", data + 1, size - 1);
    if (data[0] % 3 == 0) {
        try_offsets(fs);
    } else if (data[0] % 3 == 1) {
        try_epochs(fs);
    } else {
        try_directory(fs, data + 1, size - 1);
    }
    fs_sim_free(sim);
    return 0;
}
