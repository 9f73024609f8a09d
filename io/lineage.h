/* SPDX-License-Identifier: Apache-2.0
 *
 * The starts of a data directory: each boot's nonce, in the file `lineage`, an array by boot. A
 * peer remembers one boot of this node, with its nonce; whoever can name the nonce of that boot has
 * it in his past. A directory that is older than what the peer saw cannot, however often it was
 * started since.
 *
 * A start is durable here before it is in the log, and so before anybody hears of it. What the file
 * does not hold (a boot of a build that did not keep it) is not known and reads as 0. It takes 16
 * bytes for each start, as long as the directory lives. Blocking; the opening thread, but for
 * lineage_nonce.
 *
 * Failure path: starts that the log does not hold, although it holds every start before it is
 * spoken of, mean that the log lost durable writes: RR_E_CORRUPT.
 */
#ifndef RR_IO_LINEAGE_H
#define RR_IO_LINEAGE_H

#include "io/io.h"

#include <ringraft/error.h>

struct lineage {
    struct io *io;
    const char *dir;
    uint64_t instance;
    uint64_t nonce;   /* of the boot that begins */
    uint64_t *nonces; /* by boot; 0: not known */
    uint64_t count;
};

/* Boot `boot` begins, under lineage->nonce; io, dir, instance and nonce are set, all else is 0. It
 * is durable on return. RR_E_CORRUPT, RR_E_NO_SPACE, RR_E_IO, RR_E_NO_MEMORY. */
int lineage_begin(struct lineage *lineage, uint64_t boot, struct rr_error *error);
/* The nonce of an earlier boot, or of this one; 0: not known. */
uint64_t lineage_nonce(const struct lineage *lineage, uint64_t boot);
void lineage_fini(struct lineage *lineage);

#endif
