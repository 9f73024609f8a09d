/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/feature_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

bool feature_fail(const char *what, const char *why)
{
    fprintf(stderr, "rr-bench: %s: %s\n", what, why);
    return false;
}

double feature_rate(uint64_t count, const struct slice *slice)
{
    return slice->seconds > 0 ? (double)count / slice->seconds : 0;
}

void feature_take(struct feature_row *row, const struct slice *slice, double ratio)
{
    row->rate = feature_rate(slice->completed, slice);
    row->p50_us = slice->p50_us;
    row->p99_us = slice->p99_us;
    if (row->ratio_count < FEATURE_PAIRS_MAX)
        row->ratios[row->ratio_count++] = ratio;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void feature_sort(double *values, uint32_t count)
{
    qsort(values, count, sizeof(*values), by_value);
}

void feature_print(const char *title, const char *ratio_of, struct feature_row *rows,
                   uint32_t count)
{
    printf("\n%s\n%-34s %12s %9s %9s   %s\n", title, "", "rate/s", "p50 us", "p99 us", ratio_of);
    for (uint32_t i = 0; i < count; i++) {
        struct feature_row *row = &rows[i];
        feature_sort(row->ratios, row->ratio_count);
        printf("%-34s %12.0f %9.0f %9.0f", row->name, row->rate, row->p50_us, row->p99_us);
        if (row->ratio_count)
            printf("   %.2f (%.2f-%.2f)", row->ratios[row->ratio_count / 2], row->ratios[0],
                   row->ratios[row->ratio_count - 1]);
        printf("\n");
    }
    if (rows[0].ratio_count < 5)
        printf("%u pair%s of slices: a look, not a figure; for figures: --pairs 5 --slice 5s\n",
               rows[0].ratio_count, rows[0].ratio_count == 1 ? "" : "s");
}

double feature_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void feature_pause_ms(uint32_t ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}
