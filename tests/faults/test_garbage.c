/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage on a peer port of a cluster under load: nothing is disturbed. No change of term or
 * leader, no stall, the cap on strangers holds, memory and descriptors stay bounded and come back,
 * and a true peer still gets in through the crowd.
 */
#include "tests/faults/attacker.h"
#include "tests/faults/dir_copy.h"
#include "tests/faults/fault_node.h"
#include "tests/faults/log_surgery.h"
#include "tests/unit/check.h"

#include "io/identity.h"
#include "io/snapshot_file.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define STRANGERS_MAX 64u /* the transport's default */
#define STALL_MS_MAX  3000u
#ifdef RR_SANITIZED
#define GROWTH_KIB_MAX (400u * 1024) /* what is freed stays in quarantine */
#else
#define GROWTH_KIB_MAX (48u * 1024)
#endif
#define QUIET_MS_MAX    10000u /* strangers have 5 s */
#define LOAD_PAUSE_MS   2u
#define LOAD_ENTRY_SIZE 64u

/* ---- load ------------------------------------------------------------------ */

/* One proposal after the other through the leader, and how long the longest of them took. */
struct load {
    pthread_t thread;
    struct harness_node *leader;
    _Atomic bool stop;
    _Atomic uint64_t count;
    _Atomic uint64_t longest_ms;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *load_run(void *arg)
{
    struct load *load = arg;
    static const uint8_t bytes[LOAD_ENTRY_SIZE];
    while (!load->stop) {
        struct harness_node *node = load->leader;
        uint64_t begin = now_ms(), wanted = node->ok + 1;
        CHECK(rr_propose(node->group, bytes, sizeof(bytes), node->next_tag++) == 0);
        while (node->ok < wanted && node->failed == 0)
            usleep(100);
        CHECK(node->failed == 0);
        uint64_t took = now_ms() - begin;
        if (took > load->longest_ms)
            load->longest_ms = took;
        load->count++;
        harness_sleep_ms(LOAD_PAUSE_MS);
    }
    return NULL;
}

static void load_start(struct load *load, struct harness_node *leader)
{
    memset(load, 0, sizeof(*load));
    load->leader = leader;
    CHECK(pthread_create(&load->thread, NULL, load_run, load) == 0);
}

static void load_stop(struct load *load)
{
    load->stop = true;
    CHECK(pthread_join(load->thread, NULL) == 0);
}

/* ---- what is bounded ------------------------------------------------------- */

/* Of this process, in which the nodes are; log segments come and go by themselves. */
static uint32_t open_sockets(void)
{
    uint32_t count = 0;
    char path[300], target[64] = {0};
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    CHECK(dir != NULL);
    while ((entry = readdir(dir))) {
        snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof(target) - 1) > 0)
            count += strncmp(target, "socket:", 7) == 0;
    }
    closedir(dir);
    return count;
}

static uint64_t resident_kib(void)
{
    unsigned long long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%llu %llu", &size, &resident) == 2);
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static bool is_connected(const struct harness *harness)
{
    uint32_t connected = 0;
    for (uint32_t i = 0; i < harness->node_count; i++) {
        struct rr_group_status status = harness_status(&harness->nodes[i]);
        for (uint32_t k = 0; k < status.peer_count; k++)
            connected += status.peers[k].connected;
    }
    return connected == harness->node_count * harness->node_count;
}

static void wait_until_connected(const struct harness *harness)
{
    for (uint32_t waited = 0; waited < QUIET_MS_MAX && !is_connected(harness); waited++)
        harness_sleep_ms(1);
    CHECK(is_connected(harness));
}

/* The strangers are gone and everybody has his connections again. */
static void wait_until_quiet(const struct harness *harness, uint32_t sockets)
{
    for (uint32_t waited = 0; waited < QUIET_MS_MAX; waited += 10) {
        if (is_connected(harness) && open_sockets() == sockets)
            return;
        harness_sleep_ms(10);
    }
    CHECK(is_connected(harness));
    CHECK_EQ_U64(open_sockets(), sockets);
}

/* ---- the tests ------------------------------------------------------------- */

struct field {
    struct attacker attacker;
    struct harness harness;
    struct harness_node *leader;
    struct load load;
    uint32_t sockets;
    uint64_t resident_kib, term;
};

/* Snapshots that did not arrive, on any node, by why. */
static _Atomic uint32_t lost_malformed, lost_corrupt, lost_closed;

static void on_event(void *ctx, const struct rr_event *event)
{
    (void)ctx;
    if (event->kind != RR_EVENT_SNAPSHOT)
        return;
    CHECK(event->snapshot_step != RR_SNAPSHOT_INSTALLED);
    lost_malformed += event->status == RR_E_MALFORMED;
    lost_corrupt += event->status == RR_E_CORRUPT;
    lost_closed += event->status == RR_E_CLOSED;
}

static void field_begin(struct field *field)
{
    attacker_start(&field->attacker);
    harness_init(&field->harness, 3);
    field->harness.group_options.tick_ms = 25;
    field->harness.engine_options.on_event = on_event;
    fault_open_all(&field->harness);
    fault_propose_until_ok(&field->harness, 500, LOAD_ENTRY_SIZE);
    harness_check_equal(&field->harness);
    field->leader = harness_leader(&field->harness);
    field->term = harness_status(field->leader).term;
    wait_until_connected(&field->harness);
    harness_sleep_ms(50); /* what was replaced on the way is closed */
    field->sockets = open_sockets();
    field->resident_kib = resident_kib();
    load_start(&field->load, field->leader);
}

static void field_end(struct field *field)
{
    load_stop(&field->load);
    wait_until_quiet(&field->harness, field->sockets);
    CHECK(field->load.count >= 20 && field->load.longest_ms < STALL_MS_MAX);
    for (uint32_t i = 0; i < 3; i++) {
        struct rr_group_status status = harness_status(&field->harness.nodes[i]);
        CHECK_EQ_U64(status.term, field->term);
        CHECK_EQ_U64(status.lead, field->leader->id);
    }
    uint64_t grown = resident_kib() - field->resident_kib;
    fprintf(stderr, "    %llu commits, the longest took %llu ms; %lld KiB grown\n",
            (unsigned long long)field->load.count, (unsigned long long)field->load.longest_ms,
            (long long)grown);
    harness_check_equal(&field->harness);
    CHECK_EQ_U64(field->leader->chain.count, 500 + field->load.count);
    attacker_stop(&field->attacker);
    harness_fini(&field->harness);
}

static uint16_t port_of(const struct field *field, uint32_t i)
{
    return (uint16_t)atoi(strchr(field->harness.addresses[i], ':') + 1);
}

/* A hello as node `from` would say it to node `to`. */
static struct hello hello_of(uint64_t cluster, uint64_t from, uint64_t to)
{
    return (struct hello){.cluster = cluster,
                          .from = from,
                          .to = to,
                          .instance = 4711,
                          .boot = 1000,
                          .nonce = 5,
                          .loop_count = 1,
                          .feature_level = HELLO_LEVEL_PROOFS - 1, /* one round, not two */
                          .entry_bytes_max = (1 << 20) + 1,
                          .frame_bytes_max = 16 << 20,
                          .kind = HELLO_DIAL};
}

/* At the height of the attack. */
static void check_pressure(struct field *field)
{
    uint64_t count = field->load.count;
    CHECK(open_sockets() <= field->sockets + STRANGERS_MAX + 4);
    uint64_t resident = resident_kib();
    if (resident > field->resident_kib + GROWTH_KIB_MAX)
        fprintf(stderr, "%llu KiB, %llu before\n", (unsigned long long)resident,
                (unsigned long long)field->resident_kib);
    CHECK(resident <= field->resident_kib + GROWTH_KIB_MAX);
    for (uint32_t waited = 0; waited < STALL_MS_MAX && field->load.count < count + 10; waited++)
        harness_sleep_ms(1);
    CHECK(field->load.count >= count + 10);
}

static void attack(struct field *field, struct attack attack)
{
    attacker_begin(&field->attacker, &attack);
    check_pressure(field);
    attacker_end(&field->attacker);
}

static void test_garbage_on_every_port_disturbs_nothing(void)
{
    static const struct attack attacks[] = {
        {.kind = ATTACK_RANDOM_BYTES, .count = 100}, {.kind = ATTACK_HUGE_LENGTHS, .count = 100},
        {.kind = ATTACK_OTHER_CLUSTER, .count = 20}, {.kind = ATTACK_SILENCE, .count = 100},
        {.kind = ATTACK_HALF_HELLO, .count = 100},
    };
    struct field field;
    field_begin(&field);
    for (uint32_t i = 0; i < 3; i++)
        for (size_t k = 0; k < sizeof(attacks) / sizeof(attacks[0]); k++) {
            struct attack one = attacks[k];
            one.port = port_of(&field, i);
            one.hello = hello_of(78, (i + 1) % 3 + 1, i + 1);
            attack(&field, one);
        }
    field_end(&field);
}

/* They are not asked to leave: their time is up after 5 s. */
static void test_silent_strangers_are_closed_in_time(void)
{
    struct field field;
    field_begin(&field);
    struct attack silence = {.kind = ATTACK_SILENCE, .count = 50, .port = port_of(&field, 0)};
    attacker_begin(&field.attacker, &silence);
    check_pressure(&field);
    CHECK(open_sockets() > field.sockets + 40);
    wait_until_quiet(&field.harness, field.sockets);
    attacker_end(&field.attacker);
    field_end(&field);
}

/* A follower restarts while a thousand strangers stand before the leader's door. */
static void test_crowd_of_a_thousand_does_not_keep_a_peer_out(void)
{
    struct field field;
    field_begin(&field);
    uint32_t lead = (uint32_t)(field.leader - field.harness.nodes);
    uint32_t other = (lead + 1) % 3;
    struct attack crowd = {.kind = ATTACK_HALF_HELLO,
                           .count = 1000,
                           .port = port_of(&field, lead),
                           .hello = hello_of(78, 1, 2)};
    attacker_begin(&field.attacker, &crowd);
    check_pressure(&field);
    harness_close(&field.harness, other, RR_CLOSE_DRAIN);
    harness_open(&field.harness, other);
    uint64_t target = harness_status(field.leader).commit;
    for (uint32_t waited = 0; waited < QUIET_MS_MAX; waited++) {
        if (harness_status(&field.harness.nodes[other]).applied >= target)
            break;
        harness_sleep_ms(1);
    }
    CHECK(harness_status(&field.harness.nodes[other]).applied >= target);
    check_pressure(&field);
    attacker_end(&field.attacker);
    field_end(&field);
}

/* What node `from` says to node `to` in its hello, to the last secret. */
static struct hello stolen_hello(const struct field *field, uint32_t from, uint32_t to)
{
    const char *dir = field->harness.dirs[from];
    struct surgery surgery;
    surgery_begin(&surgery, dir);
    const struct surgery_write *open = surgery_find(&surgery, 0, WAL_SECTION_OPEN);
    struct wal_open_body body;
    CHECK(open != NULL);
    file_read_at(dir, open->segment,
                 open->offset + sizeof(open->header) + sizeof(struct wal_section), &body,
                 sizeof(body));
    struct hello hello = hello_of(77, from + 1, to + 1);
    file_read_at(dir, "identity", 32, &hello.instance, 8);
    hello.boot = body.boot;
    hello.nonce = body.nonce;
    surgery_end(&surgery);
    return hello;
}

/* Who knows everything that a follower says in its hello takes its place, until it calls again;
 * what he sends closes the connection, however long it pretends to be. */
static void test_impostor_with_huge_frames_is_thrown_out(void)
{
    struct field field;
    field_begin(&field);
    uint32_t lead = (uint32_t)(field.leader - field.harness.nodes);
    uint32_t victim = (lead + 1) % 3;
    struct attack impostor = {.kind = ATTACK_IMPOSTOR,
                              .port = port_of(&field, lead),
                              .hello = stolen_hello(&field, victim, lead)};
    for (uint32_t i = 0; i < 4; i++) {
        impostor.count = i + 1; /* its last connection sends the i-th sort of frame */
        attack(&field, impostor);
        harness_sleep_ms(300);
    }
    field_end(&field);
}

/* Files of snapshots in the directory that the attacker pretended to send: whole ones, parts. */
static void count_forged(const char *dir, uint32_t *whole, uint32_t *parts)
{
    DIR *listing = opendir(dir);
    struct dirent *entry;
    CHECK(listing != NULL);
    while ((entry = readdir(listing))) {
        uint64_t group, index;
        enum snapshot_name_kind kind = snapshot_file_parse_name(entry->d_name, &group, &index);
        if (kind == SNAPSHOT_NAME_OTHER || index != ATTACK_SNAPSHOT_INDEX)
            continue;
        *whole += kind == SNAPSHOT_NAME_PUBLISHED;
        *parts += kind != SNAPSHOT_NAME_PUBLISHED;
    }
    closedir(listing);
}

/* He knows what the leader says in its hello, and opens snapshot connections to the others (and as
 * a follower, to the leader): nothing of what he sends is ever installed, and places, memory and
 * descriptors come back. */
static void test_nonsense_on_snapshot_connections_installs_nothing(void)
{
    struct field field;
    field_begin(&field);
    uint32_t lead = (uint32_t)(field.leader - field.harness.nodes);
    uint32_t restores[3], whole = 0, parts = 0;
    for (uint32_t i = 0; i < 3; i++)
        restores[i] = field.harness.nodes[i].chain.restores;
    /* He draws what he does, and a busy machine cuts him short: until he got far in each way. */
    for (uint32_t round = 0;
         round < 6 || (round < 60 && !(lost_malformed > 0 && lost_corrupt > 0 && lost_closed > 0));
         round++) {
        uint32_t to = (lead + round) % 3;
        struct attack mad = {.kind = ATTACK_SNAPSHOT,
                             .count = 24,
                             .port = port_of(&field, to),
                             .hello = stolen_hello(&field, to == lead ? (lead + 1) % 3 : lead, to),
                             .term = field.term};
        attack(&field, mad);
        harness_sleep_ms(100);
    }
    for (uint32_t i = 0; i < 3; i++) {
        count_forged(field.harness.dirs[i], &whole, &parts);
        CHECK_EQ_U64(field.harness.nodes[i].chain.restores, restores[i]);
    }
    CHECK(lost_malformed > 0 && lost_corrupt > 0 && lost_closed > 0);
    CHECK(whole == 0 && parts <= 3); /* a part is worth something to who sent it: one of a group */
    field_end(&field);
}

int main(void)
{
    RUN(test_garbage_on_every_port_disturbs_nothing);
    RUN(test_silent_strangers_are_closed_in_time);
    RUN(test_crowd_of_a_thousand_does_not_keep_a_peer_out);
    RUN(test_impostor_with_huge_frames_is_thrown_out);
    RUN(test_nonsense_on_snapshot_connections_installs_nothing);
    return 0;
}
