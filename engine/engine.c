/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing an engine: options, lock, identity, log, transport, loop, in this order; and
 * back. Cold.
 */
#include "engine/engine_state.h"

#include "engine/config.h"
#include "engine/group.h"
#include "engine/recovery.h"
#include "io/address.h"
#include "io/backend.h"
#include "proto/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_WRITE_BYTES_MIN (64u * 1024)
#define MS                     (1000ull * 1000)

void engine_log(struct rr_engine *engine, int level, const char *format, ...)
{
    if (!engine->options.log)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    engine->options.log(engine->options.log_ctx, level, line);
}

/* ---- the WAL's and the transport's handlers: they record ----------------- */

static void on_durable(void *ctx, uint64_t durable_seq)
{
    (void)ctx; /* the turn that follows asks wal_durable_seq */
    (void)durable_seq;
}

static void on_poisoned(void *ctx, int err)
{
    ((struct rr_engine *)ctx)->poisoned = err ? err : RR_E_POISONED;
}

/* What a group acknowledged is lost here, whether it is open or not. */
static RR_COLD void on_damage(void *ctx, uint64_t id, const struct rr_error *error)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, id);
    engine_log(engine, ENGINE_LOG_ERROR, "%s", error->message);
    if (!group) {
        registry_note_damage(&engine->registry, id);
        return;
    }
    group_stop(group, RR_E_CORRUPT);
    group->error = RR_E_CORRUPT; /* whatever it stopped for before */
    engine_touch(engine, group);
}

static int on_check_peer(void *ctx, const struct transport_peer *peer)
{
    struct rr_engine *engine = ctx;
    int rc =
        peers_check(&engine->peers, engine->wal, peer, membership_standing(engine, peer->node));
    if (rc == RR_E_INSTANCE && transport_peer_refusal(engine->transport, peer->node) != rc)
        engine_log(engine, ENGINE_LOG_ERROR,
                   "node %llu is refused: it comes from an older copy of its directory, or from "
                   "another one; remove it from its groups and add a new node with a new id",
                   (unsigned long long)peer->node);
    return rc;
}

static uint64_t on_ask_peer(void *ctx, const struct transport_peer *peer)
{
    return peers_ask(&((struct rr_engine *)ctx)->peers, peer);
}

static uint64_t on_past_nonce(void *ctx, uint64_t boot)
{
    return lineage_nonce(&((struct rr_engine *)ctx)->lineage, boot);
}

static void on_peer_up(void *ctx, uint64_t node)
{
    struct rr_engine *engine = ctx;
    engine_log(engine, ENGINE_LOG_INFO, "connected to node %llu", (unsigned long long)node);
    membership_peer_up(engine, node);
}

/* This directory is not the newest that its peers know: it may have forgotten votes and entries. */
static RR_COLD void on_refused(void *ctx, uint64_t node, int err)
{
    struct rr_engine *engine = ctx;
    if (err == RR_E_REMOVED)
        membership_refused(engine, node);
    if (err != RR_E_INSTANCE || engine->peers.is_fenced)
        return;
    struct wal_peer own = {.node = engine->options.node_id,
                           .instance = engine->identity.instance,
                           .boot = wal_boot(engine->wal),
                           .nonce = engine->lineage.nonce};
    int rc = peers_fence(&engine->peers, engine->wal, &own);
    engine_log(engine, ENGINE_LOG_ERROR,
               "node %llu refuses this directory as an older copy or another instance of node "
               "%llu: it stops here and %s",
               (unsigned long long)node, (unsigned long long)own.node,
               rc == 0 ? "will not open again" : "cannot record that");
    struct rr_group *group;
    uint32_t at = 0;
    while ((group = id_map_each(&engine->groups, &at))) {
        group_stop(group, RR_E_INSTANCE);
        engine_touch(engine, group);
    }
}

static void on_hash(void *ctx, uint64_t from, uint64_t group_id, const struct frame_hash *hash)
{
    struct rr_engine *engine = ctx;
    struct rr_group *group = id_map_find(&engine->groups, group_id);
    if (!group || group->error)
        return;
    group_receive_hash(group, from, hash);
    engine_touch(engine, group);
}

/* ---- opening ------------------------------------------------------------- */

static uint64_t random_not_zero(struct io *io)
{
    uint64_t number;
    do
        number = io->ops->random(io);
    while (number == 0);
    return number;
}

static struct wal_options wal_options_of(struct rr_engine *engine)
{
    const struct rr_engine_options *options = &engine->options;
    return (struct wal_options){.io = engine->io,
                                .dir = engine->dir,
                                .instance_id = engine->identity.instance,
                                .segment_bytes = options->segment_bytes,
                                .wal_bytes_max = options->wal_bytes_max,
                                .write_bytes_max = options->wal_write_bytes_max,
                                .second_write_bytes_min = SECOND_WRITE_BYTES_MIN,
                                .mark_delay_ns = options->mark_delay_ms * MS,
                                .nonce = engine->lineage.nonce,
                                .forbids_moved =
                                    engine->identity.feature_level < IDENTITY_DIRECTORY_LEVEL,
                                .ctx = engine,
                                .on_durable = on_durable,
                                .on_poisoned = on_poisoned,
                                .on_damage = on_damage};
}

/* The process that named these files may have died before it made the names durable. */
static int keep_names(struct rr_engine *engine, struct rr_error *error)
{
    int err = engine->io->ops->sync_dir(engine->io, engine->dir);
    return err == 0 ? 0
                    : rr_fail(error, RR_E_IO, "%s: the directory cannot be made durable (%d)",
                              engine->dir, err);
}

/* The directory's identity, made if it is empty and the caller asked for that. The log comes first:
 * an identity says that it is there. */
static int open_identity(struct rr_engine *engine, struct rr_error *error)
{
    struct io *io = engine->io;
    struct identity asked = {.cluster = engine->options.cluster_id,
                             .node = engine->options.node_id,
                             .format = IDENTITY_FORMAT,
                             .feature_level = IDENTITY_DIRECTORY_LEVEL,
                             .loop_count = 1};
    int rc = identity_read(io, engine->dir, &engine->identity, error);
    if (rc == 0) {
        rc = identity_check(&engine->identity, &asked, engine->dir, error);
        if (rc == 0 && engine->identity.feature_level < IDENTITY_DIRECTORY_LEVEL_MIN) {
            /* From here on it may hold what an older build would take for damage. */
            engine->identity.feature_level = IDENTITY_DIRECTORY_LEVEL_MIN;
            rc = identity_write(io, engine->dir, &engine->identity, error);
        }
        return rc == 0 ? keep_names(engine, error) : rc;
    }
    if (rc != RR_E_NOT_FOUND)
        return rc;
    if (engine->options.create == RR_CREATE_NEVER)
        return rr_fail(
            error, RR_E_NOT_BOOTSTRAPPED,
            "%s holds no node: open it with BOOTSTRAP (an initial voter of a new cluster) or "
            "JOIN (a node that an existing cluster adds)",
            engine->dir);
    asked.instance = random_not_zero(io);
    engine->identity = asked;
    struct wal_options options = wal_options_of(engine);
    rc = wal_create(&options, error);
    return rc == 0 ? identity_write(io, engine->dir, &engine->identity, error) : rc;
}

static int open_wal(struct rr_engine *engine, struct rr_error *error)
{
    engine->peers.self = engine->options.node_id;
    engine->lineage.io = engine->io;
    engine->lineage.dir = engine->dir;
    engine->lineage.instance = engine->identity.instance;
    struct recovery recovery = {.peers = &engine->peers,
                                .registry = &engine->registry,
                                .lineage = &engine->lineage,
                                .cache_bytes_max = engine->options.log_cache_bytes};
    struct wal_options options = wal_options_of(engine);
    struct wal_recovery handlers = recovery_handlers(&recovery);
    int rc = wal_open(&options, &handlers, &engine->wal, error);
    if (rc == 0)
        rc = recovery_finish(&recovery, engine->dir, error);
    recovery_fini(&recovery);
    if (rc == RR_E_INSTANCE)
        return rr_fail(error, rc,
                       "%.300s: its peers refused this directory as an older copy or another "
                       "instance of node %llu, which may have forgotten votes and entries; nothing "
                       "was changed; replace this node by a new one with a new id",
                       engine->dir, (unsigned long long)engine->options.node_id);
    return rc;
}

/* Entry.Data is the user's bytes and the envelope, or a conf change. */
static uint32_t entry_bytes_max(const struct rr_engine_options *given)
{
    return (uint32_t)rr_max_u64(given->entry_bytes_max + 1, MEMBERS_CHANGE_MAX);
}

static int open_transport(struct rr_engine *engine, struct rr_error *error)
{
    const struct rr_engine_options *given = &engine->options;
    struct transport_options options = {.io = engine->io,
                                        .identity = engine->identity,
                                        .boot = wal_boot(engine->wal),
                                        .nonce = engine->lineage.nonce,
                                        .allow_insecure = given->insecure,
                                        .limits = {.entry_bytes_max = entry_bytes_max(given),
                                                   .frame_bytes_max = given->frame_bytes_max},
                                        .send_queue_bytes_max = given->peer_queue_bytes_max,
                                        .block_bytes_max = engine->memory.transport_max,
                                        .ctx = engine,
                                        .check_peer = on_check_peer,
                                        .ask_peer = on_ask_peer,
                                        .past_nonce = on_past_nonce,
                                        .on_message = loop_on_message,
                                        .on_peer_up = on_peer_up,
                                        .on_peer_down = loop_on_peer_down,
                                        .on_refused = on_refused,
                                        .on_address = membership_on_address,
                                        .on_notice = membership_on_notice,
                                        .on_hash = on_hash,
                                        .run_crc = wal_run_crc};
    options.identity.feature_level = IDENTITY_FEATURE_LEVEL; /* of this build */
    int rc = io_address_parse(given->listen, &options.listen, error);
    if (rc == 0 && given->advertise)
        rc = io_address_parse(given->advertise, &options.advertise, error);
    if (rc == 0)
        rc = transport_open(&options, &engine->transport, error);
    return rc == 0 ? snapshot_transfers_open(engine, error) : rc;
}

static int start_loop(struct rr_engine *engine, struct rr_error *error)
{
    struct io *io = engine->io;
    engine->snapshot_worker = io->ops->worker_new(io, "snapshot");
    if (!engine->snapshot_worker)
        return rr_fail(error, RR_E_NO_MEMORY, "the snapshot thread could not be made");
    int rc = engine->options.embedded ? io->ops->embed(io, loop_turn, engine)
                                      : io->ops->start(io, loop_turn, engine);
    engine->loop_fd = rc;
    return rc >= 0 ? 0 : rr_fail(error, RR_E_IO, "the loop did not start (%d)", rc);
}

static int copy_options(struct rr_engine *engine, const struct rr_engine_options *options,
                        struct rr_error *error)
{
    int rc = config_resolve_engine(options, &engine->options, error);
    if (rc != 0)
        return rc;
    engine->dir = strdup(engine->options.dir);
    engine->options.dir = engine->dir;
    return engine->dir ? 0 : rr_fail(error, RR_E_NO_MEMORY, "out of memory");
}

/* What their threads still have to tell is told before anything goes. */
static void stop_workers(struct rr_engine *engine)
{
    const struct registry_entry *entry;
    uint32_t at = 0;
    while ((entry = id_map_each(&engine->registry.entries, &at)))
        if (entry->group)
            group_stop_worker(entry->group);
    if (engine->snapshot_worker)
        engine->io->ops->worker_free(engine->snapshot_worker);
}

/* All groups that were opened, those too that the loop never heard of. */
static void free_groups(struct rr_engine *engine)
{
    struct registry_entry *entry;
    uint32_t at = 0;
    while ((entry = id_map_each(&engine->registry.entries, &at)))
        if (entry->group)
            group_free(entry->group);
    registry_fini(&engine->registry);
    id_map_fini(&engine->groups);
    log_memory_fini(&engine->log_memory);
    free(engine->scratch);
}

/* Everything but the loop, in the reverse order of opening; what was not opened is NULL. */
static void free_parts(struct rr_engine *engine)
{
    struct io *io = engine->io;
    stop_workers(engine);
    snapshot_streams_free(engine->streams);
    if (engine->transport) /* before the groups: what it still meant to send lies in their logs */
        transport_free(engine->transport);
    free_groups(engine);
    if (engine->wal)
        wal_free(engine->wal);
    lineage_fini(&engine->lineage);
    if (engine->lock_fd >= 0)
        io->ops->close(io, engine->lock_fd);
    if (engine->owns_io)
        io_close_backend(io);
    free(engine->dir);
    free(engine);
}

int engine_open_on(struct io *io, const struct rr_engine_options *options,
                   struct rr_engine **engine, struct rr_error *error)
{
    *engine = NULL;
    struct rr_engine *made = calloc(1, sizeof(*made));
    if (!made)
        return rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    made->io = io;
    made->lock_fd = -1;
    made->busy_end = &made->busy;
    made->next_tick_ns = UINT64_MAX;
    registry_init(&made->registry, &made->log_memory);
    made->lineage.nonce = random_not_zero(io);
    made->core_seed = random_not_zero(io);
    int rc = copy_options(made, options, error);
    if (rc == 0)
        rc = memory_budget_init(&made->memory, &made->options, error);
    if (rc == 0 && !(made->scratch = malloc(sizeof(*made->scratch))))
        rc = rr_fail(error, RR_E_NO_MEMORY, "out of memory");
    if (rc == 0)
        rc = identity_lock(io, made->dir, &made->lock_fd, error);
    if (rc == 0)
        rc = open_identity(made, error);
    if (rc == 0)
        rc = open_wal(made, error);
    if (rc == 0)
        rc = open_transport(made, error);
    if (rc == 0)
        rc = start_loop(made, error);
    if (rc != 0) {
        io->ops->join(io); /* the transport may have submitted something already */
        free_parts(made);
        return rc;
    }
    *engine = made;
    return 0;
}

int rr_engine_open(const struct rr_engine_options *options, struct rr_engine **engine,
                   struct rr_error *error)
{
    *engine = NULL;
    struct rr_engine_options checked;
    int rc = config_resolve_engine(options, &checked, error);
    if (rc != 0)
        return rc;
    struct io *io;
    char notice[256];
    rc = io_open_backend((int)checked.backend, &io, notice, sizeof(notice), error);
    if (rc != 0)
        return rc;
    rc = engine_open_on(io, options, engine, error);
    if (rc != 0) {
        io_close_backend(io);
        return rc;
    }
    (*engine)->owns_io = true;
    if (notice[0])
        engine_log(*engine, ENGINE_LOG_WARN, "%s", notice);
    return 0;
}

/* ---- closing ------------------------------------------------------------- */

struct close_command {
    struct command command;
    enum rr_close_mode mode;
};

static void close_on_loop(struct rr_engine *engine, struct command *command)
{
    struct close_command *close = RR_CONTAINER_OF(command, struct close_command, command);
    struct rr_group *group;
    uint32_t at = 0;
    uint64_t patience_ns = 100 * MS;
    while ((group = id_map_each(&engine->groups, &at))) {
        proposal_queue_close(&group->queue);
        reads_close(&group->reads);
        engine_touch(engine, group);
        patience_ns = rr_max_u64(patience_ns, group_patience_ns(group));
    }
    engine->phase = ENGINE_DRAINING;
    engine->close_deadline_ns = engine->now_ns + (close->mode == RR_CLOSE_DRAIN ? patience_ns : 0);
}

int rr_engine_close(struct rr_engine *engine, enum rr_close_mode mode)
{
    if (!engine)
        return 0;
    if (!engine->io->ops->may_wait(engine->io))
        return RR_E_WRONG_THREAD;
    struct close_command close = {.command.run = close_on_loop, .mode = mode};
    engine_post(engine, &close.command);
    engine->io->ops->join(engine->io);
    int rc = engine->poisoned ? RR_E_POISONED : 0;
    free_parts(engine);
    return rc;
}

void engine_abandon(struct rr_engine *engine)
{
    engine->io->ops->join(engine->io);
    free_parts(engine);
}

void engine_observe(struct rr_engine *engine, const struct engine_observer *observer)
{
    engine->observer = *observer;
}
