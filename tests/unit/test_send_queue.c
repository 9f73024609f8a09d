/* SPDX-License-Identifier: Apache-2.0 */
#include "io/send_queue.h"

#include "proto/frame.h"
#include "tests/unit/check.h"

#define SMALL 1024u

struct bench {
    struct block_sizes sizes;
    struct send_queue queue;
    uint8_t sent[1 << 20];
    size_t sent_size;
};

static struct bench *bench_new(uint32_t bytes_max)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    CHECK(bench);
    bench->sizes.small = block_pool_new(SMALL, 4);
    bench->sizes.standard = block_pool_new(8 * SMALL, 4);
    bench->sizes.large = block_pool_new(64 * SMALL, 1);
    bench->sizes.lent_bytes_max = UINT64_MAX;
    CHECK(send_queue_init(&bench->queue, &bench->sizes, bytes_max) == 0);
    return bench;
}

static uint32_t lent(const struct bench *bench)
{
    return block_pool_lent(bench->sizes.small) + block_pool_lent(bench->sizes.standard) +
           block_pool_lent(bench->sizes.large);
}

static void bench_free(struct bench *bench)
{
    send_queue_fini(&bench->queue);
    CHECK(lent(bench) == 0);
    block_pool_close(bench->sizes.small);
    block_pool_close(bench->sizes.standard);
    block_pool_close(bench->sizes.large);
    free(bench);
}

/* A frame of `size` bytes of this letter in the send block. */
static void push_frame(struct bench *bench, char letter, uint32_t size)
{
    uint8_t *at = send_queue_room(&bench->queue, size);
    CHECK(at);
    memset(at, letter, size);
    send_queue_push(&bench->queue, bench->queue.fill, at, size, true);
    send_queue_check(&bench->queue);
}

/* Gathers, and "sends" at most `most` bytes of it. */
static uint32_t send_some(struct bench *bench, size_t most)
{
    uint32_t parts = send_queue_gather(&bench->queue);
    size_t size = 0;
    for (uint32_t i = 0; i < parts && size < most; i++) {
        const struct iovec *part = &bench->queue.parts[i];
        size_t n = part->iov_len < most - size ? part->iov_len : most - size;
        CHECK(bench->sent_size + n <= sizeof(bench->sent));
        memcpy(bench->sent + bench->sent_size, part->iov_base, n);
        bench->sent_size += n;
        size += n;
    }
    uint32_t frames = send_queue_consume(&bench->queue, size);
    send_queue_check(&bench->queue);
    return frames;
}

static void check_sent(const struct bench *bench, const char *letters)
{
    CHECK_EQ_U64(bench->sent_size, strlen(letters));
    CHECK(memcmp(bench->sent, letters, strlen(letters)) == 0);
}

static void test_neighbours_become_one_part(void)
{
    struct bench *bench = bench_new(1 << 20);
    push_frame(bench, 'a', 3);
    push_frame(bench, 'b', 2);
    push_frame(bench, 'c', 1);
    CHECK(send_queue_gather(&bench->queue) == 1);
    CHECK(send_some(bench, SIZE_MAX) == 3);
    check_sent(bench, "aaabbc");
    CHECK(send_queue_is_empty(&bench->queue) && bench->queue.bytes == 0);
    bench_free(bench);
}

static void test_short_sends_lose_and_repeat_nothing(void)
{
    for (size_t most = 1; most <= 7; most++) {
        struct bench *bench = bench_new(1 << 20);
        push_frame(bench, 'a', 3);
        push_frame(bench, 'b', 2);
        push_frame(bench, 'c', 2);
        uint32_t frames = 0;
        while (!send_queue_is_empty(&bench->queue))
            frames += send_some(bench, most);
        CHECK(frames == 3);
        check_sent(bench, "aaabbcc");
        bench_free(bench);
    }
}

static void test_frames_pushed_during_a_send_follow_it(void)
{
    struct bench *bench = bench_new(1 << 20);
    push_frame(bench, 'a', 4);
    CHECK(send_queue_gather(&bench->queue) == 1);
    push_frame(bench, 'b', 4);                 /* contiguous with what is in flight */
    CHECK(bench->queue.parts[0].iov_len == 4); /* which is not touched */
    CHECK(send_queue_consume(&bench->queue, 4) == 1);
    CHECK(send_some(bench, SIZE_MAX) == 1);
    check_sent(bench, "bbbb");
    bench_free(bench);
}

static void push_heartbeat(struct bench *bench, char letter)
{
    uint8_t *at = send_queue_urgent_room(&bench->queue, 1);
    CHECK(at);
    *at = (uint8_t)letter;
}

static void test_heartbeats_go_before_frames_not_begun(void)
{
    struct bench *bench = bench_new(1 << 20);
    push_frame(bench, 'a', 4);
    push_frame(bench, 'b', 4);
    push_heartbeat(bench, 'x');
    push_heartbeat(bench, 'y');
    send_some(bench, FRAME_HEADER_SIZE + 2); /* one frame for both */
    CHECK(bench->sent[FRAME_HEADER_SIZE] == 'x' && bench->sent[FRAME_HEADER_SIZE + 1] == 'y');
    CHECK(bench->sent_size == FRAME_HEADER_SIZE + 2);
    bench->sent_size = 0;
    send_some(bench, SIZE_MAX);
    check_sent(bench, "aaaabbbb");
    bench_free(bench);
}

static void test_heartbeats_wait_for_the_end_of_a_begun_frame(void)
{
    struct bench *bench = bench_new(1 << 20);
    push_frame(bench, 'a', 4);
    push_frame(bench, 'b', 4);
    send_some(bench, 1);
    push_heartbeat(bench, 'x');
    send_some(bench, 3 + FRAME_HEADER_SIZE + 1);
    CHECK(memcmp(bench->sent, "aaaa", 4) == 0);
    CHECK(bench->sent[4 + FRAME_HEADER_SIZE] == 'x');
    bench->sent_size = 0;
    send_some(bench, SIZE_MAX);
    check_sent(bench, "bbbb");
    bench_free(bench);
}

static void test_heartbeats_are_bounded(void)
{
    struct bench *bench = bench_new(1 << 20);
    uint64_t taken = 0;
    while (send_queue_urgent_room(&bench->queue, 16))
        taken += 16;
    CHECK(taken >= 1 << 20 && taken < (1 << 20) + 2 * SEND_URGENT_MAX);
    send_queue_check(&bench->queue);
    bench_free(bench);
}

/* More than one frame's worth while a send is out: nothing may move that is being sent. */
static void test_heartbeats_of_many_groups_go_behind_what_is_being_sent(void)
{
    struct bench *bench = bench_new(1 << 20);
    push_frame(bench, 'a', 4);
    push_frame(bench, 'b', 4);
    CHECK(send_queue_gather(&bench->queue) > 0);
    for (uint32_t i = 0; i <= SEND_URGENT_MAX / 16; i++) {
        uint8_t *at = send_queue_urgent_room(&bench->queue, 16);
        CHECK(at);
        memset(at, 'x', 16);
    }
    CHECK(send_queue_consume(&bench->queue, 8) == 2); /* the frames a and b, as gathered */
    CHECK(bench->queue.count == 1 && bench->queue.urgent_size == 16);
    send_queue_check(&bench->queue);
    send_some(bench, SIZE_MAX);
    CHECK(bench->sent_size == 2 * FRAME_HEADER_SIZE + SEND_URGENT_MAX + 16);
    bench_free(bench);
}

static void test_queue_admits_up_to_its_bytes_but_always_one_frame(void)
{
    struct bench *bench = bench_new(100);
    CHECK(send_queue_admits(&bench->queue, 5000, 1));
    push_frame(bench, 'a', 60);
    CHECK(send_queue_admits(&bench->queue, 40, 1));
    CHECK(!send_queue_admits(&bench->queue, 41, 1));
    send_some(bench, SIZE_MAX);
    CHECK(send_queue_admits(&bench->queue, 41, 1));
    bench_free(bench);
}

static void test_queue_is_bounded_in_segments(void)
{
    struct bench *bench = bench_new(1 << 20);
    uint32_t pushed = 0;
    while (send_queue_admits(&bench->queue, 1, 1)) {
        push_frame(bench, 'a', 1);
        pushed++;
    }
    CHECK(pushed == SEND_SEGMENTS_MAX - 1);
    push_heartbeat(bench, 'x'); /* still has a place */
    while (!send_queue_is_empty(&bench->queue))
        send_some(bench, SIZE_MAX);
    CHECK(bench->sent_size == pushed + FRAME_HEADER_SIZE + 1);
    bench_free(bench);
}

static void test_one_send_is_bounded_in_parts_and_bytes(void)
{
    struct bench *bench = bench_new(8 << 20);
    struct rr_block *block = block_pool_acquire(bench->sizes.large);
    for (uint32_t i = 0; i < 100; i++)
        send_queue_push(&bench->queue, block, block->bytes + 2 * i, 1, i == 99);
    CHECK(send_queue_gather(&bench->queue) == SEND_PARTS_MAX);
    send_queue_clear(&bench->queue);

    uint32_t count = 2 * SEND_BYTES_MAX / block->cap;
    for (uint32_t i = 0; i < count; i++)
        send_queue_push(&bench->queue, block, block->bytes, block->cap, true);
    uint32_t parts = send_queue_gather(&bench->queue);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < parts; i++)
        bytes += bench->queue.parts[i].iov_len;
    CHECK_EQ_U64(bytes, SEND_BYTES_MAX);
    rr_block_put(block, 1);
    bench_free(bench);
}

static void test_blocks_are_let_go_when_sent(void)
{
    struct bench *bench = bench_new(1 << 20);
    struct rr_block *block = block_pool_acquire(bench->sizes.standard);
    send_queue_push(&bench->queue, block, block->bytes, 10, false);
    send_queue_push(&bench->queue, block, block->bytes + 10, 10, true);
    CHECK(block->refs == 3);
    send_some(bench, 15);
    CHECK(block->refs == 2);
    send_some(bench, SIZE_MAX);
    CHECK(block->refs == 1);
    rr_block_put(block, 1);
    bench_free(bench);
}

static void test_send_block_is_used_again_from_its_beginning(void)
{
    struct bench *bench = bench_new(1 << 20);
    for (uint32_t i = 0; i < 100; i++) {
        push_frame(bench, 'a', 700);
        push_frame(bench, 'b', 700); /* does not fit beside it */
        send_some(bench, SIZE_MAX);
        CHECK(lent(bench) <= 2);
        bench->sent_size = 0;
    }
    push_frame(bench, 'c', 5 * SMALL); /* larger than a small block */
    send_some(bench, SIZE_MAX);
    push_frame(bench, 'd', 1);
    CHECK(bench->queue.fill->cap == SMALL); /* the larger one is not kept */
    bench_free(bench);
}

static void test_clear_counts_the_frames_that_are_lost(void)
{
    struct bench *bench = bench_new(1 << 20);
    push_frame(bench, 'a', 4);
    push_frame(bench, 'b', 4);
    push_frame(bench, 'c', 4);
    send_some(bench, 6);
    push_heartbeat(bench, 'x');
    CHECK(send_queue_clear(&bench->queue) == 3);
    CHECK(send_queue_is_empty(&bench->queue) && lent(bench) == 0);
    bench_free(bench);
}

int main(void)
{
    RUN(test_neighbours_become_one_part);
    RUN(test_short_sends_lose_and_repeat_nothing);
    RUN(test_frames_pushed_during_a_send_follow_it);
    RUN(test_heartbeats_go_before_frames_not_begun);
    RUN(test_heartbeats_wait_for_the_end_of_a_begun_frame);
    RUN(test_heartbeats_are_bounded);
    RUN(test_heartbeats_of_many_groups_go_behind_what_is_being_sent);
    RUN(test_queue_admits_up_to_its_bytes_but_always_one_frame);
    RUN(test_queue_is_bounded_in_segments);
    RUN(test_one_send_is_bounded_in_parts_and_bytes);
    RUN(test_blocks_are_let_go_when_sent);
    RUN(test_send_block_is_used_again_from_its_beginning);
    RUN(test_clear_counts_the_frames_that_are_lost);
    return 0;
}
