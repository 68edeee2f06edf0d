/* What a line looks like, whatever clients put into it, and how often it is written. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"

enum { OUTPUT_MAX = 16384 };

/* Where the log goes during a test: a file without a name. */
static int output = -1;
static char text[OUTPUT_MAX];

static void capture(void)
{
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    output = dup(fileno(file));
    fclose(file);
    log_set_fd(output);
}

/* Everything written since the last call. */
static const char *captured(void)
{
    ssize_t size = pread(output, text, sizeof(text) - 1, 0);
    cr_assert_geq(size, 0);
    text[size] = '\0';
    cr_assert_eq(ftruncate(output, 0), 0);
    cr_assert_eq(lseek(output, 0, SEEK_SET), 0);
    return text;
}

static int lines(const char *at)
{
    int count = 0;
    for (; *at != '\0'; at++) {
        count += *at == '\n';
    }
    return count;
}

/* Is it one JSON object of string values on one line, in UTF-8? */
static bool is_json_line(const char *line)
{
    const uint8_t *at = (const uint8_t *)line;
    size_t left = strlen(line);
    bool inside = false;
    bool escaped = false;
    if (left < 3 || line[0] != '{' || strcmp(line + left - 2, "}\n") != 0) {
        return false;
    }
    for (size_t used; left > 1; at += used, left -= used) {
        uint32_t point = utf8_next(at, left, &used);
        if (point < 0x20 || (point == 0xfffd && used == 1)) {
            return false;
        }
        if (escaped && strchr("\"\\u", (int)point) == NULL) {
            return false;
        }
        inside = point == '"' && !escaped ? !inside : inside;
        escaped = point == '\\' && !escaped;
    }
    return !inside;
}

Test(log, text_is_as_log4j_prints_it, .init = capture)
{
    log_info("kafka.controller", "leader elected", "tp=%s epoch=%d", "orders-0", 3);
    const char *line = captured();
    int year, month, day, hour, minute, second, ms, end = 0;
    cr_assert_eq(sscanf(line, "[%4d-%2d-%2d %2d:%2d:%2d,%3d] INFO leader elected: %n", &year,
                        &month, &day, &hour, &minute, &second, &ms, &end),
                 7);
    cr_assert_str_eq(line + end, "tp=orders-0 epoch=3 (kafka.controller)\n");
}

/* A client's bytes can neither begin a line of their own nor colour the terminal. */
Test(log, a_message_is_one_line_whatever_is_in_it, .init = capture)
{
    log_warn("x", "odd name", "name=%s", "a\nb\r\x1b[31mc");
    const char *line = captured();
    cr_assert_eq(lines(line), 1);
    cr_assert_not_null(strstr(line, "name=a b  [31mc (x)\n"));
}

Test(log, text_that_is_too_long_is_cut_and_ends_the_line, .init = capture)
{
    log_warn("x", "long", "%0*d", 10000, 1);
    const char *line = captured();
    cr_assert_eq(lines(line), 1);
    cr_assert_leq(strlen(line), 4096);
}

Test(log, json_has_the_same_fields, .init = capture)
{
    log_set_format(LOG_FORMAT_JSON);
    log_error("kafka.server", "cannot \"lead\"", "tp=%s", "a\\b\tc");
    const char *line = captured();
    cr_assert(is_json_line(line));
    cr_assert_eq(strncmp(line, "{\"ts\":\"", 7), 0);
    cr_assert_not_null(strstr(line, "Z\",\"level\":\"ERROR\",\"logger\":\"kafka.server\","
                                    "\"event\":\"cannot \\\"lead\\\"\","
                                    "\"detail\":\"tp=a\\\\b\\u0009c\"}\n"));
}

/* Cutting at a fixed place once cut escapes in two, and a reader of the log lost the line. */
Test(log, json_that_is_cut_is_still_json, .init = capture)
{
    static const char *const pieces[] = {"\"", "\\", "\x01", "\xe2\x82\xac", "\xff", "x"};
    log_set_format(LOG_FORMAT_JSON);
    for (size_t piece = 0; piece < sizeof(pieces) / sizeof(pieces[0]); piece++) {
        for (int shift = 0; shift < 8; shift++) {
            struct buf detail = {0};
            buf_put(&detail, "aaaaaaaa", (size_t)shift);
            while (detail.size < 4000) {
                buf_put_text(&detail, pieces[piece]);
            }
            buf_put_byte(&detail, 0);
            log_warn("x", "long", "%s", (const char *)detail.data);
            cr_assert(is_json_line(captured()), "piece %zu, shift %d", piece, shift);
            buf_fini(&detail);
        }
    }
}

/* Clients may name themselves with any bytes; a log in JSON is UTF-8. */
Test(log, json_replaces_what_is_not_utf8, .init = capture)
{
    log_set_format(LOG_FORMAT_JSON);
    log_warn("x", "name", "%s",
             "a\xff\xe2\x82"
             "b\xc3\xa9");
    const char *line = captured();
    cr_assert(is_json_line(line));
    cr_assert_not_null(strstr(line, "\"a\\ufffd\\ufffd\\ufffdb\xc3\xa9\"}"));
}

Test(log, levels_go_down_the_tree, .init = capture)
{
    enum log_level level;
    log_debug("kafka.server.A", "hidden", "x");
    cr_assert_eq(log_set_level("kafka.server", LOG_DEBUG), ERR_OK);
    log_debug("kafka.server.A", "shown", "x");
    log_debug("kafka.serverless", "hidden", "x");
    cr_assert_eq(log_set_level("kafka.server.A", LOG_ERROR), ERR_OK);
    log_warn("kafka.server.A.B", "hidden", "x");
    cr_assert_eq(log_get_level("kafka.server.A.B"), LOG_ERROR);
    cr_assert_eq(lines(captured()), 1);
    cr_assert_eq(log_reset_level("kafka.server.A"), ERR_OK);
    cr_assert_eq(log_reset_level("kafka.server.A"), ERR_NOT_FOUND);
    cr_assert_eq(log_get_level("kafka.server.A.B"), LOG_DEBUG);
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    log_error("other", "hidden", "x");
    cr_assert_eq(lines(captured()), 0);
    cr_assert(log_level_parse("warn", &level));
    cr_assert_eq(level, LOG_WARN);
    cr_assert(!log_level_parse("loud", &level));
    cr_assert_str_eq(log_level_name(LOG_FATAL), "FATAL");
}

/* Anybody may set levels through the admin API: their number and their names are bounded. */
Test(log, levels_are_bounded)
{
    char name[300];
    for (int i = 0; i < LOG_LOGGERS_MAX; i++) {
        snprintf(name, sizeof(name), "logger.%d", i);
        cr_assert_eq(log_set_level(name, LOG_WARN), ERR_OK);
    }
    cr_assert_eq(log_set_level("one.more", LOG_WARN), ERR_NO_MEMORY);
    cr_assert_eq(log_set_level("logger.3", LOG_ERROR), ERR_OK);
    cr_assert_eq(log_get_level("logger.3"), LOG_ERROR);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(log_set_level(name, LOG_WARN), ERR_INVALID);
}

static void complain(struct log_limit *limit)
{
    log_limited(limit, LOG_WARN, "x", "bad frame", "peer=%s", "p");
}

/* One line a minute; the next one says how many were left out. */
Test(log, what_repeats_is_counted_instead, .init = capture)
{
    struct log_limit limit = {0};
    for (int i = 0; i < 100; i++) {
        complain(&limit);
    }
    const char *line = captured();
    cr_assert_eq(lines(line), 1);
    cr_assert_not_null(strstr(line, "peer=p repeated=0 (x)"));
    atomic_store(&limit.next_ms, 0); /* a minute later */
    complain(&limit);
    line = captured();
    cr_assert_eq(lines(line), 1);
    cr_assert_not_null(strstr(line, "peer=p repeated=99 (x)"));
}

/* A log that cannot be written must not stop the broker. */
Test(log, a_closed_output_is_survived)
{
    log_set_fd(-1);
    log_error("x", "nobody hears", "x");
}
