#include "config/properties.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Pairs as "line:key=value;" one after the other. */
static void collect(void *arg, const char *key, const char *value, int line)
{
    struct buf *out = arg;
    buf_printf(out, "%d:%s=%s;", line, key, value);
}

static void expect_bytes(const char *text, size_t size, const char *expected)
{
    struct buf out = {0};
    properties_parse((struct bytes){(const uint8_t *)text, size}, collect, &out);
    buf_put_byte(&out, 0);
    cr_expect_str_eq((const char *)out.data, expected, "of %s", text);
    buf_fini(&out);
}

static void expect(const char *text, const char *expected)
{
    expect_bytes(text, strlen(text), expected);
}

Test(properties, key_and_value_are_separated_by_equals_colon_or_blanks)
{
    expect("a=1\nb:2\nc 3\nd\t4\ne = 5\nf  :  6\n", "1:a=1;2:b=2;3:c=3;4:d=4;5:e=5;6:f=6;");
    expect("a==1\nb=:2\nc = = 3\n", "1:a==1;2:b=:2;3:c== 3;");
    expect("url=PLAINTEXT://:9092", "1:url=PLAINTEXT://:9092;");
}

Test(properties, a_key_alone_has_an_empty_value)
{
    expect("a\nb=\nc = \n=1\n", "1:a=;2:b=;3:c=;4:=1;");
}

Test(properties, comments_and_empty_lines_are_skipped_and_lines_counted)
{
    expect("# one\n  ! two\n\n   \na=1 # no comment\n", "5:a=1 # no comment;");
    expect("#a=1\\\nb=2\n", "2:b=2;"); /* a comment does not go on */
}

Test(properties, a_backslash_continues_a_line_and_blanks_before_the_rest_are_skipped)
{
    expect("a=1,\\\n    2,\\\r\n\t3\nb=4\n", "1:a=1,2,3;4:b=4;");
    expect("long.\\\n  key=1\n", "1:long.key=1;");
    expect("a=1\\\n", "1:a=1;");
    expect("a=1\\", "1:a=1;");
    expect("a=\\\\\nb=2\n", "1:a=\\;2:b=2;"); /* an escaped backslash does not continue */
}

Test(properties, escapes_are_replaced)
{
    expect("a\\ b=1\nc\\=d=2\ne\\:f=3\n", "1:a b=1;2:c=d=2;3:e:f=3;");
    expect("a=x\\ty\\nz\n", "1:a=x\ty\nz;");
    expect("a=\\u0041\\u00e9\\u20ac\n", "1:a=A\xc3\xa9\xe2\x82\xac;");
    expect("a=\\q\\uZZZZ\n", "1:a=quZZZZ;");
    expect("C:\\\\data", "1:C=\\data;");
}

Test(properties, values_are_trimmed_and_all_ends_of_line_are_understood)
{
    expect("a=1  \r\nb=2\t\rc=3", "1:a=1;2:b=2;3:c=3;");
    expect("   a=1\n", "1:a=1;");
}

Test(properties, any_bytes_are_read)
{
    expect("", "");
    expect("\\", "1:=;");
    expect_bytes("a=1\0b\nc=2", 9, "1:a=1;2:c=2;");
    expect_bytes("\xff\xfe=\x80", 4, "1:\xff\xfe=\x80;");
}

Test(properties, of_a_key_given_twice_both_are_told_in_order)
{
    expect("a=1\na=2\n", "1:a=1;2:a=2;");
}
