/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages and their bytes. Hot. Encoding comes in three pieces (head, entries, tail), so that the
 * entries of a MsgApp can be sent from where they lie. Decoding walks the fields twice: the first
 * walk counts what repeats, so that arrays of the right size are taken from the scratch; the second
 * fills them in.
 *
 * A field is written when it is not zero, the type always. Responses exist only in local storage
 * messages and hold no responses themselves: that is where the schema's recursion ends for us.
 */
#include "proto/codec.h"

#include "proto/codec_scratch.h"
#include "proto/wire.h"

enum {
    MESSAGE_TYPE = 1,
    MESSAGE_TO = 2,
    MESSAGE_FROM = 3,
    MESSAGE_TERM = 4,
    MESSAGE_LOG_TERM = 5,
    MESSAGE_INDEX = 6,
    MESSAGE_ENTRIES = 7,
    MESSAGE_COMMIT = 8,
    MESSAGE_SNAPSHOT = 9,
    MESSAGE_REJECT = 10,
    MESSAGE_REJECT_HINT = 11,
    MESSAGE_CONTEXT = 12,
    MESSAGE_VOTE = 13,
    MESSAGE_RESPONSES = 14,
};

_Static_assert(CODEC_ENTRY_TAG == (MESSAGE_ENTRIES << 3 | WIRE_BYTES),
               "an entry begins with its tag");
_Static_assert(CODEC_MESSAGE_HEAD_MAX == 3 + 5 * (1 + VARINT_SIZE_MAX), "type and five numbers");
_Static_assert(CODEC_MESSAGE_TAIL_MAX == 2 + 3 * (1 + VARINT_SIZE_MAX), "reject and three numbers");

/* ---- encode -------------------------------------------------------------- */

static size_t optional_size(uint64_t value)
{
    return value ? wire_number_size(value) : 0;
}

static uint8_t *put_optional(uint8_t *at, uint32_t number, uint64_t value)
{
    return value ? wire_put_number(at, number, value) : at;
}

size_t rr_message_head_size(const struct rr_message *message)
{
    return wire_number_size(message->type) + optional_size(message->to) +
           optional_size(message->from) + optional_size(message->term) +
           optional_size(message->log_term) + optional_size(message->index);
}

uint8_t *rr_message_encode_head(const struct rr_message *message, uint8_t *at)
{
    at = wire_put_number(at, MESSAGE_TYPE, message->type);
    at = put_optional(at, MESSAGE_TO, message->to);
    at = put_optional(at, MESSAGE_FROM, message->from);
    at = put_optional(at, MESSAGE_TERM, message->term);
    at = put_optional(at, MESSAGE_LOG_TERM, message->log_term);
    return put_optional(at, MESSAGE_INDEX, message->index);
}

size_t rr_message_entries_size(const struct rr_message *message)
{
    size_t size = 0;
    for (uint32_t i = 0; i < message->entry_count; i++)
        size += rr_entry_wire_size(&message->entries[i]);
    return size;
}

uint8_t *rr_message_encode_entries(const struct rr_message *message, uint8_t *at)
{
    struct rr_entry staged;
    for (uint32_t i = 0; i < message->entry_count; i++)
        at = rr_entry_encode(&message->entries[i], at, NULL, &staged);
    return at;
}

/* A response: a message that holds none itself. */
static size_t responses_size(const struct rr_message *message)
{
    size_t size = 0;
    for (uint32_t i = 0; i < message->response_count; i++) {
        RR_ASSERT(message->responses[i].response_count == 0);
        size += wire_bytes_size(rr_message_size(&message->responses[i]));
    }
    return size;
}

size_t rr_message_tail_size(const struct rr_message *message)
{
    size_t size = optional_size(message->commit) + optional_size(message->reject) +
                  optional_size(message->reject_hint) + optional_size(message->vote);
    if (message->snapshot)
        size += wire_bytes_size(rr_snapshot_size(message->snapshot));
    if (message->context_size > 0)
        size += wire_bytes_size(message->context_size);
    return size + responses_size(message);
}

uint8_t *rr_message_encode_tail(const struct rr_message *message, uint8_t *at)
{
    at = put_optional(at, MESSAGE_COMMIT, message->commit);
    if (message->snapshot) {
        at = wire_put_length(at, MESSAGE_SNAPSHOT, rr_snapshot_size(message->snapshot));
        at = rr_snapshot_encode(message->snapshot, at);
    }
    at = put_optional(at, MESSAGE_REJECT, message->reject);
    at = put_optional(at, MESSAGE_REJECT_HINT, message->reject_hint);
    if (message->context_size > 0)
        at = wire_put_bytes(at, MESSAGE_CONTEXT, message->context, message->context_size);
    at = put_optional(at, MESSAGE_VOTE, message->vote);
    for (uint32_t i = 0; i < message->response_count; i++) {
        at = wire_put_length(at, MESSAGE_RESPONSES, rr_message_size(&message->responses[i]));
        at = rr_message_encode(&message->responses[i], at);
    }
    return at;
}

size_t rr_message_size(const struct rr_message *message)
{
    return rr_message_head_size(message) + rr_message_entries_size(message) +
           rr_message_tail_size(message);
}

uint8_t *rr_message_encode(const struct rr_message *message, uint8_t *at)
{
    at = rr_message_encode_head(message, at);
    at = rr_message_encode_entries(message, at);
    return rr_message_encode_tail(message, at);
}

/* ---- decode -------------------------------------------------------------- */

/* What repeats in a message, and where the one snapshot lies. */
struct message_shape {
    uint32_t entry_count;
    uint32_t response_count;
    bool has_snapshot;
};

/* The straight line of the first walk: a run of entries, which is most of a message. What stops it
 * (its end, a tag in another form, a length that does not fit) is left to wire_next. */
static uint32_t skip_entries(struct wire_reader *reader)
{
    uint32_t count = 0;
    while (reader->at < reader->end && *reader->at == CODEC_ENTRY_TAG) {
        uint64_t size;
        const uint8_t *body = varint_get(reader->at + 1, reader->end, &size);
        if (!body || size > (uint64_t)(reader->end - body))
            break;
        reader->at = body + size;
        count++;
    }
    return count;
}

/* The first walk. It also settles that the message is sound at this level. */
static int measure(const uint8_t *bytes, size_t size, struct message_shape *shape)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    *shape = (struct message_shape){0};
    for (;;) {
        shape->entry_count += skip_entries(&reader);
        if (!wire_next(&reader, &field))
            break;
        bool repeats = field.number == MESSAGE_ENTRIES || field.number == MESSAGE_RESPONSES ||
                       field.number == MESSAGE_SNAPSHOT;
        if (repeats && field.type != WIRE_BYTES)
            return RR_E_MALFORMED;
        shape->entry_count += field.number == MESSAGE_ENTRIES;
        shape->response_count += field.number == MESSAGE_RESPONSES;
        if (field.number == MESSAGE_SNAPSHOT) {
            if (shape->has_snapshot)
                return RR_E_MALFORMED;
            shape->has_snapshot = true;
        }
    }
    return wire_result(&reader);
}

/* The arrays that the second walk fills. */
struct message_arrays {
    struct rr_entry *entries;
    struct rr_message *responses;
    struct rr_snapshot *snapshot;
};

static int take_arrays(struct codec_scratch *scratch, const struct message_shape *shape,
                       struct message_arrays *arrays)
{
    *arrays = (struct message_arrays){0};
    if (shape->entry_count > 0) {
        arrays->entries = scratch_take(scratch, shape->entry_count, sizeof *arrays->entries);
        if (!arrays->entries)
            return RR_E_TOO_LARGE;
    }
    if (shape->response_count > 0) {
        arrays->responses = scratch_take(scratch, shape->response_count, sizeof *arrays->responses);
        if (!arrays->responses)
            return RR_E_TOO_LARGE;
    }
    if (shape->has_snapshot) {
        arrays->snapshot = scratch_take(scratch, 1, sizeof *arrays->snapshot);
        if (!arrays->snapshot)
            return RR_E_TOO_LARGE;
    }
    return 0;
}

/* The fields that hold one value. Unknown fields are skipped. */
static void decode_scalar(struct wire_reader *reader, const struct wire_field *field,
                          struct rr_message *message)
{
    switch (field->number) {
    case MESSAGE_TYPE:
        wire_enum(reader, field, &message->type);
        break;
    case MESSAGE_TO:
        wire_number(reader, field, &message->to);
        break;
    case MESSAGE_FROM:
        wire_number(reader, field, &message->from);
        break;
    case MESSAGE_TERM:
        wire_number(reader, field, &message->term);
        break;
    case MESSAGE_LOG_TERM:
        wire_number(reader, field, &message->log_term);
        break;
    case MESSAGE_INDEX:
        wire_number(reader, field, &message->index);
        break;
    case MESSAGE_COMMIT:
        wire_number(reader, field, &message->commit);
        break;
    case MESSAGE_REJECT:
        wire_bool(reader, field, &message->reject);
        break;
    case MESSAGE_REJECT_HINT:
        wire_number(reader, field, &message->reject_hint);
        break;
    case MESSAGE_CONTEXT:
        wire_bytes(reader, field, &message->context, &message->context_size);
        break;
    case MESSAGE_VOTE:
        wire_number(reader, field, &message->vote);
        break;
    default:
        break;
    }
}

/* The straight line of the second walk. An entry whose tag takes two bytes is left to the caller.
 */
static int decode_entries(struct wire_reader *reader, struct rr_block *block,
                          struct rr_entry *entries, uint32_t *count)
{
    while (reader->at < reader->end && *reader->at == CODEC_ENTRY_TAG) {
        int err = rr_entry_decode(&reader->at, reader->end, block, &entries[*count]);
        if (RR_UNLIKELY(err))
            return err;
        ++*count;
    }
    return 0;
}

static int decode_message(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                          bool is_response, struct rr_message *message)
{
    struct message_shape shape;
    struct message_arrays arrays;
    int err = measure(bytes, size, &shape);
    if (!err && is_response && shape.response_count > 0)
        err = RR_E_MALFORMED;
    if (!err)
        err = take_arrays(scratch, &shape, &arrays);
    if (err)
        return err;
    *message = (struct rr_message){
        .entries = arrays.entries, .responses = arrays.responses, .snapshot = arrays.snapshot};

    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    while (!err && !reader.failed) {
        err = decode_entries(&reader, scratch->block, arrays.entries, &message->entry_count);
        const uint8_t *field_at = reader.at;
        if (err || !wire_next(&reader, &field))
            break;
        if (field.number == MESSAGE_ENTRIES)
            err = rr_entry_decode(&field_at, reader.at, scratch->block,
                                  &arrays.entries[message->entry_count++]);
        else if (field.number == MESSAGE_SNAPSHOT)
            err = rr_snapshot_decode(field.bytes, field.size, scratch, arrays.snapshot);
        else if (field.number == MESSAGE_RESPONSES)
            err = decode_message(field.bytes, field.size, scratch, true,
                                 &arrays.responses[message->response_count++]);
        else
            decode_scalar(&reader, &field, message);
    }
    return err ? err : wire_result(&reader);
}

int rr_message_decode(const uint8_t *bytes, size_t size, struct codec_scratch *scratch,
                      struct rr_message *message)
{
    if (size > UINT32_MAX)
        return RR_E_TOO_LARGE;
    return decode_message(bytes, size, scratch, false, message);
}

static int scratch_need(const uint8_t *bytes, size_t size, bool is_response, size_t *need)
{
    struct message_shape shape;
    int err = measure(bytes, size, &shape);
    if (!err && is_response && shape.response_count > 0)
        err = RR_E_MALFORMED;
    if (err)
        return err;
    *need += scratch_size(shape.entry_count, sizeof(struct rr_entry)) +
             scratch_size(shape.response_count, sizeof(struct rr_message)) +
             scratch_size(shape.has_snapshot, sizeof(struct rr_snapshot));
    if (!shape.has_snapshot && shape.response_count == 0)
        return 0;
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    while (!err && wire_next(&reader, &field)) {
        if (field.number == MESSAGE_SNAPSHOT)
            err = codec_snapshot_scratch_need(field.bytes, field.size, need);
        else if (field.number == MESSAGE_RESPONSES)
            err = scratch_need(field.bytes, field.size, true, need);
    }
    return err;
}

int rr_message_scratch_size(const uint8_t *bytes, size_t size, size_t *need)
{
    *need = 0;
    if (size > UINT32_MAX)
        return RR_E_TOO_LARGE;
    return scratch_need(bytes, size, false, need);
}
