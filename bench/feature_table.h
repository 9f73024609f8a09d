/* SPDX-License-Identifier: Apache-2.0
 *
 * What the features' benches share: a table whose lines stand beside a ratio of each pair of
 * slices.
 */
#ifndef RR_BENCH_FEATURE_TABLE_H
#define RR_BENCH_FEATURE_TABLE_H

#include "bench/bench_cluster.h"

#define FEATURE_PAIRS_MAX 100u

/* One line of a table. */
struct feature_row {
    char name[64];
    double rate, p50_us, p99_us;
    double ratios[FEATURE_PAIRS_MAX]; /* to the row it is compared with */
    uint32_t ratio_count;
};

/* One more slice, and its ratio. */
void feature_take(struct feature_row *row, const struct slice *slice, double ratio);
void feature_print(const char *title, const char *ratio_of, struct feature_row *rows,
                   uint32_t count);
double feature_rate(uint64_t count, const struct slice *slice);
void feature_sort(double *values, uint32_t count);
double feature_now_ms(void);
void feature_pause_ms(uint32_t ms);
/* A sentence to stderr; false. */
bool feature_fail(const char *what, const char *why);

#endif
