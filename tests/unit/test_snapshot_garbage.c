/* SPDX-License-Identifier: Apache-2.0
 *
 * What may come to the receiving end of a snapshot connection from a stranger, and from a peer that
 * lost its mind: refused before anything is opened, never a byte of it in a file unless offset,
 * size and checksum are right, no memory beyond the window, no place taken for ever. The part is
 * memory.
 */
#include "io/snapshot_wire.h"
#include "proto/codec.h"
#include "proto/crc32c.h"
#include "tests/unit/transport_world.h"

#define FILE_SIZE 1000u

/* What node 1 did with what came. */
static struct {
    uint8_t file[FILE_SIZE];
    uint64_t written;
    uint32_t opens, writes, closes, received, lost;
    bool was_kept;
} part;

static int part_open(void *ctx, const struct snapshot_offer *offer, void **out, uint64_t *offset)
{
    (void)ctx;
    CHECK(offer->size == FILE_SIZE && part.opens == part.closes);
    part.opens++;
    part.written = 0;
    *out = &part;
    *offset = 0;
    return 0;
}

static int part_write(void *ctx, void *out, uint64_t offset, const void *bytes, uint32_t size)
{
    (void)ctx;
    CHECK(out == &part && offset == part.written && size <= FILE_SIZE - offset);
    memcpy(part.file + offset, bytes, size);
    part.written += size;
    part.writes++;
    return 0;
}

static int part_publish(void *ctx, void *out)
{
    (void)ctx;
    CHECK(out == &part && part.written == FILE_SIZE);
    return 0;
}

static void part_close(void *ctx, void *out, bool keep)
{
    (void)ctx;
    CHECK(out == &part);
    part.closes++;
    part.was_kept = keep;
}

static int on_offer(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    (void)ctx;
    CHECK(from == 2 && offer->message->from == 2 && offer->message->to == 1);
    return offer->group == 5 ? 0 : RR_E_NOT_FOUND;
}

static int on_received(void *ctx, uint64_t from, const struct snapshot_offer *offer)
{
    (void)ctx, (void)from, (void)offer;
    part.received++;
    return 0;
}

static void on_lost(void *ctx, uint64_t from, const struct snapshot_offer *offer, int status)
{
    (void)ctx, (void)from;
    CHECK(offer->group == 5 && status < 0);
    part.lost++;
}

static void on_sent(void *ctx, const struct snapshot_sent *sent)
{
    (void)ctx, (void)sent;
}

/* ---- node 1 and whoever knocks ------------------------------------------- */

static struct world world;

static void start(void)
{
    memset(&part, 0, sizeof(part));
    world_init(&world);
    world_open(&world, 1);
    struct snapshot_stream_options options = {.io = world.nodes[0].io,
                                              .transport = world.nodes[0].transport,
                                              .file_bytes_max = 1u << 30,
                                              .part_open = part_open,
                                              .part_write = part_write,
                                              .part_publish = part_publish,
                                              .part_close = part_close,
                                              .on_offer = on_offer,
                                              .on_received = on_received,
                                              .on_lost = on_lost,
                                              .on_sent = on_sent};
    CHECK(snapshot_streams_open(&options, &world.nodes[0].streams, NULL) == 0);
    /* Node 2 is known by its message connection. */
    struct hello hello = make_hello(&world, 2, 1), answer;
    CHECK(stranger_answer(&world, stranger_hello(&world, 0, &hello), &answer) == 0);
    CHECK(answer.kind == HELLO_ANSWER && answer.flags == 0);
}

static struct snapshot_stream_stats streams(void)
{
    struct snapshot_stream_stats stats;
    snapshot_streams_stats(world.nodes[0].streams, &stats);
    return stats;
}

/* Everything that was opened is closed, and there is room again. */
static void finish(void)
{
    world_pass(&world, 11000 * MS);
    CHECK(part.opens == part.received + part.lost); /* each has one end */
    CHECK(part.opens == part.closes && streams().receiving == 0 && streams().window_bytes == 0);
    CHECK(world_stats(&world, 0).strangers == 0);
    world_close(&world);
}

static struct hello snapshot_hello(void)
{
    struct hello hello = make_hello(&world, 2, 1);
    hello.flags = HELLO_SNAPSHOT;
    return hello;
}

/* A connection behind hello. */
static int dial(void)
{
    struct hello hello = snapshot_hello(), answer;
    int fd = stranger_hello(&world, 0, &hello);
    CHECK(stranger_answer(&world, fd, &answer) == 0);
    CHECK(answer.kind == HELLO_ANSWER && answer.flags == HELLO_SNAPSHOT);
    return fd;
}

static void say(int fd, struct snapshot_said said, const void *payload)
{
    uint8_t head[SNAPSHOT_WIRE_HEAD];
    snapshot_wire_put(&said, crc32c(0, payload, said.payload_size), head);
    fake_write(world.net, fd, head, sizeof(head));
    fake_write(world.net, fd, payload, said.payload_size);
    world_settle(&world);
}

static bool hear(int fd, struct snapshot_said *said)
{
    uint8_t head[SNAPSHOT_WIRE_HEAD];
    if (fake_read(world.net, fd, head, sizeof(head)) == 0)
        return false;
    CHECK(snapshot_wire_get(head, said) == 0 && said->group == 5);
    return true;
}

static struct rr_snapshot snapshot = {.metadata = {.index = 77, .term = 3}};

static struct rr_message snap_message(void)
{
    struct rr_message message = make_message(RR_MSG_SNAP, 2, 1);
    message.snapshot = &snapshot;
    return message;
}

static void say_begin(int fd, struct snapshot_said said, const struct rr_message *message)
{
    uint8_t *payload = malloc(rr_message_size(message));
    CHECK(payload);
    said.type = SNAPSHOT_SAYS_BEGIN;
    said.payload_size = (uint32_t)rr_message_size(message);
    rr_message_encode(message, payload);
    say(fd, said, payload);
    free(payload);
}

static const struct snapshot_said good_begin = {.group = 5, .size = FILE_SIZE, .header_crc = 1};

/* Behind a BEGIN that was taken. */
static int dial_and_begin(void)
{
    int fd = dial();
    struct rr_message message = snap_message();
    struct snapshot_said said;
    say_begin(fd, good_begin, &message);
    CHECK(hear(fd, &said) && said.type == SNAPSHOT_SAYS_PROGRESS && said.offset == 0);
    return fd;
}

static const uint8_t bytes[FILE_SIZE + 1] = {1, 2, 3};

static void say_chunk(int fd, uint64_t offset, uint32_t size)
{
    say(fd,
        (struct snapshot_said){
            .type = SNAPSHOT_SAYS_CHUNK, .group = 5, .offset = offset, .payload_size = size},
        bytes);
}

/* ---- hello --------------------------------------------------------------- */

static int refusal(const struct hello *hello)
{
    struct hello answer;
    CHECK(stranger_answer(&world, stranger_hello(&world, 0, hello), &answer) == 0);
    CHECK(answer.kind == HELLO_REFUSAL);
    return answer.code;
}

static void test_snapshot_hello_is_judged_like_any_other(void)
{
    start();
    struct hello hello = snapshot_hello();
    hello.cluster++;
    CHECK(refusal(&hello) == RR_E_IDENTITY);
    hello = snapshot_hello();
    hello.flags |= HELLO_TLS;
    CHECK(refusal(&hello) == RR_E_NOT_SUPPORTED);
    hello = snapshot_hello();
    hello.flags |= 4;
    CHECK(refusal(&hello) == RR_E_NOT_SUPPORTED);
    hello = snapshot_hello();
    hello.from = 9; /* whom nobody knows by a message connection */
    CHECK(refusal(&hello) == RR_E_NOT_FOUND);
    hello = snapshot_hello();
    world.nodes[0].check_result = RR_E_REMOVED;
    CHECK(refusal(&hello) == RR_E_REMOVED);
    world.nodes[0].check_result = RR_E_PENDING; /* its new record is not durable yet */
    CHECK(refusal(&hello) == RR_E_BUSY);
    world.nodes[0].check_result = 0;
    int first = dial(), second = dial();
    CHECK(refusal(&hello) == RR_E_BUSY && streams().receiving == 2);
    CHECK(!fake_is_closed(world.net, first) && !fake_is_closed(world.net, second));
    CHECK(world_stats(&world, 0).connections == 1); /* they replaced nothing */
    finish();
    world_start(&world, 2); /* where nobody takes snapshots */
    CHECK(refusal(&hello) == RR_E_NOT_SUPPORTED);
    world_close(&world);
}

/* ---- BEGIN --------------------------------------------------------------- */

/* The connection is closed for it, and nothing was opened. */
static void check_closed(int fd)
{
    CHECK(fake_is_closed(world.net, fd) && streams().malformed == 1 && part.received == 0);
    finish();
}

static void check_begin_malformed(struct snapshot_said said, const struct rr_message *message)
{
    start();
    int fd = dial();
    say_begin(fd, said, message);
    CHECK(part.opens == 0);
    check_closed(fd);
}

static void test_begin_with_another_message_is_malformed(void)
{
    struct rr_message message = snap_message();
    message.type = RR_MSG_APP;
    check_begin_malformed(good_begin, &message);
    message = snap_message();
    message.from = 3;
    check_begin_malformed(good_begin, &message);
    message = snap_message();
    message.to = 3;
    check_begin_malformed(good_begin, &message);
    message = snap_message();
    message.snapshot = NULL;
    check_begin_malformed(good_begin, &message);
    struct rr_snapshot wrong = snapshot;
    wrong.data = bytes;
    wrong.size = 3;
    message.snapshot = &wrong;
    check_begin_malformed(good_begin, &message);
    wrong = (struct rr_snapshot){.metadata.term = 3}; /* of index 0 */
    check_begin_malformed(good_begin, &message);
}

static void test_begin_of_an_impossible_size_is_refused_before_anything_is_opened(void)
{
    start();
    int fd = dial();
    struct rr_message message = snap_message();
    struct snapshot_said said = good_begin;
    said.size = UINT64_MAX;
    say_begin(fd, said, &message);
    CHECK(hear(fd, &said) && said.type == SNAPSHOT_SAYS_RESULT && said.status == RR_E_TOO_LARGE);
    CHECK(part.opens == 0 && streams().refused == 1);
    finish();
}

static void test_begin_whose_payload_is_garbage_is_malformed(void)
{
    start();
    int fd = dial();
    say(fd,
        (struct snapshot_said){
            .type = SNAPSHOT_SAYS_BEGIN, .group = 5, .size = FILE_SIZE, .payload_size = 900},
        bytes);
    CHECK(part.opens == 0);
    check_closed(fd);
}

static void test_everything_but_begin_comes_too_early(void)
{
    start();
    int fd = dial();
    say_chunk(fd, 0, 100);
    CHECK(part.opens == 0);
    check_closed(fd);
}

static void test_frames_of_messages_have_no_business_here(void)
{
    start();
    int fd = dial();
    struct rr_message message = make_message(RR_MSG_VOTE, 2, 1);
    message.context = bytes;
    message.context_size = SNAPSHOT_WIRE_HEAD;
    uint32_t size;
    uint8_t *frame = make_frame(5, &message, &size);
    fake_write(world.net, fd, frame, size);
    world_settle(&world);
    free(frame);
    CHECK(world.nodes[0].record_count == 0);
    check_closed(fd);
}

/* ---- chunks -------------------------------------------------------------- */

static void test_chunks_of_any_size_in_order_make_the_file(void)
{
    start();
    int fd = dial_and_begin();
    struct snapshot_said said;
    say_chunk(fd, 0, 1);
    CHECK(hear(fd, &said) && said.type == SNAPSHOT_SAYS_PROGRESS && said.offset == 1);
    say_chunk(fd, 1, FILE_SIZE - 1);
    CHECK(hear(fd, &said) && said.type == SNAPSHOT_SAYS_PROGRESS && said.offset == FILE_SIZE);
    CHECK(hear(fd, &said) && said.type == SNAPSHOT_SAYS_RESULT && said.status == 0);
    CHECK(part.received == 1 && part.writes == 2);
    finish();
}

static void check_chunk_malformed(uint64_t offset, uint32_t size)
{
    start();
    int fd = dial_and_begin();
    say_chunk(fd, 0, 100);
    say_chunk(fd, offset, size);
    CHECK(part.written == 100);
    check_closed(fd);
    CHECK(part.was_kept);
}

static void test_chunks_that_do_not_follow_are_malformed(void)
{
    check_chunk_malformed(101, 10);
    check_chunk_malformed(99, 10);
    check_chunk_malformed(0, 100); /* the same again */
    check_chunk_malformed(UINT64_MAX - 5000, 10);
    check_chunk_malformed(100, FILE_SIZE - 99); /* beyond the end */
}

static void test_chunk_of_another_group_is_malformed(void)
{
    start();
    int fd = dial_and_begin();
    struct snapshot_said said = {.type = SNAPSHOT_SAYS_CHUNK, .group = 6, .payload_size = 10};
    say(fd, said, bytes);
    CHECK(part.written == 0);
    check_closed(fd);
}

static void test_chunk_with_a_wrong_checksum_is_not_written(void)
{
    start();
    int fd = dial_and_begin();
    uint8_t head[SNAPSHOT_WIRE_HEAD];
    struct snapshot_said said = {.type = SNAPSHOT_SAYS_CHUNK, .group = 5, .payload_size = 10};
    snapshot_wire_put(&said, crc32c(0, bytes, 10) ^ 1, head);
    fake_write(world.net, fd, head, sizeof(head));
    fake_write(world.net, fd, bytes, 10);
    world_settle(&world);
    CHECK(part.written == 0);
    check_closed(fd);
    CHECK(part.was_kept);
}

/* A sender that does not keep to the window, and a disk that hangs meanwhile. */
static void test_more_chunks_than_the_window_holds_wait_outside(void)
{
    start();
    int fd = dial_and_begin();
    world.net->holds_jobs = true;
    uint8_t whole[FILE_SIZE], head[SNAPSHOT_WIRE_HEAD];
    for (uint32_t at = 0; at < FILE_SIZE; at += 100) {
        struct snapshot_said said = {
            .type = SNAPSHOT_SAYS_CHUNK, .group = 5, .offset = at, .payload_size = 100};
        memset(whole + at, (int)at / 10, 100);
        snapshot_wire_put(&said, crc32c(0, whole + at, 100), head);
        fake_write(world.net, fd, head, sizeof(head));
        fake_write(world.net, fd, whole + at, 100);
    }
    world_pass(&world, 60000 * MS); /* it is our disk, so nobody is given up */
    CHECK(part.writes == 0 && streams().bytes_received == SNAPSHOT_WINDOW * 100);
    world.net->holds_jobs = false;
    world_settle(&world);
    CHECK(part.received == 1 && memcmp(part.file, whole, FILE_SIZE) == 0);
    finish();
}

/* The older one's last write is still under way: two parts of one group are never open at a time
 * (part_open looks). */
static void test_new_transfer_waits_until_the_older_one_of_its_group_is_closed(void)
{
    start();
    int first = dial_and_begin(), second = dial();
    world.net->holds_jobs = true;
    say_chunk(first, 0, 100);
    struct rr_message message = snap_message();
    say_begin(second, good_begin, &message);
    CHECK(part.opens == 1 && part.closes == 0);
    world.net->holds_jobs = false;
    world_settle(&world);
    CHECK(fake_is_closed(world.net, first) && part.opens == 2 && part.closes == 1);
    say_chunk(second, 0, FILE_SIZE);
    CHECK(part.received == 1);
    finish();
}

static void test_second_begin_is_malformed(void)
{
    start();
    int fd = dial_and_begin();
    struct rr_message message = snap_message();
    say_begin(fd, good_begin, &message);
    check_closed(fd);
}

static void test_what_comes_behind_the_end_is_read_and_forgotten(void)
{
    start();
    int fd = dial_and_begin();
    say_chunk(fd, 0, FILE_SIZE);
    for (uint32_t i = 0; i < 100; i++)
        say_chunk(fd, FILE_SIZE, FILE_SIZE);
    CHECK(part.written == FILE_SIZE && part.received == 1 && !fake_is_closed(world.net, fd));
    finish(); /* whoever goes on like that is closed after a while */
}

/* ---- silence and noise --------------------------------------------------- */

static void test_silent_sender_gives_its_place_back(void)
{
    start();
    int silent = dial(), begun = dial_and_begin();
    say_chunk(begun, 0, 100);
    world_pass(&world, 9000 * MS);
    CHECK(streams().receiving == 2);
    say_chunk(begun, 100, 100);
    world_pass(&world, 2000 * MS);
    CHECK(fake_is_closed(world.net, silent) && !fake_is_closed(world.net, begun));
    CHECK(streams().receiving == 1);
    finish();
    CHECK(part.was_kept && part.written == 200);
}

/* One byte in a second: a chunk takes longer than a place is worth. */
static void test_dribbling_sender_gives_its_place_back(void)
{
    start();
    int fd = dial();
    for (uint32_t i = 0; i < 12; i++) {
        fake_write(world.net, fd, bytes, 1);
        world_pass(&world, 1000 * MS);
    }
    CHECK(fake_is_closed(world.net, fd) && streams().receiving == 0);
    finish();
}

static void test_random_bytes_close_the_connection(void)
{
    start();
    uint8_t garbage[4 * SNAPSHOT_WIRE_HEAD];
    uint32_t random = 1;
    for (uint32_t round = 0; round < 200; round++) {
        int fd = round % 2 ? dial_and_begin() : dial();
        for (size_t i = 0; i < sizeof(garbage); i++)
            garbage[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
        fake_write(world.net, fd, garbage, sizeof(garbage));
        world_settle(&world);
        CHECK(fake_is_closed(world.net, fd) && streams().receiving == 0);
    }
    CHECK(streams().malformed == 200 && part.written == 0);
    CHECK(world_stats(&world, 0).connections == 1);
    finish();
}

/* Node 2's BEGIN and chunk, each with every bit flipped once. */
static void test_any_flipped_bit_of_a_transfer_is_found(void)
{
    uint8_t frame[SNAPSHOT_WIRE_HEAD + 16];
    struct snapshot_said said = {.type = SNAPSHOT_SAYS_CHUNK, .group = 5, .payload_size = 16};
    for (uint32_t bit = 0; bit < 8 * sizeof(frame); bit++) {
        start();
        int fd = dial_and_begin();
        snapshot_wire_put(&said, crc32c(0, bytes, 16), frame);
        memcpy(frame + SNAPSHOT_WIRE_HEAD, bytes, 16);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fake_write(world.net, fd, frame, sizeof(frame));
        world_settle(&world);
        CHECK(fake_is_closed(world.net, fd) && part.written == 0);
        world_close(&world);
    }
}

int main(void)
{
    RUN(test_snapshot_hello_is_judged_like_any_other);
    RUN(test_begin_with_another_message_is_malformed);
    RUN(test_begin_of_an_impossible_size_is_refused_before_anything_is_opened);
    RUN(test_begin_whose_payload_is_garbage_is_malformed);
    RUN(test_everything_but_begin_comes_too_early);
    RUN(test_frames_of_messages_have_no_business_here);
    RUN(test_chunks_of_any_size_in_order_make_the_file);
    RUN(test_chunks_that_do_not_follow_are_malformed);
    RUN(test_chunk_of_another_group_is_malformed);
    RUN(test_chunk_with_a_wrong_checksum_is_not_written);
    RUN(test_more_chunks_than_the_window_holds_wait_outside);
    RUN(test_new_transfer_waits_until_the_older_one_of_its_group_is_closed);
    RUN(test_second_begin_is_malformed);
    RUN(test_what_comes_behind_the_end_is_read_and_forgotten);
    RUN(test_silent_sender_gives_its_place_back);
    RUN(test_dribbling_sender_gives_its_place_back);
    RUN(test_random_bytes_close_the_connection);
    RUN(test_any_flipped_bit_of_a_transfer_is_found);
    return 0;
}
