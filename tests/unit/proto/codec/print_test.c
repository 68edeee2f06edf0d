/* Messages as people see them. */
#include <criterion/criterion.h>

#include "codec/codec.h"
#include "codec/messages.h"
#include "random_message.h"

Test(codec_print, shows_the_fields_of_the_version_as_json)
{
    /* Names, nesting, nulls and escapes; bytes only by their size, because they may be secret. */
    struct str racks[] = {STR("a\"b\n"), STR("")};
    struct join_group_request_join_group_request_protocol protocol = {
        .name = racks[0], .metadata = {(const uint8_t *)"xyz", 3}};
    struct join_group_request request;
    codec_init(&join_group_request_desc, &request);
    request.group_id = STR("g");
    request.session_timeout_ms = 10;
    request.protocols = &protocol;
    request.protocols_count = 1;
    struct buf out = {0};
    codec_print(&join_group_request_desc, 0, &request, &out);
    buf_put_byte(&out, 0);
    cr_assert_str_eq((const char *)out.data,
                     "{\"group_id\": \"g\", \"session_timeout_ms\": 10, \"member_id\": \"\", "
                     "\"protocol_type\": \"\", \"protocols\": [{\"name\": \"a\\\"b\\u000a\", "
                     "\"metadata\": \"<3 bytes>\"}]}");
    buf_clear(&out);
    codec_print(&join_group_request_desc, 9, &request, &out);
    buf_put_byte(&out, 0);
    cr_assert_not_null(strstr((const char *)out.data, "\"group_instance_id\": null"));
    buf_fini(&out);
}

Test(codec_print, prints_every_message)
{
    /* Every type and form, under the sanitizers; braces and brackets match outside of strings. */
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < codec_messages_count; i++) {
        const struct msg_desc *desc = codec_messages[i];
        for (int16_t v = desc->versions.first; v <= desc->versions.last; v++) {
            struct arena arena = {0};
            struct buf out = {0};
            codec_print(desc, v, random_message(&rng, desc, v, FILL_RANDOM, &arena), &out);
            int depth = 0;
            bool quoted = false;
            for (size_t at = 0; at < out.size; at++) {
                char c = (char)out.data[at];
                if (quoted) {
                    at += c == '\\';
                    quoted = c != '"';
                } else {
                    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
                    quoted = c == '"';
                    cr_assert_geq(depth, at + 1 == out.size ? 0 : 1);
                }
            }
            cr_assert_eq(depth, 0, "%s %d", desc->name, v);
            cr_assert_not(quoted);
            buf_fini(&out);
            arena_fini(&arena);
        }
    }
}
