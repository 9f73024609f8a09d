/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/soak_world.h"

#include "bench/local.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long ull;

#define START_WAIT_MS  30000
#define STATUS_WAIT_MS 2000
#define LOCKED_WAIT_MS 1000
#define PAUSE_MS       5u
#define FIRST_VOTERS   3u

uint64_t world_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t world_draw(struct soak_world *world, uint64_t bound)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random % bound;
}

void world_fail(const char *what, const char *why)
{
    printf("FAILED: %s: %s\n", what, why);
    exit(1);
}

void world_say(const struct soak_world *world, const char *format, ...)
{
    if (!world->is_verbose)
        return;
    va_list args;
    va_start(args, format);
    printf("%9.3f  ", (double)world_now_ms() / 1000);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
}

/* ---- lines --------------------------------------------------------------- */

static void take_line(struct soak_world *world, uint32_t place, const char *line)
{
    uint64_t status = 0, tag = 0;
    if (strncmp(line, "done ", 5) == 0) {
        control_u64(line, "status", &status);
        control_u64(line, "tag", &tag);
        bool is_transfer = tag & 1;
        world->counts.changes_done += !is_transfer && status == 0;
        world->counts.transfers_done += is_transfer && status == 0;
        world_say(world, "node %llu: %s %llu ended with %llu", (ull)world->places[place].id,
                  is_transfer ? "transfer" : "change", (ull)tag, (ull)status);
    } else if (strncmp(line, "diverged ", 9) == 0) {
        world_fail("a state machine differs", line);
    }
}

/* Reads until nothing comes for `quiet_ms` or `wanted` begins a line (then true). */
static bool listen_to(struct soak_world *world, uint32_t place, const char *wanted, char *line,
                      size_t cap, int quiet_ms)
{
    while (control_read(&world->places[place].control, line, cap, quiet_ms)) {
        if (wanted && strncmp(line, wanted, strlen(wanted)) == 0)
            return true;
        take_line(world, place, line);
    }
    return false;
}

/* ---- processes ----------------------------------------------------------- */

static void node_dir(const struct soak_world *world, uint64_t id, char dir[SOAK_PATH_MAX])
{
    snprintf(dir, SOAK_PATH_MAX, "%s/n%llu", world->dir, (ull)id);
}

/* The initial voters know each other; who joins knows itself and any voter. */
static void write_peers(const struct soak_world *world, uint32_t place, char *peers, size_t cap)
{
    char address[SOAK_ADDRESS_MAX];
    size_t used = 0;
    peers[0] = 0;
    for (uint32_t i = 0; i < SOAK_PLACES; i++) {
        const struct place *other = &world->places[i];
        bool is_joining = world->places[place].joins;
        uint64_t id = is_joining ? other->id : i + 1; /* places may have changed hands since */
        bool is_known = is_joining ? other->state != PLACE_EMPTY : i < FIRST_VOTERS;
        if (!is_known)
            continue;
        soak_net_address(&world->net, i, address);
        used += (size_t)snprintf(peers + used, cap - used, "%s%llu=%s", used ? "," : "", (ull)id,
                                 address);
    }
}

void world_start(struct soak_world *world, uint32_t at)
{
    struct place *place = &world->places[at];
    char id[24], boot[24], memory[24], dir[SOAK_PATH_MAX], name[64], address[SOAK_ADDRESS_MAX];
    char peers[SOAK_PATH_MAX], line[512];
    snprintf(id, sizeof(id), "%llu", (ull)place->id);
    snprintf(boot, sizeof(boot), "%llu", (ull)++place->boot);
    snprintf(memory, sizeof(memory), "%llu", (ull)world->memory_bytes);
    node_dir(world, place->id, dir);
    mkdir(dir, 0700);
    soak_net_namespace(&world->net, at, name);
    soak_net_address(&world->net, at, address);
    write_peers(world, at, peers, sizeof(peers));
    char *arguments[] = {(char *)"--node",
                         id,
                         (char *)"--boot",
                         boot,
                         (char *)"--data",
                         dir,
                         (char *)"--memory",
                         memory,
                         (char *)"--namespace",
                         name,
                         (char *)"--address",
                         address,
                         (char *)"--peers",
                         peers,
                         place->joins ? (char *)"--join" : NULL,
                         NULL};
    if (!control_spawn(&place->control, arguments))
        world_fail("start", strerror(errno));
    place->state = PLACE_UP;
    if (!control_read(&place->control, line, sizeof(line), START_WAIT_MS))
        world_fail("a node did not become ready within 30 s", dir);
    if (strcmp(line, "ready") == 0) {
        control_send(&place->control, "write");
    } else if (strstr(line, "another process uses")) {
        /* The kernel still finishes a write of the one that was killed: as a supervisor would. */
        world_say(world, "node %llu comes later", (ull)place->id);
        world_kill(world, at, LOCKED_WAIT_MS);
    } else {
        world_fail("a node refused to start", line);
    }
}

void world_make(struct soak_world *world, uint32_t at, bool joins)
{
    struct place *place = &world->places[at];
    if (world->id_count == sizeof(world->ids) / sizeof(world->ids[0]))
        return;
    *place = (struct place){
        .id = ++world->id_count, .joins = joins, .state = PLACE_DOWN, .since_ms = world_now_ms()};
    world->ids[world->id_count - 1] = place->id;
}

static void end_process(struct soak_world *world, uint32_t at)
{
    struct place *place = &world->places[at];
    char line[512];
    kill(place->control.pid, SIGKILL);
    while (waitpid(place->control.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    listen_to(world, at, NULL, line, sizeof(line), 0);
    close(place->control.fd);
}

void world_kill(struct soak_world *world, uint32_t at, uint64_t back_in_ms)
{
    struct place *place = &world->places[at];
    if (place->state != PLACE_UP && place->state != PLACE_STOPPED)
        return;
    end_process(world, at);
    place->state = PLACE_DOWN;
    place->due_ms = world_now_ms() + back_in_ms;
}

void world_stop(struct soak_world *world, uint32_t at, uint64_t for_ms)
{
    struct place *place = &world->places[at];
    if (place->state != PLACE_UP)
        return;
    kill(place->control.pid, SIGSTOP);
    place->state = PLACE_STOPPED;
    place->due_ms = world_now_ms() + for_ms;
}

void world_retire(struct soak_world *world, uint32_t at)
{
    struct place *place = &world->places[at];
    char dir[SOAK_PATH_MAX], data[SOAK_PATH_MAX + 8];
    if (place->state == PLACE_UP || place->state == PLACE_STOPPED)
        end_process(world, at);
    node_dir(world, place->id, dir);
    snprintf(data, sizeof(data), "%s/data", dir);
    local_remove(data);
    world_say(world, "node %llu retires", (ull)place->id);
    *place = (struct place){.state = PLACE_EMPTY};
    world->counts.retired++;
}

static void bring_back(struct soak_world *world)
{
    uint64_t now = world_now_ms();
    for (uint32_t at = 0; at < SOAK_PLACES; at++) {
        struct place *place = &world->places[at];
        if (place->due_ms > now)
            continue;
        if (place->state == PLACE_STOPPED) {
            kill(place->control.pid, SIGCONT);
            place->state = PLACE_UP;
        } else if (place->state == PLACE_DOWN) {
            world_start(world, at);
            world->counts.restarts++;
        }
    }
    if (world->net_due_ms && world->net_due_ms <= now) {
        soak_net_heal(&world->net);
        world->net_due_ms = 0;
    }
}

void world_run(struct soak_world *world, uint64_t ms)
{
    char line[512];
    struct timespec pause = {0, PAUSE_MS * 1000000};
    for (uint64_t until = world_now_ms() + ms; world_now_ms() < until;) {
        nanosleep(&pause, NULL);
        bring_back(world);
        for (uint32_t at = 0; at < SOAK_PLACES; at++)
            if (world->places[at].state == PLACE_UP)
                listen_to(world, at, NULL, line, sizeof(line), 0);
    }
}

void world_heal(struct soak_world *world)
{
    for (uint32_t at = 0; at < SOAK_PLACES; at++)
        world->places[at].due_ms = 0;
    if (world->net_due_ms)
        world->net_due_ms = 1;
    bring_back(world);
}

void world_end(struct soak_world *world)
{
    for (uint32_t at = 0; at < SOAK_PLACES; at++)
        if (world->places[at].state == PLACE_UP)
            control_stop(&world->places[at].control);
}

/* ---- questions and commands ---------------------------------------------- */

static uint32_t parse_ids(const char *line, const char *key, uint64_t ids[SOAK_PLACES + 1])
{
    char word[256] = "", *save = NULL;
    uint32_t count = 0;
    control_word(line, key, word, sizeof(word));
    for (char *id = strtok_r(word, ",", &save); id && count <= SOAK_PLACES;
         id = strtok_r(NULL, ",", &save))
        ids[count++] = strtoull(id, NULL, 10);
    return count;
}

bool world_look(struct soak_world *world, uint32_t at, struct picture *picture)
{
    char line[1024];
    uint64_t leads = 0;
    memset(picture, 0, sizeof(*picture));
    if (world->places[at].state != PLACE_UP)
        return false;
    control_send(&world->places[at].control, "status");
    if (!listen_to(world, at, "status", line, sizeof(line), STATUS_WAIT_MS))
        return false;
    control_u64(line, "leads", &leads);
    picture->leads = leads;
    control_u64(line, "lead", &picture->lead);
    control_u64(line, "term", &picture->term);
    control_u64(line, "applied", &picture->applied);
    control_u64(line, "last", &picture->last);
    control_u64(line, "chain", &picture->chain);
    control_u64(line, "count", &picture->count);
    control_u64(line, "writes", &picture->writes);
    control_u64(line, "reads", &picture->reads);
    control_u64(line, "snapshot", &picture->snapshot);
    control_u64(line, "error", &picture->error);
    picture->voter_count = parse_ids(line, "voters", picture->voters);
    picture->learner_count = parse_ids(line, "learners", picture->learners);
    return true;
}

uint32_t world_leader(struct soak_world *world, struct picture *picture)
{
    uint32_t leader = SOAK_PLACES;
    struct picture one;
    memset(picture, 0, sizeof(*picture));
    for (uint32_t at = 0; at < SOAK_PLACES; at++) {
        if (!world_look(world, at, &one) || !one.leads || one.term < picture->term)
            continue;
        *picture = one;
        leader = at;
    }
    return leader;
}

uint32_t world_place_of(const struct soak_world *world, uint64_t id)
{
    uint32_t at = 0;
    while (at < SOAK_PLACES &&
           (world->places[at].state == PLACE_EMPTY || world->places[at].id != id))
        at++;
    return at;
}

void world_command(struct soak_world *world, uint32_t at, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    bool is_transfer = strncmp(text, "transfer ", 9) == 0;
    world->tag = (world->tag | 1) + 1 + is_transfer;
    world->counts.transfers += is_transfer;
    world->counts.changes += !is_transfer;
    world_say(world, "node %llu: %s tag=%llu", (ull)world->places[at].id, text, (ull)world->tag);
    control_send(&world->places[at].control, "%s tag=%llu", text, (ull)world->tag);
}

/* ---- bounds -------------------------------------------------------------- */

static uint64_t resident_bytes(pid_t pid)
{
    char path[64];
    unsigned long long size = 0, resident = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t directory_bytes(const char *dir)
{
    char path[SOAK_PATH_MAX + 300];
    uint64_t bytes = 0;
    DIR *listing = opendir(dir);
    struct dirent *entry;
    struct stat about;
    while (listing && (entry = readdir(listing)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (stat(path, &about) == 0 && S_ISREG(about.st_mode))
            bytes += (uint64_t)about.st_size;
    }
    if (listing)
        closedir(listing);
    return bytes;
}

void world_measure(struct soak_world *world)
{
    char dir[SOAK_PATH_MAX], data[SOAK_PATH_MAX + 8], why[200];
    for (uint32_t at = 0; at < SOAK_PLACES; at++) {
        const struct place *place = &world->places[at];
        if (place->state != PLACE_UP)
            continue;
        node_dir(world, place->id, dir);
        snprintf(data, sizeof(data), "%s/data", dir);
        uint64_t disk = directory_bytes(data), rss = resident_bytes(place->control.pid);
        world->disk_max = disk > world->disk_max ? disk : world->disk_max;
        world->rss_max = rss > world->rss_max ? rss : world->rss_max;
        snprintf(why, sizeof(why), "node %llu: %llu bytes of %llu", (ull)place->id,
                 (ull)(disk > world->disk_bytes_max ? disk : rss),
                 (ull)(disk > world->disk_bytes_max ? world->disk_bytes_max : world->memory_bytes));
        if (disk > world->disk_bytes_max)
            world_fail("the data directory grew beyond its bound", why);
        if (rss > world->memory_bytes)
            world_fail("the process grew beyond its memory budget", why);
    }
}
