/* SPDX-License-Identifier: Apache-2.0
 *
 * The bare core: three rr_raw_node in one process, on a storage and a transport of our own, both in
 * memory. To drive a core: as long as it has a Ready, store what that says, then send, then apply,
 * then advance.     raw_core
 */
#include <ringraft/raft.h>

#include <stdio.h>
#include <stdlib.h>

#define NODES   3
#define ENTRIES 10
#define LOG_MAX 64

struct node {
    struct rr_raw_node *raw;
    struct rr_entry log[LOG_MAX]; /* never compacted: log[i] has index i + 1 */
    uint64_t log_count;
    struct rr_hard_state hard_state;
    unsigned applied; /* entries with content: all that this state machine knows */
};

static struct node nodes[NODES];
static const uint64_t ids[NODES] = {1, 2, 3};

/* ---- the storage that the core reads ------------------------------------- */

static int initial_state(void *ctx, struct rr_hard_state *hard, struct rr_conf_state *conf)
{
    *hard = ((struct node *)ctx)->hard_state;
    *conf = (struct rr_conf_state){.voters = ids, .voter_count = NODES};
    return 0;
}

static int entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_size,
                   struct rr_entry_spans *out)
{
    const struct rr_entry *first = &((struct node *)ctx)->log[lo - 1];
    size_t count = 1; /* the first one in any case; an entry's head takes at most 32 bytes */
    for (uint64_t size = first->size + 32; lo + count < hi; count++) {
        size += first[count].size + 32;
        if (size > max_size)
            break;
    }
    *out = (struct rr_entry_spans){.first = first, .first_count = count};
    return 0;
}

static int term(void *ctx, uint64_t index, uint64_t *out)
{
    const struct node *node = ctx;
    if (index > node->log_count)
        return RR_E_UNAVAILABLE;
    *out = index == 0 ? 0 : node->log[index - 1].term;
    return 0;
}

static int last_index(void *ctx, uint64_t *index)
{
    *index = ((struct node *)ctx)->log_count;
    return 0;
}

static int first_index(void *ctx, uint64_t *index)
{
    (void)ctx;
    *index = 1;
    return 0;
}

static int snapshot(void *ctx, const struct rr_snapshot **out)
{
    (void)ctx;
    (void)out;
    return RR_E_SNAPSHOT_TEMPORARILY_UNAVAILABLE; /* nobody needs one of a whole log */
}

static const struct rr_storage_ops storage = {initial_state, entries,  term, last_index,
                                              first_index,   snapshot, NULL};

/* ---- memory: the core asks for all of it here ---------------------------- */

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    return realloc(ptr, new_size);
}

static void heap_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    (void)size;
    free(ptr);
}

/* ---- driving ------------------------------------------------------------- */

/* What must be durable before a message leaves; here it is only remembered. A new entry replaces
 * those from its index on. The payloads outlive the nodes; a real storage copies them, or keeps
 * their blocks (rr_block_get). */
static void store(struct node *node, const struct rr_ready *ready)
{
    if (ready->hard_state)
        node->hard_state = *ready->hard_state;
    for (uint32_t i = 0; i < ready->entry_count; i++) {
        node->log_count = ready->entries[i].index;
        if (node->log_count > LOG_MAX)
            abort(); /* a real storage takes a snapshot and compacts */
        node->log[node->log_count - 1] = ready->entries[i];
    }
}

static void drive(struct node *node)
{
    struct rr_ready ready;
    rr_raw_node_ready(node->raw, &ready);
    store(node, &ready);
    /* The transport. What comes from a network is shown to rr_raw_node_validate_message first. */
    for (uint32_t i = 0; i < ready.message_count; i++)
        rr_raw_node_step(nodes[ready.messages[i].to - 1].raw, &ready.messages[i]);
    for (uint32_t i = 0; i < ready.committed_entry_count; i++)
        node->applied += ready.committed_entries[i].size > 0;
    rr_raw_node_advance(node->raw);
}

static void settle(void)
{
    for (int i = 0; i < NODES; i++) {
        if (rr_raw_node_has_ready(nodes[i].raw)) {
            drive(&nodes[i]);
            i = -1; /* it may have woken the others */
        }
    }
}

int main(void)
{
    static char payloads[ENTRIES][16];
    struct rr_basic_status status = {.id = 0};
    for (int i = 0; i < NODES; i++) {
        struct rr_config config = {.size = sizeof(config),
                                   .id = ids[i],
                                   .election_tick = 10,
                                   .heartbeat_tick = 1,
                                   .storage = {&storage, &nodes[i]},
                                   .max_size_per_msg = 1 << 20,
                                   .max_inflight_msgs = 256,
                                   .allocator = {heap_alloc, heap_resize, heap_free, NULL}};
        if (rr_raw_node_new(&config, &nodes[i].raw, NULL) != 0)
            return 1;
    }
    while (status.soft_state.lead == RR_NONE) { /* a clock would tick */
        for (int i = 0; i < NODES; i++)
            rr_raw_node_tick(nodes[i].raw);
        settle();
        rr_raw_node_basic_status(nodes[0].raw, &status);
    }
    for (int i = 0; i < ENTRIES; i++) { /* any node takes them: followers forward */
        int size = snprintf(payloads[i], sizeof(payloads[i]), "entry %d", i);
        rr_raw_node_propose(nodes[i % NODES].raw, (const uint8_t *)payloads[i], (uint32_t)size,
                            NULL);
    }
    settle();
    for (int i = 0; i < NODES; i++) {
        printf("node %d applied %u entries\n", i + 1, nodes[i].applied);
        rr_raw_node_free(nodes[i].raw);
    }
    return 0;
}
