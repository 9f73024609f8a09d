/* SPDX-License-Identifier: Apache-2.0
 *
 * Who must be woken: one word between a sleeper (a loop or a worker) and any number of notifiers,
 * so that the kernel is only asked when the sleeper said that it sleeps.
 *
 *                notify                         notify: the caller kicks
 *     RUNNING ------------> NOTIFIED <---------------------------- SLEEPING
 *        |  <-- resume --       |  <- notify: nothing to do            ^
 *        +--------------------- may_sleep -----------------------------+
 *
 * The sleeper:   resume; look at all queues; may_sleep? then wait (in the kernel); resume; ...
 * The notifier:  put something in a queue; notify? then kick (eventfd, futex).
 *
 * Nothing is lost. All three are read-modify-write operations on the same word, so they have one
 * order. A notify before a resume: the resume reads from it, or from a later notify (a release
 * sequence), and so the looking that follows sees what was put. A notify after the resume and
 * before may_sleep: may_sleep fails, there is no waiting, the next resume sees it. A notify after
 * may_sleep: it finds SLEEPING, and exactly one notifier does, and kicks. Fences with plain loads
 * would cost as much and are not understood by the thread sanitizer.
 */
#ifndef RR_IO_OS_WAKE_H
#define RR_IO_OS_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum os_wake_state { OS_WAKE_RUNNING, OS_WAKE_SLEEPING, OS_WAKE_NOTIFIED };

struct os_wake {
    _Atomic uint32_t state; /* enum os_wake_state; 32 bits because it is a futex too */
};

/* True: the sleeper sleeps, and it is on the caller to kick it. */
static inline bool os_wake_notify(struct os_wake *wake)
{
    return atomic_exchange_explicit(&wake->state, OS_WAKE_NOTIFIED, memory_order_acq_rel) ==
           OS_WAKE_SLEEPING;
}

/* True: nobody notified since the last resume; from now on notifiers kick. */
static inline bool os_wake_may_sleep(struct os_wake *wake)
{
    uint32_t running = OS_WAKE_RUNNING;
    return atomic_compare_exchange_strong_explicit(&wake->state, &running, OS_WAKE_SLEEPING,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* True: somebody notified since the last resume. */
static inline bool os_wake_resume(struct os_wake *wake)
{
    return atomic_exchange_explicit(&wake->state, OS_WAKE_RUNNING, memory_order_acq_rel) ==
           OS_WAKE_NOTIFIED;
}

#endif
