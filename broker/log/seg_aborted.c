/* seg_aborted.c: the index of aborted transactions of a segment that gets shorter. We write none,
 * but a directory that comes from Kafka has them, and may go back: an entry that is left behind the
 * segment's end would hide records that are written there later from consumers of read_committed.
 *
 *   <base offset, 20 digits>.txnindex   entries of 34 bytes; last offsets grow
 *      at  size field
 *       0    2  version, 0
 *       2    8  producer id
 *      10    8  first offset
 *      18    8  last offset
 *      26    8  last stable offset
 *
 * Source: Kafka 3.9 in ZooKeeper mode. */
#include "base/mem.h"
#include "log/seg_internal.h"

enum { ENTRY_BYTES = 34, LAST_OFFSET_AT = 18, ENTRIES_AT_ONCE = 256 };

/* So many of the bytes are whole entries that end before `offset`. */
static size_t kept_of(struct bytes in, int64_t offset)
{
    size_t at = 0;
    while (at + ENTRY_BYTES <= in.size && be16_get(in.data + at) == 0 &&
           (int64_t)be64_get(in.data + at + LAST_OFFSET_AT) < offset) {
        at += ENTRY_BYTES;
    }
    return at;
}

static enum err find_kept(struct fs_file *file, int64_t offset, int64_t *position)
{
    uint8_t piece[ENTRIES_AT_ONCE * ENTRY_BYTES];
    *position = 0;
    for (;;) {
        size_t got;
        enum err err = fs_pread(file, piece, sizeof(piece), *position, &got);
        if (err != ERR_OK) {
            return err;
        }
        size_t kept = kept_of((struct bytes){piece, got}, offset);
        *position += (int64_t)kept;
        if (kept < sizeof(piece)) {
            return ERR_OK;
        }
    }
}

enum err seg_cut_aborted(struct seg *seg, int64_t offset)
{
    struct fs_file *file;
    int64_t position;
    char *path = seg_path(seg, "txnindex");
    enum err err = fs_open(seg->fs, path, FS_WRITE, &file);
    mem_free(path);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    err = find_kept(file, offset, &position);
    if (err == ERR_OK) {
        err = fs_truncate(file, position);
    }
    if (err == ERR_OK) {
        err = fs_sync(file);
    }
    fs_close(file);
    return err;
}
