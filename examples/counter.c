/* SPDX-License-Identifier: Apache-2.0
 *
 * A replicated counter of one node: a thousand increments, each durable before it is answered. Run
 * it again on the same directory and it goes on where it was.     counter DIR
 */
#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INCREMENTS 1000

static uint64_t value; /* the state machine: all that is replicated */
static unsigned successes;

static int counter_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = value = 0; /* volatile: the log and its snapshot bring it back */
    return 0;
}

static int counter_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    (void)ctx;
    for (uint32_t i = 0; i < count; i++)
        results[i] = value += entries[i].data[0];
    return 0;
}

/* A snapshot is read by another thread while entries are applied: it is a copy. */
struct counter_copy {
    uint64_t value;
    size_t at;
};

static int counter_begin(void *ctx, void **context)
{
    struct counter_copy *copy = calloc(1, sizeof(*copy));
    (void)ctx;
    if (!copy)
        return RR_E_NO_MEMORY;
    copy->value = value;
    *context = copy;
    return 0;
}

static int counter_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    struct counter_copy *copy = context;
    size_t left = sizeof(copy->value) - copy->at;
    (void)ctx;
    *size = left < cap ? left : cap;
    memcpy(buf, (const char *)&copy->value + copy->at, *size);
    copy->at += *size;
    return 0;
}

static void counter_end(void *ctx, void *context)
{
    (void)ctx;
    free(context);
}

static int counter_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    struct counter_copy *copy = context;
    (void)ctx;
    if (size > sizeof(copy->value) - copy->at)
        return RR_E_CORRUPT;
    memcpy((char *)&copy->value + copy->at, buf, size);
    copy->at += size;
    return 0;
}

static int counter_restored(void *ctx, void *context, bool complete)
{
    struct counter_copy *copy = context;
    (void)ctx;
    if (complete)
        value = copy->value;
    free(copy);
    return 0;
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    (void)ctx;
    for (uint32_t i = 0; i < count; i++)
        successes += completions[i].status == RR_OK;
}

int main(int argc, char **argv)
{
    struct rr_error error;
    struct rr_engine *engine;
    struct rr_group *group;
    struct rr_peer_address self = {.node = 1, .address = "127.0.0.1:7001"};
    struct rr_engine_options options = {.size = sizeof(options),
                                        .dir = argc > 1 ? argv[1] : "counter.data",
                                        .listen = "127.0.0.1:0",
                                        .cluster_id = 1,
                                        .node_id = 1,
                                        .create = RR_CREATE_BOOTSTRAP};
    struct rr_group_options group_options = {.size = sizeof(group_options),
                                             .group_id = 1,
                                             .peers = &self,
                                             .peer_count = 1,
                                             .on_complete = on_complete};
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .open = counter_open,
                                       .apply = counter_apply,
                                       .snapshot_begin = counter_begin,
                                       .snapshot_read = counter_read,
                                       .snapshot_end = counter_end,
                                       .restore_begin = counter_begin,
                                       .restore_write = counter_write,
                                       .restore_end = counter_restored};
    if (rr_engine_open(&options, &engine, &error) != 0 ||
        rr_group_open(engine, &group_options, &machine, &group, &error) != 0) {
        fprintf(stderr, "counter: %s\n", error.message);
        return 1;
    }
    struct rr_group_status status = {.size = sizeof(status)};
    while (rr_group_status(group, &status) == 0 && status.role != RR_STATE_LEADER)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    for (uint64_t tag = 0; tag < INCREMENTS; tag++) {
        uint8_t one = 1;
        if (rr_propose(group, &one, 1, tag) != 0)
            break;
    }
    rr_engine_close(engine, RR_CLOSE_DRAIN); /* every proposal gets its outcome first */
    printf("%u increments, the counter is %llu\n", successes, (unsigned long long)value);
    return successes != INCREMENTS;
}
