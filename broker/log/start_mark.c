#include "log/start_mark.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

enum { FILE_MAX = 4096 };

static char *path_in(const char *dir)
{
    return mem_printf("%s/%s", dir, START_MARK_NAME);
}

/* The rest of the line "key=...", or null. */
static struct str value_of(const char *data, const char *key)
{
    size_t size = strlen(key);
    for (const char *line = data; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        if (strncmp(line, key, size) == 0 && line[size] == '=') {
            return (struct str){line + size + 1, strcspn(line + size + 1, "\r\n")};
        }
    }
    return STR_NULL;
}

static void parse(const char *data, struct start_mark *out)
{
    struct str boot = value_of(data, "boot.id");
    struct str suspect = value_of(data, "suspect");
    bool readable = str_is(value_of(data, "version"), "0") && boot.ptr != NULL &&
                    boot.size <= START_MARK_BOOT_MAX &&
                    (str_is(suspect, "true") || str_is(suspect, "false"));
    if (readable) {
        snprintf(out->boot_id, sizeof(out->boot_id), "%.*s", STR_ARG(boot));
        out->suspect = str_is(suspect, "true");
        out->failed = !str_is(value_of(data, "failed"), "false");
    }
}

enum err start_mark_read(struct fs *fs, const char *dir, struct start_mark *out)
{
    char *path = path_in(dir);
    char *data;
    size_t size;
    *out = (struct start_mark){.suspect = true, .failed = true};
    enum err err = fs_read_all(fs, path, FILE_MAX, &data, &size);
    out->found = err == ERR_OK || err == ERR_INVALID;
    if (err == ERR_OK) {
        parse(data, out);
        mem_free(data);
    }
    mem_free(path);
    return err == ERR_NOT_FOUND || err == ERR_INVALID ? ERR_OK : err;
}

enum err start_mark_write(struct fs *fs, const char *dir, const struct start_mark *mark)
{
    char text[128 + START_MARK_BOOT_MAX];
    char *path = path_in(dir);
    int size =
        snprintf(text, sizeof(text), "version=0\nboot.id=%s\nsuspect=%s\nfailed=%s\n",
                 mark->boot_id, mark->suspect ? "true" : "false", mark->failed ? "true" : "false");
    enum err err = fs_replace(fs, path, text, (size_t)size);
    mem_free(path);
    return err;
}

struct start_mark start_mark_next(const struct start_mark *last, bool clean, const char *boot_id)
{
    struct start_mark next = {
        .suspect = last->suspect, .failed = last->failed && !clean, .found = true};
    bool same_boot = last->boot_id[0] != '\0' && strcmp(last->boot_id, boot_id) == 0;
    snprintf(next.boot_id, sizeof(next.boot_id), "%s", boot_id);
    if (clean && !last->found) {
        next.suspect = false; /* by a broker that writes no such file: Kafka, or an older one */
    } else if (!clean && !same_boot) {
        next.suspect = true;
    }
    return next;
}
