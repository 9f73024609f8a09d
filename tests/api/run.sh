#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh PROGRAM: runs it with a directory of its own, and removes that.
dir=$(mktemp -d ./api-XXXXXX) || exit 1
"$1" "$dir"
code=$?
rm -rf "$dir"
exit $code
