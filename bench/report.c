/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FLUSH_RATIO_MIN 0.9

void report_warn(struct report_row *row, const char *warning)
{
    for (uint32_t i = 0; i < row->warning_count; i++)
        if (strcmp(row->warnings[i], warning) == 0)
            return;
    if (row->warning_count < REPORT_WARNINGS_MAX)
        row->warnings[row->warning_count++] = warning;
}

bool report_is_durable(const struct report *report)
{
    return !report->device.is_ram &&
           (report->flush_ratio < 0 || report->flush_ratio >= FLUSH_RATIO_MIN);
}

static void print_flushes(const struct report *report)
{
    if (report->device.is_ram)
        printf("disk: a file system in RAM: nothing here is durable\n");
    else if (report->flush_ratio < 0)
        printf("disk: %s; flushes cannot be verified on it (%s)\n",
               report->device.name[0] ? report->device.name : "unknown device",
               report->device.has_write_back ? "it passes its cache, or does not count them"
                                             : "the kernel says it has no volatile cache");
    else if (report->flush_ratio < FLUSH_RATIO_MIN)
        printf(
            "disk: %s did %.2f flushes per synchronous write: writes are NOT shown to reach it\n",
            report->device.name, report->flush_ratio);
    else
        printf("disk: %s, write-back cache, %.2f flushes per durable write\n", report->device.name,
               report->flush_ratio);
}

static void print_head(const struct report *report)
{
    struct utsname system;
    uname(&system);
    printf("\nrr-bench: three replicas on this machine, one disk, the client inside the leader, "
           "closed loop\n");
    printf("machine: %ld CPUs, Linux %s; backend %s, %s\n", sysconf(_SC_NPROCESSORS_ONLN),
           system.release, report->backend,
           report->is_direct ? "O_DIRECT + RWF_DSYNC" : "buffered writes + fdatasync");
    print_flushes(report);
    printf("floor: best grid point %u KiB x %u: %.0f MB/s, p50 %.0f us; durable 4 KiB write, three "
           "writers: "
           "p50 %.0f us\n",
           report->floor.size / 1024, report->floor.depth, report->floor.mb_per_s,
           report->floor.p50_us, report->write_p50_us);
    printf("acknowledged means: %s\n", report_is_durable(report)
                                           ? "durable on two of three replicas and applied"
                                           : "written on two of three replicas and applied");
}

static void print_row(const struct report_row *row)
{
    char size[16], ratio[48] = "-";
    snprintf(size, sizeof(size), row->size >= 1024 ? "%u KiB" : "%u B",
             row->size >= 1024 ? row->size / 1024 : row->size);
    if (row->ratio > 0 && row->pairs > 1)
        snprintf(ratio, sizeof(ratio), "%.2f (%.2f-%.2f)", row->ratio, row->ratio_min,
                 row->ratio_max);
    else if (row->ratio > 0)
        snprintf(ratio, sizeof(ratio), "%.2f", row->ratio);
    printf("%-18s %6s %9.0f %7.1f %8.0f %8.0f %8.0f %9.0f %7.1f %7.2f %4llu/%-3llu %6.3f  %s%s",
           load_shape_name(row->shape), size, row->rate, row->mb_per_s, row->p50_us, row->p99_us,
           row->p999_us, row->max_us, row->entries_per_write, row->cpu_us_per_entry,
           (unsigned long long)row->recycled, (unsigned long long)row->zeroed, row->lag_seconds,
           ratio, row->is_void ? "  VOID" : "");
    for (uint32_t i = 0; i < row->warning_count; i++)
        printf("%s%s", i == 0 ? "  ! " : ", ", row->warnings[i]);
    printf("\n");
}

void report_print(const struct report *report)
{
    print_head(report);
    printf("\n%-18s %6s %9s %7s %8s %8s %8s %9s %7s %7s %8s %6s  %s\n", "shape", "entry", "rate/s",
           "MB/s", "p50 us", "p99 us", "p99.9 us", "max us", "ent/wr", "cpu us", "recy/zer",
           "lag s", "ratio to floor");
    for (uint32_t i = 0; i < report->row_count; i++)
        print_row(&report->rows[i]);
    printf("\nMB/s counts the bytes of entries only. Ratio: MB/s over the floor's best MB/s; for "
           "depth 1, p50 over the "
           "floor's p50\nwith the padded entry as message (lower is better). cpu: all processes, "
           "per entry. recy/zer: "
           "log segments recycled and\nzeroed inside the windows. lag: of the slowest replica.\n");
    if (report->options->pairs < 5)
        printf("This run took %u short pair%s of slices per row: a look, not a figure. For figures "
               "that are quoted: "
               "--pairs 5 --slice 5s.\n",
               report->options->pairs, report->options->pairs == 1 ? "" : "s");
    printf("It took %.0f s.\n", report->seconds);
}

bool report_can_save(const char *dir)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/summary.json", dir);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "rr-bench: %s cannot be made: %s\n", dir, strerror(errno));
        return false;
    }
    if (access(path, F_OK) == 0) {
        fprintf(
            stderr,
            "rr-bench: %s exists and results are never overwritten; give --out another directory\n",
            path);
        return false;
    }
    return true;
}

static void save_row(FILE *file, const struct report_row *row, bool is_last)
{
    fprintf(file,
            "    {\"shape\": \"%s\", \"size\": %u, \"rate\": %.1f, \"mb_per_s\": %.3f, \"p50_us\": "
            "%.1f, "
            "\"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, \"entries_per_write\": %.2f, "
            "\"cpu_us_per_entry\": %.3f, \"segments_recycled\": %llu, \"segments_zeroed\": %llu, "
            "\"lag_seconds\": %.4f, \"floor_ratio\": %.4f, \"floor_ratio_min\": %.4f, "
            "\"floor_ratio_max\": %.4f, "
            "\"floor_value\": %.2f, \"pairs\": %u, \"void\": %s, \"warnings\": [",
            load_shape_name(row->shape), row->size, row->rate, row->mb_per_s, row->p50_us,
            row->p99_us, row->p999_us, row->max_us, row->entries_per_write, row->cpu_us_per_entry,
            (unsigned long long)row->recycled, (unsigned long long)row->zeroed, row->lag_seconds,
            row->ratio, row->ratio_min, row->ratio_max, row->floor_value, row->pairs,
            row->is_void ? "true" : "false");
    for (uint32_t i = 0; i < row->warning_count; i++)
        fprintf(file, "%s\"%s\"", i ? ", " : "", row->warnings[i]);
    fprintf(file, "]}%s\n", is_last ? "" : ",");
}

bool report_save(const struct report *report, const char *dir)
{
    char path[1024];
    struct utsname system;
    uname(&system);
    snprintf(path, sizeof(path), "%s/summary.json", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file) {
        fprintf(stderr, "rr-bench: %s cannot be written: %s\n", path, strerror(errno));
        return false;
    }
    fprintf(file,
            "{\n  \"schema\": 1,\n  \"kernel\": \"%s\", \"cpus\": %ld, \"backend\": \"%s\", "
            "\"direct\": %s,\n"
            "  \"durable\": %s, \"flushes_per_write\": %.3f, \"slice_ms\": %u,\n"
            "  \"floor\": {\"size\": %u, \"depth\": %u, \"mb_per_s\": %.2f, \"p50_us\": %.1f, "
            "\"durable_write_p50_us\": %.1f},\n  \"results\": [\n",
            system.release, sysconf(_SC_NPROCESSORS_ONLN), report->backend,
            report->is_direct ? "true" : "false", report_is_durable(report) ? "true" : "false",
            report->flush_ratio, report->options->slice_ms, report->floor.size, report->floor.depth,
            report->floor.mb_per_s, report->floor.p50_us, report->write_p50_us);
    for (uint32_t i = 0; i < report->row_count; i++)
        save_row(file, &report->rows[i], i + 1 == report->row_count);
    fprintf(file, "  ]\n}\n");
    return fclose(file) == 0;
}
