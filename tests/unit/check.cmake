# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_append_check LABEL fast SOURCES test_append_check.c LIBS rr_check)
rr_test(NAME test_linearize LABEL fast SOURCES test_linearize.c LIBS rr_check)
