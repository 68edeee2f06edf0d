#include "zk/zk_tree.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"

struct entry {
    struct zk_node node;
    int32_t creations; /* children ever made below: the number of the next sequence node */
    UT_hash_handle hh;
};

struct zk_tree {
    struct entry *entries; /* by path */
    int64_t zxid;          /* of the last transaction that changed something */
};

/* How to take one operation back. The entry is in the tree for SET and CREATE, out of it for
 * DELETE. */
struct undo {
    enum zk_op_kind kind;
    struct entry *entry;
    uint8_t *old_data; /* SET */
    size_t old_size;
    struct zk_stat old_stat;
};

/* One transaction under way. */
struct txn {
    struct zk_tree *tree;
    int64_t zxid;
    int64_t session_id;
    int64_t now_ms;
    struct undo *undos;
    int32_t undos_count;
};

static struct entry *find(const struct zk_tree *tree, const char *path)
{
    struct entry *entry = NULL;
    HASH_FIND_STR(tree->entries, path, entry);
    return entry;
}

static void insert(struct zk_tree *tree, struct entry *entry)
{
    HASH_ADD_KEYPTR(hh, tree->entries, entry->node.path, strlen(entry->node.path), entry);
}

static void entry_free(struct entry *entry)
{
    mem_free(entry->node.path);
    mem_free(entry->node.data);
    mem_free(entry);
}

static uint8_t *copy_data(struct bytes data)
{
    if (data.data == NULL) {
        return NULL;
    }
    uint8_t *copy = mem_alloc(data.size + 1);
    memcpy(copy, data.data, data.size);
    return copy;
}

struct zk_tree *zk_tree_new(void)
{
    struct zk_tree *tree = mem_new(struct zk_tree);
    struct entry *root = mem_new(struct entry);
    root->node.path = mem_strdup("/");
    insert(tree, root);
    return tree;
}

void zk_tree_free(struct zk_tree *tree)
{
    struct entry *entry, *next;
    HASH_ITER (hh, tree->entries, entry, next) {
        HASH_DEL(tree->entries, entry);
        entry_free(entry);
    }
    mem_free(tree);
}

int64_t zk_tree_zxid(const struct zk_tree *tree)
{
    return tree->zxid;
}

const struct zk_node *zk_tree_find(const struct zk_tree *tree, const char *path)
{
    struct entry *entry = find(tree, path);
    return entry != NULL ? &entry->node : NULL;
}

char *zk_parent_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    must(slash != NULL);
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

static bool path_valid(const char *path)
{
    size_t size = strlen(path);
    return path[0] == '/' && (size == 1 || path[size - 1] != '/') && strstr(path, "//") == NULL;
}

static struct entry *find_parent(struct zk_tree *tree, const char *path)
{
    char *parent = zk_parent_path(path);
    struct entry *entry = find(tree, parent);
    mem_free(parent);
    return entry;
}

static struct undo *push_undo(struct txn *txn, enum zk_op_kind kind, struct entry *entry)
{
    struct undo *undo = &txn->undos[txn->undos_count++];
    *undo = (struct undo){.kind = kind, .entry = entry, .old_stat = entry->node.stat};
    return undo;
}

static enum err apply_create(struct txn *txn, const struct zk_op *op, struct zk_op_result *result)
{
    bool sequence = (op->flags & ZK_SEQUENCE) != 0;
    if (op->path[0] != '/' || (!sequence && !path_valid(op->path)) || strcmp(op->path, "/") == 0) {
        return ERR_ZK_OTHER;
    }
    struct entry *parent = find_parent(txn->tree, op->path);
    if (parent == NULL) {
        return ERR_NOT_FOUND;
    }
    if (parent->node.stat.ephemeral_owner != 0) {
        return ERR_ZK_OTHER;
    }
    char *path =
        sequence ? mem_printf("%s%010d", op->path, parent->creations) : mem_strdup(op->path);
    if (find(txn->tree, path) != NULL) {
        mem_free(path);
        return ERR_EXISTS;
    }
    struct entry *entry = mem_new(struct entry);
    entry->node.path = path;
    entry->node.data = copy_data(op->data);
    entry->node.size = op->data.size;
    entry->node.stat = (struct zk_stat){
        .czxid = txn->zxid,
        .mzxid = txn->zxid,
        .ctime_ms = txn->now_ms,
        .mtime_ms = txn->now_ms,
        .ephemeral_owner = (op->flags & ZK_EPHEMERAL) != 0 ? txn->session_id : 0,
    };
    insert(txn->tree, entry);
    parent->creations++;
    parent->node.stat.children_count++;
    push_undo(txn, ZK_OP_CREATE, entry);
    result->path = str_of(mem_strdup(path));
    return ERR_OK;
}

static enum err check_version(struct zk_tree *tree, const struct zk_op *op, struct entry **entry)
{
    *entry = find(tree, op->path);
    if (*entry == NULL) {
        return ERR_NOT_FOUND;
    }
    if (op->version != -1 && op->version != (*entry)->node.stat.version) {
        return ERR_ZK_BAD_VERSION;
    }
    return ERR_OK;
}

static void apply_set(struct txn *txn, const struct zk_op *op, struct entry *entry,
                      struct zk_op_result *result)
{
    struct undo *undo = push_undo(txn, ZK_OP_SET, entry);
    undo->old_data = entry->node.data;
    undo->old_size = entry->node.size;
    entry->node.data = copy_data(op->data);
    entry->node.size = op->data.size;
    entry->node.stat.version++;
    entry->node.stat.mzxid = txn->zxid;
    entry->node.stat.mtime_ms = txn->now_ms;
    result->stat = entry->node.stat;
}

static enum err apply_delete(struct txn *txn, struct entry *entry)
{
    if (entry->node.stat.children_count > 0) {
        return ERR_ZK_NOT_EMPTY;
    }
    if (strcmp(entry->node.path, "/") == 0) {
        return ERR_ZK_OTHER;
    }
    struct entry *parent = find_parent(txn->tree, entry->node.path);
    must(parent != NULL);
    parent->node.stat.children_count--;
    HASH_DEL(txn->tree->entries, entry);
    push_undo(txn, ZK_OP_DELETE, entry);
    return ERR_OK;
}

static enum err apply_one(struct txn *txn, const struct zk_op *op, struct zk_op_result *result)
{
    if (op->kind == ZK_OP_CREATE) {
        return apply_create(txn, op, result);
    }
    struct entry *entry;
    enum err err = check_version(txn->tree, op, &entry);
    if (err != ERR_OK || op->kind == ZK_OP_CHECK) {
        return err;
    }
    if (op->kind == ZK_OP_DELETE) {
        return apply_delete(txn, entry);
    }
    apply_set(txn, op, entry, result);
    return ERR_OK;
}

static void undo_one(struct zk_tree *tree, struct undo *undo)
{
    struct entry *entry = undo->entry;
    struct entry *parent = find_parent(tree, entry->node.path);
    switch (undo->kind) {
    case ZK_OP_CREATE:
        parent->creations--;
        parent->node.stat.children_count--;
        HASH_DEL(tree->entries, entry);
        entry_free(entry);
        break;
    case ZK_OP_SET:
        mem_free(entry->node.data);
        entry->node.data = undo->old_data;
        entry->node.size = undo->old_size;
        entry->node.stat = undo->old_stat;
        break;
    case ZK_OP_DELETE:
        parent->node.stat.children_count++;
        insert(tree, entry);
        break;
    case ZK_OP_CHECK:
        must_not_get_here();
    }
}

static void push_change(struct zk_changes *changes, enum zk_watch_event event, const char *path)
{
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity > 0 ? changes->capacity * 2 : 8;
        changes->items =
            mem_realloc(changes->items, (size_t)changes->capacity * sizeof(*changes->items));
    }
    changes->items[changes->count++] = (struct zk_change){event, mem_strdup(path)};
}

/* The transaction stands: tell what changed, and free what was kept to take it back. */
static void commit(struct txn *txn, struct zk_changes *changes)
{
    for (int32_t i = 0; i < txn->undos_count; i++) {
        struct undo *undo = &txn->undos[i];
        if (undo->kind == ZK_OP_CREATE) {
            push_change(changes, ZK_NODE_CREATED, undo->entry->node.path);
        } else if (undo->kind == ZK_OP_SET) {
            push_change(changes, ZK_NODE_CHANGED, undo->entry->node.path);
            mem_free(undo->old_data);
        } else {
            push_change(changes, ZK_NODE_DELETED, undo->entry->node.path);
        }
    }
    /* Only now: a node may have been made and deleted by one transaction. */
    for (int32_t i = 0; i < txn->undos_count; i++) {
        if (txn->undos[i].kind == ZK_OP_DELETE) {
            entry_free(txn->undos[i].entry);
        }
    }
    if (txn->undos_count > 0) {
        txn->tree->zxid = txn->zxid;
    }
}

enum err zk_tree_apply(struct zk_tree *tree, const struct zk_op *ops, int32_t count,
                       int64_t session_id, int64_t now_ms, struct zk_op_result *results,
                       struct zk_changes *changes)
{
    must(count > 0);
    struct txn txn = {tree, tree->zxid + 1, session_id, now_ms, NULL, 0};
    txn.undos = mem_zalloc((size_t)count, sizeof(*txn.undos));
    memset(results, 0, (size_t)count * sizeof(*results));
    enum err err = ERR_OK;
    int32_t done = 0;
    while (done < count && err == ERR_OK) {
        err = apply_one(&txn, &ops[done], &results[done]);
        results[done++].err = err;
    }
    if (err == ERR_OK) {
        commit(&txn, changes);
    } else {
        while (txn.undos_count > 0) {
            undo_one(tree, &txn.undos[--txn.undos_count]);
        }
        for (int32_t i = 0; i < count; i++) {
            mem_free((char *)results[i].path.ptr);
            results[i] = (struct zk_op_result){.err = i < done ? results[i].err : ERR_ZK_OTHER};
        }
    }
    mem_free(txn.undos);
    return err;
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str *zk_tree_children(const struct zk_tree *tree, const char *path, int32_t *count)
{
    struct entry *parent = find(tree, path);
    must(parent != NULL);
    int32_t total = parent->node.stat.children_count;
    struct str *names = mem_zalloc((size_t)total + 1, sizeof(*names));
    size_t skip = strcmp(path, "/") == 0 ? 1 : strlen(path) + 1;
    int32_t found = 0;
    for (struct entry *e = tree->entries; e != NULL; e = e->hh.next) {
        const char *p = e->node.path;
        bool below = strlen(p) > skip && strncmp(p, path, skip - 1) == 0 && p[skip - 1] == '/';
        if (below && strchr(p + skip, '/') == NULL) {
            must(found < total);
            names[found++] = str_of(mem_strdup(p + skip));
        }
    }
    must(found == total);
    qsort(names, (size_t)found, sizeof(*names), compare_names);
    *count = found;
    return names;
}

static int compare_nodes(const void *a, const void *b)
{
    return strcmp((*(const struct zk_node *const *)a)->path,
                  (*(const struct zk_node *const *)b)->path);
}

const struct zk_node **zk_tree_list(const struct zk_tree *tree, const char *path, int32_t *count)
{
    const struct zk_node **nodes =
        mem_zalloc((size_t)HASH_COUNT(tree->entries) + 1, sizeof(*nodes));
    size_t size = strcmp(path, "/") == 0 ? 0 : strlen(path);
    int32_t found = 0;
    for (struct entry *e = tree->entries; e != NULL; e = e->hh.next) {
        const char *p = e->node.path;
        if (strncmp(p, path, size) == 0 && (p[size] == '\0' || p[size] == '/')) {
            nodes[found++] = &e->node;
        }
    }
    qsort(nodes, (size_t)found, sizeof(*nodes), compare_nodes);
    *count = found;
    return nodes;
}

void zk_tree_remove_owned(struct zk_tree *tree, int64_t session_id, struct zk_changes *changes)
{
    int32_t count;
    const struct zk_node **nodes = zk_tree_list(tree, "/", &count);
    for (int32_t i = 0; i < count; i++) {
        if (nodes[i]->stat.ephemeral_owner == session_id) {
            struct zk_op op = {.kind = ZK_OP_DELETE, .path = nodes[i]->path, .version = -1};
            struct zk_op_result result;
            enum err err = zk_tree_apply(tree, &op, 1, session_id, 0, &result, changes);
            must(err == ERR_OK);
        }
    }
    mem_free(nodes);
}

void zk_changes_fini(struct zk_changes *changes)
{
    for (int32_t i = 0; i < changes->count; i++) {
        mem_free(changes->items[i].path);
    }
    mem_free(changes->items);
    *changes = (struct zk_changes){0};
}
