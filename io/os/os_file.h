/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking file calls of the seam, as every backend on a real system has them. Any thread.
 * Results are as io.h says; errors are -errno. EINTR is retried, an error of fsync or write never.
 */
#ifndef RR_IO_OS_FILE_H
#define RR_IO_OS_FILE_H

#include "io/io.h"

int os_file_open(struct io *io, const char *path, unsigned flags);
int64_t os_file_pread(struct io *io, int fd, void *buf, size_t size, uint64_t offset);
int64_t os_file_pwrite(struct io *io, int fd, const void *buf, size_t size, uint64_t offset,
                       unsigned flags);
int os_file_fsync(struct io *io, int fd);
int64_t os_file_size(struct io *io, int fd);
int os_file_truncate(struct io *io, int fd, uint64_t size);
int os_file_mkdir(struct io *io, const char *path);
int os_file_sync_dir(struct io *io, const char *path);
int os_file_rename(struct io *io, const char *from, const char *to);
int os_file_unlink(struct io *io, const char *path);
int os_file_list(struct io *io, const char *path, void (*each)(void *ctx, const char *name),
                 void *ctx);
int os_file_lock(struct io *io, int fd);
/* At once, also for others that hold the same open file. */
void os_file_unlock(int fd);
int os_file_probe(struct io *io, const char *path, struct io_fs_info *info);
void os_file_close(struct io *io, int fd);

#endif
