/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/dir_copy.h"

#include "tests/unit/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 512

static int open_file(const char *dir, const char *name, int flags)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0)
        fprintf(stderr, "%s: %m\n", path);
    CHECK(fd >= 0);
    return fd;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct dir_copy_file *)a)->name, ((const struct dir_copy_file *)b)->name);
}

static void take_file(struct dir_copy_file *file, const char *dir)
{
    int fd = open_file(dir, file->name, O_RDONLY);
    struct stat info;
    CHECK(fstat(fd, &info) == 0);
    file->size = (size_t)info.st_size;
    file->bytes = malloc(file->size + 1);
    CHECK(file->bytes && read(fd, file->bytes, file->size) == info.st_size);
    close(fd);
}

void dir_copy_take(struct dir_copy *copy, const char *dir)
{
    copy->count = 0;
    DIR *handle = opendir(dir);
    CHECK(handle != NULL);
    struct dirent *entry;
    while ((entry = readdir(handle))) {
        if (entry->d_name[0] == '.')
            continue;
        CHECK(copy->count < DIR_COPY_FILES_MAX);
        struct dir_copy_file *file = &copy->files[copy->count++];
        CHECK(strlen(entry->d_name) < sizeof(file->name));
        strcpy(file->name, entry->d_name);
        take_file(file, dir);
    }
    closedir(handle);
    qsort(copy->files, copy->count, sizeof(copy->files[0]), compare_names);
}

static void remove_all(const char *dir)
{
    struct dir_copy present;
    dir_copy_take(&present, dir);
    for (uint32_t i = 0; i < present.count; i++)
        file_remove(dir, present.files[i].name);
    dir_copy_free(&present);
}

void dir_copy_put(const struct dir_copy *copy, const char *dir)
{
    if (mkdir(dir, 0755) != 0)
        remove_all(dir);
    for (uint32_t i = 0; i < copy->count; i++) {
        const struct dir_copy_file *file = &copy->files[i];
        int fd = open_file(dir, file->name, O_WRONLY | O_CREAT | O_TRUNC);
        CHECK(write(fd, file->bytes, file->size) == (ssize_t)file->size);
        close(fd);
    }
}

void dir_copy_free(struct dir_copy *copy)
{
    for (uint32_t i = 0; i < copy->count; i++)
        free(copy->files[i].bytes);
    copy->count = 0;
}

void dir_copy_check_unchanged(const struct dir_copy *copy, const char *dir)
{
    struct dir_copy now;
    dir_copy_take(&now, dir);
    for (uint32_t i = 0; i < copy->count || i < now.count; i++) {
        const struct dir_copy_file *a = &copy->files[i], *b = &now.files[i];
        bool is_equal = i < copy->count && i < now.count && strcmp(a->name, b->name) == 0 &&
                        a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
        if (!is_equal)
            fprintf(stderr, "%s: changed at file %s\n", dir, i < copy->count ? a->name : b->name);
        CHECK(is_equal);
    }
    dir_copy_free(&now);
}

void file_read_at(const char *dir, const char *name, uint64_t offset, void *bytes, size_t size)
{
    int fd = open_file(dir, name, O_RDONLY);
    CHECK(pread(fd, bytes, size, (off_t)offset) == (ssize_t)size);
    close(fd);
}

void file_write_at(const char *dir, const char *name, uint64_t offset, const void *bytes,
                   size_t size)
{
    int fd = open_file(dir, name, O_WRONLY);
    CHECK(pwrite(fd, bytes, size, (off_t)offset) == (ssize_t)size);
    close(fd);
}

void file_flip_bit(const char *dir, const char *name, uint64_t offset, unsigned bit)
{
    uint8_t byte;
    file_read_at(dir, name, offset, &byte, 1);
    byte ^= (uint8_t)(1u << bit);
    file_write_at(dir, name, offset, &byte, 1);
}

void file_cut(const char *dir, const char *name, uint64_t size)
{
    int fd = open_file(dir, name, O_WRONLY);
    CHECK(ftruncate(fd, (off_t)size) == 0);
    close(fd);
}

void file_remove(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    CHECK(unlink(path) == 0);
}
