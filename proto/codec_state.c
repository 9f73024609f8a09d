/* SPDX-License-Identifier: Apache-2.0
 *
 * Hard states, configurations and snapshots, and their bytes. Rare on the wire, so written for
 * brevity.
 */
#include "proto/codec.h"

#include "proto/codec_scratch.h"
#include "proto/wire.h"

enum {
    HARD_STATE_TERM = 1,
    HARD_STATE_VOTE = 2,
    HARD_STATE_COMMIT = 3,
    CONF_STATE_ID_LISTS = 4, /* voters 1, learners 2, voters_outgoing 3, learners_next 4 */
    CONF_STATE_AUTO_LEAVE = 5,
    METADATA_CONF_STATE = 1,
    METADATA_INDEX = 2,
    METADATA_TERM = 3,
    SNAPSHOT_DATA = 1,
    SNAPSHOT_METADATA = 2,
};

/* ---- hard state ---------------------------------------------------------- */

size_t rr_hard_state_size(const struct rr_hard_state *state)
{
    return wire_number_size(state->term) + wire_number_size(state->vote) +
           wire_number_size(state->commit);
}

uint8_t *rr_hard_state_encode(const struct rr_hard_state *state, uint8_t *at)
{
    at = wire_put_number(at, HARD_STATE_TERM, state->term);
    at = wire_put_number(at, HARD_STATE_VOTE, state->vote);
    return wire_put_number(at, HARD_STATE_COMMIT, state->commit);
}

int rr_hard_state_decode(const uint8_t *bytes, size_t size, struct rr_hard_state *state)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    *state = (struct rr_hard_state){0};
    while (!reader.failed && wire_next(&reader, &field)) {
        if (field.number == HARD_STATE_TERM)
            wire_number(&reader, &field, &state->term);
        else if (field.number == HARD_STATE_VOTE)
            wire_number(&reader, &field, &state->vote);
        else if (field.number == HARD_STATE_COMMIT)
            wire_number(&reader, &field, &state->commit);
    }
    return wire_result(&reader);
}

/* ---- configuration ------------------------------------------------------- */

struct id_list {
    const uint64_t *ids;
    uint32_t count;
};

static void list_ids(const struct rr_conf_state *state, struct id_list lists[CONF_STATE_ID_LISTS])
{
    lists[0] = (struct id_list){state->voters, state->voter_count};
    lists[1] = (struct id_list){state->learners, state->learner_count};
    lists[2] = (struct id_list){state->voters_outgoing, state->voter_outgoing_count};
    lists[3] = (struct id_list){state->learners_next, state->learner_next_count};
}

size_t rr_conf_state_size(const struct rr_conf_state *state)
{
    struct id_list lists[CONF_STATE_ID_LISTS];
    list_ids(state, lists);
    size_t size = state->has_auto_leave ? 2 : 0;
    for (uint32_t list = 0; list < CONF_STATE_ID_LISTS; list++)
        for (uint32_t i = 0; i < lists[list].count; i++)
            size += wire_number_size(lists[list].ids[i]);
    return size;
}

uint8_t *rr_conf_state_encode(const struct rr_conf_state *state, uint8_t *at)
{
    RR_ASSERT(state->has_auto_leave || !state->auto_leave);
    struct id_list lists[CONF_STATE_ID_LISTS];
    list_ids(state, lists);
    for (uint32_t list = 0; list < CONF_STATE_ID_LISTS; list++)
        for (uint32_t i = 0; i < lists[list].count; i++)
            at = wire_put_number(at, list + 1, lists[list].ids[i]);
    if (state->has_auto_leave)
        at = wire_put_number(at, CONF_STATE_AUTO_LEAVE, state->auto_leave);
    return at;
}

/* Reads the ids of one field: one number, or a packed run of them. `ids` NULL: only counts. */
static void read_ids(struct wire_reader *reader, const struct wire_field *field, uint64_t *ids,
                     uint32_t *count)
{
    if (field->type == WIRE_VARINT) {
        if (ids)
            ids[*count] = field->value;
        ++*count;
        return;
    }
    if (field->type != WIRE_BYTES) {
        wire_fail(reader);
        return;
    }
    const uint8_t *at = field->bytes;
    while (at < field->bytes + field->size) {
        uint64_t id;
        at = varint_get(at, field->bytes + field->size, &id);
        if (!at) {
            wire_fail(reader);
            return;
        }
        if (ids)
            ids[*count] = id;
        ++*count;
    }
}

static bool is_id_list(const struct wire_field *field)
{
    return field->number >= 1 && field->number <= CONF_STATE_ID_LISTS;
}

static int count_ids(const uint8_t *bytes, size_t size, uint32_t counts[CONF_STATE_ID_LISTS])
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    while (!reader.failed && wire_next(&reader, &field)) {
        if (is_id_list(&field))
            read_ids(&reader, &field, NULL, &counts[field.number - 1]);
    }
    return wire_result(&reader);
}

int rr_conf_state_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                         struct rr_conf_state *state)
{
    uint32_t counts[CONF_STATE_ID_LISTS] = {0};
    uint64_t *ids[CONF_STATE_ID_LISTS] = {0};
    int err = count_ids(bytes, size, counts);
    if (err)
        return err;
    for (uint32_t list = 0; list < CONF_STATE_ID_LISTS; list++) {
        ids[list] = counts[list] ? scratch_take(scratch, counts[list], sizeof **ids) : NULL;
        if (counts[list] && !ids[list])
            return RR_E_TOO_LARGE;
    }
    *state = (struct rr_conf_state){
        .voters = ids[0],
        .learners = ids[1],
        .voters_outgoing = ids[2],
        .learners_next = ids[3],
        .voter_count = counts[0],
        .learner_count = counts[1],
        .voter_outgoing_count = counts[2],
        .learner_next_count = counts[3],
    };
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    memset(counts, 0, sizeof counts);
    while (!reader.failed && wire_next(&reader, &field)) {
        if (is_id_list(&field)) {
            read_ids(&reader, &field, ids[field.number - 1], &counts[field.number - 1]);
        } else if (field.number == CONF_STATE_AUTO_LEAVE) {
            wire_bool(&reader, &field, &state->auto_leave);
            state->has_auto_leave = true;
        }
    }
    return wire_result(&reader);
}

/* ---- snapshot ------------------------------------------------------------ */

size_t rr_snapshot_metadata_size(const struct rr_snapshot_metadata *metadata)
{
    return wire_bytes_size(rr_conf_state_size(&metadata->conf_state)) +
           wire_number_size(metadata->index) + wire_number_size(metadata->term);
}

uint8_t *rr_snapshot_metadata_encode(const struct rr_snapshot_metadata *metadata, uint8_t *at)
{
    at = wire_put_length(at, METADATA_CONF_STATE, rr_conf_state_size(&metadata->conf_state));
    at = rr_conf_state_encode(&metadata->conf_state, at);
    at = wire_put_number(at, METADATA_INDEX, metadata->index);
    return wire_put_number(at, METADATA_TERM, metadata->term);
}

int rr_snapshot_metadata_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                                struct rr_snapshot_metadata *metadata)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    bool has_conf_state = false;
    *metadata = (struct rr_snapshot_metadata){0};
    while (!reader.failed && wire_next(&reader, &field)) {
        if (field.number == METADATA_CONF_STATE) {
            if (field.type != WIRE_BYTES || has_conf_state)
                return RR_E_MALFORMED;
            has_conf_state = true;
            int err = rr_conf_state_decode(field.bytes, field.size, scratch, &metadata->conf_state);
            if (err)
                return err;
        } else if (field.number == METADATA_INDEX) {
            wire_number(&reader, &field, &metadata->index);
        } else if (field.number == METADATA_TERM) {
            wire_number(&reader, &field, &metadata->term);
        }
    }
    return wire_result(&reader);
}

size_t rr_snapshot_size(const struct rr_snapshot *snapshot)
{
    size_t data = snapshot->data ? wire_bytes_size(snapshot->size) : 0;
    return data + wire_bytes_size(rr_snapshot_metadata_size(&snapshot->metadata));
}

uint8_t *rr_snapshot_encode(const struct rr_snapshot *snapshot, uint8_t *at)
{
    RR_ASSERT(snapshot->data || snapshot->size == 0);
    if (snapshot->data)
        at = wire_put_bytes(at, SNAPSHOT_DATA, snapshot->data, snapshot->size);
    at = wire_put_length(at, SNAPSHOT_METADATA, rr_snapshot_metadata_size(&snapshot->metadata));
    return rr_snapshot_metadata_encode(&snapshot->metadata, at);
}

int rr_snapshot_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                       struct rr_snapshot *snapshot)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    bool has_metadata = false;
    *snapshot = (struct rr_snapshot){.block = scratch->block};
    while (!reader.failed && wire_next(&reader, &field)) {
        if (field.number == SNAPSHOT_DATA) {
            uint32_t data_size = 0;
            wire_bytes(&reader, &field, &snapshot->data, &data_size);
            snapshot->size = data_size;
        } else if (field.number == SNAPSHOT_METADATA) {
            if (field.type != WIRE_BYTES || has_metadata)
                return RR_E_MALFORMED;
            has_metadata = true;
            int err =
                rr_snapshot_metadata_decode(field.bytes, field.size, scratch, &snapshot->metadata);
            if (err)
                return err;
        }
    }
    return wire_result(&reader);
}

/* ---- how much scratch ---------------------------------------------------- */

/* Calls `need_of` on the sub-messages of one field. */
static int need_within(const uint8_t *bytes, size_t size, uint32_t number,
                       int (*need_of)(const uint8_t *bytes, size_t size, size_t *need),
                       size_t *need)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number != number)
            continue;
        int err =
            field.type == WIRE_BYTES ? need_of(field.bytes, field.size, need) : RR_E_MALFORMED;
        if (err)
            return err;
    }
    return wire_result(&reader);
}

static int conf_state_need(const uint8_t *bytes, size_t size, size_t *need)
{
    uint32_t counts[CONF_STATE_ID_LISTS] = {0};
    int err = count_ids(bytes, size, counts);
    for (uint32_t list = 0; !err && list < CONF_STATE_ID_LISTS; list++)
        *need += scratch_size(counts[list], sizeof(uint64_t));
    return err;
}

static int metadata_need(const uint8_t *bytes, size_t size, size_t *need)
{
    return need_within(bytes, size, METADATA_CONF_STATE, conf_state_need, need);
}

int codec_snapshot_scratch_need(const uint8_t *bytes, size_t size, size_t *need)
{
    return need_within(bytes, size, SNAPSHOT_METADATA, metadata_need, need);
}
