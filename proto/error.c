/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and sentences of the error codes, and the one way to fill a struct rr_error.
 */
#include <ringraft/error.h>

#include "proto/base.h"

#include <stdarg.h>
#include <stdio.h>

const char *rr_err_name(int err)
{
    switch (err) {
    case RR_OK:
        return "RR_OK";
#define X(name, number, sentence)                                                                  \
    case (number):                                                                                 \
        return "RR_E_" #name;
        RR_ERR_MAP(X)
#undef X
    default:
        return "RR_E_?";
    }
}

const char *rr_err_sentence(int err)
{
    switch (err) {
    case RR_OK:
        return "success";
#define X(name, number, sentence)                                                                  \
    case (number):                                                                                 \
        return sentence;
        RR_ERR_MAP(X)
#undef X
    default:
        return "unknown error code";
    }
}

int rr_fail(struct rr_error *error, int code, const char *format, ...)
{
    RR_ASSERT(code < 0);
    if (!error)
        return code;
    error->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return code;
}
