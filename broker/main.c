/* barnabasd: the broker. Reads its configuration, runs a server until SIGTERM, SIGINT or SIGHUP,
 * stops cleanly. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "config/config.h"
#include "health/health.h"
#include "net/net.h"
#include "server/server.h"
#include "zk/zk.h"

#define LOGGER "kafka.server.KafkaServer"

#ifndef BARNABAS_VERSION
#define BARNABAS_VERSION "0.1.0"
#endif

extern char **environ;

enum {
    EXIT_USAGE = 2,
    OVERRIDES_MAX = 256,
    FILES_EXPECTED = 16384, /* 128 KiB of the kernel's memory; more come at the price of a pause */
    STUCK_SESSION_MS =
        1000, /* so long is waited for ZooKeeper to end the session of a broker that hangs */
};

struct arguments {
    const char *file;
    const char *overrides[OVERRIDES_MAX];
    int overrides_count;
    bool check;
    bool health;
};

static int usage(FILE *to)
{
    fprintf(
        to,
        "Example:  barnabasd server.properties --override broker.id=1\n\n"
        "usage: barnabasd FILE [--override key=value]...\n"
        "       barnabasd start [--config FILE] [--override key=value]...\n"
        "       barnabasd healthcheck [--config FILE] [--override key=value]...\n"
        "       barnabasd --check-config FILE\n"
        "       barnabasd --version | --help\n\n"
        "The file is Kafka's server.properties. Variables KAFKA_* set keys too, by the rules of the\n"
        "Docker image; `barnabasd start` without a file takes everything from them. `healthcheck` asks\n"
        "the broker of that configuration whether it is ready: status 0, or 1 and why not.\n");
    return to == stdout ? 0 : EXIT_USAGE;
}

/* "--name value" or "--name=value": then *value is set and *index at its last word. */
static bool take_option(char **argv, int *index, const char *name, const char **value)
{
    const char *arg = argv[*index];
    size_t size = strlen(name);
    if (strncmp(arg, name, size) != 0) {
        return false;
    }
    if (arg[size] == '=') {
        *value = arg + size + 1;
        return true;
    }
    if (arg[size] == '\0' && argv[*index + 1] != NULL) {
        *value = argv[++*index];
        return true;
    }
    return false;
}

/* Returns -1 to go on, else the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *out)
{
    *out = (struct arguments){0};
    bool start = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            return usage(stdout);
        }
        if (strcmp(arg, "--version") == 0) {
            printf("barnabasd %s\n", BARNABAS_VERSION);
            return 0;
        }
        const char *value;
        if ((strcmp(arg, "start") == 0 || strcmp(arg, "healthcheck") == 0) && i == 1) {
            start = true;
            out->health = strcmp(arg, "healthcheck") == 0;
        } else if (take_option(argv, &i, "--config", &value) && out->file == NULL) {
            out->file = value;
        } else if (take_option(argv, &i, "--check-config", &value) && out->file == NULL) {
            out->file = value;
            out->check = true;
        } else if (take_option(argv, &i, "--override", &value) &&
                   out->overrides_count < OVERRIDES_MAX) {
            out->overrides[out->overrides_count++] = value;
        } else if (arg[0] != '-' && out->file == NULL) {
            out->file = arg;
        } else {
            fprintf(stderr, "barnabasd: unexpected argument: %s\n\n", arg);
            return usage(stderr);
        }
    }
    if (out->file == NULL && !start) {
        return usage(stderr);
    }
    return -1;
}

/* Print the value in force of every key, and where it comes from; to standard error what of it has
 * no effect. */
static int print_config(const struct config *config)
{
    static const char *const sources[] = {"",     "topic",  "dynamic", "dynamic default",
                                          "file", "default"};
    log_set_fd(STDERR_FILENO);
    config_log_warnings(config);
    for (int i = 0; i < KEY_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        const struct config_info *info = config_info(key);
        const char *value = config_str(config, key);
        bool secret = info->type == CONFIG_PASSWORD && value != NULL;
        printf("%s=%s\t(%s)\n", info->name,
               secret          ? "[hidden]"
               : value != NULL ? value
                               : "",
               sources[config_source(config, key)]);
    }
    return 0;
}

static int healthcheck(const struct config *config)
{
    struct health_target target;
    struct health_report report;
    struct errmsg msg = {""};
    if (health_find_target(config, &target, &msg) != ERR_OK ||
        health_ask(&target, HEALTH_TIMEOUT_MS, &report, &msg) != ERR_OK) {
        fprintf(stderr, "not ready: %s\n", msg.text);
        return 1;
    }
    printf("ready: %d broker(s), controller %d\n", report.brokers_count, report.controller_id);
    return 0;
}

/* What the main thread waits for: a step's end. */
struct outcome {
    sem_t done;
    enum err err;
    char text[2048];
};

static void on_done(void *arg, enum err err, const char *text)
{
    struct outcome *outcome = arg;
    outcome->err = err;
    snprintf(outcome->text, sizeof(outcome->text), "%s", text);
    sem_post(&outcome->done);
}

/* The broker cannot go on: stop it as a signal would. */
static void on_fatal(void *arg, enum err err, const char *text)
{
    (void)err;
    atomic_store((_Atomic bool *)arg, true);
    fprintf(stderr, "%s\n", text);
    (void)kill(getpid(), SIGTERM);
}

/* A loop hangs in a call to the disk: what it serves is served by nobody until others lead. First
 * of all the session ends; whether anything can still be logged is not known. */
static void on_stuck(void *arg)
{
    (void)arg;
    zk_client_end_all(STUCK_SESSION_MS);
    fprintf(stderr, "error[E-DATA-11]: a disk does not answer any more; the broker ends.\n");
    _exit(1);
}

/* A broker holds a file per segment and a socket per client: take what the system allows. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Linux doubles a process's table of files whenever it is full, and with threads running whoever
 * opens one meanwhile waits for all processors, for up to 25 ms: in a start with 10,000 partitions
 * that was half of the time for opening logs. Before there are threads it costs nothing. */
static void make_room_for_files(void)
{
    int last = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, FILES_EXPECTED - 1);
    if (last >= 0) {
        close(last);
    }
}

/* The end of a terminal stops a broker as SIGTERM does, as it does Kafka, unless whoever began it
 * (nohup) wants it to go on. */
static bool hangs_up(void)
{
    struct sigaction action;
    return sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler != SIG_IGN;
}

enum waited { STARTED, NOT_STARTED, INTERRUPTED };

/* Wait for the start to end, or for a signal that ends it. After a signal `started` is still the
 * control loop's, which may be writing it now. */
static enum waited wait_start(struct outcome *started, sigset_t *signals)
{
    struct timespec step = {.tv_nsec = 20 * 1000 * 1000};
    for (;;) {
        if (sem_trywait(&started->done) == 0) {
            return started->err == ERR_OK ? STARTED : NOT_STARTED;
        }
        if (sigtimedwait(signals, NULL, &step) > 0) {
            return INTERRUPTED;
        }
    }
}

/* A buffer that nobody has set is left to the kernel, which makes it as large as the connection
 * needs; a fixed 100 KiB, the key's default, would stop a sender several times per fetch. */
static int socket_buffer(const struct config *config, enum config_key key)
{
    return config_source(config, key) == SOURCE_DEFAULT ? -1 : config_int(config, key);
}

/* A new one each time the machine starts, and shared by its containers; "" where there is none. */
static void read_boot_id(char *id, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    id[0] = '\0';
    if (file != NULL) {
        if (fgets(id, (int)size, file) == NULL) {
            id[0] = '\0';
        }
        fclose(file);
    }
    id[strcspn(id, "\n")] = '\0';
}

static int run(const struct config *config, sigset_t *signals)
{
    struct net_tcp_options sockets = {
        .send_buffer_bytes = socket_buffer(config, KEY_socket_send_buffer_bytes),
        .receive_buffer_bytes = socket_buffer(config, KEY_socket_receive_buffer_bytes),
    };
    struct net *net = net_tcp_new(&sockets);
    char boot_id[64];
    read_boot_id(boot_id, sizeof(boot_id));
    struct env env = {
        .clock = clock_system(),
        .fs = fs_posix(),
        .net = net,
        .zk = zk_client_factory(),
        .boot_id = boot_id,
        .threads = true,
    };
    struct outcome started = {.err = ERR_OK};
    struct outcome stopped = {.err = ERR_OK};
    _Atomic bool fatal = false;
    int number;
    sem_init(&started.done, 0, 0);
    sem_init(&stopped.done, 0, 0);
    struct server *server = server_new(&env, config);
    server_on_fatal(server, on_fatal, &fatal);
    server_on_stuck(server, on_stuck, NULL);
    server_start(server, on_done, &started);
    enum waited waited = wait_start(&started, signals);
    if (waited == STARTED) {
        log_info(LOGGER, "started", "%s", started.text);
        sigwait(signals, &number);
        log_info(LOGGER, "stopping", "signal=%s", strsignal(number));
    } else {
        fprintf(stderr, "%s\n", waited == INTERRUPTED ? "stopped while starting" : started.text);
    }
    server_stop(server, on_done, &stopped);
    while (sem_wait(&stopped.done) != 0) {
        must(errno == EINTR);
    }
    if (server_hangs(server)) {
        _exit(1); /* threads that hang would be waited for */
    }
    server_free(server);
    net_tcp_free(net);
    return waited == NOT_STARTED || atomic_load(&fatal) ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    int status = parse_arguments(argc, argv, &arguments);
    if (status >= 0) {
        return status;
    }
    /* Before any thread, so that all inherit it and only this one waits for signals; and before
     * anything that takes time, for a signal that comes early must not be lost (process 1 would
     * ignore it). */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (hangs_up()) {
        sigaddset(&signals, SIGHUP);
    }
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* as process 1 of a container: what is left to us is reaped */
    raise_file_limit();
    mem_keep();
    hash_draw_key();
    make_room_for_files();
    struct config_load_options options = {
        .file = arguments.file,
        .environ_ = (const char *const *)environ,
        .overrides = arguments.overrides,
        .overrides_count = arguments.overrides_count,
    };
    struct config *config;
    struct errmsg msg;
    if (config_load(&options, &config, &msg) != ERR_OK) {
        fprintf(stderr, "%s\n", msg.text);
        return 1;
    }
    if (arguments.check || arguments.health) {
        status = arguments.check ? print_config(config) : healthcheck(config);
        config_put(config);
        return status;
    }
    log_info(LOGGER, "starting", "Barnabas %s, a Kafka-compatible broker", BARNABAS_VERSION);
    config_log_warnings(config);
    status = run(config, &signals);
    config_put(config);
    return status;
}
