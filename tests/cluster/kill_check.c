/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/cluster/kill_check.h"

#include "tests/cluster/kill_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void grow(uint64_t **array, uint64_t *cap, uint64_t index)
{
    uint64_t new_cap = *cap ? *cap : 4096;
    while (new_cap <= index)
        new_cap *= 2;
    if (new_cap == *cap)
        return;
    *array = realloc(*array, new_cap * sizeof(**array));
    if (!*array)
        abort();
    memset(*array + *cap, 0, (new_cap - *cap) * sizeof(**array));
    *cap = new_cap;
}

bool kill_acks_add(struct kill_acks *acks, uint64_t index, uint64_t id)
{
    grow(&acks->ids, &acks->cap, index);
    if (acks->ids[index] != 0)
        return acks->ids[index] == id;
    acks->ids[index] = id;
    acks->count++;
    return true;
}

/* What all journals together say about each index. */
struct history {
    uint64_t *ids, *chains;
    uint64_t id_cap, chain_cap;
    uint64_t violations;
};

static void merge(struct history *history, const struct kill_applied *line, uint32_t node)
{
    grow(&history->ids, &history->id_cap, line->index);
    grow(&history->chains, &history->chain_cap, line->index);
    uint64_t *id = &history->ids[line->index], *chain = &history->chains[line->index];
    if (*id == 0) {
        *id = line->id;
        *chain = line->chain;
    } else if (*id != line->id || *chain != line->chain) {
        printf("node %u applied another entry, or after another history, at index %llu\n", node,
               (unsigned long long)line->index);
        history->violations++;
    }
}

static void read_journal(struct history *history, const char *dir, uint32_t node)
{
    char path[512];
    struct kill_applied line;
    snprintf(path, sizeof(path), "%s/n%u/journal", dir, node);
    FILE *file = fopen(path, "rb");
    if (!file) {
        printf("%s is missing\n", path);
        history->violations++;
        return;
    }
    while (fread(&line, sizeof(line), 1, file) == 1)
        merge(history, &line, node);
    fclose(file);
}

uint64_t kill_check(const char *dir, const struct kill_acks *acks)
{
    struct history history = {0};
    for (uint32_t node = 1; node <= KILL_NODES; node++)
        read_journal(&history, dir, node);
    for (uint64_t index = 0; index < acks->cap; index++) {
        if (acks->ids[index] == 0)
            continue;
        uint64_t applied = index < history.id_cap ? history.ids[index] : 0;
        if (applied == acks->ids[index])
            continue;
        printf("index %llu: acknowledged id %llx, applied id %llx\n", (unsigned long long)index,
               (unsigned long long)acks->ids[index], (unsigned long long)applied);
        history.violations++;
    }
    free(history.ids);
    free(history.chains);
    return history.violations;
}
