#include "support/zk_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "base/rng.h"
#include "rt/clock.h"

static const char class_path[] = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar";

enum { START_TIMEOUT_MS = 120000, PROBE_PAUSE_MS = 20, PROBE_TIMEOUT_MS = 2000 };

const char *zk_server_missing(void)
{
    if (access("/usr/share/java/zookeeper.jar", R_OK) != 0) {
        return "no /usr/share/java/zookeeper.jar (package zookeeper)";
    }
    if (system("command -v java >/dev/null 2>&1") != 0) {
        return "no java";
    }
    return NULL;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Choose a port, and hold it for the server: ZooKeeper cannot choose one itself, and tests of other
 * processes choose theirs meanwhile, also while this one's server is down. The order matters: bound
 * without SO_REUSEADDR the port is surely free; with it set afterwards, a server that sets it too
 * can bind and listen, for this socket never listens. Below the range that the kernel takes ports
 * of outgoing connections from: a probe could be connected to itself. */
static void take_port(struct zk_server *server)
{
    enum { LOWEST = 16384, HIGHEST = 32767 };
    struct rng rng;
    int on = 1;
    rng_seed_random(&rng);
    server->holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(server->holder >= 0);
    for (bool bound = false; !bound;) {
        server->port = LOWEST + (int)rng_below(&rng, HIGHEST - LOWEST + 1);
        struct sockaddr_in address = loopback(server->port);
        bound = bind(server->holder, (struct sockaddr *)&address, sizeof(address)) == 0;
    }
    must(setsockopt(server->holder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
}

/* The answer to "srvr" tells a mode only when the server is ready. While it starts, ZooKeeper says
 * that it is not serving yet and may then leave the connection open for ever, so the end of the
 * answer is not waited for. */
static bool read_mode(int fd, int64_t patience_ms)
{
    char reply[1024] = "";
    size_t size = 0;
    int64_t deadline_ms = clock_mono_ms(clock_system()) + patience_ms;
    while (size < sizeof(reply) - 1 && strstr(reply, "Mode:") == NULL) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_mono_ms(clock_system());
        if (strstr(reply, "not currently serving") != NULL || left_ms <= 0 ||
            poll(&ready, 1, (int)left_ms) <= 0) {
            return false;
        }
        ssize_t got = read(fd, reply + size, sizeof(reply) - 1 - size);
        if (got <= 0) {
            return false;
        }
        size += (size_t)got;
        reply[size] = '\0';
    }
    return strstr(reply, "Mode:") != NULL;
}

bool zk_server_answers(int port, int64_t patience_ms)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              write(fd, "srvr", 4) == 4 && read_mode(fd, patience_ms);
    close(fd);
    return ok;
}

static bool wait_until_up(const struct zk_server *server)
{
    int64_t deadline_ms = clock_mono_ms(clock_system()) + START_TIMEOUT_MS;
    while (!zk_server_answers(server->port, PROBE_TIMEOUT_MS)) {
        if (clock_mono_ms(clock_system()) > deadline_ms ||
            waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            return false;
        }
        poll(NULL, 0, PROBE_PAUSE_MS);
    }
    return true;
}

static void write_config(const struct zk_server *server)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/zoo.cfg", server->folder);
    FILE *file = fopen(path, "w");
    must(file != NULL);
    fprintf(file,
            "tickTime=500\ndataDir=%s/data\nclientPort=%d\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n4lw.commands.whitelist=srvr\nmaxClientCnxns=0\n"
            "maxSessionTimeout=20000\n",
            server->folder, server->port);
    must(fclose(file) == 0);
}

static void run_server(const struct zk_server *server)
{
    char config[128];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close_range(3, ~0U, 0); /* what the test framework talks through is not for the server */
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    snprintf(config, sizeof(config), "%s/zoo.cfg", server->folder);
    /* Nobody takes its machine's power away, and a sync may take seconds on a disk that other tests
     * use, so long that sessions come to their end. */
    execlp("java", "java", "-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
           "-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.forceSync=no", "-cp", class_path,
           "org.apache.zookeeper.server.quorum.QuorumPeerMain", config, (char *)NULL);
    _exit(127);
}

static bool launch(struct zk_server *server)
{
    write_config(server);
    server->pid = fork();
    must(server->pid >= 0);
    if (server->pid == 0) {
        run_server(server);
    }
    return wait_until_up(server);
}

bool zk_server_start(struct zk_server *server)
{
    snprintf(server->folder, sizeof(server->folder), "/tmp/barnabas-zk-XXXXXX");
    must(mkdtemp(server->folder) != NULL);
    take_port(server);
    return launch(server);
}

void zk_server_kill(struct zk_server *server)
{
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool zk_server_restart(struct zk_server *server)
{
    must(server->pid == 0);
    return launch(server);
}

void zk_server_forget(const struct zk_server *server)
{
    char path[128];
    must(server->pid == 0);
    snprintf(path, sizeof(path), "%s/data", server->folder);
    remove_tree(path);
}

void zk_server_stop(struct zk_server *server)
{
    zk_server_kill(server);
    close(server->holder);
    remove_tree(server->folder);
}
