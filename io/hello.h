/* SPDX-License-Identifier: Apache-2.0
 *
 * Hello: the 96 bytes that each end of a connection sends first, the dialler before the acceptor.
 * An acceptor answers with its own hello or with a refusal, and closes. Pure functions on bytes.
 *
 * Feature levels need not be equal: each end learns the other's and keeps to the lower one. A build
 * refuses what it does not know (a reserved byte that is set, a flag), so nothing new may stand
 * here but what is said only to peers whose level is known already.
 *
 * Where both ends have HELLO_LEVEL_PROOFS, the answer admits nobody yet. Each end asks the other
 * for the nonce of the boot that it remembers of it, and proves its own past by naming that nonce:
 *
 *     dialler    DIAL ──────────────>                 PROOF, asks ──>                  frames ──>
 *     acceptor          <────────── ANSWER, asks                     <────────── PROOF
 *
 * On the wire, little endian; magic, version, kind, code and CRC stand where they do in every
 * version, so that any two versions can refuse each other in words:
 *
 *     0 magic u64        8 version u16     10 kind u8        11 flags u8     12 code i32
 *    16 cluster u64     24 from u64        32 to u64         40 instance u64
 *    48 boot u64        56 nonce u64       64 loop u32       68 loop_count u32
 *    72 feature level   76 entry_bytes_max 80 frame_bytes_max  84 asked u64
 *    92 CRC32C of bytes 0..91
 */
#ifndef RR_IO_HELLO_H
#define RR_IO_HELLO_H

#include "proto/base.h"

#include <ringraft/error.h>

#define HELLO_SIZE    96u
#define HELLO_VERSION 1u
/* The first feature level that proves its past. */
#define HELLO_LEVEL_PROOFS 3u

enum hello_kind {
    HELLO_DIAL = 1,    /* the dialler's */
    HELLO_ANSWER = 2,  /* the acceptor's: frames may follow */
    HELLO_REFUSAL = 3, /* the acceptor's: `code` says why; of the rest only `to` is set */
    HELLO_PROOF = 4,   /* both ends': `nonce` was that of `boot`, which was asked for */
};

enum hello_flags {
    HELLO_TLS = 1, /* reserved: TLS begins behind hello; refused as not supported until it exists */
    HELLO_SNAPSHOT =
        2, /* the connection carries one snapshot file, nothing else; both ends say it */
};

struct hello {
    uint64_t cluster;
    uint64_t from; /* the node that says it */
    uint64_t to;   /* the node it believes to talk to */
    uint64_t instance;
    uint64_t boot;
    uint64_t nonce;
    uint64_t asked; /* ANSWER, and the dialler's PROOF: a boot of the other end; 0: none */
    uint32_t loop;  /* of the sending node, below loop_count */
    uint32_t loop_count;
    uint32_t feature_level;
    uint32_t entry_bytes_max;
    uint32_t frame_bytes_max;
    int32_t code;  /* refusal: enum rr_err, otherwise 0 */
    uint8_t kind;  /* enum hello_kind */
    uint8_t flags; /* enum hello_flags */
};

void hello_put(const struct hello *hello, uint8_t at[HELLO_SIZE]);

/* RR_E_MALFORMED: not a hello (magic, checksum), or one with impossible fields. RR_E_VERSION: a
 * sound hello of another version; nothing of it is filled in. */
int hello_get(const uint8_t at[HELLO_SIZE], struct hello *hello);

/* May we, who would say `ours`, talk to whoever said `theirs`? ours->to is the node that was
 * dialled, or 0 at the acceptor, who takes any. 0, or the code of the refusal:
 * RR_E_NOT_SUPPORTED (TLS), RR_E_IDENTITY (cluster or node ids), RR_E_INVALID (loops or limits). */
int hello_check(const struct hello *ours, const struct hello *theirs);

#endif
