/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks. Every table is indexed by what it is about and only ever grows.
 */
#include "tests/sim/oracle.h"

#include "io/sim/sim_random.h"
#include "tests/sim/failure.h"

#include <stdlib.h>

typedef unsigned long long ull;

struct oracle_content {
    uint64_t index; /* 0: free */
    uint64_t term;
    uint64_t hash;
};

/* `array` has room for `index`; what is new is zero. */
static void *reach(void *array, uint64_t *cap, uint64_t index, size_t size)
{
    if (index < *cap)
        return array;
    uint64_t more = rr_max_u64(2 * *cap, index + 256);
    uint8_t *grown = realloc(array, more * size);
    RR_ASSERT(grown);
    memset(grown + *cap * size, 0, (more - *cap) * size);
    *cap = more;
    return grown;
}

static struct oracle_index *at_index(struct oracle *oracle, uint64_t index)
{
    oracle->indexes = reach(oracle->indexes, &oracle->index_cap, index, sizeof(oracle->indexes[0]));
    return &oracle->indexes[index];
}

/* ---- one content per (index, term) --------------------------------------- */

static struct oracle_content *find_content(const struct oracle *oracle, uint64_t index,
                                           uint64_t term)
{
    uint64_t at = hash_mix(hash_mix(0, index), term);
    for (;; at++) {
        struct oracle_content *content = &oracle->contents[at & (oracle->content_cap - 1)];
        if (content->index == 0 || (content->index == index && content->term == term))
            return content;
    }
}

static void grow_contents(struct oracle *oracle)
{
    struct oracle_content *old = oracle->contents;
    uint64_t old_cap = oracle->content_cap;

    oracle->content_cap = old_cap ? 2 * old_cap : 4096;
    oracle->contents = calloc(oracle->content_cap, sizeof(oracle->contents[0]));
    RR_ASSERT(oracle->contents);
    for (uint64_t i = 0; i < old_cap; i++)
        if (old[i].index != 0)
            *find_content(oracle, old[i].index, old[i].term) = old[i];
    free(old);
}

static void on_durable_entry(void *ctx, uint64_t index, const struct durable_entry *entry)
{
    struct oracle *oracle = ctx;

    if (2 * oracle->content_count >= oracle->content_cap)
        grow_contents(oracle);
    struct oracle_content *content = find_content(oracle, index, entry->term);
    if (content->index == 0) {
        *content = (struct oracle_content){index, entry->term, entry->hash};
        oracle->content_count++;
    } else if (content->hash != entry->hash) {
        failure_report("two contents of entry %llu of term %llu are durable", (ull)index,
                       (ull)entry->term);
    }
}

void oracle_init(struct oracle *oracle, struct sim *sim, uint32_t node_count,
                 const char *const *dirs)
{
    *oracle = (struct oracle){.node_count = node_count};
    for (uint32_t i = 0; i < node_count; i++) {
        durable_log_init(&oracle->logs[i], sim, i + 1, dirs[i]);
        oracle->logs[i].ctx = oracle;
        oracle->logs[i].on_entry = on_durable_entry;
    }
}

void oracle_fini(struct oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->node_count; i++) {
        durable_log_fini(&oracle->logs[i]);
        free(oracle->votes[i]);
    }
    free(oracle->leaders);
    free(oracle->indexes);
    free(oracle->contents);
}

/* ---- elections ----------------------------------------------------------- */

void oracle_vote(struct oracle *oracle, uint32_t node, uint64_t term, uint64_t vote)
{
    struct durable_log *log = &oracle->logs[node - 1];

    oracle->vote_count++;
    durable_log_advance(log);
    if (log->term < term || (log->term == term && log->vote != vote))
        failure_report("node %u votes for %llu in term %llu; durable is term %llu, vote %llu", node,
                       (ull)vote, (ull)term, (ull)log->term, (ull)log->vote);
    uint64_t **votes = &oracle->votes[node - 1];
    *votes = reach(*votes, &oracle->vote_cap[node - 1], term, sizeof(uint64_t));
    if ((*votes)[term] != 0 && (*votes)[term] != vote)
        failure_report("node %u voted for %llu and for %llu in term %llu", node,
                       (ull)(*votes)[term], (ull)vote, (ull)term);
    (*votes)[term] = vote;
}

void oracle_leader(struct oracle *oracle, uint32_t node, uint64_t term)
{
    oracle->election_count++;
    oracle->leaders = reach(oracle->leaders, &oracle->leader_cap, term, sizeof(uint64_t));
    if (oracle->leaders[term] != 0)
        failure_report("node %u leads term %llu, which node %llu led", node, (ull)term,
                       (ull)oracle->leaders[term]);
    oracle->leaders[term] = node;
}

/* ---- commit and apply ---------------------------------------------------- */

void oracle_commit(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t term)
{
    struct oracle_index *at = at_index(oracle, index);

    if (at->committed_term != 0 && at->committed_term != term)
        failure_report("node %u commits entry %llu of term %llu; committed was that of term %llu",
                       node, (ull)index, (ull)term, (ull)at->committed_term);
    at->committed_term = term;
    oracle->commit_max = rr_max_u64(oracle->commit_max, index);
}

void oracle_apply(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t chain)
{
    struct oracle_index *at = at_index(oracle, index);

    if (at->committed_term == 0)
        failure_report("node %u applies entry %llu, which nobody committed", node, (ull)index);
    if (at->chain != 0 && at->chain != chain)
        failure_report("node %u has another state than others behind entry %llu", node, (ull)index);
    at->chain = chain;
}

void oracle_restore(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t chain)
{
    if (index == 0)
        return; /* the fresh state machine of BOOTSTRAP */
    if (at_index(oracle, index)->chain != chain)
        failure_report("node %u restores a state behind entry %llu that no node had", node,
                       (ull)index);
}

void oracle_acknowledge(struct oracle *oracle, uint32_t node, uint64_t index, uint64_t term,
                        uint64_t chain)
{
    const struct oracle_index *at = at_index(oracle, index);
    uint32_t count = 0;

    if (at->committed_term != term || at->chain != chain)
        failure_report("node %u acknowledges entry %llu of term %llu; committed there is term %llu",
                       node, (ull)index, (ull)term, (ull)at->committed_term);
    for (uint32_t i = 0; i < oracle->node_count; i++) {
        durable_log_advance(&oracle->logs[i]);
        count += durable_log_has(&oracle->logs[i], index, term);
    }
    if (count < oracle->node_count / 2 + 1)
        failure_report("node %u acknowledges entry %llu of term %llu, durable on %u of %u disks",
                       node, (ull)index, (ull)term, count, oracle->node_count);
    oracle->acknowledged_max = rr_max_u64(oracle->acknowledged_max, index);
}
