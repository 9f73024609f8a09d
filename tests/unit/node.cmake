# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_node LABEL fast SOURCES test_node.c node_world.c LIBS rr_engine)
