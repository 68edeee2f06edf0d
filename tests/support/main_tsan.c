/* main_tsan.c: runs Criterion's tests without Criterion's runner, in the build with
 * ThreadSanitizer.
 *
 * The runner passes its state to the tests' processes through memory at addresses that
 * ThreadSanitizer forbids ("Could not initialize inheritable arena"). So here is what a test needs
 * of the library, defined in the program itself, which is where the linker looks first: each test
 * runs in a process of its own, one after the other.
 *
 *   NAME_test [--filter WORD]    only tests whose suite::name contains the word
 *
 * Not here: parameterized tests and theories, which nobody uses. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The section that Test() puts a pointer to each test into. */
extern struct criterion_test *__start_cr_tst[];
extern struct criterion_test *__stop_cr_tst[];

enum { STATUS_SKIPPED = 77, TIMEOUT_FACTOR = 5, TIMEOUT_DEFAULT_S = 240 };

static const struct criterion_test *current;

void criterion_internal_test_setup(void)
{
    if (current->data->init != NULL) {
        current->data->init();
    }
}

void criterion_internal_test_main(void (*fn)(void))
{
    fn();
}

void criterion_internal_test_teardown(void)
{
    if (current->data->fini != NULL) {
        current->data->fini();
    }
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (!stats->passed) {
        fprintf(stderr, "[----] %s:%u: %s\n", stats->file, stats->line, stats->message);
    }
}

void criterion_abort_test(void)
{
    _exit(1);
}

void criterion_skip_test(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(STATUS_SKIPPED);
}

void cri_asserts_passed_incr(void);

void cri_asserts_passed_incr(void)
{
}

static void run_here(const struct criterion_test *test)
{
    unsigned seconds = (unsigned)test->data->timeout * TIMEOUT_FACTOR;
    current = test;
    alarm(seconds > 0 ? seconds : TIMEOUT_DEFAULT_S);
    test->test();
    exit(0); /* ThreadSanitizer makes it another status when it has reported something */
}

/* True unless the test failed. */
static bool run(const struct criterion_test *test)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_here(test);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return false;
    }
    if (test->data->signal != 0) {
        return WIFSIGNALED(status) && WTERMSIG(status) == test->data->signal;
    }
    return WIFEXITED(status) &&
           (WEXITSTATUS(status) == test->data->exit_code || WEXITSTATUS(status) == STATUS_SKIPPED);
}

int main(int argc, char **argv)
{
    const char *word = argc == 3 && strcmp(argv[1], "--filter") == 0 ? argv[2] : "";
    int tested = 0;
    int failed = 0;
    for (struct criterion_test **test = __start_cr_tst; test < __stop_cr_tst; test++) {
        char name[512];
        if (*test == NULL) {
            continue;
        }
        snprintf(name, sizeof(name), "%s::%s", (*test)->category, (*test)->name);
        if (strstr(name, word) == NULL) {
            continue;
        }
        bool ok = run(*test);
        fprintf(stderr, "[%s] %s\n", ok ? "PASS" : "FAIL", name);
        tested++;
        failed += !ok;
    }
    fprintf(stderr, "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0\n",
            tested, tested - failed, failed);
    return failed > 0;
}
