/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/stream_world.h"

#include "proto/base.h"

#include <stdio.h>
#include <stdlib.h>

#define HEARTBEAT_NS (50 * MS)

/* ---- messages ------------------------------------------------------------ */

static int check_peer(void *ctx, const struct transport_peer *peer)
{
    (void)ctx, (void)peer;
    return 0;
}

static int on_message(void *ctx, uint64_t from, uint64_t group, const struct rr_message *message)
{
    struct stream_node *node = ctx;
    CHECK(group == 1 && message->type == RR_MSG_HEARTBEAT);
    uint64_t now = io_now(node->io);
    uint64_t *heard = &node->heard_ns[from - 1];
    if (*heard != 0 && now - *heard > node->longest_ns)
        node->longest_ns = now - *heard;
    *heard = now;
    node->heartbeats[from - 1]++;
    return 0;
}

static void send_heartbeats(struct stream_node *node, uint64_t now_ns)
{
    if (now_ns < node->heartbeat_ns)
        return;
    node->heartbeat_ns = now_ns + HEARTBEAT_NS;
    for (uint32_t to = 1; to <= node->world->count; to++) {
        struct rr_message message = {
            .type = RR_MSG_HEARTBEAT, .from = node->number, .to = to, .term = 1};
        if (to != node->number)
            (void)transport_send(node->transport, 1, &message);
    }
}

/* ---- files --------------------------------------------------------------- */

static void path_of(char path[64], uint64_t group, uint64_t index)
{
    char name[SNAPSHOT_NAME_SIZE];
    snapshot_file_name(name, group, index, SNAPSHOT_NAME_PUBLISHED);
    CHECK(snprintf(path, 64, "/%s", name) < 64);
}

/* As they are, and counted. */
static int part_open(void *ctx, const struct snapshot_offer *offer, void **part, uint64_t *offset)
{
    struct stream_node *node = ctx;
    bool was_open = *part != NULL;
    int rc = node->part_options.part_open(&node->parts, offer, part, offset);
    node->parts_open += !was_open && *part;
    return rc;
}

static int part_write(void *ctx, void *part, uint64_t offset, const void *bytes, uint32_t size)
{
    struct stream_node *node = ctx;
    return node->part_options.part_write(&node->parts, part, offset, bytes, size);
}

static int part_publish(void *ctx, void *part)
{
    struct stream_node *node = ctx;
    return node->part_options.part_publish(&node->parts, part);
}

static void part_close(void *ctx, void *part, bool keep)
{
    struct stream_node *node = ctx;
    CHECK(node->parts_open > 0);
    node->parts_open--;
    node->part_options.part_close(&node->parts, part, keep);
}

struct stream_file stream_file_make(struct stream_node *node, uint64_t group, uint64_t index,
                                    uint64_t bytes)
{
    struct stream_file file = {.group = group, .index = index, .term = 3};
    uint64_t voters[2] = {1, 2};
    struct snapshot_head head = {.cluster = STREAM_CLUSTER,
                                 .group = group,
                                 .file_id = sim_random(node->world->sim),
                                 .metadata = {.index = index,
                                              .term = file.term,
                                              .conf_state = {.voters = voters, .voter_count = 2}}};
    struct snapshot_writer *writer;
    path_of(file.path, group, index);
    CHECK(snapshot_writer_open(node->io, file.path, &head, &writer, NULL) == 0);
    for (uint64_t done = 0; done < bytes;) {
        size_t room;
        uint8_t *at = snapshot_writer_room(writer, &room);
        room = (size_t)rr_min_u64(room, bytes - done);
        for (size_t i = 0; i < room; i++)
            at[i] = (uint8_t)((done + i) * 31 + ((done + i) >> 9) + group);
        CHECK(snapshot_writer_fill(writer, room, NULL) == 0);
        done += room;
    }
    CHECK(snapshot_writer_publish(writer, &file.info, NULL) == 0);
    snapshot_writer_free(writer);
    return file;
}

int stream_file_send(struct stream_node *node, const struct stream_file *file, uint32_t to,
                     uint64_t term)
{
    uint64_t voters[2] = {1, 2};
    struct rr_snapshot snapshot = {
        .metadata = {.index = file->index,
                     .term = file->term,
                     .conf_state = {.voters = voters, .voter_count = 2}}};
    struct rr_message message = {.type = RR_MSG_SNAP,
                                 .from = node->number,
                                 .to = to,
                                 .term = term,
                                 .snapshot = &snapshot,
                                 .context = (const uint8_t *)"book",
                                 .context_size = 4};
    struct snapshot_offer offer = {.group = file->group,
                                   .size = file->info.file_bytes,
                                   .header_crc = file->info.head_crc,
                                   .message = &message};
    return snapshot_streams_send(node->streams, &offer, file->path);
}

bool stream_file_is_at(struct stream_node *node, const struct stream_file *file)
{
    struct snapshot_reader *reader;
    char path[64];
    path_of(path, file->group, file->index);
    if (snapshot_reader_open(node->io, path, &reader, NULL) != 0)
        return false;
    bool is_it = snapshot_reader_info(reader)->head_crc == file->info.head_crc;
    snapshot_reader_free(reader);
    CHECK(snapshot_file_verify(node->io, path, NULL) == 0 || /* never anything but a whole one */
          sim_crashed(node->world->sim, node->number));
    return is_it;
}

bool stream_part_is_at(struct stream_node *node, const struct stream_file *file)
{
    char path[64], part[80];
    path_of(path, file->group, file->index);
    snprintf(part, sizeof(part), "%s.recv", path);
    int fd = node->io->ops->open(node->io, part, IO_O_READ_ONLY);
    if (fd >= 0)
        node->io->ops->close(node->io, fd);
    return fd >= 0;
}

/* ---- what streams say ---------------------------------------------------- */

static int on_offer(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    struct stream_node *node = ctx;
    CHECK(offer->message->from == from && offer->message->to == node->number);
    node->offers++;
    return node->offer_result;
}

static int on_received(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    struct stream_node *node = ctx;
    const struct rr_message *message = offer->message;
    struct stream_file file = {.group = offer->group,
                               .index = message->snapshot->metadata.index,
                               .info = {.head_crc = offer->header_crc}};
    CHECK(message->type == RR_MSG_SNAP && message->from == from);
    CHECK(message->snapshot->metadata.conf_state.voter_count == 2);
    CHECK(message->context_size == 4 && memcmp(message->context, "book", 4) == 0);
    CHECK(stream_file_is_at(node, &file) || sim_crashed(node->world->sim, node->number));
    node->received++;
    return node->received_result;
}

static void on_lost(void *ctx, uint64_t from, const struct snapshot_offer *offer, int status)
{
    struct stream_node *node = ctx;
    CHECK(offer->message->from == from && status < 0);
    node->lost++;
    node->lost_status = status;
}

static void on_sent(void *ctx, const struct snapshot_sent *sent)
{
    struct stream_node *node = ctx;
    CHECK(node->sent_count < STREAM_SENT_MAX);
    node->sent[node->sent_count++] = *sent;
}

/* ---- nodes --------------------------------------------------------------- */

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct stream_node *node = ctx;
    transport_receive(node->transport, now_ns);
    snapshot_streams_receive(node->streams, now_ns);
    send_heartbeats(node, now_ns);
    uint64_t deadline = snapshot_streams_flush(node->streams, now_ns);
    deadline = rr_min_u64(deadline, transport_flush(node->transport, now_ns));
    *deadline_ns = rr_min_u64(deadline, node->heartbeat_ns);
    return true;
}

void stream_node_boot(struct stream_node *node)
{
    struct stream_world *world = node->world;
    struct transport_options options = {
        .io = node->io,
        .identity = {.cluster = STREAM_CLUSTER,
                     .node = node->number,
                     .instance = 1000 + node->number,
                     .feature_level = IDENTITY_FEATURE_LEVEL,
                     .loop_count = 1},
        .boot = ++node->boot,
        .nonce = node->boot * 7,
        .listen = sim_address(node->number, STREAM_PORT),
        .limits = {.entry_bytes_max = 1 << 20, .frame_bytes_max = 2 << 20},
        .ctx = node,
        .check_peer = check_peer,
        .on_message = on_message,
    };
    CHECK(transport_open(&options, &node->transport, NULL) == 0);
    for (uint32_t to = 1; to <= world->count; to++) {
        struct io_address address = sim_address(to, STREAM_PORT);
        if (to != node->number)
            CHECK(transport_add_peer(node->transport, to, &address, NULL) == 0);
    }
    struct snapshot_stream_options streams = world->options;
    streams.io = node->io;
    streams.transport = node->transport;
    streams.ctx = node;
    node->parts = (struct snapshot_parts){.io = node->io, .dir = "/"};
    snapshot_parts_serve(&node->parts, &node->part_options);
    streams.part_ctx = node;
    streams.part_open = part_open;
    streams.part_write = part_write;
    streams.part_publish = part_publish;
    streams.part_close = part_close;
    streams.on_offer = on_offer;
    streams.on_received = on_received;
    streams.on_lost = on_lost;
    streams.on_sent = on_sent;
    CHECK(snapshot_streams_open(&streams, &node->streams, NULL) == 0);
    CHECK(node->io->ops->start(node->io, turn, node) == 0);
}

void stream_node_bury(struct stream_node *node)
{
    node->io->ops->join(node->io);
    snapshot_streams_free(node->streams);
    transport_free(node->transport);
    CHECK(node->parts_open == 0);
    node->transport = NULL;
    node->streams = NULL;
    sim_reset(node->world->sim, node->number);
}

void stream_node_kill(struct stream_node *node)
{
    sim_kill(node->world->sim, node->number);
    stream_node_bury(node);
}

void stream_node_lose_power(struct stream_node *node, enum sim_power_loss how)
{
    sim_power_loss(node->world->sim, node->number, how);
    stream_node_bury(node);
}

/* ---- the world ----------------------------------------------------------- */

void stream_world_init(struct stream_world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->sim = sim_new(seed);
}

void stream_world_open(struct stream_world *world, uint32_t count)
{
    CHECK(count <= STREAM_NODES_MAX);
    world->count = count;
    for (uint32_t i = 0; i < count; i++) {
        world->nodes[i] = (struct stream_node){
            .world = world, .io = sim_machine(world->sim, i + 1), .number = i + 1};
        stream_node_boot(&world->nodes[i]);
    }
    stream_world_pass(world, SECOND);
}

void stream_world_fini(struct stream_world *world)
{
    for (uint32_t i = 0; i < world->count; i++)
        if (world->nodes[i].transport)
            stream_node_kill(&world->nodes[i]);
    sim_free(world->sim);
}

void stream_world_pass(struct stream_world *world, uint64_t ns)
{
    sim_run_until(world->sim, sim_now(world->sim) + ns);
}

bool stream_world_wait(struct stream_world *world, const struct stream_node *node, uint32_t count,
                       uint64_t ns)
{
    uint64_t end = sim_now(world->sim) + ns;
    while (node->sent_count < count && sim_now(world->sim) < end)
        stream_world_pass(world, MS);
    return node->sent_count >= count;
}

struct snapshot_stream_stats stream_node_stats(const struct stream_node *node)
{
    struct snapshot_stream_stats stats;
    snapshot_streams_stats(node->streams, &stats);
    return stats;
}
