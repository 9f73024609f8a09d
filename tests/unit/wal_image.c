/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_image.h.
 */
#include "wal_image.h"

#include "proto/crc32c.h"
#include "tests/unit/check.h"

static void add_name(void *ctx, const char *name)
{
    struct image *image = ctx;
    CHECK(image->count < IMAGE_FILES_MAX);
    snprintf(image->files[image->count++].name, sizeof(image->files[0].name), "%s", name);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct image_file *)a)->name, ((const struct image_file *)b)->name);
}

void image_take(struct image *image, struct wal_world *world)
{
    memset(image, 0, sizeof(*image));
    CHECK(sim_durable_list(world->sim, 1, "/d", add_name, image) == 0);
    qsort(image->files, image->count, sizeof(image->files[0]), compare_files);
    for (uint32_t i = 0; i < image->count; i++) {
        char path[64];
        struct image_file *file = &image->files[i];
        size_t cap = 4 * WAL_SEGMENT_BYTES_MIN;
        snprintf(path, sizeof(path), "/d/%s", file->name);
        file->bytes = malloc(cap);
        CHECK(file->bytes);
        int64_t size = sim_durable_read(world->sim, 1, path, file->bytes, cap, 0);
        CHECK(size >= 0 && (size_t)size < cap);
        file->size = (size_t)size;
    }
}

void image_free(struct image *image)
{
    for (uint32_t i = 0; i < image->count; i++)
        free(image->files[i].bytes);
}

void image_copy(struct image *to, const struct image *from)
{
    *to = *from;
    for (uint32_t i = 0; i < to->count; i++) {
        to->files[i].bytes = malloc(from->files[i].size + 1);
        CHECK(to->files[i].bytes);
        memcpy(to->files[i].bytes, from->files[i].bytes, from->files[i].size);
    }
}

bool image_equal(const struct image *a, const struct image *b)
{
    bool equal = a->count == b->count;
    for (uint32_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->files[i].name, b->files[i].name) == 0 &&
                a->files[i].size == b->files[i].size &&
                memcmp(a->files[i].bytes, b->files[i].bytes, a->files[i].size) == 0;
    return equal;
}

void image_put(const struct image *image, struct wal_world *world, uint64_t seed)
{
    world_init(world, seed);
    const struct io_ops *ops = world->io->ops;
    CHECK(ops->mkdir(world->io, "/d") == 0);
    for (uint32_t i = 0; i < image->count; i++) {
        char path[64];
        const struct image_file *file = &image->files[i];
        snprintf(path, sizeof(path), "/d/%s", file->name);
        int fd = ops->open(world->io, path, IO_O_CREATE);
        CHECK(fd >= 0);
        CHECK(ops->pwrite(world->io, fd, file->bytes, file->size, 0, 0) == (int64_t)file->size);
        CHECK(ops->fsync(world->io, fd) == 0);
        ops->close(world->io, fd);
    }
    CHECK(ops->sync_dir(world->io, "/") == 0);
    CHECK(ops->sync_dir(world->io, "/d") == 0);
}

uint32_t image_writes(const struct image *image, uint32_t seed, struct image_write *writes,
                      uint32_t cap)
{
    uint32_t count = 0;
    for (uint32_t f = 0; f < image->count; f++) {
        const struct image_file *file = &image->files[f];
        uint64_t offset = 0;
        struct wal_header header;
        while (count < cap && offset + WAL_BLOCK_MIN <= file->size &&
               wal_header_check(file->bytes + offset, seed, &header) == WAL_HEADER_VALID &&
               (count == 0 || wal_header_follows(&writes[count - 1].header, &header))) {
            writes[count++] = (struct image_write){header, f, offset};
            offset += wal_padded_size(&header);
        }
    }
    return count;
}

void image_reseal(struct image *image, const struct image_write *write, uint32_t seed)
{
    uint8_t *at = image_at(image, write);
    struct wal_header header;
    memcpy(&header, at, sizeof(header));
    if (header.length <= image->files[write->file].size - write->offset - sizeof(header))
        header.payload_crc = crc32c(0, at + sizeof(header), header.length);
    wal_header_seal(&header, seed);
    memcpy(at, &header, sizeof(header));
}
