/* gapless.c: may there be a gap between two segments of a log that is, or was, compacted?
 *
 * What compaction (Kafka's, before the directory came here, or that of a leader) has left may have
 * gaps. A power failure makes some, too: a segment that was finished is synced later, and of the
 * one behind it more may be on the disk. What is lost then was acknowledged, and the log would go
 * on behind it. To tell the two apart, such a log has a file while it is open:
 *
 *   gapless-from   a decimal number and a newline: segments that begin at this offset or behind it
 *                  begin where the one before ends. Only that between them is a loss
 *
 *   N1  It is durable before a segment is made that it speaks of: written at the first roll, and
 *       again when one begins below it.
 *   N2  Where a segment is to begin behind the end of the last batch, all before is synced, and
 *       then the file begins to speak behind that segment; also where the topic is not compacted
 *       any more.
 *   N3  Whoever compacts must be told nothing: a clean stop removes the file, when all is synced.
 *
 * Where it is missing every gap in a compacted log is taken for compaction's, as by Kafka. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "log/plog_internal.h"

#define LOGGER "kafka.log.LogLoader"

enum { FILE_MAX = 64 };

static char *path_of(const struct plog *log)
{
    return mem_printf("%s/gapless-from", log->dir->chars);
}

static enum err write_from(struct plog *log, int64_t offset)
{
    char text[FILE_MAX];
    char *path = path_of(log);
    int size = snprintf(text, sizeof(text), "%" PRId64 "\n", offset);
    enum err err = fs_replace(log->fs, path, text, (size_t)size);
    mem_free(path);
    log->gapless_from = offset;
    return err;
}

static bool is_compacted(const struct plog *log)
{
    return (log->config->config.cleanup_policy & TOPIC_CLEANUP_COMPACT) != 0;
}

enum err plog_begin_behind(struct plog *log, int64_t base_offset)
{
    if (log->ends_in_gap || base_offset > plog_offset_end(log)) { /* N2 */
        enum err err = plog_flush(log);
        return err == ERR_OK ? write_from(log, base_offset + 1) : err;
    }
    bool speaks = is_compacted(log) || log->gapless_from != INT64_MAX;
    return speaks && base_offset < log->gapless_from ? write_from(log, base_offset)
                                                     : ERR_OK; /* N1 */
}

static int64_t parse(const char *data)
{
    char *end;
    long long value = strtoll(data, &end, 10);
    return end != data && *end == '\n' && value >= 0 ? value : INT64_MAX;
}

enum err plog_read_gapless(struct plog *log, bool clean)
{
    char *data;
    size_t size;
    char *path = path_of(log);
    enum err err = fs_read_all(log->fs, path, FILE_MAX, &data, &size);
    if (err == ERR_OK) {
        log->gapless_from = parse(data);
        mem_free(data);
    }
    if (err == ERR_INVALID || (err == ERR_OK && log->gapless_from == INT64_MAX)) {
        log_warn(LOGGER, "skipping a damaged file", "file=%s", path);
        err = ERR_NOT_FOUND;
    }
    mem_free(path);
    if (err == ERR_OK && clean) { /* Kafka stopped cleanly after a crash of ours, N3 */
        err = plog_forget_gapless(log);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

bool plog_gap_is_loss(const struct plog *log, int64_t base_offset)
{
    return log->gapless_from != INT64_MAX ? base_offset >= log->gapless_from : !is_compacted(log);
}

enum err plog_forget_gapless(struct plog *log)
{
    if (log->gapless_from == INT64_MAX) {
        return ERR_OK;
    }
    char *path = path_of(log);
    enum err err = fs_unlink(log->fs, path);
    mem_free(path);
    log->gapless_from = INT64_MAX;
    atomic_fetch_add(&log->names_made, 1);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
