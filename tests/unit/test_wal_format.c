/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers, the order rule, sections, states and names, each in memory alone.
 */
#include "io/wal_format.h"

#include "proto/codec.h"
#include "proto/crc32c.h"
#include "tests/unit/check.h"

static const struct wal_header sane = {
    .magic = WAL_MAGIC,
    .format = WAL_FORMAT,
    .block_shift = 12,
    .epoch = 3,
    .boot = 2,
    .seq = 17,
    .durable_seq = 15,
    .length = 80,
    .section_count = 2,
};

static enum wal_header_verdict check(struct wal_header header, uint32_t seed)
{
    struct wal_header out;
    wal_header_seal(&header, seed);
    return wal_header_check((const uint8_t *)&header, seed, &out);
}

static void test_sealed_header_is_valid_under_its_own_instance_only(void)
{
    struct wal_header header = sane, out;
    wal_header_seal(&header, wal_seed(5));
    CHECK(wal_header_check((const uint8_t *)&header, wal_seed(5), &out) == WAL_HEADER_VALID);
    CHECK(memcmp(&out, &header, sizeof(out)) == 0);
    CHECK(wal_header_check((const uint8_t *)&header, wal_seed(6), &out) == WAL_HEADER_INVALID);
}

static void test_header_with_any_flipped_bit_is_invalid(void)
{
    struct wal_header header = sane, out;
    wal_header_seal(&header, 1);
    for (uint32_t bit = 0; bit < 8 * sizeof(header); bit++) {
        uint8_t bytes[sizeof(header)];
        memcpy(bytes, &header, sizeof(header));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(wal_header_check(bytes, 1, &out) == WAL_HEADER_INVALID);
    }
}

static void test_header_out_of_its_limits_is_invalid(void)
{
    struct wal_header h;
    CHECK(check(sane, 1) == WAL_HEADER_VALID);
    h = sane, h.block_shift = 11;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.block_shift = 21;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.block_shift = 255;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.flags = 2;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.epoch = 0;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.durable_seq = 17;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.length = 32;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.length = 84;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.section_count = 0;
    CHECK(check(h, 1) == WAL_HEADER_INVALID);
    h = sane, h.format = 2;
    CHECK(check(h, 1) == WAL_HEADER_FOREIGN);
}

static void test_order_rule(void)
{
    struct wal_header next = sane;
    next.seq = 18;
    CHECK(wal_header_follows(&sane, &next));
    next.epoch = 4;
    CHECK(wal_header_follows(&sane, &next));
    next.epoch = 5;
    CHECK(!wal_header_follows(&sane, &next));
    next.epoch = 2;
    CHECK(!wal_header_follows(&sane, &next));
    next = sane;
    CHECK(!wal_header_follows(&sane, &next)); /* itself */
    next.seq = 19;
    CHECK(!wal_header_follows(&sane, &next));
    next.seq = 18, next.boot = 3;
    CHECK(!wal_header_follows(&sane, &next)); /* only an open section raises boot */
    next.flags = WAL_WRITE_OPEN;
    CHECK(wal_header_follows(&sane, &next));
    next.boot = 2;
    CHECK(!wal_header_follows(&sane, &next));
    next.boot = 4;
    CHECK(!wal_header_follows(&sane, &next));
}

static void test_padding_reaches_the_block(void)
{
    struct wal_header h = sane;
    h.length = 4096 - 64;
    CHECK_EQ_U64(wal_padded_size(&h), 4096);
    h.length = 4096 - 56;
    CHECK_EQ_U64(wal_padded_size(&h), 8192);
    h.block_shift = 14;
    CHECK_EQ_U64(wal_padded_size(&h), 16384);
}

/* ---- sections ------------------------------------------------------------------------ */

struct payload {
    struct wal_section mark;
    struct wal_section entries;
    uint8_t body[16];
};

static struct payload payload_make(void)
{
    return (struct payload){
        .mark = {.kind = WAL_SECTION_MARK},
        .entries =
            {.kind = WAL_SECTION_ENTRIES, .length = 11, .group = 4, .first_index = 9, .count = 2},
    };
}

static int walk(const struct payload *payload, uint32_t sections, uint32_t *seen)
{
    struct wal_header header = sane;
    header.length = sizeof(*payload);
    header.section_count = sections;
    struct wal_section_walk walk = wal_sections(&header, (const uint8_t *)payload);
    *seen = 0;
    while (wal_section_next(&walk))
        (*seen)++;
    return walk.failed;
}

static void test_sections_are_walked_to_the_end(void)
{
    struct payload payload = payload_make();
    uint32_t seen;
    CHECK_EQ_U64(walk(&payload, 2, &seen), 0);
    CHECK_EQ_U64(seen, 2);
    CHECK_EQ_U64(walk(&payload, 1, &seen), RR_E_CORRUPT); /* something is left */
    CHECK_EQ_U64(walk(&payload, 3, &seen), RR_E_CORRUPT); /* something is missing */
}

static void test_section_that_makes_no_sense_is_refused(void)
{
    struct payload payload = payload_make();
    uint32_t seen;
    payload.entries.length = 17;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.length = UINT32_MAX;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.count = 0;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.count = 6; /* eleven bytes hold five at most */
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.first_index = 0;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.first_index = UINT64_MAX - 1;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.kind = WAL_SECTION_PEER;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.kind = WAL_SECTION_GONE;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.kind = WAL_SECTION_MOVED, payload.entries.count = 0;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_CORRUPT);
    payload = payload_make(), payload.entries.kind = 8;
    CHECK_EQ_U64(walk(&payload, 2, &seen), RR_E_VERSION);
}

/* ---- states and runs ----------------------------------------------------------------- */

static void test_state_comes_back_as_it_was(void)
{
    static const uint64_t voters[] = {1, 500, UINT64_MAX / 3}, learners[] = {9};
    uint8_t snapshot[100], body[600];
    uint64_t ids[600];
    memset(snapshot, 7, sizeof(snapshot));
    struct wal_state state = {
        .group = 3,
        .hard_state = {.term = 5, .vote = 2, .commit = 88},
        .metadata = {.conf_state = {.voters = voters,
                                    .voter_count = 3,
                                    .learners = learners,
                                    .learner_count = 1},
                     .index = 80,
                     .term = 4},
        .first_index = 81,
        .first_prev_term = 4,
        .last_index = 90,
        .last_term = 5,
        .snapshot_data = snapshot,
        .snapshot_size = sizeof(snapshot),
        .has_snapshot_data = true,
        .group_data = (const uint8_t *)"members",
        .group_data_size = 7,
    };
    struct wal_section section = {
        .kind = WAL_SECTION_STATE, .group = 3, .length = (uint32_t)wal_state_size(&state)};
    CHECK(section.length < sizeof(body));
    wal_state_encode(&state, body);
    struct wal_state out;
    CHECK(wal_state_decode(&section, body, ids, sizeof(ids), &out) == 0);
    CHECK(out.group == 3 && out.hard_state.term == 5 && out.hard_state.vote == 2 &&
          out.hard_state.commit == 88);
    CHECK(out.first_index == 81 && out.first_prev_term == 4 && out.last_index == 90 &&
          out.last_term == 5);
    CHECK(out.metadata.index == 80 && out.metadata.term == 4);
    CHECK(out.metadata.conf_state.voter_count == 3 && out.metadata.conf_state.learner_count == 1);
    CHECK(memcmp(out.metadata.conf_state.voters, voters, sizeof(voters)) == 0);
    CHECK(out.has_snapshot_data && out.snapshot_size == sizeof(snapshot));
    CHECK(memcmp(out.snapshot_data, snapshot, sizeof(snapshot)) == 0);
    CHECK(out.group_data_size == 7 && memcmp(out.group_data, "members", 7) == 0);
    CHECK(!out.has_snapshot_file);
    /* Any shortened or lengthened body is refused. */
    section.length--;
    CHECK_EQ_U64(wal_state_decode(&section, body, ids, sizeof(ids), &out), RR_E_CORRUPT);
    section.length += 2;
    CHECK_EQ_U64(wal_state_decode(&section, body, ids, sizeof(ids), &out), RR_E_CORRUPT);
    /* One that lies in a file brings no bytes of its own. */
    state.has_snapshot_data = false;
    state.has_snapshot_file = true;
    section.length = (uint32_t)wal_state_size(&state);
    wal_state_encode(&state, body);
    CHECK(wal_state_decode(&section, body, ids, sizeof(ids), &out) == 0);
    CHECK(out.has_snapshot_file && !out.has_snapshot_data && out.snapshot_size == 0);
    CHECK(out.group_data_size == 7 && memcmp(out.group_data, "members", 7) == 0);
}

static void test_run_is_cut_between_entries(void)
{
    uint8_t bytes[200], *at = bytes;
    uint32_t cut, ends[4] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        struct rr_entry staged,
            entry = {.term = 1,
                     .index = i + 1,
                     .data = bytes + 190,
                     .size = i,
                     .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX | RR_ENTRY_HAS_DATA};
        at = rr_entry_encode(&entry, at, NULL, &staged);
        ends[i + 1] = (uint32_t)(at - bytes);
    }
    for (uint32_t n = 1; n <= 3; n++) {
        CHECK(wal_run_cut(bytes, ends[3], n, &cut));
        CHECK_EQ_U64(cut, ends[n]);
        CHECK(!wal_run_cut(bytes, ends[n] - 1, n, &cut));
    }
    CHECK(!wal_run_cut(bytes, ends[3], 4, &cut));
    bytes[ends[1]] = 0x3b; /* not an entry's tag */
    CHECK(!wal_run_cut(bytes, ends[3], 2, &cut));
}

static void test_names(void)
{
    char name[WAL_NAME_SIZE];
    wal_segment_name(name, 0xabc);
    CHECK(strcmp(name, "wal-0000000000000abc") == 0);
    CHECK_EQ_U64(wal_segment_number(name), 0xabc);
    CHECK_EQ_U64(wal_segment_number("wal-0000000000000ABC"), 0);
    CHECK_EQ_U64(wal_segment_number("wal-abc"), 0);
    CHECK_EQ_U64(wal_segment_number("wal-0000000000000abcd"), 0);
    CHECK_EQ_U64(wal_segment_number("wal-0000000000000abc.old"), 0);
    CHECK_EQ_U64(wal_segment_number("wal.zero"), 0);
    CHECK_EQ_U64(wal_segment_number(""), 0);
}

int main(void)
{
    RUN(test_sealed_header_is_valid_under_its_own_instance_only);
    RUN(test_header_with_any_flipped_bit_is_invalid);
    RUN(test_header_out_of_its_limits_is_invalid);
    RUN(test_order_rule);
    RUN(test_padding_reaches_the_block);
    RUN(test_sections_are_walked_to_the_end);
    RUN(test_section_that_makes_no_sense_is_refused);
    RUN(test_state_comes_back_as_it_was);
    RUN(test_run_is_cut_between_entries);
    RUN(test_names);
    return 0;
}
