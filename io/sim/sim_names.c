/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the disk model. Tables are small and searched from the front. Every change is made to
 * `now` at once and waits in the list of changes until its directory is synced; a power loss
 * carries over none, all, a prefix or a random subset of the list.
 */
#include "io/sim/sim_names.h"

#include <errno.h>
#include <stdlib.h>

#define PATH_BYTES_MAX 512u

/* `from` NULL: the inode gets the name `to`; `to` NULL: the name `from` goes away; both: a rename.
 */
struct disk_change {
    struct disk_change *next;
    struct inode *inode;
    char *from;
    char *to;
};

/* "a//b/" and "/a/b" are the same path. False if it is too long. */
static bool normalize(const char *path, char out[PATH_BYTES_MAX])
{
    size_t size = 0;
    out[size++] = '/';
    for (; *path; path++) {
        if (*path == '/' && out[size - 1] == '/')
            continue;
        if (size + 1 >= PATH_BYTES_MAX)
            return false;
        out[size++] = *path;
    }
    if (size > 1 && out[size - 1] == '/')
        size--;
    out[size] = 0;
    return true;
}

/* Bytes of the parent's path: "/a/b" → 2, "/a" → 1 (the root), "/" → 0. */
static size_t parent_size(const char *path)
{
    size_t at = (size_t)(strrchr(path, '/') - path);
    return at > 0 ? at : path[1] != 0;
}

static bool lies_in(const char *path, const char *dir)
{
    size_t size = parent_size(path);
    return size == strlen(dir) && memcmp(path, dir, size) == 0;
}

static struct disk_name *find(const struct disk_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i].path, path) == 0)
            return &names->names[i];
    return NULL;
}

static bool parent_exists(const struct disk_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->names[i].inode->is_dir && lies_in(path, names->names[i].path))
            return true;
    return false;
}

static void take_out(struct disk *disk, struct disk_names *names, struct disk_name *name)
{
    struct inode *inode = name->inode;
    free(name->path);
    *name = names->names[--names->count];
    disk_put(disk, inode);
}

/* Gives the inode this name, which another may have lost by it. */
static void set_name(struct disk *disk, struct disk_names *names, const char *path,
                     struct inode *inode)
{
    inode->refs++;
    struct disk_name *name = find(names, path);
    if (name) {
        disk_put(disk, name->inode);
        name->inode = inode;
        return;
    }
    if (names->count == names->cap) {
        names->cap = names->cap ? 2 * names->cap : 16;
        names->names = realloc(names->names, names->cap * sizeof(names->names[0]));
        RR_ASSERT(names->names);
    }
    char *copy = strdup(path);
    RR_ASSERT(copy);
    names->names[names->count++] = (struct disk_name){copy, inode};
}

static void apply_change(struct disk *disk, struct disk_names *names,
                         const struct disk_change *change)
{
    struct disk_name *from = change->from ? find(names, change->from) : NULL;

    if (change->to)
        set_name(disk, names, change->to, change->inode);
    if (from && change->from) {
        from = find(names, change->from); /* the table may have moved */
        if (from->inode == change->inode)
            take_out(disk, names, from);
    }
}

static void free_change(struct disk *disk, struct disk_change *change)
{
    disk_put(disk, change->inode);
    free(change->from);
    free(change->to);
    free(change);
}

/* Changes `now` and remembers the change until the directory is synced. */
static void change_name(struct disk *disk, struct inode *inode, const char *from, const char *to)
{
    struct disk_change *change = calloc(1, sizeof(*change));
    RR_ASSERT(change);
    inode->refs++;
    change->inode = inode;
    change->from = from ? strdup(from) : NULL;
    change->to = to ? strdup(to) : NULL;
    RR_ASSERT(!from == !change->from && !to == !change->to);
    *disk->changes_end = change;
    disk->changes_end = &change->next;
    apply_change(disk, &disk->now, change);
}

void names_make_root(struct disk *disk)
{
    struct inode *root = inode_new(disk, true);
    set_name(disk, &disk->now, "/", root);
    set_name(disk, &disk->durable, "/", root);
    disk_put(disk, root);
}

void names_set(struct disk *disk, const char *path, struct inode *inode)
{
    set_name(disk, &disk->now, path, inode);
    set_name(disk, &disk->durable, path, inode);
}

static void clear_names(struct disk *disk, struct disk_names *names)
{
    while (names->count > 0)
        take_out(disk, names, &names->names[names->count - 1]);
    free(names->names);
    *names = (struct disk_names){0};
}

static void clear_changes(struct disk *disk)
{
    while (disk->changes) {
        struct disk_change *change = disk->changes;
        disk->changes = change->next;
        free_change(disk, change);
    }
    disk->changes_end = &disk->changes;
}

void names_fini(struct disk *disk)
{
    clear_changes(disk);
    clear_names(disk, &disk->now);
    clear_names(disk, &disk->durable);
}

int disk_open(struct disk *disk, const char *path, unsigned flags, struct inode **inode)
{
    char clean[PATH_BYTES_MAX];
    if (!normalize(path, clean))
        return -ENAMETOOLONG;
    struct disk_name *name = find(&disk->now, clean);

    if (name && (flags & IO_O_CREATE) && (flags & IO_O_EXCL))
        return -EEXIST;
    if (name && name->inode->is_dir)
        return -EISDIR;
    if (!name && (!(flags & IO_O_CREATE) || !parent_exists(&disk->now, clean)))
        return -ENOENT;
    if (name) {
        *inode = name->inode;
        (*inode)->refs++;
        return flags & IO_O_TRUNCATE ? disk_truncate(disk, *inode, 0) : 0;
    }
    *inode = inode_new(disk, false);
    change_name(disk, *inode, NULL, clean);
    return 0;
}

int disk_mkdir(struct disk *disk, const char *path)
{
    char clean[PATH_BYTES_MAX];
    if (!normalize(path, clean))
        return -ENAMETOOLONG;
    if (find(&disk->now, clean))
        return -EEXIST;
    if (!parent_exists(&disk->now, clean))
        return -ENOENT;
    struct inode *inode = inode_new(disk, true);
    change_name(disk, inode, NULL, clean);
    disk_put(disk, inode);
    return 0;
}

int disk_rename(struct disk *disk, const char *from, const char *to)
{
    char source[PATH_BYTES_MAX], target[PATH_BYTES_MAX];
    if (!normalize(from, source) || !normalize(to, target))
        return -ENAMETOOLONG;
    struct disk_name *name = find(&disk->now, source);
    if (!name || !parent_exists(&disk->now, target))
        return -ENOENT;
    /* The model syncs a change by one directory; nothing in this tree moves files between two. */
    RR_ASSERT(parent_size(source) == parent_size(target) && !name->inode->is_dir);
    RR_ASSERT(memcmp(source, target, parent_size(source)) == 0);
    if (strcmp(source, target) != 0)
        change_name(disk, name->inode, source, target);
    return 0;
}

int disk_unlink(struct disk *disk, const char *path)
{
    char clean[PATH_BYTES_MAX];
    if (!normalize(path, clean))
        return -ENAMETOOLONG;
    struct disk_name *name = find(&disk->now, clean);
    if (!name)
        return -ENOENT;
    if (name->inode->is_dir)
        return -EISDIR;
    change_name(disk, name->inode, clean, NULL);
    return 0;
}

int disk_sync_dir(struct disk *disk, const char *path)
{
    char clean[PATH_BYTES_MAX];
    if (!normalize(path, clean))
        return -ENAMETOOLONG;
    struct disk_name *dir = find(&disk->now, clean);
    if (!dir)
        return -ENOENT;
    if (!dir->inode->is_dir)
        return -ENOTDIR;
    disk->version++;
    struct disk_change **at = &disk->changes;
    while (*at) {
        struct disk_change *change = *at;
        if (!lies_in(change->to ? change->to : change->from, clean)) {
            at = &change->next;
            continue;
        }
        apply_change(disk, &disk->durable, change);
        *at = change->next;
        free_change(disk, change);
    }
    disk->changes_end = at;
    return 0;
}

int disk_list(const struct disk *disk, bool durable, const char *path,
              void (*each)(void *ctx, const char *name), void *ctx)
{
    const struct disk_names *names = durable ? &disk->durable : &disk->now;
    char clean[PATH_BYTES_MAX];
    if (!normalize(path, clean))
        return -ENAMETOOLONG;
    struct disk_name *dir = find(names, clean);
    if (!dir)
        return -ENOENT;
    if (!dir->inode->is_dir)
        return -ENOTDIR;
    for (size_t i = 0; i < names->count; i++) {
        const struct disk_name *name = &names->names[i];
        if (!name->inode->is_dir && lies_in(name->path, clean))
            each(ctx, strrchr(name->path, '/') + 1);
    }
    return 0;
}

struct inode *disk_durable_find(const struct disk *disk, const char *path)
{
    char clean[PATH_BYTES_MAX];
    if (!normalize(path, clean))
        return NULL;
    struct disk_name *name = find(&disk->durable, clean);
    return name ? name->inode : NULL;
}

static size_t count_changes(const struct disk *disk)
{
    size_t count = 0;
    for (const struct disk_change *c = disk->changes; c; c = c->next)
        count++;
    return count;
}

/* A name whose directory did not survive is gone too. */
static void drop_orphans(struct disk *disk, struct disk_names *names)
{
    for (size_t i = 0; i < names->count;) {
        const char *path = names->names[i].path;
        if (path[1] == 0 || parent_exists(names, path)) {
            i++;
            continue;
        }
        take_out(disk, names, &names->names[i]);
        i = 0;
    }
}

void names_power_loss(struct disk *disk, enum sim_power_loss how)
{
    /* A journalling file system keeps a prefix of the changes, others any subset. */
    bool is_subset = how == SIM_KEEP_RANDOM && stream_chance(&disk->chance, 1, 2);
    size_t keep = how == SIM_LOSE_ALL   ? 0
                  : how == SIM_KEEP_ALL ? SIZE_MAX
                                        : stream_below(&disk->chance, count_changes(disk) + 1);
    size_t nth = 0;
    for (const struct disk_change *c = disk->changes; c; c = c->next, nth++)
        if (is_subset ? stream_chance(&disk->chance, 1, 2) : nth < keep)
            apply_change(disk, &disk->durable, c);
    clear_changes(disk);
    drop_orphans(disk, &disk->durable);

    clear_names(disk, &disk->now);
    for (size_t i = 0; i < disk->durable.count; i++)
        set_name(disk, &disk->now, disk->durable.names[i].path, disk->durable.names[i].inode);
}
