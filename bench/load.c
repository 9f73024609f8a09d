/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OUTSTANDING_MAX       (1u << 15)  /* entries, saturated */
#define OUTSTANDING_BYTES_MAX (32u << 20) /* bytes, saturated */
#define CALL_ENTRIES          64u
#define READ_WAIT_MS          10000u
#define SAMPLE_MASK           15u /* saturated shapes time every 16th entry */
#define STARTS                (2 * OUTSTANDING_MAX)

struct load {
    struct rr_group *group;
    struct load_request request;
    uint8_t *payload;
    uint32_t payload_size;
    uint64_t
        starts[STARTS]; /* when the proposal with this tag (mod STARTS) was made; 0: not timed */
    uint64_t next_tag;  /* of whoever proposes: the client, or the completion thread */
    uint32_t outstanding_max;
    uint32_t outstanding_low; /* where a waiting client is woken */
    _Atomic uint32_t outstanding;
    _Atomic uint32_t wake; /* futex word: bumped when outstanding falls to outstanding_low */
    _Atomic bool is_waiting;
    _Atomic bool is_measuring;
    _Atomic bool is_stopping;
    _Atomic uint64_t completed; /* inside the window */
    _Atomic uint64_t failed;
    struct histogram latency; /* completion thread */
};

static const char *const shape_names[LOAD_SHAPES] = {
    [LOAD_DEPTH1] = "depth1",
    [LOAD_DEPTH1_WAIT] = "depth1_threaded",
    [LOAD_DEPTH256] = "depth256",
    [LOAD_SATURATED] = "saturated",
    [LOAD_SATURATED64] = "saturated_calls64",
    [LOAD_READ256] = "read256",
};

const char *load_shape_name(enum load_shape shape)
{
    return shape < LOAD_SHAPES ? shape_names[shape] : "?";
}

enum load_shape load_shape_find(const char *name)
{
    uint32_t shape = 0;
    while (shape < LOAD_SHAPES && strcmp(name, shape_names[shape]) != 0)
        shape++;
    return (enum load_shape)shape;
}

/* Does the next come from the completion? */
static bool follows_up(enum load_shape shape)
{
    return shape == LOAD_DEPTH1 || shape == LOAD_DEPTH256 || shape == LOAD_READ256;
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void sleep_until(uint64_t when_ns)
{
    struct timespec ts = {(time_t)(when_ns / 1000000000ull), (long)(when_ns % 1000000000ull)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    struct timespec timeout = {0, 100000000}; /* a lost wake-up must not hang a bench */
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

struct load *load_new(void)
{
    struct load *load = calloc(1, sizeof(*load));
    if (!load)
        abort();
    return load;
}

void load_free(struct load *load)
{
    free(load->payload);
    free(load);
}

void load_attach(struct load *load, struct rr_group *group)
{
    load->group = group;
}

uint64_t load_progress(const struct load *load)
{
    return atomic_load_explicit(&load->completed, memory_order_relaxed);
}

static void mark_start(struct load *load, uint64_t tag, uint64_t now)
{
    load->starts[tag % STARTS] = now;
}

/* Proposes one entry; false: refused (nothing is outstanding for it). */
static bool propose_one(struct load *load, uint64_t now)
{
    uint64_t tag = load->next_tag;
    mark_start(load, tag, now);
    atomic_fetch_add_explicit(&load->outstanding, 1, memory_order_relaxed);
    int err = load_is_read(load->request.shape)
                  ? rr_read_index(load->group, tag, READ_WAIT_MS)
                  : rr_propose(load->group, load->payload, load->request.size, tag);
    if (err < 0) {
        atomic_fetch_sub_explicit(&load->outstanding, 1, memory_order_relaxed);
        return false;
    }
    load->next_tag = tag + 1;
    return true;
}

static uint32_t propose_call(struct load *load, uint32_t count, uint64_t now)
{
    struct rr_proposal items[CALL_ENTRIES];
    for (uint32_t i = 0; i < count; i++) {
        items[i] = (struct rr_proposal){load->payload, load->request.size, load->next_tag + i};
        mark_start(load, items[i].tag, i == 0 ? now : 0);
    }
    atomic_fetch_add_explicit(&load->outstanding, count, memory_order_relaxed);
    int accepted = rr_propose_batch(load->group, items, count);
    uint32_t taken = accepted < 0 ? 0 : (uint32_t)accepted;
    atomic_fetch_sub_explicit(&load->outstanding, count - taken, memory_order_relaxed);
    load->next_tag += taken;
    return taken;
}

static void wake_client(struct load *load, uint32_t outstanding)
{
    if (outstanding > load->outstanding_low ||
        !atomic_load_explicit(&load->is_waiting, memory_order_seq_cst))
        return;
    atomic_fetch_add(&load->wake, 1);
    futex_wake(&load->wake);
}

void load_on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct load *load = ctx;
    bool measuring = atomic_load_explicit(&load->is_measuring, memory_order_relaxed);
    uint64_t now = now_ns();
    uint32_t good = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].status != RR_OK)
            continue;
        good++;
        uint64_t start = load->starts[completions[i].tag % STARTS];
        if (measuring && start)
            histogram_add(&load->latency, now - start);
    }
    if (measuring)
        atomic_fetch_add_explicit(&load->completed, good, memory_order_relaxed);
    if (good < count)
        atomic_fetch_add_explicit(&load->failed, count - good, memory_order_relaxed);
    uint32_t left =
        atomic_fetch_sub_explicit(&load->outstanding, count, memory_order_seq_cst) - count;
    enum load_shape shape = load->request.shape;
    if (follows_up(shape) && good == count &&
        !atomic_load_explicit(&load->is_stopping, memory_order_relaxed))
        for (uint32_t i = 0; i < count; i++)
            if (!propose_one(load, count == 1 || i == 0 ? now : now_ns()))
                break;
    wake_client(load, left);
}

/* The client thread sleeps until at most outstanding_low proposals are left. */
static void wait_for_room(struct load *load)
{
    for (;;) {
        uint32_t seen = atomic_load(&load->wake);
        atomic_store(&load->is_waiting, true);
        if (atomic_load(&load->outstanding) <= load->outstanding_low)
            break;
        futex_wait(&load->wake, seen);
    }
    atomic_store(&load->is_waiting, false);
}

static void propose_while_room(struct load *load)
{
    uint32_t room =
        load->outstanding_max - atomic_load_explicit(&load->outstanding, memory_order_relaxed);
    if (load->request.shape == LOAD_SATURATED64) {
        while (room >= CALL_ENTRIES && propose_call(load, CALL_ENTRIES, now_ns()) == CALL_ENTRIES)
            room -= CALL_ENTRIES;
        return;
    }
    bool every = load->request.shape != LOAD_SATURATED;
    for (; room > 0; room--)
        if (!propose_one(load, every || (load->next_tag & SAMPLE_MASK) == 0 ? now_ns() : 0))
            return;
}

static void drive_until(struct load *load, uint64_t end_ns)
{
    if (follows_up(load->request.shape)) {
        sleep_until(end_ns);
        return;
    }
    while (now_ns() < end_ns && atomic_load_explicit(&load->failed, memory_order_relaxed) == 0) {
        propose_while_room(load);
        wait_for_room(load);
    }
}

static void reach_payload(struct load *load, uint32_t size)
{
    if (size <= load->payload_size)
        return;
    load->payload = realloc(load->payload, size);
    if (!load->payload)
        abort();
    for (uint32_t i = load->payload_size; i < size; i++)
        load->payload[i] = (uint8_t)(i * 2654435761u >> 24);
    load->payload_size = size;
}

static void prepare(struct load *load, const struct load_request *request)
{
    load->request = *request;
    reach_payload(load, request->size);
    histogram_reset(&load->latency);
    atomic_store(&load->completed, 0);
    atomic_store(&load->failed, 0);
    atomic_store(&load->is_stopping, false);
    uint32_t by_bytes = OUTSTANDING_BYTES_MAX / (request->size ? request->size : 1);
    uint32_t depth = by_bytes < OUTSTANDING_MAX ? by_bytes : OUTSTANDING_MAX;
    if (request->shape == LOAD_DEPTH1 || request->shape == LOAD_DEPTH1_WAIT)
        depth = 1;
    if (request->shape == LOAD_DEPTH256 || request->shape == LOAD_READ256)
        depth = 256;
    if (request->depth)
        depth = request->depth;
    load->outstanding_max = depth;
    load->outstanding_low = depth / 2;
}

static void status_of(struct load *load, struct rr_group_status *status)
{
    *status = (struct rr_group_status){.size = sizeof(*status)};
    rr_group_status(load->group, status);
}

void load_run(struct load *load, const struct load_request *request, struct load_result *result)
{
    prepare(load, request);
    uint64_t start = now_ns();
    uint64_t warm = start + (uint64_t)request->warmup_ms * 1000000;
    if (follows_up(request->shape))
        propose_while_room(load);
    drive_until(load, warm);
    status_of(load, &result->before);
    uint64_t begin = now_ns();
    atomic_store(&load->is_measuring, true);
    drive_until(load, begin + (uint64_t)request->window_ms * 1000000);
    atomic_store(&load->is_measuring, false);
    uint64_t end = now_ns();
    status_of(load, &result->after);
    atomic_store(&load->is_stopping, true);
    load->outstanding_low = 0;
    wait_for_room(load);
    result->completed = atomic_load(&load->completed);
    result->failed = atomic_load(&load->failed);
    result->seconds = (double)(end - begin) / 1e9;
    result->latency = load->latency;
}
