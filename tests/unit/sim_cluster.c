/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sim_cluster.h"

#include "tests/unit/check.h"

#define MS 1000000ull

/* ---- the state machine --------------------------------------------------- */

static int machine_open(void *ctx, uint64_t *applied)
{
    struct sim_node *node = ctx;
    node->applied_index =
        node->cluster->is_durable ? node->cluster->durable_applied[node->number - 1] : 0;
    *applied = node->applied_index;
    return 0;
}

static int machine_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    struct sim_node *node = ctx;
    if (node->fails_to_apply)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(entries[i].index > node->applied_index);
        node->applied_index = entries[i].index;
        node->cluster->durable_applied[node->number - 1] = entries[i].index;
        results[i] = ++node->applied_count;
    }
    return 0;
}

static int machine_begin(void *ctx, void **context)
{
    struct sim_node *node = ctx;
    node->read_bytes = 0;
    *context = ctx;
    return 0;
}

/* Of the state that makes a snapshot large. */
static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 9));
}

static int machine_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    struct sim_node *node = ctx;
    CHECK(context == ctx);
    if (node->fails_to_read)
        return -1;
    for (*size = 0; *size < cap && node->read_bytes < node->cluster->state_bytes; ++*size)
        buf[*size] = byte_at(node->read_bytes++);
    return 0;
}

static void machine_end(void *ctx, void *context)
{
    (void)ctx, (void)context;
}

static int machine_restore(void *ctx, void **context)
{
    struct sim_node *node = ctx;
    node->restored_bytes = 0;
    *context = ctx;
    return 0;
}

static int machine_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    struct sim_node *node = ctx;
    CHECK(context == ctx);
    for (size_t i = 0; i < size; i++)
        CHECK(buf[i] == byte_at(node->restored_bytes++));
    return 0;
}

static int machine_restored(void *ctx, void *context, bool complete)
{
    struct sim_node *node = ctx;
    CHECK(context == ctx);
    CHECK(!complete || node->restored_bytes == node->cluster->state_bytes);
    node->restores += complete;
    return 0;
}

static uint64_t machine_hash(void *ctx)
{
    struct sim_node *node = ctx;
    node->hash_count++;
    return (node->applied_count * 0x100000001b3ull + node->applied_index) ^ node->twist;
}

/* ---- what the engine tells ----------------------------------------------- */

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct sim_node *node = ctx;
    for (uint32_t i = 0; i < count; i++) {
        node->ok += completions[i].status == RR_OK;
        node->failed += completions[i].status != RR_OK;
        if (completions[i].status != RR_OK)
            node->last_failure = completions[i].status;
        uint32_t place = node->completion_count++ % SIM_CLUSTER_RECORDS;
        node->completions[place] = completions[i];
        node->applied_counts[place] = node->applied_count;
    }
}

static void on_event(void *ctx, const struct rr_event *event)
{
    struct sim_node *node = ctx;
    CHECK_EQ_U64(event->size, sizeof(*event));
    node->events[node->event_count++ % SIM_CLUSTER_RECORDS] = *event;
}

/* ---- the cluster --------------------------------------------------------- */

void sim_cluster_init(struct sim_cluster *cluster, uint64_t seed, uint32_t node_count)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster->sim = sim_new(seed);
    cluster->node_count = cluster->voter_count = node_count;
    cluster->engine_options = (struct rr_engine_options){.size = sizeof(struct rr_engine_options),
                                                         .dir = "/data",
                                                         .cluster_id = 5,
                                                         .create = RR_CREATE_BOOTSTRAP,
                                                         .segment_bytes = 256 << 10,
                                                         .wal_bytes_max = 4 << 20,
                                                         .entry_bytes_max = 8 << 10,
                                                         .on_event = on_event};
    cluster->group_options = (struct rr_group_options){
        .size = sizeof(struct rr_group_options), .group_id = 1, .on_complete = on_complete};
}

const char *sim_cluster_address(uint32_t i)
{
    static const char *const addresses[SIM_CLUSTER_NODES_MAX] = {
        "127.0.0.1:70", "127.0.0.2:70", "127.0.0.3:70", "127.0.0.4:70",
        "127.0.0.5:70", "127.0.0.6:70", "127.0.0.7:70"};
    return addresses[i];
}

void sim_cluster_open_node(struct sim_cluster *cluster, uint32_t i)
{
    struct sim_node *node = &cluster->nodes[i];
    struct rr_peer_address peers[SIM_CLUSTER_NODES_MAX];
    for (uint32_t k = 0; k < cluster->node_count; k++)
        peers[k] = (struct rr_peer_address){k + 1, sim_cluster_address(k)};
    memset(node, 0, sizeof(*node));
    node->cluster = cluster;
    node->number = i + 1;
    struct rr_engine_options engine_options = cluster->engine_options;
    engine_options.listen = sim_cluster_address(i);
    if (i >= cluster->voter_count)
        engine_options.create = RR_CREATE_JOIN;
    engine_options.node_id = node->number;
    engine_options.event_ctx = node;
    struct rr_group_options group_options = cluster->group_options;
    group_options.peers = peers;
    group_options.peer_count = i < cluster->voter_count ? cluster->voter_count : 1;
    group_options.ctx = node;
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .ctx = node,
                                       .open = machine_open,
                                       .apply = machine_apply,
                                       .snapshot_begin = machine_begin,
                                       .snapshot_read = machine_read,
                                       .snapshot_end = machine_end,
                                       .restore_begin = machine_restore,
                                       .restore_write = machine_write,
                                       .restore_end = machine_restored,
                                       .hash = machine_hash};
    struct rr_error error = {0};
    struct io *io = sim_machine(cluster->sim, node->number);
    if (engine_open_on(io, &engine_options, &node->engine, &error) != 0 ||
        rr_group_open(node->engine, &group_options, &machine, &node->group, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

void sim_cluster_open(struct sim_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->voter_count; i++)
        sim_cluster_open_node(cluster, i);
}

void sim_cluster_kill(struct sim_cluster *cluster, uint32_t i)
{
    struct sim_node *node = &cluster->nodes[i];
    sim_kill(cluster->sim, node->number);
    engine_abandon(node->engine);
    sim_reset(cluster->sim, node->number);
    node->engine = NULL;
    node->group = NULL;
}

void sim_cluster_fini(struct sim_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].engine)
            sim_cluster_kill(cluster, i);
    sim_free(cluster->sim);
}

/* ---- what tests do ------------------------------------------------------- */

void sim_cluster_run_ms(struct sim_cluster *cluster, uint64_t ms)
{
    sim_run_until(cluster->sim, sim_now(cluster->sim) + ms * MS);
}

struct rr_group_status sim_cluster_status(const struct sim_node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    CHECK(rr_group_status(node->group, &status) == 0);
    return status;
}

struct sim_node *sim_cluster_leader(struct sim_cluster *cluster, const struct sim_node *other)
{
    for (uint32_t waited = 0; waited < 1000; waited++) {
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            struct sim_node *node = &cluster->nodes[i];
            if (node != other && node->group && sim_cluster_status(node).role == RR_STATE_LEADER)
                return node;
        }
        sim_cluster_run_ms(cluster, 10);
    }
    CHECK(false && "a leader in time");
    return NULL;
}

struct sim_node *sim_cluster_next(struct sim_node *node, uint32_t k)
{
    struct sim_cluster *cluster = node->cluster;
    return &cluster->nodes[(node->number - 1 + k) % cluster->node_count];
}

void sim_cluster_isolate(struct sim_node *node, bool isolated)
{
    for (uint32_t i = 1; i <= node->cluster->node_count; i++) {
        if (i == node->number || node->cluster->nodes[i - 1].number == 0)
            continue;
        sim_cut(node->cluster->sim, i, node->number, isolated);
        sim_cut(node->cluster->sim, node->number, i, isolated);
    }
}

uint32_t sim_cluster_propose(struct sim_node *node, uint64_t first_tag, uint32_t count)
{
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < count; i++)
        accepted += rr_propose(node->group, "entry", 5, first_tag + i) == 0;
    return accepted;
}

const struct rr_completion *sim_cluster_completion(const struct sim_node *node, uint64_t tag)
{
    const struct rr_completion *found = NULL;
    CHECK(node->completion_count <= SIM_CLUSTER_RECORDS);
    for (uint32_t i = 0; i < node->completion_count; i++) {
        if (node->completions[i].tag != tag)
            continue;
        CHECK(!found); /* exactly once */
        found = &node->completions[i];
    }
    return found;
}

uint64_t sim_cluster_applied_at(const struct sim_node *node, uint64_t tag)
{
    const struct rr_completion *completion = sim_cluster_completion(node, tag);
    CHECK(completion != NULL);
    return node->applied_counts[completion - node->completions];
}

const struct rr_event *sim_cluster_event(const struct sim_node *node, enum rr_event_kind kind)
{
    CHECK(node->event_count <= SIM_CLUSTER_RECORDS);
    for (uint32_t i = node->event_count; i-- > 0;)
        if (node->events[i].kind == kind)
            return &node->events[i];
    return NULL;
}
