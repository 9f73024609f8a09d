/* SPDX-License-Identifier: Apache-2.0
 *
 * What rr-bench prints and keeps: a table for people, summary.json for programs.
 */
#ifndef RR_BENCH_REPORT_H
#define RR_BENCH_REPORT_H

#include "bench/device.h"
#include "bench/load.h"
#include "bench/options.h"

#define REPORT_WARNINGS_MAX 6
#define REPORT_ROWS_MAX     32

struct report_row {
    enum load_shape shape;
    uint32_t size;
    double rate, mb_per_s; /* of the median pair */
    double p50_us, p99_us, p999_us, max_us;
    double entries_per_write;
    double cpu_us_per_entry;            /* all three processes */
    uint64_t recycled, zeroed;          /* sums over the slices */
    double lag_seconds;                 /* the slowest replica, at worst */
    double ratio, ratio_min, ratio_max; /* to the floor; 0: there is none */
    double floor_value;                 /* MB/s, or p50 in us for depth 1 */
    uint32_t pairs;
    bool is_void;
    const char *warnings[REPORT_WARNINGS_MAX];
    uint32_t warning_count;
};

struct report {
    const struct bench_options *options;
    struct device device;
    char backend[16];
    bool is_direct;
    double flush_ratio; /* flushes per durable write in the probe; negative: cannot be verified */
    struct {
        uint32_t size, depth;
        double mb_per_s, p50_us;
    } floor;             /* the best grid point */
    double write_p50_us; /* a durable 4 KiB write, three writers at once */
    double seconds;
    struct report_row rows[REPORT_ROWS_MAX];
    uint32_t row_count;
};

void report_warn(struct report_row *row, const char *warning);
/* May the results be called durable? */
bool report_is_durable(const struct report *report);
void report_print(const struct report *report);
/* False: the file exists or cannot be written; a sentence went to stderr. */
bool report_save(const struct report *report, const char *dir);
/* Refuses early what report_save would refuse. */
bool report_can_save(const char *dir);

#endif
