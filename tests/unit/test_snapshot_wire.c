/* SPDX-License-Identifier: Apache-2.0 */
#include "io/snapshot_wire.h"

#include "proto/crc32c.h"
#include "tests/unit/check.h"

static const struct snapshot_said begin = {.type = SNAPSHOT_SAYS_BEGIN,
                                           .group = 5,
                                           .size = UINT64_C(0x123456789a),
                                           .header_crc = 0xdeadbeef,
                                           .payload_size = 7};
static const struct snapshot_said chunk = {
    .type = SNAPSHOT_SAYS_CHUNK, .group = 5, .offset = 1 << 20, .payload_size = 7};
static const struct snapshot_said progress = {
    .type = SNAPSHOT_SAYS_PROGRESS, .group = 5, .offset = 77};
static const struct snapshot_said result = {
    .type = SNAPSHOT_SAYS_RESULT, .group = 5, .status = RR_E_NO_SPACE};

/* Puts it with the payload "payload" and gets it back. */
static int get(const struct snapshot_said *said, struct snapshot_said *got)
{
    uint8_t bytes[SNAPSHOT_WIRE_HEAD];
    snapshot_wire_put(said, said->payload_size ? crc32c(0, "payload", 7) : 0, bytes);
    return snapshot_wire_get(bytes, got);
}

static void test_everything_that_is_said_travels_whole(void)
{
    struct snapshot_said got;
    CHECK(get(&begin, &got) == 0);
    CHECK(got.type == SNAPSHOT_SAYS_BEGIN && got.group == 5 && got.size == begin.size);
    CHECK(got.header_crc == 0xdeadbeef && got.payload_size == 7 && got.status == 0);
    CHECK(snapshot_wire_payload(&got, (const uint8_t *)"payload"));
    CHECK(!snapshot_wire_payload(&got, (const uint8_t *)"paYload"));
    CHECK(get(&chunk, &got) == 0 && got.offset == 1 << 20 && got.payload_size == 7);
    CHECK(snapshot_wire_payload(&got, (const uint8_t *)"payload"));
    CHECK(get(&progress, &got) == 0 && got.offset == 77 && got.payload_size == 0);
    CHECK(get(&result, &got) == 0 && got.status == RR_E_NO_SPACE);
}

/* In the body's head of a frame with a payload the body's checksum finds it. */
static void test_any_flipped_bit_is_found(void)
{
    const struct snapshot_said *all[] = {&begin, &chunk, &progress, &result};
    for (uint32_t k = 0; k < RR_ARRAY_SIZE(all); k++)
        for (uint32_t bit = 0; bit < 8 * SNAPSHOT_WIRE_HEAD; bit++) {
            uint8_t bytes[SNAPSHOT_WIRE_HEAD];
            struct snapshot_said got;
            snapshot_wire_put(all[k], all[k]->payload_size ? crc32c(0, "payload", 7) : 0, bytes);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            CHECK(snapshot_wire_get(bytes, &got) != 0 ||
                  !snapshot_wire_payload(&got, (const uint8_t *)"payload"));
        }
}

static void test_what_nobody_says_is_malformed(void)
{
    struct snapshot_said got, said = begin;
    said.size = 0;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = begin;
    said.offset = 1;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = begin;
    said.payload_size = SNAPSHOT_WIRE_BEGIN_MAX + 1;
    CHECK(get(&said, &got) == RR_E_TOO_LARGE);
    said = chunk;
    said.payload_size = 0;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = chunk;
    said.offset = UINT64_MAX - 3; /* the end would wrap */
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = chunk;
    said.size = 9;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = chunk;
    said.payload_size = SNAPSHOT_WIRE_CHUNK_MAX;
    CHECK(get(&said, &got) == 0);
    said.payload_size++;
    CHECK(get(&said, &got) == RR_E_TOO_LARGE);
    said = progress;
    said.status = -1;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = result;
    said.status = 1;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said = result;
    said.type = 5;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
    said.type = 0;
    CHECK(get(&said, &got) == RR_E_MALFORMED);
}

static void test_frames_of_another_kind_are_malformed(void)
{
    uint8_t bytes[SNAPSHOT_WIRE_HEAD] = {0};
    struct snapshot_said got;
    struct frame_header header = {
        .kind = FRAME_MESSAGES, .group = 5, .length = SNAPSHOT_WIRE_HEAD - FRAME_HEADER_SIZE};
    frame_header_put(&header, bytes);
    CHECK(snapshot_wire_get(bytes, &got) == RR_E_MALFORMED);
    header.kind = FRAME_SNAPSHOT;
    header.length--;
    frame_header_put(&header, bytes);
    CHECK(snapshot_wire_get(bytes, &got) == RR_E_MALFORMED);
}

int main(void)
{
    RUN(test_everything_that_is_said_travels_whole);
    RUN(test_any_flipped_bit_is_found);
    RUN(test_what_nobody_says_is_malformed);
    RUN(test_frames_of_another_kind_are_malformed);
    return 0;
}
