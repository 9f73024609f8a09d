/* SPDX-License-Identifier: Apache-2.0
 *
 * rr-story NAME [--dir DIR]: one story of a cluster of real processes, each a node.
 *
 *   stopped-leader   a leader is stopped (SIGSTOP) until another leads and has written, and goes on
 *                    with reads waiting at its door: none may be answered with what was. As root
 *                    it is cut off, too, so that nothing but its clock tells it
 *   stopped-lease    the same, with reads by its lease
 *   members          a node joins by one address; another takes a voter's place in one change; who
 *                    was removed knows it and disturbs nobody, after a restart too
 */
#include "bench/control.h"
#include "bench/local.h"
#include "tests/cluster/story_node.h"
#include "tests/soak/soak_net.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ringraft/ringraft.h>

typedef unsigned long long ull;

#define NODES_MAX 5u /* at most SOAK_PLACES */
#define WAIT_MS   20000u
#define ROUNDS    4u
#define READS     64u

struct node {
    struct control control;
    bool runs;
};

struct picture {
    uint64_t leads, lead, term, applied, error;
    char members[256];
};

struct story {
    char dir[400];
    struct soak_net net;
    bool leases;
    struct node nodes[NODES_MAX]; /* node i has id i + 1 */
    uint64_t tag;
    uint64_t number; /* the newest that was acknowledged */
};

static struct story story_told; /* for clear_up */

static void clear_up(void)
{
    soak_net_free(&story_told.net);
    local_remove(story_told.dir);
}

static void fail(const char *what, const char *why)
{
    printf("FAILED: %s: %s\n", what, why);
    exit(1);
}

static void pause_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* ---- nodes --------------------------------------------------------------- */

/* The first three know each other; who joins knows the node `via`. */
static void start(struct story *story, uint32_t i, uint32_t via)
{
    char id[24], dir[512], address[SOAK_ADDRESS_MAX], peers[160] = "", line[512];
    char known[SOAK_ADDRESS_MAX], name[64];
    bool joins = i >= 3;
    snprintf(id, sizeof(id), "%u", i + 1);
    snprintf(dir, sizeof(dir), "%s/n%u", story->dir, i + 1);
    soak_net_namespace(&story->net, i, name);
    soak_net_address(&story->net, i, address);
    for (uint32_t k = 0; k < 3; k++) {
        soak_net_address(&story->net, k, known);
        size_t used = strlen(peers);
        if (!joins || k == via)
            snprintf(peers + used, sizeof(peers) - used, "%s%u=%s", used ? "," : "", k + 1, known);
    }
    char *arguments[] = {(char *)"--node",
                         id,
                         (char *)"--data",
                         dir,
                         (char *)"--address",
                         address,
                         (char *)"--peers",
                         peers,
                         (char *)"--namespace",
                         name,
                         (char *)(story->leases ? "--leases" : "--no-leases"),
                         joins ? (char *)"--join" : NULL,
                         NULL};
    struct node *node = &story->nodes[i];
    if (!control_spawn(&node->control, arguments))
        fail("a process could not be made", id);
    if (!control_read(&node->control, line, sizeof(line), (int)WAIT_MS) ||
        strcmp(line, "ready") != 0)
        fail("a node did not become ready", line);
    node->runs = true;
}

static void kill_node(struct story *story, uint32_t i)
{
    kill(story->nodes[i].control.pid, SIGKILL);
    waitpid(story->nodes[i].control.pid, NULL, 0);
    close(story->nodes[i].control.fd);
    story->nodes[i].runs = false;
}

static struct picture look(struct story *story, uint32_t i)
{
    struct control *control = &story->nodes[i].control;
    struct picture picture = {.term = 0};
    char line[512];
    control_send(control, "status");
    do
        if (!control_read(control, line, sizeof(line), (int)WAIT_MS))
            fail("a node does not answer", "status");
    while (strncmp(line, "status ", 7) != 0);
    control_u64(line, "leads", &picture.leads);
    control_u64(line, "lead", &picture.lead);
    control_u64(line, "term", &picture.term);
    control_u64(line, "applied", &picture.applied);
    control_u64(line, "error", &picture.error);
    control_word(line, "members", picture.members, sizeof(picture.members));
    return picture;
}

/* Who leads, other than `but`; waits for it. */
static uint32_t leader(struct story *story, uint32_t but)
{
    for (uint32_t waited = 0; waited < WAIT_MS; waited += 20, pause_ms(20))
        for (uint32_t i = 0; i < NODES_MAX; i++)
            if (i != but && story->nodes[i].runs && look(story, i).leads)
                return i;
    fail("nobody leads", "an election should have been won");
    return 0;
}

/* ---- requests ------------------------------------------------------------ */

struct outcome {
    uint64_t tag, status, value;
};

/* The next outcome that the node reports within so long; false: none. */
static bool hear(struct story *story, uint32_t i, struct outcome *outcome, uint32_t ms)
{
    char line[512];
    while (control_read(&story->nodes[i].control, line, sizeof(line), (int)ms))
        if (strncmp(line, "done ", 5) == 0)
            return control_u64(line, "tag", &outcome->tag) &&
                   control_u64(line, "status", &outcome->status) &&
                   control_u64(line, "value", &outcome->value);
    return false;
}

/* Through whoever leads, until it is acknowledged. */
static void put(struct story *story, uint32_t but)
{
    uint64_t value = story->number + 1;
    for (uint32_t waited = 0; waited < WAIT_MS; waited += 20, pause_ms(20)) {
        uint32_t i = leader(story, but);
        struct outcome outcome;
        uint64_t tag = ++story->tag;
        control_send(&story->nodes[i].control, "put tag=%llu value=%llu", (ull)tag, (ull)value);
        while (hear(story, i, &outcome, WAIT_MS))
            if (outcome.tag == tag)
                break;
        if (outcome.tag == tag && outcome.status == 0) {
            story->number = value;
            return;
        }
    }
    fail("a write", "was not acknowledged");
}

static void change(struct story *story, uint32_t kind, uint32_t i, uint32_t replaced)
{
    struct outcome outcome = {.status = 1};
    char address[SOAK_ADDRESS_MAX], text[80] = "never came";
    soak_net_address(&story->net, i, address);
    for (uint32_t waited = 0; waited < WAIT_MS; waited += 200, pause_ms(200)) {
        uint32_t at = leader(story, NODES_MAX);
        uint64_t tag = ++story->tag;
        control_send(&story->nodes[at].control,
                     "change tag=%llu kind=%u node=%u replaced=%u address=%s", (ull)tag, kind,
                     i + 1, replaced, address);
        while (hear(story, at, &outcome, WAIT_MS))
            if (outcome.tag == tag)
                break;
        if (outcome.tag == tag && outcome.status == 0)
            return;
        snprintf(text, sizeof(text), "ended with %llu", (ull)outcome.status);
    }
    fail("a change of members", text);
}

static void check_members(struct story *story, const char *members)
{
    struct picture picture = {.term = 0};
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%u", i + 1);
        if (!strstr(members, id))
            continue;
        for (uint32_t waited = 0; waited < WAIT_MS; waited += 20, pause_ms(20)) {
            uint64_t applied = look(story, leader(story, NODES_MAX)).applied;
            picture = look(story, i);
            if (strcmp(picture.members, members) == 0 && picture.applied >= applied)
                break;
        }
        if (strcmp(picture.members, members) != 0)
            fail("a member knows other members", picture.members);
    }
}

/* ---- stories ------------------------------------------------------------- */

static void check_reads(struct story *story, uint32_t i, uint32_t count, uint32_t *answered)
{
    struct outcome outcome;
    char text[80];
    for (uint32_t heard = 0; heard < count; heard++) {
        if (!hear(story, i, &outcome, WAIT_MS))
            fail("a read", "has no outcome");
        if (outcome.status != 0)
            continue;
        ++*answered;
        snprintf(text, sizeof(text), "%llu, though %llu had been acknowledged before",
                 (ull)outcome.value, (ull)story->number);
        if (outcome.value < story->number)
            fail("a read was answered with an old value", text);
    }
}

static void ask(struct story *story, uint32_t i, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        control_send(&story->nodes[i].control, "get tag=%llu", (ull)++story->tag);
}

static void tell_of_a_stopped_leader(struct story *story)
{
    uint32_t answered = 0, at_once = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        put(story, NODES_MAX);
        uint32_t stopped = leader(story, NODES_MAX);
        ask(story, stopped, READS);
        check_reads(story, stopped, READS, &answered); /* now it may answer */
        pid_t pid = story->nodes[stopped].control.pid;
        int status;
        if (kill(pid, SIGSTOP) != 0 || waitpid(pid, &status, WUNTRACED) != pid)
            fail("a process", "could not be stopped");
        soak_net_split(&story->net, 1u << stopped);
        ask(story, stopped, READS);
        put(story, stopped);
        kill(pid, SIGCONT);
        check_reads(story, stopped, READS, &at_once);
        soak_net_heal(&story->net);
        ask(story, stopped, READS);
        check_reads(story, stopped, READS, &at_once);
    }
    if (answered == 0)
        fail("no read was answered", "the test tested nothing");
    printf("%u reads of leaders, %u of those that had been stopped: none was old\n", answered,
           at_once);
}

static void check_quiet(struct story *story, uint32_t removed)
{
    struct picture picture = {.error = 0};
    for (uint32_t waited = 0; waited < WAIT_MS && picture.error == 0; waited += 20, pause_ms(20))
        picture = look(story, removed);
    if (picture.error != (uint64_t)-RR_E_REMOVED)
        fail("who was removed", "was not told");
    uint64_t term = look(story, leader(story, NODES_MAX)).term;
    pause_ms(3000); /* six election timeouts */
    put(story, NODES_MAX);
    if (look(story, leader(story, NODES_MAX)).term != term || look(story, removed).term > term)
        fail("who was removed", "disturbs the others");
    if (look(story, removed).leads)
        fail("who was removed", "leads");
}

static void tell_of_members(struct story *story)
{
    for (uint32_t i = 0; i < 10; i++)
        put(story, NODES_MAX);
    start(story, 3, 1);
    change(story, RR_MEMBER_ADD, 3, 0);
    put(story, NODES_MAX);
    check_members(story, "1,2,3,4");
    uint32_t leads = leader(story, NODES_MAX), gone = leads == 0 ? 1 : 0;
    start(story, 4, 2);
    change(story, RR_MEMBER_REPLACE, 4, gone + 1);
    put(story, NODES_MAX);
    check_members(story, gone == 0 ? "2,3,4,5" : "1,3,4,5");
    check_quiet(story, gone);
    kill_node(story, gone);
    start(story, gone, 0);
    check_quiet(story, gone);
    /* Its successor is a voter: two of four are gone, and then there is no majority without it. */
    kill_node(story, gone);
    for (uint32_t i = 0; i < 3; i++)
        if (story->nodes[i].runs) {
            kill_node(story, i);
            break;
        }
    put(story, NODES_MAX);
    printf("4 joined, 5 took the place of %u, which was told and kept quiet\n", gone + 1);
}

static int tell(struct story *story, const char *name, bool is_of_members)
{
    if (!soak_net_make(&story->net, !is_of_members))
        fail("no free ports on 127.0.0.1", name);
    atexit(clear_up);
    mkdir(story->dir, 0700);
    for (uint32_t i = 0; i < 3; i++)
        start(story, i, 0);
    if (is_of_members)
        tell_of_members(story);
    else
        tell_of_a_stopped_leader(story);
    for (uint32_t i = 0; i < NODES_MAX; i++)
        if (story->nodes[i].runs)
            control_stop(&story->nodes[i].control);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"node", required_argument, NULL, 'n'},
        {"data", required_argument, NULL, 'D'},
        {"address", required_argument, NULL, 'a'},
        {"namespace", required_argument, NULL, 'N'},
        {"peers", required_argument, NULL, 'p'},
        {"leases", no_argument, NULL, 'l'},
        {"no-leases", no_argument, NULL, 'L'},
        {"join", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    struct story *story = &story_told;
    struct story_node_options child = {0};
    const char *dir = ".";
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            dir = optarg;
            break;
        case 'n':
            child.node = strtoull(optarg, NULL, 10);
            break;
        case 'D':
            child.dir = optarg;
            break;
        case 'a':
            child.address = optarg;
            break;
        case 'N':
            child.name_space = optarg;
            break;
        case 'p':
            child.peers = optarg;
            break;
        case 'l':
            child.leases = true;
            break;
        case 'j':
            child.joins = true;
            break;
        case 'L':
            break;
        default:
            return 2;
        }
    }
    if (child.node)
        return story_node_main(&child);
    const char *name = optind < argc ? argv[optind] : "";
    bool is_of_members = strcmp(name, "members") == 0;
    story->leases = strcmp(name, "stopped-lease") == 0;
    if (!is_of_members && !story->leases && strcmp(name, "stopped-leader") != 0) {
        fprintf(stderr, "rr-story stopped-leader | stopped-lease | members [--dir DIR]\n");
        return 2;
    }
    snprintf(story->dir, sizeof(story->dir), "%s/rr-story-data.%d", dir, (int)getpid());
    return tell(story, name, is_of_members);
}
