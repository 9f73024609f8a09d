/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot files: what was written is read back, every flip and every truncation is refused, a
 * crash at any point leaves no file or a whole one, and one that arrives in pieces is installed
 * whole or not at all.
 */
#include "io/snapshot_file.h"

#include "io/sim/sim.h"
#include "io/snapshot_part.h"
#include "proto/base.h"
#include "tests/unit/check.h"

#define PATH  "/d/snap-0000000000000007-0000000000000029"
#define CHUNK (SNAPSHOT_FILE_CHUNK - 8)

static const uint64_t voters[] = {1, 2, 3};
static const struct snapshot_head head = {
    .cluster = 5,
    .group = 7,
    .file_id = 0x1234,
    .metadata = {.conf_state = {.voters = voters, .voter_count = 3}, .index = 41, .term = 6},
    .group_data = (const uint8_t *)"the members",
    .group_data_size = 11,
};

static struct sim *sim;
static struct io *io;
static struct rr_error error;
static uint8_t content[10 * SNAPSHOT_FILE_CHUNK];

static void begin(void)
{
    sim = sim_new(3);
    io = sim_machine(sim, 1);
    CHECK(io->ops->mkdir(io, "/d") == 0 && io->ops->sync_dir(io, "/") == 0);
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 7 + i / 251);
}

static int write_file(const char *path, const struct snapshot_head *says, size_t size,
                      struct snapshot_file_info *info)
{
    struct snapshot_writer *writer;
    int rc = snapshot_writer_open(io, path, says, &writer, &error);
    if (rc != 0)
        return rc;
    rc = snapshot_writer_append(writer, content, size, &error);
    if (rc == 0)
        rc = snapshot_writer_publish(writer, info, &error);
    snapshot_writer_free(writer);
    return rc;
}

static void must_read(const char *path, size_t size)
{
    struct snapshot_reader *reader;
    size_t at = 0, got = 1;
    const uint8_t *bytes;
    CHECK(snapshot_reader_open(io, path, &reader, &error) == 0);
    const struct snapshot_head *found = snapshot_reader_head(reader);
    CHECK(found->cluster == 5 && found->group == 7 && found->metadata.index == 41 &&
          found->metadata.term == 6 && found->metadata.conf_state.voter_count == 3 &&
          found->metadata.conf_state.voters[2] == 3 && found->group_data_size == 11 &&
          memcmp(found->group_data, "the members", 11) == 0);
    CHECK_EQ_U64(snapshot_reader_info(reader)->data_bytes, size);
    while (got) {
        CHECK(snapshot_reader_next(reader, &bytes, &got, &error) == 0);
        CHECK(got <= size - at && memcmp(bytes, content + at, got) == 0);
        at += got;
    }
    CHECK_EQ_U64(at, size);
    snapshot_reader_free(reader);
}

static bool exists(const char *path)
{
    int fd = io->ops->open(io, path, IO_O_READ_ONLY);
    if (fd >= 0)
        io->ops->close(io, fd);
    return fd >= 0;
}

static void test_names_are_parsed_back_and_nothing_else(void)
{
    char name[SNAPSHOT_NAME_SIZE];
    uint64_t group, index;
    for (int kind = SNAPSHOT_NAME_PUBLISHED; kind <= SNAPSHOT_NAME_RECEIVED; kind++) {
        snapshot_file_name(name, UINT64_MAX, 41, (enum snapshot_name_kind)kind);
        CHECK(snapshot_file_parse_name(name, &group, &index) == (enum snapshot_name_kind)kind);
        CHECK(group == UINT64_MAX && index == 41);
    }
    static const char *const others[] = {"snap-7-29", "wal-0000000000000001", "snap-",
                                         "snap-0000000000000007-0000000000000029.par", "identity"};
    for (size_t i = 0; i < RR_ARRAY_SIZE(others); i++)
        CHECK(snapshot_file_parse_name(others[i], &group, &index) == SNAPSHOT_NAME_OTHER);
}

static void test_written_file_is_read_back_at_every_border(void)
{
    static const size_t sizes[] = {0, 1, 200, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 700000};
    begin();
    for (size_t i = 0; i < RR_ARRAY_SIZE(sizes); i++) {
        struct snapshot_file_info info;
        CHECK(write_file(PATH, &head, sizes[i], &info) == 0);
        CHECK_EQ_U64(info.data_bytes, sizes[i]);
        must_read(PATH, sizes[i]);
        CHECK(!exists(PATH ".part"));
    }
    sim_free(sim);
}

static void test_head_that_is_too_large_is_refused(void)
{
    struct snapshot_file_info info;
    struct snapshot_head large = head;
    begin();
    large.group_data = content;
    large.group_data_size = SNAPSHOT_GROUP_DATA_MAX + 1;
    CHECK_EQ_U64(write_file(PATH, &large, 10, &info), RR_E_TOO_LARGE);
    CHECK(!exists(PATH) && !exists(PATH ".part"));
    sim_free(sim);
}

/* Reads all of it after the byte at `at` was changed, and changes it back. */
static void must_refuse_flip(uint64_t at, uint8_t bit)
{
    uint8_t byte, flipped;
    CHECK(sim_durable_read(sim, 1, PATH, &byte, 1, at) == 1);
    flipped = byte ^ bit;
    CHECK(sim_corrupt(sim, 1, PATH, at, &flipped, 1) == 0);
    CHECK_EQ_U64(snapshot_file_verify(io, PATH, &error), RR_E_CORRUPT);
    CHECK(strstr(error.message, PATH) && strstr(error.message, "offset"));
    CHECK(sim_corrupt(sim, 1, PATH, at, &byte, 1) == 0);
}

static void test_every_flip_is_refused(void)
{
    struct snapshot_file_info info;
    begin();
    CHECK(write_file(PATH, &head, 150, &info) == 0);
    for (uint64_t at = 0; at < info.file_bytes; at++)
        must_refuse_flip(at, (uint8_t)(1u << (at % 8)));
    CHECK(write_file(PATH, &head, 2 * CHUNK + 100, &info) == 0);
    for (uint64_t at = 4096; at < info.file_bytes; at += 1009)
        must_refuse_flip(at, 0x10);
    for (uint64_t at = info.file_bytes - 150; at < info.file_bytes; at++)
        must_refuse_flip(at, 1);
    CHECK(snapshot_file_verify(io, PATH, &error) == 0);
    sim_free(sim);
}

static void test_every_truncation_is_refused(void)
{
    struct snapshot_file_info info;
    begin();
    CHECK(write_file(PATH, &head, 150, &info) == 0);
    int fd = io->ops->open(io, PATH, 0);
    for (uint64_t size = info.file_bytes; size-- > 0;) {
        CHECK(io->ops->truncate(io, fd, size) == 0);
        CHECK_EQ_U64(snapshot_file_verify(io, PATH, &error), RR_E_CORRUPT);
    }
    io->ops->close(io, fd);
    CHECK(io->ops->unlink(io, PATH) == 0);
    CHECK_EQ_U64(snapshot_file_verify(io, PATH, &error), RR_E_NOT_FOUND);
    sim_free(sim);
}

/* A chunk that is right elsewhere is not right here: not in another place, not in another file. */
static void test_chunks_of_another_place_or_file_are_refused(void)
{
    struct snapshot_file_info info;
    struct snapshot_head other = head;
    static uint8_t first[SNAPSHOT_FILE_CHUNK], second[SNAPSHOT_FILE_CHUNK];
    begin();
    other.file_id = 0x4321;
    CHECK(write_file("/d/other", &other, 3 * CHUNK, &info) == 0);
    CHECK(write_file(PATH, &head, 3 * CHUNK, &info) == 0);
    CHECK(sim_durable_read(sim, 1, PATH, first, sizeof(first), 4096) == sizeof(first));
    CHECK(sim_durable_read(sim, 1, PATH, second, sizeof(second), 4096 + sizeof(first)) ==
          sizeof(second));
    CHECK(sim_corrupt(sim, 1, PATH, 4096, second, sizeof(second)) == 0);
    CHECK_EQ_U64(snapshot_file_verify(io, PATH, &error), RR_E_CORRUPT);
    CHECK(sim_durable_read(sim, 1, "/d/other", second, sizeof(second), 4096) == sizeof(second));
    CHECK(sim_corrupt(sim, 1, PATH, 4096, second, sizeof(second)) == 0);
    CHECK_EQ_U64(snapshot_file_verify(io, PATH, &error), RR_E_CORRUPT);
    CHECK(sim_corrupt(sim, 1, PATH, 4096, first, sizeof(first)) == 0);
    CHECK(snapshot_file_verify(io, PATH, &error) == 0);
    sim_free(sim);
}

/* A full disk is said as such, and nothing is left. */
static void test_failed_write_leaves_no_file(void)
{
    struct snapshot_file_info info;
    for (uint64_t n = 1; n < 5; n++) {
        begin();
        sim_disk_error(sim, 1, 28 /* ENOSPC */, n);
        CHECK_EQ_U64(write_file(PATH, &head, 2 * CHUNK, &info), RR_E_NO_SPACE);
        CHECK(!exists(PATH) && !exists(PATH ".part"));
        sim_free(sim);
    }
}

static void test_crash_at_each_point_leaves_no_file_or_a_whole_one(void)
{
    struct snapshot_file_info info;
    for (uint32_t how = 0; how < SIM_POWER_LOSS_COUNT; how++) {
        uint32_t whole = 0, none = 0;
        for (uint64_t n = 1;; n++) {
            begin();
            sim_crash_at_io(sim, 1, n, true, (enum sim_power_loss)how);
            int rc = write_file(PATH, &head, CHUNK + 5000, &info);
            bool crashed = sim_crashed(sim, 1);
            sim_crash_at_io(sim, 1, 0, false, SIM_LOSE_ALL);
            CHECK(crashed || rc == 0);
            if (!crashed) /* what it promised holds if the power fails just now */
                sim_power_loss(sim, 1, (enum sim_power_loss)how);
            sim_reset(sim, 1);
            bool there = exists(PATH);
            if (there)
                must_read(PATH, CHUNK + 5000);
            CHECK(there || rc != 0);
            whole += there;
            none += !there;
            sim_free(sim);
            if (!crashed)
                break;
        }
        CHECK(whole > 0 && none > 3);
    }
}

/* ---- arriving ------------------------------------------------------------ */

static struct snapshot_part_options expected(const struct snapshot_file_info *info)
{
    return (struct snapshot_part_options){.io = io,
                                          .path = PATH,
                                          .group = 7,
                                          .index = 41,
                                          .term = 6,
                                          .file_bytes = info->file_bytes,
                                          .head_crc = info->head_crc};
}

static uint8_t wire[10 * SNAPSHOT_FILE_CHUNK];

/* A file made elsewhere, its bytes in `wire`. */
static struct snapshot_file_info make_source(size_t size)
{
    struct snapshot_file_info info;
    begin();
    CHECK(write_file("/d/source", &head, size, &info) == 0);
    CHECK(info.file_bytes <= sizeof(wire));
    CHECK(sim_durable_read(sim, 1, "/d/source", wire, info.file_bytes, 0) ==
          (int64_t)info.file_bytes);
    return info;
}

static void feed(struct snapshot_part *part, uint64_t from, uint64_t to, size_t step)
{
    while (from < to) {
        size_t size = rr_min_u64(step, to - from);
        CHECK(snapshot_part_write(part, from, wire + from, size, &error) == 0);
        from += size;
    }
}

static uint32_t slices; /* that the last open_part or publish_part took */

static int open_part(const struct snapshot_part_options *options, struct snapshot_part **part,
                     uint64_t *offset)
{
    int rc = snapshot_part_open(options, part, &error);
    if (rc != 0)
        return rc;
    for (slices = 0; (rc = snapshot_part_resume(*part, offset, &error)) == RR_E_PENDING;)
        slices++;
    return rc;
}

static int publish_part(struct snapshot_part *part)
{
    int rc;
    for (slices = 0; (rc = snapshot_part_publish(part, &error)) == RR_E_PENDING;)
        slices++;
    return rc;
}

static void test_file_that_arrives_in_pieces_is_published_whole(void)
{
    struct snapshot_part *part;
    uint64_t offset = 1;
    struct snapshot_file_info info = make_source(600000);
    struct snapshot_part_options options = expected(&info);
    CHECK(open_part(&options, &part, &offset) == 0 && offset == 0);
    feed(part, 0, info.file_bytes, 10007);
    CHECK_EQ_U64(snapshot_part_write(part, info.file_bytes, wire, 1, &error), RR_E_TOO_LARGE);
    CHECK(!exists(PATH));
    CHECK(publish_part(part) == 0);
    snapshot_part_close(part, false);
    must_read(PATH, 600000);
    CHECK(!exists(PATH ".recv"));
    sim_free(sim);
}

static void test_part_goes_on_behind_its_last_sound_chunk(void)
{
    struct snapshot_part *part;
    uint64_t offset;
    struct snapshot_file_info info = make_source(2 * CHUNK + 900);
    struct snapshot_part_options options = expected(&info);
    CHECK(open_part(&options, &part, &offset) == 0);
    feed(part, 0, 4096 + 2 * SNAPSHOT_FILE_CHUNK - 1, 4096);
    snapshot_part_close(part, true);
    CHECK(open_part(&options, &part, &offset) == 0);
    CHECK_EQ_U64(offset, 4096 + SNAPSHOT_FILE_CHUNK);
    feed(part, offset, info.file_bytes, 65536);
    CHECK(publish_part(part) == 0);
    snapshot_part_close(part, true);
    must_read(PATH, 2 * CHUNK + 900);
    sim_free(sim);
}

/* So that nobody who wants to end it waits for more than a slice. */
static void test_part_is_looked_through_a_slice_at_a_time(void)
{
    struct snapshot_part *part;
    uint64_t offset, per_slice = SNAPSHOT_SLICE_BYTES / SNAPSHOT_FILE_CHUNK;
    struct snapshot_file_info info = make_source(2 * per_slice * CHUNK + 900);
    struct snapshot_part_options options = expected(&info);
    CHECK(open_part(&options, &part, &offset) == 0 && slices == 0);
    feed(part, 0, info.file_bytes, 65536);
    snapshot_part_close(part, true);
    CHECK(open_part(&options, &part, &offset) == 0 && slices == 2);
    CHECK_EQ_U64(offset, 4096 + 2 * SNAPSHOT_SLICE_BYTES);
    feed(part, offset, info.file_bytes, 65536);
    CHECK(publish_part(part) == 0 && slices == 1);
    snapshot_part_close(part, true);
    must_read(PATH, 2 * per_slice * CHUNK + 900);
    sim_free(sim);
}

static void test_part_of_another_file_begins_anew(void)
{
    struct snapshot_part *part;
    uint64_t offset;
    struct snapshot_file_info info = make_source(2 * CHUNK);
    struct snapshot_part_options options = expected(&info);
    CHECK(open_part(&options, &part, &offset) == 0);
    feed(part, 0, 4096 + SNAPSHOT_FILE_CHUNK, 65536);
    snapshot_part_close(part, true);
    options.head_crc++;
    CHECK(open_part(&options, &part, &offset) == 0 && offset == 0);
    feed(part, 0, info.file_bytes, 65536);
    CHECK_EQ_U64(publish_part(part), RR_E_CORRUPT);
    snapshot_part_close(part, false);
    CHECK(!exists(PATH) && !exists(PATH ".recv"));
    sim_free(sim);
}

static void test_damaged_part_is_never_published(void)
{
    struct snapshot_file_info info = make_source(CHUNK + 10);
    for (uint64_t at = 0; at < info.file_bytes; at += 5003) {
        struct snapshot_part *part;
        uint64_t offset;
        struct snapshot_part_options options = expected(&info);
        CHECK(open_part(&options, &part, &offset) == 0);
        wire[at] ^= 4;
        feed(part, 0, info.file_bytes, 100000);
        wire[at] ^= 4;
        CHECK_EQ_U64(publish_part(part), RR_E_CORRUPT);
        snapshot_part_close(part, false);
        CHECK(!exists(PATH) && !exists(PATH ".recv"));
    }
    sim_free(sim);
}

static void test_part_survives_crashes_as_far_as_it_is_sound(void)
{
    for (uint64_t n = 1; n < 40; n++) {
        struct snapshot_file_info info = make_source(2 * CHUNK + 77);
        struct snapshot_part_options options = expected(&info);
        struct snapshot_part *part = NULL;
        uint64_t offset;
        sim_crash_at_io(sim, 1, n, true, SIM_KEEP_RANDOM);
        int rc = open_part(&options, &part, &offset);
        for (uint64_t at = 0; rc == 0 && at < info.file_bytes; at += 50000)
            rc = snapshot_part_write(part, at, wire + at, rr_min_u64(50000, info.file_bytes - at),
                                     &error);
        if (rc == 0)
            rc = publish_part(part);
        if (part)
            snapshot_part_close(part, true);
        sim_crash_at_io(sim, 1, 0, false, SIM_LOSE_ALL);
        if (sim_crashed(sim, 1))
            sim_reset(sim, 1);
        if (!exists(PATH)) {
            CHECK(open_part(&options, &part, &offset) == 0);
            feed(part, offset, info.file_bytes, 50000);
            CHECK(publish_part(part) == 0);
            snapshot_part_close(part, true);
        }
        must_read(PATH, 2 * CHUNK + 77);
        sim_free(sim);
    }
}

int main(void)
{
    RUN(test_names_are_parsed_back_and_nothing_else);
    RUN(test_written_file_is_read_back_at_every_border);
    RUN(test_head_that_is_too_large_is_refused);
    RUN(test_every_flip_is_refused);
    RUN(test_every_truncation_is_refused);
    RUN(test_chunks_of_another_place_or_file_are_refused);
    RUN(test_failed_write_leaves_no_file);
    RUN(test_crash_at_each_point_leaves_no_file_or_a_whole_one);
    RUN(test_file_that_arrives_in_pieces_is_published_whole);
    RUN(test_part_goes_on_behind_its_last_sound_chunk);
    RUN(test_part_is_looked_through_a_slice_at_a_time);
    RUN(test_part_of_another_file_begins_anew);
    RUN(test_damaged_part_is_never_published);
    RUN(test_part_survives_crashes_as_far_as_it_is_sound);
    return 0;
}
