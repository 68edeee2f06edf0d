/* zk_tree.h: the nodes of an in-memory ZooKeeper, without sessions and watches (zk_mem.c has
 * those).
 *
 * Paths are absolute. A transaction is a list of operations that all happen or none.
 * Threads: one at a time. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "zk/zk.h"

struct zk_tree;

struct zk_node {
    char *path;
    uint8_t *data; /* NULL: null, which is not the same as empty */
    size_t size;
    struct zk_stat stat;
};

/* What one successful operation did to one path, in the order of the operations. */
struct zk_change {
    enum zk_watch_event event; /* ZK_NODE_CREATED, _DELETED or _CHANGED */
    char *path;
};

struct zk_changes {
    struct zk_change *items;
    int32_t count;
    int32_t capacity;
};

struct zk_tree *zk_tree_new(void);
void zk_tree_free(struct zk_tree *tree);

int64_t zk_tree_zxid(const struct zk_tree *tree);

/* NULL: no such node, or not a path. */
const struct zk_node *zk_tree_find(const struct zk_tree *tree, const char *path);

/* Do all operations or none. results[i].path is fresh memory after a CREATE (mem_free). Appends to
 * `changes` when all succeed. Returns the error of the operation that failed. */
MUST_USE enum err zk_tree_apply(struct zk_tree *tree, const struct zk_op *ops, int32_t count,
                                int64_t session_id, int64_t now_ms, struct zk_op_result *results,
                                struct zk_changes *changes);

/* Names of the children, sorted, each fresh memory; the array too. */
struct str *zk_tree_children(const struct zk_tree *tree, const char *path, int32_t *count);

/* Remove all nodes of a session. */
void zk_tree_remove_owned(struct zk_tree *tree, int64_t session_id, struct zk_changes *changes);

/* All nodes at or below `path`, sorted by path; the array is fresh memory, the nodes are borrowed.
 */
const struct zk_node **zk_tree_list(const struct zk_tree *tree, const char *path, int32_t *count);

/* "/a/b" -> "/a", "/a" -> "/"; fresh memory. */
char *zk_parent_path(const char *path);

void zk_changes_fini(struct zk_changes *changes);
