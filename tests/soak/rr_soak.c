/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-soak: real processes at seven places, under load, to which everything happens at once: kills,
 * stalls, cuts, transfers, members that come and go. In the end nothing that was acknowledged may
 * be lost, the history must be linearizable, all members must be equal, and disk and memory must
 * have stayed within their bounds. Exit 0: so it was; 1: not; 2: usage.
 *
 *   rr-soak [--minutes N | --seconds N] [--seed N] [--dir DIR] [--keep] [--no-namespaces]
 *           [--verbose]
 */
#include "bench/local.h"
#include "tests/soak/soak_check.h"
#include "tests/soak/soak_node.h"
#include "tests/soak/soak_world.h"

#include <getopt.h>
#include <ringraft/ringraft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long ull;

#define MIB            (1024ull * 1024)
#define VOTERS_MIN     3u
#define VOTERS_MAX     5u
#define JOIN_WAIT_MS   15000u /* a node that was not added by then goes */
#define OUTSIDE_MS     6000u  /* one that was removed has so long to notice */
#define SETTLE_MS      90000u
#define SETTLED_ROUNDS 3u

/* ---- members ------------------------------------------------------------- */

static bool is_member(const struct picture *picture, uint64_t id)
{
    for (uint32_t i = 0; i < picture->voter_count; i++)
        if (picture->voters[i] == id)
            return true;
    for (uint32_t i = 0; i < picture->learner_count; i++)
        if (picture->learners[i] == id)
            return true;
    return false;
}

/* Nodes that are no members and had their time to become or to notice. */
static void retire_strangers(struct soak_world *world, const struct picture *leader)
{
    uint64_t now = world_now_ms();
    for (uint32_t at = 0; at < SOAK_PLACES; at++) {
        struct place *place = &world->places[at];
        bool is_outside = place->state != PLACE_EMPTY && !is_member(leader, place->id);
        if (!is_outside || world->net_due_ms)
            place->outside_ms = 0;
        else if (place->outside_ms == 0)
            place->outside_ms = now;
        else if (now - place->outside_ms > OUTSIDE_MS && now - place->since_ms > JOIN_WAIT_MS)
            world_retire(world, at);
    }
}

static uint32_t empty_place(struct soak_world *world)
{
    uint32_t first = (uint32_t)world_draw(world, SOAK_PLACES);
    for (uint32_t i = 0; i < SOAK_PLACES; i++)
        if (world->places[(first + i) % SOAK_PLACES].state == PLACE_EMPTY)
            return (first + i) % SOAK_PLACES;
    return SOAK_PLACES;
}

/* Starts a node at an empty place and asks the leader to take it in. */
static void add_node(struct soak_world *world, uint32_t leader, enum rr_member_change_kind kind,
                     uint64_t replaced)
{
    char address[SOAK_ADDRESS_MAX];
    uint32_t at = empty_place(world);
    if (at == SOAK_PLACES)
        return;
    world_make(world, at, true);
    if (world->places[at].state == PLACE_EMPTY)
        return;
    world_start(world, at);
    soak_net_address(&world->net, at, address);
    world_command(world, leader, "change kind=%d node=%llu address=%s replaced=%llu", (int)kind,
                  (ull)world->places[at].id, address, (ull)replaced);
}

static void change_members(struct soak_world *world)
{
    struct picture picture;
    uint32_t leader = world_leader(world, &picture);
    if (leader == SOAK_PLACES || picture.voter_count == 0)
        return;
    retire_strangers(world, &picture);
    uint64_t voter = picture.voters[world_draw(world, picture.voter_count)];
    uint64_t chance = world_draw(world, 4);
    if (picture.learner_count > 0 && chance < 3)
        world_command(world, leader, "change kind=%d node=%llu", (int)RR_MEMBER_PROMOTE,
                      (ull)picture.learners[0]);
    else if (picture.voter_count > VOTERS_MIN && chance < 2)
        world_command(world, leader, "change kind=%d node=%llu", (int)RR_MEMBER_REMOVE, (ull)voter);
    else if (picture.voter_count < VOTERS_MAX && chance < 3)
        add_node(world, leader, chance & 1 ? RR_MEMBER_ADD : RR_MEMBER_ADD_LEARNER, 0);
    else
        add_node(world, leader, RR_MEMBER_REPLACE, voter);
}

static void transfer(struct soak_world *world)
{
    struct picture picture;
    uint32_t leader = world_leader(world, &picture);
    if (leader != SOAK_PLACES && picture.voter_count > 0)
        world_command(world, leader, "transfer to=%llu",
                      (ull)picture.voters[world_draw(world, picture.voter_count)]);
}

/* ---- faults -------------------------------------------------------------- */

static void cut(struct soak_world *world)
{
    if (!world->net.can_cut || world->net_due_ms)
        return;
    world->net_due_ms = world_now_ms() + 300 + world_draw(world, 5000);
    if (world_draw(world, 3) != 0) {
        uint32_t places = (uint32_t)world_draw(world, 1u << SOAK_PLACES);
        world_say(world, "split %02x", places);
        soak_net_split(&world->net, places);
        world->counts.splits++;
        return;
    }
    for (uint32_t i = 0; i < 4; i++)
        soak_net_mute(&world->net, (uint32_t)world_draw(world, SOAK_PLACES),
                      (uint32_t)world_draw(world, SOAK_PLACES));
    world_say(world, "some links are one-way");
    world->counts.mutes++;
}

static void kill_all(struct soak_world *world)
{
    world_say(world, "kill all");
    for (uint32_t at = 0; at < SOAK_PLACES; at++)
        world_kill(world, at, world_draw(world, 500));
    world->counts.kills_of_all++;
}

/* A place where somebody lives; there always is one. */
static uint32_t some_node(struct soak_world *world)
{
    uint32_t at = (uint32_t)world_draw(world, SOAK_PLACES);
    while (world->places[at].state == PLACE_EMPTY)
        at = (at + 1) % SOAK_PLACES;
    return at;
}

static void strike(struct soak_world *world)
{
    uint32_t at = some_node(world);
    uint64_t chance = world_draw(world, 20);
    if (chance < 7) {
        change_members(world);
    } else if (chance < 9) {
        transfer(world);
    } else if (chance < 13) {
        world->counts.kills += world->places[at].state == PLACE_UP;
        world_say(world, "kill node %llu", (ull)world->places[at].id);
        world_kill(world, at, world_draw(world, 3000));
    } else if (chance < 16) {
        world->counts.stops += world->places[at].state == PLACE_UP;
        world_say(world, "stop node %llu", (ull)world->places[at].id);
        uint64_t longest = world_draw(world, 4) ? 1500 : 10000;
        world_stop(world, at, 50 + world_draw(world, longest));
    } else if (chance < 19) {
        cut(world);
    } else if (world_draw(world, 3) == 0) {
        kill_all(world);
    }
}

/* ---- the run ------------------------------------------------------------- */

static void begin(struct soak_world *world)
{
    mkdir(world->dir, 0700);
    for (uint32_t at = 0; at < VOTERS_MIN; at++)
        world_make(world, at, false);
    for (uint32_t at = 0; at < VOTERS_MIN; at++)
        world_start(world, at);
    world_run(world, 1500);
}

static void print_progress(struct soak_world *world, uint64_t begin_ms)
{
    struct picture picture;
    uint32_t leader = world_leader(world, &picture);
    printf("%5llu s  leader %llu term %llu applied %llu  %u voters %u learners  rss %llu MiB  disk "
           "%llu MiB\n",
           (ull)(world_now_ms() - begin_ms) / 1000,
           (ull)(leader < SOAK_PLACES ? world->places[leader].id : 0), (ull)picture.term,
           (ull)picture.applied, picture.voter_count, picture.learner_count,
           (ull)(world->rss_max / MIB), (ull)(world->disk_max / MIB));
    fflush(stdout);
}

/* Rests the writers and waits until every member has applied the same. */
static void settle(struct soak_world *world)
{
    struct picture leader, one;
    uint32_t same = 0;
    world_heal(world);
    world_run(world, 500);
    for (uint32_t at = 0; at < SOAK_PLACES; at++)
        if (world->places[at].state == PLACE_UP)
            control_send(&world->places[at].control, "rest");
    for (uint64_t until = world_now_ms() + SETTLE_MS; same < SETTLED_ROUNDS;) {
        if (world_now_ms() > until)
            world_fail("the members did not become equal within 90 s", world->dir);
        world_run(world, 200);
        uint32_t count = 0, equal = 0;
        if (world_leader(world, &leader) == SOAK_PLACES) {
            same = 0;
            continue;
        }
        for (uint32_t at = 0; at < SOAK_PLACES; at++) {
            if (world->places[at].state == PLACE_EMPTY || !is_member(&leader, world->places[at].id))
                continue;
            count++;
            equal += world_look(world, at, &one) && one.applied == leader.last &&
                     one.chain == leader.chain && one.count == leader.count;
        }
        bool is_whole = count == leader.voter_count + leader.learner_count;
        same = is_whole && equal == count ? same + 1 : 0;
    }
}

static struct soak_verdict judge(const struct soak_world *world)
{
    char dir[SOAK_PATH_MAX];
    struct soak_check *check = soak_check_new();
    for (uint32_t i = 0; i < world->id_count; i++) {
        snprintf(dir, sizeof(dir), "%s/n%llu", world->dir, (ull)world->ids[i]);
        soak_check_read(check, dir, world->ids[i]);
    }
    struct soak_verdict verdict = soak_check_judge(check);
    soak_check_free(check);
    return verdict;
}

static int report(const struct soak_world *world, const struct soak_verdict *verdict)
{
    const struct soak_counts *c = &world->counts;
    printf("%llu writes and %llu reads acknowledged, %llu entries applied, by %u nodes\n",
           (ull)verdict->writes, (ull)verdict->reads, (ull)verdict->applied, world->id_count);
    printf("%llu kills and %llu of all, %llu stops, %llu splits, %llu one-way cuts, %llu restarts; "
           "%llu of %llu changes and %llu of %llu transfers done, %llu nodes retired\n",
           (ull)c->kills, (ull)c->kills_of_all, (ull)c->stops, (ull)c->splits, (ull)c->mutes,
           (ull)c->restarts, (ull)c->changes_done, (ull)c->changes, (ull)c->transfers_done,
           (ull)c->transfers, (ull)c->retired);
    printf("at most %llu MiB of memory (budget %llu) and %llu MiB on disk (bound %llu) per node\n",
           (ull)(world->rss_max / MIB), (ull)(world->memory_bytes / MIB),
           (ull)(world->disk_max / MIB), (ull)(world->disk_bytes_max / MIB));
    if (verdict->writes == 0 || verdict->reads == 0 || c->changes_done == 0)
        world_fail("nothing was acknowledged", "the test tested nothing");
    printf("%s\n", verdict->violations == 0
                       ? "no acknowledged write lost, the history is linearizable, all equal"
                       : "FAILED");
    return verdict->violations == 0 ? 0 : 1;
}

static int run(struct soak_world *world, uint64_t seconds, bool keep)
{
    uint64_t begin_ms = world_now_ms(), until = begin_ms + seconds * 1000, progress_ms = begin_ms;
    begin(world);
    while (world_now_ms() < until) {
        strike(world);
        world_run(world, 100 + world_draw(world, 1200));
        world_measure(world);
        if (world_now_ms() - progress_ms > 10000) {
            progress_ms = world_now_ms();
            print_progress(world, begin_ms);
        }
    }
    settle(world);
    world_end(world);
    struct soak_verdict verdict = judge(world);
    int status = report(world, &verdict);
    if (!keep && status == 0)
        local_remove(world->dir);
    return status;
}

static struct soak_world world;

static void free_net(void)
{
    soak_net_free(&world.net);
}

struct arguments {
    uint64_t seconds;
    const char *dir;
    bool keep, wants_namespaces;
    struct soak_node_options child; /* .node is 0 in the driver */
};

/* What a child is given by the driver; false: it is no such option. */
static bool take_child_option(int option, struct soak_node_options *child)
{
    switch (option) {
    case 'n':
        child->node = strtoull(optarg, NULL, 10);
        return true;
    case 'b':
        child->boot = strtoull(optarg, NULL, 10);
        return true;
    case 'D':
        child->dir = optarg;
        return true;
    case 'M':
        child->memory_bytes = strtoull(optarg, NULL, 10);
        return true;
    case 'N':
        child->name_space = optarg;
        return true;
    case 'a':
        child->address = optarg;
        return true;
    case 'p':
        child->peers = optarg;
        return true;
    case 'j':
        child->joins = true;
        return true;
    default:
        return false;
    }
}

static bool take_option(int option, struct arguments *arguments)
{
    switch (option) {
    case 'm':
        arguments->seconds = 60 * strtoull(optarg, NULL, 10);
        return true;
    case 's':
        arguments->seconds = strtoull(optarg, NULL, 10);
        return true;
    case 'r':
        world.random = strtoull(optarg, NULL, 10);
        return true;
    case 'd':
        arguments->dir = optarg;
        return true;
    case 'k':
        arguments->keep = true;
        return true;
    case 'l':
        arguments->wants_namespaces = false;
        return true;
    case 'v':
        world.is_verbose = true;
        return true;
    default:
        return take_child_option(option, &arguments->child);
    }
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"minutes", required_argument, NULL, 'm'}, {"seconds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'r'},    {"dir", required_argument, NULL, 'd'},
        {"keep", no_argument, NULL, 'k'},          {"no-namespaces", no_argument, NULL, 'l'},
        {"verbose", no_argument, NULL, 'v'},       {"node", required_argument, NULL, 'n'},
        {"boot", required_argument, NULL, 'b'},    {"data", required_argument, NULL, 'D'},
        {"memory", required_argument, NULL, 'M'},  {"namespace", required_argument, NULL, 'N'},
        {"address", required_argument, NULL, 'a'}, {"peers", required_argument, NULL, 'p'},
        {"join", no_argument, NULL, 'j'},          {NULL, 0, NULL, 0},
    };
    struct arguments arguments = {.seconds = 120, .dir = ".", .wants_namespaces = true};
    world.random = (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
        if (!take_option(option, &arguments))
            return 2;
    if (arguments.child.node)
        return soak_node_main(&arguments.child);
    snprintf(world.dir, sizeof(world.dir), "%s/rr-soak-data.%d", arguments.dir, (int)getpid());
    world.memory_bytes = 256 * MIB;
    world.disk_bytes_max = 48 * MIB;
    if (!soak_net_make(&world.net, arguments.wants_namespaces))
        world_fail("no network", "neither namespaces nor free ports of 127.0.0.1");
    atexit(free_net);
    printf("rr-soak: %llu s, --seed %llu%s\n", (ull)arguments.seconds, (ull)world.random,
           world.net.can_cut ? "" : "; without namespaces (root and iproute2): no cuts");
    world.random |= 1;
    return run(&world, arguments.seconds, arguments.keep);
}
