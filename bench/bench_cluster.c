/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_cluster.h"

#include "bench/local.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_WAIT_MS   120000
#define ANSWER_WAIT_MS  10000
#define RESULT_WAIT_MS  60000
#define TAKEN_WAIT_MS   600000
#define LEADER_TRIES    1000
#define LEADER_PAUSE_NS 10000000
#define SETTLE_PAUSE_NS 100000000
#define SETTLE_ROUNDS   20u
#define SETTLE_TRIES    100u

static bool start_node(struct cluster *cluster, uint32_t node)
{
    const struct cluster_plan *plan = &cluster->plan;
    bool is_floor = plan->kind == CLUSTER_FLOOR;
    char id[8], path[532], groups[16], rate[24];
    snprintf(id, sizeof(id), "%u", node + 1);
    snprintf(path, sizeof(path), "%s/n%u", cluster->dir, node + 1);
    snprintf(groups, sizeof(groups), "%u", plan->group_count ? plan->group_count : 1);
    snprintf(rate, sizeof(rate), "%llu", (unsigned long long)plan->send_rate);
    char *arguments[] = {(char *)(is_floor ? "floor-node" : "replica"),
                         (char *)"--id",
                         id,
                         (char *)"--dir",
                         path,
                         (char *)"--ports",
                         cluster->ports,
                         (char *)"--groups",
                         groups,
                         (char *)"--send-rate",
                         rate,
                         (char *)(plan->kind == CLUSTER_ENGINE_INLINE ? "--inline" : NULL),
                         NULL};
    return control_spawn(&cluster->nodes[node], arguments);
}

static bool await_line(struct cluster *cluster, uint32_t node, const char *expected)
{
    char line[1024] = "it ended without a word";
    if (control_read(&cluster->nodes[node], line, sizeof(line), READY_WAIT_MS) &&
        strcmp(line, expected) == 0)
        return true;
    snprintf(cluster->error, sizeof(cluster->error), "node %u did not start: %.500s", node + 1,
             strncmp(line, "error ", 6) == 0 ? line + 6 : line);
    return false;
}

/* The floor's leader dials when told to start, so the others start first. */
static bool start_floor(struct cluster *cluster)
{
    for (uint32_t i = cluster->node_count; i-- > 0;)
        if (!control_send(&cluster->nodes[i], "start") || !await_line(cluster, i, "started"))
            return false;
    return true;
}

/* After a start the logs zero spare segments for a while; what is measured begins when they
 * rest. */
static bool await_spares(struct cluster *cluster)
{
    struct timespec pause = {0, SETTLE_PAUSE_NS};
    uint64_t before = UINT64_MAX;
    for (uint32_t same = 0, try = 0; same < SETTLE_ROUNDS && try < SETTLE_TRIES; try++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            char line[1024];
            uint64_t zeroed = 0;
            if (!cluster_status(cluster, i, line, sizeof(line)))
                return false;
            control_u64(line, "zeroed", &zeroed);
            sum += zeroed;
        }
        same = sum == before ? same + 1 : 0;
        before = sum;
        nanosleep(&pause, NULL);
    }
    return true;
}

bool cluster_start(struct cluster *cluster, const struct cluster_plan *plan)
{
    uint16_t ports[BENCH_NODES_MAX] = {0};
    *cluster = (struct cluster){.plan = *plan, .node_count = plan->node_count};
    snprintf(cluster->dir, sizeof(cluster->dir), "%s", plan->dir);
    if (!local_ports(ports, plan->node_count)) {
        snprintf(cluster->error, sizeof(cluster->error), "no free ports on 127.0.0.1");
        return false;
    }
    for (uint32_t i = 0, used = 0; i < plan->node_count; i++)
        used += (uint32_t)snprintf(cluster->ports + used, sizeof(cluster->ports) - used,
                                   i ? ",%u" : "%u", ports[i]);
    mkdir(cluster->dir, 0700);
    for (uint32_t i = 0; i < plan->node_count; i++)
        if (!start_node(cluster, i)) {
            snprintf(cluster->error, sizeof(cluster->error), "no process could be started");
            return false;
        }
    for (uint32_t i = 0; i < plan->node_count; i++)
        if (!await_line(cluster, i, "ready"))
            return false;
    if (plan->kind == CLUSTER_FLOOR)
        return start_floor(cluster);
    return cluster_find_leader(cluster) && await_spares(cluster);
}

void cluster_kill(struct cluster *cluster, uint32_t node)
{
    struct control *control = &cluster->nodes[node];
    kill(control->pid, SIGKILL);
    while (waitpid(control->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(control->fd);
    *control = (struct control){.fd = -1};
}

bool cluster_revive(struct cluster *cluster, uint32_t node)
{
    return start_node(cluster, node) && await_line(cluster, node, "ready");
}

void cluster_stop(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->node_count; i++)
        control_stop(&cluster->nodes[i]);
    cluster->node_count = 0;
}

bool cluster_snapshot(struct cluster *cluster, uint64_t bytes)
{
    char line[1024] = "error it gave no answer in ten minutes";
    struct control *leader = &cluster->nodes[cluster->leader];
    if (control_send(leader, "snapshot bytes=%llu", (unsigned long long)bytes) &&
        control_read(leader, line, sizeof(line), TAKEN_WAIT_MS) && strcmp(line, "taken") == 0)
        return true;
    snprintf(cluster->error, sizeof(cluster->error), "%.500s", line + strlen("error "));
    return false;
}

bool cluster_status(struct cluster *cluster, uint32_t node, char *line, size_t cap)
{
    struct control *control = &cluster->nodes[node];
    if (!control_send(control, "status"))
        return false;
    while (control_read(control, line, cap, ANSWER_WAIT_MS))
        if (strncmp(line, "status ", 7) == 0)
            return true;
    snprintf(cluster->error, sizeof(cluster->error), "node %u does not answer", node + 1);
    return false;
}

/* Every group has a leader that somebody is; the first group's is the cluster's. */
static bool has_leaders(struct cluster *cluster)
{
    char line[1024];
    uint64_t led_sum = 0;
    bool is_found = false;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        uint64_t leads = 0, led = 0, error = 0;
        if (cluster->nodes[i].pid == 0)
            continue;
        if (!cluster_status(cluster, i, line, sizeof(line)))
            return false;
        control_u64(line, "error", &error);
        control_u64(line, "led", &led);
        led_sum += led;
        if (control_u64(line, "leads", &leads) && leads && error == 0) {
            cluster->leader = i;
            is_found = true;
        }
    }
    return is_found && led_sum >= cluster->plan.group_count;
}

bool cluster_find_leader(struct cluster *cluster)
{
    struct timespec pause = {0, LEADER_PAUSE_NS};
    cluster->error[0] = 0;
    for (uint32_t try = 0; try < LEADER_TRIES && !cluster->error[0]; try++) {
        if (has_leaders(cluster))
            return true;
        nanosleep(&pause, NULL);
    }
    if (!cluster->error[0])
        snprintf(cluster->error, sizeof(cluster->error),
                 "no replica was elected within ten seconds");
    return false;
}

double cluster_cpu_seconds(struct cluster *cluster)
{
    double sum = 0;
    char line[1024];
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        double cpu = 0;
        if (cluster->nodes[i].pid == 0)
            continue;
        if (cluster_status(cluster, i, line, sizeof(line)))
            control_double(line, "cpu", &cpu);
        sum += cpu;
    }
    return sum;
}

static void parse_slice(const char *line, struct slice *slice)
{
    uint64_t steady = 1;
    *slice = (struct slice){0};
    control_u64(line, "completed", &slice->completed);
    control_u64(line, "failed", &slice->failed);
    control_u64(line, "lag", &slice->lag);
    control_double(line, "seconds", &slice->seconds);
    control_double(line, "p50", &slice->p50_us);
    control_double(line, "p99", &slice->p99_us);
    control_double(line, "p999", &slice->p999_us);
    control_double(line, "max", &slice->max_us);
    control_u64(line, "writes", &slice->writes);
    control_u64(line, "entries", &slice->entries);
    control_u64(line, "padded", &slice->padded);
    control_u64(line, "recycled", &slice->recycled);
    control_u64(line, "zeroed", &slice->zeroed);
    control_u64(line, "enters", &slice->enters);
    control_u64(line, "wakes", &slice->wakes);
    control_u64(line, "reads", &slice->reads);
    control_double(line, "read_p50", &slice->read_p50_us);
    control_double(line, "read_p99", &slice->read_p99_us);
    control_u64(line, "steady", &steady);
    slice->is_steady = steady != 0;
}

bool cluster_ask(struct cluster *cluster, uint32_t node, const char *request)
{
    if (control_send(&cluster->nodes[node], "%s", request))
        return true;
    snprintf(cluster->error, sizeof(cluster->error), "a node is gone");
    return false;
}

bool cluster_await(struct cluster *cluster, uint32_t node, struct slice *slice,
                   cluster_progress progress, void *ctx)
{
    char line[2048];
    while (control_read(&cluster->nodes[node], line, sizeof(line), RESULT_WAIT_MS)) {
        uint64_t completed = 0;
        if (strncmp(line, "result ", 7) == 0) {
            parse_slice(line, slice);
            return true;
        }
        if (strncmp(line, "error ", 6) == 0) {
            snprintf(cluster->error, sizeof(cluster->error), "%.500s", line + 6);
            return false;
        }
        if (progress && control_u64(line, "completed", &completed))
            progress(ctx, completed);
    }
    snprintf(cluster->error, sizeof(cluster->error), "a node ended, or gave no result in a minute");
    return false;
}

bool cluster_run(struct cluster *cluster, const char *request, struct slice *slice,
                 cluster_progress progress, void *ctx)
{
    uint32_t node = cluster->plan.kind == CLUSTER_FLOOR ? 0 : cluster->leader;
    return cluster_ask(cluster, node, request) &&
           cluster_await(cluster, node, slice, progress, ctx);
}
