/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/proposal_queue.h"

#include "tests/unit/check.h"

#include <pthread.h>

#define PRODUCERS    4
#define PER_PRODUCER 20000
#define PAYLOAD_MAX  200

static bool push_one(struct proposal_queue *queue, const void *data, uint32_t size, uint64_t tag)
{
    struct rr_proposal item = {.data = data, .size = size, .tag = tag};
    bool wake;
    return proposal_queue_push(queue, &item, 1, &wake) == 1;
}

static void read_view(const struct proposal_view *view, uint8_t *to)
{
    memcpy(to, view->first, view->first_size);
    memcpy(to + view->first_size, view->second, view->size - view->first_size);
}

static void test_queue_payloads_that_wrap_come_out_whole(void)
{
    struct proposal_queue queue;
    CHECK(proposal_queue_init(&queue, 16, 256) == 0);
    for (uint32_t round = 0; round < 1000; round++) {
        uint8_t in[100], out[100];
        uint32_t size = round % 100;
        for (uint32_t i = 0; i < size; i++)
            in[i] = (uint8_t)(round + i);
        CHECK(push_one(&queue, in, size, round));
        struct proposal_cursor cursor = proposal_queue_begin(&queue);
        struct proposal_view view;
        CHECK(proposal_queue_next(&queue, &cursor, &view));
        CHECK(view.size == size && view.tag == round);
        read_view(&view, out);
        CHECK(memcmp(in, out, size) == 0);
        CHECK(!proposal_queue_next(&queue, &cursor, &view));
        proposal_queue_release(&queue, cursor);
    }
    proposal_queue_fini(&queue);
}

static void test_queue_full_by_entries_is_busy_until_released(void)
{
    struct proposal_queue queue;
    CHECK(proposal_queue_init(&queue, 4, 1024) == 0);
    for (uint64_t i = 0; i < 4; i++)
        CHECK(push_one(&queue, NULL, 0, i));
    struct rr_proposal item = {0};
    bool wake;
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == RR_E_BUSY);
    CHECK_EQ_U64(proposal_queue_count(&queue), 4);
    struct proposal_cursor cursor = proposal_queue_begin(&queue);
    struct proposal_view view;
    CHECK(proposal_queue_next(&queue, &cursor, &view) && view.tag == 0);
    proposal_queue_release(&queue, cursor);
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == 1);
    proposal_queue_fini(&queue);
}

static void test_queue_full_by_bytes_takes_the_first_part_of_a_batch(void)
{
    struct proposal_queue queue;
    CHECK(proposal_queue_init(&queue, 64, 64) == 0);
    uint8_t bytes[24] = {0};
    struct rr_proposal items[4] = {{bytes, 24, 1}, {bytes, 24, 2}, {bytes, 24, 3}, {bytes, 8, 4}};
    bool wake;
    CHECK(proposal_queue_push(&queue, items, 4, &wake) == 2);
    CHECK_EQ_U64(proposal_queue_bytes(&queue), 48);
    CHECK(proposal_queue_push(&queue, items + 2, 2, &wake) == RR_E_BUSY);
    CHECK(proposal_queue_push(&queue, items + 3, 1, &wake) == 1);
    proposal_queue_fini(&queue);
}

static void test_queue_closed_refuses_but_keeps_what_it_has(void)
{
    struct proposal_queue queue;
    CHECK(proposal_queue_init(&queue, 4, 64) == 0);
    CHECK(push_one(&queue, "a", 1, 7));
    proposal_queue_close(&queue);
    struct rr_proposal item = {0};
    bool wake;
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == RR_E_CLOSED);
    struct proposal_cursor cursor = proposal_queue_begin(&queue);
    struct proposal_view view;
    CHECK(proposal_queue_next(&queue, &cursor, &view) && view.tag == 7);
    CHECK_EQ_U64(proposal_queue_count(&queue), 1);
    proposal_queue_fini(&queue);
}

static void test_queue_wakes_once_and_only_a_sleeper_with_enough_bytes(void)
{
    struct proposal_queue queue;
    CHECK(proposal_queue_init(&queue, 64, 1024) == 0);
    uint8_t bytes[16] = {0};
    struct rr_proposal item = {bytes, 16, 0};
    bool wake;
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == 1 && !wake); /* the loop is awake */
    CHECK(!proposal_queue_arm(&queue, 16)); /* enough waits: do not sleep */
    CHECK(proposal_queue_arm(&queue, 48));
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == 1 && !wake); /* 32 bytes are not 48 */
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == 1 && wake);
    CHECK(proposal_queue_push(&queue, &item, 1, &wake) == 1 && !wake); /* once */
    proposal_queue_fini(&queue);
}

struct producer {
    struct proposal_queue *queue;
    uint64_t id;
};

/* The payload says who made it and in which order, and is filled with a pattern. */
static void *produce(void *arg)
{
    struct producer *producer = arg;
    for (uint64_t i = 0; i < PER_PRODUCER; i++) {
        uint8_t bytes[PAYLOAD_MAX];
        uint32_t size = (uint32_t)((i * 7 + producer->id) % PAYLOAD_MAX);
        memset(bytes, (int)(i & 0xff), size);
        while (!push_one(producer->queue, bytes, size, producer->id << 32 | i))
            sched_yield();
    }
    return NULL;
}

static void check_view(const struct proposal_view *view, uint64_t *next)
{
    uint8_t bytes[PAYLOAD_MAX];
    uint64_t id = view->tag >> 32, i = view->tag & 0xffffffff;
    CHECK(id < PRODUCERS && i == next[id]);
    next[id]++;
    CHECK(view->size == (i * 7 + id) % PAYLOAD_MAX);
    read_view(view, bytes);
    for (uint32_t k = 0; k < view->size; k++)
        CHECK(bytes[k] == (i & 0xff));
}

static void test_queue_many_producers_lose_and_mix_nothing(void)
{
    struct proposal_queue queue;
    pthread_t threads[PRODUCERS];
    struct producer producers[PRODUCERS];
    uint64_t next[PRODUCERS] = {0};
    CHECK(proposal_queue_init(&queue, 64, 4096) == 0);
    for (uint64_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){&queue, i};
        CHECK(pthread_create(&threads[i], NULL, produce, &producers[i]) == 0);
    }
    for (uint64_t taken = 0; taken < (uint64_t)PRODUCERS * PER_PRODUCER;) {
        struct proposal_cursor cursor = proposal_queue_begin(&queue);
        struct proposal_view view;
        while (proposal_queue_next(&queue, &cursor, &view)) {
            check_view(&view, next);
            taken++;
        }
        proposal_queue_release(&queue, cursor);
        sched_yield();
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    proposal_queue_fini(&queue);
}

int main(void)
{
    RUN(test_queue_payloads_that_wrap_come_out_whole);
    RUN(test_queue_full_by_entries_is_busy_until_released);
    RUN(test_queue_full_by_bytes_takes_the_first_part_of_a_batch);
    RUN(test_queue_closed_refuses_but_keeps_what_it_has);
    RUN(test_queue_wakes_once_and_only_a_sleeper_with_enough_bytes);
    RUN(test_queue_many_producers_lose_and_mix_nothing);
    return 0;
}
