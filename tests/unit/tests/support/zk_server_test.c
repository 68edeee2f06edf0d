/* The probe that tells whether a ZooKeeper is ready, against servers that behave badly. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/zk_server.h"

enum { SHORT_MS = 100, LONG_MS = 600000 /* longer than any test */ };

/* A server for one connection: says a line and holds the connection until it is told to end. */
struct talker {
    int listener;
    int port;
    const char *line;
    pthread_t thread;
};

static void *talk(void *arg)
{
    struct talker *talker = arg;
    char request[16];
    int fd = accept(talker->listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, request, sizeof(request)), 4);
    cr_assert_eq(write(fd, talker->line, strlen(talker->line)), (ssize_t)strlen(talker->line));
    while (read(fd, request, sizeof(request)) > 0) {
    }
    close(fd);
    return NULL;
}

static void talker_start(struct talker *talker, const char *line)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    talker->line = line;
    talker->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(talker->listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(talker->listener, 1), 0);
    cr_assert_eq(getsockname(talker->listener, (struct sockaddr *)&address, &size), 0);
    talker->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&talker->thread, NULL, talk, talker), 0);
}

static bool answers(const char *line, int64_t patience_ms)
{
    struct talker talker;
    talker_start(&talker, line);
    bool answer = zk_server_answers(talker.port, patience_ms);
    pthread_join(talker.thread, NULL);
    close(talker.listener);
    return answer;
}

/* ZooKeeper answers so while it starts, and leaves the connection open: a probe that waited for its
 * end hung, and the whole test with it. */
Test(zk_server, a_server_that_does_not_serve_yet_and_never_hangs_up_is_not_ready, .timeout = 60)
{
    cr_assert(!answers("This ZooKeeper instance is not currently serving requests\n", LONG_MS));
}

Test(zk_server, a_server_that_says_nothing_is_not_ready, .timeout = 60)
{
    cr_assert(!answers("", SHORT_MS));
}

Test(zk_server, a_server_that_tells_its_mode_is_ready, .timeout = 60)
{
    cr_assert(answers("Zookeeper version: 3.8.0\nMode: standalone\n", LONG_MS));
}
