/* SPDX-License-Identifier: Apache-2.0
 *
 * Old entries read back on a real backend and a real disk, while the log goes on: direct reads of
 * every alignment, reads that come short or late, a file that was damaged or cut. Late and short
 * reads are made at the seam.
 *
 *     test_wal_read_io uring|posix
 */
#include "io/backend.h"
#include "io/wal.h"
#include "io/wal_read.h"

#include "proto/base.h"
#include "proto/codec.h"
#include "tests/unit/check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_BYTES (1u << 20)
#define RUN_ENTRIES   8u
#define FILL          5000u /* entries: ten segments */
#define READS         4u    /* at a time */
#define MS            1000000ull

static const char *backend;
static char dir[64];

struct reading {
    struct wal_read read;
    bool is_under_way, is_done;
};

static struct {
    struct io *io;
    struct wal *wal;
    const struct io_ops *real;
    struct io_ops ops; /* real, but for submit */
    void (*step)(uint64_t now_ns);
    uint64_t first, last;
    uint64_t acked_seq;
    uint64_t due_ns;
    uint32_t phase;
    bool is_over;
    struct reading readings[READS];
    uint64_t next_wanted; /* of the reads that are to be started */
    uint32_t answered;
    /* What the seam does to reads. */
    uint32_t short_count; /* so many come short … */
    uint32_t short_reads; /* … and so many did */
    bool holds;
    struct io_op *held;
} test;

/* ---- the seam --------------------------------------------------------------------------- */

static void submit(struct io *io, struct io_op *op)
{
    static struct iovec less;
    static const struct iovec *whole;
    if (op->kind != IO_READ) {
        test.real->submit(io, op);
        return;
    }
    if (test.holds) {
        CHECK(!test.held);
        test.held = op;
        return;
    }
    if (op->iov == &less)
        op->iov = whole; /* again */
    if (test.short_count > 0) {
        test.short_count--;
        test.short_reads++;
        whole = op->iov;
        less = (struct iovec){whole->iov_base, whole->iov_len / 2 / 4096 * 4096};
        op->iov = &less;
    }
    test.real->submit(io, op);
}

static void let_go(void)
{
    struct io_op *op = test.held;
    test.held = NULL;
    test.holds = false;
    CHECK(op);
    test.real->submit(test.io, op);
}

/* ---- the log ---------------------------------------------------------------------------- */

static void on_durable(void *ctx, uint64_t durable_seq)
{
    (void)ctx;
    test.acked_seq = durable_seq;
}

static void on_poisoned(void *ctx, int err)
{
    (void)ctx, (void)err;
    CHECK(false && "nothing fails here");
}

static int on_state(void *ctx, const struct wal_state *state)
{
    (void)ctx, (void)state;
    CHECK(false && "the log is new");
    return 0;
}

static void stage_state(void)
{
    struct wal_state state = {
        .group = 1, .hard_state = {.term = 1}, .first_index = test.first, .last_index = test.last};
    CHECK(wal_append_state(test.wal, &state) == 0);
}

static uint32_t size_of(uint64_t index)
{
    return (uint32_t)(index * 37 % 4000);
}

static void stage_run(void)
{
    static uint8_t data[RUN_ENTRIES][4096];
    struct rr_entry entries[RUN_ENTRIES];
    for (uint32_t i = 0; i < RUN_ENTRIES; i++) {
        uint64_t index = test.last + 1 + i;
        for (uint32_t n = 0; n < size_of(index); n++)
            data[i][n] = (uint8_t)(index + n);
        entries[i] =
            (struct rr_entry){.term = 1,
                              .index = index,
                              .data = data[i],
                              .size = size_of(index),
                              .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
    }
    CHECK(wal_append_entries(test.wal, 1, entries, RUN_ENTRIES, 0, entries) == 0);
    test.last += RUN_ENTRIES;
}

static void stage_some(void)
{
    bool is_waiting = wal_staged_seq(test.wal) > test.acked_seq + 8;
    if (!is_waiting && wal_admits_proposals(test.wal) == 0)
        stage_run();
}

/* ---- reads ------------------------------------------------------------------------------ */

static void read_done(struct wal_read *read)
{
    RR_CONTAINER_OF(read, struct reading, read)->is_done = true;
}

static void start(struct reading *reading, uint64_t index)
{
    *reading = (struct reading){
        .read = {.group = 1, .index = index, .last_index = test.last, .done = read_done},
        .is_under_way = true};
    wal_read_start(test.wal, &reading->read);
}

/* It is what was written, and nothing else. */
static void check_answer(struct reading *reading)
{
    struct wal_read *read = &reading->read;
    const uint8_t *at = read->bytes, *end = at + read->size;
    CHECK_EQ_U64(read->err, 0);
    CHECK(read->first_index <= read->index && read->first_index + read->count > read->index);
    for (uint64_t index = read->first_index; index < read->first_index + read->count; index++) {
        struct rr_entry entry;
        CHECK(rr_entry_decode(&at, end, read->block, &entry) == 0);
        CHECK_EQ_U64(entry.index, index);
        CHECK_EQ_U64(entry.size, size_of(index));
        for (uint32_t n = 0; n < entry.size; n++)
            CHECK(entry.data[n] == (uint8_t)(index + n));
    }
    CHECK(at == end);
    rr_block_put(read->block, 1);
    reading->is_under_way = false;
    test.answered++;
}

/* Reads all over the log, a few at a time, until it reaches the end. */
static bool read_everywhere(uint64_t step)
{
    bool is_busy = false;
    for (uint32_t i = 0; i < READS; i++) {
        struct reading *reading = &test.readings[i];
        if (reading->is_under_way && reading->is_done)
            check_answer(reading);
        if (!reading->is_under_way && test.next_wanted < FILL) {
            start(reading, test.next_wanted);
            test.next_wanted += step;
        }
        is_busy |= reading->is_under_way;
    }
    return is_busy;
}

/* ---- the loop --------------------------------------------------------------------------- */

static bool turn(void *ctx, uint64_t now_ns, uint64_t *deadline_ns)
{
    (void)ctx;
    if (test.last < FILL)
        stage_some();
    else if (!test.is_over && (test.phase > 0 || wal_staged_seq(test.wal) <= test.acked_seq))
        test.step(now_ns);
    if (test.is_over)
        wal_close_mark(test.wal);
    *deadline_ns = rr_min_u64(now_ns + MS, wal_flush(test.wal, now_ns));
    return !test.is_over || !wal_is_idle(test.wal);
}

static void remove_directory(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

static void run(void (*step)(uint64_t now_ns))
{
    struct rr_error error;
    remove_directory();
    memset(&test, 0, sizeof(test));
    test.step = step;
    test.first = test.next_wanted = 1;
    int err = io_open_backend(strcmp(backend, "uring") == 0 ? IO_BACKEND_URING : IO_BACKEND_POSIX,
                              &test.io, NULL, 0, &error);
    if (err == RR_E_NOT_SUPPORTED)
        SKIP(error.message);
    CHECK(err == 0);
    struct wal_options options = {.io = test.io,
                                  .dir = dir,
                                  .instance_id = 42,
                                  .segment_bytes = SEGMENT_BYTES,
                                  .wal_bytes_max = 32 * SEGMENT_BYTES,
                                  .write_bytes_max = SEGMENT_BYTES / 4,
                                  .second_write_bytes_min = 64 * 1024,
                                  .mark_delay_ns = MS,
                                  .on_durable = on_durable,
                                  .on_poisoned = on_poisoned};
    struct wal_recovery recovery = {.on_state = on_state};
    CHECK(mkdir(dir, 0700) == 0);
    CHECK(wal_create(&options, &error) == 0);
    CHECK(wal_open(&options, &recovery, &test.wal, &error) == 0);
    test.real = test.io->ops;
    test.ops = *test.real;
    test.ops.submit = submit;
    test.io->ops = &test.ops;
    stage_state();
    CHECK(test.io->ops->start(test.io, turn, NULL) == 0);
    test.io->ops->join(test.io);
    test.io->ops = test.real;
    wal_free(test.wal);
    io_close_backend(test.io);
    remove_directory();
}

/* The file that holds the oldest entries. */
static void oldest_path(char path[128])
{
    snprintf(path, 128, "%s/wal-%016x", dir, 1);
}

/* ---- tests ------------------------------------------------------------------------------ */

static void read_while_it_works(uint64_t now_ns)
{
    (void)now_ns;
    test.phase = 1;
    stage_some();
    test.is_over = !read_everywhere(13);
}

static void test_entries_come_back_while_the_log_works(void)
{
    run(read_while_it_works);
    CHECK_EQ_U64(test.answered, (FILL + 11) / 13);
    CHECK(test.last > FILL);
}

static void read_short(uint64_t now_ns)
{
    (void)now_ns;
    if (test.phase++ == 0) {
        test.short_count = 5; /* fewer than are given up at */
        start(&test.readings[0], 1);
    }
    if (test.readings[0].is_done) {
        check_answer(&test.readings[0]);
        test.is_over = true;
    }
}

static void test_short_reads_are_read_again(void)
{
    run(read_short);
    CHECK_EQ_U64(test.answered, 1);
    CHECK_EQ_U64(test.short_reads, 5);
}

/* The disk does not answer a read for a third of a second: nobody else waits for it. */
static void read_late(uint64_t now_ns)
{
    static uint64_t acked_before;
    stage_some();
    if (test.phase == 0) {
        test.phase = 1;
        test.holds = true;
        test.due_ns = now_ns + 300 * MS;
        acked_before = test.acked_seq;
        start(&test.readings[0], 1);
    } else if (test.phase == 1 && now_ns >= test.due_ns) {
        test.phase = 2;
        fprintf(stderr, "    %llu writes meanwhile\n",
                (unsigned long long)(test.acked_seq - acked_before));
        CHECK(!test.readings[0].is_done);
        CHECK(test.acked_seq > acked_before + 50);
        let_go();
    } else if (test.phase == 2 && test.readings[0].is_done) {
        check_answer(&test.readings[0]);
        test.is_over = true;
    }
}

static void test_late_read_stalls_nobody(void)
{
    run(read_late);
    CHECK_EQ_U64(test.answered, 1);
}

/* The segment that is read has become dead: it keeps its name and its bytes until the end of the
 * read, and only then becomes a spare. */
static void read_what_goes(uint64_t now_ns)
{
    char path[128];
    oldest_path(path);
    stage_some();
    if (test.phase == 0) {
        test.phase = 1;
        test.holds = true;
        start(&test.readings[0], 1);
    } else if (test.phase == 1 && test.held) {
        test.phase = 2;
        test.first = test.last + 1;
        stage_state();
        test.due_ns = now_ns + 200 * MS;
    } else if (test.phase == 2 && now_ns >= test.due_ns) {
        test.phase = 3;
        struct wal_stats stats;
        wal_stats(test.wal, &stats);
        CHECK_EQ_U64(stats.segments_recycled, 0);
        CHECK(access(path, F_OK) == 0);
        let_go();
    } else if (test.phase == 3 && test.readings[0].is_done) {
        test.phase = 4;
        check_answer(&test.readings[0]);
    } else if (test.phase == 4) {
        test.is_over = access(path, F_OK) != 0;
    }
}

static void test_segment_that_is_read_is_not_recycled(void)
{
    run(read_what_goes);
    CHECK_EQ_U64(test.answered, 1);
}

static void expect_corrupt(const char *what)
{
    const struct wal_read *read = &test.readings[0].read;
    char path[128];
    oldest_path(path);
    CHECK_EQ_U64(read->err, RR_E_CORRUPT);
    CHECK(!read->block);
    CHECK(strstr(read->error.message, path));
    CHECK(strstr(read->error.message, ": at offset "));
    CHECK(strstr(read->error.message, what));
    CHECK(strstr(read->error.message, "replace this node by a new one"));
    test.is_over = true;
}

static void read_damaged(uint64_t now_ns)
{
    (void)now_ns;
    if (test.phase++ == 0) {
        char path[128];
        oldest_path(path);
        int fd = open(path, O_WRONLY);
        CHECK(fd >= 0);
        for (uint32_t at = 8192; at < SEGMENT_BYTES; at += 512)
            CHECK(pwrite(fd, "rot", 3, at + 77) == 3);
        CHECK(fsync(fd) == 0 && close(fd) == 0);
        start(&test.readings[0], 200);
    } else if (test.readings[0].is_done) {
        expect_corrupt("is damaged");
    }
}

static void test_damage_is_told_and_never_handed_out(void)
{
    run(read_damaged);
}

static void read_cut(uint64_t now_ns)
{
    (void)now_ns;
    if (test.phase++ == 0) {
        char path[128];
        oldest_path(path);
        CHECK(truncate(path, 128 * 1024) == 0);
        start(&test.readings[0], 200);
    } else if (test.readings[0].is_done) {
        expect_corrupt("cannot be read whole");
    }
}

static void test_file_that_ends_too_early_is_told(void)
{
    run(read_cut);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    backend = argv[1];
    snprintf(dir, sizeof(dir), "wal_read_io_%s.dir", backend);
    RUN(test_entries_come_back_while_the_log_works);
    RUN(test_short_reads_are_read_again);
    RUN(test_late_read_stalls_nobody);
    RUN(test_segment_that_is_read_is_not_recycled);
    RUN(test_damage_is_told_and_never_handed_out);
    RUN(test_file_that_ends_too_early_is_told);
    return 0;
}
