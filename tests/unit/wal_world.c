/* SPDX-License-Identifier: Apache-2.0
 *
 * See wal_world.h.
 */
#include "wal_world.h"

#include "proto/codec.h"
#include "proto/crc32c.h"
#include "tests/unit/check.h"

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint32_t below(struct wal_world *world, uint32_t bound)
{
    return (uint32_t)sim_random_below(world->sim, bound);
}

static uint64_t model_hash(const struct world_model *model)
{
    uint64_t hash = 1;
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        const struct world_group *group = &model->groups[g];
        if (!group->is_stated)
            continue;
        hash = mix(mix(mix(hash, g + 1), group->term), group->vote);
        hash = mix(mix(hash, group->first), group->last);
        for (uint64_t i = group->first; i <= group->last; i++)
            hash = mix(hash, group->terms[i]);
    }
    for (uint32_t p = 0; p < WORLD_PEERS; p++)
        hash = mix(hash, model->peer_boots[p]);
    return hash;
}

static void model_init(struct world_model *model)
{
    memset(model, 0, sizeof(*model));
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        model->groups[g].id = g == 0 ? 1 : 77;
        model->groups[g].first = 1;
        model->groups[g].terms = calloc(WORLD_ENTRIES_MAX, sizeof(uint64_t));
        CHECK(model->groups[g].terms);
    }
}

static void model_copy(struct world_model *to, const struct world_model *from)
{
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        uint64_t *terms = to->groups[g].terms;
        to->groups[g] = from->groups[g];
        to->groups[g].terms = terms;
        memcpy(terms, from->groups[g].terms, WORLD_ENTRIES_MAX * sizeof(terms[0]));
    }
    memcpy(to->peer_boots, from->peer_boots, sizeof(to->peer_boots));
}

static struct world_group *group_of(struct world_model *model, uint64_t id)
{
    CHECK(id == 1 || id == 77);
    return &model->groups[id == 1 ? 0 : 1];
}

void world_fill(uint8_t *data, uint32_t size, uint64_t group, uint64_t index, uint64_t term)
{
    for (uint32_t i = 0; i < size; i++)
        data[i] = (uint8_t)(group * 31 + index * 7 + term * 3 + i);
}

/* ---- the log's callbacks ------------------------------------------------------------- */

static void on_durable(void *ctx, uint64_t durable_seq)
{
    struct wal_world *world = ctx;
    CHECK(!world->poisoned);
    while (world->acked + 1 < world->op_count && world->ops[world->acked + 1].seq <= durable_seq)
        world->acked++;
}

static void on_poisoned(void *ctx, int err)
{
    struct wal_world *world = ctx;
    CHECK(!world->poisoned);
    CHECK(err < 0);
    world->poisoned = err;
}

static int on_state(void *ctx, const struct wal_state *state)
{
    struct wal_world *world = ctx;
    struct world_group *group = group_of(&world->recovered, state->group);
    CHECK(!group->is_stated);
    group->is_stated = true;
    group->term = state->hard_state.term;
    group->vote = state->hard_state.vote;
    group->first = state->first_index;
    group->last = state->first_index - 1;
    CHECK_EQ_U64(state->metadata.index, state->first_index - 1);
    CHECK_EQ_U64(state->metadata.conf_state.voter_count, 3);
    CHECK_EQ_U64(state->metadata.conf_state.voters[2], 3);
    for (uint32_t i = 0; i < state->snapshot_size; i++)
        CHECK(state->snapshot_data[i] == (uint8_t)state->first_index);
    return 0;
}

static int on_entries(void *ctx, uint64_t id, uint64_t first_index, uint32_t count, uint64_t commit,
                      const uint8_t *bytes, uint32_t size, struct rr_block *block)
{
    struct wal_world *world = ctx;
    struct world_group *group = group_of(&world->recovered, id);
    const uint8_t *at = bytes;
    uint8_t expected[4096];
    uint32_t crc;
    (void)commit;
    CHECK(group->is_stated);
    CHECK(first_index <= group->last + 1);
    CHECK(wal_run_crc(block, bytes, size, &crc) && crc == crc32c(0, bytes, size));
    for (uint32_t i = 0; i < count; i++) {
        struct rr_entry entry;
        CHECK(rr_entry_decode(&at, bytes + size, block, &entry) == 0);
        CHECK_EQ_U64(entry.index, first_index + i);
        CHECK(entry.wire_size > 0 && entry.size <= sizeof(expected));
        world_fill(expected, entry.size, id, entry.index, entry.term);
        CHECK(memcmp(expected, entry.data, entry.size) == 0);
        group->terms[entry.index] = entry.term;
    }
    CHECK(at == bytes + size);
    group->last = first_index + count - 1;
    return 0;
}

static int on_peer(void *ctx, const struct wal_peer *peer)
{
    struct wal_world *world = ctx;
    CHECK(peer->node < WORLD_PEERS);
    CHECK_EQ_U64(world->recovered.peer_boots[peer->node], 0);
    CHECK_EQ_U64(peer->nonce, peer->boot * 3);
    world->recovered.peer_boots[peer->node] = peer->boot;
    return 0;
}

/* ---- the workload -------------------------------------------------------------------- */

static void note_op(struct wal_world *world)
{
    CHECK(world->op_count < WORLD_OPS_MAX);
    world->ops[world->op_count++] = (struct world_op){
        .hash = model_hash(&world->model), .seq = world->wal ? wal_staged_seq(world->wal) : 0};
}

void world_stage_state(struct wal_world *world, struct world_group *group)
{
    static const uint64_t voters[] = {1, 2, 3};
    uint8_t snapshot[700];
    memset(snapshot, (uint8_t)group->first, sizeof(snapshot));
    struct wal_state state = {
        .group = group->id,
        .hard_state = {.term = group->term, .vote = group->vote},
        .metadata = {.conf_state = {.voters = voters, .voter_count = 3}, .index = group->first - 1},
        .first_index = group->first,
        .last_index = group->last,
        .snapshot_data = snapshot,
        .snapshot_size = below(world, sizeof(snapshot)),
        .has_snapshot_data = true,
    };
    CHECK(wal_append_state(world->wal, &state) == 0);
    group->is_stated = true;
    note_op(world);
}

static void keep_block(struct wal_world *world, struct rr_block *block)
{
    rr_block_get(block, 1);
    rr_block_put(world->kept[world->kept_at], 1);
    world->kept[world->kept_at] = block;
    world->kept_at = (world->kept_at + 1) % WORLD_BLOCKS_KEPT;
}

/* Entries as a leader or a follower has them: the data elsewhere, or already encoded one behind the
 * other. */
static void make_entries(struct wal_world *world, const struct world_group *group,
                         struct rr_entry *entries, uint32_t count, uint8_t *data, uint8_t *encoded)
{
    bool encode = below(world, 2) == 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = below(world, world->entry_bytes_max);
        world_fill(data, size, group->id, group->last + 1 + i, group->term);
        entries[i] = (struct rr_entry){
            .term = group->term,
            .index = group->last + 1 + i,
            .data = data,
            .size = size,
            .has = RR_ENTRY_HAS_TYPE | RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA,
        };
        if (encode)
            encoded = rr_entry_encode(&entries[i], encoded, NULL, &entries[i]);
        data += size;
    }
}

static void append_copied(struct wal_world *world, uint64_t group, struct rr_entry *entries,
                          uint32_t count)
{
    CHECK(wal_append_entries(world->wal, group, entries, count, 0, entries) == 0);
    const uint8_t *run = rr_entry_wire(&entries[0]);
    uint32_t crc, size = 0;
    for (uint32_t i = 0; i < count && entries[i].block == entries[0].block &&
                         rr_entry_wire(&entries[i]) == run + size;
         i++)
        size += entries[i].wire_size;
    CHECK(wal_run_crc(entries[0].block, run, size, &crc) && crc == crc32c(0, run, size));
    keep_block(world, entries[0].block);
}

static void append_in_place(struct wal_world *world, uint64_t group, struct rr_entry *entries,
                            uint32_t count)
{
    uint8_t *at;
    struct rr_block *block;
    uint32_t size = 0, crc = 0;
    for (uint32_t i = 0; i < count; i++)
        size += (uint32_t)rr_entry_wire_size(&entries[i]);
    CHECK(wal_reserve_entries(world->wal, group, size + 9, &at, &block) == 0);
    if (below(world, 8) == 0) {
        memset(at, 0xee, size + 9);
        wal_rollback_entries(world->wal);
        append_copied(world, group, entries, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        at = rr_entry_encode(&entries[i], at, &crc, &entries[i]);
    wal_commit_entries(world->wal, entries[0].index, count, size, crc, 0);
    keep_block(world, block);
}

static void stage_entries(struct wal_world *world, struct world_group *group)
{
    static uint8_t data[WORLD_RUN_MAX * 4096], encoded[WORLD_RUN_MAX * 4200];
    struct rr_entry entries[WORLD_RUN_MAX];
    uint32_t count = 1 + below(world, WORLD_RUN_MAX);
    CHECK(group->last + count < WORLD_ENTRIES_MAX);
    make_entries(world, group, entries, count, data, encoded);
    if (world->takes_in_place && below(world, 2) == 0)
        append_in_place(world, group->id, entries, count);
    else
        append_copied(world, group->id, entries, count);
    for (uint32_t i = 0; i < count; i++) {
        group->last++;
        group->terms[group->last] = group->term;
        world->seqs[group - world->model.groups][group->last] = wal_staged_seq(world->wal);
        note_op(world);
    }
    world->entries_total += count;
}

static void cut(struct wal_world *world, const struct world_group *group)
{
    uint64_t *lowest = &world->cut[group - world->model.groups];
    *lowest = rr_min_u64(*lowest, group->last);
}

/* A new leader's entries replace the end of the log. */
static void stage_truncation(struct wal_world *world, struct world_group *group)
{
    group->term++;
    group->vote = below(world, 4);
    world_stage_state(world, group);
    group->last -= below(world, (uint32_t)rr_min_u64(20, group->last - group->first + 2));
    cut(world, group);
    stage_entries(world, group);
}

static void stage_installed_snapshot(struct wal_world *world, struct world_group *group)
{
    group->last = group->first + below(world, (uint32_t)(group->last - group->first + 10));
    group->first = group->last + 1;
    cut(world, group);
    world_stage_state(world, group);
}

static void stage_compaction(struct wal_world *world, struct world_group *group)
{
    group->first =
        group->last + 1 - below(world, (uint32_t)rr_min_u64(10, group->last - group->first + 2));
    world_stage_state(world, group);
}

/* It leaves the log; the next that is heard of it begins anew. */
static void stage_gone(struct wal_world *world, struct world_group *group)
{
    CHECK(wal_append_gone(world->wal, group->id) == 0);
    group->is_stated = false;
    group->first = 1;
    group->last = group->term = group->vote = 0;
    note_op(world);
}

static void stage_peer(struct wal_world *world)
{
    uint32_t node = below(world, WORLD_PEERS);
    uint64_t boot = ++world->model.peer_boots[node];
    struct wal_peer peer = {.node = node, .instance = 9, .boot = boot, .nonce = boot * 3};
    CHECK(wal_append_peer(world->wal, &peer) == 0);
    note_op(world);
}

static void stage_rewrite(struct wal_world *world, struct world_group *group)
{
    static uint8_t data[WORLD_RUN_MAX * 4096];
    struct rr_entry entries[WORLD_RUN_MAX];
    if (group->last - group->first + 1 > WORLD_RUN_MAX) {
        stage_compaction(world, group);
        return;
    }
    world_stage_state(world, group);
    uint32_t count = (uint32_t)(group->last + 1 - group->first);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t index = group->first + i;
        entries[i] =
            (struct rr_entry){.term = group->terms[index],
                              .index = index,
                              .data = data + 4096 * i,
                              .size = 20,
                              .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
        world_fill(data + 4096 * i, 20, group->id, index, group->terms[index]);
    }
    if (count > 0)
        CHECK(wal_rewrite_tail(world->wal, group->id, entries, count, 0, entries) == 0);
    note_op(world);
}

static void stage_wanted(struct wal_world *world, struct world_group *group)
{
    if (!world->moves_groups) {
        stage_rewrite(world, group);
    } else if (wal_wants_move(world->wal, group->id)) {
        world_stage_state(world, group);
        wal_move_start(world->wal, group->id);
    }
}

void world_stage(struct wal_world *world)
{
    struct world_group *group = &world->model.groups[below(world, 4) == 0 && !world->only_group];
    uint64_t wanted;
    int admits = wal_admits_proposals(world->wal);
    if (!world->ignores_rewrites && wal_wants_rewrite(world->wal, &wanted))
        stage_wanted(world, group_of(&world->model, wanted));
    if (!group->is_stated) {
        world_stage_state(world, group);
        return;
    }
    uint32_t choice = below(world, 100);
    if (group->last + 1 - group->first > world->keep_max)
        stage_compaction(world, group);
    else if (choice < 2)
        stage_peer(world);
    else if (choice < 3)
        stage_installed_snapshot(world, group);
    else if (choice < 4 && world->removes_groups)
        stage_gone(world, group);
    else if (admits != 0)
        world->refused++;
    else if (choice < 10)
        stage_truncation(world, group);
    else
        stage_entries(world, group);
}

/* ---- incarnations -------------------------------------------------------------------- */

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct wal_world *world = ctx;
    if (world->turns_left > 0) {
        world->turns_left--;
        for (uint32_t n = below(world, 4); !world->is_quiet && !world->poisoned && n > 0; n--)
            world_stage(world);
        if (world->each_turn && !world->poisoned)
            world->each_turn(world);
        *deadline_ns = now_ns + below(world, 400000);
    } else {
        wal_close_mark(world->wal);
    }
    uint64_t due = wal_flush(world->wal, now_ns);
    if (!world->poisoned)
        wal_check(world->wal);
    *deadline_ns = rr_min_u64(*deadline_ns, due);
    return world->turns_left > 0 || !wal_is_idle(world->wal);
}

void world_init(struct wal_world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->sim = sim_new(seed);
    world->io = sim_machine(world->sim, 1);
    world->options = (struct wal_options){
        .io = world->io,
        .dir = "/d",
        .instance_id = 0x1234567,
        .segment_bytes = WAL_SEGMENT_BYTES_MIN,
        .wal_bytes_max = 12 * WAL_SEGMENT_BYTES_MIN,
        .write_bytes_max = WAL_SEGMENT_BYTES_MIN / 4,
        .second_write_bytes_min = 6000,
        .mark_delay_ns = 5000000,
        .ctx = world,
        .on_durable = on_durable,
        .on_poisoned = on_poisoned,
    };
    world->entry_bytes_max = 500;
    world->keep_max = 60;
    world->takes_in_place = true;
    world->ops = calloc(WORLD_OPS_MAX, sizeof(world->ops[0]));
    CHECK(world->ops);
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        world->seqs[g] = calloc(WORLD_ENTRIES_MAX, sizeof(uint64_t));
        CHECK(world->seqs[g]);
    }
    model_init(&world->model);
    model_init(&world->recovered);
    note_op(world);
}

static void free_log(struct wal_world *world)
{
    for (uint32_t i = 0; i < WORLD_BLOCKS_KEPT / 2; i++) { /* the others outlive the log */
        rr_block_put(world->kept[i], 1);
        world->kept[i] = NULL;
    }
    wal_free(world->wal);
    world->wal = NULL;
    for (uint32_t i = 0; i < WORLD_BLOCKS_KEPT; i++) {
        rr_block_put(world->kept[i], 1);
        world->kept[i] = NULL;
    }
}

void world_fini(struct wal_world *world)
{
    if (world->wal)
        free_log(world);
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        free(world->model.groups[g].terms);
        free(world->recovered.groups[g].terms);
        free(world->seqs[g]);
    }
    free(world->ops);
    sim_free(world->sim);
}

int world_create(struct wal_world *world)
{
    int err = world->io->ops->mkdir(world->io, "/d");
    CHECK(!err || sim_crashed(world->sim, 1));
    err = world->io->ops->sync_dir(world->io, "/");
    CHECK(!err || sim_crashed(world->sim, 1));
    return wal_create(&world->options, &world->error);
}

static void print_model(const char *what, const struct world_model *model)
{
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        const struct world_group *group = &model->groups[g];
        fprintf(stderr, "%s: group %llu term %llu vote %llu entries %llu..%llu\n", what,
                (unsigned long long)group->id, (unsigned long long)group->term,
                (unsigned long long)group->vote, (unsigned long long)group->first,
                (unsigned long long)group->last);
    }
    for (uint32_t p = 0; p < WORLD_PEERS; p++)
        fprintf(stderr, "%s: peer %u boot %llu\n", what, p,
                (unsigned long long)model->peer_boots[p]);
}

/* Which prefix of the last incarnation was recovered? */
static void check_recovered(struct wal_world *world)
{
    uint64_t hash = model_hash(&world->recovered);
    uint32_t op = world->op_count;
    while (op > 0 && world->ops[op - 1].hash != hash)
        op--;
    if (op == 0 || op - 1 < world->acked) {
        fprintf(stderr, "recovered: op %d; acknowledged: %u; staged: %u\n", (int)op - 1,
                world->acked, world->op_count);
        print_model("staged", &world->model);
        print_model("recovered", &world->recovered);
        CHECK(op > world->acked);
    }
}

int world_open(struct wal_world *world)
{
    struct wal_recovery recovery = {
        .ctx = world, .on_state = on_state, .on_entries = on_entries, .on_peer = on_peer};
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        world->recovered.groups[g].is_stated = false;
        world->recovered.groups[g].first = 1;
        world->recovered.groups[g].term = world->recovered.groups[g].vote =
            world->recovered.groups[g].last = 0;
    }
    memset(world->recovered.peer_boots, 0, sizeof(world->recovered.peer_boots));
    world->options.nonce++;
    world->poisoned = 0;
    int err = wal_open(&world->options, &recovery, &world->wal, &world->error);
    if (err)
        return err;
    check_recovered(world);
    model_copy(&world->model, &world->recovered);
    for (uint32_t g = 0; g < WORLD_GROUPS; g++) {
        memset(world->seqs[g], 0, WORLD_ENTRIES_MAX * sizeof(uint64_t));
        world->cut[g] = UINT64_MAX;
    }
    world->op_count = 0;
    world->acked = 0;
    note_op(world);
    return 0;
}

void world_run(struct wal_world *world, uint32_t turns)
{
    world->turns_left = turns;
    (void)world->io->ops->start(world->io, turn, world);
    world->io->ops->join(world->io);
    wal_stats(world->wal, &world->stats);
    free_log(world);
}

void world_crash_at(struct wal_world *world, uint64_t n, uint32_t how)
{
    bool is_power = how < SIM_POWER_LOSS_COUNT;
    sim_crash_at_io(world->sim, 1, n, is_power, is_power ? (enum sim_power_loss)how : SIM_KEEP_ALL);
}

void world_reset(struct wal_world *world)
{
    sim_reset(world->sim, 1);
}
