/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/engine_harness.h"

#include "io/backend.h"
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS_MAX 30000u

void harness_sleep_ms(uint32_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

enum rr_backend harness_backend_argument(int argc, char **argv)
{
    CHECK(argc == 2);
    if (strcmp(argv[1], "posix") == 0)
        return RR_BACKEND_POSIX;
    CHECK(strcmp(argv[1], "uring") == 0);
    struct io *io;
    struct rr_error error;
    int err = io_open_backend(IO_BACKEND_URING, &io, NULL, 0, &error);
    if (err == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    CHECK(err == 0);
    io_close_backend(io);
    return RR_BACKEND_URING;
}

/* ---- the state machine --------------------------------------------------- */

static int chain_open(void *ctx, uint64_t *applied)
{
    struct chain *chain = ctx;
    chain->applied = chain->count = chain->hash = 0;
    *applied = 0;
    return 0;
}

static int chain_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                       uint64_t *results)
{
    struct chain *chain = ctx;
    while (chain->sleeps)
        harness_sleep_ms(1);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(entries[i].index > chain->applied);
        if (chain->fail_at && chain->count + 1 == chain->fail_at)
            return -1;
        chain->applied = entries[i].index;
        chain->count++;
        uint64_t hash = chain->hash * 0x100000001b3ull + entries[i].size;
        for (uint32_t k = 0; k < entries[i].size; k += 8)
            hash = (hash ^ entries[i].data[k]) * 0x100000001b3ull;
        chain->hash = hash;
        results[i] = chain->count;
    }
    return 0;
}

/* A snapshot being read or restored: the three numbers and a pattern. */
struct chain_copy {
    uint64_t numbers[3];
    uint64_t at;
    uint64_t whole;
};

static uint8_t chain_byte(const struct chain_copy *copy, uint64_t at)
{
    return at < sizeof(copy->numbers) ? ((const uint8_t *)copy->numbers)[at]
                                      : (uint8_t)(copy->numbers[2] ^ at * 31);
}

static int chain_snapshot_begin(void *ctx, void **snapshot)
{
    struct chain *chain = ctx;
    struct chain_copy *copy = malloc(sizeof(*copy));
    CHECK(copy != NULL);
    *copy = (struct chain_copy){.numbers = {chain->applied, chain->count, chain->hash},
                                .whole = sizeof(copy->numbers) + chain->snapshot_padding};
    chain->open_snapshots++;
    *snapshot = copy;
    return 0;
}

/* Small pieces, so that reading takes several calls. */
static int chain_snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    const struct chain *chain = ctx;
    struct chain_copy *copy = snapshot;
    if (chain->fail_reads)
        return -1;
    *size = 0;
    while (*size < cap && *size < 1000 && copy->at < copy->whole)
        buf[(*size)++] = chain_byte(copy, copy->at++);
    return 0;
}

static void chain_snapshot_end(void *ctx, void *snapshot)
{
    ((struct chain *)ctx)->open_snapshots--;
    free(snapshot);
}

static int chain_restore_begin(void *ctx, void **restore)
{
    CHECK(((struct chain *)ctx)->open_snapshots == 0);
    *restore = calloc(1, sizeof(struct chain_copy));
    CHECK(*restore != NULL);
    return 0;
}

static int chain_restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    struct chain_copy *copy = restore;
    (void)ctx;
    for (size_t i = 0; i < size; i++, copy->at++)
        if (copy->at < sizeof(copy->numbers))
            ((uint8_t *)copy->numbers)[copy->at] = buf[i];
        else
            CHECK(buf[i] == chain_byte(copy, copy->at));
    return 0;
}

static int chain_restore_end(void *ctx, void *restore, bool complete)
{
    struct chain *chain = ctx;
    struct chain_copy *copy = restore;
    if (complete) {
        CHECK(copy->at >= sizeof(copy->numbers));
        chain->applied = copy->numbers[0];
        chain->count = copy->numbers[1];
        chain->hash = copy->numbers[2];
        chain->restores++;
    }
    free(copy);
    return 0;
}

/* ---- outcomes ------------------------------------------------------------ */

static void propose_next(struct harness_node *node)
{
    if (!node->repropose || node->repropose_left == 0)
        return;
    node->repropose_left--;
    uint8_t bytes[128] = {1};
    CHECK(rr_propose(node->group, bytes, sizeof(bytes), node->next_tag++) == 0);
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct harness_node *node = ctx;
    uint64_t ok = 0;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(completions[i].tag < HARNESS_TAGS_MAX);
        CHECK(node->outcomes[completions[i].tag] == 0); /* exactly once */
        node->outcomes[completions[i].tag] = (uint8_t)(1 - completions[i].status);
        ok += completions[i].status == RR_OK;
        if (completions[i].status != RR_OK)
            node->last_failure = completions[i].status;
    }
    node->failed += count - ok;
    if (ok)
        propose_next(node);
    node->ok += ok;
}

/* ---- the cluster --------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

void harness_move(struct harness *harness, uint32_t i)
{
    snprintf(harness->addresses[i], sizeof(harness->addresses[i]), "127.0.0.1:%u", free_port());
}

void harness_init(struct harness *harness, uint32_t node_count)
{
    memset(harness, 0, sizeof(*harness));
    harness->node_count = node_count;
    strcpy(harness->root, "engine_test_XXXXXX");
    CHECK(mkdtemp(harness->root) != NULL);
    for (uint32_t i = 0; i < node_count; i++) {
        struct harness_node *node = &harness->nodes[i];
        snprintf(harness->dirs[i], sizeof(harness->dirs[i]), "%s/n%u", harness->root, i + 1);
        harness_move(harness, i);
        node->harness = harness;
        node->id = i + 1;
        node->outcomes = calloc(HARNESS_TAGS_MAX, 1);
        CHECK(node->outcomes != NULL);
    }
    harness->engine_options = (struct rr_engine_options){.size = sizeof(struct rr_engine_options),
                                                         .cluster_id = 77,
                                                         .create = RR_CREATE_BOOTSTRAP,
                                                         .segment_bytes = 4 << 20,
                                                         .wal_bytes_max = 64 << 20};
    harness->group_options = (struct rr_group_options){.size = sizeof(struct rr_group_options),
                                                       .group_id = 1,
                                                       .tick_ms = 20,
                                                       .on_complete = on_complete};
}

int harness_try_open(struct harness *harness, uint32_t i, struct rr_error *error)
{
    struct harness_node *node = &harness->nodes[i];
    struct rr_engine_options engine_options = harness->engine_options;
    struct rr_group_options group_options = harness->group_options;
    struct rr_peer_address peers[HARNESS_NODES_MAX];
    for (uint32_t k = 0; k < harness->node_count; k++)
        peers[k] = (struct rr_peer_address){.node = k + 1, .address = harness->addresses[k]};
    engine_options.dir = harness->dirs[i];
    engine_options.listen = harness->addresses[i];
    engine_options.node_id = node->id;
    group_options.peers = peers;
    group_options.peer_count = harness->node_count;
    group_options.ctx = node;
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .ctx = &node->chain,
                                       .open = chain_open,
                                       .apply = chain_apply,
                                       .snapshot_begin = chain_snapshot_begin,
                                       .snapshot_read = chain_snapshot_read,
                                       .snapshot_end = chain_snapshot_end,
                                       .restore_begin = chain_restore_begin,
                                       .restore_write = chain_restore_write,
                                       .restore_end = chain_restore_end};
    int rc = rr_engine_open(&engine_options, &node->engine, error);
    if (rc != 0)
        return rc;
    rc = rr_group_open(node->engine, &group_options, &machine, &node->group, error);
    if (rc != 0)
        harness_close(harness, i, RR_CLOSE_ABORT);
    return rc;
}

void harness_open(struct harness *harness, uint32_t i)
{
    struct rr_error error = {0};
    if (harness_try_open(harness, i, &error) == 0)
        return;
    fprintf(stderr, "node %u does not open: %s\n", i + 1, error.message);
    exit(1);
}

void harness_close(struct harness *harness, uint32_t i, enum rr_close_mode mode)
{
    struct harness_node *node = &harness->nodes[i];
    rr_engine_close(node->engine, mode);
    node->engine = NULL;
    node->group = NULL;
}

static void remove_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char name[512];
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            remove_files(name);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

void harness_fini(struct harness *harness)
{
    for (uint32_t i = 0; i < harness->node_count; i++) {
        if (harness->nodes[i].engine)
            harness_close(harness, i, RR_CLOSE_ABORT);
        free(harness->nodes[i].outcomes);
    }
    remove_files(harness->root);
}

/* ---- what tests do ------------------------------------------------------- */

struct rr_group_status harness_status(const struct harness_node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    CHECK(rr_group_status(node->group, &status) == 0);
    return status;
}

struct harness_node *harness_leader(struct harness *harness)
{
    for (uint32_t waited = 0; waited < WAIT_MS_MAX; waited++) {
        for (uint32_t i = 0; i < harness->node_count; i++)
            if (harness->nodes[i].group &&
                harness_status(&harness->nodes[i]).role == RR_STATE_LEADER) {
                harness->nodes[i].term = harness_status(&harness->nodes[i]).term;
                return &harness->nodes[i];
            }
        harness_sleep_ms(1);
    }
    CHECK(false && "a leader in time");
    return NULL;
}

void harness_check_ok(struct harness_node *node, uint64_t count)
{
    if (node->ok == count)
        return;
    /* On a busy machine a leader may lose its term: no failure, but said. */
    CHECK(harness_status(node).term > node->term && node->ok + node->failed >= count);
    fprintf(stderr, "    (leadership was lost on the way: %llu of %llu acknowledged)\n",
            (unsigned long long)node->ok, (unsigned long long)count);
}

uint64_t harness_propose(struct harness_node *node, uint32_t count, uint32_t size)
{
    uint8_t *bytes = calloc(1, size + 1);
    uint64_t first = node->next_tag;
    for (uint32_t i = 0; i < count; i++) {
        int rc;
        uint64_t tag = node->next_tag++; /* before its completion, which may take the next one */
        memset(bytes, (int)(tag & 0xff), size);
        while ((rc = rr_propose(node->group, bytes, size, tag)) == RR_E_BUSY)
            sched_yield();
        CHECK(rc == 0);
    }
    free(bytes);
    return first;
}

void harness_wait_outcomes(struct harness_node *node, uint64_t count)
{
    for (uint32_t waited = 0; waited < WAIT_MS_MAX; waited++) {
        if (node->ok + node->failed >= count)
            return;
        harness_sleep_ms(1);
    }
    fprintf(stderr, "%llu ok and %llu failed of %llu\n", (unsigned long long)node->ok,
            (unsigned long long)node->failed, (unsigned long long)count);
    CHECK(false && "all outcomes in time");
}

void harness_check_equal(struct harness *harness)
{
    uint64_t lowest = 0, highest = 1;
    for (uint32_t waited = 0; waited < WAIT_MS_MAX && lowest != highest; waited++) {
        harness_sleep_ms(2);
        lowest = UINT64_MAX;
        highest = 0;
        for (uint32_t i = 0; i < harness->node_count; i++) {
            if (!harness->nodes[i].group)
                continue;
            struct rr_group_status status = harness_status(&harness->nodes[i]);
            lowest = status.applied < lowest ? status.applied : lowest;
            highest = status.last_index > highest ? status.last_index : highest;
        }
    }
    CHECK_EQ_U64(lowest, highest);
    const struct chain *first = NULL;
    for (uint32_t i = 0; i < harness->node_count; i++) {
        const struct chain *chain = &harness->nodes[i].chain;
        if (!harness->nodes[i].group)
            continue;
        if (!first)
            first = chain;
        CHECK_EQ_U64(chain->count, first->count);
        CHECK_EQ_U64(chain->hash, first->hash);
    }
}
