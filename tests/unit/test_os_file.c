/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking file calls on a real file system, and what the probe finds on disk and in RAM.
 */
#include "io/os/os_file.h"

#include "proto/base.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "os-file-XXXXXX";

static const char *in_dir(const char *name)
{
    static char paths[4][64];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 64, "%s/%s", dir, name);
    return path;
}

static void test_open_flags_do_what_they_say(void)
{
    struct stat st;
    CHECK(os_file_open(NULL, in_dir("a"), 0) == -ENOENT);
    int fd = os_file_open(NULL, in_dir("a"), IO_O_CREATE | IO_O_EXCL);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(os_file_pwrite(NULL, fd, "abc", 3, 0, 0) == 3);
    os_file_close(NULL, fd);
    CHECK(os_file_open(NULL, in_dir("a"), IO_O_CREATE | IO_O_EXCL) == -EEXIST);

    fd = os_file_open(NULL, in_dir("a"), IO_O_READ_ONLY);
    CHECK(os_file_size(NULL, fd) == 3);
    CHECK(os_file_pwrite(NULL, fd, "x", 1, 0, 0) == -EBADF);
    os_file_close(NULL, fd);
    fd = os_file_open(NULL, in_dir("a"), IO_O_CREATE | IO_O_TRUNCATE);
    CHECK(os_file_size(NULL, fd) == 0);
    os_file_close(NULL, fd);
    CHECK(os_file_unlink(NULL, in_dir("a")) == 0);
    CHECK(os_file_unlink(NULL, in_dir("a")) == -ENOENT);
}

static void test_reads_are_whole_or_end_with_the_file(void)
{
    char buf[8] = {0};
    int fd = os_file_open(NULL, in_dir("a"), IO_O_CREATE);
    CHECK(os_file_pwrite(NULL, fd, "0123456789", 10, 2, IO_DSYNC) == 10);
    CHECK(os_file_pread(NULL, fd, buf, 8, 0) == 8);
    CHECK(memcmp(buf,
                 "\0\0"
                 "012345",
                 8) == 0);
    CHECK(os_file_pread(NULL, fd, buf, 8, 8) == 4);
    CHECK(memcmp(buf, "6789", 4) == 0);
    CHECK(os_file_pread(NULL, fd, buf, 8, 12) == 0);
    CHECK(os_file_truncate(NULL, fd, 5) == 0);
    CHECK(os_file_size(NULL, fd) == 5);
    CHECK(os_file_fsync(NULL, fd) == 0);
    os_file_close(NULL, fd);
    CHECK(os_file_pread(NULL, fd, buf, 8, 0) == -EBADF);
    CHECK(os_file_unlink(NULL, in_dir("a")) == 0);
}

static void test_a_direct_read_over_the_end_of_the_file_is_short(void)
{
    char *buf = aligned_alloc(4096, 16384);
    int fd = os_file_open(NULL, in_dir("a"), IO_O_CREATE);
    memset(buf, 'x', 16384);
    CHECK(os_file_pwrite(NULL, fd, buf, 5000, 0, 0) == 5000);
    CHECK(os_file_fsync(NULL, fd) == 0);
    os_file_close(NULL, fd);
    fd = os_file_open(NULL, in_dir("a"), IO_O_DIRECT | IO_O_READ_ONLY);
    if (fd >= 0) {
        CHECK(os_file_pread(NULL, fd, buf, 16384, 0) == 5000);
        CHECK(os_file_pread(NULL, fd, buf, 4096, 0) == 4096);
        CHECK(os_file_pread(NULL, fd, buf, 4096, 100) == -EINVAL); /* unaligned: said, not hidden */
        os_file_close(NULL, fd);
    } else {
        CHECK(fd == -EINVAL); /* a file system without O_DIRECT */
    }
    free(buf);
    CHECK(os_file_unlink(NULL, in_dir("a")) == 0);
}

struct names {
    char seen[4][16];
    int count;
};

static void note_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    CHECK(names->count < 4);
    snprintf(names->seen[names->count++], 16, "%s", name);
}

static void test_directories(void)
{
    struct names names = {.count = 0};
    CHECK(os_file_mkdir(NULL, in_dir("sub")) == 0);
    CHECK(os_file_mkdir(NULL, in_dir("sub")) == -EEXIST);
    os_file_close(NULL, os_file_open(NULL, in_dir("b"), IO_O_CREATE));
    CHECK(os_file_rename(NULL, in_dir("b"), in_dir("c")) == 0);
    CHECK(os_file_rename(NULL, in_dir("b"), in_dir("d")) == -ENOENT);
    CHECK(os_file_sync_dir(NULL, dir) == 0);
    CHECK(os_file_sync_dir(NULL, in_dir("nowhere")) == -ENOENT);
    CHECK(os_file_sync_dir(NULL, in_dir("c")) == -ENOTDIR);
    CHECK(os_file_list(NULL, dir, note_name, &names) == 0);
    CHECK(names.count == 1 && strcmp(names.seen[0], "c") == 0); /* the directory is no file */
    CHECK(os_file_list(NULL, in_dir("nowhere"), note_name, &names) == -ENOENT);
    CHECK(os_file_unlink(NULL, in_dir("c")) == 0);
    CHECK(rmdir(in_dir("sub")) == 0);
}

static void test_a_lock_keeps_everybody_else_out_until_closed(void)
{
    int first = os_file_open(NULL, in_dir("lock"), IO_O_CREATE);
    int second = os_file_open(NULL, in_dir("lock"), 0);
    int status;
    CHECK(os_file_lock(NULL, first) == 0);
    CHECK(os_file_lock(NULL, second) == -EWOULDBLOCK); /* within one process as well */
    pid_t child = fork();
    if (child == 0) {
        int own = os_file_open(NULL, in_dir("lock"), 0);
        _exit(os_file_lock(NULL, own) == -EWOULDBLOCK ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    os_file_close(NULL, first);
    CHECK(os_file_lock(NULL, second) == 0);
    os_file_close(NULL, second);
    CHECK(os_file_unlink(NULL, in_dir("lock")) == 0);
}

static void test_probe_of_a_disk(void)
{
    struct io_fs_info info;
    struct names names = {.count = 0};
    CHECK(os_file_probe(NULL, dir, &info) == 0);
    CHECK(info.block_size >= 4096 && (info.block_size & (info.block_size - 1)) == 0);
    CHECK(info.free_bytes > 0);
    CHECK(os_file_list(NULL, dir, note_name, &names) == 0);
    CHECK(names.count == 0); /* the probe's file is gone */
    CHECK(os_file_probe(NULL, in_dir("nowhere"), &info) == -ENOENT);

    /* Says yes exactly if such a write works. */
    int fd = os_file_open(NULL, in_dir("direct"), IO_O_CREATE | IO_O_DIRECT);
    void *block = aligned_alloc(info.block_size, info.block_size);
    memset(block, 0, info.block_size);
    bool works = fd >= 0 && os_file_pwrite(NULL, fd, block, info.block_size, 0, IO_DSYNC) ==
                                (int64_t)info.block_size;
    CHECK(info.direct_dsync == works);
    if (fd >= 0)
        os_file_close(NULL, fd);
    unlink(in_dir("direct"));
    free(block);
}

static void test_probe_recognises_ram(void)
{
    struct io_fs_info info;
    struct statfs fs;
    if (statfs("/dev/shm", &fs) < 0 || fs.f_type != 0x01021994 ||
        os_file_probe(NULL, "/dev/shm", &info) < 0) {
        fprintf(stderr, "    no tmpfs to be had: not tried\n");
        return;
    }
    CHECK(info.is_ram);
    CHECK(os_file_probe(NULL, dir, &info) == 0);
    CHECK(statfs(dir, &fs) == 0 && info.is_ram == (fs.f_type == 0x01021994));
}

int main(void)
{
    CHECK(mkdtemp(dir) != NULL);
    RUN(test_open_flags_do_what_they_say);
    RUN(test_reads_are_whole_or_end_with_the_file);
    RUN(test_a_direct_read_over_the_end_of_the_file_is_short);
    RUN(test_directories);
    RUN(test_a_lock_keeps_everybody_else_out_until_closed);
    RUN(test_probe_of_a_disk);
    RUN(test_probe_recognises_ram);
    CHECK(rmdir(dir) == 0);
    return 0;
}
