/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage to a stopped node's files is told apart. What no later write proves durable may be the
 * work of a crash: it is cut, and the node goes on or rejoins. Everything else was durable once:
 * the node refuses, says which file, offset and write and what to do, and changes nothing.
 *
 * The argument, if any, is the seed by which offsets are chosen.
 */
#include "tests/faults/dir_copy.h"
#include "tests/faults/fault_node.h"
#include "tests/faults/log_surgery.h"
#include "tests/unit/check.h"

#define SINGLE_COUNT  150u
#define SINGLE_SIZE   300u
#define LITTLE_COUNT  5u /* no state is written again */
#define CLUSTER_COUNT 120u

static struct chance chance = {20261123};

static const char *const corrupt_words[] = {"nothing was changed", "replace this node", NULL};

/* ---- directories to damage ------------------------------------------------- */

static void write_singly(struct harness *harness)
{
    harness_open(harness, 0);
    struct harness_node *node = harness_leader(harness);
    fault_propose_singly(node, SINGLE_COUNT - 1, SINGLE_SIZE);
    fault_propose_singly(node, 1, 20000); /* the last write has several blocks */
}

static void write_and_close(struct harness *harness)
{
    write_singly(harness);
    harness_close(harness, 0, RR_CLOSE_DRAIN);
}

/* One node that was killed: its last write is acknowledged, but nothing proves it. */
static void init_killed(struct harness *harness)
{
    harness_init(harness, 1);
    fault_use_small_segments(harness);
    fault_run_and_kill(harness, write_singly);
}

static void init_closed(struct harness *harness)
{
    harness_init(harness, 1);
    fault_use_small_segments(harness);
    fault_run_and_kill(harness, write_and_close);
}

/* Segments have been recycled: what lies behind the tail was valid once. */
static void init_recycled(struct harness *harness)
{
    harness_init(harness, 1);
    fault_use_small_segments(harness);
    harness->engine_options.wal_bytes_max = 512 << 10;
    harness->group_options.snapshot_log_bytes = 128 << 10;
    fault_run_and_kill(harness, write_and_close);
}

/* Opens node 0, which must hold `count` entries, and lets it take more. */
static void check_opens_with(struct harness *harness, uint64_t count)
{
    struct harness_node *node = &harness->nodes[0];
    harness_open(harness, 0);
    harness_leader(harness);
    harness_check_equal(harness);
    CHECK_EQ_U64(node->chain.count, count);
    fault_propose_singly(node, 3, 100);
    CHECK_EQ_U64(node->chain.count, count + 3);
    harness_close(harness, 0, RR_CLOSE_DRAIN);
}

/* ---- one damage ------------------------------------------------------------ */

enum spot { SPOT_HEADER, SPOT_SECTION, SPOT_BODY, SPOT_LAST_BYTE, SPOT_COUNT };

static uint64_t offset_of(const struct surgery_write *write, enum spot spot)
{
    const uint64_t payload = sizeof(struct wal_header), end = payload + write->header.length;
    switch (spot) {
    case SPOT_HEADER:
        return chance_below(&chance, payload);
    case SPOT_SECTION:
        return payload + chance_below(&chance, sizeof(struct wal_section));
    case SPOT_BODY:
        return payload + chance_below(&chance, write->header.length);
    default:
        return end - 1;
    }
}

/* The node refuses, naming this write, and changes nothing. */
static void check_refused_at(struct harness *harness, const struct surgery *surgery,
                             const struct surgery_write *write)
{
    char offset[64], seq[64];
    snprintf(offset, sizeof(offset), "offset %llu", (unsigned long long)write->offset);
    snprintf(seq, sizeof(seq), "write %llu ", (unsigned long long)write->header.seq);
    const char *oldest = "(the log's oldest)"; /* whose sequence nothing tells any more */
    const char *words[] = {
        write->segment,   offset,           write == surgery->writes ? oldest : seq,
        corrupt_words[0], corrupt_words[1], NULL};
    struct dir_copy before;
    dir_copy_take(&before, harness->dirs[0]);
    fault_check_refused(harness, 0, RR_E_CORRUPT, words);
    dir_copy_check_unchanged(&before, harness->dirs[0]);
    dir_copy_free(&before);
}

static void check_refused_unchanged(struct harness *harness, int code, const char *const *words)
{
    struct dir_copy before;
    dir_copy_take(&before, harness->dirs[0]);
    fault_check_refused(harness, 0, code, words);
    dir_copy_check_unchanged(&before, harness->dirs[0]);
    dir_copy_free(&before);
}

/* ---- the tail -------------------------------------------------------------- */

static void test_damage_in_the_unproven_tail_is_cut(void)
{
    struct harness harness;
    struct surgery surgery;
    struct dir_copy whole;
    init_killed(&harness);
    dir_copy_take(&whole, harness.dirs[0]);
    surgery_begin(&surgery, harness.dirs[0]);
    const struct surgery_write *last = surgery_last(&surgery);
    CHECK(!last->is_proven && last->entry_count == 1 && last->padded > 16384);
    for (enum spot spot = 0; spot < SPOT_COUNT; spot++) {
        file_flip_bit(harness.dirs[0], last->segment, last->offset + offset_of(last, spot),
                      (unsigned)chance_below(&chance, 8));
        check_opens_with(&harness, SINGLE_COUNT - 1);
        dir_copy_put(&whole, harness.dirs[0]);
    }
    for (int i = 0; i < 10; i++) { /* torn: some of its sectors never came to the disk */
        uint64_t kept = chance_next(&chance) | 1u << chance_below(&chance, 20);
        for (uint64_t at = 0; at < last->header.length; at += 512)
            if (!(kept >> at / 512 % 40 & 1))
                surgery_zero(&surgery, last, at, 512);
        surgery_zero(&surgery, last, 512 * chance_below(&chance, last->header.length / 512), 512);
        check_opens_with(&harness, SINGLE_COUNT - 1);
        dir_copy_put(&whole, harness.dirs[0]);
    }
    surgery_end_log_before(&surgery, last); /* it never came at all */
    check_opens_with(&harness, SINGLE_COUNT - 1);
    dir_copy_put(&whole, harness.dirs[0]);
    check_opens_with(&harness, SINGLE_COUNT);
    surgery_end(&surgery);
    dir_copy_free(&whole);
    harness_fini(&harness);
}

static void write_little(struct harness *harness)
{
    harness_open(harness, 0);
    fault_propose_singly(harness_leader(harness), LITTLE_COUNT, SINGLE_SIZE);
}

static void write_little_and_close(struct harness *harness)
{
    write_little(harness);
    harness_close(harness, 0, RR_CLOSE_DRAIN);
}

/* A vote that no mark proves yet: the machine stopped within a turn of it. */
static void test_damage_in_an_unproven_state_is_cut(void)
{
    struct harness harness;
    struct surgery surgery;
    harness_init(&harness, 1);
    fault_use_small_segments(&harness);
    fault_run_and_kill(&harness, write_little);
    surgery_begin(&surgery, harness.dirs[0]);
    const struct surgery_write *first = surgery_find(&surgery, 0, WAL_SECTION_STATE);
    CHECK(first != NULL);
    const struct surgery_write *vote =
        surgery_find(&surgery, (uint32_t)(first - surgery.writes) + 1, WAL_SECTION_STATE);
    CHECK(vote != NULL && vote < surgery_last(&surgery) && vote->is_proven);
    surgery_end_log_before(&surgery, vote + 1);
    file_flip_bit(harness.dirs[0], vote->segment, vote->offset + offset_of(vote, SPOT_BODY), 3);
    check_opens_with(&harness, 0);
    surgery_end(&surgery);
    harness_fini(&harness);
}

static void write_cluster(struct harness *harness)
{
    fault_open_all(harness);
    fault_propose_until_ok(harness, CLUSTER_COUNT, SINGLE_SIZE);
    harness_check_equal(harness);
}

static void damage_tail(const char *dir, uint32_t kind)
{
    struct surgery surgery;
    surgery_begin(&surgery, dir);
    const struct surgery_write *last = surgery_last(&surgery);
    CHECK(!last->is_proven);
    if (kind == 0)
        file_flip_bit(dir, last->segment, last->offset + offset_of(last, SPOT_BODY), 5);
    else if (kind == 1)
        surgery_zero(&surgery, last, 0, 512); /* torn: its first sector is missing */
    else
        surgery_end_log_before(&surgery, last);
    surgery_end(&surgery);
}

static void test_damage_in_one_unproven_tail_costs_a_cluster_nothing(void)
{
    struct harness harness;
    struct dir_copy whole[3];
    harness_init(&harness, 3);
    fault_use_small_segments(&harness);
    fault_run_and_kill(&harness, write_cluster);
    for (uint32_t i = 0; i < 3; i++)
        dir_copy_take(&whole[i], harness.dirs[i]);
    for (uint32_t victim = 0; victim < 3; victim++) {
        for (uint32_t i = 0; i < 3; i++)
            dir_copy_put(&whole[i], harness.dirs[i]);
        damage_tail(harness.dirs[victim], victim);
        fault_open_all(&harness);
        fault_propose_until_ok(&harness, 50, 100);
        harness_check_equal(&harness);
        CHECK_EQ_U64(harness.nodes[victim].chain.count, CLUSTER_COUNT + 50);
        fault_close_all(&harness, RR_CLOSE_ABORT);
    }
    for (uint32_t i = 0; i < 3; i++)
        dir_copy_free(&whole[i]);
    harness_fini(&harness);
}

/* ---- what was durable ------------------------------------------------------ */

/* A flipped bit in every write of the log, in each kind of place. */
static void sweep_writes(struct harness *harness)
{
    struct surgery surgery;
    surgery_begin(&surgery, harness->dirs[0]);
    uint32_t proven = 0;
    for (uint32_t i = 0; i < surgery.write_count; i++) {
        const struct surgery_write *write = &surgery.writes[i];
        if (!write->is_proven)
            continue;
        proven++;
        enum spot spot = i < 6 || i + 6 > surgery.write_count ? SPOT_HEADER : i % SPOT_COUNT;
        enum spot end = i < 6 || i + 6 > surgery.write_count ? SPOT_COUNT : spot + 1;
        for (; spot < end; spot++) {
            uint64_t at = write->offset + offset_of(write, spot);
            unsigned bit = (unsigned)chance_below(&chance, 8);
            file_flip_bit(harness->dirs[0], write->segment, at, bit);
            check_refused_at(harness, &surgery, write);
            file_flip_bit(harness->dirs[0], write->segment, at, bit);
        }
    }
    CHECK(proven + 1 == surgery.write_count); /* closed cleanly: all but the mark are proven */
    CHECK(surgery_last(&surgery)->kinds == 1u << WAL_SECTION_MARK);
    surgery_end(&surgery);
}

static void test_damage_in_a_proven_write_is_refused(void)
{
    struct harness harness;
    init_closed(&harness);
    sweep_writes(&harness);
    check_opens_with(&harness, SINGLE_COUNT);
    harness_fini(&harness);
}

static void test_damage_in_a_recycled_log_is_refused(void)
{
    struct harness harness;
    init_recycled(&harness);
    struct surgery surgery;
    surgery_begin(&surgery, harness.dirs[0]);
    CHECK(surgery.writes[0].header.seq > 1 && surgery.segment_count <= 8);
    surgery_end(&surgery);
    sweep_writes(&harness);
    check_opens_with(&harness, SINGLE_COUNT);
    harness_fini(&harness);
}

static void test_damage_in_a_killed_node_is_refused_before_its_last_write(void)
{
    struct harness harness;
    struct surgery surgery;
    init_killed(&harness);
    surgery_begin(&surgery, harness.dirs[0]);
    const struct surgery_write *write = surgery_last(&surgery) - 1;
    CHECK(write->is_proven);
    for (enum spot spot = 0; spot < SPOT_COUNT; spot++) {
        uint64_t at = write->offset + offset_of(write, spot);
        file_flip_bit(harness.dirs[0], write->segment, at, 0);
        check_refused_at(&harness, &surgery, write);
        file_flip_bit(harness.dirs[0], write->segment, at, 0);
    }
    check_opens_with(&harness, SINGLE_COUNT);
    surgery_end(&surgery);
    harness_fini(&harness);
}

/* Every state section, at every byte: terms and votes are never guessed. */
static void test_damage_in_a_state_section_is_refused(void)
{
    struct harness harness;
    struct surgery surgery;
    uint32_t found = 0;
    harness_init(&harness, 1);
    fault_use_small_segments(&harness);
    fault_run_and_kill(&harness, write_little_and_close);
    surgery_begin(&surgery, harness.dirs[0]);
    for (uint32_t i = 0; i < surgery.write_count; i++) {
        const struct surgery_write *write = &surgery.writes[i];
        if (!(write->kinds & 1u << WAL_SECTION_STATE) || !write->is_proven)
            continue;
        found++;
        for (uint32_t byte = 0; byte < write->header.length && byte < 200; byte += 3) {
            uint64_t at = write->offset + sizeof(struct wal_header) + byte;
            file_flip_bit(harness.dirs[0], write->segment, at, byte % 8);
            check_refused_at(&harness, &surgery, write);
            file_flip_bit(harness.dirs[0], write->segment, at, byte % 8);
        }
    }
    CHECK(found >= 2); /* the bootstrap's and the vote's */
    check_opens_with(&harness, LITTLE_COUNT);
    surgery_end(&surgery);
    harness_fini(&harness);
}

static void test_damage_zeroed_swapped_and_misdirected_writes_are_refused(void)
{
    struct harness harness;
    struct surgery surgery;
    struct dir_copy whole;
    uint8_t one[WAL_BLOCK_MIN], other[WAL_BLOCK_MIN];
    init_closed(&harness);
    dir_copy_take(&whole, harness.dirs[0]);
    surgery_begin(&surgery, harness.dirs[0]);
    const char *dir = harness.dirs[0];
    for (uint32_t i = 0; i < 12; i++) {
        uint32_t a = 2 + (uint32_t)chance_below(&chance, surgery.write_count - 4);
        uint32_t b = 2 + (uint32_t)chance_below(&chance, surgery.write_count - 4);
        const struct surgery_write *first = &surgery.writes[a < b ? a : b];
        const struct surgery_write *second = &surgery.writes[a < b ? b : a];
        if (first == second || !second->is_proven)
            continue;
        surgery_zero(&surgery, first, 0, WAL_BLOCK_MIN);
        check_refused_at(&harness, &surgery, first);
        dir_copy_put(&whole, dir);
        file_read_at(dir, first->segment, first->offset, one, sizeof(one));
        file_read_at(dir, second->segment, second->offset, other, sizeof(other));
        /* The second write went to the first one's place, and its own place keeps what was there:
         * both places are wrong. */
        file_write_at(dir, first->segment, first->offset, other, sizeof(other));
        check_refused_at(&harness, &surgery, first);
        file_write_at(dir, second->segment, second->offset, one, sizeof(one));
        check_refused_at(&harness, &surgery, first);
        dir_copy_put(&whole, dir);
        file_write_at(dir, second->segment, second->offset, one, sizeof(one));
        check_refused_at(&harness, &surgery, second);
        dir_copy_put(&whole, dir);
    }
    check_opens_with(&harness, SINGLE_COUNT);
    surgery_end(&surgery);
    dir_copy_free(&whole);
    harness_fini(&harness);
}

/* ---- files ----------------------------------------------------------------- */

static void test_damage_missing_and_cut_segments_are_refused(void)
{
    struct harness harness;
    struct surgery surgery;
    struct dir_copy whole;
    init_closed(&harness);
    dir_copy_take(&whole, harness.dirs[0]);
    surgery_begin(&surgery, harness.dirs[0]);
    CHECK(surgery.segment_count > 5);
    for (uint32_t i = 0; i < surgery.segment_count; i++) {
        const char *segment = surgery.segments[i];
        const uint64_t sizes[] = {0, WAL_BLOCK_MIN, surgery.segment_bytes / 2 + 100,
                                  surgery.segment_bytes - WAL_BLOCK_MIN};
        for (uint32_t k = 0; k < 4; k++) {
            file_cut(harness.dirs[0], segment, sizes[k]);
            check_refused_unchanged(
                &harness, RR_E_CORRUPT,
                (const char *[]){segment, corrupt_words[0], corrupt_words[1], NULL});
            dir_copy_put(&whole, harness.dirs[0]);
        }
        file_remove(harness.dirs[0], segment);
        if (i + 1 < surgery.segment_count)
            check_refused_unchanged(&harness, RR_E_CORRUPT, corrupt_words);
        else /* the newest of the spares: a crash may lose it */
            check_opens_with(&harness, SINGLE_COUNT);
        dir_copy_put(&whole, harness.dirs[0]);
    }
    for (uint32_t i = 0; i < surgery.segment_count; i++)
        file_remove(harness.dirs[0], surgery.segments[i]);
    check_refused_unchanged(&harness, RR_E_CORRUPT, corrupt_words);
    dir_copy_put(&whole, harness.dirs[0]);
    check_opens_with(&harness, SINGLE_COUNT);
    surgery_end(&surgery);
    dir_copy_free(&whole);
    harness_fini(&harness);
}

static void test_damage_in_the_identity_is_refused(void)
{
    struct harness harness;
    struct dir_copy whole;
    init_closed(&harness);
    dir_copy_take(&whole, harness.dirs[0]);
    for (uint32_t byte = 0; byte < 48; byte++) {
        /* Format and feature level come before the checksum, which another format may keep
         * elsewhere. */
        bool is_version = byte >= 8 && byte < 16;
        file_flip_bit(harness.dirs[0], "identity", byte, byte % 8);
        check_refused_unchanged(&harness, is_version ? RR_E_VERSION : RR_E_CORRUPT,
                                (const char *[]){"identity", NULL});
        file_flip_bit(harness.dirs[0], "identity", byte, byte % 8);
    }
    for (uint64_t size = 0; size < 48; size += 13) {
        file_cut(harness.dirs[0], "identity", size);
        check_refused_unchanged(&harness, RR_E_CORRUPT,
                                (const char *[]){"identity", corrupt_words[1], NULL});
        dir_copy_put(&whole, harness.dirs[0]);
    }
    check_opens_with(&harness, SINGLE_COUNT);
    dir_copy_free(&whole);
    harness_fini(&harness);
}

/* A log without an identity is no empty directory: BOOTSTRAP may not begin anew on top of it. */
static void test_damage_a_lost_identity_does_not_cost_the_log(void)
{
    struct harness harness;
    struct dir_copy whole;
    init_closed(&harness);
    dir_copy_take(&whole, harness.dirs[0]);
    file_remove(harness.dirs[0], "identity");
    check_refused_unchanged(&harness, RR_E_CORRUPT,
                            (const char *[]){"identity", harness.dirs[0], NULL});
    dir_copy_put(&whole, harness.dirs[0]);
    check_opens_with(&harness, SINGLE_COUNT);
    dir_copy_free(&whole);
    harness_fini(&harness);
}

/* ---- the cluster of a damaged node ----------------------------------------- */

static void test_damage_refused_on_one_node_leaves_the_cluster_running(void)
{
    struct harness harness;
    struct surgery surgery;
    harness_init(&harness, 3);
    fault_use_small_segments(&harness);
    fault_run_and_kill(&harness, write_cluster);
    surgery_begin(&surgery, harness.dirs[2]);
    const struct surgery_write *write = &surgery.writes[surgery.write_count / 2];
    file_flip_bit(harness.dirs[2], write->segment, write->offset + offset_of(write, SPOT_BODY), 1);
    harness_open(&harness, 0);
    harness_open(&harness, 1);
    fault_check_refused(&harness, 2, RR_E_CORRUPT, corrupt_words);
    fault_propose_until_ok(&harness, 50, 100);
    harness_check_equal(&harness);
    CHECK_EQ_U64(harness.nodes[0].chain.count, CLUSTER_COUNT + 50);
    surgery_end(&surgery);
    harness_fini(&harness);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        chance.state = strtoull(argv[1], NULL, 0) | 1;
    fprintf(stderr, "seed %llu\n", (unsigned long long)chance.state);
    RUN(test_damage_in_the_unproven_tail_is_cut);
    RUN(test_damage_in_an_unproven_state_is_cut);
    RUN(test_damage_in_one_unproven_tail_costs_a_cluster_nothing);
    RUN(test_damage_in_a_proven_write_is_refused);
    RUN(test_damage_in_a_recycled_log_is_refused);
    RUN(test_damage_in_a_killed_node_is_refused_before_its_last_write);
    RUN(test_damage_in_a_state_section_is_refused);
    RUN(test_damage_zeroed_swapped_and_misdirected_writes_are_refused);
    RUN(test_damage_missing_and_cut_segments_are_refused);
    RUN(test_damage_in_the_identity_is_refused);
    RUN(test_damage_a_lost_identity_does_not_cost_the_log);
    RUN(test_damage_refused_on_one_node_leaves_the_cluster_running);
    return 0;
}
