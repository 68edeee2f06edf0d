/* replay_main.c: runs a fuzz target over its corpus, where there is no libFuzzer.
 *
 *   codec_fuzz FILE|FOLDER...
 *
 * Each input is run as it is, and then in damaged copies (bytes changed, ends cut, parts repeated)
 * that are the same on every run. An input that crashes here crashes under libFuzzer as well. Ends
 * with status 1 when a path cannot be read or when there was no input at all. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DAMAGED_COPIES = 200 };

/* In memory of its exact size, so that a sanitizer sees a read too far. */
static void run_one(const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_alloc(size > 0 ? size : 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    LLVMFuzzerTestOneInput(copy, size);
    mem_free(copy);
}

static void run_damaged(const uint8_t *data, size_t size, struct rng *rng)
{
    struct buf copy = {0};
    buf_put(&copy, data, size);
    for (uint64_t k = rng_below(rng, 4); k > 0; k--) {
        copy.data[rng_below(rng, size)] = (uint8_t)rng_next(rng);
    }
    copy.data[rng_below(rng, size)] ^= (uint8_t)(1u << rng_below(rng, 8));
    if (rng_one_in(rng, 4)) {
        copy.size = rng_below(rng, size + 1);
    } else if (rng_one_in(rng, 4)) {
        buf_put(&copy, data, rng_below(rng, size + 1));
    }
    run_one(copy.data, copy.size);
    buf_fini(&copy);
}

static bool run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    struct buf content = {0};
    char block[4096];
    size_t size;
    while ((size = fread(block, 1, sizeof(block), file)) > 0) {
        buf_put(&content, block, size);
    }
    fclose(file);
    run_one(content.data, content.size);
    struct rng rng;
    rng_seed(&rng, bytes_hash(content.data, content.size, 0));
    for (int i = 0; i < DAMAGED_COPIES && content.size > 0; i++) {
        run_damaged(content.data, content.size, &rng);
    }
    buf_fini(&content);
    return true;
}

/* How many files were run; -1 after an error. */
static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) {
        return run_file(path) ? 1 : -1;
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return -1;
    }
    int files = 0;
    for (struct dirent *entry; files >= 0 && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            char *inner = mem_printf("%s/%s", path, entry->d_name);
            int more = run_path(inner);
            files = more >= 0 ? files + more : -1;
            mem_free(inner);
        }
    }
    closedir(dir);
    return files;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        int more = run_path(argv[i]);
        if (more < 0) {
            return 1;
        }
        files += more;
    }
    run_one(NULL, 0);
    printf("%d inputs, each also in %d damaged copies\n", files, DAMAGED_COPIES);
    return files > 0 ? 0 : 1;
}
