/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer thread keeps DEPTH proposals outstanding; acknowledgements go to the parent as lines
 * `ack id=… index=…` on the control channel, whose bytes survive the death of this process. The
 * journal is written with plain write(2): it has to survive SIGKILL, not power loss.
 */
#include "tests/cluster/kill_node.h"

#include "bench/control.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ringraft/raft.h>
#include <ringraft/ringraft.h>

#define DEPTH       32u
#define PAYLOAD_MAX 2048u

struct machine {
    uint64_t chain;
    uint64_t count;
};

struct cursor {
    struct machine copy;
    size_t at;
};

struct kill_node {
    struct control control;
    pthread_mutex_t send_lock;
    struct machine machine;
    struct rr_engine *engine;
    struct rr_group *group;
    int journal;
    uint64_t next_id;
    _Atomic uint32_t outstanding;
    _Atomic bool is_writing;
    _Atomic bool is_quitting;
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
    struct kill_node *node = ctx;
    for (uint32_t i = 0; i < count; i++) {
        struct kill_applied line = {.index = entries[i].index};
        if (entries[i].size < sizeof(line.id))
            return RR_E_STATE_MACHINE;
        memcpy(&line.id, entries[i].data, sizeof(line.id));
        node->machine.chain =
            (node->machine.chain ^ line.id) * 0x9e3779b97f4a7c15ull + entries[i].index;
        results[i] = ++node->machine.count;
        line.chain = node->machine.chain;
        if (write(node->journal, &line, sizeof(line)) != sizeof(line))
            return RR_E_IO;
    }
    return 0;
}

static int snapshot_begin(void *ctx, void **snapshot)
{
    struct cursor *cursor = calloc(1, sizeof(*cursor));
    if (!cursor)
        return RR_E_NO_MEMORY;
    cursor->copy = ((struct kill_node *)ctx)->machine;
    *snapshot = cursor;
    return 0;
}

static int snapshot_read(void *ctx, void *snapshot, uint8_t *buf, size_t cap, size_t *size)
{
    (void)ctx;
    struct cursor *cursor = snapshot;
    size_t left = sizeof(cursor->copy) - cursor->at;
    *size = left < cap ? left : cap;
    memcpy(buf, (uint8_t *)&cursor->copy + cursor->at, *size);
    cursor->at += *size;
    return 0;
}

static void snapshot_end(void *ctx, void *snapshot)
{
    (void)ctx;
    free(snapshot);
}

static int restore_begin(void *ctx, void **restore)
{
    (void)ctx;
    *restore = calloc(1, sizeof(struct cursor));
    return *restore ? 0 : RR_E_NO_MEMORY;
}

static int restore_write(void *ctx, void *restore, const uint8_t *buf, size_t size)
{
    (void)ctx;
    struct cursor *cursor = restore;
    if (size > sizeof(cursor->copy) - cursor->at)
        return RR_E_CORRUPT;
    memcpy((uint8_t *)&cursor->copy + cursor->at, buf, size);
    cursor->at += size;
    return 0;
}

static int restore_end(void *ctx, void *restore, bool complete)
{
    struct cursor *cursor = restore;
    bool good = complete && (cursor->at == 0 || cursor->at == sizeof(cursor->copy));
    if (good)
        ((struct kill_node *)ctx)->machine = cursor->copy;
    free(restore);
    return good ? 0 : RR_E_CORRUPT;
}

/* ---- the writer ---------------------------------------------------------- */

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct kill_node *node = ctx;
    pthread_mutex_lock(&node->send_lock);
    for (uint32_t i = 0; i < count; i++)
        if (completions[i].status == RR_OK)
            control_send(&node->control, "ack id=%llu index=%llu",
                         (unsigned long long)completions[i].tag,
                         (unsigned long long)completions[i].index);
    pthread_mutex_unlock(&node->send_lock);
    atomic_fetch_sub(&node->outstanding, count);
}

static void *write_entries(void *ctx)
{
    struct kill_node *node = ctx;
    uint8_t payload[PAYLOAD_MAX] = {0};
    struct timespec pause = {0, 200000};
    while (!atomic_load(&node->is_quitting)) {
        struct rr_group_status status = {.size = sizeof(status)};
        rr_group_status(node->group, &status);
        bool may = atomic_load(&node->is_writing) && status.role == RR_STATE_LEADER;
        while (may && atomic_load(&node->outstanding) < DEPTH) {
            uint64_t id = node->next_id++;
            memcpy(payload, &id, sizeof(id));
            atomic_fetch_add(&node->outstanding, 1);
            uint32_t size = 8 + (uint32_t)(id * 2654435761u % (PAYLOAD_MAX - 8));
            if (rr_propose(node->group, payload, size, id) < 0) {
                atomic_fetch_sub(&node->outstanding, 1);
                break;
            }
        }
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static bool open_node(struct kill_node *node, const struct kill_node_options *options,
                      struct rr_error *error)
{
    char addresses[KILL_NODES][32], dir[512];
    struct rr_peer_address peers[KILL_NODES];
    for (uint32_t i = 0; i < KILL_NODES; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", options->ports[i]);
        peers[i] = (struct rr_peer_address){i + 1, addresses[i]};
    }
    snprintf(dir, sizeof(dir), "%s/node", options->dir);
    struct rr_engine_options engine_options = {
        .size = sizeof(engine_options),
        .dir = dir,
        .listen = addresses[options->node - 1],
        .cluster_id = 77,
        .node_id = options->node,
        .create = RR_CREATE_BOOTSTRAP,
        .segment_bytes = 1u << 20,
        .entry_bytes_max = 64u << 10,
    };
    if (rr_engine_open(&engine_options, &node->engine, error) != 0)
        return false;
    struct rr_group_options group_options = {
        .size = sizeof(group_options),
        .group_id = 1,
        .peers = peers,
        .peer_count = KILL_NODES,
        .snapshot_log_bytes = 2u << 20,
        .on_complete = on_complete,
        .ctx = node,
    };
    struct rr_state_machine state_machine = {
        .size = sizeof(state_machine),
        .ctx = node,
        .open = machine_open,
        .apply = machine_apply,
        .snapshot_begin = snapshot_begin,
        .snapshot_read = snapshot_read,
        .snapshot_end = snapshot_end,
        .restore_begin = restore_begin,
        .restore_write = restore_write,
        .restore_end = restore_end,
    };
    return rr_group_open(node->engine, &group_options, &state_machine, &node->group, error) == 0;
}

static void answer_status(struct kill_node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    rr_group_status(node->group, &status);
    pthread_mutex_lock(&node->send_lock);
    control_send(&node->control,
                 "status leads=%d term=%llu commit=%llu applied=%llu last=%llu error=%d chain=%llu "
                 "count=%llu "
                 "outstanding=%u",
                 status.role == RR_STATE_LEADER, (unsigned long long)status.term,
                 (unsigned long long)status.commit, (unsigned long long)status.applied,
                 (unsigned long long)status.last_index, -(int)status.error,
                 (unsigned long long)node->machine.chain, (unsigned long long)node->machine.count,
                 atomic_load(&node->outstanding));
    pthread_mutex_unlock(&node->send_lock);
}

int kill_node_main(const struct kill_node_options *options)
{
    static struct kill_node node;
    struct rr_error error = {0};
    char path[512], line[256];
    control_child(&node.control);
    pthread_mutex_init(&node.send_lock, NULL);
    node.next_id = options->node << 56 | options->boot << 40 | 1;
    snprintf(path, sizeof(path), "%s/journal", options->dir);
    node.journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (node.journal < 0 || !open_node(&node, options, &error)) {
        control_send(&node.control, "error %s", error.message);
        return 1;
    }
    pthread_t writer;
    pthread_create(&writer, NULL, write_entries, &node);
    control_send(&node.control, "ready");
    while (control_read(&node.control, line, sizeof(line), -1) && strcmp(line, "quit") != 0) {
        if (strcmp(line, "status") == 0)
            answer_status(&node);
        else if (strcmp(line, "write") == 0)
            atomic_store(&node.is_writing, true);
        else if (strcmp(line, "rest") == 0)
            atomic_store(&node.is_writing, false);
    }
    atomic_store(&node.is_quitting, true);
    pthread_join(writer, NULL);
    rr_engine_close(node.engine, RR_CLOSE_ABORT);
    return 0;
}
