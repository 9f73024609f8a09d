/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/log_index.h"

#include "proto/base.h"

#include <stdlib.h>
#include <string.h>

#define CAP_FIRST 16u

void log_index_fini(struct log_index *index)
{
    log_index_truncate(index, 0);
    free(index->terms);
    free(index->conf_changes);
    *index = (struct log_index){.terms = NULL};
}

/* An array with room for one more than `count`; NULL: no memory. */
static void *grow(void *array, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap)
        return array;
    uint32_t larger = *cap ? *cap * 2 : CAP_FIRST;
    void *grown = realloc(array, larger * size);
    if (grown)
        *cap = larger;
    return grown;
}

static int add_conf_change(struct log_index *index, const struct rr_entry *entry)
{
    struct rr_entry *changes = grow(index->conf_changes, index->conf_change_count,
                                    &index->conf_change_cap, sizeof(*changes));
    if (!changes)
        return RR_E_NO_MEMORY;
    index->conf_changes = changes;
    uint8_t *data = malloc(entry->size + 1u); /* one may be without data */
    if (!data)
        return RR_E_NO_MEMORY;
    if (entry->size > 0)
        memcpy(data, entry->data, entry->size);
    changes += index->conf_change_count++;
    *changes = *entry;
    changes->data = data;
    changes->block = NULL;
    changes->wire_size = 0;
    return 0;
}

static void free_data(struct rr_entry *change)
{
    free((void *)(uintptr_t)change->data);
}

int log_index_note(struct log_index *index, const struct rr_entry *entry)
{
    RR_ASSERT(entry->term >= index->last_term);
    if (entry->term != index->last_term) {
        struct log_term *terms =
            grow(index->terms, index->term_count, &index->term_cap, sizeof(*terms));
        if (!terms)
            return RR_E_NO_MEMORY;
        index->terms = terms;
        terms[index->term_count++] = (struct log_term){.first = entry->index, .term = entry->term};
        index->last_term = entry->term;
    }
    return entry->type == RR_ENTRY_NORMAL ? 0 : add_conf_change(index, entry);
}

void log_index_truncate(struct log_index *index, uint64_t from)
{
    while (index->term_count > 0 && index->terms[index->term_count - 1].first >= from)
        index->term_count--;
    index->last_term = index->term_count > 0 ? index->terms[index->term_count - 1].term : 0;
    while (index->conf_change_count > 0 &&
           index->conf_changes[index->conf_change_count - 1].index >= from)
        free_data(&index->conf_changes[--index->conf_change_count]);
}

void log_index_compact(struct log_index *index, uint64_t first)
{
    uint32_t dead = 0;
    while (dead + 1 < index->term_count && index->terms[dead + 1].first <= first)
        dead++;
    if (dead > 0) {
        index->term_count -= dead;
        memmove(index->terms, index->terms + dead, index->term_count * sizeof(index->terms[0]));
    }
    dead = 0;
    while (dead < index->conf_change_count && index->conf_changes[dead].index < first)
        free_data(&index->conf_changes[dead++]);
    if (dead > 0) {
        index->conf_change_count -= dead;
        memmove(index->conf_changes, index->conf_changes + dead,
                index->conf_change_count * sizeof(index->conf_changes[0]));
    }
}

uint64_t log_index_term(const struct log_index *index, uint64_t entry)
{
    RR_ASSERT(index->term_count > 0 && index->terms[0].first <= entry);
    uint32_t low = 0, high = index->term_count; /* terms[low] begins at or below it */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (index->terms[middle].first <= entry)
            low = middle;
        else
            high = middle;
    }
    return index->terms[low].term;
}

bool log_index_has_conf_change(const struct log_index *index, uint64_t lo, uint64_t hi)
{
    for (uint32_t i = 0; i < index->conf_change_count; i++)
        if (index->conf_changes[i].index >= lo && index->conf_changes[i].index < hi)
            return true;
    return false;
}

void log_index_check(const struct log_index *index)
{
    for (uint32_t i = 1; i < index->term_count; i++)
        RR_ASSERT(index->terms[i - 1].first < index->terms[i].first &&
                  index->terms[i - 1].term < index->terms[i].term);
    for (uint32_t i = 1; i < index->conf_change_count; i++)
        RR_ASSERT(index->conf_changes[i - 1].index < index->conf_changes[i].index);
    RR_ASSERT(index->last_term ==
              (index->term_count > 0 ? index->terms[index->term_count - 1].term : 0));
}
