/* SPDX-License-Identifier: Apache-2.0
 *
 * Chance and hashing for the simulator: a splitmix64 stream per purpose, so that a fault that draws
 * more numbers does not shift the workload, and the hash of the trace. Integers only.
 */
#ifndef RR_IO_SIM_RANDOM_H
#define RR_IO_SIM_RANDOM_H

#include "proto/base.h"

#include <string.h>

struct sim_stream {
    uint64_t state;
};

static inline uint64_t stream_next(struct sim_stream *stream)
{
    uint64_t z = (stream->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A stream of its own for `purpose` under one seed. */
static inline struct sim_stream stream_make(uint64_t seed, uint64_t purpose)
{
    struct sim_stream stream = {seed ^ (purpose * 0xd1342543de82ef95u)};
    stream.state = stream_next(&stream) ^ purpose;
    return stream;
}

/* In [0, bound); bound is not 0. */
static inline uint64_t stream_below(struct sim_stream *stream, uint64_t bound)
{
    RR_ASSERT(bound != 0);
    return (uint64_t)(((unsigned __int128)stream_next(stream) * bound) >> 64);
}

/* In [min, max]. */
static inline uint64_t stream_between(struct sim_stream *stream, uint64_t min, uint64_t max)
{
    RR_ASSERT(min <= max);
    return min + stream_below(stream, max - min + 1);
}

/* True in `num` of `of` cases. */
static inline bool stream_chance(struct sim_stream *stream, uint64_t num, uint64_t of)
{
    return stream_below(stream, of) < num;
}

static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9fb21c651e98df25u;
    return hash ^ (hash >> 29);
}

static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t word[4];

    hash = hash_mix(hash, size);
    if (size >= 256) { /* four lanes: a multiplication need not wait for the one before it */
        uint64_t lane[4] = {hash, hash + 1, hash + 2, hash + 3};
        for (; size >= 32; size -= 32, at += 32) {
            memcpy(word, at, 32);
            for (int i = 0; i < 4; i++)
                lane[i] = hash_mix(lane[i], word[i]);
        }
        hash = hash_mix(hash_mix(lane[0], lane[1]), hash_mix(lane[2], lane[3]));
    }
    for (; size >= 8; size -= 8, at += 8) {
        memcpy(word, at, 8);
        hash = hash_mix(hash, word[0]);
    }
    if (size == 0)
        return hash;
    word[0] = 0;
    memcpy(word, at, size);
    return hash_mix(hash, word[0]);
}

#endif
