/* SPDX-License-Identifier: Apache-2.0
 *
 * A stranger's program: it knows the public headers and links the shared or the static library,
 * nothing else. One node, one write, one completion; two engines in one process.
 */
#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Atomic int completions;

static void on_complete(void *ctx, const struct rr_completion *done, uint32_t count)
{
    (void)ctx;
    for (uint32_t i = 0; i < count; i++)
        if (done[i].status == RR_OK && done[i].tag == 42 && done[i].result == 5)
            atomic_fetch_add(&completions, 1);
}

static int open_machine(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static int apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count, uint64_t *results)
{
    (void)ctx;
    for (uint32_t i = 0; i < count; i++)
        results[i] = entries[i].size;
    return 0;
}

static int snapshot_begin(void *ctx, void **snapshot)
{
    *snapshot = ctx;
    return 0;
}

static int snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx, (void)snapshot, (void)buf, (void)cap;
    *size = 0;
    return 0;
}

static void snapshot_end(void *ctx, void *snapshot)
{
    (void)ctx, (void)snapshot;
}

static int restore_begin(void *ctx, void **restore)
{
    *restore = ctx;
    return 0;
}

static int restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    (void)ctx, (void)restore, (void)buf, (void)size;
    return 0;
}

static int restore_end(void *ctx, void *restore, bool complete)
{
    (void)ctx, (void)restore, (void)complete;
    return 0;
}

static const struct rr_state_machine machine = {
    .size = sizeof(machine),
    .open = open_machine,
    .apply = apply,
    .snapshot_begin = snapshot_begin,
    .snapshot_read = snapshot_read,
    .snapshot_end = snapshot_end,
    .restore_begin = restore_begin,
    .restore_write = restore_write,
    .restore_end = restore_end,
};

struct node {
    struct rr_engine *engine;
    struct rr_group *group;
};

static void fail(const char *what, const struct rr_error *error)
{
    fprintf(stderr, "%s: %s (%s)\n", what, error->message, rr_err_name(error->code));
    exit(1);
}

static void open_node(struct node *node, const char *dir, uint64_t id, const char *address)
{
    struct rr_error error = {0};
    struct rr_engine_options engine_options = {
        .size = sizeof(engine_options),
        .dir = dir,
        .listen = address,
        .cluster_id = 7,
        .node_id = id,
        .create = RR_CREATE_BOOTSTRAP,
        .segment_bytes = 8u << 20,
    };
    if (rr_engine_open(&engine_options, &node->engine, &error) != 0)
        fail("engine", &error);
    struct rr_peer_address self = {id, address};
    struct rr_group_options group_options = {
        .size = sizeof(group_options),
        .group_id = 1,
        .peers = &self,
        .peer_count = 1,
        .on_complete = on_complete,
    };
    if (rr_group_open(node->engine, &group_options, &machine, &node->group, &error) != 0)
        fail("group", &error);
}

static void write_once(struct node *node)
{
    struct timespec pause = {0, 1000000};
    int before = atomic_load(&completions);
    for (int tries = 0; tries < 10000 && atomic_load(&completions) == before; tries++) {
        struct rr_group_status status = {.size = sizeof(status)};
        rr_group_status(node->group, &status);
        if (status.role == RR_STATE_LEADER && tries >= 0 &&
            rr_propose(node->group, "hello", 5, 42) == 0)
            tries = -20000;
        nanosleep(&pause, NULL);
    }
    if (atomic_load(&completions) == before)
        fail("propose", &(struct rr_error){RR_E_BUSY, "no completion within ten seconds"});
}

int main(int argc, char **argv)
{
    struct node nodes[2];
    char dirs[2][300];
    if (argc != 2)
        return 2;
    for (int i = 0; i < 2; i++) {
        snprintf(dirs[i], sizeof(dirs[i]), "%s/api-data-%d", argv[1], i + 1);
        open_node(&nodes[i], dirs[i], (uint64_t)i + 1, i ? "127.0.0.1:17421" : "127.0.0.1:17420");
    }
    for (int i = 0; i < 2; i++)
        write_once(&nodes[i]);
    for (int i = 0; i < 2; i++)
        if (rr_engine_close(nodes[i].engine, RR_CLOSE_DRAIN) != 0)
            return 1;
    return atomic_load(&completions) == 2 ? 0 : 1;
}
