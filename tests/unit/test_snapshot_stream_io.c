/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot file between two nodes on a real backend (the argument: uring or posix): real files,
 * real workers, loopback TCP. The receiver's loop is ended in the middle and begins anew.
 */
#include "io/backend.h"
#include "io/snapshot_file.h"
#include "io/snapshot_parts.h"
#include "tests/unit/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLUSTER    77u
#define FILE_BYTES (24u << 20)
#define RATE       (32u << 20)
#define MS         1000000u

static const char *backend;
static char directory[] = "/tmp/rr_stream_io_XXXXXX";

/* A node on its own thread. What is below `lock` is touched under it. */
struct station {
    struct io *io;
    struct transport *transport;
    struct snapshot_streams *streams;
    struct snapshot_parts parts;
    uint64_t id;
    pthread_mutex_t lock;
    struct snapshot_stream_stats stats;
    struct snapshot_sent sent;
    uint32_t sent_count, received;
    bool must_send, stop;
};

static struct station stations[2];
static struct snapshot_file_info info;
static char sent_path[128], received_path[128];

static int check_peer(void *ctx, const struct transport_peer *peer)
{
    (void)ctx, (void)peer;
    return 0;
}

static int on_message(void *ctx, uint64_t from, uint64_t group, const struct rr_message *message)
{
    (void)ctx, (void)from, (void)group, (void)message;
    return 0;
}

static int on_offer(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    (void)ctx;
    return from == 1 && offer->group == 5 ? 0 : RR_E_NOT_FOUND;
}

static int on_received(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    struct station *station = ctx;
    CHECK(from == 1 && offer->message->snapshot->metadata.index == 100);
    station->received++;
    return 0;
}

static void on_lost(void *ctx, uint64_t from, const struct snapshot_offer *offer, int status)
{
    (void)ctx, (void)from, (void)offer, (void)status;
}

static void on_sent(void *ctx, const struct snapshot_sent *sent)
{
    struct station *station = ctx;
    station->sent = *sent;
    station->sent_count++;
}

/* ---- stations ------------------------------------------------------------ */

static void send_if_asked(struct station *station)
{
    struct rr_snapshot snapshot = {.metadata = {.index = 100, .term = 3}};
    struct rr_message message = {
        .type = RR_MSG_SNAP, .from = 1, .to = 2, .term = 3, .snapshot = &snapshot};
    struct snapshot_offer offer = {
        .group = 5, .size = info.file_bytes, .header_crc = info.head_crc, .message = &message};
    if (station->must_send && snapshot_streams_send(station->streams, &offer, sent_path) == 0)
        station->must_send = false;
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct station *station = ctx;
    pthread_mutex_lock(&station->lock);
    transport_receive(station->transport, now_ns);
    snapshot_streams_receive(station->streams, now_ns);
    send_if_asked(station);
    uint64_t deadline = snapshot_streams_flush(station->streams, now_ns);
    uint64_t other = transport_flush(station->transport, now_ns);
    *deadline_ns = deadline < other ? deadline : other;
    if (station->must_send && *deadline_ns > now_ns + 10 * MS)
        *deadline_ns = now_ns + 10 * MS;
    snapshot_streams_stats(station->streams, &station->stats);
    bool goes_on = !station->stop;
    pthread_mutex_unlock(&station->lock);
    return goes_on;
}

static void open_station(uint32_t i, uint64_t boot, uint16_t port)
{
    struct station *station = &stations[i];
    struct rr_error error = {0};
    *station = (struct station){.id = i + 1};
    pthread_mutex_init(&station->lock, NULL);
    int choice = strcmp(backend, "posix") == 0 ? IO_BACKEND_POSIX : IO_BACKEND_URING;
    int rc = io_open_backend(choice, &station->io, NULL, 0, &error);
    if (rc == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    CHECK(rc == 0);
    struct transport_options options = {
        .io = station->io,
        .identity = {.cluster = CLUSTER,
                     .node = station->id,
                     .instance = 1000 + station->id,
                     .feature_level = IDENTITY_FEATURE_LEVEL,
                     .loop_count = 1},
        .boot = boot,
        .nonce = boot * 7,
        .listen = {.ip = 0x7f000001, .port = port},
        .limits = {.entry_bytes_max = 1 << 20, .frame_bytes_max = 2 << 20},
        .check_peer = check_peer,
        .on_message = on_message,
    };
    CHECK(transport_open(&options, &station->transport, &error) == 0);
    struct snapshot_stream_options streams = {
        .io = station->io,
        .transport = station->transport,
        .send_bytes_per_second = RATE,
        .ctx = station,
        .on_offer = on_offer,
        .on_received = on_received,
        .on_lost = on_lost,
        .on_sent = on_sent,
    };
    station->parts = (struct snapshot_parts){.io = station->io, .dir = directory};
    snapshot_parts_serve(&station->parts, &streams);
    CHECK(snapshot_streams_open(&streams, &station->streams, &error) == 0);
}

static uint16_t port_of(uint32_t i)
{
    return transport_bound(stations[i].transport).port;
}

static void start_station(uint32_t i, uint16_t other)
{
    struct station *station = &stations[i];
    struct io_address address = {.ip = 0x7f000001, .port = other};
    CHECK(transport_add_peer(station->transport, 2 - i, &address, NULL) == 0);
    CHECK(station->io->ops->start(station->io, turn, station) == 0);
}

static void close_station(uint32_t i)
{
    struct station *station = &stations[i];
    pthread_mutex_lock(&station->lock);
    station->stop = true;
    pthread_mutex_unlock(&station->lock);
    io_wake(station->io);
    station->io->ops->join(station->io);
    snapshot_streams_free(station->streams);
    transport_free(station->transport);
    io_close_backend(station->io);
    pthread_mutex_destroy(&station->lock);
}

/* Lets the first send, and waits until that ended or the second has so many bytes. */
static void wait_until(uint64_t received_bytes)
{
    for (int ms = 0;; ms++) {
        CHECK(ms < 60000);
        pthread_mutex_lock(&stations[0].lock);
        bool is_over = stations[0].sent_count > 0;
        pthread_mutex_unlock(&stations[0].lock);
        pthread_mutex_lock(&stations[1].lock);
        bool is_there = stations[1].stats.bytes_received >= received_bytes;
        pthread_mutex_unlock(&stations[1].lock);
        if (is_over || is_there)
            return;
        usleep(1000);
    }
}

static void ask_to_send(void)
{
    pthread_mutex_lock(&stations[0].lock);
    stations[0].must_send = true;
    stations[0].sent_count = 0;
    pthread_mutex_unlock(&stations[0].lock);
    io_wake(stations[0].io);
}

static void make_file(void)
{
    static uint8_t bytes[1 << 20];
    struct snapshot_head head = {
        .cluster = CLUSTER, .group = 5, .file_id = 9, .metadata = {.index = 100, .term = 3}};
    char name[SNAPSHOT_NAME_SIZE];
    struct snapshot_writer *writer;
    struct io *io = stations[0].io;
    CHECK(mkdtemp(directory));
    snprintf(sent_path, sizeof(sent_path), "%s/sent", directory);
    snapshot_file_name(name, 5, 100, SNAPSHOT_NAME_PUBLISHED);
    snprintf(received_path, sizeof(received_path), "%s/%s", directory, name);
    CHECK(snapshot_writer_open(io, sent_path, &head, &writer, NULL) == 0);
    for (uint32_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 9));
    for (uint32_t done = 0; done < FILE_BYTES; done += (uint32_t)sizeof(bytes))
        CHECK(snapshot_writer_append(writer, bytes, sizeof(bytes), NULL) == 0);
    CHECK(snapshot_writer_publish(writer, &info, NULL) == 0);
    snapshot_writer_free(writer);
}

static void test_file_survives_a_restart_of_the_receiver_on_real_sockets(void)
{
    open_station(0, 1, 0);
    open_station(1, 1, 0);
    make_file();
    uint16_t port = port_of(1);
    start_station(0, port);
    start_station(1, port_of(0));

    ask_to_send();
    wait_until(FILE_BYTES / 3);
    close_station(1);
    uint64_t before = stations[1].stats.bytes_received;
    CHECK(before >= FILE_BYTES / 3 && before < FILE_BYTES);
    wait_until(UINT64_MAX);
    CHECK(stations[0].sent.status == RR_E_CLOSED);

    open_station(1, 2, port);
    start_station(1, port_of(0));
    ask_to_send();
    wait_until(UINT64_MAX);
    CHECK(stations[0].sent.status == 0 && stations[1].received == 1);
    CHECK(stations[1].stats.resumed == 1);
    CHECK(stations[0].sent.bytes <=
          info.file_bytes - before + (SNAPSHOT_WINDOW + 2) * (256u << 10));
    CHECK(snapshot_file_verify(stations[0].io, received_path, NULL) == 0);
    close_station(0);
    close_station(1);
    CHECK(unlink(sent_path) == 0 && unlink(received_path) == 0 && rmdir(directory) == 0);
}

int main(int argc, char **argv)
{
    backend = argc > 1 ? argv[1] : "uring";
    RUN(test_file_survives_a_restart_of_the_receiver_on_real_sockets);
    return 0;
}
