/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries and their bytes. Hot: every entry passes here once on the way into the log and once on
 * each follower. What etcd, protobuf-c and we write is one and the same form: type, term, index,
 * data in this order, shortest varints. The decoder's straight line reads that form and nothing
 * else; any other valid encoding goes through decode_any_form and is marked by wire_size 0.
 */
#include "proto/codec.h"

#include "proto/crc32c.h"
#include "proto/wire.h"

enum {
    ENTRY_TYPE = 1,
    ENTRY_TERM = 2,
    ENTRY_INDEX = 3,
    ENTRY_DATA = 4,
};

/* A value without its presence bit would be lost in silence. */
static void check_presence(const struct rr_entry *entry)
{
    RR_ASSERT(entry->type == 0 || (entry->has & RR_ENTRY_HAS_TYPE));
    RR_ASSERT(entry->term == 0 || (entry->has & RR_ENTRY_HAS_TERM));
    RR_ASSERT(entry->index == 0 || (entry->has & RR_ENTRY_HAS_INDEX));
    RR_ASSERT(entry->size == 0 || (entry->has & RR_ENTRY_HAS_DATA));
}

uint8_t *rr_entry_encode_head(const struct rr_entry *entry, uint8_t *at)
{
    check_presence(entry);
    *at++ = CODEC_ENTRY_TAG;
    at = varint_put(at, rr_entry_body_size(entry));
    if (entry->has & RR_ENTRY_HAS_TYPE)
        at = wire_put_number(at, ENTRY_TYPE, entry->type);
    if (entry->has & RR_ENTRY_HAS_TERM)
        at = wire_put_number(at, ENTRY_TERM, entry->term);
    if (entry->has & RR_ENTRY_HAS_INDEX)
        at = wire_put_number(at, ENTRY_INDEX, entry->index);
    if (entry->has & RR_ENTRY_HAS_DATA)
        at = wire_put_length(at, ENTRY_DATA, entry->size);
    return at;
}

/* Up to here a checksum of its own over head and data costs less than continuing it from one to the
 * other. */
#define FUSE_BYTES_MIN 512u

static uint8_t *copy_bytes(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size > 0)
        memcpy(to, from, size);
    return to + size;
}

static uint8_t *encode_checked(const struct rr_entry *entry, uint8_t *at, uint32_t *crc)
{
    uint8_t *begin = at;
    if (entry->wire_size > 0) {
        *crc = crc32c_copy(*crc, at, rr_entry_wire(entry), entry->wire_size);
        return at + entry->wire_size;
    }
    at = rr_entry_encode_head(entry, at);
    if (entry->size < FUSE_BYTES_MIN) {
        at = copy_bytes(at, entry->data, entry->size);
        *crc = crc32c(*crc, begin, (size_t)(at - begin));
        return at;
    }
    *crc = crc32c(*crc, begin, (size_t)(at - begin));
    *crc = crc32c_copy(*crc, at, entry->data, entry->size);
    return at + entry->size;
}

uint8_t *rr_entry_encode(const struct rr_entry *entry, uint8_t *at, uint32_t *crc,
                         struct rr_entry *staged)
{
    uint8_t *begin = at;
    if (crc)
        at = encode_checked(entry, at, crc);
    else if (entry->wire_size > 0)
        at = copy_bytes(at, rr_entry_wire(entry), entry->wire_size);
    else
        at = copy_bytes(rr_entry_encode_head(entry, at), entry->data, entry->size);
    RR_ASSERT((size_t)(at - begin) <= UINT32_MAX);
    *staged = *entry;
    staged->data = at - entry->size;
    staged->wire_size = (uint32_t)(at - begin);
    return at;
}

/* The canonical form, or NULL: some other form, or malformed. */
static const uint8_t *decode_canonical(const uint8_t *at, const uint8_t *end,
                                       struct rr_entry *entry)
{
    uint64_t value;
    if (at < end && *at == (ENTRY_TYPE << 3 | WIRE_VARINT)) {
        at = varint_get(at + 1, end, &value);
        if (!at || value > UINT8_MAX)
            return NULL;
        entry->type = (uint8_t)value;
        entry->has |= RR_ENTRY_HAS_TYPE;
    }
    if (at < end && *at == (ENTRY_TERM << 3 | WIRE_VARINT)) {
        at = varint_get(at + 1, end, &entry->term);
        if (!at)
            return NULL;
        entry->has |= RR_ENTRY_HAS_TERM;
    }
    if (at < end && *at == (ENTRY_INDEX << 3 | WIRE_VARINT)) {
        at = varint_get(at + 1, end, &entry->index);
        if (!at)
            return NULL;
        entry->has |= RR_ENTRY_HAS_INDEX;
    }
    if (at < end && *at == (ENTRY_DATA << 3 | WIRE_BYTES)) {
        at = varint_get(at + 1, end, &value);
        if (!at || value != (uint64_t)(end - at))
            return NULL;
        entry->size = (uint32_t)value;
        entry->has |= RR_ENTRY_HAS_DATA;
        at = end;
    }
    return at == end ? at : NULL;
}

static RR_COLD int decode_any_form(const uint8_t *bytes, size_t size, struct rr_entry *entry)
{
    struct wire_reader reader = wire_open(bytes, size);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (field.number) {
        case ENTRY_TYPE:
            wire_enum(&reader, &field, &entry->type);
            entry->has |= RR_ENTRY_HAS_TYPE;
            break;
        case ENTRY_TERM:
            wire_number(&reader, &field, &entry->term);
            entry->has |= RR_ENTRY_HAS_TERM;
            break;
        case ENTRY_INDEX:
            wire_number(&reader, &field, &entry->index);
            entry->has |= RR_ENTRY_HAS_INDEX;
            break;
        case ENTRY_DATA:
            wire_bytes(&reader, &field, &entry->data, &entry->size);
            entry->has |= RR_ENTRY_HAS_DATA;
            break;
        default:
            break;
        }
        if (reader.failed)
            break;
    }
    return wire_result(&reader);
}

int rr_entry_decode(const uint8_t **at, const uint8_t *end, struct rr_block *block,
                    struct rr_entry *entry)
{
    const uint8_t *begin = *at;
    if (RR_UNLIKELY(begin == end))
        return RR_E_MALFORMED;
    uint64_t size;
    const uint8_t *body;
    if (RR_LIKELY(*begin == CODEC_ENTRY_TAG)) {
        body = varint_get(begin + 1, end, &size);
    } else {
        /* The tag itself may be written in more bytes than it needs. */
        body = varint_get(begin, end, &size);
        if (!body || size != CODEC_ENTRY_TAG)
            return RR_E_MALFORMED;
        body = varint_get(body, end, &size);
    }
    if (RR_UNLIKELY(!body || size > (uint64_t)(end - body) || size > UINT32_MAX))
        return RR_E_MALFORMED;
    end = body + size;
    *entry = (struct rr_entry){.data = end, .block = block};
    size_t element_size = (size_t)(end - begin);
    const uint8_t *data_end = decode_canonical(body, end, entry);
    /* The right fields in the right order can still hold varints longer than necessary. */
    if (RR_LIKELY(data_end && rr_entry_wire_size(entry) == element_size)) {
        entry->data = end - entry->size;
        entry->wire_size = (uint32_t)element_size;
    } else {
        *entry = (struct rr_entry){.data = end, .block = block};
        int err = decode_any_form(body, (size_t)size, entry);
        if (err)
            return err;
    }
    *at = end;
    return 0;
}

int rr_entries_decode(const uint8_t *bytes, size_t size, struct rr_block *block,
                      struct rr_entry *entries, uint32_t count)
{
    const uint8_t *at = bytes;
    const uint8_t *end = bytes + size;
    for (uint32_t i = 0; i < count; i++) {
        int err = rr_entry_decode(&at, end, block, &entries[i]);
        if (err)
            return err;
    }
    return at == end ? 0 : RR_E_MALFORMED;
}
