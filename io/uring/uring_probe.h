/* SPDX-License-Identifier: Apache-2.0
 *
 * Why io_uring cannot be used here: one sentence for each thing that can be missing. Cold.
 */
#ifndef RR_IO_URING_PROBE_H
#define RR_IO_URING_PROBE_H

#include <ringraft/error.h>

#include <liburing.h>

/* Explains the errno (positive) with which io_uring_setup refused a ring. */
int uring_explain_setup(int err, struct rr_error *error);
/* 0, or RR_E_NOT_SUPPORTED naming the first missing feature bit (IORING_FEAT_*). */
int uring_check_features(unsigned features, struct rr_error *error);
/* 0, or RR_E_NOT_SUPPORTED naming all missing operations. */
int uring_check_opcodes(const struct io_uring_probe *probe, struct rr_error *error);

#endif
