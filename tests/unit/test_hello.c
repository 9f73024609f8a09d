/* SPDX-License-Identifier: Apache-2.0 */
#include "io/hello.h"

#include "proto/crc32c.h"
#include "tests/unit/check.h"

static struct hello sound_hello(void)
{
    return (struct hello){.cluster = 0x1122334455667788,
                          .from = 2,
                          .to = 1,
                          .instance = 0xabcdef,
                          .boot = 7,
                          .nonce = 0x99,
                          .loop = 0,
                          .loop_count = 1,
                          .feature_level = 1,
                          .entry_bytes_max = 1 << 20,
                          .frame_bytes_max = 16 << 20,
                          .kind = HELLO_DIAL};
}

static struct hello our_hello(void)
{
    struct hello ours = sound_hello();
    ours.from = 1;
    ours.to = 0;
    ours.instance = 0x1234;
    return ours;
}

static void seal(uint8_t bytes[HELLO_SIZE])
{
    uint32_t crc = crc32c(0, bytes, HELLO_SIZE - 4);
    memcpy(bytes + HELLO_SIZE - 4, &crc, 4);
}

static void test_hello_travels_whole(void)
{
    struct hello hello = sound_hello(), got;
    uint8_t bytes[HELLO_SIZE], again[HELLO_SIZE];
    hello_put(&hello, bytes);
    CHECK(hello_get(bytes, &got) == 0);
    CHECK(got.cluster == hello.cluster && got.from == 2 && got.to == 1 && got.boot == 7);
    CHECK(got.instance == 0xabcdef && got.nonce == 0x99 && got.frame_bytes_max == 16 << 20);
    hello_put(&got, again);
    CHECK(memcmp(bytes, again, HELLO_SIZE) == 0);
}

static void test_hello_any_flipped_bit_is_malformed(void)
{
    struct hello hello = sound_hello(), got;
    uint8_t bytes[HELLO_SIZE];
    hello_put(&hello, bytes);
    for (uint32_t bit = 0; bit < HELLO_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(hello_get(bytes, &got) == RR_E_MALFORMED);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(hello_get(bytes, &got) == 0);
}

static void test_hello_of_another_version_is_told_apart(void)
{
    struct hello hello = sound_hello(), got;
    uint8_t bytes[HELLO_SIZE];
    hello_put(&hello, bytes);
    bytes[8]++;
    bytes[30] ^= 0xff; /* whatever that version puts there */
    seal(bytes);
    CHECK(hello_get(bytes, &got) == RR_E_VERSION);
}

static void test_hello_with_impossible_fields_is_malformed(void)
{
    static const struct {
        uint32_t at;
        uint8_t value;
    } cases[] = {
        {10, 0}, /* no such kind */
        {10, 9}, /* no such kind */
        {12, 1}, /* a code, and no refusal */
        {24, 0}, /* from nobody */
        {32, 0}, /* to nobody */
        {64, 1}, /* loop 1 of 1 */
        {84, 1}, /* reserved */
        {91, 1}, /* reserved */
        {10, 3}, /* a refusal without a code */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hello hello = sound_hello(), got;
        uint8_t bytes[HELLO_SIZE];
        hello_put(&hello, bytes);
        bytes[cases[i].at] = cases[i].value;
        seal(bytes);
        CHECK(hello_get(bytes, &got) == RR_E_MALFORMED);
    }
}

static void test_refusal_travels_with_its_code(void)
{
    struct hello refusal = {.kind = HELLO_REFUSAL, .code = RR_E_INSTANCE, .to = 2}, got;
    uint8_t bytes[HELLO_SIZE];
    hello_put(&refusal, bytes);
    CHECK(hello_get(bytes, &got) == 0);
    CHECK(got.kind == HELLO_REFUSAL && got.code == RR_E_INSTANCE && got.to == 2);
}

static int check_changed(void (*change)(struct hello *theirs))
{
    struct hello ours = our_hello(), theirs = sound_hello();
    change(&theirs);
    return hello_check(&ours, &theirs);
}

static void nothing(struct hello *theirs)
{
    (void)theirs;
}
static void other_cluster(struct hello *theirs)
{
    theirs->cluster++;
}
static void meant_for_another(struct hello *theirs)
{
    theirs->to = 3;
}
static void from_ourselves(struct hello *theirs)
{
    theirs->from = 1;
}
static void other_entry_limit(struct hello *theirs)
{
    theirs->entry_bytes_max++;
}
static void other_frame_limit(struct hello *theirs)
{
    theirs->frame_bytes_max--;
}
static void other_loop_count(struct hello *theirs)
{
    theirs->loop_count = 2;
}
static void with_tls(struct hello *theirs)
{
    theirs->flags = HELLO_TLS;
}
static void other_feature_level(struct hello *theirs)
{
    theirs->feature_level = 9;
}

static void test_hello_refusals_are_told_apart(void)
{
    CHECK(check_changed(nothing) == 0);
    CHECK(check_changed(other_cluster) == RR_E_IDENTITY);
    CHECK(check_changed(meant_for_another) == RR_E_IDENTITY);
    CHECK(check_changed(from_ourselves) == RR_E_IDENTITY);
    CHECK(check_changed(other_entry_limit) == RR_E_INVALID);
    CHECK(check_changed(other_frame_limit) == RR_E_INVALID);
    CHECK(check_changed(other_loop_count) == RR_E_INVALID);
    CHECK(check_changed(with_tls) == RR_E_NOT_SUPPORTED);
    CHECK(check_changed(other_feature_level) == 0);
}

static void test_hello_dialler_insists_on_the_node_it_dialled(void)
{
    struct hello ours = our_hello(), theirs = sound_hello();
    ours.to = 2;
    CHECK(hello_check(&ours, &theirs) == 0);
    ours.to = 3;
    CHECK(hello_check(&ours, &theirs) == RR_E_IDENTITY);
}

int main(void)
{
    RUN(test_hello_travels_whole);
    RUN(test_hello_any_flipped_bit_is_malformed);
    RUN(test_hello_of_another_version_is_told_apart);
    RUN(test_hello_with_impossible_fields_is_malformed);
    RUN(test_refusal_travels_with_its_code);
    RUN(test_hello_refusals_are_told_apart);
    RUN(test_hello_dialler_insists_on_the_node_it_dialled);
    return 0;
}
