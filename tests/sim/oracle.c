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

static uint64_t *at_number(struct oracle_table *table, uint64_t number)
{
    table->values = reach(table->values, &table->cap, number, sizeof(table->values[0]));
    return &table->values[number];
}

static struct oracle_index *at_index(struct oracle_group *group, uint64_t index)
{
    group->indexes = reach(group->indexes, &group->index_cap, index, sizeof(group->indexes[0]));
    return &group->indexes[index];
}

/* ---- one content per (index, term) --------------------------------------- */

static struct oracle_content *find_content(const struct oracle_group *group, uint64_t index,
                                           uint64_t term)
{
    uint64_t at = hash_mix(hash_mix(0, index), term);
    for (;; at++) {
        struct oracle_content *content = &group->contents[at & (group->content_cap - 1)];
        if (content->index == 0 || (content->index == index && content->term == term))
            return content;
    }
}

static void grow_contents(struct oracle_group *group)
{
    struct oracle_content *old = group->contents;
    uint64_t old_cap = group->content_cap;

    group->content_cap = old_cap ? 2 * old_cap : 4096;
    group->contents = calloc(group->content_cap, sizeof(group->contents[0]));
    RR_ASSERT(group->contents);
    for (uint64_t i = 0; i < old_cap; i++)
        if (old[i].index != 0)
            *find_content(group, old[i].index, old[i].term) = old[i];
    free(old);
}

static void on_durable_entry(void *ctx, uint32_t slot, uint64_t index,
                             const struct durable_entry *entry)
{
    struct oracle_group *group = &((struct oracle *)ctx)->groups[slot];

    if (2 * group->content_count >= group->content_cap)
        grow_contents(group);
    struct oracle_content *content = find_content(group, index, entry->term);
    if (content->index == 0) {
        *content = (struct oracle_content){index, entry->term, entry->hash};
        group->content_count++;
    } else if (content->hash != entry->hash) {
        failure_report("two contents of entry %llu of term %llu are durable", (ull)index,
                       (ull)entry->term);
    }
}

static void on_durable_change(void *ctx, uint32_t slot, const struct rr_entry *entry)
{
    configs_note(&((struct oracle *)ctx)->groups[slot].configs, entry);
}

void oracle_init(struct oracle *oracle, struct sim *sim, const struct plan *plan,
                 const char *const *dirs)
{
    *oracle = (struct oracle){.node_count = plan->node_count,
                              .has_changes = plan->change_interval_ns != 0};
    for (uint32_t i = 0; i < plan->node_count; i++) {
        struct durable_log *log = &oracle->logs[i];
        durable_log_init(log, sim, i + 1, dirs[i]);
        log->first_group = plan->group.group_id;
        log->group_count = plan->group_count;
        log->ctx = oracle;
        log->on_entry = on_durable_entry;
        log->on_change = on_durable_change;
        oracle->ids[i] = i + 1;
    }
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++)
        configs_init(&oracle->groups[slot].configs, plan->voter_count);
}

void oracle_fini(struct oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->node_count; i++)
        durable_log_fini(&oracle->logs[i]);
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++) {
        struct oracle_group *group = &oracle->groups[slot];
        for (uint32_t i = 0; i < PLAN_NODES_MAX; i++)
            free(group->votes[i].values);
        free(group->leaders.values);
        configs_fini(&group->configs);
        free(group->indexes);
        free(group->contents);
    }
}

/* ---- members ------------------------------------------------------------- */

void oracle_renew(struct oracle *oracle, uint32_t machine, uint64_t id)
{
    durable_log_renew(&oracle->logs[machine - 1]);
    oracle->ids[machine - 1] = id;
    for (uint32_t slot = 0; slot < PLAN_GROUPS_MAX; slot++) {
        struct oracle_table *votes = &oracle->groups[slot].votes[machine - 1];
        if (votes->cap)
            memset(votes->values, 0, votes->cap * sizeof(votes->values[0]));
    }
}

static uint64_t committed_term(void *ctx, uint64_t index)
{
    return at_index(ctx, index)->committed_term;
}

const struct config *oracle_config(struct oracle *oracle, uint32_t slot)
{
    struct oracle_group *group = &oracle->groups[slot];
    for (uint32_t i = 0; i < oracle->node_count; i++)
        durable_log_advance(&oracle->logs[i]);
    configs_advance(&group->configs, group->commit_max, committed_term, group);
    return configs_last(&group->configs);
}

/* ---- elections ----------------------------------------------------------- */

void oracle_vote(struct oracle *oracle, struct oracle_source from, uint64_t term, uint64_t vote)
{
    struct durable_log *log = &oracle->logs[from.node - 1];
    const struct durable_group *durable = &log->groups[from.slot];

    oracle->vote_count++;
    durable_log_advance(log);
    if (durable->term < term || (durable->term == term && durable->vote != vote))
        failure_report("node %u votes for %llu in term %llu; durable is term %llu, vote %llu",
                       from.node, (ull)vote, (ull)term, (ull)durable->term, (ull)durable->vote);
    uint64_t *before = at_number(&oracle->groups[from.slot].votes[from.node - 1], term);
    if (*before != 0 && *before != vote)
        failure_report("node %u voted for %llu and for %llu in term %llu", from.node, (ull)*before,
                       (ull)vote, (ull)term);
    *before = vote;
}

void oracle_leader(struct oracle *oracle, struct oracle_source from, uint64_t term,
                   const struct oracle_log *log)
{
    struct oracle_group *group = &oracle->groups[from.slot];
    uint64_t *leader = at_number(&group->leaders, term);

    oracle->election_count++;
    if (*leader != 0)
        failure_report("node %u leads term %llu, which node %llu led", from.node, (ull)term,
                       (ull)*leader);
    *leader = from.node;
    for (uint64_t index = log->first; index <= group->commit_max; index++) {
        uint64_t committed = at_index(group, index)->committed_term;
        /* Who is elected late may lack what leaders of later terms committed. */
        if (committed != 0 && committed < term && log->term_at(log->ctx, index) != committed)
            failure_report("node %u leads term %llu and lacks entry %llu, committed in term %llu",
                           from.node, (ull)term, (ull)index, (ull)committed);
    }
}

/* ---- commit and apply ---------------------------------------------------- */

void oracle_commit(struct oracle *oracle, struct oracle_source from, uint64_t index, uint64_t term)
{
    struct oracle_group *group = &oracle->groups[from.slot];
    struct oracle_index *at = at_index(group, index);

    /* A change of members is read before it can be compacted away. */
    if (oracle->has_changes)
        durable_log_advance(&oracle->logs[from.node - 1]);
    if (at->committed_term != 0 && at->committed_term != term)
        failure_report("node %u commits entry %llu of term %llu; committed was that of term %llu",
                       from.node, (ull)index, (ull)term, (ull)at->committed_term);
    at->committed_term = term;
    group->commit_max = rr_max_u64(group->commit_max, index);
}

void oracle_apply(struct oracle *oracle, struct oracle_source from, uint64_t index, uint64_t chain)
{
    struct oracle_index *at = at_index(&oracle->groups[from.slot], index);

    if (at->committed_term == 0)
        failure_report("node %u applies entry %llu, which nobody committed", from.node, (ull)index);
    if (at->chain != 0 && at->chain != chain)
        failure_report("node %u has another state than others behind entry %llu", from.node,
                       (ull)index);
    at->chain = chain;
}

void oracle_restore(struct oracle *oracle, struct oracle_source from, uint64_t index,
                    uint64_t chain)
{
    if (index == 0)
        return; /* the fresh state machine of BOOTSTRAP */
    if (at_index(&oracle->groups[from.slot], index)->chain != chain)
        failure_report("node %u restores a state behind entry %llu that no node had", from.node,
                       (ull)index);
}

struct holding {
    struct oracle *oracle;
    uint32_t slot;
    uint64_t index, term;
};

/* A node whose directory is gone was a member of an earlier configuration: it had what it said. */
static bool holds(void *ctx, uint64_t id)
{
    const struct holding *what = ctx;
    const struct oracle *oracle = what->oracle;
    uint32_t machine = oracle_machine(id);
    return oracle->ids[machine - 1] != id ||
           durable_log_has(&oracle->logs[machine - 1], what->slot, what->index, what->term);
}

/* By the configuration behind all changes before the entry, or the one before that. */
static bool is_on_quorum(struct oracle *oracle, struct oracle_group *group, struct holding *what)
{
    struct configs *configs = &group->configs;
    for (uint32_t i = 0; i < oracle->node_count; i++)
        durable_log_advance(&oracle->logs[i]);
    configs_advance(configs, what->index, committed_term, group);
    uint32_t k = configs->count - 1;
    while (k > 0 && configs->list[k].index >= what->index)
        k--;
    return config_has_quorum(&configs->list[k], holds, what) ||
           (k > 0 && config_has_quorum(&configs->list[k - 1], holds, what));
}

void oracle_acknowledge(struct oracle *oracle, struct oracle_source from, uint64_t index,
                        uint64_t term, uint64_t chain)
{
    struct oracle_group *group = &oracle->groups[from.slot];
    const struct oracle_index *at = at_index(group, index);
    struct holding what = {oracle, from.slot, index, term};

    if (at->committed_term != term || at->chain != chain)
        failure_report("node %u acknowledges entry %llu of term %llu; committed there is term %llu",
                       from.node, (ull)index, (ull)term, (ull)at->committed_term);
    if (!is_on_quorum(oracle, group, &what))
        failure_report("node %u acknowledges entry %llu of term %llu, which is not durable on a "
                       "quorum",
                       from.node, (ull)index, (ull)term);
    group->acknowledged_max = rr_max_u64(group->acknowledged_max, index);
}
