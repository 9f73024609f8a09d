/* SPDX-License-Identifier: Apache-2.0
 *
 * rr_group_open: a group is made whole on the opening thread (state machine opened and restored,
 * core started on the recovered log) and then handed to the loop by one command. Cold.
 */
#include "engine/group.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

static void *core_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *core_resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    return realloc(ptr, new_size);
}

static void core_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

const struct rr_allocator group_heap = {
    .alloc = core_alloc, .resize = core_resize, .free = core_free};

/* ---- options ------------------------------------------------------------- */

static int check_state_machine(const struct rr_group *group, const struct rr_state_machine *machine,
                               struct rr_error *error)
{
    if (!machine || machine->size != sizeof(*machine))
        return rr_fail(error, RR_E_INVALID, "set .size of the state machine to its sizeof (%zu)",
                       sizeof(*machine));
    if (!machine->open || !machine->apply || !machine->snapshot_begin || !machine->snapshot_read ||
        !machine->snapshot_end || !machine->restore_begin || !machine->restore_write ||
        !machine->restore_end)
        return rr_fail(
            error, RR_E_INVALID,
            "a state machine needs open, apply, the three snapshot functions and the three "
            "restore functions; only hash is optional");
    if (group->options.hash_entries && !machine->hash)
        return rr_fail(error, RR_E_INVALID,
                       "hash_entries is set, and the state machine has no hash");
    return 0;
}

/* The peers and their addresses outlive the caller's: one allocation for all. */
static int copy_peers(struct rr_group *group)
{
    const struct rr_group_options *options = &group->options;
    size_t size = options->peer_count * sizeof(*group->peers);
    for (uint32_t i = 0; i < options->peer_count; i++)
        size += strlen(options->peers[i].address) + 1;
    group->peers = malloc(size + 1);
    if (!group->peers)
        return RR_E_NO_MEMORY;
    char *text = (char *)(group->peers + options->peer_count);
    for (uint32_t i = 0; i < options->peer_count; i++) {
        size_t length = strlen(options->peers[i].address) + 1;
        memcpy(text, options->peers[i].address, length);
        group->peers[i] = (struct rr_peer_address){.node = options->peers[i].node, .address = text};
        text += length;
    }
    group->options.peers = group->peers;
    return 0;
}

/* ---- the log it begins with ---------------------------------------------- */

/* BOOTSTRAP: a snapshot at index 1, term 1, of a fresh state machine under the initial voters, the
 * same on each of them. JOIN: nothing, so that the first snapshot brings the configuration. */
static int make_first_state(struct rr_group *group, const struct rr_state_machine *machine,
                            struct rr_error *error)
{
    struct rr_engine *engine = group->engine;
    struct log_snapshot first = {.kind = LOG_SNAPSHOT_NONE};
    struct rr_snapshot_metadata *metadata = &first.snapshot.metadata;
    uint64_t voters[CONFIG_PEERS_MAX];
    uint8_t book[MEMBERS_ENCODED_MAX];
    int rc = 0;
    if (engine->options.create == RR_CREATE_NEVER)
        return rr_fail(error, RR_E_NOT_BOOTSTRAPPED,
                       "%s holds no group %llu: open it with BOOTSTRAP or JOIN", engine->dir,
                       (unsigned long long)group->options.group_id);
    if (engine->options.create != RR_CREATE_BOOTSTRAP && group->options.restore_from)
        return rr_fail(error, RR_E_INVALID,
                       "restore_from makes the first state of an initial voter: open with "
                       "BOOTSTRAP");
    if (engine->options.create == RR_CREATE_BOOTSTRAP) {
        members_begin(&group->members, group->peers, group->options.peer_count);
        for (uint32_t i = 0; i < group->members.count; i++)
            voters[i] = group->members.list[i].node;
        *metadata = (struct rr_snapshot_metadata){
            .conf_state = {.voters = voters, .voter_count = group->members.count},
            .index = 1,
            .term = 1};
        if (group->options.restore_from) {
            struct rr_snapshot_metadata position;
            rc = snapshot_restore_backup(group, machine, &position, error);
            if (rc != 0)
                return rc;
            metadata->index = position.index;
            metadata->term = position.term;
        }
        first.group_data = book;
        first.group_data_size = (uint32_t)(members_encode(&group->members, book) - book);
        rc = snapshot_take_now(group, machine, &first, error);
    } else {
        log_cache_set_snapshot(&group->log, log_snapshot_new(&first));
        if (!group->log.snapshot)
            rc = rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    }
    log_cache_reset(&group->log, metadata->index, metadata->term);
    group->staged = (struct rr_hard_state){.term = metadata->term, .commit = metadata->index};
    group->must_stage_first_state = true;
    return rc;
}

static int take_log(struct rr_group *group, const struct rr_state_machine *machine,
                    struct rr_error *error)
{
    struct dormant *dormant = &group->entry->dormant;
    if (dormant->log.chunks && group->options.restore_from)
        return rr_fail(error, RR_E_NOT_EMPTY,
                       "%.200s holds group %llu already: a backup is restored into an empty "
                       "directory, or open without restore_from",
                       group->engine->dir, (unsigned long long)group->options.group_id);
    if (!dormant->log.chunks) {
        int rc = log_cache_init(&group->log, &group->engine->log_memory);
        return rc == 0 ? make_first_state(group, machine, error)
                       : rr_fail(error, rc, "out of memory");
    }
    log_cache_take(&group->log, &dormant->log);
    group->staged = dormant->hard_state;
    return 0;
}

/* The state machine has said how far it is; what it lacks up to the snapshot is restored. */
static int meet_state_machine(struct rr_group *group, const struct rr_state_machine *machine,
                              uint64_t applied, struct rr_error *error)
{
    const struct log_snapshot *snapshot = group->log.snapshot;
    uint64_t snapshot_index = snapshot->snapshot.metadata.index;
    if (applied > group->log.last)
        return rr_fail(error, RR_E_CORRUPT,
                       "%s: the state machine has applied index %llu, but the log ends at %llu: "
                       "durable records were lost; replace this node by a new one with a new id",
                       group->engine->dir, (unsigned long long)applied,
                       (unsigned long long)group->log.last);
    int rc = 0;
    if (group->must_stage_first_state)
        rc = 0; /* the snapshot was made of it */
    else if (applied >= snapshot_index)
        rc = snapshot_find_newest(group, error);
    else if (snapshot->kind != LOG_SNAPSHOT_NONE)
        rc = snapshot_restore_newest(group, machine, error);
    if (rc != 0)
        return rc;
    snapshot = group->log.snapshot; /* perhaps an older one */
    snapshot_index = snapshot->snapshot.metadata.index;
    group->applied = rr_max_u64(applied, snapshot_index);
    group->staged.commit = rr_max_u64(group->staged.commit, group->applied);
    group->log.initial = group->staged;
    rc = membership_begin(group);
    return rc == 0 ? 0
                   : rr_fail(error, rc,
                             "%s: the configuration of group %llu cannot be told from its snapshot "
                             "and log: %s; replace this node by a new one with a new id",
                             group->engine->dir, (unsigned long long)group->options.group_id,
                             rr_err_sentence(rc));
}

static int open_log(struct rr_group *group, const struct rr_state_machine *machine,
                    struct rr_error *error)
{
    uint64_t applied = 0;
    int rc = machine->open(machine->ctx, &applied);
    if (rc != 0)
        return rr_fail(error, RR_E_STATE_MACHINE, "the state machine did not open (%d)", rc);
    rc = snapshot_files_open(group, error);
    if (rc == 0)
        rc = take_log(group, machine, error);
    return rc == 0 ? meet_state_machine(group, machine, applied, error) : rc;
}

/* ---- the core ------------------------------------------------------------ */

/* What is in flight to a peer may wait in its send queue, whole: if the window were wider than the
 * queue, a slow peer would be answered by dropped messages and probing instead of by waiting. A
 * quarter is for what entries take on the wire besides their payload. */
static uint64_t inflight_bytes_of(const struct rr_group *group)
{
    uint64_t queue = group->engine->options.peer_queue_bytes_max;
    uint64_t window = rr_min_u64(group->options.max_inflight_bytes, queue / 4 * 3);
    return rr_max_u64(window, group->options.max_size_per_msg);
}

/* How much may wait for the state machine: what it keeps in memory must leave room for what is
 * logged meanwhile. */
static uint64_t apply_bytes_of(const struct rr_group *group)
{
    const struct rr_group_options *options = &group->options;
    uint64_t wanted =
        rr_min_u64(options->max_committed_bytes_per_ready, options->apply_backlog_bytes);
    return rr_min_u64(wanted, group->engine->options.log_cache_bytes / 2);
}

static int start_core(struct rr_group *group, struct rr_error *error)
{
    const struct rr_group_options *options = &group->options;
    /* Not the same for all groups, or they would elect the same leader together. */
    group->leadership.chance = group->engine->core_seed ^ (options->group_id * 0x9e3779b97f4a7c15u);
    struct rr_config config = {
        .size = sizeof(config),
        .id = group->engine->options.node_id,
        .election_tick = (int32_t)options->election_ticks,
        .heartbeat_tick = (int32_t)options->heartbeat_ticks,
        .storage = log_cache_storage(&group->log),
        .applied = group->applied,
        .max_size_per_msg = options->max_size_per_msg,
        .max_committed_size_per_ready = apply_bytes_of(group),
        .max_uncommitted_entries_size = options->max_uncommitted_bytes,
        .max_inflight_msgs = (int32_t)options->max_inflight_msgs,
        .max_inflight_bytes = inflight_bytes_of(group),
        .async_storage_writes = true,
        .check_quorum = true,
        .pre_vote = true,
        .disable_proposal_forwarding = true, /* so that "certainly not in the log" is true */
        /* A removed leader hands over first (membership.c). */
        .step_down_on_removal = false,
        .allocator = group_heap,
        .jitter = leadership_jitter,
        .jitter_ctx = group,
    };
    const char *reason = NULL;
    int rc = rr_raw_node_new(&config, &group->node, &reason);
    return rc == 0 ? 0 : rr_fail(error, rc, "the core did not start: %s", reason ? reason : "?");
}

static void came_back(struct apply *apply)
{
    struct rr_group *group = RR_CONTAINER_OF(apply, struct rr_group, apply);
    engine_touch(group->engine, group);
}

static int start_stages(struct rr_group *group, const struct rr_state_machine *machine,
                        struct rr_error *error)
{
    const struct rr_group_options *options = &group->options;
    struct apply_options apply = {.io = group->engine->io,
                                  .came_back = came_back,
                                  .is_inline = options->apply_inline,
                                  .state_machine = *machine,
                                  .hash_entries = options->hash_entries,
                                  .on_complete = options->on_complete,
                                  .ctx = options->ctx};
    apply_init(&group->apply, &apply, group->applied);
    /* A tag is held from the append to the hand-over for apply: several batches at once. */
    int rc = outcomes_init(&group->outcomes,
                           (uint32_t)rr_max_u64(2 * options->proposal_queue_entries, 1024));
    if (rc == 0)
        rc = held_init(&group->held);
    if (rc == 0)
        rc = proposal_queue_init(&group->queue, options->proposal_queue_entries,
                                 options->proposal_queue_bytes);
    if (rc == 0)
        rc = reads_init(&group->reads, options->read_queue_entries);
    return rc == 0 ? 0 : rr_fail(error, rc, "out of memory for the group's queues");
}

/* ---- the door ------------------------------------------------------------ */

/* The group's part of the budget; a queue that nobody asked for is as large as that allows. */
static int claim_memory(struct rr_group *group, const struct rr_group_options *given,
                        struct rr_error *error)
{
    struct memory_budget *memory = &group->engine->memory;
    size_t end = offsetof(struct rr_group_options, proposal_queue_bytes) + sizeof(uint64_t);
    if (given->size < end || given->proposal_queue_bytes == 0)
        group->options.proposal_queue_bytes = memory_default_queue(memory, &group->engine->options);
    int rc = memory_claim_group(memory, &group->options, error);
    group->has_claim = rc == 0;
    return rc;
}

static int make_group(struct rr_group *group, const struct rr_group_options *options,
                      const struct rr_state_machine *machine, struct rr_error *error)
{
    int rc = config_resolve_group(options, &group->engine->options, &group->options, error);
    if (rc == 0)
        rc = check_state_machine(group, machine, error);
    if (rc == 0)
        rc = claim_memory(group, options, error);
    if (rc != 0)
        return rc;
    group->tick_ns = (uint64_t)group->options.tick_ms * 1000 * 1000;
    group->open_command.run = group_adopt;
    if (copy_peers(group) != 0)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    struct registry *registry = &group->engine->registry;
    rc = registry_claim(registry, group->options.group_id, &group->entry, error);
    if (rc != 0) {
        group->entry = NULL; /* it is not ours */
        return rc;
    }
    rc = open_log(group, machine, error);
    if (rc == 0)
        rc = start_stages(group, machine, error);
    return rc == 0 ? start_core(group, error) : rc;
}

/* What the directory holds of the group stays; another attempt may follow. */
static void give_log_back(struct rr_group *group)
{
    struct registry_entry *entry = group->entry;
    if (!group->log.snapshot || group->must_stage_first_state)
        return; /* it held nothing */
    entry->dormant.hard_state = group->staged;
    log_cache_take(&entry->dormant.log, &group->log);
}

int rr_group_open(struct rr_engine *engine, const struct rr_group_options *options,
                  const struct rr_state_machine *state_machine, struct rr_group **group,
                  struct rr_error *error)
{
    *group = NULL;
    struct rr_group *made = aligned_alloc(64, rr_align_up(sizeof(*made), 64));
    if (!made)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    memset(made, 0, sizeof(*made));
    made->engine = engine;
    int rc = make_group(made, options, state_machine, error);
    if (rc != 0) {
        struct registry_entry *entry = made->entry;
        if (entry)
            give_log_back(made);
        group_free(made);
        if (entry)
            registry_release(&engine->registry, entry);
        return rc;
    }
    group_publish_first_status(made);
    made->shell = registry_open(&engine->registry, made->entry, made);
    *group = made;
    engine_post(engine, &made->open_command);
    return 0;
}

int rr_propose(struct rr_group *group, const void *data, uint32_t size, uint64_t tag)
{
    struct rr_proposal item = {.data = data, .size = size, .tag = tag};
    int rc = rr_propose_batch(group, &item, 1);
    return rc < 0 ? rc : 0;
}

int rr_propose_batch(struct rr_group *group, const struct rr_proposal *items, uint32_t count)
{
    uint32_t fitting = 0;
    while (fitting < count && items[fitting].size <= group->engine->options.entry_bytes_max)
        fitting++;
    if (RR_UNLIKELY(fitting == 0))
        return count ? RR_E_TOO_LARGE : RR_E_INVALID;
    bool wake;
    int rc = proposal_queue_push(&group->queue, items, fitting, &wake);
    if (wake)
        engine_call(group->engine, group);
    return rc;
}

int rr_group_status(struct rr_group *group, struct rr_group_status *status)
{
    struct rr_group_status whole;
    size_t size = status->size;
    if (size < sizeof(size_t) || size > sizeof(whole))
        return RR_E_INVALID;
    status_read(&group->status, &whole);
    memcpy(status, &whole, size);
    status->size = size;
    return 0;
}
