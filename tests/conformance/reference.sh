#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# reference.sh PROGRAM FOLDER: runs the reference's scenarios if they are there.
if [ ! -d "$2" ]; then
    echo "SKIPPED: no folder $2, so the core was NOT held against the reference's scenarios"
    exit 77
fi
exec "$1" "$2"
