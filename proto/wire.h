/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields of a protobuf message, one at a time: what all decoders of codec_*.c stand on. Private to
 * proto/.
 *
 * Reader: `while (wire_next(&reader, &field))` walks the fields of one message; afterwards
 * reader.failed tells a clean end from malformed bytes. A field's value is a number (varint) or
 * bytes (length-delimited); fixed-width fields are unknown to the schema and stepped over. Nothing
 * is read beyond `end`.
 */
#ifndef RR_PROTO_WIRE_H
#define RR_PROTO_WIRE_H

#include "proto/varint.h"

#include <ringraft/error.h>

#include <string.h>

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5, /* 3 and 4 are groups: refused */
};

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

struct wire_field {
    uint32_t number;
    uint32_t type;        /* enum wire_type */
    uint64_t value;       /* WIRE_VARINT */
    const uint8_t *bytes; /* WIRE_BYTES */
    uint32_t size;
};

static inline struct wire_reader wire_open(const uint8_t *bytes, size_t size)
{
    return (struct wire_reader){.at = bytes,
                                .end = size ? bytes + size : bytes}; /* NULL is empty */
}

static inline bool wire_fail(struct wire_reader *reader)
{
    reader->failed = true;
    return false;
}

/* Steps over `size` bytes, if they are there. */
static inline bool wire_skip(struct wire_reader *reader, uint64_t size)
{
    if (RR_UNLIKELY(size > (uint64_t)(reader->end - reader->at)))
        return wire_fail(reader);
    reader->at += size;
    return true;
}

/* The next field, or false: at the end, or failed. */
static inline bool wire_next(struct wire_reader *reader, struct wire_field *field)
{
    if (reader->at == reader->end)
        return false;
    uint64_t tag;
    const uint8_t *at = varint_get(reader->at, reader->end, &tag);
    if (RR_UNLIKELY(!at || tag > UINT32_MAX || tag < 8))
        return wire_fail(reader);
    reader->at = at;
    *field = (struct wire_field){.number = (uint32_t)tag >> 3, .type = (uint32_t)tag & 7};
    uint64_t size;
    switch (field->type) {
    case WIRE_VARINT:
        at = varint_get(at, reader->end, &field->value);
        if (RR_UNLIKELY(!at))
            return wire_fail(reader);
        reader->at = at;
        return true;
    case WIRE_BYTES:
        at = varint_get(at, reader->end, &size);
        if (RR_UNLIKELY(!at || size > UINT32_MAX))
            return wire_fail(reader);
        reader->at = field->bytes = at;
        field->size = (uint32_t)size;
        return wire_skip(reader, size);
    case WIRE_FIXED64:
        return wire_skip(reader, 8);
    case WIRE_FIXED32:
        return wire_skip(reader, 4);
    default:
        return wire_fail(reader);
    }
}

/* A known field whose value is a number, bytes, an enum kept in a byte. Each returns false, and
 * fails the reader, if the field has another wire type (or the enum another range). */
static inline bool wire_number(struct wire_reader *reader, const struct wire_field *field,
                               uint64_t *value)
{
    if (RR_UNLIKELY(field->type != WIRE_VARINT))
        return wire_fail(reader);
    *value = field->value;
    return true;
}

static inline bool wire_bool(struct wire_reader *reader, const struct wire_field *field,
                             bool *value)
{
    uint64_t number;
    if (RR_UNLIKELY(!wire_number(reader, field, &number)))
        return false;
    *value = number != 0;
    return true;
}

static inline bool wire_enum(struct wire_reader *reader, const struct wire_field *field,
                             uint8_t *value)
{
    if (RR_UNLIKELY(field->type != WIRE_VARINT || field->value > UINT8_MAX))
        return wire_fail(reader);
    *value = (uint8_t)field->value;
    return true;
}

static inline bool wire_bytes(struct wire_reader *reader, const struct wire_field *field,
                              const uint8_t **bytes, uint32_t *size)
{
    if (RR_UNLIKELY(field->type != WIRE_BYTES))
        return wire_fail(reader);
    *bytes = field->bytes;
    *size = field->size;
    return true;
}

/* What a decoder returns when it has seen all fields. */
static inline int wire_result(const struct wire_reader *reader)
{
    return RR_UNLIKELY(reader->failed) ? RR_E_MALFORMED : 0;
}

/* Writer. Tags of fields up to 15 take one byte, and the schema has no others. */
static inline size_t wire_number_size(uint64_t value)
{
    return 1 + varint_size(value);
}

static inline size_t wire_bytes_size(size_t size)
{
    return 1 + varint_size(size) + size;
}

static inline uint8_t *wire_put_number(uint8_t *at, uint32_t number, uint64_t value)
{
    *at++ = (uint8_t)(number << 3 | WIRE_VARINT);
    return varint_put(at, value);
}

/* Tag and length; the bytes follow. */
static inline uint8_t *wire_put_length(uint8_t *at, uint32_t number, size_t size)
{
    *at++ = (uint8_t)(number << 3 | WIRE_BYTES);
    return varint_put(at, size);
}

static inline uint8_t *wire_put_bytes(uint8_t *at, uint32_t number, const uint8_t *bytes,
                                      size_t size)
{
    at = wire_put_length(at, number, size);
    if (size > 0)
        memcpy(at, bytes, size);
    return at + size;
}

#endif
