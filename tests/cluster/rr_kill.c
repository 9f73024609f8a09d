/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-kill: three real processes under load, killed with SIGKILL at random moments and restarted.
 * The parent keeps the acknowledgements. Passes when no acknowledged write is lost, all replicas
 * applied the same history, and every restart recovered without help.
 *
 *   rr-kill [--cycles N] [--all N] [--seed N] [--dir DIR] [--keep] [--old PROGRAM [--back]]
 *
 * --old names the rr-kill of an older build: all replicas begin with it and are moved to this
 * build one after another, under load and kills; each is away long enough to be sent a snapshot.
 * The older build then refuses a directory of this one; with --back it takes it as long as not all
 * are moved, and each replica but the last goes back and forth once before the next one is moved.
 */
#include "bench/control.h"
#include "bench/local.h"
#include "tests/cluster/kill_check.h"
#include "tests/cluster/kill_node.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_WAIT_MS   30000
#define SETTLE_TRIES    600
#define SETTLE_PAUSE_MS 50u
#define SETTLED_ROUNDS  3u
#define AWAY_MS         1500u

struct killer {
    char dir[400];
    char ports[32];
    const char *old; /* an older build's program, or NULL */
    bool goes_back;
    bool is_old[KILL_NODES];
    struct control nodes[KILL_NODES];
    uint64_t boots;
    uint64_t random;
    struct kill_acks acks;
    uint64_t restarts;
};

static uint64_t draw(struct killer *killer, uint64_t bound)
{
    killer->random ^= killer->random << 13;
    killer->random ^= killer->random >> 7;
    killer->random ^= killer->random << 17;
    return killer->random % bound;
}

static void fail(const char *what, const char *why)
{
    printf("FAILED: %s: %s\n", what, why);
    exit(1);
}

static void take_line(struct killer *killer, const char *line)
{
    uint64_t id, index;
    if (strncmp(line, "ack ", 4) == 0 && control_u64(line, "id", &id) &&
        control_u64(line, "index", &index) && !kill_acks_add(&killer->acks, index, id))
        fail("two entries were acknowledged at one index", line);
    if (strncmp(line, "error ", 6) == 0)
        fail("a node refused to start", line + 6);
}

/* Reads what a node says until nothing comes for `quiet_ms` or `wanted` begins a line (then true).
 */
static bool listen_to(struct killer *killer, uint32_t node, const char *wanted, char *line,
                      size_t cap, int quiet_ms)
{
    while (control_read(&killer->nodes[node], line, cap, quiet_ms)) {
        if (wanted && strncmp(line, wanted, strlen(wanted)) == 0)
            return true;
        take_line(killer, line);
    }
    return false;
}

static void start_node(struct killer *killer, uint32_t node)
{
    char id[24], boot[24], dir[512];
    snprintf(id, sizeof(id), "%u", node + 1);
    snprintf(boot, sizeof(boot), "%llu", (unsigned long long)++killer->boots);
    snprintf(dir, sizeof(dir), "%s/n%u", killer->dir, node + 1);
    mkdir(dir, 0700);
    char *arguments[] = {
        (char *)"--node", id,  (char *)"--boot", boot, (char *)"--data", dir, (char *)"--ports",
        killer->ports,    NULL};
    const char *program = killer->is_old[node] ? killer->old : "/proc/self/exe";
    if (!control_spawn_program(&killer->nodes[node], program, arguments))
        fail("start", strerror(errno));
}

static void await_node(struct killer *killer, uint32_t node)
{
    char line[512];
    if (!listen_to(killer, node, "ready", line, sizeof(line), START_WAIT_MS))
        fail("a node did not become ready within 30 s", "see its directory (--keep)");
    control_send(&killer->nodes[node], "write");
}

static void kill_node(struct killer *killer, uint32_t node)
{
    char line[512];
    kill(killer->nodes[node].pid, SIGKILL);
    while (waitpid(killer->nodes[node].pid, NULL, 0) < 0 && errno == EINTR)
        ;
    listen_to(killer, node, NULL, line, sizeof(line), 0);
    close(killer->nodes[node].fd);
}

/* Lets the cluster run without `away`, reading acknowledgements as they come. */
static void run_for_others(struct killer *killer, uint32_t away, uint32_t ms)
{
    char line[512];
    struct timespec pause = {0, 5000000};
    for (uint32_t passed = 0; passed < ms; passed += 5) {
        nanosleep(&pause, NULL);
        for (uint32_t node = 0; node < KILL_NODES; node++)
            if (node != away)
                listen_to(killer, node, NULL, line, sizeof(line), 0);
    }
}

static void run_for(struct killer *killer, uint32_t ms)
{
    run_for_others(killer, KILL_NODES, ms);
}

static void kill_some(struct killer *killer, bool all)
{
    uint32_t first = all ? 0 : (uint32_t)draw(killer, KILL_NODES);
    uint32_t last = all ? KILL_NODES - 1 : first;
    for (uint32_t node = first; node <= last; node++)
        kill(killer->nodes[node].pid, SIGKILL);
    for (uint32_t node = first; node <= last; node++)
        kill_node(killer, node);
    for (uint32_t node = first; node <= last; node++)
        start_node(killer, node);
    for (uint32_t node = first; node <= last; node++)
        await_node(killer, node);
    killer->restarts += last - first + 1;
}

struct picture {
    uint64_t applied, last, chain, count;
};

static bool look(struct killer *killer, uint32_t node, struct picture *picture)
{
    char line[512];
    uint64_t error = 0;
    control_send(&killer->nodes[node], "status");
    if (!listen_to(killer, node, "status", line, sizeof(line), 5000))
        return false;
    control_u64(line, "applied", &picture->applied);
    control_u64(line, "last", &picture->last);
    control_u64(line, "chain", &picture->chain);
    control_u64(line, "count", &picture->count);
    if (control_u64(line, "error", &error) && error != 0)
        fail("a node stopped", line);
    return true;
}

/* Rests the writers and waits until all replicas have the same log applied. */
static void settle(struct killer *killer, struct picture *last)
{
    struct picture pictures[KILL_NODES] = {{0}};
    uint32_t same = 0;
    for (uint32_t node = 0; node < KILL_NODES; node++)
        control_send(&killer->nodes[node], "rest");
    for (uint32_t try = 0; try < SETTLE_TRIES && same < SETTLED_ROUNDS; try++) {
        run_for(killer, SETTLE_PAUSE_MS);
        bool equal = true;
        for (uint32_t node = 0; node < KILL_NODES; node++)
            equal = look(killer, node, &pictures[node]) && equal &&
                    pictures[node].applied == pictures[node].last &&
                    memcmp(&pictures[node], &pictures[0], sizeof(pictures[0])) == 0;
        same = equal ? same + 1 : 0;
    }
    if (same < SETTLED_ROUNDS) {
        for (uint32_t node = 0; node < KILL_NODES; node++)
            printf(
                "node %u: applied %llu of %llu, %llu entries, chain %llx\n", node + 1,
                (unsigned long long)pictures[node].applied, (unsigned long long)pictures[node].last,
                (unsigned long long)pictures[node].count, (unsigned long long)pictures[node].chain);
        fail("the replicas did not become equal within 30 s", "see above");
    }
    *last = pictures[0];
}

static void pick_ports(struct killer *killer)
{
    uint16_t ports[KILL_NODES];
    if (!local_ports(ports, KILL_NODES))
        fail("no free ports on 127.0.0.1", strerror(errno));
    snprintf(killer->ports, sizeof(killer->ports), "%u,%u,%u", ports[0], ports[1], ports[2]);
}

static void play(struct killer *killer, uint32_t cycles, uint32_t all)
{
    for (uint32_t cycle = 0; cycle < cycles + all; cycle++) {
        kill_some(killer, draw(killer, cycles + all) < all);
        run_for(killer, 50 + (uint32_t)draw(killer, 600));
    }
}

/* The older build takes a directory that this one has opened for what it is, and says so. */
static void check_way_back(struct killer *killer, uint32_t node)
{
    char line[512];
    kill_node(killer, node);
    killer->is_old[node] = true;
    start_node(killer, node);
    while (control_read(&killer->nodes[node], line, sizeof(line), START_WAIT_MS))
        if (strncmp(line, "ready", 5) == 0 || strncmp(line, "error ", 6) == 0)
            break;
    if (strncmp(line, "error ", 6) != 0 || !strstr(line, "feature level"))
        fail("an older build opened a newer directory, or did not say why not", line);
    kill_node(killer, node);
    killer->is_old[node] = false;
    start_node(killer, node);
    await_node(killer, node);
}

static void move_node(struct killer *killer, uint32_t node, bool to_old)
{
    kill_node(killer, node);
    run_for_others(killer, node, AWAY_MS);
    killer->is_old[node] = to_old;
    start_node(killer, node);
    await_node(killer, node);
    run_for(killer, 500);
}

/* From the older build to this one, a node at a time. */
static void upgrade(struct killer *killer, uint32_t cycles, uint32_t all)
{
    struct picture picture;
    for (uint32_t node = 0; node < KILL_NODES; node++) {
        move_node(killer, node, false);
        if (killer->goes_back && node + 1 < KILL_NODES) {
            move_node(killer, node, true);
            move_node(killer, node, false);
        }
        play(killer, cycles, all);
        settle(killer, &picture); /* old and new are one cluster, not two */
        for (uint32_t writer = 0; writer < KILL_NODES; writer++)
            control_send(&killer->nodes[writer], "write");
    }
    check_way_back(killer, 0);
}

static int run(struct killer *killer, uint32_t cycles, uint32_t all, bool keep)
{
    struct picture last;
    pick_ports(killer);
    mkdir(killer->dir, 0700);
    for (uint32_t node = 0; node < KILL_NODES; node++) {
        killer->is_old[node] = killer->old != NULL;
        start_node(killer, node);
    }
    for (uint32_t node = 0; node < KILL_NODES; node++)
        await_node(killer, node);
    run_for(killer, 1000);
    if (killer->old)
        upgrade(killer, cycles, all);
    else
        play(killer, cycles, all);
    settle(killer, &last);
    for (uint32_t node = 0; node < KILL_NODES; node++)
        control_stop(&killer->nodes[node]);
    uint64_t violations = kill_check(killer->dir, &killer->acks);
    printf("%llu restarts, %llu writes acknowledged, %llu applied, log at %llu, chain %016llx\n",
           (unsigned long long)killer->restarts, (unsigned long long)killer->acks.count,
           (unsigned long long)last.count, (unsigned long long)last.last,
           (unsigned long long)last.chain);
    if (killer->acks.count == 0)
        fail("nothing was acknowledged", "the test tested nothing");
    if (!keep)
        local_remove(killer->dir);
    printf("%s\n", violations == 0 ? "no acknowledged write lost, all histories equal" : "FAILED");
    return violations == 0 ? 0 : 1;
}

static void parse_ports(char *text, uint16_t *ports)
{
    char *save = NULL, *port = strtok_r(text, ",", &save);
    for (uint32_t i = 0; i < KILL_NODES && port; i++, port = strtok_r(NULL, ",", &save))
        ports[i] = (uint16_t)strtoul(port, NULL, 10);
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"cycles", required_argument, NULL, 'c'}, {"all", required_argument, NULL, 'a'},
        {"seed", required_argument, NULL, 's'},   {"dir", required_argument, NULL, 'd'},
        {"keep", no_argument, NULL, 'k'},         {"node", required_argument, NULL, 'n'},
        {"boot", required_argument, NULL, 'b'},   {"data", required_argument, NULL, 'D'},
        {"ports", required_argument, NULL, 'p'},  {"old", required_argument, NULL, 'o'},
        {"back", no_argument, NULL, 'B'},         {NULL, 0, NULL, 0},
    };
    static struct killer killer;
    struct kill_node_options child = {0};
    uint32_t cycles = 10, all = 2;
    bool keep = false;
    killer.random = (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
    const char *dir = ".";
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            cycles = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'a':
            all = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            killer.random = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            dir = optarg;
            break;
        case 'k':
            keep = true;
            break;
        case 'o':
            killer.old = optarg;
            break;
        case 'B':
            killer.goes_back = true;
            break;
        case 'n':
            child.node = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            child.boot = strtoull(optarg, NULL, 10);
            break;
        case 'D':
            child.dir = optarg;
            break;
        case 'p':
            parse_ports(optarg, child.ports);
            break;
        default:
            return 2;
        }
    }
    if (child.node)
        return kill_node_main(&child);
    snprintf(killer.dir, sizeof(killer.dir), "%s/rr-kill-data.%d", dir, (int)getpid());
    printf("rr-kill: %u single kills, %u of all three, --seed %llu\n", cycles, all,
           (unsigned long long)killer.random);
    killer.random |= 1;
    return run(&killer, cycles, all, keep);
}
