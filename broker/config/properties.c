#include "config/properties.h"

#include "base/mem.h"

struct parser {
    const uint8_t *at;
    const uint8_t *end;
    int line;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_eol(uint8_t c)
{
    return c == '\n' || c == '\r';
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->end && is_blank(*p->at)) {
        p->at++;
    }
}

/* Past one end of line (\n, \r or \r\n). */
static void skip_eol(struct parser *p)
{
    if (p->at < p->end && *p->at == '\r') {
        p->at++;
    }
    if (p->at < p->end && *p->at == '\n') {
        p->at++;
    }
    p->line++;
}

static void put_utf8(struct buf *out, uint32_t point)
{
    if (point < 0x80) {
        buf_put_byte(out, (uint8_t)point);
    } else if (point < 0x800) {
        buf_put_byte(out, (uint8_t)(0xc0 | point >> 6));
        buf_put_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
    } else {
        buf_put_byte(out, (uint8_t)(0xe0 | point >> 12));
        buf_put_byte(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
        buf_put_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After a backslash. */
static void take_escape(struct parser *p, struct buf *out)
{
    if (p->at == p->end) {
        return;
    }
    if (is_eol(*p->at)) { /* the line goes on */
        skip_eol(p);
        skip_blanks(p);
        return;
    }
    uint8_t c = *p->at++;
    if (c == 'u' && p->end - p->at >= 4) {
        uint32_t point = 0;
        int digit = 0;
        for (int i = 0; i < 4 && digit >= 0; i++) {
            digit = hex_digit(p->at[i]);
            point = point << 4 | (uint32_t)(digit & 15);
        }
        if (digit >= 0) {
            p->at += 4;
            put_utf8(out, point);
            return;
        }
    }
    static const char from[] = "tnrf";
    static const char to[] = "\t\n\r\f";
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    buf_put_byte(out, known != NULL ? (uint8_t)to[known - from] : c);
}

static void take_key(struct parser *p, struct buf *out)
{
    while (p->at < p->end && !is_eol(*p->at) && !is_blank(*p->at) && *p->at != '=' &&
           *p->at != ':') {
        if (*p->at == '\\') {
            p->at++;
            take_escape(p, out);
        } else {
            buf_put_byte(out, *p->at++);
        }
    }
    skip_blanks(p);
    if (p->at < p->end && (*p->at == '=' || *p->at == ':')) {
        p->at++;
        skip_blanks(p);
    }
}

static void take_value(struct parser *p, struct buf *out)
{
    while (p->at < p->end && !is_eol(*p->at)) {
        if (*p->at == '\\') {
            p->at++;
            take_escape(p, out);
        } else {
            buf_put_byte(out, *p->at++);
        }
    }
    while (out->size > 0 &&
           (is_blank(out->data[out->size - 1]) || is_eol(out->data[out->size - 1]))) {
        out->size--;
    }
}

void properties_parse(struct bytes in, properties_fn *fn, void *arg)
{
    struct parser p = {in.data, in.data + in.size, 1};
    struct buf key = {0};
    struct buf value = {0};
    while (p.at < p.end) {
        skip_blanks(&p);
        if (p.at == p.end) {
            break;
        }
        bool comment = *p.at == '#' || *p.at == '!';
        if (comment || is_eol(*p.at)) {
            while (p.at < p.end && !is_eol(*p.at)) {
                p.at++;
            }
            skip_eol(&p);
            continue;
        }
        int line = p.line;
        buf_clear(&key);
        buf_clear(&value);
        take_key(&p, &key);
        take_value(&p, &value);
        buf_put_byte(&key, 0);
        buf_put_byte(&value, 0);
        fn(arg, (const char *)key.data, (const char *)value.data, line);
        skip_eol(&p);
    }
    buf_fini(&key);
    buf_fini(&value);
}
