/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/transport_world.h"

#include "proto/codec.h"
#include "proto/crc32c.h"
#include "proto/frame.h"

/* ---- callbacks ----------------------------------------------------------------------- */

static int check_peer(void *ctx, const struct transport_peer *peer)
{
    struct world_node *node = ctx;
    node->checks++;
    node->last_checked = *peer;
    return node->check_result;
}

static void keep_block(struct world_node *node, struct rr_block *block)
{
    CHECK(block && node->kept_count < RR_ARRAY_SIZE(node->kept));
    rr_block_get(block, 1);
    node->kept[node->kept_count++] = block;
}

static int on_message(void *ctx, uint64_t from, uint64_t group, const struct rr_message *message)
{
    struct world_node *node = ctx;
    struct record record = {.from = from,
                            .group = group,
                            .index = message->index,
                            .commit = message->commit,
                            .entry_count = message->entry_count,
                            .context_size = message->context_size,
                            .type = message->type};
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct rr_entry *entry = &message->entries[i];
        CHECK(entry->block && entry->wire_size > entry->size);
        CHECK(entry->data >= entry->block->bytes &&
              entry->data + entry->size <= entry->block->bytes + entry->block->cap);
        record.entry_bytes += entry->size;
        record.entry_crc = crc32c(record.entry_crc, entry->data, entry->size);
    }
    if (node->keeps_blocks && message->entry_count > 0)
        keep_block(node, message->entries[0].block);
    if (node->record_count == node->record_cap) {
        node->record_cap = 2 * node->record_cap + 64;
        node->records = realloc(node->records, node->record_cap * sizeof(*node->records));
        CHECK(node->records);
    }
    node->records[node->record_count++] = record;
    return node->message_result;
}

static void on_peer_up(void *ctx, uint64_t id)
{
    struct world_node *node = ctx;
    CHECK(transport_peer_is_up(node->transport, id));
    node->ups++;
}

static void on_peer_down(void *ctx, uint64_t id)
{
    struct world_node *node = ctx;
    CHECK(!transport_peer_is_up(node->transport, id));
    node->downs++;
}

void world_node_record(struct world_node *node, struct transport_options *options)
{
    options->ctx = node;
    options->check_peer = check_peer;
    options->on_message = on_message;
    options->on_peer_up = on_peer_up;
    options->on_peer_down = on_peer_down;
}

/* ---- the world ----------------------------------------------------------------------- */

void world_init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->net = fake_net_new();
    world->options.limits =
        (struct transport_limits){.entry_bytes_max = 8u << 20, .frame_bytes_max = 16u << 20};
}

struct transport_options world_options(struct world *world, uint32_t i, uint64_t boot)
{
    struct world_node *node = &world->nodes[i];
    struct transport_options options = world->options;
    options.io = node->io;
    options.identity = (struct identity){.cluster = WORLD_CLUSTER,
                                         .node = i + 1,
                                         .instance = 1000 + i + 1,
                                         .format = IDENTITY_FORMAT,
                                         .feature_level = IDENTITY_FEATURE_LEVEL,
                                         .loop_count = 1};
    options.boot = boot;
    options.nonce = 9000 + boot;
    options.listen.ip = 0x7f000001;
    world_node_record(node, &options);
    return options;
}

void world_open_node(struct world *world, uint32_t i, uint64_t boot, uint16_t port)
{
    struct world_node *node = &world->nodes[i];
    fake_io_init(&node->fake, world->net);
    node->io = &node->fake.io;
    node->id = i + 1;
    struct transport_options options = world_options(world, i, boot);
    options.listen.port = port;
    struct rr_error error;
    CHECK(transport_open(&options, &node->transport, &error) == 0);
}

void world_open(struct world *world, uint32_t count)
{
    CHECK(count <= WORLD_NODES_MAX);
    world->count = count;
    for (uint32_t i = 0; i < count; i++)
        world_open_node(world, i, 1, 0);
}

uint16_t world_port(const struct world *world, uint32_t i)
{
    return transport_bound(world->nodes[i].transport).port;
}

void world_know(struct world *world, uint32_t i, uint32_t other)
{
    struct io_address address = {.ip = 0x7f000001, .port = world_port(world, other)};
    CHECK(transport_add_peer(world->nodes[i].transport, other + 1, &address, NULL) == 0);
}

void world_connect(struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++)
        for (uint32_t other = 0; other < world->count; other++)
            if (i != other)
                world_know(world, i, other);
    world_pass(world, 50 * MS);
}

void world_start(struct world *world, uint32_t count)
{
    world_init(world);
    world_open(world, count);
    world_connect(world);
    CHECK(world_is_connected(world));
}

void world_close_node(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    if (!node->transport)
        return;
    fake_io_join(&node->fake);
    snapshot_streams_free(node->streams);
    node->streams = NULL;
    transport_free(node->transport);
    node->transport = NULL;
}

void world_close(struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++) {
        world_close_node(world, i);
        world_forget(&world->nodes[i]);
        free(world->nodes[i].records);
    }
    fake_net_free(world->net);
}

int world_turn(struct world *world)
{
    uint64_t now = world->net->now_ns;
    world->turn_count++;
    for (uint32_t i = 0; i < world->count; i++) {
        struct world_node *node = &world->nodes[i];
        if (!node->transport)
            continue;
        uint64_t deadline = UINT64_MAX;
        transport_receive(node->transport, now);
        if (node->streams) {
            snapshot_streams_receive(node->streams, now);
            deadline = snapshot_streams_flush(node->streams, now);
        }
        node->deadline_ns = rr_min_u64(deadline, transport_flush(node->transport, now));
    }
    return fake_net_step(world->net);
}

static bool is_turn_due(const struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++)
        if (world->nodes[i].transport && world->nodes[i].deadline_ns <= world->net->now_ns)
            return true;
    return false;
}

void world_settle(struct world *world)
{
    for (int turns = 0; world_turn(world) > 0 || is_turn_due(world); turns++)
        CHECK(turns < 1000000); /* a transport that never sleeps */
}

void world_pass(struct world *world, uint64_t ns)
{
    world_settle(world);
    for (uint64_t end = world->net->now_ns + ns; world->net->now_ns < end;) {
        world->net->now_ns += MS;
        world_settle(world);
    }
}

void world_forget(struct world_node *node)
{
    for (uint32_t i = 0; i < node->kept_count; i++)
        rr_block_put(node->kept[i], 1);
    node->kept_count = 0;
}

struct transport_stats world_stats(const struct world *world, uint32_t i)
{
    struct transport_stats stats;
    transport_stats(world->nodes[i].transport, &stats);
    return stats;
}

bool world_is_connected(const struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++)
        if (world_stats(world, i).connections != 2 * (world->count - 1))
            return false;
    return true;
}

/* ---- messages ------------------------------------------------------------------------ */

static void free_run(struct rr_block *block)
{
    free(block->bytes);
    free(block);
}

struct rr_block *make_run(struct rr_entry *entries, uint32_t count, uint64_t index, uint32_t size)
{
    struct rr_block *block = calloc(1, sizeof(*block));
    uint8_t *data = malloc(size ? size : 1);
    size_t cap = (size_t)count * (size + CODEC_ENTRY_HEAD_MAX);
    CHECK(block && data);
    *block = (struct rr_block){.refs = 1, .cap = (uint32_t)cap, .free = free_run};
    block->bytes = malloc(cap);
    CHECK(block->bytes);
    uint8_t *at = block->bytes;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < size; k++)
            data[k] = (uint8_t)((index + i) * 31 + k * 7 + (k >> 8));
        struct rr_entry entry = {.term = 5,
                                 .index = index + i,
                                 .data = data,
                                 .size = size,
                                 .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX |
                                        (size ? RR_ENTRY_HAS_DATA : 0)};
        at = rr_entry_encode(&entry, at, NULL, &entries[i]);
        entries[i].block = block;
    }
    free(data);
    return block;
}

struct rr_message make_message(uint8_t type, uint64_t from, uint64_t to)
{
    return (struct rr_message){
        .type = type, .from = from, .to = to, .term = 5, .commit = 3, .index = 9, .log_term = 4};
}

struct rr_message make_app(uint64_t from, uint64_t to, const struct rr_entry *entries,
                           uint32_t count)
{
    struct rr_message message = make_message(RR_MSG_APP, from, to);
    message.entries = entries;
    message.entry_count = count;
    message.index = count > 0 ? entries[0].index - 1 : 9;
    return message;
}

int world_send(struct world *world, uint32_t i, const struct rr_message *message)
{
    return transport_send(world->nodes[i].transport, 1, message);
}

void check_received(const struct world_node *node, uint32_t at, const struct rr_message *message)
{
    CHECK(at < node->record_count);
    const struct record *record = &node->records[at];
    uint64_t bytes = 0;
    uint32_t crc = 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        bytes += message->entries[i].size;
        crc = crc32c(crc, message->entries[i].data, message->entries[i].size);
    }
    CHECK_EQ_U64(record->from, message->from);
    CHECK_EQ_U64(record->type, message->type);
    CHECK_EQ_U64(record->index, message->index);
    CHECK_EQ_U64(record->commit, message->commit);
    CHECK_EQ_U64(record->entry_count, message->entry_count);
    CHECK_EQ_U64(record->entry_bytes, bytes);
    CHECK_EQ_U64(record->entry_crc, crc);
}

/* ---- strangers ----------------------------------------------------------------------- */

struct hello make_hello(const struct world *world, uint64_t from, uint64_t to)
{
    return (struct hello){.cluster = WORLD_CLUSTER,
                          .from = from,
                          .to = to,
                          .instance = 1000 + from,
                          .boot = 1,
                          .nonce = 9001,
                          .loop_count = 1,
                          .feature_level = HELLO_LEVEL_PROOFS - 1,
                          .entry_bytes_max = world->options.limits.entry_bytes_max,
                          .frame_bytes_max = world->options.limits.frame_bytes_max,
                          .kind = HELLO_DIAL};
}

int stranger_hello(struct world *world, uint32_t i, const struct hello *hello)
{
    uint8_t bytes[HELLO_SIZE];
    hello_put(hello, bytes);
    int fd = fake_connect(world->net, world_port(world, i));
    CHECK(fd > 0);
    fake_write(world->net, fd, bytes, sizeof(bytes));
    world_settle(world);
    return fd;
}

int stranger_answer(struct world *world, int fd, struct hello *hello)
{
    uint8_t bytes[HELLO_SIZE];
    size_t size = fake_read(world->net, fd, bytes, sizeof(bytes));
    if (size == 0)
        return RR_E_CLOSED;
    CHECK_EQ_U64(size, HELLO_SIZE);
    return hello_get(bytes, hello);
}

uint8_t *make_frame(uint64_t group, const struct rr_message *message, uint32_t *size)
{
    uint32_t message_size = (uint32_t)rr_message_size(message);
    uint32_t length = FRAME_ITEM_SIZE + message_size;
    uint8_t *frame = malloc(FRAME_HEADER_SIZE + length);
    CHECK(frame);
    uint8_t *item = frame + FRAME_HEADER_SIZE;
    frame_item_put(&(struct frame_item){.group = group, .size = message_size}, item);
    rr_message_encode(message, item + FRAME_ITEM_SIZE);
    struct frame_header header = {.group = group,
                                  .length = length,
                                  .body_crc = crc32c(0, item, length),
                                  .kind = FRAME_MESSAGES};
    frame_header_put(&header, frame);
    *size = FRAME_HEADER_SIZE + length;
    return frame;
}
