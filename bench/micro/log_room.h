/* SPDX-License-Identifier: Apache-2.0
 *
 * The core's log over memory storage, for the micro bench: half of its entries are stored, the
 * other half is the tail.
 */
#ifndef RR_BENCH_LOG_ROOM_H
#define RR_BENCH_LOG_ROOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct log_room;

/* With the entries 1..count, each of 128 bytes of data. */
struct log_room *log_room_new(uint32_t count);
void log_room_free(struct log_room *room);
/* One more batch, which is stored and compacted away at once; in a log that began empty. */
void log_room_append(struct log_room *room, uint32_t count);
uint64_t log_room_term(const struct log_room *room, uint64_t index);
/* How many entries of [lo, hi) fit into `max_size` bytes. */
uint32_t log_room_slice(const struct log_room *room, uint64_t lo, uint64_t hi, uint64_t max_size);

#ifdef __cplusplus
}
#endif
#endif
