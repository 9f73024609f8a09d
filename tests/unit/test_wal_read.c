/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries read back from the log while it works: truncated, compacted, rewritten, recycled and
 * damaged under the readers, who must get what was written or be told.
 */
#include "wal_world.h"

#include "proto/codec.h"
#include "tests/unit/check.h"

#include <stdlib.h>

#define READERS 6u

struct reader {
    struct wal_read read;
    uint32_t group; /* place in the model */
    bool is_busy;
    bool is_done;
};

struct readers {
    struct reader readers[READERS];
    uint32_t started, answered, forgotten;
    uint64_t entries;       /* that were got */
    uint64_t most_in_one;   /* answer */
    uint32_t forget_one_in; /* turns, of a read */
    int expected_err;       /* an answer may also be this */
    uint32_t failed;        /* how many were */
    struct rr_error error;  /* of the last of them */
    bool is_over;           /* no new ones */
    uint32_t most_in_flight;
};

static void read_done(struct wal_read *read)
{
    RR_CONTAINER_OF(read, struct reader, read)->is_done = true;
}

/* The answer is what the model holds. */
static void check_answer(struct wal_world *world, struct readers *all, struct reader *reader)
{
    struct wal_read *read = &reader->read;
    const struct world_group *group = &world->model.groups[reader->group];
    const uint8_t *at = read->bytes;
    uint8_t expected[4096];
    CHECK(read->first_index <= read->index && read->index - read->first_index < read->count);
    CHECK(read->first_index + read->count - 1 <= read->last_index);
    CHECK(read->block->refs == 1 && read->block->cap == read->size);
    for (uint32_t i = 0; i < read->count; i++) {
        struct rr_entry entry;
        CHECK(rr_entry_decode(&at, read->bytes + read->size, read->block, &entry) == 0);
        CHECK_EQ_U64(entry.index, read->first_index + i);
        if (entry.index < group->first)
            continue;
        CHECK_EQ_U64(entry.term, group->terms[entry.index]);
        CHECK(entry.wire_size > 0 && entry.size <= sizeof(expected));
        world_fill(expected, entry.size, group->id, entry.index, entry.term);
        CHECK(memcmp(expected, entry.data, entry.size) == 0);
    }
    CHECK(at == read->bytes + read->size);
    all->entries += read->count;
    all->most_in_one = rr_max_u64(all->most_in_one, read->count);
}

static void take_answer(struct wal_world *world, struct readers *all, struct reader *reader)
{
    if (reader->read.err == 0) {
        check_answer(world, all, reader);
        rr_block_put(reader->read.block, 1);
    } else {
        if (reader->read.err != all->expected_err)
            fprintf(stderr, "%d: %s\n", reader->read.err, reader->read.error.message);
        CHECK(reader->read.err == all->expected_err);
        all->failed++;
        all->error = reader->read.error;
    }
    all->answered++;
    reader->is_busy = reader->is_done = false;
}

/* The last entry that is durable and was not replaced; first - 1: none. */
static uint64_t readable_last(const struct wal_world *world, uint32_t g)
{
    const struct world_group *group = &world->model.groups[g];
    uint64_t last = group->last;
    while (last >= group->first && world->seqs[g][last] > wal_durable_seq(world->wal))
        last--;
    return last;
}

static void start_read(struct wal_world *world, struct readers *all, struct reader *reader)
{
    uint32_t g = (uint32_t)sim_random_below(world->sim, WORLD_GROUPS);
    const struct world_group *group = &world->model.groups[g];
    uint64_t last = readable_last(world, g);
    if (!group->is_stated || last < group->first)
        return;
    uint64_t index = group->first + sim_random_below(world->sim, last - group->first + 1);
    reader->group = g;
    reader->is_busy = true;
    reader->read = (struct wal_read){
        .group = group->id,
        .index = index,
        .last_index = index + sim_random_below(world->sim, last - index + 1),
        .done = read_done,
    };
    wal_read_start(world->wal, &reader->read);
    all->started++;
}

/* What they read is not theirs any more. */
static bool is_void(const struct wal_world *world, const struct reader *reader)
{
    return reader->read.index < world->model.groups[reader->group].first ||
           reader->read.last_index > world->cut[reader->group];
}

static void each_turn(struct wal_world *world)
{
    struct readers *all = world->reader;
    uint32_t in_flight = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        struct reader *reader = &all->readers[i];
        in_flight += reader->is_busy && !reader->is_done;
        bool forget = reader->is_busy && (is_void(world, reader) ||
                                          sim_random_below(world->sim, all->forget_one_in) == 0);
        if (reader->is_busy && reader->is_done && !is_void(world, reader)) {
            take_answer(world, all, reader);
        } else if (reader->is_busy && reader->is_done) {
            rr_block_put(reader->read.block, 1);
            reader->is_busy = reader->is_done = false;
        } else if (forget) {
            wal_read_forget(world->wal, &reader->read);
            reader->is_busy = false;
            all->forgotten++;
        } else if (!reader->is_busy && !all->is_over) {
            start_read(world, all, reader);
        }
    }
    all->most_in_flight = (uint32_t)rr_max_u64(all->most_in_flight, in_flight);
    world->cut[0] = world->cut[1] = UINT64_MAX;
}

static void must_open(struct wal_world *world)
{
    int err = world_open(world);
    if (err)
        fprintf(stderr, "wal_open: %s\n", world->error.message);
    CHECK(err == 0);
}

static void begin(struct wal_world *world, struct readers *all, uint64_t seed)
{
    *all = (struct readers){.forget_one_in = 20};
    world_init(world, seed);
    world->each_turn = each_turn;
    world->reader = all;
}

static void create(struct wal_world *world)
{
    CHECK(world_create(world) == 0);
}

static void put_answers(struct readers *all)
{
    for (uint32_t i = 0; i < READERS; i++) {
        if (all->readers[i].is_done && all->readers[i].read.err == 0)
            rr_block_put(all->readers[i].read.block, 1);
        all->readers[i] = (struct reader){.group = 0};
    }
}

/* The loop ends with reads in flight now and then: their end is RR_E_CANCELED or none. */
static void run(struct wal_world *world, struct readers *all, uint32_t turns)
{
    must_open(world);
    world_run(world, turns);
    CHECK(!world->poisoned);
    put_answers(all);
    world_reset(world);
}

static void test_entries_come_back_while_the_log_works(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct wal_world world;
        struct readers all;
        begin(&world, &all, seed);
        world.keep_max = seed % 2 ? 60 : 400;
        world.entry_bytes_max = seed % 3 ? 500 : 3000;
        if (seed % 4 == 0)
            sim_disk_latency(world.sim, 1, 100000, 3000000);
        create(&world);
        run(&world, &all, 1000);
        run(&world, &all, 1000); /* with an index made by recovery */
        CHECK(all.answered > 100 && all.entries > 4 * all.answered);
        CHECK(all.most_in_one > 10 && all.forgotten > 0);
        CHECK(world.stats.segments_recycled > 5);
        CHECK(world.stats.read_count > 30);
        must_open(&world);
        world_fini(&world);
    }
}

/* 77 is idle and too large to be written again at once: its entries are moved under the readers,
 * who may not look at a piece before it has reached the disk. */
static void test_entries_come_back_while_they_are_moved(void)
{
    for (uint64_t seed = 200; seed < 220; seed++) {
        struct wal_world world;
        struct readers all;
        begin(&world, &all, seed);
        world.options.wal_bytes_max = 16 * WAL_SEGMENT_BYTES_MIN;
        world.keep_max = WORLD_ENTRIES_MAX;
        world.ignores_rewrites = true;
        create(&world);
        while (world.model.groups[1].last + 1 - world.model.groups[1].first < 300)
            run(&world, &all, 20);
        world.ignores_rewrites = false;
        world.moves_groups = world.only_group = true;
        world.keep_max = 60;
        all.forget_one_in = 5000;
        sim_disk_latency(world.sim, 1, 100000, 3000000);
        run(&world, &all, 2000);
        CHECK(all.answered > 100);
        CHECK(world.stats.moved_bytes > 0);
        world_fini(&world);
    }
}

static void test_write_larger_than_the_buffer_is_read_whole(void)
{
    struct wal_world world;
    struct readers all;
    begin(&world, &all, 30);
    world.options.segment_bytes = 8u << 20;
    world.options.wal_bytes_max = 12 * world.options.segment_bytes;
    world.options.write_bytes_max = 2u << 20;
    world.entry_bytes_max = 4000;
    world.keep_max = 5000;
    all.forget_one_in = 5000;
    sim_disk_latency(world.sim, 1, 3000000, 9000000); /* so that much gathers for a write */
    create(&world);
    run(&world, &all, 4000);
    CHECK(all.answered > 20);
    CHECK(world.stats.padded_bytes / world.stats.write_count > 256u * 1024);
    world_fini(&world);
}

static void test_buffered_files_are_read_too(void)
{
    struct wal_world world;
    struct readers all;
    begin(&world, &all, 40);
    sim_disk_buffered(world.sim, 1, true);
    create(&world);
    run(&world, &all, 1000);
    CHECK(!world.stats.is_direct);
    CHECK(all.answered > 100);
    world_fini(&world);
}

/* Every kind of damage, while the log serves: nothing but what was written is ever handed out. */
static void test_damage_is_told_and_never_handed_out(void)
{
    uint32_t failed = 0;
    for (uint32_t how = 0; how < SIM_DAMAGE_COUNT; how++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct wal_world world;
            struct readers all;
            begin(&world, &all, 50 + seed);
            world.keep_max = 300;
            world.ignores_rewrites = true;
            create(&world);
            run(&world, &all, 500);
            must_open(&world);
            all.expected_err = RR_E_CORRUPT;
            uint64_t segment = world.wal->segments.oldest;
            for (uint32_t i = 0; i < 6; i++) {
                char path[64], name[WAL_NAME_SIZE];
                wal_segment_name(name, segment + sim_random_below(world.sim, 3));
                snprintf(path, sizeof(path), "/d/%s", name);
                (void)sim_damage(world.sim, 1, path,
                                 sim_random_below(world.sim, WAL_SEGMENT_BYTES_MIN),
                                 (enum sim_damage)how);
            }
            world_run(&world, 200);
            failed += all.failed;
            if (all.failed) {
                CHECK(strstr(all.error.message, "/d/wal-0"));
                CHECK(strstr(all.error.message, ": at offset "));
                CHECK(strstr(all.error.message, ": write "));
                CHECK(strstr(all.error.message, "replace this node by a new one"));
            }
            put_answers(&all);
            world_fini(&world);
        }
        CHECK(failed > 10 * (how + 1));
    }
}

static void test_read_error_is_told(void)
{
    uint32_t failed = 0;
    for (uint64_t n = 1; n < 40; n++) {
        struct wal_world world;
        struct readers all;
        begin(&world, &all, 90);
        create(&world);
        must_open(&world);
        all.expected_err = RR_E_CORRUPT;
        sim_disk_read_error(world.sim, 1, n);
        world_run(&world, 200);
        CHECK(all.failed <= 1);
        if (all.failed)
            CHECK(strstr(all.error.message, "cannot be read"));
        failed += all.failed;
        put_answers(&all);
        world_fini(&world);
    }
    CHECK(failed > 20);
}

/* A write that never arrived, or went elsewhere: its place holds what was there before. */
static void test_lost_write_is_told(void)
{
    uint32_t failed = 0;
    for (uint64_t n = 1; n < 60; n++) {
        struct wal_world world;
        struct readers all;
        begin(&world, &all, 110 + n % 7);
        create(&world);
        run(&world, &all, 500); /* so that something stood there before */
        must_open(&world);
        all.expected_err = RR_E_CORRUPT;
        sim_disk_lose_write(world.sim, 1, n, n % 2 == 0);
        world_run(&world, 200);
        failed += all.failed != 0;
        put_answers(&all);
        world_fini(&world);
    }
    CHECK(failed > 20);
}

int main(void)
{
    RUN(test_entries_come_back_while_the_log_works);
    RUN(test_entries_come_back_while_they_are_moved);
    RUN(test_write_larger_than_the_buffer_is_read_whole);
    RUN(test_buffered_files_are_read_too);
    RUN(test_damage_is_told_and_never_handed_out);
    RUN(test_read_error_is_told);
    RUN(test_lost_write_is_told);
    return 0;
}
