/* SPDX-License-Identifier: Apache-2.0
 *
 * A child process of rr-bench that replicates without Raft, on the engine's own log writer and
 * backend: what the machine could do. Node 1 leads: it writes each message durably and sends it to
 * the two others in the same submission; a follower writes it durably and answers with its count; a
 * message is committed when node 1 and one follower have it.
 */
#ifndef RR_BENCH_FLOOR_NODE_H
#define RR_BENCH_FLOOR_NODE_H

#include "bench/replica.h"

int floor_node_main(const struct replica_options *options);

#endif
