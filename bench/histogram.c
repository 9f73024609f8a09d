/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/histogram.h"

#include <string.h>

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

static uint64_t bucket_value(uint32_t bucket)
{
    uint32_t shift = bucket >> HISTOGRAM_SUB_BITS;
    uint64_t low = bucket & ((1u << HISTOGRAM_SUB_BITS) - 1);
    if (shift == 0)
        return low;
    uint64_t base = ((1ull << HISTOGRAM_SUB_BITS) | low) << (shift - 1);
    return base + ((1ull << (shift - 1)) >> 1);
}

double histogram_us(const struct histogram *histogram, uint32_t per_ten_thousand)
{
    if (histogram->total == 0)
        return 0;
    uint64_t rank = (histogram->total * per_ten_thousand + 9999) / 10000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= rank && seen > 0) {
            uint64_t value = bucket_value(i);
            return (double)(value < histogram->max_ns ? value : histogram->max_ns) / 1000.0;
        }
    }
    return (double)histogram->max_ns / 1000.0;
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->counts[i] += from->counts[i];
    histogram->total += from->total;
    if (from->max_ns > histogram->max_ns)
        histogram->max_ns = from->max_ns;
}
