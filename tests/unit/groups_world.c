/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/groups_world.h"

#include "tests/unit/check.h"

#define MS          1000000ull
#define WAIT_MS_MAX 60000u

static void on_apply(void *ctx, const struct rr_apply_entry *entry, uint64_t hash)
{
    (void)ctx, (void)entry, (void)hash;
}

static void on_restore(void *ctx, uint64_t index, uint64_t hash)
{
    (void)ctx, (void)index, (void)hash;
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct world_group *own = ctx;
    for (uint32_t i = 0; i < count; i++) {
        own->ok += completions[i].status == RR_OK;
        own->failed += completions[i].status != RR_OK;
        if (completions[i].status != RR_OK)
            own->last_failure = completions[i].status;
    }
}

static void on_log(void *ctx, int level, const char *line)
{
    const struct world_node *node = ctx;
    if (level >= ENGINE_LOG_ERROR)
        fprintf(stderr, "    node %u: %s\n", node->number, line);
}

void groups_world_init(struct groups_world *world, uint64_t seed, uint32_t node_count,
                       uint32_t group_count)
{
    memset(world, 0, sizeof(*world));
    CHECK(node_count <= WORLD_NODES_MAX && group_count <= WORLD_GROUPS_MAX);
    world->sim = sim_new(seed);
    world->node_count = node_count;
    world->group_count = group_count;
    world->engine_options = (struct rr_engine_options){.size = sizeof(struct rr_engine_options),
                                                       .dir = "/data",
                                                       .cluster_id = 5,
                                                       .create = RR_CREATE_BOOTSTRAP,
                                                       .segment_bytes = 256 << 10,
                                                       .wal_bytes_max = 4 << 20,
                                                       .entry_bytes_max = 8 << 10,
                                                       .log = on_log};
    world->group_options = (struct rr_group_options){.size = sizeof(struct rr_group_options),
                                                     .snapshot_log_bytes = 512 << 10,
                                                     .proposal_queue_entries = 4096,
                                                     .proposal_queue_bytes = 1 << 20,
                                                     .on_complete = on_complete};
}

void groups_world_fini(struct groups_world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++)
        if (world->nodes[i].engine)
            groups_world_kill(world, i);
    sim_free(world->sim);
}

static const char *const addresses[WORLD_NODES_MAX] = {"127.0.0.1:70", "127.0.0.2:70",
                                                       "127.0.0.3:70"};

void groups_world_start(struct groups_world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    struct rr_engine_options options = world->engine_options;
    struct rr_error error = {0};
    memset(node, 0, sizeof(*node));
    node->number = i + 1;
    options.listen = addresses[i];
    options.node_id = node->number;
    options.log_ctx = node;
    if (engine_open_on(sim_machine(world->sim, i + 1), &options, &node->engine, &error) == 0)
        return;
    fprintf(stderr, "%s\n", error.message);
    CHECK(false && "the engine opens");
}

int groups_world_try_open(struct groups_world *world, uint32_t i, uint32_t g,
                          struct rr_error *error)
{
    struct world_group *own = &world->nodes[i].groups[g];
    struct rr_group_options options = world->group_options;
    struct rr_peer_address peers[WORLD_NODES_MAX];
    struct rr_state_machine table;
    for (uint32_t k = 0; k < world->node_count; k++)
        peers[k] = (struct rr_peer_address){k + 1, addresses[k]};
    options.group_id = g + 1;
    options.peers = peers;
    options.peer_count = world->node_count;
    options.ctx = own;
    own->machine = (struct chain_machine){.on_apply = on_apply, .on_restore = on_restore};
    chain_machine_bind(&own->machine, &table);
    return rr_group_open(world->nodes[i].engine, &options, &table, &own->group, error);
}

void groups_world_open_group(struct groups_world *world, uint32_t i, uint32_t g)
{
    struct rr_error error = {0};
    if (groups_world_try_open(world, i, g, &error) == 0)
        return;
    fprintf(stderr, "%s\n", error.message);
    CHECK(false && "the group opens");
}

void groups_world_open(struct groups_world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++)
        groups_world_start(world, i);
    for (uint32_t i = 0; i < world->node_count; i++)
        for (uint32_t g = 0; g < world->group_count; g++)
            groups_world_open_group(world, i, g);
}

void groups_world_kill(struct groups_world *world, uint32_t i)
{
    struct world_node *node = &world->nodes[i];
    sim_kill(world->sim, node->number);
    engine_abandon(node->engine);
    sim_reset(world->sim, node->number);
    memset(node, 0, sizeof(*node));
}

void groups_world_run_ms(struct groups_world *world, uint64_t ms)
{
    sim_run_until(world->sim, sim_now(world->sim) + ms * MS);
}

struct rr_group_status groups_world_status(const struct groups_world *world, uint32_t i, uint32_t g)
{
    struct rr_group_status status = {.size = sizeof(status)};
    CHECK(rr_group_status(world->nodes[i].groups[g].group, &status) == 0);
    return status;
}

uint32_t groups_world_leader(struct groups_world *world, uint32_t g)
{
    for (uint32_t waited = 0; waited < WAIT_MS_MAX; waited += 5) {
        for (uint32_t i = 0; i < world->node_count; i++)
            if (world->nodes[i].groups[g].group &&
                groups_world_status(world, i, g).role == RR_STATE_LEADER)
                return i;
        groups_world_run_ms(world, 5);
    }
    CHECK(false && "a leader in time");
    return 0;
}

void groups_world_write(struct groups_world *world, uint32_t g, uint32_t count, uint32_t size)
{
    struct world_group *own = &world->nodes[groups_world_leader(world, g)].groups[g];
    uint8_t *bytes = calloc(1, size + 1);
    uint64_t before = own->ok, failed = own->failed;
    uint32_t waited = 0;
    for (uint32_t i = 0; i < count;) {
        memset(bytes, (int)(i & 0xff), size);
        int rc = rr_propose(own->group, bytes, size, i);
        CHECK(rc == 0 || rc == RR_E_BUSY);
        i += rc == 0;
        if (rc != 0)
            groups_world_run_ms(world, 1);
    }
    for (; own->ok - before < count && waited < WAIT_MS_MAX; waited++)
        groups_world_run_ms(world, 1);
    CHECK_EQ_U64(own->ok - before, count);
    CHECK_EQ_U64(own->failed, failed);
    free(bytes);
}

static bool is_group_equal(const struct groups_world *world, uint32_t g)
{
    const struct chain_machine *first = NULL;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct world_group *own = &world->nodes[i].groups[g];
        if (!own->group)
            continue;
        if (first && (own->machine.index != first->index || own->machine.hash != first->hash))
            return false;
        struct rr_group_status status = groups_world_status(world, i, g);
        if (status.applied != status.last_index)
            return false;
        first = &own->machine;
    }
    return true;
}

void groups_world_check_equal(struct groups_world *world)
{
    for (uint32_t g = 0; g < world->group_count; g++) {
        uint32_t waited = 0;
        while (!is_group_equal(world, g) && waited++ < WAIT_MS_MAX)
            groups_world_run_ms(world, 1);
        CHECK(waited < WAIT_MS_MAX);
    }
}
