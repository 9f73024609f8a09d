/* SPDX-License-Identifier: Apache-2.0
 *
 * A quorum is lost for good: a survivor's directory becomes the first node of a new cluster. Cold;
 * no group is open, nobody is dialled.
 *
 * First the identity gets the new cluster's id: from then on neither the old members nor those that
 * others force out of the same cluster talk to this node, so that a crash between this and the end
 * leaves a node without a quorum, to be forced again. Then each group's state is staged anew, with
 * this node as its only voter and with all conf changes of its log void; the call returns when that
 * is durable. Terms, votes, entries and snapshots stay as they are: what was not committed is
 * committed by this node's own election.
 */
#include "engine/group.h"

#include "engine/log_rewrite.h"
#include "io/backend.h"
#include "proto/base.h"
#include "raft/confchange.h"

typedef unsigned long long ull;

/* Fits the smallest segments that a directory may have. */
#define WRITE_BYTES_MAX (16u * 1024)

/* ---- a group ------------------------------------------------------------- */

static int force_group(struct rr_engine *engine, struct registry_entry *entry)
{
    struct log_cache *log = &entry->dormant.log;
    const struct log_snapshot *old = log->snapshot;
    struct tracker tracker = {.allocator = group_heap, .max_inflight_msgs = 1};
    uint64_t self = engine->options.node_id;
    uint8_t book[MEMBERS_ENCODED_MAX];
    struct members members;
    if (old->kind == LOG_SNAPSHOT_NONE && log->last == 0)
        return 0; /* it never had a configuration */
    members_init(&members);
    int rc = 0;
    if (confchange_restore(&tracker, &old->snapshot.metadata.conf_state, 0))
        rc = RR_E_CORRUPT;
    if (rc == 0 && old->group_data_size)
        rc = members_decode(&members, old->group_data, old->group_data_size);
    if (rc == 0)
        rc = membership_replay(log, log->last, &tracker, &members);
    if (rc == 0 && members_is_removed(&members, self))
        rc = RR_E_REMOVED;
    if (rc == 0)
        rc = members_force(&members, self, log->last, engine->options.cluster_id);
    struct log_snapshot forced = *old, *made = NULL;
    forced.snapshot.metadata.conf_state = (struct rr_conf_state){.voters = &self, .voter_count = 1};
    forced.group_data = book;
    forced.group_data_size = (uint32_t)(members_encode(&members, book) - book);
    if (rc == 0 && !(made = log_snapshot_new(&forced)))
        rc = RR_E_NO_MEMORY;
    if (rc == 0) {
        log_cache_set_snapshot(log, made);
        rc = log_stage_state(log, entry->id, &entry->dormant.hard_state, engine->wal);
    }
    members_fini(&members);
    tracker_fini(&tracker);
    return rc;
}

/* ---- on the loop --------------------------------------------------------- */

struct force {
    struct command command;
    struct io_gate gate;
    uint64_t group; /* that failed */
    uint64_t seq;   /* done when this is durable */
    int result;
    bool is_durable;
};

static void stage(struct rr_engine *engine, struct command *command)
{
    struct force *force = RR_CONTAINER_OF(command, struct force, command);
    struct registry_entry *entry;
    uint32_t at = 0;
    while (force->result == 0 && (entry = id_map_each(&engine->registry.entries, &at))) {
        force->group = entry->id;
        force->result = force_group(engine, entry);
    }
    force->seq = wal_staged_seq(engine->wal);
    engine->io->ops->gate_open(engine->io, &force->gate);
}

static void look(struct rr_engine *engine, struct command *command)
{
    struct force *force = RR_CONTAINER_OF(command, struct force, command);
    force->is_durable = wal_durable_seq(engine->wal) >= force->seq;
    force->result = engine->poisoned ? RR_E_POISONED : 0;
    engine->io->ops->gate_open(engine->io, &force->gate);
}

/* One turn of the loop. False: the loop has ended. */
static bool turn(struct rr_engine *engine, struct force *force,
                 void (*run)(struct rr_engine *engine, struct command *command))
{
    force->command = (struct command){.run = run};
    force->gate = (struct io_gate){0};
    engine_post(engine, &force->command);
    return engine->io->ops->gate_wait(engine->io, &force->gate);
}

static int force_groups(struct rr_engine *engine, struct rr_error *error)
{
    struct force force = {.result = 0};
    bool is_alive = turn(engine, &force, stage);
    if (is_alive && force.result != 0)
        return rr_fail(error, force.result, "%s: group %llu cannot be forced: %s", engine->dir,
                       (ull)force.group, rr_err_sentence(force.result));
    while (is_alive && force.result == 0 && !force.is_durable)
        is_alive = turn(engine, &force, look);
    if (!is_alive || force.result != 0)
        return rr_fail(error, RR_E_POISONED,
                       "%s: the new configuration could not be made durable; force it again",
                       engine->dir);
    return 0;
}

/* ---- the door ------------------------------------------------------------ */

static int rename_cluster(struct io *io, const struct rr_force_options *options,
                          struct rr_error *error)
{
    struct identity identity;
    int lock_fd = -1;
    int rc = identity_lock(io, options->dir, &lock_fd, error);
    if (rc != 0)
        return rc;
    rc = identity_read(io, options->dir, &identity, error);
    if (rc == 0 &&
        (identity.node != options->node_id ||
         (identity.cluster != options->cluster_id && identity.cluster != options->new_cluster_id)))
        rc = rr_fail(error, RR_E_IDENTITY, "%s belongs to node %llu of cluster %llu", options->dir,
                     (ull)identity.node, (ull)identity.cluster);
    if (rc == 0 && identity.cluster != options->new_cluster_id) {
        identity.cluster = options->new_cluster_id;
        rc = identity_write(io, options->dir, &identity, error);
    }
    io->ops->close(io, lock_fd);
    return rc;
}

static int check(const struct rr_force_options *options, struct rr_error *error)
{
    if (!options || options->size != sizeof(*options))
        return rr_fail(error, RR_E_INVALID, "set .size of the options to their sizeof (%zu)",
                       sizeof(*options));
    if (!options->dir || !options->dir[0])
        return rr_fail(error, RR_E_INVALID, "no data directory: set .dir");
    if (options->new_cluster_id == 0 || options->new_cluster_id == options->cluster_id)
        return rr_fail(error, RR_E_INVALID,
                       "the new cluster needs an id of its own: set .new_cluster_id");
    return 0;
}

int engine_force_on(struct io *io, const struct rr_force_options *options, const char *listen,
                    struct rr_error *error)
{
    int rc = check(options, error);
    if (rc == 0)
        rc = rename_cluster(io, options, error);
    if (rc != 0)
        return rc;
    const struct rr_engine_options engine_options = {.size = sizeof(engine_options),
                                                     .dir = options->dir,
                                                     .listen = listen,
                                                     .wal_write_bytes_max = WRITE_BYTES_MAX,
                                                     .cluster_id = options->new_cluster_id,
                                                     .node_id = options->node_id};
    struct rr_engine *engine;
    rc = engine_open_on(io, &engine_options, &engine, error);
    if (rc != 0)
        return rc;
    rc = force_groups(engine, error);
    int end = rr_engine_close(engine, RR_CLOSE_DRAIN);
    return rc == 0 && end != 0 ? rr_fail(error, end, "%s: %s", options->dir, rr_err_sentence(end))
                               : rc;
}

int rr_force_new_cluster(const struct rr_force_options *options, struct rr_error *error)
{
    struct io *io;
    char notice[256];
    int rc = check(options, error);
    if (rc == 0)
        rc = io_open_backend(RR_BACKEND_AUTO, &io, notice, sizeof(notice), error);
    if (rc != 0)
        return rc;
    rc = engine_force_on(io, options, "127.0.0.1:0", error);
    io_close_backend(io);
    return rc;
}
