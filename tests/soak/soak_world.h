/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver's view of a soak: the places, what lives there, what was done to it, and when that
 * ends. The driver never believes a node about more than its own status; who is a member is what
 * the leader with the highest term says.
 */
#ifndef RR_TESTS_SOAK_WORLD_H
#define RR_TESTS_SOAK_WORLD_H

#include "bench/control.h"
#include "tests/soak/soak_net.h"

enum place_state {
    PLACE_EMPTY,   /* nobody */
    PLACE_UP,      /* a process, running */
    PLACE_DOWN,    /* the process was killed and comes back */
    PLACE_STOPPED, /* SIGSTOP */
};

struct place {
    struct control control;
    enum place_state state;
    uint64_t id;         /* of the node */
    uint64_t boot;       /* of its process */
    uint64_t due_ms;     /* DOWN, STOPPED: back then */
    uint64_t since_ms;   /* the node was made then */
    uint64_t outside_ms; /* seen outside of the configuration since then; 0: not */
    bool joins;
};

struct soak_counts {
    uint64_t kills, kills_of_all, stops, splits, mutes, restarts;
    uint64_t changes, changes_done, transfers, transfers_done, retired;
};

/* What a status says. */
struct picture {
    bool leads;
    uint64_t lead, term, applied, last, chain, count, writes, reads, snapshot, error;
    uint64_t voters[SOAK_PLACES + 1], learners[SOAK_PLACES + 1];
    uint32_t voter_count, learner_count;
};

struct soak_world {
    char dir[400];
    struct soak_net net;
    struct place places[SOAK_PLACES];
    uint64_t ids[256]; /* every node that ever was */
    uint32_t id_count;
    uint64_t random;
    uint64_t tag;        /* of the newest command */
    uint64_t net_due_ms; /* the network heals then; 0: it is whole */
    uint64_t memory_bytes, disk_bytes_max;
    uint64_t rss_max, disk_max; /* highest seen */
    struct soak_counts counts;
    bool is_verbose;
};

uint64_t world_now_ms(void);
uint64_t world_draw(struct soak_world *world, uint64_t bound);
void world_fail(const char *what, const char *why) __attribute__((noreturn));
void world_say(const struct soak_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- processes ----------------------------------------------------------- */

/* A new node at an empty place; `joins`: it waits to be added. */
void world_make(struct soak_world *world, uint32_t place, bool joins);
void world_start(struct soak_world *world, uint32_t place);
void world_kill(struct soak_world *world, uint32_t place, uint64_t back_in_ms);
void world_stop(struct soak_world *world, uint32_t place, uint64_t for_ms);
/* The node is no member any more: its process ends, its directory goes, its records stay. */
void world_retire(struct soak_world *world, uint32_t place);
/* Reads what the nodes say, for so long; brings back what is due. */
void world_run(struct soak_world *world, uint64_t ms);
/* Everything is back and the network whole, when this returns. */
void world_heal(struct soak_world *world);
void world_end(struct soak_world *world);

/* ---- questions and commands ---------------------------------------------- */

bool world_look(struct soak_world *world, uint32_t place, struct picture *picture);
/* The place of the leader of the highest term, with its picture; SOAK_PLACES: nobody says he is. */
uint32_t world_leader(struct soak_world *world, struct picture *picture);
uint32_t world_place_of(const struct soak_world *world, uint64_t id); /* SOAK_PLACES: nowhere */
/* Sends a command with a tag; its outcome is counted when it comes. */
void world_command(struct soak_world *world, uint32_t place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Disk and memory of every process are within their bounds. */
void world_measure(struct soak_world *world);

#endif
