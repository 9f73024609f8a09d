/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing and printing of endpoints. Written out by hand: every text has one meaning, so leading
 * zeroes, signs, blanks and shortened forms are refused instead of being guessed at.
 */
#include "io/address.h"

#include "proto/base.h"

#include <stdio.h>

/* A decimal number of at most `max` without leading zeroes; moves *at behind it. */
static bool parse_number(const char **at, uint32_t max, uint32_t *number)
{
    const char *p = *at;
    uint32_t n = 0;
    if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (uint32_t)(*p - '0');
        if (n > max)
            return false;
    }
    *at = p;
    *number = n;
    return true;
}

int io_address_parse(const char *text, struct io_address *address, struct rr_error *error)
{
    RR_ASSERT(text != NULL && address != NULL);
    const char *at = text;
    uint32_t ip = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t part;
        if (!parse_number(&at, 255, &part) || *at != (i < 3 ? '.' : ':'))
            return rr_fail(error, RR_E_BAD_ADDRESS,
                           "\"%.64s\" is not an address: an IPv4 address and a port are wanted, "
                           "like 127.0.0.1:7001",
                           text);
        ip = ip << 8 | part;
        at++;
    }
    uint32_t port;
    if (!parse_number(&at, 65535, &port) || *at != '\0')
        return rr_fail(error, RR_E_BAD_ADDRESS,
                       "\"%.64s\" is not an address: the port must be a number from 0 to 65535",
                       text);
    address->ip = ip;
    address->port = (uint16_t)port;
    return 0;
}

void io_address_format(const struct io_address *address, char text[IO_ADDRESS_TEXT_SIZE])
{
    int n = snprintf(text, IO_ADDRESS_TEXT_SIZE, "%u.%u.%u.%u:%u", address->ip >> 24,
                     address->ip >> 16 & 255, address->ip >> 8 & 255, address->ip & 255,
                     (unsigned)address->port);
    RR_ASSERT(n > 0 && n < IO_ADDRESS_TEXT_SIZE);
}
