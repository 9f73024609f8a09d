/* SPDX-License-Identifier: Apache-2.0
 *
 * Three thread-safe nodes under everything at once: a consumer thread each, a ticker, proposers
 * that cancel now and then, somebody who transfers leadership, campaigns and asks, lost messages;
 * stopped under load. For the thread sanitizer, and for what must hold in any interleaving: all
 * nodes apply the same entries, none twice, none that was said not to be in the log, and every
 * accepted proposal has exactly one outcome.
 */
#include <ringraft/node.h>

#include "tests/unit/check.h"
#include "tests/unit/raft_heap.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define NODES        3
#define PROPOSERS    2
#define TAGS         (1u << 16) /* per proposer, at most */
#define APPLIED_MAX  (PROPOSERS * TAGS + (1u << 12))
#define APPLIED_GOAL 1500
#define DISTURB_GOAL 400 /* rounds, each at least a millisecond */
#define WAIT_MS_MAX  90000

struct member {
    struct rr_node *node;
    struct rr_memory_storage *storage;
    struct raft_heap heap; /* not atomic: all its uses must be under the node's lock */
    uint64_t applied_index;
    uint64_t *applied; /* tags */
    _Atomic uint32_t applied_count;
    uint64_t random;
};

static struct member members[NODES];
static _Atomic uint8_t outcome_counts[PROPOSERS * TAGS];
static _Atomic int8_t statuses[PROPOSERS * TAGS]; /* of the outcome */
static bool is_accepted[PROPOSERS * TAGS];        /* each written by its proposer */
static _Atomic uint32_t disturb_count;
static _Atomic bool is_over;

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % bound;
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* ---- the consumer ---------------------------------------------------------- */

static void take_outcomes(struct member *m)
{
    struct rr_node_outcome outcomes[16];
    uint32_t count;
    while ((count = rr_node_take_outcomes(m->node, outcomes, 16)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            atomic_store(&statuses[outcomes[i].tag], (int8_t)outcomes[i].status);
            atomic_fetch_add(&outcome_counts[outcomes[i].tag], 1);
        }
    }
}

static void store(struct member *m, const struct rr_ready *ready)
{
    rr_node_lock(m->node);
    if (ready->hard_state)
        rr_memory_storage_set_hard_state(m->storage, ready->hard_state);
    rr_memory_storage_append(m->storage, ready->entries, ready->entry_count);
    rr_node_unlock(m->node);
}

static void send_all(struct member *m, const struct rr_ready *ready)
{
    for (uint32_t i = 0; i < ready->message_count; i++) {
        const struct rr_message *message = &ready->messages[i];
        CHECK(message->to >= 1 && message->to <= NODES);
        if (random_below(&m->random, 64) == 0) {
            rr_node_report_unreachable(m->node, message->to);
            continue;
        }
        int err = rr_node_step(members[message->to - 1].node, message);
        CHECK(err == 0 || err == RR_E_STOPPED || err == RR_E_PROPOSAL_DROPPED);
    }
}

static void apply(struct member *m, const struct rr_entry *entries, uint32_t count)
{
    uint32_t applied = atomic_load(&m->applied_count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ_U64(entries[i].index, m->applied_index + 1);
        m->applied_index++;
        if (entries[i].size == 0)
            continue;
        CHECK(entries[i].size == sizeof(uint64_t) && applied < APPLIED_MAX);
        memcpy(&m->applied[applied++], entries[i].data, sizeof(uint64_t));
    }
    atomic_store(&m->applied_count, applied);
}

static void *consume(void *arg)
{
    struct member *m = arg;
    struct pollfd fd = {.fd = rr_node_ready_fd(m->node), .events = POLLIN};
    for (;;) {
        CHECK(poll(&fd, 1, WAIT_MS_MAX) == 1);
        take_outcomes(m);
        struct rr_ready ready;
        int err = rr_node_ready(m->node, &ready);
        if (err == RR_E_STOPPED)
            break;
        if (err == RR_E_NOT_FOUND)
            continue;
        CHECK(err == 0 && ready.snapshot == NULL);
        store(m, &ready);
        send_all(m, &ready);
        apply(m, ready.committed_entries, ready.committed_entry_count);
        err = rr_node_advance(m->node);
        CHECK(err == 0 || err == RR_E_STOPPED);
    }
    take_outcomes(m);
    return NULL;
}

/* ---- the others ------------------------------------------------------------- */

static void *tick(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over)) {
        for (int i = 0; i < NODES; i++)
            rr_node_tick(members[i].node);
        pause_ms(1);
    }
    return NULL;
}

static void *propose(void *arg)
{
    uint64_t first = *(const uint32_t *)arg * (uint64_t)TAGS;
    uint64_t random = first + 1;
    for (uint64_t tag = first; tag < first + TAGS;) {
        struct member *m = &members[random_below(&random, NODES)];
        struct rr_node_wait wait = {.tag = tag, .ticks = random_below(&random, 50)};
        uint64_t payload = tag;
        int err = rr_node_propose(m->node, (const uint8_t *)&payload, sizeof(payload), &wait);
        if (err == RR_E_STOPPED)
            break;
        CHECK(err == 0 || err == RR_E_BUSY);
        if (err == 0)
            is_accepted[tag++] = true;
        else
            pause_ms(1);
        if (random_below(&random, 8) == 0) {
            err = rr_node_cancel(m->node, tag - random_below(&random, 4));
            CHECK(err == 0 || err == RR_E_NOT_FOUND || err == RR_E_STOPPED);
        }
    }
    return NULL;
}

static void *disturb(void *arg)
{
    uint64_t random = 7;
    (void)arg;
    while (!atomic_load(&is_over)) {
        struct rr_node *node = members[random_below(&random, NODES)].node;
        struct rr_node_status status;
        struct rr_progress_status progress[NODES];
        uint32_t count;
        rr_node_status(node, &status);
        rr_node_progress(node, progress, NODES, &count);
        rr_node_read_index(node, (const uint8_t *)&random, sizeof(random));
        switch (random_below(&random, 64)) {
        case 0:
            rr_node_campaign(node);
            break;
        case 1:
            rr_node_forget_leader(node);
            break;
        case 2:
        case 3:
            rr_node_transfer_leader(node, 1 + random_below(&random, NODES));
            break;
        default:
            break;
        }
        atomic_fetch_add(&disturb_count, 1);
        pause_ms(1);
    }
    return NULL;
}

/* ---- the test ----------------------------------------------------------------- */

static void open_member(uint32_t i)
{
    static const uint64_t ids[NODES] = {1, 2, 3};
    struct member *m = &members[i];
    struct rr_allocator allocator = raft_heap_allocator(&m->heap);
    m->storage = rr_memory_storage_new(&allocator);
    m->applied = calloc(APPLIED_MAX, sizeof(*m->applied));
    m->applied_index = 1;
    m->random = i + 1;
    const struct rr_snapshot snapshot = {
        .metadata = {.index = 1, .term = 1, .conf_state = {.voters = ids, .voter_count = NODES}}};
    CHECK(rr_memory_storage_apply_snapshot(m->storage, &snapshot) == 0);
    const struct rr_config config = {.size = sizeof(config),
                                     .id = i + 1,
                                     .election_tick = 20,
                                     .heartbeat_tick = 2,
                                     .storage = rr_memory_storage_interface(m->storage),
                                     .max_size_per_msg = 4096,
                                     .max_inflight_msgs = 16,
                                     .check_quorum = true,
                                     .pre_vote = true,
                                     .allocator = allocator,
                                     .seed = 1};
    const struct rr_node_options options = {
        .size = sizeof(options), .config = &config, .proposals_max = 64};
    CHECK(rr_node_new(&options, &m->node, NULL) == 0);
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    CHECK(pthread_create(thread, NULL, run, arg) == 0);
}

static bool is_enough(void)
{
    for (int i = 0; i < NODES; i++) {
        if (atomic_load(&members[i].applied_count) < APPLIED_GOAL)
            return false;
    }
    return atomic_load(&disturb_count) >= DISTURB_GOAL;
}

static void run_all(void)
{
    static uint32_t proposer_ids[PROPOSERS] = {0, 1};
    pthread_t consumers[NODES], proposers[PROPOSERS], ticker, disturber;
    for (int i = 0; i < NODES; i++)
        start(&consumers[i], consume, &members[i]);
    for (int i = 0; i < PROPOSERS; i++)
        start(&proposers[i], propose, &proposer_ids[i]);
    start(&ticker, tick, NULL);
    start(&disturber, disturb, NULL);

    for (int waited = 0; !is_enough(); waited += 5) {
        CHECK(waited < WAIT_MS_MAX);
        pause_ms(5);
    }
    for (int i = 0; i < NODES; i++)
        rr_node_stop(members[i].node);
    atomic_store(&is_over, true);
    for (int i = 0; i < NODES; i++)
        pthread_join(consumers[i], NULL);
    for (int i = 0; i < PROPOSERS; i++)
        pthread_join(proposers[i], NULL);
    pthread_join(ticker, NULL);
    pthread_join(disturber, NULL);
}

static void check_applied(const struct member *m, const struct member *other)
{
    static uint8_t seen[PROPOSERS * TAGS];
    memset(seen, 0, sizeof(seen));
    uint32_t count = m->applied_count;
    uint32_t common = count < other->applied_count ? count : other->applied_count;
    CHECK(memcmp(m->applied, other->applied, common * sizeof(*m->applied)) == 0);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t tag = m->applied[i];
        CHECK(is_accepted[tag]);
        CHECK_EQ_U64(seen[tag], 0);
        CHECK_EQ_U64(statuses[tag], 0);
        seen[tag] = 1;
    }
}

static void test_nodes_agree_whatever_the_threads_do(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        open_member(i);
    run_all();
    for (int i = 0; i < NODES; i++)
        check_applied(&members[i], &members[(i + 1) % NODES]);
    for (uint32_t tag = 0; tag < PROPOSERS * TAGS; tag++)
        CHECK_EQ_U64(outcome_counts[tag], is_accepted[tag]);
    for (int i = 0; i < NODES; i++) {
        rr_node_free(members[i].node);
        rr_memory_storage_free(members[i].storage);
        free(members[i].applied);
        CHECK_EQ_U64(members[i].heap.outstanding, 0);
    }
}

int main(void)
{
    RUN(test_nodes_agree_whatever_the_threads_do);
    return 0;
}
