/* SPDX-License-Identifier: Apache-2.0
 *
 * Our codec against protobuf-c, on encodings made at random. For every kind of message, tame and
 * wild:
 *
 *   both read the same values; what we write for them is what protobuf-c would write, byte for
 * byte; a message cut anywhere is refused by us exactly if protobuf-c refuses it; of damaged bytes
 * we accept none that it would refuse, and read the same from those we accept. The input lies in
 * memory of exactly its size, so that the address sanitizer sees a step beyond it.
 *
 * A failure is sought again with smaller encodings; the smallest is printed with the arguments that
 * replay it: test_codec_property [iterations [first seed]].
 */
#include "proto/codec.h"

#include "tests/unit/check.h"
#include "tests/unit/raftpb_oracle.h"

enum {
    INPUT_MAX = 6000,
    OUTPUT_MAX = 2 * INPUT_MAX,
    SCRATCH_MAX = 256 * 1024,
    ENTRY_PREFIX_MAX = 6,
    RICHNESS_MAX = 40
};

static const char *const kind_names[WIRE_KIND_COUNT] = {
    "Message",   "Entry",     "Snapshot",   "SnapshotMetadata",
    "HardState", "ConfState", "ConfChange", "ConfChangeV2",
};

static _Alignas(8) uint8_t scratch_bytes[SCRATCH_MAX];
static _Alignas(8) uint8_t second_scratch_bytes[SCRATCH_MAX];

/* ---- our codec, by kind -------------------------------------------------- */

static int decode_ours(enum wire_kind kind, const uint8_t *bytes, size_t size,
                       struct codec_scratch *scratch, union codec_value *value)
{
    switch (kind) {
    case WIRE_KIND_MESSAGE:
        return rr_message_decode(bytes, size, scratch, &value->message);
    case WIRE_KIND_SNAPSHOT:
        return rr_snapshot_decode(bytes, size, scratch, &value->snapshot);
    case WIRE_KIND_METADATA:
        return rr_snapshot_metadata_decode(bytes, size, scratch, &value->metadata);
    case WIRE_KIND_HARD_STATE:
        return rr_hard_state_decode(bytes, size, &value->hard_state);
    case WIRE_KIND_CONF_STATE:
        return rr_conf_state_decode(bytes, size, scratch, &value->conf_state);
    case WIRE_KIND_CONF_CHANGE:
        return rr_conf_change_decode(bytes, size, &value->conf_change);
    case WIRE_KIND_CONF_CHANGE_V2:
        return rr_conf_change_v2_decode(bytes, size, scratch, &value->conf_change_v2);
    default:
        return RR_E_INVALID;
    }
}

/* Writes the value and compares with the size that was foretold; returns the bytes written, or
 * SIZE_MAX. */
static size_t encode_ours(enum wire_kind kind, const union codec_value *value, uint8_t *at)
{
    size_t size = 0;
    const uint8_t *end = at;
    switch (kind) {
    case WIRE_KIND_MESSAGE:
        size = rr_message_size(&value->message);
        end = rr_message_encode(&value->message, at);
        break;
    case WIRE_KIND_SNAPSHOT:
        size = rr_snapshot_size(&value->snapshot);
        end = rr_snapshot_encode(&value->snapshot, at);
        break;
    case WIRE_KIND_METADATA:
        size = rr_snapshot_metadata_size(&value->metadata);
        end = rr_snapshot_metadata_encode(&value->metadata, at);
        break;
    case WIRE_KIND_HARD_STATE:
        size = rr_hard_state_size(&value->hard_state);
        end = rr_hard_state_encode(&value->hard_state, at);
        break;
    case WIRE_KIND_CONF_STATE:
        size = rr_conf_state_size(&value->conf_state);
        end = rr_conf_state_encode(&value->conf_state, at);
        break;
    case WIRE_KIND_CONF_CHANGE:
        size = rr_conf_change_size(&value->conf_change);
        end = rr_conf_change_encode(&value->conf_change, at);
        break;
    case WIRE_KIND_CONF_CHANGE_V2:
        size = rr_conf_change_v2_size(&value->conf_change_v2);
        end = rr_conf_change_v2_encode(&value->conf_change_v2, at);
        break;
    default:
        break;
    }
    return (size_t)(end - at) == size ? size : SIZE_MAX;
}

/* ---- one encoding -------------------------------------------------------- */

struct sample {
    enum wire_kind kind;
    uint64_t seed;
    uint32_t richness;
    bool wild;
    size_t size;
    uint8_t bytes[INPUT_MAX];
};

static void make_sample(struct sample *sample, struct wire_random *random)
{
    random->state = sample->seed;
    struct wire_wish wish = {.kind = sample->kind, .size = sample->richness, .wild = sample->wild};
    sample->size = wire_generate(random, &wish, sample->bytes, INPUT_MAX);
}

static uint8_t *exact_copy(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

static struct codec_scratch fresh_scratch(uint8_t *bytes)
{
    return (struct codec_scratch){.bytes = bytes, .cap = SCRATCH_MAX};
}

/* A message's own claims: the scratch it asked for is what it used; a tame one holds only canonical
 * entries. */
static const char *check_message(const struct sample *sample, const struct rr_message *message,
                                 size_t used)
{
    size_t need;
    if (rr_message_scratch_size(sample->bytes, sample->size, &need) != 0 || need != used)
        return "the scratch that was foretold is not what was used";
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct rr_entry *entry = &message->entries[i];
        if (!sample->wild && entry->wire_size == 0)
            return "an entry in canonical form was not recognised";
        struct rr_entry plain = *entry;
        plain.wire_size = 0;
        if (entry->wire_size && entry->wire_size != rr_entry_wire_size(&plain))
            return "the wire size of an entry is wrong";
    }
    return NULL;
}

/* Reading and writing of one whole encoding that lies at `bytes`. */
static const char *check_whole(const struct sample *sample, const uint8_t *bytes)
{
    static uint8_t output[OUTPUT_MAX];
    union codec_value value;
    struct codec_scratch scratch = fresh_scratch(scratch_bytes);
    if (decode_ours(sample->kind, bytes, sample->size, &scratch, &value) != 0)
        return "we refuse it";
    if (!oracle_agrees(sample->kind, bytes, sample->size, &value))
        return "protobuf-c reads other values";
    const char *failure = NULL;
    if (sample->kind == WIRE_KIND_MESSAGE)
        failure = check_message(sample, &value.message, scratch.used);
    if (failure)
        return failure;

    size_t size = encode_ours(sample->kind, &value, output);
    if (size == SIZE_MAX)
        return "the size foretold is not the size written";
    if (!oracle_agrees(sample->kind, output, size, &value))
        return "protobuf-c reads other values from what we wrote";
    if (!oracle_would_write(sample->kind, output, size))
        return "protobuf-c would have written other bytes";

    union codec_value again;
    struct codec_scratch second = fresh_scratch(second_scratch_bytes);
    if (decode_ours(sample->kind, output, size, &second, &again) != 0 ||
        !oracle_agrees(sample->kind, output, size, &again))
        return "we do not read back what we wrote";
    return NULL;
}

/* The sample's bytes are a body: it is read as an element of a run. */
static const char *check_entry(const struct sample *sample)
{
    static uint8_t output[OUTPUT_MAX];
    uint8_t prefix[ENTRY_PREFIX_MAX] = {CODEC_ENTRY_TAG};
    size_t prefix_size = (size_t)(varint_put(prefix + 1, sample->size) - prefix);
    size_t size = prefix_size + sample->size;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, prefix, prefix_size);
    memcpy(bytes + prefix_size, sample->bytes, sample->size);

    union codec_value value;
    struct rr_entry staged;
    const uint8_t *at = bytes;
    const char *failure = NULL;
    if (rr_entry_decode(&at, bytes + size, NULL, &value.entry) != 0 || at != bytes + size) {
        failure = "we refuse it";
    } else if (!oracle_agrees(WIRE_KIND_ENTRY, sample->bytes, sample->size, &value)) {
        failure = "protobuf-c reads other values";
    } else {
        struct rr_entry plain = value.entry;
        plain.wire_size = 0;
        size_t written = (size_t)(rr_entry_encode(&plain, output, NULL, &staged) - output);
        size_t body_size = rr_entry_body_size(&plain);
        bool equal = written == size && memcmp(output, bytes, size) == 0;
        if (written != rr_entry_wire_size(&plain))
            failure = "the size foretold is not the size written";
        else if (!oracle_would_write(WIRE_KIND_ENTRY, output + written - body_size, body_size))
            failure = "protobuf-c would have written other bytes";
        else if ((value.entry.wire_size > 0) != equal)
            failure = "canonical form taken for another, or the reverse";
    }
    free(bytes);
    return failure;
}

/* Bytes that may be malformed: nothing is read beyond them, and what both accept is read alike.
 * `is_cut`: they were sound before they were cut, so both must be of one opinion. */
static const char *check_doubtful(enum wire_kind kind, const uint8_t *source, size_t size,
                                  bool is_cut)
{
    uint8_t *bytes = exact_copy(source, size);
    union codec_value value;
    struct codec_scratch scratch = fresh_scratch(scratch_bytes);
    const char *failure = NULL;
    int err = decode_ours(kind, bytes, size, &scratch, &value);
    bool accepted = oracle_accepts(kind, bytes, size);
    if (err != 0 && err != RR_E_MALFORMED)
        failure = "refused for a wrong reason";
    else if (is_cut && (err == 0) != accepted)
        failure = "cut: one of us accepts it, the other refuses it";
    else if (err == 0 && accepted && !oracle_agrees(kind, bytes, size, &value))
        failure = "damaged: protobuf-c reads other values";
    free(bytes);
    return failure;
}

static const char *check_cuts(const struct sample *sample, struct wire_random *random)
{
    size_t step = sample->size > 400 ? 1 + wire_random_below(random, sample->size / 50) : 1;
    for (size_t cut = 0; cut < sample->size; cut += step) {
        const char *failure = check_doubtful(sample->kind, sample->bytes, cut, true);
        if (failure)
            return failure;
    }
    return NULL;
}

static const char *check_damage(struct sample *sample, struct wire_random *random)
{
    for (uint32_t i = 0; i < 20 && sample->size > 0; i++) {
        size_t at = wire_random_below(random, sample->size);
        uint8_t before = sample->bytes[at];
        sample->bytes[at] = (uint8_t)wire_random_below(random, 256);
        const char *failure = check_doubtful(sample->kind, sample->bytes, sample->size, false);
        if (failure)
            return failure;
        sample->bytes[at] = before;
    }
    return NULL;
}

static const char *check_sample(struct sample *sample)
{
    struct wire_random random;
    make_sample(sample, &random);
    if (sample->kind == WIRE_KIND_ENTRY)
        return check_entry(sample);
    uint8_t *bytes = exact_copy(sample->bytes, sample->size);
    const char *failure = check_whole(sample, bytes);
    free(bytes);
    if (!failure)
        failure = check_cuts(sample, &random);
    return failure ? failure : check_damage(sample, &random);
}

/* ---- all of them --------------------------------------------------------- */

/* Looks for a smaller encoding that fails as well, then reports the smallest and stops. */
static void report(struct sample *sample)
{
    enum { TRIES = 300 };
    uint64_t first = sample->seed;
    uint32_t most = sample->richness;
    bool found = false;
    for (uint32_t richness = 0; richness < most && !found; richness++) {
        for (uint32_t i = 0; i < TRIES && !found; i++) {
            sample->richness = richness;
            sample->seed = first + i;
            found = check_sample(sample) != NULL;
        }
    }
    if (!found) {
        sample->richness = most;
        sample->seed = first;
    }
    const char *failure = check_sample(sample);
    fprintf(stderr, "%s, %s, richness %u, seed %llu: %s\n", kind_names[sample->kind],
            sample->wild ? "wild" : "tame", sample->richness, (unsigned long long)sample->seed,
            failure);
    for (size_t i = 0; i < sample->size; i++)
        fprintf(stderr, "%02x", sample->bytes[i]);
    fprintf(stderr, "\nfirst seen with seed %llu\n", (unsigned long long)first);
    exit(1);
}

int main(int argc, char **argv)
{
    unsigned long long iterations = argc > 1 ? strtoull(argv[1], NULL, 10) : 400;
    unsigned long long seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static struct sample sample;
    for (uint32_t kind = 0; kind < WIRE_KIND_COUNT; kind++) {
        fprintf(stderr, "  %s\n", kind_names[kind]);
        for (unsigned long long i = 0; i < 2 * iterations; i++) {
            sample.kind = (enum wire_kind)kind;
            sample.wild = i % 2;
            sample.richness = (uint32_t)(i / 2 % RICHNESS_MAX);
            sample.seed = seed + i;
            if (check_sample(&sample))
                report(&sample);
        }
    }
    return 0;
}
