/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, peers, and what a quiet connection costs: two calls of malloc per message would be seen
 * here (malloc is wrapped by the linker).
 */
#include "io/transport.h"

#include "tests/unit/transport_world.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static uint64_t allocation_count;

void *__wrap_malloc(size_t size)
{
    allocation_count++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocation_count++;
    return __real_calloc(count, size);
}

static int open_with(void (*change)(struct transport_options *options), const char *word)
{
    struct world world;
    world_init(&world);
    fake_io_init(&world.nodes[0].fake, world.net);
    world.nodes[0].io = &world.nodes[0].fake.io;
    struct transport_options options = world_options(&world, 0, 1);
    change(&options);
    struct transport *transport = NULL;
    struct rr_error error = {0};
    int err = transport_open(&options, &transport, &error);
    if (err != 0) {
        CHECK(!transport && error.code == err && strstr(error.message, word));
        CHECK(world.net->open_count == 0);
    } else {
        transport_free(transport);
    }
    fake_net_free(world.net);
    return err;
}

static void change_nothing(struct transport_options *options)
{
    (void)options;
}
static void off_loopback(struct transport_options *options)
{
    options->listen.ip = 0x0a000001;
}
static void off_loopback_allowed(struct transport_options *options)
{
    options->listen.ip = 0x0a000001;
    options->allow_insecure = true;
}
static void two_loops(struct transport_options *options)
{
    options->identity.loop_count = 2;
}
static void frame_below_entry(struct transport_options *options)
{
    options->limits.frame_bytes_max = options->limits.entry_bytes_max;
}
static void no_instance(struct transport_options *options)
{
    options->identity.instance = 0;
}
static void no_callback(struct transport_options *options)
{
    options->on_message = NULL;
}

static void test_open_refuses_what_cannot_work_in_a_sentence(void)
{
    CHECK(open_with(change_nothing, "") == 0);
    CHECK(open_with(off_loopback_allowed, "") == 0);
    CHECK(open_with(off_loopback, "10.0.0.1") == RR_E_BAD_ADDRESS);
    CHECK(open_with(two_loops, "loop") == RR_E_NOT_SUPPORTED);
    CHECK(open_with(frame_below_entry, "frame") == RR_E_INVALID);
    CHECK(open_with(no_instance, "instance") == RR_E_INVALID);
    CHECK(open_with(no_callback, "on_message") == RR_E_INVALID);
}

static void test_open_on_a_taken_port_names_the_address(void)
{
    struct world world;
    world_init(&world);
    world_open(&world, 1);
    struct transport_options options = world_options(&world, 0, 1);
    options.listen.port = world_port(&world, 0);
    struct transport *transport = NULL;
    struct rr_error error = {0};
    CHECK(transport_open(&options, &transport, &error) == RR_E_BAD_ADDRESS);
    CHECK(strstr(error.message, "127.0.0.1:"));
    world_close(&world);
}

static void test_add_peer_refuses_itself_and_foreign_addresses(void)
{
    struct world world;
    world_init(&world);
    world_open(&world, 1);
    struct transport *transport = world.nodes[0].transport;
    struct io_address near = {.ip = 0x7f000001, .port = 9}, far = {.ip = 0x0a000001, .port = 9};
    CHECK(transport_add_peer(transport, 1, &near, NULL) == RR_E_INVALID);
    CHECK(transport_add_peer(transport, 0, &near, NULL) == RR_E_INVALID);
    CHECK(transport_add_peer(transport, 2, &far, NULL) == RR_E_BAD_ADDRESS);
    for (uint64_t id = 2; id < TRANSPORT_PEERS_MAX + 2; id++)
        CHECK(transport_add_peer(transport, id, &near, NULL) == 0);
    CHECK(transport_add_peer(transport, 5000, &near, NULL) == RR_E_INVALID);
    world_close(&world);
}

static void test_messages_travel_both_ways_among_three(void)
{
    struct world world;
    world_start(&world, 3);
    for (uint64_t from = 1; from <= 3; from++)
        for (uint64_t to = 1; to <= 3; to++) {
            if (from == to)
                continue;
            struct rr_message message = make_message(RR_MSG_VOTE, from, to);
            CHECK(world_send(&world, (uint32_t)from - 1, &message) == 0);
        }
    world_settle(&world);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(world.nodes[i].record_count == 2 && world.nodes[i].ups == 2);
        CHECK(world.nodes[i].records[0].group == 1 &&
              world.nodes[i].records[0].type == RR_MSG_VOTE);
        CHECK(world.nodes[i].records[0].from != world.nodes[i].records[1].from);
    }
    world_close(&world);
}

static void test_send_to_nobody_or_before_the_connection_is_refused(void)
{
    struct world world;
    world_init(&world);
    world_open(&world, 2);
    struct rr_message message = make_message(RR_MSG_VOTE, 1, 2);
    CHECK(world_send(&world, 0, &message) == RR_E_NOT_FOUND);
    world_know(&world, 0, 1);
    CHECK(world_send(&world, 0, &message) == RR_E_CLOSED);
    CHECK(!transport_peer_is_up(world.nodes[0].transport, 2));
    world_close(&world);
}

static void test_removed_peer_is_closed_and_forgotten(void)
{
    struct world world;
    world_start(&world, 2);
    transport_remove_peer(world.nodes[0].transport, 2);
    transport_remove_peer(world.nodes[0].transport, 2); /* unknown by now */
    world.nodes[0].check_result = RR_E_NOT_FOUND;
    struct rr_message message = make_message(RR_MSG_VOTE, 1, 2);
    CHECK(world_send(&world, 0, &message) == RR_E_NOT_FOUND);
    world_pass(&world, 2000 * MS);
    CHECK(world.nodes[0].downs == 0 && world.nodes[1].downs == 1);
    CHECK(world_stats(&world, 0).connections == 0 && world_stats(&world, 1).connections == 0);
    CHECK(transport_peer_refusal(world.nodes[1].transport, 1) == RR_E_NOT_FOUND);
    CHECK(world_stats(&world, 0).block_bytes == 0);
    world.nodes[0].check_result = 0;
    world_know(&world, 0, 1); /* and comes back */
    world_pass(&world, 2000 * MS);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_readdressed_peer_is_dialled_anew(void)
{
    struct world world;
    world_start(&world, 3);
    struct io_address address = {.ip = 0x7f000001, .port = world_port(&world, 2)};
    CHECK(transport_add_peer(world.nodes[0].transport, 2, &address, NULL) ==
          0); /* that is node 3 */
    world_pass(&world, 100 * MS);
    CHECK(!transport_peer_is_up(world.nodes[0].transport, 2));
    CHECK(transport_peer_refusal(world.nodes[0].transport, 2) == RR_E_IDENTITY);
    world_know(&world, 0, 1);
    world_pass(&world, 2000 * MS);
    CHECK(world_is_connected(&world));
    CHECK(transport_peer_refusal(world.nodes[0].transport, 2) == 0);
    world_close(&world);
}

static void exchange(struct world *world, const struct rr_message *app, int rounds)
{
    struct rr_message ack = make_message(RR_MSG_APP_RESP, 2, 1);
    struct rr_message beat = make_message(RR_MSG_HEARTBEAT, 1, 2);
    for (int i = 0; i < rounds; i++) {
        CHECK(world_send(world, 0, app) == 0 && world_send(world, 1, &ack) == 0);
        CHECK(world_send(world, 0, &beat) == 0);
        world_settle(world);
        world->nodes[0].record_count = world->nodes[1].record_count = 0;
    }
}

static void test_steady_state_allocates_nothing(void)
{
    struct world world;
    world_start(&world, 2);
    struct rr_entry entries[64];
    struct rr_block *block = make_run(entries, 64, 1, 4096);
    struct rr_message app = make_app(1, 2, entries, 64);
    exchange(&world, &app, 50); /* warm: pools filled, the fake net's buffers grown */
    uint64_t before = allocation_count;
    exchange(&world, &app, 200);
    CHECK_EQ_U64(allocation_count - before, 0);
    CHECK(block->refs == 1);
    rr_block_put(block, 1);
    world_close(&world);
}

static void test_one_send_op_carries_what_a_turn_queued(void)
{
    struct world world;
    world_start(&world, 2);
    uint64_t before = world_stats(&world, 0).sends;
    struct rr_message message = make_message(RR_MSG_APP_RESP, 1, 2);
    for (int i = 0; i < 100; i++)
        CHECK(world_send(&world, 0, &message) == 0);
    world_settle(&world);
    CHECK(world.nodes[1].record_count == 100);
    CHECK_EQ_U64(world_stats(&world, 0).sends - before, 1);
    world_close(&world);
}

static void test_idle_transport_sleeps(void)
{
    struct world world;
    world_start(&world, 2);
    world_pass(&world, 6000 * MS);
    uint64_t turns = world.turn_count;
    world_pass(&world, 1000 * MS);
    CHECK(world.turn_count - turns <= 1000 + 4 * 6); /* one in each step; a few per sign of life */
    for (uint32_t i = 0; i < 2; i++)
        CHECK(world.nodes[i].deadline_ns > world.net->now_ns);
    CHECK(world_is_connected(&world));
    world_close(&world);
}

static void test_closing_leaves_no_descriptor_open(void)
{
    struct world world;
    world_start(&world, 3);
    CHECK(world.net->open_count == 3 + 2 * 6);
    for (uint32_t i = 0; i < 3; i++)
        world_close_node(&world, i);
    CHECK(world.net->open_count == 0);
    world_close(&world);
}

int main(void)
{
    RUN(test_open_refuses_what_cannot_work_in_a_sentence);
    RUN(test_open_on_a_taken_port_names_the_address);
    RUN(test_add_peer_refuses_itself_and_foreign_addresses);
    RUN(test_messages_travel_both_ways_among_three);
    RUN(test_send_to_nobody_or_before_the_connection_is_refused);
    RUN(test_removed_peer_is_closed_and_forgotten);
    RUN(test_readdressed_peer_is_dialled_anew);
    RUN(test_steady_state_allocates_nothing);
    RUN(test_one_send_op_carries_what_a_turn_queued);
    RUN(test_idle_transport_sleeps);
    RUN(test_closing_leaves_no_descriptor_open);
    return 0;
}
