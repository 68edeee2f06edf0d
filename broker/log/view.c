#include "log/view.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"

struct view *view_new(struct seg *const *segs, int32_t count)
{
    must(count > 0);
    struct view *view = mem_alloc(sizeof(*view) + (size_t)count * sizeof(view->segs[0]));
    atomic_init(&view->count, 1);
    view->segs_count = count;
    for (int32_t i = 0; i < count; i++) {
        view->segs[i] = seg_get(segs[i]);
    }
    return view;
}

struct view *view_hold(struct view *view)
{
    ref_hold(&view->count);
    return view;
}

void view_put(struct view *view)
{
    if (view == NULL || !ref_drop(&view->count)) {
        return;
    }
    for (int32_t i = 0; i < view->segs_count; i++) {
        seg_put(view->segs[i]);
    }
    mem_free(view);
}

/* The last segment that begins at or before `offset`; -1 when all begin behind it. */
static int32_t find_seg(const struct view *view, int64_t offset)
{
    int32_t low = 0;
    int32_t high = view->segs_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (view->segs[middle]->base_offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

/* `piece` NULL: the disk may be waited for. */
static enum err find(struct seg *seg, int64_t offset, struct seg_place *place,
                     struct seg_piece *piece)
{
    struct batch_header header;
    if (piece != NULL) {
        return seg_find_cached(seg, offset, place, piece);
    }
    enum err err = seg_find(seg, offset, &place->position, &header);
    if (err == ERR_OK) {
        place->base_offset = header.base_offset;
        place->size_bytes = batch_size_bytes(&header);
    }
    return err;
}

/* Where reading has to end: at the segment's end, or at the first batch that begins at the limit.
 */
static enum err find_end(struct seg *seg, bool cached, int64_t offset_limit, int64_t *end)
{
    int64_t next_offset;
    seg_bounds(seg, end, &next_offset);
    if (offset_limit >= next_offset) {
        return ERR_OK;
    }
    struct seg_place place;
    struct seg_piece piece;
    enum err err = find(seg, offset_limit, &place, cached ? &piece : NULL);
    *end = err == ERR_OK ? place.position : *end;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err read_with(struct view *view, int64_t offset, int64_t offset_limit, size_t max_bytes,
                          bool min_one, struct view_range *out, struct seg_piece *piece)
{
    *out = (struct view_range){0};
    int32_t at = find_seg(view, offset);
    if (at < 0) {
        return ERR_OFFSET_OUT_OF_RANGE;
    }
    struct seg_place start = {0};
    enum err err = ERR_NOT_FOUND;
    /* A segment may end before the next begins (compaction, an emptied one): look in the next. */
    for (; at < view->segs_count && err == ERR_NOT_FOUND; at++) {
        err = find(view->segs[at], offset, &start, piece);
    }
    if (err == ERR_NOT_FOUND) {
        return ERR_OK; /* at the end of the log */
    }
    if (err != ERR_OK) {
        return err;
    }
    struct seg *seg = view->segs[at - 1];
    int64_t end;
    err = find_end(seg, piece != NULL, offset_limit, &end);
    if (err != ERR_OK || end <= start.position) {
        return err;
    }
    size_t left = (size_t)(end - start.position);
    size_t size = left < max_bytes ? left : max_bytes;
    if (size < start.size_bytes) {
        size = min_one ? start.size_bytes : 0;
    }
    bool more = at < view->segs_count && view->segs[at]->base_offset < offset_limit;
    *out = (struct view_range){.file = seg->file,
                               .position = start.position,
                               .size_bytes = size,
                               .base_offset = start.base_offset,
                               .ends_segment = more && size == left};
    return ERR_OK;
}

enum err view_read(struct view *view, int64_t offset, int64_t offset_limit, size_t max_bytes,
                   bool min_one, struct view_range *out)
{
    return read_with(view, offset, offset_limit, max_bytes, min_one, out, NULL);
}

/* Does the piece hold all of the range? */
static bool covers(const struct seg_piece *piece, const struct view_range *range)
{
    return range->size_bytes > 0 && range->position >= piece->position &&
           range->position + (int64_t)range->size_bytes <= piece->position + (int64_t)piece->size;
}

enum err view_read_cached(struct view *view, int64_t offset, int64_t offset_limit, size_t max_bytes,
                          bool min_one, struct view_range *out, struct view_copy *copy)
{
    struct seg_piece piece; /* filled as far as it is read */
    piece.size = 0;
    enum err err = read_with(view, offset, offset_limit, max_bytes, min_one, out, &piece);
    out->in_memory = err == ERR_OK && covers(&piece, out);
    if (copy != NULL) {
        copy->size = out->in_memory && out->size_bytes <= sizeof(copy->bytes) ? out->size_bytes : 0;
        memcpy(copy->bytes, piece.bytes + (copy->size > 0 ? out->position - piece.position : 0),
               copy->size);
    }
    return err;
}
