#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

/* Every code that Kafka 3.9 has, -1 to 127, goes to an error and back. */
Test(err, wire_codes_go_both_ways)
{
    for (int code = -1; code <= 127; code++) {
        enum err err = err_from_wire((int16_t)code);
        cr_assert_eq(err_wire(err), code);
    }
    cr_assert_eq(err_from_wire(128), ERR_UNKNOWN_SERVER_ERROR);
    cr_assert_eq(err_from_wire(-2), ERR_UNKNOWN_SERVER_ERROR);
    cr_assert_eq(err_from_wire(INT16_MAX), ERR_UNKNOWN_SERVER_ERROR);
}

/* What stays inside has a code that clients know, a name and a text. */
Test(err, every_error_has_a_code_a_name_and_a_text)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        enum err err = (enum err)i;
        cr_assert_geq(err_wire(err), -1);
        cr_assert_leq(err_wire(err), 127);
        cr_assert_not_null(err_name(err));
        cr_assert_gt(strlen(err_text(err)), 0);
    }
    cr_assert_str_eq(err_name(ERR_OK), "NONE");
    cr_assert_str_eq(err_name(ERR_NOT_LEADER_OR_FOLLOWER), "NOT_LEADER_OR_FOLLOWER");
    cr_assert_eq(err_wire(ERR_NO_SPACE), 56);
    cr_assert(err_retriable(ERR_NOT_LEADER_OR_FOLLOWER));
    cr_assert(!err_retriable(ERR_INVALID_CONFIG));
}

Test(err, from_errno)
{
    cr_assert_eq(err_from_errno(0), ERR_OK);
    cr_assert_eq(err_from_errno(ENOSPC), ERR_NO_SPACE);
    cr_assert_eq(err_from_errno(EDQUOT), ERR_NO_SPACE);
    cr_assert_eq(err_from_errno(EMFILE), ERR_NO_FILES);
    cr_assert_eq(err_from_errno(ENFILE), ERR_NO_FILES);
    cr_assert_eq(err_from_errno(ENOENT), ERR_NOT_FOUND);
    cr_assert_eq(err_from_errno(EROFS), ERR_PERMISSION);
    cr_assert_eq(err_from_errno(ECONNRESET), ERR_CLOSED);
    cr_assert_eq(err_from_errno(EIO), ERR_IO);
    cr_assert_eq(err_from_errno(12345), ERR_IO);
}

Test(errmsg, wraps_context_around_what_is_there)
{
    struct errmsg msg;
    errmsg_set(&msg, "no such file: %s", "a.log");
    errmsg_wrap(&msg, "opening %d", 7);
    cr_assert_str_eq(msg.text, "opening 7: no such file: a.log");
    errmsg_set(NULL, "nobody listens");
    errmsg_wrap(NULL, "nobody listens");
}

/* Too long a text is cut, never overrun. */
Test(errmsg, cuts_what_is_too_long)
{
    struct errmsg msg;
    char large[3000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    errmsg_set(&msg, "%s", large);
    cr_assert_eq(strlen(msg.text), sizeof(msg.text) - 1);
    errmsg_wrap(&msg, "context");
    cr_assert_eq(strlen(msg.text), sizeof(msg.text) - 1);
    cr_assert_eq(strncmp(msg.text, "context: xxx", 12), 0);
    errmsg_wrap(&msg, "%s", large);
    cr_assert_eq(strlen(msg.text), sizeof(msg.text) - 1);
}
