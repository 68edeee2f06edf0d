/* Where leader epochs begin and end, and the text files that keep them and other offsets. */
#include "log_fixture.h"

static void expect(struct epochs *epochs, const char *expected)
{
    struct buf text = {0};
    for (int32_t i = 0; i < epochs->count; i++) {
        buf_printf(&text, "%d@%" PRId64 " ", epochs->entries[i].epoch,
                   epochs->entries[i].start_offset);
    }
    buf_put_byte(&text, 0);
    cr_assert_str_eq((char *)text.data, expected);
    buf_fini(&text);
}

static void assign(struct epochs *epochs, const int64_t (*pairs)[2], int count)
{
    epochs_init(epochs);
    for (int i = 0; i < count; i++) {
        epochs_assign(epochs, (int32_t)pairs[i][0], pairs[i][1]);
    }
}

static const int64_t three[][2] = {{1, 0}, {3, 10}, {4, 25}};

Test(epochs, begin_once_and_replace_what_contradicts_them)
{
    struct epochs e;
    assign(&e, three, 3);
    expect(&e, "1@0 3@10 4@25 ");
    epochs_assign(&e, 4, 30);
    epochs_assign(&e, -1, 40);
    expect(&e, "1@0 3@10 4@25 ");
    epochs_assign(&e, 5, 25);
    expect(&e, "1@0 3@10 5@25 ");
    epochs_assign(&e, 3, 12);
    expect(&e, "1@0 3@12 ");
    epochs_assign(&e, 3, 8);
    expect(&e, "1@0 3@8 ");
    epochs_fini(&e);
}

Test(epochs, end_where_the_next_begins)
{
    struct {
        int32_t asked, found;
        int64_t end;
    } cases[] = {{-1, -1, -1}, {0, 0, 0},   {1, 1, 10},  {2, 1, 10},
                 {3, 3, 25},   {4, 4, 100}, {5, -1, -1}, {INT32_MAX, -1, -1}};
    struct epochs e;
    assign(&e, three, 3);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int32_t found;
        int64_t end;
        epochs_end_of(&e, cases[i].asked, 100, &found, &end);
        cr_assert_eq(found, cases[i].found, "epoch %d: %d", cases[i].asked, found);
        cr_assert_eq(end, cases[i].end, "epoch %d: %" PRId64, cases[i].asked, end);
    }
    epochs_fini(&e);
    epochs_init(&e);
    int32_t found;
    int64_t end;
    epochs_end_of(&e, 0, 100, &found, &end);
    cr_assert_eq(found, -1);
    cr_assert_eq(end, -1);
    epochs_fini(&e);
}

Test(epochs, are_known_of_each_offset)
{
    struct epochs e;
    assign(&e, three, 3);
    cr_assert_eq(epochs_at(&e, 0), 1);
    cr_assert_eq(epochs_at(&e, 9), 1);
    cr_assert_eq(epochs_at(&e, 10), 3);
    cr_assert_eq(epochs_at(&e, 999), 4);
    cr_assert_eq(epochs_latest(&e), 4);
    epochs_truncate_start(&e, 12);
    cr_assert_eq(epochs_at(&e, 11), -1);
    epochs_fini(&e);
}

Test(epochs, shrink_at_both_ends)
{
    struct epochs e;
    assign(&e, three, 3);
    epochs_truncate_end(&e, 26);
    expect(&e, "1@0 3@10 4@25 ");
    epochs_truncate_end(&e, 25);
    expect(&e, "1@0 3@10 ");
    epochs_truncate_start(&e, 10);
    expect(&e, "3@10 ");
    epochs_truncate_start(&e, 15);
    expect(&e, "3@15 ");
    epochs_truncate_start(&e, 3);
    expect(&e, "3@15 ");
    epochs_truncate_end(&e, 0);
    expect(&e, "");
    cr_assert_eq(epochs_latest(&e), -1);
    epochs_fini(&e);
}

Test(epochs, are_written_only_when_they_differ)
{
    struct log_world w;
    struct epochs e;
    world_begin(&w, 1);
    assign(&e, three, 3);
    cr_assert_eq(epochs_save(&e, w.fs, "/data/epochs"), ERR_OK);
    int64_t writes = fs_fault_calls(w.fault, FS_OP_PWRITEV);
    epochs_assign(&e, 4, 50);
    cr_assert_eq(epochs_save(&e, w.fs, "/data/epochs"), ERR_OK);
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_PWRITEV), writes);
    epochs_assign(&e, 5, 50);
    cr_assert_eq(epochs_save(&e, w.fs, "/data/epochs"), ERR_OK);
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_PWRITEV), writes + 1);
    epochs_fini(&e);
    world_end(&w);
}

Test(epochs, that_do_not_grow_are_dropped_when_loaded)
{
    const struct epoch_entry entries[] = {{1, 5}, {1, 6}, {2, 4}, {3, 9}};
    struct epochs e;
    epochs_init(&e);
    epochs_load(&e, entries, 4);
    expect(&e, "1@5 3@9 ");
    struct buf text = {0};
    cr_assert(epochs_content(&e, &text), "the file is to be corrected");
    buf_fini(&text);
    epochs_fini(&e);
}

/* ---- checkpoint files ---- */

static enum err read_offsets(const char *text, struct checkpoint *out)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(fs_replace(w.fs, "/data/c", text, strlen(text)), ERR_OK);
    enum err err = checkpoint_read(w.fs, "/data/c", out);
    world_end(&w);
    return err;
}

Test(checkpoint, finds_what_it_lists)
{
    struct checkpoint c;
    cr_assert_eq(read_offsets("0\n3\nb 10 7\na 0 -1\nb 2 9\n", &c), ERR_OK);
    cr_assert_eq(checkpoint_find(&c, STR("b"), 2), 9);
    cr_assert_eq(checkpoint_find(&c, STR("b"), 10), 7);
    cr_assert_eq(checkpoint_find(&c, STR("b"), 3), -1);
    cr_assert_eq(checkpoint_find(&c, STR("c"), 0), -1);
    checkpoint_fini(&c);
}

Test(checkpoint, an_empty_file_lists_nothing)
{
    struct checkpoint c;
    cr_assert_eq(read_offsets("", &c), ERR_OK);
    cr_assert_eq(c.count, 0);
    cr_assert_eq(checkpoint_find(&c, STR("a"), 0), -1);
    cr_assert_eq(read_offsets("0\n0\n", &c), ERR_OK);
    cr_assert_eq(c.count, 0);
}

Test(checkpoint, anything_else_is_corrupt)
{
    static const char *const texts[] = {"1\n0\n",
                                        "0\n",
                                        "0\n1\n",
                                        "0\n2\na 0 1\n",
                                        "0\n1\na 0 1\nb 0 2\n",
                                        "0\n1\na 0\n",
                                        "0\n1\na x 1\n",
                                        "0\n1\na -1 1\n",
                                        "0\n-1\n",
                                        "0\n1\na 0 99999999999999999999\n",
                                        "0\n1\na 0 1 extra\n",
                                        "zero\n0\n",
                                        "0\n1\na 99999999999 1\n",
                                        "0 0 0\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct checkpoint c;
        cr_assert_eq(read_offsets(texts[i], &c), ERR_CORRUPT, "%s", texts[i]);
        cr_assert_eq(c.count, 0);
    }
}

Test(checkpoint, a_count_that_the_file_cannot_hold_costs_no_memory)
{
    struct log_world w;
    struct epoch_entry *entries;
    int32_t count;
    world_begin(&w, 1);
    const char text[] = "0\n2147483647\n1 1\n";
    cr_assert_eq(fs_replace(w.fs, "/data/c", text, sizeof(text) - 1), ERR_OK);
    cr_assert_eq(epoch_checkpoint_read(w.fs, "/data/c", &entries, &count), ERR_CORRUPT);
    cr_assert_null(entries);
    cr_assert_eq(count, 0);
    world_end(&w);
}
