/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a data directory in memory: to put damage back, to roll a directory back, and to
 * prove that a refusal changed nothing.
 */
#ifndef RR_TESTS_DIR_COPY_H
#define RR_TESTS_DIR_COPY_H

#include <stddef.h>
#include <stdint.h>

#define DIR_COPY_FILES_MAX 256u

struct dir_copy_file {
    char name[48];
    uint8_t *bytes;
    size_t size;
};

struct dir_copy {
    struct dir_copy_file files[DIR_COPY_FILES_MAX]; /* by name */
    uint32_t count;
};

/* Nothing may run on the directory. */
void dir_copy_take(struct dir_copy *copy, const char *dir);
/* The directory holds exactly these files afterwards; it is made if it is missing. */
void dir_copy_put(const struct dir_copy *copy, const char *dir);
void dir_copy_free(struct dir_copy *copy);
/* Exits with the first file that differs. */
void dir_copy_check_unchanged(const struct dir_copy *copy, const char *dir);

/* One file in place. */
void file_read_at(const char *dir, const char *name, uint64_t offset, void *bytes, size_t size);
void file_write_at(const char *dir, const char *name, uint64_t offset, const void *bytes,
                   size_t size);
void file_flip_bit(const char *dir, const char *name, uint64_t offset, unsigned bit);
void file_cut(const char *dir, const char *name, uint64_t size);
void file_remove(const char *dir, const char *name);

#endif
