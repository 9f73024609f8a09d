# SPDX-License-Identifier: Apache-2.0
# The google-benchmark micro suites: one program per file, built where the library is installed.
