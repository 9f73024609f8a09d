/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine does besides writing to one group, each beside what it is to be compared with:
 * reads, many groups, the loss of the leader. Slices of both sides alternate, and
 * a figure is the median of --pairs ratios.
 */
#ifndef RR_BENCH_FEATURES_H
#define RR_BENCH_FEATURES_H

#include "bench/options.h"

/* The feature that options->command names, in an existing directory; prints its table. False: a
 * sentence went to stderr. */
bool features_run(const struct bench_options *options, const char *dir);

#endif
