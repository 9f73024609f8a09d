# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_sim_disk LABEL fast SOURCES test_sim_disk.c LIBS rr_sim)
