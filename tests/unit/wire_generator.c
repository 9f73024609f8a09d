/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/wire_generator.h"

#include "proto/varint.h"

#include <stdlib.h>
#include <string.h>

/* ---- the schema, as the generator sees it -------------------------------- */

enum field_shape { NUMBER, SMALL_ENUM, TRUTH, BYTES, NUMBERS, SUB, SUBS };

struct field_schema {
    uint8_t number; /* 0 ends a list */
    enum field_shape shape;
    enum wire_kind kind; /* of SUB and SUBS */
};

#define FIELDS_MAX 15

static const struct field_schema schema[][FIELDS_MAX] = {
    [WIRE_KIND_MESSAGE] = {{1, SMALL_ENUM, 0},
                           {2, NUMBER, 0},
                           {3, NUMBER, 0},
                           {4, NUMBER, 0},
                           {5, NUMBER, 0},
                           {6, NUMBER, 0},
                           {7, SUBS, WIRE_KIND_ENTRY},
                           {8, NUMBER, 0},
                           {9, SUB, WIRE_KIND_SNAPSHOT},
                           {10, TRUTH, 0},
                           {11, NUMBER, 0},
                           {12, BYTES, 0},
                           {13, NUMBER, 0},
                           {14, SUBS, WIRE_KIND_RESPONSE}},
    [WIRE_KIND_RESPONSE] = {{1, SMALL_ENUM, 0},
                            {2, NUMBER, 0},
                            {6, NUMBER, 0},
                            {7, SUBS, WIRE_KIND_ENTRY},
                            {9, SUB, WIRE_KIND_SNAPSHOT},
                            {10, TRUTH, 0}},
    [WIRE_KIND_ENTRY] = {{1, SMALL_ENUM, 0}, {2, NUMBER, 0}, {3, NUMBER, 0}, {4, BYTES, 0}},
    [WIRE_KIND_SNAPSHOT] = {{1, BYTES, 0}, {2, SUB, WIRE_KIND_METADATA}},
    [WIRE_KIND_METADATA] = {{1, SUB, WIRE_KIND_CONF_STATE}, {2, NUMBER, 0}, {3, NUMBER, 0}},
    [WIRE_KIND_HARD_STATE] = {{1, NUMBER, 0}, {2, NUMBER, 0}, {3, NUMBER, 0}},
    [WIRE_KIND_CONF_STATE] =
        {{1, NUMBERS, 0}, {2, NUMBERS, 0}, {3, NUMBERS, 0}, {4, NUMBERS, 0}, {5, TRUTH, 0}},
    [WIRE_KIND_CONF_CHANGE] = {{1, NUMBER, 0}, {2, SMALL_ENUM, 0}, {3, NUMBER, 0}, {4, BYTES, 0}},
    [WIRE_KIND_CONF_CHANGE_V2] = {{1, SMALL_ENUM, 0}, {2, SUBS, WIRE_KIND_SINGLE}, {3, BYTES, 0}},
    [WIRE_KIND_SINGLE] = {{1, SMALL_ENUM, 0}, {2, NUMBER, 0}},
};

/* ---- chance -------------------------------------------------------------- */

static uint64_t next_random(struct wire_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15ull); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t wire_random_below(struct wire_random *random, uint64_t bound)
{
    return next_random(random) % bound;
}

static bool one_in(struct wire_random *random, uint32_t n)
{
    return wire_random_below(random, n) == 0;
}

/* Any width, with 0 and the borders of varint sizes more often than they would come by themselves.
 */
static uint64_t random_number(struct wire_random *random)
{
    uint64_t bits = wire_random_below(random, 65);
    uint64_t number = bits == 0 ? 0 : next_random(random) >> (64 - bits);
    return one_in(random, 4) ? 1ull << wire_random_below(random, 64) : number;
}

/* ---- encoding ------------------------------------------------------------ */

struct output {
    uint8_t *at;
    uint8_t *end;
    struct wire_random *random;
    uint32_t size;
    bool wild;
};

/* Sometimes longer than necessary, if wild; `size_max` bytes at most. */
static void put_varint(struct output *out, uint64_t value, uint32_t size_max)
{
    uint32_t size = varint_size(value);
    uint8_t *last = varint_put(out->at, value) - 1;
    if (out->wild && size < size_max && one_in(out->random, 6)) {
        uint32_t longer = 1 + (uint32_t)wire_random_below(out->random, size_max - size);
        for (; longer > 0; longer--) {
            *last++ |= 0x80;
            *last = 0;
        }
    }
    out->at = last + 1;
}

/* protobuf-c reads tags and lengths of at most five bytes. */
static void put_tag(struct output *out, uint32_t number, uint32_t type)
{
    put_varint(out, number << 3 | type, 5);
}

static void put_random_bytes(struct output *out, uint32_t number)
{
    uint64_t size = wire_random_below(out->random, (uint64_t)out->size * 4 + 2);
    put_tag(out, number, 2);
    put_varint(out, size, 5);
    for (; size > 0; size--)
        *out->at++ = (uint8_t)next_random(out->random);
}

static void put_unknown(struct output *out)
{
    uint32_t number =
        15 + (uint32_t)wire_random_below(out->random, one_in(out->random, 4) ? 100000 : 30);
    static const uint8_t types[] = {0, 1, 2, 5};
    uint32_t type = types[wire_random_below(out->random, 4)];
    if (type == 2) {
        put_random_bytes(out, number);
        return;
    }
    put_tag(out, number, type);
    if (type == 0) {
        put_varint(out, random_number(out->random), 10);
        return;
    }
    for (uint32_t left = type == 1 ? 8 : 4; left > 0; left--)
        *out->at++ = (uint8_t)next_random(out->random);
}

static void put_numbers(struct output *out, uint32_t number)
{
    uint64_t count = wire_random_below(out->random, out->size / 4 + 2);
    if (out->wild && one_in(out->random, 3)) {
        uint8_t packed[1024];
        uint8_t *end = packed;
        for (; count > 0; count--)
            end = varint_put(end, random_number(out->random));
        put_tag(out, number, 2);
        put_varint(out, (uint64_t)(end - packed), 5);
        memcpy(out->at, packed, (size_t)(end - packed));
        out->at += end - packed;
        return;
    }
    for (; count > 0; count--) {
        put_tag(out, number, 0);
        put_varint(out, random_number(out->random), 10);
    }
}

static void put_sub(struct output *out, uint32_t number, enum wire_kind kind)
{
    size_t cap = (size_t)(out->end - out->at) / 2;
    uint8_t *bytes = malloc(cap + 1);
    struct wire_wish wish = {.kind = kind, .size = out->size / 2, .wild = out->wild};
    size_t size = wire_generate(out->random, &wish, bytes, cap);
    put_tag(out, number, 2);
    put_varint(out, size, 5);
    memcpy(out->at, bytes, size);
    out->at += size;
    free(bytes);
}

static void put_field(struct output *out, const struct field_schema *field)
{
    switch (field->shape) {
    case NUMBER:
        put_tag(out, field->number, 0);
        put_varint(out, random_number(out->random), 10);
        break;
    case SMALL_ENUM:
        put_tag(out, field->number, 0);
        put_varint(out, wire_random_below(out->random, one_in(out->random, 8) ? 256 : 4), 5);
        break;
    case TRUTH:
        put_tag(out, field->number, 0);
        put_varint(out, wire_random_below(out->random, 2), 10);
        break;
    case BYTES:
        put_random_bytes(out, field->number);
        break;
    case NUMBERS:
        put_numbers(out, field->number);
        break;
    case SUB:
    case SUBS:
        put_sub(out, field->number, field->kind);
        break;
    }
}

/* How often a field stands in one encoding. */
static uint32_t random_times(struct output *out, enum field_shape shape)
{
    if (shape == SUBS)
        return (uint32_t)wire_random_below(out->random, out->size / 4 + 2);
    if (one_in(out->random, 3))
        return 0;
    bool again = out->wild && shape != SUB && one_in(out->random, 5);
    return again ? 2 : 1;
}

/* The most bytes that one field of this size takes, sub-messages apart. */
static size_t field_room(uint32_t size)
{
    return 64 + (size_t)size * 12;
}

size_t wire_generate(struct wire_random *random, const struct wire_wish *wish, uint8_t *bytes,
                     size_t cap)
{
    enum { PICKS_MAX = 256 };
    const struct field_schema *picks[PICKS_MAX]; /* NULL: an unknown field */
    uint32_t count = 0;
    struct output out = {
        .at = bytes, .end = bytes + cap, .random = random, .size = wish->size, .wild = wish->wild};
    for (const struct field_schema *field = schema[wish->kind]; field->number; field++) {
        for (uint32_t times = random_times(&out, field->shape); times > 0 && count < PICKS_MAX;
             times--)
            picks[count++] = field;
    }
    if (wish->wild) {
        for (uint64_t unknown = wire_random_below(random, 3); unknown > 0 && count < PICKS_MAX;
             unknown--)
            picks[count++] = NULL;
        for (uint32_t i = count; i > 1; i--) { /* any order */
            uint32_t other = (uint32_t)wire_random_below(random, i);
            const struct field_schema *pick = picks[i - 1];
            picks[i - 1] = picks[other];
            picks[other] = pick;
        }
    }
    for (uint32_t i = 0; i < count && (size_t)(out.end - out.at) >= 2 * field_room(out.size); i++) {
        if (picks[i])
            put_field(&out, picks[i]);
        else
            put_unknown(&out);
    }
    return (size_t)(out.at - bytes);
}
