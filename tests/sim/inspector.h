/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at running processes now and then, at what they say of themselves and at what their machine
 * has lent them: memory, descriptors, operations and disk stay within bounds, and the configuration
 * is that of the log at the index that is applied.
 */
#ifndef RR_TESTS_SIM_INSPECTOR_H
#define RR_TESTS_SIM_INSPECTOR_H

struct world;

/* What holds at any moment. */
void inspect(struct world *world);
/* What holds when all have come right and nothing is asked of them any more. */
void inspect_settled(struct world *world);

#endif
