/* SPDX-License-Identifier: Apache-2.0
 *
 * Latencies in a log-linear histogram: 64 steps per power of two, so a percentile is right to 1.6
 * %. Fixed size, no allocation; one thread writes.
 */
#ifndef RR_BENCH_HISTOGRAM_H
#define RR_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS  (48u << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void histogram_reset(struct histogram *histogram);

static inline uint32_t histogram_bucket(uint64_t ns)
{
    if (ns < (1u << HISTOGRAM_SUB_BITS))
        return (uint32_t)ns;
    uint32_t exponent = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t shift = exponent - HISTOGRAM_SUB_BITS;
    uint32_t bucket = ((shift + 1) << HISTOGRAM_SUB_BITS) +
                      (uint32_t)((ns >> shift) & ((1u << HISTOGRAM_SUB_BITS) - 1));
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->counts[histogram_bucket(ns)]++;
    histogram->total++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

/* Adds all of `from`. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

/* The value below which `permille_x10 / 10000` of all lie (5000: the median), in microseconds; 0 if
 * empty. */
double histogram_us(const struct histogram *histogram, uint32_t per_ten_thousand);

#endif
