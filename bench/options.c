/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/options.h"

#include "bench/load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "rr-bench [run] [options]    three replica processes with real files and sockets, beside the "
    "floor\n"
    "rr-bench floor [options]    only the floor: what this machine does without Raft\n"
    "rr-bench reads [options]    linearizable reads on leader and follower, alone and beside "
    "writes\n"
    "rr-bench groups [options]   1, 8 and 64 groups side by side\n"
    "rr-bench snapshot [options] a large snapshot travels at 32 MiB/s: what writes feel of it\n"
    "rr-bench failover [options] the leader is killed: how long until the next write commits\n"
    "\n"
    "  --pairs N        engine and floor slices for each row (default 1; 5 for figures that are "
    "quoted)\n"
    "  --slice TIME     length of a slice, as 5s or 1500ms (default 2s)\n"
    "  --quick          under a minute: the rows for 128 B and 4 KiB, short slices\n"
    "  --shape NAME     only the rows of one shape: depth1 depth1_threaded depth256 saturated\n"
    "                   saturated_calls64\n"
    "  --state MIB      snapshot: size of the state (default 2048)\n"
    "  --dir DIR        put the replicas' files below DIR (default: a new directory here)\n"
    "  --allow-ram      allow a file system in RAM; what it shows is not durable\n"
    "  --out DIR        keep DIR/summary.json; nothing is overwritten\n"
    "  --help           this text\n"
    "\n"
    "Exit: 0 good, 1 a failed run, 2 usage.\n";

static int usage(const char *sentence, const char *value)
{
    fprintf(stderr, "rr-bench: %s%s%s; see rr-bench --help\n", sentence, value ? ": " : "",
            value ? value : "");
    return 2;
}

static bool parse_duration_ms(const char *text, uint32_t *ms)
{
    char *end;
    double value = strtod(text, &end);
    if (strcmp(end, "s") == 0 || *end == 0)
        value *= 1000;
    else if (strcmp(end, "ms") != 0)
        return false;
    *ms = (uint32_t)value;
    return end != text && value >= 100 && value <= 600000;
}

static bool parse_ports(char *text, struct replica_options *child)
{
    char *save = NULL;
    for (char *port = strtok_r(text, ",", &save); port; port = strtok_r(NULL, ",", &save)) {
        if (child->node_count == BENCH_NODES_MAX)
            return false;
        child->ports[child->node_count++] = (uint16_t)strtoul(port, NULL, 10);
    }
    return child->node_count > 0;
}

static bool parse_command(const char *word, enum bench_command *command)
{
    static const char *const names[] = {
        [BENCH_RUN] = "run",           [BENCH_FLOOR] = "floor",
        [BENCH_READS] = "reads",       [BENCH_GROUPS] = "groups",
        [BENCH_FAILOVER] = "failover", [BENCH_SNAPSHOT] = "snapshot",
        [BENCH_REPLICA] = "replica",   [BENCH_FLOOR_NODE] = "floor-node", /* the last */
    };
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(word, names[i]) == 0) {
            *command = (enum bench_command)i;
            return true;
        }
    return false;
}

enum {
    OPT_PAIRS = 256,
    OPT_SLICE,
    OPT_QUICK,
    OPT_SHAPE,
    OPT_DIR,
    OPT_RAM,
    OPT_OUT,
    OPT_HELP,
    OPT_ID,
    OPT_PORTS,
    OPT_INLINE,
    OPT_GROUPS,
    OPT_SEND_RATE,
    OPT_STATE
};

static const struct option long_options[] = {
    {"pairs", required_argument, NULL, OPT_PAIRS},
    {"slice", required_argument, NULL, OPT_SLICE},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"shape", required_argument, NULL, OPT_SHAPE},
    {"dir", required_argument, NULL, OPT_DIR},
    {"allow-ram", no_argument, NULL, OPT_RAM},
    {"out", required_argument, NULL, OPT_OUT},
    {"help", no_argument, NULL, OPT_HELP},
    {"id", required_argument, NULL, OPT_ID},
    {"ports", required_argument, NULL, OPT_PORTS},
    {"inline", no_argument, NULL, OPT_INLINE},
    {"groups", required_argument, NULL, OPT_GROUPS},
    {"send-rate", required_argument, NULL, OPT_SEND_RATE},
    {"state", required_argument, NULL, OPT_STATE},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, struct bench_options *options)
{
    switch (option) {
    case OPT_PAIRS:
        options->pairs = (uint32_t)strtoul(optarg, NULL, 10);
        return options->pairs >= 1 && options->pairs <= 100
                   ? 0
                   : usage("--pairs takes 1 to 100", optarg);
    case OPT_SLICE:
        return parse_duration_ms(optarg, &options->slice_ms)
                   ? 0
                   : usage("--slice takes 100ms to 600s", optarg);
    case OPT_QUICK:
        options->quick = true;
        return 0;
    case OPT_SHAPE:
        options->only = optarg;
        return load_shape_find(optarg) < LOAD_SHAPES ? 0 : usage("no such shape", optarg);
    case OPT_DIR:
        options->dir = options->child.dir = optarg;
        return 0;
    case OPT_RAM:
        options->allow_ram = true;
        return 0;
    case OPT_OUT:
        options->out = optarg;
        return 0;
    case OPT_ID:
        options->child.id = strtoull(optarg, NULL, 10);
        return 0;
    case OPT_PORTS:
        return parse_ports(optarg, &options->child)
                   ? 0
                   : usage("--ports takes one to three ports", NULL);
    case OPT_INLINE:
        options->child.apply_inline = true;
        return 0;
    case OPT_GROUPS:
        options->child.group_count = (uint32_t)strtoul(optarg, NULL, 10);
        return 0;
    case OPT_SEND_RATE:
        options->child.send_rate = strtoull(optarg, NULL, 10);
        return 0;
    case OPT_STATE:
        options->state_mib = (uint32_t)strtoul(optarg, NULL, 10);
        return options->state_mib >= 1 && options->state_mib <= 65536
                   ? 0
                   : usage("--state takes 1 to 65536 MiB", optarg);
    case OPT_HELP:
        fputs(help, stdout);
        return 1;
    default:
        return usage("unknown option or missing value", NULL);
    }
}

int bench_options_parse(int argc, char **argv, struct bench_options *options)
{
    *options = (struct bench_options){.command = BENCH_RUN, .pairs = 1, .child.cluster_id = 1};
    if (argc > 1 && argv[1][0] != '-') {
        if (!parse_command(argv[1], &options->command))
            return usage("unknown command", argv[1]);
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        int result = take_option(option, options);
        if (result != 0)
            return result;
    }
    if (optind < argc)
        return usage("unexpected argument", argv[optind]);
    if (options->slice_ms == 0)
        options->slice_ms = options->quick ? 1200 : 2000;
    if (options->state_mib == 0)
        options->state_mib = 2048;
    bool is_child = options->command == BENCH_REPLICA || options->command == BENCH_FLOOR_NODE;
    if (is_child && (options->child.id < 1 || options->child.id > BENCH_NODES_MAX ||
                     options->child.node_count == 0 || !options->child.dir ||
                     options->child.group_count > BENCH_GROUPS_MAX))
        return usage("a child needs --id, --dir, --ports and --groups", NULL);
    return 0;
}
