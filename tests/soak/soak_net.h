/* SPDX-License-Identifier: Apache-2.0
 *
 * The network of a soak: a namespace per place, joined by a bridge in one of its own, made with
 * iproute2 and taken away at the end. Without the right to that, or without iproute2, all places
 * are ports of 127.0.0.1 and nothing can be cut.
 *
 *      place 1 ── veth ──┐                       ┌── veth ── place 5
 *      place 2 ── veth ──┤ bridge a      bridge b ├── veth ── place 7       a split moves veths
 */
#ifndef RR_TESTS_SOAK_NET_H
#define RR_TESTS_SOAK_NET_H

#include "tests/soak/soak.h"

struct soak_net {
    bool can_cut;
    char prefix[32];             /* of the names of our namespaces */
    uint16_t ports[SOAK_PLACES]; /* without namespaces */
    bool is_away[SOAK_PLACES];   /* on bridge b */
    uint8_t mutes[SOAK_PLACES];  /* bit p: its packets to place p are dropped */
};

/* False: neither namespaces nor ports were to be had. */
bool soak_net_make(struct soak_net *net, bool wants_namespaces);
void soak_net_free(struct soak_net *net);
/* Where a node at this place listens and is dialled. */
void soak_net_address(const struct soak_net *net, uint32_t place, char address[SOAK_ADDRESS_MAX]);
/* The namespace's name, "" without. */
void soak_net_namespace(const struct soak_net *net, uint32_t place, char name[64]);
/* In the process that is to live there. */
bool soak_net_enter(const char *name);

/* Places whose bit is set no longer reach the others. */
void soak_net_split(struct soak_net *net, uint32_t places);
/* Nothing that `from` sends reaches `to`; the other direction works. */
void soak_net_mute(struct soak_net *net, uint32_t from, uint32_t to);
void soak_net_heal(struct soak_net *net);

#endif
