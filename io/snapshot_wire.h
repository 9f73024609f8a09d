/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said on a snapshot connection, behind hello: frames of kind FRAME_SNAPSHOT
 * (proto/frame.h) whose bodies begin with a fixed head, so that the first SNAPSHOT_WIRE_HEAD bytes
 * of each say everything but the payload. Pure functions on bytes.
 *
 *      0 frame header                                              (32)
 *     32 type u8 | 33 zero[3] | 36 status i32 | 40 offset u64 | 48 size u64
 *     56 header_crc u32 | 60 zero u32
 *     64 payload: BEGIN: raftpb.Message (MsgSnap); CHUNK: bytes of the file; else nothing
 */
#ifndef RR_IO_SNAPSHOT_WIRE_H
#define RR_IO_SNAPSHOT_WIRE_H

#include "proto/frame.h"

#define SNAPSHOT_WIRE_HEAD      64u
#define SNAPSHOT_WIRE_BEGIN_MAX (64u * 1024)  /* payload of BEGIN */
#define SNAPSHOT_WIRE_CHUNK_MAX (256u * 1024) /* payload of CHUNK */

enum snapshot_said_type {
    SNAPSHOT_SAYS_BEGIN = 1,    /* the sender's first: size, header_crc, MsgSnap */
    SNAPSHOT_SAYS_CHUNK = 2,    /* the file's bytes from `offset` on */
    SNAPSHOT_SAYS_PROGRESS = 3, /* the receiver's: it has the bytes below `offset` */
    SNAPSHOT_SAYS_RESULT = 4,   /* the receiver's last: status */
};

struct snapshot_said {
    uint64_t group;
    uint64_t offset;
    uint64_t size; /* of the file */
    uint32_t header_crc;
    uint32_t payload_size;
    int32_t status; /* RESULT: 0 or an error */
    uint8_t type;   /* enum snapshot_said_type */
    /* For snapshot_wire_payload; written by snapshot_wire_get. */
    uint32_t body_crc;
    uint32_t head_crc;
};

/* `payload_crc` is that of the payload alone. */
void snapshot_wire_put(const struct snapshot_said *said, uint32_t payload_crc,
                       uint8_t at[SNAPSHOT_WIRE_HEAD]);
/* RR_E_MALFORMED; RR_E_VERSION; RR_E_TOO_LARGE (the payload). One without payload is verified
 * whole. */
int snapshot_wire_get(const uint8_t at[SNAPSHOT_WIRE_HEAD], struct snapshot_said *said);
/* Is this its payload? */
bool snapshot_wire_payload(const struct snapshot_said *said, const uint8_t *payload);

#endif
