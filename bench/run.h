/* SPDX-License-Identifier: Apache-2.0
 *
 * The canonical run: every row of the table, engine and floor in turn, and the probes around it.
 */
#ifndef RR_BENCH_RUN_H
#define RR_BENCH_RUN_H

#include "bench/options.h"
#include "bench/report.h"

/* `dir` is an existing directory for the run's own files. False: a sentence went to stderr. */
bool run_all(const struct bench_options *options, const char *dir, struct report *report);
bool run_floor(const struct bench_options *options, const char *dir);
/* Ends the run early; async-signal-safe. */
void run_interrupt(void);

#endif
