/* SPDX-License-Identifier: Apache-2.0
 *
 * Every operation has a slot from the call to its completion; slots are taken by the client's
 * thread and given back by the apply thread.
 */
#include "tests/soak/soak_node.h"

#include "bench/control.h"
#include "tests/soak/soak_machine.h"
#include "tests/soak/soak_net.h"

#include <fcntl.h>
#include <pthread.h>
#include <ringraft/raft.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS          64u
#define WRITES_MAX     48u /* outstanding; the other slots are for reads */
#define PAYLOAD_MAX    1024u
#define PAUSE_NS       1000000
#define WRITES_AT_ONCE 3u /* per pause, while this node leads */
#define READ_EVERY     4u /* pauses */
#define READ_WAIT_MS   3000u
#define COMMAND_TAG    (1ull << 63) /* and the kind of the completion in the low bits */
#define PEERS_MAX      16u

struct slot {
    _Atomic bool is_busy;
    struct soak_operation operation;
};

struct soak_node {
    const struct soak_node_options *options;
    struct control control;
    pthread_mutex_t send_lock;
    struct soak_machine machine;
    struct rr_engine *engine;
    struct rr_group *group;
    struct slot slots[SLOTS];
    _Atomic uint32_t outstanding;
    _Atomic bool is_writing, is_quitting;
    _Atomic uint64_t write_count, read_count; /* that succeeded */
    int operations;                           /* fd */
    FILE *log;
    uint64_t next_id;
    char data_dir[SOAK_PATH_MAX];
    char peer_text[SOAK_PATH_MAX];
    struct rr_peer_address peers[PEERS_MAX];
    uint32_t peer_count;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- completions and events ---------------------------------------------- */

static void record(struct soak_node *node, struct soak_operation *operation)
{
    operation->completed_ns = now_ns();
    if (write(node->operations, operation, sizeof(*operation)) != sizeof(*operation))
        abort(); /* the run would judge less than was done */
}

static void complete_operation(struct soak_node *node, const struct rr_completion *completion)
{
    struct slot *slot = &node->slots[completion->tag % SLOTS];
    struct soak_operation *operation = &slot->operation;
    if (completion->status == RR_OK && completion->kind == RR_COMPLETION_READ) {
        operation->index = node->machine.state.index;
        operation->value = node->machine.state.registers[operation->key];
        record(node, operation);
        atomic_fetch_add(&node->read_count, 1);
    } else if (completion->status == RR_OK) {
        operation->index = completion->index;
        operation->value = completion->result;
        record(node, operation);
        atomic_fetch_add(&node->write_count, 1);
    }
    atomic_store(&slot->is_busy, false);
    if (completion->kind != RR_COMPLETION_READ)
        atomic_fetch_sub(&node->outstanding, 1);
}

static void on_complete(void *ctx, const struct rr_completion *completions, uint32_t count)
{
    struct soak_node *node = ctx;
    for (uint32_t i = 0; i < count; i++) {
        if (!(completions[i].tag & COMMAND_TAG)) {
            complete_operation(node, &completions[i]);
            continue;
        }
        pthread_mutex_lock(&node->send_lock);
        control_send(&node->control, "done tag=%llu status=%d",
                     (unsigned long long)(completions[i].tag & ~COMMAND_TAG),
                     -(int)completions[i].status);
        pthread_mutex_unlock(&node->send_lock);
    }
}

static void on_log(void *ctx, int level, const char *line)
{
    struct soak_node *node = ctx;
    fprintf(node->log, "%llu %d %s\n", (unsigned long long)(now_ns() / 1000000), level, line);
    fflush(node->log);
}

static void on_event(void *ctx, const struct rr_event *event)
{
    struct soak_node *node = ctx;
    fprintf(node->log, "%llu event %d node %llu term %llu index %llu: %s\n",
            (unsigned long long)(now_ns() / 1000000), (int)event->kind,
            (unsigned long long)event->node, (unsigned long long)event->term,
            (unsigned long long)event->index, event->text ? event->text : "");
    fflush(node->log);
    if (event->kind != RR_EVENT_DIVERGENCE)
        return;
    pthread_mutex_lock(&node->send_lock);
    control_send(&node->control, "diverged node=%llu index=%llu", (unsigned long long)event->node,
                 (unsigned long long)event->index);
    pthread_mutex_unlock(&node->send_lock);
}

/* ---- the client ---------------------------------------------------------- */

static struct slot *take_slot(struct soak_node *node, uint64_t *tag)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (atomic_load(&node->slots[i].is_busy))
            continue;
        atomic_store(&node->slots[i].is_busy, true);
        *tag = i;
        return &node->slots[i];
    }
    return NULL;
}

static void write_one(struct soak_node *node)
{
    uint8_t payload[PAYLOAD_MAX] = {0};
    uint64_t tag;
    struct slot *slot = take_slot(node, &tag);
    if (!slot)
        return;
    struct soak_command command = {.id = node->next_id++};
    uint64_t chance = command.id * 0x9e3779b97f4a7c15ull;
    command.key = (uint32_t)(chance >> 40) % SOAK_KEYS;
    memcpy(payload, &command, sizeof(command));
    uint32_t size = (uint32_t)(sizeof(command) + (chance >> 20) % (PAYLOAD_MAX - sizeof(command)));
    slot->operation =
        (struct soak_operation){.invoked_ns = now_ns(), .id = command.id, .key = command.key};
    atomic_fetch_add(&node->outstanding, 1);
    if (rr_propose(node->group, payload, size, tag) < 0) {
        atomic_fetch_sub(&node->outstanding, 1);
        atomic_store(&slot->is_busy, false);
    }
}

static void read_one(struct soak_node *node)
{
    uint64_t tag;
    struct slot *slot = take_slot(node, &tag);
    if (!slot)
        return;
    slot->operation = (struct soak_operation){.invoked_ns = now_ns(),
                                              .key = (uint32_t)(now_ns() / 7919) % SOAK_KEYS};
    if (rr_read_index(node->group, tag, READ_WAIT_MS) < 0)
        atomic_store(&slot->is_busy, false);
}

static void *run_client(void *ctx)
{
    struct soak_node *node = ctx;
    struct timespec pause = {0, PAUSE_NS};
    for (uint64_t round = 0; !atomic_load(&node->is_quitting); round++) {
        nanosleep(&pause, NULL);
        if (!atomic_load(&node->is_writing))
            continue;
        struct rr_group_status status = {.size = sizeof(status)};
        rr_group_status(node->group, &status);
        for (uint32_t i = 0; i < WRITES_AT_ONCE && status.role == RR_STATE_LEADER; i++)
            if (atomic_load(&node->outstanding) < WRITES_MAX)
                write_one(node);
        if (round % READ_EVERY == 0)
            read_one(node);
    }
    return NULL;
}

/* ---- commands ------------------------------------------------------------ */

static void answer_status(struct soak_node *node)
{
    struct rr_group_status status = {.size = sizeof(status)};
    char voters[256] = "", learners[256] = "";
    rr_group_status(node->group, &status);
    for (uint32_t i = 0; i < status.peer_count; i++) {
        char *list = status.peers[i].role == RR_MEMBER_ROLE_LEARNER ? learners : voters;
        size_t used = strlen(list);
        snprintf(list + used, sizeof(voters) - used, "%s%llu", used ? "," : "",
                 (unsigned long long)status.peers[i].node);
    }
    pthread_mutex_lock(&node->send_lock);
    control_send(&node->control,
                 "status leads=%d lead=%llu term=%llu commit=%llu applied=%llu last=%llu error=%d "
                 "chain=%llu count=%llu writes=%llu reads=%llu snapshot=%llu voters=%s learners=%s",
                 status.role == RR_STATE_LEADER, (unsigned long long)status.lead,
                 (unsigned long long)status.term, (unsigned long long)status.commit,
                 (unsigned long long)status.applied, (unsigned long long)status.last_index,
                 -(int)status.error, (unsigned long long)node->machine.state.chain,
                 (unsigned long long)node->machine.state.count,
                 (unsigned long long)atomic_load(&node->write_count),
                 (unsigned long long)atomic_load(&node->read_count),
                 (unsigned long long)status.snapshot_index, voters, learners);
    pthread_mutex_unlock(&node->send_lock);
}

static void refuse(struct soak_node *node, uint64_t tag, int rc)
{
    pthread_mutex_lock(&node->send_lock);
    control_send(&node->control, "done tag=%llu status=%d", (unsigned long long)tag, -rc);
    pthread_mutex_unlock(&node->send_lock);
}

static void change_members(struct soak_node *node, const char *line)
{
    struct rr_error error;
    char address[SOAK_ADDRESS_MAX] = "";
    uint64_t kind = 0, id = 0, replaced = 0, tag = 0;
    control_u64(line, "kind", &kind);
    control_u64(line, "node", &id);
    control_u64(line, "replaced", &replaced);
    control_u64(line, "tag", &tag);
    control_word(line, "address", address, sizeof(address));
    struct rr_member_change change = {.size = sizeof(change),
                                      .kind = (enum rr_member_change_kind)kind,
                                      .node = id,
                                      .address = address[0] ? address : NULL,
                                      .replaced = replaced};
    int rc = rr_conf_change(node->group, &change, tag | COMMAND_TAG, &error);
    if (rc < 0)
        refuse(node, tag, rc);
}

static void transfer(struct soak_node *node, const char *line)
{
    uint64_t to = 0, tag = 0;
    control_u64(line, "to", &to);
    control_u64(line, "tag", &tag);
    int rc = rr_transfer_leadership(node->group, to, 1000, tag | COMMAND_TAG);
    if (rc < 0)
        refuse(node, tag, rc);
}

static void obey(struct soak_node *node, const char *line)
{
    if (strcmp(line, "status") == 0)
        answer_status(node);
    else if (strcmp(line, "write") == 0)
        atomic_store(&node->is_writing, true);
    else if (strcmp(line, "rest") == 0)
        atomic_store(&node->is_writing, false);
    else if (strncmp(line, "change ", 7) == 0)
        change_members(node, line);
    else if (strncmp(line, "transfer ", 9) == 0)
        transfer(node, line);
}

/* ---- beginning and end --------------------------------------------------- */

static void parse_peers(struct soak_node *node)
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

static bool open_files(struct soak_node *node)
{
    char path[SOAK_PATH_MAX];
    snprintf(path, sizeof(path), "%s/journal", node->options->dir);
    bool is_open = soak_machine_init(&node->machine, path);
    snprintf(path, sizeof(path), "%s/operations", node->options->dir);
    node->operations = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(path, sizeof(path), "%s/log", node->options->dir);
    node->log = fopen(path, "ae");
    snprintf(node->data_dir, sizeof(node->data_dir), "%s/data", node->options->dir);
    return is_open && node->operations >= 0 && node->log;
}

static bool open_node(struct soak_node *node, struct rr_error *error)
{
    const struct soak_node_options *options = node->options;
    struct rr_state_machine machine = soak_machine_interface(&node->machine);
    struct rr_engine_options engine = {.size = sizeof(engine),
                                       .dir = node->data_dir,
                                       .listen = options->address,
                                       .cluster_id = SOAK_CLUSTER,
                                       .node_id = options->node,
                                       .create =
                                           options->joins ? RR_CREATE_JOIN : RR_CREATE_BOOTSTRAP,
                                       .insecure = options->name_space[0] != 0,
                                       .segment_bytes = 1u << 20,
                                       .wal_bytes_max = 32u << 20,
                                       .entry_bytes_max = 64u << 10,
                                       .frame_bytes_max = 1u << 20,
                                       .log_cache_bytes = 4u << 20,
                                       .memory_bytes_max = options->memory_bytes,
                                       .log = on_log,
                                       .log_ctx = node,
                                       .on_event = on_event,
                                       .event_ctx = node};
    if (rr_engine_open(&engine, &node->engine, error) != 0)
        return false;
    struct rr_group_options group = {.size = sizeof(group),
                                     .group_id = SOAK_GROUP,
                                     .peers = node->peers,
                                     .peer_count = node->peer_count,
                                     .proposal_queue_entries = 1024,
                                     .proposal_queue_bytes = 4u << 20,
                                     .apply_backlog_bytes = 4u << 20,
                                     .max_uncommitted_bytes = 4u << 20,
                                     .snapshot_entries = 3000,
                                     .hash_entries = 1000,
                                     .on_complete = on_complete,
                                     .ctx = node};
    return rr_group_open(node->engine, &group, &machine, &node->group, error) == 0;
}

int soak_node_main(const struct soak_node_options *options)
{
    static struct soak_node node;
    struct rr_error error = {0};
    char line[512];
    node.options = options;
    control_child(&node.control);
    pthread_mutex_init(&node.send_lock, NULL);
    node.next_id = options->node << 48 | options->boot << 32 | 1;
    parse_peers(&node);
    if (options->name_space[0] && !soak_net_enter(options->name_space))
        snprintf(error.message, sizeof(error.message), "no namespace %s", options->name_space);
    else if (!open_files(&node))
        snprintf(error.message, sizeof(error.message), "no files in %s", options->dir);
    else
        open_node(&node, &error);
    if (!node.group) {
        control_send(&node.control, "error %s", error.message);
        return 1;
    }
    pthread_t client;
    pthread_create(&client, NULL, run_client, &node);
    control_send(&node.control, "ready");
    while (control_read(&node.control, line, sizeof(line), -1) && strcmp(line, "quit") != 0)
        obey(&node, line);
    atomic_store(&node.is_quitting, true);
    pthread_join(client, NULL);
    rr_engine_close(node.engine, RR_CLOSE_ABORT);
    return 0;
}
