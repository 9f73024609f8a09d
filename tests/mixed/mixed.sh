#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# mixed.sh SOURCE_DIR WORK_DIR OLDER RR_KILL [rr-kill's options]: a rolling upgrade. The build of commit OLDER is made from
# the clone's history, a cluster of it is started and moved to this build node by node, under load and kills
# (rr-kill --old). Exits 77 where the clone does not hold that commit.
set -euo pipefail
source_dir=$(cd "$1" && pwd)
work_dir=$2
older=$3
rr_kill=$4
shift 4

git -C "$source_dir" cat-file -e "$older^{commit}" 2>/dev/null ||
    { echo "mixed: skipped: this clone does not hold the older build, commit $older"; exit 77; }
old=$work_dir/$older
if [ ! -x "$old/build/tests/cluster/rr-kill" ]; then
    rm -rf "$old"
    mkdir -p "$old/source"
    git -C "$source_dir" archive "$older" | tar -C "$old/source" -xf -
    cmake -S "$old/source" -B "$old/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$old/build.log" 2>&1 &&
        ninja -C "$old/build" rr-kill >>"$old/build.log" 2>&1 ||
        { tail -40 "$old/build.log"; exit 1; }
fi
exec "$rr_kill" --old "$old/build/tests/cluster/rr-kill" --dir "$work_dir" "$@"
