/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration changes (V1 and V2) and their bytes: the payload of conf-change entries. The core
 * itself calls this, so nothing here touches anything but the arguments.
 */
#include "proto/codec.h"

#include "proto/codec_scratch.h"
#include "proto/wire.h"

enum {
    CHANGE_ID = 1,
    CHANGE_TYPE = 2,
    CHANGE_NODE_ID = 3,
    CHANGE_CONTEXT = 4,
    SINGLE_TYPE = 1,
    SINGLE_NODE_ID = 2,
    V2_TRANSITION = 1,
    V2_CHANGES = 2,
    V2_CONTEXT = 3,
};

/* ---- V1 ------------------------------------------------------------------ */

static void check_presence(const struct rr_conf_change *change)
{
    RR_ASSERT(change->has_id || change->id == 0);
    RR_ASSERT(change->has_context || change->context_size == 0);
}

size_t rr_conf_change_size(const struct rr_conf_change *change)
{
    check_presence(change);
    return (change->has_id ? wire_number_size(change->id) : 0) + wire_number_size(change->type) +
           wire_number_size(change->node_id) +
           (change->has_context ? wire_bytes_size(change->context_size) : 0);
}

uint8_t *rr_conf_change_encode(const struct rr_conf_change *change, uint8_t *at)
{
    check_presence(change);
    if (change->has_id)
        at = wire_put_number(at, CHANGE_ID, change->id);
    at = wire_put_number(at, CHANGE_TYPE, change->type);
    at = wire_put_number(at, CHANGE_NODE_ID, change->node_id);
    if (change->has_context)
        at = wire_put_bytes(at, CHANGE_CONTEXT, change->context, change->context_size);
    return at;
}

int rr_conf_change_decode(const uint8_t *bytes, size_t size, struct rr_conf_change *change)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    *change = (struct rr_conf_change){0};
    while (!reader.failed && wire_next(&reader, &field)) {
        if (field.number == CHANGE_ID)
            change->has_id = wire_number(&reader, &field, &change->id);
        else if (field.number == CHANGE_TYPE)
            wire_enum(&reader, &field, &change->type);
        else if (field.number == CHANGE_NODE_ID)
            wire_number(&reader, &field, &change->node_id);
        else if (field.number == CHANGE_CONTEXT)
            change->has_context =
                wire_bytes(&reader, &field, &change->context, &change->context_size);
    }
    return wire_result(&reader);
}

/* ---- V2 ------------------------------------------------------------------ */

static void check_presence_v2(const struct rr_conf_change_v2 *change)
{
    RR_ASSERT(change->has_transition || change->transition == 0);
    RR_ASSERT(change->has_context || change->context_size == 0);
}

static size_t single_size(const struct rr_conf_change_single *single)
{
    return wire_number_size(single->type) + wire_number_size(single->node_id);
}

size_t rr_conf_change_v2_size(const struct rr_conf_change_v2 *change)
{
    check_presence_v2(change);
    size_t size = change->has_transition ? wire_number_size(change->transition) : 0;
    for (uint32_t i = 0; i < change->change_count; i++)
        size += wire_bytes_size(single_size(&change->changes[i]));
    return size + (change->has_context ? wire_bytes_size(change->context_size) : 0);
}

uint8_t *rr_conf_change_v2_encode(const struct rr_conf_change_v2 *change, uint8_t *at)
{
    check_presence_v2(change);
    if (change->has_transition)
        at = wire_put_number(at, V2_TRANSITION, change->transition);
    for (uint32_t i = 0; i < change->change_count; i++) {
        const struct rr_conf_change_single *single = &change->changes[i];
        at = wire_put_length(at, V2_CHANGES, single_size(single));
        at = wire_put_number(at, SINGLE_TYPE, single->type);
        at = wire_put_number(at, SINGLE_NODE_ID, single->node_id);
    }
    if (change->has_context)
        at = wire_put_bytes(at, V2_CONTEXT, change->context, change->context_size);
    return at;
}

static int decode_single(const uint8_t *bytes, size_t size, struct rr_conf_change_single *single)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    *single = (struct rr_conf_change_single){0};
    while (!reader.failed && wire_next(&reader, &field)) {
        if (field.number == SINGLE_TYPE)
            wire_enum(&reader, &field, &single->type);
        else if (field.number == SINGLE_NODE_ID)
            wire_number(&reader, &field, &single->node_id);
    }
    return wire_result(&reader);
}

static int count_changes(const uint8_t *bytes, size_t size, uint32_t *count)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    *count = 0;
    while (wire_next(&reader, &field)) {
        if (field.number == V2_CHANGES && field.type != WIRE_BYTES)
            return RR_E_MALFORMED;
        *count += field.number == V2_CHANGES;
    }
    return wire_result(&reader);
}

int rr_conf_change_v2_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                             struct rr_conf_change_v2 *change)
{
    uint32_t count;
    int err = count_changes(bytes, size, &count);
    if (err)
        return err;
    struct rr_conf_change_single *changes =
        count ? scratch_take(scratch, count, sizeof *changes) : NULL;
    if (count && !changes)
        return RR_E_TOO_LARGE;
    *change = (struct rr_conf_change_v2){.changes = changes};
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    while (!err && !reader.failed && wire_next(&reader, &field)) {
        if (field.number == V2_TRANSITION)
            change->has_transition = wire_enum(&reader, &field, &change->transition);
        else if (field.number == V2_CHANGES)
            err = decode_single(field.bytes, field.size, &changes[change->change_count++]);
        else if (field.number == V2_CONTEXT)
            change->has_context =
                wire_bytes(&reader, &field, &change->context, &change->context_size);
    }
    return err ? err : wire_result(&reader);
}
