#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"

struct err_info {
    const char *name;
    const char *text;
    int16_t wire;
    bool retriable;
};

static const struct err_info err_table[ERR_COUNT] = {
    [ERR_OK] = {"NONE", "no error", 0, false},
    [ERR_UNKNOWN_SERVER_ERROR] = {"UNKNOWN_SERVER_ERROR", "unknown server error", -1, false},
#define X(id, wire_code, is_retriable, phrase) [ERR_##id] = {#id, phrase, wire_code, is_retriable},
    ERR_LIST_WIRE(X) ERR_LIST_INTERNAL(X)
#undef X
};

static const struct err_info *err_info(enum err err)
{
    must((int)err >= 0);
    must(err < ERR_COUNT);
    return &err_table[err];
}

int16_t err_wire(enum err err)
{
    return err_info(err)->wire;
}

enum err err_from_wire(int16_t code)
{
    if (code == 0) {
        return ERR_OK;
    }
    /* The wire errors stand in the order of their codes and come before the internal ones. */
    for (int i = ERR_UNKNOWN_SERVER_ERROR; i < ERR_IO; i++) {
        if (err_table[i].wire == code) {
            return (enum err)i;
        }
    }
    return ERR_UNKNOWN_SERVER_ERROR;
}

const char *err_name(enum err err)
{
    return err_info(err)->name;
}

const char *err_text(enum err err)
{
    return err_info(err)->text;
}

bool err_retriable(enum err err)
{
    return err_info(err)->retriable;
}

enum err err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_OK;
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EMFILE:
    case ENFILE:
        return ERR_NO_FILES;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EAGAIN:
        return ERR_AGAIN;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case ENOTCONN:
        return ERR_CLOSED;
    case EINVAL:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

void errmsg_set(struct errmsg *msg, const char *format, ...)
{
    if (msg == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(msg->text, sizeof(msg->text), format, args);
    va_end(args);
}

void errmsg_wrap(struct errmsg *msg, const char *format, ...)
{
    if (msg == NULL) {
        return;
    }
    char inner[sizeof(msg->text)];
    memcpy(inner, msg->text, sizeof(inner));
    va_list args;
    va_start(args, format);
    int used = vsnprintf(msg->text, sizeof(msg->text), format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof(msg->text)) {
        return;
    }
    size_t room = sizeof(msg->text) - (size_t)used;
    int rest = snprintf(msg->text + used, room, ": %s", inner);
    must(rest >= 0);
}
