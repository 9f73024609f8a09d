/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/cluster/story_node.h"

#include "bench/control.h"
#include "tests/soak/soak_net.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#define PEERS_MAX 8u

typedef unsigned long long ull;

struct story_node {
    const struct story_node_options *options;
    struct control control;
    pthread_mutex_t send_lock;
    uint64_t number; /* the state machine; the apply thread's */
    struct rr_engine *engine;
    struct rr_group *group;
    char peer_text[512];
    struct rr_peer_address peers[PEERS_MAX];
    uint32_t peer_count;
};

/* ---- the state machine --------------------------------------------------- */

struct copy {
    uint64_t number;
    size_t at;
};

static int machine_open(void *ctx, uint64_t *applied)
{
    (void)ctx;
    *applied = 0;
    return 0;
}

static int machine_apply(void *ctx, const struct rr_apply_entry *entries, uint32_t count,
                         uint64_t *results)
{
    struct story_node *node = ctx;
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].size != sizeof(node->number))
            return RR_E_STATE_MACHINE;
        memcpy(&node->number, entries[i].data, sizeof(node->number));
        results[i] = node->number;
    }
    return 0;
}

static int copy_begin(void *ctx, void **context)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    if (!copy)
        return RR_E_NO_MEMORY;
    copy->number = ((struct story_node *)ctx)->number;
    *context = copy;
    return 0;
}

static int copy_read(void *ctx, void *context, uint8_t *buf, size_t cap, size_t *size)
{
    struct copy *copy = context;
    (void)ctx;
    size_t left = sizeof(copy->number) - copy->at;
    *size = left < cap ? left : cap;
    memcpy(buf, (const uint8_t *)&copy->number + copy->at, *size);
    copy->at += *size;
    return 0;
}

static void copy_end(void *ctx, void *context)
{
    (void)ctx;
    free(context);
}

static int copy_write(void *ctx, void *context, const uint8_t *buf, size_t size)
{
    struct copy *copy = context;
    (void)ctx;
    if (size > sizeof(copy->number) - copy->at)
        return RR_E_CORRUPT;
    memcpy((uint8_t *)&copy->number + copy->at, buf, size);
    copy->at += size;
    return 0;
}

static int copy_restored(void *ctx, void *context, bool complete)
{
    struct copy *copy = context;
    if (complete)
        ((struct story_node *)ctx)->number = copy->number;
    free(copy);
    return 0;
}

/* ---- commands ------------------------------------------------------------ */

static void say_done(struct story_node *node, uint64_t tag, int32_t status, uint64_t number)
{
    pthread_mutex_lock(&node->send_lock);
    control_send(&node->control, "done tag=%llu status=%d value=%llu", (ull)tag, -(int)status,
                 (ull)number);
    pthread_mutex_unlock(&node->send_lock);
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct story_node *node = ctx;
    for (uint32_t i = 0; i < count; i++)
        say_done(node, completions[i].tag, completions[i].status, node->number);
}

static int change_members(struct story_node *node, const char *line, uint64_t tag)
{
    char address[32] = "";
    uint64_t kind = 0, id = 0, replaced = 0;
    control_u64(line, "kind", &kind);
    control_u64(line, "node", &id);
    control_u64(line, "replaced", &replaced);
    control_word(line, "address", address, sizeof(address));
    struct rr_member_change change = {.size = sizeof(change),
                                      .kind = (enum rr_member_change_kind)kind,
                                      .node = id,
                                      .address = address[0] ? address : NULL,
                                      .replaced = replaced};
    return rr_conf_change(node->group, &change, tag, NULL);
}

static void answer_status(struct story_node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    char members[256] = "";
    rr_group_status(node->group, &status);
    for (uint32_t i = 0; i < status.peer_count; i++) {
        size_t used = strlen(members);
        snprintf(members + used, sizeof(members) - used, "%s%llu", used ? "," : "",
                 (ull)status.peers[i].node);
    }
    pthread_mutex_lock(&node->send_lock);
    control_send(&node->control,
                 "status leads=%d lead=%llu term=%llu applied=%llu error=%d members=%s",
                 status.role == RR_STATE_LEADER, (ull)status.lead, (ull)status.term,
                 (ull)status.applied, -(int)status.error, members[0] ? members : "none");
    pthread_mutex_unlock(&node->send_lock);
}

static void obey(struct story_node *node, const char *line)
{
    uint64_t tag = 0, value = 0;
    int rc = 0;
    control_u64(line, "tag", &tag);
    control_u64(line, "value", &value);
    if (strcmp(line, "status") == 0)
        answer_status(node);
    else if (strncmp(line, "put ", 4) == 0)
        rc = rr_propose(node->group, &value, sizeof(value), tag);
    else if (strncmp(line, "get ", 4) == 0)
        rc = rr_read_index(node->group, tag, 0);
    else if (strncmp(line, "change ", 7) == 0)
        rc = change_members(node, line, tag);
    if (rc < 0)
        say_done(node, tag, rc, 0);
}

/* ---- beginning and end --------------------------------------------------- */

static void parse_peers(struct story_node *node)
{
    char *save = NULL;
    snprintf(node->peer_text, sizeof(node->peer_text), "%s", node->options->peers);
    for (char *item = strtok_r(node->peer_text, ",", &save); item && node->peer_count < PEERS_MAX;
         item = strtok_r(NULL, ",", &save)) {
        char *address = strchr(item, '=');
        if (!address)
            continue;
        *address++ = 0;
        node->peers[node->peer_count++] =
            (struct rr_peer_address){.node = strtoull(item, NULL, 10), .address = address};
    }
}

static bool open_node(struct story_node *node, struct rr_error *error)
{
    const struct story_node_options *options = node->options;
    struct rr_engine_options engine = {.size = sizeof(engine),
                                       .dir = options->dir,
                                       .listen = options->address,
                                       .cluster_id = 78,
                                       .node_id = options->node,
                                       .create =
                                           options->joins ? RR_CREATE_JOIN : RR_CREATE_BOOTSTRAP,
                                       .insecure = options->name_space[0] != 0,
                                       .segment_bytes = 1u << 20,
                                       .entry_bytes_max = 64u << 10};
    struct rr_group_options group = {.size = sizeof(group),
                                     .group_id = 1,
                                     .peers = node->peers,
                                     .peer_count = node->peer_count,
                                     .lease_reads = options->leases,
                                     .on_complete = on_complete,
                                     .ctx = node};
    struct rr_state_machine machine = {.size = sizeof(machine),
                                       .ctx = node,
                                       .open = machine_open,
                                       .apply = machine_apply,
                                       .snapshot_begin = copy_begin,
                                       .snapshot_read = copy_read,
                                       .snapshot_end = copy_end,
                                       .restore_begin = copy_begin,
                                       .restore_write = copy_write,
                                       .restore_end = copy_restored};
    return rr_engine_open(&engine, &node->engine, error) == 0 &&
           rr_group_open(node->engine, &group, &machine, &node->group, error) == 0;
}

int story_node_main(const struct story_node_options *options)
{
    static struct story_node node;
    struct rr_error error = {0};
    char line[512];
    node.options = options;
    control_child(&node.control);
    pthread_mutex_init(&node.send_lock, NULL);
    parse_peers(&node);
    if (options->name_space[0] && !soak_net_enter(options->name_space))
        snprintf(error.message, sizeof(error.message), "no namespace %s", options->name_space);
    else
        open_node(&node, &error);
    if (!node.group) {
        control_send(&node.control, "error %s", error.message);
        return 1;
    }
    control_send(&node.control, "ready");
    while (control_read(&node.control, line, sizeof(line), -1) && strcmp(line, "quit") != 0)
        obey(&node, line);
    rr_engine_close(node.engine, RR_CLOSE_ABORT);
    return 0;
}
