/* SPDX-License-Identifier: Apache-2.0
 *
 * What a broken promise leads to: a sentence, the moment, the line that replays it, and the end of
 * the process. Broken assertions inside the nodes come here too.
 */
#ifndef RR_TESTS_SIM_FAILURE_H
#define RR_TESTS_SIM_FAILURE_H

#include "io/sim/sim.h"
#include "tests/sim/plan.h"

/* From now on this is being played. */
void failure_watch(const struct plan *plan, uint32_t seconds, const struct sim *sim);
_Noreturn void failure_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
