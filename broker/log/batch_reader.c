#include "log/batch_reader.h"

#include "record/msgset.h"

enum { READ_AHEAD_BYTES = 1 << 20 };

void batch_reader_init(struct batch_reader *reader, struct seg *seg, int64_t position,
                       bool check_crc)
{
    *reader = (struct batch_reader){
        .seg = seg, .position = position, .end = seg->size_bytes, .check_crc = check_crc};
}

void batch_reader_fini(struct batch_reader *reader)
{
    buf_fini(&reader->piece);
}

/* What is in memory from the position on. */
static struct bytes at_hand(const struct batch_reader *reader)
{
    int64_t skip = reader->position - reader->piece_at;
    if (skip < 0 || skip >= (int64_t)reader->piece.size) {
        return (struct bytes){0};
    }
    return (struct bytes){reader->piece.data + skip, reader->piece.size - (size_t)skip};
}

/* Bring `size` bytes from the position on into memory, or what is left of the file. */
static enum err read_piece(struct batch_reader *reader, size_t size)
{
    size_t got;
    int64_t left = reader->end - reader->position;
    size = (int64_t)size < left ? size : (size_t)left;
    buf_clear(&reader->piece);
    uint8_t *to = buf_extend(&reader->piece, size);
    enum err err = fs_pread(reader->seg->file, to, size, reader->position, &got);
    reader->piece.size = err == ERR_OK ? got : 0;
    reader->piece_at = reader->position;
    return err;
}

/* At least `size` bytes at hand; ERR_CORRUPT when the file ends before. */
static enum err need(struct batch_reader *reader, size_t size, struct bytes *out)
{
    *out = at_hand(reader);
    if (out->size >= size) {
        return ERR_OK;
    }
    if (reader->position + (int64_t)size > reader->end) {
        return ERR_CORRUPT;
    }
    enum err err = read_piece(reader, size > READ_AHEAD_BYTES ? size : READ_AHEAD_BYTES);
    *out = at_hand(reader);
    if (err == ERR_OK && out->size < size) {
        err = ERR_CORRUPT; /* the file has become shorter */
    }
    return err;
}

/* The header at the position, of whatever format: an old one is shorter than 61 bytes. */
static enum err need_header(struct batch_reader *reader, struct batch_header *header)
{
    struct bytes in;
    int64_t left = reader->end - reader->position;
    size_t want = left < BATCH_HEADER_SIZE ? (size_t)left : BATCH_HEADER_SIZE;
    enum err err = need(reader, want, &in);
    if (err == ERR_OK) {
        err = entry_read_header(in, header);
    }
    return err == ERR_AGAIN ? ERR_CORRUPT : err;
}

enum err batch_reader_next(struct batch_reader *reader, struct batch_header *header,
                           struct bytes *batch)
{
    struct bytes in;
    if (reader->position >= reader->end) {
        return ERR_NOT_FOUND;
    }
    enum err err = need_header(reader, header);
    if (err == ERR_OK) {
        err = need(reader, batch_size_bytes(header), &in);
    }
    if (err != ERR_OK) {
        return err;
    }
    *batch = (struct bytes){in.data, batch_size_bytes(header)};
    if (reader->check_crc && entry_check_crc(*batch) != ERR_OK) {
        return ERR_CORRUPT;
    }
    reader->position += (int64_t)batch->size;
    return ERR_OK;
}
