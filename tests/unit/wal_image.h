/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a closed log in memory, for surgery: taken from one simulated machine, damaged, put
 * on another.
 */
#ifndef RR_TESTS_WAL_IMAGE_H
#define RR_TESTS_WAL_IMAGE_H

#include "wal_world.h"

#define IMAGE_FILES_MAX 64u

struct image_file {
    char name[32];
    uint8_t *bytes;
    size_t size;
};

struct image {
    struct image_file files[IMAGE_FILES_MAX];
    uint32_t count;
};

/* One write of the log, in order. */
struct image_write {
    struct wal_header header;
    uint32_t file;
    uint64_t offset;
};

/* What is on the disk of the world's machine, whose process is down. */
void image_take(struct image *image, struct wal_world *world);
void image_free(struct image *image);
void image_copy(struct image *to, const struct image *from);
bool image_equal(const struct image *a, const struct image *b);
/* A world with these files in "/d". */
void image_put(const struct image *image, struct wal_world *world, uint64_t seed);
/* The valid writes from the oldest on; returns how many, at most `cap`. */
uint32_t image_writes(const struct image *image, uint32_t seed, struct image_write *writes,
                      uint32_t cap);
static inline uint8_t *image_at(struct image *image, const struct image_write *write)
{
    return image->files[write->file].bytes + write->offset;
}
/* After the write's bytes were changed: makes its checksums right again. */
void image_reseal(struct image *image, const struct image_write *write, uint32_t seed);

#endif
