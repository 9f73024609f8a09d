/* SPDX-License-Identifier: Apache-2.0
 *
 * A large snapshot under load: what writes feel while one travels to a replica that was away.
 */
#ifndef RR_BENCH_FEATURE_SNAPSHOT_H
#define RR_BENCH_FEATURE_SNAPSHOT_H

#include "bench/options.h"

bool feature_snapshot(const struct bench_options *options, const char *dir);

#endif
