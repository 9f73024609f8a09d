/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages, states and conf changes by literal bytes (as the reference has them) and by hand-made
 * encodings.
 */
#include "proto/codec.h"

#include "tests/unit/check.h"

static _Alignas(8) uint8_t memory[4096];

static struct codec_scratch fresh_scratch(void)
{
    return (struct codec_scratch){.bytes = memory, .cap = sizeof memory};
}

static void check_bytes(const uint8_t *bytes, size_t size, const char *hex)
{
    char text[512];
    CHECK(2 * size < sizeof text);
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[2 * size] = 0;
    if (strcmp(text, hex) != 0) {
        fprintf(stderr, "have %s\nwant %s\n", text, hex);
        exit(1);
    }
}

static size_t from_hex(const char *hex, uint8_t *bytes)
{
    size_t size = strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return size;
}

/* ---- literal bytes ------------------------------------------------------- */

static void test_conf_change_v2_bytes_are_the_references(void)
{
    uint8_t bytes[64];
    struct rr_conf_change_v2 change = {0};
    CHECK_EQ_U64(rr_conf_change_v2_size(&change), 0);
    CHECK(rr_conf_change_v2_encode(&change, bytes) == bytes);

    change.has_transition = true;
    CHECK_EQ_U64(rr_conf_change_v2_size(&change), 2);
    check_bytes(bytes, (size_t)(rr_conf_change_v2_encode(&change, bytes) - bytes), "0800");

    const struct rr_conf_change_single single = {.node_id = 2};
    change.changes = &single;
    change.change_count = 1;
    CHECK_EQ_U64(rr_conf_change_v2_size(&change), 8);
    check_bytes(bytes, (size_t)(rr_conf_change_v2_encode(&change, bytes) - bytes),
                "0800120408001002");

    change.transition = RR_CONF_CHANGE_TRANSITION_JOINT_EXPLICIT;
    change.has_context = true;
    change.context = (const uint8_t *)"x";
    change.context_size = 1;
    check_bytes(bytes, (size_t)(rr_conf_change_v2_encode(&change, bytes) - bytes),
                "08021204080010021a0178");
}

static void test_conf_change_bytes_are_the_references(void)
{
    uint8_t bytes[64];
    struct rr_conf_change change = {.node_id = 2};
    CHECK_EQ_U64(rr_conf_change_size(&change), 4);
    check_bytes(bytes, (size_t)(rr_conf_change_encode(&change, bytes) - bytes), "10001802");

    change = (struct rr_conf_change){.id = 7,
                                     .node_id = 2,
                                     .context = (const uint8_t *)"x",
                                     .context_size = 1,
                                     .has_id = true,
                                     .has_context = true};
    CHECK_EQ_U64(rr_conf_change_size(&change), 9);
    check_bytes(bytes, (size_t)(rr_conf_change_encode(&change, bytes) - bytes),
                "080710001802220178");
}

static void test_conf_state_bytes_are_the_references(void)
{
    const uint64_t voters[] = {1, 2, 300};
    uint8_t bytes[64];
    struct rr_conf_state state = {.voters = voters, .voter_count = 3, .has_auto_leave = true};
    CHECK_EQ_U64(rr_conf_state_size(&state), 9);
    check_bytes(bytes, (size_t)(rr_conf_state_encode(&state, bytes) - bytes), "0801080208ac022800");
    state.has_auto_leave = false;
    check_bytes(bytes, (size_t)(rr_conf_state_encode(&state, bytes) - bytes), "0801080208ac02");
}

static void test_hard_state_bytes_are_the_references(void)
{
    const struct rr_hard_state state = {.term = 1, .commit = 3};
    uint8_t bytes[CODEC_HARD_STATE_MAX];
    CHECK_EQ_U64(rr_hard_state_size(&state), 6);
    check_bytes(bytes, (size_t)(rr_hard_state_encode(&state, bytes) - bytes), "080110001803");
    const struct rr_hard_state most = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    CHECK_EQ_U64(rr_hard_state_size(&most), CODEC_HARD_STATE_MAX);
}

static void test_message_bytes_follow_the_field_numbers(void)
{
    const struct rr_entry entry = {
        .term = 4, .index = 6, .has = RR_ENTRY_HAS_TERM | RR_ENTRY_HAS_INDEX};
    const uint64_t voters[] = {1};
    const struct rr_snapshot snapshot = {
        .metadata = {.conf_state = {.voters = voters, .voter_count = 1}, .index = 5, .term = 4},
        .data = (const uint8_t *)"s",
        .size = 1};
    const struct rr_message response = {.type = RR_MSG_APP_RESP, .to = 1};
    const struct rr_message message = {.type = RR_MSG_APP,
                                       .to = 2,
                                       .from = 1,
                                       .term = 4,
                                       .log_term = 3,
                                       .index = 5,
                                       .entries = &entry,
                                       .entry_count = 1,
                                       .commit = 200,
                                       .snapshot = &snapshot,
                                       .reject = true,
                                       .reject_hint = 9,
                                       .context = (const uint8_t *)"ctx",
                                       .context_size = 3,
                                       .vote = 1,
                                       .responses = &response,
                                       .response_count = 1};
    uint8_t bytes[128];
    check_bytes(bytes, (size_t)(rr_message_encode(&message, bytes) - bytes),
                "0803100218012004280330053a041004180640c8014a0d0a01731208"
                "0a020801100518045001580962036374786801720408041001");
    CHECK_EQ_U64(rr_message_size(&message), 53);
    CHECK_EQ_U64(rr_message_head_size(&message), 12);
    CHECK_EQ_U64(rr_message_entries_size(&message), 6);
    CHECK_EQ_U64(rr_message_tail_size(&message), 35);

    const struct rr_message empty = {0};
    check_bytes(bytes, (size_t)(rr_message_encode(&empty, bytes) - bytes), "0800");
}

static void test_message_maxima_are_reached(void)
{
    const struct rr_message message = {.type = 255,
                                       .to = UINT64_MAX,
                                       .from = UINT64_MAX,
                                       .term = UINT64_MAX,
                                       .log_term = UINT64_MAX,
                                       .index = UINT64_MAX,
                                       .commit = UINT64_MAX,
                                       .reject = true,
                                       .reject_hint = UINT64_MAX,
                                       .vote = UINT64_MAX};
    CHECK_EQ_U64(rr_message_head_size(&message), CODEC_MESSAGE_HEAD_MAX);
    CHECK_EQ_U64(rr_message_tail_size(&message), CODEC_MESSAGE_TAIL_MAX);
}

/* ---- decoding ------------------------------------------------------------ */

static void test_message_decode_points_into_the_input_and_names_the_block(void)
{
    uint8_t bytes[64];
    size_t size = from_hex("080310023a0610041806220062016b3a06100418072200", bytes);
    struct rr_block block = {.refs = 1};
    struct codec_scratch scratch = fresh_scratch();
    scratch.block = &block;
    struct rr_message message;
    CHECK(rr_message_decode(bytes, size, &scratch, &message) == 0);
    CHECK(message.type == RR_MSG_APP && message.to == 2 && message.entry_count == 2);
    CHECK(message.entries[0].index == 6 && message.entries[1].index == 7);
    CHECK(message.entries[0].block == &block && message.entries[1].block == &block);
    CHECK(rr_entry_wire(&message.entries[0]) == bytes + 4);
    CHECK(message.entries[1].wire_size == 8);
    CHECK(message.context_size == 1 && message.context == bytes + 14);
    CHECK(message.snapshot == NULL && message.responses == NULL && message.response_count == 0);
    CHECK_EQ_U64(block.refs, 1);
}

static void test_message_decode_says_how_much_scratch_it_needs(void)
{
    /* Two entries, a snapshot with three ids (two packed), one response with an entry. */
    uint8_t bytes[64];
    size_t size = from_hex("3a003a004a0a12080a060801120207087204080"
                           "33a00",
                           bytes);
    size_t need;
    CHECK(rr_message_scratch_size(bytes, size, &need) == 0);
    CHECK_EQ_U64(need, 3 * sizeof(struct rr_entry) + sizeof(struct rr_snapshot) +
                           sizeof(struct rr_message) + 3 * 8);

    struct rr_message message;
    struct codec_scratch scratch = fresh_scratch();
    scratch.cap = need;
    CHECK(rr_message_decode(bytes, size, &scratch, &message) == 0);
    CHECK_EQ_U64(scratch.used, need);
    CHECK(message.snapshot->metadata.conf_state.voter_count == 1);
    CHECK(message.snapshot->metadata.conf_state.learner_count == 2);
    CHECK(message.snapshot->metadata.conf_state.learners[1] == 8);
    CHECK(message.responses[0].type == RR_MSG_APP && message.responses[0].entry_count == 1);
    for (size_t cap = 0; cap < need; cap += 8) {
        scratch = fresh_scratch();
        scratch.cap = cap;
        CHECK(rr_message_decode(bytes, size, &scratch, &message) == RR_E_TOO_LARGE);
        CHECK(scratch.used <= cap);
    }
}

struct refusal {
    const char *hex;
    const char *what;
};

static const struct refusal message_refusals[] = {
    {"08", "type without value"},
    {"0880", "type cut"},
    {"088002", "type above a byte"},
    {"0a0101", "type as bytes"},
    {"0d01000000", "type as fixed32"},
    {"1201", "to as bytes"},
    {"3801", "entries as number"},
    {"3a0180", "entry malformed"},
    {"3a05", "entry beyond the end"},
    {"4801", "snapshot as number"},
    {"4a004a00", "snapshot twice"},
    {"4a0412001200", "metadata twice"},
    {"4a0612040a000a00", "conf state twice"},
    {"4a021001", "metadata as number"},
    {"4a0412020801", "conf state as number"},
    {"4a0812060a040d010000", "voters as fixed32, cut"},
    {"4a0912070a050d01000000", "voters as fixed32"},
    {"4a0712050a030a0180", "packed voters cut"},
    {"4a020801", "snapshot data as number"},
    {"4a0612040a022a00", "auto_leave as bytes"},
    {"5200", "reject as bytes"},
    {"6001", "context as number"},
    {"620261", "context beyond the end"},
    {"7001", "responses as number"},
    {"72027200", "responses within responses"},
    {"72020a00", "response malformed"},
    {"0001", "field number 0"},
    {"7b7c", "group"},
    {"7e", "wire type 6"},
    {"800101ff", "bytes behind an unknown field"},
    {"10ffffffffffffffffff02", "to above 64 bits"},
};

static void test_message_decode_refuses_what_is_malformed(void)
{
    for (size_t i = 0; i < RR_ARRAY_SIZE(message_refusals); i++) {
        const struct refusal *refusal = &message_refusals[i];
        uint8_t *bytes = malloc(strlen(refusal->hex) / 2);
        size_t size = from_hex(refusal->hex, bytes);
        struct codec_scratch scratch = fresh_scratch();
        struct rr_message message;
        int err = rr_message_decode(bytes, size, &scratch, &message);
        if (err != RR_E_MALFORMED) {
            fprintf(stderr, "%s (%s): %d\n", refusal->hex, refusal->what, err);
            exit(1);
        }
        free(bytes);
    }
}

static void test_scratch_size_refuses_what_it_cannot_count(void)
{
    const char *cases[] = {"0880",     "4a004a00", "4a021001", "4a0412020801", "4a0712050a030a0180",
                           "72027200", "7001"};
    for (size_t i = 0; i < RR_ARRAY_SIZE(cases); i++) {
        uint8_t bytes[32];
        size_t need;
        CHECK(rr_message_scratch_size(bytes, from_hex(cases[i], bytes), &need) == RR_E_MALFORMED);
    }
}

static void test_message_that_is_too_long_for_our_numbers_is_refused(void)
{
    struct codec_scratch scratch = fresh_scratch();
    struct rr_message message;
    size_t need;
    CHECK(rr_message_decode(memory, (size_t)UINT32_MAX + 1, &scratch, &message) == RR_E_TOO_LARGE);
    CHECK(rr_message_scratch_size(memory, (size_t)UINT32_MAX + 1, &need) == RR_E_TOO_LARGE);
}

static void test_conf_changes_of_no_bytes_decode_to_zero(void)
{
    struct codec_scratch scratch = {0};
    struct rr_conf_change_v2 v2;
    struct rr_conf_change v1;
    CHECK(rr_conf_change_v2_decode(NULL, 0, &scratch, &v2) == 0);
    CHECK(!v2.has_transition && v2.change_count == 0 && !v2.has_context && v2.transition == 0);
    CHECK(rr_conf_change_decode(NULL, 0, &v1) == 0);
    CHECK(!v1.has_id && v1.node_id == 0 && v1.type == 0 && !v1.has_context);
}

static void test_conf_change_v2_scratch_suffices_for_the_shortest_changes(void)
{
    uint8_t bytes[16];
    size_t size = from_hex("120012001200", bytes);
    struct codec_scratch scratch = fresh_scratch();
    struct rr_conf_change_v2 change;
    scratch.cap = rr_conf_change_v2_scratch_size(size);
    CHECK(rr_conf_change_v2_decode(bytes, size, &scratch, &change) == 0);
    CHECK_EQ_U64(change.change_count, 3);
    scratch = fresh_scratch();
    scratch.cap = rr_conf_change_v2_scratch_size(size) - 8;
    CHECK(rr_conf_change_v2_decode(bytes, size, &scratch, &change) == RR_E_TOO_LARGE);
}

static void test_conf_changes_and_hard_state_refuse_what_is_malformed(void)
{
    const char *v2_cases[] = {"0a00", "1001", "12", "12010a", "12020a00", "1801", "088002"};
    const char *v1_cases[] = {"0a00", "1200", "1a00", "2001", "108002", "08"};
    const char *hard_cases[] = {"0a00", "1200", "1a00", "08", "1080"};
    uint8_t bytes[16];
    for (size_t i = 0; i < RR_ARRAY_SIZE(v2_cases); i++) {
        struct codec_scratch scratch = fresh_scratch();
        struct rr_conf_change_v2 change;
        CHECK(rr_conf_change_v2_decode(bytes, from_hex(v2_cases[i], bytes), &scratch, &change) ==
              RR_E_MALFORMED);
    }
    for (size_t i = 0; i < RR_ARRAY_SIZE(v1_cases); i++) {
        struct rr_conf_change change;
        CHECK(rr_conf_change_decode(bytes, from_hex(v1_cases[i], bytes), &change) ==
              RR_E_MALFORMED);
    }
    for (size_t i = 0; i < RR_ARRAY_SIZE(hard_cases); i++) {
        struct rr_hard_state state;
        CHECK(rr_hard_state_decode(bytes, from_hex(hard_cases[i], bytes), &state) ==
              RR_E_MALFORMED);
    }
}

int main(void)
{
    RUN(test_conf_change_v2_bytes_are_the_references);
    RUN(test_conf_change_bytes_are_the_references);
    RUN(test_conf_state_bytes_are_the_references);
    RUN(test_hard_state_bytes_are_the_references);
    RUN(test_message_bytes_follow_the_field_numbers);
    RUN(test_message_maxima_are_reached);
    RUN(test_message_decode_points_into_the_input_and_names_the_block);
    RUN(test_message_decode_says_how_much_scratch_it_needs);
    RUN(test_message_decode_refuses_what_is_malformed);
    RUN(test_scratch_size_refuses_what_it_cannot_count);
    RUN(test_message_that_is_too_long_for_our_numbers_is_refused);
    RUN(test_conf_changes_of_no_bytes_decode_to_zero);
    RUN(test_conf_change_v2_scratch_suffices_for_the_shortest_changes);
    RUN(test_conf_changes_and_hard_state_refuse_what_is_malformed);
    return 0;
}
