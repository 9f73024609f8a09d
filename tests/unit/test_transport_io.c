/* SPDX-License-Identifier: Apache-2.0
 *
 * Two transports on a real backend (the argument: uring or posix), each with a loop and a thread of
 * its own, over loopback TCP, while strangers do what they like.
 */
#include "io/backend.h"
#include "proto/crc32c.h"
#include "tests/unit/transport_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define KINDS 3

static const char *backend;

/* A node on its own thread. Everything below `lock` is touched under it, by turns and by the test.
 */
struct station {
    struct world *world;
    uint32_t i;
    pthread_mutex_t lock;
    uint64_t to_send, sent, busy;
    struct transport_stats stats;
    bool stop;
};

static struct station stations[2];
static struct rr_entry entries[KINDS][16];
static struct rr_block *runs[KINDS];
static const struct {
    uint32_t count, size;
} kinds[KINDS] = {{1, 1}, {16, 4096}, {8, 1 << 20}};

static uint32_t kind_of(uint64_t number)
{
    return number % 100 == 50 ? 2 : number % 3 == 1;
}

static struct rr_message make_numbered(uint64_t number)
{
    uint32_t kind = kind_of(number);
    struct rr_message message = make_app(1, 2, entries[kind], kinds[kind].count);
    message.commit = number + 1;
    return message;
}

static void send_what_fits(struct station *station)
{
    while (station->sent < station->to_send) {
        struct rr_message message = make_numbered(station->sent);
        int err = world_send(station->world, station->i, &message);
        station->busy += err == RR_E_BUSY;
        if (err != 0)
            return; /* a completion brings the next turn */
        station->sent++;
    }
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct station *station = ctx;
    struct transport *transport = station->world->nodes[station->i].transport;
    pthread_mutex_lock(&station->lock);
    transport_receive(transport, now_ns);
    send_what_fits(station);
    *deadline_ns = transport_flush(transport, now_ns);
    transport_stats(transport, &station->stats);
    bool goes_on = !station->stop;
    pthread_mutex_unlock(&station->lock);
    return goes_on;
}

static void open_station(struct world *world, uint32_t i, uint64_t boot, uint16_t port)
{
    struct station *station = &stations[i];
    struct world_node *node = &world->nodes[i];
    *station = (struct station){.world = world, .i = i};
    pthread_mutex_init(&station->lock, NULL);
    struct rr_error error = {0};
    int choice = strcmp(backend, "posix") == 0 ? IO_BACKEND_POSIX : IO_BACKEND_URING;
    int err = io_open_backend(choice, &node->io, NULL, 0, &error);
    if (err == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    CHECK(err == 0);
    node->id = i + 1;
    struct transport_options options = world_options(world, i, boot);
    options.listen.port = port;
    CHECK(transport_open(&options, &node->transport, &error) == 0);
}

static void start_station(uint32_t i)
{
    struct io *io = stations[i].world->nodes[i].io;
    CHECK(io->ops->start(io, turn, &stations[i]) == 0);
}

static void close_station(struct world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    pthread_mutex_lock(&stations[i].lock);
    stations[i].stop = true;
    pthread_mutex_unlock(&stations[i].lock);
    io_wake(node->io);
    node->io->ops->join(node->io);
    transport_free(node->transport);
    io_close_backend(node->io);
    pthread_mutex_destroy(&stations[i].lock);
}

static void start_both(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->count = 2;
    world->options.limits =
        (struct transport_limits){.entry_bytes_max = 8u << 20, .frame_bytes_max = 16u << 20};
    for (uint32_t i = 0; i < 2; i++)
        open_station(world, i, 1, 0);
    world_know(world, 0, 1);
    world_know(world, 1, 0);
    for (uint32_t k = 0; k < KINDS; k++)
        runs[k] = make_run(entries[k], kinds[k].count, 1, kinds[k].size);
    start_station(0);
    start_station(1);
}

static void close_both(struct world *world)
{
    for (uint32_t i = 0; i < 2; i++) {
        close_station(world, i);
        free(world->nodes[i].records);
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        CHECK(runs[k]->refs == 1);
        rr_block_put(runs[k], 1);
    }
}

/* Reads one thing of station i under its lock, once a millisecond, until it is at least `least`;
 * what never comes is ended by ctest's time limit. */
static void wait_for(uint32_t i, const void *what, size_t size, uint64_t least)
{
    for (;;) {
        uint64_t value = 0;
        pthread_mutex_lock(&stations[i].lock);
        memcpy(&value, what, size);
        pthread_mutex_unlock(&stations[i].lock);
        if (value >= least)
            return;
        usleep(1000);
    }
}

static void wait_received(struct world *world, uint64_t count)
{
    wait_for(1, &world->nodes[1].record_count, sizeof(uint32_t), count);
}

static void ask_to_send(struct world *world, uint64_t count)
{
    pthread_mutex_lock(&stations[0].lock);
    stations[0].to_send += count;
    pthread_mutex_unlock(&stations[0].lock);
    io_wake(world->nodes[0].io);
}

/* Every message once, in order, whole. */
static void check_all_received(struct world *world, uint64_t count)
{
    struct world_node *node = &world->nodes[1];
    pthread_mutex_lock(&stations[1].lock);
    CHECK_EQ_U64(node->record_count, count);
    uint64_t first = node->records[0].commit - 1;
    for (uint32_t n = 0; n < count; n++) {
        struct rr_message message = make_numbered(first + n);
        check_received(node, n, &message);
    }
    pthread_mutex_unlock(&stations[1].lock);
}

static void test_messages_of_all_sizes_arrive_in_order(void)
{
    struct world world;
    start_both(&world);
    ask_to_send(&world, 1500);
    wait_received(&world, 1500);
    check_all_received(&world, 1500);
    close_both(&world);
    CHECK(world.nodes[0].downs == 0);
    CHECK(stations[0].stats.queue_bytes_max <= 12u << 20);          /* 4 MiB, or a frame alone */
    CHECK(stations[0].stats.sends < stations[0].stats.frames_sent); /* they share */
}

static void test_restarted_peer_is_connected_again(void)
{
    struct world world;
    start_both(&world);
    wait_for(0, &world.nodes[0].ups, sizeof(uint32_t), 1);
    uint16_t port = world_port(&world, 1);
    close_station(&world, 1);
    wait_for(0, &world.nodes[0].downs, sizeof(uint32_t), 1);
    open_station(&world, 1, 2, port);
    world_know(&world, 1, 0);
    start_station(1);
    wait_for(0, &world.nodes[0].ups, sizeof(uint32_t), 2);
    ask_to_send(&world, 10);
    wait_received(&world, 10);
    close_both(&world);
}

/* ---- strangers ----------------------------------------------------------------------- */

static int stranger_connect(const struct world *world)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(world_port(world, 1))};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
    return fd;
}

/* May fail once the other side has closed; that is what is hoped for. */
static void stranger_write(int fd, const void *bytes, size_t size)
{
    (void)!send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void stranger_says(const struct world *world, int fd, uint64_t cluster)
{
    uint8_t bytes[HELLO_SIZE];
    struct hello hello = make_hello(world, 1, 2);
    hello.cluster = cluster;
    hello_put(&hello, bytes);
    stranger_write(fd, bytes, sizeof(bytes));
}

static void test_strangers_disturb_nothing(void)
{
    enum { STRANGERS = 1000 };
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > STRANGERS + 200);

    struct world world;
    start_both(&world);
    wait_for(0, &world.nodes[0].ups, sizeof(uint32_t), 1);
    static uint8_t garbage[65536];
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (uint8_t)(i * i * 17 + i);
    static int fds[STRANGERS];
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = stranger_connect(&world);
        if (i % 4 == 1)
            stranger_write(fds[i], garbage, sizeof(garbage));
        else if (i % 4 == 2)
            stranger_says(&world, fds[i], WORLD_CLUSTER + 1);
        else if (i % 4 == 3)
            stranger_write(fds[i], garbage, 7); /* and silence, as those before and after it */
        if (i % 10 == 0)
            ask_to_send(&world, 2);
    }
    wait_received(&world, 200);
    check_all_received(&world, 200);
    wait_for(1, &stations[1].stats.malformed, sizeof(uint64_t), 100);
    pthread_mutex_lock(&stations[1].lock);
    CHECK(stations[1].stats.strangers <= 64 && stations[1].stats.connections == 2);
    CHECK(stations[1].stats.refused > 0);
    CHECK(stations[1].stats.block_bytes <= 20u << 20); /* those of the one connection */
    pthread_mutex_unlock(&stations[1].lock);
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
    close_both(&world);
    CHECK(world.nodes[0].downs == 0); /* it was closed first */
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    backend = argv[1];
    RUN(test_messages_of_all_sizes_arrive_in_order);
    RUN(test_restarted_peer_is_connected_again);
    RUN(test_strangers_disturb_nothing);
    return 0;
}
