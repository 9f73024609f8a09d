/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/replica.h"

#include "bench/control.h"
#include "bench/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#define PROGRESS_MS 200

/* ---- the state machine: counts entries and chains a cheap hash over them ---- */

struct tally {
    uint64_t applied;
    uint64_t count;
    uint64_t hash;
};

struct tally_cursor {
    struct tally copy;
    size_t at;
};

static int tally_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static int tally_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                       uint64_t *results)
{
    struct tally *tally = ctx;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t head = 0;
        memcpy(&head, entries[i].data, entries[i].size < 8 ? entries[i].size : 8);
        tally->hash = (tally->hash ^ head ^ entries[i].index) * 0x9e3779b97f4a7c15ull;
        results[i] = ++tally->count;
    }
    tally->applied = entries[count - 1].index;
    return 0;
}

static int tally_snapshot_begin(void *ctx, void **snapshot)
{
    struct tally_cursor *cursor = calloc(1, sizeof(*cursor));
    if (!cursor)
        return RR_E_NO_MEMORY;
    cursor->copy = *(struct tally *)ctx;
    *snapshot = cursor;
    return 0;
}

static int tally_snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx;
    struct tally_cursor *cursor = snapshot;
    size_t left = sizeof(cursor->copy) - cursor->at;
    *size = left < cap ? left : cap;
    memcpy(buf, (uint8_t *)&cursor->copy + cursor->at, *size);
    cursor->at += *size;
    return 0;
}

static void tally_snapshot_end(void *ctx, void *snapshot)
{
    (void)ctx;
    free(snapshot);
}

static int tally_restore_begin(void *ctx, void **restore)
{
    (void)ctx;
    *restore = calloc(1, sizeof(struct tally_cursor));
    return *restore ? 0 : RR_E_NO_MEMORY;
}

static int tally_restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    (void)ctx;
    struct tally_cursor *cursor = restore;
    if (size > sizeof(cursor->copy) - cursor->at)
        return RR_E_CORRUPT;
    memcpy((uint8_t *)&cursor->copy + cursor->at, buf, size);
    cursor->at += size;
    return 0;
}

static int tally_restore_end(void *ctx, void *restore, bool complete)
{
    struct tally_cursor *cursor = restore;
    /* Nothing at all is the bootstrap snapshot: a fresh state machine. */
    if (complete && (cursor->at == 0 || cursor->at == sizeof(cursor->copy)))
        *(struct tally *)ctx = cursor->copy;
    else if (complete)
        complete = false;
    free(restore);
    return complete ? 0 : RR_E_CORRUPT;
}

/* ---- the process --------------------------------------------------------- */

struct replica {
    struct control control;
    struct tally tally;
    struct load *load;
    struct rr_engine *engine;
    struct rr_group *group;
    struct load_request request;
    struct load_result result;
    _Atomic bool is_running;
};

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static bool open_replica(struct replica *replica, const struct replica_options *options,
                         struct rr_error *error)
{
    char addresses[BENCH_NODES_MAX][32];
    struct rr_peer_address peers[BENCH_NODES_MAX];
    for (uint32_t i = 0; i < options->node_count; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", options->ports[i]);
        peers[i] = (struct rr_peer_address){i + 1, addresses[i]};
    }
    struct rr_engine_options engine_options = {
        .size = sizeof(engine_options),
        .dir = options->dir,
        .listen = addresses[options->id - 1],
        .cluster_id = options->cluster_id,
        .node_id = options->id,
        .create = RR_CREATE_BOOTSTRAP,
    };
    if (rr_engine_open(&engine_options, &replica->engine, error) != 0)
        return false;
    struct rr_group_options group_options = {
        .size = sizeof(group_options),
        .group_id = 1,
        .peers = peers,
        .peer_count = options->node_count,
        .apply_inline = options->apply_inline,
        .on_complete = load_on_complete,
        .ctx = replica->load,
    };
    struct rr_state_machine state_machine = {
        .size = sizeof(state_machine),
        .ctx = &replica->tally,
        .open = tally_open,
        .apply = tally_apply,
        .snapshot_begin = tally_snapshot_begin,
        .snapshot_read = tally_snapshot_read,
        .snapshot_end = tally_snapshot_end,
        .restore_begin = tally_restore_begin,
        .restore_write = tally_restore_write,
        .restore_end = tally_restore_end,
    };
    if (rr_group_open(replica->engine, &group_options, &state_machine, &replica->group, error) != 0)
        return false;
    load_attach(replica->load, replica->group);
    return true;
}

static void answer_status(struct replica *replica)
{
    struct rr_group_status status = {.size = sizeof(status)};
    rr_group_status(replica->group, &status);
    control_send(&replica->control,
                 "status leads=%d term=%llu commit=%llu applied=%llu last=%llu "
                 "writes=%llu zeroed=%llu error=%d direct=%d ram=%d cpu=%.6f backend=%s",
                 status.role == RR_STATE_LEADER, (unsigned long long)status.term,
                 (unsigned long long)status.commit, (unsigned long long)status.applied,
                 (unsigned long long)status.last_index, (unsigned long long)status.durable_writes,
                 (unsigned long long)status.segments_zeroed, (int)status.error,
                 status.durable_direct, status.ram_file_system, cpu_seconds(), status.backend);
}

static void *run_load(void *ctx)
{
    struct replica *replica = ctx;
    load_run(replica->load, &replica->request, &replica->result);
    atomic_store(&replica->is_running, false);
    return NULL;
}

static void send_result(struct replica *replica)
{
    const struct load_result *r = &replica->result;
    const struct rr_group_status *a = &r->before, *b = &r->after;
    uint64_t match_min = b->commit;
    for (uint32_t i = 0; i < b->peer_count; i++)
        if (b->peers[i].node != b->node_id && b->peers[i].match < match_min)
            match_min = b->peers[i].match;
    bool steady = a->term == b->term && a->role == RR_STATE_LEADER && b->role == RR_STATE_LEADER;
    control_send(
        &replica->control,
        "result completed=%llu failed=%llu seconds=%.6f steady=%d p50=%.1f p99=%.1f "
        "p999=%.1f max=%.1f writes=%llu entries=%llu padded=%llu recycled=%llu zeroed=%llu "
        "enters=%llu wakes=%llu lag=%llu",
        (unsigned long long)r->completed, (unsigned long long)r->failed, r->seconds, steady,
        histogram_us(&r->latency, 5000), histogram_us(&r->latency, 9900),
        histogram_us(&r->latency, 9990), (double)r->latency.max_ns / 1000.0,
        (unsigned long long)(b->durable_writes - a->durable_writes),
        (unsigned long long)(b->entries_written - a->entries_written),
        (unsigned long long)(b->wal_padded_bytes - a->wal_padded_bytes),
        (unsigned long long)(b->segments_recycled - a->segments_recycled),
        (unsigned long long)(b->segments_zeroed - a->segments_zeroed),
        (unsigned long long)(b->enter_count - a->enter_count),
        (unsigned long long)(b->wake_count - a->wake_count),
        (unsigned long long)(b->commit - match_min));
}

static void answer_run(struct replica *replica, const char *line)
{
    char shape[32] = "";
    uint64_t size = 0, warmup = 0, window = 0;
    control_word(line, "shape", shape, sizeof(shape));
    if (!control_u64(line, "size", &size) || !control_u64(line, "warmup", &warmup) ||
        !control_u64(line, "window", &window) || load_shape_find(shape) == LOAD_SHAPES) {
        control_send(&replica->control, "error a run needs shape, size, warmup and window");
        return;
    }
    replica->request = (struct load_request){load_shape_find(shape), (uint32_t)size,
                                             (uint32_t)warmup, (uint32_t)window};
    pthread_t client;
    atomic_store(&replica->is_running, true);
    if (pthread_create(&client, NULL, run_load, replica) != 0) {
        control_send(&replica->control, "error no thread for the client");
        return;
    }
    struct timespec pause = {0, PROGRESS_MS * 1000000L};
    while (atomic_load(&replica->is_running)) {
        nanosleep(&pause, NULL);
        control_send(&replica->control, "progress completed=%llu",
                     (unsigned long long)load_progress(replica->load));
    }
    pthread_join(client, NULL);
    send_result(replica);
}

int replica_main(const struct replica_options *options)
{
    static struct replica replica;
    struct rr_error error = {0};
    control_child(&replica.control);
    replica.load = load_new();
    if (!open_replica(&replica, options, &error)) {
        control_send(&replica.control, "error %s", error.message);
        return 1;
    }
    control_send(&replica.control, "ready");
    char line[1024];
    while (control_read(&replica.control, line, sizeof(line), -1)) {
        if (strcmp(line, "status") == 0)
            answer_status(&replica);
        else if (strncmp(line, "run ", 4) == 0)
            answer_run(&replica, line);
        else if (strcmp(line, "quit") == 0)
            break;
        else
            control_send(&replica.control, "error unknown command");
    }
    rr_engine_close(replica.engine, RR_CLOSE_ABORT);
    load_free(replica.load);
    return 0;
}
