/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage to a closed log: what was proven durable and is damaged is refused, with a sentence, and
 * nothing is changed; what was not is a torn tail and is cut. And hostile files: no crash, no loop,
 * whatever they hold.
 */
#include "wal_image.h"

#include "tests/unit/check.h"

#define WRITES_MAX 4000u

static const uint64_t instance_id = 0x1234567;
static struct image_write writes[WRITES_MAX];
static uint32_t write_count;

/* ---- what recovery hands over, looked at and forgotten ------------------------------- */

static uint64_t touched;

static int touch_state(void *ctx, const struct wal_state *state)
{
    (void)ctx;
    for (uint32_t i = 0; i < state->metadata.conf_state.voter_count; i++)
        touched += state->metadata.conf_state.voters[i];
    for (uint32_t i = 0; i < state->snapshot_size; i++)
        touched += state->snapshot_data[i];
    return 0;
}

static int touch_entries(void *ctx, uint64_t group, uint64_t first_index, uint32_t count,
                         uint64_t commit, const uint8_t *bytes, uint32_t size,
                         struct rr_block *block)
{
    (void)ctx;
    CHECK(count > 0 && first_index > 0 && block->refs > 0);
    for (uint32_t i = 0; i < size; i++)
        touched += bytes[i] + group + commit;
    return 0;
}

static int touch_peer(void *ctx, const struct wal_peer *peer)
{
    (void)ctx;
    touched += peer->node;
    return 0;
}

static const struct wal_recovery touch = {
    .on_state = touch_state, .on_entries = touch_entries, .on_peer = touch_peer};

/* Opens a log with these files. Whatever was refused has changed nothing. Returns wal_open's
 * result; `*seq` is the open section's, `message` the sentence. */
static int open_image(const struct image *image, uint64_t *seq, char *message)
{
    struct wal_world world;
    struct image after;
    image_put(image, &world, 1);
    int err = wal_open(&world.options, &touch, &world.wal, &world.error);
    if (err) {
        image_take(&after, &world);
        CHECK(image_equal(image, &after));
        image_free(&after);
        CHECK(world.error.code == err && world.error.message[0] != 0);
    } else {
        *seq = wal_durable_seq(world.wal);
        world.is_quiet = true;
        world_run(&world, 0);
    }
    if (message)
        memcpy(message, world.error.message, sizeof(world.error.message));
    world_fini(&world);
    return err;
}

static void remove_file(struct image *image, uint32_t file)
{
    free(image->files[file].bytes);
    memmove(&image->files[file], &image->files[file + 1],
            (image->count - file - 1) * sizeof(image->files[0]));
    image->count--;
}

/* A closed log of several segments. `clean`: closed with a mark; else killed. */
static void make_image(struct image *image, uint64_t seed, uint32_t turns, bool clean)
{
    struct wal_world world;
    world_init(&world, seed);
    world.keep_max = 200;
    CHECK(world_create(&world) == 0);
    CHECK(world_open(&world) == 0);
    if (!clean)
        sim_crash_at_io(world.sim, 1, turns, true, SIM_KEEP_ALL);
    world_run(&world, turns);
    CHECK(clean || sim_crashed(world.sim, 1));
    world_reset(&world);
    image_take(image, &world);
    if (wal_segment_number(image->files[image->count - 1].name) == 0) /* one being zeroed */
        remove_file(image, image->count - 1);
    write_count = image_writes(image, wal_seed(instance_id), writes, WRITES_MAX);
    CHECK(write_count > 10 && write_count < WRITES_MAX);
    world_fini(&world);
}

static bool names_the_place(const char *message, const struct image *image,
                            const struct image_write *write)
{
    char offset[64], seq[64];
    snprintf(offset, sizeof(offset), "at offset %llu:", (unsigned long long)write->offset);
    snprintf(seq, sizeof(seq), "write %llu ", (unsigned long long)write->header.seq);
    return strstr(message, image->files[write->file].name) && strstr(message, offset) &&
           strstr(message, seq) && strstr(message, "replace this node");
}

/* ---- damage -------------------------------------------------------------------------- */

static void test_flipped_byte_in_a_proven_write_is_refused(void)
{
    struct image image;
    char message[500];
    uint64_t seq;
    make_image(&image, 1, 120, true);
    for (uint32_t i = 0; i + 1 < write_count; i++) {
        const struct image_write *write = &writes[i];
        uint64_t places[] = {
            0, 24, 61, 64, 64 + write->header.length / 2, 63 + write->header.length};
        uint8_t *at = image_at(&image, write) + places[i % RR_ARRAY_SIZE(places)];
        *at ^= 0x10;
        CHECK_EQ_U64(open_image(&image, &seq, message), RR_E_CORRUPT);
        /* The oldest write's number is not known when it is gone. */
        if (i > 0 && !names_the_place(message, &image, write)) {
            fprintf(stderr, "write %u: %s\n", i, message);
            CHECK(false);
        }
        *at ^= 0x10;
    }
    CHECK_EQ_U64(open_image(&image, &seq, NULL), 0);
    CHECK_EQ_U64(seq, writes[write_count - 1].header.seq + 1);
    image_free(&image);
}

static void test_erased_write_is_refused(void)
{
    struct image image;
    uint64_t seq;
    make_image(&image, 2, 60, true);
    for (uint32_t i = 0; i + 1 < write_count; i++) {
        struct image damaged;
        image_copy(&damaged, &image);
        memset(image_at(&damaged, &writes[i]), 0, wal_padded_size(&writes[i].header));
        CHECK_EQ_U64(open_image(&damaged, &seq, NULL), RR_E_CORRUPT);
        image_free(&damaged);
    }
    image_free(&image);
}

/* The tail after a kill: what no later write proves may have been torn. */
static void test_damaged_unproven_tail_is_cut(void)
{
    uint32_t cut = 0;
    for (uint64_t seed = 1; seed < 12; seed++) {
        struct image image;
        uint64_t seq;
        make_image(&image, 100 + seed, 100 + (uint32_t)seed, false);
        const struct image_write *last = &writes[write_count - 1];
        uint64_t proven = 0;
        for (uint32_t i = 0; i < write_count; i++)
            proven = rr_max_u64(proven, writes[i].header.durable_seq);
        for (uint32_t i = write_count; i-- > 1 && writes[i].header.seq > proven;) {
            image_at(&image, &writes[i])[64] ^= 1;
            CHECK_EQ_U64(open_image(&image, &seq, NULL), 0);
            CHECK_EQ_U64(seq, writes[i].header.seq);
            cut++;
        }
        CHECK(last->header.seq > proven);
        image_free(&image);
    }
    CHECK(cut >= 11);
}

static void test_padding_does_not_matter(void)
{
    struct image image;
    uint64_t seq;
    make_image(&image, 3, 40, true);
    for (uint32_t i = 0; i < write_count; i++)
        if (wal_padded_size(&writes[i].header) > 64 + writes[i].header.length)
            image_at(&image, &writes[i])[64 + writes[i].header.length] ^= 1;
    CHECK_EQ_U64(open_image(&image, &seq, NULL), 0);
    image_free(&image);
}

static void test_missing_or_shorter_segment_is_refused(void)
{
    struct image image, damaged;
    uint64_t seq;
    make_image(&image, 4, 200, true);
    CHECK(writes[write_count - 1].file >= 2 && writes[write_count - 1].file + 1 < image.count);
    for (uint32_t file = 1; file < image.count; file++) { /* the oldest: see below */
        image_copy(&damaged, &image);
        remove_file(&damaged, file);
        bool is_last_spare = file + 1 == image.count;
        CHECK_EQ_U64(open_image(&damaged, &seq, NULL), is_last_spare ? 0 : RR_E_CORRUPT);
        image_free(&damaged);
        image_copy(&damaged, &image);
        damaged.files[file].size = file % 2 ? 0 : 4096;
        CHECK_EQ_U64(open_image(&damaged, &seq, NULL), RR_E_CORRUPT);
        image_free(&damaged);
    }
    image_free(&image);
}

static void test_log_without_its_oldest_live_segment_is_refused(void)
{
    struct image image;
    uint64_t seq;
    make_image(&image, 5, 20, true);
    uint32_t tail = writes[write_count - 1].file;
    CHECK(tail == 0 || tail == 1);
    while (image.count > 0 && tail-- != UINT32_MAX) {
        remove_file(&image, 0);
        CHECK_EQ_U64(open_image(&image, &seq, NULL), RR_E_CORRUPT);
    }
    while (image.count > 0)
        remove_file(&image, 0);
    CHECK_EQ_U64(open_image(&image, &seq, NULL), RR_E_CORRUPT);
}

static void test_all_zero_and_foreign_segments_are_refused(void)
{
    struct image image, zeros;
    uint64_t seq;
    make_image(&image, 6, 40, true);
    image_copy(&zeros, &image);
    for (uint32_t file = 0; file < zeros.count; file++)
        memset(zeros.files[file].bytes, 0, zeros.files[file].size);
    CHECK_EQ_U64(open_image(&zeros, &seq, NULL), RR_E_CORRUPT);
    image_free(&zeros);

    struct wal_world world;
    image_put(&image, &world, 1);
    world.options.instance_id = 99; /* another directory's identity over these segments */
    CHECK_EQ_U64(wal_open(&world.options, &touch, &world.wal, &world.error), RR_E_CORRUPT);
    world_fini(&world);
    image_free(&image);
}

static void test_foreign_version_is_named(void)
{
    struct image image;
    char message[500];
    uint64_t seq;
    make_image(&image, 7, 40, true);
    const struct image_write *last = &writes[write_count - 1];
    struct wal_header header = last->header;
    header.format = 2;
    memcpy(image_at(&image, last), &header, sizeof(header));
    image_reseal(&image, last, wal_seed(instance_id));
    CHECK_EQ_U64(open_image(&image, &seq, message), RR_E_VERSION);
    CHECK(strstr(message, "version") != NULL);

    memcpy(image_at(&image, last), &last->header, sizeof(header));
    image_at(&image, last)[sizeof(header)] = 9; /* a section kind of the future */
    image_reseal(&image, last, wal_seed(instance_id));
    CHECK_EQ_U64(open_image(&image, &seq, message), RR_E_VERSION);
    image_free(&image);
}

/* A directory whose identity was lost looks empty, but its log must not be made anew. */
static void test_creation_over_a_log_is_refused(void)
{
    struct image image, after;
    struct wal_world world;
    make_image(&image, 9, 30, true);
    for (uint32_t round = 0; round < 3; round++) {
        /* The whole log; only its first segments; only spares, of which one was used before. */
        while (round == 1 && image.count > 3)
            remove_file(&image, image.count - 1);
        if (round == 2) {
            remove_file(&image, 0);
            image.files[0].bytes[image.files[0].size - 1] = 1;
        }
        image_put(&image, &world, 1);
        CHECK_EQ_U64(wal_create(&world.options, &world.error), RR_E_CORRUPT);
        CHECK(strstr(world.error.message, "identity") != NULL);
        image_take(&after, &world);
        CHECK(image_equal(&image, &after));
        image_free(&after);
        world_fini(&world);
    }
    image_free(&image);
}

/* ---- hostility ----------------------------------------------------------------------- */

static uint64_t chance_state = 88172645463325252u;

static uint64_t chance(uint64_t bound)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return chance_state % bound;
}

static void mutate(uint8_t *bytes, uint64_t size)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    uint64_t at = chance(size);
    switch (chance(3)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << chance(8));
        break;
    case 1:
        bytes[at] = values[chance(sizeof(values))];
        break;
    default:
        memset(bytes + at, values[chance(sizeof(values))], rr_min_u64(1 + chance(16), size - at));
    }
}

/* Damage under right checksums: everything inside is at the attacker's choice. */
static void test_hostile_files_never_crash(void)
{
    struct image image;
    uint64_t seq;
    uint32_t opened = 0;
    make_image(&image, 8, 30, true);
    for (uint32_t round = 0; round < 1500; round++) {
        struct image hostile;
        image_copy(&hostile, &image);
        for (uint64_t n = 1 + chance(3); n > 0; n--) {
            const struct image_write *write = &writes[chance(write_count)];
            uint8_t *at = image_at(&hostile, write);
            if (chance(4) == 0)
                mutate(at, sizeof(struct wal_header));
            else
                mutate(at + sizeof(struct wal_header), rr_min_u64(write->header.length, 200));
            if (chance(8) != 0)
                image_reseal(&hostile, write, wal_seed(instance_id));
        }
        opened += open_image(&hostile, &seq, NULL) == 0;
        image_free(&hostile);
    }
    CHECK(opened > 20);
    image_free(&image);
}

int main(void)
{
    RUN(test_flipped_byte_in_a_proven_write_is_refused);
    RUN(test_erased_write_is_refused);
    RUN(test_damaged_unproven_tail_is_cut);
    RUN(test_padding_does_not_matter);
    RUN(test_missing_or_shorter_segment_is_refused);
    RUN(test_log_without_its_oldest_live_segment_is_refused);
    RUN(test_all_zero_and_foreign_segments_are_refused);
    RUN(test_foreign_version_is_named);
    RUN(test_creation_over_a_log_is_refused);
    RUN(test_hostile_files_never_crash);
    return 0;
}
