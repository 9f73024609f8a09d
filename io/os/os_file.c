/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking file calls, and the probe that asks a directory's file system what it can do by
 * doing it. Cold: opening, recovery, workers.
 */
#include "io/os/os_file.h"

#include "proto/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LOCK_PAUSE_MS 10
#define LOCK_TRIES    200

/* O_DIRECT reads end at this granularity at least: a count that is no multiple of it means the end
 * of the file, and reading on from there would be refused as unaligned. */
#define SECTOR_SIZE    512
#define BLOCK_SIZE_MIN 4096

static int result_of(int err)
{
    return err < 0 ? -errno : err;
}

int os_file_open(struct io *io, const char *path, unsigned flags)
{
    (void)io;
    RR_ASSERT(!(flags & IO_O_EXCL) || (flags & IO_O_CREATE));
    RR_ASSERT(!(flags & IO_O_READ_ONLY) || !(flags & (IO_O_CREATE | IO_O_TRUNCATE)));
    int how = O_CLOEXEC | (flags & IO_O_READ_ONLY ? O_RDONLY : O_RDWR);
    how |= flags & IO_O_CREATE ? O_CREAT : 0;
    how |= flags & IO_O_EXCL ? O_EXCL : 0;
    how |= flags & IO_O_DIRECT ? O_DIRECT : 0;
    how |= flags & IO_O_TRUNCATE ? O_TRUNC : 0;
    int fd;
    do
        fd = open(path, how, 0600);
    while (fd < 0 && errno == EINTR);
    return result_of(fd);
}

int64_t os_file_pread(struct io *io, int fd, void *buf, size_t size, uint64_t offset)
{
    (void)io;
    size_t total = 0;
    while (total < size) {
        ssize_t n = pread(fd, (char *)buf + total, size - total, (off_t)(offset + total));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        total += (size_t)n;
        if (n == 0 || total % SECTOR_SIZE != 0)
            break;
    }
    return (int64_t)total;
}

int64_t os_file_pwrite(struct io *io, int fd, const void *buf, size_t size, uint64_t offset,
                       unsigned flags)
{
    (void)io;
    size_t total = 0;
    while (total < size) {
        struct iovec iov = {(char *)(uintptr_t)buf + total, size - total};
        ssize_t n =
            pwritev2(fd, &iov, 1, (off_t)(offset + total), flags & IO_DSYNC ? RWF_DSYNC : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* no progress and no error: not a file that can be written */
        total += (size_t)n;
    }
    return (int64_t)total;
}

int os_file_fsync(struct io *io, int fd)
{
    (void)io;
    int err;
    do
        err = fsync(fd);
    while (err < 0 && errno == EINTR);
    return result_of(err);
}

int64_t os_file_size(struct io *io, int fd)
{
    (void)io;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_size;
}

int os_file_truncate(struct io *io, int fd, uint64_t size)
{
    (void)io;
    int err;
    do
        err = ftruncate(fd, (off_t)size);
    while (err < 0 && errno == EINTR);
    return result_of(err);
}

int os_file_mkdir(struct io *io, const char *path)
{
    (void)io;
    return result_of(mkdir(path, 0700));
}

int os_file_sync_dir(struct io *io, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = os_file_fsync(io, fd);
    os_file_close(io, fd);
    return err;
}

int os_file_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return result_of(rename(from, to));
}

int os_file_unlink(struct io *io, const char *path)
{
    (void)io;
    return result_of(unlink(path));
}

static bool is_file(DIR *dir, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_REG;
    struct stat st;
    return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

int os_file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                 void *ctx)
{
    (void)io;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (is_file(dir, entry))
            each(ctx, entry->d_name);
    }
    int err = -errno;
    closedir(dir);
    return err;
}

/* flock rather than fcntl's locks: those vanish when any descriptor of the file is closed. A killed
 * process keeps its lock until the kernel has torn down its ring (see lock_for_ring): that takes
 * milliseconds, so a short wait stands between a restart and "in use by another process". */
int os_file_lock(struct io *io, int fd)
{
    (void)io;
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000 * 1000};
    for (int tries = 1;; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EINTR && (errno != EWOULDBLOCK || tries == LOCK_TRIES))
            return -errno;
        (void)nanosleep(&pause, NULL);
    }
}

void os_file_unlock(int fd)
{
    int err = flock(fd, LOCK_UN);
    RR_ASSERT(err == 0);
}

void os_file_close(struct io *io, int fd)
{
    (void)io;
    int err = close(fd);
    RR_ASSERT(err == 0 || errno != EBADF); /* a double close would hit somebody else's file */
}

/* The physical block of the device under `dev`; the file is one level up for a partition. */
static uint32_t physical_block(dev_t dev)
{
    static const char *const levels[] = {"", "/.."};
    for (size_t i = 0; i < RR_ARRAY_SIZE(levels); i++) {
        char path[96];
        unsigned size = 0;
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/queue/physical_block_size", major(dev),
                 minor(dev), levels[i]);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        int n = fscanf(file, "%u", &size);
        fclose(file);
        if (n == 1 && size > 0 && (size & (size - 1)) == 0)
            return size;
    }
    return 0;
}

/* One real O_DIRECT write with RWF_DSYNC. EINVAL and EOPNOTSUPP are the file system's ways to say
 * no. A full disk fails later than that check, so ENOSPC counts as yes: a node must be able to
 * restart on a full disk. */
static int try_direct_dsync(const char *dir, uint32_t block_size, bool *accepted)
{
    char path[4096];
    int length = snprintf(path, sizeof(path), "%s/probe.tmp", dir);
    if (length < 0 || (size_t)length >= sizeof(path))
        return -ENAMETOOLONG;
    void *block = aligned_alloc(block_size, block_size);
    if (block == NULL)
        return -ENOMEM;
    memset(block, 0, block_size);
    int64_t result = os_file_open(NULL, path, IO_O_CREATE | IO_O_DIRECT);
    if (result >= 0) {
        int fd = (int)result;
        result = os_file_pwrite(NULL, fd, block, block_size, 0, IO_DSYNC);
        os_file_close(NULL, fd);
    }
    unlink(path); /* also when the open failed: some file systems refuse O_DIRECT after creating */
    free(block);
    *accepted = result >= 0 || result == -ENOSPC || result == -EDQUOT;
    return *accepted || result == -EINVAL || result == -EOPNOTSUPP ? 0 : (int)result;
}

int os_file_probe(struct io *io, const char *path, struct io_fs_info *info)
{
    (void)io;
    struct statfs fs;
    struct stat st;
    if (statfs(path, &fs) < 0 || stat(path, &st) < 0)
        return -errno;
    memset(info, 0, sizeof(*info));
    info->is_ram = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
    info->block_size = (uint32_t)rr_max_u64(BLOCK_SIZE_MIN, physical_block(st.st_dev));
    info->free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    return try_direct_dsync(path, info->block_size, &info->direct_dsync);
}
