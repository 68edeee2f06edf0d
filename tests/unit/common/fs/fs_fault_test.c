/* Every operation can be made to fail at its k-th call, and nothing else fails with it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "fs/fs_fault.h"
#include "fs/fs_sim.h"

struct world {
    struct fs_sim *sim;
    struct fs_fault *fault;
    struct fs *fs;
};

static void begin(struct world *w)
{
    w->sim = fs_sim_new(1);
    w->fault = fs_fault_new(fs_sim_fs(w->sim));
    w->fs = fs_fault_fs(w->fault);
}

static void end(struct world *w)
{
    fs_fault_free(w->fault);
    fs_sim_free(w->sim);
}

static enum err no_entry(void *arg, const char *name, bool is_dir)
{
    (void)arg;
    (void)name;
    (void)is_dir;
    return ERR_OK;
}

/* Call each operation once, in an order in which all succeed; returns the first error. */
static enum err all_operations(struct fs *fs, enum fs_op *failed)
{
    struct fs_file *file = NULL;
    struct fs_stat st;
    char byte;
    size_t got;
    int64_t a;
    int64_t b;
    enum err err = ERR_OK;
#define STEP(op, call)                                                                             \
    if (err == ERR_OK) {                                                                           \
        *failed = op;                                                                              \
        err = call;                                                                                \
    }
    STEP(FS_OP_MKDIR, fs_mkdir(fs, "/d"));
    STEP(FS_OP_OPEN, fs_open(fs, "/d/a", FS_WRITE | FS_CREATE, &file));
    STEP(FS_OP_LOCK, fs_lock(file));
    STEP(FS_OP_PWRITEV, fs_pwrite(file, "x", 1, 0));
    STEP(FS_OP_PREAD, fs_pread(file, &byte, 1, 0, &got));
    STEP(FS_OP_SIZE, fs_size(file, &a));
    STEP(FS_OP_TRUNCATE, fs_truncate(file, 1));
    STEP(FS_OP_SYNC, fs_sync(file));
    STEP(FS_OP_SYNC_ALL, fs_sync_all(file));
    STEP(FS_OP_STAT, fs_stat(fs, "/d/a", &st));
    STEP(FS_OP_SET_MTIME, fs_set_mtime(fs, "/d/a", 1));
    STEP(FS_OP_RENAME, fs_rename(fs, "/d/a", "/d/b"));
    STEP(FS_OP_SYNC_DIR, fs_sync_dir(fs, "/d"));
    STEP(FS_OP_LIST, fs_list(fs, "/d", no_entry, NULL));
    STEP(FS_OP_SPACE, fs_space(fs, "/d", &a, &b));
    STEP(FS_OP_UNLINK, fs_unlink(fs, "/d/b"));
    STEP(FS_OP_RMDIR, fs_rmdir(fs, "/d"));
#undef STEP
    fs_close(file);
    return err;
}

Test(fs_fault, lets_everything_pass_without_a_plan)
{
    struct world w;
    enum fs_op last;
    begin(&w);
    cr_assert_eq(all_operations(w.fs, &last), ERR_OK);
    for (enum fs_op op = 0; op < FS_OP_COUNT; op++) {
        cr_assert_eq(fs_fault_calls(w.fault, op), 1, "%s", fs_op_name(op));
    }
    end(&w);
}

Test(fs_fault, each_kind_of_call_can_fail)
{
    for (enum fs_op op = 0; op < FS_OP_COUNT; op++) {
        struct world w;
        enum fs_op failed;
        begin(&w);
        fs_fault_set(w.fault,
                     &(struct fs_fault_plan){.ops = FS_OP_BIT(op), .repeat = 1, .err = ERR_IO});
        cr_assert_eq(all_operations(w.fs, &failed), ERR_IO, "%s", fs_op_name(op));
        cr_assert_eq(failed, op, "%s failed instead of %s", fs_op_name(failed), fs_op_name(op));
        cr_assert_eq(fs_fault_hits(w.fault), 1);
        end(&w);
    }
}

Test(fs_fault, the_kth_call_fails_for_every_k)
{
    int reached = 0;
    for (int64_t k = 0;; k++) {
        struct world w;
        enum fs_op failed;
        begin(&w);
        fs_fault_set(w.fault, &(struct fs_fault_plan){
                                  .ops = FS_OPS_ALL, .after = k, .repeat = 1, .err = ERR_NO_SPACE});
        enum err err = all_operations(w.fs, &failed);
        bool hit = fs_fault_hits(w.fault) > 0;
        end(&w);
        if (!hit) {
            cr_assert_eq(err, ERR_OK);
            break;
        }
        cr_assert_eq(err, ERR_NO_SPACE);
        reached++;
    }
    cr_assert_eq(reached, FS_OP_COUNT);
}

static enum err write_once(struct fs *fs, const char *path, const char *text)
{
    struct fs_file *file;
    enum err err = fs_open(fs, path, FS_WRITE | FS_CREATE, &file);
    cr_assert_eq(err, ERR_OK);
    err = fs_pwrite(file, text, strlen(text), 0);
    fs_close(file);
    return err;
}

Test(fs_fault, repeats_as_often_as_told_and_for_ever)
{
    struct world w;
    begin(&w);
    struct fs_fault_plan plan = {
        .ops = FS_OP_BIT(FS_OP_PWRITEV), .after = 1, .repeat = 2, .err = ERR_IO};
    fs_fault_set(w.fault, &plan);
    cr_assert_eq(write_once(w.fs, "/a", "1"), ERR_OK);
    cr_assert_eq(write_once(w.fs, "/a", "2"), ERR_IO);
    cr_assert_eq(write_once(w.fs, "/a", "3"), ERR_IO);
    cr_assert_eq(write_once(w.fs, "/a", "4"), ERR_OK);
    plan.repeat = FS_FAULT_FOR_EVER;
    fs_fault_set(w.fault, &plan);
    cr_assert_eq(write_once(w.fs, "/a", "5"), ERR_OK, "counting begins anew");
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(write_once(w.fs, "/a", "6"), ERR_IO);
    }
    fs_fault_clear(w.fault);
    cr_assert_eq(write_once(w.fs, "/a", "7"), ERR_OK);
    cr_assert_eq(fs_fault_hits(w.fault), 10);
    end(&w);
}

Test(fs_fault, can_be_for_one_path)
{
    struct world w;
    begin(&w);
    fs_fault_set(w.fault, &(struct fs_fault_plan){.ops = FS_OPS_WRITE,
                                                  .path = ".index",
                                                  .repeat = FS_FAULT_FOR_EVER,
                                                  .err = ERR_IO});
    cr_assert_eq(write_once(w.fs, "/1.log", "x"), ERR_OK);
    cr_assert_eq(write_once(w.fs, "/1.index", "x"), ERR_IO);
    end(&w);
}

Test(fs_fault, a_short_write_leaves_a_part_but_never_all)
{
    static const char text[] = "abcdef";
    for (size_t part = 0; part < 10; part++) {
        struct world w;
        struct fs_file *file;
        char *data;
        size_t size;
        begin(&w);
        cr_assert_eq(fs_open(w.fs, "/a", FS_WRITE | FS_CREATE, &file), ERR_OK);
        fs_fault_set(w.fault, &(struct fs_fault_plan){.ops = FS_OPS_WRITE,
                                                      .repeat = 1,
                                                      .err = ERR_NO_SPACE,
                                                      .short_bytes = part});
        struct iovec parts[] = {{"abc", 3}, {"", 0}, {"def", 3}};
        cr_assert_eq(fs_pwritev(file, parts, 3, 0), ERR_NO_SPACE);
        fs_close(file);
        cr_assert_eq(fs_read_all(w.fs, "/a", 100, &data, &size), ERR_OK);
        cr_assert_eq(size, part < 6 ? part : 5);
        cr_assert_eq(memcmp(data, text, size), 0);
        mem_free(data);
        end(&w);
    }
}

Test(fs_fault, refuses_descriptors_so_that_reads_can_fail)
{
    struct fs_file *file;
    struct fs_fault *fault = fs_fault_new(fs_posix());
    cr_assert_eq(fs_open(fs_fault_fs(fault), "/dev/null", FS_READ, &file), ERR_OK);
    cr_assert_eq(fs_fd(file), -1);
    fs_close(file);
    fs_fault_free(fault);
}

struct heard {
    struct world *w;
    char text[64];
};

static void on_call(void *arg, enum fs_op op, const char *path)
{
    struct heard *heard = arg;
    size_t used = strlen(heard->text);
    snprintf(heard->text + used, sizeof(heard->text) - used, "%s %s;", fs_op_name(op), path);
    if (op == FS_OP_PWRITEV) {
        fs_fault_set(heard->w->fault,
                     &(struct fs_fault_plan){.ops = FS_OPS_WRITE, .repeat = 1, .err = ERR_TIMEOUT});
    }
}

Test(fs_fault, a_hook_sees_each_call_first_and_may_change_the_plan)
{
    struct world w;
    struct heard heard = {.w = &w};
    begin(&w);
    fs_fault_set_hook(w.fault, on_call, &heard);
    cr_assert_eq(write_once(w.fs, "/a", "x"), ERR_TIMEOUT);
    cr_assert_str_eq(heard.text, "open /a;pwritev /a;");
    end(&w);
}
