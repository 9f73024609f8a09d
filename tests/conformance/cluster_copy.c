/* SPDX-License-Identifier: Apache-2.0
 *
 * Deep copies into scenario memory: what a core lends is valid until the next call into it, while
 * messages stay in flight for as long as the story wants.
 */
#include "tests/conformance/cluster.h"

#include <string.h>

static const uint64_t *copy_ids(struct scenario_memory *memory, const uint64_t *from,
                                uint32_t count)
{
    return (const uint64_t *)(void *)scenario_copy(memory, from, count * sizeof(*from));
}

struct rr_conf_state copy_conf_state(struct scenario_memory *memory,
                                     const struct rr_conf_state *from)
{
    struct rr_conf_state copy = *from;
    copy.voters = copy_ids(memory, from->voters, from->voter_count);
    copy.learners = copy_ids(memory, from->learners, from->learner_count);
    copy.voters_outgoing = copy_ids(memory, from->voters_outgoing, from->voter_outgoing_count);
    copy.learners_next = copy_ids(memory, from->learners_next, from->learner_next_count);
    return copy;
}

/* NULL stays NULL: whether bytes are there is not the same as how many there are. */
static const uint8_t *copy_bytes(struct scenario_memory *memory, const uint8_t *from, size_t size)
{
    return from ? (const uint8_t *)scenario_copy(memory, from, size) : NULL;
}

const struct rr_snapshot *copy_snapshot(struct scenario_memory *memory,
                                        const struct rr_snapshot *from)
{
    struct rr_snapshot *copy = scenario_alloc(memory, sizeof(*copy));
    *copy = *from;
    copy->metadata.conf_state = copy_conf_state(memory, &from->metadata.conf_state);
    copy->data = copy_bytes(memory, from->data, from->size);
    copy->block = NULL;
    return copy;
}

struct entry_list copy_entries(struct scenario_memory *memory, const struct rr_entry *from,
                               uint32_t count)
{
    struct rr_entry *copies = scenario_array(memory, count, sizeof(*copies));
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = from[i];
        copies[i].data = copy_bytes(memory, from[i].data, from[i].size);
        copies[i].block = NULL;
        copies[i].wire_size = 0;
    }
    return (struct entry_list){copies, count};
}

const struct rr_message *copy_message(struct scenario_memory *memory, const struct rr_message *from)
{
    struct rr_message *copy = scenario_alloc(memory, sizeof(*copy));
    *copy = *from;
    copy->entries = copy_entries(memory, from->entries, from->entry_count).items;
    copy->snapshot = from->snapshot ? copy_snapshot(memory, from->snapshot) : NULL;
    copy->context = copy_bytes(memory, from->context, from->context_size);
    struct rr_message *responses = scenario_array(memory, from->response_count, sizeof(*responses));
    for (uint32_t i = 0; i < from->response_count; i++)
        responses[i] = *copy_message(memory, &from->responses[i]);
    copy->responses = responses;
    return copy;
}
