# SPDX-License-Identifier: Apache-2.0
rr_test(NAME test_varint LABEL fast SOURCES test_varint.c LIBS rr_proto)
rr_test(NAME test_property LABEL fast SOURCES test_property.c property.c LIBS rr_proto)
rr_test(NAME test_crc32c LABEL fast SOURCES test_crc32c.c LIBS rr_proto)
rr_test(NAME test_error LABEL fast SOURCES test_error.c LIBS rr_proto)
rr_test(NAME test_frame LABEL fast SOURCES test_frame.c LIBS rr_proto)
rr_test(NAME test_codec LABEL fast SOURCES test_codec.c LIBS rr_proto)
rr_test(NAME test_codec_entry LABEL fast SOURCES test_codec_entry.c LIBS rr_proto)
rr_test(NAME test_codec_property LABEL fast SOURCES test_codec_property.c raftpb_oracle.c wire_generator.c
    LIBS rr_proto rr_raftpb)
