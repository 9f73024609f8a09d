/* SPDX-License-Identifier: Apache-2.0
 *
 * The sending end of a snapshot connection, on a net whose completions the test decides: what is in
 * flight stays as it is until its completion came, whatever the receiver has said meanwhile, and no
 * more than the window is read. Files are memory.
 */
#include "io/snapshot_wire.h"
#include "tests/unit/transport_world.h"

#include "proto/base.h"

#define FILE_FD    100000
#define CHUNKS     11u
#define FILE_BYTES (CHUNKS * (uint64_t)SNAPSHOT_WIRE_CHUNK_MAX - 77)

static struct world world;
static uint64_t bytes_read; /* of the file that is sent */

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 9));
}

/* ---- the file that is sent ----------------------------------------------- */

static int file_open(struct io *io, const char *path, unsigned flags)
{
    (void)io;
    CHECK(strcmp(path, "/file") == 0 && flags == IO_O_READ_ONLY);
    return FILE_FD;
}

static int64_t file_size(struct io *io, int fd)
{
    (void)io;
    CHECK(fd == FILE_FD);
    return (int64_t)FILE_BYTES;
}

static int64_t file_pread(struct io *io, int fd, void *buf, size_t size, uint64_t offset)
{
    (void)io;
    CHECK(fd == FILE_FD && offset == bytes_read && size <= FILE_BYTES - offset);
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buf)[i] = byte_at(offset + i);
    bytes_read += size;
    return (int64_t)size;
}

static void (*close_socket)(struct io *io, int fd);

static void file_close(struct io *io, int fd)
{
    if (fd != FILE_FD)
        close_socket(io, fd);
}

/* ---- the file that arrives ----------------------------------------------- */

static uint64_t written;

static int part_open(void *ctx, const struct snapshot_offer *offer, void **part, uint64_t *offset)
{
    (void)ctx;
    CHECK(offer->size == FILE_BYTES);
    *part = &written;
    *offset = 0;
    return 0;
}

static int part_write(void *ctx, void *part, uint64_t offset, const void *bytes, uint32_t size)
{
    (void)ctx;
    CHECK(part == &written && offset == written);
    for (uint32_t i = 0; i < size; i++)
        CHECK(((const uint8_t *)bytes)[i] == byte_at(offset + i));
    written += size;
    return 0;
}

static int part_publish(void *ctx, void *part)
{
    (void)ctx;
    CHECK(part == &written && written == FILE_BYTES);
    return 0;
}

static void part_close(void *ctx, void *part, bool keep)
{
    (void)ctx, (void)part, (void)keep;
}

static uint32_t offers;
static int sent_status;
static uint32_t sent_count;

static int on_offer(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    (void)ctx, (void)offer;
    CHECK(from == 1);
    offers++;
    return 0;
}

static int on_received(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    (void)ctx, (void)from, (void)offer;
    return 0;
}

static void on_lost(void *ctx, uint64_t from, const struct snapshot_offer *offer, int status)
{
    (void)ctx, (void)from, (void)offer, (void)status;
    CHECK(false && "it arrives");
}

static void on_sent(void *ctx, const struct snapshot_sent *sent)
{
    (void)ctx;
    sent_status = sent->status;
    sent_count++;
}

/* ---- two nodes ----------------------------------------------------------- */

static void start(void)
{
    static struct io_ops ops;
    world_start(&world, 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct world_node *node = &world.nodes[i];
        struct snapshot_stream_options options = {.io = node->io,
                                                  .transport = node->transport,
                                                  .send_bytes_per_second = 1u << 30,
                                                  .part_open = part_open,
                                                  .part_write = part_write,
                                                  .part_publish = part_publish,
                                                  .part_close = part_close,
                                                  .on_offer = on_offer,
                                                  .on_received = on_received,
                                                  .on_lost = on_lost,
                                                  .on_sent = on_sent};
        CHECK(snapshot_streams_open(&options, &node->streams, NULL) == 0);
    }
    ops = *world.nodes[0].io->ops;
    close_socket = ops.close;
    ops.close = file_close;
    ops.open = file_open;
    ops.file_size = file_size;
    ops.pread = file_pread;
    world.nodes[0].io->ops = &ops;
}

static void send_file(void)
{
    static const struct rr_snapshot snapshot = {.metadata = {.index = 77, .term = 3}};
    struct rr_message message = make_message(RR_MSG_SNAP, 1, 2);
    message.snapshot = &snapshot;
    struct snapshot_offer offer = {
        .group = 5, .size = FILE_BYTES, .header_crc = 1, .message = &message};
    CHECK(snapshot_streams_send(world.nodes[0].streams, &offer, "/file") == 0);
}

/* The receiver has a chunk, wrote it and said so, before the sender knows that it was sent: the
 * kernel may still read from it, for all that the sender knows. */
static void test_chunk_is_not_reused_before_its_send_is_over(void)
{
    start();
    send_file();
    while (offers == 0)
        world_turn(&world);
    world.net->holds_sends = world.nodes[0].io;
    world_settle(&world);
    CHECK_EQ_U64(written, SNAPSHOT_WIRE_CHUNK_MAX); /* the one that is in flight */
    CHECK_EQ_U64(bytes_read, SNAPSHOT_WINDOW * SNAPSHOT_WIRE_CHUNK_MAX);
    world.net->holds_sends = NULL; /* the net looks whether it is what was sent */
    world_pass(&world, 50 * MS);
    CHECK(written == FILE_BYTES && sent_count == 1 && sent_status == 0);
    world_close(&world);
}

int main(void)
{
    RUN(test_chunk_is_not_reused_before_its_send_is_over);
    return 0;
}
