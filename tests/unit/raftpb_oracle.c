/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raftpb_oracle.h"

#include "raftpb.pb-c.h"

#include <stdlib.h>
#include <string.h>

static const ProtobufCMessageDescriptor *const descriptors[WIRE_KIND_COUNT] = {
    [WIRE_KIND_MESSAGE] = &raftpb__message__descriptor,
    [WIRE_KIND_ENTRY] = &raftpb__entry__descriptor,
    [WIRE_KIND_SNAPSHOT] = &raftpb__snapshot__descriptor,
    [WIRE_KIND_METADATA] = &raftpb__snapshot_metadata__descriptor,
    [WIRE_KIND_HARD_STATE] = &raftpb__hard_state__descriptor,
    [WIRE_KIND_CONF_STATE] = &raftpb__conf_state__descriptor,
    [WIRE_KIND_CONF_CHANGE] = &raftpb__conf_change__descriptor,
    [WIRE_KIND_CONF_CHANGE_V2] = &raftpb__conf_change_v2__descriptor,
};

static bool same_bytes(const ProtobufCBinaryData *theirs, const uint8_t *ours, size_t size)
{
    return theirs->len == size && (size == 0 || memcmp(theirs->data, ours, size) == 0);
}

static bool same_ids(const uint64_t *theirs, size_t their_count, const uint64_t *ours,
                     uint32_t count)
{
    return their_count == count && (count == 0 || memcmp(theirs, ours, count * sizeof *ours) == 0);
}

static bool same_entry(const Raftpb__Entry *theirs, const struct rr_entry *ours)
{
    unsigned has =
        (theirs->has_type ? RR_ENTRY_HAS_TYPE : 0u) | (theirs->has_term ? RR_ENTRY_HAS_TERM : 0u) |
        (theirs->has_index ? RR_ENTRY_HAS_INDEX : 0u) | (theirs->has_data ? RR_ENTRY_HAS_DATA : 0u);
    return ours->has == has && (unsigned)theirs->type == ours->type && theirs->term == ours->term &&
           theirs->index == ours->index && same_bytes(&theirs->data, ours->data, ours->size);
}

static bool same_hard_state(const Raftpb__HardState *theirs, const struct rr_hard_state *ours)
{
    return theirs->term == ours->term && theirs->vote == ours->vote &&
           theirs->commit == ours->commit;
}

/* A sub-message that is absent reads as one without fields. */
static bool same_conf_state(const Raftpb__ConfState *theirs, const struct rr_conf_state *ours)
{
    const Raftpb__ConfState none = RAFTPB__CONF_STATE__INIT;
    if (!theirs)
        theirs = &none;
    return same_ids(theirs->voters, theirs->n_voters, ours->voters, ours->voter_count) &&
           same_ids(theirs->learners, theirs->n_learners, ours->learners, ours->learner_count) &&
           same_ids(theirs->voters_outgoing, theirs->n_voters_outgoing, ours->voters_outgoing,
                    ours->voter_outgoing_count) &&
           same_ids(theirs->learners_next, theirs->n_learners_next, ours->learners_next,
                    ours->learner_next_count) &&
           theirs->has_auto_leave == ours->has_auto_leave && theirs->auto_leave == ours->auto_leave;
}

static bool same_metadata(const Raftpb__SnapshotMetadata *theirs,
                          const struct rr_snapshot_metadata *ours)
{
    const Raftpb__SnapshotMetadata none = RAFTPB__SNAPSHOT_METADATA__INIT;
    if (!theirs)
        theirs = &none;
    return same_conf_state(theirs->conf_state, &ours->conf_state) && theirs->index == ours->index &&
           theirs->term == ours->term;
}

static bool same_snapshot(const Raftpb__Snapshot *theirs, const struct rr_snapshot *ours)
{
    return (bool)theirs->has_data == (ours->data != NULL) &&
           same_bytes(&theirs->data, ours->data, ours->size) &&
           same_metadata(theirs->metadata, &ours->metadata);
}

static bool same_message(const Raftpb__Message *theirs, const struct rr_message *ours)
{
    if ((unsigned)theirs->type != ours->type || theirs->to != ours->to ||
        theirs->from != ours->from || theirs->term != ours->term ||
        theirs->logterm != ours->log_term || theirs->index != ours->index ||
        theirs->commit != ours->commit || theirs->reject != ours->reject ||
        theirs->rejecthint != ours->reject_hint || theirs->vote != ours->vote)
        return false;
    if (!same_bytes(&theirs->context, ours->context, ours->context_size))
        return false;
    if ((theirs->snapshot != NULL) != (ours->snapshot != NULL))
        return false;
    if (theirs->snapshot && !same_snapshot(theirs->snapshot, ours->snapshot))
        return false;
    if (theirs->n_entries != ours->entry_count || theirs->n_responses != ours->response_count)
        return false;
    for (uint32_t i = 0; i < ours->entry_count; i++) {
        if (!same_entry(theirs->entries[i], &ours->entries[i]))
            return false;
    }
    for (uint32_t i = 0; i < ours->response_count; i++) {
        if (!same_message(theirs->responses[i], &ours->responses[i]))
            return false;
    }
    return true;
}

static bool same_conf_change(const Raftpb__ConfChange *theirs, const struct rr_conf_change *ours)
{
    return theirs->has_id == ours->has_id && theirs->id == ours->id &&
           (unsigned)theirs->type == ours->type && theirs->node_id == ours->node_id &&
           theirs->has_context == ours->has_context &&
           same_bytes(&theirs->context, ours->context, ours->context_size);
}

static bool same_conf_change_v2(const Raftpb__ConfChangeV2 *theirs,
                                const struct rr_conf_change_v2 *ours)
{
    if (theirs->has_transition != ours->has_transition ||
        (unsigned)theirs->transition != ours->transition ||
        theirs->has_context != ours->has_context ||
        !same_bytes(&theirs->context, ours->context, ours->context_size) ||
        theirs->n_changes != ours->change_count)
        return false;
    for (uint32_t i = 0; i < ours->change_count; i++) {
        if ((unsigned)theirs->changes[i]->type != ours->changes[i].type ||
            theirs->changes[i]->node_id != ours->changes[i].node_id)
            return false;
    }
    return true;
}

static bool same_value(enum wire_kind kind, const ProtobufCMessage *theirs,
                       const union codec_value *ours)
{
    const void *message = theirs;
    switch (kind) {
    case WIRE_KIND_MESSAGE:
        return same_message(message, &ours->message);
    case WIRE_KIND_ENTRY:
        return same_entry(message, &ours->entry);
    case WIRE_KIND_SNAPSHOT:
        return same_snapshot(message, &ours->snapshot);
    case WIRE_KIND_METADATA:
        return same_metadata(message, &ours->metadata);
    case WIRE_KIND_HARD_STATE:
        return same_hard_state(message, &ours->hard_state);
    case WIRE_KIND_CONF_STATE:
        return same_conf_state(message, &ours->conf_state);
    case WIRE_KIND_CONF_CHANGE:
        return same_conf_change(message, &ours->conf_change);
    case WIRE_KIND_CONF_CHANGE_V2:
        return same_conf_change_v2(message, &ours->conf_change_v2);
    default:
        return false;
    }
}

bool oracle_accepts(enum wire_kind kind, const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptors[kind], NULL, size, bytes);
    protobuf_c_message_free_unpacked(message, NULL);
    return message != NULL;
}

bool oracle_agrees(enum wire_kind kind, const uint8_t *bytes, size_t size,
                   const union codec_value *value)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptors[kind], NULL, size, bytes);
    bool agrees = message && same_value(kind, message, value);
    protobuf_c_message_free_unpacked(message, NULL);
    return agrees;
}

bool oracle_would_write(enum wire_kind kind, const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptors[kind], NULL, size, bytes);
    bool equal = message && protobuf_c_message_get_packed_size(message) == size;
    if (equal) {
        uint8_t *packed = malloc(size + 1);
        equal =
            protobuf_c_message_pack(message, packed) == size && memcmp(packed, bytes, size) == 0;
        free(packed);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return equal;
}
