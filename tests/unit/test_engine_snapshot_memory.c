/* SPDX-License-Identifier: Apache-2.0
 *
 * A state that is much larger than memory should ever hold costs one chunk: the state machine
 * generates its bytes, and the process's peak is looked at after taking, restoring and copying
 * them.
 *
 *     test_engine_snapshot_memory [MIB]      of state; default 96
 */
#include "engine_harness.h"

#include "tests/unit/check.h"

#include <stdatomic.h>
#include <unistd.h>

#define MIB (1024ull * 1024)
/* Windows of taking, restoring and copying, threads' stacks and the allocator's waste. */
#define GROWTH_MAX (8 * MIB)

static uint64_t state_bytes = 96 * MIB;
static _Atomic int32_t answer;

/* All bytes follow from their place. */
struct generator {
    uint64_t at;
};

static _Atomic uint64_t restored_bytes;

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)((at * 0x9e3779b97f4a7c15ull) >> 56);
}

static int machine_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static int machine_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    (void)ctx, (void)entries;
    memset(results, 0, count * sizeof(*results));
    return 0;
}

static int generator_new(void *ctx, void **context)
{
    (void)ctx;
    *context = calloc(1, sizeof(struct generator));
    return *context ? 0 : -1;
}

static int machine_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    struct generator *generator = context;
    (void)ctx;
    for (*size = 0; *size < cap && generator->at < state_bytes; generator->at++)
        buf[(*size)++] = byte_at(generator->at);
    return 0;
}

static void machine_end(void *ctx, void *context)
{
    (void)ctx;
    free(context);
}

static int machine_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    struct generator *generator = context;
    (void)ctx;
    for (size_t i = 0; i < size; i++)
        CHECK(buf[i] == byte_at(generator->at++));
    return 0;
}

static int machine_restored(void *ctx, void *context, bool complete)
{
    struct generator *generator = context;
    (void)ctx;
    if (complete)
        restored_bytes = generator->at;
    free(generator);
    return 0;
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    (void)ctx;
    answer = completions[count - 1].status == RR_OK ? 1 : completions[count - 1].status;
}

/* The peak of the process's memory so far, without what is mapped from files. */
static uint64_t peak_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof(line), status))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
            break;
    fclose(status);
    CHECK(kib > 0);
    return kib * 1024;
}

static const struct rr_state_machine machine = {.size = sizeof(machine),
                                                .open = machine_open,
                                                .apply = machine_apply,
                                                .snapshot_begin = generator_new,
                                                .snapshot_read = machine_read,
                                                .snapshot_end = machine_end,
                                                .restore_begin = generator_new,
                                                .restore_write = machine_write,
                                                .restore_end = machine_restored};

static void open_node(struct harness *harness, struct rr_engine **engine, struct rr_group **group)
{
    struct rr_engine_options engine_options = harness->engine_options;
    struct rr_group_options group_options = harness->group_options;
    struct rr_peer_address self = {.node = 1, .address = harness->addresses[0]};
    struct rr_error error = {0};
    engine_options.dir = harness->dirs[0];
    engine_options.listen = self.address;
    engine_options.node_id = 1;
    group_options.peers = &self;
    group_options.peer_count = 1;
    group_options.tick_ms = 5;
    group_options.on_complete = on_complete;
    int rc = rr_engine_open(&engine_options, engine, &error);
    if (rc == 0)
        rc = rr_group_open(*engine, &group_options, &machine, group, &error);
    if (rc != 0)
        fprintf(stderr, "%s\n", error.message);
    CHECK(rc == 0);
}

static void wait_for_leader(struct rr_group *group)
{
    struct rr_group_status status = {.size = sizeof(status)};
    for (uint32_t ms = 0; ms < 5000 && status.role != RR_STATE_LEADER; ms++) {
        harness_sleep_ms(1);
        CHECK(rr_group_status(group, &status) == 0);
    }
    CHECK(status.role == RR_STATE_LEADER);
}

static void must_be_answered_ok(void)
{
    for (uint32_t ms = 0; ms < 300000 && answer == 0; ms++)
        harness_sleep_ms(1);
    CHECK(answer == 1);
    answer = 0;
}

static void test_memory_does_not_grow_with_the_state(void)
{
    struct harness harness;
    struct rr_engine *engine;
    struct rr_group *group;
    char path[128];
    uint64_t whole = state_bytes;
    harness_init(&harness, 1);
    state_bytes = 1000; /* until all that an engine needs anyway is there */
    open_node(&harness, &engine, &group);
    wait_for_leader(group);
    CHECK(rr_propose(group, "x", 1, 1) == 0);
    must_be_answered_ok();
    uint64_t before = peak_bytes();
    state_bytes = whole;
    snprintf(path, sizeof(path), "%s/backup", harness.root);
    CHECK(rr_backup(group, path, 2) == 0);
    must_be_answered_ok();
    CHECK(rr_engine_close(engine, RR_CLOSE_DRAIN) == 0);
    open_node(&harness, &engine, &group);
    CHECK_EQ_U64(restored_bytes, whole);
    CHECK(rr_engine_close(engine, RR_CLOSE_DRAIN) == 0);
    uint64_t growth = peak_bytes() - before;
    fprintf(stderr, "    %llu MiB of state: %llu KiB more memory\n",
            (unsigned long long)(whole / MIB), (unsigned long long)(growth / 1024));
    CHECK(growth <= GROWTH_MAX);
    CHECK(unlink(path) == 0);
    harness_fini(&harness);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        state_bytes = strtoull(argv[1], NULL, 10) * MIB;
    RUN(test_memory_does_not_grow_with_the_state);
    return 0;
}
