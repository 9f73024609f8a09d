/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/replica.h"

#include "bench/control.h"
#include "bench/load.h"
#include "bench/tally.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#define PROGRESS_MS   200
#define OWN_TAG       UINT64_MAX /* of a proposal that no load made */
#define OWN_NOT_ENDED 1

/* ---- the process --------------------------------------------------------- */

struct replica_group {
    struct tally tally;
    struct rr_group *group;
    struct load *writer, *reader;
    _Atomic int32_t own_status; /* of the replica's own call, or OWN_NOT_ENDED */
};

/* One load of a run, on a thread of its own. */
struct replica_client {
    pthread_t thread;
    struct load *load;
    struct load_request request;
    struct load_result result;
    _Atomic bool is_running;
};

struct replica {
    struct control control;
    struct rr_engine *engine;
    struct replica_group groups[BENCH_GROUPS_MAX];
    uint32_t group_count;
    struct replica_client clients[2 * BENCH_GROUPS_MAX];
    uint32_t client_count;
};

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

enum owner { OWNER_WRITER, OWNER_READER, OWNER_REPLICA };

static enum owner owner_of(const struct rr_completion *completion)
{
    if (completion->kind == RR_COMPLETION_READ)
        return OWNER_READER;
    return completion->tag == OWN_TAG ? OWNER_REPLICA : OWNER_WRITER;
}

/* Completions of one owner come in runs. */
static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct replica_group *group = ctx;
    for (uint32_t i = 0, end; i < count; i = end) {
        enum owner owner = owner_of(&completions[i]);
        for (end = i + 1; end < count && owner_of(&completions[end]) == owner;)
            end++;
        if (owner == OWNER_REPLICA)
            atomic_store(&group->own_status, completions[end - 1].status);
        else
            load_on_complete(owner == OWNER_READER ? group->reader : group->writer, &completions[i],
                             end - i);
    }
}

static bool open_group(struct replica *replica, const struct replica_options *options,
                       const struct rr_peer_address *peers, struct rr_error *error)
{
    struct replica_group *group = &replica->groups[replica->group_count];
    struct rr_group_options group_options = {
        .size = sizeof(group_options),
        .group_id = replica->group_count + 1,
        .peers = peers,
        .peer_count = options->node_count,
        .apply_inline = options->apply_inline,
        .trailing_entries = options->send_rate != 0,
        .on_complete = on_complete,
        .ctx = group,
    };
    group->writer = load_new();
    group->reader = load_new();
    struct rr_state_machine state_machine = tally_interface(&group->tally);
    if (rr_group_open(replica->engine, &group_options, &state_machine, &group->group, error) != 0)
        return false;
    load_attach(group->writer, group->group);
    load_attach(group->reader, group->group);
    replica->group_count++;
    return true;
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
        .snapshot_send_bytes_per_second = options->send_rate,
    };
    if (rr_engine_open(&engine_options, &replica->engine, error) != 0)
        return false;
    bool is_open = true;
    for (uint32_t i = 0; i < options->group_count && is_open; i++)
        is_open = open_group(replica, options, peers, error);
    return is_open;
}

static void status_of(const struct replica_group *group, struct rr_group_status *status)
{
    *status = (struct rr_group_status){.size = sizeof(*status)};
    rr_group_status(group->group, status);
}

/* Of the first group, but for how many groups this replica leads and how many know a leader. */
static void answer_status(struct replica *replica)
{
    struct rr_group_status status;
    uint32_t led = 0, known = 0, sending = 0;
    for (uint32_t i = replica->group_count; i-- > 0;) {
        status_of(&replica->groups[i], &status);
        led += status.role == RR_STATE_LEADER;
        known += status.lead != 0;
    }
    for (uint32_t i = 0; i < status.peer_count; i++)
        sending += status.peers[i].state == RR_PROGRESS_SNAPSHOT;
    control_send(&replica->control,
                 "status leads=%d term=%llu commit=%llu applied=%llu last=%llu led=%u known=%u "
                 "writes=%llu zeroed=%llu snapshot=%llu sending=%u error=%d direct=%d ram=%d "
                 "cpu=%.6f log_memory=%llu backend=%s",
                 status.role == RR_STATE_LEADER, (unsigned long long)status.term,
                 (unsigned long long)status.commit, (unsigned long long)status.applied,
                 (unsigned long long)status.last_index, led, known,
                 (unsigned long long)status.durable_writes,
                 (unsigned long long)status.segments_zeroed,
                 (unsigned long long)status.snapshot_index, sending, (int)status.error,
                 status.durable_direct, status.ram_file_system, cpu_seconds(),
                 (unsigned long long)status.memory.log, status.backend);
}

/* ---- a run --------------------------------------------------------------- */

static void *run_load(void *ctx)
{
    struct replica_client *client = ctx;
    load_run(client->load, &client->request, &client->result);
    atomic_store(&client->is_running, false);
    return NULL;
}

static bool start_client(struct replica *replica, struct load *load,
                         const struct load_request *request)
{
    struct replica_client *client = &replica->clients[replica->client_count];
    client->load = load;
    client->request = *request;
    atomic_store(&client->is_running, true);
    if (pthread_create(&client->thread, NULL, run_load, client) != 0)
        return false;
    replica->client_count++;
    return true;
}

/* Writers for the groups led here, readers for all; `reads` beside the writers if it is not 0. */
static bool start_clients(struct replica *replica, const struct load_request *request,
                          uint32_t reads)
{
    struct load_request read = *request;
    bool is_read = load_is_read(request->shape), is_started = true;
    read.shape = LOAD_READ256;
    read.depth = is_read ? request->depth : reads;
    replica->client_count = 0;
    for (uint32_t i = 0; i < replica->group_count && is_started; i++) {
        struct rr_group_status status;
        status_of(&replica->groups[i], &status);
        if (!is_read && status.role == RR_STATE_LEADER)
            is_started = start_client(replica, replica->groups[i].writer, request);
        if (is_started && (is_read || reads))
            is_started = start_client(replica, replica->groups[i].reader, &read);
    }
    return is_started;
}

static void await_clients(struct replica *replica)
{
    struct timespec pause = {0, PROGRESS_MS * 1000000L};
    for (bool is_running = true; is_running;) {
        uint64_t completed = 0;
        is_running = false;
        nanosleep(&pause, NULL);
        for (uint32_t i = 0; i < replica->client_count; i++) {
            is_running |= atomic_load(&replica->clients[i].is_running);
            completed += load_progress(replica->clients[i].load);
        }
        control_send(&replica->control, "progress completed=%llu", (unsigned long long)completed);
    }
    for (uint32_t i = 0; i < replica->client_count; i++)
        pthread_join(replica->clients[i].thread, NULL);
}

/* The results of all clients of one kind. */
struct sum {
    struct histogram latency;
    uint64_t completed, failed;
    bool is_steady;
};

static void add_up(const struct replica *replica, bool reads, struct sum *sum)
{
    histogram_reset(&sum->latency);
    sum->completed = sum->failed = 0;
    sum->is_steady = true;
    for (uint32_t i = 0; i < replica->client_count; i++) {
        const struct replica_client *client = &replica->clients[i];
        const struct load_result *r = &client->result;
        if (load_is_read(client->request.shape) != reads)
            continue;
        sum->completed += r->completed;
        sum->failed += r->failed;
        histogram_merge(&sum->latency, &r->latency);
        bool is_led = r->before.role == RR_STATE_LEADER && r->after.role == RR_STATE_LEADER;
        sum->is_steady &= r->before.term == r->after.term && (reads || is_led);
    }
}

static uint64_t lag_of(const struct rr_group_status *status)
{
    uint64_t match_min = status->commit;
    for (uint32_t i = 0; i < status->peer_count; i++)
        if (status->peers[i].node != status->node_id && status->peers[i].match < match_min)
            match_min = status->peers[i].match;
    return status->commit - match_min;
}

/* What the log and the loop did is the engine's, so that any group tells it. */
static void send_result(struct replica *replica, bool is_read)
{
    static struct sum main_sum, reads;
    static const struct load_result nothing;
    const struct load_result *r = replica->client_count ? &replica->clients[0].result : &nothing;
    const struct rr_group_status *a = &r->before, *b = &r->after;
    add_up(replica, is_read, &main_sum);
    add_up(replica, true, &reads);
    control_send(
        &replica->control,
        "result completed=%llu failed=%llu seconds=%.6f steady=%d p50=%.1f p99=%.1f "
        "p999=%.1f max=%.1f writes=%llu entries=%llu padded=%llu recycled=%llu zeroed=%llu "
        "enters=%llu wakes=%llu lag=%llu reads=%llu read_p50=%.1f read_p99=%.1f",
        (unsigned long long)main_sum.completed, (unsigned long long)main_sum.failed, r->seconds,
        main_sum.is_steady, histogram_us(&main_sum.latency, 5000),
        histogram_us(&main_sum.latency, 9900), histogram_us(&main_sum.latency, 9990),
        (double)main_sum.latency.max_ns / 1000.0,
        (unsigned long long)(b->durable_writes - a->durable_writes),
        (unsigned long long)(b->entries_written - a->entries_written),
        (unsigned long long)(b->wal_padded_bytes - a->wal_padded_bytes),
        (unsigned long long)(b->segments_recycled - a->segments_recycled),
        (unsigned long long)(b->segments_zeroed - a->segments_zeroed),
        (unsigned long long)(b->enter_count - a->enter_count),
        (unsigned long long)(b->wake_count - a->wake_count), (unsigned long long)lag_of(b),
        (unsigned long long)reads.completed, histogram_us(&reads.latency, 5000),
        histogram_us(&reads.latency, 9900));
}

static void answer_run(struct replica *replica, const char *line)
{
    char shape[32] = "";
    uint64_t size = 0, warmup = 0, window = 0, depth = 0, reads = 0;
    control_word(line, "shape", shape, sizeof(shape));
    control_u64(line, "depth", &depth);
    control_u64(line, "reads", &reads);
    if (!control_u64(line, "size", &size) || !control_u64(line, "warmup", &warmup) ||
        !control_u64(line, "window", &window) || load_shape_find(shape) == LOAD_SHAPES) {
        control_send(&replica->control, "error a run needs shape, size, warmup and window");
        return;
    }
    struct load_request request = {.shape = load_shape_find(shape),
                                   .size = (uint32_t)size,
                                   .depth = (uint32_t)depth,
                                   .warmup_ms = (uint32_t)warmup,
                                   .window_ms = (uint32_t)window};
    if (!start_clients(replica, &request, (uint32_t)reads)) {
        control_send(&replica->control, "error no thread for a client");
        exit(1); /* the others cannot be called back */
    }
    await_clients(replica);
    send_result(replica, load_is_read(request.shape));
}

/* ---- snapshots ----------------------------------------------------------- */

static int32_t await_own(struct replica_group *group, int rc)
{
    struct timespec pause = {0, 1000000};
    while (rc == 0 && atomic_load(&group->own_status) == OWN_NOT_ENDED)
        nanosleep(&pause, NULL);
    return rc != 0 ? rc : atomic_load(&group->own_status);
}

static int32_t set_ballast(struct replica_group *group, uint64_t bytes)
{
    struct tally_order order = {TALLY_ORDER, bytes};
    atomic_store(&group->own_status, OWN_NOT_ENDED);
    return await_own(group, rr_propose(group->group, &order, sizeof(order), OWN_TAG));
}

static int32_t take_snapshot(struct replica_group *group)
{
    atomic_store(&group->own_status, OWN_NOT_ENDED);
    return await_own(group, rr_snapshot(group->group, OWN_TAG));
}

/* Only this one is large: those that the policy takes later are not what is measured. */
static void answer_snapshot(struct replica *replica, const char *line)
{
    struct replica_group *group = &replica->groups[0];
    uint64_t bytes = 0;
    control_u64(line, "bytes", &bytes);
    int32_t status = set_ballast(group, bytes);
    if (status == 0)
        status = take_snapshot(group);
    if (status == 0)
        status = set_ballast(group, 0);
    if (status == 0)
        control_send(&replica->control, "taken");
    else
        control_send(&replica->control, "error no snapshot: %s", rr_err_sentence(status));
}

int replica_main(const struct replica_options *options)
{
    static struct replica replica;
    struct rr_error error = {0};
    control_child(&replica.control);
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
        else if (strncmp(line, "snapshot ", 9) == 0)
            answer_snapshot(&replica, line);
        else if (strcmp(line, "quit") == 0)
            break;
        else
            control_send(&replica.control, "error unknown command");
    }
    rr_engine_close(replica.engine, RR_CLOSE_ABORT);
    for (uint32_t i = 0; i < replica.group_count; i++) {
        load_free(replica.groups[i].writer);
        load_free(replica.groups[i].reader);
    }
    return 0;
}
