/* fs_util.c: what is built from the table's operations, for every implementation alike. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "fs/fs.h"

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return mem_strdup(".");
    }
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

static enum err write_new(struct fs *fs, const char *path, const void *data, size_t size)
{
    struct fs_file *file;
    enum err err = fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (err != ERR_OK) {
        return err;
    }
    if (size > 0) {
        err = fs_pwrite(file, data, size, 0);
    }
    if (err == ERR_OK) {
        err = fs_sync(file);
    }
    fs_close(file);
    return err;
}

enum err fs_replace(struct fs *fs, const char *path, const void *data, size_t size)
{
    char *fresh = mem_printf("%s.tmp", path);
    char *parent = parent_of(path);
    enum err err = write_new(fs, fresh, data, size);
    if (err == ERR_OK) {
        err = fs_rename(fs, fresh, path);
    }
    if (err == ERR_OK) {
        err = fs_sync_dir(fs, parent);
    }
    mem_free(fresh);
    mem_free(parent);
    return err;
}

enum err fs_read_all(struct fs *fs, const char *path, size_t size_max, char **data, size_t *size)
{
    struct fs_file *file;
    int64_t file_size;
    enum err err = fs_open(fs, path, FS_READ, &file);
    if (err != ERR_OK) {
        return err;
    }
    err = fs_size(file, &file_size);
    if (err == ERR_OK && (uint64_t)file_size > size_max) {
        err = ERR_INVALID;
    }
    if (err == ERR_OK) {
        char *content = mem_alloc((size_t)file_size + 1);
        err = fs_pread(file, content, (size_t)file_size, 0, size);
        content[err == ERR_OK ? *size : 0] = '\0';
        *data = content;
        if (err != ERR_OK) {
            mem_free(content);
        }
    }
    fs_close(file);
    return err;
}

enum err fs_keep_name(struct fs *fs, const char *path)
{
    char *parent = parent_of(path);
    enum err err = fs_sync_dir(fs, parent);
    mem_free(parent);
    return err == ERR_PERMISSION ? ERR_OK : err;
}

enum err fs_mkdir_all(struct fs *fs, const char *path)
{
    struct fs_stat st;
    if (fs_stat(fs, path, &st) == ERR_OK) {
        return st.is_dir ? ERR_OK : ERR_EXISTS;
    }
    char *parent = parent_of(path);
    enum err err =
        strcmp(parent, path) != 0 && strcmp(parent, ".") != 0 ? fs_mkdir_all(fs, parent) : ERR_OK;
    if (err == ERR_OK) {
        err = fs_mkdir(fs, path);
    }
    if (err == ERR_OK) {
        err = fs_sync_dir(fs, parent);
    }
    mem_free(parent);
    return err == ERR_EXISTS ? ERR_OK : err;
}

struct removal {
    struct fs *fs;
    const char *path;
};

static enum err remove_entry(void *arg, const char *name, bool is_dir)
{
    const struct removal *removal = arg;
    char *path = mem_printf("%s/%s", removal->path, name);
    enum err err = is_dir ? fs_remove_tree(removal->fs, path) : fs_unlink(removal->fs, path);
    mem_free(path);
    return err;
}

enum err fs_remove_tree(struct fs *fs, const char *path)
{
    struct removal removal = {fs, path};
    enum err err = fs_list(fs, path, remove_entry, &removal);
    if (err == ERR_OK) {
        err = fs_rmdir(fs, path);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
