/* SPDX-License-Identifier: Apache-2.0 */
#include "io/snapshot_parts.h"

#include "io/file_path.h"
#include "io/snapshot_part.h"

struct sweep {
    const struct snapshot_parts *parts;
    const struct snapshot_offer *offer;
};

/* What was left of another attempt of the group is worth its room no more. */
static void remove_other_part(void *ctx, const char *name)
{
    const struct sweep *sweep = ctx;
    struct io *io = sweep->parts->io;
    char path[FILE_PATH_SIZE];
    uint64_t group, index;
    if (snapshot_file_parse_name(name, &group, &index) == SNAPSHOT_NAME_RECEIVED &&
        group == sweep->offer->group && index != sweep->offer->message->snapshot->metadata.index &&
        file_path_join(path, sweep->parts->dir, name, NULL) == 0)
        (void)io->ops->unlink(io, path);
}

static int open_new(const struct snapshot_parts *parts, const struct snapshot_offer *offer,
                    struct snapshot_part **part)
{
    const struct rr_snapshot_metadata *metadata = &offer->message->snapshot->metadata;
    struct sweep sweep = {.parts = parts, .offer = offer};
    char path[FILE_PATH_SIZE], name[SNAPSHOT_NAME_SIZE];
    snapshot_file_name(name, offer->group, metadata->index, SNAPSHOT_NAME_PUBLISHED);
    int rc = file_path_join(path, parts->dir, name, NULL);
    if (rc != 0)
        return rc;
    (void)parts->io->ops->list(parts->io, parts->dir, remove_other_part, &sweep);
    const struct snapshot_part_options options = {.io = parts->io,
                                                  .path = path,
                                                  .group = offer->group,
                                                  .index = metadata->index,
                                                  .term = metadata->term,
                                                  .file_bytes = offer->size,
                                                  .head_crc = offer->header_crc};
    return snapshot_part_open(&options, part, NULL);
}

static int part_open(void *ctx, const struct snapshot_offer *offer, void **part, uint64_t *offset)
{
    struct snapshot_part *opened = *part;
    int rc = opened ? 0 : open_new(ctx, offer, &opened);
    *part = opened;
    return rc == 0 ? snapshot_part_resume(opened, offset, NULL) : rc;
}

static int part_write(void *ctx, void *part, uint64_t offset, const void *bytes, uint32_t size)
{
    (void)ctx;
    return snapshot_part_write(part, offset, bytes, size, NULL);
}

static int part_publish(void *ctx, void *part)
{
    (void)ctx;
    return snapshot_part_publish(part, NULL);
}

static void part_close(void *ctx, void *part, bool keep)
{
    (void)ctx;
    snapshot_part_close(part, keep);
}

void snapshot_parts_serve(const struct snapshot_parts *parts,
                          struct snapshot_stream_options *options)
{
    options->part_ctx = (void *)(uintptr_t)parts;
    options->part_open = part_open;
    options->part_write = part_write;
    options->part_publish = part_publish;
    options->part_close = part_close;
}
