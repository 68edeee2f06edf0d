/* main.c: which client, and for what. See client.h. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "client.h"

static const struct {
    const char *name;
    void (*main)(const struct options *options);
} clients[] = {
    {"writer", writer_main}, {"probe", probe_main}, {"reader", reader_main},
    {"group", group_main},   {"ends", ends_main},   {"final", final_main},
};

static long number(const char *text, long min, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < min || value > max) {
        die("%s is not a number from %ld to %ld", text, min, max);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        die("usage: writer|probe|reader|group|ends|final BOOTSTRAP TOPIC PARTITIONS [RATE [FIRST]]");
    }
    struct options options = {.bootstrap = argv[2],
                              .topic = argv[3],
                              .partition_count = (int32_t)number(argv[4], 1, PARTITIONS_MAX),
                              .rate_per_second = argc > 5 ? number(argv[5], 1, 10000000) : 1000,
                              .writer_first = argc > 6 ? (uint32_t)number(argv[6], 1, 1000000) : 1};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the run is killed nobody wants to know any more */
    setvbuf(stdout, NULL, _IOLBF, 0); /* can be read at once, and outlives the client */
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        if (strcmp(argv[1], clients[i].name) == 0) {
            clients[i].main(&options);
            runs_end();
            return 0;
        }
    }
    die("no such client: %s", argv[1]);
}
