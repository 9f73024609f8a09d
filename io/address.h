/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoints as people write them: "127.0.0.1:7001". IPv4 and a port, nothing else: no names are
 * resolved, since that would block and could answer differently tomorrow.
 */
#ifndef RR_IO_ADDRESS_H
#define RR_IO_ADDRESS_H

#include "io/io.h"

#include <ringraft/error.h>

#define IO_ADDRESS_TEXT_SIZE 22 /* "255.255.255.255:65535" and its NUL */

/* 0, or RR_E_BAD_ADDRESS with a sentence that quotes the text. Port 0 is accepted: any port. */
int io_address_parse(const char *text, struct io_address *address, struct rr_error *error);
void io_address_format(const struct io_address *address, char text[IO_ADDRESS_TEXT_SIZE]);

static inline bool io_address_is_loopback(const struct io_address *address)
{
    return address->ip >> 24 == 127;
}

static inline bool io_address_equal(const struct io_address *a, const struct io_address *b)
{
    return a->ip == b->ip && a->port == b->port;
}

#endif
