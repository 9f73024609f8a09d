/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes protobuf encodings of package raftpb at random, in every form that a decoder must accept:
 * any field order, repeated scalars (the last wins), unknown fields, varints longer than necessary,
 * packed numbers. One seed, one encoding.
 */
#ifndef RR_TESTS_WIRE_GENERATOR_H
#define RR_TESTS_WIRE_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_kind {
    WIRE_KIND_MESSAGE,
    WIRE_KIND_ENTRY,
    WIRE_KIND_SNAPSHOT,
    WIRE_KIND_METADATA,
    WIRE_KIND_HARD_STATE,
    WIRE_KIND_CONF_STATE,
    WIRE_KIND_CONF_CHANGE,
    WIRE_KIND_CONF_CHANGE_V2,
    WIRE_KIND_COUNT,
    /* Only inside others. */
    WIRE_KIND_RESPONSE = WIRE_KIND_COUNT,
    WIRE_KIND_SINGLE,
};

struct wire_random {
    uint64_t state;
};

/* A number below bound (> 0). */
uint64_t wire_random_below(struct wire_random *random, uint64_t bound);

/* `size` (0 and up) is how rich an encoding may be: lengths and counts grow with it. A wild
 * encoding has the liberties named above, a tame one is what an encoder writes. Fits `cap` or is
 * cut short at a field. Returns its bytes. */
struct wire_wish {
    enum wire_kind kind;
    uint32_t size;
    bool wild;
};
size_t wire_generate(struct wire_random *random, const struct wire_wish *wish, uint8_t *bytes,
                     size_t cap);

#endif
