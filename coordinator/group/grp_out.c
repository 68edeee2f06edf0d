/* grp_out.c: decisions out. Everything lives in the output's arena. */
#include <stdarg.h>
#include <stdio.h>

#include "group/grp_internal.h"

/* Of the arena so much is kept for the next step. */
enum { OUT_KEPT_BYTES = 64 * 1024 };

static void forget(struct grp_out *out)
{
    out->appends = NULL;
    out->appends_tail = &out->appends;
    out->replies = NULL;
    out->replies_tail = &out->replies;
    out->notes = NULL;
    out->notes_tail = &out->notes;
}

void grp_out_init(struct grp_out *out)
{
    *out = (struct grp_out){0};
    forget(out);
}

void grp_out_reset(struct grp_out *out)
{
    /* Who has once told of a large group would keep the memory for it; there are many of us. */
    if (arena_size(&out->arena) > OUT_KEPT_BYTES) {
        arena_fini(&out->arena);
    }
    arena_reset(&out->arena);
    forget(out);
}

void grp_out_fini(struct grp_out *out)
{
    arena_fini(&out->arena);
    forget(out);
}

struct grp_reply *grp_reply_add(struct grp_coord *coord, void *token, enum grp_event_kind kind)
{
    struct grp_reply *reply = arena_new(&coord->out->arena, struct grp_reply);
    reply->token = token;
    reply->kind = kind;
    if (token != NULL) {
        *coord->out->replies_tail = reply;
        coord->out->replies_tail = &reply->next;
    }
    return reply;
}

uint64_t grp_append_add(struct grp_coord *coord, int16_t acks, const struct grp_out_record *records,
                        size_t count)
{
    must(count > 0);
    struct grp_append *append = arena_new(&coord->out->arena, struct grp_append);
    append->op = coord->next_op++;
    append->acks = acks;
    append->timestamp_ms = coord->wall_ms;
    append->records = records;
    append->record_count = count;
    *coord->out->appends_tail = append;
    coord->out->appends_tail = &append->next;
    return append->op;
}

void grp_note(struct grp_coord *coord, bool warning, const char *event, const char *format, ...)
{
    char text[512]; /* longer text is cut: it is for people */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct grp_note *note = arena_new(&coord->out->arena, struct grp_note);
    note->warning = warning;
    note->event = event;
    note->text = arena_printf(&coord->out->arena, "%s", text);
    *coord->out->notes_tail = note;
    coord->out->notes_tail = &note->next;
}

struct str grp_out_str(struct grp_coord *coord, struct str s)
{
    return arena_str(&coord->out->arena, s);
}

struct bytes grp_out_bytes(struct grp_coord *coord, struct bytes b)
{
    uint8_t *copy = arena_alloc(&coord->out->arena, b.size);
    if (b.size > 0) {
        memcpy(copy, b.data, b.size);
    }
    return (struct bytes){copy, b.size};
}
