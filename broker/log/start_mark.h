/* start_mark.h: may this directory's logs lack something that was acknowledged?
 *
 * Records are acknowledged when they are in the page cache, here and on other brokers. A process
 * that dies leaves that cache behind; a machine that loses power, or is reset, does not. So every
 * start leaves a file of ours, which Kafka ignores:
 *
 *   .barnabas_start: version=0, boot.id=TEXT, suspect=true|false, failed=true|false, a line each
 *
 * `boot.id` is the kernel's (/proc/sys/kernel/random/boot_id): a new one after each boot, the same
 * in all containers of a machine. A directory is suspect when the last stop was not clean and
 *   - the machine was booted since the last start, or the file is not there or cannot be read (the
 *     directory is new or was emptied, or a broker that writes none has crashed), or
 *   - that start found it suspect, and nobody has said since that it does not matter any more
 *     (start_mark_write() with false: no partition counts on this broker); this also after a clean
 *     stop, or
 *   - a write or a sync there has failed since ("failed"). The kernel may then take pages for
 * written that are not on the disk. They are read as if they were, until they leave the cache: so
 * the next start writes again whatever it cannot know to be durable. The mark is written before
 * anything else is, so a crash at any moment leaves one that is right.
 *
 * What it cannot see: a directory that was put back from a copy, complete with its marks, and a
 * disk that says that it has synced and has not. Copies are to be restored without this file. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "fs/fs.h"

#define START_MARK_NAME ".barnabas_start"

enum { START_MARK_BOOT_MAX = 63 };

struct start_mark {
    char boot_id[START_MARK_BOOT_MAX + 1]; /* "": not known */
    bool suspect;
    bool failed; /* since it was written */
    bool found;  /* the file is there */
};

/* What the last start left in `dir`; nothing there or damaged: no boot id, suspect, failed. */
MUST_USE enum err start_mark_read(struct fs *fs, const char *dir, struct start_mark *out);

MUST_USE enum err start_mark_write(struct fs *fs, const char *dir, const struct start_mark *mark);

/* What the next mark has to say: `clean`: the last stop was. */
struct start_mark start_mark_next(const struct start_mark *last, bool clean, const char *boot_id);
