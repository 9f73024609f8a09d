/* SPDX-License-Identifier: Apache-2.0
 *
 * The log on a real backend and a real directory: laps of small segments, clean restarts, and
 * processes killed in full flight, whose every acknowledged entry must be there.
 *
 *     test_wal_io uring|posix
 *
 * Each incarnation is a process of its own; the parent, which has no threads, keeps what they
 * report. In steady state nothing is allocated.
 */
#include "io/backend.h"
#include "io/wal.h"

#include "proto/base.h"
#include "proto/codec.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT_BYTES (1u << 20)
#define RUN_ENTRIES   8u
#define WARM_RUNS     300u
#define INDEX_MAX     2000000u

struct service {
    struct io *io;
    struct wal *wal;
    uint64_t first, last; /* of group 1, as staged */
    uint64_t recovered_last;
    uint64_t seqs[64];      /* of the newest runs: run k in seqs[k mod 64] … */
    uint64_t lasts[64];     /* … ends with this index */
    uint64_t staged, acked; /* runs */
    uint64_t acked_index;
    uint64_t index_end;        /* close cleanly here */
    int report;                /* a pipe: acknowledged indexes */
    uint64_t warm_allocations; /* after the first laps */
    bool is_stated;
    bool poisoned;
};

static const char *backend;
static char dir[64];

/* ---- memory ----------------------------------------------------------------------------- */

static atomic_ullong allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    allocations++;
    return __real_realloc(ptr, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    allocations++;
    return __real_aligned_alloc(align, size);
}

/* ---- service ---------------------------------------------------------------------------- */

static void on_durable(void *ctx, uint64_t durable_seq)
{
    struct service *service = ctx;
    uint64_t before = service->acked_index;
    while (service->acked < service->staged && service->seqs[service->acked % 64] <= durable_seq)
        service->acked_index = service->lasts[service->acked++ % 64];
    if (service->acked_index != before && service->report >= 0)
        CHECK(write(service->report, &service->acked_index, sizeof(uint64_t)) == sizeof(uint64_t));
}

static void on_poisoned(void *ctx, int err)
{
    (void)err;
    ((struct service *)ctx)->poisoned = true;
}

static int on_state(void *ctx, const struct wal_state *state)
{
    struct service *service = ctx;
    service->is_stated = true;
    service->first = state->first_index;
    service->last = state->first_index - 1;
    return 0;
}

static int on_entries(void *ctx, uint64_t group, uint64_t first_index, uint32_t count,
                      uint64_t commit, const uint8_t *bytes, uint32_t size, struct rr_block *block)
{
    struct service *service = ctx;
    const uint8_t *at = bytes;
    (void)commit;
    CHECK(group == 1 && first_index <= service->last + 1);
    for (uint32_t i = 0; i < count; i++) {
        struct rr_entry entry;
        CHECK(rr_entry_decode(&at, bytes + size, block, &entry) == 0);
        CHECK_EQ_U64(entry.index, first_index + i);
        for (uint32_t n = 0; n < entry.size; n++)
            CHECK(entry.data[n] == (uint8_t)(entry.index + n));
    }
    service->last = first_index + count - 1;
    return 0;
}

static int on_peer(void *ctx, const struct wal_peer *peer)
{
    (void)ctx;
    (void)peer;
    return 0;
}

static void stage_state(struct service *service)
{
    struct wal_state state = {.group = 1,
                              .hard_state = {.term = 1},
                              .first_index = service->first,
                              .last_index = service->last};
    CHECK(wal_append_state(service->wal, &state) == 0);
    service->is_stated = true;
}

static void stage_run(struct service *service)
{
    static uint8_t data[RUN_ENTRIES][4096];
    struct rr_entry entries[RUN_ENTRIES];
    for (uint32_t i = 0; i < RUN_ENTRIES; i++) {
        uint64_t index = service->last + 1 + i;
        uint32_t size = (uint32_t)(index * 37 % 4000);
        for (uint32_t n = 0; n < size; n++)
            data[i][n] = (uint8_t)(index + n);
        entries[i] =
            (struct rr_entry){.term = 1,
                              .index = index,
                              .data = data[i],
                              .size = size,
                              .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
    }
    CHECK(wal_append_entries(service->wal, 1, entries, RUN_ENTRIES, 0, entries) == 0);
    service->last += RUN_ENTRIES;
    service->seqs[service->staged % 64] = wal_staged_seq(service->wal);
    service->lasts[service->staged++ % 64] = service->last;
}

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    struct service *service = ctx;
    CHECK(!service->poisoned);
    if (!service->is_stated || service->last - service->first > 600) {
        service->first =
            rr_max_u64(service->first, service->last + 1 < 300 ? 1 : service->last + 1 - 300);
        stage_state(service);
    }
    bool goes_on = service->last < service->index_end;
    if (service->staged < WARM_RUNS)
        service->warm_allocations = allocations;
    for (uint32_t i = 0; goes_on && i < 4 && service->staged - service->acked < 60; i++)
        if (wal_admits_entries(service->wal) == 0)
            stage_run(service);
    if (!goes_on)
        wal_close_mark(service->wal);
    *deadline_ns = rr_min_u64(*deadline_ns, wal_flush(service->wal, now_ns));
    return goes_on || !wal_is_idle(service->wal);
}

/* One incarnation, in a process of its own. Exits 0. */
static _Noreturn void serve(uint64_t acked_before, uint64_t index_end, int report)
{
    struct rr_error error;
    struct service service = {.first = 1, .index_end = index_end, .report = report};
    int err = io_open_backend(strcmp(backend, "uring") == 0 ? IO_BACKEND_URING : IO_BACKEND_POSIX,
                              &service.io, NULL, 0, &error);
    if (err == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    CHECK(err == 0);
    struct wal_options options = {
        .io = service.io,
        .dir = dir,
        .instance_id = 42,
        .segment_bytes = SEGMENT_BYTES,
        .wal_bytes_max = 16 * SEGMENT_BYTES,
        .write_bytes_max = SEGMENT_BYTES / 4,
        .second_write_bytes_min = 64 * 1024,
        .mark_delay_ns = 1000000,
        .ctx = &service,
        .on_durable = on_durable,
        .on_poisoned = on_poisoned,
    };
    struct wal_recovery recovery = {
        .ctx = &service, .on_state = on_state, .on_entries = on_entries, .on_peer = on_peer};
    if (acked_before == 0 && mkdir(dir, 0700) == 0)
        CHECK(wal_create(&options, &error) == 0);
    err = wal_open(&options, &recovery, &service.wal, &error);
    if (err)
        fprintf(stderr, "wal_open: %s\n", error.message);
    CHECK(err == 0);
    CHECK(service.last >= acked_before);
    CHECK(service.io->ops->start(service.io, turn, &service) == 0);
    service.io->ops->join(service.io);
    CHECK_EQ_U64(service.acked, service.staged);
    if (service.staged > 2 * WARM_RUNS)
        CHECK_EQ_U64(allocations, service.warm_allocations);
    struct wal_stats stats;
    wal_stats(service.wal, &stats);
    fprintf(stderr, "  boot %llu: entries to %llu, %llu writes, %llu recycled, %llu zeroed, %s\n",
            (unsigned long long)wal_boot(service.wal), (unsigned long long)service.last,
            (unsigned long long)stats.write_count, (unsigned long long)stats.segments_recycled,
            (unsigned long long)stats.segments_zeroed, stats.is_direct ? "direct" : "buffered");
    wal_free(service.wal);
    io_close_backend(service.io);
    exit(0);
}

/* Runs an incarnation; kills it after `kill_after_us` (0: lets it end). Returns the highest index
 * that it acknowledged. */
static uint64_t incarnation(uint64_t acked_before, uint64_t index_end, uint32_t kill_after_us)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ends[0]);
        serve(acked_before, index_end, ends[1]);
    }
    close(ends[1]);
    uint64_t acked = acked_before, index;
    if (kill_after_us > 0) {
        CHECK(read(ends[0], &acked, sizeof(acked)) == sizeof(acked)); /* it is in service */
        usleep(kill_after_us);
        kill(child, SIGKILL);
    }
    while (read(ends[0], &index, sizeof(index)) == sizeof(index))
        acked = index;
    close(ends[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("see above");
    CHECK(kill_after_us > 0 ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                            : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return acked;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    char command[128];
    backend = argv[1];
    snprintf(dir, sizeof(dir), "wal_io_%s.dir", backend);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    CHECK(system(command) == 0);
    uint64_t acked = incarnation(0, 6000, 0);
    CHECK(acked >= 6000);
    for (uint32_t i = 0; i < 8; i++) {
        uint64_t before = acked;
        acked = incarnation(acked, INDEX_MAX, 1 + i * i * 3000);
        CHECK(acked > before);
    }
    uint64_t end = acked + 10000;
    acked = incarnation(acked, end, 0);
    CHECK(acked >= end);
    CHECK(system(command) == 0);
    return 0;
}
