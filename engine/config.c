/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/config.h"

#include "io/address.h"
#include "io/snapshot_stream.h"
#include "proto/base.h"

#include <string.h>

#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

/* One number of an options struct: where it lies, what 0 means, and what is accepted. */
struct limit {
    const char *name;
    size_t offset;
    size_t width;
    uint64_t standard;
    uint64_t min;
    uint64_t max;
};

#define LIMIT(type, field, standard, min, max)                                                     \
    {                                                                                              \
#field, offsetof(struct type, field), sizeof(((struct type *)0)->field), standard, min,    \
            max                                                                                    \
    }

static const struct limit engine_limits[] = {
    LIMIT(rr_engine_options, segment_bytes, 64 * MIB, 64 * KIB, 1 * GIB),
    LIMIT(rr_engine_options, wal_bytes_max, 4 * GIB, 256 * KIB, 1024 * GIB),
    LIMIT(rr_engine_options, wal_write_bytes_max, 1 * MIB, 8 * KIB, 16 * MIB),
    LIMIT(rr_engine_options, mark_delay_ms, 100, 1, 60 * 1000),
    LIMIT(rr_engine_options, entry_bytes_max, 1 * MIB, 64, 8 * MIB),
    LIMIT(rr_engine_options, frame_bytes_max, 16 * MIB, 64 * KIB, 64 * MIB),
    LIMIT(rr_engine_options, log_cache_bytes, 256 * MIB, 64 * KIB, 64 * GIB),
    LIMIT(rr_engine_options, memory_bytes_max, 2 * GIB, 64 * MIB, 1024 * GIB),
    LIMIT(rr_engine_options, peer_queue_bytes_max, 4 * MIB, 64 * KIB, 1 * GIB),
    LIMIT(rr_engine_options, snapshot_send_bytes_per_second, 64 * MIB, 64 * KIB, 16 * GIB),
    LIMIT(rr_engine_options, snapshot_sends_max, 2, 1, SNAPSHOT_TRANSFERS_MAX),
};

static const struct limit group_limits[] = {
    LIMIT(rr_group_options, tick_ms, 25, 1, 10 * 1000),
    LIMIT(rr_group_options, heartbeat_ticks, 2, 1, 1000),
    LIMIT(rr_group_options, election_ticks, 20, 2, 10 * 1000),
    LIMIT(rr_group_options, max_size_per_msg, 256 * KIB, 1 * KIB, 1 * MIB),
    LIMIT(rr_group_options, max_inflight_msgs, 256, 1, 64 * KIB),
    LIMIT(rr_group_options, max_inflight_bytes, 16 * MIB, 1 * KIB, 4 * GIB),
    LIMIT(rr_group_options, max_uncommitted_bytes, 64 * MIB, 1 * KIB, 64 * GIB),
    LIMIT(rr_group_options, max_committed_bytes_per_ready, 1 * MIB, 1 * KIB, 256 * MIB),
    LIMIT(rr_group_options, batch_wait_max_us, 2000, 1, 1000 * 1000),
    LIMIT(rr_group_options, proposal_queue_entries, 64 * KIB, 2, 16 * MIB),
    LIMIT(rr_group_options, proposal_queue_bytes, 64 * MIB, 1 * KIB, 8 * GIB),
    LIMIT(rr_group_options, proposal_timeout_ms, 0, 1, 24 * 3600 * 1000),
    LIMIT(rr_group_options, read_queue_entries, 16 * KIB, 2, 1 * MIB),
    LIMIT(rr_group_options, apply_backlog_bytes, 64 * MIB, 1 * KIB, 64 * GIB),
    LIMIT(rr_group_options, hash_entries, 0, 1, 1 * GIB),
    LIMIT(rr_group_options, snapshot_log_bytes, 64 * MIB, 16 * KIB, 64 * GIB),
    LIMIT(rr_group_options, snapshot_entries, 0, 1, UINT64_MAX / 4),
    LIMIT(rr_group_options, trailing_entries, 0, 1, UINT64_MAX / 4),
};

static uint64_t get_number(const char *options, const struct limit *limit)
{
    RR_ASSERT(limit->width == 4 || limit->width == 8);
    if (limit->width == 8)
        return *(const uint64_t *)(const void *)(options + limit->offset);
    return *(const uint32_t *)(const void *)(options + limit->offset);
}

static void set_number(char *options, const struct limit *limit, uint64_t value)
{
    if (limit->width == 8)
        *(uint64_t *)(void *)(options + limit->offset) = value;
    else
        *(uint32_t *)(void *)(options + limit->offset) = (uint32_t)value;
}

static int apply_limits(void *options, const struct limit *limits, size_t count,
                        struct rr_error *error)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value = get_number(options, &limits[i]);
        if (value == 0)
            set_number(options, &limits[i], limits[i].standard);
        else if (value < limits[i].min || value > limits[i].max)
            return rr_fail(error, RR_E_INVALID, "%s is %llu; it must lie between %llu and %llu",
                           limits[i].name, (unsigned long long)value,
                           (unsigned long long)limits[i].min, (unsigned long long)limits[i].max);
    }
    return 0;
}

/* Both option structs begin with their size, so that a caller built against an older header still
 * works. */
static int copy_sized(void *to, size_t to_size, const void *from, size_t from_size,
                      struct rr_error *error)
{
    if (from_size < sizeof(size_t) || from_size > to_size)
        return rr_fail(error, RR_E_INVALID,
                       "options of %zu bytes: set .size = sizeof(options); this library knows %zu",
                       from_size, to_size);
    memset(to, 0, to_size);
    memcpy(to, from, from_size);
    return 0;
}

int config_check_address(const char *text, bool is_insecure_ok, struct rr_error *error)
{
    struct io_address address;
    if (!text)
        return rr_fail(error, RR_E_INVALID, "an address is missing, e.g. 127.0.0.1:7001");
    int rc = io_address_parse(text, &address, error);
    if (rc != 0)
        return rc;
    if (!io_address_is_loopback(&address) && !is_insecure_ok)
        return rr_fail(error, RR_E_BAD_ADDRESS,
                       "%s is off loopback and there is no TLS yet: set .insecure to accept that",
                       text);
    return 0;
}

bool config_is_node_id(uint64_t id)
{
    return id != RR_NONE && id < RR_LOCAL_APPLY_THREAD;
}

static int check_advertised(const struct rr_engine_options *options, struct rr_error *error)
{
    struct io_address address;
    int rc = config_check_address(options->advertise, options->insecure, error);
    if (rc == 0)
        rc = io_address_parse(options->advertise, &address, error);
    if (rc == 0 && (address.ip == 0 || address.port == 0))
        rc = rr_fail(error, RR_E_BAD_ADDRESS,
                     "%s cannot be dialled: .advertise names an address and a port of this machine",
                     options->advertise);
    return rc;
}

static int check_who_and_where(const struct rr_engine_options *options, struct rr_error *error)
{
    if (!options->dir || !options->dir[0])
        return rr_fail(error, RR_E_INVALID, "no data directory: set .dir");
    if (!options->listen)
        return rr_fail(error, RR_E_INVALID,
                       "no address for peers: set .listen, e.g. 127.0.0.1:7001");
    if (!config_is_node_id(options->node_id))
        return rr_fail(error, RR_E_INVALID,
                       "node_id may not be 0 or one of the two highest numbers");
    if (options->cluster_id == 0)
        return rr_fail(error, RR_E_INVALID, "cluster_id may not be 0");
    if (options->create > RR_CREATE_JOIN)
        return rr_fail(error, RR_E_INVALID, "create is %d: no such mode", (int)options->create);
    int rc = config_check_address(options->listen, options->insecure, error);
    return rc == 0 && options->advertise ? check_advertised(options, error) : rc;
}

/* How the sizes hang together: an entry has to fit into a write, a segment and a frame. */
static int check_sizes(const struct rr_engine_options *options, struct rr_error *error)
{
    if (options->segment_bytes % (4 * KIB))
        return rr_fail(error, RR_E_INVALID, "segment_bytes must be a multiple of 4096");
    if (options->wal_write_bytes_max > options->segment_bytes / 4)
        return rr_fail(error, RR_E_INVALID,
                       "wal_write_bytes_max may be a quarter of segment_bytes");
    if (options->wal_bytes_max < 4 * options->segment_bytes)
        return rr_fail(error, RR_E_INVALID, "wal_bytes_max must hold at least four segments");
    if (options->log_cache_bytes < 2ull * options->wal_write_bytes_max)
        return rr_fail(error, RR_E_INVALID,
                       "log_cache_bytes must hold two writes (wal_write_bytes_max)");
    if (options->entry_bytes_max + 16 * KIB > options->segment_bytes)
        return rr_fail(error, RR_E_INVALID, "entry_bytes_max must be 16 KiB below segment_bytes");
    if (options->entry_bytes_max + 16 * KIB > options->frame_bytes_max)
        return rr_fail(error, RR_E_INVALID, "entry_bytes_max must be 16 KiB below frame_bytes_max");
    return 0;
}

int config_resolve_engine(const struct rr_engine_options *given, struct rr_engine_options *resolved,
                          struct rr_error *error)
{
    if (!given)
        return rr_fail(error, RR_E_INVALID, "no options");
    int rc = copy_sized(resolved, sizeof(*resolved), given, given->size, error);
    if (rc != 0)
        return rc;
    bool is_default_write = resolved->wal_write_bytes_max == 0;
    rc = apply_limits(resolved, engine_limits, RR_ARRAY_SIZE(engine_limits), error);
    if (rc != 0)
        return rc;
    if (is_default_write)
        resolved->wal_write_bytes_max =
            (uint32_t)rr_min_u64(resolved->wal_write_bytes_max, resolved->segment_bytes / 4);
    rc = check_who_and_where(resolved, error);
    return rc == 0 ? check_sizes(resolved, error) : rc;
}

static int check_peers(const struct rr_group_options *group, const struct rr_engine_options *engine,
                       struct rr_error *error)
{
    bool is_bootstrap = engine->create == RR_CREATE_BOOTSTRAP;
    if (group->peer_count > CONFIG_PEERS_MAX || (is_bootstrap && group->peer_count == 0) ||
        (group->peer_count && !group->peers))
        return rr_fail(error, RR_E_INVALID,
                       "a group has 1 to %u peers, this node included; %u given", CONFIG_PEERS_MAX,
                       group->peer_count);
    bool has_self = !is_bootstrap; /* others learn the members from those who are */
    for (uint32_t i = 0; i < group->peer_count; i++) {
        const struct rr_peer_address *peer = &group->peers[i];
        if (!config_is_node_id(peer->node))
            return rr_fail(error, RR_E_INVALID, "peer %u has an id that no node may have", i);
        for (uint32_t k = 0; k < i; k++)
            if (group->peers[k].node == peer->node)
                return rr_fail(error, RR_E_INVALID, "node %llu stands twice among the peers",
                               (unsigned long long)peer->node);
        int rc = config_check_address(peer->address, engine->insecure, error);
        if (rc != 0)
            return rc;
        has_self |= peer->node == engine->node_id;
    }
    if (!has_self)
        return rr_fail(error, RR_E_INVALID, "node %llu itself is missing among the peers",
                       (unsigned long long)engine->node_id);
    return 0;
}

int config_resolve_group(const struct rr_group_options *given,
                         const struct rr_engine_options *engine, struct rr_group_options *resolved,
                         struct rr_error *error)
{
    if (!given)
        return rr_fail(error, RR_E_INVALID, "no options");
    int rc = copy_sized(resolved, sizeof(*resolved), given, given->size, error);
    if (rc == 0)
        rc = apply_limits(resolved, group_limits, RR_ARRAY_SIZE(group_limits), error);
    if (rc == 0)
        rc = check_peers(resolved, engine, error);
    if (rc != 0)
        return rc;
    if (resolved->group_id == 0)
        return rr_fail(error, RR_E_INVALID, "group_id may not be 0");
    if (resolved->election_ticks <= resolved->heartbeat_ticks)
        return rr_fail(error, RR_E_INVALID, "election_ticks must be greater than heartbeat_ticks");
    if (resolved->max_inflight_bytes < resolved->max_size_per_msg)
        return rr_fail(error, RR_E_INVALID, "max_inflight_bytes must be >= max_size_per_msg");
    if (resolved->max_uncommitted_bytes < engine->entry_bytes_max)
        return rr_fail(error, RR_E_INVALID, "max_uncommitted_bytes must be >= entry_bytes_max");
    if (resolved->proposal_queue_bytes < engine->entry_bytes_max)
        return rr_fail(error, RR_E_INVALID, "proposal_queue_bytes must be >= entry_bytes_max");
    if (resolved->max_size_per_msg + 64 * KIB > engine->frame_bytes_max)
        return rr_fail(error, RR_E_INVALID,
                       "max_size_per_msg must be 64 KiB below frame_bytes_max");
    if (!resolved->on_complete)
        return rr_fail(error, RR_E_INVALID, "no on_complete: outcomes would be lost");
    return 0;
}
