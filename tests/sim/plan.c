/* SPDX-License-Identifier: Apache-2.0
 *
 * Drawing a plan from a seed, from a stream of its own.
 */
#include "tests/sim/plan.h"

#include "io/sim/sim_random.h"

#include <stdio.h>

#define KIB 1024u
#define MS  1000000ull

#define LARGE_SNAPSHOT (300 * KIB)

static bool flip(struct sim_stream *s)
{
    return stream_chance(s, 1, 2);
}

/* One of these, each as likely. */
static uint64_t pick(struct sim_stream *s, const uint64_t *values, size_t count)
{
    return values[stream_below(s, count)];
}
#define PICK(s, ...)                                                                               \
    pick(s, (const uint64_t[]){__VA_ARGS__}, RR_ARRAY_SIZE(((const uint64_t[]){__VA_ARGS__})))

static void make_limits(struct plan *p, struct sim_stream *s)
{
    struct rr_engine_options *engine = &p->engine;
    struct rr_group_options *group = &p->group;

    engine->size = sizeof(*engine);
    engine->create = RR_CREATE_BOOTSTRAP;
    engine->cluster_id = 0x5eed0000 + p->seed;
    engine->segment_bytes = PICK(s, 64 * KIB, 64 * KIB, 128 * KIB, 256 * KIB);
    engine->wal_bytes_max = engine->segment_bytes * PICK(s, 8, 16, 64);
    engine->wal_write_bytes_max = (uint32_t)(engine->segment_bytes / PICK(s, 4, 8));
    engine->mark_delay_ms = (uint32_t)PICK(s, 1, 20, 100);
    engine->entry_bytes_max = (uint32_t)PICK(s, 64, 1 * KIB, 8 * KIB, 32 * KIB);
    engine->frame_bytes_max = 256 * KIB;
    engine->log_cache_bytes = rr_max_u64(2 * engine->wal_write_bytes_max,
                                         PICK(s, 64 * KIB, 128 * KIB, 512 * KIB, 4096 * KIB));
    engine->peer_queue_bytes_max = (uint32_t)PICK(s, 512 * KIB, 2048 * KIB);

    group->size = sizeof(*group);
    group->group_id = 1 + stream_below(s, 1000);
    group->tick_ms = (uint32_t)PICK(s, 5, 10, 20);
    group->heartbeat_ticks = (uint32_t)PICK(s, 1, 2);
    group->election_ticks = group->heartbeat_ticks + (uint32_t)PICK(s, 8, 10, 18);
    group->max_size_per_msg = PICK(s, 1 * KIB, 4 * KIB, 64 * KIB, 128 * KIB);
    group->max_inflight_msgs = (uint32_t)PICK(s, 1, 2, 16, 256);
    group->max_inflight_bytes = rr_max_u64(group->max_size_per_msg, PICK(s, 4 * KIB, 1024 * KIB));
    group->max_uncommitted_bytes =
        rr_max_u64(engine->entry_bytes_max, PICK(s, 2 * KIB, 64 * KIB, 1024 * KIB));
    group->max_committed_bytes_per_ready = PICK(s, 1 * KIB, 64 * KIB);
    group->batch_wait_max_us = (uint32_t)PICK(s, 30, 200, 2000);
    group->proposal_queue_entries = (uint32_t)PICK(s, 2, 16, 1024);
    group->proposal_queue_bytes = rr_max_u64(engine->entry_bytes_max, PICK(s, 2 * KIB, 256 * KIB));
    group->apply_backlog_bytes = PICK(s, 1 * KIB, 64 * KIB, 1024 * KIB);
    group->snapshot_log_bytes = PICK(s, 16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB);
    group->apply_inline = stream_chance(s, 1, 3);
    p->snapshot_bytes = (uint32_t)PICK(s, 32, 32, 4 * KIB, 20 * KIB);
}

static void make_faults(struct plan *p, struct sim_stream *s)
{
    if (stream_chance(s, 1, 12)) /* a calm run */
        return;
    p->fault_interval_ns = PICK(s, 50, 200, 500, 1500) * MS;
    p->down_max_ns = PICK(s, 5, 100, 1000) * MS;
    uint64_t only = stream_chance(s, 1, 12) ? stream_below(s, PLAN_FAULT_COUNT) : UINT64_MAX,
             nth = 0;
#define X(name) p->name = only == UINT64_MAX ? flip(s) : nth++ == only;
    PLAN_FAULTS(X)
#undef X
}

static void make_clients(struct plan *p, struct sim_stream *s)
{
    p->propose_interval_ns = PICK(s, 500, 2000, 5000) * 1000;
    p->outstanding_max = (uint32_t)PICK(s, 0, 1, 8, 64);
    p->burst_max = (uint32_t)PICK(s, 1, 2, 8);
    p->size_max = (uint32_t)PICK(s, 16, 128, 1 * KIB, 32 * KIB);
    p->size_max = (uint32_t)rr_min_u64(p->size_max, p->engine.entry_bytes_max);
    if (p->snapshot_bytes >= LARGE_SNAPSHOT)
        p->size_max = (uint32_t)rr_min_u64(p->size_max, 1 * KIB);
    p->proposes_in_callbacks = flip(s);
    p->proposals_max = (uint32_t)PICK(s, 500, 2000, 6000);
}

static void make_readers(struct plan *p)
{
    struct sim_stream s = stream_make(p->seed, 0x4ead);

    p->reads = stream_chance(&s, 3, 4);
    p->group.read_queue_entries = (uint32_t)PICK(&s, 2, 64, 1024);
    p->group.lease_reads = stream_chance(&s, 1, 3);
    p->group.hash_entries = PICK(&s, 0, 7, 64);
    p->group.proposal_timeout_ms = (uint32_t)PICK(&s, 0, 0, 30, 1000);
    p->cancels = stream_chance(&s, 1, 2);
}

/* Several groups share the log: its budget is for all of them. */
static void make_groups(struct plan *p)
{
    struct sim_stream s = stream_make(p->seed, 0x9609);

    p->group_count = (uint32_t)PICK(&s, 1, 1, 1, 1, 2, 3, 8);
    uint64_t of_each = 4 * (p->group.snapshot_log_bytes + p->snapshot_bytes);
    if (p->group_count > 1)
        p->engine.wal_bytes_max = rr_max_u64(p->engine.wal_bytes_max, p->group_count * of_each);
    /* Closed for so long that the others' log goes round meanwhile. */
    p->closed_max_ns = stream_chance(&s, 1, 2) ? 4000 * MS : p->down_max_ns;
}

static bool harms(const struct plan *p)
{
    return p->damage || p->lost_writes || p->rollbacks || p->wipes;
}

/* Groups whose members change all the time. Where disks are harmed as well, one machine at a time
 * is, and so many voters stay that it is a minority of them, whatever change is under way. */
static void make_changes(struct plan *p)
{
    struct sim_stream s = stream_make(p->seed, 0xc4a6);

    p->voter_count = p->node_count;
    if (!stream_chance(&s, 1, 4))
        return;
    p->change_interval_ns = PICK(&s, 20, 50, 200) * MS;
    p->node_count = (uint32_t)PICK(&s, 5, 7);
    p->voter_count = (uint32_t)PICK(&s, 1, 2, 3, 3, 5);
    p->group_count = (uint32_t)rr_min_u64(p->group_count, 3);
    p->twists = false;
    if (!stream_chance(&s, 1, 2))
        p->damage = p->lost_writes = p->rollbacks = p->wipes = false;
    if (!harms(p))
        return;
    p->node_count = 7;
    p->voter_count = 5;
    p->voters_min = 4;
}

/* Some in files, which travel by themselves. */
static void make_snapshots(struct plan *p)
{
    struct sim_stream s = stream_make(p->seed, 0x5a4f);
    if (stream_chance(&s, 1, 3))
        p->snapshot_bytes = (uint32_t)PICK(&s, 70 * KIB, 70 * KIB, 300 * KIB, 600 * KIB);
    p->engine.snapshot_send_bytes_per_second = PICK(&s, 1024 * KIB, 4096 * KIB, 65536 * KIB);
    p->group.snapshot_entries = PICK(&s, 0, 0, 3, 40);
    if (p->snapshot_bytes >= LARGE_SNAPSHOT) { /* or all the time goes by with them */
        p->group.snapshot_entries = 0;
        p->group.snapshot_log_bytes = rr_max_u64(p->group.snapshot_log_bytes, 128 * KIB);
    }
    p->group.trailing_entries = PICK(&s, 0, 0, 1, 100);
    p->snapshots_on_demand = stream_chance(&s, 1, 4);
}

void plan_make(struct plan *plan, uint64_t seed)
{
    struct sim_stream s = stream_make(seed, 0x9141);

    *plan = (struct plan){.seed = seed};
    plan->node_count = (uint32_t)PICK(&s, 1, 3, 3, 3, 3, 5, 5);
    make_limits(plan, &s);
    make_snapshots(plan);
    make_faults(plan, &s);
    make_clients(plan, &s);
    make_readers(plan);
    make_groups(plan);
    plan->buffered_disks = stream_chance(&s, 1, 10);
    make_changes(plan);
}

void plan_make_crash_at(struct plan *plan, uint64_t seed, uint64_t crash_at)
{
    plan_make(plan, seed);
    plan->node_count = plan->voter_count = 1;
    plan->change_interval_ns = 0;
    plan->group_count = 1;
    plan->crash_at = crash_at;
    plan->fault_interval_ns = 0;
    plan->crashes_in_recovery = false;
    plan->clock_skew = plan->clock_drift = false;
    plan->corrupt_bytes = false;
    plan->down_max_ns = plan->closed_max_ns = 10 * MS;
    plan->propose_interval_ns = 10 * MS;
    plan->proposes_in_callbacks = false;
    plan->outstanding_max = 0;
    plan->burst_max = 1;
    plan->engine.segment_bytes = 64 * KIB; /* so that segments are filled, made and recycled */
    plan->engine.wal_bytes_max = 512 * KIB;
    plan->engine.wal_write_bytes_max = 16 * KIB;
    plan->engine.entry_bytes_max = 8 * KIB;
    plan->size_max = 8 * KIB;
    plan->group.snapshot_log_bytes = 64 * KIB;
    plan->snapshot_bytes = (uint32_t)(seed % 2 ? 4 * KIB : 300 * KIB); /* in the log, in a file */
}

void plan_print(const struct plan *p)
{
    printf("  nodes %u, groups %u, segment %llu KiB, budget %llu KiB, write %u, entry %u, message "
           "%llu, "
           "inflight %u\n",
           p->node_count, p->group_count, (unsigned long long)p->engine.segment_bytes / KIB,
           (unsigned long long)p->engine.wal_bytes_max / KIB, p->engine.wal_write_bytes_max,
           p->engine.entry_bytes_max, (unsigned long long)p->group.max_size_per_msg,
           p->group.max_inflight_msgs);
    printf("  tick %u ms, election %u ticks, snapshot after %llu KiB (of %u bytes), apply %s\n",
           p->group.tick_ms, p->group.election_ticks,
           (unsigned long long)p->group.snapshot_log_bytes / KIB, p->snapshot_bytes,
           p->group.apply_inline ? "inline" : "threaded");
    printf("  a fault each %llu ms:%s", (unsigned long long)(p->fault_interval_ns / MS),
           p->buffered_disks ? " buffered_disks" : "");
#define X(name) printf("%s", p->name ? " " #name : "");
    PLAN_FAULTS(X)
#undef X
    printf("\n");
    printf("  clients: each %llu us, %s%u, sizes to %u\n",
           (unsigned long long)(p->propose_interval_ns / 1000),
           p->outstanding_max ? "closed loop of " : "open loop, burst ",
           p->outstanding_max ? p->outstanding_max : p->burst_max, p->size_max);
    if (p->change_interval_ns)
        printf("  members change each %llu ms, beginning with %u voters\n",
               (unsigned long long)(p->change_interval_ns / MS), p->voter_count);
    printf("  %s%s, proposals wait for %u ms%s; snapshots after %llu entries too%s\n",
           p->reads ? "reads" : "no reads", p->group.lease_reads ? " by lease" : "",
           p->group.proposal_timeout_ms, p->cancels ? ", some are canceled" : "",
           (unsigned long long)p->group.snapshot_entries,
           p->snapshots_on_demand ? ", and on demand" : "");
}
