/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections of the simulated network, between sim_stream.c (bytes) and sim_net.c (sockets,
 * listeners).
 */
#ifndef RR_IO_SIM_STREAM_H
#define RR_IO_SIM_STREAM_H

#include "io/sim/sim_machine.h"

enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RESET };

/* Something on its way to one end. */
struct segment {
    struct sim_event event;
    struct segment *next; /* while held by a cut */
    struct endpoint *to;
    enum segment_kind kind;
    uint64_t position; /* `arrived` once it is there */
};

enum end_state {
    END_NONE, /* the far end of a socket that is not connected */
    END_NEW,  /* a socket that is not connected */
    END_OPEN, /* held by a process, or by a listener's backlog */
    END_GONE, /* closed, or its process died */
};

/* One end, and the pipe of bytes that come to it. */
struct endpoint {
    struct connection *connection;
    struct machine *machine;
    enum end_state state;
    struct flight *recv, *send; /* the ops that wait here */
    struct endpoint *next;      /* in a listener's backlog */
    struct segment *held, **held_end;
    uint8_t *ring;
    uint64_t window; /* a power of two */
    uint64_t read, arrived, accepted, acked;
    uint64_t last_arrival; /* of the newest segment, virtual time */
    bool fin_arrived;
    bool is_reset;
    bool is_shut; /* by this side */
};

struct connection {
    struct sim *sim;
    struct connection *next, **link;
    struct endpoint ends[2]; /* who connects, who accepts */
    uint32_t segment_count;  /* on the way or held */
};

struct connection *connection_new(struct machine *machine);
void connection_establish(struct connection *c, struct machine *to);
void stream_submit(struct flight *flight); /* IO_SEND, IO_RECV */
void stream_cancel(struct endpoint *end, const struct flight *flight);
void stream_shutdown(struct endpoint *end);
void stream_close(struct endpoint *end, bool silently);
void stream_link_changed(struct sim *sim, uint32_t from, uint32_t to);
void stream_fini(struct sim *sim);

#endif
