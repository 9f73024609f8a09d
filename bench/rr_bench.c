/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-bench: throughput and latency of the durable replicated log on this machine, beside what the
 * machine could do. The same program is the orchestrator and, started by it, each replica and each
 * node of the floor.
 */
#include "bench/features.h"
#include "bench/floor_node.h"
#include "bench/local.h"
#include "bench/options.h"
#include "bench/run.h"
#include "io/backend.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_signal(int signal_number)
{
    (void)signal_number;
    run_interrupt();
}

/* A new directory for this run's files, below --dir or here. */
static bool make_dir(const struct bench_options *options, char *dir, size_t cap)
{
    snprintf(dir, cap, "%s/rr-bench-data.%d", options->dir ? options->dir : ".", (int)getpid());
    if (mkdir(dir, 0700) != 0) {
        fprintf(stderr, "rr-bench: %s cannot be made: %s; give --dir a directory on a real disk\n",
                dir, strerror(errno));
        return false;
    }
    struct device device;
    device_of(dir, &device);
    if (device.is_ram && !options->allow_ram) {
        rmdir(dir);
        fprintf(stderr,
                "rr-bench: %s is on a file system in RAM, where nothing is durable; give --dir a "
                "directory on a "
                "real disk, or --allow-ram to run anyway\n",
                dir);
        return false;
    }
    return true;
}

/* Where io_uring is refused everything is slower: whoever reads the figures is told first. */
static void say_backend(void)
{
    struct io *io;
    struct rr_error error;
    char notice[256];
    if (io_open_backend(IO_BACKEND_AUTO, &io, notice, sizeof(notice), &error) != 0)
        return; /* the replicas will say what is wrong */
    if (notice[0])
        printf("%s\n\n", notice);
    fflush(stdout);
    io_close_backend(io);
}

static int bench(const struct bench_options *options)
{
    static struct report report;
    char dir[512];
    if (options->out && !report_can_save(options->out))
        return 2;
    if (!make_dir(options, dir, sizeof(dir)))
        return 2;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    say_backend();
    bool good;
    if (options->command == BENCH_FLOOR) {
        good = run_floor(options, dir);
    } else if (options->command != BENCH_RUN) {
        good = features_run(options, dir);
    } else {
        good = run_all(options, dir, &report);
        if (report.row_count > 0)
            report_print(&report);
        if (options->out && report.row_count > 0)
            good = report_save(&report, options->out) && good;
    }
    local_remove(dir);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    int result = bench_options_parse(argc, argv, &options);
    if (result != 0)
        return result == 1 ? 0 : result;
    switch (options.command) {
    case BENCH_REPLICA:
        return replica_main(&options.child);
    case BENCH_FLOOR_NODE:
        return floor_node_main(&options.child);
    default:
        return bench(&options);
    }
}
