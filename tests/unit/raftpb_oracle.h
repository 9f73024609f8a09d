/* SPDX-License-Identifier: Apache-2.0
 *
 * protobuf-c's code for raftpb.proto as the judge of our codec. The only place that sees generated
 * code.
 */
#ifndef RR_TESTS_RAFTPB_ORACLE_H
#define RR_TESTS_RAFTPB_ORACLE_H

#include "tests/unit/wire_generator.h"

#include <ringraft/types.h>

/* One decoded value of any kind. */
union codec_value {
    struct rr_message message;
    struct rr_entry entry;
    struct rr_snapshot snapshot;
    struct rr_snapshot_metadata metadata;
    struct rr_hard_state hard_state;
    struct rr_conf_state conf_state;
    struct rr_conf_change conf_change;
    struct rr_conf_change_v2 conf_change_v2;
};

/* Does protobuf-c take these bytes for a message of this kind? */
bool oracle_accepts(enum wire_kind kind, const uint8_t *bytes, size_t size);

/* Does it read the same values out of them? (An entry's bytes are its body.) */
bool oracle_agrees(enum wire_kind kind, const uint8_t *bytes, size_t size,
                   const union codec_value *value);

/* Does it write, from what it read, exactly these bytes? */
bool oracle_would_write(enum wire_kind kind, const uint8_t *bytes, size_t size);

#endif
